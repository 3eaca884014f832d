"""A level of detail in several files, `NAME-r08-00003-of-00128.tfrecords`, read as one array.

A shard holds the same stretch of samples at every level, and a file `NAME-00003-of-00128.json` says what it holds:

    shard, of    its number, from 0, and how many there are
    num_images   records in each of its files
    set          fingerprint of the whole data set, so that a shard of another one is noticed
    files        size and SHA-256 by file name, as in a data set's manifest
"""

import collections
import functools
import json
import os
import re

import numpy as np

from data.records.manifest import read_manifest
from data.records.tfrecord import RecordFile
from dnnlib.errors import UserError
from dnnlib.files import read_json, write_json

_SHARD = re.compile(r'-(\d{5,9})-of-(\d{5,9})\.tfrecords\Z')
_MOST_OPEN = 64  # files of a level: each keeps a descriptor, of which a process often has 1024


def suffix(number, count):
    """What a shard's files have in their names before the ending."""
    return f'-{number:05}-of-{count:05}'


def manifest_name(name, number, count):
    """What the manifest of shard `number` of `count` of the data set `name` is called."""
    return f'{name}{suffix(number, count)}.json'


def group(paths):
    """Puts the shards of one level together: a list of (path without the shard, sorted paths of one or more files).

    Raises UserError if shards are missing, or there are more than there should be.
    """
    levels = collections.OrderedDict()
    for path in sorted(paths):
        match = _SHARD.search(path)
        whole = path[:match.start()] + '.tfrecords' if match else path
        levels.setdefault((whole, match is not None), []).append(path)
    for (whole, is_split), files in levels.items():
        if is_split:
            files.sort(key=_number)  # names with more digits come earlier than their numbers
            _check_complete(whole, files)
    return [(whole, files) for (whole, _), files in levels.items()]


def _number(path):
    return int(_SHARD.search(path).group(1))


def _check_complete(whole, paths):
    stem, advice = whole[:-len('.tfrecords')], 'bring back what belongs together, or make the data set again'
    found = collections.defaultdict(set)
    for path in paths:
        number, count = (int(digits) for digits in _SHARD.search(path).groups())
        if number in found[count]:
            raise UserError(f'{path} is shard {number} of {count} a second time; {advice}')
        found[count].add(number)
    if len(found) > 1:
        counts = ' and of '.join(str(count) for count in sorted(found))
        raise UserError(f'{stem}-… has shards of {counts}, which are of different splittings; {advice}')
    count, numbers = found.popitem()
    surplus = sorted(number for number in numbers if number >= count)
    if surplus:
        raise UserError(f'{stem}{suffix(surplus[0], count)}.tfrecords is one more than the '
                        f"{count} {'shard' if count == 1 else 'shards'} that its "
                        f'name speaks of; {advice}')
    missing = [number for number in range(min(count, len(paths) + 1)) if number not in numbers]
    if missing:
        raise UserError(f'{stem}{suffix(missing[0], count)}.tfrecords is missing ({len(numbers)} of {count} shards are '
                        f'there); {advice}')


def open_level(paths):
    """The `RecordFile` of a level, or the `ShardedFile` of its several files. Raises UserError."""
    return RecordFile(paths[0]) if len(paths) == 1 and not _SHARD.search(paths[0]) else ShardedFile(paths)


class ShardedFile:
    """Several TFRecord files that are read as if one followed the other; see `RecordFile`, which this stands for.

    Further attributes: `paths` of the files, in order; `counts`, the number of records in each.
    """

    def __init__(self, paths):
        self.paths = [os.fspath(path) for path in paths]
        self.path = _SHARD.sub(r'-*-of-\2.tfrecords', self.paths[0])
        self._open = functools.lru_cache(maxsize=_MOST_OPEN)(RecordFile)
        first = self._open(self.paths[0])
        self.shape, self.dtype = first.shape, first.dtype
        self.record_size, self.counts = first.record_size, []
        for path in self.paths:
            record_file = self._open(path)
            if (record_file.shape, record_file.dtype) != (self.shape, self.dtype):
                raise UserError(f'{path} holds arrays of {list(record_file.shape)} {record_file.dtype.name}, '
                                f'{os.path.basename(self.paths[0])} of {list(self.shape)} {self.dtype.name}; bring '
                                'back the shard that belongs there')
            self.counts.append(len(record_file))
            if record_file.record_size != self.record_size:
                self.record_size = None
        self._starts = np.cumsum([0] + self.counts)

    def __len__(self):
        return int(self._starts[-1])

    def _shard(self, number):
        record_file = self._open(self.paths[number])
        if (len(record_file), record_file.shape, record_file.dtype) != (self.counts[number], self.shape, self.dtype):
            raise UserError(f'{self.paths[number]} changed while it was read')
        return record_file

    def read(self, index):
        return self.read_batch([index])[0]

    def read_batch(self, indices):
        indices = np.asarray(indices, np.int64)
        numbers = np.searchsorted(self._starts, indices, side='right') - 1
        out = np.empty((len(indices),) + self.shape, self.dtype)
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            out[places] = self._shard(number).read_batch(indices[places] - self._starts[number])
        return out

    def pieces(self, first, end):
        """Where records `first`…`end`−1 lie: yields (path, first byte, last byte + 1)."""
        for number, (start, stop) in enumerate(zip(self._starts, self._starts[1:])):
            low, high = max(first, start), min(end, stop)
            if low < high:
                yield from self._shard(number).pieces(int(low - start), int(high - start))

    def close(self):
        """Lets go of the files."""
        self._open.cache_clear()
        self._starts = np.zeros(1, np.int64)


# ---- What the shards' own manifests say

def shard_manifests(folder, count, name):
    """The manifests of the `count` shards of the data set `name`, in order. Raises UserError where one is not sound."""
    manifests = []
    for number in range(count):
        path = os.path.join(folder, manifest_name(name, number, count))
        found = read_json(path, 'the manifest of a shard', 'bring it back, or make the data set again')
        files = found.get('files')
        if (found.get('shard'), found.get('of')) != (number, count) or not isinstance(files, dict) or not all(
                os.path.basename(name) == name and isinstance(entry, dict) for name, entry in files.items()):
            raise UserError(f'{path} is not the manifest of shard {number} of {count}; bring back the right one')
        manifests.append(found)
    return manifests


def split_of(manifest):
    """(name of the data set's files, records in each shard) as its manifest says; (name, []) of a set in one piece."""
    return str(manifest.get('name', '')), list(manifest.get('shards', []))


def described_files(folder, manifest=None):
    """What manifests say about the files of a data set, those of its shards included: a dict by name; None where there
    is no manifest. Raises UserError."""
    manifest = read_manifest(folder) if manifest is None else manifest
    if not isinstance(manifest.get('files'), dict):
        return None
    name, counts = split_of(manifest)
    files = dict(manifest['files'])
    for shard in shard_manifests(folder, len(counts), name) if counts else []:
        files.update(shard['files'])
    return files


def check_shards(folder, level, manifest):
    """Compares the shards of a level with what the manifests say. Raises UserError."""
    name, counts = split_of(manifest)
    found = level.counts if isinstance(level, ShardedFile) else []
    if not manifest and found:
        _check_undescribed(folder, level)
    if not manifest or counts == [] == found:
        return
    if len(counts) != len(found):
        raise UserError(f'{level.path}: {len(found) or "no"} '
                        f"{'shard is' if len(found) == 1 else 'shards are'} there where manifest.json says "
                        f'{len(counts) or "none"}; bring back the files that belong together')
    for number, shard in enumerate(shard_manifests(folder, len(counts), name)):
        if shard.get('set') != manifest.get('fingerprint'):
            path = os.path.join(folder, manifest_name(name, number, len(counts)))
            raise UserError(f"{path} is of a shard of another data set (its 'set' is not the fingerprint in "
                            'manifest.json); bring back the right one')
        if not found[number] == counts[number] == shard.get('num_images'):
            raise UserError(f'{level.paths[number]} holds {found[number]} records where the manifests say '
                            f'{json.dumps(shard.get("num_images"))} and {counts[number]}; bring back the right one')


def _check_undescribed(folder, level):
    """Shards of other programs have no manifests; ours without that of the whole lack their range and labels' names."""
    name = re.sub(r'-r\d+\Z', '', _SHARD.sub('', os.path.basename(level.paths[0])))
    if os.path.lexists(os.path.join(folder, manifest_name(name, 0, len(level.paths)))):
        raise UserError(f"'{folder}' has manifests of its shards, but manifest.json, which describes the whole, is "
                        'missing; bring it back, or make the data set again')


def write_shard_manifests(folder, name, counts, files, fingerprint):
    """Writes the manifests of all shards. counts: records in each; files: what is said about the files of each."""
    for number, (count, described) in enumerate(zip(counts, files)):
        write_json(os.path.join(folder, manifest_name(name, number, len(counts))),
                   dict(shard=number, of=len(counts), num_images=count, set=fingerprint, files=described),
                   sort_keys=True)
