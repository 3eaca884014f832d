"""`create_from_images`: a data set from a folder of pictures."""

import collections
import os

import numpy as np

from data_tools import exporter
from data_tools.images import BadImage, check_mode, list_images, open_image, read_pixels, resize, to_array
from data_tools.labels import add_selection, select
from data_tools.options import add_workers, boolean, positive_int, power_of_two
from data_tools.prefilter.ledger import ledger_sha256
from data_tools.progress import Progress
from data_tools.workers import available_cores, ordered_map
from dnnlib.util import UserError

SHUFFLE_SEED = 123
_CHUNK_BYTES = 1 << 20
_SCREENFUL = 20
_SERIAL = 64  # so few images are done before worker processes have started


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
    parser.add_argument('--convert', choices=['rgb', 'grey'], help='turn grey, palette and CMYK pictures into this')
    parser.add_argument('--skip-bad', action='store_true', help='leave out unusable files and list them in the manifest')
    parser.add_argument('--max-images', type=positive_int, metavar='N', help='use only the first N')
    add_workers(parser)
    add_selection(parser)
    parser.set_defaults(run=_run)


def _run(args):
    create_from_images(
        args.dataset_dir, args.image_dir, shuffle=args.shuffle if args.shuffle_first is None else args.shuffle_first,
        size=args.resize, crop=args.crop, convert=args.convert, skip_bad=args.skip_bad, max_images=args.max_images,
        workers=args.workers, selection=args)


class Loader:
    """Reads pictures, checks them against what is expected and encodes them; runs in the worker processes.

    folder: where the paths start; `size`, `crop`, `convert` as in `create_from_images`; expected: [C, H, W].
    """

    def __init__(self, folder, expected, size=None, crop='center', convert=None):
        self.folder, self.expected = folder, list(expected)
        self.size, self.crop, self.convert = size, crop, convert

    def load(self, path):
        """One picture as uint8 [C, H, W]. Raises BadImage."""
        image = open_image(os.path.join(self.folder, path))
        check_mode(image, self.convert)
        image = read_pixels(image)
        if self.convert:
            image = image.convert({'rgb': 'RGB', 'grey': 'L'}[self.convert])
        if self.size:
            image = resize(image, self.size, self.crop)
        channels = len(image.getbands())
        height, width = self.expected[1:]
        if image.size != (width, height):
            raise BadImage(f'is {image.size[0]}x{image.size[1]} where {width}x{height} is expected')
        if channels != self.expected[0]:
            kinds = {1: 'grey', 3: 'RGB'}
            raise BadImage(f'is {kinds[channels]} where {kinds[self.expected[0]]} is expected')
        return to_array(image)

    def __call__(self, task):
        """`task` is ([(number, path)], whether to encode). Returns (encoded or None, numbers used, [(path, reason)])."""
        items, wanted = task
        arrays = np.empty([len(items)] + self.expected, np.uint8)
        used, bad = [], []
        for number, path in items:
            try:
                arrays[len(used)] = self.load(path)
            except BadImage as err:
                bad.append((path, str(err)))
            else:
                used.append(number)
        encoded = exporter.encode(arrays[:len(used)]) if used and wanted else None
        return encoded, used, bad


def create_from_images(dataset_dir, image_dir, shuffle=True, size=None, crop='center', convert=None, skip_bad=False,
                       max_images=None, workers=None, selection=None):
    """Makes a data set from the pictures in `image_dir`.

    shuffle:  order them as `arange(N)` shuffled with seed 123, N the number of files; else sorted by name.
    size:     bring every picture to size x size; None to take them as they are, which must be equal.
    crop:     'center', 'pad' or 'none', see `data_tools.images.resize`.
    convert:  'rgb' or 'grey' to convert every picture, None to take them as they are, which must be equal.
    skip_bad: leave out unusable pictures instead of refusing the whole folder.
    selection: parsed options of `data_tools.labels.add_selection`, or None for all images without labels.

    Raises UserError naming the unusable files, unless `skip_bad`.
    """
    exporter.check_new(dataset_dir)
    paths, others = list_images(image_dir)
    if others:
        print(f'{others} files are not images by their names and are left out', flush=True)
    labels = None
    if selection is not None:
        paths, labels = select(paths, selection)
    if max_images is not None:
        paths = paths[:max_images]
    order = shuffled_order(len(paths)) if shuffle else np.arange(len(paths))
    expected = _expected_shape(image_dir, paths, size, convert)
    loader = Loader(image_dir, expected, size, crop, convert)
    bad, used = [], []
    with exporter.Exporter(dataset_dir, expected, forecast=len(paths)) as out:
        for encoded, numbers, refused in _load_all(loader, paths, order, workers, bad, skip_bad):
            bad.extend(refused)
            used.extend(numbers)
            if encoded is not None and (skip_bad or not bad):
                out.add(encoded)
        if bad and (not skip_bad or not used):
            raise UserError(_describe_bad(image_dir, bad, len(paths), size, convert, skip_bad))
        if labels is not None:
            out.set_labels(labels.values[used], labels.names, label_source=labels.source)
        out.describe(
            command='create_from_images',
            arguments={'image_dir': os.path.abspath(image_dir), 'shuffle': bool(shuffle), 'resize': size,
                       'crop': crop if size else None, 'convert': convert, 'skip_bad': bool(skip_bad),
                       'max_images': max_images, 'include_list': getattr(selection, 'include_list', None),
                       'exclude_list': getattr(selection, 'exclude_list', None)},
            resampling='lanczos' if size else None,
            source={'files': len(paths), 'fingerprint': _source_fingerprint(image_dir, paths),
                    'ledger_sha256': ledger_sha256(image_dir)},
            skipped=[{'file': path, 'reason': reason} for path, reason in sorted(bad)])
    print(f'{len(used)} images of {expected[1]}x{expected[2]} in {dataset_dir}'
          + (f'; {len(bad)} files left out, listed in its manifest.json' if bad else ''), flush=True)


def shuffled_order(count):
    """The order in which the converters write `count` source images, int64 [count]."""
    order = np.arange(count)
    np.random.RandomState(SHUFFLE_SEED).shuffle(order)
    return order


def _load_all(loader, paths, order, workers, bad, skip_bad):
    """Yields what the loader makes of all paths, in order. Once something is bad the rest is only checked."""
    count = max(1, min(256, _CHUNK_BYTES // int(np.prod(loader.expected))))
    workers = available_cores() if workers is None else workers
    if len(paths) <= _SERIAL:
        workers = 1

    def tasks():
        for start in range(0, len(order), count):
            yield [(int(i), paths[i]) for i in order[start:start + count]], skip_bad or not bad

    with Progress('create_from_images', len(paths)) as progress:
        for result in ordered_map(loader, tasks(), workers):
            progress.add(len(result[1]) + len(result[2]))
            yield result


def _expected_shape(folder, paths, size, convert):
    """[C, H, W] that all pictures should have: what most of the first hundred have."""
    shapes = collections.Counter()
    for path in paths[:100]:
        try:
            image = open_image(os.path.join(folder, path))
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
    if not size and any('is expected' in reason and 'x' in reason for reason in reasons):
        advice += ', or bring all pictures to one size with --resize N'
    if not convert and any('RGB' in reason or 'palette' in reason or 'CMYK' in reason for reason in reasons):
        advice += ', or to one kind of pixels with --convert rgb'
    return f"{len(bad)} of {total} pictures in '{folder}' cannot be used; {advice}:\n{listed}"


def _source_fingerprint(folder, paths):
    """Identifies the source by the names and sizes of its files."""
    import hashlib
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f'{path}\0{os.path.getsize(os.path.join(folder, path))}\n'.encode('utf-8', 'surrogateescape'))
    return digest.hexdigest()
