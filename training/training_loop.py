"""The training loop: data, networks and schedule in, a run directory full of snapshots out."""

import os
import platform

import numpy as np

import config
from data.records.dataset import load_training_set
from dnnlib import files, tflib, util
from dnnlib.seeds import LARGEST_OF_A_RUN, check_seed
from dnnlib.submission import liveness, processes, records, submit
from dnnlib.tflib import collectives, tf
from dnnlib.util import EasyDict, StopRequested, UserError
from training import codes, snapshot, steps, towers
from training.network_files import labels
from training.original.loop_form import takes_submit_config
from training.run import Follower, Run
from training.schedule import training_schedule
from training.state import checkpoint, run_state
from training.state import resume as resume_state
from training.state import transfer as transfer_state
from training.state.run_log import RunLog
from training.towers import process_reals  # noqa: F401  (part of this module)

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'train': ('training_loop',)}

# Arguments of the loop that are options, or stand at a configuration's top; most others are of its section `train`.
_OPTIONS = ('seed', 'device', 'num_gpus', 'resume', 'init_from', 'transfer', 'resume_kimg', 'resume_time')


@takes_submit_config
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
    metric_group            = None,         # Makes something that measures from the list; None: config.metric_group.
    tf_config               = None,         # dnnlib.tflib.init_tf: flat dict.
    seed                    = 1000,         # All random numbers of the run follow from it; 0 to 2147483647
    device                  = 'auto',       # What to compute on; auto, cpu or gpu
    num_gpus                = 1,            # Number of GPUs, or of virtual devices on a CPU, that share each minibatch,
                                            # those of all processes counted; 1 to 1024
    gradient_dtype          = 'float32',    # Type in which gradients travel between processes, float16: half the bytes;
                                            # float32 or float16
    resume                  = False,        # Go on from the newest good checkpoint in run_dir.
    init_from               = None,         # Network pickle to take the initial weights from.
    transfer                = False,        # Copy only what fits of it, and let the rest start anew.
    resume_kimg             = 0,            # Thousands of images that these have seen.
    resume_time             = 0,            # Seconds of training that these have had.
    deterministic           = False,        # Ask the engine for repeatable GPU kernels, at some cost in speed.
    total_kimg              = 15000,        # Length of the run, in thousands of real images; a number from 0.001 to 1e9
    max_hours               = None,         # Hours of training, over all its parts, after which the run ends as at its
                                            # length, null: no limit; a number from 0.0001 to 1e6, or null
    G_smoothing_kimg        = 10.0,         # Half-life of the moving average of G's weights, 0: Gs follows G at once;
                                            # 0 to 1e9
    step_order              = 'D_then_G',   # Whose step it is, alternate: even minibatches train G, odd ones D;
                                            # D_then_G or alternate
    D_repeats               = 1,            # Steps of D per step of G, where D goes first; 1 to 1000
    minibatch_repeats       = 4,            # Minibatches between two looks at the schedule; 1 to 10000
    reset_opt_for_new_lod   = True,         # Reset the optimizers when a resolution starts or finishes fading in.
    mirror_augment          = False,        # Flip reals left to right with probability 1/2.
    drange_net              = (-1, 1),      # Dynamic range of what the networks see;
                                            # a list of 2 rising numbers from -1e6 to 1e6
    image_snapshot_ticks    = 1,            # Ticks between two sample pictures, 0: none; 0 to 1e9
    network_snapshot_ticks  = 10,           # Ticks between two network snapshots, also at tick 1 and the end; 0 to 1e9
    save_tf_graph           = False,        # Include the whole graph in the event file, for TensorBoard.
    save_weight_histograms  = False,        # Include histograms of all weights of G and D in it, at every tick.
    epoch_pictures          = (),           # Epochs after which a sample picture is named for them besides;
                                            # a list of whole numbers from 1 to 1000000
    epoch_kimg              = None,         # Thousands of images in such an epoch, null: as many as the data set has;
                                            # a number from 0.001 to 1e9, or null
    checkpoint_kimg         = 20,           # Thousands of images between two checkpoints at most;
                                            # a number from 0.001 to 1e9
    checkpoint_minutes      = 10,           # Minutes between two checkpoints at most; a number from 0.01 to 1e9
    checkpoint_keep         = 2,            # Newest checkpoints that are kept, besides the best snapshot's;
                                            # 1 to 1000000
    on_nan                  = 'stop',       # After too many skipped updates in a row: end, or go back once;
                                            # stop or rollback
    max_skipped_updates     = 100,          # Updates with NaN or Inf that may be skipped in a row; 1 to 1e9
):
    """Trains a generator and a discriminator and stores what becomes of them in `run_dir`.

    Returns 'finished', or 'stopped' if the run was asked to end early (it can then be resumed).

    Raises UserError for settings that do not fit each other or the data, for numbers that went wrong beyond repair,
    and for a folder that cannot be written; the last good checkpoint then remains.
    """
    settings = EasyDict(locals(), seed=check_seed(seed, largest=LARGEST_OF_A_RUN))
    _check_settings(settings)
    checkpoint_dir = os.path.join(run_dir, 'checkpoints')
    restored = resume_state.find_checkpoint(run_dir, seed) if resume else None
    if resume and restored is None:
        print(f'There is no checkpoint in {checkpoint_dir} yet: the run starts from its beginning')
    for folder in (run_dir, checkpoint_dir) if processes.is_first() else ():
        checkpoint.remove_leftovers(folder)
    settings.tf_config = _open_session(tf_config or {}, seed, device, num_gpus, deterministic, restored)
    settings.run_dir = run_dir = _join_others(settings)

    training_set = load_training_set(seed, verbose=True, **dataset_args)
    try:
        _record_data(run_dir, training_set, run_context.should_stop)
    except StopRequested:
        print('Stopping as asked while the data set was read: there is nothing new to keep', flush=True)
        return 'stopped'
    run = _open_run(settings, training_set, restored)
    shared = '' if processes.world().size == 1 else f' of {processes.world().size} processes'
    print(f'Training on {num_gpus} {tflib.device_kind().upper()} device(s){shared}; '
          f'{run.progress.cur_nimg / 1000:g} of {total_kimg:g} kimg are done ...', flush=True)
    run_context.update(cur_epoch=run.progress.cur_nimg / 1000, max_epoch=total_kimg)
    try:
        outcome = _train(run)
    finally:
        run.close()
        training_set.close()
    liveness.end()
    return outcome


def _train(run):
    """The loop itself. Returns what `training_loop` does."""
    s, is_healthy = run.settings, True
    if processes.is_first() and not checkpoint.list_checkpoints(run.checkpoint_dir):
        run.save_checkpoint()  # before anything of the training is stored: whatever is, can be gone on from
    while not run.is_finished and not run.is_to_stop():
        sched = run.schedule()
        run.enter_phase(sched)
        before = run.progress.cur_nimg
        steps.train_minibatches(run, sched, s.minibatch_repeats)
        run.note_progress()
        is_healthy = run.check_numbers()
        run.agree()
        with liveness.section('writing', liveness.WRITE_SECONDS):
            run.draw_epochs(before)
            is_best = run.tick_is_over(sched) and run.end_tick(sched)
            if is_healthy and not run.is_finished and (is_best or run.checkpoint_is_due()):
                run.save_checkpoint()
    with liveness.section('writing', liveness.WRITE_SECONDS):
        _finish(run, is_healthy)
    collectives.total([0])  # none goes before the first has written everything
    return 'finished' if run.is_finished else 'stopped'


def _finish(run, is_healthy):
    """Stores what a run leaves at its end, or where it stops."""
    if run.is_finished:
        if run.is_out_of_time:
            print(f'The {run.settings.max_hours:g} hours of train.max_hours are over, at '
                  f'{run.progress.cur_nimg / 1000:g} of {run.settings.total_kimg:g} kimg', flush=True)
        run.save_networks('network-final.pkl')
    else:
        print('Stopping as asked: writing a network snapshot and a checkpoint ...', flush=True)
        run.save_snapshot()
    if is_healthy:
        run.save_checkpoint()


# ---- Before the loop


def _check_settings(s):
    """Raises UserError for settings that do not go together."""
    if s.on_nan not in ('stop', 'rollback'):
        raise UserError(f"train.on_nan is '{s.on_nan}'; choose stop or rollback")
    if s.gradient_dtype not in collectives.DTYPES:
        raise UserError(f"train.gradient_dtype is '{s.gradient_dtype}'; choose {' or '.join(collectives.DTYPES)}")
    if s.resume_kimg and s.init_from is None:
        raise UserError('--resume-kimg says how many images the networks of --init-from have seen; give both')
    if s.resume_time < 0:
        raise UserError(f'resume_time is {s.resume_time:g} seconds; it must not be negative')
    if not 0 <= s.resume_kimg < s.total_kimg:
        raise UserError(f'--resume-kimg is {s.resume_kimg:g}, which is not below train.total_kimg ({s.total_kimg:g})')
    steps.check_order(s.step_order, s.D_repeats, s.G_loss_args)


def _open_run(settings, training_set, restored):
    """Builds networks and graph and returns the `Run`, brought to the restored checkpoint where there is one."""
    s = settings
    sched = training_schedule(0, training_set, s.num_gpus, **s.sched_args)
    networks = G, D, Gs = towers.build_networks(training_set, s.G_args, s.D_args)
    if restored is not None:
        run_state.check_networks(restored[2], [G, D, Gs], restored[0])
    elif s.init_from is not None:
        begin = transfer_state.begin_from if s.transfer else run_state.init_networks_from
        begin([G, D, Gs], s.init_from)
    graph = towers.build_training_graph(
        G, D, Gs, training_set, s.G_opt_args, s.D_opt_args, s.G_loss_args, s.D_loss_args, seed=s.seed,
        num_gpus=processes.here(s.num_gpus), G_smoothing_kimg=s.G_smoothing_kimg, mirror_augment=s.mirror_augment,
        drange_net=s.drange_net, is_growing=sched.lod > 0, gradient_dtype=s.gradient_dtype)
    grid = snapshot.choose_grid(training_set, G.input_shapes[0][1:], seed=s.seed, **(s.grid_args or {}))
    if processes.world().size > 1:
        training_set.share(processes.world().rank, processes.world().size)
    run_class = Run if processes.is_first() else Follower
    run = run_class(s, training_set, list(networks), graph, run_state.circumstances(s.tf_config, s.num_gpus))
    painter = snapshot.ReconstructionGrid if codes.is_codec(G) else snapshot.SnapshotGrid
    run.painter = painter(Gs, training_set, grid, s.seed, s.drange_net, max(sched.minibatch // s.num_gpus, 1), D)
    tflib.init_uninitialized_vars()
    tflib.autosummary.finalize_autosummaries()
    if restored is None:
        G.print_layers()
        D.print_layers()
    else:
        run.restore(*restored)
        run_state.warn_of_changes(restored[1]['circumstances'], run.circumstances)
    if restored is None and s.resume_kimg:
        # The data's order goes on where the networks have seen it.
        training_set.load_state_dict(dict(training_set.state_dict(), images_consumed=run.progress.cur_nimg))
    collectives.check_same('the start of the networks', run.content())
    if s.metric_arg_list:
        make_group = s.metric_group or util.get_obj_by_name(config.metric_group)
        run.metrics = make_group(list(s.metric_arg_list))
    if not processes.is_first():
        return run
    run.log = RunLog(run.dir, run.progress)
    if s.save_tf_graph:
        run.log.writer.add_graph(tf.get_default_graph())
    if s.save_weight_histograms:
        for net in (G, D):
            net.setup_weight_histograms()
    if s.image_snapshot_ticks:
        snapshot.save_reals(training_set, grid, run.dir, G)
        if restored is None:
            run.log.add_picture('Reals', os.path.join(run.dir, 'reals.png'), 0)
            run.draw_fakes()
    return run


def _open_session(tf_config, seed, device, num_gpus, deterministic, restored):
    """Selects devices and opens the session. Returns the settings used, thread counts included."""
    if deterministic:
        tflib.set_deterministic()
    tf_config = run_state.with_explicit_threads(tf_config, restored[1] if restored is not None else None)
    tf_config.setdefault('rnd.np_random_seed', seed & 0xFFFFFFFF)
    if num_gpus > 1:
        # It rewrites the graphs of two towers and of two processes differently, and other sums give other bits.
        tf_config.setdefault('graph_options.rewrite_options.disable_meta_optimizer', True)
    if tflib.select_device(device, processes.here(num_gpus)) == 'cpu':
        tf_config.setdefault('device_count.CPU', processes.here(num_gpus))
    tflib.init_tf(tf_config)
    return tf_config


def _join_others(settings):
    """The run directory, after the processes of this training found that they are about to do the same."""
    if processes.world().size > 1:
        own = ('run_dir', 'run_context', 'metric_group', 'tf_config')
        asked = {_setting_of(key): value for key, value in settings.items() if key not in own}
        asked['dataset'] = dict(asked['dataset'], data_dir=None)
        if settings.init_from is not None:      # which may lie elsewhere on another host
            asked['init_from'] = files.sha256_file(settings.init_from)
        collectives.check_same('the configuration', dict(records.flatten(records.as_data(asked))))
        collectives.check_same('the source code', submit.source_hashes())
        collectives.check_same('the machine', dict(
            Python='.'.join(platform.python_version_tuple()[:2]), TensorFlow=tf.__version__, NumPy=np.__version__,
            device=tflib.device_kind()), 'all need the same packages, and devices of one kind')
    return collectives.from_first(settings.run_dir)


def _setting_of(argument):
    """The name that an argument of the loop has in configurations, or as an option."""
    if argument.endswith('_args'):
        return argument[:-len('_args')]
    if argument == 'metric_arg_list':
        return 'metrics'
    return argument if argument in _OPTIONS else f'train.{argument}'


def _record_data(run_dir, training_set, should_stop):
    """Writes what the run is trained on, and labels; UserError if the run was begun on other data.

    A data set without a manifest is read whole for this. StopRequested if that was broken off.
    """
    def interrupt():
        if should_stop():
            raise StopRequested
    training_set.interrupt = interrupt
    try:
        if processes.is_first():
            if resume_state.check_data(run_dir, training_set) is None:
                files.write_json(os.path.join(run_dir, 'dataset.json'), resume_state.data_record(training_set))
            labels.keep(run_dir, training_set)
        record, stops = resume_state.data_record(training_set) if processes.world().size > 1 else {}, False
    except StopRequested:
        stops = True
    if collectives.total([stops])[0]:
        raise StopRequested
    collectives.check_same('the data set', record)
