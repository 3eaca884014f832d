"""Work spread over the processes of many machines by Dask distributed. Nothing else knows that engine.

The scheduler hands pieces of work to worker processes of one thread each. A piece whose worker is lost goes to another
one, so it must be such that it can be done twice; what it makes goes to a folder that all machines share, and only a
few numbers travel. `docs/clusters.md` says how workers are started.
"""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import pickle
import queue
import re
import tempfile
import time
import traceback
import uuid
import warnings

import numpy as np

from data.cluster import starters
from data.workers import ONE_THREAD, environment
from dnnlib.errors import UserError
from dnnlib.files import list_dir_recursively_with_ignore
from dnnlib.machine import memory_environment, usable_cores

AHEAD = 3             # pieces under way for each worker
CONNECT_SECONDS = 60
REACH_SECONDS = 10    # that a worker is tried to be reached; the engine keeps trying those that are gone
BEAT_SECONDS = 5      # after which a worker says again that it is there; its end is told by its connection
LOST_SECONDS = 20     # without a scheduler until it counts as lost
IDLE_SECONDS = 300    # without a single worker until the work ends
MOST_RETRIES = 100    # of a piece whose every end is noted (see `Attempt`); of others a single one
PORT = 8786

# The engine looks at itself up to a hundred times a second, for a dashboard that nobody here has. Even idle that takes
# 40 ms of each worker's second, and 50 ms of the scheduler's. A worker gets this from what starts it, whose settings
# overrule variables of its environment.
_SETTINGS = {'distributed.worker.profile.interval': '1s', 'distributed.worker.profile.cycle': '10s',
             'distributed.admin.tick.interval': '1s', 'distributed.admin.system-monitor.interval': '10s',
             'distributed.scheduler.work-stealing-interval': '1s',
             'distributed.diagnostics.computations.ignore-modules': ['.*'],  # else each piece has our source text read
             # Else workers get MALLOC_TRIM_THRESHOLD_, which has them give freed memory back and clear new memory. They
             # are told the contrary, by variables since work is done by a thread.
             'distributed.nanny.environ': {}, 'distributed.nanny.pre-spawn-environ': {},
             # Else a worker that was lost, and takes over 15 s to start again, never comes back.
             'distributed.deploy.lost-worker-timeout': '1h'}
_ALIKE = ('python', 'dask', 'distributed', 'msgpack', 'cloudpickle')  # of scheduler, workers and client
_RESULT, _MISTAKE, _FULL, _FAILURE = 'result', 'mistake', 'full', 'failure'


def add_cluster(parser):
    """Adds --cluster and --cluster-file."""
    group = parser.add_argument_group('on many machines')
    group.add_argument('--cluster', metavar='WHERE', help='local, local:N, HOST:PORT of a scheduler, slurm, '
                       'kubernetes, or ssh:HOSTFILE; needs `make setup EXTRAS=cluster`')
    group.add_argument('--cluster-file', metavar='FILE', help='YAML with options of slurm, kubernetes and ssh')


@contextlib.contextmanager
def open_cluster(args):
    """The `Cluster` that parsed options ask for, None if they ask for none. Raises UserError."""
    if getattr(args, 'cluster', None) is None:
        if getattr(args, 'cluster_file', None) is not None:
            raise UserError('--cluster-file goes with --cluster slurm, kubernetes or ssh:HOSTFILE')
        yield None
        return
    with Cluster(args.cluster, args.cluster_file, getattr(args, 'workers', None)) as cluster:
        yield cluster


def _distributed():
    try:
        import dask
        import distributed
        import distributed.scheduler
    except ImportError as err:
        if (err.name or '').partition('.')[0] not in ('distributed', 'dask'):
            raise
        raise UserError('--cluster needs packages that are not installed: `make setup EXTRAS=cluster` adds '
                        'them') from None
    dask.config.set(_SETTINGS)
    dask.config.set({'temporary-directory': tempfile.gettempdir()})  # for workers' own files, else the current folder
    # There is no setting for it. Twice a second would be a hundredth of what two workers and this process can do.
    distributed.scheduler.heartbeat_interval = lambda count: max(BEAT_SECONDS, count / 20)
    logging.getLogger('distributed').setLevel(logging.CRITICAL)
    warnings.filterwarnings('ignore', module='distributed')  # unequal versions are told in a sentence
    return distributed


def _environment():
    """Variables of worker processes."""
    return dict(ONE_THREAD, DASK_LOGGING__DISTRIBUTED='critical', **memory_environment())


class Cluster:
    """A scheduler and its workers. Use as a context manager.

    where: what --cluster says; file: the path of --cluster-file, or None; workers: number of processes of `local`.
    Raises UserError if the extra is missing, nothing answers, or scheduler, workers and this process differ in version.
    """

    def __init__(self, where, file=None, workers=None):
        self._kind, self._detail = _parse(where)
        self.is_local = self._kind == 'local'  # all workers are processes of this machine
        self._options = starters.read_options(self._kind, file)
        self._workers = workers
        self._closing = contextlib.ExitStack()
        self._count, self._counted = 0, 0.0
        self._check_started = lambda: None  # see `starters.started`
        self._client = None
        self.pieces = 0  # done so far

    def __enter__(self):
        distributed = _distributed()
        try:
            scheduler = self._start(distributed)
            try:
                # With a scheduler of ours it shares the event loop: no message has to go from thread to thread.
                self._client = distributed.Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
            except Exception as err:  # whatever another version answers
                raise UserError(f'no scheduler of this version of Dask ({distributed.__version__}) answers at '
                                f'{self._detail}: {" ".join(str(err).split())[:200]}; start one with '
                                '`./reproduce cluster scheduler`') from None
            self._closing.callback(_quietly(self._client.close), timeout=5)
            self._check_versions()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self._closing.close()

    def _start(self, distributed):
        """Starts what is to be started. Returns the scheduler, or its address."""
        if self._kind == 'address':
            return f'tcp://{self._detail}'
        import dask
        dask.config.set({'distributed.scheduler.allowed-failures': 2, 'distributed.comm.timeouts.connect': 30})
        count = (self._detail or self._workers or usable_cores()) if self.is_local else 0
        # What a worker is told once it runs is too late for libraries that read their environment when they are loaded.
        variables = _environment()
        self._closing.enter_context(environment(variables))
        scheduler = distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0,
            host='127.0.0.1' if self.is_local else self._options['host'], env=variables,
            scheduler_port=0 if self.is_local else self._options['port'], silence_logs=logging.CRITICAL)
        self._closing.callback(_quietly(scheduler.close), timeout=10)
        # That was for the start. A result that is fetched from a worker that was just lost would be waited for so long.
        dask.config.set({'distributed.comm.timeouts.connect': REACH_SECONDS})
        if not self.is_local:
            self._check_started = self._closing.enter_context(starters.started(
                self._kind, self._detail, self._options, scheduler.scheduler_address.partition('//')[2]))
        return scheduler

    # ---- What scheduler and workers are

    def _wait_for_workers(self):
        deadline = time.time() + IDLE_SECONDS
        while not self._refresh():
            self._check_started()
            if time.time() > deadline:
                raise UserError(f'no worker came within {IDLE_SECONDS} seconds; start some with `./reproduce cluster '
                                'worker HOST:PORT`')
            time.sleep(0.1)

    def _refresh(self):
        """The number of workers, which is asked for every other second."""
        if time.time() - self._counted > 2 or not self._count:
            self._count, self._counted = len(self._client.nthreads()), time.time()
        return self._count

    def _check_versions(self):
        self._wait_for_workers()
        found = self._client.get_versions(check=False)
        ours = dict(found['client']['packages'])
        for who, facts in [('the scheduler', found['scheduler'])] + sorted(found['workers'].items()):
            packages = dict((facts or {}).get('packages', {}))
            who = who if who == 'the scheduler' else f'the worker at {who}'
            for name in _ALIKE:
                theirs, here = (str(versions.get(name, 'unknown')) for versions in (packages, ours))
                if name == 'python':
                    theirs, here = ('.'.join(text.split('.')[:2]) for text in (theirs, here))
                if theirs != here:
                    raise UserError(f'{who} has {name} {theirs}, this process {here}: scheduler, workers and this '
                                    'process must have the same; set all up from one checkout with `make setup '
                                    'EXTRAS=cluster`')
        ours = own_facts()
        try:
            others = self._client.run(own_facts)
        except Exception as err:
            raise UserError(f'the workers cannot import this project ({" ".join(str(err).split())[:120]}); start them '
                            'with `./reproduce cluster worker HOST:PORT` in a checkout of it') from None
        for who, theirs in sorted(others.items()):
            for name, here in ours.items():
                if theirs.get(name) != here:
                    raise UserError(f'the worker at {who} has {name} {theirs.get(name)}, this process {here}: pictures '
                                    'would come out differently; use one checkout and environment for all')

    @property
    def num_workers(self):
        """Number of worker processes, at least 1."""
        return max(self._refresh(), 1)

    def check_folder(self, folder):
        """Raises UserError unless all workers see what this process writes into a folder, as those here do."""
        if self.is_local:
            return
        path = os.path.join(os.path.abspath(folder), f'.probe-{uuid.uuid4().hex}')
        with open(path, 'w'):
            pass
        try:
            blind = sorted(who for who, sees in self._client.run(os.path.exists, path).items() if not sees)
        finally:
            os.unlink(path)
        if blind:
            raise UserError(f"the worker at {blind[0]} does not see '{folder}'; source and target must lie on a file "
                            'system that all machines share')

    def run_everywhere(self, function):
        """{worker: what `function()` returns there}."""
        return self._client.run(function)

    # ---- Work

    def map(self, function, tasks, ordered=True, is_noted=False, left=None):
        """Yields `function(task)` for each task, as worker processes anywhere compute it.

        function: a picklable object, loaded once per worker process; it may keep what it needs for the next task.
        ordered: in the order of the tasks; else as they get done. is_noted: the function notes what it is at, and
        gives up what kills its process too often, so that a piece is tried again however often its worker dies.
        left: goes with a function that has a method `leave(task, answer)`, which puts its answer, bytes, where this
        process can find it; `left(task)` finds it. To fetch an answer from its worker takes a third of what a piece
        costs; that is done where either returns None.

        Raises UserError as the function raised it; RuntimeError with the worker's traceback for anything else;
        UserError if the scheduler is lost, all workers are, or no worker has room left on its disk.
        """
        work = _Work(self, function, MOST_RETRIES if is_noted else 1, left or (lambda task: None))
        tasks, waiting, next_number = enumerate(tasks), {}, 0
        more = True
        while True:
            while more and len(work.under_way) + len(waiting) < AHEAD * self.num_workers:
                number, task = next(tasks, (None, None))
                more = number is not None
                if more:
                    work.start(number, task)
            if not work.under_way:
                return
            number, result = work.next()
            self.pieces += 1
            if not ordered:
                yield result
                continue
            waiting[number] = result
            while next_number in waiting:
                yield waiting.pop(next_number)
                next_number += 1

    def is_running(self):
        """Whether the scheduler can be reached."""
        return self._client.status == 'running'

    def others(self, workers):
        """Addresses of the workers that are not among these."""
        return sorted(set(self._client.nthreads()) - workers)

    def submit(self, *args, **options):
        """A future of the engine."""
        return self._client.submit(*args, pure=False, **options)


class _Work:
    """Pieces under way for one `Cluster.map`."""

    def __init__(self, cluster, function, most_retries, left):
        self._cluster, self._most_retries, self._left = cluster, most_retries, left
        self._token = uuid.uuid4().hex[:12]
        self._done = queue.Queue()
        self.under_way = {}  # number → (future, task, how often it was lost)
        self._full = set()   # workers without room on their disks
        # It goes with each piece, and a worker loads it once. A future would be lost with the worker that holds it,
        # which others then try to reach; and the first pieces would wait for it to come to their workers.
        self._function = _Carrier(self._token, pickle.dumps(function, protocol=4))

    def start(self, number, task, losses=0):
        where = {}
        if self._full:
            where = {'workers': self._cluster.others(self._full), 'allow_other_workers': True}
        # As bytes, both ways, since the engine goes through lists and tuples item by item, several times.
        future = self._cluster.submit(_run, self._function, pickle.dumps(task, protocol=4),
                                      key=f'{self._token}-{number}-{uuid.uuid4().hex[:6]}', **where)
        self.under_way[number] = future, task, losses
        future.add_done_callback(lambda future: self._done.put((number, future)))

    def next(self):
        """(number, result) of a piece that got done.

        Raises a mistake's UserError, and one where no worker is left or a piece ended each that tried it.
        """
        idle_since = lost_since = None
        while True:
            try:
                number, future = self._done.get(timeout=1)
            except queue.Empty:
                lost_since = self._check_scheduler(lost_since)
                if lost_since is None:
                    idle_since = self._check_workers(idle_since)
                continue
            if number not in self.under_way or self.under_way[number][0] is not future:
                continue
            _, task, losses = self.under_way.pop(number)
            answer = self._left(task)
            if answer is None and future.status in ('cancelled', 'lost'):
                if not self._cluster.is_running():
                    raise self._lost()
                self.start(number, task, losses)  # its result went with its worker; `Attempt` counts what is guilty
                continue
            try:
                kind, value, worker = pickle.loads(future.result(timeout=60) if answer is None else answer)
            except Exception as err:
                if not self._cluster.is_running():
                    raise self._lost() from None
                if type(err).__name__ not in ('KilledWorker', 'TimeoutError', 'CommClosedError', 'CancelledError'):
                    raise
                if losses + 1 > self._most_retries:
                    raise UserError('a piece of the work ended every worker that tried it; one may have run out of '
                                    'memory: fewer workers for each machine need less') from None
                self.start(number, task, losses + 1)
                continue
            if kind == _RESULT:
                return number, value
            if kind == _FULL:
                if worker not in self._full:
                    print(f'the worker at {worker} is left out: {value}', flush=True)
                self._full.add(worker)
                if not self._cluster.others(self._full):
                    raise UserError(value)
                self.start(number, task, losses)
                continue
            raise UserError(value) if kind == _MISTAKE else RuntimeError('in a worker process:\n' + value)

    @staticmethod
    def _lost():
        return UserError('the scheduler of the cluster was lost; what is done is safe, start it again and repeat the '
                         'command (prefilter: with --resume)')

    def _check_scheduler(self, since):
        if self._cluster.is_running():
            return None
        since = since or time.time()
        if time.time() - since > LOST_SECONDS:
            raise self._lost()
        return since

    def _check_workers(self, since):
        self._cluster._counted = 0.0
        if self._cluster._refresh():
            return None
        self._cluster._check_started()
        since = since or time.time()
        if time.time() - since > IDLE_SECONDS:
            raise UserError(f'all workers of the cluster are gone, and none came within {IDLE_SECONDS} seconds; what '
                            'is done is safe, repeat the command (prefilter: with --resume)')
        return since


class _Carrier:
    """A pickled function, of a few thousand bytes, on its way to the workers."""

    def __init__(self, token, content):
        self.token, self.content = token, content


_loaded = {}  # token → function, in a worker process


def _run(carrier, task):
    """What a worker process does with a pickled task: pickled (kind, value, its address), None if that was left."""
    import distributed
    worker, task = distributed.get_worker().address, pickle.loads(task)
    kind, value = _try(carrier, task)
    answer = pickle.dumps((kind, value, worker), protocol=4)
    leave = getattr(_loaded.get(carrier.token), 'leave', None) if kind == _RESULT else None
    return answer if leave is None or leave(task, answer) is None else None


def _try(carrier, task):
    """(kind, value)."""
    try:
        if carrier.token not in _loaded:
            _loaded.clear()
            _loaded[carrier.token] = pickle.loads(carrier.content)
        return _RESULT, _loaded[carrier.token](task)
    except UserError as err:
        return _MISTAKE, str(err)
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            return _FULL, f"cannot write{f' to {err.filename!r}' if err.filename else ''}: {err.strerror}"
        return _FAILURE, traceback.format_exc()
    except Exception:
        return _FAILURE, traceback.format_exc()


def own_facts():
    """What decides about pixels in a process, beside the settings: versions, and a hash of this project's data code."""
    import PIL
    digest = hashlib.sha256()
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path, name in sorted(list_dir_recursively_with_ignore(folder, ignores=['__pycache__'])):
        if name.endswith('.py'):
            with open(path, 'rb') as f:
                digest.update(f.read())
    return {'numpy': np.__version__, 'Pillow': PIL.__version__, 'code with the hash': digest.hexdigest()[:12]}


def _quietly(close):
    """A function that closes something that may be gone already."""
    def run(**options):
        with contextlib.suppress(Exception):
            close(**options)
    return run


def _parse(where):
    """(kind, detail) of what --cluster says: local and N or None, address and HOST:PORT, ssh and a file, or a name."""
    kind, _, detail = where.partition(':')
    if where == 'local':
        return 'local', None
    if kind == 'local' and re.match(r'[1-9][0-9]{0,3}\Z', detail):
        return 'local', int(detail)
    if where in ('slurm', 'kubernetes'):
        return where, None
    if kind == 'ssh' and detail:
        return 'ssh', detail
    if re.match(r'[\w.-]+:[0-9]{1,5}\Z', where) and kind not in ('local', 'ssh', 'slurm', 'kubernetes') \
            and 0 < int(detail) < 65536:
        return 'address', where
    raise UserError(f"--cluster: '{where}' is none of local, local:N, HOST:PORT, slurm, kubernetes and ssh:HOSTFILE")


# ---- Schedulers and workers as programs of their own

def serve_scheduler(host, port):
    """Runs a scheduler until it is stopped."""
    distributed = _distributed()

    async def serve():
        async with distributed.Scheduler(host=host or None, port=port, dashboard_address=None) as scheduler:
            print(f'scheduler at {scheduler.address.partition("//")[2]}', flush=True)
            await scheduler.finished()

    _serve(serve(), f'--port {port}')


def serve_workers(address, count):
    """Runs `count` worker processes until the scheduler ends them."""
    distributed = _distributed()
    import dask
    dask.config.set({'distributed.comm.timeouts.connect': CONNECT_SECONDS})
    variables = _environment()
    os.environ.update(variables)

    async def serve():
        nannies = [distributed.Nanny(f'tcp://{address}', nthreads=1, memory_limit=0, env=variables,
                                     dashboard_address=None, death_timeout=2 * CONNECT_SECONDS)
                   for _ in range(count)]
        try:
            await asyncio.gather(*nannies)
            print(f'{count} worker processes for {address}', flush=True)
            await asyncio.gather(*[nanny.finished() for nanny in nannies])
        finally:
            await asyncio.gather(*[nanny.close() for nanny in nannies], return_exceptions=True)

    _serve(serve(), address)


def _serve(coroutine, what):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(coroutine)
    except (OSError, ValueError, RuntimeError) as err:
        raise UserError(f'{what}: {" ".join(str(err).split())[:200]}') from None
