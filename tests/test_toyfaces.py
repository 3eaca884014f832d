"""Procedural faces: what they depend on, their labels, their looks in numbers."""

import hashlib

import numpy as np
import pytest

from data.commands import main
from data.converters import canvas, toyfaces
from data.converters.canvas import Canvas, Frame
from data.records.dataset import TFRecordDataset
from dnnlib.util import UserError

CELEBA_ATTRIBUTES = '''5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
    Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup
    High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose
    Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat
    Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young'''.split()


def face(index, seed=0):
    return toyfaces.Face(seed, index, np.random.RandomState(0))


def test_a_face_depends_on_seed_and_number_only():
    together, labels = toyfaces.draw_batch(3, [5, 9, 7], 32)
    alone, label = toyfaces.draw_batch(3, [9], 32)
    np.testing.assert_array_equal(together[1], alone[0])
    np.testing.assert_array_equal(labels[1], label[0])
    assert not np.array_equal(alone, toyfaces.draw_batch(4, [9], 32)[0])


def test_faces_are_the_same_to_the_bit_on_every_machine():
    images, labels = toyfaces.draw_batch(1, range(20), 64)
    assert hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()[:16] == '4cf1bbc40f2a0986'


@pytest.mark.parametrize('resolution', [16, 32, 64, 128, 256])
def test_one_face_looks_alike_at_every_resolution(resolution):
    small = toyfaces.draw_batch(0, range(8), 16)[0].astype(np.float32)
    large = toyfaces.draw_batch(0, range(8), resolution)[0].astype(np.float32)
    shrunk = large.reshape(8, 3, 16, resolution // 16, 16, resolution // 16).mean(axis=(3, 5))
    assert large.shape == (8, 3, resolution, resolution)
    assert np.abs(shrunk - small).mean() < 8


@pytest.mark.both
@pytest.mark.parametrize('resolution', [16, 64, 256])
def test_faces_drawn_together_are_those_drawn_alone(resolution):
    faces = [face(i, seed=8) for i in range(6)]
    for picture, alone in zip(toyfaces.draw(faces, resolution), faces):
        np.testing.assert_array_equal(picture, alone.draw(resolution))


def test_it_does_not_matter_whether_pairs_are_drawn_in_a_window_each(monkeypatch):
    faces = [face(i, seed=9) for i in range(12)]
    apart = toyfaces.draw(faces, 256)
    monkeypatch.setattr(canvas, '_WORTH_SPLITTING', 10 ** 9)
    np.testing.assert_array_equal(toyfaces.draw(faces, 256), apart)
    assert hashlib.sha256(apart.tobytes()).hexdigest()[:16] == 'a1d3baf3f55920ba'


def test_windows_of_a_pair_that_meet_are_one():
    pair = Frame((0.0, 0.0), 1.0).twice((0.0, 0.0), 0.4)
    spans = [Canvas(256).region(pair, (width, 0.5))[0] for width in (0.2, 0.5)]
    assert [len(parts) for parts in spans] == [2, 1]


def test_labels_carry_celebas_names():
    assert len(toyfaces.NAMES) >= 12 and set(toyfaces.NAMES) <= set(CELEBA_ATTRIBUTES)


def test_attributes_are_frequent_enough_and_nearly_independent():
    labels = np.stack([face(i).label for i in range(3000)])
    assert set(np.unique(labels)) == {0, 1}
    rates = labels.mean(axis=0)
    assert (rates > 0.08).all() and (rates < 0.65).all()
    correlations = np.corrcoef(labels.T) - np.eye(len(rates))
    hair = [toyfaces.NAMES.index(name) for name in ('Bald', 'Bangs', 'Black_Hair', 'Blond_Hair', 'Brown_Hair',
                                                    'Gray_Hair')]
    free = [i for i in range(len(rates)) if i not in hair]
    assert np.abs(correlations[np.ix_(free, range(len(rates)))]).max() < 0.07
    assert np.abs(correlations).max() < 0.4  # one hair colour excludes the others, and a bald head all of them


@pytest.mark.parametrize('name', [name for name in toyfaces.NAMES])
def test_every_attribute_shows_at_low_resolution(name):
    # The same face with and without the attribute: the pixels that change must change clearly.
    changes = []
    for index in range(16):
        with_it, without = face(index), face(index)
        if name in ('Bald', 'Black_Hair', 'Blond_Hair', 'Brown_Hair', 'Gray_Hair', 'Pale_Skin'):
            continue  # those are seen by their colour, below
        if name == 'Bangs' and with_it.has['Bald']:
            continue
        with_it.has[name], without.has[name] = True, False
        if name == 'Smiling':
            with_it.smile, without.smile = 0.11, -0.01
        change = np.abs(with_it.draw(32).astype(int) - without.draw(32)).max(axis=0)
        changes.append(np.sort(change.ravel())[-4:].mean())  # the four pixels that change most
    assert not changes or np.median(changes) > 25, np.median(changes)


def test_colours_and_hair_show_in_the_pixels():
    faces = [face(i) for i in range(200)]
    pictures = toyfaces.draw(faces, 16)
    top = pictures[:, :, 2:5, 5:11].mean(axis=(2, 3))
    bare = np.array([not f.has['Wearing_Hat'] for f in faces])

    def mean(name):
        return top[bare & np.array([f.has[name] for f in faces])].mean(axis=0)

    assert mean('Black_Hair').max() < 120 < mean('Blond_Hair')[0]
    assert mean('Blond_Hair')[0] - mean('Blond_Hair')[2] > 40 > abs(np.ptp(mean('Gray_Hair')))
    assert mean('Brown_Hair')[0] - mean('Brown_Hair')[2] > 15
    skin = pictures[:, :, 9:11, 6:10].mean(axis=(1, 2, 3))
    pale = np.array([f.has['Pale_Skin'] for f in faces])
    assert skin[pale].mean() > skin[~pale].mean() + 40


def test_edges_are_antialiased():
    canvas = Canvas(32)
    canvas.fill((0, 0, 0), (0, 0, 0), (0, 0))
    canvas.ellipse(Frame((0.0, 0.0), 1.0), (0.5, 0.5), (255, 255, 255))
    image = canvas.images()[0, 0] / 255.0
    assert image[16, 16] == 1 and image[0, 0] == 0 and ((image > 0.1) & (image < 0.9)).sum() > 20
    assert abs(image.sum() - np.pi * 8 * 8) < 2  # the area of the circle


def test_shapes_outside_the_canvas_paint_nothing():
    canvas = Canvas(16)
    canvas.fill((9, 9, 9), (9, 9, 9), (0, 0))
    far = Frame((5.0, -4.0), 1.0, 0.1)
    canvas.ellipse(far, (0.5, 0.5), (255, 0, 0))
    canvas.ring(far, (0.5, 0.5), 0.1, (255, 0, 0))
    canvas.box(far, (0.5, 0.5), 0.1, (255, 0, 0))
    canvas.arc(far, 0.5, 0.1, 0.1, (255, 0, 0))
    assert (canvas.images() == 9).all()


def test_the_command_writes_images_and_labels_however_many_workers(tmp_path, capsys):
    for workers in (1, 2):
        main(['create_toyfaces', str(tmp_path / str(workers)), '--resolution', '16', '--num', '1700', '--seed', '7',
              '--workers', str(workers)])
    one, two = (TFRecordDataset(str(tmp_path / str(workers)), max_label_size='full') for workers in (1, 2))
    assert one.fingerprint == two.fingerprint and len(one) == 1700 and one.shape == [3, 16, 16]
    assert one.label_names == toyfaces.NAMES
    images, labels = one.get_samples_np([1699, 3])
    expected = toyfaces.draw_batch(7, [1699, 3], 16)
    np.testing.assert_array_equal(images, expected[0])
    np.testing.assert_array_equal(labels, expected[1])


def test_a_resolution_that_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(UserError, match='--resolution is 512'):
        main(['create_toyfaces', str(tmp_path / 'a'), '--resolution', '512'])
    assert not list(tmp_path.iterdir())
