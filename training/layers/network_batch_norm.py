"""Batch normalisation, with moving statistics that the training loop alone updates.

The source of this file is stored in network pickles and must be importable under the original library on TensorFlow
>= 1.13.
"""

import tensorflow.compat.v1 as tf

# Collection of (moving statistic's variable, this minibatch's value, share of the new value): one entry for each time
# that a network is built in training mode, in that order. A graph that is built to be run only has no other trace.
BATCH_STATISTICS = 'batch_statistics'


def batch_norm(x, scope, fmt, is_training, epsilon=1e-5, share=0.1):
    """Brings every channel to a learned mean and deviation: over the minibatch in training, else over training so far.

    Args:
        x: float32 [N, C, H, W] or [N, H, W, C], as `fmt` says.
        scope: name below which the variables lie: gamma, beta, moving_mean, moving_variance, each [C].
        is_training: normalise by the minibatch's own mean and biased variance; otherwise by the moving ones.
        epsilon: added to the variance.
        share: of the minibatch's mean and unbiased variance in the new moving ones.

    gamma starts at N(1, 0.02), as Radford et al. 2015 have it. Source of the layer: Ioffe and Szegedy 2015.
    """
    channels = [x.shape.as_list()[1 if fmt == 'NCHW' else 3]]
    with tf.variable_scope(scope):
        gamma = tf.get_variable('gamma', channels, initializer=tf.initializers.random_normal(1.0, 0.02))
        beta = tf.get_variable('beta', channels, initializer=tf.initializers.zeros())
        moving_mean = tf.get_variable('moving_mean', channels, initializer=tf.initializers.zeros(), trainable=False)
        moving_variance = tf.get_variable('moving_variance', channels, initializer=tf.initializers.ones(),
                                          trainable=False)
        if not is_training:
            return tf.nn.fused_batch_norm(x, gamma, beta, moving_mean, moving_variance, epsilon, fmt,
                                          is_training=False)[0]
        # The variance that this operation returns has n / (n - 1); the one that it divides by has not.
        y, mean, variance = tf.nn.fused_batch_norm(x, gamma, beta, epsilon=epsilon, data_format=fmt, is_training=True)
        tf.add_to_collection(BATCH_STATISTICS, (moving_mean, mean, share))
        tf.add_to_collection(BATCH_STATISTICS, (moving_variance, variance, share))
        return y
