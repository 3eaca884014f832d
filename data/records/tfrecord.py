"""TFRecord files of fixed-shape arrays, read and written without TensorFlow.

A file is a sequence of records, each framed as

    uint64 length | uint32 masked CRC-32C of the length | the payload | uint32 masked CRC-32C of the payload

in little-endian order. Here a payload is a serialized `tf.train.Example` with the features `shape` (int64 list) and
`data` (one bytes value, the array's elements in C order). Elements are uint8 unless a third feature, `dtype` (one
bytes value such as `float32`, little-endian), says otherwise. The features may come in any order, since a protocol
buffer's map has none; so where the elements lie is found out per record.
"""

import collections
import mmap
import os

import numpy as np

from dnnlib.files import open_regular
from dnnlib.util import UserError

DTYPES = ('uint8', 'int8', 'int16', 'int32', 'int64', 'float16', 'float32', 'float64')

_HEAD = 12  # bytes before the payload: length and its checksum
_TAIL = 4   # bytes after the payload: its checksum
_MAX_LAYOUTS = 64  # distinct byte layouts remembered per file; more only cost time
_MAX_DIMS = 8


class Malformed(Exception):
    """What is wrong with the bytes of one record, as the end of a sentence."""


def _crc32c():
    """The function of that name. On new Pythons its package takes longer to import than all of this folder."""
    from crc32c import crc32c
    return crc32c


def masked_crc(data):
    """The checksum that TFRecord files use, an int below 2^32: CRC-32C, rotated right by 15 bits, plus a constant."""
    crc = _crc32c()(data)
    return (((crc >> 15) | (crc << 17)) + 0xa282ead8) & 0xffffffff


def _masked(crcs):
    crcs = np.asarray(crcs, dtype=np.uint32)
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(0xa282ead8)  # wraps, as intended


def frame(payload):
    """One complete record (bytes) around a payload (bytes)."""
    length = len(payload).to_bytes(8, 'little')
    return b''.join([length, masked_crc(length).to_bytes(4, 'little'),
                     payload, masked_crc(payload).to_bytes(4, 'little')])


# ---- Writing

def _varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number, content):
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _feature(name, kind, content):
    """One entry of the Example's map; `kind` is 1 for a bytes list, 3 for a packed int64 list."""
    return _field(1, _field(1, name.encode()) + _field(2, _field(kind, _field(1, content))))


class Encoder:
    """Turns arrays of one shape and dtype into records; everything but the elements is assembled once.

    `shape` is any tuple of positive ints, `dtype` one of `DTYPES`.
    """

    def __init__(self, shape, dtype='uint8'):
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype).newbyteorder('<')
        assert self.dtype.name in DTYPES and all(size > 0 for size in self.shape)
        self.data_size = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        others = _feature('shape', 3, b''.join(_varint(size) for size in self.shape))
        if self.dtype.name != 'uint8':
            others += _feature('dtype', 1, self.dtype.name.encode())

        # Nested lengths depend on the size of the elements, not on their values: build around zeros, then cut them out.
        before_data = _feature('data', 1, bytes(self.data_size))[:-self.data_size]
        features_size = len(before_data) + self.data_size + len(others)
        before = _varint(1 << 3 | 2) + _varint(features_size) + before_data
        length = (len(before) + self.data_size + len(others)).to_bytes(8, 'little')
        self._head = np.frombuffer(length + masked_crc(length).to_bytes(4, 'little') + before, np.uint8)
        self._foot = np.frombuffer(others, np.uint8)
        self.record_size = len(self._head) + self.data_size + len(self._foot) + _TAIL

    def encode(self, arrays, out=None):
        """Records for `arrays`, [N, *shape] of the dtype: uint8 [N, record_size], `out` if given."""
        arrays = np.ascontiguousarray(arrays, dtype=self.dtype)
        assert arrays.shape[1:] == self.shape, (arrays.shape, self.shape)
        count = len(arrays)
        records = np.empty([count, self.record_size], np.uint8) if out is None else out
        data_start = len(self._head)
        data_end = data_start + self.data_size
        records[:, :data_start] = self._head
        records[:, data_start:data_end] = arrays.reshape(count, -1).view(np.uint8)
        records[:, data_end:-_TAIL] = self._foot
        crc32c = _crc32c()
        crcs = _masked([crc32c(record[_HEAD:-_TAIL]) for record in records])
        records[:, -_TAIL:] = crcs.astype('<u4').reshape(count, 1).view(np.uint8)
        return records


# ---- Parsing one Example

def _read_varint(buf, pos, end):
    value = 0
    for shift in range(0, 70, 7):
        if pos >= end:
            raise Malformed('is cut off inside a number')
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value, pos
    raise Malformed('has an endless number')


def _fields(buf, pos, end):
    """Yields (number, value) per field of a message: an int for varints, a (start, end) pair for nested bytes."""
    while pos < end:
        tag, pos = _read_varint(buf, pos, end)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, pos = _read_varint(buf, pos, end)
            yield number, value
            continue
        if wire == 2:
            size, pos = _read_varint(buf, pos, end)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise Malformed(f'has a field of unknown type {wire}')
        if size > end - pos:
            raise Malformed('has a field longer than itself')
        if wire == 2:
            yield number, (pos, pos + size)
        pos += size


def _nested(buf, span, number):
    """The (start, end) pairs of a message's fields with this number."""
    return [value for n, value in _fields(buf, span[0], span[1]) if n == number and isinstance(value, tuple)]


def _parse_features(buf):
    """Maps each feature's name (bytes) to the (start, end) of its Feature message."""
    found = {}
    for features in _nested(buf, (0, len(buf)), 1):
        for entry in _nested(buf, features, 1):
            names = _nested(buf, entry, 1)
            values = _nested(buf, entry, 2)
            if names and values:
                found[bytes(buf[names[-1][0]:names[-1][1]])] = values[-1]
    return found


def _bytes_value(buf, feature, name):
    values = [value for bytes_list in _nested(buf, feature, 1) for value in _nested(buf, bytes_list, 1)]
    if len(values) != 1:
        raise Malformed(f"has {len(values)} values in its feature '{name}' where one was expected")
    return values[0]


def _int_values(buf, feature):
    values = []
    for int_list in _nested(buf, feature, 3):
        for number, value in _fields(buf, *int_list):
            if number != 1:
                continue
            if not isinstance(value, tuple):
                values.append(value)
                continue
            pos, end = value
            while pos < end:
                item, pos = _read_varint(buf, pos, end)
                values.append(item)
    return values


def read_features(payload):
    """All features of a serialized Example of any tool, by name: a list of bytes or of ints, [] for floats.

    Raises Malformed.
    """
    found = {}
    for name, feature in _parse_features(payload).items():
        values = [bytes(payload[start:end]) for bytes_list in _nested(payload, feature, 1)
                  for start, end in _nested(payload, bytes_list, 1)]
        found[name.decode('utf-8', 'replace')] = values or _int_values(payload, feature)
    return found


def describe_form(payload):
    """What a record that has no array of the expected form holds, as the end of a sentence; '' if it is no Example."""
    try:
        features = read_features(payload)
    except Malformed:
        return ''
    if not features:
        return ''
    parts = []
    for name, values in sorted(features.items())[:8]:
        first = values[0] if values else None
        what = 'no values or floats' if first is None else 'whole numbers' if isinstance(first, int) else next(
            (kind for start, kind in PICTURES if first.startswith(start)), f'{len(first)} bytes')
        parts.append(f"'{name[:40]}' ({what})")
    return ', '.join(parts)


PICTURES = ((b'\x89PNG', 'a PNG picture'), (b'\xff\xd8\xff', 'a JPEG picture'), (b'RIFF', 'a WebP picture'))
"""First bytes of encoded pictures, and what they are called."""

Example = collections.namedtuple('Example', 'shape dtype start end')  # elements lie at payload[start:end]


def parse_example(payload):
    """Finds the array in a serialized Example (bytes). Returns an `Example`; raises Malformed."""
    features = _parse_features(payload)
    for name in ('shape', 'data'):
        if name.encode() not in features:
            raise Malformed(f"has no feature '{name}'")
    shape = tuple(_int_values(payload, features[b'shape']))
    dtype = 'uint8'
    if b'dtype' in features:
        start, end = _bytes_value(payload, features[b'dtype'], 'dtype')
        dtype = bytes(payload[start:end]).decode('ascii', 'replace')
        if dtype not in DTYPES:
            raise Malformed(f"has elements of the unknown type '{dtype[:20]}'")
    dtype = np.dtype(dtype).newbyteorder('<')
    start, end = _bytes_value(payload, features[b'data'], 'data')
    size = dtype.itemsize
    for length in shape:
        size *= length
    if not 1 <= len(shape) <= _MAX_DIMS or size != end - start or size == 0:
        what = 'x'.join(str(length) for length in shape[:_MAX_DIMS]) or 'nothing'
        raise Malformed(f'holds {end - start} bytes of data for an array of {what} {dtype.name}')
    return Example(shape, dtype, start, end)


# ---- Reading

class RecordFile:
    """A TFRecord file of arrays of one shape, memory-mapped; reading is random access.

    No record is looked at before it is asked for, and nothing is kept per record, unless the records differ in size
    (then their offsets are, 8 bytes each). Every record read is checked against its checksums.

    Attributes: `path`, `shape` (tuple), `dtype`, `record_size` (bytes; None where it varies); as of a level in several
    files, `paths` and `counts`, lists of one. Raises UserError for anything wrong with the file or one of its records,
    naming both.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        self.paths = [self.path]
        try:
            with open_regular(self.path) as f:
                size = os.fstat(f.fileno()).st_size
                if size == 0:
                    raise UserError(f'{self.path} is empty; make the data set again')
                if f.read(2) == b'\x1f\x8b':
                    raise UserError(f'{self.path} is compressed with gzip; unpack it (gunzip), or make a data set of '
                                    'it with `dataset_tool.py import`')
                self._bytes = np.frombuffer(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except OSError as err:
            raise UserError(f'cannot read {self.path}: {err.strerror}') from err
        self._offsets = None  # [N + 1] int64 where sizes vary
        self._layouts = []    # (bytes before the elements, bytes after them) of records met so far
        self.record_size = self._span(0, 0)
        self._head = self._bytes[:_HEAD].copy()
        count, rest = divmod(size, self.record_size)
        if rest == 0 and np.array_equal(self._bytes[size - self.record_size:][:_HEAD], self._head):
            self._rows = self._bytes.reshape(count, self.record_size)
        else:
            self._scan(size)
            count = len(self._offsets) - 1
        self._count = count
        self.counts = [count]
        first = self._example(0, self._payload(0))
        self.shape, self.dtype = first.shape, first.dtype

    def __len__(self):
        return self._count

    def _error(self, index, problem):
        return UserError(f'{self.path}: record {index} {problem}; the file is damaged, make the data set again')

    def _span(self, index, offset):
        """The size in bytes of the record at a byte offset, its frame included."""
        left = len(self._bytes) - offset
        head = self._bytes[offset:offset + _HEAD].tobytes()
        if left < _HEAD + _TAIL:
            raise self._error(index, 'is cut off')
        if masked_crc(head[:8]) != int.from_bytes(head[8:], 'little'):
            raise self._error(index, 'does not start as a record does (checksum of its length)')
        size = _HEAD + int.from_bytes(head[:8], 'little') + _TAIL
        if size > left:
            raise self._error(index, f'is cut off: {left} of {size} bytes are there')
        return size

    def _scan(self, size):
        offsets = [0]
        while offsets[-1] < size:
            offsets.append(offsets[-1] + self._span(len(offsets) - 1, offsets[-1]))
        self._offsets = np.array(offsets, np.int64)
        self.record_size = None

    def _record(self, index):
        """One complete record as uint8 [size], a view of the file."""
        if self._offsets is None:
            record = self._rows[index]
            if not np.array_equal(record[:_HEAD], self._head):
                raise self._error(index, 'does not start as a record does')
            return record
        return self._bytes[self._offsets[index]:self._offsets[index + 1]]

    def _payload(self, index):
        record = self._record(index)
        payload = record[_HEAD:-_TAIL].tobytes()
        if masked_crc(payload) != int.from_bytes(record[-_TAIL:].tobytes(), 'little'):
            raise self._error(index, 'does not match its checksum')
        return payload

    def _example(self, index, payload):
        try:
            return parse_example(payload)
        except Malformed as err:
            form = describe_form(payload)
            if form:
                raise UserError(f'{self.path}: record {index} {err}: it is sound, but of another form. Its features '
                                f'are {form}; `dataset_tool.py import` turns pictures in records of other tools into a '
                                'data set') from None
            raise self._error(index, str(err)) from None

    def pieces(self, first, end):
        """Where records `first`…`end`−1 lie: yields (path, first byte, last byte + 1), once."""
        if self._offsets is None:
            yield self.path, first * self.record_size, end * self.record_size
        else:
            yield self.path, int(self._offsets[first]), int(self._offsets[end])

    def read(self, index):
        """The array of one record, [*shape]."""
        return self.read_batch([index])[0]

    def read_batch(self, indices):
        """The arrays of the records with these indices (ints in 0…len−1, any order): [N, *shape] of the dtype."""
        indices = np.asarray(indices, np.int64)
        if self._offsets is not None:
            return self._read_one_by_one(indices)
        rows = self._rows[indices]  # a copy, so that what is checked is what is handed out
        self._check_frames(rows, indices)
        out = np.empty([len(indices), int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize], np.uint8)
        todo = np.ones(len(indices), bool)
        while todo.any():
            for before, after in self._layouts:
                start, end = len(before), self.record_size - _TAIL - len(after)
                match = todo & (rows[:, :start] == before).all(axis=1) & (rows[:, end:-_TAIL] == after).all(axis=1)
                if match.all():
                    out[:] = rows[:, start:end]
                elif match.any():
                    out[match] = rows[match, start:end]
                todo &= ~match
            if todo.any():
                first = int(np.argmax(todo))
                self._learn_layout(rows[first], int(indices[first]))
        return out.view(self.dtype).reshape((len(indices),) + self.shape)

    def _check_frames(self, rows, indices):
        whole = (rows[:, :_HEAD] == self._head).all(axis=1)
        crc32c = _crc32c()
        crcs = _masked([crc32c(row[_HEAD:-_TAIL]) for row in rows])
        stored = np.ascontiguousarray(rows[:, -_TAIL:]).view('<u4')[:, 0]
        bad = np.flatnonzero(~whole | (crcs != stored))
        if len(bad):
            self._payload(int(indices[bad[0]]))  # raises, saying which of the two it is
            raise self._error(int(indices[bad[0]]), 'changed while it was read')

    def _learn_layout(self, row, index):
        """Remembers where the elements lie in records that look like this one; a few layouts cover a whole file."""
        example = self._example(index, row[_HEAD:-_TAIL].tobytes())
        self._check_same(index, example)
        del self._layouts[:-(_MAX_LAYOUTS - 1)]
        self._layouts.append((row[:_HEAD + example.start].copy(), row[_HEAD + example.end:-_TAIL].copy()))

    def _check_same(self, index, example):
        if (example.shape, example.dtype) != (self.shape, self.dtype):
            raise self._error(index, f'has an array of {list(example.shape)} {example.dtype.name}, '
                                     f'while the first one has {list(self.shape)} {self.dtype.name}')

    def _read_one_by_one(self, indices):
        out = np.empty((len(indices),) + self.shape, self.dtype)
        for slot, index in enumerate(indices):
            payload = self._payload(int(index))
            example = self._example(int(index), payload)
            self._check_same(int(index), example)
            out[slot] = np.frombuffer(payload[example.start:example.end], self.dtype).reshape(self.shape)
        return out

    def close(self):
        """Lets go of the file; reading from it afterwards is an error."""
        self._bytes = self._rows = None
        self._count = 0
