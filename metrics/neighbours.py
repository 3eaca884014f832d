"""Scores that compare sets of features by kernels and neighbours: KID, precision and recall, nearest neighbours.

Pure numpy in float64. Features may be memory maps: only one subset or block is in memory at a time.
"""

import numpy as np


def _nothing():
    """What happens between two pieces of work, unless a function is given that may break it off."""


def polynomial_kernel(a, b):
    """(a . b / d + 1)^3 for features a [N, d] and b [M, d]; returns [N, M] in float64."""
    a = np.asarray(a, dtype=np.float64)
    b = np.asarray(b, dtype=np.float64)
    return (a @ b.T / a.shape[1] + 1.0) ** 3


def kernel_distance(features_real, features_fake):
    """Unbiased squared maximum mean discrepancy under the cubic polynomial kernel (Binkowski et al. 2018).

    features_real [N, d], features_fake [M, d], at least two rows each. May be negative: it is unbiased. Raises
    ValueError for fewer.
    """
    n, m = len(features_real), len(features_fake)
    if min(n, m) < 2:
        raise ValueError('the kernel distance needs at least two samples on each side')
    real = polynomial_kernel(features_real, features_real)
    fake = polynomial_kernel(features_fake, features_fake)
    cross = polynomial_kernel(features_real, features_fake)
    within_real = (real.sum() - np.trace(real)) / (n * (n - 1))
    within_fake = (fake.sum() - np.trace(fake)) / (m * (m - 1))
    return float(within_real + within_fake - 2.0 * cross.mean())


def kernel_distance_subsets(features_real, features_fake, num_subsets=100, subset_size=1000, seed=0,
                            between=_nothing):
    """Kernel distances [num_subsets] of random subsets, each drawn without replacement; their mean is the KID.

    Only the rows of one subset are in memory at a time, so the features may be memory maps.
    """
    rng = np.random.RandomState(seed)
    size = min(len(features_real), len(features_fake), subset_size)
    values = []
    for _ in range(num_subsets):
        between()
        rows_real = np.sort(rng.choice(len(features_real), size, replace=False))
        rows_fake = np.sort(rng.choice(len(features_fake), size, replace=False))
        values.append(kernel_distance(np.asarray(features_real[rows_real]), np.asarray(features_fake[rows_fake])))
    return np.array(values)


def _squared_distances(a, b):
    a = np.asarray(a, dtype=np.float64)
    b = np.asarray(b, dtype=np.float64)
    squared = np.sum(a * a, axis=1)[:, np.newaxis] + np.sum(b * b, axis=1)[np.newaxis] - 2.0 * (a @ b.T)
    return np.maximum(squared, 0.0)


def _blocks(length, size):
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def kth_neighbour_radii(features, k=3, block=2000, between=_nothing):
    """Squared distance [N] from each row of features [N, d] to its k-th nearest other row.

    Raises ValueError for no more than k rows.
    """
    if len(features) <= k:
        raise ValueError(f'{k} neighbours need more than {k} samples, got {len(features)}')
    radii = []
    for rows in _blocks(len(features), block):
        best = np.full([rows.stop - rows.start, 0], np.inf)
        for columns in _blocks(len(features), block):
            between()
            squared = _squared_distances(features[rows], features[columns])
            if rows == columns:
                np.fill_diagonal(squared, np.inf)
            best = np.concatenate([best, squared], axis=1)
            best = np.partition(best, min(k, best.shape[1]) - 1, axis=1)[:, :k]
        radii.append(np.max(best, axis=1))
    return np.concatenate(radii)


def inside_manifold(features, manifold, radii, block=2000, between=_nothing):
    """Whether each row of features [N, d] lies in the ball of any row of manifold [M, d] with squared radii [M]."""
    inside = np.zeros([len(features)], dtype=bool)
    for rows in _blocks(len(features), block):
        for columns in _blocks(len(manifold), block):
            between()
            squared = _squared_distances(features[rows], manifold[columns])
            inside[rows] |= np.any(squared <= radii[columns][np.newaxis], axis=1)
    return inside


def precision_recall(features_real, features_fake, k=3, block=2000, between=_nothing):
    """Improved precision and recall (Kynkaanniemi et al. 2019) from features [N, d] and [M, d].

    Precision: share of fakes inside the manifold of the reals (union of balls that reach the k-th neighbour); recall:
    the converse. Returns (precision, recall, fakes_inside [M] bool, reals_inside [N] bool).
    """
    def inside(features, manifold):
        radii = kth_neighbour_radii(manifold, k, block, between)
        return inside_manifold(features, manifold, radii, block, between)

    fakes_inside, reals_inside = inside(features_fake, features_real), inside(features_real, features_fake)
    return float(np.mean(fakes_inside)), float(np.mean(reals_inside)), fakes_inside, reals_inside


class NearestNeighbours:
    """Running k nearest rows of a stream of blocks to fixed queries [Q, d]; memory does not grow with the stream."""

    def __init__(self, queries, k=3):
        self._queries = np.asarray(queries, dtype=np.float64)
        self.distances = np.full([len(self._queries), k], np.inf)
        self.indices = np.full([len(self._queries), k], -1, dtype=np.int64)
        self._seen = 0

    def add(self, features):
        """Looks at the next block of candidates [N, d]; indices count candidates from the start of the stream."""
        squared = _squared_distances(self._queries, features)
        indices = np.broadcast_to(self._seen + np.arange(len(features)), squared.shape)
        squared = np.concatenate([np.square(self.distances), squared], axis=1)
        indices = np.concatenate([self.indices, indices], axis=1)
        order = np.argsort(squared, axis=1, kind='stable')[:, :self.distances.shape[1]]
        self.distances = np.sqrt(np.take_along_axis(squared, order, axis=1))
        self.indices = np.take_along_axis(indices, order, axis=1)
        self._seen += len(features)
