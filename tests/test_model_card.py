import json
import os
import shutil

import pytest
from conftest import ROOT

import config as folders
from dnnlib import submission
from dnnlib.files import sha256_file
from dnnlib.util import UserError
from experiment import run_config, watch
from experiment.reports import card, report
from training import report as published_report


def put(run_dir, snapshot, metric='fid50k', name=None, **changes):
    """Writes the record of a score as metrics write it."""
    record = dict(metric=metric, value=50.0, standard_error=0.25, network=snapshot,
                  network_sha256=sha256_file(os.path.join(run_dir, snapshot + '.pkl')),
                  dataset_fingerprint='f00dbeef99', dataset_images=5000, mirror_augment=False,
                  num_samples=50000, is_standin=False, seed=0, settings=dict(num_images=50000),
                  labels='zeros', tensorflow='1.15.5', device='cpu', problems=[])
    record.update(changes)
    folder = os.path.join(run_dir, 'metrics', snapshot)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, (name or metric) + '.json'), 'w') as file:
        json.dump(record, file)
    return record


@pytest.fixture
def run_dir(tmp_path):
    """A run directory as a run leaves it that finished and whose second snapshot had the lowest FID."""
    path = tmp_path / 'home of [me]' / '00000-demo'
    path.mkdir(parents=True)
    config, origins = run_config.load('demo', folders.config_dir, ['metrics=["fid50k"]', 'train.total_kimg=9'])
    submission.write_submit_config(str(path), dict(config=config, data_dir=str(tmp_path)), origins)
    start = dict(version='0.9.1', python='3.7.16', packages={'tensorflow': '1.15.5', 'numpy': '1.18.5'}, command=[
        str(tmp_path / 'train.py'), '--config', 'demo', '--data-dir', str(tmp_path / 'my data'),
        f'--result-dir={tmp_path}'])
    (path / 'environment.json').write_text(json.dumps(dict(starts=[start])))
    (path / 'dataset.json').write_text(json.dumps(dict(
        shape=[3, 32, 32], dtype='uint8', dynamic_range=[0, 255], num_images=5000, label_size=0,
        fingerprint='f00dbeef99')))
    for name in ['network-snapshot-000000', 'network-snapshot-000003', 'network-final']:
        (path / (name + '.pkl')).write_bytes(name.encode())
    put(str(path), 'network-snapshot-000000', value=300.0)
    best = put(str(path), 'network-snapshot-000003', value=12.345678)
    put(str(path), 'network-final', value=20.0)
    (path / 'best-fid50k.json').write_text(json.dumps(best))
    os.link(str(path / 'network-snapshot-000003.pkl'), str(path / 'network-best-fid50k.pkl'))
    (path / '_finished.txt').write_text('')
    return str(path)


def card_of(run_dir):
    with open(card.write_card(run_dir), encoding='utf-8') as file:
        return file.read()


def test_the_card_tells_what_the_run_stands_for(run_dir, tmp_path):
    text = card_of(run_dir)
    assert text.startswith(card.MARK)
    for expected in [
            'stands for `network-snapshot-000003.pkl`, its best by fid50k, 12.3457', '- data set: `demo-faces-32`',
            sha256_file(os.path.join(run_dir, 'network-snapshot-000003.pkl')), '- fingerprint: `f00dbeef99`',
            '- samples: 5,000 of shape `[3, 32, 32]`', '- length in kimg: `9`', '- name: `demo`',
            'training.networks_stylegan.G_style', 'training.loss.D_logistic_simplegp', '- seed: `',
            '| fid50k | 12.3457 | 0.25 | 50,000 | 0 | f00dbeef | zeros | no | none | TensorFlow 1.15.5, cpu |',
            '- fid50k: settings `{num_images: 50000}`', 'in training: 0.9.1', f'this card: {folders.version}',
            'TensorFlow: 1.15.5 (tf1)', 'Apache License 2.0', 'drawn by this program',
            './reproduce generate --network RUN/network-snapshot-000003.pkl',
            "misc.load_pkl('RUN/network-snapshot-000003.pkl')",
            "- command: `./reproduce train --config demo --data-dir 'my data' --result-dir="]:
        assert expected in text, expected
    assert '| 300 |' not in text and '| 20 |' not in text       # scores of other snapshots
    assert 'stand-in' not in text
    assert str(tmp_path) not in text and str(tmp_path.parent) not in text


def test_a_run_without_scores_stands_for_its_final_network_and_other_data_have_no_known_licence(run_dir):
    shutil.rmtree(os.path.join(run_dir, 'metrics'))
    os.unlink(os.path.join(run_dir, 'best-fid50k.json'))
    path = os.path.join(run_dir, 'submit_config.json')
    with open(path) as file:
        record = json.load(file)
    record['config']['dataset']['tfrecord_dir'] = '/srv/secret/ferns'
    with open(path, 'w') as file:
        json.dump(record, file)
    text = card_of(run_dir)
    assert 'stands for `network-final.pkl`, its final one' in text
    assert 'metrics fid50k --network RUN/network-final.pkl' in text
    assert '`ferns`: not known here' in text
    assert 'secret' not in text


def test_stand_ins_quick_looks_failures_and_several_values_are_told(run_dir):
    features = dict(inception=dict(name='drawn | faces', file='standins.npz', file_sha256='0', is_standin=True))
    put(run_dir, 'network-snapshot-000003', name='fid50k-01234567', value=99.0, is_standin=True, is_reduced=True,
        num_samples=40, feature_networks=features, problems=['too few, see /home/me/x/log.txt'])
    put(run_dir, 'network-snapshot-000003', 'pr50k', values=dict(precision=0.5, recall=None))
    text = card_of(run_dir)
    assert '| fid50k | 99 | 0.25 | 40 (a quick look) |' in text
    assert 'inception: drawn \\| faces (stand-in)' in text
    assert 'Scores with stand-in networks' in text
    assert 'problem: too few, see log.txt' in text
    assert '| precision | 0.5 |' in text and '| recall | failed |' in text


def change_record(run_dir, name, **changes):
    path = os.path.join(run_dir, name)
    with open(path) as file:
        record = json.load(file)
    record.update(changes)
    with open(path, 'w') as file:
        json.dump(record, file)


def test_the_card_of_a_codec_tells_what_a_codec_is_for(run_dir):
    config, _ = run_config.load('codec-h4', folders.config_dir, ['dataset.tfrecord_dir=ferns'])
    change_record(run_dir, 'submit_config.json', config=config)
    shutil.rmtree(os.path.join(run_dir, 'metrics'))
    os.unlink(os.path.join(run_dir, 'best-fid50k.json'))
    assert 'No reconstruction error of this snapshot is recorded' in card_of(run_dir)
    os.makedirs(os.path.join(run_dir, 'metrics'))
    with open(os.path.join(run_dir, 'metrics', 'reconstruction.json'), 'w') as file:
        json.dump(dict(kind='reconstruction', network='network-snapshot-000009.pkl', values=dict(mse_128=0.0123),
                       network_sha256=sha256_file(os.path.join(run_dir, 'network-final.pkl'))), file)
    text = card_of(run_dir)
    assert '- images of 128x128: 0.0123' in text and 'encode CODES DATASET --codec RUN/network-final.pkl' in text
    assert "F, H, D = misc.load_pkl('RUN/network-final.pkl')" in text
    assert 'generate' not in text and 'fid50k' not in text.partition('## Scores')[2]


def test_the_card_of_a_generator_of_codes_names_the_codec(run_dir):
    change_record(run_dir, 'dataset.json', shape=[16, 8, 8], downscale=4, codec_sha256='c0dec')
    text = card_of(run_dir)
    assert 'codes of images of 32x32, by the codec with the SHA-256 `c0dec`' in text and 'generate' in text


def test_texts_of_others_are_shown_and_not_obeyed(run_dir):
    nasty = '<script>x</script> [a](http://b) | ``c`` ![d](e)\n# f \u202e \ud800'
    put(run_dir, 'network-snapshot-000003', 'kid50k', problems=[nasty], labels=nasty, settings={'`': nasty})
    path = os.path.join(run_dir, 'submit_config.json')
    with open(path) as file:
        record = json.load(file)
    record['config']['desc'] = nasty
    with open(path, 'w') as file:
        json.dump(record, file)
    text = card_of(run_dir)
    assert '\n# f' not in text and '\u202e' not in text
    assert '- name: ``` <script>x</script> [a](http://b) | ``c`` ![d](e) # f ? ```\n' in text
    assert '\\<script\\>x\\</script\\> \\[a\\](http\\://b) \\| \\`\\`c\\`\\` \\!\\[d\\](e) \\# f ?' in text
    rows = [line for line in text.splitlines() if line.startswith('| kid50k')]
    assert len(rows) == 1 and rows[0].replace('\\|', '').count('|') == 11


@pytest.mark.parametrize('content', [b'', b'null', b'[]', b'\xff', b'{"starts": [5]}', b'{"shape": 5}',
                                     b'{"starts": [{"command": 5, "packages": []}]}',
                                     b'{"metric": "fid50k", "value": "x"}'], ids=range(8))
def test_damaged_records_are_left_out(run_dir, content):
    for name in ['dataset.json', 'environment.json', 'metrics/network-snapshot-000003/fid50k.json']:
        with open(os.path.join(run_dir, name), 'wb') as file:
            file.write(content)
    text = card_of(run_dir)
    assert f'fingerprint: {card.UNKNOWN}' in text
    assert f'in training: {card.UNKNOWN}' in text
    assert '| fid50k | 12.3457 |' in text   # best-fid50k.json has it, too


def test_unfinished_runs_have_none_and_a_readme_of_ones_own_stays(run_dir):
    os.unlink(os.path.join(run_dir, '_finished.txt'))
    path = os.path.join(run_dir, 'README.md')
    watch.write_report(run_dir)
    assert os.path.exists(os.path.join(run_dir, 'report.html')) and not os.path.exists(path)
    open(os.path.join(run_dir, '_finished.txt'), 'w').close()
    with open(path, 'w') as file:
        file.write('mine\n')
    assert card.write_card(run_dir) is None
    with open(path) as file:
        assert file.read() == 'mine\n'


def test_the_report_command_makes_it_anew_and_a_failure_ends_no_run(run_dir, capsys, monkeypatch):
    watch.write_report(run_dir)
    path = os.path.join(run_dir, 'README.md')
    before = card_of(run_dir)
    put(run_dir, 'network-snapshot-000003', value=12.0)
    published_report.main([run_dir])
    assert capsys.readouterr().out.splitlines()[-1] == path
    with open(path, encoding='utf-8') as file:
        after = file.read()
    assert '| fid50k | 12 |' in after and '| fid50k | 12 |' not in before
    monkeypatch.setattr(report, 'write_report', lambda run_dir: None)
    for name in ['network-snapshot-000000.pkl', 'network-snapshot-000003.pkl', 'network-final.pkl']:
        os.unlink(os.path.join(run_dir, name))
    watch.write_report(run_dir)
    assert 'warning: README.md could not be written: UserError' in capsys.readouterr().out
    with open(path, encoding='utf-8') as file:
        assert file.read() == after
    with pytest.raises(UserError, match='no network pickle'):
        card.write_card(run_dir)


def test_a_run_of_an_earlier_version_gets_one(tmp_path):
    run_dir = str(tmp_path / 'run')
    shutil.copytree(str(ROOT / 'tests' / 'data' / 'run-of-2b34ccf'), run_dir)
    os.unlink(os.path.join(run_dir, 'README.md'))
    text = card_of(run_dir)
    assert '`network-final.pkl`, its final one' in text
    assert 'stand-in features (trained on drawn faces) (stand-in)' in text
