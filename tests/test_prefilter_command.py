"""The command line of the pre-filter, and its way through the real detector."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest
from prefilter_helpers import needs_reference_decoder

from data import commands, ledger
from data.prefilter.command import settings_of
from dnnlib.util import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def parsed(*options):
    return settings_of(commands.make_parser().parse_args(['prefilter', 'in', 'out'] + list(options)), 'in', 'out')


def test_defaults_turn_photographs_upright_and_are_the_papers_otherwise():
    assert str(parsed()) == 'margin=50 size=256 min_face=20 choose=center exif=1 max_pixels=64000000'


def test_paper_leaves_exif_alone_and_says_so():
    assert str(parsed('--paper')) == 'paper margin=50 size=256 min_face=20 choose=center exif=0 max_pixels=64000000'
    assert parsed('--paper', '--margin', '50', '--choose', 'center').margin == 50


@pytest.mark.parametrize('options', [['--margin', '44'], ['--size', '128'], ['--choose', 'only'], ['--min-face', '40']])
def test_paper_does_not_go_with_other_settings(options):
    with pytest.raises(UserError, match='--paper sets ' + options[0][2:]):
        parsed('--paper', *options)


def test_lists_are_part_of_the_settings(tmp_path):
    (tmp_path / 'list.txt').write_text('1\n2\n')
    settings = parsed('--exclude-list', str(tmp_path / 'list.txt'), '--no-exif', '--margin', '12.5')
    settings.exclude.survey(None, ['000002.jpg', '000003.jpg'])
    assert '000002.jpg' in settings.exclude and settings.include is None
    assert str(settings).startswith('margin=12.5 ') and ' exif=0 ' in str(settings)
    assert str(settings).endswith(f'exclude={settings.exclude.digest}')


@pytest.mark.parametrize('options', [['--margin', '-1'], ['--size', '0'], ['--shard', '3/2'], ['--shard', 'x'],
                                     ['--min-face', 'small'], ['--choose', 'first'], ['--workers', '0']])
def test_impossible_values_are_refused_by_the_parser(options, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed(*options)
    assert stop.value.code == 2 and options[0] in capsys.readouterr().err


def test_shards_may_be_counted_from_zero_or_from_one():
    parser = commands.make_parser()
    assert [parser.parse_args(['prefilter', 'a', 'b', '--shard', text]).shard for text in ('0/2', '1/2', '2/2')] \
        == [(0, 2), (1, 2), (2, 2)]


def test_missing_folders_are_named(tmp_path):
    for arguments, message in [(['in'], 'two folders are expected'), (['--merge'], '--merge needs'),
                               ([str(tmp_path / 'in'), str(tmp_path / 'out')], 'does not exist'),
                               (['--merge', str(tmp_path)], 'holds no ledgers')]:
        with pytest.raises(UserError, match=message):
            commands.main(['prefilter'] + arguments)


@pytest.mark.both
@needs_reference_decoder
def test_photographs_and_bad_files_go_through_the_real_detector(tmp_path, reference_dir, golden_dir):
    with open(golden_dir / 'mtcnn.json') as f:
        golden = json.load(f)
    photos = sorted(golden)[:3] + ['scenes/2007_007763.jpg', 'scenes/kodak01.png']
    bad = ['hopper_orientation_6.jpg', 'hopper_16bit.pgm', 'truncated_jpeg.jpg', 'decompression_bomb.gif', 'iss634.gif']
    source, out = tmp_path / 'in', tmp_path / 'out'
    for name in photos:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(reference_dir / 'data' / 'photos' / name), str(source / name))
    (source / 'bad').mkdir()
    for name in bad:
        shutil.copy(str(reference_dir / 'data' / 'bad-images' / name), str(source / 'bad' / name))
    # A process of its own: this one may have TensorFlow's threads already.
    subprocess.run([sys.executable, os.path.join(ROOT, 'dataset_tool.py'), 'prefilter', str(source), str(out),
                    '--workers', '1'], check=True, cwd=str(tmp_path))
    with open(str(out / 'ledger.csv'), newline='', encoding='utf-8') as f:
        rows = {row['path']: row for row in csv.DictReader(f)}
    assert len(rows) == len(photos) + len(bad)
    for name in photos:
        row, expected = rows[name], golden[name]
        assert int(row['num_faces']) == len(expected['boxes'])
        if not expected['boxes']:
            assert (row['decision'], row['reason'], row['output']) == ('rejected', 'no_face', '')
            continue
        assert row['decision'] == 'kept' and int(row['chosen']) == expected['chosen']
        assert [int(row[key]) for key in ('x0', 'y0', 'x1', 'y1')] == expected['crop']
        assert float(row['score']) == pytest.approx(expected['scores'][expected['chosen']], abs=1e-5)
    found = {name: rows['bad/' + name]['reason'] for name in bad}
    assert found == {'hopper_orientation_6.jpg': 'face', 'hopper_16bit.pgm': 'face', 'truncated_jpeg.jpg': 'corrupt',
                     'decompression_bomb.gif': 'too_many_pixels', 'iss634.gif': 'no_face'}
    assert rows['bad/hopper_orientation_6.jpg']['orientation'] == '6'
    assert len(ledger.kept_outputs(str(out))) == 6
