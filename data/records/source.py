"""Codes stand for images: which data set holds the images that a set of codes was made of."""

import os

from data.records.manifest import read_manifest
from dnnlib.util import UserError


def folder_of(dataset_args):
    """The folder that `load_dataset` keywords name. Raises UserError for what is no text, as records of others hold."""
    parts = [dataset_args.get(key) or '' for key in ('data_dir', 'tfrecord_dir')]
    for part in parts:
        if not isinstance(part, (str, os.PathLike)):
            raise UserError(f'dataset.tfrecord_dir names no folder: {str(part)[:60]}')
    return os.path.join(*parts)


def holds_mirrored(dataset_args):
    """Whether `load_dataset` keywords name a set with the codes of mirrored images too: then scores mirror images at
    random, as they do where training mirrors its images."""
    folder = folder_of(dataset_args)
    manifest = read_manifest(folder) if os.path.isdir(folder) else {}
    return 'codec' in manifest and bool(manifest.get('arguments', {}).get('mirror'))


def images_fingerprint(dataset_args):
    """Fingerprint of the images that `load_dataset` keywords name codes of; None for any other data set, or none."""
    folder = folder_of(dataset_args)
    manifest = read_manifest(folder) if os.path.isdir(folder) else {}
    return dict(manifest.get('source') or {}).get('fingerprint') if 'codec' in manifest else None


def check_mirroring(is_codes, mirror_augment):
    """Raises UserError for training on flipped codes: what they stand for is no mirrored image."""
    if is_codes and mirror_augment:
        raise UserError('train.mirror_augment flips images, but the data set has codes of images, and a flipped code '
                        'is not that of the flipped image; leave it off, and encode the images with --mirror 1')


def image_arguments(dataset_args):
    """`load_dataset` keywords of the images behind a set of codes; those of any other data set as they are.

    The images are looked for where they were when they were encoded, then beside the codes, and must have the
    fingerprint that they had. Raises UserError if they are not found.
    """
    if not dataset_args or 'tfrecord_dir' not in dataset_args:
        return dataset_args
    folder = folder_of(dataset_args)
    source = read_manifest(folder).get('source', {}) if os.path.isdir(folder) else {}
    if not {'name', 'fingerprint'} <= set(source):  # that of pictures says how many files there were
        return dataset_args
    places = [str(source.get('folder', '')), os.path.join(os.path.dirname(os.path.abspath(folder)), source['name'])]
    places = places[places[0] == places[1]:]
    for place in places:
        if os.path.isdir(place) and read_manifest(place).get('fingerprint') == source['fingerprint']:
            return dict({key: value for key, value in dataset_args.items()
                         if key not in ('tfrecord_dir', 'data_dir', 'resolution')}, tfrecord_dir=place)
    raise UserError(f"'{folder}' holds codes of the images of the data set '{source['name']}', which is neither at "
                    f"{' nor at '.join(place for place in places if place)}, or has changed; scores compare with "
                    'images: bring it back')
