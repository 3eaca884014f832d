"""The codec beside a data set of codes: the stored networks (F, H, D) that the codes were made with.

Importing this needs no TensorFlow; what reads networks imports it.
"""

import glob
import os

import numpy as np

from dnnlib.util import UserError, sha256_file

SCALES = (2, 4, 8, 16)      # side of an image over that of its code
_SHARED = {'downscale': 4, 'code_channels': 16, 'num_channels': 3}  # keywords of both networks, and their defaults


def find_codec(name):
    """The file of a codec that is given by its own path or by its run's directory: the final or the last snapshot.

    Raises UserError.
    """
    if os.path.isfile(name):
        return name
    if not os.path.isdir(name):
        raise UserError(f"--codec: there is no file and no run directory '{name}'")
    found = [os.path.join(name, 'network-final.pkl')] + sorted(
        glob.glob(os.path.join(glob.escape(name), 'network-snapshot-*.pkl')), key=lambda path: (len(path), path),
        reverse=True)   # beyond 999999 kimg names grow
    for path in found:
        if os.path.isfile(path):
            return path
    raise UserError(f"--codec: the directory '{name}' holds no network; give a run of a codec, or a snapshot of one")


def load_codec(path):
    """The stored networks (F, H, D) in a codec's snapshot, as `safe_pickle.NetworkState`s.

    Raises UserError if the file holds none, or networks of odd sizes.
    """
    from dnnlib.tflib import safe_pickle
    states = safe_pickle.read_networks(path)
    names = [state.build_func_name for state in states] if isinstance(states, tuple) else [states.build_func_name]
    if names[:2] != ['F_encoder', 'H_decoder']:
        raise UserError(f"{path} holds {', '.join(names)}; a codec is expected: the snapshot of a run such as "
                        '--config codec-h4')
    safe_pickle.build_networks(states, path)  # checks the keywords; nothing is built before it is used
    for key, default in _SHARED.items():
        values = [state.static_kwargs.get(key, default) for state in states[:2]]
        if values[0] != values[1]:
            raise UserError(f'{path} has an encoder whose {key} is {values[0]} and a decoder whose {key} is '
                            f'{values[1]}; they do not belong together')
    if scale_of(states[0]) not in SCALES:
        raise UserError(f'{path} divides sides by {scale_of(states[0])}; 2, 4, 8 or 16 is expected')
    return states


def scale_of(state):
    """The side of an image over that of its code, of a stored encoder or decoder."""
    return state.static_kwargs.get('downscale', _SHARED['downscale'])


def minibatch_for(side, most=8):
    """How many images of that side go through a codec at a time, so that memory stays bounded: 8 of 256x256."""
    return max(1, min(most, 2 ** 19 // side ** 2))


def read_codec(codec):
    """The same for the codec of a data set, `Dataset.codec`. Raises UserError for what `check_codec_file` refuses."""
    check_codec_file(codec)
    return load_codec(codec['path'])


def check_codec_file(codec):
    """Raises UserError if the file of `Dataset.codec` is another one than the codes were made with, or none."""
    path = codec['path']
    if not os.path.isfile(path):
        raise UserError(f'{path} is missing, the codec that the codes beside it were made with; encode the images '
                        'again')
    if sha256_file(path) != codec['sha256']:
        raise UserError(f'{path} is not the codec that the codes beside it were made with (its hash is not the one in '
                        'manifest.json); bring that back, or encode the images again')


def decode(codec, codes, device='auto'):
    """Pictures uint8 [N, C, H, W] of codes [N, channels, h, w], by the decoder of a data set's codec. UserError."""
    from dnnlib import tflib
    from dnnlib.tflib import safe_pickle
    states = read_codec(codec)
    tflib.select_device(device)
    with tflib.tf.Graph().as_default(), tflib.create_session().as_default():
        tflib.tf.set_random_seed(1)     # of first values, which a repeatable training asks for; none is used
        H = safe_pickle.build_networks(states, codec['path'])[1]
        return H.run(np.asarray(codes, np.float32), output_transform=dict(func=tflib.convert_images_to_uint8),
                     minibatch_size=minibatch_for(codes.shape[-1] * scale_of(states[1])))
