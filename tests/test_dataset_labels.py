"""Labels and selections of create_from_images: folders, tables, CelebA's files, lists."""

import argparse
import json

import numpy as np
import PIL.Image
import pytest

from data.commands import main
from data.converters.labels import Labels, add_selection, select
from data.records.dataset import TFRecordDataset
from dnnlib.util import UserError

PATHS = ['000001.png', '000002.png', '000010.png']


def labels(tmp_path, text, paths=PATHS, **kwargs):
    (tmp_path / 'labels').write_text(text, encoding='utf-8')
    return Labels(str(tmp_path / 'labels'), paths, **kwargs)


def chosen(paths, *options):
    parser = argparse.ArgumentParser()
    add_selection(parser)
    return select(paths, parser.parse_args([str(option) for option in options]), None).paths


def test_folders_are_classes():
    made = Labels('folders', ['b/1.png', 'a/2.png', 'b/3.png', 'a/c/4.png'])
    assert made.names == ['a', 'a/c', 'b']
    assert made.values.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]] and made.values.dtype == np.float32
    with pytest.raises(UserError, match="'1.png' lies in no folder"):
        Labels('folders', ['a/2.png', '1.png'])


def test_a_table_of_numbers_gives_components(tmp_path):
    made = labels(tmp_path, 'image,age,height\n000010.jpg,30,1.5\n000001.jpg,-2,0\n000002.jpg,1e2,7\n')
    assert made.names == ['age', 'height'] and made.values.tolist() == [[-2, 0], [100, 7], [30, 1.5]]


@pytest.mark.parametrize('text', ['file,class\n000001.png,7\n000002.png,12\n000010.png,7\n',
                                  'file,kind\n000001.png,cat\n000002.png,b\n000010.png,cat\n',
                                  '000001.jpg 7\n000002.jpg 12\n000010.jpg 7\n'])
def test_a_table_of_classes_gives_one_hot_vectors(tmp_path, text):
    made = labels(tmp_path, text)
    assert len(made.names) == 2 and made.values.sum(axis=1).tolist() == [1, 1, 1]
    assert made.values[0].tolist() == made.values[2].tolist() != made.values[1].tolist()


CELEBA = '3\nSmiling Male Young\n000001.jpg -1  1 -1\n000002.jpg  1 -1  1\n000010.jpg  1  1 -1\n'


def test_celebas_attributes_become_zeros_and_ones(tmp_path):
    made = labels(tmp_path, CELEBA)
    assert made.names == ['Smiling', 'Male', 'Young']
    assert made.values.tolist() == [[0, 1, 0], [1, 0, 1], [1, 1, 0]]
    assert labels(tmp_path, CELEBA, only=['Young', 'Smiling']).values.tolist() == [[0, 0], [1, 1], [0, 1]]
    with pytest.raises(UserError, match="'Bald' is not among the components .* Smiling, Male, Young"):
        labels(tmp_path, CELEBA, only=['Bald'])


@pytest.mark.parametrize('paths', [['1.png', '2.png', '10.png'], ['img00000001.png', 'x/img2.png', 'y/010.jpg'],
                                   ['a/000001.jpg', 'b/000002.jpg', 'c/000010.jpg']])
def test_images_are_found_by_their_numbers_too(tmp_path, paths):
    assert labels(tmp_path, CELEBA, paths).values.tolist() == [[0, 1, 0], [1, 0, 1], [1, 1, 0]]


def test_celeba_hq_takes_celebas_labels_through_its_list(tmp_path):
    (tmp_path / 'map').write_text('idx orig_idx orig_file proj_md5 final_md5\n'
                                  '0 9 000010.jpg aa bb\n1 0 000001.jpg cc dd\n')
    made = labels(tmp_path, CELEBA, ['imgHQ00000.png', 'imgHQ00001.png'], label_map=str(tmp_path / 'map'))
    assert made.values.tolist() == [[1, 1, 0], [0, 1, 0]]
    with pytest.raises(UserError, match='image_list.txt'):
        labels(tmp_path, CELEBA, ['imgHQ00000.png'], label_map=str(tmp_path / 'labels'))


@pytest.mark.parametrize('text, problem', [
    ('', 'is empty'),
    ('image,a\n000001.png,1\n', 'no label for 2 of 3 pictures: 000002.png, 000010.png; 1 of 1 rows matched 1 of 3'),
    ('image,a,b\n000001.png,1\n', "line 2: 1 values, but the header names 2"),
    ('image,a,b\n000001.png,1,x\n', "line 2: 'x' is not a finite number"),
    ('image,a,b\n000001.png,1,nan\n', "line 2: 'nan' is not a finite number"),
    ('image,class\n000001.png,1,2\n', 'line 2: an image and its class are expected, not 3'),
    ('000001.jpg cat 2\n000002.jpg a b\n', "line 1: 'cat' is not a finite number"),
    ('000001.jpg\n', "line 1: an image and its class or numbers are expected"),
    ('image,a\n000001.png,1e39\n', "line 2: '1e39' is not a finite number"),
    ('image,a\n000001.png,1_0\n', "line 2: '1_0' is not a finite number"),
    ('image,a,a\n000001.png,1,2\n', "two components are called 'a'"),
    ('image,class\n000001.png,\n', 'line 2: the class is empty'),
    ('image,class\n"000001.png,a\n000002.png,b\n', 'line 3: .*quotes must be closed'),
    ('image,class\n', 'no row but its header'),
    ('image;class\n\0;a\n', 'not a text file'),
    ('2\na b\n1.jpg 1\n', 'line 3: 1 values, but the header names 2'),
])
def test_label_files_that_do_not_fit_are_refused(tmp_path, text, problem):
    with pytest.raises(UserError, match=problem):
        labels(tmp_path, text)
    with pytest.raises(UserError, match='absent'):
        Labels(str(tmp_path / 'absent'), PATHS)


def test_one_hot_labels_too_large_to_store_are_refused():
    with pytest.raises(UserError, match='40000 classes for 40000 images would make a label file of 6 GB'):
        Labels('folders', [f'{i}/a.png' for i in range(40000)])


def test_lists_include_and_exclude(tmp_path):
    (tmp_path / 'list').write_text('000002.jpg\n10\n')
    assert chosen(PATHS, '--include-list', tmp_path / 'list') == PATHS[1:]
    assert chosen(PATHS, '--exclude-list', tmp_path / 'list') == PATHS[:1]
    (tmp_path / 'list').write_text('7\n')
    with pytest.raises(UserError, match='leaves no image'):
        chosen(PATHS, '--include-list', tmp_path / 'list')
    for option in (['--label-names', 'a'], ['--drop-unlabelled']):
        with pytest.raises(UserError, match=f'{option[0]} needs --labels'):
            chosen(PATHS, *option)


def test_labels_stay_with_their_images_through_shuffling_and_skipping(tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    rows = ['image,value']
    for index in range(20):
        PIL.Image.new('L', (4, 4), index).save(str(folder / f'{index}.png'))
        rows.append(f'{index}.png,{index}')
    (folder / '5.png').write_bytes(b'')
    (tmp_path / 'values.csv').write_text('\n'.join(rows))
    main(['create_from_images', str(tmp_path / 'out'), str(folder), '--labels', str(tmp_path / 'values.csv'),
          '--skip-bad', '--workers', '1'])
    dataset = TFRecordDataset(str(tmp_path / 'out'), max_label_size='full', shuffle_mb=0)
    images, values = dataset.get_samples_np(range(len(dataset)))
    assert len(dataset) == 19 and dataset.label_names == ['value']
    assert images[:, 0, 0, 0].tolist() == values[:, 0].tolist() != sorted(values[:, 0].tolist())
    assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['label_source'].endswith('values.csv')


# ---- What looks like one thing and is another

@pytest.mark.parametrize('text', ['{"labels": {"000001.png": 0, "000002.png": 1, "000010.png": 0, "000001.png": 1}}',
                                  '{"labels": [["000001.png", 0]], "labels": [["000001.png", 1]]}'])
def test_json_that_says_two_things_under_one_name_is_refused(tmp_path, text):
    (tmp_path / 'dataset.json').write_text(text, encoding='utf-8')
    with pytest.raises(UserError, match='two values called'):
        Labels(str(tmp_path / 'dataset.json'), PATHS)


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    paths = [f'{i}.png' for i in range(12)]
    made = labels(tmp_path, ''.join(f'{i}.png,{11 - i}\n' for i in range(12)), paths)
    assert made.names == [str(i) for i in range(12)]
    assert made.values.argmax(axis=1).tolist() == list(range(11, -1, -1))
    made = Labels('folders', ['10/a.png', '9/a.png', '010/a.png'])
    assert made.names == ['9', '010', '10'] and made.values.argmax(axis=1).tolist() == [2, 0, 1]


def test_a_letter_and_its_accent_are_one_class_however_they_are_encoded(tmp_path):
    made = labels(tmp_path, '000001.png,caf\u00e9\n000002.png,cafe\u0301\n000010.png,bar\n')
    assert made.names == ['bar', 'caf\u00e9'] and made.values.argmax(axis=1).tolist() == [1, 1, 0]
    assert Labels('folders', ['caf\u00e9/1.png', 'cafe\u0301/2.png']).names == ['caf\u00e9']


@pytest.mark.parametrize('word', ['nan', '?', 'N/A', 'null'])
def test_a_class_that_says_it_is_unknown_is_refused(tmp_path, word):
    with pytest.raises(UserError, match='line 3: .* is not a class but says that none is known.*--drop-unlabelled'):
        labels(tmp_path, f'image,class\n000001.png,a\n000002.png,{word}\n000010.png,a\n')
    (tmp_path / 'dataset.json').write_text(json.dumps({'labels': [['000001.png', 'a'], ['000002.png', word]]}))
    with pytest.raises(UserError, match='entry 1: .* is not a class'):
        Labels(str(tmp_path / 'dataset.json'), PATHS)
