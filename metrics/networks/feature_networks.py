"""The feature networks that metrics ask for, from one source each."""

import os
from collections import OrderedDict

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from metrics.networks import files, released, standin, weights
from metrics.networks.choice import RELEASED, STANDIN


class FeatureNetworks:
    """Loads feature networks on demand into the current graph, each once.

    Args:
        source: 'released' or 'standin'; see `choice.choose_source`.
        settings: dict; `classifier_blur` (True or False) overrides whether classifiers blur before down-convolutions,
            which is only looked at where a classifier's file does not say; `classifiers`: a folder with classifiers,
            see `files.find_classifiers`, in place of those of the source.
    """

    def __init__(self, source, settings=None):
        assert source in (RELEASED, STANDIN)
        self.source = source
        self.used = OrderedDict()   # name -> record of what was asked for, until somebody empties it
        self._settings = dict(settings or {})
        folder = self._settings.pop('classifiers', None)
        self._own_classifiers = files.find_classifiers(folder) if folder else None
        self._loaded = {}

    @property
    def attributes(self):
        """Names of the attributes that there are classifiers for, in order."""
        if self._own_classifiers is not None:
            return list(self._own_classifiers)
        if self.source == RELEASED:
            return list(files.ATTRIBUTES)
        return [entry['attribute'] for entry in standin.read_record()['networks'].values() if 'attribute' in entry]

    def inception(self):
        """Features [N, D] of images [N, 3, H, W] with values 0...255."""
        return self._get('inception', released.inception, 'features')

    def perceptual(self):
        """Distances [N] of two batches of images [N, 3, H, W] with values 0...255."""
        return self._get('perceptual', released.perceptual, 'perceptual')

    def classifier(self, index):
        """Logits [N, 1] of images [N, 3, R, R] in [-1, 1], R being the network's resolution."""
        attribute, own = self.attributes[index], self._own_classifiers
        if own is not None:
            return self._keep(f'classifier-{index}', lambda: released.own_classifier(own[attribute], attribute, index,
                                                                                     self._settings))
        return self._get(f'classifier-{index}', lambda: released.classifier(index, self._settings),
                         'classifier-' + attribute)

    def _get(self, key, load_released, standin_name):
        return self._keep(key, load_released if self.source == RELEASED else lambda: _load_standin(standin_name))

    def _keep(self, key, load):
        if key not in self._loaded:
            with tf.device(tflib.device_name(0)):
                self._loaded[key] = load()
        self.used[key] = self._loaded[key].record
        return self._loaded[key]


def _load_standin(name):
    entry = standin.read_record()['networks'].get(name)
    if entry is None:
        raise UserError(f"there is no stand-in '{name}' in {standin.RECORD}")
    net = weights.build('standin_' + name, entry['func_name'], {key: _tuples(value) for key, value
                                                                in entry['kwargs'].items()}, standin.RECORD)
    weights.set_values(net, standin.read_weights(name), standin.WEIGHTS)
    verified = standin.are_as_published()
    record = OrderedDict([
        ('name', f'stand-in {name} (trained on drawn faces)'), ('is_standin', True),
        ('file', os.path.basename(standin.WEIGHTS))] + list(standin.hashes().items()) + [('verified', verified)])
    if not verified:
        record['note'] = 'the stand-ins here are not those that came with this project'
    if 'reduction' in entry['kwargs']:
        record['reduction'] = entry['kwargs']['reduction']
    return weights.FeatureNetwork(net, record, record.get('reduction', ''))


def _tuples(value):
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
