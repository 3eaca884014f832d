"""Sums over the processes that share a training: the one module that knows what carries them.

It is TensorFlow's own collective operations, which both engines have without anything to compile. A process that is
alone computes exactly what it would without this module.
"""

import hashlib
import json
import re

import numpy as np

from dnnlib.errors import UserError
from dnnlib.submission import liveness, processes
from dnnlib.tflib import device
from dnnlib.tflib.engine import ENGINE, tf

_LEADER = '/job:worker/replica:0/task:0'
_TEXT = 4096            # bytes of a text that travel together
_NAMED = 3              # How many of the facts that differ a sentence names,
_SHOWN = 60             # and how many characters of each value.
_HASH = re.compile('"[0-9a-f]{64}')
_KEYS = 'collectives_keys'
_KEYS_OF_SMALL = 1 << 20    # The first number of those operations that are in no graph of networks,
_KEYS_OF_GATHERED = 1 << 25     # and of those that gather.
PIECE_NUMBERS = 1 << 23     # How many numbers travel as one, so that they leave while others are being computed.
DTYPES = ('float32', 'float16')     # in which they may travel

_small = {}     # length, or 'gather' and length -> (placeholder, result), and 'session'


def open_server(proto):
    """Starts this process's end and waits for the others'. Returns the session's target; completes its ConfigProto.

    Devices and thread pools are the server's, so they are made as `proto` says. Raises UserError where its address
    cannot be listened at or the others do not come up.
    """
    me = processes.world()
    proto.experimental.collective_group_leader = _LEADER
    proto.experimental.collective_nccl = device.has_selected_gpu()
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
    liveness.join(from_first(liveness.invite() if processes.is_first() else None))
    return server.target


def all_reduce(tensor):
    """The sum of a float tensor over all processes; the tensor itself in a process that is alone.

    Every process must build these in the same order, and run them in the same order.
    """
    if processes.world().size == 1:
        return tensor
    return _all_reduce(tensor, _next_key())


def _next_key():
    keys = tf.get_collection_ref(_KEYS)
    keys.append(len(keys) + 1)
    return keys[-1]


def _is_on_gpu(tensor):
    return 'GPU' in tensor.device.upper()


def _group(tensor):
    return 2 if _is_on_gpu(tensor) else 1   # the devices of a group are of one kind


def _all_reduce(tensor, key):
    from tensorflow.python.ops import collective_ops
    return collective_ops.all_reduce(tensor, processes.world().size, _group(tensor), key, 'Add', 'Id')


def _all_gather(tensor, key):
    from tensorflow.python.ops import collective_ops
    return collective_ops.all_gather(tensor, processes.world().size, _group(tensor), key)


def sum_over(tensors, dtype='float32'):
    """The sums of several float32 tensors of known shapes over all processes, which travel together.

    They go in pieces of consecutive tensors: one leaves as soon as it is complete, while others are still being
    computed. `dtype`: as what they travel, see DTYPES; with float16 each number keeps eleven bits, and those below
    about 1e-12 of a piece's greatest one vanish.
    """
    if processes.world().size == 1 or not tensors:
        return list(tensors)
    results = []
    for piece in _pieces(tensors):
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in piece], axis=0)
        flat = _sum_of_halves(flat) if dtype == 'float16' else all_reduce(flat)
        parts = tf.split(flat, [_length(tensor) for tensor in piece])
        results += [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, piece)]
    return results


def _pieces(tensors):
    pieces, count = [[]], 0
    for tensor in tensors:
        if pieces[-1] and count + _length(tensor) > PIECE_NUMBERS:
            pieces, count = pieces + [[]], 0
        pieces[-1].append(tensor)
        count += _length(tensor)
    return pieces


def _length(tensor):
    return int(np.prod(tensor.shape.as_list()))


def _sum_of_halves(flat):
    """The sum of a float32 vector over all processes, which travels as float16.

    Multiplied by a power of two, the same in all processes, that leaves no sum above 2 ** 15. NaN and Inf make it NaN.
    """
    largest = all_reduce(tf.reshape(tf.reduce_max(tf.abs(flat)), [1]))[0]
    exponent = tf.bitwise.bitwise_and(tf.bitcast(largest, tf.int32), 0x7F800000)
    factor = 2.0 ** 14 / tf.maximum(tf.bitcast(exponent, tf.float32), 2.0 ** -100)
    halves = tf.cast(flat * factor, tf.float16)
    if ENGINE == 'tf2' or _is_on_gpu(flat):
        return tf.cast(all_reduce(halves), tf.float32) / factor
    # TensorFlow 1 cannot add them up between processors, so that everybody gets everybody's, two in a whole number.
    size, length = processes.world().size, _length(flat)
    pairs = tf.bitcast(tf.reshape(tf.pad(halves, [[0, length % 2]]), [-1, 2]), tf.int32)
    gathered = tf.reshape(tf.bitcast(_all_gather(pairs, _next_key()), tf.float16), [size, -1])
    return tf.reduce_sum(tf.cast(gathered, tf.float32), axis=0)[:length] / factor


def total(values):
    """The sum of a list of numbers over all processes, as a float64 array. Waits for all of them."""
    values = np.asarray(values, np.float64)
    if processes.world().size == 1:
        return values
    session, key = _small['session'], len(values)
    if key not in _small:
        with session.graph.as_default(), tf.device('/cpu:0'):
            placeholder = tf.placeholder(tf.float64, [len(values)])
            _small[key] = placeholder, _all_reduce(placeholder, _KEYS_OF_SMALL + len(values))
    return _run_small(key, values)


def gather(arrays):
    """[the arrays of process 0, those of process 1, …]: each has a list of arrays of equal shapes and types."""
    me = processes.world()
    if me.size == 1:
        return [arrays]
    arrays = [np.ascontiguousarray(array) for array in arrays]
    data = np.frombuffer(b''.join(array.tobytes() for array in arrays), np.uint8)
    # As whole numbers, which nothing rounds, with the number of the process before them.
    data = np.concatenate([[me.rank], np.pad(data, (0, -len(data) % 4), 'constant').view(np.int32)]).astype(np.int32)
    session, key = _small['session'], ('gather', len(data))
    if key not in _small:
        with session.graph.as_default(), tf.device('/cpu:0'):
            placeholder = tf.placeholder(tf.int32, [len(data)])
            _small[key] = placeholder, _all_gather(placeholder, _KEYS_OF_GATHERED + len(data))
    rows = _run_small(key, data).reshape([me.size, -1])
    return [_unpacked(row[1:].tobytes(), arrays) for row in rows[np.argsort(rows[:, 0])]]


def _unpacked(data, arrays):
    result, start = [], 0
    for array in arrays:
        part = np.frombuffer(data[start:start + array.nbytes], array.dtype).reshape(array.shape)
        start += array.nbytes
        result.append(part)
    return result


def _run_small(key, values):
    placeholder, result = _small[key]
    liveness.moved('waiting for the others')
    try:
        return _small['session'].run(result, {placeholder: values})
    except tf.errors.OpError as err:
        check_others(err)
        raise


def check_others(err):
    """Raises UserError if an error of TensorFlow's means that another process is gone."""
    if processes.world().size > 1 and isinstance(err, (tf.errors.UnavailableError, tf.errors.AbortedError,
                                                       tf.errors.CancelledError)):
        liveness.wait_for_verdict()
        raise UserError('another process of this training is gone; the newest checkpoint is intact: go on with '
                        '--resume, with any number of processes') from err


def from_first(text):
    """A text of the first process, in every process."""
    return _text_of(0, text)


def _text_of(rank, text):
    """A text of the process with this number, in every process."""
    me = processes.world()
    if me.size == 1:
        return text
    encoded = (text or '').encode('utf-8', 'surrogateescape') if me.rank == rank else b''
    length, parts = int(total([len(encoded)])[0]), []
    for start in range(0, length, _TEXT):
        data, part = np.zeros(_TEXT), encoded[start:start + _TEXT]
        data[:len(part)] = np.frombuffer(part, np.uint8)
        parts.append(total(data).astype(np.uint8).tobytes())
    return b''.join(parts)[:length].decode('utf-8', 'surrogateescape')


def check_same(what, facts, need='all need the same code, configuration and data'):
    """Raises UserError, in every process, unless `facts` are the same in all of them, and says which are not.

    `facts`: dict from names to numbers, texts, or lists and dicts of such. Hashes are not shown, just named.
    """
    me = processes.world()
    if me.size == 1:
        return
    text = json.dumps(facts, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()
    differs = np.zeros(me.size)
    differs[me.rank] = digest != from_first(digest)
    others = np.flatnonzero(total(differs))
    if len(others):
        first, other = (json.loads(_text_of(rank, text)) for rank in (0, others[0]))
        raise UserError(f"{what} of process {', '.join(str(rank) for rank in others)} is not that of process 0: "
                        f'{_differences(first, other, others[0])}; {need}')


def _differences(first, other, rank):
    """What the facts of process 0 and of another have different, in words."""
    found = []
    for name in sorted(set(first) | set(other)):
        values = [json.dumps(facts[name], ensure_ascii=False) if name in facts else None for facts in (other, first)]
        if None in values:
            found.append(f'{name} is only in process {rank if values[1] is None else 0}')
        elif values[0] != values[1]:
            words = [value if len(value) <= _SHOWN else value[:_SHOWN - 1] + '…' for value in values]
            found.append(f'{name} differs' if words[0] == words[1] or _HASH.match(values[0]) else
                         f'{name} is {words[0]} in process {rank} and {words[1]} in process 0')
    more = len(found) - _NAMED
    return ', '.join(found[:_NAMED]) + (f', and {more} more' if more > 0 else '')
