"""Trains a StyleGAN from a named configuration; see `train.py --help` and docs/training.md."""

import importlib
import sys

import check_python  # noqa: F401
import config as folders
from dnnlib import config_files, registry
from dnnlib.command_line import Parser, shown, typed
from dnnlib.util import run_main

EXAMPLES = '''examples:
  ./reproduce train --list-configs
  ./reproduce train --config demo --print-config
  ./reproduce train --config toyfaces-32 --dry-run
  ./reproduce train --config toyfaces-64 --set train.total_kimg=500 --set metrics=[]
  ./reproduce train --config stylegan-f --set dataset.tfrecord_dir=mine --num-gpus 2
  ./reproduce train --resume results/00003-toyfaces-64
  ./reproduce doctor --config celeba-256        # whether this machine can do it
  ./reproduce train attributes --dataset datasets/celebahq --out results/classifiers
'''

# Errands with a door of their own, by the first word of the command line.
ERRANDS = {'doctor': 'experiment.doctor', 'attributes': 'experiment.studies.attributes'}


def make_parser():
    """The command line's options."""
    parser = Parser(
        description='Trains a generator and a discriminator and writes what becomes of them to a run directory.',
        epilog=EXAMPLES)
    group = parser.add_argument_group('what to train')
    group.add_argument('--config', metavar='NAME|FILE', help='a name from --list-configs, or the path of a YAML file')
    group.add_argument('--set', metavar='KEY=VALUE', action='append', default=[], dest='overrides',
                       help='change a setting, such as train.total_kimg=100 or metrics=[]; may be repeated; '
                       'docs/configs.md lists all')
    group.add_argument('--max-hours', metavar='HOURS', help='end with a final snapshot after so many hours of '
                       'training, counted over all parts of the run; null: no limit (sets train.max_hours)')
    group.add_argument('--seed', type=int, metavar='INT',
                       help="seed of all random numbers, 0 to 2147483647 (default: the configuration's, mostly 1000)")
    group.add_argument('--on-nan', choices=['stop', 'rollback'], help='after too many updates in a row with NaN or '
                       "Inf: stop, or go back to the last checkpoint once (default: the configuration's, mostly stop)")
    group.add_argument('--deterministic', action='store_true', help='choose GPU operations that give equal bits every '
                       'time, at some cost in speed; a CPU always does')
    registry.add_option(group)
    group = parser.add_argument_group('where to begin')
    group.add_argument('--init-from', metavar='NETWORK', help='snapshot to take the initial weights from: a file, a '
                       'run (its best snapshot, see docs/networks.md), a released network, or an address')
    group.add_argument('--transfer', action='store_true', help='with --init-from: networks of another resolution, '
                       'label size or number of channels: copy what fits, say what does not, and let that start anew')
    group.add_argument('--resume-kimg', type=float, metavar='KIMG', help='with --init-from: thousands of images that '
                       'these networks have seen; schedule and data go on from there (default: 0)')
    group.add_argument('--resume', metavar='RUN', help='go on with this run, a directory or its number, from its '
                       'newest checkpoint; of its settings only length, hours, snapshots, checkpoints, minibatches, '
                       'metrics, devices and threads (--set tf_config.…) may change; the latter two give other bits')
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
    """Parses the command line. Exits with a sentence where options do not go together."""
    parser = make_parser()
    parser.only_with('--dry-run', '--probe')
    parser.only_with('--init-from', '--transfer')
    args = parser.parse_args(argv)
    if args.list_configs:
        parser.refuse([option for option in parser.options() if option != '--list-configs'],
                      'has no meaning with --list-configs, which lists all configurations')
    if args.print_config:
        parser.refuse(['--dry-run'], 'and --print-config are two ways to only look; choose one of them')
    values = dict(on_nan=args.on_nan, max_hours=args.max_hours, deterministic='true' if args.deterministic else None)
    given = [name for name in sorted(values) if values[name] is not None]
    args.overrides = args.overrides + [f'train.{name}={values[name]}' for name in given]
    args.origins = {f'train.{name}': '--' + name.replace('_', '-') for name in given}
    if args.resume is not None:
        for name in ('config', 'seed', 'init_from', 'resume_kimg'):
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
            print(f'  {name:<{width}}  {typed(description)}')


def main(argv=None):
    """Does what the command line says and returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in ERRANDS:
        return importlib.import_module(ERRANDS[argv[0]]).main(argv[1:])
    args = parse_args(argv)
    if args.list_configs:
        return list_configs()
    from experiment.start import Start
    start = Start(args)
    if args.print_config:
        return print(config_files.dump_config(start.config, start.origins), end='')
    if args.dry_run:
        return start.dry_run(args.probe)
    return start.train()


if __name__ == '__main__':
    run_main(main)
