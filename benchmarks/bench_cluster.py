"""The pre-filter's and the converter's rate per worker on a cluster beside that of this machine's process pool.

    ./reproduce shell python benchmarks/bench_cluster.py [--workers N] [--images N] [--rounds N]

Needs the extra `cluster`; measures nothing without. Photographs are drawn faces; the contenders take turns, and what
counts is the ratio. Rates are those at work: from the first result on, without the start of processes. On a busy
machine the ratio of processor time, that of all processes together, says more than that of the rates.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401

AIM = 0.95


def rows(workers=2, images=800, rounds=3):
    """Measures. Returns a list of dicts: what, figure, unit, ratio, ratio_to, floor."""
    import importlib.util
    if importlib.util.find_spec('distributed') is None:
        return []
    from data.cluster.engine import Cluster
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        photos, many = draw(folder, images)
        with Cluster(f'local:{workers}') as cluster:
            for name, source, measure in (('prefilter', photos, filter_all), ('create_from_images', many, convert_all)):
                measure(source, os.path.join(folder, f'{name}-first'), workers, cluster)  # loads what it needs
                found[name] = [], []
                for number in range(rounds):
                    for side, contender in enumerate((None, cluster)):
                        out = os.path.join(folder, f'{name}-{number}-{side}')
                        found[name][side].append(run(contender, measure, source, out, workers))
    return [row for name, (ours, theirs) in found.items() for row in compare(name, workers, ours, theirs)]


def draw(folder, images):
    """Makes a folder of drawn faces, and one that has each eight times. Returns their paths."""
    from data.commands import main
    main(['create_toyfaces', os.path.join(folder, 'set'), '--resolution', '64', '--num', str(images)])
    photos, many = os.path.join(folder, 'photos'), os.path.join(folder, 'many')
    main(['extract', os.path.join(folder, 'set'), photos])
    os.unlink(os.path.join(photos, 'labels.csv'))
    os.mkdir(many)
    for name in os.listdir(photos):
        for copy in range(8):
            os.link(os.path.join(photos, name), os.path.join(many, f'{copy}-{name}'))
    return photos, many


def compare(name, workers, ours, theirs):
    """Rows of the pool's and the cluster's (images per second, images per second of processor time) by round."""
    # The pool's processes of the pre-filter spend seconds of processor time on their start; a cluster's have started.
    units = ('images/s', 'images/s of processor time')[:1 if name == 'prefilter' else 2]
    for place, unit in enumerate(units):
        pool, cluster = ([values[place] for values in side] for side in (ours, theirs))
        yield dict(what=f'{name} on a cluster, {workers} workers', figure=statistics.median(cluster), unit=unit,
                   ratio=statistics.median(cluster) / statistics.median(pool), ratio_to='the process pool',
                   floor=f'at least {AIM}')


def run(cluster, measure, source, out, workers):
    """(images per second, images per second of the processor time of all processes) of one run."""
    def processor_time():
        spent = os.times()
        theirs = 0 if cluster is None else sum(cluster.run_everywhere(time.process_time).values())
        return spent.user + spent.system + (spent.children_user + spent.children_system if cluster is None else theirs)

    before, began = processor_time(), time.time()
    rate = measure(source, out, workers, cluster)
    used, seconds = processor_time() - before, time.time() - began
    count = len(os.listdir(source))
    return rate or count / seconds, count / used


def filter_all(photos, out, workers, cluster):
    """Filters all photographs. Returns images per second between the first results and the last ones."""
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
    lock, settings, times = locks.acquire(lock_path), Settings(photos, out, size=64), []
    pool = Pool(settings, ledger, work, lock_path, workers) if cluster is None else \
        ClusterPool(settings, ledger, work, cluster)
    pool.run(walk(photos), lambda decision: times.append(time.time()))
    locks.release(lock)
    edge = FIRST_PORTION * workers
    return (len(times) - 2 * edge) / (times[-edge - 1] - times[edge - 1])


def convert_all(photos, out, workers, cluster):
    """Makes a data set of all pictures; the processes of the pool are quick to start."""
    from data.converters.create_from_images import create_from_images
    create_from_images(out, photos, workers=workers, cluster=cluster)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--images', type=int, default=800)
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    for row in rows(args.workers, args.images, args.rounds):
        print(f"{row['what']}: {row['figure']:.1f} {row['unit']}, {row['ratio']:.3f} of {row['ratio_to']} "
              f"({row['floor']})", flush=True)


if __name__ == '__main__':
    main()
