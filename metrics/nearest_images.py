"""Nearest real images of generated ones: a look at whether the generator repeats its training data."""

import os

import numpy as np

from data.pictures import save_image_grid
from dnnlib import tflib
from dnnlib.files import make_folders
from metrics import features
from metrics.base import MetricBase
from metrics.context import MetricFailure
from metrics.neighbours import NearestNeighbours
from metrics.scores.result import Result

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('NearestImages',)}


class NearestImages(MetricBase):
    """Mean distance, in feature space, from generated images to the nearest real one; and a picture of them.

    Args:
        num_images: generated images looked at; a whole number from 1 to 1e6
        minibatch_per_gpu: images per chunk; a whole number from 1 to 1e6
        num_nearest: real images shown beside each; 1 to 1000
    """

    uses_dataset = True
    uses_networks = ('inception',)

    def __init__(self, num_images, minibatch_per_gpu, num_nearest=3, **kwargs):
        super().__init__(**kwargs)
        self._check_numbers(1, num_images=num_images, minibatch_per_gpu=minibatch_per_gpu, num_nearest=num_nearest)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu
        self.num_nearest = num_nearest

    def _evaluate(self, ctx):
        result = Result()
        if ctx.dataset.num_images < self.num_nearest:
            raise MetricFailure(f'{self.num_nearest} nearest images are asked for, but the data set has '
                                f'{ctx.dataset.num_images}')
        size = self.minibatch_per_gpu
        queries = np.concatenate([part for _, part in features.fake_features(ctx, self.num_images, size)])
        search = NearestNeighbours(queries, self.num_nearest)
        for part in features.real_features(ctx, ctx.dataset.num_images, size):
            search.add(part)
        result.add(np.mean(search.distances[:, 0]))
        result.details.update(nearest_indices=search.indices, nearest_distances=search.distances)
        if ctx.out_dir is not None:
            try:
                result.details['picture'] = self._draw(ctx, search.indices)
            except OSError as err:
                result.problems.append(f'the picture could not be stored: {err.strerror}')
        return result

    def _draw(self, ctx, indices):
        """Stores rows of one generated image and its nearest reals; returns the file's name, which is a new one."""
        size = self.minibatch_per_gpu
        inputs = ctx.placeholders(size)

        def build(index, holders):
            return [tflib.convert_images_to_uint8(ctx.build_images(index, holders))]

        def feed(chunk):
            return ctx.feed_inputs(chunk, size)

        rows = []
        for _, start, count, (images,) in ctx.run_chunks('pictures', self.num_images, size, inputs, build, feed):
            for number in range(count):
                nearest, _ = ctx.dataset.get_samples_np(indices[start + number])
                rows.append(np.concatenate([images[number:number + 1], nearest]))
        make_folders(ctx.out_dir)
        names = [self.name + '.png'] + [f'{self.name}-{number}.png' for number in range(2, 1000)]
        name = next((name for name in names if not os.path.exists(os.path.join(ctx.out_dir, name))), names[-1])
        save_image_grid(np.concatenate(rows), os.path.join(ctx.out_dir, name), drange=[0, 255],
                        grid_size=(self.num_nearest + 1, len(rows)))
        return name
