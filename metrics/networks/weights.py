"""A feature network with the record of its origin, and its weights as values."""

import hashlib
import json
from collections import OrderedDict

import numpy as np

from dnnlib import tflib
from dnnlib.util import UserError
from metrics.networks import mapping


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


def weights_hash(net):
    """SHA-256 over build function, static arguments and all variables of a network: what its outputs depend on."""
    digest = hashlib.sha256(json.dumps(
        [net._build_func_name, sorted((key, str(value)) for key, value in net.static_kwargs.items())]).encode())
    names = sorted(net.vars)
    for name, value in zip(names, tflib.get_vars([net.vars[name] for name in names])):
        digest.update(f'{name} {value.dtype} {value.shape}'.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


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
