"""What a set of images can be: a folder of pictures, a data set, or a file of statistics that were taken before."""

import hashlib
import json
import os

import numpy as np

from data import images
from data.records import dataset
from dnnlib.array_files import read_npz, write_npz
from dnnlib.errors import UserError
from dnnlib.files import atomic_path, make_folders, parse_json
from dnnlib.values import schema
from metrics.arithmetic import MeanCovariance

SUFFIX = '.npz'
FORMAT = 1
FACTS = {   # of a file of statistics
    'format': 'a whole number', 'name': 'a text', 'fingerprint': 'a text',
    'num_images': 'a whole number from 2 to 1e12', 'mirror_augment': 'true, false', 'weights_sha256': 'a text',
    'features': 'a text', 'is_standin': 'true, false'}


class ImageFolder:
    """The pictures in a folder and below, sorted by name: 8-bit grey or RGB, all of one size.

    Attributes: name, num_images, shape [C, H, W]. `dataset_args` is None, as it is no data set.
    Raises UserError for an empty folder, and for a picture that is not as the first.
    """

    dataset_args = None

    def __init__(self, folder):
        self.folder = folder
        self.name = os.path.basename(os.path.abspath(folder))
        self._paths, _ = images.list_images(folder)
        self.num_images = len(self._paths)
        self._digest = hashlib.sha256()
        self.shape = list(self._load(0, None).shape)

    def read(self, start, count):
        """Pictures from number `start` on, uint8 [count, C, H, W]. They are to be read in order, once."""
        found = np.stack([self._load(index, self.shape) for index in range(start, start + count)])
        self._digest.update(found.tobytes())
        return found

    def fingerprint(self):
        """SHA-256 of the pixels that were read."""
        return self._digest.hexdigest()

    def close(self):
        """Nothing is open."""

    def _load(self, index, shape):
        path = os.path.join(self.folder, self._paths[index])
        try:
            picture = images.open_image(path)
            images.check_mode(picture)
            found = images.to_array(images.read_pixels(picture))
        except images.BadImage as err:
            raise UserError(f"'{path}' {err}; scores want 8-bit grey or RGB pictures of one size: make a data set of "
                            'them with dataset_tool.py create_from_images --resize N --convert rgb, and name that'
                            ) from None
        if shape is not None and list(found.shape) != shape:
            raise UserError(f"'{path}' is {_size(found.shape)}, the first picture in {self.folder} {_size(shape)}; how "
                            'pictures are resized changes scores, so do it yourself, for both sides alike, such as '
                            'with dataset_tool.py create_from_images --resize N')
        return found


class Images:
    """The images of a data set, in file order; attributes as of `ImageFolder`."""

    def __init__(self, folder):
        self.dataset_args = dict(tfrecord_dir=folder)
        self._data = dataset.load_dataset(shuffle_mb=0, prefetch_mb=0, **self.dataset_args)
        self.name, self.shape = os.path.basename(folder), list(self._data.shape)
        self.num_images = self._data.num_images
        if not self._data.is_image or self._data.dtype != 'uint8' or self.shape[0] not in (1, 3):
            shape = self.shape
            self.close()
            raise UserError(f"the data set '{folder}' holds samples of {shape}, which are no pictures")

    def read(self, start, count):
        """Images from number `start` on, uint8 [count, C, H, W]."""
        return self._data.get_samples_np(np.arange(start, start + count))[0]

    def fingerprint(self):
        """The data set's."""
        return self._data.fingerprint

    def close(self):
        """Closes its files."""
        self._data.close()


class Statistics:
    """Mean and covariance of features, from a file that `write_statistics` made: attributes `facts` and `values`.

    Raises UserError for any other file.
    """

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        advice = 'give a file that run_metrics.py stats made'
        try:
            stored = read_npz(path, allow_text=True)
            self.facts = parse_json(str(stored['facts']))
            self.values = MeanCovariance.from_state(stored)
            sound = self.values.num_samples == self.facts['num_images'] and all(
                np.all(np.isfinite(part)) for part in (self.values.mean, self.values.covariance))
        except UserError as err:
            raise UserError(f'{err}; {advice}') from None
        except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError):
            raise UserError(f'{path} holds no statistics of features; {advice}') from None
        schema.check(self.facts, FACTS, path, advice)
        if not sound or self.facts['format'] > FORMAT:
            raise UserError(f'{path} is damaged, or of a later version of this program; {advice}')


    def check_features(self, record):
        """Raises UserError unless they are of the feature network that a record describes."""
        if self.facts['weights_sha256'] != record['weights_sha256']:
            raise UserError(f"{self.path} was made with {self.facts['features']}, here are {record['name']} with other "
                            'weights; take the statistics anew, or choose --features')

    def as_reals(self):
        """What the record of a score says of the reals."""
        return dict(reference=self.name, dataset_fingerprint=self.facts['fingerprint'],
                    dataset_images=self.facts['num_images'], mirror_augment=self.facts['mirror_augment'])


def write_statistics(path, values, facts):
    """Stores a MeanCovariance and facts about it, atomically. Returns the path."""
    make_folders(os.path.dirname(os.path.abspath(path)))
    with atomic_path(path) as temp:
        with open(temp, 'wb') as file:
            write_npz(file, facts=json.dumps(dict(facts, format=FORMAT), sort_keys=True), **values.state())
    return path


def open_set(text, data_dir, option):
    """An `ImageFolder`, `Images` or `Statistics` for what a user names. Raises UserError."""
    if os.path.isfile(text):
        if text.endswith(SUFFIX):
            return Statistics(text)
        raise UserError(f"{option}: '{text}' is a file; give a folder of pictures, a data set, or statistics "
                        f'({SUFFIX})')
    for folder in (text, os.path.join(data_dir, text)):
        if os.path.isdir(folder):
            is_dataset = any(name.endswith('.tfrecords') for name in os.listdir(folder))
            return Images(os.path.abspath(folder)) if is_dataset else ImageFolder(folder)
    raise UserError(f"{option}: there is no folder '{text}', neither here nor in {data_dir}, and no such file")


def _size(shape):
    return f"{shape[2]}x{shape[1]} {'grey' if shape[0] == 1 else 'RGB'}"
