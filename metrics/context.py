"""What a metric works with: the measured generator, the data set, feature networks, devices and seeds.

All random numbers are a function of (seed, stream, chunk): samples are made in chunks of fixed size, each with its own
seed, so that results do not depend on how many devices share the work.
"""

import contextlib
import hashlib
import os
import tempfile
from collections import OrderedDict

import numpy as np

import config
from data.records import dataset
from data.records.base import resolution_of
from data.records.source import image_arguments
from dnnlib import tflib
from dnnlib.progress import Progress
from dnnlib.seeds import check_seed
from dnnlib.tflib import network_state, tf
from dnnlib.util import StopRequested, UserError, sha256_file
from metrics.networks.choice import choose_source
from metrics.networks.feature_networks import FeatureNetworks
from metrics.share import Alone, MetricFailure
from training.codes import style_parts
from training.network_files.data import data_of
from training.network_files.labels import choose as choose_labels
from training.network_files.locate import load_generator, locate

# Streams of random numbers, so that no two purposes share any.
LATENTS, MIRROR, NOISE, PATH, MIXING, SUBSETS, HALVES, LABELS, REALS = range(9)


class NetworkUnusable(UserError):
    """The file of the network that was to be measured cannot be used."""


def chunk_rng(seed, stream, chunk):
    """numpy's RandomState of one chunk."""
    return np.random.RandomState([seed, stream, chunk])


def chunk_seed(seed, stream, chunk):
    """An int32 [2] seed of one chunk for TensorFlow's stateless random ops."""
    digest = hashlib.sha256(f'{seed} {stream} {chunk}'.encode()).digest()
    return np.frombuffer(digest[:8], dtype='<i4').astype(np.int32)


class Context:
    """One generator in one graph and session, shared by the metrics of a group.

    Attributes:
        Gs: the measured network.
        network: `training.network_files.locate.Located`, where it comes from.
        network_name, network_sha256: of its file.
        num_gpus, seed: as given.
        mirror_augment: whether reals are mirrored at random, as in training.
        features: `networks.feature_networks.FeatureNetworks`.
        cache_dir: folder of statistics of reals; None: not kept.
        run_dir, out_dir: folders of the text lines and of the JSON records; None: not written.
        is_untrained: whether the network was given fresh weights.
        fake_labels: `training.network_files.labels.FakeLabels`, what generated images are made with.
        threads: numbers of threads within and between operations (0: TensorFlow's choice).
        reference: `metrics.sets.sources.Statistics` that stand for the reals of the present metric, or None.
        uses_reals: whether anybody has looked at the data set since `begin_metric`.
        should_stop: function that tells whether to break off; None: never.
        share: `share.Share` of this process in what several measure together.
    """

    def __init__(self, Gs, network, features, dataset_args=None, mirror_augment=False, num_gpus=1, seed=0,
                 feature_settings=None, cache_dir=None, run_dir=None, out_dir=None,
                 should_stop=None, labels=None):
        self.Gs = Gs
        self.network = network
        self.network_name = network.name
        self.network_sha256 = network.sha256
        self.num_gpus = num_gpus
        self.seed = check_seed(seed)
        self.mirror_augment = bool(mirror_augment)
        self.cache_dir = cache_dir
        self.run_dir = run_dir
        self.out_dir = out_dir
        self.should_stop = should_stop
        self.share = Alone()
        self.threads = None
        self.is_untrained = False
        self.uses_reals = False
        self.reference = None
        self._dataset_args = dataset_args
        self._dataset = self._codes = self._order = None
        self.features = FeatureNetworks(features, feature_settings)
        self._scratch = None
        self.fake_labels = choose_labels(labels, Gs.input_shapes[1][1] if Gs.num_inputs > 1 else 0, network.path)
        self._copies = {0: Gs}
        self._towers = {}
        self._watched = []

    def forget_training(self):
        """Gives the network fresh weights, by which records know it from now on."""
        self.Gs.reset_vars()
        self.is_untrained = True
        self.network_name += '-untrained'
        self.network_sha256 = network_state.weights_hash(self.Gs)

    @property
    def scratch_dir(self):
        """A temporary folder that goes when the context closes."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix='metrics-')
        return self._scratch.name

    def facts(self):
        """What a record says of what was measured: the network, and what the present metric has used."""
        used = OrderedDict(self.features.used)
        facts = OrderedDict(
            network=self.network_name, network_file=os.path.abspath(self.network.path),
            network_taken=self.network.taken, network_sha256=self.network_sha256, sample_shape=self.output_shape,
            dataset_fingerprint=self.dataset.fingerprint if self.uses_reals else None,
            dataset_images=self.dataset.num_images if self.uses_reals else None,
            mirror_augment=self.mirror_augment if self.uses_reals else None,
            feature_networks=used, is_standin=any(network['is_standin'] for network in used.values()))
        if self.reference is not None:
            facts.update(self.reference.as_reals())
        facts.update(self.fake_labels.facts())
        return facts

    def close(self):
        """Closes the data set's files and deletes what was temporary."""
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None
        for data in (self._dataset, self._codes):
            if data is not None:
                data.close()
        self._dataset = self._codes = None

    def begin_metric(self):
        """Forgets what the metric before used: its record names the data set and the networks that it worked with."""
        self.uses_reals, self.reference = False, None
        self.features.used.clear()

    def check_stop(self):
        """Raises StopRequested if the work is to be broken off. Called between pieces of seconds."""
        if self.should_stop is not None and self.should_stop():
            raise StopRequested

    # ---- The data set

    @property
    def dataset_arguments(self):
        """`load_dataset` keywords of the data set. Raises UserError where none was given."""
        if self._dataset_args is None:
            raise UserError('this metric compares with real images: name the data set with --dataset DIR')
        return dict(image_arguments(self._dataset_args))    # of codes, the images that they stand for

    @property
    def dataset(self):
        """The data set, opened at the generator's resolution, in file order. Raises UserError."""
        if self._dataset is None:
            args = dataset.in_file_order(self.dataset_arguments)
            args.pop('max_label_size', None)
            args.setdefault('resolution', resolution_of(self.output_shape))
            self._dataset = dataset.load_dataset(**args)
            self._dataset.interrupt = self.check_stop
            if self._dataset.shape != self.output_shape or self.makes_images and self._dataset.dtype != 'uint8':
                raise UserError(f'the generator makes samples of {self.output_shape} but the data set holds '
                                f'{self._dataset.shape} {self._dataset.dtype}; choose the data set that the network '
                                'was trained on')
        self.uses_reals = True
        return self._dataset

    def dataset_keywords(self):
        """`load_dataset` keywords, without `data_dir`, of the same data set in the same order. Raises UserError."""
        args = dict(dataset.in_file_order(self.dataset_arguments), resolution=resolution_of(self.dataset.shape))
        data_dir = args.pop('data_dir', None)
        if 'tfrecord_dir' in args:
            args['tfrecord_dir'] = os.path.abspath(os.path.join(data_dir or '', args['tfrecord_dir']))
        return args

    @property
    def codes(self):
        """The data set of codes that the generator was trained on, in file order; None for one of images."""
        args = self._dataset_args
        if self._codes is None and args is not None and image_arguments(args) is not args:
            self._codes = dataset.load_dataset(**dataset.in_file_order(args))
        return self._codes

    def reals(self, chunk, size, at_random=False):
        """A chunk of the reals, uint8 [size, C, H, W]: in data set order, repeating, mirrored if training did so.

        `at_random`: in an order that is a function of the seed.
        """
        indices = (chunk * size + np.arange(size)) % self.dataset.num_images
        if at_random:
            if self._order is None:
                self._order = chunk_rng(self.seed, REALS, 0).permutation(self.dataset.num_images)
            indices = self._order[indices]
        images, _ = self.dataset.get_samples_np(indices)
        if self.mirror_augment:
            flip = chunk_rng(self.seed, MIRROR, chunk).rand(size) < 0.5
            images = np.where(flip[:, np.newaxis, np.newaxis, np.newaxis], images[:, :, :, ::-1], images)
        return images

    # ---- The generator

    @property
    def output_shape(self):
        """[C, H, W] of the generator's images, [C] of other samples."""
        return list(self.Gs.output_shape[1:])

    @property
    def makes_images(self):
        """Whether the generator makes images."""
        return len(self.output_shape) == 3

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
        parts = style_parts(self.generator(index))
        if parts is None:
            raise MetricFailure(f"the generator '{self.Gs.name}' has no mapping and synthesis networks, so there is "
                                'no space W to measure')
        return parts

    def latents(self, chunk, count):
        """z of one chunk, float32 [count, latent_size]."""
        return chunk_rng(self.seed, LATENTS, chunk).randn(count, self.latent_size).astype(np.float32)

    def labels(self, chunk, count):
        """Labels of one chunk of generated images, float32 [count, label_size]."""
        return self.fake_labels.draw(count, chunk_rng(self.seed, LABELS, chunk))

    def placeholders(self, num_latents, num_images=None):
        """What `run_chunks` has to know of the inputs that `feed_inputs` gives: dict name -> (dtype, shape).

        `num_latents` may be None, any number, where `num_images` is given.
        """
        inputs = {'latents': (tf.float32, [num_latents, self.latent_size]), 'seed': (tf.int32, [2])}
        if self.fake_labels.label_size:
            inputs['labels'] = (tf.float32, [num_images or num_latents, self.fake_labels.label_size])
        return inputs

    def feed_inputs(self, chunk, num_latents, num_images=None):
        """z, labels and the seed of the noise of one chunk; as many labels as images."""
        values = {'latents': self.latents(chunk, num_latents), 'seed': chunk_seed(self.seed, NOISE, chunk)}
        if self.fake_labels.label_size:
            values['labels'] = self.labels(chunk, num_images or num_latents)
        return values

    def label_inputs(self, network, holders, repeats=1):
        """The inputs of a network after z, from the placeholders: labels, `repeats` times over, if there are any.

        `repeats` may be a tensor.
        """
        labels = holders.get('labels')
        if labels is not None and (tflib.is_tf_expression(repeats) or repeats > 1):
            labels = tf.tile(labels, [repeats, 1])
        return [labels] * (network.num_inputs - 1)

    def build_images(self, index, holders):
        """The generator's images [N, C, H, W] of what `feed_inputs` gives, with fresh noise, without truncation."""
        generator, seed = self.generator(index), holders['seed']
        with tflib.rnd.seed_scope(seed):
            return self.watch(generator.get_output_for(holders['latents'], *self.label_inputs(generator, holders),
                                                       is_validation=True, randomize_noise=True, seed=seed))

    def watch(self, images):
        """Returns generated images, entered for a check of every chunk for NaN.

        Features cannot tell: rectifiers turn NaN into 0, and the conversion to 8 bits does so too.
        """
        self._watched.append(tf.reduce_all(tf.math.is_finite(images)))
        return images

    # ---- Work in chunks

    def run_chunks(self, label, num_samples, chunk_size, inputs, build, feed, before=None, graph=None):
        """Runs a graph once per chunk, on all devices in turn, and yields (chunk, first sample, count, outputs).

        Where several processes share the work, each computes its share of the chunks and gets the outputs of all.

        Raises MetricFailure where a generated image holds NaN or infinite values, StopRequested between chunks.

        Args:
            label: what the progress display says.
            num_samples: total; the last chunk is computed in full, and its surplus is to be left out by `count`.
            chunk_size: samples per chunk.
            inputs: dict name -> (dtype, shape) of placeholders.
            build: function (device index, dict of placeholders) -> list of tensors.
            feed: function (chunk) -> dict name -> array.
            before: function (device index, placeholders) -> an operation to run first, or None.
            graph: a tuple that equal graphs share, whichever metric builds them, and no other: what they compute, and
                all that `inputs`, `build` and `before` depend on. Such a graph is built once. None: built anew.
        """
        towers = None if graph is None else self._towers.get(graph)
        if towers is None:
            towers = [self._build_tower(index, inputs, build, before) for index in range(self.num_gpus)]
            if graph is not None:
                self._towers[graph] = towers
        with Progress(label, num_samples, 'samples', stream=self.share.stream()) as progress:
            for chunk, outputs in self._outputs_of_chunks(-(-num_samples // chunk_size), towers, feed):
                start = chunk * chunk_size
                count = min(chunk_size, num_samples - start)
                if not outputs[-1]:
                    raise MetricFailure(f'generated images from number {start} on contain NaN or infinite values')
                progress.add(count)
                yield chunk, start, count, outputs[:-1]

    def _build_tower(self, index, inputs, build, before):
        """A device's (placeholders by name, outputs of `build` and whether images are finite, operation before)."""
        with tf.device(tflib.device_name(index)), tf.name_scope(f'Metric{index}'):
            holders = {name: tf.placeholder(dtype, shape, name=name) for name, (dtype, shape) in inputs.items()}
            self._watched = []
            outputs = list(build(index, holders)) + [tf.reduce_all(self._watched + [tf.constant(True)])]
            return holders, outputs, before(index, holders) if before else None

    def _outputs_of_chunks(self, num_chunks, towers, feed):
        """Yields (chunk, its outputs) in order."""
        number, size = self.share.number, self.share.size
        for first in range(0, num_chunks, self.num_gpus * size):
            self.check_stop()
            mine = range(first + number * self.num_gpus, first + (number + 1) * self.num_gpus)
            if size > 1:    # where there are too few at the end, some are computed twice, so that shapes are equal
                mine = [min(chunk, num_chunks - 1) for chunk in mine]
            active = [(chunk, tower) for chunk, tower in zip(mine, towers) if chunk < num_chunks]
            values = {}
            for chunk, (holders, _, _) in active:
                values.update((holders[name], value) for name, value in feed(chunk).items())
            operations = [operation for _, (_, _, operation) in active if operation is not None]
            if operations:
                tflib.run(operations, values)
            results = tflib.run([outputs for _, (_, outputs, _) in active], values)
            for chunk, outputs in zip(range(first, num_chunks), self.share.gather(results)):
                yield chunk, outputs


class Unopened:
    """Stands in for a `Context` that could not be opened: what the record of a failure can still say."""

    is_untrained = False
    threads = None

    def __init__(self, network_pkl, run_dir=None, out_dir=None, seed=0, num_gpus=1):
        self._path = os.fspath(getattr(network_pkl, 'path', network_pkl))
        self.run_dir, self.seed, self.num_gpus = run_dir, seed, num_gpus
        self._name = os.path.splitext(os.path.basename(self._path))[0]
        self.out_dir = out_dir or run_dir and os.path.join(run_dir, 'metrics', self._name)

    def facts(self):
        """What a record says of the network."""
        facts = OrderedDict(network=self._name, network_file=os.path.abspath(self._path))
        with contextlib.suppress(OSError):
            facts['network_sha256'] = sha256_file(self._path)
        return facts


def _graph_seed(seed):
    """What TensorFlow draws initial weights from, which takes seeds modulo 2 ** 31 - 1: larger ones are spread."""
    limit = 2 ** 31 - 1
    return seed if seed < limit else int.from_bytes(hashlib.sha256(b'%d' % seed).digest()[:8], 'little') % limit


@contextlib.contextmanager
def open_context(network_pkl, run_dir=None, dataset_args=None, mirror_augment=None, features='auto', out_dir=None,
                 seed=0, **options):
    """Yields a `Context` for whatever names a network. What is not given follows from the run that it comes from.

    Args:
        network_pkl, run_dir, dataset_args, mirror_augment: see `metrics.base.MetricBase.run`.
        features: 'released', 'standin', or 'auto': stand-ins for drawn faces, else the released networks.
        out_dir: folder of JSON records; default: `metrics/<snapshot>` in the run directory, if there is one.
        seed, **options: of `open_located`.
    """
    check_seed(seed)
    found = locate(network_pkl)
    if dataset_args and 'data_dir' not in dataset_args and not os.path.isdir(dataset_args.get('tfrecord_dir', '.')):
        dataset_args = dict(dataset_args, data_dir=config.data_dir)  # the original's programs name it within there
    dataset_args, mirror_augment = data_of(run_dir or found.run_dir, dataset_args, mirror_augment)
    if out_dir is None and run_dir is not None:
        out_dir = os.path.join(run_dir, 'metrics', found.name)
    with open_located(found, choose_source(features, dataset_args), run_dir=run_dir, dataset_args=dataset_args,
                      mirror_augment=mirror_augment, out_dir=out_dir, seed=seed, **options) as ctx:
        yield ctx


@contextlib.contextmanager
def open_located(found, features, run_dir=None, dataset_args=None, mirror_augment=False, num_gpus=1, tf_config=None,
                 seed=0, feature_settings=None, out_dir=None, cache_dir='default', trust_stored_code=False,
                 untrained=False, should_stop=None, labels=None):
    """Yields a `Context` for one network, in a fresh graph and session.

    Args:
        found: `training.network_files.locate.Located`.
        features: source of feature networks, see `networks.choice.choose_source`.
        run_dir, dataset_args, mirror_augment, num_gpus, tf_config: see `metrics.base.MetricBase.run`.
        seed: all random numbers follow from it; 0 to 2 ** 32 - 1.
        feature_settings: see `networks.feature_networks.FeatureNetworks`.
        out_dir: folder of JSON records; None: not written.
        cache_dir: folder of statistics of reals; None: not kept.
        trust_stored_code: execute code stored in the pickle where its build function is not ours.
        should_stop: function that is asked between chunks whether to break off with StopRequested; None: never.
        labels: of generated images, see `training.network_files.labels.choose`; by default those of the data.
        untrained: give the network fresh initial weights, for a baseline; its name gets the suffix `-untrained`.

    Raises NetworkUnusable for a network that cannot be read or built, UserError for all else.
    """
    seed = check_seed(seed)
    if cache_dir == 'default':
        cache_dir = config.cache_dir
    tf_config = dict({'gpu_options.allow_growth': True, 'allow_soft_placement': True}, **dict(tf_config or {}))
    if tflib.device_kind() == 'cpu':
        tf_config['device_count.CPU'] = max(num_gpus, tf_config.get('device_count.CPU', 1))
    with tf.Graph().as_default():
        tf.set_random_seed(_graph_seed(seed))
        with tflib.create_session(tf_config).as_default():
            with tf.device(tflib.device_name(0)):
                try:
                    Gs = load_generator(found, trust_stored_code)
                except UserError as err:
                    raise NetworkUnusable(str(err)) from err
            ctx = Context(Gs, found, features, dataset_args, mirror_augment, num_gpus, seed, feature_settings,
                          cache_dir, run_dir, out_dir, should_stop, labels)
            if untrained:
                ctx.forget_training()
            ctx.threads = [tf_config.get(f'{kind}_op_parallelism_threads', 0) for kind in ('intra', 'inter')]
            try:
                yield ctx
            finally:
                ctx.close()
