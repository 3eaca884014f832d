"""Arrays of numbers from MATLAB files of version 5 to 7, as SVHN's owners publish them.

Own code, since a damaged file makes scipy's reader end the process. Layout: "MAT-File Format", The MathWorks, 2019.
"""

import struct
import zlib

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import open_regular

_TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
_MATRIX, _COMPRESSED = 14, 15
_CLASSES = {6: 'f8', 7: 'f4', 8: 'i1', 9: 'u1', 10: 'i2', 11: 'u2', 12: 'i4', 13: 'u4', 14: 'i8', 15: 'u8'}
_COMPLEX = 0x800
_BLOCK = 1 << 20


class _Damaged(Exception):
    """What does not fit, as the end of a sentence."""


def read_arrays(path, names, limits):
    """{name: array} of those arrays of real numbers in a file that have one of these names.

    `limits`: `data.converters.archives.Limits`, which says how much the file may unpack to. Raises UserError.
    """
    found = {}
    try:
        with open_regular(path) as file:
            order = {b'IM': '<', b'MI': '>'}.get(file.read(128)[126:])
            if order is None:
                raise UserError(f"'{path}' is not a file of MATLAB 5 to 7, as SVHN's are")
            while True:
                head = file.read(8)
                if not head:
                    return found
                kind, size = struct.unpack(order + 'II', head)
                content = _unpacked(file, size, limits) if kind == _COMPRESSED else _whole(file.read(size), size)
                if kind == _COMPRESSED:
                    kind, content = _element(memoryview(content), 0, order)[:2]
                if kind == _MATRIX:
                    name, array = _matrix(memoryview(content), order)
                    if name in names and array is not None:
                        found[name] = array
    except (_Damaged, struct.error, zlib.error) as err:
        raise UserError(f"'{path}' is damaged: {err}; download it again") from None
    except OSError as err:
        raise UserError(f"cannot read '{path}': {err.strerror or err}") from None


def _whole(data, size):
    if len(data) != size:
        raise _Damaged(f'it ends within a part of {size} bytes')
    return data


def _unpacked(file, size, limits):
    """The content of a compressed part of `size` bytes."""
    unpacker, parts = zlib.decompressobj(), []
    while size > 0 and not unpacker.eof:
        packed = file.read(min(size, 1 << 16))
        size -= len(_whole(packed, min(size, 1 << 16)))
        while packed and not unpacker.eof:
            parts.append(unpacker.decompress(packed, _BLOCK))
            limits.spend(len(parts[-1]))
            packed = unpacker.unconsumed_tail
    file.seek(size, 1)
    return b''.join(parts)


def _element(data, at, order):
    """(type, bytes, place of the next element) of the element at a place."""
    first, size = struct.unpack_from(order + 'II', data, at)
    if first >> 16:     # a small one: its size and type share four bytes, its data are in the next four
        kind, size, begin, end = first & 0xffff, first >> 16, at + 4, at + 8
        if size > 4:
            raise _Damaged('a small part is too large')
    else:
        kind, begin, end = first, at + 8, at + 8 + size + (-size % 8 if first != _COMPRESSED else 0)
    return kind, _whole(data[begin:begin + size], size), end


def _numbers(kind, content, order):
    if kind not in _TYPES or len(content) % np.dtype(_TYPES[kind]).itemsize:
        raise _Damaged(f'a part of numbers has the type {kind} and {len(content)} bytes')
    return np.frombuffer(content, order + _TYPES[kind])


def _matrix(data, order):
    """(name, array) of a matrix; the array is None for other things than real numbers."""
    kind, content, at = _element(data, 0, order)
    flags = _numbers(kind, content, order)
    kind, content, at = _element(data, at, order)
    shape = [int(length) for length in _numbers(kind, content, order)]
    _, name, at = _element(data, at, order)
    name = bytes(name).decode('latin1')
    if not len(flags) or int(flags[0]) & 0xff not in _CLASSES or int(flags[0]) & _COMPLEX:
        return name, None
    kind, content, at = _element(data, at, order)
    values = _numbers(kind, content, order)
    size = 1
    for length in shape:
        size *= length
    if size != len(values) or not 2 <= len(shape) <= 32 or min(shape) < 0:
        raise _Damaged(f'{name[:20]!r} has {len(values)} numbers for the shape {shape[:8]}')
    # Numbers may be stored in a smaller type than that of their class.
    return name, values.astype(_CLASSES[int(flags[0]) & 0xff]).reshape(shape, order='F')
