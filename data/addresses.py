"""Folders at addresses such as s3://bucket/faces: copied here before a command reads them, and there once it is done.

What can be addressed is fsspec's business, which the extra `cluster` brings. Records are memory-mapped and a data set
appears as a whole, so commands work on local folders; these lie where TMPDIR says, and are gone afterwards.
"""

import argparse
import concurrent.futures
import contextlib
import os
import re
import shutil
import tempfile

from dnnlib.addresses import without_passwords
from dnnlib.files import make_folders
from dnnlib.machine import free_disk
from dnnlib.progress import Progress
from dnnlib.util import UserError

_ADDRESS = re.compile(r'([a-z][a-z0-9+.-]{1,20})://')
_LAST = ('manifest.json', 'summary.json')  # say that a folder is complete, so they go last
_CHANGING = ('ledger', 'summary', 'contact-sheets/', 'manifest', 'fingerprint')  # starts of what may keep its size
_AT_ONCE = 16  # files


def is_address(text):
    """Whether a text is an address and no path."""
    return isinstance(text, str) and _ADDRESS.match(text) is not None


@contextlib.contextmanager
def staged(args, inputs=(), outputs=(), goes_on=False, keep=False):
    """The parsed options `args` with local folders in place of addresses.

    inputs, outputs: names of the options that are folders to read and to make. What is at an output's address is
    fetched first if `goes_on`, else there may be nothing. With `keep` what is there goes to its address after a failure
    too, so that the command can go on with it. Raises UserError.
    """
    local, stores = argparse.Namespace(**vars(args)), []
    with contextlib.ExitStack() as stack:
        for name in tuple(inputs) + tuple(outputs):
            address = getattr(args, name)
            if not is_address(address):
                continue
            store = _Store(address)
            folder = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), store.name)
            if name in inputs:
                store.fetch(folder)
            else:
                stores.append((store, folder))
                if goes_on:
                    store.fetch(folder, may_be_absent=True)
                elif store.files():
                    raise UserError(f"'{address}' holds something already; choose another address or delete it first")
            setattr(local, name, folder)
        try:
            yield local
        except BaseException:
            if keep:
                _put_all(stores)
            raise
        _put_all(stores)


def _put_all(stores):
    for store, folder in stores:
        if os.path.isdir(folder) and os.listdir(folder):
            store.put(folder)
            print(f'copied to {without_passwords(store.address)}', flush=True)


class _Store:
    """A folder at an address. `name`: its last part."""

    def __init__(self, address):
        self.address = address.rstrip('/')
        self.name = self.address.rpartition('/')[2]
        if not re.match(r'[^/\\]+\Z', self.name) or self.name in ('.', '..') or self.name.endswith(':'):
            raise UserError(f"'{address}' names no folder; write for instance s3://bucket/faces")
        try:
            import fsspec
        except ImportError:
            raise UserError(f"'{address}' needs packages that are not installed: `make setup EXTRAS=cluster` adds "
                            'them; or name a folder') from None
        try:
            self._system, self._root = fsspec.core.url_to_fs(self.address)
        except ImportError as err:
            raise UserError(f"'{address}' needs a package that the extra `cluster` does not bring: "
                            f'{" ".join(str(err).split())[:120]}') from None
        except ValueError as err:
            raise UserError(f"'{address}' is no address that is known: {' '.join(str(err).split())[:120]}") from None

    @contextlib.contextmanager
    def _told(self, what):
        """Whatever a store's client raises as a sentence."""
        try:
            yield
        except UserError:
            raise
        except Exception as err:
            raise UserError(f"cannot {what} '{self.address}': {type(err).__name__}: "
                            f'{" ".join(str(err).split())[:200]}') from None

    def files(self):
        """{relative path: size} of what is there. Raises UserError for names that no folder can have."""
        with self._told('read'):
            self._system.invalidate_cache()
            try:
                found = self._system.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
            root = self._root.rstrip('/') + '/'
            files = {path[len(root):]: facts.get('size') for path, facts in found.items() if path.startswith(root)
                     and not path.endswith('/')}  # such names of nothing stand for folders
        for path in files:
            # Two names of a store, such as a/b and a//b, would be one file here.
            if not {'', '.', '..'}.isdisjoint(path.split('/')) or '\0' in path:
                raise UserError(f"'{self.address}' holds '{path}', which is no name of a file in a folder")
        return files

    def fetch(self, folder, may_be_absent=False):
        """Copies everything into a new folder. Raises UserError if there is nothing, no room, or less than told."""
        files = self.files()
        if not files and not may_be_absent:
            raise UserError(f"there is nothing at '{self.address}'")
        make_folders(folder)
        free = free_disk(folder)
        needed = sum(size or 0 for size in files.values())
        if needed > free:
            raise UserError(f"'{self.address}' holds {needed / 1e9:.1f} GB, but '{os.path.dirname(folder)}' has only "
                            f'{free / 1e9:.1f} GB free; let TMPDIR name another folder')

        def copy(path):
            target = os.path.join(folder, *path.split('/'))
            make_folders(os.path.dirname(target))
            with self._system.open(f'{self._root}/{path}', 'rb') as source, open(target, 'wb') as out:
                shutil.copyfileobj(source, out, 1 << 20)
                size = out.tell()
            if files[path] not in (None, size):
                raise UserError(f"'{self.address}/{path}' gave {size} of {files[path]} bytes; repeat the command")

        self._for_all(copy, sorted(files), 'read')

    def put(self, folder):
        """Copies a folder's files to the address, last those that say that it is complete; what failed is taken back.
        """
        paths = [os.path.relpath(os.path.join(where, name), folder).replace(os.sep, '/')
                 for where, _, names in os.walk(folder) for name in names]
        there = self.files()
        changed = [path for path in sorted(paths) if there.get(path) != os.path.getsize(os.path.join(folder, path))
                   or path.startswith(_CHANGING)]

        def copy(path):
            with open(os.path.join(folder, path), 'rb') as source, \
                    self._system.open(f'{self._root}/{path}', 'wb') as out:
                shutil.copyfileobj(source, out, 1 << 20)

        try:
            self._for_all(copy, [path for path in changed if path not in _LAST], 'write to')
            self._for_all(copy, [path for path in changed if path in _LAST], 'write to')
            with self._told('write to'):
                for path in sorted(set(there) - set(paths)):  # what was fetched, and is gone by now
                    self._system.rm(f'{self._root}/{path}')
        except BaseException:
            for path in set(changed) - set(there):
                with contextlib.suppress(Exception):  # as far as it got
                    self._system.rm(f'{self._root}/{path}')
            raise

    def _for_all(self, copy, paths, what):
        with self._told(what), Progress(
                what.split()[0] + ' ' + without_passwords(self.address), len(paths), 'files') as progress, \
                concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            if paths and hasattr(self._system, 'makedirs') and what != 'read':
                for parent in sorted({f'{self._root}/{path}'.rpartition('/')[0] for path in paths}):
                    with contextlib.suppress(Exception):  # object stores know no folders
                        self._system.makedirs(parent, exist_ok=True)
            for _ in pool.map(copy, paths):
                progress.add(1)

