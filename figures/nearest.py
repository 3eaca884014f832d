"""Training images: beside the samples that they are nearest to (Goodfellow et al. 2014, Fig. 2), and a random sample of
them (StyleGAN paper, Fig. 10)."""

import numpy as np

from dnnlib.progress import Progress
from dnnlib.util import UserError
from figures import composing, layouts, panels
from figures.drawing import Figure

ROWS, COLUMNS = 6, 6
FRAME = (235, 190, 40)      # colour around the nearest images
_CHUNK_BYTES = 16 << 20


def nearest_images(dataset, images):
    """(indices int [N], distances float [N]) of the training images nearest to images uint8 [N, C, H, W].

    The distance is the root of the mean squared difference of pixels.
    """
    wanted = images.reshape(len(images), -1).astype(np.float32)
    best, indices = np.full(len(images), np.inf), np.zeros(len(images), np.int64)
    step = max(_CHUNK_BYTES // (wanted.shape[1] * 4), 1)
    with Progress('nearest', dataset.num_images) as progress:
        for start in range(0, dataset.num_images, step):
            chosen = np.arange(start, min(start + step, dataset.num_images))
            reals = dataset.get_samples_np(chosen)[0].reshape(len(chosen), -1).astype(np.float32)
            # Squares of whole numbers below 2^24 are exact, their sums nearly so; the distance is taken again below.
            squared = np.square(reals).sum(axis=1) - 2 * (wanted @ reals.T)
            position = squared.argmin(axis=1)
            found = np.sqrt(np.mean(np.square(reals[position] - wanted), axis=1))
            closer = found < best
            best[closer], indices[closer] = found[closer], chosen[position][closer]
            progress.add(len(chosen))
    return indices, best


def nearest_training_images(gen, dataset, seed=0):
    """ROWS x COLUMNS fair draws, and right of each row the training image that is nearest to its last one.

    Raises UserError if the data set does not hold images like the generator's.
    """
    _check_shape(gen, dataset)
    count = ROWS * COLUMNS
    images = gen.images(gen.latents(seed, count), gen.labels(seed, count), psi=1, noise_seed=seed, title='nearest')
    last = images[COLUMNS - 1::COLUMNS]
    indices, distances = nearest_images(dataset, last.transpose(0, 3, 1, 2))
    reals = dataset.get_samples_np(indices)[0].transpose(0, 2, 3, 1)
    zoom = layouts.zoom_of(gen.resolution)
    size = gen.resolution * zoom
    gap = max(size // 16, 2)
    picture = composing.canvas((COLUMNS + 1) * (size + gap) + 2 * gap, ROWS * (size + gap) + gap + panels.LINE)
    picture.paste(FRAME, (COLUMNS * (size + gap) + gap, panels.LINE, picture.width, picture.height))
    panels.write(picture, (0, 0), 'generated')
    panels.write(picture, (COLUMNS * (size + gap) + gap, 0), 'training data')
    for row in range(ROWS):
        y = row * (size + gap) + gap + panels.LINE
        for column in range(COLUMNS):
            cell = composing.zoomed(composing.to_picture(images[row * COLUMNS + column]), zoom)
            picture.paste(cell, (column * (size + gap), y))
        real = composing.zoomed(composing.to_picture(reals[row]), zoom)
        picture.paste(real, (COLUMNS * (size + gap) + 2 * gap, y))
    return Figure(
        'nearest', 'Samples and the nearest training images',
        f'{count} fair draws of seed {seed}, none left out. Rightmost column, framed: the training image nearest to '
        'the sample on its left, by the difference of pixels.', picture, None, [], [], [],
        dict(seed=seed, nearest_indices=indices.tolist(), distances=distances.tolist()))


def data_set_images(gen, dataset, seed=layouts.DATA_SET_SEED):
    """Training images drawn at random, none left out: a `Figure`.

    Raises UserError if the data set does not hold images like the generator's.
    """
    _check_shape(gen, dataset)
    rows, columns = layouts.DATA_SET_ROWS, layouts.DATA_SET_COLUMNS
    count = min(rows * columns, dataset.num_images)
    indices = np.sort(np.random.RandomState(seed).permutation(dataset.num_images)[:count])
    images = dataset.get_samples_np(indices)[0].transpose(0, 2, 3, 1)
    factor, zoom = max(gen.resolution // layouts.FACE, 1), layouts.zoom_of(gen.resolution)
    cells = [composing.zoomed(composing.shrink(composing.to_picture(image), factor), zoom) for image in images]
    picture = composing.grid([cells[start:start + columns] for start in range(0, count, columns)])
    return Figure('dataset', 'The data set',
                  f'{count} of {dataset.num_images} training images, drawn with seed {seed}, none left out.',
                  picture, None, [], [], [], dict(seed=seed, indices=indices.tolist()))


def _check_shape(gen, dataset):
    if not dataset.is_image or list(dataset.shape) != [gen.num_channels, gen.resolution, gen.resolution]:
        raise UserError(f'the data set holds samples of {dataset.shape}, the network makes images of '
                        f'{[gen.num_channels, gen.resolution, gen.resolution]}; name the data set that it was trained '
                        'on with --dataset')
