"""`python -m dnnlib.tflib.export NETWORK OUT`: a generator for programs that know nothing of this project."""

import importlib

import config
from dnnlib.util import run_main


def main(argv=None):
    """Exports the generator that the command line names."""
    return importlib.import_module(config.export_module).main(argv)


if __name__ == '__main__':
    run_main(main)
