"""What an earlier run was trained on: from this project's record of it, or from the text that the original wrote."""

import ast
import collections
import os
import re

from dnnlib import registry
from dnnlib.files import read_bytes
from dnnlib.submission import read_submit_config
from dnnlib.util import UserError

OWN_RECORD, ORIGINAL_RECORD = 'submit_config.json', 'config.txt'
_MAX_BYTES = 1 << 20


def settings_of(run_dir):
    """The configuration of a run, at least its sections `dataset` and `train`, as the original names their keys.

    Returns a defaultdict of dicts. Raises UserError for a folder that holds no readable record, and for a data set of
    a class that files may not name.
    """
    if os.path.isfile(os.path.join(run_dir, OWN_RECORD)):
        config = read_submit_config(run_dir)['config']
        if 'dataset_args' in config:  # from `submit_run`, whose record is the arguments of the training loop
            config = dict(config, dataset=config['dataset_args'], train=config)
    else:
        path = os.path.join(run_dir, ORIGINAL_RECORD)
        config = _read_original(read_bytes(path, _MAX_BYTES, 'the settings of the run'), path)
    settings = collections.defaultdict(dict, config)
    settings['dataset'] = {key: value for key, value in settings['dataset'].items()
                           if value is not None and isinstance(key, str)}
    if 'class_name' in settings['dataset']:
        registry.check('dataset', settings['dataset']['class_name'], f'dataset.class_name in the record of {run_dir}')
    return settings


def is_recorded(run_dir):
    """Whether a folder holds one of the records that `settings_of` reads."""
    return any(os.path.exists(os.path.join(run_dir, name)) for name in (OWN_RECORD, ORIGINAL_RECORD))


def data_dir_of(run_dir):
    """The folder of data sets that a run was given; None where it is not recorded."""
    if not os.path.isfile(os.path.join(run_dir, OWN_RECORD)):
        return None
    return read_submit_config(run_dir).get('data_dir')


def _read_original(content, path):
    """The dicts in a config.txt of the original, which is Python's own text of one: read as data, never run."""
    text = content.decode('utf-8', 'replace')
    config = _literal(text)
    if not isinstance(config, dict):  # where something is no plain data: what is in one line each, `'name': {...},`
        entries = re.findall(r"^[{ ] *'(\w+)': (\{.*?\})[,}]?$", text, re.MULTILINE)
        config = {name: _literal(value) for name, value in entries}
    config = {name: value for name, value in config.items() if isinstance(value, dict)}
    if not isinstance(config.get('dataset'), dict):
        raise UserError(f'{path} does not say which data set the run was trained on')
    _rename_older_settings(config['dataset'], config.setdefault('train', {}))
    return config


def _literal(text):
    """The plain value that a text is in Python's notation, None for any other text."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _rename_older_settings(dataset, train):
    """Brings the settings of the runs of Progressive GAN to the names of today."""
    if 'file_pattern' in dataset:
        dataset['tfrecord_dir'] = str(dataset.pop('file_pattern')).replace('-r??.tfrecords', '')
    if 'mirror_augment' in dataset:
        train['mirror_augment'] = dataset.pop('mirror_augment')
    if 'max_labels' in dataset:
        number = dataset.pop('max_labels')
        dataset['max_label_size'] = 0 if number is None else 'full' if number == 'all' else number
    dataset.pop('max_images', None)
