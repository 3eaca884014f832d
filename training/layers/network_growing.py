"""How a network's resolutions are joined: progressive growing within one graph, or none.

`fixed` has the full resolution alone. `linear` runs everything and blends by the level of detail; its graph is easy to
read. `recursive` is the same function, in which the parts that the level of detail does not need are not run: every
resolution is a conditional of its own beside the others, and what is not needed is an empty minibatch. Nested, each
inside that of the lower resolution, a conditional would pass all it uses through every outer one, one operation forward
and several backward per tensor (docs/performance.md).

The source of this file is stored in network pickles; from dnnlib it uses what every library of that time has.
"""

import functools

import tensorflow.compat.v1 as tf

import dnnlib.tflib as tflib
from training.layers.network_layers import apply_bias, blend, conv2d, downscale2d, upscale2d
from training.layers.network_samples import one_after_another

# The writer of pickles puts the source of these modules in front of this one's.
BUNDLED_MODULES = ('training.layers.network_layers', 'training.layers.network_samples')


def open_minibatch(x, lod):
    """`x` with a minibatch size that nothing can know before it runs; for all inputs of a network that grows.

    The graph optimizer of TensorFlow 1.15 carries a constant size through gradients from needed to empty minibatches.
    """
    return _only_where(lod > -1, lambda: tf.identity(x))


def choose_structure(structure, is_clean, known=('fixed', 'linear', 'recursive')):
    """The structure that a keyword stands for: 'auto' and None mean 'linear' for a clean graph, else 'recursive'."""
    structure = structure if structure not in (None, 'auto') else 'linear' if is_clean else 'recursive'
    if structure not in known:
        raise ValueError(f"structure is '{structure}'; it must be {', '.join(known)} or auto")
    return structure


def joined_images(structure, x, lod, res_log2, block, channels, use_wscale, fmt, alone_from=None):
    """Images of full size from the features of 4x4 pixels.

    Args:
        structure: 'fixed', 'linear' or 'recursive'; the last wants inputs that have been through `open_minibatch`.
        x: features of 4x4 pixels.
        lod: scalar, level of detail: 0 for the full resolution 2^res_log2, 1 for half of it.
        block: function (res, x), from the features of 2^(res-1) pixels to those of 2^res; with `alone_from` also
            of a third argument, a sample's number.
        channels: of the images.
        alone_from: log2 of the resolution from which on samples are computed one after another, None: never; not for
            'linear'. See `network_samples`.
    """
    def torgb(res, x):
        with tf.variable_scope(f'ToRGB_lod{res_log2 - res}'):
            return apply_bias(conv2d(x, channels, 1, 1, use_wscale, fmt), fmt)

    if structure == 'recursive':
        return grown_images(x, lod, res_log2, block, torgb, fmt, alone_from)
    if structure == 'fixed':
        return fixed_images(x, res_log2, block, torgb, channels, alone_from or res_log2 + 1)
    images = torgb(2, x)
    for res in range(3, res_log2 + 1):
        x = block(res, x)
        fine, coarse = torgb(res, x), upscale2d(images, fmt)
        with tf.name_scope(f'Grow_lod{res_log2 - res}'):
            images = tflib.lerp_clip(fine, coarse, lod - (res_log2 - res))
    return images


def fixed_images(x, res_log2, block, torgb, channels, alone_from):
    """The fixed form of `joined_images` for the NHWC layout or no sample alone."""
    def rest(x, *sample):
        for res in range(alone_from, res_log2 + 1):
            x = block(res, x, *sample)
        return torgb(res_log2, x)

    for res in range(3, alone_from):
        x = block(res, x)
    return one_after_another(rest, x, 2 * [2 ** res_log2] + [channels]) if alone_from <= res_log2 else rest(x)


def joined_features(structure, images, lod, res_log2, block, nf, act, gain, use_wscale, fmt):
    """Features of 4x4 pixels from images of full size.

    Args:
        structure: 'fixed', 'linear' or 'recursive'.
        images: in the inner layout.
        lod: as in `joined_images`.
        block: function (res, x), from the features of 2^res pixels to those of 2^(res-1).
        nf: see `network_sizes.feature_maps`; act, gain: see `network_layers.activation`.
    """
    def fromrgb(res, x):
        with tf.variable_scope(f'FromRGB_lod{res_log2 - res}'):
            return act(apply_bias(conv2d(x, nf(res - 1), 1, gain, use_wscale, fmt), fmt))

    if structure == 'recursive':
        return grown_features(open_minibatch(images, lod), lod, res_log2, block, fromrgb, fmt)
    x = fromrgb(res_log2, images)
    for res in range(res_log2, 2, -1):
        if structure == 'fixed':
            x = block(res, x)
            continue
        images = downscale2d(images, fmt)
        fine, coarse = block(res, x), fromrgb(res - 1, images)
        with tf.name_scope(f'Grow_lod{res_log2 - res}'):
            x = tflib.lerp_clip(fine, coarse, lod - (res_log2 - res))
    return x


def grown_images(x, lod, res_log2, block, torgb, fmt, alone_from=None):
    """The recursive form of `joined_images`; `torgb`: function (res, x), from features to images."""
    def image(res, coarse, x):
        """What is shown from this level up to the next, where it is blended with the coarser image."""
        level = res_log2 - res
        y = torgb(res, x)
        if coarse is not None:
            y = tf.cond(lod > level, lambda: blend(y, upscale2d(torgb(res - 1, coarse), fmt), lod - level), lambda: y)
        return upscale2d(y, fmt, 2 ** level)

    def levels(features, begin, end, *sample):
        """Features of the last of some levels, and what is shown at each; from features of the level before the first,
        which may be followed by those of the first."""
        for res in range(begin + len(features) - 1, end):
            features.append(_only_where(lod < res_log2 - res + 1, functools.partial(block, res, features[-1], *sample)))
        images = []
        for res, coarse, x in zip(range(begin, end), features, features[1:]):
            level = res_log2 - res
            is_shown = _all([lod >= level] * (level > 0) + [lod < level + 1] * (res > 2))
            images.append(_only_where(is_shown, functools.partial(image, res, coarse, x)))
        return features[-1], images

    def rest(x, sample):
        return tf.concat(levels([x], alone_from, res_log2 + 1, sample)[1], axis=0)

    x, images = levels([None, x], 2, alone_from or res_log2 + 1)
    if alone_from:
        images.append(one_after_another(rest, x, images[0].shape.as_list()[1:]))
    return tf.concat(images, axis=0)


def grown_features(images, lod, res_log2, block, fromrgb, fmt):
    """The recursive form of `joined_features`; `fromrgb`: function (res, images), from images to features."""
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
