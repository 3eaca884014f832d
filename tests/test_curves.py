"""`run_metrics.py curves`: which scores are drawn, of which space, and what is measured for them."""

import csv
import os
import shutil

import PIL.Image
import pytest
from metric_helpers import make_faces, make_network, some_record

import config
import run_metrics
from dnnlib.command_line import shown
from dnnlib.files import write_json
from dnnlib.submission import write_submit_config
from dnnlib.util import UserError
from experiment import run_config
from experiment.studies import curves, identity, unwarping
from metrics import presets
from metrics.scores import store
from metrics.scores.standard import SETTINGS

pytestmark = pytest.mark.usefixtures('no_downloads')
NAMES = ['fid50k', 'ppl_zfull', 'ppl_wfull', 'ppl_wend']


def make_run(folder, name, base, faces='nowhere'):
    """A run directory of a named configuration, without networks."""
    path = str(folder / name)
    os.makedirs(path)
    settings, origins = run_config.load(base, config.config_dir, [f'dataset.tfrecord_dir={faces}'], {})
    write_submit_config(path, dict(config=settings, data_dir='/'), origins)
    write_json(os.path.join(path, 'dataset.json'), dict(
        shape=[3, 32, 32], dtype='uint8', dynamic_range=[0, 255], num_images=80, label_size=0, fingerprint='b' * 64))
    return path


def put(run, kimg, metric, value, **changes):
    """A record as a metric would leave it."""
    settings = dict(SETTINGS[metric], **changes.pop('settings', {}))
    data = {} if metric == 'fid50k' else dict(dataset_fingerprint=None, mirror_augment=None)
    name = f'network-snapshot-{kimg:06d}'
    return store.put(os.path.join(run, 'metrics', name), some_record(
        value, metric=metric, network=name, settings=settings, **dict(data, **changes)))


@pytest.fixture
def two_runs(tmp_path):
    """B and F in small, with scores in both spaces."""
    b, f = (make_run(tmp_path, name, base) for name, base in (('00000-b', 'demo-traditional-0'),
                                                              ('00001-f', 'demo-style-8')))
    for kimg in (2, 10, 20):
        for run, plus in ((b, 1.0), (f, 0.0)):
            put(run, kimg, 'fid50k', 30 - kimg + plus)
            put(run, kimg, 'ppl_zfull', 400 + kimg + plus)
        put(f, kimg, 'ppl_wfull', 200 + kimg)
    return b, f


def read_csv(folder):
    with open(os.path.join(str(folder), 'curves.csv')) as file:
        return list(csv.DictReader(file))


def test_runs_share_a_picture_each_in_its_own_space(two_runs, tmp_path, capsys):
    out = tmp_path / 'out'
    run_metrics.main(['curves', *two_runs, '--out', str(out)])
    rows = read_csv(out)
    assert {(row['run'], row['metric'], row['space']) for row in rows} == {
        ('00000-b', 'fid50k', ''), ('00001-f', 'fid50k', ''), ('00000-b', 'ppl_zfull', 'z'),
        ('00001-f', 'ppl_wfull', 'w')}
    assert [(row['kimg'], row['value']) for row in rows if row['run'] == '00001-f' and row['metric'] == 'fid50k'] == [
        ('2', '28.0'), ('10', '20.0'), ('20', '10.0')]
    assert '00001-f has no scores of ppl_wend; --measure computes them' in capsys.readouterr().out
    with PIL.Image.open(str(out / 'curves.png')) as picture:
        assert picture.size[0] > 2 * picture.size[1] > 800  # two panels
    assert [curves.Member(run).full_kimg for run in two_runs] == [8, 8]


def test_curves_hold_scores_of_one_protocol_and_of_the_runs_own_data(two_runs, tmp_path):
    b, f = two_runs
    put(b, 10, 'fid50k', 99.0, settings=dict(num_images=5000), num_samples=5000, is_reduced=True)
    put(f, 10, 'fid50k', 98.0, dataset_fingerprint='d' * 64)
    found, _ = curves.collect([curves.Member(run) for run in two_runs], ['fid50k'])
    assert [[point.value for point in curve.points] for curve in found] == [[29, 21, 11], [28, 20, 10]]
    # Where only quick looks are shared by both runs, they are what is drawn.
    for kimg in (2, 10, 20):
        os.remove(os.path.join(f, 'metrics', f'network-snapshot-{kimg:06d}', 'fid50k.json'))
    put(f, 10, 'fid50k', 97.0, settings=dict(num_images=5000), num_samples=5000, is_reduced=True)
    found, _ = curves.collect([curves.Member(run) for run in two_runs], ['fid50k'])
    assert [[point.value for point in curve.points] for curve in found] == [[99], [97]]


def test_scores_that_could_not_be_computed_are_no_part_of_a_curve(two_runs):
    b, _ = two_runs
    for kimg in (2, 10, 20):
        put(b, kimg, 'ppl_zend', None, settings=dict(epsilon=1e-3))
    put(b, 10, 'ppl_zend', 5.0)
    found, remarks = curves.collect([curves.Member(b)], ['ppl_zend'])
    assert [[(point.kimg, point.value) for point in curve.points] for curve in found] == [[(10, 5.0)]] and not remarks


def test_a_run_of_codes_has_the_space_of_its_code_generator(tmp_path):
    for name, space in (('accel-stylegan-256', 'w'), ('accel-256', 'z'), ('stylegan-f', 'w')):
        assert curves.Member(make_run(tmp_path, f'00000-{name}', name)).space == space


def test_mistakes_are_answered_with_a_sentence(two_runs, tmp_path):
    for words, message in ((['absent'], "no run directory 'absent'"), ([two_runs[0], '--metrics', 'fid9'], "'fid9'"),
                           ([two_runs[0], '--metrics', 'kid50k'], 'no score to draw: 00000-b has no scores of kid50k'),
                           ([two_runs[0], '--measure'], 'holds no network snapshot to measure')):
        with pytest.raises(UserError, match=message):
            run_metrics.main(['curves', *words, '--out', str(tmp_path / 'out')])
    for option, value in (('--snapshots', '2'), ('--device', 'cpu'), ('--preset', 'full')):     # would do nothing
        with pytest.raises(UserError, match=f'{option} goes with --measure'):
            run_metrics.main(['curves', two_runs[0], option, value])


def test_missing_scores_are_measured_once(tmp_path, little_network, monkeypatch, capsys):
    for func_name, settings in presets.QUICK.items():
        monkeypatch.setitem(presets.QUICK, func_name, {key: 24 if key.startswith('num_') else 8 for key in settings})
    faces = make_faces(tmp_path)
    run = make_run(tmp_path, '00000-f', 'demo-style-8', faces)
    os.remove(os.path.join(run, 'dataset.json'))
    for kimg, network in ((1, little_network), (2, little_network), (3, make_network(tmp_path))):
        shutil.copy(network, os.path.join(run, f'network-snapshot-{kimg:06d}.pkl'))
    words = ['curves', run, '--measure', '--snapshots', '2', '--preset', 'quick', '--features', 'standin', '--metrics',
             'fid50k,ppl_zend,ppl_wend', '--out', str(tmp_path / 'out'), '--device', 'cpu']
    run_metrics.main(words)
    assert [(row['metric'], row['kimg'], row['is_standin']) for row in read_csv(tmp_path / 'out')] == [
        ('fid50k', '1', 'True'), ('fid50k', '3', 'True'), ('ppl_wend', '3', 'True')]
    # (The first one's images are too small for path lengths.) The run's report shows what was measured.
    assert 'ppl_wend' in open(os.path.join(run, 'report.html'), encoding='utf-8').read()
    capsys.readouterr()
    run_metrics.main([word.replace(',ppl_zend,ppl_wend', '') for word in words])
    assert capsys.readouterr().out.count('is measured already') == 2


def test_runs_of_one_name_are_told_apart_and_a_run_named_twice_is_one(two_runs, tmp_path, capsys):
    elsewhere = tmp_path / 'elsewhere'
    twin = shutil.copytree(two_runs[1], str(elsewhere / '00001-f'))
    put(twin, 10, 'fid50k', 5.0)
    run_metrics.main(['curves', two_runs[1], twin, two_runs[1] + os.sep, '--metrics', 'fid50k,fid50k', '--out',
                      str(tmp_path / 'out')])
    rows = [(row['run'], row['value']) for row in read_csv(tmp_path / 'out') if row['kimg'] == '10']
    assert rows == [(shown(two_runs[1]), '20.0'), (shown(twin), '5.0')] and rows[0][0] != rows[1][0]


def test_metrics_that_no_run_shows_are_named(two_runs, tmp_path):
    for names, message in (('ppl_wfull', 'no score to draw: no run shows ppl_wfull'), (',', 'names no metric')):
        with pytest.raises(UserError, match=message):
            run_metrics.main(['curves', two_runs[0], '--metrics', names, '--out', str(tmp_path)])


def test_places_are_tried_before_the_work(two_runs, tmp_path, monkeypatch):
    """Nothing is opened, trained or measured for files that nobody could write."""
    place = str(tmp_path / 'file')
    open(place, 'w').close()
    below = os.path.join(place, 'out')
    faces = make_faces(tmp_path)
    monkeypatch.setattr(run_metrics, 'select_devices', lambda args: pytest.fail('went to work'))
    for words in (['curves', two_runs[0], '--measure', '--out', below],
                  ['stats', '--reference', faces, '--out', below + '.npz'],
                  ['fid', '--images', faces, '--reference', faces, '--out', below]):
        with pytest.raises(UserError, match='no file can be made in'):
            run_metrics.main(words)
    with pytest.raises(UserError, match='is a folder; name a file'):
        os.mkdir(str(tmp_path / 'folder.npz'))
        run_metrics.main(['stats', '--reference', faces, '--out', str(tmp_path / 'folder.npz')])
    with pytest.raises(UserError, match='no file can be made in'):
        identity.measure('nowhere', below)
    with pytest.raises(UserError, match='no folder can be made at'):
        unwarping.main(['--outdir', below])
