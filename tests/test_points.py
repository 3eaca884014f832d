"""Points in the plane: distributions, the data sets made from them, and their pictures."""

import json
import types

import numpy as np
import PIL.Image
import pytest

from data import points
from data.commands import main
from data.point_pictures import FIELD, SIDE, PointPicture
from data.records.dataset import SyntheticDataset, TFRecordDataset
from dnnlib.util import UserError
from training.state import resume

NAMES = list(points.DISTRIBUTIONS)
KNOWN = [name for name in NAMES if points.get(name).is_known]


def samples(name, num=20000):
    return points.get(name).sample(np.random.RandomState(1), num)


@pytest.mark.parametrize('name', NAMES)
def test_samples_lie_in_the_box_and_near_the_parts_that_they_come_from(name):
    distribution = points.get(name)
    found = samples(name)
    assert found.shape == (20000, 2) and points.BOX[0] <= found.min() and found.max() <= points.BOX[1]
    parts, distances = distribution.nearest_parts(found)
    share = {'gaussians-8': 1 - np.exp(-4.5), 'checkerboard': 1.0}.get(name, 0.9973)  # within 3 deviations
    assert np.mean(distances <= 3) == pytest.approx(share, abs=0.003)
    counts = np.bincount(parts, minlength=distribution.num_parts) / len(found)
    assert counts == pytest.approx(np.full(distribution.num_parts, 1 / distribution.num_parts), abs=0.01)


@pytest.mark.parametrize('name', KNOWN)
def test_cell_masses_are_those_of_the_samples(name):
    masses = points.get(name).cell_masses(16)
    assert masses.sum() == pytest.approx(1, abs=1e-6)
    x, y = samples(name, 200000).T
    histogram = np.histogram2d(x, y, bins=16, range=[points.BOX] * 2)[0] / 200000
    assert np.abs(histogram - masses).max() < 5 * np.sqrt(masses.max() / 200000)


@pytest.mark.parametrize('name', ['gaussians-8', 'ring'])
def test_cell_masses_are_integrals_of_the_density(name):
    distribution = points.get(name)
    assert points.Distribution.cell_masses(distribution, 64) == pytest.approx(distribution.cell_masses(64), abs=1e-10)


def test_the_density_of_gaussians_is_that_of_the_issue():
    # radius 2, deviation 0.2: at a mode the other seven are negligible
    assert points.get('gaussians-8').density(np.array([[2.0, 0.0]])) == pytest.approx(1 / (8 * 2 * np.pi * 0.04))
    assert points.get('spiral').cell_masses(8) is None


@pytest.fixture
def ring(tmp_path):
    main(['create_points', str(tmp_path / 'ring'), '--distribution', 'ring', '--num', '3000', '--seed', '4'])
    return tmp_path / 'ring'


def test_points_are_one_file_of_resolution_1(ring, tmp_path, capsys):
    assert sorted(path.name for path in ring.iterdir()) == ['manifest.json', 'ring-r00.tfrecords']
    dataset = TFRecordDataset(str(ring), shuffle_mb=0)
    assert (dataset.shape, dataset.dtype, dataset.resolution, dataset.resolution_log2) == ([2], 'float32', 1, 0)
    assert dataset.levels == [0] and dataset.dynamic_range == [-3, 3] and not dataset.is_image and dataset.is_points
    assert dataset.distribution.name == 'ring'
    found, labels = dataset.get_minibatch_np(3000)
    expected = points.get('ring').sample(np.random.RandomState(4), 3000).astype(np.float32)
    assert np.array_equal(found, expected) and labels.shape == (3000, 0)
    main(['verify', str(ring)])
    main(['info', str(ring), '--json'])
    assert '3000 records at 1 levels' in capsys.readouterr().out
    main(['create_points', str(tmp_path / 'again'), '--distribution', 'ring', '--num', '3000', '--seed', '4'])
    assert TFRecordDataset(str(tmp_path / 'again')).fingerprint == dataset.fingerprint


def test_points_are_displayed_but_not_extracted(ring, tmp_path):
    main(['display', str(ring), '--output', str(tmp_path / 'ring.png')])
    picture = np.asarray(PIL.Image.open(str(tmp_path / 'ring.png')))
    assert picture.shape == (SIDE, SIDE, 3)
    middle, rim = picture[SIDE // 2 - 20:SIDE // 2 + 20, SIDE // 2 - 20:SIDE // 2 + 20], picture[:, -70:-50]
    assert (middle == 255).all() and (rim < 128).any()
    with pytest.raises(UserError, match='which are not pictures'):
        main(['extract', str(ring), str(tmp_path / 'pictures')])


def test_a_distribution_that_is_unknown_is_refused(ring):
    manifest = json.loads((ring / 'manifest.json').read_text())
    (ring / 'manifest.json').write_text(json.dumps(dict(manifest, distribution='cube')))
    with pytest.raises(UserError, match="no distribution of points 'cube'; choose gaussians-8"):
        TFRecordDataset(str(ring))
    with pytest.raises(SystemExit):
        main(['create_points', 'nowhere', '--distribution', 'cube'])


@pytest.mark.parametrize('option, value, problem', [
    ('--num', '99999999999', '99999999999 is more than 10000000'), ('--num', '0', '0 is less than 1'),
    ('--seed', '-1', "'-1' is not a whole number from 0"), ('--seed', '4294967296', 'is not a whole number from 0')])
def test_numbers_and_seeds_out_of_their_range_are_refused(tmp_path, capsys, option, value, problem):
    with pytest.raises(SystemExit) as caught:
        main(['create_points', str(tmp_path / 'set'), '--distribution', 'ring', option, value])
    assert caught.value.code == 2 and problem in capsys.readouterr().err and not (tmp_path / 'set').exists()


def test_a_minibatch_of_points_is_a_tensor_of_rank_2(fresh_graph):
    dataset = SyntheticDataset(shape=[2], dtype='float32')
    tensor, _ = dataset.get_minibatch_tf()
    assert tensor.shape.as_list() == [None, 2]
    dataset.configure(5)
    assert fresh_graph.run(tensor).shape == (5, 2)
    dataset.close()


def test_the_field_is_drawn_where_it_belongs_and_samples_in_another_range_too():
    data = types.SimpleNamespace(
        distribution=points.get('gaussians-8'), dynamic_range=[-3, 3], num_images=1,
        get_samples_np=lambda indices: (np.array([[2.0, 0.0]]), None))
    painter = PointPicture(data)
    field = painter.field_points([-1, 1])
    assert field.shape == (FIELD ** 2, 2) and np.abs(field).max() < 1
    scores = np.where(field[:, :1] + field[:, 1:] > 0, 9.0, -9.0)  # D takes the upper right half for real
    picture = painter.draw(np.array([[-0.5, -0.5]]), [-1, 1], None, scores)
    assert picture.shape == (3, SIDE, SIDE) and 0 <= picture.min() and picture.max() <= 1
    upper_right, lower_left = picture[:, 5, -5], picture[:, -5, 5]
    assert upper_right[1] > upper_right[0] and lower_left[1] < lower_left[0]  # green, purple
    red = (picture[0] > 0.7) & (picture[1] < 0.4)
    rows, columns = np.nonzero(red)
    assert rows.mean() == pytest.approx(SIDE * 0.75, abs=1) and columns.mean() == pytest.approx(SIDE * 0.25, abs=1)


def test_digits_come_from_the_library_in_shuffled_order(tmp_path):
    from sklearn.datasets import load_digits
    main(['create_digits', str(tmp_path / 'digits')])
    dataset = TFRecordDataset(str(tmp_path / 'digits'), max_label_size='full', shuffle_mb=0)
    assert dataset.shape == [1, 8, 8] and dataset.is_image and dataset.num_images == 1797
    images, labels = dataset.get_samples_np(range(1797))
    order = np.arange(1797)
    np.random.RandomState(123).shuffle(order)
    source = load_digits()
    assert np.array_equal(labels.argmax(axis=1), source.target[order])
    assert np.abs(images[:, 0] / 255 - source.images[order] / 16).max() < 1 / 255
    main(['verify', str(tmp_path / 'digits')])


def test_the_record_of_the_data_of_a_run_on_points_is_read(tmp_path):
    record = dict(shape=[2], dtype='float32', dynamic_range=[-1, 1], num_images=5, label_size=0, fingerprint='x')
    (tmp_path / 'dataset.json').write_text(json.dumps(record))
    assert resume.read_data_record(str(tmp_path)) == record
