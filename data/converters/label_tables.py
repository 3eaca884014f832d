"""Reading the files that say what pictures show: tables, CelebA's files, the dataset.json of later StyleGANs."""

import collections
import json
import os
import re
import unicodedata

import numpy as np

from data.images import is_image_name
from data.tables import MAX_BYTES, Table, is_header, join_name
from dnnlib.errors import UserError
from dnnlib.files import parse_json, read_bytes

LabelTable = collections.namedtuple('LabelTable', 'columns names places values header')
"""columns: names of the components, or None where values are classes. Per row: names: of the picture; places: where it
stands, for sentences; values: a list of floats, or the class as a text or as its number. header: a first row of which
only the pictures can tell whether it is one, as (name, place, value), or None."""

_CLASS_COLUMNS = ('class', 'class_name', 'class_id', 'label', 'labels', 'identity', 'target', 'category')
_UNKNOWN = ('nan', 'null', 'n/a', '#n/a', '<na>', '?')
_MOST_CLASSES = 1 << 20
_LARGEST = float(np.finfo(np.float32).max)


def read_label_table(path):
    """Reads a label file as a `LabelTable`. Raises UserError."""
    if os.path.splitext(path)[1].lower() == '.json':
        return _read_json(path)
    table = Table(path, 'label file')
    rows = table.rows
    if not rows:
        raise UserError(f"the label file '{path}' is empty")
    if table.separator == ' ' and len(rows) > 2 and len(rows[0][1]) == 1 and re.match(r'[0-9]+\Z', rows[0][1][0]):
        return _celeba(path, rows[1][1], rows[2:])
    if table.separator == ' ':
        rows = [(number, join_name(words)) for number, words in rows]
    return _table(path, rows, decimal_comma=table.separator == ';')


def _celeba(path, columns, rows):
    """CelebA's attributes: the number of rows, the attributes' names, then rows of a name and -1 or 1 for each."""
    _check_columns(path, columns)
    table = _numbers_table(path, columns, rows)
    if all(value in (-1, 1) for row in table.values for value in row):
        table = table._replace(values=[[max(value, 0.0) for value in row] for row in table.values])
    return table  # other values, such as the landmarks' places, are what they are


def _table(path, rows, decimal_comma):
    """A table with or without a header, of a class or of numbers per picture."""
    if len(rows[0][1]) < 2:
        raise UserError(f"'{path}', line {rows[0][0]}: an image and its class or numbers are expected, there is only "
                        f"'{rows[0][1][0] if rows[0][1] else ''}'")
    first = rows[0][1]
    numeric = all(is_number(cell, decimal_comma) for cell in first[1:])
    # Nothing but the pictures can tell whether `a,b` is a header or the class of a picture called `a`.
    header = is_header(first[0]) or not (is_image_name(first[0]) or numeric)
    header = header and (len(rows) > 1 or is_header(first[0]))
    doubtful = not is_header(first[0]) and header and len(first) == 2
    body = rows[1:] if header else rows
    if not body:
        raise UserError(f"the label file '{path}' has no row" + (' but its header' if header else ''))
    if len(first) == 2 and _is_class_table(path, first[1] if header else None, body, decimal_comma):
        table = _class_table(path, body)
        return table._replace(header=(first[0], f'line {rows[0][0]}', first[1])) if doubtful else table
    columns = first[1:] if header else [f'component{i}' for i in range(len(first) - 1)]
    _check_columns(path, columns)
    return _numbers_table(path, columns, body, decimal_comma)


def _is_class_table(path, column, rows, decimal_comma):
    """Whether the only values of the rows are classes; `column` is their header, None without one."""
    if column is not None and column.lower().replace(' ', '_') in _CLASS_COLUMNS:
        return True
    cells = [(number, row[1]) for number, row in rows if len(row) == 2]
    words = [(number, cell) for number, cell in cells if not _is_meant_as_number(cell, decimal_comma)]
    if column is None:
        return bool(words) or all(re.match(r'[0-9]+\Z', cell) for _, cell in cells)
    if words and len(words) < len(cells):
        raise UserError(f"'{path}', line {words[0][0]}: '{words[0][1]}' is not a finite number, others in the column "
                        f"'{column}' are; call it 'class' if these are classes")
    return bool(words)


def _class_table(path, rows):
    for number, row in rows:
        if len(row) != 2:
            raise UserError(f"'{path}', line {number}: an image and its class are expected, not {len(row)} columns "
                            '(a table of numbers has a header)')
        if not row[0] or not row[1]:
            raise UserError(f"'{path}', line {number}: the {'class' if row[0] else 'image'} is empty")
        _check_class(row[1], f"'{path}', line {number}")
    return LabelTable(None, [row[0] for _, row in rows], [f'line {number}' for number, _ in rows],
                      [unicodedata.normalize('NFC', row[1]) for _, row in rows], None)


def _check_class(name, where):
    """Raises UserError for what other programs write in place of a class that they do not know."""
    if name.lower() in _UNKNOWN:
        raise UserError(f"{where}: '{name}' is not a class but says that none is known; leave the row out, and the "
                        'picture with --drop-unlabelled')


def _numbers_table(path, columns, rows, decimal_comma=False):
    values = []
    for number, (name, *cells) in rows:
        if not name:
            raise UserError(f"'{path}', line {number}: the image is empty")
        if len(cells) != len(columns):
            raise UserError(f"'{path}', line {number}: {len(cells)} values, but the header names {len(columns)} "
                            'components')
        for cell in cells:
            if not is_number(cell, decimal_comma):
                raise UserError(f"'{path}', line {number}: '{cell}' is not a finite number")
        values.append([_number(cell, decimal_comma) for cell in cells])
    return LabelTable(columns, [row[0] for _, row in rows], [f'line {number}' for number, _ in rows], values, None)


def _check_columns(path, columns):
    repeated = [name for name, count in collections.Counter(columns).items() if count > 1]
    if repeated or '' in columns:
        raise UserError(f"'{path}': " + (f"two components are called '{repeated[0]}'" if repeated and repeated[0]
                                         else 'a component has no name') + '; mend the header')


def _number(text, decimal_comma):
    return float(text.replace(',', '.') if decimal_comma and '.' not in text else text)


def is_number(text, decimal_comma=False):
    """Whether a text is a number that float32 can hold; `decimal_comma`: 1,5 is one too."""
    if not re.match(r'[-+0-9.,eE]+\Z', text):
        return False
    try:
        return abs(_number(text, decimal_comma)) <= _LARGEST
    except ValueError:
        return False


def _is_meant_as_number(text, decimal_comma):
    """Whether a text is a number, or what Python or a spreadsheet would take for one, such as nan."""
    try:
        float(text)
        return True
    except ValueError:
        return is_number(text, decimal_comma)


# ---- dataset.json

def _read_json(path):
    """{"labels": [["folder/img.png", class or numbers], …]}, as StyleGAN2-ADA and StyleGAN3 write it."""
    try:
        content = parse_json(read_bytes(path, MAX_BYTES, 'the label file'), finite=False, unique=True)
    except ValueError as err:
        raise UserError(f"the label file '{path}' is no JSON that can be read: {err}") from None
    labels = content.get('labels') if isinstance(content, dict) else None
    if isinstance(labels, dict):
        labels = [list(pair) for pair in labels.items()]
    if not labels or not isinstance(labels, list):
        raise UserError(f"'{path}' holds no list of labels under 'labels'" + (
            '; its pictures have none' if isinstance(content, dict) and 'labels' in content else ''))
    names, values = [], []
    for number, pair in enumerate(labels):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or not pair[0]:
            raise UserError(f"'{path}': entry {number} of 'labels' is {json.dumps(pair)[:60]}; [file name, label] is "
                            'expected')
        names.append(pair[0])
        values.append(pair[1])
    places = [f'entry {number}' for number in range(len(names))]
    if all(type(value) is int for value in values):
        if min(values) < 0 or max(values) >= _MOST_CLASSES:
            raise UserError(f"'{path}' has the class {min(values) if min(values) < 0 else max(values)}; classes are "
                            f'whole numbers from 0 to {_MOST_CLASSES - 1}')
        return LabelTable(None, names, places, values, None)
    if all(isinstance(value, str) and value for value in values):
        for place, value in zip(places, values):
            _check_class(value, f"'{path}', {place}")
        return LabelTable(None, names, places, [unicodedata.normalize('NFC', value) for value in values], None)
    size = len(values[0]) if isinstance(values[0], list) else 0
    for number, value in enumerate(values):
        if not isinstance(value, list) or len(value) != size or not size or not all(
                type(item) in (int, float) and abs(item) <= _LARGEST for item in value):
            raise UserError(f"'{path}': the label in entry {number} is {json.dumps(value)[:60]}; all are to be whole "
                            'numbers, or all lists of equally many finite numbers')
    return LabelTable([f'component{i}' for i in range(size)], names, places,
                      [[float(item) for item in value] for value in values], None)
