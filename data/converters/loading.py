"""From sources to records: reading and encoding in worker processes, in the order of the data set."""

import itertools

import numpy as np

from data.cluster.parts import fill
from data.converters import exporter
from data.images import BadImage, to_array
from data.workers import ordered_fill
from dnnlib.machine import usable_cores

SHUFFLE_SEED = 123
_CHUNK_BYTES, _CHUNK_IMAGES = 2 << 20, 256
_BATCH_BYTES = 1 << 20   # of images that are encoded together, which a processor's own cache holds from loading on
# On a cluster, where it takes some 8 ms of processor time to hand a piece over: many chunks make a piece. Towards the
# end pieces become smaller, lest some workers wait for the rest.
_PIECE_BYTES, _PIECE_IMAGES = 24 << 20, 4096
_LAST_PIECES = 2        # of each worker, that become smaller
_LARGEST_OVER_SMALLEST = 8
_SERIAL = 64  # so few images are done before worker processes have started


def shuffled_order(count):
    """The order in which the converters write `count` source images, int64 [count]."""
    order = np.arange(count)
    np.random.RandomState(SHUFFLE_SEED).shuffle(order)
    return order


class Loader:
    """Reads single images and encodes them by the chunk; runs in the worker processes.

    expected: [C, H, W] of every image. A subclass defines `load(source)`, which returns uint8 [C, H, W] or raises
    BadImage.
    """

    def __init__(self, expected):
        self.expected = [int(size) for size in expected]
        self._arrays = None

    def load(self, source):
        """One image as uint8 [C, H, W]."""
        raise NotImplementedError

    def check(self, image):
        """A Pillow image as an array, if it is what is expected; else raises BadImage."""
        channels = len(image.getbands())
        height, width = self.expected[1:]
        if image.size != (width, height):
            raise BadImage(f'is {image.size[0]}x{image.size[1]} where {width}x{height} is expected')
        if channels != self.expected[0]:
            kinds = {1: 'grey', 3: 'RGB'}
            raise BadImage(f'is {kinds[channels]} where {kinds[self.expected[0]]} is expected')
        return to_array(image)

    def __call__(self, task, memory, attempt=None):
        """`task`: ([(number, source)], whether to encode, into `memory`, as `exporter.encode` does).

        The memory is divided as for all items; of each level the first records are those of the images used.
        attempt: `Attempt` that images are noted in before they are loaded, by their places.
        Returns (digests, None if nothing was encoded, numbers used, [(source, reason)]).
        """
        items, wanted = task
        if self._arrays is None:    # kept, since new memory costs time
            size = int(np.prod(self.expected))
            self._arrays = np.empty([max(1, _BATCH_BYTES // size)] + self.expected, np.uint8)
        used, bad, digests = [], [], []
        waiting = 0     # images that are loaded and not encoded yet
        for place, (number, source) in enumerate(items):
            try:
                if attempt is not None and not attempt.begin(place):
                    raise BadImage('ended every worker process that read it')
                self._arrays[waiting] = self.load(source)
            except BadImage as err:
                bad.append((source, str(err)))
            else:
                used.append(number)
                waiting += 1
            if waiting == len(self._arrays) or waiting and place == len(items) - 1:
                if wanted:
                    digests += exporter.encode(self._arrays[:waiting], memory, len(digests), len(items))[1]
                waiting = 0
        return digests or None, used, bad


class _OnCluster:
    """A `Loader` for workers of a cluster: makes the blocks of a `Part`, and the loader's answer."""

    def __init__(self, loader, room):
        self._loader, self._room = loader, room
        self._memory = None

    def __call__(self, task, attempt, memory):
        if memory is None:
            memory = self._memory = np.empty(self._room, np.uint8) if self._memory is None else self._memory
        answer = self._loader(task, memory, attempt)
        blocks = None
        if answer[0] is not None:
            blocks = exporter.split(memory, self._loader.expected, np.uint8, len(task[0]))
        return blocks, answer


def write_all(out, loader, items, total, workers, progress, skip_bad=True, most=None, cluster=None):
    """Loads all items and writes them to an `Exporter`. Returns (numbers written, [(source, reason)] left out).

    items:    iterable of (number, source); `total`: how many there are.
    skip_bad: go on after an unusable source; else nothing more is written, but all are still checked.
    most:     stop after so many images written.
    cluster:  `Cluster` whose workers do it, in place of processes here.
    """
    used, bad = [], []
    workers = usable_cores() if workers is None else workers
    if total <= _SERIAL:
        workers = 1
    image_bytes = int(np.prod(loader.expected))
    least = count = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // image_bytes))
    if cluster is not None:
        count = max(1, min(_PIECE_IMAGES, _PIECE_BYTES // image_bytes))
        least = max(least, count // _LARGEST_OVER_SMALLEST)
    items = iter(items)

    def tasks():
        left = total
        while True:
            share = count if cluster is None else left // (_LAST_PIECES * cluster.num_workers)
            chunk = list(itertools.islice(items, min(count, max(least, share))))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk, skip_bad or not bad

    room = exporter.forecast_bytes(loader.expected, np.uint8, count)
    if cluster is None:
        results = ordered_fill(loader, tasks(), workers, room)
    else:
        results = fill(cluster, _OnCluster(loader, room), tasks(), out.parts_folder(),
                       lambda task: exporter.forecast_bytes(loader.expected, np.uint8, len(task[0])))
    for (digests, numbers, refused), memory in results:
        tried = len(numbers) + len(refused)
        encoded = None if digests is None else exporter.first(
            (exporter.split(memory, loader.expected, np.uint8, tried), digests), len(numbers), tried)
        bad.extend(refused)
        progress.add(len(numbers) + len(refused))
        if most is not None and len(used) + len(numbers) >= most:
            keep = most - len(used)
            out.add(exporter.first(encoded, keep, len(numbers)))
            return used + numbers[:keep], bad
        used.extend(numbers)
        if encoded is not None and (skip_bad or not bad):
            out.add(encoded)
    return used, bad


def write_arrays(out, images, order):
    """Writes `images`, uint8 [N, C, H, W] (anything that can be indexed), in the given order of their numbers."""
    size = int(np.prod(images.shape[1:]))
    count = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // size))
    for start in range(0, len(order), count):
        part = order[start:start + count]
        out.add(exporter.encode(np.stack([images[int(i)] for i in part])))
        yield len(part)
