"""`train.py attributes` and `run_metrics.py ls --classifiers`: classifiers of one's own, and what is said of few."""

import os
import shutil

import numpy as np
import pytest
from metric_helpers import make_faces

import run_metrics
import train
from data.converters import exporter
from dnnlib import tflib
from dnnlib.files import read_json
from dnnlib.tflib import tf
from dnnlib.util import UserError
from metrics import presets
from metrics.context import MetricFailure
from metrics.jobs import Job
from metrics.linear_separability import fit_to_classifier, note_coverage
from metrics.networks import files
from metrics.networks.needs import missing_files
from metrics.networks.released import open_classifier
from metrics.scores import records
from metrics.scores.result import Result
from training import misc
from training.network_files.locate import locate

pytestmark = pytest.mark.usefixtures('no_downloads')
SMALL = ['--set', 'train.total_kimg=0.02', '--set', 'D.fmap_base=32', '--set', 'D.fmap_max=4', '--set',
         'dataset.resolution=8', '--device', 'cpu']


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp('faces'))


def test_classifiers_are_trained_once_and_measure_separability(faces, little_network, tmp_path, capsys):
    out = str(tmp_path / 'out')
    words = ['attributes', '--dataset', faces, '--out', out, *SMALL]
    assert train.main(words + ['--attributes', 'Smiling']) == 0
    assert list(files.find_classifiers(out)) == ['smiling']
    before = os.path.getmtime(os.path.join(out, 'classifier-smiling.pkl'))
    assert "1 of CelebA's 40 attributes" in capsys.readouterr().out
    assert train.main(words + ['--attributes', 'bald,smiling']) == 0
    assert '2 classifiers, of which 1 are done already' in capsys.readouterr().out
    assert os.path.getmtime(os.path.join(out, 'classifier-smiling.pkl')) == before
    assert read_json(os.path.join(out, 'classifier-bald.json'))['num_train'] == 72
    with pytest.raises(UserError, match='smiling.pkl was trained otherwise .seed differ'):
        train.main(words + ['--attributes', 'smiling', '--seed', '5'])

    # The released classifiers' form of a name is known too; a file that is none of both does no harm.
    os.rename(os.path.join(out, 'classifier-bald.pkl'), os.path.join(out, 'celebahq-classifier-08-bald.pkl'))
    assert list(files.find_classifiers(out)) == ['smiling', 'bald']
    run_metrics.main(['ls', '--network', little_network, '--num-samples', '100', '--classifiers', out, '--out',
                      str(tmp_path / 'ls'), '--device', 'cpu'])
    record = records.read_record(str(tmp_path / 'ls' / 'ls.json'))
    assert "classifiers of 2 of CelebA's 40 attributes: not comparable" in ' '.join(record['problems'])
    assert not record['is_standin'] and record['feature_networks']['classifier-1']['name'] == 'classifier of bald'
    # Measured already, unless other classifiers are asked for.
    spec = presets.preset('ls', num_samples=100, num_keep=50)
    shutil.copytree(out, str(tmp_path / 'copy'))
    assert None not in record['values'].values()
    for settings, is_done in (({'classifiers': out}, True), ({'classifiers': str(tmp_path / 'copy')}, False),
                              ({}, False)):
        job = Job([spec], locate(little_network), str(tmp_path / 'ls'), features='standin', feature_settings=settings)
        assert (job.done(job.metrics[0]) is not None) == is_done


def test_mistakes_are_answered_with_a_sentence(faces, tmp_path):
    for words, message in ((['--dataset', 'absent'], "no data set 'absent'"),
                           (['--dataset', faces, '--attributes', 'beard'], "--attributes is 'beard'; the data set has"),
                           (['--dataset', faces, '--set', 'train.total_kmg=1'], 'total_kmg'),
                           (['--dataset', faces, '--set', 'D.mbstd_group_size=4'], 'each image by itself'),
                           (['--dataset', faces, '--set', 'sched.minibatch_base=4'], 'reads nothing of this')):
        with pytest.raises(UserError, match=message):
            train.main(['attributes', *words, '--out', str(tmp_path / 'out'), '--device', 'cpu'])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='holds no classifier; files such as'):
        files.find_classifiers(str(tmp_path / 'empty'))
    for name in ('classifier-smiling.pkl', 'celebahq-classifier-01-smiling.pkl'):
        (tmp_path / 'empty' / name).write_bytes(b'')
    with pytest.raises(UserError, match="two classifiers of 'smiling'"):
        files.find_classifiers(str(tmp_path / 'empty'))
    for words in (['table', 'stylegan-4', '--dry-run'], ['ls', '--network', 'ffhq-1024']):
        with pytest.raises(UserError, match='the folder of classifiers .*absent cannot be read'):
            run_metrics.main([*words, '--classifiers', str(tmp_path / 'absent'), '--device', 'cpu'])


@pytest.mark.both
def test_scores_of_fewer_attributes_than_there_are_say_so():
    for attributes, words in ((files.ATTRIBUTES, '40 of 40'), (('smiling', 'bald', 'wearing-a-scarf'), '2 of 40')):
        result = Result()
        note_coverage(attributes, result)
        assert result.details['attributes_covered'] == words
        assert result.details['is_comparable'] == (words == '40 of 40') == (not result.problems)


def test_own_classifiers_need_no_released_ones():
    assert len(missing_files(['ls'], features='released')) == 40
    assert missing_files(['ls'], features='released', own_classifiers=True) == []


@pytest.mark.both
def test_classifiers_of_grey_images_look_at_grey_images(tmp_path, fresh_graph):
    for channels in (1, 16):
        net = tflib.Network('D', 'training.networks_stylegan.D_basic', num_channels=channels, resolution=8,
                            fmap_base=32, fmap_max=4, mbstd_group_size=0)
        misc.save_pkl(net, str(tmp_path / f'{channels}.pkl'))
    found, _ = open_classifier(str(tmp_path / '1.pkl'), 'grey')
    assert found.input_shape[1:] == [1, 8, 8]
    with pytest.raises(UserError, match='square images, RGB or grey, is expected'):
        open_classifier(str(tmp_path / '16.pkl'), 'codes')
    grey, rgb = tf.zeros([2, 1, 16, 16]), tf.zeros([2, 3, 16, 16])
    assert [fit_to_classifier(images, 8, channels).shape.as_list()[1] for images, channels in (
        (grey, 1), (grey, 3), (rgb, 3))] == [1, 3, 3]
    with pytest.raises(MetricFailure, match='looks at grey images; these have 3 channels'):
        fit_to_classifier(rgb, 8, 1)


def test_what_is_no_picture_has_no_classifiers(tmp_path):
    codes = str(tmp_path / 'codes')
    with exporter.Exporter(codes, [16, 4, 4], 'float32') as out:
        out.add(exporter.encode(np.zeros([4, 16, 4, 4], np.float32)))
        out.set_labels(np.eye(4)[:, :2], ['Smiling', 'Bald'])
    with pytest.raises(UserError, match='classifiers look at pictures'):
        train.main(['attributes', '--dataset', codes, '--out', str(tmp_path / 'out'), '--device', 'cpu'])
    assert not (tmp_path / 'out').exists()
