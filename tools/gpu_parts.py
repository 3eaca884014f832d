"""The parts of tools/gpu_check.py, each a process of its own."""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks'), os.path.join(ROOT, 'tests')]


import check_python  # noqa: E402, F401

# isort: split
import numpy as np  # noqa: E402

import config as folders  # noqa: E402
from dnnlib import machine  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import UserError, run_main  # noqa: E402

MINIBATCH = {256: 32, 1024: 8, 32: 4, 64: 4}
_OFF = 2                # RewriterConfig.OFF
MOST_DEVIATION = 1e-3   # of float32 on a GPU, as the tests have it
SMALL_NETWORKS = dict(fmap_base=256, latent_size=32, dlatent_size=32, mapping_fmaps=32)


def tell(what, figure, unit=''):
    """Prints a figure for the process that started this one."""
    if isinstance(figure, float):   # JSON has no NaN
        figure = float(f'{figure:.4g}') if np.isfinite(figure) else str(figure)
    _say(what=what, figure=figure, unit=unit)


def _say(**values):
    print('FIGURE ' + json.dumps(values), flush=True)


@contextlib.contextmanager
def card(args):
    """Within it this process has the card to itself."""
    with open(os.path.join(args.out, 'card.lock'), 'w') as lock:
        _say(waits=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
        _say(waits=False)
        begin = time.time()
        yield
        _say(begin=begin, end=time.time())


def seconds_per_call(function, args):
    """Mean seconds of `function(wait)`, which is asked to wait for the device by its last call only."""
    for _ in range(2):
        function(True)
    count, least = (2, 0) if args.small else (5, 2.0)
    began, calls = time.perf_counter(), 0
    while calls < count or time.perf_counter() - began < least:
        function(False)
        calls += 1
        if calls % 10 == 0:
            function(True)
            calls += 1
    function(True)
    return (time.perf_counter() - began) / (calls + 1)


# ---- The parts


def devices(args):
    """What there is."""
    began = time.time()
    from dnnlib import tflib
    version = tflib.tf.__version__      # imported when it is first used
    tell('TensorFlow imported', time.time() - began, 's')
    tell('TensorFlow', version)
    tell('processor', f'{machine.usable_cores()} cores of {machine.processor_name()}')
    for gpu in machine.nvidia_gpus(['name', 'memory.total', 'driver_version']):
        tell('card', ', '.join(gpu.values()))
    tell('GPUs that TensorFlow can use', len(tflib.list_gpus()))
    tflib.select_device(args.device)    # fails with a sentence where there is none
    session = tflib.create_session({'gpu_options.allow_growth': True})
    with tflib.tf.device(tflib.device_name()), session.as_default():
        value = tflib.tf.random.stateless_normal([4096, 4096], [1, 2])
        tell('sum of a product on the device', float(tflib.run(tflib.tf.reduce_sum(tflib.tf.matmul(value, value)))))


def doctor(args):
    """What `train.py doctor` says."""
    sys.stdout.flush()
    result = subprocess.run([sys.executable, 'train.py', 'doctor', '--device', args.device], cwd=ROOT)
    tell('exit status of the doctor', result.returncode)


def golden(args):
    """The reference networks' images, scores and gradients: largest difference in standard deviations."""
    from golden_networks import GoldenCase, deviation

    from dnnlib import tflib
    from dnnlib.tflib import tf
    tflib.select_device(args.device)
    found = []

    def compare(what, values, expected):
        found.append(float(deviation(values, expected)))
        tell(what, found[-1], 'deviations')

    with tf.Graph().as_default(), tflib.create_session({'gpu_options.allow_growth': True}).as_default():
        tf.set_random_seed(1)
        case = GoldenCase(pathlib.Path(ROOT, 'tests', 'golden'), 'stylegan-f-32', 'training.networks_stylegan')
        tell('layout', tflib.data_format())
        with card(args):
            for structure in ('linear', 'recursive'):
                case.set_lod(1.5)
                images = case.arrays[f'images_{structure}_lod1.5']
                compare(f'{structure}: images', case.G.components.synthesis.run(
                    case.arrays['w'], randomize_noise=False, structure=structure), images)
                compare(f'{structure}: scores', case.D.run(images, case.labels, structure=structure),
                        case.arrays[f'scores_{structure}_lod1.5'])
            case.set_lod(0.0)
            reals = tf.constant(case.arrays['images_recursive_lod0.0'])
            scores = case.D.get_output_for(reals, tf.constant(case.labels))
            gradient = tf.gradients(tf.reduce_sum(scores), [reals])[0]
            compare('gradient of the scores by the images', tflib.run(gradient), case.arrays['d_image_grad_lod0.0'])
    if not max(found) < MOST_DEVIATION or not np.all(np.isfinite(found)):
        raise UserError(f'the networks are off by {max(found):.3g} deviations; below {MOST_DEVIATION:g} was expected')


def step(args):
    """Images per second of generator, discriminator and a training step, and the memory that they take."""
    import training_steps

    from dnnlib import tflib
    resolution = min(args.resolution, 64) if args.small else args.resolution
    minibatch = MINIBATCH[resolution]
    if args.layout == 'NCHW' and args.device == 'cpu':
        tell('layout', 'NCHW is not tried without a GPU')
        return
    network_args = dict(SMALL_NETWORKS if args.small else {}, dtype=args.dtype)
    if args.fixed:
        network_args['structure'] = 'fixed'     # without the conditionals of growing
    if args.deterministic:
        tflib.set_deterministic()
    with contextlib.ExitStack() as stack:
        if args.own_gradients:
            stack.enter_context(mock.patch.object(tflib.tf.Graph, 'gradient_override_map',
                                                  lambda graph, names: contextlib.ExitStack()))
        if args.layout is not None:
            stack.enter_context(mock.patch.object(tflib.device, 'data_format', lambda: args.layout))
        # What is asked for, not what TensorFlow would make of it.
        config = {'graph_options.rewrite_options.layout_optimizer': _OFF} if args.layout else {}
        began = time.time()
        functions = forward_passes(resolution, minibatch, args, network_args, config)
        train, close = training_steps.build_step(resolution, minibatch, device=args.device, session_config=config,
                                                 **network_args)
        tell('built', time.time() - began, 's')
        with card(args):
            began = time.time()
            train(wait=True)
            tell('first step', time.time() - began, 's')
            for what, function in functions:
                tell(f'{what} {resolution}², minibatch {minibatch}',
                     minibatch / seconds_per_call(function, args), 'images/s')
        with card(args):    # of which how busy it was is told
            tell(f'training step {resolution}², minibatch {minibatch}',
                 minibatch / seconds_per_call(lambda wait: train(wait=wait), args), 'images/s')
            memory = tflib.peak_gpu_memory()
        if memory:
            tell('most memory on the card', memory / 2 ** 30, 'GiB')
        close()


def forward_passes(resolution, minibatch, args, network_args, config):
    """[(name, function(wait))] of the generator and of the discriminator alone, in a graph of their own."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    tflib.select_device(args.device)
    graph = tf.Graph()
    with graph.as_default(), tf.device(tflib.device_name()):
        tf.set_random_seed(1)
        session = tflib.create_session(dict(config, **{'gpu_options.allow_growth': True, 'allow_soft_placement': True}))
        with session.as_default():
            common = dict(network_args, num_channels=3, resolution=resolution, structure='fixed')
            G = tflib.Network('G', 'training.networks_stylegan.G_style', **common)
            D = tflib.Network('D', 'training.networks_stylegan.D_basic', **common)
            z = tf.random.stateless_normal([minibatch, G.input_shape[1]], [1, 2])
            labels = tf.zeros([minibatch, 0])
            images = tf.random.stateless_normal([minibatch, 3, resolution, resolution], [3, 4])
            sums = [tf.reduce_sum(G.get_output_for(z, labels, is_validation=True)),
                    tf.reduce_sum(D.get_output_for(images, labels))]
    # Fetched every time, which takes microseconds and waits for the card.
    return [(name, lambda wait, total=total: session.run(total)) for name, total in zip(('generator', 'discriminator'),
                                                                                        sums)]


def phases(args):
    """Seconds per thousand images of a published configuration on one card, at each of its phases."""
    import training_steps

    from experiment import run_config
    from experiment.phases import make_phases
    overrides = [f'dataset.resolution={64}', 'sched.lod_initial_resolution=8'] if args.small else []
    config, _ = run_config.load(args.config, folders.config_dir, overrides, dict(num_gpus=1, device=args.device))
    top = int(np.log2(64 if args.small else config.dataset.resolution))
    network_args = dict(SMALL_NETWORKS) if args.small else {
        key: value for key, value in config.G.items() if key in ('fmap_base', 'fmap_max', 'dtype')}
    train, close = training_steps.build_step(2 ** top, 4, device=args.device, **network_args)
    total = 0.0
    with card(args):
        for phase in make_phases(config, top):
            lod = top - float(np.log2(phase.resolution)) + (0.5 if phase.kind == 'fade' else 0.0)
            run = functools.partial(train, lod, minibatch=phase.minibatch)
            seconds = seconds_per_call(lambda wait, run=run: run(wait=wait), args) * 1000 / phase.minibatch
            total += seconds * (phase.end_kimg - phase.start_kimg)
            tell(f'{phase.resolution}² {phase.kind}, minibatch {phase.minibatch}', seconds, 's/kimg')
    close()
    tell(f'{args.config} on one card, without snapshots and metrics', total / 86400, 'days')


def reader(args):
    """Images per second from TFRecords to the training, which a fast card may wait for."""
    import bench_data
    with tempfile.TemporaryDirectory() as folder:
        for resolution, minibatch, count in ((32, 64, 500), ) if args.small else ((32, 64, 20000), (256, 32, 2000)):
            row = bench_data.reading_row(folder, resolution, minibatch, count, 1 if args.small else 3)
            tell(row['what'], row['figure'], row['unit'])


def features(args):
    """Images per second through the feature network of FID, with weights drawn at random."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    tflib.select_device(args.device)
    with tf.Graph().as_default(), tflib.create_session({'gpu_options.allow_growth': True}).as_default():
        with tf.device(tflib.device_name()):
            net = tflib.Network('inception', 'metrics.networks.inception_v3.inception_v3_features',
                                width=0.25 if args.small else 1.0)
            count = 4 if args.small else 64
            images = tf.random.stateless_uniform([count, 3, 256, 256], [1, 2], maxval=255.0)
            total = tf.reduce_sum(net.get_output_for(images))
        with card(args):
            tell('FID features of 256²', count / seconds_per_call(lambda wait: tflib.run(total), args), 'images/s')


def demo(args):
    """The demo's training and its FID."""
    result_dir, data_dir = os.path.join(args.out, 'demo', 'results'), os.path.join(args.out, 'demo', 'data')
    began = time.time()
    command([sys.executable, 'dataset_tool.py', 'create_toyfaces', os.path.join(data_dir, 'demo-faces-32'),
             '--resolution', '32', '--num', '300' if args.small else '10000', '--seed', '0'])
    tell("the demo's data set", time.time() - began, 's')
    shorter = ['--set', 'train.total_kimg=0.1', '--set', 'metrics=[]'] if args.small else []
    with card(args):
        began = time.time()
        command([sys.executable, 'train.py', '--config', 'demo', '--device', args.device, '--data-dir', data_dir,
                 '--result-dir', result_dir] + shorter)
        tell("the demo's training", time.time() - began, 's')
        run_dir = os.path.join(result_dir, os.listdir(result_dir)[0])
        text = pathlib.Path(run_dir, 'stats.jsonl').read_text().splitlines()
        tell('last tick of the demo', text[-1] if text else 'none')
        for path in sorted(pathlib.Path(run_dir).glob('metrics/**/*.json')):
            tell(f'{path.parent.name}/{path.name}', path.read_text()[:2000])


def twice(args):
    """Whether two runs with --deterministic, beside each other, end in the same bytes."""
    data_dir = os.path.join(args.out, 'twice', 'data')
    result_dirs = [os.path.join(args.out, 'twice', str(number)) for number in range(2)]
    command([sys.executable, 'dataset_tool.py', 'create_toyfaces', os.path.join(data_dir, 'demo-faces-32'),
             '--resolution', '32', '--num', '300', '--seed', '0'])
    with card(args):
        options = ['--config', 'demo', '--device', args.device, '--deterministic', '--data-dir', data_dir,
                   '--set', 'metrics=[]', '--set', f'train.total_kimg={0.1 if args.small else 2}']
        for process in [begin([sys.executable, 'train.py', '--result-dir', result_dir] + options)
                        for result_dir in result_dirs]:
            if process.wait():
                raise UserError(f'a deterministic run ended with status {process.returncode}')
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()
               for result_dir in result_dirs for path in pathlib.Path(result_dir).glob('*/network-final.pkl')]
    is_equal = len(digests) == 2 and digests[0] == digests[1]
    tell('two deterministic runs', 'equal bytes' if is_equal else f'DIFFER: {digests}')
    return 0 if is_equal else 1


def command(arguments):
    """Runs one of the project's scripts. Raises UserError if it fails."""
    status = begin(arguments).wait()
    if status:
        raise UserError(f'{" ".join(arguments[1:3])} ended with status {status}; the log tells why')


def begin(arguments):
    """Starts one of the project's scripts, which ends with this process."""
    return subprocess.Popen(arguments, cwd=ROOT, stdout=sys.stderr, preexec_fn=machine.ends_with_parent(signal.SIGKILL))


def main(argv=None):
    """Runs the part that the first argument names."""
    parser = Parser(description=__doc__)
    subparsers = parser.add_subparsers(dest='part')
    subparsers.required = True
    for part in (devices, doctor, golden, step, phases, reader, features, demo, twice):
        subparser = subparsers.add_parser(part.__name__)
        subparser.set_defaults(run=part)
        subparser.add_argument('--device', default='gpu')
        subparser.add_argument('--out', required=True)
        subparser.add_argument('--small', action='store_true')
    of_step = subparsers.choices['step']
    of_step.add_argument('resolution', type=int)
    of_step.add_argument('--dtype', default='float32')
    of_step.add_argument('--layout')
    of_step.add_argument('--deterministic', action='store_true')
    of_step.add_argument('--own-gradients', action='store_true')
    of_step.add_argument('--fixed', action='store_true')
    subparsers.choices['phases'].add_argument('config')
    args = parser.parse_args(argv)
    return args.run(args)


if __name__ == '__main__':
    run_main(main)
