"""Pickles are read as data: everything that Python's pickler writes of plain data, and nothing else."""

import collections
import io
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from conftest import stable_id
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib import EasyDict, UserError, blocks, pickle_reader
from dnnlib.pickle_reader import LIMITS, PickleRefused, Reader, load_arrays

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
EFFECTS = []


def touch(*args):
    """What a hostile pickle would like to have called."""
    EFFECTS.append(args)


class Calls:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, func, *args, state=None):
        self.parts = (func, args) if state is None else (func, args, state)

    def __reduce__(self):
        return self.parts


def read(data, **kwargs):
    return load_arrays(io.BytesIO(data), **kwargs)


def refusal(data):
    """The reason why `data` is refused; at most 64 MiB may be allocated on the way, and nothing called."""
    del EFFECTS[:]
    tracemalloc.start()
    try:
        with pytest.raises(PickleRefused) as caught:
            read(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not EFFECTS
    assert peak < 64 << 20
    return caught.value.reason


def described(value):
    """A form of plain data that is equal for values that are the same to the last bit, types included."""
    if isinstance(value, (np.ndarray, np.generic)):
        content = value.dtype, value.shape, value.tobytes()
    elif isinstance(value, dict):
        content = [(key, described(item)) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        content = [described(item) for item in value]
    else:
        content = value if value == value else 'NaN'
    return type(value), content


def same(a, b):
    return described(a) == described(b)


arrays = st.sampled_from(['<f4', '>f8', 'u1', '<i8', '?', '<c8', '<f2']).flatmap(
    lambda dtype: st.lists(st.integers(0, 3), max_size=3).map(
        lambda shape: np.arange(int(np.prod(shape)), dtype='i4').reshape(shape).astype(dtype)))
keys = st.one_of(st.none(), st.booleans(), st.integers(-2 ** 62, 2 ** 62), st.text(max_size=5), st.binary(max_size=5))
leaves = st.one_of(keys, st.floats(), st.complex_numbers(), arrays, arrays.map(np.asfortranarray),
                   st.floats(width=32).map(np.float32), st.integers(0, 255).map(np.uint8),
                   st.binary(max_size=300).map(bytearray), st.sets(keys, max_size=4),
                   st.sets(keys, max_size=4).map(frozenset))
values = st.recursive(leaves, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.lists(inner, max_size=4).map(tuple), st.dictionaries(keys, inner, max_size=4),
    st.dictionaries(keys, inner, max_size=4).map(collections.OrderedDict),
    st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=4).map(EasyDict)), max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(values, st.sampled_from(list(PROTOCOLS)))
def test_plain_data_comes_back_as_it_was_pickled(value, protocol):
    assert same(read(pickle.dumps(value, protocol)), value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused_with_a_sentence(data):
    try:
        read(b'\x80\x02' + data)
    except PickleRefused:
        pass


_SAMPLE = pickle.dumps({'a': [np.arange(6.).reshape(2, 3), np.float32(2)], 'b': (EasyDict(c=1), {'d'}, b'xy')}, 4)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(_SAMPLE) - 1), st.integers(0, 255), st.integers(0, 40))
def test_a_damaged_pickle_is_read_or_refused_with_a_sentence(position, byte, cut):
    data = bytearray(_SAMPLE)
    data[position] = byte
    try:
        read(bytes(data[:len(data) - cut]))
    except PickleRefused:
        pass


def test_shared_parts_stay_shared_and_arrays_are_not_copied():
    array = np.arange(1000)
    first, second = read(pickle.dumps([array, array], 4))
    assert first is second
    assert not first.flags.owndata and not first.flags.writeable


@pytest.mark.parametrize('pickler', [pickle.Pickler, pickle._Pickler])
@pytest.mark.parametrize('protocol', PROTOCOLS[2:])
def test_large_arrays_are_read_as_small_ones_are(tmp_path, monkeypatch, pickler, protocol):
    monkeypatch.setattr(pickle_reader, '_LARGE', 1000)
    monkeypatch.setattr(blocks, 'usable_cores', lambda: 2)
    numbers = np.arange(6000, dtype=np.float32).reshape(30, 200)
    value = [numbers, np.asfortranarray(numbers), numbers, np.array(['text' * 400, 'more']), numbers.tobytes(),
             np.frombuffer(numbers.tobytes(), np.uint8), bytearray(numbers), (1, 2, 3, numbers.tobytes())]
    with open(str(tmp_path / 'large.pkl'), 'wb') as file:
        pickler(file, protocol).dump(value)
    found, expected = load_arrays(str(tmp_path / 'large.pkl')), read((tmp_path / 'large.pkl').read_bytes())
    assert described(found) == described(expected) == described(value)
    assert found[0] is found[2] and found[0].flags.writeable == expected[0].flags.writeable


def test_an_array_whose_content_is_used_elsewhere_too_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_reader, '_LARGE', 1000)
    monkeypatch.setattr(blocks, 'usable_cores', lambda: 2)
    content = bytes(range(250)) * 8
    array = pickle.dumps(np.frombuffer(content, np.uint8), 3)
    place = array.index(content) + len(content)
    assert array[place:place + 1] == pickle.BINPUT
    # [array, its content], which stays in the memo
    data = array[:2] + b'](' + array[2:-1] + pickle.BINGET + array[place + 1:place + 2] + b'e.'
    (tmp_path / 'shared.pkl').write_bytes(data)
    found = load_arrays(str(tmp_path / 'shared.pkl'))
    assert found[0].tobytes() == found[1] == content


@pytest.mark.skipif(not hasattr(os, 'preadv'), reason='this Python reads files by one thread')
def test_a_file_that_becomes_shorter_while_it_is_read_is_called_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_reader, '_LARGE', 1000)
    monkeypatch.setattr(blocks, 'usable_cores', lambda: 2)
    monkeypatch.setattr(os, 'preadv', lambda fd, buffers, offset: 0)
    (tmp_path / 'short.pkl').write_bytes(pickle.dumps(np.zeros(1000), 4))
    with pytest.raises(PickleRefused) as caught:
        load_arrays(str(tmp_path / 'short.pkl'))
    assert caught.value.reason == 'truncated'


def test_pickles_of_python_2_give_text_or_bytes():
    # {'data': array([[1, 2]], dtype=uint8), 'labels': [3]} as written by Python 2.7 with NumPy 1, protocol 2
    data = (b'\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U'
            b'\x01b\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff'
            b'\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x01\x02tbU\x06labelsq\x08]q\tK\x03au.')
    text, raw = read(data), read(data, encoding='bytes')
    assert sorted(text) == ['data', 'labels'] and sorted(raw) == [b'data', b'labels']
    for array in (text['data'], raw[b'data']):
        np.testing.assert_array_equal(array, np.array([[1, 2]], np.uint8))


def test_numpy_2_names_are_understood():
    data = pickle.dumps(np.arange(3, dtype='f4'), 2).replace(b'numpy._core', b'numpy.core')
    for name in (b'numpy.core', b'numpy._core'):
        np.testing.assert_array_equal(read(data.replace(b'numpy.core', name)), np.arange(3, dtype='f4'))


def _eval_in_array_state():
    reconstruct, args, state = np.arange(3.).__reduce__()
    return Calls(reconstruct, *args, state=state[:4] + (Calls(eval, '1'),))


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('value', [
    Calls(os.system, 'echo hello'), Calls(eval, 'touch()'), Calls(exec, 'touch()'), Calls(getattr, 'a', 'upper'),
    Calls(touch, 1), Calls(__import__, 'os'), Calls(np.load, 'file'), Calls(collections.Counter, 'abc'),
    [np.zeros(2), {'x': (Calls(os.system, 'true'),)}], _eval_in_array_state(),
    Calls(np.ndarray, (1 << 40,)), Calls(bytearray, 1 << 40), Calls(bytes, 1 << 40), Calls(list, 'abc'),
    Calls(int, '9' * 100000), os.system, np.dtype('O'), np.array([touch], dtype=object), np.dtype([('a', 'f4')]),
], ids=stable_id)
def test_whatever_is_not_data_is_refused_before_any_effect(value, protocol):
    assert refusal(pickle.dumps(value, protocol)) in ('foreign-name', 'malformed')


def test_every_other_way_of_calling_is_refused():
    for data in [b'(S"echo hello"\nios\nsystem\n.',                      # INST
                 b'(cos\nsystem\nS"true"\no.',                           # OBJ
                 b'\x80\x02cbuiltins\nobject\n)\x81.',                   # an allowed base class, instantiated
                 b'\x80\x02cbuiltins\nlist\n(]tR.',                      # or called
                 b'\x80\x04\x8c\x07os.path\x8c\x06system\x93.',
                 b'\x80\x04\x8c\x05numpy\x8c\x10core.os.system\x93.',    # a dotted path through an allowed module
                 b'\x80\x02cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.',
                 b'\x80\x02cnumpy\ndtype\n(]tR.',
                 b'\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zlbtR.',
                 b'\x80\x02c_codecs\nencode\n(]X\x06\x00\x00\x00latin1tR.',
                 b'\x80\x02ccopy_reg\n_reconstructor\n(cbuiltins\nobject\nh\x00NtR.',
                 b'\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cbuiltins\nbytearray\nI1\nS"b"\ntR.',
                 b'\x80\x02cdnnlib.util\nEasyDict\n(](K\x01etR.',
                 b'\x80\x02]}X\x01\x00\x00\x00aK\x01sb.',                # a list given a state
                 b'\x80\x02cos\nsystem\n.']:
        assert refusal(data) in ('foreign-name', 'malformed')
    for data in [b'\x80\x02X\x01\x00\x00\x000Q.', b'P0\n.', b'\x80\x02\x82\x01.', b'\x80\x05\x97.']:
        assert refusal(data) == 'foreign-object'


def test_declared_sizes_are_never_believed():
    for data in [b'\x80\x04\x8e' + struct.pack('<Q', 1 << 62) + b'abc.',             # BINBYTES8
                 b'\x80\x04B' + struct.pack('<I', 0xffffffff) + b'abc.',             # BINBYTES
                 b'\x80\x04\x8d' + struct.pack('<Q', 1 << 40) + b'abc.',             # BINUNICODE8
                 b'\x80\x05\x96' + struct.pack('<Q', 1 << 40) + b'abc.',             # BYTEARRAY8
                 b'\x80\x02\x8b' + struct.pack('<i', 1 << 30) + b'abc.',             # LONG4
                 b'\x80\x02T' + struct.pack('<i', -5) + b'abc.',
                 b'L' + b'9' * 100000 + b'\n.']:
        assert refusal(data) in ('truncated', 'malformed')
    assert read(b'\x80\x02Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.') is None  # a huge memo index costs nothing

    good = pickle.dumps(np.zeros((3, 5), 'f4'), 2)
    for shape in [b'J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86', b'K\x03K\x06\x86', b'K\x03J\xff\xff\xff\xff\x86',
                  b'K\x00J\xff\xff\xff\x7f\x86', b'NN\x86', b'K\x03\x89\x86']:
        assert refusal(good.replace(b'K\x03K\x05\x86', shape)) == 'malformed'


def test_recursion_and_repetition_bombs_are_refused():
    deep = b'\x80\x02' + b']' * 200000 + b'a' * 199999 + b'.'
    tuples = b'\x80\x02)' + b'\x85' * 200000 + b'.'
    cycle = b'\x80\x02]q\x00h\x00a.'
    laughs = b'\x80\x02]q\x00' + b''.join(b'](' + b'h%c' % k * 10 + b'eq%c' % (k + 1) for k in range(30)) + b'.'
    for data in (deep, tuples, cycle, laughs):
        assert refusal(data) == 'too-big'
    deep_key = b'\x80\x02})' + b'\x85' * 50000 + b'Ns.'
    states = b'\x80\x02' + b'cdnnlib.util\nEasyDict\n)\x81' * 20000 + b'b' * 19999 + b'.'
    copies = b'\x80\x02X\xe8\x03\x00\x00' + b'a' * 1000 + b'q\x010c_codecs\nencode\nq\x02X\x06\x00\x00\x00latin1q\x03' \
        + b'0' + b'](' + b'h\x02h\x01h\x03\x86R' * 30000 + b'e.'
    sets = b'\x80\x02](' + b'K\x01' * 1000 + b'eq\x01c__builtin__\nset\nq\x02(' + b'h\x02h\x01\x85R' * 10000 + b't.'
    for data in (deep_key, copies, sets):
        assert refusal(data) == 'malformed'
    assert read(states) == {}


@pytest.mark.parametrize('instructions', [b']', b'}', b'\x8f', b'(l', b'(d', b'N\x85', b'NN\x86', b'(Nt', b'(\x91',
                                          b'h\x00)R', b'h\x00)\x81'], ids=stable_id)
def test_the_number_of_objects_is_limited(instructions):
    data = b'\x80\x04ccollections\nOrderedDict\nq\x00' + instructions * 100 + b'N.'

    def limited(objects):
        return Reader(io.BytesIO(data), 'x', limits=LIMITS._replace(objects=objects)).load()

    assert limited(100) is None
    with pytest.raises(PickleRefused, match='more than 99 lists'):
        limited(99)


def test_many_small_objects_are_refused_before_they_fill_the_memory():
    for instructions in (b'\x8f', b'h\x00)R'):  # sets, OrderedDicts
        data = b'\x80\x04ccollections\nOrderedDict\nq\x00' + instructions * 1000000 + b'N.'
        assert refusal(data) == 'too-big'


def test_names_that_imitate_allowed_ones_are_refused():
    for name in [b'dnnlib.util\r\nEasyDict', b'dnnlib.util\nEasyDict\r', b'dnnlib.util\x00\nEasyDict', b' numpy\ndtype',
                 b'dnnlib.util\nEasyDict.__init__.__globals__', b'dnnlib.util\ncall_func_by_name', b'dnnlib\nutil',
                 b'numpy\ndtype.__reduce__', b'numpy\ncore.multiarray._reconstruct']:
        assert refusal(b'\x80\x02c' + name + b'\n)R.') == 'foreign-name', name
    assert refusal(b'\x80\x02c' + b'a' * 1000 + b'\nb\n.') == 'malformed'
    for data in [b'\x80\x04K\x01K\x02\x93.', b'\x80\x04]]\x93.', b'\x80\x04C\x02os\x8c\x06system\x93.']:
        assert refusal(data) == 'malformed'  # names that are not text


def test_states_reach_data_only():
    easy = b'\x80\x02cdnnlib.util\nEasyDict\n)\x81'
    for data in [b'\x80\x02cnumpy\ndtype\n}U\x04callK\x01sb.',              # a state for an allowed name itself
                 b'\x80\x02cnumpy\ndtype\nN}U\x04callK\x01s\x86b.',         # and its slots
                 easy + b'N}U\x01aK\x01s\x86b.', b'\x80\x02)}b.', b'\x80\x02U\x01a}b.']:
        assert refusal(data) == 'malformed', data
    result = read(easy + b'}(U\x0c__setstate__K\x01U\x09__class__K\x02ub.')  # becomes items, never attributes
    assert type(result) is EasyDict and result == {'__setstate__': 1, '__class__': 2}


def test_unfinished_values_are_refused():
    for data in [b'\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR.',
                 b'\x80\x02cnumpy\ndtype\n(U\x02f4I0\nI1\ntR.', b'\x80\x02cbuiltins\nlist\n.']:
        assert refusal(data) == 'malformed'


def test_a_cut_file_is_called_cut(tmp_path):
    path = tmp_path / 'batch.pkl'
    data = pickle.dumps({'data': np.zeros(10000)}, 4)
    for size in (1, 30, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(PickleRefused, match=f'batch.pkl: the file ends .* after {size} bytes') as caught:
            load_arrays(str(path))
        assert caught.value.reason == 'truncated'


def test_missing_files_and_folders_are_the_users_mistake(tmp_path):
    for path in (tmp_path, tmp_path / 'none.pkl'):
        with pytest.raises(UserError, match='cannot be opened'):
            load_arrays(path)


def test_limits_are_per_reader():
    data = pickle.dumps(list(range(100)), 2)
    assert Reader(io.BytesIO(data), 'x', limits=LIMITS._replace(opcodes=1000)).load() == list(range(100))
    with pytest.raises(PickleRefused, match='more than 50 instructions'):
        Reader(io.BytesIO(data), 'x', limits=LIMITS._replace(opcodes=50)).load()
