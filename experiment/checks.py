"""What keeps a run from starting, as far as it can be found out without TensorFlow and without writing anything."""

import os

from data.records.dataset import load_dataset
from dnnlib import files
from dnnlib.submission import processes
from dnnlib.util import UserError, sha256_file
from experiment import settings
from experiment.plan import gigabytes
from training.state import resume

_WRITTEN = ('log.txt', 'run.txt', 'stats.jsonl', 'submit_config.json', 'config.yaml', 'config.txt', 'network-final.pkl',
            'report.html')


def check_place(path):
    """Raises UserError if no run directory could be made at `path`, which need not exist. Leaves nothing behind."""
    try:
        files.try_place(path)
    except OSError as err:
        raise UserError(f"cannot create a run directory in '{path}': {err.strerror}; choose a folder that can be "
                        'written with --result-dir') from err


def check_disk(plan, machine):
    """Raises UserError if the disk cannot even hold the first snapshot and two checkpoints."""
    if plan.needs is None:
        return
    disk = plan.needs.disk
    least = disk.snapshot + 2 * disk.checkpoint + disk.picture
    if machine.free_disk < least:
        raise UserError(f"'{machine.place}' has {gigabytes(machine.free_disk)} of free disk space; a run needs "
                        f'{gigabytes(least)} for its first snapshot and checkpoints, and about '
                        f'{gigabytes(disk.total)} in all; free some space or choose another place with --result-dir')


def check_gpus(config, found, by='this machine has'):
    """Raises UserError unless GPUs that the configuration insists on are there: `found` of them."""
    wanted = processes.here(config.num_gpus)
    insists = config.device == 'gpu' or config.device == 'auto' and (found or wanted > 1)
    if insists and found < wanted:
        choice = f'--num-gpus {found}' if found else '--device cpu'
        raise UserError(f'{wanted} GPU(s) are asked for, but {by} {found}; pass {choice}, or check the driver '
                        'with nvidia-smi')


# ---- Where it begins, and where it goes on


def check_beginning(config, run_dir=None, init_from=None, resume_kimg=0):
    """Raises UserError for a beginning that the loop cannot have: in a run's middle, or from networks.

    run_dir, init_from, resume_kimg: the run to go on with, or the network to begin from and how far it was trained.
    """
    loop = config.train.get('func_name', settings.LOOP)
    for asked, argument in ((run_dir, 'resume'), (init_from, 'init_from')):
        if asked and not settings.loop_takes(config, argument):
            raise UserError(f"--{argument.replace('_', '-')}: {loop} trains in one go, from the beginning")
    if resume_kimg and init_from is None:
        raise UserError('--resume-kimg says how many images the networks of --init-from have seen; give both')
    total_kimg = settings.value_of(config, 'train', 'total_kimg')
    if not 0 <= resume_kimg < total_kimg:
        raise UserError(f'--resume-kimg is {resume_kimg:g}; at least 0 and less than train.total_kimg '
                        f'({total_kimg:g}) is expected')


def find_checkpoint(run_dir, config, data_dir):
    """Where a run goes on: see `resume.find_checkpoint`. Raises UserError if it cannot, or if its data are others.

    What stands in the way of the files that the run writes is found now, not after its work.

    May read the whole data set, if another program made it.
    """
    for name in _WRITTEN:
        path = os.path.join(run_dir, name)
        if os.path.lexists(path) and not os.path.isfile(path):
            raise UserError(f'{path} is no regular file, so that the run cannot write it; move it away')
    restored = resume.find_checkpoint(run_dir, config.seed)
    if resume.read_data_record(run_dir) is not None:
        with load_dataset(data_dir=data_dir, **dict(dict(seed=config.seed), **config.dataset)) as training_set:
            resume.check_data(run_dir, training_set)
    return restored


def check_recorded_start(record, run_dir):
    """Raises UserError unless a run that has no checkpoint yet can begin as it was to: from the same networks."""
    path, digest = record.get('init_from'), record.get('init_from_sha256')
    if path is None:
        return
    if not os.path.isfile(path) or digest is not None and sha256_file(path) != digest:
        raise UserError(f'{run_dir} was to begin from the networks in {path}, which is '
                        f"{'another file now' if os.path.isfile(path) else 'not there any more'}; start a new run")
