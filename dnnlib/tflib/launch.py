"""Starts several processes that train as one, on this machine or on many.

A script is started so many times, here or on other hosts over ssh, each process knowing its number and where the
others are (see `dnnlib.submission.processes`). The first process prints, the others stay silent. All end together: when
one fails, the rest are stopped; a signal to stop goes to all of them.
"""

import argparse
import os
import signal
import subprocess
import sys
import time

import config
from dnnlib.command_line import Parser
from dnnlib.errors import UserError
from dnnlib.submission import liveness, processes
from dnnlib.submission.run_context import TWICE_SECONDS
from dnnlib.util import run_main

END_SECONDS = 20    # What the others get to end by themselves when one failed,
LAST_SECONDS = 600  # and when one ended well, the first writing its report.


def main(argv=None):
    """The command itself. Returns the exit status."""
    args = make_parser().parse_args(argv)
    hosts = _hosts(args)
    script = find_script(args.script)
    if args.np % len(hosts):
        raise UserError(f'-np {args.np} processes cannot be spread equally over {len(hosts)} hosts; give a multiple')
    each = args.np // len(hosts)
    if args.port is not None:
        processes.check_port(args.port, each, '--port')
    shared = {liveness.STILL: f'{liveness.still_seconds():g}'}
    is_local = hosts == ['localhost']
    first_port = args.port or processes.FIRST_PORT
    ports = [first_port + number for number in range(each)]
    if is_local and args.port is None:
        ports = processes.free_ports(each)
    addresses = ','.join(f'{host}:{port}' for host in hosts for port in ports)
    command = [args.python, script] + args.arguments
    started = []
    with _Signals(started):
        for rank in range(args.np):
            host = None if is_local else hosts[rank // each]
            environ = dict({processes.RANK: str(rank), processes.ADDRESSES: addresses}, **shared)
            started.append(processes.Started(command, environ, host))
        return _wait(started)


def make_parser():
    """The options."""
    parser = Parser(
        prog='./reproduce launch', description=__doc__.split('\n\n')[0],
        epilog='examples:\n'
               '  ./reproduce launch -np 2 train.py --config toyfaces-32 --device cpu\n'
               '  ./reproduce launch -np 8 --hosts alpha,beta train.py --config mine.yaml\n')
    parser.add_argument('-np', type=int, required=True, metavar='N', help='number of processes, on all hosts together')
    parser.add_argument('--hosts', metavar='A,B,…', action='append', help='host names, reachable by ssh without a '
                        'password, where this folder exists under the same path (default: this machine)')
    parser.add_argument('--port', type=int, metavar='P', help='first of the ports that the processes of a host listen '
                        f'at (default: any free ones here, {processes.FIRST_PORT} on other hosts)')
    parser.add_argument('--python', default=sys.executable, metavar='PATH', help="the hosts' Python (default: this)")
    parser.add_argument('script', help='the script to start, such as train.py')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='…', help='its arguments')
    return parser


def find_script(name):
    """Path of a script: the file of that name, or one of this project's, such as train.py, or its entry script.

    Raises UserError.
    """
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    entry = '__main__.py' if config.installed else 'reproduce'
    own = entry if os.path.basename(name) in ('reproduce', 'stylegan-repro') else name
    for path in (name, os.path.join(root, own)):
        if os.path.isfile(path):
            return path
    raise UserError(f"there is no script '{name}' here; name one such as train.py, then its arguments")


def _hosts(args):
    if not 1 <= args.np <= 4096:
        raise UserError(f'-np {args.np}: a number of processes from 1 to 4096 is expected')
    return ['localhost'] if args.hosts is None else processes.parse_hosts(','.join(args.hosts), '--hosts')


class _Signals:
    """Passes SIGINT and SIGTERM on to all processes, which then end after the same step.

    Schedulers send a signal twice, so that all of some seconds are one. The second one makes the processes end at once,
    the third ends them.
    """

    def __init__(self, started):
        self.started, self.count, self._until, self._old = started, 0, 0.0, {}

    def __enter__(self):
        self._old = {number: signal.signal(number, self._pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        for number, handler in self._old.items():
            signal.signal(number, handler)
        kill(self.started)

    def _pass_on(self, number, frame):
        if time.monotonic() < self._until:
            return
        self._until = time.monotonic() + TWICE_SECONDS
        self.count += 1
        for one in self.started:
            if self.count < 3:
                one.stop()
            else:
                one.kill()


def kill(started):
    """Ends what still runs of some processes."""
    for one in started:
        one.kill()
    for one in started:
        one.process.wait()


def _wait(started):
    """The exit status of all: 0 if each ended well, else that of the one which failed."""
    failed = deadline = None
    while True:
        codes = [one.process.poll() for one in started]
        if failed is None and any(codes):
            failed = _first_to_fail(codes)
            knows = codes[failed] == liveness.EXIT_STATUS   # then it has waited long enough for another
            deadline = time.monotonic() + (liveness.GRACE_SECONDS if knows else END_SECONDS)
            print(f'{_in_words(failed, codes)}; ending the others', file=sys.stderr, flush=True)
            for one in started:
                if one.is_running():
                    one.stop()
        if None not in codes:
            return 0 if failed is None else max(codes[failed], 1)
        if deadline is None and 0 in codes:
            deadline = time.monotonic() + LAST_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            print(f'process {codes.index(None)} of {len(started)} did not end with the others; ending it',
                  file=sys.stderr, flush=True)
            kill(started)
            return 1 if failed is None else max(codes[failed], 1)
        try:
            started[codes.index(None)].process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            pass


def _first_to_fail(codes):
    """The number of the process that failed: of several one that does not say another to be the cause."""
    failed = [rank for rank, code in enumerate(codes) if code]
    return next((rank for rank in failed if codes[rank] != liveness.EXIT_STATUS), failed[0])


def _in_words(rank, codes):
    code = codes[rank]
    how = f'was ended by {signal.Signals(-code).name}' if code < 0 else f'failed with {code}'
    if code == liveness.EXIT_STATUS:
        how = 'ended, as it said'
    return f'process {rank} of {len(codes)} {how}'


if __name__ == '__main__':
    run_main(main)
