"""How a projection's step size and the noise on its latents change, as numbers of the step."""

import collections

import numpy as np

Settings = collections.namedtuple('Settings', 'space steps rate ramps latent_noise noise_maps noise_weight '
                                  'pixel_weight seed')
"""space: 'w', one for all layers, or 'w+', one per layer; steps: in all; rate: the largest step size; ramps: (share of
the steps in which it rises, share in which it falls), or None for none; latent_noise: of w at the beginning, in
deviations of w; noise_maps: whether noise inputs are found, too; noise_weight: of their regularisation; pixel_weight:
of the mean squared error beside the perceptual distance; seed: of all that is random."""

NOISE_SHARE = 0.75      # of the steps, after which latents get no noise
SAMPLES = 10000         # of w, for its mean and deviation


def settings_of(space, steps=None, noise_maps=None, seed=0):
    """The published settings.

    W: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix D: Adam, 1,000 steps of 0.1
    with a warm-up over 5 % and a cosine to zero over the last 25 %, noise on w that fades over 75 %, noise maps
    regularised with weight 1e5. W+: Abdal et al. 2019, "Image2StyleGAN", section 5: Adam, 5,000 steps of 0.01, start at
    w's mean, perceptual distance and mean squared error alike, stored noise.
    """
    if space == 'w':
        return Settings('w', steps or 1000, 0.1, (0.05, 0.25), 0.05, noise_maps is not False, 1e5, 0.0, seed)
    return Settings('w+', steps or 5000, 0.01, None, 0.0, noise_maps is True, 1e5, 1.0, seed)


def rate_at(settings, step):
    """Step size of step number 0, 1, …"""
    if settings.ramps is None:
        return settings.rate
    t = step / settings.steps
    rise, fall = settings.ramps
    ramp = min(1.0, (1.0 - t) / fall)
    ramp = 0.5 - 0.5 * np.cos(ramp * np.pi)
    return settings.rate * ramp * min(1.0, t / rise)


def latent_noise_at(settings, step, deviation):
    """Deviation of the noise on w in a step; `deviation` is that of w."""
    t = step / settings.steps
    return deviation * settings.latent_noise * max(0.0, 1.0 - t / NOISE_SHARE) ** 2


def draw_latent_noise(settings, step, shape):
    """Standard normal noise float32 of a step, a function of seed and step, so that a projection can go on."""
    return np.random.RandomState([settings.seed & 0xFFFFFFFF, step]).randn(*shape).astype(np.float32)


def mean_and_deviation(samples):
    """Mean [size] of samples of w [N, size], and the root of their mean squared distance from it."""
    mean = samples.mean(axis=0)
    return mean, float(np.sqrt(np.sum(np.square(samples - mean)) / len(samples)))
