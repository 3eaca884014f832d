"""Data sets whose levels are in several files: read as one, split, merged, and refused where shards do not fit."""

import json
import os
import shutil

import numpy as np
import pytest
from test_fingerprint import computed, of, rewrite, settled, swap_records, unread  # noqa: F401

from data.commands import main
from data.converters import exporter
from data.records import shards
from data.records.dataset import TFRecordDataset
from dnnlib.util import UserError


@pytest.fixture
def faces(tmp_path):
    main(['create_toyfaces', str(tmp_path / 'faces'), '--resolution', '16', '--num', '23', '--workers', '1'])
    return tmp_path / 'faces'


@pytest.fixture
def parts(tmp_path, faces):
    main(['split', str(tmp_path / 'parts'), str(faces), '--shards', '4'])
    return tmp_path / 'parts'


def refusal(folder):
    with pytest.raises(UserError) as caught:
        TFRecordDataset(str(folder))
    return str(caught.value)


def stream(folder, lod=0):
    with TFRecordDataset(str(folder), max_label_size='full', seed=3) as dataset:
        return [array for _ in range(6) for array in dataset.get_minibatch_np(8, lod)]


@pytest.mark.both
def test_shards_hand_out_what_the_single_file_does(faces, parts, monkeypatch):
    monkeypatch.setattr(shards, '_MOST_OPEN', 2)
    assert TFRecordDataset(str(parts)).shards == [5, 6, 6, 6]
    for lod in (0, 1, 2):
        for ours, theirs in zip(stream(parts, lod), stream(faces, lod)):
            np.testing.assert_array_equal(ours, theirs)


def test_splitting_and_merging_change_neither_bytes_nor_fingerprint(tmp_path, faces, parts, capsys, unread):  # noqa: F811
    main(['split', str(tmp_path / 'again'), str(parts), '--shard-size', '3k'])
    main(['merge', str(tmp_path / 'faces2' / 'faces'), str(tmp_path / 'again')])
    assert of(parts) == of(tmp_path / 'again') == of(faces) == of(tmp_path / 'faces2' / 'faces')
    names = sorted(os.listdir(str(faces)))
    assert sorted(os.listdir(str(tmp_path / 'faces2' / 'faces'))) == names and len(names) == 5
    for name in names[:-1]:
        path = tmp_path / 'faces2' / 'faces' / name
        assert name == 'manifest.json' or path.read_bytes() == (faces / name).read_bytes()
    for folder in (parts, tmp_path / 'again', tmp_path / 'faces2' / 'faces'):
        main(['verify', str(folder)])
        assert main(['compare', str(folder), str(faces)]) == 0
    main(['info', str(parts)])
    assert 'each level in 4 shards' in capsys.readouterr().out
    main(['extract', str(parts), str(tmp_path / 'pictures'), '--workers', '1'])
    assert len(list((tmp_path / 'pictures').glob('*.png'))) == 23


def test_a_change_counts_alike_however_a_set_is_split(faces, parts):
    """The fingerprint of changed files is that of their content in order, not of how they are split."""
    rewrite(faces / 'faces-r03.tfrecords', swap_records)
    rewrite(parts / 'parts-r03-00000-of-00004.tfrecords', swap_records)
    before = json.loads((parts / 'manifest.json').read_text())['fingerprint']
    assert of(parts) == of(faces) != before
    rewrite(parts / 'parts-r04-00002-of-00004.tfrecords', swap_records)
    assert of(parts) not in (of(faces), before)


def test_missing_surplus_and_unequal_shards_are_refused(tmp_path, parts):
    def renamed(old, new):
        shutil.move(str(parts / old), str(parts / new))
        sentence = refusal(parts)
        shutil.move(str(parts / new), str(parts / old))
        return sentence

    name = 'parts-r04-{}-of-{}.tfrecords'.format
    assert 'r04-00002-of-00004.tfrecords is missing (3 of 4' in renamed(name('00002', '00004'), 'elsewhere')
    assert 'shards of 4 and of 5' in renamed(name('00002', '00004'), name('00002', '00005'))
    assert 'r04-00007-of-00004.tfrecords is one more than the 4' in renamed(name('00003', '00004'),
                                                                          name('00007', '00004'))
    assert 'manifest' in renamed('parts-00001-of-00004.json', 'elsewhere')
    shutil.copy(str(parts / name('00000', '00004')), str(parts / name('00001', '00004')))
    assert 'holds 5 records where the manifests say 6 and 6' in refusal(parts)
    for path in parts.glob('*.json'):
        path.unlink()
    assert 'has 23 records but parts-r04-*-of-00004.tfrecords has 22' in refusal(parts)


def test_shards_come_in_the_order_of_their_numbers():
    paths = [f'a-r02-{number:05}-of-100002.tfrecords' for number in range(100002)]
    [(whole, files)] = shards.group(paths[::-1])
    assert whole == 'a-r02.tfrecords' and files == paths


def test_a_shard_that_is_there_twice_is_refused(parts):
    for path in list(parts.glob('*.json')) + list(parts.glob('*.labels')):
        path.unlink()
    for path in sorted(parts.glob('*-00003-of-*')):
        shutil.copy(str(path), str(path).replace('-00003-', '-000003-'))
    assert 'r02-00003-of-00004.tfrecords is shard 3 of 4 a second time' in refusal(parts)


def test_shards_whose_manifest_is_gone_are_refused_but_not_those_of_other_programs(parts):
    (parts / 'manifest.json').unlink()
    assert 'manifest.json, which describes the whole, is missing' in refusal(parts)
    for path in parts.glob('*-of-00004.json'):
        path.unlink()
    assert len(TFRecordDataset(str(parts))) == 23


def test_verify_misses_files_that_the_manifest_does_not_describe(parts):
    path = parts / 'parts-00001-of-00004.json'
    facts = json.loads(path.read_text())
    del facts['files']['parts-r03-00001-of-00004.tfrecords']
    path.write_text(json.dumps(facts))
    with pytest.raises(UserError, match='parts-r03-00001-of-00004.tfrecords is not among the files that the manifest'):
        main(['verify', str(parts)])


def test_a_shard_of_another_set_is_refused(tmp_path, parts):
    main(['create_toyfaces', str(tmp_path / 'others'), '--resolution', '16', '--num', '23', '--seed', '7', '--workers',
          '1'])
    main(['split', str(tmp_path / 'b' / 'parts'), str(tmp_path / 'others'), '--shards', '4'])
    for path in sorted((tmp_path / 'b' / 'parts').glob('*-00001-of-*.tfrecords')):
        shutil.copy(str(path), str(parts / path.name))
    with pytest.raises(UserError, match=r'parts-r02-00001-of-00004.tfrecords does not have the SHA-256'):
        main(['verify', str(parts)])
    with pytest.raises(UserError, match='does not have the SHA-256 that its manifest gives'):
        main(['merge', str(tmp_path / 'merged'), str(parts)])
    assert not (tmp_path / 'merged').exists() and not list(tmp_path.glob('.tmp-*'))
    shutil.copy(str(tmp_path / 'b' / 'parts' / 'parts-00001-of-00004.json'), str(parts))
    assert 'is of a shard of another data set' in refusal(parts)


def test_large_sets_are_written_in_shards(tmp_path, faces, monkeypatch):
    size = (faces / 'faces-r04.tfrecords').stat().st_size
    monkeypatch.setattr(exporter, 'MOST_FILE_BYTES', size - 1)
    monkeypatch.setattr(exporter, 'SHARD_BYTES', size // 5)
    main(['create_toyfaces', str(tmp_path / 'b' / 'faces'), '--resolution', '16', '--num', '23', '--workers', '1'])
    assert TFRecordDataset(str(tmp_path / 'b' / 'faces')).shards == [4, 4, 4, 4, 4, 3]
    main(['verify', str(tmp_path / 'b' / 'faces')])
    assert of(tmp_path / 'b' / 'faces') == of(faces) == computed(faces)
    main(['merge', str(tmp_path / 'c' / 'faces'), str(tmp_path / 'b' / 'faces')])
    merged = tmp_path / 'c' / 'faces' / 'faces-r04.tfrecords'
    assert merged.read_bytes() == (faces / 'faces-r04.tfrecords').read_bytes()
