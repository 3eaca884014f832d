"""The arithmetic of the metrics as pure numpy functions: no TensorFlow, no files, no hidden state.

Everything is computed in float64, except `slerp`, which keeps the dtype of its inputs. A programmer's mistake (wrong
shapes, NaN) raises ValueError with a sentence; what a user may live with (fewer samples than features) is said by
`few_samples_note`.
"""

import numpy as np


class MeanCovariance:
    """Streaming mean and unbiased covariance in float64, in memory that does not grow with the number of samples.

    Sums are taken about a fixed origin, the mean of the first batch, so that features far from zero lose no digits;
    batches may have any size and their order changes the result by rounding only.
    """

    def __init__(self, num_features):
        self.num_features = int(num_features)
        self.num_samples = 0
        self._origin = None
        self._sum = np.zeros([self.num_features])
        self._outer = np.zeros([self.num_features, self.num_features])

    def add(self, features):
        """Adds features [N, num_features] of any float type; NaN or Inf raise ValueError."""
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise ValueError(f'expected features of shape [N, {self.num_features}], got {list(features.shape)}')
        if not np.all(np.isfinite(features)):
            raise ValueError('features contain NaN or infinite values')
        if not len(features):
            return
        if self._origin is None:
            self._origin = features.mean(axis=0)
        centered = features - self._origin
        self.num_samples += len(features)
        self._sum += centered.sum(axis=0)
        self._outer += centered.T @ centered

    def merged(self, *others):
        """A new accumulator holding the samples of this one and of the others."""
        result = MeanCovariance(self.num_features)
        for part in (self,) + others:
            if part.num_features != self.num_features:
                raise ValueError(f'cannot merge {part.num_features} features with {self.num_features}')
            if not part.num_samples:
                continue
            if result._origin is None:
                result._origin = part._origin
            shift = part._origin - result._origin
            cross = np.outer(part._sum, shift)
            result._outer += part._outer + cross + cross.T + part.num_samples * np.outer(shift, shift)
            result._sum += part._sum + part.num_samples * shift
            result.num_samples += part.num_samples
        return result

    def state(self):
        """The sums as a dict of arrays, from which `from_state` makes the same accumulator."""
        origin = np.zeros(self.num_features) if self._origin is None else self._origin
        return {'num_samples': np.int64(self.num_samples), 'origin': origin, 'sum': self._sum, 'outer': self._outer}

    @classmethod
    def from_state(cls, state):
        """The accumulator that `state` was taken from. Raises KeyError or ValueError for something else."""
        result = cls(len(state['origin']))
        result.num_samples = int(state['num_samples'])
        result._origin, result._sum = np.array(state['origin']), np.array(state['sum'])
        result._outer = np.array(state['outer']).reshape([result.num_features, result.num_features])
        return result

    @property
    def mean(self):
        """Mean, [num_features]."""
        if not self.num_samples:
            raise ValueError('no samples were added')
        return self._origin + self._sum / self.num_samples

    @property
    def covariance(self):
        """Unbiased covariance (divided by N - 1), [num_features, num_features], exactly symmetric."""
        if self.num_samples < 2:
            raise ValueError('a covariance needs at least two samples')
        mean = self._sum / self.num_samples
        covariance = (self._outer - self.num_samples * np.outer(mean, mean)) / (self.num_samples - 1)
        return (covariance + covariance.T) / 2


def few_samples_note(num_samples, num_features):
    """A sentence if a covariance of num_features dimensions from num_samples samples must be singular, else None."""
    if num_samples > num_features:
        return None
    return (f'{num_samples} samples for {num_features} features: the covariance is singular and the Frechet distance '
            f'says little; use more than {num_features} samples')


def _psd_factor(sigma, what):
    """F [d, r] with F @ F.T == sigma for a symmetric positive semidefinite sigma [d, d] of numerical rank r.

    Cholesky where sigma is safely definite (ten times cheaper), else the eigenvectors of nonzero eigenvalues.
    """
    sigma = np.asarray(sigma, dtype=np.float64)
    if sigma.ndim != 2 or sigma.shape[0] != sigma.shape[1] or not sigma.size:
        raise ValueError(f'{what} must be a square matrix, got shape {list(sigma.shape)}')
    if not np.all(np.isfinite(sigma)):
        raise ValueError(f'{what} contains NaN or infinite values')
    scale = np.max(np.abs(sigma))
    if np.max(np.abs(sigma - sigma.T)) > 1e-5 * scale:
        raise ValueError(f'{what} is not symmetric')
    sigma = (sigma + sigma.T) / 2
    noise = len(sigma) * np.finfo(np.float64).eps
    try:
        factor = np.linalg.cholesky(sigma)
        if np.min(np.diag(factor)) ** 2 > noise * np.trace(sigma):
            return factor
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(sigma)
    # Covariances of float32 origin have eigenvalues down to about -1e-7 of the largest one.
    if values[0] < -1e-4 * scale:
        raise ValueError(f'{what} is no covariance: it has the negative eigenvalue {values[0]:.3g}')
    keep = values > noise * values[-1]
    return vectors[:, keep] * np.sqrt(values[keep])


def frechet_distance(mu_real, sigma_real, mu_fake, sigma_fake):
    """Squared Frechet distance between two Gaussians: |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_f S_r)^(1/2)).

    The trace of the square root is taken without forming a square root: with S = F F^T for each covariance, S_f S_r has
    the eigenvalues of the symmetric M M^T, M = F_r^T F_f, whose square roots are M's singular values. All quantities
    are real, and small eigenvalues keep digits that a square root of the product S_f S_r loses.

    Arguments: means [d], covariances [d, d]. Returns a float >= 0 up to rounding. Raises ValueError for what is no mean
    and covariance.
    """
    mu_real = np.asarray(mu_real, dtype=np.float64)
    mu_fake = np.asarray(mu_fake, dtype=np.float64)
    factor_real = _psd_factor(sigma_real, 'sigma_real')
    factor_fake = _psd_factor(sigma_fake, 'sigma_fake')
    if not mu_real.shape == mu_fake.shape == (factor_real.shape[0],) == (factor_fake.shape[0],):
        raise ValueError(f'means and covariances do not fit: {mu_real.shape}, {np.shape(sigma_real)}, '
                         f'{mu_fake.shape}, {np.shape(sigma_fake)}')
    if not (np.all(np.isfinite(mu_real)) and np.all(np.isfinite(mu_fake))):
        raise ValueError('a mean contains NaN or infinite values')
    trace_sqrt = 0.0
    if factor_real.shape[1] and factor_fake.shape[1]:
        trace_sqrt = np.sum(np.linalg.svd(factor_real.T @ factor_fake, compute_uv=False))
    # Traces from the inputs: the truncated factors would lose the eigenvalues below rounding.
    traces = np.trace(np.asarray(sigma_real, dtype=np.float64)) + np.trace(np.asarray(sigma_fake, dtype=np.float64))
    return float(np.sum(np.square(mu_real - mu_fake)) + traces - 2.0 * trace_sqrt)


def path_length_mean(distances):
    """Mean of distances [N] without outliers: below the 1st percentile (lower) or above the 99th (higher).

    Percentiles are order statistics, taken by sorting: numpy's keyword for them changed its name between releases.
    Raises ValueError for none, and for NaN or Inf.
    """
    distances = np.sort(np.asarray(distances, dtype=np.float64).ravel())
    if not len(distances):
        raise ValueError('no distances')
    if not np.all(np.isfinite(distances)):
        raise ValueError('distances contain NaN or infinite values')
    last = len(distances) - 1
    lower = distances[last // 100]
    upper = distances[-(-last * 99 // 100)]
    return float(np.mean(distances[(distances >= lower) & (distances <= upper)]))


def normalize(vectors):
    """Vectors [..., d] divided by their L2 norms; a zero vector stays zero."""
    norms = np.sqrt(np.sum(np.square(vectors), axis=-1, keepdims=True))
    return vectors / np.where(norms > 0, norms, 1)


def slerp(a, b, t):
    """Spherical interpolation on the unit sphere from a [..., d] (t = 0) to b (t = 1); t broadcasts, e.g. [N, 1].

    a and b are normalised first, and so is the result. Source: StyleGAN paper, section 4.1.
    """
    a = normalize(np.asarray(a))
    b = normalize(np.asarray(b))
    cosine = np.sum(a * b, axis=-1, keepdims=True)
    angle = np.asarray(t) * np.arccos(np.clip(cosine, -1.0, 1.0))
    direction = normalize(b - cosine * a)
    return normalize(a * np.cos(angle) + direction * np.sin(angle))


def joint_frequencies(svm_outputs, targets):
    """Joint relative frequencies [..., 2, 2] of two binary arrays [..., N]: axis -2 SVM output, axis -1 target.

    Raises ValueError for others.
    """
    svm_outputs = np.asarray(svm_outputs)
    targets = np.asarray(targets)
    if svm_outputs.shape != targets.shape or svm_outputs.ndim < 1 or svm_outputs.shape[-1] == 0:
        raise ValueError(f'expected two arrays of the same shape [..., N], got {list(svm_outputs.shape)} and '
                         f'{list(targets.shape)}')
    for name, array in (('svm_outputs', svm_outputs), ('targets', targets)):
        if not np.all((array == 0) | (array == 1)):
            raise ValueError(f'{name} must hold only 0 and 1')
    svm_outputs = svm_outputs.astype(bool)
    targets = targets.astype(bool)
    count = float(svm_outputs.shape[-1])
    both = np.count_nonzero(svm_outputs & targets, axis=-1)
    only_svm = np.count_nonzero(svm_outputs & ~targets, axis=-1)
    only_target = np.count_nonzero(~svm_outputs & targets, axis=-1)
    neither = svm_outputs.shape[-1] - both - only_svm - only_target
    table = np.stack([np.stack([neither, only_target], axis=-1), np.stack([only_svm, both], axis=-1)], axis=-2)
    return table / count


def conditional_entropy_bits(svm_outputs, targets):
    """H(target | SVM output) in bits, at least 0, of binary arrays [..., N]; returns an array [...] or a float.

    Source: StyleGAN paper, section 4.2.
    """
    joint = joint_frequencies(svm_outputs, targets)
    row = np.broadcast_to(joint.sum(axis=-1, keepdims=True), joint.shape)
    ratio = np.divide(row, joint, out=np.ones_like(joint), where=joint > 0)
    entropy = np.maximum(np.sum(joint * np.log2(ratio), axis=(-2, -1)), 0.0)
    return float(entropy) if entropy.ndim == 0 else entropy


def prob_normalize(p):
    """A table [X, Y] of frequencies or counts, divided by its sum."""
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 2:
        raise ValueError(f'a table of probabilities has two dimensions, not {p.ndim}')
    return p / np.sum(p)


def entropy(p):
    """H(X, Y) in bits of a table [X, Y]."""
    p = prob_normalize(p)
    return float(-np.sum(p * np.log2(np.where(p > 0, p, 1.0))))


def mutual_information(p):
    """I(X; Y) in bits of a table [X, Y]."""
    p = prob_normalize(p)
    return entropy(np.sum(p, axis=1, keepdims=True)) + entropy(np.sum(p, axis=0, keepdims=True)) - entropy(p)


def conditional_entropy(p):
    """H(Y | X) in bits, at least 0, of a table [X, Y]: what is left to know of the column once the row is known."""
    p = prob_normalize(p)
    return max(entropy(p) - entropy(np.sum(p, axis=1, keepdims=True)), 0.0)


def separability_score(conditional_entropies_bits):
    """2 to the sum of conditional entropies in bits: the paper's exponential of the sum in nats."""
    return float(2.0 ** np.sum(conditional_entropies_bits))


def most_confident(probabilities, num_keep):
    """Indices [num_keep] of the rows of probabilities [N, 2] with the largest maximum, ties in the given order."""
    confidence = np.max(np.asarray(probabilities), axis=1)
    return np.argsort(-confidence, kind='stable')[:num_keep]


def standard_error_from_halves(pairs):
    """Standard error of a score of all samples, from the scores of disjoint halves: pairs [R, 2] of R halvings.

    The variance of one half's score is estimated by the mean of (a - b)^2 / 2, and a score of all samples has half of
    it. Bias that depends on the number of samples (the Frechet distance has some) cancels in the differences.
    """
    pairs = np.asarray(pairs, dtype=np.float64).reshape([-1, 2])
    if not len(pairs):
        raise ValueError('no halves')
    return float(np.sqrt(np.mean(np.square(pairs[:, 0] - pairs[:, 1])) / 4.0))


def roc(same, different):
    """How well distances tell pairs of the same person [M] from pairs of different ones [N], smaller meaning the same.

    Returns a dict: thresholds [T], false_rate and true_rate [T] (shares of different and of same pairs at or below
    each threshold), auc (area below that curve, ties counting half), equal_error_rate.
    """
    same, different = np.sort(np.asarray(same, np.float64)), np.sort(np.asarray(different, np.float64))
    if not len(same) or not len(different):
        raise ValueError('pairs of both kinds are needed')
    thresholds = np.unique(np.concatenate([same, different]))
    true_rate = np.searchsorted(same, thresholds, side='right') / len(same)
    false_rate = np.searchsorted(different, thresholds, side='right') / len(different)
    below = np.searchsorted(different, same, side='left')
    up_to = np.searchsorted(different, same, side='right')
    auc = 1 - np.mean((below + up_to) / 2) / len(different)
    place = np.argmin(np.abs(false_rate - (1 - true_rate)))
    return dict(thresholds=thresholds, false_rate=false_rate, true_rate=true_rate, auc=float(auc),
                equal_error_rate=float((false_rate[place] + 1 - true_rate[place]) / 2))
