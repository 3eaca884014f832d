"""A beginning from networks of another resolution, label size or number of channels: what fits is copied.

A variable fits if the other network has one of the same name and shape. Layers that are numbered from the output, as
`ToRGB_lod0`, are those of their resolution. Whatever else the run's networks have starts anew.
"""

import collections
import re

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import network_state
from dnnlib.util import UserError
from training.network_files import locate
from training.state import run_state

_FROM_OUTPUT = re.compile(r'_lod(\d+)(?=/|$)')

Part = collections.namedtuple('Part', 'name values new left')
"""name: of the network; values: {local name: array} to be copied; new: names of its variables that start anew; left:
names of the file's variables that have no place in it."""


def plan(path, states, shapes, resolution):
    """[Part] of the networks (G, D, Gs) with the variables `shapes` (see `run_state.shapes_of`).

    Args:
        path, states: of the file, see `network_files.locate.read_snapshot`.
        resolution: of the run's networks, in pixels.

    Raises UserError if nothing of one of them fits.
    """
    parts = []
    for (name, wanted), state in zip(shapes.items(), states):
        stored = run_state.stored_arrays(state)
        stored = _renamed(stored, _resolution(state), resolution)
        values = {key: value for key, value in stored.items()
                  if not _is_own(key) and wanted.get(key) == list(np.shape(value))}
        if not any(np.ndim(value) > 1 for value in values.values()):
            raise UserError(f'nothing of {name} in {path} fits the networks of this configuration; --transfer copies '
                            'variables of the same name and shape, so take networks of the same kind and widths '
                            '(func_name, fmap_base, fmap_max)')
        network_state.check_finite(values, f'{name} in {path}')
        new, left = ([key for key in keys if key not in values and not _is_own(key)] for keys in (wanted, stored))
        parts.append(Part(name, values, new, left))
    return parts


def begin_from(networks, path):
    """Copies what fits into this run's networks (G, D, Gs) and prints what starts anew. Raises UserError."""
    (path, states), shapes = locate.read_snapshot(path), run_state.shapes_of(networks)
    for net, part in zip(networks, plan(path, states, shapes, networks[1].input_shapes[0][-1])):
        tflib.set_vars({net.vars[name]: value for name, value in part.values.items()})
        print('\n'.join(in_words(part, path)), flush=True)


def in_words(part, path):
    """What becomes of a network that takes from the file `path`, as lines of text."""
    count = sum(int(np.size(value)) for value in part.values.values())
    lines = [f'Initial {part.name}: {len(part.values)} variables ({count:,} numbers) from {path}: '
             + _layers(part.values)]
    lines += [f'  starts anew: {_layers(part.new)}'] if part.new else []
    return lines + ([f'  has no place here: {_layers(part.left)}'] if part.left else [])


def _is_own(name):
    """Whether a variable is set by the schedule, and so the run's own."""
    return name.rpartition('/')[2] == 'lod'


def _layers(names):
    """Names of variables, those of a layer together: 'G_synthesis/4x4/Const (const), …'."""
    layers = collections.OrderedDict()
    for name in names:
        layer, _, last = name.rpartition('/')
        layers.setdefault(layer, []).append(last)
    return ', '.join(f"{layer} ({' '.join(lasts)})" if layer else ' '.join(lasts) for layer, lasts in layers.items())


def _resolution(state):
    """A stored network's resolution, or None where it does not say."""
    found = [part.static_kwargs.get('resolution') for part in state.walk()]
    return next((value for value in found if isinstance(value, int) and value > 0), None)


def _renamed(stored, before, now):
    """Variables under the names that they would have in a network of resolution `now`."""
    shift = 0 if before is None else int(np.log2(now)) - int(np.log2(before))
    renamed = {}
    for name, value in stored.items():
        match = _FROM_OUTPUT.search(name)
        if match and shift:
            number = int(match.group(1)) + shift
            word = f'_lod{number}' if number >= 0 else f'_lod{match.group(1)} of {before}x{before}'
            name = name[:match.start()] + word + name[match.end():]
        renamed[name] = value
    return renamed
