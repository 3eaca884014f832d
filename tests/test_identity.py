"""Who is who: drawn persons, embedding networks from files, and distances of generated to training faces."""

import os
import sys
import types

import numpy as np
import PIL.Image
import pytest
from conftest import new_session
from metric_helpers import make_network

import run_metrics
from data.converters import toyfaces
from data.converters.create_toyfaces import create_toyfaces
from data.records.dataset import load_dataset
from dnnlib.files import read_json, sha256_file
from dnnlib.tflib import tf
from dnnlib.util import UserError
from experiment.studies import identity
from metrics import arithmetic
from metrics.networks import embedding

pytestmark = pytest.mark.usefixtures('no_downloads')


@pytest.fixture(scope='module')
def persons(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('persons') / 'persons')
    create_toyfaces(path, resolution=32, num=120, workers=1, identities=12)
    return path


# ---- Drawn persons

@pytest.mark.both
def test_persons_keep_what_they_cannot_change():
    rng = np.random.RandomState(0)
    first, second, other = (toyfaces.Face(3, index, rng, person) for index, person in ((0, 0), (10, 0), (1, 1)))
    for name in toyfaces.OF_PERSON + ('Black_Hair', 'Blond_Hair'):
        assert first.has[name] == second.has[name]
    np.testing.assert_array_equal(first.skin, second.skin)
    assert (first.width, first.eye_size) == (second.width, second.eye_size) != (other.width, other.eye_size)
    assert first.yaw != second.yaw and not np.array_equal(first.background, second.background)
    # Faces that are of no person are what they always were.
    assert toyfaces.draw_batch(0, range(2), 16)[0].sum() == sum(
        toyfaces.Face(0, index, rng).draw(16).sum(dtype=np.int64) for index in range(2))


def test_the_person_is_the_class(persons):
    with load_dataset(tfrecord_dir=persons, max_label_size='full', prefetch_mb=0) as data:
        _, labels = data.get_samples_np(np.arange(120))
        assert data.label_size == 12 and data.label_names[3] == 'person 3'
        np.testing.assert_array_equal(identity.persons_of(labels), np.arange(120) % 12)
    with pytest.raises(UserError, match='--identities is 70'):
        create_toyfaces(persons + '-2', num=120, identities=70)


# ---- Arithmetic

@pytest.mark.both
def test_the_roc_curve_is_that_of_its_definition():
    curve = arithmetic.roc([0.1, 0.2, 0.4], [0.3, 0.4, 0.5, 0.6])
    assert curve['auc'] == pytest.approx((4 + 4 + 2.5) / 12)
    np.testing.assert_allclose(curve['true_rate'], [1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
    np.testing.assert_allclose(curve['false_rate'], [0, 0, 1 / 4, 1 / 2, 3 / 4, 1])
    assert arithmetic.roc([1.0], [2.0])['equal_error_rate'] == 0
    with pytest.raises(ValueError, match='both kinds'):
        arithmetic.roc([], [1.0])


@pytest.mark.both
def test_distances_are_those_between_the_right_pairs():
    def vectors(*degrees):
        angles = np.radians(degrees)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    reals, persons = vectors(0, 1, 90, 91), np.array([0, 0, 1, 1])
    found = identity.compare(reals, persons, vectors(2, 45), np.random.RandomState(0))
    near, far = 1 - np.cos(np.radians(1)), 1 - np.cos(np.radians(89))
    np.testing.assert_allclose(found['same_persons'], [near, near], atol=1e-12)
    assert found['different_persons'].min() >= far - 1e-9
    np.testing.assert_allclose(found['generated_to_nearest'], 1 - np.cos(np.radians([1, 44])), atol=1e-12)
    np.testing.assert_allclose(found['generated_nearest'], 1 - np.cos(np.radians([43, 43])), atol=1e-12)
    assert found['training_nearest'].min() == pytest.approx(far)
    values = identity.summarize(found)
    assert values['auc'] == 1 and values['generated_to_nearest_below_threshold'] == 1
    assert list(identity.compare(reals, None, vectors(2, 45), np.random.RandomState(0))) == [
        'generated_pairs', 'generated_nearest', 'generated_to_training', 'generated_to_nearest']
    assert identity.persons_of(np.array([[1, 1], [0, 1]])) is None


# ---- Embedding networks from files

def write_graph(path, shape, operation=None):
    """A frozen graph that multiplies the mean colour of images by a matrix."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, shape, name='images')
        x = tf.reduce_mean(images, axis=[1, 2] if shape[3] == 3 else [2, 3])
        x = tf.matmul(x, tf.constant(np.arange(12).reshape(3, 4) / 10.0, tf.float32))
        if operation is not None:
            x = operation(x)
        tf.identity(x, name='embedding')
        with open(path, 'wb') as file:
            file.write(graph.as_graph_def().SerializeToString())
    return path


@pytest.mark.both
@pytest.mark.parametrize('shape', [[None, 8, 8, 3], [None, 3, 8, 8], [None, 16, 16, 3]])
def test_a_frozen_graph_embeds_at_its_own_size_and_range(tmp_path, shape):
    path = write_graph(str(tmp_path / 'net.pb'), shape)
    images = np.random.RandomState(0).randint(0, 256, [5, 3, 8, 8]).astype(np.uint8)
    with new_session():
        embed = embedding.open_embedding(path, value_range=(0.0, 1.0))
        found = embed(images)
    wanted = (images.mean(axis=(2, 3)) / 255) @ (np.arange(12).reshape(3, 4) / 10)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-3 if 16 in shape else 1e-6)
    assert embed.record['file_sha256'] == sha256_file(path) and embed.record['range'] == [0, 1]


def test_files_that_are_no_embedding_networks_are_refused(tmp_path):
    def write(name, *args):
        return write_graph(str(tmp_path / name), *args)
    (tmp_path / 'text.pb').write_bytes(b'no graph')
    (tmp_path / 'net.h5').write_bytes(b'')
    def read_a_file(x):
        return x + tf.cast(tf.size(tf.read_file('/etc/passwd')), tf.float32)
    cases = [(None, 'embedding network: name an ONNX'), (str(tmp_path / 'absent.pb'), 'there is no embedding network'),
             (str(tmp_path / 'net.h5'), 'an ONNX model'), (str(tmp_path / 'text.pb'), 'text.pb'),
             (write('wide.pb', [None, 2048, 8, 3]), 'absurdly large'),
             (write('file.pb', [None, 8, 8, 3], read_a_file),
              'operations that an image classifier does not need .ReadFile')]
    with new_session():
        for path, message in cases:
            with pytest.raises(UserError, match=message):
                embedding.open_embedding(path)


def test_an_onnx_model_is_asked_as_its_input_says(tmp_path, monkeypatch):
    class Session:
        """Stands in for a session of the library: mean colours of images [count, 3, 4, 4]."""

        count = 1

        def __init__(self, path, providers):
            assert providers == ['CPUExecutionProvider']

        def get_inputs(self):
            return [types.SimpleNamespace(name='data', shape=[self.count, 3, 4, 4])]

        def get_outputs(self):
            return [types.SimpleNamespace(name='fc1', shape=[1, 3])]

        def run(self, names, feeds):
            assert names == ['fc1'] and feeds['data'].shape == (self.count, 3, 4, 4)
            return [feeds['data'].mean(axis=(2, 3))]
    path = str(tmp_path / 'net.onnx')
    with open(path, 'wb'):
        pass
    monkeypatch.setitem(sys.modules, 'onnxruntime', types.SimpleNamespace(InferenceSession=Session))
    images = np.random.RandomState(0).randint(1, 256, [3, 3, 4, 4]).astype(np.uint8)
    wanted = images.mean(axis=(2, 3))
    for Session.count in (1, 2, 4):     # at a time
        found = embedding.open_embedding(path, (0.0, 255.0))(images)
        np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), rtol=1e-5)
    monkeypatch.setattr(Session, 'run', lambda *args: [][0])
    with pytest.raises(UserError, match='net.onnx cannot be run on images of 4x4 .IndexError'):
        embedding.open_embedding(path, (0.0, 255.0))(images)
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(UserError, match='EXTRAS=export'):
        embedding.open_embedding(path)


# ---- The whole

def test_the_standin_tells_drawn_persons_apart():
    assert read_json(embedding.STANDIN_RECORD)['auc'] > 0.95
    images, _ = toyfaces.draw_batch(77, range(60), 32, persons=10)
    with new_session():
        vectors = embedding.open_embedding(is_drawn=True)(images)
    distances = identity.compare(vectors, np.arange(60) % 10, vectors, np.random.RandomState(0))
    assert identity.summarize(distances)['auc'] > 0.9 and distances['generated_to_nearest'].max() < 1e-5


def test_a_long_name_of_a_run_stays_above_its_panel():
    title = identity._title(dict(network='network-final', is_standin=True, network_file=os.path.join(
        'results', '00003-a-run-whose-name-tells-all-about-it', 'network-final.pkl')))
    assert '00003-a-run-whose-name-tells-all-about-it' in title and len(title) > 60
    assert max(map(len, title.split('\n'))) <= 60


def test_the_study_writes_record_table_and_picture(persons, tmp_path, capsys):
    network, out = make_network(tmp_path), str(tmp_path / 'out')
    run_metrics.main(['identity', '--network', network, '--dataset', persons, '--num-samples', '50', '--out', out,
                      '--device', 'cpu'])
    record = read_json(os.path.join(out, 'identity.json'))
    assert record['kind'] == 'identity' and record['num_persons'] == 12 and record['is_standin']
    assert record['values']['auc'] > 0.8 and record['embedding']['file'] == 'identity.npz'
    with open(os.path.join(out, 'identity.csv')) as file:
        lines = file.read().splitlines()
    assert lines[0].startswith('from,to,same_persons,different_persons') and len(lines) == identity.BINS + 1
    assert sum(float(line.split(',')[2]) for line in lines[1:]) == pytest.approx(1, abs=1e-3)
    with PIL.Image.open(os.path.join(out, 'identity.png')) as picture:
        assert picture.size[0] > 2 * picture.size[1]
    printed = capsys.readouterr().out
    assert 'area under the ROC curve' in printed and 'say nothing about photographs' in printed

    def measure(count):
        run_metrics.main(['identity', '--network', network, '--dataset', persons, '--num-samples', count, '--out', out,
                          '--device', 'cpu'])
        return {name: read_json(os.path.join(out, name))['num_samples'] for name in os.listdir(out)
                if name.endswith('.json')}

    assert sorted(measure('20').items())[1] == ('identity.json', 50)    # fewer faces take no fuller record's place
    found = measure('60')
    assert found['identity.json'] == 60 and sorted(found.values()) == [20, 50, 60]
    assert len([name for name in os.listdir(out) if name.endswith('.png')]) == 3
