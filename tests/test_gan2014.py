"""Networks in the manner of Goodfellow et al. 2014, and the sheet of their Fig. 2."""

import types

import numpy as np
import pytest
from golden_networks import deviation, runs_channels_first
from loop_helpers import copy_up_to, train

import generate_figures
from data.converters.exporter import Exporter, encode
from data.records.dataset import TFRecordDataset
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from figures import nearest, panels
from training import misc

MODULE = 'training.networks_gan2014.'


@pytest.mark.parametrize('G_name, D_name', [('G_fully_connected', 'D_fully_connected'),
                                            ('G_deconvolutional', 'D_convolutional')])
@pytest.mark.parametrize('resolution, channels', [(8, 1), (32, 3)])
def test_sizes_come_from_the_data(fresh_graph, G_name, D_name, resolution, channels):
    data = dict(num_channels=channels, resolution=resolution)
    small = dict(hidden=8, fmaps=4, latent_size=5, units=4)
    G, D = [tflib.Network(name[0], MODULE + name, **data, **small) for name in (G_name, D_name)]
    images = G.run(np.random.RandomState(0).randn(6, 5), None)
    assert images.shape == (6, channels, resolution, resolution) and 0 < np.abs(images).max() < 1
    scores = D.run(images, None)
    assert scores.shape == (6, 1) and np.array_equal(scores, D.run(images, None))
    if runs_channels_first():
        assert deviation(G.run(np.ones([6, 5]), None, data_format='NCHW'), G.run(np.ones([6, 5]), None)) < 1e-4
        assert deviation(D.run(images, None, data_format='NCHW'), scores) < 1e-4


def test_a_maxout_unit_is_the_greatest_of_its_pieces(fresh_graph):
    D = tflib.Network('D', MODULE + 'D_fully_connected', resolution=2, num_channels=1, units=2, pieces=3)
    x = np.random.RandomState(1).randn(5, 1, 2, 2).astype(np.float32)
    y = x.reshape(5, 4)
    for layer in range(2):
        y = y @ D.get_var(f'Dense{layer}/weight') + D.get_var(f'Dense{layer}/bias')
        y = y.reshape(5, 2, 3).max(axis=2)
    expected = y @ D.get_var('Dense2/weight') + D.get_var('Dense2/bias')
    assert D.run(x, None) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_dropout_is_a_function_of_the_seed_and_keeps_the_mean(fresh_graph):
    D = tflib.Network('D', MODULE + 'D_fully_connected', resolution=8, units=64, dropout=0.5)
    seed = tf.placeholder(tf.int32, [2])
    image = np.random.RandomState(2).uniform(-1, 1, size=(1, 1, 8, 8)).astype(np.float32)
    scores = D.get_output_for(tf.constant(np.repeat(image, 2000, axis=0)), tf.zeros([2000, 0]), is_training=True,
                              seed=seed)
    first, again, other = [fresh_graph.run(scores, {seed: [1, number]})[:, 0] for number in (5, 5, 6)]
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.std() > 1e-3
    assert abs(first.mean() - other.mean()) < 5 * first.std() / np.sqrt(1000)


@pytest.mark.both
def test_a_run_with_dropout_goes_on_to_the_same_bytes(tmp_path):
    args = dict(
        G_args=dict(func_name=MODULE + 'G_fully_connected', hidden=8), image_snapshot_ticks=0, total_kimg=0.048,
        D_args=dict(func_name=MODULE + 'D_fully_connected', units=4), sched_args=dict(lod_initial_resolution=1024),
        dataset_args=dict(resolution=8, num_channels=1, label_size=0))
    assert train(tmp_path / 'a', **args) == 'finished'
    copy_up_to(tmp_path / 'a', tmp_path / 'b', 32)
    assert train(tmp_path / 'b', resume=True, **args) == 'finished'
    final = [(tmp_path / name / 'network-final.pkl').read_bytes() for name in 'ab']
    assert final[0] == final[1]


# ---- The sheet


@pytest.fixture
def images(tmp_path):
    """A data set of random pictures, and the pictures."""
    content = np.random.RandomState(3).randint(256, size=(50, 1, 8, 8)).astype(np.uint8)
    with Exporter(str(tmp_path / 'random'), [1, 8, 8]) as out:
        out.add(encode(content))
    return str(tmp_path / 'random'), content


def test_the_nearest_image_is_found_over_all_chunks(images, monkeypatch):
    folder, content = images
    monkeypatch.setattr(nearest, '_CHUNK_BYTES', 7 * 64 * 4)
    queries = content[[49, 0, 23]].astype(np.int64) + 1
    queries = queries.clip(0, 255).astype(np.uint8)
    with TFRecordDataset(folder) as dataset:
        indices, distances = nearest.nearest_images(dataset, queries)
    assert indices.tolist() == [49, 0, 23]
    assert distances == pytest.approx(np.ones(3), abs=0.05)


def test_the_sheet_has_the_nearest_images_in_its_last_column(images, tmp_path):
    folder, content = images
    gen = types.SimpleNamespace(
        num_channels=1, resolution=8, latents=lambda seed, count: np.zeros([count, 2]), labels=lambda seed, count: None,
        images=lambda latents, *args, **kwargs: content[:len(latents)].transpose(0, 2, 3, 1))
    with TFRecordDataset(folder) as dataset:
        figure = nearest.nearest_training_images(gen, dataset)
        gen.resolution = 16
        with pytest.raises(UserError, match=r'samples of \[1, 8, 8\], the network makes images of \[1, 16, 16\]'):
            nearest.nearest_training_images(gen, dataset)
    assert figure.facts['nearest_indices'] == [5, 11, 17, 23, 29, 35] and max(figure.facts['distances']) == 0
    picture = np.asarray(figure.picture)
    # Faces of 128 pixels, 8 apart, below a line of text that says which are which.
    below = panels.LINE + 8
    left, right = picture[below + 64, 5 * 136 + 64], picture[below + 64, 6 * 136 + 16 + 64]
    assert np.array_equal(left, right) and np.array_equal(picture[below - 7, -1], nearest.FRAME)
    assert all((picture[:panels.LINE, left:left + 60] < 128).any() for left in (0, 6 * 136 + 8))


def test_generate_figures_draws_it_if_asked_and_says_what_it_lacks(images, tmp_path):
    from conftest import new_session
    with new_session():
        G = tflib.Network('G', MODULE + 'G_fully_connected', resolution=8, hidden=4)
        misc.save_pkl(G, str(tmp_path / 'G.pkl'))
    words = ['--network', str(tmp_path / 'G.pkl'), '--figures', 'nearest', '--outdir', str(tmp_path / 'out')]
    with pytest.raises(UserError, match='does not lie in the directory of a run; name the data set.*--dataset DIR'):
        generate_figures.main(words)
    generate_figures.main(words + ['--dataset', images[0]])
    assert (tmp_path / 'out' / 'nearest.png').is_file()
