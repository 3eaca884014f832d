"""Files and folders that appear complete or not at all, and what killed programs left of them."""

import codecs
import contextlib
import errno
import os
import re
import shutil
import time

from dnnlib.errors import UserError
from dnnlib.locks import HELD, try_lock

_TEMPORARY = re.compile(r'\.tmp-\d+-[0-9a-f]{8}-')
_OLD_FILE = 24 * 60 * 60    # seconds without a change after which a temporary file has no writer any more
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_LONGEST_END = 100          # bytes of a name that its temporary name ends in
_visited = set()            # folders in which this process has looked for leftovers already


NAME_BYTES = 'name-bytes'
"""Error handler for `open` and `str.encode`: writes out what cannot be encoded instead of raising.

The name of a file is bytes. What of it is no UTF-8 reaches Python as surrogates, which no text can hold; it appears as
`\\xNN`, and so do characters that a terminal cannot show.
"""


def _write_out(err):
    if not isinstance(err, UnicodeEncodeError):
        raise err
    text = ''.join(f'\\x{ord(c) - 0xdc00:02x}' if 0xdc80 <= ord(c) <= 0xdcff else
                   c.encode('ascii', 'backslashreplace').decode() for c in err.object[err.start:err.end])
    return text, err.end


codecs.register_error(NAME_BYTES, _write_out)


def temporary_name(path):
    """A new name beside `path`, with the same suffix, since some writers choose the format by it."""
    folder, name = os.path.split(os.path.abspath(path))
    while len(os.fsencode(name)) > _LONGEST_END:
        name = name[1:]
    return os.path.join(folder, f'.tmp-{os.getpid()}-{os.urandom(4).hex()}-{name}')


def sync(file):
    """Brings an open file's content to the disk, or that of a file or folder given by its path.

    Some network file systems cannot do that, least of all for folders; they keep what they are given in their own way.
    Raises OSError for a full or failing disk.
    """
    if not isinstance(file, str):
        return _sync(file)
    try:
        fd = os.open(file, os.O_RDONLY)
    except PermissionError:  # a folder that may be written but not listed, or a system that opens no folders
        return None
    try:
        return _sync(fd)
    finally:
        os.close(fd)


def _sync(file):
    try:
        os.fsync(file)
    except OSError as err:
        if err.errno not in _NO_SYNC:
            raise


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path in the same folder; on success the file made there becomes `path`.

    The data reaches the disk before the name does, so after a crash `path` is the old file, the new file, or absent,
    but never half a file. On an exception nothing is left behind and an existing `path` keeps its content.
    """
    path = os.path.abspath(os.fspath(path))
    folder = os.path.dirname(path)
    if folder not in _visited:
        _visited.add(folder)
        remove_leftovers(folder)
    temp = temporary_name(path)
    try:
        yield temp
        sync(temp)
        os.replace(temp, path)
    except BaseException as err:
        with contextlib.suppress(OSError):  # there may be nothing, or a file where the folder should be
            os.unlink(temp)
        if isinstance(err, OSError) and err.filename == temp:
            err.filename = path  # the user knows this name
        raise
    sync(folder)


@contextlib.contextmanager
def atomic_write(path, mode='wb'):
    """Yields a file open for writing (`wb`, or `w` for UTF-8 text) whose content replaces `path` on success.

    See `atomic_path` for what is promised.
    """
    assert mode in ('wb', 'w'), mode
    with atomic_path(path) as temp:
        text = {} if 'b' in mode else {'encoding': 'utf-8', 'errors': NAME_BYTES}
        with open(temp, mode, **text) as f:
            yield f


def check_elsewhere(path):
    """Raises UserError if a folder that is to appear as a whole is the one that this runs in: it would be replaced."""
    if os.path.realpath(os.path.abspath(path)) == os.path.realpath(os.curdir):
        raise UserError(f"'{os.fsdecode(path)}' is the folder that this runs in; name a new one")


@contextlib.contextmanager
def atomic_folder(path):
    """Yields a new temporary folder beside `path`, which must be absent or an empty folder; on success it becomes it.

    On an exception nothing is left behind. What a kill leaves is removed by the next program that makes a folder or a
    file in the same place. Raises OSError where no folder can be made, UserError for the folder that this runs in.
    """
    check_elsewhere(path)
    path = os.path.abspath(os.fspath(path))
    remove_leftovers(os.path.dirname(path))
    temp, lock = _make_locked_folder(path)
    try:
        yield temp
        os.replace(temp, path)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
    finally:
        os.close(lock)
    sync(os.path.dirname(path))


@contextlib.contextmanager
def temporary_folder(path):
    """Yields a new folder beside `path`, so that what is made there can become it by renaming; it is gone afterwards.

    What a kill leaves is removed as for `atomic_folder`. Raises OSError where no folder can be made.
    """
    path = os.path.abspath(os.fspath(path))
    remove_leftovers(os.path.dirname(path))
    temp, lock = _make_locked_folder(path)
    try:
        yield temp
    finally:
        shutil.rmtree(temp, ignore_errors=True)
        os.close(lock)


def _make_locked_folder(path):
    """A new temporary folder and the descriptor that holds its lock, which ends with the process."""
    while True:
        temp = temporary_name(path)
        try:
            os.mkdir(temp)
        except OSError as err:
            raise OSError(err.errno, err.strerror, path) from err  # the user knows this name
        try:
            lock = os.open(temp, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another program took it for a leftover before it was locked
        with contextlib.suppress(OSError):  # where folders cannot be locked, nobody takes them for leftovers either
            try_lock(lock, wait=True)
        if os.path.isdir(temp) and os.path.samestat(os.stat(temp), os.fstat(lock)):
            return temp, lock
        os.close(lock)


def remove_leftovers(folder):
    """Deletes what killed programs left in a folder: temporary folders that nobody locks, and old temporary files.

    Process numbers tell nothing here: the folder may be shared with containers and other machines.
    """
    try:
        entries = [entry for entry in os.scandir(folder) if _TEMPORARY.match(entry.name)]
    except OSError:
        return  # absent or unreadable: writing there will fail with a better sentence
    for entry in entries:
        with contextlib.suppress(OSError):  # it ended in the meantime, or belongs to somebody else
            if entry.is_dir(follow_symlinks=False):
                _remove_unlocked(entry.path)
            elif time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD_FILE:
                os.unlink(entry.path)


def _remove_unlocked(folder):
    fd = os.open(folder, os.O_RDONLY)
    try:
        if try_lock(fd) == HELD:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)
