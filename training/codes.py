"""Training on codes instead of images, and training what makes the codes ("An Acceleration Framework …", section 3).

A data set of codes brings the codec along (`Dataset.codec`). Its generator is one network, latents to images, of two
components: `code`, which is trained, and `decoder`, which is the codec's and stays as it is. A codec in training is one
network too (`networks_codec.G_codec`); what is stored of it are its encoder F, its decoder H, and the discriminator.
"""

import os

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import safe_pickle
from dnnlib.util import UserError, sha256_file

PARTS = ('code', 'decoder')


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


def read_codec(codec):
    """The stored networks (F, H, D) of a data set's codec, as `safe_pickle.NetworkState`s.

    `codec` is `Dataset.codec`. Raises UserError if the file is another one than the codes were made with, or none.
    """
    path = codec['path']
    if not os.path.isfile(path):
        raise UserError(f'{path} is missing, the codec that the codes beside it were made with; encode the images '
                        'again')
    if sha256_file(path) != codec['sha256']:
        raise UserError(f'{path} is not the codec that the codes beside it were made with (its hash is not the one in '
                        'manifest.json); bring that back, or encode the images again')
    return load_codec_states(path)


def load_codec_states(path):
    """The stored networks (F, H, D) in a codec's snapshot. Raises UserError if the file holds none."""
    states = safe_pickle.read_networks(path)
    names = [state.build_func_name for state in states] if isinstance(states, tuple) else [states.build_func_name]
    if names[:2] != ['F_encoder', 'H_decoder']:
        raise UserError(f"{path} holds {', '.join(names)}; a codec is expected: the snapshot of a run such as "
                        '--config codec-h4')
    return states


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


def reconstruction_errors(F, H, open_dataset, sizes=(128, 256, 512, 1024), num_images=64):
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
