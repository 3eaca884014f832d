"""Statements of the theory of GANs (docs/theory.md), each on numbers."""

import types

import numpy as np
import pytest
from scipy import integrate

from dnnlib.tflib import tf
from metrics.points.discriminator import train_discriminator
from metrics.points.divergence import cell_shares, game_value, jsd, jsd_of_value, kl, optimal_discriminator, with_rest
from training import loss

LOG4 = np.log(4)


def uniform(low, high, num=4000, width=4.0):
    """A uniform density on an interval as masses of `num` cells of [0, width]."""
    edges = np.linspace(0, width, num + 1)
    return np.diff(np.clip(edges, low, high)) / (high - low)


CLOSED_FORMS = [
    ([0.2, 0.5, 0.3], [0.2, 0.5, 0.3], 0.0),
    ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.9, 0.1], np.log(2)),
    ([1.0, 0.0], [0.5, 0.5], 0.75 * np.log(4 / 3)),
    (uniform(0, 1), uniform(0, 2), 0.5 * np.log(4 / 3) + 0.25 * np.log(2 / 3) + 0.25 * np.log(2))]
CLOSED_FORMS += [(uniform(0, 1), uniform(a, 1 + a), a * np.log(2)) for a in (0.0, 0.25, 0.8, 1.0)]


@pytest.mark.parametrize('p, q, expected', CLOSED_FORMS)
def test_the_value_at_the_optimal_discriminator_is_a_divergence_of_closed_form(p, q, expected):
    value = game_value(p, q, optimal_discriminator(p, q))
    assert jsd(p, q) == pytest.approx(expected, abs=1e-9)
    assert value == pytest.approx(2 * expected - LOG4, abs=1e-9)
    assert jsd_of_value(value) == pytest.approx(expected, abs=1e-9)


def normal(x, mean):
    return np.exp(-0.5 * (x - mean) ** 2) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize('distance', [0.0, 0.5, 1.0, 3.0, 6.0])
def test_the_identity_holds_for_gaussians_to_a_millionth(distance):
    """Both sides by ways of their own: the value of D* by adaptive quadrature, the divergence from entropies."""
    def logit(x):
        return distance ** 2 / 2 - distance * x  # of D*, log N(x; 0, 1) - log N(x; distance, 1)

    def softplus(x):
        return np.logaddexp(0, x)
    parts = [integrate.quad(lambda x: -normal(x, 0) * softplus(-logit(x)), -12, 12, epsabs=1e-11, limit=200),
             integrate.quad(lambda x: -normal(x, distance) * softplus(logit(x)), distance - 12, distance + 12,
                            epsabs=1e-11, limit=200)]
    value = sum(part for part, _ in parts)

    x = np.linspace(-12, 12 + distance, 400001)
    middle = (normal(x, 0) + normal(x, distance)) / 2
    entropy = -np.sum(middle * np.log(middle)) * (x[1] - x[0])
    divergence = entropy - 0.5 * np.log(2 * np.pi * np.e)
    assert value == pytest.approx(2 * divergence - LOG4, abs=1e-6)


@pytest.mark.parametrize('seed', range(3))
def test_every_other_discriminator_does_worse(seed):
    rng = np.random.RandomState(seed)
    p, q = rng.dirichlet(np.ones(20) * 0.3, size=2)
    best = optimal_discriminator(p, q)
    value = game_value(p, q, best)
    assert value == pytest.approx(2 * jsd(p, q) - LOG4, abs=1e-12)
    for size in (1e-3, 0.1, 0.5):
        other = np.clip(best + size * rng.uniform(-1, 1, size=20), 1e-9, 1 - 1e-9)
        assert game_value(p, q, other) < value
    certain = np.eye(20)[3]
    assert game_value(p, q, certain) == -np.inf  # certain and wrong


def test_divergences_have_their_bounds_and_no_value_where_an_outcome_is_missing():
    rng = np.random.RandomState(0)
    for _ in range(20):
        p, q = rng.dirichlet(np.ones(6) * 0.2, size=2)
        assert 0 <= jsd(p, q) <= np.log(2) and jsd(p, q) == pytest.approx(jsd(q, p))
    assert kl([0.5, 0.5], [1.0, 0.0]) == np.inf and kl([1.0, 0.0], [0.5, 0.5]) == pytest.approx(np.log(2))


@pytest.mark.both
def test_the_saturating_loss_stands_still_where_D_wins_and_the_other_does_not(fresh_graph):
    s = np.array([-100.0, -30, -10, -3, 0, 3, 10, 30], np.float32)
    scores = tf.constant(s[:, np.newaxis])
    G = types.SimpleNamespace(input_shapes=[[None, 1], [None, 0]], components={},
                              get_output_for=lambda *args, **kwargs: scores)
    D = types.SimpleNamespace(get_output_for=lambda images, labels, **kwargs: images)
    data = types.SimpleNamespace(get_random_labels_tf=lambda n: tf.zeros([n, 0]))
    slopes = [fresh_graph.run(tf.gradients(make(G, D, None, data, len(s)), scores)[0])[:, 0]
              for make in (loss.G_logistic_saturating, loss.G_logistic_nonsaturating)]
    with np.errstate(over='ignore'):
        saturating, other = -1 / (1 + np.exp(-s.astype(np.float64))), -1 / (1 + np.exp(s.astype(np.float64)))
    assert slopes[0] == pytest.approx(saturating, rel=1e-5, abs=1e-7)
    assert slopes[1] == pytest.approx(other, rel=1e-5, abs=1e-7)
    assert slopes[0][0] == 0 and slopes[1][0] == -1        # at -100, in float32
    assert slopes[0][2] / slopes[1][2] == pytest.approx(np.exp(-10), rel=2e-3)


@pytest.mark.parametrize('shift', [0.0, 0.5])
def test_a_trained_discriminator_finds_the_divergence(fresh_graph, shift):
    rng = np.random.RandomState(5)
    reals, fakes = rng.uniform(-1, 1, size=(2, 10000, 2))
    fakes[:, 0] += 2 * shift
    values = train_discriminator(reals, fakes, (-2.5, 2.5), 240, rng)
    assert len(values) == 6
    assert jsd_of_value(values[-1]) == pytest.approx(shift * np.log(2), abs=0.02)


def test_shares_of_cells_count_everything_once():
    points = np.array([[-0.9, -0.9], [0.1, -0.9], [0.9, 0.9], [5.0, 0.0], [1.0, 1.0], [np.inf, 0.0]])
    shares = cell_shares(points, 2, (-1, 1))
    assert shares == pytest.approx(np.array([1, 0, 1, 2, 2]) / 6)  # x is the first axis; the last one is the rest
    assert with_rest(np.full([2, 2], 0.2)) == pytest.approx([0.2] * 5)
