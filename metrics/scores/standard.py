"""The settings that the names of metrics stand for. Scores under other settings say so."""

from collections import OrderedDict

from training.network_files.best import UNNAMED

# Where the papers and the released code part, by the beginning of a metric's name: what the released code does.
OPTIONS = {'fid': {'reals': UNNAMED['reals']}, 'ppl': {key: UNNAMED[key] for key in ('ends', 'rejection')}}


def options_of(name):
    """The settings of a metric in which the papers and the released code part, as the latter has them."""
    return next((dict(values) for beginning, values in OPTIONS.items() if name.startswith(beginning)), {})


def _path_length(space, sampling):
    return dict(num_samples=100000, epsilon=1e-4, space=space, sampling=sampling, minibatch_per_gpu=16,
                **OPTIONS['ppl'])


def _fid(**settings):
    return dict(num_images=50000, minibatch_per_gpu=8, **dict(OPTIONS['fid'], **settings))


# FID, path lengths and ls: the published ones (StyleGAN paper, sections 2.1, 3.1 and 4; Re-Training paper, Table I).
SETTINGS = OrderedDict([
    ('fid50k', _fid()),
    ('fid50k_mix2', _fid(num_mixed=2)),
    ('fid50k_mix3', _fid(num_mixed=3)),
    ('fid50k_mix4', _fid(num_mixed=4)),
    ('fid50k_decoded', _fid()),
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


def unusual(record):
    """Words on what of a record's settings is not as the released code has it, and as the papers say."""
    usual, settings = options_of(str(record.get('metric'))), record.get('settings') or {}
    return [f"{key} {settings[key] if isinstance(settings[key], str) else 'yes' if settings[key] else 'no'}"
            for key in usual if settings.get(key, usual[key]) != usual[key]]
