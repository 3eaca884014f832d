"""Stand-ins: small networks trained on drawn faces, so that every metric runs without any download.

Scores that they give compare networks trained on drawn faces with each other, and with nothing else. Their weights are
in `metrics/standins/`, written by `python -m metrics.train_standins`.
"""

import os
import zipfile
from collections import OrderedDict

import numpy as np
import tensorflow.compat.v1 as tf

from dnnlib.errors import UserError
from dnnlib.files import read_json
from training.layers.network_layers import to_layout

BUNDLED_MODULES = ('training.layers.network_layers',)

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'standins')
WEIGHTS = os.path.join(FOLDER, 'standins.npz')
RECORD = os.path.join(FOLDER, 'standins.json')
SIZE = 32               # resolution that all stand-ins look at
_ADVICE = 'restore the folder metrics/standins, or make them again with: python -m metrics.train_standins'
PERCEPTUAL_STAGES = ((1, 16), (1, 32), (1, 48))


def standin_features(
        images_in,                      # [N, 3, H, W] of any size, RGB, values 0...255.
        num_features=64,                # Size of the output.
        fmaps=32,                       # Channels of the first layer.
        data_format='NCHW',             # Layout of the activations.
        **_kwargs):
    """Features [N, num_features]: the last hidden layer of a small classifier of attributes."""
    images_in.set_shape([None, 3, None, None])
    x = to_layout(tf.cast(images_in, tf.float32), 'NHWC')
    x = tf.image.resize_bilinear(x, [SIZE, SIZE], align_corners=False)
    x = tf.transpose(x, [0, 3, 1, 2]) if data_format == 'NCHW' else x
    x = (x - 127.5) * (1.0 / 127.5)
    axis = 1 if data_format == 'NCHW' else 3
    window = [1, 1, 2, 2] if data_format == 'NCHW' else [1, 2, 2, 1]
    for number, channels in enumerate((fmaps, 2 * fmaps, 2 * fmaps), 1):
        with tf.variable_scope(f'conv{number}'):
            shape = [3, 3, x.shape.as_list()[axis], channels]
            weight = tf.get_variable('weight', shape, initializer=tf.initializers.variance_scaling(2.0))
            bias = tf.get_variable('bias', [channels], initializer=tf.initializers.zeros())
            x = tf.nn.conv2d(x, weight, strides=[1, 1, 1, 1], padding='SAME', data_format=data_format)
            x = tf.nn.relu(tf.nn.bias_add(x, bias, data_format=data_format))
            x = tf.nn.max_pool(x, ksize=window, strides=window, padding='VALID', data_format=data_format)
    x = x if data_format == 'NCHW' else tf.transpose(x, [0, 3, 1, 2])
    x = tf.reshape(x, [-1, int(np.prod(x.shape.as_list()[1:]))])
    with tf.variable_scope('dense'):
        weight = tf.get_variable('weight', [x.shape.as_list()[1], num_features],
                                 initializer=tf.initializers.variance_scaling(1.0))
        bias = tf.get_variable('bias', [num_features], initializer=tf.initializers.zeros())
    return tf.identity(tf.nn.elu(tf.matmul(x, weight) + bias), name='features_out')


def read_record():
    """What `standins.json` says: per stand-in its build function, keywords and accuracy. Raises UserError."""
    return read_json(RECORD, what='the record of the stand-in networks', advice=_ADVICE)


def read_weights(name):
    """OrderedDict of variable -> array of one stand-in. Raises UserError."""
    try:
        with np.load(WEIGHTS, allow_pickle=False) as archive:
            prefix = name + ':'
            values = OrderedDict((key[len(prefix):], archive[key]) for key in archive.files if key.startswith(prefix))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as err:
        raise UserError(f'the stand-in networks cannot be read ({WEIGHTS}: {err}); {_ADVICE}') from err
    if not values:
        raise UserError(f"there is no stand-in '{name}' in {WEIGHTS}")
    return values
