"""From a file to 8-bit RGB pixels, for any file that a folder of photographs may hold: see `data.pixels`. Of animations
and pages the first counts, of transparent pixels the colours beneath."""

import hashlib
import io
import os

import numpy as np

from data import pixels
from data.decode import Unusable, open_image
from data.decode import decode as decode_image
from dnnlib.files import NotRegular, open_regular

MAX_FILE_BYTES = 1 << 30


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
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise Unusable('too_large', f'{size} bytes, over the limit of {MAX_FILE_BYTES}')
            content = file.read()
    except NotRegular:
        raise Unusable('not_a_file', 'a device, pipe or socket') from None
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
    try:
        image = open_image(io.BytesIO(content), max_pixels, allow_webp)
        mode, format = image.mode, image.format
        array, orientation = decode_image(image, max_pixels, _to_rgb, upright)
    except Unusable as err:
        detail = str(err) if err.reason != 'corrupt' or len(str(err)) <= 120 else str(err)[:117] + '...'
        raise Unusable(err.reason, detail) from None
    return Photo(array, mode, format, orientation)


def _to_rgb(image, is_16_bit):
    return np.array(pixels.to_8_bits(image, is_16_bit).convert('RGB'))
