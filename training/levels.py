"""The levels of detail of a picture: each half the size of the one before, as progressive growing needs them."""

import numpy as np


def levels_of_detail(images, smallest=4):
    """Yields `images` and its half-size versions down to `smallest` pixels: uint8 [N, C, R, R], R a power of two.

    Every level is the mean over 2x2 pixels of the level before it, not rounded in between, then rounded half to even.
    Sums are kept in integers, which gives the exact mean at any resolution.
    """
    assert images.dtype == np.uint8 and images.ndim == 4, (images.dtype, images.shape)
    yield images
    sums = images
    bits = 0
    while sums.shape[-1] > smallest:
        bits += 2
        if bits == 2:
            sums = images.astype(np.uint16)  # room for four halvings, 255 * 4^4 < 2^16
        elif bits == 10:
            sums = sums.astype(np.uint32)
        rows = sums[:, :, 0::2] + sums[:, :, 1::2]
        sums = rows[..., 0::2] + rows[..., 1::2]
        kind = sums.dtype.type
        odd = (sums >> kind(bits)) & kind(1)
        yield ((sums + kind((1 << (bits - 1)) - 1) + odd) >> kind(bits)).astype(np.uint8)
