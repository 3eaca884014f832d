"""Network files: what loads, what is refused, with which sentence."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from conftest import new_session, stable_id
from golden_networks import GoldenCase, deviation

from dnnlib import EasyDict, UserError, tflib
from dnnlib.tflib import pickle_writer, safe_pickle
from dnnlib.tflib.safe_pickle import NetworkState, PickleRefused, load_network_pickle, read_networks

TINY = dict(num_channels=1, resolution=8, fmap_base=32, fmap_max=4, latent_size=4, dlatent_size=4, mapping_fmaps=4,
            mapping_layers=1)


class Raw:
    """Pickles as an object of any class name with any state, through the opcodes of a real pickle."""

    def __init__(self, state, class_name='dnnlib.tflib.network.Network'):
        self.state = state
        self.class_name = class_name


def dumps(obj):
    """A pickle of `obj` in which each Raw is an instance of the class that it names."""
    file = io.BytesIO()

    class Pickler(pickle._Pickler):
        def save(self, item, save_persistent_id=True):
            if not isinstance(item, Raw):
                return super().save(item)
            module, _, name = item.class_name.rpartition('.')
            self.write(b'c' + module.encode() + b'\n' + name.encode() + b'\n)\x81')
            super().save(item.state)
            self.write(b'b')

    Pickler(file, 4).dump(obj)
    return file.getvalue()


def raw_network(**changes):
    state = dict(version=3, name='G', static_kwargs=dict(TINY), components={}, build_module_src='raise SystemExit',
                 build_func_name='D_basic', variables=[('lod', np.float32(0))])
    state.update(changes)
    return Raw({key: value for key, value in state.items() if value is not None})


def snapshot(**changes):
    return dumps((raw_network(**changes), raw_network(), raw_network()))


def refusal(data, **kwargs):
    with pytest.raises(PickleRefused) as caught:
        load_network_pickle(io.BytesIO(data), **kwargs)
    return caught.value.reason, str(caught.value)


def assert_same_values(a, b):
    assert list(a.vars) == list(b.vars)
    values = tflib.get_vars(list(a.vars.values()) + list(b.vars.values()))
    for key, x, y in zip(a.vars, values, values[len(a.vars):]):
        np.testing.assert_array_equal(x, y, err_msg=key)


# ---- Reading

def test_a_snapshot_is_read_as_records_without_a_graph():
    states = read_networks(io.BytesIO(snapshot(static_kwargs=EasyDict(a=[1, (2, None)]), components=None)))
    assert [type(state) for state in states] == [NetworkState] * 3
    assert states[0].static_kwargs == {'a': [1, (2, None)]} and states[0].components == {}
    assert states[1].variables[0][0] == 'lod'


@pytest.mark.parametrize('version', [2, 3])
def test_older_class_names_and_versions_are_read(version):
    old = Raw(raw_network(version=version, components=None).state, class_name='tfutil.Network')
    assert read_networks(io.BytesIO(dumps(old))).version == version


@pytest.mark.both
@pytest.mark.parametrize('name, module', [('stylegan-f-32', 'stylegan'), ('progan-32', 'progan')])
def test_genuine_files_load_and_give_the_reference_images(fresh_graph, golden_dir, reference_dir, name, module):
    G, D, Gs = load_network_pickle(str(reference_dir / 'golden' / f'{name}.pkl'))
    case = GoldenCase(golden_dir, name, f'training.networks_{module}')
    for net, other in ((G, case.G), (D, case.D)):
        assert_same_values(net, other)
    expected = case.arrays['images_recursive_lod0.0']
    kwargs = dict(is_validation=True, randomize_noise=False) if module == 'stylegan' else {}
    if kwargs:
        expected = case.arrays['images_untruncated_lod0.0']
    assert deviation(G.run(case.z, None, **kwargs), expected) < 1e-4
    assert deviation(D.run(case.arrays['images_recursive_lod0.0'], None),
                     case.arrays['scores_recursive_lod0.0']) < 1e-4
    assert np.isfinite(Gs.run(case.z, None)).all()


@pytest.fixture
def networks(fresh_graph):
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
    D = tflib.Network('D', 'training.networks_stylegan.D_basic', num_channels=1, resolution=8, fmap_base=32, fmap_max=4)
    return G, D, G.clone('Gs')


def written(networks, tmp_path):
    path = tmp_path / 'network.pkl'
    with open(str(path), 'wb') as file:
        pickle_writer.dump(networks, file)
    return str(path)


@pytest.mark.both
def test_what_is_written_comes_back_equal(networks, tmp_path):
    path = written(networks, tmp_path)
    loaded = load_network_pickle(path)
    for net, copy in zip(networks, loaded):
        assert (copy.name, copy.static_kwargs) == (net.name, net.static_kwargs)
        assert_same_values(copy, net)
    z = np.random.RandomState(0).randn(2, 4)
    np.testing.assert_array_equal(loaded[2].run(z, None, randomize_noise=False),
                                  networks[2].run(z, None, randomize_noise=False))
    assert type(loaded[0]) is tflib.Network


def test_only_the_networks_that_are_used_get_built(networks, tmp_path):
    path = written(networks, tmp_path)
    before = len(tflib.tf.global_variables())
    G, D, Gs = load_network_pickle(path)
    assert isinstance(G, tflib.Network)
    assert len(tflib.tf.global_variables()) == before
    Gs.run(np.zeros([1, 4]), None)
    assert len(tflib.tf.global_variables()) == before + len(networks[2].vars)
    assert load_network_pickle(path, which='D').name == 'D'
    assert 'not built' in repr(G)


def test_networks_that_were_never_used_can_be_stored_again(networks, tmp_path):
    again = written(load_network_pickle(written(networks, tmp_path)), tmp_path)
    np.testing.assert_array_equal(load_network_pickle(again)[0].get_var('G_synthesis/4x4/Const/const'),
                                  networks[0].get_var('G_synthesis/4x4/Const/const'))


# ---- Code in files

SOURCE = '''
import tensorflow.compat.v1 as tf
import os
open(os.environ['TOUCHED'], 'w').close()
def F_unknown(x_in, scale=2.0, **kwargs):
    x_in.set_shape([None, 3])
    return tf.identity(x_in * tf.get_variable('factor', shape=[]) * scale, name='y_out')
'''


def unknown_network():
    return dumps(raw_network(name='F', static_kwargs=dict(scale=3.0), build_module_src=SOURCE,
                             build_func_name='F_unknown', variables=[('factor', np.float32(5))]))


def test_stored_code_is_not_executed(fresh_graph, tmp_path, monkeypatch):
    monkeypatch.setenv('TOUCHED', str(tmp_path / 'touched'))
    reason, sentence = refusal(unknown_network(), expect='any')
    assert reason == 'unknown-build-func'
    assert "'F_unknown'" in sentence and '--trust-stored-code' in sentence
    nested = raw_network(build_func_name='G_style', components={'mapping': raw_network(build_func_name='F_unknown')})
    assert refusal(dumps((nested, nested, nested)))[0] == 'unknown-build-func'
    read_networks(io.BytesIO(unknown_network()))
    assert not os.path.exists(str(tmp_path / 'touched'))


@pytest.mark.both
def test_stored_code_is_executed_on_demand_for_that_file_only(fresh_graph, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('TOUCHED', str(tmp_path / 'touched'))
    net = load_network_pickle(io.BytesIO(unknown_network()), trust_stored_code=True, expect='network')
    np.testing.assert_array_equal(net.run(np.ones([2, 3])), np.full([2, 3], 15.0))
    assert 'execute the code stored in' in capsys.readouterr().err
    assert os.path.exists(str(tmp_path / 'touched'))
    assert refusal(unknown_network(), expect='network')[0] == 'unknown-build-func'


def test_known_functions_are_ours_unless_they_do_not_fit_and_the_files_own_are_trusted(networks, tmp_path):
    data = snapshot(build_func_name='D_basic')  # its stored source would end the process
    for trust, words in ((False, 'do not fit'), (True, 'executed as asked, fails')):
        with pytest.raises(UserError, match=words):
            load_network_pickle(io.BytesIO(data), trust_stored_code=trust)[0].run(np.zeros([1, 1, 8, 8]), None)


# ---- Diagnosis

def zip_of(name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr(name, b'x')
    return file.getvalue()


TORCH = [zip_of('archive/data.pkl'), pickle.dumps(0x1950a86a20f9469cfc6c, 2),
         b'\x80\x03ctorch_utils.persistence\n_reconstruct_persistent_obj\n.',
         b'\x80\x03}X\x01\x00\x00\x00GX\x07\x00\x00\x00storageQs.', b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.']


@pytest.mark.parametrize('data, reason, words', [
    (b'', 'empty', 'empty'),
    (b'<!DOCTYPE html><html>Not found</html>', 'html', 'a web page'),
    (b'\n <html><title>Google Drive - Quota exceeded</title>', 'html', 'Google Drive'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 324733157\n', 'lfs', '324733157 bytes'),
    (b'\x1f\x8b\x08rest', 'archive', 'gzip'),
    (zip_of('arrays.npy'), 'archive', 'zip'),
    (b'hello, world', 'not-a-pickle', "b'hello, w'"),
    (snapshot()[:-50], 'truncated', 'get the file again'),
    (snapshot()[:30], 'truncated', 'after 30 bytes'),
    (dumps(raw_network()), 'single-network', 'the single network'),
    (dumps((raw_network(),)), 'not-a-snapshot', '1 networks'),
    (pickle.dumps({'a': 1}), 'not-a-network', 'of a dict'),
    (pickle.dumps([1, 'a']), 'not-a-network', '2 items (int, str)'),
    (snapshot(version=1), 'version', 'version 1;'),
    (snapshot(version=5), 'version', 'versions 2 and 3'),
    (snapshot(version=4), 'stylegan2', 'StyleGAN2'),
    (snapshot(build_func_name='G_main'), 'stylegan2', 'G_main'),
    (snapshot(components={'x': raw_network(build_func_name='G_synthesis_stylegan2')}), 'stylegan2', 'layers'),
] + [(data, 'pytorch', 'PyTorch') for data in TORCH])
def test_each_mistaken_file_gets_its_own_sentence(data, reason, words):
    found, sentence = refusal(data)
    assert found == reason
    assert words in sentence and sentence.startswith('the given file')


def test_a_snapshot_where_one_network_is_needed():
    assert refusal(snapshot(), expect='network')[0] == 'not-single'
    assert refusal(dumps(raw_network()), which='Gs', expect='any')[0] == 'single-network'


@pytest.mark.parametrize('changes', [
    dict(variables=[('lod', np.float32(0)), ('lod', np.float32(1))]), dict(variables=[('../x y', np.zeros(1))]),
    dict(variables=[('a', 'text')]), dict(variables='abc'), dict(variables=None), dict(static_kwargs=[1]),
    dict(static_kwargs={1: 2}), dict(name='a\nb'), dict(name=3), dict(build_func_name='a.b'), dict(version='3'),
    dict(components={'a': 1}), dict(static_kwargs=dict(TINY, mapping_layers=10 ** 9)),
    dict(static_kwargs=dict(TINY, num_channels=0)), dict(static_kwargs=dict(TINY, fmap_base=0.001)),
    dict(static_kwargs=dict(TINY, resolution=2 ** 14)), dict(static_kwargs=dict(TINY, fmap_decay=-1e9)),
    dict(static_kwargs=dict(TINY, blur_filter=[1] * 20000)),
    dict(static_kwargs=dict(TINY, resolution=2 ** 40)), dict(static_kwargs=dict(TINY, fmap_max=float('inf'))),
    dict(components={str(k): raw_network() for k in range(100)})], ids=stable_id)
def test_malformed_networks_are_refused(changes):
    assert refusal(snapshot(**changes))[0] == 'malformed'


def test_networks_inside_themselves_are_refused():
    state = raw_network().state
    inner = Raw(state)
    data = dumps((Raw(dict(state, components={'a': Raw(dict(state, components={'b': inner}))})),) * 3)
    assert len(read_networks(io.BytesIO(data))) == 3
    cycle = (b'\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81q\x00}X\x0a\x00\x00\x00componentsq\x01'
             b'}X\x01\x00\x00\x00ah\x00ssb.')
    assert refusal(cycle)[0] == 'too-big'


@pytest.mark.parametrize('changes, words', [
    (dict(variables=[('lod', np.float32(0))]), 'not in the file: '),
    (dict(static_kwargs=dict(TINY, fmap_max='many')), 'cannot be built'),
    (dict(static_kwargs=dict(TINY, resolution=24)), 'power of two'),
])
def test_misfits_are_found_when_a_network_is_built(fresh_graph, changes, words):
    G = load_network_pickle(io.BytesIO(snapshot(**changes)))[0]
    for _ in range(2):
        with pytest.raises(UserError, match=words) as caught:
            G.print_layers()
        assert str(caught.value).startswith('the given file: ')


def test_other_shapes_are_listed(networks, tmp_path):
    state = networks[1].__getstate__()
    state['variables'] = [(key, np.zeros((2, 3)) if key == '4x4/Dense1/weight' else value)
                          for key, value in state['variables']]
    data = dumps((Raw(state),) * 3)
    with pytest.raises(UserError, match=r'other shapes: 4x4/Dense1/weight \[2, 3\] instead of \[4, 1\]'):
        load_network_pickle(io.BytesIO(data))[1].run(np.zeros([1, 1, 8, 8]), None)


def test_python_code_in_place_of_a_network_is_refused_before_any_effect(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/touched',)

    for data in (pickle.dumps(Hostile()), snapshot(static_kwargs={'a': Hostile()}),
                 snapshot(variables=[('lod', Hostile())]), snapshot(components={'a': Hostile()})):
        assert refusal(data, trust_stored_code=True)[0] == 'foreign-name'
    assert os.listdir(str(tmp_path)) == []


def test_load_arrays_is_the_same_reader():
    assert safe_pickle.load_arrays(io.BytesIO(pickle.dumps([1, b'a']))) == [1, b'a']


@pytest.mark.both
def test_networks_have_the_scopes_that_the_unpickler_gives_them_whichever_is_used_first(tmp_path):
    with new_session():
        G = tflib.Network('G', 'training.networks_stylegan.G_style', **TINY)
        D = tflib.Network('D', 'training.networks_stylegan.D_basic', **TINY)
        data = pickle.dumps((G, D, G.clone('Gs')))
    scopes = []
    for load in (pickle.load, load_network_pickle):
        with new_session():
            nets = load(io.BytesIO(data))
            scopes.append([[net.scope, *[component.scope for component in net.components.values()]]
                           for net in reversed(nets)])
    assert scopes[0] == scopes[1] == [['Gs', 'G_synthesis_1', 'G_mapping_1'], ['D'], ['G', 'G_synthesis', 'G_mapping']]
