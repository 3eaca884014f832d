"""What a run directory says about its run: the configuration, the command and the environment, as data only."""

import json
import os
import platform
import re
import sys
import time

from config import version
from dnnlib import machine
from dnnlib.addresses import without_passwords
from dnnlib.config_files import dump_config, format_value, read_file
from dnnlib.errors import FileError, UserError
from dnnlib.files import atomic_write, read_json, recall_json, write_json
from dnnlib.submission import processes
from dnnlib.values import schema

FORMAT = 1
RUN = {     # of submit_config.json
    'config': dict, 'provenance?': {'*': 'a text'}, 'data_dir?': 'a text, or null', 'init_from?': 'a text, or null',
    'init_from_sha256?': 'a text, or null', 'resume_kimg?': 'a number from 0 to 1e12', 'transfer?': 'true, false'}
ENVIRONMENT = {'starts': [dict]}    # of environment.json
ENVIRONMENT_VARIABLES = re.compile(r'(TF_|XLA_|CUDA_|NVIDIA_VISIBLE|OMP_|MKL_|OPENBLAS_|KMP_|PYTHONHASHSEED$)')


def to_plain(value):
    """Copies nested dicts, lists and tuples into plain dicts and lists, so that JSON and YAML can hold them."""
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def as_data(value):
    """`value` as `to_plain` makes it, with texts in place of whatever is no plain data, such as functions."""
    if isinstance(value, dict):
        return {key if isinstance(key, (str, int)) else str(key): as_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_data(item) for item in value]
    if hasattr(value, 'item') and getattr(value, 'shape', None) == ():  # a number of NumPy's
        value = value.item()
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


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
    values = [f'{key} = {format_value(value)}' + (f'  # {provenance[key]}' if key in provenance else '')
              for key, value in flatten(config)]
    write_json(os.path.join(run_dir, 'submit_config.json'), record, indent=2)
    with atomic_write(os.path.join(run_dir, 'config.yaml'), 'w') as f:
        f.write(f'# Resolved configuration of the run {os.path.basename(run_dir)}\n')
        f.write(dump_config(config))
    with atomic_write(os.path.join(run_dir, 'config.txt'), 'w') as f:
        f.write(''.join(f'{line}\n' for line in values))
    with atomic_write(os.path.join(run_dir, 'submit_config.txt'), 'w') as f:
        for key, value in record.items():
            if key not in ('config', 'provenance'):
                f.write(f'{key} = {format_value(value)}\n')


def edited_settings(run_dir, config):
    """Why a run's `config.yaml`, which people read and nothing else does, is no longer `config`, in words; '' if it is.

    Names the settings, dotted, or what is wrong with the file. One that is gone promises nothing.
    """
    path = os.path.join(run_dir, 'config.yaml')
    if not os.path.isfile(path):
        return ''
    try:
        stands, is_used = [{key: format_value(value) for key, value in flatten(table)}
                           for table in (read_file(path)[0], to_plain(config))]
    except UserError as err:
        return str(err)
    return ', '.join(sorted(key for key in set(stands) | set(is_used) if stands.get(key) != is_used.get(key)))


def _numbers_as_keys(value):
    """Undoes what JSON does to tables keyed by numbers: digits become integers again."""
    if isinstance(value, dict):
        return {int(k) if re.match(r'[0-9]{1,18}$', k) else k: _numbers_as_keys(item) for k, item in value.items()}
    if isinstance(value, list):
        return [_numbers_as_keys(item) for item in value]
    return value


def read_submit_config(run_dir):
    """Returns the record of a run directory, as given to `write_submit_config`, with its `provenance`.

    Raises UserError if there is none or it cannot be read.
    """
    path = os.path.join(run_dir, 'submit_config.json')
    try:
        # A setting may be infinite.
        record = _numbers_as_keys(read_json(path, what="the run's record", finite=False))
    except FileError as err:
        if err.reason == 'damaged':
            raise
        raise UserError(f"'{run_dir}' is not a run directory of this program: {err}; give a folder such as "
                        'results/00003-demo') from err
    if record.get('format') != FORMAT:
        raise UserError(f"the run's record {path} has another format than this program's ({FORMAT})")
    schema.check(record, RUN, f"the run's record {path}")
    if '\\u0000' in json.dumps(record):
        raise FileError('damaged', f"the run's record {path} is damaged: a text in it holds a NUL")
    return dict(record, provenance=record.get('provenance', {}))


def _installed_packages():
    try:
        from importlib.metadata import distributions
    except ImportError:  # before Python 3.8
        import pkg_resources
        return {d.project_name: d.version for d in pkg_resources.working_set}
    return {d.metadata['Name']: d.version for d in distributions() if d.metadata['Name']}


def revision_of(root):
    """(commit of the source in the folder `root`, whether files differ from it); None for what cannot be known.

    A checkout is asked; a wheel and an image had the commit written down when they were made.
    """
    noted = recall_json(os.path.join(root, 'installed.json'))
    if noted is not None:
        return noted.get('revision'), None
    commit = machine.output_of(['git', 'rev-parse', 'HEAD'], cwd=root)
    if not commit:
        return os.environ.get('STYLEGAN_REVISION') or None, None
    changes = machine.output_of(['git', 'status', '--porcelain', '--untracked-files=no'], cwd=root)
    return commit, None if changes is None else bool(changes)


def environment_record(root=None):
    """Describes what a run's numbers may depend on: versions, processor, memory, GPUs, and the commit of `root`.

    Values that cannot be found out are None. Returns a dict that JSON can hold.
    """
    commit, is_changed = revision_of(root) if root else (None, None)
    memory = machine.total_memory()
    return dict(
        time=time.strftime('%Y-%m-%dT%H:%M:%S%z'),
        version=version,
        python=platform.python_version(),
        platform=platform.platform(),
        packages=dict(sorted(_installed_packages().items(), key=lambda item: item[0].lower())),
        cpu=machine.processor_name() or platform.processor() or None,
        cpu_count=os.cpu_count(),
        cpu_usable=machine.usable_cores(),
        processes=processes.world().size,
        hosts=sorted({address.rpartition(':')[0] for address in processes.world().addresses}),
        memory_gb=round(memory / 2 ** 30, 1) if memory else None,
        gpus=machine.nvidia_gpus(['name', 'memory.total', 'driver_version'], timeout=10),
        git_commit=commit,
        git_changed=is_changed,
        variables={k: v for k, v in sorted(os.environ.items()) if ENVIRONMENT_VARIABLES.match(k)})


def read_environment(run_dir):
    """The environments that a run was started in, oldest first; [] where none is recorded or the record is damaged."""
    try:
        record = read_json(os.path.join(run_dir, 'environment.json'))
        schema.check(record, ENVIRONMENT, 'environment.json')
    except FileError:
        return []
    return record['starts']


def add_environment_record(run_dir, root=None):
    """Appends the present environment to `environment.json`: {"starts": [one record per start of the run]}."""
    path = os.path.join(run_dir, 'environment.json')
    starts = read_environment(run_dir)
    if not starts and os.path.lexists(path):
        print(f'warning: {path} is damaged, and starts anew', file=sys.stderr)
    starts.append(dict(environment_record(root), command=[without_passwords(arg) for arg in sys.argv]))
    write_json(path, dict(starts=starts), indent=2)
    return starts[-1]
