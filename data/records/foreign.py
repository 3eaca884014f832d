"""Pictures in TFRecord files that other tools wrote: encoded, or raw with their size, in either order of dimensions."""

import gzip
import zlib

import numpy as np

from data.records.tfrecord import PICTURES, Malformed, masked_crc, read_features
from dnnlib.files import open_regular
from dnnlib.util import UserError

MOST_BYTES = 1 << 30  # of one record
_CLASSES = ('label', 'class', 'image/class/label', 'label_id', 'class_id', 'fine_label')


def read_records(path, check_unpacked=None):
    """Yields the payloads of a TFRecord file, compressed with gzip or not, each checked against its checksums.

    `check_unpacked(number, size)` is called before a record of `size` bytes is unpacked from a compressed file; what it
    raises ends that. Raises UserError for a file that cannot be read or is damaged.
    """
    number = 0
    try:
        with open_regular(path) as raw:
            is_compressed = raw.read(2) == b'\x1f\x8b'
            raw.seek(0)
            with (gzip.GzipFile(fileobj=raw) if is_compressed else raw) as f:
                while True:
                    head = f.read(12)
                    if not head:
                        return
                    length = int.from_bytes(head[:8], 'little')
                    if len(head) < 12 or masked_crc(head[:8]) != int.from_bytes(head[8:], 'little') \
                            or length > MOST_BYTES:
                        raise UserError(f'{path}: record {number} does not start as a record of a TFRecord file does')
                    if is_compressed and check_unpacked is not None:
                        check_unpacked(number, length)
                    payload, tail = f.read(length), f.read(4)
                    if len(payload) < length or len(tail) < 4:
                        raise UserError(f'{path}: record {number} is cut off')
                    if masked_crc(payload) != int.from_bytes(tail, 'little'):
                        raise UserError(f'{path}: record {number} does not match its checksum')
                    yield payload
                    number += 1
    except (OSError, EOFError, zlib.error) as err:
        raise UserError(f"cannot read {path}: {getattr(err, 'strerror', None) or err}") from None


def find_picture(payload):
    """The picture in a serialized Example: (encoded picture as bytes, or uint8 [H, W, C]; class as an int or None).

    Raises Malformed, saying what there is instead.
    """
    features = read_features(payload)
    labels = {name: values[0] for name, values in features.items() if name.lower() in _CLASSES and len(values) == 1
              and isinstance(values[0], int) and values[0] < 1 << 31}
    if len(set(labels.values())) > 1:  # which of them comes first may differ from record to record
        raise Malformed('has several classes, ' + ', '.join(f'{name} {labels[name]}' for name in sorted(labels)))
    label = next(iter(labels.values()), None)
    blobs = {name: values[0] for name, values in features.items() if len(values) == 1 and isinstance(values[0], bytes)}
    encoded = [value for value in blobs.values() if value.startswith(tuple(start for start, _ in PICTURES))]
    if len(encoded) > 1:
        raise Malformed('holds several pictures')
    if encoded:
        return encoded[0], label
    shapes = _shapes(features)
    found = [(value, shape) for value in blobs.values() for shape in shapes
             if int(np.prod(np.array(shape, np.int64))) == len(value)]  # at most 2^60
    if len({id(value) for value, _ in found}) > 1:
        raise Malformed('holds several arrays that could be the picture')
    if found:
        value, shape = found[0]
        return _to_hwc(np.frombuffer(value, np.uint8).reshape(shape)), label
    raise Malformed('holds no picture that can be told')


def _shapes(features):
    """Shapes that the features of an Example may mean for its bytes."""
    numbers = {name.rpartition('/')[2].lower(): values for name, values in features.items()
               if values and all(isinstance(value, int) and 0 < value < 1 << 20 for value in values)}
    found = [tuple(numbers[name]) for name in ('shape', 'size') if len(numbers.get(name, ())) in (2, 3)]
    if 'height' in numbers and 'width' in numbers:
        size = numbers['height'][0], numbers['width'][0]
        channels = numbers.get('channels') or numbers.get('depth')
        found += [size + (count,) for count in ([channels[0]] if channels else [3, 1])]
    return found


def _to_hwc(array):
    """[H, W], [H, W, C] or [C, H, W] with C of 1 or 3 as [H, W, C]. Raises Malformed."""
    if array.ndim == 2:
        return array[:, :, np.newaxis]
    if array.shape[2] in (1, 3):
        return array
    if array.shape[0] in (1, 3):
        return array.transpose(1, 2, 0)
    raise Malformed(f'holds an array of {list(array.shape)}, which is no picture')
