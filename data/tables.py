"""Tables and lists that people write by hand, by spreadsheet or by script, as rows of texts."""

import csv
import hashlib
import os
import re

from data.images import is_image_name
from dnnlib.files import read_bytes
from dnnlib.util import UserError

MAX_BYTES = 1 << 29
_LOOK_AT = 200  # lines by which the separator is told
_HEADERS = ('image', 'image_id', 'imageid', 'image_name', 'image_path', 'img', 'img_id', 'img_name', 'file',
            'file_name', 'filename', 'file_path', 'filepath', 'path', 'name', 'id', 'picture', 'photo')


class Table:
    """The rows of a text file.

    Attributes: `path`; `sha256` of the file; `rows`, a list of (line number from 1, list of texts without blanks around
    them); `separator`: '\\t', ';', ',' or ' ' for any blanks.

    Tabs, semicolons, commas or blanks may separate; values may stand in double quotes; lines may end as on any system;
    UTF-8 and UTF-16 are read, bytes that are neither appear as `\\xNN`, as in a ledger. Raises UserError if the file
    cannot be read.
    """

    def __init__(self, path, what, comments=False):
        self.path = os.fspath(path)
        content = read_bytes(path, MAX_BYTES, f'the {what}')
        self.sha256 = hashlib.sha256(content).hexdigest()
        text = _decode(content, path, what)
        lines = [(number, line) for number, line in enumerate(re.split('\r\n|\r|\n', text), 1)
                 if line.strip() and not (comments and line.lstrip().startswith('#'))]
        self.separator = _separator([line for _, line in lines[:_LOOK_AT]])
        self.rows = [(number, _by_blanks(line)) for number, line in lines] if self.separator == ' ' else \
            _by_separator(lines, self.separator, path, what)


def is_header(text):
    """Whether a text is what tables call their column of image names."""
    return text.lower().replace(' ', '_') in _HEADERS


def _decode(content, path, what):
    if content.startswith((b'\xff\xfe', b'\xfe\xff')):
        text = content.decode('utf-16', 'replace')
    else:
        text = content.decode('utf-8-sig', 'backslashreplace')
    if '\0' in text:
        raise UserError(f"the {what} '{path}' is not a text file")
    return text


def _separator(lines):
    """What separates the values of all lines, judged by the number of values and by where image names stand."""
    best = (0, ' ')
    for separator in ',;\t':
        if not all(separator in line for line in lines):
            continue
        try:
            rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        except csv.Error:
            continue
        firsts = sum(is_image_name(row[0].strip()) or is_header(row[0].strip()) for row in rows if row)
        same = len({len(row) for row in rows}) == 1
        best = max(best, (1 + firsts + same * len(rows), separator))
    return best[1]


def _by_separator(lines, separator, path, what):
    """Rows of (number of the line on which they end, cells)."""
    rows = []
    numbers = [number for number, _ in lines]
    reader = csv.reader([line + '\n' for _, line in lines], delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            rows.append((numbers[reader.line_num - 1], [cell.strip() for cell in row]))
    except csv.Error as err:
        number = numbers[min(reader.line_num, len(numbers)) - 1]
        raise UserError(f"the {what} '{path}', line {number}: {err}; quotes must be closed, and stand around whole "
                        'values') from None
    return rows


def _by_blanks(line):
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]


def join_name(words):
    """The words of a line with those up to the last one that ends as an image does made one: a name with blanks."""
    last = max((place for place, word in enumerate(words) if is_image_name(word)), default=0)
    return [' '.join(words[:last + 1])] + words[last + 1:]
