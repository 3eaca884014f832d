"""Reads the keyword arguments of functions and classes from their source, without importing them.

Importing a network or an optimizer imports TensorFlow, which takes seconds; a mistyped configuration key should be
refused at once.
"""

import ast
import contextlib
import functools
import importlib.machinery
import re
from collections import OrderedDict

from dnnlib.errors import UserError

REQUIRED = object()     # in place of a default: there is none
COMPUTED = object()     # in place of a default: an expression that only running the code can tell

_sources = {}    # name -> (file name, source)
_modules = {}    # name -> (syntax tree, source lines)
_constants = {}  # (module's name, constant's name) -> value
_explained = {}  # name -> comments of its functions' parameters


class Signature:
    """Parameters of a function or of a class's constructor.

    params: OrderedDict of name -> default value, REQUIRED or COMPUTED.
    comments: name -> the comment on its line, or what a line `name: meaning` of the docstring says, or what is said of
        such a parameter of another function of the module.
    takes_any: whether it has a `**kwargs` that it uses, that is, whose name does not begin with `_`.
    takes_more: whether it has a `**kwargs` at all.
    forwards_to: full names of functions that it passes its `**kwargs` to by `func_name=`, and of the base class.
    """

    def __init__(self, name, params, comments, takes_any, forwards_to, takes_more=False):
        self.name = name
        self.params = params
        self.comments = comments
        self.takes_any = takes_any
        self.takes_more = takes_more
        self.forwards_to = forwards_to


def find_module_file(name):
    """The source file of a module by its dotted name, or None. Imports nothing."""
    path = None
    parts = name.split('.')
    for index, _ in enumerate(parts):
        try:
            spec = importlib.machinery.PathFinder.find_spec('.'.join(parts[:index + 1]), path)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    return spec.origin if spec.origin and spec.origin.endswith('.py') else None


def _source(module_name):
    """(file name, source) of a module, or None if there is none. UserError if it cannot be read."""
    if module_name not in _sources:
        file_name = find_module_file(module_name)
        if file_name is None:
            return None
        try:
            with open(file_name, encoding='utf-8') as f:
                _sources[module_name] = file_name, f.read()
        except (OSError, ValueError) as err:
            raise UserError(f'cannot read the module {module_name}: {err}') from err
    return _sources[module_name]


def _parse(module_name):
    """(syntax tree, source lines) of a module, or None if there is no source. UserError if it is no Python."""
    if module_name not in _modules:
        found = _source(module_name)
        if found is None:
            return None
        file_name, source = found
        try:
            _modules[module_name] = ast.parse(source, file_name), source.splitlines()
        except (SyntaxError, ValueError, RecursionError) as err:
            raise UserError(f'cannot read the module {module_name}: {err}') from err
    return _modules[module_name]


def top_level_names(module_name, only=None):
    """Names that a module defines by assignment, def, class or import at its top level; None if it is not found.

    `only`: 'values' or 'functions' for public names of assignments, or of functions, only.
    """
    parsed = _parse(module_name)
    if parsed is None:
        return None
    names = []
    for node in parsed[0].body:
        if isinstance(node, ast.FunctionDef) and only != 'values' or isinstance(node, ast.ClassDef) and not only:
            names.append(node.name)
        elif isinstance(node, ast.Assign) and only != 'functions':
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, (ast.ImportFrom, ast.Import)) and not only:
            names += [alias.asname or alias.name for alias in node.names]
    return [name for name in names if not (only and name.startswith('_'))]


def constant(module_name, name):
    """The literal value that a module assigns to a name at its top level, or None."""
    found = _source(module_name)
    if found is None:
        return None
    if (module_name, name) not in _constants:
        value = None
        node = _assignment(found[1], module_name, name)
        if node is not None:
            value = _default(node.value, module_name)
        _constants[module_name, name] = None if value is COMPUTED else value
    return _constants[module_name, name]


def _assignment(source, module_name, name):
    """The node of a module's first assignment to a name alone at its top level, or None."""
    # Parsed by itself where that can be, since parsing all modules that declare something takes a tenth of a second.
    start = re.search(rf'^{re.escape(name)}[ \t]*=', source, re.MULTILINE)
    if start is None:
        return None
    piece = re.match(r'.*\n?(?:(?:[ \t)\]}].*)?\n)*', source[start.start():]).group()
    trees = []
    if '\\\n' not in piece and source[:start.start()].count('"""') % 2 == 0:
        with contextlib.suppress(SyntaxError, ValueError):
            trees.append(ast.parse(piece))
    for tree in trees + [None]:
        for node in (tree or _parse(module_name)[0]).body:
            if isinstance(node, ast.Assign) and [getattr(target, 'id', None) for target in node.targets] == [name]:
                return node
    return None


def _definition(name):
    """(module name, node) that defines `package.module.name`, following `from … import` lines, or None."""
    for _ in range(5):
        module_name, _, local_name = name.rpartition('.')
        parsed = _parse(module_name) if module_name else None
        if parsed is None:
            return None
        for node in parsed[0].body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == local_name:
                return module_name, node
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                imported = [alias.name for alias in node.names if (alias.asname or alias.name) == local_name]
                if imported:
                    name = f'{node.module}.{imported[0]}'
                    break
        else:
            return None
    return None


def class_constant(name, attribute):
    """The literal value that a class, or the nearest of its bases, gives an attribute; None if nothing is found."""
    found = _definition(name)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    module_name, node = found
    for line in node.body:
        if isinstance(line, ast.Assign) and [getattr(target, 'id', None) for target in line.targets] == [attribute]:
            value = _default(line.value, module_name)
            return None if value is COMPUTED else value
    bases = [class_constant(f'{module_name}.{base.id}', attribute) for base in node.bases if isinstance(base, ast.Name)]
    return next((value for value in bases if value is not None), None)


@functools.lru_cache(maxsize=None)
def read_signature(name):
    """The Signature of the function or class with this full name, or None if no source with it is found."""
    found = _definition(name)
    if found is None:
        return None
    module_name, node = found
    docstring = ast.get_docstring(node) or ''
    if isinstance(node, ast.ClassDef):
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == '__init__'), None)
        if init is None:
            bases = [f'{module_name}.{base.id}' for base in node.bases if isinstance(base, ast.Name)]
            base = read_signature(bases[0]) if bases else None
            if base is None:
                return Signature(name, OrderedDict(), {}, False, [])
            documented = {k: v for k, v in _documented(docstring).items() if k in base.params}
            return Signature(name, base.params, dict(base.comments, **documented), base.takes_any, base.forwards_to,
                             base.takes_more)
        skip_self, node = 1, init
    else:
        skip_self = 0
    args = node.args
    positional = getattr(args, 'posonlyargs', []) + args.args
    defaults = [None] * (len(positional) - len(args.defaults)) + args.defaults
    pairs = list(zip(positional, defaults))[skip_self:] + list(zip(args.kwonlyargs, args.kw_defaults))
    params = OrderedDict((arg.arg, _default(default, module_name)) for arg, default in pairs)
    documented = _documented(docstring)
    elsewhere = _module_comments(module_name)
    comments = _comments_beside(node, _parse(module_name)[1])
    comments = {name: comments.get(name) or documented.get(name) or elsewhere.get(name) for name in params}
    forwards_to = _forwards(node, args.kwarg.arg, module_name) if args.kwarg else []
    if args.kwarg and skip_self and _calls_base(node, args.kwarg.arg):
        forwards_to += [f'{module_name}.{base.id}' for base in found[1].bases if isinstance(base, ast.Name)][:1]
    return Signature(name, params, {k: v for k, v in comments.items() if v},
                     args.kwarg is not None and not args.kwarg.arg.startswith('_'), forwards_to, args.kwarg is not None)


def _default(node, module_name):
    """The value of an expression: a literal, or a name for one that the module assigns at its top level."""
    if node is None:
        return REQUIRED
    if isinstance(node, ast.Name):
        value = constant(module_name, node.id)
        return COMPUTED if value is None else value
    try:
        return ast.literal_eval(node)
    except ValueError:
        return COMPUTED


def _comments_beside(function, lines):
    """name -> the comment on a parameter's line, `name = default,  # comment`, and on lines of comment below it."""
    result = {}
    for arg in getattr(function.args, 'posonlyargs', []) + function.args.args + function.args.kwonlyargs:
        match = re.match(rf'\s*{arg.arg}\s*(=[^#]*)?[,)]?:?\s*#\s*(.*)', lines[arg.lineno - 1])
        if match:
            parts = [match.group(2).strip()]
            for line in lines[arg.lineno:]:
                more = re.match(r'\s*#\s*(.*)', line)
                if not more:
                    break
                parts.append(more.group(1).strip())
            result[arg.arg] = ' '.join(parts)
    return result


def _module_comments(module_name):
    """name -> what the first function of a module that explains such a parameter says; it means the same in others."""
    if module_name not in _explained:
        tree, lines = _parse(module_name)
        explained = _explained[module_name] = {}
        for node in tree.body:
            for name, comment in (_comments_beside(node, lines) if isinstance(node, ast.FunctionDef) else {}).items():
                explained.setdefault(name, comment)
    return _explained[module_name]


def _documented(docstring):
    """name -> meaning, from a docstring's lines `name, name: meaning` and the deeper ones that follow."""
    result, names, indent = {}, [], 0
    for line in docstring.splitlines():
        match = re.match(r'(\s*)(\w+(?:, \w+)*):\s+(\S.*)', line)
        depth = len(line) - len(line.lstrip())
        if match:
            indent, names = depth, match.group(2).split(', ')
            result.update((name, match.group(3)) for name in names)
        elif names and line.strip() and depth > indent:
            result.update((name, result[name] + ' ' + line.strip()) for name in names)
        else:
            names = []
    return {name: text[0].upper() + text[1:] for name, text in result.items()}


def _calls_base(function, kwargs_name):
    """Whether a constructor passes its `**kwargs_name` on to that of the base class."""
    return any(isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == '__init__'
               and any(k.arg is None and isinstance(k.value, ast.Name) and k.value.id == kwargs_name
                       for k in call.keywords) for call in ast.walk(function))


def _forwards(function, kwargs_name, module_name):
    """Full names of the functions given by `func_name=` in calls that also pass on `**kwargs_name`."""
    result = []
    for call in ast.walk(function):
        if not isinstance(call, ast.Call):
            continue
        passes = any(k.arg is None and isinstance(k.value, ast.Name) and k.value.id == kwargs_name
                     for k in call.keywords)
        target = next((k.value for k in call.keywords if k.arg == 'func_name'), None)
        if passes and isinstance(target, ast.Name):
            result.append(f'{module_name}.{target.id}')
        elif passes and target is not None:
            try:
                text = str(ast.literal_eval(target))
            except ValueError:
                continue
            result.append(text if '.' in text else f'{module_name}.{text}')
    return result
