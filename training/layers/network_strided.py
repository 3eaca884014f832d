"""Convolutions with 4x4 kernels that halve or double the resolution, for the networks of the lecture.

The source of this file is stored in network pickles and must be importable under the original library on TensorFlow
>= 1.13.
"""

import tensorflow.compat.v1 as tf

from training.layers.network_convs import PARITY_TAPS, conv_down, conv_up
from training.layers.network_layers import num_channels, static_resolution

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers',)


def strided_up(x, weight, fmt):
    """Transposed convolution that doubles the resolution; weight [4, 4, out, in]."""
    _, _, fan_out, fan_in = weight.shape.as_list()
    if fmt == 'NHWC':
        taps = tf.reshape(tf.transpose(weight, [0, 1, 3, 2]), [16, fan_in, fan_out])
        return conv_up(x, tf.gather(taps, PARITY_TAPS))
    size = static_resolution(x, fmt) * 2
    y = tf.nn.conv2d_transpose(x, weight, output_shape=[tf.shape(x)[0], fan_out, size, size], strides=[1, 1, 2, 2],
                               padding='SAME', data_format=fmt)
    y.set_shape([None, fan_out, size, size])
    return y


def strided_down(x, weight, fmt):
    """Convolution that halves the resolution; weight [4, 4, in, out]."""
    assert num_channels(x, fmt) == weight.shape.as_list()[2]
    if fmt == 'NHWC':
        return conv_down(x, weight)
    return tf.nn.conv2d(x, weight, strides=[1, 1, 2, 2], padding='SAME', data_format=fmt)
