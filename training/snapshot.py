"""The pictures that a run draws of itself: which samples they show, and how they reach the disk."""

import os
import re

import numpy as np

from data import pictures
from dnnlib import tflib
from dnnlib.seeds import signed32
from dnnlib.tflib import tf
from dnnlib.util import EasyDict, UserError
from training import codes

# Pixels to fill and the least number of columns and rows, per named size.
_SIZES = {'1080p': (1920, 1080, 3, 2), '4k': (3840, 2160, 7, 4)}
_MOST_CELLS = 32
_MOST_REALS_SEARCHED = 10000  # for classes that are rare, or absent from the data


def grid_size(shape, size='1080p'):
    """(columns, rows) of a picture of samples.

    Args:
        shape: [C, H, W] of a sample, or [C].
        size: '1080p', '4k', or columns and rows as in '8x4'.

    Raises UserError for another size.
    """
    height, width = shape[1:] or (1, 1)
    match = re.match(r'([1-9]\d{0,2})x([1-9]\d{0,2})$', str(size))
    if match:
        return int(match.group(1)), int(match.group(2))
    if size not in _SIZES:
        raise UserError(f"grid.size is '{size}'; choose {', '.join(sorted(_SIZES))}, or columns and rows as in 8x4")
    full_width, full_height, least_columns, least_rows = _SIZES[size]
    return (int(np.clip(full_width // width, least_columns, _MOST_CELLS)),
            int(np.clip(full_height // height, least_rows, _MOST_CELLS)))


def cell_classes(size, layout, num_classes):
    """The class that each cell of a grid shows, int [rows * columns], or None where any will do.

    layout: 'random', 'row_per_class', 'col_per_class', or 'class4x4' (blocks of 4 by 4 cells per class). Where there
    are more rows, columns or blocks than classes, they start over. Raises UserError for another layout, and for classes
    without labels.
    """
    columns, rows = size
    y, x = np.divmod(np.arange(columns * rows), columns)
    if layout == 'random':
        return None
    if layout not in ('row_per_class', 'col_per_class', 'class4x4'):
        raise UserError(f"grid.layout is '{layout}'; choose random, row_per_class, col_per_class or class4x4")
    if num_classes < 1:
        raise UserError(f'grid.layout is {layout}, but the data set has no labels; use random, or a labelled data set')
    blocks_per_row = (columns - 1) // 4 + 1
    which = {'row_per_class': y, 'col_per_class': x, 'class4x4': y // 4 * blocks_per_row + x // 4}[layout]
    return which % num_classes


def choose_grid(training_set, latent_shape, size='1080p', layout='random', zoom=1, seed=0):
    """Draws what a run's pictures show, once; equal seeds and data give equal grids.

    The data set's position in training is left as it was.

    Args:
        training_set: what the reals are of.
        latent_shape: shape of one latent.
        size: what a picture shows: as many samples as a screen has room for, at most 32 x 32, or columns and rows;
            1080p, 4k or a size such as 8x4
        layout: which sample is where: any, or one class per row, per column, or per block of 4x4;
            random, row_per_class, col_per_class or class4x4
        zoom: how often each pixel is repeated across and down, so that small samples can be seen;
            a whole number from 1 to 32
        seed: chooses latents.

    Returns EasyDict(size=(columns, rows), zoom, latents [N, ...] float32, reals [N, ...] in the data's own type,
    labels [N, label_size]).
    """
    scale = 1 if codes.codec_of(training_set) is None else codes.codec_of(training_set).get('downscale', 4)
    size = grid_size([side * scale for side in training_set.shape], size)
    num = size[0] * size[1]
    classes = cell_classes(size, layout, training_set.label_size)
    latents = np.random.RandomState(seed).randn(num, *latent_shape).astype(np.float32)
    position = training_set.state_dict()
    if classes is None:
        reals, labels = training_set.get_minibatch_np(num)
    else:
        reals, labels = _reals_of_classes(training_set, classes)
    training_set.load_state_dict(position)
    return EasyDict(size=size, zoom=zoom, latents=latents, reals=reals, labels=labels)


def _reals_of_classes(training_set, classes):
    """The first reals of the wanted classes (the label's largest entry); cells without one stay zero."""
    reals = np.zeros([len(classes)] + list(training_set.shape), dtype=training_set.dtype)
    labels = np.zeros([len(classes), training_set.label_size], dtype=training_set.label_dtype)
    labels[np.arange(len(classes)), classes] = 1
    empty = {index: list(np.flatnonzero(classes == index)) for index in set(classes.tolist())}
    searched = 0
    while any(empty.values()) and searched < min(training_set.num_images, _MOST_REALS_SEARCHED):
        batch, batch_labels = training_set.get_minibatch_np(32)
        searched += len(batch)
        for real, label in zip(batch, batch_labels):
            cells = empty.get(int(np.argmax(label)))
            if cells:
                cell = cells.pop(0)
                reals[cell], labels[cell] = real, label
    return reals, labels


class SnapshotGrid:
    """Draws the same latents with the current generator again and again.

    Noise inside the generator is a function of the run's seed and the cell, so equal weights give equal pictures.

    Args:
        Gs: the network to draw with, in validation mode (no truncation).
        training_set: knows how its samples are drawn.
        grid: from `choose_grid`.
        seed: the run's seed.
        drange_net: dynamic range of what Gs gives.
        minibatch_size: samples per session call.
        D: the discriminator, whose field is drawn too where the data set knows how; None to leave it out.
    """

    def __init__(self, Gs, training_set, grid, seed, drange_net=(-1, 1), minibatch_size=8, D=None):
        self.training_set = training_set
        self.grid = grid
        self.drange_net = drange_net
        self.minibatch_size = minibatch_size
        with tf.name_scope('SnapshotGrid'), tf.device(tflib.device_name(0)):
            self._latents = tf.placeholder(tf.float32, [None] + list(Gs.input_shapes[0][1:]))
            self._labels = tf.placeholder(tf.float32, [None] + list(Gs.input_shapes[1][1:]))
            self._first = tf.placeholder(tf.int32, [])
            with tflib.rnd.seed_scope(tf.stack([tf.constant(signed32(seed), tf.int32), self._first])):
                self._samples = Gs.get_output_for(self._latents, self._labels, is_validation=True,
                                                  seed=tflib.rnd.next_seed())
            self._scores = None
            field_points = getattr(training_set, 'field_points', None)
            if field_points is not None and D is not None:
                field = tf.constant(field_points(drange_net))
                self._scores = D.get_output_for(field, tf.zeros([field.shape[0], D.input_shapes[1][1]]))

    def draw(self):
        """Samples [N, ...] float32 of the current weights."""
        latents, labels = self.grid.latents, self.grid.labels
        parts = []
        for first in range(0, len(latents), self.minibatch_size):
            part = slice(first, first + self.minibatch_size)
            parts.append(tflib.run(self._samples, {self._latents: latents[part], self._labels: labels[part],
                                                   self._first: first}))
        return np.concatenate(parts)

    def save_fakes(self, path):
        """Stores a picture of what the generator makes now, unless the data cannot be drawn."""
        if can_draw(self.training_set):
            field = {} if self._scores is None else {'scores': tflib.run(self._scores)}
            save_samples(self.training_set, self.draw(), path, self.drange_net, self.grid.size, self.grid.zoom, **field)


class ReconstructionGrid(SnapshotGrid):
    """The same for a codec in training: each image and, on its right, what is left of it."""

    def __init__(self, Gs, training_set, grid, seed, drange_net=(-1, 1), minibatch_size=8, D=None):
        inputs = pictures.adjust_dynamic_range(grid.reals.astype(np.float32), training_set.dynamic_range, drange_net)
        grid = EasyDict(grid, latents=inputs)
        super().__init__(Gs, training_set, grid, seed, drange_net, minibatch_size, D)

    def draw(self):
        """Samples [N, C, H, 2 W] float32: inputs and reconstructions side by side."""
        return np.concatenate([self.grid.latents, super().draw()], axis=3)


def can_draw(training_set):
    """Whether samples of this data set can be shown as a picture."""
    return (training_set.is_image or codes.codec_of(training_set) is not None
            or getattr(training_set, 'draw_samples', None) is not None)


def save_samples(training_set, samples, path, drange, size, zoom=1, **field):
    """Stores samples [N, ...] as a picture, the way the data set wants to be drawn, if it can be.

    Images are stored `zoom` times as large, with visible pixels.

    Data that are not images may bring a method `draw_samples(samples, drange, (columns, rows))` that returns an
    image [C, H, W] in [0, 1]. If they bring `field_points(drange)` too, which gives samples [M, ...], `field` holds
    the discriminator's `scores` [M, 1] of these, as a further argument.
    """
    if getattr(training_set, 'draw_samples', None) is not None:
        pictures.save_image(training_set.draw_samples(samples, drange, size, **field), path)
    elif training_set.is_image or codes.codec_of(training_set) is not None:
        samples = samples.repeat(zoom, axis=2).repeat(zoom, axis=3)
        pictures.save_image_grid(samples, path, drange=drange, grid_size=size)


def save_reals(training_set, grid, run_dir, G):
    """Stores `reals.png`, unless the run has one already. Codes are shown as G's decoder makes images of them."""
    path = os.path.join(run_dir, 'reals.png')
    if os.path.exists(path):
        return
    if codes.codec_of(training_set) is not None:
        save_samples(training_set, codes.decode(G, grid.reals), path, (-1, 1), grid.size, grid.zoom)
    else:
        save_samples(training_set, grid.reals, path, training_set.dynamic_range, grid.size, grid.zoom)

