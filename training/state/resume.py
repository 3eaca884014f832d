"""Where a run goes on, and why it cannot: its newest good checkpoint, its snapshots, and the data that it was begun on.

Nothing here writes into the run, and TensorFlow is not imported, so that all of it can be asked before anything starts.
"""

import os
import re

from dnnlib.errors import UserError
from dnnlib.files import read_json, read_json_lines
from dnnlib.values import schema
from training.network_files import runs
from training.state import checkpoint

# What a run writes in its directory, besides networks, pictures and checkpoints.
_WRITTEN = ('log.txt', 'run.txt', 'stats.jsonl', 'submit_config.json', 'config.yaml', 'config.txt', 'network-final.pkl',
            'report.html')
_COUNT = 'a whole number from 0 to 1e15'
STATE = {   # of a checkpoint, besides its arrays
    'seed': _COUNT,
    'progress': {'cur_nimg': _COUNT, 'step': _COUNT, 'cur_tick': _COUNT, 'tick_start_nimg': _COUNT,
                 'prev_lod': 'a number from -1 to 100', 'elapsed': 'a number from 0 to 1e12', 'rollbacks': _COUNT,
                 'best_nimg': f'{_COUNT}, or null'},
    'dataset': dict,    # the data set's own
    'circumstances': {'engine': 'a text', 'tensorflow': 'a text', 'device': 'a text', 'num_gpus': _COUNT,
                      'intra_op_threads': _COUNT, 'inter_op_threads': _COUNT},
    'processes?': _COUNT,       # among which the cores were shared; absent where nobody noted it
    'project_version?': 'a text'}   # that wrote it; absent before 1.0.0
DATA = {    # of dataset.json: what a run was begun on
    'shape': 'a list of 1 to 3 whole numbers from 1 to 1e6', 'dtype': 'a text',
    'dynamic_range': 'a list of 2 rising numbers from -1e300 to 1e300', 'num_images': 'a whole number from 1 to 1e15',
    'label_size': 'a whole number from 0 to 1e9', 'fingerprint': 'a text',
    # Where the samples are codes:
    'codec_sha256?': 'a text', 'downscale?': 'a whole number from 2 to 16'}


def check_files(run_dir):
    """Raises UserError for what stands in the way of the files that the run writes: now, not after its work."""
    for name in _WRITTEN:
        path = os.path.join(run_dir, name)
        if os.path.lexists(path) and not os.path.isfile(path):
            raise UserError(f'{path} is no regular file, so that the run cannot write it; move it away')


def read_run(run_dir, seed, training_set=None):
    """The checkpoint that a run goes on from, see `find_checkpoint`. Raises UserError if it cannot go on.

    training_set: the run's data, where they are here. To compare them with what it was begun on, a data set that
    another program made is read whole.
    """
    check_files(run_dir)
    restored = find_checkpoint(run_dir, seed)
    if training_set is not None:
        check_data(run_dir, training_set)
    return restored


def find_checkpoint(run_dir, seed, warn=print):
    """The newest good checkpoint of a run as (path, state, arrays); None for a run that has not begun to train.

    Damaged ones are skipped; `warn` is called with a sentence for each. Raises UserError where the run has trained but
    no checkpoint tells how far, or the seed is not this run's.
    """
    folder = os.path.join(run_dir, 'checkpoints')
    restored = checkpoint.load_newest(folder, warn, check_state)
    if restored is None:
        if checkpoint.list_checkpoints(folder):
            raise UserError(f'every checkpoint in {folder} is damaged; {_as_a_new_run(run_dir)}')
        if has_trained(run_dir):
            raise UserError(f'{run_dir} has trained, but its checkpoints, which tell how far, are gone from {folder}; '
                            f'bring them back; or {_as_a_new_run(run_dir)}')
    elif restored[1]['seed'] != seed:
        raise UserError(f'{restored[0]} was written with the seed {restored[1]["seed"]}, this run has {seed}; leave '
                        'the seed as it was, or start a new run with --init-from')
    return restored


def has_trained(run_dir):
    """Whether a run has stored anything of its training: a checkpoint, a network, or the numbers of a tick."""
    return bool(checkpoint.list_checkpoints(os.path.join(run_dir, 'checkpoints')) or newest_snapshot(run_dir)
                or read_json_lines(os.path.join(run_dir, 'stats.jsonl'), absent=[]))


def check_state(state, path):
    """Raises UserError unless a checkpoint's state is one."""
    schema.check(state, STATE, f'the state in {path}', 'it was not written by this program')


def newest_snapshot(run_dir):
    """(path, kimg) of the last network that a run stored, None without any; kimg is None where nothing tells it."""
    paths = runs.list_network_pkls(run_dir)
    if not paths:
        return None
    match = re.search(r'-(\d+)\.pkl$', paths[-1])
    if match:
        return paths[-1], int(match.group(1))
    ticks = read_json_lines(os.path.join(run_dir, 'stats.jsonl'), absent=[])
    kimg = ticks[-1].get('kimg') if ticks else None
    return paths[-1], kimg if isinstance(kimg, (int, float)) else None


def _as_a_new_run(run_dir):
    """How a run without good checkpoints goes on, in words."""
    found = newest_snapshot(run_dir)
    if found is None:
        return 'start a new run'
    path, kimg = found
    config = os.path.join(run_dir, 'config.yaml')
    return (f'a new run takes up its last networks, though not the state of its optimizers: --config {config} '
            f"--init-from {path} --resume-kimg {'KIMG' if kimg is None else f'{kimg:g}'}")


# ---- Data


def data_record(training_set):
    """What a run is trained on, as `dataset.json` says it. May read the whole data set."""
    record = {key: getattr(training_set, key) for key in DATA if not key.endswith('?')}
    codec = getattr(training_set, 'codec', None)    # data sets of other programs have none
    if codec is not None:
        record.update(codec_sha256=codec['sha256'], downscale=codec.get('downscale', 4))
    return record


def read_data_record(run_dir):
    """The record of the data that a run was begun on, None where it has none yet. Raises UserError."""
    path = os.path.join(run_dir, 'dataset.json')
    record = read_json(path, absent=None)
    if record is not None:
        schema.check(record, DATA, path)
    return record


def check_data(run_dir, training_set):
    """The record of the data that the run was begun on, None where it has none yet; UserError if it was other data."""
    before = read_data_record(run_dir)
    if before is not None:
        record = data_record(training_set)
        # What earlier versions did not record is not compared.
        changed = ', '.join(key for key in record if before.get(key, record[key]) != record[key])
        if changed:
            raise UserError(f'the data set is not the one that {run_dir} was begun on (other {changed}; see '
                            f"{os.path.join(run_dir, 'dataset.json')}); bring the old one back, or start a new run")
    return before
