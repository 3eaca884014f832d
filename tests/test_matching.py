"""Rows of tables find the pictures that they mean, and nothing is guessed."""

import codecs
import json
import os

import numpy as np
import PIL.Image
import pytest

from data.commands import main
from data.converters.labels import Labels
from data.matching import Matcher
from data.records.dataset import TFRecordDataset
from dnnlib.util import UserError


def means(names, paths, folder='/abs/kg/train'):
    """For each picture the names of the rows that mean it."""
    matcher = Matcher(names)
    matcher.survey(folder, paths)
    return {path: [names[row] for row in matcher.rows_of(path)] for path in paths}


def labelled(tmp_path, content, paths, folder='/abs/kg/train', **options):
    """The class of each picture, or its numbers."""
    path = tmp_path / options.pop('file', 'kg.csv')
    path.write_bytes(content if isinstance(content, bytes) else content.encode('utf-8'))
    made = Labels(str(path), paths, folder=folder, **options)
    if made.facts['kind'] == 'classes':
        return dict(zip(made.paths, [made.names[place] for place in made.values.argmax(axis=1)]))
    return dict(zip(made.paths, made.values.tolist()))


def test_the_longest_end_of_the_path_wins():
    names = ['cat/1.png', 'dog/1.png', '1.png', 'x/dog/1.png']
    assert means(names, ['cat/1.png', 'dog/1.png', '1.png']) == {
        'cat/1.png': ['cat/1.png'], 'dog/1.png': ['dog/1.png'], '1.png': ['1.png']}


@pytest.mark.parametrize('start', ['', './', 'train/', 'kg/train/', '/abs/kg/train/', '/home/me/kg/train/', 'C:\\kg\\'])
def test_rows_may_start_anywhere(tmp_path, start):
    separator = '\\' if '\\' in start else '/'
    text = ''.join(f'{start}{kind}{separator}0001.png,{kind}\n' for kind in ('cat', 'dog'))
    assert labelled(tmp_path, text, ['cat/0001.png', 'dog/0001.png']) == {'cat/0001.png': 'cat', 'dog/0001.png': 'dog'}


@pytest.mark.parametrize('start', ['', '/abs/kg/', '/moved/kg/'])
def test_rows_of_a_folder_that_is_not_here_do_not_label_pictures_of_the_same_name(tmp_path, start):
    text = f'{start}train/1.png,cat\n{start}val/1.png,dog\n{start}val/2.png,dog\n'
    assert labelled(tmp_path, text, ['1.png']) == {'1.png': 'cat'}
    with pytest.raises(UserError, match='no label for 1 of 2 pictures: 2.png; 1 of 3 rows matched 1 of 2 pictures; .*'
                                        '--drop-unlabelled'):
        labelled(tmp_path, text, ['1.png', '2.png'])
    assert labelled(tmp_path, text, ['1.png', '2.png'], drop_unlabelled=True) == {'1.png': 'cat'}


@pytest.mark.parametrize('text, problem', [
    ('1.png,cat\n1.png,dog\n', "picture 'a/1.png': line 1 .'1.png'. says \"cat\", line 2 .'1.png'. says \"dog\""),
    ('x/1.png,cat\ny/1.png,dog\n', 'contradicts itself'),
    ('1.jpg,cat\n1.bmp,dog\n', 'contradicts itself'), ('01.png,cat\n001.png,dog\n', 'contradicts itself'),
])
def test_rows_that_contradict_each_other_are_refused(tmp_path, text, problem):
    with pytest.raises(UserError, match=problem):
        labelled(tmp_path, text, ['a/1.png'])
    same = text.replace('dog', 'cat')
    assert labelled(tmp_path, same, ['a/1.png']) == {'a/1.png': 'cat'}


def test_a_row_that_fits_two_pictures_alike_is_refused(tmp_path):
    with pytest.raises(UserError, match="line 1: '1.png' could be the picture 'a/1.png' or 'b/1.png'"):
        labelled(tmp_path, '1.png,cat\n2.png,dog\n', ['a/1.png', 'b/1.png', 'b/2.png'])
    with pytest.raises(UserError, match="could be the picture 'cat_1.png' or 'dog_1.png'"):
        labelled(tmp_path, '1,cat\n', ['cat_1.png', 'dog_1.png'])
    with pytest.raises(UserError, match='no label for 1 of 2 pictures: b_1.png'):
        labelled(tmp_path, '1.png,cat\n', ['1.png', 'b_1.png'])
    assert labelled(tmp_path, '1.png,cat\na/1.png,dog\n', ['1.png', 'a/1.png']) == {'1.png': 'cat', 'a/1.png': 'dog'}
    with pytest.raises(UserError, match="'1.png' could be the picture 'b/1.png' or 'a/1.png'"):
        labelled(tmp_path, '1.png,cat\na/1.png,dog\n', ['a/1.png', 'b/1.png'])


def test_extensions_do_not_count_unless_they_tell_pictures_apart(tmp_path):
    assert labelled(tmp_path, 'a.JPG,x\nb,y\nv1.5,z\n', ['a.png', 'b.webp', 'v1.5.png']) \
        == {'a.png': 'x', 'b.webp': 'y', 'v1.5.png': 'z'}
    assert labelled(tmp_path, 'a.jpg,x\na.png,y\n', ['a.png', 'a.jpg']) == {'a.png': 'y', 'a.jpg': 'x'}
    # As the pre-filter calls crops of photographs that share a base name.
    assert labelled(tmp_path, 'a.jpg,x\na.tif,y\n', ['a.jpg.png', 'a.tif.png']) == {'a.jpg.png': 'x', 'a.tif.png': 'y'}


CAT, DOG = 'cat/my photo.png', 'dog/1.png'


@pytest.mark.parametrize('text', [
    f'image,class\n{CAT},cat\n{DOG},dog\n', f'{CAT},cat\n{DOG},dog\n', f'{CAT};cat\r\n{DOG};dog\r\n',
    f'"{CAT}","cat"\n"{DOG}","dog"', f'{CAT}\tcat\n{DOG}\tdog\n', f' {CAT} , cat \n\n  {DOG},dog\n\n',
    f'{CAT} cat\n{DOG} dog\n', f'"{CAT}" cat\n"{DOG}" dog\n', f'\ufeffDatei;Klasse\n{CAT};cat\n{DOG};dog\n',
    f'{CAT},cat\r{DOG},dog\r', 'cat/my photo,cat\ndog/1,dog\n'])
def test_tables_of_any_form_are_read(tmp_path, text):
    for content in (text.encode('utf-8'), codecs.BOM_UTF16_LE + text.encode('utf-16-le')):
        assert labelled(tmp_path, content, [CAT, DOG]) == {CAT: 'cat', DOG: 'dog'}


def test_a_first_line_that_names_a_picture_is_no_header(tmp_path):
    assert labelled(tmp_path, 'cat/a,cat\ndog/b,dog\n', ['cat/a.png', 'dog/b.png']) \
        == {'cat/a.png': 'cat', 'dog/b.png': 'dog'}
    assert labelled(tmp_path, '1.png,0.5,2\n2.png,1,3\n', ['1.png', '2.png']) == {'1.png': [0.5, 2], '2.png': [1, 3]}
    assert labelled(tmp_path, 'image,0,1\n1.png,0.5,2\n', ['1.png']) == {'1.png': [0.5, 2]}
    assert labelled(tmp_path, 'Bild;Alter\n1.png;0,5\n', ['1.png']) == {'1.png': [0.5]}


def test_celebas_partitions_are_classes_and_landmarks_stay_numbers(tmp_path):
    assert labelled(tmp_path, '000001.jpg 0\n000002.jpg 2\n', ['1.png', '2.png']) == {'1.png': '0', '2.png': '2'}
    assert labelled(tmp_path, '2\nx y\n1.jpg 69 -3\n2.jpg 1 -1\n', ['1.png', '2.png']) \
        == {'1.png': [69, -3], '2.png': [1, -1]}


def test_the_dataset_json_of_later_stylegans_is_read(tmp_path):
    def read(labels, paths):
        return labelled(tmp_path, json.dumps({'labels': labels}), paths, file='dataset.json')

    paths = ['00000/img00000000.png', '00000/img00000001.png']
    made = Labels(str(tmp_path / 'd.json'), paths) if (tmp_path / 'd.json').write_text(
        json.dumps({'labels': [[paths[0], 11], [paths[1], 2]]})) else None
    assert made.names == [str(i) for i in range(12)] and made.values.argmax(axis=1).tolist() == [11, 2]
    assert read([[paths[0], [1.5, 0]], [paths[1], [2, -1]]], paths) == {paths[0]: [1.5, 0], paths[1]: [2, -1]}
    for labels, problem in ((None, 'its pictures have none'), ([[paths[0], -1]], 'has the class -1'),
                            ([[paths[0], 1], [paths[1], [1]]], 'entry 0 is 1'), ([[1, 1]], 'entry 0 .* is expected'),
                            ([[paths[0], [float('nan')]]], 'finite numbers'),
                            ([[paths[0], 10 ** 30]], 'has the class')):
        with pytest.raises(UserError, match=problem):
            read(labels, paths)


def test_names_that_are_no_utf_8_are_matched_by_their_bytes(tmp_path):
    name = os.fsdecode(b'na\xefve.png')
    assert labelled(tmp_path, b'na\xefve.png,x\n', [name]) == {name: 'x'}
    assert labelled(tmp_path, 'na\\xefve.png,x\n', [name]) == {name: 'x'}
    assert labelled(tmp_path, 'e\u0301.png,x\n', ['\u00e9.png']) == {'\u00e9.png': 'x'}  # as a Mac writes it


def test_many_folders_with_files_of_the_same_names_are_told_apart_quickly():
    names = [f'CASIA/{i:05d}/{j:03d}.jpg' for i in range(1500) for j in range(3)]
    paths = [f'{i:05d}/{j:03d}.png' for i in range(1500) for j in range(3)]
    assert means(names, paths) == {path: [name] for path, name in zip(paths, names)}


def test_labels_of_a_folder_reach_the_right_pictures(tmp_path, capsys):
    rows = ['train/cat/0001.png,cat', 'train/dog/0001.png,dog', 'val/cat/0001.png,dog', 'val/cat/0002.png,dog']
    for kind, value in (('cat', 10), ('dog', 20)):
        (tmp_path / 'kg' / 'train' / kind).mkdir(parents=True)
        PIL.Image.new('L', (4, 4), value).save(str(tmp_path / 'kg' / 'train' / kind / '0001.png'))
    PIL.Image.new('L', (4, 4), 30).save(str(tmp_path / 'kg' / 'train' / 'cat' / '0002.png'))
    (tmp_path / 'kg.csv').write_text('\n'.join(rows))
    command = ['create_from_images', str(tmp_path / 'ds'), str(tmp_path / 'kg' / 'train'), '--labels',
               str(tmp_path / 'kg.csv'), '--workers', '1']
    with pytest.raises(UserError, match='no label for 1 of 3 pictures: cat/0002.png'):
        main(command)
    assert not (tmp_path / 'ds').exists()
    main(command + ['--drop-unlabelled'])
    assert 'kg.csv\': 2 of 4 rows matched 2 of 3 pictures; 2 classes' in capsys.readouterr().out
    dataset = TFRecordDataset(str(tmp_path / 'ds'), max_label_size='full')
    images, labels = dataset.get_samples_np([0, 1])
    assert {int(image[0, 0, 0]): dataset.label_names[int(np.argmax(label))]
            for image, label in zip(images, labels)} == {10: 'cat', 20: 'dog'}
    facts = json.loads((tmp_path / 'ds' / 'manifest.json').read_text())['selection']
    assert facts['images'] == 3 and facts['labels']['images_matched'] == 2 and facts['labels']['rows_matched'] == 2
