"""The three networks of MTCNN (Zhang et al. 2016, arXiv 1604.02878) as graphs over constant weights.

Images are NHWC and upright. The package's networks see them transposed; here its kernels are transposed instead, which
is the same arithmetic.
"""

import numpy as np

from dnnlib.tflib import tf

BATCH = 128
"""Patches per run of the second and third network: bounds the memory that a crowded photograph takes."""


class CascadeNetworks:
    """The three networks in a session of their own, on the CPU.

    Args:
        weights: what `weights.load_weights` returns.
        num_threads: threads of the session.
    """

    def __init__(self, weights, num_threads=1):
        graph = tf.Graph()
        with graph.as_default():
            image = tf.placeholder(tf.float32, [None, None, None, 3])
            patches24 = tf.placeholder(tf.float32, [None, 24, 24, 3])
            patches48 = tf.placeholder(tf.float32, [None, 48, 48, 3])
            proposals = _proposal_net(image, weights['pnet'])
            refinements = _refinement_net(patches24, weights['rnet'])
            outputs = _output_net(patches48, weights['onet'])
        config = tf.ConfigProto(intra_op_parallelism_threads=num_threads, inter_op_parallelism_threads=num_threads,
                                device_count={'GPU': 0})
        self._session = tf.Session(graph=graph, config=config)
        # Callables skip the session's per-call checks, which cost as much as the smaller pyramid levels themselves.
        self._propose = self._session.make_callable(list(proposals), [image])
        self._refine = self._session.make_callable(list(refinements), [patches24])
        self._output = self._session.make_callable(list(outputs), [patches48])

    def propose(self, image):
        """First network. image: [H, W, 3] in [-1, 1], H and W at least 12.

        Returns (scores [h, w], regression [h, w, 4]) with h = ceil((H - 2) / 2) - 4, and w likewise: one cell per
        window of 12 pixels at every second pixel.
        """
        scores, regression = self._propose(image[np.newaxis])
        return scores[0], regression[0]

    def refine(self, patches):
        """Second network. patches: [N, 24, 24, 3] in [-1, 1]. Returns (scores [N], regression [N, 4])."""
        return _in_batches(self._refine, patches)

    def output(self, patches):
        """Third network. patches: [N, 48, 48, 3] in [-1, 1].

        Returns (scores [N], regression [N, 4], landmarks [N, 10]): x, then y, of both eyes, the nose and both corners
        of the mouth, in widths and heights of the patch.
        """
        return _in_batches(self._output, patches)

    def close(self):
        self._session.close()


def _in_batches(run, patches):
    parts = [run(patches[i:i + BATCH]) for i in range(0, len(patches), BATCH)]
    return tuple(np.concatenate(part) for part in zip(*parts))


def _proposal_net(x, w):
    x = _prelu(_conv(x, w[0], w[1]), w[2])
    x = _max_pool(x, 2, 'SAME')
    x = _prelu(_conv(x, w[3], w[4]), w[5])
    x = _prelu(_conv(x, w[6], w[7]), w[8])
    return tf.nn.softmax(_conv(x, w[9], w[10]))[..., 1], _conv(x, w[11], w[12])


def _refinement_net(x, w):
    x = _prelu(_conv(x, w[0], w[1]), w[2])
    x = _max_pool(x, 3, 'SAME')
    x = _prelu(_conv(x, w[3], w[4]), w[5])
    x = _max_pool(x, 3, 'VALID')
    x = _prelu(_conv(x, w[6], w[7]), w[8])
    x = _prelu(_dense_over_map(x, w[9], w[10]), w[11])
    return tf.nn.softmax(_dense(x, w[12], w[13]))[:, 1], _dense(x, w[14], w[15])


def _output_net(x, w):
    x = _prelu(_conv(x, w[0], w[1]), w[2])
    x = _max_pool(x, 3, 'SAME')
    x = _prelu(_conv(x, w[3], w[4]), w[5])
    x = _max_pool(x, 3, 'VALID')
    x = _prelu(_conv(x, w[6], w[7]), w[8])
    x = _max_pool(x, 2, 'SAME')
    x = _prelu(_conv(x, w[9], w[10]), w[11])
    x = _prelu(_dense_over_map(x, w[12], w[13]), w[14])
    return tf.nn.softmax(_dense(x, w[15], w[16]))[:, 1], _dense(x, w[17], w[18]), _dense(x, w[19], w[20])


def _conv(x, kernel, bias):
    kernel = np.ascontiguousarray(kernel.transpose(1, 0, 2, 3))
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding='VALID'), bias)


def _max_pool(x, size, padding):
    return tf.nn.max_pool2d(x, ksize=size, strides=2, padding=padding)


def _prelu(x, slope):
    return tf.nn.relu(x) - slope.reshape(-1) * tf.nn.relu(-x)  # some slopes exceed 1: not max(x, slope * x)


def _dense(x, matrix, bias):
    return tf.nn.bias_add(tf.matmul(x, matrix), bias)


def _dense_over_map(x, matrix, bias):
    """A dense layer over [N, 3, 3, C] maps, for a matrix whose rows are ordered by column, row, channel."""
    height, width, channels = x.shape[1:].as_list()
    matrix = matrix.reshape(width, height, channels, -1).transpose(1, 0, 2, 3).reshape(height * width * channels, -1)
    return _dense(tf.reshape(x, [-1, height * width * channels]), matrix, bias)
