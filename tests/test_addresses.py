"""Folders at addresses of object stores as input and output of data commands."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from prefilter_helpers import DETECTOR, content, make_tree, save_photo, settings, use_detector

from data.addresses import is_address
from data.commands import main
from data.prefilter.run import prefilter
from dnnlib.addresses import without_passwords
from dnnlib.submission import processes
from dnnlib.util import UserError


@pytest.fixture
def store():
    """An empty store in memory."""
    fsspec = pytest.importorskip('fsspec', reason='the extra `cluster` is not installed')
    system = fsspec.filesystem('memory')
    if system.exists('/bucket'):
        system.rm('/bucket', recursive=True)
    return system


def put_folder(system, folder, root):
    for path in sorted(folder.rglob('*')):
        if path.is_file():
            target = f'{root}/{path.relative_to(folder)}'
            system.makedirs(target.rpartition('/')[0], exist_ok=True)
            with system.open(target, 'wb') as f:
                f.write(path.read_bytes())


@pytest.mark.parametrize('command', [['create_toyfaces', 's3://bucket/faces', '--num', '8', '--resolution', '16'],
                                     ['prefilter', 'in', 'S3://bucket/faces', '--workers', '1']])
def test_an_address_is_no_folder_to_make(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'in').mkdir()
    save_photo(tmp_path / 'in' / 'a.png')
    with pytest.raises(UserError, match='is an address'):
        main(command)
    assert [path.name for path in tmp_path.iterdir()] == ['in']


@pytest.mark.parametrize('command', [['info', 's3://bucket/faces'],
                                     ['split', 'out', 's3://bucket/faces', '--shards', '2']])
def test_an_address_is_no_folder_to_read_where_nothing_is_copied(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="'s3:/.*bucket/faces' is an address, and data sets are read from folders here"):
        main(command)


def test_passwords_in_addresses_of_any_kind_are_hidden():
    assert without_passwords("'ftp://me:secret@host/a' and s3://key:secret@bucket/b@c") == \
        "'ftp://***@host/a' and s3://***@bucket/b@c"


def test_names_of_a_store_that_would_be_one_file_here_are_refused(tmp_path, store, monkeypatch):
    monkeypatch.setattr(type(store), 'find', lambda *args, **options: {
        f'/bucket/in/{name}': dict(size=3) for name in ('a/', 'a/b.png', 'a//b.png')})
    with pytest.raises(UserError, match="holds 'a//b.png', which is no name of a file"):
        main(['create_from_images', str(tmp_path / 'out'), 'memory://bucket/in'])


def test_a_file_that_a_store_gives_in_part_is_no_file(tmp_path, store, monkeypatch):
    make_tree(tmp_path / 'in', 2)
    put_folder(store, tmp_path / 'in', '/bucket/in')
    find = type(store).find
    monkeypatch.setattr(type(store), 'find', lambda self, *args, **options: {
        name: dict(facts, size=facts['size'] + 1) for name, facts in find(self, *args, **options).items()})
    with pytest.raises(UserError, match=r'gave \d+ of \d+ bytes; repeat the command'):
        main(['create_from_images', str(tmp_path / 'out'), 'memory://bucket/in'])
    assert not (tmp_path / 'out').exists()


def journey(system, protocol, tmp_path, monkeypatch):
    """Photographs at an address become crops, these a data set, each at an address."""
    use_detector(monkeypatch, DETECTOR)
    make_tree(tmp_path / 'in', 9)
    put_folder(system, tmp_path / 'in', '/bucket/in')
    base = f'{protocol}://bucket'
    main(['prefilter', f'{base}/in', f'{base}/faces', '--size', '32', '--workers', '1'])
    prefilter(settings(tmp_path / 'in', tmp_path / 'faces'), 1)
    expected = content(tmp_path / 'faces')
    found = {path.rpartition('bucket/faces/')[2]: system.cat(path) for path in system.find(f'{base}/faces')}
    assert {path: data for path, data in found.items() if path.endswith(('.png', '.csv'))} == expected
    save_photo(tmp_path / 'more' / 'new.png')
    put_folder(system, tmp_path / 'more', '/bucket/in')
    main(['prefilter', f'{base}/in', f'{base}/faces', '--size', '32', '--workers', '1', '--resume'])
    assert system.exists(f'{base}/faces/new.png')
    main(['create_from_images', f'{base}/sets/faces', f'{base}/faces', '--workers', '1'])
    main(['verify', f'{base}/sets/faces'])
    names = {path.rpartition('/')[2] for path in system.find(f'{base}/sets/faces')}
    assert names == {f'faces-r0{log2}.tfrecords' for log2 in (2, 3, 4, 5)} | {'manifest.json'}
    with pytest.raises(UserError, match='holds something already'):
        main(['create_from_images', f'{base}/sets/faces', f'{base}/faces'])
    with pytest.raises(UserError, match='there is nothing at'):
        main(['verify', f'{base}/sets/others'])


def test_all_stages_run_on_a_store(store, tmp_path, monkeypatch, capsys):
    journey(store, 'memory', tmp_path, monkeypatch)
    assert 'is sound: checksums, 9 records' in capsys.readouterr().out


def test_nothing_half_written_stays_at_an_address(store, tmp_path, monkeypatch):
    main(['create_toyfaces', str(tmp_path / 'faces'), '--resolution', '16', '--num', '4', '--workers', '1'])
    put_folder(store, tmp_path / 'faces', '/bucket/faces')
    main(['extract', str(tmp_path / 'faces'), str(tmp_path / 'pictures')])
    real = type(store).open

    def fail(self, path, mode='rb', **options):
        if mode == 'wb' and path.endswith('r03.tfrecords'):
            raise OSError('the store is full')
        return real(self, path, mode, **options)

    monkeypatch.setattr(type(store), 'open', fail)
    with pytest.raises(UserError, match="cannot write to 'memory://bucket/set': OSError: the store is full"):
        main(['create_from_images', 'memory://bucket/set', str(tmp_path / 'pictures'), '--workers', '1'])
    assert not store.find('/bucket/set')


@pytest.mark.parametrize('address, problem', [
    ('memory://', 'names no folder'), ('nosuch://bucket/x', 'no address that is known'),
    ('memory://a/..', 'no folder')])
def test_odd_addresses_are_refused(store, address, problem):
    with pytest.raises(UserError, match=problem):
        main(['verify', address])


def test_addresses_without_the_extra_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, 'fsspec', None)
    with pytest.raises(UserError, match='make setup EXTRAS=cluster'):
        main(['verify', 's3://bucket/faces'])
    assert is_address('s3://a') and not is_address('C:/x') and not is_address('faces')


@contextlib.contextmanager
def serving(arguments, address):
    """A program of Python that answers at an address."""
    server = subprocess.Popen([sys.executable] + arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.time() + 300
        while True:
            try:
                urllib.request.urlopen(address, timeout=5).read()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                assert time.time() < deadline and server.poll() is None
                time.sleep(0.2)
        yield
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_all_stages_run_on_an_s3_server(tmp_path, monkeypatch, capsys):
    pytest.importorskip('s3fs', reason='the extra `cluster` is not installed')
    pytest.importorskip('moto', reason='the extra `cluster` is not installed')
    import fsspec
    port = processes.free_port()
    address = f'http://127.0.0.1:{port}'
    for name, value in (('AWS_ACCESS_KEY_ID', 'test'), ('AWS_SECRET_ACCESS_KEY', 'test'),
                        ('AWS_DEFAULT_REGION', 'us-east-1')):
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(fsspec.config.conf, 's3', {'client_kwargs': {'endpoint_url': address}})
    with serving(['-c', 'from moto.server import main; main()', '-p', str(port)], address):
        system = fsspec.filesystem('s3')
        system.mkdir('bucket')
        journey(system, 's3', tmp_path, monkeypatch)
        assert 'is sound: checksums, 9 records' in capsys.readouterr().out
    with pytest.raises(UserError, match="cannot read 's3://bucket/sets/faces'"):
        main(['verify', 's3://bucket/sets/faces'])


@pytest.mark.slow
def test_all_stages_run_on_a_google_cloud_storage_server(tmp_path, monkeypatch, capsys):
    """One that runs already, at STORAGE_EMULATOR_HOST, or an emulator that is started here."""
    gcsfs = pytest.importorskip('gcsfs', reason='gcsfs, which gs:// needs, is not installed')
    with contextlib.ExitStack() as stack:
        if 'STORAGE_EMULATOR_HOST' not in os.environ:
            pytest.importorskip('gcp_storage_emulator', reason='gcp-storage-emulator is not installed')
            port = processes.free_port()
            address = f'http://127.0.0.1:{port}'
            stack.enter_context(serving(['-m', 'gcp_storage_emulator', 'start',
                                         '--port', str(port), '--in-memory'], address))
            monkeypatch.setenv('STORAGE_EMULATOR_HOST', address)
        gcsfs.GCSFileSystem.clear_instance_cache()
        system = gcsfs.GCSFileSystem()
        system.mkdir('bucket')
        stack.callback(gcsfs.GCSFileSystem.clear_instance_cache)
        journey(system, 'gs', tmp_path, monkeypatch)
    assert 'is sound: checksums, 9 records' in capsys.readouterr().out
