"""How a training run's configuration is read, changed, checked, and becomes the arguments of the training loop.

No TensorFlow is imported.
"""

import copy
import os

from dnnlib import config_files
from dnnlib.config_files import kind, nearest
from dnnlib.submission import read_submit_config
from dnnlib.util import EasyDict, UserError
from experiment import settings
from experiment.metric_settings import check_metrics
from experiment.session_settings import check_session
from experiment.settings import SECTIONS, any_origin, mistake
from metrics import presets

FREE_SECTIONS = ('tf_config',)  # their keys contain dots
_LIKE_SECTIONS = ['metrics', 'tf_config']
# What may change while a run goes on.
RESUMABLE = ('train.total_kimg', 'train.max_hours', 'train.image_snapshot_ticks', 'train.network_snapshot_ticks',
             'train.checkpoint_kimg', 'train.checkpoint_minutes', 'train.checkpoint_keep', 'train.on_nan',
             'train.max_skipped_updates', 'train.deterministic', 'train.save_tf_graph', 'train.save_weight_histograms',
             'sched.minibatch_base', 'sched.minibatch_dict', 'sched.max_minibatch_per_gpu', 'metrics', 'tf_config',
             'num_gpus')


def load(name, config_dir, overrides=(), options=None):
    """Loads, overrides, resolves and checks a configuration.

    `options` maps top-level keys to values given by options of their own, such as {'seed': 5}.
    Returns (config, origins) as `config_files.load_config` does; every section is present, and the schedule's settings
    are those for the number of GPUs. Raises UserError.
    """
    updates, entries = config_files.parse_overrides(overrides, FREE_SECTIONS)
    config, origins = config_files.load_config(name, config_dir, updates)
    return resolve(config, origins, entries, options, os.path.splitext(os.path.basename(name))[0])


def resolve(config, origins, entries=(), options=None, desc='', needs_data=True):
    """What a configuration says, once it is read whole. Changes it in place and returns it as `load` does.

    entries: of tables, see `config_files.parse_overrides`; desc: its description, where it has none of its own;
    needs_data: whether it must name its data, which is not needed to look at it. A
    run's own configuration, which is resolved, stays what it is but for entries and options.
    """
    of_presets = [entry for entry in entries if entry[0][:2] == ['sched', 'by_num_gpus']]
    set_entries(config, origins, of_presets)
    for key, value in (options or {}).items():
        if value is not None:
            config[key] = value
            origins[key] = '--' + key.replace('_', '-')
    for key, setting in settings.top_level().items():
        if key not in config:
            config[key] = setting.default
            origins[key] = 'default'
    config.desc = config.desc or desc
    _check_outline(config, origins)
    _apply_gpu_presets(config, origins)
    set_entries(config, origins, [entry for entry in entries if entry not in of_presets],
                lambda section, key=None: key and settings.value_of(config, section, key))
    check(config, origins, needs_data)
    order = list(settings.top_level()) + list(SECTIONS) + _LIKE_SECTIONS
    return EasyDict((key, config[key]) for key in order), origins


def check_changes(record, before, run_dir, overrides=()):
    """Raises UserError if the run in `run_dir` cannot go on from its record, or not with such changes.

    before: the record's configuration, to which missing sections are added, empty.
    """
    if 'run_func_name' in record:
        raise UserError(f'{run_dir} was started by a call of submit_run, so that there is no configuration to go on '
                        'with; call it again with resume_run_id, or take its networks up with --init-from')
    for text in overrides:
        key = text.partition('=')[0].strip()
        if not any(key == name or key.startswith(name + '.') for name in RESUMABLE):
            raise UserError(f"--set {key} cannot be changed with --resume, only {', '.join(RESUMABLE)} can")
    _check_outline(before, record['provenance'])


def set_entries(config, origins, entries, default_table=lambda *parts: None):
    """Sets single entries of tables, see `config_files.parse_overrides`.

    `default_table(section, key)`: what an absent one means.
    """
    for parts, value in entries:
        mapping, depth = config, next(index for index, part in enumerate(parts) if isinstance(part, int))
        for index, part in enumerate(parts[:-1]):
            inner = mapping.get(part)
            if index == depth - 1 and inner is None:
                inner = copy.deepcopy(default_table(*parts[:depth]))
            mapping[part] = EasyDict(inner) if isinstance(inner, dict) else EasyDict()
            mapping = mapping[part]
        mapping[parts[-1]] = value
        dotted = '.'.join(parts[:depth])
        note = '--set' if parts[depth + 1:] else f'--set for {parts[depth]}'
        origins[dotted] = f'{origins[dotted]}, {note}' if dotted in origins else note


def outlined(config):
    """A copy of a record's configuration in which every section is there. Raises UserError for other things."""
    config = config_files.to_easy(config)
    _check_outline(config, {})
    return config


def _check_outline(config, origins):
    """Refuses unknown sections and settings outside of sections. Adds sections that are missing, empty."""
    known = settings.top_level()
    names = list(known) + list(SECTIONS) + _LIKE_SECTIONS
    for key in config:
        if key not in names:
            raise UserError(f"there is no setting '{str(key)[:60]}'{nearest(str(key)[:60], names)} (given in "
                            f"{any_origin(origins, str(key))}; known: {', '.join(names)})")
    for key, setting in known.items():
        if key not in config:
            raise UserError(f'{key} is missing in the configuration')
        settings.check_value(origins, key, config[key], setting)
    for name in list(SECTIONS) + ['tf_config']:
        if not isinstance(config.setdefault(name, EasyDict()), dict):
            raise mistake(origins, name, f'must be a section of settings, not {kind(config[name])}')
    config.setdefault('metrics', [])


def check(config, origins, needs_data=True):
    """Refuses keys that no function takes and values that do not suit it. Adds sections that are missing, empty."""
    _check_outline(config, origins)
    for name in SECTIONS:
        if name == 'train' or settings.loop_takes(config, f'{name}_args'):
            settings.check_section(name, config[name], origins, needs_data or name != 'dataset')
        elif config[name]:
            raise _unread(config, name, origins)
    if config.metrics and not settings.loop_takes(config, 'metric_arg_list'):
        raise _unread(config, 'metrics', origins)
    check_session(config.tf_config, origins)
    check_metrics(config.metrics, origins)


def _unread(config, name, origins):
    return UserError(f'{name}: {config.train.func_name} reads nothing of this, so that it would have no effect (given '
                     f'in {any_origin(origins, name)}); leave it out')


def _apply_gpu_presets(config, origins):
    """Replaces `sched.by_num_gpus` by its entry for the number of GPUs, without touching keys given beside it."""
    presets = config.sched.pop('by_num_gpus', None)
    origin = origins.pop('sched.by_num_gpus', 'the configuration')
    if not presets:
        return
    if not isinstance(presets, dict) or not all(
            isinstance(count, int) and isinstance(preset, dict) for count, preset in presets.items()):
        raise UserError(f'sched.by_num_gpus must be a table of settings by number of GPUs ({origin})')
    for count, preset in presets.items():
        settings.check_section('sched', preset, {f'sched.{key}': f'{origin}, for {count} GPU(s)' for key in preset})
    preset = presets.get(config.num_gpus)
    if preset is None:
        counts = ', '.join(str(count) for count in presets)
        raise UserError(f'the schedule has settings for {counts} GPUs, not for {config.num_gpus}; choose one of these '
                        'with --num-gpus, or set sched.by_num_gpus=null, sched.minibatch_base and sched.minibatch_dict')
    for key, value in preset.items():
        if config.sched.get(key) is None:
            config.sched[key] = copy.deepcopy(value)
            origins[f'sched.{key}'] = f'{origin}, for {config.num_gpus} GPU(s)'


def loop_arguments(config, data_dir):
    """The keyword arguments for the loop that a resolved configuration names, as far as it takes them."""
    kwargs = EasyDict((f'{name}_args', EasyDict(config[name])) for name in SECTIONS if name != 'train')
    kwargs.update((key, value) for key, value in config.train.items() if key != 'func_name')
    kwargs.dataset_args.data_dir = data_dir
    kwargs.metric_arg_list = [_metric_arguments(metric) for metric in config.metrics]
    kwargs.tf_config = dict(config.tf_config)
    kwargs.update(seed=config.seed, device=config.device, num_gpus=config.num_gpus)
    return EasyDict(item for item in kwargs.items() if settings.loop_takes(config, item[0]))


def _metric_arguments(metric):
    return presets.preset(metric) if isinstance(metric, str) else EasyDict(metric)


def find_run(result_dir, wanted):
    """(directory, is finished) of the newest run of a configuration in a folder; (None, False) without one."""
    names = os.listdir(result_dir) if os.path.isdir(result_dir) else []
    for name in sorted((n for n in names if n.endswith(f'-{wanted.desc}')), reverse=True):
        run_dir = os.path.join(result_dir, name)
        try:
            if read_submit_config(run_dir)['config'] == wanted:
                return run_dir, os.path.isfile(os.path.join(run_dir, 'network-final.pkl'))
        except UserError:
            continue  # a folder that never became a run
    return None, False
