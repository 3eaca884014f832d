"""Build functions that may be named by a file, and the module that holds each.

A stored network names its build function. The name is looked up in what this project's modules declare (see
`dnnlib.registry`); code stored in a file is never executed unless the caller says so
(`Network.from_state(..., trust_stored_code=True)`).

What a module of networks says of itself, read from its source, so that files are judged before anything is imported
(`FED` is read when the network is made):
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
    STRANGERS = {'new2': ('a network of New 2', ('G_new2', 'D_new2'), 4)}
        networks of other systems whose files are often taken for its own: a word for programs, what they are, their
        build functions, and the version of their format if that tells them apart, else None.
"""

import ast
import collections
import importlib
import inspect
import re

import config
from dnnlib import registry
from dnnlib.util import UserError
from dnnlib.values import signatures
from dnnlib.values.value_types import split_comment

Stranger = collections.namedtuple('Stranger', 'reason what')

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


def argument_types(func_name):
    """dict keyword → ValueType or None, of a build function that files may name.

    Those of the other functions in its module follow, since it passes some on and ignores the rest, and a keyword means
    the same throughout a module. {} for functions without source.
    """
    known, types = _known(), {}
    module = known.get(func_name)
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
