"""How the cost of training grows with resolution, minibatch, number of images and number of towers; and a forecast.

    ./reproduce shell python benchmarks/bench_scale.py [--quick] [--plot FILE]

Measured with small networks (at most 64 channels), since only the growth matters. The forecast for GPUs is arithmetic
on operation counts, not a measurement.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import training_steps  # noqa: E402
from bench_networks import medians  # noqa: E402

import check_python  # noqa: E402, F401
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

NETWORK = dict(fmap_base=1024, fmap_max=64, mapping_fmaps=64, latent_size=64, dlatent_size=64)

# Passes of one image through the convolutions in a step of D and one of G, a pass backward counted per operand:
# G forward twice and backward once (4); D forward, backward to the image and to the weights on fakes and on reals (6),
# R1's gradient once more and its own gradient (4), D forward and backward to the image in G's step (2).
G_PASSES, D_PASSES = 4, 12
FUSED_SHARE = (1 + 4 / 9) / 2       # every other convolution changes the resolution, at 4/9 of the multiplications
READING = 'images in the data set'     # the series that measures reading; the others measure training

# Assumptions of the forecast. The time is that of the operations plus that of moving the activations, and how often
# these are moved is chosen so that FFHQ 1024x1024 takes 8 cards about a week, as the StyleGAN paper says.
CARD, PEAK_FLOPS, BYTES_PER_SECOND = 'Tesla V100', 15.7e12, 900e9
COMPUTE_EFFICIENCY = 0.7
REFERENCE_DAYS = 6.6
TOWER_EFFICIENCY = {1: 1.0, 2: 0.95, 8: 0.8}    # lost to smaller shares of a minibatch and the exchange of gradients


def rows(quick=False):
    """Measures on this machine's CPU. Returns dicts: what, figure, unit, ratio, ratio_to, floor, series, x."""
    return resolution_rows(quick) + minibatch_rows(quick) + tower_rows(quick) + image_rows(quick) + forecast_rows()


def _row(series, x, what, figure, unit, ratio, ratio_to, floor=None):
    return dict(series=series, x=x, what=what, figure=figure, unit=unit, ratio=ratio, ratio_to=ratio_to, floor=floor)


def _time_steps(settings, rounds):
    with training_steps.steps(*[dict(NETWORK, **setting) for setting in settings]) as steps:
        return medians(steps, rounds)


def resolution_rows(quick):
    """Seconds per image as the resolution doubles."""
    resolutions = [8, 16] if quick else [8, 16, 32, 64, 128]
    times = _time_steps([dict(resolution=resolution, minibatch=4) for resolution in resolutions], 2 if quick else 5)
    macs = [_macs(resolution, NETWORK) for resolution in resolutions]
    return [_row('resolution', resolution, f'training step, small networks, at {resolution}²', seconds / 4,
                 's/image', seconds / times[0], f'{resolutions[0]}²',
                 f'minibatch 4, {count / macs[0]:.1f} times the multiplications')
            for resolution, seconds, count in zip(resolutions, times, macs)]


def minibatch_rows(quick):
    """Seconds per image as the minibatch doubles."""
    sizes = [4, 8] if quick else [4, 8, 16, 32]
    times = _time_steps([dict(resolution=32, minibatch=size) for size in sizes], 2 if quick else 5)
    return [_row('minibatch', size, f'training step, small networks, minibatch {size}', seconds / size, 's/image',
                 seconds / size / (times[0] / sizes[0]), 'per image with minibatch 4', 'at 32²; 1')
            for size, seconds in zip(sizes, times)]


def tower_rows(quick):
    """The same minibatch on more towers, which share this machine's cores: what splitting costs."""
    counts = [1, 2] if quick else [1, 2, 4]
    times = _time_steps([dict(resolution=32, minibatch=16, num_towers=count) for count in counts], 2 if quick else 5)
    return [_row('towers', count, f'training step, small networks, on {count} virtual device(s)',
                 seconds / 16, 's/image', seconds / times[0], 'one device',
                 'minibatch 16 at 32²; 1, as all share the same cores')
            for count, seconds in zip(counts, times)]


def image_rows(quick):
    """Seconds per image read, as the data set grows: opening it and two thousand minibatches of 32."""
    import numpy as np

    from data.converters import exporter
    from data.records.dataset import TFRecordDataset
    sizes = [1000, 4000] if quick else [1000, 10000, 100000]
    encoded = exporter.encode(np.random.RandomState(0).randint(256, size=[500, 3, 32, 32]).astype(np.uint8))
    folder = tempfile.mkdtemp(prefix='bench-scale-')
    try:
        readers = []
        for size in sizes:
            path = os.path.join(folder, str(size))
            with exporter.Exporter(path, [3, 32, 32]) as out:
                for _ in range(size // 500):
                    out.add(encoded)
            readers.append(_reader(TFRecordDataset, path))
        times = medians(readers, 2 if quick else 5)
    finally:
        shutil.rmtree(folder)
    return [_row(READING, size, f'opening a data set of {size} images of 32² and reading 64,000',
                 seconds / 64000, 's/image', seconds / times[0], f'{sizes[0]} images', '1')
            for size, seconds in zip(sizes, times)]


def _reader(dataset_class, path):
    def read():
        dataset = dataset_class(path)
        for _ in range(2000):
            dataset.get_minibatch_np(32)
        dataset.close()
    return read


def _macs(resolution, network):
    from experiment import forecast
    return forecast.relative_cost(_sizes(resolution, network), resolution)


def _sizes(resolution, network):
    from dnnlib.util import EasyDict
    from experiment import forecast
    return forecast.network_sizes(EasyDict(network, func_name='training.networks_stylegan.G_style'),
                                  EasyDict(network, func_name='training.networks_stylegan.D_basic'),
                                  EasyDict(shape=[3, resolution, resolution], label_size=0))


def training_work(resolution, num_gpus):
    """(floating-point operations, bytes of activations) of training on 25 million images by the paper's schedule."""
    from experiment import forecast, phases, run_config
    config, _ = run_config.load('stylegan-f', os.path.join(ROOT, 'configs'), ['dataset.tfrecord_dir=any'],
                                dict(num_gpus=num_gpus))
    sizes = _sizes(resolution, {})
    operations = activations = 0.0
    for phase in phases.make_phases(config, resolution.bit_length() - 1):
        num_images = (phase.end_kimg - phase.start_kimg) * 1000
        # `macs` holds G's and D's convolutions, which are mirror images: half of it each.
        macs = forecast.relative_cost(sizes, phase.resolution) / 2 * FUSED_SHARE
        operations += 2 * macs * (G_PASSES + D_PASSES) * num_images
        activations += 4 * num_images * sum(n for stage, n in sizes.features.items() if 2 ** stage <= phase.resolution)
    return operations, activations


def forecast_rows():
    """Days of training with 1, 2 and 8 GPUs at 256² and 1024²."""
    def compute_seconds(operations):
        return operations / (PEAK_FLOPS * COMPUTE_EFFICIENCY)

    operations, activations = training_work(1024, 8)
    seconds = REFERENCE_DAYS * 86400 * 8 * TOWER_EFFICIENCY[8]
    num_moves = (seconds - compute_seconds(operations)) * BYTES_PER_SECOND / activations
    result = []
    for resolution in (256, 1024):
        for num_gpus, efficiency in TOWER_EFFICIENCY.items():
            operations, activations = training_work(resolution, num_gpus)
            seconds = compute_seconds(operations) + activations * num_moves / BYTES_PER_SECOND
            result.append(_row(
                None, None, f'FORECAST, not measured: {resolution}², 25 million images, {num_gpus} {CARD}',
                seconds / (num_gpus * efficiency) / 86400, 'days', 1 / (num_gpus * efficiency), 'one GPU',
                f'{operations / 1e18:.0f} EFLOP at {COMPUTE_EFFICIENCY:.0%} of the peak, '
                f'{activations / 1e15:.1f} PB of activations moved {num_moves:.0f} times'))
    return result


def plot(results, path):
    """Draws the measured series, one panel each, on one logarithmic scale of times. `results`: {label: rows}."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    names = []
    for row in next(iter(results.values())):
        if row.get('series') and row['series'] not in names:
            names.append(row['series'])
    figure, panels = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3.4), squeeze=False)
    shared = []     # times of training, which the panels of training have one scale for
    for panel, name in zip(panels[0], names):
        ticks, values = set(), []
        for label, rows_of_label in results.items():
            points = sorted((row['x'], row['figure'] * 1000) for row in rows_of_label if row.get('series') == name)
            panel.loglog(*zip(*points), marker='o', label=label)
            ticks |= {x for x, _ in points}
            values += [y for _, y in points]
        is_training = name != READING
        shared += values if is_training else []
        panel.set_ylim(min(values) / 2, max(values) * 2)
        panel.set_ylabel(f"{'training' if is_training else 'reading'}, milliseconds per image")
        panel.set_xticks(sorted(ticks))
        panel.set_xticklabels([f'{x:,}' for x in sorted(ticks)])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel(name)
        panel.grid(True, alpha=0.3)
    panels = panels[0]
    for panel, name in zip(panels, names):
        if name != READING:
            panel.set_ylim(min(shared) / 1.5, max(shared) * 1.5)
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='fewer and smaller, to see that everything runs')
    parser.add_argument('--plot', metavar='FILE', help='draw the measured series')
    args = parser.parse_args()
    began = time.perf_counter()
    result = rows(args.quick)
    for row in result:
        print(f"{row['what']:<90} {row['figure']:10.3g} {row['unit']:<8} {row['ratio']:6.2f} of {row['ratio_to']}")
    if args.plot:
        plot({'this engine': result}, args.plot)
    print(f'{time.perf_counter() - began:.0f} s')


if __name__ == '__main__':
    run_main(main)
