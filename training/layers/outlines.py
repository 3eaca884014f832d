"""What a network's graph would tell once it is built, told beforehand: its variables and the shapes around it.

So a network that comes from a file gets its variables without a graph; building the one of a full-size generator takes
seconds. A module of build functions names them as its `OUTLINES`, see `dnnlib.tflib.registry`. Networks that are not
told here, or whose keywords are unusual, are built at once. That outlines are those of built networks is tested.
"""

import collections

import numpy as np

from dnnlib.tflib import tf
from training.layers.network_sizes import feature_maps, resolution_log2

Outline = collections.namedtuple('Outline', 'variables input_shapes output_shapes output_names')
"""variables: list of Variable in the order in which the graph makes them, without those of components; input_shapes,
output_shapes: lists, None for a minibatch's size; output_names: list of str."""

Variable = collections.namedtuple('Variable', 'name shape initializer is_trainable')
"""name: local; shape: list; initializer: TensorFlow's."""

ZEROS, ONES, NORMAL = tf.initializers.zeros(), tf.initializers.ones(), tf.initializers.random_normal()
LRELU_GAIN = np.sqrt(2)     # of He's initialisation; that of both activations


class _Variables(list):
    """A list of Variable that grows as layers are named."""

    def plain(self, name, shape, initializer=ZEROS, is_trainable=True):
        self.append(Variable(name, shape, initializer, is_trainable))

    def weight(self, scope, shape, gain, use_wscale, lrmul=1.0):
        """As `network_layers.get_weight`."""
        deviation = (1.0 if use_wscale else gain / np.sqrt(np.prod(shape[:-1]))) / lrmul
        self.plain(scope + '/weight', shape, tf.initializers.random_normal(0, deviation))


def G_style(kwargs, components):
    """The outline of `networks_stylegan.G_style` around components that are there; None if they do not fit."""
    if set(components) != {'mapping', 'synthesis'} or kwargs.is_training or kwargs.is_validation \
            or 'force_clean_graph' in kwargs:
        return None
    mapping, synthesis = components['mapping'], components['synthesis']
    if mapping.output_shape != synthesis.input_shape:
        return None
    variables = _Variables()
    variables.plain('lod', [], is_trainable=False)
    variables.plain('dlatent_avg', [synthesis.input_shape[2]], is_trainable=False)
    return Outline(variables, mapping.input_shapes, synthesis.output_shapes, ['images_out'])


def G_mapping(kwargs, components):
    """The outline of `networks_stylegan.G_mapping`. kwargs: all its keywords by name."""
    variables, width = _Variables(), kwargs.latent_size
    if kwargs.label_size:
        variables.plain('LabelConcat/weight', [kwargs.label_size, kwargs.latent_size], NORMAL)
        width *= 2
    for index in range(kwargs.mapping_layers):
        fmaps = kwargs.dlatent_size if index == kwargs.mapping_layers - 1 else kwargs.mapping_fmaps
        variables.weight(f'Dense{index}', [width, fmaps], LRELU_GAIN, kwargs.use_wscale, kwargs.mapping_lrmul)
        variables.plain(f'Dense{index}/bias', [fmaps])
        width = fmaps
    rows = [] if kwargs.dlatent_broadcast is None else [kwargs.dlatent_broadcast]
    return Outline(variables, [[None, kwargs.latent_size], [None, kwargs.label_size]], [[None] + rows + [width]],
                   ['dlatents_out'])


def G_synthesis(kwargs, components):
    """The outline of `networks_stylegan.G_synthesis`."""
    if kwargs.structure == 'recursive':     # makes its variables in another order
        return None
    res_log2, size = resolution_log2(kwargs.resolution), kwargs.dlatent_size
    nf = feature_maps(kwargs.fmap_base, kwargs.fmap_decay, kwargs.fmap_max)
    variables, scaled = _Variables(), kwargs.use_wscale
    variables.plain('lod', [], is_trainable=False)
    for layer in range(res_log2 * 2 - 2 if kwargs.use_noise else 0):
        side = 2 ** (layer // 2 + 2)
        variables.plain(f'noise{layer}', [1, 1, side, side], NORMAL, is_trainable=False)

    def epilogue(scope, fmaps):
        if kwargs.use_noise:
            variables.plain(scope + '/Noise/weight', [fmaps])
        variables.plain(scope + '/bias', [fmaps])
        if kwargs.use_styles:
            variables.weight(scope + '/StyleMod', [size, fmaps * 2], 1, scaled)
            variables.plain(scope + '/StyleMod/bias', [fmaps * 2])

    def convolution(scope, inputs, outputs):
        variables.weight(scope, [3, 3, inputs, outputs], LRELU_GAIN, scaled)
        epilogue(scope, outputs)

    def torgb(res):
        scope = f'ToRGB_lod{res_log2 - res}'
        variables.weight(scope, [1, 1, nf(res - 1), kwargs.num_channels], 1, scaled)
        variables.plain(scope + '/bias', [kwargs.num_channels])

    if kwargs.const_input_layer:
        variables.plain('4x4/Const/const', [1, nf(1), 4, 4], ONES)
        epilogue('4x4/Const', nf(1))
    else:
        variables.weight('4x4/Dense', [size, nf(1) * 16], LRELU_GAIN / 4, scaled)
        epilogue('4x4/Dense', nf(1))
    convolution('4x4/Conv', nf(1), nf(1))
    for res in range(2, res_log2 + 1):
        if res > 2:
            scope = f'{2 ** res}x{2 ** res}'
            convolution(scope + '/Conv0_up', nf(res - 2), nf(res - 1))
            convolution(scope + '/Conv1', nf(res - 1), nf(res - 1))
        if kwargs.structure != 'fixed' or res == res_log2:
            torgb(res)
    return Outline(variables, [[None, res_log2 * 2 - 2 if kwargs.use_styles else 1, size]],
                   [[None, kwargs.num_channels, kwargs.resolution, kwargs.resolution]], ['images_out'])
