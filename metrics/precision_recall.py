"""Improved precision and recall (Kynkaanniemi et al. 2019), on the Inception features of FID rather than on VGG16's."""

import numpy as np

from metrics.features import FeatureSetMetric
from metrics.neighbours import precision_recall

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('PR',)}


class PR(FeatureSetMetric):
    """Precision (share of fakes that look like reals) and recall (share of reals that fakes cover).

    Args:
        num_images: reals and fakes, each; a whole number from 2 to 1e9
        minibatch_per_gpu: images per chunk; a whole number from 1 to 1e6
        neighbourhood: number of the neighbour that a ball around each sample reaches to; 1 to 1e6
    """

    suffixes = ('_precision', '_recall')
    better = 'higher'

    def __init__(self, num_images, minibatch_per_gpu, neighbourhood=3, **kwargs):
        super().__init__(num_images, minibatch_per_gpu, **kwargs)
        self._check_numbers(1, neighbourhood=neighbourhood)
        self._check_numbers(neighbourhood + 1, num_images=num_images)
        self.neighbourhood = neighbourhood

    def _compare(self, ctx, real, fake, result):
        precision, recall, fakes_inside, reals_inside = precision_recall(real, fake, self.neighbourhood,
                                                                          between=ctx.check_stop)
        for suffix, value, inside in (('_precision', precision, fakes_inside), ('_recall', recall, reals_inside)):
            middle = len(inside) // 2
            result.add_with_halves(value, [[np.mean(inside[:middle]), np.mean(inside[middle:])]], suffix)
        result.details.update(neighbourhood=self.neighbourhood)
        result.notes.append('on the Inception features of FID; the published numbers use VGG16 features')
