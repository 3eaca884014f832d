"""Stretches of a file that threads read while the program goes on."""

import os
import threading

import numpy as np

from dnnlib.machine import usable_cores

_THREADS = 2    # one alone takes twice as long to fill new memory
_ALIGNMENT = 64  # bytes: what lies so, TensorFlow takes as it is


class Block:
    """A stretch of a file, which may still be on its way.

    memory: uint8 [bytes], to be used once `wait` has returned; wait: function that raises what went wrong.
    """

    def __init__(self, memory, wait):
        self.memory, self.wait = memory, wait

    def __len__(self):
        return len(self.memory)

    def __bytes__(self):
        self.wait()
        return self.memory.tobytes()


class Blocks:
    """Reads blocks of an open file, those that were asked for last at first.

    stream: the file; too_short: function that returns what to raise where the file ends too early.
    """

    def __init__(self, stream, too_short):
        self._fd = os.dup(stream.fileno())
        self._too_short = too_short
        self._changed = threading.Condition()
        self._todo, self._is_complete = [], False
        self._coming = {}   # address of the memory → _Coming
        self._at_work = _THREADS
        for _ in range(_THREADS):
            threading.Thread(target=self._work).start()

    def read(self, start, size):
        """The Block of the bytes from `start` on."""
        room = np.empty(size + _ALIGNMENT, np.uint8)
        first = -room.ctypes.data % _ALIGNMENT
        memory, coming = room[first:first + size], _Coming()
        with self._changed:
            self._todo.append((memory, start, coming))
            self._coming[memory.ctypes.data] = coming
            self._changed.notify()
        return Block(memory, coming.wait)

    def finish(self):
        """No more blocks will be asked for: the file is closed once all have come."""
        with self._changed:
            self._is_complete = True
            self._changed.notify_all()

    def wait(self, arrays=None):
        """Returns once the blocks that these arrays begin with have come, or all. Raises what went wrong."""
        coming = list(self._coming.values()) if arrays is None else \
            [self._coming.get(array.__array_interface__['data'][0]) for array in arrays]
        for block in coming:
            if block is not None:
                block.wait()

    def _work(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._todo or self._is_complete)
                if not self._todo:
                    break
                memory, start, coming = self._todo.pop()
            try:
                if not _fill(self._fd, memory, start):
                    coming.error = self._too_short()
            except BaseException as err:
                coming.error = err
            del memory
            coming.done.set()
        with self._changed:
            self._at_work -= 1
            if not self._at_work:
                os.close(self._fd)


class _Coming:
    def __init__(self):
        self.done, self.error = threading.Event(), None

    def wait(self):
        self.done.wait()
        if self.error is not None:
            raise self.error


def can_read(stream):
    """Whether threads can read from a file beside each other, and there are cores for them."""
    if not hasattr(os, 'preadv') or usable_cores() < 2:     # Python 3.6 has none
        return False
    try:
        return stream.fileno() >= 0
    except (OSError, AttributeError):   # it is in memory
        return False


def _fill(fd, memory, start):
    """Fills uint8 [bytes] with the bytes of an open file from `start` on. Returns whether there are so many."""
    done = 0
    while done < len(memory):
        count = os.preadv(fd, [memory[done:]], start + done)
        if not count:
            return False
        done += count
    return True
