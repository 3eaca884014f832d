"""FID, KID, precision and recall of one set of images against another; every image of both counts once."""

import contextlib
import sys
import time
from collections import OrderedDict

import numpy as np

from dnnlib import tflib
from dnnlib.errors import UserError
from dnnlib.progress import Progress
from dnnlib.tflib import tf
from metrics.arithmetic import MeanCovariance, few_samples_note, frechet_distance
from metrics.context import SUBSETS, MetricFailure, chunk_rng
from metrics.features import to_rgb
from metrics.neighbours import kernel_distance_subsets, precision_recall
from metrics.networks.choice import RELEASED, STANDIN, choose_source
from metrics.networks.feature_networks import FeatureNetworks
from metrics.presets import of_sets
from metrics.scores import records, store
from metrics.sets.sources import Statistics

NUM_SUBSETS, SUBSET_SIZE = 100, 1000    # of KID (Binkowski et al. 2018)
NEIGHBOURHOOD = 3                       # of precision and recall (Kynkaanniemi et al. 2019)


class Features:
    """Features of a set: `values` float32 [N, D], and `facts` about them. Statistics have no values."""

    def __init__(self, source, network, minibatch, mirrored=False):
        self.name = source.name
        self.num_images = source.num_images * (2 if mirrored else 1)
        self.values = _compute(source, network, minibatch, mirrored)
        if not np.all(np.isfinite(self.values)):
            raise UserError(f'the features of {source.name} contain NaN or infinite values')
        self.fingerprint = source.fingerprint()     # of a folder: what was read

    def statistics(self):
        """Their MeanCovariance."""
        return statistics_of(self.values)


def statistics_of(values):
    """MeanCovariance of features [N, D]."""
    result = MeanCovariance(values.shape[1])
    for start in range(0, len(values), 1000):
        result.add(values[start:start + 1000])
    return result


def _compute(source, network, minibatch, mirrored):
    with tf.device(tflib.device_name(0)):
        holder = tf.placeholder(tf.uint8, [None] + list(source.shape))
        try:
            features = network.on_device(0).get_output_for(to_rgb(tf.cast(holder, tf.float32)))
        except MetricFailure as err:
            raise UserError(f'{source.name}: {err}') from None
    parts = []
    with Progress(f'features of {source.name}', source.num_images, 'images', stream=sys.stderr) as progress:
        for start in range(0, source.num_images, minibatch):
            batch = source.read(start, min(minibatch, source.num_images - start))
            parts += [tflib.run(features, {holder: flipped}) for flipped in
                      ([batch, batch[:, :, :, ::-1]] if mirrored else [batch])]
            progress.add(len(batch))
    return np.concatenate(parts)


def choose_features(asked, references):
    """The FeatureNetworks for what the user asks, see `choice.choose_source`.

    With 'auto' those that stored statistics were taken with; else stand-ins if a reference is a set of drawn faces.
    """
    stored = [part.facts['is_standin'] for part in references if isinstance(part, Statistics)]
    if asked == 'auto' and stored:
        return FeatureNetworks(STANDIN if stored[0] else RELEASED)
    args = [part.dataset_args for part in references if getattr(part, 'dataset_args', None) is not None]
    return FeatureNetworks(choose_source(asked, args))


def take_statistics(source, features='auto', minibatch=25, mirrored=False):
    """(MeanCovariance, facts) of a set, for `sources.write_statistics`."""
    _need_images(source, '--reference')
    with _session():
        networks = choose_features(features, [source])
        network = networks.inception()
        found = Features(source, network, minibatch, mirrored)
    return found.statistics(), OrderedDict(
        name=found.name, fingerprint=found.fingerprint, num_images=found.num_images, mirror_augment=mirrored,
        weights_sha256=network.record['weights_sha256'], features=network.record['name'],
        is_standin=network.record['is_standin'], **records.environment())


def compare(names, images, reference, features='auto', minibatch=25, seed=0, mirrored=False, out_dir=None):
    """Measures, prints and stores the scores of a set of images against a reference. Returns the records.

    Args:
        names: of OF_SETS.
        images, reference: from `sources.open_set`; statistics as reference do for `fid` alone.
        features: 'released', 'standin' or 'auto'.
        minibatch: images at a time; seed: chooses KID's subsets.
        mirrored: whether the reference's images count a second time as their mirror images.
        out_dir: folder of the records; None: none are written.

    Raises UserError.
    """
    names = of_sets(names)
    _need_images(images, '--images')
    is_stored = isinstance(reference, Statistics)
    if is_stored and (list(names) != ['fid'] or mirrored):
        raise UserError(f'--reference: {reference.path} holds mean and covariance, which do for fid alone, mirrored or '
                        'not as they were taken; kid and pr need the images themselves')
    began, found = time.time(), []
    with _session():
        networks = choose_features(features, [images, reference])
        network = networks.inception()
        if is_stored:
            reference.check_features(network.record)
        else:
            real = Features(reference, network, minibatch, mirrored)
        fake = Features(images, network, minibatch)
        for name in names:
            score = _frechet(reference.values if is_stored else real.statistics(), fake) if name == 'fid' else \
                _kernel(real, fake, seed) if name == 'kid' else _precision_recall(real, fake)
            facts = reference.facts if is_stored else dict(
                fingerprint=real.fingerprint, num_images=real.num_images, mirror_augment=mirrored)
            found.append(_record(name, score, fake, reference.name, facts, networks, seed, time.time() - began))
    for record in found:
        print(_line(record), flush=True)
        if out_dir is not None:
            store.put(out_dir, record)
    return found


def _need_images(source, option):
    if isinstance(source, Statistics):
        raise UserError(f'{option}: {source.path} holds statistics; a folder of pictures or a data set is needed')
    if source.num_images < 2:
        raise UserError(f'{option}: {source.name} holds a single image; at least 2 are needed')


@contextlib.contextmanager
def _session():
    with tf.Graph().as_default(), tflib.create_session({'gpu_options.allow_growth': True}).as_default():
        yield


# ---- The scores: {value name's suffix: value}, problems, details


def _frechet(real, fake):
    part = fake.statistics()
    note = few_samples_note(min(real.num_samples, part.num_samples), real.num_features)
    value = frechet_distance(real.mean, real.covariance, part.mean, part.covariance)
    return {'': value}, [note] if note else [], dict(num_features=real.num_features)


def _kernel(real, fake, seed):
    subset_seed = int(chunk_rng(seed, SUBSETS, 0).randint(2 ** 31))
    values = kernel_distance_subsets(real.values, fake.values, NUM_SUBSETS, SUBSET_SIZE, subset_seed)
    size = min(SUBSET_SIZE, len(real.values), len(fake.values))
    return {'': np.mean(values)}, [], dict(num_subsets=NUM_SUBSETS, subset_size=size,
                                           deviation_of_subsets=np.std(values))


def _precision_recall(real, fake):
    least = min(len(real.values), len(fake.values))
    if least <= NEIGHBOURHOOD:
        raise UserError(f'pr needs more than {NEIGHBOURHOOD} images on each side, not {least}')
    precision, recall, _, _ = precision_recall(real.values, fake.values, NEIGHBOURHOOD)
    return {'_precision': precision, '_recall': recall}, [], dict(neighbourhood=NEIGHBOURHOOD)


def _record(name, score, fake, reference_name, facts, networks, seed, seconds):
    values, problems, details = score
    record = OrderedDict(metric=name)
    if list(values) == ['']:
        record['value'] = values['']
    else:
        record['values'] = OrderedDict((name + suffix, value) for suffix, value in values.items())
    record.update(
        images=fake.name, reference=reference_name, dataset_fingerprint=facts['fingerprint'],
        dataset_images=facts['num_images'], mirror_augment=facts['mirror_augment'],
        feature_networks=OrderedDict(networks.used), is_standin=networks.source == STANDIN, num_samples=fake.num_images,
        settings=dict(images_sha256=fake.fingerprint, num_images=fake.num_images), seed=seed, problems=problems,
        notes=['every image of both sets counts once'])
    record.update(records.environment())
    record.update(num_gpus=1, seconds=seconds, time=records.now(), details=details, format=records.FORMAT)
    return records.plain(record)


def _line(record):
    values = '  '.join(f'{name} {value:.4f}' for name, value in records.values_of(record).items())
    remarks = (['stand-in networks'] if record['is_standin'] else []) + record['problems']
    return (f"{values}  ({record['num_samples']} images of {record['images']} against {record['dataset_images']} of "
            f"{record['reference']}{''.join('; ' + text for text in remarks)})")
