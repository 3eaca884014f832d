"""The channels-first code path, that of GPUs, gives the reference images, scores and gradients.

It runs on a CPU too where TensorFlow brings oneDNN's kernels; elsewhere these tests are skipped. The channels-last path
is compared with the same reference in the tests of the networks.
"""

import numpy as np
import pytest
from conftest import GOLDEN_DIR, new_session
from golden_networks import GoldenCase, deviation, runs_channels_first

from dnnlib import tflib
from dnnlib.tflib import tf

TOLERANCE = 1e-4  # of the standard deviation

pytestmark = pytest.mark.both


LAYOUT = dict(data_format='NCHW')


@pytest.fixture(scope='module', autouse=True)
def session():
    with new_session():
        if not runs_channels_first():
            pytest.skip('this TensorFlow has no channels-first convolution on a CPU')
        yield


@pytest.mark.parametrize('structure', ['linear', 'recursive'])
def test_stylegan_images_and_scores(structure):
    case = GoldenCase(GOLDEN_DIR, 'stylegan-f-32', 'training.networks_stylegan')
    case.set_lod(1.5)
    kwargs = dict(LAYOUT, structure=structure)
    expected = case.arrays['images_untruncated_lod1.5']
    images = case.G.run(case.z, None, is_validation=True, randomize_noise=False, **kwargs)
    assert deviation(images, expected) < TOLERANCE
    expected = case.arrays[f'images_{structure}_lod1.5']
    assert deviation(case.D.run(expected, None, **kwargs), case.arrays[f'scores_{structure}_lod1.5']) < TOLERANCE


def test_stylegan_fused_and_its_gradient():
    case = GoldenCase(GOLDEN_DIR, 'stylegan-f-32', 'training.networks_stylegan')
    kwargs = dict(LAYOUT, structure='fixed')
    expected = case.arrays['images_fixed_fused1']
    images = case.G.components.synthesis.run(case.arrays['w'], randomize_noise=False, fused_scale=True, **kwargs)
    assert deviation(images, expected) < TOLERANCE
    scores = case.D.run(expected, None, fused_scale=True, **kwargs)
    assert deviation(scores, case.arrays['scores_fixed_fused1']) < TOLERANCE
    images = tf.constant(case.arrays['images_recursive_lod0.0'])
    scores = case.D.get_output_for(images, tf.zeros([4, 0]), **kwargs)
    grad = tf.gradients(tf.reduce_sum(scores), [images])[0]
    penalty = tf.reduce_sum(tf.square(grad), axis=[1, 2, 3])
    second = tf.gradients(tf.reduce_sum(penalty), [case.D.find_var('32x32/Conv0/weight')])[0]
    grad, penalty, second = tflib.run([grad, penalty, second])
    assert deviation(grad, case.arrays['d_image_grad_lod0.0']) < TOLERANCE
    np.testing.assert_allclose(penalty, case.arrays['r1_lod0.0'], rtol=1e-3)
    assert np.isfinite(second).all() and second.any()


@pytest.mark.parametrize('name', ['progan-32', 'progan-32-unfused'])
def test_progan_images_and_scores(name):
    case = GoldenCase(GOLDEN_DIR, name, 'training.networks_progan')
    case.set_lod(1.5)
    expected = case.arrays['images_linear_lod1.5']
    assert deviation(case.G.run(case.z, None, **LAYOUT), expected) < TOLERANCE
    assert deviation(case.D.run(expected, None, **LAYOUT), case.arrays['scores_linear_lod1.5']) < TOLERANCE
