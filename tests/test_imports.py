"""Imports point one way: nobody below knows those above, and TensorFlow has one door."""

import ast

import pytest
from conftest import ROOT

# What the files of each folder may import of this project. Above all of them stand the scripts.
ALLOWED = {
    'dnnlib': {'dnnlib', 'config'},
    'data': {'data', 'dnnlib', 'config'},
    'training': {'training', 'data', 'dnnlib', 'config'},
    'metrics': {'metrics', 'training', 'data', 'dnnlib', 'config'},
    'figures': {'figures', 'training', 'data', 'dnnlib', 'config'},
    'experiment': {'experiment', 'metrics', 'training', 'data', 'dnnlib', 'config'},
}
SCRIPTS = {path.stem for path in ROOT.glob('*.py')} - {'config'}


def imported(path):
    """Top-level names that a source file imports anywhere, also within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split('.')[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split('.')[0])
    return names


@pytest.mark.parametrize('folder', sorted(ALLOWED))
def test_imports_point_one_way(folder):
    ours = set(ALLOWED) | SCRIPTS | {'config', 'tools', 'tests', 'benchmarks'}
    for path in sorted((ROOT / folder).rglob('*.py')):
        assert imported(path) & ours <= ALLOWED[folder], path


def test_tensorflow_is_imported_by_its_layer_and_by_network_code_only():
    doors = {ROOT / 'dnnlib' / 'tflib', ROOT / 'metrics' / 'networks'}
    for folder in ALLOWED:
        for path in sorted((ROOT / folder).rglob('*.py')):
            is_stored = folder == 'training' and path.name.startswith('network')  # goes into pickles as text
            if not is_stored and not doors & set(path.parents):
                assert 'tensorflow' not in imported(path), path
