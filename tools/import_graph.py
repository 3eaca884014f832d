"""The rooms of this project and the arrows between them, read from the source without importing anything.

    python3 tools/import_graph.py [FOLDER]      prints files per folder, circles, arrows upward, the longest functions

An arrow is an import anywhere in a file, within functions too, or a text constant that as a whole is the dotted name of
a module of ours or of something in one, since that is how code calls what it does not import. Importing a module also
runs the `__init__.py` of the packages that it lies in, so these count as well, except those that the importing file
lies in itself, which have begun already.
"""

import argparse
import ast
import collections
import os
import re

ROOMS = ('dnnlib', 'data', 'training', 'metrics', 'figures', 'experiment')
RANKS = {'config': 0, 'dnnlib': 1, 'data': 2, 'training': 3, 'metrics': 4, 'figures': 4, 'experiment': 5}
SCRIPTS = 6
MOST_FILES = 20             # .py files in a folder
MOST_LINES = 100            # of a function

Arrow = collections.namedtuple('Arrow', 'source target line how')
"""source, target: names of modules; line: its number in the source; how: 'import' or 'text'."""


class Graph:
    """All modules of a checkout. files: name of module → path; trees: name → syntax tree; arrows: list of Arrow."""

    def __init__(self, root):
        self.root = root
        self.files = {}
        for name in sorted(os.listdir(root)):
            if name.endswith('.py'):
                self.files[name[:-len('.py')]] = os.path.join(root, name)
        for room in ROOMS:
            for folder, subfolders, names in os.walk(os.path.join(root, room)):
                subfolders.sort()
                for name in sorted(names):
                    if name.endswith('.py'):
                        path = os.path.join(folder, name)
                        parts = os.path.relpath(path[:-len('.py')], root).split(os.sep)
                        self.files['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
        self.trees = {}
        for name, path in self.files.items():
            with open(path, encoding='utf-8') as f:
                self.trees[name] = ast.parse(f.read(), path)
        self._nodes = {name: list(ast.walk(tree)) for name, tree in self.trees.items()}
        self._names = {name: set(_top_level_names(tree)) for name, tree in self.trees.items()}
        self.arrows = [arrow for name in self.files for arrow in self._arrows_of(name)]

    def _arrows_of(self, source):
        found = set()
        for node in self._nodes[source]:
            targets, how = [], 'import'
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                whole = [f'{node.module}.{alias.name}' for alias in node.names]
                targets = [name if name in self.files else node.module for name in whole]
            elif source != 'config' and self._text(node) is not None:
                targets, how = [self._text(node)], 'text'
            for target in targets:
                found |= {Arrow(source, name, node.lineno, how) for name in self._touched(source, target)}
        return sorted(found)

    def _text(self, node):
        """The module of ours that a text constant names, itself or something in it; None for other nodes."""
        text = text_of(node)
        if text is None or not re.match(r'[A-Za-z_]\w*(\.[A-Za-z_]\w*)+\Z', text):
            return None
        if text in self.files:
            return text
        module, _, name = text.rpartition('.')
        return module if name in self._names.get(module, ()) else None

    def _touched(self, source, target):
        """Modules of ours that run when `source` asks for `target`."""
        if target not in self.files:
            return []
        parts = target.split('.')
        packages = ['.'.join(parts[:count]) for count in range(1, len(parts))]
        return [target] * (target != source) + [name for name in packages
                                                if name != source and not (source + '.').startswith(name + '.')]

    def imported(self, name):
        """First parts of the names of all modules, ours or not, that a module of ours imports anywhere."""
        found = set()
        for node in self._nodes[name]:
            if isinstance(node, ast.Import):
                found |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split('.')[0])
        return found

    def upward(self):
        """Arrows that do not point down or stay in their room."""
        return [arrow for arrow in self.arrows
                if room_of(arrow.source) != room_of(arrow.target) and rank(arrow.source) <= rank(arrow.target)
                and arrow.source != 'config']

    def circles(self):
        """Sets of modules, each of which leads to all others of its set, as sorted lists."""
        ahead = collections.defaultdict(set)
        for arrow in self.arrows:
            if arrow.source != 'config':
                ahead[arrow.source].add(arrow.target)
        return [sorted(part) for part in _components(sorted(self.files), ahead) if len(part) > 1]

    def files_per_folder(self):
        """Folder, relative to the root → number of .py files in it."""
        counts = collections.Counter(os.path.relpath(os.path.dirname(path), self.root) for path in self.files.values())
        return dict(sorted(counts.items()))

    def functions(self):
        """(lines, module, name) of every function, the longest first."""
        found = []
        for module, nodes in self._nodes.items():
            for node in nodes:
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    last = max(getattr(inner, 'lineno', 0) for inner in ast.walk(node))
                    found.append((last - node.lineno + 1, module, node.name))
        return sorted(found, reverse=True)


def room_of(module):
    """The first part of a module's name; all scripts are one room."""
    room = module.split('.')[0]
    return room if room in RANKS else 'scripts'


def rank(module):
    """How high a module's room stands."""
    return RANKS.get(room_of(module), SCRIPTS)


def text_of(node):
    """The text of a constant in a syntax tree; None for every other node."""
    kind = type(node).__name__  # the classes differ between Python's versions
    value = node.s if kind == 'Str' else node.value if kind == 'Constant' else None
    return value if isinstance(value, str) else None


def _top_level_names(tree):
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name).split('.')[0] for alias in node.names)


def _components(nodes, ahead):
    """Strongly connected components (Tarjan's algorithm, without recursion)."""
    order, low, stack, on_stack, result = {}, {}, [], set(), []
    for start in nodes:
        if start in order:
            continue
        work = [(start, iter(sorted(ahead[start])))]
        order[start] = low[start] = len(order)
        stack.append(start)
        on_stack.add(start)
        while work:
            node, following = work[-1]
            successor = next(following, None)
            if successor is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    part = stack[stack.index(node):]
                    del stack[stack.index(node):]
                    on_stack.difference_update(part)
                    result.append(part)
            elif successor not in order:
                order[successor] = low[successor] = len(order)
                stack.append(successor)
                on_stack.add(successor)
                work.append((successor, iter(sorted(ahead[successor]))))
            elif successor in on_stack:
                low[node] = min(low[node], order[successor])
    return result


def code_lines(path):
    """Number of lines of a Python file that are neither blank, comment nor docstring."""
    with open(path, encoding='utf-8') as f:
        text = f.read()
    tree, lines = ast.parse(text), text.splitlines()
    documented = set()
    for node in ast.walk(tree):
        body = getattr(node, 'body', None)
        if isinstance(body, list):
            for item in body:
                if isinstance(item, ast.Expr) and text_of(item.value) is not None:
                    # Python < 3.8 says where a text ends, newer ones where it begins.
                    last = getattr(item, 'end_lineno', item.lineno)
                    first = last - text_of(item.value).count('\n')
                    documented |= set(range(first, last + 1))
    return sum(1 for number, line in enumerate(lines, 1)
               if line.strip() and not line.strip().startswith('#') and number not in documented)


def main():
    """Prints the facts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('root', nargs='?', default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    graph = Graph(os.path.abspath(parser.parse_args().root))
    print('Files per folder:', ', '.join(f'{folder} {count}' for folder, count in graph.files_per_folder().items()))
    print('Lines of code:', sum(code_lines(path) for path in graph.files.values()))
    print(f'Circles: {len(graph.circles())}')
    for circle in graph.circles():
        print('   ', ' '.join(circle))
    print(f'Arrows upward: {len(graph.upward())}')
    for arrow in graph.upward():
        print(f'    {os.path.relpath(graph.files[arrow.source], graph.root)}:{arrow.line} {arrow.how} {arrow.target}')
    print('Longest functions:', ', '.join(f'{module}.{name} {lines}' for lines, module, name in graph.functions()[:8]))


if __name__ == '__main__':
    main()
