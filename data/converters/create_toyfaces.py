"""`create_toyfaces`: a data set of procedural faces."""

import numpy as np

from data.converters import exporter, toyfaces
from data.options import add_workers, positive_int, power_of_two
from data.workers import ordered_fill
from dnnlib.machine import usable_cores
from dnnlib.progress import Progress
from dnnlib.seeds import check_seed, seed_option
from dnnlib.util import UserError

_SERIAL = 400  # so few faces are drawn before worker processes have started


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser(
        'create_toyfaces', help='data set of procedural faces with attributes as labels',
        description=f'Draws simple faces; face i depends only on the seed and i. Labels: {", ".join(toyfaces.NAMES)}.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('--resolution', type=power_of_two, default=64, metavar='N',
                        help='16, 32, 64, 128 or 256 (default 64)')
    parser.add_argument('--num', type=positive_int, default=5000, metavar='N', help='number of faces (default 5000)')
    parser.add_argument('--seed', type=seed_option, default=0, metavar='N', help='seed (default 0)')
    parser.add_argument('--identities', type=positive_int, metavar='N', help='pictures of so many persons, equally '
                        'many of each; labels are persons in place of attributes (default: every face is another one)')
    add_workers(parser)
    parser.set_defaults(run=lambda args: create_toyfaces(args.dataset_dir, args.resolution, args.num, args.seed,
                                                         args.workers, args.identities))


class Painter:
    """Draws and encodes faces in the worker processes; a task is a (first, last + 1) pair of face numbers."""

    def __init__(self, seed, resolution, persons=None):
        self.seed, self.resolution, self.persons = seed, resolution, persons

    def __call__(self, task, memory=None):
        """Encodes into `memory` as `exporter.encode` does. Returns (digests, labels)."""
        images, labels = toyfaces.draw_batch(self.seed, range(*task), self.resolution, self.persons)
        return exporter.encode(images, memory)[1], labels


def create_toyfaces(dataset_dir, resolution=64, num=5000, seed=0, workers=None, identities=None):
    """Makes a data set of `num` faces, [3, resolution, resolution] each, with attribute labels float32 [num, 18].

    `identities`: number of persons whom they show, equally often, and whose numbers are the labels then, as classes.
    Raises UserError.
    """
    if resolution not in (16, 32, 64, 128, 256):
        raise UserError(f'--resolution is {resolution}; 16, 32, 64, 128 or 256 is expected')
    if identities is not None and not 2 <= identities <= num // 2:
        raise UserError(f'--identities is {identities}; at least 2, and at most half of the {num} faces, are expected')
    seed = check_seed(seed, '--seed')
    workers = usable_cores() if workers is None else workers
    if num * resolution <= _SERIAL * 64:
        workers = 1
    count = 128 if resolution <= 64 else 32
    tasks = [(start, min(start + count, num)) for start in range(0, num, count)]
    labels, shape = [], [3, resolution, resolution]
    room = exporter.forecast_bytes(shape, np.uint8, count)
    with exporter.Exporter(dataset_dir, shape, forecast=num) as out:
        with Progress('create_toyfaces', num) as progress:
            for (digests, part), memory in ordered_fill(Painter(seed, resolution, identities), tasks, workers, room):
                out.add((exporter.split(memory, shape, np.uint8, len(part)), digests))
                labels.append(part)
                progress.add(len(part))
        if identities is None:
            out.set_labels(np.concatenate(labels), toyfaces.NAMES, label_source='drawn')
        else:
            out.set_labels(np.eye(identities, dtype=np.float32)[np.arange(num) % identities],
                           [f'person {person}' for person in range(identities)], label_source='drawn')
        out.describe(command='create_toyfaces', skipped=[], resampling=None, arguments=dict(
            {'resolution': resolution, 'num': num, 'seed': seed}, **{'identities': identities} if identities else {}))
    print(f'{num} faces of {resolution}x{resolution} in {dataset_dir}', flush=True)
