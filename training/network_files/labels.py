"""The labels that a conditional network's images are made with.

A run that is trained on labels keeps beside its snapshots which labels its data have, and how often (`labels.npz`);
network files themselves stay as they are.
"""

import collections
import hashlib
import os
import re

import numpy as np

from data.records.dataset import load_dataset
from dnnlib import registry
from dnnlib.array_files import read_npz
from dnnlib.files import atomic_path
from dnnlib.submission import read_submit_config
from dnnlib.util import UserError
from training.network_files import runs

FILE = 'labels.npz'
DATA, ZEROS = 'data', 'zeros'
FORMS = ('data, zeros, a class by its number or name (index:3 or name:3 where it could be both), or a vector such as '
         '0.5,0,0.5')
_MAX_VALUES = 1 << 22   # numbers that are kept; of more labels, an even share


class LabelDistribution:
    """Which labels a data set has, and how often.

    Attributes:
        rows: the different labels, float32 [U, label_size]; counts: how often each occurs, int64 [U].
        names: names of the components, or None.
        sha256: hash of rows and counts.
    """

    def __init__(self, rows, counts, names=None):
        self.rows = np.asarray(rows, np.float32)
        self.counts = np.asarray(counts, np.int64)
        self.names = list(names) if names else None
        content = np.ascontiguousarray(self.rows, '<f4').tobytes() + np.ascontiguousarray(self.counts, '<i8').tobytes()
        self.sha256 = hashlib.sha256(content).hexdigest()

    @property
    def label_size(self):
        """Components of a label."""
        return self.rows.shape[1]

    def draw(self, count, rng):
        """Labels float32 [count, label_size] of random records, drawn from a numpy RandomState."""
        ends = np.cumsum(self.counts)
        return self.rows[np.searchsorted(ends, rng.randint(ends[-1], size=count, dtype=np.int64), side='right')]

    @classmethod
    def of_dataset(cls, dataset):
        """That of a data set with labels: all of them, or, where they differ too much, an even share."""
        most = max(_MAX_VALUES // dataset.label_size, 1)
        found = _count(dataset, np.arange(dataset.num_images), most)
        if found is None:
            found = _count(dataset, np.unique(np.linspace(0, dataset.num_images - 1, most).astype(np.int64)), most)
        rows = sorted(found)
        return cls(np.stack([np.frombuffer(row, np.float32) for row in rows]), [found[row] for row in rows],
                   dataset.label_names)

    def save(self, path):
        """Stores it, atomically."""
        names = {'names': np.array(self.names, dtype=str)} if self.names else {}
        with atomic_path(path) as temp:
            np.savez_compressed(temp, rows=self.rows, counts=self.counts, **names)

    @classmethod
    def read(cls, path):
        """What `save` stored. Raises FileError (a UserError) for a file that is absent or damaged."""
        arrays = read_npz(path, allow_text=True)
        rows, counts, names = arrays.get('rows'), arrays.get('counts'), arrays.get('names')
        if rows is None or counts is None or rows.dtype != np.float32 or rows.ndim != 2 or not rows.size \
                or counts.dtype != np.int64 or counts.shape != rows.shape[:1] or not np.all(np.isfinite(rows)) \
                or not (np.all(counts > 0) and np.sum(counts.astype(np.float64)) < 2 ** 62) \
                or names is not None and (names.dtype.kind != 'U' or names.shape != rows.shape[1:]):
            raise UserError(f'{path}: not the labels of a run, or damaged; delete it, and labels are drawn from the '
                            "run's data set")
        return cls(rows, counts, None if names is None else names.tolist())


def _count(dataset, indices, most):
    """OrderedDict from a label's bytes to how often it occurs among these records; None if over `most` differ."""
    found = collections.OrderedDict()
    step = max((1 << 20) // dataset.label_size, 1)
    for start in range(0, len(indices), step):
        for row in np.ascontiguousarray(dataset.get_labels_np(indices[start:start + step]), np.float32):
            key = row.tobytes()
            found[key] = found.get(key, 0) + 1
        if len(found) > most:
            return None
    return found


def keep(run_dir, training_set):
    """Stores the label distribution of what a run is trained on, unless it is there already."""
    path = os.path.join(run_dir, FILE)
    if training_set.label_size and not os.path.exists(path):
        LabelDistribution.of_dataset(training_set).save(path)


def distribution_of(network_path):
    """The label distribution that belongs to a network file: from beside it, else from the data set of its run.

    Returns None where neither is here. Raises UserError for a damaged file.
    """
    path = os.path.join(os.path.dirname(os.path.abspath(network_path)), FILE)
    if os.path.exists(path):
        return LabelDistribution.read(path)
    run_dir = runs.run_dir_of(network_path)
    if run_dir is None:
        return None
    try:
        record = read_submit_config(run_dir)
        args = dict(record['config'].get('dataset') or {}, prefetch_mb=0, data_dir=record.get('data_dir'))
        registry.check('dataset', args.get('class_name', 'training.dataset.TFRecordDataset'), 'dataset.class_name')
        with load_dataset(**args) as dataset:
            return LabelDistribution.of_dataset(dataset) if dataset.label_size else None
    except (UserError, TypeError):
        return None  # a data set that is not on this machine


class FakeLabels:
    """Labels of generated images.

    Attributes:
        label_size: components; 0 for a network without labels.
        text: what records say: 'data', 'zeros', 'class 3 (cat)' or the vector; None for a network without labels.
        sha256: of the distribution that 'data' means; None for others.
    """

    def __init__(self, label_size, text=None, row=None, distribution=None):
        self.label_size = label_size
        self.text = text
        self.sha256 = distribution.sha256 if distribution is not None else None
        self._row = np.zeros([label_size], np.float32) if row is None else np.asarray(row, np.float32)
        self._distribution = distribution

    def draw(self, count, rng):
        """Labels float32 [count, label_size], drawn from a numpy RandomState where they are random."""
        if self._distribution is not None:
            return self._distribution.draw(count, rng)
        return np.tile(self._row, [count, 1])

    def facts(self):
        """What records say: dict of JSON values."""
        return collections.OrderedDict(labels=self.text, labels_sha256=self.sha256)


def choose(asked, label_size, network_path, option='--labels'):
    """The `FakeLabels` for a network.

    Args:
        asked: one of `FORMS`, as text; a number stands for a class. None: 'data' where the labels of the data are
            known, else 'zeros', which is said.
        label_size: components of the network's labels.
        network_path: its file, beside which the labels of the data may lie.
        option: what sentences call it.

    Raises UserError.
    """
    asked = None if asked is None else str(asked).strip()
    if not label_size:
        if asked not in (None, DATA, ZEROS):
            raise UserError(f"{option} is '{asked}', but the network has no classes")
        return FakeLabels(0)
    if asked == ZEROS:
        return FakeLabels(label_size, ZEROS)
    if asked is not None and asked != DATA:
        vector = _vector(asked)
        if vector is not None and (label_size == 1 or not re.match(r'-?\d+\Z', asked)):
            return _one_vector(vector, label_size, option)
        return _one_class(asked, label_size, _names(network_path), option)
    distribution = distribution_of(network_path)
    if distribution is not None and distribution.label_size != label_size:
        raise UserError(f'{network_path}: the network takes labels of {label_size} components, but those of the data '
                        f'beside it have {distribution.label_size}; choose other labels with {option}: {FORMS}')
    if distribution is not None:
        return FakeLabels(label_size, DATA, distribution=distribution)
    unknown = (f'the labels of the data are not known for {network_path}: there is no {FILE} beside it, and no run '
               'with its data set')
    if asked == DATA:
        raise UserError(f'{option} is {DATA}, but {unknown}; choose other labels: {FORMS}')
    print(f'warning: {unknown}; labels of zeros are taken, choose others with {option}', flush=True)
    return FakeLabels(label_size, ZEROS)


def is_as_asked(record, asked, network_path):
    """Whether a metric's record was made with the labels that `choose` would take. Raises UserError as it does."""
    text = record.get('labels')
    if text is None and 'labels' in record:
        return asked in (None, DATA, ZEROS)     # a network without labels
    text = text or ZEROS                        # from before labels were noted
    if asked in (None, DATA):
        distribution = distribution_of(network_path)
        return (text, record.get('labels_sha256')) == (
            (ZEROS, None) if distribution is None else (DATA, distribution.sha256))
    asked = str(asked).strip()
    vector = _vector(asked)
    if vector is not None and text == _shown(vector):
        return True
    if asked == ZEROS or not text.startswith('class '):
        return text == asked
    return text.split()[1] == str(_class_number(asked, _names(network_path), '--labels'))


def _names(network_path):
    try:
        distribution = distribution_of(network_path)
    except UserError:
        return None
    return distribution.names if distribution is not None else None


def _vector(text):
    parts = text.split(',')
    try:
        return [float(part) for part in parts]
    except ValueError:
        return None


def _one_vector(vector, label_size, option):
    most = np.finfo(np.float32).max
    if len(vector) != label_size or not all(-most <= number <= most for number in vector):
        raise UserError(f'{option}: {label_size} finite numbers are needed, not {len(vector)}: {_shown(vector)[:60]}')
    return FakeLabels(label_size, _shown(vector), row=vector)


def _shown(vector):
    return ','.join(f'{number:.9g}' for number in vector)


def _one_class(asked, label_size, names, option):
    number = _class_number(asked, names, option)
    if not 0 <= number < label_size:
        raise UserError(f'{option}: class {number} was asked for, but the network has classes 0 to {label_size - 1}')
    row = np.zeros([label_size], np.float32)
    row[number] = 1
    name = f' ({names[number]})' if names and number < len(names) else ''
    return FakeLabels(label_size, f'class {number}{name}', row=row)


def _class_number(asked, names, option):
    """The number of a class given by its number or name, or by index:NUMBER or name:NAME. Raises UserError."""
    form, _, text = asked.partition(':')
    if form not in ('index', 'name'):
        form, text = None, asked
    number = int(text) if form != 'name' and re.match(r'-?[0-9]{1,18}\Z', text) else None
    found = [] if form == 'index' else _places(text, names or [])
    if number is not None and found in ([], [number]):
        return number
    if number is not None and 0 <= number < len(names):
        raise UserError(f"{option} is '{asked}', which is the number of the class '{names[number]}' and the name of "
                        f'class {found[0]}; say index:{number} or name:{number}')
    if len(found) == 1:
        return found[0]
    known = f"{'has several such classes' if found else 'has no class'} '{text}'" + (
        f"; it has {', '.join(names[:20])}{' and more' if len(names) > 20 else ''}" if names else
        ', whose names are not known; give its number')
    raise UserError(f'{option}: the network {known}')


def _places(text, names):
    """Numbers of the classes with this name: to the letter, else in whatever case and with whatever between words."""
    exactly = [index for index, name in enumerate(names) if name == text]
    return exactly or [index for index, name in enumerate(names) if _plain(name) == _plain(text)]


def _plain(name):
    return str(name).strip().lower().replace('_', '-').replace(' ', '-')
