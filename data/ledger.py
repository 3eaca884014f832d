"""The ledger: one CSV row per input, written as soon as its crop is safe, sorted at the end.

While a run goes on, rows are appended in the order in which images get done; each is one write to a file opened for
appending, so that processes of one machine share a ledger without a lock and a kill leaves whole rows. A finished
ledger of more than MOST_CSV_ROWS is kept as Parquet, where pyarrow is installed: a fifth of the bytes, same columns.
"""

import collections
import csv
import heapq
import io
import itertools
import json
import os
import re
import tempfile

from dnnlib.atomic import NAME_BYTES
from dnnlib.files import atomic_path, open_regular
from dnnlib.util import UserError, atomic_write, sha256_file

COLUMNS = ('path', 'decision', 'reason', 'num_faces', 'chosen', 'x0', 'y0', 'x1', 'y1', 'score', 'output', 'width',
           'height', 'mode', 'format', 'orientation', 'boxes', 'scores', 'sha256', 'settings', 'detail')
KEPT, REJECTED = 'kept', 'rejected'
SHEETS = 'contact-sheets'  # folder beside the ledger

MOST_CSV_ROWS = 1000000

_SORT_ROWS = 100000
_PARQUET = b'PAR1'  # first bytes of such a file

csv.field_size_limit(1 << 24)  # the boxes of a crowd

Row = collections.namedtuple('Row', COLUMNS)
"""A row as text; see docs/prefilter.md for the columns."""


def row(path, decision, reason, **values):
    """Makes a Row. None becomes the empty text; boxes [N, 4] and scores [N] become JSON lists."""
    values.update(path=path_text(path), decision=decision, reason=reason)
    if values.get('output') is not None:
        values['output'] = path_text(values['output'])
    if values.get('boxes') is not None:
        values['boxes'] = json.dumps([[round(float(x), 3) for x in box] for box in values['boxes']])
        values['scores'] = json.dumps([round(float(score), 6) for score in values['scores']])
    if values.get('score') is not None:
        values['score'] = format(float(values['score']), '.6f')
    return Row(**{name: '' if values.get(name) is None else str(values[name]) for name in COLUMNS})


def path_text(path):
    """A relative path as the ledger writes it: with slashes, and bytes that are no UTF-8 as `\\xNN`.

    A backslash that would look like the beginning of such a byte is written as one itself, so no two paths give the
    same text.
    """
    name = os.fsencode(path)
    if b'\\x' in name:
        name = re.sub(br'\\(?=x[0-9a-f]{2})', br'\\x5c', name)
    text = name.decode('utf-8', 'backslashreplace')
    return text if os.sep == '/' else text.replace(os.sep, '/')


def find(folder, text):
    """The path of the file in `folder` that `path_text` describes as `text`, or None if there is none."""
    name = re.sub(rb'\\x([0-9a-f]{2})', lambda match: bytes([int(match.group(1), 16)]), text.encode('utf-8'))
    for relative in (os.fsdecode(name), text):  # ledgers of old have backslashes as they are
        path = os.path.join(folder, *relative.split('/'))
        if os.path.lexists(path):
            return path
    return None


def is_complete(item, out):
    """Whether a row is the last word about its image: a kept one's crop must be in the folder `out`."""
    return item.decision == REJECTED or find(out, item.output) is not None


def to_text(rows):
    """Rows as CSV text, each ending in a newline."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    return text.getvalue()


class Appender:
    """Adds rows to a ledger that may be shared by several processes."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, *rows):
        data = to_text(rows).encode('utf-8', NAME_BYTES)
        if os.write(self._fd, data) != len(data):
            raise OSError(28, 'No space left on device')

    def close(self):
        os.close(self._fd)


def create(path):
    """Makes an empty ledger."""
    write(path, [])


def write(path, rows):
    """Writes a ledger in one go."""
    with atomic_write(path, 'w') as f:
        f.write(to_text([COLUMNS]))
        for item in rows:
            f.write(to_text([item]))


def read(path, offset=0):
    """Yields the complete rows of a ledger, from a byte offset that starts a row. Rows that a crash cut off are left
    out. Raises UserError if the file is no ledger."""
    if path.endswith('.parquet'):
        yield from _read_parquet(path)
        return
    with open_regular(path) as raw:
        raw.seek(offset)
        with io.TextIOWrapper(raw, encoding='utf-8', errors='replace', newline='') as f:
            if offset == 0 and f.readline() != to_text([COLUMNS]):
                raise UserError(f"'{path}' is not a ledger of this version of prefilter; its first line is another")
            reader = csv.reader(line.replace('\0', '') for line in f)
            while True:
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error:
                    continue
                if len(fields) == len(COLUMNS) and fields[1] in (KEPT, REJECTED):
                    yield Row(*fields)


def seal(path):
    """Keeps a finished ledger of many rows as Parquet. Returns the path that it has then."""
    if sum(1 for _ in read(path)) <= MOST_CSV_ROWS:
        return path
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return path
    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    target = sealed_path(path)
    with atomic_path(target) as temp:
        writer = pyarrow.parquet.ParquetWriter(temp, schema)
        rows = read(path)
        while True:
            stretch = list(itertools.islice(rows, _SORT_ROWS))
            if not stretch:
                break
            arrays = [pyarrow.array(column, pyarrow.string()) for column in zip(*stretch)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
        writer.close()
    os.unlink(path)
    return target


def sealed_path(path):
    """What a ledger, a CSV file, is called as Parquet."""
    return os.path.splitext(path)[0] + '.parquet'


def unseal(path):
    """Makes a ledger that is kept as Parquet the CSV file `path` again, so that it can grow."""
    sealed = sealed_path(path)
    if os.path.exists(sealed):
        if not os.path.exists(path):
            write(path, read(sealed))
        os.unlink(sealed)


def ledger_path(folder, suffix=''):
    """The path of a folder's ledger, in whichever form it is; that of the CSV file where there is none."""
    path = os.path.join(folder, f'ledger{suffix}.csv')
    sealed = sealed_path(path)
    return sealed if os.path.exists(sealed) and not os.path.exists(path) else path


def _read_parquet(path):
    try:
        import pyarrow.parquet
    except ImportError:
        raise UserError(f"'{path}' is a ledger as Parquet, and pyarrow is not installed: `make setup EXTRAS=cluster` "
                        'adds it') from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
        if tuple(file.schema_arrow.names) != COLUMNS:
            raise UserError(f"'{path}' is not a ledger of this version of prefilter; its columns are others")
        for batch in file.iter_batches(batch_size=1 << 14):
            for fields in zip(*[column.to_pylist() for column in batch.columns]):
                if not all(isinstance(field, str) for field in fields) or fields[1] not in (KEPT, REJECTED):
                    raise UserError(f"'{path}' is no ledger: a row of it is {str(fields)[:80]}; filter again")
                yield Row(*fields)
    except (pyarrow.ArrowException, OSError) as err:
        raise UserError(f"cannot read '{path}': {' '.join(str(err).split())[:200]}") from None


def merge(sources, target):
    """Writes the rows of all ledgers `sources`, sorted by path and each path once, as the ledger `target`.

    Memory stays bounded: stretches of rows are sorted in temporary files beside the target.
    """
    stretches = []
    try:
        stretch = []
        for source in sources:
            for item in read(source):
                stretch.append(item)
                if len(stretch) == _SORT_ROWS:
                    stretches.append(_spill(stretch, target))
                    stretch = []
        stretch.sort(key=_path)
        write(target, _unique(heapq.merge(stretch, *[_read_back(file) for file in stretches], key=_path)))
    finally:
        for file in stretches:
            file.close()


def _path(item):
    return item.path


def _spill(rows, target):
    file = tempfile.TemporaryFile('w+', dir=os.path.dirname(os.path.abspath(target)), encoding='utf-8', newline='')
    file.write(to_text(sorted(rows, key=_path)))
    return file


def _read_back(file):
    file.seek(0)
    for fields in csv.reader(file):
        yield Row(*fields)


def _unique(rows):
    last = None
    for item in rows:
        if item.path != last:
            yield item
        last = item.path


def is_ledger(path):
    """Whether a file starts as a ledger does."""
    try:
        with open_regular(path) as f:
            first = f.readline(1000)
        return first == to_text([COLUMNS]).encode('utf-8') or path.endswith('.parquet') and first.startswith(_PARQUET)
    except OSError:
        return False


def kept_outputs(folder):
    """Paths, relative to `folder`, of the crops that its ledger says were kept, sorted.

    None if `prefilter` did not make it. Raises UserError if it did, but the run is not finished, nothing was kept, or
    the ledger or a crop is missing.
    """
    names = os.listdir(folder)
    path = ledger_path(folder)
    if os.path.basename(path) not in names or not is_ledger(path):
        if any(re.match(r'ledger-.*-of-.*\.(csv|parquet)\Z', name) and is_ledger(os.path.join(folder, name))
               for name in names):
            raise UserError(f"'{folder}' was filtered in shards; join them first with "
                            f'`dataset_tool.py prefilter --merge {folder}`')
        if SHEETS in names and 'summary.json' in names:
            raise UserError(f"'{folder}' was made by prefilter, but its ledger.csv is gone or damaged, so nobody knows "
                            'which of its files are crops; filter again')
        return None
    if not os.path.isfile(os.path.join(folder, 'summary.json')):
        raise UserError(f"the prefilter run that makes '{folder}' is not finished; end it with --resume")
    outputs = []
    for item in read(path):
        if item.decision == KEPT:
            found = find(folder, item.output)
            if found is None:
                raise UserError(f"'{folder}' lacks the crop '{item.output}' of its ledger; make it again with "
                                '`dataset_tool.py prefilter IN OUT --resume`')
            outputs.append(os.path.relpath(found, folder))
    if not outputs:
        raise UserError(f"the pre-filter kept none of the photographs that '{folder}' was made from; its ledger.csv "
                        'says why')
    return sorted(outputs)


def ledger_sha256(folder):
    """SHA-256 of the ledger of a folder that prefilter made; None if it has no ledger."""
    path = ledger_path(folder)
    return sha256_file(path) if os.path.isfile(path) and is_ledger(path) else None
