"""Codes stand for images: which data set holds the images that a set of codes was made of."""

import os

from data.records.manifest import read_manifest
from dnnlib.util import UserError


def holds_mirrored(dataset_args):
    """Whether `load_dataset` keywords name a set with the codes of mirrored images too: then scores mirror images at
    random, as they do where training mirrors its images."""
    folder = os.path.join(dataset_args.get('data_dir') or '', dataset_args.get('tfrecord_dir') or '')
    manifest = read_manifest(folder) if os.path.isdir(folder) else {}
    return 'codec' in manifest and bool(manifest.get('arguments', {}).get('mirror'))


def image_arguments(dataset_args):
    """`load_dataset` keywords of the images behind a set of codes; those of any other data set as they are.

    The images are looked for where they were when they were encoded, then beside the codes, and must have the
    fingerprint that they had. Raises UserError if they are not found.
    """
    if not dataset_args or 'tfrecord_dir' not in dataset_args:
        return dataset_args
    folder = os.path.join(dataset_args.get('data_dir') or '', dataset_args['tfrecord_dir'])
    source = read_manifest(folder).get('source', {}) if os.path.isdir(folder) else {}
    if not {'name', 'fingerprint'} <= set(source):  # that of pictures says how many files there were
        return dataset_args
    places = [str(source.get('folder', '')), os.path.join(os.path.dirname(os.path.abspath(folder)), source['name'])]
    for place in places:
        if os.path.isdir(place) and read_manifest(place).get('fingerprint') == source['fingerprint']:
            return dict({key: value for key, value in dataset_args.items()
                         if key not in ('tfrecord_dir', 'data_dir', 'resolution')}, tfrecord_dir=place)
    raise UserError(f"'{folder}' holds codes of the images of the data set '{source['name']}', which is neither at "
                    f"{' nor at '.join(place for place in places if place)}, or has changed; scores compare with "
                    'images: bring it back')
