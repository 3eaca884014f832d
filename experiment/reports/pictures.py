"""A run's sample pictures, reduced for a page: cut to whole cells, scaled, and kept in that form."""

import base64
import io
import os
import re
import urllib.parse

import numpy as np
import PIL.Image

from dnnlib.files import atomic_write, make_folders, open_regular, read_bytes
from dnnlib.util import EasyDict

MAX_PICTURES = 40           # along the slider; evenly chosen, the first and the last among them
PICTURE_WIDTH = 1280        # pixels
PICTURE_HEIGHT = 720
FACE = 128                  # pixels that a small sample gets in the page
CACHE = '.report'           # folder in the run directory with the pictures in their reduced form
_MAX_PICTURE_BYTES = 16 << 20


def of_run(run_dir, cell_shape, zoom):
    """([(kimg as text, picture)] of samples along the run, the picture of reals), see `reduced_picture`."""
    found = [(kimg, reduced_picture(run_dir, name, cell_shape, zoom)) for kimg, name in choose(list_pictures(run_dir))]
    return [item for item in found if item[1]], reduced_picture(run_dir, 'reals.png', cell_shape, zoom)


def list_pictures(run_dir):
    """[(kimg as text, file name)] of the run's sample pictures, in order."""
    found = [(re.match(r'fakes(\d+)\.png$', name), name) for name in os.listdir(run_dir)]
    numbered = sorted((int(match.group(1)), name) for match, name in found if match)
    return [(str(kimg), name) for kimg, name in numbered]


def choose(items, most=MAX_PICTURES):
    """At most `most` of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]


def reduced_picture(run_dir, name, cell_shape=None, zoom=1):
    """A picture of samples for the page: EasyDict(url: JPEG as a data URL, width in the page, file); None if absent.

    As many whole cells as can be told apart in the page; those of few pixels are left as they are, for the page to
    enlarge. `cell_shape`: [C, H, W] of a sample, so that cells are not cut; `zoom`: how often the file repeats its
    pixels. The reduced form is kept in a folder of the run.
    """
    source = os.path.join(run_dir, name)
    cached = os.path.join(run_dir, CACHE, f"{name[:-len('.png')]}-{FACE}.jpg")
    if not os.path.isfile(source):
        return None
    if not os.path.isfile(cached) or os.path.getmtime(cached) < os.path.getmtime(source):
        try:
            with open_regular(source) as file, PIL.Image.open(file) as picture:
                reduced = reduce_picture(picture.convert('RGB'), cell_shape, zoom)
        except Exception:  # half a file, from a process that was killed, raises all that the library's readers know
            return None
        buffer = io.BytesIO()
        reduced.save(buffer, format='JPEG', quality=90, subsampling=0)
        make_folders(os.path.dirname(cached))
        with atomic_write(cached) as f:
            f.write(buffer.getvalue())
    content = read_bytes(cached, _MAX_PICTURE_BYTES)
    with PIL.Image.open(io.BytesIO(content)) as picture:
        width = picture.size[0]
    if cell_shape is not None and cell_shape[2] < FACE and width % cell_shape[2] == 0:
        width *= FACE // cell_shape[2]
    url = 'data:image/jpeg;base64,' + base64.b64encode(content).decode('ascii')
    return EasyDict(url=url, width=min(width, PICTURE_WIDTH), file=address(name))


def reduce_picture(picture, cell_shape=None, zoom=1):
    """Cuts a grid of samples to its upper left cells and scales it to at most PICTURE_WIDTH x PICTURE_HEIGHT.

    Samples smaller than FACE keep their own pixels, and the picture is that much smaller.
    """
    width, height = picture.size
    if type(zoom) is int and zoom > 1 and width % zoom == 0 and height % zoom == 0:
        picture = picture.resize((width // zoom, height // zoom), PIL.Image.NEAREST)
        width, height = picture.size
    if cell_shape is not None and width % cell_shape[2] == 0 and height % cell_shape[1] == 0:
        cell = cell_shape[2]
        shown = FACE if cell <= 256 else 256    # pixels that a sample gets in the page
        columns = min(width // cell, PICTURE_WIDTH // shown)
        rows = min(height // cell_shape[1], max(PICTURE_HEIGHT // shown, 1))
        picture = picture.crop((0, 0, columns * cell, rows * cell_shape[1]))
        width, height = picture.size
        scale = min(shown / cell, PICTURE_WIDTH / width, 1.0)
    else:
        scale = min(PICTURE_WIDTH / width, PICTURE_HEIGHT / height, 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return picture if size == picture.size else picture.resize(size, PIL.Image.LANCZOS)


def address(name):
    """A file's path as an address within a page."""
    return urllib.parse.quote(os.fsencode(name))
