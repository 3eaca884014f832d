import errno
import hashlib
import http.server
import os
import pathlib
import pickle
import stat
import subprocess
import sys
import threading
import time

import pytest

import dnnlib
from dnnlib import util

pytestmark = pytest.mark.both


def test_importing_dnnlib_does_not_import_tensorflow():
    code = 'import sys, dnnlib; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.call([sys.executable, '-c', code]) == 0


def test_easydict_attributes_are_items():
    d = dnnlib.EasyDict(a=1)
    d.b = 2
    d['c'] = 3
    del d.a
    assert dict(d) == {'b': 2, 'c': 3}
    assert d.c == 3
    with pytest.raises(AttributeError):
        d.a  # noqa: B018
    with pytest.raises(AttributeError):
        del d.a
    assert not hasattr(d, 'nothing')


def test_easydict_survives_pickling_and_copying():
    d = dnnlib.EasyDict(a=dnnlib.EasyDict(b=1))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        restored = pickle.loads(pickle.dumps(d, protocol))
        assert type(restored) is dnnlib.EasyDict
        assert restored.a.b == 1


@pytest.mark.parametrize('value,digits,text', [
    (10706.41, 4, '10710'), (1670.47, 4, '1670'), (4.3214, 4, '4.321'), (164.0, 2, '160'), (24.2, 2, '24'),
    (0.000012, 2, '1.2e-05'), (0, 4, '0'), (-123456, 3, '-123000'), (1e300, 4, '1e+300'), (float('nan'), 4, 'nan'),
    (float('inf'), 2, 'inf')])
def test_numbers_have_no_exponent_where_they_need_none(value, digits, text):
    assert util.format_digits(value, digits) == text


@pytest.mark.parametrize('seconds,text', [
    (0, '0s'), (59.4, '59s'), (59.5, '1m 00s'), (65, '1m 05s'), (3599.6, '1h 00m 00s'), (7207, '2h 00m 07s'),
    (86400, '1d 00h 00m'), (3 * 86400 + 4 * 3600 + 5 * 60 + 6, '3d 04h 05m')])
def test_format_time(seconds, text):
    assert util.format_time(seconds) == text


def test_objects_are_found_by_name():
    assert util.get_obj_by_name('os.path.join') is os.path.join
    assert util.get_obj_by_name('dnnlib.util.EasyDict.__setattr__') is util.EasyDict.__setattr__
    assert util.call_func_by_name('a', 'b', func_name='os.path.join') == os.path.join('a', 'b')


@pytest.mark.parametrize('name', ['nosuchmodule.func', 'os.path.nosuchfunc', 'dnnlib.nosuch.deeper.func', 'lonely'])
def test_unknown_names_raise_import_error(name):
    with pytest.raises(ImportError):
        util.get_obj_by_name(name)


def test_errors_inside_an_imported_module_are_not_hidden(tmp_path, monkeypatch):
    (tmp_path / 'module_with_missing_import.py').write_text('import surely_not_installed\ndef func(): pass\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match='surely_not_installed'):
        util.get_obj_by_name('module_with_missing_import.func')


def test_top_level_function_names():
    assert util.get_top_level_function_name(util.format_time) == 'dnnlib.util.format_time'
    assert not util.is_top_level_function(lambda: None)
    assert not util.is_top_level_function(util.EasyDict)


def test_atomic_write_replaces_the_file_and_respects_umask(tmp_path):
    path = tmp_path / 'state.bin'
    path.write_bytes(b'old')
    old_umask = os.umask(0o022)
    try:
        with util.atomic_write(path) as f:
            f.write(b'new')
            f.flush()
            assert path.read_bytes() == b'old'
    finally:
        os.umask(old_umask)
    assert path.read_bytes() == b'new'
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(str(tmp_path)) == ['state.bin']


def test_atomic_write_leaves_nothing_behind_on_error(tmp_path):
    path = tmp_path / 'state.txt'
    path.write_text('old')
    with pytest.raises(RuntimeError):
        with util.atomic_write(str(path), 'w') as f:
            f.write('half')
            raise RuntimeError
    assert path.read_text() == 'old'
    assert os.listdir(str(tmp_path)) == ['state.txt']


def test_atomic_write_names_the_users_file_where_none_can_be_made(tmp_path):
    (tmp_path / 'file').write_text('')
    for path in (tmp_path / 'absent' / 'a', tmp_path / 'file' / 'a'):
        with pytest.raises(OSError) as caught:
            with util.atomic_write(path):
                pass
        assert caught.value.filename == str(path)


def test_atomic_path_keeps_the_suffix(tmp_path):
    with util.atomic_path(tmp_path / 'image.png') as temp:
        assert temp.endswith('.png')
        with open(temp, 'wb') as f:
            f.write(b'x')
    assert os.listdir(str(tmp_path)) == ['image.png']


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    (tmp_path / 'folder').mkdir()
    with util.atomic_folder(tmp_path / 'folder') as temp:
        (pathlib.Path(temp) / 'content').write_text('x')
        assert not list((tmp_path / 'folder').iterdir())
    with pytest.raises(RuntimeError):
        with util.atomic_folder(tmp_path / 'other') as temp:
            (pathlib.Path(temp) / 'content').write_text('x')
            raise RuntimeError
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob('*'))] == ['folder', 'folder/content']


HOLD_A_FOLDER = """
import sys, time
from dnnlib import util
with util.atomic_folder(sys.argv[1]) as temp:
    open(temp + '/content', 'w').close()
    print(temp, flush=True)
    time.sleep(600)
"""


def test_leftovers_of_killed_programs_go_and_those_of_living_ones_stay(tmp_path):
    holders = [subprocess.Popen([sys.executable, '-c', HOLD_A_FOLDER, str(tmp_path / name)], stdout=subprocess.PIPE,
                                universal_newlines=True) for name in ('dead', 'alive')]
    try:
        dead, alive = [holder.stdout.readline().strip() for holder in holders]
        holders[0].kill()
        holders[0].wait()
        old, fresh, other = [str(tmp_path / name) for name in
                             ('.tmp-1-0123abcd-old', '.tmp-1-0123abcd-fresh', '.tmp-of-somebody')]
        for path in (old, fresh, other):
            open(path, 'w').close()
        for path in (old, other):
            os.utime(path, (0, 0))
        assert os.path.isdir(dead)
        with util.atomic_folder(tmp_path / 'next'):
            pass
        names = {os.path.basename(path) for path in (alive, fresh, other)}
        assert set(os.listdir(str(tmp_path))) == names | {'next'}
        assert os.listdir(alive) == ['content']
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def test_sha256_file(tmp_path):
    data = os.urandom((1 << 20) + 17)
    (tmp_path / 'f').write_bytes(data)
    assert util.sha256_file(tmp_path / 'f') == hashlib.sha256(data).hexdigest()


def test_logger_tees_both_streams_and_restores_them(tmp_path, capsys):
    before = sys.stdout, sys.stderr
    with util.Logger(str(tmp_path / 'log.txt')):
        print('out')
        print('err', file=sys.stderr)
    assert (sys.stdout, sys.stderr) == before
    with util.Logger(str(tmp_path / 'log.txt'), file_mode='a') as logger:
        logger.write('unfinished')
    assert (tmp_path / 'log.txt').read_text() == 'out\nerr\nunfinished\n'
    captured = capsys.readouterr()
    assert captured.out == 'out\nunfinished'
    assert captured.err == 'err\n'


def test_logger_keeps_only_the_last_form_of_a_redrawn_line(tmp_path):
    with util.Logger(str(tmp_path / 'log.txt')):
        print('\r 10%', end='')
        print('\r 50%', end='')
        print('\r100%\r\nnext')
    assert (tmp_path / 'log.txt').read_text() == '100%\nnext\n'


def run_script(body):
    code = 'import sys\nfrom dnnlib.util import *\ndef main():\n    ' + body + '\nrun_main(main)'
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               universal_newlines=True)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize('body,status,message', [
    ("raise UserError('no such thing')", 2, 'error: no such thing\n'),
    ('raise KeyboardInterrupt', 130, 'interrupted\n'),
    (f"raise OSError({errno.ENOSPC}, 'x', 'file')", 2,
     'error: no space left on the disk while writing file; free some space and repeat the command\n'),
    (f"raise OSError({errno.EROFS}, 'Read-only file system', 'file')", 2,
     "error: no access to 'file': Read-only file system\n"),
    (f"raise OSError({errno.EISDIR}, 'Is a directory', 'new', None, 'out.png')", 2,
     "error: 'out.png' cannot be used: Is a directory\n"),
    (r"raise UserError('asks for \x1b[31mos.system\r\nand')", 2, 'error: asks for \\x1b[31mos.system\\r\nand\n'),
    ('pass', 0, ''),
    ('return 3', 3, '')])
def test_run_main_exit_status(body, status, message):
    assert run_script(body) == (status, '', message)


def test_run_main_shows_our_own_mistakes():
    status, _, err = run_script("raise ValueError('bug')")
    assert status == 1
    assert 'Traceback' in err


CONTENT = pickle.dumps('content', 2)


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        requests = []

        def do_GET(self):
            self.requests.append(self.path)
            if self.path == '/missing':
                self.send_error(404)
            elif self.path == '/page':
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'\n<!DOCTYPE html><html>Sorry</html>')
            elif self.path == '/flaky' and len(self.requests) == 1:
                self.send_error(503)
            else:
                self.send_response(200)
                self.send_header('Content-Disposition', 'attachment; filename="../evil name.pkl"')
                self.end_headers()
                self.wfile.write(CONTENT)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = 'http://127.0.0.1:%d' % server.server_port
    server.requests = Handler.requests
    yield server
    server.shutdown()
    server.server_close()


def test_open_url_caches_by_md5(server, tmp_path):
    url = server.url + '/file'
    for _ in range(2):
        with util.open_url(url, cache_dir=str(tmp_path), verbose=False) as f:
            assert f.read() == CONTENT
    assert server.requests == ['/file']
    name = hashlib.md5(url.encode()).hexdigest() + '_.._evil_name.pkl'
    assert os.listdir(str(tmp_path)) == [name]


def test_web_pages_do_not_enter_the_cache(server, tmp_path):
    for _ in range(2):
        with pytest.raises(util.UserError, match='web page in place of the file'):
            util.open_url(server.url + '/page', cache_dir=str(tmp_path), verbose=False)
        assert os.listdir(str(tmp_path)) == []


def test_open_url_tries_again_but_not_when_it_is_pointless(server, monkeypatch):
    monkeypatch.setattr(time, 'sleep', lambda seconds: None)
    assert util.open_url(server.url + '/flaky', verbose=False).read() == CONTENT
    assert len(server.requests) == 2
    with pytest.raises(util.UserError, match='404'):
        util.open_url(server.url + '/missing', verbose=False)
    assert len(server.requests) == 3


@pytest.mark.parametrize('url', ['', 'file.pkl', 'ftp://host/x', '/abs/path', 'http://', None])
def test_open_url_refuses_what_is_no_address(url):
    with pytest.raises(util.UserError, match='not an http'):
        util.open_url(url)
