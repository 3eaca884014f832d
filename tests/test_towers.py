"""What a training step does to the reals and to the moving average, against formulas in numpy."""

import types

import numpy as np
import pytest

from data.records.dataset import SyntheticDataset
from dnnlib import tflib
from dnnlib.tflib import tf
from training import towers

pytestmark = pytest.mark.both


def shown(reals, lod, mirror_augment=False, seed=0):
    """What D is shown of uint8 reals [N, C, h, w] at level floor(lod), with networks of [-1, 1]."""
    with tflib.rnd.seed_scope(tf.constant([seed, 0])):
        made = towers.process_reals(tf.constant(reals), tf.constant(lod, tf.float32), mirror_augment, [0, 255], [-1, 1])
    return tflib.run(made)


def repeated(x, factor):
    return np.repeat(np.repeat(x, factor, axis=2), factor, axis=3)


def test_half_of_the_reals_are_mirrored_left_to_right(fresh_graph):
    reals = np.random.RandomState(0).randint(256, size=[400, 1, 2, 2]).astype(np.uint8)
    reals[..., 0], reals[..., 1] = reals[..., 0] // 2, reals[..., 1] // 2 + 128     # none is its own mirror image
    images = shown(reals, 0.0, mirror_augment=True)
    plain = reals / 127.5 - 1
    is_mirrored = images[:, 0, 0, 0] > images[:, 0, 0, 1]
    assert 160 < is_mirrored.sum() < 240
    expected = np.where(is_mirrored[:, np.newaxis, np.newaxis, np.newaxis], plain[..., ::-1], plain)
    np.testing.assert_allclose(images, expected, atol=1e-6)
    assert np.array_equal(images, shown(reals, 0.0, mirror_augment=True))
    assert not np.array_equal(images, shown(reals, 0.0, mirror_augment=True, seed=1))


@pytest.mark.parametrize('lod', [0.0, 0.25, 1.0, 1.25, 2.75])
def test_a_fade_blends_reals_with_their_own_means_and_fills_the_resolution(fresh_graph, lod):
    reals = np.random.RandomState(1).randint(256, size=[3, 2, 4, 4]).astype(np.uint8)
    plain = reals / 127.5 - 1
    means = plain.reshape([3, 2, 2, 2, 2, 2]).mean(axis=(3, 5))
    share = lod - int(lod)
    expected = repeated(plain * (1 - share) + repeated(means, 2) * share, 2 ** int(lod))
    np.testing.assert_allclose(shown(reals, lod), expected, atol=1e-6)


def test_running_means_of_all_towers_become_their_mean(fresh_graph):
    families = [[types.SimpleNamespace(vars={'dlatent_avg': tf.Variable([value, 1.0]), 'lod': tf.Variable(value)})
                 for value in (1.0, 2.0, 6.0)]]
    sync = towers._average_running_means(families)
    tflib.init_uninitialized_vars()
    tflib.run(sync)
    assert [list(tflib.run(net.vars['dlatent_avg'])) for net in families[0]] == [[3, 1]] * 3
    assert [tflib.run(net.vars['lod']) for net in families[0]] == [1, 2, 6]
    assert towers._average_running_means([families[0][:1]]) is None


def test_the_moving_average_halves_its_distance_in_the_half_life(fresh_graph):
    points = SyntheticDataset(shape=[2], dtype='float32', prefetch_mb=0)
    G, D, Gs = towers.build_networks(points, dict(func_name='training.networks_minimal.G_minimal', hidden=3),
                                     dict(func_name='training.networks_minimal.D_minimal', hidden=3))
    graph = towers.build_training_graph(
        G, D, Gs, points, {}, {}, dict(func_name='training.loss.G_logistic_nonsaturating'),
        dict(func_name='training.loss.D_logistic'), seed=1, num_gpus=1, G_smoothing_kimg=0.04, mirror_augment=False,
        drange_net=[-1, 1], is_growing=False)
    tflib.init_uninitialized_vars()
    for minibatch, left in ((40, 0.5), (20, 0.5 ** 0.5), (80, 0.25)):
        tflib.set_vars({var: np.ones(var.shape) for var in G.vars.values()})
        tflib.set_vars({var: np.zeros(var.shape) for var in Gs.vars.values()})
        tflib.run(graph.Gs_update_op, {graph.minibatch: minibatch})
        for value in tflib.run(list(Gs.trainables.values())):
            np.testing.assert_allclose(value, 1 - left, atol=1e-6)
