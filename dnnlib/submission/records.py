"""What a run directory says about its run: the configuration, the command and the environment, as data only."""

import json
import os
import platform
import re
import subprocess
import sys
import time

from dnnlib.config_files import dump_config, format_value
from dnnlib.util import UserError, atomic_write

FORMAT = 1
ENVIRONMENT_VARIABLES = re.compile(r'(TF_|XLA_|CUDA_|NVIDIA_VISIBLE|OMP_|MKL_|OPENBLAS_|KMP_|PYTHONHASHSEED$)')


def to_plain(value):
    """Copies nested dicts, lists and tuples into plain dicts and lists, so that JSON and YAML can hold them."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def flatten(config, prefix=''):
    """Yields (dotted key, value) for each leaf of nested dicts; a table keyed by numbers counts as a leaf."""
    for key, value in config.items():
        if isinstance(value, dict) and value and all(isinstance(k, str) for k in value):
            yield from flatten(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def write_submit_config(run_dir, record, provenance=None):
    """Writes the run's record (a dict whose item `config` is the resolved configuration) for machines and for people.

    `submit_config.json` holds everything; `config.yaml` can be given to `train.py --config`; `config.txt` lists each
    value with where it came from (`provenance`: dotted key to text); `submit_config.txt` is the rest in plain lines.
    """
    provenance = provenance or {}
    record = to_plain(dict(record, format=FORMAT, provenance=provenance))
    config = record.get('config', {})
    with atomic_write(os.path.join(run_dir, 'submit_config.json'), 'w') as f:
        json.dump(record, f, indent=2)
        f.write('\n')
    with atomic_write(os.path.join(run_dir, 'config.yaml'), 'w') as f:
        f.write(f'# Resolved configuration of the run {os.path.basename(run_dir)}\n')
        f.write(dump_config(config))
    with atomic_write(os.path.join(run_dir, 'config.txt'), 'w') as f:
        for key, value in flatten(config):
            f.write(f'{key} = {format_value(value)}' + (f'  # {provenance[key]}\n' if key in provenance else '\n'))
    with atomic_write(os.path.join(run_dir, 'submit_config.txt'), 'w') as f:
        for key, value in record.items():
            if key not in ('config', 'provenance'):
                f.write(f'{key} = {format_value(value)}\n')


def _numbers_as_keys(value):
    """Undoes what JSON does to tables keyed by numbers: digits become integers again."""
    if isinstance(value, dict):
        return {int(k) if re.match(r'\d+$', k) else k: _numbers_as_keys(item) for k, item in value.items()}
    if isinstance(value, list):
        return [_numbers_as_keys(item) for item in value]
    return value


def read_submit_config(run_dir):
    """Returns the record of a run directory, as given to `write_submit_config`, with its `provenance`.

    Raises UserError if there is none or it cannot be read.
    """
    path = os.path.join(run_dir, 'submit_config.json')
    try:
        with open(path, encoding='utf-8') as f:
            record = _numbers_as_keys(json.load(f))
    except OSError as err:
        raise UserError(f"'{run_dir}' is not a run directory of this program: cannot read {path}: {err.strerror}; give "
                        'a folder such as results/00003-demo') from err
    except (ValueError, RecursionError) as err:
        raise UserError(f"the run's record {path} is damaged: {err}") from err
    if not isinstance(record, dict) or record.get('format') != FORMAT or not isinstance(record.get('config'), dict):
        raise UserError(f"the run's record {path} has another format than this program's ({FORMAT})")
    return record


def _output(command, cwd=None):
    """The first 10,000 characters that a command prints, or None if it fails or takes over ten seconds."""
    try:
        result = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.decode('utf-8', 'replace')[:10000].strip() if result.returncode == 0 else None


def _installed_packages():
    try:
        from importlib.metadata import distributions
    except ImportError:  # before Python 3.8
        import pkg_resources
        return {d.project_name: d.version for d in pkg_resources.working_set}
    return {d.metadata['Name']: d.version for d in distributions() if d.metadata['Name']}


def _first_match(path, pattern):
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            match = re.search(pattern, f.read(), re.MULTILINE)
    except OSError:
        return None
    return match.group(1) if match else None


def _gpus():
    fields = ['name', 'memory.total', 'driver_version']
    text = _output(['nvidia-smi', '--query-gpu=' + ','.join(fields), '--format=csv,noheader'])
    return [dict(zip(fields, (part.strip() for part in line.split(',')))) for line in (text or '').splitlines()]


def environment_record(root=None):
    """Describes what a run's numbers may depend on: versions, processor, memory, GPUs, and the commit of `root`.

    Values that cannot be found out are None. Returns a dict that JSON can hold.
    """
    commit = _output(['git', 'rev-parse', 'HEAD'], cwd=root) if root else None
    changes = _output(['git', 'status', '--porcelain', '--untracked-files=no'], cwd=root) if commit else None
    memory_kb = _first_match('/proc/meminfo', r'^MemTotal:\s*(\d+)')
    return dict(
        time=time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        python=platform.python_version(),
        platform=platform.platform(),
        packages=dict(sorted(_installed_packages().items(), key=lambda item: item[0].lower())),
        cpu=_first_match('/proc/cpuinfo', r'^model name\s*:\s*(.*)') or platform.processor() or None,
        cpu_count=os.cpu_count(),
        cpu_usable=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None,
        memory_gb=round(int(memory_kb) / 2 ** 20, 1) if memory_kb else None,
        gpus=_gpus(),
        git_commit=commit,
        git_changed=None if changes is None else bool(changes),
        variables={k: v for k, v in sorted(os.environ.items()) if ENVIRONMENT_VARIABLES.match(k)})


def add_environment_record(run_dir, root=None):
    """Appends the present environment to `environment.json`: {"starts": [one record per start of the run]}."""
    path = os.path.join(run_dir, 'environment.json')
    starts = []
    try:
        with open(path, encoding='utf-8') as f:
            starts = list(json.load(f)['starts'])
    except FileNotFoundError:
        pass
    except (ValueError, TypeError, KeyError, RecursionError):
        print(f'warning: {path} is damaged, and starts anew', file=sys.stderr)
    starts.append(dict(environment_record(root), command=list(sys.argv)))
    with atomic_write(path, 'w') as f:
        json.dump(dict(starts=starts), f, indent=2)
        f.write('\n')
    return starts[-1]
