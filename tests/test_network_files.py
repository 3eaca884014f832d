"""Network files of strangers: what they may make this program do, whatever their form, and what they may not."""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from conftest import ROOT, stable_id
from test_safe_pickle import TINY, dumps, raw_network, refusal, snapshot

from dnnlib import UserError, blocks, pickle_reader, tflib
from dnnlib.tflib import convert, network_state, plain_files, safe_pickle
from dnnlib.tflib.safe_pickle import NetworkState, load_network_pickle, read_networks
from training import misc

SUFFIXES = ['.pkl', '.npz', '.safetensors']


def state(**changes):
    fields = dict(version=3, name='N', static_kwargs={'a': 1}, components={}, build_module_src='source',
                  build_func_name='G_style', variables=[('w', np.arange(6, dtype='f4').reshape(2, 3))])
    return NetworkState(**dict(fields, **changes))


def refused_quickly(function, *args, megabytes=200, seconds=300):
    """The sentence with which a reader refuses, in little memory and before its work doubles again and again."""
    start = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            function(*args)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes << 20 and time.process_time() - start < seconds
    return str(caught.value)


# ---- Values that appear again and again

def laughs(levels, width=10, seed=b'K\x01'):
    """Opcodes for lists of `width` references to lists of references …, which would hold width ** levels items."""
    return b'](' + seed * width + b'eq\x00' + b''.join(
        b'](' + b'h%c' % k * width + b'eq%c' % (k + 1) for k in range(levels))


def with_field(key, opcodes):
    """A network pickle in which one field is what the opcodes make, which may be a great deal."""
    fields = dict(raw_network().state)
    fields.pop(key, None)
    body = pickle.dumps(fields, 2)[2:-1]
    return (b'\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81' + body + b'U%c' % len(key) + key.encode() + opcodes
            + b'sb.')


@pytest.mark.parametrize('key', ['build_module_src', 'build_func_name', 'version', 'name', 'static_kwargs', 'variables',
                                 'components'])
@pytest.mark.parametrize('levels', [4, 8])
def test_shared_values_in_any_field_are_neither_printed_nor_converted(key, levels):
    data = with_field(key, laughs(levels))
    refused_quickly(read_networks, io.BytesIO(data), megabytes=60)


def test_texts_and_arrays_that_appear_again_and_again_count_each_time():
    text, array = 'x' * 1000000, np.zeros(250000, 'f4')
    for value in (text, array):
        few = dumps(raw_network(static_kwargs={'a': [value] * 20}))
        assert len(read_networks(io.BytesIO(few)).static_kwargs['a']) == 20
        many = dumps(raw_network(static_kwargs={'a': [value] * 200}))
        assert len(many) < 2100000
        assert 'repeats' in refused_quickly(read_networks, io.BytesIO(many))
    keys = dumps(raw_network(static_kwargs={'a': [{text: k} for k in range(200)]}))
    assert 'repeats' in refused_quickly(read_networks, io.BytesIO(keys))


@pytest.mark.parametrize('value', [[[1, 2], [3, 4]], [[1] * 30] * 30, 'text', {'a': 1}, [1, 'x'], 7,
                                   np.ones([8, 8]), np.ones(65), [1] * 65], ids=stable_id)
def test_a_blur_filter_is_a_short_list_of_numbers(value):
    reason, sentence = refusal(snapshot(static_kwargs=dict(TINY, blur_filter=value)))
    assert reason == 'malformed' and 'blur_filter' in sentence and len(sentence) < 400


@pytest.mark.parametrize('changes', [
    dict(num_channels=np.int64(0)), dict(num_channels=np.array(0)), dict(fmap_max=np.float32(0)),
    dict(latent_size=np.array([2 ** 40])), dict(fmap_base=1e300), dict(fmap_base=float('nan')),
    dict(resolution=np.int64(2 ** 40)), dict(mapping_layers=True * 10 ** 6)], ids=stable_id)
def test_sizes_are_checked_whatever_kind_of_number_they_are(changes):
    assert refusal(snapshot(static_kwargs=dict(TINY, **changes)))[0] == 'malformed'


@pytest.mark.parametrize('value', [2 ** 70, -2 ** 63, np.zeros(2, 'c8'), np.complex64(1), 'x', None, [1.0], b'x'],
                         ids=stable_id)
def test_variables_are_real_numbers(value):
    assert refusal(snapshot(variables=[('lod', value)]))[0] == 'malformed'


def test_two_networks_of_one_snapshot_may_share_everything():
    network = raw_network(build_module_src='x' * 100000)
    states = read_networks(io.BytesIO(dumps((network,) * 3)))
    assert len(states) == 3 and states[2].build_module_src == 'x' * 100000


# ---- Names

NAMES = ['\ud800', 'a\0b', 'x' * 70000, '', '__class__' * 40, 'é', ' a']
ODD_NAMES = [(where, name) for where in ('component', 'function', 'network', 'variable') for name in NAMES] + [
    (where, name) for where in ('component', 'function') for name in ('a.b', 'a/b', '1a', '../a')]


@pytest.mark.parametrize('where, name', ODD_NAMES, ids=range(len(ODD_NAMES)))
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_odd_names_are_refused_in_every_format(tmp_path, where, name, suffix):
    changes = {'component': dict(components={name: state(name='M')}), 'function': dict(build_func_name=name),
               'network': dict(name=name), 'variable': dict(variables=[(name, np.zeros(1, 'f4'))])}[where]
    path = str(tmp_path / ('x' + suffix))
    try:
        convert.write(state(**changes), path)
    except (UserError, ValueError, struct.error):  # no archive has members of such names
        assert suffix == '.npz'
        return
    with pytest.raises(UserError) as caught:
        convert.read(path)
    assert len(str(caught.value)) < 1000 + len(path)


def colliding():
    """Networks whose variables cannot all be told apart by name."""
    w = [('w', np.zeros(1, 'f4'))]
    twins = {'a': state(name='M', variables=w), 'b': state(name='M', variables=w)}
    return {'components of one name': state(components=twins),
            "a component's and an own one": state(variables=[('M/w', np.ones(1, 'f4'))], components={
                'a': state(name='M', variables=w)}),
            'two own ones': state(variables=w * 2)}


@pytest.mark.parametrize('which', list(colliding()))
def test_names_that_collide_are_refused(tmp_path, which):
    path = str(tmp_path / 'x.pkl')
    convert.write(colliding()[which], path)
    with pytest.raises(UserError, match='two variables of one name'):
        convert.read(path)


# ---- Files without pickle

def description(tmp_path, **changes):
    """The description of a good file with some of the first network's fields changed, and its arrays."""
    good, arrays = plain_files.describe(state())
    good['networks'][0].update(changes)
    return good, arrays


@pytest.mark.parametrize('changes', [
    dict(version=float('inf')), dict(version='3'), dict(version=True), dict(version=[3]), dict(version=None),
    dict(name=['N']), dict(path=3), dict(path='other'), dict(variables='w'), dict(variables=[['w']]),
    dict(variables=['w', 'w']), dict(variables=[]), dict(components={}), dict(components=[['a']]),
    dict(components=[['a', {}]]), dict(components=[[['a'], {}]]), dict(build_module_src='absent'),
    dict(build_module_src=[]), dict(static_kwargs=None), dict(static_kwargs=[]), dict(static_kwargs={'__tuple__': []}),
] + [dict(static_kwargs={'a': {'__array__': parts}}) for parts in (
    ['f4,f4', [1], '00'], ['O', [], ''], ['(2,)f4', [1], '00' * 8], 3, ['<f4', [1 << 40], ''], ['<f4', 'x', ''])
] + [
    dict(static_kwargs={'a': {'__scalar__': [{}, [], '']}}), dict(static_kwargs={'a': {'__float__': []}}),
    dict(static_kwargs={'a': {'__float__': '1e5'}}),
    dict(static_kwargs={'a': {'__dict__': 5}}),
    dict(static_kwargs={'__dict__': [[['a'], 1]]}), dict(static_kwargs={'__dict__': [[1, 2]]}),
    dict(static_kwargs={'__dict__': [['a', 1], ['a', 2]]}), dict(static_kwargs={'a': {'__easydict__': [['a', 1, 2]]}}),
], ids=stable_id)
def test_every_field_of_a_description_is_checked(tmp_path, changes):
    good, arrays = description(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        plain_files.restore(good, arrays, 'x.json')
    assert str(caught.value).startswith('x.json: ')
    path = tmp_path / 'x.safetensors'
    plain_files.write_safetensors(state(), str(path))
    data = path.read_bytes()
    header = json.loads(data[8:8 + struct.unpack('<Q', data[:8])[0]].decode())
    header['__metadata__']['networks'] = json.dumps(good)
    path.write_bytes(safetensors(header, np.arange(6, dtype='f4').tobytes()))
    with pytest.raises(UserError, match='x.safetensors: '):
        convert.read(str(path))


@pytest.mark.parametrize('changes', [
    dict(format='x' * 10 ** 6), dict(format_version=1.5), dict(format_version=float('nan')), dict(single=1),
    dict(single=False, networks=[]), dict(networks=[]), dict(networks={}), dict(networks=[3]), dict(sources=[]),
    dict(sources={}), dict(networks=None)], ids=stable_id)
def test_the_frame_of_a_description_is_checked(tmp_path, changes):
    good, arrays = description(tmp_path)
    with pytest.raises(UserError) as caught:
        plain_files.restore(dict(good, **changes), arrays, 'x.json')
    assert len(str(caught.value)) < 300


def safetensors(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def good_metadata():
    two = state(variables=[('a', np.zeros(2, 'f4')), ('b', np.zeros(2, 'f4'))])
    return {'networks': json.dumps(plain_files.describe(two)[0])}


F32 = dict(dtype='F32', shape=[2])


@pytest.mark.parametrize('header', [
    {}, {'__metadata__': 3}, {'__metadata__': []}, {'__metadata__': {'networks': 3}},
    {'__metadata__': {'networks': '3'}}, {'__metadata__': {'networks': '{"format": Infinity}'}}, {'__metadata__': {}},
    {'net0/a': dict(F32, data_offsets=[0, 8]), 'net0/b': dict(F32, data_offsets=[0, 8])},
    {'net0/a': dict(F32, data_offsets=[8, 16]), 'net0/b': dict(F32, data_offsets=[0, 8]), 'net0/c': dict(
        dtype='F32', shape=[0], data_offsets=[4, 4])},
    {'net0/a': dict(F32, data_offsets=[0, 8])}, {'net0/a': dict(F32, data_offsets=[8, 16])},
    {'net0/a': dict(F32, data_offsets=[0.0, 8.0])}, {'net0/a': dict(F32, data_offsets=['0', '8'])},
    {'net0/a': dict(F32, data_offsets=3)}, {'net0/a': dict(F32, data_offsets=[0, 8, 8])}, {'net0/a': [1, 2]},
    {'net0/a': dict(dtype=['F32'], shape=[2], data_offsets=[0, 8])},
    {'net0/a': dict(dtype='F32', shape=2, data_offsets=[0, 8])},
    {'net0/a': dict(dtype='F32', shape=[True, 2], data_offsets=[0, 8])},
    {'net0/a': dict(dtype='F32', shape=[1] * 40 + [2], data_offsets=[0, 8])}], ids=stable_id)
def test_odd_headers_of_safetensors_are_refused(tmp_path, header):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(safetensors(dict({'__metadata__': good_metadata()}, **header), b'\0' * 16))
    with pytest.raises(UserError, match='x.safetensors'):
        convert.read(str(path))


def test_values_of_one_name_are_refused(tmp_path):
    path = tmp_path / 'x.safetensors'
    text = json.dumps({'__metadata__': good_metadata(), 'net0/a': dict(F32, data_offsets=[0, 8]),
                       'net0/b': dict(F32, data_offsets=[8, 16])})
    path.write_bytes(safetensors(text.encode(), b'\0' * 16))
    assert convert.read(str(path)).variables[1][0] == 'b'
    path.write_bytes(safetensors(text.replace('net0/b', 'net0/a').encode(), b'\0' * 16))
    with pytest.raises(UserError, match='two values called'):
        convert.read(str(path))
    with zipfile.ZipFile(str(tmp_path / 'x.npz'), 'w') as archive:
        for value in (0, 1):
            file = io.BytesIO()
            np.save(file, np.full(2, value, 'f4'))
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                archive.writestr('net0/a.npy', file.getvalue())
    with pytest.raises(UserError, match='two members of one name'):
        convert.read(str(tmp_path / 'x.npz'))


@pytest.mark.parametrize('reader', [plain_files.read_npz, plain_files.read_safetensors, read_networks])
def test_devices_and_pipes_are_not_waited_for(tmp_path, reader):
    os.mkfifo(str(tmp_path / 'pipe'))
    for path in ['/dev/full', '/dev/zero', str(tmp_path / 'pipe'), str(tmp_path)]:
        refused_quickly(reader, path)


# ---- What convert leaves behind

@pytest.mark.parametrize('suffix', SUFFIXES)
def test_convert_leaves_nothing_of_what_it_refuses(tmp_path, monkeypatch, suffix):
    source, target = str(tmp_path / 'in.pkl'), str(tmp_path / 'out' / ('x' + suffix))
    convert.write(state(static_kwargs={'a': {1, 2}} if suffix != '.pkl' else {}), source)
    if suffix == '.pkl':  # what is written reads back differently
        monkeypatch.setitem(convert.READERS, '.pkl', lambda path: state(name='in' if path == source else 'other'))
    with pytest.raises(UserError) as caught:
        convert.main([source, target])
    assert '.tmp-' not in str(caught.value)
    assert os.listdir(str(tmp_path / 'out')) == []


def test_convert_replaces_no_file_beside_the_one_that_it_writes(tmp_path):
    source = str(tmp_path / 'in.pkl')
    convert.write(state(), source)
    (tmp_path / 'x.json').write_text('mine')
    with pytest.raises(UserError, match='x.json: exists already'):
        convert.main([source, str(tmp_path / 'x.npz')])
    assert (tmp_path / 'x.json').read_text() == 'mine'
    convert.main([source, str(tmp_path / 'x.npz'), '--force'])
    assert convert.same(convert.read(str(tmp_path / 'x.npz')), state())
    assert sorted(os.listdir(str(tmp_path))) == ['in.pkl', 'x.json', 'x.npz']


def test_arrays_and_descriptions_of_two_writings_are_no_pair(tmp_path):
    """As a kill between the two leaves them, or a user who copies one of them: shapes and names agree."""
    old, new = str(tmp_path / 'old.npz'), str(tmp_path / 'new.npz')
    convert.write(state(), old)
    convert.write(state(variables=[('w', np.ones([2, 3], 'f4'))], static_kwargs={'a': 2}), new)
    for arrays, description in ((new, 'old.json'), (old, 'new.json')):
        shutil.copy(arrays, str(tmp_path / 'both.npz'))
        shutil.copy(str(tmp_path / description), str(tmp_path / 'both.json'))
        with pytest.raises(UserError, match='both.json: describes other arrays .*both.npz.*convert again'):
            convert.read(str(tmp_path / 'both.npz'))
    shutil.copy(new, str(tmp_path / 'both.npz'))
    assert convert.read(str(tmp_path / 'both.npz')).static_kwargs == {'a': 2}
    text = json.loads((tmp_path / 'old.json').read_text())
    del text['arrays_sha256']        # earlier versions had none
    (tmp_path / 'old.json').write_text(json.dumps(text))
    assert convert.same(convert.read(old), state())


# ---- Values that make no sense

@pytest.fixture
def tiny(fresh_graph, tmp_path):
    """(path of a snapshot, its G)."""
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', num_channels=1, resolution=8, fmap_base=32, fmap_max=4)
    path = str(tmp_path / 'tiny.pkl')
    misc.save_pkl((G, D, G.clone('Gs')), path)
    return path, G


@pytest.mark.parametrize('name, value, suffix', [('lod', np.nan, '.pkl'), ('dlatent_avg', np.inf, '.npz'),
                                                 ('dlatent_avg', 1e300, '.safetensors')])
def test_numbers_that_are_none_are_found_when_a_network_is_loaded(tiny, name, value, suffix):
    path, _ = tiny
    states = read_networks(path)
    spoiled = [(key, np.full(np.shape(old), value) if key == name else old) for key, old in states[2].variables]
    states[2].variables = spoiled
    target = path.replace('.pkl', '-spoiled' + suffix)
    convert.write(states, target)
    with pytest.raises(UserError, match=f'NaN or infinite values .{name}.'):
        convert.load(target, which='Gs').run(np.zeros([1, 4]), None)
    assert convert.load(target)[0].get_var('lod') == 0


# ---- Code that the user allowed

RAISES = ['raise SystemExit(0)', 'raise SystemExit', 'import sys; sys.exit(3)', 'raise ValueError("x" * 10000)',
          'raise GeneratorExit', 'raise BaseException', 'raise StopIteration', 'raise RecursionError',
          'raise MemoryError', '1 / 0', 'syntax error', 'import not_there', 'def f(): return f()\nf()', 'assert False',
          'raise OSError(2, "x")',
          'class E(Exception):\n    def __str__(self): raise SystemExit(0)\nraise E', 'raise UnicodeError("\\ud800")',
          'F_unknown = 3', '', 'import tensorflow.compat.v1 as tf\nraise tf.errors.NotFoundError(None, None, "x")']
RAISES_LATER = [f'def F_unknown(x_in, **kwargs):\n    {line}' for line in RAISES if '\n' not in line and line] + [
    'def F_unknown(x_in, **kwargs): return None', 'def F_unknown(x_in, **kwargs): return [x_in, 3]',
    'def F_unknown(**kwargs): return 3', 'F_unknown = type', 'def F_unknown(*, x): return x']


def unknown(source):
    return dumps(raw_network(name='F', static_kwargs={}, build_module_src=source, build_func_name='F_unknown',
                             variables=[]))


@pytest.mark.parametrize('source', RAISES + RAISES_LATER, ids=stable_id)
def test_stored_code_that_raises_is_one_sentence_whatever_it_raises(fresh_graph, capsys, source):
    net = load_network_pickle(io.BytesIO(unknown(source)), trust_stored_code=True, expect='network')
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            net.run(np.ones([2, 3]))
    assert str(caught.value).startswith('the given file: ') and len(str(caught.value)) < 900


def test_stored_code_that_exits_quietly_is_no_success(tmp_path):
    (tmp_path / 'x.pkl').write_bytes(unknown('raise SystemExit(0)'))
    process = subprocess.run([sys.executable, str(ROOT / 'pretrained_example.py'), '--network', str(tmp_path / 'x.pkl'),
                              '--trust-stored-code', '--device', 'cpu', '--out', str(tmp_path / 'x.png')],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(tmp_path))
    assert process.returncode == 2
    assert b'error: ' in process.stderr and b'SystemExit' in process.stderr and b'Traceback' not in process.stderr


def test_code_that_raises_on_a_later_call_is_one_sentence_too(fresh_graph):
    source = ('import tensorflow.compat.v1 as tf\ncalls = []\ndef F_unknown(x_in, **kwargs):\n    calls.append(1)\n'
              '    if len(calls) > 1: raise SystemExit(0)\n    x_in.set_shape([None, 3])\n    return tf.identity(x_in)')
    net = load_network_pickle(io.BytesIO(unknown(source)), trust_stored_code=True, expect='network')
    assert net.output_shape == [None, 3]
    with pytest.raises(UserError, match='executed as asked, fails: SystemExit'):
        net.run(np.ones([2, 3]))


@pytest.mark.parametrize('line', ['raise SystemExit(0)', 'raise ValueError("x" * 10000)', 'return "text"', '1 / 0'])
def test_code_that_raises_while_the_graph_runs_is_one_sentence_too(fresh_graph, line):
    source = (f'import tensorflow.compat.v1 as tf\ndef later(x):\n    {line}\ndef F_unknown(x_in, **kwargs):\n'
              '    x_in.set_shape([None, 3])\n    y = tf.py_func(later, [x_in], tf.float32)\n'
              '    y.set_shape([None, 3])\n    return y')
    net = load_network_pickle(io.BytesIO(unknown(source)), trust_stored_code=True, expect='network')
    with pytest.raises(UserError, match="code stored in the file for 'F_unknown'.* the computation failed: ") as caught:
        net.run(np.ones([2, 3]))
    assert len(str(caught.value)) < 600


def test_check_finite_lists_some_names():
    good = {'a': np.ones(2), 'b': np.float32(1), 'c': np.arange(3), 'd': 1.0}
    network_state.check_finite(good, 'G')
    with pytest.raises(UserError, match=r"'G' hold NaN or infinite values \(e, f, g, h and 1 more\)"):
        network_state.check_finite(dict(good, **{key: np.nan for key in 'efghi'}), 'G')


def test_safe_pickle_still_names_what_it_reads():
    assert repr(safe_pickle.read_networks(io.BytesIO(dumps(raw_network())))).startswith("NetworkState('G', D_basic, 1")


@pytest.mark.skipif(not hasattr(os, 'preadv'), reason='this Python reads files by one thread')
@pytest.mark.parametrize('where', ['variables', 'static_kwargs'])
def test_arrays_come_beside_the_program_and_are_waited_for(tmp_path, monkeypatch, where):
    array, path, begun = np.arange(6000, dtype='f4'), tmp_path / 'large.pkl', []
    changes = {'variables': [('lod', array)]} if where == 'variables' else {'static_kwargs': {'a': [{'b': array}]}}
    path.write_bytes(dumps(raw_network(**changes)))
    fill = blocks._fill

    def slowly(*args):
        begun.append(args)
        time.sleep(0.2)
        return fill(*args)

    monkeypatch.setattr(blocks, '_fill', slowly)
    monkeypatch.setattr(blocks, 'usable_cores', lambda: 2)
    monkeypatch.setattr(pickle_reader, '_LARGE', 1000)
    found = read_networks(str(path))
    found = found.variables[0][1] if where == 'variables' else found.static_kwargs['a'][0]['b']
    assert begun and found.tobytes() == array.tobytes()
