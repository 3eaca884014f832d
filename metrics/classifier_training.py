"""Trains classifiers of single attributes, as linear separability needs them (StyleGAN paper, section 8).

The network is the discriminator without minibatch statistics; one logit; the prediction is softmax([logit, -logit]), so
a positive logit says that the attribute applies. Adam with rate 1e-3, minibatch 8, 150,000 images in the paper.
"""

import os
import sys
import time

import numpy as np

from data import pictures
from data.records import dataset
from dnnlib import tflib
from dnnlib.files import write_json
from dnnlib.progress import Progress
from dnnlib.seeds import check_seed
from dnnlib.tflib import pickle_writer, tf
from dnnlib.util import UserError
from metrics.networks.files import find_attribute, slug

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'train': ('train_classifier',)}

HELD_OUT_SHARE = 0.1


def train_classifier(
    run_dir,                                # Folder that the run writes to.
    run_context,                            # dnnlib.submission.RunContext, or anything with its methods.
    D_args,                                 # The network: func_name and keywords.
    D_opt_args,                             # tflib.Optimizer: keywords.
    dataset_args,                           # training.dataset.load_dataset: keywords.
    attribute               = None,         # Name (such as smiling) or column of the label to learn;
                                            # a text, a whole number from 0 to 100000, or null
    total_kimg              = 150,          # Thousands of images to train on; a number from 0.001 to 1e9
    minibatch_size          = 8,            # Images per step, all devices together; 1 to 1000000
    learning_rate           = 0.001,        # Adam's rate; 0 to 10
    mirror_augment          = True,         # Flip images left to right with probability 1/2.
    held_out                = HELD_OUT_SHARE,   # Share of the images, the last ones, that accuracy is measured on;
                                                # a number from 1e-6 to 0.999999
    tf_config               = None,         # dnnlib.tflib.init_tf: flat dict.
    seed                    = 1000,         # All random numbers of the run follow from it; 0 to 2147483647
    device                  = 'auto',       # What to compute on; auto, cpu or gpu
    num_gpus                = 1,            # Only 1 is supported; 1 to 1024
):
    """Trains one classifier and writes `classifier-<attribute>.pkl`, a pickle of one network, and its accuracy.

    Returns 'finished', or 'stopped' if the run was asked to end early (nothing is stored then).

    Raises UserError for settings that cannot be followed.
    """
    if num_gpus != 1:
        raise UserError(f'num_gpus is {num_gpus}; a classifier is trained on one device')
    if not 0 < held_out < 1:
        raise UserError(f'train.held_out is {held_out}; a share between 0 and 1 is expected')
    check_seed(seed)
    tflib.select_device(device)
    tflib.init_tf(dict(tf_config or {}, **{'rnd.np_random_seed': seed}))
    args = dict(dict(max_label_size='full'), **dict(dataset_args, prefetch_mb=0))
    with dataset.load_dataset(verbose=True, **args) as data:
        column, name = find_attribute(data, attribute)
        net = make_classifier(data, D_args, name)
        net.print_layers()
        trainer = Trainer(net, data, column, D_opt_args, minibatch_size, learning_rate, mirror_augment, held_out, seed)
        print(f"Training a classifier of '{name}' on {trainer.num_train} images, {data.num_images - trainer.num_train} "
              'held out ...', flush=True)
        if not trainer.train(int(total_kimg * 1000), stop=run_context.should_stop, label=name):
            return 'stopped'
        result = trainer.evaluate()
        path = os.path.join(run_dir, f'classifier-{slug(name)}.pkl')
        pickle_writer.save(net, path)
        result.update(settings=dict(D=dict(D_args), D_opt=dict(D_opt_args), total_kimg=total_kimg,
                                    minibatch_size=minibatch_size, learning_rate=learning_rate,
                                    mirror_augment=mirror_augment, held_out=held_out))
        result.update(attribute=slug(name), network=os.path.basename(path), total_kimg=total_kimg, seed=seed,
                      dataset_fingerprint=data.fingerprint)
        write_json(os.path.join(run_dir, f'classifier-{slug(name)}.json'), result)
        print(f"Accuracy on held-out images: {100 * result['accuracy']:.1f} % (the commoner class alone would give "
              f"{100 * result['majority']:.1f} %); {path}", flush=True)
    return 'finished'


def make_classifier(data, D_args, name):
    """The discriminator's layers for a data set, without minibatch statistics and with a single output."""
    kwargs = dict(D_args, mbstd_group_size=0, label_size=0, num_channels=data.shape[0], resolution=data.resolution)
    with tf.device(tflib.device_name(0)):
        return tflib.Network('classifier-' + slug(name), **kwargs)


class Trainer:
    """Fits a network with one logit to one column of a data set's labels."""

    def __init__(self, net, data, column, opt_args=None, minibatch_size=8, learning_rate=0.001, mirror_augment=True,
                 held_out=HELD_OUT_SHARE, seed=1000):
        self.net = net
        self.data = data
        self.column = column
        self.minibatch_size = minibatch_size
        self.num_train = max(int(round(data.num_images * (1 - held_out))), 1)
        self._rng = np.random.RandomState([check_seed(seed), column])
        self._mirror_augment = mirror_augment
        self._images = tf.placeholder(tf.uint8, [None] + list(data.shape))
        self._targets = tf.placeholder(tf.float32, [None])
        with tf.device(tflib.device_name(0)):
            images = pictures.adjust_dynamic_range(tf.cast(self._images, tf.float32), data.dynamic_range, [-1, 1])
            self._logits = net.get_output_for(images, *[None] * (net.num_inputs - 1))[:, 0]
            # Cross-entropy of softmax([logit, -logit]).
            losses = tf.nn.softplus(-2.0 * self._logits * (2.0 * self._targets - 1.0))
            self._loss = tf.reduce_mean(losses)
            optimizer = tflib.Optimizer(name=f'Train_{net.scope}', learning_rate=learning_rate,
                                        **dict(dict(beta1=0.0, beta2=0.99, epsilon=1e-8), **(opt_args or {})))
            optimizer.register_gradients(self._loss, net.trainables)
            self._train_op = optimizer.apply_updates()
        tflib.init_uninitialized_vars()
        tflib.autosummary.finalize_autosummaries()

    def train(self, num_images, stop=lambda: False, label='train'):
        """Trains on `num_images` images; False if `stop()` asked to end early."""
        order, place = self._rng.permutation(self.num_train), 0
        start, recent = time.time(), []
        with Progress(label, num_images, 'images', stream=sys.stderr) as progress:
            done = 0
            while done < num_images:
                if stop():
                    return False
                if place + self.minibatch_size > len(order):
                    order, place = self._rng.permutation(self.num_train), 0
                indices = order[place:place + self.minibatch_size]
                place += len(indices)
                images, targets = self._read(indices)
                if self._mirror_augment:
                    images = pictures.apply_mirror_augment(images, self._rng)
                _, loss = tflib.run([self._train_op, self._loss], {self._images: images, self._targets: targets})
                recent = recent[-199:] + [loss]
                done += len(indices)
                progress.add(len(indices))
        self.train_loss, self.seconds = float(np.mean(recent)), time.time() - start
        return True

    def evaluate(self, batch=64):
        """Accuracy on the held-out images: dict of accuracy, majority (share of the commoner class), and more.

        Raises UserError if none can be held out.
        """
        logits, targets = [], []
        for first in range(self.num_train, self.data.num_images, batch):
            images, part = self._read(np.arange(first, min(first + batch, self.data.num_images)))
            logits.append(tflib.run(self._logits, {self._images: images}))
            targets.append(part)
        if not logits:
            raise UserError(f'the data set has {self.data.num_images} images, too few to hold some out')
        logits, targets = np.concatenate(logits), np.concatenate(targets) > 0.5
        share = float(np.mean(targets))
        correct = (logits > 0) == targets
        return dict(accuracy=float(np.mean(correct)), majority=max(share, 1 - share), share=share,
                    recall=_mean(correct[targets]), specificity=_mean(correct[~targets]),
                    num_train=self.num_train, num_held_out=len(targets), train_loss=self.train_loss,
                    seconds=self.seconds)

    def _read(self, indices):
        images, labels = self.data.get_samples_np(indices)
        targets = labels[:, self.column]
        return images, (targets > 0).astype(np.float32)  # CelebA's files say -1 and 1, others 0 and 1


def _mean(values):
    return float(np.mean(values)) if len(values) else None
