"""Sessions, variables, image conversions, networks as values, the optimizer and summaries."""

import importlib
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from dnnlib import tflib
from dnnlib.tflib import autosummary, device, engine, pickle_writer, rnd, tf
from dnnlib.util import UserError
from training.layers.network_layers import fold_seed, random_normal

pytestmark = pytest.mark.both

SMALL = dict(num_channels=3, resolution=8, fmap_base=32, fmap_max=8, latent_size=8, dlatent_size=8, mapping_fmaps=8,
             mapping_layers=2)


def make_generator(name='G', **kwargs):
    return tflib.Network(name, 'training.networks_stylegan.G_style', **dict(SMALL, **kwargs))


def latents(num=4):
    return np.random.RandomState(0).randn(num, 8).astype(np.float32)


def test_building_looks_for_no_deprecated_arguments(fresh_graph, monkeypatch):
    deprecation = importlib.import_module('tensorflow.python.util.deprecation')
    looked = []
    monkeypatch.setattr(deprecation.tf_inspect, 'getcallargs', lambda *args, **kwargs: looked.append(args) or {})
    tf.reduce_sum(tf.ones([2]), axis=0)
    assert not looked
    monkeypatch.setattr(deprecation, '_PRINT_DEPRECATION_WARNINGS', True)   # as it would be otherwise
    tf.reduce_sum(tf.ones([2]), axis=0)
    assert looked


# ---- Variables and images


def test_set_vars_adds_nothing_to_the_graph(fresh_graph):
    var = tf.get_variable('v', shape=[2, 3])
    num_ops = len(tf.get_default_graph().get_operations())
    tflib.set_vars({var: np.arange(6).reshape(2, 3)})
    assert tflib.run(var).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert len(tf.get_default_graph().get_operations()) == num_ops


def test_values_set_beside_the_program_are_there_for_whatever_runs_next(fresh_graph):
    var = tf.get_variable('v', shape=[1000, 300])
    doubled, value = var * 2, np.random.RandomState(0).randn(1000, 300).astype(np.float32)
    for read in (lambda: tflib.run(doubled), doubled.eval, fresh_graph.make_callable(doubled)):
        value = value + 1
        tflib.set_vars({var: value}, beside=True)
        tf.ones([])     # the graph may grow meanwhile
        assert np.array_equal(read(), value * 2)


def test_what_fails_beside_the_program_is_raised_by_what_runs_next(fresh_graph):
    number = tf.placeholder(tf.float32, [])
    fresh_graph.run_beside([tf.check_numerics(number, 'no number').op], {number: np.float32(np.nan)})
    with pytest.raises(tf.errors.InvalidArgumentError, match='no number'):
        tflib.run(tf.ones([]))
    assert tflib.run(tf.ones([])) == 1


def test_init_uninitialized_vars_keeps_values_that_are_there(fresh_graph):
    known, new = tf.get_variable('known', shape=[]), tf.get_variable('new', initializer=2.0)
    tflib.set_vars({known: 7})
    tflib.init_uninitialized_vars()
    assert tflib.get_vars([known, new]) == [7, 2]


def test_init_uninitialized_vars_keeps_values_that_others_gave(fresh_graph):
    var = tf.get_variable('v', shape=[])
    tf.get_default_session().run(tf.assign(var, 7.0))
    tflib.init_uninitialized_vars()
    assert tflib.run(var) == 7


def test_large_initial_value_stays_out_of_the_graph(fresh_graph):
    value = np.random.RandomState(0).randn(1000, 300).astype(np.float32)
    var = tflib.create_var_with_large_initial_value(value, trainable=False)
    assert np.array_equal(tflib.run(var), value)
    assert tf.get_default_graph().as_graph_def().ByteSize() < 10000


def test_a_graph_without_variables_has_nothing_to_initialize(fresh_graph):
    tflib.init_uninitialized_vars()
    tflib.set_vars({})
    assert tf.get_default_graph().get_operations() == []


def test_image_conversions_map_the_whole_range(fresh_graph):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    floats = tflib.convert_images_from_uint8(tf.constant(pixels))
    assert tflib.run(floats).min() == -1 and tflib.run(floats).max() == 1
    assert np.array_equal(tflib.run(tflib.convert_images_to_uint8(floats)), pixels)
    beyond = tf.constant([[[[-3.0, 5.0]]]])
    assert tflib.run(tflib.convert_images_to_uint8(beyond)).ravel().tolist() == [0, 255]
    shrunk = tflib.run(tflib.convert_images_to_uint8(floats, shrink=2, nchw_to_nhwc=True))
    assert shrunk.shape == (1, 8, 8, 1)
    assert shrunk[0, 0, 0, 0] in (8, 9)  # the mean of 0, 1, 16, 17 is 8.5 up to rounding


# ---- Networks


def test_run_in_minibatches_equals_one_run(fresh_graph):
    G = make_generator()
    whole = G.run(latents(5), None, randomize_noise=False)
    parts = G.run(latents(5), None, randomize_noise=False, minibatch_size=2)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert G.run(latents(0), None).shape == (0, 3, 8, 8)


def test_run_on_two_devices_equals_one(fresh_graph):
    G = make_generator()

    one = G.run(latents(5), None, randomize_noise=False)
    two = G.run(latents(5), None, randomize_noise=False, num_gpus=2, minibatch_size=3)
    np.testing.assert_allclose(two, one, atol=1e-5)


def test_run_output_transform_and_its_older_form(fresh_graph):
    G = make_generator()
    new = G.run(latents(), None, randomize_noise=False, output_transform=dict(func=tflib.convert_images_to_uint8))
    old = G.run(latents(), None, randomize_noise=False, out_mul=127.5, out_add=127.5, out_dtype=np.uint8)
    assert new.dtype == old.dtype == np.uint8
    assert np.abs(new.astype(int) - old).max() <= 1


def test_clone_builds_no_template_until_it_is_listed(fresh_graph, capsys):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', num_channels=1, resolution=8, fmap_max=4,
                      latent_size=4, dlatent_size=4, mapping_fmaps=4, mapping_layers=1)
    copy = G.clone()
    assert not [op for op in tf.get_default_graph().get_operations()
                if op.type == 'Conv2D' and op.name.startswith(copy.scope)]
    assert copy.output_shape == G.output_shape and list(copy.trainables) == list(G.trainables)
    tables = []
    for network in (G, copy):
        network.print_layers('network')
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] and '8x8/Conv1' in tables[0]
    assert {layer: output.name.split('/')[0] for layer, output, _ in copy.list_layers()}['images_out'] == copy.scope
    copy.reset_vars()
    assert not np.array_equal(copy.get_var('G_synthesis/4x4/Conv/weight'), G.get_var('G_synthesis/4x4/Conv/weight'))


def test_clone_has_equal_values_and_variables_of_its_own(fresh_graph):
    G = make_generator()
    copy = G.clone('Gs')
    images = G.run(latents(), None, randomize_noise=False)
    assert np.array_equal(copy.run(latents(), None, randomize_noise=False), images)
    assert list(copy.vars) == list(G.vars)
    copy.reset_vars()
    assert np.array_equal(G.run(latents(), None, randomize_noise=False), images)


def test_moving_average_follows_trainables_and_copies_the_rest(fresh_graph):
    G = make_generator()
    Gs = G.clone('Gs')
    tflib.set_vars({G.find_var('lod'): 2, G.find_var('G_mapping/Dense0/bias'): np.ones(8)})
    tflib.run(Gs.setup_as_moving_average_of(G, beta=0.75))
    assert Gs.get_var('lod') == 2
    np.testing.assert_allclose(Gs.get_var('G_mapping/Dense0/bias'), 0.25)


@pytest.mark.parametrize('dump', [pickle.dumps, None], ids=['pickle', 'portable writer'])
def test_pickle_round_trip(fresh_graph, dump):
    G = make_generator()
    if dump is None:
        stream = io.BytesIO()
        pickle_writer.dump((G, G), stream)
        data = stream.getvalue()
        assert b'numpy._core' not in data and data[:2] == b'\x80\x04'
        again, same = pickle.loads(data)
        assert again is same
    else:
        again = pickle.loads(dump(G))
    assert again.static_kwargs == G.static_kwargs
    assert np.array_equal(again.run(latents(), None, randomize_noise=False),
                          G.run(latents(), None, randomize_noise=False))


def test_stored_source_is_complete_and_names_no_other_module_of_ours(fresh_graph):
    source = make_generator().__getstate__()['build_module_src']
    assert 'def upscale2d_conv2d' in source and 'def G_style' in source
    assert 'from training' not in source and 'import training' not in source
    compile(source, 'stored', 'exec')


@pytest.mark.parametrize('change, words', [
    (dict(build_func_name='G_unheard_of'), 'G_unheard_of'),
    (dict(version=7), 'version 7'),
    (dict(variables=[('lod', np.float32(0))]), 'not in the file: dlatent_avg'),
    (dict(variables=[('lod', np.zeros([3], np.float32)), ('dlatent_avg', np.zeros(8, np.float32))]), 'other shapes'),
])
def test_states_that_do_not_fit_are_refused_with_a_sentence(fresh_graph, change, words):
    state = dict(make_generator().__getstate__(), **change)
    with pytest.raises(UserError, match=words):
        tflib.Network.from_state(state)


G_LAYERS = """
    latents_in labels_in lod dlatent_avg
    G_mapping/latents_in G_mapping/labels_in G_mapping/PixelNorm G_mapping/Dense0 G_mapping/Dense1 G_mapping/Broadcast
    G_mapping/dlatents_out Truncation
    G_synthesis/dlatents_in G_synthesis/4x4/Const G_synthesis/4x4/Conv G_synthesis/ToRGB_lod1 G_synthesis/8x8/Conv0_up
    G_synthesis/8x8/Conv1 G_synthesis/ToRGB_lod0 G_synthesis/Upscale2D G_synthesis/Grow_lod0 G_synthesis/images_out
    G_synthesis/lod G_synthesis/noise0 G_synthesis/noise1 G_synthesis/noise2 G_synthesis/noise3 images_out"""
D_LAYERS = """
    images_in labels_in lod FromRGB_lod0 Downscale2D 8x8/Conv0 8x8/Conv1_down FromRGB_lod1 Grow_lod0
    4x4/MinibatchStddev 4x4/Conv 4x4/Dense0 4x4/Dense1 scores_out"""


@pytest.mark.parametrize('func, expected', [('G_style', G_LAYERS), ('D_basic', D_LAYERS)])
def test_layers_are_those_of_the_original_and_account_for_every_parameter(fresh_graph, capsys, func, expected):
    net = tflib.Network('N', 'training.networks_stylegan.' + func, **SMALL)
    for listed in (net, net.clone()):
        layers = listed.list_layers()
        assert [name for name, _, _ in layers] == expected.split()
        assert sum(len(variables) for _, _, variables in layers) == len(net.trainables)
    net.print_layers()
    total = sum(int(np.prod(var.shape.as_list())) for var in net.trainables.values())
    assert str(total) in capsys.readouterr().out.splitlines()[-2]


def test_listed_tensors_have_the_published_layout_and_can_be_run(fresh_graph):
    G = make_generator()
    layers = {name: output for name, output, _ in G.list_layers()}
    assert {name: layers[name].shape.as_list() for name in ('G_synthesis/noise2', 'G_mapping/Broadcast')} \
        == {'G_synthesis/noise2': [1, 1, 8, 8], 'G_mapping/Broadcast': [None, 4, 8]}
    fetches = [layers['G_synthesis/' + name] for name in ('8x8/Conv1', 'Grow_lod0', 'images_out')]
    features, rgb, images = tflib.run(fetches, dict(zip(G.input_templates, [latents(), np.zeros([4, 0])])))
    assert features.shape == (4, 8, 8, 8)
    assert np.array_equal(rgb, images)
    num_ops = len(tf.get_default_graph().get_operations())
    G.list_layers()
    assert len(tf.get_default_graph().get_operations()) == num_ops


def test_operations_are_named_as_in_the_original(fresh_graph):
    G = make_generator()
    copy = G.clone()
    assert copy.scope == 'G_1' and copy.components.synthesis.scope == 'G_synthesis_1'
    images = copy.run(latents(), None, randomize_noise=False)
    graph = tf.get_default_graph()
    names = ['G_1/_Run/concat/concat:0', 'G_1/_Run/G/images_out:0', 'G_1/_Run/G/G_synthesis/images_out:0']
    assert all(np.array_equal(tflib.run(graph.get_tensor_by_name(name), {'G_1/_Run/latents_in:0': latents(),
                                                                         'G_1/_Run/labels_in:0': np.zeros([4, 0])}),
                              images) for name in names)
    assert not [op.name for op in G.list_ops() if not op.name.startswith('G/') or '/_' in op.name]


# ---- Optimizer


def make_optimizer(**kwargs):
    """(optimizer, update, variable, placeholder of the gradient)."""
    var = tf.get_variable('weights', initializer=np.zeros(3, np.float32))
    grad = tf.placeholder(tf.float32, [3])
    opt = tflib.Optimizer('Test', learning_rate=0.1, beta1=0.0, beta2=0.99, epsilon=1e-8, **kwargs)
    opt.register_gradients(tf.reduce_sum(var * grad), [var])
    update = opt.apply_updates()
    tflib.init_uninitialized_vars()
    autosummary.finalize_autosummaries()
    return opt, update, var, grad


def test_adam_step_equals_formula(fresh_graph):
    _, update, var, grad = make_optimizer()
    tflib.run(update, {grad: [1, -2, 0]})
    np.testing.assert_allclose(tflib.run(var), [-0.1, 0.1, 0], rtol=1e-4)


@pytest.mark.parametrize('tf_optimizer, use_loss_scaling', [
    ('tf.train.AdamOptimizer', False), ('tf.train.MomentumOptimizer', True)])
def test_an_optimizer_needs_no_initialization_by_its_user(fresh_graph, tf_optimizer, use_loss_scaling):
    var = tf.Variable(np.float32(3))
    tflib.init_uninitialized_vars([var])
    kwargs = dict(momentum=0.5) if 'Momentum' in tf_optimizer else {}
    opt = tflib.Optimizer('Test', tf_optimizer, learning_rate=0.1, use_loss_scaling=use_loss_scaling,
                          loss_scaling_init=2.0, **kwargs)
    opt.register_gradients(tf.square(var), [var])
    update = opt.apply_updates()
    tflib.run(update)
    assert tflib.run(var) == pytest.approx(2.4 if kwargs else 2.9, abs=1e-5)  # 3 less 0.1 times the gradient, or Adam
    assert autosummary.flush_autosummaries()['Test/learning_rate'] == pytest.approx(0.1)
    assert not use_loss_scaling or tflib.run(opt.get_loss_scaling_var()) == pytest.approx(2.0005)


@pytest.mark.parametrize('after', [False, True])
def test_adam_adds_epsilon_before_or_after_the_correction(fresh_graph, after):
    opt = tflib.Optimizer('Test', learning_rate=0.1, beta1=0.9, beta2=0.99, epsilon=0.5, epsilon_after_correction=after)
    var = tf.get_variable('weight', initializer=np.float32(0))
    opt.register_gradients(3 * var, [var])
    update = opt.apply_updates()
    tflib.init_uninitialized_vars()
    autosummary.finalize_autosummaries()
    expected = 0.0
    for step in (1, 2):
        tflib.run(update)
        correction = np.sqrt(1 - 0.99 ** step)
        root = 3 * correction  # of the second moment
        denominator = root / correction + 0.5 if after else (root + 0.5) / correction
        expected -= 0.1 * 3 / denominator
        assert tflib.run(var) == pytest.approx(expected, rel=1e-5)


def test_epsilon_after_the_correction_is_an_option_of_adam_only(fresh_graph):
    with pytest.raises(UserError, match='epsilon_after_correction is an option of tf.train.AdamOptimizer'):
        tflib.Optimizer('Test', tf_optimizer='tf.train.RMSPropOptimizer', epsilon_after_correction=True)


def test_update_with_nan_changes_nothing_and_is_counted(fresh_graph):
    opt, update, var, grad = make_optimizer()
    tflib.run(update, {grad: [1, 1, 1]})
    keys = [key for key in opt.state_vars() if not key.startswith('skipped')]
    before = tflib.get_vars([var] + [opt.state_vars()[key] for key in keys])
    for bad in (np.nan, np.inf):
        tflib.run(update, {grad: [1, bad, 1]})
    after = tflib.get_vars([var] + [opt.state_vars()[key] for key in keys])
    assert all(np.array_equal(a, b) for a, b in zip(before, after))
    assert tflib.get_vars([opt.skipped_updates_var, opt.skipped_in_row_var]) == [2, 2]
    tflib.run(update, {grad: [1, 1, 1]})
    assert tflib.get_vars([opt.skipped_updates_var, opt.skipped_in_row_var]) == [2, 0]


def test_reset_clears_moments(fresh_graph):
    opt, update, var, grad = make_optimizer()
    tflib.run(update, {grad: [1, 2, 3]})
    opt.reset_optimizer_state()
    state = opt.state_vars()
    assert not any(tflib.run(state[key]).any() for key in state if key.startswith(('m/', 'v/')))


def test_loss_scaling_adapts_and_leaves_the_step_alone(fresh_graph):
    opt, update, var, grad = make_optimizer(use_loss_scaling=True, loss_scaling_init=8.0)
    tflib.run(update, {grad: [1, -2, 0]})
    np.testing.assert_allclose(tflib.run(var), [-0.1, 0.1, 0], rtol=1e-4)
    assert tflib.run(opt.get_loss_scaling_var()) == pytest.approx(8.0005)
    tflib.run(update, {grad: [np.inf, 0, 0]})
    assert tflib.run(opt.get_loss_scaling_var()) == pytest.approx(7.0005)


def test_gradients_of_two_towers_are_averaged_and_applied_to_both(fresh_graph):
    opt = tflib.Optimizer('Test', tf_optimizer='tf.train.GradientDescentOptimizer', learning_rate=1.0)
    variables = []
    for index, factor in enumerate([1.0, 3.0]):
        with tf.device(tflib.device_name(index)):
            variables.append(tf.get_variable(f'tower{index}', initializer=np.zeros(2, np.float32)))
            opt.register_gradients(tf.reduce_sum(variables[-1]) * factor, [variables[-1]])
    update = opt.apply_updates()
    tflib.init_uninitialized_vars()
    autosummary.finalize_autosummaries()
    tflib.run(update)
    assert [value.tolist() for value in tflib.get_vars(variables)] == [[-2, -2], [-2, -2]]


# ---- Random numbers and summaries


def test_seeded_draws_depend_on_seed_step_and_place_only(fresh_graph):
    seed = tf.placeholder(tf.int32, [2])
    with rnd.seed_scope(seed):
        first, second = rnd.random_normal([100]), rnd.random_normal([100])
    a, b = tflib.run([first, second], {seed: [1, 2]})
    again, _ = tflib.run([first, second], {seed: [1, 2]})
    later, _ = tflib.run([first, second], {seed: [1, 3]})
    assert np.array_equal(a, again)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.5 and abs(np.corrcoef(a, later)[0, 1]) < 0.5
    assert rnd.next_seed() is None


def test_autosummary_reports_means_of_finite_values_once(fresh_graph):
    value = tf.placeholder(tf.float32, [3])
    passed = autosummary.autosummary('Group/tensor', value)
    autosummary.finalize_autosummaries()
    tflib.run(passed, {value: [1, 2, np.nan]})
    tflib.run(passed, {value: [3, np.inf, 6]})
    autosummary.autosummary('Group/number', 5)
    autosummary.autosummary('Group/number', 7)
    means = autosummary.flush_autosummaries()
    assert means == {'Group/tensor': 3.0, 'Group/number': 6.0}
    assert autosummary.flush_autosummaries() == {}


def test_a_summary_needs_no_initialization_by_its_user(fresh_graph):
    early, late, unused = [autosummary.autosummary(name, tf.constant(value))
                           for name, value in (('Early', 2.0), ('Late', 3.0), ('Unused', 4.0))]
    assert tflib.run(early) == 2
    autosummary.finalize_autosummaries()  # keeps what was gathered before
    assert tflib.run([early, late]) == [2, 3]
    assert autosummary.flush_autosummaries() == {'Early': 2, 'Late': 3}
    assert tflib.run(unused) == 4
    assert autosummary.flush_autosummaries() == {'Unused': 4}


def test_summaries_bring_margins_of_one_standard_deviation(fresh_graph):
    class Writer:
        def add_summary(self, summary, step):
            self.values = {value.tag: value.simple_value for value in summary.value}

    value = tf.placeholder(tf.float32, [2])
    passed = autosummary.autosummary('Group/tensor', value)
    autosummary.finalize_autosummaries()
    tflib.run(passed, {value: [1, np.nan]})
    tflib.run(passed, {value: [3, np.inf]})
    autosummary.autosummary('Group/one', 5)
    autosummary.autosummary('Group/two', [5, 9])
    writer = Writer()
    assert autosummary.save_summaries(writer, 1) == {'Group/tensor': 2, 'Group/one': 5, 'Group/two': 7}
    assert writer.values == {
        'Group/tensor': 2, 'Margins/lower/Group/tensor': 1, 'Margins/upper/Group/tensor': 3, 'Group/one': 5,
        'Group/two': 7, 'Margins/lower/Group/two': 5, 'Margins/upper/Group/two': 9}


def test_seeds_of_draws_on_a_gpu_stay_on_the_host(fresh_graph, monkeypatch):
    """Where the draws take them: made on a GPU, each would wait for what is under way there."""
    monkeypatch.setitem(device._selected, 'kind', 'gpu')
    with rnd.seed_scope(tf.constant([1, 2])), tf.device('/gpu:0'):
        seed = rnd.next_seed()
        tf.cond(tf.constant(True), lambda: random_normal([2], 'float32', fold_seed(seed, 3)), lambda: tf.zeros([2]))
        rnd.random_normal([2])
    operations = tf.get_default_graph().get_operations()
    draws = [op.device for op in operations if op.type.startswith('StatelessRandomNormal')]
    assert len(draws) == 2 and all('GPU' in device for device in draws)
    seeds = [op for op in operations if op.type == 'BitwiseXor']
    needed = seeds + [tensor.op for op in seeds for tensor in op.inputs if tensor.op.type == 'Switch']
    assert len(seeds) == 3 and len(needed) > 3 and all('CPU' in op.device for op in needed)


# ---- Engine


def test_repeatable_operations_can_be_asked_for():
    code = """
from dnnlib import tflib
tflib.set_deterministic()
tflib.init_tf({'rnd.np_random_seed': 1})
net = tflib.Network('G', 'training.networks_stylegan.G_mapping', latent_size=4, mapping_layers=1, dlatent_size=4)
print(net.run([[1, 2, 3, 4]], None).shape)
from dnnlib.tflib.network import sketched   # by which it is told whether a file's network is ours
with sketched():
    print(len(tflib.Network('G', 'training.networks_stylegan.G_mapping', mapping_layers=1).vars))
"""
    result = subprocess.run([sys.executable, '-c', code], cwd=str(ROOT), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True)
    assert result.stdout == '(1, 4)\n2\n', result.stderr


@pytest.mark.parametrize('fmt', ['NHWC', 'NCHW', None])
def test_repeatable_biases_of_tensorflow_1_have_no_kernel_of_their_own(fresh_graph, monkeypatch, fmt):
    """Whose gradient there adds in any order on a GPU, whatever is asked for."""
    monkeypatch.setattr(tf.nn, 'bias_add', tf.nn.bias_add)  # put back afterwards
    monkeypatch.setattr(engine, 'ENGINE', 'tf1')
    monkeypatch.setattr(tf.test, 'is_built_with_cuda', lambda: True)
    for name in ('TF_DETERMINISTIC_OPS', 'TF_CUDNN_DETERMINISTIC'):
        monkeypatch.setenv(name, '0')
    x = tf.constant(np.arange(24, dtype=np.float32).reshape([2, 3, 2, 2] if fmt else [8, 3]))
    bias = tf.constant(np.float32([10, 20, 30] if fmt != 'NHWC' else [10, 20]))
    results = []
    for repeatable in (False, True):
        if repeatable:
            tflib.set_deterministic()
        y = tf.nn.bias_add(x, bias, data_format=fmt)
        gradient = tf.gradients(tf.reduce_sum(tf.square(y)), [bias])[0]
        assert any(op.type == 'BiasAddGrad' for op in tf.get_default_graph().get_operations()) \
            and (gradient.op.type == 'BiasAddGrad') != repeatable
        results.append(tflib.run([y, gradient]))
    np.testing.assert_array_equal(results[1][0], results[0][0])
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-6)


def test_keras_is_not_imported_but_there_for_those_who_use_it():
    script = ("import os, sys; os.environ['TF_USE_LEGACY_KERAS'] = '0'; import dnnlib.tflib; "
              "assert 'keras' not in sys.modules and os.environ['TF_USE_LEGACY_KERAS'] == '0'; "
              'import tensorflow as tf; print(tf.keras.layers.Dense.__name__)')
    done = subprocess.run([sys.executable, '-c', script], cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout.decode().strip() == 'Dense', done.stderr.decode()
