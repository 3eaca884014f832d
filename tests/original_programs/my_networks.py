"""Networks of somebody's own, in the style in which they were written for the original: NCHW, `tf.get_variable`,
components, and keywords that are passed on."""

import numpy as np
import tensorflow.compat.v1 as tf

import dnnlib
import dnnlib.tflib as tflib


def conv2d(x, fmaps, kernel):
    shape = [kernel, kernel, int(x.shape[1]), fmaps]
    w = tf.get_variable('weight', shape=shape, initializer=tf.initializers.random_normal())
    w = w * np.float32(np.sqrt(2) / np.sqrt(kernel * kernel * int(x.shape[1])))
    x = tf.nn.conv2d(x, tf.cast(w, x.dtype), data_format='NCHW', strides=[1, 1, 1, 1], padding='SAME')
    b = tf.get_variable('bias', shape=[fmaps], initializer=tf.initializers.zeros())
    return tf.nn.leaky_relu(x + tf.reshape(b, [1, -1, 1, 1]), 0.2)


def G_style(latents_in, labels_in, is_training=False, is_template_graph=False,
            components=dnnlib.EasyDict(), **kwargs):  # noqa: B008  (as people write it)
    if 'synthesis' not in components:
        components.synthesis = tflib.Network('G_synthesis', func_name=G_synthesis, **kwargs)
    if 'mapping' not in components:
        components.mapping = tflib.Network('G_mapping', func_name=G_mapping, **kwargs)
    lod_in = tf.get_variable('lod', initializer=np.float32(0), trainable=False)
    dlatents = components.mapping.get_output_for(latents_in, labels_in, **kwargs)
    with tf.control_dependencies([tf.assign(components.synthesis.find_var('lod'), lod_in)]):
        images_out = components.synthesis.get_output_for(dlatents, force_clean_graph=is_template_graph, **kwargs)
    return tf.identity(images_out, name='images_out')


def G_mapping(latents_in, labels_in, latent_size=8, label_size=0, **_kwargs):
    latents_in.set_shape([None, latent_size])
    labels_in.set_shape([None, label_size])
    w = tf.get_variable('weight', shape=[latent_size, latent_size], initializer=tf.initializers.random_normal())
    return tf.identity(tf.matmul(latents_in, w), name='dlatents_out')


def G_synthesis(dlatents_in, latent_size=8, num_channels=3, resolution=4, **_kwargs):
    dlatents_in.set_shape([None, latent_size])
    tf.get_variable('lod', initializer=np.float32(0), trainable=False)
    x = tf.reshape(dlatents_in, [-1, latent_size, 1, 1])
    with tf.variable_scope('Conv'):
        x = conv2d(tf.tile(x, [1, 1, resolution, resolution]), 8, 3)
    with tf.variable_scope('ToRGB'):
        return tf.identity(conv2d(x, num_channels, 1), name='images_out')


def D_basic(images_in, labels_in, num_channels=3, resolution=4, label_size=0, **_kwargs):
    images_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    tf.get_variable('lod', initializer=np.float32(0), trainable=False)
    with tf.variable_scope('Conv'):
        x = conv2d(images_in, 8, 3)
    return tf.identity(tf.reduce_mean(x, axis=[1, 2, 3])[:, np.newaxis], name='scores_out')
