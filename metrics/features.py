"""Streams of features of real and generated images, statistics of reals kept by content, and what compares them."""

import contextlib
import hashlib
import json
import os

import numpy as np

from dnnlib import tflib
from dnnlib.array_files import read_npz, temporary_array
from dnnlib.files import make_folders
from dnnlib.tflib import tf
from dnnlib.util import UserError, atomic_path
from metrics.arithmetic import MeanCovariance
from metrics.base import MetricBase
from metrics.context import MIXING, MetricFailure, chunk_rng
from metrics.scores.result import Result

CACHE_VERSION = 1
NUM_GROUPS = 4  # parts of the fakes, from which halves are put together


def to_rgb(images):
    """[N, 1, H, W] repeated to three channels; [N, 3, H, W] as it is. Raises MetricFailure otherwise."""
    channels = images.shape.as_list()[1]
    if channels == 1:
        return tf.tile(images, [1, 3, 1, 1])
    if channels != 3:
        raise MetricFailure(f'images with {channels} channels have no Inception features')
    return images


def _checked(features, what, start):
    if not np.all(np.isfinite(features)):
        raise MetricFailure(f'the features of {what} from number {start} on contain NaN or infinite values')
    return features


def real_features(ctx, num_images, chunk_size, at_random=False):
    """Yields features [n, D] of reals in data set order, repeating if there are fewer, mirrored if training did so.

    `at_random`: in an order that is drawn with the seed, so that fewer than all are a fair sample.
    """
    network = ctx.features.inception()
    shape = [None] + list(ctx.dataset.shape)

    def build(index, holders):
        return [network.on_device(index).get_output_for(to_rgb(tf.cast(holders['images'], tf.float32)))]

    def feed(chunk):
        return {'images': ctx.reals(chunk, chunk_size, at_random)}

    for _, start, count, (features,) in ctx.run_chunks('features of reals', num_images, chunk_size,
                                                       {'images': (tf.uint8, shape)}, build, feed,
                                                       graph=('features of reals',)):
        yield _checked(features[:count], 'reals', start)


def decoded_features(ctx, num_images, chunk_size):
    """Yields (chunk, features [n, D]) of the codes of a data set in its order, decoded and rounded to 8 bits.

    Raises MetricFailure without a decoder or codes.
    """
    network = ctx.features.inception()
    codes = ctx.codes
    if codes is None or 'decoder' not in ctx.Gs.components:
        raise MetricFailure('the generator has no decoder of codes, or its data set holds none')

    def build(index, holders):
        images = ctx.watch(ctx.generator(index).components['decoder'].get_output_for(holders['codes']))
        return [network.on_device(index).get_output_for(to_rgb(tf.cast(tflib.convert_images_to_uint8(images),
                                                                       tf.float32)))]

    def feed(chunk):
        samples, _ = codes.get_samples_np((chunk * chunk_size + np.arange(chunk_size)) % codes.num_images)
        return {'codes': samples.astype(np.float32)}

    inputs = {'codes': (tf.float32, [chunk_size] + list(codes.shape))}
    for chunk, start, count, (features,) in ctx.run_chunks('features of decoded codes', num_images, chunk_size, inputs,
                                                           build, feed):
        yield chunk, _checked(features[:count], 'decoded codes', start)


def fake_features(ctx, num_images, chunk_size, num_mixed=1):
    """Yields (chunk, features [n, D]) of generated images, rounded to 8 bits.

    `num_mixed` latents control consecutive layers each, with crossover points drawn per image.
    """
    network = ctx.features.inception()
    is_mixed = num_mixed > 1
    inputs = ctx.placeholders(None if is_mixed else chunk_size, chunk_size)     # one graph for any number of them
    if is_mixed:
        inputs['owner'] = (tf.int32, [chunk_size, num_mixable_layers(ctx, num_mixed)])

    def build(index, holders):
        images = _mixed_images(ctx, index, holders) if is_mixed else ctx.build_images(index, holders)
        images = tflib.convert_images_to_uint8(images)
        return [network.on_device(index).get_output_for(to_rgb(tf.cast(images, tf.float32)))]

    def feed(chunk):
        values = ctx.feed_inputs(chunk, chunk_size * num_mixed, chunk_size)
        if is_mixed:
            rng = chunk_rng(ctx.seed, MIXING, chunk)
            values['owner'] = np.stack([mixing_owners(rng, inputs['owner'][1][1], num_mixed)
                                        for _ in range(chunk_size)])
        return values

    for chunk, start, count, (features,) in ctx.run_chunks('features of fakes', num_images, chunk_size, inputs, build,
                                                           feed, graph=('features of fakes', chunk_size, is_mixed)):
        yield chunk, _checked(features[:count], 'fakes', start)


def mixing_owners(rng, num_layers, num_mixed):
    """Which of the latents 0...num_mixed-1 controls each layer: int32 [num_layers], non-decreasing.

    The num_mixed - 1 crossover points are drawn without repetition from 1...num_layers-1, so every latent has a layer.
    """
    crossovers = rng.choice(np.arange(1, num_layers), num_mixed - 1, replace=False)
    return np.searchsorted(np.sort(crossovers), np.arange(num_layers), side='right').astype(np.int32)


def num_mixable_layers(ctx, num_mixed):
    """Layers that take a style each. Raises MetricFailure if they are too few for so many latents."""
    shape = ctx.parts()[1].input_shape
    num_layers = shape[1] if len(shape) == 3 else 1
    if num_layers < num_mixed:
        raise MetricFailure(f'{num_mixed} latents cannot be mixed: the generator '
                            + (f'has {num_layers} layers that take a style' if num_layers > 1 else
                               'takes no style in its layers'))
    return num_layers


def _mixed_images(ctx, index, holders):
    """Images [N, C, H, W] whose layers follow the latents that `owner` [N, layers] says, of as many as are fed."""
    mapping, synthesis = ctx.parts(index)
    num_images, num_layers = holders['owner'].shape.as_list()
    num_mixed = tf.shape(holders['latents'])[0] // num_images
    dlatents = mapping.get_output_for(holders['latents'], *ctx.label_inputs(mapping, holders, num_mixed))
    dlatents = tf.reshape(dlatents, [num_mixed, num_images, num_layers, dlatents.shape.as_list()[-1]])
    images, layers = np.indices([num_images, num_layers], np.int32)
    mixed = tf.gather_nd(dlatents, tf.stack([holders['owner'], images, layers], axis=2))
    return ctx.watch(synthesis.get_output_for(mixed, randomize_noise=True, seed=holders['seed'], one_by_one=True))


# ---- Statistics

def fake_statistics(ctx, num_images, chunk_size, num_mixed=1):
    """[MeanCovariance] * NUM_GROUPS of disjoint parts of the fakes, chunk by chunk in turn."""
    return _in_groups(fake_features(ctx, num_images, chunk_size, num_mixed))


def decoded_statistics(ctx, num_images, chunk_size):
    """The same of decoded codes."""
    return _in_groups(decoded_features(ctx, num_images, chunk_size))


def _in_groups(stream):
    groups = None
    for chunk, features in stream:
        if groups is None:
            groups = [MeanCovariance(features.shape[1]) for _ in range(NUM_GROUPS)]
        groups[chunk % NUM_GROUPS].add(features)
    return groups


def real_protocol(ctx, num_images, chunk_size, at_random=False):
    """What statistics of reals depend on; equal dicts give equal statistics."""
    return dict(
        dict(reals=['random', ctx.seed]) if at_random else {},
        version=CACHE_VERSION, dataset=ctx.dataset.fingerprint, num_images=num_images,
        mirror_augment=ctx.mirror_augment, mirror_seed=[ctx.seed, chunk_size] if ctx.mirror_augment else None,
        features=ctx.features.inception().record['weights_sha256'],
        # Devices and engines round differently.
        engine=f'{tf.__version__} {tflib.device_kind()}', chunk_size=chunk_size)


def _cache_path(ctx, protocol, what, suffix):
    key = hashlib.sha256(json.dumps(protocol, sort_keys=True).encode()).hexdigest()
    return os.path.join(ctx.cache_dir, 'metrics', f'{what}-{key[:40]}{suffix}')


def real_statistics(ctx, num_images, chunk_size, at_random=False):
    """MeanCovariance of the reals' features, from the cache where it holds those of the very same protocol."""
    protocol = real_protocol(ctx, num_images, chunk_size, at_random)
    path = _cache_path(ctx, protocol, 'real-statistics', '.npz') if ctx.cache_dir else None
    stored = None
    if path is not None and os.path.exists(path):
        stored = _load_statistics(path, protocol)
    if ctx.share.count(stored is not None) == ctx.share.size:
        return stored
    statistics = None
    for features in real_features(ctx, num_images, chunk_size, at_random):
        if statistics is None:
            statistics = MeanCovariance(features.shape[1])
        statistics.add(features)
    if path is not None:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
            make_folders(os.path.dirname(path))
            with atomic_path(path) as temp:
                np.savez(temp, protocol=json.dumps(protocol, sort_keys=True), **statistics.state())
    return statistics


def given_statistics(ctx, reference):
    """MeanCovariance from a `metrics.sets.sources.Statistics`, which stands for the reals of the present metric.

    Raises UserError if other features than those of the fakes were taken.
    """
    reference.check_features(ctx.features.inception().record)
    ctx.reference = reference
    return reference.values


def _load_statistics(path, protocol):
    """What the cache holds; None if there is any doubt, so that it is computed anew and replaced."""
    try:
        stored = read_npz(path, allow_text=True)
        if str(stored['protocol']) != json.dumps(protocol, sort_keys=True):
            return None
        statistics = MeanCovariance.from_state(stored)
        is_sound = statistics.num_samples == protocol['num_images'] and all(
            np.all(np.isfinite(values)) for values in (statistics.mean, statistics.covariance))
    except (UserError, ArithmeticError, LookupError, TypeError, ValueError, MemoryError):
        return None
    return statistics if is_sound else None


def stored_features(stream, num_images):
    """A float32 array [num_images, D] on the disk, for a while, that holds a stream of [n, D] arrays."""
    array, start = None, 0
    for features in stream:
        if array is None:
            array = temporary_array([num_images, features.shape[1]], np.float32, 'features')
        array[start:start + len(features)] = features
        start += len(features)
    assert start == num_images, (start, num_images)
    return array


def notes_on_reals(ctx, num_images, num_features):
    """Sentences on what limits the meaning of a comparison with this data set."""
    notes = []
    given = None if ctx.reference is None else ctx.reference.values.num_samples
    if given is None and ctx.dataset.num_images < num_images:
        notes.append(f'the data set has only {ctx.dataset.num_images} images, which were repeated to {num_images}')
    if (given or ctx.dataset.num_images) <= num_features:
        notes.append(f'the data set has no more images than there are features ({num_features}): the statistics of '
                     'reals are singular')
    return notes


class FeatureSetMetric(MetricBase):
    """A metric that compares all Inception features of equally many reals and fakes, not only their statistics.

    Args:
        num_images: reals and fakes, each; a whole number from 2 to 1e9
        minibatch_per_gpu: images per chunk; a whole number from 1 to 1e6
    """

    uses_dataset = True
    uses_networks = ('inception',)

    def __init__(self, num_images, minibatch_per_gpu, **kwargs):
        super().__init__(**kwargs)
        self._check_numbers(2, num_images=num_images)
        self._check_numbers(1, minibatch_per_gpu=minibatch_per_gpu)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu

    def _compare(self, ctx, real, fake, result):
        """Enters into the result what features [num_images, D] of reals and of fakes, float32 on the disk, say."""
        raise NotImplementedError

    def _evaluate(self, ctx):
        result = Result()
        result.problems += notes_on_reals(ctx, self.num_images, ctx.features.inception().net.output_shape[1])
        args = (ctx, self.num_images, self.minibatch_per_gpu)
        fakes = (part for _, part in fake_features(*args))
        self._compare(ctx, stored_features(real_features(*args), self.num_images),
                      stored_features(fakes, self.num_images), result)
        return result
