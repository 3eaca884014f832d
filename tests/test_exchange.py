"""What we write runs elsewhere: pickles in a library that only shares the published names, and files without pickle."""

import collections
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import standin_dnnlib
from conftest import ROOT, new_session, tolerance
from golden_networks import GoldenCase, deviation, runs_channels_first

import config
from dnnlib import EasyDict, UserError, tflib
from dnnlib.tflib import convert, device, plain_files, tf
from dnnlib.tflib.safe_pickle import NetworkState, read_networks
from training import misc

FAMILIES = [('stylegan-f-32-cond', 'training.networks_stylegan'), ('progan-32', 'training.networks_progan')]


@pytest.fixture(scope='module', params=FAMILIES, ids=[name for name, _ in FAMILIES])
def exchanged(request, golden_module_dir, tmp_path_factory):
    """(the reference case, G and D in the stand-in library, the file), in one graph."""
    name, module = request.param
    with new_session():
        case = GoldenCase(golden_module_dir, name, module)
        path = str(tmp_path_factory.mktemp('exchange') / 'network.pkl')
        misc.save_pkl((case.G, case.D, case.G), path)
        with open(path, 'rb') as file, standin_dnnlib.importable():
            G, D, Gs = standin_dnnlib.load(file.read())
        assert G is Gs
        yield case, G, D, path


@pytest.fixture(scope='module')
def golden_module_dir():
    from conftest import GOLDEN_DIR
    return GOLDEN_DIR


@pytest.fixture(scope='module', params=['NCHW', 'NHWC'])
def layout(request, exchanged):
    """The published layout, which is the default, where a CPU has it; the source takes the other as an argument."""
    if request.param == 'NCHW' and not runs_channels_first():
        pytest.skip('this TensorFlow has no channels-first convolution on a CPU')
    return dict(data_format=request.param)


@pytest.mark.both
def test_stored_source_gives_the_same_images_and_scores_elsewhere(exchanged, layout):
    case, G, D, _ = exchanged
    options = dict(is_validation=True, randomize_noise=False) if 'w' in case.arrays else {}
    with standin_dnnlib.importable():
        images = G.run(case.z, case.labels, **layout, **options)
        scores = D.run(images, case.labels, **layout)
    # Ours runs in the layout of this device; another one sums in another order.
    is_same = layout == dict(data_format=device.data_format())
    limit = tolerance(cpu=1e-5 if is_same else 1e-4, gpu=1e-4 if is_same else 1e-3)
    assert deviation(images, case.G.run(case.z, case.labels, **options)) < limit
    assert deviation(images, case.arrays['images_untruncated_lod0.0' if options else 'images_recursive_lod0.0']) \
        < tolerance(cpu=1e-4, gpu=1e-3)
    assert deviation(scores, case.D.run(images, case.labels)) < limit


def test_stored_source_trains_elsewhere(exchanged, layout):
    case, G, D, _ = exchanged
    with standin_dnnlib.importable():
        images = G.get_output_for(tf.constant(case.z, tf.float32), tf.constant(case.labels, tf.float32),
                                  is_training=True, structure='linear', **layout)
        scores = D.get_output_for(images, tf.constant(case.labels, tf.float32), structure='linear', **layout)
        variables = [var for net in (G, D) for var in net.vars.values() if var.trainable]
        grads = tf.gradients(tf.reduce_sum(tf.square(scores)), variables)
    values = tflib.run([grad for grad in grads if grad is not None])
    assert len(values) > len(variables) / 2
    assert all(np.isfinite(value).all() for value in values)


def test_stored_source_makes_new_networks_elsewhere(exchanged):
    """A clone there starts from the keyword arguments alone and makes its components by the stored source."""
    case, G, _, _ = exchanged
    with standin_dnnlib.importable():
        fresh = standin_dnnlib.Network('Fresh', G._build_func, **G.static_kwargs)
        assert list(fresh.vars) == list(G.vars) and fresh.output_shape == G.output_shape


def test_pickles_mention_published_names_only(exchanged):
    import pickletools
    with open(exchanged[3], 'rb') as file:
        ops = list(pickletools.genops(file.read()))
    texts = {arg for op, arg, _ in ops if isinstance(arg, str) and len(arg) < 200}
    assert ops[0][1] <= 4 and not any(op.name in ('EXT1', 'INST', 'BYTEARRAY8') for op, _, _ in ops)
    assert not [text for text in texts if text.startswith(('training.', 'numpy._core', 'collections', 'dnnlib.util'))]


# ---- Files without pickle

def records(**changes):
    """Networks with every kind of value that arguments and variables may have."""
    kwargs = dict(a=1, b=1.5, c=None, d=True, e=[1, (2, 'x')], f=float('inf'), g=np.float32(0.1), h=np.arange(3),
                  i=EasyDict(j={'__odd__': 1}), k=collections.OrderedDict(l=()), m={1: 2}, n=10 ** 20, o='ψ')
    rnd = np.random.RandomState(0)
    variables = [('lod', np.array(1.5, np.float32)), ('4x4/Conv/weight', rnd.randn(3, 3, 2, 1).astype(np.float32)),
                 ('half', rnd.randn(2).astype(np.float16)), ('empty', np.zeros([0, 3], np.float32)),
                 ('special', np.array([np.nan, np.inf, -0.0, 1e-45], np.float32))]

    def state(name, **more):
        fields = dict(version=3, name=name, static_kwargs=kwargs, components={}, build_module_src='source of ' + name,
                      build_func_name='G_style', variables=variables)
        return NetworkState(**dict(fields, **more))

    inner = state('G_mapping', components={'deep': state('Deep', variables=[])})
    return tuple(state(name, components={'mapping': inner}, **changes) for name in ('G', 'D', 'Gs'))


@pytest.mark.both
@pytest.mark.parametrize('suffix', ['.pkl', '.npz', '.safetensors'])
@pytest.mark.parametrize('single', [False, True])
def test_every_format_gives_back_what_it_was_given(tmp_path, suffix, single):
    content = records()[0] if single else records()
    path = str(tmp_path / ('network' + suffix))
    convert.write(content, path)
    assert convert.same(convert.read(path), content)


def test_same_notices_every_difference():
    a = records()
    assert convert.same(a, records())
    for change in [dict(version=2), dict(static_kwargs={}), dict(variables=[]), dict(build_module_src='')]:
        assert not convert.same(a, records(**change))
    assert not convert.same(a, a[:2])
    assert not convert.same([1], [1.0]) and not convert.same({'a': 1, 'b': 2}, {'b': 2, 'a': 1})
    assert not convert.same(np.zeros(2), np.zeros(2, 'f4'))


def test_command_line_round_trip_of_a_genuine_file(reference_dir, tmp_path, capsys):
    source = str(reference_dir / 'golden' / 'stylegan-f-32.pkl')
    steps = [source] + [str(tmp_path / name) for name in ('a.npz', 'b.safetensors', 'c.pkl')]
    for before, after in zip(steps, steps[1:]):
        convert.main([before, after])
    assert 'equal to the last bit' in capsys.readouterr().out
    assert convert.same(read_networks(steps[-1]), read_networks(source))
    with pytest.raises(UserError, match='exists already'):
        convert.main(steps[:2])
    with pytest.raises(UserError, match='suffix must be one of'):
        convert.main([source, str(tmp_path / 'x.onnx')])


def test_command_line_makes_the_folder_and_refuses_impossible_places(tmp_path):
    source = str(tmp_path / 'a.npz')
    convert.write(records(), source)
    convert.main([source, str(tmp_path / 'new' / 'folder' / 'b.pkl')])
    assert convert.same(convert.read(str(tmp_path / 'new' / 'folder' / 'b.pkl')), records())
    with pytest.raises(UserError, match='a folder; name one of its files'):
        convert.main([str(tmp_path / 'new'), str(tmp_path / 'c.npz')])
    with pytest.raises(UserError, match='no folder can be made'):
        convert.main([source, source + '/c.npz'])


def test_networks_load_from_every_format(exchanged, tmp_path):
    case, _, _, path = exchanged
    copy = str(tmp_path / 'network.npz')
    convert.write(convert.read(path), copy)
    Gs = convert.load(copy, which='Gs')
    assert Gs.name == 'G' and Gs.static_kwargs == case.G.static_kwargs
    values = tflib.get_vars([Gs.vars[name] for name in case.G.vars])
    for value, expected in zip(values, tflib.get_vars(list(case.G.vars.values()))):
        np.testing.assert_array_equal(value, expected)


def test_the_safetensors_package_reads_what_we_write(tmp_path):
    numpy_files = pytest.importorskip('safetensors.numpy')
    path = str(tmp_path / 'network.safetensors')
    convert.write(records(), path)
    arrays = numpy_files.load_file(path)
    _, expected = plain_files.describe(records())
    assert sorted(arrays) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


def damaged_safetensors(header, data=b'\0' * 8):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


META = {'networks': json.dumps({'format': plain_files.FORMAT, 'format_version': 1, 'single': False, 'networks': [],
                                'sources': {}})}


@pytest.mark.parametrize('data', [
    b'', b'12', struct.pack('<Q', 1 << 60) + b'{}', damaged_safetensors(b'{'), damaged_safetensors([]),
    damaged_safetensors({}), damaged_safetensors({'__metadata__': {'networks': '[' * 100000}}),
    damaged_safetensors({'__metadata__': META, 'a': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 8]}}),
    damaged_safetensors({'__metadata__': META, 'a': {'dtype': 'F32', 'shape': [1 << 40], 'data_offsets': [0, 8]}}),
    damaged_safetensors({'__metadata__': META, 'a': {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}}),
    damaged_safetensors({'__metadata__': META, 'a': {'dtype': 'F99', 'shape': [2], 'data_offsets': [0, 8]}}),
    damaged_safetensors({'__metadata__': META, 'a': {'dtype': 'F32', 'shape': [-2], 'data_offsets': [-4, 8]}}),
], ids=range(12))
def test_damaged_safetensors_are_refused(tmp_path, data):
    path = tmp_path / 'x.safetensors'
    path.write_bytes(data)
    with pytest.raises(UserError, match='x.safetensors'):
        convert.read(str(path))


def test_damaged_npz_files_are_refused(tmp_path):
    path, description = tmp_path / 'x.npz', tmp_path / 'x.json'
    convert.write(records(), str(path))
    good, text = path.read_bytes(), description.read_text()

    def refused(words, data=good, json_text=text):
        path.write_bytes(data)
        description.write_text(json_text)
        with pytest.raises(UserError, match=words):
            convert.read(str(path))

    refused('damaged', data=good[:-100])
    refused('damaged', data=b'no zip')
    refused('not JSON', json_text='{')
    refused('not a description', json_text='[]')
    refused('format other', json_text=text.replace(plain_files.FORMAT, 'other'))
    refused('not a description', json_text=text.replace('4x4/Conv/weight', '4x4/Conv/gone'))
    refused('not a description', json_text='{"format": "stylegan-networks", "format_version": 1}')
    description.unlink()
    path.write_bytes(good)
    with pytest.raises(UserError, match='x.json: the description'):
        convert.read(str(path))


def test_archives_that_unpack_to_much_more_are_refused(tmp_path):
    path = str(tmp_path / 'bomb.npz')
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.npy', b'\0' * (80 << 20))
    with pytest.raises(UserError, match='unpacks to 83886080 bytes'):
        plain_files.read_npz(path)


@pytest.mark.parametrize('header', ["{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
                                    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
                                    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"])
def test_arrays_are_believed_only_if_they_fit(tmp_path, header):
    header = header.encode().ljust(117) + b'\n'
    with zipfile.ZipFile(str(tmp_path / 'x.npz'), 'w') as archive:
        archive.writestr('a.npy', b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + b'\0' * 4)
    with pytest.raises(UserError, match='damaged'):
        convert.read(str(tmp_path / 'x.npz'))


def test_command_line_prints_sentences(tmp_path):
    (tmp_path / 'page.pkl').write_text('<html>')
    process = subprocess.run([sys.executable, '-m', 'dnnlib.tflib.convert', str(tmp_path / 'page.pkl'), 'out.npz'],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(ROOT))
    assert process.returncode == 2
    assert b'error: ' in process.stderr and b'HTML' in process.stderr and b'Traceback' not in process.stderr


# ---- In a process that has imported nothing else


NETWORK = os.path.join(str(ROOT), 'tests', 'data', 'run-of-2b34ccf', 'network-final.pkl')
FRESH = {
    'load_arrays': ("from dnnlib.pickle_reader import load_arrays\n"
                    "with open('plain.pkl', 'rb') as f:\n"
                    "    print(load_arrays(f)['w'].sum())\n", '6.0', False),
    'read_networks': ("from dnnlib.tflib.safe_pickle import read_networks\n"
                      f"print([state.name for state in read_networks({NETWORK!r})])\n", "['G', 'D', 'Gs']", False),
    'convert': (f"from dnnlib.tflib import convert\nconvert.main([{NETWORK!r}, 'converted.npz'])\n"
                "print(len(convert.read('converted.npz')))\n", '3', False),
    'pickle.load': (f"import pickle\nfrom dnnlib import tflib\ntflib.init_tf()\nwith open({NETWORK!r}, 'rb') as f:\n"
                    "    G, D, Gs = pickle.load(f)\nprint(Gs.run([[0.0] * Gs.input_shape[1]], None).shape)\n",
                    '(1, 3, 8, 8)', True),
}


@pytest.mark.both
@pytest.mark.parametrize('how', sorted(FRESH))
def test_networks_are_read_in_a_process_that_imported_nothing_else(tmp_path, how):
    """As arrays, without TensorFlow."""
    program, expected, with_engine = FRESH[how]
    with open(str(tmp_path / 'plain.pkl'), 'wb') as file:
        pickle.dump({'w': np.arange(4.0)}, file)
    program += "import sys\nprint('tensorflow' in sys.modules)\n"
    process = subprocess.run([sys.executable, '-c', program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             universal_newlines=True, cwd=str(tmp_path), env=dict(os.environ, PYTHONPATH=str(ROOT)))
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-2:] == [expected, str(with_engine)]


@pytest.mark.both
def test_the_package_has_all_its_names_before_any_was_asked_for():
    program = ('import dnnlib.tflib as t\nassert set(t.__all__) <= set(dir(t))\n'
               'print(t.network.Network is t.Network, t.autosummary.autosummary.__name__, hasattr(t, "nothing"))\n')
    found = subprocess.run([sys.executable, '-c', program], stdout=subprocess.PIPE, universal_newlines=True,
                           check=True, env=dict(os.environ, PYTHONPATH=str(ROOT))).stdout
    assert found.splitlines()[-1] == 'True autosummary False'


# ---- Which version wrote it


@pytest.mark.both
@pytest.mark.parametrize('suffix', ['.pkl', '.npz', '.safetensors'])
def test_networks_carry_the_version_that_stored_them(tmp_path, suffix):
    with new_session():
        net = tflib.Network('G', func_name='training.networks_minimal.G_minimal', latent_size=2)
        assert 'version' not in net.static_kwargs and 'project_version' not in net.static_kwargs
        stored = str(tmp_path / 'stored.pkl')
        misc.save_pkl((net, net, net), stored)
        path = str(tmp_path / f'network{suffix}')
        convert.write(convert.read(stored), path)
        assert [state.project_version for state in convert.read(path)] == [config.version] * 3
        with open(stored, 'rb') as file, standin_dnnlib.importable():
            assert standin_dnnlib.load(file.read())[2].run(np.zeros([1, 2]), np.zeros([1, 0])).shape == (1, 2)


@pytest.mark.both
def test_networks_of_versions_without_a_number_keep_none(tmp_path):
    old = convert.read(NETWORK)
    assert [state.project_version for state in old] == [None] * 3
    for suffix in ('.pkl', '.npz', '.safetensors'):
        path = str(tmp_path / f'network{suffix}')
        convert.write(old, path)
        assert convert.same(convert.read(path), old)
    with open(str(tmp_path / 'network.pkl'), 'rb') as file:
        assert b'project_version' not in file.read()


def test_trusted_code_is_left_alone_where_ours_fits(tmp_path):
    content, path = convert.read(NETWORK), str(tmp_path / 'network.pkl')
    for state in [inner for outer in content for inner in outer.walk()]:
        state.build_module_src = 'raise SystemExit(3)'
    convert.write(content, path)
    with new_session():
        Gs = convert.load(path, trust_stored_code=True)[2]
        assert Gs.run(np.zeros([1, Gs.input_shape[1]]), None).shape == (1, 3, 8, 8)


@pytest.mark.both
@pytest.mark.parametrize('suffix', ['.npz', '.safetensors'])
def test_what_the_version_without_a_number_converted_is_read(suffix):
    converted = os.path.join(os.path.dirname(NETWORK), 'converted', 'old' + suffix)
    assert convert.same(convert.read(converted), convert.read(NETWORK))


def test_a_version_that_is_no_text_is_refused(tmp_path):
    path = str(tmp_path / 'odd.pkl')
    convert.write(records(project_version=3), path)
    with pytest.raises(UserError, match="'project_version' is a int"):
        convert.read(path)
