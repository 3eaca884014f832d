"""`create_mnist`, `create_mnistrgb`, `create_cifar10`, `create_cifar100`, `create_svhn`: the small classic data sets.

Each reads the training split in the form in which its owners publish it, without executing anything.
"""

import gzip
import os
import sys
import zlib

import numpy as np

from data import matlab
from data.converters import exporter
from data.converters.archives import Limits
from data.converters.loading import shuffled_order, write_arrays
from data.options import add_max_unpacked, positive_int
from dnnlib.pickle_reader import load_arrays
from dnnlib.progress import Progress
from dnnlib.seeds import check_seed, seed_option
from dnnlib.util import UserError

_EXPECTED = {'mnist': 60000, 'cifar10': 50000, 'cifar100': 50000, 'svhn': 73257}


def add_arguments(subparsers):
    """Adds the commands to the parser of dataset_tool.py."""
    sources = {
        'mnist': ('MNIST_DIR', 'folder with train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz', create_mnist),
        'cifar10': ('CIFAR10_DIR', 'folder with data_batch_1 to data_batch_5', create_cifar10),
        'cifar100': ('CIFAR100_DIR', 'folder with the file train', create_cifar100),
        'svhn': ('SVHN_DIR', 'folder with train_1.pkl to train_3.pkl, or train_32x32.mat', create_svhn),
    }
    for name, (metavar, text, function) in sources.items():
        parser = subparsers.add_parser(f'create_{name}', help=f'data set from {name.upper()}',
                                       description=f'Makes a labelled data set of 32x32 pictures from {text}.')
        parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
        parser.add_argument('source_dir', metavar=metavar, help=text)
        options = ()
        if name in ('mnist', 'svhn'):  # whose files are compressed
            add_max_unpacked(parser, 'a file')
            options = ('max_unpacked',)
        parser.set_defaults(run=lambda args, function=function, options=options: function(
            args.dataset_dir, args.source_dir, **{option: getattr(args, option) for option in options}))
    parser = subparsers.add_parser('create_mnistrgb', help='data set of random triples of MNIST digits',
                                   description='Each picture has three random digits as its red, green and blue.')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('source_dir', metavar='MNIST_DIR', help='folder with train-images-idx3-ubyte.gz')
    parser.add_argument('--num-images', '--num_images', type=positive_int, default=1000000, metavar='N',
                        help='number of pictures (default 1000000)')
    parser.add_argument('--random-seed', '--random_seed', type=seed_option, default=123, metavar='N',
                        help='default 123')
    add_max_unpacked(parser, 'the file')
    parser.set_defaults(run=lambda args: create_mnistrgb(args.dataset_dir, args.source_dir, args.num_images,
                                                         args.random_seed, args.max_unpacked))


def create_mnist(dataset_dir, mnist_dir, max_unpacked=None):
    """MNIST's training digits, [1, 32, 32] with a black border, and their classes."""
    images = _mnist_images(mnist_dir, max_unpacked)
    labels = _read_idx(mnist_dir, 'train-labels-idx1-ubyte', 1, max_unpacked)
    _write(dataset_dir, 'mnist', mnist_dir, images, labels, [str(digit) for digit in range(10)])


def create_mnistrgb(dataset_dir, mnist_dir, num_images=1000000, random_seed=123, max_unpacked=None):
    """Random triples of MNIST digits as colour channels, [3, 32, 32], without labels."""
    rng = np.random.RandomState(check_seed(random_seed, '--random-seed'))
    digits = _mnist_images(mnist_dir, max_unpacked)[:, 0]
    with exporter.Exporter(dataset_dir, [3, 32, 32], forecast=num_images) as out:
        with Progress('create_mnistrgb', num_images) as progress:
            for start in range(0, num_images, 256):
                # One draw of 3 per picture, and so of 3 * count at once, gives the same numbers.
                count = min(256, num_images - start)
                out.add(exporter.encode(digits[rng.randint(len(digits), size=[count, 3])]))
                progress.add(count)
        out.describe(command='create_mnistrgb', skipped=[], resampling=None,
                     arguments={'mnist_dir': os.path.abspath(mnist_dir), 'num_images': num_images,
                                'random_seed': random_seed})
    print(f'{num_images} images of 32x32 in {dataset_dir}', flush=True)


def create_cifar10(dataset_dir, cifar10_dir):
    """CIFAR-10's training images, [3, 32, 32], and their classes."""
    batches = [_read_pickle(cifar10_dir, f'data_batch_{number}') for number in range(1, 6)]
    images = np.concatenate([_array(batch, 'data', path, 2) for path, batch in batches])
    labels = np.concatenate([_array(batch, 'labels', path, 1) for path, batch in batches])
    names = _names(cifar10_dir, 'batches.meta', 'label_names', 10)
    _write(dataset_dir, 'cifar10', cifar10_dir, _as_pictures(images, cifar10_dir), labels, names)


def create_cifar100(dataset_dir, cifar100_dir):
    """CIFAR-100's training images, [3, 32, 32], and their fine classes."""
    path, batch = _read_pickle(cifar100_dir, 'train')
    images = _as_pictures(_array(batch, 'data', path, 2), path)
    labels = _array(batch, 'fine_labels', path, 1)
    names = _names(cifar100_dir, 'meta', 'fine_label_names', 100)
    _write(dataset_dir, 'cifar100', cifar100_dir, images, labels, names)


def create_svhn(dataset_dir, svhn_dir, max_unpacked=None):
    """SVHN's cropped training digits, [3, 32, 32], and their classes. Raises UserError."""
    if os.path.isfile(os.path.join(svhn_dir, 'train_32x32.mat')):
        images, labels = _read_svhn_mat(os.path.join(svhn_dir, 'train_32x32.mat'), max_unpacked)
    else:
        parts = [_read_pickle(svhn_dir, f'train_{number}.pkl') for number in range(1, 4)]
        for path, part in parts:
            if not isinstance(part, (tuple, list)) or len(part) != 2:
                raise UserError(f"'{path}' does not hold a pair (images, labels)")
        images = np.concatenate([_array(part, 0, path, 4) for path, part in parts])
        labels = np.concatenate([_array(part, 1, path, 1) for path, part in parts])
    _write(dataset_dir, 'svhn', svhn_dir, images, labels, [str(digit) for digit in range(10)])


# ---- What they share

def _write(dataset_dir, kind, source_dir, images, labels, names):
    """Writes images in shuffled order with their classes as one-hot labels."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2:] != (32, 32):
        raise UserError(f"'{source_dir}' holds images of {list(images.shape)} {images.dtype}; uint8 of 32x32 is "
                        f'expected')
    if labels.ndim != 1 or len(labels) != len(images) or labels.dtype.kind not in 'iu':
        raise UserError(f"'{source_dir}' holds {len(images)} images but labels of shape {list(labels.shape)}")
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= len(names):
        raise UserError(f"'{source_dir}' holds no images or labels beyond 0 to {len(names) - 1}")
    warn_about_count(len(images), _EXPECTED[kind], source_dir)
    order = shuffled_order(len(images))
    with exporter.Exporter(dataset_dir, images.shape[1:], forecast=len(images)) as out:
        with Progress(f'create_{kind}', len(images)) as progress:
            for count in write_arrays(out, images, order):
                progress.add(count)
        out.set_labels(np.eye(len(names), dtype=np.float32)[labels[order]], names, label_source='classes')
        out.describe(command=f'create_{kind}', skipped=[], resampling=None,
                     arguments={'source_dir': os.path.abspath(source_dir)})
    print(f'{len(images)} images of 32x32 in {dataset_dir}', flush=True)


def warn_about_count(count, expected, source):
    """Says on stderr that a source is not the complete published one."""
    if count != expected:
        print(f"warning: '{source}' holds {count} images, the complete training set has {expected}", file=sys.stderr,
              flush=True)


def _mnist_images(folder, max_unpacked):
    images = _read_idx(folder, 'train-images-idx3-ubyte', 3, max_unpacked)
    if images.shape[1:] != (28, 28):
        raise UserError(f"'{folder}' holds digits of {images.shape[1]}x{images.shape[2]}; 28x28 is expected")
    return np.pad(images[:, np.newaxis], [(0, 0), (0, 0), (2, 2), (2, 2)], 'constant')


def _read_idx(folder, name, ndim, max_unpacked):
    """An array of bytes in MNIST's format: two zero bytes, type 8, rank, big-endian sizes, elements."""
    plain = os.path.join(folder, name)
    path = plain if os.path.isfile(plain) else plain + '.gz'
    try:
        with (open if path == plain else gzip.open)(path, 'rb') as f:
            head = f.read(4 + 4 * ndim)
            if len(head) < 4 + 4 * ndim or head[:4] != bytes([0, 0, 8, ndim]):
                raise UserError(f"'{path}' is not an MNIST file of {ndim}-dimensional bytes")
            shape = [int(size) for size in np.frombuffer(head, '>u4', ndim, 4)]
            size = 1
            for length in shape:
                size *= length
            if path != plain:
                Limits(path, max_unpacked).check_whole(size)
            content = f.read(min(size, 1 << 31) + 1)
    except (OSError, EOFError, zlib.error) as err:
        raise UserError(f"cannot read '{path}': {getattr(err, 'strerror', None) or err}") from err
    if len(content) != size:
        raise UserError(f"'{path}' is cut off or too long: its header announces {size} bytes of data")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_pickle(folder, name):
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        raise UserError(f"'{folder}' has no file '{name}'")
    return path, load_arrays(path, encoding='latin1')


def _array(content, key, path, ndim):
    try:
        array = content[key]
        if isinstance(array, (list, tuple)):
            # Flat ones only: a row that stands in a list a million times takes no room in a file, but in an array.
            array = np.asarray(array) if all(type(item) is int for item in array) else None
    except (KeyError, IndexError, TypeError, ValueError):
        array = None
    if not isinstance(array, np.ndarray) or array.ndim != ndim or array.dtype.kind not in 'iu':
        raise UserError(f"'{path}' holds no {ndim}-dimensional whole numbers under {key!r}")
    return array


def _as_pictures(rows, path):
    if rows.shape[1] != 3 * 32 * 32:
        raise UserError(f"'{path}' holds rows of {rows.shape[1]} numbers; {3 * 32 * 32} are expected")
    return rows.reshape(-1, 3, 32, 32)


def _names(folder, name, key, count):
    """The classes' names from the description file beside the images, their numbers where there is none."""
    if os.path.isfile(os.path.join(folder, name)):
        path, content = _read_pickle(folder, name)
        names = content.get(key) if isinstance(content, dict) else None
        if not isinstance(names, list) or len(names) != count or not all(isinstance(name, str) for name in names):
            raise UserError(f"'{path}' holds no list of {count} names under '{key}'")
        return names
    return [str(number) for number in range(count)]


def _read_svhn_mat(path, max_unpacked):
    """SVHN as its owners publish it: X [32, 32, 3, N] and y [N, 1] with 10 for the digit 0."""
    content = matlab.read_arrays(path, ('X', 'y'), Limits(path, max_unpacked))
    images, labels = content.get('X'), content.get('y', np.zeros(0)).reshape(-1)
    if images is None or images.ndim != 4 or np.any(labels != np.floor(labels)):
        raise UserError(f"'{path}' holds no images X and labels y as SVHN's files do")
    labels = labels.astype(np.int64)
    if len(labels) and not 1 <= labels.min() <= labels.max() <= 10:
        raise UserError(f"'{path}' holds labels from {labels.min()} to {labels.max()}; 1 to 10 are expected, 10 for 0")
    return images.transpose(3, 2, 0, 1), labels % 10
