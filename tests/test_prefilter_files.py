"""Walking a tree, naming crops, lists of images, and the ledger's file."""

import inspect
import os
import sys

import pytest

from data import ledger
from data.lists import ImageList
from data.prefilter.scan import output_names, walk
from dnnlib.util import UserError


def touch(path, content=b''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def found(folder, **options):
    return {entry.path: entry.reason or entry.output for entry in walk(str(folder), **options)}


def test_crops_keep_the_tree_and_the_base_names(tmp_path):
    for name in ('b/x.jpg', 'b/y.tar.jpeg', 'a.png', 'b/c/z.JPG'):
        touch(tmp_path / name)
    assert found(tmp_path) == {'a.png': 'a.png', 'b/c/z.JPG': 'b/c/z.png', 'b/x.jpg': 'b/x.png',
                               'b/y.tar.jpeg': 'b/y.tar.png'}
    assert [entry.path for entry in walk(str(tmp_path))] == ['a.png', 'b/c/z.JPG', 'b/x.jpg', 'b/y.tar.jpeg']


def test_sources_of_one_base_name_keep_their_extensions():
    assert output_names(['a.jpg', 'a.png', 'b.jpg']) == {'a.jpg': 'a.jpg.png', 'a.png': 'a.png.png', 'b.jpg': 'b.png'}


def test_a_file_that_is_no_image_does_not_take_a_base_name():
    assert output_names(['a.jpg', 'a.txt']) == {'a.jpg': 'a.png', 'a.txt': 'a.txt.png'}
    assert output_names(['a.dat']) == {'a.dat': 'a.png'}


@pytest.mark.parametrize('names, taken', [
    (['a.jpg', 'a.png', 'a.jpg.bmp'], []), (['a.jpg', 'a.jpg.jpg', 'a.jpg.png', 'a.tif'], []), (['a', 'a.png'], []),
    (['a.jpg'], ['a.png'])])
def test_no_two_crops_share_a_name(names, taken):
    outputs = list(output_names(names, taken).values())
    assert len(set(outputs + taken)) == len(names) + len(taken)


def test_links_are_followed_once_and_loops_are_not(tmp_path):
    inside, outside = tmp_path / 'in', tmp_path / 'elsewhere'
    touch(inside / 'class' / 'a.jpg')
    touch(outside / 'b.jpg')
    (inside / 'self').symlink_to('.')
    (inside / 'class' / 'up').symlink_to('..')
    (inside / 'again').symlink_to('class')
    (inside / 'out').symlink_to(outside)
    (inside / 'out2').symlink_to(outside)
    (inside / 'nothing').symlink_to('absent')
    (inside / 'circle').symlink_to('circle')
    (inside / 'c.jpg').symlink_to('class/a.jpg')
    (outside / 'back').symlink_to(inside)
    assert found(inside) == {
        'class/a.jpg': 'class/a.png', 'c.jpg': 'c.png', 'out/b.jpg': 'out/b.png', 'self': 'repeated_link',
        'class/up': 'repeated_link', 'again': 'repeated_link', 'out2': 'repeated_link', 'out/back': 'repeated_link',
        'nothing': 'broken_link', 'circle': 'broken_link'}


def test_folders_deeper_than_python_recurses_are_searched(tmp_path):
    path = 'd/' * 300 + 'a'
    touch(tmp_path / (path + '.jpg'))
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 200)
    try:
        entries = list(walk(str(tmp_path)))
    finally:
        sys.setrecursionlimit(limit)
    assert [(entry.path, entry.output) for entry in entries] == [(path + '.jpg', path + '.png')]


def test_the_folder_of_crops_is_not_searched(tmp_path):
    touch(tmp_path / 'a.jpg')
    touch(tmp_path / 'faces' / 'a.png')
    assert list(found(tmp_path, leave_out=str(tmp_path / 'faces'))) == ['a.jpg']


def test_directories_that_cannot_be_read_get_a_row(tmp_path):
    if os.geteuid() == 0:
        pytest.skip('the superuser may read everything')
    touch(tmp_path / 'locked' / 'a.jpg')
    (tmp_path / 'locked').chmod(0)
    try:
        assert found(tmp_path) == {'locked': 'unreadable'}
    finally:
        (tmp_path / 'locked').chmod(0o700)


def test_shards_are_disjoint_and_complete_and_stay_when_files_are_added(tmp_path):
    for i in range(60):
        touch(tmp_path / f'{i % 3}' / f'{i}.jpg')
    parts = [set(found(tmp_path, shard=(i, 4))) for i in range(4)]
    assert sum(len(part) for part in parts) == 60 and len(set().union(*parts)) == 60
    assert min(len(part) for part in parts) >= 5
    touch(tmp_path / '0' / 'new.jpg')
    assert all(part <= set(found(tmp_path, shard=(i, 4))) for i, part in enumerate(parts))


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        found(tmp_path / 'absent')
    touch(tmp_path / 'file')
    with pytest.raises(UserError, match='is not a folder'):
        found(tmp_path / 'file')


# Lists

def image_list(tmp_path, text):
    touch(tmp_path / 'list.txt', text.encode('utf-8'))
    return ImageList(str(tmp_path / 'list.txt'))


def listed(chosen, paths, folder=None):
    chosen.survey(folder, paths)
    return [path for path in paths if path in chosen]


def test_lists_name_images_by_number_name_or_path(tmp_path):
    chosen = image_list(tmp_path, '# kept\n12\n000014.jpg\nx.jpg\nb/y.png\n\nc/z\n/old/place/d/w.png\n')
    assert len(chosen) == 6
    there = ['000012.jpg', '14.png', 'q/x.jpg', 'b/y.png', 'c/z.jpeg', 'd/w.jpg']
    assert listed(chosen, there + ['000013.jpg', '112.jpg', 'x/a.png', 'a/y.png', 'd/z.jpg']) == there
    assert chosen.counts() == (6, 6, 6)


def test_identities_count_where_folders_are_identities(tmp_path):
    text = '2880 1\n2937,000002.jpg\n'
    assert listed(image_list(tmp_path, text), ['img_celeba/000001.jpg', '000002.jpg']) \
        == ['img_celeba/000001.jpg', '000002.jpg']
    assert listed(image_list(tmp_path, text), ['2880/1.jpg', '2881/1.jpg']) == ['2880/1.jpg']
    assert listed(image_list(tmp_path, text), ['0002880/001.jpg']) == ['0002880/001.jpg']
    vggface = image_list(tmp_path, 'n000001 0001_01.jpg\n')
    assert listed(vggface, ['train/n000001/0001_01.jpg', 'train/n000002/0001_01.jpg']) == ['train/n000001/0001_01.jpg']


@pytest.mark.parametrize('text', [
    'my photo.jpg\n', '"my photo.jpg"\n', '\ufeffmy photo.jpg\r\n', 'image\nmy photo\n', 'x\\my photo.png\n',
    'my photo.jpg;blurred\n', 'my photo;\n', ';my photo.png\n', 'image;why\nmy photo.jpg;dark, too\n'])
def test_lists_of_any_form_are_read(tmp_path, text):
    chosen = image_list(tmp_path, text)
    assert listed(chosen, ['my photo.jpg', 'photo.jpg']) == ['my photo.jpg']
    assert chosen.describe('--exclude-list').endswith(': 1 of 1 rows matched 1 of 2 pictures')


def test_lines_that_fit_several_images_alike_are_refused(tmp_path):
    with pytest.raises(UserError, match="line 2: '0001.png' could be any of 2 pictures, for instance 'cat/0001.png'"):
        listed(image_list(tmp_path, 'dog/7.png\n0001.png\n'), ['cat/0001.png', 'dog/0001.png', 'dog/7.png'])


@pytest.mark.parametrize('text, message', [('', 'names no image'), ('a b c\n', 'line 1: 3 columns')])
def test_lists_that_make_no_sense_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        image_list(tmp_path, text)
    with pytest.raises(UserError, match='cannot read the list'):
        ImageList(str(tmp_path / 'absent.txt'))


# Ledger

def make_row(path, **values):
    return ledger.row(path, ledger.REJECTED, 'no_face', **values)


def test_rows_survive_awkward_names(tmp_path):
    path = str(tmp_path / 'ledger.csv')
    rows = [make_row('a,"b"\n\r.jpg', boxes=[[1, 2.34567, 3, 4]], scores=[0.5]), make_row('ü.jpg', detail='näh')]
    ledger.create(path)
    appender = ledger.Appender(path)
    for item in rows:
        appender.add(item)
    appender.close()
    assert list(ledger.read(path)) == rows
    assert rows[0].boxes == '[[1.0, 2.346, 3.0, 4.0]]' and rows[0].chosen == ''


def test_names_that_are_no_text_are_escaped_and_found_again(tmp_path):
    name = os.fsdecode(b'na\xefve.png')
    try:
        (tmp_path / name).write_bytes(b'')
    except OSError:
        pytest.skip('this file system refuses such names')
    text = ledger.path_text(name)
    assert text == 'na\\xefve.png'
    (tmp_path / 'na\\xefve.png').write_bytes(b'')  # a name of its own, though it looks alike
    assert ledger.path_text('na\\xefve.png') == 'na\\x5cxefve.png'
    assert os.path.basename(ledger.find(str(tmp_path), 'na\\x5cxefve.png')) == 'na\\xefve.png'
    assert os.path.basename(ledger.find(str(tmp_path), text)) == name
    assert ledger.find(str(tmp_path), 'absent.png') is None


def test_a_row_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / 'ledger.csv'
    ledger.write(str(path), [make_row('a.jpg'), make_row('b.jpg', boxes=[[1, 2, 3, 4]], scores=[1])])
    content = path.read_bytes()
    for length in range(content.index(b'b.jpg'), len(content) - 1):
        path.write_bytes(content[:length])
        assert [item.path for item in ledger.read(str(path))] == ['a.jpg']


def test_merging_sorts_and_drops_repetitions_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, '_SORT_ROWS', 7)
    names = [f'{i * 37 % 50:02}.jpg' for i in range(50)]
    for i in range(3):
        ledger.write(str(tmp_path / f'{i}.csv'), [make_row(name) for name in names[i * 15:i * 15 + 20]])
    target = str(tmp_path / 'all.csv')
    ledger.merge([str(tmp_path / f'{i}.csv') for i in range(3)], target)
    assert [item.path for item in ledger.read(target)] == sorted(names)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['0.csv', '1.csv', '2.csv', 'all.csv']


def test_other_files_are_no_ledgers(tmp_path):
    touch(tmp_path / 'ledger.csv', b'path,price\nx,1\n')
    with pytest.raises(UserError, match='not a ledger'):
        list(ledger.read(str(tmp_path / 'ledger.csv')))
    assert ledger.kept_outputs(str(tmp_path)) is None
