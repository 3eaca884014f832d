"""The StyleGAN networks against reference numbers from an independent implementation: values and gradients."""

import re
from unittest import mock

import numpy as np
import pytest
from conftest import GOLDEN_DIR, new_session, tolerance
from golden_networks import GoldenCase, deviation

from dnnlib import tflib
from dnnlib.tflib import device, tf
from training.layers import network_samples

CASES = ['stylegan-f-32', 'stylegan-f-32-cond', 'stylegan-c-32']
IMAGE_TOLERANCE = tolerance(cpu=1e-4, gpu=1e-3)  # of the standard deviation
NORM_TOLERANCE = tolerance(cpu=1e-3, gpu=5e-3)  # relative

pytestmark = pytest.mark.both


@pytest.fixture(scope='module', params=CASES)
def case(request):
    """One reference pair per module: building it takes longer than most of the comparisons."""
    with new_session():
        yield GoldenCase(GOLDEN_DIR, request.param, 'training.networks_stylegan')


def lods_of(case, pattern):
    return sorted({float(m.group(1)) for m in (re.fullmatch(pattern, key) for key in case.arrays) if m})


def test_variable_names_shapes_and_parameter_counts(case):
    for net, names, count in ((case.G, 'G_vars', 'G_trainable_params'), (case.D, 'D_vars', 'D_trainable_params')):
        assert {name: tflib.shape_to_list(var.shape) for name, var in net.vars.items()} == case.info[names]
        assert sum(int(np.prod(v.shape.as_list())) for v in net.trainables.values()) == case.info[count]


def test_mapping_equals_reference(case):
    w = case.G.components.mapping.run(case.z, case.labels)
    assert deviation(w, case.arrays['w']) < IMAGE_TOLERANCE


@pytest.mark.parametrize('structure', ['linear', 'recursive'])
def test_images_and_scores_equal_reference_at_every_lod(case, structure):
    lods = lods_of(case, rf'images_{structure}_lod(.*)')
    assert lods
    for lod in lods:
        case.set_lod(lod)
        expected = case.arrays[f'images_{structure}_lod{lod}']
        images = case.G.components.synthesis.run(case.arrays['w'], randomize_noise=False, structure=structure)
        assert deviation(images, expected) < IMAGE_TOLERANCE, lod
        scores = case.D.run(expected, case.labels, structure=structure)
        assert deviation(scores, case.arrays[f'scores_{structure}_lod{lod}']) < IMAGE_TOLERANCE, lod


def test_whole_generator_equals_reference(case):
    for lod in lods_of(case, r'images_untruncated_lod(.*)'):
        case.set_lod(lod)
        images = case.G.run(case.z, case.labels, is_validation=True, randomize_noise=False)
        assert deviation(images, case.arrays[f'images_untruncated_lod{lod}']) < IMAGE_TOLERANCE, lod
        assert case.G.components.synthesis.get_var('lod') == np.float32(lod)


def test_truncation_equals_reference(case):
    case.set_lod(0)
    keys = [key for key in case.arrays if re.fullmatch(r'images_psi.*_cutoff.*', key)]
    for key in keys:
        psi, cutoff = re.fullmatch(r'images_psi(.*)_cutoff(.*)', key).groups()
        images = case.G.run(case.z, case.labels, randomize_noise=False, truncation_psi=float(psi),
                            truncation_cutoff=None if cutoff == 'None' else int(cutoff))
        assert deviation(images, case.arrays[key]) < IMAGE_TOLERANCE, key


@pytest.mark.parametrize('fused', [0, 1])
def test_fixed_structure_equals_reference_with_both_fused_forms(case, fused):
    if f'images_fixed_fused{fused}' not in case.arrays:
        pytest.skip('this reference network has no such array')
    case.set_lod(0)
    kwargs = dict(structure='fixed', fused_scale=bool(fused))
    expected = case.arrays[f'images_fixed_fused{fused}']
    images = case.G.components.synthesis.run(case.arrays['w'], randomize_noise=False, **kwargs)
    assert deviation(images, expected) < IMAGE_TOLERANCE
    assert deviation(case.D.run(expected, case.labels, **kwargs),
                     case.arrays[f'scores_fixed_fused{fused}']) < IMAGE_TOLERANCE


@pytest.mark.optimized
def test_images_and_scores_equal_reference_where_the_graph_is_optimized():
    with new_session():
        case = GoldenCase(GOLDEN_DIR, 'stylegan-f-32', 'training.networks_stylegan')
        images = case.G.run(case.z, case.labels, is_validation=True, randomize_noise=False)
        assert deviation(images, case.arrays['images_untruncated_lod0.0']) < IMAGE_TOLERANCE
        scores = case.D.run(case.arrays['images_recursive_lod0.0'], case.labels)
        assert deviation(scores, case.arrays['scores_recursive_lod0.0']) < IMAGE_TOLERANCE


def gradients(loss, variables):
    return [tf.zeros_like(var) if grad is None else grad for var, grad in zip(variables, tf.gradients(loss, variables))]


def check_norms(names, grads, arrays, prefix):
    norms = tflib.run([tf.norm(grad) for grad in grads])
    largest = max(arrays[f'{prefix}/{name}'] for name in names)
    for name, norm in zip(names, norms):
        expected = arrays[f'{prefix}/{name}']
        # Norms that vanish but for rounding are compared on the scale of the others.
        assert abs(norm - expected) <= NORM_TOLERANCE * expected + 1e-6 * largest, name


def test_gradients_of_first_and_second_order_equal_reference(case):
    lods = lods_of(case, r'd_loss_lod(.*)')
    if not lods:
        pytest.skip('this reference network has no gradients')
    reals = tf.constant(case.arrays['images_recursive_lod0.0'])
    labels = tf.constant(case.labels)
    scores = case.D.get_output_for(reals, labels)
    image_grad = tf.gradients(tf.reduce_sum(scores), [reals])[0]
    r1 = tf.reduce_sum(tf.square(image_grad), axis=[1, 2, 3])
    d_loss = tf.reduce_mean(tf.nn.softplus(scores) + 5 * r1[:, np.newaxis])
    d_names = list(case.D.trainables)
    d_grads = gradients(d_loss, [case.D.vars[name] for name in d_names])

    fakes = case.G.get_output_for(tf.constant(case.z), labels, is_validation=True, randomize_noise=False)
    g_loss = tf.reduce_mean(tf.nn.softplus(-case.D.get_output_for(fakes, labels)))
    g_names = list(case.G.trainables)
    g_grads = gradients(g_loss, [case.G.vars[name] for name in g_names])

    for lod in lods:
        case.set_lod(lod)
        values = tflib.run([image_grad, r1, d_loss, g_loss])
        expected = [case.arrays[f'{key}_lod{lod}'] for key in ('d_image_grad', 'r1', 'd_loss', 'g_loss')]
        assert deviation(values[0], expected[0]) < IMAGE_TOLERANCE
        for value, reference in zip(values[1:], expected[1:]):
            np.testing.assert_allclose(value, reference, rtol=NORM_TOLERANCE)
        check_norms(d_names, d_grads, case.arrays, f'd_grad_norm_lod{lod}')
        check_norms(g_names, g_grads, case.arrays, f'g_grad_norm_lod{lod}')


def test_full_size_parameter_counts(fresh_graph):
    common = dict(num_channels=3, resolution=1024)
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **common)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', **common)
    counts = [sum(int(np.prod(v.shape.as_list())) for v in net.trainables.values()) for net in (G, D)]
    assert counts == [26219627, 23087249]


TINY = dict(num_channels=3, resolution=16, fmap_base=64, fmap_max=8, latent_size=8, dlatent_size=8, mapping_fmaps=8,
            mapping_layers=2)
VARIANTS = {
    'baseline': dict(use_styles=False, use_pixel_norm=True, use_instance_norm=False, mapping_layers=0,
                     truncation_psi=None, const_input_layer=False, style_mixing_prob=0, use_noise=False),
    'styles': dict(const_input_layer=False, style_mixing_prob=0, use_noise=False),
    'constant input': dict(style_mixing_prob=0, use_noise=False),
    'noise': dict(style_mixing_prob=0),
    'mixing': dict(),
    'half precision': dict(dtype='float16'),
    'relu, no blur': dict(nonlinearity='relu', mapping_nonlinearity='relu', blur_filter=None),
    'no equalized rate': dict(use_wscale=False),
}


@pytest.mark.parametrize('variant', sorted(VARIANTS))
def test_paper_variants_train_mode_gives_finite_gradients(fresh_graph, variant):
    kwargs = dict(TINY, resolution=8, **VARIANTS[variant])
    if kwargs['mapping_layers'] == 0:
        kwargs['dlatent_size'] = kwargs['latent_size']
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **kwargs)
    z = tf.constant(np.random.RandomState(0).randn(4, 8).astype(np.float32))
    images = G.get_output_for(z, tf.zeros([4, 0]), is_training=True, seed=tf.constant([3, 4]))
    grads = gradients(tf.reduce_mean(tf.square(images)), list(G.trainables.values()))
    tflib.set_vars({G.find_var('lod'): 0.5})
    assert all(np.isfinite(grad).all() for grad in tflib.run(grads))
    assert tflib.run(images).std() > 0.01


def rms_deviation(actual, expected):
    return np.sqrt(np.mean(np.square(actual - expected))) / expected.std()


def test_half_precision_agrees_with_single(fresh_graph):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', **TINY)
    z = np.random.RandomState(0).randn(4, 8)
    images = G.run(z, None, randomize_noise=False)
    assert rms_deviation(G.run(z, None, randomize_noise=False, dtype='float16'), images) < 0.02
    assert rms_deviation(D.run(images, None, dtype='float16'), D.run(images, None)) < 0.02


def test_seed_decides_noise_and_mixing(fresh_graph):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
    tflib.set_vars({var: np.ones(var.shape.as_list()) for name, var in G.vars.items() if name.endswith('Noise/weight')})
    z = tf.ones([4, 8])
    seed = tf.placeholder(tf.int32, [2])
    images = G.get_output_for(z, tf.zeros([4, 0]), is_training=True, seed=seed)
    first, again, other = [tflib.run(images, {seed: s}) for s in ([1, 2], [1, 2], [1, 3])]
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first[0] - first[1]).max() > 0.1  # noise differs between samples


def test_mixed_layers_begin_anywhere_behind_the_first_one_that_is_trained(fresh_graph):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **dict(TINY, label_size=2, style_mixing_prob=0.6))
    z, labels = [np.random.RandomState(1).randn(4, size).astype(np.float32) for size in (8, 2)]
    seed, labels_in = tf.placeholder(tf.int32, [2]), tf.placeholder(tf.float32, [4, 2])
    synthesis = G.components.synthesis
    with mock.patch.object(synthesis, 'get_output_for', wraps=synthesis.get_output_for) as called:
        G.get_output_for(tf.constant(z), labels_in, is_training=True, seed=seed)
    dlatents, w = called.call_args[0][0], G.components.mapping.run(z, labels)
    for lod, num_layers in ((0, 6), (1.5, 4), (2, 2)):
        tflib.set_vars({G.find_var('lod'): lod})
        begins = []
        for number in range(100):
            mixed = tflib.run(dlatents, {seed: [3, number], labels_in: labels})
            is_own = np.isclose(mixed, w, atol=1e-5).all(axis=(0, 2))
            begins.append(int(is_own.sum()))
            assert is_own[:begins[-1]].all()     # the layers behind are all the other's
        assert set(begins) == set(range(1, num_layers + 1))     # the last one: not mixed
        assert 52 < sum(begin < num_layers for begin in begins) < 68
    # The other latents have the same labels.
    swapped = tflib.run(dlatents, {seed: [3, number], labels_in: labels[:, ::-1]})
    assert np.abs(mixed - swapped)[:, -1].max() > 1e-3


@pytest.fixture
def alone_from_8_pixels(monkeypatch):
    """Samples are computed one after another from there on, on either engine."""
    monkeypatch.setattr(network_samples, 'ALONE_FROM', 3)
    monkeypatch.setattr(device, 'gains_one_by_one', lambda: True)


def _noisy_generator(**kwargs):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **dict(TINY, **kwargs))
    rng = np.random.RandomState(5)
    tflib.set_vars({var: rng.randn(*var.shape.as_list()) for name, var in G.vars.items()
                    if name.endswith(('Noise/weight', '/bias'))})
    return G


@pytest.mark.parametrize('structure', ['fixed', 'recursive'])
def test_samples_one_after_another_are_those_of_the_minibatch(fresh_graph, alone_from_8_pixels, structure):
    G = _noisy_generator(structure=structure, dlatent_size=6)
    dlatents = tf.placeholder(tf.float32, [None, 6, 6])
    seed, synthesis = tf.constant([3, 4]), G.components.synthesis
    together, alone = [], []
    for kwargs in (dict(randomize_noise=False), dict(seed=seed), dict(noise_inputs=[
            tf.random.stateless_normal([3, 1, side, side], [side, 1]) for side in (4, 4, 8, 8, 16, 16)])):
        together.append(synthesis.get_output_for(dlatents, **kwargs))
        alone.append(synthesis.get_output_for(dlatents, one_by_one=True, **kwargs))
    gradients_of = [tf.gradients(tf.reduce_sum(tf.sin(images)), list(G.trainables.values())[-6:] + [dlatents])
                    for images in (together[1], alone[1])]
    w = np.random.RandomState(0).randn(3, 6, 6)
    for lod in (0, 0.5, 1, 1.25, 2) if structure == 'recursive' else (0,):
        tflib.set_vars({synthesis.find_var('lod'): lod})
        for mine, expected in zip(*tflib.run([alone, together], {dlatents: w})):
            assert mine.shape == (3, 3, 16, 16)
            np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-4)
        for mine, expected in zip(*tflib.run([[tf.zeros(1) if gradient is None else gradient for gradient in found]
                                              for found in gradients_of[::-1]], {dlatents: w})):
            np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_pictures_are_made_one_after_another_and_training_is_not(fresh_graph, alone_from_8_pixels):
    G = _noisy_generator()

    def num_loops():
        return len([op for op in tf.get_default_graph().get_operations() if op.type == 'LoopCond'])

    z = tf.constant(np.random.RandomState(0).randn(3, 8).astype(np.float32))
    labels = tf.zeros([3, 0])
    expected = G.get_output_for(z, labels, randomize_noise=False)
    G.get_output_for(z, labels, is_training=True)
    G.get_output_for(z, labels, is_validation=True, data_format='NCHW')
    G.get_output_for(z, labels, is_validation=True, use_pixel_norm=True)
    assert num_loops() == 0
    images = G.run(np.random.RandomState(0).randn(3, 8), None, randomize_noise=False, minibatch_size=2)
    assert num_loops() == 1
    G.get_output_for(z, labels, is_validation=True)
    assert num_loops() == 2
    np.testing.assert_allclose(images, tflib.run(expected), rtol=1e-4, atol=1e-4)
    with mock.patch.object(device, 'gains_one_by_one', lambda: False):
        G.get_output_for(z, labels, is_validation=True)
    assert num_loops() == 2


def test_training_moves_mean_w_towards_batch_mean(fresh_graph):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
    z = np.random.RandomState(0).randn(16, 8).astype(np.float32)
    w = G.components.mapping.run(z, None)[:, 0].mean(axis=0)
    G.run(z, None, is_training=True, style_mixing_prob=0)
    np.testing.assert_allclose(G.get_var('dlatent_avg'), 0.005 * w, rtol=1e-4, atol=1e-8)


def test_channels_first_code_path_builds_the_same_variables(fresh_graph):
    """The NCHW path runs on some CPUs only (tests/test_layouts.py); that it builds, with gradients, can be checked."""
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', num_channels=3, resolution=16, fmap_base=64,
                      fmap_max=8, fused_scale=True)
    images = G.get_output_for(tf.ones([4, 8]), tf.zeros([4, 0]), data_format='NCHW', fused_scale=True)
    assert images.shape.as_list()[1:] == [3, 16, 16]
    scores = D.get_output_for(images, tf.zeros([4, 0]), data_format='NCHW')
    variables = list(D.trainables.values()) + list(G.trainables.values())
    missing = [var.name for var, grad in zip(variables, tf.gradients(scores, variables)) if grad is None]
    assert missing == []
