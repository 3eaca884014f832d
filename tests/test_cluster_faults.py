"""Schedulers and workers as programs of their own, and what is left when they are killed."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from prefilter_helpers import ALWAYS, SLOW, content, make_tree, save_photo, settings
from test_prefilter_run import rows, wait_for_crops

from data.cluster import engine
from data.commands import main as data_command
from data.prefilter.run import prefilter
from data.records.dataset import TFRecordDataset
from dnnlib.submission import processes
from dnnlib.util import UserError

pytestmark = pytest.mark.slow
HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = '''import sys
sys.path[:0] = [{root!r}, {here!r}]
from dnnlib.util import run_main
from data.cluster.engine import Cluster
from data.prefilter.run import prefilter
from prefilter_helpers import settings


def main():
    with Cluster({where!r}, {file!r}) as cluster:
        print(prefilter(settings({source!r}, {out!r}), 2, resume={resume!r}, cluster=cluster)["kept"])


if __name__ == "__main__":
    run_main(main)
'''


@pytest.fixture
def site(tmp_path):
    """Starts programs in process groups of their own; kills what is left of them."""
    pytest.importorskip('distributed', reason='the extra `cluster` is not installed')
    with contextlib.ExitStack() as stack:
        yield Site(stack, tmp_path)


class Site:
    def __init__(self, stack, tmp_path):
        self._stack, self._tmp_path = stack, tmp_path
        self.address = f'127.0.0.1:{processes.free_port()}'

    def start(self, *words, **options):
        paths = [HERE, str(ROOT)] + [path for path in os.environ.get('PYTHONPATH', '').split(os.pathsep) if path]
        env = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), PREFILTER_TEST_SLOW='0.08', **options)
        process = subprocess.Popen([sys.executable] + list(words), env=env, start_new_session=True, cwd=str(ROOT),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        self._stack.callback(self.kill, process)
        return process

    def kill(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()

    def scheduler(self):
        process = self.start('-m', 'data.cluster', 'scheduler', '--host', '127.0.0.1', '--port', self.address[10:])
        assert process.stdout.readline() == f'scheduler at {self.address}\n'
        return process

    def worker(self, count=1):
        return self.start('-m', 'data.cluster', 'worker', self.address, '--workers', str(count))

    def prefilter(self, source, out, resume=False, where=None, file=None, **options):
        script = self._tmp_path / 'script.py'
        script.write_text(SCRIPT.format(root=str(ROOT), here=HERE, where=where or self.address, file=file,
                                        source=str(source), out=str(out), resume=resume))
        return self.start(str(script), **options)


def finished(process):
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return output


@pytest.fixture
def photos(tmp_path):
    make_tree(tmp_path / 'in', 80, red=SLOW)
    save_photo(tmp_path / 'in' / 'class1' / 'deadly.png', red=ALWAYS)
    return tmp_path / 'in'


@pytest.fixture
def expected(tmp_path, photos):
    prefilter(settings(photos, tmp_path / 'expected'), 2)
    return content(tmp_path / 'expected')


def test_a_lost_scheduler_ends_the_run_in_a_sentence_and_nothing_finished_is_lost(tmp_path, site, photos, expected):
    out = tmp_path / 'out'
    scheduler = site.scheduler()
    workers = [site.worker() for _ in range(2)]
    process = site.prefilter(photos, out)
    wait_for_crops(out, 12, process)
    site.kill(scheduler)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 2 and 'the scheduler of the cluster was lost' in errors and 'Traceback' not in errors
    for worker in workers:
        site.kill(worker)
    before = {path: path.stat().st_mtime_ns for path in out.rglob('class*/*.png')}
    assert 12 <= len(before) < 70
    site.scheduler()
    site.worker(2)
    assert finished(site.prefilter(photos, out, resume=True)) == '69\n'
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert content(out) == expected and rows(out)['class1/deadly.png'].reason == 'crashed'


def test_a_lost_machine_and_a_lost_command_cost_nothing_that_is_finished(tmp_path, site, photos, expected):
    out = tmp_path / 'out'
    site.scheduler()
    lost, _ = site.worker(), site.worker()
    process = site.prefilter(photos, out)
    wait_for_crops(out, 8, process)
    site.kill(lost)
    wait_for_crops(out, 20, process)
    site.kill(process)
    before = {path: path.stat().st_mtime_ns for path in out.rglob('class*/*.png')}
    time.sleep(3)  # the workers see that nobody waits any more
    assert finished(site.prefilter(photos, out, resume=True)) == '69\n'
    assert all(path.stat().st_mtime_ns == when for path, when in before.items()) and content(out) == expected


def test_a_full_disk_ends_the_run_in_a_sentence_and_it_goes_on(tmp_path, site, photos, expected):
    out = tmp_path / 'out'
    out.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=160k', 'tmpfs', str(out)]
    if os.getuid() != 0 or subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip('only root, where it may mount, can make a small disk')
    try:
        process = site.prefilter(photos, out, where='local:2')
        errors = process.communicate(timeout=240)[1]
        assert process.returncode == 2 and 'No space left on device' in errors and 'Traceback' not in errors
        before = {path: path.stat().st_mtime_ns for path in out.rglob('class*/*.png')}
        assert before
        assert not subprocess.call(['mount', '-o', 'remount,size=16m', str(out)])
        assert finished(site.prefilter(photos, out, resume=True, where='local:2')) == '69\n'
        assert all(path.stat().st_mtime_ns == when for path, when in before.items()) and content(out) == expected
    finally:
        subprocess.call(['umount', '-l', str(out)])


@pytest.mark.parametrize('kind', ['ssh', 'slurm'])
def test_starters_start_workers_and_end_them(tmp_path, site, photos, expected, kind):
    """The commands are stand-ins which run here what they are given; what reaches them is the real thing."""
    programs = tmp_path / 'bin'
    programs.mkdir()
    log = tmp_path / 'ended'
    scripts = {'ssh': 'for last; do :; done\nexec sh -c "$last"\n',
               'sbatch': 'sh "$2" > /dev/null 2>&1 &\necho "$!;here"\n', 'srun': 'exec "$@"\n',
               'scancel': f'kill "$1"\necho "$1" > {log}\n'}
    for name, text in scripts.items():
        (programs / name).write_text('#!/bin/sh\n' + text)
        (programs / name).chmod(0o755)
    (tmp_path / 'hosts').write_text('alpha\nbeta\n')
    (tmp_path / 'options.yaml').write_text('workers: 1\nhost: 127.0.0.1\n')
    out = tmp_path / 'out'
    path = os.pathsep.join([str(programs), os.environ['PATH']])
    where = f"ssh:{tmp_path / 'hosts'}" if kind == 'ssh' else 'slurm'
    assert finished(site.prefilter(photos, out, where=where, file=str(tmp_path / 'options.yaml'), PATH=path)) == '69\n'
    assert content(out) == expected and (kind == 'ssh' or log.exists())


def test_another_version_of_the_engine_is_refused_in_a_sentence(site, monkeypatch):
    other = pathlib.Path(os.environ.get('OTHER_DASK_PYTHON', ''))
    if not other.is_file():
        pytest.skip('OTHER_DASK_PYTHON does not name a Python with another version of Dask')
    monkeypatch.setattr(engine, 'CONNECT_SECONDS', 15)
    with monkeypatch.context() as patch:
        patch.setattr(sys, 'executable', str(other))
        patch.setenv('PYTHONPATH', os.environ.get('OTHER_DASK_PATH', ''))
        site.scheduler()
        site.worker()
    with pytest.raises(UserError, match='must have the same|no scheduler of this version|the workers cannot import'):
        with engine.Cluster(site.address):
            pass


def test_codes_made_on_a_cluster_are_those_made_here(tmp_path):
    pytest.importorskip('distributed', reason='the extra `cluster` is not installed')
    from test_acceleration import make_codec
    codec, faces = make_codec(tmp_path / 'codec.pkl'), str(tmp_path / 'toy')
    data_command(['create_toyfaces', faces, '--resolution', '32', '--num', '21', '--workers', '1'])
    arguments = [faces, '--codec', codec, '--mirror', '1', '--minibatch', '2', '--device', 'cpu']
    data_command(['encode', str(tmp_path / 'here' / 'codes')] + arguments)
    data_command(['encode', str(tmp_path / 'there' / 'codes')] + arguments + ['--cluster', 'local:2'])
    data_command(['verify', str(tmp_path / 'there' / 'codes')])
    here, there = (TFRecordDataset(str(tmp_path / side / 'codes'), max_label_size='full') for side in ('here', 'there'))
    assert len(here) == len(there) == 42 and os.listdir(str(tmp_path / 'there')) == ['codes']
    for ours, theirs in zip(here.get_samples_np(range(42)), there.get_samples_np(range(42))):
        np.testing.assert_allclose(ours.astype(np.float32), theirs.astype(np.float32), atol=2e-3)
