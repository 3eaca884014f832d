"""A run so small that tests can afford several, and a command line that starts it as a process of its own."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

TINY_NETWORK = dict(fmap_base=64, fmap_max=16)
TINY_MAPPING = dict(latent_size=16, dlatent_size=16, mapping_fmaps=16, mapping_layers=2)


class Context:
    """Stands in for RunContext: never asks to stop, unless told after how many questions."""

    def __init__(self, stop_after=None):
        self.questions = 0
        self.stop_after = stop_after

    def should_stop(self):
        self.questions += 1
        return self.stop_after is not None and self.questions > self.stop_after

    def update(self, **_kwargs):
        pass


def tiny_args(**overrides):
    """Arguments of training_loop: 16x16 noise pictures in two classes, growing from 4x4 within 0.3 kimg.

    Each resolution trains for 48 images and fades in over 48; an iteration is 16 images.
    """
    args = dict(
        G_args=dict(func_name='training.networks_stylegan.G_style', **TINY_NETWORK, **TINY_MAPPING),
        D_args=dict(func_name='training.networks_stylegan.D_basic', **TINY_NETWORK),
        G_opt_args=dict(beta1=0.0, beta2=0.99, epsilon=1e-8), D_opt_args=dict(beta1=0.0, beta2=0.99, epsilon=1e-8),
        G_loss_args=dict(func_name='training.loss.G_logistic_nonsaturating'),
        D_loss_args=dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0),
        dataset_args=dict(class_name='training.dataset.SyntheticDataset', resolution=16, num_images=100, label_size=2),
        sched_args=dict(lod_initial_resolution=4, lod_training_kimg=0.048, lod_transition_kimg=0.048,
                        minibatch_base=8, minibatch_dict={16: 4}, tick_kimg_base=0.096, tick_kimg_dict={}),
        grid_args=dict(size='4x2'), tf_config={'intra_op_parallelism_threads': 2, 'inter_op_parallelism_threads': 2},
        seed=7, device='cpu', total_kimg=0.24, minibatch_repeats=2, checkpoint_kimg=0.032, mirror_augment=True,
        G_smoothing_kimg=0.1)
    args.update(overrides)
    return args


def train(run_dir, context=None, **overrides):
    """One training run in a graph and a session of its own. Returns what `training_loop` returns."""
    from dnnlib import tflib
    from training.training_loop import training_loop
    os.makedirs(run_dir, exist_ok=True)
    args = tiny_args(**overrides)
    config = dict({'device_count.CPU': args.get('num_gpus', 1)}, **args['tf_config'])
    with tflib.tf.Graph().as_default(), tflib.create_session(config).as_default():
        tflib.tf.set_random_seed(args['seed'])
        return training_loop(run_dir=str(run_dir), run_context=context or Context(), **args)
