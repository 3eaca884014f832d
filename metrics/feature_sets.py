"""What metrics share that compare all features of reals with all features of fakes, rather than their statistics."""

from metrics import features
from metrics.metric_base import MetricBase


class FeatureSetMetric(MetricBase):
    """A metric of Inception features of equally many reals and fakes. A subclass defines `_compare`.

    Args:
        num_images: reals and fakes, each.
        minibatch_per_gpu: images per chunk.
    """

    uses_dataset = True
    uses_networks = ('inception',)

    def __init__(self, num_images, minibatch_per_gpu, **kwargs):
        super().__init__(**kwargs)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu

    def _compare(self, ctx, real, fake):
        """Reports on features [num_images, D] of reals and of fakes, float32 arrays that lie on the disk."""
        raise NotImplementedError

    def _evaluate(self, ctx):
        self._num_samples = self.num_images
        self._use_reals(ctx)
        network = self._use(ctx, 'inception')
        self._problems += features.notes_on_reals(ctx, self.num_images, network.net.output_shape[1])
        args = (ctx, self.num_images, self.minibatch_per_gpu)
        fakes = (part for _, part in features.fake_features(*args))
        with features.stored_features(features.real_features(*args), self.num_images) as real, \
                features.stored_features(fakes, self.num_images) as fake:
            self._compare(ctx, real, fake)
