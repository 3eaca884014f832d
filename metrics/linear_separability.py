"""Linear separability: how well planes in latent space separate attributes (StyleGAN paper, section 4.2)."""

import warnings
from collections import OrderedDict

import numpy as np
import sklearn.exceptions
import sklearn.svm

from dnnlib import artifacts
from dnnlib.array_files import temporary_array, write_npz
from dnnlib.files import atomic_path
from dnnlib.tflib import tf
from dnnlib.util import UserError
from metrics.arithmetic import (  # noqa: F401  (the measures of tables are part of this module)
    conditional_entropy,
    conditional_entropy_bits,
    entropy,
    most_confident,
    mutual_information,
    prob_normalize,
    separability_score,
)
from metrics.base import MetricBase
from metrics.context import HALVES, MetricFailure, chunk_rng
from metrics.features import to_rgb
from metrics.networks import files
from metrics.scores.result import Result
from training.codes import style_parts

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('LS',)}

NUM_HALVINGS = 20

# Addresses of the 40 published classifiers, in the order of the attributes.
_RELEASED = artifacts.read_table()
classifier_urls = [artifacts.lookup(files.classifier_file(index), _RELEASED).urls[0]
                   for index in range(len(files.ATTRIBUTES))]


class LS(MetricBase):
    """Linear separability in Z and, for networks that have it, in W.

    Args:
        num_samples: latents drawn and classified; a whole number from 2 to 1e9
        num_keep: most confident ones that are kept per attribute; a whole number from 2 to 1e9
        attrib_indices: numbers of the attributes, null: all that there are classifiers for;
            a list of whole numbers from 0 to 39, or null
        minibatch_per_gpu: images per chunk; a whole number from 1 to 1e6
    """

    uses_networks = ('classifier',)
    better = 'lower'
    suffixes = ('_z', '_w')
    keep_planes = None      # file for the planes in W, which no setting is, since no score depends on it

    def __init__(self, num_samples, num_keep, attrib_indices=None, minibatch_per_gpu=4, **kwargs):
        super().__init__(**kwargs)
        self._check_numbers(4, num_samples=num_samples)
        self._check_numbers(2, num_keep=num_keep)
        self._check_numbers(1, minibatch_per_gpu=minibatch_per_gpu)
        if num_keep > num_samples:
            raise UserError(f'{self.name}: num_keep is {num_keep}, more than num_samples, which is {num_samples}')
        if attrib_indices is not None and not (isinstance(attrib_indices, (list, tuple)) and attrib_indices):
            raise UserError(f'{self.name}: attrib_indices is {attrib_indices!r:.60}; a list of numbers is expected')
        self._check_numbers(0, **{f'attrib_indices[{i}]': index for i, index in enumerate(attrib_indices or ())})
        if len(set(attrib_indices or ())) < len(attrib_indices or ()):
            raise UserError(f'{self.name}: attrib_indices names an attribute twice, which would count twice')
        self.num_samples = num_samples
        self.num_keep = num_keep
        self.minibatch_per_gpu = minibatch_per_gpu
        self.attrib_indices = attrib_indices

    def _evaluate(self, ctx):
        result = Result()
        attributes = ctx.features.attributes
        indices = range(len(attributes)) if self.attrib_indices is None else list(self.attrib_indices)
        unknown = [index for index in indices if index not in range(len(attributes))]
        if unknown:
            raise UserError(f'{self.name}: there is no attribute number {unknown[0]}; there are classifiers for '
                            f"{len(attributes)}: {', '.join(attributes)}")
        result.details['attributes'] = chosen = [attributes[index] for index in indices]
        note_coverage(chosen, result)
        has_w = style_parts(ctx.generator()) is not None
        logits, dlatents = self._classify_samples(ctx, indices, has_w)
        spaces = [('z', lambda rows: self._latents(ctx, rows))]
        if has_w:
            spaces.append(('w', dlatents.__getitem__))
        else:
            result.notes.append('the generator has no mapping network: separability in Z only')
        self._fit_all(ctx, spaces, logits, result)
        return result

    def _latents(self, ctx, rows):
        """z of the given samples [M, latent_size]; drawn again, which is cheaper than to keep them all."""
        size = self.minibatch_per_gpu
        result = np.empty([len(rows), ctx.latent_size], np.float32)
        order = np.argsort(rows, kind='stable')
        chunks = rows[order] // size
        for chunk in np.unique(chunks):
            first, last = np.searchsorted(chunks, [chunk, chunk + 1])
            result[order[first:last]] = ctx.latents(int(chunk), size)[rows[order[first:last]] - chunk * size]
        return result

    def _classify_samples(self, ctx, indices, has_w):
        """Logits float32 [num_samples, attributes], and w of the last layer on the disk (or None)."""
        classifiers = []
        for index in indices:
            classifiers.append(ctx.features.classifier(index))
            check_shape(ctx.output_shape, classifiers[-1].net.input_shape[-1])
        size = self.minibatch_per_gpu
        inputs = ctx.placeholders(size)

        def build(index, holders):
            if has_w:
                mapping, synthesis = ctx.parts(index)
                dlatents = mapping.get_output_for(holders['latents'], *ctx.label_inputs(mapping, holders))
                images = ctx.watch(synthesis.get_output_for(dlatents, randomize_noise=True, seed=holders['seed'],
                                                            one_by_one=True))
            else:
                images = ctx.build_images(index, holders)
            logits = []
            for classifier in classifiers:
                net = classifier.on_device(index)
                fitted = fit_to_classifier(images, net.input_shape[-1], net.input_shape[1])
                logits.append(net.get_output_for(fitted, *[None] * (net.num_inputs - 1))[:, :1])
            return [tf.concat(logits, axis=1)] + ([dlatents[:, -1]] if has_w else [])

        def feed(chunk):
            return ctx.feed_inputs(chunk, size)

        logits = np.empty([self.num_samples, len(indices)], np.float32)
        dlatents = None
        for _, start, count, outputs in ctx.run_chunks(self.name + ': classify', self.num_samples, size, inputs,
                                                       build, feed):
            logits[start:start + count] = outputs[0][:count]
            if has_w:
                if dlatents is None:
                    dlatents = temporary_array([self.num_samples, outputs[1].shape[1]], np.float32, 'mapped latents')
                dlatents[start:start + count] = outputs[1][:count]
        if not np.all(np.isfinite(logits)):
            raise MetricFailure('a classifier gave NaN or infinite values')
        return logits, dlatents

    def _fit_all(self, ctx, spaces, logits, result):
        attributes = result.details['attributes']
        svm_outputs = OrderedDict((space, []) for space, _ in spaces)
        targets, unconverged, planes = [], [], Planes()
        failed = OrderedDict()
        shares = OrderedDict()
        for column, attribute in enumerate(attributes):
            probabilities = two_class_probabilities(logits[:, column])
            rows = most_confident(probabilities, self.num_keep)
            target = np.argmax(probabilities[rows], axis=1)
            shares[attribute] = float(np.mean(target == 0))
            targets.append(target)
            for space, samples in spaces:
                ctx.check_stop()
                outputs, problem, is_converged = fit_svm(samples(rows), target, ctx.seed,
                                                         planes.fitted(attribute) if space == 'w' else None)
                svm_outputs[space].append(outputs)
                if problem:
                    failed.setdefault(attribute, problem)
                if not is_converged:
                    unconverged.append(f'{attribute} in {space}')
        for attribute, problem in failed.items():
            result.problems.append(f"the separating plane of '{attribute}' could not be fitted ({problem}); it adds "
                                   'nothing to the score')
        if len(failed) == len(attributes):
            raise MetricFailure('no separating plane could be fitted: ' + '; '.join(result.problems))
        kept = [column for column, attribute in enumerate(attributes) if attribute not in failed]
        if self.keep_planes is not None:
            planes.store(self.keep_planes, dict(spaces).get('w'), self.num_samples, ctx)
        self._score(svm_outputs, targets, kept, ctx.seed, result)
        result.details.update(attributes_failed=list(failed), share_of_first_class=shares,
                              svm_not_converged=unconverged)
        if unconverged:
            result.notes.append(f'{len(unconverged)} of {len(spaces) * len(attributes)} planes had not converged after '
                                '1000 iterations, the protocol\'s limit')

    def _score(self, svm_outputs, targets, kept, seed, result):
        targets = np.stack([targets[column] for column in kept])
        rng = chunk_rng(seed, HALVES, 0)
        orders = [rng.permutation(targets.shape[1]) for _ in range(NUM_HALVINGS)]
        middle = targets.shape[1] // 2
        result.details['conditional_entropies_bits'] = OrderedDict()
        for space, outputs in svm_outputs.items():
            outputs = np.stack([outputs[column] for column in kept])
            entropies = conditional_entropy_bits(outputs, targets)
            pairs = [[separability_score(conditional_entropy_bits(outputs[:, half], targets[:, half]))
                      for half in (order[:middle], order[middle:])] for order in orders]
            result.add_with_halves(separability_score(entropies), pairs, '_' + space)
            result.details['conditional_entropies_bits'][space] = OrderedDict(
                (result.details['attributes'][column], value) for column, value in zip(kept, entropies))
        result.notes.append('standard errors are from halves of the kept samples, without fitting the planes again')


def note_coverage(attributes, result):
    """Enters into the result how many of CelebA's attributes there are, and that fewer than all are another measure."""
    covered, all_of_them = files.coverage(attributes), len(files.ATTRIBUTES)
    result.details.update(attributes_covered=f'{covered} of {all_of_them}', is_comparable=covered == all_of_them)
    if covered < all_of_them:
        result.problems.append(f"classifiers of {covered} of CelebA's {all_of_them} attributes: not comparable with "
                               'scores of all of them')


def two_class_probabilities(logits):
    """softmax([logit, -logit]) of logits [N]: float32 [N, 2].

    In float32, as published: the order of the surest samples, many of which round to 1, is part of the protocol.
    """
    pair = np.stack([logits, -logits], axis=1).astype(np.float32)
    pair = np.exp(pair - np.max(pair, axis=1, keepdims=True))
    return pair / np.sum(pair, axis=1, keepdims=True)


class Planes:
    """Separating planes in W, kept for whoever edits pictures: their normals point to where an attribute is."""

    def __init__(self):
        self._found = OrderedDict()

    def fitted(self, attribute):
        """A function for `fit_svm` that keeps the attribute's plane."""
        def keep(svm):
            # The first class, the one above the plane's other side, is that of those who have the attribute.
            self._found[attribute] = -svm.coef_[0], -float(svm.intercept_[0])
        return keep

    def store(self, path, samples, num_samples, ctx):
        """Stores them with how far samples of w spread along each. Raises UserError where there are none."""
        if not self._found or samples is None:
            raise UserError('there are no planes to be kept: none could be fitted in W, or the network has no W')
        normals = np.stack([normal for normal, _ in self._found.values()]).astype(np.float64)
        lengths = np.linalg.norm(normals, axis=1)
        total, squares = np.zeros(len(normals)), np.zeros(len(normals))
        for begin in range(0, num_samples, 4096):
            along = samples(np.arange(begin, min(begin + 4096, num_samples))) @ (normals / lengths[:, np.newaxis]).T
            total, squares = total + along.sum(axis=0), squares + np.square(along).sum(axis=0)
        deviations = np.sqrt(np.maximum(squares / num_samples - np.square(total / num_samples), 0))
        with atomic_path(path) as temp, open(temp, 'wb') as file:
            write_npz(file, names=np.array(list(self._found)), normals=normals / lengths[:, np.newaxis],
                      intercepts=np.array([value for _, value in self._found.values()]) / lengths,
                      deviations=deviations, network_sha256=np.array(ctx.network_sha256))


def fit_svm(samples, targets, seed, keep=None):
    """Fits a plane to samples [N, d] with targets [N] of 0 and 1: (its outputs [N], problem or None, converged).

    keep: function that is given the fitted plane, or None.
    """
    if len(np.unique(targets)) < 2:
        return np.zeros_like(targets), 'all kept samples are of one class', True
    # Every setting is written out, since defaults differ between releases.
    svm = sklearn.svm.LinearSVC(penalty='l2', loss='squared_hinge', dual=True, tol=1e-4, C=1.0, fit_intercept=True,
                                intercept_scaling=1, class_weight=None, verbose=0, random_state=seed,
                                max_iter=1000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            svm.fit(samples, targets)
            outputs = svm.predict(samples)
            if keep is not None:
                keep(svm)
        except ValueError as err:
            return np.zeros_like(targets), str(err).splitlines()[0], True
    is_converged = not any(issubclass(item.category, sklearn.exceptions.ConvergenceWarning) for item in caught)
    return outputs, None, is_converged


def check_shape(shape, resolution):
    """Raises MetricFailure unless images of [C, H, W] can be downscaled to a classifier's resolution."""
    height, width = shape[1:]
    if height != width or height < resolution or height % resolution:
        raise MetricFailure(f'the classifiers look at images of {resolution}x{resolution}, or a multiple; these are '
                            f'{width}x{height}')


def fit_to_classifier(images, resolution, wanted_channels=3):
    """Box-downscales [N, C, H, H] to a classifier's resolution and channels: RGB, or grey for one that saw grey images.

    Raises MetricFailure for smaller images, and for those in colour where grey ones are wanted.
    """
    channels, height, _ = images.shape.as_list()[1:]
    if wanted_channels == 1 != channels:
        raise MetricFailure(f'a classifier looks at grey images; these have {channels} channels')
    check_shape(images.shape.as_list()[1:], resolution)
    factor = height // resolution
    if factor > 1:
        images = tf.reduce_mean(tf.reshape(images, [-1, channels, resolution, factor, resolution, factor]),
                                axis=[3, 5])
    return images if channels == wanted_channels else to_rgb(images)
