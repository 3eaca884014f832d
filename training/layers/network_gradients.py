"""Operations whose gradients, of every order, are written out here.

TensorFlow's own are general: a product with a number or with one value per channel alone differentiates into ten
operations, most of which find out at run time what is known when the graph is built. Training graphs of these networks
differentiate twice and consist mostly of gradients; writing these out saves a quarter of all (docs/performance.md).

The source of this file is stored in network pickles and must be importable under the original library on TensorFlow
>= 1.13.
"""

import uuid

import numpy as np
import tensorflow.compat.v1 as tf


def gradient_of(*op_types):
    """Decorates a gradient function, of an operation and the gradients of its outputs.

    It becomes a function without arguments that opens a context: operations of the given types that are made within it
    have this gradient. Registered under a name that other copies of this source, which pickles bring, do not take.
    """
    def decorate(function):
        name = f'{function.__name__}_{uuid.uuid4().hex}'
        tf.RegisterGradient(name)(function)
        return lambda: tf.get_default_graph().gradient_override_map({op_type: name for op_type in op_types})

    return decorate


# ---- Sums and products

def plus(x, y):
    """x + y, of tensors of one rank whose dimensions are equal or statically 1 in one of them, or y a scalar."""
    with _sum():
        return x + y


def times(x, y):
    """x * y, of tensors as in `plus`."""
    with _product():
        return x * y


@gradient_of('Add', 'AddV2')
def _sum(op, dy):
    x, y = op.inputs
    return _summed_to(dy, x), None if _is_number(y) else _summed_to(dy, y)


@gradient_of('Mul')
def _product(op, dy):
    x, y = op.inputs
    if _is_number(y):
        return times(dy, y), None
    if _is_outer(x, y):
        channels = y.shape.as_list()[-1]
        # A quarter of the time of a product and its sum.
        by_y = tf.matmul(tf.reshape(x, [-1, 1]), tf.reshape(dy, [-1, channels]), transpose_a=True)
        return _summed_to(times(dy, y), x), tf.reshape(by_y, y.shape)
    return _summed_to(times(dy, y), x), _summed_to(times(dy, x), y)


def _is_outer(x, y):
    """Whether one has a single channel, and the other nothing but channels, as noise and its strengths do."""
    column, row = x.shape.as_list(), y.shape.as_list()
    return x.dtype == tf.float32 and len(column) == len(row) > 0 and column[-1] == 1 and row[-1] not in (None, 1) \
        and all(size == 1 for size in row[:-1])


def _is_number(tensor):
    return tensor.shape.ndims == 0 and tensor.op.type == 'Const'


def _summed_to(value, like):
    """`value` summed over the dimensions in which `like` is broadcast to it."""
    if like.shape.ndims == 0:
        return tf.reduce_sum(value)
    axes = [axis for axis, (size, own) in enumerate(zip(value.shape.as_list(), like.shape.as_list()))
            if own == 1 and size != 1]
    return _one_by_one(tf.reduce_sum, value, axes)


def _one_by_one(reduction, x, axes):
    """A reduction of one axis after another, which are kept with size 1.

    A CPU adds the million pixels of a 1024x1024 image up in sequence otherwise, which loses digits and takes twice as
    long.
    """
    for axis in reversed(axes):
        x = reduction(x, axis=axis, keepdims=True)
    return x


def moments(x, axes):
    """(mean, variance) of x [N, ...] over `axes`, which are kept with size 1 and whose sizes are known."""
    mean = _one_by_one(tf.reduce_mean, x, axes)
    variance = _one_by_one(tf.reduce_mean, tf.squared_difference(x, mean), axes)
    with _moments():
        return tf.identity_n([mean, variance, x])[:2]


@gradient_of('IdentityN')
def _moments(op, d_mean, d_variance, _):
    mean, _, x = op.inputs
    size = np.prod(x.shape.as_list()[1:]) // np.prod(mean.shape.as_list()[1:])
    slope = times(d_variance, 2 / size)
    return None, None, plus(times(x, slope), times(d_mean, 1 / size) - times(mean, slope))


# ---- Activation

# Takes 0 to the side of the slope 1, where the operation for slopes has only what is above 0, and nothing else.
_LEAST = {tf.float32: 2.0 ** -126, tf.float16: 2.0 ** -24}


def leaky_relu(x, alpha=0.2):
    """max(x, alpha x); the slope at 0 is 1."""
    with _leaky_relu():
        return tf.nn.leaky_relu(x, alpha)


@gradient_of('LeakyRelu')
def _leaky_relu(op, dy):
    return _sloped(dy, op.outputs[0] + _LEAST.get(op.outputs[0].dtype, 0.0), op.get_attr('alpha'))


def leaky_relu_by_maximum(x):
    """`leaky_relu` with its usual slope, to the bit: two operations that take half its time on TensorFlow 1.15.

    That is, as long as `x` lies in a cache.
    """
    with _leaky_relu_by_maximum():
        return tf.identity_n([tf.maximum(x, 0.2 * x), x])[0]


@gradient_of('IdentityN')
def _leaky_relu_by_maximum(op, dy, _):
    return None, _sloped(dy, op.inputs[0] + _LEAST.get(dy.dtype, 0.0), 0.2)


def _sloped(dy, x, alpha):
    """dy times the slope for an input or output of x, of which `_LEAST` was added to 0."""
    if not hasattr(tf, 'raw_ops'):  # TensorFlow 1.13, under the original library
        return times(dy, alpha + (1 - alpha) * tf.cast(x > 0, dy.dtype))
    with _slopes():
        return tf.raw_ops.LeakyReluGrad(gradients=dy, features=x, alpha=alpha)


@gradient_of('LeakyReluGrad')
def _slopes(op, dy):
    return _sloped(dy, op.inputs[1], op.get_attr('alpha')), None


# ---- Blur

def symmetric_blur(x, taps, fmt):
    """Convolves every channel with `taps`, [k, k, 1, 1] with k odd and equal to its rotation; zero padding.

    Such a blur is its own gradient.
    """
    weight = tf.constant(np.tile(taps, [1, 1, x.shape.as_list()[1 if fmt == 'NCHW' else 3], 1]), x.dtype)
    return _blur(x, weight, fmt)


def _blur(x, weight, fmt):
    with _symmetric_blur():
        return tf.nn.depthwise_conv2d_native(x, weight, strides=[1, 1, 1, 1], padding='SAME', data_format=fmt)


@gradient_of('DepthwiseConv2dNative')
def _symmetric_blur(op, dy):
    return _blur(dy, op.inputs[1], op.get_attr('data_format').decode()), None


# ---- Sums over 2x2 pixels

def boxes(x, scale, is_padded):
    """`scale` times the sums over all squares of 2x2 pixels: [N, H, W, C] -> [N, H - 1, W - 1, C].

    With `is_padded` also over those that reach beyond the edge, where zeros are: [N, H + 1, W + 1, C]. Each is the
    other's gradient.
    """
    return _boxes(x, tf.constant(np.full([2, 2, x.shape.as_list()[3], 1], scale), x.dtype), is_padded)


def _boxes(x, weight, is_padded):
    with _boxes_within(), _boxes_around():
        if not is_padded:
            return tf.nn.depthwise_conv2d_native(x, weight, strides=[1, 1, 1, 1], padding='VALID')
        num, height, width, channels = x.shape.as_list()
        size = tf.concat([tf.shape(x)[:1], [height + 1, width + 1, channels]], axis=0)
        y = tf.nn.depthwise_conv2d_native_backprop_input(size, weight, x, strides=[1, 1, 1, 1], padding='VALID')
    y.set_shape([num, height + 1, width + 1, channels])
    return y


@gradient_of('DepthwiseConv2dNative')
def _boxes_within(op, dy):
    return _boxes(dy, op.inputs[1], is_padded=True), None


@gradient_of('DepthwiseConv2dNativeBackpropInput')
def _boxes_around(op, dy):
    return None, None, _boxes(dy, op.inputs[1], is_padded=False)
