"""The released files that metrics need: what each is, where it comes from and under which licence.

Addresses and checksums stand in the project's table of released files (`dnnlib.artifacts`); a file that a person has
already may simply be put into the offline folder that the messages name.
"""

from collections import OrderedDict

# CelebA's attributes, in the order in which the released classifiers are numbered.
ATTRIBUTES = (
    'male', 'smiling', 'attractive', 'wavy-hair', 'young', '5-o-clock-shadow', 'arched-eyebrows', 'bags-under-eyes',
    'bald', 'bangs', 'big-lips', 'big-nose', 'black-hair', 'blond-hair', 'blurry', 'brown-hair', 'bushy-eyebrows',
    'chubby', 'double-chin', 'eyeglasses', 'goatee', 'gray-hair', 'heavy-makeup', 'high-cheekbones',
    'mouth-slightly-open', 'mustache', 'narrow-eyes', 'no-beard', 'oval-face', 'pale-skin', 'pointy-nose',
    'receding-hairline', 'rosy-cheeks', 'sideburns', 'straight-hair', 'wearing-earrings', 'wearing-hat',
    'wearing-lipstick', 'wearing-necklace', 'wearing-necktie')

INCEPTION = 'inception_v3_features.pkl'
INCEPTION_FROZEN = 'inception-2015-12-05.tgz'
PERCEPTUAL = 'vgg16_zhang_perceptual.pkl'

# File -> (what it is, first source, licence).
FACTS = OrderedDict([
    (INCEPTION, ('Inception-v3 of 2015-12-05 up to its last pool',
                 'weights by Szegedy et al. from TensorFlow\'s models, released with StyleGAN',
                 'Apache 2.0 (weights), CC BY-NC 4.0 (file)')),
    (INCEPTION_FROZEN, ('the same network as a frozen TensorFlow graph', 'TensorFlow\'s models', 'Apache 2.0')),
    (PERCEPTUAL, ('VGG16 with LPIPS v0.1 weights',
                  'weights by Simonyan & Zisserman and by Zhang et al., released with StyleGAN',
                  'CC BY 4.0 (VGG16), BSD 2-Clause (LPIPS), CC BY-NC 4.0 (file)')),
])
for _number, _slug in enumerate(ATTRIBUTES):
    FACTS[f'celebahq-classifier-{_number:02d}-{_slug}.pkl'] = (
        f"classifier of the attribute '{_slug}', trained on CelebA-HQ", 'released with StyleGAN', 'CC BY-NC 4.0')


def classifier_file(index):
    """Name of the released classifier number `index` (0...39)."""
    return f'celebahq-classifier-{index:02d}-{ATTRIBUTES[index]}.pkl'


def slug(name):
    """'Mouth_Slightly_Open' -> 'mouth-slightly-open': one spelling for attributes."""
    return name.strip().lower().replace('_', '-').replace(' ', '-')
