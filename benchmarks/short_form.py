"""The command line of the benchmarks that know nothing but a short form."""

import argparse

from dnnlib.command_line import Parser


def print_rows(description, rows):
    """Prints what `rows(quick)` gives, a line each; `description` is the help page."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='small sizes, to see that everything runs')
    for row in rows(parser.parse_args().quick):
        print(row, flush=True)
