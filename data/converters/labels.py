"""Labels for pictures: from their folders, a table, or the attribute and identity files of CelebA."""

import json
import os
import re
import unicodedata

import numpy as np

from data.converters.label_tables import read_label_table
from data.ledger import path_text
from data.lists import ImageList
from data.matching import Matcher
from data.tables import Table
from dnnlib.util import UserError, sha256_file

_MOST_BYTES = 4 << 30
_SCREENFUL = 10


def add_selection(parser):
    """Adds the options that choose images and their labels, for `select`."""
    group = parser.add_argument_group('which images, which labels')
    group.add_argument('--include-list', metavar='FILE', help='use only the images that this file names, one per line')
    group.add_argument('--exclude-list', metavar='FILE', help='leave out the images that this file names')
    add_labels(group)


def add_labels(group):
    """Adds the options that say what labels the images get."""
    group.add_argument('--labels', metavar='SOURCE',
                       help="'folders' (each folder is a class), a table (image, components… or image, class), a "
                            "CelebA attribute or identity file, or the dataset.json of a later StyleGAN's data set")
    group.add_argument('--label-names', metavar='A,B,…', help='only these components of the label source')
    group.add_argument('--label-map', metavar='FILE',
                       help="CelebA-HQ's image_list.txt, if the label source names CelebA's own images")
    group.add_argument('--drop-unlabelled', action='store_true', help='leave out images for which there is no label')


class Selection:
    """Which of a folder's images are used, and their labels.

    Attributes: `paths`; `labels`, a `Labels` in their order, or None; `facts`, what the manifest says about it.
    """

    def __init__(self, paths, labels, facts):
        self.paths, self.labels, self.facts = paths, labels, facts


def select(paths, args, folder):
    """Applies the options of `add_selection` to the images `paths` in `folder`, and says what fitted.

    Raises UserError where nothing is left.
    """
    facts = {'images': len(paths), 'left_out': {}}
    for option, path, keep in (('--include-list', args.include_list, True),
                               ('--exclude-list', args.exclude_list, False)):
        if path is not None:
            listed = ImageList(path)
            listed.survey(folder, paths)
            print(listed.describe(option), flush=True)
            before = len(paths)
            paths = [name for name in paths if (name in listed) == keep]
            facts[option[2:].replace('-', '_')] = listed.facts()
            facts['left_out'][option[2:].replace('-', '_')] = before - len(paths)
            if not paths:
                raise UserError(f"{option} '{path}' leaves no image at all; its lines should name images of this "
                                f'folder')
    if args.labels is None:
        for option, value in (('--label-names', args.label_names), ('--label-map', args.label_map),
                              ('--drop-unlabelled', args.drop_unlabelled or None)):
            if value is not None:
                raise UserError(f'{option} needs --labels')
        return Selection(paths, None, facts)
    names = None if args.label_names is None else args.label_names.split(',')
    labels = Labels(args.labels, paths, names, args.label_map, folder, args.drop_unlabelled)
    print(labels.describe(), flush=True)
    facts['labels'] = labels.facts
    facts['left_out']['unlabelled'] = len(paths) - len(labels.paths)
    return Selection(labels.paths, labels, facts)


class Labels:
    """The labels of images, float32 [N, L] in the order of `paths`: classes as one-hot vectors, or numbers.

    source, label_map: see `add_selection`; `only`: names of the components wanted, in this order, None for all.
    paths, folder: the images, relative to the folder. drop_unlabelled: leave out those without a label.

    Attributes: `values`, `names` (list of L), `paths` (those that have labels), `facts` for the manifest. Raises
    UserError for a source that does not fit the images.
    """

    def __init__(self, source, paths, only=None, label_map=None, folder=None, drop_unlabelled=False):
        self.source, self._num_images = source, len(paths)
        self.facts, self._note = {'source': source}, ''
        if source == 'folders':
            if label_map is not None:
                raise UserError('--label-map needs a table as --labels')
            classes, self.paths = _classes_by_folder(paths), list(paths)
            self.facts.update(kind='classes')
            self.names = _in_order(classes)
        else:
            table = read_label_table(source)
            self.facts.update(source=os.path.abspath(source), sha256=sha256_file(source),
                              kind='classes' if table.columns is None else 'components')
            if label_map is not None:
                table = _translate(table, label_map)
                self.facts.update(label_map=os.path.abspath(label_map), label_map_sha256=sha256_file(label_map))
            self.paths, classes = self._find(table, paths, folder, drop_unlabelled)
            if table.columns is not None:
                self.names = table.columns
            elif all(isinstance(value, int) for value in table.values):
                self.names = [str(number) for number in range(max(table.values) + 1)]
                classes = [str(number) for number in classes]
            else:
                self.names = _in_order(classes)
        if self.facts['kind'] == 'classes':
            check_one_hot(len(classes), len(self.names))
            self.values = _one_hot(classes, self.names)
        else:
            self.values = np.array(classes, np.float32)
        self._pick(only)

    def describe(self):
        """A sentence about how the source fits the images and what it says."""
        rows = f"{self.facts['rows_matched']} of {self.facts['rows']} rows matched {len(self.paths)} of " \
               f'{self._num_images} pictures' if 'rows' in self.facts else f'{len(self.paths)} pictures'
        return f"--labels '{self.source}': {rows}; {len(self.names)} {self.facts['kind']}{self._note}"

    def _find(self, table, paths, folder, drop_unlabelled):
        """The images that have rows, and the values of these."""
        header = [] if table.header is None else [table.header]
        names = [row[0] for row in header] + table.names
        places = [row[1] for row in header] + table.places
        values = [row[2] for row in header] + table.values
        matcher = Matcher(names)
        matcher.survey(folder, paths)
        found, chosen, missing, used = [], [], [], set()
        for path in paths:
            rows = matcher.rows_of(path)
            if not rows:
                missing.append(path)
                continue
            for row in rows:
                if matcher.num_pictures_of(row) > 1:
                    other = next(other for other in paths if other != path and matcher.fits_best(row, other))
                    raise UserError(f"'{self.source}', {places[row]}: '{names[row]}' could be the picture '{path}' or "
                                    f"'{other}'; write as much of the path as tells them apart")
                if values[row] != values[rows[0]]:
                    raise UserError(
                        f"'{self.source}' contradicts itself about the picture '{path}': {places[rows[0]]} "
                        f"('{names[rows[0]]}') says {_shown(values[rows[0]])}, {places[row]} ('{names[row]}') says "
                        f'{_shown(values[row])}; keep one of them, or write as much of the path as tells them apart')
            used.update(rows)
            found.append(path)
            chosen.append(values[rows[0]])
        num_rows = len(names) - sum(row not in used for row in range(len(header)))
        self.facts.update(rows=num_rows, rows_matched=len(used), images=len(paths), images_matched=len(found))
        if missing and not (drop_unlabelled and found):
            shown = ', '.join(missing[:_SCREENFUL]) + (f' and {len(missing) - _SCREENFUL} more'
                                                       if len(missing) > _SCREENFUL else '')
            raise UserError(f"'{self.source}' has no label for {len(missing)} of {len(paths)} pictures: {shown}; "
                            f'{len(used)} of {num_rows} rows matched {len(found)} of {len(paths)} pictures; ' + (
                                'add rows for them, or leave them out with --drop-unlabelled' if found else
                                f"its first row names '{table.names[0]}'"))
        self._note = _note_about_folders(matcher, used)
        return found, chosen

    def _pick(self, only):
        if only is None:
            return
        unknown = [name for name in only if name not in self.names]
        if unknown:
            raise UserError(f"--label-names: '{unknown[0]}' is not among the components of '{self.source}': "
                            + ', '.join(self.names[:50]))
        if len(set(only)) < len(only):
            raise UserError('--label-names names a component twice')
        self.values = np.ascontiguousarray(self.values[:, [self.names.index(name) for name in only]])
        self.names = list(only)


def check_one_hot(num_images, num_classes):
    """Raises UserError if one-hot labels would take more space than makes sense."""
    size = 4 * num_images * num_classes
    if size > _MOST_BYTES:
        raise UserError(
            f'{num_classes} classes for {num_images} images would make a label file of {size / 1e9:.0f} GB; leave out '
            '--labels to train without them, use fewer classes (--include-list with the images of some), or give a '
            'table of a few numbers per image instead of classes')


def _in_order(classes):
    """The different classes, sorted; numbers as such, so that class 10 comes after class 9."""
    names = set(classes)
    if all(re.match(r'[0-9]{1,18}\Z', name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _one_hot(classes, names):
    numbers = {name: number for number, name in enumerate(names)}
    values = np.zeros([len(classes), len(names)], np.float32)
    values[np.arange(len(classes)), [numbers[name] for name in classes]] = 1
    return values


def _classes_by_folder(paths):
    classes = [unicodedata.normalize('NFC', path_text(os.path.dirname(path))) for path in paths]
    if '' in classes:
        raise UserError(f"--labels folders: '{paths[classes.index('')]}' lies in no folder; put every image into the "
                        'folder of its class')
    return classes


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + '...'


def _note_about_folders(matcher, rows):
    """Says so if rows were matched although they name folders that the images' paths do not have."""
    foreign = [(matcher.unmatched_folder(row), row) for row in sorted(rows) if matcher.unmatched_folder(row)]
    if not foreign:
        return ''
    folder, row = foreign[0]
    return (f"; {len(foreign)} rows begin with folders that are not here, such as '{folder}' in "
            f"'{matcher.names[row]}', taken for '{matcher.picture_of(row)}'")


def _translate(table, path):
    """Renames the rows of CelebA's images to the numbers that CelebA-HQ's image_list.txt gives them."""
    rows = Table(path, 'label map').rows
    try:
        header = rows[0][1]
        number, original = header.index('idx'), header.index('orig_file')
        pairs = [(line, row[number], row[original]) for line, row in rows[1:]]
    except (IndexError, ValueError) as err:
        raise UserError(f"cannot read '{path}' as CelebA-HQ's image_list.txt (columns idx, orig_file): {err}") from None
    by_name = {}
    for place, name in enumerate(table.names):
        first = by_name.setdefault(os.path.basename(name.replace('\\', '/')), place)
        if table.values[first] != table.values[place]:
            raise UserError(f"the label file contradicts itself about '{name}': {table.places[first]} and "
                            f'{table.places[place]}')
    kept, seen = [], {}
    for line, index, name in pairs:
        if seen.setdefault(index, name) != name:
            raise UserError(f"'{path}', line {line}: idx {index} stands for '{name}', but before it was "
                            f"'{seen[index]}'")
        if name in by_name:
            kept.append((index, by_name[name]))
    if not kept:
        raise UserError(f"'{path}' names no image (column orig_file) for which the label file has a row")
    return table._replace(names=[index for index, _ in kept], header=None,
                          places=[table.places[place] for _, place in kept],
                          values=[table.values[place] for _, place in kept])
