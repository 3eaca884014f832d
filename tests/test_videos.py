"""Videos loop, go through their key frames, and are the same each time."""

import json

import numpy as np
import pytest
from conftest import new_session
from generator_helpers import save_networks
from PIL import Image

import generate
from dnnlib import UserError
from figures import arguments, generating
from figures.videos import kinds, paths, writer

imageio_ffmpeg = pytest.importorskip('imageio_ffmpeg')


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    with new_session():
        return save_networks(tmp_path_factory.mktemp('networks'))


@pytest.fixture(scope='module')
def generators(networks):
    """The Generators of both networks."""
    with new_session():
        yield {name: arguments.open_generator(generate.parse_args(['--network', path, '--seeds', '1']))
               for name, path in networks.items()}


def read(path):
    """The frames of a video, uint8 [N, H, W, 3], and its facts."""
    frames = imageio_ffmpeg.read_frames(str(path))
    facts = next(frames)
    width, height = facts['size']
    return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]), facts


@pytest.mark.both
@pytest.mark.parametrize('curve', paths.CURVES)
def test_paths_are_closed_and_go_through_their_keys(curve):
    keys = np.random.RandomState(0).randn(4, 8)
    found = paths.closed(keys, 40, curve)
    np.testing.assert_allclose(found[::10], keys, atol=1e-9)
    steps = np.linalg.norm(np.roll(found, -1, axis=0) - found, axis=1)
    assert steps.max() < 4 * np.median(steps)
    if curve == paths.SPHERICAL:
        lengths = np.linalg.norm(keys, axis=1)
        assert np.all(np.linalg.norm(found, axis=1) > lengths.min() - 1e-9)
    with pytest.raises(UserError, match='two key frames'):
        paths.closed(keys[:1], 40, curve)
    with pytest.raises(UserError, match='too few'):
        paths.closed(keys, 3, curve)


@pytest.mark.both
def test_noise_keeps_its_deviation_on_the_way():
    keys = np.random.RandomState(0).randn(3, 4000)
    for position in (0, 0.3, 1.5, 2.9):
        assert abs(kinds._at(keys, position).std() - 1) < 0.05
    np.testing.assert_allclose(kinds._at(keys, 2.999999), keys[0], atol=1e-4)


@pytest.mark.parametrize('kind, options', [
    ('interpolation', {}), ('interpolation', dict(space='w', curve='spline')), ('mixing', {}), ('noise', {}),
    ('truncation', {}), ('edit', dict(move=lambda w, share, layers: w + 2 * np.float32(share)))])
def test_every_kind_loops_and_is_repeatable(generators, kind, options, monkeypatch):
    monkeypatch.setattr(kinds, 'AT_ONCE', 16)   # so that w is asked for more than once
    gen, _ = generators['styles']
    seeds = [1, 2, 3] if kind in ('interpolation', 'mixing') else [1, 2]
    first, again = [[np.stack(frame) for frame in kinds.frames(kind, gen, seeds, 24, psi=0.7, **options)]
                    for _ in range(2)]
    assert len(first) == 24 and {len(frame) for frame in first} == {1 if len(seeds) == 3 else 2}
    np.testing.assert_array_equal(first, again)
    steps = [np.abs(a.astype(int) - b).mean() for a, b in zip(first, first[1:] + first[:1])]
    assert max(steps) > 0 and steps[-1] <= max(steps[:-1]) * 1.5    # from the last to the first as between others


def test_key_frames_are_the_pictures_of_their_seeds(generators):
    gen, _ = generators['styles']
    frames = list(kinds.frames('interpolation', gen, [1, 2, 3], 12, psi=0.7))
    for number, seed in enumerate([1, 2, 3]):
        image, = gen.images(gen.latents(seed), gen.labels(seed), psi=0.7, noise='stored')
        assert np.abs(frames[4 * number][0].astype(int) - image).max() <= 1
    truncated = list(kinds.frames('truncation', gen, [1], 8))
    image, = gen.images(gen.latents(1), gen.labels(1), psi=-1, noise='stored')
    assert np.abs(truncated[4][0].astype(int) - image).max() <= 1


def test_networks_without_styles_interpolate_and_say_what_they_cannot(generators):
    gen, _ = generators['plain']
    assert len(list(kinds.frames('interpolation', gen, [1, 2], 6))) == 6
    for kind in ('mixing', 'noise', 'truncation', 'edit'):
        with pytest.raises(UserError, match='no w'):
            kinds.frames(kind, gen, [1, 2, 3], 6)
    with pytest.raises(UserError, match='--space z'):
        kinds.frames('interpolation', gen, [1, 2], 6, space='w')
    with pytest.raises(UserError, match='linear and spline'):
        kinds.frames('interpolation', generators['styles'][0], [1, 2], 6, space='w', curve='spherical')
    args = generate.parse_args(['--network', 'x', '--seeds', '1', '--psi', '0.5', '--noise', 'none'])
    assert [len(generating.without_effect(found, args)) for found, _ in (generators['styles'], generators['plain'])] \
        == [0, 2]


def test_the_command_writes_a_video_that_plays(generators, networks, tmp_path, monkeypatch):
    monkeypatch.setattr(arguments, 'open_generator', lambda args: generators['styles'])
    generate.main(['--network', networks['styles'], '--seeds', '1,2', '--video', 'interpolation', '--seconds', '2',
                   '--fps', '12', '--outdir', str(tmp_path)])
    frames, facts = read(tmp_path / 'interpolation.mp4')
    assert facts['fps'] == 12 and frames.shape == (24, 256, 256, 3)
    record = json.loads((tmp_path / 'interpolation.json').read_text())
    assert (record['frames'], record['seeds']) == (24, [1, 2])
    gen, _ = generators['styles']
    wanted, = gen.images(gen.latents(1), gen.labels(1), psi=0.7, noise='stored')
    wanted = np.array(Image.fromarray(wanted).resize((256, 256), Image.NEAREST)).astype(int)
    assert np.abs(frames[0] - wanted).mean() < 12       # colours are stored at half the resolution
    with pytest.raises(UserError, match='--video'):
        generate.parse_args(['--network', 'x', '--seeds', '1', '--curve', 'spline'])
    for words, match in ((['--noise', 'random'], 'flicker'), (['--edit', 'a=1', '--directions', 'pca:1'], 'no edit')):
        with pytest.raises(UserError, match=match):
            generate.parse_args(['--network', 'x', '--seeds', '1,2', '--video', 'truncation'] + words)
    with pytest.raises(UserError, match='--directions'):
        generate.parse_args(['--network', 'x', '--seeds', '1', '--edit', 'a=1'])


def test_an_interrupted_video_leaves_nothing(tmp_path):
    def frames():
        yield [np.zeros([20, 20, 3], np.uint8)]
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        writer.write(str(tmp_path / 'a.mp4'), frames(), 10)
    assert list(tmp_path.iterdir()) == []
    odd = writer.picture_of([np.zeros([301, 299, 3], np.uint8)])
    assert odd.shape == (302, 300, 3)
