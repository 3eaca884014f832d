"""A page in the browser that steers a trained generator: seeds, truncation, styles, noise, attributes."""

import argparse
import os
import signal
import sys
import threading

import check_python  # noqa: F401
from dnnlib.command_line import Parser
from dnnlib.util import UserError, run_main

EXAMPLES = '''examples:
  ./reproduce explore --network results/00003-demo
  ./reproduce explore --network ffhq-1024 --port 8000 --no-browser
  ./reproduce explore --network results/00003-demo --latents results/projected/projected.npz
  ./reproduce explore --network results/00003-demo --directions planes.npz --sliders smiling,male
'''


def parse_args(argv=None):
    from figures import arguments
    parser = Parser(description=__doc__, epilog=EXAMPLES)
    arguments.add_network_arguments(parser)
    group = parser.add_argument_group('page')
    group.add_argument('--port', type=_port, default=0, metavar='INT',
                       help='port on this machine, 0: any that is free (default: 0)')
    group.add_argument('--no-browser', action='store_true', help='print the address only')
    group.add_argument('--latents', metavar='FILE', help='latents to start from, such as projected.npz of project.py')
    group.add_argument('--directions', metavar='SOURCE', help='what the sliders move: as --directions of generate.py '
                       '(default: pca:4)')
    group.add_argument('--sliders', metavar='NAMES', help='which of the directions, at most four (default: the first)')
    arguments.add_label_argument(group)
    args = parser.parse_args(argv)
    if args.latents is not None and not os.path.isfile(args.latents):
        raise UserError(f"--latents: there is no file '{args.latents}'")
    return args


def _port(text):
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a port from 0 to 65535")
    return int(text)


def main(argv=None):
    args = parse_args(argv)
    stop, is_serving = threading.Event(), threading.Event()

    def end(_number, _frame):
        stop.set()
        if not is_serving.is_set():     # nothing was begun that has to be ended
            sys.stdout.flush()
            os._exit(0)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        from figures import arguments
        arguments.find_network(args)
        from figures.explorer import opening, serving
        sock = serving.take_port(args.port)
        renderer = opening.open_renderer(args)
        is_serving.set()
        serving.serve(sock, renderer, stop, not args.no_browser)
        sys.stdout.flush()
        # A picture that takes long must not keep us, nor taking TensorFlow apart, which takes seconds on busy cores.
        os._exit(0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == '__main__':
    run_main(main)
