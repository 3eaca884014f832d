"""Which network a user means, which snapshot a run stands for, and that what the last version wrote still loads."""

import hashlib
import json
import os
import shutil

import loop_helpers
import numpy as np
import pytest
from conftest import ROOT, new_session
from metric_helpers import make_network

from data.converters.create_toyfaces import create_toyfaces
from dnnlib import files, tflib
from dnnlib.tflib import convert
from dnnlib.util import UserError
from metrics.scores.own import own_protocol
from training.network_files import best, locate

OLD_RUN = ROOT / 'tests' / 'data' / 'run-of-2b34ccf'
SETTINGS = dict(num_images=50000, minibatch_per_gpu=8)


def network_of(kimg):
    return f'network of {kimg} kimg'.encode()


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """A finished run with snapshots at 7, 49 and 120 kimg, measured by fid50k, whose files are not networks."""
    monkeypatch.setattr('config.result_dir', str(tmp_path / 'results'))
    path = tmp_path / 'results' / '00003-mine'
    path.mkdir(parents=True)
    for kimg in (7, 49, 120):
        (path / f'network-snapshot-{kimg:06d}.pkl').write_bytes(network_of(kimg))
    (path / 'network-final.pkl').write_bytes(network_of(120))
    configure(path, ['ppl_wend', 'fid50k'])
    (path / 'dataset.json').write_text(json.dumps(dict(fingerprint='data', label_size=0)))
    return path


def configure(run_dir, metrics, data_dir='', **sections):
    config = dict(sections, metrics=metrics, train=dict(mirror_augment=True))
    record = dict(format=1, config=config, provenance={}, data_dir=data_dir)
    (run_dir / 'submit_config.json').write_text(json.dumps(record))


def measure(run_dir, kimg, value, name=None, **changes):
    """Stores a score as metrics do, in a file of its own protocol, and chooses the best snapshot anew."""
    record = dict(metric='fid50k', value=value, network=name or f'network-snapshot-{kimg:06d}',
                  network_sha256=hashlib.sha256(network_of(kimg)).hexdigest(), settings=SETTINGS, seed=0,
                  is_standin=False, dataset_fingerprint='data', mirror_augment=True, is_reduced=False, problems=[],
                  time='2026-01-01T00:00:00', seconds=1.0)
    record.update(changes)
    tag = hashlib.sha256(repr(sorted(changes.items())).encode()).hexdigest()[:8] if changes else ''
    path = run_dir / 'metrics' / record['network'] / f"{record['metric']}{tag and '-' + tag}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return best.update(str(run_dir), record, own_protocol(str(run_dir), record['metric']))


def found(text):
    path = locate.locate(text)
    return os.path.basename(path.path), path.taken


# ---- Which snapshot a run stands for

def test_a_finished_run_stands_for_its_best_snapshot_else_for_its_final_one(run_dir):
    assert found(run_dir) == ('network-final.pkl', 'its final one')
    assert measure(run_dir, 7, 30.0) and measure(run_dir, 49, 20.0) and not measure(run_dir, 120, 25.0)
    for text in (str(run_dir), '3', 3, '00003-mine', '3:best'):
        assert found(text) == ('network-snapshot-000049.pkl', 'its best by fid50k, 20.0000')
    assert found('3:final') == ('network-final.pkl', 'its final one')
    assert found('00003-mine:000120') == found('3:120') == ('network-snapshot-000120.pkl', 'the one at 120 kimg')
    assert found(run_dir / 'network-snapshot-000007.pkl') == ('network-snapshot-000007.pkl', None)
    # Its own file being gone, the copy is taken.
    (run_dir / 'network-snapshot-000049.pkl').unlink()
    assert found('3')[0] == 'network-best-fid50k.pkl'
    assert (run_dir / 'network-best-fid50k.pkl').read_bytes() == network_of(49)


def test_an_unfinished_run_stands_for_its_best_snapshot_else_for_its_newest(run_dir):
    (run_dir / 'network-final.pkl').unlink()
    assert found('3') == ('network-snapshot-000120.pkl', 'its newest one')
    measure(run_dir, 7, 30.0)
    assert found('3')[0] == 'network-snapshot-000007.pkl'
    with pytest.raises(UserError, match='is not finished.*network-snapshot-000120.pkl'):
        locate.locate('3:final')


def test_the_first_fid_of_the_configuration_chooses(run_dir):
    configure(run_dir, ['ppl_wend', dict(preset='fid50k', name='fid5k', num_images=5000), 'fid50k'])
    measure(run_dir, 7, 1.0)
    assert found('3')[0] == 'network-final.pkl'
    measure(run_dir, 49, 9.0, metric='fid5k', settings=dict(num_images=5000, minibatch_per_gpu=8))
    assert found('3')[0] == 'network-snapshot-000049.pkl'
    configure(run_dir, ['ppl_wend'])
    assert found('3')[0] == 'network-final.pkl' and found('3:best')[0] == 'network-snapshot-000007.pkl'


def test_without_a_score_there_is_no_best_snapshot(run_dir):
    with pytest.raises(UserError, match='run_metrics.py fid50k --run'):
        locate.locate('3:best')


# ---- How the best one is chosen

@pytest.mark.parametrize('changes', [
    dict(seed=1), dict(dataset_fingerprint='other'), dict(mirror_augment=False), dict(labels='class 3'),
    dict(settings=dict(SETTINGS, num_images=400), is_reduced=True)])
def test_scores_under_another_protocol_never_touch_the_best_snapshot(run_dir, changes):
    measure(run_dir, 49, 20.0)
    kept = [(run_dir / name).read_bytes() for name in ('network-best-fid50k.pkl', 'best-fid50k.json')]
    for kimg in (7, 49, 120):
        assert not measure(run_dir, kimg, 5.0, **changes)
    assert kept == [(run_dir / name).read_bytes() for name in ('network-best-fid50k.pkl', 'best-fid50k.json')]
    assert found('3')[0] == 'network-snapshot-000049.pkl'


def test_scores_by_other_feature_networks_are_not_compared(run_dir, tmp_path):
    trained, other = (dict(feature_networks={'inception': {'weights_sha256': digit * 64}}) for digit in 'ab')
    measure(run_dir, 49, 20.0, **trained)
    measure(run_dir, 120, 25.0, **trained)
    assert not measure(run_dir, 7, 5.0, **other) and found('3')[0] == 'network-snapshot-000049.pkl'
    # Drawn faces are measured by the stand-ins, photographs by the released networks, whatever a look at them used.
    create_toyfaces(str(tmp_path / 'faces'), resolution=16, num=2, workers=1)
    dataset = dict(tfrecord_dir='faces')
    configure(run_dir, ['fid50k'], data_dir=str(tmp_path), dataset=dataset)
    assert measure(run_dir, 120, 25.0, is_standin=True, **trained) and found('3')[1] == 'its best by fid50k, 25.0000'
    manifest = tmp_path / 'faces' / 'manifest.json'
    manifest.write_text(manifest.read_text().replace('"create_toyfaces"', '"create_from_images"'))
    for kimg in (7, 49, 120):
        measure(run_dir, kimg, 1.0, is_standin=True, **other)
    assert found('3')[1] == 'its best by fid50k, 20.0000'


def test_measuring_again_mends_a_wrong_choice(run_dir):
    measure(run_dir, 7, 30.0)
    measure(run_dir, 49, 20.0)
    wrong = dict(json.loads((run_dir / 'best-fid50k.json').read_text()), seed=1, value=0.5,
                 network='network-snapshot-000120', network_sha256=hashlib.sha256(network_of(120)).hexdigest())
    (run_dir / 'best-fid50k.json').write_text(json.dumps(wrong))
    (run_dir / 'network-best-fid50k.pkl').unlink()
    (run_dir / 'network-best-fid50k.pkl').write_bytes(network_of(120))
    assert found('3')[0] == 'network-snapshot-000120.pkl'
    assert measure(run_dir, 7, 30.0)
    assert found('3') == ('network-snapshot-000049.pkl', 'its best by fid50k, 20.0000')
    assert (run_dir / 'network-best-fid50k.pkl').read_bytes() == network_of(49)


def test_a_score_whose_network_is_no_longer_there_does_not_count_unless_it_was_kept(run_dir):
    measure(run_dir, 49, 20.0)
    (run_dir / 'network-snapshot-000049.pkl').unlink()
    (run_dir / 'network-snapshot-000049.pkl').write_bytes(b'another one')
    assert not measure(run_dir, 7, 30.0) and found('3')[0] == 'network-best-fid50k.pkl'
    (run_dir / 'network-best-fid50k.pkl').unlink()
    assert measure(run_dir, 7, 30.0) and found('3')[0] == 'network-snapshot-000007.pkl'
    assert not measure(run_dir, 120, None) and not measure(run_dir, 120, 1.0, metric='ppl_wend')


def test_a_quick_look_at_a_run_that_measured_nothing_itself_gives_way_to_full_scores(run_dir):
    configure(run_dir, [])
    quick = dict(settings=dict(SETTINGS, num_images=400), is_reduced=True)
    measure(run_dir, 7, 2.0, **quick)
    measure(run_dir, 120, 3.0, **quick)
    assert found('3:best')[0] == 'network-snapshot-000007.pkl'
    assert measure(run_dir, 120, 9.0) and found('3:best')[0] == 'network-snapshot-000120.pkl'


# ---- Mistakes

@pytest.mark.parametrize('text, words', [
    ('nothing', "is 'nothing', which is neither a file here, nor an address, .* no run directory 'nothing'"),
    ('4', "no run directory '4'"), ('4:final', "no run directory '4'"), ('3:newest', 'best, final, or'),
    ('3:000050', "no snapshot '000050'; among its last are network-snapshot-000007.pkl"),
    ('{run}:', 'best, final, or'), ('{empty}', 'holds no network pickle'), ('x' * 5000, 'neither a file'),
    ('/nowhere/x.pkl', "--network: there is no file '/nowhere/x.pkl'; expected is a file, a run")])
def test_what_cannot_be_found_is_a_sentence(run_dir, tmp_path, text, words):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=words):
        locate.locate(text.format(run=run_dir, empty=tmp_path / 'empty'), option='--network')


@pytest.mark.parametrize('content', [b'{', b'[]', b'\xff', b'[' * 100000])
def test_a_damaged_record_of_the_run_asks_for_the_snapshot(run_dir, content):
    (run_dir / 'submit_config.json').write_bytes(content)
    with pytest.raises(UserError, match=r"the run's record .*00003-mine:final"):
        locate.locate('3')
    assert found('3:final')[0] == 'network-final.pkl'


@pytest.mark.parametrize('record', [
    {}, [], dict(metric='fid50k', value='1', network='network-final', network_sha256='x'),
    dict(metric='fid50k', value=1.0, network='../../etc/passwd', network_sha256='x'),
    dict(metric='fid50k', value=1.0, network=['x'], network_sha256=7), dict(metric='other', value=1.0)])
def test_a_damaged_record_of_the_best_score_counts_as_none(run_dir, record):
    (run_dir / 'best-fid50k.json').write_text(json.dumps(record))
    shutil.copy(str(run_dir / 'network-final.pkl'), str(run_dir / 'network-best-fid50k.pkl'))
    assert found('3') == ('network-final.pkl', 'its final one')
    assert measure(run_dir, 7, 30.0) and found('3')[0] == 'network-snapshot-000007.pkl'


# ---- What a file holds

@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A snapshot of 8x8."""
    return make_network(tmp_path_factory.mktemp('source'), resolution=8)


@pytest.mark.parametrize('suffix', ['.pkl', '.npz', '.safetensors'])
def test_every_format_loads_through_the_one_door(source, tmp_path, suffix):
    path = str(tmp_path / ('other' + suffix))
    convert.write(convert.read(source), path)
    assert convert.same(locate.read(path), convert.read(source))
    with new_session():
        Gs = locate.load_generator(path)
        assert Gs.name == 'Gs' and Gs.run(np.zeros([1, 12]), None).shape == (1, 3, 8, 8)


# ---- What the last version wrote

def test_a_run_of_the_last_version_is_found_read_and_drawn(tmp_path):
    run_dir = tmp_path / 'run'
    shutil.copytree(str(OLD_RUN), str(run_dir))
    assert found(run_dir) == ('network-final.pkl', 'its final one')     # the best one's file is not there
    shutil.copy(str(run_dir / 'network-final.pkl'), str(run_dir / 'network-best-fid50k.pkl'))
    assert found(run_dir) == ('network-best-fid50k.pkl', 'its best by fid50k, 2700.4757')
    with new_session():
        Gs = locate.load_generator(run_dir)
        assert Gs.components.mapping.input_shapes[1] == [None, 2]
        assert np.isfinite(Gs.run(np.zeros([2, 8]), np.eye(2))).all()
    assert own_protocol(str(run_dir), 'fid50k') == dict(
        seed=0, labels='data', mirror_augment=True, settings=dict(num_images=40, minibatch_per_gpu=8),
        dataset_fingerprint='2f50c77440c0c11fc55fc153a250134285874456023142d6e280f1285269c691-8')


def test_a_checkpoint_of_the_last_version_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    run_dir = tmp_path / 'run'
    shutil.copytree(str(OLD_RUN), str(run_dir))
    (run_dir / 'network-final.pkl').unlink()
    create_toyfaces(str(tmp_path / 'faces'), resolution=16, num=60, workers=1)
    as_then = {'graph_options.rewrite_options.disable_meta_optimizer': False}
    args = dict(loop_helpers.tiny_args(tf_config=as_then), resume=True, image_snapshot_ticks=0, dataset_args=dict(
        tfrecord_dir=str(tmp_path / 'faces'), resolution=8, max_label_size=2))
    monkeypatch.setattr(loop_helpers, 'tiny_args', lambda: args)
    assert loop_helpers.train(run_dir) == 'finished'
    if tflib.ENGINE != 'tf1':
        return      # another engine goes on from it, but rounds differently
    with new_session():
        old, new = (locate.load(str(folder / 'network-final.pkl')) for folder in (OLD_RUN, run_dir))
        for before, after in zip(old, new):
            values = [tflib.get_vars(list(net.vars.values())) for net in (before, after)]
            assert list(before.vars) == list(after.vars)
            off = [name for name, a, b in zip(before.vars, *values) if not np.allclose(a, b, rtol=1e-3, atol=1e-4)]
            # The instance norm after it leaves this one a gradient of rounding alone, which Adam makes steps of.
            assert set(off) <= {'G_synthesis/4x4/Const/bias'}, off


def test_records_of_the_last_version_are_read_and_compared():
    from metrics.scores import explain, records
    record = records.read_record(str(OLD_RUN / 'metrics' / 'network-snapshot-000000' / 'fid50k.json'))
    assert records.text_line(record).startswith('network-snapshot-000000        time 2s           fid50k 2864.0706')
    assert 'No field of the two protocols differs' in '\n'.join(explain.compare(record, record))
    stats = files.read_json_lines(str(OLD_RUN / 'stats.jsonl'))
    assert [line['tick'] for line in stats] == [1, 2, 3]
