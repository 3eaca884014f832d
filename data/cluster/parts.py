"""Records that workers make on their way to the one process that writes a data set.

They travel as files in a folder that all see. To workers on this machine memory is lent instead, as to those of
`data.workers`: writing files and reading them again would take 7 % more processor time for small pictures. What a
worker says about its records is left there, too.
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
        self._borrowed = {}  # path → its memory

    def __call__(self, task):
        number, (task, lent) = task
        memory = self._borrow(lent)
        if memory is not None and not memory.is_wanted_for(number):
            return None     # a worker that was lost had done this; the memory may be another's by now
        path = os.path.join(self._folder, f'{number:09}-{own_name()}.part')
        try:
            with Attempt(self._folder, number) as attempt:
                blocks, result = self._make(task, attempt, None if memory is None else memory.blocks)
            if blocks is not None and lent is None:
                with open(path, 'wb') as f:
                    for block in blocks:
                        f.write(block)
        except OSError as err:
            if os.path.exists(path):
                os.unlink(path)
            raise OSError(err.errno, err.strerror, self._folder) from err
        return number, None if blocks is None else lent or path, attempt.is_alone, result

    def leave(self, task, answer):
        """Leaves what it has to say about a task in the memory lent. Returns None if that cannot be, else True."""
        number, (_, lent) = task
        memory = self._borrow(lent)
        if memory is None:
            return None
        return True if not memory.is_wanted_for(number) else memory.leave(answer)

    def _borrow(self, lent):
        if lent is not None and lent not in self._borrowed:
            with open(lent, 'r+b') as file:
                self._borrowed[lent] = _Memory(file)
        return self._borrowed.get(lent)


class _Memory:
    """Memory that processes share for the blocks of a piece, and for the answer about them.

    Its first bytes say whose it is, how long the answer is, and how much room there is for blocks. So a worker that is
    given a piece once more, since another was lost when it had just done it, does not write into memory that is lent
    for another piece meanwhile.

    file: as it is, or to be made for `room` bytes of blocks. Attributes: `blocks`, uint8.
    """

    _STATE = 64     # bytes
    _ANSWER = 1 / 16, 4096  # of the blocks' bytes, and at least; a picture of 16x16 has 1,200 bytes, its answer 45

    def __init__(self, file, room=None):
        memory = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)
        self._state = memory[:self._STATE].view(np.int64)
        if room is not None:
            self._state[2] = room
        edge = self._STATE + int(self._state[2])
        self.blocks, self._answer = memory[self._STATE:edge], memory[edge:]

    @classmethod
    def size_for(cls, room):
        """The size in bytes with so much room for blocks."""
        return cls._STATE + room + max(int(room * cls._ANSWER[0]), cls._ANSWER[1])

    def begin(self, number):
        """Makes it that of a piece."""
        self._state[:2] = number, 0

    def is_wanted_for(self, number):
        """Whether this piece is still to be done."""
        return self._state[0] == number and self._state[1] == 0

    def leave(self, answer):
        """Leaves an answer, bytes. Returns True, or None if it is too long."""
        if len(answer) > len(self._answer):
            return None
        self._answer[:len(answer)] = np.frombuffer(answer, np.uint8)
        self._state[1] = len(answer)
        return True

    def left(self):
        """The answer; None if there is none."""
        return self._answer[:self._state[1]].tobytes() or None


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
            for number, task in enumerate(tasks):
                yield number, (task, None if lender is None else lender.lend(number, room(task)))

        def left(task):
            return None if lender is None else lender.memories[task[1][1]].left()

        for number, path, is_alone, result in cluster.map(Part(make, folder), lent(), is_noted=True, left=left):
            memory = None
            if path is not None:
                memory = np.fromfile(path, np.uint8) if lender is None else lender.memories[path].blocks
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
        memories: path under which other processes open it → `_Memory`.
        free: paths of those that nobody uses.
    """

    def __init__(self, closing):
        self._closing = closing
        self.memories, self.free = {}, []

    def lend(self, number, room):
        """The path of one with room for `room` bytes that nobody uses, for a piece. A new one is no larger: setting
        memory aside takes a quarter of a second a gigabyte."""
        path = next((path for path in reversed(self.free) if len(self.memories[path].blocks) >= room), None)
        if path is None:
            file = self._closing.enter_context(shared_file(_Memory.size_for(room)))
            path = f'/proc/{os.getpid()}/fd/{file.fileno()}'
            self.memories[path] = _Memory(file, room)
        else:
            self.free.remove(path)
        self.memories[path].begin(number)
        return path


def _can_lend():
    """Whether files without a name can be opened here by the numbers that their owner has for them."""
    try:
        with shared_file(1) as file, open(f'/proc/{os.getpid()}/fd/{file.fileno()}', 'r+b'):
            return True
    except OSError:
        return False
