"""Sizes of the networks of one resolution, those of the lecture: what `forecast.network_sizes` says of them.

Arithmetic on sections of a configuration; no TensorFlow is imported.
"""

import math

from data.records.base import resolution_of
from dnnlib.util import EasyDict, UserError
from experiment.settings import with_defaults

_OURS = 'training.networks_'
_FOR_POINTS = 'training.networks_minimal.'


def check_kind(config, data):
    """Raises UserError for networks of this project that are made for images where the data are points, or for points
    where they are images."""
    for name in ('G', 'D'):
        function = config[name].func_name
        if not function.startswith(_OURS):
            continue
        if function.startswith(_FOR_POINTS) and len(data.shape) != 1:
            raise UserError(f'{name}.func_name is {function}, which is for points, but the data set has samples of '
                            f'{data.shape}; choose networks for images, such as those of dcgan-64, or a data set made '
                            'by dataset_tool.py create_points')
        if not function.startswith(_FOR_POINTS) and len(data.shape) == 1:
            raise UserError(f'{name}.func_name is {function}, which is for images, but the data set has points of '
                            f'{data.shape[0]} numbers; choose training.networks_minimal.{name}_minimal, or a data set '
                            'of images')
        if function.startswith(_OURS + 'dcgan.') and data.shape[1] < 8:
            raise UserError(f'{name}.func_name is {function}, which is for images of 8x8 or more, but the data set has '
                            f'{data.shape[2]}x{data.shape[1]}')


def network_sizes(G, D, data):
    """EasyDict as `forecast.network_sizes` returns it, or None for networks of other families."""
    count_G, count_D = [_COUNTS.get(section.func_name) for section in (G, D)]
    if count_G is None or count_D is None:
        return None
    g = count_G(with_defaults('G', G), data)
    d = count_D(with_defaults('D', D), data)
    log2 = _resolution_log2(data)
    return EasyDict(G_params=g.params, D_params=d.params, features={log2: g.features + d.features},
                    macs={log2: g.macs + d.macs})


def _resolution_log2(data):
    return int(math.log2(resolution_of(data.shape)))


def _chain(layers):
    """Sums over layers, each (inputs, outputs, pixels of the larger side, kernel taps, further numbers per output)."""
    total = EasyDict(params=0, features=0, macs=0)
    for inputs, outputs, pixels, taps, more in layers:
        total.params += inputs * outputs * taps + more * outputs
        total.features += outputs * pixels
        total.macs += inputs * outputs * pixels * taps
    return total


def _G_minimal(g, data):
    return _chain([(g.latent_size + data.label_size, g.hidden, 1, 1, 1), (g.hidden, data.shape[0], 1, 1, 1)])


def _D_minimal(d, data):
    return _chain([(data.shape[0], d.hidden, 1, 1, 1), (d.hidden, 1, 1, 1, 1)])


def _dcgan_layers(maps, data):
    """Layers between 4x4 and the image: (channels nearer to 4x4, nearer to the image, pixels of the finer side)."""
    num_blocks = _resolution_log2(data) - 2
    channels = [maps * data.shape[1] // 8 // 2 ** block for block in range(num_blocks)] + [data.shape[0]]
    return [(channels[i], channels[i + 1], 4 ** (i + 3)) for i in range(num_blocks)]


def _G_dcgan(g, data):
    first = g.ngf * data.shape[1] // 8
    layers = _dcgan_layers(g.ngf, data)
    return _chain([(g.nz + data.label_size, first, 16, 16, 2)] + [
        (coarse, fine, pixels, 16, 2 if index < len(layers) - 1 else 0)
        for index, (coarse, fine, pixels) in enumerate(layers)])


def _D_dcgan(d, data):
    layers = _dcgan_layers(d.ndf, data)[::-1]
    chain = [(fine, coarse, pixels // 4, 16, 2 if index else 0) for index, (coarse, fine, pixels) in enumerate(layers)]
    return _chain(chain + [(layers[-1][0], 1, 1, 16, 0)])


_COUNTS = {
    'training.networks_minimal.G_minimal': _G_minimal, 'training.networks_minimal.D_minimal': _D_minimal,
    'training.networks_dcgan.G_dcgan': _G_dcgan, 'training.networks_dcgan.D_dcgan': _D_dcgan}
