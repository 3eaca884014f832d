"""The training loop on tiny runs: equal bits, going on after a kill, polite stops, towers, data of other kinds."""

import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import kill_harness
import loop_helpers
import numpy as np
import pytest
from loop_helpers import FIXED, QUICK, Context, copy_up_to, long_metric, train
from PIL import Image

from data.records.dataset import load_dataset
from dnnlib import submission
from dnnlib.tflib import convert
from dnnlib.tflib.safe_pickle import read_networks
from dnnlib.util import StopRequested, UserError
from training import training_loop
from training.state import checkpoint, resume


def final_bytes(run_dir):
    return (run_dir / 'network-final.pkl').read_bytes()


def stats(run_dir):
    return [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def reference_run(tmp_path_factory):
    """An uninterrupted run across a change of resolution."""
    run_dir = tmp_path_factory.mktemp('reference')
    assert train(run_dir) == 'finished'
    return run_dir


@pytest.fixture(scope='module')
def quick_run(tmp_path_factory):
    """An uninterrupted run of the quick kind."""
    run_dir = tmp_path_factory.mktemp('quick')
    assert train(run_dir, **QUICK) == 'finished'
    return run_dir


@pytest.mark.both
def test_a_run_writes_what_it_promises(reference_run):
    names = os.listdir(str(reference_run))
    for name in ('reals.png', 'fakes000000.png', 'network-snapshot-000000.pkl', 'network-final.pkl', 'stats.jsonl',
                 'dataset.json', 'checkpoints'):
        assert name in names
    assert any(name.startswith('events.out.tfevents') for name in names)
    assert not any(name.startswith('.tmp') for name in names)
    assert Image.open(str(reference_run / 'reals.png')).size == (4 * 8, 2 * 8)
    assert [net.name for net in read_networks(str(reference_run / 'network-final.pkl'))] == ['G', 'D', 'Gs']
    records = stats(reference_run)
    assert [r['tick'] for r in records] == [1, 2, 3]
    assert [r['nimg'] for r in records] == [64, 128, 192]
    assert [r['lod'] for r in records] == pytest.approx([1, 0.1, 0])  # of the iteration that ended the tick
    for key in ('Loss/scores/fake', 'Loss/scores/real', 'Loss/r1_penalty', 'TrainG/learning_rate',
                'TrainD/overflow_frequency', 'Progress/kimg', 'Timing/sec_per_kimg', 'Resources/peak_gpu_mem_gb',
                'Resources/peak_process_mem_gb', 'TrainG/loss', 'TrainD/loss'):
        assert np.isfinite(records[-1][key])
    assert len(checkpoint.list_checkpoints(str(reference_run / 'checkpoints'))) == 2


def events_of(run_dir):
    """Values in a run's event files: [(tag, step, value)]."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    values = []
    for path in sorted(run_dir.glob('events.out.tfevents.*')):
        for raw in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(raw)
            values += [(value.tag, event.step, value) for value in event.summary.value]
    return values


@pytest.mark.both
def test_tensorboard_gets_scalars_with_margins_and_pictures(reference_run):
    from tensorboard.plugins.custom_scalar import layout_pb2
    events = events_of(reference_run)
    layouts = [value for tag, _step, value in events if tag == 'custom_scalars__config__']
    assert len(layouts) == 1 and layouts[0].metadata.plugin_data.plugin_name == 'custom_scalars'
    layout = layout_pb2.Layout.FromString(layouts[0].tensor.string_val[0])
    assert [category.title for category in layout.category] == ['Loss', 'TrainD', 'TrainG']
    charts = {chart.title: chart.margin.series[0] for category in layout.category for chart in category.chart}
    scalars = {(tag, step): value.simple_value for tag, step, value in events if value.HasField('simple_value')}
    for record in stats(reference_run):
        for name, chart in charts.items():
            lower, mean, upper = [scalars[tag, record['nimg']] for tag in (chart.lower, chart.value, chart.upper)]
            assert lower <= mean <= upper
            assert mean == pytest.approx(record[name], rel=1e-6)
    assert scalars['Margins/lower/Loss/scores/real', 192] < scalars['Margins/upper/Loss/scores/real', 192]
    pictures = [(tag, step, Image.open(io.BytesIO(value.image.encoded_image_string)).size)
                for tag, step, value in events if value.HasField('image')]
    assert pictures == [('Reals', 0, (32, 16)), ('Fakes', 0, (32, 16)), ('Fakes', 64, (32, 16)),
                        ('Fakes', 128, (32, 16)), ('Fakes', 192, (32, 16))]


@pytest.mark.both
def test_a_run_killed_in_a_fade_goes_on_to_the_same_bytes(reference_run, tmp_path):
    start_and_be_killed(tmp_path, 9)  # at 104 images, with a checkpoint at 96
    kept = checkpoint.load_newest(str(tmp_path / 'checkpoints'))
    assert 0 < kept[1]['progress']['prev_lod'] < 1
    assert not (tmp_path / 'network-final.pkl').exists()

    assert train(tmp_path, resume=True) == 'finished'
    assert final_bytes(tmp_path) == final_bytes(reference_run)
    for picture in ('reals.png', 'fakes000000.png'):
        assert (tmp_path / picture).read_bytes() == (reference_run / picture).read_bytes()
    assert [r['tick'] for r in stats(tmp_path)] == [1, 2, 3]
    assert [r['nimg'] for r in stats(tmp_path)] == [r['nimg'] for r in stats(reference_run)]


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes_across_a_change_of_resolution_however_often_it_is_kept(reference_run, tmp_path):
    assert train(tmp_path, checkpoint_kimg=1.0) == 'finished'
    assert final_bytes(tmp_path) == final_bytes(reference_run)


def start_and_be_killed(run_dir, kill_after, **overrides):
    """Trains in a process of its own that kills itself before an iteration."""
    helper = str(pathlib.Path(__file__).with_name('loop_helpers.py'))
    process = subprocess.run([sys.executable, helper, str(run_dir), json.dumps({'kill_after': kill_after}),
                              json.dumps(overrides)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.returncode == -signal.SIGKILL, process.stdout.decode()


def test_a_run_killed_before_its_first_snapshot_and_before_its_next_checkpoint_goes_on_to_the_same_bytes(
        quick_run, tmp_path):
    seldom = dict(QUICK, checkpoint_kimg=1.0)
    start_and_be_killed(tmp_path, 1, **seldom)
    assert [os.path.basename(path) for path in checkpoint.list_checkpoints(str(tmp_path / 'checkpoints'))] == [
        'checkpoint-000000000000.ckpt']
    assert not list(tmp_path.glob('network-*')) and not (tmp_path / 'stats.jsonl').exists()

    start_and_be_killed(tmp_path, 5, resume=True, **seldom)  # after the first tick and its snapshot, at 64 images
    assert len(checkpoint.list_checkpoints(str(tmp_path / 'checkpoints'))) == 1
    assert (tmp_path / 'network-snapshot-000000.pkl').exists() and len(stats(tmp_path)) == 1

    assert train(tmp_path, resume=True, **seldom) == 'finished'
    assert final_bytes(tmp_path) == final_bytes(quick_run)
    assert [r['nimg'] for r in stats(tmp_path)] == [r['nimg'] for r in stats(quick_run)]


def files_of(run_dir):
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in run_dir.rglob('*') if path.is_file()}


@pytest.mark.parametrize('what', ['the folder', 'all of them', 'damaged', 'no snapshot either'])
def test_a_run_that_lost_its_checkpoints_does_not_begin_again(quick_run, tmp_path, what):
    run_dir = tmp_path / 'run'
    shutil.copytree(str(quick_run), str(run_dir))
    if what == 'the folder':
        shutil.rmtree(str(run_dir / 'checkpoints'))
    for path in checkpoint.list_checkpoints(str(run_dir / 'checkpoints')):
        if what == 'damaged':
            with open(path, 'r+b') as f:
                f.truncate(1000)
        else:
            os.unlink(path)
    if what == 'no snapshot either':
        for path in run_dir.glob('network-*'):
            path.unlink()
    before = files_of(run_dir)
    advice = 'start a new run' if what == 'no snapshot either' else (
        rf'takes up its last networks.*--init-from {run_dir}/network-final.pkl --resume-kimg 0.096')
    with pytest.raises(UserError, match=advice):
        train(run_dir, resume=True, **QUICK)
    assert files_of(run_dir) == before


def test_a_new_run_takes_up_the_networks_of_another_where_the_schedule_was(quick_run, tmp_path, capsys):
    snapshot = str(quick_run / 'network-final.pkl')
    assert resume.newest_snapshot(str(quick_run)) == (snapshot, 0.096)
    options = dict(QUICK, init_from=snapshot, resume_kimg=0.096)
    assert train(tmp_path / 'new', Context(stop_after=0), **dict(options, total_kimg=0.16)) == 'stopped'
    assert '0.096 of 0.16 kimg are done' in capsys.readouterr().out
    state = checkpoint.load_newest(str(tmp_path / 'new' / 'checkpoints'))[1]
    assert (state['progress']['cur_nimg'], state['progress']['tick_start_nimg']) == (96, 96)
    assert state['dataset']['images_consumed'] == 96
    assert train(tmp_path / 'new', resume=True, **dict(options, total_kimg=0.16)) == 'finished'
    assert [r['nimg'] for r in stats(tmp_path / 'new')] == [160]
    with pytest.raises(UserError, match='--resume-kimg is 0.096, which is not below train.total_kimg'):
        train(tmp_path / 'late', **options)
    with pytest.raises(UserError, match='give both'):
        train(tmp_path / 'bare', resume_kimg=1, **QUICK)


@pytest.mark.parametrize('changes,message', [
    ({'seed': None}, 'seed is missing'), ({'circumstances': None}, 'circumstances is missing'),
    ({'progress': None}, 'progress is missing'), ({'dataset': 5}, 'dataset is a whole number'),
    ({'seed': 'seven'}, 'seed must be a whole number'), ({'progress.cur_nimg': 'many'}, 'progress.cur_nimg must be'),
    ({'progress.cur_nimg': -1}, 'progress.cur_nimg must be from 0'), ({'progress.step': 1.5}, 'progress.step must be'),
    ({'progress.prev_lod': None}, 'progress.prev_lod is missing'),
    ({'progress.elapsed': float('nan')}, 'progress.elapsed must be'), ({'circumstances': []}, 'must be a mapping'),
    ({'circumstances.intra_op_threads': 'two'}, 'circumstances.intra_op_threads must be'),
    ({'dataset.images_consumed': 'x'}, 'the position in the data set is damaged: images_consumed must be')])
def test_a_checkpoint_of_odd_state_is_a_sentence(quick_run, tmp_path, capsys, changes, message):
    run_dir = copy_up_to(quick_run, tmp_path / 'run', 32)
    paths = checkpoint.list_checkpoints(str(run_dir / 'checkpoints'))
    state, arrays = checkpoint.read_checkpoint(paths[0])
    for key, value in changes.items():
        *outer, key = key.split('.')
        place = state[outer[0]] if outer else state
        if value is None:
            del place[key]
        else:
            place[key] = value
    for path in paths:
        checkpoint.write_checkpoint(path, state, arrays)
    with pytest.raises(UserError) as info:
        if 'position' in message:
            with load_dataset(class_name='training.dataset.SyntheticDataset', resolution=4) as data:
                data.load_state_dict(state['dataset'])
        else:
            resume.find_checkpoint(str(run_dir), 7)
    assert message in capsys.readouterr().out + str(info.value)


def test_a_run_stopped_politely_goes_on_to_the_same_bytes(quick_run, tmp_path, capsys):
    assert train(tmp_path, Context(stop_after=5), **QUICK) == 'stopped'
    assert (tmp_path / 'network-snapshot-000000.pkl').exists()
    assert not (tmp_path / 'network-final.pkl').exists()
    newest = checkpoint.list_checkpoints(str(tmp_path / 'checkpoints'))[0]
    assert newest.endswith('000000000080.ckpt')

    # The newest checkpoint being damaged, the one before it takes over.
    with open(newest, 'r+b') as f:
        f.seek(1000)
        f.write(b'damaged')
    assert train(tmp_path, resume=True, **QUICK) == 'finished'
    assert 'damaged' in capsys.readouterr().out
    assert final_bytes(tmp_path) == final_bytes(quick_run)


@pytest.mark.parametrize('how', ['abort.txt', 'SIGTERM'])
def test_a_metric_is_broken_off_by_a_polite_stop_and_the_run_goes_on_later(quick_run, tmp_path, capsys, monkeypatch,
                                                                           how):
    with submission.RunContext(str(tmp_path)) as context:
        def ask_to_stop():
            if how == 'abort.txt':
                (tmp_path / 'abort.txt').write_text('')
            else:
                os.kill(os.getpid(), signal.SIGTERM)
            while not context.should_stop():  # a thread takes note of signals
                time.sleep(0.01)
        metric = long_metric('long', ask_to_stop)
        monkeypatch.setattr(loop_helpers, 'make_metric', lambda name: metric, raising=False)
        metrics = [dict(name='long', func_name='loop_helpers.make_metric')]
        assert train(tmp_path, context, metric_arg_list=metrics, **QUICK) == 'stopped'
        assert context.stop_reason == how
    assert metric.chunks == 3
    assert not (tmp_path / 'metric-long.txt').exists()
    out = capsys.readouterr().out
    assert out.index('tick 1 ') < out.index('were broken off') < out.index('Stopping as asked')
    assert (tmp_path / 'network-snapshot-000000.pkl').exists()
    assert checkpoint.list_checkpoints(str(tmp_path / 'checkpoints'))[0].endswith('000000000064.ckpt')
    assert train(tmp_path, resume=True, **QUICK) == 'finished'
    assert final_bytes(tmp_path) == final_bytes(quick_run)


def test_reading_a_data_set_for_its_fingerprint_is_broken_off_by_a_polite_stop(tmp_path):
    kill_harness.make_data(str(tmp_path / 'set'))
    with load_dataset(tfrecord_dir=str(tmp_path / 'set')) as data:
        with pytest.raises(StopRequested):
            training_loop._record_data(str(tmp_path), data, lambda: True)
        assert not (tmp_path / 'dataset.json').exists()
        training_loop._record_data(str(tmp_path), data, lambda: False)
    assert (tmp_path / 'dataset.json').exists()


def test_resuming_with_another_configuration_or_data_set_is_refused(reference_run):
    with pytest.raises(UserError, match='data set is not the one'):
        train(reference_run, resume=True, dataset_args=dict(num_images=99))
    with pytest.raises(UserError, match=r'does not fit the networks.*of another shape'):
        train(reference_run, resume=True, G_args=dict(fmap_max=4))
    with pytest.raises(UserError, match='seed'):
        train(reference_run, resume=True, seed=8)


def test_initial_weights_from_a_snapshot_are_copied_or_refused(quick_run, tmp_path, capsys):
    snapshot = str(quick_run / 'network-final.pkl')
    assert train(tmp_path / 'new', Context(stop_after=0), init_from=snapshot, **QUICK) == 'stopped'
    printed = capsys.readouterr().out
    assert 'Initial G: all' in printed and 'Initial Gs: all' in printed
    stored = [read_networks(path) for path in (snapshot, str(tmp_path / 'new' / 'network-snapshot-000000.pkl'))]
    for old, new in zip(*stored):
        for old_part, new_part in zip(old.walk(), new.walk()):
            for (name, old_value), (_, new_value) in zip(old_part.variables, new_part.variables):
                assert np.array_equal(old_value, new_value), name
    convert.write(stored[0], str(tmp_path / 'copy.npz'))
    with pytest.raises(UserError, match=r'G in .*copy.npz does not fit .*missing there'):
        train(tmp_path / 'refused', init_from=str(tmp_path / 'copy.npz'), **dict(QUICK, G_args=FIXED['G_args']))


@pytest.mark.both
def test_two_towers_train_in_step_and_go_on_to_the_same_bytes(tmp_path):
    overrides = dict(FIXED, num_gpus=2, total_kimg=0.064)
    assert train(tmp_path / 'a', **overrides) == 'finished'
    copy_up_to(tmp_path / 'a', tmp_path / 'b', 32)
    assert train(tmp_path / 'b', resume=True, **overrides) == 'finished'
    assert final_bytes(tmp_path / 'a') == final_bytes(tmp_path / 'b')


@pytest.mark.optimized
def test_bits_repeat_where_the_graph_is_optimized(tmp_path):
    args = dict(FIXED, tf_config={'graph_options.rewrite_options.disable_meta_optimizer': False})
    assert train(tmp_path / 'a', **args) == 'finished'
    copy_up_to(tmp_path / 'a', tmp_path / 'b', 32)
    assert train(tmp_path / 'b', resume=True, **args) == 'finished'
    assert final_bytes(tmp_path / 'a') == final_bytes(tmp_path / 'b')


@pytest.mark.slow
@pytest.mark.optimized
def test_bits_repeat_across_a_change_of_resolution_where_the_graph_is_optimized(tmp_path):
    args = dict(checkpoint_keep=99, tf_config={'graph_options.rewrite_options.disable_meta_optimizer': False})
    assert train(tmp_path / 'a', **args) == 'finished'
    copy_up_to(tmp_path / 'a', tmp_path / 'b', 96)
    assert train(tmp_path / 'b', resume=True, **args) == 'finished'
    assert final_bytes(tmp_path / 'a') == final_bytes(tmp_path / 'b')


def test_float_codes_train_at_a_fixed_resolution(tmp_path):
    args = dict(FIXED, total_kimg=0.032, image_snapshot_ticks=1)
    args['dataset_args'] = dict(resolution=4, num_channels=16, dtype='float32', label_size=0)
    assert train(tmp_path, **args) == 'finished'
    assert not (tmp_path / 'reals.png').exists()
    assert (tmp_path / 'network-final.pkl').exists()


@pytest.mark.parametrize('on_nan', ['stop', 'rollback'])
def test_numbers_that_stay_wrong_end_the_run_with_a_sentence(quick_run, tmp_path, capsys, on_nan):
    run_dir = copy_up_to(quick_run, tmp_path / 'run', 32)
    with pytest.raises(UserError, match=r'updates in a row had NaN or Inf.*checkpoint-000000000032'):
        train(run_dir, resume=True, on_nan=on_nan, max_skipped_updates=3,
              D_loss_args=dict(func_name='loop_helpers.nan_loss'), **QUICK)
    assert ('going back' in capsys.readouterr().out) == (on_nan == 'rollback')
