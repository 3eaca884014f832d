"""Reads pickles as data: a small interpreter of the pickle language in which no foreign code can run.

Python's own unpickler imports and calls whatever a file names. This one executes the same opcodes, but a file can only
name what `pickle_globals` lists, can only get what its own bytes hold, and is refused at the first opcode that wants
more, so memory and time stay proportional to the file's size and nothing has any effect outside the result.
"""

import codecs
import collections
import io
import os
import pickle
import re
import struct

import numpy as np

from dnnlib import blocks, pickle_globals
from dnnlib.files import open_regular
from dnnlib.pickle_globals import Malformed, check_key
from dnnlib.util import UserError

MAX_FILE_BYTES = 4 << 30


class PickleRefused(UserError):
    """A file that is not the expected pickle, or asks for more than data. `reason` is one word for programs."""

    def __init__(self, reason, sentence):
        super().__init__(sentence)
        self.reason = reason


Limits = collections.namedtuple('Limits', 'opcodes depth objects')
"""How many opcodes a file may have, how deep its result may be nested, and how many containers, arrays and the like it
may make, since an opcode of one byte can make a set of 200."""
Limits.__new__.__defaults__ = (100000,)

LIMITS = Limits(opcodes=5000000, depth=32)
_LARGE = 1 << 20    # bytes of an array from which on threads read them
# What follows the content of an array: a new frame, a place in the memo, and the end of the array's state.
_LONGEST_END = 32   # bytes
_END_OF_ARRAY = re.compile(rb'(?:\x95.{8})?(?:q.|r.{4}|\x94)?t(?:q.|r.{4}|\x94)?b', re.DOTALL)
_FREELY_REPEATED = 64 << 20     # bytes of texts and arrays that may appear in several places, whatever a file's size


class Stop(Exception):
    """Raised by the STOP opcode, carrying the result."""


class Reader:
    """Interprets one pickle. `stream`: seekable binary file; `name`: what to call it in sentences.

    `table` maps (module, name) to `pickle_globals.Callable`. `encoding` is how the byte strings of Python 2 are read:
    'latin1' or 'bytes'.
    """

    def __init__(self, stream, name, table=None, encoding='latin1', limits=LIMITS):
        assert encoding in ('latin1', 'bytes')
        self.name = name
        self.encoding = encoding
        self.limits = limits
        self._table = pickle_globals.PLAIN if table is None else table
        self._stream = stream
        start = stream.tell()
        self._end = stream.seek(0, os.SEEK_END)
        self._left = self._end - start
        stream.seek(start)
        self._budget = 4 * self._left + (1 << 20)
        self._opcodes = 0
        self._objects = 0
        self._stack = []
        self._marks = []
        self._memo = {}
        self._blocks = None

    def load(self):
        """Returns the object described by the pickle. Raises PickleRefused."""
        result, wait = self.begin()
        wait()
        return result

    def begin(self):
        """As `load`, but large arrays may still be on their way: (object, function that waits for a list of arrays).

        The function raises PickleRefused or OSError if the file cannot be read further.
        """
        try:
            result = self._interpret()
        finally:
            self._stack, self._memo = [], {}    # which would keep alive what nobody uses any more
            if self._blocks is not None:
                self._blocks.finish()
        return result, (lambda arrays=None: None) if self._blocks is None else self._blocks.wait

    def _interpret(self):
        try:
            for _ in range(self.limits.opcodes):
                op = self._read(1)
                method = _OPCODES.get(op)
                if method is None:
                    raise Malformed(f'has the unknown instruction {op!r}')
                self._opcodes += 1
                method(self)
            raise PickleRefused('too-big', f'{self.name}: this pickle has more than {self.limits.opcodes} '
                                           'instructions, which no file of this kind needs; it is not read further')
        except Stop as stop:
            result = stop.args[0]
        except IndexError:
            raise PickleRefused('malformed', f'{self.name}: not a usable pickle: its instructions do not '
                                             'fit together; get the file again') from None
        except Malformed as err:
            raise PickleRefused('malformed', f'{self.name}: refused: the pickle {err}') from None
        # A value that appears twice still takes an instruction each time, unless whole containers are shared.
        check_plain(result, self.name, nodes=4 * self._opcodes + 1000, depth=self.limits.depth,
                    size=4 * self._end + _FREELY_REPEATED)
        return result

    # Bytes

    def _truncated(self):
        return PickleRefused('truncated', f'{self.name}: the file ends in the middle of its data, after {self._end} '
                                          'bytes: the download or copy was cut off; get the file again')

    def _read(self, count):
        if count > self._left:
            raise self._truncated()
        data = self._stream.read(count)
        if len(data) != count:
            raise self._truncated()
        self._left -= count
        return data

    def _content(self, count):
        """The next bytes; of a large array, a `Block`."""
        if not _LARGE <= count <= self._left or not self._is_in_array() or not blocks.can_read(self._stream):
            return self._read(count)
        start = self._stream.tell()
        self._stream.seek(start + count)
        end = self._stream.read(_LONGEST_END)
        self._stream.seek(start)
        if not _END_OF_ARRAY.match(end):
            return self._read(count)
        if self._blocks is None:
            self._blocks = blocks.Blocks(self._stream, self._truncated)
        self._stream.seek(start + count)
        self._left -= count
        return self._blocks.read(start, count)

    def _is_in_array(self):
        """Whether the next value completes the state of an array."""
        return bool(self._marks) and len(self._stack) - self._marks[-1] in (3, 4) and self._marks[-1] > 0 \
            and isinstance(self._stack[self._marks[-1] - 1], pickle_globals.PendingArray)

    def _unpack(self, code, size):
        return struct.unpack(code, self._read(size))[0]

    def _line(self, limit=None):
        line = self._stream.readline() if limit is None else self._stream.readline(limit)
        self._left -= len(line)
        if not line.endswith(b'\n'):
            if limit is not None and len(line) == limit:
                raise Malformed('has an instruction with an overlong argument')
            raise self._truncated()
        return line[:-1]

    def _spend(self, count):
        self._budget -= count
        if self._budget < 0:
            raise Malformed('copies its own content over and over, which no file of this kind needs')

    def _count(self, made):
        self._objects += 1
        if self._objects > self.limits.objects:
            raise PickleRefused('too-big', f'{self.name}: this pickle makes more than {self.limits.objects} lists, '
                                           'dicts and other objects, which no file of this kind needs')
        return made

    # Stack and memo

    def _pop_mark(self):
        start = self._marks.pop()
        items = self._stack[start:]
        if len(self._stack) < start:
            raise IndexError
        del self._stack[start:]
        return items

    def _top(self, kind):
        top = self._stack[-1]
        if not isinstance(top, kind):
            raise Malformed('fills something that is not a container')
        return top

    def _put(self, key):
        top = self._stack[-1]
        self._memo[key] = top
        if isinstance(top, (pickle_globals.PendingArray, pickle_globals.PendingDType)):
            if len(top.memo_keys) >= 16:
                raise Malformed('stores one unfinished value again and again')
            top.memo_keys.append(key)

    def _get(self, key):
        if key not in self._memo:
            raise Malformed('refers to something that it never stored')
        value = self._memo[key]
        if isinstance(value, blocks.Block):
            self._spend(len(value))
            value = self._memo[key] = bytes(value)
        self._stack.append(value)

    # Values

    def _text(self, data):
        return data if self.encoding == 'bytes' else data.decode('latin1')

    def _utf8(self, data):
        try:
            return data.decode('utf-8', 'surrogatepass')
        except UnicodeDecodeError:
            raise Malformed('has text that is not UTF-8') from None

    def _number(self, kind):
        line = self._line(limit=64).rstrip(b'L')
        if kind is int and line in (b'00', b'01'):
            return line == b'01'
        try:
            return kind(line)
        except ValueError:
            raise Malformed('has a malformed number') from None

    def _long(self, size):
        if not 0 <= size <= 32:
            raise Malformed('has an integer of absurd size')
        return int.from_bytes(self._read(size), 'little', signed=True)

    def _escaped(self):
        line = self._line()
        if len(line) < 2 or line[:1] not in b'\'"' or line[-1:] != line[:1]:
            raise Malformed('has a malformed string')
        try:
            return self._text(codecs.escape_decode(line[1:-1])[0])
        except ValueError:
            raise Malformed('has a malformed string') from None

    def _raw_unicode(self):
        try:
            return self._line().decode('raw-unicode-escape')
        except UnicodeDecodeError:
            raise Malformed('has malformed text') from None

    def _set_items(self, items):
        target = self._top(dict)
        if len(items) % 2:
            raise Malformed('has a dict with a key without a value')
        for key, value in zip(items[::2], items[1::2]):
            target[check_key(key)] = value

    def _add_items(self, items):
        self._top(set).update(check_key(item) for item in items)

    def _dict(self, items):
        self._stack.append(self._count({}))
        self._set_items(items)

    # Names, calls, states

    def _global(self, module, name):
        if not isinstance(module, str) or not isinstance(name, str):
            raise Malformed('asks for a name that is not text')
        entry = self._table.get((module, name))
        if entry is None:
            raise self.foreign_name(module[:100], name[:100])
        self._stack.append(entry)

    def foreign_name(self, module, name):
        """The refusal of a name outside the table."""
        return PickleRefused('foreign-name', f'{self.name}: refused: the pickle asks Python for {module}.{name}, which '
                                             'plain data never needs; nothing of it was executed. Use only files '
                                             'from sources that you know')

    def foreign_object(self):
        """The refusal of objects kept outside the pickle (persistent ids, extension codes, buffers)."""
        return PickleRefused('foreign-object', f'{self.name}: refused: the pickle refers to objects outside itself, '
                                               'as PyTorch files do; it holds no arrays that can be read here')

    def _reduce(self):
        args = self._stack.pop()
        func = self._stack.pop()
        if not isinstance(func, pickle_globals.Callable) or func.call is None or not isinstance(args, tuple):
            raise Malformed(f'calls {getattr(func, "name", "something")}, which it may not')
        self._stack.append(self._count(func.call(args, self._spend)))

    def _new_object(self):
        args = self._stack.pop()
        cls = self._stack.pop()
        if not isinstance(cls, pickle_globals.Callable) or cls.new is None or not isinstance(args, tuple):
            raise Malformed(f'instantiates {getattr(cls, "name", "something")}, which it may not')
        self._stack.append(self._count(cls.new(args)))

    def _build(self):
        state = self._stack.pop()
        target = self._stack[-1]
        if isinstance(target, pickle_globals.PendingArray) and isinstance(state, tuple) and state \
                and isinstance(state[-1], str):
            self._spend(len(state[-1]))
        if isinstance(target, (pickle_globals.PendingArray, pickle_globals.PendingDType)):
            built = target.build(state)
            for key in target.memo_keys:
                self._memo[key] = built
            if isinstance(built, pickle_globals.PendingDType):
                built.memo_keys = target.memo_keys
            self._stack[-1] = built
        elif isinstance(target, pickle_globals.Instance):
            target.build(state)
        elif isinstance(target, dict) and isinstance(state, dict):
            self._spend(128 * len(state))
            target.update((check_key(key), value) for key, value in state.items())
        else:
            raise Malformed('gives a state to something that has none')


def _protocol(reader):
    version = reader._read(1)[0]
    if version > 5:
        raise Malformed(f'is of protocol {version}, newer than any that is known here (5)')


def _stop(reader):
    raise Stop(reader._stack.pop())


def _list_op(reader, items):
    reader._top(list).extend(items)


def _refuse_foreign(reader):
    raise reader.foreign_object()


def _global_op(reader):
    module, name = reader._line(limit=512), reader._line(limit=512)
    reader._global(module.decode('latin1'), name.decode('latin1'))


def _stack_global(reader):
    name = reader._stack.pop()
    reader._global(reader._stack.pop(), name)


def _instance_op(reader):
    """INST, OBJ: calls in disguise. The name decides what sentence the user gets; the call never happens."""
    module, name = reader._line(limit=512), reader._line(limit=512)
    raise reader.foreign_name(module.decode('latin1'), name.decode('latin1'))


def _push(value):
    """An opcode that pushes `value(reader)`."""
    return lambda reader: reader._stack.append(value(reader))


def _sized(code, size, convert):
    """An opcode that pushes `convert(reader, data)` of data whose length is stored before it."""
    def method(reader):
        count = reader._unpack(code, size)
        if count < 0:
            raise Malformed('declares a negative length')
        reader._stack.append(convert(reader, reader._read(count)))
    return method


def _tuple_of(count):
    def method(reader):
        if len(reader._stack) < count:
            raise IndexError
        items = reader._count(tuple(reader._stack[-count:]))
        reader._stack[-count:] = [items]
    return method


def _counted_content(code, size):
    """An opcode that pushes bytes whose length is stored before them."""
    return lambda reader: reader._stack.append(reader._content(reader._unpack(code, size)))


def _not_allowed(reader):
    raise Malformed('uses an instruction that plain data never needs')


_OPCODES = {
    pickle.PROTO: _protocol,
    pickle.FRAME: lambda r: r._unpack('<Q', 8),
    pickle.STOP: _stop,
    pickle.MARK: lambda r: r._marks.append(len(r._stack)),
    pickle.POP: lambda r: r._stack.pop() if len(r._stack) > (r._marks[-1] if r._marks else 0) else r._marks.pop(),
    pickle.POP_MARK: lambda r: r._pop_mark(),
    pickle.NONE: _push(lambda r: None),
    pickle.NEWTRUE: _push(lambda r: True),
    pickle.NEWFALSE: _push(lambda r: False),
    pickle.INT: _push(lambda r: r._number(int)),
    pickle.LONG: _push(lambda r: r._number(int)),
    pickle.FLOAT: _push(lambda r: r._number(float)),
    pickle.BININT: _push(lambda r: r._unpack('<i', 4)),
    pickle.BININT1: _push(lambda r: r._unpack('<B', 1)),
    pickle.BININT2: _push(lambda r: r._unpack('<H', 2)),
    pickle.LONG1: _push(lambda r: r._long(r._unpack('<B', 1))),
    pickle.LONG4: _push(lambda r: r._long(r._unpack('<i', 4))),
    pickle.BINFLOAT: _push(lambda r: r._unpack('>d', 8)),
    pickle.STRING: _push(lambda r: r._escaped()),
    pickle.BINSTRING: _sized('<i', 4, Reader._text),
    pickle.SHORT_BINSTRING: _sized('<B', 1, Reader._text),
    pickle.BINBYTES: _counted_content('<I', 4),
    pickle.SHORT_BINBYTES: _counted_content('<B', 1),
    pickle.BINBYTES8: _counted_content('<Q', 8),
    b'\x96': _sized('<Q', 8, lambda r, data: bytearray(data)),  # BYTEARRAY8, unknown to Python < 3.8
    pickle.UNICODE: _push(lambda r: r._raw_unicode()),
    pickle.BINUNICODE: _sized('<I', 4, Reader._utf8),
    pickle.SHORT_BINUNICODE: _sized('<B', 1, Reader._utf8),
    pickle.BINUNICODE8: _sized('<Q', 8, Reader._utf8),
    pickle.EMPTY_TUPLE: _push(lambda r: ()),
    pickle.TUPLE1: _tuple_of(1),
    pickle.TUPLE2: _tuple_of(2),
    pickle.TUPLE3: _tuple_of(3),
    pickle.TUPLE: _push(lambda r: r._count(tuple(r._pop_mark()))),
    pickle.EMPTY_LIST: _push(lambda r: r._count([])),
    pickle.LIST: _push(lambda r: r._count(r._pop_mark())),
    pickle.APPEND: lambda r: _list_op(r, [r._stack.pop()]),
    pickle.APPENDS: lambda r: _list_op(r, r._pop_mark()),
    pickle.EMPTY_DICT: _push(lambda r: r._count({})),
    pickle.DICT: lambda r: r._dict(r._pop_mark()),
    pickle.SETITEM: lambda r: r._set_items([r._stack.pop(), r._stack.pop()][::-1]),
    pickle.SETITEMS: lambda r: r._set_items(r._pop_mark()),
    pickle.EMPTY_SET: _push(lambda r: r._count(set())),
    pickle.ADDITEMS: lambda r: r._add_items(r._pop_mark()),
    pickle.FROZENSET: _push(lambda r: r._count(frozenset(check_key(item) for item in r._pop_mark()))),
    pickle.GET: lambda r: r._get(r._number(int)),
    pickle.BINGET: lambda r: r._get(r._unpack('<B', 1)),
    pickle.LONG_BINGET: lambda r: r._get(r._unpack('<I', 4)),
    pickle.PUT: lambda r: r._put(r._number(int)),
    pickle.BINPUT: lambda r: r._put(r._unpack('<B', 1)),
    pickle.LONG_BINPUT: lambda r: r._put(r._unpack('<I', 4)),
    pickle.MEMOIZE: lambda r: r._put(len(r._memo)),
    pickle.GLOBAL: _global_op,
    pickle.STACK_GLOBAL: _stack_global,
    pickle.REDUCE: lambda r: r._reduce(),
    pickle.NEWOBJ: lambda r: r._new_object(),
    pickle.BUILD: lambda r: r._build(),
    pickle.INST: _instance_op,
    pickle.OBJ: _not_allowed,
    pickle.NEWOBJ_EX: _not_allowed,
    pickle.PERSID: _refuse_foreign,
    pickle.BINPERSID: _refuse_foreign,
    pickle.EXT1: _refuse_foreign,
    pickle.EXT2: _refuse_foreign,
    pickle.EXT4: _refuse_foreign,
    b'\x97': _refuse_foreign,  # NEXT_BUFFER
    b'\x98': _refuse_foreign,  # READONLY_BUFFER
}

_PLAIN_TYPES = (type(None), bool, int, float, complex, str, bytes, bytearray, np.ndarray, np.generic)


def check_plain(value, name, nodes, depth, size):
    """Raises PickleRefused unless `value` is plain data and `Instance` records.

    At most `nodes` values, nested to `depth`, with texts and arrays of `size` bytes in all. Shared parts count once for
    each place where they appear, so that whoever walks, prints or converts the result can do so without care.
    """
    stack = [(value, depth)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, (list, tuple, set, frozenset)):
            children = item
        elif isinstance(item, dict):
            children = list(item) + list(item.values())
        elif isinstance(item, pickle_globals.Instance):
            children = [item.state]
        elif isinstance(item, _PLAIN_TYPES):
            children = ()
            size -= item.nbytes if isinstance(item, (np.ndarray, np.generic)) else \
                len(item) if isinstance(item, (str, bytes, bytearray)) else 0
        else:
            raise PickleRefused('malformed', f'{name}: refused: the pickle leaves a value unfinished or holds a bare '
                                             'name instead of data')
        nodes -= len(children)
        if depth <= 0 and children or nodes < 0 or size < 0:
            raise PickleRefused('too-big', f'{name}: refused: the pickle nests or repeats its values far beyond what '
                                           'any file of this kind needs')
        stack.extend((child, depth - 1) for child in children)


def open_bounded(path_or_file):
    """Returns (seekable binary file, name for sentences, whether the caller must close it). Raises UserError."""
    if hasattr(path_or_file, 'read'):
        file = path_or_file
        name = str(getattr(file, 'name', 'the given file'))
        if isinstance(file, (io.BytesIO, io.BufferedReader)) and file.seekable():
            return file, name, False
        data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise UserError(f'{name}: more than {MAX_FILE_BYTES >> 30} GiB; no file of this kind is so big')
        return io.BytesIO(data), name, True
    name = os.fspath(path_or_file)
    try:
        file = open_regular(name)
    except OSError as err:
        raise UserError(f'{name}: cannot be opened: {err.strerror}') from None
    except ValueError:
        raise UserError(f'{name!r}: not a possible file name') from None
    if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
        file.close()
        raise UserError(f'{name}: more than {MAX_FILE_BYTES >> 30} GiB; no file of this kind is so big')
    return file, name, True


def load_arrays(path_or_file, encoding='latin1'):
    """Reads a pickle of plain data (numbers, strings, bytes, containers, NumPy arrays), as CIFAR-10's batches are.

    `encoding`: how to read the byte strings of Python 2: 'latin1' gives str, 'bytes' leaves them as bytes.
    Arrays are read-only views of what was read. Raises PickleRefused for anything else.
    """
    file, name, owned = open_bounded(path_or_file)
    try:
        return Reader(file, name, encoding=encoding).load()
    finally:
        if owned:
            file.close()
