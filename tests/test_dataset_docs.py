"""The commands in docs/datasets.md exist, with the options that they are shown with."""

import pathlib
import re
import shlex

import pytest

from data.commands import make_parser

TEXT = (pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'datasets.md').read_text(encoding='utf-8')
COMMANDS = [line.partition('#')[0] for line in TEXT.splitlines()
            if line.startswith('python dataset_tool.py') and '[' not in line]


@pytest.mark.parametrize('command', sorted(set(COMMANDS)))
def test_commands_in_the_documentation_are_understood(command):
    args = make_parser().parse_args(shlex.split(command)[2:])
    assert callable(args.run)


def test_all_commands_are_documented():
    names = set(re.findall(r"'(\w+)'", str(list(make_parser()._subparsers._group_actions[0].choices))))
    assert {name for name in names if name not in TEXT} == set()
