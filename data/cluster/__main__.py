"""`./reproduce cluster`: a scheduler, and workers, for data work with --cluster HOST:PORT."""

from data.cluster.engine import PORT, serve_scheduler, serve_workers
from data.options import add_workers
from dnnlib.command_line import Parser
from dnnlib.machine import usable_cores
from dnnlib.util import run_main

_EXAMPLES = {'scheduler': '  ./reproduce cluster scheduler --port 8786',
             'worker': '  ./reproduce cluster worker alpha:8786 --workers 16'}


def make_parser():
    """The argument parser with both commands."""
    parser = Parser(prog='./reproduce cluster', description='Programs that do data work of commands with --cluster '
                    'HOST:PORT. They run whatever reaches their ports: keep them in a network of your own.',
                    epilog='\n'.join(['examples:'] + list(_EXAMPLES.values())))
    subparsers = parser.add_subparsers(metavar='COMMAND', dest='command')
    subparsers.required = True
    scheduler = subparsers.add_parser('scheduler', help='hand out work to workers',
                                      description='Waits for workers and for commands with --cluster HOST:PORT.')
    scheduler.add_argument('--host', default='', help='address to listen at (default: all of this machine)')
    scheduler.add_argument('--port', type=int, default=PORT, help=f'port to listen at (default {PORT})')
    scheduler.set_defaults(run=lambda args: serve_scheduler(args.host, args.port))
    worker = subparsers.add_parser('worker', help='do work that a scheduler hands out',
                                   description='Starts worker processes, which end with the scheduler.')
    worker.add_argument('address', metavar='HOST:PORT', help='where the scheduler is')
    add_workers(worker)
    worker.set_defaults(run=lambda args: serve_workers(args.address, args.workers or usable_cores()))
    for command, subparser in subparsers.choices.items():
        subparser.epilog = f'examples:\n{_EXAMPLES[command]}'
    return parser


def main(argv=None):
    args = make_parser().parse_args(argv)
    return args.run(args)


if __name__ == '__main__':
    run_main(main)
