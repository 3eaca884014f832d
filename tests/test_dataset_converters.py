"""Converters of published data sets, on miniature files in each source's own format."""

import gzip
import io
import json
import pickle
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import pytest

from data.commands import main
from data.records.dataset import TFRecordDataset
from dnnlib.util import UserError

RNG = np.random.RandomState(7)


def order(count):
    """The converters' shuffled order, computed anew."""
    numbers = np.arange(count)
    np.random.RandomState(123).shuffle(numbers)
    return numbers


def everything(folder):
    """All images and labels of a data set in record order, and its label names."""
    dataset = TFRecordDataset(str(folder), max_label_size='full' if list(folder.glob('*.labels')) else 0)
    images, labels = dataset.get_samples_np(range(len(dataset)))
    main(['verify', str(folder)])
    return images, labels, dataset.label_names


def dump(path, content, protocol=2):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


# ---- MNIST

def idx(array):
    sizes = b''.join(size.to_bytes(4, 'big') for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    folder = tmp_path / 'mnist'
    folder.mkdir()
    digits = RNG.randint(256, size=[30, 28, 28]).astype(np.uint8)
    classes = RNG.randint(10, size=30).astype(np.uint8)
    (folder / 'train-images-idx3-ubyte.gz').write_bytes(gzip.compress(idx(digits)))
    (folder / 'train-labels-idx1-ubyte.gz').write_bytes(gzip.compress(idx(classes)))
    return folder, digits, classes


def test_mnist_is_padded_shuffled_and_labelled(tmp_path, mnist, capsys):
    folder, digits, classes = mnist
    main(['create_mnist', str(tmp_path / 'out'), str(folder)])
    images, labels, names = everything(tmp_path / 'out')
    expected = np.zeros([30, 1, 32, 32], np.uint8)
    expected[:, 0, 2:30, 2:30] = digits[order(30)]
    np.testing.assert_array_equal(images, expected)
    assert labels.argmax(axis=1).tolist() == classes[order(30)].tolist() and (labels.sum(axis=1) == 1).all()
    assert names == list('0123456789')
    assert '30 images, the complete training set has 60000' in capsys.readouterr().err


def test_mnistrgb_stacks_three_random_digits(tmp_path, mnist):
    folder, digits, _ = mnist
    main(['create_mnistrgb', str(tmp_path / 'out'), str(folder), '--num_images', '600'])
    images, labels, _ = everything(tmp_path / 'out')
    rng = np.random.RandomState(123)
    for image in images:
        np.testing.assert_array_equal(image[:, 2:30, 2:30], digits[rng.randint(30, size=3)])
    assert images.shape == (600, 3, 32, 32) and labels.shape == (600, 0)


def test_damaged_mnist_files_are_refused(tmp_path, mnist):
    folder, digits, _ = mnist
    path = folder / 'train-images-idx3-ubyte.gz'
    whole = path.read_bytes()
    for content, problem in ((whole[:-50], 'cannot read'), (gzip.compress(idx(digits)[:-1]), 'cut off'),
                             (gzip.compress(idx(digits[0])), 'not an MNIST file'), (b'text', 'cannot read'),
                             (gzip.compress(idx(digits[:, :27])), '27x28'),
                             (gzip.compress(bytes([0, 0, 8, 3]) + b'\xff' * 12), 'unpacks to more than')):
        path.write_bytes(content)
        with pytest.raises(UserError, match=problem):
            main(['create_mnist', str(tmp_path / 'out'), str(folder)])
    path.unlink()
    with pytest.raises(UserError, match='train-images-idx3-ubyte'):
        main(['create_mnist', str(tmp_path / 'out'), str(folder)])
    assert not (tmp_path / 'out').exists()


# ---- CIFAR, SVHN

def test_cifar10_reads_its_five_batches(tmp_path):
    rows = RNG.randint(256, size=[5, 4, 3072]).astype(np.uint8)
    classes = RNG.randint(10, size=[5, 4])
    for number in range(5):
        dump(tmp_path / 'cifar' / f'data_batch_{number + 1}',
             {'data': rows[number], 'labels': classes[number].tolist(), 'filenames': ['x.png'] * 4})
    dump(tmp_path / 'cifar' / 'batches.meta', {'label_names': [f'kind {i}' for i in range(10)], 'num_vis': 3072})
    main(['create_cifar10', str(tmp_path / 'out'), str(tmp_path / 'cifar')])
    images, labels, names = everything(tmp_path / 'out')
    np.testing.assert_array_equal(images, rows.reshape(20, 3, 32, 32)[order(20)])
    assert labels.argmax(axis=1).tolist() == classes.reshape(-1)[order(20)].tolist() and names[3] == 'kind 3'


def test_cifar100_takes_the_fine_labels(tmp_path):
    rows = RNG.randint(256, size=[12, 3072]).astype(np.uint8)
    classes = RNG.randint(100, size=12).tolist()
    dump(tmp_path / 'cifar' / 'train', {'data': rows, 'fine_labels': classes, 'coarse_labels': [0] * 12})
    main(['create_cifar100', str(tmp_path / 'out'), str(tmp_path / 'cifar')])
    images, labels, names = everything(tmp_path / 'out')
    np.testing.assert_array_equal(images, rows.reshape(12, 3, 32, 32)[order(12)])
    assert labels.shape == (12, 100) and names[42] == '42'
    assert labels.argmax(axis=1).tolist() == np.array(classes)[order(12)].tolist()


@pytest.mark.parametrize('form', ['pickles', 'matlab'])
def test_svhn_is_read_in_both_forms(tmp_path, form):
    images = RNG.randint(256, size=[9, 3, 32, 32]).astype(np.uint8)
    classes = np.array([0, 1, 2, 3, 4, 5, 9, 0, 7], np.uint8)
    if form == 'pickles':
        for number in range(3):
            part = slice(3 * number, 3 * number + 3)
            dump(tmp_path / 'svhn' / f'train_{number + 1}.pkl', (images[part], classes[part]))
    else:
        import scipy.io
        (tmp_path / 'svhn').mkdir()
        scipy.io.savemat(str(tmp_path / 'svhn' / 'train_32x32.mat'),
                         {'X': images.transpose(2, 3, 1, 0), 'y': np.where(classes == 0, 10, classes).reshape(-1, 1)})
    main(['create_svhn', str(tmp_path / 'out'), str(tmp_path / 'svhn')])
    got, labels, _ = everything(tmp_path / 'out')
    np.testing.assert_array_equal(got, images[order(9)])
    assert labels.argmax(axis=1).tolist() == classes[order(9)].tolist()


def test_small_files_that_unpack_to_much_are_refused(tmp_path, mnist, monkeypatch):
    import scipy.io
    monkeypatch.setattr('data.converters.archives.WHOLE_ALLOWANCE', 1 << 20)
    (tmp_path / 'svhn').mkdir()
    path = str(tmp_path / 'svhn' / 'train_32x32.mat')
    scipy.io.savemat(path, {'X': np.zeros([32, 32, 3, 2000], np.uint8), 'y': np.ones([2000, 1], np.uint8)},
                     do_compression=True)
    with pytest.raises(UserError, match='train_32x32.mat.* unpacks to more than 1.* MB.*--max-unpacked'):
        main(['create_svhn', str(tmp_path / 'out'), str(tmp_path / 'svhn')])
    main(['create_svhn', str(tmp_path / 'out'), str(tmp_path / 'svhn'), '--max-unpacked', '10M'])
    assert everything(tmp_path / 'out')[0].shape == (2000, 3, 32, 32)
    scipy.io.savemat(path, {'X': np.zeros([2, 2])}, format='4')
    with pytest.raises(UserError, match='not a file of MATLAB 5'):
        main(['create_svhn', str(tmp_path / 'out2'), str(tmp_path / 'svhn')])
    folder = mnist[0]
    (folder / 'train-images-idx3-ubyte.gz').write_bytes(gzip.compress(idx(np.zeros([3000, 28, 28], np.uint8))))
    for command in ('create_mnist', 'create_mnistrgb'):
        with pytest.raises(UserError, match='unpacks to more than'):
            main([command, str(tmp_path / 'out2'), str(folder)])
    assert not (tmp_path / 'out2').exists()


@pytest.mark.parametrize('content, meta, problem', [
    ({'data': [[0] * 3072] * 2000, 'fine_labels': [0] * 2000}, None, 'repeats its values'),
    ({'data': np.zeros([1, 3072], np.uint8), 'fine_labels': [[0] * 4000] * 4000}, None, 'repeats its values'),
    ({'data': [[0] * 3072 for _ in range(2)], 'fine_labels': [0, 0]}, None, "no 2-dimensional .* under 'data'"),
    ({'data': np.zeros([1, 3072], np.uint8), 'fine_labels': [2 ** 70]}, None, "under 'fine_labels'"),
    ({'data': np.zeros([1, 3072], np.uint8), 'fine_labels': [0]}, [['name']] * 100, 'no list of 100 names')])
def test_repeated_rows_of_a_small_pickle_do_not_fill_the_memory(tmp_path, content, meta, problem):
    dump(tmp_path / 'cifar' / 'train', content)
    if meta is not None:
        dump(tmp_path / 'cifar' / 'meta', {'fine_label_names': meta})
    with pytest.raises(UserError, match=problem):
        main(['create_cifar100', str(tmp_path / 'out'), str(tmp_path / 'cifar')])
    assert not (tmp_path / 'out').exists()


def test_damaged_matlab_files_are_refused(tmp_path):
    import scipy.io
    path = tmp_path / 'svhn' / 'train_32x32.mat'
    path.parent.mkdir()
    pixels = np.zeros([32, 32, 3, 2], np.uint8)
    for content, problem in (({'X': pixels}, '2 images but labels'), ({'y': [[1], [2]]}, 'no images X'),
                             ({'X': pixels, 'y': [[1], [2.5]]}, 'no images X and labels y'),
                             ({'X': pixels, 'y': [[1], [11]]}, 'labels from 1 to 11'),
                             ({'X': 'text', 'y': [[1], [2]]}, 'no images X')):
        scipy.io.savemat(str(path), content, do_compression=True)
        with pytest.raises(UserError, match=problem):
            main(['create_svhn', str(tmp_path / 'out'), str(path.parent)])
    for do_compression in (False, True):
        scipy.io.savemat(str(path), {'X': pixels, 'y': [[1], [2]]}, do_compression=do_compression)
        whole = path.read_bytes()
        for length in (130, len(whole) * 3 // 4, len(whole) - 3):
            path.write_bytes(whole[:length])
            with pytest.raises(UserError, match='train_32x32.mat. is damaged'):
                main(['create_svhn', str(tmp_path / 'out'), str(path.parent)])
    assert not (tmp_path / 'out').exists()


class Exploit:
    def __reduce__(self):
        return (print, ('executed',))


@pytest.mark.parametrize('content, problem', [
    (Exploit(), 'train'), ({'fine_labels': [1]}, "under 'data'"), ({'data': np.zeros([1, 5], np.uint8)}, 'rows of 5'),
    ({'data': np.zeros([1, 3072], np.uint8), 'fine_labels': [100]}, 'beyond 0 to 99'),
    ({'data': np.zeros([2, 3072], np.uint8), 'fine_labels': [1]}, '2 images but labels of shape'),
    ({'data': np.zeros([1, 3072], np.float32), 'fine_labels': [1]}, "under 'data'"), ([1, 2], "under 'data'"),
])
def test_pickles_of_another_content_are_refused_and_never_executed(tmp_path, capsys, content, problem):
    dump(tmp_path / 'cifar' / 'train', content)
    with pytest.raises(UserError, match=problem):
        main(['create_cifar100', str(tmp_path / 'out'), str(tmp_path / 'cifar')])
    assert 'executed' not in capsys.readouterr().out and not (tmp_path / 'out').exists()


# ---- LSUN

def picture(width, height, seed, mode='RGB'):
    rng = np.random.RandomState(seed)
    return PIL.Image.fromarray(rng.randint(256, size=(height, width, 3)).astype(np.uint8)).convert(mode)


def encoded(image, kind='PNG'):
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def make_lmdb(folder, entries):
    """Written by another process, since LMDB allows a database to be opened once in a process."""
    lmdb = pytest.importorskip('lmdb')
    script = ('import lmdb, pickle, sys\n'
              f'with lmdb.open({str(folder)!r}, map_size=1 << 26) as env, env.begin(write=True) as txn:\n'
              '    [txn.put(key, value) for key, value in pickle.load(sys.stdin.buffer)]')
    assert lmdb
    subprocess.run([sys.executable, '-c', script], input=pickle.dumps(entries), check=True)


def test_lsun_takes_central_squares_in_key_order(tmp_path, monkeypatch):
    monkeypatch.setattr('data.converters.loading._CHUNK_BYTES', 3 * 3 * 16 * 16)
    sources = [picture(30 + 3 * i, 50 - 2 * i, i) for i in range(8)]
    entries = [(f'key{i}'.encode(), encoded(source)) for i, source in enumerate(sources)]
    entries[2] = (b'key2', b'no image')
    make_lmdb(tmp_path / 'lmdb', entries[::-1])
    main(['create_lsun', str(tmp_path / 'out'), str(tmp_path / 'lmdb'), '--resolution', '16', '--workers', '1'])
    images, _, _ = everything(tmp_path / 'out')
    assert len(images) == 7
    for image, source in zip(images, sources[:2] + sources[3:]):
        array = np.asarray(source)
        side = min(array.shape[:2])
        top, left = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
        square = PIL.Image.fromarray(array[top:top + side, left:left + side])
        np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(square.resize((16, 16), PIL.Image.LANCZOS)))
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert [entry['file'] for entry in manifest['skipped']] == ['key2'] and manifest['damaged'] == 1
    monkeypatch.setattr('data.converters.loading._SERIAL', 0)
    main(['create_lsun', str(tmp_path / 'few'), str(tmp_path / 'lmdb'), '--resolution', '16', '--max_images', '4',
          '--workers', '2'])
    np.testing.assert_array_equal(everything(tmp_path / 'few')[0], images[:4])


def test_lsun_wide_keeps_wide_images_between_black_bands(tmp_path):
    sources = [picture(60, 45, 0), picture(40, 20, 1), picture(31, 31, 2), picture(70, 35, 3), picture(33, 25, 4, 'L')]
    make_lmdb(tmp_path / 'lmdb', [(f'{i}'.encode(), encoded(source)) for i, source in enumerate(sources)])
    main(['create_lsun_wide', str(tmp_path / 'out'), str(tmp_path / 'lmdb'), '--width', '32', '--height', '24',
          '--workers', '1'])
    images, _, _ = everything(tmp_path / 'out')
    assert len(images) == 2  # the second and fourth are too flat, the third is too narrow
    for image, source in zip(images, [sources[0], sources[4].convert('RGB')]):
        array = np.asarray(source)
        height, width = array.shape[:2]
        rows = int(np.round(32 * height / width))
        part = PIL.Image.fromarray(array[(height - rows) // 2:(height + rows) // 2])
        assert (image[:, :4] == 0).all() and (image[:, 28:] == 0).all()
        np.testing.assert_array_equal(image[:, 4:28].transpose(1, 2, 0),
                                      np.asarray(part.resize((32, 24), PIL.Image.LANCZOS)))
    assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['too_small'] == 3


def test_a_database_that_is_cut_off_is_refused_and_its_big_pictures_are_left_out(tmp_path):
    blank = encoded(PIL.Image.new('1', (11000, 10000)))     # 110 million pixels in a few kilobytes
    entries = [(b'%03d' % i, encoded(picture(40, 40, i))) for i in range(40)]
    make_lmdb(tmp_path / 'lsun', entries[:1] + [(b'100', blank)])
    main(['create_lsun', str(tmp_path / 'out'), str(tmp_path / 'lsun'), '--resolution', '16', '--workers', '1'])
    assert len(everything(tmp_path / 'out')[0]) == 1
    assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['skipped'] == [{
        'file': '100', 'reason': 'has 11000x10000 pixels, over the limit of 100 million'}]
    make_lmdb(tmp_path / 'cut', entries)
    path = tmp_path / 'cut' / 'data.mdb'
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    with pytest.raises(UserError, match='data.mdb. is cut off: it has .* unpack or download it again'):
        main(['create_lsun', str(tmp_path / 'out2'), str(tmp_path / 'cut'), '--resolution', '16', '--workers', '1'])
    assert not (tmp_path / 'out2').exists()


def test_a_damaged_database_is_refused(tmp_path):
    make_lmdb(tmp_path / 'lsun', [(b'%03d' % i, encoded(picture(20, 20, i))) for i in range(40)])
    path = tmp_path / 'lsun' / 'data.mdb'
    data = bytearray(path.read_bytes())
    leaves = [at for at in range(2 * 4096, len(data), 4096) if data[at + 10] == 2]
    for at in leaves:
        data[at + 10] = 4   # now a page of another kind
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match='damaged'):
        main(['create_lsun', str(tmp_path / 'out'), str(tmp_path / 'lsun'), '--resolution', '16', '--workers', '1'])
    assert leaves and not (tmp_path / 'out').exists()


def test_a_folder_without_a_database_is_refused(tmp_path):
    with pytest.raises(UserError, match='holds no LMDB database'):
        main(['create_lsun', str(tmp_path / 'out'), str(tmp_path)])


# ---- CelebA

@pytest.fixture
def celeba(tmp_path):
    folder = tmp_path / 'celeba' / 'img_align_celeba_png'
    folder.mkdir(parents=True)
    pictures = [picture(178, 218, seed) for seed in range(6)]
    for number, image in enumerate(pictures, 1):
        image.save(str(folder / f'{number:06d}.png'), compress_level=0)
    return folder, [np.asarray(image) for image in pictures]


def test_celeba_is_cropped_around_its_centre_and_shuffled(tmp_path, celeba, capsys):
    folder, pictures = celeba
    main(['create_celeba', str(tmp_path / 'out'), str(folder.parent), '--workers', '1'])
    images, _, _ = everything(tmp_path / 'out')
    for image, number in zip(images, order(6)):
        np.testing.assert_array_equal(image.transpose(1, 2, 0), pictures[number][121 - 64:121 + 64, 89 - 64:89 + 64])
    assert 'the complete training set has 202599' in capsys.readouterr().err


def test_celeba_takes_attributes_and_lists(tmp_path, celeba):
    folder, _ = celeba
    rows = [f'{i:06d}.jpg {1 if i % 2 else -1} {-1 if i == 3 else 1}' for i in range(1, 7)]
    (tmp_path / 'list_attr_celeba.txt').write_text('6\nSmiling Male\n' + '\n'.join(rows) + '\n')
    (tmp_path / 'clean.txt').write_text('1 000001.jpg\n2 000003.jpg\n1 000006.jpg\n')
    main(['create_celeba', str(tmp_path / 'out'), str(folder.parent), '--workers', '1',
          '--labels', str(tmp_path / 'list_attr_celeba.txt'), '--include-list', str(tmp_path / 'clean.txt')])
    _, labels, names = everything(tmp_path / 'out')
    np.testing.assert_array_equal(labels, np.array([[1, 1], [1, 0], [0, 1]])[order(3)])
    assert names == ['Smiling', 'Male']


def test_celeba_images_of_another_size_and_crops_outside_are_refused(tmp_path, celeba):
    folder, _ = celeba
    with pytest.raises(UserError, match='--cx 60 --cy 121 puts the crop outside'):
        main(['create_celeba', str(tmp_path / 'out'), str(folder.parent), '--cx', '60'])
    picture(100, 100, 0).save(str(folder / '000007.png'))
    with pytest.raises(UserError, match='1 of 7 images .*000007.png is 100x100 where 178x218'):
        main(['create_celeba', str(tmp_path / 'out'), str(folder.parent), '--workers', '1'])
    with pytest.raises(UserError, match="has no folder 'img_align_celeba_png'"):
        main(['create_celeba', str(tmp_path / 'out'), str(folder)])


# ---- HDF5

@pytest.mark.parametrize('shuffle', ['1', '0'])
def test_hdf5_takes_the_largest_array_and_the_labels_beside_it(tmp_path, shuffle):
    h5py = pytest.importorskip('h5py')
    large = RNG.randint(256, size=[7, 3, 16, 16]).astype(np.uint8)
    labels = RNG.randn(7, 5).astype(np.float32)
    with h5py.File(str(tmp_path / 'faces.h5'), 'w') as file:
        file['data8x8'] = large[:, :, ::2, ::2]
        file['data16x16'] = large
        file['other32'] = np.zeros([7, 3, 32, 32], np.uint8)
    np.save(str(tmp_path / 'faces-labels.npy'), labels)
    main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'faces.h5'), '--shuffle', shuffle])
    images, got, _ = everything(tmp_path / 'out')
    expected = order(7) if shuffle == '1' else np.arange(7)
    np.testing.assert_array_equal(images, large[expected])
    np.testing.assert_array_equal(got, labels[expected])


def test_of_hdf5_arrays_of_one_size_one_has_to_be_chosen(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(str(tmp_path / 'a.h5'), 'w') as file:
        for number, name in enumerate(('data', 'data_val', 'images')):
            file[name] = np.full([2, 3, 16, 16], number, np.uint8)
    command = ['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5')]
    with pytest.raises(UserError, match='several arrays of 16 pixels .data, data_val.; choose one with --array'):
        main(command)
    with pytest.raises(UserError, match="no array 'x' of four dimensions; it has data, data_val"):
        main(command + ['--array', 'x'])
    main(command + ['--array', 'images'])
    assert (everything(tmp_path / 'out')[0] == 2).all()


def test_an_hdf5_array_that_unpacks_to_a_bomb_is_refused(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(str(tmp_path / 'a.h5'), 'w') as file:
        file.create_dataset('data', [10 ** 6, 3, 32, 32], np.uint8, chunks=(1, 3, 32, 32))  # of nothing but its default
    with pytest.raises(UserError, match='a.h5. unpacks to more than .* --max-unpacked'):
        main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5')])


def test_a_chunk_of_an_hdf5_array_that_unpacks_to_a_bomb_is_refused(tmp_path, monkeypatch):
    h5py = pytest.importorskip('h5py')
    monkeypatch.setattr('data.converters.archives.WHOLE_ALLOWANCE', 1 << 20)
    with h5py.File(str(tmp_path / 'a.h5'), 'w') as file:
        data = file.create_dataset('data', [1, 3, 32, 32], np.uint8, chunks=(4000, 3, 32, 32), compression='gzip',
                                   maxshape=(None, 3, 32, 32))
        data.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(4000 * 3 * 32 * 32)))
    with pytest.raises(UserError, match='a.h5. unpacks to more than .* --max-unpacked'):
        main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5')])
    main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5'), '--max-unpacked', '20M'])
    assert (everything(tmp_path / 'out')[0] == 0).all()


def test_hdf5_arrays_whose_values_lie_in_other_files_are_refused(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(str(tmp_path / 'a.h5'), 'w') as file:
        file['data1'] = h5py.SoftLink('/nowhere')
        file['data2'] = h5py.ExternalLink('absent.h5', '/data')
        file.create_dataset('data3', [4, 3, 32, 32], np.uint8, external=[('/dev/zero', 0, h5py.h5f.UNLIMITED)])
    with pytest.raises(UserError, match='the values of /data3 lie in other files'):
        main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5')])
    assert not (tmp_path / 'out').exists()


def test_hdf5_labels_that_are_no_numbers_are_refused(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(str(tmp_path / 'a.h5'), 'w') as file:
        file['data'] = np.zeros([2, 3, 16, 16], np.uint8)
    for value in (np.nan, np.inf, 1e39):
        np.save(str(tmp_path / 'a-labels.npy'), np.array([[1, 2], [3, value]]))
        with pytest.raises(UserError, match='component 1 of image .* finite numbers are expected'):
            main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5')])
    assert not (tmp_path / 'out').exists()


def test_svhn_labels_beyond_its_digits_are_refused(tmp_path):
    import scipy.io
    (tmp_path / 'svhn').mkdir()
    for wrong in (0, 11):
        scipy.io.savemat(str(tmp_path / 'svhn' / 'train_32x32.mat'),
                         {'X': np.zeros([32, 32, 3, 2], np.uint8), 'y': np.array([[1], [wrong]], np.uint8)})
        with pytest.raises(UserError, match=f'labels from {min(1, wrong)} to {max(1, wrong)}; 1 to 10 are expected'):
            main(['create_svhn', str(tmp_path / 'out'), str(tmp_path / 'svhn')])


def test_a_damaged_hdf5_file_is_refused(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(str(tmp_path / 'a.h5'), 'w') as file:
        file['data'] = np.zeros([2, 3, 16, 16], np.uint8)
    data = (tmp_path / 'a.h5').read_bytes()
    for signature in (b'SNOD', b'TREE'):
        assert signature in data
        (tmp_path / 'a.h5').write_bytes(data.replace(signature, b'snob'))
        with pytest.raises(UserError, match='a.h5. is damaged'):
            main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5')])
    assert [path.name for path in tmp_path.iterdir()] == ['a.h5']


def test_hdf5_files_of_another_content_are_refused(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(str(tmp_path / 'a.h5'), 'w') as file:
        file['data'] = np.zeros([2, 3, 12, 12], np.uint8)
    with pytest.raises(UserError, match=r'\[2, 3, 12, 12\] uint8; uint8 pictures'):
        main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'a.h5')])
    with h5py.File(str(tmp_path / 'b.h5'), 'w') as file:
        file['images'] = np.zeros([2, 3, 16, 16], np.uint8)
    with pytest.raises(UserError, match='no array data'):
        main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'b.h5')])
    (tmp_path / 'c.h5').write_text('text')
    with pytest.raises(UserError, match='c.h5. cannot be opened: .* an HDF5 file is expected'):
        main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'c.h5')])
    with h5py.File(str(tmp_path / 'd.h5'), 'w') as file:
        file['data'] = np.zeros([2, 3, 16, 16], np.uint8)
    np.save(str(tmp_path / 'd-labels.npy'), np.zeros([3, 2]))
    with pytest.raises(UserError, match=r'\[3, 2\] float64; numbers \[2, components\]'):
        main(['create_from_hdf5', str(tmp_path / 'out'), str(tmp_path / 'd.h5')])
