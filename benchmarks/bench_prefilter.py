"""The pre-filter's rate beside that of the `mtcnn` package in one process, on photographs of CelebA's size.

    python benchmarks/bench_prefilter.py [FOLDER]

FOLDER: photographs; default `data/photos/portraits-small` of what REFERENCE_DIR names. All rates are medians over
rounds in which the contenders take turns, so that a busy machine slows them alike; what counts is the ratio.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

ROUNDS = 5
PACKAGE_PHOTOS = 60
OUR_PHOTOS = 160  # per process and round, after those that warm it up
WARM_UP = 16
FLOOR = 'per image: 0.25 G multiply-adds in the networks, a JPEG of 40, a PNG of 65 thousand pixels'


def rows(folder=None, rounds=ROUNDS):
    """Measures. Returns a list of dicts: what, figure, unit, ratio, ratio_to, floor; figure and ratio are None where
    the package does not run."""
    from data_tools.images import list_images
    from data_tools.workers import available_cores
    folder = folder or os.path.join(os.environ.get('REFERENCE_DIR', ''), 'data', 'photos', 'portraits-small')
    photos = [os.path.join(folder, name) for name in list_images(folder)[0]]
    cores = available_cores()
    contenders = [('mtcnn package in one process, detection alone', lambda: package.measure('detect')),
                  ('mtcnn package in one process, detection, crop and PNG', lambda: package.measure('whole')),
                  ('prefilter, 1 worker', lambda: our_rate(photos, 1)),
                  (f'prefilter, {cores} workers', lambda: our_rate(photos, cores))]
    rates = [[] for _ in contenders]
    with Package(photos) as package:
        for _ in range(rounds):
            for found, (_, measure) in zip(rates, contenders):
                found.append(measure())
    medians = [None if None in found else statistics.median(found) for found in rates]
    result = [{'what': what, 'figure': value, 'unit': 'images/s',
               'ratio': value / medians[0] if value and medians[0] else None,
               'ratio_to': 'the first line' if medians[0] else f'the package: {package.trouble}', 'floor': FLOOR}
              for (what, _), value in zip(contenders, medians)]
    return result + [{'what': f'prefilter, {cores} workers', 'figure': medians[3], 'unit': 'images/s',
                      'ratio': medians[3] / medians[2] / cores, 'ratio_to': f'{cores} times the rate of one worker',
                      'floor': 'every core to itself: 1'}]


def our_rate(photos, workers):
    """Images per second of the whole pre-filter, from files to crops and ledger, once its processes are at work."""
    from data_tools.prefilter import ledger, locks
    from data_tools.prefilter.pool import Pool
    from data_tools.prefilter.scan import Entry
    from data_tools.prefilter.settings import Settings
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


class Package:
    """The package in a process of its own, which measures on request. `trouble`: why it cannot, or ''."""

    def __init__(self, photos):
        self.trouble = ''
        self._photos = photos[:PACKAGE_PHOTOS]

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), '--package'] + self._photos, universal_newlines=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        answer = self._process.stdout.readline().strip()
        if answer != 'ready':
            self.trouble = answer or 'the package does not run here'
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def measure(self, what):
        """Images per second, or None if the package does not run."""
        if self.trouble:
            return None
        self._process.stdin.write(what + '\n')
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def serve_package(paths):
    """The package's side: reads 'detect' or 'whole' from stdin, answers with images per second."""
    import io

    import numpy as np
    import PIL.Image
    import tensorflow as tf
    if not tf.__version__.startswith('1.'):
        print('the package runs as meant under TensorFlow 1 only', flush=True)
        return
    from mtcnn import MTCNN
    detector = MTCNN()
    images = [np.array(PIL.Image.open(path).convert('RGB')) for path in paths]
    for image in images:
        detector.detect_faces(image)
    print('ready', flush=True)

    def whole(path):
        image = PIL.Image.open(path).convert('RGB')
        for face in detector.detect_faces(np.array(image))[:1]:
            x, y, width, height = face['box']
            crop = image.crop((x - 25, y - 25, x + width + 25, y + height + 25)).resize((256, 256), PIL.Image.BILINEAR)
            crop.save(io.BytesIO(), 'PNG')

    for line in sys.stdin:
        start = time.time()
        for image, path in zip(images, paths):
            if line.strip() == 'detect':
                detector.detect_faces(image)
            else:
                whole(path)
        print(len(paths) / (time.time() - start), flush=True)


def main():
    """Prints the rows as a Markdown table."""
    if sys.argv[1:2] == ['--package']:
        serve_package(sys.argv[2:])
        return
    for row in rows(*sys.argv[1:2]):
        figure, ratio = ('—' if row[key] is None else f'{row[key]:.{digits}f}'
                         for key, digits in (('figure', 1), ('ratio', 2)))
        print(f"| {row['what']} | {figure} {row['unit']} | {ratio} of {row['ratio_to']} | {row['floor']} |", flush=True)


if __name__ == '__main__':
    main()
