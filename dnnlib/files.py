"""The doors to small files: JSON, lines of it, files opened with care, folders; also what `atomic` and `locks` have.

What a file says is damage until it is found to be sound: whatever is wrong with one becomes a sentence (FileError, a
UserError), never another exception.
"""

import contextlib
import errno
import fnmatch
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile

from dnnlib.atomic import atomic_folder, atomic_path, atomic_write, check_elsewhere, sync, temporary_folder  # noqa: F401  (part of this module)
from dnnlib.errors import FileError, UserError
from dnnlib.locks import BUSY, HELD, UNSUPPORTED, try_lock  # noqa: F401  (part of this module)

REQUIRED = object()         # in place of what an absent file means: an error
MAX_JSON_BYTES = 64 << 20
MAX_LINE_BYTES = 1 << 20
MAX_DEPTH = 64              # of nesting; whoever copies or prints a value walks it by recursion
MAX_INTEGER = 1 << 256      # the largest that pickles are believed to hold, too; far below what a float can be

_KINDS = {dict: 'an object', list: 'a list'}


# ---- Reading

class NotRegular(OSError):
    """A device, a pipe, a socket or a folder, where a file was expected."""

    def __init__(self, path):
        super().__init__(errno.EINVAL, 'it is not a regular file', path)


def open_regular(path):
    """Opens a regular file for reading bytes. Raises OSError: NotRegular for whatever could be waited for in vain."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NotRegular(path)
    fd = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotRegular(path)  # it was put there in between
        return open(fd, 'rb')
    except BaseException:
        os.close(fd)
        raise


def read_bytes(path, max_bytes, what='', advice=''):
    """The content of a regular file of at most `max_bytes`.

    `what` names the file's purpose ('the record of the run') and `advice` what to do ('make it again') in sentences.
    Raises FileError. Devices, pipes and sockets are not waited for.
    """
    try:
        with open_regular(path) as file:
            data = file.read(max_bytes + 1)
    except OSError as err:
        reason = 'absent' if isinstance(err, FileNotFoundError) else 'unreadable'
        what = f'cannot read {what}' if what else 'cannot read'
        raise FileError(reason, _sentence(f'{path}: {err.strerror}', what, advice)) from err
    except ValueError:  # a NUL in the name
        raise FileError('absent', _sentence(f'{path!r} is not a possible file name', what, advice)) from None
    if len(data) > max_bytes:
        raise FileError('damaged', _sentence(f'{path} has more than {max_bytes} bytes, which no such file has', what,
                                             advice))
    return data


def _sentence(text, what, advice):
    return f'{what} {text}'.lstrip() + (f'; {advice}' if advice else '')


def read_json(path, what='', advice='', kind=dict, absent=REQUIRED, max_bytes=MAX_JSON_BYTES, finite=True):
    """The value that a JSON file holds.

    Args:
        path: the file.
        what, advice: see `read_bytes`.
        kind: type that the value must have, dict or list; None for any.
        absent: what is returned where there is no file; by default that is an error.
        max_bytes: largest believable size.
        finite: see `parse_json`.

    Raises FileError.
    """
    try:
        data = read_bytes(path, max_bytes, what, advice)
    except FileError as err:
        if err.reason == 'absent' and absent is not REQUIRED:
            return absent
        raise
    try:
        value = parse_json(data, finite)
    except ValueError as err:
        raise FileError('damaged', _sentence(f'{path} is not a JSON file, or damaged: {err}', what, advice)) from None
    if kind is not None and not isinstance(value, kind):
        raise FileError('damaged', _sentence(f'{path} does not hold {_KINDS[kind]} in JSON', what, advice))
    return value


def recall_json(path, kind=dict, max_bytes=MAX_JSON_BYTES):
    """The value of a JSON file that only remembers what can be found out again: None for an absent or damaged one."""
    try:
        return read_json(path, kind=kind, max_bytes=max_bytes)
    except FileError:
        return None


def read_json_lines(path, absent=REQUIRED):
    """The objects of a file with one JSON object per line, as a list.

    Lines that are none are left out: the last one may have been torn by a crash. `absent` is returned where there is no
    file; by default that is an error. Raises FileError.
    """
    try:
        data = read_bytes(path, 16 * MAX_JSON_BYTES)
    except FileError as err:
        if err.reason == 'absent' and absent is not REQUIRED:
            return absent
        raise
    values = []
    for line in data.split(b'\n'):
        try:
            value = parse_json(line) if len(line) <= MAX_LINE_BYTES else None
        except ValueError:
            continue
        if isinstance(value, dict):
            values.append(value)
    return values


def parse_json(text, finite=True, unique=False):
    """The value of a JSON text: str, or bytes in UTF-8 with or without a byte order mark.

    `unique`: refuse an object with two values of one name, of which the last one counts otherwise.

    Raises ValueError, whose text completes a sentence ('… is damaged: …'), for all that is no JSON, nesting beyond
    MAX_DEPTH, integers beyond MAX_INTEGER, and, if `finite`, numbers that are none or have no end.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode('utf-8-sig')
        value = json.loads(text, parse_int=_integer, parse_float=_finite_float if finite else float,
                           parse_constant=_refuse_constant if finite else float,
                           object_pairs_hook=_unique_names if unique else None)
    except UnicodeDecodeError as err:
        raise ValueError(f'byte {err.start} is no text in UTF-8') from None
    except RecursionError:
        raise ValueError('its values are nested too deeply') from None
    check_depth(value)
    return value


def _integer(text):
    # A text of many digits takes long to convert, and Python's newer releases refuse it with words of their own.
    if len(text) > 80 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(f'the whole number {text[:20]}… is beyond belief')
    return int(text)


def _finite_float(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'the number {text[:20]} is beyond belief')
    return value


def _refuse_constant(text):
    raise ValueError(f'{text} is not a number')


def _unique_names(pairs):
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'it has two values called {twice[:100]!r}')
    return value


def check_depth(value, depth=MAX_DEPTH):
    """Raises ValueError if dicts and lists are nested more than `depth` times."""
    level = [value]
    while level:
        level = [child for item in level if isinstance(item, (dict, list))
                 for child in (item.values() if isinstance(item, dict) else item)]
        depth -= 1
        if depth < 0 and level:
            raise ValueError('its values are nested too deeply')


# ---- Writing

def write_json(path, value, indent=1, **options):
    """Writes a value as JSON and a line feed, atomically (see `atomic_path`); `options` are those of json.dumps."""
    text = json.dumps(value, indent=indent, **options)
    with atomic_write(path, 'w') as f:
        f.write(text.encode('utf-8', 'backslashreplace').decode('utf-8') + '\n')  # as JSON writes lone surrogates


# ---- Folders and content

def make_folder(path):
    """Makes a folder and those above it unless they exist; returns the path. Raises UserError."""
    try:
        return make_folders(path)
    except (OSError, ValueError) as err:  # ValueError: a NUL in the name
        raise UserError(f"no folder can be made at '{path}': {getattr(err, 'strerror', None) or err}") from err


def make_folders(path):
    """As `make_folder`, but raises OSError. `os.makedirs` fails for paths of more parts than Python recurses."""
    missing, place = [], os.fspath(path)
    while place and not os.path.isdir(place):
        _check_no_address(place, path)
        try:
            os.mkdir(place)
        except FileNotFoundError:
            missing.append(place)
            place = os.path.dirname(place)
        except FileExistsError:
            if not os.path.isdir(place):  # else another process was quicker
                raise
        else:
            break
    for place in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(place)
    return path


def _check_no_address(place, path):
    """Raises UserError if a folder that is absent, `place` of `path`, is the `s3:` of an address taken for a path."""
    if re.match(r'[A-Za-z][A-Za-z0-9+.-]{1,20}:\Z', os.path.basename(os.fsdecode(place))):
        raise UserError(f"'{os.fsdecode(path)}' is an address, and files are made in folders here; name one, and copy "
                        'it to the address afterwards')


def utf8_path(path):
    """A path as a text whose UTF-8 is the path's bytes, whatever the locale, for libraries that take nothing else.

    Raises UserError if its bytes are no UTF-8.
    """
    try:
        return os.fsencode(path).decode('utf-8')
    except UnicodeDecodeError:
        raise UserError(f"the path '{path}' is no UTF-8, so TensorFlow cannot write its event files there; choose a "
                        'folder of another name') from None
def try_place(folder):
    """Tries whether files can be made in a folder, or, where it is absent, in the nearest one above it.

    Leaves nothing behind. Raises OSError.
    """
    path, folder = folder, os.path.abspath(folder)
    while not os.path.lexists(folder):
        _check_no_address(folder, path)
        folder = os.path.dirname(folder)
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_writable(path, advice='choose another one'):
    """Raises UserError if `try_place` finds that files cannot be made in a folder: now, rather than after long work."""
    try:
        try_place(path)
    except OSError as err:
        raise UserError(f"no file can be made in '{path}': {err.strerror}; {advice}") from err


def make_writable_folder(path, advice='choose another one'):
    """Like `make_folder`, of a folder in which files can be made. Raises UserError, with `advice` for an empty name."""
    if not path:
        raise UserError(f'an empty text names no folder; {advice}')
    make_folder(path)
    check_writable(path, advice)
    return path


@contextlib.contextmanager
def new_folder(path):
    """As `make_folder`, as a context manager: folders that it made, and that are empty afterwards, do not stay."""
    missing = []
    with contextlib.suppress(ValueError):   # a NUL in the name, of which `make_folder` tells
        place = os.path.abspath(path)
        while not os.path.lexists(place):
            missing.append(place)
            place = os.path.dirname(place)
    try:
        yield make_folder(path)
    finally:
        for place in missing:
            with contextlib.suppress(OSError, ValueError):
                os.rmdir(place)     # refused where there is something in it


@contextlib.contextmanager
def results_folder(path, advice='choose another one'):
    """As `make_writable_folder`, for what a command writes there: see `new_folder`."""
    if not path:
        raise UserError(f'an empty text names no folder; {advice}')
    with new_folder(path):
        check_writable(path, advice)
        yield path


def check_listable(folder):
    """Raises UserError if a folder cannot be listed: to `glob` and `os.walk` it looks like an empty one."""
    try:
        os.listdir(folder)
    except OSError as err:
        raise UserError(f"folder '{folder}' cannot be read: {err.strerror}") from err


def sha256_file(path):
    """The SHA-256 of a file's content as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with open_regular(path) as f:
        for block in iter(lambda: f.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def list_dir_recursively_with_ignore(dir_path, ignores=None, add_base_to_relative=False):
    """[(path, path relative to the folder)] of all files below a folder, less names that match a pattern.

    Args:
        ignores: patterns of names, such as '*.sln'; folders that match are not entered.
        add_base_to_relative: put the folder's own name in front of the relative paths.
    """
    check_listable(dir_path)
    ignores = ignores or []
    base = os.path.basename(os.path.normpath(dir_path)) if add_base_to_relative else ''

    def is_wanted(name):
        return not any(fnmatch.fnmatch(name, pattern) for pattern in ignores)

    found = []
    for folder, subfolders, names in os.walk(dir_path):
        subfolders[:] = [name for name in subfolders if is_wanted(name)]
        paths = [os.path.join(folder, name) for name in names if is_wanted(name)]
        found += [(path, os.path.join(base, os.path.relpath(path, dir_path))) for path in paths]
    return found


def copy_files_and_create_dirs(files):
    """Copies files, given as pairs of a path and that of the copy, and makes the folders that are missing."""
    for source, target in files:
        make_folder(os.path.dirname(os.path.abspath(target)))
        shutil.copyfile(source, target)
