"""KID: kernel distance between Inception features of real and generated images (Binkowski et al. 2018)."""

import numpy as np

from metrics import features
from metrics.context import SUBSETS, chunk_rng
from metrics.metric_base import MetricBase
from metrics.neighbours import kernel_distance_subsets


class KID(MetricBase):
    """Kernel Inception distance: mean over random subsets, unbiased.

    Args:
        num_images: reals and fakes, each.
        minibatch_per_gpu: images per chunk.
        num_subsets, subset_size: subsets drawn, and images of each kind in one.
    """

    uses_dataset = True
    uses_networks = ('inception',)

    def __init__(self, num_images, minibatch_per_gpu, num_subsets=100, subset_size=1000, **kwargs):
        super().__init__(**kwargs)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu
        self.num_subsets = num_subsets
        self.subset_size = subset_size

    def _evaluate(self, ctx):
        self._num_samples = self.num_images
        self._use_reals(ctx)
        network = self._use(ctx, 'inception')
        self._problems += features.notes_on_reals(ctx, self.num_images, network.net.output_shape[1])
        args = (ctx, self.num_images, self.minibatch_per_gpu)
        fakes = (part for _, part in features.fake_features(*args))
        with features.stored_features(features.real_features(*args), self.num_images) as real, \
                features.stored_features(fakes, self.num_images) as fake:
            subset_seed = int(chunk_rng(ctx.seed, SUBSETS, 0).randint(2 ** 31))
            values = kernel_distance_subsets(real, fake, self.num_subsets, self.subset_size, subset_seed,
                                             ctx.check_stop)
            pairs = [_halves(real, fake, self.num_subsets, self.subset_size, subset_seed, ctx.check_stop)]
        self._report_halves(np.mean(values), pairs)
        self._details.update(num_subsets=self.num_subsets, subset_size=min(self.subset_size, self.num_images),
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
