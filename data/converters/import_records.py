"""`import`: a data set from TFRecord files that other tools wrote."""

import io
import os

import numpy as np

from data.converters import exporter
from data.converters.archives import Limits
from data.images import BadImage, open_image, read_pixels, resize, to_array
from data.options import add_max_unpacked, add_webp, power_of_two
from data.records.foreign import find_picture, read_records
from data.records.tfrecord import Malformed
from dnnlib.progress import Progress
from dnnlib.util import UserError

_CHUNK_BYTES = 2 << 20
_MOST_CLASSES = 1 << 16


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser(
        'import', help="data set from other tools' TFRecords",
        description='Reads TFRecord files of pictures in any common form: PNG, JPEG or WebP, raw bytes with their '
                    'shape in either order, of one size only, compressed with gzip or not. A class per record '
                    "(a feature 'label' or 'class') becomes a label. The order stays.")
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('files', metavar='FILE', nargs='+', help='TFRecord files')
    parser.add_argument('--resize', type=power_of_two, metavar='N', help='bring every picture to NxN (a power of two)')
    parser.add_argument('--crop', choices=['center', 'pad', 'none'], default='center',
                        help='with --resize: cut to the central square, pad with black, or stretch (default center)')
    parser.only_with('--resize', '--crop')
    parser.add_argument('--no-labels', action='store_true', help='leave the classes out')
    add_webp(parser)
    add_max_unpacked(parser, 'a file that is compressed')
    parser.set_defaults(run=lambda args: import_records(args.dataset_dir, args.files, args.resize, args.crop,
                                                        args.allow_webp, args.no_labels, args.max_unpacked))


def import_records(dataset_dir, paths, size=None, crop='center', allow_webp=False, no_labels=False, max_unpacked=None):
    """Makes a data set of [C, R, R] from the records of all files, in their order. Raises UserError."""
    exporter.check_new(dataset_dir)
    places = [os.path.realpath(path) for path in paths]
    twice = [path for path, place in zip(paths, places) if places.count(place) > 1]
    if twice:
        raise UserError(f"'{twice[0]}' is named twice; its pictures would count twice")
    records = _pictures(paths, size, crop, allow_webp, max_unpacked)
    first = next(records, None)
    if first is None:
        raise UserError(f"'{paths[0]}' holds no record")
    shape = first[0].shape
    if not exporter.has_levels(shape, np.uint8) or shape[0] not in (1, 3):
        raise UserError(f"the first picture in '{paths[0]}' is {shape[2]}x{shape[1]}; squares with a side that is a "
                        'power of two are expected: bring all to one with --resize N')
    count = max(1, min(256, _CHUNK_BYTES // int(np.prod(shape))))
    with exporter.Exporter(dataset_dir, shape) as out:
        labels, chunk = [], []
        with Progress('import', None) as progress:
            for array, label, where in _with(first, records):
                if array.shape != shape:
                    raise UserError(f'{where} is a picture of {list(array.shape)} where {list(shape)} is expected; '
                                    'bring all to one size with --resize N')
                labels.append(label)
                chunk.append(array)
                if len(chunk) == count:
                    out.add(exporter.encode(np.stack(chunk)))
                    progress.add(len(chunk))
                    chunk = []
            if chunk:
                out.add(exporter.encode(np.stack(chunk)))
        if not no_labels:
            _set_labels(out, labels, paths)
        out.describe(command='import', skipped=[], resampling='lanczos' if size else None,
                     arguments={'files': [os.path.abspath(path) for path in paths], 'resize': size,
                                'crop': crop if size else None})
    print(f'{len(labels)} images of {shape[1]}x{shape[2]} in {dataset_dir}', flush=True)


def _with(first, others):
    yield first
    yield from others


def _pictures(paths, size, crop, allow_webp, max_unpacked):
    """Yields (uint8 [C, H, W], class or None, where it stands)."""
    from PIL import Image
    for path in paths:
        for number, payload in enumerate(read_records(path, _unpacking_check(path, max_unpacked))):
            where = f'{path}: record {number}'
            try:
                found, label = find_picture(payload)
                if isinstance(found, bytes):
                    image = open_image(io.BytesIO(found), allow_webp)
                    image = read_pixels(image, 'grey' if image.mode in ('1', 'L') else 'rgb')
                else:
                    image = Image.fromarray(found[:, :, 0] if found.shape[2] == 1 else np.ascontiguousarray(found))
            except (Malformed, BadImage) as err:
                raise UserError(f'{where} {err}') from None
            yield to_array(resize(image, size, crop) if size else image), label, where


def _unpacking_check(path, max_unpacked):
    limits = Limits(path, max_unpacked)

    def check(number, size):
        limits.check_member(f'record {number}', size, os.path.getsize(path))
        limits.spend(size)
    return check


def _set_labels(out, labels, paths):
    """One-hot labels, if the records have classes. Raises UserError where only some have one."""
    missing = sum(label is None for label in labels)
    if missing == len(labels):
        return
    if missing:
        raise UserError(f"{missing} of the {len(labels)} records in '{paths[0]}'{' and others' * (len(paths) > 1)} "
                        'have no class; give those that have one alone, or leave the classes out with --no-labels')
    if not 0 <= min(labels) <= max(labels) < _MOST_CLASSES:
        raise UserError(f"'{paths[0]}' holds classes from {min(labels)} to {max(labels)}; 0 to {_MOST_CLASSES - 1} are "
                        'expected: leave them out with --no-labels')
    from data.converters.labels import check_one_hot
    names = [str(number) for number in range(max(labels) + 1)]
    check_one_hot(len(labels), len(names))
    values = np.zeros([len(labels), len(names)], np.float32)
    values[np.arange(len(labels)), labels] = 1
    out.set_labels(values, names, label_source='classes')
