"""The losses: against formulas on a discriminator whose gradient is known, and against the reference numbers."""

import types

import numpy as np
import pytest
from golden_networks import GoldenCase

from dnnlib import tflib
from dnnlib.tflib import tf
from training import loss

SHAPE = [2, 4, 4]
N = 3


def softplus(x):
    return np.log1p(np.exp(x))


class PlainOptimizer:
    """Loss scaling by a constant, which the losses have to undo."""

    def apply_loss_scaling(self, value):
        return value * 1024.0

    def undo_loss_scaling(self, value):
        return value / 1024.0


class ConstantGenerator:
    """Gives the same images whatever the latents, and notes how it was called."""

    input_shapes = [[None, 5], [None, 2]]
    components = {}

    def __init__(self, images):
        self.images = tf.constant(images, tf.float32)
        self.calls = []

    def get_output_for(self, latents, labels, **kwargs):
        self.calls.append((latents, labels, kwargs))
        return tf.identity(self.images)


class KnownDiscriminator:
    """score(x) = sum of (k x + x^2 / 2), whose gradient is k + x."""

    def __init__(self, k):
        self.k = k

    def get_output_for(self, images, labels, **kwargs):
        return tf.reduce_sum(self.k * images + 0.5 * tf.square(images), axis=[1, 2, 3])[:, np.newaxis]

    def score(self, x):
        return np.sum(self.k * x + 0.5 * x * x, axis=(1, 2, 3))[:, np.newaxis]

    def squared_gradient(self, x):
        return np.sum((self.k + x) ** 2, axis=(1, 2, 3))[:, np.newaxis]


@pytest.fixture
def setting(fresh_graph):
    rng = np.random.RandomState(1)
    s = types.SimpleNamespace(session=fresh_graph)
    s.fakes, s.reals = (rng.randn(N, *SHAPE).astype(np.float32) * 0.2 for _ in range(2))
    s.D = KnownDiscriminator(rng.randn(*SHAPE).astype(np.float32) * 0.1)
    s.G = ConstantGenerator(s.fakes)
    s.labels = np.eye(2, dtype=np.float32)[[0, 1, 1]]
    s.training_set = types.SimpleNamespace(get_random_labels_tf=lambda n: tf.zeros([n, 2]) + 0.5)
    return s


def evaluate(s, func, **kwargs):
    args = dict(G=s.G, D=s.D, opt=PlainOptimizer(), training_set=s.training_set, minibatch_size=N, **kwargs)
    if func.__name__.startswith('D_'):
        args.update(reals=tf.constant(s.reals), labels=tf.constant(s.labels))
    result = func(**args)
    tflib.autosummary.finalize_autosummaries()
    return s.session.run(result)


@pytest.mark.parametrize('name,formula', [
    ('G_wgan', lambda f: -f), ('G_logistic_saturating', lambda f: -softplus(f)),
    ('G_logistic_nonsaturating', lambda f: softplus(-f))])
def test_generator_losses_equal_their_formulas(setting, name, formula):
    result = evaluate(setting, getattr(loss, name))
    assert result.shape == (N, 1) and result.dtype == np.float32
    assert result == pytest.approx(formula(setting.D.score(setting.fakes)), rel=1e-5)


@pytest.mark.parametrize('name,kwargs,formula', [
    ('D_wgan', {}, lambda D, r, f: D.score(f) - D.score(r) + 0.001 * D.score(r) ** 2),
    ('D_wgan', dict(wgan_epsilon=0.5), lambda D, r, f: D.score(f) - D.score(r) + 0.5 * D.score(r) ** 2),
    ('D_hinge', {}, lambda D, r, f: np.maximum(1 + D.score(f), 0) + np.maximum(1 - D.score(r), 0)),
    ('D_logistic', {}, lambda D, r, f: softplus(D.score(f)) + softplus(-D.score(r))),
    ('D_logistic_simplegp', {}, lambda D, r, f:
        softplus(D.score(f)) + softplus(-D.score(r)) + 5 * D.squared_gradient(r)),
    ('D_logistic_simplegp', dict(r1_gamma=3.0, r2_gamma=4.0), lambda D, r, f:
        softplus(D.score(f)) + softplus(-D.score(r)) + 1.5 * D.squared_gradient(r) + 2 * D.squared_gradient(f))])
def test_discriminator_losses_equal_their_formulas(setting, name, kwargs, formula):
    result = evaluate(setting, getattr(loss, name), **kwargs)
    assert result.shape == (N, 1) and result.dtype == np.float32
    assert result == pytest.approx(formula(setting.D, setting.reals, setting.fakes), rel=1e-4)


@pytest.mark.parametrize('name,kwargs,base', [
    ('D_wgan_gp', {}, lambda D, r, f: D.score(f) - D.score(r) + 0.001 * D.score(r) ** 2),
    ('D_wgan_gp', dict(wgan_lambda=2.0, wgan_target=3.0, wgan_epsilon=0.0), lambda D, r, f: D.score(f) - D.score(r)),
    ('D_hinge_gp', {}, lambda D, r, f: np.maximum(1 + D.score(f), 0) + np.maximum(1 - D.score(r), 0))])
def test_gradient_penalty_at_a_mix_of_reals_and_fakes(setting, name, kwargs, base):
    # With equal reals and fakes every mix is that image, so the penalty is known.
    setting.reals = setting.fakes
    target = kwargs.get('wgan_target', 1.0)
    penalty = (np.sqrt(setting.D.squared_gradient(setting.fakes)) - target) ** 2
    expected = base(setting.D, setting.reals, setting.fakes) + penalty * kwargs.get('wgan_lambda', 10.0) / target ** 2
    result = evaluate(setting, getattr(loss, name), **kwargs)
    assert result.shape == (N, 1)
    assert result == pytest.approx(expected, rel=1e-4)


def test_a_sample_without_gradient_does_not_make_the_penalty_nan(setting):
    setting.reals = setting.fakes = -np.broadcast_to(setting.D.k, [N] + SHAPE).astype(np.float32)
    setting.G = ConstantGenerator(setting.fakes)
    x = tf.constant(setting.reals)
    result = tf.reduce_sum(loss.D_wgan_gp(setting.G, setting.D, PlainOptimizer(), setting.training_set, N, x,
                                          tf.constant(setting.labels)))
    gradient = tf.gradients(result, [x])[0]
    tflib.autosummary.finalize_autosummaries()
    assert all(np.isfinite(value).all() for value in setting.session.run([result, gradient]))


def test_fakes_get_random_labels_for_G_and_the_labels_of_the_reals_for_D(setting):
    evaluate(setting, loss.G_wgan)
    evaluate(setting, loss.D_wgan)
    (latents, G_labels, G_kwargs), (_, D_labels, D_kwargs) = setting.G.calls
    assert setting.session.run(tf.shape(latents)).tolist() == [N, 5]
    assert np.all(setting.session.run(G_labels) == 0.5)
    assert np.array_equal(setting.session.run(D_labels), setting.labels)
    assert G_kwargs['is_training'] is True and D_kwargs['is_training'] is True


def test_draws_in_a_seed_scope_are_functions_of_seed_and_step(setting):
    step = tf.placeholder(tf.int32, [])
    with tflib.rnd.seed_scope(tf.stack([7, step])):
        for func in (loss.G_wgan, loss.G_wgan):
            func(setting.G, setting.D, PlainOptimizer(), setting.training_set, N)
    latents = [call[0] for call in setting.G.calls]
    first, again, later = (setting.session.run(latents, {step: number}) for number in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, later)


@pytest.mark.both
def test_losses_of_the_reference_networks_with_and_without_a_fade(fresh_graph, golden_dir):
    case = GoldenCase(golden_dir, 'stylegan-f-32', 'training.networks_stylegan')
    image = tf.constant(case.arrays['images_recursive_lod0.0'])
    labels = tf.constant(case.labels)
    training_set = types.SimpleNamespace(get_random_labels_tf=lambda n: tf.zeros([n, 0]))

    class ReferenceGenerator(ConstantGenerator):
        def get_output_for(self, _latents, _labels, **_kwargs):
            return case.G.get_output_for(tf.constant(case.z), labels, is_validation=True, randomize_noise=False)

    args = (case.D, PlainOptimizer(), training_set, len(case.z))
    constant = ConstantGenerator(case.arrays['images_recursive_lod0.0'])
    # The reference's loss takes the images as fakes and has a penalty there: what it leaves out is the real part.
    penalized = loss.D_logistic_simplegp(constant, *args, image, labels, r1_gamma=0.0, r2_gamma=10.0)
    real_part = tf.nn.softplus(-case.D.get_output_for(image, labels))
    tensors = [
        loss.D_logistic_simplegp(constant, *args, image, labels, r1_gamma=2.0) - loss.D_logistic(
            constant, *args, image, labels),
        tf.reduce_mean(penalized - real_part),
        tf.reduce_mean(loss.G_logistic_nonsaturating(ReferenceGenerator(case.z), *args))]
    tflib.autosummary.finalize_autosummaries()
    for lod in (0.0, 1.5):
        case.set_lod(lod)
        r1, d_loss, g_loss = fresh_graph.run(tensors)
        assert r1[:, 0] == pytest.approx(case.arrays[f'r1_lod{lod}'], rel=2e-3, abs=1e-6)
        assert d_loss == pytest.approx(float(case.arrays[f'd_loss_lod{lod}']), rel=1e-4)
        assert g_loss == pytest.approx(float(case.arrays[f'g_loss_lod{lod}']), rel=1e-4)
