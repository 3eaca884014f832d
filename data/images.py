"""Finding, reading and checking image files."""

import collections
import errno
import os
import re
import stat

import numpy as np

from data import decode, pixels
from data.ledger import kept_outputs
from dnnlib.util import UserError

MAX_PIXELS = 100 * 1000 * 1000

_ENDINGS = 5    # of names, that a sentence lists

# Beside the images that `generate` makes: its record, and what shows several of them on one picture.
_GENERATED = 'images.json'
_SHEETS = re.compile(r'(?:sheet(?:-[0-9]+)?|strips)\.png\Z')


class BadImage(Exception):
    """Why an image cannot be used, as the end of a sentence that starts with its name."""


def is_image_name(name):
    """Whether a file's name says that it is an image in one of `decode.FORMATS`."""
    return os.path.splitext(name)[1].lower() in decode.extensions()


def list_images(folder):
    """The images in a folder and its subfolders: (relative paths, those of other files), each sorted by name.

    Hidden files are left out; links are followed, but no folder is entered twice. Of a folder that `prefilter` made,
    at the top or below, the images are the crops that its ledger says were kept; of one that `generate` made, its
    sheets are none. Raises UserError if there is no such folder or no image in it, or if a folder cannot be read,
    since its images would be missed silently.
    """
    if not os.path.isdir(folder):
        raise UserError(f"image folder '{folder}' does not exist" if not os.path.lexists(folder)
                        else f"'{folder}' is not a folder")
    found, others, visited = [], [], set()
    # Links wait until all real folders were seen, so that a folder in the tree has the name of its own place. No
    # recursion: folders may lie deeper than Python recurses.
    waiting, links = [''], []
    while waiting or links:
        prefix = waiting.pop() if waiting else links.pop(0)
        where = os.path.join(folder, prefix) if prefix else folder
        try:
            status = os.stat(where)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            kept = kept_outputs(where)
            with os.scandir(where) as items:
                entries = sorted(items, key=lambda entry: entry.name) if kept is None else []
        except OSError as err:
            raise UserError(f"folder '{where}' cannot be read: {err.strerror}") from err
        found += [os.path.join(prefix, name) for name in kept or []]
        is_generated = any(entry.name == _GENERATED for entry in entries)
        for entry in entries:
            path = os.path.join(prefix, entry.name)
            if entry.name.startswith('.'):
                continue
            if _is_folder(entry):
                (links if entry.is_symlink() else waiting).append(path)
            elif is_image_name(entry.name) and not (is_generated and _SHEETS.match(entry.name)):
                found.append(path)
            else:
                others.append(path)
    if not found:
        raise UserError(f"'{folder}' holds no images (by their names' endings, such as .png or .jpg)"
                        + (f'; there are {len(others)} other files{explain_others(others)}' if others else ''))
    return sorted(found), sorted(others)


def explain_others(names):
    """What is behind 'N files are not images by their names': how many have which ending, and what to do about those
    that are pictures all the same."""
    endings = collections.Counter(os.path.splitext(name)[1].lower() for name in names)
    told = [f'{count} {ending}' for ending, count in sorted(endings.items(), key=lambda pair: (-pair[1], pair[0]))
            if re.match(r'\.\w{1,10}\Z', ending)][:_ENDINGS]
    kinds = sorted({kind.split(' ', 1)[1] + 's' for kind in map(decode.other_picture, names) if kind})
    return (f' ({", ".join(told)})' if told else '') + (
        f"; {', '.join(kinds)} are not read here: turn them into JPEG or PNG first" if kinds else '')


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def open_image(path, allow_webp=False):
    """Opens an image (a path or a binary file) without decoding it.

    allow_webp: trust WebP pictures even if the library that decodes them is known to be unsafe. Raises BadImage if the
    image is unreadable, no regular file, animated or too large.
    """
    if isinstance(path, str):
        _check_file(path)
    try:
        image = decode.open_image(path, MAX_PIXELS, allow_webp)
        animated = decode.is_animated(image)
    except decode.Unusable as err:
        raise _bad(err, 'is damaged') from None
    if animated:
        raise BadImage('is animated or has several pages')
    return image


def _bad(err, damaged):
    """The BadImage for what the decoder found; `damaged` is how damage is put."""
    size = '{}x{}'.format(*err.size) if err.size else ''
    return BadImage({
        'unreadable': f'cannot be opened: {err}', 'not_an_image': f'is {err}', 'other_format': f'is {err}',
        'unsafe_webp': str(err), 'out_of_memory': f'with {size} pixels does not fit into memory',
        'too_many_pixels': f'has {size} pixels, over the limit of {MAX_PIXELS // 10 ** 6} million',
    }.get(err.reason, f'{damaged} ({_short(err)})'))


def _check_file(path):
    """Raises BadImage unless there is a regular file; a pipe or device might be waited for without end."""
    try:
        status = os.stat(path)
    except OSError as err:
        leads_nowhere = os.path.islink(path) and err.errno in (errno.ENOENT, errno.ELOOP)
        raise BadImage('is a link that leads to nothing' if leads_nowhere
                       else f'cannot be opened: {err.strerror}') from None
    if not stat.S_ISREG(status.st_mode):
        raise BadImage('is not a regular file')
    if status.st_size == 0:
        raise BadImage('is empty (0 bytes)')


def check_mode(image, convert=None):
    """Raises BadImage unless the opened image has 8-bit grey or RGB pixels, or is to be converted into these.

    `convert` is None (grey stays grey, RGB stays RGB), 'rgb' or 'grey'.
    """
    if convert:
        return
    if pixels.has_alpha(image):
        raise BadImage('has an alpha channel')
    if pixels.has_16_bits(image) or image.mode.startswith('I') or image.mode == 'F':
        raise BadImage('has 16 or more bits per channel')
    if image.mode not in ('L', 'RGB'):
        kind = {'P': 'a palette', '1': 'only black and white', 'CMYK': 'CMYK colours'}.get(
            image.mode, f'pixels of the kind {image.mode}')
        raise BadImage(f'has {kind}')


def read_pixels(image, convert=None, background=None):
    """Decodes an opened image, turned upright as its EXIF entry says.

    convert: 'rgb' or 'grey' to turn any kind of pixels into this, see `data.pixels`; background: (R, G, B) behind
    transparent ones, None for the colours beneath. Raises BadImage if it is damaged.
    """
    def finish(image, is_16_bit):
        if not convert:
            return image
        return pixels.to_8_bits(image, is_16_bit, background).convert({'rgb': 'RGB', 'grey': 'L'}[convert])

    try:
        return decode.decode(image, MAX_PIXELS, finish)[0]
    except decode.Unusable as err:
        raise _bad(err, 'is cut off or damaged') from None


def to_array(image):
    """A Pillow image of mode L or RGB as uint8 [C, H, W], read-only."""
    # Pillow takes the channels apart in half the time that numpy needs to transpose them.
    channels = [image.tobytes('raw', band) for band in image.mode]
    return np.frombuffer(b''.join(channels), np.uint8).reshape((len(channels), image.height, image.width))


def resize(image, size, crop):
    """Brings an image to size x size with Lanczos resampling.

    `crop` is 'center' (largest central square), 'pad' (black bands beside the shorter side) or 'none' (stretched).
    """
    from PIL import Image
    width, height = image.size
    if crop == 'center':
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return image.crop((left, top, left + side, top + side)).resize((size, size), Image.LANCZOS)
    if crop == 'none':
        return image.resize((size, size), Image.LANCZOS)
    assert crop == 'pad'
    side = max(width, height)
    inner = max(round(width * size / side), 1), max(round(height * size / side), 1)
    padded = Image.new(image.mode, (size, size))
    padded.paste(image.resize(inner, Image.LANCZOS), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return padded


def _short(err):
    text = ' '.join(str(err).split()) or type(err).__name__
    return text if len(text) <= 80 else text[:77] + '...'
