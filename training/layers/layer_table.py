"""The layers of this project's networks, as tables: how many parameters they have and what they compute.

For planning a run without building anything, so no TensorFlow is imported. That the tables are those of the networks is
tested against built ones.
"""

import collections

from training.layers.network_sizes import bounded_feature_maps, doubling_feature_maps, feature_maps

Layer = collections.namedtuple('Layer', 'res kernel inputs outputs others')
"""res: log2 of the pixels at which it is computed, 0 for products of a vector and a matrix, None for layers to and from
RGB, which cost little; kernel: its width; inputs, outputs: channels; others: parameters besides the kernel's, such as
biases."""


def num_params(layers):
    """Number of trainable parameters."""
    return sum(layer.kernel ** 2 * layer.inputs * layer.outputs + layer.others for layer in layers)


def features_by_res(layers):
    """Numbers that the layers put out for one image, by log2 of the pixels."""
    counts = collections.Counter()
    for layer in layers:
        if layer.res is not None:
            counts[layer.res] += 4 ** layer.res * layer.outputs
    return counts


def operations_by_res(layers):
    """Multiplications with additions that the layers do for one image, by log2 of the pixels."""
    counts = collections.Counter()
    for layer in layers:
        if layer.res is not None:
            counts[layer.res] += layer.kernel ** 2 * 4 ** layer.res * layer.inputs * layer.outputs
    return counts


def _maps(net):
    return feature_maps(net.fmap_base, net.fmap_decay, net.fmap_max)


def style_generator(g, res_log2, channels, label_size):
    """The layers of `networks_stylegan.G_style`. `g`: its keywords by name, defaults included."""
    nf = _maps(g)

    def epilogue(fmaps):
        style = (g.dlatent_size + 1) * 2 * fmaps if g.use_styles else 0
        return style + fmaps + (fmaps if g.use_noise else 0)

    layers = [Layer(0, 1, label_size, g.latent_size, 0)]
    width = g.latent_size * (2 if label_size else 1)
    for index in range(g.mapping_layers):
        out = g.dlatent_size if index == g.mapping_layers - 1 else g.mapping_fmaps
        layers.append(Layer(0, 1, width, out, out))
        width = out
    # The first layer is a constant of 4x4 pixels, or a product with a matrix into as many.
    layers.append(Layer(0, 4, 1 if g.const_input_layer else g.dlatent_size, nf(1), epilogue(nf(1))))
    return layers + _growing_up(nf, res_log2, channels, epilogue, g.get('structure'))


def paper_generator(g, res_log2, channels, label_size):
    """The layers of `networks_progan.G_paper`."""
    nf = _maps(g)
    first = Layer(0, 4, (g.latent_size or nf(0)) + label_size, nf(1), nf(1))
    return [first] + _growing_up(nf, res_log2, channels, lambda fmaps: fmaps, g.get('structure'))


def _growing_up(nf, res_log2, channels, epilogue, structure):
    layers = [Layer(2, 3, nf(1), nf(1), epilogue(nf(1)))]
    for res in range(3, res_log2 + 1):
        layers += [Layer(res, 3, inputs, nf(res - 1), epilogue(nf(res - 1))) for inputs in (nf(res - 2), nf(res - 1))]
    return layers + [Layer(None, 1, nf(res - 1), channels, channels) for res in _rgb_levels(res_log2, structure)]


def _rgb_levels(res_log2, structure):
    """Log2 of the resolutions with layers to or from RGB: all that networks grow through."""
    return [res_log2] if structure == 'fixed' else range(2, res_log2 + 1)


def style_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_stylegan.D_basic`."""
    return _growing_down(d, res_log2, channels, max(label_size, 1), d.mbstd_num_features)


def paper_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_progan.D_paper`."""
    return _growing_down(d, res_log2, channels, 1, 1)


def _growing_down(d, res_log2, channels, outputs, deviation_maps):
    nf = _maps(d)
    layers = [Layer(None, 1, channels, nf(res - 1), nf(res - 1)) for res in _rgb_levels(res_log2, d.get('structure'))]
    for res in range(3, res_log2 + 1):
        layers += [Layer(res, 3, nf(res - 1), out, out) for out in (nf(res - 1), nf(res - 2))]
    more = deviation_maps if (d.mbstd_group_size or 0) > 1 else 0
    return layers + [Layer(2, 3, nf(1) + more, nf(1), nf(1)), Layer(0, 4, nf(1), nf(0), nf(0)),
                     Layer(0, 1, nf(0), outputs, outputs)]


def minimal_generator(g, res_log2, channels, label_size):
    """The layers of `networks_minimal.G_minimal`."""
    return [Layer(0, 1, g.latent_size + label_size, g.hidden, g.hidden), Layer(0, 1, g.hidden, channels, channels)]


def minimal_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_minimal.D_minimal`."""
    return [Layer(0, 1, channels, d.hidden, d.hidden), Layer(0, 1, d.hidden, 1, 1)]


def _dcgan_channels(maps, res_log2, channels):
    """Channels from 4x4 pixels to the image."""
    return [maps * 2 ** (res_log2 - 3 - block) for block in range(res_log2 - 2)] + [channels]


def dcgan_generator(g, res_log2, channels, label_size):
    """The layers of `networks_dcgan.G_dcgan`: convolutions without bias, and normalisation of all but the last."""
    widths = _dcgan_channels(g.ngf, res_log2, channels)
    layers = [Layer(2, 4, g.nz + label_size, widths[0], 2 * widths[0])]
    layers += [Layer(res, 4, coarse, fine, 2 * fine)
               for res, coarse, fine in zip(range(3, res_log2), widths, widths[1:])]
    return layers + [Layer(res_log2, 4, widths[-2], channels, 0)]


def dcgan_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_dcgan.D_dcgan`."""
    widths = _dcgan_channels(d.ndf, res_log2, channels)
    layers = [Layer(res_log2 - 1, 4, channels, widths[-2], 0)]
    layers += [Layer(res - 1, 4, fine, coarse, 2 * coarse)
               for res, coarse, fine in zip(range(3, res_log2), widths, widths[1:])]
    return layers + [Layer(0, 4, widths[0], 1, 0)]


def full_generator(g, res_log2, channels, label_size):
    """The layers of `networks_gan2014.G_fully_connected`."""
    pixels = channels * 4 ** res_log2
    return [Layer(0, 1, g.latent_size + label_size, g.hidden, g.hidden), Layer(0, 1, g.hidden, g.hidden, g.hidden),
            Layer(0, 1, g.hidden, pixels, pixels)]


def full_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_gan2014.D_fully_connected`."""
    wide = d.units * d.pieces
    return [Layer(0, 1, channels * 4 ** res_log2, wide, wide), Layer(0, 1, d.units, wide, wide),
            Layer(0, 1, d.units, 1, 1)]


def deconvolutional_generator(g, res_log2, channels, label_size):
    """The layers of `networks_gan2014.G_deconvolutional`."""
    first = 2 * g.fmaps * 4 ** (res_log2 - 2)
    return [Layer(0, 1, g.latent_size + label_size, first, first),
            Layer(res_log2 - 1, 4, 2 * g.fmaps, g.fmaps, g.fmaps), Layer(res_log2, 4, g.fmaps, channels, channels)]


def convolutional_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_gan2014.D_convolutional`."""
    wide = d.fmaps * d.pieces
    return [Layer(res_log2 - 1, 4, channels, wide, wide), Layer(res_log2 - 2, 4, d.fmaps, 2 * wide, 2 * wide),
            Layer(0, 1, 2 * d.fmaps * 4 ** (res_log2 - 2), 1, 1)]


def _code_maps(net):
    maps = bounded_feature_maps(net.fmap_base, net.fmap_min, net.fmap_max)
    return lambda res_log2: maps(2 ** res_log2)


def code_generator(g, res_log2, channels, label_size):
    """The layers of `networks_accel.G_code`."""
    nf = _code_maps(g)
    layers = [Layer(0, 4, g.latent_size, nf(2), nf(2))]
    layers += [Layer(res, 3, nf(res - 1), nf(res), nf(res)) for res in range(3, res_log2 + 1)]
    return layers + [Layer(res_log2, 3, nf(res_log2), channels, channels)]


def code_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_accel.D_code`."""
    nf = _code_maps(d)
    layers = [Layer(res_log2, 3, channels, nf(res_log2), nf(res_log2))]
    layers += [Layer(res, 3, nf(res), nf(res - 1), nf(res - 1)) for res in range(3, res_log2 + 1)]
    return layers + [Layer(0, 4, nf(2), nf(2), nf(2)), Layer(0, 1, nf(2), 1, 1)]


def codec(g, res_log2, channels, label_size):
    """The layers of `networks_codec.G_codec`: encoder and decoder."""
    widths = list(map(doubling_feature_maps(g.fmaps, g.fmap_max), range(int(g.downscale).bit_length())))
    coarse, wide = res_log2 - len(widths) + 1, widths[-1]
    layers = [Layer(res_log2, 3, channels, widths[0], widths[0])]
    for level, (fine, fmaps) in enumerate(zip(widths, widths[1:])):
        layers += [Layer(res_log2 - level, 3, fine, fmaps, fmaps), Layer(res_log2 - level - 1, 3, fmaps, fmaps, fmaps)]
    layers += [Layer(coarse, 3, wide, g.code_channels, g.code_channels), Layer(coarse, 3, g.code_channels, wide, wide)]
    for level in reversed(range(len(widths) - 1)):
        layers += [Layer(res_log2 - level, 3, inputs, widths[level], widths[level])
                   for inputs in (widths[level + 1], widths[level])]
    return layers + [Layer(res_log2, 3, widths[0], channels, channels)]


def codec_discriminator(d, res_log2, channels, label_size):
    """The layers of `networks_codec.D_codec`."""
    widths = list(map(doubling_feature_maps(d.fmaps, d.fmap_max), range(d.num_scales + 1)))
    layers = [Layer(res_log2, 3, channels, widths[0], widths[0])]
    layers += [Layer(res_log2 - level, 3, fine, fmaps, fmaps)
               for level, (fine, fmaps) in enumerate(zip(widths, widths[1:]))]
    return layers + [Layer(res_log2 - d.num_scales, 3, widths[-1], 1, 1)]


TABLES = {
    'training.networks_stylegan.G_style': style_generator, 'training.networks_stylegan.D_basic': style_discriminator,
    'training.networks_progan.G_paper': paper_generator, 'training.networks_progan.D_paper': paper_discriminator,
    'training.networks_minimal.G_minimal': minimal_generator,
    'training.networks_minimal.D_minimal': minimal_discriminator,
    'training.networks_dcgan.G_dcgan': dcgan_generator, 'training.networks_dcgan.D_dcgan': dcgan_discriminator,
    'training.networks_gan2014.G_fully_connected': full_generator,
    'training.networks_gan2014.D_fully_connected': full_discriminator,
    'training.networks_gan2014.G_deconvolutional': deconvolutional_generator,
    'training.networks_gan2014.D_convolutional': convolutional_discriminator,
    'training.networks_accel.G_code': code_generator, 'training.networks_accel.D_code': code_discriminator,
    'training.networks_codec.G_codec': codec, 'training.networks_codec.D_codec': codec_discriminator}
"""By the build function that a configuration names."""
