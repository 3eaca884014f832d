"""The levels of detail of a picture: each half the size of the one before, as progressive growing needs them."""

import numpy as np


def levels_of_detail(images, smallest=4):
    """A list of `images` and its half-size versions down to `smallest` pixels: uint8 [N, C, R, R], R a power of two.

    Every level is the mean over 2x2 pixels of the level before it, not rounded in between, then rounded half to even.
    Sums are kept in integers, which gives the exact mean at any resolution.
    """
    assert images.dtype == np.uint8 and images.ndim == 4, (images.dtype, images.shape)
    levels = [images]
    size = images.shape[-1]
    while size > smallest:
        size //= 2
        levels.append(np.empty(images.shape[:2] + (size, size), np.uint8))
    for number, image in enumerate(images):  # one at a time stays in the processor's cache
        sums = np.ascontiguousarray(image)
        for depth, level in enumerate(levels[1:], start=1):
            if depth == 5:
                sums = sums.astype(np.uint32)  # 255 * 4^5 needs more than 16 bits
            sums = _sum_2x2(sums)
            level[number] = _divide(sums, 2 * depth)
    return levels


def _sum_2x2(sums):
    """Sums over 2x2 pixels of a contiguous [C, R, R]; 16 bits wide for 8 and 16 bits, which must suffice."""
    if sums.dtype == np.uint8:
        # Two neighbours read as one 16-bit number: much faster than stepping over every other byte.
        pairs = sums.view(np.uint16)
        pairs = (pairs & np.uint16(0xff)) + (pairs >> np.uint16(8))
    elif sums.dtype == np.uint16:
        pairs = sums.view(np.uint32)
        pairs = ((pairs & np.uint32(0xffff)) + (pairs >> np.uint32(16))).astype(np.uint16)
    else:
        pairs = sums[..., 0::2] + sums[..., 1::2]
    return pairs[:, 0::2] + pairs[:, 1::2]


def _divide(sums, bits):
    """sums / 2^bits, rounded half to even, as uint8."""
    kind = sums.dtype.type
    odd = (sums >> kind(bits)) & kind(1)
    odd += kind((1 << (bits - 1)) - 1)
    odd += sums
    odd >>= kind(bits)
    return odd.astype(np.uint8)
