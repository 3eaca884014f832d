"""Readers of files that C libraries read, for `make fuzz`; see tests/fuzz.py.

Such a library may end its process, so that each file is read by a process of its own, which is forked from one that
has imported everything. Its end by a signal is a failure like any other, and is told by the signal's name.
"""

import faulthandler
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

import numpy as np
import PIL.Image

_READ, _REFUSED, _FAILED = 0, 1, 2


class Crash(Exception):
    """The process that read a file was ended by a signal."""


def in_a_child(read):
    """A reader that has another one read in a process of its own. Raises what that raised, as UserError or Crash."""
    def run(path):
        from dnnlib.util import UserError
        notes = path + '-notes'
        child = os.fork()
        if child == 0:
            _be_the_child(read, path, notes)
        try:
            _, status = os.waitpid(child, 0)
        except BaseException:   # it took too long
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        words = ''
        if os.path.exists(notes):
            with open(notes, encoding='utf-8', errors='replace') as file:
                words = file.read()
            os.unlink(notes)
        if os.WIFSIGNALED(status):
            raise Crash(f'{signal.Signals(os.WTERMSIG(status)).name}: {words}')
        if os.WEXITSTATUS(status) == _REFUSED:
            raise UserError(words)
        if os.WEXITSTATUS(status) != _READ:
            raise Crash(words or f'status {os.WEXITSTATUS(status)}')
    return run


def _be_the_child(read, path, notes):
    from dnnlib.util import UserError
    status, words = _READ, ''
    try:
        signal.alarm(0)
        faulthandler.disable()  # the signal's name is enough
        with open(os.devnull, 'w') as nowhere:
            os.dup2(nowhere.fileno(), 1)
        read(path)
    except UserError as err:
        status, words = _REFUSED, str(err)
    except BaseException:
        status, words = _FAILED, traceback.format_exc()
    finally:
        with open(notes, 'w', encoding='utf-8', errors='replace') as file:
            file.write(words)
        os._exit(status)


def hdf5_files():
    """Yields files of a few small pictures, in one piece and in packed chunks."""
    import h5py

    import data.converters.create_from_hdf5  # noqa: F401  (imported once, before the forks)
    with tempfile.TemporaryDirectory() as folder:
        for number, options in enumerate(({}, dict(chunks=(2, 3, 8, 8), compression='gzip', shuffle=True))):
            path = os.path.join(folder, f'{number}.h5')
            with h5py.File(path, 'w') as file:
                file.create_dataset('data8x8', data=np.arange(5 * 3 * 64).reshape(5, 3, 8, 8).astype(np.uint8),
                                    **options)
            with open(path, 'rb') as file:
                yield file.read()


def read_hdf5(path):
    """Makes a data set of it."""
    from data.converters.create_from_hdf5 import create_from_hdf5
    _make_and_remove(path, lambda out: create_from_hdf5(out, path))


def lmdb_files():
    """Yields a database of a few small pictures, of which some take pages of their own."""
    import lmdb  # noqa: F401

    import data.converters.create_lsun  # noqa: F401
    entries = []
    for number, size in enumerate((8, 16, 60)):
        stream = tempfile.SpooledTemporaryFile()
        pixels = np.random.RandomState(number).randint(0, 256, (size, size, 3)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(stream, format='PNG')
        stream.seek(0)
        entries.append((f'{number}'.encode(), stream.read()))
    with tempfile.TemporaryDirectory() as folder:
        script = ('import lmdb, pickle, sys\n'
                  f'with lmdb.open({folder!r}, map_size=1 << 20) as env, env.begin(write=True) as txn:\n'
                  '    [txn.put(key, value) for key, value in pickle.load(sys.stdin.buffer)]')
        subprocess.run([sys.executable, '-c', script], input=pickle.dumps(entries), check=True)
        with open(os.path.join(folder, 'data.mdb'), 'rb') as file:
            yield file.read()


def read_lmdb(path):
    """Makes a data set of it."""
    from data.converters.create_lsun import create_lsun
    folder = path + '-folder'
    os.makedirs(folder, exist_ok=True)
    try:
        shutil.copyfile(path, os.path.join(folder, 'data.mdb'))
        _make_and_remove(path, lambda out: create_lsun(out, folder, resolution=8, workers=1))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_and_remove(path, make):
    out = path + '-set'
    shutil.rmtree(out, ignore_errors=True)  # of a process that was ended
    try:
        make(out)
    finally:
        shutil.rmtree(out, ignore_errors=True)


READERS = {
    'HDF5 files': (hdf5_files, in_a_child(read_hdf5), '.h5'),
    'LMDB files': (lmdb_files, in_a_child(read_lmdb), '.mdb'),
}
