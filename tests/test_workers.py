"""Worker processes: order, failures, and the memory that they share with their parent."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from data import workers
from data.workers import ordered_fill, ordered_map
from dnnlib.util import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(params=['fork', 'spawn'])
def start(request, monkeypatch):
    """Starts workers in both ways, whatever this process has imported."""
    monkeypatch.setattr(workers, '_NOT_TO_FORK', ('sys',) if request.param == 'spawn' else ())


def double(task):
    if task == 'fail':
        raise ValueError('odd')
    if task == 'user':
        raise UserError('what to do')
    if task == 'die':
        os.kill(os.getpid(), signal.SIGKILL)
    return task * 2


def fill(task, memory):
    memory[:] = task
    return task * 2


@pytest.mark.usefixtures('start')
def test_results_keep_their_order():
    assert list(ordered_map(double, range(20), 2)) == [2 * i for i in range(20)]


def test_no_more_workers_start_than_there_are_tasks(monkeypatch):
    started, real = [], workers._Worker
    monkeypatch.setattr(workers, '_Worker', lambda *args: started.append(args) or real(*args))
    assert list(ordered_map(double, range(3), 64)) == [0, 2, 4] and len(started) == 3


def test_large_tasks_and_large_results_do_not_wait_for_each_other():
    tasks = [bytes([i]) * 300000 for i in range(12)]
    assert list(ordered_map(double, tasks, 2)) == [task * 2 for task in tasks]


@pytest.mark.usefixtures('start')
@pytest.mark.parametrize('task, error, text', [('fail', RuntimeError, 'ValueError: odd'),
                                               ('user', UserError, 'what to do'),
                                               ('die', UserError, r'ended unexpectedly \(status -9\)')])
def test_failures_reach_the_parent(task, error, text):
    with pytest.raises(error, match=text):
        list(ordered_map(double, [1, 2, task, 3], 2))


@pytest.mark.usefixtures('start')
@pytest.mark.parametrize('count, most_shared', [(1, 1 << 20), (2, 1 << 20), (3, 1 << 20), (2, 1)])
def test_each_result_is_found_in_the_memory_that_comes_with_it(monkeypatch, count, most_shared):
    monkeypatch.setattr(workers, '_MOST_SHARED', most_shared)  # with the last one, a worker is never ahead
    seen = []
    for result, memory in ordered_fill(fill, range(40), count, 70000):
        assert memory.shape == (70000,) and (memory == result // 2).all()
        seen.append(result)
    assert seen == list(range(0, 80, 2))


class Release:
    """Task 0 is done once task 6 is, whose file it waits for."""

    def __init__(self, marker):
        self._marker = marker

    def __call__(self, task):
        if task == 6:
            self._marker.touch()
        deadline = time.time() + 100
        while task == 0 and not self._marker.exists():
            assert time.time() < deadline
            time.sleep(0.01)
        return task


def test_nobody_waits_for_a_worker_that_is_slow(tmp_path):
    assert list(ordered_map(Release(tmp_path / 'marker'), range(12), 2, window=6)) == list(range(12))


@pytest.mark.parametrize('left_alone', [(), ('sys',)])
def test_workers_end_with_a_parent_that_is_killed(left_alone):
    script = ('import time\nfrom data import workers\n'
              f'workers._NOT_TO_FORK = {left_alone!r}\n'
              'for _ in workers.ordered_map(abs, range(100), 2):\n    print("working", flush=True)\n    time.sleep(99)')
    parent = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, cwd=str(ROOT))
    assert parent.stdout.readline() == b'working\n'
    parent.kill()
    parent.communicate(timeout=300)  # which also waits until the workers, who share the output, are gone


def test_memory_can_be_shared_where_the_system_has_no_nameless_files_in_memory(monkeypatch):
    monkeypatch.delattr(os, 'memfd_create', raising=False)
    sums = [int(memory.sum(dtype=np.int64)) for _, memory in ordered_fill(fill, range(7), 2, 1000)]
    assert sums == [1000 * task for task in range(7)]


def test_too_little_memory_to_share_is_an_error_before_work_begins(monkeypatch):
    kinds = []

    def full(*args):
        kinds.append(args)
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(OSError, match='No space left') as caught:
        list(ordered_fill(fill, range(7), 2, 1000))
    assert len(kinds) >= 2 and caught.value.filename == tempfile.gettempdir()
