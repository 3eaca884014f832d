"""Spreading work over processes while keeping its order and bounding its memory."""

import collections
import contextlib
import itertools
import mmap
import multiprocessing
import os
import pickle
import selectors
import signal
import sys
import tempfile
import traceback
from multiprocessing import reduction

import numpy as np

from dnnlib.machine import keep_freed_memory
from dnnlib.util import UserError

_NOT_TO_FORK = ('tensorflow',)  # its threads do not survive it
ONE_THREAD = {'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', 'TF_CPP_MIN_LOG_LEVEL': '2'}
"""Environment of worker processes that compute: they are the parallelism."""

_MOST_SHARED = 64 << 20  # bytes of memory shared with a worker, unless one result alone takes more


@contextlib.contextmanager
def environment(values):
    """Has processes that are started meanwhile find these environment variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ordered_map(function, tasks, workers, window=4):
    """Yields `function(task)` for each task, in order, computed by `workers` processes.

    `function` is a top-level function (or a picklable object); tasks and results travel through pipes, so make them
    few and the work for each large. Each worker is at most `window` tasks ahead; the next task goes to the one that has
    the least to do. With `workers` <= 1 all happens in this process. Workers may be used beside TensorFlow.

    Raises UserError as the function raised it, RuntimeError with the worker's traceback for anything else, and
    UserError if a worker was killed.
    """
    for result, _ in ordered_fill(_WithoutMemory(function), tasks, workers, 0, window):
        yield result


class _WithoutMemory:
    def __init__(self, function):
        self._function = function

    def __call__(self, task, memory):
        return self._function(task)


def ordered_fill(function, tasks, workers, room, window=4):
    """As `ordered_map`, for results with large arrays: yields (`function(task, memory)`, memory) for each task.

    `memory` is uint8 [room], shared between the processes, for the function to fill, which is much cheaper than sending
    its content. It is valid until the next result is asked for.
    """
    if workers <= 1:
        memory = np.empty(room, np.uint8)
        for task in tasks:
            yield function(task, memory), memory
        return
    window = max(1, min(window, _MOST_SHARED // max(room, 1)))
    team, listening = [], selectors.DefaultSelector()
    try:
        pending = collections.deque()   # the workers of all tasks whose results are not used yet, in their order
        for task in tasks:
            if len(team) < workers:     # no more than there are tasks, on machines of many cores
                team.append(_Worker(function, window, room, team))
                listening.register(team[-1].pipe, selectors.EVENT_READ, team[-1])
            worker = _least_busy(team)
            while worker is None:
                for key, _ in listening.select(0 if pending[0].answers else None):
                    key.data.listen()
                worker = _least_busy(team)
                if worker is None and pending[0].answers:
                    yield pending.popleft().receive()
                    worker = _least_busy(team)
            worker.send(task)
            pending.append(worker)
        while pending:
            yield pending.popleft().receive()
    finally:
        listening.close()
        for worker in team:
            worker.pipe.close()  # a waiting worker ends when its pipe does
        for worker in team:
            worker.end()


def _least_busy(team):
    """The worker for the next task, the one with the least to do; None while all have enough, or no memory for more.

    Taking turns would have some wait for others, since neither all tasks nor all cores are equal at all times.
    """
    return min((worker for worker in team if worker.has_room()), key=lambda worker: worker.outstanding, default=None)


class _Worker:
    """The parent's side of one process: tasks go in, answers come out in the same order.

    The answers to its tasks use `window` pieces of memory in turns: no more tasks may be sent before answers are used.
    `outstanding`: number of tasks without an answer; `answers`: those received before they were asked for.
    """

    _AHEAD = 2      # tasks that a worker has, one to work on and one to go on with at once
    _SMALL = 8192  # bytes; a few such tasks fit into a pipe that nobody reads

    def __init__(self, function, window, room, team):
        # A fork starts at once, while a new process spends a quarter of a second with imports.
        fork = sys.platform == 'linux' and not any(name in sys.modules for name in _NOT_TO_FORK)
        context = multiprocessing.get_context('fork' if fork else 'spawn')
        self.pipe, other = context.Pipe()
        inherited = [worker.pipe for worker in team + [self]] if fork else []
        with shared_file(max(window * room, 1)) as file:
            self._memories = itertools.cycle(_map(file.fileno(), window, room))
            self._process = context.Process(target=_work, args=(function, other, window, room, inherited), daemon=True)
            self._process.start()
            other.close()
            try:
                reduction.send_handle(self.pipe, file.fileno(), self._process.pid)
            except ConnectionError:
                raise self._died() from None
        self._window, self.outstanding = window, 0
        self.answers = collections.deque()

    def has_room(self):
        """Whether it should be sent a task now."""
        return self.outstanding < self._AHEAD and self.outstanding + len(self.answers) < self._window

    def listen(self):
        """Takes the next answer, which it is about to give."""
        self.answers.append(self._read())

    def send(self, task):
        data = pickle.dumps(task, protocol=4)
        if len(data) > self._SMALL:
            # Both sides may not write at once: first take what the worker has to say.
            while self.outstanding:
                self.listen()
        try:
            self.pipe.send_bytes(data)
        except (BrokenPipeError, ConnectionError):
            raise self._died() from None
        self.outstanding += 1

    def receive(self):
        """The next answer and its memory."""
        kind, value = self.answers.popleft() if self.answers else self._read()
        memory = next(self._memories)
        if kind == 'result':
            return value, memory
        raise UserError(value) if kind == 'user error' else RuntimeError('in a worker process:\n' + value)

    def _read(self):
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            raise self._died() from None
        self.outstanding -= 1
        return answer

    def _died(self):
        self._process.join(10)  # its pipe is closed a moment before it is gone
        return UserError(f'a worker process ended unexpectedly (status {self._process.exitcode}); it may have run out '
                         f'of memory: repeat with fewer --workers')

    def end(self):
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def shared_file(size):
    """An open file without a name, in memory where possible, for processes to map.

    Its space is set aside, since to run out of it later would kill the process that writes. Raises OSError.
    """
    for folder in (None, '/dev/shm', tempfile.gettempdir()):  # the second is small in many containers
        try:
            # Python 3.6 and 3.7 have no memfd_create.
            file = tempfile.TemporaryFile(dir=folder) if folder else os.fdopen(os.memfd_create('results'), 'r+b')
            file.truncate(size)
            if hasattr(os, 'posix_fallocate'):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, size)
            return file
        except (AttributeError, OSError) as err:
            problem = err
    raise OSError(problem.errno, problem.strerror, folder)


def _map(fd, window, room):
    """The memory that a worker shares with its parent, uint8 [window, room]."""
    size = window * room
    return np.frombuffer(mmap.mmap(fd, max(size, 1)), np.uint8)[:size].reshape(window, room)


def _work(function, pipe, window, room, inherited):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    keep_freed_memory(pictures=True)
    for end in inherited:
        end.close()  # else a pipe would outlive its owner, and the workers with it
    try:
        fd = reduction.recv_handle(pipe)
    except (EOFError, ConnectionError):
        return
    memories = _map(fd, window, room)
    os.close(fd)
    for memory in itertools.cycle(memories):
        try:
            task = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = ('result', function(task, memory))
        except UserError as err:
            answer = ('user error', str(err))
        except Exception:
            answer = ('failure', traceback.format_exc())
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionError):
            return
