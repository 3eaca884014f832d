"""`train.py doctor`: what it finds on machines in good and in bad shape."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import train
from dnnlib.util import EasyDict, UserError
from experiment import device_check, doctor, facts

GOOD = dict(engine='tf2', tensorflow='2.15', numpy='1.26', devices=[dict(kind='cpu', name='/cpu:0', deviation=1e-6)])
GPU = {'index': '0', 'name': 'Some GPU', 'compute_cap': '7.5', 'driver_version': '410', 'memory.total': '11 GiB',
       'memory.used': '0 GiB'}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without GPUs and with an engine that works; tests break it by changing the returned dict."""
    state = dict(gpus=[], processes=[], probe=json.loads(json.dumps(GOOD)), free=1e12)
    monkeypatch.setattr(device_check, 'nvidia_gpus', lambda: state['gpus'])
    monkeypatch.setattr(device_check, 'processes_on_gpus', lambda: state['processes'])
    monkeypatch.setattr(doctor, 'run_probe', lambda device: state['probe'])
    state['memory'] = (16e9, 12e9)
    monkeypatch.setattr(facts.machine, 'free_disk', lambda folder: state['free'])
    monkeypatch.setattr(facts.machine, 'total_memory', lambda: state['memory'][0])
    monkeypatch.setattr(facts.machine, 'available_memory', lambda: state['memory'][1])
    state['run'] = lambda *args: doctor.main(['--result-dir', str(tmp_path)] + list(args))
    return state


def test_a_machine_in_good_shape_gives_status_0(machine, capsys):
    assert machine['run']() == 0
    assert '0 problem(s), 0 warning(s)' in capsys.readouterr().out


def test_an_engine_that_does_not_start_is_told_with_what_to_do(machine, capsys):
    machine['probe'] = {'error': 'exit status 1: ImportError: no tensorflow'}
    assert machine['run']() == doctor.AREAS['engine']
    out = capsys.readouterr().out
    assert 'no tensorflow' in out and 'make setup' in out


def test_a_gpu_that_returns_noise_is_a_problem(machine, capsys):
    machine['gpus'] = [GPU]
    machine['probe']['devices'].append(dict(kind='gpu', name='/gpu:0', deviation=1.3))
    assert machine['run']() == doctor.AREAS['devices']
    assert 'noise' in capsys.readouterr().out


@pytest.mark.parametrize('deviation', [float('nan'), None])
def test_a_gpu_that_fails_or_gives_nan_is_a_problem(machine, deviation):
    machine['gpus'] = [GPU]
    machine['probe']['devices'].append(dict(kind='gpu', name='/gpu:0', deviation=deviation, error='no kernel'))
    assert machine['run']() == doctor.AREAS['devices']


def test_a_gpu_that_tensorflow_cannot_use_is_a_problem_unless_the_cpu_is_asked_for(machine, capsys):
    machine['gpus'] = [GPU]
    assert machine['run']() == doctor.AREAS['devices']
    assert 'TensorFlow can use 0' in capsys.readouterr().out
    assert machine['run']('--device', 'cpu') == 0


def test_an_old_engine_on_a_new_gpu_and_company_on_it_are_warnings(machine, capsys):
    machine['gpus'] = [dict(GPU, compute_cap='8.6')]
    machine['processes'] = ['4711 (3 GiB)']
    machine['probe']['engine'] = 'tf1'
    machine['probe']['devices'].append(dict(kind='gpu', name='/gpu:0', deviation=1e-6))
    assert machine['run']() == 0
    out = capsys.readouterr().out
    assert 'CUDA 10.0' in out and '4711' in out and '2 warning(s)' in out


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a stand-in for the driver's tool on the path; returns a function that sets what it prints."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    monkeypatch.setenv('PATH', str(folder), prepend=os.pathsep)

    def answer(processes, used):
        script = folder / 'nvidia-smi'
        script.write_text('#!/bin/sh\ncase "$1" in\n'
                          f'--query-compute-apps=pid,used_memory) printf "{processes}" ;;\n'
                          '--query-gpu=index,name,compute_cap,driver_version,memory.total,memory.used)'
                          f' echo "0, Some GPU, 7.5, 410.48, 11019 MiB, {used}" ;;\n*) exit 2 ;;\nesac\n')
        script.chmod(0o755)
    return answer


@pytest.mark.parametrize('processes,used,words', [
    ('4711, 3000 MiB\\n4712, [N/A]\\n', '3100 MiB', ['process 4711 (3000 MiB) computes', 'process 4712 ([N/A])']),
    ('', '3100 MiB', ['GPU 0 has 3100 MiB of its memory in use, by a process that cannot be seen']),
    ('', '3 MiB', [])])
def test_a_second_training_on_a_gpu_is_warned(nvidia_smi, tmp_path, monkeypatch, capsys, processes, used, words):
    nvidia_smi(processes, used)
    options = ['--set', 'dataset.class_name=training.dataset.SyntheticDataset', '--set', 'dataset.resolution=32',
               '--set', 'metrics=[]', '--result-dir', str(tmp_path)]
    train.main(['--config', 'demo', '--dry-run', '--set', 'device=auto'] + options)
    dry_run = [line for line in capsys.readouterr().out.splitlines() if 'CUDA_VISIBLE_DEVICES' in line]
    assert all(line.startswith('warning: ') for line in dry_run) and len(dry_run) == len(words)
    assert all(word in ' '.join(dry_run) for word in words)
    train.main(['--config', 'demo', '--dry-run', '--set', 'device=cpu'] + options)
    assert 'CUDA_VISIBLE_DEVICES' not in capsys.readouterr().out

    gpu = dict(kind='gpu', name='/gpu:0', deviation=1e-6)
    monkeypatch.setattr(doctor, 'run_probe', lambda device: dict(GOOD, devices=GOOD['devices'] + [gpu]))
    assert doctor.main(['--result-dir', str(tmp_path)]) == 0
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith('warning  devices')]
    assert len(found) == len(words) and all(word in ' '.join(found) for word in words)


def test_a_configuration_whose_data_are_missing_is_told(machine, tmp_path, capsys):
    assert machine['run']('--config', 'toyfaces-32', '--data-dir', str(tmp_path)) == doctor.AREAS['data']
    out = capsys.readouterr().out
    assert 'does not exist; make it with ./reproduce data create_' in out and '.py' not in out
    with pytest.raises(UserError, match='nosuch'):
        machine['run']('--config', 'nosuch')


def test_too_little_disk_and_memory_for_a_configuration_are_problems(machine, monkeypatch, capsys):
    synthetic = ['--config', 'toyfaces-32', '--set', 'dataset.class_name=training.dataset.SyntheticDataset',
                 '--set', 'dataset.resolution=32', '--set', 'metrics=[]', '--set', 'device=cpu']
    assert machine['run'](*synthetic) == 0
    machine['free'] = 1e6
    assert machine['run'](*synthetic) == doctor.AREAS['disk']
    machine['free'] = 1e12
    machine['memory'] = (5e8, 4e8)
    assert machine['run'](*synthetic) == doctor.AREAS['memory']
    assert 'fmap_base' in capsys.readouterr().out


def test_files_that_changed_since_they_were_written_are_found(machine, tmp_path, capsys):
    from data.records.manifest import write_manifest
    folder = tmp_path / 'set'
    folder.mkdir()
    (folder / 'a.tfrecords').write_bytes(b'content')
    entry = dict(size=7, sha256='ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73')
    write_manifest(str(folder), dict(files={'a.tfrecords': entry}))
    config = EasyDict(dataset=dict(tfrecord_dir='set'))
    data = EasyDict(num_images=1, shape=[1, 4, 4])

    def state(quick=False):
        return [finding.state for finding in doctor.check_data_files(config, str(tmp_path), data, quick)]

    assert state() == [doctor.OK]
    (folder / 'a.tfrecords').write_bytes(b'CONTENT')
    assert state() == [doctor.PROBLEM] and state(quick=True) == [doctor.OK]
    (folder / 'a.tfrecords').unlink()
    assert state(quick=True) == [doctor.PROBLEM]


def test_exact_convolution_has_the_slopes_of_finite_differences():
    rng = np.random.RandomState(0)
    x, w = rng.randn(2, 3, 5, 4), rng.randn(3, 3, 3, 2)
    _y, slope_x, slope_w = device_check.exact_convolution(x, w)

    def loss(x, w):
        return 0.5 * np.sum(device_check.exact_convolution(x, w)[0] ** 2)

    for array, slope in ((x, slope_x), (w, slope_w)):
        at = tuple(size - 1 for size in array.shape)
        old, step = array[at], 1e-5
        array[at] = old + step
        above = loss(x, w)
        array[at] = old - step
        below = loss(x, w)
        array[at] = old
        assert (above - below) / (2 * step) == pytest.approx(slope[at], rel=1e-6)


@pytest.mark.both
def test_this_machines_processor_computes_what_it_should():
    result = subprocess.run([sys.executable, '-m', 'experiment.device_check', 'cpu'], stdout=subprocess.PIPE)
    found = json.loads(result.stdout.decode().splitlines()[-1])
    assert found['devices'][0]['deviation'] < device_check.ROUGH
