"""`create_digits`: the small handwritten digits that scikit-learn brings along, for trials without a download."""

import numpy as np

from data.converters import exporter
from data.converters.loading import shuffled_order, write_arrays
from dnnlib.progress import Progress


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser(
        'create_digits', help="data set of scikit-learn's 1,797 handwritten digits, 8x8",
        description='Makes a labelled data set of 8x8 grey pictures of digits from those that scikit-learn ships (part '
                    'of the "Optical Recognition of Handwritten Digits" data, Alpaydin and Kaynak 1998).')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.set_defaults(run=lambda args: create_digits(args.dataset_dir))


def create_digits(dataset_dir):
    """Makes the data set: 1,797 digits [1, 8, 8], shuffled, and their classes."""
    from sklearn.datasets import load_digits
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, np.newaxis]  # they have 17 shades
    order = shuffled_order(len(images))
    with exporter.Exporter(dataset_dir, images.shape[1:], forecast=len(images)) as out:
        with Progress('create_digits', len(images)) as progress:
            for count in write_arrays(out, images, order):
                progress.add(count)
        out.set_labels(np.eye(10, dtype=np.float32)[digits.target[order]], [str(digit) for digit in range(10)],
                       label_source='classes')
        out.describe(command='create_digits', skipped=[], resampling=None, arguments={})
    print(f'{len(images)} images of 8x8 in {dataset_dir}', flush=True)
