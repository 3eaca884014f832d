"""Finding released files on this machine, and bringing them here."""

import os
import shutil
import sys

import config
from dnnlib.addresses import is_url, without_passwords
from dnnlib.artifacts.table import Artifact, lookup, read_table
from dnnlib.errors import UserError
from dnnlib.files import atomic_path, make_folder, sha256_file

ENVIRONMENT = 'STYLEGAN_ARTIFACTS_DIR'


def folder(artifacts_dir=None):
    """The folder of released files: the given one, else $STYLEGAN_ARTIFACTS_DIR, else 'artifacts' in the cache."""
    return artifacts_dir or os.environ.get(ENVIRONMENT) or os.path.join(config.cache_dir, 'artifacts')


def _artifact(name_or_artifact):
    if isinstance(name_or_artifact, Artifact):
        return name_or_artifact
    artifact = lookup(name_or_artifact)
    if artifact is None:
        raise UserError(f"'{name_or_artifact}' is not in the table of released files; "
                        '`./reproduce artifacts list` shows what is')
    return artifact


# ---- Checking

_hashes = {}    # status of a file -> its SHA-256, for this process only: a note on the disk would vouch for nothing


def check(artifact, path, again=False):
    """Raises UserError unless the file is believable: size and checksum where known, else its first and last bytes.

    `again`: compute the checksum although this process has seen the file, and read a file without one to its end.
    """
    from dnnlib import content
    size = os.path.getsize(path)
    if artifact.size is not None and size != artifact.size:
        problem = content.first_look(path, artifact.file)
        raise UserError(f'{path}: has {size} bytes, but {artifact.file} has {artifact.size}{_doubt(artifact)}'
                        + (f': {problem}' if problem else ''))
    if artifact.sha256 is None:
        problem = content.first_look(path, artifact.file)
        if problem:
            raise UserError(f'{path}: not {artifact.file}: {problem}')
        if again:
            _check_content(path, artifact.file)
        return
    found = sha256_file(path) if again else _sha256(path)
    if found != artifact.sha256:
        raise UserError(f'{path}: its SHA-256 is {found}, but that of {artifact.file} is '
                        f'{artifact.sha256}{_doubt(artifact)}')


def _doubt(artifact):
    return f' ({artifact.note})' if artifact.note else ''


def _sha256(path):
    """A file's SHA-256, computed once in this process for each state of the file."""
    status = os.stat(path)
    # The time of the last change of any kind, which programs cannot set, is part of it.
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if key not in _hashes:
        _hashes[key] = sha256_file(path)
    return _hashes[key]


def _check_content(path, name):
    """Raises UserError unless a file is what one of its name must be: whole, and a network where it is a pickle."""
    if name.endswith('.pkl'):
        from dnnlib.tflib import safe_pickle
        safe_pickle.read_networks(path)
    else:
        from dnnlib import content
        content.check(path, name)


# ---- Finding and fetching

def find(name, artifacts_dir=None, again=False):
    """Path of a released file that is on this machine already, checked (see `check` for `again`); None if it is not.

    Looks in the folder (see `folder`) and the cache, also under the names that the original's downloads have. Raises
    UserError for an unknown name, or a file that is there but is not what it should be.
    """
    artifact = _artifact(name)
    for place_ in (folder(artifacts_dir), config.cache_dir):
        for file_name in artifact.cached_names():
            path = os.path.join(place_, file_name)
            if os.path.isfile(path):
                check(artifact, path, again)
                return path
    return None


def get(name, artifacts_dir=None, verbose=True):
    """Path of a released file, downloaded if it is not on this machine. Raises UserError with what to do by hand."""
    path = find(name, artifacts_dir)
    return path if path is not None else fetch(name, artifacts_dir, verbose)


def fetch(name, artifacts_dir=None, verbose=True, num_attempts=5):
    """Downloads a released file into the folder, trying its addresses in order; returns its path.

    Size and checksum are verified before the file gets its name. Raises UserError that lists every address, what went
    wrong there, and where to put the file by hand.
    """
    artifact = _artifact(name)
    from dnnlib import download
    target = os.path.join(folder(artifacts_dir), artifact.file)
    problems = []
    for url in artifact.urls:
        try:
            with download.partial_file(target) as part:
                download.download(url, part, size=artifact.size, num_attempts=num_attempts, verbose=verbose,
                                  title=artifact.file)
                _accept(artifact, part, target)
            return target
        except UserError as err:
            problems.append((url, str(err)))
            if verbose:
                print(err, file=sys.stderr)
        except OSError as err:
            raise UserError(f'{target}: cannot be written: {err.strerror}; choose another folder with --artifacts-dir '
                            f'or ${ENVIRONMENT}') from err
    raise UserError(_by_hand(artifact, target, problems))


def _accept(artifact, part, target):
    """Verifies a download and gives it its name; what is not the file is removed."""
    from dnnlib import download
    try:
        check(artifact, part, again=True)
    except UserError as err:
        download.forget(part)
        raise UserError(str(err).replace(part, 'what was downloaded')) from None
    download.finish(part, target)


def _by_hand(artifact, target, problems):
    lines = [f'{artifact.file} could not be downloaded:' if problems
             else f'{artifact.file} has no known address.']
    for url, problem in problems:
        url = without_passwords(url)
        problem = problem[len(url) + 2:] if problem.startswith(url + ': ') else problem
        lines.append(f'  {url}\n    {problem}')
    facts = [f'{artifact.size} bytes' if artifact.size else '', f'SHA-256 {artifact.sha256}' if artifact.sha256 else '']
    facts = ', '.join(fact for fact in facts if fact)
    facts = f' ({facts})' if facts else ''
    lines.append(f'Download it by hand, in a browser or on another machine, and put it here{facts}:\n'
                 f'  {os.path.abspath(target)}\n'
                 f'or name the folder that holds it with --artifacts-dir or ${ENVIRONMENT}')
    if artifact.note and (artifact.size or artifact.sha256):
        lines.append(f'({artifact.note}; if you are sure of a file that differs, `./reproduce artifacts add '
                     f'{artifact.name} --file FILE --record` takes it and notes its figures)')
    return '\n'.join(lines)


def place(name, path, artifacts_dir=None):
    """Copies a file that was downloaded by hand into the folder under its proper name, checked; returns its path.

    Raises UserError for a file that is not there or another one.
    """
    artifact = _artifact(name)
    if not os.path.isfile(path):
        raise UserError(f'{path}: there is no such file')
    target = os.path.join(make_folder(folder(artifacts_dir)), artifact.file)
    if os.path.abspath(path) == os.path.abspath(target):
        check(artifact, path, again=True)
        return target
    with atomic_path(target) as temp:
        shutil.copyfile(path, temp)
        try:
            check(artifact, temp, again=True)
        except UserError as err:
            raise UserError(str(err).replace(temp, path)) from None
    return target


def resolve(text, artifacts_dir=None, verbose=True):
    """Local path of the network that a user names: a path, a released file's name, or an address (kept in the cache).

    Returns None if it is none of these, so that the caller can look further, for example among runs.
    """
    if os.path.isfile(text):
        return text
    if lookup(text, read_table()) is not None:
        return get(text, artifacts_dir, verbose)
    if is_url(text):
        from dnnlib.download import open_url
        with open_url(text, cache_dir=config.cache_dir, verbose=verbose, check=_check_network) as file:
            return file.name
    return None


def _check_network(path, name):
    from dnnlib.tflib import plain_files, safe_pickle
    if name.lower().endswith('.safetensors'):
        plain_files.read_safetensors(path)
    else:
        safe_pickle.read_networks(path)
