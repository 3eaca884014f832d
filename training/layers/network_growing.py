"""Progressive growing within one graph: the parts of a network that the level of detail does not need are not run.

Every resolution is a conditional of its own beside the others, and what is not needed is an empty minibatch. Nested,
each inside that of the lower resolution, a conditional would pass all it uses through every outer one, one operation
forward and several backward per tensor (docs/performance.md).

The source of this file is stored in network pickles; from dnnlib it uses nothing.
"""

import functools

import tensorflow.compat.v1 as tf

from training.layers.network_layers import blend, downscale2d, upscale2d

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers',)


def open_minibatch(x, lod):
    """`x` with a minibatch size that nothing can know before it runs; for all inputs of a network that grows.

    The graph optimizer of TensorFlow 1.15 carries a constant size through gradients from needed to empty minibatches.
    """
    return _only_where(lod > -1, lambda: tf.identity(x))


def grown_images(x, lod, res_log2, block, torgb, fmt):
    """Images of full size from the features of 4x4 pixels.

    Args:
        x: features of 4x4 pixels.
        lod: scalar, level of detail: 0 for the full resolution 2^res_log2, 1 for half of it.
        block: function (res, x), from the features of 2^(res-1) pixels to those of 2^res.
        torgb: function (res, x), from features of 2^res pixels to an image.
    """
    def image(res, coarse, x):
        """What is shown from this level up to the next, where it is blended with the coarser image."""
        level = res_log2 - res
        y = torgb(res, x)
        if coarse is not None:
            y = tf.cond(lod > level, lambda: blend(y, upscale2d(torgb(res - 1, coarse), fmt), lod - level), lambda: y)
        return upscale2d(y, fmt, 2 ** level)

    features = [None, x]
    for res in range(3, res_log2 + 1):
        features.append(_only_where(lod < res_log2 - res + 1, functools.partial(block, res, features[-1])))
    images = []
    for res, coarse, x in zip(range(2, res_log2 + 1), features, features[1:]):
        level = res_log2 - res
        is_shown = _all([lod >= level] * (level > 0) + [lod < level + 1] * (res > 2))
        images.append(_only_where(is_shown, functools.partial(image, res, coarse, x)))
    return tf.concat(images, axis=0)


def grown_features(images, lod, res_log2, block, fromrgb, fmt):
    """Features of 4x4 pixels from images of full size.

    Args:
        images: in the inner layout.
        lod: as in `grown_images`.
        block: function (res, x), from the features of 2^res pixels to those of 2^(res-1).
        fromrgb: function (res, image), from an image of 2^res pixels to features.
    """
    def from_image(res):
        """Where the image comes in: at this level, and up to the next finer one, where it is blended."""
        level = res_log2 - res
        is_shown = _all([lod > level - 1] * (level > 0) + [lod < level + 1] * (res > 2))
        return _only_where(is_shown, lambda: fromrgb(res, downscale2d(images, fmt, 2 ** level)))

    def coarser(res, x, shown):
        y = block(res, x)
        share = lod - (res_log2 - res)
        return tf.cond(share > 0, lambda: blend(y, shown, share), lambda: y)

    x = from_image(res_log2)
    for res in range(res_log2, 2, -1):
        shown = from_image(res - 1)
        x = tf.cond(lod < res_log2 - res + 1, functools.partial(coarser, res, x, shown),
                    functools.partial(tf.identity, shown))
    return x


def _all(conditions):
    """Whether all hold; none means yes."""
    return functools.reduce(tf.logical_and, conditions, tf.constant(True))


def _only_where(is_needed, build):
    """What `build` makes, or an empty minibatch of its shape where it is not needed."""
    made = []

    def needed():
        made.append(build())
        return made[0]

    result = tf.cond(is_needed, needed, lambda: tf.zeros([0] + made[0].shape.as_list()[1:], made[0].dtype))
    result.set_shape([None] + made[0].shape.as_list()[1:])
    return result
