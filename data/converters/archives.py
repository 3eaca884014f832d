"""Unpacking downloaded archives of photographs: what is wanted of them, never outside of the folder meant for it."""

import bz2
import errno
import gzip
import io
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
from dnnlib.files import atomic_folder, make_folders, open_regular
from dnnlib.machine import free_disk
from dnnlib.progress import Progress

MEMBER_RATIO = 200
"""So many times its size in the archive may a member unpack to: photographs hardly shrink, drawings fifty times."""

WHOLE_RATIO, WHOLE_ALLOWANCE = 20, 1 << 30
"""So many times its own size, plus so many bytes, may an archive unpack to."""

_TABLES = ('.txt', '.csv')
_BLOCK = 1 << 20
_RESERVE = 1 << 28  # bytes of disk that are left free
_CHECK_EVERY = 1 << 28
_SMALL_MEMBER = 1 << 20  # bytes; a blank picture in a simple format may shrink to nothing
_RAW_BLOCK = 8192
_MOST_READ = 1 << 26  # bytes of one header


def unpack(paths, folder, max_unpacked=None):
    """Unpacks the images and tables (.txt, .csv) of all archives into a new folder, complete or not at all.

    Links, devices and other files in the archives are left out.

    Args:
        paths: zip files and tar files, compressed or not.
        folder: must not exist.
        max_unpacked: bytes to which an archive may unpack; None for what is believable, see `MEMBER_RATIO` and
            `WHOLE_RATIO`.

    Returns:
        (number of files written, number of members left out).

    Raises:
        UserError: an archive is damaged, encrypted or of another kind, has a member that would leave the folder, or
            unpacks to more than is allowed; two members have one name; the disk has no room.
    """
    written, left_out = 0, 0
    with atomic_folder(folder) as temp:
        free = _FreeSpace(temp)
        with Progress('unpacking', None, unit='files') as progress:
            for path in paths:
                limits = Limits(path, max_unpacked)
                for name, size, open_member in _members(path, limits):
                    if open_member is None or not _is_wanted(name):
                        left_out += 1
                        continue
                    target = os.path.join(temp, _inside(name, path))
                    if _write(target, name, size, open_member, free, limits, path):
                        written += 1
                        progress.add(1)
    return written, left_out


def _write(target, name, size, open_member, free, limits, path):
    """Writes one member. Returns False if an equal one is there already."""
    what = f"'{name}' of '{path}'"
    try:
        make_folders(os.path.dirname(target))
        if os.path.lexists(target):
            with open_member() as source, open(target, 'rb') as f:
                if _same(source, f):
                    return False
            raise UserError(f'{what} was unpacked before with another content; unpack the archives by hand, one folder '
                            'for each, and name the folder that holds these')
        with open_member() as source, open(target, 'wb') as f:
            _copy(source, f, size, free, limits, what)
    except _DAMAGE as err:
        raise _damaged(err, f"'{path}' is damaged at '{name}'") from None
    return True


_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError,
           ValueError)


def _damaged(err, what):
    """The UserError that stands for an exception of the unpacking modules, or the exception if it is no damage."""
    if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT):
        return err
    if isinstance(err, OSError) and err.errno is not None and err.filename is not None:
        return UserError(f"cannot write '{err.filename}': {err.strerror}")
    if isinstance(err, NotImplementedError):
        return UserError(f'{what.replace(" is damaged", " cannot be read")} ({err}); unpack it by hand and name the '
                         'folder instead')
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


class Limits:
    """How much an archive may unpack to."""

    def __init__(self, path, max_unpacked):
        self.path, self._allowed = path, max_unpacked
        try:
            size = os.path.getsize(path)
        except OSError as err:
            raise UserError(f"'{path}' cannot be read: {err.strerror}") from err
        self.whole = WHOLE_RATIO * size + WHOLE_ALLOWANCE if max_unpacked is None else max_unpacked
        self._written = 0

    def check_whole(self, size):
        """Raises UserError if `size` bytes in all are too many."""
        if size > self.whole:
            raise UserError(f"'{self.path}' unpacks to more than {format_bytes(self.whole)}" + (
                f', which is {WHOLE_RATIO} times its size and 1 GiB: a bomb, or damaged; if you trust it, say with '
                '--max-unpacked SIZE how much it may take' if self._allowed is None else ' (--max-unpacked)'))

    def check_member(self, name, size, packed):
        """Raises UserError if a member of `packed` bytes must not become `size` bytes."""
        if self._allowed is None and size > max(MEMBER_RATIO * packed, _SMALL_MEMBER):
            raise UserError(f"'{name}' of '{self.path}' unpacks to over {MEMBER_RATIO} times its size, which no "
                            'photograph does: a bomb, or damaged; if you trust it, say with --max-unpacked SIZE how '
                            'much the archive may take')

    def spend(self, count):
        """Counts bytes written."""
        self._written += count
        self.check_whole(self._written)


def _members(path, limits):
    """Yields (name, size in bytes, function that opens it or None for what is no plain file)."""
    try:
        file = open_regular(path)
    except OSError as err:
        raise UserError(f"cannot read '{path}': {err.strerror}") from err
    try:
        with file as f:
            start = f.read(8)
            unpacker = next((opener for magic, opener in _COMPRESSED if start.startswith(magic)), None)
            if unpacker is None and _is_plain_tar(f):
                unpacker = _as_it_is
            if unpacker is not None:
                yield from _tar_members(f, unpacker, limits)
            elif zipfile.is_zipfile(f):
                yield from _zip_members(f, limits)
            else:
                raise UserError(f"'{path}' is neither a folder nor a zip or tar archive; unpack it by hand (7z x FILE "
                                'for 7-Zip and RAR archives) and name the folder instead')
    except _DAMAGE as err:
        raise _damaged(err, f"'{path}' is damaged") from None


def _is_plain_tar(f):
    f.seek(257)
    return f.read(5) == b'ustar'


def _zip_members(f, limits):
    with zipfile.ZipFile(f) as archive:
        infos = archive.infolist()
        limits.check_whole(sum(info.file_size for info in infos if _is_wanted(info.filename)))
        for info in infos:
            if info.flag_bits & 1:
                raise UserError(f"'{limits.path}' is encrypted; unpack it by hand and name the folder instead")
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if it was written without one
            plain = not info.filename.endswith('/') and kind in (0, stat.S_IFREG)
            if plain and _is_wanted(info.filename):
                limits.check_member(info.filename, info.file_size, info.compress_size)
            yield info.filename, info.file_size, (lambda info=info: archive.open(info)) if plain else None


def _tar_members(f, unpacker, limits):
    f.seek(0)
    raw = _Raw(f)
    with unpacker(raw) as stream:
        watched = _Watched(stream, limits)
        with tarfile.open(fileobj=watched, mode='r:') as archive:
            last = -1
            for info in archive:
                if info.size < 0 or info.offset <= last:
                    raise tarfile.ReadError('its members overlap')
                last, begin = info.offset, raw.count
                stored = sum(size for _, size in info.sparse) if info.issparse() else info.size
                limits.check_member(info.name, info.size, stored)

                def open_member(info=info, begin=begin):
                    return _Metered(archive.extractfile(info), info.name, lambda: raw.count - begin + 2 * _RAW_BLOCK,
                                    limits)

                yield info.name, info.size, open_member if info.isreg() else None
                archive.members = []  # they would be kept for random access
            while watched.read(_BLOCK):
                pass  # the checksum of what was compressed comes last


def _as_it_is(f):
    return io.BufferedReader(f)


_COMPRESSED = (
    (b'\x1f\x8b', lambda f: gzip.GzipFile(fileobj=f, mode='rb')), (b'BZh', bz2.BZ2File),
    (b'\xfd7zXZ\0', lzma.LZMAFile), (b'\x5d\0\0', lzma.LZMAFile),
)


class _Raw(io.RawIOBase):
    """A file that counts what was read of it, a little at a time so that the count is close to what was used."""

    def __init__(self, file):
        super().__init__()
        self._file, self.count = file, 0

    def read(self, size=-1):
        data = self._file.read(min(size, _RAW_BLOCK) if size >= 0 else _RAW_BLOCK)
        self.count += len(data)
        return data

    def readinto(self, buffer):
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def seek(self, offset, whence=0):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()

    def readable(self):
        return True

    def seekable(self):
        return True


class _Watched:
    """The unpacked side of a tar file as `tarfile` sees it: headers of any size and places beyond the limit raise."""

    def __init__(self, stream, limits):
        self._stream, self._limits = stream, limits

    def read(self, size):
        if not 0 <= size <= _MOST_READ:
            raise tarfile.ReadError(f'it has a header of {size} bytes')
        data = self._stream.read(size)
        self._limits.check_whole(self._stream.tell())
        return data

    def seek(self, offset):
        self._limits.check_whole(offset)
        return self._stream.seek(offset)

    def tell(self):
        return self._stream.tell()


class _Metered:
    """A member that is being read, watched for how much comes out of how little."""

    def __init__(self, file, name, packed, limits):
        self._file, self._name, self._packed, self._limits = file, name, packed, limits
        self._count = 0

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._file.close()

    def read(self, size):
        data = self._file.read(size)
        self._count += len(data)
        self._limits.check_member(self._name, self._count, self._packed())
        return data


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


def _copy(source, target, size, free, limits, what):
    left = size
    while True:
        block = source.read(_BLOCK)
        if not block:
            break
        left -= len(block)
        if left < 0:
            raise UserError(f'{what} is larger than it says; do not trust this archive')
        free.spend(len(block))
        limits.spend(len(block))
        target.write(block)
    if left:
        raise UserError(f'{what} is shorter than it says; download the archive again')


def _same(source, other):
    """Whether two open files hold the same."""
    while True:
        block = source.read(_BLOCK)
        if block != other.read(len(block) or 1):
            return False
        if not block:
            return True
