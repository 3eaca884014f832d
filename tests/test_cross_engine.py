"""The same network files on two engines: images, scores, gradients, a training step, an update and metrics agree."""

import re
import sys

import pytest
from conftest import ROOT

from dnnlib.tflib import ENGINE

sys.path.insert(0, str(ROOT / 'tools'))
import compare_engines  # noqa: E402, needs the path above

OTHER = {'tf1': 'tf2', 'tf2': 'tf1'}[ENGINE]

pytestmark = pytest.mark.both


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """(this engine's, the other engine's) numbers and records, on files that the other engine wrote."""
    python = compare_engines.environment_python(OTHER)
    if python is None:
        pytest.skip(f'the environment of the other engine is not set up (make setup ENGINE={OTHER})')
    folder = tmp_path_factory.mktemp('cross_engine')
    other = compare_engines.run_probe(python, folder, 'other')
    return compare_engines.run_probe(sys.executable, folder, 'this'), other


@pytest.fixture(scope='module')
def rows(results):
    return {title: (found, bound) for title, found, _, bound in compare_engines.compare(*results)}


def test_two_engines_ran(results):
    assert sorted(str(arrays['engine']) for arrays, _ in results) == ['tf1', 'tf2']
    assert [record['engine'] for record in results[0][1].values()] == [ENGINE] * len(results[0][1])


@pytest.mark.parametrize('title', [row[0] for row in compare_engines.QUANTITIES])
def test_numbers_of_networks_agree(rows, title):
    found, bound = rows[title]
    assert found <= bound <= 1e-3


def test_scores_agree(results, rows):
    scores = {title: found for title, found in rows.items() if title.startswith('`')}
    assert len(scores) == 11    # each of 9 metrics; two have two values
    for title, (found, bound) in scores.items():
        assert found <= bound, title
    for this, other in zip(results[0][1].values(), results[1][1].values()):
        assert this['is_standin'], this
        assert all('not comparable' in problem for problem in this['problems']), this   # ls: 4 of 40 attributes
        assert this['problems'] == other['problems']
        for key in ('network_sha256', 'dataset_fingerprint', 'settings', 'num_samples', 'seed'):
            assert this[key] == other[key], key


def test_table_in_the_docs_has_every_quantity_within_its_bound(rows):
    text = compare_engines.DOCS.read_text(encoding='utf-8')
    table = re.findall(r'^\| (.+?) \| (none|[\d.e+-]+) \| ([\d.e+-]+) .+ \|$',
                       text[text.index(compare_engines.BEGIN):text.index(compare_engines.END)], flags=re.M)
    assert {title: float(bound) for title, _, bound in table} == {title: bound for title, (_, bound) in rows.items()}
    assert all(found == 'none' or float(found) <= float(bound) for _, found, bound in table)
