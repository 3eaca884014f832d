"""The high resolutions of a generator, one sample after another, for graphs that make pictures on a CPU.

The activations of a minibatch at 256x256 pixels leave a CPU's caches, those of a sample do not, and what passes over
them once more, as a generator's layers do a dozen times, is up to five times as fast there (docs/performance.md).

The source of this file is stored in network pickles and must be importable under the original library on TensorFlow
>= 1.13.
"""

import tensorflow.compat.v1 as tf

from training.layers.network_gradients import leaky_relu, leaky_relu_by_maximum, plus, times
from training.layers.network_layers import apply_bias, instance_norm_to, noise_and_strength, style_of

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers',)

# Log2 of the resolution from which on samples are computed alone, by networks that go beyond it.
ALONE_FROM = 6

# Those whose convolutions of equal size are faster with rows in pairs.
PAIRED = (5, 6)


def first_alone(structure, res_log2, dtype, fmt):
    """Log2 of the resolution from which on samples are computed alone, None: never.

    Not on GPUs (NCHW), nor in the graph that is easy to read.
    """
    can_be = structure != 'linear' and tf.as_dtype(dtype) == tf.float32 and fmt == 'NHWC'
    return ALONE_FROM if can_be and res_log2 > ALONE_FROM else None


def one_after_another(function, x, shape):
    """What a function of a sample [1, ...] and its number makes of all samples of `x`, joined along the first axis.

    A loop, which TensorFlow differentiates once, but not twice.

    shape: of a result without its first axis, along which there may be one or none.
    """
    def step(number, results):
        return number + 1, results.write(number, function(x[number:number + 1], number))

    count = tf.shape(x)[0]
    results = tf.TensorArray(x.dtype, size=count, element_shape=[None] + shape, infer_shape=False)
    _, results = tf.while_loop(lambda number, _: number < count, step, (0, results), parallel_iterations=1)
    joined = results.concat()
    joined.set_shape([None] + shape)
    return joined


class Details:
    """Noise and style of a layer for a whole minibatch, made before the loop over its samples.

    Args:
        size, fmaps: pixels of a side, and channels, of the layer.
        num: number of samples, a scalar tensor.
        noise: stored noise, None for fresh noise; see `network_layers.scaled_noise`.
        dlatent: [N, dlatent_size].
        has_noise: whether it has any.
    """

    def __init__(self, size, fmaps, num, noise, seed, dlatent, use_wscale, has_noise):
        self._noise = self._strength = None
        if has_noise:
            self._noise, self._strength = noise_and_strength(size, fmaps, tf.float32, num, 'NHWC', noise, seed)
            if self._noise.shape.as_list()[0] == 1:
                self._noise, self._strength = times(self._noise, self._strength), None
        self._style = style_of(dlatent, fmaps, use_wscale, 'NHWC')

    def finish(self, x, number, act):
        """What follows the layer's convolution, of a sample [1, H, W, C]: bias, noise, activation `act` and style."""
        x = apply_bias(x, 'NHWC')
        if self._noise is not None:
            noise = _sample_of(self._noise, number)
            x = plus(x, noise if self._strength is None else times(noise, self._strength))
        x = leaky_relu_by_maximum(x) if act is leaky_relu else act(x)
        return instance_norm_to(x, *[_sample_of(value, number) for value in self._style], fmt='NHWC')


def _sample_of(values, number):
    """That of a sample, or that of all."""
    return values if values.shape.as_list()[0] == 1 else values[number:number + 1]
