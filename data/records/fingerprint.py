"""The fingerprint of a data set, which tells whether two hold the same, and whether one was changed.

Reading all records takes minutes to hours, so what was found is kept with the size and times of the files: in the
manifest by those who make a data set, else in `fingerprint.json`. A file of another size or time is read and its hash
compared with the manifest's; a file whose hash differs counts for what it holds, whatever the manifest says.
"""

import hashlib
import json
import os
import re
import sys
import time

import numpy as np

import config as folders
from data.records.manifest import read_manifest
from data.records.shards import described_files
from dnnlib.errors import UserError
from dnnlib.files import make_folders, open_regular, recall_json, write_json

FINGERPRINT = 'fingerprint.json'

_BLOCK = 1 << 22
_SETTLED_NS = 2 * 10 ** 9  # the times of a file that was changed so lately may not tell a later change
_TELL_ABOUT = 1 << 30      # bytes, whose reading is worth a word
_MOST_ENTRIES = 50


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


def dataset_fingerprint(dataset_dir, record_files, labels=None, label_file=None, interrupt=None):
    """The fingerprint of a data set as it is now.

    Args:
        dataset_dir: its directory.
        record_files: the open `RecordFile` of every level in use, the highest first.
        labels: the array [N, L] or None; label_file: the file that it was read from.
        interrupt: function called between pieces of long reading; what it raises ends that.

    Returns:
        64 hexadecimal digits, with `-RESOLUTION` added where the highest level in use is not the data set's.
    """
    paths = [path for file in record_files for path in file.paths] + ([] if label_file is None else [label_file])
    times = {_name(path, dataset_dir): _times(path) for path in paths}
    memory = _Memory(dataset_dir)
    manifest = read_manifest(dataset_dir)
    described = described_files(dataset_dir, manifest) or {}
    told = manifest.get('fingerprint') if _is_hash(manifest.get('fingerprint')) else None
    full, changed = record_files[0], []
    is_untouched = told is not None and all(_is_as_described(described.get(name), found)
                                            for name, found in times.items())
    if not is_untouched:
        recalled = memory.recall(times)
        if recalled is not None:
            return recalled
        total = sum(found['size'] for found in times.values())
        if total > _TELL_ABOUT:
            print(f"reading the {total / 1e9:.1f} GB of '{dataset_dir}' once, to know what they hold", flush=True)
        changed = [path for path in paths if not _has_hash(path, described.get(_name(path, dataset_dir)), interrupt)]
    other = [path for path in changed if _name(path, dataset_dir) in described]
    if other:
        print(f"warning: {other[0]} is not the file that the data set's manifest describes, and counts for what it "
              'holds; `./reproduce data verify` tells more', file=sys.stderr, flush=True)
    has_described_labels = (label_file is not None) == bool(manifest.get('label_size', 0))
    if told is not None and has_described_labels and not set(changed) & set(full.paths + [label_file]):
        fingerprint = told
        if manifest.get('shape') != list(full.shape):
            fingerprint += f'-{full.shape[-1]}'  # a lower level, used on its own
        if is_untouched:
            return fingerprint
    else:
        fingerprint = compute_fingerprint(full, labels, interrupt)
    lower = [file for file in record_files[1:] if set(file.paths) & set(changed)]
    if lower and described:  # levels that are not the ones which were made with the highest
        hashes = [fingerprint] + [_sha256(file.paths, interrupt) for file in lower]
        fingerprint = hashlib.sha256(' '.join(hashes).encode()).hexdigest()
    if {_name(path, dataset_dir): _times(path) for path in paths} == times:
        memory.keep(times, fingerprint)
    return fingerprint


def _is_hash(value):
    return isinstance(value, str) and re.match('[0-9a-f]{64}\\Z', value) is not None


def _name(path, dataset_dir):
    """How a file is called in the manifest; one from elsewhere by its whole path."""
    folder, name = os.path.split(os.path.abspath(path))
    return name if folder == os.path.abspath(dataset_dir) else os.path.join(folder, name)


def _times(path):
    try:
        status = os.stat(path)
    except OSError as err:
        raise UserError(f"cannot read '{path}': {err.strerror}") from err
    return {'size': status.st_size, 'mtime_ns': status.st_mtime_ns, 'ctime_ns': status.st_ctime_ns}


def _is_as_described(entry, times):
    return isinstance(entry, dict) and all(entry.get(key) == value for key, value in times.items())


def _has_hash(path, entry, interrupt):
    """Whether a file holds what the manifest says."""
    return isinstance(entry, dict) and entry.get('size') == os.path.getsize(path) \
        and entry.get('sha256') == _sha256([path], interrupt)


def _sha256(paths, interrupt):
    """The hash of files as if one followed the other, which is that of the file that they are shards of."""
    digest = hashlib.sha256()
    for path in paths:
        with open_regular(path) as f:
            for block in iter(lambda: f.read(_BLOCK), b''):
                digest.update(block)
                if interrupt is not None:
                    interrupt()
    return digest.hexdigest()


class _Memory:
    """Fingerprints found before, by the files that they are of: beside the data set, or where that is read-only in the
    cache folder."""

    def __init__(self, dataset_dir):
        name = hashlib.sha256(os.fsencode(os.path.realpath(dataset_dir))).hexdigest()[:16]
        self._paths = [os.path.join(dataset_dir, FINGERPRINT),
                       os.path.join(folders.cache_dir, 'fingerprints', f'{name}.json')]

    def _entries(self, path):
        entries = (recall_json(path) or {}).get('known')
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    def recall(self, times):
        """The fingerprint of files with these times, or None."""
        for path in self._paths:
            for entry in self._entries(path):
                if entry.get('files') == times and _is_hash(str(entry.get('fingerprint')).partition('-')[0]):
                    return entry['fingerprint']
        return None

    def keep(self, times, fingerprint):
        """Notes a fingerprint, unless a file was changed so lately that its times do not tell."""
        now = time.time() * 10 ** 9
        if any(now - max(found['mtime_ns'], found['ctime_ns']) < _SETTLED_NS for found in times.values()):
            return
        for path in self._paths:
            others = [entry for entry in self._entries(path) if isinstance(entry.get('files'), dict)
                      and set(entry['files']) != set(times)]
            try:
                make_folders(os.path.dirname(path))
                write_json(path, {'known': others[-_MOST_ENTRIES:] + [{'files': times, 'fingerprint': fingerprint}]},
                           sort_keys=True)
                return
            except OSError:
                continue  # a read-only data set; without a cache folder all is read again next time
