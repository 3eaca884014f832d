"""The Progressive GAN networks against reference numbers from an independent implementation."""

import numpy as np
import pytest
from conftest import tolerance
from golden_networks import GoldenCase, deviation

from dnnlib import tflib
from dnnlib.tflib import tf

TOLERANCE = tolerance(cpu=1e-4, gpu=1e-3)  # of the standard deviation

pytestmark = pytest.mark.both


@pytest.fixture(params=['progan-32', 'progan-32-unfused'])
def case(request, fresh_graph, golden_dir):
    return GoldenCase(golden_dir, request.param, 'training.networks_progan')


def test_variable_names_and_shapes(case):
    for net, names in ((case.G, 'G_vars'), (case.D, 'D_vars')):
        assert {name: tflib.shape_to_list(var.shape) for name, var in net.vars.items()} == case.info[names]


@pytest.mark.parametrize('structure', ['linear', 'recursive'])
def test_images_and_scores_equal_reference_at_every_lod(case, structure):
    for lod in case.info['lods']:
        case.set_lod(lod)
        expected = case.arrays[f'images_{structure}_lod{lod}']
        assert deviation(case.G.run(case.z, None, structure=structure), expected) < TOLERANCE, lod
        scores = case.D.run(expected, None, structure=structure)
        assert deviation(scores, case.arrays[f'scores_{structure}_lod{lod}']) < TOLERANCE, lod


TINY = dict(num_channels=2, resolution=8, fmap_base=64, fmap_max=8)


@pytest.mark.parametrize('kwargs', [dict(), dict(fused_scale=False), dict(use_leakyrelu=False, use_pixelnorm=False),
                                    dict(use_wscale=False, normalize_latents=False),
                                    dict(dtype='float16', pixelnorm_epsilon=1e-4)], ids=repr)
def test_variants_give_finite_second_order_gradients_mid_fade(fresh_graph, kwargs):
    G = tflib.Network('G', 'training.networks_progan.G_paper', label_size=3, **TINY, **kwargs)
    D = tflib.Network('D', 'training.networks_progan.D_paper', label_size=3, **TINY, **kwargs)
    assert G.input_shapes == [[None, 8], [None, 3]] and D.output_shape == [None, 1]
    tflib.set_vars({net.find_var('lod'): 0.5 for net in (G, D)})
    z = tf.constant(np.random.RandomState(0).randn(4, 8), tf.float32)
    images = G.get_output_for(z, tf.one_hot([0, 1, 2, 0], 3))
    scores = D.get_output_for(images, tf.zeros([4, 3]))
    penalty = tf.reduce_sum(tf.square(tf.gradients(tf.reduce_sum(scores), [images])))
    grads = [grad for grad in tf.gradients(penalty, list(D.trainables.values())) if grad is not None]
    assert len(grads) > 5
    assert all(np.isfinite(grad).all() for grad in tflib.run(grads))


def test_labels_choose_images_but_not_scores(fresh_graph):
    G = tflib.Network('G', 'training.networks_progan.G_paper', label_size=3, **TINY)
    D = tflib.Network('D', 'training.networks_progan.D_paper', label_size=3, **TINY)
    z, labels = np.ones([2, 8]), np.eye(3)[:2]
    images = G.run(z, labels)
    assert np.abs(images[0] - images[1]).max() > 1e-3
    np.testing.assert_array_equal(D.run(images, labels), D.run(images, labels[::-1]))


def test_channels_first_code_path_builds_the_same_variables(fresh_graph):
    """The NCHW path runs on some CPUs only (tests/test_layouts.py); that it builds, with gradients, can be checked."""
    G = tflib.Network('G', 'training.networks_progan.G_paper', **TINY)
    D = tflib.Network('D', 'training.networks_progan.D_paper', **TINY)
    images = G.get_output_for(tf.ones([4, 8]), tf.zeros([4, 0]), data_format='NCHW')
    assert images.shape.as_list()[1:] == [2, 8, 8]
    variables = list(D.trainables.values()) + list(G.trainables.values())
    scores = D.get_output_for(images, tf.zeros([4, 0]), data_format='NCHW')
    assert all(grad is not None for grad in tf.gradients(scores, variables))


def test_impossible_options_are_named(fresh_graph):
    with pytest.raises(ValueError, match='resolution is 24'):
        tflib.Network('G', 'training.networks_progan.G_paper', resolution=24)
    with pytest.raises(ValueError, match="structure is 'fixed'"):
        tflib.Network('G', 'training.networks_progan.G_paper', structure='fixed', **TINY)
