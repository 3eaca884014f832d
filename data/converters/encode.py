"""`encode`: the codes of a data set's images, by the encoder of a trained codec ("An Acceleration Framework …")."""

import os

import numpy as np

from data.converters import exporter
from data.options import add_device, boolean, positive_int
from data.records.dataset import TFRecordDataset
from data.records.manifest import CODEC, read_manifest
from data.verify import has_labels
from dnnlib.progress import Progress
from dnnlib.util import UserError, sha256_file


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser(
        'encode', help="codes of a data set's images, for training on codes",
        description='Writes a data set of the codes that a codec (train.py --config codec-h4) makes of the images of '
        'another data set at its full resolution, in their order, with their labels. The codec is kept beside them.')
    parser.add_argument('dataset_dir', metavar='OUT', help='directory to make')
    parser.add_argument('source', metavar='DATASET_DIR', help='data set of images')
    parser.add_argument('--codec', metavar='NETWORK', required=True, help="the codec: a network pickle of its run")
    parser.add_argument('--dtype', choices=['float16', 'float32'], default='float16',
                        help='type of the records (default float16)')
    parser.add_argument('--mirror', type=boolean, default=False, metavar='0|1',
                        help='also the codes of all images flipped left to right, after the others (default 0)')
    parser.add_argument('--minibatch', type=positive_int, default=8, metavar='N',
                        help='images at a time, which memory grows with (default 8)')
    add_device(parser)
    parser.set_defaults(run=lambda args: encode(args.dataset_dir, args.source, args.codec, args.dtype, args.mirror,
                                                args.minibatch, args.device))


def encode(dataset_dir, source, codec, dtype='float16', mirror=False, minibatch=8, device='auto'):
    """Writes the codes of a data set's images. Raises UserError.

    dataset_dir: directory to make; source: directory of the images; codec: file of the networks (F, H, D); dtype: of
    the records; mirror: also encode mirrored copies; minibatch: images at a time.
    """
    from dnnlib import tflib
    from dnnlib.tflib import safe_pickle
    exporter.check_new(dataset_dir)
    images = TFRecordDataset(source, max_label_size='full' if has_labels(source) else 0, shuffle_mb=0, prefetch_mb=0)
    if not images.is_image:
        raise UserError(f"'{source}' holds samples of {images.shape} {images.dtype}; pictures are expected")
    if not os.path.isfile(codec):
        raise UserError(f"--codec: there is no file '{codec}'")
    states = safe_pickle.read_networks(codec)
    F = _encoder_state(states, codec, images)
    tflib.select_device(device)
    with tflib.tf.Graph().as_default(), tflib.create_session().as_default():
        network = safe_pickle.build_networks(states, codec)[0]
        scale = F.static_kwargs['downscale']
        shape = [network.output_shape[1]] + [side // scale for side in images.shape[1:]]
        total = len(images) * (2 if mirror else 1)
        with exporter.Exporter(dataset_dir, shape, dtype, forecast=total) as out, Progress('encode', total) as progress:
            for flip in ([False, True] if mirror else [False]):
                for codes in _codes(network, images, minibatch, flip):
                    out.add(exporter.encode(codes.astype(dtype)))
                    progress.add(len(codes))
            _describe(out, images, source, codec, F, dtype, mirror)
    print(f'{total} codes of {shape} {dtype} in {dataset_dir}', flush=True)


def _encoder_state(states, path, images):
    names = [state.build_func_name for state in states] if isinstance(states, tuple) else [states.build_func_name]
    if names[:2] != ['F_encoder', 'H_decoder']:
        raise UserError(f"{path} holds {', '.join(names)}; a codec is expected: the snapshot of a run such as "
                        '--config codec-h4')
    kwargs = states[0].static_kwargs
    channels, scale = kwargs.get('num_channels', 3), kwargs.get('downscale', 4)
    if channels != images.shape[0]:
        raise UserError(f'{path} encodes images of {channels} channel(s), the data set has {images.shape[0]}')
    if any(side % scale or side < scale for side in images.shape[1:]):
        raise UserError(f'{path} divides sides by {scale}, which does not divide the images of '
                        f'{images.shape[2]}x{images.shape[1]}')
    kwargs.setdefault('downscale', scale)
    return states[0]


def _codes(network, images, minibatch, flip):
    """Yields codes float32 [n, C, h, w] in order."""
    low, high = images.dynamic_range
    for start in range(0, len(images), minibatch):
        pixels, _ = images.get_samples_np(np.arange(start, min(start + minibatch, len(images))))
        if flip:
            pixels = pixels[..., ::-1]
        yield network.run(pixels.astype(np.float32) * np.float32(2.0 / (high - low)) - np.float32(
            1 + 2.0 * low / (high - low)))


def _describe(out, images, source, codec, F, dtype, mirror):
    if images.label_size:
        labels = images.get_labels_np(np.arange(len(images)))
        out.set_labels(np.concatenate([labels] * (2 if mirror else 1)), images.label_names)
    out.add_file(codec, CODEC)
    manifest = read_manifest(source)
    out.describe(
        command='encode', skipped=[], dynamic_range=[-1, 1],
        codec=dict(sha256=sha256_file(codec), downscale=F.static_kwargs['downscale']),
        source=dict(name=os.path.basename(os.path.abspath(source)), folder=os.path.abspath(source),
                    fingerprint=images.fingerprint, command=manifest.get('command'), num_images=len(images),
                    shape=images.shape),
        arguments=dict(source=os.path.abspath(source), codec=os.path.abspath(codec), dtype=dtype, mirror=bool(mirror)))
