"""Which TensorFlow runs underneath, and the few places where the two engines differ.

The project speaks one dialect, TensorFlow 1.x graph mode (`tensorflow.compat.v1`). Two engines understand it:
`tf1` (TensorFlow 1.15, what the published numbers mean) and `tf2` (TensorFlow >= 2.15 with v2 behaviour off).
Nothing outside this module asks which of them is installed.
"""

import contextlib
import copy
import importlib
import os
import warnings
import zlib

from dnnlib import machine

# Before the import: TensorFlow reads this once. 1 hides informational lines and keeps warnings and errors.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '1')

# Importing TensorFlow 2 imports all of Keras, a third of the time it takes, unless an older Keras is asked for. Nothing
# here uses Keras; for those who do, `tf.keras` is the installed one again afterwards, loaded when it is first used.
_keras_choice = os.environ.get('TF_USE_LEGACY_KERAS')
os.environ['TF_USE_LEGACY_KERAS'] = '1'
try:
    with warnings.catch_warnings():
        # TensorFlow 1.15 defines numpy types in a way that newer numpy releases announce once per type.
        warnings.simplefilter('ignore', FutureWarning)
        warnings.simplefilter('ignore', DeprecationWarning)
        import tensorflow.compat.v1 as tf
finally:
    del os.environ['TF_USE_LEGACY_KERAS']
    if _keras_choice is not None:
        os.environ['TF_USE_LEGACY_KERAS'] = _keras_choice

# Control flow v2 makes nested conditionals several times slower to build; reference variables keep the
# initializer layout that `tfutil.set_vars` uses. Also a no-op on 1.15 apart from the tensor shapes' type.
tf.logging.set_verbosity(tf.logging.ERROR)  # first, or the next line announces itself
tf.disable_v2_behavior()


def _do_not_look_for_deprecated_arguments():
    """TensorFlow inspects the signature at every call of a function with an argument that went out of use, which takes
    a twentieth of the time that graphs take to build. What it would say is not shown at the verbosity above."""
    with contextlib.suppress(ImportError):
        module = importlib.import_module('tensorflow.python.util.deprecation')
        if hasattr(module, '_PRINT_DEPRECATION_WARNINGS'):
            module._PRINT_DEPRECATION_WARNINGS = False


_do_not_look_for_deprecated_arguments()


def adopt_variable(name, first_value, is_trainable):
    """The variable whose operations the default graph has, as if `tf.get_variable` had made it under this name.

    first_value: name of the operation that makes its initial value.
    """
    proto = importlib.import_module('tensorflow.core.framework.variable_pb2').VariableDef(
        variable_name=name + ':0', initializer_name=name + '/Assign', snapshot_name=name + '/read:0',
        initial_value_name=first_value + ':0', trainable=is_trainable)
    var = tf.Variable.from_proto(proto)
    tf.add_to_collections([tf.GraphKeys.GLOBAL_VARIABLES] + [tf.GraphKeys.TRAINABLE_VARIABLES] * is_trainable, var)
    importlib.import_module('tensorflow.python.ops.variable_scope')._get_default_variable_store()._vars[name] = var
    return var


ENGINE = 'tf1' if tf.__version__.startswith('1.') else 'tf2'


def keep_freed_memory():
    """`machine.keep_freed_memory` for a CPU, where the engine gains by it: TensorFlow 2 does not."""
    return ENGINE == 'tf1' and machine.keep_freed_memory()


# Now, not when a session opens: the first graph starts a thread, which takes a heap of its own while it may. Threads of
# sessions share that, and of blocks too large for such a heap (64 MiB) all that they free goes back to the system.
if not tf.test.is_built_with_cuda():
    keep_freed_memory()


def seeds_of(name):
    """The two seeds of the random operation that makes a variable's first value: of the graph, and of the name.

    TensorFlow's own, the number of operations or of random ones so far, would begin a network elsewhere as soon as it
    is built of others, or on the other engine. Where the graph has no seed, neither has the variable.
    """
    return (0, 0) if tf.get_default_graph().seed is None else tf.get_seed(_number_of(name))


def seeded_by_name(getter, name, *args, **kwargs):
    """For variable scopes: a custom getter of variables whose initializers have seeds as `seeds_of` the name."""
    initializer = kwargs.get('initializer')
    if tf.get_default_graph().seed is not None and getattr(initializer, 'seed', 0) is None:
        kwargs['initializer'] = copy.copy(initializer)
        kwargs['initializer'].seed = _number_of(name)
    return getter(name, *args, **kwargs)


def _number_of(name):
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def list_gpus():
    """Names of the GPUs that TensorFlow can use, in its order. Does not reserve their memory."""
    return [device.name for device in tf.config.experimental.list_physical_devices('GPU')]


def peak_gpu_memory(index=0):
    """Peak bytes used on GPU number `index` so far; None where the engine cannot tell.

    TensorFlow 1.15 has no supported counter, so the driver's figure is taken: with `allow_growth` memory is never
    given back, and what is in use now is the peak.
    """
    if ENGINE == 'tf2':
        try:
            return int(tf.config.experimental.get_memory_info(f'GPU:{index}')['peak'])
        except (ValueError, KeyError, RuntimeError):
            return None
    rows = machine.nvidia_smi(f'--id={machine.visible_gpu(index)}', '--query-gpu=memory.used', timeout=10)
    return (machine.mebibytes(rows[0][0]) << 20 or None) if rows else None


def set_deterministic():
    """Asks the engine for repeatable GPU kernels. Must run before the first session is created."""
    os.environ['TF_DETERMINISTIC_OPS'] = '1'
    os.environ['TF_CUDNN_DETERMINISTIC'] = '1'
    if ENGINE == 'tf2':
        importlib.import_module('tensorflow').config.experimental.enable_op_determinism()  # which compat.v1 lacks
    elif tf.test.is_built_with_cuda():
        # Of the two variables TensorFlow 1.15 knows the second alone, which is about convolutions.
        tf.nn.bias_add = _add_bias


def _add_bias(value, bias, data_format=None, name=None):
    """`tf.nn.bias_add` without a kernel for its gradient, which on a GPU adds in whatever order threads come."""
    with tf.name_scope(name, 'BiasAdd'):
        is_channels_first = data_format is not None and data_format.startswith('NC')
        return value + tf.reshape(bias, [-1] + [1] * (value.shape.ndims - 2) if is_channels_first else [-1])
