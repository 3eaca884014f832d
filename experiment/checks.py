"""What keeps a run from starting, as far as it can be found out without TensorFlow and without writing anything."""

import os

from dnnlib.submission import processes
from dnnlib.util import UserError, sha256_file
from experiment.plan import gigabytes


def check_place(machine):
    """Raises UserError if no run directory could be made where results are to be."""
    if machine.place_problem is not None:
        raise UserError(f"cannot create a run directory in '{machine.place}': {machine.place_problem}; choose a folder "
                        'that can be written with --result-dir')


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


# ---- Where a run goes on


def check_recorded_start(record, run_dir):
    """Raises UserError unless a run that has no checkpoint yet can begin as it was to: from the same networks."""
    path, digest = record.get('init_from'), record.get('init_from_sha256')
    if path is None:
        return
    if not os.path.isfile(path) or digest is not None and sha256_file(path) != digest:
        raise UserError(f'{run_dir} was to begin from the networks in {path}, which is '
                        f"{'another file now' if os.path.isfile(path) else 'not there any more'}; start a new run")
