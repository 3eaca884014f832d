"""What a metric works with: the measured generator, the data set, feature networks, devices and seeds.

All random numbers are a function of (seed, stream, chunk): samples are made in chunks of fixed size, each with its own
seed, so that results do not depend on how many devices share the work.
"""

import hashlib
import os
import sys

import numpy as np

from data.records import dataset, manifest
from dnnlib import tflib
from dnnlib.progress import Progress
from dnnlib.tflib import tf
from dnnlib.util import StopRequested, UserError, sha256_file
from metrics import networks

# Streams of random numbers, so that no two purposes share any.
LATENTS, MIRROR, NOISE, PATH, MIXING, SUBSETS, HALVES = range(7)


class MetricFailure(Exception):
    """A metric that cannot be computed on this network or data: a sentence for the record and the table."""


def chunk_rng(seed, stream, chunk):
    """numpy's RandomState of one chunk."""
    return np.random.RandomState([seed & 0xFFFFFFFF, stream, chunk])


def chunk_seed(seed, stream, chunk):
    """An int32 [2] seed of one chunk for TensorFlow's stateless random ops."""
    digest = hashlib.sha256(f'{seed} {stream} {chunk}'.encode()).digest()
    return np.frombuffer(digest[:8], dtype='<i4').astype(np.int32)


class Context:
    """One generator in one graph and session, shared by the metrics of a group.

    Attributes:
        Gs: the measured network.
        network_path, network_name, network_sha256: where it comes from.
        num_gpus, seed: as given.
        mirror_augment: whether reals are mirrored at random, as in training.
        features: `networks.FeatureNetworks`.
        cache_dir: folder of statistics of reals; None: not kept.
        run_dir, out_dir: folders of the text lines and of the JSON records; None: not written.
        is_untrained: whether the network was given fresh weights.
        threads: numbers of threads within and between operations (0: TensorFlow's choice).
        should_stop: function that tells whether to break off; None: never.
    """

    def __init__(self, Gs, network_path, dataset_args=None, mirror_augment=False, num_gpus=1, seed=0,
                 features='auto', feature_settings=None, cache_dir=None, run_dir=None, out_dir=None,
                 should_stop=None):
        self.Gs = Gs
        self.network_path = network_path
        self.network_name = os.path.splitext(os.path.basename(network_path))[0]
        self.network_sha256 = sha256_file(network_path)
        self.num_gpus = num_gpus
        self.seed = seed
        self.mirror_augment = bool(mirror_augment)
        self.cache_dir = cache_dir
        self.run_dir = run_dir
        self.out_dir = out_dir
        self.should_stop = should_stop
        self.threads = None
        self.is_untrained = False
        self._dataset_args = dataset_args
        self._dataset = None
        if features == 'auto':
            features = networks.STANDIN if is_toyfaces(dataset_args) else networks.RELEASED
        self.features = networks.FeatureNetworks(features, feature_settings)
        self._copies = {0: Gs}
        self._watched = []

    def close(self):
        """Closes the data set's files."""
        if self._dataset is not None:
            self._dataset.close()
            self._dataset = None

    def check_stop(self):
        """Raises StopRequested if the work is to be broken off. Called between pieces of seconds."""
        if self.should_stop is not None and self.should_stop():
            raise StopRequested

    # ---- The data set

    @property
    def has_dataset(self):
        """Whether a data set was given."""
        return self._dataset_args is not None

    @property
    def dataset(self):
        """The data set, opened at the generator's resolution, in file order. Raises UserError."""
        if self._dataset is None:
            if self._dataset_args is None:
                raise UserError('this metric compares with real images: name the data set with --dataset DIR')
            args = dict(self._dataset_args, shuffle_mb=0, prefetch_mb=0)
            args.pop('max_label_size', None)
            args.setdefault('resolution', int(self.output_shape[-1]))
            self._dataset = dataset.load_dataset(**args)
            self._dataset.interrupt = self.check_stop
            if self._dataset.shape != list(self.output_shape) or self._dataset.dtype != 'uint8':
                raise UserError(f'the generator makes images of {list(self.output_shape)} but the data set holds '
                                f'{self._dataset.shape} {self._dataset.dtype}; choose the data set that the network '
                                'was trained on')
        return self._dataset

    # ---- The generator

    @property
    def output_shape(self):
        """[C, H, W] of the generator's images."""
        return list(self.Gs.output_shape[1:])

    @property
    def latent_size(self):
        """Length of z."""
        return self.Gs.input_shapes[0][1]

    def generator(self, index=0):
        """The generator on device number `index`; to be called within that device's scope."""
        if index not in self._copies:
            self._copies[index] = self.Gs.clone(f'{self.Gs.name}_device{index}')
        return self._copies[index]

    def parts(self, index=0):
        """(mapping, synthesis) networks of the generator on a device. Raises MetricFailure if it is not so divided."""
        components = self.generator(index).components
        if 'mapping' not in components or 'synthesis' not in components:
            raise MetricFailure(f"the generator '{self.Gs.name}' has no mapping and synthesis networks, so there is "
                                'no space W to measure')
        return components.mapping, components.synthesis

    def latents(self, chunk, count):
        """z of one chunk, float32 [count, latent_size]."""
        return chunk_rng(self.seed, LATENTS, chunk).randn(count, self.latent_size).astype(np.float32)

    def build_images(self, index, latents, seed):
        """The generator's images [N, C, H, W] for z, with fresh noise and zero labels, without truncation."""
        inputs = [latents] + [None] * (self.Gs.num_inputs - 1)
        with tflib.rnd.seed_scope(seed):
            return self.watch(self.generator(index).get_output_for(*inputs, is_validation=True, randomize_noise=True,
                                                                   seed=seed))

    def watch(self, images):
        """Returns generated images, entered for a check of every chunk for NaN.

        Features cannot tell: rectifiers turn NaN into 0, and the conversion to 8 bits does so too.
        """
        self._watched.append(tf.reduce_all(tf.math.is_finite(images)))
        return images

    # ---- Work in chunks

    def run_chunks(self, label, num_samples, chunk_size, inputs, build, feed, before=None):
        """Runs a graph once per chunk, on all devices in turn, and yields (chunk, first sample, count, outputs).

        Raises MetricFailure where a generated image holds NaN or infinite values, StopRequested between chunks.

        Args:
            label: what the progress display says.
            num_samples: total; the last chunk is computed in full, and its surplus is to be left out by `count`.
            chunk_size: samples per chunk.
            inputs: dict name -> (dtype, shape) of placeholders.
            build: function (device index, dict of placeholders) -> list of tensors.
            feed: function (chunk) -> dict name -> array.
            before: function (device index, placeholders) -> an operation to run first, or None.
        """
        towers = []
        for index in range(self.num_gpus):
            with tf.device(tflib.device_name(index)), tf.name_scope(f'Metric{index}'):
                holders = {name: tf.placeholder(dtype, shape, name=name) for name, (dtype, shape) in inputs.items()}
                self._watched = []
                outputs = list(build(index, holders)) + [tf.reduce_all(self._watched + [tf.constant(True)])]
                towers.append((holders, outputs, before(index, holders) if before else None))
        num_chunks = -(-num_samples // chunk_size)
        with Progress(label, num_samples, 'samples', stream=sys.stderr) as progress:
            for first in range(0, num_chunks, self.num_gpus):
                self.check_stop()
                active = list(zip(range(first, min(first + self.num_gpus, num_chunks)), towers))
                values = {}
                for chunk, (holders, _, _) in active:
                    values.update((holders[name], value) for name, value in feed(chunk).items())
                if before is not None:
                    tflib.run([operation for _, (_, _, operation) in active], values)
                results = tflib.run([outputs for _, (_, outputs, _) in active], values)
                for (chunk, _), outputs in zip(active, results):
                    start = chunk * chunk_size
                    count = min(chunk_size, num_samples - start)
                    if not outputs[-1]:
                        raise MetricFailure(f'generated images from number {start} on contain NaN or infinite values')
                    progress.add(count)
                    yield chunk, start, count, outputs[:-1]


def is_toyfaces(dataset_args):
    """Whether data set arguments name a set of drawn faces."""
    if not dataset_args or 'tfrecord_dir' not in dataset_args:
        return False
    folder = os.path.join(dataset_args.get('data_dir') or '', dataset_args['tfrecord_dir'])
    return os.path.isdir(folder) and manifest.read_manifest(folder).get('command') == 'create_toyfaces'
