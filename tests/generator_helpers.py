"""Small generators that show every source of variation, for tests of what is done with generators."""

import numpy as np

from dnnlib import tflib
from figures import arguments
from training import misc

TINY = dict(num_channels=3, resolution=16, fmap_base=64, fmap_max=8, latent_size=8, dlatent_size=8, mapping_fmaps=8,
            mapping_layers=2)
STYLEGAN, PROGAN = 'training.networks_stylegan.G_style', 'training.networks_progan.G_paper'


def strengthen(network):
    """Gives every source of variation a visible effect, and the network the same weights on every engine."""
    rnd = np.random.RandomState(0)
    tflib.set_vars({var: rnd.randn(*var.shape.as_list()) * scale_of(name) for name, var in network.vars.items()
                    if name.endswith(('weight', 'dlatent_avg')) or name.startswith('G_mapping')})


def scale_of(name):
    """Deviation of a variable's values."""
    if name.startswith('G_mapping'):
        return 100
    return 0.5 if name.endswith(('Noise/weight', 'dlatent_avg')) else 1


def save_networks(folder, **kwargs):
    """Stores a network with styles, made with these keywords, and one without; returns their paths by name."""
    paths = {}
    styles = tflib.Network('Gs', STYLEGAN, **dict(TINY, **kwargs))
    strengthen(styles)
    plain = tflib.Network('Gs', PROGAN, num_channels=1, resolution=16, fmap_base=64, fmap_max=8)
    strengthen(plain)
    for name, net in (('styles', styles), ('plain', plain)):
        paths[name] = str(folder / f'{name}.pkl')
        misc.save_pkl((net, net, net), paths[name])
    return paths


def open_once(opened, monkeypatch):
    """Command lines open a network only the first time; `opened` keeps them by path."""
    real = arguments.open_generator

    def open_generator(args):
        if args.network not in opened:
            opened[args.network] = real(args)
        return opened[args.network]

    monkeypatch.setattr(arguments, 'open_generator', open_generator)
