"""Functions that programs written for the original call, and which this project itself does not need."""

import ctypes
import inspect
import io
import os
import pickle
import types

import numpy as np
import pytest

from data.records.dataset import parse_tfrecord_np, parse_tfrecord_tf
from data.records.tfrecord import Encoder
from dnnlib import UserError, tflib, util
from dnnlib.tflib import network, tf
from dnnlib.tflib.safe_pickle import load_network_pickle
from metrics import linear_separability, perceptual_path_length
from training import loss, misc, training_loop

pytestmark = pytest.mark.both


# ---- dnnlib.util


def test_questions_are_asked_until_they_are_answered(monkeypatch, capsys):
    answers = iter(['', 'perhaps', 'Y', 'off'])
    monkeypatch.setattr('builtins.input', lambda question: next(answers))
    assert util.ask_yes_no('Continue?') is True and util.ask_yes_no('Continue?') is False


def test_folders_are_listed_and_copied_without_what_is_ignored(tmp_path):
    for name in ('a.py', 'b.sln', 'pkg/c.py', 'pkg/__pycache__/c.pyc', 'results/d.py'):
        (tmp_path / 'src' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'src' / name).write_text(name)
    files = util.list_dir_recursively_with_ignore(str(tmp_path / 'src'), ['__pycache__', '*.sln', 'results'],
                                                  add_base_to_relative=True)
    assert sorted(relative for _, relative in files) == ['src/a.py', 'src/pkg/c.py']
    util.copy_files_and_create_dirs([(path, str(tmp_path / 'run' / relative)) for path, relative in files])
    assert (tmp_path / 'run' / 'src' / 'pkg' / 'c.py').read_text() == 'pkg/c.py'
    with pytest.raises(UserError):
        util.list_dir_recursively_with_ignore(str(tmp_path / 'nothing'))


def test_types_are_found_by_name():
    for given in ('float32', np.float32, np.dtype('float32')):
        assert util.get_dtype_and_ctype(given) == (np.dtype('float32'), ctypes.c_float)
    with pytest.raises(RuntimeError):
        util.get_dtype_and_ctype(3)


def test_small_helpers():
    assert util.tuple_product((2, 3, 4)) == 24 and util.tuple_product(()) == 1
    assert util.is_pickleable([1]) and not util.is_pickleable(lambda: 1)
    assert util.get_module_dir_by_obj_name('training.misc.save_image') == os.path.dirname(misc.__file__)


def test_names_may_begin_with_the_usual_short_ones():
    assert util.get_obj_by_name('np.random.RandomState') is np.random.RandomState
    assert util.get_obj_by_name('tf.train.AdamOptimizer') is tf.train.AdamOptimizer
    assert util.call_func_by_name(2, func_name='np.sqrt') == np.sqrt(2)


# Parameters that programs give by position, in the original's order.
PARAMETERS = {
    'dnnlib.util.Logger': 'file_name file_mode should_flush',
    'dnnlib.util.list_dir_recursively_with_ignore': 'dir_path ignores add_base_to_relative',
    'dnnlib.RunContext': 'submit_config config_module max_epoch',
    'dnnlib.RunContext.update': 'self loss cur_epoch max_epoch',
    'dnnlib.tflib.create_session': 'config_dict force_as_default',
    'dnnlib.tflib.convert_images_from_uint8': 'images drange nhwc_to_nchw',
    'dnnlib.tflib.convert_images_to_uint8': 'images drange nchw_to_nhwc shrink',
    'dnnlib.tflib.Network.setup_as_moving_average_of': 'self src_net beta beta_nontrainable',
    'dnnlib.tflib.Optimizer': 'name tf_optimizer learning_rate use_loss_scaling loss_scaling_init loss_scaling_inc '
                              'loss_scaling_dec',
    'training.dataset.TFRecordDataset': 'tfrecord_dir resolution label_file max_label_size repeat shuffle_mb '
                                        'prefetch_mb buffer_mb num_threads',
    'training.dataset.SyntheticDataset': 'resolution num_channels dtype dynamic_range label_size label_dtype',
    'training.dataset.load_dataset': 'class_name data_dir verbose',
    'training.misc.save_image': 'image filename drange quality',
    'training.misc.save_image_grid': 'images filename drange grid_size',
    'training.misc.setup_snapshot_image_grid': 'G training_set size layout',
    'training.training_loop.process_reals': 'x lod mirror_augment drange_data drange_net',
    'training.training_loop.training_schedule': (
        'cur_nimg training_set num_gpus lod_initial_resolution lod_training_kimg lod_transition_kimg minibatch_base '
        'minibatch_dict max_minibatch_per_gpu G_lrate_base G_lrate_dict D_lrate_base D_lrate_dict lrate_rampup_kimg '
        'tick_kimg_base tick_kimg_dict'),
    'training.loss.D_wgan_gp': 'G D opt training_set minibatch_size reals labels wgan_lambda wgan_epsilon wgan_target',
    'training.loss.D_logistic_simplegp': 'G D opt training_set minibatch_size reals labels r1_gamma r2_gamma',
    'metrics.metric_base.MetricBase.run': 'self network_pkl run_dir dataset_args mirror_augment num_gpus tf_config '
                                          'log_results',
    'metrics.frechet_inception_distance.FID.__init__': 'self num_images minibatch_per_gpu',
    'metrics.perceptual_path_length.PPL.__init__': 'self num_samples epsilon space sampling minibatch_per_gpu',
    'metrics.linear_separability.LS.__init__': 'self num_samples num_keep attrib_indices minibatch_per_gpu',
}


@pytest.mark.parametrize('name', sorted(PARAMETERS))
def test_parameters_come_in_the_originals_order(name):
    found = list(inspect.signature(util.get_obj_by_name(name)).parameters)
    assert found[:len(PARAMETERS[name].split())] == PARAMETERS[name].split()


# ---- dnnlib.tflib


def test_names_for_annotations_and_for_set_vars(fresh_graph):
    assert tf.Tensor in tflib.TfExpression.__args__ and int in tflib.TfExpressionEx.__args__
    var = tf.get_variable('v', shape=[])
    tflib.set_vars(var_to_value_dict={var: 3})
    assert tflib.run(var) == 3


@pytest.fixture
def import_handlers(monkeypatch):
    monkeypatch.setattr(network, '_import_handlers', [])


def test_import_handlers_may_rename_but_not_smuggle_code(fresh_graph, import_handlers, tmp_path):
    kwargs = dict(num_channels=1, resolution=8, fmap_base=8, fmap_max=4)
    net = tflib.Network('D', 'training.networks_stylegan.D_basic', **kwargs)
    state = dict(net.__getstate__(), build_func_name='D_of_mine', build_module_src='raise SystemExit')

    class Stored:
        def __reduce__(self):
            return object.__new__, (tflib.Network,), state

    data = pickle.dumps((Stored(),) * 3)
    with pytest.raises(UserError, match='D_of_mine'):
        pickle.loads(data)

    @tflib.network.import_handler
    def rename(state):
        return dict(state, build_func_name=state['build_func_name'].replace('D_of_mine', 'D_basic'))

    assert pickle.loads(data)[1].get_var('4x4/Dense1/weight').shape == (4, 1)

    @tflib.network.import_handler
    def smuggle(state):
        return dict(state, build_func_name='f', build_module_src=f'open({str(tmp_path / "touched")!r}, "w")')

    with pytest.raises(UserError, match="'f'"):
        load_network_pickle(io.BytesIO(pickle.dumps((net, net, net))))[0].print_layers()
    assert not (tmp_path / 'touched').exists()


# ---- Data


def test_single_records_are_parsed(fresh_graph):
    image = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(1, 3, 4, 4)
    record = Encoder([3, 4, 4], 'uint8').encode(image).tobytes()[12:-4]  # less the frame: length and checksums
    assert np.array_equal(parse_tfrecord_np(record), image[0])
    assert np.array_equal(tflib.run(parse_tfrecord_tf(tf.constant(record))), image[0])
    with pytest.raises(UserError, match='the record'):
        parse_tfrecord_np(b'nonsense')


def test_reals_are_processed_without_knowing_their_shape(fresh_graph):
    reals = np.random.RandomState(0).randint(256, size=[2, 3, 4, 4]).astype(np.uint8)
    lod = tf.placeholder(tf.float32, [])
    shown = training_loop.process_reals(tf.constant(reals), lod, False, [0, 255], [-1, 1])
    expected = reals / 127.5 - 1
    np.testing.assert_allclose(tflib.run(shown, {lod: 0.0}), expected, atol=1e-6)
    assert tflib.run(shown, {lod: 1.0}).shape == (2, 3, 8, 8)


def test_values_become_float32(fresh_graph):
    half, number = tf.constant(1, tf.float16), tf.constant(2)
    assert loss.fp32(half).dtype == tf.float32
    for values in (loss.fp32((half, number)), loss.fp32(half, number)):
        assert [value.dtype for value in values] == [tf.float32, tf.float32]


# ---- Runs


CONFIG_OF_THE_ORIGINAL = """{   'D': {'func_name': 'training.networks_stylegan.D_basic'},
    'SubmitTarget': <enum 'SubmitTarget'>,
    'dataset': {'tfrecord_dir': 'ffhq', 'resolution': 256},
    'desc': 'sgan-ffhq-1gpu',
    'tf_config': {'rnd.np_random_seed': 1000},
    'train': {'run_func_name': 'training.training_loop.training_loop', 'mirror_augment': True}}
"""


def test_settings_of_a_run_of_the_original_are_read_as_data(tmp_path, monkeypatch):
    run_dir = tmp_path / '00003-sgan'
    run_dir.mkdir()
    (run_dir / 'config.txt').write_text(CONFIG_OF_THE_ORIGINAL)
    monkeypatch.setattr('config.result_dir', str(tmp_path))
    settings = misc.parse_config_for_previous_run(3)
    assert settings['dataset'] == dict(tfrecord_dir='ffhq', resolution=256) and settings['train']['mirror_augment']
    assert settings['sched'] == {}
    (run_dir / 'config.txt').write_text("    'dataset': {'max_labels': 'all', 'file_pattern': 'x/y-r??.tfrecords', "
                                        "'mirror_augment': 1, 'max_images': None},\n")
    settings = misc.parse_config_for_previous_run(3)
    assert settings['dataset'] == dict(max_label_size='full', tfrecord_dir='x/y')
    assert settings['train'] == dict(mirror_augment=1)
    (run_dir / 'config.txt').write_text("    'dataset': {'a': open('x', 'w')},\n")
    with pytest.raises(UserError, match='does not say'):
        misc.parse_config_for_previous_run(3)


def test_pickles_have_short_names():
    for path in ('results/00001-x/network-final.pkl', r'results\00001-x\network-final.pkl'):
        assert misc.get_id_string_for_network_pkl(path) == '00001-x-network-final'


# ---- Metrics


def test_measures_of_tables():
    p = [[4, 0], [2, 2]]
    assert linear_separability.prob_normalize(p).sum() == 1
    assert linear_separability.entropy(p) == pytest.approx(1.5)
    assert linear_separability.conditional_entropy(p) == pytest.approx(0.5)  # a row of one column, one of two
    marginal = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    assert linear_separability.mutual_information(p) == pytest.approx(marginal - 0.5)
    assert len(linear_separability.classifier_urls) == 40
    assert linear_separability.classifier_urls[1].endswith('celebahq-classifier-01-smiling.pkl')


def test_paths_of_tensors_are_those_of_arrays(fresh_graph):
    a, b = np.random.RandomState(0).randn(2, 5, 8)
    arrays = perceptual_path_length.slerp(a, b, 0.25)
    tensors = perceptual_path_length.slerp(tf.constant(a), tf.constant(b), 0.25)
    np.testing.assert_allclose(tflib.run(tensors), arrays, rtol=1e-6)
    np.testing.assert_allclose(tflib.run(perceptual_path_length.normalize(tf.constant(a))),
                               perceptual_path_length.normalize(a))


def test_modules_of_the_library_are_attributes_of_it():
    for name in ('autosummary', 'network', 'optimizer', 'tfutil'):
        assert isinstance(getattr(tflib, name), types.ModuleType)


@pytest.mark.both
def test_layers_take_activations_as_the_original_does_and_refuse_what_is_no_layout(fresh_graph):
    from training import networks_stylegan
    from training.layers import network_layers
    values = np.random.RandomState(0).randn(2, 3, 5, 4).astype(np.float32)
    x, rows = tf.constant(values), tf.constant(values[:, :, 0, 0])
    scale = np.sqrt(np.mean(np.square(values), axis=1, keepdims=True) + 1e-8)
    found = tflib.run([networks_stylegan.pixel_norm(x), networks_stylegan.pixel_norm(rows),
                       networks_stylegan.pixel_norm(tf.transpose(x, [0, 2, 3, 1]), 'NHWC')])
    np.testing.assert_allclose(found[0], values / scale, rtol=1e-5)
    np.testing.assert_allclose(found[2], np.transpose(values / scale, [0, 2, 3, 1]), rtol=1e-5)
    np.testing.assert_allclose(np.mean(np.square(found[1]), axis=1), 1, rtol=1e-5)
    for name, inputs in (('image', x), ('row', rows)):
        with tf.variable_scope(name):
            networks_stylegan.apply_bias(inputs, lrmul=0.01)
    assert [variable.shape.as_list() for variable in tf.global_variables()] == [[3], [3]]
    for misread in (lambda: networks_stylegan.pixel_norm(x, 1e-6), lambda: networks_stylegan.pixel_norm(rows, 1e-6),
                    lambda: networks_stylegan.instance_norm(x, 1e-8), lambda: network_layers.upscale2d(x, 2),
                    lambda: network_layers.downscale2d(x, 2)):
        with pytest.raises(ValueError, match="'NCHW' or 'NHWC' is expected"):
            misread()
