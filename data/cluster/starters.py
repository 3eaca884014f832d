"""What starts worker processes on other machines: a SLURM job, a Kubernetes job, or ssh."""

import contextlib
import os
import shlex
import socket
import subprocess
import sys
import tempfile

from dnnlib.config_files import nearest, parse_yaml
from dnnlib.errors import UserError
from dnnlib.files import read_bytes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Options of --cluster-file, and what each is by default.
COMMON = {
    'host': None,           # name or address under which the workers reach this machine; null: its own name
    'port': 0,              # that the scheduler listens at; 0: a free one
    'folder': ROOT,         # of the checkout on the workers' machines
    'python': sys.executable,  # Python with the packages there
    'workers': 8,           # processes on each machine, or in each pod
}
OPTIONS = {
    'slurm': dict(COMMON, nodes=1, memory='16G', time='12:00:00', partition=None, account=None, lines=[]),
    'kubernetes': dict(COMMON, pods=1, memory='16Gi', namespace='default', image=None, claim=None, mount='/shared'),
    'ssh': dict(COMMON),
}


def read_options(kind, file):
    """The options of a kind of cluster; what a file does not say is as by default. Raises UserError."""
    known = OPTIONS.get(kind)
    if known is None:
        if file is not None:
            raise UserError('--cluster-file goes with --cluster slurm, kubernetes or ssh:HOSTFILE')
        return {}
    options = dict(known)
    if file is not None:
        given = parse_yaml(read_bytes(file, 1 << 20, 'the options in').decode('utf-8', 'replace'), file)[0] or {}
        if not isinstance(given, dict):
            raise UserError(f'{file}: a mapping of options is expected')
        for name, value in given.items():
            if name not in known:
                raise UserError(f"{file}: {kind} has no option '{name}'{nearest(name, known)}; there are "
                                f'{", ".join(sorted(known))}')
            _check(file, name, value, known[name])
        options.update(given)
    if kind == 'kubernetes':
        missing = [name for name in ('image', 'claim') if options[name] is None]
        if missing:
            raise UserError(f"--cluster kubernetes needs '{missing[0]}' in --cluster-file: the image of this project, "
                            'and the claim of a volume that holds source and target')
    options['host'] = options['host'] or socket.gethostname()
    return options


def _check(file, name, value, default):
    if isinstance(default, int):
        is_sound = type(value) is int and (value > 0 or name == 'port' and value == 0)
        expected = 'a whole number above 0'
    elif isinstance(default, list):
        is_sound = isinstance(value, list) and all(isinstance(line, str) and '\n' not in line for line in value)
        expected = 'a list of lines'
    else:
        is_sound, expected = isinstance(value, str) and value and '\n' not in value, 'a text'
    if not is_sound:
        raise UserError(f'{file}: {name} is {str(value)[:60]!r}; {expected} is expected')


def worker_command(options, address):
    """The words that start the worker processes of one machine, in the folder of its checkout."""
    return [options['python'], '-m', 'data.cluster', 'worker', address, '--workers', str(options['workers'])]


def _shell(words):
    return ' '.join(shlex.quote(word) for word in words)


def slurm_script(options, address):
    """The job script for sbatch."""
    lines = ['#!/usr/bin/env bash', '#SBATCH --job-name=data-workers', f"#SBATCH --nodes={options['nodes']}",
             '#SBATCH --ntasks-per-node=1', f"#SBATCH --cpus-per-task={options['workers']}",
             f"#SBATCH --mem={options['memory']}", f"#SBATCH --time={options['time']}"]
    lines += [f'#SBATCH --{name}={options[name]}' for name in ('partition', 'account') if options[name]]
    lines += options['lines']
    return '\n'.join(lines + [f"cd {shlex.quote(options['folder'])}",
                              f'exec srun {_shell(worker_command(options, address))}']) + '\n'


def kubernetes_job(options, address):
    """The Job that kubectl applies, as plain values. A pod that dies is replaced."""
    name = 'data-workers-' + address.rpartition(':')[2]
    container = {'name': 'worker', 'image': options['image'], 'workingDir': options['folder'],
                 'command': worker_command(options, address),
                 'resources': {'requests': {'cpu': str(options['workers']), 'memory': options['memory']},
                               'limits': {'memory': options['memory']}},
                 'volumeMounts': [{'name': 'shared', 'mountPath': options['mount']}]}
    pod = {'restartPolicy': 'Never', 'containers': [container],
           'volumes': [{'name': 'shared', 'persistentVolumeClaim': {'claimName': options['claim']}}]}
    return {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': name, 'namespace': options['namespace']},
            'spec': {'parallelism': options['pods'], 'completions': options['pods'], 'backoffLimit': 100,
                     'template': {'spec': pod}}}


def read_hosts(path):
    """The host names in a file, one a line. Raises UserError."""
    lines = read_bytes(path, 1 << 20, 'the host names in').decode('utf-8', 'replace').splitlines()
    hosts = [line.split('#')[0].strip() for line in lines]
    hosts = [host for host in hosts if host]
    for host in hosts:
        if host.startswith('-') or len(host.split()) > 1:
            raise UserError(f"{path}: '{host}' is no host name; one a line is expected")
    if not hosts:
        raise UserError(f'{path} names no host')
    return hosts


def ssh_command(host, options, address):
    """The words that start the workers of a host; they end when the connection does."""
    return ['ssh', '-tt', '-o', 'BatchMode=yes', host,
            f"cd {shlex.quote(options['folder'])} && exec {_shell(worker_command(options, address))}"]


@contextlib.contextmanager
def started(kind, detail, options, address):
    """Workers for the scheduler at `address`, HOST:PORT, for as long as the context lasts. Raises UserError.

    Yields a function that raises UserError where nothing that was started is left to bring workers.
    """
    if kind == 'ssh':
        hosts = read_hosts(detail)
        processes = [subprocess.Popen(_found(ssh_command(host, options, address)), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL) for host in hosts]

        def check():
            codes = [process.poll() for process in processes]
            if None not in codes:
                raise UserError(f'no workers are left: ssh to {hosts[0]} ended with {codes[0]}'
                                + (f', and so did those to {len(hosts) - 1} other(s)' if len(hosts) > 1 else '')
                                + '; see what it said above, and try `ssh HOST true` by hand')

        try:
            yield check
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
        return
    import json
    text = slurm_script(options, address) if kind == 'slurm' else json.dumps(kubernetes_job(options, address), indent=1)
    with tempfile.NamedTemporaryFile('w', suffix='.sh' if kind == 'slurm' else '.json') as file:
        file.write(text)
        file.flush()
        if kind == 'slurm':
            job = _call(['sbatch', '--parsable', file.name]).split(';')[0].strip()
            stop = ['scancel', job]
        else:
            _call(['kubectl', 'apply', '-f', file.name])
            stop = ['kubectl', 'delete', '--wait=false', '-f', file.name]
        try:
            yield lambda: None  # a job may wait for hours
        finally:
            with contextlib.suppress(UserError):
                _call(stop)


def _found(command):
    import shutil
    if shutil.which(command[0]) is None:
        raise UserError(f"'{command[0]}' is not to be found on this machine")
    return command


def _call(command):
    """Runs a command. Returns what it prints. Raises UserError."""
    try:
        done = subprocess.run(_found(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=120)
    except subprocess.TimeoutExpired:
        raise UserError(f"'{command[0]}' does not answer") from None
    if done.returncode:
        raise UserError(f"'{_shell(command)}' failed: {' '.join(done.stderr.decode('utf-8', 'replace').split())[:300]}")
    return done.stdout.decode('utf-8', 'replace')
