"""Unpacking downloaded archives of photographs: what is wanted of them, never outside of the folder meant for it."""

import errno
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib

from data.converters.exporter import format_bytes
from data.images import is_image_name
from dnnlib.errors import UserError
from dnnlib.files import atomic_folder
from dnnlib.machine import free_disk
from dnnlib.progress import Progress

_TABLES = ('.txt', '.csv')
_BLOCK = 1 << 20
_RESERVE = 1 << 28  # bytes of disk that are left free
_CHECK_EVERY = 1 << 28


def unpack(paths, folder):
    """Unpacks the images and tables (.txt, .csv) of all archives into a new folder, complete or not at all.

    Links, devices and other files in the archives are left out.

    Args:
        paths: zip files and tar files, compressed or not.
        folder: must not exist.

    Returns:
        (number of files written, number of members left out).

    Raises:
        UserError: an archive is damaged, encrypted or of another kind, has a member that would leave the folder, or
            the disk has no room.
    """
    written, left_out = 0, 0
    with atomic_folder(folder) as temp:
        free = _FreeSpace(temp)
        with Progress('unpacking', None, unit='files') as progress:
            for path in paths:
                for name, size, open_member in _members(path):
                    if open_member is None or not _is_wanted(name):
                        left_out += 1
                        continue
                    target = os.path.join(temp, _inside(name, path))
                    try:
                        os.makedirs(os.path.dirname(target), exist_ok=True)
                        with open_member() as source, open(target, 'wb') as f:
                            _copy(source, f, size, free, f"'{name}' of '{path}'")
                    except _DAMAGE as err:
                        raise _damaged(err, f"'{path}' is damaged at '{name}'") from None
                    written += 1
                    progress.add(1)
    return written, left_out


_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError,
           ValueError)


def _damaged(err, what):
    """The UserError that stands for an exception of the unpacking modules, or the exception if it is no damage."""
    if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT):
        return err
    if isinstance(err, OSError) and err.errno is not None and err.filename is not None:
        return UserError(f"cannot write '{err.filename}': {err.strerror}")
    return UserError(f'{what} ({err}); download it again')


class _FreeSpace:
    """Watches that the disk does not fill up."""

    def __init__(self, folder):
        self._folder, self._unchecked = folder, _CHECK_EVERY

    def spend(self, count):
        self._unchecked += count
        if self._unchecked >= _CHECK_EVERY:
            self._unchecked = 0
            free = free_disk(self._folder)
            if free < _RESERVE + _CHECK_EVERY:
                raise UserError(f"only {format_bytes(free)} are free for unpacking into '{self._folder}'; free some "
                                'space or choose another folder with --work')


def _members(path):
    """Yields (name, size in bytes, function that opens it or None for what is no plain file)."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    if info.flag_bits & 1:
                        raise UserError(f"'{path}' is encrypted; unpack it by hand and name the folder instead")
                    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if it was written without one
                    plain = not info.filename.endswith('/') and kind in (0, stat.S_IFREG)
                    yield info.filename, info.file_size, (lambda info=info: archive.open(info)) if plain else None
        elif tarfile.is_tarfile(path):
            with tarfile.open(path, 'r:*') as archive:
                for info in archive:
                    yield info.name, info.size, (lambda info=info: archive.extractfile(info)) if info.isreg() else None
                while archive.fileobj.read(_BLOCK):
                    pass  # the checksum of what was compressed comes last
        else:
            raise UserError(f"'{path}' is neither a folder nor a zip or tar archive; unpack it by hand (7z x FILE for "
                            '7-Zip and RAR archives) and name the folder instead')
    except _DAMAGE as err:
        raise _damaged(err, f"'{path}' is damaged") from None


def _is_wanted(name):
    base = name.replace('\\', '/').rpartition('/')[2]
    return not base.startswith('.') and not name.startswith('__MACOSX/') \
        and (is_image_name(base) or os.path.splitext(base)[1].lower() in _TABLES)


def _inside(name, archive):
    """A member's name as a relative path that stays inside. Raises UserError."""
    parts = name.replace('\\', '/').split('/')
    if name.startswith(('/', '\\')) or '..' in parts or '\0' in name or re.match(r'[A-Za-z]:', name):
        raise UserError(f"'{archive}' has the member '{name}', which would leave the folder that it is unpacked into; "
                        'do not trust this archive')
    parts = [part for part in parts if part not in ('', '.')]
    return os.path.join(*parts)


def _copy(source, target, size, free, what):
    left = size
    while True:
        block = source.read(_BLOCK)
        if not block:
            break
        left -= len(block)
        if left < 0:
            raise UserError(f'{what} is larger than it says; do not trust this archive')
        free.spend(len(block))
        target.write(block)
    if left:
        raise UserError(f'{what} is shorter than it says; download the archive again')
