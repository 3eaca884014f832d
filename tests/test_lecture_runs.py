"""Runs of the lecture's systems through the training loop: equal bits, going on after a stop, towers, pictures."""

import types

import numpy as np
import PIL.Image
import pytest
from loop_helpers import copy_up_to, train

from data.commands import main
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.tflib.safe_pickle import read_networks
from dnnlib.util import EasyDict, UserError
from training import loss, steps
from training.state import checkpoint

COMMON = dict(total_kimg=0.096, minibatch_repeats=2, checkpoint_keep=99, mirror_augment=False, G_smoothing_kimg=0,
              G_opt_args=dict(epsilon_after_correction=True), D_opt_args=dict(epsilon_after_correction=True))
DCGAN = dict(
    COMMON, image_snapshot_ticks=0,
    G_args=dict(func_name='training.networks_dcgan.G_dcgan', nz=5, ngf=4),
    D_args=dict(func_name='training.networks_dcgan.D_dcgan', ndf=4),
    G_loss_args=dict(func_name='training.loss.G_logistic_nonsaturating', reuse_fakes=True),
    D_loss_args=dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=0.0),
    dataset_args=dict(resolution=16, label_size=0), sched_args=dict(minibatch_dict={16: 8}, lod_initial_resolution=16))


def final_bytes(run_dir):
    return (run_dir / 'network-final.pkl').read_bytes()


def variables(run_dir, number):
    return dict(read_networks(str(run_dir / 'network-final.pkl'))[number].variables)


def points_run(folder, **changes):
    """Arguments of a run of the minimal GAN."""
    if not folder.exists():
        main(['create_points', str(folder), '--distribution', 'moons', '--num', '2000'])
    return dict(
        COMMON, G_args=dict(func_name='training.networks_minimal.G_minimal', latent_size=3, hidden=20),
        D_args=dict(func_name='training.networks_minimal.D_minimal', hidden=20), step_order='alternate',
        G_loss_args=dict(func_name='training.loss.G_logistic_saturating'),
        D_loss_args=dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=0.0), drange_net=[-3, 3],
        dataset_args=dict(class_name='loop_helpers.dataset_in', tfrecord_dir=str(folder)), **changes)


@pytest.mark.both
def test_a_dcgan_goes_on_to_the_same_bytes(tmp_path):
    assert train(tmp_path / 'a', **DCGAN) == 'finished'
    copy_up_to(tmp_path / 'a', tmp_path / 'b', 32)
    assert train(tmp_path / 'b', resume=True, **DCGAN) == 'finished'
    assert final_bytes(tmp_path / 'a') == final_bytes(tmp_path / 'b')
    G, D, Gs = [variables(tmp_path / 'a', number) for number in range(3)]
    assert np.abs(D['BatchNorm1/moving_mean']).min() > 0 and np.abs(G['BatchNorm0/moving_variance'] - 1).min() > 1e-4
    assert all(np.array_equal(G[name], Gs[name]) for name in G)  # no moving average


@pytest.mark.both
def test_two_towers_of_a_dcgan_share_their_statistics_and_repeat_to_the_bit(tmp_path):
    overrides = dict(DCGAN, num_gpus=2, total_kimg=0.048, G_smoothing_kimg=0.1)
    assert train(tmp_path / 'a', **overrides) == 'finished'
    copy_up_to(tmp_path / 'a', tmp_path / 'b', 32)
    assert train(tmp_path / 'b', resume=True, **overrides) == 'finished'
    assert final_bytes(tmp_path / 'a') == final_bytes(tmp_path / 'b')
    G, Gs = variables(tmp_path / 'a', 0), variables(tmp_path / 'a', 2)
    assert not np.array_equal(G['Conv0/weight'], Gs['Conv0/weight'])


def test_an_update_that_is_skipped_leaves_moving_statistics_alone(tmp_path):
    wrong = dict(func_name='loop_helpers.nan_loss')
    assert train(tmp_path, **dict(DCGAN, total_kimg=0.016, D_loss_args=wrong)) == 'finished'
    D = variables(tmp_path, 1)
    # Only G's good steps moved them: twice, each towards its fakes.
    assert np.isfinite(D['BatchNorm1/moving_variance']).all()
    assert 0.8099 < D['BatchNorm1/moving_variance'].min() < 1


@pytest.mark.both
def test_points_train_in_turn_and_are_drawn_with_the_field(tmp_path):
    args = points_run(tmp_path / 'moons', epoch_pictures=[1, 2, 9], epoch_kimg=0.048)
    assert train(tmp_path / 'a', **args) == 'finished'
    epochs = sorted(path.name for path in (tmp_path / 'a').glob('*-epoch*'))
    assert epochs == ['fakes-epoch001.png', 'fakes-epoch002.png']
    picture = np.asarray(PIL.Image.open(str(tmp_path / 'a' / 'fakes000000.png')))
    reals = np.asarray(PIL.Image.open(str(tmp_path / 'a' / 'reals.png')))
    assert picture.shape == reals.shape == (384, 384, 3)
    assert ((picture[..., 0] > 200) & (picture[..., 2] < 60)).any()      # samples over reals
    assert len(np.unique(reals.reshape(-1, 3), axis=0)) < len(np.unique(picture.reshape(-1, 3), axis=0))  # the field
    newest = checkpoint.load_newest(str(tmp_path / 'a' / 'checkpoints'))[1]
    assert newest['progress']['step'] == 12 and newest['dataset']['images_consumed'] == 96  # 8 points a step
    copy_up_to(tmp_path / 'a', tmp_path / 'b', 32)
    assert train(tmp_path / 'b', resume=True, **args) == 'finished'
    assert final_bytes(tmp_path / 'a') == final_bytes(tmp_path / 'b')


@pytest.mark.parametrize('changes, problem', [
    (dict(mirror_augment=True), r'mirror_augment flips images.*\[2\]; turn it off'),
    (dict(G_args=dict(func_name='training.networks_stylegan.G_style')), 'G cannot be built.*resolution'),
    (dict(D_args=dict(func_name='training.networks_progan.D_paper')), 'D cannot be built.*resolution'),
    (dict(G_args=dict(num_channels=3)), r'G makes samples of \[3\] but the data set has samples of \[2\]')])
def test_points_with_what_is_made_for_images_are_refused(tmp_path, changes, problem):
    args = points_run(tmp_path / 'moons')
    args.update({key: dict(args[key], **value) if isinstance(value, dict) else value for key, value in changes.items()})
    with pytest.raises(UserError, match=problem):
        train(tmp_path / 'run', **args)


def test_fakes_of_D_are_reused_with_its_latents_and_labels(fresh_graph, monkeypatch):
    step = tf.placeholder(tf.int32, [])
    labels = tf.py_func(lambda: np.eye(3, dtype=np.float32)[np.random.randint(3, size=2)], [], tf.float32)
    labels.set_shape([None, 3])
    G = tflib.Network('G', 'training.networks_progan.G_paper', resolution=4, label_size=3, fmap_base=16, fmap_max=4)
    with tflib.rnd.seed_scope(tf.stack([5, step])):
        fakes = loss.draw_fakes_for_D(G, 2, labels)
        tflib.rnd.next_seed()
        fakes_for_G, labels_for_G = loss.fakes_of_D(G)
    others = {name: tf.placeholder(tf.float32, []) for name in ('minibatch', 'lod', 'G_lrate', 'D_lrate')}
    graph = types.SimpleNamespace(step=step, labels=labels, reuses_fakes=True, D_train_op=[fakes, labels],
                                  G_train_op=[fakes_for_G, labels_for_G], sync_op=None, **others)
    run = types.SimpleNamespace(graph=graph, training_set=types.SimpleNamespace(wait_for_next=lambda: None),
                                progress=EasyDict(step=0, cur_nimg=0), has_moving_average=False,
                                settings=EasyDict(step_order='D_then_G', D_repeats=2))
    graph.Gs_update_op = tf.no_op()
    tflib.init_uninitialized_vars()
    results, plain = [], tflib.run
    monkeypatch.setattr(tflib, 'run', lambda *args: results.append(plain(*args)) or results[-1])
    steps.train_minibatches(run, EasyDict(minibatch=2, lod=0.0, G_lrate=0.0, D_lrate=0.0, resolution=4), 1)
    (first, _), (second, labels_of_D), reused = results[0][0], results[1][0], results[2]
    assert not np.array_equal(first, second)
    assert np.array_equal(second, reused[0]) and np.array_equal(labels_of_D, reused[1])
    assert run.progress == dict(step=3, cur_nimg=4)


def test_a_loss_of_G_cannot_reuse_what_the_loss_of_D_did_not_draw(fresh_graph):
    with pytest.raises(RuntimeError, match='drew no fakes'):
        loss.fakes_of_D(object())
