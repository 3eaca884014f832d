"""Running means of whatever a run wants to report, gathered where it is computed.

`autosummary(name, value)` may be called with tensors while a graph is built, or with plain numbers at any time.
The mean since the last flush appears in TensorBoard under `name`. Non-finite values are dropped.
"""

from collections import OrderedDict

import numpy as np

from dnnlib.tflib import tfutil
from dnnlib.tflib.engine import tf

_graph_vars = OrderedDict()  # name -> list of variables float64 [2]: (number of values, their sum), of one graph
_host_sums = OrderedDict()  # name -> [number of values, their sum]
_layout = {'finalized': False}


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
        sums = _host_sums.setdefault(name, [0.0, 0.0])
        sums[0] += values.size
        sums[1] += float(values.sum())
        return value if passthru is None else passthru

    with tf.name_scope('autosummary_' + name.replace('/', '_').replace(' ', '_')):
        values = tf.cast(tf.reshape(value, [-1]), tf.float64)
        is_finite = tf.math.is_finite(values)
        count = tf.reduce_sum(tf.cast(is_finite, tf.float64))
        total = tf.reduce_sum(tf.where(is_finite, values, tf.zeros_like(values)))
        with tf.control_dependencies(None), tf.device('/cpu:0'):
            var = tf.Variable(tf.zeros([2], tf.float64), trainable=False,
                              collections=[tf.GraphKeys.LOCAL_VARIABLES], name='sums')
        _graph_vars.setdefault(name, []).append(var)
        with tf.control_dependencies([tf.assign_add(var, tf.stack([count, total]))]):
            return tf.identity(value if passthru is None else passthru)


def finalize_autosummaries():
    """Initializes the accumulators that have no value yet; call once the graph is complete."""
    tfutil.init_uninitialized_vars([var for variables in _graph_vars.values() for var in _of_graph(variables)])
    _layout['finalized'] = True


def _of_graph(variables):
    return [var for var in variables if var.graph is tf.get_default_graph()]


def flush_autosummaries():
    """Means since the last flush, and starts over.

    Returns:
        OrderedDict, name -> float; names without any finite value since the last flush are left out.
    """
    sums = OrderedDict()
    names, variables = [], []
    for name, group in _graph_vars.items():
        for var in _of_graph(group):
            names.append(name)
            variables.append(var)
    for name, (count, total) in zip(names, tfutil.get_vars(variables)):
        entry = sums.setdefault(name, [0.0, 0.0])
        entry[0] += count
        entry[1] += total
    if variables:
        tfutil.run([var.initializer for var in variables])
    for name, (count, total) in _host_sums.items():
        entry = sums.setdefault(name, [0.0, 0.0])
        entry[0] += count
        entry[1] += total
    _host_sums.clear()
    return OrderedDict((name, total / count) for name, (count, total) in sums.items() if count > 0)


def save_summaries(file_writer, global_step=None):
    """Flushes the means into a TensorBoard event file.

    Args:
        file_writer: a `tf.summary.FileWriter`.
        global_step: the step they are reported at (this project uses images shown).

    Returns:
        The means, as `flush_autosummaries` returns them.
    """
    means = flush_autosummaries()
    values = [tf.Summary.Value(tag=name, simple_value=value) for name, value in means.items()]
    file_writer.add_summary(tf.Summary(value=values), global_step)
    return means
