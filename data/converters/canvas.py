"""Anti-aliased drawing of soft and sharp shapes with numpy, on many canvases at once.

Only additions, multiplications, divisions and square roots are used, which every processor rounds alike, so a drawing
is the same to the bit everywhere. Coordinates on the canvas run from -1 to 1, x to the right and y down.

Each of K canvases gets a shape of its own: every number of a frame or a shape is one for all, or float64 [K]; every
colour is [r, g, b], or [K, 3]. Numbers are computed in float64, pixels in float32. A shape's pixels are computed in
windows of one size for all canvases, and painted where the shape is, so that it does not matter which other canvases
are drawn along.
"""

import copy
import itertools

import numpy as np

_IN_CACHE = 2 ** 17     # numbers, half a megabyte
_WORTH_SPLITTING = 1024     # pixels of a canvas: drawing two windows in place of one costs as much as so many
_ROUNDING = np.float32(1.5 * 2 ** 23)   # what is added to it loses everything behind the point, rounded


class Frame:
    """A coordinate system on each canvas: (u, v) = 0 lies at `origin`, one unit is `scale` of the canvas's.

    `half_tan` is the tangent of half the angle by which the frame is turned clockwise.
    """

    def __init__(self, origin, scale, half_tan=0.0):
        self.origin = origin
        self.scale = scale
        self.cos, self.sin = _cos_sin(half_tan)
        self.pair = None  # (gap, whether mirrored, cos, sin of the turn) of a frame that stands for two

    def inner(self, center):
        """A frame at a point of this one, turned as this one is, with the same scale."""
        u, v = center
        frame = Frame((self.origin[0] + self.scale * (u * self.cos - v * self.sin),
                       self.origin[1] + self.scale * (u * self.sin + v * self.cos)), self.scale)
        frame.cos, frame.sin = self.cos, self.sin
        return frame

    def twice(self, center, gap, mirror=True, half_tan=None):
        """A frame that draws everything twice, `gap` to the left and to the right of a point of this one.

        With `mirror` the left one is the mirror image of the right one, which may be turned by `half_tan`.
        """
        frame = self.inner(center)
        frame.pair = (gap, mirror) + ((None, None) if half_tan is None else _cos_sin(half_tan))
        return frame

    def those(self, chosen):
        """The frame on the chosen canvases only, a mask or numbers. Only before it is made to stand for two."""
        frame = copy.copy(self)
        frame.origin = tuple(pick(value, chosen) for value in self.origin)
        frame.scale, frame.cos, frame.sin = (pick(value, chosen) for value in (self.scale, self.cos, self.sin))
        return frame


class Canvas:
    """Pictures being painted: `pixels` is float32 [N, 3, R, R], values 0…255.

    The drawing functions compute a shape's signed distance `d` (negative inside) in units of a frame and paint where
    it is below zero; the edge is one pixel wide.
    """

    def __init__(self, resolution, count=1):
        self.resolution = resolution
        self.pixels = np.empty([count, 3, resolution, resolution], np.float32)
        self._numbers = np.arange(count)    # of the pictures that are drawn on
        self._ones = np.ones(count)
        self._centers = (np.arange(resolution, dtype=np.float32) * 2 + (1 - resolution)) / np.float32(resolution)

    def those(self, chosen):
        """The chosen ones of these canvases, a mask or numbers: what is painted there is painted here."""
        part = copy.copy(self)
        part._numbers = self._numbers[chosen]
        part._ones = np.ones(len(part._numbers))
        return part

    def fill(self, color, other, direction):
        """Fills all canvases with a gradient between two colours along a direction (x, y) of length up to 1."""
        x, y = self._centers[np.newaxis, np.newaxis], self._centers[np.newaxis, :, np.newaxis]
        t = x * plane(0.35 * direction[0]) + y * plane(0.35 * direction[1]) + 0.5
        color, other = (np.broadcast_to(_column(end), self.pixels.shape[:2] + (1, 1)) for end in (color, other))
        t = np.broadcast_to(t, (len(self.pixels),) + t.shape[1:])[:, np.newaxis]
        for some in self._pieces():
            np.multiply((other - color)[some], t[some], out=self.pixels[some])
            self.pixels[some] += color[some]

    def scale(self, factors):
        """Multiplies all canvases by a number each, float64 [N], or one for all."""
        factors = np.broadcast_to(np.asarray(factors, np.float32).reshape(-1, 1, 1, 1), (len(self.pixels), 1, 1, 1))
        for some in self._pieces():
            self.pixels[some] *= factors[some]

    def _pieces(self):
        """Slices of the canvases that the processor's cache holds while all their pixels are changed."""
        step = max(_IN_CACHE // (3 * self.resolution ** 2), 1)
        return [slice(start, start + step) for start in range(0, len(self.pixels), step)]

    def region(self, frame, extent, middle=None):
        """The parts of the canvases that |u| <= extent[0], |v| <= extent[1] may touch.

        Returns (spans, u, v): K tuples (top, bottom, left, right), where each part starts and ends, and the frame's
        coordinates of its pixels' centres, float32 [K, h, w], where h and w are those of the largest; the others have
        more below and to the right. Where a frame stands for two whose parts lie apart, it may be 2K tuples and
        [2, K, h, w], all left ones first. None where all parts are empty.

        middle: (u, v), around which the extent lies in place of 0.
        """
        gap, mirror, turn_cos, turn_sin = frame.pair or (None,) * 4
        if turn_cos is not None:
            extent = (extent[0] * abs(turn_cos) + extent[1] * abs(turn_sin),
                      extent[0] * abs(turn_sin) + extent[1] * abs(turn_cos))
        edges = (self._edges(frame, extent, middle) if gap is None else self._edges_of_pair(frame, extent, gap))
        top, bottom, left, right = edges
        if not ((top < bottom) & (left < right)).any():
            return None
        cos, sin = plane(frame.cos / frame.scale), plane(frame.sin / frame.scale)
        x = self._from(left, (right - left).max())[..., np.newaxis, :] - plane(frame.origin[0])
        y = self._from(top, (bottom - top).max())[..., np.newaxis] - plane(frame.origin[1])
        u, v = x * cos + y * sin, y * cos - x * sin
        if frame.pair:
            u = np.abs(u) - plane(gap) if mirror else u - np.copysign(plane(gap), u)
            if turn_sin is not None:
                turn_cos, turn_sin = plane(turn_cos), plane(turn_sin)
                u, v = u * turn_cos + v * turn_sin, v * turn_cos - u * turn_sin
        return list(zip(*(edge.ravel().tolist() for edge in edges))), u, v

    def _edges(self, frame, extent, middle=None):
        """Rows and columns of the windows around an extent, int [4, K]: top, bottom, left, right."""
        cos, sin = abs(frame.cos), abs(frame.sin)
        x, y = frame.origin if middle is None else frame.inner(middle).origin
        return np.array(self._span(y, (extent[0] * sin + extent[1] * cos) * frame.scale)
                        + self._span(x, (extent[0] * cos + extent[1] * sin) * frame.scale))

    def _edges_of_pair(self, frame, extent, gap):
        """The same for what is drawn twice: of a window for each, [4, 2, K], or of one around both."""
        both = self._edges(frame, (extent[0] + gap, extent[1]))
        if _area(both) <= _WORTH_SPLITTING * both.shape[1]:
            return both
        each = np.stack([self._edges(frame, extent, (side * gap, 0.0)) for side in (-1, 1)], axis=1)
        # Where windows met, what is in both would be painted twice.
        is_apart = (each[3, 0] <= each[2, 1]).all()
        return each if is_apart and _area(both) - _area(each) > _WORTH_SPLITTING * both.shape[1] else both

    def _span(self, center, reach):
        half = self.resolution / 2
        center, reach = (center + self._ones) * half, reach * half + 1
        start, stop = (center - reach).astype(int), (center + reach).astype(int) + 1
        return np.maximum(start, 0, out=start), np.minimum(stop, self.resolution, out=stop)

    def _from(self, start, count):
        """Centres of `count` pixels from `start` [K] on, float32 [K, count]; beyond the edge that of the last."""
        return self._centers[np.minimum(start[..., np.newaxis] + np.arange(count), self.resolution - 1)]

    def paint(self, frame, spans, distance, color, alpha=1.0, blur=0.0, shade=None):
        """Paints `color`, times a `shade` [K, h, w], where `distance` < 0, fading over `blur` units if given.

        Parts and distances are as `region` gives them; `distance` is overwritten.
        """
        pixel = 2 / (self.resolution * frame.scale)
        mask = distance
        mask *= plane(-1 / np.maximum(pixel, 2 * blur))
        mask += 0.5
        np.clip(mask, 0, 1, out=mask)
        if alpha != 1:
            mask *= alpha
        mask = mask.reshape((-1,) + mask.shape[-2:])
        colors = itertools.cycle(_column(color))
        for index, (number, cover, color, (top, bottom, left, right)) in enumerate(
                zip(itertools.cycle(self._numbers.tolist()), mask, colors, spans)):
            if top < bottom and left < right:
                height, width = bottom - top, right - left
                part = self.pixels[number, :, top:bottom, left:right]
                if shade is None:
                    change = color - part
                else:
                    change = color * shade[index, :height, :width]
                    change -= part
                change *= cover[:height, :width]
                part += change

    def ellipse(self, frame, radii, color, alpha=1.0, blur=0.0):
        """An ellipse around the frame's origin; `blur` softens its edge to both sides."""
        found = self.region(frame, (radii[0] + blur, radii[1] + blur))
        if found:
            spans, u, v = found
            self.paint(frame, spans, ellipse_distance(u, v, radii), color, alpha, blur)

    def ring(self, frame, radii, width, color):
        """The outline of an ellipse, `width` units wide."""
        found = self.region(frame, (radii[0] + width, radii[1] + width))
        if found:
            spans, u, v = found
            distance = ellipse_distance(u, v, radii)
            np.abs(distance, out=distance)
            distance -= width / 2
            self.paint(frame, spans, distance, color)

    def box(self, frame, half_size, rounding, color):
        """A rectangle with rounded corners around the frame's origin."""
        found = self.region(frame, half_size)
        if found:
            spans, u, v = found
            self.paint(frame, spans, box_distance(u, v, half_size, rounding), color)

    def arc(self, frame, half_width, rise, thickness, color):
        """A line bent upwards by `rise` units in its middle (downwards if negative), thinner towards its ends."""
        found = self.region(frame, (half_width + thickness, abs(rise) + thickness))
        if found:
            spans, u, v = found
            t = u * plane(1 / half_width)
            slope = t * plane(2 * rise / half_width)
            t *= t
            bent = v + plane(rise) * (1 - t)
            distance = np.abs(bent) / np.sqrt(1 + slope * slope) - (1.15 - t) * plane(thickness / 2)
            self.paint(frame, spans, np.maximum(distance, np.abs(u) - plane(half_width)), color)

    def images(self):
        """The finished pictures as uint8 [N, 3, R, R]; `pixels` are rounded."""
        images = np.empty(self.pixels.shape, np.uint8)
        for some in self._pieces():
            pixels = self.pixels[some]
            np.clip(pixels, 0, 255, out=pixels)
            # As np.rint would, which takes numpy for Python 3.7 longer than all else here.
            pixels += _ROUNDING
            pixels -= _ROUNDING
            images[some] = pixels
        return images


def _area(edges):
    """Pixels of windows whose edges are [4, ...] as they are computed, which is at the size of the largest."""
    top, bottom, left, right = edges
    return max((bottom - top).max(), 0) * max((right - left).max(), 0) * top.size


def pick(value, chosen):
    """The chosen canvases' part of a number or colour."""
    return value[chosen] if np.ndim(value) else value


def plane(number):
    """A number per canvas, float64 [K] or one for all, to be computed with planes: float32 [K, 1, 1], or itself."""
    return number if type(number) is float else np.asarray(number, np.float32).reshape(-1, 1, 1)


def _cos_sin(half_tan):
    norm = 1 + half_tan * half_tan
    return (1 - half_tan * half_tan) / norm, 2 * half_tan / norm


def ellipse_distance(u, v, radii):
    """Distance to an ellipse around 0, exact at the edge to first order; u and v are overwritten, to stay in caches."""
    ru, rv = 1 / radii[0], 1 / radii[1]
    u *= plane(ru)
    v *= plane(rv)
    u *= u
    v *= v
    level = u + v
    np.sqrt(level, out=level)
    u *= plane(ru * ru)
    v *= plane(rv * rv)
    u += v
    u += 1e-12
    np.sqrt(u, out=u)
    distance = np.multiply(level, level, out=v)
    distance -= level
    distance /= u
    return distance


def box_distance(u, v, half_size, rounding):
    """Distance to a rectangle around 0 whose corners are rounded; u and v are overwritten."""
    for values, half in ((u, half_size[0]), (v, half_size[1])):
        np.abs(values, out=values)
        values -= plane(half - rounding)
    inside = np.maximum(u, v)
    np.minimum(inside, 0, out=inside)
    for values in (u, v):
        np.maximum(values, 0, out=values)
        np.square(values, out=values)
    u += v
    np.sqrt(u, out=u)
    u += inside
    u -= rounding
    return u


def _column(color):
    """A colour as float32 [1, 3, 1, 1] or [K, 3, 1, 1]."""
    return np.asarray(color, np.float32).reshape(-1, 3, 1, 1)
