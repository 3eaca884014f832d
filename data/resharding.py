"""`split` and `merge`: a data set's levels in several files each, and in one file each again."""

import hashlib
import os
import time

import numpy as np

from data.converters import exporter
from data.options import byte_size, positive_int
from data.records.dataset import TFRecordDataset
from data.records.manifest import describe_file, read_manifest, write_manifest
from data.records.shards import described_files, suffix, write_shard_manifests
from data.verify import has_labels
from dnnlib.files import atomic_folder, new_folder, open_regular, sync
from dnnlib.progress import Progress
from dnnlib.util import UserError

_BLOCK = 8 << 20
_TICK = 0.02  # as in the exporter


def add_arguments(subparsers):
    """Adds both commands to the parser of dataset_tool.py."""
    parser = subparsers.add_parser(
        'split', help='put every level of a data set into several files',
        description='Copies a data set, each level in shards NAME-rNN-00003-of-00128.tfrecords with a manifest to each '
                    'shard. It holds the same, in the same order, and has the same fingerprint.')
    parser.add_argument('dataset_dir', metavar='OUT', help='directory to make')
    parser.add_argument('source', metavar='DATASET_DIR', help='data set to split')
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument('--shards', type=positive_int, metavar='N', help='how many, of equal sizes give or take a record')
    how.add_argument('--shard-size', type=byte_size, metavar='SIZE',
                     help='most bytes of a file, which those of the highest level come to, such as 4G')
    parser.set_defaults(run=lambda args: split(args.dataset_dir, args.source, args.shards, args.shard_size))
    parser = subparsers.add_parser('merge', help='put every level of a data set into one file',
                                   description='Copies a data set of shards, each level in one file.')
    parser.add_argument('dataset_dir', metavar='OUT', help='directory to make')
    parser.add_argument('source', metavar='DATASET_DIR', help='data set of shards')
    parser.set_defaults(run=lambda args: merge(args.dataset_dir, args.source))


def split(dataset_dir, source, shards=None, shard_size=None):
    """Copies a data set into `shards` shards, or into shards of at most `shard_size` bytes. Raises UserError."""
    with _open(source) as dataset:
        total = len(dataset)
        if shards is None:
            level = dataset.level_file(0)
            size = max(end - start for path, start, end in level.pieces(0, 1))
            if level.record_size is None:
                raise UserError(f"the records in '{source}' differ in size; say --shards N")
            if size > shard_size:
                raise UserError(f'--shard-size is {shard_size} bytes, but a single record has {size}')
            shards = -(-total // (shard_size // size))
        if shards > total:
            raise UserError(f"'{source}' has {total} records, which do not fill {shards} shards")
        bounds = [total * number // shards for number in range(shards + 1)]
        _copy(dataset_dir, source, dataset, np.diff(bounds).tolist(), is_split=True)
    print(f'{total} records in {shards} shards in {dataset_dir}', flush=True)


def merge(dataset_dir, source):
    """Copies a data set into one file per level. Raises UserError."""
    with _open(source) as dataset:
        _copy(dataset_dir, source, dataset, [len(dataset)], is_split=False)
        print(f'{len(dataset)} records of {len(dataset.shards)} shards in {dataset_dir}', flush=True)


def _open(source):
    return TFRecordDataset(source, max_label_size='full' if has_labels(source) else 0, shuffle_mb=0, prefetch_mb=0)


def _copy(dataset_dir, source, dataset, counts, is_split):
    """Writes the records in files of `counts` records per level, whatever files they lie in now; all or nothing."""
    exporter.check_new(dataset_dir)
    name = os.path.basename(os.path.abspath(dataset_dir))
    manifest = read_manifest(source)
    described = described_files(source, manifest) or {}
    levels = [dataset.level_file(level) for level in dataset.levels]
    others = {path: f'{name}-rxx.labels' if path == dataset.label_file else os.path.basename(path)
              for path in _other_files(source, dataset, described)}
    exporter.check_free_space(dataset_dir, sum(os.path.getsize(path) for level in levels for path in level.paths)
                              + sum(os.path.getsize(path) for path in others))
    fingerprint = dataset.fingerprint
    with new_folder(os.path.dirname(os.path.abspath(dataset_dir))), atomic_folder(dataset_dir) as temp, Progress(
            'split' if is_split else 'merge', len(dataset) * len(levels), 'records') as progress:
        by_level = [_copy_level(temp, f'{name}-r{dataset.resolution_log2 - number:02}', level, counts, is_split,
                                described, progress) for number, level in zip(dataset.levels, levels)]
        files = dict(_copy_file(path, os.path.join(temp, target), described) for path, target in others.items())
        manifest.update(
            manifest_version=1, name=name, num_images=len(dataset), shape=dataset.shape, dtype=dataset.dtype,
            levels=[dataset.resolution_log2 - level for level in dataset.levels], label_size=dataset.label_size,
            is_image=dataset.is_image, dynamic_range=dataset.dynamic_range, fingerprint=fingerprint)
        manifest.pop('shards', None)
        if is_split:
            manifest['shards'] = counts
            write_shard_manifests(temp, name, counts, [dict(shard) for shard in zip(*by_level)], fingerprint)
        else:
            files.update(file for level in by_level for file in level)
        manifest['files'] = files
        time.sleep(_TICK)
        write_manifest(temp, manifest)


def _other_files(source, dataset, described):
    """Paths of what belongs to a data set beside its records."""
    found = {os.path.join(source, name) for name in described if not name.endswith(('.tfrecords', '.labels'))}
    return sorted(found | ({dataset.label_file} if dataset.label_file else set()))


def _copy_level(temp, stem, level, counts, is_split, described, progress):
    """Copies one level. Returns [(file name, what the manifest says about it)]."""
    made, first, reader = [], 0, _Reader(described)
    for number, count in enumerate(counts):
        path = os.path.join(temp, f'{stem}{suffix(number, len(counts)) if is_split else ""}.tfrecords')
        out = exporter.HashedFile(path)
        try:
            for piece in level.pieces(first, first + count):
                for block in reader.read(*piece):
                    out.write(block)
            made.append(out.finish())
        finally:
            out.close()
        first += count
        progress.add(count)
    reader.check()
    return made


def _copy_file(path, target, described):
    reader, digest, size = _Reader(described), hashlib.sha256(), os.path.getsize(path)
    with open(target, 'wb') as f:
        for block in reader.read(path, 0, size):
            f.write(block)
            digest.update(block)
        f.flush()
        sync(f)
    reader.check()
    return os.path.basename(target), describe_file(target, size, digest.hexdigest())


class _Reader:
    """Reads pieces of files one after the other, and compares whole files with their checksums as they end."""

    def __init__(self, described):
        self._described = described
        self._path, self._hash = None, None

    def read(self, path, start, end):
        """Yields the bytes of a file from `start` to `end`, block by block. Pieces of one file must come in order."""
        if path != self._path:
            self.check()
            self._path, self._hash = path, hashlib.sha256()
        with open_regular(path) as f:
            f.seek(start)
            while start < end:
                block = f.read(min(_BLOCK, end - start))
                if not block:
                    raise UserError(f'{path} became shorter while it was read')
                self._hash.update(block)
                start += len(block)
                yield block

    def check(self):
        """Raises UserError if the file read last is not as it was written."""
        entry = self._described.get(os.path.basename(self._path)) if self._path else None
        if entry is not None and entry.get('sha256') != self._hash.hexdigest():
            raise UserError(f'{self._path} does not have the SHA-256 that its manifest gives; `dataset_tool.py verify` '
                            'tells more, make the data set again')
