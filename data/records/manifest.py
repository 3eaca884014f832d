"""What is written beside a data set: `manifest.json`, and the fingerprint that tells whether two sets are the same."""

import hashlib
import json
import os

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import read_json, recall_json, write_json

MANIFEST = 'manifest.json'
FINGERPRINT = 'fingerprint.json'  # for data sets made by other tools, which have no manifest


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
    'label_names': ('a list of texts', lambda value: value is None or isinstance(value, list) and all(
        isinstance(name, str) for name in value)),
    'dynamic_range': ('a list of two numbers', _is_range),
    'is_image': ('true or false', lambda value: isinstance(value, bool)),
    'arguments': ('an object', lambda value: isinstance(value, dict)),
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


class Fingerprint:
    """Collects what a data set contains, record by record, into one hash: full-resolution arrays and labels, in order.

    The bytes around the arrays do not count, so the same pictures written by another tool give the same fingerprint.
    """

    def __init__(self, shape, dtype):
        self._hash = hashlib.sha256()
        self._hash.update(json.dumps([list(shape), np.dtype(dtype).name]).encode())

    def add_digest(self, digest):
        """Adds one array by the SHA-256 digest (32 bytes) of its elements in C order, little-endian."""
        self._hash.update(digest)

    def finish(self, labels=None):
        """The fingerprint, 64 hexadecimal digits. `labels` is the array [N, L] or None."""
        if labels is not None:
            self._hash.update(json.dumps([list(labels.shape), 'float32']).encode())
            self._hash.update(np.ascontiguousarray(labels, '<f4'))
        return self._hash.hexdigest()


def compute_fingerprint(record_file, labels=None, interrupt=None):
    """Reads a whole `RecordFile` and returns the data set's fingerprint. `interrupt` is called between batches."""
    fingerprint = Fingerprint(record_file.shape, record_file.dtype)
    batch = max(1, (1 << 22) // max(1, int(np.prod(record_file.shape, dtype=np.int64)) * record_file.dtype.itemsize))
    for start in range(0, len(record_file), batch):
        if interrupt is not None:
            interrupt()
        for array in record_file.read_batch(np.arange(start, min(start + batch, len(record_file)))):
            fingerprint.add_digest(hashlib.sha256(array).digest())
    return fingerprint.finish(labels)


def dataset_fingerprint(dataset_dir, record_file, labels=None, verbose=False, interrupt=None):
    """The fingerprint of a data set: from its manifest, else computed once and kept in `fingerprint.json`.

    What was stored counts only while the full-resolution file still has the size it had then. `interrupt` is called
    between the batches of a computation; what it raises ends that.
    """
    name = os.path.basename(record_file.path)
    size = os.path.getsize(record_file.path)
    manifest = read_manifest(dataset_dir)
    entry = manifest.get('files', {}).get(name, {})
    if entry.get('size') == size and isinstance(manifest.get('fingerprint'), str):
        if manifest.get('shape') == list(record_file.shape):
            return manifest['fingerprint']
        return f"{manifest['fingerprint']}-{record_file.shape[-1]}"  # a lower level, used on its own

    path = os.path.join(dataset_dir, FINGERPRINT)
    stamp = {'file': name, 'size': size, 'mtime_ns': os.stat(record_file.path).st_mtime_ns,
             'labels': None if labels is None else list(labels.shape)}
    stored = recall_json(path) or {}
    if {key: stored.get(key) for key in stamp} == stamp and isinstance(stored.get('fingerprint'), str):
        return stored['fingerprint']
    if verbose:
        print(f'Reading {dataset_dir} once for its fingerprint ...', flush=True)
    fingerprint = compute_fingerprint(record_file, labels, interrupt)
    try:
        write_json(path, dict(stamp, fingerprint=fingerprint), sort_keys=True)
    except OSError:
        pass  # a read-only data set: it is computed again next time
    return fingerprint
