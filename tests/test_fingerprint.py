"""The fingerprint of a data set follows its content, and costs nothing while the files stay as they were made."""

import json
import os
import shutil

import numpy as np
import pytest
from test_dataset import make_dataset, write_level

from data.commands import main
from data.records import fingerprint
from data.records.dataset import TFRecordDataset
from data.records.tfrecord import RecordFile
from dnnlib.util import UserError
from training.state import resume


@pytest.fixture(autouse=True)
def settled(monkeypatch, tmp_path):
    """Files count as settled at once, and the cache folder is the test's own."""
    monkeypatch.setattr(fingerprint, '_SETTLED_NS', 0)
    monkeypatch.setattr('config.cache_dir', str(tmp_path / 'cache'))


@pytest.fixture
def faces(tmp_path):
    main(['create_toyfaces', str(tmp_path / 'faces'), '--resolution', '16', '--num', '12', '--workers', '1'])
    return tmp_path / 'faces'


@pytest.fixture
def unread(monkeypatch):
    """Reading any file for its fingerprint is an error."""
    def refuse(*args):
        raise AssertionError('a file was read')

    monkeypatch.setattr(fingerprint, '_sha256', refuse)
    monkeypatch.setattr(fingerprint, 'compute_fingerprint', refuse)


def of(folder, **options):
    with TFRecordDataset(str(folder), **options) as dataset:
        return dataset.fingerprint


def computed(folder):
    with TFRecordDataset(str(folder)) as dataset:
        return fingerprint.compute_fingerprint(RecordFile(dataset._files[0].path), dataset._all_labels)


def rewrite(path, change):
    """Changes the content of a file and sets its time of change back. The system's clock has gone on since the last."""
    status = os.stat(str(path))
    change(path)
    assert os.path.getsize(str(path)) == status.st_size
    os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))
    while os.stat(str(path)).st_ctime_ns == status.st_ctime_ns:     # it ticks some hundred times a second
        os.utime(str(path), ns=(status.st_atime_ns, status.st_mtime_ns))


def swap_records(path):
    """Exchanges the first two records."""
    content = path.read_bytes()
    size = RecordFile(str(path)).record_size
    path.write_bytes(content[size:2 * size] + content[:size] + content[2 * size:])


def swap_labels(path):
    labels = np.load(str(path))
    with open(str(path), 'wb') as f:
        np.save(f, labels[::-1])


def test_what_was_made_here_is_known_without_reading(faces, unread):
    manifest = json.loads((faces / 'manifest.json').read_text())
    assert of(faces) == manifest['fingerprint'] and of(faces, resolution=8) == manifest['fingerprint'] + '-8'
    assert not (faces / 'fingerprint.json').exists()


@pytest.mark.parametrize('name, change', [('faces-r04.tfrecords', swap_records), ('faces-rxx.labels', swap_labels)])
def test_swapped_records_and_labels_are_seen_and_told(faces, name, change, capsys):
    before = of(faces)
    assert not capsys.readouterr().err
    rewrite(faces / name, change)
    assert of(faces) == computed(faces) != before
    assert f"{name} is not the file that the data set's manifest describes" in capsys.readouterr().err
    assert of(faces) == computed(faces)  # from memory, too
    rewrite(faces / name, change)
    assert of(faces) == before
    assert not capsys.readouterr().err


def test_a_run_does_not_go_on_with_labels_that_were_swapped_under_the_same_size_and_time(tmp_path, faces):
    def check():
        with TFRecordDataset(str(faces), max_label_size='full') as data:
            return resume.check_data(str(tmp_path), data)

    with TFRecordDataset(str(faces), max_label_size='full') as data:
        (tmp_path / 'dataset.json').write_text(json.dumps(resume.data_record(data)))
    before = check()
    rewrite(faces / 'faces-rxx.labels', swap_labels)
    with pytest.raises(UserError, match='the data set is not the one that .* .other fingerprint; see'):
        check()
    rewrite(faces / 'faces-rxx.labels', swap_labels)
    assert check() == before


def test_a_lower_level_that_no_longer_fits_is_seen(faces):
    before = of(faces), of(faces, resolution=8), of(faces, resolution=4)
    rewrite(faces / 'faces-r03.tfrecords', swap_records)
    after = of(faces), of(faces, resolution=8), of(faces, resolution=4)
    assert after[0] != before[0] and after[1] != before[1] and after[2] == before[2]


def test_other_labels_give_another_fingerprint(tmp_path, faces):
    np.save(str(tmp_path / 'labels.npy'), np.eye(12, dtype=np.float32))
    other = of(faces, label_file=str(tmp_path / 'labels.npy'), max_label_size='full')
    assert len({other, of(faces)}) == 2
    rewrite(tmp_path / 'labels.npy', swap_labels)
    assert of(faces, label_file=str(tmp_path / 'labels.npy'), max_label_size='full') not in (other, of(faces))
    (faces / 'faces-rxx.labels').unlink()
    assert of(faces) == computed(faces)


def test_a_copy_is_read_once_and_has_the_same_fingerprint(tmp_path, faces, monkeypatch):
    shutil.copytree(str(faces), str(tmp_path / 'copy'))
    before = of(faces)
    monkeypatch.setattr(fingerprint, 'compute_fingerprint', None)
    assert of(tmp_path / 'copy') == before
    monkeypatch.setattr(fingerprint, '_sha256', None)
    assert of(tmp_path / 'copy') == before
    manifest = json.loads((tmp_path / 'copy' / 'manifest.json').read_text())
    assert manifest == json.loads((faces / 'manifest.json').read_text())


def test_read_only_data_sets_are_remembered_in_the_cache_folder(tmp_path, faces, monkeypatch):
    shutil.copytree(str(faces), str(tmp_path / 'copy'))

    def write(path, *args, **kwargs):
        if os.path.dirname(path) == str(tmp_path / 'copy'):
            raise PermissionError(13, 'read-only', path)
        original(path, *args, **kwargs)

    original = fingerprint.write_json
    monkeypatch.setattr(fingerprint, 'write_json', write)
    before = of(tmp_path / 'copy')
    assert len(list((tmp_path / 'cache' / 'fingerprints').iterdir())) == 1
    monkeypatch.setattr(fingerprint, '_sha256', None)
    assert of(tmp_path / 'copy') == before == of(faces)


def test_a_file_that_was_changed_just_now_is_not_remembered(tmp_path, faces, monkeypatch):
    shutil.copytree(str(faces), str(tmp_path / 'copy'))
    monkeypatch.setattr(fingerprint, '_SETTLED_NS', 10 ** 13)
    assert of(tmp_path / 'copy') == of(faces) and not (tmp_path / 'copy' / 'fingerprint.json').exists()


def test_fingerprints_tell_content_not_packaging(tmp_path, golden_dir):
    shutil.copytree(str(golden_dir / 'images-tfrecords'), str(tmp_path / 'a'))
    shutil.copytree(str(golden_dir / 'images-tfrecords'), str(tmp_path / 'b'))
    first = TFRecordDataset(str(tmp_path / 'a'))
    images, _ = first.get_samples_np(range(12))
    write_level(tmp_path / 'b', images, 'images-tfrecords-r05.tfrecords')  # same images, features in another order
    assert first.fingerprint == of(tmp_path / 'b') == computed(tmp_path / 'a')
    images[3, 0, 0, 0] ^= 1
    write_level(tmp_path / 'b', images, 'images-tfrecords-r05.tfrecords')
    assert of(tmp_path / 'b') != first.fingerprint


def test_labels_are_part_of_the_fingerprint(tmp_path):
    plain = of(make_dataset(tmp_path / 'set'))
    assert of(make_dataset(tmp_path / 'labelled', labels=np.eye(10))) != plain


def test_a_reading_can_be_interrupted(tmp_path):
    class Stop(Exception):
        pass

    def stop():
        raise Stop

    with TFRecordDataset(make_dataset(tmp_path / 'set')) as dataset:
        dataset.interrupt = stop
        with pytest.raises(Stop):
            assert dataset.fingerprint
