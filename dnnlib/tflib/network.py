"""Networks: a named build function, its keyword arguments and its variables.

A `Network` can be built into a graph any number of times (`get_output_for`), run on arrays (`run`), cloned,
averaged, listed and pickled. Pickles have the published format, so they travel to and from the original.
"""

import contextlib
import importlib
import inspect
import sys
from collections import OrderedDict

import numpy as np

import config
from dnnlib import util
from dnnlib.tflib import device, network_info, network_run, network_state, registry, tfutil
from dnnlib.tflib.engine import seeded_by_name, tf

PICKLE_VERSION = 3
READABLE_VERSIONS = (2, 3)


def take_scope(name):
    """A scope for a network of this name that no other has in the default graph."""
    with tf.name_scope(None):
        return tf.get_default_graph().unique_name(name.replace('/', '_'), mark_as_used=True)


_import_handlers = []
_sketching = []     # while networks are made without values


def import_handler(handler_func):
    """Decorates a function that sees every stored network's state, a dict, before it is built, and returns it.

    It may change it, to rename a build function or an argument, say. Code that it puts into 'build_module_src' is
    treated as a file's own: run only if the file is trusted, and its build function is none of ours.
    """
    _import_handlers.append(handler_func)
    return handler_func


def has_import_handlers():
    """Whether states may be changed before they are built."""
    return bool(_import_handlers)


@contextlib.contextmanager
def sketched():
    """Within it, networks are made in a graph of their own and their variables get no values: no session is needed.

    For looking at names and shapes.
    """
    _sketching.append(True)
    try:
        with tf.Graph().as_default():
            tf.set_random_seed(1)   # TensorFlow 2 makes no first values without one where all must be repeatable
            yield
    finally:
        _sketching.pop()


class Network:
    """A build function with its arguments and variables.

    A build function takes input tensors as its parameters without defaults and returns one tensor or a tuple.
    It makes its variables with `tf.get_variable` when called with `is_template_graph=True`. `components` is an
    EasyDict in which it keeps sub-networks.

    Args:
        name: name of the network, also its scope (made unique in the graph); default: the function's name.
        func_name: the build function: 'module.function', or a top-level function.
        **static_kwargs: arguments passed to the build function at every call and stored in pickles.

    Attributes:
        name, scope: the given name, and the unique scope of the variables.
        static_kwargs, components: EasyDicts.
        input_names, output_names, keyword_names: lists of str; the last are the build function's other arguments.
        fed_keywords: dict from keywords whose numbers `run` feeds to what None is fed as.
        input_templates, output_templates: tensors of the template graph, in whose terms shapes are defined.
        own_vars, vars, trainables: OrderedDicts, local name -> variable; `vars` includes the components' variables
            as '<component's name>/<local name>'.
        var_global_to_local: OrderedDict, variable name in the graph -> local name.
    """

    def __init__(self, name=None, func_name=None, **static_kwargs):
        if not _sketching:
            tfutil.assert_tf_initialized()
        if func_name is None:
            raise TypeError('Network needs func_name: the build function or its name')
        build_func = func_name if callable(func_name) else util.get_obj_by_name(func_name)
        source = registry.module_source(importlib.import_module(build_func.__module__))
        self._setup(name, build_func, source, static_kwargs, components={})
        if not _sketching:
            self.reset_own_vars()

    @classmethod
    def without_values(cls, name, func_name, **static_kwargs):
        """Like the constructor, but the variables get no values: the caller gives them some.

        So nothing takes memory for a variable before its shape was compared with what a file holds for it.
        """
        net = object.__new__(cls)
        build_func = util.get_obj_by_name(func_name)
        source = registry.module_source(importlib.import_module(build_func.__module__))
        net._setup(name, build_func, source, static_kwargs, components={})
        return net

    def _setup(self, name, build_func, source, static_kwargs, components, scope=None):
        """Sets every field and builds the template graph, which makes the variables."""
        self._begin(name, build_func, source, static_kwargs, components, scope)
        self._finish()

    def _finish(self):
        """The part of `_setup` that takes a graph."""
        self._build_template()
        self._set_shapes([tfutil.shape_to_list(t.shape) for t in self.input_templates],
                         [tfutil.shape_to_list(t.shape) for t in self.output_templates],
                         [t.name.split('/')[-1].split(':')[0] for t in self.output_templates])
        prefix = self.scope + '/'
        self._collect_vars(var for var in tf.global_variables() if var.name.startswith(prefix))

    def _set_shapes(self, input_shapes, output_shapes, output_names):
        self.output_names, self.num_outputs = list(output_names), len(output_names)
        self.input_shapes, self.output_shapes = [[list(shape) for shape in shapes]
                                                 for shapes in (input_shapes, output_shapes)]
        self.input_shape, self.output_shape = self.input_shapes[0], self.output_shapes[0]

    def _begin(self, name, build_func, source, static_kwargs, components, scope=None):
        """Sets the fields that need no graph, and takes a scope unless it was taken before."""
        self.name = name or build_func.__name__
        self.static_kwargs = util.EasyDict(static_kwargs)
        self.components = util.EasyDict(components)
        self._build_func = build_func
        self._build_func_name = build_func.__name__
        self._build_module_src = source
        self._runs = network_run.Runs()
        self._foreign_module = registry.foreign_module(build_func)
        self._listed = {}
        self._templates = None
        self._template_format = None

        parameters = inspect.signature(build_func).parameters.values()
        self.input_names = [p.name for p in parameters
                            if p.kind == p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
        self._defaults = OrderedDict((p.name, p.default) for p in parameters if p.default is not p.empty)
        self.keyword_names = list(self._defaults)
        self.fed_keywords = network_run.fed_keywords(build_func)
        self._takes_data_format = 'data_format' in self.keyword_names
        self.takes_one_by_one = 'one_by_one' in self.keyword_names
        # Networks whose inputs may have any height and width, which their module says.
        self.is_convolutional = self._build_func_name in build_func.__globals__.get('CONVOLUTIONAL', ())
        if not self.input_names:
            raise ValueError(f"build function '{self._build_func_name}' has no parameters without a default, "
                             'so the network would have no inputs')

        self.num_inputs = len(self.input_names)
        self.scope = scope or take_scope(self.name)

    def _build_template(self):
        with tfutil.absolute_variable_scope(self.scope, reuse=tf.AUTO_REUSE, custom_getter=seeded_by_name), \
                tfutil.absolute_name_scope(self.scope), tf.control_dependencies(None):
            inputs = [tf.placeholder(tf.float32, name=input_name) for input_name in self.input_names]
            outputs = self._call_build_func(inputs, is_template_graph=True)
        self._template_format = device.data_format() if self._takes_data_format else None
        self._templates = inputs, list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]

    def _collect_vars(self, own):
        prefix = self.scope + '/'
        self.own_vars = OrderedDict((var.name[len(prefix):].split(':')[0], var) for var in own)
        self.vars = OrderedDict(self.own_vars)
        for component in self.components.values():
            self.vars.update((f'{component.name}/{key}', var) for key, var in component.vars.items())
        self.trainables = OrderedDict((key, var) for key, var in self.vars.items() if var.trainable)
        self.var_global_to_local = OrderedDict((var.name.split(':')[0], key) for key, var in self.vars.items())

    @property
    def input_templates(self):
        """Inputs of the template graph; where building it told nothing new, it is built when first asked for."""
        return self._all_templates()[0]

    @property
    def output_templates(self):
        """Outputs of the template graph."""
        return self._all_templates()[1]

    def _all_templates(self):
        if self._templates is None:
            for component in self.components.values():
                component._all_templates()
            self._build_template()
        return self._templates

    def _call_build_func(self, inputs, **kwargs):
        build_kwargs = dict(self.static_kwargs, is_template_graph=False, components=self.components)
        if self._takes_data_format:
            build_kwargs['data_format'] = device.data_format()
        build_kwargs.update(kwargs)
        if not self.takes_one_by_one:       # programs ask for it whosever the function is
            build_kwargs.pop('one_by_one', None)
        elif not device.gains_one_by_one():
            build_kwargs['one_by_one'] = False
        return self._build_func(*inputs, **build_kwargs)

    def default_of(self, keyword, absent=None):
        """What a keyword is where a call leaves it out: of the network, else of its components.

        absent: returned where none of them has such a keyword, and for the layout, which the device decides.
        """
        if keyword == 'data_format':
            return absent
        if keyword in self.static_kwargs:
            return self.static_kwargs[keyword]
        if keyword in self._defaults:
            return self._defaults[keyword]
        found = (component.default_of(keyword, absent) for component in self.components.values())
        return next((value for value in found if value is not absent), absent)

    # ---- Building and running

    def get_output_for(self, *in_expr, return_as_list=False, **dynamic_kwargs):
        """Builds the network once more, on the given inputs.

        Args:
            *in_expr: one tensor (or array) per input; None means zeros.
            return_as_list: always return a list.
            **dynamic_kwargs: arguments of the build function that add to or replace the static ones.

        Returns:
            The output tensor, or a tuple of them (a list with `return_as_list`).

        Raises TypeError for another number of inputs, ValueError if all of them are None.
        """
        if len(in_expr) != self.num_inputs:
            raise TypeError(f"network '{self.name}' takes {self.num_inputs} inputs ({', '.join(self.input_names)}), "
                            f'not {len(in_expr)}')
        if all(expr is None for expr in in_expr):
            raise ValueError(f"network '{self.name}': at least one input must be given")
        with tfutil.absolute_variable_scope(self.scope, reuse=True), tf.name_scope(self.name.replace('/', '_')):
            given = [expr if expr is None else tf.cast(tf.convert_to_tensor(expr), tf.float32) for expr in in_expr]
            num = next(tf.shape(expr)[0] for expr in given if expr is not None)
            inputs = []
            for expr, shape, input_name in zip(given, self.input_shapes, self.input_names):
                if expr is None:
                    expr = tf.zeros([num] + shape[1:])
                inputs.append(tf.identity(expr, name=input_name))
            outputs = self._call_build_func(inputs, **dynamic_kwargs)
        # What the build function learned about shapes holds for the caller's tensors too.
        for expr, final in zip(in_expr, inputs):
            if isinstance(expr, tf.Tensor):
                expr.set_shape(final.shape)
        outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        if return_as_list:
            return outputs
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def run(self, *in_arrays, **kwargs):
        """Runs the network on arrays, in minibatches; see `network_run.run_network` for the keywords."""
        return network_run.run_network(self, *in_arrays, **kwargs)

    # ---- Variables

    def reset_own_vars(self):
        """Gives the network's own variables new initial values."""
        tfutil.init_vars(self.own_vars.values())

    def reset_vars(self):
        """Gives all variables, the components' included, new initial values."""
        tfutil.init_vars(self.vars.values())

    def reset_trainables(self):
        """Gives all trainable variables new initial values."""
        tfutil.init_vars(self.trainables.values())

    def find_var(self, var_or_local_name):
        """The variable of the given local name; a variable is returned as it is. Raises KeyError if there is none."""
        if not isinstance(var_or_local_name, str):
            return var_or_local_name
        if var_or_local_name not in self.vars:
            raise KeyError(f"network '{self.name}' has no variable '{var_or_local_name}'")
        return self.vars[var_or_local_name]

    def get_var(self, var_or_local_name):
        """The variable's value as a numpy array."""
        return tfutil.run(self.find_var(var_or_local_name))

    def set_var(self, var_or_local_name, new_value):
        """Gives the variable a new value: an array of its shape."""
        tfutil.set_vars({self.find_var(var_or_local_name): new_value})

    def get_var_local_name(self, var_or_global_name):
        """The local name of a variable, given itself or its name in the graph."""
        name = var_or_global_name if isinstance(var_or_global_name, str) else var_or_global_name.name
        return self.var_global_to_local[name.split(':')[0]]

    def copy_vars_from(self, src_net):
        """Copies the values of all variables that both networks have by the same local name."""
        self._copy(src_net, self.vars, src_net.vars)

    def copy_own_vars_from(self, src_net):
        """Copies own variables only, not the components'."""
        self._copy(src_net, self.own_vars, src_net.own_vars)

    def copy_trainables_from(self, src_net):
        """Copies trainable variables only."""
        self._copy(src_net, self.trainables, src_net.trainables)

    @staticmethod
    def _copy(src_net, to_vars, from_vars):
        names = [name for name in to_vars if name in from_vars]
        values = tfutil.get_vars([from_vars[name] for name in names])
        tfutil.set_vars({to_vars[name]: value for name, value in zip(names, values)})

    def clone(self, name=None, **new_static_kwargs):
        """A new network of the same function, arguments and values, with components of its own."""
        if new_static_kwargs:
            return self._derive(self._build_func, self._build_module_src, name or self.name, new_static_kwargs)
        net = self._twin(name or self.name)
        net.copy_vars_from(self)
        return net

    def _twin(self, name):
        """A network that differs in its name and variables only. What is known of this one need not be built again."""
        net = object.__new__(Network)
        net._begin(name, self._build_func, self._build_module_src, self.static_kwargs,
                   {key: component._twin(component.name) for key, component in self.components.items()})
        net._set_shapes(self.input_shapes, self.output_shapes, self.output_names)
        with tfutil.absolute_variable_scope(net.scope), tfutil.absolute_name_scope(net.scope + '/_Init'), \
                tf.control_dependencies(None):
            net._collect_vars([tf.get_variable(local_name, initializer=tf.identity(var.initial_value),
                                               trainable=var.trainable)
                               for local_name, var in self.own_vars.items()])
        return net

    def _fill(self, outline):
        """Makes the variables of an outline, see `network_state.outline`, and takes its shapes."""
        self._set_shapes(outline.input_shapes, outline.output_shapes, outline.output_names)
        self._collect_vars(network_state.make_variables(self.scope, outline.variables))

    def copy_here(self):
        """The same network in the default graph, another than its own. The variables get no values."""
        net = object.__new__(Network)
        net._setup(self.name, self._build_func, self._build_module_src, self.static_kwargs,
                   {key: component.copy_here() for key, component in self.components.items()})
        return net

    def convert(self, new_func_name, new_name=None, **new_static_kwargs):
        """A network of another build function that starts from this one's arguments and values (by local name)."""
        build_func = new_func_name if callable(new_func_name) else util.get_obj_by_name(new_func_name)
        source = registry.module_source(importlib.import_module(build_func.__module__))
        return self._derive(build_func, source, new_name or self.name, new_static_kwargs)

    def _derive(self, build_func, source, name, new_static_kwargs):
        net = object.__new__(Network)
        net._setup(name, build_func, source, dict(self.static_kwargs, **new_static_kwargs), components={})
        net.reset_vars()
        net.copy_vars_from(self)
        return net

    def setup_as_moving_average_of(self, src_net, beta=0.99, beta_nontrainable=0.0):
        """An operation that moves this network's variables towards another's.

        Args:
            src_net: the network to follow; variables are matched by local name.
            beta: share of the old value that trainable variables keep (number or tensor).
            beta_nontrainable: the same for the others; 0 copies.
        """
        updates = []
        with tfutil.absolute_name_scope(self.scope + '/_MovingAvg'):
            for name, var in self.vars.items():
                if name in src_net.vars:
                    share = beta if name in self.trainables else beta_nontrainable
                    source = src_net.vars[name]
                    is_copy = not tfutil.is_tf_expression(share) and share == 0.0
                    updates.append(tf.assign(var, tf.identity(source) if is_copy
                                             else tfutil.lerp(source, var, share)))
        return tf.group(*updates)

    # ---- Listing

    def list_ops(self):
        """Operations of the template graph, in which components are scopes, in construction order."""
        return network_info.list_ops(self)

    def list_layers(self):
        """[(layer name, output, [its trainable variables]), ...] of the template graph; see `network_info`."""
        return network_info.list_layers(self)

    def print_layers(self, title=None, hide_layers_with_no_params=False):
        """Prints a table of layers: parameters, output shape, weight shape."""
        network_info.print_layers(self, title, hide_layers_with_no_params)

    def setup_weight_histograms(self, title=None):
        """Adds a histogram summary per trainable variable."""
        for name, var in self.trainables.items():
            tf.summary.histogram(f'{title or self.name}/{name}', var)

    # ---- Storing

    def __getstate__(self):
        names, variables = list(self.own_vars), list(self.own_vars.values())
        return {
            'version': PICKLE_VERSION,
            'name': self.name,
            'static_kwargs': dict(self.static_kwargs),
            'components': dict(self.components),
            'build_module_src': self._build_module_src,
            'build_func_name': self._build_func_name,
            'variables': list(zip(names, tfutil.get_vars(variables))),
            # Other readers take the keys above alone.
            'project_version': config.version,
            'build_module': self._foreign_module,
        }

    def __setstate__(self, state):
        self._load_state(state, trust_stored_code=False)

    @classmethod
    def from_state(cls, state, trust_stored_code=False):
        """A network from the dict that a pickle holds.

        Args:
            state: dict as `__getstate__` returns it; components may be states in turn.
            trust_stored_code: execute the stored module source where the build function is not one of ours.

        Raises:
            UserError: unknown build function or version, or values that do not fit the function's variables.
        """
        net = object.__new__(cls)
        net._load_state(state, trust_stored_code)
        return net

    def _load_state(self, state, trust_stored_code, scopes=None):
        """`scopes`: iterator over scopes taken before, for the components and then for this network."""
        # All in one call, since a session takes the whole graph up again each time that it has grown.
        tfutil.set_vars(self._load_parts(state, trust_stored_code, scopes), beside=True)

    def _load_parts(self, state, trust_stored_code, scopes):
        """`_load_state` less the values, which it returns: dict from variable to array, of all components too."""
        tfutil.assert_tf_initialized()
        if trust_stored_code is True and not _fits_ours(state):
            trust_stored_code = network_state.STORED
        components, all_values = {}, {}
        for key, value in state.get('components', {}).items():
            components[key] = value if isinstance(value, Network) else object.__new__(Network)
            if components[key] is not value:
                all_values.update(components[key]._load_parts(value, trust_stored_code, scopes))
        state = dict(state, components=components)
        if _import_handlers:    # which may look at what the components have
            tfutil.set_vars(all_values)
            all_values = {}
        for handler in _import_handlers:
            state = handler(state)
        if state['version'] not in READABLE_VERSIONS:
            raise util.UserError(f"network '{state['name']}' has pickle version {state['version']}; "
                                 f"versions {' and '.join(map(str, READABLE_VERSIONS))} can be read")
        build_func, source = network_state.stored_build_func(state, trust_stored_code)
        self._begin(state['name'], build_func, source, state['static_kwargs'], state['components'],
                    scope=next(scopes) if scopes is not None else None)
        values = OrderedDict(state['variables'])
        outline = network_state.outline(self, values)
        if outline is None:
            self._finish()
            network_state.check_values(self, values)
        else:
            self._fill(outline)
        network_state.check_finite(values, self.name)
        all_values.update((self.own_vars[name], value) for name, value in values.items())
        return all_values


def _fits_ours(state):
    """Whether a stored state has the variables that our build functions of its names make; True for unknown names.

    People wrote networks of their own into the module of the published ones, and kept its names.
    """
    name, foreign = state['build_func_name'], state.get('build_module')
    if registry.find_module(name, foreign) is None:
        return True
    wanted = {key: np.shape(value) for key, value in _stored_variables(state)}
    try:
        with sketched():
            ours = Network(state['name'], registry.resolve_build_func(name, foreign), **state['static_kwargs'])
            found = {key: tuple(tfutil.shape_to_list(var.shape)) for key, var in ours.vars.items()}
    except Exception:  # arguments that ours do not take
        return False
    if found != wanted:
        print(f"Network '{state['name']}' is not ours of that name; the code stored in its file will be executed, as "
              'asked.', file=sys.stderr)
    return found == wanted


def _stored_variables(state, prefix=''):
    for key, value in state['variables']:
        yield prefix + key, value
    for component in state.get('components', {}).values():
        component = component if isinstance(component, dict) else component.__getstate__()
        for item in _stored_variables(component, f"{prefix}{component['name']}/"):
            yield item
