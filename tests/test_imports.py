"""A folder is one sentence and imports point down: nobody below knows those above, nobody needs himself."""

import pytest
from conftest import ROOT

from tools import import_graph

FACADES = ('training.misc', 'training.dataset')     # published names; what they offer is made elsewhere


@pytest.fixture(scope='module')
def graph():
    return import_graph.Graph(str(ROOT))


def test_arrows_point_down(graph):
    assert graph.upward() == []


def test_nothing_leads_back_to_itself(graph):
    assert graph.circles() == []


def test_no_folder_holds_more_files_than_can_be_overlooked(graph):
    assert {folder: count for folder, count in graph.files_per_folder().items()
            if count > import_graph.MOST_FILES} == {}


def test_no_function_is_longer_than_a_page(graph):
    assert [found for found in graph.functions() if found[0] > import_graph.MOST_LINES] == []


def test_nothing_of_ours_goes_through_published_names(graph):
    users = {arrow.source for arrow in graph.arrows if arrow.target in FACADES and arrow.how == 'import'}
    assert users == set()


def test_what_surrounds_the_program_is_not_part_of_it(graph):
    outside = {'tests', 'tools', 'benchmarks'}
    assert {name for name in graph.files if graph.imported(name) & outside} == set()


def test_tensorflow_is_imported_by_its_layer_and_by_network_code_only(graph):
    def may(name):
        stored = name.startswith('training.') and name.rpartition('.')[2].startswith('network')  # in pickles as text
        return stored or name.startswith(('dnnlib.tflib.', 'metrics.networks.')) or name == 'metrics.networks'
    assert {name for name in graph.files if 'tensorflow' in graph.imported(name) and not may(name)} == set()


# ---- What counts as an arrow

@pytest.mark.parametrize('source, expected', [
    ('import training.loss', {'training', 'training.loss'}),
    ('from training import loss', {'training', 'training.loss'}),
    ('def f():\n    from training.loss import G_wgan', {'training', 'training.loss'}),
    ('call("training.loss")', {'training', 'training.loss'}),
    ('call("training.loss.G_wgan")', {'training', 'training.loss'}),
    ('call("training.loss.G_unknown")', set()),
    ('raise ValueError("see training.loss for losses")', set()),
    ('"""training.loss is above"""', set()),
    ('key = "train.total_kimg"', set()),
    ('from dnnlib.below import x', {'dnnlib.below'}),
    ('import os, numpy', set())])
def test_imports_and_names_in_texts_are_arrows(tmp_path, source, expected):
    for name, text in (('dnnlib/__init__', ''), ('dnnlib/below', 'x = 1'), ('dnnlib/tested', source),
                       ('training/__init__', ''), ('training/loss', 'def G_wgan(): pass'), ('train', ''),
                       ('config', 'modules = ["training.loss"]')):
        path = tmp_path / (name + '.py')
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + '\n')
    graph = import_graph.Graph(str(tmp_path))
    assert {arrow.target for arrow in graph.arrows if arrow.source == 'dnnlib.tested'} == expected
    upward = {arrow.target for arrow in graph.upward()}
    assert upward == {name for name in expected if name.startswith('training')}


@pytest.mark.parametrize('first, second, is_circle', [
    ('import data.second', 'def f():\n    import data.first', True),
    ('from data import second', 'name = "data.first"', True),
    ('from data.package.inner import x', '', True),         # runs the package, which needs the first
    ('from data import second', '', False)])
def test_circles_are_found_through_functions_texts_and_packages(tmp_path, first, second, is_circle):
    (tmp_path / 'data' / 'package').mkdir(parents=True)
    for name, text in (('__init__', ''), ('first', first), ('second', second),
                       ('package/__init__', 'import data.first'), ('package/inner', 'x = 1')):
        (tmp_path / 'data' / (name + '.py')).write_text(text + '\n')
    assert bool(import_graph.Graph(str(tmp_path)).circles()) == is_circle
