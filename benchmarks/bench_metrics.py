"""The arithmetic of the metrics: Fréchet distance of 2048 features, entropies of 40 attributes and 200,000 samples.

    ./reproduce shell python benchmarks/bench_metrics.py
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401, I001
import short_form  # noqa: E402
from bench_networks import medians  # noqa: E402
from dnnlib.util import run_main  # noqa: E402


def rows(quick=False):
    """Measures on this machine's CPU. Returns dicts: what, figure, unit, ratio, ratio_to, floor."""
    return [frechet_row(quick), separability_row(quick)]


def frechet_row(quick):
    """Symmetric eigenvalues beside the way through scipy's matrix square root."""
    import numpy as np
    import scipy.linalg

    from metrics.arithmetic import frechet_distance
    size = 256 if quick else 2048
    rng = np.random.RandomState(0)
    samples = [rng.randn(2 * size, size) * rng.uniform(0.1, 2, size) for _ in range(2)]
    means, sigmas = [x.mean(axis=0) for x in samples], [np.cov(x, rowvar=False) for x in samples]
    results = []

    def ours():
        results.append(frechet_distance(means[0], sigmas[0], means[1], sigmas[1]))

    def through_sqrtm():
        root = scipy.linalg.sqrtm(sigmas[0] @ sigmas[1])
        results.append(np.sum((means[0] - means[1]) ** 2) + np.trace(sigmas[0] + sigmas[1] - 2 * np.real(root)))

    seconds, reference = medians([ours, through_sqrtm])
    np.testing.assert_allclose(results, results[0], rtol=1e-6)
    return dict(what=f'Fréchet distance of {size} features', figure=seconds, unit='s', ratio=seconds / reference,
                ratio_to="through scipy's sqrtm", floor=f'two symmetric eigenvalue problems of size {size}')


def separability_row(quick):
    """What linear separability computes besides generating images and fitting planes."""
    import numpy as np

    from metrics import arithmetic
    num = 2000 if quick else 200000
    rng = np.random.RandomState(0)
    probabilities = rng.rand(num)
    pairs = np.stack([probabilities, 1 - probabilities], axis=1)
    bits = rng.rand(40, num // 2) < 0.5

    def ours():
        for _ in range(40):
            arithmetic.most_confident(pairs, num // 2)
        arithmetic.conditional_entropy_bits(bits, ~bits)

    def sorting():
        for _ in range(40):
            np.sort(probabilities, kind='stable')

    seconds, reference = medians([ours, sorting])
    return dict(what=f'separability of 40 attributes and {num} samples, without planes', figure=seconds, unit='s',
                ratio=seconds / reference, ratio_to='sorting the samples by confidence 40 times', floor='1')


def main():
    """Prints the rows."""
    short_form.print_rows(__doc__, rows)


if __name__ == '__main__':
    run_main(main)
