"""Helpers around networks and pictures: loading and storing networks, finding them in run directories, image grids."""

import config
from data.pictures import (  # noqa: F401  (part of this module)
    adjust_dynamic_range,
    apply_mirror_augment,
    convert_to_pil_image,
    create_image_grid,
    save_image,
    save_image_grid,
)
from data.records.dataset import load_dataset
from dnnlib import util
from dnnlib.files import open_regular
from dnnlib.tflib import pickle_writer
from dnnlib.util import UserError
from training import snapshot
from training.network_files.runs import (  # noqa: F401  (part of this module)
    list_network_pkls,
    locate_network_pkl,
    locate_run_dir,
)
from training.original import previous_run

# ---- Networks in files


def open_file_or_url(file_or_url, check=None):
    """Opens a path or an http(s) address as a binary file; downloads are kept in the cache folder.

    `check`: what a download must be to be kept, see `dnnlib.util.open_url`. Raises UserError if it cannot be opened.
    """
    if util.is_url(file_or_url):
        return util.open_url(file_or_url, cache_dir=config.cache_dir, check=check)
    try:
        return open_regular(file_or_url)
    except OSError as err:
        raise UserError(f'cannot open {file_or_url}: {err.strerror}') from err


def load_pkl(file_or_url, trust_stored_code=False):
    """Loads what `save_pkl` stores, without executing anything stored in it: networks, plain data, or both together.

    Networks are most often (G, D, Gs); plain data are numbers, texts, NumPy arrays and containers of these, in which
    networks may stand, as the original's programs keep them. Arrays are read-only. `trust_stored_code` executes stored
    module source for build functions that are not ours, for this file only. Raises UserError for everything else.
    """
    from dnnlib.tflib import safe_pickle
    with open_file_or_url(file_or_url, check=lambda path, _: safe_pickle.read_content(path)) as file:
        content, name = safe_pickle.read_content(file), str(getattr(file, 'name', file_or_url))
    return safe_pickle.build_content(content, name, trust_stored_code)


def save_pkl(obj, filename):
    """Stores networks (or plain values) as a pickle that readers of the published files understand, atomically."""
    pickle_writer.save(obj, filename)


# ---- Run directories


def load_network_pkl(run_id_or_run_dir_or_network_pkl, snapshot_or_network_pkl=None):
    """Loads the pickle that `locate_network_pkl` finds."""
    return load_pkl(locate_network_pkl(run_id_or_run_dir_or_network_pkl, snapshot_or_network_pkl))


def get_id_string_for_network_pkl(network_pkl):
    """A short name for a pickle: the last two parts of its path without the suffix, joined by '-'."""
    parts = network_pkl.replace('.pkl', '').replace('\\', '/').split('/')
    return '-'.join(parts[-2:])


def parse_config_for_previous_run(run_id):
    """The settings of a run: a dict of dicts with at least 'dataset' and 'train'. Raises UserError.

    `run_id`: as for `locate_run_dir`; the run may be one of the original.
    """
    return previous_run.settings_of(locate_run_dir(run_id))


def load_dataset_for_previous_run(run_id, **kwargs):
    """(data set, whether reals are mirrored) of a run; `kwargs` replace settings of the data set. Raises UserError."""
    run_dir = locate_run_dir(run_id)
    settings = previous_run.settings_of(run_dir)
    kwargs = dict(dict(settings['dataset'], data_dir=previous_run.data_dir_of(run_dir) or config.data_dir), **kwargs)
    return load_dataset(**kwargs), bool(settings['train'].get('mirror_augment', False))


# ---- Arrays and pictures: `data.pictures`


def setup_snapshot_image_grid(G, training_set, size='1080p', layout='random', seed=0):
    """What a run's snapshot pictures show: (grid size (columns, rows), reals, labels, latents).

    See `training.snapshot.choose_grid`.
    """
    grid = snapshot.choose_grid(training_set, G.input_shapes[0][1:], size=size, layout=layout, seed=seed)
    return grid.size, grid.reals, grid.labels, grid.latents
