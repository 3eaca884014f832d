"""Making and locking run directories: numbered folders that no two starts share."""

import fnmatch
import os
import re
import sys

from dnnlib.errors import UserError
from dnnlib.files import copy_files_and_create_dirs, make_folders, utf8_path
from dnnlib.locks import BUSY, UNSUPPORTED, try_lock

# Source, settings, tables of data, and templates of pages.
SOURCE_SUFFIXES = ('.py', '.yaml', '.yml', '.txt', '.toml', '.cfg', '.json', '.html', '.css', '.js')
SOURCE_NAMES = ('reproduce', 'Makefile', 'LICENSE', 'NOTICE')   # those without a suffix
SOURCE_MAX_BYTES = 1 << 20


def run_id_of(name):
    """The number at the front of a run directory's name `00012-description`, or None for other names."""
    match = re.match(r'(\d{5,})(-|$)', name)
    return int(match.group(1)) if match else None


def sanitize_desc(desc):
    """Makes a description fit for a folder name: letters, digits, `.`, `_` and `-`, at most 80 of them."""
    return re.sub(r'[^A-Za-z0-9._-]+', '-', desc)[:80].strip('-.') or 'run'


def create_run_dir(result_dir, desc):
    """Creates `result_dir/<id>-<desc>` with id = highest existing + 1, from 0, and returns its path.

    Any number of processes, on one or several machines with a common file system, may do this at once: each gets its
    own id. An id is claimed by creating the folder `.id-NNNNN`, which only one process can; while it is held, nobody
    else creates a run directory with that id. A claim left behind by a crash costs one number and nothing else.
    Raises UserError if the folder cannot be written, or its name is no UTF-8.
    """
    result_dir = os.path.abspath(result_dir)
    utf8_path(result_dir)  # said now, and not when a run begins to log
    try:
        make_folders(result_dir)
        run_id = _next_id(result_dir)
        while True:
            claim = os.path.join(result_dir, f'.id-{run_id:05d}')
            try:
                os.mkdir(claim)
            except FileExistsError:
                run_id += 1
                continue
            try:
                if _next_id(result_dir) > run_id:  # made by another process between our look and our claim
                    run_id = _next_id(result_dir)
                    continue
                run_dir = os.path.join(result_dir, f'{run_id:05d}-{sanitize_desc(desc)}')
                os.mkdir(run_dir)
                return run_dir
            finally:
                os.rmdir(claim)
    except OSError as err:
        raise UserError(f"cannot create a run directory in '{result_dir}': {err.strerror}; choose a folder that can be "
                        'written with --result-dir') from err


def _next_id(result_dir):
    ids = [run_id_of(name) for name in os.listdir(result_dir)]
    return max((i for i in ids if i is not None), default=-1) + 1


class RunLock:
    """Holds a run directory for one process, as a context manager; UserError if another process holds it.

    The operating system ends the hold together with the process, however it ends, so a stale lock cannot be.
    """

    def __init__(self, run_dir):
        self.path = os.path.join(run_dir, '.lock')
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as err:
            raise UserError(f"cannot write in the run directory '{run_dir}': {err.strerror}") from err
        state = try_lock(self._fd)
        if state == BUSY:
            holder = os.read(self._fd, 100).decode('ascii', 'replace').strip()
            os.close(self._fd)
            raise UserError(f"another process{f' ({holder})' if holder else ''} is training in '{run_dir}'; wait for "
                            'it, or stop it, before you continue this run')
        if state == UNSUPPORTED:
            print(f"warning: the file system of '{run_dir}' has no file locks: two processes that train there would "
                  'not notice each other; see to it yourself that this is the only one', file=sys.stderr)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f'process {os.getpid()}'.encode('ascii'), 0)

    def close(self):
        """Gives the run directory back. May be called twice."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.close()


def is_source(folder, name):
    """Whether a file is source or configuration: no hidden one, of a known suffix or name, at most a mebibyte."""
    path = os.path.join(folder, name)
    return (not name.startswith('.') and (name.endswith(SOURCE_SUFFIXES) or name in SOURCE_NAMES)
            and os.path.isfile(path)
            and os.path.getsize(path) <= SOURCE_MAX_BYTES)


def list_source(root, ignore=()):
    """[(path, path relative to `root`)] of the source and configuration files below a folder.

    Left out: hidden folders, virtual environments, other run directories, and what is in `ignore`: paths of folders,
    or patterns of the names of folders and files.
    """
    folders = {os.path.realpath(path) for path in ignore}
    patterns = [pattern for pattern in ignore if os.sep not in pattern] + ['.*', '__pycache__']

    def is_wanted(folder, name):
        return (not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
                and os.path.realpath(os.path.join(folder, name)) not in folders)

    found = []
    for folder, subfolders, names in os.walk(root):
        if 'pyvenv.cfg' in names or 'submit_config.json' in names:
            subfolders[:] = []
            continue
        subfolders[:] = sorted(name for name in subfolders if is_wanted(folder, name))
        paths = [os.path.join(folder, name) for name in sorted(names)
                 if is_wanted(folder, name) and is_source(folder, name)]
        found += [(path, os.path.relpath(path, root)) for path in paths]
    return found


def copy_source(root, target, ignore=()):
    """Copies what `list_source` lists, less `target` itself, which must not exist. Returns the number of files."""
    os.makedirs(target)
    files = list_source(root, list(ignore) + [target])
    copy_files_and_create_dirs([(path, os.path.join(target, relative)) for path, relative in files])
    return len(files)
