"""The whole job on drawn faces: data set, training, pictures. `make demo` runs it; a second run repeats nothing."""

import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
import config as folders  # noqa: E402
from dnnlib.command_line import Parser, typed  # noqa: E402
from dnnlib.util import UserError, format_time, run_main  # noqa: E402
from experiment import run_config  # noqa: E402

CONFIG = 'demo'
NUM_FACES = 10000
QUICK = ['train.total_kimg=3', 'sched.lod_training_kimg=0.5', 'sched.lod_transition_kimg=0.5', 'sched.tick_kimg_base=1']
QUICK_NUM_FACES = 300


def parse_args(argv=None):
    parser = Parser(
        description=__doc__, epilog='example: ./reproduce demo --quick --result-dir /tmp/demo')
    parser.add_argument('--quick', action='store_true',
                        help='a few minutes in place of ten: everything runs, but the pictures show little')
    parser.add_argument('--data-dir', default=folders.data_dir, metavar='DIR', help='folder of the data sets')
    parser.add_argument('--result-dir', default=folders.result_dir, metavar='DIR', help='folder of the run directories')
    return parser.parse_args(argv)


def run_step(title, script, *args):
    """Runs one of the project's scripts, showing the command so that it can be repeated by hand."""
    print(f'\n== {title}\n$ {typed(script)} {" ".join(args)}', flush=True)
    status = subprocess.call([sys.executable, os.path.join(ROOT, script), *args])
    if status != 0:
        raise UserError(f'the demo stopped in the step "{title}": {script} ended with status {status}; '
                        'what it had finished is kept, and the demo goes on from there when it is started again')


def skip_step(title, path):
    print(f'\n== {title}\nalready done: {path}', flush=True)


def main(argv=None):
    args = parse_args(argv)
    began = time.time()
    overrides = list(QUICK) if args.quick else []
    data_name = 'demo-faces-32-quick' if args.quick else 'demo-faces-32'
    overrides += [f'dataset.tfrecord_dir={data_name}'] if args.quick else []
    data_set = os.path.join(args.data_dir, data_name)
    wanted, _ = run_config.load(CONFIG, folders.config_dir, overrides, {})

    title = 'Draw faces and write them as TFRecords at every resolution'
    if os.path.isfile(os.path.join(data_set, 'manifest.json')):
        skip_step(title, data_set)
    else:
        run_step(title, 'dataset_tool.py', 'create_toyfaces', data_set, '--resolution', '32', '--num',
                 str(QUICK_NUM_FACES if args.quick else NUM_FACES), '--seed', '0')

    title = 'Train a small StyleGAN, growing from 8x8 to 32x32'
    run_dir, is_finished = run_config.find_run(args.result_dir, wanted)
    if is_finished:
        skip_step(title, run_dir)
    elif run_dir is not None:
        run_step(title + ' (going on)', 'train.py', '--resume', run_dir)
    else:
        options = ['--data-dir', args.data_dir, '--result-dir', args.result_dir]
        for override in overrides:
            options += ['--set', override]
        run_step(title, 'train.py', '--config', CONFIG, *options)
        run_dir, _ = run_config.find_run(args.result_dir, wanted)

    title = 'Draw samples from the trained generator'
    samples = os.path.join(run_dir, 'samples')
    if os.path.isfile(os.path.join(samples, 'sheet.png')):
        skip_step(title, samples)
    else:
        run_step(title, 'generate.py', '--network', os.path.join(run_dir, 'network-final.pkl'), '--seeds', '0-95',
                 '--psi', '0.8', '--outdir', samples)

    title = "Score it with the project's stand-in networks: FID before and after training, and the rows of Table I"
    table = os.path.join(run_dir, 'table1')
    if os.path.isfile(os.path.join(table, 'table1.md')):
        skip_step(title, table)
    else:
        common = ['--preset', 'quick', '--data-dir', args.data_dir]
        run_step(title, 'run_metrics.py', 'fid50k', '--network', run_dir, '--untrained', '--out',
                 os.path.join(run_dir, 'metrics-untrained'), *common)
        run_step(title, 'run_metrics.py', 'table1', '--network', run_dir, '--out', table, *common)

    print(f'\nThe demo is complete ({format_time(time.time() - began)}). Look at')
    for what, path in (('the data set', data_set), ('real images', os.path.join(run_dir, 'reals.png')),
                       ('samples while training', os.path.join(run_dir, 'fakes*.png')),
                       ('samples at the end', os.path.join(samples, 'sheet.png')),
                       ('the report of the run', os.path.join(run_dir, 'report.html')),
                       ('the table of its scores', os.path.join(table, 'table1.html')),
                       ('the networks (G, D, Gs)', os.path.join(run_dir, 'network-final.pkl'))):
        print(f'  {what:24} {os.path.relpath(path)}')


if __name__ == '__main__':
    run_main(main)
