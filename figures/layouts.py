"""Seeds and arrangements of the papers' figures, and how they follow a network's resolution."""

import collections

from dnnlib.util import UserError

Uncurated = collections.namedtuple('Uncurated', 'rows levels seed crop is_published')
"""rows: full-size images per column; levels: per column, how often its images are halved; seed: of all latents;
crop: (top, bottom) of the square that is shown, as fractions of its height; is_published: whether it is the released
code's."""

Mixing = collections.namedtuple('Mixing', 'sources destinations copied')
"""sources: seeds of the columns; destinations: seeds of the rows; copied: per row 'coarse', 'middle' or 'fine'."""

UNCURATED = {
    'faces-1024': Uncurated(3, (0, 1, 2, 2, 3, 3), 5, (0, 1), True),
    # The Re-Training paper's Figs. 5 and 6 do not say which latents they show, nor was any arrangement published for
    # the last three of LSUN's classes: they are as the bedrooms.
    'faces-256': Uncurated(5, (0, 0, 1, 1, 2, 2, 2), 5, (0, 1), False),
    'bedroom': Uncurated(5, (0, 0, 1, 1, 2, 2, 2), 0, (0, 1), True),
    'car': Uncurated(4, (0, 1, 2, 2, 3, 3), 2, (0, 1), True),
    'cat': Uncurated(5, (0, 0, 1, 1, 2, 2, 2), 1, (0, 1), True),
    'church_outdoor': Uncurated(5, (0, 0, 1, 1, 2, 2, 2), 0, (0, 1), False),
    'conference_room': Uncurated(5, (0, 0, 1, 1, 2, 2, 2), 0, (0, 1), False),
    'horse': Uncurated(5, (0, 0, 1, 1, 2, 2, 2), 0, (0, 1), False),
}

DATA_SET_ROWS, DATA_SET_COLUMNS = 5, 9  # of Fig. 10
DATA_SET_SEED = 0

MIXING = Mixing(sources=(639, 701, 687, 615, 2268), destinations=(888, 829, 1898, 1733, 1614, 845),
                copied=('coarse', 'coarse', 'coarse', 'middle', 'middle', 'fine'))

STYLES = ('coarse', 'middle', 'fine')

NOISE_DETAIL_SEEDS = (1157, 1012)
NOISE_DETAIL_DRAWS = 100
NOISE_DETAIL_CROP = (650 / 1024, 180 / 1024, 906 / 1024, 436 / 1024)  # left, top, right, bottom; of FFHQ's faces
NOISE_DETAIL_BRIGHTENED = 4     # how much brighter deviations are shown, at least

NOISE_COMPONENT_SEEDS = (1967, 1555)
NOISE_COMPONENT_MIRRORED = (False, True)

TRUNCATION_SEEDS = (91, 388)
TRUNCATION_PSIS = (1, 0.7, 0.5, 0, -0.5, -1)

INTERPOLATION_SEED = 5
INTERPOLATION_KEYS = 4
INTERPOLATION_FRAMES = 60

FACE = 128              # pixels that an image gets in a figure, at least


def zoom_of(resolution):
    """How often the pixels of a small network's images are repeated, so that they can be seen."""
    return max(-(-FACE // resolution), 1)


def uncurated_layout(lsun_class, rows_shown, resolution):
    """The arrangement for a network of some resolution; small images are not halved.

    Args:
        lsun_class: LSUN's name of the class that it was trained on, or None for other data.
        rows_shown: share of the height that pictures fill, in the middle; 1 for square ones.
    """
    layout = UNCURATED.get(lsun_class) or UNCURATED['faces-1024' if resolution > 512 else 'faces-256']
    return layout._replace(levels=layout.levels if resolution >= 256 else (0,) * len(layout.levels),
                           crop=((1 - rows_shown) / 2, (1 + rows_shown) / 2))


def mixing(sources=None, destinations=None, styles=None):
    """The papers' arrangement with other seeds of sources and destinations, or other styles; None leaves them.

    `styles`: one of STYLES for each destination, or for all of them; by default in the papers' order and proportions.
    Raises UserError for other words or numbers of them.
    """
    destinations = MIXING.destinations if destinations is None else tuple(destinations)
    count = len(destinations)
    if styles is None:
        styles = [MIXING.copied[row * len(MIXING.copied) // count] for row in range(count)]
    elif len(styles) == 1:
        styles = list(styles) * count
    unknown = [style for style in styles if style not in STYLES]
    if unknown or len(styles) != count:
        raise UserError(f"--styles is '{','.join(styles)}'; give one of {', '.join(STYLES)}, or one for each of the "
                        f'{count} destinations, separated by commas')
    return Mixing(MIXING.sources if sources is None else tuple(sources), destinations, tuple(styles))


def style_ranges(num_layers):
    """{'coarse', 'middle', 'fine', 'all': range of layers}.

    The papers' ranges are 4-8, 16-32 and 64 pixels and more, whatever the resolution; networks of 32 pixels and less,
    which would have no fine layers, use 4, 8 and 16 pixels and more.
    """
    coarse, middle = (4, 8) if num_layers > 8 else (2, 4)
    return {'coarse': range(0, coarse), 'middle': range(coarse, middle), 'fine': range(middle, num_layers),
            'all': range(0, num_layers)}


def pixels_of(layers):
    """The resolutions that a range of layers works at, for captions: '4² – 8²'."""
    if not len(layers):
        return 'no layer'
    low, high = (2 ** (layer // 2 + 2) for layer in (layers[0], layers[-1]))
    return f'{low}²' if low == high else f'{low}² – {high}²'
