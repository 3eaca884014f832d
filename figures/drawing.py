"""The papers' figures. Each function takes a `Generator` and returns a `Figure`."""

import collections
import itertools

import numpy as np

from dnnlib.util import UserError
from figures import composing, layouts

Figure = collections.namedtuple('Figure', 'name title caption picture frames column_labels row_labels row_groups facts')
"""name: of the file; title, caption: text; picture: a PIL picture; frames: list of PIL pictures of an animation, of
which the picture shows some, or None; column_labels, row_labels: what to write beside the picture, a list of (text,
share of its width or height), row_groups: the same left of the row labels; facts: what would be needed to draw it again
(JSON-able dict)."""


def _figure(name, title, caption, picture, frames=None, column_labels=(), row_labels=(), row_groups=(), **facts):
    return Figure(name, title, caption, picture, frames, list(column_labels), list(row_labels), list(row_groups), facts)


def _need_styles(gen):
    if not gen.num_layers:
        raise UserError('the network has no styles per layer')


def _need_noise(gen):
    if not gen.has_noise:
        raise UserError('the network has no noise inputs')


def _truncation_words(gen, psi, cutoff):
    if not gen.is_style_based or psi == 1:
        return 'no truncation'
    return f'truncation ψ = {psi:g} at {layouts.pixels_of(range(min(cutoff, max(gen.num_layers, 1))))}'


def _noise_words(gen, words):
    return f', {words}' if gen.has_noise else ''


def _pictures(gen, images):
    """PIL pictures of images, those of small networks enlarged."""
    return [composing.zoomed(composing.to_picture(image), layouts.zoom_of(gen.resolution)) for image in images]


def _seeds(seeds):
    return [(f'seed {seed}', 1) for seed in seeds]


def uncurated(gen, layout, psi=0.7, cutoff=8):
    """Images as they come, at several sizes (StyleGAN paper, Figs. 2, 8, 9; Re-Training paper, Fig. 5, 6)."""
    count = sum(layout.rows * 2 ** level for level in layout.levels)
    latents = gen.latents(layout.seed, count)
    images = iter(gen.images(latents, gen.labels(layout.seed, count), psi=psi, cutoff=cutoff,
                             noise_seed=layout.seed, title='uncurated'))
    columns = []
    for level in layout.levels:
        cells = [composing.shrink(composing.crop_rows(composing.to_picture(next(images)), layout.crop), 2 ** level)
                 for _ in range(layout.rows * 2 ** level)]
        columns.append(composing.zoomed(composing.grid([[cell] for cell in cells]), layouts.zoom_of(gen.resolution)))
    picture = composing.canvas(sum(column.size[0] for column in columns), max(column.size[1] for column in columns))
    x = 0
    for column in columns:
        picture.paste(column, (x, 0))
        x += column.size[0]
    return _figure('uncurated', 'Uncurated images',
                   f'{count} images of consecutive latents of seed {layout.seed}, none left out; '
                   f'{_truncation_words(gen, psi, cutoff)}{_noise_words(gen, "fresh noise")}.'
                   + ('' if layout.is_published else ' Seed and arrangement are of this project: none was published.'),
                   picture, seed=layout.seed, rows=layout.rows, levels=list(layout.levels), psi=psi, cutoff=cutoff)


def style_mixing(gen, layout=layouts.MIXING):
    """Styles of the sources' coarse, middle or fine layers in the destinations (StyleGAN paper, Fig. 3)."""
    _need_styles(gen)
    ranges = layouts.style_ranges(gen.num_layers)
    seeds = list(layout.sources) + list(layout.destinations)
    latents = np.concatenate([gen.latents(seed) for seed in seeds])
    w = gen.dlatents(latents, gen.labels_of(seeds))
    num_sources = len(layout.sources)
    sources, destinations = w[:num_sources], w[num_sources:]
    rows = [(destination, kind) for destination, kind in zip(destinations, layout.copied) if len(ranges[kind])]
    mixed = np.repeat(np.stack([destination for destination, _ in rows]), num_sources, axis=0)
    for index, (_, kind) in enumerate(rows):
        block = slice(index * num_sources, (index + 1) * num_sources)
        mixed[block, ranges[kind]] = sources[:, ranges[kind]]
    pure = np.concatenate([sources, np.stack([destination for destination, _ in rows])])
    images = gen.synthesize(np.concatenate([pure, mixed]), noise='stored', title='style mixing')
    pictures = _pictures(gen, images)
    grid = [[None] + pictures[:num_sources]]
    for index in range(len(rows)):
        begin = len(pure) + index * num_sources
        grid.append([pictures[num_sources + index]] + pictures[begin:begin + num_sources])
    kinds = [kind for _, kind in rows]
    used = [kind for kind in ('coarse', 'middle', 'fine') if kind in kinds]
    words = '; '.join(f'{kind} ({layouts.pixels_of(ranges[kind])}) in {kinds.count(kind)} row'
                      + 's' * (kinds.count(kind) > 1)
                      for kind in used)
    return _figure('style-mixing', 'Style mixing',
                   'Top row: sources, by the seeds below; left column: destinations, by the seeds on the left. Each '
                   'other image is the destination of its row with '
                   f"the source's styles in some layers, from the top: {words}. No truncation, stored noise.",
                   composing.grid(grid), column_labels=[('', 1)] + _seeds(layout.sources),
                   row_labels=[('', 1)] + _seeds(destination for destination, kind in zip(
                       layout.destinations, layout.copied) if kind in used),
                   row_groups=[('', 1)] + [(f'{kind} styles', len(list(run))) for kind, run in
                                           itertools.groupby(kinds)],
                   sources=list(layout.sources), destinations=list(layout.destinations),
                   copied={kind: [ranges[kind][0], ranges[kind][-1]] for kind in used})


def noise_detail(gen, seeds=layouts.NOISE_DETAIL_SEEDS, draws=layouts.NOISE_DETAIL_DRAWS):
    """One image, crops of several noise draws, and how much each pixel varies (StyleGAN paper, Fig. 4).

    The paper's crop is of the hair of an FFHQ face at 1024x1024. Of other networks' images the part is shown that the
    noise changes most. Raises UserError for fewer than 5 draws, and for a network without noise.
    """
    _need_noise(gen)
    if draws < 5:
        raise UserError(f'noise detail needs at least 5 draws, not {draws}')
    size = gen.resolution
    drawn = [_noise_draws(gen, seed, draws) for seed in seeds]
    deviations = np.stack([deviation for _, deviation in drawn])
    factor = max(layouts.NOISE_DETAIL_BRIGHTENED, 255 / max(np.percentile(deviations, 99.5), 1e-3))
    factor = float(f'{factor:.2g}')
    is_papers = size == 1024
    boxes, rows = [], []
    for images, deviation in drawn:
        box = ([int(round(fraction * size)) for fraction in layouts.NOISE_DETAIL_CROP] if is_papers
               else most_varied(deviation, max(size // 4, 1)))
        shown = _pictures(gen, images)
        half = shown[0].size[0] // 2
        crops = [composing.enlarge(composing.to_picture(image).crop(box), half, half) for image in images[1:5]]
        grey = _pictures(gen, [np.clip(np.rint(deviation * factor), 0, 255).astype(np.uint8)])
        rows.append([shown[0], composing.grid([crops[:2], crops[2:]])] + grey)
        boxes.append(box)
    part = 'an enlarged part of it' if is_papers else 'the part of it that changes most, enlarged,'
    return _figure('noise-detail', 'Effect of noise on details',
                   f'Left: an image. Middle: {part} with four other draws of the noise. Right: standard deviation of '
                   f'each pixel over {draws} draws, brightened by {factor:g}. No truncation.',
                   composing.grid(rows), column_labels=[('image', 1), ('detail, other noise', 1), ('deviation', 1)],
                   row_labels=_seeds(seeds), seeds=list(seeds), draws=draws, crops=boxes, brightened=factor)


def _noise_draws(gen, seed, draws):
    """(the first five images, standard deviation of each pixel's grey over all of them, float64 [H, W])."""
    w = gen.dlatents(gen.latents(seed), gen.labels(seed))
    shown, total, squares = [], 0.0, 0.0
    for begin in range(0, draws, 100):  # so that any number of draws fits into memory
        count = min(100, draws - begin)
        images = gen.synthesize(np.repeat(w, count, axis=0), noise='random', noise_seed=seed + begin,
                                title=f'noise detail, seed {seed}')
        shown += list(images[:5 - len(shown)])
        for image in images:
            grey = image.mean(axis=2, dtype=np.float64)
            total, squares = total + grey, squares + grey ** 2
    return shown, np.sqrt(np.maximum(squares / draws - (total / draws) ** 2, 0))


def most_varied(deviation, side):
    """[left, top, right, bottom] of the square of `side` pixels with the largest sum of deviations [H, W]."""
    sums = np.pad(deviation, [(1, 0), (1, 0)], mode='constant').cumsum(axis=0).cumsum(axis=1)
    squares = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = (int(place) for place in np.unravel_index(np.argmax(squares), squares.shape))
    return [left, top, left + side, top + side]


def noise_components(gen, seeds=layouts.NOISE_COMPONENT_SEEDS, mirrored=layouts.NOISE_COMPONENT_MIRRORED):
    """Noise in all, no, fine or coarse layers (StyleGAN paper, Fig. 5; Re-Training paper, Fig. 7)."""
    _need_noise(gen)
    ranges = layouts.style_ranges(len(gen.noise_vars))
    coarse = range(0, ranges['fine'][0]) if len(ranges['fine']) else ranges['all']
    w = gen.dlatents(np.concatenate([gen.latents(seed) for seed in seeds]), gen.labels_of(seeds))
    pictures = {}
    for key, layers in [('all', ranges['all']), ('none', ()), ('fine', ranges['fine']), ('coarse', coarse)]:
        images = gen.synthesize(w, noise=gen.noise_maps(layers), title='noise components')
        pictures[key] = _pictures(gen, [image[:, ::-1] if flip else image for image, flip in zip(images, mirrored)])
    rows = [[composing.halves(left, right) for left, right in zip(pictures[a], pictures[b])]
            for a, b in (('all', 'none'), ('fine', 'coarse'))]
    return _figure('noise-components', 'Noise in different layers',
                   'Left and right half of each image: top, noise in all layers and in none; bottom, in the fine '
                   f'({layouts.pixels_of(ranges["fine"])}) and in the coarse ones ({layouts.pixels_of(coarse)}). '
                   'No truncation.', composing.grid(rows),
                   column_labels=_seeds(seeds), row_labels=[('all | none', 1), ('fine | coarse', 1)],
                   seeds=list(seeds), mirrored=list(mirrored), fine_from_layer=len(coarse))


def truncation(gen, seeds=layouts.TRUNCATION_SEEDS, psis=layouts.TRUNCATION_PSIS):
    """From one side of the mean face to the other (StyleGAN paper, Fig. 11; Re-Training paper, Fig. 8).

    Raises UserError without a mean of w.
    """
    if not gen.is_style_based:
        raise UserError('the network has no mean style to move towards')
    w = gen.dlatents(np.concatenate([gen.latents(seed) for seed in seeds]), gen.labels_of(seeds))
    truncated = np.concatenate([gen.truncate(w, psi) for psi in psis])
    images = gen.synthesize(truncated, noise='stored', title='truncation')
    pictures = _pictures(gen, images)
    rows = [[pictures[column * len(seeds) + row] for column in range(len(psis))] for row in range(len(seeds))]
    return _figure('truncation', 'Truncation',
                   f'From left to right ψ = {", ".join(f"{psi:g}" for psi in psis)} in all layers; ψ = 0 is the mean '
                   f'of w{_noise_words(gen, "with stored noise")}.', composing.grid(rows),
                   column_labels=[(f'ψ = {psi:g}', 1) for psi in psis], row_labels=_seeds(seeds),
                   seeds=list(seeds), psis=list(psis))


def slerp(a, b, t):
    """Spherical interpolation between vectors of unit length along the last axis, t in 0…1."""
    angle = np.arccos(np.clip((a * b).sum(-1, keepdims=True), -1, 1))
    small = angle < 1e-6
    safe = np.where(small, 1, np.sin(angle))
    weights = np.where(small, 1 - t, np.sin((1 - t) * angle) / safe), np.where(small, t, np.sin(t * angle) / safe)
    return a * weights[0] + b * weights[1]


def loop_latents(keys, count):
    """`count` latents on a closed path over the sphere through all `keys` [K, size], which it leaves unnormalised."""
    lengths = np.linalg.norm(keys, axis=-1, keepdims=True)
    unit = keys / lengths
    positions = np.arange(count) * len(keys) / count
    start = positions.astype(int)
    end, t = (start + 1) % len(keys), (positions - start)[:, np.newaxis]
    return slerp(unit[start], unit[end], t) * (lengths[start] * (1 - t) + lengths[end] * t)


def interpolation(gen, seed=layouts.INTERPOLATION_SEED, keys=layouts.INTERPOLATION_KEYS,
                  frames=layouts.INTERPOLATION_FRAMES, psi=0.7, cutoff=8, path=None, largest=512):
    """An animation along a closed path through latents, at most `largest` pixels wide.

    The latents are `keys` ones of a seed, or the first ones of the seeds in `path`. Raises UserError for fewer than 2
    latents, or fewer frames than latents.
    """
    places = gen.latents(seed, keys) if path is None else np.concatenate([gen.latents(one) for one in path])
    if len(places) < 2:
        raise UserError('an interpolation goes through at least 2 latents')
    if frames < len(places):
        raise UserError(f'an interpolation through {len(places)} latents needs as many frames, not {frames}')
    latents = loop_latents(places, frames)
    labels = np.repeat(gen.labels(seed if path is None else path[0]), frames, axis=0)   # one for all of the path
    images = gen.images(latents, labels, psi=psi, cutoff=cutoff, noise='stored',
                        title='interpolation')
    factor = max(gen.resolution // largest, 1)
    pictures = [composing.shrink(picture, factor) for picture in _pictures(gen, images)]
    numbers = [index * frames // 8 for index in range(min(8, frames))]
    return _figure('interpolation', 'Interpolation',
                   f'{frames} frames along a closed path through '
                   + (f'{keys} latents of seed {seed}; ' if path is None
                      else f"the latents of seeds {', '.join(map(str, path))}; ") +
                   f'{_truncation_words(gen, psi, cutoff)}{_noise_words(gen, "stored noise")}.',
                   composing.grid([[pictures[number] for number in numbers]]), frames=pictures,
                   column_labels=[(f'frame {number}', 1) for number in numbers], psi=psi, cutoff=cutoff,
                   **(dict(seed=seed, keys=keys) if path is None else dict(path=list(path))))
