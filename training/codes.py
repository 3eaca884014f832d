"""Training on codes instead of images, and training what makes the codes ("An Acceleration Framework …", section 3).

A data set of codes brings the codec along (`Dataset.codec`). Its generator is one network, latents to images, of two
components: `code`, which is trained, and `decoder`, which is the codec's and stays as it is. A codec in training is one
network too (`networks_codec.G_codec`); what is stored of it are its encoder F, its decoder H, and the discriminator.
"""

import numpy as np

from data.records.codec import read_codec
from dnnlib import tflib
from dnnlib.util import UserError

PARTS = ('code', 'decoder')
RECONSTRUCTED = 64      # images that a codec's errors are measured with, at each resolution


# ---- Generators of codes

def trained_part(G):
    """The network whose samples the discriminator sees: the code generator of a composed generator, else G itself."""
    return G.components['code'] if all(name in G.components for name in PARTS) else G


def codec_of(training_set):
    """A data set's codec, or None; data sets of other programs have none."""
    return getattr(training_set, 'codec', None)


def arguments_from_data(training_set):
    """Keywords that G and D get from the data: (of G, of D)."""
    data = dict(num_channels=training_set.shape[0], resolution=training_set.resolution,
                label_size=training_set.label_size)
    if codec_of(training_set) is None:
        return data, data
    kwargs = dict(read_codec(codec_of(training_set))[1].static_kwargs)
    scale = kwargs.get('downscale', 4)
    images = dict(num_channels=kwargs.pop('num_channels', 3), resolution=training_set.resolution * scale,
                  label_size=training_set.label_size)
    kwargs.pop('resolution', None)
    return dict(images, decoder_kwargs=kwargs), data


def load_decoder(G, training_set):
    """Gives a composed generator the decoder of the data set's codec. Raises UserError if it does not fit."""
    if codec_of(training_set) is None or trained_part(G) is G:
        return
    stored = dict(read_codec(codec_of(training_set))[1].variables)
    decoder = G.components['decoder']
    misfits = [name for name, var in decoder.vars.items()
               if name not in stored or list(np.shape(stored[name])) != tflib.shape_to_list(var.shape)]
    if misfits or len(stored) != len(decoder.vars):
        raise UserError(f"{training_set.codec['path']} does not fit the decoder of G ({', '.join(misfits[:3])}); leave "
                        'the section G without keywords of the decoder')
    tflib.set_vars({var: stored[name] for name, var in decoder.vars.items()})


class DecodedSynthesis:
    """The synthesis network of a style-based code generator, and the decoder, as one: dlatents to images."""

    def __init__(self, synthesis, decoder):
        self._synthesis, self._decoder = synthesis, decoder
        self.input_shape, self.input_shapes, self.own_vars = (
            synthesis.input_shape, synthesis.input_shapes, synthesis.own_vars)

    def get_output_for(self, dlatents, **kwargs):
        """Images of dlatents; keywords are the synthesis network's."""
        return self._decoder.get_output_for(self._synthesis.get_output_for(dlatents, **kwargs))


def style_parts(G):
    """(mapping, synthesis) of a style-based generator of images, or of codes and their images; None for others."""
    components = trained_part(G).components
    if not all(name in components for name in ('mapping', 'synthesis')):
        return None
    synthesis = components['synthesis']
    return components['mapping'], (
        synthesis if trained_part(G) is G else DecodedSynthesis(synthesis, G.components['decoder']))


def decode(G, codes, minibatch_size=8):
    """Images [N, C, H, W] float32 in [-1, 1] (nearly) of codes, by a composed generator's decoder."""
    return G.components['decoder'].run(np.asarray(codes, np.float32), minibatch_size=minibatch_size)


# ---- Codecs in training

def is_codec(G):
    """Whether a network is a codec in training."""
    return all(name in G.components for name in ('encoder', 'decoder'))


def stored_networks(networks):
    """What a snapshot of [G, D, Gs] holds: (G, D, Gs), or (F, H, D) of a codec."""
    G, D, Gs = networks
    return (Gs.components['encoder'], Gs.components['decoder'], D) if is_codec(Gs) else (G, D, Gs)


def reconstruction_errors(F, H, open_dataset, sizes=(128, 256, 512, 1024), num_images=RECONSTRUCTED):
    """Mean squared errors of H(F(x)), pixels in [-1, 1], by resolution: {64: 0.01, …}.

    Args:
        F, H: the networks.
        open_dataset: function from a resolution (None: the highest) to the data set at it.
        sizes: resolutions to measure where the data has them; data smaller than all of them is measured at its own.
        num_images: images at each resolution, the first of the data set.
    """
    with open_dataset(None) as full:
        highest = full.resolution
    errors = {}
    for size in [size for size in sizes if size <= highest] or [highest]:
        with open_dataset(size) as data:
            total = count = 0
            for index in range(min(num_images, len(data))):  # one by one: 1024x1024 is large
                images, _ = data.get_samples_np([index])
                low, high = data.dynamic_range
                images = (images.astype(np.float32) - low) * (2.0 / (high - low)) - 1
                total += float(np.mean(np.square(H.run(F.run(images)) - images), dtype=np.float64))
                count += 1
        errors[size] = total / count
    return errors
