"""Progress of long work: a bar on a terminal, a plain line now and then in a log."""

import sys
import time

from dnnlib.util import format_time

_SECONDS_BETWEEN_LINES = 30


class Progress:
    """Counts `total` things (None if unknown) of a `unit`, saying rate and time left. Use as a context manager."""

    def __init__(self, label, total, unit='images', stream=None):
        self._label, self._total, self._unit = label, total, unit
        self._stream = stream or sys.stderr
        self._count = 0
        self._start = self._printed = time.time()
        self._bar = None
        if self._stream.isatty():
            import tqdm
            self._bar = tqdm.tqdm(total=total, desc=label, unit=' ' + unit, file=self._stream, smoothing=0.1)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        if self._bar is not None:
            self._bar.close()
        elif exc_type is None and time.time() - self._start > _SECONDS_BETWEEN_LINES:
            self._print()

    def add(self, count):
        """Says that `count` more are done."""
        self._count += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.time() - self._printed > _SECONDS_BETWEEN_LINES:
            self._print()

    def _print(self):
        self._printed = time.time()
        seconds = max(self._printed - self._start, 1e-3)
        rate = self._count / seconds
        line = f'{self._label}: {self._count} {self._unit}, {rate:.1f} per second'
        if self._total:
            left = (self._total - self._count) / max(rate, 1e-9)
            line = f'{self._label}: {self._count} of {self._total} {self._unit} ' \
                   f'({100 * self._count // self._total} %), {rate:.1f} per second, {format_time(left)} left'
        print(line, file=self._stream, flush=True)
