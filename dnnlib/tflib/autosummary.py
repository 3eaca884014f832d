"""Running means of whatever a run wants to report, gathered where it is computed.

`autosummary(name, value)` may be called with tensors while a graph is built, or with plain numbers at any time.
The mean since the last flush appears in TensorBoard under `name`, and what was computed in a graph also as a chart
with margins, one standard deviation of the single values below and above. Non-finite values are dropped.
Where several processes share a training, means of what its graph computes are those of all of them: all flush together.
"""

from collections import OrderedDict

import numpy as np

from dnnlib.tflib import collectives, custom_scalars, tfutil
from dnnlib.tflib.engine import tf

_graph_vars = OrderedDict()  # name -> variables float64 [3]: number of values, their sum, the sum of their squares
_host_sums = OrderedDict()  # name -> the same three numbers


def autosummary(name, value, passthru=None):
    """Adds to the mean that is reported as `name`.

    Args:
        name: name in TensorBoard, slashes make groups: 'Loss/scores/real'.
        value: a tensor of any shape (every element counts), or a number or array.
        passthru: a tensor to be returned such that evaluating it makes the addition happen; default: `value`.

    Returns:
        `passthru` or `value`; for tensors, use the returned one in the graph.
    """
    if not tfutil.is_tf_expression(value):
        values = np.asarray(value, dtype=np.float64).ravel()
        values = values[np.isfinite(values)]
        _add(_host_sums, name, (values.size, float(values.sum()), float(np.square(values).sum())))
        return value if passthru is None else passthru

    with tf.name_scope('autosummary_' + name.replace('/', '_').replace(' ', '_')):
        values = tf.cast(tf.reshape(value, [-1]), tf.float64)
        is_finite = tf.math.is_finite(values)
        count = tf.reduce_sum(tf.cast(is_finite, tf.float64))
        values = tf.where(is_finite, values, tf.zeros_like(values))
        sums = tf.stack([count, tf.reduce_sum(values), tf.reduce_sum(tf.square(values))])
        with tf.control_dependencies(None), tf.device('/cpu:0'):
            var = tf.Variable(tf.zeros([3], tf.float64), trainable=False,
                              collections=[tf.GraphKeys.LOCAL_VARIABLES], name='sums')
        _graph_vars.setdefault(name, []).append(var)
        with tf.device('/cpu:0'):  # the first value may come before anybody initialized the sums
            update = tf.cond(tf.is_variable_initialized(var), lambda: tf.assign_add(var, sums),
                             lambda: tf.assign(var, sums))
        with tf.control_dependencies([update]):
            return tf.identity(value if passthru is None else passthru)


def finalize_autosummaries():
    """Initializes the accumulators that have no value yet. Summaries work without; what follows is a little faster."""
    tfutil.init_uninitialized_vars(var for variables in _graph_vars.values() for var in _of_graph(variables))


def _of_graph(variables):
    return [var for var in variables if var.graph is tf.get_default_graph()]


def _add(sums, name, more):
    entry = sums.setdefault(name, [0.0, 0.0, 0.0])
    for index, value in enumerate(more):
        entry[index] += value


def _graph_names():
    """Names of what is gathered in the default graph."""
    return [name for name, variables in _graph_vars.items() if _of_graph(variables)]


def _flush():
    """OrderedDict, name -> (number of values, their mean, their standard deviation) since the last flush."""
    sums = OrderedDict()
    names, variables = [], []
    for name, group in _graph_vars.items():
        for var in _of_graph(group):
            names.append(name)
            variables.append(var)
    if variables:
        tfutil.init_uninitialized_vars(variables)
    for name, more in zip(names, tfutil.get_vars(variables)):
        _add(sums, name, more)
    if variables:
        tfutil.init_vars(variables)
        totals = collectives.total(np.reshape(list(sums.values()), [-1])).reshape([-1, 3]).tolist()
        sums = OrderedDict(zip(sums, totals))
    for name, more in _host_sums.items():
        _add(sums, name, more)
    _host_sums.clear()
    return OrderedDict(
        (name, (count, total / count, np.sqrt(max(squares / count - (total / count) ** 2, 0))))
        for name, (count, total, squares) in sums.items() if count > 0)


def flush_autosummaries():
    """Means since the last flush, and starts over.

    Returns:
        OrderedDict, name -> float; names without any finite value since the last flush are left out.
    """
    return OrderedDict((name, mean) for name, (_count, mean, _deviation) in _flush().items())


def save_layout(file_writer):
    """Asks TensorBoard for a chart with margins of everything that is gathered in the default graph."""
    file_writer.add_summary(custom_scalars.margin_charts(_graph_names()))


def save_summaries(file_writer, global_step=None):
    """Flushes the means, and the margins of those that stand for several values, into a TensorBoard event file.

    What else the graph collects for TensorBoard, such as `Network.setup_weight_histograms`, is evaluated and written.

    Args:
        file_writer: a `tf.summary.FileWriter`.
        global_step: the step they are reported at (this project uses images shown).

    Returns:
        The means, as `flush_autosummaries` returns them.
    """
    means, scalars = OrderedDict(), OrderedDict()
    in_graph = set(_graph_names())
    for name, (count, mean, deviation) in _flush().items():
        means[name] = scalars[name] = mean
        if name in in_graph or count > 1:
            lower, upper = custom_scalars.margin_tags(name)
            scalars[lower], scalars[upper] = mean - deviation, mean + deviation
    values = [tf.Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
    file_writer.add_summary(tf.Summary(value=values), global_step)
    collected = tf.get_collection(tf.GraphKeys.SUMMARIES)
    if collected:
        for summary in tfutil.run(collected):
            file_writer.add_summary(summary, global_step)
    return means
