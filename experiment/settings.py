"""Which settings a configuration may have: those of the functions that receive them, read from their source.

A setting's default, meaning, type and range stand in its function's signature (see `dnnlib.values.value_types`) and
nowhere else. No TensorFlow is imported.
"""

from collections import OrderedDict, namedtuple

from dnnlib import registry
from dnnlib.config_files import format_value, nearest
from dnnlib.util import EasyDict, UserError
from dnnlib.values import signatures
from dnnlib.values.value_types import split_comment

LOOP = 'training.training_loop.training_loop'
SCHEDULE = 'training.schedule.training_schedule'
OPTIMIZER = 'dnnlib.tflib.optimizer.Optimizer'

Setting = namedtuple('Setting', ['default', 'meaning', 'type'])     # type: a ValueType, or None for any value


def _setting(default, comment):
    return Setting(default, *split_comment(comment, default))


# Keyword arguments of the optimizers that a configuration may name: (default, meaning and range).
_BETA1 = (0.9, 'Decay of the running mean of gradients; 0 to 0.999999')
_EPSILON = 'Added to the denominator; 1e-30 to 1'
TF_OPTIMIZERS = {
    'tf.train.AdamOptimizer': [
        ('beta1',) + _BETA1, ('beta2', 0.999, 'Decay of the running mean of squared gradients; 0 to 0.9999999'),
        ('epsilon', 1e-8, _EPSILON)],
    'tf.train.GradientDescentOptimizer': [],
    'tf.train.MomentumOptimizer': [
        ('momentum', signatures.REQUIRED, 'Decay of the accumulated gradients; a number from 0 to 1'),
        ('use_nesterov', False, 'Look ahead along the accumulated gradients.')],
    'tf.train.RMSPropOptimizer': [
        ('decay', 0.9, 'Decay of the running mean of squared gradients; 0 to 1'),
        ('momentum', 0.0, 'Decay of the accumulated gradients; 0 to 1'), ('epsilon', 1e-10, _EPSILON),
        ('centered', False, 'Subtract the squared mean of gradients.')]}


class Section:
    """How the keys of one section are known.

    selector: the key that names the function, or None; function: its name where the section does not say; supplied:
    parameters that the program fills in itself; passed: those of them that every such function must take;
    required_are_supplied: whether parameters without a default are, too; extra: further keys, as Settings.
    """

    def __init__(self, selector=None, function=None, supplied=(), passed=(), required_are_supplied=True, extra=None):
        self.selector = selector
        self.function = function
        self.passed = tuple(passed)
        self.supplied = set(supplied) | set(passed)
        self.required_are_supplied = required_are_supplied
        self.extra = extra or {}


FROM_DATA = ['num_channels', 'resolution', 'label_size']
_FROM_NETWORK = ['is_training', 'is_validation', 'is_template_graph', 'components', 'seed', 'data_format', 'one_by_one',
                 'dlatent_broadcast', 'force_clean_graph', 'lod', 'noise_inputs', 'trainable', 'decoder_kwargs']
_FOR_LOSS = ['G', 'D', 'opt', 'training_set', 'minibatch_size']
TOP_LEVEL_OF_LOOP = ['seed', 'num_gpus', 'device']
_LOOP_SECTIONS = ['G_args', 'D_args', 'G_opt_args', 'D_opt_args', 'G_loss_args', 'D_loss_args', 'dataset_args',
                  'sched_args', 'grid_args', 'metric_arg_list', 'metric_group', 'tf_config']
_FOR_RESUME = ['resume', 'init_from', 'transfer', 'resume_kimg', 'resume_time']
SECTIONS = OrderedDict([
    ('train', Section('func_name', LOOP, _LOOP_SECTIONS + TOP_LEVEL_OF_LOOP + _FOR_RESUME,
                      passed=['run_dir', 'run_context'])),
    ('G', Section('func_name', None, FROM_DATA + _FROM_NETWORK)),
    ('D', Section('func_name', None, FROM_DATA + _FROM_NETWORK)),
    ('G_opt', Section(None, OPTIMIZER, ['name', 'learning_rate'])),
    ('D_opt', Section(None, OPTIMIZER, ['name', 'learning_rate'])),
    ('G_loss', Section('func_name', None, ['reals', 'labels'], passed=_FOR_LOSS, required_are_supplied=False)),
    ('D_loss', Section('func_name', None, passed=_FOR_LOSS + ['reals', 'labels'], required_are_supplied=False)),
    ('dataset', Section('class_name', 'training.dataset.TFRecordDataset', passed=['seed'],
                        required_are_supplied=False)),
    ('sched', Section(None, SCHEDULE, ['num_gpus', 'cur_nimg', 'training_set'], extra={
        'by_num_gpus': Setting(None, 'Settings of this section by the number of GPUs; keys given beside it go first.',
                               None)})),
    ('grid', Section(None, 'training.snapshot.choose_grid', ['seed']))])
_METRIC = Section('func_name', None, required_are_supplied=False)


def top_level():
    """The settings outside of sections: OrderedDict key -> Setting."""
    loop = signatures.read_signature(LOOP)
    result = OrderedDict(desc=_setting('', 'Description, part of the run directory\'s name; a text'))
    result.update((key, _setting(loop.params[key], loop.comments[key])) for key in TOP_LEVEL_OF_LOOP)
    return result


def mistake(origins, dotted, text):
    """The UserError for a setting: its dotted key, what is wrong, and where the value came from."""
    where = origins.get(dotted)
    return UserError(f'{dotted}: {text}' + (f' (given in {where})' if where else ''))


def any_origin(origins, key):
    """Where something below a dotted key came from."""
    return next((text for dotted, text in origins.items() if (dotted + '.').startswith(key + '.')), 'the configuration')


def named_signature(kind, function, dotted, origins):
    """The signature of a function that the configuration names. Raises UserError unless it may be named there."""
    problem = registry.refusal(kind, function)
    if problem:
        raise mistake(origins, dotted, problem)
    signature = signatures.read_signature(function)
    if signature is None:
        raise mistake(origins, dotted, f"'{function}' is not a function or a class with source")
    return signature


def parameters(name, values, origins=None):
    """What a section may contain: OrderedDict of key -> Setting, or None for anything.

    `values` are the section's present ones, since the function that they name decides. The settings of one metric are
    those of the section `metric`. Raises UserError.
    """
    origins, section = origins or {}, SECTIONS.get(name, _METRIC)
    function = values.get(section.selector, section.function) if section.selector else section.function
    selector_key = f'{name}.{section.selector}'
    if function is None:
        raise UserError(f'{selector_key} is missing; it names the function to call, such as '
                        f'{next(iter(registry.declared(name)))}')
    signature = named_signature(name, function, selector_key, origins) if section.selector \
        else signatures.read_signature(function)
    lacking = [key for key in section.passed if key not in signature.params and not signature.takes_more]
    if lacking:
        raise mistake(origins, selector_key, f'{function} does not take {", ".join(lacking)}, which it would be '
                      'called with')
    result = OrderedDict()
    if section.selector:
        result[section.selector] = Setting(section.function or function, None, None)
    known, is_open = _parameters_of(signature, section, values)
    result.update(known)
    if function == OPTIMIZER:
        result.update((key, _setting(*rest)) for key, *rest in _optimizer_parameters(name, values, origins))
    elif is_open:
        return None  # passes anything on to code that we do not know
    result.update(section.extra)
    return result


def _parameters_of(signature, section, values):
    """(the settings that a function takes and those that it forwards to, whether it also takes any others).

    What a function with a parameter NAME_func takes besides goes to the function that this one names.
    """
    result, pending, seen, is_open = OrderedDict(), [signature], set(), False
    while pending:
        sig = pending.pop(0)
        if sig is None or sig.name in seen:
            continue
        seen.add(sig.name)
        for key, default in sig.params.items():
            is_supplied = key in section.supplied or key.startswith('_') or (
                default is signatures.REQUIRED and section.required_are_supplied)
            if not is_supplied and key not in result:
                result[key] = _setting(default, sig.comments.get(key))
        targets = sig.forwards_to + (_named_functions(sig, values) if sig.takes_any else [])
        is_open |= sig.takes_any and not targets
        pending += [signatures.read_signature(target) for target in targets]
    return result, is_open


def _named_functions(signature, values):
    """Full names of the functions that parameters NAME_func name; those that nobody may name are told of later."""
    names = [values.get(key, default) for key, default in signature.params.items() if key.endswith('_func')]
    return [name for name in names if isinstance(name, str)]


def _optimizer_parameters(name, values, origins):
    optimizer = values.get('tf_optimizer', 'tf.train.AdamOptimizer')
    if not isinstance(optimizer, str) or optimizer not in TF_OPTIMIZERS:
        raise mistake(origins, f'{name}.tf_optimizer', f"must be one of {', '.join(TF_OPTIMIZERS)}, not "
                      f'{format_value(optimizer)[:60]}')
    return TF_OPTIMIZERS[optimizer]


def check_value(origins, dotted, value, setting):
    """Raises UserError unless a setting's value suits its type."""
    if value is None and setting.default is None and setting.type is None:
        return
    problem = setting.type.problem(value) if setting.type else None
    if problem:
        raise mistake(origins, dotted, problem)


def check_section(name, values, origins, is_whole=True):
    """Refuses keys that a section's function does not take, values that do not suit it, and, in a whole section, a lack
    of others."""
    known = parameters(name, values, origins)
    if known is None:
        return
    section = SECTIONS.get(name, _METRIC)
    for key, value in values.items():
        dotted = f'{name}.{key}'
        if key not in known:
            if key in section.supplied:
                hint = f"; '{key}' comes from the data set" if key in FROM_DATA else f"; '{key}' is filled in"
            else:
                hint = nearest(key, known)
            choice = '' if hint else f"; known here: {', '.join(known)}"
            raise UserError(f"there is no setting '{dotted}'{hint} (given in {any_origin(origins, dotted)}{choice})")
        check_value(origins, dotted, value, known[key])
        if key.endswith('_kwargs') and isinstance(value, dict):
            _check_keywords(name, key, dict(with_defaults(name, values)), origins)
    missing = [key for key, setting in known.items() if setting.default is signatures.REQUIRED and key not in values]
    if missing and is_whole:
        hint = '; it names the folder of TFRecords inside --data-dir' if missing[0] == 'tfrecord_dir' else ''
        raise UserError(f'{name}.{missing[0]} is missing{hint}; add it with --set {name}.{missing[0]}=…')


def is_adversarial(config):
    """Whether the run trains G against D in our loop, and not something else in a loop named by train.func_name."""
    return config.train.get('func_name', LOOP) == LOOP


def loop_takes(config, argument):
    """Whether the loop that a configuration names has a parameter of this name."""
    signature = signatures.read_signature(config.train.get('func_name', LOOP))
    return argument in signature.params or signature.takes_more


def _check_keywords(name, key, values, origins):
    """Checks a setting NAME_kwargs, which holds those of the function that NAME_func names."""
    function = values.get(key[:-len('kwargs')] + 'func')
    if isinstance(function, str):
        part = dict(values[key], **{SECTIONS[name].selector: function})
        inner = {f'{name}.{inner}': any_origin(origins, f'{name}.{key}') for inner in part}
        check_section(name, part, inner)


def value_of(config, section, key):
    """A setting's value, or the default of the function that it goes to, or None if it has no such parameter."""
    if key in config[section]:
        return config[section][key]
    default = (parameters(section, config[section]) or {}).get(key, Setting(None, None, None)).default
    return None if default in (signatures.REQUIRED, signatures.COMPUTED) else default


def with_defaults(name, values):
    """A section's values with the defaults of its function for the others; without what has no default."""
    known = parameters(name, values) or {}
    defaults = {key: setting.default for key, setting in known.items()
                if setting.default not in (signatures.REQUIRED, signatures.COMPUTED)}
    return EasyDict(defaults, **values)


def trained_part(G):
    """The section of the network that a training step computes: of a generator of codes that of its code generator."""
    code_func = with_defaults('G', G).get('code_func')
    return G if code_func is None else EasyDict(
        {key: value for key, value in G.items() if key not in ('code_func', 'code_kwargs')},
        **dict(G.get('code_kwargs') or {}, func_name=code_func))
