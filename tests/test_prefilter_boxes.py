"""The pre-filter's arithmetic: order of equal scores, suppression, patches, choice of the face, crop rectangles."""

import json

import numpy as np
import pytest

from data.prefilter import boxes as bx
from data.prefilter import ordering
from data.prefilter.crop import choose, crop_rectangle, cut

# What numpy.argsort gives on NumPy 1.18 for float64, where its quicksort is not stable.
OLD_ORDERS = [
    ([2, 0, 1, 3, 0, 0, 0, 5, 5, 3, 2, 3, 1, 1, 2, 5, 0],
     [16, 1, 4, 5, 6, 2, 13, 12, 14, 10, 0, 11, 3, 9, 15, 7, 8]),
    ([4, 4, 5, 0, 2, 1, 2, 2, 2, 4, 1, 3, 2, 5, 0, 1, 5, 2, 0, 3, 0, 3, 1, 3, 0, 5, 4, 1, 5, 4, 4, 0, 0, 1, 2, 4, 5,
      0, 0, 5],
     [14, 20, 38, 18, 32, 24, 37, 31, 3, 27, 15, 5, 33, 22, 10, 4, 17, 34, 8, 7, 12, 6, 23, 19, 11, 21, 35, 30, 29, 0,
      26, 9, 1, 25, 16, 13, 2, 36, 28, 39]),
]


@pytest.mark.parametrize('values, expected', OLD_ORDERS)
def test_equal_scores_are_ordered_as_old_numpy_did(values, expected):
    assert ordering.ascending(np.array(values, np.float64)).tolist() == expected


@pytest.mark.both
def test_order_is_that_of_argsort_where_numpy_still_has_that_quicksort():
    if tuple(int(part) for part in np.__version__.split('.')[:2]) > (1, 24):
        pytest.skip('this NumPy sorts equal values in another order')
    rng = np.random.RandomState(0)
    for length in list(range(60)) + [200, 1000]:
        for levels in (2, 10, 1000):
            values = rng.randint(0, levels, length) / 7
            for arranged in (values, np.sort(values), np.sort(values)[::-1]):
                np.testing.assert_array_equal(ordering.ascending(arranged), np.argsort(arranged))


def test_lopsided_values_fall_back_to_heapsort_and_stay_sorted():
    half = 2000
    values = np.zeros(2 * half)
    for i in range(1, half + 1):  # defeats the median of three
        values[i - 1] = i if i % 2 else half + i - 1
        values[half + i - 1] = 2 * i
    values = values // 2
    order = ordering.ascending(values)
    np.testing.assert_array_equal(np.sort(order), np.arange(2 * half))
    assert (np.diff(values[order]) >= 0).all()


def greedy(boxes, scores, threshold, relative_to):
    """Suppression one box at a time."""
    left = ordering.ascending(scores)[::-1].tolist()
    picks = []
    while left:
        best = left.pop(0)
        picks.append(best)
        a = boxes[best]
        keep = []
        for i in left:
            b = boxes[i]
            inter = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1) * max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
            areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
            if inter / (min(areas) if relative_to == 'smaller' else sum(areas) - inter) <= threshold:
                keep.append(i)
        left = keep
    return picks


@pytest.mark.parametrize('relative_to', ['union', 'smaller'])
@pytest.mark.parametrize('count', [0, 1, 17, 130, 400])
def test_suppression_in_blocks_is_suppression_one_by_one(count, relative_to):
    rng = np.random.RandomState(count)
    corner = rng.randint(0, 100, [count, 2]).astype(np.float64)
    boxes = np.hstack([corner, corner + rng.randint(10, 40, [count, 2])])
    scores = np.round(rng.rand(count), 2)
    assert bx.suppress(boxes, scores, 0.5, relative_to).tolist() == greedy(boxes, scores, 0.5, relative_to)


def test_suppression_settles_a_crowd_in_pieces():
    boxes = np.array([[i * 20, 0, i * 20 + 9, 9] for i in range(9000)], np.float64)
    boxes = np.concatenate([boxes, boxes])
    assert sorted(bx.suppress(boxes, np.arange(18000) / 18000, 0.5)) == list(range(9000, 18000))


def test_proposals_are_ordered_by_column_and_scaled_back():
    scores = np.zeros([4, 5], np.float32)
    scores[3, 1], scores[0, 2] = 0.7, 0.6
    regression = np.arange(80, dtype=np.float32).reshape(4, 5, 4)
    boxes, found, shifts = bx.proposals(scores, regression, 0.5, 0.6)
    assert boxes.tolist() == [[6, 14, 28, 36], [10, 2, 32, 24]]
    np.testing.assert_allclose(found, [0.7, 0.6], rtol=1e-6)
    assert shifts.tolist() == [regression[3, 1].tolist(), regression[0, 2].tolist()]


def test_a_lone_proposal_reads_its_regression_mirrored():
    scores = np.zeros([4, 5], np.float32)
    scores[3, 1] = 0.9
    regression = np.arange(80, dtype=np.float32).reshape(4, 5, 4)
    assert bx.proposals(scores, regression, 1.0, 0.6)[2].tolist() == [regression[3, 3].tolist()]


def test_squares_keep_their_centre():
    square = bx.make_square(np.array([[0., 10., 10., 50.], [5., 5., 9., 5.]]))
    assert square.tolist() == [[-15, 10, 25, 50], [5, 3, 9, 7]]
    assert bx.make_square(np.zeros([0, 4])).shape == (0, 4)


def test_corners_move_by_parts_of_the_size():
    box, shift = np.array([[10., 20., 19., 39.]]), np.array([[0.1, -0.1, 0.2, 0.5]])
    np.testing.assert_allclose(bx.shift_by_size(box, shift), [[11, 18, 21, 49]])
    np.testing.assert_allclose(bx.shift_by_size(box, shift, inclusive=False), [[10.9, 18.1, 20.8, 48.5]])


def test_patches_are_clipped_to_the_image():
    boxes = np.array([[1., 1., 24., 24.], [-4., 90., 19., 113.], [200., 5., 223., 28.]])
    full, inside = bx.patch_windows(boxes, width=150, height=100)
    assert full.tolist() == [[0, 0, 24, 24], [-5, 89, 19, 113], [199, 4, 223, 28]]
    assert inside[:2].tolist() == [[0, 0, 24, 24], [0, 89, 19, 100]]
    assert inside[2, 2] <= inside[2, 0]


def test_pyramid_starts_at_the_smallest_face_and_ends_at_the_window():
    scales = bx.pyramid_scales(218, 178, 20)
    assert scales[0] == pytest.approx(0.6) and scales[1] / scales[0] == pytest.approx(0.709)
    assert 178 * scales[-1] >= 12 > 178 * scales[-1] * 0.709
    assert bx.pyramid_scales(19, 500, 20) == []


@pytest.mark.parametrize('choice, expected', [('center', 1), ('largest', 0), ('only', None)])
def test_choice_among_several_faces(choice, expected):
    boxes = [[0, 0, 60, 60], [80, 80, 120, 120], [90, 90, 110, 110]]
    assert choose(boxes, 200, 200, choice) == expected
    assert choose(boxes[1:2], 200, 200, choice) == 0


def test_margin_is_split_clipped_and_truncated():
    assert crop_rectangle([64.095, 23.691, 103.818, 76.928], 169, 216, 50) == (39, 0, 128, 101)
    assert crop_rectangle([10.9, 10.9, 168.2, 200.7], 169, 216, 1) == (10, 10, 168, 201)
    x0, _, x1, _ = crop_rectangle([300, 10, 320, 30], 169, 216, 0)
    assert x1 <= x0


def test_reference_choices_and_rectangles(golden_dir):
    with open(golden_dir / 'mtcnn.json') as f:
        golden = json.load(f)
    assert len(golden) == 673
    for name, entry in golden.items():
        if not entry['boxes']:
            continue
        chosen = choose(entry['boxes'], *entry['size'])
        assert chosen == entry['chosen'], name
        assert list(crop_rectangle(entry['boxes'][chosen], *entry['size'], margin=50)) == entry['crop'], name


def test_crops_are_averaged_when_made_smaller():
    pixels = np.zeros([512, 512, 3], np.uint8)
    pixels[::2, ::2] = 200  # every other pixel: a filter that only looks at neighbours would show a pattern
    crop = np.asarray(cut(pixels, (0, 0, 512, 512), 64))
    assert crop.shape == (64, 64, 3) and np.abs(crop.astype(int) - 50).max() <= 5
