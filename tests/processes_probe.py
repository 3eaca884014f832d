"""What `test_processes.py` starts several times over, as a training is: `watch MODE` without TensorFlow, `sums`."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from dnnlib.submission import liveness, processes  # noqa: E402
from dnnlib.util import StopRequested, UserError, run_main  # noqa: E402

# ---- Watching each other, with a file in place of the first sum

def watch(mode, folder):
    """Trains, as it were, until what `mode` says happens to the process whose number is its last character."""
    liveness.GRACE_SECONDS = 1.0    # what a process would say of itself within it, nobody says here
    me, file = processes.world(), os.path.join(folder, 'invitation')
    open(os.path.join(folder, f'here-{me.rank}'), 'w').close()
    while len([name for name in os.listdir(folder) if name.startswith('here-')]) < me.size:     # as a first sum waits
        time.sleep(0.02)
    if me.rank == 0:
        with open(file + '.new', 'w') as f:
            f.write(liveness.invite())
        os.rename(file + '.new', file)
    while not os.path.exists(file):
        time.sleep(0.02)
    with open(file) as f:
        liveness.join(f.read())
    liveness.steps_begin()
    for _ in range(3):
        liveness.moved('reading data')
        liveness.moved('in a training step')
        time.sleep(0.1)
    is_meant = str(me.rank) == mode[-1:]
    if mode.startswith('stop') and is_meant:
        os.kill(os.getpid(), signal.SIGSTOP)
    if mode.startswith('die') and is_meant:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode.startswith('write') and is_meant:   # for longer than others may do nothing
        with liveness.section('writing', 60):
            time.sleep(4.5)
    elif mode.startswith('write'):
        liveness.moved('waiting for the others')
        time.sleep(4.5)
    if mode.startswith(('write', 'end')):
        liveness.end()
        return
    liveness.moved('reading data')
    if mode.startswith('hang') and is_meant:
        time.sleep(600)
    liveness.moved('in a training step')
    time.sleep(600)     # for the other


# ---- Sums

def sums():
    """Raises AssertionError unless both processes get what they should."""
    import numpy as np

    from dnnlib import tflib
    from dnnlib.tflib import collectives
    tflib.select_device('cpu', 1)
    tflib.init_tf({'intra_op_parallelism_threads': 1, 'inter_op_parallelism_threads': 1})
    me = processes.world().rank
    assert collectives.total([me + 1, 0.5, 2 ** 40]).tolist() == [3, 1, 2 ** 41]
    assert collectives.from_first('grüße' if me == 0 else None) == 'grüße'
    arrays = [np.array([[me, np.nan]], np.float32), np.array([me == 1]), np.arange(5, dtype=np.uint8) + me]
    both = collectives.gather(arrays)
    assert [part[0][0, 0] for part in both] == [0, 1] and [part[1].tolist() for part in both] == [[False], [True]]
    assert both[1][2].tolist() == [1, 2, 3, 4, 5] and np.isnan(both[0][0][0, 1])
    _differences(me, collectives)
    with tflib.tf.device('/cpu:0'):
        _sums_of_tensors(me, np, tflib, collectives)
    _optimizer(me, np, tflib, collectives)
    _means(me, tflib)
    _chunks(me, np, tflib)
    liveness.end()
    if me == 0:
        print('all sums are right')


def _differences(me, collectives):
    collectives.check_same('the text', {'a': 'same', 'b': [1, None]})
    with _refused('the text of process 1 is not that of process 0: b is 1 in process 1 and 0 in process 0; all need'):
        collectives.check_same('the text', {'a': 'ü' * 3000, 'b': me})
    facts = dict({'file': f'{me}' * 64, 'x': 'same'}, **({'new': 1, 'y': 2} if me else {'old': [1], 'z': 2}))
    with _refused(': file differs, new is only in process 1, old is only in process 0, and 2 more; get equal ones'):
        collectives.check_same('the text', facts, 'get equal ones')


def _sums_of_tensors(me, np, tflib, collectives):
    from dnnlib.tflib import tf
    rng = np.random.RandomState(5)
    collectives.PIECE_NUMBERS = 6   # so that there are several pieces, under way at once
    values = [[np.float32(rng.standard_normal(shape) * scale) for shape, scale in (
        ([2, 2], 1e6), ([3], 1e-6), ([], 1e-4), ([7], 0))] for _ in range(2)]
    tensors = [tf.constant(value) for value in values[me]]
    exact = [a + b for a, b in zip(*values)]
    assert all(np.array_equal(a, b) for a, b in zip(tflib.run(collectives.sum_over(tensors)), exact))
    halves = tflib.run(collectives.sum_over(tensors, 'float16'))
    for got, wanted, parts in zip(halves, exact, zip(*values)):
        assert np.all(np.abs(got - wanted) <= 1e-3 * np.abs(parts).sum(axis=0)), (got, wanted)
    assert not all(np.array_equal(a, b) for a, b in zip(halves, exact))
    assert all(array[0].tobytes() == array[1].tobytes() for array in zip(*collectives.gather(halves)))
    bad = tflib.run(collectives.sum_over([tf.constant([1.0, np.inf if me else 2.0])], 'float16'))[0]
    assert not np.all(np.isfinite(bad))


def _optimizer(me, np, tflib, collectives):
    from dnnlib.tflib import tf
    with tf.device('/cpu:0'):
        weight = tf.get_variable('weight', initializer=np.float32([1, 2]))
        slope = tf.placeholder(tf.float32, [2])
        opt = tflib.Optimizer('Probe', 'tf.train.GradientDescentOptimizer', 1.0, use_loss_scaling=True,
                              loss_scaling_init=4.0, loss_scaling_inc=0.5, loss_scaling_dec=1.0)
        opt.register_gradients(tf.reduce_sum(weight * slope), [weight])
    op = opt.apply_updates()
    tflib.init_uninitialized_vars()
    for slopes in ([1, 3], [2, 2]), ([1, 1], [np.nan, 1]), ([0, 0], [2, -2]):
        tflib.run(op, {slope: slopes[me]})
    found = tflib.run([weight, opt.get_loss_scaling_var(), opt.skipped_updates_var, opt.skipped_in_row_var])
    assert np.allclose(found[0], [1 - 1.5 - 1, 2 - 2.5 + 1], atol=1e-6), found
    assert [float(x) for x in found[1:]] == [4.0, 1.0, 0.0], found
    assert all(a.tobytes() == b.tobytes() for a, b in zip(*collectives.gather(found)))


def _means(me, tflib):
    from dnnlib.tflib import tf
    from dnnlib.tflib.autosummary import autosummary, flush_autosummaries
    value = tf.placeholder(tf.float32, [None])
    summary = autosummary('Probe/value', value)
    tflib.run(summary, {value: [1.0, float('inf')] if me == 0 else [2.0, 3.0]})
    autosummary('Probe/own', float(me))
    means = flush_autosummaries()
    assert (means['Probe/value'], means['Probe/own'], means['Probe/learning_rate']) == (2.0, me, 1.0), means
    assert flush_autosummaries() == {}


def _chunks(me, np, tflib):
    from dnnlib.tflib import tf
    from metrics.context import Context
    from metrics.share import OthersFailed, Share
    ctx = Context.__new__(Context)
    ctx.num_gpus, ctx.share, ctx.should_stop = 1, Share(), None
    fed = []

    def feed(chunk):
        fed.append(chunk)
        if len(fed) == 4 and me == 1:
            raise ValueError('broken')
        return {'x': np.full([10], chunk, np.float32)}

    def results():
        return [(chunk, start, count, out.tolist()) for chunk, start, count, (out,) in ctx.run_chunks(
            'chunks', 25, 10, {'x': (tf.float32, [10])}, lambda index, holders: [holders['x'][:2] * 2], feed)]

    assert results() == [(0, 0, 10, [0, 0]), (1, 10, 10, [2, 2]), (2, 20, 5, [4, 4])]
    assert fed == [me, 2]
    ctx.share.finish()
    with _refused('broken' if me else 'another process', ValueError if me else OthersFailed):
        results()
    ctx.share.finish()
    ctx.should_stop = lambda: me == 1
    with _refused('', StopRequested):
        try:
            results()
        except StopRequested:
            ctx.share.finish(stops=True)
    ctx.share.close()


class _refused:
    """A context that must end with an error of some words."""

    def __init__(self, words, kind=UserError):
        self.words, self.kind = words, kind

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        assert exc_type is not None and issubclass(exc_type, self.kind) and self.words in str(exc_value), exc_value
        return True


if __name__ == '__main__':
    run_main(lambda: watch(*sys.argv[2:]) if sys.argv[1] == 'watch' else sums())
