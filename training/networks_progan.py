"""Networks of "Progressive Growing of GANs for Improved Quality, Stability, and Variation".

`G_paper` and `D_paper` are the generator and the discriminator of that paper, here as configuration A of the StyleGAN
paper. Inputs and outputs are NCHW, float32.
"""

import numpy as np
import tensorflow.compat.v1 as tf

from training.layers.network_growing import choose_structure, joined_features, joined_images, open_minibatch
from training.layers.network_layers import (
    activation,
    apply_bias,
    conv2d,
    conv2d_downscale2d,
    dense,
    downscale2d,
    from_layout,
    pixel_norm,
    scores_of,
    to_layout,
    upscale2d_conv2d,
)
from training.layers.network_sizes import feature_maps, resolution_log2

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_paper',), 'D': ('D_paper',)}

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_growing',
                   'training.layers.network_sizes')

STRUCTURES = ('linear', 'recursive')


def G_paper(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, label_size].
        num_channels=1,                 # Of the images; 1 to 4096
        resolution=32,                  # Power of two; 4 to 8192
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        fmap_base=8192,                 # Channels at 2^r: min(fmap_base / 2^((r-1) * fmap_decay), fmap_max);
                                        # 1 to 16777216
        fmap_decay=1.0,                 # How fast channels grow fewer with the resolution; 0 to 10
        fmap_max=512,                   # Most channels of any layer; 1 to 65536
        latent_size=None,               # Size of z, null: as many as the channels that a 2x2 layer would have;
                                        # a whole number from 1 to 1048576, or null
        normalize_latents=True,         # Scale z (with its label) to unit mean square first.
        use_wscale=True,                # Equalized learning rate.
        use_pixelnorm=True,             # Normalise every pixel's features after each layer.
        pixelnorm_epsilon=1e-8,         # Keeps the norm of nothing finite, 1e-4 in half precision; 1e-20 to 1
        use_leakyrelu=True,             # False: ReLU.
        dtype='float32',                # Type of the activations; float32 or float16
        fused_scale=True,               # See upscale2d_conv2d, also decides the name of a layer's variables;
                                        # true, false or auto
        structure=None,                 # Null: linear for the template graph, else recursive; linear, recursive or null
        is_template_graph=False,        # Set by Network when it makes the variables.
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The generator (Table 2 of the paper). Returns images [N, num_channels, resolution, resolution]."""
    fmt = data_format
    res_log2 = resolution_log2(resolution)
    nf = feature_maps(fmap_base, fmap_decay, fmap_max)
    act, gain = activation('lrelu' if use_leakyrelu else 'relu')
    latents_in.set_shape([None, nf(0) if latent_size is None else latent_size])
    labels_in.set_shape([None, label_size])
    lod = tf.cast(tf.get_variable('lod', initializer=np.float32(0), trainable=False), dtype)

    def finish_layer(x):
        x = act(apply_bias(x, fmt))
        return pixel_norm(x, fmt, pixelnorm_epsilon) if use_pixelnorm else x

    def first_block():
        """4x4, from the latents."""
        x = tf.cast(tf.concat([latents_in, labels_in], axis=1), dtype)
        with tf.variable_scope('4x4'):
            if normalize_latents:
                x = pixel_norm(x, epsilon=pixelnorm_epsilon)
            with tf.variable_scope('Dense'):
                # The gain keeps the variance of the paper's own implementation.
                x = dense(x, nf(1) * 16, gain / 4, use_wscale)
                x = finish_layer(to_layout(tf.reshape(x, [-1, nf(1), 4, 4]), fmt))
            with tf.variable_scope('Conv'):
                return finish_layer(conv2d(x, nf(1), 3, gain, use_wscale, fmt))

    def block(res, x):
        """From 2^(res-1) to 2^res pixels."""
        with tf.variable_scope(f'{2 ** res}x{2 ** res}'):
            with tf.variable_scope('Conv0_up' if fused_scale else 'Conv0'):
                x = finish_layer(upscale2d_conv2d(x, nf(res - 1), 3, gain, use_wscale, fused_scale, fmt))
            with tf.variable_scope('Conv1'):
                return finish_layer(conv2d(x, nf(res - 1), 3, gain, use_wscale, fmt))

    x = first_block()
    structure = choose_structure(structure, is_template_graph, STRUCTURES)
    if structure == 'recursive':
        x = open_minibatch(x, lod)
    images = joined_images(structure, x, lod, res_log2, block, num_channels, use_wscale, fmt)
    images = tf.cast(from_layout(images, fmt), tf.float32)
    images.set_shape([latents_in.shape.as_list()[0], num_channels, resolution, resolution])
    return tf.identity(images, name='images_out')


def D_paper(
        images_in,                      # Images, [N, num_channels, resolution, resolution].
        labels_in,                      # Labels, [N, label_size]; they do not influence the scores.
        num_channels=1,
        resolution=32,
        label_size=0,
        fmap_base=8192,
        fmap_decay=1.0,
        fmap_max=512,
        use_wscale=True,
        mbstd_group_size=4,             # Group of the minibatch standard deviation, 0 or 1: off; 0 to 1000000
        dtype='float32',
        fused_scale=True,               # Downscale within the convolution, unfused: after its activation;
                                        # true, false or auto
        structure=None,
        is_template_graph=False,
        data_format='NCHW',
        **_kwargs):
    """The discriminator (Table 2 of the paper). Returns scores [N, 1]."""
    fmt = data_format
    res_log2 = resolution_log2(resolution)
    nf = feature_maps(fmap_base, fmap_decay, fmap_max)
    act, gain = activation('lrelu')
    images_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    images = to_layout(tf.cast(images_in, dtype), fmt)
    lod = tf.cast(tf.get_variable('lod', initializer=np.float32(0), trainable=False), dtype)

    def block(res, x):
        """From 2^res to 2^(res-1) pixels."""
        with tf.variable_scope(f'{2 ** res}x{2 ** res}'):
            with tf.variable_scope('Conv0'):
                x = act(apply_bias(conv2d(x, nf(res - 1), 3, gain, use_wscale, fmt), fmt))
            if fused_scale:
                with tf.variable_scope('Conv1_down'):
                    x = conv2d_downscale2d(x, nf(res - 2), 3, gain, use_wscale, fmt)
                    return act(apply_bias(x, fmt))
            with tf.variable_scope('Conv1'):
                x = act(apply_bias(conv2d(x, nf(res - 2), 3, gain, use_wscale, fmt), fmt))
                return downscale2d(x, fmt)

    structure = choose_structure(structure, is_template_graph, STRUCTURES)
    x = joined_features(structure, images, lod, res_log2, block, nf, act, gain, use_wscale, fmt)
    scores = scores_of(x, nf(1), nf(0), 1, mbstd_group_size, 1, act, gain, use_wscale, fmt)
    return tf.identity(tf.cast(scores, tf.float32), name='scores_out')
