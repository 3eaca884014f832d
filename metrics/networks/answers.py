"""What attribute classifiers say about pictures, for those who edit them."""

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import tf
from metrics.linear_separability import fit_to_classifier
from metrics.networks.feature_networks import FeatureNetworks


class Answers(dict):
    """{attribute: function of images uint8 [N, H, H, C] that gives logits float32 [N], above 0 for "has it"}.

    Args:
        source: 'released' or 'standin'.
        names: attributes that are wanted; those without a classifier are left out.

    Attributes: attributes (names of all that there are classifiers of, wanted or not). Classifiers are loaded when they
    are first asked. Raises UserError where a file cannot be had.
    """

    def __init__(self, source, names):
        super().__init__()
        self._networks = FeatureNetworks(source)
        self.attributes = list(self._networks.attributes)
        for index, attribute in enumerate(self.attributes):
            if attribute in names:
                self[attribute] = _Answer(self._networks, index)


class _Answer:
    def __init__(self, networks, index):
        self._networks, self._index, self._graph = networks, index, None

    def __call__(self, images):
        if self._graph is None:
            net = self._networks.classifier(self._index).net
            holder = tf.placeholder(tf.float32, [None] + list(images.shape[1:]))
            inputs = tf.transpose(tflib.convert_images_from_uint8(holder), [0, 3, 1, 2])
            inputs = fit_to_classifier(inputs, net.input_shape[-1], net.input_shape[1])
            self._graph = holder, net.get_output_for(inputs, *[None] * (net.num_inputs - 1))[:, 0]
        holder, logits = self._graph
        return np.asarray(tflib.run(logits, {holder: images}), np.float32)
