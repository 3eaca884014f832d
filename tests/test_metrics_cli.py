"""run_metrics.py, comparison of scores, and the training of classifiers."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from metric_helpers import some_record

import run_metrics
from data.converters.create_toyfaces import create_toyfaces
from data.records import dataset
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import EasyDict, UserError
from metrics import classifier_training, train_standins
from metrics.networks import files, released, standin
from metrics.networks.feature_networks import FeatureNetworks
from metrics.scores import explain, records

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

pytestmark = pytest.mark.usefixtures('no_downloads')


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


def test_all_snapshots_get_a_folder_each_and_are_measured_once(little_network, faces, tmp_path, capsys):
    from dnnlib.submission.records import write_submit_config
    run_dir = str(tmp_path / '00000-run')
    os.makedirs(run_dir)
    write_submit_config(run_dir, dict(config=dict(
        dataset=dict(class_name='training.dataset.TFRecordDataset', tfrecord_dir=faces), train={}), data_dir='/'))
    for kimg in (3, 12):
        os.link(little_network, os.path.join(run_dir, f'network-snapshot-{kimg:06d}.pkl'))
    args = ['fid50k', '--run', run_dir, '--all-snapshots', '--num-samples', '70', '--device', 'cpu']
    assert run_metrics.main(args) == 0
    for kimg in (3, 12):
        path = os.path.join(run_dir, 'metrics', f'network-snapshot-{kimg:06d}', 'fid50k.json')
        assert records.read_record(path)['network'] == f'network-snapshot-{kimg:06d}'
    with open(os.path.join(run_dir, 'metric-fid50k.txt')) as file:
        assert len(file.readlines()) == 2
    assert os.path.exists(os.path.join(run_dir, 'network-best-fid50k.pkl'))
    capsys.readouterr()
    assert not os.path.exists(os.path.join(run_dir, 'README.md'))
    with open(os.path.join(run_dir, '_finished.txt'), 'w'):
        pass
    assert run_metrics.main(args) == 0
    assert capsys.readouterr().out.count('is measured already') == 2
    with open(os.path.join(run_dir, 'README.md'), encoding='utf-8') as file:    # a finished run's card has its scores
        assert '| 70 (a quick look) |' in file.read()

    # A snapshot that was cut off, between others, is left out and named, and does not end the command.
    with open(little_network, 'rb') as file, open(os.path.join(run_dir, 'network-snapshot-000005.pkl'), 'wb') as cut:
        cut.write(file.read()[:5000])
    os.link(little_network, os.path.join(run_dir, 'network-snapshot-000020.pkl'))
    assert run_metrics.main(args) == 1
    captured = capsys.readouterr()
    assert 'network-snapshot-000005 is left out: ' in captured.err and 'cut off' in captured.err
    assert captured.out.count('is measured already') == 2
    path = os.path.join(run_dir, 'metrics', 'network-snapshot-000020', 'fid50k.json')
    assert records.read_record(path)['network'] == 'network-snapshot-000020'
    cut = os.path.join(run_dir, 'network-snapshot-000005.pkl')
    with pytest.raises(UserError, match='cut off'):
        run_metrics.main(['fid50k', '--network', cut, '--device', 'cpu'])


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
    (['table1', '--dataset', '{tmp}'], 'needs the name'),
    (['table', 'stylegan-4', '--dataset', 'ffhq='], "'ffhq=' names nothing after the equals sign"),
    (['table', 'stylegan-9'], "no table 'stylegan-9'; did you mean"),
    (['table', 'stylegan-1', '--network', 'ffhq-g=x.pkl'], "no network 'ffhq-g'; did you mean 'ffhq-"),
    (['table', 'stylegan-1', '--dataset', 'lsun=x'], "no data set 'lsun'"),
    (['table', 'stylegan-4', '--network', '{network}'], 'say which network of stylegan-4 it is'),
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


def test_untrained_baseline_has_its_own_name_and_leaves_no_line_in_the_run(little_network, faces, tmp_path):
    run_metrics.main(['fid50k', '--network', little_network, '--dataset', faces, '--num-samples', '70', '--untrained',
                      '--out', str(tmp_path), '--device', 'cpu'])
    record = records.read_record(str(tmp_path / 'fid50k.json'))
    assert record['network'] == 'network-snapshot-000007-untrained' and record['value'] > 0
    assert not os.path.exists(os.path.join(os.path.dirname(little_network), 'metric-fid50k.txt'))


def test_command_line_prints_one_line_for_a_mistake():
    result = subprocess.run([sys.executable, 'run_metrics.py', 'explain', 'a.json', 'b.json'], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert result.returncode == 2 and result.stderr.startswith('error: cannot read a.json')
    assert 'Traceback' not in result.stderr


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


@pytest.mark.parametrize('changes', [
    dict(metric=5), dict(metric='\ud800'), dict(value='x'), dict(value=1e300), dict(value=True), dict(values=[]),
    dict(values={'a': 'x'}), dict(values={'a': -1e200}), dict(standard_error='x'), dict(standard_errors={'a': []}),
    dict(standard_errors=5), dict(problems='x'), dict(problems=[5]), dict(feature_networks=[]), dict(seconds=-1),
    dict(feature_networks={'a': 5}), dict(feature_networks={'a': {}}), dict(network=5), dict(num_samples='x'),
    dict(is_standin=5), dict(settings=[]), dict(seed='x'), dict(formats=[]), dict(network_sha256=[])], ids=str)
def test_records_whose_fields_make_no_sense_are_refused(tmp_path, changes):
    path = tmp_path / 'fid50k.json'
    path.write_text(json.dumps(some_record(**changes)))
    with pytest.raises(UserError, match='fid50k.json is damaged: '):
        records.read_record(str(path))


@pytest.mark.parametrize('content', [b'', b'[]', b'{}', b'[' * 100000, b'{"metric": "a", "value": 1' + b'0' * 400
                                     + b'}', b'{"metric": "a", "value": NaN}', b'\xff\xfe'], ids=range(7))
def test_files_that_are_no_records_are_refused(tmp_path, content):
    path = tmp_path / 'fid50k.json'
    path.write_bytes(content)
    with pytest.raises(UserError, match='fid50k.json'):
        run_metrics.main(['explain', str(path), str(path)])
    with pytest.raises(UserError, match='not a regular file'):
        run_metrics.main(['explain', '/dev/full', '/dev/full'])


def test_explain_compares_odd_but_sound_records(tmp_path, capsys):
    odd = [dict(value=None), dict(values={}), dict(values={'a': 1e100, 'b': None}, standard_errors={'a': 1e100}),
           dict(values={'a': -1e100}, standard_errors={'a': None}), dict(settings={'\x1b[31m': {'a': [[]] * 5}}),
           dict(details={}), dict(feature_networks={}), dict(value=0), dict(unknown={'deep': [{'er': 1}]})]
    for number, changes in enumerate(odd):
        (tmp_path / f'{number}.json').write_text(json.dumps(some_record(**changes)))
    for a in range(len(odd)):
        for b in range(len(odd)):
            assert run_metrics.main(['explain', str(tmp_path / f'{a}.json'), str(tmp_path / f'{b}.json')]) == 0
    assert '\x1b' not in capsys.readouterr().out


# ---- Classifiers and stand-ins

def test_classifier_of_one_attribute_is_trained_and_read_back(tmp_path, capsys):
    faces = str(tmp_path / 'toy')
    create_toyfaces(faces, resolution=16, num=60, workers=1)
    context = EasyDict(should_stop=lambda: False)
    args = dict(run_dir=str(tmp_path), run_context=context, dataset_args=dict(tfrecord_dir=faces),
                D_args=dict(func_name='training.networks_stylegan.D_basic', fmap_base=32, fmap_max=4),
                D_opt_args={}, total_kimg=0.05, device='cpu')
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
