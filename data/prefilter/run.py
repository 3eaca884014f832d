"""One run over one shard, from the folder to the summary; and the joining of shards."""

import contextlib
import glob
import hashlib
import os
import re
import shutil
import signal
import sys
import time

import numpy as np

from data import ledger
from data.cluster.photographs import ClusterPool, recover
from data.prefilter import limits, locks, sheets, summary
from data.prefilter.pool import Pool
from data.prefilter.scan import walk
from data.prefilter.settings import DETECTOR
from data.prefilter.weights import find_weights_file
from dnnlib.files import make_folders, recall_json, write_json
from dnnlib.progress import Progress
from dnnlib.util import UserError


def prefilter(settings, workers, shard=None, resume=False, cluster=None):
    """Finds, crops and records the faces of all photographs in `settings.folder`.

    Args:
        settings: `Settings`.
        workers: number of processes.
        shard: (i, n) with 1 <= i <= n, or None for everything.
        resume: go on with a ledger that is there already.
        cluster: `Cluster` whose workers do it, in place of processes here.

    Returns:
        the summary, a dict.

    Raises:
        UserError: the folders cannot be used, the ledger is there already or was made with other settings, another run
            works on it, or nothing can be written.
    """
    if settings.detector == DETECTOR and settings.landmarks is None:
        find_weights_file()  # said at once, and not by every worker
    _check_folders(settings)
    lists = _survey_lists(settings)
    suffix = '' if shard is None else f'-{shard[0]}-of-{shard[1]}'
    # Names by shard number modulo n, so that two spellings of one shard meet.
    work_folder = os.path.join(settings.out, '.prefilter' + ('' if shard is None else
                                                             f'-{shard[0] % shard[1]}-of-{shard[1]}'))
    _make_folder(work_folder)
    lock_path, temp_folder = os.path.join(work_folder, 'lock'), os.path.join(work_folder, 'unfinished')
    lock = locks.acquire(lock_path)
    try:
        ledger_path = os.path.join(settings.out, f'ledger{suffix}.csv')
        if resume:
            ledger.unseal(ledger_path)
        if resume and os.path.exists(ledger_path):
            recover(temp_folder, ledger_path)
        shutil.rmtree(temp_folder, ignore_errors=True)
        _make_folder(temp_folder)
        summary_path = os.path.join(settings.out, f'summary{suffix}.json')
        done = _start_ledger(ledger_path, summary_path, settings, resume)
        start = time.time()
        pool = Pool(settings, ledger_path, temp_folder, lock_path, workers) if cluster is None else \
            ClusterPool(settings, ledger_path, temp_folder, cluster)
        with _sigterm_as_interrupt():
            counted = _run(pool, settings, shard, done)
        run = {'images': counted, 'seconds': round(time.time() - start, 3), 'workers': workers,
               'images_per_second': round(counted / max(time.time() - start, 1e-6), 2), 'versions': pool.versions}
        ledger.merge([ledger_path], ledger_path)
        result = _conclude(settings.folder, settings.out, suffix, run, lists)
        shutil.rmtree(work_folder, ignore_errors=True)
    except KeyboardInterrupt:
        print('what is done is safe; the same command with --resume goes on', file=sys.stderr)
        raise
    finally:
        locks.release(lock)
    return result


def merge(out):
    """Joins the ledgers of all shards in the folder `out` into `ledger.csv` and summarizes it.

    Raises UserError if there are none, one is missing or unfinished, or their settings differ.
    """
    shards = {}
    for path in glob.glob(os.path.join(glob.escape(out), 'ledger-*-of-*.*')):
        match = re.match(r'ledger-([0-9]+)-of-([0-9]+)\.(?:csv|parquet)\Z', os.path.basename(path))
        if match:
            shards.setdefault(int(match.group(2)), {})[int(match.group(1)) % max(int(match.group(2)), 1)] = path
    if not shards:
        raise UserError(f"'{out}' holds no ledgers of shards (ledger-I-of-N.csv)" if os.path.isdir(out)
                        else f"'{out}' does not exist")
    if len(shards) > 1:
        raise UserError(f"'{out}' holds ledgers of {' and of '.join(str(n) for n in sorted(shards))} shards; "
                        'remove those that do not belong together')
    count, found = shards.popitem()
    missing = [f'{i or count}/{count}' for i in range(count) if i not in found]
    if missing:
        raise UserError(f"'{out}' lacks the ledgers of the shards {', '.join(missing)}; run them first")
    folders = set()
    for path in found.values():
        part = recall_json(os.path.splitext(path.replace('ledger-', 'summary-'))[0] + '.json')
        if part is None:
            raise UserError(f"'{path}' is of a shard that is not finished; end it with --resume")
        folders.add(part['folder'])
    settings = {item.settings for path in found.values() for item in ledger.read(path)}
    if len(settings) > 1:
        raise UserError(f"the shards in '{out}' were made with different settings: {'; '.join(sorted(settings))}")
    ledger.merge([found[i] for i in sorted(found)], os.path.join(out, 'ledger.csv'))
    return _conclude(folders.pop() if len(folders) == 1 else None, out, '', None)


def _check_folders(settings):
    if not os.path.isdir(settings.folder):
        raise UserError(f"'{settings.folder}' is not a folder" if os.path.lexists(settings.folder)
                        else f"'{settings.folder}' does not exist")
    source, out = (os.path.join(os.path.realpath(path), '') for path in (settings.folder, settings.out))
    if source.startswith(out):
        raise UserError(f"the crops cannot go to '{settings.out}', which is or holds the folder of photographs; "
                        'choose a new folder')
    _make_folder(settings.out)


def _survey_lists(settings):
    """Shows the lists all files of the folder, whatever the shard, so that each line means the same one everywhere.

    Returns what the summary says about them."""
    facts = {}
    for option, listed in (('--include-list', settings.include), ('--exclude-list', settings.exclude)):
        if listed is not None:
            listed.survey(settings.folder, (entry.path for entry in walk(settings.folder, settings.out)
                                            if entry.reason is None))
            print(listed.describe(option, 'files'), flush=True)
            facts[option[2:].replace('-', '_')] = listed.facts()
    return facts


def _make_folder(path):
    try:
        make_folders(path)
    except OSError as err:
        raise UserError(f"cannot make the folder '{path}': {err.strerror}") from None
    if not os.access(path, os.W_OK):
        raise UserError(f"cannot write to the folder '{path}': permission denied")


def _start_ledger(path, summary_path, settings, resume):
    """Makes the ledger, or brings one that is there into order. Returns the paths done so far, as a `_PathSet`.

    Of settings, the limits may be others than before: its rows are judged by them, and crops that they leave out go.
    """
    if not os.path.exists(path) and not os.path.exists(ledger.sealed_path(path)):
        _remove(summary_path)
        ledger.create(path)
        return _PathSet([])
    if not resume:
        raise UserError(f"'{path}' is there already; go on with it by --resume, or choose another folder for the crops")
    for text in sorted({item.settings for item in ledger.read(path)}):
        if limits.apart(text) != limits.apart(str(settings)):
            raise UserError(f"'{path}' was begun with other settings ({text}), now they are {settings}; use those, of "
                            'which --min-crop and --min-score may change, or choose another folder for the crops')
    _remove(summary_path)  # it says that the ledger is complete
    done, changed = [], {'out': 0, 'again': 0}

    def complete_rows():
        for item in ledger.read(path):
            judged = limits.judge_again(item, settings)
            if judged is None:
                changed['again'] += 1
                continue
            if judged.decision != item.decision:
                if '..' in item.output.split('/'):
                    raise UserError(f"'{path}' is damaged: its crop '{item.output}' is not in its folder")
                changed['out'] += 1
                _remove(ledger.find(settings.out, item.output))
            if ledger.is_complete(judged, settings.out):
                done.append(_PathSet.key(judged.path))
                yield judged

    ledger.write(path, complete_rows())
    if any(changed.values()):
        print(f"by the limits of now, {changed['out']} crops of the ledger are left out, and {changed['again']} "
              'photographs are looked at again', flush=True)
    return _PathSet(done)


def _remove(path):
    if path is not None and os.path.exists(path):
        os.unlink(path)


class _PathSet:
    """A set of ledger paths in 16 bytes each. `keys`: what `key` makes of them."""

    def __init__(self, keys):
        self._keys = np.sort(np.array(keys, 'S16'))

    def __len__(self):
        return len(self._keys)

    def __contains__(self, path):
        key = np.array(self.key(path), 'S16')
        place = np.searchsorted(self._keys, key)
        return place < len(self._keys) and self._keys[place] == key

    @staticmethod
    def key(path):
        return hashlib.sha256(path.encode('utf-8')).digest()[:16]


@contextlib.contextmanager
def _sigterm_as_interrupt():
    """Ends a run as politely on `kill` as on Ctrl-C."""
    def interrupt(signum, frame):
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, where signals are somebody else's business
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(pool, settings, shard, done):
    """Returns the number of images done."""
    counts = {'now': 0}

    def entries():
        for entry in walk(settings.folder, settings.out, (0, 1) if shard is None else (shard[0] % shard[1], shard[1])):
            if not len(done) or ledger.path_text(entry.path) not in done:
                yield entry

    with Progress('prefilter', None) as progress:
        def report(decision):
            counts['now'] += 1
            progress.add(1)

        pool.run(entries(), report)
    return counts['now']


def _conclude(folder, out, suffix, run, lists=None):
    """Writes the summary and the contact sheets of a complete ledger."""
    path = ledger.seal(os.path.join(out, f'ledger{suffix}.csv'))
    result = summary.summarize(ledger.read(path))
    if not result['files'] and not suffix:  # a shard of a few files may have none
        raise UserError(f"'{folder}' holds no files")
    result.update(folder=folder and os.path.abspath(folder), ledger=summary.describe_ledger(path), run=run)
    result['lists'] = lists or {}
    result['contact_sheets'] = sheets.draw(path, folder, out, suffix)
    write_json(os.path.join(out, f'summary{suffix}.json'), result, indent=2)
    return result
