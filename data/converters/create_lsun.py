"""`create_lsun` and `create_lsun_wide`: data sets from the LMDB files of LSUN."""

import contextlib
import importlib.util
import io
import itertools
import os

import numpy as np

from data.converters import exporter
from data.converters.loading import Loader, write_all
from data.guarded import Guarded
from data.images import BadImage, open_image, read_pixels, resize, to_array
from data.options import add_webp, add_workers, positive_int, power_of_two
from dnnlib.progress import Progress
from dnnlib.util import UserError

_LISTED = 1000  # so many images left out are listed by name in the manifest, the rest only counted
_KEYS_AT_ONCE = 1000
_SMALL = 'is smaller than '


def add_arguments(subparsers):
    """Adds both commands to the parser of dataset_tool.py."""
    parser = subparsers.add_parser('create_lsun', help='data set of squares from an LSUN category',
                                   description='Central squares of the images in an LSUN LMDB, brought to one size.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('lmdb_dir', metavar='LMDB_DIR', help='folder with data.mdb')
    parser.add_argument('--resolution', type=power_of_two, default=256, metavar='N', help='default 256')
    _add_common(parser)
    parser.set_defaults(run=lambda args: create_lsun(args.dataset_dir, args.lmdb_dir, args.resolution, args.max_images,
                                                     args.workers, args.allow_webp))
    parser = subparsers.add_parser('create_lsun_wide', help='data set of wide LSUN images between black bands',
                                   description='Wide images of an LSUN LMDB, with black bands above and below.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('lmdb_dir', metavar='LMDB_DIR', help='folder with data.mdb')
    parser.add_argument('--width', type=power_of_two, default=512, metavar='N', help='default 512')
    parser.add_argument('--height', type=positive_int, default=384, metavar='N', help='default 384')
    _add_common(parser)
    parser.set_defaults(run=lambda args: create_lsun_wide(args.dataset_dir, args.lmdb_dir, args.width, args.height,
                                                          args.max_images, args.workers, args.allow_webp))


def _add_common(parser):
    parser.add_argument('--max-images', '--max_images', type=positive_int, metavar='N', help='stop after N images')
    add_webp(parser)
    add_workers(parser)


class LmdbLoader(Loader):
    """Reads images by their keys; every process opens the database for itself."""

    def __init__(self, lmdb_dir, expected, allow_webp=False):
        super().__init__(expected)
        self.lmdb_dir, self.allow_webp = lmdb_dir, allow_webp
        self._database = None

    def load(self, key):
        if self._database is None:
            self._database = open_lmdb(self.lmdb_dir)[0]
        is_there, content = self._database.ask('get', key.hex())
        if not is_there:
            raise BadImage('cannot be found again')
        return self.arrange(read_pixels(open_image(io.BytesIO(content), self.allow_webp), 'rgb'))

    def close(self):
        """Ends the reading of the database."""
        if self._database is not None:
            self._database.close()

    def arrange(self, image):
        """The picture to write, uint8 [3, R, R], from an RGB image of any size."""
        raise NotImplementedError


class SquareLoader(LmdbLoader):
    """Central squares, Lanczos to `expected`."""

    def arrange(self, image):
        return to_array(resize(image, self.expected[1], 'center'))


class WideLoader(LmdbLoader):
    """Images of width x height with black bands above and below; smaller ones are left out."""

    def __init__(self, lmdb_dir, width, height, allow_webp=False):
        super().__init__(lmdb_dir, [3, width, width], allow_webp)
        self.width, self.height = width, height

    def arrange(self, image):
        from PIL import Image
        # The rows to keep are counted at the target's width but cut from the source, as in the published tool.
        rows = int(round(self.width * image.height / image.width))
        if image.width < self.width or rows < self.height:
            raise BadImage(f'{_SMALL}{self.width}x{self.height}')
        top = (image.height - rows) // 2
        image = image.crop((0, top, image.width, top + rows)).resize((self.width, self.height), Image.LANCZOS)
        picture = np.zeros(self.expected, np.uint8)
        band = (self.width - self.height) // 2
        picture[:, band:band + self.height] = to_array(image)
        return picture


def open_lmdb(path):
    """(`Guarded` database in a folder, number of its entries). Raises UserError if there is none or it is cut off."""
    file = os.path.join(path, 'data.mdb')
    if not os.path.isfile(file):
        raise UserError(f"'{path}' holds no LMDB database (data.mdb); unpack the category's zip file first")
    if importlib.util.find_spec('lmdb') is None:
        raise UserError("reading LSUN needs the package 'lmdb'; install it into this environment")
    database = Guarded('lmdb', file, 'unpack or download it again')
    try:
        status, _ = database.ask('open', path)
        found = os.path.getsize(file)
        if found < status['bytes']:  # pages at the end that hold nothing need not be there
            try:
                database.ask('walk')
            except UserError:
                raise UserError(f"'{file}' is cut off: it has {found} of {status['bytes']} bytes; unpack or download "
                                'it again') from None
    except BaseException:
        database.close()
        raise
    return database, status['entries']


def create_lsun(dataset_dir, lmdb_dir, resolution=256, max_images=None, workers=None, allow_webp=False):
    """Makes a data set of [3, resolution, resolution] in the order of the database's keys."""
    arguments = {'lmdb_dir': os.path.abspath(lmdb_dir), 'resolution': resolution, 'max_images': max_images}
    _create(dataset_dir, lmdb_dir, SquareLoader(lmdb_dir, [3, resolution, resolution], allow_webp), 'create_lsun',
            arguments, max_images, workers)


def create_lsun_wide(dataset_dir, lmdb_dir, width=512, height=384, max_images=None, workers=None, allow_webp=False):
    """Makes a data set of [3, width, width], of which the middle `height` rows hold the picture. Raises UserError."""
    if height > width or (width - height) % 2:
        raise UserError(f'--height is {height}; an even number of rows less than the width, {width}, is expected')
    arguments = {'lmdb_dir': os.path.abspath(lmdb_dir), 'width': width, 'height': height, 'max_images': max_images}
    _create(dataset_dir, lmdb_dir, WideLoader(lmdb_dir, width, height, allow_webp), 'create_lsun_wide', arguments,
            max_images, workers)


def _create(dataset_dir, lmdb_dir, loader, command, arguments, max_images, workers):
    exporter.check_new(dataset_dir)
    database, total = open_lmdb(lmdb_dir)
    with contextlib.closing(database), contextlib.closing(loader):
        if total == 0:
            raise UserError(f"the LMDB database in '{lmdb_dir}' is empty")
        _convert(dataset_dir, lmdb_dir, loader, database, total, command, arguments, max_images, workers)


def _keys(database):
    """Yields all keys, numbered."""
    number = 0
    while True:
        lengths, content = database.ask('keys', _KEYS_AT_ONCE)
        if not lengths:
            return
        ends = np.cumsum(lengths).tolist()
        for start, end in zip([0] + ends, ends):
            yield number, content[start:end]
            number += 1


def _convert(dataset_dir, lmdb_dir, loader, database, total, command, arguments, max_images, workers):
    wanted = min(total, max_images or total)
    with exporter.Exporter(dataset_dir, loader.expected, forecast=wanted) as out:
        with Progress(command, total if max_images is None else None) as progress:
            used, bad = write_all(out, loader, itertools.islice(_keys(database), total), total, workers, progress,
                                  most=max_images)
        if not used:
            raise UserError(f"none of the {total} entries in '{lmdb_dir}' can be used, for instance: it {bad[0][1]}")
        if max_images is None and len(used) + len(bad) != total:
            raise UserError(f"'{os.path.join(lmdb_dir, 'data.mdb')}' is damaged: of {total} entries that it speaks of "
                            f'{len(used) + len(bad)} can be found; unpack or download it again')
        small = sum(reason.startswith(_SMALL) for _, reason in bad)
        damaged = [(key, reason) for key, reason in bad if not reason.startswith(_SMALL)]
        out.describe(command=command, arguments=arguments, resampling='lanczos', too_small=small,
                     damaged=len(damaged), source={'entries': total},
                     skipped=[{'file': key.decode('utf-8', 'backslashreplace'), 'reason': reason}
                              for key, reason in damaged[:_LISTED]])
    print(f'{len(used)} images of {loader.expected[1]}x{loader.expected[2]} in {dataset_dir}; '
          f'left out: {small} too small, {len(damaged)} damaged', flush=True)
