"""TensorFlow's frozen Inception graph: its weights, and the graph run as it is.

Source: `inception-2015-12-05.tgz` of TensorFlow's image classification tutorial, which holds
`classify_image_graph_def.pb`. A GraphDef is a protocol buffer: parsing it executes nothing.
"""

import tarfile

import numpy as np

from dnnlib.tflib import tf
from dnnlib.util import UserError

MEMBER = 'classify_image_graph_def.pb'
MAX_BYTES = 256 << 20
_INPUT = 'ExpandDims'   # float RGB pixels 0...255, [1, H, W, 3], before the resize to 299
_OUTPUT = 'pool_3'      # [N, 1, 1, 2048]
_OPERATIONS = {'Const', 'Identity', 'CheckNumerics', 'Conv2D', 'BatchNormWithGlobalNormalization', 'Relu', 'MaxPool',
               'AvgPool', 'Concat', 'ConcatV2', 'Sub', 'Mul', 'ResizeBilinear', 'ExpandDims', 'Cast', 'DecodeJpeg',
               'Reshape', 'MatMul', 'BiasAdd', 'Add', 'Softmax', 'Placeholder', 'NoOp'}


def read_graph(path):
    """The GraphDef in a `.pb` file, or in the `.tgz` that it is published in. Raises UserError."""
    try:
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                member = next((m for m in archive.getmembers() if m.isfile() and m.name.split('/')[-1] == MEMBER), None)
                if member is None or member.size > MAX_BYTES:
                    raise UserError(f'{path}: the archive holds no {MEMBER}; get inception-2015-12-05.tgz again')
                data = archive.extractfile(member).read()
        else:
            with open(path, 'rb') as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, tarfile.TarError, EOFError) as err:
        raise UserError(f'{path}: cannot be read: {err}') from err
    graph = tf.GraphDef()
    try:
        graph.ParseFromString(data)
    except Exception as err:  # protobuf's DecodeError has no stable import path over its versions
        raise UserError(f'{path}: not a TensorFlow graph ({type(err).__name__}); a {MEMBER} is expected') from err
    if not graph.node:
        raise UserError(f'{path}: holds no graph; a {MEMBER} is expected')
    return graph


def read_weights(path):
    """[(name, array), ...] of the convolutions and batch normalisations, in the graph's order.

    Where batch normalisation scales by gamma after normalising, gamma is folded into kernels and means.
    """
    graph = read_graph(path)
    constants = {node.name: node for node in graph.node if node.op == 'Const'}
    found = []

    def value(name):
        return tf.make_ndarray(constants[name.split(':')[0]].attr['value'].tensor)

    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        if node.op != 'BatchNormWithGlobalNormalization':
            continue
        conv, mean, variance, beta, gamma = (name.split(':')[0] for name in node.input)
        kernel_name = nodes[conv].input[1] if conv in nodes and nodes[conv].op == 'Conv2D' else None
        if kernel_name is None or not {kernel_name.split(':')[0], mean, variance, beta} <= set(constants):
            raise UserError(f"{path}: batch normalisation '{node.name}' does not follow a convolution with constants; "
                            'this is another graph than that of 2015-12-05')
        scope = kernel_name.rsplit('/', 1)[0]
        kernel, mean, variance, beta = value(kernel_name), value(mean), value(variance), value(beta)
        if node.attr['scale_after_normalization'].b:
            kernel, mean = kernel * value(gamma), mean * value(gamma)
        if abs(node.attr['variance_epsilon'].f - 0.001) > 1e-6:
            raise UserError(f"{path}: batch normalisation '{node.name}' has another epsilon than 0.001")
        found += [(f'{scope}/conv2d_params', kernel), (f'{scope}/batchnorm/beta', beta),
                  (f'{scope}/batchnorm/moving_mean', mean), (f'{scope}/batchnorm/moving_variance', variance)]
    if not found:
        raise UserError(f'{path}: holds no convolutions with batch normalisation; a {MEMBER} is expected')
    return found


def import_features(path, images):
    """Runs the graph as it is on images [1, 3, H, W] with values 0...255 in the current graph; features [1, 2048].

    One image at a time: the graph's own resize starts from a single one. Raises UserError for a graph with operations
    other than those of an image classifier, since a graph could also write files.
    """
    graph = read_graph(path)
    others = sorted({node.op for node in graph.node} - _OPERATIONS)
    if others:
        raise UserError(f"{path}: the graph has operations that an image classifier does not need "
                        f"({', '.join(others)}) and is not run")
    pixels = tf.transpose(tf.cast(images, tf.float32), [0, 2, 3, 1])
    output, = tf.import_graph_def(graph, input_map={f'{_INPUT}:0': pixels}, return_elements=[f'{_OUTPUT}:0'],
                                  name='FrozenInception')
    return tf.reshape(output, [-1, int(np.prod(output.shape.as_list()[1:]))])
