"""Scores are not lost: records lie beside each other, places are tried first, what is damaged is not believed."""

import json
import os
import shutil
import signal
import subprocess
import sys

import loop_helpers
import numpy as np
import pytest
from conftest import ROOT
from metric_helpers import make_network, some_record

import run_metrics
import train
from data.converters.create_toyfaces import create_toyfaces
from data.records import fingerprint
from dnnlib import array_files
from dnnlib.submission import write_submit_config
from dnnlib.util import UserError
from metrics import context, features, jobs
from metrics.arithmetic import MeanCovariance
from metrics.group import MetricGroup, make_metric
from metrics.presets import preset
from metrics.scores import records, store
from metrics.tables import definition, filling, report, sources
from training.network_files.data import data_of
from training.network_files.locate import locate


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    return make_network(tmp_path_factory.mktemp('network'), resolution=8)


# ---- Records beside each other

def test_no_record_takes_the_place_of_another_protocols(tmp_path, capsys):
    folder = str(tmp_path)

    def put(**changes):
        return os.path.basename(store.put(folder, some_record(**changes)))
    few, many = (dict(num_samples=number, settings=dict(num_images=number)) for number in (16, 400))
    assert put(value=8.0, **many) == 'fid50k.json'
    aside = put(value=9.0, **few)
    assert aside.startswith('fid50k-') and 'measured under another protocol before' in capsys.readouterr().out
    assert put(value=9.5, **few) == aside                               # the same again
    assert put(value=7.0) == 'fid50k.json'                              # the fullest has the plain name
    assert put(value=6.0, seed=1) != 'fid50k.json' and put(value=5.0, network_sha256='d' * 64) != 'fid50k.json'
    found = store.find(folder, 'fid50k')
    assert sorted(record['value'] for _, record in found) == [5.0, 6.0, 7.0, 8.0, 9.5]
    assert records.read_record(str(tmp_path / 'fid50k.json'))['value'] == 7.0
    # A file that was written anew, such as a snapshot within the same thousand images, stands for what it holds now.
    first, then = (dict(network_file='/x/n.pkl', network_sha256=digit * 64, metric='kid50k') for digit in 'ef')
    assert put(value=3.0, **first) == put(value=2.0, **then) == 'kid50k.json'
    assert {record['value'] for _, record in store.find(folder, 'kid50k')} == {3.0, 2.0}
    # A failure replaces nothing but a failure.
    assert put(value=None) == 'fid50k.json' and records.read_record(str(tmp_path / 'fid50k.json'))['value'] == 7.0
    # What is no record does not stand in the way.
    (tmp_path / 'fid50k.json').write_text('{')
    assert put(value=7.5) == 'fid50k.json'


def measure(network, out, *more):
    assert run_metrics.main(['dummy', '--network', network, '--out', str(out), '--device', 'cpu', *more]) == 0


def test_measuring_another_network_of_the_same_name_or_another_seed_loses_nothing(network, tmp_path):
    other = make_network(tmp_path, seed=2, resolution=8)
    assert os.path.basename(other) == os.path.basename(network)
    out = tmp_path / 'out'
    for args in ([network], [other], [network, '--seed', '1'], [network]):
        measure(args[0], out, *args[1:])
    found = [record for _, record in store.find(str(out), 'dummy')]
    assert len(found) == 3 and len({record['network_sha256'] for record in found}) == 2
    assert sorted(record['seed'] for record in found) == [0, 0, 1]
    lines = [records.text_line(record) for record in found]
    assert sum('seed 1' in line for line in lines) == 1


def test_a_fuller_table_stays(tmp_path, capsys):
    table = definition.load_table('retraining-1', str(ROOT / 'configs')).restricted(['celeba'])
    chosen = sources.choose_sources(table)

    def write(value, **changes):
        record = dict(some_record(value=value, **changes), kimg=None)
        return report.write_all(str(tmp_path), table, filling.make_cells(
            table, chosen, {'celeba': {('fid50k', 'fid50k'): (value, record)}}))[0]
    full, quick = dict(num_samples=50000), dict(num_samples=5000, is_reduced=True)
    assert write(9.0, **quick).endswith('retraining-1.md') and write(4.9, **full).endswith('retraining-1.md')
    assert write(8.0, **quick).endswith('retraining-1-2.md') and 'stays' in capsys.readouterr().out
    assert write(5.0, network_sha256='d' * 64, **full).endswith('retraining-1-3.md')
    assert '**4.9000' in (tmp_path / 'retraining-1.md').read_text()


# ---- Places are tried before the work

@pytest.mark.parametrize('place', ['{tmp}/file/x', '/proc'])
def test_a_place_that_cannot_be_written_is_found_before_anything_is_measured(network, tmp_path, monkeypatch, place):
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(context, 'open_located', lambda *args, **kwargs: pytest.fail('the measurement began'))
    with pytest.raises(UserError, match='can be made'):
        measure(network, place.format(tmp=tmp_path))


def test_a_dry_run_tries_the_place_of_its_results(tmp_path):
    for place in ('/proc', '/proc/nowhere', str(ROOT / 'README.md' / 'x')):
        with pytest.raises(UserError, match='cannot create a run directory in .*--result-dir'):
            train.main(['--config', 'demo', '--dry-run', '--result-dir', place, '--set',
                        'dataset={class_name: training.dataset.SyntheticDataset, resolution: 32}'])
    assert not os.path.exists('/proc/nowhere')


def test_side_files_that_fail_do_not_cost_the_record(network, tmp_path, capsys):
    run_dir = tmp_path / '00000-run'
    (run_dir / 'metric-dummy.txt').mkdir(parents=True)      # no line can be added to it
    (run_dir / 'submit_config.json').write_text('{')        # nor the best snapshot be chosen
    shutil.copy(network, str(run_dir / 'network-final.pkl'))
    metric = make_metric('dummy')
    metric.run(str(run_dir / 'network-final.pkl'), run_dir=str(run_dir), dataset_args={}, mirror_augment=False)
    assert records.read_record(str(run_dir / 'metrics' / 'network-final' / 'dummy.json'))['value'] == 0.0
    assert 'warning: the line could not be added' in capsys.readouterr().out


# ---- Large arrays

CHILD = '''import sys, resource, signal, tempfile
from dnnlib.array_files import temporary_array
if len(sys.argv) > 1:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
array = temporary_array([1 << 10, 1 << 10], 'float32', 'features')
array[:] = 7
print(float(array.sum()), flush=True)
sys.stdin.read()
'''


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
def test_nothing_of_a_large_array_stays_however_its_process_ends(tmp_path, how):
    process = subprocess.Popen([sys.executable, '-c', CHILD], cwd=str(ROOT), env=dict(os.environ, TMPDIR=str(tmp_path)),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert float(process.stdout.readline()) == 7 * (1 << 20)
    process.send_signal(how)
    process.communicate()
    assert process.returncode == -how and os.listdir(str(tmp_path)) == []


def test_a_large_array_that_has_no_room_is_a_sentence_before_it_is_filled(tmp_path):
    process = subprocess.run([sys.executable, '-c', CHILD, 'small'], cwd=str(ROOT), stdin=subprocess.DEVNULL,
                             env=dict(os.environ, TMPDIR=str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.returncode == 1 and process.stdout == b''
    assert b'4 MB of features cannot be kept in' in process.stderr and b'TMPDIR' in process.stderr
    assert os.listdir(str(tmp_path)) == []


def test_a_stream_of_features_is_kept_as_it_comes():
    parts = [np.full([3, 2], number, np.float32) for number in range(4)]
    array = features.stored_features(iter(parts), 12)
    np.testing.assert_array_equal(array, np.concatenate(parts))
    assert array_files.temporary_array([2, 3], np.int16, 'x').shape == (2, 3)


# ---- What is damaged

PROTOCOL = dict(num_images=5, version=1)


def stored(path, **changes):
    statistics = MeanCovariance(3)
    statistics.add(np.random.RandomState(0).randn(5, 3))
    content = dict(statistics.state(), protocol=json.dumps(PROTOCOL, sort_keys=True))
    content.update(changes)
    np.savez(str(path), **{key: value for key, value in content.items() if value is not None})


def test_sound_statistics_of_reals_are_believed(tmp_path):
    stored(tmp_path / 'x.npz')
    assert features._load_statistics(str(tmp_path / 'x.npz'), PROTOCOL).num_samples == 5


@pytest.mark.parametrize('damage', [
    lambda path: path.write_bytes(b''), lambda path: path.write_bytes(b'PK\3\4' * 100), lambda path: path.mkdir(),
    lambda path: stored(path, protocol='other'), lambda path: stored(path, sum=None),
    lambda path: stored(path, num_samples=np.int64(4)), lambda path: stored(path, num_samples=np.zeros(3)),
    lambda path: stored(path, sum=np.full(3, np.nan)), lambda path: stored(path, outer=np.zeros([2, 2])),
    lambda path: stored(path, sum=np.zeros(7)), lambda path: stored(path, origin=np.float64(1))],
    ids=['empty', 'zip', 'folder', 'other', 'missing', 'count', 'counts', 'nan', 'outer', 'sum', 'origin'])
def test_doubtful_statistics_of_reals_are_computed_anew(tmp_path, damage):
    damage(tmp_path / 'x.npz')
    assert features._load_statistics(str(tmp_path / 'x.npz'), PROTOCOL) is None


@pytest.mark.parametrize('content', ['{', '[]', '{"format": 1}'])
def test_a_damaged_record_of_a_run_never_turns_mirroring_off(network, tmp_path, content):
    run_dir = tmp_path / '00000-run'
    run_dir.mkdir()
    path = str(run_dir / 'network-final.pkl')
    shutil.copy(network, path)
    (tmp_path / 'data').mkdir()
    more = ['--dataset', str(tmp_path / 'data')]
    (run_dir / 'submit_config.json').write_text(content)
    with pytest.raises(UserError, match='--mirror-augment or --no-mirror-augment'):
        measure(path, tmp_path / 'out', *more)
    with pytest.raises(UserError, match='--mirror-augment or --no-mirror-augment'):
        make_metric('dummy').run(path, dataset_args=dict(tfrecord_dir=str(tmp_path)))
    measure(path, tmp_path / 'out', '--mirror-augment', *more)
    write_submit_config(str(run_dir), dict(config=dict(train=dict(mirror_augment=True))))
    data = dict(tfrecord_dir=str(tmp_path / 'data'))
    assert data_of(str(run_dir), data) == (data, True)


def test_one_damaged_snapshot_does_not_end_the_measuring_of_all(network, tmp_path, capsys):
    run_dir = tmp_path / '00000-run'
    run_dir.mkdir()
    write_submit_config(str(run_dir), dict(config=dict(dataset={}, train={})))
    for kimg in (1, 3):
        shutil.copy(network, str(run_dir / f'network-snapshot-{kimg:06d}.pkl'))
    with open(network, 'rb') as file:
        (run_dir / 'network-snapshot-000002.pkl').write_bytes(file.read(1000))
    assert run_metrics.main(['dummy', '--run', str(run_dir), '--all-snapshots', '--device', 'cpu']) == 1
    assert 'network-snapshot-000002 is left out' in capsys.readouterr().err
    assert sorted(os.listdir(str(run_dir / 'metrics'))) == ['network-snapshot-000001', 'network-snapshot-000003']


# ---- Settings that make no sense

@pytest.mark.parametrize('name, changes, words', [
    ('fid50k', dict(minibatch_per_gpu=0), 'minibatch_per_gpu is 0; a whole number of at least 1'),
    ('fid50k', dict(num_images='x'), "num_images is 'x'"), ('fid50k', dict(num_images=1), 'at least 2'),
    ('fid50k', dict(num_images=True), 'num_images is True'), ('fid50k', dict(num_mixed=0), 'num_mixed is 0'),
    ('fid50k', dict(num_images=5e4), 'num_images is 50000.0'), ('fid50k', dict(name='../fid'), "called '../fid'"),
    ('fid50k', dict(name=7), 'called 7'), ('kid50k', dict(subset_size=1), 'subset_size is 1'),
    ('pr50k', dict(num_images=3), 'at least 4'), ('nearest', dict(num_nearest=0), 'num_nearest is 0'),
    ('ppl_wend', dict(epsilon=0), 'epsilon is 0'), ('ppl_wend', dict(epsilon='x'), "epsilon is 'x'"),
    ('ppl_wend', dict(space='y'), "space is 'y'"), ('ppl_wend', dict(num_samples=0), 'num_samples is 0'),
    ('ls', dict(num_samples=1, num_keep=1), 'num_samples is 1; a whole number of at least 4'),
    ('ls', dict(num_samples=8, num_keep=9), 'num_keep is 9, more than'), ('ls', dict(attrib_indices=3), 'a list'),
    ('ls', dict(attrib_indices=['x']), "is 'x'"), ('ls', dict(attrib_indices=[]), 'a list'),
    ('ls', dict(attrib_indices=[0, 3, 0]), 'names an attribute twice'),
    ('ppl_wend', dict(epsilon=1e-320), 'from 1e-09 to 1'),
    ('fid50k', dict(num_images=10 ** 400), 'num_images is more than 1000000000'),
    ('jsd', dict(num_samples=4), 'num_samples is 4'), ('jsd', dict(num_cells=10 ** 6), 'num_cells is 1000000'),
    ('mode_coverage', dict(least_share=float('nan')), 'least_share is nan; a number from 1e-09 to 1'),
    ('mode_coverage', dict(max_deviations='x'), "max_deviations is 'x'")])
def test_senseless_settings_are_refused_when_a_metric_is_made(name, changes, words):
    with pytest.raises(UserError, match=words):
        make_metric(dict(preset(name), **changes))


@pytest.mark.parametrize('settings, words', [('minibatch_per_gpu: 0', r'minibatch_per_gpu\b.* 0'),
                                             ('name: ../fid', r'\.\./fid')])
def test_a_dry_run_refuses_senseless_metrics(tmp_path, settings, words):
    with pytest.raises(UserError, match=words):
        train.main(['--config', 'demo', '--dry-run', '--result-dir', str(tmp_path), '--set',
                    'dataset={class_name: training.dataset.SyntheticDataset, resolution: 32}', '--set',
                    f'metrics=[{{preset: fid50k, {settings}}}]'])


def test_one_sample_is_a_sentence(network, tmp_path):
    process = subprocess.run([sys.executable, 'run_metrics.py', 'fid50k', '--network', network, '--num-samples', '1',
                              '--out', str(tmp_path / 'out'), '--device', 'cpu', '--features', 'standin'],
                             cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert (process.returncode, process.stdout) == (2, '')
    assert 'Traceback' not in process.stderr and process.stderr.splitlines()[-1] == (
        'error: fid50k: num_images is 1; a whole number of at least 2 is expected')
    for name in ('kid50k', 'pr50k', 'ls'):
        args, _ = run_metrics.parse_args([name, '--network', network, '--num-samples', '1'])
        with pytest.raises(UserError, match='is 1; a whole number of at least'):
            jobs.Job(args.specs, network, str(tmp_path))


def test_a_metric_that_fails_is_a_null_with_its_reason_and_the_run_goes_on(tmp_path, capsys):
    args = dict(loop_helpers.QUICK, total_kimg=0.032)
    metrics = [dict(name='broken', func_name='loop_helpers.broken_metric'), 'dummy']
    assert loop_helpers.train(tmp_path, metric_arg_list=metrics, **args) == 'finished'
    folder = tmp_path / 'metrics' / 'network-snapshot-000000'
    broken = records.read_record(str(folder / 'broken.json'))
    assert broken['value'] is None and broken['problems'] == ["KeyError: 'no such thing'"]
    assert records.read_record(str(folder / 'dummy.json'))['value'] == 0.0
    assert 'broken nan' in (tmp_path / 'metric-broken.txt').read_text()


def test_a_snapshot_that_cannot_be_opened_is_a_null_with_its_reason_for_every_metric(network, tmp_path):
    run_dir = tmp_path / 'run'
    run_dir.mkdir()
    damaged = run_dir / 'network-snapshot-000007.pkl'
    damaged.write_bytes(open(network, 'rb').read()[:3000])
    group = MetricGroup(['dummy', 'fid50k'])
    options = dict(run_dir=str(run_dir), dataset_args={}, mirror_augment=False, num_gpus=1)
    with pytest.raises(UserError, match='000007'):
        group.run(str(damaged), **options)
    assert not (run_dir / 'metrics').exists()
    for record in group.run(str(damaged), tolerant=True, **options):
        stored = records.read_record(str(run_dir / 'metrics' / 'network-snapshot-000007' / f"{record['metric']}.json"))
        assert stored['value'] is None and 'network-snapshot-000007.pkl' in stored['problems'][0]
        assert len(stored['network_sha256']) == 64
    group.update_autosummaries()
    line = (run_dir / 'metric-fid50k.txt').read_text()
    assert ' fid50k nan ' in line and 'problem: ' in line
    gone = group.run(str(run_dir / 'network-snapshot-000009.pkl'), tolerant=True, **options)
    assert [record['value'] for record in gone] == [None, None] and 'network-snapshot-000009' in gone[0]['problems'][0]


def test_reals_that_were_changed_under_the_same_size_and_time_are_measured_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('config.cache_dir', str(tmp_path / 'cache'))
    monkeypatch.setattr(fingerprint, '_SETTLED_NS', 0)
    create_toyfaces(str(tmp_path / 'faces'), resolution=16, num=12, workers=1)
    path = make_network(tmp_path, resolution=16)

    def fid(out, **options):
        spec = dict(preset('fid50k'), num_images=6, minibatch_per_gpu=6)
        data = dict(tfrecord_dir=str(tmp_path / 'faces'))
        return jobs.Job([spec], locate(path), str(tmp_path / out), dataset_args=data, features='standin',
                        **options).run(again=False)[0]
    before = fid('out')
    assert fid('out')['value'] == before['value'] and 'is measured already' in capsys.readouterr().out
    for level in (tmp_path / 'faces').glob('*.tfrecords'):
        content, status = level.read_bytes(), os.stat(str(level))
        size = len(content) // 12
        level.write_bytes(b''.join(content[start:start + size] for start in range(11 * size, -1, -size)))
        os.utime(str(level), ns=(status.st_atime_ns, status.st_mtime_ns))
    after = fid('out')
    assert 'is measured already' not in capsys.readouterr().out
    assert after['dataset_fingerprint'] != before['dataset_fingerprint'] and after['value'] != before['value']
    assert after['value'] == fid('without-cache', cache_dir=None)['value']
    assert len(store.find(str(tmp_path / 'out'), 'fid50k')) == 2
