"""The kinds of videos. Each gives the frames one after the other, as lists of images that stand beside each other."""

import numpy as np

from dnnlib.errors import UserError
from figures.videos import paths

KINDS = ('interpolation', 'mixing', 'noise', 'truncation', 'edit')
NOISE_KEYS = 4      # draws of noise that a video of noise goes through
NOISE = 3           # makes them independent of latents and labels of the same seed
AT_ONCE = 64        # frames whose w are in memory
SWING = 1.0         # truncation goes from this ψ to its opposite and back


def frames(kind, gen, seeds, count, psi=0.7, cutoff=8, space='z', curve=None, noise='stored', layers=None, move=None):
    """Yields `count` frames: lists of images uint8 [H, W, C].

    Args:
        kind: one of KINDS. interpolation goes through the seeds; mixing gives some layers of the first seed the styles
            of the others' path; noise, truncation and edit show each seed beside the others.
        gen: `figures.generator.Generator`.
        seeds: list of int.
        count: frames.
        psi, cutoff: truncation.
        space: 'z' or 'w', in which key frames are joined.
        curve: one of `paths.CURVES`; None: spherical in z, linear in w.
        noise: 'stored' or 'none'.
        layers: that mixing and editing change; None: coarse ones (4² and 8²) for mixing, all for editing.
        move: for 'edit': function of (w, strength, layers), strength from -1 to 1.

    Raises UserError for what the network cannot do.
    """
    if kind != 'interpolation' and not gen.is_style_based:
        raise UserError(f'the network has no w: --video {kind} needs one, --video interpolation does not')
    if kind == 'noise' and not gen.has_noise:
        raise UserError('the network has no noise inputs, so --video noise would stand still')
    if kind == 'mixing' and not gen.num_layers:
        raise UserError('the network has no styles per layer, so --video mixing is not possible')
    if layers and layers[-1] >= max(gen.num_layers, 1):
        raise UserError(f'--layers: the network has layers 0 to {gen.num_layers - 1}')
    if kind == 'interpolation' and not gen.is_style_based:
        if space == 'w':
            raise UserError('the network has no w; use --space z')
        return _plain(gen, seeds, count, curve)
    moving = {'interpolation': _interpolation, 'mixing': _mixing}.get(kind)
    if moving is not None:
        w_of = moving(gen, seeds, count, space, curve, layers)
        return _single(gen, lambda some: _truncated(gen, w_of(some), psi, cutoff), count, noise)
    still = _truncated(gen, gen.dlatents(np.concatenate([gen.latents(seed) for seed in seeds]), gen.labels_of(seeds)),
                       1 if kind == 'truncation' else psi, cutoff)
    return {'noise': _noise, 'truncation': _truncation, 'edit': _edit}[kind](gen, still, seeds, count, cutoff, noise,
                                                                             layers, move)


def _curve(space, curve):
    if space == 'w' and curve == paths.SPHERICAL:
        raise UserError('--curve spherical goes with --space z, where latents lie on a sphere; w has linear and spline')
    return curve or (paths.SPHERICAL if space == 'z' else paths.LINEAR)


def _truncated(gen, w, psi, cutoff):
    return w if psi == 1 else gen.truncate(w, psi, cutoff)


def _path(gen, seeds, count, space, curve):
    """A function from a range of frames to their w [N, layers, size], on a closed path through seeds.

    Labels are those of the first seed.
    """
    z = np.concatenate([gen.latents(seed) for seed in seeds])
    labels = gen.labels(seeds[0])
    if space == 'z':
        path = paths.closed(z, count, _curve(space, curve))
        return lambda some: gen.dlatents(path[some.start:some.stop], np.repeat(labels, len(some), axis=0))
    w = paths.closed(gen.dlatents(z, np.repeat(labels, len(z), axis=0)), count, _curve(space, curve))
    return lambda some: w[some.start:some.stop].astype(np.float32)


def _interpolation(gen, seeds, count, space, curve, _layers):
    return _path(gen, seeds, count, space, curve)


def _mixing(gen, seeds, count, space, curve, layers):
    if len(seeds) < 3:
        raise UserError('--video mixing needs three seeds at least: one that stays, and two whose styles it takes')
    chosen = list(range(min(4, gen.num_layers)) if layers is None else layers)
    still = gen.dlatents(gen.latents(seeds[0]), gen.labels(seeds[0]))
    others = _path(gen, seeds[1:], count, space, curve)

    def mixed(some):
        w = np.repeat(still, len(some), axis=0)
        w[:, chosen] = others(some)[:, chosen]
        return w
    return mixed


def _ranges(count, size):
    return [range(begin, min(begin + size, count)) for begin in range(0, count, size)]


def _single(gen, w_of, count, noise):
    for some in _ranges(count, AT_ONCE):
        w = w_of(some)
        for batch in _ranges(len(w), gen.minibatch):
            for image in gen.synthesize(w[batch.start:batch.stop], noise):
                yield [image]


def _plain(gen, seeds, count, curve):
    z = paths.closed(np.concatenate([gen.latents(seed) for seed in seeds]), count, _curve('z', curve))
    for batch in _ranges(count, gen.minibatch):
        labels = np.repeat(gen.labels(seeds[0]), len(batch), axis=0)
        for image in gen.images(z[batch.start:batch.stop], labels):
            yield [image]


def _noise(gen, still, seeds, count, _cutoff, _noise_kind, _layers, _move):
    """Noise on a closed path over the sphere, so that it keeps its deviation."""
    drawn = np.random.RandomState([seeds[0] & 0xFFFFFFFF, NOISE])
    shapes = [value.shape for value in gen.noise_maps()]
    sizes = [int(np.prod(shape)) for shape in shapes]
    tracks = [drawn.randn(min(NOISE_KEYS, count), size).astype(np.float32) for size in sizes]
    positions = paths.phases(count)
    for index in range(count):
        maps = [_at(track, positions[index] * len(track)).reshape(shape) for track, shape in zip(tracks, shapes)]
        yield list(gen.synthesize(still, maps))


def _at(keys, position):
    """On the arc from one key [K, size] of standard normal noise to the next."""
    start = int(position) % len(keys)
    angle = (position - int(position)) * np.pi / 2
    return keys[start] * np.cos(angle) + keys[(start + 1) % len(keys)] * np.sin(angle)


def _truncation(gen, still, _seeds, count, cutoff, noise, _layers, _move):
    for phase in paths.phases(count):
        yield list(gen.synthesize(gen.truncate(still, SWING * np.cos(2 * np.pi * phase), cutoff), noise))


def _edit(gen, still, _seeds, count, _cutoff, noise, layers, move):
    if move is None:
        raise UserError('--video edit needs --edit, which says what changes')
    for phase in paths.phases(count):
        yield list(gen.synthesize(move(still, np.sin(2 * np.pi * phase), layers), noise))
