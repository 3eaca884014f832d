"""Data work spread over processes that may be on other machines: what it makes, and what its faults leave."""

import contextlib
import json
import multiprocessing
import os
import shutil
import time

import pytest
from cluster_helpers import DeadlyLoader, FullDisk, OnceDeadlyLoader, Square, environment_of_worker
from prefilter_helpers import ALWAYS, content, make_tree, save_photo, settings
from test_prefilter_run import rows

from data import ledger
from data.cluster import engine, parts, starters
from data.cluster.attempts import Attempt
from data.cluster.photographs import ClusterPool, Portion, _Portions, recover
from data.commands import main
from data.converters.create_from_images import create_from_images
from data.prefilter.run import prefilter
from data.prefilter.scan import walk
from data.verify import verify
from dnnlib import machine
from dnnlib.config_files import parse_yaml
from dnnlib.errors import UserError

pytestmark = pytest.mark.usefixtures('quick_workers')


@pytest.fixture(scope='module')
def cluster():
    pytest.importorskip('distributed', reason='the extra `cluster` is not installed')
    with engine.Cluster('local:2') as found:
        yield found


def _answer(pipe, function, task):
    pipe.send(function(task))


class OneByOne:
    """Stands for a cluster of one process after the other, without the engine: each piece in a process of its own."""

    num_workers = 1

    def __init__(self, is_local=True):
        self.is_local = is_local

    def check_folder(self, folder):
        assert os.path.isdir(folder)

    def map(self, function, tasks, ordered=True, is_noted=False, left=None):
        context = multiprocessing.get_context('fork')
        for task in tasks:
            for _ in range(8):
                ours, theirs = context.Pipe()
                process = context.Process(target=_answer, args=(theirs, function, task))
                process.start()
                theirs.close()
                try:
                    answer = ours.recv()
                except EOFError:
                    continue
                finally:
                    process.join()
                yield answer
                break
            else:
                raise AssertionError('a piece ended every process')


@pytest.fixture
def photos(tmp_path):
    make_tree(tmp_path / 'in', 12)
    save_photo(tmp_path / 'in' / 'class1' / 'deadly.png', red=ALWAYS)
    return tmp_path / 'in'


# ---- Without the engine

@pytest.mark.both
def test_an_image_that_kills_every_worker_gets_a_row_and_nothing_else_is_lost_or_done_twice(tmp_path, photos):
    out = tmp_path / 'out'
    result = prefilter(settings(photos, out), 1, cluster=OneByOne())
    assert result['files'] == 13 == len(rows(out)) and result['reasons']['crashed']['count'] == 1
    assert rows(out)['class1/deadly.png'].detail == 'ended 3 worker processes'
    assert sorted(path.name for path in out.glob('[!c]*')) == ['ledger.csv', 'summary.json']
    prefilter(settings(photos, tmp_path / 'pool'), 1)
    assert content(out) == content(tmp_path / 'pool')


def test_what_a_lost_run_finished_is_kept_and_not_done_again(tmp_path, photos):
    """As after the loss of the scheduler: the portion's rows lie in the shared folder, nobody folded them."""
    out, folder = tmp_path / 'out', tmp_path / 'out' / '.prefilter' / 'unfinished'
    folder.mkdir(parents=True)
    pool = ClusterPool(settings(photos, out), str(out / 'ledger.csv'), str(folder), OneByOne())
    entries = [entry for entry in walk(str(photos)) if 'deadly' not in entry.path]
    Portion(pool._settings, str(folder))((0, entries[:5]))
    before = {path: path.stat().st_mtime_ns for path in out.rglob('class*/*.png')}
    ledger.create(str(out / 'ledger.csv'))
    assert len(before) == 4 and rows(out) == {}
    result = prefilter(settings(photos, out), 1, resume=True, cluster=OneByOne())
    assert result['files'] == 13 and result['run']['images'] == 13 - 5
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    recover(str(folder), str(out / 'ledger.csv'))  # there is nothing, not even the folder


@pytest.mark.parametrize('is_local', [True, False])
def test_a_deadly_picture_is_refused_by_name_or_left_out(tmp_path, monkeypatch, is_local):
    make_tree(tmp_path / 'in', 6, size=(16, 16))
    save_photo(tmp_path / 'in' / 'deadly.png', size=(16, 16))
    monkeypatch.setattr('data.converters.create_from_images.FolderLoader', DeadlyLoader)
    monkeypatch.setattr('data.converters.loading._PIECE_BYTES', 2 * 3 * 16 * 16)
    with pytest.raises(UserError, match='deadly.png ended every worker process that read it'):
        create_from_images(str(tmp_path / 'set'), str(tmp_path / 'in'), cluster=OneByOne(is_local))
    assert os.listdir(str(tmp_path)) == ['in']
    create_from_images(str(tmp_path / 'set'), str(tmp_path / 'in'), skip_bad=True, cluster=OneByOne(is_local))
    manifest = json.loads((tmp_path / 'set' / 'manifest.json').read_text())
    assert manifest['num_images'] == 6 and [entry['file'] for entry in manifest['skipped']] == ['deadly.png']
    verify(str(tmp_path / 'set'), OneByOne(is_local))


@pytest.mark.parametrize('is_local', [True, False])
def test_pieces_of_several_chunks_become_the_same_data_set(tmp_path, monkeypatch, is_local):
    make_tree(tmp_path / 'in', 23, size=(16, 16))
    (tmp_path / 'in' / 'broken.png').write_bytes(b'no picture')
    create_from_images(str(tmp_path / 'alone' / 'set'), str(tmp_path / 'in'), skip_bad=True, workers=1)
    monkeypatch.setattr('data.converters.loading._CHUNK_BYTES', 2 * 3 * 16 * 16)
    monkeypatch.setattr('data.converters.loading._PIECE_BYTES', 7 * 3 * 16 * 16)
    create_from_images(str(tmp_path / 'many' / 'set'), str(tmp_path / 'in'), skip_bad=True, cluster=OneByOne(is_local))
    alone, many = ({path.name: path.read_bytes() for path in (tmp_path / where / 'set').glob('*.tfrecords')}
                   for where in ('alone', 'many'))
    assert alone == many and len(many) == 3
    manifests = [json.loads((tmp_path / where / 'set' / 'manifest.json').read_text()) for where in ('alone', 'many')]
    for key in ('num_images', 'fingerprint', 'skipped'):
        assert manifests[0][key] == manifests[1][key]
    assert manifests[1]['num_images'] == 23 and len(manifests[1]['skipped']) == 1


def sevens(task, attempt, memory):
    memory[:] = 7
    return [memory], task


def test_a_piece_that_was_done_is_not_done_again_in_memory_that_another_has_meanwhile(tmp_path):
    """As after the loss of a worker that had just answered: the engine gives its piece to another one."""
    with contextlib.ExitStack() as closing:
        lender, part = parts._Lender(closing), parts.Part(sevens, str(tmp_path))
        path = lender.lend(0, 1000)
        memory = lender.memories[path]
        assert part((0, ('task', path))) == (0, path, True, 'task') and set(memory.blocks) == {7}
        assert memory.left() is None and part.leave((0, ('task', path)), b'answer') and memory.left() == b'answer'
        memory.blocks[:] = 9
        assert part((0, ('task', path))) is None and part.leave((0, ('task', path)), b'other')
        lender.free.append(path)
        assert lender.lend(1, 500) == path and memory.left() is None
        assert part((0, ('task', path))) is None and part.leave((0, ('task', path)), b'other')
        assert set(memory.blocks) == {9} and memory.left() is None and os.listdir(str(tmp_path)) == []
        assert part((1, ('next', path))) == (1, path, True, 'next')
        assert part.leave((1, ('next', path)), bytes(10 ** 6)) is None and memory.left() is None  # it is to be fetched


def test_portions_of_photographs_take_a_second_and_become_small_at_the_end():
    portions = _Portions(range(3000), OneByOne())
    found = []
    for number, portion in portions:
        assert number == len(found)
        found.append(portion)
        portions.learn(0.004)   # seconds for each
    assert [entry for portion in found for entry in portion] == list(range(3000))
    sizes = [len(portion) for portion in found]
    assert sizes[:6] == [16, 32, 64, 128, 250, 250] and sizes[-1] <= 16
    assert sizes[5:] == sorted(sizes[5:], reverse=True)


def test_attempts_count_only_deaths_of_their_own_piece(tmp_path):
    for piece in (1, 1, 2):
        attempt = Attempt(str(tmp_path), piece)
        attempt.__enter__()
        assert attempt.begin(7)  # and is killed
    with Attempt(str(tmp_path), 1) as attempt:
        assert attempt.begin(7)
    left = Attempt(str(tmp_path), 1)
    left.__enter__()
    left.begin(7)
    assert not Attempt(str(tmp_path), 1).begin(7) and Attempt(str(tmp_path), 2)._deaths == {7: 1}


@pytest.mark.parametrize('where', ['', 'remote', 'local:0', 'local:x', 'ssh:', 'host:', 'host:70000', 'slurm:3', 'a b:1'
                                   ])
def test_odd_clusters_are_refused(where):
    with pytest.raises(UserError, match='is none of local'):
        engine.Cluster(where)


def test_without_the_extra_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    import builtins
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == 'distributed':
            raise ImportError('No module named distributed', name='distributed')
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', absent)
    with pytest.raises(UserError, match='make setup EXTRAS=cluster'):
        main(['verify', str(tmp_path), '--cluster', 'local:1'])


def test_unequal_versions_are_refused():
    def versions(**packages):
        return {'packages': dict(dict(python='3.7.9.final.0', dask='1', distributed='1', msgpack='1', cloudpickle='1'),
                                 **packages)}

    class Client:
        def __init__(self, found, facts):
            self.found, self.facts = found, facts

        def nthreads(self):
            return {'tcp://b:1': 1}

        def get_versions(self, check):
            return self.found

        def run(self, function):
            return {'tcp://b:1': self.facts}

    def check(scheduler, worker, facts=None):
        cluster = engine.Cluster('a:1')
        found = {'client': versions(), 'scheduler': scheduler, 'workers': {'tcp://b:1': worker}}
        cluster._client = Client(found, facts or engine.own_facts())
        cluster._check_versions()

    check(versions(python='3.7.16.final.0'), versions(numpy='9'))
    with pytest.raises(UserError, match='the scheduler has distributed 2, this process 1: .* must have the same'):
        check(versions(distributed='2'), versions())
    with pytest.raises(UserError, match='the worker at tcp://b:1 has python 3.6, this process 3.7'):
        check(versions(), versions(python='3.6.9.final.0'))
    with pytest.raises(UserError, match='the worker at tcp://b:1 has Pillow 0, this process'):
        check(versions(), versions(), dict(engine.own_facts(), Pillow='0'))


def test_job_scripts_start_workers_of_this_checkout(tmp_path):
    path = tmp_path / 'options.yaml'
    path.write_text("nodes: 4\nworkers: 16\npartition: cpu\nfolder: /srv/it's here\npython: /opt/py/bin/python\n"
                    'lines: ["module load gcc"]\n')
    script = starters.slurm_script(starters.read_options('slurm', str(path)), 'head:8786')
    assert script == '''#!/usr/bin/env bash
#SBATCH --job-name=data-workers
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --partition=cpu
module load gcc
cd '/srv/it'"'"'s here'
exec srun /opt/py/bin/python -m data.cluster worker head:8786 --workers 16
'''
    path.write_text('image: registry/faces:1\nclaim: shared\npods: 3\n')
    job = starters.kubernetes_job(starters.read_options('kubernetes', str(path)), 'head:8786')
    assert job['spec']['parallelism'] == 3 and parse_yaml(json.dumps(job), 'job')[0] == job
    assert job['spec']['template']['spec']['containers'][0]['command'][-4:] == ['worker', 'head:8786', '--workers', '8']
    hosts = tmp_path / 'hosts'
    hosts.write_text('alpha\n# beta\nuser@gamma  # the third\n')
    assert starters.read_hosts(str(hosts)) == ['alpha', 'user@gamma']
    assert starters.ssh_command('alpha', starters.read_options('ssh', None), 'head:1')[:5] == [
        'ssh', '-tt', '-o', 'BatchMode=yes', 'alpha']


def test_hosts_that_ssh_does_not_reach_are_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / 'ssh').write_text('#!/bin/sh\nfor host; do [ "$host" = beta ] && exec sleep "$SLEEP"; done\nexit 255\n')
    (tmp_path / 'ssh').chmod(0o755)
    (tmp_path / 'hosts').write_text('alpha\nbeta\n')
    monkeypatch.setenv('PATH', f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def wait():
        options = starters.read_options('ssh', None)
        with starters.started('ssh', str(tmp_path / 'hosts'), options, 'head:1') as check:
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline:
                check()

    monkeypatch.setenv('SLEEP', '60')
    wait()      # one is left
    monkeypatch.setenv('SLEEP', '0')
    with pytest.raises(UserError, match=r'no workers are left: ssh to alpha ended with 255, and so did .* 1 other'):
        wait()


@pytest.mark.parametrize('kind, text, problem', [
    ('slurm', 'node: 3', "no option 'node'; did you mean 'nodes'"), ('slurm', 'nodes: 0', 'a whole number above 0'),
    ('slurm', 'lines: x', 'a list of lines'), ('ssh', 'python: 3', 'a text is expected'), ('ssh', '[1]', 'a mapping'),
    ('kubernetes', 'pods: 3', "needs 'image'"), ('local', 'nodes: 3', 'goes with --cluster slurm')])
def test_odd_options_of_clusters_are_refused(tmp_path, kind, text, problem):
    (tmp_path / 'options.yaml').write_text(text)
    with pytest.raises(UserError, match=problem):
        starters.read_options(kind, str(tmp_path / 'options.yaml'))


# ---- With the extra

def test_a_large_ledger_is_kept_as_parquet_and_goes_on_as_before(tmp_path, monkeypatch):
    pytest.importorskip('pyarrow', reason='the extra `cluster` is not installed')
    make_tree(tmp_path / 'in', 9)
    prefilter(settings(tmp_path / 'in', tmp_path / 'csv'), 1)
    monkeypatch.setattr(ledger, 'MOST_CSV_ROWS', 8)
    out = tmp_path / 'out'
    result = prefilter(settings(tmp_path / 'in', out), 1)
    assert result['ledger']['file'] == 'ledger.parquet' and not (out / 'ledger.csv').exists()
    path = str(out / 'ledger.parquet')
    assert list(ledger.read(path)) == list(ledger.read(str(tmp_path / 'csv' / 'ledger.csv')))
    assert ledger.kept_outputs(str(out)) == ledger.kept_outputs(str(tmp_path / 'csv'))
    with pytest.raises(UserError, match='is there already'):
        prefilter(settings(tmp_path / 'in', out), 1)
    next(out.glob('class0/*.png')).unlink()
    save_photo(tmp_path / 'in' / 'new.png')
    assert prefilter(settings(tmp_path / 'in', out), 1, resume=True)['run']['images'] == 2
    assert len(list(ledger.read(path))) == 10



def test_a_cluster_makes_what_processes_make(tmp_path, photos, cluster, capsys):
    out = tmp_path / 'out'
    result = prefilter(settings(photos, out), 1, cluster=cluster)
    assert result['files'] == 13 and rows(out)['class1/deadly.png'].reason == 'crashed'
    prefilter(settings(photos, tmp_path / 'pool'), 1)
    assert content(out) == content(tmp_path / 'pool')
    for name, options in (('a', {'cluster': cluster}), ('b', {'workers': 1})):
        create_from_images(str(tmp_path / name / 'set'), str(out), **options)
    for path in (tmp_path / 'b' / 'set').glob('*.tfrecords'):
        assert path.read_bytes() == (tmp_path / 'a' / 'set' / path.name).read_bytes()
    assert os.listdir(str(tmp_path / 'a')) == ['set']
    verify(str(tmp_path / 'a' / 'set'), cluster)
    assert 'is sound: checksums, 10 records' in capsys.readouterr().out
    path = next((tmp_path / 'a' / 'set').glob('*-r03.tfrecords'))
    shutil.copy(str(next((tmp_path / 'a' / 'set').glob('*-r02.tfrecords'))), str(path))
    with pytest.raises(UserError, match='lacks|bytes instead|have the same resolution'):
        verify(str(tmp_path / 'a' / 'set'), cluster)


def test_workers_have_one_thread_and_keep_freed_memory(cluster):
    ours = {name: value for name, value in os.environ.items() if name.startswith('MALLOC_')}
    for at_start, now in cluster.run_everywhere(environment_of_worker).values():
        assert at_start['OMP_NUM_THREADS'] == at_start['OPENBLAS_NUM_THREADS'] == '1'
        for found in (at_start, now):
            assert {name: value for name, value in found.items() if name.startswith('MALLOC_')} == \
                (ours or machine.memory_environment())


def test_work_of_lost_workers_is_done_by_others(tmp_path, cluster):
    work = Square(str(tmp_path / 'marker'))
    assert list(cluster.map(work, range(20), is_noted=True)) == [number ** 2 for number in range(20)]


def test_a_data_set_is_the_same_if_workers_are_lost(tmp_path, monkeypatch, cluster):
    make_tree(tmp_path / 'in', 60, size=(16, 16))
    for folder in ('class0', 'class1'):
        save_photo(tmp_path / 'in' / folder / 'deadly.png', size=(16, 16))
    monkeypatch.setattr('data.converters.create_from_images.FolderLoader', OnceDeadlyLoader)
    monkeypatch.setattr('data.converters.loading._CHUNK_BYTES', 2 * 3 * 16 * 16)
    monkeypatch.setattr('data.converters.loading._PIECE_BYTES', 5 * 3 * 16 * 16)
    for name, options in (('a', {'cluster': cluster}), ('b', {'workers': 1})):
        create_from_images(str(tmp_path / name / 'set'), str(tmp_path / 'in'), **options)
    assert len(list(tmp_path.glob('in/*/*.was-deadly'))) == 2 and os.listdir(str(tmp_path / 'a')) == ['set']
    for path in (tmp_path / 'b' / 'set').glob('*.tfrecords'):
        assert path.read_bytes() == (tmp_path / 'a' / 'set' / path.name).read_bytes()


def test_a_worker_without_room_is_left_out(tmp_path, cluster, capsys):
    deadline = time.time() + 300
    while len(cluster.others(set())) < 2:  # one was killed just before
        assert time.time() < deadline
        time.sleep(0.1)
    assert sorted(cluster.map(FullDisk(str(tmp_path / 'marker')), range(8))) == list(range(8))
    assert 'is left out: cannot write to \'crops\': No space left' in capsys.readouterr().out
