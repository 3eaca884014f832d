"""Half precision on a CPU: a run trains with finite numbers, the loss scale adapts, and float32 agrees."""

import json
import os

import numpy as np
import pytest
from conftest import ROOT
from golden_networks import fill
from loop_helpers import train

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.tflib.safe_pickle import read_networks
from experiment import run_config
from training import loss
from training.state import checkpoint

pytestmark = pytest.mark.both

START = 24.0    # log2 of the first loss scale; the default, 64, takes 40 more updates to come down
UPDATES = 80
SIZE = dict(num_channels=3, resolution=8, fmap_base=128, fmap_max=16)


@pytest.fixture(scope='module')
def half_run(tmp_path_factory):
    """Directory of a run with G and D in half precision."""
    run_dir = tmp_path_factory.mktemp('half')
    scaling = dict(use_loss_scaling=True, loss_scaling_init=START)
    half = dict(dtype='float16', structure='fixed')
    assert train(run_dir, G_args=half, D_args=half, G_opt_args=scaling, D_opt_args=scaling,
                 dataset_args=dict(resolution=8),
                 sched_args=dict(lod_initial_resolution=8, tick_kimg_base=0.04 * UPDATES / 20), image_snapshot_ticks=0,
                 total_kimg=0.004 * UPDATES, checkpoint_kimg=9) == 'finished'
    return run_dir


def ticks_of(run_dir):
    return [json.loads(line) for line in (run_dir / 'stats.jsonl').read_text().splitlines()]


def test_losses_and_weights_of_a_run_stay_finite(half_run):
    for tick in ticks_of(half_run):
        for name in ('Loss/scores/real', 'Loss/scores/fake', 'Loss/r1_penalty'):
            assert np.isfinite(tick[name]), name
    G, D, Gs = read_networks(str(half_run / 'network-final.pkl'))
    for net in (G, D, Gs):
        for state in net.walk():
            for name, value in state.variables:
                assert value.dtype == np.float32 and np.isfinite(value).all(), name
    # What lags behind tells that G moved.
    moved = [np.abs(dict(G_part.variables)[name] - value).max() for G_part, Gs_part in zip(G.walk(), Gs.walk())
             for name, value in Gs_part.variables if name.endswith('weight')]
    assert 0.01 < max(moved) < 100


def test_the_loss_scale_falls_with_bad_updates_and_rises_with_good_ones(half_run):
    arrays = checkpoint.load_newest(str(half_run / 'checkpoints'))[2]
    for opt in ('TrainG', 'TrainD'):
        scale, skipped = [float(value) for name in ('loss_scaling_log2', 'skipped_updates')
                          for key, value in arrays.items() if opt in key and key.endswith(name)]
        assert 0 < skipped < UPDATES / 2 and 0 < scale < START
        assert scale == pytest.approx(START - skipped + 0.0005 * (UPDATES - skipped), abs=1e-3)
    frequencies = [tick['TrainG/overflow_frequency'] for tick in ticks_of(half_run)]
    assert frequencies[0] > 0.3 and frequencies[-1] < 0.1


class NoLabels:
    """What the losses ask of a data set, for one without labels."""

    label_size = 0

    def get_random_labels_tf(self, num):
        return tf.zeros([num, 0])


def seeded_step(G, D, reals):
    """(G's losses, D's losses, all gradients of G, all of D) of one step whose draws do not depend on the dtype."""
    opts = [tflib.Optimizer(name, use_loss_scaling=True, loss_scaling_init=10.0) for name in ('G_opt', 'D_opt')]
    with tflib.rnd.seed_scope(tf.constant([11, 5], tf.int32)):
        losses = [loss.G_logistic_nonsaturating(G, D, opts[0], NoLabels(), 8),
                  loss.D_logistic_simplegp(G, D, opts[1], NoLabels(), 8, reals, tf.zeros([8, 0]))]
    grads = []
    for net, opt, value in zip((G, D), opts, losses):
        found = tf.gradients(opt.apply_loss_scaling(tf.reduce_mean(value)), list(net.trainables.values()))
        grads.append(tf.concat([tf.reshape(opt.undo_loss_scaling(grad), [-1]) for grad in found if grad is not None],
                               axis=0))
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    return tflib.run(losses + grads)


def test_losses_and_gradients_agree_with_single_precision(fresh_graph):
    """Half precision has 11 bits: an error of 1/2000 per operation. In gradients more, whatever the loss scale: where
    an activation is near zero, its sign changes, and with it the slope, from 0.2 to 1."""
    reals = tf.constant(np.random.RandomState(0).uniform(-1, 1, [8, 3, 8, 8]).astype(np.float32))
    found = {}
    for dtype in ('float32', 'float16'):
        G = tflib.Network('G', 'training.networks_stylegan.G_style', latent_size=16, dlatent_size=16, mapping_fmaps=16,
                          structure='fixed', dtype=dtype, **SIZE)
        D = tflib.Network('D', 'training.networks_stylegan.D_basic', structure='fixed', dtype=dtype, **SIZE)
        fill(G, 7)
        fill(D, 8)
        found[dtype] = seeded_step(G, D, reals)
    for name, bound, half, single in zip(('G loss', 'D loss', 'G gradients', 'D gradients'), (0.005, 0.005, 0.2, 0.2),
                                         found['float16'], found['float32']):
        assert np.isfinite(half).all(), name
        assert np.linalg.norm(half - single) / np.linalg.norm(single) < bound, name


def test_the_named_configuration_asks_for_both(tmp_path):
    config, _ = run_config.load('celeba-256-fp16', os.path.join(str(ROOT), 'configs'))
    assert config.G.dtype == config.D.dtype == 'float16'
    assert config.G_opt.use_loss_scaling and config.D_opt.use_loss_scaling
