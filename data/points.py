"""Distributions of points in the plane: how to draw from them, their density where it has a closed form, their modes.

All lie within `BOX`. Parts are what a generator may miss: modes, or pieces of a curve that are equally probable.
"""

import math

import numpy as np

from dnnlib.util import UserError

BOX = (-3.0, 3.0)   # lowest and highest coordinate, of x and y alike
_QUADRATURE = 12    # nodes per axis and cell


class Distribution:
    """A distribution of points. Subclasses define `sample`, `nearest_parts` and, where it is known, `density`.

    name:        as `dataset_tool.py create_points --distribution` has it.
    about:       what it is, in a few words.
    num_parts:   number of modes, or of pieces of a curve.
    is_known:    whether the density has a closed form.
    """

    is_known = True

    def __init__(self, name, about, num_parts):
        self.name, self.about, self.num_parts = name, about, num_parts

    def sample(self, rng, num):
        """`num` points drawn from the numpy RandomState `rng`: float64 [num, 2]."""
        raise NotImplementedError

    def density(self, points):
        """Probability per unit of area at points [N, 2]: float64 [N]. Only where `is_known`."""
        raise NotImplementedError

    def nearest_parts(self, points):
        """For points [N, 2] the nearest part, int [N], and the distance to it in standard deviations, float64 [N]."""
        raise NotImplementedError

    def cell_masses(self, num_cells, box=BOX):
        """Probability of each of num_cells x num_cells equal cells of the box: float64 [num_cells, num_cells].

        The first axis is x. Computed by Gauss-Legendre quadrature; None where the density is unknown.
        """
        if not self.is_known:
            return None
        nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
        width = (box[1] - box[0]) / num_cells
        axis = (box[0] + width * (np.arange(num_cells)[:, np.newaxis] + (nodes + 1) / 2)).ravel()
        grid = np.stack(np.meshgrid(axis, axis, indexing='ij'), axis=-1).reshape(-1, 2)
        values = self.density(grid).reshape(num_cells, _QUADRATURE, num_cells, _QUADRATURE)
        return np.einsum('xiyj,i,j->xy', values, weights, weights) * (width / 2) ** 2


class Gaussians(Distribution):
    """Equally probable round Gaussians, evenly on a circle."""

    def __init__(self, name, num, radius, sigma):
        super().__init__(name, f'{num} Gaussians of deviation {sigma:g} on a circle of radius {radius:g}', num)
        angles = 2 * np.pi * np.arange(num) / num
        self.centers = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.sigma = sigma

    def sample(self, rng, num):
        return self.centers[rng.randint(self.num_parts, size=num)] + self.sigma * rng.randn(num, 2)

    def density(self, points):
        variance = self.sigma ** 2
        total = np.zeros(len(points))
        for center in self.centers:
            total += np.exp(-np.square(points - center).sum(axis=1) / (2 * variance))
        return total / (2 * np.pi * variance * self.num_parts)

    def nearest_parts(self, points):
        return _nearest(points, self.centers, np.arange(self.num_parts), self.sigma)

    def cell_masses(self, num_cells, box=BOX):
        edges = np.linspace(box[0], box[1], num_cells + 1)
        erf = np.vectorize(math.erf)
        x, y = [np.diff(erf((edges - self.centers[:, axis:axis + 1]) / (self.sigma * math.sqrt(2))), axis=1) / 2
                for axis in (0, 1)]
        return np.einsum('kx,ky->xy', x, y) / self.num_parts


class Ring(Distribution):
    """A circle whose radius has a Gaussian deviation. Its parts are equal arcs."""

    def __init__(self, name, radius, sigma, num_parts=16):
        super().__init__(name, f'a ring of radius {radius:g}, {sigma:g} wide', num_parts)
        self.radius, self.sigma = radius, sigma

    def sample(self, rng, num):
        angle, radius = 2 * np.pi * rng.uniform(size=num), self.radius + self.sigma * rng.randn(num)
        return radius[:, np.newaxis] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def density(self, points):
        radius = np.maximum(np.hypot(points[:, 0], points[:, 1]), 1e-9)
        # A negative radius, which has the probability of twenty deviations, is left out.
        along = np.exp(-0.5 * np.square((radius - self.radius) / self.sigma)) / (self.sigma * math.sqrt(2 * math.pi))
        return along / (2 * np.pi * radius)

    def nearest_parts(self, points):
        share = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) % 1.0
        parts = np.minimum((share * self.num_parts).astype(np.int64), self.num_parts - 1)
        return parts, np.abs(np.hypot(points[:, 0], points[:, 1]) - self.radius) / self.sigma


class Curve(Distribution):
    """Points on curves with Gaussian noise around them, whose density is an integral without closed form.

    trace: function from positions [N] in [0, 1) to points [N, 2] of the curve, at which positions are uniform.
    """

    is_known = False

    def __init__(self, name, about, trace, sigma, num_parts=16):
        super().__init__(name, about, num_parts)
        self.trace, self.sigma = trace, sigma

    def sample(self, rng, num):
        return self.trace(rng.uniform(size=num)) + self.sigma * rng.randn(num, 2)

    def nearest_parts(self, points):
        positions = (np.arange(64 * self.num_parts) + 0.5) / (64 * self.num_parts)
        return _nearest(points, self.trace(positions), (positions * self.num_parts).astype(np.int64), self.sigma)


class Checkerboard(Distribution):
    """The dark squares of a board of 4x4, uniform."""

    def __init__(self, name, side=1.0):
        super().__init__(name, f'the dark squares of a board of 4x4, {side:g} wide', 8)
        self.side = side
        squares = [(x, y) for x in range(4) for y in range(4) if (x + y) % 2 == 0]
        self.corners = (np.array(squares) - 2) * side

    def sample(self, rng, num):
        return self.corners[rng.randint(8, size=num)] + self.side * rng.uniform(size=(num, 2))

    def density(self, points):
        return (self.nearest_parts(points)[1] == 0) / (8 * self.side ** 2)

    def nearest_parts(self, points):
        """The distance is 0 inside of a square and infinite elsewhere."""
        square = np.floor(points / self.side).astype(np.int64) + 2
        number = np.full([4, 4], -1)
        number[self.corners[:, 0].astype(np.int64) + 2, self.corners[:, 1].astype(np.int64) + 2] = np.arange(8)
        inside = ((square >= 0) & (square < 4)).all(axis=1)
        square = np.where(inside[:, np.newaxis], square, 0)
        parts = np.where(inside, number[square[:, 0], square[:, 1]], -1)
        return np.maximum(parts, 0), np.where(parts >= 0, 0.0, np.inf)

    def cell_masses(self, num_cells, box=BOX):
        edges = np.linspace(box[0], box[1], num_cells + 1)
        x, y = [np.diff(np.clip(edges, low, low + self.side), axis=1)
                for low in (self.corners[:, :1], self.corners[:, 1:])]
        return np.einsum('kx,ky->xy', x, y) / (8 * self.side ** 2)


def _nearest(points, centers, parts, sigma):
    """(part of the nearest center, distance to it in units of sigma) for each point."""
    found, distances = [], []
    for start in range(0, len(points), 4096):
        piece = points[start:start + 4096, np.newaxis]
        squared = np.square(piece - centers).sum(axis=2)
        index = squared.argmin(axis=1)
        found.append(parts[index])
        distances.append(np.sqrt(squared[np.arange(len(index)), index]) / sigma)
    return np.concatenate(found), np.concatenate(distances)


def _spiral(positions):
    """1.6 turns outwards, at constant speed."""
    turns = np.sqrt(0.04 + positions * (1 - 0.04))
    angle, radius = 4 * np.pi * turns, 2.5 * turns
    return radius[:, np.newaxis] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _moons(positions):
    """Two half circles that reach into each other."""
    is_upper = positions < 0.5
    angle = np.pi * (positions * 2 % 1.0)
    x = np.where(is_upper, np.cos(angle) - 0.5, 0.5 - np.cos(angle))
    y = np.where(is_upper, np.sin(angle) - 0.25, 0.25 - np.sin(angle))
    return 1.5 * np.stack([x, y], axis=1)


DISTRIBUTIONS = {distribution.name: distribution for distribution in (
    Gaussians('gaussians-8', num=8, radius=2.0, sigma=0.2),
    Ring('ring', radius=2.0, sigma=0.1),
    Curve('spiral', 'a spiral of 1.6 turns, 0.06 wide', _spiral, sigma=0.06),
    Curve('moons', 'two half circles of radius 1.5 that reach into each other, 0.12 wide', _moons, sigma=0.12),
    Checkerboard('checkerboard'))}


def get(name):
    """The distribution of that name. Raises UserError if there is none."""
    if name not in DISTRIBUTIONS:
        raise UserError(f"there is no distribution of points '{name}'; choose {', '.join(DISTRIBUTIONS)}")
    return DISTRIBUTIONS[name]
