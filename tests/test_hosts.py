"""Two hosts, as two network name spaces with host names of their own: trainings over them, for real.

Needs root and what makes name spaces; the launcher's test also ssh's server, that of Open MPI `mpirun`.
"""

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from processes_helpers import LAUNCH, ROOT, newest_checkpoint, run, training_words

from dnnlib.submission import read_environment

pytestmark = pytest.mark.slow

NAMES = ('hosta', 'hostb')
# Host name, and names of the others, are this process's alone, and end with it.
ENTER = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'
SERVER = '''
HostKey {folder}/key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
'''


class Hosts:
    """Two hosts that end with the context; `folder` holds what they need."""

    def __init__(self, folder):
        self._folder = folder
        self._spaces = {name: f'stylegan-{os.getpid()}-{name}' for name in NAMES}

    def __enter__(self):
        cables = [f'sg{os.getpid()}{name[-1]}' for name in NAMES]
        (self._folder / 'hosts').write_text('127.0.0.1 localhost\n' + ''.join(
            f'10.77.0.{number} {name}\n' for number, name in enumerate(NAMES, 1)))
        try:
            for space in self._spaces.values():
                _ip('netns', 'add', space)
            first, second = self._spaces.values()
            _ip('link', 'add', cables[0], 'netns', first, 'type', 'veth', 'peer', 'name', cables[1], 'netns', second)
            for number, (space, cable) in enumerate(zip(self._spaces.values(), cables), 1):
                _ip('-n', space, 'addr', 'add', f'10.77.0.{number}/24', 'dev', cable)
                _ip('-n', space, 'link', 'set', cable, 'up')
                _ip('-n', space, 'link', 'set', 'lo', 'up')
        except (OSError, subprocess.CalledProcessError) as err:
            self.__exit__()
            pytest.skip(f'no network name spaces can be made here: {err}')
        return self

    def __exit__(self, *exc):
        for space in self._spaces.values():
            with contextlib.suppress(OSError):
                subprocess.run(['ip', 'netns', 'del', space], stderr=subprocess.DEVNULL)

    def start(self, name, words, **environ):
        """A process on a host; its output is to be read."""
        return subprocess.Popen(
            ['ip', 'netns', 'exec', self._spaces[name], 'unshare', '-um', 'sh', '-c', ENTER, name,
             str(self._folder / 'hosts')] + [str(word) for word in words], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, universal_newlines=True,
            env=dict(os.environ, PATH=f'{self._folder}:{os.environ["PATH"]}', **environ))


def _ip(*words):
    subprocess.run(['ip'] + list(words), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.fixture
def hosts(tmp_path):
    if os.geteuid() or not all(shutil.which(name) for name in ('ip', 'unshare', 'hostname')):
        pytest.skip('network name spaces need root, ip, unshare and hostname')
    folder = tmp_path / 'hosts'
    folder.mkdir()
    _program(folder / 'scontrol', '[ "$*" = "show hostnames host[a-b]" ] && echo hosta && echo hostb')
    with Hosts(folder) as found:
        yield found


@pytest.fixture
def ssh(hosts, tmp_path):
    """Servers on both hosts; returns the program that reaches them without asking."""
    if not all(os.path.exists(path) for path in ('/usr/sbin/sshd', '/usr/bin/ssh')):
        pytest.skip('needs openssh-server')
    folder = tmp_path / 'hosts'
    subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', str(folder / 'key')], check=True)
    (folder / 'sshd').write_text(SERVER.format(folder=folder))
    _program(folder / 'ssh', f'exec /usr/bin/ssh -i {folder}/key -o StrictHostKeyChecking=no -o LogLevel=ERROR '
             '-o UserKnownHostsFile=/dev/null "$@"')
    command = f'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -f {folder}/sshd'
    servers = [hosts.start(name, ['sh', '-c', command]) for name in NAMES]
    try:
        yield str(folder / 'ssh')
    finally:
        for server in servers:
            _end(server)


def _program(path, text):
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)


def _end(process):
    process.kill()
    process.communicate()


def _read_until(process, words):
    said = ''
    for line in process.stdout:
        said += line
        if line.startswith(words):
            return said
    raise AssertionError(said)


def _by_hand(hosts, folder):
    """Two processes as `srun` starts them on two nodes, in their order."""
    return [hosts.start(name, [sys.executable] + training_words(folder, 1000), SLURM_PROCID=str(rank),
                        SLURM_STEP_NUM_TASKS='2', SLURM_STEP_NUM_NODES='2', SLURM_STEP_NODELIST='host[a-b]')
            for rank, name in enumerate(NAMES)]


@pytest.mark.parametrize('rank', [0, 1])
def test_a_signal_to_the_process_of_either_host_stops_both_as_two_towers_would(rank, hosts, tmp_path):
    folder = str(tmp_path)
    started = _by_hand(hosts, folder)
    try:
        said = _read_until(started[0], 'tick 2 ')
        started[rank].send_signal(signal.SIGTERM)
        rest = [process.communicate(timeout=120)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0], (said, rest)
        assert 'Training on 2 CPU device(s) of 2 processes' in said and 'Training stopped' in rest[0], (said, rest)
    finally:
        for process in started:
            _end(process)
    environment, = read_environment(glob.glob(os.path.join(folder, 'run', '*'))[0])
    assert environment['hosts'] == list(NAMES)
    state, arrays = newest_checkpoint(folder)
    length = (state['progress']['cur_nimg'] - 0.5) / 1000
    result = run([sys.executable] + training_words(folder, length, 'towers') + ['--num-gpus', '2'])
    assert result.returncode == 0, result.stdout
    assert newest_checkpoint(folder, 'towers')[1] == arrays


@pytest.mark.parametrize('rank', [0, 1])
def test_a_process_that_is_killed_ends_that_of_the_other_host_and_one_goes_on_alone(rank, hosts, tmp_path):
    folder = str(tmp_path)
    started = _by_hand(hosts, folder)
    try:
        _read_until(started[0], 'tick 2 ')
        began = time.monotonic()
        started[rank].kill()
        rest = started[1 - rank].communicate(timeout=120)[0]
        assert time.monotonic() - began < 60
        assert f'process {rank} of 2 on {NAMES[rank]} is gone' in rest and 'Traceback' not in rest, rest
        assert started[1 - rank].returncode not in (0, None)
    finally:
        for process in started:
            _end(process)
    run_dir, = glob.glob(os.path.join(folder, 'run', '*'))
    nimg = newest_checkpoint(folder)[0]['progress']['cur_nimg']
    result = run([sys.executable, 'train.py', '--resume', run_dir, '--device', 'cpu', '--num-gpus', '1', '--set',
                  f'train.total_kimg={nimg / 1000 + 0.1}'])
    assert result.returncode == 0 and 'Training finished' in result.stdout, result.stdout


def test_the_launcher_starts_them_by_ssh_and_its_signal_stops_both(ssh, hosts, tmp_path):
    folder = str(tmp_path)
    launcher = hosts.start('hosta', LAUNCH + ['-np', '2', '--hosts', ','.join(NAMES)] + training_words(folder, 1000))
    try:
        said = _read_until(launcher, 'tick 2 ')
        for _ in range(2):
            launcher.send_signal(signal.SIGTERM)
        rest = launcher.communicate(timeout=120)[0]
        assert launcher.returncode == 0 and 'Training stopped' in rest, (said, rest)
    finally:
        launcher.terminate()
        _end(launcher)
    assert newest_checkpoint(folder)[0]['processes'] == 2


def test_mpirun_starts_them_and_its_signal_stops_both(ssh, hosts, tmp_path):
    if not shutil.which('mpirun'):
        pytest.skip('needs Open MPI')
    folder = str(tmp_path)
    launcher = hosts.start('hosta', [
        'mpirun', '--allow-run-as-root', '-np', '2', '--host', 'hosta:1,hostb:1', '--bind-to', 'none', '--mca',
        'plm_rsh_agent', ssh, '--mca', 'odls_base_sigkill_timeout', '5', '-x', 'STYLEGAN_HOSTS=hosta,hostb',
        sys.executable] + training_words(folder, 1000))
    try:
        said = _read_until(launcher, 'tick 2 ')
        launcher.send_signal(signal.SIGTERM)
        rest = launcher.communicate(timeout=120)[0]
        assert 'Training stopped' in rest and 'Traceback' not in rest, (said, rest)
    finally:
        launcher.terminate()
        _end(launcher)
    assert newest_checkpoint(folder)[0]['processes'] == 2
