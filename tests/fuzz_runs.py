"""What a run directory holds, and what servers answer, for `make fuzz`; see tests/fuzz.py."""

import atexit
import contextlib
import functools
import io
import itertools
import json
import os
import shutil
import socket
import tempfile
import threading
from unittest import mock

import numpy as np

OLD_RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data', 'run-of-2b34ccf')


# ---- Runs

def content_of(*names):
    """A function that yields what the files of a finished run hold."""
    def files():
        for name in names:
            with open(os.path.join(OLD_RUN, *name.split('/')), 'rb') as f:
                yield f.read()
    return files


def label_distributions():
    from training.network_files.labels import LabelDistribution
    for names in (None, ['cat', 'dog']):
        stream = io.BytesIO()
        distribution = LabelDistribution(np.eye(2), [3, 4], names)
        arrays = {} if names is None else {'names': np.array(names, dtype=str)}
        np.savez_compressed(stream, rows=distribution.rows, counts=distribution.counts, **arrays)
        yield stream.getvalue()


def environments():
    start = dict(time='2026-01-01T00:00:00', version='1', python='3.7', packages={'numpy': '1.18.5'}, command=['x'],
                 cpu='x', cpu_count=2, gpus=[{'name': 'x'}], git_commit='a' * 40, variables={'TF_X': '1'})
    yield json.dumps({'starts': [start, start]}).encode()


def originals():
    """The config.txt of the original, as one text and as lines of dicts."""
    sections = dict(dataset=dict(tfrecord_dir='ffhq', mirror_augment=True), train=dict(total_kimg=25000),
                    sched=dict(minibatch_dict={4: 512}), num_gpus=8)
    yield repr(sections).encode()
    yield b"{\n 'dataset': {'tfrecord_dir': 'ffhq'},\n 'train': {'run_func_name': <function f>},\n}"


def in_a_run(name, *readers):
    """A reader: the file is that of this name in the directory of a finished run, which all `readers` look at."""
    @functools.lru_cache(maxsize=None)
    def make_run():
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        run_dir = os.path.join(folder, '00003-run')
        shutil.copytree(OLD_RUN, run_dir)
        shutil.copy(os.path.join(run_dir, 'network-final.pkl'), os.path.join(run_dir, 'network-best-fid50k.pkl'))
        with open(os.path.join(run_dir, 'environment.json'), 'wb') as f:
            f.write(next(environments()))
        if name == 'config.txt':
            os.unlink(os.path.join(run_dir, 'submit_config.json'))  # the original had none
        return run_dir

    def read(path):
        run_dir = make_run()
        shutil.copyfile(path, os.path.join(run_dir, *name.split('/')))
        refusal = None
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for reader in readers:
                refusal = _refusal_of(reader, run_dir) or refusal
        if refusal is not None:
            raise refusal
    return read


def _refusal_of(reader, run_dir):
    from dnnlib.util import UserError
    try:
        reader(run_dir)
    except UserError as err:
        return err


def _draw(run_dir):
    """The whole report with its curves, which take most of a second."""
    from experiment.reports import page, report
    page.render(report.gather(run_dir))


def _describe(run_dir):
    from experiment.reports import card, page, plots, report
    with mock.patch.object(plots, 'charts', lambda *args: []):
        refusal = _refusal_of(lambda folder: page.render(report.gather(folder)), run_dir)
    card.render(card.gather(run_dir))
    if refusal is not None:
        raise refusal


def _resume(run_dir):
    """Configures going on, as far as no data are needed."""
    import train
    from experiment.start import Start
    from training.state import resume
    resume.find_checkpoint(run_dir, 7, warn=lambda text: None)
    resume.read_data_record(run_dir)
    Start(train.parse_args(['--resume', run_dir, '--set', 'train.total_kimg=9']))


def _measure(run_dir):
    """What the metrics of a run take from it."""
    from metrics.scores import own, store
    from training.network_files import best, data
    found = store.find(os.path.join(run_dir, 'metrics', 'network-snapshot-000000'), 'fid50k')
    best.kept_scores(run_dir)
    protocol = own.own_protocol(run_dir, 'fid50k')
    for _, record in found:
        best.update(run_dir, record, protocol)
    data.run_data(run_dir)


def _locate(run_dir):
    from training.network_files.locate import locate
    locate(run_dir)
    locate(run_dir + ':best')


def _labels(run_dir):
    from training.network_files import labels
    path = os.path.join(run_dir, 'network-final.pkl')
    labels.choose('data', 2, path)
    labels.choose('index:1', 2, path)


def _explain(run_dir):
    from metrics.scores import explain, records
    path = os.path.join(run_dir, 'metrics', 'network-snapshot-000000', 'fid50k.json')
    record = records.read_record(path)
    explain.compare(record, records.read_record(os.path.join(OLD_RUN, 'best-fid50k.json')))


def _original(run_dir):
    from training.network_files.data import run_data
    run_data(run_dir)


# ---- Downloads

BODY = b'\x89PNG\r\n\x1a\n' + bytes(range(256)) * 4
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n' % len(BODY) + BODY


def answers():
    """Answers of HTTP servers: files whole and in part, pages that ask for a confirmation, redirections, refusals."""
    def answer(status, body, *headers):
        return ''.join(line + '\r\n' for line in (f'HTTP/1.1 {status}',) + headers).encode() + b'\r\n' + body
    yield GOOD
    yield answer('200 OK', BODY, f'Content-Length: {len(BODY)}', 'ETag: "a"',
                 "Content-Disposition: attachment; filename=\"x.bin\"; filename*=UTF-8''x.bin")
    yield answer('200 OK', b'400\r\n' + BODY[:1024] + b'\r\n0\r\n\r\n', 'Transfer-Encoding: chunked')
    yield answer('206 Partial Content', BODY[100:], f'Content-Range: bytes 100-{len(BODY) - 1}/{len(BODY)}',
                 f'Content-Length: {len(BODY) - 100}', 'ETag: "a"')
    page = b'<html><form id="download-form" action="/get?a=1"><input name="confirm" value="t"></form>' \
           b'<a id="uc-download-link" href="/x">x</a></html>'
    yield answer('200 OK', page, 'Content-Type: text/html; charset=utf-8', f'Content-Length: {len(page)}')
    yield answer('302 Found', b'', 'Location: /other', 'Content-Length: 0')
    yield answer('429 Too Many Requests', b'', 'Retry-After: 0', 'Content-Length: 0')


def read_answer(path):
    """Downloads from a server that gives this answer first and good ones then, with and without a part from before."""
    from dnnlib import download
    with open(path, 'rb') as f:
        content = f.read()
    folder = os.path.join(os.path.dirname(path), 'downloaded')
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    refusals = []
    for name, part in (('new', None), ('old', BODY[:100])):
        with _server(content) as url, contextlib.redirect_stderr(io.StringIO()), \
                mock.patch.object(download, 'MAX_WAIT', 0):
            target = os.path.join(folder, name)
            if part is not None:
                with open(target, 'wb') as f:
                    f.write(part)
                with open(target + '.json', 'w') as f:
                    json.dump(dict(address=download._address_hash(url), etag='"a"', modified='', total=len(BODY),
                                   file_name='file'), f)
            try:
                download.download(url, target, num_attempts=2, verbose=False, max_bytes=1 << 20)
            except download.DownloadError as err:
                refusals.append(err)
    shutil.rmtree(folder)
    if len(refusals) == 2:
        raise refusals[-1]


@contextlib.contextmanager
def _server(answer):
    """Yields the address of a server that sends these bytes to the first who connects, and a whole file then."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(16)

    def serve():
        for content in itertools.chain([answer], itertools.repeat(GOOD)):
            try:
                connection = listener.accept()[0]
            except OSError:
                return  # closed
            with contextlib.suppress(OSError), connection:
                connection.settimeout(5)
                connection.recv(1 << 16)
                connection.sendall(content)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{listener.getsockname()[1]}/file'
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


READERS = {     # name -> (good files, reader, suffix of the file's name)
    'runs config': (content_of('submit_config.json'), in_a_run(
        'submit_config.json', _describe, _measure, _locate, _resume), '.bin'),
    'runs data': (content_of('dataset.json'), in_a_run('dataset.json', _describe, _measure, _resume), '.bin'),
    'runs ticks': (content_of('stats.jsonl'), in_a_run('stats.jsonl', _draw, _resume), '.bin'),
    'runs environments': (environments, in_a_run('environment.json', _describe), '.bin'),
    'runs scores': (content_of('metrics/network-snapshot-000000/fid50k.json'), in_a_run(
        'metrics/network-snapshot-000000/fid50k.json', _describe, _measure, _explain), '.bin'),
    'runs best score': (content_of('best-fid50k.json'), in_a_run('best-fid50k.json', _describe, _measure, _locate),
                        '.bin'),
    'runs labels': (label_distributions, in_a_run('labels.npz', _labels), '.bin'),
    'runs checkpoints': (content_of('checkpoints/checkpoint-000000000160.ckpt'), in_a_run(
        'checkpoints/checkpoint-000000000160.ckpt', _resume), '.bin'),
    'runs of the original': (originals, in_a_run('config.txt', _original), '.bin'),
    'download answers': (answers, read_answer, '.bin')}
