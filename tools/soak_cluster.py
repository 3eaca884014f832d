"""Drawn faces through all stages of data work on a cluster of this machine, with what it costs.

    python tools/soak_cluster.py [--images N] [--workers N] [--work DIR]

Draws faces of 32x32, filters them, makes a data set of the crops, splits it and verifies it. Prints for each stage
the rate, the memory of a worker, the processor time of scheduler and client, and the size of what grows.
`make soak-cluster` runs it with 200,000; docs/clusters.md says what was measured and what follows from it.
"""

import json
import os
import shutil
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
from data import ledger  # noqa: E402
from data.cluster.engine import Cluster  # noqa: E402
from data.commands import main as data_command  # noqa: E402
from data.converters.create_from_images import create_from_images  # noqa: E402
from data.prefilter.run import prefilter  # noqa: E402
from data.prefilter.settings import Settings  # noqa: E402
from data.resharding import split  # noqa: E402
from data.verify import verify  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.errors import UserError  # noqa: E402
from dnnlib.machine import peak_memory, usable_cores  # noqa: E402
from dnnlib.util import run_main  # noqa: E402


class Meter:
    """Measures stages. `rows`: what was found."""

    def __init__(self, cluster):
        self._cluster = cluster
        self.rows = []

    def run(self, stage, images, work, folder, **facts):
        """Calls `work()` and notes what it cost for so many images; `folder` is what it makes."""
        pieces, began, used = self._cluster.pieces, time.time(), time.process_time()
        work()
        seconds, used = time.time() - began, time.process_time() - used
        pieces = self._cluster.pieces - pieces
        row = dict(stage=stage, images=images, seconds=round(seconds, 1), per_second=round(images / seconds, 1),
                   worker_peak_mb=round(max(self._cluster.run_everywhere(peak_memory).values()) / 1e6),
                   own_peak_mb=round(peak_memory() / 1e6), pieces=pieces, own_cpu_seconds=round(used, 2),
                   own_cpu_ms_per_image=round(1000 * used / images, 3),
                   bytes_per_image=round(_size(folder) / images), **{key: value() for key, value in facts.items()})
        self.rows.append(row)
        print(json.dumps(row), flush=True)


def _size(folder):
    return sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(folder) for name in names)


def soak(images, workers, work):
    """Runs all stages in the new folder `work`. Returns what was measured, a list of dicts. Raises UserError."""
    def place(name):
        return os.path.join(work, name)

    data_command(['create_toyfaces', place('drawn'), '--resolution', '32', '--num', str(images)])
    data_command(['extract', place('drawn'), place('photos')])
    os.unlink(os.path.join(place('photos'), 'labels.csv'))
    with Cluster(f'local:{workers}') as cluster:
        meter = Meter(cluster)
        meter.run('prefilter', images, lambda: prefilter(Settings(place('photos'), place('faces'), margin=8, size=32),
                                                         workers, cluster=cluster), place('faces'),
                  ledger_bytes_per_row=lambda: round(os.path.getsize(ledger.ledger_path(place('faces'))) / images))
        rows = sum(1 for _ in ledger.read(ledger.ledger_path(place('faces'))))
        kept = len(ledger.kept_outputs(place('faces')))
        if rows != images:
            raise UserError(f'the ledger has {rows} rows for {images} images')
        meter.run('create_from_images', kept, lambda: create_from_images(place('set'), place('faces'), cluster=cluster),
                  place('set'))
        meter.run('split', kept, lambda: split(place('shards'), place('set'), 8), place('shards'))
        meter.run('verify', kept, lambda: verify(place('shards'), cluster), place('shards'))
    print(f'{images} images, a row in the ledger for each, {kept} kept; all sound', flush=True)
    return meter.rows


def main():
    parser = Parser(description=__doc__.split('\n')[0])
    parser.add_argument('--images', type=int, default=200000)
    parser.add_argument('--workers', type=int, default=usable_cores())
    parser.add_argument('--work', help='folder to work in (default: a new one where TMPDIR says), removed afterwards')
    args = parser.parse_args()
    if args.work:
        os.makedirs(args.work, exist_ok=True)
    work = tempfile.mkdtemp(dir=args.work)
    try:
        soak(args.images, args.workers, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    run_main(main)
