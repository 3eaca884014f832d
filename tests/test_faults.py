"""Runs that are killed, and runs that the machine fails: they go on to the same bytes, or say what is wrong."""

import ctypes
import itertools
import os
import pathlib
import resource
import shutil
import sys

import numpy as np
import pytest
from conftest import ROOT
from kill_harness import Harness, SmallDisk, final_bytes, leftovers

from dnnlib.tflib import ENGINE
from dnnlib.tflib.safe_pickle import read_networks
from training.state import checkpoint

OTHER_ENGINE = {'tf1': 'tf2', 'tf2': 'tf1'}[ENGINE]

CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def assert_killed_runs_equal(runs, reference):
    for run_dir in runs:
        assert run_dir != reference
        assert final_bytes(run_dir) == final_bytes(reference)
        assert leftovers(run_dir) == []


@pytest.mark.soak
def test_runs_killed_more_than_thirty_times_end_with_the_same_bytes(tmp_path):
    harness = Harness(tmp_path, total_kimg=3.2, seed=1)
    status, out, reference = harness.finish()
    assert status == 0, out
    # By the clock they meet the building of the graph on slow machines, by images training and writing on all.
    moments = itertools.cycle([lambda: harness.after_some_seconds(12), lambda: harness.after_some_images(800)])
    runs = harness.kill_many_times(36, lambda: next(moments)())
    assert_killed_runs_equal(runs, reference)


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    """(harness, a finished run, a copy of it as it was half-way, to be copied by tests)."""
    harness = Harness(tmp_path_factory.mktemp('faults'), total_kimg=0.64, is_growing=False)
    with open(harness.config) as f:
        text = f.read()
    with open(harness.config, 'w') as f:
        f.write(text.replace('checkpoint_kimg: 0.032', 'checkpoint_kimg: 0.032, checkpoint_keep: 99'))
    status, out, reference = harness.finish()
    assert status == 0, out
    half = os.path.join(harness.folder, 'half')
    shutil.copytree(reference, half)
    for name in ('network-final.pkl', '_finished.txt'):
        os.unlink(os.path.join(half, name))
    folder = os.path.join(half, 'checkpoints')
    for path in checkpoint.list_checkpoints(folder):
        if path > checkpoint.checkpoint_path(folder, 320):
            os.unlink(path)
    return harness, reference, half


def copy_of(half, name):
    run_dir = os.path.join(os.path.dirname(half), name)
    shutil.copytree(half, run_dir)
    return run_dir


def contents(folder):
    """The bytes of all files in a folder."""
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def assert_refused(status, out, *words):
    """The program's own sentence, and no traceback."""
    assert status == 2, out
    assert 'Traceback' not in out
    assert all(word in out for word in words), out


def limit_file_size():
    """Lets no file grow beyond 20 kB: what a full disk or a quota does to a checkpoint."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))


def obey_permissions():
    """Takes the administrator's right to write anywhere from the program that is started next."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(stopped):
    harness, reference, _half = stopped
    runs = harness.kill_many_times(2, lambda: harness.after_some_images(300))
    assert_killed_runs_equal(runs, reference)


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_the_run_goes_on_later(stopped, tmp_path):
    harness, reference, half = stopped
    try:
        disk = SmallDisk(tmp_path / 'disk', megabytes=16)
    except OSError as err:
        pytest.skip(f'no memory disk on this machine ({err}); the test with a limit of file sizes stands in for it')
    with disk:
        run_dir = os.path.join(disk.path, 'run')
        shutil.copytree(half, run_dir)
        before = contents(os.path.join(run_dir, 'checkpoints'))
        for spare in (1 << 16, 0):  # room for lines of the log but not for a checkpoint; no room at all
            process = harness.start_held(run_dir)
            disk.fill(spare)
            assert_refused(*harness.let_go(process), 'o space left on', 'intact', f'--resume {run_dir}')
            assert leftovers(run_dir) == []
            assert contents(os.path.join(run_dir, 'checkpoints')) == before
            disk.make_room()
        status, out, _ = harness.finish(run_dir)
        assert status == 0, out
        assert final_bytes(run_dir) == final_bytes(reference)


def test_a_file_that_cannot_grow_leaves_the_last_checkpoint(stopped, tmp_path):
    try:
        SmallDisk(tmp_path / 'disk', megabytes=1).close()
    except OSError:
        pass
    else:
        pytest.skip('a memory disk that really fills up takes its place on this machine')
    harness, _reference, half = stopped
    run_dir = copy_of(half, 'limited')
    before = contents(os.path.join(run_dir, 'checkpoints'))
    status, out, _ = harness.finish(run_dir, preexec_fn=limit_file_size)
    assert_refused(status, out, 'cannot write', 'the checkpoints before it are intact', '--resume')
    assert leftovers(run_dir) == []
    assert contents(os.path.join(run_dir, 'checkpoints')) == before


def test_a_result_directory_that_cannot_be_written_is_refused(stopped):
    harness, _reference, half = stopped
    run_dir = copy_of(half, 'readonly')
    for folder, _subfolders, names in os.walk(run_dir):
        for path in [os.path.join(folder, name) for name in names] + [folder]:
            os.chmod(path, os.stat(path).st_mode & 0o555)
    status, out, _ = harness.finish(run_dir, preexec_fn=obey_permissions)
    assert_refused(status, out, 'cannot write', run_dir)


@pytest.mark.parametrize('what', ['devices and threads', 'engine'])
def test_a_run_goes_on_under_other_circumstances_and_says_that_bits_differ(stopped, what):
    harness, _reference, half = stopped
    options, interpreter = (), sys.executable
    if what == 'engine':
        interpreter = str(ROOT / f'.venv-{OTHER_ENGINE}' / 'bin' / 'python')
        if not os.path.exists(interpreter):
            pytest.skip(f'the environment of the other engine is not set up (make setup ENGINE={OTHER_ENGINE})')
        words = [f'engine {ENGINE} -> {OTHER_ENGINE}']
    else:
        options = ['--num-gpus', '2', '--set', 'tf_config.inter_op_parallelism_threads=1', '--set',
                   'sched.minibatch_dict={8: 8}']
        words = ['num_gpus 1 -> 2', 'inter_op_threads 2 -> 1']
    run_dir = copy_of(half, what)
    status, out, _ = harness.finish(run_dir, options, interpreter)
    assert status == 0, out
    assert 'Going on from' in out
    line = next(line for line in out.splitlines() if 'under other circumstances' in line)
    assert 'not bit for bit' in line and all(word in line for word in words)
    networks = read_networks(os.path.join(run_dir, 'network-final.pkl'))
    assert all(np.isfinite(value).all() for net in networks for part in net.walk() for _, value in part.variables)


def test_a_data_set_that_vanished_is_named_and_a_checkpoint_cut_short_is_skipped_when_it_is_back(stopped):
    harness, reference, half = stopped
    run_dir = copy_of(half, 'vanished')
    newest = checkpoint.list_checkpoints(os.path.join(run_dir, 'checkpoints'))[0]
    with open(newest, 'r+b') as f:
        f.truncate(os.path.getsize(newest) // 2)
    os.rename(harness.data, harness.data + '-away')
    try:
        status, out, _ = harness.finish(run_dir)
    finally:
        os.rename(harness.data + '-away', harness.data)
    assert_refused(status, out, harness.data)
    status, out, _ = harness.finish(run_dir)
    assert status == 0, out
    assert f'checkpoint {newest} is damaged' in out
    assert final_bytes(run_dir) == final_bytes(reference)


def test_a_record_that_is_damaged_ends_the_run_with_its_name_when_it_is_read(stopped):
    harness, _reference, half = stopped
    run_dir = copy_of(half, 'corrupted')
    path = os.path.join(harness.data, 'noise-8-r03.tfrecords')
    times = os.stat(path)
    with open(path, 'rb') as f:
        content = f.read()
    try:
        damaged = bytearray(content)
        damaged[-100] ^= 0x55  # a pixel of the last record, which is not in the picture that starts a run
        with open(path, 'wb') as f:
            f.write(damaged)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk that goes bad does
        status, out, _ = harness.finish(run_dir)
    finally:
        with open(path, 'wb') as f:
            f.write(content)
    assert_refused(status, out, path)
