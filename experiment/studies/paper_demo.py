"""Table 4 of the StyleGAN paper in small, by one command: six networks trained on drawn faces, measured and compared.

`make paper-demo` runs it; what is there already is not made again.
"""

import itertools
import os
import subprocess
import sys
import time
from collections import OrderedDict

import config as folders
from data.converters.create_toyfaces import create_toyfaces
from data.records.manifest import has_manifest
from dnnlib.command_line import Parser, shown, told
from dnnlib.files import atomic_write, make_folder, read_json
from dnnlib.util import UserError, format_digits, format_time, run_main
from experiment.studies.runs import Trainer, Wanted
from metrics.presets import settings_of
from metrics.tables import definition

TABLE, PAPERS_TABLE = 'paper-demo', 'stylegan-4'
NUM_FACES = 10000
QUICK = ['train.total_kimg=1', 'sched.lod_training_kimg=0.1', 'sched.lod_transition_kimg=0.1', 'sched.tick_kimg_base=1']
QUICK_NUM_FACES = 300
# Runs go side by side, so that each needs one thread.
ONE_THREAD = ['tf_config.intra_op_parallelism_threads=1', 'tf_config.inter_op_parallelism_threads=1']


def make_parser():
    """The command line's options."""
    parser = Parser(prog='./reproduce paper-demo', description=__doc__.split('\n')[0],
                    epilog='examples:\n  ./reproduce paper-demo --dry-run\n')
    parser.add_argument('--quick', action='store_true', help='everything runs, but the networks learn next to nothing')
    parser.add_argument('--curves', action='store_true', help='also FID and path length over the training, as Fig. 7')
    parser.add_argument('--dry-run', action='store_true', help='only print the training commands')
    parser.add_argument('--jobs', type=int, choices=[1, 2, 3, 6], default=2, help='runs at a time (default: 2)')
    parser.add_argument('--data-dir', default=folders.data_dir, metavar='DIR', help='folder of the data sets')
    parser.add_argument('--result-dir', default=os.path.join(folders.result_dir, 'paper-demo'), metavar='DIR',
                        help='folder of the runs and the table')
    return parser


def plan(table, quick=False):
    """OrderedDict-like list of `Wanted`, one for each network of the table."""
    overrides = ONE_THREAD + ['device=cpu'] + (QUICK + ['dataset.tfrecord_dir=demo-faces-32-quick'] if quick else [])
    return [Wanted(network.name, network.config, overrides) for network in table.used_networks()]


def measure_command(table, run, run_dir):
    """run_metrics.py and its arguments for what a table holds of a trained run, but for what training has measured.

    With several processors it is done while other networks are trained; the table then takes the records of the run.
    """
    known = {settings_of(spec)['name'] for spec in run.config.metrics}
    names = OrderedDict.fromkeys(cell.metric for cell in table.cells_of(run.title) if cell.metric not in known)
    return ['run_metrics.py', ','.join(names), '--run', run_dir, '--preset', 'quick', '--device', 'cpu']


def run_metrics(*words):
    """Runs run_metrics.py, showing the command so that it can be repeated. Raises UserError if it fails.

    A cell that stayed empty, which status 1 tells of, is no failure: the table gives its reason.
    """
    root = os.path.dirname(os.path.abspath(folders.__file__))
    print('\n$ ' + told('run_metrics.py', words), flush=True)
    status = subprocess.call([sys.executable, os.path.join(root, 'run_metrics.py')] + list(words))
    if status not in (0, 1):
        raise UserError(f'run_metrics.py ended with status {status}; what is measured is kept, start again to go on')


# ---- Does the paper's order show?


class Order:
    """How the rows of a column are ordered here and in the paper.

    Attributes: column (its title), rows ([(title, published, value, standard error)], the paper's lowest first), tau
    (Kendall's rank correlation), agreeing, differing (pairs of rows whose difference here is larger than two standard
    errors, and ordered as in the paper or the other way round), undecided (pairs with a smaller difference).
    """

    def __init__(self, column, rows):
        import scipy.stats
        self.column, self.rows = column, sorted(rows, key=lambda row: row[1])
        self.agreeing = self.differing = self.undecided = 0
        for (_, _, first, error_1), (_, _, second, error_2) in itertools.combinations(self.rows, 2):
            if abs(second - first) <= 2 * ((error_1 or 0) ** 2 + (error_2 or 0) ** 2) ** 0.5:
                self.undecided += 1
            elif second > first:
                self.agreeing += 1
            else:
                self.differing += 1
        self.tau = float(scipy.stats.kendalltau([row[1] for row in self.rows], [row[2] for row in self.rows])[0])


def compare_orders(table, papers, cells):
    """[Order] of the columns: `cells` as the filled table's JSON has them, `papers` the table with published values."""
    orders = []
    for key, column in papers.columns.items():
        rows, seen = [], set()
        for cell in papers.cells:
            if cell.column != key or cell.published is None:
                continue
            found = next((own for own in cells if own['row'] == papers.rows[cell.row]
                          and own['column'] == table.columns[key]), None)
            # A network's FID stands in the rows of both of its spaces.
            if found is None or found['value'] is None or (found['network'], found['value_name']) in seen:
                continue
            seen.add((found['network'], found['value_name']))
            rows.append((found['row'], cell.published, found['value'], found['standard_error']))
        if len(rows) > 1:
            orders.append(Order(column, rows))
    return orders


def describe_orders(orders, kimg):
    """Markdown that says how far the paper's order of rows shows."""
    lines = ["# Does the paper's order of rows show?", '',
             f'Table 4 of the StyleGAN paper beside networks that were trained for {kimg:g} kimg on drawn faces. Pairs '
             'of rows count where their values here are more than two standard errors apart; these are errors of '
             'sampling, while another seed of training would move the values further.', '']
    for order in orders:
        pairs = order.agreeing + order.differing + order.undecided
        lines += [f'## {order.column}', '',
                  f'Of {pairs} pairs {order.agreeing} are ordered as in the paper, {order.differing} the other way '
                  f"round, {order.undecided} are undecided; Kendall's tau {order.tau:+.2f}.", '',
                  "| row, the paper's lowest first | paper | here |", '| --- | --- | --- |']
        for title, published, value, error in order.rows:
            lines.append(f'| {title} | {published:g} | {format_digits(value, 4)}'
                             + (f' ± {format_digits(error, 2)}' if error else '') + ' |')
        lines.append('')
    return '\n'.join(lines).rstrip() + '\n'


def main(argv=None):
    """Makes data, networks, table and comparison, as far as they are missing."""
    args = make_parser().parse_args(argv)
    began = time.time()
    table = definition.load_table(TABLE, folders.config_dir)
    wanted = plan(table, args.quick)
    if args.dry_run:
        for run in wanted:
            print(told('train.py', run.command(args.data_dir, args.result_dir)))
        return
    args.result_dir = os.path.abspath(args.result_dir)
    make_folder(args.result_dir)
    data_set = os.path.join(args.data_dir, wanted[0].config.dataset.tfrecord_dir)
    if not has_manifest(data_set):
        create_toyfaces(data_set, 32, QUICK_NUM_FACES if args.quick else NUM_FACES)
    print(f'{len(wanted)} runs, {args.jobs} at a time', flush=True)
    trainer = Trainer(args.data_dir, args.result_dir, args.jobs,
                      after=lambda run, run_dir: measure_command(table, run, run_dir))
    run_dirs = trainer.train_all(wanted)

    out = os.path.join(args.result_dir, 'table')
    words = ['table', TABLE, '--preset', 'quick', '--out', out, '--data-dir', args.data_dir, '--device', 'cpu']
    for run, run_dir in zip(wanted, run_dirs):
        words += ['--network', f'{run.title}={run_dir}']
    run_metrics(*words)
    orders = compare_orders(table, definition.load_table(PAPERS_TABLE, folders.config_dir),
                            read_json(os.path.join(out, TABLE + '.json'))['cells'])
    text = describe_orders(orders, wanted[0].config.train.total_kimg)
    with atomic_write(os.path.join(out, 'order.md'), 'w') as file:
        file.write(text)
    print('\n' + text, flush=True)
    if args.curves:
        run_metrics('curves', run_dirs[0], run_dirs[-1], '--metrics', 'fid50k,ppl_zfull,ppl_wfull,ppl_wend', '--preset',
                    'quick', '--measure', '--out', os.path.join(args.result_dir, 'curves'), '--device', 'cpu')
    print(f'Done in {format_time(time.time() - began)}: {shown(os.path.join(out, TABLE + ".html"))}')


if __name__ == '__main__':
    run_main(main)
