"""What happens beside a running training loop: estimates of the time left, and a fresh report at every snapshot."""

from dnnlib.util import format_time
from experiment import forecast
from experiment.reports import card, report, run_files


class Watch:
    """A listener of RunContext: call it after every tick, and `close` at the end.

    Args:
        run_dir: the run directory, where the loop writes stats.jsonl and network snapshots.
        plan: the run's Plan; where it knows no sizes of networks, the time left is only told for the current
            resolution.
    """

    def __init__(self, run_dir, plan):
        self.run_dir = run_dir
        self.plan = plan
        self._reported = None
        self._ticks = None

    def __call__(self):
        stats = run_files.read_ticks(self.run_dir)
        if self.plan.phases and self._ticks is not None and len(stats) > self._ticks:
            line = time_left(stats, self.plan)
            if line:
                print(line, flush=True)
        self._ticks = len(stats)
        snapshots = run_files.list_snapshots(self.run_dir)
        if snapshots != self._reported:
            self._reported = snapshots
            write_report(self.run_dir)

    def close(self):
        """Writes what is to be read of the run now that it has ended."""
        write_report(self.run_dir)


def write_report(run_dir):
    """Writes the report, and the model card of a finished run; a failure is told but never ends a run."""
    try:
        report.write_report(run_dir)
    except Exception as err:  # whatever it is, the training is worth more
        print(f'warning: report.html could not be written: {type(err).__name__}: {err}', flush=True)
    card.update(run_dir)


def time_left(stats, plan):
    """A line with the estimated times to the end, the next resolution and the next snapshot; None if unknown."""
    phases, sizes, snapshot_ticks = plan.phases, plan.sizes, plan.snapshot_ticks
    last = stats[-1]
    kimg, end = last['kimg'], phases[-1].end_kimg
    if kimg >= end or not last.get('sec_per_kimg'):
        return None
    seconds = run_files.seconds_by_resolution(stats)
    if not seconds:
        return None

    def left(until):
        if sizes is None:
            return last['sec_per_kimg'] * (until - kimg)
        return forecast.remaining_seconds(phases, sizes, kimg, seconds, until)

    seconds_left = left(end)
    if plan.max_hours is not None:
        seconds_left = min(seconds_left, max(plan.max_hours * 3600 - last.get('total_sec', 0), 0))
    parts = [f'{format_time(seconds_left)} to the end']
    following = [p for p in phases if p.start_kimg > kimg and p.resolution > last['resolution']]
    if following:
        parts.append(f'{format_time(left(following[0].start_kimg))} to {following[0].resolution}x'
                     f'{following[0].resolution}')
    if snapshot_ticks:
        tick_kimg = next(p.tick_kimg for p in phases if p.end_kimg > kimg)
        until = kimg + (snapshot_ticks - last['tick'] % snapshot_ticks) * tick_kimg
        parts.append(f'{format_time(left(min(until, end)))} to the next network snapshot')
    return 'left: about ' + ', '.join(parts)
