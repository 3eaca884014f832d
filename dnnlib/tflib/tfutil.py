"""Sessions, scopes, variables and small arithmetic on top of TensorFlow's graph mode."""

import contextlib
import os
import threading
import weakref
from typing import Union

import numpy as np

from dnnlib.errors import UserError
from dnnlib.submission import processes
from dnnlib.tflib import collectives
from dnnlib.tflib.device import has_selected_gpu
from dnnlib.tflib.engine import keep_freed_memory, tf

TfExpression = Union[tf.Tensor, tf.Variable, tf.Operation]
TfExpressionEx = Union[TfExpression, int, float, np.ndarray]

# How every session is configured unless told otherwise: paths in ConfigProto.
# TensorFlow goes over a graph with its optimizer twice; the second time takes seconds and finds next to nothing.
SESSION_DEFAULTS = {'graph_options.rewrite_options.meta_optimizer_iterations': 1}

# For programs that make pictures with one network: going over a generator's graph takes longer than some pictures of
# 1024x1024 take, and no picture is made faster, nor another, for it.
FOR_PICTURES = {'graph_options.rewrite_options.disable_meta_optimizer': True}

stored_code = weakref.WeakKeyDictionary()   # graph -> a build function in it whose code came from a file, as allowed
_known = weakref.WeakKeyDictionary()  # session -> its variables that are known to have a value


class Session(tf.Session):
    """A session that can compute beside the program; whatever is run next waits for it, and raises what it raised."""

    def __init__(self, *args, **kwargs):
        self._beside = []
        self._goes_beside = None    # identifier of the thread whose next run does
        super().__init__(*args, **kwargs)

    def run_beside(self, operations, feed):
        """Runs operations while the program goes on; `feed`: dict from tensor to an array that stays as it is.

        The graph as it is now is what counts, since it is handed over before this returns.
        """
        self._goes_beside = threading.get_ident()
        try:
            self.run(operations, feed)
        finally:
            self._goes_beside = None

    def _call_tf_sessionrun(self, *args):   # of TensorFlow: `run` and all else end here
        compute = super()._call_tf_sessionrun
        if self._goes_beside == threading.get_ident():
            self._beside.append(_Beside(compute, args))
            return []
        self._wait()
        return compute(*args)

    def _wait(self):
        while self._beside:
            work = self._beside[0]
            work.join()
            with contextlib.suppress(ValueError):   # another thread waited for it, too
                self._beside.remove(work)
            error, work.error = work.error, None
            if error is not None:
                raise error

    def close(self):
        """Ends what is under way, and the session."""
        try:
            self._wait()
        finally:
            super().close()


class _Beside(threading.Thread):
    """Something that is computed in a thread. `error`: what it raised, or None."""

    def __init__(self, compute, args):
        super().__init__()
        self._work = compute, args
        self.error = None
        self.start()

    def run(self):
        compute, args = self._work
        self._work = None   # lets go of what was fed
        try:
            compute(*args)
        except BaseException as err:
            self.error = err


def run(*args, **kwargs):
    """`tf.get_default_session().run(...)`."""
    assert_tf_initialized()
    return run_in(tf.get_default_session(), *args, **kwargs)


def run_in(session, *args, **kwargs):
    """`session.run(...)`. Raises UserError if it fails while a network runs by code that was stored in its file."""
    try:
        return session.run(*args, **kwargs)
    except Exception as err:
        if session.graph not in stored_code:
            raise
        reason = ' '.join(str(getattr(err, 'message', err)).split())[:300]
        raise UserError(f"the code stored in the file for '{stored_code[session.graph]}', executed as asked, is in "
                        f'use, and the computation failed: {type(err).__name__}: {reason}') from err


def is_tf_expression(x):
    """Whether `x` is a tensor, a variable or an operation of a graph."""
    return isinstance(x, (tf.Tensor, tf.Variable, tf.Operation))


def shape_to_list(shape):
    """A static shape as a list whose unknown dimensions are None; None when even the rank is unknown."""
    shape = tf.TensorShape(shape)
    return None if shape.ndims is None else shape.as_list()


def flatten(x):
    """Reshapes a tensor to one dimension."""
    with tf.name_scope('Flatten'):
        return tf.reshape(x, [-1])


def log2(x):
    """Logarithm to base 2, elementwise."""
    with tf.name_scope('Log2'):
        return tf.math.log(x) * np.float32(1.0 / np.log(2.0))


def exp2(x):
    """2 to the power of x, elementwise."""
    with tf.name_scope('Exp2'):
        return tf.exp(x * np.float32(np.log(2.0)))


def lerp(a, b, t):
    """Linear interpolation: `a` at t = 0, `b` at t = 1."""
    with tf.name_scope('Lerp'):
        return a + (b - a) * t


def lerp_clip(a, b, t):
    """Linear interpolation with `t` clipped to [0, 1]."""
    with tf.name_scope('LerpClip'):
        return a + (b - a) * tf.clip_by_value(t, 0.0, 1.0)


def absolute_name_scope(scope):
    """Enters name scope `scope` counted from the graph's root, whatever the current one is."""
    return tf.name_scope(scope + '/')


def absolute_variable_scope(scope, **kwargs):
    """Enters variable scope `scope` counted from the root, without opening a name scope."""
    kwargs.setdefault('reuse', None)
    return tf.variable_scope(tf.VariableScope(name=scope, **kwargs), auxiliary_name_scope=False)


def _set_config_path(proto, path, value):
    """Sets a dotted field of a protocol buffer; the last part may be a key of a map field."""
    fields = path.split('.')
    for field in fields[:-1]:
        proto = getattr(proto, field)
    if hasattr(proto, 'DESCRIPTOR'):
        setattr(proto, fields[-1], value)
    else:
        proto[fields[-1]] = value


def init_tf(config_dict=None):
    """Seeds the random generators and opens the default session; does nothing where one is open.

    Args:
        config_dict: flat dict. `rnd.np_random_seed` (int or None), `rnd.tf_random_seed` (int, None or 'auto':
            drawn from numpy after seeding), `env.NAME` (environment variables); every other key is a path in
            ConfigProto, for example `gpu_options.allow_growth` or `device_count.CPU`.
    """
    if tf.get_default_session() is not None:
        return
    config = {'rnd.np_random_seed': None, 'rnd.tf_random_seed': 'auto', 'gpu_options.allow_growth': True,
              'allow_soft_placement': True}
    config.update(config_dict or {})
    if config['rnd.np_random_seed'] is not None:
        np.random.seed(config['rnd.np_random_seed'])
    tf_seed = config['rnd.tf_random_seed']
    if tf_seed == 'auto':
        tf_seed = np.random.randint(1 << 31)
    if tf_seed is not None:
        tf.set_random_seed(int(tf_seed))
    for key, value in config.items():
        if key.startswith('env.'):
            os.environ[key[len('env.'):]] = str(value)
    create_session(config, force_as_default=True, shared=True)


def assert_tf_initialized():
    """Raises RuntimeError where no default session is open."""
    if tf.get_default_session() is None:
        raise RuntimeError('no default TensorFlow session: call dnnlib.tflib.init_tf() first')


def create_session(config_dict=None, force_as_default=False, shared=False):
    """Opens a session with the given configuration (see `init_tf`) and returns it.

    Args:
        config_dict: flat dict of ConfigProto paths; keys that start with `rnd.` or `env.` are skipped.
        force_as_default: make it the default session until the process ends.
        shared: where this process is one of several, make it the session in which they compute together.
    """
    if not has_selected_gpu():
        keep_freed_memory()
    proto = tf.ConfigProto()
    for key, value in dict(SESSION_DEFAULTS, **(config_dict or {})).items():
        if not key.startswith(('rnd.', 'env.')):
            _set_config_path(proto, key, value)
    target = collectives.open_server(proto) if shared and processes.world().size > 1 else ''
    session = Session(target, config=proto)
    if force_as_default:
        manager = session.as_default()
        manager.enforce_nesting = False
        manager.__enter__()
        session.default_manager = manager  # whose end, be it by garbage collection, would end the default
    return session


def init_vars(variables):
    """Runs the initializers of variables, in one session call."""
    variables = list(variables)
    if variables:  # a session without any graph refuses even to do nothing
        run([var.initializer for var in variables])
    _vars_with_values().update(variables)


def init_uninitialized_vars(target_vars=None):
    """Runs the initializers of those variables (all global ones by default) that have no value yet."""
    assert_tf_initialized()
    target_vars = tf.global_variables() if target_vars is None else list(target_vars)
    unknown = [var for var in target_vars if not has_known_value(var)]
    has_value = run([tf.is_variable_initialized(var) for var in unknown]) if unknown else []
    init_vars(var for var, is_initialized in zip(unknown, has_value) if not is_initialized)


def has_known_value(var):
    """Whether this module gave the variable a value in the default session. Asking the session takes operations."""
    return var in _vars_with_values()


def _vars_with_values():
    return _known.setdefault(tf.get_default_session(), weakref.WeakSet())


def set_vars(var_to_value_dict, beside=False):
    """Gives variables new values, all in one session call and without adding to the graph.

    Args:
        var_to_value_dict: dict from variable to an array (or number) of the variable's shape.
        beside: go on meanwhile, if the session can (see `Session`); the arrays must stay as they are.
    """
    assert_tf_initialized()
    # A variable's initializer assigns its second input, which can be fed like any tensor.
    feed = {var.initializer.inputs[1]: np.asarray(value, dtype=var.dtype.base_dtype.as_numpy_dtype)
            for var, value in var_to_value_dict.items()}
    if feed:
        session = tf.get_default_session()
        start = session.run_beside if beside and isinstance(session, Session) else run
        start([var.initializer for var in var_to_value_dict], feed)
    _vars_with_values().update(var_to_value_dict)


def get_vars(variables):
    """Values of the given variables as numpy arrays, in order, in one session call."""
    return run(list(variables)) if variables else []


def create_var_with_large_initial_value(initial_value, *args, **kwargs):
    """A variable whose initial value does not become a constant of the graph (which may hold 2 GB at most)."""
    assert_tf_initialized()
    initial_value = np.asarray(initial_value)
    zeros = tf.zeros(initial_value.shape, initial_value.dtype)
    var = tf.Variable(zeros, *args, **kwargs)
    set_vars({var: initial_value})
    return var


def convert_images_from_uint8(images, drange=(-1, 1), nhwc_to_nchw=False):
    """Maps uint8 images 0...255 onto `drange`, float32; optionally [N, H, W, C] to [N, C, H, W]."""
    images = tf.cast(images, tf.float32)
    if nhwc_to_nchw:
        images = tf.transpose(images, [0, 3, 1, 2])
    return images * ((drange[1] - drange[0]) / 255.0) + drange[0]


def convert_images_to_uint8(images, drange=(-1, 1), nchw_to_nhwc=False, shrink=1):
    """Maps images from `drange` onto 0...255, rounded half up and saturated, uint8.

    Args:
        images: float [N, C, H, W].
        drange: values that become 0 and 255.
        nchw_to_nhwc: return [N, H, W, C].
        shrink: average over squares of this many pixels first.
    """
    images = tf.cast(images, tf.float32)
    if shrink > 1:
        height, width = shape_to_list(images.shape)[2:]
        shape = [-1, images.shape[1], height // shrink, shrink, width // shrink, shrink]
        images = tf.reduce_mean(tf.reshape(images, shape), axis=[3, 5])
    if nchw_to_nhwc:
        images = tf.transpose(images, [0, 2, 3, 1])
    scale = 255.0 / (drange[1] - drange[0])
    images = images * scale + (0.5 - drange[0] * scale)
    return tf.saturate_cast(images, tf.uint8)
