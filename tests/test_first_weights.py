"""The weights that a network begins with are a function of the seed and of their names."""

import numpy as np
import pytest
from conftest import tolerance

from dnnlib import tflib
from dnnlib.tflib import tf

pytestmark = pytest.mark.both

GENERATOR = dict(func_name='training.networks_stylegan.G_style', num_channels=3, resolution=16, fmap_base=32,
                 fmap_max=8, latent_size=6, dlatent_size=8, mapping_fmaps=7, mapping_layers=2)
WEIGHT = 'G_synthesis/8x8/Conv1/weight'


def _first_weights(seed, operations_before=0, random_before=0, names=('G',), **kwargs):
    """Of new networks in a graph of their own: local names with the values, one dict a network."""
    with tf.Graph().as_default(), tflib.create_session().as_default():
        if seed is not None:
            tf.set_random_seed(seed)
        for _ in range(operations_before):
            tf.constant(0.0)
        for _ in range(random_before):
            tf.random_normal([1])
        networks = [tflib.Network(name, **dict(GENERATOR, **kwargs)) for name in names]
        tflib.init_uninitialized_vars()
        return [{key: value for key, value in zip(net.vars, tflib.get_vars(list(net.vars.values())))}
                for net in networks]


def _assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_what_else_a_graph_is_built_of_does_not_change_them():
    first, = _first_weights(5)
    _assert_equal(first, *_first_weights(5, operations_before=3, random_before=2))
    _assert_equal(first, *_first_weights(5, structure='linear'))


def test_engines_and_versions_begin_with_the_same_numbers():
    weights, = _first_weights(5)
    assert weights[WEIGHT].shape == (3, 3, 8, 8)
    np.testing.assert_allclose(weights[WEIGHT][0, 0, 0, :4], [-0.491706, 1.252843, 0.05596, -0.956744],
                               atol=tolerance(cpu=1e-6, gpu=1e-4))


def test_no_two_weights_begin_equal():
    networks = _first_weights(5, names=['G', 'D', 'G'])
    drawn = [value.ravel()[:6].tobytes() for net in networks for value in net.values()
             if value.size >= 6 and value.std() > 0]
    assert len(set(drawn)) == len(drawn) > 30


@pytest.mark.parametrize('seeds', [(5, 6), (None, None)])
def test_another_seed_or_none_gives_others(seeds):
    one, other = [_first_weights(seed)[0] for seed in seeds]
    assert one[WEIGHT].std() == pytest.approx(other[WEIGHT].std(), rel=0.2)
    assert not np.any(one[WEIGHT] == other[WEIGHT])
