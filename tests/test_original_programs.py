"""Programs in the style in which people wrote for the original run as they are; our own are in `original_programs/`."""

import contextlib
import json
import pathlib
import pickle
import sys

import numpy as np
import pytest
from golden_networks import runs_channels_first

import config
import dnnlib
import train
from data.records import dataset
from data.records.tfrecord import Encoder
from dnnlib import submission, tflib
from dnnlib.tflib import tf
from training import misc
from training.training_loop import training_loop

pytestmark = pytest.mark.both

PROGRAMS = pathlib.Path(__file__).parent / 'original_programs'
SMALL = dict(fmap_base=32, fmap_max=4, structure='fixed')
SMALL_G = dict(SMALL, func_name='training.networks_stylegan.G_style', latent_size=4, dlatent_size=4, mapping_fmaps=4,
               mapping_layers=1)
D_FUNC = 'training.networks_stylegan.D_basic'


@contextlib.contextmanager
def session():
    """A graph and a session of its own, which `tflib.init_tf` finds open; no time goes into optimizing the graph."""
    tflib.select_device('cpu')
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        options = {'allow_soft_placement': True, 'graph_options.rewrite_options.disable_meta_optimizer': True}
        with tflib.create_session(options).as_default() as opened:
            yield opened
        opened.close()


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A folder in which the three default folders lie, with a data set of noise at 4x4 and 8x8; programs can be
    imported by name."""
    root = tmp_path_factory.mktemp('programs')
    (root / 'datasets' / 'tiny').mkdir(parents=True)
    images = np.random.RandomState(0).randint(256, size=[20, 3, 8, 8]).astype(np.uint8)
    for log2, level in ((3, images), (2, images[:, :, ::2, ::2])):
        path = root / 'datasets' / 'tiny' / f'tiny-r{log2:02}.tfrecords'
        path.write_bytes(Encoder(level.shape[1:], level.dtype).encode(level).tobytes())
    before = config.data_dir, config.result_dir, config.cache_dir
    config.data_dir, config.result_dir, config.cache_dir = [str(root / name) for name in
                                                            ('datasets', 'results', 'cache')]
    sys.path.insert(0, str(PROGRAMS))
    yield root
    sys.path.remove(str(PROGRAMS))
    config.data_dir, config.result_dir, config.cache_dir = before


@pytest.fixture(scope='module')
def runs(root):
    """Directories of two runs of a training script, of which the second takes up the last network of the first."""
    import train_tiny
    with session():
        train_tiny.main()
    train_tiny.train.update(resume_run_id=0, resume_snapshot=None, resume_kimg=0.032, resume_time=3600.0,
                            total_kimg=0.048)
    with session():
        train_tiny.main()
    return [root / 'results' / name for name in ('00000-sgan-tiny-1gpu', '00001-sgan-tiny-1gpu')]


def events(run_dir):
    """(tags of summaries, whether the graph is there) of a run's event files."""
    tags, has_graph = set(), False
    for path in run_dir.glob('events.out.tfevents.*'):
        for event in tf.train.summary_iterator(str(path)):
            tags |= {value.tag for value in event.summary.value}
            has_graph |= bool(event.graph_def)
    return tags, has_graph


def save_snapshot(folder, **G_args):
    """The path of a pickle of fresh networks of 4x4, (G, D, Gs)."""
    path = str(folder / 'network-snapshot-000001.pkl')
    with session():
        G = tflib.Network('G', num_channels=3, resolution=4, **dict(SMALL_G, **G_args))
        D = tflib.Network('D', D_FUNC, num_channels=3, resolution=4, **SMALL)
        misc.save_pkl((G, D, G.clone('Gs')), path)
    return path


def test_a_training_script_starts_and_resumes_from_a_snapshot(runs):
    first, second = runs
    assert (first / '_finished.txt').exists() and (first / 'metric-dummy.txt').exists()
    tags, has_graph = events(first)
    assert has_graph and 'G/G_synthesis/4x4/Conv/weight' in tags and 'Progress/kimg' in tags
    assert 'dataset_args.num_threads has no meaning here' in (first / 'log.txt').read_text()
    log = (second / 'log.txt').read_text()
    assert f'from {first / "network-final.pkl"}' in log and '0.032 of 0.048 kimg are done' in log
    assert 'tick 1     kimg 0.05' in log and 'time 1h 00m' in log
    assert len(misc.list_network_pkls(1)) == 2


def test_the_command_line_says_that_it_cannot_go_on_with_a_scripts_run(runs):
    with pytest.raises(dnnlib.UserError, match='started by a call of submit_run'):
        train.main(['--resume', str(runs[0])])


def test_the_settings_of_a_run_are_found_again(runs):
    settings = misc.parse_config_for_previous_run(0)
    assert settings['dataset']['tfrecord_dir'] == 'tiny' and settings['train']['mirror_augment']
    training_set, is_mirrored = misc.load_dataset_for_previous_run(0, shuffle_mb=0)
    assert training_set.shape == [3, 4, 4] and is_mirrored
    training_set.close()


def test_a_projector_finds_an_image(tmp_path, root):
    import find_latents
    network_pkl = save_snapshot(tmp_path, fmap_max=16, latent_size=64, dlatent_size=64, mapping_fmaps=64)
    with session():
        with open(network_pkl, 'rb') as file:
            Gs = pickle.load(file)[2]
        target = Gs.run(np.random.RandomState(3).randn(1, 64), None, randomize_noise=False)
    with session():
        images, losses = find_latents.project(network_pkl, target)
        names = {op.name.split('/')[0] for op in tf.get_default_graph().get_operations()}
    assert losses[-1] < losses[0] / 2
    assert np.mean(np.square(images - target)) < losses[0] / 2
    assert {'Gs', 'G_synthesis_1', 'dlatents_var', 'Train'} <= names


def test_a_loop_of_somebodys_own_trains(root, tmp_path, capsys):
    import own_loop
    with session():
        own_loop.training_loop(
            dnnlib.SubmitConfig(run_dir=str(tmp_path), num_gpus=1),
            G_args=dnnlib.EasyDict(SMALL_G), D_args=dnnlib.EasyDict(SMALL, func_name=D_FUNC), total_kimg=0.016,
            G_smoothing_kimg=0.01, G_loss_args=dict(func_name='training.loss.G_logistic_nonsaturating'),
            D_loss_args=dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0),
            dataset_args=dict(tfrecord_dir=str(root / 'datasets' / 'tiny'), resolution=4),
            sched_args=dict(lod_initial_resolution=4, minibatch_base=4))
    assert 'G_synthesis/4x4/Conv' in capsys.readouterr().out
    tags, has_graph = events(tmp_path)
    assert has_graph and {'Loss/D', 'Loss/scores/real', 'Progress/kimg', 'TrainG/learning_rate',
                          'G/G_mapping/Dense0/weight'} <= tags
    with session():
        G, _D, Gs = misc.load_pkl(str(tmp_path / 'network-final.pkl'))
        weights = [net.get_var('G_synthesis/4x4/Conv/weight') for net in (G, Gs)]
    assert np.isfinite(weights[0]).all() and not np.array_equal(*weights)


def test_networks_are_measured_by_a_script_and_a_metric_of_somebodys_own(runs, root, capsys):
    import measure_tiny
    with session():
        measure_tiny.main()
    lines = (runs[0] / 'metric-color16.txt').read_text().splitlines()
    assert len(lines) == 1 + len(misc.list_network_pkls(0))
    assert all('color16 ' in line and 'color16_uint8 1.0000' in line for line in lines)
    assert 'statistics of reals were kept' in capsys.readouterr().out
    run_dirs = sorted((root / 'results').iterdir())
    assert [submission.read_submit_config(str(run_dir))['run_id'] for run_dir in run_dirs] == [0, 1, 2, 3]
    assert all((run_dir / '_finished.txt').exists() for run_dir in run_dirs)


def test_a_group_of_metrics_takes_its_arguments_from_the_caller(root, tmp_path):
    from metrics import metric_base
    group = metric_base.MetricGroup([dict(name='color8', func_name='metric_color.Color', num_images=8,
                                          minibatch_per_gpu=8), metric_base.dummy])
    group.run(network_pkl=save_snapshot(tmp_path), run_dir=str(tmp_path), dataset_args=dict(tfrecord_dir='tiny'),
              mirror_augment=False, num_gpus=1)
    assert (tmp_path / 'metric-color8.txt').exists() and 'color8 ' in group.get_result_str()
    found = {result.suffix: result for result in group.metrics[0]._results}
    assert list(found) == ['', '_labels', '_uint8'] and found['_labels'].value == 0
    assert found[''].value == group.metrics[0].record['values']['color8'] and group.metrics[0]._eval_time > 0


def test_data_sets_of_somebodys_own_are_opened_by_what_they_take(root, tmp_path, monkeypatch):
    (tmp_path / 'my_data.py').write_text('''
from training.dataset import TFRecordDataset

class Small(TFRecordDataset):
    def __init__(self, tfrecord_dir, resolution=None):
        super().__init__(tfrecord_dir, resolution, None, 0, True, 0)

class Plain:
    shape, dtype, dynamic_range, label_size = [3, 4, 4], 'uint8', [0, 255], 0
''', encoding='utf-8')
    monkeypatch.syspath_prepend(str(tmp_path))
    options = dict(class_name='my_data.Small', data_dir=config.data_dir, tfrecord_dir='tiny')
    for data in (dataset.load_dataset(**dataset.in_file_order(options)), dataset.load_training_set(3, **options)):
        assert np.array_equal(data.get_minibatch_np(4)[0], data.get_samples_np(range(4))[0])
    assert dataset.load_dataset('my_data.Plain', verbose=True).label_size == 0
    with pytest.raises(dnnlib.UserError, match='my_data.Plain of the data set cannot say .* in a loop of your own'):
        dataset.load_training_set(3, class_name='my_data.Plain')
    sys.modules.pop('my_data')


def test_networks_of_somebodys_own_train_where_their_layout_runs(root, tmp_path):
    networks = dict(G_args=dict(func_name='my_networks.G_style'), D_args=dict(func_name='my_networks.D_basic'))
    config_dict = dnnlib.SubmitConfig(run_dir=str(tmp_path), num_gpus=1)

    def run():
        with session():
            training_loop(
                submit_config=config_dict, **networks, total_kimg=0.016, image_snapshot_ticks=0,
                G_loss_args=dict(func_name='training.loss.G_logistic_nonsaturating'),
                D_loss_args=dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0),
                dataset_args=dict(tfrecord_dir='tiny', resolution=4),
                sched_args=dict(lod_initial_resolution=4, minibatch_base=4))

    with session():
        can_run = runs_channels_first()
    if not can_run:
        with pytest.raises(dnnlib.UserError, match='data_format'):
            run()
        return
    run()
    with session():  # the file says whose function of this name is meant, and this process has called it
        assert misc.load_pkl(str(tmp_path / 'network-final.pkl'))[2].run(np.zeros([1, 8]), None).shape == (1, 3, 4, 4)


# ---- Networks of somebody's own


def own_config(folder, module):
    """A configuration of 16 images at 4x4 whose networks are a module's."""
    path = folder / 'own.yaml'
    path.write_text(f'''# Networks of somebody's own
extends: demo
desc: own
device: cpu
train: {{total_kimg: 0.016, G_smoothing_kimg: 0.01, image_snapshot_ticks: 0, minibatch_repeats: 1}}
G: {{func_name: {module}.G_style}}
D: {{func_name: {module}.D_basic}}
dataset: {{tfrecord_dir: tiny, resolution: 4}}
sched: {{lod_initial_resolution: 4, minibatch_base: 4, minibatch_dict: {{}}, tick_kimg_base: 0.016}}
metrics: []
''', encoding='utf-8')
    return str(path)


@pytest.fixture
def on_a_cpu(tmp_path, monkeypatch):
    """Name of the module of `my_networks` with the keyword that the sentence about CPUs asks for."""
    source = (PROGRAMS / 'my_networks.py').read_text(encoding='utf-8')
    for old, new in (
            ('def conv2d(x, fmaps, kernel):', 'def conv2d(x, fmaps, kernel, data_format):'),
            ("    x = tf.nn.conv2d(x, tf.cast(w, x.dtype), data_format='NCHW', strides=[1, 1, 1, 1], padding='SAME')\n",
             "    to, back = ([0, 2, 3, 1], [0, 3, 1, 2]) if data_format == 'NHWC' else ([0, 1, 2, 3],) * 2\n"
             "    x = tf.nn.conv2d(tf.transpose(x, to), w, data_format=data_format, strides=[1] * 4, padding='SAME')\n"
             "    x = tf.transpose(x, back)\n"),
            ('8, 3)', '8, 3, data_format)'), ('num_channels, 1)', 'num_channels, 1, data_format)'),
            ('resolution=4, **_kwargs)', "resolution=4, data_format='NCHW', **_kwargs)"),
            ('size=0, **_kwargs):\n    images_in', "size=0, data_format='NCHW', **_kwargs):\n    images_in")):
        assert old in source
        source = source.replace(old, new)
    (tmp_path / 'my_networks_anywhere.py').write_text(source, encoding='utf-8')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield 'my_networks_anywhere'
    sys.modules.pop('my_networks_anywhere', None)


@pytest.fixture
def nothing_allowed(monkeypatch):
    """What command lines allow in this test stays in it."""
    from dnnlib import registry
    from dnnlib.tflib import registry as build_functions
    monkeypatch.setattr(registry, '_allowed', [])
    monkeypatch.setattr(build_functions, '_made', set())


def test_networks_of_somebodys_own_in_a_configuration_need_a_layout_for_cpus(root, tmp_path, nothing_allowed):
    args = ['--config', own_config(tmp_path, 'my_networks'), '--result-dir', str(tmp_path / 'results')]
    with pytest.raises(dnnlib.UserError, match='allow it by --allow-module my_networks'):
        train.main(args)
    with session():
        can_run = runs_channels_first()
    if not can_run:
        with pytest.raises(dnnlib.UserError, match='give the build function my_networks.G_style a keyword data_format'):
            train.main(args + ['--allow-module', 'my_networks'])
        assert not (tmp_path / 'results').exists()


def test_networks_of_somebodys_own_train_by_a_configuration(root, tmp_path, on_a_cpu, nothing_allowed, monkeypatch):
    import generate
    from dnnlib.tflib import convert
    allowed = ['--allow-module', on_a_cpu]
    train.main(['--config', own_config(tmp_path, on_a_cpu), '--result-dir', str(tmp_path / 'results')] + allowed)
    run_dir = str(tmp_path / 'results' / '00000-own')
    stored = f'{run_dir}/network-final.pkl'
    assert [state.build_module for state in convert.read(stored)] == [on_a_cpu] * 3

    def images(path, name, *options):
        """The picture of a network that a new process would draw."""
        from dnnlib import registry
        from dnnlib.tflib import registry as build_functions
        monkeypatch.setattr(registry, '_allowed', [])
        monkeypatch.setattr(build_functions, '_made', set())
        generate.main(['--network', path, '--seeds', '1', '--outdir', str(tmp_path / name), '--device', 'cpu', '--psi',
                       '1', *options])
        return (tmp_path / name / 'seed0001.png').read_bytes()

    with pytest.raises(dnnlib.UserError, match=f"'G_style' of the module {on_a_cpu}, .* --allow-module {on_a_cpu}"):
        images(run_dir, 'refused')
    expected = images(run_dir, 'allowed', *allowed)
    assert images(run_dir, 'trusted', '--trust-stored-code') == expected

    # What other programs store does not say whose function it is, and ours of that name does not fit it.
    foreign = str(tmp_path / 'network-snapshot-000001.pkl')
    content = convert.read(stored)
    for state in [inner for outer in content for inner in outer.walk()]:
        state.build_module = state.project_version = None
    convert.write(content, foreign)
    with pytest.raises(dnnlib.UserError, match='do not fit its build function'):
        images(foreign, 'foreign')
    assert images(foreign, 'foreign', '--trust-stored-code') == expected


def test_a_script_grows_on_two_devices(root, tmp_path):
    networks = dict(SMALL, structure='linear')      # Progressive GAN's, which are built faster
    tflib.select_device('cpu', 2)
    options = {'device_count.CPU': 2, 'graph_options.rewrite_options.disable_meta_optimizer': True}
    with tf.Graph().as_default(), tflib.create_session(options).as_default():
        training_loop(
            submit_config=dnnlib.SubmitConfig(run_dir=str(tmp_path), num_gpus=2), total_kimg=0.064,
            image_snapshot_ticks=0, G_smoothing_kimg=0.01, minibatch_repeats=1,
            G_args=dict(networks, func_name='training.networks_progan.G_paper', latent_size=4),
            D_args=dict(networks, func_name='training.networks_progan.D_paper'),
            G_loss_args=dict(func_name='training.loss.G_logistic_nonsaturating'),
            D_loss_args=dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0),
            dataset_args=dict(tfrecord_dir='tiny', resolution=8),
            sched_args=dict(lod_initial_resolution=4, lod_training_kimg=0.016, lod_transition_kimg=0.016,
                            minibatch_base=8, minibatch_dict={4: 8, 8: 8}, tick_kimg_base=0.008, tick_kimg_dict={}))
        names = {op.name.split('/')[0] for op in tf.get_default_graph().get_operations()}
    lods = [json.loads(line)['lod'] for line in (tmp_path / 'stats.jsonl').read_text().splitlines()]
    assert lods[0] == 1 and lods[-1] == 0 and any(0 < lod < 1 for lod in lods)
    assert {'G_shadow', 'D_shadow'} <= names
