"""What stands in a run's directory, damaged or not: its ticks, networks, how it ended, and what lies beside them."""

import contextlib
import glob
import os
import re

import numpy as np

from dnnlib.errors import FileError, UserError
from dnnlib.files import read_bytes, read_json_lines, recall_json
from dnnlib.util import EasyDict
from dnnlib.values import schema
from experiment.reports.pictures import address
from training.network_files import best

CLASSIFIER = {'accuracy': 'a number from 0 to 1', 'majority': 'a number from 0 to 1', 'attribute': 'a text',
              'network': 'a text', 'total_kimg': 'a number from 0 to 1e9'}
_KEY = re.compile(r'[\w./-]{1,100}\Z', re.ASCII)     # of a number in stats.jsonl
_LARGEST = 1e30             # what curves can be drawn of


def read(run_dir, data_table):
    """All of it that a page shows: EasyDict(data: the record of the data, as far as it is one by `data_table`; stats,
    status, snapshots, stands_for, beside, classifier: see the functions below)."""
    return EasyDict(
        data=recall(run_dir, 'dataset.json', data_table), stats=read_ticks(run_dir), status=status_of(run_dir),
        snapshots=list_snapshots(run_dir), stands_for=stands_for(run_dir), beside=list_beside(run_dir),
        classifier=read_classifier(run_dir))


def read_ticks(run_dir):
    """The numbers of a run's ticks: the objects of `stats.jsonl` that say how far the run had come; [] without any."""
    lines = read_json_lines(os.path.join(run_dir, 'stats.jsonl'), absent=[])
    ticks = [{key: value for key, value in line.items() if _KEY.match(key) and type(value) in (int, float)
              and abs(value) <= _LARGEST} for line in lines]
    return [tick for tick in ticks if 0 <= tick.get('kimg', -1) <= 1e12]


def seconds_by_resolution(stats):
    """Seconds per kimg at each resolution: the median of the ticks there, which one slow tick does not move."""
    by_resolution = {}
    for tick in stats:
        if tick.get('sec_per_kimg', 0) > 0 and tick.get('resolution', 0) >= 1:
            by_resolution.setdefault(tick['resolution'], []).append(tick['sec_per_kimg'])
    return {resolution: float(np.median(values[1:] or values)) for resolution, values in by_resolution.items()}


def status_of(run_dir):
    """'running', or what the last line of run.txt says: 'finished …', 'stopped …', 'failed …'."""
    try:
        last = read_bytes(os.path.join(run_dir, 'run.txt'), 16 << 20).decode('utf-8', 'replace').split('\n')
        last = [line.strip() for line in last if line.strip()][-1]
    except (FileError, IndexError):
        return 'running'
    return 'running' if last.startswith('started') else last


def recall(run_dir, name, table):
    """What a record of the run directory holds; None where it is absent or damaged."""
    record = recall_json(os.path.join(run_dir, name))
    return None if record is None or schema.problem(record, table) else record


def list_snapshots(run_dir):
    """[(file name, kimg or None for the final one, bytes)] of the stored networks, in order."""
    result = []
    for name in os.listdir(run_dir):
        match = re.match(r'network-(?:snapshot-(\d+)|final)\.pkl$', name)
        if match:
            kimg = int(match.group(1)) if match.group(1) else None
            with contextlib.suppress(OSError):  # a link that leads nowhere, or one that was pruned meanwhile
                result.append((name, kimg, os.path.getsize(os.path.join(run_dir, name))))
    return sorted(result, key=lambda item: (item[1] is None, item[1] or 0))


def stands_for(run_dir):
    """(file name, why) of the snapshot that the run stands for; None without one."""
    try:
        path, taken = best.stands_for(run_dir)
    except UserError:
        return None
    return os.path.basename(path), taken


def read_classifier(run_dir):
    """What a finished training of a classifier recorded (see metrics.classifier_training), or None; with `bytes`, the
    size of its file, None where that is gone."""
    for path in sorted(glob.glob(os.path.join(glob.escape(run_dir), 'classifier-*.json'))):
        found = recall_json(path)
        if found is not None and not schema.problem(found, CLASSIFIER):
            file = os.path.join(run_dir, os.path.basename(found['network']))
            return dict(found, network=os.path.basename(file), bytes=os.path.getsize(file) if os.path.isfile(file) else
                        None)
    return None


def list_beside(run_dir):
    """[(what, address relative to the page)] of pages and texts in the run directory."""
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(run_dir), '*', '*.html'))):
        folder, name = os.path.split(os.path.relpath(path, run_dir))
        stem = os.path.splitext(name)[0]
        if folder != 'src' and not re.match(r'index-\d', stem):
            found.append((folder if stem in ('index', folder) else f'{folder}: {stem}', os.path.join(folder, name)))
    found += [(what, name) for what, name in (('model card', 'README.md'), ('configuration', 'config.yaml'),
                                              ('log', 'log.txt')) if os.path.isfile(os.path.join(run_dir, name))]
    return [(what, address(name)) for what, name in found]
