"""Crops that stand upright: the alignment of FFHQ (StyleGAN paper, section 6; Progressive GAN paper, appendix C).

Points are (x, y) in pixels whose centres are whole numbers; left and right are as seen in the picture.
"""

import collections

import numpy as np
import PIL.Image

Points = collections.namedtuple('Points', 'left_eye right_eye mouth')
"""(x, y) of both eyes and of the middle of the mouth, float64 [2] each."""

SUPERSAMPLING = 4       # the square is sampled so much finer, then averaged
_BORDER = 0.1           # of the square's side, that is kept around it while it is cut out
_PAD = 0.3              # of its side, that is added at least where the photograph ends within the border
_BLUR = 0.02            # of its side: deviation of the blur over what was added


def points_of(landmarks):
    """`Points` of landmarks [5, 2] (both eyes, nose, both corners of the mouth) or [68, 2] (of which 37–42 and 43–48
    surround the eyes, 49 and 55 are the corners of the mouth)."""
    landmarks = np.asarray(landmarks, np.float64)
    if len(landmarks) == 68:
        return Points(landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0), (landmarks[48] + landmarks[54]) / 2)
    return Points(landmarks[0], landmarks[1], (landmarks[3] + landmarks[4]) / 2)


def quad_of(points):
    """Corners [4, 2] of the oriented square around a face: top left, bottom left, bottom right, top right.

    Its direction is that of the line between the eyes, corrected by the upright on the line from the eyes to the mouth;
    half its side is twice the distance of the eyes or 1.8 times that of eyes and mouth, whichever is more. Raises
    ValueError where eyes and mouth are in one place.
    """
    eyes = (points.left_eye + points.right_eye) / 2
    across, down = points.right_eye - points.left_eye, points.mouth - eyes
    x = across - _turned(down)
    length = np.hypot(*x)
    if not length > 0:
        raise ValueError('eyes and mouth are in one place')
    x = x / length * max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    y = _turned(x)
    centre = eyes + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def _turned(vector):
    """By 90 degrees: from right to down."""
    return np.array([-vector[1], vector[0]])


def cut(pixels, quad, size):
    """The square of a photograph [H, W, 3] uint8 as a PIL picture of `size` pixels, and whether its border was made up.

    Large squares are averaged down first; where the photograph ends, it is continued by its mirror image, blurred and
    faded to its median. Raises ValueError for a square outside of the photograph.
    """
    picture, quad = PIL.Image.fromarray(np.ascontiguousarray(pixels)), np.array(quad, np.float64)
    side = np.hypot(*(quad[3] - quad[0]))
    factor = int(side / size / 2)
    if factor > 1:
        smaller = tuple(max(int(round(length / factor)), 1) for length in picture.size)
        ratio = np.array(smaller) / np.array(picture.size)
        picture = picture.resize(smaller, PIL.Image.LANCZOS)
        quad = (quad + 0.5) * ratio - 0.5
        side *= ratio.mean()
    border = max(int(round(side * _BORDER)), 3)
    low = np.floor(quad.min(axis=0)).astype(int) - border
    high = np.ceil(quad.max(axis=0)).astype(int) + border
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, picture.size)
    if right - left < 2 or bottom - top < 2:
        raise ValueError('the square lies outside of the photograph')
    picture, quad = picture.crop((left, top, right, bottom)), quad - [left, top]
    missing = np.concatenate([np.array([left, top]) - low, high - [right, bottom]])
    is_padded = missing.max() > border - 4
    if is_padded:
        missing = np.maximum(missing, int(round(side * _PAD)))
        picture, quad = _padded(np.asarray(picture, np.float32), missing, side * _BLUR), quad + missing[:2]
    fine = SUPERSAMPLING * size
    picture = picture.transform((fine, fine), PIL.Image.QUAD, tuple((quad + 0.5).flatten()), PIL.Image.BILINEAR)
    return picture.resize((size, size), PIL.Image.LANCZOS), bool(is_padded)


def _padded(image, missing, blur):
    """A picture continued on its left, top, right and bottom by so many pixels."""
    from scipy import ndimage
    left, top, right, bottom = missing
    height, width = image.shape[0] + top + bottom, image.shape[1] + left + right
    image = np.pad(image, [(top, bottom), (left, right), (0, 0)], 'reflect')
    y, x = np.ogrid[:height, :width]
    # 1 at the edge of what was there, 0 at the edge of what was added, more inside.
    inwards = np.minimum(np.minimum(x / left, (width - 1 - x) / right), np.minimum(y / top, (height - 1 - y) / bottom))
    mask = (1.0 - inwards)[:, :, np.newaxis].astype(np.float32)
    image += (ndimage.gaussian_filter(image, [blur, blur, 0]) - image) * np.clip(mask * 3 + 1, 0, 1)
    image += (np.median(image, axis=(0, 1)) - image) * np.clip(mask, 0, 1)
    return PIL.Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))
