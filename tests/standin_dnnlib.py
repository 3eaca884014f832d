"""A minimal stand-in for the library that other people load our pickles with: the five names that stored module source
may use, and a Network that executes that source as the published loader does. It shares no code with ours.
"""

import contextlib
import io
import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import tensorflow.compat.v1 as tf


class EasyDict(dict):
    __setattr__ = dict.__setitem__

    def __getattr__(self, name):
        if name not in self:
            raise AttributeError(name)
        return self[name]


def is_tf_expression(x):
    return isinstance(x, (tf.Tensor, tf.Variable, tf.Operation))


def lerp(a, b, t):
    return a + (b - a) * t


def lerp_clip(a, b, t):
    return a + (b - a) * tf.clip_by_value(t, 0.0, 1.0)


@contextlib.contextmanager
def importable():
    """Within this context `dnnlib` and `dnnlib.tflib` are the stand-in, and our own packages cannot be imported."""
    dnnlib, tflib = types.ModuleType('dnnlib'), types.ModuleType('dnnlib.tflib')
    dnnlib.__path__ = []
    dnnlib.EasyDict, dnnlib.tflib = EasyDict, tflib
    for value in (Network, lerp, lerp_clip, is_tf_expression):
        setattr(tflib, value.__name__, value)
    hidden = {name: module for name, module in sys.modules.items()
              if name.split('.')[0] in ('dnnlib', 'training', 'metrics', 'figures', 'config')}
    for name in hidden:
        sys.modules[name] = None
    sys.modules.update({'dnnlib': dnnlib, 'dnnlib.tflib': tflib})
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split('.')[0] == 'dnnlib']:
            del sys.modules[name]
        sys.modules.update(hidden)


class Network:
    """The published interface as far as network modules use it, and unpickling."""

    def __init__(self, name, func_name, **static_kwargs):
        module = sys.modules[func_name.__module__]
        self._setup(name, module, func_name.__name__, static_kwargs, EasyDict())
        self.session().run([var.initializer for var in self.own_vars.values()])

    def __setstate__(self, state):
        assert state['version'] == 3
        module = types.ModuleType(f"stored_{state['name']}_{id(self)}")
        sys.modules[module.__name__] = module
        exec(state['build_module_src'], module.__dict__)
        self._setup(state['name'], module, state['build_func_name'], state['static_kwargs'],
                    EasyDict(state['components']))
        assert sorted(name for name, _ in state['variables']) == sorted(self.own_vars)
        for name, value in state['variables']:
            self.own_vars[name].load(value, self.session())

    @staticmethod
    def session():
        return tf.get_default_session()

    def _setup(self, name, module, func_name, static_kwargs, components):
        self.name, self.static_kwargs, self.components = name, EasyDict(static_kwargs), components
        self._build_func = module.__dict__[func_name]
        code = self._build_func.__code__
        num_inputs = code.co_argcount - len(self._build_func.__defaults__ or ())
        with tf.name_scope(None):
            self.scope = tf.get_default_graph().unique_name(name.replace('/', '_'), mark_as_used=True)
        with self._variables(tf.AUTO_REUSE), tf.name_scope(self.scope + '/'), tf.control_dependencies(None):
            templates = [tf.placeholder(tf.float32, name=input_name) for input_name in code.co_varnames[:num_inputs]]
            output = self._build_func(*templates, is_template_graph=True, components=components, **self.static_kwargs)
        self.input_shapes = [template.shape.as_list() for template in templates]
        self.input_shape, self.output_shape = self.input_shapes[0], output.shape.as_list()
        prefix = self.scope + '/'
        self.own_vars = OrderedDict((var.name[len(prefix):].split(':')[0], var)
                                    for var in tf.global_variables() if var.name.startswith(prefix))
        self.vars = OrderedDict(self.own_vars)
        for component in components.values():
            self.vars.update((f'{component.name}/{key}', var) for key, var in component.vars.items())

    def _variables(self, reuse):
        return tf.variable_scope(tf.VariableScope(reuse=reuse, name=self.scope), auxiliary_name_scope=False)

    def find_var(self, name):
        return self.vars[name] if isinstance(name, str) else name

    def get_output_for(self, *inputs, **dynamic_kwargs):
        kwargs = dict(self.static_kwargs, is_template_graph=False, components=self.components, **dynamic_kwargs)
        with self._variables(True), tf.name_scope(self.name):
            finals = [tf.identity(tf.cast(x, tf.float32)) for x in inputs]
            output = self._build_func(*finals, **kwargs)
        for x, final in zip(inputs, finals):  # the published loader hands learned shapes back, too
            x.set_shape(final.shape)
        return output

    def run(self, *arrays, **dynamic_kwargs):
        inputs = [tf.constant(np.asarray(array, np.float32)) for array in arrays]
        return self.session().run(self.get_output_for(*inputs, **dynamic_kwargs))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) == ('dnnlib.tflib.network', 'Network'):
            return Network
        if module.startswith('numpy.core.') or module == 'numpy':  # where NumPy 1 has its reconstructors
            return super().find_class(module, name)
        raise AssertionError(f'a published file never names {module}.{name}')


def load(data):
    """What the bytes of a pickle hold, through Python's own unpickler."""
    return _Unpickler(io.BytesIO(data), encoding='latin1').load()
