"""`encode`: the codes of a data set's images, by the encoder of a trained codec ("An Acceleration Framework …")."""

import os

import numpy as np

from data.addresses import staged
from data.cluster.engine import add_cluster, open_cluster
from data.cluster.parts import fill
from data.converters import exporter
from data.options import add_device, boolean, positive_int
from data.records.codec import find_codec, load_codec, minibatch_for, scale_of
from data.records.dataset import TFRecordDataset
from data.records.manifest import CODEC, read_manifest
from data.verify import has_labels
from dnnlib import registry
from dnnlib.progress import Progress
from dnnlib.util import UserError, sha256_file

# On a cluster:
_PIXELS_OF_A_TASK = 2 ** 21  # at most, but for a minibatch
_TASKS_OF_A_WORKER = 3       # at least
_ONE_THREAD = {'intra_op_parallelism_threads': 1, 'inter_op_parallelism_threads': 1}


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
    add_cluster(parser)
    parser.set_defaults(run=_run)


def _run(args):
    if args.cluster is not None and args.allow_module:
        raise UserError('--allow-module and --cluster do not go together: workers load only networks of this project')
    registry.allow_modules(args)
    with open_cluster(args) as cluster, staged(args, ['source'], ['dataset_dir']) as args:
        encode(args.dataset_dir, args.source, args.codec, args.dtype, args.mirror, args.minibatch, args.device, cluster)


def encode(dataset_dir, source, codec, dtype='float16', mirror=False, minibatch=None, device='auto', cluster=None):
    """Writes the codes of a data set's images. Raises UserError.

    dataset_dir: directory to make; source: directory of the images; codec: file of the networks (F, H, D), or the
    directory of the run that made them; dtype: of the records; mirror: also encode mirrored copies; minibatch: images
    at a time, None: as many as `minibatch_for` says; cluster: `Cluster` whose workers do it.
    """
    exporter.check_new(dataset_dir)
    source = os.path.abspath(source)
    images = TFRecordDataset(source, max_label_size='full' if has_labels(source) else 0, shuffle_mb=0, prefetch_mb=0)
    if not images.is_image:
        raise UserError(f"'{source}' holds samples of {images.shape} {images.dtype}; pictures are expected")
    codec = os.path.abspath(find_codec(codec))
    digest = sha256_file(codec)
    states = load_codec(codec)
    _check_fit(states[0], codec, images)
    scale = scale_of(states[0])
    shape = [states[0].static_kwargs.get('code_channels', 16)] + [side // scale for side in images.shape[1:]]
    total = len(images) * (2 if mirror else 1)
    minibatch = minibatch or minibatch_for(images.resolution)
    with exporter.Exporter(dataset_dir, shape, dtype, forecast=total) as out, Progress('encode', total) as progress:
        if cluster is None:
            encoder = _Encoder(codec, device)
            for flip, start, end in _portions(len(images), minibatch, mirror):
                out.add(exporter.encode(encoder.encode(images, start, end, dtype, flip)))
                progress.add(end - start)
        else:
            for digests, records in fill(cluster, _OnCluster(source, codec, dtype, minibatch, device),
                                         _portions(len(images), _task_size(images, minibatch, cluster), mirror),
                                         out.parts_folder()):
                out.add(([records], digests))
                progress.add(len(digests))
        _describe(out, images, source, codec, digest, scale, dtype, mirror)
    print(f'{total} codes of {shape} {dtype} in {dataset_dir}', flush=True)


class _Encoder:
    """The encoder of a codec in a session of its own, which may be used in any thread. See `load_codec`.

    is_one_of_many: other processes of this machine do the same, so that one thread must do.
    """

    def __init__(self, codec, device, is_one_of_many=False):
        from dnnlib import tflib
        from dnnlib.tflib import safe_pickle
        tflib.select_device(device)
        self._graph = tflib.tf.Graph()
        with self._graph.as_default():
            self._session = tflib.create_session(_ONE_THREAD if is_one_of_many else None)
            with self._session.as_default():
                self._network = safe_pickle.build_networks(load_codec(codec), codec)[0]

    def encode(self, images, first, end, dtype, flip):
        """See `codes_of`."""
        with self._graph.as_default(), self._session.as_default():
            return codes_of(self._network, images, first, end, dtype, flip)


def codes_of(F, images, first, end, dtype, flip=False):
    """The codes [N, channels, h, w] of images `first`…`end`−1 of a data set; with `flip` of their mirrored copies."""
    low, high = images.dynamic_range
    scale, shift = np.float32(2.0 / (high - low)), np.float32(1 + 2.0 * low / (high - low))
    pixels, _ = images.get_samples_np(np.arange(first, end))
    if flip:
        pixels = pixels[..., ::-1]
    return F.run(pixels.astype(np.float32) * scale - shift).astype(dtype)


def _portions(count, size, mirror):
    """What is encoded at a time: (whether mirrored, first, last + 1) of the images."""
    return [(flip, start, min(start + size, count)) for flip in ([False, True] if mirror else [False])
            for start in range(0, count, size)]


def _task_size(images, minibatch, cluster):
    """How many images a worker of a cluster gets at a time: whole minibatches, whose codes do not depend on it."""
    share = len(images) // (_TASKS_OF_A_WORKER * cluster.num_workers)
    return max(1, min(share, _PIXELS_OF_A_TASK // images.resolution ** 2) // minibatch) * minibatch


class _OnCluster:
    """Encodes portions in a worker process of a cluster: makes the blocks of a `Part`."""

    def __init__(self, source, codec, dtype, minibatch, device):
        self._source, self._codec, self._dtype, self._minibatch = source, codec, dtype, minibatch
        self._device = device
        self._images = self._encoder = None

    def __call__(self, task, attempt, memory):
        flip, start, end = task
        if self._encoder is None:
            self._images = TFRecordDataset(self._source, shuffle_mb=0, prefetch_mb=0)
            self._encoder = _Encoder(self._codec, self._device, is_one_of_many=True)
        codes = []
        for first in range(start, end, self._minibatch):
            if not attempt.begin(first):
                raise UserError(f'image {first} of {self._source}, or one after it, ended every worker that encoded it')
            last = min(first + self._minibatch, end)
            codes.append(self._encoder.encode(self._images, first, last, self._dtype, flip))
        return exporter.encode(np.concatenate(codes))


def _check_fit(F, path, images):
    channels, scale = F.static_kwargs.get('num_channels', 3), scale_of(F)
    if channels != images.shape[0]:
        raise UserError(f'{path} encodes images of {channels} channel(s), the data set has {images.shape[0]}')
    if any(side % scale for side in images.shape[1:]):
        raise UserError(f'{path} divides sides by {scale}, which does not divide the images of '
                        f'{images.shape[2]}x{images.shape[1]}')


def _describe(out, images, source, codec, digest, scale, dtype, mirror):
    if images.label_size:
        labels = images.get_labels_np(np.arange(len(images)))
        out.set_labels(np.concatenate([labels] * (2 if mirror else 1)), images.label_names)
    out.add_file(codec, CODEC)
    if sha256_file(codec) != digest:
        raise UserError(f'{codec} was written to while it encoded; encode again')
    manifest = read_manifest(source)
    out.describe(
        command='encode', skipped=[], dynamic_range=[-1, 1],
        codec=dict(sha256=digest, downscale=scale),
        source=dict(name=os.path.basename(os.path.abspath(source)), folder=os.path.abspath(source),
                    fingerprint=images.fingerprint, command=manifest.get('command'), num_images=len(images),
                    shape=images.shape),
        arguments=dict(source=os.path.abspath(source), codec=os.path.abspath(codec), dtype=dtype, mirror=bool(mirror)))
