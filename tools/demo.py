"""The whole job on drawn faces: data set, training, pictures. `make demo` runs it; a second run repeats nothing."""

import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
import config as folders  # noqa: E402
from dnnlib.command_line import Parser, shown, told  # noqa: E402
from dnnlib.submission.run_dir import run_id_of  # noqa: E402
from dnnlib.util import UserError, format_time, run_main  # noqa: E402
from experiment import run_config, watch  # noqa: E402
from experiment.reports import run_files  # noqa: E402
from experiment.reports import scores as scores_of_run  # noqa: E402

CONFIG = 'demo'
NUM_FACES = 10000
QUICK = ['train.total_kimg=3', 'sched.lod_training_kimg=0.5', 'sched.lod_transition_kimg=0.5', 'sched.tick_kimg_base=1',
         'metrics=[{preset: fid50k, num_images: 1000, minibatch_per_gpu: 25}]']
QUICK_NUM_FACES = 300
NUM_SCORED, QUICK_NUM_SCORED = 5000, 1000   # images per FID, as the configuration has it for its snapshots


def parse_args(argv=None):
    parser = Parser(
        prog='./reproduce demo', description=__doc__,
        epilog='examples:\n  ./reproduce demo --quick --result-dir /tmp/demo\n')
    parser.add_argument('--quick', action='store_true',
                        help='about three minutes in place of seven: everything runs, but the pictures show little')
    parser.add_argument('--data-dir', default=folders.data_dir, metavar='DIR', help='folder of the data sets')
    parser.add_argument('--result-dir', default=folders.result_dir, metavar='DIR', help='folder of the run directories')
    return parser.parse_args(argv)


def run_step(title, script, *args):
    """Runs one of the project's scripts, showing the command so that it can be repeated by hand."""
    print(f'\n== {title}\n$ {told(script, args)}', flush=True)
    status = subprocess.call([sys.executable, os.path.join(ROOT, script), *args])
    if status != 0:
        raise UserError(f'the demo stopped in the step "{title}": {script} ended with status {status}; '
                        'what it had finished is kept, and the demo goes on from there when it is started again')


def skip_step(title, path):
    print(f'\n== {title}\nalready done: {path}', flush=True)


def next_run_dir(result_dir):
    """Where the next run will be, unless another one begins meanwhile."""
    names = os.listdir(result_dir) if os.path.isdir(result_dir) else []
    number = max((run_id_of(name) for name in names if run_id_of(name) is not None), default=-1) + 1
    return os.path.join(result_dir, f'{number:05d}-{CONFIG}')


def tell_where_to_watch(run_dir):
    print(f'\nWhile it trains, its report can be watched: open {os.path.join(run_dir, "report.html")} in a browser; '
          'it is\nmade anew at every network snapshot, so reload it now and then.', flush=True)


def tell_scores(run_dir):
    """Prints the FIDs of the run before, during and after training."""
    found = scores_of_run.read_scores(run_dir, run_files.read_ticks(run_dir))
    scores = [score for score in found if score.metric == 'fid50k']
    if not scores:
        return
    lowest = min(score.value for score in scores)
    print("\nFID with the project's stand-in networks, to be compared with each other only; lower is better:")
    for score in scores:
        when = 'before training' if score.network.endswith('-untrained') else f'after {score.kimg:g} thousand images'
        print(f'  {when:30} {score.value:10.1f}' + ('   the best, whose scores the table has'
                                                    if score.value == lowest else ''))


def make_data(args, name):
    """Draws the faces; returns the data set's folder."""
    folder, title = os.path.join(args.data_dir, name), 'Draw faces and write them as TFRecords at every resolution'
    if os.path.isfile(os.path.join(folder, 'manifest.json')):
        skip_step(title, folder)
    else:
        run_step(title, 'dataset_tool.py', 'create_toyfaces', folder, '--resolution', '32', '--num',
                 str(QUICK_NUM_FACES if args.quick else NUM_FACES), '--seed', '0')
    return folder


def train(args, overrides, wanted, run_dir, is_finished):
    """Trains, or goes on with what was begun; returns the run's directory."""
    title = 'Train a small StyleGAN, growing from 8x8 to 32x32, with a FID at every network snapshot'
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
    return run_dir


def score_untrained(args, run_dir):
    """Measures the FID of the run's networks with fresh weights."""
    title, folder = 'Score its networks before training, to compare', os.path.join(run_dir, 'metrics-untrained')
    if os.path.isfile(os.path.join(folder, 'fid50k.json')):
        skip_step(title, folder)
    else:
        run_step(title, 'run_metrics.py', 'fid50k', '--network', run_dir, '--untrained', '--num-samples',
                 str(QUICK_NUM_SCORED if args.quick else NUM_SCORED), '--out', folder, *quickly(args))


def draw(run_dir):
    """Draws with the run's last networks; returns the folders of its samples and of its figures.

    Not with its best by FID: that of stand-in networks and few images puts coarser pictures first by chance.
    """
    title = 'Draw samples from the trained generator, and mix their styles'
    network = os.path.join(run_dir, 'network-final.pkl')
    samples, figures = os.path.join(run_dir, 'samples'), os.path.join(run_dir, 'figures')
    if os.path.isfile(os.path.join(figures, 'index.html')):
        skip_step(title, samples)
    else:
        run_step(title, 'generate.py', '--network', network, '--seeds', '0-95', '--psi', '0.8', '--outdir', samples)
        run_step(title, 'generate_figures.py', '--network', network, '--figures', 'style-mixing,truncation', '--outdir',
                 figures)
    return samples, figures


def make_table(args, run_dir):
    """Measures the rows of Table I; returns the folder of the table."""
    title = "Score it with the project's stand-in networks: the rows of Table I"
    folder = os.path.join(run_dir, 'table1')
    if os.path.isfile(os.path.join(folder, 'table1.md')):
        skip_step(title, folder)
    else:
        run_step(title, 'run_metrics.py', 'table1', '--network', run_dir, '--out', folder, *quickly(args))
    return folder


def quickly(args):
    """The options of all that measures."""
    return ['--preset', 'quick', '--data-dir', args.data_dir]


def main(argv=None):
    """Does what is not done yet, step by step, and says where everything is."""
    args = parse_args(argv)
    began = time.time()
    data_name = 'demo-faces-32-quick' if args.quick else 'demo-faces-32'
    overrides = QUICK + [f'dataset.tfrecord_dir={data_name}'] if args.quick else []
    wanted, _ = run_config.load(CONFIG, folders.config_dir, overrides, {})
    run_dir, is_finished = run_config.find_run(args.result_dir, wanted)
    if not is_finished:
        tell_where_to_watch(run_dir or next_run_dir(args.result_dir))
    data_set = make_data(args, data_name)
    run_dir = train(args, overrides, wanted, run_dir, is_finished)
    score_untrained(args, run_dir)
    samples, figures = draw(run_dir)
    table = make_table(args, run_dir)
    watch.write_report(run_dir)     # with what was made since the training ended
    tell_scores(run_dir)
    print(f'\nThe demo is complete ({format_time(time.time() - began)}). Look at')
    for what, path in (('the data set', data_set), ('real images', os.path.join(run_dir, 'reals.png')),
                       ('samples while training', os.path.join(run_dir, 'fakes*.png')),
                       ('samples at the end', os.path.join(samples, 'sheet.png')),
                       ('mixed styles', os.path.join(figures, 'style-mixing.png')),
                       ('the report of the run', os.path.join(run_dir, 'report.html')),
                       ('the table of its scores', os.path.join(table, 'table1.html')),
                       ('the networks (G, D, Gs)', os.path.join(run_dir, 'network-final.pkl'))):
        print(f'  {what:24} {shown(path)}')


if __name__ == '__main__':
    run_main(main)
