"""What a run says of itself while it trains: tick lines, TensorBoard events, `stats.jsonl`, and the time it took."""

import io
import json
import os
import sys
import time

import PIL.Image
from tqdm import tqdm

from dnnlib import machine, tflib, util
from dnnlib.files import read_json_lines, utf8_path
from dnnlib.tflib import tf
from dnnlib.tflib.autosummary import autosummary
from dnnlib.util import EasyDict

LARGEST_PICTURE = 1024      # pixels along the longer side of a picture in the event file


class RunLog:
    """The logs of one run directory and the clock behind them.

    Args:
        run_dir: where `stats.jsonl` and the event file are written.
        progress: the run's progress (see `run_state.initial_progress`); a run that goes on from a checkpoint withdraws
            what was logged after it.
    """

    def __init__(self, run_dir, progress):
        self.stats_path = os.path.join(run_dir, 'stats.jsonl')
        self.writer = tf.summary.FileWriter(utf8_path(run_dir))
        tflib.autosummary.save_layout(self.writer)
        self.report = None
        self._maintenance = 0.0
        self._bar = None
        self.go_on_from(progress)

    def go_on_from(self, progress):
        """Sets the clock to the run's elapsed time and withdraws what was logged after its present state."""
        self._start = time.time() - progress.elapsed
        self._tick_start = time.time()
        if os.path.exists(self.stats_path):
            # TensorBoard drops what other event files say from this step on.
            self.writer.add_session_log(tf.SessionLog(status=tf.SessionLog.START), global_step=progress.cur_nimg + 1)
            records = [record for record in read_json_lines(self.stats_path)
                       if not isinstance(record.get('nimg'), int) or record['nimg'] <= progress.cur_nimg]
            with util.atomic_write(self.stats_path, 'w') as f:
                f.write(''.join(json.dumps(record) + '\n' for record in records))

    def elapsed(self):
        """Seconds of training so far, over all parts of the run."""
        return time.time() - self._start

    def skip_time(self, began):
        """Counts the time since `began` as maintenance instead of training."""
        seconds = time.time() - began
        self._maintenance += seconds
        self._tick_start += seconds

    def show_progress(self, progress, total_nimg):
        """Moves the progress bar, which a terminal gets to see and a log does not."""
        if self._bar is None:
            terminal = sys.__stderr__
            self._bar = tqdm(total=int(total_nimg), initial=progress.cur_nimg, unit='img', unit_scale=True, leave=False,
                             mininterval=1, dynamic_ncols=True, file=terminal, disable=not terminal.isatty())
        self._bar.update(progress.cur_nimg - self._bar.n)

    def report_tick(self, progress, sched, now, skipped_updates):
        """Ends a tick at the time `now`: prints its line and hands its numbers to the summaries."""
        if self._bar is not None:
            self._bar.clear()
        progress.cur_tick += 1
        tick_nimg = progress.cur_nimg - progress.tick_start_nimg
        progress.tick_start_nimg = progress.cur_nimg
        seconds = now - self._tick_start
        memory = tflib.peak_gpu_memory(0) if tflib.device_kind() == 'gpu' else None
        self.report = r = EasyDict(
            tick=progress.cur_tick, kimg=progress.cur_nimg / 1000, nimg=progress.cur_nimg, lod=sched.lod,
            resolution=sched.resolution, minibatch=sched.minibatch, G_lrate=sched.G_lrate, D_lrate=sched.D_lrate,
            total_sec=progress.elapsed, sec_per_tick=seconds, sec_per_kimg=seconds * 1000 / tick_nimg,
            maintenance_sec=self._maintenance, peak_gpu_mem_gb=(memory or 0) / 2 ** 30,
            peak_process_mem_gb=machine.peak_memory() / 2 ** 30,
            skipped_updates=skipped_updates)
        self._tick_start, self._maintenance = now, 0.0
        print(f'tick {r.tick:<5d} kimg {r.kimg:<8.2f} lod {r.lod:<5.2f} minibatch {r.minibatch:<4d} '
              f'time {util.format_time(r.total_sec):<12s} sec/tick {r.sec_per_tick:<7.1f} '
              f'sec/kimg {r.sec_per_kimg:<7.2f} maintenance {r.maintenance_sec:<6.1f} gpumem {r.peak_gpu_mem_gb:<4.1f}'
              + (f' skipped {r.skipped_updates}' if r.skipped_updates else ''), flush=True)
        for key in ('tick', 'kimg', 'lod', 'minibatch'):
            autosummary('Progress/' + key, r[key])
        for key in ('total_sec', 'sec_per_tick', 'sec_per_kimg', 'maintenance_sec'):
            autosummary('Timing/' + key, r[key])
        autosummary('Timing/total_hours', r.total_sec / 3600)
        autosummary('Timing/total_days', r.total_sec / 86400)
        for key in ('peak_gpu_mem_gb', 'peak_process_mem_gb'):
            autosummary('Resources/' + key, r[key])

    def add_picture(self, tag, path, nimg):
        """Shows the picture at `path`, if there is one, in TensorBoard; as a JPEG, since a run draws hundreds."""
        if not os.path.exists(path):
            return
        with PIL.Image.open(path) as picture:
            picture = picture.convert('RGB')
        picture.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE), PIL.Image.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, format='JPEG', quality=90)
        image = tf.Summary.Image(width=picture.width, height=picture.height, colorspace=3,
                                 encoded_image_string=buffer.getvalue())
        self.writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag=tag, image=image)]), nimg)

    def flush(self):
        """Writes the means since the last tick to the event file and, with the tick's numbers, to `stats.jsonl`."""
        means = tflib.autosummary.save_summaries(self.writer, self.report.nimg)
        self.writer.flush()
        with open(self.stats_path, 'a', encoding='utf-8') as f:
            f.write(json.dumps(dict(self.report, **means)) + '\n')

    def close(self):
        """Ends the progress bar and closes the event file."""
        if self._bar is not None:
            self._bar.close()
        self.writer.close()
