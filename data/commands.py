"""The commands of dataset_tool.py. Each module named here has `add_arguments(subparsers)`, which adds its commands and
sets `run`, a function of the parsed arguments, as their default."""

import importlib

from dnnlib.command_line import Parser
from dnnlib.machine import keep_freed_memory

MODULES = [
    'data.converters.create_from_images',
    'data.converters.create_toyfaces',
    'data.converters.create_celeba',
    'data.converters.create_lsun',
    'data.converters.create_from_hdf5',
    'data.converters.import_records',
    'data.converters.create_small',
    'data.converters.create_digits',
    'data.converters.create_points',
    'data.converters.encode',
    'data.resharding',
    'data.verify',
    'data.show',
    'data.prefilter.command',
    'data.converters.prepare',
]

# What can be copied into a terminal, by command; those of the first also stand in the help of dataset_tool.py itself.
EXAMPLES = {
    'create_toyfaces': ['datasets/toyfaces-64 --resolution 64 --num 5000'],
    'create_from_images': ['datasets/faces-256 photos --resize 256',
                           'datasets/birds birds --resize 128 --crop pad --labels folders'],
    'create_celeba': ['datasets/celeba-128 CelebA', 'datasets/celeba-128 CelebA --labels CelebA/list_attr_celeba.txt'],
    'create_lsun': ['datasets/lsun-cat-256 cat_lmdb --max-images 100000'],
    'create_lsun_wide': ['datasets/lsun-car-512x384 car_lmdb --width 512 --height 384'],
    'create_from_hdf5': ['datasets/celebahq-256 celebahq.h5 --shuffle 0'],
    'import': ['datasets/flowers-256 flowers.tfrecords --resize 256'],
    'create_mnist': ['datasets/mnist mnist'],
    'create_cifar10': ['datasets/cifar10 cifar-10-batches-py'],
    'create_cifar100': ['datasets/cifar100 cifar-100-python'],
    'create_svhn': ['datasets/svhn svhn'],
    'create_mnistrgb': ['datasets/mnistrgb mnist --num-images 100000'],
    'create_digits': ['datasets/digits'],
    'create_points': ['datasets/gaussians-8 --distribution gaussians-8',
                      'datasets/ring --distribution ring --num 20000 --seed 5'],
    'encode': ['datasets/codes-256 datasets/faces-256 --codec results/00007-codec-h4'],
    'split': ['datasets/faces-1024-shards datasets/faces-1024 --shard-size 4G',
              'datasets/faces-shards datasets/faces --shards 8'],
    'merge': ['datasets/faces datasets/faces-shards'],
    'verify': ['datasets/toyfaces-64'],
    'info': ['datasets/toyfaces-64', 'datasets/toyfaces-64 --json'],
    'display': ['datasets/toyfaces-64 --num 100 --output sheet.png'],
    'extract': ['datasets/toyfaces-64 pictures'],
    'compare': ['datasets/toyfaces-64 datasets/toyfaces-64'],
    'prefilter': ['photos faces --workers 8', 'img_celeba faces --paper',
                  '/shared/photos /shared/faces --shard 3/16      # on one of 16 machines',
                  '--merge /shared/faces                          # once all 16 are done'],
    'prepare': ['celeba datasets/celeba-256 img_align_celeba.zip',
                'casia datasets/casia-256 CASIA-WebFace --workers 16',
                'lfw datasets/lfw-128 lfw.tgz --size 128 --labels folders',
                'folder datasets/mine photos --choose only'],
}
_BRIEFLY = ('create_toyfaces', 'create_from_images', 'verify', 'display')


def make_parser():
    """The argument parser with all commands."""
    parser = Parser(
        prog='dataset_tool.py', description='Makes, checks and shows data sets of multi-resolution TFRecords.',
        epilog=_examples(_BRIEFLY, 1))
    subparsers = parser.add_subparsers(metavar='COMMAND', dest='command')
    subparsers.required = True
    for name in MODULES:
        importlib.import_module(name).add_arguments(subparsers)
    for command, subparser in subparsers.choices.items():
        subparser.epilog = _examples([command], None)
    return parser


def _examples(commands, count):
    """A list of examples: `count` of each command, None for all."""
    lines = [f'  ./reproduce data {command} {arguments}'
             for command in commands for arguments in EXAMPLES[command][:count]]
    return '\n'.join(['examples:'] + lines)


def main(argv=None):
    """Runs one command. Raises UserError for the user's mistakes."""
    args = make_parser().parse_args(argv)
    keep_freed_memory(pictures=True)
    return args.run(args)
