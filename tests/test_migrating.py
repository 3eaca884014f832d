"""docs/migrating.md: its table is the list's, and what the list says of a name is true."""

import inspect

import pytest

import dnnlib
from dnnlib import util
from tools import make_migrating_docs
from training import training_loop
from training.original import loop_form


def test_the_page_holds_the_table():
    with open(make_migrating_docs.TARGET, encoding='utf-8') as file:
        assert file.read() == make_migrating_docs.document()


@pytest.mark.both
@pytest.mark.parametrize('module', sorted({module for module, _, _ in make_migrating_docs.NAMES}))
def test_every_name_is_there(module):
    names = [name for owner, names, _ in make_migrating_docs.NAMES if owner == module for name in names.split()]
    for name in names:
        util.get_obj_by_name(f'{module}.{name}')


@pytest.mark.both
def test_every_keyword_is_taken():
    taken = {'dnnlib.SubmitConfig': set(dnnlib.SubmitConfig()), 'training.training_loop.training_loop': {
        name for function in (training_loop.training_loop, loop_form._train, loop_form.takes_submit_config(print))
        for name in inspect.signature(function, follow_wrapped=function is training_loop.training_loop).parameters}}
    for owner, names, _ in make_migrating_docs.KEYWORDS:
        assert set(names.split()) <= taken[owner]


def test_what_is_called_absent_is_absent():
    for module, names, _ in make_migrating_docs.ABSENT:
        for name in names.split():
            with pytest.raises(ImportError):
                util.get_obj_by_name(f'{module}.{name}')
