"""Two processes of one thread against one process of two, and what TensorFlow's graph optimizer is worth.

    ./reproduce shell python benchmarks/bench_processes.py [--quick] [--rounds N] [--half] [--resolution N]

Whole trainings of the CPU's networks on drawn faces, without growing. The contenders of a resolution are started one
after the other and then take turns: while one trains, the others are suspended, so that their start is paid for once
and what else the machine does strikes all alike. Two trainings of one process, side by side with half the minibatch
each, exchange nothing: what two processes lack to them is the exchange of gradients, and what these have more than one
process of two threads is that nothing is handed from thread to thread. Needs two idle cores; on a busy machine the
processor time, that of all processes together, says more. A resolution takes six minutes at most: where time runs
short, fewer turns are taken.
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
from dnnlib import machine  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.files import read_json_lines  # noqa: E402
from dnnlib.submission import liveness, processes  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

ROUNDS = 5
TICKS = 1           # of a turn that count; the one before them, into which the suspension falls, does not
AIM = 0.9           # rate of two processes over that of one
PATIENCE = 120      # seconds without a tick
SECONDS = 345       # that a resolution may take: no round begins that would end later
OFF = 'tf_config.graph_options.rewrite_options.disable_meta_optimizer'
CASES = {32: dict(minibatch=32, repeats=4, tick_kimg=0.128), 64: dict(minibatch=16, repeats=2, tick_kimg=0.032)}
CONTENDERS = {      # name -> (trainings side by side, processes of each, threads of each, is the graph optimizer off)
    'one process of two threads': (1, 1, 2, False),
    'one process of two threads, graph optimizer off': (1, 1, 2, True),
    'two processes of one thread': (1, 2, 1, True),
    'two trainings of half the minibatch, one thread each': (2, 1, 1, True)}
FIRST, _, TWO, APART = CONTENDERS
HALF = {'two processes of one thread, gradients as float16': (1, 2, 1, True)}


def rows(quick=False, rounds=ROUNDS, half=False, resolutions=None):
    """Measures on this machine's CPU. Returns dicts: what, figure, unit, ratio, ratio_to, floor."""
    return list(_measure(1 if quick else rounds, half, resolutions))


def _measure(rounds, half, resolutions=None):
    """Yields the rows, each resolution's once it is measured."""
    contenders = dict(CONTENDERS, **(HALF if half else {}))
    with tempfile.TemporaryDirectory(prefix='bench-processes-') as folder:
        for resolution in resolutions or CASES:
            _make_faces(folder, resolution, 128)
            turns = _take_turns(folder, resolution, CASES[resolution], contenders, rounds)
            for name, other in [(name, FIRST) for name in contenders] + [(TWO, APART)]:
                for place, unit in enumerate(('images/s', 'images/s of processor time')):
                    values, others = ([turn[place] for turn in turns[who]] for who in (name, other))
                    # Neighbours in time are compared, since a machine's speed may change.
                    ratios = [value / before for value, before in zip(values, others)]
                    yield dict(
                        what=f"training at {resolution}², minibatch {CASES[resolution]['minibatch']}: {name}",
                        figure=statistics.median(values), unit=unit, ratio=statistics.median(ratios), ratio_to=other,
                        floor=f'{min(ratios):.2f} to {max(ratios):.2f}, {min(values):.1f} to {max(values):.1f} {unit} '
                              f'in {len(values)} turns')


def _make_faces(folder, resolution, count):
    path = os.path.join(folder, f'toyfaces-{resolution}')
    subprocess.run([sys.executable, 'dataset_tool.py', 'create_toyfaces', path, '--num', str(count), '--resolution',
                    str(resolution)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _take_turns(folder, resolution, case, contenders, rounds):
    """{contender: images per second, by the clock and by processor time, of each of its turns}."""
    began, turns = time.monotonic(), {name: [] for name in contenders}
    with contextlib.ExitStack() as running:
        ready = {}
        for name, facts in contenders.items():
            ready[name] = running.enter_context(_Contender(os.path.join(folder, f'{resolution}-{len(ready)}'), folder,
                                                           resolution, case, name, *facts))
            _say(f'{resolution}², {name}: its first tick ended {ready[name].started_in:.1f} s after its start')
        last = 0.0
        for number in range(1, rounds + 1):
            round_began = time.monotonic()
            if number > 1 and round_began + last > began + SECONDS:
                _say(f'{resolution}²: no time for more than {number - 1} of {rounds} turns')
                break
            for name, contender in ready.items():
                turns[name].append(contender.turn())
                _say('{}², turn {} of {}, {}: {:.1f} images/s, {:.1f} of processor time'.format(
                    resolution, number, rounds, name, *turns[name][-1]))
            last = time.monotonic() - round_began
    return turns


def _say(text):
    print(text, file=sys.stderr, flush=True)


class _Contender:
    """One or several trainings side by side that go on until the context ends, suspended but for their turns.

    Attribute: started_in, seconds until each had ended its first tick.
    """

    def __init__(self, folder, data_dir, resolution, case, name, trainings, num_processes, threads, is_off):
        settings = {
            'sched.lod_initial_resolution': resolution, 'sched.minibatch_base': case['minibatch'] // trainings,
            'sched.minibatch_dict': 'null', 'sched.tick_kimg_base': case['tick_kimg'] / trainings,
            'sched.tick_kimg_dict': '{}', 'train.minibatch_repeats': case['repeats'], 'train.total_kimg': 10000,
            'train.image_snapshot_ticks': 0, 'train.network_snapshot_ticks': 0, 'train.checkpoint_kimg': 10000,
            'metrics': '[]', 'train.gradient_dtype': 'float16' if 'float16' in name else 'float32',
            'tf_config.intra_op_parallelism_threads': threads, 'tf_config.inter_op_parallelism_threads': threads,
            OFF: str(is_off).lower()}
        words = ['--config', f'toyfaces-{resolution}', '--device', 'cpu', '--num-gpus', '1', '--data-dir', data_dir]
        words += [word for key, value in settings.items() for word in ('--set', f'{key}={value}')]
        self._trainings = [_Training(f'{folder}-{number}', words, num_processes) for number in range(trainings)]

    def __enter__(self):
        began = time.monotonic()
        try:
            for training in self._trainings:
                training.start()
            self._wait(1)
        except BaseException:
            self.__exit__()
            raise
        self.started_in = time.monotonic() - began
        return self

    def __exit__(self, *exc):
        for training in self._trainings:
            training.end()

    def turn(self):
        """Lets them train for some ticks. Returns images per second, by the clock and by processor time."""
        marks = self._wait(1 + TICKS)
        by_clock = sum(1000 / statistics.mean(tick['sec_per_kimg'] for tick, _ in found[1:]) for found in marks)
        images = sum(found[-1][0]['nimg'] - found[0][0]['nimg'] for found in marks)
        return by_clock, images / sum(found[-1][1] - found[0][1] for found in marks)

    def _wait(self, count):
        """For each training (tick, processor time until then) of its next ticks; all are suspended afterwards."""
        before = [len(training.ticks()) for training in self._trainings]
        marks = [[] for _ in self._trainings]
        for training in self._trainings:
            training.send(signal.SIGCONT)
        deadline = time.monotonic() + PATIENCE
        while any(len(found) < count for found in marks):
            for training, skipped, found in zip(self._trainings, before, marks):
                new = training.ticks()[skipped + len(found):]
                found += [(tick, training.processor_time()) for tick in new[:1]]
                training.check(is_late=time.monotonic() > deadline)
            time.sleep(0.05)
        for training in self._trainings:
            training.send(signal.SIGSTOP)
        return marks


class _Training:
    """The processes of one training. They end with this program, however that ends."""

    def __init__(self, folder, words, size):
        self._folder, self._words, self._size = folder, words, size
        self._log, self._started = folder + '.txt', []

    def start(self):
        os.mkdir(self._folder)
        ports = processes.free_ports(self._size)
        # Who is suspended does nothing for long.
        environ = dict(os.environ, **{liveness.STILL: '86400', processes.ADDRESSES: ','.join(
            f'localhost:{port}' for port in ports)})
        with open(self._log, 'w') as log:
            for rank in range(self._size):
                self._started.append(subprocess.Popen(
                    [sys.executable, 'train.py', '--result-dir', self._folder] + self._words, cwd=ROOT, stdout=log,
                    stderr=subprocess.STDOUT, env=dict(environ, **{processes.RANK: str(rank)}),
                    preexec_fn=machine.ends_with_parent(signal.SIGKILL)))

    def end(self):
        self.send(signal.SIGKILL)
        for process in self._started:
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def send(self, number):
        for process in self._started:
            process.send_signal(number)

    def ticks(self):
        """The numbers of all ticks so far."""
        paths = glob.glob(os.path.join(self._folder, '*', 'stats.jsonl'))
        return read_json_lines(paths[0]) if paths else []

    def check(self, is_late):
        """Raises RuntimeError, with what was printed, if it has ended or is late."""
        if is_late or any(process.poll() is not None for process in self._started):
            with open(self._log) as log:
                raise RuntimeError(f'no tick in time from {" ".join(self._words)}:\n{log.read()[-3000:]}')

    def processor_time(self):
        """Seconds that all its processes have used."""
        used = 0
        for process in self._started:
            with open(f'/proc/{process.pid}/stat') as f:
                used += sum(int(field) for field in f.read().rpartition(')')[2].split()[11:13])
        return used / os.sysconf('SC_CLK_TCK')


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='one round, to see that everything runs')
    parser.add_argument('--rounds', type=int, default=ROUNDS, metavar='N', help='default: %(default)s')
    parser.add_argument('--half', action='store_true', help='also gradients as float16')
    parser.add_argument('--resolution', type=int, choices=CASES, metavar='N', help='only this one: 32 or 64')
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):      # as Ctrl-C does it: nothing stays behind
        signal.signal(number, lambda *_: sys.exit(1))
    for row in _measure(1 if args.quick else args.rounds, args.half, args.resolution and [args.resolution]):
        print(f"{row['what']:<92} {row['figure']:7.1f} {row['unit']:<26} {row['ratio']:5.2f} of {row['ratio_to']} "
              f"({row['floor']})", flush=True)
    print(f'aim: {AIM:g} for two processes')


if __name__ == '__main__':
    run_main(main)
