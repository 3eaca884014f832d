"""Gradients that are written out equal TensorFlow's own, to the third order."""

import types

import numpy as np
import pytest
from conftest import tolerance

from dnnlib.tflib import tf
from training.layers import network_gradients as ours
from training.layers.network_growing import grown_features, grown_images, open_minibatch

pytestmark = pytest.mark.both

RTOL = tolerance(cpu=1e-6, gpu=1e-5)
IMAGES, CHANNELS, PIXELS, STORED = [2, 4, 6, 3], [2, 1, 1, 3], [2, 4, 6, 1], [1, 4, 6, 1]
BLUR = (np.outer([1, 2, 1], [1, 2, 1]) / 16)[:, :, np.newaxis, np.newaxis]


def _engines_moments(x):
    mean = tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    return tf.stack([mean, tf.reduce_mean(tf.square(x - mean), axis=[1, 2], keepdims=True)])


def _engines_blur(x):
    return tf.nn.depthwise_conv2d(x, tf.constant(np.tile(BLUR, [1, 1, 3, 1])), strides=[1, 1, 1, 1], padding='SAME')


def _engines_boxes(x):
    return 0.25 * (x[:, 1:, 1:] + x[:, :-1, 1:] + x[:, 1:, :-1] + x[:, :-1, :-1])


CASES = {
    'sum of equal shapes': (ours.plus, tf.add, IMAGES, IMAGES),
    'sum with one value per channel': (ours.plus, tf.add, IMAGES, CHANNELS),
    'sum with one value for all samples': (ours.plus, tf.add, IMAGES, STORED),
    'sum with a number': (lambda x: ours.plus(x, 0.5), lambda x: tf.add(x, 0.5), IMAGES),
    'product of equal shapes': (ours.times, tf.multiply, IMAGES, IMAGES),
    'product with one value per channel': (ours.times, tf.multiply, IMAGES, CHANNELS),
    'product that broadcasts both': (ours.times, tf.multiply, PIXELS, [1, 1, 1, 3]),
    'product with a scalar': (ours.times, tf.multiply, IMAGES, []),
    'product with a number': (lambda x: ours.times(x, 3), lambda x: tf.multiply(x, 3), IMAGES),
    'leaky ReLU': (ours.leaky_relu, lambda x: tf.maximum(x, 0.2 * x), IMAGES),
    'moments': (lambda x: tf.stack(ours.moments(x, [1, 2])), _engines_moments, IMAGES),
    'sums over 2x2 pixels': (lambda x: ours.boxes(x, 0.25, is_padded=False), _engines_boxes, IMAGES),
    'sums over 2x2 pixels and beyond the edge': (
        lambda x: ours.boxes(x, 0.25, is_padded=True),
        lambda x: _engines_boxes(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])), IMAGES),
    'blur': (lambda x: ours.symmetric_blur(x, BLUR, 'NHWC'), _engines_blur, IMAGES),
}


@pytest.mark.parametrize('case', sorted(CASES))
def test_values_and_gradients_of_three_orders_equal_the_engines_own(case, fresh_graph):
    mine, engines_own, *shapes = CASES[case]
    rng = np.random.RandomState(0)
    values = [np.asarray(rng.randn(*shape)) for shape in shapes]
    inputs = [tf.placeholder_with_default(value, [None if size == 2 else size for size in value.shape])
              for value in values]  # the size of a minibatch is not known when the graph is built
    weights = None
    results = []
    for function in (mine, engines_own):
        y = function(*inputs)
        shape = tf.get_default_session().run(tf.shape(y))
        weights = np.random.RandomState(1).randn(*shape)
        order = tf.reduce_sum(tf.sin(y) * weights)
        found = [y]
        for _ in range(3):
            gradients = tf.gradients(order, inputs)
            found += gradients
            order = sum(tf.reduce_sum(tf.square(gradient)) for gradient in gradients)
        results.append(tf.get_default_session().run(found))
    for value, expected in zip(*results):
        assert value.shape == expected.shape
        # TensorFlow keeps the slope of a leaky ReLU in single precision.
        np.testing.assert_allclose(value, expected, rtol=RTOL, atol=RTOL * np.abs(expected).max())


def test_moments_of_a_million_pixels_keep_their_digits(fresh_graph):
    x = np.random.RandomState(0).randn(1, 1024, 1024, 2).astype(np.float32)
    mean, variance = tf.get_default_session().run(ours.moments(tf.constant(x), [1, 2]))
    np.testing.assert_allclose(mean[0, 0, 0], x.mean(axis=(0, 1, 2), dtype=np.float64), atol=1e-6)
    np.testing.assert_allclose(variance[0, 0, 0], x.var(axis=(0, 1, 2), dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize('has_raw_ops', [True, False], ids=['', 'TensorFlow 1.13'])
def test_slope_at_zero_is_one(has_raw_ops, fresh_graph, monkeypatch):
    if not has_raw_ops:
        monkeypatch.setattr(ours, 'tf', types.SimpleNamespace(cast=tf.cast, nn=tf.nn,
                                                              get_default_graph=tf.get_default_graph))
    x = tf.constant([-1.0, -0.0, 0.0, 1.0])
    slope = tf.gradients(ours.leaky_relu(x), x, tf.constant([1.0, 2.0, 3.0, 4.0]))[0]
    assert np.allclose(tf.get_default_session().run(slope), [0.2, 2, 3, 4])


# ---- Growing

def _weights():
    """One scalar per place in a network of three resolutions, so that gradients tell which places took part."""
    names = ['block3', 'block4', 'image2', 'image3', 'image4']
    return {name: tf.get_variable(name, initializer=np.float32(1 + number)) for number, name in enumerate(names)}


def _only_if_needed(res, lod):
    """Fails where something of 2^res pixels runs although the level of detail needs no more than half of them."""
    return tf.control_dependencies([tf.debugging.assert_less(lod, 5.0 - res)])


@pytest.mark.parametrize('batch', [None, 3], ids=['open', 'constant'])
@pytest.mark.parametrize('lod', [0.0, 0.25, 1.0, 1.5, 2.0])
def test_growing_runs_what_the_level_of_detail_needs_and_nothing_else(lod, batch, fresh_graph):
    lod_var, weights = tf.get_variable('lod', initializer=np.float32(lod)), _weights()
    latents = np.random.RandomState(0).randn(3, 4, 4, 2).astype(np.float32)
    x = tf.constant(latents) if batch else tf.placeholder_with_default(latents, [None, 4, 4, 2])

    def up(res, x):
        with _only_if_needed(res, lod_var):
            return tf.tile(x, [1, 2, 2, 1]) * weights[f'block{res}']

    def torgb(res, x):
        with _only_if_needed(res, lod_var):
            return x * weights[f'image{res}']

    def down(res, x):
        with _only_if_needed(res, lod_var):
            return tf.nn.avg_pool2d(x, 2, 2, 'VALID') * weights[f'block{res}']

    images = grown_images(open_minibatch(x, lod_var), lod_var, 4, up, torgb, 'NHWC')
    features = grown_features(open_minibatch(images, lod_var), lod_var, 4, down, torgb, 'NHWC')
    gradients = tf.gradients(tf.reduce_sum(tf.square(features)), list(weights.values()) + [x])
    session = tf.get_default_session()
    session.run(tf.global_variables_initializer())
    made, kept, *slopes = session.run([images, features] + gradients)
    assert made.shape == (3, 16, 16, 2) and kept.shape == (3, 4, 4, 2) and slopes[-1].shape == (3, 4, 4, 2)

    level = int(np.floor(lod))
    needed = {f'block{res}' for res in range(3, 5 - level)}
    needed |= {f'image{4 - level}'} | ({f'image{3 - level}'} if lod % 1 else set())
    assert {name for name, slope in zip(weights, slopes) if slope != 0} == needed


def test_growing_blends_two_resolutions(fresh_graph):
    x = tf.constant(np.random.RandomState(0).randn(2, 4, 4, 1).astype(np.float32))
    results = []
    for lod in (0.0, 0.25, 1.0):
        results.append(tf.get_default_session().run(grown_images(
            open_minibatch(x, tf.constant(lod)), tf.constant(lod), 3,
            lambda res, x: tf.tile(x, [1, 2, 2, 1]) * 5, lambda res, x: x * (1 + res), 'NHWC')))
    np.testing.assert_allclose(results[1], 0.75 * results[0] + 0.25 * results[2], rtol=1e-6)
