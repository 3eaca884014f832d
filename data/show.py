"""`display`, `extract` and `compare`: a data set's pictures on a sheet, as files, and against another set."""

import csv
import os

import numpy as np

from data.converters.exporter import check_new
from data.options import add_device, add_workers, boolean, positive_int
from data.pictures import create_image_grid
from data.records.codec import decode
from data.records.dataset import TFRecordDataset
from data.verify import has_labels
from data.workers import ordered_map
from dnnlib.atomic import NAME_BYTES
from dnnlib.files import atomic_folder, atomic_path, new_folder
from dnnlib.machine import usable_cores
from dnnlib.progress import Progress
from dnnlib.util import UserError

_CHUNK = 64


def add_arguments(subparsers):
    """Adds the commands to the parser of dataset_tool.py."""
    parser = subparsers.add_parser('display', help='draw a sheet of pictures of a data set',
                                   description='Writes a PNG with pictures of a data set, in its order; of codes, '
                                   'those that their codec makes of them.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR')
    parser.add_argument('--output', metavar='FILE', help='PNG to write (default DATASET-sheet.png here)')
    parser.add_argument('--num', type=positive_int, metavar='N', help='how many pictures (default 64; 1000 points)')
    parser.add_argument('--start', type=int, default=0, metavar='N', help='number of the first one (default 0)')
    add_device(parser)
    parser.set_defaults(run=lambda args: display(args.dataset_dir, args.output, args.num, args.start, args.device))

    parser = subparsers.add_parser('extract', help='write the pictures of a data set as PNG files',
                                   description='Writes img00000000.png and so on; labels, if any, as labels.csv.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR')
    parser.add_argument('output_dir', metavar='OUTPUT_DIR', help='directory to make')
    add_workers(parser)
    parser.set_defaults(run=lambda args: extract(args.dataset_dir, args.output_dir, args.workers))

    parser = subparsers.add_parser('compare', help='compare the pictures of two data sets',
                                   description='Compares full-resolution pictures and labels, one by one. Exits with 1 '
                                               'if they differ.')
    parser.add_argument('dataset_dir_a', metavar='DATASET_DIR_A')
    parser.add_argument('dataset_dir_b', metavar='DATASET_DIR_B')
    parser.add_argument('--ignore-labels', '--ignore_labels', type=boolean, default=False, metavar='0|1',
                        help='compare the pictures only (default 0)')
    parser.set_defaults(run=lambda args: compare(args.dataset_dir_a, args.dataset_dir_b, args.ignore_labels))


def _open(dataset_dir, labels=True):
    return TFRecordDataset(dataset_dir, max_label_size='full' if labels and has_labels(dataset_dir) else 0,
                           prefetch_mb=0)


def _open_pictures(dataset_dir, or_points=False, or_codes=False):
    dataset = _open(dataset_dir)
    is_drawable = dataset.is_image or or_points and dataset.is_points or or_codes and dataset.codec is not None
    if not is_drawable:
        raise UserError(f"'{dataset_dir}' holds arrays of {dataset.shape} {dataset.dtype}, which are not pictures")
    return dataset


def to_picture(array):
    """uint8 [C, H, W] with C = 1 or 3 as a Pillow image."""
    from PIL import Image
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def display(dataset_dir, output=None, num=None, start=0, device='auto'):
    """Draws pictures start…start+num−1 on one sheet, rows first; or points in one picture.

    Codes are decoded for it, by the codec beside them, on `device`. Raises UserError for a `start` beyond the last
    picture, and where the sheet cannot be written.
    """
    dataset = _open_pictures(dataset_dir, or_points=True, or_codes=True)
    num = num or (1000 if dataset.is_points else 64)
    if not 0 <= start < len(dataset):
        raise UserError(f'--start is {start} but the data set has pictures 0 to {len(dataset) - 1}')
    if output is None:
        output = os.path.basename(os.path.abspath(dataset_dir)) + '-sheet.png'
    images, _ = dataset.get_samples_np(np.arange(start, min(start + num, len(dataset))))
    if dataset.codec is not None:
        picture = _sheet(decode(dataset.codec, images, device))
    elif dataset.is_image:
        picture = _sheet(images)
    else:
        picture = np.rint(dataset.draw_samples(images, dataset.dynamic_range, None) * 255).astype(np.uint8)
    try:
        with new_folder(os.path.dirname(os.path.abspath(output))), atomic_path(output) as temp:
            to_picture(picture).save(temp, 'PNG')
    except OSError as err:
        raise UserError(f"cannot write '{output}': {err.strerror or err}") from err
    print(f"{len(images)} {'points' if dataset.is_points else 'pictures'} in {output}", flush=True)


def _sheet(images):
    """Pictures [N, C, H, W] side by side in rows: [C, H, W]."""
    columns = int(np.ceil(np.sqrt(len(images) * 1.5)))
    rows = -(-len(images) // columns)
    return create_image_grid(images, (columns, rows))


class PictureWriter:
    """Writes pictures as PNG files in the worker processes; a task is a (first, last + 1) pair of their numbers."""

    def __init__(self, dataset_dir, folder):
        self.dataset_dir, self.folder = dataset_dir, folder

    def __call__(self, task):
        with _open(self.dataset_dir, labels=False) as dataset:
            images, _ = dataset.get_samples_np(range(*task))
        for number, image in zip(range(*task), images):
            to_picture(image).save(os.path.join(self.folder, f'img{number:08d}.png'))
        return len(images)


def extract(dataset_dir, output_dir, workers=None):
    """Writes every picture as a PNG file, and labels as a CSV file that `create_from_images --labels` reads."""
    dataset = _open_pictures(dataset_dir)
    check_new(output_dir)
    workers = usable_cores() if workers is None else workers
    if len(dataset) <= 4 * _CHUNK:
        workers = 1
    tasks = [(start, min(start + _CHUNK, len(dataset))) for start in range(0, len(dataset), _CHUNK)]
    with new_folder(os.path.dirname(os.path.abspath(output_dir))), atomic_folder(output_dir) as temp, \
            Progress('extract', len(dataset)) as progress:
        for count in ordered_map(PictureWriter(os.path.abspath(dataset_dir), temp), tasks, workers):
            progress.add(count)
        if dataset.label_size:
            _write_labels(dataset, os.path.join(temp, 'labels.csv'))
    print(f'{len(dataset)} pictures in {output_dir}', flush=True)


def _write_labels(dataset, path):
    names = dataset.label_names or [f'component{i}' for i in range(dataset.label_size)]
    with open(path, 'w', encoding='utf-8', errors=NAME_BYTES, newline='') as f:
        writer = csv.writer(f)
        writer.writerow(['image'] + names)
        for number in range(len(dataset)):
            writer.writerow([f'img{number:08d}.png'] + [f'{value:.9g}' for value in dataset.get_labels_np([number])[0]])


def compare(dataset_dir_a, dataset_dir_b, ignore_labels=False):
    """Compares two data sets; returns the exit status, 1 if they differ."""
    a, b = _open(dataset_dir_a, not ignore_labels), _open(dataset_dir_b, not ignore_labels)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        print(f'The samples differ in kind: {a.shape} {a.dtype} and {b.shape} {b.dtype}')
        return 1
    count = min(len(a), len(b))
    different_images = different_labels = 0
    with Progress('compare', count) as progress:
        for start in range(0, count, _CHUNK):
            indices = np.arange(start, min(start + _CHUNK, count))
            (images_a, labels_a), (images_b, labels_b) = a.get_samples_np(indices), b.get_samples_np(indices)
            different_images += int((images_a != images_b).reshape(len(indices), -1).any(axis=1).sum())
            if a.label_size == b.label_size:
                different_labels += int((labels_a != labels_b).any(axis=1).sum())
            progress.add(len(indices))
    findings, what = [], 'images' if a.is_image else 'samples'
    if len(a) != len(b):
        findings.append(f'{len(a)} and {len(b)} {what}')
    if different_images:
        findings.append(f'{different_images} of {count} {what} differ')
    if a.label_size != b.label_size:
        findings.append(f'{a.label_size} and {b.label_size} label components')
    if different_labels:
        findings.append(f'{different_labels} of {count} labels differ')
    print('; '.join(findings) if findings else f'All {count} {what}' + ('' if ignore_labels else ' and labels')
          + ' are the same', flush=True)
    return 1 if findings else 0
