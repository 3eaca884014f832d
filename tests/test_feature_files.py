"""Files of feature networks from strangers: checked for sizes and types before anything of their size is made."""

import gzip
import io
import json
import os
import shutil
import struct
import tarfile
import tracemalloc
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from conftest import stable_id

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from metrics.networks import frozen_graph, released, standin, weights
from metrics.networks.feature_networks import FeatureNetworks


def graph_of(*nodes):
    """The bytes of a GraphDef of (name, op, inputs, dict of attributes as protocol buffers take them)."""
    graph = tf.GraphDef()
    for name, op, inputs, attributes in nodes:
        node = graph.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            if key == 'value':
                node.attr[key].tensor.CopyFrom(value)
            elif isinstance(value, list):
                node.attr[key].list.i.extend(value)
            elif isinstance(value, bytes):
                node.attr[key].s = value
            else:
                node.attr[key].type = value
    return graph.SerializeToString()


def tensor(shape, dtype=1, **fields):
    value = tf.make_tensor_proto(0.0)
    value.Clear()
    value.dtype = dtype
    for size in shape:
        value.tensor_shape.dim.add(size=size)
    for key, items in fields.items():
        if key == 'tensor_content':
            value.tensor_content = items
        else:
            getattr(value, key).extend(items)
    return value


def constant(name, value):
    return (name, 'Const', [], {'value': value, 'dtype': value.dtype})


VECTOR = tensor([5], tensor_content=np.ones(5, 'f4').tobytes())
BATCHNORM = ('b', 'BatchNormWithGlobalNormalization', ['c', 'm', 'v', 'beta', 'g'], {})
REST = [constant(name, VECTOR) for name in ('m', 'v', 'beta', 'g')]


def with_kernel(value):
    return graph_of(constant('k', value), ('c', 'Conv2D', ['x', 'k'], {}), BATCHNORM, *REST)


ODD_GRAPHS = {
    '4 TB': with_kernel(tensor([1000000, 1000000, 1, 1], float_val=[1.0])),
    '60 MB': with_kernel(tensor([1000, 1000, 3, 5], float_val=[1.0])),
    'overflow': with_kernel(tensor([2 ** 40] * 4, float_val=[1.0])),
    'negative': with_kernel(tensor([-3, -3, 3, 5], float_val=[1.0])),
    'empty': with_kernel(tensor([3, 3, 0, 5])),
    'no dimensions': with_kernel(tensor([], float_val=[1.0])),
    'too few': with_kernel(tensor([3, 3, 3, 5], tensor_content=b'1234')),
    'text': with_kernel(tensor([3, 3, 3, 5], dtype=7, string_val=[b'x'] * 135)),
    'double': with_kernel(tensor([3, 3, 3, 5], dtype=2, tensor_content=b'\0' * 8 * 135)),
    'no type': with_kernel(tensor([3, 3, 3, 5], dtype=0, tensor_content=b'\0' * 4 * 135)),
    'other channels': with_kernel(tensor([3, 3, 3, 6], tensor_content=b'\0' * 4 * 162)),
    'no kernel': graph_of(('c', 'Conv2D', ['x', 'k'], {}), BATCHNORM, *REST),
    'kernel is no constant': graph_of(('k', 'NoOp', [], {}), ('c', 'Conv2D', ['x', 'k'], {}), BATCHNORM, *REST),
    'no convolution': graph_of(BATCHNORM, *REST),
    'convolution without inputs': graph_of(('c', 'Conv2D', [], {}), BATCHNORM, *REST),
    'no inputs': graph_of(('b', 'BatchNormWithGlobalNormalization', [], {})),
    'two of one name': graph_of(*[constant('k', VECTOR)] * 2),
    'nothing': b'', 'no graph': b'quota exceeded', 'other': graph_of(('a', 'NoOp', [], {})),
}


@pytest.mark.parametrize('what', list(ODD_GRAPHS))
def test_odd_graphs_are_refused_before_memory_is_taken(tmp_path, what):
    path = tmp_path / 'graph.pb'
    path.write_bytes(ODD_GRAPHS[what])
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match='graph.pb: '):
            frozen_graph.read_weights(str(path))
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


ODD_TO_RUN = {
    'huge constant': [constant('a', tensor([100000, 100000], float_val=[1.0]))],
    'huge size': [constant('a', tensor([2], dtype=3, int_val=[1 << 30, 1 << 30]))],
    'no windows': [('a', 'MaxPool', ['ExpandDims'], {'ksize': [0, 0, 0, 0], 'strides': [1, 1, 1, 1], 'T': 1,
                                                     'padding': b'SAME'})],
    'no strides': [('a', 'AvgPool', ['ExpandDims'], {'ksize': [1, 1, 1, 1], 'strides': [1, 0, 0, 1], 'T': 1,
                                                     'padding': b'SAME'})],
    'absent input': [('pool_3', 'Relu', ['absent'], {'T': 1})],
    'no output': [('a', 'Placeholder', [], {'dtype': 1})],
    'no rank': [('pool_3', 'Placeholder', [], {'dtype': 1})],
    'circle': [('pool_3', 'Relu', ['a'], {'T': 1}), ('a', 'Relu', ['pool_3'], {'T': 1})],
    'absent attribute': [('pool_3', 'Conv2D', ['ExpandDims', 'ExpandDims'], {})],
}


@pytest.mark.parametrize('what', list(ODD_TO_RUN))
def test_graphs_that_would_end_the_process_are_not_run(fresh_graph, tmp_path, what):
    path = tmp_path / 'graph.pb'
    path.write_bytes(graph_of(('ExpandDims', 'Placeholder', [], {'dtype': 1}), *ODD_TO_RUN[what]))
    with pytest.raises(UserError, match='graph.pb: '):
        frozen_graph.import_features(str(path), tf.ones([1, 3, 8, 8]))


def archive_with(name, data, size=None, kind=tarfile.REGTYPE):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w:gz') as archive:
        member = tarfile.TarInfo(name)
        member.size, member.type = len(data), kind
        archive.addfile(member, io.BytesIO(data))
    if size is not None:  # in the base-256 form, which may be negative
        raw = bytearray(gzip.decompress(file.getvalue()))
        raw[124:136] = size.to_bytes(12, 'big', signed=True)
        raw[124] |= 0x80
        raw[148:156] = b'%06o\0 ' % (256 + sum(raw[:148]) + sum(raw[156:512]))
        return gzip.compress(bytes(raw))
    return file.getvalue()


def test_archives_of_graphs_are_read_no_further_than_they_must_be(tmp_path):
    path = tmp_path / 'graph.tgz'
    good = archive_with(frozen_graph.MEMBER, ODD_GRAPHS['other'])
    path.write_bytes(good)
    assert len(frozen_graph.read_graph(str(path)).node) == 1
    for data in [good[:-20], good[:100], b'\x1f\x8b', gzip.compress(b'no archive' * 100),
                 archive_with('other', b'x'), archive_with(frozen_graph.MEMBER, b'', kind=tarfile.DIRTYPE),
                 archive_with('other', b'', size=-512), archive_with(frozen_graph.MEMBER, b'', size=-1),
                 archive_with(frozen_graph.MEMBER, b'x', size=1 << 40), archive_with('other', b'x', size=1 << 60),
                 gzip.compress(b'\0' * 1000000), archive_with(frozen_graph.MEMBER, b'x' * 512, size=5)]:
        path.write_bytes(data)
        with pytest.raises(UserError, match='graph.tgz: '):
            frozen_graph.read_graph(str(path))


def number_with_values():
    """How many variables of the default graph have taken memory."""
    return sum(tflib.run([tf.is_variable_initialized(var) for var in tf.global_variables()] or [tf.constant(False)]))


CLASSIFIER = dict(num_channels=3, resolution=16, fmap_base=32, fmap_max=4, label_size=0, mbstd_group_size=0)


def classifier_file(tmp_path, **changes):
    """A file of 400 bytes with a classifier's keywords, changed, and no weights."""
    from dnnlib.tflib import convert
    from dnnlib.tflib.safe_pickle import NetworkState
    path = str(tmp_path / 'classifier.pkl')
    convert.write(NetworkState(3, 'C', dict(CLASSIFIER, **changes), {}, '', 'D_basic', []), path)
    return path


@pytest.mark.parametrize('changes', [
    dict(num_channels=0), dict(num_channels=np.int64(0)), dict(fmap_max=2 ** 20, fmap_base=2 ** 30), dict(fmap_max=0),
    dict(resolution=2 ** 14, fmap_max=2 ** 20, fmap_base=2 ** 34), dict(resolution=10 ** 9), dict(resolution=24),
    dict(num_channels=1), dict(num_channels=2 ** 12), dict(blur_filter=[[1] * 60] * 60), dict(blur_filter='x'),
    dict(name='other'), dict(func_name='os.system'), dict(dtype='string'), dict(dtype=[1]), dict(structure='x'),
    dict(nonlinearity={}), dict(fmap_decay='x'), dict(mbstd_num_features=10 ** 9), dict(resolution=2048),
    dict(images_in=3), dict(components=3), dict(is_template_graph='x')], ids=stable_id)
def test_released_classifiers_are_checked_before_anything_of_their_size_is_made(fresh_graph, tmp_path, changes):
    path = classifier_file(tmp_path, **changes)
    with pytest.raises(UserError, match='classifier.pkl: '):
        released.classifier(0, path=path)
    assert number_with_values() == 0


@pytest.mark.parametrize('value', [np.full(1, np.nan, 'f4'), np.full(1, 1e300), np.zeros(1, 'c8'), np.zeros(1, bool)],
                         ids=stable_id)
def test_weights_are_finite_real_numbers(fresh_graph, tmp_path, value):
    net = tflib.Network('C', 'training.networks_stylegan.D_basic', **CLASSIFIER)
    arrays = OrderedDict(zip(net.vars, tflib.get_vars(list(net.vars.values()))))
    arrays['4x4/Dense1/bias'] = value
    np.savez(str(tmp_path / 'weights.npz'), **arrays)
    with pytest.raises(UserError, match='weights.npz: .*(NaN|real numbers)'):
        found = released.read_variables(str(tmp_path / 'weights.npz'))[1]
        other = weights.build('C2', 'training.networks_stylegan.D_basic', dict(CLASSIFIER), 'weights.npz')
        released._assign(other, found, lambda name: name.rsplit('/', 1)[-1], 'weights.npz')


def test_archives_of_weights_are_believed_only_if_their_bytes_are_there(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117) + b'\n'
    with zipfile.ZipFile(str(tmp_path / 'x.npz'), 'w') as archive:
        archive.writestr('a.npy', b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header + b'\0' * 4)
    with pytest.raises(UserError, match='does not fit the 4 bytes'):
        released.read_variables(str(tmp_path / 'x.npz'))


@pytest.fixture
def own_standins(tmp_path, monkeypatch):
    """Copies of the stand-ins, which a test may change: (path of the weights, path of the record)."""
    paths = []
    for name in ('WEIGHTS', 'RECORD'):
        source = getattr(standin, name)
        paths.append(tmp_path / os.path.basename(source))
        shutil.copyfile(source, str(paths[-1]))
        monkeypatch.setattr(standin, name, str(paths[-1]))
    return paths


def test_stand_ins_are_verified_by_what_is_in_them(fresh_graph, own_standins):
    path, record = own_standins

    def load():
        with tf.Graph().as_default(), tflib.create_session().as_default():
            return FeatureNetworks('standin').inception().record

    assert load()['verified'] is True
    with np.load(str(path)) as archive:
        arrays = {key: archive[key] for key in archive.files}
    arrays['features:dense/bias'] = arrays['features:dense/bias'] + 1
    np.savez_compressed(str(path), **arrays)
    changed = load()
    assert changed['verified'] is False and 'not those that came with this project' in changed['note']
    shutil.copyfile(os.path.join(standin.FOLDER, path.name), str(path))
    assert load()['verified'] is True
    record.write_text(record.read_text().replace('"num_images": 20000', '"num_images": 20001'))
    assert load()['verified'] is False


@pytest.mark.both
def test_stand_ins_reduce_larger_images_by_means_and_say_so(fresh_graph, own_standins):
    images = np.random.RandomState(5).randint(256, size=[3, 3, 64, 64]).astype(np.float32)
    means = images.reshape([3, 3, 32, 2, 32, 2]).mean(axis=(3, 5))

    def load():
        with tf.Graph().as_default(), tflib.create_session().as_default():
            network = FeatureNetworks('standin').inception()
            return network.record, [network.net.run(batch) for batch in (images, means, images[:, :, ::2, ::2],
                                                                         images[:, :, :16, :16])]

    record, (large, of_means, of_samples, small) = load()
    assert record['reduction'] == 'area'
    np.testing.assert_allclose(large, of_means, rtol=1e-5, atol=1e-5)
    # A record without the keyword is one of the first version, whose scores are told apart from ours.
    own_standins[1].write_text(own_standins[1].read_text().replace('"reduction": "area"', ''))
    first, (first_large, first_of_means, first_of_samples, first_small) = load()
    np.testing.assert_allclose(first_large, of_samples, rtol=1e-5, atol=1e-5)
    for ours, former in ((of_means, first_of_means), (of_samples, first_of_samples), (small, first_small)):
        np.testing.assert_array_equal(ours, former)
    assert 'reduction' not in first and first['file_sha256'] == record['file_sha256']
    assert all(first[key] != record[key] for key in ('record_sha256', 'weights_sha256'))


@pytest.mark.parametrize('changes', [
    dict(func_name='os.system'), dict(func_name='training.networks_stylegan.G_style'), dict(func_name=3),
    dict(kwargs=[]), dict(kwargs={'num_features': 10 ** 12}), dict(kwargs={'num_features': 'x'}),
    dict(kwargs={'fmaps': 10 ** 9}), dict(kwargs={'name': 'x'}), dict(kwargs={'reduction': 'x'})], ids=stable_id)
def test_a_changed_record_of_the_stand_ins_is_refused(fresh_graph, own_standins, changes):
    record = json.loads(own_standins[1].read_text())
    record['networks']['features'].update(changes)
    own_standins[1].write_text(json.dumps(record))
    with pytest.raises(UserError, match='standins'):
        FeatureNetworks('standin').inception()
    assert number_with_values() == 0


@pytest.mark.parametrize('content', [b'', b'[]', b'{}', b'{"networks": []}', b'{"networks": {"features": 3}}',
                                     b'[' * 1000], ids=range(6))
def test_a_damaged_record_of_the_stand_ins_is_one_sentence(own_standins, content):
    own_standins[1].write_bytes(content)
    with pytest.raises(UserError, match='restore the folder metrics/standins'):
        FeatureNetworks('standin').inception()
