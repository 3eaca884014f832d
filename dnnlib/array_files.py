"""Arrays in files. .npz and .npy data are read as numbers only: what a file declares counts if its bytes are there.

NumPy's own reader takes the memory that a header asks for before it looks at the data, and parses headers as Python.
"""

import collections
import errno
import os
import re
import tempfile
import zipfile

import numpy as np

from dnnlib.errors import FileError, UserError
from dnnlib.files import open_regular

MAX_BYTES = 8 << 30
_LARGEST_GROWTH = 32        # of a compressed archive when it is unpacked, beyond _FREELY_UNPACKED
_FREELY_UNPACKED = 64 << 20
_MAX_MEMBERS = 100000
_MAX_HEADER = 4096
_MAX_DIMS = 32
_HEADER = re.compile(rb"\{'descr': *'([<>|=]?[a-zA-Z][0-9]{0,9})', *'fortran_order': *(True|False), *"
                     rb"'shape': *\(((?:[0-9]{1,15}L?, *)*(?:[0-9]{1,15}L?)?)\),? *\} *\n?\Z")
_NUMBER = re.compile(r'[<>|=]?(?:f[248]|c8|c16|[iu][1248]|b1)\Z')


def dtype_of(name):
    """The NumPy type of numbers or truth values with this short name ('<f4'). Raises ValueError for everything else."""
    if not isinstance(name, str) or not _NUMBER.match(name):
        raise ValueError(f'{name!r:.40} is not a type of plain numbers')
    return np.dtype(name)


def check_shape(shape, dtype, size):
    """Raises ValueError unless an array of this shape and type takes exactly `size` bytes."""
    count = dtype.itemsize
    if not isinstance(shape, (list, tuple)) or len(shape) > _MAX_DIMS:
        raise ValueError('impossible shape')
    for length in shape:
        if type(length) is not int or not 0 <= length < 1 << 48:
            raise ValueError('impossible shape')
        count *= length
    if count != size:
        raise ValueError(f'an array of shape {list(shape)[:8]} and type {dtype} does not fit the {size} bytes stored '
                         'for it')


def parse_npy(data, allow_text=False):
    """The array in the bytes of an .npy file, a view of them. Raises ValueError.

    allow_text: fixed-length Unicode arrays as well, as NumPy stores a text in an archive.
    """
    if data[:6] != b'\x93NUMPY' or data[6:8] not in (b'\x01\x00', b'\x02\x00'):
        raise ValueError('not an array')
    size = 2 if data[6] == 1 else 4
    start = 8 + size + int.from_bytes(data[8:8 + size], 'little')
    match = _HEADER.match(data[8 + size:min(start, _MAX_HEADER)])
    if match is None:
        raise ValueError('an array with a strange header')
    name = match.group(1).decode('ascii')
    is_text = allow_text and re.match(r'[<>]U[0-9]{1,7}\Z', name)
    dtype = np.dtype(name) if is_text else dtype_of(name)
    shape = [int(text) for text in re.findall(r'[0-9]+', match.group(3).decode('ascii'))]
    body = memoryview(data)[start:]
    check_shape(shape, dtype, len(body))
    if not len(body):
        return np.zeros(shape, dtype)
    return np.frombuffer(body, dtype).reshape(shape, order='F' if match.group(2) == b'True' else 'C')


def write_npz(file, **arrays):
    """Writes an archive into an open binary file, as `np.savez` does, byte for byte.

    NumPy leaves its archive open where the disk is full, at which Python prints a traceback some time later.
    """
    archive = zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED, allowZip64=True)
    try:
        for name, array in arrays.items():
            with archive.open(name + '.npy', 'w', force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        archive.close()
    except BaseException:
        archive.fp = None   # nothing is to be completed, neither now nor when it is forgotten
        raise


def read_npz(path, allow_text=False):
    """OrderedDict of name -> read-only array of an .npz archive, in its order. Raises FileError.

    See `parse_npy` for `allow_text`.
    """
    arrays = collections.OrderedDict()
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            stored = file.seek(0, 2)
            if size > MAX_BYTES or size > _LARGEST_GROWTH * stored + _FREELY_UNPACKED or len(members) > _MAX_MEMBERS:
                raise FileError('damaged', f'{path}: unpacks to {size} bytes in {len(members)} arrays, far more than '
                                           'files of its size do')
            for member in members:
                name = member.filename
                if not name.endswith('.npy') or name[:-4] in arrays:
                    raise ValueError('two members of one name' if name.endswith('.npy') else 'not an archive of arrays')
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError('unknown compression')
                arrays[name[:-4]] = parse_npy(archive.read(member), allow_text)
    except FileError:
        raise
    except OSError as err:
        raise FileError('absent' if isinstance(err, FileNotFoundError) else 'unreadable',
                        f'{path}: cannot be read: {err.strerror or err}') from None
    except Exception as err:  # damage raises all that the library for archives knows
        reason = str(err)[:200] or type(err).__name__
        raise FileError('damaged', f'{path}: not a file of arrays, or damaged ({reason})') from None
    return arrays


# ---- Large arrays for a while

def temporary_array(shape, dtype, what):
    """A writable array on the disk, whose file has no name: however the process ends, nothing of it stays.

    Its space is reserved at once, since a full disk would end the process (SIGBUS) when the array is written to.
    Raises UserError, which calls the content `what`, if there is not so much.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file, size)
            return np.memmap(file, dtype, 'r+', shape=tuple(shape))
    except OSError as err:
        raise UserError(f'{size / 1e6:.0f} MB of {what} cannot be kept in {folder}: {err.strerror}; free some space '
                        'there, or name another folder in the environment variable TMPDIR') from err


def _reserve(file, size):
    try:
        return os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:
        pass  # no such call on this system
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    for start in range(0, size, 1 << 20):
        file.write(b'\0' * min(1 << 20, size - start))
    file.flush()
