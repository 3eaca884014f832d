"""Putting arrays together to pictures."""

import numpy as np
from PIL import Image


def to_picture(image):
    """A PIL picture of an image [H, W, C] or [H, W], uint8; one channel is grey."""
    image = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    return Image.fromarray(np.ascontiguousarray(image)).convert('RGB')


def canvas(width, height):
    """An empty white picture."""
    return Image.new('RGB', (int(width), int(height)), 'white')


def grid(rows, gap=0):
    """Lists of equally sized pictures (or None for an empty cell) as one picture, `gap` pixels apart."""
    width, height = next(cell for row in rows for cell in row if cell is not None).size
    columns = max(len(row) for row in rows)
    picture = canvas(columns * (width + gap) - gap, len(rows) * (height + gap) - gap)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if cell is not None:
                picture.paste(cell, (x * (width + gap), y * (height + gap)))
    return picture


def halves(left, right):
    """The left half of one picture beside the right half of another of the same size, with a line between them."""
    width, height = left.size
    picture = left.copy()
    picture.paste(right.crop((width // 2, 0, width, height)), (width // 2, 0))
    line = max(width // 128, 1)
    picture.paste((255, 255, 255), (width // 2 - line, 0, width // 2 + line, height))
    return picture


def crop_rows(picture, fractions):
    """The rows between two fractions of the height."""
    width, height = picture.size
    return picture.crop((0, int(round(fractions[0] * height)), width, int(round(fractions[1] * height))))


def shrink(picture, factor):
    """Smaller by a whole factor, antialiased."""
    width, height = picture.size
    return picture if factor == 1 else picture.resize((width // factor, height // factor), Image.LANCZOS)


def enlarge(picture, width, height):
    """Larger, with visible pixels."""
    return picture.resize((width, height), Image.NEAREST)


def zoomed(picture, factor):
    """Larger by a whole factor, with visible pixels."""
    return picture if factor == 1 else enlarge(picture, picture.size[0] * factor, picture.size[1] * factor)
