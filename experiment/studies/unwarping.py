"""Why a mapping network can unwarp (StyleGAN paper, Fig. 6), as an experiment that takes about a minute on a CPU.

Two factors of variation of which one combination never occurs: points of a square without one of its quarters. A
generator of a mapping network from Z to W and a small synthesis network learns them, and both spaces are drawn with the
lines along which a factor keeps its value: the straighter they are, the less entangled the space is. That the synthesis
network begins as a linear map, free to bend, stands for what the paper supposes: that a disentangled space is easier.
"""

import io
import os
from collections import OrderedDict

import numpy as np

import config as folders
from dnnlib.command_line import Parser, shown
from dnnlib.files import atomic_write, results_folder, write_json
from dnnlib.seeds import seed_option

EXAMPLES = '''examples:
  ./reproduce figures unwarping
  ./reproduce figures unwarping --mapping-layers 8 --seed 1
'''
BATCH = 256
NUM_POINTS = 6000


def parse_args(argv=None):
    parser = Parser(
        prog='generate_figures.py unwarping', epilog=EXAMPLES,
        description='Fig. 6 of the StyleGAN paper as an experiment: a training distribution in which a combination of '
        'two factors is missing, the space Z, which has to be warped to leave it out, and the space W, which a mapping '
        'network makes of it. Writes unwarping.png and unwarping.json.')
    parser.add_argument('--mapping-layers', type=int, choices=range(1, 17), default=4, metavar='INT',
                        help='layers of the mapping network, 1 to 16 (default: 4)')
    parser.add_argument('--steps', type=int, default=3000, metavar='INT', help='minibatches of 256 (default: 3000)')
    parser.add_argument('--seed', type=seed_option, default=0, metavar='INT', help='seed (default: 0)')
    parser.add_argument('--outdir', default=shown(os.path.join(folders.result_dir, 'unwarping')), metavar='DIR',
                        help='where picture and record go (default: %(default)s)')
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error('--steps must be at least 1')
    return args


# ---- The distribution

def draw_data(count, rng):
    """Points [N, 2] of the square [-1, 1]², uniformly, less the quarter in which both are above 0."""
    points = rng.uniform(-1, 1, [4 * count, 2])
    return points[~np.all(points > 0, axis=1)][:count].astype(np.float32)


def draw_latents(count, rng):
    """z [N, 2], uniformly within the unit disc."""
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)


# ---- What came out

def linearity(space, points):
    """Share of the variance of the points [N, 2] that an affine map of the space [N, 2] explains, 1 for straight lines
    at equal distances."""
    inputs = np.concatenate([space, np.ones([len(space), 1])], axis=1).astype(np.float64)
    residual = points - inputs @ np.linalg.lstsq(inputs, points, rcond=None)[0]
    return float(1 - residual.var(axis=0).sum() / points.var(axis=0).sum())


def missing_share(points):
    """Share of the generated points that lie in the combination that does not occur, well within it."""
    return float(np.mean(np.all(points > 0.1, axis=1)))


def _colors(points):
    """Colours [N, 3] that tell both factors: the first from blue to orange, the second from dark to light."""
    first, second = np.clip((points.T + 1) / 2, 0, 1)[:, :, np.newaxis]
    hue = np.array([0.05, 0.35, 0.75]) * (1 - first) + np.array([0.95, 0.5, 0.05]) * first
    return np.clip(hue * (0.45 + 0.75 * second), 0, 1)


def draw(data, z, w, points, facts):
    """The three panels, bytes of a PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    with matplotlib.rc_context({'font.size': 10}):
        figure = Figure(figsize=(13.5, 4.9), dpi=120)
        FigureCanvasAgg(figure)
        panels = [('(a) training distribution', data, data), ('(b) Z to points', z, points),
                  ('(c) W to points', w, points)]
        for number, (title, places, values) in enumerate(panels, 1):
            axes = figure.add_subplot(1, 3, number)
            axes.scatter(places[:, 0], places[:, 1], s=5, c=_colors(values), linewidths=0)
            if number > 1:
                for factor, style in ((0, '-'), (1, '--')):
                    axes.tricontour(places[:, 0], places[:, 1], values[:, factor], levels=np.linspace(-0.8, 0.8, 9),
                                    colors='black', linewidths=0.8, linestyles=style)
                title += f", explained by a linear map: {100 * facts['linearity_' + 'zw'[number - 2]]:.1f} %"
            axes.set_title(title, loc='left', fontsize=10)
            axes.set_aspect('equal', 'datalim')
            axes.set_xticks([])
            axes.set_yticks([])
        figure.text(0.01, 0.01, 'Lines: equal values of the first (solid) and the second factor (dashed). Colours: the '
                    'first from blue to orange, the second from dark to light.', fontsize=9)
        figure.tight_layout(rect=(0, 0.04, 1, 1))
        buffer = io.BytesIO()
        figure.savefig(buffer, format='png', metadata={'Software': None})
    return buffer.getvalue()


def main(argv=None):
    """Trains, draws, and prints how straight the factors are in both spaces."""
    args = parse_args(argv)
    with results_folder(args.outdir, 'choose another one with --outdir'):
        _train_and_draw(args)


def _train_and_draw(args):
    from dnnlib import tflib
    from experiment.studies import unwarping_networks
    rng = np.random.RandomState(args.seed)
    z = draw_latents(NUM_POINTS, np.random.RandomState([args.seed, 1]))
    w, points = unwarping_networks.train(
        args.mapping_layers, args.steps, args.seed, z, lambda: (draw_latents(BATCH, rng), draw_data(BATCH, rng)))
    facts = OrderedDict(linearity_z=linearity(z, points), linearity_w=linearity(w, points),
                        missing_share=missing_share(points), mapping_layers=args.mapping_layers, steps=args.steps,
                        batch=BATCH, seed=args.seed, engine=tflib.ENGINE, tensorflow=tflib.tf.__version__)
    path = os.path.join(args.outdir, 'unwarping.png')
    with atomic_write(path) as file:
        file.write(draw(draw_data(NUM_POINTS, np.random.RandomState(args.seed)), z, w, points, facts))
    write_json(os.path.join(args.outdir, 'unwarping.json'), facts)
    print(f"An affine map explains {100 * facts['linearity_z']:.1f} % of the factors' variance in Z and "
          f"{100 * facts['linearity_w']:.1f} % in W; {100 * facts['missing_share']:.1f} % of the generated points lie "
          f'where there are no training data\n{shown(path)}')
