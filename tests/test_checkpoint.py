"""The checkpoint file: what is written comes back, and what is damaged is recognised."""

import hashlib
import json
import os
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnnlib.util import UserError
from training.state import checkpoint

STATE = {'cur_nimg': 12345, 'lod': 1.1234567890123457, 'nested': {'a': [1, None, 'x']}}


def make_arrays():
    rng = np.random.RandomState(0)
    return {'G/w': rng.randn(3, 5).astype(np.float32), 'scalar': np.float32(2.5).reshape(()),
            'empty': np.zeros([0, 4], np.float32), 'step': np.int64(7).reshape(()),
            'half': rng.randn(7).astype(np.float16), 'flag': np.array([True, False]), 'transposed': rng.randn(4, 6).T}


@pytest.fixture
def good(tmp_path):
    path = str(tmp_path / 'checkpoint-000000012345.ckpt')
    checkpoint.write_checkpoint(path, STATE, make_arrays())
    return path


def test_state_and_arrays_come_back_unchanged(good):
    state, arrays = checkpoint.read_checkpoint(good)
    assert state == STATE
    expected = make_arrays()
    assert list(arrays) == list(expected)
    for name, value in expected.items():
        assert arrays[name].dtype == value.dtype and arrays[name].shape == value.shape
        assert np.array_equal(arrays[name], value)


def test_same_content_gives_the_same_bytes(good, tmp_path):
    again = str(tmp_path / 'again')
    checkpoint.write_checkpoint(again, STATE, make_arrays())
    with open(good, 'rb') as a, open(again, 'rb') as b:
        assert a.read() == b.read()


def test_every_truncation_and_every_flipped_byte_is_recognised(good):
    with open(good, 'rb') as f:
        data = f.read()
    for size in list(range(0, 200)) + list(range(200, len(data), 37)):
        with open(good, 'wb') as f:
            f.write(data[:size])
        with pytest.raises(checkpoint.CheckpointError):
            checkpoint.read_checkpoint(good)
    for at in list(range(0, 100)) + list(range(100, len(data), 41)):
        with open(good, 'wb') as f:
            f.write(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:])
        with pytest.raises(checkpoint.CheckpointError):
            checkpoint.read_checkpoint(good)


def test_newest_good_checkpoint_is_found_past_damaged_ones(tmp_path):
    folder = str(tmp_path)
    assert checkpoint.load_newest(folder) is None
    for nimg in (100, 200, 300):
        checkpoint.write_checkpoint(checkpoint.checkpoint_path(folder, nimg), {'cur_nimg': nimg}, make_arrays())
    with open(checkpoint.checkpoint_path(folder, 300), 'r+b') as f:
        f.truncate(150)
    warnings = []
    path, state, _arrays = checkpoint.load_newest(folder, warnings.append)
    assert path == checkpoint.checkpoint_path(folder, 200) and state['cur_nimg'] == 200
    assert len(warnings) == 1 and 'damaged' in warnings[0] and '000000000300' in warnings[0]


def test_pruning_keeps_the_newest_and_the_protected_and_leftovers_go(tmp_path):
    folder = str(tmp_path)
    for nimg in range(1, 7):
        checkpoint.write_checkpoint(checkpoint.checkpoint_path(folder, nimg), {}, {})
    (tmp_path / '.tmp-1-00-checkpoint').write_bytes(b'left by a killed writer')
    (tmp_path / 'notes.txt').write_text('not ours')
    checkpoint.remove_leftovers(folder)
    checkpoint.prune(folder, keep=2, protect=[checkpoint.checkpoint_path(folder, 3)])
    assert sorted(os.listdir(folder)) == ['checkpoint-000000000003.ckpt', 'checkpoint-000000000005.ckpt',
                                          'checkpoint-000000000006.ckpt', 'notes.txt']


def test_failed_write_leaves_the_old_file(good, monkeypatch):
    def full(*_args):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError):
        checkpoint.write_checkpoint(good, {}, {})
    assert checkpoint.read_checkpoint(good)[0] == STATE
    assert os.listdir(os.path.dirname(good)) == [os.path.basename(good)]


def sign(body):
    return body + hashlib.sha256(body).digest()


def expect_project_error_or_result(path, data):
    with open(path, 'wb') as f:
        f.write(data)
    try:
        state, arrays = checkpoint.read_checkpoint(path)
    except UserError:
        return
    assert isinstance(state, dict) and all(isinstance(value, np.ndarray) for value in arrays.values())


fuzz = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12)
table_rows = st.tuples(st.sampled_from(['a', 'b', '']) | json_values,
                       st.sampled_from(['float32', 'bool', 'object', 'O', 'float32,int8']) | json_values,
                       st.lists(st.integers(-2, 2**66), max_size=3) | json_values, st.integers(-9, 99) | json_values)


@fuzz
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_raise_only_our_own_error(tmp_path, data, with_magic):
    expect_project_error_or_result(str(tmp_path / 'x'), sign((checkpoint.MAGIC if with_magic else b'') + data))


@fuzz
@given(json_values | st.fixed_dictionaries({'state': json_values | st.just({}),
                                            'arrays': st.lists(table_rows, max_size=3) | json_values}))
def test_strange_headers_with_a_right_checksum_raise_only_our_own_error(tmp_path, header):
    text = json.dumps(header).encode()
    body = checkpoint.MAGIC + struct.pack('<Q', len(text)) + text + b'\1' * 64
    expect_project_error_or_result(str(tmp_path / 'x'), sign(body))
