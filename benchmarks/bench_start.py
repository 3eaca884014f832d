"""Processor time of commands that only tell something: help, lists, wrong arguments; in times that of importing numpy.

    ./reproduce shell python benchmarks/bench_start.py

Every command is a process of its own; the rounds take turns.
"""

import argparse
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401

ROUNDS = 7

import numpy as np  # noqa: E402  (which a Python without packages does not have: it has handed over by now)

from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

NUMPY = ['-c', 'import numpy']
COMMANDS = [
    ['train.py', '--help'],
    ['train.py', '--list-configs'],
    ['train.py', '--config', 'unknown'],
    ['train.py', '--config', 'demo', '--set', 'train.total_kimg=x'],
    ['train.py', '--resume', '99999'],
    ['train.py', 'doctor', '--help'],
    ['train.py', 'doctor', '--config', 'unknown'],
    ['run_metrics.py', '--help'],
    ['run_metrics.py', 'table', '--list-tables'],
    ['run_metrics.py', 'unknown', '--network', 'x'],
    ['run_metrics.py', 'fid50k', '--network', 'missing'],
    ['run_metrics.py', 'fid', '--images', 'missing', '--reference', 'missing'],
    ['run_metrics.py', 'curves', 'missing'],
    ['run_metrics.py', 'explain', 'a', 'b'],
    ['generate.py', '--help'],
    ['generate.py', '--network', 'x', '--seeds', 'a'],
    ['generate.py', '--network', 'missing', '--seeds', '1'],
    ['generate_figures.py', '--help'],
    ['generate_figures.py', 'lecture', '--help'],
    ['generate_figures.py', 'acceleration', '--help'],
    ['explore.py', '--network', 'missing'],
    ['project.py', '--help'],
    ['pretrained_example.py', '--help'],
    ['dataset_tool.py', '--help'],
    ['dataset_tool.py', 'info', 'missing'],
    ['-m', 'dnnlib.artifacts', 'list'],
    ['-m', 'dnnlib.tflib.convert', '--help'],
    ['-m', 'training.report', '--help'],
]


def processor_time(arguments):
    """Seconds of user and system time that a process of this Python takes with the given arguments."""
    process = subprocess.Popen([sys.executable] + arguments, cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # it is reaped already
    return usage.ru_utime + usage.ru_stime


def main():
    """Prints a line per command."""
    Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rounds = [[processor_time(command) for command in [NUMPY] + COMMANDS] for _ in range(ROUNDS)]
    numpy_seconds, *seconds = np.median(rounds, axis=0)
    print(f'import numpy: {numpy_seconds:.2f} s')
    for command, value in zip(COMMANDS, seconds):
        print(f'{" ".join(command):<44} {value:.2f} s  {value / numpy_seconds:.1f}')


if __name__ == '__main__':
    run_main(main)
