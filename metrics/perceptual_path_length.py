"""Perceptual path length: how fast images change along paths in latent space (StyleGAN paper, section 4.1)."""

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from metrics import arithmetic
from metrics.arithmetic import path_length_mean
from metrics.base import MetricBase
from metrics.context import HALVES, NOISE, PATH, MetricFailure, chunk_rng, chunk_seed
from metrics.features import to_rgb
from metrics.scores.result import Result
from training.codes import style_parts

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('PPL',)}

NUM_HALVINGS = 20
MAX_SIZE = 256      # Images are box-downscaled to at most this before the distance is taken.
MIN_SIZE = 16       # VGG16 halves images four times.


class PPL(MetricBase):
    """Perceptual path length.

    Args:
        num_samples: paths; a whole number from 2 to 1e9
        epsilon: step along a path; a number from 1e-9 to 1
        space: z, spherical interpolation of latents, or w, linear interpolation of mapped latents; z or w
        sampling: anywhere on the path, or at its beginning; full or end
        minibatch_per_gpu: paths per chunk; a whole number from 1 to 1e6
        ends: with `end`, at t = 0 as the released code has it, or at 0 or 1, drawn for each path, as the paper says;
            start or both
        rejection: whether the lowest and the highest percent of the distances are left out, as the released code does;
            true or false
    """

    uses_networks = ('perceptual',)
    better = 'lower'

    def __init__(self, num_samples, epsilon, space, sampling, minibatch_per_gpu, ends='start', rejection=True,
                 **kwargs):
        super().__init__(**kwargs)
        if space not in ('z', 'w') or sampling not in ('full', 'end'):
            raise UserError(f"{self.name}: space is '{space}' and sampling '{sampling}'; z or w, and full or end, are "
                            'expected')
        if ends not in ('start', 'both') or not isinstance(rejection, bool):
            raise UserError(f'{self.name}: ends is {ends!r:.60} and rejection {rejection!r:.60}; start or both, and '
                            'true or false, are expected')
        self._check_numbers(1, num_samples=num_samples, minibatch_per_gpu=minibatch_per_gpu)
        self._check_share(1e-9, 1, epsilon=epsilon)
        self.num_samples = num_samples
        self.epsilon = epsilon
        self.space = space
        self.sampling = sampling
        self.minibatch_per_gpu = minibatch_per_gpu
        self.ends = ends
        self.rejection = rejection

    def _evaluate(self, ctx):
        network = ctx.features.perceptual()
        size = self.minibatch_per_gpu
        if self.space == 'w':
            ctx.parts()
        check_shape(ctx.output_shape)
        inputs = {'start': (tf.float32, [size, ctx.latent_size]), 'end': (tf.float32, [size, ctx.latent_size]),
                  't': (tf.float32, [size, 1, 1]), 'seed': (tf.int32, [2])}
        if ctx.fake_labels.label_size:
            inputs['labels'] = (tf.float32, [size, ctx.fake_labels.label_size])

        def feed(chunk):
            latents = ctx.latents(chunk, 2 * size).reshape([size, 2, ctx.latent_size])
            t = self._places(chunk_rng(ctx.seed, PATH, chunk))
            start, end = latents[:, 0], latents[:, 1]
            if self.space == 'z':
                # In float64: the step is not much longer than what float32 can tell apart.
                start, end = (arithmetic.slerp(start.astype(np.float64), end.astype(np.float64), place)
                              for place in (t, t + self.epsilon))
            values = {'start': start, 'end': end, 't': t[:, :, np.newaxis], 'seed': chunk_seed(ctx.seed, NOISE, chunk)}
            if ctx.fake_labels.label_size:
                values['labels'] = ctx.labels(chunk, size)
            return values

        def build(index, holders):
            images = self._build_path_images(ctx, index, holders)
            pairs = prepare_images(images)
            return [network.on_device(index).get_output_for(pairs[:size], pairs[size:]) / self.epsilon ** 2]

        def redraw_noise(index, holders):
            return tf.group(*[tf.assign(var, tf.random.stateless_normal(var.shape, holders['seed'] + number))
                              for number, var in enumerate(noise_variables(ctx.generator(index)))])

        distances = np.empty([self.num_samples])
        for _, start, count, (values,) in ctx.run_chunks(self.name, self.num_samples, size, inputs, build, feed,
                                                         before=redraw_noise,
                                                         graph=('path length', self.space, self.epsilon, size)):
            distances[start:start + count] = values[:count]
        return self._score(distances, ctx.seed)

    def _places(self, rng):
        """Where on each of the paths of a chunk the step begins, [minibatch_per_gpu, 1]."""
        shape = [self.minibatch_per_gpu, 1]
        if self.sampling == 'end' and self.ends == 'both':
            return rng.randint(2, size=shape).astype(np.float64)
        return rng.uniform(0.0, 1.0 if self.sampling == 'full' else 0.0, shape)

    def _build_path_images(self, ctx, index, holders):
        """Images [2N, C, H, W] of the beginnings and ends of N steps, with the stored noise; a path has one label."""
        generator = ctx.generator(index)
        if style_parts(generator) is None:  # a traditional generator
            latents = tf.concat([holders['start'], holders['end']], axis=0)
            return ctx.watch(generator.get_output_for(latents, *ctx.label_inputs(generator, holders, 2),
                                                      is_validation=True, randomize_noise=False))
        mapping, synthesis = ctx.parts(index)
        dlatents = [mapping.get_output_for(holders[name], *ctx.label_inputs(mapping, holders))
                    for name in ('start', 'end')]
        if self.space == 'w':
            t = holders['t']
            dlatents = [tflib.lerp(dlatents[0], dlatents[1], place) for place in (t, t + self.epsilon)]
        return ctx.watch(synthesis.get_output_for(tf.concat(dlatents, axis=0), randomize_noise=False, one_by_one=True))

    def _score(self, distances, seed):
        if not np.all(np.isfinite(distances)):
            bad = int(np.count_nonzero(~np.isfinite(distances)))
            raise MetricFailure(f'{bad} of {len(distances)} distances are NaN or infinite')
        mean = path_length_mean if self.rejection else np.mean
        rng = chunk_rng(seed, HALVES, 0)
        pairs = []
        for _ in range(NUM_HALVINGS if len(distances) >= 4 else 0):
            shuffled = rng.permutation(distances)
            middle = len(shuffled) // 2
            pairs.append([mean(shuffled[:middle]), mean(shuffled[middle:])])
        result = Result()
        result.add_with_halves(mean(distances), pairs)
        result.details.update(mean_without_rejection=np.mean(distances), median=np.median(distances))
        return result


def normalize(v):
    """Vectors [..., d] divided by their L2 norms: a tensor for a tensor, an array for an array."""
    if not tflib.is_tf_expression(v):
        return arithmetic.normalize(np.asarray(v))
    return v / tf.sqrt(tf.reduce_sum(tf.square(v), axis=-1, keepdims=True))


def slerp(a, b, t):
    """Spherical interpolation from a [..., d] to b at t, as `metrics.arithmetic.slerp`, of tensors too."""
    if not any(tflib.is_tf_expression(x) for x in (a, b, t)):
        return arithmetic.slerp(a, b, t)
    a, b = normalize(tf.convert_to_tensor(a)), normalize(tf.convert_to_tensor(b))
    cosine = tf.reduce_sum(a * b, axis=-1, keepdims=True)
    angle = t * tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    direction = normalize(b - cosine * a)
    return normalize(a * tf.cos(angle) + direction * tf.sin(angle))


def noise_variables(network):
    """The stored noise images of a generator, in order of their layers."""
    parts = style_parts(network)
    if parts is None:
        return []
    synthesis = parts[1]
    names = [name for name in synthesis.own_vars if name.startswith('noise')]
    return [synthesis.own_vars[name] for name in sorted(names, key=lambda name: int(name[len('noise'):]))]


def check_shape(shape):
    """Raises MetricFailure unless images of [C, H, W] can be cropped to the face."""
    height, width = shape[1:]
    if height % 8 or height != width or height < 2 * MIN_SIZE:
        raise MetricFailure(f'the path length is made for square images of at least {2 * MIN_SIZE} pixels; these are '
                            f'{width}x{height}')


def prepare_images(images):
    """Crops [N, C, H, W] in [-1, 1] to the face, box-downscales to at most 256, maps to RGB [0, 255]."""
    check_shape(images.shape.as_list()[1:])
    unit = images.shape.as_list()[2] // 8
    images = to_rgb(images[:, :, 3 * unit:7 * unit, 2 * unit:6 * unit])
    factor = 4 * unit // MAX_SIZE
    if factor > 1:
        images = tf.reshape(images, [-1, 3, MAX_SIZE, factor, MAX_SIZE, factor])
        images = tf.reduce_mean(images, axis=[3, 5])
    return (images + 1.0) * (255.0 / 2.0)
