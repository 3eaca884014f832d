"""Spreading work over processes while keeping its order and bounding its memory."""

import collections
import multiprocessing
import os
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

    `function` is a top-level function (or a picklable object); results travel through pipes, so make tasks small in
    number and large in work. Each worker is at most `window` tasks ahead. With `workers` <= 1 all happens in this
    process. Workers are spawned, not forked, so that they may be used beside TensorFlow.

    Raises UserError as the function raised it, RuntimeError with the worker's traceback for anything else, and
    UserError if a worker was killed.
    """
    if workers <= 1:
        for task in tasks:
            yield function(task)
        return
    context = multiprocessing.get_context('spawn')
    team = []
    try:
        for _ in range(workers):
            pipe, other = context.Pipe()
            process = context.Process(target=_work, args=(function, other), daemon=True)
            process.start()
            other.close()
            team.append((process, pipe))
        pending = collections.deque()
        for number, task in enumerate(tasks):
            _send(team[number % workers], task)
            pending.append(team[number % workers])
            if len(pending) == workers * window:
                yield _receive(pending.popleft())
        while pending:
            yield _receive(pending.popleft())
    finally:
        for process, pipe in team:
            pipe.close()  # a waiting worker ends when its pipe does
        for process, pipe in team:
            process.join(0.5)
            if process.is_alive():
                process.terminate()
                process.join()


def _send(worker, task):
    process, pipe = worker
    try:
        pipe.send(task)
    except (BrokenPipeError, ConnectionError):
        raise _died(process) from None


def _receive(worker):
    process, pipe = worker
    try:
        kind, value = pipe.recv()
    except (EOFError, ConnectionError):
        raise _died(process) from None
    if kind == 'result':
        return value
    raise UserError(value) if kind == 'user error' else RuntimeError('in a worker process:\n' + value)


def _died(process):
    process.join(1)
    return UserError(f'a worker process ended unexpectedly (status {process.exitcode}); it may have run out of memory: '
                     f'repeat with fewer --workers')


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
