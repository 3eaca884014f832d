"""TFRecord files: framing, parsing, damage."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.records import tfrecord
from data.records.tfrecord import Encoder, RecordFile, frame
from dnnlib.util import UserError

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def write(path, *parts):
    path.write_bytes(b''.join(parts))
    return str(path)


def records(count=5, shape=(3, 4, 4), dtype='uint8', seed=0):
    arrays = (np.random.RandomState(seed).uniform(0, 100, size=(count,) + shape)).astype(dtype)
    return arrays, Encoder(shape, dtype).encode(arrays)


def example(data, shape, order='ds', packed=True, extra=b''):
    """An independent way to build an Example: explicit bytes for small sizes only (every length below 128)."""
    ints = b''.join(bytes([0x08, size]) for size in shape) if not packed else bytes([0x0a, len(shape)]) + bytes(shape)
    features = {
        'd': b'\x0a\x04data' + _message(2, _message(1, _message(1, data))),
        's': b'\x0a\x05shape' + _message(2, _message(3, ints)),
    }
    return _message(1, b''.join(_message(1, features[key]) for key in order) + extra)


def _message(number, content):
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def test_checksum_is_the_masked_crc32c():
    assert tfrecord.masked_crc(b'123456789') == ((0xe3069283 >> 15 | 0xe3069283 << 17) + 0xa282ead8) & 0xffffffff


def test_reference_records_are_read_whatever_the_order_of_their_features(golden_dir):
    levels = {}
    for log2 in range(2, 6):
        file = RecordFile(golden_dir / 'images-tfrecords' / f'images-tfrecords-r{log2:02}.tfrecords')
        levels[log2] = file.read_batch(np.arange(len(file)))
        assert levels[log2].shape == (12, 3, 1 << log2, 1 << log2) and levels[log2].dtype == np.uint8
        assert [np.array_equal(file.read(i), levels[log2][i]) for i in range(12)] == [True] * 12
    assert abs(levels[5].mean() - levels[2].mean()) < 0.1


@pytest.mark.parametrize('dtype', tfrecord.DTYPES)
@pytest.mark.parametrize('shape', [(3, 8, 8), (2, 1, 1), (16, 5, 3)])
def test_arrays_of_any_type_and_shape_come_back(tmp_path, dtype, shape):
    arrays, encoded = records(7, shape, dtype)
    file = RecordFile(write(tmp_path / 'a', encoded.tobytes()))
    order = [3, 0, 6, 3]
    assert file.shape == shape and file.dtype == np.dtype(dtype) and len(file) == 7
    np.testing.assert_array_equal(file.read_batch(order), arrays[order])


@pytest.mark.parametrize('order', ['ds', 'sd'])
@pytest.mark.parametrize('packed', [True, False])
def test_features_are_found_in_any_encoding(tmp_path, order, packed):
    arrays = np.arange(48, dtype=np.uint8).reshape(4, 3, 2, 2)
    path = write(tmp_path / 'a', *(frame(example(a.tobytes(), a.shape, order, packed)) for a in arrays))
    np.testing.assert_array_equal(RecordFile(path).read_batch([2, 1]), arrays[[2, 1]])


def test_records_of_different_sizes_are_read(tmp_path):
    arrays = np.arange(48, dtype=np.uint8).reshape(4, 3, 2, 2)
    extra = [b'', _message(7, b'unknown'), b'', _message(9, b'x')]
    path = write(tmp_path / 'a', *(frame(example(a.tobytes(), a.shape, extra=more)) for a, more in zip(arrays, extra)))
    file = RecordFile(path)
    assert file.record_size is None and len(file) == 4
    np.testing.assert_array_equal(file.read_batch([3, 1, 0]), arrays[[3, 1, 0]])


def test_tensorflow_reads_what_we_write_and_we_read_what_it_writes(tmp_path, fresh_graph):
    from dnnlib.tflib import tf
    arrays, encoded = records(3)
    path = write(tmp_path / 'ours', encoded.tobytes())
    for array, payload in zip(arrays, tf.python_io.tf_record_iterator(path)):
        features = tf.train.Example.FromString(payload).features.feature
        assert list(features['shape'].int64_list.value) == [3, 4, 4]
        assert features['data'].bytes_list.value[0] == array.tobytes()

    theirs = str(tmp_path / 'theirs')
    with tf.python_io.TFRecordWriter(theirs) as writer:
        for array in arrays:
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                'shape': tf.train.Feature(int64_list=tf.train.Int64List(value=array.shape)),
                'data': tf.train.Feature(bytes_list=tf.train.BytesList(value=[array.tobytes()])),
            })).SerializeToString())
    np.testing.assert_array_equal(RecordFile(theirs).read_batch([0, 1, 2]), arrays)


def test_every_flipped_byte_is_noticed_and_named(tmp_path):
    _, encoded = records(3, (1, 2, 2))
    size = encoded.shape[1]
    for position in range(encoded.size):
        damaged = bytearray(encoded.tobytes())
        damaged[position] ^= 0x55
        path = write(tmp_path / 'damaged', bytes(damaged))
        with pytest.raises(UserError) as caught:
            RecordFile(path).read_batch([0, 1, 2])
        assert path in str(caught.value) and f'record {position // size} ' in str(caught.value)


def test_every_truncation_is_noticed(tmp_path):
    _, encoded = records(3, (1, 2, 2))
    size = encoded.shape[1]
    for length in range(encoded.size):
        path = write(tmp_path / 'cut', encoded.tobytes()[:length])
        if length % size == 0 and length > 0:
            assert len(RecordFile(path)) == length // size  # whole records: the number of them is the data set's matter
        else:
            with pytest.raises(UserError, match='empty' if length == 0 else 'cut off'):
                RecordFile(path)


def test_a_record_that_differs_from_the_first_is_refused(tmp_path):
    one = frame(example(bytes(12), (3, 2, 2)))
    other = frame(example(bytes(12), (3, 4, 1)))
    with pytest.raises(UserError, match=r'record 1 has an array of \[3, 4, 1\] uint8, while the first'):
        RecordFile(write(tmp_path / 'a', one, other)).read_batch([1])


@pytest.mark.parametrize('payload, problem', [
    (b'', "no feature 'shape'"),
    (example(bytes(12), (3, 2, 2), order='d'), "no feature 'shape'"),
    (example(bytes(12), (3, 2, 2), order='s'), "no feature 'data'"),
    (example(bytes(11), (3, 2, 2)), '11 bytes of data for an array of 3x2x2'),
    (example(bytes(12), ()), '12 bytes of data for an array of nothing'),
    (b'\x0a\x7f', 'longer than itself'),
    (b'\xff' * 12, 'endless number'),
])
def test_a_sound_frame_with_a_wrong_content_is_refused(tmp_path, payload, problem):
    with pytest.raises(UserError, match=problem):
        RecordFile(write(tmp_path / 'a', frame(payload)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match='no-such-file'):
        RecordFile(tmp_path / 'no-such-file')


def read_everything(path):
    try:
        file = RecordFile(path)
        assert file.read_batch(np.arange(len(file))).shape == (len(file),) + file.shape
    except UserError:
        pass


@QUICK
@given(st.lists(st.binary(max_size=80), max_size=4))
def test_nothing_but_user_errors_comes_from_arbitrary_payloads(tmp_path, payloads):
    read_everything(write(tmp_path / 'fuzz', *(frame(payload) for payload in payloads)))


@QUICK
@given(st.binary(max_size=200))
def test_nothing_but_user_errors_comes_from_arbitrary_files(tmp_path, content):
    read_everything(write(tmp_path / 'fuzz', content))


@QUICK
@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 255)), min_size=1, max_size=6))
def test_nothing_but_user_errors_comes_from_mangled_examples_in_sound_frames(tmp_path, changes):
    payload = bytearray(example(bytes(range(12)), (3, 2, 2)))
    for position, value in changes:
        payload[position % len(payload)] = value
    read_everything(write(tmp_path / 'fuzz', frame(bytes(payload)), frame(example(bytes(12), (3, 2, 2)))))
