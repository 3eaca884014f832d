"""Projection finds what a generator drew, goes on where it stopped, and its latents make the same pictures again."""

import json
import os

import numpy as np
import pytest
from conftest import new_session
from generator_helpers import open_once, save_networks
from PIL import Image

import generate
import generate_figures
import pretrained_example
import project
from dnnlib import UserError, tflib
from dnnlib.array_files import read_npz
from dnnlib.tflib import tf
from figures import arguments, exporting, latent_files
from figures.projection import graph, optimising, photographs, results, schedule
from metrics.networks import distances


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Paths of a network with styles and of one without."""
    with new_session():
        return save_networks(tmp_path_factory.mktemp('networks'))


@pytest.fixture(scope='module')
def opened():
    with new_session():
        yield {}


@pytest.fixture(autouse=True)
def opened_once(opened, monkeypatch):
    """Command lines open a network only the first time."""
    open_once(opened, monkeypatch)


@pytest.fixture(scope='module')
def targets(networks, tmp_path_factory):
    """Two pictures that the generator drew with its own noise."""
    folder = tmp_path_factory.mktemp('targets')
    with new_session():
        generate.main(['--network', networks['styles'], '--seeds', '1,2', '--psi', '1', '--outdir', str(folder)])
    return [str(folder / name) for name in ('seed0001.png', 'seed0002.png')]


def picture(path):
    return np.array(Image.open(str(path)))


# ---- Numbers

@pytest.mark.both
def test_the_schedule_is_the_published_one():
    settings = schedule.settings_of('w')
    assert settings[:2] == ('w', 1000) and settings.noise_maps
    rates = [schedule.rate_at(settings, step) for step in (0, 25, 50, 500, 750, 875, 1000)]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.1, 0.1, 0.05, 0], atol=1e-12)
    noises = [schedule.latent_noise_at(settings, step, 2.0) for step in (0, 375, 750, 900)]
    np.testing.assert_allclose(noises, [0.1, 0.025, 0, 0])
    plus = schedule.settings_of('w+')
    assert plus.steps == 5000 and not plus.noise_maps
    assert {schedule.rate_at(plus, step) for step in (0, 2500, 4999)} == {0.01}
    drawn = schedule.draw_latent_noise(settings, 7, [2, 1, 4])
    np.testing.assert_array_equal(drawn, schedule.draw_latent_noise(settings, 7, [2, 1, 4]))
    assert (drawn != schedule.draw_latent_noise(settings, 8, [2, 1, 4])).any()


@pytest.mark.both
def test_autocorrelation_and_normalisation_are_those_of_numpy(fresh_graph):
    noise = np.random.RandomState(0).randn(2, 1, 32, 32).astype(np.float32)
    noise[1] = np.sin(np.arange(32) / 5)[np.newaxis, :, np.newaxis]
    expected = np.zeros(2)
    scale = noise
    while True:
        for axis in (2, 3):
            expected += np.mean(scale * np.roll(scale, 1, axis), axis=(1, 2, 3)) ** 2
        if scale.shape[-1] <= 8:
            break
        scale = scale.reshape(2, 1, scale.shape[2] // 2, 2, -1, 2).mean(axis=(3, 5))
    found, normal = tflib.run([graph.autocorrelation(tf.constant(noise)), graph.normalized(tf.constant(noise * 3 + 1))])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert expected[1] > 10 * expected[0]
    np.testing.assert_allclose(normal.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=(1, 2, 3)), 1, atol=1e-4)


# ---- The command

def test_a_projection_finds_its_own_pictures_which_the_file_makes_again(networks, targets, tmp_path, capsys):
    out = tmp_path / 'found'
    options = ['--network', networks['styles'], '--distance', 'pyramid', '--outdir', str(out)]
    project.main(targets + options + ['--steps', '150', '--noise-maps', 'stored'])
    assert 'Distance: squared differences of pixels' in capsys.readouterr().out
    record = json.loads((out / 'projected.json').read_text())
    # So few steps of this size end somewhere near: for six pictures and on both engines at 0.04 to 0.35 of the start.
    for photo in record['photos']:
        assert photo['distance'] < 0.6 * photo['distance_at_mean']
    arrays = read_npz(str(out / 'projected.npz'), allow_text=True)
    assert arrays['w'].shape == (2, 6, 8) and 'noise0' not in arrays
    assert str(arrays['network_sha256']) == record['sha256']
    assert (arrays['w'] == arrays['w'][:, :1]).all()
    assert sorted(os.listdir(str(out))) == ['index.html', 'projected.json', 'projected.npz', 'projection0000.png',
                                            'projection0001.png', 'sheet.png', 'snapshots']
    generate.main(['--network', networks['styles'], '--latents', str(out / 'projected.npz'), '--outdir',
                   str(tmp_path / 'again')])
    for index in range(2):
        again = picture(tmp_path / 'again' / f'latents{index:04d}.png').astype(int)
        assert np.abs(again - picture(out / f'projection{index:04d}.png')).max() <= 1


def test_noise_maps_are_found_and_w_plus_has_a_w_per_layer(networks, targets, tmp_path):
    out = tmp_path / 'plus'
    project.main(targets[:1] + ['--network', networks['styles'], '--space', 'w+', '--steps', '12', '--noise-maps',
                                'found', '--distance', 'pyramid', '--outdir', str(out)])
    arrays = read_npz(str(out / 'projected.npz'), allow_text=True)
    assert (arrays['w'][0, 0] != arrays['w'][0, 1]).any()
    shapes = [arrays[f'noise{index}'].shape for index in range(6)]
    assert shapes == [(1, 1, size, size) for size in (4, 4, 8, 8, 16, 16)]
    np.testing.assert_allclose(arrays['noise5'].std(), 1, atol=1e-3)
    generate.main(['--network', networks['styles'], '--latents', str(out / 'projected.npz'), '--outdir',
                   str(tmp_path / 'again')])
    again = picture(tmp_path / 'again' / 'latents0000.png').astype(int)
    assert np.abs(again - picture(out / 'projection0000.png')).max() <= 1


def test_an_interrupted_projection_goes_on_bit_for_bit(networks, targets, tmp_path, monkeypatch):
    monkeypatch.setattr(optimising, 'STEPS_BETWEEN_STATES', 5)
    options = ['--network', networks['styles'], '--distance', 'pyramid', '--steps', '20', '--minibatch', '1']
    project.main(targets + options + ['--outdir', str(tmp_path / 'whole')])
    real, calls = results.Snapshots.__call__, []

    def stop(self, begin, step, images):
        real(self, begin, step, images)
        calls.append((begin, step))
        if (begin, step) == (1, 10):
            raise KeyboardInterrupt

    monkeypatch.setattr(results.Snapshots, '__call__', stop)
    with pytest.raises(KeyboardInterrupt):
        project.main(targets + options + ['--outdir', str(tmp_path / 'parts')])
    assert not (tmp_path / 'parts' / 'projected.npz').exists()
    with pytest.raises(UserError, match='other photographs or settings'):
        project.main(targets[:1] + options + ['--outdir', str(tmp_path / 'parts')])
    monkeypatch.setattr(results.Snapshots, '__call__', real)
    project.main(targets + options + ['--outdir', str(tmp_path / 'parts')])
    whole, parts = (read_npz(str(tmp_path / name / 'projected.npz'), allow_text=True) for name in ('whole', 'parts'))
    assert list(whole) == list(parts)
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name], name)
    assert not (tmp_path / 'parts' / 'unfinished').exists()
    with pytest.raises(UserError, match='holds results of .* other settings or photographs'):
        project.main(targets[:1] + options + ['--outdir', str(tmp_path / 'parts')])
    np.testing.assert_array_equal(read_npz(str(tmp_path / 'parts' / 'projected.npz'), allow_text=True)['w'], parts['w'])


def test_images_that_were_made_otherwise_keep_their_folder(networks, tmp_path, monkeypatch):
    monkeypatch.setattr('config.result_dir', str(tmp_path))

    def draw(*words):
        generate.main(['--network', networks['styles'], '--seeds', '1'] + list(words))

    draw()
    first = (tmp_path / 'images' / 'seed0001.png').read_bytes()
    draw('--seeds', '1,2')
    draw('--psi', '0.2')
    draw('--psi', '0.2', '--seeds', '3')
    draw('--noise', 'none')
    assert (tmp_path / 'images' / 'seed0001.png').read_bytes() == first
    found = {path.name: sorted(picture.name for picture in path.glob('seed*.png')) for path in tmp_path.iterdir()}
    assert found == {'images': ['seed0001.png', 'seed0002.png'], 'images-2': ['seed0001.png', 'seed0003.png'],
                     'images-3': ['seed0001.png']}
    named = tmp_path / 'images'
    with pytest.raises(UserError, match='another --outdir'):
        draw('--psi', '0.3', '--outdir', str(named))
    assert (named / 'seed0001.png').read_bytes() == first
    draw('--psi', '0.3', '--seeds', '1-3', '--outdir', str(named))      # Nothing of before stays.
    assert (named / 'seed0001.png').read_bytes() != first
    with pytest.raises(UserError, match='another --outdir'):
        draw('--seeds', '1-2', '--outdir', str(named))


def test_networks_without_w_and_bad_photographs_get_a_sentence(networks, tmp_path):
    (tmp_path / 'no.png').write_bytes(b'no picture')
    Image.new('RGB', (20, 10)).save(str(tmp_path / 'a.png'))
    with pytest.raises(UserError, match='no w'):
        project.main([str(tmp_path / 'a.png'), '--network', networks['plain'], '--outdir', str(tmp_path / 'o')])
    with pytest.raises(UserError, match='not an image'):
        project.main([str(tmp_path / 'no.png'), '--network', networks['styles'], '--outdir', str(tmp_path / 'o')])
    with pytest.raises(UserError, match='there is no file'):
        project.main([str(tmp_path / 'absent.png'), '--network', networks['styles']])
    with pytest.raises(UserError, match='is a folder'):
        project.main([str(tmp_path), '--network', networks['styles']])


@pytest.mark.both
def test_photographs_are_fitted_to_the_network():
    pixels = np.zeros([40, 100, 3], np.uint8)
    pixels[:, 30:70] = 200
    fitted = photographs.fit(Image.fromarray(pixels), 16, 3)
    assert fitted.shape == (16, 16, 3) and (fitted == 200).all()
    assert photographs.fit(Image.fromarray(pixels), 64, 1).shape == (64, 64, 1)


# ---- Files of latents

@pytest.mark.parametrize('change, words', [
    (dict(w=np.zeros([2, 5, 8])), 'w'), (dict(w=np.full([1, 6, 8], np.nan)), 'finite'),
    (dict(z=np.zeros([3, 8])), 'rows'),
    (dict(w=None), 'no latents'), (dict(noise_seeds=np.zeros([2, 2], int)), 'noise_seeds'),
    (dict(noise0=np.zeros([2, 1, 4, 4])), 'has 1 arrays of noise .noise0., but the network takes 6'),
    (dict(noise_seeds=np.array([2 ** 32, 1])), 'noise_seeds'),
    (dict(noise_seeds=np.array([0.5, 1])), 'whole numbers'), (dict(noise_seeds=np.array([-1, 1])), 'whole numbers'),
    (dict({f'noise{i}': np.zeros([3, 1, 4 << i // 2, 4 << i // 2]) for i in range(6)}), 'rows')])
def test_files_of_latents_that_do_not_fit_are_refused(networks, tmp_path, change, words):
    gen, _ = arguments.open_generator(generate.parse_args(['--network', networks['styles'], '--seeds', '1']))
    arrays = dict(dict(w=np.zeros([2, 6, 8], np.float32)), **change)
    path = str(tmp_path / 'latents.npz')
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(UserError, match=words):
        latent_files.read(path, gen)


def test_every_seed_of_noise_is_read_again(networks, tmp_path):
    gen, _ = arguments.open_generator(generate.parse_args(['--network', networks['styles'], '--seeds', '1']))
    path = str(tmp_path / 'latents.npz')
    latent_files.Latents(np.zeros([2, 6, 8], np.float32), noise_seeds=np.array([0, 2 ** 32 - 1])).save(path)
    assert latent_files.read(path, gen).noise_seeds.tolist() == [0, 2 ** 32 - 1]


def test_z_alone_is_mapped_and_another_network_is_told(networks, tmp_path, capsys):
    gen, facts = arguments.open_generator(generate.parse_args(['--network', networks['styles'], '--seeds', '1']))
    path = str(tmp_path / 'latents.npz')
    latent_files.Latents(z=gen.latents(3, 2), network_sha256='f' * 64).save(path)
    found = latent_files.read(path, gen, facts.sha256)
    np.testing.assert_allclose(found.w, gen.dlatents(gen.latents(3, 2)), rtol=1e-5)
    assert 'another network' in capsys.readouterr().out


def test_faces_are_aligned_first_if_asked(reference_dir, networks, tmp_path):
    gen, _ = arguments.open_generator(generate.parse_args(['--network', networks['styles'], '--seeds', '1']))
    path = str(sorted((reference_dir / 'data' / 'faces' / 'generated-256').glob('*'))[0])
    aligned, plain = photographs.read([path], gen, 'ffhq'), photographs.read([path], gen)
    assert aligned.shape == plain.shape == (1, 16, 16, 3) and (aligned != plain).any()
    Image.new('RGB', (80, 80), 'grey').save(str(tmp_path / 'grey.png'))
    with pytest.raises(UserError, match='no face'):
        photographs.read([str(tmp_path / 'grey.png')], gen, 'ffhq')


def test_what_is_said_of_a_distance_is_true(tmp_path):
    """Who asked for one is not told of reasons that nobody looked into."""
    for asked in ('released', 'standin', 'pyramid'):
        source, why = distances.choose(asked, str(tmp_path / 'network.pkl'))
        assert source == asked and why.endswith(', as asked') and 'since' not in why
    source, why = distances.choose('auto', str(tmp_path / 'network.pkl'), str(tmp_path))
    assert source == 'pyramid' and 'not on this machine' in why and 'did not learn from drawn faces' in why


@pytest.mark.parametrize('text', ['-1', '2.5', 'x', '99999'])
def test_a_number_of_layers_is_a_number_of_layers(text, capsys):
    for main, words in ((generate.main, ['--network', 'x', '--seeds', '1']), (exporting.main, ['x', 'y'])):
        with pytest.raises(SystemExit):
            main(words + ['--cutoff', text])
        assert f"'{text}' is not a number of layers" in capsys.readouterr().err


def test_a_wrong_name_of_a_network_leaves_no_folder(tmp_path):
    out = tmp_path / 'out'
    photo = tmp_path / 'photo.png'
    Image.new('RGB', (16, 16)).save(str(photo))
    for main, words in ((generate.main, ['--seeds', '1', '--outdir', str(out)]), (generate_figures.main, [
            '--outdir', str(out)]), (project.main, [str(photo), '--outdir', str(out)]), (
                pretrained_example.main, ['--out', str(out / 'a.png')])):
        with pytest.raises(UserError, match='missing'):
            main(words + ['--network', str(tmp_path / 'missing')])
        assert not out.exists()


def test_a_failure_at_the_first_input_leaves_no_folder(networks, tmp_path):
    bad, network = str(tmp_path / 'bad.png'), networks['styles']
    with open(bad, 'w') as file:
        file.write('no picture')
    before = sorted(path.name for path in tmp_path.iterdir())
    out = str(tmp_path / 'deep' / 'out')
    for main, words, message in (
            (project.main, [bad], 'not an image'), (generate.main, ['--latents', bad], 'bad.png'),
            (generate.main, ['--seeds', '1', '--directions', bad, '--edit', 'a=1'], 'bad.png'),
            (generate.main, ['--seeds', '1,2', '--video', 'mixing'], 'three seeds'),
            (generate_figures.main, ['--figures', 'nearest', '--dataset', bad], 'bad.png')):
        with pytest.raises(UserError, match=message):
            main(words + ['--network', network, '--outdir', out])
        assert sorted(path.name for path in tmp_path.iterdir()) == before
