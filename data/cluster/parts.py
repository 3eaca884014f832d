"""Records that workers make on their way to the one process that writes a data set.

They travel as files in a folder that all see. To workers on this machine memory is lent instead, as to those of
`data.workers`: writing files and reading them again would take 7 % more processor time for small pictures.
"""

import contextlib
import mmap
import os

import numpy as np

from data.cluster.attempts import Attempt, forget, own_name
from data.workers import shared_file


class Part:
    """What a worker process does with (number, (task, path of the memory that is lent, or None)).

    make(task, attempt, memory): a picklable object whose call returns (bytes-like blocks or None, any result). The
    blocks lie in `memory`, uint8, one behind the other from its beginning on, unless it is None.
    """

    def __init__(self, make, folder):
        self._make, self._folder = make, folder
        self._lent = {}  # path → its memory

    def __call__(self, task):
        number, (task, lent) = task
        path = os.path.join(self._folder, f'{number:09}-{own_name()}.part')
        try:
            with Attempt(self._folder, number) as attempt:
                blocks, result = self._make(task, attempt, self._borrow(lent))
            if blocks is not None and lent is None:
                with open(path, 'wb') as f:
                    for block in blocks:
                        f.write(block)
        except OSError as err:
            if os.path.exists(path):
                os.unlink(path)
            raise OSError(err.errno, err.strerror, self._folder) from err
        return number, None if blocks is None else lent or path, attempt.is_alone, result

    def _borrow(self, lent):
        if lent is not None and lent not in self._lent:
            with open(lent, 'r+b') as file:
                self._lent[lent] = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)
        return self._lent.get(lent)


def fill(cluster, make, tasks, folder, room=None):
    """Yields (result, uint8 [bytes] of the blocks, None without) for each task, in order; see `Part`.

    The memory is valid until the next is asked for, and may be longer than the blocks. room: function from a task to
    the bytes of its blocks at most; None where that is not known.
    """
    folder = os.path.abspath(folder)
    cluster.check_folder(folder)
    with contextlib.ExitStack() as closing:
        lender = _Lender(closing) if room is not None and cluster.is_local and _can_lend() else None

        def lent():
            for task in tasks:
                yield task, None if lender is None else lender.lend(room(task))

        for number, path, is_alone, result in cluster.map(Part(make, folder), enumerate(lent()), is_noted=True):
            memory = None
            if path is not None:
                memory = np.fromfile(path, np.uint8) if lender is None else lender.memories[path]
            yield result, memory
            forget(folder, number)
            if lender is None:
                if path is not None:
                    os.unlink(path)
            elif path is not None and is_alone:     # else another process may be writing there still
                lender.free.append(path)


class _Lender:
    """Pieces of memory for processes of this machine. They have no names, so that nothing is left behind.

    Attributes:
        memories: path under which other processes open it → uint8 [its size].
        free: paths of those that nobody uses.
    """

    def __init__(self, closing):
        self._closing = closing
        self.memories, self.free = {}, []

    def lend(self, room):
        """The path of one of at least `room` bytes that nobody uses. A new one is no larger: setting memory aside
        takes a quarter of a second a gigabyte."""
        path = next((path for path in reversed(self.free) if len(self.memories[path]) >= room), None)
        if path is None:
            file = self._closing.enter_context(shared_file(room))
            path = f'/proc/{os.getpid()}/fd/{file.fileno()}'
            self.memories[path] = np.frombuffer(mmap.mmap(file.fileno(), room), np.uint8)
        else:
            self.free.remove(path)
        return path


def _can_lend():
    """Whether files without a name can be opened here by the numbers that their owner has for them."""
    try:
        with shared_file(1) as file, open(f'/proc/{os.getpid()}/fd/{file.fileno()}', 'r+b'):
            return True
    except OSError:
        return False
