"""Downloads that survive cut connections, and recognise pages that servers send in place of files."""

import contextlib
import errno
import hashlib
import html.parser
import io
import os
import re
import socket
import sys
import tempfile
import time
import urllib.parse

from dnnlib.errors import UserError
from dnnlib.files import HELD, recall_json, sync, try_lock, write_json

CHUNK_BYTES = 1 << 14  # what a cut connection may cost, since the library drops an unfinished chunk
MAX_BYTES = 8 << 30
CONNECT_TIMEOUT, READ_TIMEOUT = 15, 60  # seconds
MAX_WAIT = 60  # seconds between two attempts
_MAX_PAGE_BYTES = 1 << 20
_NOBODY_THERE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)
_MAX_ATTEMPTS = 1000  # even if each brings a little


class DownloadError(UserError):
    """An address that did not give the file. `reason` is one word for programs; `temporary`: another try may help."""

    def __init__(self, reason, sentence, temporary=False, wait=None):
        super().__init__(sentence)
        self.reason = reason
        self.temporary = temporary
        self.wait = wait


class Result:
    """A finished download: `path`, `size` in bytes, and the `file_name` that the server or the address suggests."""

    def __init__(self, path, size, file_name):
        self.path = path
        self.size = size
        self.file_name = file_name


def is_url(obj):
    """True for a string that is an http(s) address with a host."""
    if not isinstance(obj, str):
        return False
    try:
        parts = urllib.parse.urlparse(obj)
    except ValueError:
        return False
    return parts.scheme in ('http', 'https') and bool(parts.netloc)


def open_url(url, cache_dir=None, num_attempts=10, verbose=True):
    """Opens an http(s) address as a binary file object.

    With `cache_dir` the content is kept there as `<md5 of the url>_<file name>` and later calls need no network.
    Raises UserError if the address is not one or cannot be fetched in `num_attempts` attempts (see `download`).
    """
    if not is_url(url):
        raise UserError(f"'{url}' is not an http or https address")
    assert num_attempts >= 1
    prefix = hashlib.md5(url.encode('utf-8')).hexdigest() + '_'
    if cache_dir is None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'download')
            download(url, path, num_attempts=num_attempts, verbose=verbose)
            with open(path, 'rb') as f:
                return io.BytesIO(f.read())
    if os.path.isdir(cache_dir):
        for name in sorted(os.listdir(cache_dir)):
            if name.startswith(prefix) and '.part' not in name:
                return open(os.path.join(cache_dir, name), 'rb')
    with partial_file(os.path.join(cache_dir, prefix)) as part:
        result = download(url, part, num_attempts=num_attempts, verbose=verbose)
        refuse_page(part, url)  # it would be found in the cache for ever
        path = os.path.join(cache_dir, prefix + result.file_name)
        finish(part, path)
    return open(path, 'rb')


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
    """
    import requests
    failures = 0
    with requests.Session() as session, _Progress(url, verbose, title) as progress:
        for attempt in range(_MAX_ATTEMPTS):
            before = _size(path)
            try:
                return _attempt(session, url, path, size, max_bytes, progress)
            except requests.RequestException as err:
                cause = _cause(err)
                error = DownloadError('connection', f'{url}: {_one_line(cause)}', temporary=True)
                if isinstance(cause, socket.gaierror):  # most often a machine without network
                    num_attempts = min(num_attempts, 2)
                elif before == 0 and (isinstance(err, requests.ConnectTimeout)
                                      or getattr(cause, 'errno', None) in _NOBODY_THERE):
                    num_attempts = min(num_attempts, 4)
            except DownloadError as err:
                error = err
            failures = 0 if _size(path) > before else failures + 1
            if not error.temporary or failures >= num_attempts or attempt == _MAX_ATTEMPTS - 1:
                raise error
            wait = min(2 ** max(failures - 1, 0), MAX_WAIT) if error.wait is None else min(error.wait, MAX_WAIT)
            progress.note(f'{error}; next attempt in {wait} s')
            time.sleep(wait)


def _attempt(session, url, path, size, max_bytes, progress):
    known = _read_memory(path, url)
    start = _size(path) if known else 0
    if known and size is not None and start == size:
        return Result(path, start, known['file_name'])
    headers = {'Accept-Encoding': 'identity'}
    if start:
        headers['Range'] = f'bytes={start}-'
        if known['validator']:
            headers['If-Range'] = known['validator']
    with _open(session, url, headers) as response:
        if response.status_code == 416:  # the file is not as long as what we have
            forget(path)
            raise DownloadError('changed', f'{url}: the file there has changed; starting again', temporary=True)
        total = _total(response, start)
        if response.status_code != 206 or total is False:
            start, total = 0, _total(response, 0)
            if response.status_code == 206:
                raise DownloadError('server', f'{url}: the server sent another part of the file than was asked for')
        file_name = _file_name(response, url)
        limit = max_bytes if size is None else size
        if total is not None and total > max_bytes or size is not None and total not in (None, size):
            forget(path)
            raise DownloadError('size', f'{url}: the server announces {total} bytes; expected '
                                        f'{size if size is not None else f"at most {max_bytes}"}')
        _write_memory(path, url, response, file_name)
        progress.start(total if total is not None else size, start)
        with open(path, 'r+b' if start else 'wb') as file:
            file.truncate(start)
            file.seek(start)
            received = start
            for chunk in response.iter_content(CHUNK_BYTES):
                received += len(chunk)
                if received > limit:
                    break
                file.write(chunk)
                progress.update(received)
    if received > limit:
        forget(path)
        raise DownloadError('size', f'{url}: the server sends more than the {limit} bytes that are expected')
    wanted = total if total is not None else size
    if wanted is not None and received < wanted:
        raise DownloadError('cut', f'{url}: the connection was cut after {received} of {wanted} bytes', temporary=True)
    if received == 0:
        raise DownloadError('empty', f'{url}: the server sent an empty file', temporary=True)
    return Result(path, received, file_name)


def _open(session, url, headers):
    """The response that carries the file: 200 or 206 (or 416), confirmation pages passed. Raises DownloadError."""
    for _ in range(3):
        response = session.get(url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
        with contextlib.ExitStack() as stack:
            stack.callback(response.close)
            _check_status(response, url)
            if response.status_code == 416 or not _is_html(response):
                stack.pop_all()
                return response
            page = _read_page(response)
        url = _confirmed_address(page, response)
    raise DownloadError('html', f'{url}: one confirmation page leads to the next; download the file in a browser')


def _check_status(response, url):
    status = response.status_code
    if status in (200, 206, 416):
        return
    if status == 429 or status == 408 or status >= 500:
        wait = response.headers.get('Retry-After', '')
        raise DownloadError('busy', f'{url}: the server is busy or out of order (HTTP status {status})', temporary=True,
                            wait=int(wait) if re.match(r'[0-9]{1,6}\Z', wait) else None)
    if _is_html(response):
        page = _read_page(response)
        if _is_quota_page(page):
            raise _quota(url)
    reasons = {401: 'needs a login', 403: 'refuses to give the file', 404: 'does not have the file',
               410: 'no longer has the file'}
    raise DownloadError('status', f'{url}: the server {reasons.get(status, "answers with an error")} '
                                  f'(HTTP status {status})')


def _is_html(response):
    return response.headers.get('Content-Type', '').split(';')[0].strip().lower() in ('text/html',
                                                                                      'application/xhtml+xml')


def _read_page(response):
    data = b''
    for chunk in response.iter_content(1 << 14):
        data += chunk
        if len(data) > _MAX_PAGE_BYTES:
            break
    return data.decode('utf-8', 'replace')


@contextlib.contextmanager
def partial_file(path):
    """Yields the name of the partial file for `path`: one that a later call continues, unless another process has it.

    The caller renames the finished file to `path` inside the block.
    """
    part = path + '.part'
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(part, 'ab') as file:
        is_shared = try_lock(file) == HELD and _is_open_file(part, file)
        if not is_shared:
            part = f'{part}-{os.getpid()}-{os.urandom(4).hex()}'
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


# ---- Google Drive

def _is_quota_page(page):
    text = page.lower()
    return 'quota exceeded' in text or 'too many users have viewed or downloaded' in text


def _quota(url):
    return DownloadError('quota', f'{url}: Google Drive says that the file was downloaded too often lately; wait a day,'
                                  ' or open the address in a browser while logged in')


class _FormParser(html.parser.HTMLParser):
    """Collects the forms of a page as (action, {name: value}) and its links."""

    def __init__(self):
        super().__init__()
        self.forms = []
        self.links = []

    def handle_starttag(self, tag, attrs):
        attrs = {key: value or '' for key, value in attrs}
        if tag == 'form':
            self.forms.append((attrs.get('action', ''), {}))
        elif tag == 'input' and self.forms and attrs.get('name'):
            self.forms[-1][1][attrs['name']] = attrs.get('value', '')
        elif tag == 'a':
            self.links.append(attrs.get('href', ''))


def _confirmed_address(page, response):
    """Where the confirmation page of Google Drive leads. Raises DownloadError for every other page."""
    if _is_quota_page(page):
        raise _quota(response.url)
    parser = _FormParser()
    parser.feed(page)
    candidates = [(action, urllib.parse.urlencode(fields)) for action, fields in parser.forms if 'confirm' in fields]
    candidates += [(link, '') for link in parser.links if re.search(r'[?&]confirm=', link)]
    for cookie, token in response.cookies.items():
        if cookie.startswith('download_warning'):
            candidates.append((response.url, urllib.parse.urlencode({'confirm': token})))
    for address, query in candidates:
        address = urllib.parse.urljoin(response.url, address)
        if query:
            address += ('&' if urllib.parse.urlparse(address).query else '?') + query
        if _may_follow(response.url, address):
            return address
    raise DownloadError('html', f'{response.url}: the server sends a web page in place of the file')


def _may_follow(page_url, address):
    """A page may send us on within its own host, or within Google's."""
    old, new = urllib.parse.urlparse(page_url), urllib.parse.urlparse(address)
    google = ('.google.com', '.googleusercontent.com')
    return new.scheme in ('http', 'https') and (
        new.netloc == old.netloc
        or new.scheme == 'https' and (old.hostname or '').endswith(google) and (new.hostname or '').endswith(google))


# ---- What is remembered beside a partial file

def _size(path):
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _memory_path(path):
    return path + '.json'


def _read_memory(path, url):
    """What was noted about the partial file, if it belongs to this address and may be continued; else None."""
    known = recall_json(_memory_path(path)) or {}
    fits = known.get('url') == url and isinstance(known.get('validator'), str) \
        and isinstance(known.get('file_name'), str)
    return known if fits and known['validator'] else None


def _write_memory(path, url, response, file_name):
    validator = response.headers.get('ETag', '')
    if validator.startswith('W/') or not validator:  # a weak tag cannot vouch for bytes
        validator = response.headers.get('Last-Modified', '')
    if _is_encoded(response):
        validator = ''
    write_json(_memory_path(path), {'url': url, 'validator': validator, 'file_name': file_name})


def forget(path):
    """Removes a partial file and what was noted about it."""
    for name in (path, _memory_path(path)):
        if os.path.lexists(name):
            os.unlink(name)


# ---- Headers

def _total(response, start):
    """The whole file's size: a number, None if not told, False if a partial answer begins elsewhere than `start`."""
    if response.status_code == 206:
        match = re.match(r'bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15}|\*)\Z',
                         response.headers.get('Content-Range', ''))
        if not match or int(match.group(1)) != start:
            return False
        return None if match.group(2) == '*' else int(match.group(2))
    length = response.headers.get('Content-Length', '')
    if _is_encoded(response):  # its length is not the file's
        return None
    return int(length) if re.match(r'[0-9]{1,15}\Z', length) else None


def _is_encoded(response):
    return response.headers.get('Content-Encoding', 'identity').strip().lower() not in ('', 'identity')


def _file_name(response, url):
    """A harmless file name from Content-Disposition or the address."""
    match = re.search(r'filename="([^"]*)"', response.headers.get('Content-Disposition', ''))
    name = match.group(1) if match else urllib.parse.unquote(urllib.parse.urlparse(url).path.rpartition('/')[2])
    return re.sub(r'[^A-Za-z0-9._-]', '_', name)[-100:] or 'download'


def _cause(err):
    """What lies at the bottom of a connection error, without the library's wrapping."""
    while err.__context__ is not None:
        err = err.__context__
    return err


def _one_line(err):
    return re.sub(r'\s+', ' ', str(err) or type(err).__name__)[:200]


class _Progress:
    """A bar on a terminal; in a log a line at the start, every ten seconds and at the end."""

    def __init__(self, url, verbose, title=None):
        self._name = title or urllib.parse.urlparse(url).path.rpartition('/')[2] or url
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
