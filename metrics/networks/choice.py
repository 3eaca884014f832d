"""Which feature networks a score uses: the released ones, or the stand-ins. No TensorFlow is imported."""

import os

from data.records import manifest
from data.records.source import folder_of, image_arguments
from dnnlib.util import UserError

RELEASED, STANDIN = 'released', 'standin'


def choose_source(asked, dataset_args=None):
    """RELEASED or STANDIN, for what the user asks: one of them, or 'auto', which takes stand-ins for drawn faces.

    Args:
        dataset_args: `training.dataset.load_dataset` keywords, or None; a list of such: all must be drawn faces.

    Raises UserError for anything else.
    """
    if asked == 'auto':
        several = dataset_args if isinstance(dataset_args, list) else [dataset_args]
        return STANDIN if several and all(map(is_toyfaces, several)) else RELEASED
    if asked not in (RELEASED, STANDIN):
        raise UserError(f"feature networks are '{asked}'; choose auto, released or standin")
    return asked


def is_toyfaces(dataset_args):
    """Whether data set arguments name a set of drawn faces."""
    if not dataset_args or 'tfrecord_dir' not in dataset_args:
        return False
    try:
        dataset_args = image_arguments(dataset_args)
    except UserError:
        return False  # said when the images are needed
    folder = folder_of(dataset_args)
    return os.path.isdir(folder) and manifest.read_manifest(folder).get('command') == 'create_toyfaces'
