"""Feature networks: structure against published facts and another implementation, and fitting of files' weights."""

from collections import OrderedDict

import numpy as np
import pytest

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from metrics.networks import frozen_graph, mapping, released
from metrics.networks.choice import choose_source
from metrics.networks.weights import wanted_shapes
from training import misc

INCEPTION = 'metrics.networks.inception_v3.inception_v3_features'
LPIPS = 'metrics.networks.vgg16_lpips.vgg16_lpips'
SMALL_VGG = dict(stages=((1, 4), (2, 6)))


def count(net, names):
    return sum(int(np.prod(net.vars[name].shape.as_list())) for name in names)


def randomize(net, seed=0):
    """Random values of a plausible size: positive variances, non-negative LPIPS weights."""
    rng = np.random.RandomState(seed)
    values = {}
    for name, var in net.vars.items():
        value = rng.randn(*var.shape.as_list()).astype(np.float32)
        shape = value.shape
        value *= 1.4 / np.sqrt(max(np.prod(shape[:-1]), 1)) if len(shape) > 1 else 0.2
        if name.endswith('moving_variance') or name.startswith('lin'):
            value = np.abs(value) + 0.5
        values[name] = value
    tflib.set_vars({net.vars[name]: value for name, value in values.items()})
    return values


def random_images(num, size, seed=1):
    return np.random.RandomState(seed).randint(0, 256, [num, 3, size, size + 5]).astype(np.float32)


def test_inception_has_the_published_numbers_of_parameters(fresh_graph):
    net = tflib.Network('I', INCEPTION)
    kernels = [name for name in net.vars if name.endswith('conv2d_params')]
    assert len(kernels) == 94
    # Keras reports 21,802,784 parameters without the classifier, of which 34,432 are moving statistics; other
    # frameworks count 23,834,568 with a scale per channel (17,216) and the classifier (2,049,000).
    assert count(net, net.vars) == 21802784
    assert count(net, net.trainables) == 21768352
    assert count(net, net.trainables) + 17216 == 23834568 - 2049000
    assert net.output_shape == [None, 2048]
    assert net.vars['mixed_9/tower_1/mixed/conv_1/conv2d_params'].shape.as_list() == [3, 1, 384, 384]


def test_lpips_has_the_published_numbers_of_parameters(fresh_graph):
    net = tflib.Network('V', LPIPS)
    linear = [name for name in net.vars if name.startswith('lin')]
    assert count(net, set(net.vars) - set(linear)) == 14714688  # VGG16 without its three dense layers
    assert count(net, linear) == 64 + 128 + 256 + 512 + 512
    # The released file of 58,871,973 bytes has room for these floats and a few kilobytes of structure.
    assert 0 < 58871973 - 4 * count(net, net.vars) < 20000


def test_attribute_classifier_is_the_discriminator_without_minibatch_statistics(fresh_graph):
    net = tflib.Network('C', 'training.networks_stylegan.D_basic', num_channels=3, resolution=256, fmap_base=8192,
                        label_size=0, mbstd_group_size=0)
    assert net.vars['4x4/Conv/weight'].shape.as_list() == [3, 3, 512, 512]
    assert net.output_shape == [None, 1]


@pytest.mark.slow
@pytest.mark.skipif(tflib.ENGINE != 'tf1', reason='Keras 3 does not run in graph mode')
def test_inception_equals_keras_on_random_weights(fresh_graph):
    keras = tf.keras
    net = tflib.Network('I', INCEPTION, last_pool='avg')
    values = randomize(net)
    model = keras.applications.InceptionV3(include_top=False, weights=None, pooling='avg', input_shape=(299, 299, 3))

    def number(layer):
        return int(layer.name.rsplit('_', 1)[1]) if layer.name[-1].isdigit() and '_' in layer.name[-5:] else 0
    convs = sorted([layer for layer in model.layers if type(layer).__name__ == 'Conv2D'], key=number)
    norms = sorted([layer for layer in model.layers if type(layer).__name__ == 'BatchNormalization'], key=number)
    scopes = [name.rsplit('/', 1)[0] for name in net.vars if name.endswith('conv2d_params')]
    assert len(convs) == len(norms) == len(scopes)
    weights = {}
    for conv, norm, scope in zip(convs, norms, scopes):
        weights[conv.kernel] = values[scope + '/conv2d_params']
        for part in ('beta', 'moving_mean', 'moving_variance'):
            weights[getattr(norm, part)] = values[f'{scope}/batchnorm/{part}']
    keras.backend.batch_set_value(list(weights.items()))
    images = np.random.RandomState(3).randint(0, 256, [2, 3, 299, 299]).astype(np.float32)
    theirs = model.predict((images.transpose(0, 2, 3, 1) - 128) / 128)
    ours = net.run(images)
    assert np.std(ours) > 0
    np.testing.assert_allclose(ours, theirs, atol=2e-4 * np.std(theirs))


def test_lpips_equals_its_definition_in_numpy(fresh_graph):
    net = tflib.Network('V', LPIPS, **SMALL_VGG)
    values = randomize(net)
    images = random_images(4, 8)

    def conv(x, scope):
        padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], 'constant')
        kernel = values[scope + '/weight']
        out = sum(np.einsum('ncij,co->noij', padded[:, :, dy:dy + x.shape[2], dx:dx + x.shape[3]], kernel[dy, dx])
                  for dy in range(3) for dx in range(3))
        return np.maximum(out + values[scope + '/bias'].reshape(1, -1, 1, 1), 0)

    def features(x):
        mean, std = np.reshape([0.485, 0.456, 0.406], [3, 1, 1]), np.reshape([0.229, 0.224, 0.225], [3, 1, 1])
        first = conv((x / 255 - mean) / std, 'conv1_1')
        height, width = first.shape[2] // 2, first.shape[3] // 2
        pooled = first[:, :, :2 * height, :2 * width].reshape(len(x), -1, height, 2, width, 2).max(axis=(3, 5))
        return [first, conv(conv(pooled, 'conv2_1'), 'conv2_2')]

    expected = 0
    for number, (a, b) in enumerate(zip(features(images[:2]), features(images[2:])), 1):
        a, b = (x / (np.sqrt(np.sum(x * x, axis=1, keepdims=True)) + 1e-10) for x in (a, b))
        expected = expected + np.einsum('ncij,c->n', (a - b) ** 2, values[f'lin{number}/weight']) / a[0, 0].size
    np.testing.assert_allclose(net.run(images[:2], images[2:]), expected, rtol=1e-4)
    assert np.all(net.run(images, images) == 0)


def test_inception_resizes_any_size_by_the_first_tensorflow_convention(fresh_graph):
    net = tflib.Network('I', INCEPTION, width=1 / 16)
    randomize(net)
    size, out = 40, 299
    image = random_images(1, size)[:, :, :, :size]
    # Pixel i of the result lies at i * size / out of the source: top left corners coincide, no half-pixel offset.
    place = np.arange(out) * np.float32(size / out)
    low = np.floor(place).astype(int)
    high, share = np.minimum(low + 1, size - 1), (place - low).astype(np.float32)
    rows = image[:, :, low] * (1 - share)[:, np.newaxis] + image[:, :, high] * share[:, np.newaxis]
    resized = rows[..., low] * (1 - share) + rows[..., high] * share
    np.testing.assert_allclose(net.run(image), net.run(resized), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('func_name, kwargs', [(INCEPTION, dict(width=1 / 16)), (LPIPS, SMALL_VGG)])
def test_channels_first_layout_has_the_same_variables_and_shapes(fresh_graph, func_name, kwargs):
    """The NCHW path cannot run on every CPU; that it builds to the same shapes can be checked anywhere."""
    net = tflib.Network('N', func_name, **kwargs)
    images = [tf.ones([2, 3, 64, 64])] * net.num_inputs
    outputs = [net.get_output_for(*images, data_format=fmt) for fmt in ('NHWC', 'NCHW')]
    assert outputs[0].shape.as_list() == outputs[1].shape.as_list()
    try:
        first, second = tflib.run(outputs)
    except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError):
        return
    np.testing.assert_allclose(first, second, rtol=1e-4)


def renamed(values, prefix='v'):
    return [(f'{prefix}{index}', value) for index, value in enumerate(values.values())]


def test_weights_are_mapped_by_the_order_of_shapes_without_names(fresh_graph, tmp_path):
    net = tflib.Network('V', LPIPS)
    values = OrderedDict((name, np.zeros(shape, np.float32)) for name, shape in wanted_shapes(net).items())
    for number, (name, value) in enumerate(values.items()):
        value[...] = number if name.startswith('lin') else -number
    # As another framework would write them: names of its own, the linear weights as 1x1 kernels, and first.
    linear = [(f'L{name}', value.reshape(1, 1, -1, 1)) for name, value in values.items() if name.startswith('lin')]
    others = [(f'o{n}', value) for n, (name, value) in enumerate(values.items()) if not name.startswith('lin')]
    path = str(tmp_path / 'vgg.npz')
    np.savez(path, **OrderedDict(linear + others))
    loaded = released.perceptual(path)
    for name, value in values.items():
        np.testing.assert_array_equal(loaded.net.get_var(name), value, err_msg=name)
    assert loaded.record['verified'] is False and len(loaded.record['file_sha256']) == 64


def test_classifier_is_read_from_the_pickle_that_this_project_writes(fresh_graph, tmp_path):
    kwargs = dict(num_channels=3, resolution=16, fmap_base=32, fmap_max=4, label_size=0, mbstd_group_size=0)
    net = tflib.Network('C', 'training.networks_stylegan.D_basic', blur_filter=None, **kwargs)
    path = str(tmp_path / 'classifier.pkl')
    misc.save_pkl(net, path)
    loaded = released.classifier(1, path=path)
    assert loaded.net.static_kwargs['blur_filter'] is None
    images = np.random.RandomState(0).randn(2, 3, 16, 16)
    np.testing.assert_array_equal(net.run(images, None), loaded.net.run(images, None))


def test_mapping_refuses_a_file_that_does_not_fit_and_lists_what_it_holds():
    wanted = OrderedDict([('conv/weight', (3, 3, 3, 8)), ('conv/bias', (8,))])
    found = [('a', np.zeros([3, 3, 3, 8])), ('b', np.zeros([9]))]
    with pytest.raises(UserError, match=r'it needs 1 \(conv/bias\), the file has 0') as caught:
        mapping.map_by_shape(found, wanted, lambda name: name.split('/')[1], 'x.pkl')
    assert 'b  [9]' in str(caught.value)
    with pytest.raises(UserError, match='1 arrays of the file have no place'):
        mapping.map_by_shape(found + [('c', np.zeros([8]))], wanted, lambda name: name.split('/')[1], 'x.pkl')


def write_small_frozen_graph(path, values, scale_after):
    """Writes a graph in the form of TensorFlow's one of 2015, with a single convolution; `values` fills it."""
    with tf.Graph().as_default() as graph:
        pixels = tf.placeholder(tf.float32, [1, None, None, 3], name='ExpandDims')
        x = (tf.image.resize_bilinear(pixels, [299, 299]) - 128.0) * (1 / 128.0)
        x = tf.nn.conv2d(x, tf.constant(values['kernel'], name='conv/conv2d_params'), [1, 16, 16, 1], 'SAME',
                         name='conv/Conv2D')
        for part in ('moving_mean', 'moving_variance', 'beta', 'gamma'):
            tf.constant(values[part], name='conv/batchnorm/' + part)
        x = tf.nn.relu(tf.identity(x, name='conv/batchnorm'), name='conv')
        tf.nn.avg_pool(x, [1, 19, 19, 1], [1, 1, 1, 1], 'VALID', name='pool_3')
        definition = graph.as_graph_def()
    # The operation is too old to be made anew, but graphs from before its removal may still hold it.
    definition.versions.producer = 8
    node = next(node for node in definition.node if node.name == 'conv/batchnorm')
    node.op = 'BatchNormWithGlobalNormalization'
    node.input.extend('conv/batchnorm/' + part for part in ('moving_mean', 'moving_variance', 'beta', 'gamma'))
    node.attr['variance_epsilon'].f = 0.001
    node.attr['scale_after_normalization'].b = scale_after
    with open(path, 'wb') as file:
        file.write(definition.SerializeToString())


@pytest.mark.parametrize('scale_after', [False, True])
def test_frozen_graph_gives_its_weights_and_runs_as_it_is(fresh_graph, tmp_path, scale_after):
    rng = np.random.RandomState(0)
    values = dict(kernel=rng.randn(3, 3, 3, 5), moving_mean=rng.randn(5), moving_variance=rng.rand(5) + 0.5,
                  beta=rng.randn(5), gamma=rng.rand(5) + 0.5)
    path = str(tmp_path / 'graph.pb')
    write_small_frozen_graph(path, {key: np.float32(value) for key, value in values.items()}, scale_after)
    image = random_images(1, 299)[:, :, :, :299]
    found = OrderedDict(frozen_graph.read_weights(path))
    assert list(found) == ['conv/conv2d_params', 'conv/batchnorm/beta', 'conv/batchnorm/moving_mean',
                           'conv/batchnorm/moving_variance']
    kernel, beta, mean, variance = found.values()
    x = tf.transpose((tf.constant(image) - 128.0) / 128.0, [0, 2, 3, 1])
    x = (tf.nn.conv2d(x, kernel, [1, 16, 16, 1], 'SAME') - mean) / np.sqrt(variance + np.float32(0.001)) + beta
    expected = tf.reduce_mean(tf.nn.relu(x), axis=[1, 2])
    as_it_is, expected = tflib.run([frozen_graph.import_features(path, tf.constant(image)), expected])
    np.testing.assert_allclose(as_it_is, expected, rtol=1e-4)


@pytest.mark.slow
def test_whole_frozen_graph_agrees_with_the_network_that_takes_its_weights(fresh_graph, tmp_path, monkeypatch):
    from metrics.networks import check, inception_v3
    values = randomize(tflib.Network('I', INCEPTION))
    scopes = []

    class FrozenBuilder(inception_v3._Builder):
        def conv(self, x, scope, fmaps, kernel, stride=1, padding='SAME'):
            with tf.variable_scope(scope) as full:
                name = full.name
            scopes.append(name)
            with tf.name_scope(None):
                x = tf.nn.conv2d(x, tf.constant(values[name + '/conv2d_params'], name=name + '/conv2d_params'),
                                 [1, stride, stride, 1], padding, name=name + '/Conv2D')
                for part in ('beta', 'moving_mean', 'moving_variance'):
                    tf.constant(values[f'{name}/batchnorm/{part}'], name=f'{name}/batchnorm/{part}')
                tf.constant(np.ones([fmaps], np.float32), name=name + '/batchnorm/gamma')
                return tf.nn.relu(tf.identity(x, name=name + '/batchnorm'))

    with monkeypatch.context() as patch, tf.Graph().as_default() as graph:
        patch.setattr(inception_v3, '_Builder', FrozenBuilder)
        pixels = tf.placeholder(tf.float32, [1, None, None, 3], name='ExpandDims')
        features = inception_v3.inception_v3_features(tf.transpose(pixels, [0, 3, 1, 2]), data_format='NHWC')
        tf.reshape(features, [1, 1, 1, 2048], name='pool_3')
        definition = graph.as_graph_def()
    definition.versions.producer = 8
    for node in definition.node:
        node.attr.pop('explicit_paddings', None)  # unknown to graphs that old
        if node.op == 'Identity' and node.name.endswith('/batchnorm'):
            node.op = 'BatchNormWithGlobalNormalization'
            node.input.extend(f'{node.name}/{part}' for part in ('moving_mean', 'moving_variance', 'beta', 'gamma'))
            node.attr['variance_epsilon'].f = 0.001
            node.attr['scale_after_normalization'].b = False
    path = str(tmp_path / 'graph.pb')
    with open(path, 'wb') as file:
        file.write(definition.SerializeToString())
    monkeypatch.setattr(frozen_graph, 'OPERATIONS', frozen_graph.OPERATIONS | {'Transpose', 'Mean'})
    assert len(scopes) == 94
    assert check.compare(path, path, num_images=2) < check.TOLERANCE


def test_frozen_graph_with_other_operations_is_not_run(fresh_graph, tmp_path):
    with tf.Graph().as_default() as graph:
        tf.write_file('elsewhere', tf.constant('text'))
        definition = graph.as_graph_def()
    path = tmp_path / 'graph.pb'
    path.write_bytes(definition.SerializeToString())
    with pytest.raises(UserError, match='WriteFile'):
        frozen_graph.import_features(str(path), tf.ones([1, 3, 8, 8]))


def test_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / 'graph.pb'
    path.write_bytes(b'not a graph at all' * 100)
    with pytest.raises(UserError, match='graph'):
        frozen_graph.read_weights(str(path))
    with pytest.raises(UserError, match='cannot be read'):
        frozen_graph.read_weights(str(tmp_path / 'absent.pb'))


def test_released_networks_are_refused_for_other_choices_than_known():
    with pytest.raises(UserError, match='released or standin'):
        choose_source('automatic')
