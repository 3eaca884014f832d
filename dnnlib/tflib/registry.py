"""Build functions that may be named by a file, and the module that holds each.

A stored network names its build function. The name is looked up in what this project's modules declare (see
`dnnlib.registry`); code stored in a file is never executed unless the caller says so
(`Network.from_state(..., trust_stored_code=True)`).

What a module of networks says of itself, read from its source, so that files are judged before anything is imported
(`FED` and `OUTLINES` are read when the network is made):
    DECLARES = {'G': ('G_new',), 'D': ('D_new',), 'network': ('G_part',)}
        its build functions, by the section of a configuration that may name them; `network` for those that only files
        name, such as parts. The module itself stands in `config.declaring_modules`.
    size=64,        # Size of z; 1 to 1048576
        what a keyword may be, in the comment beside it (see `dnnlib.values.value_types`): configurations are held to
        it, and of files every number and list, since an absurd one would take all memory before a single variable is
        compared with the file. Those that data decide (`num_channels`, `resolution`, `label_size`) want a range for
        that reason alone.
    BUNDLED_MODULES = ('training.layers.network_layers',)
        modules whose source its own needs; see `module_source`.
    FED = {'G_new': {'truncation_psi': 1.0}}
        keywords that the build function takes as scalar tensors too: `Network.run` feeds them, and a new number needs
        no new graph. With each the number that means the same as null.
    OUTLINES = {'G_new': 'training.layers.outlines.G_new'}
        functions (all keywords by name, components) that tell what the graph of a build function would tell, see
        `training.layers.outlines`, or None: a network from a file then needs no graph before it is run.
    STRANGERS = {'new2': ('a network of New 2', ('G_new2', 'D_new2'), 4)}
        networks of other systems whose files are often taken for its own: a word for programs, what they are, their
        build functions, and the version of their format if that tells them apart, else None.
"""

import ast
import collections
import functools
import importlib
import inspect
import re
import sys

import config
from dnnlib import registry
from dnnlib.util import UserError
from dnnlib.values import signatures
from dnnlib.values.value_types import split_comment

Stranger = collections.namedtuple('Stranger', 'reason what')

_registered = {}
_made = set()       # (function, module) of networks that this process made of functions that are not this project's


def register_build_func(func_name, module_name):
    """Lets files name `func_name`, which is a top-level function of the module `module_name`."""
    _registered[func_name] = module_name


def _known():
    return dict(registry.build_functions(), **_registered)


def known_build_funcs():
    """Names of the build functions that files may use, sorted."""
    return sorted(_known())


def foreign_module(build_func):
    """The module of a build function if it is none of this project's, for the file that its network is stored in.

    So that a function of somebody's own is not taken for ours of the same name. Also notes that this process has run
    the module, so that a file may name it here.
    """
    module = build_func.__module__
    if hasattr(sys.modules.get(module), '__stored_source__'):   # it came from a file, which may have named a module
        return sys.modules[module].__stored_module__
    if module in config.declaring_modules or _registered.get(build_func.__name__) == module:
        return None
    _made.add((build_func.__name__, module))
    return module


def find_module(func_name, foreign=None):
    """The module that holds what a file means by a build function's name, or None.

    `foreign`: the module that the file names, if its function was none of this project's: that must be allowed.
    """
    if foreign is None:
        return _known().get(func_name)
    is_allowed = (func_name, foreign) in _made or registry.is_allowed(f'{foreign}.{func_name}')
    return foreign if is_allowed else None


def not_found(func_name, foreign=None):
    """Why a file's build function is not known, and what to do, as a sentence's end."""
    if foreign is not None:
        return (f"'{func_name}' of the module {foreign}, which is none of this project's; if it is yours, allow it by "
                f'--allow-module {foreign}; if you trust the file, load it with its stored code (--trust-stored-code)')
    return (f"'{func_name}', which is not among the networks known here ({', '.join(known_build_funcs())}). The file "
            'carries its own code, which is not executed unless you say so (--trust-stored-code, for files from people '
            'whom you trust)')


def resolve_build_func(func_name, foreign=None):
    """The build function that a file means; see `find_module`.

    Raises:
        UserError: no such function is known.
    """
    module = find_module(func_name, foreign)
    if module is None:
        raise UserError(f"the network's build function is {not_found(func_name, foreign)}")
    found = getattr(importlib.import_module(module), func_name, None)
    if found is None:
        raise UserError(f"the network's build function is '{func_name}', which the module {module} does not have")
    return found


def argument_types(func_name, foreign=None):
    """dict keyword → ValueType or None, of a build function that files may name; see `find_module`.

    Those of the other functions in its module follow, since it passes some on and ignores the rest, and a keyword means
    the same throughout a module. {} for functions without source.
    """
    known, types = _known(), {}
    module = find_module(func_name, foreign)
    for name in [func_name] + [name for name in known if known[name] == module]:
        signature = signatures.read_signature(f'{module}.{name}')
        for key, default in signature.params.items() if signature else ():
            types.setdefault(key, split_comment(signature.comments.get(key), default)[1])
    return types


def stranger(func_name, version, source):
    """The Stranger that a stored network is, by its build function, its format's version or its source; or None."""
    for module in config.declaring_modules:
        for reason, (what, names, format_version) in (signatures.constant(module, 'STRANGERS') or {}).items():
            if func_name in names or version == format_version \
                    or re.search(rf"^def ({'|'.join(names)})\(", source, re.MULTILINE):
                return Stranger(reason, what)
    return None


def module_source(module):
    """Source text of a network module, complete in itself.

    A network module may import names from modules listed in its `BUNDLED_MODULES` (a tuple of module names), and so
    may these; their source comes first and the imports between them go, so that the text runs anywhere.
    """
    if hasattr(module, '__stored_source__'):
        return module.__stored_source__
    parts = _with_bundled(module)
    names = tuple(part.__name__ for part in parts)
    return '\n\n'.join(_without_imports_of(inspect.getsource(part), names) for part in parts)


def _with_bundled(module):
    """The modules that `module` bundles, at any depth and each once, then itself."""
    parts = []
    for name in getattr(module, 'BUNDLED_MODULES', ()):
        parts += [part for part in _with_bundled(importlib.import_module(name)) if part not in parts]
    return parts + [module]


@functools.lru_cache(maxsize=100)
def _without_imports_of(source, module_names):
    """`source` less its top-level `from X import ...` statements with X in `module_names`, a tuple."""
    body = ast.parse(source).body
    lines = source.splitlines()
    for index, node in enumerate(body):
        if isinstance(node, ast.ImportFrom) and node.module in module_names:
            # Python < 3.8 does not record where a statement ends: it reaches to the closing parenthesis at most.
            end = body[index + 1].lineno - 1 if index + 1 < len(body) else len(lines)
            first, count = node.lineno - 1, 1
            code = [line.partition('#')[0] for line in lines[first:end]]    # comments may have parentheses of their own
            while count < len(code) and ')' not in code[count - 1] and '(' in ''.join(code[:count]):
                count += 1
            lines[first:first + count] = [None] * count
    return '\n'.join(line for line in lines if line is not None) + '\n'
