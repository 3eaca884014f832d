"""One step of a projection, for several photographs at a time: each has latents, noise maps and a loss of its own."""

import collections

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import tf

LARGEST = 256           # pixels: images are averaged down to this before they are compared
SMALLEST_NOISE = 8      # pixels: coarser noise is not averaged further

Projector = collections.namedtuple('Projector', 'dlatents noises target rate latent_noise step distances losses '
                                   'images state')
"""dlatents: variable [B, 1 or layers, size]; noises: variables [B, 1, H, W] per layer; target: variable [B, 3, R, R]
in [0, 255]; rate: step size, a scalar to be fed; latent_noise: to be fed, like dlatents; step: an operation;
distances [B], losses [B]: of the latents with latent_noise; images: uint8 [B, H, W, C]; state: variables that a
resumption needs."""


def build(gen, distance, count, settings):
    """Builds the graph of a step for `count` photographs.

    Args:
        gen: `figures.generator.Generator`, style-based.
        distance: function of two batches of RGB images [B, 3, R, R] in [0, 255] that gives distances [B].
        settings: `schedule.Settings`.
    """
    layers, size = max(gen.num_layers, 1), gen.dlatent_avg.shape[-1]
    with tf.name_scope('Projection'), tf.device(tflib.device_name()):
        dlatents = _variable('dlatents', [count, 1 if settings.space == 'w' else layers, size])
        noises = [_variable(var.op.name.split('/')[-1], [count] + var.shape.as_list()[1:]) for var in gen.noise_vars]
        latent_noise = tf.placeholder(tf.float32, dlatents.shape.as_list(), name='latent_noise')
        rate = tf.placeholder(tf.float32, [], name='rate')
        noisy = dlatents + latent_noise
        if settings.space == 'w':
            noisy = tf.tile(noisy, [1, layers, 1])
        images = gen.build_synthesis(noisy, noises)
        compared = comparable(images)
        target = _variable('target', compared.shape.as_list())
        distances = distance(compared, target.value())
        losses = distances
        if settings.pixel_weight:
            losses += settings.pixel_weight * tf.reduce_mean(tf.square((compared - target) / 127.5), axis=[1, 2, 3])
        if settings.noise_maps and noises:
            losses += settings.noise_weight * tf.add_n([autocorrelation(noise) for noise in noises])
        step, state = _step(losses, dlatents, noises if settings.noise_maps else [], rate)
        return Projector(dlatents, noises, target, rate, latent_noise, step, distances, losses,
                         tflib.convert_images_to_uint8(images, nchw_to_nhwc=True), state)


def _variable(name, shape):
    return tf.Variable(tf.zeros(shape), trainable=False, name=name)


def comparable(images):
    """Images [B, C, R, R] in [-1, 1] as distances take them: RGB in [0, 255], averaged down to at most LARGEST."""
    channels, size = images.shape.as_list()[1:3]
    if channels == 1:
        images = tf.tile(images, [1, 3, 1, 1])
    factor = size // LARGEST
    if factor > 1:
        images = tf.reshape(images, [-1, 3, LARGEST, factor, LARGEST, factor])
        images = tf.reduce_mean(images, axis=[3, 5])
    return (images + 1.0) * 127.5


def autocorrelation(noise):
    """How much neighbouring pixels of noise [B, 1, H, H] say about each other, at all scales from 8 pixels on: [B]
    (StyleGAN2 paper, appendix D)."""
    total, size = 0.0, noise.shape.as_list()[-1]
    while True:
        for axis in (2, 3):
            moved = tf.concat(tf.split(noise, [1, size - 1], axis=axis)[::-1], axis=axis)
            total += tf.square(tf.reduce_mean(noise * moved, axis=[1, 2, 3]))
        if size <= SMALLEST_NOISE:
            return total
        size //= 2
        noise = tf.reduce_mean(tf.reshape(noise, [-1, 1, size, 2, size, 2]), axis=[3, 5])


def _step(losses, dlatents, noises, rate):
    """The operation of an Adam step, after which noise has mean 0 and deviation 1 again, and its variables."""
    variables = [dlatents] + noises
    optimizer = tf.train.AdamOptimizer(rate, beta1=0.9, beta2=0.999)
    # The sum, not the mean: a photograph's steps do not depend on how many others there are.
    gradients = tf.gradients(tf.reduce_sum(losses), variables)
    with tf.control_dependencies(gradients):
        applied = optimizer.apply_gradients(list(zip(gradients, variables)))
    with tf.control_dependencies([applied]):
        step = tf.group(applied, *[noise.assign(normalized(noise)) for noise in noises])
    return step, variables + list(optimizer.variables())


def normalized(noise):
    """Each map of noise [B, 1, H, W] with mean 0 and deviation 1."""
    noise = tf.identity(noise)
    mean, variance = tf.nn.moments(noise, axes=[1, 2, 3], keep_dims=True)
    return (noise - mean) / tf.sqrt(variance + 1e-12)


def reset(projector, gen, mean, targets):
    """Puts everything at the start: w's mean, the stored noise, and photographs [B, 3, R, R] in [0, 255]."""
    tflib.tfutil.init_vars(projector.state)
    values = {projector.dlatents: np.broadcast_to(mean, projector.dlatents.shape.as_list()), projector.target: targets}
    for var, stored in zip(projector.noises, gen.noise_maps()):
        values[var] = np.broadcast_to(stored, var.shape.as_list())
    tflib.set_vars(values)
