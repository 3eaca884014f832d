"""From a file to 8-bit RGB pixels, for any file that a folder of photographs may hold.

| found                 | becomes                                                        |
| --------------------- | -------------------------------------------------------------- |
| grey, black and white | RGB with three equal channels                                  |
| CMYK, YCbCr, palette  | RGB by Pillow's conversion                                     |
| 16 bits per channel   | its high byte                                                  |
| 32 bits per channel   | clipped to 0…255                                               |
| floating point        | times 255 if all lie in 0…1, else clipped to 0…255             |
| transparency          | dropped: the colours beneath count                             |
| animation, pages      | the first                                                      |
"""

import hashlib
import io
import os
import stat
import warnings

import numpy as np
import PIL
import PIL.Image

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


def decode(content, max_pixels, upright=True):
    """Decodes a file's content.

    Args:
        content: bytes.
        max_pixels: greatest number of pixels; larger ones are refused before they are decoded.
        upright: turn the image as its EXIF entry says.

    Raises:
        Unusable: 'empty', 'not_an_image', 'too_many_pixels', 'corrupt' or 'out_of_memory'.
    """
    if not content:
        raise Unusable('empty', '0 bytes')
    PIL.Image.MAX_IMAGE_PIXELS = max_pixels
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about damaged metadata beside sound pixels
        warnings.simplefilter('error', PIL.Image.DecompressionBombWarning)
        try:
            image = PIL.Image.open(io.BytesIO(content), formats=_readable_formats())
            width, height = image.size
            if width * height > max_pixels:
                raise Unusable('too_many_pixels', f'{width}x{height} pixels, over the limit of {max_pixels}')
            mode, format, is_16_bit = image.mode, image.format, _is_16_bit(image)
            image.load()
            # Asked after loading, since some releases of Pillow turn TIFF images while they load.
            orientation = _orientation(image) if upright else 1
            if orientation in _TURNS:
                image = image.transpose(_TURNS[orientation])
            pixels = _to_rgb(image, is_16_bit)
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
    return Photo(pixels, mode, format, orientation)


def _readable_formats():
    PIL.Image.init()
    return [kind for kind in FORMATS if kind in PIL.Image.OPEN]


def _orientation(image):
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1  # damaged metadata beside sound pixels
    return value if value in _TURNS else 1


def _is_16_bit(image):
    """Whether an opened grey image has 16 bits; once decoded, some of Pillow's releases have widened it to 32."""
    raw_modes = [str(part) for tile in image.tile for part in (tile[3] if isinstance(tile[3], tuple) else tile[3:])]
    return image.mode.startswith('I') and (image.format in ('PNG', 'PPM') or any(';16' in mode for mode in raw_modes))


def _to_rgb(image, is_16_bit):
    """[H, W, 3] uint8."""
    if image.mode == 'F' or image.mode.startswith('I'):
        grey = _to_8_bits(np.asarray(image), is_16_bit or image.mode.startswith('I;16'))
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.mode in ('RGBa', 'La'):
        image = image.convert(image.mode[:-1] + 'A')  # colours that were multiplied by their transparency
    if image.mode == 'P' and 'transparency' in image.info:
        image = image.convert('RGBA')
    if image.mode == 'RGBA':
        return np.ascontiguousarray(np.asarray(image)[:, :, :3])
    return np.array(image.convert('RGB'))


def _to_8_bits(values, is_16_bit):
    if is_16_bit:
        return (np.clip(values.astype(np.int32), 0, 0xffff) >> 8).astype(np.uint8)
    if values.dtype.kind == 'f':
        values = np.nan_to_num(values)
        values = np.rint(values * 255 if values.min() >= 0 and values.max() <= 1 else values)
    return np.clip(values, 0, 255).astype(np.uint8)


def _short(err):
    text = ' '.join(str(err).split()) or type(err).__name__
    return text if len(text) <= 120 else text[:117] + '...'
