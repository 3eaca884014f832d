"""Layers that the network families share.

The source of this file is stored in network pickles together with that of the network file, and must run under the
original library on TensorFlow >= 1.13 too: from dnnlib it uses nothing.

Activations are [N, C, H, W] where `fmt` is 'NCHW', which is the default wherever there is one, as it is that of the
build functions' `data_format`, and [N, H, W, C] where it is 'NHWC'. Variables have the same shape in both. Random draws
take an optional int32 seed [2]: with it they are functions of the seed, without it TensorFlow's own.
"""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

from training.layers.network_convs import (
    conv_doubling,
    conv_doubling_blurred,
    conv_halving,
    conv_same,
    conv_same_of_pairs,
)
from training.layers.network_gradients import boxes, leaky_relu, moments, plus, symmetric_blur, times

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_gradients', 'training.layers.network_convs')

# Small number under square roots (StyleGAN and Progressive GAN alike).
EPSILON = 1e-8


def named(name):
    """Decorates a function whose operations have a name scope of their own, as which listings of layers show them."""
    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with tf.name_scope(name):
                return function(*args, **kwargs)
        return wrapped

    return decorate


# ---- Layout

def is_channels_first(fmt):
    """Whether activations are [N, C, H, W]. Raises ValueError for what is no layout, such as another argument."""
    if fmt not in ('NCHW', 'NHWC'):
        raise ValueError(f"the layout is {fmt!r}; 'NCHW' or 'NHWC' is expected")
    return fmt == 'NCHW'


def to_layout(x, fmt):
    """[N, C, H, W] to the inner layout."""
    return x if is_channels_first(fmt) else tf.transpose(x, [0, 2, 3, 1])


def from_layout(x, fmt):
    """The inner layout to [N, C, H, W]."""
    return x if is_channels_first(fmt) else tf.transpose(x, [0, 3, 1, 2])


def spatial_axes(fmt):
    """Positions of height and width."""
    return [2, 3] if is_channels_first(fmt) else [1, 2]


def channel_axis(fmt):
    """Position of the channels."""
    return 1 if is_channels_first(fmt) else 3


def num_channels(x, fmt):
    """Static number of channels."""
    return x.shape.as_list()[channel_axis(fmt)]


def static_resolution(x, fmt):
    """Static height of a square activation."""
    return x.shape.as_list()[spatial_axes(fmt)[0]]


def _strides(stride, fmt):
    return [1, 1, stride, stride] if is_channels_first(fmt) else [1, stride, stride, 1]


# ---- Random numbers

def fold_seed(seed, number):
    """A seed for draw `number` below `seed`; None stays None."""
    if seed is None:
        return None
    # An odd factor spreads small numbers over 32 bits; as a signed constant, since seeds are int32.
    mixed = ((number + 1) * 0x85EBCA6B) & 0xFFFFFFFF
    with tf.colocate_with(seed):    # on the host, where draws take it
        return tf.bitwise.bitwise_xor(seed, tf.constant([0, mixed - ((mixed >> 31) << 32)], tf.int32))


def random_normal(shape, dtype, seed=None):
    """Standard normal numbers."""
    if seed is None:
        return tf.random_normal(shape, dtype=dtype)
    return tf.random.stateless_normal(shape, seed=seed, dtype=dtype)


def random_uniform(shape, low, high, dtype, seed=None):
    """Uniform numbers in [low, high)."""
    if seed is None:
        return tf.random_uniform(shape, low, high, dtype=dtype)
    return tf.random.stateless_uniform(shape, seed=seed, minval=low, maxval=high, dtype=dtype)


# ---- Weights, biases, activations

def get_weight(shape, gain, use_wscale, lrmul=1.0):
    """Weight variable with equalized learning rate (Progressive GAN, section 4.1).

    Args:
        shape: [k, k, in, out] or [in, out].
        gain: He's gain; std = gain / sqrt(fan-in).
        use_wscale: keep the variable at unit variance and scale it when it is used.
        lrmul: learning rate of this variable relative to the others.
    """
    he_std = gain / np.sqrt(np.prod(shape[:-1]))
    init_std, runtime_coef = (1.0 / lrmul, he_std * lrmul) if use_wscale else (he_std / lrmul, lrmul)
    weight = tf.get_variable('weight', shape=shape, initializer=tf.initializers.random_normal(0, init_std))
    return times(weight, runtime_coef)


def apply_bias(x, fmt='NCHW', lrmul=1.0):
    """Adds a learned bias per channel, of activations as `fmt` says or of [N, C]."""
    axis = min(channel_axis(fmt), x.shape.ndims - 1)
    bias = tf.get_variable('bias', shape=[x.shape.as_list()[axis]], initializer=tf.initializers.zeros())
    if lrmul != 1.0:
        bias = times(bias, lrmul)
    return tf.nn.bias_add(x, tf.cast(bias, x.dtype), data_format='NHWC' if x.shape.ndims == 2 else fmt)


def activation(name):
    """(function, He gain) for 'lrelu' or 'relu'."""
    return {'lrelu': (leaky_relu, np.sqrt(2)), 'relu': (tf.nn.relu, np.sqrt(2))}[name]


def blend(x, y, share):
    """(1 - share) x + share y for tensors of equal shape."""
    return plus(x, times(y - x, share))


# ---- Linear layers

def dense(x, fmaps, gain, use_wscale, lrmul=1.0):
    """Fully connected layer without bias, [N, in] -> [N, fmaps]."""
    weight = get_weight([x.shape.as_list()[1], fmaps], gain, use_wscale, lrmul)
    return tf.matmul(x, tf.cast(weight, x.dtype))


def flatten_chw(x, fmt):
    """[N, C * H * W] in this order, which the weights of dense layers expect in either layout."""
    x = from_layout(x, fmt)
    return tf.reshape(x, [-1, int(np.prod(x.shape.as_list()[1:]))])


def conv2d(x, fmaps, kernel, gain, use_wscale, fmt):
    """Convolution with stride 1, zero padding to equal size, no bias."""
    weight = get_weight([kernel, kernel, num_channels(x, fmt), fmaps], gain, use_wscale)
    weight = tf.cast(weight, x.dtype)
    if fmt == 'NHWC':
        return conv_same(x, weight)
    return tf.nn.conv2d(x, weight, strides=[1, 1, 1, 1], padding='SAME', data_format=fmt)


def conv2d_of_pairs(x, fmaps, kernel, gain, use_wscale, fmt):
    """`conv2d` with a 3x3 kernel by fewer multiplications, of float32 activations in the NHWC layout."""
    assert kernel == 3 and fmt == 'NHWC'
    return conv_same_of_pairs(x, get_weight([kernel, kernel, num_channels(x, fmt), fmaps], gain, use_wscale))


def _spread_kernel(weight, scale=1.0, is_rotated=False):
    """Sum of the four one-pixel shifts of a k x k kernel: [k, k, in, out] -> [k + 1, k + 1, in, out], times `scale`.

    Written as a product with a constant matrix, since the gradients of pads and slices of many small kernels cost more
    than those of the convolutions that they save.
    """
    size, _, fan_in, fan_out = weight.shape.as_list()
    matrix = np.zeros([size + 1, size + 1, size, size], np.float32)
    for row, column in np.ndindex(size, size):
        source = (size - 1 - row, size - 1 - column) if is_rotated else (row, column)
        matrix[row:row + 2, column:column + 2, source[0], source[1]] = scale
    matrix = matrix.reshape([(size + 1) ** 2, size ** 2])
    spread = tf.matmul(tf.constant(matrix), tf.reshape(weight, [size ** 2, fan_in * fan_out]))
    return tf.reshape(spread, [size + 1, size + 1, fan_in, fan_out])


def upscale2d_conv2d(x, fmaps, kernel, gain, use_wscale, fused_scale, fmt):
    """Doubles the resolution, then convolves.

    Both are computed as one transposed convolution, which needs 4/9 of the multiplications with a 4x4 kernel (NCHW),
    and 1/4 with the 3x3 kernel and sums over 2x2 pixels (NHWC).

    Args:
        fused_scale: take the kernel as it is, as the original's fused form did; otherwise it is rotated by 180
            degrees, which makes the result equal to upscaling and then convolving. A stored network needs the choice
            it was trained with. 'auto': fused from 128 pixels (of the output) on.
    """
    is_rotated = not _is_fused(x, fused_scale, fmt)
    weight = get_weight([kernel, kernel, num_channels(x, fmt), fmaps], gain, use_wscale)
    if fmt == 'NHWC':
        weight = tf.reverse(weight, [0, 1]) if is_rotated else weight
        return _boxed(conv_doubling(x, tf.cast(weight, x.dtype)), 1, is_padded=False)
    size = static_resolution(x, fmt) * 2
    weight = tf.cast(_spread_kernel(weight, is_rotated=is_rotated), x.dtype)
    y = tf.nn.conv2d_transpose(x, tf.transpose(weight, [0, 1, 3, 2]), output_shape=[tf.shape(x)[0], fmaps, size, size],
                               strides=[1, 1, 2, 2], padding='SAME', data_format=fmt)
    y.set_shape([None, fmaps, size, size])
    return y


def _is_fused(x, fused_scale, fmt):
    return static_resolution(x, fmt) >= 64 if fused_scale == 'auto' else fused_scale


def upscale2d_conv2d_blur2d(x, fmaps, gain, use_wscale, fused_scale):
    """`upscale2d_conv2d` with a 3x3 kernel, then `blur2d` by [1, 2, 1], of one sample that a CPU's cache holds.

    x: float32 [1, H, W, C]; for other arguments see there.
    """
    weight = times(get_weight([3, 3, num_channels(x, 'NHWC'), fmaps], gain, use_wscale), 1 / 16)
    return conv_doubling_blurred(x, weight if _is_fused(x, fused_scale, 'NHWC') else tf.reverse(weight, [0, 1]))


def conv2d_downscale2d(x, fmaps, kernel, gain, use_wscale, fmt):
    """Convolves, then halves the resolution: one strided convolution, equal up to rounding and cheaper."""
    weight = get_weight([kernel, kernel, num_channels(x, fmt), fmaps], gain, use_wscale)
    if fmt == 'NHWC':
        return conv_halving(_boxed(x, 0.25, is_padded=True), tf.cast(weight, x.dtype))
    weight = tf.cast(_spread_kernel(weight, scale=0.25), x.dtype)
    return tf.nn.conv2d(x, weight, strides=[1, 1, 2, 2], padding='SAME', data_format=fmt)


def _boxed(x, scale, is_padded):
    """`boxes` of any type of activations; computed in float32 at least."""
    return tf.cast(boxes(tf.cast(x, tf.float32) if x.dtype == tf.float16 else x, scale, is_padded), x.dtype)


# ---- Resampling

@named('Upscale2D')
def upscale2d(x, fmt, factor=2):
    """Repeats every pixel `factor` times in both directions."""
    if factor == 1:
        return x
    shape = x.shape.as_list()
    # By reshape and tile: the resize operation has no second derivative, which gradient penalties need.
    if is_channels_first(fmt):
        _, channels, height, width = shape
        x = tf.reshape(x, [-1, channels, height, 1, width, 1])
        x = tf.tile(x, [1, 1, 1, factor, 1, factor])
        return tf.reshape(x, [-1, channels, height * factor, width * factor])
    _, height, width, channels = shape
    x = tf.reshape(x, [-1, height, 1, width, 1, channels])
    x = tf.tile(x, [1, 1, factor, 1, factor, 1])
    return tf.reshape(x, [-1, height * factor, width * factor, channels])


@named('Downscale2D')
def downscale2d(x, fmt, factor=2):
    """Means over squares of `factor` x `factor` pixels."""
    if factor == 1:
        return x
    size = _strides(factor, fmt)
    return tf.nn.avg_pool(x, ksize=size, strides=size, padding='VALID', data_format=fmt)


@named('Blur2D')
def blur2d(x, kernel, fmt):
    """Convolves every channel with the outer product of `kernel` with itself, normalised to sum 1, zero padding.

    Args:
        kernel: list of numbers, for example [1, 2, 1]; None leaves `x` as it is.
    """
    if kernel is None:
        return x
    taps = np.asarray(kernel, dtype=np.float32)
    taps = taps[:, np.newaxis] * taps[np.newaxis, :]
    taps = (taps / taps.sum())[:, :, np.newaxis, np.newaxis]
    blurred = tf.cast(x, tf.float32)
    if len(kernel) % 2 and np.array_equal(taps, taps[::-1, ::-1]):
        return tf.cast(symmetric_blur(blurred, taps, fmt), x.dtype)
    weight = tf.constant(np.tile(taps, [1, 1, num_channels(x, fmt), 1]))
    blurred = tf.nn.depthwise_conv2d(blurred, weight, strides=[1, 1, 1, 1], padding='SAME', data_format=fmt)
    return tf.cast(blurred, x.dtype)


# ---- Normalisation and modulation

@named('PixelNorm')
def pixel_norm(x, fmt='NCHW', epsilon=EPSILON):
    """Scales the feature vector of every pixel (or row of [N, C]) to unit mean square."""
    axis = min(channel_axis(fmt), x.shape.ndims - 1)
    return x * tf.rsqrt(tf.reduce_mean(tf.square(x), axis=axis, keepdims=True) + tf.constant(epsilon, x.dtype))


def instance_norm(x, fmt):
    """Brings every channel of every sample to zero mean and unit variance over its pixels; computed in float32."""
    return _scaled_and_shifted(x, *_whitening(x, fmt))


def style_mod(x, dlatent, use_wscale, fmt):
    """Adaptive scale and shift of every channel from w (StyleGAN paper, section 2).

    Args:
        x: activations with C channels.
        dlatent: [N, dlatent_size].
    """
    scale, shift = style_of(dlatent, num_channels(x, fmt), use_wscale, fmt)
    return plus(times(x, scale), shift)


def styled_instance_norm(x, dlatent, use_wscale, fmt):
    """`instance_norm`, then `style_mod` (AdaIN): together one scale and one shift, so that `x` is changed only once."""
    scale, shift = _whitening(x, fmt)
    style = style_of(dlatent, num_channels(x, fmt), use_wscale, fmt)
    style_scale, style_shift = [tf.cast(value, tf.float32) for value in style]
    return _scaled_and_shifted(x, times(scale, style_scale), plus(times(shift, style_scale), style_shift))


def _scaled_and_shifted(x, scale, shift):
    return tf.cast(plus(times(tf.cast(x, tf.float32), scale), shift), x.dtype)


@named('InstanceNorm')
def instance_norm_to(x, style_scale, style_shift, fmt):
    """`styled_instance_norm` of float32 activations by a scale and a shift that are there already."""
    mean, variance = moments(x, spatial_axes(fmt))
    # Used twice, so that the engine's optimizer does not multiply the activations by either factor.
    scale = times(tf.rsqrt(plus(variance, EPSILON)), style_scale)
    return plus(times(x, scale), plus(times(-mean, scale), style_shift))


@named('InstanceNorm')
def _whitening(x, fmt):
    """Scale and shift, float32, that bring each channel of each sample to zero mean and unit variance."""
    mean, variance = moments(tf.cast(x, tf.float32), spatial_axes(fmt))
    scale = tf.rsqrt(plus(variance, EPSILON))
    return scale, times(-mean, scale)


def style_of(dlatent, channels, use_wscale, fmt):
    """Learned scale and shift for each channel from w: [N, C, 1, 1] or [N, 1, 1, C] each."""
    with tf.variable_scope('StyleMod'):
        style = apply_bias(dense(dlatent, channels * 2, gain=1, use_wscale=use_wscale))
        shape = [channels, 1, 1] if fmt == 'NCHW' else [1, 1, channels]
        scale, shift = tf.unstack(tf.reshape(style, [-1, 2] + shape), axis=1)
        return plus(scale, 1), shift


def apply_noise(x, num, fmt, stored=None, seed=None):
    """Adds noise with a learned strength per channel, see `scaled_noise`."""
    return plus(x, scaled_noise(x, num, fmt, stored, seed))


def scaled_noise(x, num, fmt, stored=None, seed=None):
    """Noise with a learned strength per channel for activations like `x`, one image per sample for all channels.

    Args:
        num: number of samples, a scalar tensor.
        stored: noise [1, 1, H, W] for the whole minibatch, or [N, 1, H, W]; None draws fresh noise per sample.
    """
    return times(*noise_and_strength(static_resolution(x, fmt), num_channels(x, fmt), x.dtype, num, fmt, stored, seed))


def noise_and_strength(size, channels, dtype, num, fmt, stored=None, seed=None):
    """The factors of `scaled_noise`: one image per sample, or for all, and one number per channel."""
    with tf.variable_scope('Noise'):
        if stored is None:
            noise = random_normal([num, 1, size, size] if fmt == 'NCHW' else [num, size, size, 1], dtype, seed)
        else:
            noise = tf.cast(stored if fmt == 'NCHW' else tf.reshape(stored, [-1, size, size, 1]), dtype)
        strength = tf.get_variable('weight', shape=[channels], initializer=tf.initializers.zeros())
        strength = tf.reshape(strength, [1, channels, 1, 1] if fmt == 'NCHW' else [1, 1, 1, channels])
        return noise, tf.cast(strength, dtype)


@named('MinibatchStddev')
def minibatch_stddev(x, group_size, num_features, fmt):
    """Appends the standard deviation over groups of samples as extra channels (Progressive GAN, section 3).

    Args:
        x: [N, C, H, W] in the inner layout; N divisible by the group size.
        group_size: samples per group, at most N; members of a group lie N / group_size apart.
        num_features: number of channels appended, each from its share of the C channels.
    """
    _, channels, height, width = from_layout(x, fmt).shape.as_list()
    num = tf.shape(x)[0]
    group_size = tf.minimum(group_size, num)
    share = channels // num_features
    if fmt == 'NCHW':
        y = tf.reshape(tf.cast(x, tf.float32), [group_size, -1, num_features, share, height, width])
        axes = [2, 3, 4]
    else:
        y = tf.reshape(tf.cast(x, tf.float32), [group_size, -1, height, width, num_features, share])
        axes = [1, 2, 4]
    y = y - tf.reduce_mean(y, axis=0, keepdims=True)
    y = tf.sqrt(tf.reduce_mean(tf.square(y), axis=0) + EPSILON)
    y = tf.cast(tf.reduce_mean(y, axis=axes), x.dtype)  # [N / group_size, num_features]
    y = tf.tile(y, [group_size, 1])
    if fmt == 'NCHW':
        y = tf.tile(tf.reshape(y, [-1, num_features, 1, 1]), [1, 1, height, width])
    else:
        y = tf.tile(tf.reshape(y, [-1, 1, 1, num_features]), [1, height, width, 1])
    return tf.concat([x, y], axis=channel_axis(fmt))


# ---- The end of the discriminators that grow, by the published names of its variables

def scores_of(x, fmaps, hidden, outputs, mbstd_group_size, mbstd_num_features, act, gain, use_wscale, fmt):
    """A discriminator's scores [N, outputs] from features of 4x4 pixels, by way of `fmaps` channels, `hidden` units."""
    with tf.variable_scope('4x4'):
        if mbstd_group_size > 1:
            x = minibatch_stddev(x, mbstd_group_size, mbstd_num_features, fmt)
        with tf.variable_scope('Conv'):
            x = act(apply_bias(conv2d(x, fmaps, 3, gain, use_wscale, fmt), fmt))
        with tf.variable_scope('Dense0'):
            x = act(apply_bias(dense(flatten_chw(x, fmt), hidden, gain, use_wscale)))
        with tf.variable_scope('Dense1'):
            return apply_bias(dense(x, outputs, 1, use_wscale))
