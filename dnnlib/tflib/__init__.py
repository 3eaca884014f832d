"""TensorFlow graphs for networks that can be trained, stored, exchanged and run anywhere.

Importing this package does not import TensorFlow; the first use of a name that needs it does. So networks in files are
read as arrays, and converted to other formats, without it.
"""

import importlib
import sys
import types

_HOMES = {
    'dnnlib.tflib.autosummary': (),
    'dnnlib.tflib.device': ('data_format', 'device_kind', 'device_name', 'select_device'),
    'dnnlib.tflib.engine': ('ENGINE', 'list_gpus', 'peak_gpu_memory', 'set_deterministic', 'tf'),
    'dnnlib.tflib.network': ('Network',),
    'dnnlib.tflib.optimizer': ('Optimizer',),
    'dnnlib.tflib.registry': ('register_build_func',),
    'dnnlib.tflib.rnd': (),
    'dnnlib.tflib.tfutil': (
        'FOR_PICTURES', 'TfExpression', 'TfExpressionEx', 'absolute_name_scope', 'absolute_variable_scope',
        'assert_tf_initialized', 'convert_images_from_uint8', 'convert_images_to_uint8', 'create_session',
        'create_var_with_large_initial_value', 'exp2', 'flatten', 'get_vars', 'init_tf', 'init_uninitialized_vars',
        'is_tf_expression', 'lerp', 'lerp_clip', 'log2', 'run', 'set_vars', 'shape_to_list'),
}
_MODULES = {home.rpartition('.')[2]: home for home in _HOMES}
_NAMES = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(list(_NAMES) + ['autosummary', 'rnd'])


class _Package(types.ModuleType):
    """This package, which imports its modules when they are asked for. Python 3.6 has no other way to do so."""

    def __getattr__(self, name):
        if name in _NAMES:
            value = getattr(importlib.import_module(_NAMES[name]), name)
        elif name in _MODULES:
            value = importlib.import_module(_MODULES[name])
        else:
            raise AttributeError(f"module 'dnnlib.tflib' has no attribute '{name}'")
        setattr(self, name, value)
        return value

    def __dir__(self):
        return sorted(set(super().__dir__()) | set(__all__))


sys.modules[__name__].__class__ = _Package
if 'tensorflow' in sys.modules:
    importlib.import_module('dnnlib.tflib.engine')  # a program that builds graphs: TensorFlow 2 is set to graph mode
