"""The pre-filter's photographs on a cluster: what `data.prefilter.pool` is on one machine.

Each portion of photographs has a small ledger of its own, which its worker writes while it goes on. So nothing that is
finished is lost with a worker, a scheduler or this process, and nothing of it is done again. Once a portion is done,
its rows move into the ledger of the run.
"""

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

FIRST_PORTION, LARGEST_PORTION = 16, 64
"""Photographs of a piece of work. They grow, so that few photographs keep many workers busy, too."""


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
        work = Portion(self._settings, self._folder)
        for number, versions in self._cluster.map(work, _portions(iter(entries)), ordered=False, is_noted=True):
            self.versions = versions
            for row in _fold(self._folder, f'{number:09}-', self._ledger_path):
                report(row.decision)
            forget(self._folder, number)


def _portions(entries):
    """Yields (number, list of entries)."""
    for number in itertools.count():
        portion = list(itertools.islice(entries, min(FIRST_PORTION + 4 * number, LARGEST_PORTION)))
        if not portion:
            return
        yield number, portion


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
    """What a worker process does with (number, entries): crops and rows, but for what earlier tries have finished."""

    def __init__(self, settings, folder):
        self._settings, self._folder = settings, folder
        self._examiner = None

    def __call__(self, task):
        number, entries = task
        if self._examiner is None:
            os.environ['CUDA_VISIBLE_DEVICES'] = '-1'  # as in the processes of `Pool`
            self._examiner = Examiner(self._settings)
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
        return number, self._examiner.versions()


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
