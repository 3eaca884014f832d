"""What a file is, found out by reading it: its name, its date and the word of a server are no evidence."""

import gzip
import os
import pickletools
import zipfile
import zlib

from dnnlib.errors import FileError
from dnnlib.files import open_regular, read_json

_LARGEST_GROWTH = 20        # of a compressed file when it is unpacked, beyond _FREELY_UNPACKED
_FREELY_UNPACKED = 1 << 30
_BLOCK = 1 << 20
_TEXTS = ('.txt', '.csv', '.tsv', '.json', '.md', '.yaml', '.yml', '.html', '.htm', '.xml')
_PAGES = (b'<!doctype', b'<html', b'<head', b'<?xml')


def first_look(path, name):
    """What its first and last bytes say against a file that shall become `name`: a phrase, or ''. Raises OSError."""
    with open_regular(path) as file:
        head = file.read(512)
        file.seek(-min(os.fstat(file.fileno()).st_size, 1), os.SEEK_END)
        tail = file.read(1)
    start = head.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if not head:
        return 'the file is empty'
    if start.startswith(_PAGES) and not name.lower().endswith(_TEXTS):
        return 'it is a web page'
    if start.startswith(b'version https://git-lfs'):
        return 'it is a git-LFS pointer to the file'
    if name.endswith('.pkl') and not (head.startswith(b'\x80') and tail == b'.'):
        return 'it is cut off' if head.startswith(b'\x80') else 'it is not a pickle'
    if name.endswith(('.tgz', '.gz')) and not head.startswith(b'\x1f\x8b'):
        return 'it is not compressed with gzip'
    if name.endswith(('.zip', '.npz')) and not head.startswith(b'PK'):
        return 'it is not a zip archive'
    return ''


def check(path, name):
    """Reads the whole file `path`, which shall become `name`, as what its name or its first bytes say that it is.

    Returns True if it is sound, False if nothing can be told about files of its kind. Raises FileError.
    """
    try:
        problem = first_look(path, name)
        with open_regular(path) as file:
            head = file.read(4)
        if problem:
            raise FileError('damaged', f'{path}: {problem}')
        lower = name.lower()
        if head.startswith(b'\x80') or lower.endswith(('.pkl', '.pickle')):
            return _check_pickle(path)
        if head.startswith(b'PK') or lower.endswith(('.zip', '.npz')):
            return _check_zip(path)
        if head.startswith(b'\x1f\x8b'):
            return _check_gzip(path)
        if lower.endswith('.json'):
            read_json(path, kind=None, finite=False)
            return True
        return False
    except FileError:
        raise
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile) as err:
        reason = str(err)[:200] or type(err).__name__
        raise FileError('damaged', f'{path}: it is cut off or damaged ({reason})') from err


def is_text(path):
    """Whether a file begins like text, as what servers send in place of a file mostly does."""
    with open_regular(path) as file:
        head = file.read(4096)
    return bool(head) and b'\0' not in head and not any(byte < 32 and byte not in b'\t\n\r\f\x1b' for byte in head)


def is_named_as_text(name):
    """Whether a file of this name is meant to be text."""
    return name.lower().endswith(_TEXTS)


# What follows the instructions of the pickle language: a number of bytes, a length in so many bytes before as many
# bytes, or lines. Those of protocol 5 are unknown to the library of older Pythons.
_AFTER = {op.code: op.arg for op in pickletools.opcodes}
_LENGTHS = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT4: 4,
            pickletools.TAKEN_FROM_ARGUMENT4U: 4, pickletools.TAKEN_FROM_ARGUMENT8U: 8}
_NEWER = {'\x96': 8, '\x97': 0, '\x98': 0}


def _check_pickle(path):
    """Steps from instruction to instruction, whatever they would do; nothing is looked at, let alone executed."""
    with open_regular(path) as file:
        end = os.fstat(file.fileno()).st_size
        while True:
            code = file.read(1).decode('latin1')
            if code == '.':
                return file.tell() == end  # what follows a pickle is unknown
            if code not in _AFTER and code not in _NEWER:
                raise FileError('damaged', f'{path}: it is cut off' if not code else f'{path}: it is not a pickle')
            _skip_argument(file, code)
            if file.tell() > end:
                raise FileError('damaged', f'{path}: it is cut off')


def _skip_argument(file, code):
    argument = _AFTER.get(code)
    if argument is None:
        prefix = _NEWER.get(code, 0)
    else:
        prefix = _LENGTHS.get(argument.n, 0)
    if prefix:
        length = int.from_bytes(file.read(prefix), 'little')
        if length >= 1 << 62:
            raise EOFError('it declares an impossible length')
        file.seek(length, os.SEEK_CUR)
    elif argument is None:
        return
    elif argument.n == pickletools.UP_TO_NEWLINE:
        for _ in range(2 if argument.name == 'stringnl_noescape_pair' else 1):
            if not file.readline().endswith(b'\n'):
                raise EOFError('it ends in the middle of an instruction')
    else:
        file.seek(argument.n, os.SEEK_CUR)


def _check_zip(path):
    with zipfile.ZipFile(path) as archive:
        _check_growth(path, sum(member.file_size for member in archive.infolist()))
        bad = archive.testzip()
    if bad is not None:
        raise FileError('damaged', f'{path}: its member {bad[:100]!r} is damaged')
    return True


def _check_gzip(path):
    """The end of a stream holds its length and checksum, so reading it all finds every damage."""
    size = 0
    with gzip.open(path) as file:
        for block in iter(lambda: file.read(_BLOCK), b''):
            size += len(block)
            _check_growth(path, size)
    return True


def _check_growth(path, size):
    if size > _LARGEST_GROWTH * os.path.getsize(path) + _FREELY_UNPACKED:
        raise FileError('damaged', f'{path}: it unpacks to more than {size >> 20} MiB, far more than files of its size '
                                   'do; it is not read further')
