"""Pictures per second of the explorer's server, of videos' frames, and of a projection, beside the bare network's.

    ./reproduce shell python benchmarks/bench_explorer.py [--network RUN] [--turns 9] [--images 6]

Without a network, one of 256x256 with random weights is made. The server is the explorer's own; its client is another
process on the same cores, and always has one request waiting while another is answered. One video is written from the
first turn to the last, its encoder's start and end included. Turns are short and alternate, so that what else the
machine does strikes all alike. A projection's step is compared with one forward and backward pass of the same graph,
measured alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)


import check_python  # noqa: E402, F401

# isort: split
import numpy as np  # noqa: E402

from dnnlib import EasyDict, tflib  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.tflib import tf  # noqa: E402
from dnnlib.util import run_main  # noqa: E402
from figures import generator  # noqa: E402
from figures.explorer import render, serving  # noqa: E402
from figures.projection import graph, optimising, schedule  # noqa: E402
from figures.videos import kinds, writer  # noqa: E402
from metrics.networks import distances  # noqa: E402
from training.network_files import locate  # noqa: E402

NAMES = ('page', 'video', 'Gs.run')

# Gets as many pictures as each line that it reads says, over two connections that take turns: while one is answered,
# the other waits. Writes the seconds from the first answer to the last, and its own processor time.
CLIENT = '''
import http.client, itertools, json, sys, threading, time
host, path = sys.argv[1:]
seeds = itertools.count()
connections = [http.client.HTTPConnection(host) for _ in range(2)]

def ask(connection, left, answered):
    while left:
        left.pop()
        connection.request('GET', f'{path}&seed={next(seeds)}')
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read()[1:4] == b'PNG', answer.status
        answered.append(time.time())

for line in sys.stdin:
    used, left, answered = time.process_time(), [None] * int(line), []
    threads = [threading.Thread(target=ask, args=(connection, left, answered)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answered) == int(line)
    print(json.dumps([max(answered) - min(answered), time.process_time() - used]), flush=True)
'''


class Page:
    """The explorer's server with its client."""

    def __init__(self, gen):
        facts = EasyDict(network='bench', path='bench', file='', engine='', device='', sha256=None)
        # The server has a copy of the socket.
        with serving.take_port(0) as sock:
            address, self._end = serving.open_page(sock, render.Renderer(gen, facts))
        host, query = address[len('http://'):].split('/?')
        self._client = subprocess.Popen([sys.executable, '-c', CLIENT, host, '/image?' + query],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True)
        self.client_used = []

    def served(self, count):
        """Seconds, and processor time of this process, per picture of a client that always has a request waiting."""
        before = time.process_time()
        self._client.stdin.write(f'{count + 1}\n')     # between so many answers lie `count` pictures
        self._client.stdin.flush()
        line = self._client.stdout.readline()
        if not line:
            raise SystemExit('the client has ended')
        seconds, used = json.loads(line)
        self.client_used.append(used / (count + 1))
        return seconds / count, (time.process_time() - before) / (count + 1)

    def end(self):
        """Ends both."""
        self._client.stdin.close()
        self._client.wait()
        self._end()


def bare(gen, count):
    """Seconds and processor time per image of `Gs.run`, one at a time."""
    transform = dict(func=tflib.convert_images_to_uint8, nchw_to_nhwc=True)
    began, before = time.time(), time.process_time()
    for seed in range(count):
        gen.network.run(gen.latents(seed), None, randomize_noise=False, output_transform=transform,
                        truncation_psi=0.7)
    return (time.time() - began) / count, (time.process_time() - before) / count


def _clocks():
    return np.array([time.time(), sum(os.times()[:4])])


def taking_turns(gen, page, turns, count):
    """Seconds and processor time per image, [turns, 3, 2], in the order of NAMES.

    The video's first and last turns are longer by its encoder's start and end, the encoder's own processor time is in
    the last one.
    """
    spent = np.zeros([turns, len(NAMES), 2])
    since = _clocks()

    def frames():
        nonlocal since
        for index, images in enumerate(kinds.frames('interpolation', gen, [1, 2], turns * count)):
            yield images
            if index % count == count - 1:
                turn = index // count
                spent[turn, 1] += (_clocks() - since) / count
                order = (0, 2) if turn % 2 else (2, 0)
                for place in order:
                    spent[turn, place] = page.served(count) if place == 0 else bare(gen, count)
                print('; '.join(f'{name} {1 / seconds:.2f} images/s, {1000 * used:.0f} ms of processor time each'
                                for name, (seconds, used) in zip(NAMES, spent[turn])), flush=True)
                since = _clocks()

    with tempfile.TemporaryDirectory() as folder:
        writer.write(os.path.join(folder, 'a.mp4'), frames(), 25)
    spent[-1, 1] += (_clocks() - since) / count
    return spent


def projected(gen, distance, steps):
    """(seconds of a projection's step, seconds of a forward and backward pass of its graph)."""
    settings = schedule.settings_of('w', steps)
    projector = graph.build(gen, distance, 1, settings)
    mean = gen.dlatent_avg
    target = np.full(projector.target.shape.as_list(), 127.5, np.float32)
    graph.reset(projector, gen, mean, target)
    feed = {projector.latent_noise: np.zeros(projector.dlatents.shape.as_list()), projector.rate: 0.01}
    passes = tf.gradients(tf.reduce_sum(projector.losses), [projector.dlatents] + projector.noises)
    fetched = dict(step=[projector.distances, projector.step], alone=[projector.distances] + passes)
    seconds = dict(step=[], alone=[])
    for step in range(steps + 1):       # the first is for warming up
        for name in sorted(fetched, reverse=step % 2 == 0):
            began = time.time()
            if name == 'step':
                feed[projector.latent_noise] = schedule.draw_latent_noise(
                    settings, step, projector.dlatents.shape.as_list())
            tflib.run(fetched[name], feed)
            seconds[name].append(time.time() - began)
    return np.median(seconds['step'][1:]), np.median(seconds['alone'][1:])


def main():
    """Prints the rates."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument('--network', metavar='RUN', help='run, file or name (default: random weights at 256x256)')
    parser.add_argument('--turns', type=int, default=9, metavar='INT', help='of each contender (default: 9)')
    parser.add_argument('--images', type=int, default=6, metavar='INT', help='per turn (default: 6)')
    parser.add_argument('--no-projection', action='store_true', help='leave out projection, whose graph takes longest')
    args = parser.parse_args()
    tflib.init_tf()
    if args.network:
        network = locate.load_generator(args.network)
    else:
        network = tflib.Network('Gs', 'training.networks_stylegan.G_style', num_channels=3, resolution=256)
    gen = generator.Generator(network, minibatch=1, progress=False)
    page = Page(gen)
    page.served(2)
    bare(gen, 2)
    print(f'{gen.resolution}x{gen.resolution}, {tflib.device_kind()}, one image at a time, {args.turns} turns of '
          f'{args.images} images', flush=True)
    spent = taking_turns(gen, page, args.turns, args.images)
    page.end()
    for place, name in enumerate(NAMES[:2]):
        # A video's turns are not alike: its encoder starts in the first and ends in the last.
        summed = spent.mean(axis=0)
        medians = np.median(spent[:, 2] / spent[:, place], axis=0)
        rate, used = summed[2] / summed[place]
        print(f'{name:<6} {rate:.3f} of the rate of Gs.run, {used:.3f} by processor time; medians of turns '
              f'{medians[0]:.3f} and {medians[1]:.3f}')
    print(f'the client took {1000 * np.mean(page.client_used):.1f} ms of processor time a picture')
    if args.no_projection:
        return
    step, alone = projected(gen, distances.pyramid, args.turns)
    print(f'projection {1000 * step:.0f} ms a step, {step / alone:.3f} of a forward and backward pass, medians of '
          f'{args.turns} ({optimising.STEPS_BETWEEN_STATES} steps between states)')


if __name__ == '__main__':
    run_main(main)
