"""Filling networks with the reference values that the golden arrays were computed from."""

import json

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import tf


def runs_channels_first():
    """Whether the session's engine has NCHW convolutions on a CPU: those of oneDNN have, other builds lack them."""
    x = tf.ones([1, 8, 8, 8])
    try:
        tflib.run(tf.nn.conv2d(x, tf.ones([3, 3, 8, 8]), strides=[1, 1, 1, 1], padding='SAME', data_format='NCHW'))
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return False
    return True


class GoldenCase:
    """One reference network pair: its description, arrays and, once built, G and D.

    Args:
        golden_dir: folder with NAME.json and NAME.npz.
        name: for example 'stylegan-f-32'.
        module: module of the build functions.
    """

    def __init__(self, golden_dir, name, module):
        self.info = json.loads((golden_dir / f'{name}.json').read_text())
        self.arrays = dict(np.load(str(golden_dir / f'{name}.npz')))
        common = dict(resolution=self.info['resolution'], label_size=self.info['label_size'], num_channels=3)
        self.G = tflib.Network('G', func_name=f"{module}.{self.info['func_G']}", **common, **self.info['G_kwargs'])
        self.D = tflib.Network('D', func_name=f"{module}.{self.info['func_D']}", **common, **self.info['D_kwargs'])
        fill(self.G, self.info['seed'] + 1)
        fill(self.D, self.info['seed'] + 2)

    @property
    def z(self):
        return self.arrays['z']

    @property
    def labels(self):
        if 'labels' in self.arrays:
            return self.arrays['labels']
        return np.zeros([len(self.z), 0], np.float32)

    def set_lod(self, lod):
        tflib.set_vars({net.find_var('lod'): lod for net in self.networks()})

    def networks(self):
        return [net for net in [self.G, self.D, *self.G.components.values()] if 'lod' in net.own_vars]


def fill(net, seed):
    """Draws every variable in sorted order of local name and scales it by the rule of the reference data."""
    rnd = np.random.RandomState(seed)
    values = {}
    for name in sorted(net.vars):
        value = rnd.randn(*tflib.shape_to_list(net.vars[name].shape))
        value = np.asarray(value, dtype=np.float32)
        values[net.vars[name]] = value * scale_of(name)
    tflib.set_vars(values)


def scale_of(name):
    if name.split('/')[-1] == 'lod':
        return np.float32(0)
    if name.endswith('Noise/weight'):
        return np.float32(0.2)
    if name.endswith('bias'):
        return np.float32(10 if name.startswith('G_mapping/') else 0.2)
    if name.startswith('G_mapping/') and name.endswith('weight') and 'LabelConcat' not in name:
        return np.float32(100)
    if name == 'dlatent_avg':
        return np.float32(0.3)
    return np.float32(1)


def deviation(actual, expected):
    """Largest difference relative to the expected values' standard deviation."""
    return float(np.abs(actual - expected).max() / max(expected.std(), 1e-12))
