"""A small data set of drawn faces and a small snapshot, for tests of scores and tables."""

import os

from data.converters.create_toyfaces import create_toyfaces
from dnnlib import tflib
from dnnlib.tflib import tf
from training import misc

TINY = dict(num_channels=3, resolution=32, label_size=0, fmap_base=64, fmap_max=8, latent_size=12, dlatent_size=12,
            mapping_fmaps=12, mapping_layers=2, structure='fixed')


def make_faces(folder):
    """Makes 80 faces of 32x32 in a folder; returns the data set's path."""
    path = os.path.join(str(folder), 'toy')
    create_toyfaces(path, resolution=32, num=80, workers=1)
    return path


def make_network(folder, seed=1, **kwargs):
    """Stores an untrained (G, D, Gs) in a folder; returns its path."""
    path = os.path.join(str(folder), 'network-snapshot-000007.pkl')
    with tf.Graph().as_default(), tflib.create_session().as_default():
        tflib.select_device('cpu')
        tf.set_random_seed(seed)
        G = tflib.Network('G', 'training.networks_stylegan.G_style', **dict(TINY, **kwargs))
        misc.save_pkl((G, G.clone('D'), G.clone('Gs')), path)
    return path


def some_record(value=4.9, **changes):
    """A record of FID as a metric writes it."""
    return dict(dict(metric='fid50k', value=value, standard_error=0.02, network='net', network_sha256='a' * 64,
                     dataset_fingerprint='b' * 64, dataset_images=202281, mirror_augment=True, num_samples=50000,
                     is_standin=False, is_reduced=False, settings=dict(num_images=50000, minibatch_per_gpu=8), seed=0,
                     engine='tf1', tensorflow='1.15.5', device='gpu', num_gpus=2, seconds=960.0, time='now',
                     problems=[], feature_networks=dict(inception=dict(
                         name='Inception', file='inception_v3_features.pkl', file_sha256='c' * 64, verified=False,
                         is_standin=False))), **changes)
