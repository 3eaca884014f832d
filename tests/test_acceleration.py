"""The acceleration framework: codecs, data sets of codes, and generators of codes within one generator."""

import contextlib
import json
import os
import shutil
from types import SimpleNamespace

import loop_helpers
import numpy as np
import pytest
import standin_dnnlib
from conftest import ROOT, new_session
from PIL import Image

import config as folders
import generate_figures
from data import commands
from data.converters import exporter
from data.converters.create_toyfaces import create_toyfaces
from data.converters.encode import encode
from data.records.codec import find_codec
from data.records.dataset import TFRecordDataset
from data.records.source import holds_mirrored, image_arguments
from dnnlib import tflib
from dnnlib.tflib import safe_pickle, tf
from dnnlib.util import EasyDict, UserError, sha256_file
from experiment import forecast, run_config
from experiment.gpu_days import gpu_days
from experiment.plan import Plan
from experiment.start import Start
from figures import acceleration
from figures.generator import Generator
from metrics import linear_separability
from metrics.context import open_context
from metrics.group import make_metric
from metrics.presets import preset
from metrics.scores.own import own_protocol
from metrics.tables import definition, filling, sources
from train import parse_args
from training import codes, misc, towers
from training.network_files.data import data_of, open_training_data
from training.network_files.locate import load_generator
from training.state import checkpoint
from training.training_loop import training_loop

SMALL = dict(num_channels=3, resolution=32, fmaps=4)


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('faces') / 'toy')
    create_toyfaces(path, resolution=32, num=20, workers=1)
    return path


@pytest.fixture(scope='module')
def codec(tmp_path_factory):
    return make_codec(tmp_path_factory.mktemp('codec') / 'codec.pkl')


@pytest.fixture(scope='module')
def encoded(faces, codec, tmp_path_factory):
    path = str(tmp_path_factory.mktemp('codes') / 'codes')
    encode(path, faces, codec, device='cpu', mirror=True)
    return path


def make_codec(path, **changes):
    with tf.Graph().as_default(), tflib.create_session().as_default():
        tflib.select_device('cpu')
        tf.set_random_seed(1)
        kwargs = dict(SMALL, **changes)
        networks = (tflib.Network('F', 'training.networks_codec.F_encoder', **kwargs),
                    tflib.Network('H', 'training.networks_codec.H_decoder', **kwargs),
                    tflib.Network('D', 'training.networks_codec.D_codec', **kwargs))
        misc.save_pkl(networks, str(path))
    return str(path)


@pytest.mark.both
@pytest.mark.parametrize('downscale', [4, 16])
def test_codecs_run_at_any_resolution(fresh_graph, downscale):
    F = tflib.Network('F', 'training.networks_codec.F_encoder', downscale=downscale, **SMALL)
    H = tflib.Network('H', 'training.networks_codec.H_decoder', downscale=downscale, **SMALL)
    assert F.output_shape == [None, 16, 32 // downscale, 32 // downscale] and F.output_shape == H.input_shape
    for size in (32, 64):
        images = np.random.RandomState(0).randn(1, 3, size, size)
        values = F.run(images)
        assert values.shape == (1, 16, size // downscale, size // downscale) and np.abs(values).max() <= 1
        assert H.run(values).shape == images.shape
    with pytest.raises(ValueError, match='images are 30x32; downscale .* does not divide that'):
        F.run(np.zeros([1, 3, 32, 30]))


def test_codes_are_those_of_the_encoder_in_order_with_labels_and_mirrored_copies(faces, codec, encoded, fresh_graph):
    F, H, _ = misc.load_pkl(codec)
    images = TFRecordDataset(faces, max_label_size='full', shuffle_mb=0)
    data = TFRecordDataset(encoded, max_label_size='full', shuffle_mb=0)
    assert (data.shape, data.dtype, data.dynamic_range, len(data)) == ([16, 8, 8], 'float16', [-1, 1], 40)
    pixels, labels = images.get_samples_np([3])
    values, code_labels = data.get_samples_np([3, 23])
    expected = F.run(np.concatenate([pixels, pixels[..., ::-1]]) / np.float32(127.5) - np.float32(1))
    np.testing.assert_allclose(values.astype(np.float32), expected, atol=1e-3)
    np.testing.assert_array_equal(code_labels, np.concatenate([labels, labels]))
    with open(os.path.join(encoded, 'manifest.json')) as file:
        manifest = json.load(file)
    assert manifest['source']['fingerprint'] == images.fingerprint
    assert manifest['source']['command'] == 'create_toyfaces'
    assert 'codec.pkl' in manifest['files']
    assert image_arguments(dict(tfrecord_dir=encoded, resolution=8)) == dict(tfrecord_dir=faces)


def test_a_generator_of_codes_is_one_generator_whose_decoder_stays(encoded, codec, fresh_graph, tmp_path):
    data = TFRecordDataset(encoded)
    G, D, Gs = towers.build_networks(data, dict(func_name='training.networks_accel.G_accel',
                                                code_kwargs=dict(fmap_min=4, fmap_max=8)),
                                     dict(func_name='training.networks_accel.D_code', fmap_min=4, fmap_max=8))
    assert G.output_shape == [None, 3, 32, 32] and D.input_shape == [None, 16, 8, 8]
    assert codes.trained_part(G) is G.components.code
    assert set(G.trainables) == {f'code/{name}' for name in G.components.code.trainables}
    H = misc.load_pkl(codec)[1]
    latents = np.random.RandomState(0).randn(2, 128)
    images = G.run(latents, None)
    np.testing.assert_allclose(images, H.run(G.components.code.run(latents, None)), atol=1e-5)
    misc.save_pkl((G, D, Gs), str(tmp_path / 'net.pkl'))
    again = misc.load_pkl(str(tmp_path / 'net.pkl'))[2]
    np.testing.assert_array_equal(again.run(latents, None), images)
    assert set(again.trainables) == set(G.trainables)
    with open(str(tmp_path / 'net.pkl'), 'rb') as file, standin_dnnlib.importable():  # and in other programs
        foreign = standin_dnnlib.load(file.read())[2]
        np.testing.assert_allclose(foreign.run(latents, np.zeros([2, 0]), data_format='NHWC'), images, atol=1e-4)


def test_a_codec_in_place_of_a_generator_is_refused(codec, fresh_graph):
    assert 'holds a codec, which makes codes of images' in refused(load_generator, codec)


def test_a_run_of_the_codec_stands_for_its_last_network(codec, tmp_path):
    run = tmp_path / '00000-codec-h4'
    run.mkdir()
    with pytest.raises(UserError, match='holds no network'):
        find_codec(str(run))
    shutil.copy(codec, str(run / 'network-snapshot-000020.pkl'))
    shutil.copy(codec, str(run / 'network-snapshot-000100.pkl'))
    assert find_codec(str(run)).endswith('snapshot-000100.pkl')
    shutil.copy(codec, str(run / 'network-final.pkl'))
    assert find_codec(str(run)).endswith('final.pkl')


@pytest.mark.both
def test_codes_are_drawn_decoded_checked_and_described(faces, codec, encoded, capsys, tmp_path):
    sheet = tmp_path / 'sheet.png'
    commands.main(['display', encoded, '--num', '6', '--start', '18', '--device', 'cpu', '--output', str(sheet)])
    with new_session():
        F, H, _ = misc.load_pkl(codec)
        pixels, _ = TFRecordDataset(faces).get_samples_np([18])
        shown = H.run(F.run(pixels / np.float32(127.5) - np.float32(1)))[0]
    picture = np.asarray(Image.open(str(sheet)))
    assert picture.shape == (2 * 32, 3 * 32, 3)
    expected = np.clip(np.rint((shown + 1) * 127.5), 0, 255).transpose(1, 2, 0)
    np.testing.assert_allclose(picture[:32, :32], expected, atol=2)  # codes are stored in half precision
    commands.main(['verify', encoded])
    capsys.readouterr()
    commands.main(['info', encoded])
    text = capsys.readouterr().out
    assert 'codes of     toy, 3 x 32 x 32' in text and '1/4 of the side' in text and 'made by      encode' in text
    commands.main(['info', encoded, '--json'])
    assert json.loads(capsys.readouterr().out)['source']['num_images'] == 20


def test_float32_codes_keep_what_the_encoder_says(faces, codec, tmp_path, fresh_graph):
    encode(str(tmp_path / 'codes'), faces, codec, dtype='float32', minibatch=3, device='cpu')
    F = misc.load_pkl(codec)[0]
    data, images = TFRecordDataset(str(tmp_path / 'codes')), TFRecordDataset(faces)
    assert (data.dtype, len(data)) == ('float32', 20)
    pixels = images.get_samples_np([0, 19])[0] / np.float32(127.5) - np.float32(1)
    np.testing.assert_allclose(data.get_samples_np([0, 19])[0], F.run(pixels), atol=1e-5)


# ---- Bad input: one sentence each

def refused(function, *args, **kwargs):
    """The sentence of the UserError that a call raises."""
    with pytest.raises(UserError) as caught:
        function(*args, **kwargs)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_encoded_is_refused(faces, codec, encoded, tmp_path):
    out = str(tmp_path / 'out')
    grey, coarse = make_codec(tmp_path / 'grey.pkl', num_channels=1), make_codec(tmp_path / 'h16.pkl', downscale=16)
    small = str(tmp_path / 'small')
    with exporter.Exporter(small, [3, 8, 8]) as out_of_8:
        out_of_8.add(exporter.encode(np.zeros([2, 3, 8, 8], np.uint8)))
    assert 'encodes images of 1 channel(s), the data set has 3' in refused(encode, out, faces, grey, device='cpu')
    assert 'divides sides by 16, which does not divide the images of 8x8' in refused(encode, out, small, coarse)
    assert 'pictures are expected' in refused(encode, out, encoded, codec)
    assert "no file and no run directory 'nowhere'" in refused(encode, out, faces, 'nowhere')
    text = tmp_path / 'text.pkl'
    text.write_text('codec')
    assert 'not a network pickle' in refused(encode, out, faces, str(text))
    assert not os.path.exists(out)


def test_networks_that_are_no_codec_are_refused(faces, tmp_path, fresh_graph):
    G = tflib.Network('G', 'training.networks_accel.G_code', num_channels=3, resolution=8, fmap_min=2, fmap_max=2)
    F = tflib.Network('F', 'training.networks_codec.F_encoder', **SMALL)
    H = tflib.Network('H', 'training.networks_codec.H_decoder', code_channels=8, **SMALL)
    for networks, words in [((G, G, G), 'holds G_code, G_code, G_code; a codec is expected'), (F, 'holds F_encoder; a'),
                            ((F, H, G), 'an encoder whose code_channels is 16 and a decoder whose code_channels is 8')]:
        misc.save_pkl(networks, str(tmp_path / 'other.pkl'))
        assert words in refused(encode, str(tmp_path / 'out'), faces, str(tmp_path / 'other.pkl'))


def test_another_codec_beside_the_codes_is_refused(encoded, tmp_path):
    codes_dir = str(tmp_path / 'codes')
    shutil.copytree(encoded, codes_dir)
    make_codec(os.path.join(codes_dir, 'codec.pkl'), fmaps=6)
    words = 'is not the codec that the codes beside it were made with'
    data = TFRecordDataset(codes_dir)
    args = dict(func_name='training.networks_accel.G_accel'), dict(func_name='training.networks_accel.D_code')
    assert words in refused(towers.build_networks, data, *args)
    options = ['--config', 'accel-256', '--dry-run', '--data-dir', str(tmp_path)]
    for setting in ('dataset.tfrecord_dir=codes', 'dataset.resolution=8', 'sched.lod_initial_resolution=8'):
        options += ['--set', setting]
    assert words in refused(Start(parse_args(options)).check, dry=True)
    assert words in refused(commands.main, ['display', codes_dir, '--output', str(tmp_path / 'sheet.png')])
    with pytest.raises(UserError, match=words):  # with a list of all that is wrong
        commands.main(['verify', codes_dir])
    os.unlink(os.path.join(codes_dir, 'codec.pkl'))
    assert 'is missing' in refused(towers.build_networks, data, *args)


def test_codes_without_the_manifest_that_tells_of_their_codec_are_refused(encoded, tmp_path):
    folder = tmp_path / 'codes'
    shutil.copytree(str(encoded), str(folder))
    (folder / 'manifest.json').unlink()
    with pytest.raises(UserError, match='holds codes, as codec.pkl shows, but its manifest.json is missing'):
        TFRecordDataset(str(folder))


def test_a_codec_that_changes_while_it_encodes_is_refused(faces, codec, tmp_path, monkeypatch):
    from data.converters import encode as encoding
    path = tmp_path / 'codec.pkl'
    shutil.copyfile(str(codec), str(path))
    real = encoding.codes_of

    def changing(*args):
        path.write_bytes(path.read_bytes() + b'x')
        return real(*args)

    monkeypatch.setattr(encoding, 'codes_of', changing)
    with pytest.raises(UserError, match='was written to while it encoded'):
        encoding.encode(str(tmp_path / 'out'), str(faces), str(path))
    assert not (tmp_path / 'out').exists()


def test_a_decoder_of_another_form_is_refused(encoded, fresh_graph):
    words = refused(towers.build_networks, TFRecordDataset(encoded),
                    dict(func_name='training.networks_accel.G_accel', decoder_kwargs=dict(fmaps=2)),
                    dict(func_name='training.networks_accel.D_code'))
    assert 'does not fit the decoder of G' in words


@pytest.mark.both
@pytest.mark.parametrize('name,changes,words', [
    ('accel-256', dict(is_codes=False, shape=[3, 64, 64]), 'which makes codes, but the data set has samples of'),
    ('baseline-256', dict(is_codes=True), 'which makes images, but the data set has codes of images'),
    ('stylegan-f', dict(is_codes=True), 'which makes images, but the data set has codes of images'),
    ('codec-h4', dict(is_codes=True), 'which makes images, but the data set has codes of images'),
    ('accel-256', dict(label_size=10), 'G is training.networks_accel.G_code, which takes no labels'),
    ('baseline-256', dict(label_size=10, is_codes=False), 'set dataset.max_label_size=0'),
    ('codec-h16', dict(is_codes=False, shape=[3, 8, 8]), 'G.downscale is 16, which means 4 halvings, but the images'),
    ('codec-h2', dict(is_codes=False, shape=[3, 4, 4]), 'D.num_scales is 3, which means 3 halvings, but the images'),
    ('codec-h4', dict(label_size=10, is_codes=False), 'G_codec, which takes no labels')])
def test_plans_refuse_networks_that_do_not_suit_the_data(name, changes, words):
    config, _ = run_config.load(name, folders.config_dir, ['dataset.tfrecord_dir=any'])
    facts = dict(shape=[16, 64, 64], resolution=64, resolution_log2=6, num_images=50000, label_size=0, is_codes=True,
                 unused_labels=None, missing=None)
    if name != 'stylegan-f' and 'label_size' not in changes:
        assert Plan(config, EasyDict(facts, is_codes=name.startswith('accel'))).phases
    assert words in refused(Plan, config, EasyDict(facts, **changes))


def test_codes_are_not_flipped_in_place_of_their_images(encoded, fresh_graph):
    config, _ = run_config.load('accel-256', folders.config_dir, ['dataset.tfrecord_dir=any',
                                                                  'train.mirror_augment=true'])
    facts = dict(shape=[16, 64, 64], resolution=64, resolution_log2=6, num_images=50, label_size=0, is_codes=True,
                 unused_labels=None, missing=None)
    words = 'a flipped code is not that of the flipped image; leave it off, and encode the images with --mirror 1'
    assert words in refused(Plan, config, EasyDict(facts))
    small = dict(fmap_min=4, fmap_max=4)
    data = TFRecordDataset(encoded)
    networks = towers.build_networks(data, dict(func_name='training.networks_accel.G_accel', code_kwargs=small),
                                     dict(func_name='training.networks_accel.D_code', **small))
    losses = dict(func_name='training.loss.G_wgan'), dict(func_name='training.loss.D_wgan_gp')
    assert words in refused(towers.build_training_graph, *networks, data, {}, {}, *losses, seed=1, num_gpus=1,
                            G_smoothing_kimg=1, mirror_augment=True, drange_net=[-1, 1], is_growing=False)


def test_figures_of_training_data_show_the_images_that_codes_stand_for(encoded, faces, codec, tmp_path):
    from dnnlib.submission.records import write_submit_config
    run = tmp_path / '00000-accel'
    run.mkdir()
    dataset = dict(tfrecord_dir=os.path.basename(encoded), resolution=8)
    write_submit_config(str(run), dict(config=dict(dataset=dataset, train={}), data_dir=os.path.dirname(encoded)))
    shutil.copy(codec, str(run / 'network-final.pkl'))
    for folder in (None, encoded, faces):
        with open_training_data(str(run / 'network-final.pkl'), folder, resolution=32) as data:
            assert data.shape == [3, 32, 32] and data.fingerprint == TFRecordDataset(faces).fingerprint


def test_a_run_of_codes_is_judged_by_the_images_that_they_stand_for(encoded, faces, tmp_path):
    """So that it has a best snapshot, and curves."""
    from dnnlib.submission.records import write_submit_config
    images = dict(seed=0, labels='zeros', is_standin=True, mirror_augment=True,
                  dataset_fingerprint=TFRecordDataset(faces).fingerprint)
    for folder, wanted in ((encoded, images), (str(tmp_path / 'gone'), dict(seed=0, labels='zeros'))):
        config = dict(dataset=dict(tfrecord_dir=folder, resolution=8), train={}, metrics=[],
                      G=dict(func_name='training.networks_accel.G_accel'))
        write_submit_config(str(tmp_path), dict(config=config, data_dir='/'))
        (tmp_path / 'dataset.json').write_text(json.dumps(dict(fingerprint='c' * 64, label_size=0)))
        assert own_protocol(str(tmp_path), 'fid50k') == wanted


def test_scores_mirror_the_reals_of_mirrored_codes_whoever_names_these(encoded, faces, codec, tmp_path, monkeypatch):
    """Also where the network lies outside of its run, whose record would say so."""
    args = dict(tfrecord_dir=encoded)
    assert data_of(None, args) == (args, True) and data_of(None, args, False) == (args, False)
    assert data_of(None, dict(tfrecord_dir=faces)) == (dict(tfrecord_dir=faces), False)
    asked = []

    class Job(filling.Job):
        def run(self, **kwargs):
            asked.append(self._options['mirror_augment'])
            return []

    monkeypatch.setattr(filling, 'Job', Job)
    located = SimpleNamespace(name='x', path=codec)
    monkeypatch.setattr(filling, 'locate', lambda text: SimpleNamespace(tell=lambda: located))
    table = definition.load_table('acceleration-4', folders.config_dir)
    for name, folder in (('accel-256', encoded), ('accel-512', faces)):
        source = sources.Source(table.networks[name], codec, None, folder)
        filling.fill(table, {name: source}, str(tmp_path), True, lambda path: path, 'standin')
    assert asked == [True, False]


@pytest.mark.parametrize('function', ['networks_accel.G_code', 'networks_accel.D_code', 'networks_codec.G_codec',
                                      'networks_codec.D_codec'])
def test_networks_without_use_for_labels_refuse_them(fresh_graph, function):
    with pytest.raises(ValueError, match='takes no labels, but is to get 3 components'):
        tflib.Network('N', 'training.' + function, resolution=8, label_size=3)


def test_labels_are_not_offered_to_networks_that_take_none():
    from experiment import plan
    facts = EasyDict(shape=[3, 128, 128], resolution=128, resolution_log2=7, num_images=50000, label_size=0,
                     is_codes=False, unused_labels='faces.labels', missing=None)
    for name, is_told in (('codec-h4', False), ('stylegan-f', True)):
        config, _ = run_config.load(name, folders.config_dir, ['dataset.tfrecord_dir=any', 'dataset.resolution=128'])
        assert any('has labels' in text for text in plan._warnings_of_phases(Plan(config, facts))) == is_told


def test_a_resolution_that_the_code_does_not_divide_is_refused(fresh_graph):
    from data.records.dataset import SyntheticDataset
    words = refused(towers.build_networks, SyntheticDataset(resolution=8),
                    dict(func_name='training.networks_codec.G_codec', downscale=16),
                    dict(func_name='training.networks_codec.D_codec'))
    assert 'resolution is 8; downscale (16) does not divide it' in words


# ---- Plans

@pytest.mark.both
def test_a_codec_takes_smaller_data_at_their_own_size(faces, tmp_path, capsys):
    """As its configuration says where they are large enough, and as --set says."""
    def start(*overrides, name='codec-h4'):
        folder, data = os.path.split(faces)
        words = [word for text in (f'dataset.tfrecord_dir={data}',) + overrides for word in ('--set', text)]
        found = Start(parse_args(['--config', name, '--data-dir', folder, '--result-dir', str(tmp_path)] + words))
        found.check(dry=True)
        return found

    found = start()
    assert (found.config.dataset.resolution, found.config.sched.lod_initial_resolution) == (32, 32)
    assert found.plan.data.shape == [3, 32, 32] and [phase.resolution for phase in found.plan.phases] == [32]
    assert found.origins['dataset.resolution'] == "the data's own size"
    assert 'holds images of 32x32: the codec is trained at this size, not at 128x128' in capsys.readouterr().out
    assert 'no 128x128 level' in refused(start, 'dataset.resolution=128')
    found = start('dataset.resolution=16', 'sched.lod_initial_resolution=16')
    assert found.plan.data.shape == [3, 16, 16] and not capsys.readouterr().out
    with pytest.raises(UserError, match='no 256x256 level'):
        start(name='baseline-256')


@pytest.mark.parametrize('name,shape,settings', [
    ('accel-256', [16, 16, 16], ['G.code_kwargs={fmap_base: 128, fmap_min: 4, fmap_max: 9, latent_size: 5}']),
    ('baseline-256', [3, 16, 16], ['G.fmap_max=9', 'G.fmap_min=4', 'D.fmap_max=7', 'D.fmap_min=2']),
    ('codec-h2', [3, 16, 16], ['G.fmaps=3', 'G.fmap_max=5', 'D.fmaps=3']), ('codec-h8', [1, 16, 16], ['G.fmaps=2']),
    ('accel-stylegan-256', [16, 16, 16], ['G.code_kwargs.fmap_max=8', 'G.code_kwargs.mapping_fmaps=8'])])
def test_forecast_sizes_are_those_of_the_networks(fresh_graph, name, shape, settings):
    config, _ = run_config.load(name, folders.config_dir, ['dataset.tfrecord_dir=any', 'D.fmap_max=16'] + settings)
    sizes = forecast.network_sizes(config.G, config.D, EasyDict(shape=shape, label_size=0))
    for section, expected in (('G', sizes.G_params), ('D', sizes.D_params)):
        data = dict(num_channels=shape[0], resolution=shape[1])
        if config.G.func_name.endswith('G_accel') and section == 'G':
            data = dict(num_channels=3, resolution=shape[1] * 4, decoder_kwargs=dict(fmaps=2))
        net = tflib.Network(section, **dict(config[section], **data))
        assert expected == sum(int(np.prod(tflib.shape_to_list(var.shape))) for var in net.trainables.values())
    assert forecast.relative_cost(sizes, shape[1]) > 0


def test_settings_of_the_code_generator_may_stand_beside_its_name(fresh_graph):
    G = tflib.Network('G', 'training.networks_accel.G_accel', resolution=32, latent_size=7, fmap_max=8, fmap_min=4,
                      decoder_kwargs=dict(fmaps=2))
    assert G.input_shapes[0] == [None, 7] and G.output_shape == [None, 3, 32, 32]


def test_gpu_days_of_the_tables_networks_are_forecast():
    days = {name: gpu_days(name) for name in ('accel-1024', 'accel-1024-h8', 'baseline-1024', 'codec-h4',
                                              'accel-lsun-cat', 'baseline-lsun-cat', 'accel-stylegan-1024')}
    assert all(days.values()) and days['accel-1024-h8'] < days['accel-1024'] < days['baseline-1024'] / 5


# ---- Path lengths in W, FID of decoded codes

def test_codes_have_every_metric_of_images(encoded, codec, faces, tmp_path, monkeypatch):
    """StyleGAN in codes: path lengths and separability in W too, and what the codec alone costs."""
    path = str(tmp_path / 'network.pkl')
    small = dict(func_name='training.networks_accel.G_accel', code_func='training.networks_stylegan.G_style',
                 code_kwargs=dict(fmap_base=64, fmap_max=8, mapping_fmaps=8, mapping_layers=2, structure='fixed'))
    with new_session():
        misc.save_pkl(towers.build_networks(TFRecordDataset(encoded), small, dict(
            func_name='training.networks_accel.D_code', fmap_min=4, fmap_max=4)), path)
    session = {'graph_options.rewrite_options.disable_meta_optimizer': True}
    with open_context(path, dataset_args=dict(tfrecord_dir=encoded), features='auto', cache_dir=None,
                      tf_config=session) as ctx:
        assert ctx.dataset.shape == [3, 32, 32] and ctx.codes.shape == [16, 8, 8]
        found = {name: make_metric(dict(preset(name), **changes)).run_in(ctx, log_results=False) for name, changes in (
            ('ppl_wend', dict(num_samples=4, epsilon=1e-2, minibatch_per_gpu=2)),
            ('fid50k', dict(num_images=20)),
            ('fid50k_decoded', dict(num_images=20)))}
        # One classifier may well find all samples alike; what counts is that W is measured.
        monkeypatch.setattr(linear_separability, 'fit_svm', lambda samples, targets, seed, keep: (targets, None, True))
        separability = make_metric(dict(preset('ls'), num_samples=4, num_keep=4, minibatch_per_gpu=4,
                                        attrib_indices=[0])).run_in(ctx, log_results=False)
        assert separability['values'] == dict(ls_z=1.0, ls_w=1.0)
    assert all(np.isfinite(record['value']) for record in found.values())
    for name in ('fid50k', 'fid50k_decoded'):  # both compare with the images
        assert found[name]['is_standin'] and found[name]['dataset_fingerprint'] == TFRecordDataset(faces).fingerprint
    assert holds_mirrored(dict(tfrecord_dir=encoded)) and not holds_mirrored(dict(tfrecord_dir=faces))


def test_stylegan_in_codes_is_steered_as_stylegan_is(encoded, fresh_graph):
    """Truncation, styles and noise of its own: what generate, figures, projection and the explorer draw with."""
    small = dict(func_name='training.networks_accel.G_accel', code_func='training.networks_stylegan.G_style',
                 code_kwargs=dict(fmap_base=64, fmap_max=8, mapping_fmaps=8, mapping_layers=2, dlatent_size=8,
                                  structure='fixed'))
    _, _, Gs = towers.build_networks(TFRecordDataset(encoded), small, dict(
        func_name='training.networks_accel.D_code', fmap_min=4, fmap_max=4))
    code = Gs.components.code
    code.set_var('dlatent_avg', np.full(8, 0.5, np.float32))
    for name, var in code.components.synthesis.vars.items():
        if name.endswith('Noise/weight'):
            tflib.set_vars({var: np.ones(var.shape.as_list(), np.float32)})
    gen = Generator(Gs)
    assert (gen.is_style_based, gen.num_layers, gen.has_noise) == (True, 4, True)
    z = gen.latents(1, 2)
    for psi, cutoff in ((1, 8), (0.5, 2)):
        wanted = Gs.run(z, None, randomize_noise=False, truncation_psi=psi, truncation_cutoff=cutoff,
                        output_transform=dict(func=tflib.convert_images_to_uint8, nchw_to_nhwc=True))
        found = gen.images(z, psi=psi, cutoff=cutoff, noise='stored')
        assert np.abs(found.astype(int) - wanted).max() <= 1
    w = gen.dlatents(z)
    assert w.shape == (2, 4, 8)
    plain, quiet = (gen.synthesize(w, noise).astype(int) for noise in ('stored', 'none'))
    assert np.abs(plain - quiet).max() > 1
    mixed = gen.synthesize(np.concatenate([w[:1, :2], w[1:, 2:]], axis=1)).astype(int)
    assert min(np.abs(mixed - image).max() for image in plain) > 1


# ---- Figures

@pytest.mark.slow
def test_figures_of_the_paper_are_drawn_with_networks_of_ones_own(faces, codec, encoded, tmp_path):
    G = dict(fmap_min=4, fmap_max=4)
    for name, data, args in (('before', faces, dict(G, func_name='training.networks_accel.G_code')),
                             ('after', encoded, dict(func_name='training.networks_accel.G_accel', code_kwargs=G))):
        with new_session():
            D = dict(G, func_name='training.networks_accel.D_code')
            misc.save_pkl(towers.build_networks(TFRecordDataset(data), args, D), str(tmp_path / f'{name}.pkl'))
    coarse, out = make_codec(tmp_path / 'h8.pkl', downscale=8), tmp_path / 'figures'
    names = ['--before', str(tmp_path / 'before.pkl'), '--after', str(tmp_path / 'after.pkl'), '--device', 'cpu']
    generate_figures.main(['acceleration', '--codec', coarse, '--codec', codec, '--dataset', faces] + names
                          + ['--outdir', str(out)])
    record = json.loads((out / 'figures.json').read_text())['figures']
    assert [entry['downscale'] for entry in record['reconstructions']['codecs']] == [4, 8]
    assert Image.open(str(out / 'reconstructions.png')).size == (4 * 128, 3 * 128)
    sheet = np.asarray(Image.open(str(out / 'before-after.png')))
    assert sheet.shape[1] == 2 * 6 * 128 + 16 and sheet.shape[0] == 4 * 128 + 20
    assert Image.open(str(out / 'latent-paths.png')).size == (8 * 128, 4 * 128)
    page = (out / 'index.html').read_text()
    assert page.count('<figure') == 3 and 'reconstructions at 32x32' in page
    for words, problem in ([], 'nothing to draw'), (['--codec', codec], 'go together'), (['--before', 'x'], '--after'):
        assert problem in refused(generate_figures.main, ['acceleration', '--outdir', str(tmp_path / 'no')] + words)


def test_the_number_of_a_figure_follows_the_data_not_a_word_in_a_path(monkeypatch):
    @contextlib.contextmanager
    def opened(name):
        yield SimpleNamespace(
            resolution=256, latents=lambda seed, count: np.zeros([count, 4]),
            images=lambda z, **kwargs: np.zeros([len(z), 256, 256, 3], np.uint8)), EasyDict(path=name, resolution=256)

    monkeypatch.setattr(acceleration, 'opened', opened)
    for lsun_class, number in (('bedroom', 8), ('church_outdoor', 9), ('cat', 5), (None, 5)):
        figure = acceleration.before_after('/church/bedroom/before', '/church/after',
                                           lambda path, found=lsun_class: found)
        assert figure.title == f'Figure {number}: samples at 256x256'


# ---- The demo

def test_the_demo_tells_what_both_gans_reached(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import acceleration_demo as demo
    args = demo.parse_args(['--quick', '--data-dir', str(tmp_path), '--result-dir', str(tmp_path / 'results')])
    assert args.minutes == demo.QUICK_MINUTES and args.out == str(tmp_path / 'results' / 'acceleration-demo-quick')
    for name in (demo.CODEC,) + demo.GANS:
        assert demo.find_run(name, args) == (None, False)  # and its changes suit the configuration
    rows = [dict(title='GAN of codes', images_per_second=80.0, images_seen=48000, fid=20.0),
            dict(title='GAN of images', images_per_second=20.0, images_seen=12000, fid=40.0),
            dict(title='decoded codes of the reals', fid=10.0, reconstruction_mse=0.0144)]
    text = demo.table_text(rows, 10)
    assert '| GAN of codes | 80.0 | 48,000 | 20.0 |  |' in text and '| 10.0 | 0.014 |' in text
    assert 'is 0.50 of that of the GAN of images' in text and '4.0 times as many images' in text
    assert '0.05 to 10000 are expected' in refused(demo.parse_args, ['--minutes', '0.001'])


# ---- Reconstruction at several resolutions

@pytest.mark.slow
def test_errors_fall_as_the_resolution_rises_for_one_codec(reference_dir, tmp_path):
    """As in Table 1, on photographs and on generated faces, of a codec trained briefly on the reduced images."""
    wholes = {name: reference_images(reference_dir, name) for name in ('faces', 'photos')}
    with exporter.Exporter(str(tmp_path / 'train'), [3, 128, 128]) as out:
        for image in wholes['faces'] + wholes['photos']:
            out.add(exporter.encode(reduced(image, 128)[np.newaxis]))
    args = dict(G_args=dict(func_name='training.networks_codec.G_codec', fmaps=8, fmap_max=32),
                D_args=dict(func_name='training.networks_codec.D_codec', fmaps=8, fmap_max=32), total_kimg=3,
                checkpoint_kimg=100, checkpoint_keep=1, network_snapshot_ticks=0,
                sched_args=dict(lod_initial_resolution=128, minibatch_base=8, minibatch_dict={}, G_lrate_dict={},
                                D_lrate_dict={}, tick_kimg_base=10, tick_kimg_dict={}))
    train(tmp_path / 'run', 'codec', str(tmp_path / 'train'), **args)
    with new_session():
        F, H, _ = safe_pickle.load_network_pickle(str(tmp_path / 'run' / 'network-final.pkl'))
        for name, sizes in (('faces', (128, 256, 512, 1024)), ('photos', (128, 256, 512))):
            errors = []
            for size in sizes:
                shown = [reduced(image, size)[np.newaxis] / np.float32(127.5) - 1 for image in wholes[name]]
                errors.append(np.mean([np.mean(np.square(H.run(F.run(x)) - x)) for x in shown]))
            print(name, dict(zip(sizes, errors)))
            assert all(low > high for low, high in zip(errors, errors[1:])), (name, errors)


def reference_images(reference_dir, name):
    """Squares of the reference data, uint8 [3, side, side]: generated faces, and photographs cropped to 512 pixels."""
    if name == 'faces':
        paths = sorted((reference_dir / 'data' / 'faces' / 'generated-1024').glob('*'))
        pictures = [Image.open(str(path)).convert('RGB') for path in paths if path.suffix in ('.png', '.jpg')]
    else:
        paths = sorted((reference_dir / 'data' / 'photos').rglob('*.jpg'))
        pictures = [Image.open(str(path)) for path in paths]
        pictures = [picture.convert('RGB') for picture in pictures if min(picture.size) >= 512]
    if not pictures:
        pytest.skip(f'the reference data have no {name}')
    squares = []
    for picture in pictures:
        side = 512 << int(np.log2(min(picture.size) // 512))
        left, top = [(length - side) // 2 for length in picture.size]
        squares.append(np.asarray(picture.crop((left, top, left + side, top + side))).transpose([2, 0, 1]))
    return squares


def reduced(image, size):
    """Box means, uint8 [3, size, size]."""
    factor = image.shape[1] // size
    means = image.reshape([3, size, factor, size, factor]).mean(axis=(2, 4))
    return np.rint(means).astype(np.uint8)


# ---- Equal bits and exact resume

ADAM = dict(beta1=0.5, beta2=0.99, epsilon=1e-8)
RUN = dict(total_kimg=0.032, checkpoint_kimg=0.008, minibatch_repeats=1, checkpoint_keep=99, image_snapshot_ticks=0,
           G_opt_args=ADAM, D_opt_args=ADAM, sched_args=dict(minibatch_base=4, minibatch_dict={}, tick_kimg_base=0.016))


def train(run_dir, kind, data_dir, **more):
    """A run of a codec on images, or of a code GAN on codes, as the configurations have them but small."""
    networks, losses, size = {
        'codec': (dict(G='networks_codec.G_codec', D='networks_codec.D_codec'),
                  dict(G='loss_codec.G_reconstruction', D='loss_codec.D_reconstruction'), dict(fmaps=4, fmap_max=8)),
        'codes': (dict(G='networks_accel.G_accel', D='networks_accel.D_code'),
                  dict(G='loss.G_wgan', D='loss.D_wgan_gp'), dict(fmap_min=4, fmap_max=8))}[kind]
    args = loop_helpers.tiny_args(**RUN)
    for key in 'GD':
        args[f'{key}_args'] = dict(size, func_name='training.' + networks[key])
        args[f'{key}_loss_args'] = dict(func_name='training.' + losses[key])
    if kind == 'codes':
        args['G_args'] = dict(func_name='training.networks_accel.G_accel', code_kwargs=size)
    args['dataset_args'] = dict(tfrecord_dir=data_dir)
    args['sched_args'] = dict(RUN['sched_args'], lod_initial_resolution=TFRecordDataset(data_dir).resolution,
                              tick_kimg_dict={})
    args['mirror_augment'] = kind == 'codec'
    args.update(more)
    os.makedirs(str(run_dir), exist_ok=True)
    with tf.Graph().as_default(), tflib.create_session(args['tf_config']).as_default():
        tf.set_random_seed(args['seed'])
        return training_loop(run_dir=str(run_dir), run_context=loop_helpers.Context(), **args)


@pytest.mark.parametrize('kind', ['codec', 'codes'])
def test_runs_go_on_bit_for_bit(kind, faces, encoded, tmp_path):
    data_dir = faces if kind == 'codec' else encoded
    assert train(tmp_path / 'whole', kind, data_dir) == 'finished'
    shutil.copytree(str(tmp_path / 'whole'), str(tmp_path / 'parts'))
    (tmp_path / 'parts' / 'network-final.pkl').unlink()
    for path in checkpoint.list_checkpoints(str(tmp_path / 'parts' / 'checkpoints'))[:-2]:  # all but those before it
        os.unlink(path)
    assert train(tmp_path / 'parts', kind, data_dir, resume=True) == 'finished'
    whole, parts = [(tmp_path / name / 'network-final.pkl').read_bytes() for name in ('whole', 'parts')]
    assert whole == parts
    if kind == 'codes':
        decoder = dict(safe_pickle.read_networks(encoded + '/codec.pkl')[1].variables)
        for network in safe_pickle.read_networks(str(tmp_path / 'whole' / 'network-final.pkl'))[::2]:
            for name, value in network.components['decoder'].variables:
                np.testing.assert_array_equal(value, decoder[name])
    else:
        record = json.loads((tmp_path / 'whole' / 'metrics' / 'reconstruction.json').read_text())
        assert list(record['values']) == ['mse_32'] and 0 < record['values']['mse_32'] < 10
        assert record['network_sha256'] == sha256_file(str(tmp_path / 'whole' / 'network-final.pkl'))
        assert record['num_samples'] == 20
