"""What training on codes saves: time and memory of training steps, beside what their multiplications allow; encoding.

    ./reproduce shell python benchmarks/bench_acceleration.py [--quick] [--only 256,512,1024,stylegan,encode,memory]

Ratios of time are of processor time per image, which other work on the machine hardly changes; the contenders take
turns in one process, and medians are compared. The data are noise: neither time nor memory depends on it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401, I001
import numpy as np  # noqa: E402
import training_steps  # noqa: E402
from bench_load import peak_mb  # noqa: E402

from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

DOWNSCALE = 4
WGAN = (dict(func_name='training.loss.G_wgan'),
        dict(func_name='training.loss.D_wgan_gp', wgan_lambda=10.0, wgan_epsilon=0.0))
# (side of the images, images a step, rounds), and what the ratio of processor times must reach, by engine.
TRAINING = {'256': (256, 4, 5), '512': (512, 1, 5), '1024': (1024, 1, 3)}
MUSTS = {'256': 'at least 3.75 on 1.15, 2.8 on 2.x', '512': 'at least 4', '1024': 'at least 8'}
PARTS = list(TRAINING) + ['stylegan', 'encode', 'memory']


class Codec:
    """A fresh codec in a temporary file; what its codes train on."""

    def __init__(self, folder):
        from dnnlib import tflib
        from dnnlib.tflib import tf
        from dnnlib.util import sha256_file
        from training import misc
        tflib.select_device('cpu')
        self.path = os.path.join(folder, 'codec.pkl')
        with tf.Graph().as_default(), tflib.create_session().as_default():
            misc.save_pkl(tuple(tflib.Network(name, f'training.networks_codec.{function}', downscale=DOWNSCALE)
                                for name, function in (('F', 'F_encoder'), ('H', 'H_decoder'), ('D', 'D_codec'))),
                          self.path)
        self.facts = dict(path=self.path, sha256=sha256_file(self.path), downscale=DOWNSCALE)

    def codes(self, resolution):
        """Synthetic codes of images of that resolution."""
        from data.records.dataset import SyntheticDataset
        side = resolution // DOWNSCALE
        data = SyntheticDataset(shape=[16, side, side], dtype='float16', num_images=16)
        data.codec = self.facts
        return data


def images(resolution):
    """Synthetic images."""
    from data.records.dataset import SyntheticDataset
    return SyntheticDataset(resolution=resolution, num_images=16)


def baseline_step(resolution, minibatch):
    """The acceleration paper's networks on images."""
    return training_steps.Step(images(resolution), minibatch, dict(func_name='training.networks_accel.G_code'),
                               dict(func_name='training.networks_accel.D_code'), WGAN, is_growing=False)


def code_step(codec, resolution, minibatch):
    """The same on codes."""
    return training_steps.Step(codec.codes(resolution), minibatch, dict(func_name='training.networks_accel.G_accel'),
                               dict(func_name='training.networks_accel.D_code'), WGAN, is_growing=False)


def stylegan_steps(codec, resolution, minibatch):
    """StyleGAN on images and on codes, both of full size and not growing."""
    D = dict(func_name='training.networks_stylegan.D_basic', structure='fixed')
    G = dict(func_name='training.networks_stylegan.G_style', structure='fixed')
    composed = dict(func_name='training.networks_accel.G_accel', code_func=G['func_name'],
                    code_kwargs=dict(structure='fixed'))
    return (training_steps.Step(images(resolution), minibatch, G, D, is_growing=False),
            training_steps.Step(codec.codes(resolution), minibatch, composed, D, is_growing=False))


def compare(what, steps, minibatch, rounds, must):
    """The row of two steps, on images and on codes: processor time per image and its ratio. Closes them."""
    macs = [step.count_macs() / minibatch for step in steps]    # which warms up, too
    times = [[], []]
    for _ in range(rounds):
        for step, collected in zip(steps, times):
            began = time.process_time()
            step()
            collected.append((time.process_time() - began) / minibatch)
    for step in steps:
        step.close()
    on_images, on_codes = [statistics.median(collected) for collected in times]
    spread = sorted(a / b for a, b in zip(*times))
    return dict(
        what=what, figure=on_codes, unit='s/image', ratio=on_images / on_codes,
        ratio_to=f'images over codes; {spread[0]:.2f} to {spread[-1]:.2f} by rounds; multiply-adds '
                 f'{macs[0] / macs[1]:.2f} ({macs[0] / 1e9:.1f} and {macs[1] / 1e9:.2f} G)',
        floor=must)


def training_rows(codec, part, quick):
    """A step of the code GAN against one of the baseline."""
    resolution, minibatch, rounds = (32, 2, 2) if quick else TRAINING[part]
    steps = baseline_step(resolution, minibatch), code_step(codec, resolution, minibatch)
    side = resolution // DOWNSCALE
    return [compare(f'code GAN step, {side}² codes of {resolution}² images, minibatch {minibatch}: processor time',
                    steps, minibatch, rounds, MUSTS[part])]


def stylegan_rows(codec, quick):
    """A step of StyleGAN on codes against one on images."""
    resolution, minibatch, rounds = (32, 4, 2) if quick else (256, 4, 3)
    return [compare(f'StyleGAN step, {resolution // DOWNSCALE}² codes of {resolution}² images, minibatch {minibatch}: '
                    'processor time', stylegan_steps(codec, resolution, minibatch), minibatch, rounds, 'at least 2')]


def encode_rows(codec, folder, quick, minibatch=8):
    """Minibatches that are read, encoded and written, in turns with F alone on the same ones."""
    from data.converters import encode, exporter
    from data.records.dataset import TFRecordDataset
    from dnnlib import tflib
    from dnnlib.tflib import safe_pickle, tf
    resolution, rounds = (64, 4) if quick else (256, 24)
    path = os.path.join(folder, 'images')
    with exporter.Exporter(path, [3, resolution, resolution]) as out:
        for seed in range(rounds + 1):
            out.add(exporter.encode(np.random.RandomState(seed).randint(
                256, size=[minibatch, 3, resolution, resolution]).astype(np.uint8)))
    times, side = [[], []], resolution // DOWNSCALE
    with tf.Graph().as_default(), tflib.create_session().as_default():
        F = safe_pickle.load_network_pickle(codec.path)[0]
        with exporter.Exporter(os.path.join(folder, 'codes'), [16, side, side], 'float16') as out:
            with TFRecordDataset(path, shuffle_mb=0, prefetch_mb=0) as data:
                encode.codes_of(F, data, 0, minibatch, 'float16')
                for index in range(1, rounds + 1):
                    began = time.perf_counter()
                    first = index * minibatch
                    out.add(exporter.encode(encode.codes_of(F, data, first, first + minibatch, 'float16')))
                    times[0].append(time.perf_counter() - began)
                    pixels, _ = data.get_samples_np(np.arange(first, first + minibatch))
                    pixels = pixels.astype(np.float32)
                    began = time.perf_counter()
                    F.run(pixels)
                    times[1].append(time.perf_counter() - began)
    whole, alone = [statistics.median(collected) for collected in times]
    return [dict(what=f'encoding images of {resolution}², minibatch {minibatch}', figure=minibatch / whole,
                 unit='images/s', ratio=alone / whole, ratio_to='rate of F alone on the same minibatch',
                 floor='at least 0.9')]


def memory_rows(quick):
    """Peak memory of one step of one image, each in a process of its own."""
    resolution = 64 if quick else 1024
    peaks = [json.loads(subprocess.run(
        [sys.executable, os.path.abspath(__file__), '--memory-of', kind, str(resolution)], cwd=ROOT,
        stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout.strip().splitlines()[-1])
        for kind in ('baseline', 'codes')]
    return [dict(what=f'code GAN step of one image of {resolution}²: peak memory above the process before its graph',
                 figure=peaks[1], unit='MB', ratio=peaks[1] / peaks[0], ratio_to=f"the baseline's ({peaks[0]:.0f} MB)",
                 floor='at most 1/6')]


def print_memory(kind, resolution):
    """What one step takes at most, in MB above what this process took before the graph was built."""
    from dnnlib import tflib
    with tempfile.TemporaryDirectory(prefix='bench-acceleration-') as folder:
        codec = Codec(folder)
        with tflib.tf.Graph().as_default(), tflib.create_session().as_default():
            tflib.run(tflib.tf.ones([]) * 2)
        before = peak_mb()
        step = baseline_step(resolution, 1) if kind == 'baseline' else code_step(codec, resolution, 1)
        step()
        print(json.dumps(peak_mb() - before))
        step.close()


def rows(quick=False, only=PARTS):
    """Measures on this machine's CPU. Returns dicts: what, figure, unit, ratio, ratio_to, floor."""
    result = []
    with tempfile.TemporaryDirectory(prefix='bench-acceleration-') as folder:
        codec = Codec(folder)
        for part in [part for part in only if not quick or part not in ('512', '1024')]:
            if part in TRAINING:
                found = training_rows(codec, part, quick)
            elif part == 'stylegan':
                found = stylegan_rows(codec, quick)
            else:
                found = encode_rows(codec, folder, quick) if part == 'encode' else memory_rows(quick)
            for row in found:
                print(f"{row['what']}: {row['figure']:.3g} {row['unit']}, ratio {row['ratio']:.3g} "
                      f"({row['ratio_to']}); {row['floor']}", file=sys.stderr, flush=True)
            result += found
    return result


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='tiny sizes, to see that everything runs')
    parser.add_argument('--only', default=','.join(PARTS), help='some of these (default: all): ' + ','.join(PARTS))
    parser.add_argument('--memory-of', nargs=2, metavar=('KIND', 'RESOLUTION'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_memory(args.memory_of[0], int(args.memory_of[1]))
    else:
        rows(args.quick, args.only.split(','))


if __name__ == '__main__':
    run_main(main)
