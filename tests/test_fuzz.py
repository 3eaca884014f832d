"""The frame that feeds readers with damaged files tells failures from refusals."""

import json
import os
import signal

import fuzz
import fuzz_data
import fuzz_libraries
import pytest

from dnnlib import UserError


@pytest.fixture
def out(tmp_path, monkeypatch):
    """The folder of failing inputs; limits of the process stay as they are."""
    monkeypatch.setattr(fuzz.resource, 'setrlimit', lambda *limits: None)
    return str(tmp_path)


@pytest.mark.parametrize('name', ['plain pickles', 'networks in data', 'arrays .npz', 'score records', 'released files',
                                  'runs labels', 'runs checkpoints', 'runs of the original', *fuzz_data.READERS])
def test_readers_give_data_or_a_sentence(out, capsys, name):
    fuzz.run_one(name, 60, 1, out, most=30)
    counts = json.loads(capsys.readouterr().out)
    assert counts['refused'] > 0 and counts['failed'] == 0 and counts['tried'] == counts['read'] + counts['refused']
    assert os.listdir(out) == []


@pytest.mark.parametrize('error', [ValueError('x'), SystemExit(0), MemoryError(), UserError('short')])
def test_what_a_reader_must_not_do_is_counted_and_kept(out, capsys, monkeypatch, error):
    def read(path):
        with open(path, 'rb') as file:
            if file.read() != b'good file':
                raise error
    monkeypatch.setitem(fuzz.READERS, 'x', (lambda: [b'good file'], read, '.bin'))
    fuzz.run_one('x', 60, 1, out, most=30)
    counts = json.loads(capsys.readouterr().out)
    assert counts['failed'] == counts['tried'] - counts['read'] > 0
    assert isinstance(error, UserError) or any(name.endswith('.bin.txt') for name in os.listdir(out))


def test_the_end_of_a_process_in_a_library_is_counted_and_named(out, capsys, monkeypatch):
    def read(path):
        with open(path, 'rb') as file:
            content = file.read()
        if len(content) < 9:
            raise UserError('this is too short for a file')
        if content != b'good file':
            os.kill(os.getpid(), signal.SIGSEGV)
    monkeypatch.setitem(fuzz.READERS, 'x', (lambda: [b'good file'], fuzz_libraries.in_a_child(read), '.bin'))
    fuzz.run_one('x', 60, 1, out, most=30)
    counts = json.loads(capsys.readouterr().out)
    assert counts['refused'] > 0 and counts['failed'] == counts['tried'] - counts['read'] - counts['refused'] > 0
    texts = [name for name in os.listdir(out) if name.endswith('.bin.txt')]
    assert len(texts) == counts['failed'] == len(os.listdir(out)) / 2
    with open(os.path.join(out, texts[0])) as file:
        assert 'Crash: SIGSEGV' in file.read()


@pytest.mark.parametrize('name', list(fuzz_libraries.READERS))
def test_libraries_that_end_their_process_are_met_by_a_sentence(out, capsys, name):
    fuzz.run_one(name, 60, 1, out, most=4)
    counts = json.loads(capsys.readouterr().out)
    assert counts['refused'] > 0 and counts['failed'] == 0 and os.listdir(out) == []
