"""A projector as people write them: optimizes dlatents through the synthesis network until an image is met."""

import pickle

import numpy as np
import tensorflow.compat.v1 as tf

import dnnlib.tflib as tflib


def project(network_pkl, target_image, num_steps=100):
    """Returns (images, the loss after every step)."""
    tflib.init_tf()
    with open(network_pkl, 'rb') as f:
        _G, _D, Gs = pickle.load(f)

    dlatent_avg = Gs.get_var('dlatent_avg')
    num_layers = Gs.components.synthesis.input_shape[1]
    dlatents_var = tf.Variable(np.tile(dlatent_avg, [1, num_layers, 1]).astype(np.float32), name='dlatents_var')
    images_expr = Gs.components.synthesis.get_output_for(dlatents_var, randomize_noise=False)
    target_var = tf.Variable(tf.zeros(images_expr.shape), trainable=False, name='target_images_var')
    loss = tf.reduce_mean(tf.square(target_var - images_expr))

    lrate_in = tf.placeholder(tf.float32, [], name='lrate_in')
    opt = tflib.Optimizer(tf_optimizer='tf.train.AdamOptimizer', learning_rate=lrate_in)
    opt.register_gradients(loss, [dlatents_var])
    opt_step = opt.apply_updates()

    tflib.set_vars({target_var: target_image})
    tflib.init_uninitialized_vars([dlatents_var])
    opt.reset_optimizer_state()
    losses = []
    for step in range(num_steps):
        learning_rate = 0.05 * min(1.0, (num_steps - step) / 50.0)
        _, value = tflib.run([opt_step, loss], {lrate_in: learning_rate})
        losses.append(value)
    return tflib.run(images_expr), losses
