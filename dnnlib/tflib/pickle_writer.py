"""Writing pickles that every reader of the published files understands, whatever runs here.

Two things would otherwise depend on the machine: the protocol (5 is unknown to Python 3.7) and the home of numpy's
array reconstructor (numpy 2 moved it to a module that numpy 1 does not have).
"""

import pickle
import types

from dnnlib.files import atomic_write

PROTOCOL = 4
_RENAMED_PREFIX = ('numpy._core', 'numpy.core')


class _PortablePickler(pickle._Pickler):
    """The standard library's pickler in Python, since only that lets the name of a global be chosen."""

    def save_global(self, obj, name=None):
        module = getattr(obj, '__module__', None)
        if not isinstance(module, str) or not module.startswith(_RENAMED_PREFIX[0]):
            return super().save_global(obj, name)
        self.save(_RENAMED_PREFIX[1] + module[len(_RENAMED_PREFIX[0]):])
        self.save(name or obj.__qualname__)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    def save(self, obj, *args, **kwargs):
        # Strings that occurred before are written as references. Which equal strings are one object depends on where
        # they were read from (YAML, JSON, source), and the bytes of a file should depend on its content alone.
        if type(obj) is str:
            obj = self.__dict__.setdefault('_strings', {}).setdefault(obj, obj)
        return super().save(obj, *args, **kwargs)

    # The base class reaches functions and classes through this table, which holds its own methods.
    dispatch = dict(pickle._Pickler.dispatch)
    dispatch[types.FunctionType] = save_global
    dispatch[types.BuiltinFunctionType] = save_global


def save(obj, path):
    """Stores networks (or plain values) as a pickle that readers of the published files understand, atomically."""
    with atomic_write(path) as file:
        dump(obj, file)


def dump(obj, file):
    """Writes `obj` to an open binary file: protocol 4, numpy globals under their published names."""
    _PortablePickler(file, PROTOCOL).dump(obj)
