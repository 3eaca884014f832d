"""A start of a training run: from what the command line asks for, through a plan that is checked, to the loop's end.

What looks at data, machine and networks is imported once the configuration has turned out to be one.
"""

import contextlib
import errno
import os

import config as folders
from dnnlib import config_files
from dnnlib.command_line import shown, typed
from dnnlib.submission import RunLock, processes, read_submit_config, write_submit_config
from dnnlib.submission.run_context import FollowerContext
from dnnlib.submission.submit import prepare_run_dir, run_in_dir
from dnnlib.util import UserError, call_func_by_name, format_time, sha256_file
from experiment import run_config, settings
from training.network_files.runs import locate_run_dir, run_dir_of


class Start:
    """One start: of a new run, or of the next part of one.

    Args:
        args: the options that train.py knows. Raises UserError for a configuration that is none.

    Attributes:
        config, origins: the resolved configuration, and where each value came from.
        record: the record of the run to go on with; None for a new run; before: its configuration until now.
        run_dir: its directory; None for a new run.
        place: where results will be: the run's directory, or the folder in which a new one gets it.
        data_dir: folder of the data sets.
        init_from: the network to begin from, as the user says it, or None; resume_kimg: how far it was trained;
            transfer: whether only what fits of it is copied.
        machine: facts.Machine of the place.
        plan: the Plan, once `check` has made it.
        restored: the checkpoint to go on from, see `training.state.resume.find_checkpoint`; None for none.
    """

    def __init__(self, args):
        self.record = self.before = self.run_dir = self.plan = self.restored = None
        self.transfer = args.transfer
        options = dict(seed=args.seed, num_gpus=_all_devices(args), device=args.device)
        if args.resume is None:
            self.config, self.origins = run_config.load(args.config, folders.config_dir, args.overrides, options)
            self.place = os.path.abspath(args.result_dir or folders.result_dir)
            data_dir, self.init_from, self.resume_kimg = None, args.init_from, args.resume_kimg or 0
        else:
            self.run_dir = self.place = _find_run(args.resume, args.result_dir)
            self.record = read_submit_config(self.run_dir)
            self.config, self.origins, self.before = run_config.go_on(self.record, self.run_dir, args.overrides,
                                                                      options)
            data_dir, self.init_from, self.resume_kimg = (self.record.get('data_dir'), self.record.get('init_from'),
                                                          self.record.get('resume_kimg') or 0)
            self.transfer = self.record.get('transfer', False)
        self.data_dir = os.path.abspath(args.data_dir or data_dir or folders.data_dir)
        from experiment import facts
        self.machine = facts.Machine(self.place)

    # ---- What the command line can ask for

    def print_config(self):
        """Prints the resolved configuration with the origin of each value."""
        print(config_files.dump_config(self.config, self.origins), end='')

    def dry_run(self, with_probe=False):
        """Checks whatever can be checked without beginning, and prints the plan; `with_probe`: and its duration."""
        self.check(dry=True)
        if self.init_from is not None and self.restored is None:
            self._check_with_engine()
        print('\n'.join(self.in_words()), flush=True)
        if with_probe:
            self._print_probe()

    def train(self):
        """Trains in a new run directory, or in that of the run to go on with."""
        if self._is_finished():
            print(f'This run is finished; to go on give it {self._lacking()}\nNothing to do in {self.run_dir}')
            return
        processes.claim_gpus(self.config.num_gpus)
        if not processes.is_first():
            self._follow()
            return
        if self.run_dir is not None:
            RunLock(self.run_dir).close()  # refuse at once where another process trains in it
        self.check()
        self._check_with_engine()
        self._run()

    def _is_finished(self):
        """Whether there is nothing to do: the run came to its end, and is not asked for more."""
        if self.run_dir is None or not os.path.exists(os.path.join(self.run_dir, '_finished.txt')):
            return False
        return _length(self.config) <= _length(self.before) and _hours(self.config) <= _hours(self.before)

    def _lacking(self):
        """What a finished run needs to go on, in words: time, if that was what ended it, else length."""
        from experiment.reports import run_files
        before, ticks = self.before, run_files.read_ticks(self.run_dir)
        if ticks and ticks[-1]['kimg'] < _length(before) and _hours(before) < float('inf'):
            return f'more time, such as --max-hours {2 * max(_hours(self.config), _hours(before)):g}'
        return f'a greater length, such as --set train.total_kimg={2 * max(_length(self.config), _length(before)):g}'

    # ---- To a plan

    def check(self, dry=False):
        """Makes the plan and checks everything that needs neither TensorFlow nor a single write. Raises UserError.

        `dry`: plan without data, too, as far as the configuration tells of them.
        """
        from experiment import checks, facts, plan
        checks.check_beginning(self.config, self.run_dir, self.init_from, self.resume_kimg)
        if self.run_dir is None:
            facts.settle_size(self.config, self.origins, self.data_dir)
        self.plan = plan.Plan(self.config, facts.open_data(self.config, self.data_dir, dry))
        if self.run_dir is None:
            checks.check_place(self.place)
        checks.check_disk(self.plan, self.machine)
        if dry and self.config.device == 'gpu':
            checks.check_gpus(self.config, self.machine.num_gpus)
        if self.run_dir is not None:
            self.restored = checks.find_checkpoint(self.run_dir, self.config, self.data_dir)
            if self.restored is None:
                checks.check_recorded_start(self.record, self.run_dir)

    def _check_with_engine(self):
        """The checks that need TensorFlow: devices, and whether stored networks are those of the configuration."""
        from experiment import engine_checks
        engine_checks.check_devices(self.config)
        if not settings.is_adversarial(self.config):
            return
        self.init_from = engine_checks.check_networks(self.config, self.plan.data, self.restored, self.init_from,
                                                      self.transfer)

    def in_words(self):
        """The plan, what is missing, and what is odd, as lines of text."""
        from experiment import plan
        missing, odd = self.plan.data.missing, plan.warnings(self.plan, self.machine, self.data_dir)
        lines = plan.describe(self.plan, self.machine) + ([f'missing: {missing}'] if missing else [])
        return [typed(line) for line in lines + [f'warning: {text}' for text in odd]]

    def _print_probe(self):
        """Measures and prints how long a run will take."""
        if self.plan.sizes is None:
            raise UserError('--probe knows how cost grows with the resolution for the networks of this project only, '
                            f"not for {self.config.G.get('func_name', self.config.train.get('func_name'))}")
        if self.plan.data.missing:
            raise UserError(f'--probe needs the data: {self.plan.data.missing}')
        from experiment import probe
        from metrics.tables.epochs import EPOCH_KIMG
        result = probe.measure(self.plan, self.data_dir)
        for resolution, seconds in result.per_kimg.items():
            origin = 'measured' if resolution in result.measured else 'estimated'
            print(f'Speed at {resolution}x{resolution}: {seconds:.3g} seconds per kimg ({origin})')
        print(f'Duration: about {format_time(result.seconds)}, without snapshots and metrics')
        last = self.plan.phases[-1].resolution
        print(f'An epoch of {1000 * EPOCH_KIMG:,.0f} images at {last}x{last}: about '
              f'{result.per_kimg[last] * EPOCH_KIMG / 60:.3g} minutes, extrapolated from {probe.ITERATIONS} iterations')

    # ---- From a plan to a run

    def _run(self):
        """Calls the loop in the run's directory."""
        from experiment import watch
        is_new, self.run_dir = self.run_dir is None, self.run_dir or self._make_run_dir()
        try:
            outcome = run_in_dir(self.run_dir, lambda context: self._lead(context, not is_new),
                                 max_epoch=self.plan.total_kimg)
        except OSError as err:
            if err.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(f'no space left on the disk of {self.run_dir}; its last good checkpoint is intact: free '
                            f'some space and go on with ./reproduce train --resume {shown(self.run_dir)}') from err
        watch.write_report(self.run_dir)
        if outcome == 'stopped':
            print(typed(f'To go on: ./reproduce train --resume {shown(self.run_dir)}'))
        print(f'Training {outcome}; everything is in {self.run_dir}', flush=True)

    def _follow(self):
        """Trains in step with the first process, which checks, writes and prints for all."""
        with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere), FollowerContext() as context:
            self.check()
            self._call_loop(context, self.run_dir or '', self.run_dir is not None)

    def _make_run_dir(self):
        record = dict(config=self.config, data_dir=self.data_dir)
        if self.init_from is not None:
            record.update(init_from=os.path.abspath(self.init_from), init_from_sha256=sha256_file(self.init_from),
                          resume_kimg=self.resume_kimg, transfer=self.transfer)
        return prepare_run_dir(self.place, self.config.desc, record, self.origins,
                               ignore=[self.data_dir, folders.cache_dir])

    def _lead(self, context, resume):
        """Trains, and writes and prints what is to be known of it."""
        from experiment import watch
        print('\n'.join([f'Run directory: {self.run_dir}'] + self.in_words()), flush=True)
        if self.record is not None and self.config != self.record['config']:
            write_submit_config(self.run_dir, dict(self.record, config=self.config), self.origins)
        context.listeners.append(watch.Watch(self.run_dir, self.plan))
        return self._call_loop(context, self.run_dir, resume)

    def _call_loop(self, context, run_dir, resume):
        """Calls the loop with what it takes. Returns what it returns: 'finished' or 'stopped'."""
        arguments = run_config.loop_arguments(self.config, self.data_dir)
        beginning = dict(resume=resume, init_from=self.init_from, resume_kimg=self.resume_kimg, transfer=self.transfer)
        arguments.update((key, value) for key, value in beginning.items() if settings.loop_takes(self.config, key))
        return call_func_by_name(func_name=self.config.train.get('func_name', settings.LOOP), run_dir=run_dir,
                                 run_context=context, **arguments)


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


def _length(config):
    return settings.value_of(config, 'train', 'total_kimg')


def _hours(config):
    hours = settings.value_of(config, 'train', 'max_hours')
    return float('inf') if hours is None else hours
