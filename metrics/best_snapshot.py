"""Keeps the snapshot with the best FID of a run under a name of its own, as the papers report it."""

import os
import shutil

from dnnlib.util import UserError, atomic_path
from metrics.scores import records

# Scores are compared only where these agree.
PROTOCOL = ('metric', 'settings', 'seed', 'is_standin', 'dataset_fingerprint', 'mirror_augment')


def update(run_dir, network_path, record):
    """Makes the network `network-best-<metric>.pkl` of its run if its FID is the lowest so far under this protocol.

    `best-<metric>.json` in the run directory is the record of the best score. Under another protocol the old score
    does not count, but a quick look with fewer samples replaces nothing. Returns whether it changed.
    """
    name = record['metric']
    value = record.get('value')
    if not name.startswith('fid') or value is None:
        return False
    record_path = os.path.join(run_dir, f'best-{name}.json')
    best = _read(record_path)
    if best is not None and best.get('value') is not None:
        is_comparable = all(best.get(key) == record.get(key) for key in PROTOCOL)
        if best['value'] <= value if is_comparable else record.get('is_reduced') and not best.get('is_reduced'):
            return False
    best_path = os.path.join(run_dir, f'network-best-{name}.pkl')
    with atomic_path(best_path) as temp:
        try:
            os.link(network_path, temp)  # snapshots are never written to again, so one copy on the disk is enough
        except OSError:
            shutil.copyfile(network_path, temp)
    records.write_record(record_path, record)
    print(f"{name} {value:.4f} is the run's best so far: kept as {os.path.basename(best_path)}", flush=True)
    return True


def _read(path):
    if not os.path.isfile(path):
        return None
    try:
        return records.read_record(path)
    except UserError:
        return None  # damaged: replaced
