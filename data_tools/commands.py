"""The commands of dataset_tool.py. Each module named here has `add_arguments(subparsers)`, which adds its commands and
sets `run`, a function of the parsed arguments, as their default."""

import argparse
import importlib

MODULES = [
    'data_tools.create_from_images',
    'data_tools.create_toyfaces',
    'data_tools.create_celeba',
    'data_tools.create_lsun',
    'data_tools.create_from_hdf5',
    'data_tools.create_small',
    'data_tools.verify',
    'data_tools.show',
    'data_tools.prefilter.command',
    'data_tools.prepare',
]

_EXAMPLES = """examples:
  python dataset_tool.py create_toyfaces datasets/toyfaces-64 --resolution 64 --num 5000
  python dataset_tool.py create_from_images datasets/faces-256 ~/photos --resize 256
"""


def make_parser():
    """The argument parser with all commands."""
    parser = argparse.ArgumentParser(
        prog='dataset_tool.py', description='Makes, checks and shows data sets of multi-resolution TFRecords.',
        epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    subparsers = parser.add_subparsers(metavar='COMMAND', dest='command')
    subparsers.required = True
    for name in MODULES:
        importlib.import_module(name).add_arguments(subparsers)
    return parser


def main(argv=None):
    """Runs one command. Raises UserError for the user's mistakes."""
    args = make_parser().parse_args(argv)
    return args.run(args)
