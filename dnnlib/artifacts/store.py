"""Finding released files on this machine, and bringing them here."""

import json
import os
import shutil
import sys

from dnnlib import download
from dnnlib.artifacts.table import Artifact, lookup, read_table
from dnnlib.util import UserError, atomic_path, get_obj_by_name, is_url, make_folder, open_url, sha256_file

ENVIRONMENT = 'STYLEGAN_ARTIFACTS_DIR'


def _cache_dir():
    try:
        return get_obj_by_name('config.cache_dir')
    except ImportError:
        return 'cache'


def folder(artifacts_dir=None):
    """The folder of released files: the given one, else $STYLEGAN_ARTIFACTS_DIR, else 'artifacts' in the cache."""
    return artifacts_dir or os.environ.get(ENVIRONMENT) or os.path.join(_cache_dir(), 'artifacts')


def _artifact(name_or_artifact):
    if isinstance(name_or_artifact, Artifact):
        return name_or_artifact
    artifact = lookup(name_or_artifact)
    if artifact is None:
        raise UserError(f"'{name_or_artifact}' is not in the table of released files; "
                        '`python -m dnnlib.artifacts list` shows what is')
    return artifact


# ---- Checking

def check(artifact, path):
    """Raises UserError unless the file is believable: size and checksum where known, else its first and last bytes.

    The checksum of a file that did not change since it was last checked is not computed again.
    """
    size = os.path.getsize(path)
    if artifact.size is not None and size != artifact.size:
        raise UserError(f'{path}: has {size} bytes, but {artifact.file} has {artifact.size}{_doubt(artifact)}'
                        + _what_it_is(path))
    if artifact.sha256 is None:
        problem = _what_it_is(path)
        if problem:
            raise UserError(f'{path}: not {artifact.file}{problem}')
        return
    found = _remembered_sha256(path)
    if found != artifact.sha256:
        raise UserError(f'{path}: its SHA-256 is {found}, but that of {artifact.file} is '
                        f'{artifact.sha256}{_doubt(artifact)}')


def _doubt(artifact):
    return f' ({artifact.note})' if artifact.note else ''


def _what_it_is(path):
    """'' if the first and last bytes fit the suffix, else what is wrong, to be put behind a sentence."""
    with open(path, 'rb') as file:
        head = file.read(512)
        file.seek(-min(os.path.getsize(path), 1), os.SEEK_END)
        tail = file.read(1)
    start = head.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if not head:
        return ': the file is empty'
    if start.startswith((b'<!doctype', b'<html', b'<head', b'<?xml')):
        return ': it is a web page'
    if start.startswith(b'version https://git-lfs'):
        return ': it is a git-LFS pointer to the file'
    if path.endswith('.pkl') and not (head.startswith(b'\x80') and tail == b'.'):
        return ': it is cut off' if head.startswith(b'\x80') else ': it is not a pickle'
    if path.endswith(('.tgz', '.gz')) and not head.startswith(b'\x1f\x8b'):
        return ': it is not compressed with gzip'
    return ''


def _remembered_sha256(path):
    status = os.stat(path)
    stamp = [status.st_size, status.st_mtime_ns]
    memory = path + '.sha256.json'
    try:
        with open(memory, encoding='utf-8') as file:
            known = json.load(file)
        if known['stamp'] == stamp:
            return known['sha256']
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = sha256_file(path)
    try:
        with open(memory, 'w', encoding='utf-8') as file:
            json.dump({'stamp': stamp, 'sha256': found}, file)
    except OSError:
        pass  # a folder that may only be read
    return found


# ---- Finding and fetching

def find(name, artifacts_dir=None):
    """Path of a released file that is on this machine already, checked; None if it is not.

    Looks in the folder (see `folder`) and the cache, also under the names that the original's downloads have. Raises
    UserError for an unknown name, or a file that is there but is not what it should be.
    """
    artifact = _artifact(name)
    for place_ in (folder(artifacts_dir), _cache_dir()):
        for file_name in artifact.cached_names():
            path = os.path.join(place_, file_name)
            if os.path.isfile(path):
                check(artifact, path)
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
    named = target + '.check' + os.path.splitext(target)[1]
    os.replace(part, named)
    try:
        check(artifact, named)
    except UserError as err:
        os.unlink(named)
        download.forget(part)
        raise UserError(str(err).replace(named, 'what was downloaded')) from None
    finally:
        if os.path.exists(named + '.sha256.json'):
            os.unlink(named + '.sha256.json')
    download.finish(named, target)
    download.forget(part)


def _by_hand(artifact, target, problems):
    lines = [f'{artifact.file} could not be downloaded:' if problems
             else f'{artifact.file} has no known address.']
    for url, problem in problems:
        problem = problem[len(url) + 2:] if problem.startswith(url + ': ') else problem
        lines.append(f'  {url}\n    {problem}')
    facts = [f'{artifact.size} bytes' if artifact.size else '', f'SHA-256 {artifact.sha256}' if artifact.sha256 else '']
    facts = ', '.join(fact for fact in facts if fact)
    facts = f' ({facts})' if facts else ''
    lines.append(f'Download it by hand, in a browser or on another machine, and put it here{facts}:\n'
                 f'  {os.path.abspath(target)}\n'
                 f'or name the folder that holds it with --artifacts-dir or ${ENVIRONMENT}')
    if artifact.note and (artifact.size or artifact.sha256):
        lines.append(f'({artifact.note}; if you are sure of a file that differs, `python -m dnnlib.artifacts add '
                     f'{artifact.name} --file FILE --record` takes it and notes its figures)')
    return '\n'.join(lines)


def place(name, path, artifacts_dir=None):
    """Copies a file that was downloaded by hand into the folder under its proper name, checked; returns its path."""
    artifact = _artifact(name)
    if not os.path.isfile(path):
        raise UserError(f'{path}: there is no such file')
    target = os.path.join(make_folder(folder(artifacts_dir)), artifact.file)
    if os.path.abspath(path) == os.path.abspath(target):
        check(artifact, path)
        return target
    with atomic_path(target) as temp:
        shutil.copyfile(path, temp)
        try:
            check(artifact, temp)
        except UserError as err:
            raise UserError(str(err).replace(temp, path)) from None
        finally:
            if os.path.exists(temp + '.sha256.json'):
                os.unlink(temp + '.sha256.json')
    return target


def resolve(text, artifacts_dir=None, verbose=True):
    """Local path of what a user names: a path, a released file's name, or an address (kept in the cache).

    Returns None if it is none of these, so that the caller can look further, for example among runs.
    """
    if os.path.isfile(text):
        return text
    if lookup(text, read_table()) is not None:
        return get(text, artifacts_dir, verbose)
    if is_url(text):
        with open_url(text, cache_dir=_cache_dir(), verbose=verbose) as file:
            return file.name
    return None
