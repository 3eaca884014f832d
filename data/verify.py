"""`verify` and `info`: whether a data set is sound, and what it holds."""

import glob
import json
import os

import numpy as np

from data.addresses import staged
from data.cluster.engine import add_cluster, open_cluster
from data.converters import exporter
from data.records.codec import read_codec, scale_of
from data.records.dataset import TFRecordDataset
from data.records.levels import levels_of_detail
from data.records.manifest import CODEC, has_manifest, read_manifest
from data.records.shards import described_files
from dnnlib.progress import Progress
from dnnlib.util import UserError, sha256_file

_BATCH_BYTES = 4 << 20
_BATCHES_OF_A_TASK = 16  # on a cluster, at most
_TASKS_OF_A_WORKER = 3   # there, at least
_SCREENFUL = 20


def add_arguments(subparsers):
    """Adds both commands to the parser of dataset_tool.py."""
    parser = subparsers.add_parser(
        'verify', help='check every record, level, label and checksum',
        description='Reads the whole data set: structure, counts, checksums, levels that are the averages of the '
                    'highest one, labels. Exits with 2 and lists what is wrong, if anything is.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR')
    add_cluster(parser)
    parser.set_defaults(run=_run_verify)
    parser = subparsers.add_parser('info', help='say what a data set holds',
                                   description='Shape, count, size on disk, labels and fingerprint of a data set.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=lambda args: info(args.dataset_dir, args.json))


def _run_verify(args):
    with open_cluster(args) as cluster, staged(args, ['dataset_dir']) as args:
        verify(args.dataset_dir, cluster)


def verify(dataset_dir, cluster=None):
    """Reads everything, by the workers of a `Cluster` if given. Raises UserError listing what is wrong."""
    dataset = TFRecordDataset(dataset_dir, max_label_size='full' if has_labels(dataset_dir) else 0, prefetch_mb=0)
    problems, is_described = [], has_manifest(dataset_dir)
    if is_described:
        problems += _check_manifest(dataset_dir, read_manifest(dataset_dir), dataset, cluster)
    if dataset.codec is not None:
        problems += _check_codec(dataset)
    problems += _check_records(dataset, cluster)
    if problems:
        shown = '\n  '.join(problems[:_SCREENFUL])
        more = f'\n  … and {len(problems) - _SCREENFUL} more' if len(problems) > _SCREENFUL else ''
        raise UserError(f"'{dataset_dir}' is not sound; make it again:\n  {shown}{more}")
    checked = 'checksums, ' if is_described else ''
    print(f"'{dataset_dir}' is sound: {checked}{len(dataset)} records at {len(dataset.levels)} levels, "
          f'{dataset.label_size} label components'
          + ('' if is_described else '; it has no manifest.json to compare with'), flush=True)


def has_labels(dataset_dir):
    """Whether there is a label file in the directory."""
    return bool(glob.glob(os.path.join(glob.escape(dataset_dir), '*.labels')))


def _check_manifest(dataset_dir, manifest, dataset, cluster):
    problems = []
    for key, value in (('num_images', len(dataset)), ('shape', dataset.shape), ('dtype', dataset.dtype)):
        if manifest.get(key) != value:
            problems.append(f'manifest.json says {key} {manifest.get(key)}, the files say {value}')
    files = described_files(dataset_dir, manifest)
    if files is None:
        return problems + ["manifest.json has no proper list 'files'"]
    problems += [f'{name} is not among the files that the manifest describes' for name in _names(dataset)
                 if name not in files]
    for found in _map(cluster, _FileChecker(os.path.abspath(dataset_dir)), sorted(files.items())):
        problems += found
    return problems


def _names(dataset):
    """The names of all files that a data set is read from."""
    paths = [path for level in dataset.levels for path in dataset.level_file(level).paths]
    return [os.path.basename(path) for path in paths + ([dataset.label_file] if dataset.label_file else [])]


def _map(cluster, function, tasks):
    return map(function, tasks) if cluster is None else cluster.map(function, tasks)


class _FileChecker:
    """Compares a file, given as (name, what its manifest says), with its size and checksum."""

    def __init__(self, dataset_dir):
        self._folder = dataset_dir

    def __call__(self, task):
        name, entry = task
        path = os.path.join(self._folder, os.path.basename(name))
        try:
            if not os.path.isfile(path):
                return [f'{name} is missing']
            if os.path.getsize(path) != entry.get('size'):
                return [f"{name} has {os.path.getsize(path)} bytes instead of {entry.get('size')}"]
            if sha256_file(path) != entry.get('sha256'):
                return [f'{name} does not have the SHA-256 that manifest.json gives']
        except OSError as err:  # a failing disk, or gone meanwhile
            return [f'{name} cannot be read: {err.strerror}']
        return []


class _RecordChecker:
    """Checks the records of a range (first, last + 1), of a data set that is opened where it is called."""

    def __init__(self, dataset_dir):
        self._folder, self._dataset = dataset_dir, None

    def __call__(self, task):
        if self._dataset is None:
            self._dataset = TFRecordDataset(self._folder, prefetch_mb=0)
        try:
            return len(range(*task)), _check_batch(self._dataset, range(*task))
        except UserError as err:
            return len(range(*task)), [str(err)]


def _check_codec(dataset):
    """The codec is there, is the one that the codes were made with, and decodes codes of this shape."""
    try:
        decoder = read_codec(dataset.codec)[1]
    except UserError as err:
        return [str(err)]
    found = [('code_channels', decoder.static_kwargs.get('code_channels', 16), dataset.shape[0]),
             ('downscale', scale_of(decoder), dataset.codec.get('downscale', 4))]
    return [f"{dataset.codec['path']} has {name} {value}, the codes {expected}" for name, value, expected in found
            if value != expected]


def _check_records(dataset, cluster):
    """Every record is readable, and every level is the average of the highest."""
    problems = []
    sample_bytes = int(np.prod(dataset.shape)) * np.dtype(dataset.dtype).itemsize
    batch = max(1, min(1024, _BATCH_BYTES // sample_bytes))
    with Progress('verify', len(dataset)) as progress:
        if cluster is not None:
            share = len(dataset) // (_TASKS_OF_A_WORKER * cluster.num_workers * batch)
            batch *= max(1, min(share, _BATCHES_OF_A_TASK))
        tasks = ((start, min(start + batch, len(dataset))) for start in range(0, len(dataset), batch))
        for count, found in _map(cluster, _RecordChecker(os.path.abspath(dataset.tfrecord_dir)), tasks):
            problems += found
            if len(problems) > 10 * _SCREENFUL:
                break  # there is no end to it
            progress.add(count)
    return problems


def _check_batch(dataset, indices):
    problems = []
    full, _ = dataset.get_samples_np(indices)
    if full.dtype != np.uint8:
        bad = np.flatnonzero(~np.isfinite(full.reshape(len(full), -1).astype(np.float64)).all(axis=1))
        return problems + [f'record {indices[i]} holds values that are not finite' for i in bad]
    if not exporter.has_levels(full.shape[1:], full.dtype):
        return problems
    for lod, expected in enumerate(levels_of_detail(full)):
        if lod == 0 or lod not in dataset.levels:
            continue
        got, _ = dataset.get_samples_np(indices, lod)
        error = np.abs(got.astype(np.int16) - expected).reshape(len(got), -1).max(axis=1)
        for i in np.flatnonzero(error > 1):  # other tools may round the last bit differently
            problems.append(f'record {indices[i]} at {got.shape[-1]}x{got.shape[-1]} is not the average of the '
                            f'full-resolution one (differs by up to {error[i]})')
    return problems


def info(dataset_dir, as_json=False):
    """Prints what a data set holds."""
    dataset = TFRecordDataset(dataset_dir, max_label_size='full' if has_labels(dataset_dir) else 0, prefetch_mb=0)
    manifest = read_manifest(dataset_dir)
    with os.scandir(dataset_dir) as entries:
        sizes = [_size(entry) for entry in entries]
    facts = {
        'directory': dataset_dir,
        'images': len(dataset),
        'shape': dataset.shape,
        'dtype': dataset.dtype,
        'dynamic_range': dataset.dynamic_range,
        'resolutions': [dataset.resolution >> level for level in dataset.levels],
        'bytes': sum(sizes),
        'shards': len(dataset.shards),
        'made_by': manifest.get('command', 'another tool'),
        'arguments': manifest.get('arguments', {}),
        'skipped': len(manifest.get('skipped', [])),
        'left_out': manifest.get('left_out', {}),
        'labels': _label_summary(dataset),
        'fingerprint': dataset.fingerprint,
    }
    if dataset.codec is not None:
        facts['codec'] = {key: value for key, value in dataset.codec.items() if key != 'path'}
        facts['source'] = manifest.get('source', {})
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    arguments = ', '.join(f'{key} {value}' for key, value in facts['arguments'].items() if value is not None)
    print(f"{dataset_dir}: {facts['images']} samples of {facts['shape']} {facts['dtype']} "
          f"in {facts['dynamic_range']}\n"
          f"  resolutions  {', '.join(str(size) for size in facts['resolutions'])}\n"
          f"  on disk      {exporter.format_bytes(facts['bytes'])}"
          + (f", each level in {facts['shards']} shards" if facts['shards'] > 1 else '') + '\n'
          f"  made by      {facts['made_by']}" + (f' ({arguments})' if arguments else '') + '\n'
          f"  left out     {_left_out(facts)}\n"
          f"  fingerprint  {facts['fingerprint']}\n" + _codec_lines(facts)
          + f"  labels       {len(facts['labels']) or 'none'}")
    for entry in facts['labels'][:_SCREENFUL]:
        print(f"    {entry['name']:<24} mean {entry['mean']:.3f}, {entry['nonzero']} not zero")
    if len(facts['labels']) > _SCREENFUL:
        print(f"    … and {len(facts['labels']) - _SCREENFUL} more")


def _codec_lines(facts):
    """What made codes of what, as lines of text; '' for all else."""
    if 'codec' not in facts:
        return ''
    source = facts['source']
    return (f"  codes of     {source.get('name', 'unknown images')}, "
            f"{' x '.join(str(side) for side in source.get('shape', ['?']))}, "
            f"fingerprint {source.get('fingerprint', 'unknown')}\n"
            f"  codec        {CODEC}, 1/{facts['codec'].get('downscale', 4)} of the side, "
            f"SHA-256 {facts['codec']['sha256']}\n")


def _size(entry):
    """Bytes of a regular file, 0 for all else, such as one that is gone meanwhile."""
    try:
        return entry.stat().st_size if entry.is_file() else 0
    except OSError:
        return 0


def _left_out(facts):
    """How many files are not in the data set, and why."""
    counts = dict(facts['left_out'] or {'unusable': facts['skipped']})
    reasons = ', '.join(f"{count} {key.replace('_', ' ')}" for key, count in counts.items() if count)
    return f'{sum(counts.values())} files' + (f' ({reasons})' if reasons else '')


def _label_summary(dataset):
    if not dataset.label_size:
        return []
    total, nonzero = np.zeros(dataset.label_size), np.zeros(dataset.label_size, np.int64)
    for start in range(0, len(dataset), 65536):
        labels = dataset.get_labels_np(np.arange(start, min(start + 65536, len(dataset))))
        total += labels.sum(axis=0, dtype=np.float64)
        nonzero += (labels != 0).sum(axis=0)
    names = dataset.label_names or [f'component {i}' for i in range(dataset.label_size)]
    return [{'name': name, 'mean': mean / len(dataset), 'nonzero': int(count)}
            for name, mean, count in zip(names, total.tolist(), nonzero)]
