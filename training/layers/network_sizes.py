"""Sizes that follow from a network's keywords, for the networks and for whoever plans a run: arithmetic alone.

The source of this file is stored in network pickles. It needs nothing, so that planning imports no TensorFlow.
"""

import math


def resolution_log2(resolution):
    """Log2 of a resolution. Raises ValueError unless it is a power of two, at least 4."""
    res_log2 = int(math.log2(resolution)) if resolution >= 4 else 0
    if res_log2 < 2 or resolution != 2 ** res_log2:
        raise ValueError(f'resolution is {resolution}; it must be a power of two, at least 4')
    return res_log2


def refuse_labels(label_size):
    """Raises ValueError for labels, from a network that has no use for any."""
    if label_size:
        raise ValueError(f'it takes no labels, but is to get {label_size} components; set dataset.max_label_size=0')


def feature_maps(fmap_base, fmap_decay, fmap_max):
    """The function from a stage (log2 of the resolution, less 1) to its number of channels.

    Source: "Progressive Growing of GANs", appendix A.1. The function raises ValueError where no channel is left.
    """
    def count(stage):
        channels = min(int(fmap_base / (2.0 ** (stage * fmap_decay))), fmap_max)
        if channels < 1:
            raise ValueError(f'fmap_base ({fmap_base}) and fmap_decay ({fmap_decay}) leave no channels at '
                             f'{2 ** (stage + 1)}x{2 ** (stage + 1)} pixels')
        return channels
    return count


def bounded_feature_maps(fmap_base, fmap_min, fmap_max):
    """The function from a resolution in pixels to its number of channels.

    Source: "An Acceleration Framework for High Resolution Image Synthesis", Table 2.
    """
    return lambda res: int(min(fmap_max, max(fmap_min, fmap_base // res)))


def doubling_feature_maps(fmaps, fmap_max):
    """The function from a level (number of halvings of the image) to its number of channels, as a codec has them."""
    return lambda level: min(fmaps * 2 ** level, fmap_max)
