"""`create_from_hdf5`: a data set from the arrays of an HDF5 file."""

import contextlib
import multiprocessing
import os

import numpy as np

from data.converters import exporter
from data.converters.archives import Limits
from data.converters.loading import shuffled_order, write_arrays
from data.options import add_max_unpacked, boolean
from data.records.label_files import read_label_array
from dnnlib.progress import Progress
from dnnlib.util import UserError

_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError)  # whatever h5py makes of it
_LOOKED_AT = 1 << 30    # values of an array at most


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser('create_from_hdf5', help='data set from an HDF5 file',
                                   description="Takes the largest of the file's arrays data*, uint8 [N, C, R, R], "
                                               'and the labels in FILE-labels.npy if there are any.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('hdf5_file', metavar='HDF5_FILE')
    parser.add_argument('shuffle_first', metavar='SHUFFLE', nargs='?', type=boolean, help='the same as --shuffle')
    parser.add_argument('--shuffle', type=boolean, default=True, metavar='0|1', help='shuffle the order (default 1)')
    add_max_unpacked(parser, 'the array')
    parser.add_argument('--array', metavar='NAME', help='take this array instead')
    parser.set_defaults(run=lambda args: create_from_hdf5(
        args.dataset_dir, args.hdf5_file, args.shuffle if args.shuffle_first is None else args.shuffle_first,
        args.array, args.max_unpacked))


def create_from_hdf5(dataset_dir, hdf5_file, shuffle=True, array=None, max_unpacked=None):
    """Makes a data set from the array of this name in an HDF5 file; None for the largest `data*`."""
    try:
        import h5py
    except ImportError:
        raise UserError("reading HDF5 files needs the package 'h5py'; install it into this environment") from None
    _check_that_it_opens(hdf5_file)
    try:
        file = h5py.File(hdf5_file, 'r')
    except _DAMAGE as err:
        raise UserError(f"cannot open '{hdf5_file}' as an HDF5 file: {err}") from err
    with file:
        with _damage_told(hdf5_file):
            images = _choose_array(file, hdf5_file, array)
            shape, count, name = images.shape[1:], len(images), images.name
            if images.dtype != np.uint8 or not exporter.has_levels(shape, images.dtype) or shape[0] not in (1, 3):
                raise UserError(f"'{hdf5_file}': {name} is {list(images.shape)} {images.dtype}; uint8 pictures "
                                f'[N, 1 or 3, R, R] with R a power of two are expected')
            if images.external or images.is_virtual:
                raise UserError(f"'{hdf5_file}': the values of {name} lie in other files; copy them into one file "
                                '(h5repack)')
            # Chunks are unpacked whole, however little of them is wanted.
            chunk = np.prod(images.chunks or (1,), dtype=np.float64)
        Limits(hdf5_file, max_unpacked).check_whole(max(count * np.prod(shape, dtype=np.float64), chunk))
        labels, label_path = _read_labels(hdf5_file, count)
        order = shuffled_order(count) if shuffle else np.arange(count)
        with exporter.Exporter(dataset_dir, shape, forecast=count) as out:
            with Progress('create_from_hdf5', count) as progress:
                for written in write_arrays(out, _Pictures(images, hdf5_file), order):
                    progress.add(written)
            if labels is not None:
                out.set_labels(labels[order], None, label_source=label_path)
            out.describe(command='create_from_hdf5', skipped=[], resampling=None,
                         arguments={'hdf5_file': os.path.abspath(hdf5_file), 'array': name,
                                    'shuffle': bool(shuffle)})
    print(f'{count} images of {shape[1]}x{shape[2]} in {dataset_dir}', flush=True)


class _Pictures:
    """The pictures of an array of a file that may be damaged."""

    def __init__(self, images, path):
        self._images, self._path, self.shape = images, path, images.shape

    def __getitem__(self, number):
        with _damage_told(self._path):
            return self._images[number]


@contextlib.contextmanager
def _damage_told(path):
    try:
        yield
    except _DAMAGE as err:
        raise UserError(f"'{path}' is damaged: {err}") from err


def _check_that_it_opens(path):
    """Raises UserError if a look at what the file holds ends the process that looks, as some damage does.

    Of arrays of many gigabytes only the descriptions are looked at.
    """
    if not os.path.isfile(path):
        return
    reader = multiprocessing.get_context('spawn').Process(target=_look, args=(path,))
    reader.start()
    reader.join()
    if reader.exitcode:
        raise UserError(f"'{path}' is damaged: the HDF5 library, which cannot read it, ended its process (status "
                        f'{reader.exitcode})')


def _look(path):
    import h5py
    with contextlib.suppress(*_DAMAGE):     # told better where it is opened again
        with h5py.File(path, 'r') as file:
            for array in file.values():
                if isinstance(array, h5py.Dataset) and array.ndim == 4 and len(array) and not array.external \
                        and not array.is_virtual:
                    sizes = [np.prod(size, dtype=np.float64) for size in (array.chunks or (1,), array.shape)]
                    if max(sizes) < _LOOKED_AT:     # of a larger array, looking at everything would take too long
                        for number in range(len(array)):
                            _ = array[number]


def _choose_array(file, path, name):
    import h5py
    arrays = {key: value for key, value in file.items() if isinstance(value, h5py.Dataset) and value.ndim == 4
              and (key.startswith('data') or key == name)}
    if name is not None:
        if name not in arrays:
            raise UserError(f"'{path}' has no array '{name}' of four dimensions; it has "
                            + (', '.join(sorted(arrays)) or 'none'))
        return arrays[name]
    if not arrays:
        raise UserError(f"'{path}' has no array data* of four dimensions")
    widest = max(value.shape[3] for value in arrays.values())
    largest = sorted(key for key, value in arrays.items() if value.shape[3] == widest)
    if len(largest) > 1:
        raise UserError(f"'{path}' has several arrays of {widest} pixels ({', '.join(largest)}); choose one with "
                        '--array')
    return arrays[largest[0]]


def _read_labels(hdf5_file, count):
    """The labels beside the file, numbers [N, L], and their path, or (None, None)."""
    path = os.path.splitext(hdf5_file)[0] + '-labels.npy'
    if not os.path.isfile(path):
        return None, None
    labels = read_label_array(path)
    if labels.ndim != 2 or len(labels) != count or labels.dtype.kind not in 'fiub':
        raise UserError(f"'{path}' holds {list(labels.shape)} {labels.dtype}; numbers [{count}, components] are "
                        f'expected')
    return labels, path
