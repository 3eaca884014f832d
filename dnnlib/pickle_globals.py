"""The names that a pickle may mention, and what each of them makes. Nothing is looked up in, or called from, a module.

Every entry is a function of this file that checks its arguments and builds plain data: numbers, strings, containers
and NumPy arrays of numbers. `Instance` records stand for the few classes that a reader knows (see `safe_pickle`).
"""

import collections
import re
import sys

import numpy as np

from dnnlib.blocks import Block
from dnnlib.util import EasyDict


class Malformed(Exception):
    """What a pickle asks for makes no sense; the text completes the sentence 'the pickle …'."""


class Callable:
    """An allowed name: `call(args, spend)` for calls; `new(args)` where the name is a class that may be instantiated.

    `spend(n)` must be called before n bytes are copied out of something already read.
    """

    def __init__(self, name, call=None, new=None):
        self.name = name
        self.call = call
        self.new = new


class Instance:
    """An object of a known class before any of our code saw it: the class's name and the state dict that was stored."""

    __slots__ = ('class_name', 'state')

    def __init__(self, class_name):
        self.class_name = class_name
        self.state = None

    def build(self, state):
        if self.state is not None or not isinstance(state, dict):
            raise Malformed(f'gives a {self.class_name} a state that is not one dict')
        self.state = state
        return self


class PendingDType:
    """A NumPy type whose byte order may still follow."""

    __slots__ = ('dtype', 'memo_keys')

    def __init__(self, dtype):
        self.dtype = dtype
        self.memo_keys = []

    def build(self, state):
        order = _ascii(state[1]) if isinstance(state, tuple) and len(state) >= 5 else None
        if order not in ('<', '>', '=', '|') or any(item is not None for item in state[2:5]):
            raise Malformed('describes a NumPy type other than plain numbers and texts')
        return PendingDType(self.dtype.newbyteorder(order))


class PendingArray:
    """A NumPy array whose shape, type and bytes must still follow."""

    __slots__ = ('memo_keys',)

    def __init__(self):
        self.memo_keys = []

    def build(self, state):
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise Malformed('describes a NumPy array in an unknown way')
        shape, dtype, fortran, data = state[-4:]
        return make_array(shape, dtype, data, 'F' if isinstance(fortran, int) and fortran else 'C')


_PLAIN_TYPE = re.compile(r'[<>|=]?(?:[buifc][0-9]{1,2}|bool|u?int[0-9]{1,2}|float[0-9]{1,3}|complex[0-9]{1,3}'
                         r'|[SU][1-9][0-9]{0,5})\Z')
_MAX_DIMS = 32


def _ascii(value):
    """A short text that Python 2 may have stored as bytes; None for anything else."""
    if isinstance(value, bytes):
        value = value.decode('latin1')
    return value if isinstance(value, str) and len(value) <= 40 else None


def make_dtype(args):
    """`numpy.dtype('f4', False, True)` → PendingDType; numbers and texts, so an array can never hold objects."""
    name = _ascii(args[0]) if 1 <= len(args) <= 3 else None
    if name is None or not _PLAIN_TYPE.match(name):
        raise Malformed(f'uses the NumPy type {name or "(unreadable)"}, which is neither a plain number nor text')
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise Malformed(f'uses the unknown NumPy type {name!r}') from None
    return PendingDType(dtype)


def _check_dtype(dtype):
    if not isinstance(dtype, PendingDType):
        raise Malformed('has a NumPy array without a type')
    return dtype.dtype


def make_array(shape, dtype, data, order, spend=None):
    """An array over `data` without copying it. What the shape declares must be exactly what the data holds."""
    dtype = _check_dtype(dtype)
    if isinstance(data, str):  # bytes as Python 2 wrote them, read as latin1
        data = _latin1(data, spend)
    if isinstance(data, Block) and dtype.kind in 'SU':  # texts are looked at
        data = bytes(data)
    if not isinstance(data, (bytes, bytearray, Block)):
        raise Malformed('has a NumPy array whose content is not bytes')
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMS \
            or not all(type(n) is int and 0 <= n < 2 ** 48 for n in shape):
        raise Malformed('declares an impossible array shape')
    count = 1
    for n in shape:
        count *= n
    if count * dtype.itemsize != len(data):
        raise Malformed(f'declares an array of shape {shape} and type {dtype}, {count * dtype.itemsize} bytes, '
                        f'but holds {len(data)} bytes for it')
    if _ascii(order) not in ('C', 'F'):
        raise Malformed('declares an unknown array order')
    if dtype.kind == 'U' and count and np.frombuffer(data, dtype.byteorder + 'u4').max() > sys.maxunicode:
        raise Malformed('has an array of text with characters that do not exist')
    if isinstance(data, Block):
        data = data.memory.view()
        data.setflags(write=False)
    try:
        return np.frombuffer(data, dtype=dtype).reshape(shape, order=_ascii(order)) if count else np.zeros(shape, dtype)
    except (ValueError, MemoryError):
        raise Malformed('declares an impossible array shape') from None


def _latin1(text, spend):
    if spend is not None:
        spend(len(text))
    try:
        return text.encode('latin1')
    except UnicodeEncodeError:
        raise Malformed('has text where bytes are expected') from None


def _reconstruct(args, spend):
    if len(args) != 3 or getattr(args[0], 'name', None) != 'numpy.ndarray':
        raise Malformed('reconstructs something other than a NumPy array')
    return PendingArray()


def _frombuffer(args, spend):
    if len(args) != 4:
        raise Malformed('describes a NumPy array in an unknown way')
    data, dtype, shape, order = args
    return make_array(shape, dtype, data, order, spend)


def _scalar(args, spend):
    if len(args) != 2:
        raise Malformed('describes a NumPy number in an unknown way')
    return make_array((), args[0], args[1], 'C', spend)[()]


def _encode(args, spend):
    if len(args) != 2 or not isinstance(args[0], str) or _ascii(args[1]) not in ('latin1', 'latin-1'):
        raise Malformed('encodes text in an unexpected way')
    return _latin1(args[0], spend)


def _bytes(args, spend):
    if args:
        raise Malformed('calls bytes with arguments')
    return b''


def _bytearray(args, spend):
    if not args:
        return bytearray()
    if len(args) == 1 and isinstance(args[0], (bytes, bytearray)):
        spend(len(args[0]))
        return bytearray(args[0])
    return bytearray(_encode(args, spend))


def _complex(args, spend):
    if len(args) != 2 or not all(type(part) is float for part in args):
        raise Malformed('describes a complex number in an unknown way')
    return complex(*args)


def check_key(key):
    """Keys of dicts and members of sets may only be such values as hash fast and without collisions by design."""
    if not (key is None or isinstance(key, (str, bytes, bool)) or type(key) is int and abs(key) < 2 ** 63):
        raise Malformed(f'uses a {type(key).__name__} as the key of a dict or the member of a set')
    return key


def _collection(kind):
    def make(args, spend):
        items = args[0] if args else []
        if len(args) > 1 or not isinstance(items, (list, tuple, set)):
            raise Malformed(f'describes a {kind.__name__} in an unknown way')
        spend(64 * len(items))
        return kind(check_key(item) for item in items)
    return make


def _mapping(kind):
    def make(args, spend):
        items = args[0] if args else []
        if len(args) > 1 or not isinstance(items, (list, tuple)) \
                or not all(isinstance(item, (list, tuple)) and len(item) == 2 for item in items):
            raise Malformed(f'describes a {kind.__name__} in an unknown way')
        spend(128 * len(items))
        return kind((check_key(key), value) for key, value in items)
    return make


def _new_mapping(kind):
    def make(args):
        if args:
            raise Malformed(f'describes a {kind.__name__} in an unknown way')
        return kind()
    return make


def _old_style_new(args, spend):
    """`copy_reg._reconstructor(cls, base, state)`: how protocols 0 and 1 make an object."""
    if len(args) != 3 or not isinstance(args[0], Callable) or args[0].new is None:
        raise Malformed('instantiates something unknown')
    obj = args[0].new(())
    if isinstance(obj, dict) and isinstance(args[2], dict):
        spend(128 * len(args[2]))
        obj.update((check_key(key), value) for key, value in args[2].items())
    elif args[2] is not None:
        raise Malformed('instantiates something unknown')
    return obj


def _table():
    table = {}

    def add(modules, name, **kwargs):
        for module in modules.split():
            table[module, name] = Callable(module + '.' + name, **kwargs)

    builtins = 'builtins __builtin__'
    for name in ['object', 'dict', 'list', 'tuple', 'str', 'unicode', 'int', 'long', 'float', 'bool']:
        add(builtins, name)  # mentioned as base classes; calling one is refused
    add(builtins, 'bytes', call=_bytes)
    add(builtins, 'bytearray', call=_bytearray)
    add(builtins, 'complex', call=_complex)
    add(builtins, 'set', call=_collection(set))
    add(builtins, 'frozenset', call=_collection(frozenset))
    add('_codecs', 'encode', call=_encode)
    add('copyreg copy_reg', '_reconstructor', call=_old_style_new)
    add('collections', 'OrderedDict', call=_mapping(collections.OrderedDict),
        new=_new_mapping(collections.OrderedDict))
    add('dnnlib.util dnnlib', 'EasyDict', call=_mapping(EasyDict), new=_new_mapping(EasyDict))
    add('numpy', 'dtype', call=lambda args, spend: make_dtype(args))
    table['numpy', 'ndarray'] = Callable('numpy.ndarray')
    add('numpy.core.multiarray numpy._core.multiarray', '_reconstruct', call=_reconstruct)
    add('numpy.core.multiarray numpy._core.multiarray', 'scalar', call=_scalar)
    add('numpy.core.numeric numpy._core.numeric', '_frombuffer', call=_frombuffer)
    return table


PLAIN = _table()


def instance_class(module, name):
    """The table entry of a class whose objects are kept as `Instance` records."""
    full_name = module + '.' + name
    return Callable(full_name, new=lambda args: Instance(full_name))
