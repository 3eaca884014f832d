"""Faces are aligned as FFHQ's: the square is the same however the photograph is turned, and so are its pixels."""

import json

import numpy as np
import PIL.Image
import pytest
from prefilter_helpers import DETECTOR, save_photo, settings

from data import commands, ledger
from data.prefilter import alignment
from data.prefilter.alignment import cut, points_of, quad_of
from data.prefilter.landmarks import Landmarks
from data.prefilter.worker import Examiner
from dnnlib.util import UserError

# Eyes, nose, corners of the mouth.
FACE = np.array([[270.0, 250.0], [340.0, 262.0], [300.0, 300.0], [268.0, 335.0], [322.0, 344.0]])


def turned(points, degrees, scale, offset=(20.0, -10.0), centre=(305.0, 300.0)):
    """Points turned and scaled about a centre, then moved."""
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (np.asarray(points) - centre) @ matrix.T + np.asarray(centre) * scale + offset


def back(points, degrees, scale, offset=(20.0, -10.0), centre=(305.0, 300.0)):
    """The inverse of `turned`."""
    angle = np.deg2rad(-degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    return (np.asarray(points) - np.asarray(centre) * scale - offset) @ matrix.T + centre


def photograph(degrees=0.0, scale=1.0, size=1500):
    """A picture [size, size, 3] whose content, waves, is turned and scaled exactly: it is computed, not resampled."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    x, y = back(np.stack([x, y], axis=-1), degrees, scale).transpose(2, 0, 1)
    waves = [np.sin(x / 23.0 + y / 31.0), np.cos(x / 17.0 - y / 41.0), np.sin(x / 37.0) * np.cos(y / 19.0)]
    return np.rint(127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.mark.both
def test_the_square_is_ffhqs():
    points = points_of(FACE)
    quad = quad_of(points)
    sides = [np.hypot(*(quad[(i + 1) % 4] - quad[i])) for i in range(4)]
    eyes = (FACE[0] + FACE[1]) / 2
    down = (FACE[3] + FACE[4]) / 2 - eyes
    half = max(2.0 * np.hypot(*(FACE[1] - FACE[0])), 1.8 * np.hypot(*down))
    np.testing.assert_allclose(sides, 2 * half)
    np.testing.assert_allclose(quad.mean(axis=0), eyes + 0.1 * down)
    # Top left, bottom left, bottom right, top right; upright like the face.
    assert quad[0][0] < quad[3][0] and quad[0][1] < quad[1][1] and np.dot(quad[1] - quad[0], down) > 0
    upright = quad_of(alignment.Points(*np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 70.0]])))
    np.testing.assert_allclose(upright, [[10.0, 12.0], [10.0, 92.0], [90.0, 92.0], [90.0, 12.0]])


@pytest.mark.both
@pytest.mark.parametrize('degrees, scale', [(0, 2.0), (15, 0.5), (35, 1.3), (60, 0.8), (60, 2.0)])
def test_squares_turn_and_grow_with_the_photograph(degrees, scale):
    quad = quad_of(points_of(turned(FACE, degrees, scale)))
    np.testing.assert_allclose(back(quad, degrees, scale), quad_of(points_of(FACE)), atol=0.01)


@pytest.mark.parametrize('degrees, scale', [(0, 2.0), (20, 1.5), (40, 0.7), (60, 0.5), (60, 2.0)])
@pytest.mark.parametrize('size', [64, 256])
def test_crops_of_turned_and_scaled_photographs_agree(degrees, scale, size):
    plain, padded = cut(photograph(), quad_of(points_of(turned(FACE, 0, 1))), size)
    assert plain.size == (size, size) and not padded
    other, padded = cut(photograph(degrees, scale), quad_of(points_of(turned(FACE, degrees, scale))), size)
    assert not padded
    assert np.abs(np.asarray(plain, int) - np.asarray(other, int)).mean() <= 2


def test_photographs_that_end_early_are_continued():
    pixels = photograph(size=400)[180:, 150:]
    picture, padded = cut(pixels, quad_of(points_of(turned(FACE, 0, 1) - [150, 180])), 128)
    whole, _ = cut(photograph(), quad_of(points_of(turned(FACE, 0, 1))), 128)
    assert padded and picture.size == (128, 128)
    inside = np.abs(np.asarray(picture, int) - np.asarray(whole, int))[58:70, 58:70]
    assert inside.mean() <= 3                       # what is there stays
    corner = np.asarray(picture)[:4, :4].astype(int)
    assert np.ptp(corner.reshape(-1, 3), axis=0).max() < 40     # what is made up is soft
    with pytest.raises(ValueError, match='outside'):
        cut(pixels, quad_of(points_of(FACE + 5000)), 64)
    with pytest.raises(ValueError, match='one place'):
        quad_of(points_of(np.ones([5, 2])))


def sixty_eight():
    points = np.full([68, 2], 300.0)
    points[36:42] = FACE[0] + [[-3, 0], [3, 0], [0, -2], [0, 2], [1, 1], [-1, -1]]
    points[42:48] = FACE[1] + [[-3, 0], [3, 0], [0, -2], [0, 2], [1, 1], [-1, -1]]
    points[48], points[54] = FACE[3], FACE[4]
    return points


@pytest.mark.both
def test_landmark_files_of_both_kinds_give_the_same_points(tmp_path):
    wanted = points_of(FACE)
    csv = tmp_path / 'a.csv'
    csv.write_text('path,' + ','.join(f'x{i},y{i}' for i in range(1, 6)) + '\n'
                   + 'sub/a.png,' + ','.join(str(value) for value in FACE.flatten()) + '\n')
    ffhq = tmp_path / 'ffhq.json'
    ffhq.write_text(json.dumps({'0': {'in_the_wild': {'file_path': 'in-the-wild-images/00000/a.png',
                                                      'face_landmarks': sixty_eight().tolist()}}}))
    for path, name in ((csv, 'sub/a.png'), (csv, 'a.png'), (ffhq, 'in-the-wild-images/00000/a.png'), (ffhq, 'x/a.png')):
        found = Landmarks(str(path)).find(name)
        np.testing.assert_allclose(np.stack(found), np.stack(wanted))
    assert Landmarks(str(csv)).find('b.png') is None


@pytest.mark.both
@pytest.mark.parametrize('name, text, words', [
    ('a.csv', 'a.png,1,2,3\n', 'pairs of numbers'), ('a.csv', 'a.png,1,2,3,4\n', '2 points'),
    ('a.csv', '', 'no landmarks'),
    ('a.csv', 'a.png,' + ','.join(['nan'] * 10), 'finite'), ('a.json', '{"0": 1}', 'face_landmarks'),
    ('a.json', '{"0": {"face_landmarks": "x"}}', 'pairs'), ('a.json', '{"0"', 'no JSON')])
def test_bad_landmark_files_get_a_sentence(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        Landmarks(str(tmp_path / name))


def test_the_command_aligns_by_a_file_of_landmarks(tmp_path, capsys):
    pixels = photograph(25, 1.2, 900)
    (tmp_path / 'in').mkdir()
    PIL.Image.fromarray(pixels).save(str(tmp_path / 'in' / 'face.png'))
    save_photo(tmp_path / 'in' / 'other.png')
    points = turned(FACE, 25, 1.2)
    (tmp_path / 'marks.csv').write_text('face.png,' + ','.join(f'{value:.6f}' for value in points.flatten()) + '\n')
    commands.main(['prefilter', str(tmp_path / 'in'), str(tmp_path / 'out'), '--align', 'ffhq', '--landmarks',
                   str(tmp_path / 'marks.csv'), '--size', '96', '--workers', '1'])
    assert 'ledger' in capsys.readouterr().out
    rows = {item.path: item for item in ledger.read(str(tmp_path / 'out' / 'ledger.csv'))}
    assert rows['other.png'].reason == 'no_landmarks' and 'align=ffhq' in rows['face.png'].settings
    quad = np.array(json.loads(rows['face.png'].detail)['quad'])
    np.testing.assert_allclose(quad, quad_of(points_of(points)), atol=0.001)
    crop = np.asarray(PIL.Image.open(str(tmp_path / 'out' / 'face.png')))
    np.testing.assert_array_equal(crop, np.asarray(cut(pixels, quad_of(points_of(np.round(points, 6))), 96)[0]))
    assert ledger.kept_outputs(str(tmp_path / 'out')) == ['face.png']


@pytest.mark.both
@pytest.mark.parametrize('options, words', [
    (['--landmarks', 'x.csv'], '--align'), (['--align', 'ffhq', '--paper'], '--paper'),
    (['--align', 'ffhq', '--margin', '3'], '--margin'),
    (['--align', 'ffhq', '--landmarks', '/nowhere.csv'], 'landmarks')])
def test_options_that_contradict_are_said(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        commands.main(['prefilter', str(tmp_path), str(tmp_path / 'out')] + options)


def test_the_detectors_landmarks_lie_in_their_faces(reference_dir, tmp_path):
    from data.prefilter.detector import Detector
    detector = Detector()
    paths = sorted((reference_dir / 'data' / 'faces' / 'generated-256').glob('*'))[:4]
    found = 0
    for path in paths:
        pixels = np.asarray(PIL.Image.open(str(path)).convert('RGB'))
        boxes, scores, landmarks = detector.detect_landmarks(pixels)
        np.testing.assert_array_equal(boxes, detector.detect(pixels)[0])
        for box, marks in zip(boxes[scores > 0.99], landmarks[scores > 0.99]):
            found += 1
            assert np.all(marks > box[:2]) and np.all(marks < box[2:])
            left_eye, right_eye, nose, left_mouth, right_mouth = marks
            assert left_eye[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    detector.close()
    assert found >= 3


def test_without_landmarks_the_detector_is_asked(tmp_path):
    assert Examiner(settings(tmp_path, tmp_path / 'out')).versions()['detector'] == 'fake'
    assert DETECTOR and 'align' not in str(settings(tmp_path, tmp_path / 'out'))
