"""`create_from_images`: a data set from a folder of pictures."""

import collections
import hashlib
import os
import re

import numpy as np

from data.addresses import staged
from data.cluster.engine import add_cluster, open_cluster
from data.converters import exporter
from data.converters.labels import add_selection, select
from data.converters.loading import Loader, shuffled_order, write_all
from data.images import BadImage, check_mode, explain_others, list_images, open_image, read_pixels, resize
from data.ledger import ledger_sha256
from data.options import add_background, add_webp, add_workers, boolean, positive_int, power_of_two
from data.pixels import parse_background
from dnnlib.progress import Progress
from dnnlib.util import UserError

_SCREENFUL = 20
_ENOUGH = 100


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser(
        'create_from_images', help='data set from a folder of pictures',
        description='Makes a data set from all pictures in a folder and its subfolders. Without --resize they must '
                    'already be squares of one power of two, all grey or all RGB.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('image_dir', metavar='IMAGE_DIR', help='folder of pictures')
    parser.add_argument('shuffle_first', metavar='SHUFFLE', nargs='?', type=boolean, help='the same as --shuffle')
    parser.add_argument('--shuffle', type=boolean, default=True, metavar='0|1',
                        help='shuffle the order of the pictures (default 1); 0 keeps them sorted by name')
    parser.add_argument('--resize', type=power_of_two, metavar='N', help='bring every picture to NxN (a power of two)')
    parser.add_argument('--crop', choices=['center', 'pad', 'none'], default='center',
                        help='with --resize: cut to the central square, pad with black, or stretch (default center)')
    parser.add_argument('--convert', choices=['rgb', 'grey'],
                        help='turn pictures of any kind into this: grey, palettes, CMYK, 16 bits, transparent ones')
    add_background(parser)
    add_webp(parser)
    parser.add_argument('--skip-bad', action='store_true', help='leave out unusable files; the manifest lists them')
    parser.add_argument('--max-images', type=positive_int, metavar='N', help='use only the first N')
    add_workers(parser)
    add_selection(parser)
    add_cluster(parser)
    parser.only_with('--resize', '--crop')
    parser.only_with('--convert', '--background')
    parser.set_defaults(run=_run)


def _run(args):
    shuffle = args.shuffle if args.shuffle_first is None else args.shuffle_first
    with open_cluster(args) as cluster, staged(args, ['image_dir'], ['dataset_dir']) as args:
        create_from_images(
            args.dataset_dir, args.image_dir, shuffle=shuffle, size=args.resize, crop=args.crop, convert=args.convert,
            skip_bad=args.skip_bad, max_images=args.max_images, workers=args.workers, selection=args,
            background=args.background, allow_webp=args.allow_webp, cluster=cluster)


class FolderLoader(Loader):
    """Reads pictures by their paths. folder: where these start; the others: as in `create_from_images`."""

    def __init__(self, folder, expected, size=None, crop='center', convert=None, background=None, allow_webp=False):
        super().__init__(expected)
        self.folder = folder
        self.size, self.crop, self.convert, self.background = size, crop, convert, background
        self.allow_webp = allow_webp

    def load(self, path):
        image = open_image(os.path.join(self.folder, path), self.allow_webp)
        check_mode(image, self.convert)
        image = read_pixels(image, self.convert, self.background)
        if self.size:
            image = resize(image, self.size, self.crop)
        return self.check(image)


def create_from_images(dataset_dir, image_dir, shuffle=True, size=None, crop='center', convert=None, skip_bad=False,
                       max_images=None, workers=None, selection=None, background='white', allow_webp=False,
                       cluster=None):
    """Makes a data set from the pictures in `image_dir`.

    shuffle:  order them as `arange(N)` shuffled with seed 123, N the number of files; else sorted by name.
    size:     bring every picture to size x size; None to take them as they are, which must be equal.
    crop:     'center', 'pad' or 'none', see `data.images.resize`.
    convert:  'rgb' or 'grey' to convert every picture, None to take them as they are, which must be equal.
    skip_bad: leave out unusable pictures instead of refusing the whole folder.
    background: what shows through transparent pixels that are converted, see `data.pixels.parse_background`.
    allow_webp: decode WebP even with a library that is known to be unsafe.
    cluster: `Cluster` whose workers read them, in place of processes here.
    selection: parsed options of `data.converters.labels.add_selection`, or None for all images without labels.

    Raises UserError naming the unusable files, unless `skip_bad`.
    """
    exporter.check_new(dataset_dir)
    color = parse_background(background)
    paths, others = list_images(image_dir)
    if others:
        print(f'{len(others)} files are not images by their names and are left out{explain_others(others)}', flush=True)
    labels, selected = None, {}
    if selection is not None:
        chosen = select(paths, selection, image_dir)
        paths, labels, selected = chosen.paths, chosen.labels, chosen.facts
    left_out = {'not_images': len(others), **selected.pop('left_out', {}), 'max_images': 0}
    if max_images is not None:
        left_out['max_images'] = max(len(paths) - max_images, 0)
        paths = paths[:max_images]
    order = shuffled_order(len(paths)) if shuffle else np.arange(len(paths))
    expected = _expected_shape(image_dir, paths, size, convert, allow_webp)
    loader = FolderLoader(os.path.abspath(image_dir), expected, size, crop, convert, color, allow_webp)
    with exporter.Exporter(dataset_dir, expected, forecast=len(paths)) as out:
        with Progress('create_from_images', len(paths)) as progress:
            used, bad = write_all(out, loader, ((int(i), paths[i]) for i in order), len(paths), workers, progress,
                                  skip_bad, cluster=cluster)
        if bad and (not skip_bad or not used):
            raise UserError(_describe_bad(image_dir, bad, len(paths), size, convert, skip_bad))
        if labels is not None:
            out.set_labels(labels.values[used], labels.names, label_source=labels.source)
        out.describe(
            command='create_from_images',
            arguments={'image_dir': os.path.abspath(image_dir), 'shuffle': bool(shuffle), 'resize': size,
                       'crop': crop if size else None, 'convert': convert,
                       'background': background if convert else None, 'skip_bad': bool(skip_bad),
                       'max_images': max_images, 'include_list': getattr(selection, 'include_list', None),
                       'exclude_list': getattr(selection, 'exclude_list', None)},
            resampling='lanczos' if size else None, selection=selected,
            source={'files': len(paths), 'fingerprint': _source_fingerprint(image_dir, paths),
                    'ledger_sha256': ledger_sha256(image_dir)},
            left_out=dict(left_out, unusable=len(bad)),
            skipped=[{'file': path, 'reason': reason} for path, reason in sorted(bad)])
    print(f'{len(used)} images of {expected[1]}x{expected[2]} in {dataset_dir}'
          + (f'; {len(bad)} files left out, listed in its manifest.json' if bad else ''), flush=True)


def _expected_shape(folder, paths, size, convert, allow_webp):
    """[C, H, W] that all pictures should have: what most of the first hundred usable ones have."""
    shapes = collections.Counter()
    for path in paths:
        if sum(shapes.values()) == _ENOUGH:
            break
        try:
            image = open_image(os.path.join(folder, path), allow_webp)
            check_mode(image, convert)
        except BadImage:
            continue
        channels = {'rgb': 3, 'grey': 1}.get(convert) or len(image.getbands())
        width, height = (size, size) if size else image.size
        shapes[(channels, height, width)] += 1
    if not shapes:
        return [3, size or exporter.SMALLEST, size or exporter.SMALLEST]  # the files will be refused one by one
    shape = shapes.most_common(1)[0][0]
    if not exporter.has_levels(shape, np.uint8):
        example = f'{shape[2]}x{shape[1]}'
        wrong = 'not square' if shape[1] != shape[2] else \
            'smaller than 4x4' if shape[1] < exporter.SMALLEST else 'not a power of two'
        raise UserError(f"the pictures in '{folder}' are {example}, which is {wrong}; bring them to one size with "
                        f'--resize N (and --crop center, pad or none), for instance --resize 256')
    return list(shape)


def _describe_bad(folder, bad, total, size, convert, skipped):
    listed = '\n'.join(f'  {path} {reason}' for path, reason in sorted(bad)[:_SCREENFUL])
    if len(bad) > _SCREENFUL:
        listed += f'\n  … and {len(bad) - _SCREENFUL} more'
    advice = 'mend or remove them' if skipped else 'mend or remove them, or leave them out with --skip-bad'
    reasons = [reason for _, reason in bad]
    if not size and any(re.search(r'\dx\d+ is expected', reason) for reason in reasons):
        advice += ', or bring all pictures to one size with --resize N'
    if not convert and any(re.search('RGB|palette|CMYK|alpha|bits|black and white|pixels of the kind', reason)
                           for reason in reasons):
        advice += ', or turn all into one kind of pixels with --convert rgb'
    return f"{len(bad)} of {total} pictures in '{folder}' cannot be used; {advice}:\n{listed}"


def _source_fingerprint(folder, paths):
    """Identifies the source by the names and sizes of its files; those that are gone by now have none."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            size = os.path.getsize(os.path.join(folder, path))
        except OSError:
            size = None
        digest.update(os.fsencode(path) + f'\0{size}\n'.encode())
    return digest.hexdigest()
