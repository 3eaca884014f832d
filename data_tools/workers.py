"""Spreading work over processes while keeping its order and bounding its memory."""

import collections
import multiprocessing
import os
import pickle
import signal
import traceback

from dnnlib.util import UserError


def available_cores():
    """The number of processor cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def ordered_map(function, tasks, workers, window=3):
    """Yields `function(task)` for each task, in order, computed by `workers` processes.

    `function` is a top-level function (or a picklable object); tasks and results travel through pipes, so make them
    few and the work for each large. Each worker is at most `window` tasks ahead. With `workers` <= 1 all happens in
    this process. Workers are spawned, not forked, so that they may be used beside TensorFlow.

    Raises UserError as the function raised it, RuntimeError with the worker's traceback for anything else, and
    UserError if a worker was killed.
    """
    if workers <= 1:
        for task in tasks:
            yield function(task)
        return
    team = []
    try:
        for _ in range(workers):
            team.append(_Worker(function))
        pending = collections.deque()
        for number, task in enumerate(tasks):
            worker = team[number % workers]
            worker.send(task)
            pending.append(worker)
            if len(pending) == workers * window:
                yield pending.popleft().receive()
        while pending:
            yield pending.popleft().receive()
    finally:
        for worker in team:
            worker.pipe.close()  # a waiting worker ends when its pipe does
        for worker in team:
            worker.end()


class _Worker:
    """The parent's side of one process: tasks go in, answers come out in the same order."""

    _SMALL = 8192  # bytes; a few such tasks fit into a pipe that nobody reads

    def __init__(self, function):
        context = multiprocessing.get_context('spawn')
        self.pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(function, other), daemon=True)
        self._process.start()
        other.close()
        self._answers = collections.deque()  # received before they were asked for
        self._outstanding = 0

    def send(self, task):
        data = pickle.dumps(task, protocol=4)
        if len(data) > self._SMALL:
            # Both sides may not write at once: first take what the worker has to say.
            while self._outstanding:
                self._answers.append(self._read())
        try:
            self.pipe.send_bytes(data)
        except (BrokenPipeError, ConnectionError):
            raise self._died() from None
        self._outstanding += 1

    def receive(self):
        kind, value = self._answers.popleft() if self._answers else self._read()
        if kind == 'result':
            return value
        raise UserError(value) if kind == 'user error' else RuntimeError('in a worker process:\n' + value)

    def _read(self):
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            raise self._died() from None
        self._outstanding -= 1
        return answer

    def _died(self):
        self._process.join(1)
        return UserError(f'a worker process ended unexpectedly (status {self._process.exitcode}); it may have run out '
                         f'of memory: repeat with fewer --workers')

    def end(self):
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _work(function, pipe):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    while True:
        try:
            task = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = ('result', function(task))
        except UserError as err:
            answer = ('user error', str(err))
        except Exception:
            answer = ('failure', traceback.format_exc())
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionError):
            return
