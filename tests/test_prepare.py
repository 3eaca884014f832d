"""From archives to verified data sets, and what unpacking refuses."""

import io
import json
import os
import shutil
import stat
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prefilter_helpers import DETECTOR, make_tree, save_photo, use_detector

from data import commands
from data.converters import archives, published
from data.records.dataset import load_dataset
from dnnlib.util import UserError


@pytest.fixture
def fake_detector(monkeypatch):
    use_detector(monkeypatch, DETECTOR)


def make_zip(path, members):
    with zipfile.ZipFile(str(path), 'w') as archive:
        for name, data in members:
            archive.writestr(name, data)
    return str(path)


def make_tar(path, members, mode='w:gz'):
    with tarfile.open(str(path), mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = data
                archive.addfile(info)
    return str(path)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('make, name', [(make_zip, 'a.zip'), (make_tar, 'a.tgz')])
def test_images_and_tables_are_unpacked_and_nothing_else(tmp_path, make, name):
    archive = make(tmp_path / name, [('set/a/1.jpg', b'one'), ('./set/2.png', b'two'), ('set/list.txt', b'3'),
                                     ('set/run.sh', b'4'), ('set/.hidden.jpg', b'5'), ('__MACOSX/set/1.jpg', b'6')])
    assert archives.unpack([archive], str(tmp_path / 'out')) == (3, 3)
    assert files(tmp_path / 'out') == {'set/a/1.jpg': b'one', 'set/2.png': b'two', 'set/list.txt': b'3'}


@pytest.mark.parametrize('make', [make_zip, make_tar])
@pytest.mark.parametrize('name', ['../evil.jpg', '/tmp/evil.jpg', 'a/../../evil.jpg', '..\\evil.jpg', 'C:\\evil.jpg'])
def test_members_that_would_leave_the_folder_are_refused(tmp_path, make, name):
    archive = make(tmp_path / 'archive', [('good.jpg', b'1'), (name, b'2')])
    (tmp_path / 'deep').mkdir()
    with pytest.raises(UserError, match='would leave the folder'):
        archives.unpack([archive], str(tmp_path / 'deep' / 'out'))
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['archive', 'deep']


def test_links_in_archives_are_not_made(tmp_path):
    archive = make_tar(tmp_path / 'a.tar', [
        ('up.jpg', (tarfile.SYMTYPE, '/etc')), ('hard.jpg', (tarfile.LNKTYPE, '/etc/passwd')),
        ('fifo.jpg', (tarfile.FIFOTYPE, '')), ('1.jpg', b'one')], mode='w')
    assert archives.unpack([archive], str(tmp_path / 'out')) == (1, 3)
    assert files(tmp_path / 'out') == {'1.jpg': b'one'}
    # What lies behind a link lies in a folder of that name.
    archive = make_tar(tmp_path / 'c.tar', [('up', (tarfile.SYMTYPE, '..')), ('up/1.jpg', b'one')], mode='w')
    assert archives.unpack([archive], str(tmp_path / 'out1')) == (1, 1)
    assert files(tmp_path / 'out1') == {'up/1.jpg': b'one'}
    link = zipfile.ZipInfo('link.jpg')
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = make_zip(tmp_path / 'b.zip', [(link, '/etc'), ('2.jpg', b'two')])
    assert archives.unpack([archive], str(tmp_path / 'out2')) == (1, 1)


names = st.text('ab./\\: é\0\n', max_size=12) | st.sampled_from(['a.jpg', 'a.jpg/b.jpg', '..', '.', '/', 'x' * 300])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([make_zip, make_tar]), st.lists(names, min_size=1, max_size=3))
def test_members_of_any_name_stay_in_the_folder_or_are_refused(tmp_path, make, names):
    deep = tmp_path / 'deep'
    shutil.rmtree(str(tmp_path))
    deep.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # names that occur twice
        try:
            archive = make(tmp_path / 'archive', [(name + '.jpg', b'1') for name in names])
        except (ValueError, IndexError):
            return  # cannot be written
    try:
        archives.unpack([archive], str(deep / 'out'))
    except UserError:
        assert not (deep / 'out').exists()
    assert {path.name for path in tmp_path.iterdir()} == {'archive', 'deep'}
    assert {path.name for path in deep.iterdir()} <= {'out'}


@pytest.mark.parametrize('make, name', [(make_zip, 'a.zip'), (make_tar, 'a.tgz')])
def test_damaged_archives_are_refused_whole(tmp_path, make, name):
    noise = np.random.RandomState(0).bytes(50000)
    path = make(tmp_path / name, [('1.jpg', noise), ('2.jpg', noise)])
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 0xff
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(UserError, match='damaged'):
        archives.unpack([path], str(tmp_path / 'out'))
    (tmp_path / name).write_bytes(bytes(content[:len(content) // 3]))
    with pytest.raises(UserError, match='damaged|neither a folder nor'):
        archives.unpack([path], str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


def test_other_archives_are_named(tmp_path):
    (tmp_path / 'a.7z').write_bytes(b"7z\xbc\xaf'\x1c" + bytes(100))
    with pytest.raises(UserError, match='7z x'):
        archives.unpack([str(tmp_path / 'a.7z')], str(tmp_path / 'out'))


ZEROS = bytes(8 << 20)


def make_packed_zip(path, members):
    with zipfile.ZipFile(str(path), 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return str(path)


def make_sparse_tar(path, members):
    """Members that take no space in the archive, as GNU tar writes files with holes."""
    with open(str(path), 'wb') as f:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.type = tarfile.GNUTYPE_SPARSE
            info.size = 0
            head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
            head[156:157] = tarfile.GNUTYPE_SPARSE
            head[386:482] = bytes(96)
            head[483:495] = b'%011o\0' % len(data)
            head[148:156] = b' ' * 8
            head[148:156] = b'%06o\0 ' % sum(head)
            f.write(head)
        f.write(bytes(1024))
    return str(path)


@pytest.mark.parametrize('make', [
    make_packed_zip, make_tar, lambda path, members: make_tar(path, members, 'w:xz'),
    lambda path, members: make_tar(path, members, 'w:bz2'), make_sparse_tar], ids=['zip', 'gz', 'xz', 'bz2', 'sparse'])
def test_a_member_that_unpacks_to_over_200_times_its_size_is_refused(tmp_path, make):
    archive = make(tmp_path / 'bomb', [('a.bmp', ZEROS), ('b.jpg', b'1')])
    with pytest.raises(UserError, match="'a.bmp' of '.*bomb' unpacks to over 200 times its size.*--max-unpacked"):
        archives.unpack([archive], str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()
    if make is not make_sparse_tar:
        assert archives.unpack([archive], str(tmp_path / 'out'), max_unpacked=9 << 20) == (2, 0)
        assert (tmp_path / 'out' / 'a.bmp').stat().st_size == len(ZEROS)


@pytest.mark.parametrize('make', [make_packed_zip, make_tar])
def test_an_archive_that_unpacks_to_over_20_times_its_size_is_refused(tmp_path, monkeypatch, make):
    noise = np.random.RandomState(0).bytes(20000)
    archive = make(tmp_path / 'bomb', [(f'{i}.bmp', noise + bytes(980000)) for i in range(9)])
    monkeypatch.setattr(archives, 'WHOLE_ALLOWANCE', 4000000)
    with pytest.raises(UserError, match='unpacks to more than .* which is 20 times its size and 1 GiB'):
        archives.unpack([archive], str(tmp_path / 'out'))
    with pytest.raises(UserError, match='unpacks to more than 5.0 MB .--max-unpacked'):
        archives.unpack([archive], str(tmp_path / 'out'), max_unpacked=5000000)
    assert archives.unpack([archive], str(tmp_path / 'out'), max_unpacked=10 ** 8) == (9, 0)


def test_a_header_that_unpacks_to_a_bomb_does_not_fill_the_memory(tmp_path):
    info = tarfile.TarInfo('pax')
    info.type, info.size = tarfile.XHDTYPE, 1 << 36
    (tmp_path / 'a.tar').write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(UserError, match='header of 68719476736 bytes'):
        archives.unpack([str(tmp_path / 'a.tar')], str(tmp_path / 'out'))


def test_members_of_one_name_do_not_overwrite_each_other(tmp_path):
    first = make_tar(tmp_path / 'a.tar', [('x/1.jpg', b'one'), ('x/2.jpg', b'two')], 'w')
    second = make_zip(tmp_path / 'b.zip', [('x/1.jpg', b'one'), ('./x//2.jpg', b'other')])
    with pytest.raises(UserError, match="'./x//2.jpg' of '.*b.zip' was unpacked before with another content"):
        archives.unpack([first, second], str(tmp_path / 'out'))
    assert archives.unpack([first, first], str(tmp_path / 'out')) == (2, 0)


def test_an_archive_that_ends_in_another_one_is_read_as_what_it_is(tmp_path):
    inner = make_zip(tmp_path / 'b.zip', [('inner.jpg', b'two')])
    content = (tmp_path / 'b.zip').read_bytes()
    archive = make_tar(tmp_path / 'a.tar', [('1.jpg', b'one'), ('b.zip', content)], 'w')
    assert inner and archives.unpack([archive], str(tmp_path / 'out')) == (1, 1)
    assert files(tmp_path / 'out') == {'1.jpg': b'one'}


def test_unpacking_stops_before_the_disk_is_full(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / 'a.zip', [('1.jpg', b'one')])
    monkeypatch.setattr(archives, '_RESERVE', 1 << 60)
    with pytest.raises(UserError, match='are free for unpacking'):
        archives.unpack([archive], str(tmp_path / 'out'))


def test_a_whole_way_from_archive_to_labelled_data_set(tmp_path, fake_detector, capsys):
    make_tree(tmp_path / 'img_celeba', 14)
    members = [(str(path.relative_to(tmp_path)), path.read_bytes())
               for path in sorted((tmp_path / 'img_celeba').rglob('*.png'))]
    archive = make_zip(tmp_path / 'celeba.zip', members + [('Anno/readme.txt', b'')])
    target = str(tmp_path / 'sets' / 'faces-32')
    command = ['prepare', 'celeba', target, archive, '--size', '32', '--workers', '1', '--labels', 'folders']
    commands.main(command)
    printed = capsys.readouterr().out
    assert 'CelebA has 202599 images, 202585 fewer are here' in printed
    assert 'the paper kept 202281 of 202599' in printed and '2 show no face to the detector' in printed
    assert "the settings are not the paper's" in printed and 'is sound' in printed
    data = load_dataset(tfrecord_dir=target, max_label_size='full')
    assert data.shape == [3, 32, 32] and len(data) == 12 and data.label_size == 3
    with open(os.path.join(target, 'manifest.json')) as f:
        manifest = json.load(f)
    assert manifest['prepared']['prefilter']['kept'] == 12 and manifest['prepared']['kind'] == 'celeba'
    assert manifest['source']['ledger_sha256'] == manifest['prepared']['prefilter']['ledger']['sha256']
    with pytest.raises(UserError, match='exists already'):
        commands.main(command)


def test_prepare_goes_on_where_it_stopped(tmp_path, fake_detector, capsys):
    make_tree(tmp_path / 'photos', 3)
    archive = make_zip(tmp_path / 'a.zip', [(str(path.relative_to(tmp_path)), path.read_bytes())
                                            for path in (tmp_path / 'photos').rglob('*.png')])
    command = ['prepare', 'folder', str(tmp_path / 'set'), archive, '--size', '32', '--workers', '1']
    with pytest.raises(UserError, match='--labels'):
        commands.main(command + ['--label-names', 'x'])
    assert not (tmp_path / 'set-work' / 'faces').exists()  # found wrong before photographs were filtered
    commands.main(command)
    assert 'was unpacked before' in capsys.readouterr().out
    again = ['prepare', 'folder', str(tmp_path / 'set2'), archive, '--work', str(tmp_path / 'set-work'), '--size', '32',
             '--workers', '1']
    os.utime(archive, (1, 1))
    commands.main(again)
    printed = capsys.readouterr().out
    assert 'was unpacked before' in printed and 'this run: 0 files' not in printed
    content = bytearray((tmp_path / 'a.zip').read_bytes())
    content[50] ^= 1
    (tmp_path / 'a.zip').write_bytes(bytes(content))
    again[2] = str(tmp_path / 'set3')
    with pytest.raises(UserError, match='unpacked from other archives'):
        commands.main(again)
    other = make_zip(tmp_path / 'b.zip', [('1.jpg', b'')])
    with pytest.raises(UserError, match='unpacked from other archives'):
        commands.main(again[:3] + [other] + again[4:])


def test_labels_and_lists_are_refused_before_photographs_are_filtered(tmp_path, fake_detector, capsys, monkeypatch):
    make_tree(tmp_path / 'photos', 6)
    table = tmp_path / 'labels.csv'
    table.write_text(''.join(f'photos/class{i % 3}/{i:03}.png,{i % 2}\n' for i in range(5)))
    command = ['prepare', 'folder', str(tmp_path / 'set'), str(tmp_path / 'photos'), '--size', '32', '--workers', '1',
               '--labels', str(table)]
    with pytest.raises(UserError, match='no label for 1 of 6 pictures: class2/005.png'):
        commands.main(command)
    monkeypatch.setattr('data.converters.labels._MOST_BYTES', 50)
    with pytest.raises(UserError, match='3 classes for 6 images would make .* table of a few numbers per image'):
        commands.main(command[:-1] + ['folders'])
    monkeypatch.undo()
    assert not (tmp_path / 'set-work').exists()


def test_lists_choose_photographs_that_are_taken_whole(tmp_path, capsys):
    make_tree(tmp_path / 'photos', 6, size=(40, 40))
    (tmp_path / 'list').write_text('photos/class0/000.png\n')
    commands.main(['prepare', 'folder', str(tmp_path / 'set'), str(tmp_path / 'photos'), '--no-prefilter',
                   '--size', '32', '--exclude-list', str(tmp_path / 'list')])
    assert len(load_dataset(tfrecord_dir=str(tmp_path / 'set'))) == 5
    manifest = json.loads((tmp_path / 'set' / 'manifest.json').read_text())
    assert manifest['left_out'] == {'not_images': 0, 'exclude_list': 1, 'max_images': 0, 'unusable': 0}
    assert manifest['selection']['exclude_list']['rows_matched'] == 1
    commands.main(['info', str(tmp_path / 'set')])
    assert 'left out     1 files (1 exclude list)' in capsys.readouterr().out


def test_photographs_can_be_taken_whole(tmp_path):
    for i in range(3):
        save_photo(tmp_path / 'lfw' / 'person' / f'{i}.png', size=(50, 60), seed=i)
    commands.main(['prepare', 'lfw', str(tmp_path / 'set'), str(tmp_path / 'lfw'), '--no-prefilter', '--size', '16'])
    assert load_dataset(tfrecord_dir=str(tmp_path / 'set')).shape == [3, 16, 16]
    assert not (tmp_path / 'set-work').exists() or not os.listdir(str(tmp_path / 'set-work'))


@pytest.mark.parametrize('options, message', [
    (['--size', '48'], '--size: 48 is not a power of two'),
    (['--no-prefilter', '--margin', '3'], '--margin has no meaning'),
    (['--subfolder', 'absent'], "has no folder 'absent'")])
def test_options_that_make_no_sense_are_refused(tmp_path, options, message):
    save_photo(tmp_path / 'in' / 'a.png')
    with pytest.raises(UserError, match=message):
        commands.main(['prepare', 'lfw', str(tmp_path / 'set'), str(tmp_path / 'in')] + options)


def test_missing_and_ambiguous_sources_are_named(tmp_path):
    with pytest.raises(UserError, match='does not exist .the directory to make comes first'):
        commands.main(['prepare', 'lfw', str(tmp_path / 'set'), str(tmp_path / 'absent')])
    for name in ('img_celeba', 'img_align_celeba'):
        save_photo(tmp_path / 'Img' / name / '000001.png')
    with pytest.raises(UserError, match='several folders of photographs .*--subfolder'):
        commands.main(['prepare', 'celeba', str(tmp_path / 'set'), str(tmp_path)])


def test_counts_that_equal_the_published_ones_need_no_words():
    source = published.SOURCES['casia']
    summary = {'images': 494414, 'kept': 491073, 'kept_of_images': 0.993243, 'settings': ['paper'],
               'reasons': {'face': {'count': 491073}, 'no_face': {'count': 3341}}}
    assert published.explain_source(source, 494414) == ''
    assert published.explain_kept(source, summary).endswith(': equal\n')
    assert published.explain_kept(published.SOURCES['lfw'], summary) == ''
    assert published.explain_source(published.SOURCES['vggface2'], 3311286) == ''
