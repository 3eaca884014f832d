"""Reads HDF5 and LMDB files in a process of their own, since a damaged one can end the process that reads it.

Of 150 damaged databases 21 did, by a segmentation fault, a bus error or a failed assertion within LMDB, for which there
is no exception. A `Guarded` starts `python -m data.guarded KIND`, hands over requests as lines of JSON, and gets JSON
with bytes after it for each.
"""

import io
import json
import os
import select
import subprocess
import sys

from dnnlib.errors import UserError

PATIENCE = 600  # seconds for one answer; slow disks take long, damaged files for ever
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_BLOCK = 1 << 20
_HEAD = 8  # bytes that say how long the JSON of an answer is


class Guarded:
    """A file, read by another process.

    kind: 'hdf5' or 'lmdb'; path: the file or folder; advice: what a user can do about damage.
    """

    def __init__(self, kind, path, advice):
        self.path, self._advice = path, advice
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
            [_ROOT] + os.environ.get('PYTHONPATH', '').split(os.pathsep)).rstrip(os.pathsep))
        self._process = subprocess.Popen([sys.executable, '-m', 'data.guarded', kind], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                                         env=environment)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.close()

    def ask(self, action, *words):
        """(value, bytes) that an action answers with. Raises UserError for damage, however it shows."""
        try:
            self._process.stdin.write(json.dumps([action] + list(words)).encode() + b'\n')
            answer = json.loads(self._read(int.from_bytes(self._read(_HEAD), 'little')).decode())
            content = self._read(answer['bytes'])
        except (OSError, EOFError):
            self.close()
            raise UserError(f"'{self.path}' is damaged: the process that read it ended (status "
                            f'{self._process.returncode}); {self._advice}') from None
        if answer['problem'] is not None:
            raise UserError(f"'{self.path}' {answer['problem']}; {self._advice}")
        return answer['value'], content

    def _read(self, size):
        pieces = []
        while size:
            if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
                self.close()
                raise UserError(f"'{self.path}' gave nothing for {PATIENCE} seconds; {self._advice}")
            pieces.append(self._process.stdout.read(min(size, _BLOCK)))
            if not pieces[-1]:
                raise EOFError
            size -= len(pieces[-1])
        return b''.join(pieces)

    def close(self):
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


# ---- In the other process

class _Hdf5:
    def __init__(self):
        self._file = None

    def open(self, path):
        """Nothing more."""
        import h5py
        self._file = h5py.File(path, 'r')
        return None, b''

    def arrays(self):
        """Names of the arrays of four dimensions, with shape, type, chunk, and whether the values lie elsewhere."""
        import h5py
        arrays = {}
        for name, value in self._file.items():
            if isinstance(value, h5py.Dataset) and value.ndim == 4:
                arrays[name] = dict(shape=list(value.shape), dtype=str(value.dtype), chunks=list(value.chunks or [1]),
                                    elsewhere=bool(value.external or value.is_virtual), name=value.name)
        return arrays, b''

    def read(self, name, index):
        """The bytes of one element along the first axis."""
        return None, self._file[name][index].tobytes()


class _Lmdb:
    def __init__(self):
        self._transaction, self._cursor = None, None

    def open(self, path):
        """The number of entries, and how many bytes the pages have that the database speaks of."""
        import lmdb
        environment = lmdb.open(path, readonly=True, lock=False, readahead=True, max_readers=64)
        self._transaction = environment.begin(buffers=False)
        status = environment.stat()
        return dict(entries=status['entries'], bytes=(environment.info()['last_pgno'] + 1) * status['psize']), b''

    def keys(self, count):
        """The next keys, at most so many, one after the other, and their lengths."""
        if self._cursor is None:
            self._cursor = self._transaction.cursor().iternext(keys=True, values=False)
        found = [key for _, key in zip(range(count), self._cursor)]
        return [len(key) for key in found], b''.join(found)

    def walk(self):
        """Reads something of every page."""
        for _, value in self._transaction.cursor():
            bytes(value[::4096]), bytes(value[-1:])
        return None, b''

    def get(self, key):
        """The value of a key, given as a text of two hexadecimal digits per byte."""
        content = self._transaction.get(bytes.fromhex(key))
        return content is not None, content or b''


def _serve(kind, requests, answers):
    reader = {'hdf5': _Hdf5, 'lmdb': _Lmdb}[kind]()
    for line in requests:
        action, *words = json.loads(line.decode())
        value, content, problem = None, b'', None
        try:
            value, content = getattr(reader, action)(*words)
        except Exception as err:  # the modules have exceptions of many kinds, and none is this program's fault
            words = 'cannot be opened' if action == 'open' else 'is damaged'
            problem = f'{words}: {str(err) or type(err).__name__:.500}'
        head = json.dumps(dict(value=value, bytes=len(content), problem=problem)).encode()
        answers.write(len(head).to_bytes(_HEAD, 'little') + head + content)
        answers.flush()


if __name__ == '__main__':
    with os.fdopen(os.dup(1), 'wb') as pipe:
        os.dup2(2, 1)  # whatever the modules print is no answer
        _serve(sys.argv[1], io.open(0, 'rb'), pipe)
