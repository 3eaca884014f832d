"""The processes that share one training: which of them this is, where the others are, and how they are started.

Whoever starts them says so in the environment: `python -m dnnlib.tflib.launch` by variables of its own, `mpirun` and
`srun` by theirs. A process that nobody started with others is alone. TensorFlow is not imported here;
`dnnlib.tflib.collectives` adds numbers up over all of them.
"""

import collections
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time

from dnnlib import machine
from dnnlib.errors import UserError

RANK, ADDRESSES, PORT, HOSTS = 'STYLEGAN_RANK', 'STYLEGAN_ADDRESSES', 'STYLEGAN_PORT', 'STYLEGAN_HOSTS'
FIRST_PORT = 41000      # Of the ports that processes listen at, where nothing says otherwise.

World = collections.namedtuple('World', ['rank', 'size', 'addresses'])
World.__doc__ = """The processes of this training.

Fields:
    rank: the number of this one, from 0.
    size: how many there are.
    addresses: host:port of each, in order; () for a process that is alone.
"""

_ALONE = World(0, 1, ())
_found = []


def world():
    """The World, as the environment of this process tells it. Raises UserError where that is no sense."""
    if not _found:
        _found.append(read_world(os.environ))
    return _found[0]


def is_first():
    """Whether this process is the one that writes: the first of several, or alone."""
    return world().rank == 0


def here(num_devices):
    """How many of the devices of the whole training are this process's. Raises UserError if they cannot be shared."""
    size = world().size
    if num_devices % size:
        raise UserError(f'{num_devices} device(s) cannot be shared equally by {size} processes; give --num-gpus, the '
                        'number for each process, or start another number of them')
    return num_devices // size


def cores_here():
    """The usable processor cores for each process on this host, at least 1."""
    names = [address.rpartition(':')[0] for address in world().addresses]
    beside = names.count(names[world().rank]) if names else 1
    cores = machine.usable_cores()
    # Launchers that bind processes to cores have divided them already; ours does not.
    bound = cores < (os.cpu_count() or 1) and not os.environ.get(ADDRESSES)
    return cores if bound else max(cores // beside, 1)


def claim_gpus(num_devices):
    """Leaves this process its own GPUs of this host, where it can see more than it takes. Before TensorFlow starts."""
    me = world()
    if me.size == 1:
        return
    names = [address.rpartition(':')[0] for address in me.addresses]
    number, each = names[:me.rank].count(names[me.rank]), here(num_devices)
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    gpus = [gpu['index'] for gpu in machine.nvidia_gpus(['index'])] if visible is None else visible.split(',')
    if len(gpus) >= (number + 1) * each and len(gpus) > each:
        os.environ['CUDA_VISIBLE_DEVICES'] = ','.join(gpus[number * each:(number + 1) * each])


def read_world(environ):
    """The World that environment variables describe; see `world`.

    Raises UserError for variables that do not fit each other.
    """
    if environ.get(ADDRESSES):
        addresses = tuple(environ[ADDRESSES].split(','))
        for address in addresses:
            if not re.match(r'[^:]+:\d{1,5}\Z', address):
                raise UserError(f"the environment variable {ADDRESSES} has '{address[:60]}' among its addresses; "
                                'host:port is expected')
        rank = _rank(environ, RANK, len(addresses))
        return World(rank, len(addresses), addresses) if len(addresses) > 1 else _ALONE
    for rank, size in (('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'),
                       ('PMI_RANK', 'PMI_SIZE')):
        if rank in environ and size in environ:
            size = _number(environ, size)
            rank = _rank(environ, rank, size)
            return World(rank, size, _addresses(environ, size)) if size > 1 else _ALONE
    return _ALONE


def _number(environ, name):
    text = environ.get(name, '')
    if not re.match(r'\d{1,6}\Z', text):
        raise UserError(f"the environment variable {name} is '{text[:40]}'; a whole number is expected from whatever "
                        'starts several processes')
    return int(text)


def _rank(environ, name, size):
    rank = _number(environ, name)
    if rank >= size:
        raise UserError(f'the environment variable {name} is {rank}, but there are {size} processes, numbered from 0')
    return rank


def _addresses(environ, size):
    """host:port of all processes that a launcher of others started: equally many on each host, in the hosts' order."""
    hosts = parse_hosts(environ[HOSTS], HOSTS) if environ.get(HOSTS) else _hosts_of_launcher(environ, size)
    if size % len(hosts):
        raise UserError(f'{size} processes on {len(hosts)} hosts are not equally many on each; start as many on each')
    each = size // len(hosts)
    port = _number(environ, PORT) if environ.get(PORT) else FIRST_PORT
    check_port(port, each, f'the environment variable {PORT}')
    return tuple(f'{host}:{port + number}' for host in hosts for number in range(each))


def parse_hosts(text, where):
    """The host names in a text, with commas between them. `where` names the text in the UserError for others."""
    hosts = [host.strip() for host in text.split(',')]
    odd = [host for host in hosts if not re.match(r'\w[\w.-]*\Z', host)]
    if odd:
        raise UserError(f"{where} {text[:200]}: '{odd[0][:60]}' is no host name; names with commas between them are "
                        'expected, without ports, slots and users, since each host gets equally many processes')
    if len(set(hosts)) < len(hosts):
        raise UserError(f'{where} {text[:200]}: different host names are expected, each of which gets equally many '
                        'processes')
    return hosts


def check_port(port, each, where):
    """Raises UserError unless `each` processes of a host, and the first one's watch, can listen from this port on."""
    if not 1024 <= port <= 65535 - each:
        raise UserError(f'{where} is {port}: a port from 1024 to {65535 - each} is expected, since each process of a '
                        'host takes one, and the first of all another')


def _hosts_of_launcher(environ, size):
    local = environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') or environ.get('MPI_LOCALNRANKS')
    if local == str(size) or environ.get('SLURM_STEP_NUM_NODES') == '1':
        return ['localhost']
    if environ.get('SLURM_STEP_NODELIST'):
        listed = machine.output_of(['scontrol', 'show', 'hostnames', environ['SLURM_STEP_NODELIST']], timeout=30)
        if listed:
            return listed.split()
    raise UserError(f'{size} processes were started on several hosts and nothing tells which; name them in their '
                    f'order, with commas, in the environment variable {HOSTS}')


def wait_for_others(seconds=300):
    """Returns when every process of the World listens at its address. Raises UserError naming those that do not."""
    deadline = time.monotonic() + seconds
    missing = list(enumerate(world().addresses))
    while missing:
        missing = [(rank, address) for rank, address in missing if not _listens(address)]
        if missing and time.monotonic() > deadline:
            raise UserError(f'process {missing[0][0]} of {world().size} did not come up at {missing[0][1]} within '
                            f'{seconds:g} seconds; look at what it printed, and at the firewall between the hosts')
        if missing:
            time.sleep(0.2)


def _listens(address):
    host, _, port = address.rpartition(':')
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def free_port():
    """A TCP port of this machine that nobody listens at now; see `free_ports`."""
    return free_ports(1)[0]


def free_ports(count):
    """Different TCP ports of this machine that nobody listens at now.

    They are below those that systems give to connections which they open, so that none of these takes one before the
    process for which it is meant is up. Raises UserError if there are not so many.
    """
    found = []
    for port in random.Random().sample(range(10240, 32768), 32768 - 10240):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(('', port))
            found.append(port)
        if len(found) == count:
            return found
    raise UserError(f'this machine has no {count} free ports')


class Started:
    """One process of several, on this machine or over ssh on `host`, in a session of its own."""

    def __init__(self, command, environ, host=None):
        self._is_remote = host is not None
        if self._is_remote:
            words = ['env'] + [f'{key}={value}' for key, value in sorted(environ.items())] + list(command)
            command = ['ssh', '-tt', host, 'cd', _quoted(os.getcwd()), '&&', 'exec'] + [_quoted(word) for word in words]
            environ = {}
        self.process = subprocess.Popen(command, env=dict(os.environ, **environ), start_new_session=True,
                                        stdin=subprocess.PIPE if self._is_remote else subprocess.DEVNULL,
                                        preexec_fn=machine.ends_with_parent(signal.SIGTERM))

    def is_running(self):
        """Whether it has not ended."""
        return self.process.poll() is None

    def stop(self):
        """Asks it to stop. Over ssh no signal travels, but what is typed does."""
        try:
            if self._is_remote:
                self.process.stdin.write(b'\x03')
                self.process.stdin.flush()
            else:
                self.process.send_signal(signal.SIGTERM)
        except OSError:     # it ended meanwhile
            pass

    def kill(self):
        """Ends it at once. Of a process over ssh the terminal goes, which ends it too."""
        if self.is_running():
            self.process.kill()


def _quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"
