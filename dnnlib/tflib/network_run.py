"""Running a network on arrays: minibatches, devices, transforms of inputs and outputs."""

import collections
import numbers

import numpy as np
from tqdm import tqdm

from dnnlib.tflib import device, tfutil
from dnnlib.tflib.engine import tf


def run_network(net, *in_arrays, input_transform=None, output_transform=None, return_as_list=False,
                print_progress=False, minibatch_size=None, num_gpus=1, assume_frozen=False, out_mul=1.0,
                out_add=0.0, out_shrink=1, out_dtype=None, **dynamic_kwargs):
    """Runs `net` on arrays and returns arrays.

    Args:
        net: the `Network`.
        *in_arrays: one array per input, equal first dimensions; None means zeros.
        input_transform: dict with `func` (a top-level function of the input tensors) and its keywords.
        output_transform: the same for the output tensors, for example
            `dict(func=tflib.convert_images_to_uint8, nchw_to_nhwc=True)`.
        return_as_list: always return a list of arrays.
        print_progress: show a progress bar.
        minibatch_size: items per session call; default all at once.
        num_gpus: number of devices that share each minibatch.
        assume_frozen: the weights do not change between calls, so copies on other devices stay valid.
        out_mul, out_add, out_shrink, out_dtype: older form of an output transform: multiply, add, average over
            squares of pixels, round and saturate to an integer type, in this order.
        **dynamic_kwargs: further arguments of the build function. Numbers that it declares as fed (`truncation_psi`,
            `truncation_cutoff`) may vary at no cost; every other value has a graph of its own, see `Runs`.

    Returns:
        An array, or a tuple of arrays for several outputs.
    """
    if len(in_arrays) != net.num_inputs:
        raise TypeError(f"network '{net.name}' takes {net.num_inputs} inputs, not {len(in_arrays)}")
    if all(array is None for array in in_arrays):
        raise ValueError(f"network '{net.name}': at least one input must be given")
    num_items = next(len(array) for array in in_arrays if array is not None)
    if (out_mul, out_add, out_shrink, out_dtype) != (1.0, 0.0, 1, None):
        if output_transform is not None:
            raise TypeError('give either output_transform or out_mul, out_add, out_shrink, out_dtype')
        output_transform = dict(func=legacy_output_transform, mul=out_mul, add=out_add, shrink=out_shrink,
                                dtype=None if out_dtype is None else np.dtype(out_dtype).name)

    in_shapes = [_input_shape(net, array, shape) for array, shape in zip(in_arrays, net.input_shapes)]
    fed, others = _split_kwargs(net, dynamic_kwargs)
    key = _freeze((in_shapes, input_transform, output_transform, num_gpus, assume_frozen, sorted(fed),
                   _without_defaults(net, others)))
    built = net._runs.find(net, key, lambda local: _build(
        local, in_shapes, input_transform, output_transform, num_gpus, fed, others))
    if not assume_frozen:
        built.copy_vars_from(net)
    fed = {built.fed[name]: value for name, value in fed.items()}

    minibatch_size = max(minibatch_size or num_items, 1)
    pieces = []
    starts = range(0, num_items, minibatch_size)
    for begin in tqdm(starts, desc=net.name, unit='batch', disable=not print_progress):
        count = min(minibatch_size, num_items - begin)
        feed = dict(fed)
        for tensor, array, shape in zip(built.inputs, in_arrays, in_shapes):
            if array is None:
                array_piece = np.zeros([count] + [d or 0 for d in shape[1:]], np.float32)
            else:
                array_piece = array[begin:begin + count]
            feed[tensor] = array_piece
        pieces.append(built.run(feed))
    if pieces:
        results = [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces)]
    else:
        results = [np.zeros([0] + [d or 0 for d in tfutil.shape_to_list(t.shape)[1:]], t.dtype.as_numpy_dtype)
                   for t in built.outputs]
    if return_as_list:
        return results
    return results[0] if len(results) == 1 else tuple(results)


def _input_shape(net, array, shape):
    """The shape of an input for these arrays: the template's, or the array's own for convolutional networks."""
    if array is None or not net.is_convolutional or np.ndim(array) != len(shape):
        return shape
    return shape[:2] + list(np.shape(array)[2:])


def _freeze(value):
    """A hashable equal of nested dicts, lists and arrays, to recognise a call that was made before."""
    if isinstance(value, dict):
        return tuple(sorted((key, _freeze(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_freeze(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value


def fed_keywords(build_func):
    """dict from keywords that may be fed to what None is fed as, which a module says of its build functions by `FED`.

    Of code that was stored in a file, nothing is believed.
    """
    names = build_func.__globals__
    return {} if '__stored_source__' in names else dict(names.get('FED', {}).get(build_func.__name__, {}))


def _split_kwargs(net, dynamic_kwargs):
    """(dict from keyword to the number to feed, the other keywords)."""
    fed, others = {}, dict(dynamic_kwargs)
    for keyword, instead_of_none in net.fed_keywords.items():
        value = others.get(keyword, net.default_of(keyword))
        value = instead_of_none if value is None else value
        if isinstance(value, numbers.Real):
            fed[keyword] = float(value)
            others.pop(keyword, None)
    return fed, others


def _without_defaults(net, kwargs):
    """The keywords less those that say what holds anyway, so that both ways of saying it share a graph."""
    def is_default(keyword, value):
        default = net.default_of(keyword)
        return isinstance(value, (bool, int, float, str)) and type(default) is type(value) and default == value
    return {keyword: value for keyword, value in kwargs.items() if not is_default(keyword, value)}


class Runs:
    """The graphs that a network is run by, one for each way of running it.

    What is added to TensorFlow's graph stays until the process ends. So only the first `MOST` ways are built into the
    graph that the network lies in. A further one gets a graph and a session of its own with a copy of the network,
    which goes when the next one comes; each call copies the weights to it unless they are said to be frozen. Arguments
    that are tensors bind a way to their graph.
    """

    MOST = 16

    def __init__(self):
        self._kept = {}
        self._aside = None

    def __len__(self):
        """How many there are."""
        return len(self._kept) + (self._aside is not None)

    def find(self, net, key, build):
        """The Built of a way of running, made by `build(network)` if it is new."""
        if key in self._kept:
            return self._kept[key]
        if self._aside is not None and self._aside[0] == key:
            return self._aside[1]
        if len(self._kept) < self.MOST or _is_bound(key):
            self._kept[key] = build(net)
            return self._kept[key]
        if self._aside is not None:
            self._aside[1].session.close()
        self._aside = key, _build_aside(net, build)
        return self._aside[1]


class Built(collections.namedtuple('Built', 'session inputs fed outputs copies')):
    """A graph to run a network by.

    session: to run it in, None: the default one; inputs, outputs: lists of tensors; fed: dict from keyword to its
    placeholder; copies: networks in that session that need the weights too.
    """

    def run(self, feed):
        """Values of the outputs."""
        return tfutil.run_in(self.session, self.outputs, feed) if self.session else tfutil.run(self.outputs, feed)

    def copy_vars_from(self, net):
        """Brings the copies up to date."""
        if self.copies:
            values = dict(zip(net.vars, tfutil.get_vars(list(net.vars.values()))))
            with (self.session or tf.get_default_session()).as_default():
                for copy in self.copies:
                    tfutil.set_vars({copy.vars[name]: value for name, value in values.items()})


def _is_bound(key):
    """Whether something in a frozen key belongs to a graph: a tensor, or a network."""
    if isinstance(key, tuple):
        return any(_is_bound(item) for item in key)
    return tfutil.is_tf_expression(key) or hasattr(key, 'get_output_for')


def _build_aside(net, build):
    """The Built of what `build` makes of a copy of the network in a graph and a session of their own."""
    seed, config = tf.get_default_graph().seed, tf.get_default_session()._config
    values = dict(zip(net.vars, tfutil.get_vars(list(net.vars.values()))))
    with tf.Graph().as_default():
        tf.set_random_seed(seed)
        session = tf.Session(config=config)
        with session.as_default():
            copy = net.copy_here()
            tfutil.set_vars({copy.vars[name]: value for name, value in values.items()})
            built = build(copy)
    return built._replace(session=session, copies=[copy] + built.copies)


def _build(net, in_shapes, input_transform, output_transform, num_gpus, fed, dynamic_kwargs):
    """The Built of these arguments; `fed`: dict from keyword to the number that its placeholder is by default."""
    with tfutil.absolute_name_scope(net.scope + '/_Run'), tf.control_dependencies(None):
        in_tensors = [tf.placeholder(tf.float32, [None] + shape[1:] if input_transform is None else None, name=name)
                      for name, shape in zip(net.input_names, in_shapes)]
        # With defaults, for programs that look tensors up by name and feed the inputs alone.
        fed = {name: tf.placeholder_with_default(np.float32(value), [], name=name) for name, value in fed.items()}
        per_device, copies = [], []
        for_pictures = {'one_by_one': True} if net.takes_one_by_one else {}
        splits = list(zip(*[_split(tensor, num_gpus) for tensor in in_tensors]))
        for index, inputs in enumerate(splits):
            with tf.device(device.device_name(index)):
                local = net
                if index > 0:
                    local = net.clone(f'{net.name}_device{index}')
                    copies.append(local)
                inputs = _apply(input_transform, inputs)
                outputs = local.get_output_for(*inputs, return_as_list=True, **dict(for_pictures, **dict(
                    dynamic_kwargs, **fed)))
                per_device.append(_apply(output_transform, outputs))
        # Also of one device's outputs: programs look this name up, '<scope>/_Run/concat/concat:0'.
        outputs = [tf.concat(parts, axis=0) for parts in zip(*per_device)]
    return Built(None, in_tensors, fed, outputs, copies)


def _split(tensor, num):
    """Cuts the first dimension into `num` nearly equal parts, of which some may be empty."""
    if num == 1:
        return [tensor]
    size = tf.shape(tensor)[0]
    return [tensor[size * i // num:size * (i + 1) // num] for i in range(num)]


def _apply(transform, tensors):
    if transform is None:
        return list(tensors)
    kwargs = dict(transform)
    result = kwargs.pop('func')(*tensors, **kwargs)
    return list(result) if isinstance(result, (tuple, list)) else [result]


def legacy_output_transform(*tensors, mul, add, shrink, dtype):
    """The output transform that `out_mul`, `out_add`, `out_shrink` and `out_dtype` stand for."""
    results = []
    for x in tensors:
        x = x * mul + add
        if shrink > 1:
            channels, height, width = tfutil.shape_to_list(x.shape)[1:]
            x = tf.reshape(x, [-1, channels, height // shrink, shrink, width // shrink, shrink])
            x = tf.reduce_mean(x, axis=[3, 5])
        if dtype is not None:
            x = tf.saturate_cast(tf.round(x) if tf.as_dtype(dtype).is_integer else x, dtype)
        results.append(x)
    return results
