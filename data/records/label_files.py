"""Label files: a .npy array [images, components] beside the records, or anywhere else."""

import glob
import os

import numpy as np

from dnnlib.files import open_regular
from dnnlib.util import UserError

_BLOCK = 1 << 22  # numbers checked at a time


def load_labels(folder, label_file, max_label_size, num_images):
    """The labels as a memory-mapped array [num_images, components] and their file, or (None, None).

    folder: of the data set. label_file: a .npy file in it or elsewhere, None for the folder's own *.labels.
    max_label_size: number of components that are to be used, or 'full'. Raises UserError.
    """
    if max_label_size != 'full' and (isinstance(max_label_size, (str, bool)) or max_label_size != int(max_label_size)
                                     or max_label_size < 0):
        raise UserError(f"max_label_size is {max_label_size!r}; a number of components or 'full' is expected")
    if label_file is None:
        found = sorted(glob.glob(os.path.join(glob.escape(folder), '*.labels')))
        if len(found) > 1:
            names = ', '.join(os.path.basename(name) for name in found)
            raise UserError(f"'{folder}' has several label files ({names}); keep one, or name one with label_file")
        path = found[0] if found else None
    else:
        inside = os.path.join(folder, label_file)
        path = inside if os.path.isfile(inside) else label_file
    if path is None:
        if max_label_size != 0:
            raise UserError(f"'{folder}' has no *.labels file; make the data set with labels, name one with "
                            f'label_file, or set max_label_size to 0')
        return None, None
    labels = read_label_array(path, mmap_mode='r')
    if labels.ndim != 2 or labels.dtype.kind not in 'fiub':
        raise UserError(f'{path} does not hold a numeric array [images, components]')
    if len(labels) != num_images:
        raise UserError(f'{path} has labels for {len(labels)} images but the data set has {num_images}')
    if max_label_size != 'full' and max_label_size > labels.shape[1]:
        raise UserError(f'max_label_size is {max_label_size} but {path} has {labels.shape[1]} components')
    if max_label_size != 0:
        check_finite(labels, labels, path)
    return labels, path


def check_finite(labels, source, what, names=None):
    """Raises UserError if labels [N, L] are not all finite numbers that float32 can hold.

    source: what they were made of, for the sentence, which starts with `what`; names: of the components.
    """
    step = max(1, _BLOCK // max(1, labels.shape[1]))
    for start in range(0, len(labels), step):
        with np.errstate(over='ignore'):
            bad = ~np.isfinite(np.asarray(labels[start:start + step], np.float32))
        if bad.any():
            row, column = (int(place) for place in np.argwhere(bad)[0])
            name = f"'{names[column]}'" if names is not None else f'component {column}'
            raise UserError(f'{what}: {name} of image {start + row} is {source[start + row, column]}; finite numbers '
                            'are expected')


def read_label_array(path, mmap_mode=None):
    """The array in a .npy file. Raises UserError if there is none, or one of objects."""
    try:
        with open_regular(path) as f:
            if f.read(6) != b'\x93NUMPY':
                raise UserError(f'{path} is no .npy file of labels')
    except (OSError, ValueError) as err:
        raise UserError(f'cannot read the labels in {path}: {getattr(err, "strerror", None) or err}') from err
    try:
        labels = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except MemoryError:
        raise UserError(f'the labels in {path} do not fit into memory') from None
    except Exception as err:  # NumPy parses the header as Python source: damage raises all that a tokenizer can
        raise UserError(f'cannot read the labels in {path}: {err}') from err
    if not isinstance(labels, np.ndarray):
        raise UserError(f'{path} does not hold a single array')
    return labels
