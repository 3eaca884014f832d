"""A stand-in for the face detector, and scripts that run the pre-filter with it."""

import os
import signal
import time

import numpy as np
import PIL.Image
import pytest
from PIL import features

from data.prefilter.settings import Settings

needs_reference_decoder = pytest.mark.skipif(
    not features.version('libjpeg_turbo'),
    reason='this Pillow decodes JPEG with another library than the reference did (libjpeg-turbo): other pixels')

DETECTOR = 'prefilter_helpers.FakeDetector'
ONCE, ALWAYS, SLOW = 1, 2, 3
"""Values of the first pixel's red that make the detector end its process once, always, or take its time.

These are the seconds that the environment variable PREFILTER_TEST_SLOW gives, none without it.
"""


class FakeDetector:
    """Finds one face, the image's middle, in images whose first pixel has green above 100; two above 200."""

    def __init__(self, min_face):
        assert min_face == 20

    def detect(self, image):
        height, width = image.shape[:2]
        red, green = int(image[0, 0, 0]), int(image[0, 0, 1])
        if red == ALWAYS or (red == ONCE and _first_time(image)):
            os.kill(os.getpid(), signal.SIGKILL)
        if red == SLOW:
            time.sleep(float(os.environ.get('PREFILTER_TEST_SLOW', '0')))
        box = [width * 0.25, height * 0.25, width * 0.75, height * 0.75]
        boxes = [box, [0.0, 0.0, 20.5, 20.5]][:int(green > 100) + int(green > 200)]
        return np.array(boxes, np.float64).reshape(-1, 4), np.linspace(0.99, 0.9, 2)[:len(boxes)]

    @staticmethod
    def versions():
        return {'detector': 'fake'}


class ScoringDetector(FakeDetector):
    """Is as sure of the face as the first pixel's blue says, in 255ths."""

    def detect(self, image):
        boxes, _ = super().detect(image)
        return boxes, np.full(len(boxes), image[0, 0, 2] / 255)


def _first_time(image):
    """Whether no process has met this image before; notes it beside what the environment names."""
    marker = os.path.join(os.environ['PREFILTER_TEST_MARKS'], str(int(image[0, 0, 2])))
    if os.path.exists(marker):
        return False
    with open(marker, 'w'):
        return True


def save_photo(path, red=0, green=150, blue=0, size=(80, 100), seed=0):
    """Writes a PNG of noise whose first pixel tells the detector what to do."""
    pixels = np.random.RandomState(seed).randint(0, 256, [size[1], size[0], 3]).astype(np.uint8)
    pixels[0, 0] = red, green, blue
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(str(path), 'PNG')


def make_tree(folder, count, **options):
    """Photographs in three class folders; every seventh shows no face."""
    for i in range(count):
        save_photo(folder / f'class{i % 3}' / f'{i:03}.png', green=0 if i % 7 == 3 else 150, seed=i, **options)


def use_detector(monkeypatch, detector):
    """Makes it the detector of settings that name none."""
    function = Settings.__init__
    names = function.__code__.co_varnames[:function.__code__.co_argcount][-len(function.__defaults__):]
    monkeypatch.setattr(function, '__defaults__', tuple(
        detector if name == 'detector' else value for name, value in zip(names, function.__defaults__)))


def settings(folder, out, **options):
    return Settings(str(folder), str(out), **dict({'detector': DETECTOR, 'size': 32}, **options))


def content(out):
    """All crops and the ledger of a folder: dict of relative path → bytes."""
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob('*')
            if path.is_file() and path.suffix in ('.png', '.csv')}
