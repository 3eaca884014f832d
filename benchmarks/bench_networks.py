"""The networks' speed: the generator against the form that its formulas suggest, and whole training steps.

    ./reproduce shell python benchmarks/bench_networks.py [--quick]

Ratios compare two graphs that take turns in one process, so that a busy machine slows both alike.
"""

import contextlib
import os
import statistics
import sys
import time
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401, I001
import numpy as np  # noqa: E402
import short_form  # noqa: E402
import training_steps  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

ROUNDS = 5
LATENT_SIZE = 512


@contextlib.contextmanager
def straightforward_form():
    """Networks built inside use one operation per formula: upscale, then convolve; normalise, then scale and shift."""
    from dnnlib.tflib import tf
    from training import networks_stylegan as networks
    from training.layers import network_layers as layers

    def upscale2d_conv2d(x, fmaps, kernel, gain, use_wscale, fused_scale, fmt):
        x = layers.upscale2d(x, fmt)
        weight = layers.get_weight([kernel, kernel, layers.num_channels(x, fmt), fmaps], gain, use_wscale)
        if fused_scale is True or (fused_scale == 'auto' and layers.static_resolution(x, fmt) >= 128):
            weight = weight[::-1, ::-1]
        return tf.nn.conv2d(x, weight, strides=[1, 1, 1, 1], padding='SAME', data_format=fmt)

    def conv2d_downscale2d(x, fmaps, kernel, gain, use_wscale, fmt):
        return layers.downscale2d(conv2d(x, fmaps, kernel, gain, use_wscale, fmt), fmt)

    def conv2d(x, fmaps, kernel, gain, use_wscale, fmt):
        weight = layers.get_weight([kernel, kernel, layers.num_channels(x, fmt), fmaps], gain, use_wscale)
        return tf.nn.conv2d(x, weight, strides=[1, 1, 1, 1], padding='SAME', data_format=fmt)

    def leaky_relu(x, alpha=0.2):
        return tf.maximum(x, x * alpha)

    def styled_instance_norm(x, dlatent, use_wscale, fmt):
        axes = layers.spatial_axes(fmt)
        x -= tf.reduce_mean(x, axis=axes, keepdims=True)
        x *= tf.rsqrt(tf.reduce_mean(tf.square(x), axis=axes, keepdims=True) + layers.EPSILON)
        return layers.style_mod(x, dlatent, use_wscale, fmt)

    with contextlib.ExitStack() as stack:
        for module, functions in ((layers, [conv2d, leaky_relu]),
                                  (networks, [conv2d, upscale2d_conv2d, conv2d_downscale2d, styled_instance_norm])):
            for function in functions:
                stack.enter_context(mock.patch.object(module, function.__name__, function))
        yield


def medians(functions, rounds=ROUNDS):
    """Median seconds of each function, called in turns after one warm-up each."""
    times = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(rounds):
        for function, collected in zip(functions, times):
            start = time.perf_counter()
            function()
            collected.append(time.perf_counter() - start)
    return [statistics.median(collected) for collected in times]


def generator_rows(resolution=256, minibatch=4):
    """The full-size generator's time over that of the straightforward form."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    kwargs = dict(num_channels=3, resolution=resolution, structure='fixed')
    began = time.perf_counter()
    G = tflib.Network('G', 'training.networks_stylegan.G_style', **kwargs)
    latents = tf.constant(np.random.RandomState(0).randn(minibatch, LATENT_SIZE).astype(np.float32))
    labels = tf.zeros([minibatch, 0])
    ours = tf.reduce_max(G.get_output_for(latents, labels, is_validation=True, randomize_noise=False))
    tflib.run(ours)
    first = time.perf_counter() - began
    with straightforward_form():
        other = tf.reduce_max(G.get_output_for(latents, labels, is_validation=True, randomize_noise=False,
                                               one_by_one=False))
    np.testing.assert_allclose(tflib.run(ours), tflib.run(other), rtol=1e-2)
    seconds, reference = medians([lambda: tflib.run(ours), lambda: tflib.run(other)])
    floor = f'{2 * macs_of_generator(resolution) * minibatch / 1e9:.0f} GFLOP in the straightforward form'
    return [
        dict(what=f'generator {resolution}², minibatch {minibatch}', figure=seconds, unit='s',
             ratio=seconds / reference, ratio_to='straightforward form', floor=floor),
        dict(what=f'generator {resolution}²: building and first step', figure=first, unit='s', ratio=first / seconds,
             ratio_to='a later step', floor='one step'),
    ]


def macs_of_generator(resolution):
    """Multiply-adds of the synthesis network's convolutions per image, upscaling before convolving."""
    total = 0
    for res in range(2, int(np.log2(resolution)) + 1):
        fan_in, fan_out = [min(8192 // 2 ** stage, 512) for stage in (res - 2, res - 1)]
        first = 0 if res == 2 else fan_in * fan_out
        total += 9 * 4 ** res * (first + fan_out * fan_out)
    return total


def training_rows(resolution, minibatch, rounds=ROUNDS):
    """Images per second of a training step; the ratio is to the same with straightforward networks."""
    step, close = training_steps.build_step(resolution, minibatch)
    with straightforward_form():
        other, close_other = training_steps.build_step(resolution, minibatch)
    ours, reference = medians([step, other], rounds)
    close()
    close_other()
    return [dict(what=f'training step {resolution}², minibatch {minibatch}, full size', figure=minibatch / ours,
                 unit='images/s', ratio=ours / reference, ratio_to='time of the straightforward form',
                 floor=f'{18 * macs_of_generator(resolution) * minibatch / 1e9:.0f} GFLOP, about 9 passes forward')]


def rows(quick=False):
    """Measures on this machine's CPU. Returns dicts: what, figure, unit, ratio, ratio_to, floor."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    tflib.select_device('cpu')
    result = []
    with tf.Graph().as_default(), tflib.create_session().as_default():
        result += generator_rows(64 if quick else 256)
    for resolution, minibatch in [(16, 8)] if quick else [(32, 16), (64, 8)]:
        result += training_rows(resolution, minibatch)
    return result


def main():
    """Prints the rows."""
    short_form.print_rows(__doc__, rows)


if __name__ == '__main__':
    run_main(main)
