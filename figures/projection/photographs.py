"""The photographs that are to be projected, in the size that the generator makes."""

import numpy as np
import PIL.Image

from data.decode import Unusable
from data.prefilter.alignment import cut, points_of, quad_of
from data.prefilter.crop import choose
from data.prefilter.decode import decode, read_file
from data.prefilter.settings import MAX_PIXELS
from dnnlib.errors import UserError


def read(paths, gen, align=None):
    """Photographs uint8 [N, R, R, C], antialiased to the generator's size: their middle squares, or, with `align` being
    'ffhq', the upright squares around their faces. Raises UserError."""
    pictures = [decoded(path) for path in paths]
    if align is None:
        pictures = [PIL.Image.fromarray(pixels) for pixels in pictures]
    else:
        pictures = _aligned(paths, pictures, gen.resolution)
    return np.stack([fit(picture, gen.resolution, gen.num_channels) for picture in pictures])


def _aligned(paths, pictures, size):
    from data.prefilter.detector import Detector  # takes seconds
    detector, found = Detector(), []
    for path, pixels in zip(paths, pictures):
        boxes, _, landmarks = detector.detect_landmarks(pixels)
        if not len(boxes):
            raise UserError(f"'{path}': no face is found in it; leave out --align, or align it by landmarks: "
                            'dataset_tool.py prefilter --align ffhq --landmarks FILE')
        chosen = choose(boxes, pixels.shape[1], pixels.shape[0])
        try:
            found.append(cut(pixels, quad_of(points_of(landmarks[chosen])), size)[0])
        except ValueError as err:
            raise UserError(f"'{path}': {err}") from err
    detector.close()
    return found


def decoded(path):
    """The pixels of a photograph, uint8 [H, W, 3], upright. Raises UserError."""
    try:
        return decode(read_file(path)[0], MAX_PIXELS).pixels
    except Unusable as err:
        detail = f' ({err})' if str(err) else ''
        raise UserError(f"'{path}' is of no use as a photograph: {err.reason.replace('_', ' ')}{detail}") from err


def fit(picture, size, num_channels):
    """The square in the middle of a PIL picture as uint8 [size, size, C]."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    if side != size:
        picture = picture.resize((size, size), PIL.Image.LANCZOS if side > size else PIL.Image.BICUBIC)
    if num_channels == 1:
        return np.asarray(picture.convert('L'), np.uint8)[:, :, np.newaxis]
    return np.asarray(picture, np.uint8)
