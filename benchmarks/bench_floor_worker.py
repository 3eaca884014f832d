"""A training step of any checkout of this project, which runs when it is asked to; `bench_floor.py` starts it.

    ./reproduce shell python benchmarks/bench_floor_worker.py CHECKOUT RESOLUTION MINIBATCH SESSION

SESSION is the configuration of the session, JSON. Each line of the input, `step` or `operations`, is answered by a
line: seconds of processor time, or the operations of the convolutions and matrix products of a step, which newer
checkouts can tell. The first answer, `0`, says that all is built and warm.
"""

import argparse
import importlib
import json
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401


def main():
    # The checkout's own library is imported below, so that none of this one's may be before.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkout')
    parser.add_argument('resolution', type=int)
    parser.add_argument('minibatch', type=int)
    parser.add_argument('session', type=json.loads)
    args = parser.parse_args()
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)   # what else is printed
    sys.path[:0] = [args.checkout, os.path.join(args.checkout, 'benchmarks')]
    import training_steps

    from dnnlib import tflib
    make = tflib.create_session
    # Older checkouts have no other way to give a number of threads.
    tflib.create_session = lambda config=None, **more: make(dict(config or {}, **args.session), **more)
    step, close = training_steps.build_step(args.resolution, args.minibatch)

    def timed():
        began = time.process_time()
        step()
        return time.process_time() - began

    def answer(value):
        answers.write(json.dumps(value) + '\n')
        answers.flush()

    timed()
    answer(0)
    for line in sys.stdin:
        answer(timed() if line.strip() == 'step' else importlib.import_module('bench_floor').operations_of(step))
    close()


if __name__ == '__main__':
    main()
