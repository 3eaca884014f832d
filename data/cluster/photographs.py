"""The pre-filter's photographs on a cluster: what `data.prefilter.pool` is on one machine.

Each portion of photographs has a small ledger of its own, which its worker writes while it goes on. So nothing that is
finished is lost with a worker, a scheduler or this process, and nothing of it is done again. Once a portion is done,
its rows move into the ledger of the run.
"""

import collections
import contextlib
import copy
import glob
import itertools
import os
import threading
import time

from data import ledger
from data.cluster.attempts import Attempt, forget, own_name
from data.prefilter.pool import IMAGE_SECONDS, given_up
from data.prefilter.worker import Examiner, Saver

FIRST_PORTION, LARGEST_PORTION = 16, 512
"""Photographs of a piece of work. They grow until one takes a second, so that few photographs keep many workers busy,
too, and become small again towards the end."""

_SECONDS = 1.0
_LAST_PORTIONS = 3   # of each worker, that become smaller
_FORESIGHT = 4096    # photographs that are looked at before their turn, to see the end come


class ClusterPool:
    """Puts photographs through the workers of a `Cluster`.

    settings: `Settings`; ledger_path: of the run; folder: for the ledgers of portions, seen by all workers.
    `versions`: of the libraries that the workers use, once a portion is done.
    """

    def __init__(self, settings, ledger_path, folder, cluster):
        self._settings = copy.copy(settings)
        self._settings.folder, self._settings.out = (os.path.abspath(path) for path in (settings.folder, settings.out))
        self._ledger_path, self._folder, self._cluster = ledger_path, os.path.abspath(folder), cluster
        self.versions = {}

    def run(self, entries, report):
        """Works on all entries of an iterator, calling `report(decision)` for each that is done. Raises UserError."""
        self._cluster.check_folder(self._folder)
        work, portions = Portion(self._settings, self._folder), _Portions(entries, self._cluster)
        for number, versions, seconds in self._cluster.map(work, portions, ordered=False, is_noted=True):
            self.versions = versions
            portions.learn(seconds)
            for row in _fold(self._folder, f'{number:09}-', self._ledger_path):
                report(row.decision)
            forget(self._folder, number)


class _Portions:
    """Iterates over (number, list of entries)."""

    def __init__(self, entries, cluster):
        self._entries, self._cluster = iter(entries), cluster
        self._ahead = collections.deque()
        self._number, self._size = -1, FIRST_PORTION

    def __iter__(self):
        return self

    def __next__(self):
        size = self._size
        wanted = min(_LAST_PORTIONS * self._cluster.num_workers * size, _FORESIGHT)
        self._ahead.extend(itertools.islice(self._entries, max(wanted - len(self._ahead), 0)))
        if not self._ahead:
            raise StopIteration
        if len(self._ahead) < wanted:   # the end is near
            size = max(FIRST_PORTION, len(self._ahead) // (_LAST_PORTIONS * self._cluster.num_workers))
        self._number += 1
        return self._number, [self._ahead.popleft() for _ in range(min(size, len(self._ahead)))]

    def learn(self, seconds):
        """Says how long a worker took for a photograph."""
        fitting = int(_SECONDS / max(seconds, 1e-6))
        self._size = max(FIRST_PORTION, min(fitting, 2 * self._size, LARGEST_PORTION))


def recover(folder, ledger_path):
    """Moves what a run that was stopped left in the ledgers of its portions into its own."""
    if os.path.isdir(folder):
        _fold(folder, '', ledger_path)


def _fold(folder, prefix, ledger_path):
    """Moves rows from the ledgers of portions to that of the run. Returns them, each path's last."""
    paths = _ledgers(folder, prefix)
    rows = {row.path: row for path in paths for row in ledger.read(path)}
    appender = ledger.Appender(ledger_path)
    try:
        appender.add(*rows.values())
    finally:
        appender.close()
    for path in paths:
        os.unlink(path)
    return list(rows.values())


def _ledgers(folder, prefix):
    return sorted(glob.glob(os.path.join(glob.escape(folder), f'{prefix}*.csv')), key=os.path.getmtime)


class Portion:
    """What a worker process does with (number, entries): crops and rows, but for what earlier tries have finished.

    Returns (number, versions, seconds for each photograph).
    """

    def __init__(self, settings, folder):
        self._settings, self._folder = settings, folder
        self._examiner = None

    def __call__(self, task):
        number, entries = task
        if self._examiner is None:
            os.environ['CUDA_VISIBLE_DEVICES'] = '-1'  # as in the processes of `Pool`
            self._examiner = Examiner(self._settings)
        began = time.time()
        done = {row.path for path in _ledgers(self._folder, f'{number:09}-') for row in ledger.read(path)
                if ledger.is_complete(row, self._settings.out)}
        own = os.path.join(self._folder, f'{number:09}-{own_name()}.csv')
        _begin_ledger(own)
        saver = Saver(self._settings, own, self._folder, lambda message: None)
        try:
            with Attempt(self._folder, number) as attempt, _Watch(own, self._settings) as watch:
                for place, entry in enumerate(entries):
                    if ledger.path_text(entry.path) in done:
                        continue
                    watch.begin(entry)
                    row, png = self._examiner.examine(entry) if attempt.begin(place) else \
                        (given_up(entry, 'crashed', self._settings), None)
                    saver.save(place, row, entry.output, png)
                saver.flush()
        finally:
            saver.close()
        return number, self._examiner.versions(), (time.time() - began) / len(entries)


def _begin_ledger(path):
    """Makes a ledger without rows; one without its first line, as a full disk leaves it, could not be gone on with."""
    new = path + '.new'
    try:
        with open(new, 'w') as f:
            f.write(ledger.to_text([ledger.COLUMNS]))
        os.rename(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


class _Watch:
    """Ends this process, with a row in the ledger at `path`, when a photograph takes too long."""

    def __init__(self, path, settings):
        self._path, self._settings = path, settings
        self._entry, self._since = None, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def begin(self, entry):
        self._entry, self._since = entry, time.time()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._stop.set()

    def _work(self):
        while not self._stop.wait(1):
            if self._entry is not None and time.time() - self._since > IMAGE_SECONDS:
                ledger.Appender(self._path).add(given_up(self._entry, 'timeout', self._settings))
                os._exit(1)
