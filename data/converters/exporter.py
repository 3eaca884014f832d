"""Writing a data set: TFRecords for every level of detail, labels and the manifest, all or nothing."""

import contextlib
import functools
import hashlib
import math
import os
import shutil
import signal
import time

import numpy as np

from data.records.base import resolution_of
from data.records.fingerprint import Fingerprint
from data.records.label_files import check_finite
from data.records.levels import levels_of_detail
from data.records.manifest import describe_file, write_manifest
from data.records.shards import suffix, write_shard_manifests
from data.records.tfrecord import Encoder
from dnnlib import machine, util
from dnnlib.files import check_elsewhere, new_folder, sync, temporary_folder
from dnnlib.util import UserError

SMALLEST = 4  # resolution of the lowest level
MOST_FILE_BYTES = 64 * 10 ** 9   # of the highest level: a data set forecast to be larger is written in shards
SHARD_BYTES = 4 * 10 ** 9        # of the highest level, in such a shard
_TICK = 0.02  # seconds after which a file system gives a change another time


def has_levels(shape, dtype):
    """Whether arrays of this shape [C, H, W] (or [C]) and dtype are pictures with levels of detail."""
    return np.dtype(dtype) == np.uint8 and len(shape) == 3 and shape[1] == shape[2] and shape[1] & (shape[1] - 1) == 0 \
        and shape[1] >= SMALLEST


def encode(arrays, memory=None, start=0, total=None):
    """Encodes arrays [N, C, H, W] for all their levels: (records per level, digests), both ready for `Exporter.add`.

    Worker processes call this, so that the parent has nothing left to do but to write. memory: uint8, at least
    `forecast_bytes` long, for the records, which `split` then finds there; None for new memory. start, total: the
    arrays are those from number `start` on of `total` that the memory is for; by default they are all.
    """
    shape, dtype = arrays.shape[1:], arrays.dtype
    total = len(arrays) if total is None else total
    if memory is None:
        memory = np.empty(forecast_bytes(shape, dtype, total), np.uint8)
    levels = levels_of_detail(arrays, SMALLEST) if has_levels(shape, dtype) else [arrays]
    records = []
    for encoder, level, block in zip(_encoders(tuple(shape), np.dtype(dtype)), levels,
                                     split(memory, shape, dtype, total)):
        records.append(block[start * encoder.record_size:(start + len(arrays)) * encoder.record_size])
        encoder.encode(level, records[-1].reshape(len(arrays), encoder.record_size))
    little = np.ascontiguousarray(arrays, arrays.dtype.newbyteorder('<'))
    return records, [hashlib.sha256(array).digest() for array in little]


def split(memory, shape, dtype, count):
    """The records that `encode` put into `memory` for `count` arrays: views of it, uint8 [bytes], one per level."""
    ends = np.cumsum([0] + [count * encoder.record_size for encoder in _encoders(tuple(shape), np.dtype(dtype))])
    return [memory[start:end] for start, end in zip(ends, ends[1:])]


@functools.lru_cache(maxsize=32)
def _encoders(shape, dtype):
    """An encoder for every level of arrays [C, H, W] (a tuple)."""
    pictures = has_levels(shape, dtype)
    return [Encoder([shape[0], 1 << log2, 1 << log2] if pictures else shape, dtype)
            for log2 in level_log2s(shape, dtype)]


def first(encoded, count, total):
    """The first `count` of the `total` images in what `encode` returned."""
    records, digests = encoded
    return [block[:len(block) // total * count] for block in records], digests[:count]


class Exporter:
    """Writes a data set into `dataset_dir`, which appears, complete, when the context ends without an error.

    dataset_dir: must not exist, or be an empty directory; its name becomes the files' name.
    shape:       [C, H, W] of every array, or [C]; `dtype` its type. uint8 squares get all levels down to 4x4, others
                 only one.
    forecast:    number of arrays expected, for the check of free space; None to leave that out. A highest level of more
                 than MOST_FILE_BYTES by it is written in shards, and so are all others.

    Raises UserError if the directory is there already or the disk has no room.
    """

    def __init__(self, dataset_dir, shape, dtype='uint8', forecast=None):
        self.dataset_dir = os.path.abspath(os.fspath(dataset_dir))
        self.name = os.path.basename(self.dataset_dir)
        self.shape, self.dtype = [int(size) for size in shape], np.dtype(dtype)
        self.num_images = 0
        check_new(dataset_dir)
        self._log2s = level_log2s(self.shape, self.dtype)
        if forecast is not None:
            check_free_space(dataset_dir, forecast_bytes(self.shape, self.dtype, forecast))
        self._shard_size = None  # records in each file, None for one file
        record_size = _encoders(tuple(self.shape), self.dtype)[0].record_size
        if forecast is not None and forecast * record_size > MOST_FILE_BYTES:
            self._shard_size = max(1, SHARD_BYTES // record_size)
        self._fingerprint = Fingerprint(self.shape, self.dtype)
        self._manifest = {}
        self._labels = None
        self._more_files = {}
        self._outputs = []  # highest resolution first
        self._parts = contextlib.ExitStack()

    def __enter__(self):
        parent = os.path.dirname(self.dataset_dir)
        self._parent = new_folder(parent)
        self._parent.__enter__()
        # A kill that can be caught must leave nothing behind either.
        self._old_handler = _raise_on_sigterm()
        self._atomic = util.atomic_folder(self.dataset_dir)
        try:
            self._temp = self._atomic.__enter__()
        except OSError as err:
            _restore_handler(self._old_handler)
            self._parent.__exit__(None, None, None)
            raise UserError(f"cannot write to '{parent}': {err.strerror}") from err
        for log2, encoder in zip(self._log2s, _encoders(tuple(self.shape), self.dtype)):
            self._outputs.append(_Level(os.path.join(self._temp, f'{self.name}-r{log2:02}'), encoder.record_size,
                                        self._shard_size))
        return self

    def parts_folder(self):
        """A folder beside the data set for what workers hand over, gone when the data set is there."""
        return self._parts.enter_context(temporary_folder(self.dataset_dir))

    def add(self, encoded):
        """Adds what `encode` returned: the same records at every level."""
        records, digests = encoded
        assert len(records) == len(self._outputs)
        for output, block in zip(self._outputs, records):
            try:
                output.write(block)
            except OSError as err:
                raise OSError(err.errno, err.strerror, self.dataset_dir) from err  # with a name for the sentence
        for digest in digests:
            self._fingerprint.add_digest(digest)
        self.num_images += len(digests)

    def set_labels(self, labels, names=None, **details):
        """Labels [N, components], float32 in record order; `names` of the components, if they have any.

        Raises UserError for labels that are no finite numbers.
        """
        with np.errstate(over='ignore'):
            self._labels = np.ascontiguousarray(labels, np.float32)
        check_finite(self._labels, labels, f"the labels of '{self.dataset_dir}'", names)
        self._manifest.update(details, label_names=None if names is None else [str(name) for name in names])

    def add_file(self, path, name):
        """Copies a file into the data set, under this name."""
        target = os.path.join(self._temp, name)
        shutil.copyfile(path, target)
        with open(target, 'rb') as f:
            sync(f)
        self._more_files[name] = {'size': os.path.getsize(target), 'sha256': util.sha256_file(target)}

    def describe(self, **entries):
        """Puts entries into the manifest."""
        self._manifest.update(entries)

    def __exit__(self, exc_type, exc_value, traceback):
        try:
            if exc_type is None:
                self._finish()
        except BaseException as err:
            self._close(type(err), err)
            raise
        self._close(exc_type, exc_value)

    def _close(self, exc_type, exc_value):
        for output in self._outputs:
            with contextlib.suppress(OSError):  # what a full disk did not take; on success all was flushed before
                output.close()
        try:
            self._parts.close()
            self._atomic.__exit__(exc_type, exc_value, None)
        except BaseException as err:
            if err is not exc_value:
                raise
        finally:
            _restore_handler(self._old_handler)
            self._parent.__exit__(None, None, None)

    def _finish(self):
        if self.num_images == 0:
            raise UserError('there is not a single image to write')
        levels = [output.finish() for output in self._outputs]
        files = dict(self._more_files)
        if self._labels is not None:
            assert len(self._labels) == self.num_images, (self._labels.shape, self.num_images)
            name = f'{self.name}-rxx.labels'
            path = os.path.join(self._temp, name)
            with open(path, 'wb') as f:
                np.save(f, self._labels)
                f.flush()
                sync(f)
            files[name] = describe_file(path, os.path.getsize(path), util.sha256_file(path))
        is_image = has_levels(self.shape, self.dtype) and self.shape[0] in (1, 3)
        fingerprint = self._fingerprint.finish(self._labels)
        if self._shard_size is None:
            files.update(file for level in levels for file in level)
        manifest = {
            'manifest_version': 1,
            'name': self.name,
            'num_images': self.num_images,
            'shape': self.shape,
            'dtype': self.dtype.name,
            'dynamic_range': [0, 255] if self.dtype == np.uint8 else [-1, 1],
            'is_image': is_image,
            'levels': self._log2s,
            'label_size': 0 if self._labels is None else int(self._labels.shape[1]),
            'fingerprint': fingerprint,
            'files': files,
        }
        manifest.update(self._manifest)
        if self._shard_size is not None:
            manifest['shards'] = counts = [min(self._shard_size, self.num_images - start)
                                           for start in range(0, self.num_images, self._shard_size)]
            write_shard_manifests(self._temp, self.name, counts, [dict(files) for files in zip(*levels)], fingerprint)
        time.sleep(_TICK)
        write_manifest(self._temp, manifest)


class _Level:
    """A level that is being written: the file STEM.tfrecords, or shards of it of `most` records each."""

    def __init__(self, stem, record_size, most):
        self._stem = stem
        self._most = None if most is None else most * record_size  # bytes
        self._files = []
        self._add_file()

    def _add_file(self):
        ending = '' if self._most is None else f'-{len(self._files):05}'  # how many there will be is not known yet
        self._files.append(HashedFile(f'{self._stem}{ending}.tfrecords'))

    def write(self, block):
        """Appends whole records, uint8 [bytes]."""
        while self._most is not None and self._files[-1].size + len(block) > self._most:
            room = self._most - self._files[-1].size
            self._files[-1].write(block[:room])
            self._files[-1].flush()
            self._add_file()
            block = block[room:]
        self._files[-1].write(block)

    def finish(self):
        """Brings all to the disk. Returns [(file name, what the manifest says about it)] of the files."""
        if self._most is None:
            return [self._files[0].finish()]
        return [file.finish(f'{self._stem}{suffix(number, len(self._files))}.tfrecords')
                for number, file in enumerate(self._files)]

    def close(self):
        for file in self._files:
            file.close()


class HashedFile:
    """A file that is being written. `size`: bytes so far."""

    _STEP = 32 << 20  # bytes
    _HOT = 256 << 10  # bytes that a processor's own cache still holds when they are read again

    def __init__(self, path):
        self._path = path
        self._file = open(path, 'wb')
        self._hash = hashlib.sha256()
        self.size = self._on_its_way = 0

    def write(self, block):
        """Appends uint8 [bytes]."""
        block = memoryview(block)
        for start in range(0, len(block), self._HOT):
            piece = block[start:start + self._HOT]
            self._file.write(piece)
            self._hash.update(piece)
        self.size += len(block)
        if self.size - self._on_its_way >= self._STEP and hasattr(os, 'posix_fadvise'):
            # The disk begins now, beside the processors, instead of keeping us waiting at the end. The pages stay in
            # memory, since only what the disk has already could be dropped.
            os.posix_fadvise(self._file.fileno(), self._on_its_way, self.size - self._on_its_way,
                             os.POSIX_FADV_DONTNEED)
            self._on_its_way = self.size

    def flush(self):
        """Brings everything to the disk; nothing more can be written."""
        if not self._file.closed:
            self._file.flush()
            sync(self._file)
            self._file.close()

    def finish(self, path=None):
        """Flushes, and gives the file its name in the end. Returns (file name, what the manifest says about it)."""
        self.flush()
        if path is not None:
            os.rename(self._path, path)
            self._path = path
        return os.path.basename(self._path), describe_file(self._path, self.size, self._hash.hexdigest())

    def close(self):
        self._file.close()


def level_log2s(shape, dtype):
    """Log2 of the resolutions of the levels of arrays [C, H, W] or [C], the full one first."""
    top = int(math.ceil(math.log2(resolution_of(shape))))
    return list(range(top, 1, -1)) if has_levels(shape, dtype) else [top]


def forecast_bytes(shape, dtype, count):
    """The size in bytes of the TFRecords of `count` arrays with all their levels."""
    return count * sum(encoder.record_size for encoder in _encoders(tuple(shape), np.dtype(dtype)))


def check_new(dataset_dir):
    """Raises UserError if `dataset_dir` exists and is not an empty directory, or is the one that this runs in."""
    check_elsewhere(dataset_dir)
    if os.path.lexists(dataset_dir) and not (os.path.isdir(dataset_dir) and not os.listdir(dataset_dir)):
        raise UserError(f"'{dataset_dir}' exists already; choose another name or delete it first")


def check_free_space(path, needed):
    """Raises UserError if the file system that `path` will lie on has fewer than `needed` bytes free."""
    folder = machine.existing_folder(os.path.dirname(os.path.abspath(path)))
    free = machine.free_disk(folder)
    if needed > free:
        raise UserError(f"the data set will take {format_bytes(needed)} but '{folder}' has only {format_bytes(free)} "
                        f'free; free some space or choose another disk')


def format_bytes(size):
    """A size for people: '512 B', '3.4 MB', '12.0 GB'."""
    if size < 1000:
        return f'{size} B'
    for unit in ('kB', 'MB', 'GB', 'TB'):
        size /= 1000
        if size < 999.95 or unit == 'TB':
            return f'{size:.1f} {unit}'


def _raise_on_sigterm():
    def stop(signum, stack):
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, stop)
    except ValueError:
        return None  # not in the main thread: signals are somebody else's business


def _restore_handler(handler):
    if handler is not None:
        signal.signal(signal.SIGTERM, handler)
