"""Networks of the first stage of "An Acceleration Framework for High Resolution Image Synthesis": images to small codes
and back.

`F_encoder` and `H_decoder` are fully convolutional and have no normalisation (sections 3.1 and 3.3), so that a pair
trained on small images runs at any resolution that the code's scale divides. `G_codec` is the pair as one network for
training; `D_codec` judges its reconstructions. The paper states neither the number of layers, nor widths, nor the
decoder's last activation: those here are ours (docs/acceleration.md). Inputs and outputs are NCHW, float32.
"""

import numpy as np
import tensorflow.compat.v1 as tf

import dnnlib.tflib as tflib
from training.layers.network_layers import (
    activation,
    apply_bias,
    conv2d,
    conv2d_downscale2d,
    from_layout,
    to_layout,
    upscale2d_conv2d,
)
from training.layers.network_sizes import doubling_feature_maps, refuse_labels

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_codec',), 'D': ('D_codec',), 'network': ('F_encoder', 'H_decoder')}

# Networks that run on inputs of any height and width, whatever resolution they are described for.
CONVOLUTIONAL = ('F_encoder', 'H_decoder', 'G_codec', 'D_codec')

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_sizes')


def F_encoder(
        images_in,                      # Images, [N, num_channels, H, W], H and W multiples of downscale.
        num_channels=3,                 # Of the images; 1 to 4096
        resolution=128,                 # Side of the images that it is described for, though it runs on others, too;
                                        # 1 to 65536
        downscale=4,                    # Side of the image over that of the code; 2, 4, 8 or 16
        code_channels=16,               # Channels of the codes; 1 to 65536
        fmaps=32,                       # Channels at full resolution, which double with every halving; 1 to 65536
        fmap_max=256,                   # Most channels of any layer; 1 to 65536
        use_wscale=True,                # Equalized learning rate.
        is_template_graph=False,        # Set by Network when it makes the variables.
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The encoder F. Returns codes [N, code_channels, H / downscale, W / downscale] in [-1, 1]."""
    fmt, levels, nf = data_format, _levels(downscale, resolution), doubling_feature_maps(fmaps, fmap_max)
    act, gain = activation('lrelu')
    _set_sides(images_in, num_channels, resolution, is_template_graph)
    height, width = images_in.shape.as_list()[2:]
    if height % downscale or width % downscale:
        raise ValueError(f'images are {width}x{height}; downscale ({downscale}) does not divide that')
    x = to_layout(images_in, fmt)
    with tf.variable_scope('Scale1'), tf.variable_scope('Conv'):
        x = act(apply_bias(conv2d(x, nf(0), 3, gain, use_wscale, fmt), fmt))
    for level in range(1, levels + 1):
        with tf.variable_scope(f'Scale{2 ** level}'):
            with tf.variable_scope('Conv0_down'):
                x = act(apply_bias(conv2d_downscale2d(x, nf(level), 3, gain, use_wscale, fmt), fmt))
            with tf.variable_scope('Conv1'):
                x = act(apply_bias(conv2d(x, nf(level), 3, gain, use_wscale, fmt), fmt))
    with tf.variable_scope('ToCode'):
        x = tf.tanh(apply_bias(conv2d(x, code_channels, 3, 1, use_wscale, fmt), fmt))
    return tf.identity(from_layout(x, fmt), name='codes_out')


def H_decoder(
        codes_in,                       # Codes, [N, code_channels, h, w].
        num_channels=3,
        resolution=128,
        downscale=4,                    # Side of the image over that of the code; 2, 4, 8 or 16
        code_channels=16,               # Channels of the codes; 1 to 65536
        fmaps=32,                       # Channels at full resolution, which double with every halving; 1 to 65536
        fmap_max=256,                   # Most channels of any layer; 1 to 65536
        use_wscale=True,                # Equalized learning rate.
        trainable=True,                 # False: a part of a larger network that is not to change.
        is_template_graph=False,        # Set by Network when it makes the variables.
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The decoder H. Returns images [N, num_channels, h * downscale, w * downscale], not bounded by an activation."""
    fmt, levels, nf = data_format, _levels(downscale, resolution), doubling_feature_maps(fmaps, fmap_max)
    act, gain = activation('lrelu')
    _set_sides(codes_in, code_channels, resolution // downscale, is_template_graph)

    def frozen(getter, *args, **kwargs):
        return getter(*args, **dict(kwargs, trainable=False))

    with tf.variable_scope(tf.get_variable_scope(), custom_getter=None if trainable else frozen):
        x = to_layout(codes_in, fmt)
        with tf.variable_scope(f'Scale{downscale}'), tf.variable_scope('Conv'):
            x = act(apply_bias(conv2d(x, nf(levels), 3, gain, use_wscale, fmt), fmt))
        for level in reversed(range(levels)):
            with tf.variable_scope(f'Scale{2 ** level}'):
                with tf.variable_scope('Conv0_up'):
                    x = act(apply_bias(upscale2d_conv2d(x, nf(level), 3, gain, use_wscale, False, fmt), fmt))
                with tf.variable_scope('Conv1'):
                    x = act(apply_bias(conv2d(x, nf(level), 3, gain, use_wscale, fmt), fmt))
        with tf.variable_scope('ToRGB'):
            x = apply_bias(conv2d(x, num_channels, 3, 1, use_wscale, fmt), fmt)
    return tf.identity(from_layout(x, fmt), name='images_out')


def G_codec(
        images_in,                      # Images, [N, num_channels, H, W].
        labels_in,                      # Labels, [N, 0]: codecs take none.
        label_size=0,                   # Components of a label, which must be 0; 0 to 1048576
        components=None,                # Sub-networks encoder and decoder, filled in on the first call.
        is_template_graph=False,        # Set by Network when it makes the variables.
        **kwargs):                      # For the sub-networks.
    """Both as one network for training: H(F(x)). Returns images like those that it is given."""
    refuse_labels(label_size)
    if 'encoder' not in components:
        components.encoder = tflib.Network('F', func_name=F_encoder, **kwargs)
    if 'decoder' not in components:
        components.decoder = tflib.Network('H', func_name=H_decoder, **kwargs)
    if is_template_graph:
        images_in.set_shape(components.encoder.input_shape)
    labels_in.set_shape([None, label_size])
    images = components.decoder.get_output_for(components.encoder.get_output_for(images_in, **kwargs), **kwargs)
    return tf.identity(images, name='images_out')


def D_codec(
        images_in,                      # Images, [N, num_channels, H, W].
        labels_in,                      # Labels, [N, 0].
        num_channels=3,
        resolution=128,
        label_size=0,
        num_scales=3,                   # Halvings of the resolution before the scores; 1 to 16
        fmaps=32,                       # Channels at full resolution, which double with every halving; 1 to 65536
        fmap_max=256,                   # Most channels of any layer; 1 to 65536
        use_wscale=True,                # Equalized learning rate.
        is_template_graph=False,        # Set by Network when it makes the variables.
        data_format='NCHW',             # Layout of the activations inside.
        **_kwargs):
    """The discriminator of stage one: judges patches and takes their mean. Returns scores [N, 1] (logits)."""
    fmt, nf = data_format, doubling_feature_maps(fmaps, fmap_max)
    refuse_labels(label_size)
    act, gain = activation('lrelu')
    _set_sides(images_in, num_channels, resolution, is_template_graph)
    height, width = images_in.shape.as_list()[2:]
    if height % 2 ** num_scales or width % 2 ** num_scales:
        raise ValueError(f'images are {width}x{height}; they cannot be halved {num_scales} times (num_scales)')
    labels_in.set_shape([None, label_size])
    x = to_layout(images_in, fmt)
    with tf.variable_scope('Scale1'), tf.variable_scope('Conv'):
        x = act(apply_bias(conv2d(x, nf(0), 3, gain, use_wscale, fmt), fmt))
    for level in range(1, num_scales + 1):
        with tf.variable_scope(f'Scale{2 ** level}'), tf.variable_scope('Conv_down'):
            x = act(apply_bias(conv2d_downscale2d(x, nf(level), 3, gain, use_wscale, fmt), fmt))
    with tf.variable_scope('Score'):
        x = apply_bias(conv2d(x, 1, 3, 1, use_wscale, fmt), fmt)
    # One axis after another: summing both at once loses digits at large resolutions on some CPUs.
    scores = tf.reduce_mean(tf.reduce_mean(from_layout(x, fmt), axis=3), axis=2)
    return tf.identity(scores, name='scores_out')


def _levels(downscale, resolution):
    """log2 of the scale of a code."""
    levels = int(np.log2(downscale))
    if downscale != 2 ** levels or not 1 <= levels <= 4:
        raise ValueError(f'downscale is {downscale}; it must be 2, 4, 8 or 16')
    if resolution % downscale:
        raise ValueError(f'resolution is {resolution}; downscale ({downscale}) does not divide it')
    return levels


def _set_sides(x, channels, side, is_template_graph):
    """Gives a sample's shape: the described one in the template, the tensor's own sides elsewhere if it has any."""
    is_open = x.shape.ndims is None or None in x.shape.as_list()[2:]
    sides = [side, side] if is_template_graph or is_open else [None, None]
    x.set_shape([None, channels] + sides)
