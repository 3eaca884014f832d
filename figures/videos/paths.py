"""Closed paths through key frames, as arrays: the last frame leads to the first."""

import numpy as np

from dnnlib.errors import UserError
from figures.drawing import loop_latents

SPHERICAL, LINEAR, SPLINE = 'spherical', 'linear', 'spline'
CURVES = (SPHERICAL, LINEAR, SPLINE)


def phases(count):
    """Times of `count` frames in [0, 1), of which 1 would be 0 again."""
    return np.arange(count) / count


def closed(keys, count, curve):
    """`count` points [count, ...] on a closed curve through keys [K, ...].

    spherical keeps to the sphere on which latents z lie, linear takes straight lines, spline a periodic cubic, which
    has no corners. Raises UserError for fewer than two keys, or for more keys than points.
    """
    keys = np.asarray(keys, np.float64)
    if len(keys) < 2:
        raise UserError('a path needs two key frames at least: name several --seeds')
    if count < len(keys):
        raise UserError(f'{count} frames are too few for {len(keys)} key frames; raise --seconds or --fps')
    if curve == SPHERICAL:
        return loop_latents(keys, count)
    positions = phases(count) * len(keys)
    if curve == SPLINE:
        from scipy.interpolate import CubicSpline
        ring = np.concatenate([keys, keys[:1]])
        return CubicSpline(np.arange(len(ring)), ring, axis=0, bc_type='periodic')(positions)
    start = positions.astype(int)
    t = (positions - start).reshape([-1] + [1] * (keys.ndim - 1))
    return keys[start] * (1 - t) + keys[(start + 1) % len(keys)] * t
