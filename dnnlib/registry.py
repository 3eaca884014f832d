"""Names that a configuration, a run directory or a record may give, and what they stand for.

A file may name functions and classes, such as a loss. A module that has some lists them in a constant `DECLARES`, a
dict from kind to names (`DECLARES = {'G_loss': ('G_wgan',)}`), and is itself listed in `config.declaring_modules`.
Kinds are the sections of a configuration, `metric`, and `network` for build functions that only network files name.
The lists are read from source, so nothing is imported before a name is found on one.

Modules of a user's own join in by `allow_module`, which command lines call for what the user typed there and nothing
else does: a file cannot allow itself anything. Callers in Python are free to call what they like by name.
"""

import os
import re
import sys
from collections import OrderedDict

import config
from dnnlib.config_files import format_value, nearest
from dnnlib.errors import UserError
from dnnlib.values import signatures

CONSTANT = 'DECLARES'
BUILD_FUNCTIONS = ('G', 'D', 'network')     # kinds that a network file may name

_allowed = []


def declared(*kinds):
    """Full names of what the modules of this project declare for these kinds, in order: OrderedDict name -> module."""
    names = OrderedDict()
    for module in config.declaring_modules:
        table = signatures.constant(module, CONSTANT) or {}
        names.update((f'{module}.{name}', module) for kind in kinds for name in table.get(kind, ()))
    return names


def add_option(group):
    """Adds --allow-module to a command line, or a group of it."""
    group.add_argument('--allow-module', metavar='NAME', action='append', default=[], help='let the configuration, '
                       'run or network file name what is in this Python module of your own; nothing else can allow '
                       'it, so give it again at every start; may be repeated')


def allow_modules(args):
    """Does what the option says, for parsed arguments."""
    for name in args.allow_module:
        allow_module(name)


def allow_module(name):
    """Lets files name what is in a module, or in those of a package, that is not part of this project.

    Modules in the current folder are found, too. Raises UserError if there is no source of such a module.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    if not re.match(r'[^\W\d]\w*(\.[^\W\d]\w*)*\Z', name):
        raise UserError(f"--allow-module {name}: give a module's name as for import, such as my_losses")
    if name in config.declaring_modules:
        raise UserError(f'--allow-module {name}: what this project lets files name needs no permission, and the rest '
                        'of its modules is not made for it')
    if signatures.top_level_names(name) is None:
        raise UserError(f"--allow-module {name}: there is no such module on Python's path ({sys.path[0]} and what "
                        'PYTHONPATH names) or in the current folder')
    if name not in _allowed:
        _allowed.append(name)


def allowed_modules():
    """What `allow_module` was called with in this process."""
    return list(_allowed)


def is_allowed(name):
    """Whether what has this full name is in a module that the user allowed."""
    return any(name.startswith(module + '.') for module in _allowed)


def refusal(kind, name):
    """What is wrong with a name given for a kind (or a tuple of kinds), as the end of a sentence; None for nothing."""
    if not isinstance(name, str) or len(name) > 200:
        return f'must be the name of a function or class, not {format_value(name)[:60]}'
    known = declared(*kind) if isinstance(kind, tuple) else declared(kind)
    kind = 'networks' if isinstance(kind, tuple) else kind
    if name in known:
        return None
    module, _, local = name.rpartition('.')
    if is_allowed(name):
        names = signatures.top_level_names(module)
        if names is None:
            return f"there is no module '{module}' for '{name}'"
        return None if local in names else f"the module {module} has no '{local}'{nearest(local, names)}"
    ours = [full.rpartition('.')[2] for full in known if known[full] == module]
    if ours:
        return f"the module {module} has no '{local}' for {kind}{nearest(local, ours)}; it has {', '.join(ours)}"
    own = '' if module in config.declaring_modules or not module else (
        f'; if {module} is a module of your own, allow it by --allow-module {module} on the command line')
    return f"'{name}' is not among the names for {kind}{nearest(name, known)} (known: {', '.join(known)}){own}"


def check(kind, name, where):
    """Raises UserError, saying `where` the name is given, unless a file may give it for this kind."""
    problem = refusal(kind, name)
    if problem:
        raise UserError(f'{where}: {problem}')


def build_functions():
    """What a network file may name, without its module, as build functions: OrderedDict name -> module."""
    found = OrderedDict((full.rpartition('.')[2], module) for full, module in declared(*BUILD_FUNCTIONS).items())
    for module in _allowed:
        found.update((name, module) for name in signatures.top_level_names(module, only='functions') or ()
                     if name not in found)
    return found
