"""Stand-ins: small networks trained on drawn faces, so that every metric runs without any download.

Scores that they give compare networks trained on drawn faces with each other, and with nothing else. Their weights are
in `metrics/standins/`, written by `python -m metrics.train_standins`.
"""

import os
from collections import OrderedDict

import numpy as np
import tensorflow.compat.v1 as tf

from dnnlib.array_files import read_npz
from dnnlib.errors import FileError, UserError
from dnnlib.files import read_json, sha256_file
from training.layers.network_layers import to_layout

BUNDLED_MODULES = ('training.layers.network_layers',)

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'standins')
WEIGHTS = os.path.join(FOLDER, 'standins.npz')
RECORD = os.path.join(FOLDER, 'standins.json')
# What the two files of this project are. `train_standins` writes others, which are no less good, but not these.
WEIGHTS_SHA256 = '6a3a23230a70555d6aa73859de65b72ad3b3be9ec09547d0719a95af3f3424a2'
RECORD_SHA256 = '000ee6848d7f52f5aa0a9bfec2280a5f11e2535b5fcf0b74b83110c2ad6d2453'
BUILD_FUNCS = {full.rpartition('.')[2]: full for full in (
    'metrics.networks.standin.standin_features', 'metrics.networks.vgg16_lpips.vgg16_lpips',
    'training.networks_stylegan.D_basic')}
SIZE = 32               # resolution that all stand-ins look at
_ADVICE = 'restore the folder metrics/standins, or make them again with: python -m metrics.train_standins'
PERCEPTUAL_STAGES = ((1, 16), (1, 32), (1, 48))


def standin_features(
        images_in,                      # [N, 3, H, W] of any size, RGB, values 0...255.
        num_features=64,                # Size of the output.
        fmaps=32,                       # Channels of the first layer.
        reduction='bilinear',           # How larger images are reduced: 'area', by means of the pixels that fall
                                        # together, or 'bilinear', by samples of single ones, as first versions did.
        data_format='NCHW',             # Layout of the activations.
        **_kwargs):
    """Features [N, num_features]: the last hidden layer of a small classifier of attributes."""
    images_in.set_shape([None, 3, None, None])
    x = _resize(to_layout(tf.cast(images_in, tf.float32), 'NHWC'), reduction)
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


def _resize(x, reduction):
    """Images [N, SIZE, SIZE, 3] of [N, H, W, 3]. Those of SIZE stay bit by bit as they are, smaller ones are
    interpolated.

    Samples of single pixels keep a contrast between neighbours that images of SIZE do not have (Parmar et al., "On
    Aliased Resizing and Surprising Subtleties in GAN Evaluation", 2022); means do not.
    """
    if reduction == 'bilinear':
        return tf.image.resize_bilinear(x, [SIZE, SIZE], align_corners=False)
    if reduction != 'area':
        raise ValueError(f"reduction is {reduction!r}; it must be 'area' or 'bilinear'")
    x = tf.image.resize_bilinear(x, tf.maximum(tf.shape(x)[1:3], SIZE), align_corners=False)
    return tf.image.resize_area(x, [SIZE, SIZE])


def read_record():
    """What `standins.json` says: per stand-in its build function, keywords and accuracy. Raises UserError."""
    record = read_json(RECORD, what='the record of the stand-in networks', advice=_ADVICE)
    networks = record.get('networks')
    if not isinstance(networks, dict) or not all(map(_is_entry, networks.values())):
        raise UserError(f'{RECORD} is not the record of the stand-in networks; {_ADVICE}')
    return record


def _is_entry(entry):
    return isinstance(entry, dict) and entry.get('func_name') in BUILD_FUNCS.values() \
        and isinstance(entry.get('kwargs'), dict) and isinstance(entry.get('attribute', ''), str)


def read_weights(name):
    """OrderedDict of variable -> array of one stand-in. Raises UserError."""
    try:
        arrays = read_npz(WEIGHTS)
    except FileError as err:
        raise UserError(f'the stand-in networks cannot be read: {err}; {_ADVICE}') from err
    prefix = name + ':'
    values = OrderedDict((key[len(prefix):], value) for key, value in arrays.items() if key.startswith(prefix))
    if not values:
        raise UserError(f"there is no stand-in '{name}' in {WEIGHTS}")
    return values


def hashes():
    """What a score's record says of the two files: the weights, and how the networks that have them are built."""
    return OrderedDict(file_sha256=sha256_file(WEIGHTS), record_sha256=sha256_file(RECORD))


def are_as_published():
    """Whether both files are those that came with this project, so that scores are comparable with other people's."""
    return list(hashes().values()) == [WEIGHTS_SHA256, RECORD_SHA256]
