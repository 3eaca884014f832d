"""run_metrics.py, Table I, comparison of scores, and the training of classifiers."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import run_metrics
from data.converters.create_toyfaces import create_toyfaces
from data.records import dataset
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import EasyDict, UserError
from metrics import classifier_training, presets, train_standins
from metrics.networks import files, released, standin
from metrics.networks.feature_networks import FeatureNetworks
from metrics.scores import explain, records
from metrics.tables import table1, table_report
from training import misc

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TINY = dict(num_channels=3, resolution=32, label_size=0, fmap_base=64, fmap_max=8, latent_size=12, dlatent_size=12,
            mapping_fmaps=12, mapping_layers=2, structure='fixed')


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('faces') / 'toy')
    create_toyfaces(path, resolution=32, num=80, workers=1)
    return path


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('network') / 'network-snapshot-000007.pkl')
    with tf.Graph().as_default(), tflib.create_session().as_default():
        tflib.select_device('cpu')
        tf.set_random_seed(1)
        G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
        misc.save_pkl((G, G.clone('D'), G.clone('Gs')), path)
    return path


@pytest.fixture(autouse=True)
def no_downloads(tmp_path, monkeypatch):
    """Released files are looked for in an empty folder, and never fetched."""
    from dnnlib.artifacts import store
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / 'artifacts'))
    monkeypatch.setattr(store, '_cache_dir', lambda: str(tmp_path / 'no-cache'))
    monkeypatch.setattr('config.cache_dir', str(tmp_path / 'cache'))


def test_measuring_writes_a_record_per_metric(network, faces, tmp_path, capsys):
    out = str(tmp_path / 'out')
    status = run_metrics.main(['fid50k,ppl_wend', '--network', network, '--dataset', faces, '--num-samples', '70',
                               '--out', out, '--device', 'cpu', '--seed', '5'])
    assert status == 0
    for name in ('fid50k', 'ppl_wend'):
        record = records.read_record(os.path.join(out, name + '.json'))
        assert record['value'] > 0 and record['num_samples'] == 70 and record['seed'] == 5 and record['is_standin']
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('network-snapshot-000007')]
    assert len(lines) == 2 and 'stand-in networks; 70 samples' in lines[0]


def test_all_snapshots_get_a_folder_each_and_are_measured_once(network, faces, tmp_path, capsys):
    from dnnlib.submission.records import write_submit_config
    run_dir = str(tmp_path / '00000-run')
    os.makedirs(run_dir)
    write_submit_config(run_dir, dict(config=dict(
        dataset=dict(class_name='training.dataset.TFRecordDataset', tfrecord_dir=faces), train={}), data_dir='/'))
    for kimg in (3, 12):
        os.link(network, os.path.join(run_dir, f'network-snapshot-{kimg:06d}.pkl'))
    args = ['fid50k', '--run', run_dir, '--all-snapshots', '--num-samples', '70', '--device', 'cpu']
    assert run_metrics.main(args) == 0
    for kimg in (3, 12):
        path = os.path.join(run_dir, 'metrics', f'network-snapshot-{kimg:06d}', 'fid50k.json')
        assert records.read_record(path)['network'] == f'network-snapshot-{kimg:06d}'
    with open(os.path.join(run_dir, 'metric-fid50k.txt')) as file:
        assert len(file.readlines()) == 2
    assert os.path.exists(os.path.join(run_dir, 'network-best-fid50k.pkl'))
    capsys.readouterr()
    assert run_metrics.main(args) == 0
    assert capsys.readouterr().out.count('is measured already') == 2


@pytest.mark.parametrize('argv, message', [
    (['fid10k', '--network', '{network}'], "no metric 'fid10k'"),
    (['fid50k', '--network', '{network}', '--features', 'standin'], '--dataset'),
    (['kid50k,fid50k', '--network', 'ffhq-1024', '--device', 'cpu'], 'kid50k, fid50k compares .* --dataset'),
    (['fid50k', '--network', '{network}', '--dataset', 'absent'], "no data set 'absent'"),
    (['ppl_wend', '--network', 'absent.pkl'], 'absent.pkl'),
    (['ppl_wend', '--network', '{network}', '--num-samples', '0'], 'at least 1'),
    (['ppl_wend', '--network', '{network}', '--num-gpus', '0', '--device', 'cpu'], 'at least 1'),
    (['explain', '{network}', '{network}'], 'not a JSON file'),
    (['explain', 'absent.json', 'absent.json'], 'cannot read absent.json'),
    (['table1', '--columns', 'lsun'], "no column 'lsun'"),
    (['table1', '--dataset', '{tmp}'], 'needs the column'),
])
def test_mistakes_are_answered_with_a_sentence(argv, message, network, tmp_path):
    argv = [arg.format(network=network, tmp=tmp_path) for arg in argv]
    with pytest.raises(UserError, match=message):
        run_metrics.main(argv)


def test_released_networks_that_are_missing_are_named(network, tmp_path, monkeypatch):
    from dnnlib.artifacts import store
    monkeypatch.setattr(store, 'fetch', lambda name, *args, **kwargs: (_ for _ in ()).throw(UserError(f'no {name}')))
    with pytest.raises(UserError, match='vgg16_zhang_perceptual'):
        run_metrics.main(['ppl_wend', '--network', network, '--num-samples', '4', '--device', 'cpu', '--features',
                          'released', '--out', str(tmp_path)])


def test_untrained_baseline_has_its_own_name_and_leaves_no_line_in_the_run(network, faces, tmp_path):
    run_metrics.main(['fid50k', '--network', network, '--dataset', faces, '--num-samples', '70', '--untrained',
                      '--out', str(tmp_path), '--device', 'cpu'])
    record = records.read_record(str(tmp_path / 'fid50k.json'))
    assert record['network'] == 'network-snapshot-000007-untrained' and record['value'] > 0
    assert not os.path.exists(os.path.join(os.path.dirname(network), 'metric-fid50k.txt'))


def test_command_line_prints_one_line_for_a_mistake():
    result = subprocess.run([sys.executable, 'run_metrics.py', 'explain', 'a.json', 'b.json'], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert result.returncode == 2 and result.stderr.startswith('error: cannot read a.json')
    assert 'Traceback' not in result.stderr


# ---- Table I

def test_dry_run_lists_everything_that_is_missing(capsys, tmp_path):
    assert run_metrics.main(['table1', '--dry-run', '--device', 'cpu', '--data-dir', str(tmp_path)]) == 2
    text = capsys.readouterr().out
    for name in ('retraining-celeba-256', 'retraining-casia-256', 'ffhq-1024', 'celeba-256', 'casia-256',
                 'inception_v3_features.pkl', 'vgg16_zhang_perceptual.pkl', 'celebahq-classifier-00-male.pkl',
                 'celebahq-classifier-39-wearing-necktie.pkl'):
        assert name in text, name
    assert text.count('\n  network ') == 3 and text.count('\n  data set ') == 3


def test_dry_run_of_one_column_with_everything_given(capsys, faces, network):
    assert run_metrics.main(['table1', '--network', network, '--dataset', faces, '--dry-run', '--device', 'cpu']) == 0
    text = capsys.readouterr().out
    assert 'Everything that the table needs is here.' in text and 'Stand-in feature networks' in text


def test_missing_data_sets_are_named_before_any_download(tmp_path, monkeypatch):
    from dnnlib.artifacts import store
    monkeypatch.setattr(store, 'fetch', lambda *args, **kwargs: pytest.fail('a download was started'))
    with pytest.raises(UserError, match='data set celeba-256: make it'):
        run_metrics.main(['table1', '--columns', 'celeba', '--data-dir', str(tmp_path), '--device', 'cpu'])


def test_after_one_failed_download_no_other_is_tried(monkeypatch):
    from dnnlib.artifacts import store
    tried = []

    def fail(artifact, *_args, **_kwargs):
        tried.append(artifact)
        raise UserError('no network')
    monkeypatch.setattr(store, 'fetch', fail)
    missing = [('feature network', files.classifier_file(index), 'ls') for index in range(3)]
    left = table1.fetch_missing(missing)
    assert len(tried) == 1 and [reason for _, _, reason in left][1:] == ['not tried after the failure above'] * 2


def test_columns_take_networks_and_data_sets_of_the_user(tmp_path):
    column, = table1.choose_columns(['celeba'], {'celeba': 'mine.pkl'}, {'celeba': str(tmp_path)})
    assert (column.network, column.dataset_dir) == ('mine.pkl', str(tmp_path))
    assert column.published['ls_w'] == 2.5235
    assert table1.COLUMNS['ffhq'].published['ppl_wend'] == 197.2266
    assert run_metrics.pairs(['celeba=x', 'y']) == {'celeba': 'x', None: 'y'}


def some_record(value=4.9, **changes):
    return dict(dict(metric='fid50k', value=value, standard_error=0.02, network='net', network_sha256='a' * 64,
                     dataset_fingerprint='b' * 64, dataset_images=202281, mirror_augment=True, num_samples=50000,
                     is_standin=False, is_reduced=False, settings=dict(num_images=50000, minibatch_per_gpu=8), seed=0,
                     engine='tf1', tensorflow='1.15.5', device='gpu', num_gpus=2, seconds=960.0, time='now',
                     problems=[], feature_networks=dict(inception=dict(
                         name='Inception', file='inception_v3_features.pkl', file_sha256='c' * 64, verified=False,
                         is_standin=False))), **changes)


def test_table_shows_published_values_differences_and_remarks_in_every_form(tmp_path):
    columns = table1.choose_columns(['celeba', 'ffhq'], {}, {})
    bad = some_record(value=None, problems=['features <contain> NaN'])
    cells = table_report.make_rows(columns, {'celeba': {'fid50k': (4.9, some_record())},
                                             'ffhq': {'fid50k': (None, bad)}})
    assert len(cells) == 14
    paths = table_report.write_all(str(tmp_path), cells)
    markdown, table, page, data = [open(path, encoding='utf-8').read() for path in paths]
    assert '| FID50k | 4.9000 ± 0.0200 | 4.7842 | +2.4 % | [1] |' in markdown
    assert 'not verified' in markdown and 'not measured' in markdown and 'features <contain> NaN' in markdown
    assert 'sha256 aaaaaaaaaaaa' in markdown and 'mirrored: yes' in markdown
    assert table.splitlines()[1].startswith('celeba,fid50k,4.9,0.02,4.7842,2.42')
    assert '&lt;contain&gt;' in page and '<contain>' not in page
    cell = json.loads(data)['cells'][0]
    assert cell['published'] == 4.7842 and cell['protocol']['seed'] == 0
    assert cell['protocol']['feature_networks']['inception']['file_sha256'] == 'c' * 64


def test_table_of_an_own_network_is_made_once(network, faces, tmp_path, capsys, monkeypatch):
    fast = dict(num_images=70, num_samples=24, num_keep=12, minibatch_per_gpu=8)
    for func_name, settings in presets.QUICK.items():
        monkeypatch.setitem(presets.QUICK, func_name, {key: fast[key] for key in settings})
    monkeypatch.setitem(presets.ls, 'attrib_indices', [0, 1])
    args = ['table1', '--network', network, '--dataset', faces, '--preset', 'quick', '--out', str(tmp_path / 't'),
            '--device', 'cpu']
    status = run_metrics.main(args)
    cells = json.loads((tmp_path / 't' / 'table1.json').read_text())['cells']
    assert [cell['key'] for cell in cells] == list(table1.ROWS)
    measured = [cell for cell in cells if cell['value'] is not None]
    assert len(measured) >= 5 and status == (0 if len(measured) == 7 else 1)
    assert all(any('stand-in' in remark for remark in cell['remarks']) for cell in measured)
    assert all(cell['published'] is None for cell in cells)
    capsys.readouterr()
    run_metrics.main(args)
    assert capsys.readouterr().out.count('is measured already') >= 5


# ---- Comparing scores

def test_explain_names_every_difference_and_its_meaning():
    a, b = some_record(), some_record(value=5.1, seed=1, device='cpu', settings=dict(num_images=5000,
                                                                                    minibatch_per_gpu=8))
    lines = '\n'.join(explain.compare(a, b))
    assert 'fid50k: 4.9000 in A, 5.1000 in B; difference +0.2000 (+4.08 %), 7.1 standard errors' in lines
    assert 'settings.num_images: 50000 | 5000' in lines and 'seed: 0 | 1' in lines and 'round differently' in lines
    assert 'network_sha256' not in lines and 'seconds' not in lines
    assert lines.index('settings') < lines.index('device')
    assert 'No field' in '\n'.join(explain.compare(a, dict(a, seconds=5.0)))


# ---- Classifiers and stand-ins

def test_classifier_of_one_attribute_is_trained_and_read_back(tmp_path, capsys):
    faces = str(tmp_path / 'toy')
    create_toyfaces(faces, resolution=16, num=60, workers=1)
    context = EasyDict(should_stop=lambda: False)
    args = dict(run_dir=str(tmp_path), run_context=context, dataset_args=dict(tfrecord_dir=faces),
                D_args=dict(func_name='training.networks_stylegan.D_basic', fmap_base=32, fmap_max=4),
                D_opt_args={}, total_kimg=0.05, device='cpu', G_args={}, sched_args={})
    with tf.Graph().as_default():
        assert classifier_training.train_classifier(attribute='wearing_hat', **args) == 'finished'
        session = tf.get_default_session()
    result = json.loads((tmp_path / 'classifier-wearing-hat.json').read_text())
    assert 0 <= result['accuracy'] <= 1 and result['num_held_out'] == 6 and result['attribute'] == 'wearing-hat'
    assert 'Accuracy on held-out images' in capsys.readouterr().out
    session.close()
    with tf.Graph().as_default(), tflib.create_session().as_default():
        loaded = released.classifier(36, path=str(tmp_path / 'classifier-wearing-hat.pkl'))
        assert loaded.net.run(np.zeros([2, 3, 16, 16]), None).shape == (2, 1)
        assert loaded.record['built_as'] == 'function D_basic of the file'


def test_attributes_are_found_in_any_spelling():
    data = EasyDict(label_names=['Smiling', 'Mouth_Slightly_Open'], label_size=2)
    assert classifier_training.find_attribute(data, 'mouth-slightly-open') == (1, 'Mouth_Slightly_Open')
    assert classifier_training.find_attribute(data, 0) == (0, 'Smiling')
    with pytest.raises(UserError, match='smiling, mouth-slightly-open'):
        classifier_training.find_attribute(data, None)
    with pytest.raises(UserError, match="'beard'"):
        classifier_training.find_attribute(data, 'beard')
    assert len(files.ATTRIBUTES) == 40 and files.classifier_file(5) == 'celebahq-classifier-05-5-o-clock-shadow.pkl'


def test_standins_are_small_and_know_drawn_faces():
    entries = standin.read_record()['networks']
    assert os.path.getsize(standin.WEIGHTS) + os.path.getsize(standin.RECORD) < 2 << 20
    classifiers = [entry for entry in entries.values() if 'attribute' in entry]
    assert len(classifiers) >= 12
    assert all(train_standins.is_useful(entry) for entry in classifiers)
    assert np.mean([entry['accuracy'] for entry in classifiers]) > 0.9
    assert entries['features']['accuracy'] > 0.9 and entries['perceptual']['accuracy'] > 0.85


def test_standin_classifiers_agree_with_the_labels_of_new_faces(tmp_path):
    faces = str(tmp_path / 'toy')
    create_toyfaces(faces, resolution=32, num=60, seed=77, workers=1)
    with dataset.load_dataset(tfrecord_dir=faces, max_label_size='full', prefetch_mb=0) as data, \
            tf.Graph().as_default(), tflib.create_session().as_default():
        images, labels = data.get_samples_np(np.arange(60))
        known = FeatureNetworks('standin')
        index = known.attributes.index('wearing-hat')
        net = known.classifier(index).net
        logits = net.run(images.astype(np.float32) / 127.5 - 1, None)
        assert np.mean((logits[:, 0] > 0) == (labels[:, data.label_names.index('Wearing_Hat')] > 0.5)) > 0.9
