"""The networks and losses of the acceleration framework once more, in numpy: float64 and from the formulas.

Everything is a polynomial, a root, a hyperbolic or exponential function of the weights between the kinks of leaky ReLU
and absolute values, so that it also runs on complex numbers: the imaginary part of f(w + ih) / h is the derivative,
to the last digit, and no rule of differentiation is needed (Squire and Trapp 1998).
"""

import numpy as np

STEP = 1e-30
HE_GAIN = np.sqrt(2)


def leaky_slope(x):
    return np.where(x.real > 0, 1.0, 0.2)


def leaky(x):
    return x * leaky_slope(x)


def absolute(x):
    return x * np.where(x.real > 0, 1.0, -1.0)


def softplus(x):
    return np.log(1 + np.exp(x))


def pixel_norm(x):
    return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-8)


def correlate(x, kernel):
    """Zero-padded 3x3 correlation: [N, in, H, W], [3, 3, in, out] -> [N, out, H, W]."""
    _, _, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), 'constant')
    taps = np.stack([padded[:, :, row:row + height, column:column + width] for row in range(3) for column in range(3)])
    return np.moveaxis(np.tensordot(taps, kernel.reshape([9] + list(kernel.shape[2:])), axes=([0, 2], [0, 1])), 3, 1)


def twice(x):
    """Every pixel four times."""
    return x.repeat(2, axis=2).repeat(2, axis=3)


def halved(x):
    """Means over 2x2 pixels."""
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


class Weights:
    """The variables of one network by their local names, at equalized learning rate."""

    def __init__(self, values):
        self.values = dict(values)

    def kernel(self, name, gain=HE_GAIN):
        weight = self.values[name + '/weight']
        return weight * (gain / np.sqrt(np.prod(weight.shape[:-1])))

    def bias(self, name):
        return self.values[name + '/bias'][:, np.newaxis, np.newaxis]

    def conv(self, x, name, gain=HE_GAIN):
        return correlate(x, self.kernel(name, gain)) + self.bias(name)

    def dense(self, x, name, gain=HE_GAIN):
        return x @ self.kernel(name, gain) + self.values[name + '/bias']

    def part(self, prefix):
        return Weights({name[len(prefix):]: value for name, value in self.values.items() if name.startswith(prefix)})


# ---- Networks of two resolutions each

def encoder(w, x):
    """F with `downscale` 2."""
    x = leaky(w.conv(x, 'Scale1/Conv'))
    x = leaky(halved(correlate(x, w.kernel('Scale2/Conv0_down'))) + w.bias('Scale2/Conv0_down'))
    return np.tanh(w.conv(leaky(w.conv(x, 'Scale2/Conv1')), 'ToCode', 1))


def decoder(w, codes):
    """H with `downscale` 2."""
    x = leaky(w.conv(codes, 'Scale2/Conv'))
    x = leaky(w.conv(twice(x), 'Scale1/Conv0_up'))
    return w.conv(leaky(w.conv(x, 'Scale1/Conv1')), 'ToRGB', 1)


def codec_scores(w, x):
    """D of the codec with `num_scales` 1."""
    x = leaky(w.conv(x, 'Scale1/Conv'))
    x = leaky(halved(correlate(x, w.kernel('Scale2/Conv_down'))) + w.bias('Scale2/Conv_down'))
    return w.conv(x, 'Score', 1).mean(axis=(2, 3))


def code_generator(w, latents):
    """G of 8x8 codes."""
    x = (latents @ w.kernel('4x4/Dense')).reshape([len(latents), -1, 4, 4]) + w.bias('4x4/Dense')
    x = pixel_norm(leaky(x))
    x = pixel_norm(leaky(w.conv(twice(x), '8x8/Conv_up')))
    return np.tanh(w.conv(x, 'Output', 1))


def code_scores(w, codes):
    """(scores of D of 8x8 codes [N, 1], the gradient of their sum with respect to the codes)."""
    a = w.conv(codes, '8x8/Conv')
    b = halved(correlate(leaky(a), w.kernel('4x4/Conv_down'))) + w.bias('4x4/Conv_down')
    flat = leaky(b).reshape([len(b), -1])
    c = w.dense(flat, 'Dense0')
    scores = w.dense(leaky(c), 'Dense1', 1)

    back = leaky_slope(c) * w.kernel('Dense1', 1)[:, 0]
    back = (back @ w.kernel('Dense0').T).reshape(b.shape) * leaky_slope(b)
    back = correlate(twice(back) / 4, _transposed(w.kernel('4x4/Conv_down'))) * leaky_slope(a)
    return scores, correlate(back, _transposed(w.kernel('8x8/Conv')))


def _transposed(kernel):
    return kernel[::-1, ::-1].transpose([0, 1, 3, 2])


# ---- Losses, [N] or [N, 1]

def codec_loss_of_G(w, D, images, alpha):
    shown = decoder(w.part('H/'), encoder(w.part('F/'), images))
    return absolute(shown - images).mean(axis=(1, 2, 3)) + alpha * softplus(-codec_scores(D, shown))[:, 0]


def codec_loss_of_D(w, shown, images):
    return softplus(codec_scores(w, shown)) + softplus(-codec_scores(w, images))


def wgan_loss_of_D(w, fakes, reals, share, weight):
    """`share` [N, 1, 1, 1]: how far the points of the penalty lie from reals to fakes."""
    loss = code_scores(w, fakes)[0] - code_scores(w, reals)[0]
    slopes = code_scores(w, reals + (fakes - reals) * share)[1]
    norms = np.sqrt((slopes * slopes).sum(axis=(1, 2, 3)))
    return loss + weight * (norms[:, np.newaxis] - 1) ** 2


# ---- Gradients

def gradients(loss, values):
    """Derivatives of the mean of `loss(Weights)` by every weight: {name: array}."""
    result = {}
    for name, value in values.items():
        result[name] = np.zeros(value.shape)
        for index in np.ndindex(*value.shape):
            moved = value.astype(np.complex128)
            moved[index] += 1j * STEP
            result[name][index] = loss(Weights(dict(values, **{name: moved}))).mean().imag / STEP
    return result
