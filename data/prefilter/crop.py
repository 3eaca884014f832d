"""Which face is taken and what is cut out around it (facenet's alignment script, which the paper used)."""

import numpy as np
import PIL.Image

CHOICES = ('center', 'largest', 'only')


def choose(boxes, width, height, choice='center'):
    """Index of the face to take, or None.

    Args:
        boxes: [N, 4] float, (x0, y0, x1, y1), N >= 1.
        width, height: of the image.
        choice: 'center' weighs a box's area against twice its centre's squared distance from the image's centre;
            'largest' takes the greatest area; 'only' takes a face that is alone.
    """
    assert choice in CHOICES
    if choice == 'only':
        return 0 if len(boxes) == 1 else None
    boxes = np.asarray(boxes)
    weight = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    if choice == 'center':
        offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([width, height]) / 2
        weight = weight - 2 * np.sum(offset ** 2, axis=1)
    return int(np.argmax(weight))


def crop_rectangle(box, width, height, margin):
    """The rectangle (x0, y0, x1, y1) of whole pixels, x1 and y1 exclusive: `margin` wider and higher than the box in
    total, clipped to the image, then truncated. Empty (x1 <= x0 or y1 <= y0) for a box outside the image."""
    x0, y0, x1, y1 = (float(value) for value in box)
    half = margin / 2
    return (int(max(x0 - half, 0)), int(max(y0 - half, 0)), int(min(x1 + half, width)), int(min(y1 + half, height)))


def cut(pixels, rectangle, size):
    """Cuts a rectangle out of [H, W, 3] uint8 and brings it to a size x size Pillow image, each axis by itself, with
    Pillow's bilinear filter, which averages when it makes smaller."""
    x0, y0, x1, y1 = rectangle
    part = PIL.Image.fromarray(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
    return part.resize((size, size), PIL.Image.BILINEAR)
