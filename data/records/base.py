"""What all data sets share: the order of their samples, minibatches, reading ahead, labels and the position.

The order of a data set is a function of (seed, epoch, position): every epoch visits each record once, in a permutation
of its own. So a run can be continued exactly from the number of images consumed, whatever minibatch sizes and levels
of detail came before, and no shuffle buffer is needed.
"""

import threading

import numpy as np

from data.point_pictures import PointPicture
from data.records.prefetch import Prefetcher
from dnnlib.seeds import check_seed
from dnnlib.util import UserError
from dnnlib.values import schema

_READ_AHEAD_BYTES = 32 << 20
_READ_AHEAD_BATCHES = (2, 16)  # at least, at most
_STATE = {'images_consumed': 'a whole number from 0 to 1e15', 'seed': 'a whole number from 0 to 1e15',
          'num_images': 'a whole number from 1 to 1e15', 'shuffle': 'true or false'}


def resolution_of(shape):
    """The resolution of samples [C, H, W], and 1 of samples [C]."""
    return max(list(shape[1:]) or [1])


class Dataset:
    """What all data sets share. A subclass sets the attributes below and defines `_read(indices, level)`.

    Attributes:
        shape:         [C, H, W] of one sample at level 0; [C] of samples without pixels, such as points.
        dtype:         name of the samples' dtype, such as 'uint8'.
        dynamic_range: [lowest, highest] value of a sample.
        resolution, resolution_log2: the larger of H and W, and its logarithm; 1 and 0 without pixels.
        num_images:    number of samples; also `len()`.
        is_image:      whether samples can be drawn as pictures.
        is_points:     whether samples are points in the plane, of shape [2].
        draw_samples:  for samples that are no images, the function that draws a minibatch of them as one picture,
                       [C, H, W] in [0, 1]; see `data.point_pictures`. None where there is none.
        field_points:  where `draw_samples` can show what a discriminator thinks, the function that says at which
                       samples it is to be asked. None where it cannot.
        label_size:    number of label components used, 0 for none; `label_dtype`; `label_names` or None.
        levels:        levels of detail that can be asked for; level k has 1/2^k of the resolution.
        codec:         what makes images of the samples, where these are codes: a dict of `path`, `sha256`, and what
                       else the manifest says; None for everything else.
    """

    def __init__(self, shape, dtype, dynamic_range, num_images, levels, is_image, labels=None, label_names=None,
                 repeat=True, shuffle=True, prefetch=True, seed=0):
        self.shape = [int(size) for size in shape]
        self.dtype = np.dtype(dtype).name
        self.dynamic_range = list(dynamic_range)
        if not self.dynamic_range[0] < self.dynamic_range[1]:
            raise UserError(f'the dynamic range of the samples is {self.dynamic_range}; the lowest value, then a '
                            'higher one are expected')
        self.resolution = resolution_of(self.shape)
        self.resolution_log2 = int(np.ceil(np.log2(self.resolution)))
        self.num_images = int(num_images)
        self.levels = sorted(levels)
        self.is_image = bool(is_image)
        self.is_points = self.shape == [2]
        picture = PointPicture(self) if self.is_points else None
        self.draw_samples, self.field_points = (picture.draw, picture.field_points) if picture else (None, None)
        self.label_dtype = 'float32'
        self.label_size = 0 if labels is None else int(labels.shape[1])
        self.label_names = label_names
        self.codec = None
        self.seed = check_seed(seed, 'dataset.seed')
        self.interrupt = None  # function called between pieces of long reading, which may raise StopRequested
        self._labels = labels  # [N, label_size] or None; may be memory-mapped
        self._repeat = repeat
        self._shuffle = shuffle
        self._prefetch = prefetch
        self._share = (0, 1)   # which of how many equal parts of each minibatch is handed out
        self._consumed = 0     # images handed out since the beginning, with those of the other parts
        self._order = (None, None)  # (epoch, its order), the last one used
        self._minibatch_size = None
        self._level = 0
        self._stream = None
        self._error = None
        self._lock = threading.RLock()

    def __len__(self):
        return self.num_images

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.close()

    @property
    def fingerprint(self):
        """A string that is equal for equal content."""
        raise NotImplementedError

    def _read(self, indices, level):
        raise NotImplementedError

    def get_labels_np(self, indices):
        """The labels of particular records, float32 [N, label_size]."""
        if self._labels is None:
            return np.zeros([len(indices), 0], self.label_dtype)
        return np.asarray(self._labels[indices], dtype=self.label_dtype)

    def get_samples_np(self, indices, lod=0):
        """Particular records: (samples [N, C, h, w], labels [N, label_size]). Does not count as consumed."""
        indices = np.asarray(indices, np.int64)
        return self._read(indices, self._check_level(lod)), self.get_labels_np(indices)

    # ---- Minibatches

    def configure(self, minibatch_size, lod=0):
        """Sets what the next minibatches are: their size and their level of detail, floor(lod).

        Raises UserError if the data set has no such level.
        """
        level = self._check_level(lod)
        assert minibatch_size >= 1
        with self._lock:
            if (minibatch_size, level) != (self._minibatch_size, self._level):
                self._stop_stream()
                self._minibatch_size, self._level = int(minibatch_size), level

    def share(self, index, count):
        """From now on hands out part `index` of `count` equal parts of each minibatch, and reads no other records.

        Sizes and positions stay those of the whole. Raises UserError for data that end, whose last minibatch may be
        shorter.
        """
        if count > 1 and not self._repeat:
            raise UserError('data without repetition cannot be shared by several processes; leave dataset.repeat on')
        with self._lock:
            self._stop_stream()
            self._share = (index, count)

    def get_minibatch_np(self, minibatch_size, lod=0):
        """The next minibatch: (samples [N, C, h, w], labels [N, label_size]).

        With `repeat=False` the last one may be shorter, and tf.errors.OutOfRangeError follows it.
        """
        try:
            with self._lock:
                self.configure(minibatch_size, lod)
                return self._next()
        except StopIteration:
            raise self._end_of_data() from None

    def get_minibatch_tf(self):
        """The next minibatch as tensors (samples [N, C, h, w], labels [N, label_size]), as last configured.

        Every evaluation consumes one minibatch: build it once per graph and split it among the devices, since the
        order in which several would be evaluated is undefined. With `repeat=False` tf.errors.OutOfRangeError follows
        the last one. Any other failure of the reader reaches the caller of `session.run` as TensorFlow's error;
        `raise_pending_error()` then raises the original one.
        """
        from dnnlib.tflib import tf
        with tf.device('/cpu:0'):
            samples, labels = tf.py_func(self._next_for_tf, [], [tf.as_dtype(self.dtype), tf.float32],
                                         name='Minibatch')
        samples.set_shape([None, self.shape[0]] + [None] * (len(self.shape) - 1))
        labels.set_shape([None, self.label_size])
        return samples, labels

    def wait_for_next(self):
        """Waits until the minibatch after the last one is read ahead and raises what keeps it from being so.

        Called before `session.run`, which would show the same failure with a traceback of TensorFlow's own.
        """
        with self._lock:
            if self._prefetch and self._minibatch_size is not None:
                if self._stream is None:
                    self._start_stream()
                try:
                    self._stream.peek()
                except StopIteration:
                    raise self._end_of_data() from None

    def raise_pending_error(self):
        """Raises the exception that made a tensor of `get_minibatch_tf` fail, if there was one."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _end_of_data(self):
        from dnnlib.tflib import tf
        return tf.errors.OutOfRangeError(None, None, f'all {self.num_images} samples of the data set have been read')

    def _next_for_tf(self):
        try:
            with self._lock:
                return self._next()
        except StopIteration:  # which TensorFlow turns into OutOfRangeError
            raise
        except Exception as err:
            self._error = err
            raise

    def _next(self):
        assert self._minibatch_size is not None, 'configure() comes first'
        if not self._prefetch:
            samples, labels, self._consumed = self._produce(self._consumed, self._minibatch_size, self._level)
            return samples, labels
        if self._stream is None:
            self._start_stream()
        samples, labels, self._consumed = self._stream.get()
        return samples, labels

    def _start_stream(self):
        size, level, position = self._minibatch_size, self._level, self._consumed

        def produce():
            nonlocal position
            samples, labels, position = self._produce(position, size, level)
            return samples, labels, position

        batch_bytes = size * int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize >> (2 * level)
        low, high = _READ_AHEAD_BATCHES
        self._stream = Prefetcher(produce, depth=int(np.clip(_READ_AHEAD_BYTES // max(batch_bytes, 1), low, high)))

    def _stop_stream(self):
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _produce(self, position, size, level):
        """The minibatch that starts at a position, and the position after it."""
        indices = self._indices(position, size)
        position += len(indices)
        index, count = self._share
        indices = indices[len(indices) * index // count:len(indices) * (index + 1) // count]
        return self._read(indices, level), self.get_labels_np(indices), position

    def _indices(self, position, size):
        """The records at positions position…position+size−1 of the endless sequence of epochs: int64 [size]."""
        if not self._repeat:
            size = min(size, self.num_images - position)
            if size <= 0:
                raise StopIteration
        parts = []
        while size > 0:
            epoch, start = divmod(position, self.num_images)
            part = self._epoch_order(epoch)[start:start + size]
            parts.append(part)
            position += len(part)
            size -= len(part)
        return np.concatenate(parts).astype(np.int64)

    def _epoch_order(self, epoch):
        if self._order[0] != epoch:
            order = np.arange(self.num_images, dtype=np.int32 if self.num_images < 2 ** 31 else np.int64)
            if self._shuffle:
                np.random.RandomState([self.seed % 2 ** 32, epoch]).shuffle(order)
            self._order = (epoch, order)
        return self._order[1]

    # ---- Random labels

    def get_random_labels_tf(self, minibatch_size):
        """Labels of random records, float32 [minibatch_size, label_size]; `minibatch_size` may be a tensor."""
        from dnnlib import tflib
        tf = tflib.tf
        with tf.name_scope('RandomLabels'):
            if self.label_size == 0:
                return tf.zeros([minibatch_size, 0], tf.float32)
            indices = tflib.rnd.random_uniform([minibatch_size], 0, self.num_images, tf.int32)
            with tf.device('/cpu:0'):
                labels = tf.py_func(self.get_labels_np, [indices], tf.float32, stateful=False)
            labels.set_shape([None, self.label_size])
            return labels

    def get_random_labels_np(self, minibatch_size, rng=None):
        """The same as an array, drawn from `rng` (a numpy RandomState; numpy's global one if None)."""
        return self.get_labels_np((rng or np.random).randint(self.num_images, size=[minibatch_size]))

    # ---- Position

    def state_dict(self):
        """What a checkpoint needs to continue: the images consumed (not those read ahead), JSON-able."""
        return {'images_consumed': self._consumed, 'seed': self.seed, 'num_images': self.num_images,
                'shuffle': self._shuffle}

    def load_state_dict(self, state):
        """Continues after what was consumed when `state_dict()` was called.

        Raises UserError for another data set, and for a state that is none.
        """
        schema.check(state, _STATE, 'the position in the data set')
        if state['num_images'] != self.num_images:
            raise UserError(f"the run was started on {state['num_images']} images but the data set has "
                            f'{self.num_images}; continue with the data set that it was started on')
        with self._lock:
            self._stop_stream()
            self.seed = int(state['seed'])
            self._shuffle = bool(state['shuffle'])
            self._consumed = int(state['images_consumed'])
            self._order = (None, None)

    def close(self):
        """Stops reading ahead and lets go of the files."""
        with self._lock:
            self._stop_stream()

    def _check_level(self, lod):
        level = int(np.floor(lod))
        if level not in self.levels:
            have = ', '.join(str(known) for known in self.levels)
            raise UserError(f'the data set has no level of detail {level} (it has {have}); '
                            f'train at its full resolution or write the missing levels')
        return level
