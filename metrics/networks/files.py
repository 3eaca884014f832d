"""Names of the released files that metrics need; addresses, checksums and licences stand in `dnnlib.artifacts`."""

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
