"""Runs the benchmarks on every engine that is set up; writes results/benchmarks.md and .json, and scaling.png.

    make bench                                  # everything, both engines
    make bench ARGS="--only networks --quick"   # some, in a short form
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import UserError, atomic_write, run_main  # noqa: E402

ENGINES = ('tf1', 'tf2')


def list_benchmarks():
    """Names of the benchmark modules, without `bench_`."""
    names = os.listdir(os.path.dirname(os.path.abspath(__file__)))
    return sorted(name[len('bench_'):-len('.py')] for name in names
                  if name.startswith('bench_') and name.endswith('.py'))


def parse_args(argv=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', metavar='LIST', help=f"some of {','.join(list_benchmarks())} (default: all)")
    parser.add_argument('--engines', metavar='LIST', default=','.join(ENGINES), help='default: %(default)s')
    parser.add_argument('--quick', action='store_true', help='smaller sizes, to see that everything runs')
    parser.add_argument('--out', metavar='DIR', default=os.path.join(ROOT, 'results'), help='default: results')
    parser.add_argument('--child', metavar='NAME', help=argparse.SUPPRESS)  # one benchmark, rows as JSON on stdout
    args = parser.parse_args(argv)
    args.only = args.only.split(',') if args.only else list_benchmarks()
    unknown = [name for name in args.only if name not in list_benchmarks()]
    if unknown:
        raise UserError(f"--only {unknown[0]}: there is no such benchmark; choose from {', '.join(list_benchmarks())}")
    return args


def run_child(name, quick):
    """Runs one benchmark in this process and prints its rows as the last line."""
    rows = importlib.import_module(f'bench_{name}').rows
    takes_quick = 'quick' in rows.__code__.co_varnames[:rows.__code__.co_argcount]
    print(json.dumps(rows(quick=quick) if takes_quick else rows()))


def measure(engine, name, quick):
    """Rows of one benchmark on one engine; None where the engine is not set up."""
    python = os.path.join(ROOT, f'.venv-{engine}', 'bin', 'python')
    if not os.path.exists(python):
        print(f'{engine} is not set up (make setup ENGINE={engine}): left out')
        return None
    command = [python, os.path.abspath(__file__), '--child', name] + (['--quick'] if quick else [])
    print(f'{engine}: {name} ...', flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, universal_newlines=True)
    if done.returncode != 0:
        print(f'{engine}: {name} failed with status {done.returncode}')
        return []
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_table(results, path):
    """Markdown: one line per figure, engines side by side."""
    engines = list(results)
    order, cells, notes = [], {}, {}
    for engine, rows in results.items():
        for row in rows:
            if row['what'] not in cells:
                order.append(row['what'])
                cells[row['what']] = {}
            cells[row['what']][engine] = row
            notes[row['what']] = (row.get('ratio_to') or '', row.get('floor') or '')
    lines = [f'Measured on {platform.processor() or platform.machine()}, {os.cpu_count()} cores. Ratios come from one '
             'run and are what to compare between machines.', '',
             '| what | ' + ' | '.join(f'{engine} | {engine} ratio' for engine in engines) + ' | ratio to | floor |',
             '| --- |' + ' ---: | ---: |' * len(engines) + ' --- | --- |']
    for what in order:
        shown = [_cell(cells[what].get(engine)) for engine in engines]
        lines.append(f'| {what} | ' + ' | '.join(shown) + f' | {notes[what][0]} | {notes[what][1]} |')
    with atomic_write(path, 'w') as f:
        f.write('\n'.join(lines) + '\n')


def _cell(row):
    if row is None or row.get('figure') is None:
        return ' | '
    ratio = '' if row.get('ratio') is None else f"{row['ratio']:.2f}"
    return f"{row['figure']:.3g} {row['unit']} | {ratio}"


def main(argv=None):
    args = parse_args(argv)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    if args.child:
        return run_child(args.child, args.quick)
    results = {}
    for engine in args.engines.split(','):
        collected = [measure(engine, name, args.quick) for name in args.only]
        if None not in collected:
            results[engine] = [row for rows in collected for row in rows]
    if not results:
        raise UserError('no engine is set up: run make setup first')
    os.makedirs(args.out, exist_ok=True)
    with atomic_write(os.path.join(args.out, 'benchmarks.json'), 'w') as f:
        f.write(json.dumps(results, indent=1) + '\n')
    write_table(results, os.path.join(args.out, 'benchmarks.md'))
    if 'scale' in args.only:
        importlib.import_module('bench_scale').plot(results, os.path.join(args.out, 'scaling.png'))
    with open(os.path.join(args.out, 'benchmarks.md'), encoding='utf-8') as f:
        print(f.read())
    print(f"The table is in {os.path.join(args.out, 'benchmarks.md')}")
    return None


if __name__ == '__main__':
    run_main(main)
