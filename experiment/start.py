"""A start of a training run: what the command line asks for, what stands in files, and the plan, checked.

Everything flows one way: options and files become a configuration, configuration and data a plan, the plan a run (see
`experiment/running.py`). What looks at data, machine and networks is imported once the configuration has turned out to
be one.
"""

import os

import config as folders
from dnnlib import config_files, registry
from dnnlib.command_line import shown
from dnnlib.submission import RunLock, edited_settings, processes, read_submit_config
from dnnlib.util import UserError
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
        self.plan = self.restored = self.record = self.before = self.run_dir = None
        options = dict(seed=args.seed, num_gpus=_all_devices(args), device=args.device)
        if args.resume is not None:
            self.run_dir = _find_run(args.resume, args.result_dir)
            self.record = read_submit_config(self.run_dir)
        registry.allow_modules(args)
        updates, entries = config_files.parse_overrides(args.overrides, run_config.FREE_SECTIONS)
        if self.record is None:
            config, origins = config_files.load_config(args.config, folders.config_dir, updates)
            desc = os.path.splitext(os.path.basename(args.config))[0]
        else:
            self.before = config_files.to_easy(self.record['config'])
            config, origins = config_files.change(self.before, self.record['provenance'], updates)
            desc = ''
            run_config.check_changes(self.record, self.before, self.run_dir, args.overrides)
            self._tell_of_edits()
        origins.update(args.origins)    # of options that are short for --set
        self.config, self.origins = run_config.resolve(config, origins, entries, options, desc, not args.print_config)
        beginning = vars(args) if self.record is None else self.record
        self.init_from, self.resume_kimg = beginning.get('init_from'), beginning.get('resume_kimg') or 0
        self.transfer = beginning.get('transfer', False)
        self.data_dir = os.path.abspath(args.data_dir or beginning.get('data_dir') or folders.data_dir)
        self.place = self.run_dir or os.path.abspath(args.result_dir or folders.result_dir)
        from experiment import facts
        self.machine = facts.Machine(self.place)

    def _tell_of_edits(self):
        """Warns where the configuration that people read was changed, in the hope that the run would go on with it."""
        changed = edited_settings(self.run_dir, self.record['config'])
        if changed and processes.is_first():
            print(f"warning: {os.path.join(self.run_dir, 'config.yaml')} is no longer what this run was begun with "
                  f'({changed}), which has no effect; give changes with --set', flush=True)

    def dry_run(self, with_probe=False):
        """Checks whatever can be checked without beginning, and prints the plan; `with_probe`: and its duration."""
        from experiment import plan, probe
        self.check(dry=True)
        if self.init_from is not None and self.restored is None:
            self.check_with_engine()
        print('\n'.join(plan.in_words(self.plan, self.machine)), flush=True)
        if with_probe:
            probe.tell(self.plan, self.data_dir)

    def train(self):
        """Trains in a new run directory, or in that of the run to go on with."""
        if self._is_finished():
            print(f'This run is finished; to go on give it {self._lacking()}\nNothing to do in {self.run_dir}')
            return
        from experiment import running
        processes.claim_gpus(self.config.num_gpus)
        if not processes.is_first():
            running.follow(self)
            return
        if self.run_dir is not None:
            RunLock(self.run_dir).close()  # refuse at once where another process trains in it
        self.check()
        self.check_with_engine()
        running.lead(self)

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
        self._check_beginning()
        if self.run_dir is None:
            facts.settle_size(self.config, self.origins, self.data_dir)
        data = facts.open_data(self.config, self.data_dir, dry, self.run_dir, self.config.metrics)
        self.plan, self.restored = plan.Plan(self.config, data), data.restored
        if self.run_dir is None:
            checks.check_place(self.machine)
        elif self.restored is None:
            checks.check_recorded_start(self.record, self.run_dir)
        checks.check_disk(self.plan, self.machine)
        if dry and self.config.device == 'gpu':
            checks.check_gpus(self.config, self.machine.num_gpus)

    def _check_beginning(self):
        """Raises UserError for a beginning that the loop cannot have: in a run's middle, or from networks."""
        loop = self.config.train.get('func_name', settings.LOOP)
        for asked, argument in ((self.run_dir, 'resume'), (self.init_from, 'init_from')):
            if asked and not settings.loop_takes(self.config, argument):
                raise UserError(f"--{argument.replace('_', '-')}: {loop} trains in one go, from the beginning")
        if self.resume_kimg and self.init_from is None:
            raise UserError('--resume-kimg says how many images the networks of --init-from have seen; give both')
        total_kimg = _length(self.config)
        if not 0 <= self.resume_kimg < total_kimg:
            raise UserError(f'--resume-kimg is {self.resume_kimg:g}; at least 0 and less than train.total_kimg '
                            f'({total_kimg:g}) is expected')

    def check_with_engine(self):
        """The checks that need TensorFlow; the network to begin from is a file from now on. Raises UserError."""
        from experiment import engine_checks
        self.init_from = engine_checks.check(self.config, self.plan.data, self.restored, self.init_from, self.transfer)


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
