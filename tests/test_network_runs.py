"""Running networks again and again with other arguments: what is fed, what has a graph of its own, and how many."""

import numpy as np
import pytest

from dnnlib import tflib
from dnnlib.tflib import network_run, tf
from dnnlib.tflib.network import Network

pytestmark = pytest.mark.both

SMALL = dict(num_channels=3, resolution=8, fmap_base=32, fmap_max=8, latent_size=8, dlatent_size=8, mapping_fmaps=8,
             mapping_layers=2)


@pytest.fixture
def G(fresh_graph):
    net = Network('G', 'training.networks_stylegan.G_style', randomize_noise=False, structure='fixed', **SMALL)
    net.set_var('dlatent_avg', np.linspace(-1, 1, 8))
    return net


def latents(num=3):
    return np.random.RandomState(0).randn(num, 8).astype(np.float32)


def num_ops():
    return len(tf.get_default_graph().get_operations())


def test_new_truncation_builds_nothing_and_has_the_bits_of_a_graph_with_constants(G):
    G.run(latents(), None)
    before = num_ops()
    cases = [(None, 2), (1, 2), (np.float64(1), None), (0.5, 0), (0.5, -1), (0.7, 1), (0.3, None), (-1, 2.5)]
    images = [G.run(latents(), None, truncation_psi=psi, truncation_cutoff=cutoff) for psi, cutoff in cases]
    assert num_ops() == before
    z = tf.constant(latents())
    for got, (psi, cutoff) in zip(images, cases):
        expected = tflib.run(G.get_output_for(z, None, truncation_psi=psi, truncation_cutoff=cutoff))
        assert np.array_equal(got, expected), (psi, cutoff)
    off = G.run(latents(), None, is_validation=True)
    assert [np.array_equal(image, off) for image in images] == [True] * 5 + [False] * 3


def test_what_a_call_leaves_out_is_what_the_network_holds(G):
    fading = G.clone('Gs', truncation_psi=0.25, truncation_cutoff=None)
    assert np.array_equal(fading.run(latents(), None),
                          fading.run(latents(), None, truncation_psi=0.25, truncation_cutoff=None))
    assert not np.array_equal(fading.run(latents(), None), fading.run(latents(), None, truncation_cutoff=2))


def test_programs_that_fetch_by_name_get_the_first_calls_truncation(G):
    first = G.run(latents(), None, truncation_psi=0.4, truncation_cutoff=1)
    G.run(latents(), None, truncation_psi=0.9)
    feed = {'G/_Run/latents_in:0': latents(), 'G/_Run/labels_in:0': np.zeros([3, 0])}
    assert np.array_equal(tflib.run('G/_Run/concat/concat:0', feed), first)


def test_a_tensor_is_taken_as_it_is(G):
    psi = tf.constant(0.5)
    assert np.array_equal(G.run(latents(), None, truncation_psi=psi), G.run(latents(), None, truncation_psi=0.5))


def test_noise_of_both_kinds_keeps_two_graphs_however_it_is_asked_for(G):
    fresh = G.clone('Gs', randomize_noise=True)
    for kwargs in ({}, dict(randomize_noise=True), dict(randomize_noise=False), dict(structure='fixed')):
        fresh.run(latents(), None, **kwargs)
    before = num_ops()
    for is_random in (True, False):
        for psi in (0.1, 0.2):
            fresh.run(latents(), None, randomize_noise=is_random, truncation_psi=psi)
    assert num_ops() == before and len(fresh._runs) == 2


STORED = """
import tensorflow.compat.v1 as tf
import dnnlib.tflib as tflib

FED = {'G_stored': {'factor': 1.0}, 'G_part': {'factor': 1.0}}

def G_part(x_in, factor=2.0, **_kwargs):
    assert isinstance(factor, float)
    x_in.set_shape([None, 8])
    return tf.identity(x_in * factor, name='out')

def G_stored(x_in, factor=2.0, components=None, **_kwargs):
    assert isinstance(factor, float)
    x_in.set_shape([None, 8])
    if 'part' not in components:
        components.part = tflib.Network('part', func_name=G_part)
    return tf.identity(components.part.get_output_for(x_in, factor=factor), name='out')
"""


def test_stored_code_is_never_fed(fresh_graph):
    state = dict(version=3, name='G', static_kwargs={}, components={}, build_module_src=STORED,
                 build_func_name='G_stored', variables=[])
    net = Network.from_state(state, trust_stored_code=True)
    part = net.components.part
    assert net.fed_keywords == part.fed_keywords == {}
    for each in (net, part):
        assert [np.array_equal(each.run(latents(), factor=factor), latents() * np.float32(factor))
                for factor in (0.5, 3.0)] == [True, True]


def test_ways_beyond_the_first_ones_leave_the_graph_as_it_is(G, monkeypatch):
    monkeypatch.setattr(network_run.Runs, 'MOST', 2)
    doubled = dict(input_transform=dict(func=scale, factor=2.0))
    expected = G.run(latents() * 2, None, truncation_psi=0.5)
    G.run(latents(), None, is_validation=True)
    before = num_ops()
    assert np.array_equal(G.run(latents(), None, truncation_psi=0.5, **doubled), expected)
    G.run(latents(), None, input_transform=dict(func=scale, factor=3.0))
    assert np.array_equal(G.run(latents(), None, truncation_psi=0.5, **doubled), expected)
    on_two = G.run(latents(), None, truncation_psi=0.5, num_gpus=2, **doubled)
    np.testing.assert_allclose(on_two, expected, atol=1e-5)

    G.set_var('G_synthesis/ToRGB_lod0/bias', [1, 2, 3])
    moved = G.run(latents(), None, truncation_psi=0.5, num_gpus=2, **doubled)
    np.testing.assert_allclose(moved, expected + np.reshape([1, 2, 3], [3, 1, 1]), atol=1e-5)
    assert num_ops() == before

    factor = tf.constant(2.0)
    moved = G.run(latents(), None, truncation_psi=0.5, input_transform=dict(func=scale, factor=factor))
    np.testing.assert_allclose(moved, expected + np.reshape([1, 2, 3], [3, 1, 1]), atol=1e-5)
    assert num_ops() > before


def scale(latents_in, labels_in, factor):
    return latents_in * factor, labels_in


def G_strict(latents_in, num_channels=1, is_template_graph=False, components=None):
    """A program's own, which takes what it declares and nothing else."""
    latents_in.set_shape([None, 4])
    return tf.reshape(latents_in[:, :4], [-1, num_channels, 2, 2])


def test_a_function_that_does_not_know_of_one_by_one_is_not_asked_for_it(fresh_graph):
    G = tflib.Network('G', func_name=G_strict)
    latents = np.arange(8, dtype=np.float32).reshape([2, 4])
    images = tflib.run(G.get_output_for(tf.constant(latents), one_by_one=True))
    np.testing.assert_array_equal(images, latents.reshape([2, 1, 2, 2]))
    np.testing.assert_array_equal(G.run(latents), images)
