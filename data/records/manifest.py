"""What is written beside a data set: `manifest.json`, which says how it was made and what its files hold."""

import json
import os

from dnnlib.errors import UserError
from dnnlib.files import read_json, write_json

MANIFEST = 'manifest.json'
CODEC = 'codec.pkl'  # beside records of codes: what they were made with


def _is_range(value):
    """Whether a value is [lowest, highest], two finite numbers."""
    return isinstance(value, list) and len(value) == 2 and all(type(x) in (int, float) for x in value) \
        and -1e300 < value[0] < value[1] < 1e300


def _is_file_name(name):
    """Whether a text can be the name of a file in the data set's folder."""
    try:
        return name != '' and os.path.basename(name) == name and b'\0' not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


# What this program reads of a manifest, and what it must be; everything may be absent.
_ENTRIES = {
    'files': ('an object of one object per file name', lambda value: isinstance(value, dict) and all(
        _is_file_name(name) and isinstance(entry, dict) for name, entry in value.items())),
    'shards': ('a list of whole numbers above 0', lambda value: isinstance(value, list) and all(
        type(count) is int and count > 0 for count in value)),
    'label_names': ('a list of texts', lambda value: value is None or isinstance(value, list) and all(
        isinstance(name, str) for name in value)),
    'dynamic_range': ('a list of two numbers', _is_range),
    'is_image': ('true or false', lambda value: isinstance(value, bool)),
    'distribution': ('a text', lambda value: isinstance(value, str)),
    'arguments': ('an object', lambda value: isinstance(value, dict)),
    'codec': ('an object with sha256, a text, and downscale, 2, 4, 8 or 16', lambda value: isinstance(
        value, dict) and isinstance(value.get('sha256'), str) and value.get('downscale', 4) in (2, 4, 8, 16)),
    'source': ('an object whose name and fingerprint are texts', lambda value: isinstance(value, dict) and all(
        isinstance(value.get(key, ''), str) for key in ('name', 'fingerprint'))),
    'skipped': ('a list', lambda value: isinstance(value, list)),
    'left_out': ('an object of whole numbers', lambda value: isinstance(value, dict) and all(
        type(count) is int for count in value.values())),
}


def has_manifest(dataset_dir):
    """Whether there is a manifest, sound or not."""
    return os.path.lexists(os.path.join(dataset_dir, MANIFEST))


def read_manifest(dataset_dir):
    """The manifest as a dict, {} where there is none. Raises UserError if it cannot be understood."""
    path = os.path.join(dataset_dir, MANIFEST)
    if not has_manifest(dataset_dir):
        return {}
    manifest = read_json(path, advice='delete it or make the data set again', max_bytes=1 << 28)
    for key, (expected, is_sound) in _ENTRIES.items():
        if key in manifest and not is_sound(manifest[key]):
            raise UserError(f"{path}: '{key}' is {json.dumps(manifest[key])[:80]}; {expected} is expected; make the "
                            'data set again')
    return manifest


def write_manifest(dataset_dir, manifest):
    """Writes the manifest, atomically."""
    write_json(os.path.join(dataset_dir, MANIFEST), manifest, sort_keys=True)


def describe_file(path, size, sha256):
    """What the manifest says about a file that nobody else can have changed yet."""
    status = os.stat(path)
    return {'size': size, 'sha256': sha256, 'mtime_ns': status.st_mtime_ns, 'ctime_ns': status.st_ctime_ns}
