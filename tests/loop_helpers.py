"""A run so small that tests can afford several, and a command line that starts it as a process of its own."""

import json
import os
import shutil
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == '__main__':
    sys.path.insert(0, ROOT)

from training.state import checkpoint  # noqa: E402, needs the path above

DEVICE = os.environ.get('STYLEGAN_TEST_DEVICE', 'cpu')


# The graph optimizer would take most of the time; with other settings a run in a process of its own has other bits.
SESSION = {'intra_op_parallelism_threads': 2, 'inter_op_parallelism_threads': 2,
           'graph_options.rewrite_options.disable_meta_optimizer': True}
# Overrides for runs that build faster: a single resolution, no conditionals. All checkpoints are kept.
FIXED = dict(image_snapshot_ticks=0, checkpoint_keep=99, total_kimg=0.096, dataset_args=dict(resolution=4),
             G_args=dict(structure='fixed'), D_args=dict(structure='fixed'))
# The same with networks of few layers, whose graph has less than half as many operations.
QUICK = dict(FIXED, dataset_args=dict(resolution=4, label_size=0),
             G_args=dict(func_name='training.networks_gan2014.G_fully_connected', hidden=8),
             D_args=dict(func_name='training.networks_gan2014.D_fully_connected', units=4))


class Context:
    """Stands in for RunContext. After so many iterations it asks to stop, or kills its own process."""

    def __init__(self, stop_after=None, kill_after=None):
        self.iterations = -1  # the loop asks before each
        self.stop_after = stop_after
        self.kill_after = kill_after

    def should_stop(self):
        self.iterations += 1
        if self.iterations == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.iterations == self.stop_after

    def update(self, **_kwargs):
        pass


def tiny_args(**overrides):
    """Arguments of training_loop: noise pictures in two classes, growing from 4x4 to 8x8 within 0.128 kimg.

    4x4 trains until 48 images, in iterations of 16 images; 8x8 fades in until 128, in iterations of 8. A checkpoint is
    written every 32 images, a tick is 64 long.
    """
    network = dict(fmap_base=64, fmap_max=8)
    adam = dict(beta1=0.0, beta2=0.99, epsilon=1e-8)
    args = dict(
        G_args=dict(func_name='training.networks_stylegan.G_style', latent_size=8, dlatent_size=8, mapping_fmaps=8,
                    mapping_layers=2, **network),
        D_args=dict(func_name='training.networks_stylegan.D_basic', **network),
        G_opt_args=dict(adam), D_opt_args=dict(adam),
        G_loss_args=dict(func_name='training.loss.G_logistic_nonsaturating'),
        D_loss_args=dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0),
        dataset_args=dict(class_name='training.dataset.SyntheticDataset', resolution=8, num_images=100, label_size=2),
        sched_args=dict(lod_initial_resolution=4, lod_training_kimg=0.048, lod_transition_kimg=0.08,
                        minibatch_base=8, minibatch_dict={8: 4}, tick_kimg_base=0.064, tick_kimg_dict={}),
        grid_args=dict(size='4x2'), tf_config=dict(SESSION), seed=7, device=DEVICE, total_kimg=0.192,
        minibatch_repeats=2, checkpoint_kimg=0.032, mirror_augment=True, G_smoothing_kimg=0.1)
    for key, value in overrides.items():
        args[key] = dict(args[key], **value) if isinstance(args.get(key), dict) else value
    if args.get('num_gpus', 1) > 1:
        args['device'] = 'cpu'  # has as many virtual devices as are asked for
    return args


def train(run_dir, context=None, **overrides):
    """One training run in a graph and a session of its own. Returns what `training_loop` returns.

    Overrides that are dicts change items of the tiny run's dicts.
    """
    from dnnlib import tflib
    from training.training_loop import training_loop
    os.makedirs(str(run_dir), exist_ok=True)
    if DEVICE == 'gpu':
        tflib.set_deterministic()
    args = tiny_args(**overrides)
    config = dict({'device_count.CPU': args.get('num_gpus', 1)}, **args['tf_config'])
    with tflib.tf.Graph().as_default(), tflib.create_session(config).as_default():
        tflib.tf.set_random_seed(args['seed'])
        return training_loop(run_dir=str(run_dir), run_context=context or Context(), **args)


def copy_up_to(run_dir, target, nimg):
    """A copy of a run as it was when the checkpoint at `nimg` had just been written."""
    shutil.copytree(str(run_dir), str(target))
    os.unlink(os.path.join(str(target), 'network-final.pkl'))
    folder = os.path.join(str(target), 'checkpoints')
    for path in checkpoint.list_checkpoints(folder):
        if path > checkpoint.checkpoint_path(folder, nimg):
            os.unlink(path)
    return target


def dataset_in(tfrecord_dir, seed, **_kwargs):
    """The data set in a folder; what the tiny run says of its own is left out."""
    from data.records.dataset import TFRecordDataset
    return TFRecordDataset(tfrecord_dir, seed=seed)


def nan_loss(reals, **kwargs):
    """A loss of D whose numbers have gone wrong."""
    from training.loss import D_logistic
    kwargs.pop('r1_gamma', None)
    return D_logistic(reals=reals, **kwargs) * float('nan')


def long_metric(name, ask_to_stop):
    """A metric of a thousand chunks; in the third it calls `ask_to_stop()`."""
    from dnnlib.tflib import tf
    from metrics.base import MetricBase
    from metrics.scores.result import Result

    class LongMetric(MetricBase):
        chunks = 0

        def _evaluate(self, ctx):
            def feed(chunk):
                if chunk == 2:
                    ask_to_stop()
                return {'x': chunk}
            inputs = {'x': (tf.int32, [])}
            for _ in ctx.run_chunks('long', 1000, 1, inputs, lambda index, holders: [holders['x']], feed):
                self.chunks += 1
            result = Result()
            result.add(0)
            return result

    return LongMetric(name)


def broken_metric(name):
    """A metric with a programmer's mistake in it."""
    from metrics.base import MetricBase

    class Broken(MetricBase):
        def _evaluate(self, ctx):
            raise KeyError('no such thing')

    return Broken(name=name)


if __name__ == '__main__':
    # python loop_helpers.py RUN_DIR CONTEXT_JSON OVERRIDES_JSON
    print(train(sys.argv[1], Context(**json.loads(sys.argv[2])), **json.loads(sys.argv[3])))
