"""Inception-v3 of 5 December 2015 up to its last average pool: the features of FID, KID, precision and recall.

Variables carry the names of TensorFlow's frozen graph `classify_image_graph_def.pb`. The network differs from later
publications of "Inception-v3" in the pool of its last block (maximum instead of average).
"""

import tensorflow.compat.v1 as tf

from training.layers.network_layers import channel_axis, num_channels, spatial_axes, to_layout

BUNDLED_MODULES = ('training.layers.network_layers',)

INPUT_SIZE = 299
BATCHNORM_EPSILON = 0.001


def inception_v3_features(
        images_in,                      # [N, 3, H, W] of any size, RGB, values 0...255.
        last_pool='max',                # Pool of the last block; 'avg' gives the variant of later publications.
        width=1.0,                      # Factor on all channel counts, for tests of the structure.
        data_format='NCHW',             # Layout of the activations.
        **_kwargs):
    """Features [N, 2048] (times `width`)."""
    images_in.set_shape([None, 3, None, None])
    net = _Builder(data_format, width)
    x = to_layout(tf.cast(images_in, tf.float32), 'NHWC')
    # TensorFlow 1's convention: corners of the pixel grids are aligned at the top left, without antialiasing.
    x = tf.image.resize_bilinear(x, [INPUT_SIZE, INPUT_SIZE], align_corners=False)
    x = (x - 128.0) * (1.0 / 128.0)
    x = tf.transpose(x, [0, 3, 1, 2]) if data_format == 'NCHW' else x

    x = net.conv(x, 'conv', 32, 3, stride=2, padding='VALID')
    x = net.conv(x, 'conv_1', 32, 3, padding='VALID')
    x = net.conv(x, 'conv_2', 64, 3)
    x = net.pool(x, 'max', stride=2)
    x = net.conv(x, 'conv_3', 80, 1, padding='VALID')
    x = net.conv(x, 'conv_4', 192, 3, padding='VALID')
    x = net.pool(x, 'max', stride=2)
    for scope, pool_fmaps in (('mixed', 32), ('mixed_1', 64), ('mixed_2', 64)):
        x = _block_35(net, x, scope, pool_fmaps)
    x = _block_35_to_17(net, x, 'mixed_3')
    for scope, fmaps in (('mixed_4', 128), ('mixed_5', 160), ('mixed_6', 160), ('mixed_7', 192)):
        x = _block_17(net, x, scope, fmaps)
    x = _block_17_to_8(net, x, 'mixed_8')
    x = _block_8(net, x, 'mixed_9', 'avg')
    x = _block_8(net, x, 'mixed_10', last_pool)
    x = tf.reduce_mean(x, axis=spatial_axes(data_format))
    return tf.identity(x, name='features_out')


def _block_35(net, x, scope, pool_fmaps):
    with tf.variable_scope(scope):
        one = net.conv(x, 'conv', 64, 1)
        five = net.conv(net.conv(x, 'tower/conv', 48, 1), 'tower/conv_1', 64, 5)
        three = net.conv(net.conv(x, 'tower_1/conv', 64, 1), 'tower_1/conv_1', 96, 3)
        three = net.conv(three, 'tower_1/conv_2', 96, 3)
        pool = net.conv(net.pool(x, 'avg'), 'tower_2/conv', pool_fmaps, 1)
        return net.concat([one, five, three, pool])


def _block_35_to_17(net, x, scope):
    with tf.variable_scope(scope):
        three = net.conv(x, 'conv', 384, 3, stride=2, padding='VALID')
        double = net.conv(net.conv(x, 'tower/conv', 64, 1), 'tower/conv_1', 96, 3)
        double = net.conv(double, 'tower/conv_2', 96, 3, stride=2, padding='VALID')
        return net.concat([three, double, net.pool(x, 'max', stride=2)])


def _block_17(net, x, scope, fmaps):
    with tf.variable_scope(scope):
        one = net.conv(x, 'conv', 192, 1)
        seven = net.conv(x, 'tower/conv', fmaps, 1)
        seven = net.conv(seven, 'tower/conv_1', fmaps, (1, 7))
        seven = net.conv(seven, 'tower/conv_2', 192, (7, 1))
        double = net.conv(x, 'tower_1/conv', fmaps, 1)
        double = net.conv(double, 'tower_1/conv_1', fmaps, (7, 1))
        double = net.conv(double, 'tower_1/conv_2', fmaps, (1, 7))
        double = net.conv(double, 'tower_1/conv_3', fmaps, (7, 1))
        double = net.conv(double, 'tower_1/conv_4', 192, (1, 7))
        pool = net.conv(net.pool(x, 'avg'), 'tower_2/conv', 192, 1)
        return net.concat([one, seven, double, pool])


def _block_17_to_8(net, x, scope):
    with tf.variable_scope(scope):
        three = net.conv(net.conv(x, 'tower/conv', 192, 1), 'tower/conv_1', 320, 3, stride=2, padding='VALID')
        seven = net.conv(net.conv(x, 'tower_1/conv', 192, 1), 'tower_1/conv_1', 192, (1, 7))
        seven = net.conv(seven, 'tower_1/conv_2', 192, (7, 1))
        seven = net.conv(seven, 'tower_1/conv_3', 192, 3, stride=2, padding='VALID')
        return net.concat([three, seven, net.pool(x, 'max', stride=2)])


def _block_8(net, x, scope, pool):
    with tf.variable_scope(scope):
        one = net.conv(x, 'conv', 320, 1)
        three = net.conv(x, 'tower/conv', 384, 1)
        three = [net.conv(three, 'tower/mixed/conv', 384, (1, 3)), net.conv(three, 'tower/mixed/conv_1', 384, (3, 1))]
        double = net.conv(net.conv(x, 'tower_1/conv', 448, 1), 'tower_1/conv_1', 384, 3)
        double = [net.conv(double, 'tower_1/mixed/conv', 384, (1, 3)),
                  net.conv(double, 'tower_1/mixed/conv_1', 384, (3, 1))]
        pool = net.conv(net.pool(x, pool), 'tower_2/conv', 192, 1)
        return net.concat([one] + three + double + [pool])


class _Builder:
    """The three kinds of layers, in one layout."""

    def __init__(self, fmt, width):
        self.fmt = fmt
        self.width = width

    def conv(self, x, scope, fmaps, kernel, stride=1, padding='SAME'):
        """Convolution, batch normalisation with stored statistics, ReLU."""
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        fmaps = max(int(fmaps * self.width), 1)
        with tf.variable_scope(scope):
            weight = tf.get_variable('conv2d_params', [height, width, num_channels(x, self.fmt), fmaps],
                                     initializer=tf.initializers.variance_scaling(2.0))
            with tf.variable_scope('batchnorm'):
                beta = tf.get_variable('beta', [fmaps], initializer=tf.initializers.zeros())
                mean = tf.get_variable('moving_mean', [fmaps], initializer=tf.initializers.zeros(), trainable=False)
                variance = tf.get_variable('moving_variance', [fmaps], initializer=tf.initializers.ones(),
                                           trainable=False)
            scale = tf.rsqrt(variance + BATCHNORM_EPSILON)
            strides = [1, 1, stride, stride] if self.fmt == 'NCHW' else [1, stride, stride, 1]
            x = tf.nn.conv2d(x, weight, strides=strides, padding=padding, data_format=self.fmt)
            x = x * self._per_channel(scale) + self._per_channel(beta - mean * scale)
            return tf.nn.relu(x)

    def _per_channel(self, vector):
        return tf.reshape(vector, [1, -1, 1, 1] if self.fmt == 'NCHW' else [1, 1, 1, -1])

    def pool(self, x, kind, stride=1):
        """3x3 pool; with stride 1 to equal size, where pixels beyond the border do not count in a mean."""
        pool = {'max': tf.nn.max_pool, 'avg': tf.nn.avg_pool}[kind]
        if self.fmt == 'NCHW':
            size, strides = [1, 1, 3, 3], [1, 1, stride, stride]
        else:
            size, strides = [1, 3, 3, 1], [1, stride, stride, 1]
        return pool(x, ksize=size, strides=strides, padding='SAME' if stride == 1 else 'VALID', data_format=self.fmt)

    def concat(self, parts):
        """Joins along the channels."""
        return tf.concat(parts, axis=channel_axis(self.fmt))
