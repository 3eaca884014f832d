"""Images by seed, or of latents in a file, one for one whatever else is made with them."""

import numpy as np


def images_of_seeds(gen, seeds, psi, cutoff, noise):
    """Images uint8 [N, H, W, C] of seeds; `noise` is 'stored', 'random' (drawn from each image's seed) or 'none'."""
    latents = np.concatenate([gen.latents(seed) for seed in seeds])
    labels = gen.labels_of(seeds)
    if noise == 'random' and gen.has_noise:
        # One by one, so that an image depends on its seed alone.
        return np.concatenate([gen.images(latents[i:i + 1], labels[i:i + 1], psi, cutoff, 'random', seed)
                               for i, seed in enumerate(seeds)])
    return gen.images(latents, labels, psi, cutoff, noise, title='images')


def images_of_latents(gen, found, rows, psi, cutoff, noise):
    """Images uint8 [N, H, W, C] of rows of `figures.latent_files.Latents`.

    noise: 'stored' is the noise of the file where it has some, else the network's own; 'random' is drawn from the seeds
    that the file has, else from the rows' numbers.
    """
    rows = list(rows)
    if found.w is None:
        return gen.images(found.z[rows], gen.labels_of(rows), psi, cutoff, noise, title='images')
    w = found.w[rows] if psi == 1 else gen.truncate(found.w[rows], psi, cutoff)
    if noise == 'random' and gen.has_noise:
        seeds = rows if found.noise_seeds is None else found.noise_seeds[rows]
        return np.concatenate([gen.synthesize(w[i:i + 1], 'random', int(seed)) for i, seed in enumerate(seeds)])
    if noise == 'stored' and found.noise is not None:
        return np.concatenate([gen.synthesize(w[i:i + 1], found.noise_of(row)) for i, row in enumerate(rows)])
    return gen.synthesize(w, noise, title='images')
