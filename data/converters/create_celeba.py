"""`create_celeba`: the central 128x128 of the aligned CelebA images."""

import os

from data.converters import exporter, published
from data.converters.create_small import warn_about_count
from data.converters.labels import add_selection, select
from data.converters.loading import Loader, shuffled_order, write_all
from data.images import BadImage, check_mode, list_images, open_image, read_pixels
from data.options import add_webp, add_workers, positive_int
from dnnlib.progress import Progress
from dnnlib.util import UserError

_SIZE = (178, 218)  # width, height of the aligned images
_HALF = 64
_FOLDERS = ('img_align_celeba_png', 'img_align_celeba')


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser('create_celeba', help='data set from the aligned CelebA images',
                                   description='Cuts 128x128 pixels out of the aligned 178x218 CelebA images.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('celeba_dir', metavar='CELEBA_DIR', help='folder with img_align_celeba_png/*.png')
    parser.add_argument('--cx', type=positive_int, default=89, metavar='X', help='centre of the crop (default 89)')
    parser.add_argument('--cy', type=positive_int, default=121, metavar='Y', help='centre of the crop (default 121)')
    add_webp(parser)
    add_workers(parser)
    add_selection(parser)
    parser.set_defaults(run=lambda args: create_celeba(args.dataset_dir, args.celeba_dir, args.cx, args.cy,
                                                       args.workers, args, args.allow_webp))


class CropLoader(Loader):
    """Reads aligned images by their paths under `folder` and cuts 128x128 pixels out around (cx, cy)."""

    def __init__(self, folder, cx, cy, allow_webp=False):
        super().__init__([3, 2 * _HALF, 2 * _HALF])
        self.folder, self.cx, self.cy, self.allow_webp = folder, cx, cy, allow_webp

    def load(self, path):
        image = open_image(os.path.join(self.folder, path), self.allow_webp)
        if image.size != _SIZE:
            raise BadImage(f'is {image.size[0]}x{image.size[1]} where {_SIZE[0]}x{_SIZE[1]} is expected')
        check_mode(image)
        box = (self.cx - _HALF, self.cy - _HALF, self.cx + _HALF, self.cy + _HALF)
        return self.check(read_pixels(image).crop(box))


def create_celeba(dataset_dir, celeba_dir, cx=89, cy=121, workers=None, selection=None, allow_webp=False):
    """Makes a data set of [3, 128, 128] from the aligned images, in shuffled order. Raises UserError."""
    if not (_HALF <= cx <= _SIZE[0] - _HALF and _HALF <= cy <= _SIZE[1] - _HALF):
        raise UserError(f'--cx {cx} --cy {cy} puts the crop outside of the images; {_HALF} to {_SIZE[0] - _HALF} and '
                        f'{_HALF} to {_SIZE[1] - _HALF} are possible')
    exporter.check_new(dataset_dir)
    folder = next((name for name in _FOLDERS if os.path.isdir(os.path.join(celeba_dir, name))), None)
    if folder is None:
        raise UserError(f"'{celeba_dir}' has no folder '{_FOLDERS[0]}'")
    folder = os.path.join(celeba_dir, folder)
    paths, _ = list_images(folder)
    warn_about_count(len(paths), published.SOURCES['celeba'].images, folder)
    labels, selected = None, {}
    if selection is not None:
        chosen = select(paths, selection, folder)
        paths, labels, selected = chosen.paths, chosen.labels, chosen.facts
    loader = CropLoader(folder, cx, cy, allow_webp)
    items = ((int(number), paths[number]) for number in shuffled_order(len(paths)))
    with exporter.Exporter(dataset_dir, loader.expected, forecast=len(paths)) as out:
        with Progress('create_celeba', len(paths)) as progress:
            used, bad = write_all(out, loader, items, len(paths), workers, progress, skip_bad=False)
        if bad:
            name, reason = min(bad)
            raise UserError(f"{len(bad)} of {len(paths)} images in '{folder}' cannot be used, the first one: "
                            f'{name} {reason}')
        if labels is not None:
            out.set_labels(labels.values[used], labels.names, label_source=labels.source)
        out.describe(command='create_celeba', skipped=[], resampling=None, left_out=selected.pop('left_out', {}),
                     selection=selected,
                     arguments={'celeba_dir': os.path.abspath(celeba_dir), 'cx': cx, 'cy': cy,
                                'include_list': getattr(selection, 'include_list', None),
                                'exclude_list': getattr(selection, 'exclude_list', None)})
    print(f'{len(used)} images of 128x128 in {dataset_dir}', flush=True)
