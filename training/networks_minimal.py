"""The minimal GAN of the lecture: two networks with one hidden layer each, for points.

`G_minimal` and `D_minimal` follow the code on the slides of EE-559, lecture 10.1 (F. Fleuret); the idea is that of
Goodfellow et al. 2014. D gives logits, since the losses hold the sigmoid.
"""

import numpy as np
import tensorflow.compat.v1 as tf

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_minimal',), 'D': ('D_minimal',)}


def G_minimal(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, label_size].
        num_channels=2,                 # Coordinates of a point; 1 to 1048576
        resolution=1,                   # Points have no pixels; 1 to 1
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        latent_size=8,                  # Size of z; 1 to 1048576
        hidden=100,                     # Units of the hidden layer; 1 to 1048576
        **_kwargs):
    """The generator. Returns points [N, num_channels]."""
    _check_resolution(resolution)
    latents_in.set_shape([None, latent_size])
    labels_in.set_shape([None, label_size])
    x = tf.concat([latents_in, labels_in], axis=1)
    x = tf.nn.relu(_linear(x, hidden, 'Dense0'))
    return tf.identity(_linear(x, num_channels, 'Dense1'), name='points_out')


def D_minimal(
        points_in,                      # Points, [N, num_channels].
        labels_in,                      # Labels, [N, label_size]; they do not influence the scores.
        num_channels=2,
        resolution=1,
        label_size=0,
        hidden=100,
        **_kwargs):
    """The discriminator. Returns logits [N, 1] of "real"."""
    _check_resolution(resolution)
    points_in.set_shape([None, num_channels])
    labels_in.set_shape([None, label_size])
    x = tf.nn.relu(_linear(points_in, hidden, 'Dense0'))
    return tf.identity(_linear(x, 1, 'Dense1'), name='scores_out')


def _linear(x, units, scope):
    """x [N, in] to [N, units]; weight [in, units] and bias start uniform within ±1/√in, as in the slides' library."""
    fan_in = x.shape.as_list()[1]
    bound = 1.0 / np.sqrt(fan_in)
    with tf.variable_scope(scope):
        weight = tf.get_variable('weight', [fan_in, units], initializer=tf.initializers.random_uniform(-bound, bound))
        bias = tf.get_variable('bias', [units], initializer=tf.initializers.random_uniform(-bound, bound))
    return tf.matmul(x, weight) + bias


def _check_resolution(resolution):
    if resolution != 1:
        raise ValueError(f'the networks of training.networks_minimal are for points, which have the resolution 1; the '
                         f'data set has {resolution}')
