"""Figures show what their captions say, on networks of every family, without building graphs again and again."""

import json
import os

import numpy as np
import pytest
from conftest import new_session
from generator_helpers import PROGAN, STYLEGAN, TINY, strengthen
from PIL import Image

import config as folders
import generate
import generate_figures
import pretrained_example
from data.records.dataset import load_dataset
from dnnlib import UserError, tflib
from dnnlib.submission import write_submit_config
from dnnlib.tflib import registry, tf
from experiment import facts as known
from experiment import run_config
from figures import arguments, composing, drawing, layouts, nearest, sheet
from figures.generator import Generator, latents_of
from metrics import context
from training import misc


@pytest.fixture(scope='module')
def session():
    with new_session() as session:
        yield session


@pytest.fixture(scope='module')
def network(session):
    network = tflib.Network('Gs', STYLEGAN, **TINY)
    strengthen(network)
    return network


@pytest.fixture(scope='module')
def gen(network):
    return Generator(network, minibatch=3, progress=False)


@pytest.fixture(scope='module')
def pickles(session, network, tmp_path_factory):
    """Paths of snapshots of three families; G, D and Gs are the same network, which nobody looks at."""
    folder = tmp_path_factory.mktemp('pickles')
    labelled = tflib.Network('Gs', STYLEGAN, label_size=3, **dict(TINY, num_channels=1))
    plain = tflib.Network('Gs', PROGAN, num_channels=3, resolution=16, fmap_base=64, fmap_max=8)
    paths = {}
    for name, net in [('styles', network), ('labelled', labelled), ('plain', plain)]:
        paths[name] = str(folder / f'{name}.pkl')
        misc.save_pkl((net, net, net), paths[name])
    return paths


@pytest.fixture(scope='module')
def opened(session):
    """Generators that command lines have opened, by path."""
    return {}


@pytest.fixture
def opened_once(pickles, opened, monkeypatch):
    """Command lines share the graphs of a network that another test opened; returns `pickles`."""
    real = arguments.open_generator

    def open_generator(args):
        if args.network not in pickles.values():
            return real(args)
        if args.network not in opened:
            opened[args.network] = real(args)
        opened[args.network][0].minibatch = args.minibatch
        return opened[args.network]

    monkeypatch.setattr(arguments, 'open_generator', open_generator)
    return pickles


def test_latents_of_a_seed_are_the_papers():
    np.testing.assert_array_equal(latents_of(5, 2, 512), np.random.RandomState(5).randn(2, 512))


@pytest.mark.both
@pytest.mark.parametrize('psi, cutoff', [(0.7, 4), (1, 8), (-0.5, None)])
def test_images_are_those_of_the_network(gen, network, psi, cutoff):
    z = gen.latents(3, 5)
    expected = network.run(z, None, truncation_psi=psi, truncation_cutoff=cutoff, randomize_noise=False,
                           output_transform=dict(func=tflib.convert_images_to_uint8, nchw_to_nhwc=True))
    images = gen.images(z, psi=psi, cutoff=cutoff, noise='stored')
    assert images.dtype == np.uint8 and images.shape == (5, 16, 16, 3)
    assert np.abs(images.astype(int) - expected.astype(int)).max() <= 1


def test_fading_networks_are_drawn_as_they_are(session, network):
    fading = network.clone('Fading')
    fading.set_var('lod', 0.5)
    gen = Generator(fading, progress=False)
    z = gen.latents(0, 2)
    expected = fading.run(z, None, truncation_psi=1, randomize_noise=False,
                          output_transform=dict(func=tflib.convert_images_to_uint8, nchw_to_nhwc=True))
    assert np.abs(gen.images(z, psi=1, noise='stored').astype(int) - expected.astype(int)).max() <= 1


def test_noise_is_stored_random_or_none(gen):
    w = gen.dlatents(gen.latents(0, 4))
    stored, none = gen.synthesize(w, 'stored'), gen.synthesize(w, 'none')
    random, again, other = (gen.synthesize(w, 'random', seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(random, again)
    np.testing.assert_array_equal(stored, gen.synthesize(w, 'stored'))
    for a, b in [(stored, none), (stored, random), (random, other), (none, random)]:
        assert (a != b).any()


def test_noise_of_some_layers_is_what_is_drawn_with(gen):
    maps = gen.noise_maps([2, 3])
    assert [bool(value.any()) for value in maps] == [index in (2, 3) for index in range(6)]
    w, before = gen.dlatents(gen.latents(0, 2)), tflib.get_vars(gen.noise_vars)
    some, stored = gen.synthesize(w, maps), gen.synthesize(w, 'stored')
    assert (some != stored).any() and (some != gen.synthesize(w, 'none')).any()
    np.testing.assert_array_equal(gen.synthesize(w, gen.noise_maps()), stored)
    for a, b in zip(before, tflib.get_vars(gen.noise_vars)):
        np.testing.assert_array_equal(a, b)


def test_figures_never_build_the_graph_again(gen):
    def draw_all():
        drawing.style_mixing(gen)
        drawing.truncation(gen)
        drawing.noise_components(gen)
        drawing.noise_detail(gen, draws=5)
        drawing.uncurated(gen, layouts.UNCURATED['cat'])
    draw_all()
    size = len(tflib.tf.get_default_graph().get_operations())
    draw_all()
    gen.images(gen.latents(1, 2), psi=0.123, cutoff=3)
    assert len(tflib.tf.get_default_graph().get_operations()) == size


ZOOM = 8    # how much larger images of 16 pixels are in a figure


def cell(picture, row, column, size=16):
    """An image of a figure, [size, size, 3], which has all of its pixels ZOOM times."""
    step = size * ZOOM
    large = np.array(picture)[row * step:(row + 1) * step, column * step:(column + 1) * step]
    return large[ZOOM // 2::ZOOM, ZOOM // 2::ZOOM]


def test_style_mixing_takes_the_sources_styles(gen):
    figure = drawing.style_mixing(gen)
    assert figure.picture.size == (6 * 128, 7 * 128)
    w = gen.dlatents(np.concatenate([gen.latents(seed) for seed in (687, 1614, 845)]))
    mixed = w.copy()
    mixed[1, 2:4], mixed[2, 4:] = w[0, 2:4], w[0, 4:]  # middle and fine layers of a network of 16 pixels
    images = gen.synthesize(np.concatenate([w, mixed]))
    for row, column, index in [(0, 3, 0), (5, 0, 1), (6, 0, 2), (5, 3, 4), (6, 3, 5)]:
        assert np.abs(cell(figure.picture, row, column).astype(int) - images[index]).max() <= 1
    assert np.all(cell(figure.picture, 0, 0) == 255)


def test_style_mixing_and_interpolation_take_own_seeds(gen):
    layout = layouts.mixing([1, 2], [7, 8, 9], ['fine', 'coarse', 'fine'])
    figure = drawing.style_mixing(gen, layout)
    assert figure.picture.size == (3 * 128, 4 * 128)
    w = gen.dlatents(np.concatenate([gen.latents(2), gen.latents(8)]))
    w[1, :2] = w[0, :2]
    assert np.abs(cell(figure.picture, 2, 2).astype(int) - gen.synthesize(w[1:])[0]).max() <= 1
    assert [text for text, _ in figure.row_groups] == ['', 'fine styles', 'coarse styles', 'fine styles']
    assert [text for text, _ in figure.row_labels + figure.column_labels] == [
        '', 'seed 7', 'seed 8', 'seed 9', '', 'seed 1', 'seed 2']
    assert layouts.mixing() == layouts.MIXING
    assert layouts.mixing(None, range(3)).copied == ('coarse', 'coarse', 'middle')
    assert layouts.mixing(None, [5, 6], ['middle']).copied == ('middle', 'middle')
    figure = drawing.interpolation(gen, frames=8, psi=1, path=[3, 4])
    start = gen.images(gen.latents(3), psi=1, noise='stored')[0]
    assert np.abs(cell(figure.frames[0], 0, 0).astype(int) - start).max() <= 1
    assert 'seeds 3, 4' in figure.caption and figure.facts['path'] == [3, 4]


def test_truncation_goes_through_the_mean(gen):
    picture = drawing.truncation(gen).picture
    assert picture.size == (6 * 128, 2 * 128)
    mean = gen.synthesize(np.tile(gen.dlatent_avg, [1, gen.num_layers, 1]))[0]
    for row in range(2):
        assert np.abs(cell(picture, row, 3).astype(int) - mean).max() <= 1
    assert (cell(picture, 0, 0) != cell(picture, 1, 0)).any()


def test_noise_components_are_halves(gen):
    picture = drawing.noise_components(gen).picture
    w = gen.dlatents(gen.latents(1967))
    everything, nothing = gen.synthesize(w)[0], gen.synthesize(w, 'none')[0]
    np.testing.assert_array_equal(cell(picture, 0, 0)[:, :8], everything[:, :8])
    assert (np.array(picture)[:, 63:65] == 255).all()  # a line between the halves
    np.testing.assert_array_equal(cell(picture, 0, 0)[:, 8:], nothing[:, 8:])
    mirrored = gen.synthesize(gen.dlatents(gen.latents(1555)))[0][:, ::-1]
    np.testing.assert_array_equal(cell(picture, 0, 1)[:, :8], mirrored[:, :8])


def test_noise_detail_shows_the_deviation(gen):
    figure = drawing.noise_detail(gen, seeds=[1157], draws=6)
    images = gen.synthesize(np.repeat(gen.dlatents(gen.latents(1157)), 6, axis=0), 'random', 1157)
    deviation = images.mean(axis=3).std(axis=0)
    factor = figure.facts['brightened']
    assert factor == pytest.approx(max(255 / np.percentile(deviation, 99.5), 4), rel=0.05)
    expected = np.clip(np.rint(deviation * factor), 0, 255)
    assert expected.max() > 200     # what varies most can be seen
    np.testing.assert_array_equal(cell(figure.picture, 0, 2)[:, :, 0], expected)
    np.testing.assert_array_equal(cell(figure.picture, 0, 0), images[0])
    left, top, right, bottom = figure.facts['crops'][0]
    np.testing.assert_array_equal(np.array(figure.picture)[8:64:16, 128 + 8:128 + 64:16],
                                  images[1][top:bottom, left:right])


def test_noise_detail_looks_where_the_noise_changes_most():
    deviation = np.zeros([8, 8])
    deviation[5:7, 2:4] = 1
    assert drawing.most_varied(deviation, 2) == [2, 5, 4, 7]
    assert drawing.most_varied(np.ones([8, 8]), 8) == [0, 0, 8, 8]


def test_uncurated_columns_hold_consecutive_latents(gen):
    layout = layouts.Uncurated(rows=2, levels=(0, 1), seed=9, crop=(0.25, 0.75), is_published=True)
    picture = drawing.uncurated(gen, layout, psi=1).picture
    assert picture.size == ((16 + 8) * ZOOM, 16 * ZOOM)
    pixels = np.array(picture)[::ZOOM, ::ZOOM]
    images = gen.images(gen.latents(9, 6), psi=1, noise_seed=9)
    np.testing.assert_array_equal(pixels[8:16, :16], images[1][4:12])
    small = np.array(Image.fromarray(images[5][4:12]).resize((8, 4), Image.LANCZOS))
    np.testing.assert_array_equal(pixels[12:, 16:], small)


def test_layouts_follow_the_network():
    assert layouts.uncurated_layout(None, 1, 1024) == layouts.UNCURATED['faces-1024']
    assert layouts.uncurated_layout('car', 0.75, 512).crop == (64 / 512, 448 / 512)
    assert layouts.uncurated_layout('bedroom', 1, 256).seed == 0
    assert layouts.uncurated_layout(None, 1, 256) == layouts.UNCURATED['faces-256']
    assert max(layouts.uncurated_layout(None, 1, 32).levels) == 0
    assert not layouts.uncurated_layout('horse', 1, 256).is_published
    ranges = layouts.style_ranges(18)
    assert [ranges[key] for key in ('coarse', 'middle', 'fine')] == [range(0, 4), range(4, 8), range(8, 18)]
    assert layouts.pixels_of(ranges['fine']) == '64² – 1024²'
    assert layouts.style_ranges(14)['fine'] == range(8, 14)


@pytest.mark.parametrize('file, config, manifest, expected', [
    ('karras2019stylegan-cars-512x384.pkl', None, None, ('car', 0.75)),
    ('karras2019stylegan-bedrooms-256x256.pkl', None, None, ('bedroom', 1)),
    ('karras2019stylegan-ffhq-1024x1024.pkl', None, None, (None, 1)), ('bedrooms-of-mine.pkl', None, None, (None, 1)),
    ('network-final.pkl', 'lsun-car', None, ('car', 0.75)), ('network-final.pkl', 'lsun-car-progan', None, ('car', 1)),
    ('network-final.pkl', 'lsun-horse', None, ('horse', 1)), ('network-final.pkl', 'ffhq-f', None, (None, 1)),
    ('network-final.pkl', 'ffhq-f', dict(command='create_lsun', arguments=dict(
        lmdb_dir='/x/conference_room_train_lmdb')), ('conference_room', 1)),
    ('network-final.pkl', 'ffhq-f', dict(command='create_lsun_wide', arguments=dict(
        lmdb_dir='car_lmdb', width=64, height=48)), ('car', 0.75)),
    ('network-final.pkl', 'lsun-cat', dict(command='create_from_images', arguments={}), (None, 1)),
    ('network-final.pkl', 'accel-256', None, (None, 1)),
    ('network-final.pkl', 'accel-lsun-bedroom', None, ('bedroom', 1)),
    ('network-final.pkl', 'accel-lsun-cat', dict(command='encode', arguments={}, source=dict(
        name='lsun-church-256', fingerprint='x')), ('church_outdoor', 1))])
def test_what_a_network_was_trained_on_is_asked_of_its_data_set(tmp_path, file, config, manifest, expected):
    run = tmp_path / '00000-bedroom-cats'       # a name that says nothing
    run.mkdir()
    if config is not None:
        settings, _ = run_config.load(config, folders.config_dir)
        write_submit_config(str(run), dict(config=settings, data_dir=str(tmp_path / 'data')))
        if manifest is not None:
            data = tmp_path / 'data' / settings.dataset.tfrecord_dir
            data.mkdir(parents=True)
            (data / 'manifest.json').write_text(json.dumps(manifest))
    assert known.trained_on(str(run / file)) == expected


def test_the_data_set_is_shown_by_a_random_sample(gen, tmp_path):
    from data.converters.create_toyfaces import create_toyfaces
    path = str(tmp_path / 'toy')
    create_toyfaces(path, resolution=16, num=60, workers=1)
    with load_dataset(tfrecord_dir=path, shuffle_mb=0, prefetch_mb=0) as data:
        figure = nearest.data_set_images(gen, data)
        assert figure.picture.size == (9 * 128, 5 * 128) and len(set(figure.facts['indices'])) == 45
        first = data.get_samples_np(np.array(figure.facts['indices'][:1]))[0][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(np.asarray(figure.picture)[:128:8, :128:8], first)


def test_interpolation_is_a_smooth_loop_through_its_keys():
    keys = np.random.RandomState(0).randn(4, 512)
    path = drawing.loop_latents(keys, 40)
    np.testing.assert_allclose(path[::10], keys, atol=1e-9)
    steps = np.linalg.norm(np.diff(np.concatenate([path, path[:1]]), axis=0), axis=1)
    assert steps.max() < 1.3 * steps.min()
    lengths = np.linalg.norm(path, axis=1)
    assert 0.95 * np.linalg.norm(keys, axis=1).min() < lengths.min()


@pytest.mark.parametrize('webp', [True, False])
def test_animations_loop(tmp_path, webp, monkeypatch):
    if not webp:
        monkeypatch.setattr(sheet.features, 'check', lambda name: False)
    frames = [composing.to_picture(np.full([8, 8, 3], value, np.uint8)) for value in (0, 100, 200)]
    path = sheet.save_animation(frames, str(tmp_path / 'loop'))
    with Image.open(path) as animation:
        assert (animation.n_frames, animation.info['loop']) == (3, 0)


@pytest.mark.both
def test_pretrained_example(opened_once, tmp_path, capsys):
    pickles = opened_once
    out = str(tmp_path / 'new' / 'example.png')
    pretrained_example.main(['--network', pickles['styles'], '--out', out, '--seed', '6'])
    assert Image.open(out).size == (16, 16)
    assert '4x4/Const' in capsys.readouterr().out
    pretrained_example.main(['--network', pickles['labelled'], '--out', out, '--psi', '1', '--class', '2'])
    assert Image.open(out).size == (16, 16)


def test_generate(opened_once, tmp_path):
    pickles = opened_once

    def images(network, folder, *more):
        folder = tmp_path / folder
        generate.main(['--network', pickles[network], '--outdir', str(folder), *more])
        return {name: np.array(Image.open(str(folder / name))) for name in os.listdir(str(folder))
                if name.startswith('seed')}

    first = images('styles', 'a', '--seeds', '0-2,10', '--minibatch', '3')
    assert sorted(first) == ['seed0000.png', 'seed0001.png', 'seed0002.png', 'seed0010.png']
    second = images('styles', 'b', '--seeds', '10')
    assert np.abs(first['seed0010.png'].astype(int) - second['seed0010.png']).max() <= 1
    random = [images('styles', folder, '--seeds', seeds, '--noise', 'random')['seed0004.png']
              for folder, seeds in (('c', '3,4'), ('d', '4'))]
    assert np.abs(random[0].astype(int) - random[1]).max() <= 1
    images('plain', 'e', '--seeds', '0')
    classes = [images('labelled', f'f{label}', '--seeds', '0', '--class', str(label), '--psi', '1') for label in (0, 1)]
    assert (classes[0]['seed0000.png'] != classes[1]['seed0000.png']).any()
    page = (tmp_path / 'a' / 'index.html').read_text()
    assert page.count('seed0010.png') == 2 and 'SHA-256' in page and str(tmp_path) not in page
    assert 'Labels' not in page and '>Gs<' not in page
    assert json.loads((tmp_path / 'a' / 'images.json').read_text())['seeds'] == [0, 1, 2, 10]


def test_generate_figures_draws_all_that_a_network_can(opened_once, tmp_path, capsys):
    pickles = opened_once
    for network, count in [('styles', 6), ('plain', 2), ('labelled', 6)]:
        outdir = tmp_path / network
        generate_figures.main(['--network', pickles[network], '--outdir', str(outdir), '--draws', '5', '--frames', '8'])
        page = (outdir / 'index.html').read_text()
        assert page.count('<figcaption>') == count
        assert ('>ψ = -0.5<' in page and '>seed 388<' in page and '>seed 1898<' in page) == (count == 6)
        assert '>frame 0<' in page and str(tmp_path) not in page
        assert ('stored noise' in page) == (count == 6)
        record = json.loads((outdir / 'figures.json').read_text())
        assert len(record['figures']) == 6 and len(record['sha256']) == 64
        for name, facts in record['figures'].items():
            assert ('left_out' in facts) != (outdir / f'{name}.png').is_file()
    assert 'style-mixing: left out, since the network has no styles' in capsys.readouterr().out


@pytest.mark.parametrize('main, args, words', [
    (generate_figures.main, ['--figures', 'cubism'], "no figure 'cubism'"),
    (generate_figures.main, ['--draws', '4'], 'at least 5'),
    (generate_figures.main, ['--frames', '1'], 'at least 8'),
    (generate_figures.main, ['--sources', 'x'], "--sources is 'x'"),
    (generate_figures.main, ['--destinations', '1-3', '--styles', 'coarse,fine'], 'each of the 3 destinations'),
    (generate_figures.main, ['--styles', 'round'], 'one of coarse, middle, fine'),
    (generate_figures.main, ['--figures', 'interpolation', '--path', '3'], 'at least 2 latents'),
    (generate.main, ['--seeds', '5-1'], 'smaller first'),
    (generate.main, ['--seeds', 'a'], 'numbers and ranges'),
    (generate.main, ['--seeds', '1', '--psi', 'nan'], 'psi is nan'),
    (generate.main, ['--seeds', '1', '--class', '0'], 'no classes'),
    (generate_figures.main, ['--figures', 'style-mixing', '--network', 'plain'], 'figure style-mixing: .* no styles'),
    (pretrained_example.main, ['--seed', '-1'], 'from 0 to'),
    (pretrained_example.main, ['--out', 'x.txt'], r'\.png'),
    (pretrained_example.main, ['--network', 'no-such-run'], "neither a file here, .* no run directory 'no-such-run'"),
    (pretrained_example.main, ['--network', '99'], "no run directory '99'"),
    (pretrained_example.main, ['--network', 'net.pkl'], "'net.pkl', which is neither a file here"),
    (pretrained_example.main, ['--out', '/dev/null/x.png'], "no folder can be made at '/dev/null'"),
    (pretrained_example.main, ['--out', '.'], 'a folder; name a file'),
    (generate.main, ['--seeds', '1', '--outdir', '/dev/null'], "no folder can be made at '/dev/null'"),
    (generate_figures.main, ['--outdir', '/dev/null'], "no folder can be made at '/dev/null'"),
])
def test_mistakes_are_answered_with_a_sentence(opened_once, tmp_path, monkeypatch, main, args, words):
    pickles = opened_once
    monkeypatch.chdir(tmp_path)
    if '--network' not in args:
        args = args + ['--network', pickles['styles']]
    if main is not pretrained_example.main and '--outdir' not in args:
        args = args + ['--outdir', str(tmp_path / 'out')]
    with pytest.raises(UserError, match=words):
        main([pickles.get(arg, arg) for arg in args])


def test_what_is_no_whole_generator_is_refused_by_its_shapes(session, tmp_path, monkeypatch):
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', num_channels=3, resolution=8, fmap_base=32, fmap_max=4)
    G = tflib.Network('G', 'training.networks_stylegan.G_style', num_channels=3, resolution=8, fmap_base=32, fmap_max=4,
                      latent_size=4, dlatent_size=4, mapping_fmaps=4, mapping_layers=1)
    code = tflib.Network('code', 'test_figures.three_inputs')
    tflib.init_uninitialized_vars()
    monkeypatch.setitem(registry._registered, 'three_inputs', 'test_figures')
    for net in (D, G.components.synthesis, G.components.mapping, code):
        misc.save_pkl(net, str(tmp_path / 'net.pkl'))
        with pytest.raises(UserError, match=f"'{net.name}', from .* does not give images of latents"):
            pretrained_example.main(['--network', str(tmp_path / 'net.pkl')])
        with pytest.raises(context.NetworkUnusable, match='does not give images of latents'):
            context.open_context(str(tmp_path / 'net.pkl')).__enter__()


def three_inputs(a_in, b_in, c_in, **_kwargs):
    for tensor in (a_in, b_in, c_in):
        tensor.set_shape([None, 4])
    return tf.reshape(a_in + b_in + c_in, [-1, 1, 2, 2])


def test_a_password_in_an_address_does_not_reach_the_records(opened_once, tmp_path, monkeypatch):
    monkeypatch.setattr('dnnlib.artifacts.resolve', lambda text, *args: opened_once['styles'])
    address = 'https://user:hunter2@host.invalid/net.pkl?token=hunter2'
    generate.main(['--network', address, '--seeds', '1', '--outdir', str(tmp_path)])
    for name in ('index.html', 'images.json'):
        text = (tmp_path / name).read_text()
        assert 'https://***@host.invalid/net.pkl' in text and 'hunter2' not in text


def test_impossible_numbers_end_the_command_line(capsys):
    with pytest.raises(SystemExit) as caught:
        generate.parse_args(['--network', 'x', '--seeds', '1', '--minibatch', '0'])
    assert caught.value.code == 2 and 'at least 1' in capsys.readouterr().err


def test_seeds():
    assert arguments.parse_seeds('0-3, 7,9-9') == [0, 1, 2, 3, 7, 9]
