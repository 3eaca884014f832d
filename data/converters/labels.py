"""Labels for pictures: from their folders, a table, or the attribute and identity files of CelebA."""

import csv
import os
import re

import numpy as np

from data.lists import ImageList
from dnnlib.util import UserError

_MOST_BYTES = 4 << 30
_SCREENFUL = 10
_CLASS_COLUMNS = ('class', 'label', 'identity')


def add_selection(parser):
    """Adds the options that choose images and their labels, for `select`."""
    group = parser.add_argument_group('which images, which labels')
    group.add_argument('--include-list', metavar='FILE', help='use only the images that this file names, one per line')
    group.add_argument('--exclude-list', metavar='FILE', help='leave out the images that this file names')
    group.add_argument('--labels', metavar='SOURCE',
                       help="'folders' (each folder is a class), a CSV file with a header (image, components… or "
                            'image, class), or a CelebA attribute or identity file')
    group.add_argument('--label-names', metavar='A,B,…', help='only these components of the label source')
    group.add_argument('--label-map', metavar='FILE',
                       help="CelebA-HQ's image_list.txt, if the label source names CelebA's own images")


def select(paths, args):
    """Applies the options of `add_selection` to relative paths: (the paths kept, Labels or None)."""
    for option, path, keep in (('--include-list', args.include_list, True),
                               ('--exclude-list', args.exclude_list, False)):
        if path is not None:
            listed = ImageList(path)
            paths = [name for name in paths if _is_listed(name, listed) == keep]
            if not paths:
                raise UserError(f"{option} '{path}' leaves no image at all; its lines should name images of this "
                                f'folder')
    if args.labels is None:
        for option, value in (('--label-names', args.label_names), ('--label-map', args.label_map)):
            if value is not None:
                raise UserError(f'{option} needs --labels')
        return paths, None
    names = args.label_names.split(',') if args.label_names else None
    return paths, Labels(args.labels, paths, names, args.label_map)


def _is_listed(path, listed):
    """Whether a list names an image; CelebA's lists say .jpg where the images may have become .png."""
    stem = os.path.splitext(path)[0]
    return path in listed or any(stem + extension in listed for extension in ('.jpg', '.jpeg', '.png'))


class Labels:
    """The labels of images, float32 [N, L] in the order of `paths`: classes as one-hot vectors, or numbers.

    source, label_map: see `add_selection`; `only`: names of the components wanted, in this order, None for all.

    Attributes: `values`, `names` (list of L). Raises UserError for a source that does not fit the images.
    """

    def __init__(self, source, paths, only=None, label_map=None):
        self.source = source
        if source == 'folders':
            classes = [os.path.dirname(path).replace(os.sep, '/') for path in paths]
            if '' in classes:
                raise UserError(f"--labels folders: '{paths[classes.index('')]}' lies in no folder; put every image "
                                f'into the folder of its class')
            columns, rows = None, classes
        else:
            columns, table = _read_table(source)
            if label_map is not None:
                table = _translate(table, label_map)
            rows = _find_rows(table, paths, source)
        if columns is None:
            self.names = sorted(set(rows))
            self.values = self._one_hot(rows)
        else:
            self.names = columns
            self.values = np.array(rows, np.float32)
        if only is not None:
            unknown = [name for name in only if name not in self.names]
            if unknown:
                raise UserError(f"--label-names: '{unknown[0]}' is not among the components of '{source}': "
                                + ', '.join(self.names[:50]))
            self.values = np.ascontiguousarray(self.values[:, [self.names.index(name) for name in only]])
            self.names = list(only)

    def _one_hot(self, rows):
        size = 4 * len(rows) * len(self.names)
        if size > _MOST_BYTES:
            raise UserError(f'{len(self.names)} classes for {len(rows)} images would make a label file of '
                            f'{size / 1e9:.0f} GB; use fewer classes, or a table of numbers')
        numbers = {name: number for number, name in enumerate(self.names)}
        values = np.zeros([len(rows), len(self.names)], np.float32)
        values[np.arange(len(rows)), [numbers[row] for row in rows]] = 1
        return values


def _read_table(path):
    """Reads a label file: (component names or None for classes, {image: list of numbers or class})."""
    try:
        with open(path, encoding='utf-8-sig', newline='') as f:
            lines = f.read().splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise UserError(f"cannot read the label file '{path}': {err}") from err
    lines = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not lines:
        raise UserError(f"the label file '{path}' is empty")
    if len(lines) > 2 and re.match(r'\d+\s*\Z', lines[0][1]):
        names = lines[1][1].split()
        table = {}
        for number, line in lines[2:]:
            name, *cells = line.split()
            table[name] = [max(value, 0.0) for value in _numbers(path, number, cells, len(names))]
        return names, table  # -1 and 1 become 0 and 1
    if ',' not in lines[0][1]:
        return None, dict(_pair(path, number, line) for number, line in lines)
    try:
        rows = list(csv.reader([line for _, line in lines]))
    except csv.Error as err:
        raise UserError(f"cannot read '{path}' as a CSV file: {err}") from err
    names = [name.strip() for name in rows[0][1:]]
    rows = [(number, [cell.strip() for cell in row]) for (number, _), row in zip(lines[1:], rows[1:])]
    if len(names) == 1 and (names[0].lower() in _CLASS_COLUMNS or not all(_is_number(row[-1]) for _, row in rows)):
        for number, row in rows:
            if len(row) != 2:
                raise UserError(f"'{path}', line {number}: an image and its class are expected, not {len(row)} columns")
        return None, {row[0]: row[1] for _, row in rows}
    return names, {row[0]: _numbers(path, number, row[1:], len(names)) for number, row in rows}


def _pair(path, number, line):
    cells = line.split()
    if len(cells) != 2:
        raise UserError(f"'{path}', line {number}: an image and its class are expected, not {len(cells)} columns "
                        f'(a table of numbers is a CSV file with a header)')
    return cells


def _numbers(path, number, cells, count):
    if len(cells) != count:
        raise UserError(f"'{path}', line {number}: {len(cells)} values, but the header names {count} components")
    for cell in cells:
        if not _is_number(cell):
            raise UserError(f"'{path}', line {number}: '{cell}' is not a finite number")
    return [float(cell) for cell in cells]


def _is_number(text):
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _find_rows(table, paths, source):
    """The table's entry for each image, by relative path or else by file name, extensions not counting."""
    def stem(name):
        return os.path.splitext(name.replace('\\', '/'))[0]

    by_path = {stem(name): row for name, row in table.items()}
    by_number = {int(os.path.basename(name)): row for name, row in by_path.items()
                 if re.match(r'\d{1,18}\Z', os.path.basename(name))}
    rows, missing = [], []
    for path in paths:
        key = stem(path)
        base = os.path.basename(key)
        row = by_path.get(key, by_path.get(base))
        digits = re.match(r'\D*(\d{1,18})\Z', base)
        if row is None and digits:
            row = by_number.get(int(digits.group(1)))  # 000001.jpg, img00000001.png
        if row is None:
            missing.append(path)
        rows.append(row)
    if missing:
        shown = ', '.join(missing[:_SCREENFUL]) + (f' and {len(missing) - _SCREENFUL} more'
                                                   if len(missing) > _SCREENFUL else '')
        raise UserError(f"'{source}' has no label for {len(missing)} of {len(paths)} images: {shown}")
    return rows


def _translate(table, path):
    """Renames the entries of CelebA's images to the numbers that CelebA-HQ's image_list.txt gives them."""
    try:
        with open(path, encoding='utf-8-sig') as f:
            rows = [line.split() for line in f if line.strip()]
        header, rows = rows[0], rows[1:]
        number, original = header.index('idx'), header.index('orig_file')
        return {row[number]: table[row[original]] for row in rows if row[original] in table}
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as err:
        raise UserError(f"cannot read '{path}' as CelebA-HQ's image_list.txt (columns idx, orig_file): {err}") from err
