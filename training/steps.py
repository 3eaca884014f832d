"""The order of things within an iteration of training: whose step it is, on which minibatch, and the moving average."""

from dnnlib import tflib
from dnnlib.submission import liveness
from dnnlib.tflib import collectives, tf
from dnnlib.util import UserError

ORDERS = ('D_then_G', 'alternate')


def check_order(step_order, D_repeats, G_loss_args):
    """Raises UserError for settings that do not go together."""
    if step_order not in ORDERS:
        raise UserError(f"train.step_order is '{step_order}'; choose {' or '.join(ORDERS)}")
    if D_repeats < 1:
        raise UserError(f'train.D_repeats is {D_repeats}; D needs at least one step for each of G')
    if step_order == 'alternate' and D_repeats != 1:
        raise UserError(f'train.step_order is alternate, which gives D and G a minibatch in turn, but train.D_repeats '
                        f'is {D_repeats}; leave it at 1')
    if step_order == 'alternate' and G_loss_args.get('reuse_fakes'):
        raise UserError('G_loss.reuse_fakes needs a step of D before each of G; set train.step_order=D_then_G')


def train_minibatches(run, sched, count):
    """Trains on `count` minibatches as the schedule says; with 'D_then_G', on `D_repeats` times as many.

    `run` is the `training.run.Run`, whose progress is moved on.
    """
    for _ in range(count):
        if run.settings.step_order == 'alternate':
            # G's step looks at no reals, but takes its minibatch from the data set like D's.
            is_for_G = run.progress.step % 2 == 0
            _take_minibatch(run, run.graph.G_train_op if is_for_G else run.graph.D_train_op, sched)
        else:
            _train_D_then_G(run, sched)
    if not run.has_moving_average:
        tflib.run(run.graph.Gs_update_op)


def _train_D_then_G(run, sched):
    g = run.graph
    for _ in range(run.settings.D_repeats):
        step = run.progress.step
        labels = _take_minibatch(run, g.D_train_op, sched)
    # With the random numbers and labels of D's step, G makes the same fakes again.
    _run_training_op(run, g.G_train_op, sched, {g.step: step, g.labels: labels} if g.reuses_fakes else {})


def _take_minibatch(run, op, sched):
    """One step with the data set's next minibatch, and the moving average. Returns the minibatch's labels."""
    liveness.moved('reading data')
    run.training_set.wait_for_next()
    _, labels = _run_training_op(run, [op, run.graph.labels], sched)
    if run.has_moving_average:
        tflib.run(run.graph.Gs_update_op, {run.graph.minibatch: sched.minibatch})
    run.progress.cur_nimg += sched.minibatch
    return labels


def _run_training_op(run, op, sched, feed=()):
    g = run.graph
    values = {g.step: run.progress.step, g.minibatch: sched.minibatch, g.lod: sched.lod,
              g.G_lrate: sched.G_lrate, g.D_lrate: sched.D_lrate}
    values.update(feed)
    liveness.moved('in a training step')
    try:
        result = tflib.run(op, values)
        if g.sync_op is not None:
            tflib.run(g.sync_op)
    except tf.errors.ResourceExhaustedError as err:
        raise UserError(f'the device ran out of memory at resolution {sched.resolution} with a minibatch of '
                        f'{sched.minibatch}; lower sched.minibatch_dict or set sched.max_minibatch_per_gpu, and go on '
                        f'with --resume {run.dir}') from err
    except tf.errors.OpError as err:
        collectives.check_others(err)
        run.training_set.raise_pending_error()
        raise
    run.progress.step += 1
    return result
