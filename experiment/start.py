"""A start of a training run: from what the command line asks for, through a plan that is checked, to the loop's end."""

import contextlib
import errno
import os

import config as folders
from dnnlib import config_files
from dnnlib.command_line import shown
from dnnlib.submission import RunLock, processes, read_submit_config, write_submit_config
from dnnlib.submission.run_context import FollowerContext
from dnnlib.submission.submit import prepare_run_dir, run_in_dir
from dnnlib.util import UserError, call_func_by_name, format_time, sha256_file
from experiment import checks, facts, plan, run_config, settings
from metrics.tables.epochs import EPOCH_KIMG
from training.network_files.runs import locate_run_dir, run_dir_of

RESUMABLE = ('train.total_kimg', 'train.image_snapshot_ticks', 'train.network_snapshot_ticks', 'train.checkpoint_kimg',
             'train.checkpoint_minutes', 'train.checkpoint_keep', 'train.on_nan', 'train.max_skipped_updates',
             'train.deterministic', 'train.save_tf_graph', 'train.save_weight_histograms', 'sched.minibatch_base',
             'sched.minibatch_dict', 'sched.max_minibatch_per_gpu', 'metrics', 'tf_config', 'num_gpus')


class Start:
    """What is to be started.

    Attributes:
        config, origins: the resolved configuration, and where each value came from.
        record: the record of the run to go on with; None for a new run.
        run_dir: its directory; None for a new run.
        place: where results will be: the run's directory, or the folder in which a new one gets it.
        data_dir: folder of the data sets.
        init_from: the network to begin from, as the user says it, or None; resume_kimg: how far it was trained.
        restored: the checkpoint to go on from, see `training.state.resume.find_checkpoint`; None for none.
        machine: facts.Machine of the place.
    """

    def __init__(self, config, origins, record, run_dir, place, data_dir, init_from, resume_kimg):
        self.config, self.origins = config, origins
        self.record, self.run_dir = record, run_dir
        self.place = os.path.abspath(place)
        self.data_dir = os.path.abspath(data_dir)
        self.init_from, self.resume_kimg = init_from, resume_kimg
        self.restored = None
        self.machine = facts.Machine(self.place)


# ---- What the command line can ask for


def list_configs(_args):
    """Prints names and descriptions of the named configurations, by group."""
    groups = config_files.group_configs(folders.config_dir)
    width = max(len(name) for _, members in groups for name, _ in members)
    for group, members in sorted(groups):
        print(f'\n{group}' if group else '')
        for name, description in members:
            print(f'  {name:<{width}}  {description}')


def print_config(args):
    """Prints the resolved configuration with the origin of each value."""
    start = configure(args)
    print(config_files.dump_config(start.config, start.origins), end='')


def dry_run(args):
    """Checks whatever can be checked without beginning, and prints the plan."""
    start = configure(args)
    run_plan = make_plan(start, dry=True)
    if start.init_from is not None and start.restored is None:
        _check_with_engine(start, run_plan)
    print('\n'.join(in_words(start, run_plan)), flush=True)
    if args.probe:
        _print_probe(start, run_plan)


def train(args):
    """Trains in a new run directory, or in that of the run to go on with."""
    start = configure(args)
    processes.claim_gpus(start.config.num_gpus)
    if _is_finished(start):
        print('This run is finished; to go on give it a greater length, such as --set train.total_kimg='
              f'{2 * max(_length(start.config), _length(start.record["config"])):g}\nNothing to do in {start.run_dir}')
        return
    if not processes.is_first():
        _follow(start)
        return
    if start.run_dir is not None:
        RunLock(start.run_dir).close()  # refuse at once where another process trains in it
    run_plan = make_plan(start)
    _check_with_engine(start, run_plan)
    _run(start, run_plan)


# ---- From the command line to a plan


def configure(args):
    """The Start that parsed options describe. Raises UserError."""
    if args.resume is None:
        options = dict(seed=args.seed, num_gpus=_all_devices(args), device=args.device)
        config, origins = run_config.load(args.config, folders.config_dir, args.overrides, options)
        return Start(config, origins, None, None, args.result_dir or folders.result_dir,
                     args.data_dir or folders.data_dir, args.init_from, args.resume_kimg or 0)
    run_dir = _find_run(args.resume, args.result_dir)
    record = read_submit_config(run_dir)
    if 'run_func_name' in record:
        raise UserError(f'{run_dir} was started by a call of submit_run, so that there is no configuration to go on '
                        'with; call it again with resume_run_id, or take its networks up with --init-from')
    for text in args.overrides:
        key = text.partition('=')[0].strip()
        if not any(key == name or key.startswith(name + '.') for name in RESUMABLE):
            raise UserError(f"--set {key} cannot be changed with --resume, only {', '.join(RESUMABLE)} can")
    config, origins = run_config.override(record['config'], record['provenance'], args.overrides,
                                          dict(device=args.device, num_gpus=_all_devices(args)))
    return Start(config, origins, record, run_dir, run_dir,
                 args.data_dir or record.get('data_dir') or folders.data_dir, record.get('init_from'),
                 record.get('resume_kimg') or 0)


def _all_devices(args):
    """The devices of all processes, where the command line names those of each; None leaves it to the configuration."""
    size = processes.world().size
    return args.num_gpus if size == 1 else (args.num_gpus or 1) * size


def _find_run(text, result_dir):
    """The absolute path of the run that --resume names: a directory, its name or its number."""
    if os.path.isfile(text):
        advice = f"start a new run from it with --init-from {shown(text)}, and --resume-kimg for how far it was trained"
        run_dir = run_dir_of(text)
        if run_dir is not None:
            advice = f'go on with its run, --resume {shown(run_dir)}; or {advice}'
        raise UserError(f"--resume: '{text}' is a file, not the directory of a run; {advice}")
    if os.sep in text and not os.path.isdir(text):
        raise UserError(f"'{text}' is not a run directory of this program: there is no such folder; give a folder such "
                        'as results/00003-demo, or its number')
    return os.path.abspath(locate_run_dir(text, result_dir))


def _is_finished(start):
    """Whether there is nothing to do: the run came to its end, and is not asked for more."""
    if start.run_dir is None or not os.path.exists(os.path.join(start.run_dir, '_finished.txt')):
        return False
    before = run_config.outlined(start.record['config'])
    return _length(start.config) <= _length(before)


def _length(config):
    return settings.value_of(config, 'train', 'total_kimg')


def make_plan(start, dry=False):
    """The Plan, after everything was checked that needs neither TensorFlow nor a single write. Raises UserError.

    `dry`: plan without data, too, as far as the configuration tells of them.
    """
    data = facts.open_data(start.config, start.data_dir, dry)
    run_plan = plan.Plan(start.config, data)
    if start.run_dir is None:
        checks.check_place(start.place)
    checks.check_disk(run_plan, start.machine)
    if dry and start.config.device == 'gpu':
        checks.check_gpus(start.config, start.machine.num_gpus)
    _check_loop(start, run_plan)
    if start.run_dir is not None:
        start.restored = checks.find_checkpoint(start.run_dir, start.config, start.data_dir)
        if start.restored is None:
            checks.check_recorded_start(start.record, start.run_dir)
    return run_plan


def _check_loop(start, run_plan):
    """Refuses what the loop cannot do."""
    loop = start.config.train.get('func_name', settings.LOOP)
    for asked, argument in ((start.run_dir, 'resume'), (start.init_from, 'init_from')):
        if asked and not settings.loop_takes(start.config, argument):
            raise UserError(f"--{argument.replace('_', '-')}: {loop} trains in one go, from the beginning")
    if start.resume_kimg and start.init_from is None:
        raise UserError('--resume-kimg says how many images the networks of --init-from have seen; give both')
    if not 0 <= start.resume_kimg < run_plan.total_kimg:
        raise UserError(f'--resume-kimg is {start.resume_kimg:g}; at least 0 and less than train.total_kimg '
                        f'({run_plan.total_kimg:g}) is expected')


def in_words(start, run_plan):
    """The plan, what is missing, and what is odd, as lines of text."""
    lines = plan.describe(run_plan, start.machine)
    lines += [f'missing: {run_plan.data.missing}'] if run_plan.data.missing else []
    return lines + [f'warning: {text}' for text in plan.warnings(run_plan, start.machine, start.data_dir)]


def _print_probe(start, run_plan):
    """Measures and prints how long a run will take."""
    if run_plan.sizes is None or run_plan.data.missing:
        raise UserError('--probe knows how cost grows with the resolution for the networks of this project only, not '
                        f'for {start.config.G.func_name}' if run_plan.sizes is None else f'--probe needs the data: '
                        f'{run_plan.data.missing}')
    from experiment import probe
    result = probe.measure(run_plan, start.data_dir)
    for resolution, seconds in result.per_kimg.items():
        origin = 'measured' if resolution in result.measured else 'estimated'
        print(f'Speed at {resolution}x{resolution}: {seconds:.3g} seconds per kimg ({origin})')
    print(f'Duration: about {format_time(result.seconds)}, without snapshots and metrics')
    last = run_plan.phases[-1].resolution
    print(f'An epoch of {1000 * EPOCH_KIMG:,.0f} images at {last}x{last}: about '
          f'{result.per_kimg[last] * EPOCH_KIMG / 60:.3g} minutes, extrapolated from {probe.ITERATIONS} iterations')


# ---- From a plan to a run


def _check_with_engine(start, run_plan):
    """The checks that need TensorFlow: devices, and whether stored networks are those of the configuration."""
    from experiment import engine_checks
    engine_checks.check_devices(start.config)
    if not run_config.is_adversarial(start.config):
        return
    if start.restored is not None:
        engine_checks.check_restored(start.restored, start.config, run_plan.data)
    elif start.init_from is not None:
        start.init_from = engine_checks.find_initial_networks(start.init_from, start.config, run_plan.data)


def _run(start, run_plan):
    """Calls the loop in the run's directory."""
    from experiment import watch
    run_dir = start.run_dir or _make_run_dir(start)

    def call_loop(context):
        print('\n'.join([f'Run directory: {run_dir}'] + in_words(start, run_plan)), flush=True)
        if start.record is not None and start.config != start.record['config']:
            write_submit_config(run_dir, dict(start.record, config=start.config), start.origins)
        context.listeners.append(watch.Watch(run_dir, run_plan))
        beginning = dict(resume=start.run_dir is not None, init_from=start.init_from, resume_kimg=start.resume_kimg)
        return call_func_by_name(
            func_name=start.config.train.get('func_name', settings.LOOP), run_dir=run_dir, run_context=context,
            **{key: value for key, value in beginning.items() if settings.loop_takes(start.config, key)},
            **run_config.loop_arguments(start.config, start.data_dir))

    try:
        outcome = run_in_dir(run_dir, call_loop, max_epoch=run_plan.total_kimg)
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f'no space left on the disk of {run_dir}; its last good checkpoint is intact: free some space '
                        f'and go on with train.py --resume {shown(run_dir)}') from err
    watch.write_report(run_dir)
    if outcome == 'stopped':
        print(f'To go on: train.py --resume {shown(run_dir)}')
    print(f'Training {outcome}; everything is in {run_dir}', flush=True)


def _follow(start):
    """Trains in step with the first process, which checks, writes and prints for all."""
    with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere), FollowerContext() as context:
        make_plan(start)
        call_func_by_name(
            func_name=start.config.train.get('func_name', settings.LOOP), run_dir=start.run_dir or '',
            run_context=context, resume=start.run_dir is not None, init_from=start.init_from,
            resume_kimg=start.resume_kimg, **run_config.loop_arguments(start.config, start.data_dir))


def _make_run_dir(start):
    record = dict(config=start.config, data_dir=start.data_dir)
    if start.init_from is not None:
        record.update(init_from=os.path.abspath(start.init_from), init_from_sha256=sha256_file(start.init_from),
                      resume_kimg=start.resume_kimg)
    return prepare_run_dir(start.place, start.config.desc, record, start.origins,
                           ignore=[start.data_dir, folders.cache_dir])
