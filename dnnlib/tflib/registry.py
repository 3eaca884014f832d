"""Build functions that may be named by a file, and the module that holds each.

A stored network names its build function. The name is looked up in what this project's modules declare (see
`dnnlib.registry`); code stored in a file is never executed unless the caller says so
(`Network.from_state(..., trust_stored_code=True)`).
"""

import ast
import importlib
import inspect

from dnnlib import registry
from dnnlib.util import UserError

_registered = {}


def register_build_func(func_name, module_name):
    """Lets files name `func_name`, which is a top-level function of the module `module_name`."""
    _registered[func_name] = module_name


def _known():
    return dict(registry.build_functions(), **_registered)


def known_build_funcs():
    """Names of the build functions that files may use, sorted."""
    return sorted(_known())


def resolve_build_func(func_name):
    """The build function that a file means by `func_name`.

    Raises:
        UserError: no module of ours is known to hold such a function.
    """
    known = _known()
    if func_name not in known:
        raise UserError(f"the network's build function is '{func_name}', which this project does not have (it knows "
                        f"{', '.join(sorted(known))}); if you trust the file, load it with its stored code "
                        '(--trust-stored-code)')
    return getattr(importlib.import_module(known[func_name]), func_name)


def module_source(module):
    """Source text of a network module, complete in itself.

    A network module may import names from modules listed in its `BUNDLED_MODULES` (a tuple of module names), and so
    may these; their source comes first and the imports between them go, so that the text runs anywhere.
    """
    if hasattr(module, '__stored_source__'):
        return module.__stored_source__
    parts = _with_bundled(module)
    names = [part.__name__ for part in parts]
    return '\n\n'.join(_without_imports_of(inspect.getsource(part), names) for part in parts)


def _with_bundled(module):
    """The modules that `module` bundles, at any depth and each once, then itself."""
    parts = []
    for name in getattr(module, 'BUNDLED_MODULES', ()):
        parts += [part for part in _with_bundled(importlib.import_module(name)) if part not in parts]
    return parts + [module]


def _without_imports_of(source, module_names):
    """`source` less its top-level `from X import ...` statements with X among `module_names`."""
    body = ast.parse(source).body
    lines = source.splitlines()
    for index, node in enumerate(body):
        if isinstance(node, ast.ImportFrom) and node.module in module_names:
            # Python < 3.8 does not record where a statement ends: it reaches to the closing parenthesis at most.
            end = body[index + 1].lineno - 1 if index + 1 < len(body) else len(lines)
            stop = node.lineno
            while stop < end and ')' not in lines[stop - 1] and '(' in ''.join(lines[node.lineno - 1:stop]):
                stop += 1
            for line in range(node.lineno - 1, stop):
                lines[line] = None
    return '\n'.join(line for line in lines if line is not None) + '\n'
