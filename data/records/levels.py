"""The levels of detail of a picture: each half the size of the one before, as progressive growing needs them."""

import numpy as np

_PIECE = 512 << 10  # bytes of pictures worked on at once: few calls, within the cache, and malloc keeps what is freed


def levels_of_detail(images, smallest=4):
    """A list of `images` and its half-size versions down to `smallest` pixels: uint8 [N, C, R, R], R a power of two.

    Every level is the mean over 2x2 pixels of the level before it, not rounded in between, then rounded half to even.
    Sums are kept in integers, which gives the exact mean at any resolution. `smallest` is 4 or more.
    """
    assert images.dtype == np.uint8 and images.ndim == 4 and smallest >= 4, (images.dtype, images.shape, smallest)
    levels = [images]
    size = images.shape[-1]
    while size > smallest:
        size //= 2
        levels.append(np.empty(images.shape[:2] + (size, size), np.uint8))
    step = max(1, _PIECE // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        sums = np.ascontiguousarray(images[start:start + step])
        for depth, level in enumerate(levels[1:], start=1):
            if depth == 5:
                sums = sums.astype(np.uint32)  # 255 * 4^5 needs more than 16 bits
            sums = _sum_2x2(sums)
            level[start:start + step] = _divide(sums, 2 * depth)
    return levels


# Small numbers are added and shifted several at once, as the lanes of 64-bit words: numpy before 1.20 has no vector
# instructions for shifts, and no version has any for every other element. Lanes count from the lowest bits, which hold
# the first elements on every processor that this runs on. No sum is too large for its lane, so lanes do not disturb
# each other, except that shifting right fills the upper bits of a lane with its neighbour's lower ones.

def _sum_2x2(sums):
    """Sums over 2x2 pixels of a contiguous [N, C, R, R], R at least 8: uint16 from uint8; else of the same type."""
    if sums.dtype == np.uint32:
        pairs = sums[..., 0::2] + sums[..., 1::2]
        return pairs[..., 0::2, :] + pairs[..., 1::2, :]
    words = sums.view(np.uint64)
    if sums.dtype == np.uint8:
        lower = np.uint64(0x00ff00ff00ff00ff)
        pairs = words >> np.uint64(8)
        pairs &= lower
        pairs += words & lower
        return (pairs[..., 0::2, :] + pairs[..., 1::2, :]).view(np.uint16)
    rows = words[..., 0::2, :] + words[..., 1::2, :]
    rows += rows >> np.uint64(16)
    return rows.view(np.uint32).astype(np.uint16)  # every other lane, those that hold sums of two neighbours


def _divide(sums, bits):
    """sums / 2^bits, rounded half to even, as uint8."""
    ones = 1
    if sums.dtype == np.uint16:
        sums, ones = sums.view(np.uint64), 0x0001000100010001
    kind = sums.dtype.type
    odd = sums >> kind(bits)
    odd &= kind(ones)
    odd += kind(ones * ((1 << (bits - 1)) - 1))
    odd += sums
    odd >>= kind(bits)
    return (odd if ones == 1 else odd.view(np.uint16)).astype(np.uint8)
