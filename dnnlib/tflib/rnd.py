"""Random numbers as a function of (seed, step, place), so that a run can stop anywhere and go on bit for bit.

Inside `seed_scope(seed)` every draw gets a seed of its own: the scope's seed combined with the number of the
draw in construction order, counted anew for each place within it (see `place`). Outside, the same functions fall
back to TensorFlow's ordinary random ops.
"""

import contextlib

from dnnlib.tflib.device import has_selected_gpu
from dnnlib.tflib.engine import tf

_scopes = []
_SITE_STRIDE = 0x9E3779B1  # odd, so that site * stride visits every 32-bit number before it repeats
_PLACE_SITES = 1 << 20      # numbers of draws that belong to one place


@contextlib.contextmanager
def seed_scope(seed):
    """Draws within this context become functions of `seed`.

    Args:
        seed: int32 tensor [2], usually (run's seed, step).
    """
    _scopes.append({'seed': tf.convert_to_tensor(seed, dtype=tf.int32), 'place': 0, 'sites': {}})
    try:
        yield
    finally:
        _scopes.pop()


@contextlib.contextmanager
def place(number):
    """Draws within this context are numbered on their own, whatever was drawn elsewhere in the scope.

    `number`: of a tower, counted over all processes; 0 is the place of draws outside any such context.
    """
    before, _scopes[-1]['place'] = _scopes[-1]['place'], number
    try:
        yield
    finally:
        _scopes[-1]['place'] = before


def next_seed():
    """An int32 tensor [2] that no other draw of the current scope uses; None outside a scope."""
    if not _scopes:
        return None
    scope = _scopes[-1]
    count = scope['sites'][scope['place']] = scope['sites'].get(scope['place'], 0) + 1
    site = ((scope['place'] * _PLACE_SITES + count) * _SITE_STRIDE) & 0xFFFFFFFF
    site -= (site >> 31) << 32  # the same 32 bits as a signed number
    with contextlib.ExitStack() as stack:
        if has_selected_gpu():  # draws take seeds from the host: made on a GPU, each would wait for what is under way
            stack.enter_context(tf.device('/cpu:0'))
        return tf.bitwise.bitwise_xor(scope['seed'], tf.constant([site, 0], tf.int32))


def random_normal(shape, dtype=tf.float32):
    """Standard normal numbers of the given shape (a list or an int32 tensor)."""
    seed = next_seed()
    if seed is None:
        return tf.random.normal(shape, dtype=dtype)
    return tf.random.stateless_normal(shape, seed=seed, dtype=dtype)


def random_uniform(shape, minval=0, maxval=None, dtype=tf.float32):
    """Uniform numbers in [minval, maxval), by default [0, 1) for floats; integers need `maxval`."""
    if maxval is None:
        maxval = 1
    seed = next_seed()
    if seed is None:
        return tf.random.uniform(shape, minval, maxval, dtype=dtype)
    return tf.random.stateless_uniform(shape, seed=seed, minval=minval, maxval=maxval, dtype=dtype)
