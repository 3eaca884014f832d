"""What a GPU can do with this project, measured in one go of seven minutes.

    python tools/gpu_check.py --out FOLDER                    on a GPU
    python tools/gpu_check.py --out FOLDER --device cpu --small     a trial of the same without one

Every part is a process of its own with a limit of time, of which waiting for the card is none; several build their
graphs at once, and a lock lets one at a time measure. Each figure is printed, and is in FOLDER/gpu.json and
FOLDER/gpu.md, as soon as it is known, so that nothing is lost where the time ends or the program is ended. What a part
prints is in FOLDER/PART.log.
"""

import collections
import contextlib
import json
import os
import re
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
FIGURE = 'FIGURE '      # begins a line of a part, with JSON: a figure, waiting for the card, times of a measurement

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
    step_part(256, 'fp16-nchw', 150, {}, '--dtype', 'float16', '--layout', 'NCHW'),
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

    def __init__(self, folder, title):
        self.folder, self.title = folder, title
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
        lines = [self.title, '', '| part | what | figure |', '| --- | --- | --- |']
        for name, part in self.parts.items():
            lines += [f'| {name} | {figure["what"]} | {shown(figure)} |' for figure in part['figures']]
            if part.get('busy') is not None:
                lines.append(f'| {name} | GPU busy while measuring | {part["busy"]} % |')
            state = part['state'] + (f': {part["reason"]}' if part.get('reason') else '')
            seconds = f'{part["seconds"]} s' if 'seconds' in part else ''
            lines.append(f'| {name} | {state.replace("|", "/")} | {seconds} |')
        return '\n'.join(lines) + '\n'


def shown(figure):
    """A figure with its unit, as a cell of a table."""
    return f'{figure["figure"]} {figure.get("unit", "")}'.strip().replace('|', '/')


class Sampler(threading.Thread):
    """Asks the driver several times a second how busy the first GPU of this process is."""

    def __init__(self):
        super().__init__(daemon=True)
        self.samples = []

    def run(self):
        name = machine.visible_gpu(0)
        while True:
            rows = machine.nvidia_smi(f'--id={name}', '--query-gpu=utilization.gpu', timeout=5)
            if rows is None:
                return
            # A part of a card has no figure of its own: '[N/A]'.
            match = re.match(r'([\d.]+) ?%', rows[0][0] if rows else '')
            if match:
                self.samples.append((time.time(), float(match.group(1))))
            time.sleep(0.3)

    def busy(self, begin, end):
        """Mean percentage between two times; None without samples."""
        found = [percent for when, percent in self.samples if begin <= when <= end]
        return round(sum(found) / len(found), 1) if found else None


class Limit(threading.Thread):
    """Kills a part after so many seconds, except those in which `waits` is set, or at the deadline of all parts.

    `why`: why it was killed, None otherwise.
    """

    def __init__(self, process, seconds, deadline):
        super().__init__(daemon=True)
        self.waits, self.why = False, None
        self._process, self._seconds, self._deadline = process, seconds, deadline
        self._is_done = threading.Event()
        self.start()

    def run(self):
        left, before = self._seconds, time.time()
        while self.why is None and not self._is_done.wait(0.1):
            now = time.time()
            left -= 0 if self.waits else now - before
            before = now
            if left <= 0:
                self.why = f'its limit is {self._seconds:g} s'
            elif now > self._deadline:
                self.why = 'the time of all parts ended'
        if self.why:
            kill(self._process)

    def stop(self):
        """Does nothing more."""
        self._is_done.set()
        self.join()


def run_part(part, args, record, sampler, deadline):
    """Runs one part and records what it prints. Returns False if it failed by itself."""
    began = time.time()
    command = [sys.executable, os.path.join(ROOT, 'tools', 'gpu_parts.py'), *part.arguments,
               '--device', args.device, '--out', args.out] + (['--small'] if args.small else [])
    record.change(part.name)
    path = os.path.join(args.out, f'{part.name}.log')
    with open(path, 'w', encoding='utf-8') as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, start_new_session=True,
                                   env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL='1', **part.environment),
                                   preexec_fn=machine.ends_with_parent(signal.SIGKILL))
        _running.add(process)
        limit = Limit(process, part.limit * (1 if args.device == 'gpu' else SLOWER), deadline)
        try:
            for line in process.stdout:
                line = line.decode('utf-8', 'replace')
                log.write(line)
                log.flush()
                if line.startswith(FIGURE):
                    _take(part.name, json.loads(line[len(FIGURE):]), record, sampler, limit)
            status = process.wait()
        finally:
            limit.stop()
            kill(process)
            _running.discard(process)
    has_failed = status != 0 and limit.why is None and not _is_broken_off.is_set()
    state, why = 'done', {}
    if has_failed:
        state, why = f'FAILED, status {status}, see {part.name}.log', dict(reason=last_line(path))
    elif status:
        state, why = ('broken off', {}) if limit.why is None else ('out of time', dict(reason=limit.why))
    record.change(part.name, state=state, seconds=round(time.time() - began, 1), **why)
    print(': '.join([part.name, f'{state}, {time.time() - began:.0f} s', *why.values()]), flush=True)
    return not has_failed


def _take(name, found, record, sampler, limit):
    """What a line of a part says."""
    if 'waits' in found:
        limit.waits = found['waits']
    elif 'begin' in found:
        record.change(name, busy=sampler.busy(found['begin'], found['end']))
    else:
        record.change(name, figure=found)
        print(f'  {name}: {found["what"]}: {shown(found)[:200]}', flush=True)


_running = set()
_is_broken_off = threading.Event()  # parts end since all do


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
    """Runs a function in so many threads; ends the parts that run if this is broken off, or if one of them raises."""
    errors = []

    def guarded():
        try:
            work()
        except BaseException as err:
            errors.append(err)
            _break_off()

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(jobs)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        _break_off()
        for thread in threads:
            thread.join(10)     # in which they record what was broken off
        raise
    if errors:
        raise errors[0]


def _break_off():
    _is_broken_off.set()
    for process in list(_running):
        kill(process)


def _terminate(*_):
    """SIGTERM, as of `timeout` and of queues, ends what Ctrl-C does."""
    raise KeyboardInterrupt


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
    if os.path.exists(os.path.join(args.out, 'gpu.json')):
        raise UserError(f"'{args.out}' holds figures already; name a new folder with --out")
    deadline = time.time() + args.seconds
    record, sampler = Record(args.out, title_of(args)), Sampler()
    sampler.start()
    waiting = collections.deque(part for part in PARTS if part.name in wanted)
    signal.signal(signal.SIGTERM, _terminate)
    _is_broken_off.clear()
    problem = 'broken off'
    try:
        problem = _run_all(waiting, args, record, sampler, deadline)
    finally:
        for part in waiting:
            record.change(part.name, state='not begun: ' + problem)
        print(f'Figures: {os.path.join(args.out, "gpu.md")}')
    return 0 if all(part['state'] == 'done' for part in record.parts.values()) else 1


def title_of(args):
    """What was measured, and when, as a sentence above the figures."""
    cards = [gpu['name'] for gpu in machine.nvidia_gpus(['name'])] if args.device == 'gpu' else []
    what = ', '.join(cards) or (machine.processor_name() or 'a processor without a name' if args.device == 'cpu' else
                                'a GPU that nvidia-smi does not name')
    small = '; a trial with small networks, whose figures say nothing of full size' if args.small else ''
    return f'{what}, {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}{small}.'


def _run_all(waiting, args, record, sampler, deadline):
    """Runs the parts in the deque `waiting`, which keeps those that are not begun. Returns why they are not."""
    def work():
        while waiting and time.time() < deadline - 15 and not _is_broken_off.is_set():
            try:
                part = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            run_part(part, args, record, sampler, deadline)

    # The first part alone, since without a card that TensorFlow can use all others would fail too.
    if waiting and waiting[0].name == 'devices' and time.time() < deadline - 15 \
            and not run_part(waiting.popleft(), args, record, sampler, deadline):
        problem = f'there is nothing to measure: {record.parts["devices"].get("reason")}'
        print(problem, file=sys.stderr)
        return problem
    _run_together(work, max(args.jobs, 1))
    return 'no time was left'


if __name__ == '__main__':
    run_main(main)
