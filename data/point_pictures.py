"""Pictures of points in the plane: samples over reals, the discriminator's field, and lines of equal density."""

import numpy as np

SIDE = 384              # pixels
FIELD = 64              # points per axis at which the discriminator is asked
MOST_REALS = 1000
_LEVELS = (0.05, 0.25, 0.6)     # of the greatest density
_WHITE, _REAL, _FAKE, _LINE = [np.array(color, np.float32) / 255 for color in (
    (255, 255, 255), (90, 90, 90), (214, 72, 20), (150, 150, 150))]
_FOR_REAL, _FOR_FAKE = [np.array(color, np.float32) / 255 for color in ((110, 200, 186), (206, 150, 206))]


class PointPicture:
    """Draws samples of a data set of points.

    Args:
        dataset: its `distribution`, if it has one, gives the density; else its `dynamic_range` gives the area shown.
    """

    def __init__(self, dataset):
        self._dataset = dataset
        self._lines = None

    @property
    def box(self):
        """Lowest and highest coordinate shown."""
        return tuple(self._dataset.dynamic_range)

    def field_points(self, drange):
        """Points [FIELD^2, 2] float32, in the networks' range, whose scores `draw` can show."""
        axis = self.box[0] + (np.arange(FIELD) + 0.5) * ((self.box[1] - self.box[0]) / FIELD)
        grid = np.stack(np.meshgrid(axis, axis, indexing='ij'), axis=-1).reshape(-1, 2)
        return _between_ranges(grid, self.box, drange).astype(np.float32)

    def draw(self, samples, drange, _size, scores=None):
        """A picture [3, SIDE, SIDE] in [0, 1], x to the right and y upwards.

        Args:
            samples: points [N, 2] in the range `drange`: what a generator made if there are scores, else reals.
            drange: range of the samples.
            scores: logits of a discriminator at `field_points`, [FIELD^2, 1]; what it takes for real is shaded
                green, what it takes for fake purple, and reals are drawn below the samples.
        """
        picture = np.ones([SIDE, SIDE, 3], np.float32) * _WHITE
        if scores is not None:
            self._shade(picture, np.asarray(scores, np.float64))
        if self._dataset.distribution is not None and self._dataset.distribution.is_known:
            if self._lines is None:
                self._lines = self._density_lines()
            picture[self._lines] = _LINE
        samples = _between_ranges(np.asarray(samples, np.float64), drange, self.box)
        if scores is not None:
            reals, _ = self._dataset.get_samples_np(np.arange(min(MOST_REALS, self._dataset.num_images)))
            self._dots(picture, reals, _REAL, 1.1)
            self._dots(picture, samples, _FAKE, 1.6)
        else:
            self._dots(picture, samples, _REAL, 1.6)
        return picture[::-1].transpose(2, 0, 1)  # rows from the top, where y is greatest

    def _shade(self, picture, scores):
        """Colours the ground by sigmoid(score): white where D cannot tell."""
        belief = np.tanh(scores.reshape(FIELD, FIELD).T / 2).astype(np.float32)  # [y, x], -1 for fake, 1 for real
        belief = np.repeat(np.repeat(belief, SIDE // FIELD, axis=0), SIDE // FIELD, axis=1)[..., np.newaxis]
        color = np.where(belief > 0, _FOR_REAL, _FOR_FAKE)
        picture += (color - picture) * np.abs(belief)

    def _density_lines(self):
        """Mask [SIDE, SIDE] of the lines of equal density."""
        axis = self.box[0] + (np.arange(SIDE + 1)) * ((self.box[1] - self.box[0]) / SIDE)
        grid = np.stack(np.meshgrid(axis, axis, indexing='xy'), axis=-1).reshape(-1, 2)
        density = self._dataset.distribution.density(grid).reshape(SIDE + 1, SIDE + 1)
        mask = np.zeros([SIDE, SIDE], bool)
        for level in _LEVELS:
            above = density > level * density.max()
            here = above[:-1, :-1]
            mask |= (here != above[1:, :-1]) | (here != above[:-1, 1:])
        return mask

    def _dots(self, picture, where, color, radius):
        """Draws discs with soft edges; those beyond the box are left out."""
        place = (np.asarray(where, np.float64) - self.box[0]) * (SIDE / (self.box[1] - self.box[0])) - 0.5
        place = place[np.isfinite(place).all(axis=1)]
        place = place[(place > -radius).all(axis=1) & (place < SIDE - 1 + radius).all(axis=1)]
        pixel = np.rint(place).astype(np.int64)
        cover = np.zeros([SIDE, SIDE], np.float32)
        reach = int(np.ceil(radius + 0.5))
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                at = pixel + (dx, dy)
                share = np.clip(radius + 0.5 - np.hypot(*(at - place).T), 0, 1)
                inside = ((at >= 0) & (at < SIDE)).all(axis=1)
                np.maximum.at(cover, (at[inside, 1], at[inside, 0]), share[inside])
        picture += (color - picture) * cover[..., np.newaxis]


def _between_ranges(values, drange_in, drange_out):
    scale = (drange_out[1] - drange_out[0]) / (drange_in[1] - drange_in[0])
    return (values - drange_in[0]) * scale + drange_out[0]
