"""KID: kernel distance between Inception features of real and generated images (Binkowski et al. 2018)."""

import numpy as np

from metrics.context import SUBSETS, chunk_rng
from metrics.features import FeatureSetMetric
from metrics.neighbours import kernel_distance_subsets

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('KID',)}


class KID(FeatureSetMetric):
    """Kernel Inception distance: mean over random subsets, unbiased.

    Args:
        num_images: reals and fakes, each; a whole number from 2 to 1e9
        minibatch_per_gpu: images per chunk; a whole number from 1 to 1e6
        num_subsets: subsets drawn; 1 to 1e6
        subset_size: images of each kind in one; 2 to 1e6
    """

    better = 'lower'

    def __init__(self, num_images, minibatch_per_gpu, num_subsets=100, subset_size=1000, **kwargs):
        super().__init__(num_images, minibatch_per_gpu, **kwargs)
        self._check_numbers(1, num_subsets=num_subsets)
        self._check_numbers(2, subset_size=subset_size)
        self.num_subsets = num_subsets
        self.subset_size = subset_size

    def _compare(self, ctx, real, fake, result):
        subset_seed = int(chunk_rng(ctx.seed, SUBSETS, 0).randint(2 ** 31))
        values = kernel_distance_subsets(real, fake, self.num_subsets, self.subset_size, subset_seed, ctx.check_stop)
        pairs = [_halves(real, fake, self.num_subsets, self.subset_size, subset_seed, ctx.check_stop)] \
            if self.num_images >= 4 else []
        result.add_with_halves(np.mean(values), pairs)
        result.details.update(num_subsets=self.num_subsets, subset_size=min(self.subset_size, self.num_images),
                              deviation_of_subsets=np.std(values))


def _halves(real, fake, num_subsets, subset_size, seed, between):
    """KID of the even and of the odd samples."""
    return [np.mean(kernel_distance_subsets(_Half(real, part), _Half(fake, part), max(num_subsets // 2, 1),
                                            subset_size, seed, between)) for part in (0, 1)]


class _Half:
    """Every second row of an array, without copying it."""

    def __init__(self, array, part):
        self._array, self._part = array, part

    def __len__(self):
        return (len(self._array) + 1 - self._part) // 2

    def __getitem__(self, rows):
        return self._array[2 * rows + self._part]
