"""Reading ahead in a thread, so that the next minibatch is ready when the network asks for it."""

import collections
import threading


class Prefetcher:
    """Calls `produce()` again and again in a thread and hands out the results in order through `get()`.

    At most `depth` results wait at a time. An exception raised by `produce` ends the thread and is raised by `get()`
    in its turn, after the results before it.
    """

    def __init__(self, produce, depth):
        assert depth >= 1
        self._produce = produce
        self._depth = depth
        self._ready = collections.deque()  # (result, None) or (None, exception)
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name='prefetch', daemon=True)
        self._thread.start()

    def _work(self):
        error = None
        while error is None:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or len(self._ready) < self._depth)
                if self._stopped:
                    return
            result = None
            try:
                result = self._produce()
            except BaseException as err:  # whatever it is, it belongs to whoever asks for the result
                error = err
            with self._changed:
                self._ready.append((result, error))
                self._changed.notify_all()

    def get(self):
        """The next result; waits for it. Raises what `produce` raised, and does so again when called again."""
        result = self.peek()
        with self._changed:
            self._ready.popleft()
            self._changed.notify_all()
        return result

    def peek(self):
        """As `get`, but the result stays the next one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready)
            result, error = self._ready[0]
        if error is not None:
            raise error
        return result

    def close(self):
        """Stops the thread and forgets what waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()
        self._ready.clear()
