"""The commands in docs/datasets.md exist, with the options that they are shown with."""

import pathlib
import re
import shlex

import pytest

from data.commands import make_parser

TEXT = (pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'datasets.md').read_text(encoding='utf-8')
COMMANDS = [line.partition('#')[0] for line in TEXT.splitlines()
            if line.startswith('./reproduce ') and '[' not in line]
ENTRIES = {'data': [], 'prefilter': ['prefilter']}  # words of ./reproduce -> what they stand for in dataset_tool.py


@pytest.mark.parametrize('command', sorted({line for line in COMMANDS if line.split()[1] in ENTRIES}))
def test_commands_in_the_documentation_are_understood(command):
    _, entry, *words = shlex.split(command)
    args = make_parser().parse_args(ENTRIES[entry] + words)
    assert callable(args.run)


def test_the_documentation_has_commands_to_look_at():
    assert len([line for line in COMMANDS if line.split()[1] in ENTRIES]) > 10


def test_all_commands_are_documented():
    names = set(re.findall(r"'(\w+)'", str(list(make_parser()._subparsers._group_actions[0].choices))))
    assert {name for name in names if name not in TEXT} == set()
