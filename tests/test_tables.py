"""The papers' tables: their data files, what they need, what is measured, and what is written."""

import json
import os
import re
import shutil

import pytest
from metric_helpers import some_record

import config
import run_metrics
from dnnlib import config_files
from dnnlib.submission import write_submit_config
from dnnlib.util import UserError
from metrics import presets
from metrics.networks import files
from metrics.tables import definition, filling, report, sources
from metrics.tables.epochs import read_epoch

NAMES = [name for name, _, _ in definition.list_tables(config.config_dir)]

pytestmark = pytest.mark.usefixtures('no_downloads')


@pytest.fixture
def fast(monkeypatch):
    """Presets so small that a table takes seconds."""
    numbers = dict(num_images=70, num_samples=24, num_keep=12, minibatch_per_gpu=8)
    for func_name, settings in presets.QUICK.items():
        monkeypatch.setitem(presets.QUICK, func_name, {key: numbers.get(key, value)
                                                           for key, value in settings.items()})
    monkeypatch.setitem(presets.ls, 'attrib_indices', [0, 1])


def load(name):
    return definition.load_table(name, config.config_dir)


# ---- Definitions

@pytest.mark.parametrize('name', NAMES)
def test_tables_name_what_exists(name):
    from dnnlib import artifacts
    table = load(name)
    for network in table.networks.values():
        config_files.find_config(network.config, config.config_dir)
        assert network.released is None or artifacts.lookup(network.released) is not None
    assert {cell.metric for cell in table.cells} - {None} <= set(presets.PRESETS)
    assert set(table.networks) == {cell.network for cell in table.cells}


@pytest.mark.parametrize('name, row, column, published, space', [
    ('retraining-1', 'FID50k', 'celeba', 4.7842, None), ('retraining-1', 'ppl_wend', 'ffhq', 197.2266, 'w'),
    ('retraining-1', 'ls in Z', 'casia', 109.7136, 'z'),
    ('stylegan-1', 'A: baseline Progressive GAN', 'ffhq', 8.04, None),
    ('stylegan-1', 'F: + mixing regularization', 'celebahq', 5.17, None), ('stylegan-2', '50 %', '3', 8.71, None),
    ('stylegan-3', 'B: traditional generator, Z', 'end', 415.3, 'z'),
    ('stylegan-4', 'traditional, 8 layers, W', 'full', 324.5, 'w'),
    ('stylegan-4', 'style-based, 0 layers, Z', 'ls', 9.88, 'z'), ('stylegan-5', 'cat', 'progan', 34.68, None)])
def test_published_values_are_those_printed(name, row, column, published, space):
    table = load(name)
    cell, = [cell for cell in table.cells if (table.rows[cell.row], cell.column) == (row, column)]
    assert (cell.published, cell.space) == (published, space)


TEXTS = {'retraining': 'retraining-stylegan-2003.10847.txt', 'stylegan': 'stylegan-tpami.txt',
         'acceleration': 'acceleration-framework.txt'}
# Printed once, in the row before: the FID of the generator whose path lengths in W these are.
ABOVE = {('stylegan-4', 'traditional, 8 layers, W'): {'fid'}}


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'paper-demo'])
def test_the_published_values_of_a_row_stand_on_one_line_of_the_paper(reference_dir, name):
    text = (reference_dir / 'papers' / TEXTS[name.split('-')[0]]).read_text(encoding='utf-8')
    lines = [set(map(float, re.findall(r'\d+(?:\.\d+)?(?:e-\d+)?', line))) for line in text.splitlines()]
    table, rows = load(name), {}
    for cell in table.cells:
        row = table.rows[cell.row]
        # Classes of LSUN are columns in the paper.
        key = cell.column if name == 'acceleration-5' else row
        if cell.published is not None and cell.column not in ABOVE.get((name, row), ()):
            rows.setdefault(key, set()).add(float(cell.published))
    assert rows and [key for key, values in rows.items() if not any(values <= line for line in lines)] == []


def test_values_that_the_source_lacks_are_footnotes():
    missing = [cell for name in NAMES if name != 'paper-demo' for cell in load(name).cells if cell.published is None]
    assert len(missing) == 7 and all('missing in our source' in cell.note for cell in missing)


GOOD = """title: T
paper: P
row_title: r
networks: {n: {config: ffhq-f}}
columns: {a: A}
rows:
  - {title: one, cells: {a: {network: n, metric: fid50k, published: 5}}}
"""


@pytest.mark.parametrize('old, new, message', [
    ('title: T', 'title: [1]', 'title of a table must not be a list'),
    ('paper: P', 'pper: P', "key 'pper'; did you mean"),
    ('network: n', 'network: m', "no network 'm'"), ('{a: {network', '{b: {network', 'no such column'),
    ('metric: fid50k', 'metrc: fid50k', "row 1, column a has a key 'metrc'"),
    (', metric: fid50k', '', 'give either metric'),
    ('metric: fid50k', 'metric: fid50k, record: x', 'give either'), ('metric: fid50k', 'record: x', 'value is missing'),
    ('published: 5', 'published: five', 'published of row 1, column a must not be a text'),
    ('{config: ffhq-f}', '{config: ffhq-f, dataset: d}', "names the data set 'd'"),
    ('{n: {config: ffhq-f}}', '5', 'networks'),
    ('- {title: one, cells: {a: {network: n, metric: fid50k, published: 5}}}', '- 5', 'row 1 must be a mapping'),
    ('{network: n, metric: fid50k, published: 5}', '5', 'a cell must be a mapping')])
def test_mistakes_in_a_table_are_named(tmp_path, old, new, message):
    (tmp_path / 'mine.yaml').write_text(GOOD)
    assert len(definition.load_table(str(tmp_path / 'mine.yaml'), config.config_dir).cells) == 1
    (tmp_path / 'mine.yaml').write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=message):
        definition.load_table(str(tmp_path / 'mine.yaml'), config.config_dir)


def test_tables_are_listed(capsys):
    assert run_metrics.main(['table']) == 0
    listed = capsys.readouterr().out
    assert run_metrics.main(['table', '--list-tables']) == 0 and capsys.readouterr().out == listed
    assert [line.split()[0] for line in listed.splitlines()] == NAMES and 'stylegan-5' in NAMES


# ---- What is missing

def test_a_dry_run_names_networks_commands_and_forecasts(capsys, tmp_path):
    args = ['table', 'stylegan-5', '--dry-run', '--device', 'cpu', '--data-dir', str(tmp_path)]
    assert run_metrics.main(args) == 2
    text = capsys.readouterr().out
    assert text.count('./reproduce train --config') == 9
    days = [float(found) for found in re.findall(r'# forecast: (\S+) V100-days', text)]
    total, = re.findall(r'Forecast of these 9 trainings in all: (\S+) V100-days', text)
    assert len(days) == 9 and float(total) == pytest.approx(sum(days), rel=5e-3)
    assert './reproduce data create_lsun_wide datasets/lsun-car-512' in text
    assert './reproduce train --config lsun-horse' in text
    assert '--max-images 200000' in text and 'bedrooms-256' in text


def test_what_a_set_of_codes_is_made_of_is_told_before_it(capsys, tmp_path):
    """Images and codec, each once, so that the commands can be typed one after the other."""
    assert run_metrics.main(['table', 'acceleration-5', '--dry-run', '--device', 'cpu', '--data-dir',
                             str(tmp_path)]) == 2
    network = capsys.readouterr().out.split('\n  network ')[2]
    lines = [line.split('#')[0].split() for line in network.splitlines()[1:]]
    assert [words[1:4] for words in lines] == [
        ['data', 'create_lsun', 'datasets/lsun-cat-256'], ['data', 'create_from_hdf5', 'datasets/celebahq'],
        ['train', '--config', 'codec-h4'], ['data', 'encode', 'datasets/lsun-cat-256-codes-h4'],
        ['train', '--config', 'accel-lsun-cat']]


def test_a_cell_that_is_not_available_names_commands_as_they_are_typed():
    table = definition.load_table('stylegan-5', config.config_dir)
    cells = filling.make_cells(table, sources.choose_sources(table), {})
    remarks = ' '.join(remark for cell in cells for remark in cell['remarks'])
    assert './reproduce data create_lsun datasets/lsun-horse-256' in remarks and '_tool.py' not in remarks
    assert './reproduce train --config lsun-horse' in remarks and 'train.py' not in remarks


def test_dry_run_lists_everything_that_is_missing(capsys, tmp_path):
    assert run_metrics.main(['table1', '--dry-run', '--device', 'cpu', '--data-dir', str(tmp_path)]) == 2
    text = capsys.readouterr().out
    for name in ('retraining-celeba-256', 'retraining-casia-256', 'ffhq-1024', 'celeba-256', 'casia-256',
                 'inception_v3_features.pkl', 'vgg16_zhang_perceptual.pkl', 'celebahq-classifier-00-male.pkl',
                 'celebahq-classifier-39-wearing-necktie.pkl'):
        assert name in text, name
    assert text.count('\n  network ') == 3 and text.count('\n  data set ') == 3


def test_dry_run_of_one_column_with_everything_given(capsys, faces, network):
    assert run_metrics.main(['table1', '--network', network, '--dataset', faces, '--dry-run', '--device', 'cpu']) == 0
    text = capsys.readouterr().out
    assert 'Everything that the table needs is here.' in text and 'Stand-in feature networks' in text


def test_missing_data_sets_are_named_before_any_download(tmp_path, monkeypatch):
    from dnnlib.artifacts import store
    monkeypatch.setattr(store, 'fetch', lambda *args, **kwargs: pytest.fail('a download was started'))
    with pytest.raises(UserError, match='data set celeba-256: make it'):
        run_metrics.main(['table1', '--columns', 'celeba', '--data-dir', str(tmp_path), '--device', 'cpu'])


def test_after_one_failed_download_no_other_is_tried(monkeypatch):
    from dnnlib.artifacts import store
    tried = []

    def fail(artifact, *_args, **_kwargs):
        tried.append(artifact)
        raise UserError('no network')
    monkeypatch.setattr(store, 'fetch', fail)
    missing = [sources.Missing('feature network', files.classifier_file(index), 'ls') for index in range(3)]
    left = sources.fetch_missing(missing)
    assert len(tried) == 1 and [reason for _, reason in left][1:] == ['not tried after the failure above'] * 2


def test_networks_and_data_sets_of_the_user_take_their_places(network, tmp_path):
    table = load('retraining-1').restricted(['celeba'])
    source = sources.choose_sources(table, {'celeba': network}, {'celeba': str(tmp_path)})['celeba']
    assert (source.text, source.folder, source.mirror_augment) == (network, str(tmp_path), True)
    assert sources.choose_sources(load('stylegan-5'))['lsun-cat'].mirror_augment is False
    assert run_metrics.pairs(['celeba=x', 'y', 'celeba=x']) == {'celeba': 'x', None: 'y'}
    for texts, words in ((['a=x', 'a=y'], "'x' and 'y' are both given for 'a'"), (['x', 'y'], 'for the whole table')):
        with pytest.raises(UserError, match=words):
            run_metrics.pairs(texts)
    with pytest.raises(UserError, match="--network celeba: there is no file '.*absent.pkl'"):
        sources.choose_sources(table, {'celeba': str(tmp_path / 'absent.pkl')})


# ---- Filling and writing

def test_tables_show_published_values_differences_and_remarks_in_every_form(tmp_path):
    table = load('retraining-1').restricted(['celeba', 'ffhq'])
    bad = some_record(value=None, problems=['features <contain> NaN'])
    chosen = sources.choose_sources(table)
    cells = filling.make_cells(table, chosen, {'celeba': {('fid50k', 'fid50k'): (4.9, dict(some_record(), kimg=7))},
                                               'ffhq': {('fid50k', 'fid50k'): (None, dict(bad, kimg=None))}})
    assert len(cells) == 14
    paths = report.write_all(str(tmp_path), table, cells)
    markdown, lines, page, data = [open(path, encoding='utf-8').read() for path in paths]
    assert '| FID50k | **4.9000 ± 0.0200** (4.7842, +2.4 %) [1] |' in markdown
    assert 'not verified' in markdown and 'not measured' in markdown and 'features <contain> NaN' in markdown
    assert 'sha256 aaaaaaaaaaaa' in markdown and 'mirrored: yes' in markdown and 'trained for 7 kimg' in markdown
    assert lines.splitlines()[1].startswith('FID50k,CelebA 256x256,celeba,fid50k,,4.9,0.02,4.7842,2.42')
    assert '&lt;contain&gt;' in page and '<contain>' not in page
    cell = json.loads(data)['cells'][0]
    assert cell['published'] == 4.7842 and cell['protocol']['seed'] == 0 and cell['network'] == 'celeba'
    assert cell['protocol']['feature_networks']['inception']['file_sha256'] == 'c' * 64


MIXED = """
title: T
paper: P
row_title: network
networks: {mine: {config: demo}}
columns: {fid: FID, recall: Recall, nearest: Nearest, time: Minutes}
rows:
  - title: mine
    cells:
      fid: {network: mine, metric: fid50k}
      recall: {network: mine, metric: pr50k, value: pr50k_recall}
      nearest: {network: mine, metric: nearest}
      time: {network: mine, record: epoch, value: minutes, better: lower}
"""


@pytest.mark.both
def test_which_way_is_better_is_said_where_it_is_so(tmp_path):
    path = tmp_path / 'mixed.yaml'
    path.write_text(MIXED, encoding='utf-8')
    table = load(str(path))
    cells = filling.make_cells(table, sources.choose_sources(table), {})
    text = report.to_markdown(table, cells)
    assert '| network | FID ↓ | Recall ↑ | Nearest | Minutes ↓ |' in text and '↑: higher is better' in text
    assert 'better everywhere' not in text and 'Lower is' not in text
    for columns, expected in ((['fid', 'time'], 'Lower is better.'), (['recall'], 'Higher is better.'),
                              (['nearest'], '')):
        part = table.restricted(columns)
        text = report.to_markdown(part, filling.make_cells(part, sources.choose_sources(part), {}))
        assert expected in text and ('is better' in text) == bool(expected)
        assert '↓' not in text and '↑' not in text
    path.write_text(MIXED.replace('better: lower', 'better: less'), encoding='utf-8')
    with pytest.raises(UserError, match="better is 'less'; lower or higher is expected"):
        load(str(path))


def test_a_table_of_an_own_network_is_made_once(network, faces, tmp_path, capsys, fast):
    args = ['table1', '--network', network, '--dataset', faces, '--preset', 'quick', '--out', str(tmp_path / 't'),
            '--device', 'cpu']
    status = run_metrics.main(args)
    cells = json.loads((tmp_path / 't' / 'table1.json').read_text())['cells']
    assert [cell['value_name'] for cell in cells] == [
        'fid50k', 'ppl_zfull', 'ppl_wfull', 'ppl_zend', 'ppl_wend', 'ls_z', 'ls_w']
    measured = [cell for cell in cells if cell['value'] is not None]
    assert len(measured) >= 5 and status == (0 if len(measured) == 7 else 1)
    assert all(any('stand-in' in remark for remark in cell['remarks']) for cell in measured)
    assert all(cell['published'] is None for cell in cells)
    capsys.readouterr()
    run_metrics.main(args)
    assert capsys.readouterr().out.count('is measured already') >= 5


def test_conditional_networks_are_measured_without_labels_as_in_the_papers(network, faces, tmp_path, monkeypatch):
    asked = {}

    def job(*args, **kwargs):
        asked.update(kwargs)
        raise UserError('enough')
    monkeypatch.setattr(filling, 'Job', job)
    with pytest.raises(UserError, match='enough'):
        run_metrics.main(['table1', '--network', network, '--dataset', faces, '--out', str(tmp_path / 't'),
                          '--device', 'cpu'])
    assert asked['labels'] == 'zeros'


def test_one_network_fills_its_cells_and_the_others_say_what_makes_them(network, faces, tmp_path, fast, capsys):
    out = tmp_path / 't'
    run_metrics.main(['table', 'stylegan-2', '--network', f'ffhq-mixing-50={network}', '--dataset', f'ffhq={faces}',
                      '--columns', '1,2', '--preset', 'quick', '--skip-missing', '--features', 'standin', '--out',
                      str(out), '--device', 'cpu'])
    cells = json.loads((out / 'stylegan-2.json').read_text())['cells']
    filled = [cell for cell in cells if cell['value'] is not None]
    assert [(cell['row'], cell['column'], cell['metric'], cell['published']) for cell in filled] == [
        ('50 %', '1 latent', 'fid50k', 4.41), ('50 %', '2 latents', 'fid50k_mix2', 6.1)]
    assert all(cell['protocol']['kimg'] == 7 and cell['difference_percent'] > 0 for cell in filled)
    misfit = 'made by a network of 32x32, 3 channels, where the table has 1024x1024: not the same task'
    assert all(misfit in cell['remarks'] for cell in filled)
    assert f'warning: ffhq-mixing-50: {misfit}' in capsys.readouterr().out
    absent = next(cell for cell in cells if cell['network'] == 'ffhq-mixing-100')
    assert './reproduce train --config ffhq-mixing-100' in absent['remarks'][0] and absent['published'] == 4.83


def test_only_another_size_or_other_channels_are_remarked(network):
    made = sources.choose_sources(load('paper-demo'), {'demo-style-8': network})['demo-style-8']
    record = some_record(sample_shape=[3, 32, 32])
    assert made.shape == [3, 32, 32] and filling._misfit(record, made) is None
    assert filling._misfit(some_record(), made) is None     # an older record, which does not say what was made
    assert '32x32, 1 channel, where' in filling._misfit(dict(record, sample_shape=[1, 32, 32]), made)
    assert '2 channels, where' in filling._misfit(dict(record, sample_shape=[2]), made)
    made.shape[0] = None    # Nothing says of which channels the set is.
    assert filling._misfit(dict(record, sample_shape=[1, 32, 32]), made) is None
    assert '64x64, 3 channels, where the table has 32x32:' in filling._misfit(
        dict(record, sample_shape=[3, 64, 64]), made)
    of_codes = sources.choose_sources(load('acceleration-5'))
    assert (of_codes['accel-lsun-cat'].shape, of_codes['baseline-lsun-cat'].shape) == (None, [None, 256, 256])


def test_a_table_takes_what_was_measured_at_a_runs_snapshot(network, faces, tmp_path, fast, capsys):
    run = tmp_path / '00000-run'
    run.mkdir()
    shutil.copy(network, str(run))
    write_submit_config(str(run), dict(config=dict(dataset=dict(tfrecord_dir=faces), train=dict(total_kimg=7))))
    options = ['--preset', 'quick', '--device', 'cpu']
    assert run_metrics.main(['fid50k', '--run', str(run)] + options) == 0
    (tmp_path / 'mine.yaml').write_text(GOOD)
    capsys.readouterr()
    run_metrics.main(['table', str(tmp_path / 'mine.yaml'), '--network', f'n={run}', '--out', str(tmp_path / 't'),
                      '--features', 'standin'] + options)
    assert 'fid50k of network-snapshot-000007 is measured already' in capsys.readouterr().out
    cell, = json.loads((tmp_path / 't' / 'mine.json').read_text())['cells']
    record = run / 'metrics' / 'network-snapshot-000007' / 'fid50k.json'
    assert cell['value'] == json.loads(record.read_text())['value']


def test_a_cell_may_hold_what_is_no_network_metric(network, tmp_path):
    run = tmp_path / '00000-run'
    (run / 'metrics').mkdir(parents=True)
    shutil.copy(network, str(run / 'network-final.pkl'))
    write_submit_config(str(run), dict(config=dict(dataset={}, train=dict(total_kimg=9))))
    (run / 'metrics' / 'reconstruction.json').write_text(json.dumps(
        dict(kind='reconstruction', values=dict(mse_64=0.25), images=12)))
    (tmp_path / 'mine.yaml').write_text(GOOD.replace('metric: fid50k, published: 5',
                                                     'record: reconstruction, value: mse_64, published: 0.2'))
    table = definition.load_table(str(tmp_path / 'mine.yaml'), config.config_dir)
    chosen = sources.choose_sources(table, {'n': str(run / 'network-final.pkl')})
    results = filling.fill(table, chosen, str(tmp_path / 'out'), True, os.path.abspath, 'released')
    cell, = filling.make_cells(table, chosen, results)
    assert cell['value'] == 0.25 and round(cell['difference_percent']) == 25 and cell['protocol']['images'] == 12
    assert 'images 12' in report.to_markdown(table, [cell])


def test_a_cell_says_why_a_run_cannot_fill_it(network, tmp_path):
    """A GAN in a codec's place, a codec whose data lack a resolution, a file without its run."""
    run = tmp_path / '00000-run'
    (run / 'metrics').mkdir(parents=True)
    shutil.copy(network, str(run / 'network-final.pkl'))
    write_submit_config(str(run), dict(config=dict(dataset={}, train=dict(total_kimg=9))))
    table = load('acceleration-1').restricted(['128', '256'])

    def remarks(given):
        chosen = sources.choose_sources(table, {'codec-h4': given})
        results = filling.fill(table, chosen, str(tmp_path / 'out'), True, os.path.abspath, 'released', True)
        return [cell['remarks'] for cell in filling.make_cells(table, chosen, results)
                if cell['network'] == 'codec-h4']

    for remark, in remarks(str(run)):
        assert remark.startswith('not measured: 00000-run has no metrics/reconstruction.json; the run of a')
    (run / 'metrics' / 'reconstruction.json').write_text(json.dumps(
        dict(kind='reconstruction', values=dict(mse_128=0.25))))
    first, second = remarks(str(run))
    assert first == [] and 'has mse_128 alone in metrics/reconstruction.json; the run of a codec' in second[0]
    shutil.copy(network, str(tmp_path / 'alone.pkl'))
    assert 'alone.pkl belongs to no run; the run of a codec writes it' in remarks(str(tmp_path / 'alone.pkl'))[0][0]


def test_records_of_two_kinds_may_have_values_of_one_name(network, tmp_path):
    run = tmp_path / '00000-run'
    (run / 'metrics').mkdir(parents=True)
    shutil.copy(network, str(run / 'network-final.pkl'))
    write_submit_config(str(run), dict(config=dict(dataset={}, train=dict(total_kimg=9))))
    for kind, value in (('first', 1.0), ('second', 2.0)):
        (run / 'metrics' / f'{kind}.json').write_text(json.dumps(dict(kind=kind, values=dict(x=value))))
    text = GOOD.replace('metric: fid50k, published: 5', 'record: first, value: x')
    row = text[text.index('  - '):] if '  - ' in text else text[text.index('- title'):]
    (tmp_path / 'mine.yaml').write_text(text.rstrip('\n') + '\n' + row.replace('first', 'second'))
    table = definition.load_table(str(tmp_path / 'mine.yaml'), config.config_dir)
    chosen = sources.choose_sources(table, {'n': str(run / 'network-final.pkl')})
    results = filling.fill(table, chosen, str(tmp_path / 'out'), True, os.path.abspath, 'released')
    assert [cell['value'] for cell in filling.make_cells(table, chosen, results)] == [1.0, 2.0]


@pytest.mark.parametrize('old, new, words', [
    ('networks: {n:', 'networks: {../n:', "'../n' among the networks is no name"),
    ('networks: {n:', 'networks: {"":', "'' among the networks is no name"),
    ('columns: {', 'columns: {1: a, "1": b, ', "'1' is given twice among the columns"),
    ('columns: {', 'columns: {z: [1], ', 'the title of column z must not be a list'),
    ('metric: fid50k', 'metric: fid50k, value: fid', "fid50k has no value 'fid'"),
    ('metric: fid50k', 'record: ../x, value: y', 'no kind of record'),
    ('published: 5', 'published: .nan', 'a finite number is expected'),
    ('published: 5', 'published: -.inf', 'a finite number is expected')])
def test_what_a_table_of_a_user_must_not_say(tmp_path, old, new, words):
    assert old in GOOD
    path = tmp_path / 'mine.yaml'
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=words):
        load(str(path))


def test_no_columns_are_not_all_columns():
    for columns, words in (('', '--columns .* says nothing'), (',', 'no column of stylegan-4 is named')):
        with pytest.raises(UserError, match=words):
            run_metrics.main(['table', 'stylegan-4', '--dry-run', '--columns', columns])


def test_the_time_of_an_epoch_is_extrapolated_from_a_runs_ticks(tmp_path):
    assert read_epoch(str(tmp_path)) is None
    ticks = [dict(tick=n, resolution=64, sec_per_kimg=seconds) for n, seconds in enumerate([90.0, 4.0, 2.0, 3.0])]
    (tmp_path / 'stats.jsonl').write_text(''.join(json.dumps(tick) + '\n' for tick in [
        dict(tick=0, resolution=32, sec_per_kimg=1.0)] + ticks))
    record = read_epoch(str(tmp_path))
    assert record['values']['minutes'] == 3.5 * 30 / 60 and record['extrapolated_from_ticks'] == 4


def test_a_damaged_network_that_is_left_out_is_named_with_its_reason(network, faces, tmp_path, capsys):
    table = load('retraining-1').restricted(['celeba'])
    damaged = tmp_path / 'damaged.pkl'
    damaged.write_bytes(open(network, 'rb').read()[:5000])
    chosen = sources.choose_sources(table, {'celeba': str(damaged)}, {'celeba': faces})
    results = filling.fill(table, chosen, str(tmp_path), True, lambda folder: faces, 'standin', skip_missing=True)
    assert f'warning: celeba is left out: {damaged}' in capsys.readouterr().out
    cells = filling.make_cells(table, chosen, results)
    assert all(cell['value'] is None and cell['protocol'] is None for cell in cells)
    assert all(cell['remarks'][-2] == 'failed' and 'damaged.pkl' in cell['remarks'][-1] for cell in cells)
    assert 'damaged.pkl' in report.to_markdown(table, cells)


def test_small_numbers_keep_their_digits():
    """Squared errors of the acceleration paper's Table 1 are of the order of 0.0001."""
    cell = dict(value=0.00011, standard_error=None, published=0.00027, difference_percent=None)
    assert report.cell_texts(cell) == ('0.00011', '0.00027', '-')
    assert report.cell_texts(dict(cell, value=0.0, published=4.4))[:2] == ('0.0000', '4.4000')
