"""From what image files hold to 8-bit pixels, for any kind of pixels that Pillow decodes.

| found                 | becomes                                                        |
| --------------------- | -------------------------------------------------------------- |
| black and white, grey | grey; RGB with three equal channels                            |
| CMYK, YCbCr, palette  | by Pillow's conversion                                         |
| 16 bits per channel   | its high byte                                                  |
| 32 bits per channel   | clipped to 0…255                                               |
| floating point        | times 255 if all lie in 0…1, else clipped to 0…255             |
| transparency          | what lies beneath counts, or a background shows through        |
"""

import functools
import re

import numpy as np

from dnnlib.util import UserError

SAFE_WEBP = (1, 3, 2)
"""Releases of libwebp before this one can be made to run code by a picture (CVE-2023-4863)."""

_ALPHA_MODES = ('RGBA', 'LA', 'PA', 'La', 'RGBa')


# ---- WebP

@functools.lru_cache(maxsize=1)
def webp_danger():
    """Why WebP pictures are not decoded here, as the end of a sentence; None if they can be trusted."""
    from PIL import features
    found = features.version('webp') if features.check('webp') else None
    numbers = re.match(r'(\d+)\.(\d+)\.(\d+)', found or '')
    if numbers and tuple(int(number) for number in numbers.groups()) >= SAFE_WEBP:
        return None
    return (f"is a WebP picture, and the libwebp of this environment ({found or 'of unknown release'}) can be made to "
            f"run code by one (CVE-2023-4863; {'.'.join(map(str, SAFE_WEBP))} cannot): turn it into another format "
            'elsewhere, or say --allow-webp if you trust it')


def is_webp(start):
    """Whether a file's first bytes (12 or more) are those of a WebP picture."""
    return start[:4] == b'RIFF' and start[8:12] == b'WEBP'


def uses_webp(image):
    """Whether an opened image is decoded by libwebp: TIFF files may hold WebP, too."""
    return image.format == 'WEBP' or 'webp' in str(image.info.get('compression', ''))


# ---- Kinds of pixels

def has_alpha(image):
    """Whether an image has transparent pixels."""
    return image.mode in _ALPHA_MODES or 'transparency' in image.info


def has_16_bits(image):
    """Whether an opened image, not yet decoded, has 16 bits per channel; Pillow drops or widens some as it decodes."""
    raw_modes = [str(part) for tile in image.tile for part in (tile[3] if isinstance(tile[3], tuple) else tile[3:])]
    return any(';16' in mode for mode in raw_modes) \
        or image.mode.startswith('I') and image.format in ('PNG', 'PPM')


def parse_background(text):
    """A colour (R, G, B) from a name (`white`), `#aabbcc` or `10,20,30`; None from `none`. Raises UserError."""
    from PIL import ImageColor
    if text == 'none':
        return None
    try:
        if re.match(r'\d{1,3},\d{1,3},\d{1,3}\Z', text):
            color = tuple(int(part) for part in text.split(','))
            if max(color) > 255:
                raise ValueError
            return color
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise UserError(f"the background '{text}' is no colour; white, #aabbcc, 10,20,30 or none is expected") from None


def to_8_bits(image, is_16_bit, background=None):
    """A decoded image as a Pillow image of mode L or RGB.

    is_16_bit: what `has_16_bits` said before it was decoded. background: (R, G, B) to put behind transparent pixels,
    None for the colours beneath.
    """
    from PIL import Image
    if image.mode == 'F' or image.mode.startswith('I'):
        return Image.fromarray(_grey_to_8_bits(np.asarray(image), is_16_bit or image.mode.startswith('I;16')))
    if image.mode in ('RGBa', 'La'):
        image = image.convert(image.mode[:-1] + 'A')  # colours that were multiplied by their transparency
    if has_alpha(image):
        kind = 'L' if image.mode in ('L', 'LA', '1') else 'RGB'
        image = image.convert('RGBA')
        if background is None:
            image = Image.merge('RGB', image.split()[:3])
        else:
            image = Image.alpha_composite(Image.new('RGBA', image.size, tuple(background) + (255,)), image)
            kind = 'RGB' if len(set(background)) > 1 else kind
        return image.convert(kind)
    return image if image.mode in ('L', 'RGB') else image.convert('L' if image.mode == '1' else 'RGB')


def _grey_to_8_bits(values, is_16_bit):
    if is_16_bit:
        return (np.clip(values.astype(np.int32), 0, 0xffff) >> 8).astype(np.uint8)
    if values.dtype.kind == 'f':
        values = np.nan_to_num(values)
        values = np.rint(values * 255 if values.size and values.min() >= 0 and values.max() <= 1 else values)
    return np.clip(values, 0, 255).astype(np.uint8)
