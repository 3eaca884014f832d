"""The settings that the names of metrics stand for. Scores under other settings say so."""

from collections import OrderedDict


def _path_length(space, sampling):
    return dict(num_samples=100000, epsilon=1e-4, space=space, sampling=sampling, minibatch_per_gpu=16)


# FID, path lengths and ls: the published numbers' (StyleGAN paper, sections 3.1 and 4; Re-Training paper, Table I).
SETTINGS = OrderedDict([
    ('fid50k', dict(num_images=50000, minibatch_per_gpu=8)),
    ('fid50k_mix2', dict(num_images=50000, minibatch_per_gpu=8, num_mixed=2)),
    ('fid50k_mix3', dict(num_images=50000, minibatch_per_gpu=8, num_mixed=3)),
    ('fid50k_mix4', dict(num_images=50000, minibatch_per_gpu=8, num_mixed=4)),
    ('fid50k_decoded', dict(num_images=50000, minibatch_per_gpu=8)),
    ('ppl_zfull', _path_length('z', 'full')),
    ('ppl_wfull', _path_length('w', 'full')),
    ('ppl_zend', _path_length('z', 'end')),
    ('ppl_wend', _path_length('w', 'end')),
    ('ls', dict(num_samples=200000, num_keep=100000, minibatch_per_gpu=4)),
    ('kid50k', dict(num_images=50000, minibatch_per_gpu=8)),
    ('pr50k', dict(num_images=50000, minibatch_per_gpu=8)),
    ('nearest', dict(num_images=16, minibatch_per_gpu=16)),
    ('jsd', dict(num_samples=100000)),
    ('mode_coverage', dict(num_samples=10000)),
    ('dummy', {})])


def is_reduced(name, settings):
    """Whether a score with these settings is another one than its name promises; None for names that promise none.

    Only numbers of samples and the step of path lengths count: the size of chunks is a matter of speed.
    """
    if name not in SETTINGS:
        return None
    return any(settings.get(key, value) != value for key, value in SETTINGS[name].items()
               if key.startswith('num_') or key == 'epsilon')
