"""One measurement, shared by the processes of a training: each computes some of the samples, all get the results.

All processes run the same metric. That none waits for one that left it, since it failed or was asked to stop there
alone, is what their messages are for: all have one form, whatever a process is at.
"""

import os
import sys

from dnnlib.submission import processes
from dnnlib.tflib import collectives
from dnnlib.util import StopRequested


class MetricFailure(Exception):
    """A metric that cannot be computed on this network or data: a sentence for the record and the table."""


class OthersFailed(MetricFailure):
    """Another process could not compute its share."""


class Alone:
    """The whole of a measurement."""

    number, size = 0, 1

    def stream(self):
        """Where progress is shown."""
        return sys.stderr

    def gather(self, results):
        """The outputs [array, …] of each chunk of this round, in the chunks' order, from those of this process."""
        return results

    def count(self, is_so):
        """In how many processes something is so."""
        return int(is_so)

    def finish(self, stops=False):
        """Waits until all processes are through with something. Raises StopRequested if any was asked to stop."""
        if stops:
            raise StopRequested


class Share(Alone):
    """The part of one of several processes."""

    def __init__(self):
        self.number, self.size = processes.world().rank, processes.world().size
        self._nowhere = None

    def stream(self):
        if self.number == 0:
            return sys.stderr
        self._nowhere = self._nowhere or open(os.devnull, 'w')
        return self._nowhere

    def gather(self, results):
        self.count(False)
        flat = [array for outputs in results for array in outputs]
        parts = [iter(arrays) for arrays in collectives.gather(flat)]
        return [[next(part) for _ in outputs] for part in parts for outputs in results]

    def count(self, is_so):
        finished, stops, count = collectives.total([0, 0, is_so])
        if stops:
            raise StopRequested
        if finished:
            raise OthersFailed('another process of the training could not compute its share, see what it printed')
        return int(count)

    def finish(self, stops=False):
        finished = 0
        while finished < self.size:     # the others meet this message wherever they are, and come here, too
            finished, others, _ = collectives.total([1, stops, 0])
            stops = stops or others > 0
        if stops:
            raise StopRequested

    def close(self):
        """Closes what was opened."""
        if self._nowhere is not None:
            self._nowhere.close()
