"""Data sets for training and metrics: multi-resolution TFRecords, and random pictures for tests of speed."""

import glob
import inspect
import os
import re

import numpy as np

from data import points
from data.records.base import Dataset, resolution_of
from data.records.fingerprint import dataset_fingerprint
from data.records.label_files import load_labels
from data.records.levels import levels_of_detail
from data.records.manifest import CODEC, read_manifest
from data.records.shards import check_shards, group, open_level
from data.records.tfrecord import Malformed, parse_example
from dnnlib import util
from dnnlib.util import UserError


class TFRecordDataset(Dataset):
    """The data set in a directory of TFRecord files, one per level of detail.

    tfrecord_dir:   the directory, holding NAME-rNN.tfrecords (NN = log2 of the resolution) and perhaps NAME-rxx.labels;
                    a level may be in several files, see data.records.shards; a text
    resolution:     use the set at this resolution, null for the highest there is; a whole number from 1 to 1048576,
                    or null
    label_file:     labels as a .npy array [N, components], null for the directory's own; a text, or null
    max_label_size: 0 for no labels, n for the first n components, full for all; 0 to 1048576, or full
    repeat:         begin again after the last image.
    shuffle_mb:     0 for the files' order, any other value for a new permutation per epoch; 0 to 1e9
    prefetch_mb:    0 to read without a thread; 0 to 1e9
    buffer_mb, num_threads: accepted and not needed; 0 to 1e9
    seed:           chooses the permutations; 0 to 2147483647
    share:          use only this share of the records, 1: all of them. Which ones is a random choice that is always the
                    same, and a larger share holds all of a smaller one; a number from 1e-6 to 1

    Raises UserError if files are missing, damaged or do not fit together.
    """

    def __init__(self, tfrecord_dir, resolution=None, label_file=None, max_label_size=0, repeat=True, shuffle_mb=4096,
                 prefetch_mb=2048, buffer_mb=256, num_threads=2, seed=0, share=1):
        self.tfrecord_dir = os.fspath(tfrecord_dir)
        manifest = read_manifest(self.tfrecord_dir)
        _check_codec_is_told(self.tfrecord_dir, manifest)
        files = _open_levels(self.tfrecord_dir, resolution)
        full = files[max(files)]
        check_shards(self.tfrecord_dir, full, manifest)
        has_pixels = len(full.shape) == 3
        is_image = has_pixels and manifest.get('is_image', full.dtype == np.uint8 and full.shape[0] in (1, 3))
        self.shards = list(full.counts)  # records in each file of a level
        self._files = {max(files) - log2: record_file for log2, record_file in files.items()}
        if is_image or has_pixels and full.dtype == np.uint8:
            _check_pyramid(self.tfrecord_dir, files)
        all_labels, self.label_file = load_labels(self.tfrecord_dir, label_file, max_label_size, len(full))
        self._all_labels = all_labels
        labels = all_labels
        if labels is not None and max_label_size != 'full':
            labels = labels[:, :max_label_size] if max_label_size > 0 else None
        self._chosen = _choose_share(len(full), share)
        if self._chosen is not None and labels is not None:
            labels = labels[self._chosen]
        names = manifest.get('label_names')
        super().__init__(
            shape=full.shape, dtype=full.dtype, levels=self._files, is_image=is_image,
            num_images=len(full) if self._chosen is None else len(self._chosen),
            dynamic_range=manifest.get('dynamic_range', [0, 255] if full.dtype == np.uint8 else [-1, 1]),
            labels=labels, label_names=names[:labels.shape[1]] if names and labels is not None else None,
            repeat=repeat, shuffle=shuffle_mb > 0, prefetch=prefetch_mb > 0, seed=seed)
        self.distribution = points.get(manifest['distribution']) if 'distribution' in manifest else None
        if 'codec' in manifest:
            self.codec = dict(manifest['codec'], path=os.path.join(self.tfrecord_dir, CODEC))

    @property
    def fingerprint(self):
        """Hash of all samples at this resolution and all labels, see `data.records.fingerprint`. The first call may
        take long for a data set that was copied or made by another tool."""
        whole = dataset_fingerprint(self.tfrecord_dir, [self._files[level] for level in sorted(self._files)],
                                    self._all_labels, self.label_file, self.interrupt)
        return whole if self._chosen is None else f'{whole}-{self.num_images}-chosen'

    def level_file(self, level):
        """What all records of a level are read from, whatever `share` says: a `RecordFile` or a `ShardedFile`."""
        return self._files[level]

    def _read(self, indices, level):
        if self._chosen is not None:
            indices = self._chosen[indices]
        return self._files[level].read_batch(indices)

    def close(self):
        super().close()
        for record_file in self._files.values():
            record_file.close()


def _check_codec_is_told(folder, manifest):
    if 'codec' not in manifest and os.path.lexists(os.path.join(folder, CODEC)):
        raise UserError(f"'{folder}' holds codes, as {CODEC} shows, but its manifest.json "
                        + ('does not say so' if manifest else 'is missing')
                        + '; without it codes would be taken for plain arrays: bring it back, or encode again')


def _choose_share(total, share):
    """Numbers of the records that make up a share of all, sorted; None for all. Raises UserError."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise UserError(f'dataset.share is {share!r:.60}; a number above 0, at most 1, is expected')
    if share == 1:
        return None
    count = int(round(total * share))
    if count < 1:
        raise UserError(f'dataset.share is {share:g}, which leaves none of {total} records')
    return np.sort(np.random.RandomState(0).permutation(total)[:count])


def named_resolutions(paths):
    """The set of resolutions that names of files of levels tell."""
    named = (re.search(r'-r(\d\d)(?:-\d+-of-\d+)?\.tfrecords$', path) for path in paths)
    return {1 << int(match.group(1)) for match in named if match}


def _open_levels(folder, resolution):
    """Maps log2 resolution to the open `RecordFile`, for levels up to the asked resolution."""
    if not os.path.isdir(folder):
        if '://' in folder:
            raise UserError(f"'{folder}' is an address, and data sets are read from folders here; copy it first")
        raise UserError(f"data set directory '{folder}' does not exist; make it with dataset_tool.py or mend "
                        f'dataset.tfrecord_dir and --data-dir')
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), '*.tfrecords')))
    if not paths:
        util.check_listable(folder)
        raise UserError(f"'{folder}' holds no *.tfrecords files; make the data set with dataset_tool.py")
    files = {}
    for path, parts in group(paths):
        named = re.search(r'-r(\d\d)\.tfrecords$', path)
        if resolution is not None and named and 1 << int(named.group(1)) > resolution:
            continue  # not needed, so it may be missing or damaged
        record_file = open_level(parts)
        if len(record_file.shape) not in (1, 3):
            raise UserError(f'{path} holds arrays of shape {list(record_file.shape)}; [channels, height, width] is '
                            f'expected, or [channels] for points and other samples without pixels')
        log2 = int(np.ceil(np.log2(resolution_of(record_file.shape))))
        if log2 in files:
            raise UserError(f'{path} and {files[log2].path} have the same resolution; keep one data set per directory')
        if resolution is None or 1 << log2 <= resolution:
            files[log2] = record_file
    if not files or (resolution is not None and 1 << max(files) != resolution):
        sizes = sorted({1 << log2 for log2 in files} | named_resolutions(paths))
        if sizes == [1] and len(files[0].shape) == 1:
            raise UserError(f"'{folder}' holds samples of {list(files[0].shape)} without pixels, such as points, but "
                            f'images of {resolution}x{resolution} are needed; choose a data set of images, or networks '
                            'for points, such as those of minimal-gan')
        if resolution == 1 and sizes:
            raise UserError(f"'{folder}' holds images of up to {sizes[-1]}x{sizes[-1]}, but points are needed; choose "
                            'a data set made by dataset_tool.py create_points, or networks for images')
        raise UserError(f"'{folder}' has no {resolution}x{resolution} level; it has "
                        + (', '.join(f'{size}x{size}' for size in sizes) or 'none at all'))
    return files


def _check_pyramid(folder, files):
    """Pictures are square, with sides a power of two, and every level from 4x4 on belongs to the highest one."""
    top = max(files)
    full = files[top]
    channels, height, width = full.shape
    if height != width or height != 1 << top:
        raise UserError(f'{full.path} holds pictures of {width}x{height}; a square with a side that is a power of two '
                        f'is expected')
    for log2 in range(2, top):
        if log2 not in files:
            raise UserError(f"'{folder}' lacks the {1 << log2}x{1 << log2} level (…-r{log2:02}.tfrecords); "
                            f'make the data set again')
        level = files[log2]
        if level.shape != (channels, 1 << log2, 1 << log2) or level.dtype != full.dtype:
            raise UserError(f'{level.path} holds arrays of {list(level.shape)} {level.dtype.name}, which do not fit '
                            f'{list(full.shape)} {full.dtype.name} in {os.path.basename(full.path)}')
        if len(level) != len(full):
            raise UserError(f'{level.path} has {len(level)} records but {os.path.basename(full.path)} has '
                            f'{len(full)}; the set is incomplete, make it again')
        if level.counts != full.counts:
            raise UserError(f'{level.path} is split into shards of {_few(level.counts)} records but '
                            f'{os.path.basename(full.path)} into {_few(full.counts)}; bring back files that belong '
                            'together, or make the data set again')


def _few(counts):
    return ', '.join(str(count) for count in counts[:6]) + (', …' if len(counts) > 6 else '')


class SyntheticDataset(Dataset):
    """Random noise, generated on the fly, for measuring speed without a data set. Sample i depends on (seed, i).

    With labels, each is a random class as a one-hot vector.

    resolution:     side of a square sample; 1 to 65536
    num_channels:   channels of a sample; 1 to 65536
    dtype:          type of the samples; uint8, int16, uint16, int32, float16, float32 or float64
    dynamic_range:  lowest and highest value, null: by the type; a list of 2 rising numbers, or null
    label_size:     number of classes, 0: no labels; 0 to 1000000
    label_dtype:    type of the labels; float32, float64, uint8 or int32
    num_images:     number of samples; 1 to 1e9
    shape:          [C, H, W] of a sample, in place of resolution and num_channels;
                    a list of 1 to 3 whole numbers from 1 to 65536, or null
    repeat:         begin again after the last image.
    shuffle_mb:     0 for the order of numbers, any other value for a new permutation per epoch; 0 to 1e9
    prefetch_mb:    0 to generate without a thread; 0 to 1e9
    buffer_mb, num_threads: accepted and not needed; 0 to 1e9
    seed:           chooses samples and permutations; 0 to 2147483647
    """

    def __init__(self, resolution=1024, num_channels=3, dtype='uint8', dynamic_range=None, label_size=0,
                 label_dtype='float32', num_images=10000, shape=None, repeat=True, shuffle_mb=4096, prefetch_mb=2048,
                 buffer_mb=256, num_threads=2, seed=0):
        dtype = np.dtype(dtype)
        shape = list(shape) if shape is not None else [num_channels, resolution, resolution]
        is_image = dtype == np.uint8 and shape[0] in (1, 3) and len(shape) == 3
        if is_image and (shape[1] != shape[2] or shape[1] & (shape[1] - 1)):
            raise UserError(f'pictures of {shape[2]}x{shape[1]} are asked for; their sides must be one power of two')
        labels = None
        if label_size > 0:
            classes = np.random.RandomState([seed % 2 ** 32, 1]).randint(label_size, size=num_images)
            labels = np.eye(label_size, dtype=label_dtype)[classes]
        levels = range(int(np.log2(shape[1])) - 1) if is_image else [0]
        if dynamic_range is None:
            dynamic_range = [0, 255] if dtype == np.uint8 else [-1, 1]
        super().__init__(shape, dtype, dynamic_range, num_images, levels, is_image, labels=labels, repeat=repeat,
                         shuffle=shuffle_mb > 0, prefetch=prefetch_mb > 0, seed=seed)

    @property
    def fingerprint(self):
        """Says what is generated."""
        return f'synthetic-{self.shape}-{self.dtype}-{self.num_images}-{self.label_size}-{self.seed}'

    def _read(self, indices, level):
        out = [self._sample(int(index)) for index in indices]
        samples = np.stack(out)
        if level:
            samples = list(levels_of_detail(samples))[level]
        return samples

    def _sample(self, index):
        rng = np.random.RandomState([self.seed % 2 ** 32, 2, index])
        if self.dtype == 'uint8':
            return rng.randint(256, size=self.shape, dtype=np.uint8)
        return rng.uniform(self.dynamic_range[0], self.dynamic_range[1], size=self.shape).astype(self.dtype)


_CLASS = 'data.records.dataset.TFRecordDataset'


def load_dataset(class_name=_CLASS, data_dir=None, verbose=False, **kwargs):
    """Makes the data set of class `class_name`; its `tfrecord_dir` is relative to `data_dir` if that is given."""
    if 'tfrecord_dir' in kwargs and data_dir is not None:
        kwargs['tfrecord_dir'] = os.path.join(data_dir, kwargs['tfrecord_dir'])
    dataset = util.get_obj_by_name(class_name)(**kwargs)
    if verbose:
        count = getattr(dataset, 'num_images', 'any number of')     # which programs' own classes need not say
        print(f'Data set: {count} samples of {dataset.shape} {dataset.dtype} in {dataset.dynamic_range}, '
              f'{dataset.label_size} label components', flush=True)
    return dataset


def in_file_order(args):
    """`load_dataset` keywords of the same data set in file order, read without a thread, if its class can do so."""
    return dict(args, **_taken(args, shuffle_mb=0, prefetch_mb=0))


def load_training_set(seed, **kwargs):
    """`load_dataset` for a training with this seed, which the class need not take.

    Raises UserError for a class that offers no more than the original's.
    """
    training_set = load_dataset(**dict(_taken(kwargs, seed=seed), **kwargs))
    if not isinstance(training_set, Dataset):
        raise UserError(f"the class {kwargs['class_name']} of the data set cannot say what a training has to know "
                        'besides its minibatches, such as where to go on; derive it from '
                        'training.dataset.TFRecordDataset, or train with it in a loop of your own')
    return training_set


def _taken(args, **options):
    """Those options that the class of the data set takes: programs' own classes need not take all."""
    parameters = inspect.signature(util.get_obj_by_name(args.get('class_name', _CLASS))).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    return options if takes_any else {key: value for key, value in options.items() if key in parameters}


# ---- Single records, for programs that read the files by other means

def parse_tfrecord_np(record):
    """The sample [C, H, W] in a serialized Example (bytes), in its own type. Raises UserError."""
    try:
        example = parse_example(record)
    except Malformed as err:
        raise UserError(f'the record {err}') from None
    return np.frombuffer(record[example.start:example.end], example.dtype).reshape(example.shape).copy()


def parse_tfrecord_tf(record):
    """The sample, a uint8 tensor [C, H, W], in a serialized Example (scalar string tensor)."""
    from dnnlib.tflib import tf
    features = tf.parse_single_example(record, dict(shape=tf.FixedLenFeature([3], tf.int64),
                                                    data=tf.FixedLenFeature([], tf.string)))
    return tf.reshape(tf.decode_raw(features['data'], tf.uint8), features['shape'])
