"""`create_points`: a data set of points in the plane, drawn from a distribution."""

import argparse

import numpy as np

from data import points
from data.converters import exporter
from data.options import positive_int
from dnnlib.progress import Progress
from dnnlib.seeds import check_seed, seed_option

MOST = 10 ** 7  # points, which are drawn at once
_CHUNK = 20000  # points encoded at a time


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    about = '; '.join(f'{name}: {distribution.about}' for name, distribution in points.DISTRIBUTIONS.items())
    parser = subparsers.add_parser(
        'create_points', help='data set of points in the plane, for the minimal GAN',
        description=f'Draws points from a distribution, which the seed and the number decide. {about}.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('--distribution', required=True, choices=list(points.DISTRIBUTIONS), metavar='NAME',
                        help='one of ' + ', '.join(points.DISTRIBUTIONS))
    parser.add_argument('--num', type=_number, default=200000, metavar='N',
                        help=f'number of points, at most {MOST} (default 200000, as many as the metric jsd would like)')
    parser.add_argument('--seed', type=seed_option, default=0, metavar='N', help='seed (default 0)')
    parser.set_defaults(run=lambda args: create_points(args.dataset_dir, args.distribution, args.num, args.seed))


def _number(text):
    num = positive_int(text)
    if num > MOST:
        raise argparse.ArgumentTypeError(f'{num} is more than {MOST}')
    return num


def create_points(dataset_dir, distribution, num=200000, seed=0):
    """Makes a data set of `num` points, float32 [2] each, of the distribution of that name. Raises UserError."""
    source = points.get(distribution)
    found = source.sample(np.random.RandomState(check_seed(seed)), num).astype(np.float32)
    with exporter.Exporter(dataset_dir, [2], np.float32, forecast=num) as out:
        with Progress('create_points', num) as progress:
            for start in range(0, num, _CHUNK):
                part = found[start:start + _CHUNK]
                out.add(exporter.encode(part))
                progress.add(len(part))
        out.describe(command='create_points', skipped=[], resampling=None, distribution=distribution,
                     dynamic_range=list(points.BOX),
                     arguments={'distribution': distribution, 'num': num, 'seed': seed})
    print(f'{num} points of {distribution} in {dataset_dir}', flush=True)
