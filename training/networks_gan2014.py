"""Networks in the manner of "Generative Adversarial Networks" (Goodfellow et al. 2014), for its Fig. 2.

The paper says what they consist of: rectifiers and a sigmoid at the end of G, maxout and dropout in D, fully connected
or with convolutions in D and "deconvolutions" in G. It states no sizes; those here are ours. Images are NCHW, float32,
in [-1, 1], which the sigmoid is stretched to. D gives logits.
"""

import numpy as np
import tensorflow.compat.v1 as tf

from training.layers.network_layers import (
    apply_bias,
    channel_axis,
    fold_seed,
    from_layout,
    random_uniform,
    to_layout,
)
from training.layers.network_strided import strided_down, strided_up

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_fully_connected', 'G_deconvolutional'), 'D': ('D_fully_connected', 'D_convolutional')}

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_strided')


def G_fully_connected(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, label_size].
        num_channels=1,                 # Of the images; 1 to 4096
        resolution=32,                  # Side of the images; 1 to 8192
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        latent_size=100,                # Size of z; 1 to 1048576
        hidden=1024,                    # Rectifiers in each of the two hidden layers; 1 to 65536
        **_kwargs):
    """The fully connected generator. Returns images [N, num_channels, resolution, resolution]."""
    x = _latents(latents_in, labels_in, latent_size, label_size)
    for layer in range(2):
        x = tf.nn.relu(_dense(x, hidden, f'Dense{layer}'))
    x = _stretched_sigmoid(_dense(x, num_channels * resolution ** 2, 'Dense2'))
    return tf.reshape(x, [-1, num_channels, resolution, resolution], name='images_out')


def D_fully_connected(
        images_in,                      # Images, [N, num_channels, resolution, resolution].
        labels_in,                      # Labels, [N, label_size]; they do not influence the scores.
        num_channels=1,                 # Of the images; 1 to 4096
        resolution=32,                  # Side of the images; 1 to 8192
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        units=256,                      # Maxout units in each of the two hidden layers; 1 to 65536
        pieces=5,                       # Linear pieces of each maxout unit; 1 to 100
        dropout=0.5,                    # Share of units left out in training, of inputs two fifths of it; 0 to 0.9
        is_training=False,              # Leave units out.
        seed=None,                      # int32 [2]: what is left out is a function of it.
        **_kwargs):
    """The fully connected discriminator. Returns logits [N, 1] of "real"."""
    images_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    share = dropout if is_training else 0
    x = _drop(tf.reshape(images_in, [-1, num_channels * resolution ** 2]), share * 0.4, seed, 0)
    for layer in range(2):
        x = _drop(_maxout(_dense(x, units * pieces, f'Dense{layer}'), pieces, axis=1), share, seed, layer + 1)
    return tf.identity(_dense(x, 1, 'Dense2'), name='scores_out')


def G_deconvolutional(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, label_size].
        num_channels=3,                 # Of the images; 1 to 4096
        resolution=32,                  # Side of the images, divisible by 4; 4 to 8192
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        latent_size=100,                # Size of z; 1 to 1048576
        fmaps=64,                       # Channels before the image, twice as many after the first layer; 1 to 65536
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The "deconvolutional" generator. Returns images [N, num_channels, resolution, resolution]."""
    _check_resolution(resolution)
    fmt, size = data_format, resolution // 4
    x = _latents(latents_in, labels_in, latent_size, label_size)
    x = tf.nn.relu(_dense(x, 2 * fmaps * size ** 2, 'Dense0'))
    x = to_layout(tf.reshape(x, [-1, 2 * fmaps, size, size]), fmt)
    x = tf.nn.relu(_conv(x, 2 * fmaps, fmaps, 'Conv1', fmt, is_up=True))
    x = _stretched_sigmoid(_conv(x, fmaps, num_channels, 'Conv2', fmt, is_up=True))
    return tf.identity(from_layout(x, fmt), name='images_out')


def D_convolutional(
        images_in,                      # Images, [N, num_channels, resolution, resolution].
        labels_in,                      # Labels, [N, label_size]; they do not influence the scores.
        num_channels=3,                 # Of the images; 1 to 4096
        resolution=32,                  # Side of the images; 1 to 8192
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        fmaps=32,                       # Maxout channels of the first layer, twice as many in the second; 1 to 65536
        pieces=2,                       # Linear pieces of each maxout channel; 1 to 100
        dropout=0.5,                    # Share of channels' values left out in training, of inputs two fifths of it;
                                        # 0 to 0.9
        is_training=False,              # Leave values out.
        seed=None,                      # int32 [2]: what is left out is a function of it.
        data_format='NCHW',
        **_kwargs):
    """The convolutional discriminator. Returns logits [N, 1] of "real"."""
    _check_resolution(resolution)
    fmt, share = data_format, dropout if is_training else 0
    images_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    x, fan_in = to_layout(_drop(images_in, share * 0.4, seed, 0), fmt), num_channels
    for layer in range(2):
        outputs = fmaps * (layer + 1)
        x = _conv(x, fan_in, outputs * pieces, f'Conv{layer}', fmt, is_up=False)
        x, fan_in = _maxout(x, pieces, channel_axis(fmt)), outputs
    x = tf.reshape(from_layout(x, fmt), [-1, fan_in * (resolution // 4) ** 2])
    return tf.identity(_dense(_drop(x, share, seed, 1), 1, 'Dense2'), name='scores_out')


# ---- Layers

def _latents(latents_in, labels_in, latent_size, label_size):
    latents_in.set_shape([None, latent_size])
    labels_in.set_shape([None, label_size])
    return tf.concat([latents_in, labels_in], axis=1)


def _weight(shape, fan_in):
    bound = 1.0 / np.sqrt(fan_in)
    return tf.get_variable('weight', shape, initializer=tf.initializers.random_uniform(-bound, bound))


def _dense(x, units, scope):
    """[N, in] to [N, units]."""
    fan_in = x.shape.as_list()[1]
    with tf.variable_scope(scope):
        return apply_bias(tf.matmul(x, _weight([fan_in, units], fan_in)))


def _conv(x, fan_in, fmaps, scope, fmt, is_up):
    """Convolution with a 4x4 kernel and bias that doubles or halves the resolution."""
    with tf.variable_scope(scope):
        if is_up:  # every output sees four of the sixteen taps
            x = strided_up(x, _weight([4, 4, fmaps, fan_in], 4 * fan_in), fmt)
        else:
            x = strided_down(x, _weight([4, 4, fan_in, fmaps], 16 * fan_in), fmt)
        return apply_bias(x, fmt)


def _maxout(x, pieces, axis):
    """The greatest of each `pieces` neighbours along an axis."""
    shape = x.shape.as_list()
    x = tf.reshape(x, [-1] + shape[1:axis] + [shape[axis] // pieces, pieces] + shape[axis + 1:])
    return tf.reduce_max(x, axis=axis + 1)


def _drop(x, share, seed, number):
    """Sets a share of the values to zero and scales the others, so that their mean stays."""
    if share == 0:
        return x
    keeps = random_uniform(tf.shape(x), 0.0, 1.0, tf.float32, fold_seed(seed, number)) >= share
    return tf.where(keeps, x * (1.0 / (1.0 - share)), tf.zeros_like(x))


def _stretched_sigmoid(x):
    """2 sigmoid(x) - 1."""
    return tf.tanh(x * 0.5)


def _check_resolution(resolution):
    if resolution < 4 or resolution % 4:
        raise ValueError(f'the convolutional networks of training.networks_gan2014 are for images with sides divisible '
                         f'by 4; the data set has the resolution {resolution}')
