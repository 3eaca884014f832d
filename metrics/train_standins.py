"""Trains the stand-in networks on drawn faces: `python -m metrics.train_standins DATASET_DIR`.

The data set is made by `dataset_tool.py create_toyfaces DATASET_DIR --resolution 32 --num 20000 --seed 1000`: another
seed than any that networks are trained on. Takes some minutes on two CPU cores. `--identity 60` trains the network
that tells persons apart, on `create_toyfaces DATASET_DIR --resolution 32 --num 5000 --identities 250 --seed 1000`.
"""

import os
import sys
from collections import OrderedDict

import numpy as np

from data.pictures import apply_mirror_augment
from data.records import dataset
from dnnlib import tflib
from dnnlib.command_line import Parser
from dnnlib.files import atomic_path, make_folders, write_json
from dnnlib.progress import Progress
from dnnlib.seeds import seed_option
from dnnlib.tflib import tf
from dnnlib.util import UserError, run_main
from metrics import arithmetic, classifier_training
from metrics.networks import embedding, standin
from metrics.networks.choice import is_toyfaces
from metrics.networks.files import slug

MAX_BYTES = 2 << 20
CLASSIFIER = dict(func_name='training.networks_stylegan.D_basic', fmap_base=64, fmap_max=16, num_channels=3,
                  resolution=standin.SIZE, label_size=0, mbstd_group_size=0)
FEATURES = dict(func_name='metrics.networks.standin.standin_features', reduction='area')
PERCEPTUAL = dict(func_name='metrics.networks.vgg16_lpips.vgg16_lpips', stages=standin.PERCEPTUAL_STAGES)


def train_features(data, num_images, seed, batch=64, learning_rate=1e-3):
    """The feature network, with a linear classifier of all attributes on top that is thrown away.

    Returns (network, {'accuracy': mean accuracy on held-out images, 'majority': that of the commoner classes}).
    """
    net = tflib.Network('features', **FEATURES)
    images_in = tf.placeholder(tf.float32, [None] + list(data.shape))
    targets_in = tf.placeholder(tf.float32, [None, data.label_size])
    with tf.variable_scope('head'):
        weight = tf.get_variable('weight', [net.output_shape[1], data.label_size])
        bias = tf.get_variable('bias', [data.label_size], initializer=tf.zeros_initializer())
    logits = tf.matmul(net.get_output_for(images_in), weight) + bias
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(logits=logits, labels=targets_in))
    rate = tf.placeholder(tf.float32, [])
    optimizer = tflib.Optimizer(name='TrainFeatures', learning_rate=rate)
    optimizer.register_gradients(loss, list(net.trainables.values()) + [weight, bias])
    train_op = optimizer.apply_updates()
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    num_train = int(data.num_images * (1 - classifier_training.HELD_OUT_SHARE))
    rng = np.random.RandomState(seed)
    with Progress('features', num_images, 'images', stream=sys.stderr) as progress:
        for done in range(0, num_images, batch):
            images, targets = data.get_samples_np(rng.randint(num_train, size=batch))
            tflib.run(train_op, {images_in: apply_mirror_augment(images, rng), targets_in: targets,
                                 rate: learning_rate * (1 - done / num_images)})
            progress.add(batch)
    images, targets = data.get_samples_np(np.arange(num_train, data.num_images))
    correct = (tflib.run(logits, {images_in: images}) > 0) == (targets > 0.5)
    share = np.mean(targets > 0.5, axis=0)
    return net, dict(accuracy=float(np.mean(correct)), majority=float(np.mean(np.maximum(share, 1 - share))),
                     accuracy_by_attribute=[round(float(value), 4) for value in np.mean(correct, axis=0)])


def distort(images, strengths, rng):
    """Changes images [N, C, H, W], each in one random way: noise, colour, shift, blend with another, or a patch.

    strengths [N] in [0, 1] say how much. Values stay within 0...255.
    """
    images = images.astype(np.float32)
    result = images.copy()
    others = images[rng.permutation(len(images))]
    size = images.shape[-1]
    for index, (kind, strength) in enumerate(zip(rng.randint(5, size=len(images)), strengths)):
        image = images[index]
        if kind == 0:
            image = image + 60 * strength * rng.randn(*image.shape)
        elif kind == 1:
            image = image + 80 * strength * rng.uniform(-1, 1, [len(image), 1, 1])
        elif kind == 2:
            shift = np.round(8 * strength * rng.uniform(-1, 1, 2)).astype(int)
            image = np.roll(image, shift, axis=(1, 2))
        elif kind == 3:
            image = image + strength * (others[index] - image)
        else:
            edge = max(int(size * 0.7 * strength), 1)
            y, x = rng.randint(size - edge + 1, size=2)
            image = image.copy()
            image[:, y:y + edge, x:x + edge] = others[index][:, y:y + edge, x:x + edge]
        result[index] = np.clip(image, 0, 255)
    return result


def train_perceptual(data, num_images, seed, batch=32, learning_rate=1e-3):
    """The perceptual network: of two distortions of an image, the stronger one shall lie farther away.

    Returns (network, {'accuracy': share of held-out pairs ordered rightly}).
    """
    net = tflib.Network('perceptual', **PERCEPTUAL)
    holders = [tf.placeholder(tf.float32, [None] + list(data.shape)) for _ in range(3)]
    near, far = (net.get_output_for(holders[0], other) for other in holders[1:])
    loss = tf.reduce_mean(tf.nn.softplus((near - far) / 0.05))
    optimizer = tflib.Optimizer(name='TrainPerceptual', learning_rate=learning_rate)
    optimizer.register_gradients(loss, net.trainables)
    with tf.control_dependencies([optimizer.apply_updates()]):
        linear = [var for name, var in net.trainables.items() if name.startswith('lin')]
        train_op = tf.group(*[tf.assign(var, tf.maximum(var, 0.0)) for var in linear])
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    num_train = int(data.num_images * (1 - classifier_training.HELD_OUT_SHARE))
    rng = np.random.RandomState(seed)

    def triplets(indices):
        images, _ = data.get_samples_np(indices)
        low, high = np.sort(rng.uniform(0, 1, [2, len(images)]), axis=0)
        state = rng.randint(2 ** 31)
        # The same kind of distortion and the same draws for both, so that only the strength differs.
        pair = [distort(images, strength, np.random.RandomState(state)) for strength in (low, high)]
        return dict(zip(holders, [images.astype(np.float32)] + pair))

    with Progress('perceptual', num_images, 'images', stream=sys.stderr) as progress:
        for _ in range(0, num_images, batch):
            tflib.run(train_op, triplets(rng.randint(num_train, size=batch)))
            progress.add(batch)
    is_right = tflib.run(tf.less(near, far), triplets(np.arange(num_train, min(num_train + 1000, data.num_images))))
    return net, dict(accuracy=float(np.mean(is_right)))


def train_identity(data, num_images, seed, batch=64, learning_rate=2e-3, sharpness=16.0):
    """The network that tells persons apart: a classifier of persons by the angle to a direction of each, thrown away.

    Returns (network, {'auc': of same against different persons, among persons that it was not trained on}).
    """
    net = tflib.Network('identity', **embedding.STANDIN)
    images_in = tf.placeholder(tf.float32, [None] + list(data.shape))
    persons_in = tf.placeholder(tf.int32, [None])
    num_persons = int(data.label_size * (1 - classifier_training.HELD_OUT_SHARE))
    with tf.variable_scope('head'):
        directions = tf.get_variable('directions', [num_persons, net.output_shape[1]])
    features = tf.nn.l2_normalize(net.get_output_for(images_in), axis=1)
    logits = sharpness * tf.matmul(features, tf.nn.l2_normalize(directions, axis=1), transpose_b=True)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=persons_in, logits=logits))
    rate = tf.placeholder(tf.float32, [])
    optimizer = tflib.Optimizer(name='TrainIdentity', learning_rate=rate)
    optimizer.register_gradients(loss, list(net.trainables.values()) + [directions])
    train_op = optimizer.apply_updates()
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    persons = data.get_samples_np(np.arange(data.num_images))[1].argmax(axis=1)
    known, held_out = np.flatnonzero(persons < num_persons), np.flatnonzero(persons >= num_persons)
    rng = np.random.RandomState(seed)
    with Progress('identity', num_images, 'images', stream=sys.stderr) as progress:
        for done in range(0, num_images, batch):
            chosen = rng.choice(known, batch)
            tflib.run(train_op, {images_in: apply_mirror_augment(data.get_samples_np(chosen)[0], rng),
                                 persons_in: persons[chosen], rate: learning_rate * (1 - done / num_images)})
            progress.add(batch)
    vectors = tflib.run(features, {images_in: data.get_samples_np(held_out)[0]})
    distances = 1 - vectors @ vectors.T
    same = persons[held_out][:, None] == persons[held_out][None]
    pairs = np.triu_indices(len(held_out), 1)
    return net, dict(auc=arithmetic.roc(distances[pairs][same[pairs]], distances[pairs][~same[pairs]])['auc'],
                     num_persons=num_persons, num_held_out=data.label_size - num_persons)


def write_identity(data, args):
    """Trains the network that tells persons apart, and writes its weights and record."""
    net, facts = train_identity(data, int(args.identity * 1000), args.seed)
    make_folders(args.out)
    path = os.path.join(args.out, os.path.basename(embedding.STANDIN_WEIGHTS))
    with atomic_path(path) as temp:
        np.savez_compressed(temp, **dict(zip(net.vars, tflib.get_vars(list(net.vars.values())))))
    write_json(os.path.join(args.out, os.path.basename(embedding.STANDIN_RECORD)), OrderedDict(
        note='stand-in trained on drawn persons; distances of it say nothing about photographs',
        dataset=OrderedDict(fingerprint=data.fingerprint, num_images=data.num_images), engine=tf.__version__, **facts))
    print(f"identity: AUC {facts['auc']:.4f} among {facts['num_held_out']} persons held out; {path}", flush=True)


def train_all(data, kimg, seed):
    """Trains every stand-in; returns (record of networks, {'name:variable': array}, attributes left out).

    Attributes that a classifier of this size does not learn are left out.
    """
    entries, arrays, left_out = OrderedDict(), OrderedDict(), []

    def keep(name, settings, net, facts):
        kwargs = {key: value for key, value in settings.items() if key != 'func_name'}
        entries[name] = OrderedDict([('func_name', settings['func_name']), ('kwargs', kwargs)], **facts)
        arrays.update((f'{name}:{key}', value) for key, value in zip(net.vars, tflib.get_vars(list(net.vars.values()))))
        print(f"{name}: accuracy {facts['accuracy']:.4f}"
              + (f" (commoner class {facts['majority']:.4f})" if 'majority' in facts else ''), flush=True)

    keep('features', FEATURES, *train_features(data, int(kimg.features * 1000), seed))
    keep('perceptual', PERCEPTUAL, *train_perceptual(data, int(kimg.perceptual * 1000), seed))
    for column, name in enumerate(data.label_names):
        net = tflib.Network('classifier-' + slug(name), **CLASSIFIER)
        trainer = classifier_training.Trainer(net, data, column, minibatch_size=16, learning_rate=kimg.classifier_rate,
                                              seed=seed)
        trainer.train(int(kimg.classifiers * 1000), label=slug(name))
        facts = {key: value for key, value in trainer.evaluate().items() if key != 'seconds'}
        if is_useful(facts):
            keep('classifier-' + slug(name), CLASSIFIER, net, dict(facts, attribute=slug(name)))
        else:
            left_out.append(slug(name))
            print(f"classifier-{slug(name)}: left out, its accuracy is {facts['accuracy']:.4f} where always naming the "
                  f"commoner class gives {facts['majority']:.4f}", flush=True)
    return entries, arrays, left_out


def is_useful(facts):
    """Whether a classifier makes clearly fewer mistakes than always naming the commoner class."""
    return 1 - facts['accuracy'] < 0.6 * (1 - facts['majority'])


def main(argv=None):
    """Parses the command line, trains, and writes weights and record."""
    parser = Parser(prog='python -m metrics.train_standins',
                    description='Trains the stand-in networks of the metrics on drawn faces.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='data set of drawn faces, 32x32, with labels')
    parser.add_argument('--out', default=standin.FOLDER, metavar='DIR', help='folder (default: metrics/standins)')
    parser.add_argument('--features', type=float, default=150, metavar='KIMG', help='thousands of images for the '
                        'feature network (default 150)')
    parser.add_argument('--perceptual', type=float, default=15, metavar='KIMG', help='for the perceptual network '
                        '(default 15)')
    parser.add_argument('--classifiers', type=float, default=20, metavar='KIMG', help='for each classifier '
                        '(default 20)')
    parser.add_argument('--classifier-rate', type=float, default=0.01, metavar='RATE', help='learning rate of the '
                        'classifiers (default 0.01)')
    parser.add_argument('--identity', type=float, metavar='KIMG', help='train only the network that tells persons '
                        'apart, on a data set made with --identities')
    parser.add_argument('--seed', type=seed_option, default=1, metavar='INT', help='seed (default 1)')
    args = parser.parse_args(argv)
    if not is_toyfaces(dict(tfrecord_dir=args.dataset_dir)):
        raise UserError(f'{args.dataset_dir} is not a data set of drawn faces; make one with: dataset_tool.py '
                        f'create_toyfaces {args.dataset_dir} --resolution 32 --num 20000 --seed 1000')
    tflib.select_device('cpu')
    tflib.init_tf({'rnd.np_random_seed': args.seed})
    with dataset.load_dataset(tfrecord_dir=args.dataset_dir, max_label_size='full', prefetch_mb=0,
                              resolution=standin.SIZE) as data:
        if args.identity is not None:
            write_identity(data, args)
            return
        networks, arrays, left_out = train_all(data, args, args.seed)
        record = OrderedDict(
            note='stand-ins trained on drawn faces; scores with them are comparable with nothing else',
            dataset=OrderedDict(fingerprint=data.fingerprint, num_images=data.num_images),
            engine=tf.__version__, networks=networks, left_out=left_out)
    make_folders(args.out)
    path = os.path.join(args.out, os.path.basename(standin.WEIGHTS))
    with atomic_path(path) as temp:
        np.savez_compressed(temp, **arrays)
        if os.path.getsize(temp) > MAX_BYTES:
            raise UserError(f'the stand-ins would take {os.path.getsize(temp)} bytes, more than {MAX_BYTES}')
    write_json(os.path.join(args.out, os.path.basename(standin.RECORD)), record)
    print(f'{len(networks)} stand-ins in {path} ({os.path.getsize(path)} bytes)', flush=True)


if __name__ == '__main__':
    run_main(main)
