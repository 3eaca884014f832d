"""Networks of the second stage of "An Acceleration Framework for High Resolution Image Synthesis": a GAN of codes.

`G_code` and `D_code` are an ordinary generator and discriminator (Table 2) whose "images" are codes of 16 channels;
with images in their place they are the paper's baseline. `G_accel` is the code generator and the decoder as one
generator. Table 2 prints the first and the last widths; those between, one 3x3 convolution per resolution, the latent
size and tanh at the end are ours (docs/acceleration.md). Inputs and outputs are NCHW, float32.
"""

import tensorflow.compat.v1 as tf

import dnnlib.tflib as tflib
from training.layers.network_layers import (
    activation,
    apply_bias,
    conv2d,
    conv2d_downscale2d,
    dense,
    flatten_chw,
    from_layout,
    pixel_norm,
    to_layout,
    upscale2d_conv2d,
)
from training.layers.network_sizes import bounded_feature_maps, refuse_labels, resolution_log2

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_accel', 'G_code'), 'D': ('D_code',)}

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_sizes')


def G_code(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, 0]: the paper's networks take none.
        num_channels=16,                # Of the codes; 1 to 4096
        resolution=64,                  # Side of the codes, a power of two; 4 to 8192
        label_size=0,                   # Components of a label, which must be 0; 0 to 1048576
        latent_size=128,                # Size of z; 1 to 1048576
        fmap_base=8192,                 # Channels at resolution r: fmap_base / r, within the following; 1 to 16777216
        fmap_min=64,                    # Fewest channels of any layer; 1 to 65536
        fmap_max=256,                   # Most channels of any layer; 1 to 65536
        use_wscale=True,                # Equalized learning rate.
        use_pixelnorm=True,             # Normalise every pixel's features after each convolution (section 3.3).
        is_template_graph=False,        # Set by Network when it makes the variables.
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The generator of codes, or of images. Returns [N, num_channels, resolution, resolution] in [-1, 1]."""
    fmt, res_log2, nf = data_format, resolution_log2(resolution), bounded_feature_maps(fmap_base, fmap_min, fmap_max)
    act, gain = activation('lrelu')
    refuse_labels(label_size)
    latents_in.set_shape([None, latent_size])
    labels_in.set_shape([None, label_size])

    def finish_layer(x):
        x = act(apply_bias(x, fmt))
        return pixel_norm(x, fmt) if use_pixelnorm else x

    with tf.variable_scope('4x4'), tf.variable_scope('Dense'):
        x = dense(latents_in, nf(4) * 16, gain, use_wscale)
        x = finish_layer(to_layout(tf.reshape(x, [-1, nf(4), 4, 4]), fmt))
    for res in [2 ** stage for stage in range(3, res_log2 + 1)]:
        with tf.variable_scope(f'{res}x{res}'), tf.variable_scope('Conv_up'):
            x = finish_layer(upscale2d_conv2d(x, nf(res), 3, gain, use_wscale, False, fmt))
    with tf.variable_scope('Output'):
        x = tf.tanh(apply_bias(conv2d(x, num_channels, 3, 1, use_wscale, fmt), fmt))
    return tf.identity(from_layout(x, fmt), name='codes_out')


def D_code(
        codes_in,                       # Codes or images, [N, num_channels, resolution, resolution].
        labels_in,                      # Labels, [N, 0].
        num_channels=16,
        resolution=64,                  # Side of the codes or images, a power of two; 4 to 8192
        label_size=0,
        fmap_base=8192,                 # Channels at resolution r: fmap_base / r, within the following; 1 to 16777216
        fmap_min=64,                    # Fewest channels of any layer; 1 to 65536
        fmap_max=256,                   # Most channels of any layer; 1 to 65536
        use_wscale=True,                # Equalized learning rate.
        is_template_graph=False,        # Set by Network when it makes the variables.
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The discriminator of codes, or of images. Returns scores [N, 1]."""
    fmt, res_log2, nf = data_format, resolution_log2(resolution), bounded_feature_maps(fmap_base, fmap_min, fmap_max)
    act, gain = activation('lrelu')
    refuse_labels(label_size)
    codes_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    x = to_layout(codes_in, fmt)
    with tf.variable_scope(f'{resolution}x{resolution}'), tf.variable_scope('Conv'):
        x = act(apply_bias(conv2d(x, nf(resolution), 3, gain, use_wscale, fmt), fmt))
    for res in [2 ** stage for stage in range(res_log2 - 1, 1, -1)]:
        with tf.variable_scope(f'{res}x{res}'), tf.variable_scope('Conv_down'):
            x = act(apply_bias(conv2d_downscale2d(x, nf(res), 3, gain, use_wscale, fmt), fmt))
    with tf.variable_scope('Dense0'):
        x = act(apply_bias(dense(flatten_chw(x, fmt), nf(4), gain, use_wscale)))
    with tf.variable_scope('Dense1'):
        x = apply_bias(dense(x, 1, 1, use_wscale))
    return tf.identity(x, name='scores_out')


def G_accel(
        latents_in,                     # z, [N, latent size of the code generator].
        labels_in,                      # Labels, [N, label_size].
        code_func='training.networks_accel.G_code',  # Build function of the code generator; a function for G
        code_kwargs=None,               # Its keywords; a mapping, or null
        decoder_kwargs=None,            # Keywords of H_decoder.
        resolution=256,                 # Side of the images; 8 to 65536
        num_channels=3,
        label_size=0,
        components=None,                # Sub-networks code and decoder, filled in on the first call.
        is_template_graph=False,        # Set by Network when it makes the variables.
        **kwargs):                      # For the code generator.
    """Latents to images: the code generator, then the decoder, whose variables are not trained.

    Returns images [N, num_channels, resolution, resolution].
    """
    if 'decoder' not in components:
        components.decoder = tflib.Network('decoder', func_name='training.networks_codec.H_decoder', trainable=False,
                                           **dict(decoder_kwargs or {}, resolution=resolution,
                                                  num_channels=num_channels))
    channels, side, _ = components.decoder.input_shape[1:]
    if 'code' not in components:
        components.code = tflib.Network('code', func_name=code_func,
                                        num_channels=channels, resolution=side, label_size=label_size,
                                        **dict(kwargs, **(code_kwargs or {})))
    latents_in.set_shape(components.code.input_shapes[0])
    labels_in.set_shape(components.code.input_shapes[1])
    layout = {key: kwargs[key] for key in ('data_format',) if key in kwargs}  # that other programs may ask for
    codes = components.code.get_output_for(latents_in, labels_in, **kwargs)
    images = components.decoder.get_output_for(codes, **layout)
    return tf.identity(images, name='images_out')
