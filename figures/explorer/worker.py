"""One thread that runs the model: what is asked for waits in a queue with a limit, and what is stale leaves it."""

import collections
import threading

MOST_WAITING = 32


class Busy(Exception):
    """The queue is full."""


class Stale(Exception):
    """A newer request of the same client took this one's place."""


class Job:
    """Something to be done, and what came of it."""

    def __init__(self, function, client):
        self.function, self.client = function, client
        self._done = threading.Event()
        self._result = self._error = None

    def finish(self, result=None, error=None):
        """Ends the wait for it."""
        self._result, self._error = result, error
        self._done.set()

    def wait(self):
        """What the function returned; raises what it raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


class Worker:
    """Runs functions one after the other in a thread of its own, within the given contexts.

    Args:
        contexts: functions without arguments that give context managers, such as `session.as_default`: TensorFlow's
            defaults belong to a thread.
        most_waiting: jobs that may wait.
    """

    def __init__(self, contexts=(), most_waiting=MOST_WAITING):
        self._contexts = contexts
        self._most_waiting = most_waiting
        self._waiting = {True: collections.deque(), False: collections.deque()}     # urgent or not
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Starts the thread. Returns the worker."""
        self._thread.start()
        return self

    def do(self, function, client=None, urgent=True):
        """Waits until the thread has called the function, and returns what it returned.

        Raises Busy where too many wait, Stale where `client` asked again meanwhile, and what the function raises.
        """
        job = Job(function, client)
        with self._changed:
            if client is not None:
                for queue in self._waiting.values():
                    for older in [older for older in queue if older.client == client]:
                        queue.remove(older)
                        older.finish(error=Stale())
            if self._stopped or sum(map(len, self._waiting.values())) >= self._most_waiting:
                raise Busy()
            self._waiting[urgent].append(job)
            self._changed.notify()
        return job.wait()

    def stop(self, timeout):
        """Lets the thread end; returns whether it did within so many seconds. Those who wait get Busy."""
        with self._changed:
            self._stopped = True
            for queue in self._waiting.values():
                while queue:
                    queue.popleft().finish(error=Busy())
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _next(self):
        with self._changed:
            while not self._stopped and not any(self._waiting.values()):
                self._changed.wait()
            return None if self._stopped else self._waiting[bool(self._waiting[True])].popleft()

    def _run(self):
        if self._contexts:
            with self._contexts[0]():
                self._contexts = self._contexts[1:]
                return self._run()
        job = self._next()
        while job is not None:
            try:
                job.finish(job.function())
            except Exception as err:    # it belongs to the one who asked
                job.finish(error=err)
            job = self._next()
