"""A team of worker processes that may die, and what to do then."""

import collections
import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import time

from data import ledger
from data.prefilter.worker import work
from data.workers import ONE_THREAD, environment
from dnnlib.util import UserError

CHUNK = 8
"""Photographs sent to a worker at a time; it has at most twice as many."""

ATTEMPTS = 3
"""How often a photograph may end its worker before it is given up."""

IMAGE_SECONDS = 900
"""A worker that says nothing for so long is killed, and its photograph given up."""

_START = 'spawn'    # TensorFlow does not survive a fork
_STILLBORN = 3
_SECONDS_TO_STOP = 30

# These networks are too small for a GPU, whose memory every process would take a share of.
_ENVIRONMENT = dict(ONE_THREAD, CUDA_VISIBLE_DEVICES='-1')


def given_up(entry, reason, settings):
    """The row of a photograph that is not tried again: it took too long ('timeout'), or 'crashed' too often."""
    detail = {'timeout': f'no result within {IMAGE_SECONDS} seconds',
              'crashed': f'ended {ATTEMPTS} worker processes'}[reason]
    return ledger.row(entry.path, ledger.REJECTED, reason, detail=detail, settings=settings)


class _Member:
    """One worker process as the parent sees it."""

    def __init__(self, context, arguments):
        self.pipe, other = context.Pipe()
        with environment(_ENVIRONMENT):
            self.process = context.Process(target=work, args=arguments + (other,), daemon=True)
            self.process.start()
        other.close()
        self.tasks = collections.OrderedDict()  # number → Entry, in the order of the work
        self.offset = 0  # the ledger's size when the first of them was sent
        self.current = None  # number of the one it works on
        self.ready = self.overdue = False
        self.heard = time.time()

    def kill(self):
        self.process.terminate()


class Pool:
    """Puts photographs through worker processes.

    Args:
        settings: `Settings`.
        ledger_path, temp_folder, lock_path: where workers write rows, put unfinished crops, and share the run's lock.
        num_workers: number of processes.

    `versions`: of the libraries that the workers use, once one of them has started.
    """

    def __init__(self, settings, ledger_path, temp_folder, lock_path, num_workers):
        self._context = multiprocessing.get_context(_START)
        self._arguments = (settings, ledger_path, temp_folder, lock_path)
        self._settings, self._ledger_path = settings, ledger_path
        self._num_workers = num_workers
        self._team = []
        self._retries = collections.deque()  # lists of Entry
        self._attempts = collections.Counter()
        self._stillborn = 0
        self.versions = {}
        self._number = 0

    def run(self, entries, report):
        """Works on all entries of an iterator, calling `report(decision)` for each that is done.

        Raises UserError if workers cannot start or write. Workers are ended when it returns or raises; what they have
        begun is finished first.
        """
        entries = iter(entries)
        try:
            while True:
                more = self._hand_out(entries)
                if not self._team and not more:
                    return
                self._listen(report)
        finally:
            self._stop()

    def _hand_out(self, entries):
        """Keeps all workers supplied. Returns False once there is nothing left to hand out and nothing under way."""
        while True:
            hungry = [member for member in self._team if len(member.tasks) <= CHUNK]
            if not hungry and len(self._team) == self._num_workers:
                return True
            chunk = self._retries.popleft() if self._retries else self._take(entries)
            if not chunk:
                break
            if len(self._team) < self._num_workers:
                self._team.append(_Member(self._context, self._arguments))
                member = self._team[-1]
            else:
                member = min(hungry, key=lambda candidate: len(candidate.tasks))
            self._send(member, chunk)
        if any(member.tasks for member in self._team):
            return True
        self._stop()
        return False

    def _take(self, entries):
        return list(itertools.islice(entries, CHUNK))

    def _send(self, member, chunk):
        if not member.tasks:
            member.heard = time.time()
            member.offset = os.path.getsize(self._ledger_path)
        numbered = []
        for entry in chunk:
            numbered.append((self._number, entry))
            member.tasks[self._number] = entry
            self._number += 1
        with contextlib.suppress(ConnectionError):  # a worker that just died is met in `_listen`
            member.pipe.send(numbered)

    def _listen(self, report):
        pipes = {member.pipe: member for member in self._team}
        for pipe in multiprocessing.connection.wait(list(pipes), timeout=5):
            member = pipes[pipe]
            try:
                message = pipe.recv()
            except (EOFError, ConnectionError):
                self._bury(member, report)
                continue
            member.heard = time.time()
            if message[0] == 'done':
                del member.tasks[message[1]]
                report(message[2])
            elif message[0] == 'begin':
                member.current = message[1]
            elif message[0] == 'ready':
                member.ready, self._stillborn, self.versions = True, 0, message[1]
            elif message[0] == 'leaving':
                self._team.remove(member)
                self._retries.append(list(member.tasks.values()))
                pipe.close()
                member.process.join()
            else:
                raise UserError(message[1])
        for member in self._team:
            if member.tasks and not member.overdue and time.time() - member.heard > IMAGE_SECONDS:
                member.overdue = True
                member.kill()

    def _bury(self, member, report):
        """Deals with what a dead worker left behind: finished, guilty, or to be done again."""
        self._team.remove(member)
        member.pipe.close()
        member.process.join()
        if not member.ready:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise UserError(f'worker processes end while they start (status {member.process.exitcode}); there may '
                                'be too little memory: try fewer --workers')
        saved = {row.path for row in ledger.read(self._ledger_path, member.offset)
                 if ledger.is_complete(row, self._settings.out)}
        left = collections.OrderedDict()
        for number, entry in member.tasks.items():
            if ledger.path_text(entry.path) in saved:
                report(None)
            else:
                left[number] = entry
        suspect = left.pop(member.current, None)
        if suspect is not None:
            self._attempts[suspect.path] += 1
            if member.overdue or self._attempts[suspect.path] >= ATTEMPTS:
                self._give_up(suspect, 'timeout' if member.overdue else 'crashed')
                report(ledger.REJECTED)
            else:
                self._retries.append([suspect])
        if left:
            self._retries.append(list(left.values()))

    def _give_up(self, entry, reason):
        appender = ledger.Appender(self._ledger_path)
        appender.add(given_up(entry, reason, self._settings))
        appender.close()

    def _stop(self):
        for member in self._team:
            with contextlib.suppress(OSError):
                member.pipe.send(None)
        deadline = time.time() + _SECONDS_TO_STOP
        for member in self._team:
            # Reading on keeps a worker that still reports from waiting for a full pipe.
            with contextlib.suppress(EOFError, OSError):
                while member.pipe.poll(max(deadline - time.time(), 0)):
                    member.pipe.recv()
            member.process.join(max(deadline - time.time(), 0.1))
            if member.process.is_alive():
                member.kill()
                member.process.join()
            member.pipe.close()
        self._team = []
