"""Reading data sets: order, minibatches, position, labels, damaged directories."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from data.images import list_images
from data.records import base as dataset_base
from data.records.dataset import SyntheticDataset, TFRecordDataset, load_dataset
from data.records.levels import levels_of_detail
from data.records.prefetch import Prefetcher
from data.records.tfrecord import Encoder
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from training import misc


def write_level(folder, arrays, name=None):
    folder.mkdir(exist_ok=True)
    log2 = int(np.ceil(np.log2(max(arrays.shape[2:]))))
    path = folder / (name or f'{folder.name}-r{log2:02}.tfrecords')
    path.write_bytes(Encoder(arrays.shape[1:], arrays.dtype).encode(arrays).tobytes())
    return path


def make_dataset(folder, count=10, size=16, channels=3, labels=None):
    """A data set whose image i has the value i in its first pixel of every level."""
    images = np.random.RandomState(0).randint(256, size=[count, channels, size, size]).astype(np.uint8)
    for level in levels_of_detail(images):
        level[:, 0, 0, 0] = np.arange(count)
        write_level(folder, level)
    if labels is not None:
        np.save(str(folder / 'x'), labels)
        (folder / 'x.npy').rename(folder / f'{folder.name}-rxx.labels')
    return str(folder)


def numbers(minibatch):
    """Which images these are."""
    return minibatch[0][:, 0, 0, 0].tolist()


@pytest.fixture
def folder(tmp_path):
    return make_dataset(tmp_path / 'set')


@pytest.fixture
def reference(golden_dir):
    return str(golden_dir / 'images-tfrecords')


def test_every_epoch_visits_every_image_once_in_its_own_order(folder):
    with TFRecordDataset(folder, seed=5) as dataset:
        epochs = [sum((numbers(dataset.get_minibatch_np(2)) for _ in range(5)), []) for _ in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_order_is_a_function_of_the_seed(folder):
    orders = [numbers(TFRecordDataset(folder, seed=seed).get_minibatch_np(20)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_minibatches_span_epochs_without_loss(folder):
    with TFRecordDataset(folder, seed=5) as dataset:
        seen = sum((numbers(dataset.get_minibatch_np(3)) for _ in range(10)), [])
        assert seen == numbers(TFRecordDataset(folder, seed=5).get_minibatch_np(30))


def test_shuffle_mb_0_means_file_order(folder):
    assert numbers(TFRecordDataset(folder, shuffle_mb=0).get_minibatch_np(12)) == list(range(10)) + [0, 1]


def test_the_last_minibatch_without_repeat_is_shorter_and_then_nothing_comes(folder):
    dataset = TFRecordDataset(folder, repeat=False, shuffle_mb=0)
    assert [len(dataset.get_minibatch_np(4)[0]) for _ in range(3)] == [4, 4, 2]
    for _ in range(2):
        with pytest.raises(tf.errors.OutOfRangeError):
            dataset.get_minibatch_np(4)


@pytest.mark.parametrize('prefetch_mb', [0, 2048])
def test_tensors_of_a_data_set_that_ends_end_in_an_error_of_tensorflow(folder, fresh_graph, prefetch_mb):
    dataset = TFRecordDataset(folder, repeat=False, shuffle_mb=0, prefetch_mb=prefetch_mb)
    dataset.configure(6)
    minibatch = dataset.get_minibatch_tf()
    sizes = []
    with pytest.raises(tf.errors.OutOfRangeError):
        while True:
            sizes.append(len(tflib.run(minibatch)[0]))
    assert sizes == [6, 4]
    dataset.raise_pending_error()  # the end is no failure


@pytest.mark.parametrize('prefetch_mb', [0, 2048])
def test_resume_is_exact_across_minibatch_sizes_and_levels(folder, prefetch_mb):
    plan = [(4, 1.5), (4, 1.5), (3, 0.0), (7, 0.2), (2, 2.0), (5, 0.0), (5, 0.0)]

    def run(dataset, steps):
        return [dataset.get_minibatch_np(*step) for step in steps]

    whole = run(TFRecordDataset(folder, seed=3, prefetch_mb=prefetch_mb), plan)
    for stop in range(len(plan)):
        first = TFRecordDataset(folder, seed=3, prefetch_mb=prefetch_mb)
        run(first, plan[:stop])
        state = json.loads(json.dumps(first.state_dict()))
        assert state['images_consumed'] == sum(size for size, _ in plan[:stop])
        second = TFRecordDataset(folder, seed=99, prefetch_mb=prefetch_mb)
        second.get_minibatch_np(2)
        second.load_state_dict(state)
        for (images, _), (expected, _) in zip(run(second, plan[stop:]), whole[stop:]):
            np.testing.assert_array_equal(images, expected)


def test_a_checkpoint_of_another_data_set_is_refused(tmp_path, folder):
    other = TFRecordDataset(make_dataset(tmp_path / 'other', count=11))
    with pytest.raises(UserError, match='10 images but the data set has 11'):
        other.load_state_dict(TFRecordDataset(folder).state_dict())


def test_levels_hold_the_same_images_at_lower_resolution(reference):
    dataset = load_dataset(tfrecord_dir=reference)
    full, _ = dataset.get_samples_np(range(12))
    for lod, expected in enumerate(levels_of_detail(full)):
        images, _ = dataset.get_samples_np(range(12), lod + 0.7)
        np.testing.assert_array_equal(images, expected)
    assert dataset.levels == [0, 1, 2, 3] and dataset.state_dict()['images_consumed'] == 0


@pytest.mark.parametrize('size', [4, 8, 32, 1024])
def test_levels_of_detail_round_the_exact_mean_half_to_even(size):
    images = np.random.RandomState(size).randint(256, size=[2, 1, size, size]).astype(np.uint8)
    images[1] = 255
    mean = images.astype(np.float64)
    for level in levels_of_detail(images):
        np.testing.assert_array_equal(level, np.rint(mean))
        mean = (mean[..., 0::2, 0::2] + mean[..., 1::2, 0::2] + mean[..., 0::2, 1::2] + mean[..., 1::2, 1::2]) / 4


def test_attributes_describe_the_set(reference):
    dataset = load_dataset(tfrecord_dir='images-tfrecords', data_dir=reference.rsplit('/', 1)[0], verbose=True,
                           buffer_mb=1, num_threads=7)
    assert (dataset.shape, dataset.dtype, dataset.dynamic_range) == ([3, 32, 32], 'uint8', [0, 255])
    assert (dataset.resolution, dataset.resolution_log2, len(dataset)) == (32, 5, 12)
    assert dataset.is_image and dataset.label_size == 0
    images, labels = dataset.get_minibatch_np(5)
    assert images.shape == (5, 3, 32, 32) and labels.shape == (5, 0) and labels.dtype == np.float32


def test_a_lower_resolution_can_be_asked_for_and_higher_levels_do_not_matter(tmp_path):
    folder = make_dataset(tmp_path / 'set', size=32)
    (tmp_path / 'set' / 'set-r05.tfrecords').write_bytes(b'damaged')
    (tmp_path / 'set' / 'set-r04.tfrecords').unlink()
    dataset = TFRecordDataset(folder, resolution=8)
    assert dataset.shape == [3, 8, 8] and dataset.levels == [0, 1]
    with pytest.raises(UserError, match='no 16x16 level'):
        TFRecordDataset(folder, resolution=16)


# ---- Labels

def test_labels_follow_their_images(tmp_path):
    labels = np.random.RandomState(1).randn(10, 5).astype(np.float32)
    folder = make_dataset(tmp_path / 'set', labels=labels)
    for size, width in (('full', 5), (3, 3), (0, 0)):
        dataset = TFRecordDataset(folder, max_label_size=size)
        minibatch = dataset.get_minibatch_np(13)
        assert dataset.label_size == width
        np.testing.assert_array_equal(minibatch[1], labels[numbers(minibatch)][:, :width])


def test_labels_can_come_from_a_named_file(tmp_path, folder):
    np.save(str(tmp_path / 'other.npy'), np.eye(10))
    dataset = TFRecordDataset(folder, label_file=str(tmp_path / 'other.npy'), max_label_size='full')
    minibatch = dataset.get_minibatch_np(10)
    assert minibatch[1].argmax(axis=1).tolist() == numbers(minibatch) and minibatch[1].dtype == np.float32


def test_random_labels_are_labels_of_the_set(tmp_path):
    folder = make_dataset(tmp_path / 'set', labels=np.eye(10, dtype=np.float32))
    dataset = TFRecordDataset(folder, max_label_size='full')
    labels = dataset.get_random_labels_np(500, np.random.RandomState(0))
    assert labels.shape == (500, 10) and (labels.sum(axis=1) == 1).all() and (labels.sum(axis=0) > 20).all()
    np.testing.assert_array_equal(labels, dataset.get_random_labels_np(500, np.random.RandomState(0)))


@pytest.mark.parametrize('content, kwargs, problem', [
    (None, dict(max_label_size='full'), r'no \*\.labels file'),
    (np.eye(9), dict(), 'labels for 9 images but the data set has 10'),
    (np.zeros(10), dict(), 'not hold a numeric array'),
    (np.eye(10), dict(max_label_size=11), 'max_label_size is 11 but .* has 10 components'),
    (np.eye(10), dict(max_label_size=-1), "-1; a number of components or 'full'"),
    (np.eye(10), dict(max_label_size='all'), "'all'; a number of components or 'full'"),
    (np.array([[object()]] * 10), dict(), 'cannot read the labels'),
    (np.diag([1.0] * 9 + [np.nan]), dict(max_label_size=2), 'component 9 of image 9 is nan; finite numbers'),
    (np.diag([1.0] * 9 + [1e39]), dict(max_label_size='full'), 'component 9 of image 9 is 1e.39; finite numbers'),
])
def test_wrong_labels_are_refused(tmp_path, content, kwargs, problem):
    folder = make_dataset(tmp_path / 'set', labels=content)
    with pytest.raises(UserError, match=problem):
        TFRecordDataset(folder, **kwargs)


def test_a_label_file_is_an_array_and_one_of_several_has_to_be_named(tmp_path, folder):
    (tmp_path / 'set' / 'a.labels').write_bytes(b'PK\3\4' + bytes(100))
    with pytest.raises(UserError, match='a.labels is no .npy file of labels'):
        TFRecordDataset(folder)
    for name in 'ab':
        with open(str(tmp_path / 'set' / f'{name}.labels'), 'wb') as f:
            np.save(f, np.eye(10))
    with pytest.raises(UserError, match='several label files .a.labels, b.labels.; keep one, or name one'):
        TFRecordDataset(folder, max_label_size='full')
    assert TFRecordDataset(folder, label_file='b.labels', max_label_size='full').label_size == 10
    os.mkfifo(str(tmp_path / 'pipe'))
    with pytest.raises(UserError, match='cannot read the labels in .*pipe: it is not a regular file'):
        TFRecordDataset(folder, label_file=str(tmp_path / 'pipe'), max_label_size='full')


@pytest.mark.parametrize('resolution', [24, 64, 5, 0])
def test_a_resolution_that_is_not_there_is_refused_with_those_that_are(folder, resolution):
    with pytest.raises(UserError, match=f'has no {resolution}x{resolution} level; it has 4x4, 8x8, 16x16'):
        TFRecordDataset(folder, resolution=resolution)


# ---- Other kinds of samples

def test_float_arrays_need_no_levels(tmp_path):
    codes = np.random.RandomState(0).randn(6, 16, 64, 64).astype(np.float32)
    write_level(tmp_path / 'codes', codes)
    dataset = TFRecordDataset(str(tmp_path / 'codes'), shuffle_mb=0)
    assert (dataset.shape, dataset.dtype, dataset.dynamic_range) == ([16, 64, 64], 'float32', [-1, 1])
    assert not dataset.is_image and dataset.levels == [0]
    np.testing.assert_array_equal(dataset.get_minibatch_np(4)[0], codes[:4])
    with pytest.raises(UserError, match='no level of detail 1'):
        dataset.configure(4, 1.5)


def test_points_are_a_data_set_too(tmp_path):
    points = np.random.RandomState(0).randn(1000, 2, 1, 1)
    write_level(tmp_path / 'points', points)
    dataset = TFRecordDataset(str(tmp_path / 'points'), shuffle_mb=0)
    assert dataset.shape == [2, 1, 1] and dataset.dtype == 'float64' and not dataset.is_image
    np.testing.assert_array_equal(dataset.get_minibatch_np(1000)[0], points)


def test_synthetic_samples_depend_on_their_number_only():
    dataset = SyntheticDataset(resolution=16, label_size=4, num_images=50, seed=2)
    full, labels = dataset.get_samples_np([7, 3])
    again, _ = SyntheticDataset(resolution=16, num_images=50, seed=2).get_samples_np([3, 7])
    np.testing.assert_array_equal(full, again[::-1])
    half, _ = dataset.get_samples_np([7, 3], 1)
    np.testing.assert_array_equal(half, levels_of_detail(full)[1])
    assert labels.shape == (2, 4) and labels.sum() == 2 and dataset.is_image
    points = SyntheticDataset(shape=[2, 1, 1], dtype='float32')
    assert points.get_minibatch_np(3)[0].shape == (3, 2, 1, 1) and not points.is_image
    with pytest.raises(UserError, match='power of two'):
        SyntheticDataset(resolution=48)


# ---- Damaged directories

def test_missing_directories_and_files_are_named(tmp_path):
    with pytest.raises(UserError, match='absent.* does not exist'):
        TFRecordDataset(str(tmp_path / 'absent'))
    with pytest.raises(UserError, match=r'holds no \*\.tfrecords'):
        TFRecordDataset(str(tmp_path))


def test_a_folder_that_cannot_be_read_is_not_called_empty(tmp_path, monkeypatch):
    def refuse(path='.'):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(os, 'listdir', refuse)
    monkeypatch.setattr(os, 'scandir', refuse)
    for look in (TFRecordDataset, misc.locate_network_pkl, list_images):
        with pytest.raises(UserError, match=f"folder '{tmp_path}' cannot be read: Permission denied"):
            look(str(tmp_path))


def test_a_missing_level_is_named(tmp_path, folder):
    (tmp_path / 'set' / 'set-r03.tfrecords').unlink()
    with pytest.raises(UserError, match='lacks the 8x8 level'):
        TFRecordDataset(folder)


def test_a_level_with_too_few_records_is_named(tmp_path, folder):
    path = tmp_path / 'set' / 'set-r02.tfrecords'
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 10 * 9])
    with pytest.raises(UserError, match='set-r02.tfrecords has 9 records but set-r04.tfrecords has 10'):
        TFRecordDataset(folder)


def test_a_truncated_level_is_named(tmp_path, folder):
    path = tmp_path / 'set' / 'set-r04.tfrecords'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match='set-r04.tfrecords: record 9 is cut off'):
        TFRecordDataset(folder)


def test_levels_that_do_not_fit_together_are_named(tmp_path, folder):
    write_level(tmp_path / 'set', np.zeros([10, 1, 8, 8], np.uint8))
    with pytest.raises(UserError, match=r'set-r03.tfrecords holds arrays of \[1, 8, 8\]'):
        TFRecordDataset(folder)
    write_level(tmp_path / 'set', np.zeros([10, 3, 8, 8], np.uint8))
    write_level(tmp_path / 'set', np.zeros([10, 3, 8, 8], np.uint8), 'zother.tfrecords')
    with pytest.raises(UserError, match='same resolution; keep one data set per directory'):
        TFRecordDataset(folder)


def test_pictures_that_are_not_square_are_refused(tmp_path):
    write_level(tmp_path / 'set', np.zeros([2, 3, 8, 4], np.uint8))
    with pytest.raises(UserError, match='4x8; a square'):
        TFRecordDataset(str(tmp_path / 'set'))


def test_a_reader_error_reaches_the_consumer_after_the_sound_minibatches(tmp_path, folder):
    path = tmp_path / 'set' / 'set-r04.tfrecords'
    content = bytearray(path.read_bytes())
    content[len(content) // 10 * 7 + 200] ^= 1
    path.write_bytes(bytes(content))
    with TFRecordDataset(folder, shuffle_mb=0) as dataset:
        assert numbers(dataset.get_minibatch_np(5)) == list(range(5))
        for _ in range(2):
            with pytest.raises(UserError, match='set-r04.tfrecords: record 7 does not match its checksum'):
                dataset.get_minibatch_np(5)
        assert dataset.state_dict()['images_consumed'] == 5


# ---- Manifest

def test_a_damaged_manifest_is_named(tmp_path, folder):
    (tmp_path / 'set' / 'manifest.json').write_text('{"files": ')
    with pytest.raises(UserError, match='manifest.json'):
        TFRecordDataset(folder)


# ---- Scale, threads, TensorFlow

def test_nothing_is_kept_per_record(tmp_path):
    count = 200000
    write_level(tmp_path / 'many', np.zeros([count, 1, 4, 4], np.uint8))
    tracemalloc.start()
    with TFRecordDataset(str(tmp_path / 'many')) as dataset:
        for _ in range(5):
            dataset.get_minibatch_np(64)
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(dataset) == count and peak < 16 * count  # the order's four bytes and their making, no objects


def test_reading_ahead_is_bounded_and_stops():
    made = []
    stream = Prefetcher(lambda: made.append(len(made)) or len(made), depth=3)
    assert [stream.get() for _ in range(5)] == [1, 2, 3, 4, 5]
    stream.close()
    assert 5 <= len(made) <= 9 and not stream._thread.is_alive()


def test_minibatches_as_tensors(tmp_path, fresh_graph):
    folder = make_dataset(tmp_path / 'set', labels=np.eye(10))
    expected = TFRecordDataset(folder, max_label_size='full', seed=1)
    with TFRecordDataset(folder, max_label_size='full', seed=1) as dataset:
        images, labels = dataset.get_minibatch_tf()
        random_labels = dataset.get_random_labels_tf(6)
        assert images.shape.as_list() == [None, 3, None, None] and labels.shape.as_list() == [None, 10]
        for size, lod in ((4, 0.0), (4, 0.0), (6, 1.3)):
            dataset.configure(size, lod)
            got = fresh_graph.run([images, labels])
            for array, wanted in zip(got, expected.get_minibatch_np(size, lod)):
                np.testing.assert_array_equal(array, wanted)
        drawn = fresh_graph.run(random_labels)
        assert drawn.shape == (6, 10) and (drawn.sum(axis=1) == 1).all()
        assert dataset.state_dict() == expected.state_dict()


def test_random_label_tensors_follow_the_seed_scope(tmp_path, fresh_graph):
    from dnnlib import tflib
    dataset = TFRecordDataset(make_dataset(tmp_path / 'set', labels=np.eye(10)), max_label_size='full')
    drawn = []
    for seed in ([1, 2], [1, 2], [1, 3]):
        with tflib.rnd.seed_scope(seed):
            drawn.append(fresh_graph.run(dataset.get_random_labels_tf(20)))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_reader_error_behind_a_tensor_can_be_raised_as_itself(tmp_path, fresh_graph):
    from dnnlib.tflib import tf
    folder = make_dataset(tmp_path / 'set')
    path = tmp_path / 'set' / 'set-r04.tfrecords'
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with TFRecordDataset(folder) as dataset:
        dataset.configure(10)
        images, _ = dataset.get_minibatch_tf()
        with pytest.raises(tf.errors.OpError):
            fresh_graph.run(images)
        with pytest.raises(UserError, match='record 9 does not match'):
            dataset.raise_pending_error()


def test_waiting_batches_are_limited_in_bytes(monkeypatch):
    depths = []
    monkeypatch.setattr(dataset_base, 'Prefetcher', lambda produce, depth: depths.append(depth) or Prefetcher(
        produce, depth))
    for resolution, lod in ((8, 0), (1024, 0), (1024, 3)):
        with SyntheticDataset(resolution=resolution, num_images=8) as dataset:
            dataset.get_minibatch_np(4, lod)
    assert depths == [16, 2, 16]


# ---- Values that make no sense

@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_labels_that_are_no_numbers_are_refused_where_they_are_used(tmp_path, value):
    labels = np.zeros([10, 3], np.float32)
    labels[7, 1] = value
    folder = make_dataset(tmp_path / 'set', labels=labels)
    with pytest.raises(UserError, match=r'set-rxx.labels: component 1 of image 7 is .*; finite numbers'):
        TFRecordDataset(folder, max_label_size='full')
    with TFRecordDataset(folder) as dataset:
        assert dataset.label_size == 0


@pytest.mark.parametrize('dynamic_range', [[0, 0], [1, -1]])
def test_a_dynamic_range_without_extent_is_refused(folder, dynamic_range):
    with pytest.raises(UserError, match='the lowest value, then a higher one|two numbers'):
        SyntheticDataset(resolution=8, dynamic_range=dynamic_range)
    with open(os.path.join(folder, 'manifest.json'), 'w') as f:
        json.dump({'dynamic_range': dynamic_range}, f)
    with pytest.raises(UserError, match='the lowest value, then a higher one|two numbers'):
        TFRecordDataset(folder)
