"""Several processes that train as one: who they are, who reads what, and that it stays the same run."""

import contextlib
import glob
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from data.converters.create_points import create_points
from data.records.dataset import SyntheticDataset
from dnnlib import tflib
from dnnlib.submission import processes
from dnnlib.util import UserError
from training.state import checkpoint

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAUNCH = [sys.executable, '-m', 'dnnlib.tflib.launch']


# ---- Who they are

@pytest.mark.parametrize('environ,rank,size,addresses', [
    ({}, 0, 1, ()),
    ({'STYLEGAN_RANK': '1', 'STYLEGAN_ADDRESSES': 'a:1,b:2'}, 1, 2, ('a:1', 'b:2')),
    ({'OMPI_COMM_WORLD_RANK': '1', 'OMPI_COMM_WORLD_SIZE': '2', 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}, 1, 2,
     ('localhost:41000', 'localhost:41001')),
    ({'PMI_RANK': '3', 'PMI_SIZE': '4', 'STYLEGAN_HOSTS': 'a,b', 'STYLEGAN_PORT': '5000'}, 3, 4,
     ('a:5000', 'a:5001', 'b:5000', 'b:5001')),
    ({'SLURM_PROCID': '0', 'SLURM_NTASKS': '4'}, 0, 1, ()),     # a batch script, not a step of it
    ({'SLURM_PROCID': '1', 'SLURM_STEP_NUM_TASKS': '2', 'SLURM_STEP_NUM_NODES': '1'}, 1, 2,
     ('localhost:41000', 'localhost:41001'))])
def test_the_environment_tells_which_process_this_is(environ, rank, size, addresses):
    assert processes.read_world(environ) == processes.World(rank, size, addresses)


@pytest.mark.parametrize('environ,words', [
    ({'STYLEGAN_RANK': 'x', 'STYLEGAN_ADDRESSES': 'a:1,b:2'}, "STYLEGAN_RANK is 'x'"),
    ({'OMPI_COMM_WORLD_RANK': '0', 'OMPI_COMM_WORLD_SIZE': '4', 'OMPI_COMM_WORLD_LOCAL_SIZE': '2'}, 'STYLEGAN_HOSTS'),
    ({'PMI_RANK': '0', 'PMI_SIZE': '3', 'STYLEGAN_HOSTS': 'a,b'}, 'equally many')])
def test_an_environment_without_sense_is_a_sentence(environ, words):
    with pytest.raises(UserError, match=words):
        processes.read_world(environ)


def test_devices_are_shared_equally(monkeypatch):
    monkeypatch.setattr(processes, '_found', [processes.World(1, 2, ('a:1', 'a:2'))])
    assert processes.here(4) == 2 and not processes.is_first()
    with pytest.raises(UserError, match='cannot be shared equally by 2 processes'):
        processes.here(3)


@pytest.mark.parametrize('words,sentence', [
    (['-np', '0', 'train.py'], 'from 1 to 4096'), (['-np', '2', 'nothing.py'], 'no script'),
    (['-np', '3', '--hosts', 'a,b', 'train.py'], 'equally over 2 hosts'),
    (['-np', '2', '--hosts', 'a,a', 'train.py'], 'different host names'),
    (['-np', '2', '--port', '80', 'train.py'], 'a port from 1024')])
def test_the_launcher_refuses_in_a_sentence(words, sentence, monkeypatch):
    from dnnlib.tflib import launch
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=sentence):
        launch.main(words)


# ---- The same run

@pytest.mark.both
def test_parts_of_a_minibatch_make_the_whole_and_read_nothing_else():
    whole = SyntheticDataset(resolution=4, num_images=10, label_size=3, seed=5)
    minibatches = [whole.get_minibatch_np(6) for _ in range(4)]
    parts, read = [], []
    for index in range(3):
        part = SyntheticDataset(resolution=4, num_images=10, label_size=3, seed=5)
        part.share(index, 3)
        original, count = part._read, [0]

        def counting(indices, level, original=original, count=count):
            count[0] += len(indices)
            return original(indices, level)

        part._read, part._prefetch = counting, False
        parts.append([part.get_minibatch_np(6) for _ in range(4)])
        read.append(count[0])
        assert part.state_dict() == whole.state_dict()
    assert read == [8, 8, 8]
    for number, (samples, labels) in enumerate(minibatches):
        assert np.array_equal(np.concatenate([part[number][0] for part in parts]), samples)
        assert np.array_equal(np.concatenate([part[number][1] for part in parts]), labels)


def test_draws_are_numbered_by_place(fresh_graph):
    def draw(*places):
        with tflib.rnd.seed_scope([7, 3]):
            values = []
            for number in places:
                with tflib.rnd.place(number):
                    values += [tflib.rnd.random_uniform([2]), tflib.rnd.random_normal([2])]
        return [value.tolist() for value in fresh_graph.run(values)]

    both = draw(0, 1)
    assert draw(1) == both[2:] and draw(0) == both[:2] and both[0] != both[2]
    with tflib.rnd.seed_scope([7, 3]):
        assert fresh_graph.run(tflib.rnd.random_uniform([2])).tolist() == both[0]


def _arguments(folder, length=2.0, name='run'):
    """Words for a training of the minimal GAN on points in `folder`."""
    data = os.path.join(folder, 'data', 'points')
    if not os.path.isdir(data):
        create_points(data, 'gaussians-8', num=500)
    settings = {'dataset.tfrecord_dir': 'points', 'train.total_kimg': length, 'train.minibatch_repeats': 5,
                'metrics': '[]', 'sched.tick_kimg_base': 1, 'train.checkpoint_kimg': 0.5,
                'tf_config.intra_op_parallelism_threads': 1, 'tf_config.inter_op_parallelism_threads': 1}
    words = ['train.py', '--config', 'minimal-gan', '--device', 'cpu', '--data-dir', os.path.dirname(data),
             '--result-dir', os.path.join(folder, name)]
    return words + [word for key, value in settings.items() for word in ('--set', f'{key}={value}')]


def _checkpoint(folder, name='run'):
    run_dir, = glob.glob(os.path.join(folder, name, '*'))
    _, state, arrays = checkpoint.load_newest(os.path.join(run_dir, 'checkpoints'))
    return state, {key: value.tobytes() for key, value in arrays.items()}


def _run(command, **kwargs):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          timeout=300, **kwargs)


def test_two_processes_write_the_checkpoint_of_two_towers(tmp_path):
    folder = str(tmp_path)
    towers = _run([sys.executable] + _arguments(folder, 1, 'towers') + ['--num-gpus', '2'])
    assert towers.returncode == 0, towers.stdout
    shared = _run(LAUNCH + ['-np', '2'] + _arguments(folder, 1, 'shared'))
    assert shared.returncode == 0, shared.stdout
    assert 'Training on 2 CPU device(s) of 2 processes' in shared.stdout and shared.stdout.count('Run directory') == 1
    (state, arrays), (state2, arrays2) = _checkpoint(folder, 'towers'), _checkpoint(folder, 'shared')
    assert arrays == arrays2 and state['dataset'] == state2['dataset']


def test_a_process_that_dies_ends_all_and_the_run_goes_on_with_another_number(tmp_path):
    folder = str(tmp_path)
    impatient = 'from dnnlib.tflib import launch; launch.END_SECONDS = 2; launch.run_main(launch.main)'
    with _training(folder, [sys.executable, '-c', impatient]) as launcher:
        children = _children(launcher.pid)
        assert len(children) == 2
        os.kill(max(children), signal.SIGKILL)
        rest = launcher.stdout.read()
        assert launcher.wait(timeout=100) != 0
    assert 'was ended by SIGKILL; ending the others' in rest and 'Traceback' not in rest, rest
    run_dir, = glob.glob(os.path.join(folder, 'run', '*'))
    state, _ = _checkpoint(folder)
    result = _run([sys.executable, 'train.py', '--resume', run_dir, '--device', 'cpu', '--set',
                   f'train.total_kimg={state["progress"]["cur_nimg"] / 1000 + 1}'])
    assert result.returncode == 0 and 'Training finished' in result.stdout, result.stdout


def test_a_signal_to_any_process_stops_all_after_the_same_step(tmp_path):
    folder = str(tmp_path)
    with _training(folder) as launcher:
        os.kill(max(_children(launcher.pid)), signal.SIGTERM)
        rest = launcher.stdout.read()
        assert launcher.wait(timeout=100) == 0, rest
    assert 'Training stopped' in rest and 'writing a network snapshot and a checkpoint' in rest, rest


@contextlib.contextmanager
def _training(folder, launch=LAUNCH):
    """Two processes that train for long, after their first tick; yields their launcher."""
    with subprocess.Popen(launch + ['-np', '2'] + _arguments(folder, 1000), cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True) as launcher:
        for line in launcher.stdout:
            if line.startswith('tick 1 '):
                break
        yield launcher


def _children(pid):
    deadline = time.time() + 30
    while time.time() < deadline:
        with open(f'/proc/{pid}/task/{pid}/children') as f:
            found = [int(child) for child in f.read().split()]
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError('no processes')


# ---- Complete files for clusters

def test_files_for_clusters_parse_and_name_what_is_there():
    folder = os.path.join(ROOT, 'docs', 'clusters')
    subprocess.run(['bash', '-n', os.path.join(folder, 'slurm.sh')], check=True)
    with open(os.path.join(folder, 'mpijob.yaml')) as f:
        job = yaml.safe_load(f)
    command = job['spec']['mpiReplicaSpecs']['Launcher']['template']['spec']['containers'][0]['command']
    assert command[0] == 'mpirun' and 'train.py' in command
    count = job['spec']['slotsPerWorker'] * job['spec']['mpiReplicaSpecs']['Worker']['replicas']
    assert command[command.index('-np') + 1] == str(count)
