"""Convolutions whose gradients of every order are forward convolutions too, for the NHWC layout.

A CPU computes TensorFlow's own gradient of a convolution with respect to its input, which is also its transposed
convolution, up to three times slower than a forward convolution with as many multiplications (docs/performance.md).
It is a forward convolution itself, of the output's gradient with the rotated kernel; with stride 2 it is four of
them, one for each parity of row and column.

An upscaling and its convolution are a transposed one with a 4x4 kernel, whose taps are sums of those of the 3x3 kernel;
nine taps are enough where sums over 2x2 pixels are taken of its output instead, or of its input for a downscaling:
`conv_doubling` and `conv_halving`, with `network_gradients.boxes`. `conv_up` and `conv_down` take kernels of 16 taps.

The source of this file is stored in network pickles and must be importable under the original library on TensorFlow
>= 1.13, which builds NCHW networks and calls none of these; those that upscale need 1.14 for their explicit padding.
"""

import numpy as np
import tensorflow.compat.v1 as tf

from training.layers.network_gradients import boxes, gradient_of, symmetric_blur

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_gradients',)

# Rows and columns of a transposed convolution's output fall into four parities, each made by four of the 16 taps.
_PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))

# Numbers (4 * row + column) of the taps of a 4x4 kernel, grouped by parity, for the first input pixel first.
PARITY_TAPS = np.array([(3 - a - 2 * row) * 4 + 3 - b - 2 * column
                        for a, b in _PARITIES for row in (0, 1) for column in (0, 1)])

# Numbers (3 * row + column) of the taps of a 3x3 kernel, grouped in the same way: even rows and columns have two each.
_TAPS_OF_PARITIES = [8, 6, 2, 0, 7, 1, 5, 3, 4]

_MANY_PIXELS = 64 * 64  # from which on fewer and wider convolutions are faster, or one (docs/performance.md)

# Where kernels' gradients are convolutions over transposed tensors: not with the kernels of TensorFlow 2.
_HAS_SLOW_KERNEL_GRADIENTS = tf.__version__.startswith('1.')
_PIXELS_OF_CONVOLVED_GRADIENTS = 16 * 16


def conv_same(x, w):
    """Convolution with stride 1 and zero padding to equal size.

    Args:
        x: [N, H, W, in].
        w: [k, k, in, out], k odd.

    Returns:
        [N, H, W, out].
    """
    with _conv_same():
        return tf.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding='SAME')


@gradient_of('Conv2D')
def _conv_same(op, dy):
    x, w = op.inputs
    return _adjoint_of_same(dy, w), _kernel_gradient(x, w, dy, stride=1)


def _adjoint_of_same(y, w):
    """The gradient by the input: a convolution with the rotated kernel, [N, H, W, out] -> [N, H, W, in].

    Its own gradients take the kernel as it was before, so that nothing is rotated and transposed back.
    """
    rotated = w if w.shape.as_list()[0] == 1 else tf.reverse(w, [0, 1])
    x = tf.nn.conv2d(y, _swap_channels(rotated), strides=[1, 1, 1, 1], padding='SAME')
    with _adjoint_of_conv_same():
        return tf.identity_n([x, y, w])[0]


@gradient_of('IdentityN')
def _adjoint_of_conv_same(op, dx, *_):
    _, y, w = op.inputs
    return None, conv_same(dx, w), _kernel_gradient(dx, w, y, stride=1)


def conv_same_of_pairs(x, w):
    """`conv_same` with a 3x3 kernel on rows in pairs, which takes two thirds of the multiplications.

    Rounding differs by some millionths. For pictures that are only looked at: where 1.15 gains by it stands in
    docs/performance.md. Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", F(2, 3).

    x: [N, H, W, in], H even.
    """
    _, height, width, fan_in = x.shape.as_list()
    fan_out = w.shape.as_list()[3]
    padded = tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]])
    even, odd = tf.unstack(tf.reshape(padded, [-1, height // 2 + 1, 2, width * fan_in]), axis=2)
    rows = even[:, :-1], odd[:, :-1], even[:, 1:], odd[:, 1:]
    above, here, below = tf.unstack(w)
    outer, inner = 0.5 * (above + below), 0.5 * here
    products = [tf.nn.conv2d(tf.reshape(difference, [-1, height // 2, width, fan_in]), kernel[np.newaxis],
                             strides=[1, 1, 1, 1], padding='SAME')
                for difference, kernel in ((rows[0] - rows[2], above), (rows[1] + rows[2], outer + inner),
                                           (rows[2] - rows[1], outer - inner), (rows[1] - rows[3], below))]
    y = tf.stack([products[0] + products[1] + products[2], products[1] - products[2] - products[3]], axis=2)
    with _conv_same_of_pairs():
        return tf.identity_n([tf.reshape(y, [-1, height, width, fan_out]), x, w])[0]


@gradient_of('IdentityN')
def _conv_same_of_pairs(op, dy, *_):
    _, x, w = op.inputs
    return None, _adjoint_of_same(dy, w), _kernel_gradient(x, w, dy, stride=1)


def conv_down(x, w):
    """Convolution with stride 2, one pixel of zero padding on each side.

    Args:
        x: [N, 2H, 2W, in].
        w: [4, 4, in, out].

    Returns:
        [N, H, W, out].
    """
    with _conv_down():
        return tf.nn.conv2d(x, w, strides=[1, 2, 2, 1], padding='SAME')


@gradient_of('Conv2D')
def _conv_down(op, dy):
    x, w = op.inputs
    taps = tf.gather(_merge_taps(_swap_channels(w)), PARITY_TAPS)
    return conv_up(dy, taps), _kernel_gradient(x, w, dy, stride=2)


def conv_halving(x, w):
    """Convolution with stride 2 without padding.

    Args:
        x: [N, 2H + 1, 2W + 1, in].
        w: [3, 3, in, out].

    Returns:
        [N, H, W, out].
    """
    with _conv_halving():
        return tf.nn.conv2d(x, w, strides=[1, 2, 2, 1], padding='VALID')


@gradient_of('Conv2D')
def _conv_halving(op, dy):
    x, w = op.inputs
    return _adjoint_of_halving(dy, w), _kernel_gradient(x, w, dy, stride=2, padding='VALID')


def _adjoint_of_halving(y, w):
    """`conv_doubling` with a kernel [3, 3, out, in], which is not transposed again for gradients."""
    with _adjoint_of_conv_halving():
        return tf.identity_n([_doubled(y, _swap_channels(w)), y, w])[0]


@gradient_of('IdentityN')
def _adjoint_of_conv_halving(op, dx, *_):
    _, y, w = op.inputs
    return None, conv_halving(dx, w), _kernel_gradient(dx, w, y, stride=2, padding='VALID')


def conv_doubling(x, w):
    """Transposed convolution with stride 2, the adjoint of `conv_halving`.

    Args:
        x: [N, H, W, in].
        w: [3, 3, in, out].

    Returns:
        [N, 2H + 1, 2W + 1, out].
    """
    with _conv_doubling():
        return tf.identity_n([_doubled(x, w), x, w])[0]


def _doubled(x, w):
    _, height, width, _ = x.shape.as_list()
    return (_doubled_at_once if height * width >= _MANY_PIXELS else _doubled_by_parities)(x, w)


def _doubled_by_parities(x, w):
    """Four forward convolutions, one for each parity of row and column."""
    return tf.batch_to_space_nd(tf.concat(_parities_of_doubled(x, w), axis=0), [2, 2], crops=[[0, 1], [0, 1]])


def _parities_of_doubled(x, w):
    """The four, each [N, H + 1, W + 1, out]: odd rows and columns, of which there is one less, get one of zeros."""
    fan_in, fan_out = w.shape.as_list()[2:]
    taps = tf.split(tf.gather(tf.reshape(w, [9, fan_in, fan_out]), _TAPS_OF_PARITIES), [4, 2, 2, 1])
    return [tf.nn.conv2d(x, tf.reshape(kernel, [2 - a, 2 - b, fan_in, fan_out]), strides=[1, 1, 1, 1],
                         padding=[[0, 0], [1 - a, 1], [1 - b, 1], [0, 0]])
            for kernel, (a, b) in zip(taps, _PARITIES)]


def _doubled_at_once(x, w):
    """The engine's own, which is faster where there are many pixels and few channels, and leaves nothing to join."""
    num, height, width, _ = x.shape.as_list()
    shape = [2 * height + 1, 2 * width + 1, w.shape.as_list()[3]]
    y = tf.nn.conv2d_backprop_input(tf.concat([tf.shape(x)[:1], shape], axis=0), _swap_channels(w), x,
                                    strides=[1, 2, 2, 1], padding='VALID')
    y.set_shape([num] + shape)
    return y


@gradient_of('IdentityN')
def _conv_doubling(op, dy, *_):
    return (None,) + _gradients_of_doubling(dy, *op.inputs[1:])


def _gradients_of_doubling(dy, x, w):
    kernel = _swap_channels(w)
    return conv_halving(dy, kernel), _swap_channels(_kernel_gradient(dy, kernel, x, stride=2, padding='VALID'))


def conv_doubling_blurred(x, w):
    """16 times the blur by [1, 2, 1] in both directions of `boxes` of `conv_doubling`, for a sample alone.

    Both are sums of neighbours by 1, 3, 3 and 1, first of rows, then of columns: of pieces of one array that begin a
    row or a pixel later, so that nothing is copied. While a sample fits a cache that takes a third of the time of the
    depthwise convolutions on TensorFlow 1.15 (docs/performance.md).

    Args:
        x: [1, H, W, in], H and W at least 2.
        w: [3, 3, in, out].

    Returns:
        [1, 2H, 2W, out].
    """
    _, height, width, _ = x.shape.as_list()
    height, width, channels = 2 * height, 2 * width, w.shape.as_list()[3]
    pixels = _parities_of_doubled(x, w)
    rows = [tf.reshape(tf.concat(pair, axis=3), [height // 2 + 1, 1, (width + 2) * channels])
            for pair in (pixels[:2], pixels[2:])]
    y = tf.reshape(tf.concat(rows, axis=1), [height + 2, width + 2, channels])
    first, last = _blurred_at_edges([y[row:row + 1] for row in _lines_at_edges(height)])
    # One row more than there is, for the last pixels' neighbours, which are left out below.
    y = tf.concat([first, _blurred_within(y, height - 2), last, y[:1]], axis=0)
    first, last = _blurred_at_edges([y[:height, column:column + 1] for column in _lines_at_edges(width)])
    within = _blurred_within(tf.reshape(y, [-1, channels]), height * (width + 2))
    within = tf.reshape(within, [height, width + 2, channels])[:, :width - 2]
    y = tf.concat([first, within, last], axis=1)[np.newaxis]
    with _conv_doubling_blurred():
        return tf.identity_n([y, x, w])[0]


def _lines_at_edges(size):
    return 0, 1, 2, size - 2, size - 1, size


def _blurred_at_edges(lines):
    """The first and the last of the sums, where boxes beyond the edge would be, from the six lines there."""
    return 2 * lines[0] + 3 * lines[1] + lines[2], lines[3] + 3 * lines[4] + 2 * lines[5]


def _blurred_within(x, count):
    """The others along the first axis, `count` of them."""
    return tf.add_n([x[:count], x[3:count + 3]] + 3 * [x[1:count + 1], x[2:count + 2]])


@gradient_of('IdentityN')
def _conv_doubling_blurred(op, dy, *_):
    _, x, w = op.inputs
    taps = np.float32([1, 2, 1])
    dy = symmetric_blur(dy, (taps[:, np.newaxis] * taps)[:, :, np.newaxis, np.newaxis], 'NHWC')
    return (None,) + _gradients_of_doubling(boxes(dy, 1, is_padded=True), x, w)


def conv_up(x, taps):
    """Transposed convolution with stride 2, the adjoint of `conv_down`.

    Args:
        x: [N, H, W, in].
        taps: [16, in, out], the 4x4 kernel's taps in the order of PARITY_TAPS.

    Returns:
        [N, 2H, 2W, out].
    """
    _, height, width, _ = x.shape.as_list()
    fan_in, fan_out = taps.shape.as_list()[1:]
    kernels = tf.unstack(tf.reshape(taps, [4, 2, 2, fan_in, fan_out]))
    join = _joined_rows if height * width >= _MANY_PIXELS else _interleaved_rows
    rows = [tf.reshape(row, [-1, height, 1, width * 2 * fan_out]) for row in join(x, kernels)]
    y = tf.reshape(tf.concat(rows, axis=2), [-1, height * 2, width * 2, fan_out])
    with _conv_up():
        return tf.identity_n([y, x, taps])[0]


def _interleaved_rows(x, kernels):
    """Even and odd rows of the output, each of two convolutions whose pixels take turns."""
    pixels = [tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding=[[0, 0], [1 - a, a], [1 - b, b], [0, 0]])
              for kernel, (a, b) in zip(kernels, _PARITIES)]
    return [tf.concat(pair, axis=3) for pair in (pixels[:2], pixels[2:])]


def _joined_rows(x, kernels):
    """The same of one convolution per row: an odd pixel and the even one after it see the same two input pixels.

    So the input is gathered half as often, which counts where it is large and channels are few.
    """
    fan_out = kernels[0].shape.as_list()[-1]
    rows = [tf.nn.conv2d(x, tf.concat([odd, even], axis=3), strides=[1, 1, 1, 1],
                         padding=[[0, 0], [1 - a, a], [1, 1], [0, 0]])
            for a, (even, odd) in enumerate((kernels[:2], kernels[2:]))]
    # Each begins with an odd pixel in front of the picture and ends with an even one behind it.
    return [tf.reshape(row, [-1] + row.shape.as_list()[1:2] + [1, row.shape.as_list()[2] * 2 * fan_out])
            [:, :, :, fan_out:-fan_out] for row in rows]


@gradient_of('IdentityN')
def _conv_up(op, dy, *_):
    _, x, taps = op.inputs
    fan_in, fan_out = taps.shape.as_list()[1:]
    kernel = tf.reshape(tf.gather(taps, np.argsort(PARITY_TAPS)), [4, 4, fan_in, fan_out])
    kernel = _swap_channels(kernel)
    kernel_gradient = _swap_channels(_kernel_gradient(dy, kernel, x, stride=2))
    return None, conv_down(dy, kernel), tf.gather(_merge_taps(kernel_gradient), PARITY_TAPS)


def _merge_taps(w):
    return tf.reshape(w, [-1] + w.shape.as_list()[2:])


def _swap_channels(w):
    return tf.transpose(w, [0, 1, 3, 2])


def _kernel_gradient(x, w, dy, stride, padding='SAME'):
    if stride == 1 and _HAS_SLOW_KERNEL_GRADIENTS and w.dtype != tf.float16 and w.shape.as_list()[0] > 1 \
            and None not in x.shape.as_list()[1:] and x.shape[1:3].num_elements() >= _PIXELS_OF_CONVOLVED_GRADIENTS:
        return _kernel_gradient_of_same(x, w, dy)
    return tf.nn.conv2d_backprop_filter(x, w.shape.as_list(), dy, strides=[1, stride, stride, 1], padding=padding)


def _kernel_gradient_of_same(x, w, dy):
    """The gradient by the kernel as a forward convolution, in half to nine tenths of the engine's own time.

    The input's channels are its samples, the samples are its channels, and its kernel is as large as a picture.
    """
    size, pad = w.shape.as_list(), w.shape.as_list()[0] // 2

    def convolved():
        samples = tf.transpose(tf.pad(x, [[0, 0], [pad, pad], [pad, pad], [0, 0]]), [3, 1, 2, 0])
        dw = tf.nn.conv2d(samples, tf.transpose(dy, [1, 2, 0, 3]), strides=[1, 1, 1, 1], padding='VALID')
        return tf.transpose(dw, [1, 2, 0, 3])

    # The engine divides by the number of channels, which ends the process where there are none.
    dw = tf.cond(tf.shape(x)[0] > 0, convolved, lambda: tf.zeros(size, x.dtype))
    dw.set_shape(size)
    with _convolved_kernel_gradient():
        return tf.identity_n([dw, x, dy])[0]


@gradient_of('IdentityN')
def _convolved_kernel_gradient(op, dw, *_):
    _, x, dy = op.inputs
    return None, _adjoint_of_same(dy, dw), conv_same(x, dw)
