"""Directions in w: how they are found, and how latents move along them. Strengths are in standard deviations of w."""

import numpy as np

SAMPLES = 10000     # of w, for its deviations and principal components


class Direction:
    """A unit vector in w, and how far w spreads along it.

    Args:
        name: text.
        normal: [dlatent_size]; it is normalised.
        deviation: standard deviation of w along it, the unit of strengths.
        intercept: value of normal · w + intercept on the plane that it stands on, after the same scaling; None where
            there is no plane.
    """

    def __init__(self, name, normal, deviation=1.0, intercept=None):
        length = np.linalg.norm(normal)
        self.name = name
        self.normal = np.asarray(normal, np.float64) / length
        self.deviation = float(deviation)
        self.intercept = None if intercept is None else float(intercept) / length

    def move(self, dlatents, strength, layers=None):
        """w [N, layers, size] moved by `strength` deviations, in some layers or all; a new array."""
        moved = np.array(dlatents, np.float32)
        chosen = slice(None) if layers is None else list(layers)
        moved[:, chosen] += np.float32(strength * self.deviation) * self.normal.astype(np.float32)
        return moved


def sample_dlatents(gen, count=SAMPLES, seed=0):
    """w of fair draws, float64 [count, dlatent_size]."""
    return gen.dlatents(gen.latents(seed, count), gen.labels(seed, count))[:, -1].astype(np.float64)


def principal_components(samples, count):
    """The first `count` principal components of samples of w [N, size] as `Direction`s (Härkönen et al. 2020,
    "GANSpace", section 2.1)."""
    values, vectors = np.linalg.eigh(np.cov(samples, rowvar=False))
    found = []
    for number in range(min(count, len(values))):
        vector = vectors[:, -1 - number]
        vector = vector * np.sign(vector[np.argmax(np.abs(vector))])    # eigh leaves the sign open
        found.append(Direction(f'component-{number + 1}', vector, np.sqrt(max(values[-1 - number], 0))))
    return found
