"""A training run while it is under way, and everything that its loop does to it."""

import contextlib
import hashlib
import os
import time
import traceback

import config
from data.records.dataset import load_dataset
from data.records.source import holds_mirrored
from dnnlib import files, tflib
from dnnlib.command_line import typed
from dnnlib.submission import liveness, processes
from dnnlib.tflib import collectives, pickle_writer
from dnnlib.util import EasyDict, StopRequested, UserError
from training import codes, towers
from training.network_files import best
from training.schedule import changes_phase, training_schedule
from training.state import checkpoint, resume, run_state

ROLLBACK_STEPS = 1 << 26    # How far a rollback moves the step counter, and with it every random number.


class Run:
    """One run between its first and its last step.

    Attributes:
        settings: EasyDict, the arguments of `training_loop` by name.
        dir: the run directory, held by this process alone; checkpoint_dir: its folder of checkpoints.
        training_set: the data set.
        networks: [G, D, Gs] on the first device.
        graph: what a training step runs; see `towers.build_training_graph`.
        circumstances: dict, what equal bits depend on besides settings and data; goes into checkpoints.
        progress: EasyDict, how far it has come; see `run_state.initial_progress`; goes into checkpoints.
        log: `run_log.RunLog`, what the run says of itself; set when the graph is ready.
        painter: `snapshot.SnapshotGrid`, draws its samples; set when the graph is ready.
        metrics: what measures snapshots, with `run` and `update_autosummaries` as `metrics.group.MetricGroup` has
            them; None for nothing.
        last_checkpoint_nimg, last_checkpoint_time: images shown, and the time in seconds, at the last checkpoint.
    """

    def __init__(self, settings, training_set, networks, graph, circumstances):
        self.settings = settings
        self.dir = settings.run_dir
        self.checkpoint_dir = os.path.join(settings.run_dir, 'checkpoints')
        self.training_set = training_set
        self.networks = networks
        self.graph = graph
        self.circumstances = circumstances
        self.progress = run_state.initial_progress(int(settings.resume_kimg * 1000), settings.resume_time)
        self.log = self.painter = self.metrics = None
        self.last_checkpoint_nimg, self.last_checkpoint_time = self.progress.cur_nimg, time.time()
        self._stops = False
        self.is_out_of_time = False     # whether the run ends for its hours, as all processes agreed

    @property
    def has_moving_average(self):
        """Whether Gs follows G slowly, rather than at once."""
        return self.settings.G_smoothing_kimg > 0

    @property
    def is_finished(self):
        """Whether all images have been shown, or the time for it is over."""
        return self.progress.cur_nimg >= self.settings.total_kimg * 1000 or self.is_out_of_time

    def has_used_its_time(self):
        """Whether the hours of the run are over, by the clock of this process."""
        s = self.settings
        return s.max_hours is not None and self.progress.elapsed >= s.max_hours * 3600 \
            and self.progress.cur_nimg < s.total_kimg * 1000

    def schedule(self):
        """The state of the schedule now; see `training.schedule.training_schedule`."""
        s = self.settings
        return training_schedule(self.progress.cur_nimg, self.training_set, s.num_gpus, **s.sched_args)

    # ---- Several processes

    def is_to_stop(self):
        """Whether the run is asked to end early; with several processes, whether all of them agreed on it."""
        if processes.world().size == 1:
            return self.settings.run_context.should_stop()
        return self._stops

    def agree(self):
        """Brings several processes to one mind: whether to stop or to end after this iteration."""
        self.is_out_of_time = self.has_used_its_time()
        if processes.world().size == 1:
            return
        wishes = [self.settings.run_context.should_stop(), self.is_out_of_time]
        self._stops, self.is_out_of_time = (bool(count) for count in collectives.total(wishes))
        liveness.steps_begin()

    def content(self):
        """What the processes of a training have in common: {name: hash} of all values of networks and optimizers."""
        arrays = run_state.collect_arrays(self.networks, [self.graph.G_opt, self.graph.D_opt])
        return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}

    def close(self):
        """Closes the log."""
        if self.log is not None:
            self.log.close()

    # ---- Training

    def enter_phase(self, sched):
        """Brings the data set, the networks and the optimizers to the schedule's level of detail."""
        self.training_set.configure(sched.minibatch, sched.lod)
        if sched.lod != self.progress.prev_lod:
            networks = self.networks + self.graph.G_towers[1:] + self.graph.D_towers[1:]
            tflib.set_vars({var: sched.lod for var in towers.lod_vars(networks)})
        if self.settings.reset_opt_for_new_lod and changes_phase(self.progress.prev_lod, sched.lod):
            self.graph.G_opt.reset_optimizer_state()
            self.graph.D_opt.reset_optimizer_state()
        self.progress.prev_lod = sched.lod

    def check_numbers(self):
        """True while every update is a good one, False while some are being skipped.

        After too many in a row the run goes back to its newest checkpoint once, if it may, with other random numbers;
        otherwise UserError ends it.
        """
        opts = [self.graph.G_opt, self.graph.D_opt]
        in_row = max(tflib.get_vars([opt.skipped_in_row_var for opt in opts]))
        if in_row <= self.settings.max_skipped_updates:
            return in_row == 0
        what = (f'{int(in_row)} updates in a row had NaN or Inf in their gradients, at '
                f'{self.progress.cur_nimg / 1000:.1f} kimg')
        with liveness.section('reading a checkpoint', liveness.WRITE_SECONDS):
            restored = checkpoint.load_newest(self.checkpoint_dir, check=resume.check_state)
        collectives.check_same('the newest checkpoint', {'it': os.path.basename(restored[0]) if restored else None},
                               'all need the run directory, on a disk that they share')
        if self.settings.on_nan == 'rollback' and restored is not None and self.progress.rollbacks == 0:
            step = self.progress.step
            self.restore(*restored)
            self.progress.rollbacks += 1
            self.progress.step = step + ROLLBACK_STEPS
            if self.log is not None:
                self.log.go_on_from(self.progress)
            print(f'warning: {what}; going back to {restored[0]}, once, with other random numbers')
            return False
        kept = (f'the last good checkpoint is {restored[0]}: change what made them (a lower learning rate, a larger '
                f'minibatch) and go on with --resume {self.dir}' if restored is not None
                else 'there is no checkpoint yet: start again with a lower learning rate')
        raise UserError(f'{what}; {kept}')

    # ---- Ticks and snapshots

    def note_progress(self):
        """Tells the log how far the run has come."""
        self.progress.elapsed = self.log.elapsed()
        self.log.show_progress(self.progress, self.settings.total_kimg * 1000)

    def tick_is_over(self, sched):
        """Whether it is time for a report."""
        return self.is_finished or (
            self.progress.cur_nimg >= self.progress.tick_start_nimg + sched.tick_kimg * 1000)

    def end_tick(self, sched):
        """Reports, draws, stores and measures what is due. Returns whether a snapshot is the best one so far."""
        s, began = self.settings, time.time()
        self.check_others()
        opts = [self.graph.G_opt, self.graph.D_opt]
        num_skipped = int(sum(tflib.get_vars([opt.skipped_updates_var for opt in opts])))
        self.log.report_tick(self.progress, sched, began, num_skipped)
        tick, is_best = self.progress.cur_tick, False
        if s.image_snapshot_ticks and (self.is_finished or tick % s.image_snapshot_ticks == 0):
            self.draw_fakes()
        if self.snapshot_is_due():
            is_best = self.measure(self.save_snapshot())
        self.log.flush()
        s.run_context.update(cur_epoch=self.progress.cur_nimg / 1000, max_epoch=s.total_kimg)
        self.log.skip_time(began)
        return is_best

    def check_others(self):
        """Raises UserError, in all processes, if they went apart."""
        if processes.world().size > 1:
            collectives.check_same('the state of the training', self.content(), 'they went apart, which processors of '
                                   'different kinds may do: take hosts of one kind, and go on with --resume')

    def snapshot_is_due(self):
        """Whether the present tick ends with a snapshot."""
        every, tick = self.settings.network_snapshot_ticks, self.progress.cur_tick
        return self.is_finished or tick == 1 or bool(every and tick % every == 0)

    def draw_fakes(self):
        """Stores a picture of what the generator makes now."""
        path = os.path.join(self.dir, f'fakes{self.progress.cur_nimg // 1000:06d}.png')
        self.painter.save_fakes(path)
        self.log.add_picture('Fakes', path, self.progress.cur_nimg)

    def draw_epochs(self, before):
        """Stores a picture under its epoch's number for each of `epoch_pictures` that ended since `before` images."""
        epoch_nimg = self.settings.epoch_kimg * 1000 if self.settings.epoch_kimg else self.training_set.num_images
        for epoch in self.settings.epoch_pictures:
            if before < epoch * epoch_nimg <= self.progress.cur_nimg:
                self.painter.save_fakes(os.path.join(self.dir, f'fakes-epoch{epoch:03d}.png'))

    def save_snapshot(self):
        """Stores (G, D, Gs) under the number of thousands of images. Returns the path."""
        return self.save_networks(f'network-snapshot-{self.progress.cur_nimg // 1000:06d}.pkl')

    def save_networks(self, name):
        """Stores (G, D, Gs). Returns the path."""
        path = os.path.join(self.dir, name)
        pickle_writer.save(codes.stored_networks(self.networks), path)
        return path

    def measure(self, path):
        """Computes the metrics of a snapshot. Returns whether it is the best one so far, which the metrics decide.

        Metrics that cannot be computed are no reason to end a long run, and do not keep one that is asked to stop.
        """
        if codes.is_codec(self.networks[2]):
            try:
                with liveness.section('measuring', liveness.MEASURE_SECONDS):
                    self.measure_reconstruction(path)
            except StopRequested:
                raise
            except Exception as err:  # the images behind the codes may be gone: no reason to end the training
                print(f'warning: the reconstruction errors of {path} were not computed: {type(err).__name__}: {err}',
                      flush=True)
        if self.metrics is None:
            return False
        before = best.kept_scores(self.dir)
        try:
            self.run_metrics(path)
            self.metrics.update_autosummaries()
        except StopRequested:
            print(typed(f'The metrics of {path} were broken off, as the run was asked to stop; ./reproduce metrics can '
                        'measure it later'), flush=True)
        except UserError as err:
            print(typed(f'warning: the metrics of {path} were not computed: {err}'), flush=True)
        except Exception as err:  # whatever it is, the training is worth more
            traceback.print_exc()
            print(f'warning: the metrics of {path} were not computed: {type(err).__name__}: {err}', flush=True)
        name = os.path.splitext(os.path.basename(path))[0]
        is_best = any(network == name for _, network, _ in best.kept_scores(self.dir) - before)
        if is_best:
            self.progress.best_nimg = self.progress.cur_nimg
        return is_best

    def run_metrics(self, path, **options):
        """Has the metrics measure a snapshot, each process its share of the samples. Raises whatever they raise."""
        s = self.settings
        if processes.world().size > 1:
            options['is_shared'] = True
        with liveness.section('measuring', liveness.MEASURE_SECONDS):
            self.metrics.run(path, run_dir=self.dir,
                             mirror_augment=s.mirror_augment or holds_mirrored(s.dataset_args),
                             num_gpus=processes.here(s.num_gpus), tf_config=s.tf_config,
                             should_stop=s.run_context.should_stop, tolerant=True, **options)

    def measure_reconstruction(self, path):
        """Writes a codec's errors to `metrics/reconstruction.json`, the newest snapshot's."""
        F, H, _ = codes.stored_networks(self.networks)
        args = {key: value for key, value in self.settings.dataset_args.items() if key != 'resolution'}
        errors = codes.reconstruction_errors(F, H, lambda size: load_dataset(**dict(args, resolution=size)))
        print('Reconstruction error: ' + ', '.join(f'{error:.3g} at {size}x{size}' for size, error in errors.items()),
              flush=True)
        os.makedirs(os.path.join(self.dir, 'metrics'), exist_ok=True)
        files.write_json(os.path.join(self.dir, 'metrics', 'reconstruction.json'), dict(
            kind='reconstruction', network=os.path.basename(path), network_sha256=files.sha256_file(path),
            pixels='-1 to 1', num_samples=min(codes.RECONSTRUCTED, len(self.training_set)),
            dataset_fingerprint=self.training_set.fingerprint,
            values={f'mse_{size}': error for size, error in errors.items()}))

    # ---- Checkpoints

    def checkpoint_is_due(self):
        """Whether enough images or minutes have passed since the last one."""
        s = self.settings
        return (self.progress.cur_nimg >= self.last_checkpoint_nimg + s.checkpoint_kimg * 1000
                or time.time() >= self.last_checkpoint_time + s.checkpoint_minutes * 60)

    def save_checkpoint(self):
        """Writes the state of the run and deletes what became superfluous. Raises UserError if it cannot be written."""
        g, began = self.graph, time.time()
        path = checkpoint.checkpoint_path(self.checkpoint_dir, self.progress.cur_nimg)
        state = dict(progress=self.progress, dataset=self.training_set.state_dict(), seed=self.settings.seed,
                     circumstances=self.circumstances, processes=processes.world().size,
                     project_version=config.version)
        try:
            files.make_folders(self.checkpoint_dir)
            checkpoint.write_checkpoint(path, state, run_state.collect_arrays(self.networks, [g.G_opt, g.D_opt]))
            best = self.progress.best_nimg
            protected = [] if best is None else [checkpoint.checkpoint_path(self.checkpoint_dir, best)]
            checkpoint.prune(self.checkpoint_dir, self.settings.checkpoint_keep, protect=protected)
        except OSError as err:
            raise UserError(f'cannot write {path}: {err.strerror}; the checkpoints before it are intact: mend that '
                            f'and go on with --resume {self.dir}') from err
        self.log.skip_time(began)
        self.last_checkpoint_nimg, self.last_checkpoint_time = self.progress.cur_nimg, time.time()

    def restore(self, path, state, arrays):
        """Brings the run to the state of a checkpoint. Raises UserError if it belongs to another configuration."""
        g = self.graph
        run_state.restore_arrays(arrays, [g.G_towers, g.D_towers, self.networks[2:]], [g.G_opt, g.D_opt], path)
        self.training_set.load_state_dict(state['dataset'])
        self.progress = EasyDict(state['progress'])
        self.is_out_of_time = self.has_used_its_time()
        self.last_checkpoint_nimg, self.last_checkpoint_time = self.progress.cur_nimg, time.time()
        print(f'Going on from {path}, {self.progress.cur_nimg / 1000:g} kimg')


class Follower(Run):
    """The same run in a process that is not the first: it trains in step with it, and writes and prints nothing."""

    def end_tick(self, sched):
        self.check_others()
        self.progress.cur_tick += 1
        self.progress.tick_start_nimg = self.progress.cur_nimg
        if self.snapshot_is_due() and self.metrics is not None:
            name = f'network-snapshot-{self.progress.cur_nimg // 1000:06d}.pkl'
            with contextlib.suppress(StopRequested):    # of which the first process tells
                self.run_metrics(os.path.join(self.dir, name), log_results=False)
        tflib.autosummary.flush_autosummaries()
        return False

    def note_progress(self):
        pass

    def draw_epochs(self, before):
        pass

    def save_networks(self, name):
        return None

    def save_checkpoint(self):
        pass
