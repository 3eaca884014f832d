"""Records that other tools wrote: named when they are met as a data set, and turned into one."""

import gzip
import io

import numpy as np
import PIL.Image
import pytest

from data.commands import main
from data.records.dataset import TFRecordDataset
from data.records.tfrecord import _feature, _field, _varint, frame
from dnnlib.util import UserError

RNG = np.random.RandomState(3)
PICTURES = RNG.randint(256, size=[5, 8, 8, 3]).astype(np.uint8)  # [N, H, W, C]


def example(**features):
    """A serialized Example of bytes and of ints."""
    def entry(name, value):
        if isinstance(value, bytes):
            return _feature(name, 1, value)
        if isinstance(value, float):
            return _field(1, _field(1, name.encode()) + _field(2, _field(2, _field(1, np.float32(value).tobytes()))))
        return _feature(name, 3, b''.join(_varint(number) for number in value))

    return _field(1, b''.join(entry(name.replace('__', '/'), value) for name, value in features.items()))


def encoded(picture, kind='PNG'):
    stream = io.BytesIO()
    PIL.Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


def write(path, examples):
    path.write_bytes(b''.join(frame(payload) for payload in examples))
    return str(path)


FORMS = {
    'png': lambda i, x: example(image__encoded=encoded(x), image__class__label=[i % 3]),
    'raw hwc': lambda i, x: example(image_raw=x.tobytes(), height=[8], width=[8], depth=[3], label=[i % 3]),
    'raw shape': lambda i, x: example(data=x.tobytes(), shape=[8, 8, 3], label=[i % 3]),
    'raw chw': lambda i, x: example(image=x.transpose(2, 0, 1).tobytes(), shape=[3, 8, 8], label=[i % 3]),
}


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('is_compressed', [False, True])
def test_records_of_other_forms_become_a_data_set(tmp_path, form, is_compressed):
    path = write(tmp_path / 'x.tfrecords', [FORMS[form](i, picture) for i, picture in enumerate(PICTURES)])
    if is_compressed:
        content = (tmp_path / 'x.tfrecords').read_bytes()
        (tmp_path / 'x.tfrecords').write_bytes(gzip.compress(content))
    main(['import', str(tmp_path / 'set'), path])
    dataset = TFRecordDataset(str(tmp_path / 'set'), max_label_size='full')
    images, labels = dataset.get_samples_np(range(5))
    np.testing.assert_array_equal(images, PICTURES.transpose(0, 3, 1, 2))
    assert labels.argmax(axis=1).tolist() == [0, 1, 2, 0, 1] and dataset.levels == [0, 1]
    main(['verify', str(tmp_path / 'set')])


@pytest.mark.parametrize('features, words', [
    (dict(label=[1], fine_label=[2]), 'record 0 has several classes, fine_label 2, label 1'),
    (dict(mask=PICTURES[1].tobytes()), 'record 0 holds several arrays that could be the picture')])
def test_records_of_which_the_order_of_features_would_decide_are_refused(tmp_path, features, words):
    path = write(tmp_path / 'x', [example(data=PICTURES[0].tobytes(), shape=[8, 8, 3], **features)])
    with pytest.raises(UserError, match=words):
        main(['import', str(tmp_path / 'set'), path])
    same = write(tmp_path / 'y', [example(data=PICTURES[0].tobytes(), shape=[8, 8, 3], label=[1], class_id=[1])])
    main(['import', str(tmp_path / 'set'), same])
    assert TFRecordDataset(str(tmp_path / 'set'), max_label_size='full').get_samples_np([0])[1].tolist() == [[0, 1]]
    with pytest.raises(UserError, match='named twice'):
        main(['import', str(tmp_path / 'other'), same, str(tmp_path / '..' / tmp_path.name / 'y')])


def test_a_single_level_and_grey_pictures_are_taken(tmp_path):
    write(tmp_path / 'x.tfrecords', [example(data=PICTURES[0].transpose(2, 0, 1).tobytes(), shape=[3, 8, 8])])
    with pytest.raises(UserError, match='lacks the 4x4 level'):
        TFRecordDataset(str(tmp_path))
    main(['import', str(tmp_path / 'set'), str(tmp_path / 'x.tfrecords')])
    assert TFRecordDataset(str(tmp_path / 'set')).levels == [0, 1]
    grey = write(tmp_path / 'grey', [example(jpeg=encoded(PICTURES[0][:, :, 0], 'JPEG'), note=1.5)])
    main(['import', str(tmp_path / 'grey-set'), grey, '--resize', '16'])
    assert TFRecordDataset(str(tmp_path / 'grey-set')).shape == [1, 16, 16]


@pytest.mark.parametrize('form, words', [
    ('png', "'image/class/label' .whole numbers., 'image/encoded' .a PNG picture."),
    ('raw hwc', "'image_raw' .192 bytes."),
])
def test_records_of_another_form_are_not_called_damaged(tmp_path, form, words):
    write(tmp_path / 'x-r03.tfrecords', [FORMS[form](i, picture) for i, picture in enumerate(PICTURES)])
    with pytest.raises(UserError, match=f'sound, but of another form.*{words}.*dataset_tool.py import'):
        TFRecordDataset(str(tmp_path))
    (tmp_path / 'x-r03.tfrecords').write_bytes(gzip.compress(b'x'))
    with pytest.raises(UserError, match='compressed with gzip; unpack it'):
        TFRecordDataset(str(tmp_path))


@pytest.mark.parametrize('content, problem', [
    (frame(example(image=b'text', label=[1])), 'record 0 holds no picture that can be told'),
    (frame(example(a=encoded(PICTURES[0]), b=encoded(PICTURES[1]))), 'record 0 holds several pictures'),
    (frame(example(a=encoded(PICTURES[0])[:60])), 'record 0 is '), (b'text' * 9, 'record 0 does not start as a record'),
    (frame(FORMS['png'](0, PICTURES[0]))[:-3], 'record 0 is cut off'), (b'', 'holds no record'),
    (frame(FORMS['png'](0, PICTURES[0])) + frame(FORMS['png'](0, PICTURES[0][:4])), 'record 1 is a picture of'),
    (frame(FORMS['png'](0, PICTURES[0][:4])), 'is 8x4; squares'), (gzip.compress(b'x' * 99)[:-9], ''),
    (frame(b'\xff' * 20), 'record 0 '),
])
def test_what_cannot_be_imported_is_a_sentence(tmp_path, content, problem):
    (tmp_path / 'x').write_bytes(content)
    with pytest.raises(UserError, match=problem):
        main(['import', str(tmp_path / 'set'), str(tmp_path / 'x')])
    assert not (tmp_path / 'set').exists()


def test_compressed_records_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    payload = example(image_raw=bytes(3 << 20), height=[1024], width=[1024], depth=[3])
    (tmp_path / 'x').write_bytes(gzip.compress(frame(payload)))
    with pytest.raises(UserError, match="'record 0' of .* unpacks to over 200 times its size"):
        main(['import', str(tmp_path / 'set'), str(tmp_path / 'x')])
    monkeypatch.setattr('data.converters.archives.WHOLE_ALLOWANCE', 1 << 16)
    small = example(image_raw=bytes(192), height=[8], width=[8], depth=[3])
    (tmp_path / 'x').write_bytes(gzip.compress(frame(small) * 2000))
    with pytest.raises(UserError, match='unpacks to more than .*--max-unpacked'):
        main(['import', str(tmp_path / 'set'), str(tmp_path / 'x')])
    assert not (tmp_path / 'set').exists()
    main(['import', str(tmp_path / 'set'), str(tmp_path / 'x'), '--max-unpacked', '1G'])
    assert len(TFRecordDataset(str(tmp_path / 'set'))) == 2000


@pytest.mark.parametrize('labels', [[0, None, 2], [0, -1, 2]])
def test_classes_that_only_some_records_have_are_not_dropped_silently(tmp_path, labels):
    path = write(tmp_path / 'x', [
        example(image__encoded=encoded(picture), **({} if label is None else {'label': [label % 2 ** 64]}))
        for picture, label in zip(PICTURES, labels)])
    with pytest.raises(UserError, match='--no-labels'):
        main(['import', str(tmp_path / 'set'), path])
    assert not (tmp_path / 'set').exists()
    main(['import', str(tmp_path / 'set'), path, '--no-labels'])
    assert TFRecordDataset(str(tmp_path / 'set')).label_size == 0
