"""What `--edit` asks for, and how latents move."""

import collections
import re

import numpy as np

from dnnlib.errors import UserError
from figures.editing.directions import Direction

MOST_SIGMA = 20.0

Edit = collections.namedtuple('Edit', 'direction strength')
"""direction: `Direction`; strength: in standard deviations of w along it."""


def parse(text, directions, hold=()):
    """'smiling=+2,age=-1' → list of Edit. Raises UserError.

    Args:
        directions: {name: Direction}.
        hold: names of attributes that are to stay: directions are made orthogonal to theirs (Shen et al. 2020,
            "Interpreting the Latent Space of GANs for Semantic Face Editing", section 3.2).
    """
    _known(hold, directions, '--hold')
    held, edits, named = [directions[name] for name in hold], [], set()
    for part in text.split(','):
        match = re.match(r'\s*([^=]+?)\s*=\s*([-+]?[0-9]*\.?[0-9]+)\s*\Z', part)
        if not match or abs(float(match.group(2))) > MOST_SIGMA:
            raise UserError(f"--edit is '{text[:80]}'; write names and strengths such as smiling=+2,age=-1, at most "
                            f'{MOST_SIGMA:g}')
        _known([match.group(1)], directions, '--edit')
        if match.group(1) in named:
            raise UserError(f"--edit gives '{match.group(1)}' twice; say once how far to go")
        named.add(match.group(1))
        direction = directions[match.group(1)]
        edits.append(Edit(orthogonal(direction, held) if held else direction, float(match.group(2))))
    return edits


def _known(names, directions, option):
    unknown = [name for name in names if name not in directions]
    if unknown:
        raise UserError(f"{option}: there is no direction '{unknown[0][:40]}'; there are {', '.join(directions)[:400]}")


def orthogonal(direction, others):
    """A direction without what it has in common with others. Raises UserError if nothing is left."""
    basis = np.linalg.qr(np.stack([other.normal for other in others], axis=1))[0]
    rest = direction.normal - basis @ (basis.T @ direction.normal)
    if np.linalg.norm(rest) < 1e-6:
        raise UserError(f"'{direction.name}' lies among the directions that are to stay; nothing of it is left")
    return Direction(direction.name, rest, direction.deviation)


def move(dlatents, edits, share=1.0, layers=None):
    """w [N, layers, size] moved by a share of all edits; a new array."""
    moved = np.array(dlatents, np.float32)
    for edit in edits:
        moved = edit.direction.move(moved, share * edit.strength, layers)
    return moved


def parse_layers(text, num_layers):
    """'4-7,9' → [4, 5, 6, 7, 9]. Raises UserError for layers that the network has not."""
    layers = set()
    for part in text.split(','):
        match = re.match(r'\s*([0-9]{1,3})(?:\s*-\s*([0-9]{1,3}))?\s*\Z', part)
        first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
        if last < first or last >= max(num_layers, 1):
            raise UserError(f"--layers is '{text[:40]}'; write numbers and ranges from 0 to {max(num_layers, 1) - 1}, "
                            'such as 4-7')
        layers.update(range(first, last + 1))
    return sorted(layers)
