"""A metric in the original's form: how far the mean colour of fakes is from that of reals, which are kept in a file."""

import os

import numpy as np
import tensorflow.compat.v1 as tf

import config
import dnnlib.tflib as tflib
from metrics import metric_base
from training import dataset, misc


class Color(metric_base.MetricBase):
    def __init__(self, num_images, minibatch_per_gpu, **kwargs):
        super().__init__(**kwargs)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu

    def _evaluate(self, Gs, num_gpus):
        minibatch_size = num_gpus * self.minibatch_per_gpu
        colors = np.empty([self.num_images, 3], dtype=np.float32)

        # Calculate statistics for reals.
        cache_file = self._get_cache_file_for_reals(num_images=self.num_images)
        os.makedirs(os.path.dirname(cache_file), exist_ok=True)
        if os.path.isfile(cache_file):
            mu_real, sigma_real = misc.load_pkl(cache_file)
            print('statistics of reals were kept')
        else:
            for idx, images in enumerate(self._iterate_reals(minibatch_size=minibatch_size)):
                begin = idx * minibatch_size
                end = min(begin + minibatch_size, self.num_images)
                colors[begin:end] = images[:end - begin].mean(axis=(2, 3))
                if end == self.num_images:
                    break
            mu_real, sigma_real = np.mean(colors, axis=0), np.cov(colors, rowvar=False)
            misc.save_pkl((mu_real, sigma_real), cache_file)

        # Construct TensorFlow graph.
        result_expr = []
        for gpu_idx in range(num_gpus):
            with tf.device('/gpu:%d' % gpu_idx):
                Gs_clone = Gs.clone()
                latents = tf.random_normal([self.minibatch_per_gpu] + Gs_clone.input_shape[1:])
                images = Gs_clone.get_output_for(latents, None, is_validation=True, randomize_noise=True)
                images = tflib.convert_images_to_uint8(images)
                result_expr.append(tf.reduce_mean(tf.cast(images, tf.float32), axis=[2, 3]))

        # Calculate statistics for fakes.
        for begin in range(0, self.num_images, minibatch_size):
            end = min(begin + minibatch_size, self.num_images)
            colors[begin:end] = np.concatenate(tflib.run(result_expr), axis=0)[:end - begin]
        self._report_result(np.linalg.norm(np.mean(colors, axis=0) - mu_real), fmt='%-8.2f')

        # The same data, opened as metrics do that look at labels.
        training_set = dataset.load_dataset(data_dir=config.data_dir, **self._dataset_args)
        images, labels = training_set.get_minibatch_np(self.num_images)
        training_set.close()
        if not self._mirror_augment:
            assert np.allclose(np.mean(images, axis=(0, 2, 3)), mu_real, atol=1e-3)
        assert os.path.isfile(self._network_pkl)
        self._report_result(labels.shape[1], suffix='_labels', fmt='%-4d')

        # The same through the iterator.
        for images in self._iterate_fakes(Gs, minibatch_size, num_gpus):
            self._report_result(float(images.dtype == np.uint8), suffix='_uint8')
            break
