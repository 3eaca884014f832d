"""A training so small that several processes of it are quick, and what it leaves."""

import glob
import os
import subprocess
import sys

from data.converters.create_points import create_points
from training.state import checkpoint

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAUNCH = [sys.executable, '-m', 'dnnlib.tflib.launch']


def training_words(folder, length=2.0, name='run'):
    """Words for a training of the minimal GAN on points in `folder`."""
    data = os.path.join(folder, 'data', 'points')
    if not os.path.isdir(data):
        os.makedirs(os.path.dirname(data), exist_ok=True)
        create_points(data, 'gaussians-8', num=500)
    settings = {'dataset.tfrecord_dir': 'points', 'train.total_kimg': length, 'train.minibatch_repeats': 5,
                'metrics': '[]', 'train.image_snapshot_ticks': 0, 'sched.tick_kimg_base': 0.5,
                'train.checkpoint_kimg': 0.25,
                'tf_config.intra_op_parallelism_threads': 1, 'tf_config.inter_op_parallelism_threads': 1}
    words = ['train.py', '--config', 'minimal-gan', '--device', 'cpu', '--data-dir', os.path.dirname(data),
             '--result-dir', os.path.join(folder, name)]
    return words + [word for key, value in settings.items() for word in ('--set', f'{key}={value}')]


def newest_checkpoint(folder, name='run'):
    """State, and arrays as bytes, of the newest checkpoint of the one run in a folder."""
    run_dir, = glob.glob(os.path.join(folder, name, '*'))
    _, state, arrays = checkpoint.load_newest(os.path.join(run_dir, 'checkpoints'))
    return state, {key: value.tobytes() for key, value in arrays.items()}


def run(command, **kwargs):
    """A finished command with its output in `stdout`."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          timeout=300, **kwargs)
