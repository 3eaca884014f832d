"""Takes the steps of a projection, and keeps its place, so that it can go on."""

import hashlib
import json
import os

import numpy as np

from dnnlib import tflib
from dnnlib.array_files import read_npz, write_npz
from dnnlib.errors import UserError
from dnnlib.files import atomic_path
from dnnlib.progress import Progress
from figures.editing.directions import sample_dlatents
from figures.projection import graph, schedule

STEPS_BETWEEN_STATES = 100


def key_of(facts):
    """A hash that is equal for projections of the same photographs in the same way."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


class Place:
    """Where the states of a projection's groups of photographs lie, and whether they are of the same projection."""

    def __init__(self, folder, key):
        self.folder, self.key = folder, key

    def _path(self, group):
        return os.path.join(self.folder, f'state-{group:03d}.npz')

    def load(self, group):
        """{name: array} of a group's state, or None. Raises UserError for that of another projection."""
        if not os.path.isfile(self._path(group)):
            return None
        arrays = read_npz(self._path(group), allow_text=True)
        if str(arrays.get('key')) != self.key:
            raise UserError(f'{self.folder} holds an unfinished projection of other photographs or settings; choose '
                            'another --outdir, or delete it')
        return arrays

    def store(self, group, arrays):
        """Stores a group's state atomically."""
        os.makedirs(self.folder, exist_ok=True)
        with atomic_path(self._path(group)) as temp, open(temp, 'wb') as file:
            write_npz(file, key=np.array(self.key), **arrays)


def optimise(projector, settings, deviation, place, group, between=None):
    """Takes all steps that a group of photographs has not taken yet.

    Args:
        projector: `graph.Projector` at its start.
        settings: `schedule.Settings`.
        deviation: of w.
        place: `Place` of the states.
        group: number of the group.
        between: function that is called with the step and the images after every `STEPS_BETWEEN_STATES` steps.

    Returns:
        {'w': [B, 1 or layers, size], 'noise0' …: [B, 1, H, W], 'curve': distances [steps + 1, B], whose first row is
        that of w's mean and whose last that of what was found}.

    Raises UserError where the distance becomes NaN or infinite.
    """
    state = place.load(group)
    curve = np.zeros([settings.steps + 1, projector.dlatents.shape.as_list()[0]], np.float32)
    quiet = np.zeros(projector.dlatents.shape.as_list(), np.float32)
    begin = 0
    if state is not None:
        begin, curve = int(state['step']), np.array(state['curve'])
        tflib.set_vars({var: state[f'state{index}'] for index, var in enumerate(projector.state)})
    else:
        curve[0] = tflib.run(projector.distances, {projector.latent_noise: quiet})
    with Progress(f'projection {group + 1}', settings.steps - begin, 'steps') as progress:
        for step in range(begin, settings.steps):
            noise = schedule.latent_noise_at(settings, step, deviation)
            drawn = schedule.draw_latent_noise(settings, step, quiet.shape) * np.float32(noise) if noise else quiet
            distances, _ = tflib.run([projector.distances, projector.step], {
                projector.latent_noise: drawn, projector.rate: schedule.rate_at(settings, step)})
            curve[step] = distances if step else curve[0]
            progress.add(1)
            if (step + 1) % STEPS_BETWEEN_STATES == 0 or step + 1 == settings.steps:
                if step + 1 == settings.steps:
                    curve[-1] = tflib.run(projector.distances, {projector.latent_noise: quiet})
                _keep(projector, place, group, step + 1, curve)
                if between is not None:
                    between(step + 1, tflib.run(projector.images, {projector.latent_noise: quiet}))
    if not np.all(np.isfinite(curve)):
        raise UserError('the distance became NaN or infinite; the network or the distance does not fit the photographs')
    found = {f'noise{index}': value for index, value in enumerate(tflib.get_vars(projector.noises))}
    return dict(found, w=tflib.get_vars([projector.dlatents])[0], curve=curve,
                images=tflib.run(projector.images, {projector.latent_noise: quiet}))


def _keep(projector, place, group, step, curve):
    values = tflib.get_vars(projector.state)
    place.store(group, dict({f'state{index}': value for index, value in enumerate(values)}, step=np.array(step),
                            curve=curve))


def check(gen):
    """Raises UserError for a network into which nothing can be projected."""
    if not gen.is_style_based:
        raise UserError('the network has no w, so nothing can be projected into it')
    if gen.resolution < 8:
        raise UserError(f'images of {gen.resolution} pixels are too small to be compared')


def project(gen, distance, photographs, settings, place, minibatch, between=None):
    """Projects photographs, `minibatch` at a time.

    Args:
        gen: `figures.generator.Generator`.
        distance: see `graph.build`.
        photographs: uint8 [N, H, W, C] of the generator's resolution and channels.
        settings, place: see `optimise`.
        between: function of (number of the first photograph, step, images).

    Returns the arrays of `optimise` for all of them, with w for every layer. Raises UserError for a network without w,
    and where another projection was interrupted.
    """
    check(gen)
    place.load(0)       # another projection's is refused at once
    mean, deviation = schedule.mean_and_deviation(sample_dlatents(gen, schedule.SAMPLES))
    layers, parts, projectors = max(gen.num_layers, 1), [], {}
    for group, begin in enumerate(range(0, len(photographs), minibatch)):
        some = photographs[begin:begin + minibatch]
        if len(some) not in projectors:
            projectors[len(some)] = graph.build(gen, distance, len(some), settings)
        projector = projectors[len(some)]
        graph.reset(projector, gen, mean, _targets(some, projector))
        tell = None if between is None else lambda step, images, begin=begin: between(begin, step, images)
        parts.append(optimise(projector, settings, deviation, place, group, tell))
    found = {name: np.concatenate([part[name] for part in parts], axis=1 if name == 'curve' else 0)
             for name in parts[0]}
    if found['w'].shape[1] != layers:
        found['w'] = np.tile(found['w'], [1, layers, 1])
    return found


def _targets(photographs, projector):
    """Photographs uint8 [B, H, W, C] as the projector compares them, float32 [B, 3, R, R]."""
    size = projector.target.shape.as_list()[-1]
    images = photographs.astype(np.float32).transpose(0, 3, 1, 2)
    images = np.tile(images, [1, 3, 1, 1]) if images.shape[1] == 1 else images
    factor = images.shape[-1] // size
    if factor > 1:
        images = images.reshape(len(images), 3, size, factor, size, factor).mean(axis=(3, 5))
    return images
