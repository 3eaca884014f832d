"""Whether the processes that share a training still live and move, and the end of all when one does not.

A sum over all processes waits for ever for one that died or hangs. So a thread of each tells the first process every
second where its main thread is; the first judges, and a sentence that names the culprit ends all of them. The others
watch the first in the same way. Nothing of this depends on what started the processes, nor on TensorFlow.

The main thread says `moved(place)` wherever it goes on; the processes do so in the same order. What one of them does
for itself and may take long stands within `section(place, seconds)`.
"""

import collections
import contextlib
import json
import os
import secrets
import select
import socket
import statistics
import sys
import threading
import time

from dnnlib.errors import UserError
from dnnlib.submission import processes

STILL = 'STYLEGAN_STILL_SECONDS'    # The environment variable for another limit than STILL_SECONDS.
STILL_SECONDS = 60.0    # A process that does nothing for so long is taken to hang, outside declared sections.
STEPS_WITHOUT_END = 10  # Nor does it hang within so many times the length of a step, if steps are long.
BUILD_SECONDS = 3600.0  # Building a graph, reading data and the first steps may take so long,
WRITE_SECONDS = 1800.0  # and so long whatever is written or drawn,
MEASURE_SECONDS = 48 * 3600.0   # and what is measured.
EXIT_STATUS = 3         # Of a process that ends because of another one.
GRACE_SECONDS = 5.0     # What a process gets to say itself why it ends, before others call it gone.
_LONGEST_LINE = 4096    # bytes

State = collections.namedtuple('State', ['rank', 'host', 'count', 'place', 'age', 'limit', 'silence'])
State.__doc__ = """What is known of a process.

Fields:
    rank, host: which one it is, and where.
    count: how often it moved on.
    place: where it is, in words that follow "while".
    age, limit: seconds since it moved on, and how many there may be.
    silence: seconds since anything was heard of it.
"""

_watch = []     # the Watch of this process, while it is one of several


def still_seconds(environ=None):
    """How long a process may do nothing. Raises UserError where the environment says something else than a number."""
    text = (os.environ if environ is None else environ).get(STILL, '')
    try:
        seconds = float(text or STILL_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86400:
        raise UserError(f"the environment variable {STILL} is '{text[:40]}'; a number of seconds from 1 to 86400 is "
                        'expected')
    return seconds


def find_culprit(states, size, still):
    """A sentence on the process that hangs, by the `State` of each; None while none does."""
    for state in states:
        if state.silence > still:
            return (f'process {state.rank} of {size} on {state.host} has not answered for {state.silence:.0f} seconds, '
                    f'since it was {state.place}')
    # Whoever moved on further waits for those that did not.
    least = min(state.count for state in states)
    last = [state for state in states if state.count == least]
    stuck = [state for state in last if state.age > state.limit]
    if not stuck or any(state.limit / 2 < state.age <= state.limit for state in last):
        return None
    if len(stuck) == size:
        return (f'none of the {size} processes has moved for {stuck[0].age:.0f} seconds, since all were '
                f'{stuck[0].place}; none of them can be told to be the cause')
    who = ', '.join(f'{state.rank} on {state.host}' for state in stuck)
    return (f"process{'es' if len(stuck) > 1 else ''} {who} of {size} did not move for {stuck[0].age:.0f} seconds, "
            f'while {stuck[0].place}')


# ---- What the main thread says

def moved(place):
    """The main thread goes on to `place`, such as 'reading data', where it may not stay for long."""
    if _watch:
        _watch[0].moved(place)


def steps_begin():
    """The first steps, which take longer than others, are over."""
    if _watch:
        _watch[0].is_building = False


@contextlib.contextmanager
def section(place, seconds):
    """Within this context the main thread does what takes up to `seconds` and the other processes may not do."""
    if not _watch:
        yield
        return
    watch = _watch[0]
    before = watch.enter(place, seconds)
    try:
        yield
    finally:
        watch.enter(*before)


def invite():
    """In the first process: begins to listen. Returns a text that `join` of every process needs."""
    return _begin().listen()


def join(invitation):
    """Begins to watch, in every process. Raises UserError where the first one cannot be reached."""
    watch = _watch[0] if _watch else _begin()
    watch.start(*invitation.split())


def wait_for_verdict():
    """Gives the thread the time to end this process with a sentence that names who is gone, which an engine that fails
    sooner does not know. Returns where it has nothing to say."""
    if _watch:
        _watch[0].wait()


def end():
    """This process ends well, or has nothing to share any more: the others do not miss it."""
    if _watch:
        _watch.pop().close()


def _begin():
    _watch[:] = [Watch(processes.world(), still_seconds())]
    return _watch[0]


# ---- The thread beside it

class Watch:
    """One process's part: its own state, its connection to the first or, in the first, those of all others."""

    def __init__(self, world, still):
        self.world, self.still = world, still
        self.interval = min(1.0, still / 8)
        self.is_building = True
        self._count, self._place, self._limit, self._age = 0, 'building', BUILD_SECONDS, 0.0
        self._section = 0.0     # the limit of the section that the main thread is in
        self._moved_at, self._took, self._is_declared = time.monotonic(), {}, True
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = self._server = None

    # ---- By the main thread

    def moved(self, place):
        now = time.monotonic()
        with self._lock:
            if not self._is_declared:
                self._took.setdefault(self._place, collections.deque(maxlen=31)).append(now - self._moved_at)
            self._count += 1
            self._go_to(place, now)

    def enter(self, place, limit):
        """Begins a section, or ends one by going back to what was before. Returns that."""
        with self._lock:
            before = self._place, self._section
            self._section = limit
            self._go_to(place, time.monotonic())
        return before

    def _go_to(self, place, now):
        self._is_declared = self.is_building or self._section > 0
        # By medians, since among the last steps may be one that waited while another process wrote.
        usual = max([statistics.median(seconds) for seconds in self._took.values()] or [0.0])
        limit = max(self.still, STEPS_WITHOUT_END * usual, self._section, BUILD_SECONDS if self.is_building else 0.0)
        self._place, self._limit, self._age, self._moved_at = place, limit, 0.0, now

    def listen(self):
        hosts = [address.rpartition(':') for address in self.world.addresses]
        first_host = hosts[0][0]
        here = '127.0.0.1' if {host for host, _, _ in hosts} == {'localhost'} else ''
        wanted = max(int(port) for host, _, port in hosts if host == first_host) + 1
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._server.bind((here, wanted))
        except (OSError, OverflowError):    # somebody has it: any other
            self._server.bind((here, 0))
        self._server.listen(self.world.size)
        self._token = secrets.token_hex(8)
        return f'{self._server.getsockname()[1]} {self._token}'

    def start(self, port, token):
        self._count = 0     # Until here the first was alone with it.
        if self.world.rank == 0:
            work, args = self._lead, ()
        else:
            host = self.world.addresses[0].rpartition(':')[0]
            try:
                connection = socket.create_connection((host, int(port)), timeout=60)
            except OSError as err:
                raise UserError(f'process {self.world.rank} of {self.world.size} on {socket.gethostname()} cannot '
                                f'reach port {port} of {host} ({err.strerror or err}); open it') from err
            lines = _Lines()
            lines.add(connection)
            self._tell(lines, token, 0.0)   # at once: the first can call gone only whose number it knows
            work, args = self._follow, (lines, token)
        self._thread = threading.Thread(target=work, args=args, name='liveness', daemon=True)
        self._thread.start()

    def wait(self):
        if self._thread is not None and self._thread.is_alive():
            self._done.wait(GRACE_SECONDS + 3 * self.interval)

    def close(self):
        self._done.set()
        if self._thread is not None:
            self._thread.join(10)

    def _state(self, seconds, silence=0.0):
        """The state of this process, `seconds` after the last time. Time in which it was stopped does not count."""
        with self._lock:
            self._age += min(seconds, 2 * self.interval)
            return State(self.world.rank, socket.gethostname(), self._count, self._place, self._age, self._limit,
                         silence)

    # ---- The first process's thread

    def _lead(self):
        lines = _Lines()
        known = {rank: State(rank, address.rpartition(':')[0], 0, 'building', 0.0, BUILD_SECONDS, 0.0)
                 for rank, address in enumerate(self.world.addresses)}
        gone, ranks, before, told = {}, {}, time.monotonic(), 0.0
        while not self._done.is_set():
            heard = lines.wait(self.interval, self._server)
            seconds, before = time.monotonic() - before, time.monotonic()
            known = {rank: state._replace(silence=state.silence + min(seconds, 2 * self.interval))
                     for rank, state in known.items()}
            gone = {rank: left - seconds for rank, left in gone.items()}
            known[0] = self._state(seconds)
            for connection, message in heard:
                if message is None:     # the connection ended
                    if ranks.get(connection) in known:
                        gone[ranks[connection]] = GRACE_SECONDS
                elif message.get('token') != self._token or message.get('rank') not in range(1, self.world.size):
                    lines.drop(connection)
                elif message.get('bye'):
                    known.pop(message['rank'], None)
                else:
                    ranks[connection] = message['rank']
                    with contextlib.suppress(KeyError, TypeError, ValueError):
                        known[message['rank']] = _state_of(message)
            told += seconds
            if told >= self.interval:
                # Not to those that did not say yet who they are: where one dies with something unread, the system
                # forgets what it said, and its end would be that of nobody.
                lines.send({}, ranks)
                told = 0.0
            if gone:    # it says itself why, or is named when its time is over
                sentence = next((f'process {rank} of {self.world.size} on {known[rank].host} is gone'
                                 for rank, left in gone.items() if left <= 0), None)
            else:
                sentence = find_culprit(list(known.values()), self.world.size, self.still)
            if sentence is not None:
                _say_end(sentence)
                lines.send({'end': True})
                time.sleep(self.interval)   # until they have read it
                os._exit(EXIT_STATUS)
        lines.send({'bye': True})
        lines.close()
        self._server.close()

    # ---- The thread of every other

    def _follow(self, lines, token):
        host = self.world.addresses[0].rpartition(':')[0]
        host = socket.gethostname() if host == 'localhost' else host
        first = f'process 0 of {self.world.size} on {host}'
        silence, gone, before, told = 0.0, None, time.monotonic(), 0.0
        while not self._done.is_set():
            heard = lines.wait(self.interval)
            seconds, before = time.monotonic() - before, time.monotonic()
            silence += min(seconds, 2 * self.interval)
            told += seconds
            for _, message in heard:
                silence = 0.0
                if message is None:
                    gone = GRACE_SECONDS
                elif message.get('end'):
                    os._exit(EXIT_STATUS)   # the first process says why
                elif message.get('bye'):
                    lines.close()
                    return
            if gone is not None:
                gone -= seconds
                if gone <= 0:
                    _say_end(f'{first} is gone')
                    os._exit(EXIT_STATUS)
            elif silence > self.still:
                _say_end(f'{first} has not answered for {silence:.0f} seconds')
                os._exit(EXIT_STATUS)   # whatever the main thread waits for
            if told >= self.interval:
                self._tell(lines, token, told)
                told = 0.0
        lines.send({'rank': self.world.rank, 'token': token, 'bye': True})
        lines.close()

    def _tell(self, lines, token, seconds):
        lines.send(dict(self._state(seconds)._asdict(), token=token))


def _state_of(message):
    return State(int(message['rank']), str(message['host']), int(message['count']), str(message['place']),
                 float(message['age']), float(message['limit']), 0.0)


def _say_end(sentence):
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(Exception):    # not even a terminal that is gone keeps it
        print(f'error: {sentence}; ending all. The newest checkpoint is intact: go on with --resume, with any number '
              'of processes', file=sys.stderr, flush=True)


class _Lines:
    """Connections that carry one JSON object a line, both ways."""

    def __init__(self):
        self._buffers = {}  # connection -> bytes that are no whole line yet

    def add(self, connection):
        connection.settimeout(5)
        self._buffers[connection] = b''

    def drop(self, connection):
        if self._buffers.pop(connection, None) is not None:
            connection.close()

    def close(self):
        for connection in list(self._buffers):
            self.drop(connection)

    def send(self, message, connections=None):
        """Sends to all, or to some. Whom it does not reach is found by its silence."""
        data = json.dumps(message).encode() + b'\n'
        for connection in list(self._buffers):
            if connections is not None and connection not in connections:
                continue
            with contextlib.suppress(OSError):
                connection.sendall(data)

    def wait(self, seconds, server=None):
        """[(connection, message), …] that came within that time, the message None where a connection ended."""
        if not self._buffers and server is None:
            time.sleep(seconds)
            return []
        ready = _readable(list(self._buffers) + ([] if server is None else [server]), seconds)
        heard = []
        for connection in ready:
            if connection is server:
                with contextlib.suppress(OSError):
                    self.add(server.accept()[0])
                continue
            try:
                data = connection.recv(1 << 16)
            except OSError:
                data = b''
            *whole, rest = (self._buffers[connection] + data).split(b'\n')
            self._buffers[connection] = rest
            for line in whole:
                with contextlib.suppress(ValueError):
                    message = json.loads(line.decode('utf-8', 'replace'))
                    heard += [(connection, message)] if isinstance(message, dict) else []
            if not data or len(rest) > _LONGEST_LINE:
                self.drop(connection)
                heard.append((connection, None))
        return heard


def _readable(connections, seconds):
    """Those of some sockets that can be read, waiting up to `seconds` for one. Any number of them, unlike `select`."""
    poll = select.poll()
    by_number = {connection.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(int(seconds * 1000))]
