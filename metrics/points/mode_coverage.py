"""How many modes of the data a generator of points reaches, and how near its points are to any."""

import numpy as np

from metrics.base import MetricBase
from metrics.context import MetricFailure
from metrics.points import samples
from metrics.scores.result import Result

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('ModeCoverage',)}


class ModeCoverage(MetricBase):
    """Modes hit, and share of points near one.

    Where the data have no modes, equal pieces of their curve stand for them.

    Args:
        num_samples: points of the generator; a whole number from 1 to 1e9
        max_deviations: a point is near a mode within so many of its standard deviations; a number from 1e-6 to 1e6
        least_share: a mode is hit if so large a share of all points is near it; a number from 1e-9 to 1
        minibatch_per_gpu: points per chunk; a whole number from 1 to 1e6
    """

    uses_dataset = True
    suffixes = ('_modes', '_near')
    better = 'higher'

    def __init__(self, num_samples, max_deviations=3.0, least_share=0.01, minibatch_per_gpu=10000, **kwargs):
        super().__init__(**kwargs)
        self._check_numbers(1, num_samples=num_samples, minibatch_per_gpu=minibatch_per_gpu)
        self._check_share(1e-6, 1e6, max_deviations=max_deviations)
        self._check_share(1e-9, 1, least_share=least_share)
        self.num_samples = num_samples
        self.max_deviations = max_deviations
        self.least_share = least_share
        self.minibatch_per_gpu = minibatch_per_gpu

    def _evaluate(self, ctx):
        samples.require_points(ctx, self.name)
        distribution = ctx.dataset.distribution
        if distribution is None:
            raise MetricFailure('the modes of the data set are not known; they are for sets made by create_points')
        fakes = samples.generated(ctx, self.num_samples, min(self.minibatch_per_gpu, self.num_samples))
        parts, distances = distribution.nearest_parts(fakes)
        is_near = distances <= self.max_deviations
        shares = np.bincount(parts[is_near], minlength=distribution.num_parts) / len(fakes)
        result = Result()
        result.add(int(np.sum(shares >= self.least_share)), '_modes', fmt='%d')
        result.add(np.mean(is_near), '_near')
        result.details.update(num_modes=distribution.num_parts, shares=shares)
        return result
