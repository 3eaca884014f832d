"""Which values a setting may have: the type of its parameter's default, a choice, or a range."""

import math

from dnnlib import config_files
from dnnlib.config_files import kind
from dnnlib.util import UserError

CHOICES = {
    'device': ('auto', 'cpu', 'gpu'),
    'dtype': ('float32', 'float16'),
    'structure': ('auto', 'fixed', 'linear', 'recursive', None),
    'nonlinearity': ('lrelu', 'relu'),
    'mapping_nonlinearity': ('lrelu', 'relu'),
    'fused_scale': (True, False, 'auto'),
    'on_nan': ('stop', 'rollback'),
    'layout': ('random', 'row_per_class', 'col_per_class', 'class4x4')}

# (lowest, highest), both allowed. Keys are settings' own names, which mean the same in every section.
RANGES = {
    'seed': (0, 2 ** 31 - 1), 'num_gpus': (1, 1024),
    'total_kimg': (0.001, 1e9), 'minibatch_repeats': (1, 10000), 'D_repeats': (1, 1000), 'G_smoothing_kimg': (0, 1e9),
    'image_snapshot_ticks': (0, 10 ** 9), 'network_snapshot_ticks': (0, 10 ** 9), 'checkpoint_kimg': (0.001, 1e9),
    'checkpoint_minutes': (0.01, 1e9), 'checkpoint_keep': (1, 10 ** 6), 'max_skipped_updates': (1, 10 ** 9),
    'lod_initial_resolution': (1, 2 ** 20), 'lod_training_kimg': (0, 1e9), 'lod_transition_kimg': (0, 1e9),
    'minibatch_base': (1, 10 ** 6), 'G_lrate_base': (0, 10), 'D_lrate_base': (0, 10), 'lrate_rampup_kimg': (0, 1e9),
    'tick_kimg_base': (0.0001, 1e9),
    'fmap_base': (1, 2 ** 24), 'fmap_decay': (0, 10), 'fmap_max': (1, 2 ** 16), 'latent_size': (1, 2 ** 20),
    'dlatent_size': (1, 2 ** 20), 'mapping_layers': (0, 1000), 'mapping_fmaps': (1, 2 ** 20),
    'mapping_lrmul': (0, 1000), 'style_mixing_prob': (0, 1), 'dlatent_avg_beta': (0, 1),
    'mbstd_group_size': (0, 10 ** 6), 'mbstd_num_features': (1, 10 ** 6), 'beta1': (0, 1),
    'beta2': (0, 1), 'epsilon': (0, 1)}
NULLABLE = ('truncation_psi', 'truncation_cutoff', 'dlatent_avg_beta', 'style_mixing_prob', 'blur_filter')  # off
TABLE_RANGES = {'minibatch_dict': (1, 10 ** 6), 'max_minibatch_per_gpu': (1, 10 ** 6), 'G_lrate_dict': (0, 10),
                'D_lrate_dict': (0, 10), 'tick_kimg_dict': (0.0001, 1e9)}


def mistake(origins, dotted, text):
    """The UserError for a setting: its dotted key, what is wrong, and where the value came from."""
    where = origins.get(dotted)
    return UserError(f'{dotted}: {text}' + (f' (given in {where})' if where else ''))


def check_value(origins, dotted, value, default):
    """Raises UserError unless a setting's value suits its parameter, which has this default."""
    key = dotted.rpartition('.')[2]
    if key in CHOICES and not (key == 'dtype' and dotted.startswith('dataset.')):
        if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in CHOICES[key]):
            shown = ', '.join(config_files.format_value(choice) for choice in CHOICES[key])
            raise mistake(origins, dotted, f'must be one of {shown}, not {_shown(value)}')
        return
    if value is None and (default is None or key in NULLABLE):
        return
    if key in TABLE_RANGES:
        _check_table(origins, dotted, value, *TABLE_RANGES[key])
        return
    if key == 'max_label_size' and value == 'full':
        return
    expected = _expected(key, value, default)
    if expected:
        raise mistake(origins, dotted, f'must be {expected}, not {kind(value)} ({_shown(value)})')
    if key in RANGES and not _within(value, *RANGES[key]):
        low, high = RANGES[key]
        raise mistake(origins, dotted, f'must be from {_bound(low)} to {_bound(high)}, not {_shown(value)}')


def _shown(value):
    text = config_files.format_value(value)
    return text if len(text) <= 60 else text[:57] + '...'


def _bound(number):
    return str(int(number)) if number == number // 1 and abs(number) < 1e12 else f'{number:g}'


def _within(value, low, high):
    return isinstance(value, (int, float)) and not math.isnan(value) and low <= value <= high


def _expected(key, value, default):
    """The type that was expected, in words, or None if the value has it."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else 'true or false'
    if isinstance(default, (int, float)) or (key in RANGES and default is not None and not isinstance(default, str)):
        is_fraction = isinstance(default, float) or 'kimg' in key or 'minutes' in key
        fits = isinstance(value, (int, float) if is_fraction else int) and not isinstance(value, bool)
        return None if fits else 'a number' if is_fraction else 'a whole number'
    if isinstance(default, str):
        return None if isinstance(value, str) else 'a text'
    if isinstance(default, (list, tuple)):
        return None if isinstance(value, list) else 'a list'
    return None


def _check_table(origins, dotted, value, low, high):
    if not isinstance(value, dict):
        raise mistake(origins, dotted, f'must be a table by resolution such as {{128: 1}}, not {kind(value)}')
    for resolution, entry in value.items():
        if isinstance(resolution, bool) or not isinstance(resolution, int):
            raise mistake(origins, dotted, f'must have resolutions as keys, not {_shown(resolution)}')
        if isinstance(entry, bool) or not _within(entry, low, high):
            raise mistake(origins, dotted, f'must hold numbers from {_bound(low)} to {_bound(high)}, not '
                          f'{_shown(entry)} for {resolution}')
