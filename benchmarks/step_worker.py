"""A training step of any checkout of this project, which runs when it is asked to; `bench_floor.py` starts it.

    python benchmarks/step_worker.py CHECKOUT RESOLUTION MINIBATCH SESSION

SESSION is the configuration of the session, JSON. Each line of the input, `step` or `operations`, is answered by a
line: seconds of processor time, or the operations of the convolutions and matrix products of a step, which newer
checkouts can tell. The first answer, `0`, says that all is built and warm.
"""

import importlib
import json
import os
import sys
import time


def main(argv):
    if len(argv) != 4:
        print(__doc__)
        return
    root, resolution, minibatch, settings = argv[0], int(argv[1]), int(argv[2]), json.loads(argv[3])
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)   # what else is printed
    sys.path[:0] = [root, os.path.join(root, 'benchmarks')]
    import training_steps

    from dnnlib import tflib
    make = tflib.create_session
    # Older checkouts have no other way to give a number of threads.
    tflib.create_session = lambda config=None, **more: make(dict(config or {}, **settings), **more)
    step, close = training_steps.build_step(resolution, minibatch)

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
    main(sys.argv[1:])
