"""TensorFlow's frozen Inception graph: its weights, and the graph run as it is.

Source: `inception-2015-12-05.tgz` of TensorFlow's image classification tutorial, which holds
`classify_image_graph_def.pb`. A GraphDef is a protocol buffer: parsing it executes nothing.
"""

import tarfile

import numpy as np

from dnnlib import content
from dnnlib.files import open_regular
from dnnlib.tflib import tf
from dnnlib.util import UserError

MEMBER = 'classify_image_graph_def.pb'
MAX_BYTES = 256 << 20
_MAX_UNPACKED = 1 << 30     # of the archive up to the end of that member
_MAX_MEMBERS = 1000
_MAX_NODES = 20000
_LARGEST_ARRAY = 1 << 24    # numbers; the graph of 2015 has arrays of at most 2 million
_LARGEST_INTEGER = 1 << 14  # sizes, axes and shapes within the graph
_INPUT = 'ExpandDims'   # float RGB pixels 0...255, [1, H, W, 3], before the resize to 299
_OUTPUT = 'pool_3'      # [N, 1, 1, 2048]
OPERATIONS = {'Const', 'Identity', 'CheckNumerics', 'Conv2D', 'BatchNormWithGlobalNormalization', 'Relu', 'MaxPool',
               'AvgPool', 'Concat', 'ConcatV2', 'Sub', 'Mul', 'ResizeBilinear', 'ExpandDims', 'Cast', 'DecodeJpeg',
               'Reshape', 'MatMul', 'BiasAdd', 'Add', 'Softmax', 'Placeholder', 'NoOp'}
_WINDOWS = ('ksize', 'strides', 'dilations')


def read_graph(path, expected='a ' + MEMBER):
    """The GraphDef in a `.pb` file, or in the `.tgz` that it is published in. `expected`: what sentences call it.

    Raises UserError.
    """
    try:
        with open_regular(path) as file:
            head = file.read(2)
            size = file.seek(0, 2)
            file.seek(0)
            if size > MAX_BYTES:
                raise UserError(f'{path}: more than {MAX_BYTES >> 20} MiB, where {expected} is expected')
            if head == b'\x1f\x8b':
                content.check(path, path)  # to the checksum at its end
                data = _unpack(file, path)
            else:
                data = file.read()
    except UserError:
        raise
    except Exception as err:  # damage raises all that the libraries for archives know
        reason = str(err)[:200] or type(err).__name__
        raise UserError(f'{path}: cannot be read: {reason}') from err
    graph = tf.GraphDef()
    try:
        graph.ParseFromString(data)
    except Exception as err:  # protobuf's DecodeError has no stable import path over its versions
        raise UserError(f'{path}: not a TensorFlow graph ({type(err).__name__}); {expected} is expected') from err
    if not graph.node:
        raise UserError(f'{path}: holds no graph; {expected} is expected')
    if len(graph.node) > _MAX_NODES or len({node.name for node in graph.node}) != len(graph.node):
        raise UserError(f'{path}: a graph with {len(graph.node)} nodes, some of one name or far too many, where '
                        f'{expected} is expected')
    return graph


def _unpack(file, path):
    """The member's bytes, from an archive that is read no further than it must be."""
    with tarfile.open(fileobj=file, mode='r:gz') as archive:
        for _ in range(_MAX_MEMBERS):
            member = archive.next()
            if member is None or member.size < 0 or archive.offset > _MAX_UNPACKED:
                break
            if member.isreg() and not member.issparse() and member.name.split('/')[-1] == MEMBER:
                if member.size > MAX_BYTES:
                    break
                return archive.extractfile(member).read()
    raise UserError(f'{path}: the archive holds no {MEMBER} of a believable size; get inception-2015-12-05.tgz again')


def read_weights(path):
    """[(name, array), ...] of the convolutions and batch normalisations, in the graph's order.

    Where batch normalisation scales by gamma after normalising, gamma is folded into kernels and means. Raises
    UserError.
    """
    graph = read_graph(path)
    nodes = {node.name: node for node in graph.node}
    found = []

    def value(name, dims):
        return _array(nodes.get(name.split(':')[0]), dims, path)

    for node in graph.node:
        if node.op != 'BatchNormWithGlobalNormalization':
            continue
        parts = [name.split(':')[0] for name in node.input]
        conv = nodes.get(parts[0]) if len(parts) == 5 else None
        if conv is None or conv.op != 'Conv2D' or len(conv.input) != 2:
            raise UserError(f"{path}: batch normalisation '{node.name[:100]}' does not follow a convolution; this is "
                            'another graph than that of 2015-12-05')
        kernel_name = conv.input[1].split(':')[0]
        scope = kernel_name.rsplit('/', 1)[0]
        kernel, mean, variance, beta = value(kernel_name, 4), *(value(name, 1) for name in parts[1:4])
        if not kernel.shape[3] == len(mean) == len(variance) == len(beta):
            raise UserError(f"{path}: batch normalisation '{node.name[:100]}' does not fit its convolution")
        if node.attr['scale_after_normalization'].b:
            gamma = value(parts[4], 1)
            if len(gamma) != len(mean):
                raise UserError(f"{path}: batch normalisation '{node.name[:100]}' does not fit its convolution")
            kernel, mean = kernel * gamma, mean * gamma
        if not abs(node.attr['variance_epsilon'].f - 0.001) < 1e-6:
            raise UserError(f"{path}: batch normalisation '{node.name[:100]}' has another epsilon than 0.001")
        found += [(f'{scope}/conv2d_params', kernel), (f'{scope}/batchnorm/beta', beta),
                  (f'{scope}/batchnorm/moving_mean', mean), (f'{scope}/batchnorm/moving_variance', variance)]
    if not found:
        raise UserError(f'{path}: holds no convolutions with batch normalisation; a {MEMBER} is expected')
    return found


def _array(node, dims, path):
    """The float32 array [.., of `dims` dimensions] that a constant holds. Raises UserError.

    A constant may declare any size and hold a single number for it, so what it declares is not believed.
    """
    problem = 'is no constant' if node is None or node.op != 'Const' else _problem(node)
    if not problem and len(node.attr['value'].tensor.tensor_shape.dim) != dims:
        problem = f'is not of {dims} dimensions'
    if not problem and node.attr['value'].tensor.dtype != tf.float32.as_datatype_enum:
        problem = 'is not of type float32'
    if problem:
        name = node.name[:100] if node is not None else '?'
        raise UserError(f"{path}: the array '{name}' {problem}; this is another graph than that of 2015-12-05")
    return tf.make_ndarray(node.attr['value'].tensor)


def _problem(node):
    """What is wrong with a constant of numbers; '' if it declares no more than it holds."""
    tensor = node.attr['value'].tensor
    dtype = tf.as_dtype(tensor.dtype) if tensor.dtype in (1, 2, 3, 4, 5, 6, 9, 10) else None
    if dtype is None:
        return 'is not of a type of plain numbers'
    count = 1
    for dim in tensor.tensor_shape.dim:
        if dim.size < 1:
            return 'has a dimension without a size'
        count *= dim.size
    if tensor.tensor_shape.unknown_rank or count > _LARGEST_ARRAY:
        return 'declares an absurd size'
    size = len(tensor.tensor_content)
    stored = max(len(getattr(tensor, field)) for field in ('float_val', 'double_val', 'int_val', 'int64_val',
                                                           'bool_val'))
    if size and size != count * dtype.size or not size and stored != count and not (stored == 1 and count <= 1 << 16):
        return f'declares {count} numbers and holds others'
    return ''


def import_features(path, images):
    """Runs the graph as it is on images [1, 3, H, W] with values 0...255 in the current graph; features [1, 2048].

    One image at a time: the graph's own resize starts from a single one. Raises UserError for a graph with operations
    other than those of an image classifier, since a graph could also write files, or with absurd sizes.
    """
    graph = read_graph(path)
    check_operations(graph, OPERATIONS, path)
    pixels = tf.transpose(tf.cast(images, tf.float32), [0, 2, 3, 1])
    try:
        output, = tf.import_graph_def(graph, input_map={f'{_INPUT}:0': pixels}, return_elements=[f'{_OUTPUT}:0'],
                                      name='FrozenInception')
        return tf.reshape(output, [-1, int(np.prod(output.shape.as_list()[1:]))])
    except Exception as err:  # the graph's own mistakes are of every kind that TensorFlow knows
        raise UserError(f"{path}: the graph does not lead from '{_INPUT}' to '{_OUTPUT}' "
                        f'({type(err).__name__}: {str(err)[:300]})') from err


def check_operations(graph, operations, path):
    """Raises UserError for a graph with other operations, or with absurd sizes."""
    others = sorted({node.op for node in graph.node} - operations)
    if others or graph.library.function:
        raise UserError(f"{path}: the graph has operations that an image classifier does not need "
                        f"({', '.join(others)[:300] or 'functions of its own'}) and is not run")
    for node in graph.node:
        _check_runnable(node, path)


def _check_runnable(node, path):
    """Raises UserError for constants and windows with which an operation would take absurd memory, or crash."""
    problem = ''
    tensor = node.attr['value'].tensor if node.op == 'Const' else None
    if tensor is not None and tensor.dtype != tf.string.as_datatype_enum:
        problem = _problem(node)
        if not problem and tf.as_dtype(tensor.dtype).is_integer \
                and np.abs(tf.make_ndarray(tensor).astype(np.int64)).max() > _LARGEST_INTEGER:
            problem = 'holds an absurd size'
    for key in _WINDOWS:
        if key in node.attr and not all(1 <= size <= 1000 for size in node.attr[key].list.i):
            problem = f'has absurd {key}'
    if problem:
        raise UserError(f"{path}: '{node.name[:100]}' {problem}; the graph is not run")
