"""How the command lines look: their help pages, and paths and other texts that they print."""

import argparse
import io
import os
import re
import shlex
import sys

import config
from dnnlib.atomic import NAME_BYTES
from dnnlib.errors import UserError

_COMMANDS = {   # scripts and modules, as texts and data files name them → the command that people type
    'train.py doctor': 'doctor', 'train.py': 'train', 'run_metrics.py table1': 'table1', 'run_metrics.py': 'metrics',
    'dataset_tool.py prefilter': 'prefilter', 'dataset_tool.py': 'data', 'generate_figures.py lecture': 'lecture',
    'generate_figures.py': 'figures', 'generate.py': 'generate', 'pretrained_example.py': 'pretrained',
    'explore.py': 'explore', 'project.py': 'project', 'python -m dnnlib.tflib.export': 'export',
    'python -m dnnlib.artifacts': 'artifacts', 'python -m dnnlib.tflib.convert': 'convert',
    'python -m training.report': 'report', 'python -m experiment.studies.paper_demo': 'paper-demo'}
_NAMES = re.compile(r'(?<![\w./-])(' + '|'.join(re.escape(name) for name in _COMMANDS) + r')(?![\w.])')


def typed(text):
    """A text in which this project's commands stand as people type them: `./reproduce`, or what pip installed."""
    program = 'stylegan-repro' if config.installed else './reproduce'
    text = _NAMES.sub(lambda match: './reproduce ' + _COMMANDS[match.group(1)], text)
    return text.replace('./reproduce', program)


def told(script, words):
    """A command with its arguments as a line that a shell takes as it is."""
    return ' '.join([typed(script)] + [shlex.quote(word) for word in words])


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs as argparse does, with commands as people type them, but keeps lists of examples as they are."""

    def _split_lines(self, text, width):
        return super()._split_lines(typed(text), width)

    def _fill_text(self, text, width, indent):
        text = typed(text)
        if text.startswith('examples:'):
            return ''.join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """The parser of every command: knows `--version`, keeps lists of examples, names commands as people type them."""

    def __init__(self, prog=None, formatter_class=None, **kwargs):
        super().__init__(prog=typed(prog or os.path.basename(sys.argv[0])),
                         formatter_class=formatter_class or HelpFormatter, **kwargs)
        # Values such as -1e-3 and -1,0 are no options either, beside the -1 and -0.5 that argparse knows.
        self._negative_number_matcher = re.compile(r'-\.?[0-9]')
        self._words, self._rules = [], []
        if kwargs.get('add_help', True):
            self.add_argument('--version', action='version', version=f'stylegan-repro {config.version}',
                              help='print the version and end')

    def parse_known_args(self, args=None, namespace=None):
        """As argparse does. Raises UserError for an option that is given as an empty text, or in vain.

        A shell's variable without a value is an empty text, and must not be taken for an option left out.
        """
        self._words = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, None)
            if action.option_strings and value != action.default \
                    and '' in (value if isinstance(value, (list, tuple)) else [value]):
                raise UserError(f"{action.option_strings[-1]} is '', which says nothing; leave it out, or give it a "
                                'value')
        for other, options, is_needed in self._rules:
            if self.is_given(other) != is_needed:
                self.refuse(options, f'goes with {other}' if is_needed else f'has no meaning with {other}')
        return found, rest

    def only_with(self, other, *options):
        """Options that have an effect only beside another one are refused without it."""
        self._rules.append((other, options, True))

    def never_with(self, other, *options):
        """Options that have no effect beside another one are refused with it."""
        self._rules.append((other, options, False))

    def refuse(self, options, why):
        """Raises UserError, '--option why', for the first of the options that the command line gives."""
        for option in options:
            if self.is_given(option):
                raise UserError(f'{option} {why}')

    def options(self):
        """All options that begin with two dashes, but for `--help` and `--version`."""
        return [option for option in self._option_string_actions
                if option.startswith('--') and option not in ('--help', '--version')]

    def is_given(self, option):
        """Whether the command line that was parsed last gives an option, be it with its default value."""
        return self._option_string_actions[option].dest in self._given()

    def _given(self):
        """Destinations of all options that are given: what is entered where no option has a default."""
        defaults, self._defaults = self._defaults, {}
        actions = [(action, action.default) for action in self._actions if action.option_strings]
        try:
            for action, _ in actions:
                action.default = argparse.SUPPRESS
            return set(vars(super().parse_known_args(self._words)[0]))
        finally:
            self._defaults = defaults
            for action, default in actions:
                action.default = default


def shown(path):
    """A path as people want to see it: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return path if relative.startswith('..') else relative


def visible(text):
    """A text that can be written as UTF-8, see `NAME_BYTES`."""
    return text.encode('utf-8', NAME_BYTES).decode('utf-8')


def accept_all_characters():
    """Lets stdout and stderr write any text, whatever the locale: what was done must not fail when it is reported."""
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors=NAME_BYTES)
        elif stream is getattr(sys, f'__{name}__') and isinstance(stream, io.TextIOWrapper):  # Python 3.6
            # Only the process's own: what somebody else put in their place is somebody else's to take apart.
            setattr(sys, name, io.TextIOWrapper(stream.detach(), stream.encoding, NAME_BYTES, None,
                                                stream.line_buffering or name == 'stderr'))
