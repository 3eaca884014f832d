"""Pictures of what the page asks for."""

import collections
import io

import numpy as np

from dnnlib.errors import UserError
from figures import composing
from figures.drawing import slerp
from figures.explorer.state import NUM_SLIDERS
from training.network_files import labels

STEP = 0.35     # length of a step to a neighbour, as the sine of its angle
PACKING = 1     # of PNGs for the page: half the time of Pillow's own 6, for a few per cent more bytes
NEAR = 2        # makes neighbours independent of latents and labels of the same seed

Point = collections.namedtuple('Point', 'z w noise noise_seed')
"""z: latents [1, size], or None where no single ones belong to the picture; w: [1, layers, size] as the synthesis
network gets it, or None for a network without w; noise: 'stored', 'random', 'none' or an array per layer; noise_seed:
of random noise."""


class Renderer:
    """Makes pictures of states.

    Args:
        gen: `Generator`.
        facts: of its network, see `figures.arguments.open_network`.
        directions: `figures.editing.directions.Direction` of the sliders, at most NUM_SLIDERS.
        photos: `figures.latent_files.Latents` to start from, or None.
    """

    def __init__(self, gen, facts, directions=(), photos=None):
        self.gen, self.facts, self.photos = gen, facts, photos
        self.directions = list(directions)[:NUM_SLIDERS]
        self._labels = {}

    def cannot(self):
        """{control: why this network has no use for it}."""
        gen, found = self.gen, {}
        if not gen.is_style_based:
            found['psi'] = 'The network has no mean style to move towards.'
        if not gen.num_layers:
            found['mix'] = 'The network has no styles per layer.'
        if not gen.has_noise:
            found['noise'] = 'The network has no noise inputs.'
        if not gen.label_size:
            found['class'] = 'The network has no classes.'
        if not self.directions:
            found['sliders'] = 'Directions are those of w, which the network has not.'
        return found

    def point(self, state):
        """The `Point` of a state. Raises UserError for what this network cannot do."""
        self.check(state)
        gen = self.gen
        noise, noise_seed = self._noise(state)
        if not gen.is_style_based:
            z = self._latents(state)
            if state.to is not None:
                z = _between(z, gen.latents(state.to), state.t)
            return Point(z, None, noise, noise_seed)
        if state.photo is not None:
            z, w = None, self.photos.w[state.photo:state.photo + 1]
            if state.near:      # the way in w from the seed to its neighbour
                both = np.concatenate([gen.latents(state.seed), self._latents(state)])
                start, end = gen.dlatents(both, self.labels_of(state, state.seed).repeat(2, axis=0))
                w = w + (end - start)
        else:
            z = self._latents(state)
            w = gen.dlatents(z, self.labels_of(state, state.seed))
        if state.to is not None:
            end = gen.dlatents(gen.latents(state.to), self.labels_of(state, state.to))
            w = w + np.float32(state.t) * (end - w)
        if state.mix is not None and state.mix_layers:
            other = gen.dlatents(gen.latents(state.mix), self.labels_of(state, state.mix))
            w = np.array(w)
            w[:, list(state.mix_layers)] = other[:, list(state.mix_layers)]
        w = w if state.psi == 1 else gen.truncate(w, state.psi, state.cutoff)
        for direction, strength in zip(self.directions, state.sliders):
            w = direction.move(w, strength) if strength else w
        is_z = state.photo is None and state.to is None and state.mix is None
        return Point(z if is_z else None, w, noise, noise_seed)

    def image(self, state):
        """The image of a state, uint8 [H, W, C]."""
        gen, point = self.gen, self.point(state)
        if point.w is None:
            return gen.images(point.z, self.labels_of(state, state.seed), psi=state.psi)[0]
        return gen.synthesize(point.w, point.noise, point.noise_seed)[0]

    def labels_of(self, state, seed):
        """Labels [1, label_size] that go with a seed."""
        if state.label is None:
            return self.gen.labels(seed)
        if state.label not in self._labels:
            self._labels[state.label] = labels.choose(state.label, self.gen.label_size, self.facts.path, 'class')
        return self._labels[state.label].draw(1, np.random.RandomState(seed))

    def _latents(self, state):
        z = self.gen.latents(state.seed)
        for depth, number in enumerate(state.near):
            step = np.random.RandomState([state.seed & 0xFFFFFFFF, NEAR, depth, number]).randn(*z.shape)
            z = np.sqrt(1 - STEP ** 2) * z + STEP * step
        return z

    def _noise(self, state):
        noise_seed = state.seed if state.noise_seed is None else state.noise_seed
        if state.noise != 'stored' or not self.gen.has_noise:
            return state.noise, noise_seed
        own = self.photos.noise_of(state.photo) if state.photo is not None else None
        if own is None and state.noise_layers is None:
            return 'stored', noise_seed
        maps = self.gen.noise_maps() if own is None else own
        keep = range(len(maps)) if state.noise_layers is None else state.noise_layers
        return [value if index in keep else np.zeros_like(value) for index, value in enumerate(maps)], noise_seed

    def check(self, state):
        """Raises UserError for a state of which this network has no picture."""
        gen = self.gen
        if state.photo is not None and (self.photos is None or not 0 <= state.photo < self.photos.count):
            raise UserError(f'photo is {state.photo}; ' + (
                f'there are 0 to {self.photos.count - 1}' if self.photos else 'no latents were given with --latents'))
        if state.mix is not None and not gen.num_layers:
            raise UserError('mix: the network has no styles per layer')
        if state.mix_layers and state.mix_layers[-1] >= max(gen.num_layers, 1):
            raise UserError(f'mix_layers: the network has layers 0 to {gen.num_layers - 1}')
        if state.noise_layers is not None and not gen.has_noise:
            raise UserError('noise_layers: the network has no noise inputs')
        if state.noise_layers is not None and state.noise != 'stored':
            raise UserError('noise_layers goes with stored noise')
        if state.noise_layers and state.noise_layers[-1] >= len(gen.noise_vars):
            raise UserError(f'noise_layers: the network has layers 0 to {len(gen.noise_vars) - 1}')
        if len(state.sliders) > len(self.directions) and any(state.sliders[len(self.directions):]):
            raise UserError(f'sliders: there are {len(self.directions)} directions')
        if state.label is not None and not gen.label_size:
            raise UserError('class: the network has no classes')
        if state.label is not None:
            self.labels_of(state, state.seed)


def _between(a, b, t):
    """On the sphere from one z to another, lengths between theirs."""
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b)]
    return slerp(a / lengths[0], b / lengths[1], t) * (lengths[0] * (1 - t) + lengths[1] * t)


def to_png(image, thumb=None):
    """The bytes of a PNG of an image [H, W, C], no larger than `thumb` pixels."""
    picture = composing.to_picture(image)
    if thumb is not None and picture.width > thumb:
        picture.thumbnail((thumb, thumb))
    out = io.BytesIO()
    picture.save(out, format='PNG', compress_level=PACKING)
    return out.getvalue()
