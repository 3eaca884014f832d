"""From a file to 8-bit RGB pixels, for any file that a folder of photographs may hold: see `data.pixels`. Of animations
and pages the first counts, of transparent pixels the colours beneath."""

import hashlib
import io
import os
import stat
import warnings

import numpy as np
import PIL
import PIL.Image

from data import pixels
from data.images import FORMATS

MAX_FILE_BYTES = 1 << 30
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {2: PIL.Image.FLIP_LEFT_RIGHT, 3: PIL.Image.ROTATE_180, 4: PIL.Image.FLIP_TOP_BOTTOM,
          5: PIL.Image.TRANSPOSE, 6: PIL.Image.ROTATE_270, 7: PIL.Image.TRANSVERSE, 8: PIL.Image.ROTATE_90}


class Unusable(Exception):
    """Why a file gives no pixels. `reason` is a word for the ledger, the text says more."""

    def __init__(self, reason, detail):
        super().__init__(detail)
        self.reason = reason


class Photo:
    """A decoded file.

    pixels: [H, W, 3] uint8; mode, format: as Pillow calls them; orientation: EXIF value that was applied, 1 for none.
    """

    def __init__(self, pixels, mode, format, orientation):
        self.pixels, self.mode, self.format, self.orientation = pixels, mode, format, orientation


def read_file(path):
    """Returns (content, its SHA-256 in hexadecimal). Raises Unusable; the hash is '' then.

    Anything but a regular file, such as a pipe, which could be waited for without end, is not opened.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise Unusable('not_a_file', 'a device, pipe or socket')
        if status.st_size > MAX_FILE_BYTES:
            raise Unusable('too_large', f'{status.st_size} bytes, over the limit of {MAX_FILE_BYTES}')
        with open(path, 'rb') as f:
            content = f.read()
    except OSError as err:
        raise Unusable('unreadable', err.strerror or str(err)) from None
    return content, hashlib.sha256(content).hexdigest()


def decode(content, max_pixels, upright=True, allow_webp=False):
    """Decodes a file's content.

    Args:
        content: bytes.
        max_pixels: greatest number of pixels; larger ones are refused before they are decoded.
        upright: turn the image as its EXIF entry says.
        allow_webp: trust WebP pictures even if the library that decodes them is known to be unsafe.

    Raises:
        Unusable: 'empty', 'not_an_image', 'unsafe_webp', 'too_many_pixels', 'corrupt' or 'out_of_memory'.
    """
    if not content:
        raise Unusable('empty', '0 bytes')
    danger = None if allow_webp else pixels.webp_danger()
    if danger and pixels.is_webp(content[:12]):
        raise Unusable('unsafe_webp', danger)
    PIL.Image.MAX_IMAGE_PIXELS = max_pixels
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about damaged metadata beside sound pixels
        warnings.simplefilter('error', PIL.Image.DecompressionBombWarning)
        try:
            image = PIL.Image.open(io.BytesIO(content), formats=_readable_formats())
            width, height = image.size
            if width * height > max_pixels:
                raise Unusable('too_many_pixels', f'{width}x{height} pixels, over the limit of {max_pixels}')
            if danger and pixels.uses_webp(image):
                raise Unusable('unsafe_webp', danger)
            mode, format, is_16_bit = image.mode, image.format, pixels.has_16_bits(image)
            image.load()
            # Asked after loading, since some releases of Pillow turn TIFF images while they load.
            orientation = _orientation(image) if upright else 1
            if orientation in _TURNS:
                image = image.transpose(_TURNS[orientation])
            array = np.array(pixels.to_8_bits(image, is_16_bit).convert('RGB'))
        except Unusable:
            raise
        except PIL.UnidentifiedImageError:
            raise Unusable('not_an_image', 'no image format that is read here') from None
        except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
            raise Unusable('too_many_pixels', f'over the limit of {max_pixels}') from None
        except MemoryError:
            raise Unusable('out_of_memory', f'{width}x{height} pixels') from None
        except Exception as err:  # decoders raise anything on damaged files
            raise Unusable('corrupt', _short(err)) from None
    return Photo(array, mode, format, orientation)


def _readable_formats():
    PIL.Image.init()
    return [kind for kind in FORMATS if kind in PIL.Image.OPEN]


def _orientation(image):
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1  # damaged metadata beside sound pixels
    return value if value in _TURNS else 1


def _short(err):
    text = ' '.join(str(err).split()) or type(err).__name__
    return text if len(text) <= 120 else text[:117] + '...'
