"""VGG16 with the LPIPS v0.1 weights: the perceptual distance of the path length metrics.

Sources: Simonyan & Zisserman 2014 (configuration D), Zhang et al. 2018 ("The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric").
"""

import numpy as np
import tensorflow.compat.v1 as tf

from training.layers.network_layers import channel_axis, num_channels, spatial_axes, to_layout

BUNDLED_MODULES = ('training.layers.network_layers',)

IMAGENET_MEAN = (0.485, 0.456, 0.406)   # of RGB values in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # (convolutions, channels); a distance after each stage
NORM_EPSILON = 1e-10


def vgg16_lpips(
        images_a_in,                    # [N, 3, H, W], RGB, values 0...255.
        images_b_in,                    # The same for the other image of each pair.
        stages=STAGES,                  # Convolutions and channels per stage.
        size=None,                      # Both images are scaled to this size first; None: as they are.
        data_format='NCHW',             # Layout of the activations.
        **_kwargs):
    """Distances [N]."""
    features = []
    for images in (images_a_in, images_b_in):
        images.set_shape([None, 3, None, None])
        x = tf.cast(images, tf.float32)
        if size is not None:
            x = tf.image.resize_bilinear(to_layout(x, 'NHWC'), [size, size], align_corners=False)
            x = tf.transpose(x, [0, 3, 1, 2])
        mean = np.float32(IMAGENET_MEAN).reshape([1, 3, 1, 1])
        std = np.float32(IMAGENET_STD).reshape([1, 3, 1, 1])
        features.append(_stage_features(to_layout((x * (1.0 / 255.0) - mean) / std, data_format), stages, data_format))

    axis = channel_axis(data_format)
    distance = 0.0
    for number, (a, b) in enumerate(zip(*features), 1):
        difference = tf.square(_normalize(a, axis) - _normalize(b, axis))
        difference = tf.reduce_mean(difference, axis=spatial_axes(data_format))
        with tf.variable_scope(f'lin{number}'):
            weight = tf.get_variable('weight', [stages[number - 1][1]], initializer=tf.initializers.ones())
        distance = distance + tf.reduce_sum(difference * weight, axis=1)
    return tf.identity(distance, name='distance_out')


def _stage_features(x, stages, fmt):
    """Activations after the last ReLU of every stage."""
    results = []
    for number, (num_convs, fmaps) in enumerate(stages, 1):
        if number > 1:
            window = [1, 1, 2, 2] if fmt == 'NCHW' else [1, 2, 2, 1]
            x = tf.nn.max_pool(x, ksize=window, strides=window, padding='VALID', data_format=fmt)
        for index in range(1, num_convs + 1):
            with tf.variable_scope(f'conv{number}_{index}', reuse=tf.AUTO_REUSE):
                weight = tf.get_variable('weight', [3, 3, num_channels(x, fmt), fmaps],
                                         initializer=tf.initializers.variance_scaling(2.0))
                bias = tf.get_variable('bias', [fmaps], initializer=tf.initializers.zeros())
                x = tf.nn.conv2d(x, weight, strides=[1, 1, 1, 1], padding='SAME', data_format=fmt)
                x = tf.nn.relu(tf.nn.bias_add(x, bias, data_format=fmt))
        results.append(x)
    return results


def _normalize(x, axis):
    """Feature vectors of every pixel, divided by their norms."""
    return x / (tf.sqrt(tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)) + NORM_EPSILON)
