"""Readers of data sets, labels, archives, pictures and configurations for `make fuzz`; see tests/fuzz.py."""

import contextlib
import gzip
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile

import numpy as np
import PIL.Image

PATHS = ['cat/0001.png', 'cat/0002.png', 'dog/0001.png']


# ---- Good files

def label_tables():
    rows = [(path, path[:3]) for path in PATHS]
    for separator in ',;\t ':
        yield ''.join(f'{path}{separator}{kind}\n' for path, kind in rows).encode()
    yield 'image,a,b\r\n"cat/0001.png",1,2.5\ncat/0002.jpg,0,-1\ndog/0001,3,4\n'.encode('utf-8-sig')
    yield b'3\nSmiling Male\ncat/0001.jpg -1 1\ncat/0002.jpg 1 1\ndog/0001.jpg -1 -1\n'
    yield ('3\nx y\n' + '\n'.join(f'{path} 69 -3' for path in PATHS)).encode('utf-16')


def label_json():
    yield json.dumps({'labels': [[path, number] for number, path in enumerate(PATHS)]}).encode()
    yield json.dumps({'labels': [[path, [0.5, number]] for number, path in enumerate(PATHS)]}).encode()


def lists():
    yield b'# left out\ncat 0001\ndog,0001.png\n/home/x/cat/0002.png\n'
    yield b'image;why\ncat/0001.png;dark\n"dog/0001.png";"none, here"\n'


def label_arrays():
    for array in (np.eye(3, dtype=np.float32), np.zeros([3, 2])):
        stream = io.BytesIO()
        np.save(stream, array)
        yield stream.getvalue()


def pictures():
    image = PIL.Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
    for kind, mode in (('PNG', 'RGB'), ('PNG', 'RGBA'), ('PNG', 'P'), ('PNG', 'I;16'), ('JPEG', 'RGB'),
                       ('JPEG', 'CMYK'), ('GIF', 'P'), ('BMP', 'RGB'), ('TIFF', 'F'), ('TIFF', 'LA'), ('PPM', 'RGB'),
                       ('TGA', 'RGB')):
        stream = io.BytesIO()
        grey = image.convert('L')
        deep = PIL.Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)  # newer releases write no mode I as PNG
        (grey.convert('F') if mode == 'F' else deep if mode == 'I;16' else image.convert(mode)).save(stream, kind)
        yield stream.getvalue()


def archives():
    members = [('set/a/1.jpg', b'one'), ('set/list.txt', b'text'), ('b/2.png', bytes(3000))]
    for mode in ('w', 'w:gz', 'w:bz2', 'w:xz'):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as archive:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        yield stream.getvalue()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, 'w', method) as archive:
            for name, data in members:
                archive.writestr(name, data)
        yield stream.getvalue()


def records():
    from data.records.tfrecord import Encoder
    images = np.arange(3 * 3 * 8 * 8, dtype=np.uint8).reshape(3, 3, 8, 8)
    yield Encoder([3, 8, 8]).encode(images).tobytes()
    yield Encoder([2, 1, 1], 'float32').encode(images[:, :2, :1, :1].astype(np.float32)).tobytes()


def foreign_records():
    from test_import_records import FORMS, PICTURES, frame
    for form in FORMS.values():
        content = b''.join(frame(form(number, picture)) for number, picture in enumerate(PICTURES))
        yield content
        yield gzip.compress(content)


def manifests():
    from data.converters import exporter
    with tempfile.TemporaryDirectory() as folder:
        with exporter.Exporter(os.path.join(folder, 'set'), [1, 4, 4]) as out:
            out.add(exporter.encode(np.zeros([2, 1, 4, 4], np.uint8)))
            out.set_labels(np.eye(2), ['a', 'b'])
            out.describe(skipped=[], arguments={'a': 1}, left_out={'unusable': 2})
        with open(os.path.join(folder, 'set', 'manifest.json'), 'rb') as f:
            yield f.read()


def ledgers():
    from data import ledger
    rows = [ledger.COLUMNS,
            ledger.row('a.jpg', ledger.KEPT, 'face', output='a.png', num_faces=1, x0=1, y0=2, x1=30, y1=40, score=0.9,
                       settings='size=32', boxes=[[1, 2, 3, 4]], scores=[0.9]),
            ledger.row('b.jpg', ledger.REJECTED, 'no_face')]
    yield ledger.to_text(rows).encode()


def configurations():
    yield b'extends: demo\ntrain: {total_kimg: 5, mirror_augment: true}\nsched: {minibatch_dict: {4: 8, 64: 16}}\n'
    yield b'"G.fmap_base=0x400": [1]\n"sched.minibatch_dict.64=16": 2\n"a=[x, {b: 1e3}]": null\n'
    yield b'G: {fmap_base: 1024, blur_filter: [1, 2, 1]}\nseed: 3\nmetrics: [{func_name: x, num_images: 50}]\n'


# ---- Readers

def read_labels(path):
    from data.converters.labels import Labels
    made = Labels(path, PATHS, folder='/data')
    assert made.values.shape == (len(made.paths), len(made.names)) and np.isfinite(made.values).all()


def read_list(path):
    from data.lists import ImageList
    listed = ImageList(path)
    listed.survey('/data', PATHS)
    assert {name in listed for name in PATHS} <= {False, True} and listed.describe('list')


def read_label_array(path):
    from data.records.label_files import load_labels
    load_labels(os.path.dirname(path), path, 'full', 3)


def read_picture(path):
    """Both decoders; a BadImage or Unusable is a refusal."""
    from data.images import BadImage, open_image, read_pixels
    from data.prefilter.decode import Unusable, decode, read_file
    from dnnlib.util import UserError
    problem = None
    try:
        array = np.asarray(read_pixels(open_image(path), 'rgb', (255, 255, 255)))
        assert array.ndim == 3 and array.shape[2] == 3
    except BadImage as err:
        problem = err
    try:
        assert decode(read_file(path)[0], 10 ** 7).pixels.ndim == 3
    except Unusable as err:
        problem = problem or err
    if problem is not None:
        raise UserError(f'the picture {problem}')


def unpack(path):
    from data.converters import archives as unpacking
    target = path + '-unpacked'
    try:
        unpacking.unpack([path], target)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def read_records(path):
    from data.records.tfrecord import RecordFile
    file = RecordFile(path)
    for start in range(0, len(file), 100):
        file.read_batch(range(start, min(start + 100, len(file))))


def import_records(path):
    from data.records.foreign import find_picture, read_records
    from data.records.tfrecord import Malformed
    from dnnlib.util import UserError
    for payload in read_records(path):
        try:
            find_picture(payload)
        except Malformed as err:
            raise UserError(f'the record {err}') from None


def read_manifest(path):
    from data.records.manifest import read_manifest as read
    with in_a_folder(path, 'manifest.json') as folder:
        read(folder)


def read_ledger(path):
    from data import ledger
    from data.prefilter import limits, settings, summary
    summary.to_text(summary.summarize(ledger.read(path)))
    for align in (None, 'ffhq'):
        now = settings.Settings('in', 'out', align=align, min_crop=30, min_score=0.9)
        for item in ledger.read(path):
            assert limits.apart(item.settings) == limits.apart(limits.apart(item.settings))
            judged = limits.judge_again(item, now)
            assert judged is None or judged.settings == str(now)


def digits():
    pixels = np.arange(2 * 28 * 28).astype(np.uint8).tobytes()
    head = bytes([0, 0, 8, 3]) + b''.join(size.to_bytes(4, 'big') for size in (2, 28, 28))
    yield head + pixels
    yield gzip.compress(head + pixels, 1)


def read_digits(path):
    from data.converters.create_small import _mnist_images
    with in_a_folder(path, 'train-images-idx3-ubyte') as folder:
        plain = os.path.join(folder, 'train-images-idx3-ubyte')
        with open(plain, 'rb') as file:
            is_packed = file.read(1) == b'\x1f'
        if is_packed:
            os.replace(plain, plain + '.gz')
        assert _mnist_images(folder, 1 << 24).shape[1:] == (1, 32, 32)


def matlab_files():
    import scipy.io
    for packed in (False, True):
        stream = io.BytesIO()
        scipy.io.savemat(stream, {'X': np.arange(32 * 32 * 3 * 2).reshape(32, 32, 3, 2).astype(np.uint8),
                                  'y': np.array([[1], [10]], np.uint8)}, do_compression=packed)
        yield stream.getvalue()


def read_matlab_file(path):
    from data.converters.create_small import _read_svhn_mat
    _read_svhn_mat(path, 1 << 24)


def statistics():
    stream = io.BytesIO()
    facts = dict(format=1, name='x', fingerprint='f', num_images=5, mirror_augment=False, weights_sha256='w',
                 features='stand-ins', is_standin=True)
    from metrics.arithmetic import MeanCovariance
    found = MeanCovariance(3)
    found.add(np.random.RandomState(0).randn(5, 3))
    np.savez(stream, facts=json.dumps(facts, sort_keys=True), **found.state())
    yield stream.getvalue()


def read_statistics(path):
    from metrics.sets.sources import Statistics
    found = Statistics(path)
    assert found.values.covariance.shape == (found.values.mean.size,) * 2 and found.as_reals()


@contextlib.contextmanager
def in_a_folder(path, name):
    """A folder of its own for a file, under this name."""
    folder = path + '-folder'
    os.makedirs(folder, exist_ok=True)
    os.replace(path, os.path.join(folder, name))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_configuration(path):
    from dnnlib.config_files import parse_overrides, parse_yaml
    from dnnlib.util import UserError
    with open(path, 'rb') as f:
        text = f.read().decode('utf-8', 'replace')
    with contextlib.suppress(UserError):
        parse_overrides([line.strip() for line in text.splitlines() if '=' in line]
                        + ['train.total_kimg=' + text[:200].replace('\n', ' ')])
    parse_yaml(text, path)


READERS = {
    'label tables': (label_tables, read_labels, '.csv'),
    'dataset.json': (label_json, read_labels, '.json'),
    'image lists': (lists, read_list, '.txt'),
    'label arrays': (label_arrays, read_label_array, '.npy'),
    'pictures': (pictures, read_picture, '.img'),
    'archives': (archives, unpack, '.bin'),
    'records': (records, read_records, '.tfrecords'),
    'foreign records': (foreign_records, import_records, '.tfrecords'),
    'manifests': (manifests, read_manifest, '.json'),
    'ledgers': (ledgers, read_ledger, '.csv'),
    'configurations': (configurations, read_configuration, '.yaml'),
    'MNIST files': (digits, read_digits, '.bin'),
    'MATLAB files': (matlab_files, read_matlab_file, '.mat'),
    'statistics': (statistics, read_statistics, '.npz'),
}
