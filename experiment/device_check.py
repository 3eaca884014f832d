"""What devices there are, and whether their arithmetic can be trusted.

A GPU that an old CUDA does not know may return noise without an error, so that a run trains on nothing. `probe`
therefore compares convolutions and their gradients with exact ones, computed by numpy in double precision.
Run as a module it prints the result as JSON: python -m experiment.device_check auto|cpu|gpu
"""

import glob
import json
import os
import sys

import numpy as np

from dnnlib import machine

NOISE = 0.05    # deviation from the exact result, in standard deviations, beyond which nothing can be trained
ROUGH = 1e-4    # float32 stays below it


def nvidia_gpus():
    """One dict per GPU that the driver knows: index, name, compute_cap, driver_version, memory.total, memory.used."""
    fields = ['index', 'name', 'compute_cap', 'driver_version', 'memory.total', 'memory.used']
    # A driver may be too old to know compute_cap.
    return machine.nvidia_gpus(fields) or machine.nvidia_gpus([field for field in fields if field != 'compute_cap'])


def processes_on_gpus():
    """Other processes that compute on a GPU now, as `PID (memory)`."""
    rows = machine.nvidia_smi('--query-compute-apps=pid,used_memory') or []
    return [f'{row[0]} ({row[1]})' for row in rows if len(row) == 2 and row[0] != str(os.getpid())]


def num_visible(gpus):
    """How many GPUs, of those that the driver knows, CUDA_VISIBLE_DEVICES leaves to programs."""
    count = len(gpus) or len(glob.glob('/proc/driver/nvidia/gpus/*'))
    chosen = os.environ.get('CUDA_VISIBLE_DEVICES')
    if chosen is None:
        return count
    names = [name.strip() for name in chosen.split(',')]
    return min(count, next((index for index, name in enumerate(names) if name in ('', '-1', 'NoDevFiles')), len(names)))


def company(gpus):
    """Sentences on what else computes on these GPUs now: processes, or memory whose owner is hidden."""
    processes = processes_on_gpus()
    if processes:
        return [f'process {process} computes on a GPU of this machine already' for process in processes]
    return [f"GPU {gpu['index']} has {gpu['memory.used']} of its memory in use, by a process that cannot be seen from "
            'here, such as one in another container' for gpu in gpus
            if machine.mebibytes(gpu['memory.used']) > 1024]


def probe(kind='auto'):
    """Computes on the CPU and on every GPU.

    Args:
        kind: 'cpu', 'gpu' or 'auto'; 'cpu' leaves GPUs alone.

    Returns dict(engine, tensorflow, numpy, devices: one dict(kind, name, deviation or error) each). `deviation` is the
    largest difference from the exact results, in standard deviations of these.
    """
    from dnnlib import tflib
    gpus = [] if kind == 'cpu' else tflib.list_gpus()
    devices = [dict(kind='cpu', name='/cpu:0')] + [dict(kind='gpu', name=f'/gpu:{i}') for i in range(len(gpus))]
    for device in devices:
        try:
            device['deviation'] = deviation(device['name'], 'NHWC' if device['kind'] == 'cpu' else 'NCHW')
        except tflib.tf.errors.OpError as err:
            device['error'] = str(err).splitlines()[0][:300]
    return dict(engine=tflib.ENGINE, tensorflow=tflib.tf.__version__, numpy=np.__version__, devices=devices)


def deviation(device_name, data_format):
    """How far a device is from exact results, in their standard deviations: 3x3 convolutions with 32 channels at 16x16,
    the slopes of their sum of squares with respect to input and weights, and a matrix product."""
    from dnnlib import tflib
    tf = tflib.tf
    rng = np.random.RandomState(0)
    x, w = rng.randn(4, 32, 16, 16), rng.randn(3, 3, 32, 32) / 17
    matrix = rng.randn(64, 64)
    with tf.Graph().as_default(), tflib.create_session({'gpu_options.allow_growth': True}) as session:
        with tf.device(device_name):
            images, weights = tf.placeholder(tf.float32, x.shape), tf.placeholder(tf.float32, w.shape)
            inner = images if data_format == 'NCHW' else tf.transpose(images, [0, 2, 3, 1])
            y = tf.nn.conv2d(inner, weights, strides=[1, 1, 1, 1], padding='SAME', data_format=data_format)
            y = y if data_format == 'NCHW' else tf.transpose(y, [0, 3, 1, 2])
            slopes = tf.gradients(0.5 * tf.reduce_sum(tf.square(y)), [images, weights])
            square = tf.placeholder(tf.float32, matrix.shape)
            product = tf.matmul(square, square)
        results = session.run([y] + slopes + [product], {images: x, weights: w, square: matrix})
    expected = list(exact_convolution(x, w)) + [matrix.dot(matrix)]
    errors = [np.abs(a - b).max() / b.std() for a, b in zip(results, expected)]
    return float(np.max(errors))  # NaN stays NaN


def exact_convolution(x, w):
    """A 3x3 convolution with zero padding in double precision, and the slopes of half its sum of squares.

    Args:
        x: [N, C, H, W].
        w: [3, 3, C, K].

    Returns (y [N, K, H, W], slope at x, slope at w).
    """
    height, width = x.shape[2:]
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode='constant')
    shifts = [(i, j) for i in range(3) for j in range(3)]
    y = sum(np.einsum('nchw,ck->nkhw', padded[:, :, i:i + height, j:j + width], w[i, j]) for i, j in shifts)
    slope_x, slope_w = np.zeros_like(padded), np.zeros_like(w)
    for i, j in shifts:
        slope_x[:, :, i:i + height, j:j + width] += np.einsum('nkhw,ck->nchw', y, w[i, j])
        slope_w[i, j] = np.einsum('nchw,nkhw->ck', padded[:, :, i:i + height, j:j + width], y)
    return y, slope_x[:, :, 1:-1, 1:-1], slope_w


if __name__ == '__main__':
    print(json.dumps(probe(sys.argv[1] if len(sys.argv) > 1 else 'auto')))
