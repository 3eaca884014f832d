"""The architecture page: its picture is that of the imports, and what it names exists."""

import re
import xml.etree.ElementTree

import pytest
from conftest import ROOT

from tools import import_graph

PAGE = ROOT / 'docs' / 'architecture.md'


@pytest.fixture
def drawing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import draw_architecture
    return draw_architecture


@pytest.fixture(scope='module')
def graph():
    return import_graph.Graph(str(ROOT))


@pytest.mark.both
def test_the_picture_is_that_of_the_imports(drawing, graph):
    with open(drawing.TARGET, encoding='utf-8') as f:
        assert f.read() == drawing.make(graph), 'run: python3 tools/draw_architecture.py'


def test_the_picture_shows_every_room_and_every_arrow(drawing, graph):
    pairs = drawing.arrows_between_rooms(graph)
    assert ('scripts', 'experiment') in pairs and ('data', 'dnnlib') in pairs
    tree = xml.etree.ElementTree.fromstring(drawing.make(graph))
    named = tree.findall('.//{*}path[@marker-end]') or tree.findall('.//{http://www.w3.org/2000/svg}path[@marker-end]')
    assert len(named) == len(pairs)
    titles = [node.text.rstrip('/').replace('.py', '') for node in
              tree.findall('.//{http://www.w3.org/2000/svg}text[@class="name"]')]
    assert sorted(titles) == sorted(import_graph.ROOMS + ('scripts', 'config'))


def test_every_place_that_the_page_names_exists():
    text = PAGE.read_text(encoding='utf-8')
    places = [place for place in re.findall(r'`([\w./*-]+)`', text) if '/' in place or place.endswith('.py')]
    assert len(places) > 30
    for place in places:
        if place not in ('./reproduce',):
            assert list(ROOT.glob(place.rstrip('/'))), place


def test_functions_that_the_page_names_are_where_it_says():
    assert 'def process_reals(' in (ROOT / 'training' / 'towers.py').read_text(encoding='utf-8')
    assert 'class Network' in (ROOT / 'dnnlib' / 'tflib' / 'network.py').read_text(encoding='utf-8')
