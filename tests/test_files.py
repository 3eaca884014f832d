"""The library's doors to JSON files, locks, folders on the disk, and facts about this machine."""

import contextlib
import errno
import fcntl
import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnnlib import errors, files, locks, machine, util
from dnnlib.array_files import write_npz
from dnnlib.submission import RunLock

HUGE = '1' + '0' * 400
BAD_JSON = {
    'nothing': b'', 'half an object': b'{"a": 1', 'another encoding': b'\xff\xfe{\0}\0', 'deep lists': b'[' * 100000,
    'deep objects': b'{"a":' * 300 + b'1' + b'}' * 300, 'not a number': b'{"a": NaN}', 'endless': b'{"a": -Infinity}',
    'endless by its digits': b'{"a": 1e400}', 'huge integer': b'{"a": %s}' % HUGE.encode(), 'a list': b'[1]',
    'a number': b'3', 'a text': b'"x"', 'two values': b'{} {}'}


@pytest.mark.parametrize('content', BAD_JSON.values(), ids=BAD_JSON)
def test_whatever_is_wrong_with_a_json_file_is_a_sentence_with_its_name(tmp_path, content):
    path = tmp_path / 'facts.json'
    path.write_bytes(content)
    with pytest.raises(errors.FileError, match='the facts .*facts.json .*; make them again') as caught:
        files.read_json(str(path), what='the facts', advice='make them again')
    assert caught.value.reason == 'damaged'
    assert files.recall_json(str(path)) is None



def test_the_folder_that_a_program_runs_in_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / 'here').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'here')
    monkeypatch.chdir(tmp_path / 'here')
    before = os.stat('.').st_ino
    for path in ('', '.', str(tmp_path / 'here'), '../link'):
        with pytest.raises(errors.UserError, match='is the folder that this runs in; name a new one'):
            with files.atomic_folder(path):
                pytest.fail('begun')
    assert os.stat(str(tmp_path / 'here')).st_ino == before
    with files.atomic_folder('new'):
        pass
    assert os.listdir('.') == ['new']
    with pytest.raises(errors.UserError, match='an empty text names no folder'):
        files.make_writable_folder('')


def test_a_file_of_any_other_kind_is_refused_without_waiting(tmp_path):
    pipe = str(tmp_path / 'pipe')
    os.mkfifo(pipe)
    for path in (pipe, '/dev/full', str(tmp_path), 'a\0b'):
        with pytest.raises(errors.FileError) as caught:
            files.read_json(path)
        assert caught.value.reason in ('unreadable', 'absent')


def test_an_absent_file_may_have_a_meaning_and_a_huge_one_has_none(tmp_path):
    path = str(tmp_path / 'facts.json')
    assert files.read_json(path, absent=None) is None
    with pytest.raises(errors.FileError) as caught:
        files.read_json(path)
    assert caught.value.reason == 'absent' and isinstance(caught.value, util.UserError)
    files.write_json(path, {'a': 'x' * 1000})
    with pytest.raises(errors.FileError, match='more than 500 bytes'):
        files.read_json(path, max_bytes=500)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.recursive(st.none() | st.booleans() | st.integers(-2 ** 256, 2 ** 256)
                    | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)))
def test_what_is_written_as_json_is_read_again(tmp_path_factory, value):
    path = str(tmp_path_factory.getbasetemp() / 'value.json')
    files.write_json(path, {'value': value})
    assert files.read_json(path) == {'value': value}


def test_numbers_without_end_are_read_where_a_configuration_may_hold_them():
    assert files.parse_json(json.dumps([float('inf')]), finite=False) == [float('inf')]


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    path = tmp_path / 'stats.jsonl'
    path.write_bytes(b'{"kimg": 1}\n[2]\n\xff\n{"kimg": NaN}\n' + b'[' * 10000 + b'\n{"kimg": 2}\n{"kimg": 3')
    assert files.read_json_lines(str(path)) == [{'kimg': 1}, {'kimg': 2}]
    assert files.read_json_lines(str(tmp_path / 'absent.jsonl'), absent=[]) == []


# ---- Network file systems

@pytest.fixture
def refusing(monkeypatch):
    """A function that makes `fsync` of folders, or `flock`, answer with an error."""
    def refuse(name, code):
        def sync(fd, whole=os.fsync):
            if os.path.isdir(f'/proc/self/fd/{fd}'):
                raise OSError(code, os.strerror(code))
            return whole(fd)

        def lock(file, flags):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(*((os, 'fsync', sync) if name == 'fsync' else (fcntl, 'flock', lock)))
    return refuse


@pytest.mark.parametrize('code', [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_folders_that_cannot_be_synced_do_not_keep_files_from_being_written(tmp_path, refusing, code):
    refusing('fsync', code)
    files.write_json(str(tmp_path / 'a.json'), {})
    with util.atomic_folder(str(tmp_path / 'b')) as folder:
        files.write_json(os.path.join(folder, 'c.json'), {})
    assert os.listdir(str(tmp_path / 'b')) == ['c.json'] and files.read_json(str(tmp_path / 'a.json')) == {}


def test_a_failing_disk_is_still_an_error(tmp_path, refusing):
    refusing('fsync', errno.EIO)
    with pytest.raises(OSError):
        files.write_json(str(tmp_path / 'a.json'), {})


@pytest.mark.parametrize('code', [errno.ENOLCK, errno.ENOTSUP])
def test_a_run_goes_on_with_a_warning_where_files_cannot_be_locked(tmp_path, refusing, capsys, code):
    refusing('flock', code)
    with RunLock(str(tmp_path)):
        pass
    said = capsys.readouterr()
    assert 'no file locks' in said.out + said.err and str(tmp_path) in said.out + said.err


def test_a_lock_is_held_busy_or_shared(tmp_path):
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(open(str(tmp_path / 'lock'), 'a')) for _ in range(2))
        assert locks.try_lock(first) == locks.HELD
        assert locks.try_lock(second) == locks.try_lock(second, exclusive=False) == locks.BUSY
        assert locks.try_lock(first, exclusive=False) == locks.try_lock(second, exclusive=False) == locks.HELD


# ---- The machine

def test_what_the_machine_has_is_told(monkeypatch):
    assert 1 <= machine.usable_cores() <= os.cpu_count()
    assert 0 < machine.available_memory() < machine.total_memory()
    assert machine.free_disk('/') > 0
    monkeypatch.setattr(machine.shutil, 'disk_usage', lambda folder: SimpleNamespace(free=folder))
    assert machine.free_disk('/not/there/at/all') == machine.free_disk('/') == '/'     # others write meanwhile
    assert machine.mebibytes('512 MiB') == 512 and machine.mebibytes('[N/A]') == 0
    assert machine.output_of(['false']) is None and machine.output_of(['/not/there']) is None


def test_gpus_are_what_the_driver_says(tmp_path, monkeypatch):
    program = tmp_path / 'nvidia-smi'
    program.write_text('#!/bin/sh\ncase "$1" in *compute_cap*) exit 2;; esac\necho "0, Card A, 8000 MiB"\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    assert machine.nvidia_gpus(['index', 'name', 'memory.total']) == [
        {'index': '0', 'name': 'Card A', 'memory.total': '8000 MiB'}]
    assert machine.nvidia_gpus(['index', 'compute_cap']) == []



def test_folders_for_results_stay_if_there_is_anything_in_them(tmp_path):
    (tmp_path / 'mine').mkdir()
    for place, name in (('a/b', None), ('mine/c', None), ('mine', None), ('a/b', 'x')):
        with pytest.raises(KeyboardInterrupt), files.results_folder(str(tmp_path / place)) as folder:
            if name is not None:
                (tmp_path / place / name).write_text('a result')
            assert os.path.isdir(folder)
            raise KeyboardInterrupt
        assert (tmp_path / place).exists() == (place == 'mine' or name is not None)
        assert (tmp_path / 'a').exists() == (name is not None)
    for path in ('/dev/null/x/y', '', 'a\0b'):
        with pytest.raises(util.UserError, match='no folder'), files.results_folder(path):
            pass


@pytest.mark.both
def test_archives_of_arrays_are_those_of_numpy(tmp_path):
    arrays = dict(a=np.arange(6.).reshape(2, 3), b=np.asfortranarray(np.ones([3, 2], np.uint8)), text=np.array('ä'),
                  none=np.zeros([0, 4]))
    with open(str(tmp_path / 'ours.npz'), 'wb') as ours, open(str(tmp_path / 'theirs.npz'), 'wb') as theirs:
        write_npz(ours, **arrays)
        np.savez(theirs, **arrays)
    assert (tmp_path / 'ours.npz').read_bytes() == (tmp_path / 'theirs.npz').read_bytes()
