"""`./reproduce report RUN`: the report of a run, under its published name."""

import importlib

import config
from dnnlib.util import run_main


def main(argv=None):
    """Makes the report of the run directory given on the command line."""
    return importlib.import_module(config.report_module).main(argv)


if __name__ == '__main__':
    run_main(main)
