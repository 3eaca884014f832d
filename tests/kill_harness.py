"""Starts training runs as processes of their own and kills them at random moments, until they reach their end."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np

from data.records.levels import levels_of_detail
from data.records.tfrecord import Encoder
from training.state import checkpoint

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The graph is not optimized, which would take most of the time until such a small run makes its first step.
CONFIG = '''# A run of seconds on a data set of files
extends: demo
desc: faults
device: cpu
train: {{total_kimg: {total_kimg}, minibatch_repeats: 2, checkpoint_kimg: 0.032, G_smoothing_kimg: 0.1}}
{networks}
dataset: {{tfrecord_dir: noise-8}}
sched:
  lod_initial_resolution: {first}
  lod_training_kimg: {phase_kimg}
  lod_transition_kimg: {phase_kimg}
  minibatch_base: 8
  minibatch_dict: {{8: 4}}
  tick_kimg_base: 0.064
  tick_kimg_dict: {{}}
grid: {{size: 4x2}}
metrics: []
tf_config:
  intra_op_parallelism_threads: 2
  inter_op_parallelism_threads: 2
  graph_options.rewrite_options.disable_meta_optimizer: true
'''
GROWING = '''G: {fmap_base: 64, fmap_max: 8, latent_size: 8, dlatent_size: 8, mapping_fmaps: 8, mapping_layers: 2}
D: {fmap_base: 64, fmap_max: 8}'''
SMALLEST = '''G: {func_name: training.networks_gan2014.G_fully_connected, hidden: 8}
D: {func_name: training.networks_gan2014.D_fully_connected, units: 4}'''
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
# train.py, which waits for its standard input to end before the loop begins, and says so.
HELD = '''import os, sys
sys.path.insert(0, {root!r})
import train
from dnnlib.util import run_main
from experiment import running

def wait(*args, call=running.call_func_by_name, **kwargs):
    os.write(1, b'held' + os.linesep.encode())
    sys.stdin.read()
    return call(*args, **kwargs)

running.call_func_by_name = wait
run_main(train.main)
'''


class Harness:
    """One folder with a data set, a configuration and the runs that are made of them.

    Args:
        folder: an empty folder.
        total_kimg: length of a run; its fade takes the second quarter.
        seed: of the moments of the kills.
        is_growing: whether StyleGAN trains, from 4x4 on; else networks at 8x8 that are built faster.
    """

    def __init__(self, folder, total_kimg, seed=0, is_growing=True):
        self.folder = str(folder)
        self.total_nimg = int(total_kimg * 1000)
        self.data = os.path.join(self.folder, 'data', 'noise-8')
        self.results = os.path.join(self.folder, 'results')
        self.config = os.path.join(self.folder, 'faults.yaml')
        self.random = random.Random(seed)
        make_data(self.data)
        with open(self.config, 'w') as f:
            f.write(CONFIG.format(total_kimg=total_kimg, phase_kimg=total_kimg / 4, first=4 if is_growing else 8,
                                  networks=GROWING if is_growing else SMALLEST))

    def start(self, run_dir=None, options=(), interpreter=sys.executable, **popen_args):
        """Starts a new run, or goes on with one, as a process."""
        args = ['--config', self.config, '--result-dir', self.results] if run_dir is None else ['--resume', run_dir]
        command = [interpreter, os.path.join(ROOT, 'train.py'), '--data-dir', os.path.dirname(self.data)] + args
        return subprocess.Popen(command + list(options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen_args)

    def start_held(self, run_dir):
        """Goes on with a run that has taken hold of its directory when this returns, and trains after `let_go`."""
        command = [sys.executable, '-c', HELD.format(root=ROOT), '--data-dir', os.path.dirname(self.data), '--resume',
                   run_dir]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = []
        for line in process.stdout:
            said.append(line)
            if line == b'held\n':
                return process
        raise AssertionError(b''.join(said).decode('utf-8', 'replace'))

    @staticmethod
    def let_go(process):
        """Lets a held run train, and waits for its end. Returns (exit status, everything printed from then on)."""
        process.stdin.close()
        process.stdin = None
        out = process.communicate()[0].decode('utf-8', 'replace')
        return process.returncode, out

    def finish(self, run_dir=None, *args, **kwargs):
        """Starts or goes on and waits for the end. Returns (exit status, everything printed, run directory)."""
        process = self.start(run_dir, *args, **kwargs)
        out = process.communicate()[0].decode('utf-8', 'replace')
        return process.returncode, out, run_dir or self.newest_run()

    def newest_run(self):
        """The run directory with the highest number, None where there is none."""
        runs = sorted(name for name in os.listdir(self.results) if name[0].isdigit()) \
            if os.path.isdir(self.results) else []
        return os.path.join(self.results, runs[-1]) if runs else None

    def kill_many_times(self, kills, choose_moment):
        """Kills runs until that many kills have met a run which had not ended, then lets the last one end.

        A run that is killed goes on; where it has reached its end, a new one is started.

        Args:
            kills: number of kills.
            choose_moment: called for each kill once the run has taken hold of its directory, so that kills meet it
                while it builds its graph, trains or writes, and not the interpreter's start. Returns a function
                (run directory) -> whether to kill now, which is asked again and again.

        Returns the directories of the runs, all of them finished.
        """
        runs, landed = [None], 0
        while landed < kills:
            sig = KILLS[landed % len(KILLS)]
            status, run_dir = self._kill_once(runs[-1], sig, choose_moment)
            assert status in (0, -sig, 128 + sig), status
            for path in checkpoint.list_checkpoints(os.path.join(run_dir, 'checkpoints')):
                checkpoint.read_checkpoint(path)  # none is half-written
            runs[-1] = run_dir
            if not is_finished(run_dir):
                landed += 1
            elif status == 0:
                runs.append(None)
            else:
                runs[-1] = None     # met it after its end, which says nothing
        if runs[-1] is None:
            return runs[:-1]
        status, out, _ = self.finish(runs[-1])
        assert status == 0, out
        return runs

    def _kill_once(self, run_dir, sig, choose_moment):
        """Starts or goes on, sends `sig` when the moment has come, waits. Returns (exit status, run directory)."""
        known = self.newest_run() if run_dir is None else None
        before = self.size_of_notes(run_dir)
        process = self.start(run_dir)
        is_due = None
        while process.poll() is None:
            if run_dir is None and self.newest_run() != known:
                run_dir = self.newest_run()
            if is_due is None and self.size_of_notes(run_dir) > before:
                is_due = choose_moment()
            if is_due is not None and is_due(run_dir):
                process.send_signal(sig)
                break
            time.sleep(0.01)
        out = process.communicate()[0].decode('utf-8', 'replace')
        assert process.returncode != 2, out
        return process.returncode, run_dir or self.newest_run()

    @staticmethod
    def size_of_notes(run_dir):
        """Size of the file to which every start of a run adds a line."""
        path = os.path.join(run_dir, 'run.txt') if run_dir else ''
        return os.path.getsize(path) if os.path.exists(path) else 0

    def after_some_seconds(self, longest):
        """A moment for `kill_many_times`: after a random number of seconds."""
        end = time.monotonic() + self.random.uniform(0, longest)
        return lambda run_dir: time.monotonic() >= end

    def after_some_images(self, most):
        """A moment for `kill_many_times`: after a random number of images."""
        count, first = self.random.randint(1, most), []

        def is_over(run_dir):
            newest = checkpoint.list_checkpoints(os.path.join(run_dir, 'checkpoints'))[:1]
            done = int(os.path.basename(newest[0]).split('-')[1].split('.')[0]) if newest else 0
            first.append(done)
            return done >= first[0] + count
        return is_over


def make_data(folder, num=100):
    """A data set of noise at 8x8 and 4x4, through the project's own writer of records."""
    os.makedirs(folder)
    images = np.random.RandomState(0).randint(256, size=[num, 3, 8, 8], dtype=np.uint8)
    for level, pictures in enumerate(levels_of_detail(images)):
        encoder = Encoder(pictures.shape[1:], pictures.dtype)
        with open(os.path.join(folder, f'noise-8-r{3 - level:02d}.tfrecords'), 'wb') as f:
            f.write(encoder.encode(pictures).tobytes())


class SmallDisk:
    """A memory disk of a few megabytes that can be filled up, as a context manager.

    It is mounted in a mount namespace of its own, which needs no rights where user namespaces are allowed, and seen
    from outside through /proc. OSError where this machine allows neither.
    """

    def __init__(self, folder, megabytes):
        os.mkdir(str(folder))
        for options in ('-Urm', '-m'):  # as an ordinary user; as the administrator where user namespaces are off
            try:
                self._shell = subprocess.Popen(['unshare', options, 'sh'], stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            except OSError:
                break   # no such program
            self.path = f'/proc/{self._shell.pid}/root{folder}'
            with contextlib.suppress(OSError):  # it ended at once, or nobody may look into it
                self._shell.stdin.write(f"mount -t tmpfs -o size={megabytes}m none '{folder}'; echo $?\n".encode())
                self._shell.stdin.flush()
                if self._shell.stdout.readline() == b'0\n' and os.statvfs(self.path).f_blocks:
                    return
            self.close()
        raise OSError('neither user namespaces nor mounts are allowed')

    def fill(self, spare):
        """Leaves room for so many bytes, which is rounded down to whole pages.

        What runs on the disk may take or free pages meanwhile, so it is filled in steps until nothing more fits.
        """
        self.make_room()
        with open(os.path.join(self.path, 'ballast'), 'wb', buffering=0) as f:
            for _ in range(100):
                disk = os.statvfs(self.path)
                free = disk.f_bavail * disk.f_frsize - spare
                if free <= 0:
                    return
                try:
                    f.write(bytes(free))
                except OSError as err:
                    if err.errno != errno.ENOSPC:
                        raise
        raise AssertionError('the disk does not stay full')

    def make_room(self):
        """Takes away what `fill` wrote."""
        path = os.path.join(self.path, 'ballast')
        if os.path.exists(path):
            os.unlink(path)

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait()

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.close()


def is_finished(run_dir):
    """Whether a run says that it has reached its end."""
    return os.path.exists(os.path.join(run_dir, '_finished.txt'))


def final_bytes(run_dir):
    """The final networks of a finished run."""
    with open(os.path.join(run_dir, 'network-final.pkl'), 'rb') as f:
        return f.read()


def leftovers(run_dir):
    """Names of half-written files in a run directory."""
    return [name for _folder, _subfolders, names in os.walk(run_dir) for name in names if name.startswith('.tmp-')]
