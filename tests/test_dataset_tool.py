"""dataset_tool.py: folders of pictures, bad input, interrupted work, the manifest."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest

from data.commands import main
from data.converters import exporter
from data.records.dataset import TFRecordDataset
from data.records.tfrecord import RecordFile
from dnnlib.util import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent


def save(path, size=(16, 16), mode='RGB', seed=0, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) + {'L': (), 'RGB': (3,), 'RGBA': (4,), 'CMYK': (4,)}[mode]
    pixels = np.random.RandomState(seed).randint(256, size=shape).astype(np.uint8)
    PIL.Image.fromarray(pixels, mode).save(str(path), **kwargs)
    return pixels


def create(folder, out, *options):
    main(['create_from_images', str(out), str(folder), '--workers', '1'] + list(options))
    return TFRecordDataset(str(out), shuffle_mb=0)


def refuse(folder, out, *options, **kwargs):
    """The sentence with which the command refuses its input; nothing may be left of the output."""
    with pytest.raises(UserError) as caught:
        main(['create_from_images', str(out), str(folder), '--workers', '1'] + list(options))
    assert not out.exists() and not [name for name in os.listdir(str(out.parent)) if name.startswith('.tmp')]
    return str(caught.value)


def run(*args, **kwargs):
    return subprocess.run([sys.executable, str(ROOT / 'dataset_tool.py')] + [str(arg) for arg in args],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, cwd=str(ROOT),
                          timeout=600, **kwargs)


# ---- What is written

@pytest.mark.parametrize('workers', ['1', '2'])
def test_records_equal_the_reference(tmp_path, golden_dir, monkeypatch, workers):
    monkeypatch.setattr('data.converters.loading._SERIAL', 0)
    monkeypatch.setattr('data.converters.loading._CHUNK_BYTES', 5 * 3 * 32 * 32)
    monkeypatch.setattr('data.converters.loading._BATCH_BYTES', 2 * 3 * 32 * 32)
    main(['create_from_images', str(tmp_path / 'images'), str(golden_dir / 'images'), '--workers', workers])
    assert sorted(os.listdir(str(tmp_path / 'images'))) == [f'images-r{log2:02}.tfrecords' for log2 in range(2, 6)] + [
        'manifest.json']
    for log2 in range(2, 6):
        ours = RecordFile(tmp_path / 'images' / f'images-r{log2:02}.tfrecords')
        theirs = RecordFile(golden_dir / 'images-tfrecords' / f'images-tfrecords-r{log2:02}.tfrecords')
        np.testing.assert_array_equal(ours.read_batch(np.arange(12)), theirs.read_batch(np.arange(12)))


def test_the_order_is_the_shuffled_or_the_sorted_one(tmp_path, golden_dir):
    files = sorted((golden_dir / 'images').iterdir())
    pictures = np.stack([np.asarray(PIL.Image.open(str(file))).transpose(2, 0, 1) for file in files])
    order = np.arange(12)
    np.random.RandomState(123).shuffle(order)
    shuffled = create(golden_dir / 'images', tmp_path / 'a')
    ordered = create(golden_dir / 'images', tmp_path / 'b', '--shuffle', '0')
    np.testing.assert_array_equal(shuffled.get_samples_np(range(12))[0], pictures[order])
    np.testing.assert_array_equal(ordered.get_samples_np(range(12))[0], pictures)


def test_the_manifest_tells_what_was_made_and_from_what(tmp_path, golden_dir):
    create(golden_dir / 'images', tmp_path / 'set')
    manifest = json.loads((tmp_path / 'set' / 'manifest.json').read_text())
    for name, entry in manifest['files'].items():
        content = (tmp_path / 'set' / name).read_bytes()
        assert (entry['size'], entry['sha256']) == (len(content), hashlib.sha256(content).hexdigest())
        assert entry['mtime_ns'] == (tmp_path / 'set' / name).stat().st_mtime_ns
    assert len(manifest['files']) == 4 and manifest['num_images'] == 12 and manifest['shape'] == [3, 32, 32]
    assert manifest['command'] == 'create_from_images' and manifest['arguments']['shuffle'] is True
    assert manifest['skipped'] == [] and manifest['source']['files'] == 12
    shutil.copytree(str(golden_dir / 'images-tfrecords'), str(tmp_path / 'theirs'))
    assert manifest['fingerprint'] == TFRecordDataset(str(tmp_path / 'theirs')).fingerprint
    assert TFRecordDataset(str(tmp_path / 'set'), resolution=8).fingerprint.startswith(manifest['fingerprint'] + '-')


def test_grey_pictures_make_one_channel_and_folders_are_searched(tmp_path):
    first = save(tmp_path / 'in' / 'b' / '1.png', mode='L', seed=1)
    second = save(tmp_path / 'in' / 'a' / '2.PNG', mode='L', seed=2)
    (tmp_path / 'in' / 'a' / 'notes.txt').write_text('not an image')
    (tmp_path / 'in' / '.hidden.png').write_text('not an image')
    os.symlink(str(tmp_path / 'in'), str(tmp_path / 'in' / 'a' / 'loop'))
    dataset = create(tmp_path / 'in', tmp_path / 'out', '--shuffle', '0')
    np.testing.assert_array_equal(dataset.get_samples_np([0, 1])[0][:, 0], [second, first])


@pytest.mark.parametrize('crop', ['center', 'pad', 'none'])
def test_resize_brings_photographs_to_one_size(tmp_path, crop):
    save(tmp_path / 'in' / 'wide.png', (40, 20), seed=1)
    save(tmp_path / 'in' / 'tall.jpg', (30, 50), seed=2)
    dataset = create(tmp_path / 'in', tmp_path / 'out', '--resize', '16', '--crop', crop, '--shuffle', '0')
    wide = PIL.Image.open(str(tmp_path / 'in' / 'wide.png'))
    expected = {'center': lambda: wide.crop((10, 0, 30, 20)).resize((16, 16), PIL.Image.LANCZOS),
                'none': lambda: wide.resize((16, 16), PIL.Image.LANCZOS),
                'pad': lambda: wide.resize((16, 8), PIL.Image.LANCZOS)}[crop]()
    got = dataset.get_samples_np([1])[0][0].transpose(1, 2, 0)
    if crop == 'pad':
        assert (got[:4] == 0).all() and (got[12:] == 0).all()
        got = got[4:12]
    np.testing.assert_array_equal(got, np.asarray(expected))
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert manifest['resampling'] == 'lanczos' and manifest['arguments']['crop'] == crop


def test_pictures_are_turned_upright(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    pixels = save(tmp_path / 'in' / 'a.png', exif=exif)
    dataset = create(tmp_path / 'in', tmp_path / 'out')
    np.testing.assert_array_equal(dataset.get_samples_np([0])[0][0], np.rot90(pixels, -1).transpose(2, 0, 1))


def test_convert_brings_grey_palette_and_cmyk_pictures_together(tmp_path):
    save(tmp_path / 'in' / 'a.png')
    save(tmp_path / 'in' / 'b.png', mode='L')
    save(tmp_path / 'in' / 'c.jpg', mode='CMYK')
    PIL.Image.open(str(tmp_path / 'in' / 'a.png')).quantize(8).save(str(tmp_path / 'in' / 'd.png'))
    assert create(tmp_path / 'in', tmp_path / 'rgb', '--convert', 'rgb').shape == [3, 16, 16]
    assert create(tmp_path / 'in', tmp_path / 'grey', '--convert', 'grey').shape == [1, 16, 16]
    sentence = refuse(tmp_path / 'in', tmp_path / 'out')
    assert '--convert rgb' in sentence and '--resize' not in sentence


# ---- Bad input

def test_an_absent_or_empty_folder_is_refused(tmp_path):
    assert 'does not exist' in refuse(tmp_path / 'in', tmp_path / 'out')
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'notes.txt').write_text('no image')
    assert 'holds no images' in refuse(tmp_path / 'in', tmp_path / 'out')
    assert 'is not a folder' in refuse(tmp_path / 'in' / 'notes.txt', tmp_path / 'out')


@pytest.mark.parametrize('size, problem', [((16, 12), '16x12, which is not square'), ((24, 24), 'not a power of two'),
                                           ((2, 2), 'smaller than 4x4')])
def test_pictures_of_an_unsuitable_size_are_refused_naming_the_option(tmp_path, size, problem):
    save(tmp_path / 'in' / 'a.png', size)
    sentence = refuse(tmp_path / 'in', tmp_path / 'out')
    assert problem in sentence and '--resize' in sentence


def test_mixed_sizes_are_refused_naming_the_file_and_the_option(tmp_path):
    for index in range(4):
        save(tmp_path / 'in' / f'{index}.png', (16, 16) if index != 2 else (32, 32))
    sentence = refuse(tmp_path / 'in', tmp_path / 'out')
    assert '2.png is 32x32 where 16x16 is expected' in sentence and '--resize' in sentence
    assert '1 of 4' in sentence and '\n  1.png' not in sentence


def bad_files(folder):
    """One file of each kind that cannot be used, beside one that can."""
    save(folder / 'good.png')
    save(folder / 'alpha.png', mode='RGBA')
    save(folder / 'grey.png', mode='L')
    save(folder / 'cmyk.jpg', mode='CMYK')
    PIL.Image.new('I;16', (16, 16)).save(str(folder / 'deep.png'))
    PIL.Image.open(str(folder / 'good.png')).quantize(8).save(str(folder / 'indexed.gif'))
    PIL.Image.new('1', (16, 16)).save(str(folder / 'bits.png'))
    frames = [PIL.Image.new('RGB', (16, 16), color) for color in ('red', 'blue')]
    frames[0].save(str(folder / 'animated.png'), save_all=True, append_images=frames[1:])
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'text.jpg').write_text('this is no picture')
    (folder / 'cut.png').write_bytes((folder / 'good.png').read_bytes()[:400])
    (folder / 'folder.png').mkdir()
    return {'alpha.png': 'alpha channel', 'grey.png': 'grey where RGB', 'cmyk.jpg': 'CMYK',
            'deep.png': '16 or more bits', 'indexed.gif': 'palette', 'bits.png': 'only black and white',
            'animated.png': 'animated', 'empty.png': '0 bytes', 'text.jpg': 'not an image',
            'cut.png': 'cut off or damaged'}


def test_every_bad_file_is_named_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr('data.converters.create_from_images._expected_shape', lambda *args: [3, 16, 16])
    reasons = bad_files(tmp_path / 'in')
    sentence = refuse(tmp_path / 'in', tmp_path / 'out')
    lines = sentence.splitlines()
    assert '--skip-bad' in lines[0] and f'{len(reasons)} of {len(reasons) + 1}' in lines[0]
    for name, reason in reasons.items():
        assert any(name in line and reason in line for line in lines), (name, lines)
    assert not any('good.png' in line for line in lines)


@pytest.mark.parametrize('bad', ['a0', 'b03x', 'z', 'a0 a1 a2 a3 a4 a5 b03x b04x z'])
def test_pictures_between_bad_ones_become_the_records_that_they_are_alone(tmp_path, golden_dir, monkeypatch, bad):
    """Encoded two at a time, each level of five pictures in a place of its own."""
    monkeypatch.setattr('data.converters.loading._CHUNK_BYTES', 5 * 3 * 32 * 32)
    monkeypatch.setattr('data.converters.loading._BATCH_BYTES', 2 * 3 * 32 * 32)
    (tmp_path / 'in').mkdir()
    for number, file in enumerate(sorted((golden_dir / 'images').iterdir())):
        shutil.copy(str(file), str(tmp_path / 'in' / f'b{number:02}.png'))
    alone = create(tmp_path / 'in', tmp_path / 'alone', '--shuffle', '0')
    for name in bad.split():
        (tmp_path / 'in' / f'{name}.png').write_bytes(b'no picture')
    made = create(tmp_path / 'in', tmp_path / 'beside', '--shuffle', '0', '--skip-bad')
    for log2 in range(2, 6):
        assert (tmp_path / 'beside' / f'beside-r{log2:02}.tfrecords').read_bytes() == \
            (tmp_path / 'alone' / f'alone-r{log2:02}.tfrecords').read_bytes()
    assert made.fingerprint == alone.fingerprint


def test_the_shape_is_that_of_usable_pictures_however_many_bad_ones_come_first(tmp_path):
    (tmp_path / 'in').mkdir()
    for number in range(101):
        (tmp_path / 'in' / f'a{number:03}.png').write_bytes(b'')
    PIL.Image.new('RGB', (8, 8)).save(str(tmp_path / 'in' / 'b.png'))
    assert create(tmp_path / 'in', tmp_path / 'out', '--skip-bad').shape == [3, 8, 8]


def test_a_telephones_pictures_are_named_with_what_to_do(tmp_path, capsys):
    (tmp_path / 'in').mkdir()
    for name in ('IMG_1.HEIC', 'IMG_2.heic', 'IMG_1.MOV', 'raw.dng', 'noted'):
        (tmp_path / 'in' / name).write_bytes(b'\0\0\0\x18ftypheic\0\0\0\0mif1heic')
    advice = "(2 .heic, 1 .dng, 1 .mov); HEIC pictures, camera's raw pictures are not read here: turn them into JPEG"
    assert '5 other files ' + advice in refuse(tmp_path / 'in', tmp_path / 'out')
    (tmp_path / 'in' / 'IMG_1.HEIC').rename(tmp_path / 'in' / 'IMG_1.jpg')
    PIL.Image.new('RGB', (8, 8)).save(str(tmp_path / 'in' / 'good.png'))
    assert 'IMG_1.jpg is a HEIC picture, which is not read here; turn it into JPEG' in \
        refuse(tmp_path / 'in', tmp_path / 'out')
    assert '4 files are not images by their names and are left out (1 .dng, 1 .heic, 1 .mov); ' \
        in capsys.readouterr().out


def test_skip_bad_lists_them_in_the_manifest_instead(tmp_path, monkeypatch):
    monkeypatch.setattr('data.converters.create_from_images._expected_shape', lambda *args: [3, 16, 16])
    reasons = bad_files(tmp_path / 'in')
    assert len(create(tmp_path / 'in', tmp_path / 'out', '--skip-bad')) == 1
    skipped = json.loads((tmp_path / 'out' / 'manifest.json').read_text())['skipped']
    assert sorted(entry['file'] for entry in skipped) == sorted(reasons)
    assert [entry for entry in skipped if reasons[entry['file']] not in entry['reason']] == []


def test_more_than_a_screenful_ends_with_a_count(tmp_path):
    save(tmp_path / 'in' / 'good.png')
    for index in range(30):
        (tmp_path / 'in' / f'{index:02}.png').write_bytes(b'')
    sentence = refuse(tmp_path / 'in', tmp_path / 'out')
    assert len(sentence.splitlines()) == 22 and sentence.endswith('and 10 more')


def test_a_folder_with_nothing_usable_is_refused_even_when_skipping(tmp_path):
    (tmp_path / 'in').mkdir()
    (tmp_path / 'in' / 'a.png').write_bytes(b'')
    sentence = refuse(tmp_path / 'in', tmp_path / 'out', '--skip-bad')
    assert 'a.png is empty' in sentence and '--skip-bad' not in sentence


def test_real_damaged_files_stop_nothing(tmp_path, reference_dir):
    source = reference_dir / 'data' / 'bad-images'
    sentence = refuse(source, tmp_path / 'out', '--resize', '32')
    assert 'cannot be used' in sentence and 'broken.png' in sentence
    dataset = create(source, tmp_path / 'out', '--resize', '32', '--skip-bad', '--convert', 'rgb')
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert len(dataset) + len(manifest['skipped']) == 73 and len(dataset) > 25
    names = {entry['file'] for entry in manifest['skipped']}
    assert {'truncated_image.png', 'zero_width.gif', 'decompression_bomb.gif'} <= names
    assert not {'16bit.cropped.tif', 'transparent.png'} & names


def test_existing_output_is_not_touched(tmp_path, golden_dir):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'mine').write_text('keep')
    with pytest.raises(UserError, match='exists already'):
        main(['create_from_images', str(tmp_path / 'out'), str(golden_dir / 'images')])
    assert os.listdir(str(tmp_path / 'out')) == ['mine']


def test_too_little_free_space_is_noticed_before_anything_is_written(tmp_path, golden_dir, monkeypatch):
    usage = shutil.disk_usage(str(tmp_path))
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage._replace(free=1000))
    assert 'will take 51.5 kB but' in refuse(golden_dir / 'images', tmp_path / 'out')


def start_and_wait_until_it_writes(folder):
    """A `create_toyfaces` of many seconds on any machine that makes `folder`/set and has written some records."""
    command = [sys.executable, str(ROOT / 'dataset_tool.py'), 'create_toyfaces', str(folder / 'set'),
               '--resolution', '256', '--num', '5000', '--workers', '2']
    process = subprocess.Popen(command, stderr=subprocess.PIPE, universal_newlines=True, cwd=str(ROOT))
    deadline = time.time() + 300
    while not any(path.stat().st_size for path in folder.glob(f'.tmp-{process.pid}-*/set-r08.tfrecords')):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_interrupted_work_leaves_nothing_and_can_be_repeated(tmp_path, number):
    process = start_and_wait_until_it_writes(tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and stderr.strip().endswith('interrupted') and 'Traceback' not in stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_leaves_does_not_look_complete_and_goes_at_the_next_start(tmp_path, golden_dir):
    killed = start_and_wait_until_it_writes(tmp_path)
    killed.kill()
    killed.communicate(timeout=300)
    assert [path.name.startswith('.tmp-') for path in tmp_path.iterdir()] == [True]
    alive = start_and_wait_until_it_writes(tmp_path)
    try:
        assert list(tmp_path.glob(f'.tmp-{killed.pid}-*')) == []
        main(['create_from_images', str(tmp_path / 'set'), str(golden_dir / 'images'), '--workers', '1'])
        assert len(list(tmp_path.glob(f'.tmp-{alive.pid}-*'))) == 1
    finally:
        alive.kill()
        alive.communicate(timeout=300)
    main(['verify', str(tmp_path / 'set')])
    main(['extract', str(tmp_path / 'set'), str(tmp_path / 'pictures')])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['pictures', 'set']


# ---- The command line

def test_a_mistake_prints_one_sentence_and_exits_with_2(tmp_path):
    result = run('create_from_images', tmp_path / 'out', tmp_path / 'in')
    assert result.returncode == 2 and result.stdout == ''
    assert result.stderr == f"error: image folder '{tmp_path}/in' does not exist\n"


def test_help_names_every_command_and_fits_a_screen():
    result = run('--help')
    assert result.returncode == 0 and 'create_from_images' in result.stdout and len(result.stdout.splitlines()) < 60


@pytest.mark.parametrize('option, value', [('--resize', '48'), ('--resize', '0'), ('--workers', '0'),
                                           ('--shuffle', '2'), ('--crop', 'left')])
def test_values_out_of_range_are_refused(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as caught:
        main(['create_from_images', str(tmp_path / 'out'), str(tmp_path), option, value])
    assert caught.value.code == 2 and option in capsys.readouterr().err


# ---- Writing other arrays

def test_arrays_that_are_not_pictures_can_be_written(tmp_path):
    codes = np.random.RandomState(0).randn(5, 16, 8, 8).astype(np.float32)
    with exporter.Exporter(tmp_path / 'codes', [16, 8, 8], 'float32') as out:
        out.add(exporter.encode(codes))
        out.describe(dynamic_range=[-4, 4])
    dataset = TFRecordDataset(str(tmp_path / 'codes'), shuffle_mb=0)
    assert dataset.dynamic_range == [-4, 4] and not dataset.is_image and dataset.levels == [0]
    np.testing.assert_array_equal(dataset.get_samples_np(range(5))[0], codes)


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        with exporter.Exporter(tmp_path / 'set', [3, 8, 8]) as out:
            out.add(exporter.encode(np.zeros([2, 3, 8, 8], np.uint8)))
            1 / 0  # noqa: B018
    with pytest.raises(UserError, match='not a single image'):
        with exporter.Exporter(tmp_path / 'set', [3, 8, 8]):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_comes_to_nothing_leaves_no_folders_above_it(tmp_path):
    bad = tmp_path / 'photos'
    bad.mkdir()
    (bad / 'a.png').write_text('no picture')
    with pytest.raises(UserError):
        main(['create_from_images', str(tmp_path / 'deep' / 'er' / 'set'), str(bad), '--resize', '8', '--skip-bad',
              '--workers', '1'])
    assert [path.name for path in tmp_path.iterdir()] == ['photos']
