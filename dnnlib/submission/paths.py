"""Paths and user names as the original's callers write them: templates with tags, in the style of either system."""

import enum
import os
import pathlib
import pwd

_override = []


class PathType(enum.Enum):
    """How paths are written: as on Windows, as on Linux, or as on this machine."""
    WINDOWS = 1
    LINUX = 2
    AUTO = 3


def get_user_name():
    """The name of this process's user, or the one given to `set_user_name_override`."""
    if _override:
        return _override[-1]
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container, say
        return 'unknown'


def set_user_name_override(name):
    """Lets `get_user_name` return this name from now on; None ends that."""
    _override[:] = [] if name is None else [name]


def get_path_from_template(path_template, path_type=PathType.AUTO):
    """The path that a template means: the tag <USERNAME> becomes the user's name."""
    path = path_template.replace('<USERNAME>', get_user_name())
    if path_type == PathType.WINDOWS:
        return str(pathlib.PureWindowsPath(path))
    return str(pathlib.PurePosixPath(path))


def get_template_from_path(path):
    """The template of a path: with slashes."""
    return path.replace('\\', '/')


def convert_path(path, path_type=PathType.AUTO):
    """A path as another system writes it."""
    return get_path_from_template(get_template_from_path(path), path_type)
