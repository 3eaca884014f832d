"""Computes one network's numbers on the engine that runs this script: `cross_engine_probe.py NETWORKS.pkl OUT.npz`.

`test_cross_engine.py` runs it once per engine on the same file and compares. Makes the file if it is missing.
"""

import os
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from golden_networks import fill  # noqa: E402, needs the path above

from dnnlib import tflib  # noqa: E402
from dnnlib.tflib import tf  # noqa: E402
from training import loss, misc  # noqa: E402

SIZE = dict(num_channels=3, resolution=16, fmap_base=128, fmap_max=32)
LODS = (0.0, 1.3)
MINIBATCH = 8


class NoLabels:
    """What the losses ask of a data set, for one without labels."""

    label_size = 0

    def get_random_labels_tf(self, num):
        return tf.zeros([num, 0])


def make_networks(path):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', latent_size=32, dlatent_size=32, mapping_fmaps=32,
                      **SIZE)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', **SIZE)
    # Values of every kind: zero biases would hide mistakes, and constant inputs would be normalised to pure rounding.
    fill(G, 7)
    fill(D, 8)
    misc.save_pkl((G, D, G.clone('Gs')), path)


def step_losses(G, D, reals):
    """Losses of one training step and the gradients of D's, all draws seeded."""
    G_opt, D_opt = tflib.Optimizer('G_opt'), tflib.Optimizer('D_opt')
    with tflib.rnd.seed_scope(tf.constant([11, 5], tf.int32)):
        G_loss = loss.G_logistic_nonsaturating(G, D, G_opt, NoLabels(), MINIBATCH)
        D_loss = loss.D_logistic_simplegp(G, D, D_opt, NoLabels(), MINIBATCH, reals, tf.zeros([MINIBATCH, 0]))
    G_grads = tf.gradients(tf.reduce_mean(G_loss), list(G.trainables.values()))
    D_grads = tf.gradients(tf.reduce_mean(D_loss), list(D.trainables.values()))
    norms = [[tf.norm(grad) for grad in grads if grad is not None] for grads in (G_grads, D_grads)]
    return dict(G_loss=G_loss, D_loss=D_loss, G_grad_norms=tf.stack(norms[0]), D_grad_norms=tf.stack(norms[1]))


def injected_update(D):
    """D's weights after two updates by Adam with given gradients."""
    rnd = np.random.RandomState(3)
    opt = tflib.Optimizer('Injected', beta1=0.0, beta2=0.99, epsilon=1e-8, learning_rate=0.002)
    terms = [tf.reduce_sum(var * tf.constant(rnd.randn(*var.shape.as_list()).astype(np.float32)))
             for var in D.trainables.values()]
    opt.register_gradients(tf.add_n(terms), D.trainables)
    op = opt.apply_updates()
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    before = tflib.get_vars(list(D.trainables.values()))
    for _ in range(2):
        tflib.run(op)
    after = tflib.get_vars(list(D.trainables.values()))
    return np.concatenate([(b - a).ravel() for a, b in zip(before, after)])


def main(network_path, out_path):
    tflib.init_tf({'rnd.np_random_seed': 1})
    tflib.select_device('cpu')
    if not os.path.exists(network_path):
        make_networks(network_path)
    G, D, Gs = misc.load_pkl(network_path)
    rnd = np.random.RandomState(0)
    latents = rnd.randn(MINIBATCH, *G.input_shape[1:]).astype(np.float32)
    reals = tf.constant(rnd.uniform(-1, 1, [MINIBATCH, 3, 16, 16]).astype(np.float32))
    scores = D.get_output_for(reals, tf.zeros([MINIBATCH, 0]))
    image_grad = tf.gradients(tf.reduce_sum(scores), [reals])[0]
    tensors = dict(scores=scores, image_grad=image_grad, **step_losses(G, D, reals))
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    results = {}
    for lod in LODS:
        tflib.set_vars({net.find_var('lod'): lod for net in (G, D, Gs)})
        results[f'images_lod{lod}'] = Gs.run(latents, None, is_validation=True, randomize_noise=False)
        for name, value in zip(tensors, tflib.run(list(tensors.values()))):
            results[f'{name}_lod{lod}'] = value
    results['injected_update'] = injected_update(D)
    results['engine'] = np.array(tflib.ENGINE)
    np.savez(out_path, **results)


if __name__ == '__main__':
    main(*sys.argv[1:])
