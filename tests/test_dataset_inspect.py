"""dataset_tool.py verify, info, display, extract, compare."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest

from data.commands import main
from data.converters import exporter
from data.records.dataset import TFRecordDataset
from data.records.tfrecord import Encoder
from dnnlib.util import UserError


@pytest.fixture
def faces(tmp_path):
    """A small data set with labels."""
    main(['create_toyfaces', str(tmp_path / 'faces'), '--resolution', '16', '--num', '20', '--workers', '1'])
    return tmp_path / 'faces'


def problems(folder):
    with pytest.raises(UserError) as caught:
        main(['verify', str(folder)])
    return str(caught.value)


def test_a_sound_data_set_is_called_so(tmp_path, faces, golden_dir, capsys):
    assert main(['verify', str(faces)]) is None
    assert 'is sound: checksums, 20 records at 3 levels, 18 label components' in capsys.readouterr().out
    main(['verify', str(golden_dir / 'images-tfrecords')])
    assert 'no manifest.json to compare with' in capsys.readouterr().out


def test_any_changed_byte_is_found(faces):
    for path in sorted(faces.glob('*[sd]')):
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[len(content) - 30] ^= 1
        path.write_bytes(bytes(damaged))
        assert path.name + ' does not have the SHA-256' in problems(faces)
        path.write_bytes(content)


def test_levels_that_are_not_the_average_are_found(faces):
    images, _ = TFRecordDataset(str(faces)).get_samples_np(range(20), 1)
    images[7, 0, 2, 2] ^= 128
    (faces / 'faces-r03.tfrecords').write_bytes(Encoder([3, 8, 8]).encode(images).tobytes())
    (faces / 'manifest.json').unlink()
    sentence = problems(faces)
    assert 'record 7 at 8x8 is not the average' in sentence and 'record 8' not in sentence


def test_a_damaged_record_and_missing_files_are_found(faces):
    (faces / 'faces-rxx.labels').unlink()
    manifest = json.loads((faces / 'manifest.json').read_text())
    manifest['num_images'] = 21
    (faces / 'manifest.json').write_text(json.dumps(manifest))
    sentence = problems(faces)
    assert 'num_images 21, the files say 20' in sentence and 'faces-rxx.labels is missing' in sentence
    shutil.rmtree(str(faces))
    assert 'does not exist' in problems(faces)


def test_labels_that_are_not_finite_are_found(faces):
    labels = np.load(str(faces / 'faces-rxx.labels'))
    labels[11, 3] = np.nan
    with open(str(faces / 'faces-rxx.labels'), 'wb') as f:
        np.save(f, labels)
    assert "faces-rxx.labels: component 3 of image 11 is nan; finite numbers" in problems(faces)


def test_info_tells_shape_size_labels_and_fingerprint(faces, capsys):
    capsys.readouterr()
    main(['info', str(faces), '--json'])
    facts = json.loads(capsys.readouterr().out)
    assert facts['images'] == 20 and facts['shape'] == [3, 16, 16] and facts['resolutions'] == [16, 8, 4]
    assert facts['bytes'] == sum(path.stat().st_size for path in faces.iterdir())
    assert facts['made_by'] == 'create_toyfaces' and len(facts['fingerprint']) == 64 and len(facts['labels']) == 18
    smiling = [entry for entry in facts['labels'] if entry['name'] == 'Smiling'][0]
    assert smiling['nonzero'] == round(smiling['mean'] * 20) > 3
    main(['info', str(faces)])
    text = capsys.readouterr().out
    assert facts['fingerprint'] in text and 'Smiling' in text and 'num 20' in text


def test_display_draws_the_first_pictures_in_order(tmp_path, faces):
    main(['display', str(faces), '--num', '6', '--start', '2', '--output', str(tmp_path / 'a' / 'sheet.png')])
    sheet = np.asarray(PIL.Image.open(str(tmp_path / 'a' / 'sheet.png')))
    images, _ = TFRecordDataset(str(faces)).get_samples_np(range(2, 8))
    assert sheet.shape == (2 * 16, 3 * 16, 3)
    np.testing.assert_array_equal(sheet[16:, :16], images[3].transpose(1, 2, 0))
    with pytest.raises(UserError, match='--start is 20 but the data set has pictures 0 to 19'):
        main(['display', str(faces), '--start', '20'])


def test_extract_and_create_make_the_same_data_set_again(tmp_path, faces, capsys):
    main(['extract', str(faces), str(tmp_path / 'png'), '--workers', '1'])
    names = sorted(path.name for path in (tmp_path / 'png').iterdir())
    assert names == [f'img{i:08d}.png' for i in range(20)] + ['labels.csv']
    main(['create_from_images', str(tmp_path / 'again'), str(tmp_path / 'png'), '--shuffle', '0', '--labels',
          str(tmp_path / 'png' / 'labels.csv')])
    assert main(['compare', str(faces), str(tmp_path / 'again')]) == 0
    assert TFRecordDataset(str(faces)).fingerprint == TFRecordDataset(str(tmp_path / 'again')).fingerprint
    with pytest.raises(UserError, match='exists already'):
        main(['extract', str(faces), str(tmp_path / 'png')])


def test_extract_with_workers_writes_the_same(tmp_path):
    main(['create_toyfaces', str(tmp_path / 'faces'), '--resolution', '16', '--num', '300', '--workers', '1'])
    main(['extract', str(tmp_path / 'faces'), str(tmp_path / 'png'), '--workers', '2'])
    images, _ = TFRecordDataset(str(tmp_path / 'faces')).get_samples_np([0, 299])
    for number, image in zip((0, 299), images):
        written = np.asarray(PIL.Image.open(str(tmp_path / 'png' / f'img{number:08d}.png')))
        np.testing.assert_array_equal(written, image.transpose(1, 2, 0))


def test_grey_pictures_are_extracted_as_grey(tmp_path):
    with exporter.Exporter(tmp_path / 'grey', [1, 8, 8]) as out:
        out.add(exporter.encode(np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)))
    main(['extract', str(tmp_path / 'grey'), str(tmp_path / 'png')])
    assert PIL.Image.open(str(tmp_path / 'png' / 'img00000000.png')).mode == 'L'


def test_compare_counts_differences(tmp_path, faces, capsys):
    images, labels = TFRecordDataset(str(faces), max_label_size='full').get_samples_np(range(20))
    images[3, 0, 0, 0] ^= 1
    labels[[4, 5], 0] += 1
    with exporter.Exporter(tmp_path / 'other', [3, 16, 16]) as out:
        out.add(exporter.encode(images))
        out.set_labels(labels)
    capsys.readouterr()
    assert main(['compare', str(faces), str(tmp_path / 'other')]) == 1
    assert capsys.readouterr().out == '1 of 20 images differ; 2 of 20 labels differ\n'
    assert main(['compare', str(faces), str(tmp_path / 'other'), '--ignore_labels', '1']) == 1
    assert capsys.readouterr().out == '1 of 20 images differ\n'
    main(['create_toyfaces', str(tmp_path / 'large'), '--resolution', '32', '--num', '2', '--workers', '1'])
    capsys.readouterr()
    assert main(['compare', str(faces), str(tmp_path / 'large')]) == 1
    assert 'differ in kind' in capsys.readouterr().out


def test_arrays_that_are_not_pictures_are_not_drawn(tmp_path):
    with exporter.Exporter(tmp_path / 'codes', [4, 8, 8], 'float32') as out:
        out.add(exporter.encode(np.zeros([3, 4, 8, 8], np.float32)))
    for command in (['display'], ['extract']):
        with pytest.raises(UserError, match='not pictures'):
            main(command + [str(tmp_path / 'codes')] + ([str(tmp_path / 'out')] if command == ['extract'] else []))
    main(['verify', str(tmp_path / 'codes')])
