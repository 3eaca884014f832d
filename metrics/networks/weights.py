"""A feature network with the record of its origin, and its weights as values."""

import hashlib
from collections import OrderedDict

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import network_state, safe_pickle, tfutil
from dnnlib.util import UserError
from metrics.networks import mapping


class FeatureNetwork:
    """A feature network with the record of where it comes from.

    Attributes:
        net: tflib.Network.
        record: dict for result records: name, is_standin, file, file_sha256, weights_sha256, verified, and more. By
            weights_sha256 scores and kept statistics of reals are told apart, so that it depends on `variant`, too.
    """

    def __init__(self, net, record, variant=''):
        """`variant`: what else than the weights decides on the features, if anything does."""
        digest = network_state.weights_hash(net)
        if variant:
            digest = hashlib.sha256(f'{digest} {variant}'.encode()).hexdigest()
        self.net = net
        self.record = OrderedDict(record, weights_sha256=digest)
        self._copies = {0: net}

    def on_device(self, index):
        """The network on device number `index`; to be called within that device's scope."""
        if index not in self._copies:
            self._copies[index] = self.net.clone(f'{self.net.name}_device{index}')
        return self._copies[index]


def build(name, func_name, kwargs, file_name):
    """A network as a file describes it, without values. Raises UserError for arguments that make no sense.

    Args:
        name: of the network.
        func_name: full name of one of our build functions.
        kwargs: its keywords, as the file has them.
        file_name: for sentences.
    """
    state = safe_pickle.NetworkState(3, name, kwargs, {}, '', func_name.rpartition('.')[2], [])
    safe_pickle.check_sizes(state, file_name)
    with network_state.building(name, func_name, file_name):
        return tflib.Network.without_values(name, func_name, **kwargs)


def set_values(net, values, file_name):
    """Gives a network the values {name: array} of all its variables. Raises UserError if they do not fit."""
    shapes = wanted_shapes(net)
    fitting = mapping.map_by_name(list(values.items()), shapes)
    if fitting is None:
        raise UserError(f"{file_name}: the stored variables do not fit network '{net.name}': stored\n"
                        f'{mapping.describe(list(values.items()))}\nneeded\n{mapping.describe_shapes(shapes)}')
    assign(net, fitting, file_name)


def assign(net, values, file_name):
    """Sets variables {name: array}, and the others to their initial values. Raises UserError for NaN and the like."""
    for name, value in values.items():
        if np.asarray(value).dtype.kind not in 'fiu':
            raise UserError(f'{file_name}: the weights of {name} are of type {np.asarray(value).dtype}, which are no '
                            'real numbers')
    try:
        network_state.check_finite(values, net.name)
    except UserError as err:
        raise UserError(f'{file_name}: {err}') from None
    tfutil.init_vars([var for name, var in net.vars.items() if name not in values])
    tflib.set_vars({net.vars[name]: value for name, value in values.items()})


def wanted_shapes(net):
    """OrderedDict of variable -> shape (tuple)."""
    return OrderedDict((name, tuple(var.shape.as_list())) for name, var in net.vars.items())
