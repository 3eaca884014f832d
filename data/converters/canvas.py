"""Anti-aliased drawing of soft and sharp shapes with numpy.

Only additions, multiplications, divisions and square roots are used, which every processor rounds alike, so a drawing
is the same to the bit everywhere. Coordinates on the canvas run from -1 to 1, x to the right and y down.
"""

import numpy as np


class Frame:
    """A coordinate system on the canvas: (u, v) = 0 lies at `origin`, one unit is `scale` of the canvas's.

    `half_tan` is the tangent of half the angle by which the frame is turned clockwise.
    """

    def __init__(self, origin, scale, half_tan=0.0):
        self.origin = origin
        self.scale = scale
        self.cos, self.sin = _cos_sin(half_tan)
        self.pair = None  # (gap, whether mirrored, cos, sin of the turn) of a frame that stands for two

    def inner(self, center, half_tan=0.0):
        """A frame at a point of this one, turned further, with the same scale."""
        u, v = center
        frame = Frame((self.origin[0] + self.scale * (u * self.cos - v * self.sin),
                       self.origin[1] + self.scale * (u * self.sin + v * self.cos)), self.scale, half_tan)
        frame.cos, frame.sin = (self.cos * frame.cos - self.sin * frame.sin,
                                self.sin * frame.cos + self.cos * frame.sin)
        return frame

    def twice(self, center, gap, mirror=True, half_tan=0.0):
        """A frame that draws everything twice, `gap` to the left and to the right of a point of this one.

        With `mirror` the left one is the mirror image of the right one, which may be turned by `half_tan`.
        """
        frame = self.inner(center)
        frame.pair = (gap, mirror) + _cos_sin(half_tan)
        return frame


class Canvas:
    """A picture being painted: `pixels` is float32 [3, R, R], values 0…255.

    The drawing functions compute a shape's signed distance `d` (negative inside) in units of a frame and paint where
    it is below zero; the edge is one pixel wide.
    """

    def __init__(self, resolution):
        self.resolution = resolution
        self.pixels = np.empty([3, resolution, resolution], np.float32)
        centers = (np.arange(resolution, dtype=np.float32) * 2 + (1 - resolution)) / np.float32(resolution)
        self._x = centers[np.newaxis, :]
        self._y = centers[:, np.newaxis]

    def fill(self, color, other, direction):
        """Fills the canvas with a gradient between two colours along a direction (x, y) of length up to 1."""
        t = self._x * (0.35 * direction[0]) + self._y * (0.35 * direction[1]) + 0.5
        color, other = _column(color), _column(other)
        np.multiply(other - color, t, out=self.pixels)
        self.pixels += color

    def region(self, frame, extent):
        """The part of the canvas that |u| <= extent[0], |v| <= extent[1] may touch.

        Returns (slices, u, v) with the frame's coordinates of the pixels' centres, float32 [h, w], or None outside.
        """
        if frame.pair:
            gap, mirror, turn_cos, turn_sin = frame.pair
            extent = (gap + extent[0] * abs(turn_cos) + extent[1] * abs(turn_sin),
                      extent[0] * abs(turn_sin) + extent[1] * abs(turn_cos))
        cos, sin = abs(frame.cos), abs(frame.sin)
        columns = self._span(frame.origin[0], (extent[0] * cos + extent[1] * sin) * frame.scale)
        rows = self._span(frame.origin[1], (extent[0] * sin + extent[1] * cos) * frame.scale)
        if columns is None or rows is None:
            return None
        cos, sin = frame.cos / frame.scale, frame.sin / frame.scale
        x = self._x[:, columns] - frame.origin[0]
        y = self._y[rows] - frame.origin[1]
        u, v = x * cos + y * sin, y * cos - x * sin
        if frame.pair:
            u = np.abs(u) - gap if mirror else u - np.copysign(gap, u)
            if turn_sin:
                u, v = u * turn_cos + v * turn_sin, v * turn_cos - u * turn_sin
        return (rows, columns), u, v

    def _span(self, center, reach):
        half = self.resolution / 2
        center, reach = (center + 1) * half, reach * half + 1
        start, stop = max(int(center - reach), 0), min(int(center + reach) + 1, self.resolution)
        return slice(start, stop) if start < stop else None

    def paint(self, frame, slices, distance, color, alpha=1.0, blur=0.0):
        """Paints `color` ([r, g, b], or an array [3, h, w]) where `distance` < 0, fading over `blur` units if given."""
        pixel = 2 / (self.resolution * frame.scale)
        mask = distance * (-1 / max(pixel, 2 * blur))
        mask += 0.5
        np.maximum(mask, 0, out=mask)
        np.minimum(mask, 1, out=mask)
        if alpha != 1:
            mask *= alpha
        part = self.pixels[:, slices[0], slices[1]]
        change = _column(color) - part
        change *= mask
        part += change

    def ellipse(self, frame, radii, color, alpha=1.0, blur=0.0):
        """An ellipse around the frame's origin; `blur` softens its edge to both sides."""
        found = self.region(frame, (radii[0] + blur, radii[1] + blur))
        if found:
            slices, u, v = found
            self.paint(frame, slices, ellipse_distance(u, v, radii), color, alpha, blur)

    def ring(self, frame, radii, width, color, alpha=1.0):
        """The outline of an ellipse, `width` units wide."""
        found = self.region(frame, (radii[0] + width, radii[1] + width))
        if found:
            slices, u, v = found
            self.paint(frame, slices, np.abs(ellipse_distance(u, v, radii)) - width / 2, color, alpha)

    def box(self, frame, half_size, rounding, color, alpha=1.0, blur=0.0):
        """A rectangle with rounded corners around the frame's origin."""
        found = self.region(frame, (half_size[0] + blur, half_size[1] + blur))
        if found:
            slices, u, v = found
            self.paint(frame, slices, box_distance(u, v, half_size, rounding), color, alpha, blur)

    def arc(self, frame, half_width, rise, thickness, color, alpha=1.0):
        """A line bent upwards by `rise` units in its middle (downwards if negative), thinner towards its ends."""
        found = self.region(frame, (half_width + thickness, abs(rise) + thickness))
        if found:
            slices, u, v = found
            t = u * (1 / half_width)
            slope = t * (2 * rise / half_width)
            t *= t
            bent = v + rise * (1 - t)
            distance = np.abs(bent) / np.sqrt(1 + slope * slope) - (1.15 - t) * (thickness / 2)
            self.paint(frame, slices, np.maximum(distance, np.abs(u) - half_width), color, alpha)

    def image(self):
        """The picture as uint8 [3, R, R]."""
        return np.rint(np.clip(self.pixels, 0, 255)).astype(np.uint8)


def _cos_sin(half_tan):
    norm = 1 + half_tan * half_tan
    return (1 - half_tan * half_tan) / norm, 2 * half_tan / norm


def ellipse_distance(u, v, radii):
    """Distance to an ellipse around 0, exact at the edge to first order."""
    ru, rv = 1 / radii[0], 1 / radii[1]
    u, v = u * ru, v * rv
    u *= u
    v *= v
    level = u + v
    np.sqrt(level, out=level)
    u *= ru * ru
    v *= rv * rv
    u += v
    u += 1e-12
    np.sqrt(u, out=u)
    distance = level * level
    distance -= level
    distance /= u
    return distance


def box_distance(u, v, half_size, rounding):
    """Distance to a rectangle around 0 whose corners are rounded."""
    u = np.abs(u) - (half_size[0] - rounding)
    v = np.abs(v) - (half_size[1] - rounding)
    outside = np.sqrt(np.square(np.maximum(u, 0)) + np.square(np.maximum(v, 0)))
    return outside + np.minimum(np.maximum(u, v), 0) - rounding


def _column(color):
    color = np.asarray(color, np.float32)
    return color if color.ndim == 3 else color.reshape(3, 1, 1)
