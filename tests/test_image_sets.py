"""Sets of images are scored against each other: folders, data sets, and statistics that were stored."""

import json
import os

import numpy as np
import PIL.Image
import pytest
from metric_helpers import make_network

import run_metrics
from data.records.dataset import load_dataset
from dataset_tool import main as dataset_tool
from dnnlib.util import UserError
from metrics import presets
from metrics.arithmetic import frechet_distance
from metrics.jobs import Job
from metrics.neighbours import precision_recall
from metrics.scores.records import read_record
from metrics.sets import measure, sources
from training.network_files import best
from training.network_files.locate import locate


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with a data set of drawn faces, the same faces as pictures, and noise as pictures of the same size."""
    folder = tmp_path_factory.mktemp('sets')
    dataset_tool(['create_toyfaces', str(folder / 'faces'), '--resolution', '16', '--num', '90', '--seed', '3'])
    with load_dataset(tfrecord_dir=str(folder / 'faces'), shuffle_mb=0, prefetch_mb=0) as data:
        faces, _ = data.get_samples_np(np.arange(90))
    noise = np.random.RandomState(0).randint(256, size=(80, 3, 16, 16)).astype(np.uint8)
    for name, arrays in (('pictures', faces), ('noise', noise)):
        (folder / name).mkdir()
        for index, image in enumerate(arrays):
            PIL.Image.fromarray(image.transpose(1, 2, 0)).save(str(folder / name / f'{index:03d}.png'))
    return folder


def score(place, *args, out='out'):
    words = [str(place / word) if os.path.exists(str(place / word)) else word for word in args]
    run_metrics.main(words + ([] if words[0] == 'stats' else ['--out', str(place / out)]) + ['--device', 'cpu'])


def features(place, name):
    source = sources.open_set(str(place / name), '', '')
    with measure._session():
        network = measure.choose_features('standin', []).inception()
        return measure.Features(source, network, 32).values


@pytest.mark.both
def test_equal_pictures_are_at_no_distance_whatever_holds_them(place, capsys):
    score(place, 'fid,kid', '--images', 'pictures', '--reference', 'faces', out='equal')
    record = read_record(str(place / 'equal' / 'fid.json'))
    assert abs(record['value']) < 1e-6 and record['is_standin'] and record['num_samples'] == 90
    assert record['images'] == 'pictures' and record['reference'] == 'faces' and len(record['dataset_fingerprint']) > 20
    assert read_record(str(place / 'equal' / 'kid.json'))['value'] < 0.1     # unbiased, so it may be negative
    assert '90 images of pictures against 90 of faces; stand-in networks' in capsys.readouterr().out


def test_sheets_beside_generated_images_are_no_images(place, tmp_path):
    """`generate` writes them into the folder that README's next command scores."""
    for index in range(3):
        PIL.Image.new('RGB', (16, 16), (index, 0, 0)).save(str(tmp_path / f'seed000{index}.png'))
    for name in ('sheet.png', 'sheet-2.png', 'strips.png'):
        PIL.Image.new('RGB', (99, 77)).save(str(tmp_path / name))
    with pytest.raises(UserError, match='sheet.png. is 99x77|sheet-2.png. is 99x77|the first picture'):
        sources.ImageFolder(str(tmp_path)).read(0, 6)
    (tmp_path / 'images.json').write_text('{}')
    found = sources.ImageFolder(str(tmp_path))
    assert found.num_images == 3 and found.read(0, 3)[:, 0, 0, 0].tolist() == [0, 1, 2]
    dataset_tool(['create_from_images', str(tmp_path / 'set'), str(tmp_path), '--shuffle', '0', '--workers', '1'])
    with load_dataset(tfrecord_dir=str(tmp_path / 'set'), prefetch_mb=0) as data:
        assert data.num_images == 3


def test_scores_are_those_of_the_features(place):
    score(place, 'fid,pr', '--images', 'noise', '--reference', 'faces', '--minibatch', '7')
    real, fake = features(place, 'faces'), features(place, 'noise')
    assert real.shape[0] == 90 and fake.shape[0] == 80
    sides = [measure.statistics_of(side) for side in (real, fake)]
    expected = pytest.approx(frechet_distance(sides[0].mean, sides[0].covariance, sides[1].mean, sides[1].covariance),
                             rel=1e-4)
    assert read_record(str(place / 'out' / 'fid.json'))['value'] == expected
    precision, recall = precision_recall(real, fake, 3)[:2]
    assert read_record(str(place / 'out' / 'pr.json'))['values'] == pytest.approx(
        {'pr_precision': precision, 'pr_recall': recall})


def test_stored_statistics_stand_for_the_images(place):
    path = str(place / 'faces.npz')
    score(place, 'stats', '--reference', 'faces', '--out', path)
    score(place, 'fid', '--images', 'noise', '--reference', path, out='stored')
    score(place, 'fid', '--images', 'noise', '--reference', 'faces', out='direct')
    stored, direct = (read_record(str(place / name / 'fid.json')) for name in ('stored', 'direct'))
    assert stored['value'] == pytest.approx(direct['value'], rel=1e-9)
    assert stored['dataset_fingerprint'] == direct['dataset_fingerprint'] and stored['is_standin']
    with pytest.raises(UserError, match='do for fid alone'):
        score(place, 'fid,kid', '--images', 'noise', '--reference', path)
    with pytest.raises(UserError, match='holds statistics; a folder'):
        score(place, 'fid', '--images', path, '--reference', 'faces')


def test_stored_statistics_stand_for_the_reals_of_a_network(place, monkeypatch, capsys):
    monkeypatch.setattr('config.cache_dir', str(place / 'cache'))
    path, network = str(place / 'given.npz'), make_network(place, resolution=16)
    score(place, 'stats', '--reference', 'faces', '--out', path)
    common = ['fid50k', '--network', network, '--num-samples', '90']
    score(place, *common, '--reference', path, out='given')
    score(place, *common, '--dataset', 'faces', out='own')
    given, own = (read_record(str(place / name / 'fid50k.json')) for name in ('given', 'own'))
    assert given['value'] == pytest.approx(own['value'], rel=1e-6) and given['is_standin']
    assert (given['reference'], given['dataset_images']) == ('given.npz', 90)
    assert given['dataset_fingerprint'] == own['dataset_fingerprint'] and given['mirror_augment'] is False
    assert best.protocol_of(given) != best.protocol_of(own)
    capsys.readouterr()
    explain(place / 'given' / 'fid50k.json', place / 'own' / 'fid50k.json')
    assert 'the reals were the images of a data set, or statistics' in capsys.readouterr().out

    # Measured already, until the file is of other images.
    spec = dict(presets.preset('fid50k'), num_images=90, reals='order', reference=path)
    job = Job([spec], locate(network), str(place / 'given'), features='standin')
    assert job.done(job.metrics[0]) is not None
    with pytest.raises(UserError, match='exists already; choose another name or delete it first'):
        score(place, 'stats', '--reference', 'noise', '--features', 'standin', '--out', path)
    os.unlink(path)
    score(place, 'stats', '--reference', 'noise', '--features', 'standin', '--out', path)
    job = Job([spec], locate(network), str(place / 'given'), features='standin')
    assert job.done(job.metrics[0]) is None
    for words, message in (
            (['kid50k', '--network', network, '--reference', path], 'do for Frechet distances alone, .* kid50k needs'),
            (['fid50k', '--network', network, '--reference', 'faces'], 'it takes statistics that'),
            ([*common, '--reference', path, '--fid-reals', 'random'], 'reals are not drawn'),
            ([*common, '--reference', path, '--dataset', 'faces'], None)):
        with pytest.raises(UserError if message else SystemExit, match=message):
            score(place, *words)


def explain(*paths):
    run_metrics.main(['explain'] + [str(path) for path in paths])


def test_mirrored_references_count_twice(place):
    score(place, 'fid', '--images', 'noise', '--reference', 'faces', '--mirror-augment', out='mirrored')
    record = read_record(str(place / 'mirrored' / 'fid.json'))
    assert record['dataset_images'] == 180 and record['mirror_augment']


def test_two_sets_have_a_record_each(place):
    for name in ('noise', 'pictures'):
        score(place, 'fid', '--images', name, '--reference', 'faces', out='both')
    assert len([name for name in os.listdir(str(place / 'both')) if name.startswith('fid')]) == 2


@pytest.mark.parametrize('words, expected', [
    (['fid50k', '--images', 'noise', '--reference', 'faces'], "no metric 'fid50k' of two sets.* fid, kid, pr"),
    (['fid', '--images', 'nowhere', '--reference', 'faces'], "--images: there is no folder 'nowhere'"),
    (['fid', '--images', 'odd', '--reference', 'faces'], "002.png' is 8x8 RGB, the first picture in .* 16x16 RGB"),
    (['fid', '--images', 'alpha', '--reference', 'faces'], "a.png' has an alpha channel; scores want 8-bit"),
    (['fid', '--images', 'one', '--reference', 'faces'], 'a single image'),
    (['fid', '--images', 'noise', '--reference', 'bad.npz'], 'give a file that run_metrics.py stats made'),
    (['fid', '--images', 'noise', '--reference', 'other.npz'], 'made with other features'),
    (['stats', '--reference', 'faces', '--out', 'x.json'], 'ends in .npz'),
    (['fid', '--network', 'x'], "no metric 'fid' of a network.* --images and --reference")])
def test_mistakes_are_answered_with_a_sentence(place, words, expected):
    for name, pictures in (('odd', [(16, 'RGB'), (16, 'RGB'), (8, 'RGB')]), ('alpha', [(16, 'RGBA')]),
                           ('one', [(16, 'RGB')])):
        (place / name).mkdir(exist_ok=True)
        for number, (size, mode) in enumerate(pictures):
            path = place / name / ('a.png' if mode == 'RGBA' else f'{number:03d}.png')
            PIL.Image.new(mode, (size, size)).save(str(path))
    (place / 'bad.npz').write_bytes(b'PK nothing')
    values = measure.statistics_of(np.random.RandomState(0).rand(70, 64))
    sources.write_statistics(str(place / 'other.npz'), values, dict(
        name='x', fingerprint='y', num_images=70, mirror_augment=False, weights_sha256='0' * 64,
        features='other features', is_standin=True))
    with pytest.raises(UserError, match=expected):
        if '--network' in words:
            run_metrics.main(words)
        else:
            score(place, *words)


def test_facts_of_statistics_are_checked(place):
    values = measure.statistics_of(np.random.RandomState(0).rand(70, 64))
    path = str(place / 'facts.npz')
    good = dict(name='x', fingerprint='y', num_images=70, mirror_augment=False, weights_sha256='0' * 64, features='z',
                is_standin=True)
    sources.write_statistics(path, values, good)
    assert sources.Statistics(path).values.num_samples == 70
    for change in (dict(num_images=71), dict(num_images='70'), dict(is_standin=None), dict(name=[1])):
        sources.write_statistics(path, values, dict(good, **change))
        with pytest.raises(UserError, match='run_metrics.py stats'):
            sources.Statistics(path)
    assert json.loads(str(np.load(path)['facts']))['format'] == sources.FORMAT
