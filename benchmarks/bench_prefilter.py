"""The pre-filter's rate beside that of the `mtcnn` package in one process, on photographs of CelebA's size.

    ./reproduce shell python benchmarks/bench_prefilter.py [FOLDER]

FOLDER: photographs; default `data/photos/portraits-small` of what REFERENCE_DIR names. All rates are medians over
rounds in which the contenders take turns, so that a busy machine slows them alike; what counts is the ratio.
"""

import argparse
import os
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
from dnnlib.util import UserError, run_main  # noqa: E402

ROUNDS = 5
SIDE_PHOTOS = 60
OUR_PHOTOS = 160  # per process and round, after those that warm it up
WARM_UP = 16
FLOOR = 'per image: 0.25 G multiply-adds in the networks, a JPEG of 40, a PNG of 65 thousand pixels'


def rows(folder=None, rounds=ROUNDS):
    """Measures. Returns a list of dicts: what, figure, unit, ratio, ratio_to, floor; figure and ratio are None where
    the package does not run. Raises UserError where no photographs are."""
    from data.images import list_images
    from dnnlib.machine import usable_cores
    if folder is None:
        if 'REFERENCE_DIR' not in os.environ:
            raise UserError('photographs are needed: name a folder of some, such as CelebA\'s img_align_celeba')
        folder = os.path.join(os.environ['REFERENCE_DIR'], 'data', 'photos', 'portraits-small')
    photos = [os.path.join(folder, name) for name in list_images(folder)[0]]
    cores = usable_cores()
    rates = {key: [] for key in ('package', 'package work', 'ours work', 'one', 'all')}
    with Side('package', photos) as package, Side('ours', photos) as ours:
        for _ in range(rounds):
            rates['package'].append(package.measure('detect')[0])
            rates['package work'].append(package.measure('whole')[1])
            rates['ours work'].append(ours.measure('whole')[1])
            rates['one'].append(our_rate(photos, 1))
            rates['all'].append(our_rate(photos, cores))
    found = {key: None if None in values else statistics.median(values) for key, values in rates.items()}
    trouble = f' ({package.trouble})' if package.trouble else ''

    def row(what, key, base, ratio_to, floor='', unit='images/s', divisor=1):
        ratio = found[key] / found[base] / divisor if found[key] and found[base] else None
        return {'what': what, 'figure': found[key], 'unit': unit, 'ratio': ratio, 'ratio_to': ratio_to, 'floor': floor}

    alone = 'the package with detection alone' + trouble
    return [row('mtcnn package in one process, detection alone', 'package', 'package', alone),
            row('prefilter, whole job, 1 worker', 'one', 'package', alone, FLOOR),
            row(f'prefilter, whole job, {cores} workers', 'all', 'package', alone, FLOOR),
            row(f'prefilter, whole job, {cores} workers', 'all', 'one', f'{cores} times one worker',
                'a core to each: 1', divisor=cores),
            row('prefilter, whole job, by processor time', 'ours work', 'package work',
                'the package with detection, crop and PNG' + trouble, FLOOR, 'images per processor second')]


def our_rate(photos, workers):
    """Images per second of the whole pre-filter, from files to crops and ledger, once its processes are at work."""
    from data import ledger
    from data.prefilter import locks
    from data.prefilter.pool import Pool
    from data.prefilter.scan import Entry
    from data.prefilter.settings import Settings
    count = (WARM_UP + OUR_PHOTOS) * workers
    folder = os.path.dirname(photos[0])
    entries = [Entry(os.path.basename(photos[i % len(photos)]), output=f'{i}.png') for i in range(count)]
    with tempfile.TemporaryDirectory() as out:
        paths = [os.path.join(out, name) for name in ('ledger.csv', 'unfinished', 'lock')]
        ledger.create(paths[0])
        os.mkdir(paths[1])
        lock = locks.acquire(paths[2])
        times = []
        pool = Pool(Settings(folder, out), *paths, num_workers=workers)
        pool.run(entries, lambda decision: times.append(time.time()))
        locks.release(lock)
    # The last of the photographs are left out as well: some workers have nothing to do then.
    first, last = WARM_UP * workers, count - 8 * workers
    return (last - first) / (times[last] - times[first])


class Side:
    """One contender in a process of its own, which measures on request. `trouble`: why it cannot, or ''."""

    def __init__(self, name, photos):
        self._process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), '--' + name] + photos[:SIDE_PHOTOS], universal_newlines=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        answer = self._process.stdout.readline().strip()
        self.trouble = '' if answer == 'ready' else answer or f'{name} does not run here'

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def measure(self, what):
        """(images per second, images per second of processor time), or (None, None) if it does not run.

        what: 'detect' for detection alone, 'whole' for everything from the file to the PNG.
        """
        if self.trouble:
            return None, None
        self._process.stdin.write(what + '\n')
        self._process.stdin.flush()
        return tuple(float(value) for value in self._process.stdout.readline().split())


def serve(jobs, paths):
    """A contender's side: reads names of jobs from stdin, does them to all paths, answers with both rates."""
    for job in jobs.values():
        for path in paths:
            job(path)
    print('ready', flush=True)
    for line in sys.stdin:
        job = jobs[line.strip()]
        wall, work = time.time(), time.process_time()
        for path in paths:
            job(path)
        print(len(paths) / (time.time() - wall), len(paths) / (time.process_time() - work), flush=True)


def package_jobs(paths):
    import io

    import numpy as np
    import PIL.Image
    import tensorflow as tf
    if not tf.__version__.startswith('1.'):
        sys.exit(print('which runs as meant under TensorFlow 1 only', flush=True))
    from mtcnn import MTCNN
    detector = MTCNN()
    images = {path: np.array(PIL.Image.open(path).convert('RGB')) for path in paths}

    def whole(path):
        image = PIL.Image.open(path).convert('RGB')
        for face in detector.detect_faces(np.array(image))[:1]:
            x, y, width, height = face['box']
            crop = image.crop((x - 25, y - 25, x + width + 25, y + height + 25)).resize((256, 256), PIL.Image.BILINEAR)
            crop.save(io.BytesIO(), 'PNG')

    return {'detect': lambda path: detector.detect_faces(images[path]), 'whole': whole}


def our_jobs(paths):
    from data.prefilter.scan import Entry
    from data.prefilter.settings import Settings
    from data.prefilter.worker import Examiner
    examiner = Examiner(Settings(os.path.dirname(paths[0]), ''))
    return {'whole': lambda path: examiner.examine(Entry(os.path.basename(path), output=''))}


def main():
    """Prints the rows as a Markdown table."""
    sides = {'--package': package_jobs, '--ours': our_jobs}
    if sys.argv[1:2] and sys.argv[1] in sides:
        serve(sides[sys.argv[1]](sys.argv[2:]), sys.argv[2:])
        return
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', metavar='FOLDER', nargs='?', help='photographs')
    for row in rows(parser.parse_args().folder):
        figure, ratio = ('—' if row[key] is None else f'{row[key]:.{digits}f}'
                         for key, digits in (('figure', 1), ('ratio', 2)))
        print(f"| {row['what']} | {figure} {row['unit']} | {ratio} of {row['ratio_to']} | {row['floor']} |", flush=True)


if __name__ == '__main__':
    run_main(main)
