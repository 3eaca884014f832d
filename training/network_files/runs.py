"""Run directories and the network snapshots in them."""

import fnmatch
import glob
import os
import re

import config
from dnnlib.util import UserError, is_url

FINAL = 'network-final.pkl'
_SNAPSHOT = re.compile(r'network-snapshot-(\d+)\.pkl$')


def locate_run_dir(run_id_or_run_dir, result_dir=None):
    """The path of a run directory, given that path, or its number (int or digits), or its name in the result folder.

    Raises UserError if there is none, or several of that number.
    """
    text = str(run_id_or_run_dir)
    if os.path.isdir(text):
        return text
    result_dir = config.result_dir if result_dir is None else result_dir
    if text and os.path.basename(text) == text and os.path.isdir(os.path.join(result_dir, text)):
        return os.path.join(result_dir, text)
    found = []
    if re.match(r'\d+$', text):
        found = [path for path in sorted(glob.glob(os.path.join(glob.escape(result_dir), '*-*')))
                 if os.path.isdir(path) and re.match(r'0*%d-' % int(text), os.path.basename(path))]
    if len(found) != 1:
        what = f'{len(found)} run directories have the number {text}' if found else f"no run directory '{text}'"
        raise UserError(f'{what} in {result_dir}; give the path of one')
    return found[0]


def list_network_pkls(run_id_or_run_dir, include_final=True, result_dir=None):
    """Paths of a run's network pickles in order of training; `network-final.pkl` comes last.

    Raises UserError for a folder that cannot be read.
    """
    run_dir = locate_run_dir(run_id_or_run_dir, result_dir)
    try:
        names = sorted(os.listdir(run_dir))
    except OSError as err:
        raise UserError(f"folder '{run_dir}' cannot be read: {err.strerror}") from err
    pkls = [os.path.join(run_dir, name) for name in names if fnmatch.fnmatchcase(name, 'network-snapshot-*.pkl')]
    final = os.path.join(run_dir, FINAL)
    return pkls + ([final] if include_final and os.path.isfile(final) else [])


def snapshots_of(run_id_or_run_dir):
    """What `list_network_pkls` finds in a run. Raises UserError if that is nothing."""
    run_dir = locate_run_dir(run_id_or_run_dir)
    pkls = list_network_pkls(run_dir)
    if not pkls:
        raise UserError(f'{run_dir} holds no network pickle (network-snapshot-*.pkl, network-final.pkl) yet')
    return pkls


def find_snapshot(run_dir, text):
    """The path of the snapshot of a run with this number of kimg (digits) or file name. Raises UserError."""
    pkls = snapshots_of(run_dir)
    for path in pkls:
        name = os.path.basename(path)
        match = _SNAPSHOT.match(name)
        if text == name or match and text.isdecimal() and int(text) == int(match.group(1)):
            return path
    names = ', '.join(os.path.basename(path) for path in pkls[-5:])
    raise UserError(f"{run_dir} has no snapshot '{text}'; among its last are {names}")


def locate_network_pkl(run_id_or_run_dir_or_network_pkl, snapshot_or_network_pkl=None, result_dir=None):
    """The path of a network pickle.

    Args:
        run_id_or_run_dir_or_network_pkl: a pickle's path or address, or a run as for `locate_run_dir`.
        snapshot_or_network_pkl: within a run: None or 'latest' for the last one, a number of kimg, or a file name.

    Raises UserError if there is none.
    """
    for candidate in (snapshot_or_network_pkl, run_id_or_run_dir_or_network_pkl):
        if is_url(candidate) or isinstance(candidate, str) and os.path.isfile(candidate):
            return candidate
    run_dir = locate_run_dir(run_id_or_run_dir_or_network_pkl, result_dir)
    if snapshot_or_network_pkl in (None, 'latest'):
        return snapshots_of(run_dir)[-1]
    return find_snapshot(run_dir, str(snapshot_or_network_pkl))


def run_dir_of(path):
    """The run directory that a file lies in; None if its folder is none."""
    folder = os.path.dirname(os.path.abspath(path))
    return folder if os.path.isfile(os.path.join(folder, 'submit_config.json')) else None
