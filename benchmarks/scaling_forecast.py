"""A FORECAST of how training scales from 1 to 512 GPUs over links of several speeds; a simulation, not a measurement.

    ./reproduce shell python benchmarks/scaling_forecast.py [--plot docs/images/scaling-forecast.png] [--half]

Counted are the operations, activations and parameters of each layer, by the tables that tests hold against built
networks. The time of a card follows from them as in `bench_scale.py`; links and their latencies are assumptions, below.
A step of D and one of G are played through: layers finish their gradients one after another, pieces of
`collectives.PIECE_NUMBERS` leave when they are complete and follow each other over the link, weights change when all
have arrived.
"""

import functools
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import bench_scale  # noqa: E402

import check_python  # noqa: E402, F401
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

GPUS_PER_NODE = 8
PER_GPU = 4             # images of a minibatch: one group of D's last layer (mbstd_group_size)
PIECE_NUMBERS = 1 << 23     # As dnnlib.tflib.collectives has it, whose import would bring TensorFlow.
EFFICIENCY = 0.8        # of a link's speed that an all-reduce gets
NVLINK = 130e9          # bytes per second and direction between the cards of a node
HOP_SECONDS = {'NVLink': 5e-6, 'network': 30e-6}    # of one message to the next process of a ring
LINKS = {'10 Gbit/s': 10e9 / 8, '25 Gbit/s': 25e9 / 8, '100 Gbit/s': 100e9 / 8, '400 Gbit/s': 400e9 / 8,
         'NVLink everywhere': None}     # of one node to the others
GPUS = [2 ** power for power in range(10)]
RESOLUTIONS = (256, 1024)

# Passes that must be over before the last sweep of backpropagation finishes gradients, of those in `bench_scale`.
SHARE_OF_LAST_SWEEP = {'G': 2 / bench_scale.G_PASSES, 'D': 2 / bench_scale.D_PASSES}


@functools.lru_cache(maxsize=None)
def layers_of(name, resolution):
    """The layers of G or D in the order in which backpropagation meets them: from scores, or from the image, on."""
    from dnnlib.util import EasyDict
    from experiment.settings import with_defaults
    from training.layers import layer_table
    func = 'training.networks_stylegan.' + ('G_style' if name == 'G' else 'D_basic')
    layers = layer_table.TABLES[func](with_defaults(name, EasyDict(func_name=func)), resolution.bit_length() - 1, 3, 0)
    high = max(layer.res or 0 for layer in layers)
    return sorted(layers, key=lambda layer: (high if layer.res is None else layer.res) * (-1 if name == 'G' else 1))


@functools.lru_cache(maxsize=None)
def seconds_per_image(resolution):
    """{'G': …, 'D': …}: of a step of each on one card, by the model of `bench_scale.forecast_rows`."""
    operations, activations = bench_scale.training_work(1024, 8)
    seconds = bench_scale.REFERENCE_DAYS * 86400 * 8 * bench_scale.TOWER_EFFICIENCY[8]
    speed = bench_scale.PEAK_FLOPS * bench_scale.COMPUTE_EFFICIENCY
    num_moves = (seconds - operations / speed) * bench_scale.BYTES_PER_SECOND / activations
    result = {}
    passes = {'G': bench_scale.G_PASSES, 'D': bench_scale.D_PASSES}
    for name in passes:
        layers = layers_of(name, resolution)
        count = sum(_macs(layer) for layer in layers) * bench_scale.FUSED_SHARE
        features = sum(4 ** layer.res * layer.outputs for layer in layers if layer.res is not None)
        result[name] = 2 * count * passes[name] / speed + 4 * features * num_moves / bench_scale.BYTES_PER_SECOND
    return result


def _macs(layer):
    return 0 if layer.res is None else layer.kernel ** 2 * 4 ** layer.res * layer.inputs * layer.outputs


def all_reduce_seconds(num_bytes, num_gpus, link):
    """Of a ring through all cards of each node and then the next node. `link`: bytes per second, None for NVLink."""
    if num_gpus == 1:
        return 0.0
    nodes = max(num_gpus // GPUS_PER_NODE, 1)
    moved = 2 * (num_gpus - 1) / num_gpus * num_bytes
    is_one_kind = nodes == 1 or link is None
    speed = NVLINK if is_one_kind else min(NVLINK, link)
    hops = 2 * (num_gpus - 1) * HOP_SECONDS['NVLink'] if is_one_kind else \
        2 * (num_gpus - nodes) * HOP_SECONDS['NVLink'] + 2 * nodes * HOP_SECONDS['network']
    return moved / (speed * EFFICIENCY) + hops


def step_seconds(name, resolution, num_gpus, per_gpu, link, number_bytes=4):
    """(seconds of a step of G or D, of which the cards only wait for the link)."""
    compute = seconds_per_image(resolution)[name] * per_gpu
    layers = layers_of(name, resolution)
    sweep = compute * SHARE_OF_LAST_SWEEP[name]
    cost = [_macs(layer) for layer in layers]
    now, free, waiting = compute - sweep, 0.0, 0
    for index, layer in enumerate(layers):
        now += sweep * cost[index] / sum(cost)
        waiting += layer.kernel ** 2 * layer.inputs * layer.outputs + layer.others
        if waiting >= PIECE_NUMBERS or index == len(layers) - 1:
            free = max(free, now) + all_reduce_seconds(waiting * number_bytes, num_gpus, link)
            waiting = 0
    return max(free, compute), max(free - compute, 0.0)


def efficiency(resolution, num_gpus, per_gpu, link, number_bytes=4):
    """Images per second and card, over those of a card alone with as many images."""
    alone = sum(seconds_per_image(resolution).values()) * per_gpu
    return alone / sum(step_seconds(name, resolution, num_gpus, per_gpu, link, number_bytes)[0] for name in 'GD')


def table(number_bytes):
    """Markdown: share of the ideal rate with PER_GPU images a card."""
    lines = []
    for resolution in RESOLUTIONS:
        seconds = seconds_per_image(resolution)
        sizes = {name: sum(layer.kernel ** 2 * layer.inputs * layer.outputs + layer.others
                           for layer in layers_of(name, resolution)) * number_bytes / 1e6 for name in 'GD'}
        rate = 1 / sum(seconds.values())
        lines += ['', f'{resolution}²: a step of one card with {PER_GPU} images {PER_GPU / rate:.2f} s ({rate:.1f} '
                  f"images/s), gradients {sizes['G']:.0f} MB of G, {sizes['D']:.0f} MB of D", '',
                  '| GPUs | minibatch | ' + ' | '.join(LINKS) + ' |', '| ---: ' * (len(LINKS) + 2) + '|']
        for num_gpus in GPUS:
            cells = [f'{efficiency(resolution, num_gpus, PER_GPU, link, number_bytes):.2f}' for link in LINKS.values()]
            lines.append(f'| {num_gpus} | {num_gpus * PER_GPU} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines[1:])


def plot(path, number_bytes):
    """Draws the share of the ideal rate over the number of cards, for each link."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    figure, panels = plt.subplots(1, len(RESOLUTIONS), figsize=(10, 4.2))
    for panel, resolution in zip(panels, RESOLUTIONS):
        for label, link in LINKS.items():
            shares = [efficiency(resolution, n, PER_GPU, link, number_bytes) for n in GPUS]
            panel.semilogx(GPUS, shares, marker='o', markersize=4, label=label)
        panel.set_ylim(0, 1.05)
        panel.axvspan(GPUS[0] / 1.2, 8, color='0.93', linewidth=0)
        panel.annotate("up to the papers'\nminibatch of 32", (1, 0.04), fontsize=8, color='0.4')
        panel.set_xticks(GPUS)
        panel.set_xticklabels(GPUS)
        panel.minorticks_off()
        panel.set_xlabel(f'GPUs, {PER_GPU} images of the minibatch each')
        panel.set_ylabel('images per second, share of the ideal rate')
        panel.set_title(f'{resolution}²: FORECAST, not measured', fontsize=10)
        panel.grid(True, alpha=0.3)
    panels[0].legend(title='between nodes of 8', fontsize=8, title_fontsize=8, loc='lower right')
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main():
    parser = Parser(description=__doc__)
    parser.add_argument('--half', action='store_true', help='gradients travel as float16')
    parser.add_argument('--plot', metavar='FILE', help='draw it')
    args = parser.parse_args()
    number_bytes = 2 if args.half else 4
    print(table(number_bytes))
    if args.plot:
        plot(args.plot, number_bytes)


if __name__ == '__main__':
    run_main(main)
