"""Trains a StyleGAN from a named configuration; see `train.py --help` and docs/training.md."""

import argparse
import os

import config as folders
from dnnlib import config_files
from dnnlib.submission import read_submit_config
from dnnlib.submission.submit import prepare_run_dir, run_in_dir
from dnnlib.submission.records import write_submit_config
from dnnlib.util import UserError, call_func_by_name, get_obj_by_name, run_main
from training import plan, run_config

EXAMPLES = '''examples:
  train.py --list-configs
  train.py --config demo --dry-run
  train.py --config toyfaces-64 --set train.total_kimg=500 --set metrics=[]
  train.py --config stylegan-f --set dataset.tfrecord_dir=mine --num-gpus 2
  train.py --resume results/00003-toyfaces-64
'''
RESUMABLE = ('train.total_kimg', 'train.image_snapshot_ticks', 'train.network_snapshot_ticks', 'train.checkpoint_kimg',
             'train.checkpoint_minutes', 'train.checkpoint_keep', 'train.on_nan', 'train.max_skipped_updates', 'metrics')


def parse_args(argv=None):
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description='Trains a generator and a discriminator and writes what becomes of them to a run directory.',
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_argument_group('what to train')
    group.add_argument('--config', metavar='NAME|FILE', help='a name from --list-configs, or the path of a YAML file')
    group.add_argument('--set', metavar='KEY=VALUE', action='append', default=[], dest='overrides',
                       help='change a setting, such as train.total_kimg=100 or metrics=[]; may be repeated')
    group.add_argument('--seed', type=int, metavar='INT', help='seed of all random numbers, 0 or more '
                       "(default: the configuration's, 1000)")
    group.add_argument('--init-from', metavar='PKL', help='network pickle to take the initial weights from')
    group.add_argument('--resume', metavar='RUN_DIR', help='go on with this run from its newest checkpoint; '
                       'of the settings only its length, snapshots, checkpoints and metrics can change')
    group = parser.add_argument_group('where')
    group.add_argument('--data-dir', metavar='DIR', help=f'folder of the data sets (default: {_shown(folders.data_dir)})')
    group.add_argument('--result-dir', metavar='DIR',
                       help=f'folder of the run directories (default: {_shown(folders.result_dir)})')
    group.add_argument('--device', choices=['auto', 'cpu', 'gpu'], help="what to compute on (default: the "
                       "configuration's, auto: GPUs where there are any)")
    group.add_argument('--num-gpus', type=int, metavar='INT', help='GPUs, or virtual devices on a CPU, that share each '
                       "minibatch, 1 or more (default: the configuration's)")
    group = parser.add_argument_group('only look')
    group.add_argument('--list-configs', action='store_true', help='list the named configurations')
    group.add_argument('--print-config', action='store_true',
                       help='print the resolved configuration with the origin of each value')
    group.add_argument('--dry-run', action='store_true', help='print what would be done: phases, memory, disk')
    args = parser.parse_args(argv)
    if args.resume is not None:
        for name in ('config', 'seed', 'num_gpus', 'init_from'):
            if getattr(args, name) is not None:
                parser.error(f"--{name.replace('_', '-')} cannot be changed with --resume")
    elif args.config is None and not args.list_configs:
        parser.error('say what to train with --config, see --list-configs; or go on with a run with --resume')
    return args


def _shown(path):
    relative = os.path.relpath(path)
    return path if relative.startswith('..') else relative


def load_config(args):
    """Returns (config, origins) of a new run or of the one to resume."""
    if args.resume is None:
        options = dict(seed=args.seed, num_gpus=args.num_gpus, device=args.device)
        return run_config.load(args.config, folders.config_dir, args.overrides, options)
    record = read_submit_config(args.resume)
    stored, origins = config_files.to_easy(record['config']), record['provenance']
    for text in args.overrides:
        key = text.partition('=')[0].strip()
        if key not in RESUMABLE:
            raise UserError(f"--set {key} cannot be changed with --resume, only {', '.join(RESUMABLE)} can")
    return run_config.override(stored, origins, args.overrides, dict(device=args.device))


def open_data(config, data_dir):
    """Opens the data set, which checks its files. Returns what the plan needs to know of it. Raises UserError."""
    load_dataset = get_obj_by_name('training.dataset.load_dataset')
    with load_dataset(data_dir=data_dir, **config.dataset) as training_set:
        return plan.data_facts(training_set)


def list_configs():
    """Prints names and descriptions of the named configurations."""
    configs = config_files.list_configs(folders.config_dir)
    width = max(len(name) for name, _ in configs)
    for name, description in configs:
        print(f'{name:<{width}}  {description}')


def main(argv=None):
    """Parses the command line and does what it says."""
    args = parse_args(argv)
    if args.list_configs:
        return list_configs()
    config, origins = load_config(args)
    if args.print_config:
        return print(config_files.dump_config(config, origins), end='')
    record = read_submit_config(args.resume) if args.resume else {}
    data_dir = os.path.abspath(args.data_dir or record.get('data_dir') or folders.data_dir)
    result_dir = os.path.abspath(args.result_dir or folders.result_dir)

    data = open_data(config, data_dir)
    phases = plan.make_phases(config, data.resolution_log2)
    plan.check_minibatches(config, phases)
    if args.dry_run:
        for line in plan.describe(phases):
            print(line)
        return None
    if args.init_from is not None and not os.path.isfile(args.init_from):
        raise UserError(f"--init-from: there is no file '{args.init_from}'")
    check_devices(config)

    kwargs = run_config.loop_arguments(config, data_dir)
    if args.resume:
        run_dir = os.path.abspath(args.resume)
    else:
        run_dir = prepare_run_dir(result_dir, config.desc, dict(config=config, data_dir=data_dir), origins,
                                  ignore=[data_dir, folders.cache_dir])
    print(f'Run directory: {run_dir}', flush=True)

    def train(context):
        if args.resume and args.overrides:
            write_submit_config(run_dir, dict(record, config=config), origins)
        return call_func_by_name(func_name=config.train.get('func_name', run_config.LOOP), run_dir=run_dir,
                                 run_context=context, resume=bool(args.resume), init_from=args.init_from, **kwargs)

    outcome = run_in_dir(run_dir, train, max_epoch=config.train.get('total_kimg'))
    print(f"Training {outcome or 'finished'}; everything is in {run_dir}", flush=True)
    return None


def check_devices(config):
    """Raises UserError unless the devices that the configuration asks for are there. Imports TensorFlow."""
    if config.device == 'cpu':
        return
    found = len(get_obj_by_name('dnnlib.tflib.engine.list_gpus')())
    if found < config.num_gpus and (found or config.device == 'gpu' or config.num_gpus > 1):
        choice = f'--num-gpus {found}' if found else '--device cpu'
        raise UserError(f'{config.num_gpus} GPU(s) are asked for, but TensorFlow can use {found}; pass {choice}, or '
                        'check the driver with nvidia-smi')


if __name__ == '__main__':
    run_main(main)
