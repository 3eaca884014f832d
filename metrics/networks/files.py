"""Names of the files that metrics need; addresses, checksums and licences stand in `dnnlib.artifacts`."""

import os
import re
from collections import OrderedDict

from dnnlib.errors import UserError

# CelebA's attributes, in the order in which the released classifiers are numbered.
ATTRIBUTES = (
    'male', 'smiling', 'attractive', 'wavy-hair', 'young', '5-o-clock-shadow', 'arched-eyebrows', 'bags-under-eyes',
    'bald', 'bangs', 'big-lips', 'big-nose', 'black-hair', 'blond-hair', 'blurry', 'brown-hair', 'bushy-eyebrows',
    'chubby', 'double-chin', 'eyeglasses', 'goatee', 'gray-hair', 'heavy-makeup', 'high-cheekbones',
    'mouth-slightly-open', 'mustache', 'narrow-eyes', 'no-beard', 'oval-face', 'pale-skin', 'pointy-nose',
    'receding-hairline', 'rosy-cheeks', 'sideburns', 'straight-hair', 'wearing-earrings', 'wearing-hat',
    'wearing-lipstick', 'wearing-necklace', 'wearing-necktie')

CLASSIFIER_RESOLUTION = 256

INCEPTION = 'inception_v3_features.pkl'
INCEPTION_FROZEN = 'inception-2015-12-05.tgz'
PERCEPTUAL = 'vgg16_zhang_perceptual.pkl'


def classifier_file(index):
    """Name of the released classifier number `index` (0...39)."""
    return f'celebahq-classifier-{index:02d}-{ATTRIBUTES[index]}.pkl'


def needed_files(uses_networks):
    """What feature networks of these kinds are read from: a list of lists of names, of each of which one suffices."""
    choices = {'inception': [[INCEPTION, INCEPTION_FROZEN]], 'perceptual': [[PERCEPTUAL]],
               'classifier': [[classifier_file(index)] for index in range(len(ATTRIBUTES))]}
    return [names for kind in choices if kind in uses_networks for names in choices[kind]]


def slug(name):
    """'Mouth_Slightly_Open' -> 'mouth-slightly-open': one spelling for attributes."""
    return name.strip().lower().replace('_', '-').replace(' ', '-')


def find_attribute(data, attribute, option='train.attribute'):
    """(column, name) of a label component given by name in any spelling, or by number. Raises UserError.

    `data`: anything with `label_size` and `label_names`, which may be None; `option`: what sentences call the name.
    """
    names = data.label_names or [f'label-{index}' for index in range(data.label_size)]
    if data.label_size == 0:
        raise UserError('no labels to learn: the data set has none, which needs a source of labels such as '
                        "CelebA's list_attr_celeba.txt, or dataset.max_label_size is not full")
    if attribute is None:
        raise UserError(f"which attribute? Add --set train.attribute=NAME with one of {', '.join(map(slug, names))}")
    if isinstance(attribute, int) and 0 <= attribute < len(names):
        return attribute, names[attribute]
    for column, name in enumerate(names):
        if slug(str(attribute)) == slug(name):
            return column, name
    raise UserError(f"{option} is '{attribute}'; the data set has {', '.join(map(slug, names))}")


def find_classifiers(folder):
    """OrderedDict attribute -> path of the classifiers in a folder: CelebA's attributes in their order, then others.

    Their names are `classifier-SLUG.pkl`, as `train.py attributes` writes them, or those of the released ones,
    `celebahq-classifier-NN-SLUG.pkl`. Raises UserError if there is none, or two of one attribute.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as err:
        raise UserError(f'the folder of classifiers {folder} cannot be read: {err.strerror}') from err
    found = {}
    for name in names:
        match = re.match(r'(?:celebahq-classifier-\d\d|classifier)-([\w.-]{1,100})\.pkl\Z', name)
        if match is None:
            continue
        if match.group(1) in found:
            raise UserError(f"{folder} holds two classifiers of '{match.group(1)}', {found[match.group(1)]} and "
                            f'{name}; leave one there')
        found[match.group(1)] = name
    if not found:
        raise UserError(f'{folder} holds no classifier; files such as classifier-smiling.pkl or '
                        'celebahq-classifier-01-smiling.pkl are expected, which train.py attributes makes')
    order = [name for name in ATTRIBUTES if name in found] + [name for name in found if name not in ATTRIBUTES]
    return OrderedDict((name, os.path.join(folder, found[name])) for name in order)


def coverage(attributes):
    """How many of CelebA's 40 attributes are among these."""
    return len(set(attributes) & set(ATTRIBUTES))
