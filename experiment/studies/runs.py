"""Several training runs for one purpose, some at a time, each in a process of its own; finished ones are kept."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time

import config as folders
from dnnlib.command_line import shown
from dnnlib.util import UserError, format_time
from experiment import run_config


class Wanted:
    """One run that is wanted.

    Attributes: title (what messages call it), base (name of its configuration), overrides (texts for --set), config
    (the resolved configuration).
    """

    def __init__(self, title, base, overrides=()):
        self.title, self.base, self.overrides = title, base, list(overrides)
        self.config, _ = run_config.load(base, folders.config_dir, self.overrides, {})

    def command(self, data_dir, result_dir, run_dir=None):
        """Arguments of train.py that make the run, or continue it in `run_dir`."""
        if run_dir is not None:
            return ['--resume', run_dir]
        words = ['--config', self.base, '--data-dir', os.path.abspath(data_dir), '--result-dir', result_dir]
        for override in self.overrides:
            words += ['--set', override]
        return words


class Trainer:
    """Trains what is wanted.

    Args:
        data_dir, result_dir: folders of the data sets and of the run directories.
        jobs: runs at a time, with one thread each where there are several.
        describe: function from a finished run's directory to words for its line; None: none.
        after: function from a `Wanted` and its directory to a script and its arguments, which are run when it was
            trained, while others still are; None: nothing. Whether it succeeds is for its caller to see.
    """

    def __init__(self, data_dir, result_dir, jobs=2, describe=None, after=None):
        self.data_dir, self.result_dir, self.jobs = data_dir, result_dir, jobs
        self.describe, self.after = describe, after
        self._lock = threading.Lock()
        self._processes = []
        self._is_stopped = False

    def train_all(self, wanted):
        """Trains what is not finished yet; returns the run directories in order. Raises UserError if one fails."""
        def interrupt(signum, stack):
            raise KeyboardInterrupt
        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
                futures = [pool.submit(self._train, run) for run in wanted]
                try:
                    return [future.result() for future in futures]
                except BaseException:
                    self._stop()
                    raise
        finally:
            signal.signal(signal.SIGTERM, before)

    def _train(self, run):
        run_dir, is_finished = run_config.find_run(self.result_dir, run.config)
        if is_finished:
            print(f'{run.title}: already done, {shown(run_dir)}', flush=True)
            return run_dir
        began = time.time()
        status, output = self._call(['train.py'] + run.command(self.data_dir, self.result_dir, run_dir))
        if status:
            last = '\n'.join(output.strip().splitlines()[-5:])
            raise UserError(f'the run {run.title} ended with status {status}; finished ones are kept, '
                            f'start again to go on. It said:\n{last}')
        run_dir, is_finished = run_config.find_run(self.result_dir, run.config)
        if not is_finished:
            raise UserError(f'the run {run.title} was stopped; start again to go on')
        words = '; '.join(self.describe(run_dir)) if self.describe else shown(run_dir)
        print(f'{run.title}: {format_time(time.time() - began)}; {words}', flush=True)
        if self.after is not None:
            self._call(self.after(run, run_dir))
        return run_dir

    def _call(self, words):
        """Runs a script with its arguments in a process that `_stop` ends. Returns (exit status, what it printed)."""
        script = os.path.join(os.path.dirname(os.path.abspath(folders.__file__)), words[0])
        with self._lock:
            if self._is_stopped:
                raise UserError('the other runs were stopped')
            environment = dict(os.environ, OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1') if self.jobs > 1 else None
            process = subprocess.Popen([sys.executable, script] + words[1:], stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, env=environment)
            self._processes.append(process)
        output = process.communicate()[0].decode('utf-8', 'replace')
        return process.returncode, output

    def _stop(self):
        with self._lock:
            self._is_stopped = True
            for process in self._processes:
                if process.poll() is None:
                    process.terminate()
