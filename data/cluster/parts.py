"""Records that workers make on their way to the one process that writes a data set: files in a folder that all see."""

import os

import numpy as np

from data.cluster.attempts import Attempt, forget, own_name


class Part:
    """What a worker process does with (number, task).

    make(task, attempt): a picklable object whose call returns (bytes-like blocks or None, any result).
    """

    def __init__(self, make, folder):
        self._make, self._folder = make, folder

    def __call__(self, task):
        number, task = task
        path = os.path.join(self._folder, f'{number:09}-{own_name()}.part')
        try:
            with Attempt(self._folder, number) as attempt:
                blocks, result = self._make(task, attempt)
            if blocks is not None:
                with open(path, 'wb') as f:
                    for block in blocks:
                        f.write(block)
        except OSError as err:
            if os.path.exists(path):
                os.unlink(path)
            raise OSError(err.errno, err.strerror, self._folder) from err
        return number, path if blocks is not None else None, result


def fill(cluster, make, tasks, folder):
    """Yields (result, uint8 [bytes] of the blocks, None without) for each task, in order; see `Part`."""
    folder = os.path.abspath(folder)
    cluster.check_folder(folder)
    for number, path, result in cluster.map(Part(make, folder), enumerate(tasks), is_noted=True):
        memory = None
        if path is not None:
            memory = np.fromfile(path, np.uint8)
            os.unlink(path)
        forget(folder, number)
        yield result, memory
