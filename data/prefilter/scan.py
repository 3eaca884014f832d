"""Walks a folder tree in a fixed order and says what every file's crop is called."""

import os
import zlib

from data.images import is_image_name
from dnnlib.util import UserError


class Entry:
    """One input. path: relative to the folder. output: relative path of its crop, or None if `reason` is set already,
    as for a link that leads nowhere; `detail` says more then."""

    __slots__ = ('path', 'output', 'reason', 'detail')

    def __init__(self, path, output=None, reason=None, detail=''):
        self.path, self.output, self.reason, self.detail = path, output, reason, detail


def walk(folder, leave_out=None, shard=(0, 1)):
    """Yields an Entry for every file below `folder`, one directory at a time, sorted by name.

    Links to files are followed. Links to directories are followed if they lead out of the tree, each target once;
    a target inside the tree is visited in its own place, so that no loop can arise.

    Args:
        folder: path of the tree.
        leave_out: path of a directory in the tree that is not visited: where the crops go.
        shard: (i, n) with 0 <= i < n: only the i-th of n parts, about equal and the same whatever else is there.

    Raises:
        UserError: `folder` is not a directory that can be read.
    """
    if not os.path.isdir(folder):
        raise UserError(f"'{folder}' is not a folder" if os.path.lexists(folder) else f"'{folder}' does not exist")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UserError(f"'{folder}' cannot be read: permission denied")
    hidden = {_identity(leave_out)} if leave_out is not None and os.path.isdir(leave_out) else set()
    for entry in _walk(folder, os.path.realpath(folder), hidden):
        if shard[1] == 1 or zlib.crc32(os.fsencode(entry.path)) % shard[1] == shard[0]:
            yield entry


def _walk(folder, root, visited):
    """`root`: real path of the tree. `visited`: identities of directories that must not be entered (again)."""
    levels = [_list(folder, '', root, visited)]  # and no recursion: directories may lie deeper than Python recurses
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
        elif isinstance(entry, Entry):
            yield entry
        else:
            levels.append(_list(folder, entry, root, visited))


def _list(folder, prefix, root, visited):
    """Yields the entries of one directory, and the relative paths of the directories in it that are to be entered."""
    try:
        with os.scandir(os.path.join(folder, prefix)) as found:
            items = sorted(found, key=lambda item: os.fsencode(item.name))
    except OSError as err:
        yield Entry(prefix, reason='unreadable', detail=f'directory: {err.strerror}')
        return
    directories = {item.name for item in items if _is_directory(item)}
    outputs = output_names([item.name for item in items if item.name not in directories], directories)
    for item in items:
        path = os.path.join(prefix, item.name)
        if item.name in directories:
            reason = _enter(item, root, visited)
            if reason is None:
                yield path
            elif reason:
                yield Entry(path, reason=reason, detail='leads to a folder that is visited elsewhere'
                            if reason == 'repeated_link' else 'directory')
        elif item.is_symlink() and not os.path.exists(item.path):
            yield Entry(path, reason='broken_link', detail='leads to nothing, or to itself')
        else:
            yield Entry(path, output=os.path.join(prefix, outputs[item.name]))


def _enter(item, root, visited):
    """None if a directory is to be entered, '' to pass it over in silence, else the reason not to."""
    identity = _identity(item.path)
    if identity is None:
        return 'unreadable'
    if not item.is_symlink():
        return '' if identity in visited else None
    target = os.path.join(os.path.realpath(item.path), '')
    root = os.path.join(root, '')
    if identity in visited or target.startswith(root) or root.startswith(target):
        return 'repeated_link'
    visited.add(identity)
    return None


def _is_directory(item):
    try:
        return item.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def output_names(names, taken=()):
    """What the crops of the files of one directory are called: dict of name → name.

    `portrait.jpg` becomes `portrait.png`. Sources of one base name keep their extensions: `portrait.jpg.png`,
    `portrait.tif.png`. A file that is no image by its name, such as `portrait.txt`, does not take another's base name.
    `taken`: names of subdirectories, which a file cannot have.
    """
    whole = set()
    while True:
        users = {}
        for name in names:
            users.setdefault(_output_name(name, whole), []).append(name)
        clashing = set()
        for output, sharing in users.items():
            if len(sharing) > 1 or output in taken:
                sharing = [name for name in sharing if name not in whole]
                clashing.update([name for name in sharing if not is_image_name(name)] or sharing)
        if not clashing:
            return {name: _output_name(name, whole) for name in names}
        whole |= clashing


def _output_name(name, whole):
    return (name if name in whole else os.path.splitext(name)[0]) + '.png'
