"""Procedural faces: simple drawn portraits with CelebA's attribute names as labels.

Face number i of a seed is a function of (seed, i) alone. Its features are drawn independently of each other, except
that a bald head has neither a fringe nor a hair colour, and that exactly one hair colour applies to any other. Where
faces are pictures of persons, what a person cannot change from one picture to the next is a function of (seed, person).
"""

import numpy as np

from data.converters.canvas import Canvas, Frame, ellipse_distance, plane

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
_SKIN = ((235, 186, 148), (222, 164, 118), (196, 136, 92), (160, 104, 68), (118, 74, 50))
_PERSON = 7     # tells the seeds of persons from those of pictures
_PALE = (255, 232, 220), (252, 224, 206)
_FRAMES = (40, 36, 40), (120, 60, 40), (60, 60, 110)
_PIXELS_TOGETHER = 2 ** 20      # of faces that are drawn at once: fewer numpy calls, but arrays that caches still hold
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

        draw = iter(values).__next__
        self.x, self.y = 0.08 * draw(), 0.09 + 0.05 * draw()
        self.scale = 0.64 + 0.05 * draw()
        self.tilt = 0.07 * draw()        # tangent of half the angle: up to 8 degrees
        self.yaw, self.pitch = draw(), draw()
        self.width, self.chin = 0.80 + 0.06 * draw(), 0.14 + 0.09 * draw()
        self.light_x, self.light_y = draw(), -0.4 + 0.4 * draw()
        self.gain = 0.97 + 0.07 * draw()
        tones = _PALE if self.has['Pale_Skin'] else _SKIN
        self.skin = [part + 5 * draw() for part in _mix(tones, draw())]
        color = next(iter(name for name in _HAIR if self.has[name]), 'Brown_Hair')
        shade = 1 + 0.12 * draw()
        self.hair = [part * shade for part in _HAIR[color]]
        self.brow = [min(hair, skin * 0.75) * 0.8 for hair, skin in zip(self.hair, self.skin)]
        self.long_hair = draw()          # above 0.1: down to the shoulders
        self.part = 0.5 * draw()
        self.hairline = -0.56 + 0.06 * draw()
        self.eye_color = _EYES[int((draw() + 1) * 2.5 - 1e-9)]
        self.eye_size, self.eye_gap = 1.0 + 0.12 * draw(), 0.35 + 0.03 * draw()
        self.gaze = 0.04 * draw()
        self.brow_slope, self.brow_height = 0.02 + 0.06 * draw(), 0.33 + 0.03 * draw()
        self.mouth_width, self.mouth_height = 0.28 + 0.03 * draw(), 0.54 + 0.03 * draw()
        self.smile = 0.11 + 0.03 * draw() if self.has['Smiling'] else -0.01 + 0.02 * draw()
        self.background = _pastel(draw(), draw(), 205 + 35 * draw())
        self.far_background = _pastel(draw(), draw(), 170 + 40 * draw())
        self.slope_x, self.slope_y = draw(), draw()
        self.clothes = _pastel(draw(), 1.0, 135 + 60 * draw())
        self.hat = _pastel(draw(), 1.0, 140 + 70 * draw())
        self.frame_color = _mix(_FRAMES, draw())

    @property
    def label(self):
        """float32 [18]: 1 where the attribute of that name in `NAMES` applies, else 0."""
        return np.array([self.has[name] for name in NAMES], np.float32)

    def draw(self, resolution):
        """The picture, uint8 [3, resolution, resolution]."""
        return draw([self], resolution)[0]


def draw(faces, resolution):
    """Pictures of a list of faces, uint8 [N, 3, resolution, resolution]; each is as it would be alone."""
    canvas = Canvas(resolution, len(faces))
    portraits = _Portraits(faces, canvas)
    canvas.fill(portraits.background, portraits.far_background, (portraits.slope_x, portraits.slope_y))
    portraits.paint()
    canvas.scale(portraits.gain)
    return canvas.images()


class _Portraits:
    """Faces that are drawn together: what a Face is in numbers is float64 [K] here, and colours are float64 [K, 3].

    A single face's numbers stay plain ones, which are faster to compute with.
    """

    def __init__(self, faces, canvas, head=None):
        self.faces = faces
        self.canvas = canvas
        self.head = Frame((self.x, self.y), self.scale, self.tilt) if head is None else head
        self.turn, self.rise = 0.10 * self.yaw, 0.04 * self.pitch

    def __getattr__(self, name):
        values = [getattr(face, name) for face in self.faces]
        is_plain = len(values) == 1 and isinstance(values[0], float)
        setattr(self, name, values[0] if is_plain else np.array(values, np.float64))
        return self.__dict__[name]

    def have(self, name):
        """Which faces have the attribute of that name, bool [K]."""
        return np.array([face.has[name] for face in self.faces])

    def _where(self, chosen, paint):
        """Calls a method with the chosen faces, a mask, in place of this, if there are any."""
        numbers = np.flatnonzero(chosen)
        if len(numbers):
            paint(_Portraits([self.faces[number] for number in numbers], self.canvas.those(numbers),
                             self.head.those(numbers)))

    def paint(self):
        """Everything in front of the background, from back to front."""
        has, kind = self.have, _Portraits
        self._where((self.long_hair > 0.1) & ~has('Bald'), kind._long_hair)
        self._body()
        self._where(has('Wearing_Earrings'), kind._earrings)
        self._head()
        self._where(has('Rosy_Cheeks'), kind._cheeks)
        self._where(has('Goatee'), kind._goatee)
        self._nose()
        self._where(has('Mustache'), kind._mustache)
        self._where(has('Mouth_Slightly_Open'), kind._open_mouth)
        self._where(~has('Mouth_Slightly_Open'), kind._closed_mouth)
        self._eyes()
        self._where(~has('Bald') & has('Bangs'), kind._fringe)
        self._where(~has('Bald') & ~has('Bangs'), kind._parted_hair)
        self._where(has('Wearing_Hat'), kind._hat)
        self._where(has('Eyeglasses'), kind._glasses)

    def _long_hair(self):
        self.canvas.box(self.head.inner((0, 0.35)), (self.width + 0.20, 1.05), 0.6, self.hair * 0.82)

    def _body(self):
        canvas, head, shadow = self.canvas, self.head, self.skin * 0.78
        body = Frame((self.x * 0.6, 1.02 + 0.3 * self.y), self.scale)
        canvas.ellipse(body.inner((0, 0.32)), (1.30, 0.78), self.clothes)
        canvas.box(head.inner((0, 1.0)), (0.30, 0.42), 0.2, shadow)
        canvas.ring(body.inner((0, -0.32)), (0.42, 0.20), 0.10, self.clothes * 0.8)
        ears = head.twice((-self.turn * 0.5, 0.08 + self.rise), self.width + 0.02)
        canvas.ellipse(ears, (0.13, 0.20), self.skin * 0.93)
        canvas.ellipse(ears, (0.06, 0.11), shadow)

    def _earrings(self):
        gap, v = self.width + 0.05, 0.37 + self.rise
        self.canvas.ellipse(self.head.twice((-self.turn * 0.5, v), gap), (0.095, 0.115), (250, 208, 60))
        shine = self.head.twice((-self.turn * 0.5 - 0.02, v - 0.03), gap, mirror=False)
        self.canvas.ellipse(shine, (0.03, 0.04), (255, 246, 190))

    def _head(self):
        """An egg, an ellipse whose lower half narrows towards the chin, lit from the side."""
        spans, u, v = self.canvas.region(self.head, (self.width, 1.0))
        shade = (u * plane(self.light_x) + v * plane(self.light_y)) * 0.11
        shade += 1 - 0.10 * (u * u + v * v * 0.6)
        lower = np.maximum(v, 0)
        distance = ellipse_distance(u * (1 + plane(self.chin) * lower * lower), v, (self.width, 1.0))
        self.canvas.paint(self.head, spans, distance, self.skin, shade=shade)

    def _cheeks(self):
        cheeks = self.head.twice((self.turn, 0.30 + self.rise), 0.44)
        color = self.skin * 0.45 + np.array([255, 70, 90]) * 0.55
        self.canvas.ellipse(cheeks, (0.15, 0.12), color, 0.8, 0.10)

    def _goatee(self):
        self.canvas.ellipse(self.head.inner((self.turn * 0.6, 0.86 + self.rise)), (0.24, 0.16), self.brow, 0.92, 0.02)

    def _nose(self):
        canvas, skin, nose = self.canvas, self.skin, self.head.inner((self.turn * 1.3, 0.20 + self.rise))
        size = np.where(self.have('Big_Nose'), 1.8, 0.85)
        canvas.ellipse(nose.inner((0, 0.05)), (0.13 * size, 0.09 * size), skin * 0.66, 0.9, 0.02)
        canvas.ellipse(nose, (0.10 * size, 0.10 * size), skin * np.array([0.98, 0.88, 0.86]), 1.0, 0.02)
        canvas.ellipse(nose.inner((-0.03, -0.03)), (0.035 * size, 0.035 * size), np.minimum(skin * 1.2, 255), 0.7, 0.02)

    def _mouth(self):
        """(its frame, colour of the lips, their thickness)."""
        painted = self.have('Wearing_Lipstick')
        lips = np.where(painted[:, np.newaxis], (205.0, 30.0, 62.0), self.skin * np.array([0.72, 0.48, 0.48]))
        return (self.head.inner((self.turn, self.mouth_height + self.rise)), lips, np.where(painted, 0.135, 0.065))

    def _mustache(self):
        mouth, _, _ = self._mouth()
        self.canvas.ellipse(mouth.twice((0, -0.15), 0.14, half_tan=0.12), (0.20, 0.075), self.brow, 1.0, 0.01)

    def _open_mouth(self):
        mouth, lips, thick = self._mouth()
        spans, u, v = self.canvas.region(mouth.inner((0, 0.02)), (self.mouth_width + 0.1, 0.36))
        t = u / plane(self.mouth_width)
        v = v + plane(-self.smile) * (1 - t * t)
        opening = ellipse_distance(u, v.copy(), (self.mouth_width, 0.115))
        self.canvas.paint(mouth, spans, opening - plane(thick * 0.5), lips)
        self.canvas.paint(mouth, spans, opening.copy(), (92, 22, 30))
        self.canvas.paint(mouth, spans, np.maximum(opening + 0.012, v + 0.02), (250, 246, 240))

    def _closed_mouth(self):
        mouth, lips, thick = self._mouth()
        self.canvas.arc(mouth, self.mouth_width, -self.smile, thick, lips)
        self._where(self.have('Wearing_Lipstick'), _Portraits._parting_of_lips)

    def _parting_of_lips(self):
        mouth, lips, _ = self._mouth()
        self.canvas.arc(mouth, self.mouth_width * 0.85, -self.smile, 0.028, lips * 0.55)

    def _eyes(self):
        canvas, head, turn, v = self.canvas, self.head, self.turn, -0.06 + self.rise
        gap, radii = self.eye_gap, (0.175 * self.eye_size, 0.14 * self.eye_size)
        canvas.ellipse(head.twice((turn, v - 0.015), gap), (radii[0] + 0.025, radii[1] + 0.025), self.skin * 0.5)
        canvas.ellipse(head.twice((turn, v), gap), radii, (250, 250, 248))
        look = turn + self.gaze + 0.03 * self.yaw
        iris = head.twice((look, v + 0.01), gap, mirror=False)
        canvas.ellipse(iris, (0.105, 0.115), self.eye_color)
        canvas.ellipse(iris, (0.056, 0.062), (18, 16, 20))
        shine = head.twice((look - 0.03, v - 0.025), gap, mirror=False)
        canvas.ellipse(shine, (0.026, 0.026), (255, 255, 255))
        brows = head.twice((turn, v + 0.06 - self.brow_height), gap + 0.01, half_tan=self.brow_slope)
        canvas.arc(brows, 0.20, 0.045, np.where(self.have('Bushy_Eyebrows'), 0.125, 0.05), self.brow)

    def _fringe(self):
        self._hair(lambda u: (-0.36) - 0.10 * u * u)

    def _parted_hair(self):
        def line(u):
            from_part = np.abs(u - plane(self.part))
            return plane(self.hairline - 0.12) + 0.42 * from_part * np.sqrt(from_part)

        self._hair(line)

    def _hair(self, line):
        """Hair above a line, a function of u."""
        # From the top of the outer edge down to where `sides` end, below which no line comes.
        spans, u, v = self.canvas.region(self.head, (self.width + 0.11, 0.675), middle=(0.0, -0.495))
        outer = ellipse_distance(u.copy(), v + 0.10, (self.width + 0.11, 1.07))
        inside_face = np.abs(u - plane(self.turn * 0.5)) - plane(self.width - 0.09)
        # Above the hairline, or at the temples beside the face down to the ears.
        sides = np.maximum(-inside_face, v - 0.18)
        distance = np.maximum(outer, np.minimum(v - line(u), sides))
        shine = v + 0.62 + 0.35 * u * u
        shine = np.maximum(1 - np.abs(shine) * 4, 0)
        self.canvas.paint(self.head, spans, distance, self.hair, shade=1 + 0.22 * shine)

    def _hat(self):
        canvas, head = self.canvas, self.head
        canvas.box(head.inner((0, -0.92)), (self.width - 0.02, 0.38), 0.30, self.hat)
        canvas.box(head.inner((0, -0.70)), (self.width + 0.02, 0.09), 0.05, self.hat * 0.55)
        canvas.box(head.inner((self.turn * 0.5, -0.58)), (self.width + 0.30, 0.085), 0.08, self.hat * 0.85)

    def _glasses(self):
        canvas, head, turn, v = self.canvas, self.head, self.turn, -0.07 + self.rise
        lenses = head.twice((turn, -0.04 + self.rise), self.eye_gap)
        canvas.ellipse(lenses, (0.27, 0.245), (225, 240, 255), 0.22)
        canvas.ring(lenses, (0.27, 0.245), 0.065, self.frame_color)
        canvas.box(head.twice((turn * 0.6, v), self.eye_gap + 0.36), (0.12, 0.03), 0.01, self.frame_color)
        canvas.box(head.inner((turn, v)), (self.eye_gap - 0.24, 0.03), 0.01, self.frame_color)


def _mix(tones, position):
    """The colour at a position -1…1 along a line of colours."""
    place = (position + 1) / 2 * (len(tones) - 1)
    index = min(int(place), len(tones) - 2)
    return [one + (other - one) * (place - index) for one, other in zip(tones[index], tones[index + 1])]


def _pastel(hue, saturation, value):
    """A colour [r, g, b] of a hue -1…1 around the colour circle; saturation -1…1, value 0…255."""
    place = (hue + 1) * 3
    wheel = abs(place - 3) - 1, 2 - abs(place - 2), 2 - abs(place - 4)
    strength = 0.35 + 0.2 * saturation
    return [value * (1 - strength + strength * min(max(part, 0), 1)) for part in wheel]


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
    together = max(_PIXELS_TOGETHER // resolution ** 2, 1)
    pictures = [draw(faces[start:start + together], resolution) for start in range(0, len(faces), together)]
    return np.concatenate(pictures), np.stack([face.label for face in faces])
