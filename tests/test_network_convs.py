"""Convolutions with forward convolutions as gradients equal TensorFlow's own, to the third order."""

from unittest import mock

import numpy as np
import pytest
from conftest import tolerance

from dnnlib.tflib import tf
from training.layers import network_convs

pytestmark = pytest.mark.both

RTOL = tolerance(cpu=1e-9, gpu=1e-8)


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


def _engines_up(x, w):
    return tf.nn.conv2d_transpose(x, w, [2, 4, 6, 3], strides=2, padding='SAME')


CASES = {
    'same': (network_convs.conv_same, _engines_same, [2, 5, 6, 3], 3),
    'pointwise': (network_convs.conv_same, _engines_same, [2, 5, 6, 3], 1),
    'down': (network_convs.conv_down, _engines_down, [2, 4, 6, 3], 4),
    'up': (_conv_up, _engines_up, [2, 2, 3, 5], 4),
    'up, many pixels': (_conv_up_of_many_pixels, _engines_up, [2, 2, 3, 5], 4),
}


@pytest.mark.parametrize('case', sorted(CASES))
def test_values_and_gradients_of_three_orders_equal_the_engines_own(case, fresh_graph):
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
