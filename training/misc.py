"""Helpers around networks and pictures: loading and storing networks, finding them in run directories, image grids."""

import glob
import os
import re

import numpy as np
from PIL import Image

from dnnlib import util
from dnnlib.util import UserError

# ---- Networks in files


def open_file_or_url(file_or_url, check=None):
    """Opens a path or an http(s) address as a binary file; downloads are kept in the cache folder.

    `check`: what a download must be to be kept, see `dnnlib.util.open_url`.
    """
    if util.is_url(file_or_url):
        import config
        return util.open_url(file_or_url, cache_dir=config.cache_dir, check=check)
    try:
        return open(file_or_url, 'rb')
    except OSError as err:
        raise UserError(f'cannot open {file_or_url}: {err.strerror}') from err


def load_pkl(file_or_url, trust_stored_code=False):
    """Loads the networks of a pickle, (G, D, Gs) or a single one, without executing anything stored in it.

    `trust_stored_code` executes stored module source for build functions that are not ours, for this file only.
    """
    from dnnlib.tflib.safe_pickle import load_network_pickle, read_networks
    with open_file_or_url(file_or_url, check=lambda path, _: read_networks(path)) as file:
        return load_network_pickle(file, trust_stored_code=trust_stored_code, expect='any')


def save_pkl(obj, filename):
    """Stores networks (or plain values) as a pickle that readers of the published files understand, atomically."""
    from dnnlib.tflib import pickle_writer
    with util.atomic_write(filename) as file:
        pickle_writer.dump(obj, file)


# ---- Run directories


def locate_run_dir(run_id_or_run_dir, result_dir=None):
    """The path of a run directory, given that path, or its number (int or digits), or its name in the result folder.

    Raises UserError if there is none, or several of that number.
    """
    text = str(run_id_or_run_dir)
    if os.path.isdir(text):
        return text
    if result_dir is None:
        import config
        result_dir = config.result_dir
    if text and os.path.basename(text) == text and os.path.isdir(os.path.join(result_dir, text)):
        return os.path.join(result_dir, text)
    found = []
    if re.match(r'\d+$', text):
        found = [path for path in sorted(glob.glob(os.path.join(glob.escape(result_dir), '*-*')))
                 if os.path.isdir(path) and re.match(r'0*%d-' % int(text), os.path.basename(path))]
    if len(found) != 1:
        what = f'{len(found)} run directories have the number {text}' if found else f"no run directory '{text}'"
        raise UserError(f'{what} in {result_dir}; give the path of one')
    return found[0]


def list_network_pkls(run_id_or_run_dir, include_final=True, result_dir=None):
    """Paths of a run's network pickles in order of training; `network-final.pkl` comes last."""
    run_dir = locate_run_dir(run_id_or_run_dir, result_dir)
    pkls = sorted(glob.glob(os.path.join(glob.escape(run_dir), 'network-snapshot-*.pkl')))
    final = os.path.join(run_dir, 'network-final.pkl')
    return pkls + ([final] if include_final and os.path.isfile(final) else [])


def locate_network_pkl(run_id_or_run_dir_or_network_pkl, snapshot_or_network_pkl=None, result_dir=None):
    """The path of a network pickle.

    Args:
        run_id_or_run_dir_or_network_pkl: a pickle's path or address, or a run as for `locate_run_dir`.
        snapshot_or_network_pkl: within a run: None or 'latest' for the last one, a number of kimg, or a file name.

    Raises UserError if there is none.
    """
    for candidate in (snapshot_or_network_pkl, run_id_or_run_dir_or_network_pkl):
        if util.is_url(candidate) or isinstance(candidate, str) and os.path.isfile(candidate):
            return candidate
    run_dir = locate_run_dir(run_id_or_run_dir_or_network_pkl, result_dir)
    pkls = list_network_pkls(run_dir)
    if not pkls:
        util.check_listable(run_dir)
        raise UserError(f'{run_dir} holds no network pickle (network-snapshot-*.pkl, network-final.pkl) yet')
    if snapshot_or_network_pkl in (None, 'latest'):
        return pkls[-1]
    text = str(snapshot_or_network_pkl)
    for path in pkls:
        name = os.path.basename(path)
        number = re.match(r'network-snapshot-0*(\d+)\.pkl$', name)
        if text == name or number and text.isdigit() and int(text) == int(number.group(1)):
            return path
    names = ', '.join(os.path.basename(path) for path in pkls[-5:])
    raise UserError(f"{run_dir} has no snapshot '{text}'; among its last are {names}")


def load_network_pkl(run_id_or_run_dir_or_network_pkl, snapshot_or_network_pkl=None):
    """Loads the pickle that `locate_network_pkl` finds."""
    return load_pkl(locate_network_pkl(run_id_or_run_dir_or_network_pkl, snapshot_or_network_pkl))


# ---- Arrays and pictures


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
    """A PIL image from an array [H, W] or [C, H, W] with 1, 3 or 4 channels; values are rounded and clipped."""
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
    with util.atomic_path(filename) as temp:
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


def setup_snapshot_image_grid(G, training_set, size='1080p', layout='random', seed=0):
    """What a run's snapshot pictures show: (grid size (columns, rows), reals, labels, latents).

    See `training.snapshot.choose_grid`.
    """
    from training import snapshot
    grid = snapshot.choose_grid(training_set, G.input_shapes[0][1:], size=size, layout=layout, seed=seed)
    return grid.size, grid.reals, grid.labels, grid.latents
