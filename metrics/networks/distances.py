"""Distances between pictures for those who look for latents: perceptual ones where they make sense, else pixels."""

from dnnlib import artifacts
from dnnlib.errors import UserError
from dnnlib.submission import read_submit_config
from dnnlib.tflib import tf
from metrics.networks import files
from metrics.networks.choice import RELEASED, STANDIN, is_toyfaces
from metrics.networks.feature_networks import FeatureNetworks
from training.network_files import runs

PYRAMID = 'pyramid'
CHOICES = ('auto', RELEASED, STANDIN, PYRAMID)
SMALLEST = 4        # pixels of the pyramid's top

_WHAT = {RELEASED: 'VGG16 with the LPIPS weights',
         STANDIN: "the project's stand-in for drawn faces, whose distances compare with nothing else",
         PYRAMID: 'squared differences of pixels at all scales'}


def choose(asked, network_path, artifacts_dir=None):
    """(RELEASED, STANDIN or PYRAMID, a sentence that says which and why) for one of CHOICES.

    'auto' takes the released VGG16-LPIPS where that file is on this machine, else the stand-in for drawn faces if the
    network was trained on some, else pixels.
    """
    if asked != 'auto':
        return asked, f'{_WHAT[asked]}, as asked'
    if artifacts.find(files.PERCEPTUAL, artifacts_dir) is not None:
        return RELEASED, _WHAT[RELEASED]
    if _saw_drawn_faces(network_path):
        return STANDIN, f'{_WHAT[STANDIN]}, since the network was trained on some'
    return PYRAMID, (f'{_WHAT[PYRAMID]}, since {files.PERCEPTUAL} is not on this machine (`python -m dnnlib.artifacts '
                     'fetch`) and the network did not learn from drawn faces')


def _saw_drawn_faces(network_path):
    run_dir = runs.run_dir_of(network_path)
    if run_dir is None:
        return False
    try:
        record = read_submit_config(run_dir)
    except UserError:
        return False
    args = (record.get('config') or {}).get('dataset') or {}
    return is_toyfaces(dict(args, data_dir=record.get('data_dir')))


def build(source):
    """(function of two batches of RGB images [N, 3, R, R] in [0, 255] that gives distances [N], record of the network
    or None). Raises UserError where the network's file cannot be had."""
    if source == PYRAMID:
        return pyramid, None
    network = FeatureNetworks(source).perceptual()
    return network.net.get_output_for, network.record


def pyramid(a, b):
    """Mean squared differences [N] of pixels in [0, 1], summed over scales that halve until SMALLEST pixels."""
    difference, total = (a - b) / 255.0, 0.0
    while True:
        total += tf.reduce_mean(tf.square(difference), axis=[1, 2, 3])
        size = difference.shape.as_list()[-1]
        if size <= SMALLEST or size % 2:
            return total
        difference = tf.reduce_mean(tf.reshape(difference, [-1, 3, size // 2, 2, size // 2, 2]), axis=[3, 5])
