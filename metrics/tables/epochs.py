"""The time that a run takes for an epoch, from what it said of its ticks: a record as tables read them."""

import os

import numpy as np

from dnnlib.files import read_json_lines

EPOCH_KIMG = 30.0   # the acceleration paper's epoch, the 30,000 images of CelebA-HQ
_TICKS = 5


def read_epoch(run_dir):
    """A record of kind `epoch` with `minutes`, extrapolated from the run's last ticks at its last resolution.

    None where the run has no tick yet. Snapshots and metrics do not count.
    """
    path = os.path.join(run_dir, 'stats.jsonl')
    ticks = [tick for tick in (read_json_lines(path) if os.path.isfile(path) else [])
             if type(tick.get('sec_per_kimg')) in (int, float)]
    ticks = [tick for tick in ticks if tick.get('resolution') == ticks[-1].get('resolution')][-_TICKS:]
    if not ticks:
        return None
    seconds = float(np.median([tick['sec_per_kimg'] for tick in ticks]))
    return dict(kind='epoch', values=dict(minutes=seconds * EPOCH_KIMG / 60), sec_per_kimg=seconds,
                resolution=ticks[-1].get('resolution'), extrapolated_from_ticks=len(ticks), images=EPOCH_KIMG * 1000)
