"""Networks of "A Style-Based Generator Architecture for Generative Adversarial Networks".

`G_style` is the whole generator, made of `G_mapping` (z to w) and `G_synthesis` (w to images); `D_basic` is the
discriminator. Options turn them into the paper's configurations B to F. Inputs and outputs are NCHW, float32.
"""

import functools

import numpy as np
import tensorflow.compat.v1 as tf

import dnnlib.tflib as tflib
from training.layers.network_gradients import plus
from training.layers.network_growing import choose_structure, joined_features, joined_images, open_minibatch
from training.layers.network_layers import (  # noqa: F401  (apply_noise is part of this module)
    activation,
    apply_bias,
    apply_noise,
    blur2d,
    conv2d,
    conv2d_downscale2d,
    conv2d_of_pairs,
    dense,
    fold_seed,
    from_layout,
    instance_norm,
    pixel_norm,
    random_normal,
    random_uniform,
    scaled_noise,
    scores_of,
    style_mod,
    styled_instance_norm,
    to_layout,
    upscale2d_conv2d,
    upscale2d_conv2d_blur2d,
)
from training.layers.network_samples import PAIRED, Details, first_alone
from training.layers.network_sizes import feature_maps, resolution_log2

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'G': ('G_style',), 'D': ('D_basic',), 'network': ('G_mapping', 'G_synthesis')}

# Numbers that Network.run feeds, so that another one needs no other graph, and what null is fed as.
FED = {'G_style': {'truncation_psi': 1.0, 'truncation_cutoff': np.inf}}

# What their graphs would tell, so that those from files need none before they run.
OUTLINES = {name: 'training.layers.outlines.' + name for name in ('G_style', 'G_mapping', 'G_synthesis')}

# Networks whose files are often taken for those of this system.
STRANGERS = {'stylegan2': ('a StyleGAN2 network, whose layers are different', (
    'G_main', 'G_synthesis_stylegan2', 'G_synthesis_stylegan_revised', 'D_stylegan', 'D_stylegan2'), 4)}

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_samples',
                   'training.layers.network_growing', 'training.layers.network_sizes')


def G_style(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, label_size].
        truncation_psi=0.7,             # Strength of truncation: 0 gives the mean face, 1 or null turns it off;
                                        # a number from -100 to 100, or null
        truncation_cutoff=8,            # Number of layers that are truncated, null: all of them; 0 to 100, or null
        truncation_psi_val=None,        # The same with is_validation=True; a number from -100 to 100, or null
        truncation_cutoff_val=None,     # The same with is_validation=True; a whole number from 0 to 100, or null
        dlatent_avg_beta=0.995,         # Share of the old value in the running mean of w, null: not tracked;
                                        # 0 to 1, or null
        style_mixing_prob=0.9,          # Probability of mixing styles in training, null: off; 0 to 1, or null
        is_training=False,              # Track the mean of w and mix styles; no truncation.
        is_validation=False,            # Use the *_val values of truncation.
        is_template_graph=False,        # Set by Network when it makes the variables.
        components=None,                # Sub-networks, filled in on the first call.
        seed=None,                      # int32 [2]: makes mixing and noise functions of this seed.
        one_by_one=None,                # See G_synthesis; null: with is_validation.
        **kwargs):                      # For the sub-networks.
    """The generator (Fig. 1b of the paper). Returns images [N, num_channels, resolution, resolution]."""
    if is_training and is_validation:
        raise ValueError('is_training and is_validation exclude each other')
    if is_validation:
        truncation_psi, truncation_cutoff = truncation_psi_val, truncation_cutoff_val
    if is_training or _is_off(truncation_psi, 1):
        truncation_psi = None
    if not is_training and not tflib.is_tf_expression(truncation_cutoff) and truncation_cutoff is not None \
            and truncation_cutoff <= 0:
        truncation_psi = None

    if 'synthesis' not in components:
        components.synthesis = tflib.Network('G_synthesis', func_name=G_synthesis, **kwargs)
    num_layers, dlatent_size = components.synthesis.input_shape[1:]
    if 'mapping' not in components:
        components.mapping = tflib.Network('G_mapping', func_name=G_mapping, dlatent_broadcast=num_layers, **kwargs)

    lod = tf.get_variable('lod', initializer=np.float32(0), trainable=False)
    dlatent_avg = tf.get_variable('dlatent_avg', shape=[dlatent_size], initializer=tf.initializers.zeros(),
                                  trainable=False)
    dlatents = components.mapping.get_output_for(latents_in, labels_in, **kwargs)

    if is_training and dlatent_avg_beta is not None:
        with tf.name_scope('DlatentAvg'):
            batch_avg = tf.reduce_mean(dlatents[:, 0], axis=0)
            update = tf.assign(dlatent_avg, tflib.lerp(batch_avg, dlatent_avg, dlatent_avg_beta))
            with tf.control_dependencies([update]):
                dlatents = tf.identity(dlatents)

    layer_index = np.arange(num_layers)[np.newaxis, :, np.newaxis]
    if is_training and not _is_off(style_mixing_prob, 0):
        with tf.name_scope('StyleMix'):
            latents2 = random_normal(tf.shape(latents_in), tf.float32, fold_seed(seed, 0))
            dlatents2 = components.mapping.get_output_for(latents2, labels_in, **kwargs)
            num_active = num_layers - 2 * tf.cast(lod, tf.int32)
            is_mixed = random_uniform([], 0.0, 1.0, tf.float32, fold_seed(seed, 1)) < style_mixing_prob
            cutoff = tf.where(is_mixed, random_uniform([], 1, num_active, tf.int32, fold_seed(seed, 2)), num_active)
            is_first = tf.broadcast_to(layer_index < cutoff, tf.shape(dlatents))
            dlatents = tf.where(is_first, dlatents, dlatents2)

    if truncation_psi is not None:
        with tf.name_scope('Truncation'):
            is_truncated = True if truncation_cutoff is None else layer_index < truncation_cutoff
            ones = np.ones(layer_index.shape, np.float32)
            psi = tf.where(tf.logical_and(is_truncated, np.ones(layer_index.shape, bool)), truncation_psi * ones, ones)
            truncated = tflib.lerp(dlatent_avg, dlatents, psi)
            is_neutral = _is_neutral(truncation_psi, truncation_cutoff)
            # Chosen, since w moved by a factor of 1 has other bits.
            dlatents = truncated if is_neutral is None else tf.where(is_neutral, dlatents, truncated)

    # The synthesis network's own variable follows, for those who call it directly. The value is also handed over as a
    # tensor, because reading a variable that is being assigned gives the old value or the new one.
    synthesis_lod = components.synthesis.find_var('lod')
    with tf.control_dependencies([tf.assign(synthesis_lod, lod)]):
        images = components.synthesis.get_output_for(
            dlatents, lod=lod, force_clean_graph=is_template_graph, seed=fold_seed(seed, 3),
            one_by_one=is_validation if one_by_one is None else one_by_one, **kwargs)
    return tf.identity(images, name='images_out')


def _is_off(value, neutral):
    """Whether an option is None or a plain number equal to its neutral value (tensors always count)."""
    return value is None or (not tflib.is_tf_expression(value) and value == neutral)


def _is_neutral(psi, cutoff):
    """Whether tensors turn truncation off: a scalar bool tensor, or None where both are numbers that do not."""
    tests = []
    if tflib.is_tf_expression(psi):
        tests.append(tf.reduce_all(tf.equal(psi, 1)))
    if tflib.is_tf_expression(cutoff):
        tests.append(tf.reduce_all(tf.less_equal(cutoff, 0)))
    return functools.reduce(tf.logical_or, tests) if tests else None


def G_mapping(
        latents_in,                     # z, [N, latent_size].
        labels_in,                      # Labels, [N, label_size].
        latent_size=512,                # Size of z; 1 to 1048576
        label_size=0,                   # Components of a label, 0: no labels; 0 to 1048576
        dlatent_size=512,               # Size of w; 1 to 1048576
        dlatent_broadcast=None,         # Repeat w for this many layers, [N, layers, dlatent_size], or not, [N, size];
                                        # a whole number from 1 to 1000, or null
        mapping_layers=8,               # Number of layers from z to w; 0 to 1000
        mapping_fmaps=512,              # Width of the hidden layers; 1 to 1048576
        mapping_lrmul=0.01,             # Learning rate relative to the rest of the generator; 1e-6 to 1000
        mapping_nonlinearity='lrelu',   # Activation function of the mapping network; lrelu or relu
        use_wscale=True,                # Equalized learning rate.
        normalize_latents=True,         # Scale z to unit mean square first.
        dtype='float32',                # Type of the activations; float32 or float16
        **_kwargs):                     # Options of the other networks.
    """The mapping network f: z to w (section 2)."""
    act, gain = activation(mapping_nonlinearity)
    latents_in.set_shape([None, latent_size])
    labels_in.set_shape([None, label_size])
    x = tf.cast(latents_in, dtype)
    if label_size:
        with tf.variable_scope('LabelConcat'):
            weight = tf.get_variable('weight', shape=[label_size, latent_size],
                                     initializer=tf.initializers.random_normal())
            x = tf.concat([x, tf.matmul(tf.cast(labels_in, dtype), tf.cast(weight, dtype))], axis=1)
    if normalize_latents:
        x = pixel_norm(x)
    for index in range(mapping_layers):
        with tf.variable_scope(f'Dense{index}'):
            fmaps = dlatent_size if index == mapping_layers - 1 else mapping_fmaps
            x = act(apply_bias(dense(x, fmaps, gain, use_wscale, mapping_lrmul), lrmul=mapping_lrmul))
    if dlatent_broadcast is not None:
        with tf.name_scope('Broadcast'):
            x = tf.tile(x[:, np.newaxis], [1, dlatent_broadcast, 1])
    return tf.identity(tf.cast(x, tf.float32), name='dlatents_out')


def G_synthesis(
        dlatents_in,                    # w for every layer, [N, num_layers, dlatent_size].
        dlatent_size=512,
        num_channels=3,                 # Of the images; 1 to 4096
        resolution=1024,                # Power of two; 4 to 8192
        fmap_base=8192,                 # Channels at 2^r: min(fmap_base / 2^((r-1) * fmap_decay), fmap_max);
                                        # 1 to 16777216
        fmap_decay=1.0,                 # How fast channels grow fewer with the resolution; 0 to 10
        fmap_max=512,                   # Most channels of any layer; 1 to 65536
        use_styles=True,                # False: w feeds the dense input layer only (traditional generator).
        const_input_layer=True,         # Learned constant in place of the dense input layer.
        use_noise=True,                 # Noise inputs after each convolution.
        randomize_noise=True,           # Fresh noise; False: the stored noise inputs.
        nonlinearity='lrelu',           # Activation function; lrelu or relu
        use_wscale=True,
        use_pixel_norm=False,           # Normalise each pixel over the channels.
        use_instance_norm=True,         # Normalise each channel over the picture, as styles need.
        dtype='float32',                # Type of the activations; float32 or float16
        fused_scale='auto',             # See upscale2d_conv2d; true, false or auto
        blur_filter=(1, 2, 1),          # Low-pass filter after upscaling, null: off;
                                        # a list of 1 to 64 weights from -1e6 to 1e6, or null
        structure='auto',               # How resolutions are joined, fixed: no growing;
                                        # auto, fixed, linear, recursive or null
        is_template_graph=False,
        force_clean_graph=False,        # Stored noise and 'linear', for a graph that is easy to read.
        data_format='NCHW',             # Layout of the activations inside.
        lod=None,                       # Level of detail as a tensor; None: the variable.
        noise_inputs=None,              # Noise of every layer as tensors [N, 1, H, W], in place of the variables.
        seed=None,                      # int32 [2], for the noise.
        one_by_one=False,               # Large pictures one after another: faster on a CPU; has no second gradients.
        **_kwargs):
    """The synthesis network g: w to images (section 2)."""
    fmt = data_format
    res_log2 = resolution_log2(resolution)
    nf = feature_maps(fmap_base, fmap_decay, fmap_max)
    num_layers = res_log2 * 2 - 2
    act, gain = activation(nonlinearity)
    is_clean = is_template_graph or force_clean_graph
    if is_clean:
        randomize_noise = False
    structure = choose_structure(structure, is_clean)

    dlatents_in.set_shape([None, num_layers if use_styles else 1, dlatent_size])
    lod_var = tf.get_variable('lod', initializer=np.float32(0), trainable=False)
    lod = tf.cast(lod_var if lod is None else lod, dtype)
    dlatents = tf.cast(dlatents_in, dtype)
    if structure == 'recursive':
        dlatents = open_minibatch(dlatents, lod)
    num = tf.shape(dlatents)[0]
    dlatents = tf.unstack(dlatents, axis=1)
    noise_vars = [_stored_noise(layer) for layer in range(num_layers)] if use_noise else []
    if noise_inputs is not None:
        noise_vars, randomize_noise = noise_inputs, False

    has_usual_layers = use_styles and use_instance_norm and not use_pixel_norm and list(blur_filter or []) == [1, 2, 1]
    alone_from = first_alone(structure, res_log2, dtype, fmt) if one_by_one and has_usual_layers else None
    details = _details_of_layers(
        alone_from, nf, num, None if randomize_noise else noise_vars, seed, dlatents, use_wscale, use_noise)

    def epilogue(x, layer, sample=None):
        """What follows the convolution of layer number `layer`; `sample`: number of the only one, None: all."""
        if sample is not None:
            return details[layer].finish(x, sample, act)
        if use_noise:
            noise = scaled_noise(x, num, fmt, None if randomize_noise else noise_vars[layer], fold_seed(seed, layer))
        # The bias before the noise, since TensorFlow's graph optimizer joins it with the convolution.
        x = apply_bias(x, fmt)
        x = act(plus(x, noise) if use_noise else x)
        if use_pixel_norm:
            x = pixel_norm(x, fmt)
        if use_instance_norm and use_styles:
            return styled_instance_norm(x, dlatents[layer], use_wscale, fmt)
        if use_instance_norm:
            return instance_norm(x, fmt)
        return style_mod(x, dlatents[layer], use_wscale, fmt) if use_styles else x

    def block(res, x, sample=None):
        """From 2^(res-1) to 2^res pixels; `sample` as in `epilogue`."""
        with tf.variable_scope(f'{2 ** res}x{2 ** res}'):
            with tf.variable_scope('Conv0_up'):
                if sample is None:
                    x = upscale2d_conv2d(x, nf(res - 1), 3, gain, use_wscale, fused_scale, fmt)
                    x = blur2d(x, blur_filter, fmt)
                else:
                    x = upscale2d_conv2d_blur2d(x, nf(res - 1), gain, use_wscale, fused_scale)
                x = epilogue(x, res * 2 - 4, sample)
            with tf.variable_scope('Conv1'):
                conv = conv2d_of_pairs if alone_from and res in PAIRED else conv2d
                return epilogue(conv(x, nf(res - 1), 3, gain, use_wscale, fmt), res * 2 - 3, sample)

    with tf.variable_scope('4x4'):
        with tf.variable_scope('Const' if const_input_layer else 'Dense'):
            x = _constant(nf(1), num, dtype) if const_input_layer else _from_w(dlatents[0], nf(1), gain, use_wscale)
            x = epilogue(to_layout(x, fmt), 0)
        with tf.variable_scope('Conv'):
            x = epilogue(conv2d(x, nf(1), 3, gain, use_wscale, fmt), 1)
    images = joined_images(structure, x, lod, res_log2, block, num_channels, use_wscale, fmt, alone_from)
    images = tf.cast(from_layout(images, fmt), tf.float32)
    images.set_shape([dlatents_in.shape.as_list()[0], num_channels, resolution, resolution])
    return tf.identity(images, name='images_out')


def _constant(fmaps, num, dtype):
    """The learned constant [N, C, 4, 4] for every sample."""
    x = tf.get_variable('const', shape=[1, fmaps, 4, 4], initializer=tf.initializers.ones())
    return tf.tile(tf.cast(x, dtype), [num, 1, 1, 1])


def _from_w(dlatents, fmaps, gain, use_wscale):
    """The dense input layer: [N, dlatent_size] -> [N, C, 4, 4]."""
    # The gain keeps the variance that Progressive GAN's first layer has.
    return tf.reshape(dense(dlatents, fmaps * 16, gain / 4, use_wscale), [-1, fmaps, 4, 4])


def _details_of_layers(alone_from, nf, num, noise, seed, dlatents, use_wscale, use_noise):
    """dict from numbers of layers to the `Details` of those that are computed for samples alone; noise None: fresh."""
    details = {}
    for layer in range(alone_from * 2 - 4 if alone_from else len(dlatents), len(dlatents)):
        res, name = layer // 2 + 2, ('Conv0_up', 'Conv1')[layer % 2]
        with tf.variable_scope(f'{2 ** res}x{2 ** res}/{name}'):
            details[layer] = Details(2 ** res, nf(res - 1), num, noise and noise[layer], fold_seed(seed, layer),
                                     dlatents[layer], use_wscale, use_noise)
    return details


def _stored_noise(layer):
    """The noise input of a layer that is always the same."""
    size = 2 ** (layer // 2 + 2)
    return tf.get_variable(f'noise{layer}', shape=[1, 1, size, size], trainable=False,
                           initializer=tf.initializers.random_normal())


def D_basic(
        images_in,                      # Images, [N, num_channels, resolution, resolution].
        labels_in,                      # Labels, [N, label_size].
        num_channels=1,
        resolution=32,
        label_size=0,                   # Components of a label, 0: unconditional; 0 to 1048576
        fmap_base=8192,
        fmap_decay=1.0,
        fmap_max=512,
        nonlinearity='lrelu',
        use_wscale=True,
        mbstd_group_size=4,             # Group of the minibatch standard deviation, 0 or 1: off; 0 to 1000000
        mbstd_num_features=1,           # Maps that the minibatch standard deviation adds; 1 to 1000000
        dtype='float32',
        fused_scale='auto',             # Accepted, without effect: both forms are one function; true, false or auto
        blur_filter=(1, 2, 1),          # Low-pass filter before downscaling, null: off;
                                        # a list of 1 to 64 weights from -1e6 to 1e6, or null
        structure='auto',
        is_template_graph=False,
        data_format='NCHW',
        **_kwargs):
    """The discriminator (that of Progressive GAN with blurs). Returns scores [N, 1], which are logits."""
    fmt = data_format
    res_log2 = resolution_log2(resolution)
    nf = feature_maps(fmap_base, fmap_decay, fmap_max)
    act, gain = activation(nonlinearity)
    structure = choose_structure(structure, is_template_graph)

    images_in.set_shape([None, num_channels, resolution, resolution])
    labels_in.set_shape([None, label_size])
    images = to_layout(tf.cast(images_in, dtype), fmt)
    labels = tf.cast(labels_in, dtype)
    lod = tf.cast(tf.get_variable('lod', initializer=np.float32(0), trainable=False), dtype)

    def block(res, x):
        """From 2^res to 2^(res-1) pixels."""
        with tf.variable_scope(f'{2 ** res}x{2 ** res}'):
            with tf.variable_scope('Conv0'):
                x = act(apply_bias(conv2d(x, nf(res - 1), 3, gain, use_wscale, fmt), fmt))
            with tf.variable_scope('Conv1_down'):
                x = conv2d_downscale2d(blur2d(x, blur_filter, fmt), nf(res - 2), 3, gain, use_wscale, fmt)
                return act(apply_bias(x, fmt))

    x = joined_features(structure, images, lod, res_log2, block, nf, act, gain, use_wscale, fmt)
    scores = scores_of(x, nf(1), nf(0), max(label_size, 1), mbstd_group_size, mbstd_num_features, act, gain, use_wscale,
                       fmt)
    if label_size:
        scores = tf.reduce_sum(scores * labels, axis=1, keepdims=True)
    return tf.identity(tf.cast(scores, tf.float32), name='scores_out')
