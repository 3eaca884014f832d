"""Starts training runs as processes of their own and kills them at random moments, until they reach their end."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np

from training.levels import levels_of_detail
from training.tfrecord import Encoder

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = '''# A run of seconds on a data set of files
extends: demo
desc: faults
device: cpu
train: {{total_kimg: {total_kimg}, minibatch_repeats: 2, checkpoint_kimg: 0.032, G_smoothing_kimg: 0.1}}
G: {{fmap_base: 64, fmap_max: 8, latent_size: 8, dlatent_size: 8, mapping_fmaps: 8, mapping_layers: 2}}
D: {{fmap_base: 64, fmap_max: 8}}
dataset: {{tfrecord_dir: noise-8}}
sched:
  lod_initial_resolution: 4
  lod_training_kimg: {phase_kimg}
  lod_transition_kimg: {phase_kimg}
  minibatch_base: 8
  minibatch_dict: {{8: 4}}
  tick_kimg_base: 0.064
  tick_kimg_dict: {{}}
grid: {{size: 4x2}}
metrics: []
tf_config: {{intra_op_parallelism_threads: 2, inter_op_parallelism_threads: 2}}
'''


class Harness:
    """One folder with a data set, a configuration and the runs that are made of them.

    Args:
        folder: an empty folder.
        total_kimg: length of a run; its fade takes the second quarter.
        seed: of the moments of the kills.
    """

    def __init__(self, folder, total_kimg, seed=0):
        self.folder = str(folder)
        self.data = os.path.join(self.folder, 'data', 'noise-8')
        self.results = os.path.join(self.folder, 'results')
        self.config = os.path.join(self.folder, 'faults.yaml')
        self.random = random.Random(seed)
        make_data(self.data)
        with open(self.config, 'w') as f:
            f.write(CONFIG.format(total_kimg=total_kimg, phase_kimg=total_kimg / 4))

    def start(self, run_dir=None, **popen_args):
        """Starts a new run, or goes on with one, as a process."""
        args = ['--config', self.config, '--result-dir', self.results] if run_dir is None else ['--resume', run_dir]
        command = [sys.executable, os.path.join(ROOT, 'train.py'), '--data-dir', os.path.dirname(self.data)] + args
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **popen_args)

    def finish(self, run_dir=None, **popen_args):
        """Starts or goes on and waits for the end. Returns (exit status, everything printed, run directory)."""
        process = self.start(run_dir, **popen_args)
        out = process.communicate()[0].decode('utf-8', 'replace')
        return process.returncode, out, run_dir or self.newest_run()

    def newest_run(self):
        """The run directory with the highest number, None where there is none."""
        runs = sorted(name for name in os.listdir(self.results) if name[0].isdigit()) \
            if os.path.isdir(self.results) else []
        return os.path.join(self.results, runs[-1]) if runs else None

    def kill_once(self, run_dir, sig, longest):
        """Starts or goes on, sends `sig` after a random time, waits. Returns (exit status, run directory).

        Seconds count from the moment at which the run takes hold of its directory, so that most kills meet a run that
        is building its graph, training or writing, and not the interpreter's start.
        """
        known = self.newest_run() if run_dir is None else None
        before = self._size_of_notes(run_dir)
        process = self.start(run_dir)
        while process.poll() is None:
            if run_dir is None and self.newest_run() != known:
                run_dir = self.newest_run()
            if self._size_of_notes(run_dir) > before:
                break
            time.sleep(0.05)
        try:
            process.communicate(timeout=self.random.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(sig)
            process.communicate()
        return process.returncode, run_dir

    @staticmethod
    def _size_of_notes(run_dir):
        """Size of the file to which every start of a run adds a line."""
        path = os.path.join(run_dir, 'run.txt') if run_dir else ''
        return os.path.getsize(path) if os.path.exists(path) else 0


def make_data(folder, num=100):
    """A data set of noise at 8x8 and 4x4, through the project's own writer of records."""
    os.makedirs(folder)
    images = np.random.RandomState(0).randint(256, size=[num, 3, 8, 8], dtype=np.uint8)
    for level, pictures in enumerate(levels_of_detail(images)):
        encoder = Encoder(pictures.shape[1:], pictures.dtype)
        with open(os.path.join(folder, f'noise-8-r{3 - level:02d}.tfrecords'), 'wb') as f:
            f.write(encoder.encode(pictures).tobytes())


def final_bytes(run_dir):
    """The final networks of a finished run."""
    with open(os.path.join(run_dir, 'network-final.pkl'), 'rb') as f:
        return f.read()


def leftovers(run_dir):
    """Names of half-written files in a run directory."""
    return [name for _folder, _subfolders, names in os.walk(run_dir) for name in names if name.startswith('.tmp-')]


KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
