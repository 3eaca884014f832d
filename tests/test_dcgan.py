"""What is done with a trained DCGAN: files of every kind, other programs, pictures; and what it is not made for."""

import types

import numpy as np
import PIL.Image
import pytest
import standin_dnnlib
from conftest import new_session
from golden_networks import deviation

import generate
import generate_figures
import pretrained_example
import train
from data.commands import main as dataset_tool
from data.converters.exporter import encode
from dnnlib import tflib
from dnnlib.tflib import convert
from dnnlib.util import UserError
from metrics.group import make_metric
from training import misc

SIZES = dict(num_channels=3, resolution=16)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with a DCGAN whose moving statistics are no longer those of the start, its images, and data sets."""
    path = tmp_path_factory.mktemp('dcgan')
    dataset_tool(['create_toyfaces', str(path / 'faces'), '--resolution', '16', '--num', '12', '--workers', '1'])
    z = np.random.RandomState(0).randn(4, 5)
    with new_session():
        G = tflib.Network('G', 'training.networks_dcgan.G_dcgan', nz=5, ngf=4, **SIZES)
        D = tflib.Network('D', 'training.networks_dcgan.D_dcgan', ndf=4, **SIZES)
        rnd = np.random.RandomState(1)
        for net in (G, D):
            tflib.set_vars({var: rnd.uniform(0.5, 1.5, var.shape.as_list()) for name, var in net.vars.items()
                            if 'moving' in name})
            tflib.set_vars({var: 15 * tflib.run(var) for name, var in net.vars.items() if name.startswith('Conv')})
        misc.save_pkl((G, D, G.clone('Gs')), str(path / 'dcgan.pkl'))
        grey = [tflib.Network(name, f'training.networks_dcgan.{name}_dcgan', num_channels=1, resolution=16,
                              **{f'n{name.lower()}f': 4}) for name in 'GD']
        misc.save_pkl((grey[0], grey[1], grey[0].clone('Gs')), str(path / 'grey.pkl'))
        images = G.run(z, None)
        return types.SimpleNamespace(path=path, z=z, images=images, scores=D.run(images, None),
                                     in_training=G.run(z, None, is_training=True))


def test_moving_statistics_go_along_into_every_kind_of_file(made, tmp_path):
    source = str(made.path / 'dcgan.pkl')
    for suffix in ('.npz', '.safetensors'):
        convert.main([source, str(tmp_path / ('dcgan' + suffix))])
        convert.main([str(tmp_path / ('dcgan' + suffix)), str(tmp_path / f'from{suffix}.pkl')])
        assert convert.same(convert.read(source), convert.read(str(tmp_path / f'from{suffix}.pkl')))
    with new_session():
        G, D, _ = convert.load(str(tmp_path / 'dcgan.safetensors'))
        assert np.array_equal(G.run(made.z, None), made.images)
        assert np.array_equal(D.run(made.images, None), made.scores)


@pytest.mark.both
def test_stored_source_normalises_the_same_way_elsewhere(made):
    with new_session():
        with open(str(made.path / 'dcgan.pkl'), 'rb') as file, standin_dnnlib.importable():
            G, D, _ = standin_dnnlib.load(file.read())
            labels = np.zeros([4, 0])
            images = G.run(made.z, labels, data_format='NHWC')
            in_training = G.run(made.z, labels, data_format='NHWC', is_training=True)
            scores = D.run(made.images, labels, data_format='NHWC')
    assert deviation(images, made.images) < 1e-4 and deviation(in_training, made.in_training) < 1e-4
    assert deviation(scores, made.scores) < 1e-4 and deviation(in_training, images) > 0.1


def test_images_and_sheets_are_drawn(made, tmp_path):
    network = ['--network', str(made.path / 'dcgan.pkl'), '--outdir', str(tmp_path)]
    generate.main(network + ['--seeds', '0-2'])
    pictures = [np.asarray(PIL.Image.open(str(tmp_path / f'seed000{seed}.png'))) for seed in range(3)]
    assert pictures[0].shape == (16, 16, 3) and not np.array_equal(pictures[0], pictures[1])
    generate_figures.main(network + ['--figures', 'nearest', '--dataset', str(made.path / 'faces')])
    assert (tmp_path / 'nearest.png').is_file()


def refusal(function, *args, **kwargs):
    """The sentence that a UserError has."""
    with pytest.raises(UserError) as caught:
        function(*args, **kwargs)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_one_channel_is_no_stand_in_for_three(made, tmp_path):
    data, grey = ['--data-dir', str(made.path), '--result-dir', str(tmp_path)], str(made.path / 'grey.pkl')
    message = refusal(train.main, ['--config', 'dcgan-toyfaces', '--set', 'dataset.tfrecord_dir=faces', '--set',
                                   'dataset.resolution=16', '--init-from', grey, '--dry-run'] + data)
    assert '--init-from: G in' in message and 'of another shape' in message
    for name in ('fid50k', 'nearest'):
        message = refusal(make_metric(name).run, grey, features='standin', log_results=False,
                          dataset_args=dict(tfrecord_dir=str(made.path / 'faces')))
        assert 'makes samples of [1, 16, 16] but the data set holds [3, 16, 16]' in message
    message = refusal(generate_figures.main, ['--network', grey, '--figures', 'nearest', '--outdir', str(tmp_path),
                                              '--dataset', str(made.path / 'faces')])
    assert 'samples of [3, 16, 16], the network makes images of [1, 16, 16]; name the data set' in message


@pytest.mark.parametrize('size', [48, 2])
def test_images_of_sizes_that_no_layer_halves_to_are_refused(tmp_path, size):
    (tmp_path / 'pictures').mkdir()
    for number in range(3):
        PIL.Image.new('RGB', (size, size), (number, 0, 0)).save(str(tmp_path / 'pictures' / f'{number}.png'))
    message = refusal(dataset_tool, ['create_from_images', str(tmp_path / 'set'), str(tmp_path / 'pictures')])
    assert f'{size}x{size}, which is' in message and '--resize N' in message
    # another program's data set
    (tmp_path / 'foreign').mkdir()
    records = encode(np.zeros([3, 3, size, size], np.float32))[0][0]
    (tmp_path / 'foreign' / 'foreign-r06.tfrecords').write_bytes(records.tobytes())
    message = refusal(train.main, ['--config', 'dcgan-toyfaces', '--set', 'dataset.tfrecord_dir=foreign', '--set',
                                   'dataset.resolution=null', '--dry-run', '--data-dir', str(tmp_path)])
    assert f'{size}x{size}' in message


def test_points_and_images_do_not_take_each_other_s_place(made, tmp_path):
    points = tmp_path / 'ring'
    dataset_tool(['create_points', str(points), '--distribution', 'ring', '--num', '50'])
    message = refusal(train.main, ['--config', 'dcgan-64', '--dry-run', '--set', 'dataset.tfrecord_dir=ring',
                                   '--data-dir', str(tmp_path)])
    assert 'holds samples of [2] without pixels, such as points, but images of 64x64' in message
    message = refusal(train.main, ['--config', 'minimal-gan', '--dry-run', '--set', 'dataset.tfrecord_dir=faces',
                                   '--data-dir', str(made.path)])
    assert 'holds images of up to 16x16, but points are needed' in message
    message = refusal(train.main, ['--config', 'gan2014-digits-conv', '--dry-run', '--data-dir', str(tmp_path), '--set',
                                   'dataset.tfrecord_dir=ring'])
    assert 'G_deconvolutional, which is for images, but the data set has points of 2 numbers' in message
    with new_session():
        G = tflib.Network('Gs', 'training.networks_minimal.G_minimal')
        misc.save_pkl((G, G, G), str(tmp_path / 'points.pkl'))
    network = ['--network', str(tmp_path / 'points.pkl')]
    for main, more in ((generate.main, ['--seeds', '0']), (generate_figures.main, []), (pretrained_example.main, []),
                       (generate_figures.main, ['--figures', 'nearest', '--dataset', str(points)])):
        where = [] if main is pretrained_example.main else ['--outdir', str(tmp_path / 'out')]
        assert 'makes samples of [2], not images' in refusal(main, network + more + where)
    for name in ('fid50k', 'ls', 'ppl_zfull', 'ppl_wend', 'kid50k', 'pr50k', 'nearest'):
        message = refusal(make_metric(name).run, network[1], features='standin', log_results=False,
                          dataset_args=dict(tfrecord_dir=str(points)))
        assert f'{name} measures images' in message and 'jsd and mode_coverage' in message
