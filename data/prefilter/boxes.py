"""Arithmetic on boxes, after MATLAB's habits which MTCNN's reference implementation has: inclusive corners.

A box is (x0, y0, x1, y1) in pixels, float64, and x1 - x0 + 1 pixels wide. All functions are pure.
"""

import numpy as np

from data.prefilter import ordering

WINDOW = 12
"""Pixels on a side that the first network looks at."""

PYRAMID_FACTOR = 0.709

_BLOCK = 128
_PIECE = 8192


def pyramid_scales(height, width, min_face):
    """Scales at which the image is searched, largest first: faces of `min_face` pixels fill the window in the first."""
    scale = WINDOW / min_face
    side = min(height, width) * scale
    scales = []
    while side >= WINDOW:
        scales.append(scale * np.power(PYRAMID_FACTOR, len(scales)))
        side *= PYRAMID_FACTOR
    return scales


def proposals(scores, regression, scale, threshold):
    """Turns the first network's maps into boxes.

    Args:
        scores: [h, w] float32. regression: [h, w, 4] float32.
        scale: factor by which the image was scaled down.
        threshold: least score of a proposal.

    Returns:
        boxes [N, 4] in the unscaled image, scores [N], regression [N, 4], ordered by column, then row.
    """
    columns, rows = np.nonzero(scores.T >= threshold)
    chosen_scores = scores[rows, columns].astype(np.float64)
    if len(rows) == 1:
        # The reference implementation mirrors the map in this case, through a mistake that became part of the
        # algorithm: its published boxes include it.
        columns_read = regression.shape[1] - 1 - columns
    else:
        columns_read = columns
    chosen_regression = regression[rows, columns_read].astype(np.float64)
    corner = np.stack([columns, rows], axis=1)
    first = np.trunc((2 * corner + 1) / scale)
    last = np.trunc((2 * corner + WINDOW) / scale)
    return np.hstack([first, last]), chosen_scores, chosen_regression


def suppress(boxes, scores, threshold, relative_to='union'):
    """Non-maximum suppression: goes from the best box down and drops boxes that overlap a better one too much.

    Args:
        boxes: [N, 4]. scores: [N]; equal ones are visited in the order of `ordering.ascending`, from its end.
        threshold: greatest overlap with a better box that is allowed.
        relative_to: 'union' or 'smaller', the area to which the intersection is related.

    Returns:
        indices of the boxes that stay, best first.
    """
    order = ordering.ascending(scores)[::-1]
    picks = []
    while order.size:
        # A block of the best ones is settled among themselves first; those which stay then clear the rest.
        block, order = order[:_BLOCK], order[_BLOCK:]
        clash = _overlaps_too_much(boxes[block], boxes[block], threshold, relative_to)
        alive = np.ones(len(block), bool)
        stay = []
        for i in range(len(block)):
            if alive[i]:
                stay.append(i)
                alive &= ~clash[i]
        stay = block[stay]
        picks.append(stay)
        if order.size:
            order = np.concatenate([
                piece[~_overlaps_too_much(boxes[stay], boxes[piece], threshold, relative_to).any(axis=0)]
                for piece in (order[i:i + _PIECE] for i in range(0, len(order), _PIECE))])
    return np.concatenate(picks) if picks else np.zeros(0, np.intp)


def _overlaps_too_much(a, b, threshold, relative_to):
    """[len(a), len(b)] bool."""
    a, b = a.T[:, :, np.newaxis], b.T[:, np.newaxis, :]
    width = np.maximum(np.minimum(a[2], b[2]) - np.maximum(a[0], b[0]) + 1, 0)
    height = np.maximum(np.minimum(a[3], b[3]) - np.maximum(a[1], b[1]) + 1, 0)
    intersection = width * height
    area_a = (a[2] - a[0] + 1) * (a[3] - a[1] + 1)
    area_b = (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    if relative_to == 'smaller':
        reference = np.minimum(area_a, area_b)
    else:
        reference = area_a + area_b - intersection
    with np.errstate(divide='ignore', invalid='ignore'):  # boxes without area never stay beside a better one
        return ~(intersection / reference <= threshold)


def shift_by_size(boxes, regression, inclusive=True):
    """Moves each corner by its regression [N, 4] times the box's width or height (x1 - x0, plus 1 if `inclusive`)."""
    size = np.tile(boxes[:, 2:] - boxes[:, :2] + (1 if inclusive else 0), (1, 2))
    return boxes + regression * size


def make_square(boxes):
    """Grows the shorter side of each box about its centre."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True) if len(boxes) else size[:, :1]
    first = boxes[:, :2] + size * 0.5 - side * 0.5
    return np.hstack([first, first + side])


def patch_windows(boxes, width, height):
    """Where the patch of each box lies in full, and which part of it is inside the image.

    Args:
        boxes: [N, 4] of whole numbers, counted from pixel 1.
        width, height: of the image.

    Returns:
        full [N, 4] int: (x0, y0, x1, y1) counted from 0, x1 and y1 exclusive; inside [N, 4] int: clipped to the image,
        with x1 <= x0 or y1 <= y0 for a patch that lies outside.
    """
    full = boxes.astype(np.int64) - [1, 1, 0, 0]
    inside = np.hstack([np.maximum(full[:, :2], 0), np.minimum(full[:, 2:], [width, height])])
    return full, inside
