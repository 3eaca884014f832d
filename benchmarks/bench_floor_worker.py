"""A training step of any checkout of this project, which runs when it is asked to; `bench_floor.py` starts it.

    ./reproduce shell python benchmarks/bench_floor_worker.py CHECKOUT RESOLUTION MINIBATCH SESSION

SESSION is the configuration of the session, JSON. Each line of the input, `step` or `operations`, is answered by a
line: seconds of processor time, or the operations of the convolutions and matrix products of a step. The first answer,
`0`, says that all is built and warm.
"""

import argparse
import json
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401, I001
import numpy as np  # noqa: E402

JOINED = ('BiasAdd', 'Add', 'AddV2', 'LeakyRelu', 'Relu')
CONVOLUTIONS = ('Conv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter', 'MatMul')


def operations(graph, metadata):
    """Multiplications and additions of the convolutions, their gradients and matrix products that a trace saw."""
    shapes = {}
    for device in metadata.step_stats.dev_stats:
        for node in device.node_stats:
            name = node.node_name.split(':')[0]
            for output in node.output:
                shapes[name, output.slot] = [dim.size for dim in output.tensor_description.shape.dim]

    def shape_of(tensor):
        shape = shapes.get((tensor.op.name, tensor.value_index)) or tensor.shape.as_list()
        if shape.count(None) == 1 and tensor.op.type == 'Reshape':   # which the engine's optimizer took out
            whole = shape_of(tensor.op.inputs[0])
            if None not in whole:
                known = np.prod([size for size in shape if size is not None], dtype=int)
                shape[shape.index(None)] = np.prod(whole, dtype=int) // known
        return shape

    total = 0
    for op in graph.get_operations():
        shape = _shape_of_what_ran(op, shapes) if op.type in CONVOLUTIONS else None
        if shape is None:
            continue
        if op.type == 'MatMul':
            inner = (shape_of(op.inputs[0])[0 if op.get_attr('transpose_a') else 1]
                     or shape_of(op.inputs[1])[1 if op.get_attr('transpose_b') else 0])
            total += 2 * np.prod(shape, dtype=float) * inner
        else:
            kernel = shape if op.type == 'Conv2DBackpropFilter' else shape_of(op.inputs[1])
            moved = shape if op.type == 'Conv2D' else shape_of(op.inputs[2])
            total += 2 * np.prod(moved, dtype=float) * np.prod(kernel[:3], dtype=float)
    return total


def _shape_of_what_ran(op, shapes):
    """Shape of the first output by a trace's shapes; None where the operation did not run.

    What the engine's optimizer joins, a convolution with its bias and activation, runs under the last one's name.
    """
    while (op.name, 0) not in shapes:
        followers = op.outputs[0].consumers()
        if len(followers) != 1 or followers[0].type not in JOINED:
            return None
        op = followers[0]
    return shapes[op.name, 0]


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
    make, sessions = tflib.create_session, []

    def with_settings(config=None, **more):
        """Older checkouts have no other way to give a number of threads, nor to trace a step."""
        sessions.append(make(dict(config or {}, **args.session), **more))
        return sessions[-1]

    tflib.create_session = with_settings
    step, close = training_steps.build_step(args.resolution, args.minibatch)

    def timed():
        began = time.process_time()
        step()
        return time.process_time() - began

    def count():
        session, traces = sessions[-1], []
        run = session.run

        def traced(fetches, feed_dict=None, *_):
            traces.append(tflib.tf.RunMetadata())
            return run(fetches, feed_dict, tflib.tf.RunOptions(trace_level=tflib.tf.RunOptions.FULL_TRACE), traces[-1])

        session.run = traced
        step()
        session.run = run
        return sum(operations(session.graph, metadata) for metadata in traces)

    def answer(value):
        answers.write(json.dumps(value) + '\n')
        answers.flush()

    timed()
    answer(0)
    for line in sys.stdin:
        answer(timed() if line.strip() == 'step' else count())
    close()


if __name__ == '__main__':
    main()
