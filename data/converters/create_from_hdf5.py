"""`create_from_hdf5`: a data set from the arrays of an HDF5 file."""

import importlib.util
import os

import numpy as np

from data.converters import exporter
from data.converters.archives import Limits
from data.converters.loading import shuffled_order, write_arrays
from data.guarded import Guarded
from data.options import add_max_unpacked, boolean
from data.records.label_files import read_label_array
from dnnlib.progress import Progress
from dnnlib.util import UserError


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
    """Makes a data set from the array of this name in an HDF5 file; None for the largest `data*`. Raises UserError."""
    if importlib.util.find_spec('h5py') is None:
        raise UserError("reading HDF5 files needs the package 'h5py'; install it into this environment")
    if not os.path.isfile(hdf5_file):
        raise UserError(f"HDF5 file '{hdf5_file}' does not exist")
    exporter.check_new(dataset_dir)
    with Guarded('hdf5', hdf5_file, 'an HDF5 file is expected; copy or download it again') as file:
        file.ask('open', hdf5_file)
        name, images = _choose_array(file.ask('arrays')[0], hdf5_file, array)
        shape = images['shape'][1:]
        if images['dtype'] != 'uint8' or not exporter.has_levels(shape, np.uint8) or shape[0] not in (1, 3):
            raise UserError(f"'{hdf5_file}': {images['name']} is {images['shape']} {images['dtype']}; uint8 pictures "
                            f'[N, 1 or 3, R, R] with R a power of two are expected')
        count = images['shape'][0]
        if images['elsewhere']:
            raise UserError(f"'{hdf5_file}': the values of {images['name']} lie in other files; copy them into one "
                            'file (h5repack)')
        # Chunks are unpacked whole, however little of them is wanted.
        chunk = np.prod(images['chunks'], dtype=np.float64)
        Limits(hdf5_file, max_unpacked).check_whole(max(count * np.prod(shape, dtype=np.float64), chunk))
        labels, label_path = _read_labels(hdf5_file, count)
        order = shuffled_order(count) if shuffle else np.arange(count)
        with exporter.Exporter(dataset_dir, shape, forecast=count) as out:
            with Progress('create_from_hdf5', count) as progress:
                for written in write_arrays(out, _Array(file, name, images['shape']), order):
                    progress.add(written)
            if labels is not None:
                out.set_labels(labels[order], None, label_source=label_path)
            out.describe(command='create_from_hdf5', skipped=[], resampling=None,
                         arguments={'hdf5_file': os.path.abspath(hdf5_file), 'array': images['name'],
                                    'shuffle': bool(shuffle)})
    print(f'{count} images of {shape[1]}x{shape[2]} in {dataset_dir}', flush=True)


class _Array:
    """An array of a guarded file, of which single elements along the first axis are read."""

    def __init__(self, file, name, shape):
        self._file, self._name, self.shape = file, name, shape

    def __getitem__(self, index):
        content = self._file.ask('read', self._name, index)[1]
        return np.frombuffer(content, np.uint8).reshape(self.shape[1:])


def _choose_array(found, path, name):
    """(name, what is said of it) of the array to take, among all of four dimensions."""
    arrays = {key: value for key, value in found.items() if key.startswith('data') or key == name}
    if name is not None:
        if name not in arrays:
            raise UserError(f"'{path}' has no array '{name}' of four dimensions; it has "
                            + (', '.join(sorted(arrays)) or 'none'))
        return name, arrays[name]
    if not arrays:
        raise UserError(f"'{path}' has no array data* of four dimensions")
    widest = max(value['shape'][3] for value in arrays.values())
    largest = sorted(key for key, value in arrays.items() if value['shape'][3] == widest)
    if len(largest) > 1:
        raise UserError(f"'{path}' has several arrays of {widest} pixels ({', '.join(largest)}); choose one with "
                        '--array')
    return largest[0], arrays[largest[0]]


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
