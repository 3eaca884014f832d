"""The training loop: data, networks and schedule in, a run directory full of snapshots out."""

import glob
import os
import time

from data.records.dataset import load_dataset
from dnnlib import files, tflib, util
from dnnlib.util import EasyDict, StopRequested, UserError
from training import checkpoint, misc, run_state, snapshot, steps, towers
from training.run_log import RunLog
from training.schedule import changes_phase, training_schedule

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'train': ('training_loop',)}

ROLLBACK_STEPS = 1 << 26    # How far a rollback moves the step counter, and with it every random number.


def training_loop(
    run_dir,                                # Folder that the run writes to; held by this process alone.
    run_context,                            # dnnlib.submission.RunContext, or anything with its methods.
    G_args,                                 # Generator: func_name and keywords.
    D_args,                                 # Discriminator: func_name and keywords.
    G_opt_args,                             # tflib.Optimizer of G: keywords.
    D_opt_args,                             # tflib.Optimizer of D: keywords.
    G_loss_args,                            # Loss of G: func_name and keywords.
    D_loss_args,                            # Loss of D: func_name and keywords.
    dataset_args,                           # training.dataset.load_dataset: keywords.
    sched_args,                             # training.schedule.training_schedule: keywords.
    grid_args               = None,         # training.snapshot.choose_grid: size and layout.
    metric_arg_list         = (),           # Metrics to compute at network snapshots: name, func_name, keywords.
    tf_config               = None,         # dnnlib.tflib.init_tf: flat dict.
    seed                    = 1000,         # All random numbers of the run follow from it.
    device                  = 'auto',       # 'auto', 'cpu' or 'gpu'.
    num_gpus                = 1,            # Number of towers that share each minibatch.
    resume                  = False,        # Go on from the newest good checkpoint in run_dir.
    init_from               = None,         # Network pickle to take the initial weights from.
    deterministic           = False,        # Ask the engine for repeatable GPU kernels, at some cost in speed.
    total_kimg              = 15000,        # Length of the run, in thousands of real images; may be a fraction.
    G_smoothing_kimg        = 10.0,         # Half-life of the moving average of G's weights; 0: Gs follows G at once.
    step_order              = 'D_then_G',   # 'D_then_G', or 'alternate': even minibatches train G, odd ones D.
    D_repeats               = 1,            # Steps of D per step of G, where D goes first.
    minibatch_repeats       = 4,            # Minibatches between two looks at the schedule.
    reset_opt_for_new_lod   = True,         # Reset the optimizers when a resolution starts or finishes fading in.
    mirror_augment          = False,        # Flip reals left to right with probability 1/2.
    drange_net              = (-1, 1),      # Dynamic range of what the networks see.
    image_snapshot_ticks    = 1,            # Ticks between two sample pictures; 0: none.
    network_snapshot_ticks  = 10,           # Ticks between two network snapshots; also at tick 1 and the end.
    checkpoint_kimg         = 20,           # Thousands of images between two checkpoints at most.
    checkpoint_minutes      = 10,           # Minutes between two checkpoints at most.
    checkpoint_keep         = 2,            # Newest checkpoints that are kept; the best snapshot's is kept besides.
    on_nan                  = 'stop',       # After too many skipped updates in a row: 'stop', or 'rollback' once.
    max_skipped_updates     = 100,          # Updates with NaN or Inf that may be skipped in a row.
):
    """Trains a generator and a discriminator and stores what becomes of them in `run_dir`.

    Returns 'finished', or 'stopped' if the run was asked to end early (it can then be resumed).

    Raises UserError for settings that do not fit each other or the data, for numbers that went wrong beyond repair,
    and for a folder that cannot be written; the last good checkpoint then remains.
    """
    if on_nan not in ('stop', 'rollback'):
        raise UserError(f"train.on_nan is '{on_nan}'; choose stop or rollback")
    steps.check_order(step_order, D_repeats, G_loss_args)
    checkpoint_dir = os.path.join(run_dir, 'checkpoints')
    for folder in (run_dir, checkpoint_dir):
        checkpoint.remove_leftovers(folder)
    restored = _find_checkpoint(checkpoint_dir, run_dir, seed) if resume else None
    tf_config = _open_session(tf_config or {}, seed, device, num_gpus, deterministic, restored)

    training_set = load_dataset(verbose=True, **dict(dict(seed=seed), **dataset_args))
    try:
        _record_data(run_dir, training_set, run_context.should_stop)
    except StopRequested:
        print('Stopping as asked while the data set was read: there is nothing new to keep', flush=True)
        return 'stopped'
    sched = training_schedule(0, training_set, num_gpus, **sched_args)

    G, D, Gs = towers.build_networks(training_set, G_args, D_args)
    if restored is not None:
        run_state.check_networks(restored[2], [G, D, Gs], restored[0])
    elif init_from is not None:
        run_state.init_networks_from([G, D, Gs], init_from)
    graph = towers.build_training_graph(
        G, D, Gs, training_set, G_opt_args, D_opt_args, G_loss_args, D_loss_args, seed=seed, num_gpus=num_gpus,
        G_smoothing_kimg=G_smoothing_kimg, mirror_augment=mirror_augment, drange_net=drange_net,
        is_growing=sched.lod > 0)
    grid = snapshot.choose_grid(training_set, G.input_shapes[0][1:], seed=seed, **(grid_args or {}))
    painter = snapshot.SnapshotGrid(Gs, training_set, grid, seed, drange_net, max(sched.minibatch // num_gpus, 1))
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()

    run = EasyDict(
        dir=run_dir, checkpoint_dir=checkpoint_dir, checkpoint_keep=checkpoint_keep, last_checkpoint_nimg=0,
        last_checkpoint_time=time.time(), training_set=training_set, graph=graph, networks=[G, D, Gs],
        circumstances=run_state.circumstances(tf_config, num_gpus), seed=seed, progress=run_state.initial_progress(),
        step_order=step_order, D_repeats=D_repeats, has_moving_average=G_smoothing_kimg > 0)
    if restored is None:
        G.print_layers()
        D.print_layers()
    else:
        _restore(run, *restored)
        run_state.warn_of_changes(restored[1]['circumstances'], run.circumstances)
    run.log = RunLog(run_dir, run.progress)
    metrics = _make_metrics(metric_arg_list)
    if image_snapshot_ticks:
        snapshot.save_reals(training_set, grid, run_dir)
        if restored is None:
            run.log.add_picture('Reals', os.path.join(run_dir, 'reals.png'), 0)
            _draw_fakes(run, painter)

    print(f'Training on {num_gpus} {tflib.device_kind().upper()} device(s); '
          f'{run.progress.cur_nimg / 1000:g} of {total_kimg:g} kimg are done ...', flush=True)
    run_context.update(cur_epoch=run.progress.cur_nimg / 1000, max_epoch=total_kimg)
    finished = run.progress.cur_nimg >= total_kimg * 1000
    is_healthy = True
    while not finished and not run_context.should_stop():
        sched = training_schedule(run.progress.cur_nimg, training_set, num_gpus, **sched_args)
        _enter_phase(run, sched, reset_opt_for_new_lod)
        steps.train_minibatches(run, sched, minibatch_repeats)
        run.progress.elapsed = run.log.elapsed()
        run.log.show_progress(run.progress, total_kimg * 1000)
        finished = run.progress.cur_nimg >= total_kimg * 1000
        is_healthy = _check_numbers(run, max_skipped_updates, on_nan)
        is_best = False

        if finished or run.progress.cur_nimg >= run.progress.tick_start_nimg + sched.tick_kimg * 1000:
            began = time.time()
            run.log.report_tick(run.progress, sched, began, _count_skipped(run))
            tick = run.progress.cur_tick
            if image_snapshot_ticks and (finished or tick % image_snapshot_ticks == 0):
                _draw_fakes(run, painter)
            if finished or tick == 1 or (network_snapshot_ticks and tick % network_snapshot_ticks == 0):
                is_best = _measure(run, metrics, _save_snapshot(run), mirror_augment, num_gpus, tf_config,
                                   run_context.should_stop)
            run.log.flush()
            run_context.update(cur_epoch=run.progress.cur_nimg / 1000, max_epoch=total_kimg)
            run.log.skip_time(began)
        if is_healthy and not finished and (is_best or _checkpoint_is_due(run, checkpoint_kimg, checkpoint_minutes)):
            began = time.time()
            _save_checkpoint(run)
            run.log.skip_time(began)

    if finished:
        misc.save_pkl(tuple(run.networks), os.path.join(run_dir, 'network-final.pkl'))
    else:
        print('Stopping as asked: writing a network snapshot and a checkpoint ...', flush=True)
        _save_snapshot(run)
    if is_healthy:
        _save_checkpoint(run)
    run.log.close()
    training_set.close()
    return 'finished' if finished else 'stopped'


# ---- Before the loop


def _find_checkpoint(folder, run_dir, seed):
    """The newest good checkpoint as (path, state, arrays); None where none was written yet.

    Raises UserError if there are some and all are damaged, or the seed is not this run's.
    """
    restored = checkpoint.load_newest(folder)
    if restored is None:
        if checkpoint.list_checkpoints(folder):
            raise UserError(f'every checkpoint in {folder} is damaged; start a new run, for example with --init-from '
                            f'and the last network-snapshot-*.pkl of {run_dir}')
        print(f'There is no checkpoint in {folder} yet: the run starts from its beginning')
    elif restored[1]['seed'] != seed:
        raise UserError(f'{restored[0]} was written with the seed {restored[1]["seed"]}, this run has {seed}; leave '
                        'the seed as it was, or start a new run with --init-from')
    return restored


def _open_session(tf_config, seed, device, num_gpus, deterministic, restored):
    """Selects devices and opens the session. Returns the settings used, thread counts included."""
    if deterministic:
        tflib.set_deterministic()
    recorded = restored[1]['circumstances'] if restored is not None else None
    tf_config = run_state.with_explicit_threads(tf_config, recorded)
    tf_config.setdefault('rnd.np_random_seed', seed & 0xFFFFFFFF)
    if tflib.select_device(device, num_gpus) == 'cpu':
        tf_config.setdefault('device_count.CPU', num_gpus)
    tflib.init_tf(tf_config)
    return tf_config


def _record_data(run_dir, training_set, should_stop):
    """Writes what the run is trained on to `dataset.json`; UserError if the run was begun on other data.

    A data set without a manifest is read whole for this. StopRequested if that was broken off.
    """
    def interrupt():
        if should_stop():
            raise StopRequested
    training_set.interrupt = interrupt
    path = os.path.join(run_dir, 'dataset.json')
    record = {key: getattr(training_set, key) for key in
              ('shape', 'dtype', 'dynamic_range', 'num_images', 'label_size', 'fingerprint')}
    before = files.read_json(path, absent=None)
    if before is None:
        files.write_json(path, record)
    elif before != record:
        changed = ', '.join(key for key in record if before.get(key) != record[key])
        raise UserError(f'the data set is not the one that {run_dir} was begun on (other {changed}; see {path}); '
                        'bring the old one back, or start a new run')


def _make_metrics(metric_arg_list):
    """The metrics to compute at network snapshots, found by name; None for an empty list."""
    if not metric_arg_list:
        return None
    return util.call_func_by_name(list(metric_arg_list), func_name='metrics.metric_base.MetricGroup')


# ---- Training


def _enter_phase(run, sched, reset_opt_for_new_lod):
    """Brings the data set, the networks and the optimizers to the schedule's level of detail."""
    run.training_set.configure(sched.minibatch, sched.lod)
    if sched.lod != run.progress.prev_lod:
        networks = run.networks + run.graph.G_towers[1:] + run.graph.D_towers[1:]
        tflib.set_vars({var: sched.lod for var in towers.lod_vars(networks)})
    if reset_opt_for_new_lod and changes_phase(run.progress.prev_lod, sched.lod):
        run.graph.G_opt.reset_optimizer_state()
        run.graph.D_opt.reset_optimizer_state()
    run.progress.prev_lod = sched.lod


def _check_numbers(run, max_skipped_updates, on_nan):
    """True while every update is a good one, False while some are being skipped.

    After too many in a row the run goes back to its newest checkpoint once, if it may, with other random numbers;
    otherwise UserError ends it.
    """
    opts = [run.graph.G_opt, run.graph.D_opt]
    in_row = max(tflib.get_vars([opt.skipped_in_row_var for opt in opts]))
    if in_row <= max_skipped_updates:
        return in_row == 0
    what = (f'{int(in_row)} updates in a row had NaN or Inf in their gradients, at '
            f'{run.progress.cur_nimg / 1000:.1f} kimg')
    restored = checkpoint.load_newest(run.checkpoint_dir)
    if on_nan == 'rollback' and restored is not None and run.progress.rollbacks == 0:
        step = run.progress.step
        _restore(run, *restored)
        run.progress.rollbacks += 1
        run.progress.step = step + ROLLBACK_STEPS
        run.log.go_on_from(run.progress)
        print(f'warning: {what}; going back to {restored[0]}, once, with other random numbers')
        return False
    kept = (f'the last good checkpoint is {restored[0]}: change what made them (a lower learning rate, a larger '
            f'minibatch) and go on with --resume {run.dir}' if restored is not None
            else 'there is no checkpoint yet: start again with a lower learning rate')
    raise UserError(f'{what}; {kept}')


def _count_skipped(run):
    """Number of updates that were skipped so far for NaN or Inf."""
    return int(sum(tflib.get_vars([opt.skipped_updates_var for opt in (run.graph.G_opt, run.graph.D_opt)])))


# ---- Snapshots


def _draw_fakes(run, painter):
    path = os.path.join(run.dir, f'fakes{run.progress.cur_nimg // 1000:06d}.png')
    painter.save_fakes(path)
    run.log.add_picture('Fakes', path, run.progress.cur_nimg)


def _save_snapshot(run):
    """Stores (G, D, Gs). Returns the path."""
    path = os.path.join(run.dir, f'network-snapshot-{run.progress.cur_nimg // 1000:06d}.pkl')
    misc.save_pkl(tuple(run.networks), path)
    return path


def _measure(run, metrics, path, mirror_augment, num_gpus, tf_config, should_stop):
    """Computes the metrics of a snapshot. Returns whether it is the best one so far, which the metrics decide.

    Metrics that cannot be computed are no reason to end a long run, and do not keep one that is asked to stop.
    """
    if metrics is None:
        return False
    before = _best_snapshots(run.dir)
    try:
        metrics.run(path, run_dir=run.dir, mirror_augment=mirror_augment, num_gpus=num_gpus, tf_config=tf_config,
                    should_stop=should_stop)
        metrics.update_autosummaries()
    except StopRequested:
        print(f'The metrics of {path} were broken off, as the run was asked to stop; run_metrics.py can measure it '
              'later', flush=True)
    except UserError as err:
        print(f'warning: the metrics of {path} were not computed: {err}', flush=True)
    if _best_snapshots(run.dir) == before:
        return False
    run.progress.best_nimg = run.progress.cur_nimg
    return True


def _best_snapshots(run_dir):
    """The records of the best snapshots as the metrics keep them, one text per metric."""
    texts = []
    for path in sorted(glob.glob(os.path.join(glob.escape(run_dir), 'best-*.json'))):
        with open(path, encoding='utf-8') as f:
            texts.append(f.read())
    return texts


# ---- Checkpoints


def _checkpoint_is_due(run, checkpoint_kimg, checkpoint_minutes):
    return (run.progress.cur_nimg >= run.last_checkpoint_nimg + checkpoint_kimg * 1000
            or time.time() >= run.last_checkpoint_time + checkpoint_minutes * 60)


def _save_checkpoint(run):
    """Writes the state of the run and deletes what became superfluous. Raises UserError if it cannot be written."""
    g = run.graph
    path = checkpoint.checkpoint_path(run.checkpoint_dir, run.progress.cur_nimg)
    state = dict(progress=run.progress, dataset=run.training_set.state_dict(), seed=run.seed,
                 circumstances=run.circumstances)
    try:
        os.makedirs(run.checkpoint_dir, exist_ok=True)
        checkpoint.write_checkpoint(path, state, run_state.collect_arrays(run.networks, [g.G_opt, g.D_opt]))
        best = [checkpoint.checkpoint_path(run.checkpoint_dir, run.progress.best_nimg or 0)]
        checkpoint.prune(run.checkpoint_dir, run.checkpoint_keep, protect=best)
    except OSError as err:
        raise UserError(f'cannot write {path}: {err.strerror}; the checkpoints before it are intact: mend that and go '
                        f'on with --resume {run.dir}') from err
    run.last_checkpoint_nimg, run.last_checkpoint_time = run.progress.cur_nimg, time.time()


def _restore(run, path, state, arrays):
    """Brings the run to the state of a checkpoint. Raises UserError if it belongs to another configuration."""
    g = run.graph
    run_state.restore_arrays(arrays, [g.G_towers, g.D_towers, run.networks[2:]], [g.G_opt, g.D_opt], path)
    run.training_set.load_state_dict(state['dataset'])
    run.progress = EasyDict(state['progress'])
    run.last_checkpoint_nimg, run.last_checkpoint_time = run.progress.cur_nimg, time.time()
    print(f'Going on from {path}, {run.progress.cur_nimg / 1000:g} kimg')
