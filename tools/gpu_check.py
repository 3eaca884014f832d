"""What a GPU can do with this project, measured in one go of seven minutes.

    python tools/gpu_check.py --out FOLDER                    on a GPU
    python tools/gpu_check.py --out FOLDER --device cpu --small     a trial of the same without one

Every part is a process of its own with a limit of time; several build their graphs at once, and a lock lets one at a
time measure. Each figure is in FOLDER/gpu.json and FOLDER/gpu.md as soon as it is known, so that nothing is lost where
the time ends. What a part prints is in FOLDER/PART.log.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
from dnnlib import machine  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.files import atomic_write, make_folder, write_json  # noqa: E402
from dnnlib.util import UserError, run_main  # noqa: E402

FULL_FLOAT32 = {'NVIDIA_TF32_OVERRIDE': '0'}
XLA = {'TF_XLA_FLAGS': '--tf_xla_auto_jit=2'}
SLOWER = 20             # a trial without a GPU, perhaps beside other work, has so many times as long
FIGURE = 'FIGURE '      # begins a line of a part that holds a figure or the times of a measurement, as JSON

Part = collections.namedtuple('Part', 'name limit arguments environment')


def step_part(resolution, kind, limit, environment, *more):
    """A part that times generator, discriminator and training step of one kind."""
    return Part(f'step-{resolution}-{kind}', limit, ['step', str(resolution), *more], environment)


# In the order of what would be missed most.
PARTS = [
    Part('devices', 60, ['devices'], {}),
    Part('golden', 120, ['golden'], FULL_FLOAT32),
    step_part(256, 'fp32', 150, FULL_FLOAT32),
    step_part(256, 'fp16', 150, {}, '--dtype', 'float16'),
    Part('demo', 240, ['demo'], {}),
    step_part(256, 'tf32', 150, {}),
    Part('phases-celeba-256', 200, ['phases', 'celeba-256'], {}),
    Part('twice', 150, ['twice'], {}),
    step_part(1024, 'fp16', 240, {}, '--dtype', 'float16'),
    step_part(256, 'fp16-nhwc', 150, {}, '--dtype', 'float16', '--layout', 'NHWC'),
    step_part(256, 'fp16-own-gradients', 150, {}, '--dtype', 'float16', '--own-gradients'),
    step_part(256, 'fp16-fixed', 150, {}, '--dtype', 'float16', '--fixed'),
    Part('reader', 60, ['reader'], {}),
    Part('features', 90, ['features'], {}),
    step_part(256, 'fp16-deterministic', 150, {}, '--dtype', 'float16', '--deterministic'),
    step_part(256, 'fp32-deterministic', 150, FULL_FLOAT32, '--deterministic'),
    step_part(1024, 'fp32', 240, FULL_FLOAT32),
    Part('phases-ffhq-1024', 300, ['phases', 'ffhq-1024'], {}),
    step_part(256, 'fp16-xla', 200, XLA, '--dtype', 'float16'),
    step_part(1024, 'tf32', 240, {}),
    Part('doctor', 90, ['doctor'], {}),
]


class Record:
    """The figures so far, written as JSON and as Markdown with every one that comes."""

    def __init__(self, folder):
        self.folder = folder
        self.parts = collections.OrderedDict()
        self._lock = threading.Lock()

    def change(self, name, **values):
        """Sets values of a part; a `figure` is appended to those that are there."""
        with self._lock:
            part = self.parts.setdefault(name, dict(state='begun', figures=[]))
            if 'figure' in values:
                part['figures'].append(values.pop('figure'))
            part.update(values)
            write_json(os.path.join(self.folder, 'gpu.json'), self.parts)
            with atomic_write(os.path.join(self.folder, 'gpu.md')) as f:
                f.write(self._page().encode('utf-8'))

    def _page(self):
        lines = ['| part | what | figure |', '| --- | --- | --- |']
        for name, part in self.parts.items():
            lines += [f'| {name} | {figure["what"]} | {figure["figure"]} {figure.get("unit", "")} |'
                      for figure in part['figures']]
            if part.get('busy') is not None:
                lines.append(f'| {name} | GPU busy while measuring | {part["busy"]} % |')
            state = part['state'] + (f': {part["reason"]}' if part.get('reason') else '')
            lines.append('| {} | {} | {} s |'.format(name, state.replace('|', '/'), part.get('seconds', '')))
        return '\n'.join(lines) + '\n'


class Sampler(threading.Thread):
    """Asks the driver several times a second how busy the first GPU is."""

    def __init__(self):
        super().__init__(daemon=True)
        self.samples = []

    def run(self):
        while True:
            rows = machine.nvidia_smi('--id=0', '--query-gpu=utilization.gpu', timeout=5)
            if rows is None:
                return
            self.samples.append((time.time(), float(rows[0][0].split()[0])))
            time.sleep(0.3)

    def busy(self, begin, end):
        """Mean percentage between two times; None without samples."""
        found = [percent for when, percent in self.samples if begin <= when <= end]
        return round(sum(found) / len(found), 1) if found else None


def run_part(part, args, record, sampler, deadline):
    """Runs one part and records what it prints. Returns False if it failed by itself."""
    limit = min(part.limit * (1 if args.device == 'gpu' else SLOWER), deadline - time.time())
    began = time.time()
    command = [sys.executable, os.path.join(ROOT, 'tools', 'gpu_parts.py'), *part.arguments,
               '--device', args.device, '--out', args.out] + (['--small'] if args.small else [])
    record.change(part.name)
    path = os.path.join(args.out, f'{part.name}.log')
    with open(path, 'w', encoding='utf-8') as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, universal_newlines=True, cwd=ROOT,
                                   env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL='1', **part.environment),
                                   start_new_session=True)
        _running.add(process)
        is_late = threading.Event()
        watchdog = threading.Timer(limit, lambda: (is_late.set(), kill(process)))
        watchdog.start()
        for line in process.stdout:
            log.write(line)
            log.flush()
            if line.startswith(FIGURE):
                found = json.loads(line[len(FIGURE):])
                if 'begin' in found:
                    record.change(part.name, busy=sampler.busy(found['begin'], found['end']))
                else:
                    record.change(part.name, figure=found)
        status = process.wait()
        watchdog.cancel()
        _running.discard(process)
    has_failed = status != 0 and not is_late.is_set()
    state = 'done' if status == 0 else f'FAILED, status {status}, see {part.name}.log' if has_failed else 'out of time'
    reason = {'reason': last_line(path)} if has_failed else {}
    record.change(part.name, state=state, seconds=round(time.time() - began, 1), **reason)
    print(': '.join([part.name, f'{state}, {time.time() - began:.0f} s', *reason.values()]), flush=True)
    return not has_failed


_running = set()


def kill(process):
    """Ends a part with all the processes that it has started, which would keep the card from the others."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def last_line(path):
    """The last line of a log, where a sentence about the failure stands; figures may come in behind it."""
    with open(path, encoding='utf-8', errors='replace') as f:
        lines = [line.strip() for line in f if line.strip() and not line.startswith(FIGURE)]
    return lines[-1][:300] if lines else ''


def _run_together(work, jobs):
    """Runs a function in so many threads; ends the parts that run if this is broken off."""
    threads = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for process in list(_running):
            kill(process)


def parse_args(argv=None):
    parser = Parser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--out', required=True, metavar='FOLDER', help='where figures and logs go; a new folder')
    parser.add_argument('--device', choices=['gpu', 'cpu'], default='gpu', help='what to measure (default: gpu)')
    parser.add_argument('--small', action='store_true', help='small networks and few steps, for a trial')
    parser.add_argument('--seconds', type=float, default=420, metavar='S', help='of all parts (default: %(default)g)')
    parser.add_argument('--jobs', type=int, default=max(machine.usable_cores() // 4, 1), metavar='N',
                        help='parts that build at the same time (default: %(default)s, a quarter of the cores)')
    parser.add_argument('--only', metavar='LIST', help=f'parts: {", ".join(part.name for part in PARTS)}')
    return parser.parse_args(argv)


def main(argv=None):
    """Runs the parts; the exit status is 1 if one of them failed or ran out of time."""
    args = parse_args(argv)
    args.out = os.path.abspath(args.out)
    wanted = args.only.split(',') if args.only else [part.name for part in PARTS]
    unknown = set(wanted) - {part.name for part in PARTS}
    if unknown:
        raise UserError(f"there is no part '{sorted(unknown)[0]}'; see --help")
    make_folder(args.out)
    deadline = time.time() + args.seconds
    record, sampler = Record(args.out), Sampler()
    sampler.start()
    waiting = collections.deque(part for part in PARTS if part.name in wanted)

    def work():
        while waiting and time.time() < deadline - 15:
            try:
                part = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            run_part(part, args, record, sampler, deadline)

    problem = 'no time was left'
    # The first part alone, since without a card that TensorFlow can use all others would fail too.
    if waiting and waiting[0].name == 'devices' and time.time() < deadline - 15 \
            and not run_part(waiting.popleft(), args, record, sampler, deadline):
        problem = f'there is nothing to measure: {record.parts["devices"].get("reason")}'
        print(problem, file=sys.stderr)
    else:
        _run_together(work, max(args.jobs, 1))
    for part in waiting:
        record.change(part.name, state='not begun: ' + problem)
    print(f'Figures: {os.path.join(args.out, "gpu.md")}')
    return 0 if all(part['state'] == 'done' for part in record.parts.values()) else 1


if __name__ == '__main__':
    run_main(main)
