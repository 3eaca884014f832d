"""A codec and a GAN of codes small enough to be computed in numpy: outputs, losses and gradients."""

import types

import acceleration_numpy as formulas
import numpy as np
import pytest
from conftest import ROOT
from test_loss import PlainOptimizer

from dnnlib import tflib
from dnnlib.tflib import tf
from training import codes, loss, loss_codec

N = 3
CODEC = dict(downscale=2, code_channels=2, fmaps=2, fmap_max=3)
CODE_MAPS = dict(fmap_base=16, fmap_min=2, fmap_max=3)

pytestmark = pytest.mark.both


def test_benchmarks_count_the_multiplications_of_a_graph(fresh_graph, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    import training_steps
    x, w, m = [tf.constant(np.ones(shape, np.float32)) for shape in ([2, 8, 8, 3], [3, 3, 3, 5], [80, 7])]
    y = tf.nn.conv2d(x, w, strides=[1, 2, 2, 1], padding='SAME')
    z = tf.matmul(tf.reshape(y, [2, 80]), m)
    everything = tf.group(z, *tf.gradients(tf.reduce_sum(z), [x, w, m]))
    assert training_steps.count_macs(everything, fresh_graph) == 3 * (2 * 4 * 4 * 5 * 27) + 3 * (2 * 80 * 7)


class Case:
    """Networks with random weights, their weights in float64, and what surrounds a loss."""

    def __init__(self, session, G, D, samples):
        self.session, self.G, self.D = session, G, D
        self.samples = samples.astype(np.float32)
        rng = np.random.RandomState(3)
        self.weights = {}
        for key, net in (('G', G), ('D', D)):
            values = {name: (rng.randn(*tflib.shape_to_list(var.shape)) * (0.3 if name.endswith('bias') else 1)).astype(
                np.float32) for name, var in net.vars.items()}
            tflib.set_vars({net.vars[name]: value for name, value in values.items()})
            self.weights[key] = {name: value.astype(np.float64) for name, value in values.items()}

    def weights_of(self, net):
        return formulas.Weights(self.weights[net])

    def run(self, function, net, extra=(), **kwargs):
        """(loss, gradients of its mean by the trainable variables of `net`, values of `extra` tensors)."""
        common = dict(G=self.G, D=self.D, opt=PlainOptimizer(), minibatch_size=N, training_set=types.SimpleNamespace(
            get_random_labels_tf=lambda count: tf.zeros([count, 0])))
        value = function(**dict(common, **kwargs))
        grads = tf.gradients(tf.reduce_mean(value), list(net.trainables.values()))
        tflib.autosummary.finalize_autosummaries()
        value, grads, extra = self.session.run([value, grads, list(extra)])
        return value, dict(zip(net.trainables, grads)), [array.astype(np.float64) for array in extra]

    @property
    def reals(self):
        return dict(reals=tf.constant(self.samples), labels=tf.zeros([N, 0]))


def close(actual, expected):
    """Equal to what float32 can tell of values of that size."""
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5 * max(np.abs(expected).max(), 1e-3))


def same_gradients(actual, expected):
    assert set(actual) == set(expected)
    for name in expected:
        close(actual[name], expected[name])


@pytest.fixture
def codec(fresh_graph):
    G = tflib.Network('G', 'training.networks_codec.G_codec', num_channels=1, resolution=4, **CODEC)
    D = tflib.Network('D', 'training.networks_codec.D_codec', num_channels=1, resolution=4, num_scales=1, fmaps=2,
                      fmap_max=3)
    return Case(fresh_graph, G, D, np.random.RandomState(1).uniform(-1, 1, [N, 1, 4, 4]))


@pytest.fixture
def code_gan(fresh_graph):
    G = tflib.Network('G', 'training.networks_accel.G_accel', num_channels=1, resolution=16, decoder_kwargs=CODEC,
                      code_kwargs=dict(CODE_MAPS, latent_size=2))
    D = tflib.Network('D', 'training.networks_accel.D_code', num_channels=2, resolution=8, **CODE_MAPS)
    return Case(fresh_graph, G, D, np.random.RandomState(1).uniform(-1, 1, [N, 2, 8, 8]))


def test_the_codec_is_that_of_the_formulas(codec):
    G, w = codec.G, codec.weights_of('G')
    values = formulas.encoder(w.part('F/'), codec.samples)
    close(G.components['encoder'].run(codec.samples), values)
    close(G.components['decoder'].run(values.astype(np.float32)), formulas.decoder(w.part('H/'), values))
    close(G.run(codec.samples, None), formulas.decoder(w.part('H/'), values))
    close(codec.D.run(codec.samples, None), formulas.codec_scores(codec.weights_of('D'), codec.samples))


def test_losses_and_gradients_of_the_codec_are_those_of_the_formulas(codec):
    alpha, images, D = 0.3, codec.samples.astype(np.float64), codec.weights_of('D')
    value, grads, _ = codec.run(loss_codec.G_reconstruction, codec.G, alpha=alpha, **codec.reals)
    close(value, formulas.codec_loss_of_G(codec.weights_of('G'), D, images, alpha))
    same_gradients(grads, formulas.gradients(lambda w: formulas.codec_loss_of_G(w, D, images, alpha),
                                             codec.weights['G']))
    w = codec.weights_of('G')
    shown = formulas.decoder(w.part('H/'), formulas.encoder(w.part('F/'), images))
    value, grads, _ = codec.run(loss_codec.D_reconstruction, codec.D, **codec.reals)
    close(value, formulas.codec_loss_of_D(D, shown, images))
    same_gradients(grads, formulas.gradients(lambda w: formulas.codec_loss_of_D(w, shown, images), codec.weights['D']))


def test_the_code_gan_is_that_of_the_formulas(code_gan):
    latents = np.random.RandomState(2).randn(N, 2)
    w = code_gan.weights_of('G')
    values = formulas.code_generator(w.part('code/'), latents)
    close(code_gan.G.components['code'].run(latents, None), values)
    close(code_gan.G.run(latents, None), formulas.decoder(w.part('decoder/'), values))
    close(code_gan.D.run(code_gan.samples, None), formulas.code_scores(code_gan.weights_of('D'), code_gan.samples)[0])


def test_losses_and_gradients_of_the_code_gan_are_those_of_the_formulas(code_gan):
    """The decoder has no part in them: the gradients are those by the code generator's weights alone."""
    weights = {name: value for name, value in code_gan.weights['G'].items() if name.startswith('code/')}
    D, reals, seed = code_gan.weights_of('D'), code_gan.samples.astype(np.float64), tf.constant([5, 6])

    def fakes_of(w):
        return formulas.code_generator(w.part('code/'), latents)

    with tflib.rnd.seed_scope(seed):  # what the losses draw, in their order
        drawn = [tflib.rnd.random_normal([N, 2])]
        tflib.rnd.next_seed()
        drawn.append(tflib.rnd.random_uniform([N, 1, 1, 1], 0.0, 1.0, tf.float32))
    with tflib.rnd.seed_scope(seed):
        value, grads, (latents, share) = code_gan.run(loss.D_wgan_gp, code_gan.D, drawn, wgan_lambda=10.0,
                                                      wgan_epsilon=0.0, **code_gan.reals)
    fakes = fakes_of(code_gan.weights_of('G'))
    close(value, formulas.wgan_loss_of_D(D, fakes, reals, share, 10.0))
    same_gradients(grads, formulas.gradients(lambda w: formulas.wgan_loss_of_D(w, fakes, reals, share, 10.0),
                                             code_gan.weights['D']))
    with tflib.rnd.seed_scope(seed):
        value, grads, _ = code_gan.run(loss.G_wgan, codes.trained_part(code_gan.G))
    close(value, -formulas.code_scores(D, fakes)[0])
    expected = formulas.gradients(lambda w: -formulas.code_scores(D, fakes_of(w))[0], weights)
    same_gradients({f'code/{name}': grad for name, grad in grads.items()}, expected)
