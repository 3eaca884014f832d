"""A generator that renders pictures for figures: every graph is built once, whatever is varied."""

import numpy as np
from tqdm import tqdm

from dnnlib import tflib
from dnnlib.seeds import check_seed, signed32
from dnnlib.tflib import tf
from dnnlib.util import UserError
from training.codes import style_parts, trained_part
from training.network_files.labels import ZEROS, FakeLabels

MINIBATCH = 8
LABELS = 1      # makes labels independent of the latents of the same seed


def latents_of(seed, count, size):
    """The papers' latents of a seed, float64 [count, size]."""
    return np.random.RandomState(check_seed(seed)).randn(count, size)


def check_makes_images(network, path=None):
    """Raises UserError for a network of points or other samples without pixels. `path`: of its file, to be named."""
    if len(network.output_shape) != 4:
        raise UserError(f"{path + ': ' if path else ''}network '{network.name}' makes samples of "
                        f'{network.output_shape[1:]}, not images; a generator of images is needed here. Points are '
                        'drawn by the run that trains on them, fakes*.png in its directory, and measured by '
                        'run_metrics.py jsd,mode_coverage')


class Generator:
    """Renders images of a network of the StyleGAN or the Progressive GAN family, or of codes that are decoded.

    Args:
        network: the `Network`, usually Gs.
        minibatch: images per session call.
        progress: show a progress bar on a terminal for renderings of more than one minibatch.

    Attributes:
        fake_labels: `training.network_files.labels.FakeLabels` that images are made with; zeros unless changed.
        resolution, num_channels, latent_size, label_size: of the network.
        num_layers: layers that take a style of their own; 0 for networks without styles.
        has_noise: the network has noise inputs.
    """

    def __init__(self, network, minibatch=MINIBATCH, progress=True):
        check_makes_images(network)
        self.network = network
        self.minibatch = minibatch
        self.progress = progress
        self.num_channels, height, self.resolution = network.output_shape[1:]
        if self.num_channels not in (1, 3) or height != self.resolution:
            raise UserError(f"network '{network.name}' gives arrays {network.output_shape[1:]}, which are no pictures")
        self.latent_size = network.input_shapes[0][1]
        self.label_size = network.input_shapes[1][1] if network.num_inputs > 1 else 0
        self.fake_labels = FakeLabels(self.label_size, ZEROS if self.label_size else None)
        trained = trained_part(network)     # of a generator of codes, what has styles
        self._mapping, self._synthesis = style_parts(network) or (None, None)
        self.is_style_based = self._mapping is not None and 'dlatent_avg' in trained.own_vars
        self.num_layers = 0
        self.noise_vars = []
        if self.is_style_based:
            rows = self._mapping.output_shape[1] if len(self._mapping.output_shape) == 3 else 1
            self.num_layers = rows if rows > 1 else 0
            self.noise_vars = [var for name, var in self._synthesis.own_vars.items() if name.startswith('noise')]
            self.dlatent_avg = trained.get_var('dlatent_avg')
            self._follow_lod(trained)
        self.has_noise = bool(self.noise_vars)
        self._stored_noise = None
        self._renderers = {}

    def _follow_lod(self, trained):
        """The synthesis network, which is called directly, has a level of detail of its own."""
        lod = float(trained.get_var('lod')) if 'lod' in trained.own_vars else 0.0
        synthesis = trained.components['synthesis']
        if 'lod' in synthesis.own_vars:
            synthesis.set_var('lod', lod)
        # At full resolution the simplest graph gives the same images, below it the one without conditionals.
        self._structure = {'structure': 'fixed'} if lod == 0 else {}
        self._plain_structure = {'structure': 'fixed' if lod == 0 else 'linear'}

    # ---- Inputs

    def latents(self, seed, count=1):
        """z of a seed, [count, latent_size]."""
        return latents_of(seed, count, self.latent_size)

    def labels(self, seed, count=1):
        """Labels that go with the latents of a seed, [count, label_size]."""
        return self.fake_labels.draw(count, np.random.RandomState([seed & 0xFFFFFFFF, LABELS]))

    def labels_of(self, seeds):
        """Labels of images with a seed each, [N, label_size]."""
        return np.concatenate([self.labels(seed) for seed in seeds])

    def dlatents(self, latents, labels=None):
        """w before truncation, [N, layers, dlatent_size]."""
        w = self._mapping.run(latents, self._full(labels, len(latents)), minibatch_size=64)
        return w if w.ndim == 3 else w[:, np.newaxis]

    def _full(self, labels, count):
        return np.zeros([count, self.label_size], np.float32) if labels is None else labels

    def truncate(self, dlatents, psi, cutoff=None):
        """Moves w towards its mean in the first `cutoff` layers (None: all of them) (StyleGAN paper, section 7)."""
        truncated = self.dlatent_avg + np.float32(psi) * (dlatents - self.dlatent_avg)
        layers = np.arange(dlatents.shape[1])[np.newaxis, :, np.newaxis]
        return truncated if cutoff is None else np.where(layers < cutoff, truncated, dlatents)

    # ---- Images

    def build_synthesis(self, dlatents, noises=None, is_plain=False):
        """Images [N, C, H, W] in [-1, 1] of tensors: w, and noise [N, 1, H, W] per layer (None: the stored).

        With `is_plain` without conditionals, also where the network is still growing.
        """
        return self._synthesis.get_output_for(dlatents, randomize_noise=False, noise_inputs=noises or None,
                                              **(self._plain_structure if is_plain else self._structure))

    def build_images(self, latents, labels=None, psi=None, cutoff=8, is_plain=False):
        """Images [N, C, H, W] in [-1, 1] of tensors, with stored noise; networks without w take no psi.

        `is_plain` as in `build_synthesis`.
        """
        inputs = [latents] + [labels] * (self.network.num_inputs > 1)
        if not self.is_style_based:
            can_grow = 'structure' in self.network.keyword_names
            return self.network.get_output_for(*inputs, **({'structure': 'linear'} if is_plain and can_grow else {}))
        w = self._mapping.get_output_for(latents, labels)
        w = w if len(w.shape) == 3 else w[:, tf.newaxis]
        if psi is not None:
            layers = np.arange(w.shape.as_list()[1])[np.newaxis, :, np.newaxis]
            share = np.where(layers < cutoff, np.float32(1), np.float32(0)).astype(np.float32)
            w = self.dlatent_avg + (1 - share + share * psi) * (w - self.dlatent_avg)
        return self.build_synthesis(w, is_plain=is_plain)

    def synthesize(self, dlatents, noise='stored', noise_seed=0, title='images'):
        """Images of w, uint8 [N, H, W, C].

        noise: 'stored', 'random' (fresh per image, a function of `noise_seed` and the position), 'none', or the noise
            itself: an array [1, 1, H, W] per layer, for all images.
        """
        maps = self.noise_maps([]) if isinstance(noise, str) and noise == 'none' else noise
        if not isinstance(maps, str):
            return self._render(self._synthesis, [dlatents], False, noise_seed, title, self._noise_feed(maps))
        assert noise in ('stored', 'random'), noise
        return self._render(self._synthesis, [dlatents], noise == 'random', noise_seed, title)

    def noise_maps(self, layers=None):
        """The stored noise of every layer, [1, 1, H, W] each, with zeros in all but the given layers (None: all)."""
        if self._stored_noise is None:
            self._stored_noise = tflib.get_vars(self.noise_vars)
        return [value if layers is None or index in layers else np.zeros_like(value)
                for index, value in enumerate(self._stored_noise)]

    def _noise_feed(self, maps):
        # What reads a variable can be fed like any tensor, so that nothing has to be put back afterwards.
        return {var.value(): value for var, value in zip(self.noise_vars, maps)}

    def images(self, latents, labels=None, psi=0.7, cutoff=8, noise='random', noise_seed=0, title='images'):
        """Images of z, uint8 [N, H, W, C]; networks without styles know neither truncation nor noise."""
        if self.is_style_based:
            w = self.dlatents(latents, labels)
            w = w if psi == 1 else self.truncate(w, psi, cutoff)
            return self.synthesize(w, noise, noise_seed, title)
        inputs = [latents] + [self._full(labels, len(latents))] * (self.network.num_inputs > 1)
        return self._render(self.network, inputs, False, noise_seed, title)

    def _render(self, network, arrays, random_noise, noise_seed, title, more=None):
        if random_noise not in self._renderers:
            self._renderers[random_noise] = self._build(network, random_noise)
        placeholders, seed, images = self._renderers[random_noise]
        parts = []
        starts = range(0, len(arrays[0]), self.minibatch)
        # None: a bar on a terminal only
        hidden = None if self.progress and len(starts) > 1 else True
        for begin in tqdm(starts, desc=title, unit='batch', disable=hidden):
            feed = {tensor: array[begin:begin + self.minibatch] for tensor, array in zip(placeholders, arrays)}
            feed[seed] = [signed32(noise_seed), begin]
            feed.update(more or {})
            parts.append(tflib.run(images, feed))
        return np.concatenate(parts)

    def _build(self, network, random_noise):
        with tf.name_scope('Figures'), tf.device(tflib.device_name()):
            placeholders = [tf.placeholder(tf.float32, [None] + shape[1:]) for shape in network.input_shapes]
            seed = tf.placeholder(tf.int32, [2])
            kwargs = {}
            if self.is_style_based:
                kwargs = dict(self._structure, randomize_noise=random_noise, one_by_one=True)
            images = network.get_output_for(*placeholders, seed=seed, **kwargs)
            return placeholders, seed, tflib.convert_images_to_uint8(images, nchw_to_nhwc=True)
