"""What is kept of a measured score: a JSON record with its whole protocol, and a line of text."""

import math
import os
import platform
import time
from collections import OrderedDict

import numpy as np

import config
from dnnlib import machine
from dnnlib.atomic import NAME_BYTES
from dnnlib.errors import UserError
from dnnlib.files import make_folders, read_json, write_json
from dnnlib.util import format_time
from dnnlib.values import schema
from metrics.scores import standard
from metrics.scores.result import VALUE_FORMAT

FORMAT = 1


def environment():
    """Versions and device that a score may depend on in its last digits."""
    import scipy
    import sklearn

    from dnnlib import tflib
    return OrderedDict(
        version=config.version, engine=tflib.ENGINE, tensorflow=tflib.tf.__version__, numpy=np.__version__,
        scipy=scipy.__version__, sklearn=sklearn.__version__, python=platform.python_version(),
        device=tflib.device_kind(), threads=machine.usable_cores())


def plain(value):
    """Copies nested values into what JSON holds; NaN and infinities become None, since JSON has neither."""
    if isinstance(value, dict):
        return OrderedDict((str(key), plain(item)) for key, item in value.items())
    if isinstance(value, (list, tuple, set, range)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, (np.integer, int)):
        return int(value)
    if isinstance(value, (np.floating, float)):
        return float(value) if math.isfinite(value) else None
    return value if value is None else str(value)


def write_record(path, record):
    """Writes a record atomically, making its folder."""
    make_folders(os.path.dirname(os.path.abspath(path)))
    write_json(path, plain(record), allow_nan=False)


_NUMBER, _COUNT = 'a number from -1e100 to 1e100, or null', 'a whole number from 0 to 1e15, or null'
_TEXT, _TRUTH = 'a text, or null', 'true, false, null'
SHARED = {  # of every record of numbers about a network
    'value?': _NUMBER, 'values?': {'*': _NUMBER}, 'standard_error?': _NUMBER, 'standard_errors?': {'*': _NUMBER},
    'formats?': {'*': 'a text'}, 'network?': 'a text', 'network_file?': 'a text', 'network_sha256?': 'a text',
    'sample_shape?': ['a whole number from 1 to 1e9'],
    'dataset_fingerprint?': _TEXT, 'dataset_images?': _COUNT, 'mirror_augment?': _TRUTH,
    'feature_networks?': {'*': {'name?': 'a text', 'file': 'a text', 'file_sha256': 'a text',
                                'is_standin': 'true, false', 'verified?': _TRUTH}},
    'is_standin?': _TRUTH, 'is_reduced?': _TRUTH, 'num_samples?': _COUNT, 'settings?': dict, 'details?': dict,
    'seed?': 'a whole number', 'problems?': [str], 'notes?': [str], 'engine?': _TEXT, 'tensorflow?': _TEXT,
    'device?': _TEXT, 'num_gpus?': _COUNT, 'seconds?': 'a number from 0 to 1e12', 'time?': _TEXT}
RECORD = dict(SHARED, metric='a text')


def read_record(path):
    """A record as a dict. Raises UserError if the file is none."""
    advice = 'give a file such as metrics/fid50k.json'
    record = read_json(path, advice=advice)
    if 'metric' not in record:
        raise UserError(f'{path} is not the record of a metric; {advice}')
    schema.check(record, RECORD, path, advice)
    return record


def values_of(record):
    """OrderedDict of value name -> value (None where it failed): one for most metrics, two for `ls` and `pr50k`."""
    if 'values' in record:
        return OrderedDict(record['values'])
    return OrderedDict([(record['metric'], record.get('value'))])


def text_line(record):
    """The line for `metric-<name>.txt` and the terminal: snapshot, time, and name and value of each result."""
    name = record['network']
    name = name if len(name) <= 29 else '...' + name[-26:]
    line = f"{name:<30} time {format_time(record['seconds']):<12}"
    for key, value in values_of(record).items():
        line += f" {key} {_shown(value, record.get('formats', {}).get(key, VALUE_FORMAT))}"
    remarks = []
    if record.get('is_standin'):
        remarks.append('stand-in networks')
    if record.get('is_reduced'):
        remarks.append(f"{record['num_samples']} samples")
    if 'seed' in record:
        remarks.append(f"seed {record['seed']}")
    if record.get('dataset_fingerprint'):
        remarks.append(f"data {record['dataset_fingerprint'][:8]}")
    remarks += standard.unusual(record)
    if record.get('labels'):
        remarks.append(f"labels {record['labels']}")
    remarks += [f'problem: {text}' for text in record.get('problems', [])]
    return (line + (f" ({'; '.join(remarks)})" if remarks else '')).rstrip()


def _shown(value, fmt):
    try:
        return fmt % (float('nan') if value is None else value)
    except (TypeError, ValueError):
        return str(value)


def append_line(path, line):
    """Appends one line to a text file."""
    with open(path, 'a', encoding='utf-8', errors=NAME_BYTES) as file:
        file.write(line + '\n')


def now():
    """The time of day, ISO 8601."""
    return time.strftime('%Y-%m-%dT%H:%M:%S%z')
