"""The face detector against the reference boxes."""

import json

import numpy as np
import PIL.Image
import pytest
from prefilter_helpers import needs_reference_decoder

from data.prefilter import detector as detector_module
from data.prefilter import weights
from data.prefilter.crop import choose, crop_rectangle, cut
from data.prefilter.detector import Detector
from dnnlib.util import UserError

TOLERANCE = 0.01  # pixels


@pytest.fixture(scope='module')
def detector():
    made = Detector()
    yield made
    made.close()


def check(detector, golden_dir, reference_dir, step):
    """Compares every step-th photograph with its reference and returns how many there were."""
    with open(golden_dir / 'mtcnn.json') as f:
        golden = json.load(f)
    names = sorted(golden, key=lambda name: name[::-1])[::step]
    for name in names:
        expected = golden[name]
        with PIL.Image.open(reference_dir / 'data' / 'photos' / name) as image:
            pixels = np.array(image.convert('RGB'))
        boxes, scores = detector.detect(pixels)
        assert len(boxes) == len(expected['boxes']), name
        if not len(boxes):
            continue
        np.testing.assert_allclose(boxes, expected['boxes'], atol=TOLERANCE, err_msg=name)
        np.testing.assert_allclose(scores, expected['scores'], atol=1e-5, err_msg=name)
        chosen = choose(boxes, *expected['size'])
        rectangle = crop_rectangle(boxes[chosen], *expected['size'], margin=50)
        assert (chosen, list(rectangle)) == (expected['chosen'], expected['crop']), name
        crop = np.asarray(cut(pixels, rectangle, 256), np.float64)
        np.testing.assert_allclose(crop.mean(axis=(0, 1)), expected['crop256_mean_rgb'], atol=0.05, err_msg=name)
    return len(names)


@pytest.mark.both
@needs_reference_decoder
def test_boxes_and_crops_of_a_sample_equal_the_reference(detector, golden_dir, reference_dir):
    assert check(detector, golden_dir, reference_dir, step=17) == 40


@pytest.mark.slow
@needs_reference_decoder
def test_boxes_and_crops_of_all_photographs_equal_the_reference(detector, golden_dir, reference_dir):
    assert check(detector, golden_dir, reference_dir, step=1) == 673


def test_boxes_do_not_depend_on_the_bands_that_a_large_image_is_searched_in(detector, reference_dir, monkeypatch):
    with PIL.Image.open(reference_dir / 'data' / 'photos' / 'scenes' / '2007_007763.jpg') as image:
        pixels = np.array(image.convert('RGB'))
    boxes, scores = detector.detect(pixels)
    monkeypatch.setattr(detector_module, '_MAX_PIECE', 5000)
    banded_boxes, banded_scores = detector.detect(pixels)
    assert len(boxes) == 7
    np.testing.assert_allclose(banded_boxes, boxes, atol=1e-3)
    np.testing.assert_allclose(banded_scores, scores, atol=1e-5)


@pytest.mark.parametrize('shape', [(1, 1), (11, 400), (19, 19), (20, 20), (21, 900), (64, 47)])
def test_images_without_a_face_give_no_boxes(detector, shape):
    boxes, scores = detector.detect(np.full(shape + (3,), 127, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    assert boxes.dtype == scores.dtype == np.float64


def test_noise_of_any_shape_is_searched_without_error(detector):
    rng = np.random.RandomState(0)
    for height in (40, 41, 42, 43):
        for width in (57, 58):
            boxes, scores = detector.detect(rng.randint(0, 256, [height, width, 3]).astype(np.uint8))
            assert len(boxes) == len(scores)


def test_weights_are_those_of_the_package():
    loaded = weights.load_weights()
    assert [loaded[name][0].shape for name in ('pnet', 'rnet', 'onet')] == [(3, 3, 3, 10), (3, 3, 3, 28), (3, 3, 3, 32)]
    assert all(array.dtype == np.float32 for arrays in loaded.values() for array in arrays)


def test_other_weights_are_refused(tmp_path):
    (tmp_path / 'weights.npy').write_bytes(b'\x93NUMPY' + bytes(200))
    with pytest.raises(UserError, match='not the weights of mtcnn==0.1.1'):
        weights.load_weights(tmp_path / 'weights.npy')


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match='pip install --no-deps mtcnn==0.1.1'):
        weights.find_weights_file()
