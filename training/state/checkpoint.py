"""Checkpoints: everything that a run needs to go on, in one file of plain arrays that says when it is damaged.

Layout of a file: 8 bytes of magic, the header's length (little-endian uint64), the header (JSON: the run's host state
and a table of arrays), the arrays one after another, and the SHA-256 of all of that. Nothing in a file is executed,
both engines write and read the same bytes, and no count in a header is believed before it fits the file's size.
"""

import collections
import hashlib
import json
import os
import re
import struct

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import atomic_write, open_regular, parse_json

MAGIC = b'SGCKPT01'
_LENGTH = struct.Struct('<Q')
_DIGEST_SIZE = hashlib.sha256().digest_size
_ALIGNMENT = 64
_DTYPES = ('bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64',
           'float16', 'float32', 'float64')
_FILE_NAME = re.compile(r'checkpoint-(\d{12})\.ckpt$')


class CheckpointError(UserError):
    """A checkpoint file that is damaged or was not written by this program."""


def write_checkpoint(path, state, arrays):
    """Writes a checkpoint atomically.

    Args:
        path: file to make or replace.
        state: dict of JSON values.
        arrays: dict from name to numpy array of a numeric or bool dtype.

    Raises OSError (disk full, folder read-only); whatever was at `path` before is then still there.
    """
    table, offset = [], 0
    arrays = [(name, np.require(value, requirements='C')) for name, value in arrays.items()]
    for name, value in arrays:
        assert value.dtype.name in _DTYPES, (name, value.dtype)
        offset += -offset % _ALIGNMENT
        table.append([name, value.dtype.name, list(value.shape), offset])
        offset += value.nbytes
    header = json.dumps({'state': state, 'arrays': table}, sort_keys=True).encode('utf-8')
    header += b' ' * (-(len(MAGIC) + _LENGTH.size + len(header)) % _ALIGNMENT)

    digest = hashlib.sha256()
    with atomic_write(path) as f:
        def put(data):
            digest.update(data)
            f.write(data)
        put(MAGIC + _LENGTH.pack(len(header)) + header)
        offset = 0
        for (_name, value), (_, _, _, start) in zip(arrays, table):
            put(b'\0' * (start - offset))
            little_endian = value.astype(value.dtype.newbyteorder('<'), copy=False)
            put(little_endian.reshape(-1).view(np.uint8).data)
            offset = start + value.nbytes
        f.write(digest.digest())


def read_checkpoint(path):
    """Reads and verifies a checkpoint.

    Returns (state, arrays): the dict of JSON values and an OrderedDict from name to read-only numpy array.
    Raises CheckpointError if the file is absent, cut short, changed since it was written, or of another kind.
    """
    try:
        with open_regular(path) as f:
            data = f.read()
    except OSError as err:
        raise CheckpointError(f'cannot read checkpoint {path}: {err.strerror or err}') from err
    body = memoryview(data)[:-_DIGEST_SIZE]  # a view, since a checkpoint may be most of a gigabyte
    if not data.startswith(MAGIC):
        raise CheckpointError(f'{path} is not a checkpoint of this program (it does not start with {MAGIC.decode()})')
    if hashlib.sha256(body).digest() != data[-_DIGEST_SIZE:]:
        raise CheckpointError(f'checkpoint {path} is damaged: its content does not match its checksum '
                              '(cut short or changed after it was written)')
    try:
        return _parse(body[len(MAGIC):])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError, struct.error) as err:
        raise CheckpointError(f'checkpoint {path} has a header that makes no sense ({err}); '
                              'it was not written by this program') from err


def _parse(data):
    length, = _LENGTH.unpack_from(data)
    header = parse_json(bytes(data[_LENGTH.size:_LENGTH.size + length]), finite=False)
    payload = data[_LENGTH.size + length:]
    if not isinstance(header['state'], dict):
        raise ValueError('the state is not an object')
    arrays = collections.OrderedDict()
    for name, dtype, shape, offset in header['arrays']:
        if not isinstance(name, str) or name in arrays or dtype not in _DTYPES:
            raise ValueError(f'array {name!r} of type {dtype!r}')
        if not all(type(size) is int and size >= 0 for size in shape + [offset]):
            raise ValueError(f'array {name!r} of shape {shape!r} at {offset!r}')
        dtype, count = np.dtype(dtype).newbyteorder('<'), 1
        for size in shape:
            count *= size
        if offset + count * dtype.itemsize > len(payload):
            raise ValueError(f'array {name!r} reaches beyond the end')
        piece = payload[offset:offset + count * dtype.itemsize]
        arrays[name] = np.frombuffer(piece, dtype).reshape(shape) if count else np.zeros(shape, dtype)
    return header['state'], arrays


# ---- The checkpoints of a run

def checkpoint_path(folder, cur_nimg):
    """The file of the checkpoint taken after `cur_nimg` images."""
    return os.path.join(folder, f'checkpoint-{cur_nimg:012d}.ckpt')


def list_checkpoints(folder):
    """Paths of a folder's checkpoints, newest first; their number of images is in the name."""
    if not os.path.isdir(folder):
        return []
    names = [name for name in os.listdir(folder) if _FILE_NAME.match(name)]
    return [os.path.join(folder, name) for name in sorted(names, reverse=True)]


def load_newest(folder, warn=print, check=None):
    """The newest good checkpoint of a folder as (path, state, arrays); None if there is none.

    Damaged ones are skipped; `warn` is called with a sentence for each. `check(state, path)` raises UserError for a
    state that makes no sense.
    """
    for path in list_checkpoints(folder):
        try:
            state, arrays = read_checkpoint(path)
            if check is not None:
                check(state, path)
        except UserError as err:
            warn(f'warning: {err}; trying the one before it')
            continue
        return path, state, arrays
    return None


def prune(folder, keep, protect=()):
    """Deletes all but the `keep` newest checkpoints, sparing the paths in `protect`."""
    spared = {os.path.basename(path) for path in protect}
    for path in list_checkpoints(folder)[max(keep, 1):]:
        if os.path.basename(path) not in spared:
            os.unlink(path)


def remove_leftovers(folder):
    """Deletes the temporary files of writers that were killed. Only for the one process that writes to the folder."""
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if name.startswith('.tmp-') and os.path.isfile(path):
            os.unlink(path)
