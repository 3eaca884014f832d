"""Notes of what a worker is at, so that the next one that tries the same knows what ended the last."""

import collections
import contextlib
import glob
import os
import socket
import uuid

MOST = 3
"""How often an item may end the worker process that tries it before it is given up."""

_DIGITS = 10


class Attempt:
    """One try at a piece of work of numbered items. Use as a context manager.

    folder: shared by all workers; piece: number of the work.

    What this try is at stands in a file of its own, which is gone once it ends by itself. A process that is killed
    leaves it behind, so such files of the same piece tell the items at which earlier tries ended. `is_alone`: there
    were none.
    """

    def __init__(self, folder, piece):
        self._deaths = collections.Counter()
        others = glob.glob(os.path.join(glob.escape(folder), f'{piece:09}-*.at'))
        self.is_alone = not others
        for path in others:
            try:
                with open(path, 'rb') as f:
                    text = f.read(_DIGITS)
            except FileNotFoundError:
                continue
            if text.isdigit():    # of bytes: 0 to 9
                self._deaths[int(text)] += 1
        self._path = os.path.join(folder, f'{piece:09}-{own_name()}.at')

    def __enter__(self):
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
        return self

    def begin(self, item):
        """Notes that an item is begun. Returns whether it may be: False once it has ended `MOST` processes."""
        if self._deaths[item] >= MOST:
            return False
        os.pwrite(self._fd, b'%0*d' % (_DIGITS, item), 0)
        return True

    def __exit__(self, exc_type, exc_value, traceback):
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):  # another try was quicker, and all notes are gone
            os.unlink(self._path)


def own_name():
    """A text that no other try has, on whatever machine."""
    return f'{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}'


def forget(folder, piece):
    """Removes what tries at a finished piece of work left behind."""
    for path in glob.glob(os.path.join(glob.escape(folder), f'{piece:09}-*.at')):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
