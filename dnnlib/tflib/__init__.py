"""TensorFlow graphs for networks that can be trained, stored, exchanged and run anywhere."""

from dnnlib.tflib import autosummary, rnd
from dnnlib.tflib.device import data_format, device_kind, device_name, select_device
from dnnlib.tflib.engine import ENGINE, list_gpus, peak_gpu_memory, set_deterministic, tf
from dnnlib.tflib.network import Network
from dnnlib.tflib.optimizer import Optimizer
from dnnlib.tflib.registry import register_build_func
from dnnlib.tflib.tfutil import (
    TfExpression,
    TfExpressionEx,
    absolute_name_scope,
    absolute_variable_scope,
    assert_tf_initialized,
    convert_images_from_uint8,
    convert_images_to_uint8,
    create_session,
    create_var_with_large_initial_value,
    exp2,
    flatten,
    get_vars,
    init_tf,
    init_uninitialized_vars,
    is_tf_expression,
    lerp,
    lerp_clip,
    log2,
    run,
    set_vars,
    shape_to_list,
)

__all__ = [
    'ENGINE', 'Network', 'Optimizer', 'TfExpression', 'TfExpressionEx', 'absolute_name_scope',
    'absolute_variable_scope', 'assert_tf_initialized', 'autosummary', 'convert_images_from_uint8',
    'convert_images_to_uint8', 'create_session', 'create_var_with_large_initial_value', 'data_format',
    'device_kind', 'device_name', 'exp2', 'flatten', 'get_vars', 'init_tf', 'init_uninitialized_vars',
    'is_tf_expression', 'lerp', 'lerp_clip', 'list_gpus', 'log2', 'peak_gpu_memory', 'register_build_func', 'rnd',
    'run', 'select_device', 'set_deterministic', 'set_vars', 'shape_to_list', 'tf',
]
