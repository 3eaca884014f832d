"""Downloads from servers that misbehave, and the table of released files."""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
from conftest import ROOT

import config
from dnnlib import UserError, artifacts, content, download, util
from dnnlib.artifacts import __main__ as command_line
from dnnlib.artifacts import store, table


def network_pickle(values):
    """The bytes of a file of one network with these values, as readers of networks want it; not one that is known."""
    state = {'version': 3, 'name': 'N', 'static_kwargs': {}, 'components': {}, 'build_module_src': '',
             'build_func_name': 'F', 'variables': [('v', np.array(values, np.int32))]}
    return b'\x80\x02cdnnlib.tflib.network\nNetwork\n)\x81' + pickle.dumps(state, 2)[2:-1] + b'b.'


CONTENT = network_pickle(range(22000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CONFIRM_FORM = '''<html><form id="download-form" action="{action}" method="get">
<input type="hidden" name="id" value="x">
<input type="hidden" name="confirm" value="t"><input type="submit" value="Download anyway"></form></html>'''
QUOTA = '<html><head><title>Google Drive - Quota exceeded</title></head><body>Sorry, too many users</body></html>'


class Server:
    """A local HTTP server whose answers are functions of the request handler; `log` holds (path, Range header)."""

    def __init__(self):
        self.answers = {}
        self.log = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                outer.log.append((self.path, self.headers.get('Range')))
                self.close_connection = True
                outer.answers[self.path.split('?')[0]](self)

            def log_message(self, *args):
                pass

            def reply(self, body, status=200, length=None, **headers):
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key.replace('_', '-'), str(value))
                if length != 'none':
                    self.send_header('Content-Length', str(len(body) if length is None else length))
                self.send_header('Connection', 'close')  # else the client may reuse it just before it is closed
                self.end_headers()
                self.wfile.write(body)

            def serve(self, content=CONTENT, cut=None, etag='"1"', ranges=True):
                """The file, or the part that was asked for; at most `cut` bytes of it."""
                match = re.match(r'bytes=(\d+)-', self.headers.get('Range', '')) if ranges else None
                if match and self.headers.get('If-Range', etag) == etag:
                    start = int(match.group(1))
                    part = content[start:]
                    self.reply(part[:cut], 206, length=len(part), ETag=etag,
                               Content_Range=f'bytes {start}-{len(content) - 1}/{len(content)}')
                else:
                    self.reply(content[:cut], length=len(content), ETag=etag)

        class ThreadingServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self._http = ThreadingServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self._http.server_port}'
        threading.Thread(target=self._http.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def waits(monkeypatch):
    """The seconds that would have been waited between attempts."""
    waits = []
    monkeypatch.setattr(time, 'sleep', waits.append)
    return waits


@pytest.fixture
def fetch(server, tmp_path, waits, monkeypatch):
    """Downloads `urls` (paths on the server) as an artifact; returns the bytes that arrived."""
    monkeypatch.setattr(config, 'cache_dir', str(tmp_path / 'cache'))

    def run(*paths, **facts):
        artifact = artifacts.Artifact('x', 'x.pkl', [server.url + path for path in paths], **facts)
        with open(artifacts.get(artifact, str(tmp_path / 'folder'), verbose=False), 'rb') as file:
            return file.read()

    return run


def leftovers(tmp_path):
    return sorted(os.listdir(str(tmp_path / 'folder')))


def test_a_healthy_server_is_asked_once(server, fetch, tmp_path):
    server.answers['/a'] = lambda h: h.serve()
    for _ in range(2):
        assert fetch('/a', size=len(CONTENT), sha256=SHA256) == CONTENT
    assert server.log == [('/a', None)]
    assert leftovers(tmp_path) == ['x.pkl']


def test_cut_connections_are_continued_where_they_broke(server, fetch, waits):
    server.answers['/a'] = lambda h: h.serve(cut=20000)
    assert fetch('/a', sha256=SHA256) == CONTENT
    starts = [0 if not asked else int(re.findall(r'\d+', asked)[0]) for _, asked in server.log]
    assert len(starts) > 3
    assert all(0 < after - before <= 20000 for before, after in zip(starts, starts[1:]))
    assert waits == [1] * (len(starts) - 1)  # every attempt brought something, so the wait does not grow


def test_an_interrupted_download_is_continued_by_the_next_call(server, fetch, tmp_path):
    server.answers['/a'] = lambda h: h.serve(cut=50000) if len(server.log) == 1 else h.reply(b'', 503)
    with pytest.raises(UserError, match='503'):
        fetch('/a')
    server.answers['/a'] = lambda h: h.serve()
    assert fetch('/a') == CONTENT
    assert server.log[-1][1] in ('bytes=50000-', 'bytes=49152-')  # some versions drop an unfinished chunk


def test_a_file_that_changed_meanwhile_is_downloaded_from_the_start(server, fetch):
    other = network_pickle(range(11000))
    server.answers['/a'] = lambda h: h.serve(cut=50000) if len(server.log) == 1 else h.serve(other, etag='"2"')
    assert fetch('/a') == other


def test_servers_without_ranges_or_tags_work_too(server, fetch):
    server.answers['/a'] = lambda h: h.serve(cut=40000 if len(server.log) < 3 else None, ranges=False)
    assert fetch('/a') == CONTENT
    assert len(server.log) == 3 and server.log[1][1]  # a part was asked for, the whole came


def test_without_a_tag_nothing_is_continued(server, fetch):
    server.answers['/a'] = lambda h: h.reply(CONTENT[:40000] if len(server.log) < 3 else CONTENT, length=len(CONTENT))
    assert fetch('/a') == CONTENT
    assert server.log == [('/a', None)] * 3


OTHER = network_pickle(range(21999, -1, -1))  # another file of the same length


@pytest.mark.parametrize('facts', [dict(ETag='"2"'), dict(), dict(ETag='"1"', total=len(CONTENT) + 1),
                                   dict(ETag='"1"', Last_Modified='Thu, 02 Jan 2020 00:00:00 GMT')],
                         ids=['another tag', 'no tag', 'another length', 'another date'])
def test_a_part_of_another_file_is_not_joined_to_what_is_here(server, fetch, tmp_path, facts):
    """Servers, or those between, that answer 206 without having looked at If-Range."""
    content, total = OTHER, facts.pop('total', len(OTHER))
    assert len(OTHER) == len(CONTENT)

    def answer(handler):
        asked = handler.headers.get('Range')
        if asked:
            start = int(re.findall(r'\d+', asked)[0])
            return handler.reply(content[start:], 206, Content_Range=f'bytes {start}-{total - 1}/{total}', **facts)
        if len(server.log) == 1:
            return handler.reply(CONTENT[:40000], length=len(CONTENT), ETag='"1"',
                                 Last_Modified='Wed, 01 Jan 2020 00:00:00 GMT')
        return handler.reply(content, ETag='"2"')
    server.answers['/a'] = answer
    assert fetch('/a') == OTHER
    assert [bool(asked) for _, asked in server.log] == [False, True, False]
    assert leftovers(tmp_path) == ['x.pkl']


def test_a_file_that_keeps_changing_is_given_up(server, fetch):
    server.answers['/a'] = lambda h: h.serve(cut=40000) if not h.headers.get('Range') else h.reply(
        CONTENT[40000:], 206, ETag='"2"', Content_Range=f'bytes 40000-{len(CONTENT) - 1}/{len(CONTENT)}')
    server.answers['/b'] = lambda h: h.serve()
    assert fetch('/a', '/b') == CONTENT
    assert len(server.log) == 9


def test_parts_are_joined_by_date_where_there_is_no_strong_tag(server, fetch):
    headers = dict(ETag='W/"1"', Last_Modified='Wed, 01 Jan 2020 00:00:00 GMT')

    def answer(handler):
        asked = handler.headers.get('Range')
        start = int(re.findall(r'\d+', asked)[0]) if asked else 0
        assert not asked or handler.headers['If-Range'] == headers['Last_Modified']
        part = CONTENT[start:]
        headers.update(Content_Range=f'bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}')
        handler.reply(part[:40000], 206 if asked else 200, length=len(part), **headers)
    server.answers['/a'] = answer
    assert fetch('/a') == CONTENT
    assert len(server.log) > 2


def test_what_is_noted_beside_a_part_is_believed_only_if_it_is_sound(server, tmp_path, waits):
    path = str(tmp_path / 'file')
    server.answers['/a'] = lambda h: h.serve(cut=40000) if len(server.log) == 1 else h.reply(b'', 404)
    with pytest.raises(UserError):
        download.download(server.url + '/a', path, verbose=False)
    noted = json.loads((tmp_path / 'file.json').read_text())
    server.answers['/a'] = lambda h: h.serve(OTHER)
    for damage in [b'', b'[' * 10000, b'\xff', json.dumps(dict(noted, etag='\u20ac')).encode(),
                   json.dumps(dict(noted, etag=['"1"'])).encode(), json.dumps(dict(noted, etag='a\nb')).encode(),
                   json.dumps(dict(noted, address='x')).encode()]:
        (tmp_path / 'file').write_bytes(CONTENT[:40000])
        (tmp_path / 'file.json').write_bytes(damage)
        download.download(server.url + '/a', path, verbose=False)
        assert server.log[-1][1] is None and (tmp_path / 'file').read_bytes() == OTHER


def test_a_wrong_part_is_not_appended(server, fetch):
    def answer(handler):
        if handler.headers.get('Range'):
            handler.reply(CONTENT[10:], 206, ETag='"1"', Content_Range=f'bytes 10-{len(CONTENT) - 1}/{len(CONTENT)}')
        else:
            handler.serve(cut=70000)
    server.answers['/a'] = answer
    server.answers['/b'] = lambda h: h.serve()
    with pytest.raises(UserError, match='another part'):
        fetch('/a')
    assert fetch('/b') == CONTENT


@pytest.mark.parametrize('length', [len(CONTENT) - 1000, 'none'])
def test_too_short_is_noticed_by_what_is_known(server, fetch, length, tmp_path):
    server.answers['/short'] = lambda h: h.reply(CONTENT[:-1000], length=length)
    server.answers['/good'] = lambda h: h.serve()
    assert fetch('/short', '/good', size=len(CONTENT)) == CONTENT
    os.unlink(str(tmp_path / 'folder' / 'x.pkl'))
    assert fetch('/short', '/good') == CONTENT  # it is no whole pickle
    os.unlink(str(tmp_path / 'folder' / 'x.pkl'))
    assert fetch('/short', '/good', sha256=SHA256) == CONTENT


def test_endless_answers_are_ended(server, tmp_path, waits):
    def endless(handler):
        handler.reply(b'', length='none')
        try:
            for _ in range(1000):
                handler.wfile.write(b'x' * 100000)
        except OSError:
            pass
    server.answers['/a'] = endless
    with pytest.raises(UserError, match='more than the 3000000 bytes'):
        download.download(server.url + '/a', str(tmp_path / 'file'), max_bytes=3000000, verbose=False)
    assert os.listdir(str(tmp_path)) == []
    server.answers['/b'] = lambda h: h.reply(b'x', length=10 ** 14)
    with pytest.raises(UserError, match='announces 100000000000000 bytes'):
        download.download(server.url + '/b', str(tmp_path / 'file'), verbose=False)


def test_busy_servers_get_time_and_their_own_wish(server, fetch, waits):
    replies = [lambda h: h.reply(b'', 429, Retry_After='7'), lambda h: h.reply(b'', 500), lambda h: h.reply(b'', 503),
               lambda h: h.reply(b'', 429, Retry_After='Wed, 21 Oct 2015 07:28:00 GMT'), lambda h: h.serve()]
    server.answers['/a'] = lambda h: replies[len(server.log) - 1](h)
    assert fetch('/a') == CONTENT
    assert waits == [7, 2, 4, 8]


@pytest.mark.parametrize('address', [
    'http://127.0.0.1:99999/x', 'http://[::1/x', 'http://' + 'a' * 70 + '.invalid/x', 'http://a..b/x', 'http://xn--a/x',
    'http:///x', 'http://\u2488.invalid/x', 'http://host\n/x', 'http://\ud800/x', 'http://user:secret@/x'])
def test_odd_addresses_are_one_sentence_and_the_next_one_is_tried(server, fetch, waits, address):
    server.answers['/good'] = lambda h: h.serve()
    with pytest.raises(UserError) as caught:
        download.download(address, 'nowhere', verbose=False)
    assert 'secret' not in str(caught.value) and not os.path.exists('nowhere')
    assert sum(waits) <= 1  # the name of a host may become known
    server.answers['/bad'] = lambda h: h.reply(b'', 302, Location=address.encode('utf-8', 'replace').decode('latin1'))
    if '\n' not in address:
        assert fetch('/bad', '/good') == CONTENT


ODD_PAGES = ['<![foo', '<!foo [<!ELEMENT', '<' * 100000, '<form action="http://[::1"><input name="confirm" value="x">',
             '<a href="http://[?confirm=1">', '<a href="//?confirm=1">', '<!--' * 10000, '\0', '&#99999999999;',
             '<form action="ftp://host/"><input name="confirm">', '<form><input name="confirm">' * 5]


@pytest.mark.parametrize('page', ODD_PAGES, ids=range(len(ODD_PAGES)))
def test_odd_pages_are_one_sentence_and_the_next_address_is_tried(server, fetch, waits, page):
    server.answers['/page'] = lambda h: h.reply(page.encode(), Content_Type='text/html')
    server.answers['/good'] = lambda h: h.serve()
    assert fetch('/page', '/good') == CONTENT
    assert waits == []


def raw_server(answer):
    """The address of a server that answers every connection with these bytes, whatever is asked."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(5)

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(10000)
                connection.sendall(answer)
    threading.Thread(target=serve, daemon=True).start()
    return f'127.0.0.1:{listener.getsockname()[1]}', listener


@pytest.mark.parametrize('answer, most', [
    (b'SSH-2.0-OpenSSH\r\n', 1), (b'HTTP/1.1 abc\r\n\r\n', 1),
    (b'HTTP/1.1 200 OK\r\n' + b'a: b\r\n' * 200 + b'\r\n', 1),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 7),
    (b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip', 0),
    (b'HTTP/1.1 302 Found\r\nLocation: ftp://host/\r\n\r\n', 0), (b'HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n', 0),
    (b'HTTP/1.1 501 No\r\n\r\n', 0), (b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 1)])
def test_answers_that_will_not_change_are_not_asked_for_again_and_again(tmp_path, waits, answer, most):
    host, listener = raw_server(answer)
    with listener, pytest.raises(download.DownloadError):
        download.download(f'http://{host}/', str(tmp_path / 'x'), num_attempts=4, verbose=False)
    assert sum(waits) <= most


def test_a_server_without_encryption_is_not_asked_for_it_again(tmp_path, waits):
    host, listener = raw_server(b'HTTP/1.1 400 Bad Request\r\n\r\n')
    with listener, pytest.raises(download.DownloadError, match='no secure connection'):
        download.download(f'https://{host}/', str(tmp_path / 'x'), verbose=False)
    assert waits == []


class Encrypted:
    """Answers https requests in a connection's place: no server with a certificate is at hand."""

    def __init__(self, status=200, body=b'', **headers):
        self.status, self.body, self.headers = status, body, headers

    def send(self, request, **options):
        import requests
        response = requests.Response()
        response.status_code, response.url, response.request = self.status, request.url, request
        response.headers.update(self.headers)
        response.raw = io.BytesIO(self.body)
        return response

    def close(self):
        pass


@pytest.mark.parametrize('how', ['redirect', 'page'])
def test_an_encrypted_connection_never_becomes_an_open_one(server, fetch, monkeypatch, how):
    import requests
    server.answers['/open'] = server.answers['/good'] = lambda h: h.serve()
    if how == 'redirect':
        answer = Encrypted(302, Location=server.url + '/open')
    else:
        page = f'<a href="{server.url}/open?confirm=t">'.encode()
        answer = Encrypted(body=page, **{'Content-Type': 'text/html'})
    inner = requests.Session.get_adapter
    monkeypatch.setattr(requests.Session, 'get_adapter', lambda session, url: answer if url.startswith('https')
                        else inner(session, url))
    with pytest.raises(download.DownloadError) as caught:
        util.open_url('https://127.0.0.1/file', verbose=False)
    assert caught.value.reason == ('insecure' if how == 'redirect' else 'html')
    assert server.log == []


def test_passwords_in_addresses_are_shown_nowhere(server, tmp_path, waits, capsys):
    host = server.url[len('http://'):]
    url = f'http://user:hunter2@{host}/a?id=1&access_token=hunter2'
    server.answers['/a'] = lambda h: h.serve(cut=40000) if len(server.log) == 1 else h.reply(b'', 404)
    with pytest.raises(download.DownloadError) as caught:
        download.download(url, str(tmp_path / 'x'))
    shown = f'http://***@{host}/a?id=1&access_token=***'
    assert str(caught.value).startswith(shown)
    texts = capsys.readouterr().err + (tmp_path / 'x.json').read_text()
    assert shown in texts and 'hunter2' not in texts + str(caught.value)


def test_hopeless_answers_are_not_repeated(server, fetch, tmp_path):
    for status in (401, 403, 404, 410):
        server.answers[f'/{status}'] = lambda h, status=status: h.reply(b'<html>', status, Content_Type='text/html')
    with pytest.raises(UserError) as caught:
        fetch('/401', '/403', '/404', '/410', size=12, sha256=SHA256)
    assert [path for path, _ in server.log] == ['/401', '/403', '/404', '/410']
    text = str(caught.value)
    for words in ('needs a login', 'refuses', 'does not have', 'no longer', server.url + '/410', '12 bytes', SHA256,
                  str(tmp_path / 'folder' / 'x.pkl'), '--artifacts-dir', 'x.pkl could not be downloaded'):
        assert words in text
    assert leftovers(tmp_path) == []


def test_no_connection_is_one_line_per_address(fetch, server, waits):
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        server.url = f'http://127.0.0.1:{closed.getsockname()[1]}'  # which nobody else can get meanwhile
        with pytest.raises(UserError, match='Connection refused'):
            fetch('/a')
    assert waits == [1, 2, 4]  # not as long as for a server that is busy


def test_web_pages_are_not_taken_for_files(server, fetch, tmp_path):
    server.answers['/page'] = lambda h: h.reply(b'<html>Not here</html>', Content_Type='text/html; charset=utf-8')
    server.answers['/disguised'] = lambda h: h.reply(b'<!DOCTYPE html>', Content_Type='application/octet-stream')
    server.answers['/pointer'] = lambda h: h.reply(b'version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(UserError) as caught:
        fetch('/page', '/disguised', '/pointer')
    for words in ('a web page in place of the file', 'it is a web page', 'git-LFS pointer'):
        assert words in str(caught.value)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize('page', ['form', 'link', 'cookie'])
def test_google_drives_confirmation_page_is_passed(server, fetch, page):
    def answer(handler):
        if 'confirm=t' in handler.path:
            assert page != 'cookie' or 'download_warning_1=t' in handler.headers.get('Cookie', '')
            return handler.serve()
        body = {'form': CONFIRM_FORM.format(action='/file'), 'cookie': '<html>large file</html>',
                'link': '<html><a href="/file?export=download&amp;confirm=t&amp;id=x">anyway</a></html>'}[page]
        headers = {'Set_Cookie': 'download_warning_1=t; Path=/'} if page == 'cookie' else {}
        handler.reply(body.encode(), Content_Type='text/html', **headers)
    server.answers['/file'] = server.answers['/uc'] = answer
    assert fetch('/uc?id=x') == CONTENT


def test_confirmation_pages_cannot_lead_elsewhere_or_in_circles(server, fetch):
    other = CONFIRM_FORM.format(action='http://example.invalid/file')
    server.answers['/other'] = lambda h: h.reply(other.encode(), Content_Type='text/html')
    circle = CONFIRM_FORM.format(action='/circle')
    server.answers['/circle'] = lambda h: h.reply(circle.encode(), Content_Type='text/html')
    with pytest.raises(UserError, match='(?s)a web page in place.*one confirmation page leads to the next'):
        fetch('/other', '/circle')
    assert len(server.log) == 4


@pytest.mark.parametrize('status', [200, 403])
def test_google_drives_quota_page_is_recognised(server, fetch, status):
    server.answers['/a'] = lambda h: h.reply(QUOTA.encode(), status, Content_Type='text/html')
    server.answers['/b'] = lambda h: h.serve()
    assert fetch('/a', '/b') == CONTENT
    with pytest.raises(UserError, match='downloaded too often lately'):
        util.open_url(server.url + '/a', verbose=False)


def test_wrong_content_never_gets_the_name(server, fetch, tmp_path):
    wrong = CONTENT[:-3] + b'xx.'
    server.answers['/a'] = lambda h: h.serve(wrong)
    with pytest.raises(UserError, match=f'what was downloaded: its SHA-256 is {hashlib.sha256(wrong).hexdigest()}'):
        fetch('/a', size=len(CONTENT), sha256=SHA256)
    with pytest.raises(UserError, match='announces'):
        fetch('/a', size=len(CONTENT) + 1)
    assert leftovers(tmp_path) == []


WRONG_ANSWERS = [b'{"error": {"code": 403, "message": "quota exceeded"}}', b'Quota exceeded. Try again later.', b'No.',
                 pickle.dumps({'error': 'quota'}, 2), CONTENT[:-1000], CONTENT[:50], b'\x80\x02', b'\0' * 500,
                 b'\x80\x02.' + CONTENT, b'PK\x03\x04', b'\x1f\x8b' + b'\0' * 50]


@pytest.mark.parametrize('wrong', WRONG_ANSWERS, ids=range(len(WRONG_ANSWERS)))
@pytest.mark.parametrize('length', [None, 'none'], ids=['announced', 'not announced'])
def test_wrong_answers_are_not_kept_for_a_file_whose_checksum_is_unknown(server, fetch, tmp_path, wrong, length):
    server.answers['/a.pkl'] = lambda h: h.reply(wrong, length=length)
    with pytest.raises(UserError, match='x.pkl could not be downloaded'):
        fetch('/a.pkl')
    with pytest.raises(UserError, match='sends something else|web page'):
        artifacts.resolve(server.url + '/a.pkl', verbose=False)
    assert leftovers(tmp_path) == os.listdir(str(tmp_path / 'cache')) == []
    server.answers['/a.pkl'] = lambda h: h.serve()
    assert fetch('/a.pkl') == CONTENT
    with open(artifacts.resolve(server.url + '/a.pkl', verbose=False), 'rb') as file:
        assert file.read() == CONTENT


def archive_of(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.npy', data)
    return file.getvalue()


NOISE = np.random.RandomState(0).bytes(5000)
NPZ, GZIP = archive_of(NOISE), gzip.compress(NOISE)


@pytest.mark.parametrize('name, good, wrong', [
    ('a.npz', NPZ, [NPZ[:-10], NPZ[:100] + b'xx' + NPZ[102:], b'quota']), ('a.tgz', GZIP, [GZIP[:-1], GZIP[:3000]]),
    ('a.json', b'{"a": 1}', [b'{"a": ', b'quota']), ('a.pkl', pickle.dumps([1], 2), [b'quota', b'\x80\x02]']),
    ('uc', pickle.dumps([1], 0), [b'quota', b'{}']), ('uc', b'\0\1\2', [])])
def test_what_is_kept_in_the_cache_was_read_to_its_end(server, tmp_path, name, good, wrong):
    def get():
        with util.open_url(f'{server.url}/{name}', cache_dir=str(tmp_path), verbose=False, num_attempts=1) as file:
            return file.read()
    for answer in wrong:
        server.answers['/' + name] = lambda h, answer=answer: h.reply(answer, length='none')
        with contextlib.suppress(UserError):
            assert get() == answer  # given to the caller, who asked for no kind, but not kept
        assert os.listdir(str(tmp_path)) == []
    server.answers['/' + name] = lambda h: h.reply(good)
    log = len(server.log)
    assert get() == good and get() == good
    assert len(server.log) == log + (2 if good.startswith(b'(l') else 1)  # text without a name of text


def test_archive_bombs_are_not_unpacked_to_their_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(content, '_FREELY_UNPACKED', 1 << 20)
    for name, bomb in [('a.npz', archive_of(b'\0' * (3 << 20))), ('a.gz', gzip.compress(b'\0' * (3 << 20)))]:
        server.answers['/' + name] = lambda h, bomb=bomb: h.reply(bomb)
        with pytest.raises(UserError, match='unpacks to more than'):
            util.open_url(f'{server.url}/{name}', cache_dir=str(tmp_path), verbose=False)
        assert os.listdir(str(tmp_path)) == []


def test_wrong_answers_that_are_in_the_cache_already_are_replaced(server, tmp_path, monkeypatch):
    monkeypatch.setattr(config, 'cache_dir', str(tmp_path))
    url = server.url + '/a.pkl'
    wrong = tmp_path / (hashlib.md5(url.encode()).hexdigest() + '_a.pkl')
    wrong.write_bytes(b'{"error": "quota"}')
    server.answers['/a.pkl'] = lambda h: h.serve()
    with open(artifacts.resolve(url, verbose=False), 'rb') as file:
        assert file.read() == CONTENT


def test_verify_reads_the_files_and_believes_no_dates(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(config, 'cache_dir', str(tmp_path / 'cache'))
    entries = [dict(name='known', file='known.pkl', urls=[], size=len(CONTENT), sha256=SHA256),
               dict(name='unknown', file='unknown.pkl', urls=[])]
    (tmp_path / 'table.json').write_text(json.dumps({'artifacts': entries}))

    def verify():
        status = run('--table', tmp_path / 'table.json', 'verify', '--artifacts-dir', tmp_path)
        return status, re.findall(r'^\S+ +(\S+)', capsys.readouterr().out, re.M)

    for entry in entries:
        (tmp_path / entry['file']).write_bytes(CONTENT)
    assert verify() == (0, ['verified', 'present'])
    for entry in entries:
        path = tmp_path / entry['file']
        before = path.stat()
        changed = CONTENT[:40] + b'\xff' + CONTENT[41:]  # in the name of a key
        (tmp_path / (entry['file'] + '.sha256.json')).write_text(json.dumps(
            {'stamp': [before.st_size, before.st_mtime_ns], 'sha256': SHA256}))
        path.write_bytes(changed)
        os.utime(str(path), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verify() == (1, ['bad', 'bad'])
    assert artifacts.find(table.Artifact(**entries[1]), str(tmp_path))  # present; whoever loads it will be told
    with pytest.raises(UserError, match='SHA-256'):
        artifacts.find(table.Artifact(**entries[0]), str(tmp_path))


def test_three_processes_fetch_one_file_at_once(server, tmp_path):
    arrived = threading.Barrier(3, timeout=300)

    def answer(handler):
        arrived.wait()
        handler.serve()
    server.answers['/a'] = answer
    code = ('import sys; from dnnlib import artifacts\n'
            'x = artifacts.Artifact("x", "x.pkl", [sys.argv[1]], sha256=sys.argv[3])\n'
            'print(artifacts.get(x, sys.argv[2], verbose=False))')
    command = [sys.executable, '-c', code, server.url + '/a', str(tmp_path / 'folder'), SHA256]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=str(ROOT)) for _ in range(3)]
    for process in processes:
        assert process.communicate()[0].decode().strip() == str(tmp_path / 'folder' / 'x.pkl')
    assert leftovers(tmp_path) == ['x.pkl']
    assert (tmp_path / 'folder' / 'x.pkl').read_bytes() == CONTENT


def test_files_in_the_folder_need_no_network(fetch, server, tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'x.pkl').write_bytes(CONTENT)
    assert fetch(sha256=SHA256) == CONTENT
    assert server.log == []
    (tmp_path / 'folder' / 'x.pkl').write_bytes(CONTENT[:-1] + b'!')
    with pytest.raises(UserError, match='its SHA-256 is'):
        fetch(sha256=SHA256)
    with pytest.raises(UserError, match='it is cut off'):
        fetch()


def test_downloads_of_the_original_are_found_in_the_cache(fetch, server, tmp_path):
    (tmp_path / 'cache').mkdir()
    name = hashlib.md5((server.url + '/b').encode()).hexdigest() + '_x.pkl'
    (tmp_path / 'cache' / name).write_bytes(CONTENT)
    assert fetch('/a', '/b') == CONTENT
    assert server.log == []


def test_two_downloads_at_once_do_not_disturb_each_other(server, tmp_path):
    path = str(tmp_path / 'file')
    with download.partial_file(path) as first, download.partial_file(path) as second:
        assert first == path + '.part' and second != first
        server.answers['/a'] = lambda h: h.serve()
        for part in (first, second):
            download.download(server.url + '/a', part, verbose=False)
            download.finish(part, path)
    assert os.listdir(str(tmp_path)) == ['file']


def test_the_folder_is_chosen_by_argument_environment_default(monkeypatch):
    monkeypatch.setattr(config, 'cache_dir', 'the-cache')
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    assert artifacts.folder() == os.path.join('the-cache', 'artifacts')
    monkeypatch.setenv(store.ENVIRONMENT, 'elsewhere')
    assert artifacts.folder() == 'elsewhere'
    assert artifacts.folder('here') == 'here'


def test_resolve_takes_paths_names_and_addresses(server, tmp_path, monkeypatch, waits):
    monkeypatch.setattr(config, 'cache_dir', str(tmp_path / 'cache'))
    path = tmp_path / 'file.pkl'
    path.write_bytes(CONTENT)
    assert artifacts.resolve(str(path)) == str(path)
    server.answers['/a.pkl'] = lambda h: h.serve()
    for _ in range(2):
        with open(artifacts.resolve(server.url + '/a.pkl', verbose=False), 'rb') as file:
            assert file.read() == CONTENT
    assert len(server.log) == 1
    assert artifacts.resolve('00042') is None


# ---- The table

def test_the_projects_table_is_complete():
    entries = artifacts.read_table()
    assert len(entries) == 50
    ffhq = artifacts.lookup('karras2019stylegan-ffhq-1024x1024.pkl')
    assert ffhq is entries['ffhq-1024'] or ffhq.name == 'ffhq-1024'
    assert (ffhq.size, ffhq.sha256[:8]) == (324733157, 'f277a437')
    assert artifacts.lookup('vgg16_zhang_perceptual.pkl').size == 58871973
    for name in ('inception_v3_features.pkl', 'inception-2015-12-05.tgz', 'celebahq-classifier-39-wearing-necktie.pkl'):
        assert artifacts.lookup(name).urls
    assert all(entry.purpose and entry.licence for entry in entries.values())


@pytest.mark.parametrize('entry', [dict(name='A b'), dict(file='../x'), dict(urls=['ftp://x/y']), dict(size=-1),
                                   dict(sha256='12'), dict(colour='red'), dict(file='dup.pkl'), dict(urls='http://a/b'),
                                   dict(urls={}), dict(urls=[5]), dict(urls=None), dict(size=10 ** 50), dict(size=[]),
                                   dict(size=True), dict(licence=[[]]), dict(purpose=5), dict(note='\ud800'),
                                   dict(name=None), dict(sha256=5), dict(file='x' * 70000)], ids=str)
def test_malformed_tables_are_refused(tmp_path, entry):
    good = dict(name='a', file='a.pkl', urls=[])
    path = tmp_path / 'table.json'
    path.write_text(json.dumps({'artifacts': [dict(name='dup', file='dup.pkl', urls=[]), dict(good, **entry)]}))
    with pytest.raises(UserError):
        table.read_table(str(path))


@pytest.mark.parametrize('content', [b'', b'[]', b'{}', b'{"artifacts": 5}', b'{"artifacts": [5]}', b'\xff',
                                     b'[' * 10000, b'{"artifacts": [{}]}', b'{"artifacts": [1' + b'0' * 400 + b']}'],
                         ids=range(9))
def test_files_that_are_no_tables_are_refused(tmp_path, content):
    path = tmp_path / 'table.json'
    path.write_bytes(content)
    for place in (str(path), '/dev/full', str(tmp_path)):
        with pytest.raises(UserError):
            table.read_table(place)


def run(*args):
    return command_line.main([str(arg) for arg in args])


def test_command_line_add_list_verify_fetch(server, tmp_path, capsys, monkeypatch, waits):
    monkeypatch.setattr(config, 'cache_dir', str(tmp_path / 'cache'))
    table_file, folder, mine = tmp_path / 'table.json', tmp_path / 'folder', tmp_path / 'mine.pkl'
    table_file.write_text('{"artifacts": []}')
    mine.write_bytes(CONTENT)
    server.answers['/mine.pkl'] = lambda h: h.serve()
    where = ['--table', table_file]
    run(*where, 'add', 'mine', '--file', mine, '--record', '--url', server.url + '/mine.pkl', '--purpose', 'a test',
        '--licence', 'CC0', '--artifacts-dir', folder)
    assert (folder / 'mine.pkl').read_bytes() == CONTENT
    assert run(*where, 'verify', '--artifacts-dir', tmp_path / 'elsewhere') == 0
    assert 'None of the 1 released files is in' in capsys.readouterr().out
    run(*where, 'list', '--json', '--artifacts-dir', folder)
    entry, = json.loads(capsys.readouterr().out)
    assert (entry['state'], entry['licence']) == ('verified', 'CC0')
    assert (entry['size'], entry['sha256']) == (len(CONTENT), SHA256)
    assert run(*where, 'verify', '--artifacts-dir', folder) == 0
    (folder / 'mine.pkl').write_bytes(CONTENT[:-1])
    assert run(*where, 'verify', 'mine', '--artifacts-dir', folder) == 1
    assert 'bad' in capsys.readouterr().out
    (folder / 'mine.pkl').unlink()
    assert run(*where, 'verify', 'mine', '--artifacts-dir', folder) == 1
    assert run(*where, 'fetch', 'm*', '--artifacts-dir', folder) == 0
    assert capsys.readouterr().out.strip().endswith(str(folder / 'mine.pkl'))
    run(*where, 'list', '--artifacts-dir', folder)
    assert re.search(r'mine +verified', capsys.readouterr().out)


def test_command_line_refusals(tmp_path):
    wrong = tmp_path / 'page.pkl'
    wrong.write_text('<html>')
    for args, words in [(['fetch', 'nothing'], 'not in the table'),
                        (['add', 'cats-256', '--file', wrong], 'a web page'),
                        (['add', 'cats-256'], 'give --file'), (['add', 'new', '--file', wrong], 'give --url'),
                        (['add', 'cats-256', '--file', tmp_path / 'none'], 'no such file'),
                        (['add', 'celebahq-classifier-00', '--file', table.TABLE, '--artifacts-dir', '/dev/null'],
                         'no folder can be made')]:
        with pytest.raises(UserError, match=words):
            run(*(args if '--artifacts-dir' in args else args + ['--artifacts-dir', tmp_path / 'folder']))
    assert not (tmp_path / 'folder' / 'karras2019stylegan-cats-256x256.pkl').exists()


def test_command_line_prints_sentences(tmp_path):
    process = subprocess.run([sys.executable, '-m', 'dnnlib.artifacts', 'fetch', 'nothing'], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, cwd=str(ROOT))
    assert process.returncode == 2
    assert process.stderr.startswith(b'error: ') and b'Traceback' not in process.stderr


def test_progress_is_sparse_in_a_log(server, tmp_path, monkeypatch):
    server.answers['/a'] = lambda h: h.serve()
    log = io.StringIO()
    monkeypatch.setattr(sys, 'stderr', log)
    download.download(server.url + '/a', str(tmp_path / 'file'))
    assert log.getvalue().splitlines() == ['a: downloading', f'a: {len(CONTENT) / 1e6:.1f} MB done']
