"""Networks that turn a face into a vector that tells persons apart, as somebody's files have them.

A file of the user's is an ONNX model or a frozen TensorFlow graph; both are read as data, and of a graph only
operations of image networks are run. For drawn faces there is a small network of this project's own.
"""

import os
from collections import OrderedDict

import numpy as np
import PIL.Image

from dnnlib import tflib
from dnnlib.array_files import read_npz
from dnnlib.files import read_json, sha256_file
from dnnlib.tflib import tf
from dnnlib.util import UserError
from metrics.networks import frozen_graph, standin, weights

STANDIN_WEIGHTS = os.path.join(standin.FOLDER, 'identity.npz')
STANDIN_RECORD = os.path.join(standin.FOLDER, 'identity.json')
STANDIN = dict(func_name='metrics.networks.standin.standin_features', num_features=32, reduction='area')
_LARGEST_INPUT = 1024
_OPERATIONS = frozen_graph.OPERATIONS | {
    'AddV2', 'All', 'BatchToSpaceND', 'BroadcastTo', 'Const', 'DepthwiseConv2dNative', 'Div', 'Elu', 'ExpandDims',
    'Fill', 'FusedBatchNorm', 'FusedBatchNormV3', 'GatherV2', 'LeakyRelu', 'Max', 'Maximum', 'Mean', 'Min',
    'Minimum', 'MirrorPad', 'Neg', 'Pack', 'Pad', 'PadV2', 'Prod', 'RealDiv', 'Relu6', 'Rsqrt', 'Shape', 'Sigmoid',
    'Slice', 'SpaceToBatchND', 'Sqrt', 'Square', 'Squeeze', 'StridedSlice', 'Sum', 'Tanh', 'Transpose'}


class Embedding:
    """A network that embeds faces.

    Attributes:
        record: what it is, for records: name, is_standin, file, file_sha256, input, range.
    """

    def __init__(self, record, size, run, value_range=None):
        self.record = OrderedDict(record, size=size, range=value_range)
        self._size, self._run, self._range = size, run, value_range

    def __call__(self, images):
        """Vectors of length 1, float32 [N, D], of images uint8 [N, C, H, W] with 1 or 3 channels."""
        images = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
        if self._size is not None and images.shape[2:] != tuple(self._size):
            images = np.stack([np.asarray(PIL.Image.fromarray(image.transpose(1, 2, 0)).resize(
                self._size[::-1], PIL.Image.BILINEAR)).transpose(2, 0, 1) for image in images])
        values = images.astype(np.float32)
        if self._range is not None:
            low, high = self._range
            values = values * ((high - low) / 255.0) + low
        found = np.asarray(self._run(values.astype(np.float32)), np.float32).reshape([len(images), -1])
        if not np.all(np.isfinite(found)):
            raise UserError(f"{self.record['file']} gives NaN or infinite values")
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def open_embedding(path=None, value_range=(-1.0, 1.0), is_drawn=False):
    """The embedding network in a file, or for drawn faces without one the stand-in; to be used in the current session.

    Args:
        path: an ONNX model (`.onnx`) or a frozen graph (`.pb`) with one input of images and one output.
        value_range: what the network of a file wants pixels 0 and 255 to be.
        is_drawn: whether the faces are drawn by this project.

    Raises UserError.
    """
    if path is None:
        if not is_drawn:
            raise UserError('telling persons apart needs an embedding network: name an ONNX model or a frozen graph '
                            'with --embedding FILE; the stand-in of this project knows drawn faces only')
        return _standin()
    if not os.path.isfile(path):
        raise UserError(f"there is no embedding network '{path}'")
    record = OrderedDict(name='embedding network', is_standin=False, file=os.path.basename(path),
                         file_sha256=sha256_file(path))
    opened = {'.onnx': _open_onnx, '.pb': _open_frozen}.get(os.path.splitext(path)[1].lower())
    if opened is None:
        raise UserError(f'{path}: an embedding network is an ONNX model (.onnx) or a frozen graph (.pb)')
    size, run = opened(path)

    def run_or_tell(images):
        try:
            return run(images)
        except Exception as err:  # what the file's own mistakes come to when it is run is of every kind, too
            raise UserError(f'{path} cannot be run on images of {images.shape[3]}x{images.shape[2]} '
                            f'({type(err).__name__}: {" ".join(str(err).split())[:300]})') from err
    return Embedding(record, size, run_or_tell, [float(value) for value in value_range])


def _standin():
    record = read_json(STANDIN_RECORD, 'the record of the stand-in that tells persons apart')
    kwargs = {key: value for key, value in STANDIN.items() if key != 'func_name'}
    net = weights.build('standin_identity', STANDIN['func_name'], kwargs, STANDIN_RECORD)
    weights.set_values(net, read_npz(STANDIN_WEIGHTS), STANDIN_WEIGHTS)
    return Embedding(OrderedDict(
        name="this project's stand-in, which tells drawn persons apart", is_standin=True,
        file=os.path.basename(STANDIN_WEIGHTS), file_sha256=sha256_file(STANDIN_WEIGHTS),
        reduction=STANDIN['reduction'], trained_on=record.get('dataset')),
        None, lambda images: net.run(images, minibatch_size=64))


def _image_layout(shape, path):
    """((height, width) or None where it is free, whether channels come last) of an input's shape. Raises UserError."""
    shape = [side if isinstance(side, int) and side > 0 else None for side in shape]
    channels_last = len(shape) == 4 and shape[3] == 3
    if len(shape) != 4 or not channels_last and shape[1] != 3:
        raise UserError(f'{path}: its input is of shape {shape}; RGB images, [N, 3, H, W] or [N, H, W, 3], are '
                        'expected')
    size = shape[1:3] if channels_last else shape[2:4]
    if None in size:
        return None, channels_last
    if max(size) > _LARGEST_INPUT:
        raise UserError(f'{path}: its input is {size[1]}x{size[0]}, which is absurdly large')
    return list(size), channels_last


def _open_onnx(path):
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f'{path}: running an ONNX model needs the package onnxruntime; install the extra packages '
                        'with: make setup EXTRAS=export') from None
    try:
        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    except Exception as err:  # the library has exceptions of its own for every kind of damage
        raise UserError(f'{path}: not a usable ONNX model ({str(err)[:200]})') from err
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) < 1:
        raise UserError(f'{path}: {len(inputs)} inputs and {len(outputs)} outputs; one of each is expected')
    size, channels_last = _image_layout(inputs[0].shape, path)
    fixed = inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) and inputs[0].shape[0] > 0 else None

    def run(images):
        count, images = len(images), images.transpose(0, 2, 3, 1) if channels_last else images
        if fixed is not None:   # the model takes so many at a time, no more and no fewer
            images = np.concatenate([images, np.repeat(images[-1:], -count % fixed, axis=0)])
        parts = [images] if fixed is None else np.split(images, len(images) // fixed)
        return np.concatenate([session.run([outputs[0].name], {inputs[0].name: part})[0] for part in parts])[:count]
    return size, run


def _open_frozen(path):
    graph = frozen_graph.read_graph(path, 'the frozen graph of an embedding network')
    frozen_graph.check_operations(graph, _OPERATIONS, path)
    inputs = [node for node in graph.node if node.op == 'Placeholder']
    used = {name.lstrip('^').split(':')[0] for node in graph.node for name in node.input}
    outputs = [node.name for node in graph.node if node.name not in used and node.op not in ('NoOp', 'Const',
                                                                                            'Placeholder')]
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f'{path}: {len(inputs)} placeholders and {len(outputs)} outputs; one of each is expected')
    size, channels_last = _image_layout([dim.size for dim in inputs[0].attr['shape'].shape.dim], path)
    with tf.device(tflib.device_name(0)):
        images = tf.placeholder(tf.float32, [None, 3, None, None] if size is None else [None, 3] + size)
        fed = tf.transpose(images, [0, 2, 3, 1]) if channels_last else images
        try:
            output, = tf.import_graph_def(graph, input_map={inputs[0].name + ':0': fed},
                                          return_elements=[outputs[0] + ':0'], name='FrozenEmbedding')
        except Exception as err:  # the graph's own mistakes are of every kind that TensorFlow knows
            raise UserError(f'{path}: the graph cannot be used ({type(err).__name__}: {str(err)[:300]})') from err
    return size, lambda values: tflib.run(output, {images: values})
