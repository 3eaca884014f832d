"""Pictures per second of the explorer's server, of videos' frames, and of a projection, beside the bare network's.

    ./reproduce shell python benchmarks/bench_explorer.py [--network RUN] [--images 30]

Without a network, one of 256x256 with random weights is made. The client always has one request waiting; the rounds
take turns, so that what else the machine does strikes all alike. A projection's step is compared with one forward and
backward pass of the same graph, measured alone.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)


import check_python  # noqa: E402, F401

# isort: split
import numpy as np  # noqa: E402

from dnnlib import tflib  # noqa: E402
from dnnlib.tflib import tf  # noqa: E402
from figures import generator  # noqa: E402
from figures.explorer import render, server, worker  # noqa: E402
from figures.projection import graph, optimising, schedule  # noqa: E402
from figures.videos import kinds, writer  # noqa: E402
from metrics.networks import distances  # noqa: E402
from training.network_files import locate  # noqa: E402

ROUNDS = 3


def make_server(gen):
    """(address, function that ends it) of a server like the explorer's."""
    from werkzeug import serving
    model = worker.Worker([tf.get_default_graph().as_default, tf.get_default_session().as_default]).start()
    facts = dict(network='bench', file='', engine='', device='', sha256=None)
    sock_server = serving.make_server('127.0.0.1', 0, None, threaded=True, request_handler=_Quiet)
    hosts = {f'127.0.0.1:{sock_server.server_port}'}
    sock_server.app = server.make_app(render.Renderer(gen, _Facts(facts)), model, 'token', hosts)
    threading.Thread(target=sock_server.serve_forever, daemon=True).start()
    def end():
        sock_server.shutdown()
        model.stop(5)
    return f'http://127.0.0.1:{sock_server.server_port}/image?token=token', end


class _Facts(dict):
    __getattr__ = dict.__getitem__


def _Quiet(*args):
    from werkzeug import serving

    class Handler(serving.WSGIRequestHandler):
        def log_request(self, *_args):
            pass
    return Handler(*args)


def served(address, count):
    """Pictures per second for a client that always has one request waiting."""
    numbers = iter(range(count))
    lock = threading.Lock()

    def ask():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            with urllib.request.urlopen(f'{address}&seed={number}') as answer:
                answer.read()
    threads = [threading.Thread(target=ask) for _ in range(2)]
    began = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.time() - began)


def bare(gen, count):
    """Images per second of `Gs.run`, one at a time."""
    transform = dict(func=tflib.convert_images_to_uint8, nchw_to_nhwc=True)
    kwargs = dict(randomize_noise=False, output_transform=transform, truncation_psi=0.7)
    gen.network.run(gen.latents(0), None, **kwargs)
    began = time.time()
    for seed in range(count):
        gen.network.run(gen.latents(seed), None, **kwargs)
    return count / (time.time() - began)


def filmed(gen, count):
    """Frames per second of a video, with its encoder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        writer.write(os.path.join(folder, 'a.mp4'), kinds.frames('interpolation', gen, [1, 2], count), 25)
        return count / (time.time() - began)


def with_processor_time(function, count):
    """(what `function(count)` returns, seconds of processor time for each of `count`, those of the encoder included).

    On a machine that has other work, this says more than the rates.
    """
    before = os.times()
    rate = function(count)
    return rate, sum(now - then for now, then in zip(os.times()[:4], before[:4])) / count


def projected(gen, distance, steps):
    """(seconds of a projection's step, seconds of a forward and backward pass of its graph)."""
    settings = schedule.settings_of('w', steps)
    projector = graph.build(gen, distance, 1, settings)
    mean = gen.dlatent_avg
    target = np.full(projector.target.shape.as_list(), 127.5, np.float32)
    graph.reset(projector, gen, mean, target, None)
    feed = {projector.latent_noise: np.zeros(projector.dlatents.shape.as_list()), projector.rate: 0.01}
    passes = tf.gradients(tf.reduce_sum(projector.losses), [projector.dlatents] + projector.noises)
    seconds = {}
    for _ in range(2):      # the first time is for warming up
        for name, fetched in (('pass', [projector.distances] + passes),
                              ('step', [projector.distances, projector.step])):
            began = time.time()
            for step in range(steps):
                if name == 'step':
                    feed[projector.latent_noise] = schedule.draw_latent_noise(
                        settings, step, projector.dlatents.shape.as_list())
                tflib.run(fetched, feed)
            seconds[name] = (time.time() - began) / steps
    return seconds['step'], seconds['pass']


def main():
    """Prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--network', metavar='RUN', help='run, file or name (default: random weights at 256x256)')
    parser.add_argument('--images', type=int, default=30, metavar='INT', help='per round (default: 30)')
    parser.add_argument('--no-projection', action='store_true', help='leave out projection, whose graph takes longest')
    args = parser.parse_args()
    tflib.init_tf()
    if args.network:
        network = locate.load_generator(args.network)
    else:
        network = tflib.Network('Gs', 'training.networks_stylegan.G_style', num_channels=3, resolution=256)
    gen = generator.Generator(network, minibatch=1, progress=False)
    address, end = make_server(gen)
    served(address, 2)
    filmed(gen, 2)
    print(f'{gen.resolution}x{gen.resolution}, {tflib.device_kind()}, one image at a time, {args.images} images a turn',
          flush=True)
    rounds = []
    for _ in range(ROUNDS):
        rounds.append([with_processor_time(function, args.images) for function in (
            lambda count: served(address, count), lambda count: filmed(gen, count), lambda count: bare(gen, count))])
        print('; '.join(f'{name} {rate:.2f} images/s, {1000 * used:.0f} ms of processor time each'
                        for name, (rate, used) in zip(('page', 'video', 'Gs.run'), rounds[-1])), flush=True)
    end()
    rounds = np.array(rounds)
    for name, place in (('page', 0), ('video', 1)):
        rate, used = np.median(rounds[:, place] / rounds[:, 2], axis=0)
        print(f'{name:<6} {rate:.2f} of the rate of Gs.run, {1 / used:.2f} by processor time, median of {ROUNDS}')
    if args.no_projection:
        return
    step, passes = projected(gen, distances.pyramid, max(args.images // 3, 5))
    print(f'projection {1000 * step:.0f} ms a step, {step / passes:.2f} of a forward and backward pass '
          f'({optimising.STEPS_BETWEEN_STATES} steps between states)')


if __name__ == '__main__':
    main()
