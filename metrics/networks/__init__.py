"""Feature networks: the released ones, and small stand-ins trained on drawn faces. Never mixed within one score."""

import hashlib
import json
import os
from collections import OrderedDict

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError, sha256_file
from metrics.networks import files, mapping

RELEASED, STANDIN = 'released', 'standin'
CLASSIFIER_RESOLUTION = 256


class FeatureNetwork:
    """A feature network with the record of where it comes from.

    Attributes:
        net: tflib.Network.
        record: dict for result records: name, is_standin, file, file_sha256, weights_sha256, verified, and more.
    """

    def __init__(self, net, record):
        self.net = net
        self.record = OrderedDict(record, weights_sha256=weights_hash(net))
        self._copies = {0: net}

    def on_device(self, index):
        """The network on device number `index`; to be called within that device's scope."""
        if index not in self._copies:
            self._copies[index] = self.net.clone(f'{self.net.name}_device{index}')
        return self._copies[index]


class FeatureNetworks:
    """Loads feature networks on demand into the current graph, each once.

    Args:
        source: 'released' or 'standin'.
        settings: dict; `classifier_blur` (True or False) overrides whether classifiers blur before down-convolutions,
            which is only looked at where a classifier's file does not say.
    """

    def __init__(self, source, settings=None):
        if source not in (RELEASED, STANDIN):
            raise UserError(f"feature networks are '{source}'; choose released or standin")
        self.source = source
        self._settings = dict(settings or {})
        self._loaded = {}

    @property
    def attributes(self):
        """Names of the attributes that there are classifiers for, in order."""
        if self.source == RELEASED:
            return list(files.ATTRIBUTES)
        from metrics.networks import standin
        return [entry['attribute'] for entry in standin.read_record()['networks'].values() if 'attribute' in entry]

    def inception(self):
        """Features [N, D] of images [N, 3, H, W] with values 0...255."""
        return self._get('inception', _released_inception, 'features')

    def perceptual(self):
        """Distances [N] of two batches of images [N, 3, H, W] with values 0...255."""
        return self._get('perceptual', _released_perceptual, 'perceptual')

    def classifier(self, index):
        """Logits [N, 1] of images [N, 3, R, R] in [-1, 1], R being the network's resolution."""
        return self._get(('classifier', index), lambda: _released_classifier(index, self._settings),
                         'classifier-' + self.attributes[index])

    def _get(self, key, load_released, standin_name):
        if key not in self._loaded:
            with tf.device(tflib.device_name(0)):
                self._loaded[key] = load_released() if self.source == RELEASED else _load_standin(standin_name)
        return self._loaded[key]


def weights_hash(net):
    """SHA-256 over build function, static arguments and all variables of a network: what its outputs depend on."""
    digest = hashlib.sha256(json.dumps(
        [net._build_func_name, sorted((key, str(value)) for key, value in net.static_kwargs.items())]).encode())
    names = sorted(net.vars)
    for name, value in zip(names, tflib.get_vars([net.vars[name] for name in names])):
        digest.update(f'{name} {value.dtype} {value.shape}'.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _load_standin(name):
    from metrics.networks import standin
    entry = standin.read_record()['networks'].get(name)
    if entry is None:
        raise UserError(f"there is no stand-in '{name}' in {standin.RECORD}")
    kwargs = {key: _tuples(value) for key, value in entry['kwargs'].items()}
    net = tflib.Network('standin_' + name, func_name=entry['func_name'], **kwargs)
    set_values(net, standin.read_weights(name))
    return FeatureNetwork(net, [('name', f'stand-in {name} (trained on drawn faces)'), ('is_standin', True),
                                ('file', os.path.basename(standin.WEIGHTS)),
                                ('file_sha256', sha256_file(standin.WEIGHTS)), ('verified', True)])


def _tuples(value):
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def set_values(net, values):
    """Gives a network the values {name: array} of all its variables. Raises UserError if they do not fit."""
    shapes = wanted_shapes(net)
    fitting = mapping.map_by_name(list(values.items()), shapes)
    if fitting is None:
        raise UserError(f"the stored variables do not fit network '{net.name}': stored\n"
                        f'{mapping.describe(list(values.items()))}\nneeded\n'
                        f'{mapping.describe([(name, np.empty(shape)) for name, shape in shapes.items()])}')
    tflib.set_vars({net.vars[name]: value for name, value in fitting.items()})


def wanted_shapes(net):
    """OrderedDict of variable -> shape (tuple)."""
    return OrderedDict((name, tuple(var.shape.as_list())) for name, var in net.vars.items())


def _released_inception():
    from metrics.networks import released
    return released.inception()


def _released_perceptual():
    from metrics.networks import released
    return released.perceptual()


def _released_classifier(index, settings):
    from metrics.networks import released
    return released.classifier(index, settings)
