"""Two processes of one thread against one process of two, and what TensorFlow's graph optimizer is worth.

    ./reproduce shell python benchmarks/bench_processes.py [--quick] [--rounds N] [--half] [--resolution N]

Whole trainings of the CPU's networks on drawn faces, without growing. All contenders of a resolution are started at
once and then take turns: while one trains, the others are suspended, so that their start is paid for once and what else
the machine does strikes all alike. Needs two idle cores: a third program takes its time from one of two processes, for
which the other waits. On a busy machine the processor time for a thousand images, that of all processes together, says
more. What one process of two would do alone is measured too: what it lacks to two of them is the exchange of gradients.
"""

import argparse
import contextlib
import glob
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401

ROUNDS = 5
TICKS = 1           # of a turn that count; the one before them, into which the suspension falls, does not
AIM = 0.9           # rate of two processes over that of one
PATIENCE = 600      # seconds without a tick
OFF = 'tf_config.graph_options.rewrite_options.disable_meta_optimizer'
CASES = {32: dict(minibatch=32, tick_kimg=0.128), 64: dict(minibatch=16, tick_kimg=0.064)}
CONTENDERS = {      # name -> (processes, threads of each, whether the graph optimizer is off)
    'one process of two threads': (1, 2, False),
    'one process of two threads, graph optimizer off': (1, 2, True),
    'two processes of one thread': (2, 1, True),
    'one of these alone, half the minibatch': (1, 1, True)}
FIRST = next(iter(CONTENDERS))
HALF = {'two processes of one thread, gradients as float16': (2, 1, True)}


def rows(quick=False, rounds=ROUNDS, half=False, resolutions=None):
    """Measures on this machine's CPU. Returns dicts: what, figure, unit, ratio, ratio_to, floor."""
    return list(_measure(1 if quick else rounds, half, resolutions))


def _measure(rounds, half, resolutions=None):
    """Yields the rows, each resolution's once it is measured."""
    contenders = dict(CONTENDERS, **(HALF if half else {}))
    with tempfile.TemporaryDirectory(prefix='bench-processes-') as folder:
        for resolution in resolutions or CASES:
            case = CASES[resolution]
            _make_faces(folder, resolution, 128)
            turns = _take_turns(folder, resolution, case, contenders, rounds)
            for name, found in turns.items():
                for place, unit in enumerate(('images/s', 'images/s of processor time')):
                    values, first = ([turn[place] for turn in side] for side in (found, turns[FIRST]))
                    # Neighbours in time are compared, since a machine's speed may change.
                    ratio = statistics.median(before / value for before, value in zip(first, values))
                    yield dict(
                        what=f"training at {resolution}², minibatch {case['minibatch']}: {name}",
                        figure=1000 / statistics.median(values), unit=unit, ratio=ratio, ratio_to=FIRST,
                        floor=f'{1000 / max(values):.1f} to {1000 / min(values):.1f} in {len(values)} turns')


def _make_faces(folder, resolution, count):
    path = os.path.join(folder, f'toyfaces-{resolution}')
    subprocess.run([sys.executable, 'dataset_tool.py', 'create_toyfaces', path, '--num', str(count), '--resolution',
                    str(resolution)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _take_turns(folder, resolution, case, contenders, rounds):
    """{contender: (seconds, seconds of processor time) per kimg of each of its turns}."""
    turns = {name: [] for name in contenders}
    with contextlib.ExitStack() as running:
        trainings = {name: running.enter_context(_Training(folder, resolution, case, name, *facts))
                     for name, facts in contenders.items()}
        for training in trainings.values():     # they build side by side
            training.wait_for_ticks(1)
            training.suspend()
        for number in range(1, rounds + 1):
            for name, training in trainings.items():
                turns[name].append(training.turn())
                rates = [1000 / seconds for seconds in turns[name][-1]]
                print(f'{resolution}², turn {number} of {rounds}, {name}: {rates[0]:.1f} images/s, {rates[1]:.1f} of '
                      'processor time', file=sys.stderr, flush=True)
    return turns


class _Training:
    """A training that goes on until the context ends, and can be suspended."""

    def __init__(self, folder, resolution, case, name, processes, threads, is_off):
        self._folder = os.path.join(folder, f'{resolution}-{name.replace(" ", "-").replace(",", "")}')
        self._kimg = case['tick_kimg']
        share = 2 if 'half the minibatch' in name else 1
        settings = {
            'sched.lod_initial_resolution': resolution, 'sched.minibatch_base': case['minibatch'] // share,
            'sched.minibatch_dict': 'null', 'sched.tick_kimg_base': case['tick_kimg'], 'sched.tick_kimg_dict': '{}',
            'train.total_kimg': 10000, 'train.image_snapshot_ticks': 0, 'train.network_snapshot_ticks': 0,
            'train.checkpoint_kimg': 10000, 'metrics': '[]', OFF: str(is_off).lower(),
            'train.gradient_dtype': 'float16' if 'float16' in name else 'float32',
            'tf_config.intra_op_parallelism_threads': threads, 'tf_config.inter_op_parallelism_threads': threads}
        self._command = [sys.executable] + (
            ['-m', 'dnnlib.tflib.launch', '-np', str(processes)] if processes > 1 else [])
        self._command += ['train.py', '--config', f'toyfaces-{resolution}', '--device', 'cpu', '--num-gpus', '1',
                          '--data-dir', folder, '--result-dir', self._folder]
        self._command += [word for key, value in settings.items() for word in ('--set', f'{key}={value}')]

    def __enter__(self):
        os.mkdir(self._folder)
        self._log = os.path.join(self._folder, 'output.txt')
        with open(self._log, 'w') as log:
            # Who is suspended does nothing for long.
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                                             env=dict(os.environ, STYLEGAN_STILL_SECONDS='86400'))
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._signal(signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def turn(self):
        """Lets it train for some ticks. Returns (seconds, seconds of processor time) per kimg of those that count."""
        count = len(self._ticks())
        self._signal(signal.SIGCONT)
        self.wait_for_ticks(count + 1)
        before = self._processor_time()
        ticks = self.wait_for_ticks(count + 1 + TICKS)[count + 1:count + 1 + TICKS]
        used = self._processor_time() - before
        self.suspend()
        return statistics.mean(tick['sec_per_kimg'] for tick in ticks), used / (self._kimg * TICKS)

    def suspend(self):
        """Stops all its processes until the next turn."""
        self._signal(signal.SIGSTOP)

    def wait_for_ticks(self, count):
        """The numbers of all its ticks, once there are so many."""
        deadline = time.time() + PATIENCE
        while True:
            ticks = self._ticks()
            if len(ticks) >= count:
                return ticks
            if self._process.poll() is not None or time.time() > deadline:
                with open(self._log) as log:
                    raise RuntimeError(f'no tick from {" ".join(self._command)}:\n{log.read()[-3000:]}')
            time.sleep(0.02)

    def _ticks(self):
        from dnnlib.files import read_json_lines
        paths = glob.glob(os.path.join(self._folder, '*', 'stats.jsonl'))
        return read_json_lines(paths[0]) if paths else []

    def _pids(self):
        """The process and those that a launcher started, each in a session of its own."""
        pids = [self._process.pid]
        with contextlib.suppress(FileNotFoundError):
            with open(f'/proc/{pids[0]}/task/{pids[0]}/children') as f:
                pids += [int(child) for child in f.read().split()]
        return pids

    def _signal(self, number):
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _processor_time(self):
        """Seconds that all its processes have used."""
        ticks = 0
        for pid in self._pids():
            with open(f'/proc/{pid}/stat') as f:
                ticks += sum(int(field) for field in f.read().rpartition(')')[2].split()[11:13])
        return ticks / os.sysconf('SC_CLK_TCK')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='one round, to see that everything runs')
    parser.add_argument('--rounds', type=int, default=ROUNDS, metavar='N', help='default: %(default)s')
    parser.add_argument('--half', action='store_true', help='also gradients as float16')
    parser.add_argument('--resolution', type=int, choices=CASES, metavar='N', help='only this one: 32 or 64')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))    # else suspended trainings would remain
    for row in _measure(1 if args.quick else args.rounds, args.half, args.resolution and [args.resolution]):
        print(f"{row['what']:<84} {row['figure']:7.1f} {row['unit']:<26} {row['ratio']:5.2f} of {row['ratio_to']} "
              f"({row['floor']})", flush=True)
    print(f'aim: {AIM:g} for two processes')


if __name__ == '__main__':
    main()
