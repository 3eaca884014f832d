"""What a stored network says, held against what this project has: build functions and variables."""

import contextlib
import functools
import hashlib
import importlib
import json
import sys
import types

import numpy as np

import config
from dnnlib import registry as names
from dnnlib import util
from dnnlib.tflib import registry, tfutil
from dnnlib.tflib.engine import ENGINE, adopt_variable, seeds_of, tf

_MOST_IN_CONSTANT = 1000    # from so many equal numbers on, the engine makes them by filling
STORED = 'stored'   # in place of True: trust stored code, and run it even where our functions have its names


def stored_build_func(state, trust_stored_code):
    """(build function, module source) for a stored state: ours where we have it, else the trusted stored code.

    What stored code raises, now or whenever the function is called, becomes a UserError.

    Raises:
        UserError: the build function is not ours and the stored code is not trusted, or it fails.
    """
    name = state['build_func_name']
    for key, value in state['static_kwargs'].items():
        if key.endswith('_func') and isinstance(value, str):  # of a part, which the function makes by this name
            names.check(names.BUILD_FUNCTIONS, value, f"the argument {key} of the stored network '{name}'")
    foreign = state.get('build_module')
    if not trust_stored_code or trust_stored_code != STORED and registry.find_module(name, foreign) is not None:
        build_func = registry.resolve_build_func(name, foreign)
        return build_func, registry.module_source(importlib.import_module(build_func.__module__))
    source = state['build_module_src']
    module = types.ModuleType(f'trusted_stored_network_{hashlib.sha256(source.encode()).hexdigest()[:16]}')
    module.__stored_source__, module.__stored_module__ = source, foreign
    sys.modules[module.__name__] = module  # sub-networks that the code makes are looked up by module name
    with _stored_code(name):
        exec(compile(source, f'<stored source of {name}>', 'exec'), module.__dict__)
        build_func = module.__dict__[name]

    @functools.wraps(build_func)
    def guarded(*args, **kwargs):
        tfutil.stored_code[tf.get_default_graph()] = name
        with _stored_code(name):
            return build_func(*args, **kwargs)
    return guarded, source


@contextlib.contextmanager
def _stored_code(name):
    """Makes one sentence of whatever foreign code raises, a request to exit included."""
    try:
        yield
    except (KeyboardInterrupt, util.UserError):
        raise
    except BaseException as err:
        try:
            text = str(err)[:300]
        except BaseException:  # that, too, may be its code
            text = ''
        raise util.UserError(f"the code stored in the file for '{name}', executed as asked, fails: "
                             + ' '.join(f'{type(err).__name__}: {text}'.split())) from err


@contextlib.contextmanager
def building(name, func_name, file_name=''):
    """Makes one sentence of what arguments from a file do to a build function: they may be of any kind."""
    try:
        yield
    except util.UserError:
        raise
    except Exception as err:
        raise util.UserError(f"{file_name and file_name + ': '}network '{name}' cannot be built by '{func_name}' with "
                             f'the arguments stored in the file ({type(err).__name__}: {str(err)[:300]})') from err


def outline(net, values):
    """What the graph of a network that is being made would tell, where its module tells it beforehand; else None.

    Args:
        net: a Network whose components are made.
        values: dict from local name to array: its own variables as a file holds them.

    Returns:
        An outline (see `OUTLINES` in `registry`) that `values` fit. None also where a keyword is anything that a graph
        may refuse, or values do not fit: the graph that is built then says what is wrong.
    """
    found = _outline(net, net.static_kwargs)
    # What a build function does not name itself, it passes on to its parts.
    passed = {key: value for key, value in net.static_kwargs.items() if key not in net._defaults}
    for part in net.components.values():
        if found is not None and not _is_outline_of(_outline(part, dict(part.static_kwargs, **passed)), part):
            return None
    if found is None or _shapes(found) != {name: list(np.shape(value)) for name, value in values.items()}:
        return None
    return found


def _outline(net, static_kwargs):
    module = net._build_func.__module__
    told = net._build_func.__globals__.get('OUTLINES', {}).get(net._build_func_name)
    if told is None or module not in config.declaring_modules or 'data_format' in static_kwargs:
        return None
    types = registry.argument_types(net._build_func_name)
    if not all(types.get(key) and _is_plain(value) and types[key].problem(value) is None
               for key, value in static_kwargs.items()):
        return None
    try:
        return util.get_obj_by_name(told)(util.EasyDict(net._defaults, **static_kwargs), net.components)
    except ValueError:  # sizes that leave nothing
        return None


def _is_plain(value):
    return value is None or type(value) in (bool, int, float, str) \
        or type(value) in (list, tuple) and all(map(_is_plain, value))


def _shapes(found):
    return {var.name: var.shape for var in found.variables}


def _is_outline_of(found, net):
    return found is not None and (found.input_shapes, found.output_shapes) == (net.input_shapes, net.output_shapes) \
        and _shapes(found) == {name: tfutil.shape_to_list(var.shape) for name, var in net.own_vars.items()}


def make_variables(scope, told):
    """Variables as `tf.get_variable` makes them, with the same operations, at a tenth of the time.

    Args:
        scope: of all, counted from the graph's root.
        told: list of variables as outlines have them, which are initialised with zeros, ones or normal numbers.
    """
    graph_def = tf.GraphDef()
    graph_def.versions.producer = tf.get_default_graph().graph_def_versions.producer
    starts = [_add_variable(graph_def, f'{scope}/{var.name}', var) for var in told]
    with tf.control_dependencies(None):
        tf.import_graph_def(graph_def, name='')
    return [adopt_variable(f'{scope}/{var.name}', start, var.is_trainable) for var, start in zip(told, starts)]


def _add_variable(graph_def, name, var):
    """Adds a variable's operations to a graph's definition. Returns the name of the one that makes its first value."""
    number, integer = tf.float32.as_datatype_enum, tf.int32.as_datatype_enum

    def add(op, suffix, inputs=(), tensor=None, is_colocated=True, **types):
        node = graph_def.node.add(op=op, name=name + suffix, input=inputs)
        if tensor is not None:
            node.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(tensor))
            types['dtype'] = node.attr['value'].tensor.dtype
        for key, value in types.items():
            node.attr[key].type = value
        if is_colocated:
            node.attr['_class'].list.s.append(f'loc:@{name}'.encode())
        return node

    def first_value():
        shape = np.array(var.shape, np.int32)
        if isinstance(var.initializer, tf.initializers.random_normal):
            start = '/Initializer/random_normal'
            parts = [add('Const', f'{start}/{key}', tensor=value).name for key, value in (
                ('shape', shape), ('mean', np.float32(var.initializer.mean)),
                ('stddev', np.float32(var.initializer.stddev)))]
            seeds = seeds_of(name)
            drawn = add('RandomStandardNormal', start + '/RandomStandardNormal', parts[:1], T=integer, dtype=number)
            drawn.attr['seed'].i, drawn.attr['seed2'].i = seeds
            scaled = add('Mul', start + '/mul', [drawn.name, parts[2]], T=number)
            return add('Add' if ENGINE == 'tf1' else 'AddV2', start, [scaled.name, parts[1]], T=number)
        kind = {tf.initializers.zeros: 'zeros', tf.initializers.ones: 'ones'}[type(var.initializer)]
        start, value = f'/Initializer/{kind}', np.float32(kind == 'ones')
        if np.prod(shape) < _MOST_IN_CONSTANT:
            return add('Const', start, tensor=np.full(shape, value))
        parts = [add('Const', start + '/shape_as_tensor', tensor=shape).name,
                 add('Const', start + '/Const', tensor=value).name]
        return add('Fill', start, parts, T=number, index_type=integer)

    start = first_value().name
    # Not bound to itself, as the engine has it, since it would not take the device of the scope that it is made in.
    variable = add('VariableV2', '', is_colocated=False, dtype=number)
    variable.attr['shape'].shape.CopyFrom(tf.TensorShape(var.shape).as_proto())
    assign = add('Assign', '/Assign', [name, start], T=number)
    assign.attr['use_locking'].b = assign.attr['validate_shape'].b = True
    add('Identity', '/read', [name], T=number)
    return start


def check_values(net, values):
    """Raises UserError unless `values`, a dict from local name to array, fits the network's own variables."""
    missing = [name for name in net.own_vars if name not in values]
    unknown = [name for name in values if name not in net.own_vars]
    misfits = [f'{name} {list(np.shape(values[name]))} instead of {tfutil.shape_to_list(var.shape)}'
               for name, var in net.own_vars.items()
               if name in values and list(np.shape(values[name])) != tfutil.shape_to_list(var.shape)]
    if missing or unknown or misfits:
        kinds = (('not in the file', missing), ('not in the network', unknown), ('other shapes', misfits))
        parts = [f'{what}: {_some(names)}' for what, names in kinds if names]
        raise util.UserError(f"the variables stored for network '{net.name}' do not fit its build function "
                             f"'{net._build_func_name}' ({'; '.join(parts)})")


def check_finite(values, name):
    """Raises UserError if an array of a dict from variable to array holds NaN or an infinite value as float32.

    name: the network's, for the sentence.
    """
    with np.errstate(over='ignore'):
        bad = [key for key, value in values.items() if np.asarray(value).dtype.kind == 'f'
               and not np.all(np.isfinite(np.asarray(value, np.float32)))]
    if bad:
        raise util.UserError(f"variables of network '{name}' hold NaN or infinite values ({_some(bad)}): its training "
                             'had gone wrong, or the file is damaged; choose an earlier snapshot')


def weights_hash(net):
    """SHA-256 over build function, static arguments and all variables of a network: what its outputs depend on."""
    digest = hashlib.sha256(json.dumps(
        [net._build_func_name, sorted((key, str(value)) for key, value in net.static_kwargs.items())]).encode())
    names = sorted(net.vars)
    for name, value in zip(names, tfutil.get_vars([net.vars[name] for name in names])):
        digest.update(f'{name} {value.dtype} {value.shape}'.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def _some(names, limit=4):
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
