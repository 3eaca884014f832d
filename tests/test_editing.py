"""Directions are found in planes, labels, components and arrays; edits move along them and nothing else."""

import numpy as np
import pytest
from conftest import new_session
from generator_helpers import save_networks
from PIL import Image

import generate
import run_metrics
from dnnlib import UserError, tflib
from dnnlib.array_files import read_npz
from dnnlib.util import EasyDict
from figures import arguments, layouts
from figures.editing import edits, shares, sources
from figures.editing.directions import Direction, principal_components, sample_dlatents
from figures.explorer import opening
from figures.generator import Generator
from metrics.networks.answers import Answers


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Networks that have no normalisation in the mapping's way: w is spread well."""
    with new_session():
        return save_networks(tmp_path_factory.mktemp('networks'), resolution=32)


@pytest.fixture(scope='module')
def opened(networks):
    with new_session():
        yield {name: arguments.open_generator(generate.parse_args(['--network', path, '--seeds', '1']))
               for name, path in networks.items()}


@pytest.fixture
def gen(opened):
    return opened['styles'][0]


@pytest.fixture
def opened_once(opened, monkeypatch):
    monkeypatch.setattr(arguments, 'open_generator', lambda args: opened['styles'])


@pytest.mark.both
def test_principal_components_are_those_of_numpy():
    samples = np.random.RandomState(0).randn(500, 6) * [1, 5, 2, 0.1, 3, 1]
    found = principal_components(samples, 3)
    assert [np.argmax(np.abs(direction.normal)) for direction in found] == [1, 4, 2]
    centred = samples - samples.mean(axis=0)
    for direction in found:
        assert np.isclose(direction.deviation, (centred @ direction.normal).std(ddof=1))
    w = np.zeros([2, 4, 6], np.float32)
    moved = found[0].move(w, 2, layers=[1, 2])
    assert not moved[:, [0, 3]].any() and np.allclose(np.linalg.norm(moved[:, 1], axis=-1), 2 * found[0].deviation)


@pytest.mark.both
def test_edits_are_read_held_orthogonal_and_moved():
    axes = {name: Direction(name, vector, 2.0)
            for name, vector in (('a', [1, 0, 0]), ('b', [1, 1, 0]), ('c', [0, 0, 1]))}
    found = edits.parse('a=+2, c=-1.5', axes)
    moved = edits.move(np.zeros([1, 2, 3], np.float32), found, share=0.5, layers=[1])
    np.testing.assert_allclose(moved, [[[0, 0, 0], [2, 0, -1.5]]])
    held, = edits.parse('a=1', axes, hold=['b'])
    assert abs(held.direction.normal @ axes['b'].normal) < 1e-12
    assert np.isclose(np.linalg.norm(held.direction.normal), 1)
    with pytest.raises(UserError, match='nothing of it is left'):
        edits.parse('a=1', axes, hold=['a'])
    assert edits.parse_layers('0-1,3', 4) == [0, 1, 3]


@pytest.mark.both
@pytest.mark.parametrize('text, words', [('a', 'write names'), ('a=', 'write names'), ('a=x', 'write names'),
                                         ('a=99', 'at most'), ('d=1', "no direction 'd'"), ('', 'write names'),
                                         ('a=1,a=2', "gives 'a' twice")])
def test_edits_that_mean_nothing_are_refused(text, words):
    with pytest.raises(UserError, match=words):
        edits.parse(text, {'a': Direction('a', [1.0, 0.0])})
    with pytest.raises(UserError, match='--layers'):
        edits.parse_layers('2-9', 8)


def test_labelled_samples_give_the_direction_that_labelled_them(gen, tmp_path):
    samples, truth = sample_dlatents(gen), principal_components(sample_dlatents(gen), 1)[0]
    w = np.concatenate([gen.dlatents(gen.latents(seed)) for seed in range(200)])[:, -1]
    along = (w - samples.mean(axis=0)) @ truth.normal
    lines = ['seed,binary,number'] + [f'{seed},{int(value > 0)},{value:.5f}' for seed, value in enumerate(along)]
    (tmp_path / 'a.csv').write_text('\n'.join(lines + ['7,,']) + '\n')
    found = sources.load(str(tmp_path / 'a.csv'), gen)
    assert list(found) == ['binary', 'number']
    for direction in found.values():
        assert np.corrcoef(samples @ direction.normal, samples @ truth.normal)[0, 1] > 0.9, direction
        assert np.isclose(direction.deviation, (samples @ direction.normal).std(), rtol=1e-6)
    np.save(str(tmp_path / 'mine.npy'), truth.normal * 7)
    mine = sources.load(str(tmp_path / 'mine.npy'), gen)['mine']
    np.testing.assert_allclose(mine.normal, truth.normal)


@pytest.mark.parametrize('name, content, words', [
    ('a.csv', 'seed,x\n1,0\n2,1\n', 'at least 4'), ('a.csv', 'x\n1\n', "'seed'"), ('a.csv', 'seed,x\n1.5,1\n', 'seeds'),
    ('a.csv', 'seed,x\n1,one\n', 'numbers'), ('a.csv', 'seed,x\n1,0\n2,inf\n', 'numbers'),
    ('a.csv', 'seed,x\n1,0\n2,1_0\n', 'numbers'), ('a.csv', 'seed,x\n1,0\n2,1e308\n', 'numbers of usual size'),
    ('a.csv', 'seed,x\n"' + 'x' * 200000 + '",1\n', 'not a table|numbers of usual size'),
    ('a.csv', 'seed,\n' + ''.join(f'{4294967295 - i},{i % 2}\n' for i in range(6)), 'without a name'),
    ('a.npy', b'no', 'no array'), ('a.txt', 'x', 'none that can be read'),
    ('a.npz', b'no', 'a.npz')])
def test_sources_that_cannot_be_read_get_a_sentence(gen, opened, tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words):
        sources.load(str(path), gen)
    with pytest.raises(UserError, match='the network has not'):
        sources.load('pca:3', opened['plain'][0])
    with pytest.raises(UserError, match='principal components'):
        sources.load('pca:900', gen)
    for names, deviations, scale, words in (
            ('aa', [1.0, 1.0], 1, "two directions named 'a'"), ('ab', [1.0, 0.0], 1, 'deviations'),
            ('ab', [1.0, 1.0], 1e308, 'finite vectors'), ('ab', ['1', 'x'], 1, 'do not fit'),
            ('ab', [1, 2j], 1, 'do not fit')):
        np.savez(str(tmp_path / 'p.npz'), names=np.array(list(names)), intercepts=np.zeros(2),
                 normals=np.eye(2, gen.dlatent_avg.shape[-1]) * scale, deviations=np.array(deviations))
        with pytest.raises(UserError, match=words):
            sources.load(str(tmp_path / 'p.npz'), gen)
    np.save(str(tmp_path / 'short.npy'), np.zeros([2, 3]))
    with pytest.raises(UserError, match='finite vectors'):
        sources.load(str(tmp_path / 'short.npy'), gen)


def test_edited_images_and_strips(opened_once, networks, tmp_path):
    options = ['--network', networks['styles'], '--seeds', '1-3', '--psi', '0.7']
    generate.main(options + ['--outdir', str(tmp_path / 'plain')])
    edit = ['--directions', 'pca:3', '--edit', 'component-1=+2,component-2=-1', '--layers', '0-3']
    generate.main(options + edit + ['--outdir', str(tmp_path / 'edited')])
    none = ['--directions', 'pca:3', '--edit', 'component-1=0']
    generate.main(options + none + ['--outdir', str(tmp_path / 'none')])
    images = {folder: np.array(Image.open(str(tmp_path / folder / 'seed0002.png'))).astype(int)
              for folder in ('plain', 'edited', 'none')}
    assert (images['plain'] != images['edited']).any() and np.abs(images['plain'] - images['none']).max() <= 1
    strips = np.array(Image.open(str(tmp_path / 'edited' / 'strips.png'))).astype(int)
    zoom = layouts.zoom_of(32)
    side = 32 * zoom + 2
    assert strips.shape == (3 * side - 2, 5 * side - 2, 3)
    for column, name in ((2, 'plain'), (4, 'edited')):      # of the second row
        cell = strips[side:2 * side - 2:zoom, column * side:(column + 1) * side - 2:zoom]
        assert np.abs(cell - images[name]).max() <= 1


@pytest.mark.both
def test_kept_planes_point_to_those_who_have_the_attribute(tmp_path):
    from metrics.linear_separability import Planes, fit_svm
    rnd = np.random.RandomState(0)
    w = rnd.randn(400, 3) * [2.0, 1.0, 0.5]
    targets = (w[:, 0] < 0.5).astype(int)       # the first class has it
    planes = Planes()
    fit_svm(w, targets, 0, planes.fitted('tall'))
    path = str(tmp_path / 'planes.npz')
    planes.store(path, w.__getitem__, len(w), EasyDict(network_sha256='a' * 64))
    arrays = read_npz(path, allow_text=True)
    assert arrays['names'].tolist() == ['tall'] and str(arrays['network_sha256']) == 'a' * 64
    normal = arrays['normals'][0]
    assert np.isclose(np.linalg.norm(normal), 1) and normal[0] > 0.99
    assert np.isclose(arrays['deviations'][0], (w @ normal).std(), rtol=1e-6)
    assert ((w @ normal + arrays['intercepts'][0] > 0) == (targets == 0)).mean() > 0.97
    with pytest.raises(UserError, match='no planes'):
        Planes().store(path, None, 0, None)


@pytest.mark.slow
def test_planes_of_separability_are_kept_and_point_to_the_attribute(gen, opened_once, networks, tmp_path, faces):
    from metrics.networks.answers import Answers
    planes = str(tmp_path / 'planes.npz')
    run_metrics.main(['ls', '--network', networks['styles'], '--num-samples', '160', '--features', 'standin',
                      '--device', 'cpu', '--keep-planes', planes, '--out', str(tmp_path / 'records')])
    arrays = read_npz(planes, allow_text=True)
    np.testing.assert_allclose(np.linalg.norm(arrays['normals'], axis=1), 1)
    found = sources.load(planes, gen)
    # Those that a plane divides best move most.
    found = dict(sorted(found.items(), key=lambda item: -item[1].deviation)[:3])
    answers = Answers('standin', found)
    table = shares.measure(gen, found, answers, psi=1, count=20, strengths=(-4.0, 0.0, 4.0))
    assert set(table) == set(found)
    differences = [row[4.0]['has'] - row[-4.0]['has'] for row in table.values()]
    assert max(differences) > 0.1 and np.mean(differences) > 0
    paths = shares.store(str(tmp_path), table, 'note')
    assert 'attribute' in open(paths[0]).read() and Image.open(paths[1]).size[0] > 300
    with pytest.raises(UserError, match='--keep-planes has no effect on fid50k; it is for ls'):
        run_metrics.main(['fid50k', '--network', networks['styles'], '--dataset', faces, '--keep-planes', planes])


@pytest.mark.both
def test_shares_count_those_whose_answer_was_against():
    before, after = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert shares._shares(before, after, 2.0) == dict(has=0.5, changed=0.5, against=2)
    assert shares._shares(before, after, -2.0) == dict(has=0.5, changed=0.5, against=2)
    assert shares._shares(before, before, 0.0) == dict(has=0.5, changed=None, against=0)


def test_the_attributes_that_have_classifiers_are_named_where_no_direction_is_one():
    with pytest.raises(UserError, match='directions are component-1; there are classifiers of .*eyeglasses'):
        shares.measure(None, {'component-1': None}, Answers('standin', ['component-1']))


def test_points_are_no_pictures(fresh_graph):
    network = tflib.Network('Gs', 'training.networks_minimal.G_minimal')
    with pytest.raises(UserError, match=r"network 'Gs' makes samples of \[2\], not images"):
        Generator(network)


def test_sliders_of_a_network_without_w_are_refused():
    args = EasyDict(directions=None, sliders='smiling')
    with pytest.raises(UserError, match='directions are those of w, which the network has not'):
        opening._directions(args, EasyDict(is_style_based=False), EasyDict(sha256=None))
    assert opening._directions(EasyDict(args, sliders=None), EasyDict(is_style_based=False), None) == []
