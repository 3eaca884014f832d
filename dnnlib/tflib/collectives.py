"""Sums over the processes that share a training: the one module that knows what carries them.

It is TensorFlow's own collective operations, which both engines have without anything to compile. A process that is
alone computes exactly what it would without this module.
"""

import numpy as np

from dnnlib.errors import UserError
from dnnlib.submission import processes
from dnnlib.tflib.engine import tf

_LEADER = '/job:worker/replica:0/task:0'
_TEXT = 4096            # bytes of the longest text that travels
_KEYS = 'collectives_keys'
_KEYS_OF_SMALL = 1 << 20    # The first number of those operations that are in no graph of networks.

_small = {}     # length -> (placeholder, its sum), and 'session'


def open_server(proto):
    """Starts this process's end and waits for the others'. Returns the session's target; completes its ConfigProto.

    Devices and thread pools are the server's, so they are made as `proto` says.
    """
    me = processes.world()
    proto.experimental.collective_group_leader = _LEADER
    try:
        server = tf.train.Server(tf.train.ClusterSpec({'worker': list(me.addresses)}), job_name='worker',
                                 task_index=me.rank, config=proto)
    except tf.errors.OpError as err:
        raise UserError(f'process {me.rank} of {me.size} cannot listen at {me.addresses[me.rank]} '
                        f'({str(err).splitlines()[0][:200]}); choose other ports with --port') from err
    proto.device_filters.append(f'/job:worker/task:{me.rank}')
    processes.wait_for_others()
    # A graph of their own: operations beside the networks would change the seeds of their first values.
    _small.clear()
    _small['session'] = tf.Session(server.target, graph=tf.Graph(), config=proto)
    return server.target


def all_reduce(tensor):
    """The sum of a float tensor over all processes; the tensor itself in a process that is alone.

    Every process must build these in the same order, and run them in the same order.
    """
    if processes.world().size == 1:
        return tensor
    keys = tf.get_collection_ref(_KEYS)
    keys.append(len(keys) + 1)
    return _all_reduce(tensor, keys[-1])


def _all_reduce(tensor, key):
    from tensorflow.python.ops import collective_ops
    group = 2 if 'GPU' in tensor.device.upper() else 1  # the devices of a group are of one kind
    return collective_ops.all_reduce(tensor, processes.world().size, group, key, 'Add', 'Id')


def sum_over(tensors):
    """The sums of several float32 tensors of known shapes over all processes, which travel as one."""
    if processes.world().size == 1 or not tensors:
        return list(tensors)
    flat = all_reduce(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0))
    parts = tf.split(flat, [int(np.prod(tensor.shape.as_list())) for tensor in tensors])
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors)]


def total(values):
    """The sum of a list of numbers over all processes, as a float32 array. Waits for all of them."""
    values = np.asarray(values, np.float32)
    if processes.world().size == 1:
        return values
    session = _small['session']
    if len(values) not in _small:
        with session.graph.as_default(), tf.device('/cpu:0'):
            placeholder = tf.placeholder(tf.float32, [len(values)])
            _small[len(values)] = placeholder, _all_reduce(placeholder, _KEYS_OF_SMALL + len(values))
    placeholder, result = _small[len(values)]
    try:
        return session.run(result, {placeholder: values})
    except tf.errors.OpError as err:
        check_others(err)
        raise


def check_others(err):
    """Raises UserError if an error of TensorFlow's means that another process is gone."""
    if processes.world().size > 1 and isinstance(err, (tf.errors.UnavailableError, tf.errors.AbortedError,
                                                       tf.errors.CancelledError)):
        raise UserError('another process of this training is gone; the newest checkpoint is intact: go on with '
                        '--resume, with any number of processes') from err


def from_first(text):
    """A short text of the first process, in every process."""
    if processes.world().size == 1:
        return text
    data = np.zeros(_TEXT, np.float32)
    if processes.is_first():
        encoded = (text or '').encode('utf-8', 'surrogateescape')
        if len(encoded) > _TEXT:
            raise UserError(f'a path of {len(encoded)} bytes is too long for several processes ({_TEXT})')
        data[:len(encoded)] = np.frombuffer(encoded, np.uint8)
    return total(data).astype(np.uint8).tobytes().rstrip(b'\0').decode('utf-8', 'surrogateescape')


def check_same(what, text):
    """Raises UserError, in every process, unless `text` is the same in all of them."""
    me = processes.world()
    if me.size == 1:
        return
    first = from_first(text)
    differs = np.zeros(me.size, np.float32)
    differs[me.rank] = text != first
    others = [str(rank) for rank in np.flatnonzero(total(differs))]
    if others:
        raise UserError(f"{what} of process {', '.join(others)} is not that of process 0; all need the same code, "
                        'configuration and data')
