"""A metric as programs for the original define them: two arguments, nothing returned, values reported one by one."""

import os

import numpy as np

from metrics import metric_base


class MeanColour(metric_base.MetricBase):
    """Mean values of reals, kept in the cache, and of fakes."""

    computed = 0    # how often the reals were read

    def __init__(self, num_images, minibatch_per_gpu, **kwargs):
        super().__init__(**kwargs)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu

    def _evaluate(self, Gs, num_gpus):
        size = num_gpus * self.minibatch_per_gpu
        cache_file = self._get_cache_file_for_reals(extension='npy', num_images=self.num_images)
        os.makedirs(os.path.dirname(cache_file), exist_ok=True)
        if not os.path.isfile(cache_file):
            MeanColour.computed += 1
            np.save(cache_file, self._mean(self._iterate_reals(minibatch_size=size)))
        self._report_result(np.load(cache_file), suffix='_real')
        self._report_result(self._mean(self._iterate_fakes(Gs, minibatch_size=size, num_gpus=num_gpus)),
                            suffix='_fake', fmt='%-12.6f')

    def _mean(self, batches):
        images = []
        for batch in batches:
            assert batch.dtype == np.uint8 and batch.shape[1:] == (3, 32, 32)
            images += list(batch)
            if len(images) >= self.num_images:
                return np.mean(images[:self.num_images])
