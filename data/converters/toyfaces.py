"""Procedural faces: simple drawn portraits with CelebA's attribute names as labels.

Face number i of a seed is a function of (seed, i) alone. Its features are drawn independently of each other, except
that a bald head has neither a fringe nor a hair colour, and that exactly one hair colour applies to any other. Where
faces are pictures of persons, what a person cannot change from one picture to the next is a function of (seed, person).
"""

import numpy as np

from data.converters.canvas import Canvas, Frame, ellipse_distance

# Attribute: probability. The hair colours share what Bald leaves.
ATTRIBUTES = {
    'Bald': 0.12,
    'Bangs': 0.4,
    'Big_Nose': 0.35,
    'Black_Hair': 0.25,
    'Blond_Hair': 0.25,
    'Brown_Hair': 0.25,
    'Bushy_Eyebrows': 0.35,
    'Eyeglasses': 0.35,
    'Goatee': 0.2,
    'Gray_Hair': 0.25,
    'Mouth_Slightly_Open': 0.4,
    'Mustache': 0.25,
    'Pale_Skin': 0.3,
    'Rosy_Cheeks': 0.35,
    'Smiling': 0.5,
    'Wearing_Earrings': 0.35,
    'Wearing_Hat': 0.25,
    'Wearing_Lipstick': 0.4,
}
NAMES = list(ATTRIBUTES)
# What a person keeps: these attributes, and of the other draws the head's shape, skin, hair, eyes, brows and mouth.
OF_PERSON = ('Bald', 'Bangs', 'Big_Nose', 'Bushy_Eyebrows', 'Goatee', 'Mustache', 'Pale_Skin')
_DRAWS_OF_PERSON = (6, 7) + tuple(range(11, 22)) + (23, 24, 25, 26, 38)
_HAIR = {'Black_Hair': (38, 32, 36), 'Blond_Hair': (232, 196, 110), 'Brown_Hair': (118, 72, 42),
         'Gray_Hair': (176, 178, 186)}
_SKIN = np.array([(235, 186, 148), (222, 164, 118), (196, 136, 92), (160, 104, 68), (118, 74, 50)], np.float64)
_PERSON = 7     # tells the seeds of persons from those of pictures
_PALE = np.array([(255, 232, 220), (252, 224, 206)], np.float64)
_EYES = ((70, 110, 170), (72, 128, 84), (96, 62, 36), (60, 44, 36), (110, 120, 130))


class Face:
    """What a face looks like, before it is drawn at some resolution.

    `rng` is any RandomState, seeded anew here: that is much faster than making one. `person`: whom it shows, or None.
    """

    def __init__(self, seed, index, rng, person=None):
        draws, choice, values = _draws(rng, [seed % 2 ** 32, index % 2 ** 32, index >> 32])
        if person is not None:
            own, choice, own_values = _draws(rng, [seed % 2 ** 32, person, 0, _PERSON])
            draws = [own[number] if name in OF_PERSON else draw
                     for number, (name, draw) in enumerate(zip(ATTRIBUTES, draws))]
            values = [own_values[number] if number in _DRAWS_OF_PERSON else value
                      for number, value in enumerate(values)]
        self.has = {name: draw < chance for (name, chance), draw in zip(ATTRIBUTES.items(), draws)}
        for number, name in enumerate(_HAIR):
            self.has[name] = number == choice and not self.has['Bald']
        self.has['Bangs'] &= not self.has['Bald']

        self._values = iter(values)
        draw = self._draw
        self.x, self.y = 0.08 * draw(), 0.09 + 0.05 * draw()
        self.scale = 0.64 + 0.05 * draw()
        self.tilt = 0.07 * draw()        # tangent of half the angle: up to 8 degrees
        self.yaw, self.pitch = draw(), draw()
        self.width, self.chin = 0.80 + 0.06 * draw(), 0.14 + 0.09 * draw()
        self.light = (draw(), -0.4 + 0.4 * draw())
        self.gain = 0.97 + 0.07 * draw()
        tones = _PALE if self.has['Pale_Skin'] else _SKIN
        self.skin = _mix(tones, draw()) + 5 * np.array([draw(), draw(), draw()])
        color = next(iter(name for name in _HAIR if self.has[name]), 'Brown_Hair')
        self.hair = np.array(_HAIR[color]) * (1 + 0.12 * draw())
        self.brow = np.minimum(self.hair, self.skin * 0.75) * 0.8
        self.long_hair = draw()          # above 0.1: down to the shoulders
        self.part = 0.5 * draw()
        self.hairline = -0.56 + 0.06 * draw()
        self.eye_color = _EYES[int((draw() + 1) * 2.5 - 1e-9)]
        self.eye_size, self.eye_gap = 1.0 + 0.12 * draw(), 0.35 + 0.03 * draw()
        self.gaze = 0.04 * draw()
        self.brow_slope, self.brow_height = 0.02 + 0.06 * draw(), 0.33 + 0.03 * draw()
        self.mouth_width, self.mouth_height = 0.28 + 0.03 * draw(), 0.54 + 0.03 * draw()
        self.smile = 0.11 + 0.03 * draw() if self.has['Smiling'] else -0.01 + 0.02 * draw()
        self.background = _pastel(draw(), draw(), 205 + 35 * draw()), _pastel(draw(), draw(), 170 + 40 * draw())
        self.slope = draw(), draw()
        self.clothes = _pastel(draw(), 1.0, 135 + 60 * draw())
        self.hat = _pastel(draw(), 1.0, 140 + 70 * draw())
        self.frame_color = _mix(np.array([(40, 36, 40), (120, 60, 40), (60, 60, 110)], np.float64), draw())

    def _draw(self):
        return next(self._values)

    @property
    def label(self):
        """float32 [18]: 1 where the attribute of that name in `NAMES` applies, else 0."""
        return np.array([self.has[name] for name in NAMES], np.float32)

    def draw(self, resolution):
        """The picture, uint8 [3, resolution, resolution]."""
        canvas = Canvas(resolution)
        canvas.fill(self.background[0], self.background[1], self.slope)
        head = Frame((self.x, self.y), self.scale, self.tilt)
        skin, hair, has = self.skin, self.hair, self.has
        shadow = skin * 0.78
        turn = 0.10 * self.yaw
        rise = 0.04 * self.pitch

        if self.long_hair > 0.1 and not has['Bald']:
            canvas.box(head.inner((0, 0.35)), (self.width + 0.20, 1.05), 0.6, hair * 0.82)
        body = Frame((self.x * 0.6, 1.02 + 0.3 * self.y), self.scale)
        canvas.ellipse(body.inner((0, 0.32)), (1.30, 0.78), self.clothes)
        canvas.box(head.inner((0, 1.0)), (0.30, 0.42), 0.2, shadow)
        canvas.ring(body.inner((0, -0.32)), (0.42, 0.20), 0.10, self.clothes * 0.8)

        ears = head.twice((-turn * 0.5, 0.08 + rise), self.width + 0.02)
        canvas.ellipse(ears, (0.13, 0.20), skin * 0.93)
        canvas.ellipse(ears, (0.06, 0.11), shadow)
        if has['Wearing_Earrings']:
            gap, v = self.width + 0.05, 0.37 + rise
            canvas.ellipse(head.twice((-turn * 0.5, v), gap), (0.095, 0.115), (250, 208, 60))
            shine = head.twice((-turn * 0.5 - 0.02, v - 0.03), gap, mirror=False)
            canvas.ellipse(shine, (0.03, 0.04), (255, 246, 190))

        self._head(canvas, head, skin)
        if has['Rosy_Cheeks']:
            cheeks = head.twice((turn, 0.30 + rise), 0.44)
            canvas.ellipse(cheeks, (0.15, 0.12), skin * 0.45 + np.array([255, 70, 90]) * 0.55, 0.8, 0.10)
        if has['Goatee']:
            canvas.ellipse(head.inner((turn * 0.6, 0.86 + rise)), (0.24, 0.16), self.brow, 0.92, 0.02)
        self._nose(canvas, head.inner((turn * 1.3, 0.20 + rise)), skin)
        self._mouth(canvas, head.inner((turn, self.mouth_height + rise)))
        self._eyes(canvas, head, turn, -0.06 + rise)
        if not has['Bald']:
            self._hair(canvas, head, turn)
        if has['Wearing_Hat']:
            self._hat(canvas, head, turn)
        if has['Eyeglasses']:
            self._glasses(canvas, head, turn, rise)
        canvas.pixels *= self.gain
        return canvas.image()

    def _head_distance(self, u, v):
        """Distance to an egg: an ellipse whose lower half narrows towards the chin."""
        lower = np.maximum(v, 0)
        return ellipse_distance(u * (1 + self.chin * lower * lower), v, (self.width, 1.0))

    def _head(self, canvas, head, skin):
        slices, u, v = canvas.region(head, (0.95, 1.05))
        shade = (u * (self.light[0]) + v * (self.light[1])) * 0.11
        shade += 1 - 0.10 * (u * u + v * v * 0.6)
        canvas.paint(head, slices, self._head_distance(u, v), skin.reshape(3, 1, 1).astype(np.float32) * shade)

    def _nose(self, canvas, nose, skin):
        size = 1.8 if self.has['Big_Nose'] else 0.85
        canvas.ellipse(nose.inner((0, 0.05)), (0.13 * size, 0.09 * size), skin * 0.66, 0.9, 0.02)
        canvas.ellipse(nose, (0.10 * size, 0.10 * size), skin * np.array([0.98, 0.88, 0.86]), 1.0, 0.02)
        canvas.ellipse(nose.inner((-0.03, -0.03)), (0.035 * size, 0.035 * size), np.minimum(skin * 1.2, 255), 0.7, 0.02)

    def _mouth(self, canvas, mouth):
        has = self.has
        lips = np.array((205, 30, 62)) if has['Wearing_Lipstick'] else self.skin * np.array([0.72, 0.48, 0.48])
        thick = 0.135 if has['Wearing_Lipstick'] else 0.065
        width, bend = self.mouth_width, -self.smile
        if has['Mustache']:
            canvas.ellipse(mouth.twice((0, -0.15), 0.14, half_tan=0.12), (0.20, 0.075), self.brow, 1.0, 0.01)
        if has['Mouth_Slightly_Open']:
            slices, u, v = canvas.region(mouth.inner((0, 0.02)), (width + 0.1, 0.36))
            t = u / width
            v = v + bend * (1 - t * t)
            opening = ellipse_distance(u, v, (width, 0.115))
            canvas.paint(mouth, slices, opening - (thick * 0.5), lips)
            canvas.paint(mouth, slices, opening, (92, 22, 30))
            canvas.paint(mouth, slices, np.maximum(opening + 0.012, v + 0.02), (250, 246, 240))
        else:
            canvas.arc(mouth, width, bend, thick, lips)
            if has['Wearing_Lipstick']:
                canvas.arc(mouth, width * 0.85, bend, 0.028, lips * 0.55)

    def _eyes(self, canvas, head, turn, v):
        gap, size = self.eye_gap, self.eye_size
        radii = (0.175 * size, 0.14 * size)
        canvas.ellipse(head.twice((turn, v - 0.015), gap), (radii[0] + 0.025, radii[1] + 0.025), self.skin * 0.5)
        canvas.ellipse(head.twice((turn, v), gap), radii, (250, 250, 248))
        look = turn + self.gaze + 0.03 * self.yaw
        iris = head.twice((look, v + 0.01), gap, mirror=False)
        canvas.ellipse(iris, (0.105, 0.115), self.eye_color)
        canvas.ellipse(iris, (0.056, 0.062), (18, 16, 20))
        shine = head.twice((look - 0.03, v - 0.025), gap, mirror=False)
        canvas.ellipse(shine, (0.026, 0.026), (255, 255, 255))
        brows = head.twice((turn, v + 0.06 - self.brow_height), gap + 0.01, half_tan=self.brow_slope)
        canvas.arc(brows, 0.20, 0.045, 0.125 if self.has['Bushy_Eyebrows'] else 0.05, self.brow)

    def _hair(self, canvas, head, turn):
        slices, u, v = canvas.region(head, (self.width + 0.25, 1.25))
        outer = ellipse_distance(u, v + 0.10, (self.width + 0.11, 1.07))
        if self.has['Bangs']:
            line = (-0.36) - 0.10 * u * u
        else:
            from_part = np.abs(u - self.part)
            line = (self.hairline - 0.12) + 0.42 * from_part * np.sqrt(from_part)
        inside_face = np.abs(u - (turn * 0.5)) - (self.width - 0.09)
        # Above the hairline, or at the temples beside the face down to the ears.
        sides = np.maximum(-inside_face, v - 0.18)
        distance = np.maximum(outer, np.minimum(v - line, sides))
        shine = v + 0.62 + 0.35 * u * u
        shine = np.maximum(1 - np.abs(shine) * 4, 0)
        color = self.hair.reshape(3, 1, 1).astype(np.float32) * (1 + 0.22 * shine)
        canvas.paint(head, slices, distance, color)

    def _hat(self, canvas, head, turn):
        canvas.box(head.inner((0, -0.92)), (self.width - 0.02, 0.38), 0.30, self.hat)
        canvas.box(head.inner((0, -0.70)), (self.width + 0.02, 0.09), 0.05, self.hat * 0.55)
        canvas.box(head.inner((turn * 0.5, -0.58)), (self.width + 0.30, 0.085), 0.08, self.hat * 0.85)

    def _glasses(self, canvas, head, turn, rise):
        lenses = head.twice((turn, -0.04 + rise), self.eye_gap)
        canvas.ellipse(lenses, (0.27, 0.245), (225, 240, 255), 0.22)
        canvas.ring(lenses, (0.27, 0.245), 0.065, self.frame_color)
        temples = head.twice((turn * 0.6, -0.07 + rise), self.eye_gap + 0.36)
        canvas.box(temples, (0.12, 0.03), 0.01, self.frame_color)
        canvas.box(head.inner((turn, -0.07 + rise)), (self.eye_gap - 0.24, 0.03), 0.01, self.frame_color)


def _mix(tones, position):
    """The colour at a position -1…1 along a line of colours."""
    place = (position + 1) / 2 * (len(tones) - 1)
    index = min(int(place), len(tones) - 2)
    return tones[index] + (tones[index + 1] - tones[index]) * (place - index)


def _pastel(hue, saturation, value):
    """A colour [r, g, b] of a hue -1…1 around the colour circle; saturation -1…1, value 0…255."""
    place = (hue + 1) * 3
    wheel = np.array([abs(place - 3) - 1, 2 - abs(place - 2), 2 - abs(place - 4)]).clip(0, 1)
    strength = 0.35 + 0.2 * saturation
    return value * (1 - strength + strength * wheel)


def _draws(rng, seed):
    """(chances of attributes, number of a hair colour, values from -1 to 1), all that a face is drawn from."""
    rng.seed(seed)
    return rng.uniform(size=len(ATTRIBUTES)).tolist(), rng.randint(len(_HAIR)), rng.uniform(-1, 1, size=48).tolist()


def draw_batch(seed, indices, resolution, persons=None):
    """Faces with these numbers: (uint8 [N, 3, R, R], float32 labels [N, 18]).

    `persons`: how many persons the faces show, one after the other: face i is of person i modulo their number.
    """
    rng = np.random.RandomState(0)
    faces = [Face(seed, int(index), rng, int(index) % persons if persons else None) for index in indices]
    return np.stack([face.draw(resolution) for face in faces]), np.stack([face.label for face in faces])
