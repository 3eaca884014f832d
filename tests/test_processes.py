"""Several processes that train as one: who they are, who reads what, and that it stays the same run."""

import contextlib
import glob
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from processes_helpers import LAUNCH, ROOT, newest_checkpoint, run, training_words

from data.converters.create_points import create_points
from data.records.dataset import SyntheticDataset, load_dataset
from dnnlib import tflib
from dnnlib.files import read_json, read_json_lines
from dnnlib.submission import liveness, processes
from dnnlib.tflib import launch
from dnnlib.util import UserError
from training.state import run_state

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
    ({'PMI_RANK': '0', 'PMI_SIZE': '3', 'STYLEGAN_HOSTS': 'a,b'}, 'equally many'),
    ({'PMI_RANK': '2', 'PMI_SIZE': '2', 'MPI_LOCALNRANKS': '2'}, 'PMI_RANK is 2, but there are 2 processes'),
    ({'STYLEGAN_RANK': '2', 'STYLEGAN_ADDRESSES': 'a:1,b:2'}, 'STYLEGAN_RANK is 2, but there are 2'),
    ({'STYLEGAN_RANK': '0', 'STYLEGAN_ADDRESSES': 'a:1,b'}, "has 'b' among its addresses"),
    ({'PMI_RANK': '0', 'PMI_SIZE': '2', 'STYLEGAN_HOSTS': 'a,,b'}, "'' is no host name"),
    ({'PMI_RANK': '0', 'PMI_SIZE': '2', 'STYLEGAN_HOSTS': 'a,b', 'STYLEGAN_PORT': '70000'}, 'STYLEGAN_PORT is 70000')])
def test_an_environment_without_sense_is_a_sentence(environ, words):
    with pytest.raises(UserError, match=words):
        processes.read_world(environ)


@pytest.mark.both
def test_thread_counts_that_nobody_chose_follow_the_number_of_processes(monkeypatch):
    """Those of a checkpoint stay, for equal bits, unless other numbers of processes share the cores by now."""
    monkeypatch.setattr(processes.machine, 'usable_cores', lambda: 8)
    monkeypatch.setattr(processes.os, 'cpu_count', lambda: 8)
    recorded = dict(circumstances=dict(intra_op_threads=5, inter_op_threads=5), processes=1)

    def counts(size, recorded, **tf_config):
        alone = processes.World(0, size, tuple(f'here:{port}' for port in range(size)) if size > 1 else ())
        monkeypatch.setattr(processes, 'world', lambda: alone)
        found = run_state.with_explicit_threads(tf_config, recorded)
        return found['intra_op_parallelism_threads'], found['inter_op_parallelism_threads']
    assert counts(1, None) == (8, 8) and counts(1, recorded) == (5, 5)
    assert counts(2, recorded) == (4, 4)
    assert counts(2, recorded, intra_op_parallelism_threads=3) == (3, 4)
    assert counts(2, dict(circumstances=recorded['circumstances'])) == (5, 5)   # of an older version


def test_free_ports_are_different_and_free():
    ports = processes.free_ports(40)
    assert len(set(ports)) == 40
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(socket.socket()).bind(('', port))
        assert not set(processes.free_ports(40)) & set(ports)


def test_devices_are_shared_equally(monkeypatch):
    monkeypatch.setattr(processes, '_found', [processes.World(1, 2, ('a:1', 'a:2'))])
    assert processes.here(4) == 2 and not processes.is_first()
    with pytest.raises(UserError, match='cannot be shared equally by 2 processes'):
        processes.here(3)


@pytest.mark.parametrize('rank,visible,taken', [
    (0, None, '0,1'), (1, None, '2,3'), (2, None, '0,1'), (1, '7,5,3,1', '3,1'), (1, '5,3', '5,3')])
def test_each_process_of_a_host_takes_gpus_of_its_own(rank, visible, taken, monkeypatch):
    monkeypatch.setattr(processes, '_found', [processes.World(rank, 3, ('a:1', 'a:2', 'b:1'))])
    monkeypatch.setattr(processes.machine, 'nvidia_gpus', lambda fields: [{'index': str(n)} for n in range(4)])
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible or '')
    if visible is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES')
    processes.claim_gpus(6)
    assert os.environ['CUDA_VISIBLE_DEVICES'] == taken


@pytest.mark.parametrize('words,sentence', [
    (['-np', '0', 'train.py'], 'from 1 to 4096'), (['-np', '2', 'nothing.py'], 'no script'),
    (['-np', '3', '--hosts', 'a,b', 'train.py'], 'equally over 2 hosts'),
    (['-np', '2', '--hosts', 'a,a', 'train.py'], 'different host names'),
    (['-np', '2', '--hosts', 'a', '--hosts', 'a', 'train.py'], 'different host names'),
    (['-np', '2', '--hosts', 'a:1,b:1', 'train.py'], "'a:1' is no host name; .* without ports, slots and users"),
    (['-np', '2', '--hosts', 'a,', 'train.py'], "'' is no host name"),
    (['-np', '2', '--hosts', 'me@a,b', 'train.py'], "'me@a' is no host name"),
    (['-np', '3', '--hosts', 'a', '--hosts', 'b', 'train.py'], 'equally over 2 hosts'),
    (['-np', '2', '--port', '80', 'train.py'], 'a port from 1024')])
def test_the_launcher_refuses_in_a_sentence(words, sentence, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=sentence):
        launch.main(words)


def test_the_launcher_finds_this_project_s_scripts_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert launch.find_script('train.py') == os.path.join(ROOT, 'train.py')
    assert launch.find_script('./reproduce') == launch.find_script('stylegan-repro') == os.path.join(ROOT, 'reproduce')
    (tmp_path / 'train.py').write_text('')
    assert launch.find_script('train.py') == 'train.py'


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


@pytest.mark.both
def test_each_process_reads_the_bytes_of_its_own_records_and_no_others(tmp_path):
    create_points(str(tmp_path / 'points'), 'gaussians-8', num=12)
    for index in range(3):
        part = load_dataset(data_dir=str(tmp_path), tfrecord_dir='points')
        part.share(index, 3)
        part._prefetch = False
        record_file = part.level_file(0)
        record_file._rows = rows = _Counted(record_file._rows)
        for _ in range(4):
            part.get_minibatch_np(6)
        assert rows.bytes == 8 * record_file.record_size
        part.close()


class _Counted:
    """The records of a mapped file; counts the bytes that are taken out of it."""

    def __init__(self, rows):
        self._rows, self.bytes = rows, 0

    def __getitem__(self, indices):
        taken = self._rows[indices]
        self.bytes += taken.nbytes
        return taken


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


@pytest.mark.slow
def test_two_processes_of_two_towers_are_four_devices_to_rounding(tmp_path):
    folder, short = str(tmp_path), ['--set', 'sched.minibatch_base=8', '--set', 'train.minibatch_repeats=1']
    for name, command, towers in (('towers', [sys.executable], '4'), ('shared', LAUNCH + ['-np', '2'], '2')):
        result = run(command + training_words(folder, 0.032, name) + short + ['--num-gpus', towers])
        assert result.returncode == 0 and 'Training on 4 CPU device(s)' in result.stdout, result.stdout
    (state, arrays), (state2, arrays2) = (newest_checkpoint(folder, name) for name in ('towers', 'shared'))
    assert state['dataset'] == state2['dataset'] and state['circumstances'] == state2['circumstances']
    assert state['progress']['step'] == state2['progress']['step'] == 4
    assert arrays.keys() == arrays2.keys()
    for name in arrays:
        assert np.allclose(*[np.frombuffer(found[name], np.float32) for found in (arrays, arrays2)], rtol=1e-4,
                           atol=1e-6), name


@pytest.mark.slow
def test_gradients_that_travel_as_float16_lead_almost_where_others_do(tmp_path):
    folder = str(tmp_path)
    for dtype in ('float32', 'float16'):
        result = run(LAUNCH + ['-np', '2'] + training_words(folder, 0.1, dtype) + [
            '--set', f'train.gradient_dtype={dtype}', '--set', 'train.minibatch_repeats=1'])
        assert result.returncode == 0, result.stdout
    (_, arrays), (_, arrays2) = (newest_checkpoint(folder, dtype) for dtype in ('float32', 'float16'))
    weights = [name for name in arrays if name.startswith(('G/', 'D/'))]
    assert weights and any(arrays[name] != arrays2[name] for name in weights)
    for name in weights:
        assert np.allclose(*[np.frombuffer(found[name], np.float32) for found in (arrays, arrays2)], atol=2e-3), name


@pytest.mark.slow
def test_measurements_are_those_of_one_process(tmp_path):
    folder = str(tmp_path)
    measure = ['--set', 'metrics=[{preset: mode_coverage, num_samples: 700, minibatch_per_gpu: 100}]']
    for name, command in (('towers', [sys.executable]), ('shared', LAUNCH + ['-np', '2'])):
        towers = ['--num-gpus', '2'] if name == 'towers' else []
        result = run(command + training_words(folder, 1, name) + measure + towers)
        assert result.returncode == 0, result.stdout
    scores, scores2 = _scores(folder, 'towers'), _scores(folder, 'shared')
    assert scores == scores2 and len(scores) == 2 and scores[0]['metric'] == 'mode_coverage'
    stats, stats2 = [read_json_lines(glob.glob(os.path.join(folder, name, '*', 'stats.jsonl'))[0])
                     for name in ('towers', 'shared')]
    for name in ('Loss/scores/real', 'TrainG/loss', 'Metrics/mode_coverage_near'):
        assert stats[0][name] == pytest.approx(stats2[0][name], rel=1e-6)


def _scores(folder, name):
    """What the metrics measured of each snapshot."""
    records = [read_json(path) for path in sorted(glob.glob(os.path.join(folder, name, '*', 'metrics', '*', '*.json')))]
    return [{key: record[key] for key in ('metric', 'network', 'values', 'details', 'num_samples', 'problems')}
            for record in records]


@pytest.mark.slow
def test_the_networks_to_begin_with_may_be_named_by_their_run(tmp_path):
    folder = str(tmp_path)
    assert run([sys.executable] + training_words(folder, 0.5, 'before')).returncode == 0
    result = run(LAUNCH + ['-np', '2'] + training_words(folder, 0.5) + ['--init-from'] + glob.glob(
        os.path.join(folder, 'before', '*')))
    assert result.returncode == 0 and 'Training finished' in result.stdout, result.stdout


@pytest.mark.slow
def test_numbers_that_go_wrong_take_all_back_once(tmp_path):
    result = run(LAUNCH + ['-np', '2'] + training_words(str(tmp_path)) + [
        '--on-nan', 'rollback', '--set', 'train.max_skipped_updates=3', '--allow-module', 'loop_helpers', '--set',
        'D_loss.func_name=loop_helpers.nan_loss'], env=dict(os.environ, PYTHONPATH=os.path.join(ROOT, 'tests')))
    assert result.returncode != 0 and 'Traceback' not in result.stdout, result.stdout
    assert result.stdout.count('going back to') == 1 and 'updates in a row had NaN' in result.stdout, result.stdout


@pytest.mark.slow
def test_hours_that_are_over_end_all(tmp_path):
    result = run(LAUNCH + ['-np', '2'] + training_words(str(tmp_path), 1000) + ['--max-hours', '0.0003'])
    assert result.returncode == 0 and 'Training finished' in result.stdout, result.stdout
    assert 'The 0.0003 hours of train.max_hours are over' in result.stdout, result.stdout


def test_sums_measurements_and_guards_are_the_same_in_both():
    result = run(LAUNCH + ['-np', '2', 'tests/processes_probe.py', 'sums'])
    assert result.returncode == 0 and 'all sums are right\n' in result.stdout, result.stdout


# ---- When something fails

STILL = '3'     # seconds without a sign of life; what lives says something every 0.375


def _state(rank, count, age, place='in a training step', limit=60.0, silence=0.0):
    return liveness.State(rank, f'host{rank}', count, place, age, limit, silence)


@pytest.mark.both
@pytest.mark.parametrize('states,sentence', [
    ([_state(0, 5, 50), _state(1, 5, 59)], None),
    ([_state(0, 5, 70), _state(1, 4, 59)], None),
    ([_state(0, 5, 70), _state(1, 4, 61, 'reading data')], 'process 1 on host1 of 2 did .* while reading data'),
    ([_state(0, 4, 900, 'writing', 1800.0), _state(1, 5, 900)], None),
    ([_state(0, 4, 1900, 'writing', 1800.0), _state(1, 5, 1900)], 'process 0 on host0 .* while writing'),
    ([_state(0, 5, 61), _state(1, 5, 59)], None),
    ([_state(0, 5, 62), _state(1, 5, 61)], 'none of the 2 processes has moved'),
    ([_state(0, 5, 3), _state(1, 5, 3, silence=61)], 'process 1 of 2 on host1 has not answered for 61 seconds')])
def test_who_hangs_follows_from_who_is_behind(states, sentence):
    found = liveness.find_culprit(states, 2, 60.0)
    assert found is None if sentence is None else re.search(sentence, found), found


def test_the_limit_of_a_hang_is_a_setting_that_is_checked(monkeypatch):
    assert liveness.still_seconds({}) == 60 and liveness.still_seconds({liveness.STILL: '5'}) == 5
    for text in ('x', '0', '1e9', 'nan'):
        with pytest.raises(UserError, match='STYLEGAN_STILL_SECONDS is'):
            liveness.still_seconds({liveness.STILL: text})


def test_long_steps_are_no_hang():
    watch = liveness.Watch(processes.World(1, 2, ('a:1', 'a:2')), 1.0)
    watch.is_building = False
    for _ in range(3):
        watch.moved('reading data')
        watch.moved('in a training step')
        watch._moved_at -= 30
    watch.moved('reading data')
    assert 300 <= watch._state(0.0).limit < 310
    before = watch.enter('writing', 1000)
    watch.moved('waiting for the others')
    assert watch._state(0.0).limit == 1000 and watch._state(0.0).count == 8
    watch.enter(*before)
    assert 300 <= watch._state(0.0).limit < 310 and watch._state(0.0).place == 'reading data'


def test_nothing_is_sent_to_a_process_before_it_said_who_it_is():
    """Else its end, with something unread, would take back what it said."""
    watch = liveness.Watch(processes.World(0, 3, ('localhost:65535',) * 3), 60.0)
    watch.interval = 0.02
    port, token = watch.listen().split()
    watch.start(port, token)
    with socket.create_connection(('127.0.0.1', int(port))) as silent, \
            socket.create_connection(('127.0.0.1', int(port))) as known:
        known.sendall(json.dumps(dict(_state(1, 0, 0.0)._asdict(), token=token)).encode() + b'\n')
        with known.makefile('r') as lines:
            assert [lines.readline() for _ in range(3)] == ['{}\n'] * 3
        assert not select.select([silent], [], [], 0)[0]
        watch.close()


@pytest.mark.parametrize('mode,sentence', [
    ('stop1', 'process 1 of 2 on .* has not answered for'), ('stop0', 'process 0 of 2 on .* has not answered for'),
    ('hang1', r'process 1 on .* of 2 did not move for \d+ seconds, while reading data'),
    ('die1', 'process 1 of 2 was ended by SIGKILL; ending the others'), ('write0', None)])
def test_a_process_that_hangs_or_dies_ends_all_with_its_number(mode, sentence, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('STYLEGAN_STILL_SECONDS', STILL)
    monkeypatch.setattr(liveness, 'GRACE_SECONDS', 0.5)     # the launcher's, which is this process
    status = launch.main(['-np', '2', 'tests/processes_probe.py', 'watch', mode, str(tmp_path)])
    said = ''.join(capfd.readouterr())
    if sentence is None:
        assert status == 0 and said == '', said
    else:
        assert status != 0 and re.search(sentence, said), said
        assert 'Traceback' not in said, said


@pytest.mark.parametrize('mode', ['stop1', 'die0', 'die1'])
def test_processes_of_other_launchers_watch_each_other(mode, tmp_path):
    port, meant = processes.free_port(), int(mode[-1])
    started = [subprocess.Popen(
        [sys.executable, 'tests/processes_probe.py', 'watch', mode, str(tmp_path)], cwd=ROOT, universal_newlines=True,
        stderr=subprocess.PIPE, env=dict(
            os.environ, STYLEGAN_STILL_SECONDS=STILL, STYLEGAN_PORT=str(port), SLURM_PROCID=str(rank),
            SLURM_STEP_NUM_TASKS='2', SLURM_STEP_NUM_NODES='1')) for rank in range(2)]
    try:
        _, said = started[1 - meant].communicate(timeout=300)
        assert started[1 - meant].returncode == liveness.EXIT_STATUS, said
        words = 'has not answered' if mode.startswith('stop') else 'is gone'
        assert re.search(f'process {meant} of 2 on .* {words}', said) and '--resume' in said, said
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.parametrize('what', ['the configuration', pytest.param('the source code', marks=pytest.mark.slow),
                                  pytest.param('the data set', marks=pytest.mark.slow)])
def test_what_differs_between_processes_is_named_at_the_start_and_nothing_stays(what, tmp_path):
    words = []
    for rank in range(2):
        folder = tmp_path / str(rank)
        folder.mkdir()
        (folder / 'own_loss.py').write_text(f'NUMBER = {rank if what == "the source code" else 0}\n')
        words.append(training_words(str(folder)) + ['--allow-module', 'own_loss'])
        words[rank][words[rank].index('--result-dir') + 1] = str(tmp_path / 'results')
    if what == 'the configuration':
        words[1] += ['--set', 'sched.minibatch_base=8']
    if what == 'the data set':
        shutil.rmtree(tmp_path / '1' / 'data' / 'points')
        create_points(str(tmp_path / '1' / 'data' / 'points'), 'gaussians-8', num=400)
    named = {'the configuration': r'sched\.minibatch_base is 8 in process 1 and \d+ in process 0',
             'the source code': r'own_loss\.py differs',
             'the data set': 'fingerprint differs, num_images is 400 in process 1 and 500 in process 0'}[what]
    for status, said in _by_hand(words, tmp_path):
        assert status == 2 and re.search(f'error: {what} of process 1 is not that of process 0: {named};', said), said
        assert 'Traceback' not in said
    assert os.listdir(tmp_path / 'results') == []


def _by_hand(words, folder):
    """[(status, output)] of the processes of one training, each with its own words, and modules in its own folder."""
    addresses = ','.join(f'localhost:{port}' for port in processes.free_ports(len(words)))
    started = [subprocess.Popen(
        [sys.executable] + arguments, cwd=ROOT, universal_newlines=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=dict(os.environ, STYLEGAN_RANK=str(rank), STYLEGAN_ADDRESSES=addresses,
                                           PYTHONPATH=str(folder / str(rank))))
        for rank, arguments in enumerate(words)]
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
        return [(process.returncode, text) for process, text in zip(started, said)]
    finally:
        for process in started:
            process.kill()


def test_stopped_hung_and_gone_on_with_as_towers_it_stays_the_same_run(tmp_path):
    """One training hangs, another is stopped by signals. One process with two towers brings the first to the step of
    the second."""
    stopped, hung = str(tmp_path / 'stopped'), str(tmp_path / 'hung')
    with _training(hung, 1, STYLEGAN_STILL_SECONDS='5') as launcher:
        children = _children(launcher.pid)
        assert len(children) == 2
        os.kill(children[1], signal.SIGSTOP)
        # It hangs, since no sum ends any more, until it is noticed. The other one is to come further.
        reached = newest_checkpoint(hung)[0]['progress']['cur_nimg']
        with _training(stopped, reached // 500 + 3) as other:
            os.kill(_children(other.pid)[1], signal.SIGTERM)
            for _ in range(2):
                other.send_signal(signal.SIGTERM)
            rest = other.stdout.read()
            assert other.wait(timeout=300) == 0, rest
        assert 'Training stopped' in rest and 'writing a network snapshot and a checkpoint' in rest, rest
        state, arrays = newest_checkpoint(stopped)
        rest = launcher.stdout.read()
        assert launcher.wait(timeout=300) != 0
    assert 'process 1 of 2 on' in rest and 'has not answered' in rest and 'Traceback' not in rest, rest
    run_dir, = glob.glob(os.path.join(hung, 'run', '*'))
    before, _ = newest_checkpoint(hung)
    assert before['progress']['cur_nimg'] < state['progress']['cur_nimg']
    result = run([sys.executable, 'train.py', '--resume', run_dir, '--device', 'cpu', '--set',
                   f'train.total_kimg={(state["progress"]["cur_nimg"] - 0.5) / 1000}'])
    assert result.returncode == 0 and 'Training on 2 CPU device(s);' in result.stdout, result.stdout
    state2, arrays2 = newest_checkpoint(hung)
    assert arrays == arrays2 and state['dataset'] == state2['dataset']
    assert state['circumstances'] == state2['circumstances']


@pytest.mark.slow
def test_a_launcher_that_is_killed_stops_its_processes_politely(tmp_path):
    folder = str(tmp_path)
    with _training(folder, 1) as launcher:
        launcher.kill()
        assert 'Training stopped' in launcher.stdout.read()     # to its end: nobody is left to write to it
    assert newest_checkpoint(folder)[0]['progress']['cur_nimg'] >= 500


@contextlib.contextmanager
def _training(folder, ticks, **environ):
    """Two processes that train for long, after some ticks; yields their launcher, whose output so far had one voice.

    A tick is 500 images long, and two checkpoints.
    """
    said = []
    with subprocess.Popen(LAUNCH + ['-np', '2'] + training_words(folder, 1000), cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True,
                          env=dict(os.environ, **environ)) as launcher:
        for line in launcher.stdout:
            said.append(line)
            if line.startswith(f'tick {ticks} '):
                break
        said = ''.join(said)
        try:
            assert said.count('Run directory') == 1 and 'Training on 2 CPU device(s) of 2 processes' in said, said
            yield launcher
        finally:
            launcher.terminate()


def _children(pid):
    deadline = time.time() + 300
    while time.time() < deadline:
        with open(f'/proc/{pid}/task/{pid}/children') as f:
            found = [int(child) for child in f.read().split()]
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError('no processes')


# ---- Complete files for clusters

CLUSTERS = os.path.join(ROOT, 'docs', 'clusters')


def _parses_as_shell(text):
    subprocess.run(['bash', '-n'], input=text, universal_newlines=True, check=True)
    return text


def _read(name):
    with open(os.path.join(CLUSTERS, name), encoding='utf-8') as f:
        return f.read()


def test_the_job_of_slurm_starts_and_asks_for_what_the_processes_need():
    text = _parses_as_shell(_read('slurm.sh'))
    options = dict(re.findall(r'^#SBATCH --([\w-]+)(?:=(\S+))?$', text, re.MULTILINE))
    assert options['ntasks-per-node'] == options['gpus-per-node'] and options['signal'] == 'TERM@300'
    assert options['distribution'] == 'block' and 'requeue' in options
    assert 'srun --kill-on-bad-exit=1 ./reproduce train' in text and 'export STYLEGAN_HOSTS STYLEGAN_PORT' in text


def test_the_jobs_of_slurm_and_ssh_go_on_where_there_is_a_run(tmp_path):
    """With stand-ins for the cluster's programs and for the training, which write down how they are called."""
    for name, text in (('srun', 'echo "$STYLEGAN_HOSTS $STYLEGAN_PORT $@" >> calls'),
                       ('scontrol', 'if [ "$1" = show ]; then echo a; echo b; else echo "$@" >> calls; fi')):
        (tmp_path / name).write_text('#!/bin/sh\n' + text + '\n')
        (tmp_path / name).chmod(0o755)
    environ = dict(os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', SLURM_SUBMIT_DIR=str(tmp_path),
                   SLURM_JOB_NODELIST='[ab]', SLURM_JOB_ID='7')
    run_dir = tmp_path / 'results' / 'slurm-7' / '00000-run'
    for _ in range(2):
        subprocess.run(['bash', os.path.join(CLUSTERS, 'slurm.sh'), 'ffhq-1024'], env=environ, check=True)
        (run_dir / 'checkpoints').mkdir(parents=True, exist_ok=True)
        (run_dir / '_finished.txt').write_text('')
    start = 'a,b 41280 --kill-on-bad-exit=1 ./reproduce train '
    assert (tmp_path / 'calls').read_text().splitlines() == [
        start + '--config ffhq-1024 --result-dir results/slurm-7', 'requeue 7',
        start + '--resume results/slurm-7/00000-run']


def test_the_job_of_kubernetes_has_a_process_for_each_gpu():
    job = yaml.safe_load(_read('mpijob.yaml'))
    launcher, worker = (job['spec']['mpiReplicaSpecs'][name] for name in ('Launcher', 'Worker'))
    container, = launcher['template']['spec']['containers']
    assert container['command'][0] == 'bash'
    text = _parses_as_shell(container['args'][0])
    environ = {entry['name']: entry['value'] for entry in container['env']}
    slots = job['spec']['slotsPerWorker']
    assert environ['PROCESSES'] == str(slots * worker['replicas'])
    assert 'mpirun ' in text and '-x STYLEGAN_HOSTS' in text and 'python train.py' in text
    for replica in (launcher, worker):
        pod = replica['template']['spec']
        named = {volume['name'] for volume in pod['volumes']}
        for one in pod['containers']:
            assert {mount['name'] for mount in one['volumeMounts']} <= named
            assert one['image'] == 'stylegan-repro:mpi'
    assert worker['template']['spec']['containers'][0]['resources']['limits']['nvidia.com/gpu'] == slots
    assert re.search(r'^FROM stylegan-repro:modern$', _read('mpi.dockerfile'), re.MULTILINE)


def test_the_script_for_ssh_and_the_definition_of_apptainer_parse():
    assert 'launch -np "$processes" --hosts "$hosts" train.py' in _parses_as_shell(_read('ssh.sh'))
    header, *parts = re.split(r'^%', _read('apptainer.def'), flags=re.MULTILINE)
    keys = dict(re.findall(r'^(\w+): (\S+)$', header, re.MULTILINE))
    assert keys == {'Bootstrap': 'docker-daemon', 'From': 'stylegan-repro:modern'}
    sections = dict(part.split('\n', 1) for part in parts)
    assert set(sections) == {'post', 'environment', 'runscript', 'test', 'labels'}
    for name in ('post', 'environment', 'runscript', 'test'):
        _parses_as_shell(sections[name])
