"""The deep convolutional GAN of Radford et al. 2015, as the slides of EE-559, lecture 10.1, show it.

`G_dcgan` and `D_dcgan` are for 64x64 pixels; other powers of two from 8 on have a block more or fewer per factor of
two. Inputs and outputs are NCHW, float32. D gives logits, since the losses hold the sigmoid.
"""

import numpy as np
import tensorflow.compat.v1 as tf

from training.layers.network_batch_norm import batch_norm
from training.layers.network_gradients import leaky_relu
from training.layers.network_layers import channel_axis, from_layout, to_layout
from training.layers.network_strided import strided_down, strided_up

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_dcgan',), 'D': ('D_dcgan',)}

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_batch_norm',
                   'training.layers.network_strided')


def G_dcgan(
        latents_in,                     # z, [N, nz].
        labels_in,                      # Labels, [N, label_size].
        num_channels=3,                 # Of the images; 1 to 4096
        resolution=64,                  # Power of two; 8 to 8192
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        nz=100,                         # Size of z; 1 to 1048576
        ngf=64,                         # Channels of the last hidden layer, the first has resolution / 8 times as many;
                                        # 1 to 65536
        is_training=False,              # Normalise by the minibatch's statistics.
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The generator. Returns images [N, num_channels, resolution, resolution] in [-1, 1]."""
    fmt = data_format
    num_blocks = _num_blocks(resolution)
    latents_in.set_shape([None, nz])
    labels_in.set_shape([None, label_size])
    x = tf.concat([latents_in, labels_in], axis=1)
    x = _from_vector(x, ngf * resolution // 8, 'Conv0', fmt)
    for block in range(num_blocks):
        x = tf.nn.relu(batch_norm(x, f'BatchNorm{block}', fmt, is_training))
        is_last = block == num_blocks - 1
        x = _up(x, num_channels if is_last else _channels(x, fmt) // 2, f'Conv{block + 1}', fmt)
    images = from_layout(tf.tanh(x), fmt)
    images.set_shape([None, num_channels, resolution, resolution])
    return tf.identity(images, name='images_out')


def D_dcgan(
        images_in,                      # Images, [N, num_channels, resolution, resolution].
        labels_in,                      # Labels, [N, label_size]; they do not influence the scores.
        num_channels=3,
        resolution=64,
        label_size=0,
        ndf=64,                         # Channels of the first layer, the last has resolution / 8 times as many;
                                        # 1 to 65536
        is_training=False,
        data_format='NCHW',
        **_kwargs):
    """The discriminator. Returns logits [N, 1] of "real"."""
    fmt = data_format
    num_blocks = _num_blocks(resolution)
    images_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    x = leaky_relu(_down(to_layout(images_in, fmt), ndf, 'Conv0', fmt))
    for block in range(1, num_blocks):
        x = _down(x, _channels(x, fmt) * 2, f'Conv{block}', fmt)
        x = leaky_relu(batch_norm(x, f'BatchNorm{block}', fmt, is_training))
    return tf.identity(_to_vector(x, 1, f'Conv{num_blocks}', fmt), name='scores_out')


# ---- Layers: convolutions with 4x4 kernels and no bias

def _weight(scope, shape):
    with tf.variable_scope(scope):
        return tf.get_variable('weight', shape, initializer=tf.initializers.random_normal(0.0, 0.02))


def _channels(x, fmt):
    return x.shape.as_list()[channel_axis(fmt)]


def _from_vector(x, fmaps, scope, fmt):
    """Transposed convolution of a single pixel, [N, in] to 4x4 pixels: a product with a matrix."""
    fan_in = x.shape.as_list()[1]
    weight = tf.reshape(_weight(scope, [4, 4, fmaps, fan_in]), [16 * fmaps, fan_in])
    x = tf.reshape(tf.matmul(x, weight, transpose_b=True), [-1, 4, 4, fmaps])
    return x if fmt == 'NHWC' else tf.transpose(x, [0, 3, 1, 2])


def _to_vector(x, units, scope, fmt):
    """Convolution of 4x4 pixels into a single one, [N, units]."""
    weight = tf.reshape(_weight(scope, [4, 4, _channels(x, fmt), units]), [-1, units])
    x = x if fmt == 'NHWC' else tf.transpose(x, [0, 2, 3, 1])
    return tf.matmul(tf.reshape(x, [-1, weight.shape.as_list()[0]]), weight)


def _up(x, fmaps, scope, fmt):
    """Transposed convolution that doubles the resolution."""
    return strided_up(x, _weight(scope, [4, 4, fmaps, _channels(x, fmt)]), fmt)


def _down(x, fmaps, scope, fmt):
    """Convolution that halves the resolution."""
    return strided_down(x, _weight(scope, [4, 4, _channels(x, fmt), fmaps]), fmt)


def _num_blocks(resolution):
    """Number of layers that double or halve the resolution, between 4x4 and the image."""
    num_blocks = int(np.log2(max(resolution, 1))) - 2
    if num_blocks < 1 or resolution != 4 * 2 ** num_blocks:
        raise ValueError(f'the networks of training.networks_dcgan are for square images with sides of 8, 16, 32, 64 '
                         f'or a higher power of two; the data set has the resolution {resolution}')
    return num_blocks
