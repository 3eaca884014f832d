"""Watches over a running training: requests to stop, elapsed time, and a record of how it ended."""

import os
import pprint
import signal
import socket
import sys
import threading
import time

from dnnlib.submission import processes
from dnnlib.util import atomic_write, format_time

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TWICE_SECONDS = 10


class _SignalWatch:
    """Turns the first SIGINT or SIGTERM into a request to stop; a second one ends the process at once.

    The interpreter runs signal handlers only between its own instructions, and a training step may keep the main
    thread inside TensorFlow for minutes. So a thread reads the signal numbers that the C-level handler writes to a
    socket at once. Launchers of several processes pass signals on, so that the same one may come twice: there it
    counts once in `TWICE_SECONDS`.
    """

    def __init__(self):
        self.received = None  # name of the first signal
        self._until = 0.0     # until when the same one counts as the first
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._write.fileno())
        self._old_handlers = {sig: signal.signal(sig, self._on_signal) for sig in SIGNALS}
        self._thread = threading.Thread(target=self._watch, name='signals', daemon=True)
        self._thread.start()

    def _on_signal(self, number, frame):
        """Must exist for the number to be written; the work is done in the thread."""

    def _watch(self):
        while True:
            data = self._read.recv(1)
            if not data or data == b'\0':
                return
            number = data[0]
            if number not in SIGNALS:
                continue
            name = signal.Signals(number).name
            if name == self.received and time.monotonic() < self._until:
                continue
            if processes.world().size > 1:
                self._until = time.monotonic() + TWICE_SECONDS
            if self.received is not None:
                print(f'\n{name} again: exiting at once', file=sys.stderr, flush=True)
                os._exit(128 + number)
            self.received = name
            print(f'\n{name}: stopping after this step; once more to exit at once', file=sys.stderr, flush=True)

    def close(self):
        for sig, handler in self._old_handlers.items():
            signal.signal(sig, handler)
        signal.set_wakeup_fd(self._old_fd)
        self._write.send(b'\0')
        self._thread.join()
        self._read.close()
        self._write.close()


class FollowerContext:
    """What a process that is not the first of several has in place of a RunContext: it listens to signals only."""

    def __init__(self):
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._signals = _SignalWatch() if in_main_thread else None

    def should_stop(self):
        """True once this process has been asked to stop."""
        return self._signals is not None and self._signals.received is not None

    def update(self, loss=0, cur_epoch=0, max_epoch=None):
        """Nobody is told how far the run has come."""

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        if self._signals is not None:
            self._signals.close()


class RunContext:
    """Context manager around a training run.

    `submit_config` is the run directory's path or an object with an attribute `run_dir`. `config_module` is a module
    whose plain settings are written to `config.txt`, as the original does. `max_epoch` is the length of the run in any
    unit (the training loop counts kimg), used for time estimates only.

    The run is asked to stop by a file `abort.txt` in the run directory, by SIGINT (Ctrl-C) or by SIGTERM; the loop
    asks `should_stop()` after each step and then ends cleanly. Signals are watched in the main thread only. On leaving,
    `run.txt` gets a line on how the run ended, and `_finished.txt` appears if it ran to its end.
    """

    def __init__(self, submit_config, config_module=None, max_epoch=None):
        self.submit_config = submit_config
        self.run_dir = submit_config if isinstance(submit_config, str) else submit_config.run_dir
        self.max_epoch = max_epoch
        self.cur_epoch = None
        self.start_time = self.last_update_time = time.time()
        self._last_interval = 0.0
        self._stop_reason = None
        self._closed = False
        self.listeners = []  # functions without arguments, called after every update()
        self.closers = []    # the same, called once how the run ended is recorded; not after an error
        for name in ('abort.txt', '_finished.txt'):  # left by an earlier part of this run
            if os.path.exists(self._path(name)):
                os.unlink(self._path(name))
        self._note(f'started {time.strftime("%Y-%m-%d %H:%M:%S")} as process {os.getpid()}')
        if config_module is not None:
            with atomic_write(self._path('config.txt'), 'w') as f:
                f.write(pprint.pformat(_plain_settings(config_module), indent=4, width=200) + '\n')
        in_main_thread = threading.current_thread() is threading.main_thread()
        self._signals = _SignalWatch() if in_main_thread else None

    def _path(self, name):
        return os.path.join(self.run_dir, name)

    def _note(self, line):
        with open(self._path('run.txt'), 'a', encoding='utf-8') as f:
            f.write(line + '\n')

    def should_stop(self):
        """True once the run has been asked to stop. Cheap enough for every step."""
        return self.stop_reason is not None

    @property
    def stop_reason(self):
        """`SIGINT`, `SIGTERM` or `abort.txt`, or None while nobody has asked."""
        if self._stop_reason is None:
            if self._signals is not None and self._signals.received:
                self._stop_reason = self._signals.received
            elif os.path.exists(self._path('abort.txt')):
                self._stop_reason = 'abort.txt'
        return self._stop_reason

    def update(self, loss=0, cur_epoch=0, max_epoch=None):
        """Tells how far the run has come. `loss` is accepted for compatibility and not used."""
        now = time.time()
        self._last_interval, self.last_update_time = now - self.last_update_time, now
        self.cur_epoch = cur_epoch
        if max_epoch is not None:
            self.max_epoch = max_epoch
        for listener in self.listeners:
            listener()

    def get_time_since_start(self):
        """Seconds since this process took up the run."""
        return time.time() - self.start_time

    def get_time_since_last_update(self):
        """Seconds since `update()` was last called."""
        return time.time() - self.last_update_time

    def get_last_update_interval(self):
        """Seconds between the last two calls of `update()`."""
        return self._last_interval

    def _reached_end(self):
        return self.max_epoch is not None and self.cur_epoch is not None and self.cur_epoch >= self.max_epoch

    def close(self, error=None):
        """Ends the watch and records the outcome: finished, stopped on request, or failed with `error`."""
        if self._closed:
            return
        self._closed = True
        if error is not None:
            outcome = f'failed with {type(error).__name__}: {error}'.splitlines()[0]
        elif self.should_stop() and not self._reached_end():
            outcome = f'stopped by {self.stop_reason}'
        else:
            outcome = 'finished'
        if self._signals is not None:
            self._signals.close()
        at = f', at {self.cur_epoch:g} kimg' if self.cur_epoch is not None else ''
        self._note(f'{outcome} {time.strftime("%Y-%m-%d %H:%M:%S")} after '
                   f'{format_time(self.get_time_since_start())}{at}')
        if outcome == 'finished':
            with atomic_write(self._path('_finished.txt'), 'w'):
                pass
        for closer in self.closers if error is None else ():
            closer()

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.close(error=exc_value)


def _plain_settings(module):
    """The public values of a module that are plain data, by name."""
    return {name: value for name, value in vars(module).items()
            if not name.startswith('_') and isinstance(value, (str, int, float, list, tuple, dict, type(None)))}
