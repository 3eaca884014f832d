"""Improved precision and recall (Kynkaanniemi et al. 2019), on the Inception features of FID rather than on VGG16's."""

import numpy as np

from metrics import features
from metrics.metric_base import MetricBase
from metrics.neighbours import precision_recall


class PR(MetricBase):
    """Precision (share of fakes that look like reals) and recall (share of reals that fakes cover).

    Args:
        num_images: reals and fakes, each.
        minibatch_per_gpu: images per chunk.
        neighbourhood: number of the neighbour that a ball around each sample reaches to.
    """

    uses_dataset = True
    uses_networks = ('inception',)
    suffixes = ('_precision', '_recall')

    def __init__(self, num_images, minibatch_per_gpu, neighbourhood=3, **kwargs):
        super().__init__(**kwargs)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu
        self.neighbourhood = neighbourhood

    def _evaluate(self, ctx):
        self._num_samples = self.num_images
        self._use_reals(ctx)
        network = self._use(ctx, 'inception')
        self._problems += features.notes_on_reals(ctx, self.num_images, network.net.output_shape[1])
        args = (ctx, self.num_images, self.minibatch_per_gpu)
        fakes = (part for _, part in features.fake_features(*args))
        with features.stored_features(features.real_features(*args), self.num_images) as real, \
                features.stored_features(fakes, self.num_images) as fake:
            precision, recall, fakes_inside, reals_inside = precision_recall(real, fake, self.neighbourhood,
                                                                                  between=ctx.check_stop)
        for suffix, value, inside in (('_precision', precision, fakes_inside), ('_recall', recall, reals_inside)):
            middle = len(inside) // 2
            self._report_halves(value, [[np.mean(inside[:middle]), np.mean(inside[middle:])]], suffix)
        self._details.update(neighbourhood=self.neighbourhood)
        self._notes.append('on the Inception features of FID; the published numbers use VGG16 features')
