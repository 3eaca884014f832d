"""Downloads that survive cut connections, and recognise pages that servers send in place of files."""

import contextlib
import errno
import hashlib
import http.client
import io
import os
import re
import socket
import ssl
import sys
import tempfile
import time
import urllib.parse

from dnnlib import content, download_pages
from dnnlib.addresses import (  # noqa: F401  (addresses are part of this module)
    DownloadError,
    check_address,
    is_url,
    keeps_secrecy,
    last_part,
    without_passwords,
)
from dnnlib.atomic import temporary_name
from dnnlib.errors import UserError
from dnnlib.files import HELD, make_folders, recall_json, sync, try_lock, write_json

CHUNK_BYTES = 1 << 14  # what a cut connection may cost, since the library drops an unfinished chunk
MAX_BYTES = 8 << 30
CONNECT_TIMEOUT, READ_TIMEOUT = 15, 60  # seconds
MAX_WAIT = 60  # seconds between two attempts
_MAX_RESTARTS = 3
_BUSY = (408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529)  # what may be over in a while
_NOBODY_THERE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
_MAX_ATTEMPTS = 1000  # even if each brings a little


class Result:
    """A finished download.

    path: the file; size: in bytes; file_name: what the server or the address suggests; is_whole: whether the size was
    known before, so that nothing can be missing.
    """

    def __init__(self, path, size, file_name, is_whole):
        self.path = path
        self.size = size
        self.file_name = file_name
        self.is_whole = is_whole


def open_url(url, cache_dir=None, num_attempts=10, verbose=True, check=None):
    """Opens an http(s) address as a binary file object.

    With `cache_dir` the content is kept there as `<md5 of the url>_<file name>` and later calls need no network. What
    cannot be told from a wrong answer, which would be found there for ever, is not kept: see `_may_be_kept`.

    Args:
        url: the address.
        cache_dir: folder of the cache; None: nothing is kept.
        num_attempts: see `download`.
        verbose: show progress.
        check: function (path, file name) that raises UserError unless the file is what the caller expects. By default
            it must be sound for what its name says that it is (see `content.check`).

    Raises UserError if the address is not one, cannot be fetched, or sends something else.
    """
    check_address(url)
    assert num_attempts >= 1
    with contextlib.ExitStack() as stack:
        if cache_dir is None:
            part = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), 'download')
        else:
            prefix = os.path.join(cache_dir, hashlib.md5(url.encode('utf-8')).hexdigest() + '_')
            path = _find_cached(prefix)
            if path is not None:
                return open(path, 'rb')
            part = stack.enter_context(partial_file(prefix))
        result = download(url, part, num_attempts=num_attempts, verbose=verbose)
        refuse_page(part, url)
        try:
            is_sound = (check or content.check)(part, result.file_name)
        except UserError as err:
            forget(part)
            raise DownloadError('content', f'{url}: the server sends something else than the file: '
                                           + str(err).replace(part + ': ', '').replace(part, 'it')) from None
        if cache_dir is None or not (check or is_sound or _may_be_kept(part, result)):
            with open(part, 'rb') as f:
                data = f.read()
            forget(part)
            return io.BytesIO(data)
        path = prefix + result.file_name
        finish(part, path)
        return open(path, 'rb')


def _find_cached(prefix):
    """The file of the cache whose path begins like this, if its first and last bytes are believable; else None."""
    folder, start = os.path.split(prefix)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if name.startswith(start) and '.part' not in name and os.path.isfile(path):
            if not content.first_look(path, name):
                return path
            os.unlink(path)  # a wrong answer that an earlier version kept
    return None


def _may_be_kept(part, result):
    """Whether a file of a kind that cannot be checked may enter the cache.

    Its length must have been announced, since it may be cut off otherwise, and it must not be text unless it is called
    so: servers say in words what keeps them from sending a file.
    """
    return result.is_whole and (content.is_named_as_text(result.file_name) or not content.is_text(part))


def download(url, path, size=None, num_attempts=10, verbose=True, max_bytes=MAX_BYTES, title=None):
    """Downloads an http(s) address into the file `path`, which must be verified and renamed by the caller.

    A `path` left by an earlier, interrupted call for the same address is continued if the server can do that and has
    not changed the file; a file beside it, `path` + '.json', remembers what is needed to tell.

    Args:
        url: the address. The confirmation page of Google Drive is passed, its quota page recognised.
        size: expected size in bytes, if known.
        num_attempts: attempts in a row that bring nothing before giving up; after each, the wait doubles. Where no
            server answers in the first place, 4 are enough (7 seconds), and 2 where its name is not known.
        max_bytes: largest believable size.
        title: what progress calls the file, by default as the address does.

    Returns:
        A Result.

    Raises:
        DownloadError: with a sentence; `path` keeps what may be continued.
        OSError: if `path` cannot be written.
    """
    check_address(url)
    failures = restarts = 0
    with _session() as session, _Progress(url, verbose, title) as progress:
        for attempt in range(_MAX_ATTEMPTS):
            before = _size(path)
            try:
                return _attempt(session, url, path, size, max_bytes, progress)
            except DownloadError as err:
                error = err
            patience = num_attempts if before or error.patience is None else min(error.patience, num_attempts)
            if error.reason == 'changed':
                restarts += 1
            else:
                failures = 0 if _size(path) > before else failures + 1
            if not error.temporary or failures >= patience or restarts > _MAX_RESTARTS \
                    or attempt == _MAX_ATTEMPTS - 1:
                raise error
            wait = min(2 ** max(failures - 1, 0), MAX_WAIT) if error.wait is None else min(error.wait, MAX_WAIT)
            progress.note(f'{error}; next attempt in {wait} s')
            time.sleep(wait)


def _session():
    """A requests.Session that never leaves an encrypted connection for an open one."""
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp):
            target = super().get_redirect_target(resp)
            if target is not None and not keeps_secrecy(resp.url, urllib.parse.urljoin(resp.url, target)):
                raise DownloadError('insecure', f'{resp.url}: the server leads from https to {target[:200]}, which is '
                                                'not encrypted; that is not followed')
            return target

    return Session()


@contextlib.contextmanager
def _talking(url):
    """Turns whatever goes wrong between a server and the libraries into a DownloadError. Files are not touched here."""
    try:
        yield
    except DownloadError:
        raise
    except Exception as err:  # odd addresses, headers and pages raise all that these libraries know
        raise _connection_error(url, err) from err


def _connection_error(url, err):
    import requests
    causes = _causes(err)
    cause = causes[-1]
    text = str(cause) or type(cause).__name__
    refused = ValueError, requests.TooManyRedirects, requests.exceptions.ContentDecodingError
    cuts = http.client.RemoteDisconnected, http.client.IncompleteRead
    temporary, patience = True, None
    if isinstance(err, requests.exceptions.SSLError) or isinstance(cause, (ssl.SSLError, ssl.CertificateError)):
        cut = isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError))
        temporary = cut or 'BAD_RECORD_MAC' in text
        text = 'no secure connection: ' + text
    elif isinstance(err, refused) or not isinstance(err, OSError):
        temporary = False  # the address, or what the server says, makes no sense, and will not the next time
    elif isinstance(cause, socket.gaierror) or any(
            isinstance(one, http.client.HTTPException) and not isinstance(one, cuts) for one in causes):
        patience = 2  # most often a machine without network, or a server that does not speak HTTP
    elif isinstance(err, requests.ConnectTimeout) or getattr(cause, 'errno', None) in _NOBODY_THERE:
        patience = 4
    return DownloadError('connection', f'{url}: {_one_line(text)}', temporary=temporary, patience=patience)


def _chunks(response, url):
    with _talking(url):
        for chunk in response.iter_content(CHUNK_BYTES):
            yield chunk


def _attempt(session, url, path, size, max_bytes, progress):
    known = _read_memory(path, url)
    start = _size(path) if known else 0
    if known and size is not None and start == size:
        return Result(path, start, known['file_name'], True)
    headers = {'Accept-Encoding': 'identity'}
    if start:
        headers['Range'] = f'bytes={start}-'
        headers['If-Range'] = _validator(known)
    with _open(session, url, headers) as response:
        problem = _misfit(response, known, start)
        if problem:
            forget(path)
            raise DownloadError('changed', f'{url}: {problem}', temporary=start > 0, wait=0)
        start = start if response.status_code == 206 else 0
        total = _total(response)
        file_name = _file_name(response, url)
        limit = max_bytes if size is None else size
        if total is not None and total > max_bytes or size is not None and total not in (None, size):
            forget(path)
            raise DownloadError('size', f'{url}: the server announces {total} bytes; expected '
                                        f'{size if size is not None else f"at most {max_bytes}"}')
        progress.start(total if total is not None else size, start)
        with open(path, 'r+b' if start else 'wb') as file:
            file.truncate(start)
            file.seek(start)
            if not start:  # noted when nothing of another file is left that it could vouch for
                _write_memory(path, url, response, file_name)
            received = start
            for chunk in _chunks(response, url):
                received += len(chunk)
                if received > limit:
                    break
                file.write(chunk)
                progress.update(received)
    if received > limit or total is not None and received > total:
        forget(path)
        raise DownloadError('size', f'{url}: the server sends more than the {limit if total is None else total} bytes '
                                    'that are expected')
    wanted = total if total is not None else size
    if wanted is not None and received < wanted:
        raise DownloadError('cut', f'{url}: the connection was cut after {received} of {wanted} bytes', temporary=True)
    if received == 0:
        raise DownloadError('empty', f'{url}: the server sent an empty file', temporary=True, patience=2)
    return Result(path, received, file_name, wanted is not None)


def _misfit(response, known, start):
    """Why an answer cannot be joined to the `start` bytes that are here already; '' if it can, or need not be.

    Servers are not believed to have looked at If-Range: what was noted about the file must be true of the answer too.
    """
    if response.status_code == 416:
        return 'the file there has changed'
    if response.status_code != 206:
        return ''
    match = _content_range(response)
    if match is None or int(match.group(1)) != start:
        return 'the server sent another part of the file than was asked for'
    if not start:
        return ''
    found = _facts(response)
    key = 'etag' if _is_strong(known['etag']) else 'modified'
    differs = any(known[name] and found[name] and known[name] != found[name] for name in ('etag', 'modified', 'total'))
    return 'the file there has changed' if differs or found[key] != known[key] else ''


def _open(session, url, headers):
    """The response that carries the file: 200 or 206 (or 416), confirmation pages passed. Raises DownloadError."""
    for _ in range(3):
        with _talking(url), contextlib.ExitStack() as stack:
            response = session.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
            stack.callback(response.close)
            _check_status(response, url)
            if response.status_code == 416 or not download_pages.is_html(response):
                stack.pop_all()
                return response
            page = download_pages.read_page(response)
        url = download_pages.confirmed_address(page, response)
    raise DownloadError('html', f'{url}: one confirmation page leads to the next; download the file in a browser')


def _check_status(response, url):
    status = response.status_code
    if status in (200, 206, 416):
        return
    if status in _BUSY:
        wait = response.headers.get('Retry-After', '')
        raise DownloadError('busy', f'{url}: the server is busy or out of order (HTTP status {status})', temporary=True,
                            wait=int(wait) if re.match(r'[0-9]{1,6}\Z', wait) else None)
    if download_pages.is_html(response):
        page = download_pages.read_page(response)
        if download_pages.is_quota_page(page):
            raise download_pages.quota(url)
    reasons = {401: 'needs a login', 403: 'refuses to give the file', 404: 'does not have the file',
               410: 'no longer has the file'}
    raise DownloadError('status', f'{url}: the server {reasons.get(status, "answers with an error")} '
                                  f'(HTTP status {status})')


@contextlib.contextmanager
def partial_file(path):
    """Yields the name of the partial file for `path`: one that a later call continues, unless another process has it.

    The caller renames the finished file to `path` inside the block.
    """
    part = path + '.part'
    make_folders(os.path.dirname(os.path.abspath(path)))
    with open(part, 'ab') as file:
        is_shared = try_lock(file) == HELD and _is_open_file(part, file)
        if not is_shared:
            part = temporary_name(path)
        try:
            yield part
        finally:
            if not is_shared or _size(part) == 0 or not os.path.isfile(_memory_path(part)):
                forget(part)


def refuse_page(part, url):
    """Removes a partial file that is a web page, which some servers do not say, and raises DownloadError."""
    with open(part, 'rb') as file:
        head = file.read(512).lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if head.startswith((b'<!doctype html', b'<html')):
        forget(part)
        raise DownloadError('html', f'{url}: the server sends a web page in place of the file')


def finish(part, path):
    """Gives a finished and verified partial file its name."""
    sync(part)
    os.replace(part, path)
    forget(part)


def _is_open_file(path, file):
    """Whether `path` still names the open file, which another process may have finished and renamed meanwhile."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False


# ---- What is remembered beside a partial file

def _size(path):
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _memory_path(path):
    return path + '.json'


def _address_hash(url):
    """What stands for an address in a file, since some hold passwords."""
    return hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()


def _read_memory(path, url):
    """What was noted about the partial file, if it belongs to this address and may be continued; else None."""
    known = recall_json(_memory_path(path)) or {}
    types = {'address': str, 'etag': str, 'modified': str, 'total': int, 'file_name': str}
    fits = all(type(known.get(key)) is kind for key, kind in types.items()) \
        and known['address'] == _address_hash(url)
    return known if fits and re.match(r'[\x21-\x7e][\x20-\x7e]*\Z', _validator(known)) else None


def _write_memory(path, url, response, file_name):
    write_json(_memory_path(path), dict(_facts(response), address=_address_hash(url), file_name=file_name))


def _facts(response):
    """What an answer says about the whole file; '' or 0 where it says nothing."""
    if _is_encoded(response):
        return {'etag': '', 'modified': '', 'total': 0}
    return {'etag': _plain_header(response, 'ETag'), 'modified': _plain_header(response, 'Last-Modified'),
            'total': _total(response) or 0}


def _plain_header(response, name):
    """A header that can be sent back as it is; '' for others."""
    value = response.headers.get(name, '')
    return value if re.match(r'[\x21-\x7e][\x20-\x7e]{0,199}\Z', value) else ''


def _is_strong(etag):
    return bool(etag) and not etag.startswith('W/')  # a weak tag cannot vouch for bytes


def _validator(known):
    """What asks a server to send a part only of the file that was begun; '' if nothing can."""
    return known['etag'] if _is_strong(known['etag']) else known['modified']


def forget(path):
    """Removes a partial file and what was noted about it."""
    for name in (path, _memory_path(path)):
        if os.path.lexists(name):
            os.unlink(name)


# ---- Headers

def _content_range(response):
    return re.match(r'bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15}|\*)\Z', response.headers.get('Content-Range', ''))


def _total(response):
    """The whole file's size, None if not told."""
    if response.status_code == 206:
        match = _content_range(response)
        return None if match is None or match.group(2) == '*' else int(match.group(2))
    length = response.headers.get('Content-Length', '')
    if _is_encoded(response):  # its length is not the file's
        return None
    return int(length) if re.match(r'[0-9]{1,15}\Z', length) else None


def _is_encoded(response):
    return response.headers.get('Content-Encoding', 'identity').strip().lower() not in ('', 'identity')


def _file_name(response, url):
    """A harmless file name from Content-Disposition or the address."""
    match = re.search(r'filename="([^"]*)"', response.headers.get('Content-Disposition', ''))
    name = match.group(1) if match else urllib.parse.unquote(last_part(url))
    return re.sub(r'[^A-Za-z0-9._-]', '_', name)[-100:] or 'download'


def _causes(err):
    """An error and those from which it came, in the library's wrapping; the last is what really happened."""
    causes = [err]
    while causes[-1].__context__ is not None:
        causes.append(causes[-1].__context__)
    return causes


def _one_line(text):
    return re.sub(r'\s+', ' ', text)[:200]


class _Progress:
    """A bar on a terminal; in a log a line at the start, every ten seconds and at the end."""

    def __init__(self, url, verbose, title=None):
        self._name = title or last_part(url) or without_passwords(url)
        self._verbose = verbose
        self._bar = None
        self._total = None
        self._last = None
        self._received = 0

    def __enter__(self):
        if self._verbose and not sys.stderr.isatty():
            self._line('downloading')
        return self

    def __exit__(self, *exc):
        if self._bar is not None:
            self._bar.close()
        elif self._verbose and exc[0] is None:
            self._line(f'{self._received / 1e6:.1f} MB done')

    def _line(self, text):
        self._last = time.time()
        print(f'{self._name}: {text}', file=sys.stderr, flush=True)

    def start(self, total, received):
        self._total = total
        if self._verbose and sys.stderr.isatty() and self._bar is None:
            from tqdm import tqdm
            self._bar = tqdm(total=total, desc=self._name[:40], unit='B', unit_scale=True, unit_divisor=1000)
        self.update(received)

    def update(self, received):
        self._received = received
        if self._bar is not None:
            self._bar.update(received - self._bar.n)
        elif self._verbose and time.time() - self._last > 10:
            self._line(f'{received / 1e6:.1f} MB' + (f' of {self._total / 1e6:.1f} MB' if self._total else ''))

    def note(self, text):
        if self._verbose:
            if self._bar is not None:
                self._bar.write(text, file=sys.stderr)
            else:
                self._line(text)
