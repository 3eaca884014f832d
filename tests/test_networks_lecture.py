"""The lecture's networks and their training steps against reference numbers from the slides' library."""

import contextlib
import json
import types
import unittest.mock

import numpy as np
import pytest
from conftest import GOLDEN_DIR, new_session, tolerance
from golden_networks import deviation, runs_channels_first

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import EasyDict, UserError
from training import steps, towers

G_DCGAN, D_DCGAN = 'training.networks_dcgan.G_dcgan', 'training.networks_dcgan.D_dcgan'
G_MINIMAL, D_MINIMAL = 'training.networks_minimal.G_minimal', 'training.networks_minimal.D_minimal'
TOLERANCE = tolerance(cpu=1e-4, gpu=1e-3)  # of the standard deviation


def of_any_length(x):
    """A tensor whose first dimension is not known when the graph is built, as in a run."""
    return tf.placeholder_with_default(x, [None] + x.shape.as_list()[1:])


class Case:
    """Reference networks with their initial weights, and the loop's own graph of a training step.

    Latents and reals come from variables, so that a step can be compared.
    """

    def __init__(self, name, G_args, D_args, adam, G_loss_args, step_order):
        self.info = json.loads((GOLDEN_DIR / f'{name}.json').read_text())
        self.arrays = dict(np.load(str(GOLDEN_DIR / f'{name}.npz')))
        z, reals = [self.arrays[key] if name == 'dcgan-64' else self.arrays[key][0] for key in ('z', 'reals')]
        self.z, self.reals = [tf.get_variable(key, initializer=value, trainable=False)
                              for key, value in (('z', z), ('reals', reals))]
        self.labels = tf.zeros([len(z), 0])
        self.data = types.SimpleNamespace(
            shape=list(reals.shape[1:]), resolution=max(reals.shape[2:] or [1]), label_size=0, dynamic_range=[-1, 1],
            get_random_labels_tf=lambda n: self.labels, wait_for_next=lambda: None,
            get_minibatch_tf=lambda: (of_any_length(self.reals), of_any_length(self.labels)))
        self.G, self.D, self.Gs = towers.build_networks(self.data, G_args, D_args)
        self.beta1 = adam['beta1']
        adam = dict(adam, epsilon=1e-8, epsilon_after_correction=True)
        self.graph = towers.build_training_graph(
            self.G, self.D, self.Gs, self.data, adam, adam, G_loss_args, dict(func_name='training.loss.D_logistic'),
            seed=1, num_gpus=1, G_smoothing_kimg=0, mirror_augment=False, drange_net=[-1, 1], is_growing=False)
        tflib.init_uninitialized_vars()
        tflib.autosummary.finalize_autosummaries()
        self.loop = types.SimpleNamespace(
            graph=self.graph, training_set=self.data, progress=EasyDict(step=0, cur_nimg=0), has_moving_average=False,
            settings=EasyDict(step_order=step_order, D_repeats=1), dir='run')
        self.reset()

    def reset(self):
        """Gives both networks their initial weights again."""
        for net in (self.G, self.D):
            tflib.set_vars({var: self.arrays[f'in/{net.name}/{key}'] for key, var in net.vars.items()})

    def train(self, rate, z=None, reals=None):
        """One iteration. Returns the losses that it computed, {'TrainG': …, 'TrainD': …}."""
        if z is not None:
            tflib.set_vars({self.z: z, self.reals: reals})
        steps.train_minibatches(self.loop, EasyDict(minibatch=len(tflib.run(self.z)), lod=0.0, resolution=1,
                                                    G_lrate=rate, D_lrate=rate), 1)
        means = tflib.autosummary.flush_autosummaries()
        return {name: means[name + '/loss'] for name in ('TrainG', 'TrainD') if name + '/loss' in means}

    def first_gradients(self, opt, net):
        """The mean gradients of an optimizer's first step, by variable: Adam's first moments hold a share of them."""
        moments = [tflib.run(opt.state_vars()[f'm/{number:03d}/0']) for number in range(len(net.trainables))]
        return {name: value / (1 - self.beta1) for name, value in zip(net.trainables, moments)}


@contextlib.contextmanager
def case_in_new_session(*args):
    with new_session(), unittest.mock.patch.object(tflib.rnd, 'random_normal', lambda shape: of_any_length(case.z)):
        case = Case.__new__(Case)
        case.__init__(*args)
        yield case


@pytest.fixture(scope='module')
def dcgan():
    with case_in_new_session(
            'dcgan-64', dict(func_name=G_DCGAN, nz=20, ngf=8), dict(func_name=D_DCGAN, ndf=8),
            dict(beta1=0.5, beta2=0.999),
            dict(func_name='training.loss.G_logistic_nonsaturating', reuse_fakes=True), 'D_then_G') as case:
        yield case


@pytest.fixture(scope='module')
def minimal():
    with case_in_new_session(
            'minimal-gan', dict(func_name=G_MINIMAL), dict(func_name=D_MINIMAL), dict(beta1=0.9, beta2=0.999),
            dict(func_name='training.loss.G_logistic_saturating'), 'alternate') as case:
        yield case


@pytest.mark.both
@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
def test_dcgan_images_and_scores_equal_the_reference(dcgan, layout):
    if layout == 'NCHW' and not runs_channels_first():
        pytest.skip('this TensorFlow has no channels-first convolution on a CPU')
    dcgan.reset()
    for mode, is_training in (('eval', False), ('train', True)):
        kwargs = dict(is_training=is_training, data_format=layout)
        images = dcgan.G.run(dcgan.arrays['z'], None, **kwargs)
        assert deviation(images, dcgan.arrays[f'{mode}/images']) < TOLERANCE
        scores = dcgan.D.run(dcgan.arrays['reals'], None, **kwargs)[:, 0]
        assert deviation(scores, dcgan.arrays[f'{mode}/scores_reals']) < TOLERANCE
    scores = dcgan.D.run(dcgan.arrays['train/images'], None, **kwargs)[:, 0]
    assert deviation(scores, dcgan.arrays['train/scores_fakes']) < TOLERANCE
    for net in (dcgan.G, dcgan.D):  # running a network updates nothing
        for name, var in net.vars.items():
            assert np.array_equal(tflib.run(var), dcgan.arrays[f'in/{net.name}/{name}'])


@pytest.mark.both
def test_a_dcgan_step_equals_the_reference(dcgan):
    dcgan.reset()
    losses = dcgan.train(rate=2e-4)
    expected = dcgan.arrays['train/loss_D_reals'] + dcgan.arrays['train/loss_D_fakes']
    assert losses['TrainD'] == pytest.approx(float(expected), rel=1e-4)
    assert losses['TrainG'] == pytest.approx(float(dcgan.arrays['train/loss_G']), rel=1e-4)
    for opt, net in ((dcgan.graph.G_opt, dcgan.G), (dcgan.graph.D_opt, dcgan.D)):
        gradients = dcgan.first_gradients(opt, net)
        for name in [name for name in gradients if f'train/grad_{net.name}/{name}' in dcgan.arrays]:
            assert deviation(gradients[name], dcgan.arrays[f'train/grad_{net.name}/{name}']) \
                < tolerance(cpu=1e-3, gpu=5e-3), name
        for name, var in net.vars.items():
            assert deviation(tflib.run(var), dcgan.arrays[f'after/{net.name}/{name}']) < TOLERANCE, name
    for name, var in dcgan.Gs.vars.items():  # without a moving average, Gs is G
        assert np.array_equal(tflib.run(var), tflib.run(dcgan.G.vars[name]))


@pytest.mark.both
def test_twenty_minibatches_of_the_minimal_gan_equal_the_reference(minimal):
    for number, (z, reals) in enumerate(zip(minimal.arrays['z'], minimal.arrays['reals'])):
        losses = minimal.train(1e-3, z, reals)
        name, opt, net = [('G', minimal.graph.G_opt, minimal.G), ('D', minimal.graph.D_opt, minimal.D)][number % 2]
        assert losses == {'Train' + name: pytest.approx(float(minimal.arrays['losses'][number]), abs=1e-5)}
        if number < 2:
            gradients = minimal.first_gradients(opt, net)
            for part in ('Dense0/weight', 'Dense1/weight'):
                expected = minimal.arrays[f'step{number}/grad_{name}/{part}']
                assert np.abs(gradients[part] - expected).max() < 1e-6
    for net in (minimal.G, minimal.D):
        for name, var in net.vars.items():
            assert np.abs(tflib.run(var) - minimal.arrays[f'after/{net.name}/{name}']).max() < 1e-5, name
    assert minimal.loop.progress == dict(step=20, cur_nimg=200)


def test_dcgan_has_the_published_sizes(fresh_graph):
    G, D = tflib.Network('G', G_DCGAN), tflib.Network('D', D_DCGAN)
    counts = [sum(int(np.prod(var.shape.as_list())) for var in net.trainables.values()) for net in (G, D)]
    assert counts == [3576704, 2765568]
    assert G.input_shapes == [[None, 100], [None, 0]] and G.output_shape == [None, 3, 64, 64]
    start = G.get_var('BatchNorm0/gamma')
    assert abs(start.mean() - 1) < 0.01 and 0.015 < start.std() < 0.025
    assert 0.019 < D.get_var('Conv3/weight').std() < 0.021


@pytest.mark.parametrize('resolution', [8, 32])
def test_dcgan_has_a_block_fewer_per_halving(fresh_graph, resolution):
    kwargs = dict(resolution=resolution, num_channels=1)
    G, D = tflib.Network('G', G_DCGAN, nz=5, ngf=4, **kwargs), tflib.Network('D', D_DCGAN, ndf=4, **kwargs)
    blocks = {8: 1, 32: 3}[resolution]
    assert [name for name in G.vars if name.startswith('Conv')] == [f'Conv{i}/weight' for i in range(blocks + 1)]
    assert [name for name in D.vars if name.endswith('gamma')] == [f'BatchNorm{i}/gamma' for i in range(1, blocks)]
    images = G.run(np.random.RandomState(0).randn(3, 5), None)
    assert images.shape == (3, 1, resolution, resolution) and np.abs(images).max() <= 1
    assert D.run(images, None).shape == (3, 1)


def test_minimal_networks_start_within_the_inverse_root_of_their_inputs(fresh_graph):
    G = tflib.Network('G', G_MINIMAL)
    assert G.output_shape == [None, 2] and tflib.Network('D', D_MINIMAL).output_shape == [None, 1]
    for name, inputs in (('Dense0', 8), ('Dense1', 100)):
        for part in ('weight', 'bias'):
            assert np.abs(G.get_var(f'{name}/{part}')).max() <= 1 / np.sqrt(inputs)
    values = G.get_var('Dense0/weight')
    assert values.std() == pytest.approx(1 / np.sqrt(8 * 3), rel=0.1)


@pytest.mark.parametrize('G_name, shape, problem', [
    (G_DCGAN, [2], 'resolution 1'), (G_DCGAN, [3, 48, 48], 'resolution 48'),
    (G_MINIMAL, [3, 64, 64], 'points.*resolution 1; the data set has 64')])
def test_networks_for_other_data_are_refused_in_a_sentence(fresh_graph, G_name, shape, problem):
    data = types.SimpleNamespace(shape=shape, resolution=max(shape[1:] or [1]), label_size=0)
    with pytest.raises(UserError, match=f'G cannot be built: .*{problem}.*section G'):
        towers.build_networks(data, dict(func_name=G_name), dict(func_name=D_DCGAN))


@pytest.mark.parametrize('order, repeats, loss_args, problem', [
    ('both', 1, {}, 'choose D_then_G or alternate'), ('alternate', 2, {}, 'D_repeats is 2'),
    ('D_then_G', 0, {}, 'at least one'), ('alternate', 1, dict(reuse_fakes=True), 'a step of D before')])
def test_orders_of_steps_that_make_no_sense_are_refused(order, repeats, loss_args, problem):
    with pytest.raises(UserError, match=problem):
        steps.check_order(order, repeats, loss_args)
