"""`encode`: the codes of a data set's images, by the encoder of a trained codec ("An Acceleration Framework …")."""

import os

import numpy as np

from data.converters import exporter
from data.options import add_device, boolean, positive_int
from data.records.codec import find_codec, load_codec, minibatch_for, scale_of
from data.records.dataset import TFRecordDataset
from data.records.manifest import CODEC, read_manifest
from data.verify import has_labels
from dnnlib import registry
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
    parser.add_argument('--codec', metavar='NETWORK', required=True,
                        help="the codec: its run's directory, or a snapshot of it")
    parser.add_argument('--dtype', choices=['float16', 'float32'], default='float16',
                        help='type of the records (default float16)')
    parser.add_argument('--mirror', type=boolean, default=False, metavar='0|1',
                        help='also the codes of all images flipped left to right, after the others (default 0)')
    parser.add_argument('--minibatch', type=positive_int, metavar='N',
                        help='images at a time, which memory grows with (default 8 of 256x256, 1 of 1024x1024)')
    add_device(parser)
    registry.add_option(parser)
    parser.set_defaults(run=_run)


def _run(args):
    registry.allow_modules(args)
    encode(args.dataset_dir, args.source, args.codec, args.dtype, args.mirror, args.minibatch, args.device)


def encode(dataset_dir, source, codec, dtype='float16', mirror=False, minibatch=None, device='auto'):
    """Writes the codes of a data set's images. Raises UserError.

    dataset_dir: directory to make; source: directory of the images; codec: file of the networks (F, H, D), or the
    directory of the run that made them; dtype: of the records; mirror: also encode mirrored copies; minibatch: images
    at a time, None: as many as `minibatch_for` says.
    """
    from dnnlib import tflib
    from dnnlib.tflib import safe_pickle
    exporter.check_new(dataset_dir)
    images = TFRecordDataset(source, max_label_size='full' if has_labels(source) else 0, shuffle_mb=0, prefetch_mb=0)
    if not images.is_image:
        raise UserError(f"'{source}' holds samples of {images.shape} {images.dtype}; pictures are expected")
    codec = find_codec(codec)
    states = load_codec(codec)
    _check_fit(states[0], codec, images)
    tflib.select_device(device)
    with tflib.tf.Graph().as_default(), tflib.create_session().as_default():
        network = safe_pickle.build_networks(states, codec)[0]
        scale = scale_of(states[0])
        shape = [network.output_shape[1]] + [side // scale for side in images.shape[1:]]
        total = len(images) * (2 if mirror else 1)
        with exporter.Exporter(dataset_dir, shape, dtype, forecast=total) as out, Progress('encode', total) as progress:
            for flip in ([False, True] if mirror else [False]):
                for count in write_codes(out, network, images, dtype, minibatch or minibatch_for(images.resolution),
                                         flip):
                    progress.add(count)
            _describe(out, images, source, codec, scale, dtype, mirror)
    print(f'{total} codes of {shape} {dtype} in {dataset_dir}', flush=True)


def _check_fit(F, path, images):
    channels, scale = F.static_kwargs.get('num_channels', 3), scale_of(F)
    if channels != images.shape[0]:
        raise UserError(f'{path} encodes images of {channels} channel(s), the data set has {images.shape[0]}')
    if any(side % scale for side in images.shape[1:]):
        raise UserError(f'{path} divides sides by {scale}, which does not divide the images of '
                        f'{images.shape[2]}x{images.shape[1]}')


def write_codes(out, F, images, dtype, minibatch, flip=False):
    """Adds the codes of all images, of their mirrored copies with `flip`, to an `Exporter`, minibatch by minibatch.

    Yields the number of images after each.
    """
    low, high = images.dynamic_range
    scale, shift = np.float32(2.0 / (high - low)), np.float32(1 + 2.0 * low / (high - low))
    for start in range(0, len(images), minibatch):
        pixels, _ = images.get_samples_np(np.arange(start, min(start + minibatch, len(images))))
        if flip:
            pixels = pixels[..., ::-1]
        out.add(exporter.encode(F.run(pixels.astype(np.float32) * scale - shift).astype(dtype)))
        yield len(pixels)


def _describe(out, images, source, codec, scale, dtype, mirror):
    if images.label_size:
        labels = images.get_labels_np(np.arange(len(images)))
        out.set_labels(np.concatenate([labels] * (2 if mirror else 1)), images.label_names)
    out.add_file(codec, CODEC)
    manifest = read_manifest(source)
    out.describe(
        command='encode', skipped=[], dynamic_range=[-1, 1],
        codec=dict(sha256=sha256_file(codec), downscale=scale),
        source=dict(name=os.path.basename(os.path.abspath(source)), folder=os.path.abspath(source),
                    fingerprint=images.fingerprint, command=manifest.get('command'), num_images=len(images),
                    shape=images.shape),
        arguments=dict(source=os.path.abspath(source), codec=os.path.abspath(codec), dtype=dtype, mirror=bool(mirror)))
