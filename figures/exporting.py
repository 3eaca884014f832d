"""Generators for other programs: as a TensorFlow SavedModel or as an ONNX file, with mapping, truncation and synthesis.

What is exported takes latents, labels if the network has classes, and psi if it has a mean to move towards, and gives
images; noise is as stored. Weights are constants in it, and nothing of it is particular to a device.
"""

import collections
import errno
import os

import numpy as np

from dnnlib import registry
from dnnlib.command_line import Parser
from dnnlib.errors import UserError
from dnnlib.files import atomic_folder, atomic_path, check_elsewhere
from figures.arguments import number_of_layers

EXAMPLES = '''examples:
  ./reproduce export results/00003-demo demo-savedmodel
  ./reproduce export ffhq-1024 ffhq.onnx
'''
OPSET = 13              # of ONNX
TOLERANCE = 1e-4        # of the images' deviation, that ONNX Runtime's may be off
CHECKED = 3             # images
SUFFIX = '.onnx'

Frozen = collections.namedtuple('Frozen', 'graph_def inputs pictures images')
"""graph_def: of a graph without variables; inputs: {'latents', 'labels', 'psi': name of a tensor}, those that there
are; pictures: name of the images as uint8 [N, H, W, C]; images: as float32 [N, C, H, W] in [-1, 1]."""


def freeze(gen, cutoff=8):
    """The `Frozen` graph of a `figures.generator.Generator`, of which psi moves the first `cutoff` layers."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    graph = tf.get_default_graph()
    with tf.name_scope('Export'):
        inputs = collections.OrderedDict(latents=tf.placeholder(tf.float32, [None, gen.latent_size], 'latents'))
        if gen.label_size:
            inputs['labels'] = tf.placeholder(tf.float32, [None, gen.label_size], 'labels')
        if gen.is_style_based:
            inputs['psi'] = tf.placeholder(tf.float32, [], 'psi')
        # ONNX Runtime 1.10 stumbles over what an optimizer of its own makes of conditionals.
        images = tf.identity(gen.build_images(cutoff=cutoff, is_plain=True, **inputs), name='float_images')
        pictures = tf.identity(tflib.convert_images_to_uint8(images, nchw_to_nhwc=True), name='images')
    graph_def = tf.graph_util.convert_variables_to_constants(
        tf.get_default_session(), graph.as_graph_def(), [images.op.name, pictures.op.name])
    for node in graph_def.node:     # of these, readers elsewhere know nothing
        for attribute in ('_class', '_gradient_op_type'):
            if attribute in node.attr:
                del node.attr[attribute]
        node.device = ''
    return Frozen(graph_def, collections.OrderedDict((key, tensor.name) for key, tensor in inputs.items()),
                  pictures.name, images.name)


def write_saved_model(frozen, folder):
    """Stores a SavedModel in a folder, which appears whole or not at all; its signature is `serving_default`."""
    from dnnlib.tflib import tf
    with atomic_folder(folder) as temp, tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen.graph_def, name='')
        tensors = {key: graph.get_tensor_by_name(name) for key, name in frozen.inputs.items()}
        signature = tf.saved_model.predict_signature_def(tensors, {'images': graph.get_tensor_by_name(frozen.pictures)})
        with tf.Session(graph=graph) as session:
            target = os.path.join(temp, 'model')    # the builder makes its folder itself
            builder = tf.saved_model.Builder(target)
            builder.add_meta_graph_and_variables(session, [tf.saved_model.tag_constants.SERVING],
                                                 {'serving_default': signature})
            try:
                builder.save()
            except tf.errors.ResourceExhaustedError as err:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder) from err
            except tf.errors.OpError as err:
                raise UserError(f"'{folder}' cannot be written: {err.message}") from err
        for name in os.listdir(target):
            os.rename(os.path.join(target, name), os.path.join(temp, name))
        os.rmdir(target)


def write_onnx(frozen, path, gen, opset=OPSET):
    """Stores an ONNX file, once ONNX Runtime draws with it what the generator draws.

    Returns the largest difference, in deviations of the images. Raises UserError where packages are missing, the
    conversion fails, or the difference exceeds TOLERANCE.
    """
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as err:
        raise UserError(f'ONNX files need tf2onnx and onnxruntime, and there is no {err.name}: '
                        'make setup EXTRAS=export') from err
    from dnnlib.tflib import tf
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen.graph_def, name='')
        try:
            with tf.Session(graph=graph):
                converted = tf2onnx.tfonnx.process_tf_graph(
                    graph, opset=opset, input_names=list(frozen.inputs.values()),
                    output_names=[frozen.pictures, frozen.images])
            model = _named(tf2onnx.optimizer.optimize_graph(converted).make_model('generator'), frozen)
        except Exception as err:        # tf2onnx raises anything
            raise UserError(f'{path}: tf2onnx cannot convert this network: {type(err).__name__}: '
                            f'{" ".join(str(err).split())[:300]}') from err
    with atomic_path(path) as temp:
        with open(temp, 'wb') as file:
            file.write(model.SerializeToString())
        try:
            session = onnxruntime.InferenceSession(temp, providers=['CPUExecutionProvider'])
            difference = _difference(session, frozen, gen)
        except Exception as err:        # ONNX Runtime's have no common class
            raise UserError(f'{path}: ONNX Runtime cannot run what tf2onnx made of this network, so the file is not '
                            f'kept: {type(err).__name__}: {" ".join(str(err).split())[:300]}') from err
        if not difference <= TOLERANCE:
            raise UserError(f"{path}: ONNX Runtime's images are off by {difference:.2g} deviations, more than "
                            f'{TOLERANCE}, so the file is not kept')
    return difference


def _named(model, frozen):
    """The model with inputs and outputs of the short names."""
    names = {tensor: key for key, tensor in frozen.inputs.items()}
    names.update({frozen.pictures: 'images', frozen.images: 'float_images'})
    for value in list(model.graph.input) + list(model.graph.output):
        value.name = names[value.name]
    for node in model.graph.node:
        for places in (node.input, node.output):
            for index, name in enumerate(places):
                if name in names:
                    places[index] = names[name]
    return model


def trial(gen):
    """Arrays by input to check an export with, {'latents', 'labels', 'psi'}."""
    arrays = {'latents': gen.latents(1, CHECKED).astype(np.float32), 'psi': np.array(0.7, np.float32),
              'labels': np.eye(max(gen.label_size, 1), dtype=np.float32)[np.arange(CHECKED) % max(gen.label_size, 1)]}
    return arrays


def _difference(session, frozen, gen):
    from dnnlib import tflib
    arrays = {key: value for key, value in trial(gen).items() if key in frozen.inputs}
    found, = session.run(['float_images'], arrays)
    wanted = tflib.run(frozen.images, {frozen.inputs[key]: value for key, value in arrays.items()})
    return float(np.abs(found - wanted).max() / wanted.std())


def main(argv=None):
    """The command line; returns the exit status."""
    parser = Parser(
        prog='python -m dnnlib.tflib.export', epilog=EXAMPLES,
        description='Stores a generator as a TensorFlow SavedModel, or, where OUT ends in .onnx, as an ONNX file. '
        'It takes latents, labels if there are classes, and psi, and gives uint8 images; noise is as stored.')
    parser.add_argument('network', metavar='NETWORK', help='as --network of generate.py')
    parser.add_argument('out', metavar='OUT', help='a new folder, or a file that ends in .onnx')
    parser.add_argument('--cutoff', type=number_of_layers, default=8, metavar='INT',
                        help='layers that psi moves (default: 8)')
    parser.add_argument('--artifacts-dir', metavar='DIR', help='folder of released files that are here already')
    registry.add_option(parser)
    parser.add_argument('--trust-stored-code', action='store_true', help='execute the program text in the pickle where '
                        'its networks are not known here; only for files from people whom you trust')
    args = parser.parse_args(argv)
    check_elsewhere(args.out)
    if os.path.exists(args.out):
        raise UserError(f'{args.out}: exists already; name a new place')
    from figures import arguments
    # Built for the processor: what is inside is then in a layout that runs everywhere.
    args.device, args.minibatch = 'cpu', CHECKED
    arguments.find_network(args, option='NETWORK')
    gen, _ = arguments.open_generator(args)
    frozen = freeze(gen, args.cutoff)
    takes = ', '.join(frozen.inputs)
    if args.out.lower().endswith(SUFFIX):
        difference = write_onnx(frozen, args.out, gen)
        print(f'{args.out}: takes {takes}; gives images and float_images. ONNX Runtime is off by {difference:.1e} '
              'deviations')
    else:
        write_saved_model(frozen, args.out)
        print(f'{args.out}: a SavedModel whose signature serving_default takes {takes} and gives images')
    return 0
