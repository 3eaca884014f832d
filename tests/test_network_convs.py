"""Convolutions with forward convolutions as gradients equal TensorFlow's own, to the third order."""

from unittest import mock

import numpy as np
import pytest
from conftest import tolerance

from dnnlib import tflib
from dnnlib.tflib import tf
from training.layers import network_convs, network_layers

pytestmark = pytest.mark.both

RTOL = tolerance(cpu=1e-9, gpu=1e-8)       # of float64
TOLERANCE = tolerance(cpu=1e-5, gpu=1e-4)  # of float32


def _conv_up(x, w):
    taps = tf.reshape(tf.transpose(w, [0, 1, 3, 2]), [16, w.shape[3], w.shape[2]])
    return network_convs.conv_up(x, tf.gather(taps, network_convs.PARITY_TAPS))


def _conv_up_of_many_pixels(x, w):
    with mock.patch.object(network_convs, '_MANY_PIXELS', 1):
        return _conv_up(x, w)


def _engines_same(x, w):
    return tf.nn.conv2d(x, w, strides=1, padding='SAME')


def _engines_down(x, w):
    return tf.nn.conv2d(x, w, strides=2, padding='SAME')


def _doubling(x, w):
    return network_convs.conv_doubling(x, tf.transpose(w, [0, 1, 3, 2]))


def _doubling_of_many_pixels(x, w):
    with mock.patch.object(network_convs, '_MANY_PIXELS', 1):
        return _doubling(x, w)


def _engines_halving(x, w):
    return tf.nn.conv2d(x, w, strides=2, padding='VALID')


def _engines_doubling(x, w):
    return tf.nn.conv2d_transpose(x, w, [2, 5, 7, 3], strides=2, padding='VALID')


def _engines_up(x, w):
    return tf.nn.conv2d_transpose(x, w, [2, 4, 6, 3], strides=2, padding='SAME')


def _doubling_blurred(x, w):
    return network_convs.conv_doubling_blurred(x, tf.transpose(w, [0, 1, 3, 2]))


def _engines_doubling_blurred(x, w):
    """Doubled, then means over 2x2 pixels, then blurred, each as an operation of its own."""
    y = tf.nn.conv2d_transpose(x, w, [1, 7, 9, 3], strides=2, padding='VALID')
    taps = np.tile(np.outer([1, 2, 1], [1, 2, 1])[:, :, np.newaxis, np.newaxis], [1, 1, 3, 1])
    y = y[:, :-1, :-1] + y[:, :-1, 1:] + y[:, 1:, :-1] + y[:, 1:, 1:]
    return tf.nn.depthwise_conv2d(y, tf.constant(taps, x.dtype), strides=[1, 1, 1, 1], padding='SAME')


CASES = {
    'same': (network_convs.conv_same, _engines_same, [2, 5, 6, 3], 3),
    'same, of pairs': (network_convs.conv_same_of_pairs, _engines_same, [2, 6, 5, 3], 3),
    'pointwise': (network_convs.conv_same, _engines_same, [2, 5, 6, 3], 1),
    'down': (network_convs.conv_down, _engines_down, [2, 4, 6, 3], 4),
    'halving': (network_convs.conv_halving, _engines_halving, [2, 5, 7, 3], 3),
    'doubling': (_doubling, _engines_doubling, [2, 2, 3, 5], 3),
    'doubling, many pixels': (_doubling_of_many_pixels, _engines_doubling, [2, 2, 3, 5], 3),
    'doubling, blurred': (_doubling_blurred, _engines_doubling_blurred, [1, 3, 4, 5], 3),
    'up': (_conv_up, _engines_up, [2, 2, 3, 5], 4),
    'up, many pixels': (_conv_up_of_many_pixels, _engines_up, [2, 2, 3, 5], 4),
}


@pytest.fixture
def kernels_gradients_convolved(monkeypatch):
    """As they are on TensorFlow 1.15 from some number of pixels on."""
    monkeypatch.setattr(network_convs, '_HAS_SLOW_KERNEL_GRADIENTS', True)
    monkeypatch.setattr(network_convs, '_PIXELS_OF_CONVOLVED_GRADIENTS', 1)


@pytest.mark.parametrize('case', sorted(CASES))
def test_values_and_gradients_of_three_orders_equal_the_engines_own(case, fresh_graph):
    _assert_equal_to_the_third_order(case)


@pytest.mark.parametrize('case', ['same', 'same, of pairs'])
def test_so_do_those_whose_kernels_gradients_are_convolutions(case, fresh_graph, kernels_gradients_convolved):
    _assert_equal_to_the_third_order(case)


def _assert_equal_to_the_third_order(case):
    ours, engines_own, shape, kernel = CASES[case]
    rng = np.random.RandomState(0)
    x, w = tf.constant(rng.randn(*shape)), tf.constant(rng.randn(kernel, kernel, 3, 5))
    results = []
    for function in (ours, engines_own):
        y = function(x, w)
        order = tf.reduce_sum(tf.sin(y) * np.random.RandomState(1).randn(*y.shape.as_list()))
        found = [y]
        for _ in range(3):
            gradients = tf.gradients(order, [x, w])
            found += gradients
            order = sum(tf.reduce_sum(tf.square(gradient)) for gradient in gradients)
        results.append(tf.get_default_session().run(found))
    for mine, theirs in zip(*results):
        np.testing.assert_allclose(mine, theirs, rtol=RTOL, atol=RTOL * np.abs(theirs).max())


@pytest.mark.parametrize('num', [pytest.param(0, marks=pytest.mark.skipif(
    tflib.ENGINE == 'tf2', reason='TensorFlow 2 convolves no empty minibatches')), 2])
def test_a_kernels_gradient_of_any_number_of_samples(num, fresh_graph, kernels_gradients_convolved):
    rng = np.random.RandomState(0)
    x, w = tf.placeholder(tf.float32, [None, 5, 6, 3]), tf.constant(rng.randn(3, 3, 3, 5), tf.float32)
    found, expected = [tf.gradients(tf.reduce_sum(tf.sin(function(x, w))), [x, w])
                       for function in (network_convs.conv_same, _engines_same)]
    assert any(op.type in ('Merge', 'If', 'StatelessIf') for op in tf.get_default_graph().get_operations())
    for mine, theirs in zip(*tf.get_default_session().run([found, expected], {x: rng.randn(num, 5, 6, 3)})):
        np.testing.assert_allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize('fused_scale', [False, True])
def test_a_layer_that_upscales_equals_its_two_steps(fused_scale, fresh_graph):
    x = tf.constant(np.random.RandomState(0).randn(2, 5, 6, 3).astype(np.float32))
    y = network_layers.upscale2d_conv2d(x, 4, 3, 1, True, fused_scale, 'NHWC')
    with tf.variable_scope('', reuse=True):
        w = network_layers.get_weight([3, 3, 3, 4], 1, True)
    expected = _engines_same(network_layers.upscale2d(x, 'NHWC'), w[::-1, ::-1] if fused_scale else w)
    _assert_equal_when_run(y, expected)


def test_a_layer_that_downscales_equals_its_two_steps(fresh_graph):
    x = tf.constant(np.random.RandomState(0).randn(2, 4, 6, 3).astype(np.float32))
    y = network_layers.conv2d_downscale2d(x, 4, 3, 1, True, 'NHWC')
    with tf.variable_scope('', reuse=True):
        w = network_layers.get_weight([3, 3, 3, 4], 1, True)
    _assert_equal_when_run(y, network_layers.downscale2d(_engines_same(x, w), 'NHWC'))


def _assert_equal_when_run(y, expected):
    session = tf.get_default_session()
    session.run(tf.global_variables_initializer())
    y, expected = session.run([y, expected])
    np.testing.assert_allclose(y, expected, rtol=TOLERANCE, atol=TOLERANCE)
