"""Where directions come from: planes of linear separability, labelled samples, principal components, a user's array."""

import csv
import io
import os
import re

import numpy as np

from dnnlib.array_files import parse_npy, read_npz
from dnnlib.errors import UserError
from dnnlib.files import read_bytes
from figures.editing.directions import SAMPLES, Direction, principal_components, sample_dlatents

FORMS = ('planes of `run_metrics.py ls --keep-planes FILE` (.npz), labelled samples (.csv with the columns seed and '
         'one per attribute), vectors [size] or [K, size] (.npy), or pca:K')
MOST = 512                      # directions
LARGEST = 1e9                   # component of one, or label
MOST_BYTES = 1 << 28
FEWEST_SAMPLES = 4
REGULARISATION = 1.0            # of the logistic regression, as scikit-learn has it


def load(source, gen, sha256=None):
    """The `Direction`s of a source, which is one of FORMS, by name: {name: Direction} in their order. Raises UserError.

    Args:
        source: text.
        gen: `figures.generator.Generator`.
        sha256: of its file; where planes were fitted to another network, that is said.
    """
    if not gen.is_style_based:
        raise UserError('directions are those of w, which the network has not')
    match = re.match(r'pca:([0-9]{1,4})\Z', source)
    if match:
        count, size = int(match.group(1)), gen.dlatent_avg.shape[-1]
        if not 1 <= count <= min(size, MOST):
            raise UserError(f"'{source}': the network has {size} principal components")
        found = principal_components(sample_dlatents(gen), count)
    elif source.endswith('.npz'):
        found = _planes(source, gen, sha256)
    elif source.endswith('.npy'):
        found = _vectors(source, gen)
    elif source.endswith('.csv'):
        found = _labelled(source, gen)
    else:
        raise UserError(f"directions '{source}' are none that can be read; expected are {FORMS}")
    names = [direction.name for direction in found]
    if '' in names:
        raise UserError(f'{source} has a direction without a name; give it one')
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{source} has two directions named '{twice[0]}'; give each a name of its own")
    return dict(zip(names, found))


def _checked(path, array, gen):
    size = gen.dlatent_avg.shape[-1]
    if array.dtype.kind not in 'fi' or array.ndim != 2 or array.shape[1] != size or not 0 < len(array) <= MOST \
            or not _are_usual(array) or not np.all(np.linalg.norm(array.astype(np.float64), axis=1) > 1e-12):
        raise UserError(f'{path}: directions are {array.dtype} {list(array.shape)}; finite vectors [K, {size}] that '
                        f'are not zero are needed for this network, of numbers up to {LARGEST:g}')
    return array.astype(np.float64)


def _are_usual(numbers):
    """Whether all are finite, and no larger than lengths and products of them can be computed with."""
    return bool(np.all(np.abs(numbers.astype(np.float64)) <= LARGEST))


def _planes(path, gen, sha256):
    arrays = read_npz(path, allow_text=True)
    if not {'names', 'normals', 'intercepts', 'deviations'} <= set(arrays):
        raise UserError(f'{path} holds no planes; make them with: run_metrics.py ls --keep-planes FILE')
    normals, names = _checked(path, arrays['normals'], gen), arrays['names']
    count = (len(normals),)
    if names.dtype.kind != 'U' or not names.shape == arrays['intercepts'].shape == arrays['deviations'].shape == count \
            or not all(arrays[key].dtype.kind in 'fi' and _are_usual(arrays[key])
                       for key in ('intercepts', 'deviations')):
        raise UserError(f'{path}: names, normals, intercepts and deviations do not fit each other')
    if not np.all(arrays['deviations'] > 0):
        raise UserError(f'{path}: deviations are the lengths of one standard deviation along the normals; numbers '
                        'above 0 are expected')
    found = str(arrays.get('network_sha256', ''))
    if sha256 and found and found != sha256:
        print(f'warning: the planes in {path} were fitted to another network ({found[:12]}…, not {sha256[:12]}…)',
              flush=True)
    return [Direction(str(name), normal, deviation, intercept) for name, normal, deviation, intercept
            in zip(names, normals, arrays['deviations'], arrays['intercepts'])]


def _vectors(path, gen):
    try:
        array = parse_npy(read_bytes(path, MOST_BYTES, what='directions'))
    except ValueError as err:
        raise UserError(f'{path} is no array of numbers: {err}') from None
    array = _checked(path, array[np.newaxis] if array.ndim == 1 else array, gen)
    stem, samples = os.path.splitext(os.path.basename(path))[0], sample_dlatents(gen)
    names = [stem] if len(array) == 1 else [f'{stem}-{number}' for number in range(1, len(array) + 1)]
    return [_measured(name, vector, samples) for name, vector in zip(names, array)]


def _measured(name, vector, samples, intercept=None):
    """A Direction whose deviation is that of samples of w along it."""
    unit = vector / np.linalg.norm(vector)
    return Direction(name, vector, np.std(samples @ unit), intercept)


def _labelled(path, gen):
    """A plane per attribute: logistic regression where labels are 0 and 1, else least squares towards the number."""
    text = read_bytes(path, MOST_BYTES, what='labelled samples').decode('utf-8-sig', 'replace')
    try:
        rows = [row for row in csv.reader(io.StringIO(text.replace('\0', ''))) if row]
    except csv.Error as err:
        raise UserError(f'{path}: not a table of labelled samples ({err})') from None
    header = [name.strip() for name in rows[0]] if rows else []
    if 'seed' not in header or len(header) < 2 or len(set(header)) < len(header):
        raise UserError(f"{path}: the first line must name the columns: 'seed', and one per attribute")
    try:
        table = np.array([[float(text) if text.strip() else np.nan for text in row] for row in rows[1:]], np.float64)
        if any(text.strip() and not re.match(r'[-+0-9.eE]+\Z', text.strip()) for row in rows[1:] for text in row):
            raise ValueError
        seeds, labels = table[:, header.index('seed')], np.delete(table, header.index('seed'), axis=1)
        if not _are_usual(labels[~np.isnan(labels)]):
            raise ValueError
    except (ValueError, IndexError):
        raise UserError(f'{path}: every line needs {len(header)} numbers of usual size; a label that is not known is '
                        'empty') from None
    if table.ndim != 2 or not np.all((seeds >= 0) & (seeds < 2 ** 32) & (seeds == np.floor(seeds))):
        raise UserError(f'{path}: seeds are whole numbers from 0 to 4294967295')
    seeds = [int(seed) for seed in seeds]
    w = gen.dlatents(np.concatenate([gen.latents(seed) for seed in seeds]), gen.labels_of(seeds))[:, -1]
    samples, found = sample_dlatents(gen, SAMPLES), []
    for column, name in enumerate(header):
        if name != 'seed':
            known = np.isfinite(table[:, column])
            found.append(_measured(name, *_fitted(f'{path}, {name}', w[known].astype(np.float64), table[known, column],
                                                  samples)))
    return found


def _fitted(where, w, labels, samples):
    """(normal, samples, intercept) of a plane between labels, towards the larger ones."""
    if len(w) < FEWEST_SAMPLES or len(np.unique(labels)) < 2:
        raise UserError(f'{where}: {len(w)} labels with {len(np.unique(labels))} different values; at least '
                        f'{FEWEST_SAMPLES} and two are needed')
    scale = samples.std(axis=0) + 1e-12
    if set(np.unique(labels)) == {0, 1}:
        import sklearn.linear_model
        model = sklearn.linear_model.LogisticRegression(C=REGULARISATION, solver='lbfgs', max_iter=1000)
        model.fit(w / scale, labels)
        return model.coef_[0] / scale, samples, float(model.intercept_[0])
    import sklearn.linear_model
    model = sklearn.linear_model.Ridge(alpha=1.0 / REGULARISATION)
    model.fit(w / scale, labels)
    return model.coef_ / scale, samples, float(model.intercept_)
