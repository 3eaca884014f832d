"""The acceleration framework: codecs, data sets of codes, and generators of codes within one generator."""

import json
import os

import numpy as np
import pytest

from data.converters.create_toyfaces import create_toyfaces
from data.converters.encode import encode
from data.records.dataset import TFRecordDataset
from data.records.source import image_arguments
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from training import codes, misc, towers

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
@pytest.mark.parametrize('downscale', [2, 4, 8, 16])
def test_codecs_run_at_any_resolution(fresh_graph, downscale):
    F = tflib.Network('F', 'training.networks_codec.F_encoder', downscale=downscale, **SMALL)
    H = tflib.Network('H', 'training.networks_codec.H_decoder', downscale=downscale, **SMALL)
    assert F.output_shape == [None, 16, 32 // downscale, 32 // downscale] and F.output_shape == H.input_shape
    for size in (32, 64):
        images = np.random.RandomState(0).randn(1, 3, size, size)
        values = F.run(images)
        assert values.shape == (1, 16, size // downscale, size // downscale) and np.abs(values).max() <= 1
        assert H.run(values).shape == images.shape


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


def test_what_does_not_fit_is_refused(faces, codec, encoded, tmp_path):
    with pytest.raises(UserError, match='encodes images of 1 channel'):
        encode(str(tmp_path / 'a'), faces, make_codec(tmp_path / 'grey.pkl', num_channels=1), device='cpu')
    with pytest.raises(UserError, match='pictures are expected'):
        encode(str(tmp_path / 'b'), encoded, codec, device='cpu')
    assert not os.path.exists(str(tmp_path / 'a')) and not os.path.exists(str(tmp_path / 'b'))


def test_another_codec_beside_the_codes_is_refused(encoded, tmp_path):
    data = TFRecordDataset(encoded)
    with pytest.raises(UserError, match='is not the codec that the codes beside it were made with'):
        codes.read_codec(dict(data.codec, path=make_codec(tmp_path / 'other.pkl', fmaps=6)))
    with pytest.raises(UserError, match='is missing'):
        codes.read_codec(dict(data.codec, path=str(tmp_path / 'none.pkl')))
