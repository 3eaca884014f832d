"""The game of Goodfellow et al. 2014 on finite distributions: its value, its optimal discriminator, and divergences.

Arguments are probabilities of the same outcomes, arrays whose sum is 1; all results are in nats.
"""

import numpy as np


def optimal_discriminator(p, q):
    """The D that maximises `game_value` for reals p and fakes q, p / (p + q); 1/2 where neither occurs."""
    total = np.asarray(p, np.float64) + q
    return np.divide(p, total, out=np.full(total.shape, 0.5), where=total > 0)


def game_value(p, q, d):
    """E_p[log D] + E_q[log(1 - D)], which D maximises and G minimises."""
    return _expectation(p, d) + _expectation(q, 1 - np.asarray(d))


def _expectation(p, d):
    p, d = np.broadcast_arrays(np.asarray(p, np.float64), d)
    happens = p > 0
    with np.errstate(divide='ignore'):  # a D that is certain and wrong has the value minus infinity
        return float(np.sum(p[happens] * np.log(d[happens])))


def kl(p, q):
    """Kullback-Leibler divergence of q from p; infinite where p has outcomes that q has not."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    happens = p > 0
    with np.errstate(divide='ignore'):
        return float(np.sum(p[happens] * np.log(p[happens] / q[happens])))


def jsd(p, q):
    """Jensen-Shannon divergence, from 0 to log 2."""
    middle = (np.asarray(p, np.float64) + q) / 2
    return (kl(p, middle) + kl(q, middle)) / 2


def jsd_of_value(value):
    """The divergence that the optimal discriminator's value stands for: value = 2 jsd - log 4."""
    return (value + np.log(4)) / 2


def cell_shares(points, num_cells, box):
    """Shares of points [N, 2] in num_cells x num_cells equal cells of the box, and in one more for the rest.

    Returns float64 [num_cells^2 + 1]; the first axis of the cells is x.
    """
    edges = np.linspace(box[0], box[1], num_cells + 1)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=[edges, edges])
    return with_rest(counts / len(points))


def with_rest(masses):
    """Masses of the cells, flat, and what is missing to 1 as one more."""
    return np.append(masses.ravel(), max(1.0 - masses.sum(), 0.0))
