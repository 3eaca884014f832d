"""Computes networks' numbers and scores on the engine that runs this script: `cross_engine_probe.py FOLDER NAME`.

Networks and faces lie in FOLDER, and are made if they are missing; results are FOLDER/NAME.npz and FOLDER/NAME/*.json.
`tools/compare_engines.py` runs it once per engine on the same files and compares.
"""

import os
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from golden_networks import fill  # noqa: E402, needs the path above

from data.converters.create_toyfaces import create_toyfaces  # noqa: E402
from dnnlib import tflib  # noqa: E402
from dnnlib.tflib import tf  # noqa: E402
from metrics.group import MetricGroup  # noqa: E402
from metrics.presets import preset  # noqa: E402
from training import loss, misc  # noqa: E402

SIZE = dict(num_channels=3, fmap_base=128, fmap_max=32)
LATENT = dict(latent_size=32, dlatent_size=32, mapping_fmaps=32)
LODS = (0.0, 1.3)
MINIBATCH = 8
# Graphs that run a few times are not worth optimizing.
SESSION = {'graph_options.rewrite_options.disable_meta_optimizer': True, 'rnd.np_random_seed': 1}
METRICS = dict(
    fid50k=dict(num_images=200), kid50k=dict(num_images=200, num_subsets=10, subset_size=100),
    pr50k=dict(num_images=200), fid50k_mix2=dict(num_images=200), ppl_zfull=dict(num_samples=400),
    ppl_wfull=dict(num_samples=400), ppl_zend=dict(num_samples=400), ppl_wend=dict(num_samples=400),
    ls=dict(num_samples=400, num_keep=200, attrib_indices=[0, 1, 2, 3]))


class NoLabels:
    """What the losses ask of a data set, for one without labels."""

    label_size = 0

    def get_random_labels_tf(self, num):
        return tf.zeros([num, 0])


def make_networks(path, resolution):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', resolution=resolution, **LATENT, **SIZE)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', resolution=resolution, **SIZE)
    # Values of every kind: zero biases would hide mistakes, and constant inputs would be normalised to pure rounding.
    fill(G, 7)
    fill(D, 8)
    misc.save_pkl((G, D, G.clone('Gs')), path)


def make_files(folder):
    """Networks of 16x16 for the numbers; of 32x32, the least that path lengths are made for, and faces for scores."""
    for name, resolution in (('numbers.pkl', 16), ('scores.pkl', 32)):
        with tf.Graph().as_default(), tflib.create_session(SESSION).as_default():
            make_networks(os.path.join(folder, name), resolution)
    create_toyfaces(os.path.join(folder, 'faces'), resolution=32, num=200, workers=1)


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


def numbers(network_path):
    """Images, scores, gradients, losses and an update as {name: array}."""
    G, D, Gs = misc.load_pkl(network_path)
    rnd = np.random.RandomState(0)
    latents = rnd.randn(MINIBATCH, *G.input_shape[1:]).astype(np.float32)
    reals = tf.constant(rnd.uniform(-1, 1, [MINIBATCH, 3, 16, 16]).astype(np.float32))
    scores = D.get_output_for(reals, tf.zeros([MINIBATCH, 0]))
    image_grad = tf.gradients(tf.reduce_sum(scores), [reals])[0]
    second = tf.gradients(tf.reduce_sum(tf.square(image_grad)), list(D.trainables.values()))
    second = tf.stack([tf.norm(grad) for grad in second if grad is not None])
    tensors = dict(scores=scores, image_grad=image_grad, second_grad_norms=second, **step_losses(G, D, reals))
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    results = {}
    for lod in LODS:
        tflib.set_vars({net.find_var('lod'): lod for net in (G, D, Gs)})
        results[f'images_lod{lod}'] = Gs.run(latents, None, is_validation=True, randomize_noise=False)
        for name, value in zip(tensors, tflib.run(list(tensors.values()))):
            results[f'{name}_lod{lod}'] = value
    results['injected_update'] = injected_update(D)
    return results


def main(folder, name):
    tflib.select_device('cpu')
    if not os.path.exists(os.path.join(folder, 'faces')):
        make_files(folder)
    with tf.Graph().as_default(), tflib.create_session(SESSION).as_default():
        results = numbers(os.path.join(folder, 'numbers.pkl'))
    np.savez(os.path.join(folder, name + '.npz'), engine=np.array(tflib.ENGINE), **results)
    specs = [preset(metric, minibatch_per_gpu=20, **settings) for metric, settings in METRICS.items()]
    MetricGroup(specs).run(
        os.path.join(folder, 'scores.pkl'), dataset_args=dict(tfrecord_dir=os.path.join(folder, 'faces')),
        features='standin', cache_dir=None, out_dir=os.path.join(folder, name), tf_config=SESSION)


if __name__ == '__main__':
    main(*sys.argv[1:])
