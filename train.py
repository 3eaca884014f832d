"""Trains a StyleGAN from a named configuration; see `train.py --help` and docs/training.md."""

import argparse
import errno
import os
import sys

import config as folders
from dnnlib import config_files, registry
from dnnlib.command_line import HelpFormatter, shown
from dnnlib.submission import RunLock, read_submit_config, write_submit_config
from dnnlib.submission.submit import prepare_run_dir, run_in_dir
from dnnlib.util import UserError, call_func_by_name, format_time, run_main
from experiment import doctor, preflight, probe, run_config, settings, watch

EXAMPLES = '''examples:
  train.py --list-configs
  train.py --config demo --print-config
  train.py --config toyfaces-32 --dry-run
  train.py --config toyfaces-64 --set train.total_kimg=500 --set metrics=[]
  train.py --config stylegan-f --set dataset.tfrecord_dir=mine --num-gpus 2
  train.py --resume results/00003-toyfaces-64
  train.py doctor --config celeba-256        # whether this machine can do it
'''
RESUMABLE = ('train.total_kimg', 'train.image_snapshot_ticks', 'train.network_snapshot_ticks', 'train.checkpoint_kimg',
             'train.checkpoint_minutes', 'train.checkpoint_keep', 'train.on_nan', 'train.max_skipped_updates',
             'train.deterministic', 'train.save_tf_graph', 'train.save_weight_histograms', 'sched.minibatch_base',
             'sched.minibatch_dict', 'sched.max_minibatch_per_gpu', 'metrics', 'tf_config', 'num_gpus')


def make_parser():
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description='Trains a generator and a discriminator and writes what becomes of them to a run directory.',
        epilog=EXAMPLES, formatter_class=HelpFormatter)
    group = parser.add_argument_group('what to train')
    group.add_argument('--config', metavar='NAME|FILE', help='a name from --list-configs, or the path of a YAML file')
    group.add_argument('--set', metavar='KEY=VALUE', action='append', default=[], dest='overrides',
                       help='change a setting, such as train.total_kimg=100 or metrics=[]; may be repeated; '
                       'docs/configs.md lists all')
    group.add_argument('--seed', type=int, metavar='INT',
                       help="seed of all random numbers, 0 to 2147483647 (default: the configuration's, mostly 1000)")
    group.add_argument('--init-from', metavar='NETWORK', help='snapshot to take the initial weights from: a file, a '
                       'run (its best snapshot, see docs/networks.md), a released network, or an address')
    group.add_argument('--resume', metavar='RUN_DIR', help='go on with this run from its newest checkpoint; of its '
                       'settings only length, snapshots, checkpoints, minibatches, metrics, devices and threads (--set '
                       'tf_config.…) can be changed; the latter two give other bits')
    group.add_argument('--on-nan', choices=['stop', 'rollback'], help='after too many updates in a row with NaN or '
                       "Inf: stop, or go back to the last checkpoint once (default: the configuration's, mostly stop)")
    group.add_argument('--deterministic', action='store_true', help='choose GPU operations that give equal bits every '
                       'time, at some cost in speed; a CPU always does')
    registry.add_option(group)
    group = parser.add_argument_group('where')
    group.add_argument('--data-dir', metavar='DIR',
                       help=f'folder of the data sets (default: {shown(folders.data_dir)})')
    group.add_argument('--result-dir', metavar='DIR',
                       help=f'folder of the run directories (default: {shown(folders.result_dir)})')
    group.add_argument('--device', choices=['auto', 'cpu', 'gpu'],
                       help="what to compute on (default: the configuration's, mostly auto: GPUs where there are any)")
    group.add_argument('--num-gpus', type=int, metavar='INT', help='GPUs, or virtual devices on a CPU, that share each '
                       "minibatch, 1 to 1024 (default: the configuration's, 1 to 8)")
    group = parser.add_argument_group('only look')
    group.add_argument('--list-configs', action='store_true', help='list the named configurations')
    group.add_argument('--print-config', action='store_true',
                       help='print the resolved configuration with the origin of each value')
    group.add_argument('--dry-run', action='store_true',
                       help='check everything and print the plan: phases, memory, disk')
    group.add_argument('--probe', action='store_true',
                       help='with --dry-run: also measure how long the run would take; needs some minutes')
    return parser


def parse_args(argv=None):
    """Parses the command line and refuses options that contradict each other."""
    parser = make_parser()
    args = parser.parse_args(argv)
    registry.allow_modules(args)
    args.overrides = (args.overrides + ([f'train.on_nan={args.on_nan}'] if args.on_nan else [])
                      + (['train.deterministic=true'] if args.deterministic else []))
    if args.probe and not args.dry_run:
        parser.error('--probe goes with --dry-run')
    if args.resume is not None:
        for name in ('config', 'seed', 'init_from', 'result_dir'):
            if getattr(args, name) is not None:
                parser.error(f"--{name.replace('_', '-')} cannot be changed with --resume")
    elif args.config is None and not args.list_configs:
        parser.error('say what to train with --config, see --list-configs; or go on with a run with --resume')
    return args


def list_configs():
    """Prints names and descriptions of the named configurations, by group."""
    groups = config_files.group_configs(folders.config_dir)
    width = max(len(name) for _, members in groups for name, _ in members)
    for group, members in sorted(groups):
        print(f'\n{group}' if group else '')
        for name, description in members:
            print(f'  {name:<{width}}  {description}')


def load_config(args, record):
    """Returns (config, origins) of a new run, or of the one to resume, whose record is given."""
    if record is None:
        options = dict(seed=args.seed, num_gpus=args.num_gpus, device=args.device)
        return run_config.load(args.config, folders.config_dir, args.overrides, options)
    if 'run_func_name' in record:
        raise UserError(f'{args.resume} was started by a call of submit_run, so that there is no configuration to go '
                        'on with; call it again with resume_run_id, or take its networks up with --init-from')
    for text in args.overrides:
        key = text.partition('=')[0].strip()
        if not any(key == name or key.startswith(name + '.') for name in RESUMABLE):
            raise UserError(f"--set {key} cannot be changed with --resume, only {', '.join(RESUMABLE)} can")
    options = dict(device=args.device, num_gpus=args.num_gpus)
    return run_config.override(record['config'], record['provenance'], args.overrides, options)


def main(argv=None):
    """Does what the command line says. Raises UserError before a run directory appears wherever possible."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ['doctor']:
        return doctor.main(argv[1:])
    args = parse_args(argv)
    if args.list_configs:
        return list_configs()
    record = read_submit_config(args.resume) if args.resume is not None else None
    config, origins = load_config(args, record)
    if args.print_config:
        return print(config_files.dump_config(config, origins), end='')
    if record is not None and _is_finished(args, record):
        return print(f'This run is finished; to go on give it a greater length, such as --set train.total_kimg='
                     f"{2 * config.train.total_kimg:g}\nNothing to do in {os.path.abspath(args.resume)}")

    data_dir = os.path.abspath(args.data_dir or (record or {}).get('data_dir') or folders.data_dir)
    result_dir = os.path.abspath(args.result_dir or folders.result_dir) if record is None else args.resume
    if record is None:
        preflight.check_result_dir(result_dir)
    data = preflight.open_data(config, data_dir)
    if args.init_from is not None:
        args.init_from = preflight.find_initial_networks(args.init_from, data)
    phases, sizes = preflight.check_plan(config, data)
    need = preflight.needs(config, phases, sizes)
    plan = preflight.report(config, data, phases, sizes, need, result_dir)
    plan += [f'warning: {text}' for text in preflight.warnings(config, data, phases, need, result_dir)
             + preflight.metric_warnings(config, data_dir)]
    if need is not None:
        preflight.check_disk(need, result_dir)
    if args.dry_run:
        print('\n'.join(plan), flush=True)
        return print_probe(config, data_dir, phases, sizes) if args.probe else None
    if record is not None:
        RunLock(args.resume).close()  # refuse at once, before TensorFlow is imported
    preflight.check_devices(config)
    return train(args, config, origins, record, data_dir, result_dir, plan, (phases, sizes))


def _is_finished(args, record):
    is_longer = any(text.startswith('train.total_kimg=') for text in args.overrides)
    return os.path.exists(os.path.join(args.resume, '_finished.txt')) and not is_longer


def print_probe(config, data_dir, phases, sizes):
    """Measures and prints how long a run will take."""
    if sizes is None:
        raise UserError(f'--probe knows how cost grows with the resolution for the networks of this project only, not '
                        f'for {config.G.func_name}')
    preflight.check_devices(config)
    result = probe.measure(config, data_dir, phases, sizes)
    for resolution, seconds in result.per_kimg.items():
        origin = 'measured' if resolution in result.measured else 'estimated'
        print(f'Speed at {resolution}x{resolution}: {seconds:.3g} seconds per kimg ({origin})')
    print(f'Duration: about {format_time(result.seconds)}, without snapshots and metrics')


def train(args, config, origins, record, data_dir, result_dir, plan, phases_and_sizes):
    """Trains in a new run directory, or in that of the run to resume."""
    kwargs = run_config.loop_arguments(config, data_dir)
    if record is None:
        new = dict(config=config, data_dir=data_dir, init_from=args.init_from)
        run_dir = prepare_run_dir(result_dir, config.desc, new, origins, ignore=[data_dir, folders.cache_dir])
    else:
        run_dir = os.path.abspath(args.resume)

    def call_loop(context):
        print('\n'.join([f'Run directory: {run_dir}'] + plan), flush=True)
        if record is not None and config != record['config']:
            write_submit_config(run_dir, dict(record, config=config), origins)
        context.listeners.append(watch.Watch(
            run_dir, *phases_and_sizes, snapshot_ticks=settings.value_of(config, 'train', 'network_snapshot_ticks')))
        return call_func_by_name(func_name=config.train.get('func_name', run_config.LOOP), run_dir=run_dir,
                                 run_context=context, resume=record is not None, init_from=args.init_from, **kwargs)

    try:
        outcome = run_in_dir(run_dir, call_loop, max_epoch=settings.value_of(config, 'train', 'total_kimg'))
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f'no space left on the disk of {run_dir}; its last good checkpoint is intact: free some space '
                        f'and go on with train.py --resume {shown(run_dir)}') from err
    watch.write_report(run_dir)
    if outcome == 'stopped':
        print(f'To go on: train.py --resume {shown(run_dir)}')
    print(f"Training {outcome}; everything is in {run_dir}", flush=True)


if __name__ == '__main__':
    run_main(main)
