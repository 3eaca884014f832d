"""The rate per worker of data work on a cluster beside that without: of the process pool, or of one process.

    ./reproduce shell python benchmarks/bench_cluster.py [--workers N] [--images N] [--resolution N] [--rounds N]
        [--only STAGE]

Needs the extra `cluster`; measures nothing without. Photographs are drawn faces; the contenders take turns, and what
counts is the ratio. Rates are those at work: without the start of processes, and without the building of networks.
Those of `create_from_images` are given twice: between the first finished pictures and the last ones, with as many
pieces under way at both ends, and of whole runs, whose start and end cost the more the fewer pictures there are. The
cluster's own start is given beside. On a busy machine the ratio of processor time, that of all processes together, says
more than that of the rates. `verify` and `encode` have no pool: one process does them where there is no cluster.
"""

import argparse
import itertools
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

AIM = 0.95
UNITS = ('images/s', 'images/s of processor time', 'images/s, start and end of a run included',
         'images/s of processor time, start and end of a run included')
STAGES = ('prefilter', 'create_from_images', 'verify', 'encode')
_VERIFIED = 4   # times in a row, since it is quick


def rows(workers=2, images=800, rounds=3, stages=STAGES, resolution=64):
    """Measures. Returns a list of dicts: what, figure, unit, ratio, ratio_to, floor."""
    return list(_measure(workers, images, rounds, stages, resolution))


def _measure(workers, images, rounds, stages, resolution):
    """Yields the rows, each stage's once it is measured."""
    import importlib.util
    if importlib.util.find_spec('distributed') is None:
        return
    from data.cluster.engine import Cluster
    with tempfile.TemporaryDirectory() as folder:
        few, photos, many, whole = draw(folder, images, resolution)
        codec = make_codec(folder, resolution) if 'encode' in stages else None
        began = time.time()
        with Cluster(f'local:{workers}') as cluster:
            yield dict(what=f'start of a cluster, {workers} workers', figure=time.time() - began, unit='s', ratio=None,
                       ratio_to=None, floor='once for a command; the process pool forks')
            for stage in stages:
                source = dict(prefilter=photos, create_from_images=many, verify=whole, encode=few)[stage]
                measure = dict(prefilter=filter_all, create_from_images=convert_all, verify=verify_all,
                               encode=lambda *args: encode_all(*args, codec=codec))[stage]
                found = [], []
                for number in range(rounds + 1):
                    for side, contender in enumerate((None, cluster)):
                        out = os.path.join(folder, f'{stage}-{number}-{side}')
                        rates = measure(source, out, workers, contender)
                        shutil.rmtree(out, ignore_errors=True)
                        if number:  # the first loads what it needs
                            found[side].append(rates)
                yield from compare(stage, workers, *found)


def draw(folder, images, resolution):
    """Makes a data set of drawn faces, a folder of them, one that has each eight times, and a data set of that.

    Returns their paths."""
    from data.commands import main
    few, photos, many, whole = paths = [os.path.join(folder, name) for name in ('few', 'photos', 'many', 'whole')]
    main(['create_toyfaces', few, '--resolution', str(resolution), '--num', str(images)])
    main(['extract', few, photos])
    os.unlink(os.path.join(photos, 'labels.csv'))
    os.mkdir(many)
    for name in os.listdir(photos):
        for copy in range(8):
            os.link(os.path.join(photos, name), os.path.join(many, f'{copy}-{name}'))
    main(['create_from_images', whole, many])
    return paths


def make_codec(folder, resolution):
    """A codec that nobody has trained. It is made by another process, since TensorFlow would slow the pool's start."""
    path = os.path.join(folder, 'codec.pkl')
    program = (
        'import sys; from dnnlib import tflib; from training import misc; tflib.select_device("cpu")\n'
        'with tflib.tf.Graph().as_default(), tflib.create_session().as_default():\n'
        '    misc.save_pkl(tuple(tflib.Network(name, "training.networks_codec." + name + kind, num_channels=3,\n'
        '        resolution=int(sys.argv[2])) for name, kind in zip("FHD", ("_encoder", "_decoder", "_codec"))),\n'
        '        sys.argv[1])')
    subprocess.run([sys.executable, '-c', program, path, str(resolution)], cwd=ROOT, check=True)
    return path


def compare(stage, workers, ours, theirs):
    """Rows of rounds without and with the cluster, each with a rate for the first of `UNITS`."""
    alone = 'one process' if stage in ('verify', 'encode') else 'the process pool'
    for place, unit in enumerate(UNITS[:len(ours[0])]):
        if place == 0 and alone == 'one process':
            continue    # which has all cores for its arithmetic
        before, cluster = ([values[place] for values in side] for side in (ours, theirs))
        ratios = [after / first for first, after in zip(before, cluster)]   # of neighbours in time
        yield dict(what=f'{stage} on a cluster, {workers} workers', figure=statistics.median(cluster), unit=unit,
                   ratio=statistics.median(ratios), ratio_to=alone,
                   floor=f'at least {AIM}; {min(ratios):.3f} to {max(ratios):.3f}')


class Clock:
    """Seconds, and seconds of the processor time of this process and of workers: of a cluster's, or of children."""

    def __init__(self, cluster):
        import psutil
        pids = [] if cluster is None else cluster.run_everywhere(os.getpid).values()
        self._workers = [psutil.Process(pid) for pid in pids]

    def read(self, *more):
        """(seconds, seconds of processor time); `more`: other processes of interest, of psutil."""
        own, used = os.times(), 0
        for process in list(self._workers) + list(more):
            spent = process.cpu_times()
            used += spent.user + spent.system
        return time.time(), used + own.user + own.system + own.children_user + own.children_system


def rates(count, before, after):
    """(images per second, images per second of processor time) between two readings of a clock."""
    return tuple(count / (end - begin) for begin, end in zip(before, after))


def filter_all(photos, out, workers, cluster):
    """Filters all photographs; measures between the first results and the last ones."""
    import psutil

    from data.cluster.photographs import FIRST_PORTION, ClusterPool
    from data.ledger import create
    from data.prefilter import locks
    from data.prefilter.pool import Pool
    from data.prefilter.scan import walk
    from data.prefilter.settings import Settings
    work = os.path.join(out, 'work')
    os.makedirs(work)
    ledger, lock_path = os.path.join(out, 'ledger.csv'), os.path.join(out, 'lock')
    create(ledger)
    lock, settings, clock = locks.acquire(lock_path), Settings(photos, out, size=64), Clock(cluster)
    entries, readings, done = list(walk(photos)), [], itertools.count(1)
    edge = FIRST_PORTION * workers
    pool = Pool(settings, ledger, work, lock_path, workers) if cluster is None else \
        ClusterPool(settings, ledger, work, cluster)

    others = {process.pid for process in multiprocessing.active_children()}

    def report(decision):
        if next(done) in (edge, len(entries) - edge):
            mine = {process.pid for process in multiprocessing.active_children()} - others
            readings.append(clock.read(*[psutil.Process(pid) for pid in mine]))

    pool.run(iter(entries), report)
    locks.release(lock)
    return rates(len(entries) - 2 * edge, *readings)


def convert_all(photos, out, workers, cluster):
    """Makes a data set of all pictures; measures between the first ones and the last ones, then the whole."""
    from data.cluster.engine import AHEAD
    from data.converters import create_from_images as command
    from data.converters import loading
    clock, total, usual = Clock(cluster), len(os.listdir(photos)), command.Progress
    # Pieces of the cluster shrink before the end; some are under way. Both as at the beginning, and as with the pool.
    piece = min(loading._PIECE_IMAGES, loading._PIECE_BYTES // (3 * picture_side(photos) ** 2))
    edge = min((AHEAD + loading._LAST_PIECES) * workers * piece, total // 3)
    marks = []  # (pictures, seconds, seconds of processor time)

    class Watched(usual):
        def add(self, count):
            super().add(count)
            if len(marks) < 2 and self._count >= (total - edge if marks else edge):
                import psutil
                mine = [] if cluster else [psutil.Process(one.pid) for one in multiprocessing.active_children()]
                marks.append((self._count,) + clock.read(*mine))

    before = clock.read()
    command.Progress = Watched
    try:
        command.create_from_images(out, photos, workers=workers, cluster=cluster)
    finally:
        command.Progress = usual
    return rates(marks[1][0] - marks[0][0], marks[0][1:], marks[1][1:]) + rates(total, before, clock.read())


def picture_side(photos):
    """The width of the pictures in a folder."""
    import PIL.Image
    with PIL.Image.open(os.path.join(photos, os.listdir(photos)[0])) as image:
        return image.width


def verify_all(dataset, out, workers, cluster):
    """Verifies a data set several times."""
    from data.records.dataset import TFRecordDataset
    from data.verify import verify
    clock, count = Clock(cluster), len(TFRecordDataset(dataset, prefetch_mb=0))
    before = clock.read()
    for _ in range(_VERIFIED):
        verify(dataset, cluster)
    return rates(_VERIFIED * count, before, clock.read())


def encode_all(dataset, out, workers, cluster, codec):
    """Encodes a data set without and with mirrored copies; the difference costs no start."""
    from data.converters.encode import encode
    from data.records.dataset import TFRecordDataset
    clock, readings = Clock(cluster), []
    for mirror in (False, True):
        before = clock.read()
        encode(os.path.join(out, str(mirror)), dataset, codec, mirror=mirror, device='cpu', cluster=cluster)
        readings.append([end - begin for begin, end in zip(before, clock.read())])
    return rates(len(TFRecordDataset(dataset, prefetch_mb=0)), *readings)


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--images', type=int, default=800)
    parser.add_argument('--resolution', type=int, default=64, help='side of the faces, a power of two (default: 64)')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--only', choices=STAGES, action='append', metavar='STAGE', help='one of ' + ', '.join(STAGES))
    args = parser.parse_args()
    for row in _measure(args.workers, args.images, args.rounds, args.only or STAGES, args.resolution):
        ratio = '' if row['ratio'] is None else f", {row['ratio']:.3f} of {row['ratio_to']}"
        print(f"{row['what']}: {row['figure']:.1f} {row['unit']}{ratio} ({row['floor']})", flush=True)


if __name__ == '__main__':
    run_main(main)
