"""How far the networks are from their floor: the processor time of their convolutions alone.

    ./reproduce shell python benchmarks/bench_floor.py [generator] [step-32] [step-64] [step-256] [--against CHECKOUT]

Generator: each of the 13 convolutions of `G_synthesis` at 256² in a session run of its own (those that upscale as four
2x2 convolutions on the small input), float32, NHWC, minibatch 4, inputs in variables, output not fetched; the sum of
the medians is the floor of the whole generator, which takes turns with them. Step: the operations of all convolutions,
their gradients and matrix products of a training step, over the best rate of a product of 2048x2048 matrices in the
same run. Processor time of two threads throughout, which does not count what other programs do.

With a checkout of another commit, whose steps take turns with this one's in a process each, the excess of a step over
its floor is compared with the other's.
"""

import argparse
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401, I001
import numpy as np  # noqa: E402
import training_steps  # noqa: E402
from bench_floor_worker import operations  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import UserError, run_main  # noqa: E402

ROUNDS = 9
MINIBATCH = 4
THREADS = {'intra_op_parallelism_threads': 2, 'inter_op_parallelism_threads': 1}
STEPS = {32: 16, 64: 8, 256: 4}     # resolution: minibatch


def medians(functions, rounds):
    """Median processor seconds of each function, called in turns after one warm-up each."""
    for function in functions:
        function()
    times = []
    for _ in range(rounds):
        times.append([])
        for function in functions:
            began = time.process_time()
            function()
            times[-1].append(time.process_time() - began)
    return np.median(times, axis=0)


def generator_convolutions(resolution):
    """[(side of the input, channels in, channels out, side of the kernel, how many times)]."""
    def channels(res):
        return min(8192 // 2 ** (res - 1), 512)
    found = [(4, channels(2), channels(2), 3, 1)]
    for res in range(3, int(np.log2(resolution)) + 1):
        found += [(2 ** (res - 1), channels(res - 1), channels(res), 2, 4),
                  (2 ** res, channels(res), channels(res), 3, 1)]
    return found


def generator_row(resolution=256, rounds=ROUNDS):
    """The whole generator's processor time over its floor. Returns a dict as other benchmarks do."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    tflib.select_device('cpu')
    with tf.Graph().as_default(), tflib.create_session(THREADS).as_default() as session:
        tf.set_random_seed(1)
        parts = []
        for side, fan_in, fan_out, kernel, count in generator_convolutions(resolution):
            x = tf.Variable(tf.random.stateless_normal([MINIBATCH, side, side, fan_in], [1, side]))
            kernels = [tf.Variable(tf.random.stateless_normal([kernel, kernel, fan_in, fan_out], [number, 2]))
                       for number in range(count)]
            # As they are: what a group alone waits for, the engine's optimizer takes out.
            parts.append([tf.nn.conv2d(x, w, strides=[1, 1, 1, 1], padding='SAME').op for w in kernels])
        G = tflib.Network('G', 'training.networks_stylegan.G_style', num_channels=3, resolution=resolution,
                          structure='fixed')
        z = tf.Variable(tf.random.stateless_normal([MINIBATCH, G.input_shape[1]], [1, 2]))
        images = G.get_output_for(z, None, is_validation=True, randomize_noise=False)
        tflib.init_uninitialized_vars()
        whole, *floor = medians([lambda op=op: session.run(op) for op in [images.op] + parts], rounds)
    return dict(what=f'generator {resolution}², minibatch {MINIBATCH}, processor time', figure=whole, unit='s',
                ratio=whole / sum(floor), ratio_to='its convolutions alone', floor=f'{sum(floor):.2f} s')


def sgemm_rate(rounds=ROUNDS):
    """Best operations per processor second of a product of 2048x2048 matrices, by the engine or by numpy."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    size = 2048
    a = np.random.RandomState(0).randn(size, size).astype(np.float32)
    with tf.Graph().as_default(), tflib.create_session(THREADS) as session:
        left, right = tf.Variable(a), tf.Variable(a)
        product = tf.matmul(left, right).op
        session.run([left.initializer, right.initializer])
        best = []
        for function in (lambda: session.run(product), lambda: a @ a):
            function()
            for _ in range(rounds):
                began = time.process_time()
                function()
                best.append(time.process_time() - began)
    return 2 * size ** 3 / min(best)


def operations_of(step):
    """The same of a whole `training_steps.Step`."""
    from dnnlib.tflib import tf
    traces = step(options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE))
    return sum(operations(graph, metadata) for graph, metadata in traces)


def step_row(resolution, minibatch, rounds=5):
    """A training step's processor time over its floor, as `generator_row`."""
    step, close = training_steps.build_step(resolution, minibatch, session_config=THREADS)
    step()
    count = operations_of(step)
    seconds, = medians([step], rounds)
    close()
    floor = count / sgemm_rate()
    return dict(what=f'training step {resolution}², minibatch {minibatch}, processor time', figure=seconds, unit='s',
                ratio=seconds / floor, ratio_to='its products at the rate of sgemm',
                floor=f'{floor:.2f} s for {count / 1e9:.0f} GFLOP')


def excess_row(resolution, minibatch, checkout, rounds=5):
    """A training step's excess over its floor, over that of another checkout, as `generator_row`."""
    worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'bench_floor_worker.py')
    workers = [subprocess.Popen([sys.executable, worker, root, str(resolution), str(minibatch), json.dumps(THREADS)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
               for root in (os.path.abspath(checkout), ROOT)]

    def answer(process, question=None):
        if question:
            process.stdin.write(question + '\n')
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise UserError(f'a process that runs training steps ended (status {process.wait()}); see above')
        return json.loads(line)

    for process in workers:
        answer(process)     # all is built
    times, rates = [], []
    for _ in range(rounds):     # the rate between them, since what a machine does differs from minute to minute
        times.append([answer(process, 'step') for process in workers])
        rates.append(sgemm_rate())
    counts = [answer(process, 'operations') for process in workers]
    for process in workers:
        process.stdin.close()
        process.wait()
    seconds, floors = np.median(times, axis=0), np.array(counts) / max(rates)
    before, now = seconds - floors
    return dict(what=f'training step {resolution}², minibatch {minibatch}, processor time', figure=seconds[1], unit='s',
                ratio=now / before, ratio_to=f"the other checkout's ({seconds[0]:.2f} s, floor {floors[0]:.2f} s), of "
                'each what exceeds its own products at the rate of sgemm', floor=f'{floors[1]:.2f} s')


def rows(quick=False):
    """All of them; quick: a small generator only."""
    if quick:
        return [generator_row(64, 3)]
    return [generator_row()] + [step_row(*setting) for setting in STEPS.items()]


def main():
    """Prints the rows that the arguments name; all without any."""
    parts = ['generator'] + [f'step-{resolution}' for resolution in STEPS]
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', metavar='PART', nargs='*', help=f"some of {', '.join(parts)} (default: all)")
    parser.add_argument('--against', metavar='CHECKOUT', help='folder of another commit, to compare steps with')
    parser.add_argument('--rounds', type=int, metavar='N', default=5, help='of steps (default: 5)')
    args = parser.parse_args()
    for name in args.parts:
        if name not in parts:
            parser.error(f"there is no part '{name}'; choose from {', '.join(parts)}")
    for name in args.parts or parts:
        if name == 'generator':
            print(generator_row(), flush=True)
            continue
        resolution = int(name.split('-')[1])
        setting = resolution, STEPS[resolution]
        print(excess_row(*setting, args.against, args.rounds) if args.against else step_row(*setting, args.rounds),
              flush=True)


if __name__ == '__main__':
    run_main(main)
