"""Speed and memory of the data's way: reading records, making data sets, drawing faces.

    ./reproduce shell python benchmarks/bench_data.py [--gigabytes N]

Every row carries a ratio measured in the same run, contenders taking turns, so that a busy machine slows both alike.
"""

import io
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

ROUNDS = 5


def rows(gigabytes=1.0, rounds=ROUNDS):
    """Measures and returns a list of dicts: what, figure, unit, ratio, ratio_to, floor.

    gigabytes: size of the data set for the reader's memory.
    """
    folder = tempfile.mkdtemp(prefix='bench-data-')
    try:
        return [reading_row(folder, 32, 64, 20000, rounds), reading_row(folder, 256, 8, 1000, rounds),
                memory_row(folder, gigabytes), images_row(folder, rounds), workers_row(folder, rounds),
                faces_row(folder, rounds)]
    finally:
        shutil.rmtree(folder)


def medians(rounds, *contenders):
    """Runs functions in turns and returns the median of what each returned."""
    results = [[contender() for contender in contenders] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*results)]


def reading_row(folder, resolution, minibatch, count, rounds):
    """Minibatches per second through the prefetch thread, beside a plain gather from an array in memory."""
    import numpy as np

    from data.converters import exporter
    from data.records.dataset import TFRecordDataset
    path = os.path.join(folder, f'read-{resolution}')
    images = np.random.RandomState(0).randint(256, size=[256, 3, resolution, resolution]).astype(np.uint8)
    with exporter.Exporter(path, images.shape[1:]) as out:
        for start in range(0, count, 256):
            out.add(exporter.encode(images[:min(256, count - start)]))
    dataset = TFRecordDataset(path)
    order = np.random.RandomState(0).randint(len(images), size=count)
    steps = count // minibatch

    def read():
        start = time.perf_counter()
        for _ in range(steps):
            dataset.get_minibatch_np(minibatch)
        return steps * minibatch / (time.perf_counter() - start)

    def gather():
        start = time.perf_counter()
        for step in range(steps):
            images[order[step * minibatch:][:minibatch]]
        return steps * minibatch / (time.perf_counter() - start)

    read()
    ours, plain = medians(rounds, read, gather)
    dataset.close()
    size = 3 * resolution ** 2
    return dict(what=f'input pipeline alone, warm cache, {resolution}x{resolution}, minibatch {minibatch}', figure=ours,
                unit='images/s', ratio=ours / plain, ratio_to='gathering from an array in memory',
                floor=f'{size / 1000:.0f} kB per image, copied twice and checked once (CRC-32C)')


_MEMORY = """
import sys
sys.path.insert(0, {root!r})
def anonymous():
    with open('/proc/self/status') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('RssAnon')) / 1000
from training.dataset import TFRecordDataset
dataset = TFRecordDataset({path!r})
before = anonymous()
peak = 0
for _ in range({steps}):
    dataset.get_minibatch_np(8)
    peak = max(peak, anonymous())
print(peak - before)
"""


def memory_row(folder, gigabytes):
    """Private memory that a process gains by reading a whole data set of 256x256 images."""
    import numpy as np

    from data.converters import exporter
    path = os.path.join(folder, 'large')
    encoded = exporter.encode(np.random.RandomState(0).randint(256, size=[64, 3, 256, 256]).astype(np.uint8))
    blocks = max(int(gigabytes * 1e9) // sum(len(block) for block in encoded[0]), 1)
    with exporter.Exporter(path, [3, 256, 256]) as out:
        for _ in range(blocks):
            out.add(encoded)
    script = _MEMORY.format(root=ROOT, path=path, steps=blocks * 8)
    gained = [float(subprocess.check_output([sys.executable, '-c', script])) for _ in range(3)]
    shutil.rmtree(path)
    ahead = 16 * 8 * 3 * 256 ** 2 / 1e6
    return dict(what=f"the reader's memory beyond the page cache, {gigabytes:g} GB set, {blocks * 64} images",
                figure=statistics.median(gained), unit='MB', ratio=statistics.median(gained) / ahead,
                ratio_to='the minibatches read ahead', floor='4 bytes per image and up to 32 MB read ahead')


def images_row(folder, rounds):
    """create_from_images on 256x256 PNGs beside decoding them, and nothing else, on one core."""
    import PIL.Image

    from data.commands import main
    from dnnlib.machine import usable_cores
    source = os.path.join(folder, 'png')
    os.mkdir(source)
    pictures = _pictures()
    copies = 60
    for number in range(len(pictures) * copies):
        with open(os.path.join(source, f'{number:05d}.png'), 'wb') as f:
            f.write(pictures[number % len(pictures)])
    target = os.path.join(folder, 'made')

    def decode():
        start = time.perf_counter()
        for content in pictures:
            PIL.Image.open(io.BytesIO(content)).load()
        return len(pictures) / (time.perf_counter() - start)

    def make():
        start = time.perf_counter()
        main(['create_from_images', target, source])
        seconds = time.perf_counter() - start
        shutil.rmtree(target)
        return len(pictures) * copies / seconds

    ours, plain = medians(rounds, make, decode)
    return dict(what=f'create_from_images, {len(pictures) * copies} PNGs of 256x256, {usable_cores()} cores, '
                     f'start of the processes included', figure=ours, unit='images/s', ratio=ours / plain,
                ratio_to=f'plain decoding on one core ({plain:.0f} images/s)',
                floor=f'{sum(map(len, pictures)) / len(pictures) / 1000:.0f} kB of PNG decoded, 262 kB of records '
                      f'written and hashed per image')


def workers_row(folder, rounds, copies=20):
    """Two workers of create_from_images beside one, which is the command itself, on 256x256 PNGs."""
    from data.commands import main
    source, target, pictures = os.path.join(folder, 'some-png'), os.path.join(folder, 'made'), _pictures()
    os.mkdir(source)
    for number in range(len(pictures) * copies):
        with open(os.path.join(source, f'{number:05d}.png'), 'wb') as f:
            f.write(pictures[number % len(pictures)])

    def make(workers):
        start = time.perf_counter()
        main(['create_from_images', target, source, '--workers', str(workers)])
        seconds = time.perf_counter() - start
        shutil.rmtree(target)
        return len(pictures) * copies / seconds

    pairs = [(make(1), make(2)) for _ in range(2 * rounds)]     # neighbours in time: cores are not always equally fast
    ratios = [two / one for one, two in pairs]
    return dict(what=f'create_from_images, {len(pictures) * copies} PNGs of 256x256, two workers', unit='images/s',
                figure=statistics.median(two for _, two in pairs), ratio=statistics.median(ratios),
                ratio_to=f'one worker; {min(ratios):.2f} to {max(ratios):.2f}',
                floor='twice as many, where two cores share neither caches nor memory')


def _pictures():
    """About a hundred 256x256 PNGs in memory: portraits where there is reference data, else drawn faces with noise."""
    import numpy as np
    import PIL.Image

    from data.converters import toyfaces
    folder = os.path.join(os.environ.get('REFERENCE_DIR', ''), 'data', 'faces', 'generated-256')
    if os.path.isdir(folder):
        images = [PIL.Image.open(os.path.join(folder, name)).convert('RGB') for name in sorted(os.listdir(folder))]
    else:
        drawn = toyfaces.draw_batch(0, range(100), 256)[0].transpose(0, 2, 3, 1)
        noise = np.random.RandomState(0).randint(-6, 7, size=drawn.shape)
        images = [PIL.Image.fromarray(image) for image in np.clip(drawn + noise, 0, 255).astype(np.uint8)]
    contents = []
    for image in images:
        stream = io.BytesIO()
        image.save(stream, 'PNG')
        contents.append(stream.getvalue())
    return contents


def faces_row(folder, rounds):
    """Faces drawn and encoded in one process, and what the command makes of all cores."""
    from data.commands import main
    from data.converters.create_toyfaces import Painter
    from dnnlib.machine import usable_cores
    painter = Painter(0, 64)
    target = os.path.join(folder, 'faces')
    cores = usable_cores()

    def draw():
        start = time.perf_counter()
        painter((0, 256))
        return 256 / (time.perf_counter() - start)

    def command():
        start = time.perf_counter()
        main(['create_toyfaces', target, '--num', '3000'])
        seconds = time.perf_counter() - start
        shutil.rmtree(target)
        return 3000 / seconds

    one, whole = medians(rounds, draw, command)
    return dict(what='create_toyfaces, 64x64, one core', figure=one, unit='faces/s', ratio=whole / one,
                ratio_to=f'one core: what the command makes of {cores} cores, its start included',
                floor='about 22 shapes per face, each some thirty passes over its own pixels')


def main():
    """Prints the rows as a Markdown table."""
    parser = Parser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--gigabytes', type=float, default=1.0, metavar='N',
                        help="size of the data set for the reader's memory (default 1)")
    for row in rows(parser.parse_args().gigabytes):
        print(f"| {row['what']} | {row['figure']:.1f} {row['unit']} | {row['ratio']:.2f} of {row['ratio_to']} "
              f"| {row['floor']} |", flush=True)


if __name__ == '__main__':
    run_main(main)
