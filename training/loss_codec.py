"""Losses of the codec ("An Acceleration Framework for High Resolution Image Synthesis", section 3.1).

The generator in training is `networks_codec.G_codec`, images to reconstructions. Equation 4 as printed has a misplaced
parenthesis; the non-saturating loss is meant.
"""

from dnnlib.tflib import tf
from dnnlib.tflib.autosummary import autosummary

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G_loss': ('G_reconstruction',), 'D_loss': ('D_reconstruction',)}


def G_reconstruction(
    G, D, opt, training_set, minibatch_size, reals, labels,
    alpha = 0.001,      # Weight of the adversarial loss, which the paper does not state; 0 to 1e6
):
    """L1 error of the reconstruction plus the weighted non-saturating loss (equations 1 to 3). Returns [N]."""
    images = G.get_output_for(reals, labels, is_training=True)
    error = autosummary('Loss/reconstruction', tf.reduce_mean(tf.abs(images - reals), axis=[1, 2, 3]))
    if alpha == 0:
        return error
    scores = tf.cast(D.get_output_for(images, labels, is_training=True), tf.float32)
    return error + alpha * tf.nn.softplus(-scores)[:, 0]


def D_reconstruction(G, D, opt, training_set, minibatch_size, reals, labels):
    """Cross-entropy of "image" and "reconstruction" (equation 4). Returns [N, 1]."""
    images = tf.stop_gradient(G.get_output_for(reals, labels, is_training=True))
    real_scores = tf.cast(D.get_output_for(reals, labels, is_training=True), tf.float32)
    fake_scores = tf.cast(D.get_output_for(images, labels, is_training=True), tf.float32)
    real_scores = autosummary('Loss/scores/real', real_scores)
    fake_scores = autosummary('Loss/scores/fake', fake_scores)
    return tf.nn.softplus(fake_scores) + tf.nn.softplus(-real_scores)
