"""What it costs to load a snapshot (G, D, Gs) of full size, 325 MB, and to get the first image from Gs.

    ./reproduce shell python benchmarks/bench_load.py [--quick]

Each measurement has a process of its own, since only a process's peak of memory can be told.
"""

import argparse
import json
import os
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

MEMORY_LIMIT = 1200 / 302  # peak above TensorFlow's own, relative to the file's size


def peak_mb():
    """Peak resident memory of this process so far, MB."""
    from dnnlib.machine import peak_memory
    return peak_memory() / 1e6


def write_snapshot(path, resolution):
    """A snapshot of fresh networks whose arrays are all stored on their own, as training writes them."""
    from dnnlib import tflib
    from dnnlib.tflib import convert
    from training import misc
    tflib.init_tf()
    tflib.select_device('cpu')
    G = tflib.Network('G', 'training.networks_stylegan.G_style', num_channels=3, resolution=resolution)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', num_channels=3, resolution=resolution)
    misc.save_pkl((G, D, G), path)
    G, D, _ = convert.read(path)
    convert.write((G, D, _copied(G)), path)


def _copied(state):
    """The same record over copies of its arrays, so that a pickle holds them a second time."""
    from dnnlib.tflib.safe_pickle import NetworkState
    fields = dict(state.fields(), variables=[(name, value.copy()) for name, value in state.variables],
                  components={key: _copied(item) for key, item in state.components.items()})
    return NetworkState(**fields)


def measure(path, steps):
    """Seconds and peak memory after each of the first `steps` of: TensorFlow alone, file read, Gs built, one image."""
    import numpy as np

    from dnnlib import tflib
    from dnnlib.tflib import safe_pickle
    tflib.init_tf(tflib.FOR_PICTURES)
    tflib.select_device('cpu')
    tflib.run(tflib.tf.ones([]) * 2)
    results = [(0.0, peak_mb())]
    start = time.perf_counter()
    if steps > 1:
        Gs = safe_pickle.load_network_pickle(path)[2]
        results.append((time.perf_counter() - start, peak_mb()))
    if steps > 2:
        assert Gs.num_inputs == 2  # the first use builds it
        results.append((time.perf_counter() - start, peak_mb()))
    if steps > 3:
        Gs.run(np.zeros([1, Gs.input_shape[1]]), None, structure='fixed')
        results.append((time.perf_counter() - start, peak_mb()))
    return results


def _child(*args):
    done = subprocess.run([sys.executable, os.path.abspath(__file__)] + [str(arg) for arg in args], cwd=ROOT,
                          stdout=subprocess.PIPE, universal_newlines=True, check=True)
    return (done.stdout.strip().splitlines() or [''])[-1]


def rows(quick=False):
    """The figures as dicts (what, figure, unit, ratio, ratio_to, floor); `quick` takes networks of 64 pixels."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'network.pkl')
        _child('--write', path, '--resolution', 64 if quick else 1024)
        size = os.path.getsize(path) / 1e6
        start = time.perf_counter()
        with open(path, 'rb') as file:
            while file.read(1 << 20):
                pass
        plain = time.perf_counter() - start
        (_, base), (read_s, read_mb), (built_s, built_mb), (image_s, image_mb) = json.loads(
            _child('--measure', path, '--steps', 4))
    what = f'snapshot of {size:.0f} MB: '

    def seconds(name, value):
        return dict(what=what + name, figure=value, unit='s', ratio=value / plain, ratio_to='reading its bytes',
                    floor='1')

    def memory(name, value):
        return dict(what=what + name, figure=value - base, unit='MB', ratio=(value - base) / size,
                    ratio_to="the file's size", floor=f'at most {MEMORY_LIMIT:.1f}')

    return [seconds('read', read_s), seconds('read, Gs built', built_s),
            seconds('read, Gs built, first image', image_s),
            memory('peak memory, read', read_mb), memory('peak memory, Gs built', built_mb),
            memory('peak memory, first image', image_mb)]


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='small networks, to see that everything runs')
    parser.add_argument('--write', help=argparse.SUPPRESS)
    parser.add_argument('--measure', help=argparse.SUPPRESS)
    parser.add_argument('--resolution', type=int, default=1024, help=argparse.SUPPRESS)
    parser.add_argument('--steps', type=int, default=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write_snapshot(args.write, args.resolution)
    elif args.measure:
        print(json.dumps(measure(args.measure, args.steps)))
    else:
        for row in rows(args.quick):
            print(f"{row['what']:<60} {row['figure']:8.2f} {row['unit']:<3} ratio {row['ratio']:7.2f}")


if __name__ == '__main__':
    run_main(main)
