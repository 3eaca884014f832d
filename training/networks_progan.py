"""Networks of "Progressive Growing of GANs for Improved Quality, Stability, and Variation".

`G_paper` and `D_paper` are the generator and the discriminator of that paper, here as configuration A of the StyleGAN
paper. Inputs and outputs are NCHW, float32.
"""

import numpy as np
import tensorflow.compat.v1 as tf

import dnnlib.tflib as tflib
from training.layers.network_growing import grown_features, grown_images, open_minibatch
from training.layers.network_layers import (
    activation,
    apply_bias,
    conv2d,
    conv2d_downscale2d,
    dense,
    downscale2d,
    flatten_chw,
    from_layout,
    minibatch_stddev,
    pixel_norm,
    to_layout,
    upscale2d,
    upscale2d_conv2d,
)

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_paper',), 'D': ('D_paper',)}

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_growing')


def G_paper(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, label_size].
        num_channels=1,
        resolution=32,                  # Power of two.
        label_size=0,                   # 0: no labels.
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
    res_log2 = _resolution_log2(resolution)
    nf = _feature_maps(fmap_base, fmap_decay, fmap_max)
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

    def torgb(res, x):
        with tf.variable_scope(f'ToRGB_lod{res_log2 - res}'):
            return apply_bias(conv2d(x, num_channels, 1, 1, use_wscale, fmt), fmt)

    x = first_block()
    if _structure(structure, is_template_graph) == 'linear':
        images = torgb(2, x)
        for res in range(3, res_log2 + 1):
            x = block(res, x)
            fine, coarse = torgb(res, x), upscale2d(images, fmt)
            with tf.name_scope(f'Grow_lod{res_log2 - res}'):
                images = tflib.lerp_clip(fine, coarse, lod - (res_log2 - res))
    else:
        images = grown_images(open_minibatch(x, lod), lod, res_log2, block, torgb, fmt)
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
    res_log2 = _resolution_log2(resolution)
    nf = _feature_maps(fmap_base, fmap_decay, fmap_max)
    act, gain = activation('lrelu')
    images_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    images = to_layout(tf.cast(images_in, dtype), fmt)
    lod = tf.cast(tf.get_variable('lod', initializer=np.float32(0), trainable=False), dtype)

    def fromrgb(res, x):
        with tf.variable_scope(f'FromRGB_lod{res_log2 - res}'):
            return act(apply_bias(conv2d(x, nf(res - 1), 1, gain, use_wscale, fmt), fmt))

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

    def last_block(x):
        with tf.variable_scope('4x4'):
            if mbstd_group_size > 1:
                x = minibatch_stddev(x, mbstd_group_size, 1, fmt)
            with tf.variable_scope('Conv'):
                x = act(apply_bias(conv2d(x, nf(1), 3, gain, use_wscale, fmt), fmt))
            with tf.variable_scope('Dense0'):
                x = act(apply_bias(dense(flatten_chw(x, fmt), nf(0), gain, use_wscale)))
            with tf.variable_scope('Dense1'):
                return apply_bias(dense(x, 1, 1, use_wscale))

    if _structure(structure, is_template_graph) == 'linear':
        image = images
        x = fromrgb(res_log2, image)
        for res in range(res_log2, 2, -1):
            image = downscale2d(image, fmt)
            fine, coarse = block(res, x), fromrgb(res - 1, image)
            with tf.name_scope(f'Grow_lod{res_log2 - res}'):
                x = tflib.lerp_clip(fine, coarse, lod - (res_log2 - res))
    else:
        x = grown_features(open_minibatch(images, lod), lod, res_log2, block, fromrgb, fmt)
    return tf.identity(tf.cast(last_block(x), tf.float32), name='scores_out')


def _feature_maps(fmap_base, fmap_decay, fmap_max):
    """The function from a stage (log2 of the resolution, less 1) to its number of channels."""
    return lambda stage: min(int(fmap_base / (2.0 ** (stage * fmap_decay))), fmap_max)


def _structure(structure, is_template_graph):
    if structure not in (None, 'linear', 'recursive'):
        raise ValueError(f"structure is '{structure}'; it must be linear, recursive or None")
    return structure or ('linear' if is_template_graph else 'recursive')


def _resolution_log2(resolution):
    res_log2 = int(np.log2(resolution))
    if resolution != 2 ** res_log2 or resolution < 4:
        raise ValueError(f'resolution is {resolution}; it must be a power of two, at least 4')
    return res_log2
