"""The one decoder of image files, for converters and the pre-filter alike.

What a file is and whether it is sound is found out here. What is made of it (refused or converted, in whose words) is
the caller's business, and so is the greatest number of pixels.
"""

import contextlib
import importlib
import os
import re
import warnings

from data import pixels

# Formats read by Pillow's own decoders; others (such as EPS) would start foreign programs.
FORMATS = ('BMP', 'GIF', 'JPEG', 'JPEG2000', 'MPO', 'PNG', 'PPM', 'TGA', 'TIFF', 'WEBP')
_PLUGINS = ('Bmp', 'Gif', 'Jpeg', 'Jpeg2K', 'Mpo', 'Png', 'Ppm', 'Tga', 'Tiff', 'WebP')
_ORIENTATION = 0x0112  # EXIF tag
# The names that Pillow's transpose knows; its modules are loaded with the first picture, not with a help page.
_TURNS = {2: 'FLIP_LEFT_RIGHT', 3: 'ROTATE_180', 4: 'FLIP_TOP_BOTTOM', 5: 'TRANSPOSE', 6: 'ROTATE_270', 7: 'TRANSVERSE',
          8: 'ROTATE_90'}

ADVICE = 'turn it into JPEG or PNG first'
# What people's folders hold beside these: what it is, endings of its names, first bytes.
_OTHER_PICTURES = (
    ('an AVIF picture', '.avif .avifs', rb'.{4}ftyp.{0,24}avi[fs]'),
    ('a HEIC picture', '.heic .heif .hif', rb'.{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)'),
    ('a JPEG XL picture', '.jxl', rb'\xff\x0a|\0\0\0\x0cJXL '),
    ("a camera's raw picture", '.arw .cr2 .cr3 .dng .nef .nrw .orf .pef .raf .rw2 .srw',
     rb'.{4}ftypcrx |FUJIFILMCCD-RAW'),
    ('a Photoshop picture', '.psb .psd', rb'8BPS'))
_OTHER_FILES = (
    ('a video', '', rb'.{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI '),
    ('a PDF document', '', rb'%PDF-'),
    ('a drawing in SVG', '', rb'\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<svg'),
    ('a web page', '', rb'(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|head|body)'),
    ('a git-LFS pointer, not the picture itself, which `git lfs pull` fetches', '', rb'version https://git-lfs'))
_HEAD = 256     # bytes

_known = {}  # extensions of these formats, once Pillow's decoders are loaded


class Unusable(Exception):
    """Why a file gives no pixels. `reason` is a word for programs, the text says more.

    `size` is (width, height) as far as the file was understood, else None.
    """

    def __init__(self, reason, detail, size=None):
        super().__init__(detail)
        self.reason = reason
        self.size = size


def _load_decoders():
    if not _known:
        for name in _PLUGINS:  # much quicker than all that Pillow has
            importlib.import_module(f'PIL.{name}ImagePlugin')
        from PIL import Image
        _known['extensions'] = {ext for ext, kind in Image.EXTENSION.items() if kind in FORMATS}
        _known['formats'] = [kind for kind in FORMATS if kind in Image.OPEN]


def extensions():
    """Endings of the names of files in one of `FORMATS`, in lower case, with their dots."""
    _load_decoders()
    return _known['extensions']


def other_picture(name):
    """What kind of picture that is not read here a file is by its name, such as 'a HEIC picture'; None for others."""
    ending = os.path.splitext(name)[1].lower()
    return next((kind for kind, endings, _ in _OTHER_PICTURES if ending in endings.split()), None)


def _unknown(source):
    """The Unusable for a file in none of `FORMATS`, by its first bytes."""
    head = _first_bytes(source, _HEAD)
    for kinds, reason, more in ((_OTHER_PICTURES, 'other_format', f', which is not read here; {ADVICE}'),
                                (_OTHER_FILES, 'not_an_image', '')):
        for kind, _, pattern in kinds:
            if re.match(pattern, head, re.DOTALL):
                return Unusable(reason, kind + more)
    return Unusable('not_an_image', 'not an image that can be read')


def open_image(source, max_pixels, allow_webp=False):
    """A Pillow image that is not decoded yet.

    Args:
        source: a path, or an open binary file.
        max_pixels: greatest number of pixels; larger ones are refused.
        allow_webp: trust WebP pictures even if the library that decodes them is known to be unsafe.

    Raises:
        Unusable: 'unreadable', 'not_an_image', 'other_format', 'corrupt', 'unsafe_webp', 'too_many_pixels' or
            'out_of_memory'.
    """
    _load_decoders()
    from PIL import Image, UnidentifiedImageError
    danger = None if allow_webp else pixels.webp_danger()
    try:
        if danger and pixels.is_webp(_first_bytes(source)):
            raise Unusable('unsafe_webp', danger)
        with _pillow(None):
            image = Image.open(source, formats=_known['formats'])
    except UnidentifiedImageError:
        raise _unknown(source) from None
    except Exception as err:  # decoders raise anything on damaged files
        raise _unusable(err, None, max_pixels) from None
    width, height = image.size
    if width * height > max_pixels:
        raise Unusable('too_many_pixels', f'over the limit of {max_pixels}', image.size)
    if danger and pixels.uses_webp(image):
        raise Unusable('unsafe_webp', danger, image.size)
    return image


def _first_bytes(source, count=12):
    if isinstance(source, str):
        with open(source, 'rb') as f:
            return f.read(count)
    source.seek(0)
    start = source.read(count)
    source.seek(0)
    return start


def is_animated(image):
    """Whether an opened image has several frames or pages. (Two views of a camera, MPO, do not count.) Raises
    Unusable."""
    try:
        with _pillow(None):
            return getattr(image, 'is_animated', False) and image.format != 'MPO'
    except Exception as err:
        raise _unusable(err, image.size, None) from None


def decode(image, max_pixels, finish, upright=True):
    """Decodes an opened image and turns it upright as its EXIF entry says.

    Args:
        image: from `open_image`.
        max_pixels: as there; some files hold more than their header said.
        finish: function (image, whether its file has 16 bits per channel) of what is to become of it.
        upright: False leaves it as it is stored.

    Returns:
        (what `finish` returned, the EXIF value that was applied, 1 for none).

    Raises:
        Unusable: 'unreadable', 'corrupt', 'too_many_pixels' or 'out_of_memory'.
    """
    from PIL import Image
    try:
        with _pillow(max_pixels):
            is_16_bit = pixels.has_16_bits(image)
            image.load()
            # Asked after loading, since some releases of Pillow turn TIFF images while they load.
            orientation = _orientation(image) if upright else 1
            turned = image.transpose(getattr(Image, _TURNS[orientation])) if orientation in _TURNS else image
            return finish(turned, is_16_bit), orientation
    except Exception as err:
        raise _unusable(err, image.size, max_pixels) from None


def _orientation(image):
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1  # damaged metadata beside sound pixels
    return value if value in _TURNS else 1


@contextlib.contextmanager
def _pillow(max_pixels):
    """Pillow with our limit on pixels, an error beyond it, and without warnings about damaged metadata."""
    from PIL import Image
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            warnings.simplefilter('error', Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _unusable(err, size, max_pixels):
    """The Unusable that stands for an exception of a decoder."""
    from PIL import Image
    if isinstance(err, Unusable):
        return err
    if isinstance(err, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        return Unusable('too_many_pixels', f'over the limit of {max_pixels}', size)
    if isinstance(err, MemoryError):
        return Unusable('out_of_memory', f'{size[0]}x{size[1]} pixels' if size else 'its header', size)
    if isinstance(err, OSError) and err.errno:
        return Unusable('unreadable', err.strerror or str(err), size)
    return Unusable('corrupt', ' '.join(str(err).split()) or type(err).__name__, size)
