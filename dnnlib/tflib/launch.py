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

from dnnlib.command_line import Parser
from dnnlib.errors import UserError
from dnnlib.submission import processes
from dnnlib.util import run_main

END_SECONDS = 20    # What the others get to end by themselves when one failed, and to be asked twice to stop.


def main(argv=None):
    """The command itself. Returns the exit status."""
    args = make_parser().parse_args(argv)
    hosts = _hosts(args)
    if not os.path.isfile(args.script):
        raise UserError(f"there is no script '{args.script}' here; name one such as train.py, then its arguments")
    if args.np % len(hosts):
        raise UserError(f'-np {args.np} processes cannot be spread equally over {len(hosts)} hosts; give a multiple')
    each = args.np // len(hosts)
    if args.port is not None and not 1024 <= args.port <= 65536 - each:
        raise UserError(f'--port {args.port}: a port from 1024 to {65536 - each} is expected, since each process of a '
                        'host takes one')
    is_local = hosts == ['localhost']
    first_port = args.port or processes.FIRST_PORT
    ports = [first_port + number for number in range(each)]
    if is_local and args.port is None:
        ports = [processes.free_port() for _ in range(each)]
    addresses = ','.join(f'{host}:{port}' for host in hosts for port in ports)
    command = [args.python, args.script] + args.arguments
    started = []
    with _Signals(started) as signals:
        for rank in range(args.np):
            host = None if is_local else hosts[rank // each]
            started.append(processes.start(command, {processes.RANK: str(rank), processes.ADDRESSES: addresses}, host))
        return _wait(started, signals)


def make_parser():
    """The options."""
    parser = Parser(
        prog='./reproduce launch', description=__doc__.split('\n\n')[0],
        epilog='examples:\n'
               '  ./reproduce launch -np 2 train.py --config toyfaces-32 --device cpu\n'
               '  ./reproduce launch -np 8 --hosts alpha,beta train.py --config ffhq-1024\n')
    parser.add_argument('-np', type=int, required=True, metavar='N', help='number of processes, on all hosts together')
    parser.add_argument('--hosts', metavar='A,B,…', help='host names, reachable by ssh without a password, where this '
                        'folder exists under the same path (default: this machine)')
    parser.add_argument('--port', type=int, metavar='P', help='first of the ports that the processes of a host listen '
                        f'at (default: any free ones here, {processes.FIRST_PORT} on other hosts)')
    parser.add_argument('--python', default=sys.executable, metavar='PATH', help="the hosts' Python (default: this)")
    parser.add_argument('script', help='the script to start, such as train.py')
    parser.add_argument('arguments', nargs=argparse.REMAINDER, metavar='…', help='its arguments')
    return parser


def _hosts(args):
    if not 1 <= args.np <= 4096:
        raise UserError(f'-np {args.np}: a number of processes from 1 to 4096 is expected')
    hosts = ['localhost'] if args.hosts is None else [host.strip() for host in args.hosts.split(',')]
    if any(not host or host.startswith('-') or set(host) & set(' \t\'"') for host in hosts) or \
            len(set(hosts)) < len(hosts):
        raise UserError(f'--hosts {args.hosts}: different host names with commas between them are expected')
    return hosts


class _Signals:
    """Passes SIGINT and SIGTERM on to all processes, which then end after the same step; the third time ends them."""

    def __init__(self, started):
        self.started, self.count, self._old = started, 0, {}

    def __enter__(self):
        self._old = {number: signal.signal(number, self._pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        for number, handler in self._old.items():
            signal.signal(number, handler)
        kill(self.started)

    def _pass_on(self, number, frame):
        self.count += 1
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM if self.count < 3 else signal.SIGKILL)


def kill(started):
    """Ends what still runs of some processes."""
    for process in started:
        if process.poll() is None:
            process.kill()
    for process in started:
        process.wait()


def _wait(started, signals):
    """The exit status of all: 0 if each ended well, else that of the first that did not."""
    failed = None
    deadline = None
    while True:
        codes = [process.poll() for process in started]
        bad = [(rank, code) for rank, code in enumerate(codes) if code]
        if bad and failed is None:
            failed = bad[0]
            deadline = time.time() + END_SECONDS
            how = f'was ended by {signal.Signals(-failed[1]).name}' if failed[1] < 0 else f'failed with {failed[1]}'
            print(f'process {failed[0]} of {len(started)} {how}; ending the others', file=sys.stderr, flush=True)
            for process in started:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
        if all(code is not None for code in codes):
            return 0 if failed is None else max(failed[1], 1)
        if deadline is None and any(code == 0 for code in codes):
            deadline = time.time() + 3 * END_SECONDS
        if deadline is not None and time.time() > deadline:
            rank = codes.index(None)
            print(f'process {rank} of {len(started)} did not end with the others; ending it', file=sys.stderr,
                  flush=True)
            kill(started)
            return 1 if failed is None else max(failed[1], 1)
        try:
            started[codes.index(None)].wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            pass


if __name__ == '__main__':
    run_main(main)
