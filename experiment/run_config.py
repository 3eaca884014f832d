"""What a training run's configuration may contain, and how it becomes the arguments of the training loop.

Keys and types are those of the functions that receive them, read from their source; no TensorFlow is imported.
"""

import os
from collections import OrderedDict

from dnnlib import config_files, registry, signatures
from dnnlib.config_files import kind, nearest
from dnnlib.util import EasyDict, UserError
from experiment.setting_values import check_value, mistake
from metrics import presets

FREE_SECTIONS = ('tf_config',)  # their keys contain dots and are not ours to know
LOOP = 'training.training_loop.training_loop'
SCHEDULE = 'training.schedule.training_schedule'
OPTIMIZER = 'dnnlib.tflib.optimizer.Optimizer'

# Keyword arguments of the optimizers that a configuration may name.
TF_OPTIMIZERS = {
    'tf.train.AdamOptimizer': OrderedDict(beta1=0.9, beta2=0.999, epsilon=1e-8),
    'tf.train.GradientDescentOptimizer': OrderedDict(),
    'tf.train.MomentumOptimizer': OrderedDict(momentum=signatures.REQUIRED, use_nesterov=False),
    'tf.train.RMSPropOptimizer': OrderedDict(decay=0.9, momentum=0.0, epsilon=1e-10, centered=False)}

TOP_LEVEL = OrderedDict([
    ('desc', ('', 'Description; part of the run directory\'s name.')),
    ('seed', (1000, 'All random numbers of the run follow from it.')),
    ('num_gpus', (1, 'Number of GPUs, or of virtual devices on a CPU, that share each minibatch.')),
    ('device', ('auto', 'auto, cpu or gpu.'))])


class Section:
    """How the keys of one section are known.

    selector: the key that names the function, or None; function: its name where the section does not say; supplied:
    parameters that the program fills in itself; extra: further keys with their defaults and meanings.
    """

    def __init__(self, selector=None, function=None, supplied=(), required_are_supplied=True, extra=None):
        self.selector = selector
        self.function = function
        self.supplied = set(supplied)
        self.required_are_supplied = required_are_supplied
        self.extra = extra or {}


_FROM_DATA = ['num_channels', 'resolution', 'label_size']
_FROM_NETWORK = ['is_training', 'is_validation', 'is_template_graph', 'components', 'seed', 'data_format',
                 'dlatent_broadcast', 'force_clean_graph', 'lod']
_LOOP_SECTIONS = ['G_args', 'D_args', 'G_opt_args', 'D_opt_args', 'G_loss_args', 'D_loss_args', 'dataset_args',
                  'sched_args', 'grid_args', 'metric_arg_list', 'metric_group', 'tf_config']
SECTIONS = OrderedDict([
    ('train', Section('func_name', LOOP, _LOOP_SECTIONS + ['seed', 'device', 'num_gpus', 'resume', 'init_from'])),
    ('G', Section('func_name', None, _FROM_DATA + _FROM_NETWORK)),
    ('D', Section('func_name', None, _FROM_DATA + _FROM_NETWORK)),
    ('G_opt', Section(None, OPTIMIZER, ['name', 'learning_rate'])),
    ('D_opt', Section(None, OPTIMIZER, ['name', 'learning_rate'])),
    ('G_loss', Section('func_name', None)),
    ('D_loss', Section('func_name', None)),
    ('dataset', Section('class_name', 'training.dataset.TFRecordDataset', ['prefetch'], required_are_supplied=False)),
    ('sched', Section(None, SCHEDULE, ['num_gpus'], extra={
        'by_num_gpus': (None, 'Settings of this section by the number of GPUs; keys given beside it go first.')})),
    ('grid', Section(None, 'training.snapshot.choose_grid', ['seed']))])


def load(name, config_dir, overrides=(), options=None):
    """Loads, overrides, resolves and checks a configuration.

    `options` maps top-level keys to values given by options of their own, such as {'seed': 5}.
    Returns (config, origins) as `config_files.load_config` does; every section is present, and the schedule's settings
    are those for the number of GPUs. Raises UserError.
    """
    config, origins = config_files.load_config(name, config_dir, overrides, FREE_SECTIONS)
    _apply_options(config, origins, options)
    for key, (default, _) in TOP_LEVEL.items():
        if key not in config:
            config[key] = default
            origins[key] = 'default'
    if not config.desc:
        config.desc = os.path.splitext(os.path.basename(name))[0]
    check(config, origins)
    _apply_gpu_presets(config, origins)
    return _in_order(config), origins


def override(config, origins, overrides=(), options=None):
    """Changes a resolved configuration as `load` does. Returns (config, origins), both new. Raises UserError."""
    config, origins = config_files.to_easy(config), dict(origins)
    config_files.apply_overrides(config, origins, overrides, FREE_SECTIONS)
    config = config_files.to_easy(config)
    _apply_options(config, origins, options)
    check(config, origins)
    return _in_order(config), origins


def _apply_options(config, origins, options):
    for key, value in (options or {}).items():
        if value is not None:
            config[key] = value
            origins[key] = '--' + key.replace('_', '-')


def _in_order(config):
    order = list(TOP_LEVEL) + list(SECTIONS) + ['metrics', 'tf_config']
    return EasyDict((key, config[key]) for key in order)


def check(config, origins):
    """Refuses keys that no function takes and values of a wrong type. Adds sections that are missing, empty."""
    known = list(TOP_LEVEL) + list(SECTIONS) + ['metrics', 'tf_config']
    for key in config:
        if key not in known:
            raise UserError(f"there is no setting '{key}'{nearest(key, known)} (given in "
                            f"{_any_origin(origins, str(key))}; known: {', '.join(known)})")
    for key, (default, _) in TOP_LEVEL.items():
        check_value(origins, key, config[key], default)
    for name, section in SECTIONS.items():
        config.setdefault(name, EasyDict())
        if not isinstance(config[name], dict):
            raise mistake(origins, name, f'must be a section of settings, not {kind(config[name])}')
        _check_section(name, section, config[name], origins)
    _check_metrics(config.setdefault('metrics', []), origins)
    config.setdefault('tf_config', EasyDict())
    if not isinstance(config.tf_config, dict):
        raise mistake(origins, 'tf_config', f'must be a section of settings, not {kind(config.tf_config)}')
    for key, value in config.tf_config.items():
        if isinstance(value, (dict, list)):
            raise mistake(origins, f'tf_config.{key}', f'must be a single value, not {kind(value)}; write the path '
                           'into ConfigProto with dots, such as gpu_options.allow_growth: true')


def _any_origin(origins, key):
    return next((text for dotted, text in origins.items() if (dotted + '.').startswith(key + '.')), 'the configuration')


def parameters(name, section, values, origins=None):
    """What a section may contain: OrderedDict of key -> (default, meaning or None). None: anything.

    `values` are the section's present ones, since the function that they name decides. Raises UserError.
    """
    origins = origins or {}
    function = values.get(section.selector, section.function) if section.selector else section.function
    selector_key = f'{name}.{section.selector}'
    if function is None:
        raise UserError(f'{selector_key} is missing; it names the function to call, such as '
                        'training.networks_stylegan.G_style')
    signature = _signature_of(name, function, selector_key, origins) if section.selector \
        else signatures.read_signature(function)
    result = OrderedDict()
    if section.selector:
        result[section.selector] = (section.function or function, None)
    is_open = signature.takes_any
    pending, seen = [signature], set()
    while pending:
        sig = pending.pop(0)
        if sig is None or sig.name in seen:
            continue
        seen.add(sig.name)
        for key, default in sig.params.items():
            is_supplied = key in section.supplied or key.startswith('_') or (
                default is signatures.REQUIRED and section.required_are_supplied)
            if not is_supplied and key not in result:
                result[key] = (default, sig.comments.get(key))
        pending += [signatures.read_signature(target) for target in sig.forwards_to]
    if function == OPTIMIZER:
        optimizer = values.get('tf_optimizer', 'tf.train.AdamOptimizer')
        extra = TF_OPTIMIZERS.get(optimizer) if isinstance(optimizer, str) else None
        if extra is None:
            known = ', '.join(TF_OPTIMIZERS)
            raise mistake(origins, f'{name}.tf_optimizer', f'must be one of {known}, not '
                          f'{config_files.format_value(optimizer)[:60]}')
        result.update((key, (default, None)) for key, default in extra.items())
    elif is_open and name not in ('G', 'D'):
        return None  # passes anything on to code that we do not know
    result.update(section.extra)
    return result


def _signature_of(kind_of_name, function, dotted, origins):
    """The signature of a function that the configuration names. Raises UserError unless it may be named there."""
    problem = registry.refusal(kind_of_name, function)
    if problem:
        raise mistake(origins, dotted, problem)
    signature = signatures.read_signature(function)
    if signature is None:
        raise mistake(origins, dotted, f"'{function}' is not a function or a class with source")
    return signature


def _check_section(name, section, values, origins):
    known = parameters(name, section, values, origins)
    for key, value in values.items():
        dotted = f'{name}.{key}'
        if known is None:
            continue
        if key not in known:
            if key in section.supplied:
                hint = f"; '{key}' comes from the data set" if key in _FROM_DATA else f"; '{key}' is filled in"
            else:
                hint = nearest(key, known)
            choice = '' if hint else f"; known here: {', '.join(known)}"
            raise UserError(f"there is no setting '{dotted}'{hint} (given in {_any_origin(origins, dotted)}{choice})")
        check_value(origins, dotted, value, known[key][0])
    missing = [key for key, (default, _) in (known or {}).items() if default is signatures.REQUIRED
               and key not in values]
    if missing:
        hint = '; it names the folder of TFRecords inside --data-dir' if missing[0] == 'tfrecord_dir' else ''
        raise UserError(f'{name}.{missing[0]} is missing{hint}; add it with --set {name}.{missing[0]}=…')


def _check_metrics(metrics, origins):
    if not isinstance(metrics, list):
        raise mistake(origins, 'metrics', f'must be a list such as [fid50k] or [], not {kind(metrics)}')
    for metric in metrics:
        if isinstance(metric, str):
            names = presets.preset_names()
            if metric not in names:
                raise mistake(origins, 'metrics', f"there is no metric '{metric}'{nearest(metric, names)} "
                              f"(known: {', '.join(names)})")
        elif not isinstance(metric, dict) or 'func_name' not in metric:
            raise mistake(origins, 'metrics', 'each one must be a name such as fid50k, or settings with func_name')
        else:
            _signature_of('metric', metric['func_name'], 'metrics', origins)


def _apply_gpu_presets(config, origins):
    """Replaces `sched.by_num_gpus` by its entry for the number of GPUs, without touching keys given beside it."""
    presets = config.sched.pop('by_num_gpus', None)
    origin = origins.pop('sched.by_num_gpus', None)
    if not presets:
        return
    if not isinstance(presets, dict) or not all(isinstance(p, dict) for p in presets.values()):
        raise UserError(f'sched.by_num_gpus must be a table of settings by number of GPUs ({origin})')
    preset = presets.get(config.num_gpus)
    if preset is None:
        counts = ', '.join(str(count) for count in presets)
        raise UserError(f'the schedule has settings for {counts} GPUs, not for {config.num_gpus}; choose one of these '
                        'with --num-gpus, or set sched.by_num_gpus=null, sched.minibatch_base and sched.minibatch_dict')
    for key, value in preset.items():
        if config.sched.get(key) is None:
            config.sched[key] = value
            origins[f'sched.{key}'] = f'{origin}, for {config.num_gpus} GPU(s)'
    _check_section('sched', SECTIONS['sched'], config.sched, origins)


def loop_arguments(config, data_dir):
    """The keyword arguments of the training loop for a resolved configuration, by the loop's names."""
    kwargs = EasyDict((f'{name}_args', EasyDict(config[name])) for name in SECTIONS if name != 'train')
    kwargs.update((key, value) for key, value in config.train.items() if key != 'func_name')
    kwargs.dataset_args.data_dir = data_dir
    kwargs.metric_arg_list = [_metric_arguments(metric) for metric in config.metrics]
    kwargs.tf_config = dict(config.tf_config)
    kwargs.update(seed=config.seed, device=config.device, num_gpus=config.num_gpus)
    return kwargs


def _metric_arguments(metric):
    return presets.preset(metric) if isinstance(metric, str) else EasyDict(metric)


def setting(config, section, key):
    """A setting's value, or the default of the function that it goes to, or None if it has no such parameter."""
    if key in config[section]:
        return config[section][key]
    default = (parameters(section, SECTIONS[section], config[section]) or {}).get(key, (None,))[0]
    return None if default in (signatures.REQUIRED, signatures.COMPUTED) else default


def is_adversarial(config):
    """Whether the run trains G against D in our loop, and not something else in a loop named by train.func_name."""
    return config.train.get('func_name', LOOP) == LOOP
