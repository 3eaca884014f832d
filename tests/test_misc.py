"""Finding networks in run directories, image grids, and what a run's pictures show."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

import dnnlib
from data.records.dataset import SyntheticDataset
from dnnlib import tflib
from dnnlib.util import UserError
from training import misc, snapshot


@pytest.fixture
def results(tmp_path):
    for name in ('00003-toyfaces', '00012-demo'):
        (tmp_path / name).mkdir()
    for name in ('network-snapshot-000140.pkl', 'network-snapshot-000280.pkl', 'network-final.pkl', 'other.pkl'):
        (tmp_path / '00012-demo' / name).write_bytes(b'')
    return str(tmp_path)


def test_runs_are_found_by_number_name_or_path(results):
    expected = os.path.join(results, '00012-demo')
    for given in (12, '12', '00012', '00012-demo', expected):
        assert misc.locate_run_dir(given, results) == expected


@pytest.mark.parametrize('given', [7, 'nothing', '../results', ''])
def test_runs_that_are_not_there_are_refused(results, given):
    with pytest.raises(UserError, match='run director'):
        misc.locate_run_dir(given, results)


def test_network_pickles_are_listed_in_order_of_training(results):
    names = [os.path.basename(path) for path in misc.list_network_pkls(12, result_dir=results)]
    assert names == ['network-snapshot-000140.pkl', 'network-snapshot-000280.pkl', 'network-final.pkl']
    assert len(misc.list_network_pkls(12, include_final=False, result_dir=results)) == 2


@pytest.mark.parametrize('snapshot_name,expected', [
    (None, 'network-final.pkl'), ('latest', 'network-final.pkl'), (140, 'network-snapshot-000140.pkl'),
    ('000280', 'network-snapshot-000280.pkl'), ('network-snapshot-000140.pkl', 'network-snapshot-000140.pkl')])
def test_network_pickles_are_located(results, snapshot_name, expected):
    assert misc.locate_network_pkl(12, snapshot_name, results) == os.path.join(results, '00012-demo', expected)


def test_a_path_of_a_pickle_stands_for_itself_and_missing_ones_are_refused(results):
    path = os.path.join(results, '00012-demo', 'other.pkl')
    assert misc.locate_network_pkl(path) == path
    assert misc.locate_network_pkl(12, path, results) == path
    with pytest.raises(UserError, match='no snapshot'):
        misc.locate_network_pkl(12, 150, results)
    with pytest.raises(UserError, match='no network pickle'):
        misc.locate_network_pkl(3, result_dir=results)


def test_the_bytes_of_a_pickle_depend_on_its_content_alone(tmp_path):
    def text():
        return ''.join(['some ', 'words'])  # a new object every time
    shared = text()
    contents = [{shared: 1, 'x': shared}, {text(): 1, 'x': text()}]
    for number, content in enumerate(contents):
        misc.save_pkl(content, str(tmp_path / str(number)))
    assert (tmp_path / '0').read_bytes() == (tmp_path / '1').read_bytes()


def test_values_are_mapped_between_ranges():
    data = np.array([-1, 0, 1], np.float32)
    assert misc.adjust_dynamic_range(data, [-1, 1], [0, 255]) == pytest.approx([0, 127.5, 255])
    assert misc.adjust_dynamic_range(data, [-1, 1], [-1, 1]) is data


def test_images_are_laid_out_row_by_row():
    images = np.arange(5)[:, np.newaxis, np.newaxis, np.newaxis] * np.ones([5, 3, 2, 4]) + 1
    grid = misc.create_image_grid(images)
    assert grid.shape == (3, 2 * 2, 3 * 4)
    assert grid[0, ::2, ::4].tolist() == [[1, 2, 3], [4, 5, 0]]
    assert misc.create_image_grid(images[:, 0], (5, 1)).shape == (2, 20)


def test_pictures_are_rounded_and_clipped(tmp_path):
    image = np.array([[[-2, -1, -0.999], [0.5, 1, 2]]])
    path = str(tmp_path / 'x.png')
    misc.save_image(image, path, drange=[-1, 1])
    assert np.asarray(Image.open(path)).tolist() == [[0, 0, 0], [191, 255, 255]]
    assert misc.convert_to_pil_image(np.zeros([3, 2, 2])).mode == 'RGB'
    assert misc.convert_to_pil_image(np.zeros([4, 2, 2])).mode == 'RGBA'
    with pytest.raises(ValueError, match='channels'):
        misc.convert_to_pil_image(np.zeros([2, 2, 2]))


def test_mirroring_flips_about_half_of_the_images_left_to_right():
    images = np.arange(400 * 4).reshape(400, 1, 2, 2)
    flipped = misc.apply_mirror_augment(images, np.random.RandomState(0))
    is_flipped = (flipped == images[..., ::-1]).all(axis=(1, 2, 3))
    assert np.array_equal(flipped[~is_flipped], images[~is_flipped])
    assert 160 < is_flipped.sum() < 240


@pytest.mark.parametrize('shape,size,expected', [
    ([3, 1024, 1024], '1080p', (3, 2)), ([3, 256, 256], '1080p', (7, 4)), ([3, 32, 32], '1080p', (32, 32)),
    ([3, 1024, 1024], '4k', (7, 4)), ([3, 256, 256], '4k', (15, 8)), ([3, 8, 8], '3x5', (3, 5))])
def test_grids_fill_the_screen_within_limits(shape, size, expected):
    assert snapshot.grid_size(shape, size) == expected


@pytest.mark.parametrize('layout,expected', [
    ('row_per_class', [0] * 8 + [1] * 8 + [2] * 8 + [0] * 8 + [1] * 8),
    ('col_per_class', [0, 1, 2, 0, 1, 2, 0, 1] * 5),
    ('class4x4', ([0] * 4 + [1] * 4) * 4 + [2] * 4 + [0] * 4)])
def test_layouts_give_rows_columns_or_blocks_to_classes(layout, expected):
    assert snapshot.cell_classes((8, 5), layout, 3).tolist() == expected


@pytest.mark.parametrize('kwargs,word', [(dict(size='huge'), 'grid.size'), (dict(layout='spiral'), 'grid.layout'),
                                         (dict(layout='row_per_class'), 'no labels')])
def test_unknown_grids_are_refused_with_a_sentence(kwargs, word):
    with pytest.raises(UserError, match=word):
        snapshot.choose_grid(SyntheticDataset(resolution=8, num_images=10), [4], **kwargs)


def test_a_grid_shows_reals_of_the_wanted_classes_and_leaves_the_data_set_where_it_was():
    data = SyntheticDataset(resolution=8, num_images=50, label_size=3)
    data.get_minibatch_np(5)
    position = data.state_dict()
    grid = snapshot.choose_grid(data, [4], size='4x3', layout='row_per_class', seed=5)
    assert data.state_dict() == position
    assert grid.labels.argmax(axis=1).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert grid.reals.shape == (12, 3, 8, 8) and (grid.reals.reshape(12, -1).max(axis=1) > 0).all()
    assert np.array_equal(grid.latents, np.random.RandomState(5).randn(12, 4).astype(np.float32))
    again = snapshot.choose_grid(data, [4], size='4x3', layout='row_per_class', seed=5)
    assert np.array_equal(again.reals, grid.reals)


def test_a_class_that_the_data_lack_leaves_its_cells_empty():
    data = SyntheticDataset(resolution=8, num_images=1, label_size=2)
    grid = snapshot.choose_grid(data, [4], size='2x2', layout='row_per_class')
    assert grid.labels.argmax(axis=1).tolist() == [0, 0, 1, 1]
    only_class = data.get_samples_np([0])[1].argmax()
    is_filled = grid.reals.reshape(4, -1).max(axis=1) > 0
    assert is_filled.tolist() == [cell_class == only_class for cell_class in (0, 0, 1, 1)]


def test_networks_among_plain_data_come_back(fresh_graph, tmp_path):
    """Whatever `save_pkl` stores: programs keep networks in dicts, and more or fewer than three."""
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', num_channels=1, resolution=8, fmap_base=8, fmap_max=4)
    path = str(tmp_path / 'state.pkl')
    misc.save_pkl(dnnlib.EasyDict(D=D, again=[D, 3], mean=np.ones(2), kimg=2.5), path)
    found = misc.load_pkl(path)
    assert type(found) is dnnlib.EasyDict and found.again[0] is found.D and isinstance(found.D, tflib.Network)
    assert np.array_equal(found.D.get_var('4x4/Dense1/weight'), D.get_var('4x4/Dense1/weight')) and found.kimg == 2.5
    for networks in ((D, D), [D], (D, D, D, dict(lod=1.0))):
        misc.save_pkl(networks, path)
        found = misc.load_pkl(path)
        assert type(found) is type(networks) and len(found) == len(networks) and found[0].name == 'D'
    with open(path, 'rb') as file:
        content = file.read().replace(b'D_basic', b'D_bosic')
    with open(path, 'wb') as file:
        file.write(content)
    with pytest.raises(UserError, match='D_bosic'):
        misc.load_pkl(path)


def test_plain_data_that_is_stored_comes_back_and_nothing_else_does(tmp_path):
    """Programs written for the original keep the statistics of metrics so."""
    path = str(tmp_path / 'cache.pkl')
    values = np.random.RandomState(0).randn(3, 2)
    for content in [dict(mu=values, sigma=values.T, count=5, name='reals'), (values, values[0], 2.5), [np.float32(1)],
                    values, {'nested': [{'a': (1, 'b')}, None, True]}, {'names': np.array([['a', 'bé\U0001f600']])},
                    np.array([b'x', b'yz'])]:
        misc.save_pkl(content, path)
        found = misc.load_pkl(path)
        assert type(found) is type(content) and repr(found) == repr(content)
        for protocol in (0, 1, 2):
            with open(path, 'wb') as file:
                pickle.dump(content, file, protocol)
            assert repr(misc.load_pkl(path)) == repr(content)
    beyond = pickle.dumps(np.array(['\U0010ffff' * 3])).replace(b'\xff\xff\x10\x00', b'\xff\xff\x11\x00')
    with open(path, 'wb') as file:
        file.write(beyond)
    with pytest.raises(UserError, match='characters that do not exist'):
        misc.load_pkl(path)
    for hostile in (os.system, [print], {'a': Exception}):
        with open(path, 'wb') as file:
            pickle.dump(hostile, file)
        with pytest.raises(UserError, match='asks Python for'):
            misc.load_pkl(path)
