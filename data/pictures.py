"""Arrays of samples as pictures: their ranges of values, grids of them, files, flips."""

import numpy as np

from dnnlib.files import atomic_path


def adjust_dynamic_range(data, drange_in, drange_out):
    """Maps values linearly so that the range `drange_in` becomes `drange_out`; float32 where they differ."""
    if list(drange_in) == list(drange_out):
        return data
    scale = (np.float32(drange_out[1]) - np.float32(drange_out[0])) / (
        np.float32(drange_in[1]) - np.float32(drange_in[0]))
    return data * scale + (np.float32(drange_out[0]) - np.float32(drange_in[0]) * scale)


def create_image_grid(images, grid_size=None):
    """Lays images [N, C, H, W] (or [N, H, W]) out row by row in one picture [C, rows*H, columns*W].

    `grid_size` is (columns, rows), by default nearly a square; cells beyond N stay zero.
    """
    images = np.asarray(images)
    assert images.ndim in (3, 4), images.shape
    num, height, width = images.shape[0], images.shape[-2], images.shape[-1]
    if grid_size is None:
        columns = max(int(np.ceil(np.sqrt(num))), 1)
        grid_size = columns, max((num - 1) // columns + 1, 1)
    columns, rows = grid_size
    grid = np.zeros(list(images.shape[1:-2]) + [rows * height, columns * width], dtype=images.dtype)
    for index in range(min(num, columns * rows)):
        y, x = index // columns * height, index % columns * width
        grid[..., y:y + height, x:x + width] = images[index]
    return grid


def convert_to_pil_image(image, drange=(0, 1)):
    """A PIL image from an array [H, W] or [C, H, W] with 1, 3 or 4 channels; values are rounded and clipped.

    Raises ValueError for other channels.
    """
    from PIL import Image
    image = np.asarray(image)
    assert image.ndim in (2, 3), image.shape
    if image.ndim == 3 and image.shape[0] == 1:
        image = image[0]
    image = adjust_dynamic_range(image, drange, [0, 255])
    image = np.rint(image).clip(0, 255).astype(np.uint8)
    if image.ndim == 2:
        return Image.fromarray(image)
    if image.shape[0] not in (3, 4):
        raise ValueError(f'an image has 1, 3 or 4 channels; this array has the shape {list(image.shape)}')
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def save_image(image, filename, drange=(0, 1), quality=95):
    """Stores an array [H, W] or [C, H, W] as a picture, atomically; the suffix chooses the format."""
    picture = convert_to_pil_image(image, drange)
    options = {'quality': quality, 'optimize': True} if filename.lower().endswith(('.jpg', '.jpeg')) else {}
    with atomic_path(filename) as temp:
        picture.save(temp, **options)


def save_image_grid(images, filename, drange=(0, 1), grid_size=None):
    """Stores images [N, C, H, W] as one picture; see `create_image_grid`."""
    save_image(create_image_grid(images, grid_size), filename, drange)


def apply_mirror_augment(minibatch, rng=np.random):
    """A copy of images [N, C, H, W] of which each is flipped left to right with probability 1/2."""
    mask = rng.rand(minibatch.shape[0]) < 0.5
    minibatch = np.array(minibatch)
    minibatch[mask] = minibatch[mask, :, :, ::-1]
    return minibatch
