"""What the page asks for: every control is a field, and the fields of a request make one picture."""

import collections
import math
import re

from dnnlib.errors import UserError
from dnnlib.seeds import LARGEST

NOISES = ('stored', 'random', 'none')
MOST_STEPS = 40         # to neighbours, one after the other
MOST_LAYERS = 100
NUM_SLIDERS = 4
MOST_SIGMA = 20
THUMB = (16, 512)       # pixels of a small picture

State = collections.namedtuple('State', 'seed near photo psi cutoff noise noise_seed noise_layers label mix mix_layers '
                               'sliders to t thumb client')
"""seed: of z; near: numbers of the neighbours that were stepped to, from there; photo: number of a row of the latents
that were given, in place of seed, or None; psi, cutoff: truncation, by default ψ = 1 for such a row, else 0.7; noise:
one of NOISES; noise_seed: of random noise, None: the seed; noise_layers: which keep their noise, None: all; label:
class, or None; mix: seed whose styles take the layers mix_layers, or None; sliders: strengths along the directions,
in standard deviations; to: seed at the end of a path, or None, and t in 0…1 on it; thumb: pixels of a small picture,
or None; client: who asks, so that its newer request replaces its older ones."""


def _whole(low, high):
    def read(text):
        if not re.match(r'[0-9]{1,10}\Z', text) or not low <= int(text) <= high:
            raise ValueError(f'a whole number from {low} to {high}')
        return int(text)
    return read


def _number(low, high):
    def read(text):
        try:
            value = float(text) if re.match(r'[-+.0-9eE]{1,30}\Z', text) else math.nan
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f'a number from {low} to {high}')
        return value
    return read


def _one_of(*choices):
    def read(text):
        if text not in choices:
            raise ValueError(' or '.join(choices))
        return text
    return read


def _list(read_item, most):
    def read(text):
        parts = text.split(',') if text else []
        if len(parts) > most:
            raise ValueError(f'at most {most} values, separated by commas')
        return tuple(read_item(part) for part in parts)
    return read


def parse_layers(text):
    """'0-3,6' → (0, 1, 2, 3, 6); '' → (). Raises ValueError, which says what is expected."""
    layers = set()
    for part in text.split(',') if text else []:
        match = re.match(r'([0-9]{1,3})(?:-([0-9]{1,3}))?\Z', part.strip())
        first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
        if last < first or last >= MOST_LAYERS:
            raise ValueError('numbers of layers and ranges such as 0-3,6')
        layers.update(range(first, last + 1))
    return tuple(sorted(layers))


def _text(text):
    if len(text) > 200:
        raise ValueError('a short text')
    return text


def _name(text):
    if not re.match(r'[A-Za-z0-9_-]{1,40}\Z', text):
        raise ValueError('a name of letters and digits')
    return text


# Of a request: name → (field, how its text is read, value where it is absent).
PARAMETERS = collections.OrderedDict([
    ('seed', ('seed', _whole(0, LARGEST), 0)),
    ('near', ('near', _list(_whole(0, 999), MOST_STEPS), ())),
    ('photo', ('photo', _whole(0, 10 ** 6), None)),
    ('psi', ('psi', _number(-100, 100), 0.7)),
    ('cutoff', ('cutoff', _whole(0, MOST_LAYERS), 8)),
    ('noise', ('noise', _one_of(*NOISES), 'stored')),
    ('noise_seed', ('noise_seed', _whole(0, LARGEST), None)),
    ('noise_layers', ('noise_layers', parse_layers, None)),
    ('class', ('label', _text, None)),
    ('mix', ('mix', _whole(0, LARGEST), None)),
    ('mix_layers', ('mix_layers', parse_layers, ())),
    ('sliders', ('sliders', _list(_number(-MOST_SIGMA, MOST_SIGMA), NUM_SLIDERS), ())),
    ('to', ('to', _whole(0, LARGEST), None)),
    ('t', ('t', _number(0, 1), 0.0)),
    ('thumb', ('thumb', _whole(*THUMB), None)),
    ('client', ('client', _name, None))])


def parse(pairs):
    """The `State` of a request, whose parameters are pairs of texts. Raises UserError with a sentence."""
    values = {field: default for field, _, default in PARAMETERS.values()}
    seen = set()
    for name, text in pairs:
        if name not in PARAMETERS:
            raise UserError(f"there is no parameter '{name[:40]}'; there are {', '.join(PARAMETERS)}")
        if name in seen:
            raise UserError(f'{name} is given twice')
        seen.add(name)
        field, read, _ = PARAMETERS[name]
        try:
            values[field] = read(text)
        except ValueError as err:
            raise UserError(f"{name} is '{text[:40]}'; {err} is expected") from None
    if values['photo'] is not None and 'psi' not in seen:
        values['psi'] = 1.0     # as found, and as generate.py --latents has it
    return State(**values)
