"""Which picture a row of a table or list means: paths are compared from their ends, and nothing is guessed.

A row's name may be a bare number, a file name, or a path from wherever its author stood: relative to some folder, or
absolute on another machine. It means the picture with which it shares the longest end of the path. Names that fit
several pictures alike, and pictures that several rows claim, are for the caller to refuse.
"""

import os
import re
import unicodedata

from data.images import is_image_name
from data.ledger import path_text

_DIGITS = re.compile(r'[0-9]{1,18}\Z')

# How well two file names agree, best first.
_SAME, _WITHOUT_EXTENSION, _OTHER_EXTENSION, _NUMBER, _LAST_DIGITS = range(5)


class Matcher:
    """Finds the rows that mean a picture.

    names: a text per row, with / or \\ between folders. with_identity: whether the row's name is IDENTITY/IMAGE, one
    bool per row, or None for no such rows. An identity must be the picture's folder, unless all identities are numbers
    and the folder is none (the images of CelebA lie in one folder).

    `survey` must have seen all pictures before `rows_of` is asked. Memory grows with the rows, not with the pictures.
    Attributes: `names`; `num_pictures`, that the survey saw.
    """

    def __init__(self, names, with_identity=None):
        self.names = list(names)
        self.num_pictures = 0
        self._rows = [_Name(name) for name in self.names]
        self._with_identity = [bool(identity and row.folders) for row, identity in zip(
            self._rows, [False] * len(self._rows) if with_identity is None else with_identity)]
        self._numbered = all(_number(row.folders[-1]) is not None for row, identity
                             in zip(self._rows, self._with_identity) if identity)
        self._root = []
        groups = {}  # what file names can have in common → numbers of rows
        for number, row in enumerate(self._rows):
            for key in {row.base, row.stem, row.number} - {None}:
                groups.setdefault(key, []).append(number)
        self._index = {key: _Group(self._rows, group, 0) for key, group in groups.items()}
        # The best agreement of each row with any picture, and who has it: [score, how many have it, the first].
        self._best = [None] * len(self._rows)
        self._best_by_digits = [None] * len(self._rows)

    def survey(self, folder, paths):
        """Looks at all pictures, an iterable of paths relative to `folder`, whose own path counts too (None: none)."""
        self._root = [] if folder is None else _split(path_text(os.path.abspath(folder)))
        for path in paths:
            self.num_pictures += 1
            for row, score in self._candidates(path):
                best = self._best_by_digits if score[1] == -_LAST_DIGITS else self._best
                if best[row] is None or score > best[row][0]:
                    best[row] = [score, 1, path]
                elif score == best[row][0]:
                    best[row][1] += 1
        if all(best is None or best[0][1] <= -_NUMBER for best in self._best):
            # No name fits: 000001.jpg may stand for img00000001.png.
            self._best = [best or by_digits for best, by_digits in zip(self._best, self._best_by_digits)]
        self._drop_rows_of_other_folders()

    def rows_of(self, path):
        """Numbers of the rows that mean a picture: it is the one that they fit best, and no other row fits better."""
        found = [(score, row) for row, score in self._candidates(path)
                 if self._best[row] is not None and score == self._best[row][0]]
        best = max((score for score, _ in found), default=None)
        return sorted(row for score, row in found if score == best)

    def picture_of(self, row):
        """The first picture that a row fits best, None if it fits none."""
        return None if self._best[row] is None else self._best[row][2]

    def num_pictures_of(self, row):
        """How many pictures a row fits equally well."""
        return 0 if self._best[row] is None else self._best[row][1]

    def fits_best(self, row, path):
        """Whether a picture is one of those that a row fits best, even if it has a better row."""
        return (row, self._best[row] and self._best[row][0]) in self._candidates(path)

    def unmatched_folder(self, row):
        """The beginning of a row's path that its picture's path does not have, '' if there is none."""
        return '/'.join(self._unmatched(row)).replace('//', '/')

    def _unmatched(self, row):
        folders = self._rows[row].folders
        return folders[:len(folders) + 1 - self._best[row][0][0]]

    def _candidates(self, path):
        """[(row, score)] of the rows that may mean a picture; greater scores agree better."""
        picture = _Name(path_text(path))
        groups = [self._index[key] for key in (picture.base, picture.stem, picture.number, picture.last_digits())
                  if key is not None and key in self._index]
        if not groups:
            return []
        num_relative = len(picture.folders)
        picture.folders = self._root + picture.folders
        rows = {row for group in groups for row in group.find(picture.folders)}
        scores = [(row, self._score(row, picture, num_relative)) for row in rows]
        return [(row, score) for row, score in scores if score is not None]

    def _score(self, number, picture, num_relative):
        """(parts of the path that agree, how well the file names do, parts that are equal to the letter, whether the
        row's path starts where the pictures' paths do), or None if the identity is another."""
        row = self._rows[number]
        length, equal = 1, 0
        for a, b in zip(reversed(row.folders), reversed(picture.folders)):
            if a == b:
                equal += 1
            elif _comparable(a) != _comparable(b):
                break
            length += 1
        if self._with_identity[number] and length == 1 and not (
                self._numbered and (not picture.folders or _number(picture.folders[-1]) is None)):
            return None
        return length, -_agreement(row, picture), equal, length - 1 == len(row.folders) == num_relative

    def _drop_rows_of_other_folders(self):
        """Forgets rows that name a folder which is not here although other rows show where their paths start.

        With `train/1.png` found in the folder `train`, the row `val/2.png` means a picture of another folder, even if
        `train` has a picture `2.png`.
        """
        starts = set()  # beginnings of rows' paths up to where the pictures' agree
        matched = [number for number, best in enumerate(self._best) if best is not None and self._rows[number].folders]
        for number in matched:
            starts.add((self._rows[number].folders[0] == '/',) + tuple(self._unmatched(number)))
        for number in matched:
            unmatched = tuple(self._unmatched(number))
            if any((self._rows[number].folders[0] == '/',) + unmatched[:length] in starts
                   for length in range(len(unmatched))):
                self._best[number] = None


class _Group:
    """Rows whose file names have something in common, and `depth` folders before them.

    Large groups are told apart by the next folder, so that a picture is compared with few rows, however many folders
    hold a file of the same name.
    """

    __slots__ = ('rows', 'depth', 'parts')
    SMALL, MOST, DEEPEST = 8, 1000, 60

    def __init__(self, names, rows, depth):
        self.rows, self.depth, self.parts = rows, depth, None
        if len(rows) > self.SMALL and depth < self.DEEPEST:
            parts = {}
            for row in rows:
                folders = names[row].folders
                parts.setdefault(_comparable(folders[-1 - depth]) if depth < len(folders) else None, []).append(row)
            if None not in parts or len(parts) > 1:
                self.parts = {folder: _Group(names, group, depth + 1) for folder, group in parts.items()
                              if folder is not None}

    def find(self, folders):
        """The rows that agree with the longest end of a picture's folders; none if too many do, as they say nothing."""
        group = self
        while group.parts is not None and group.depth < len(folders):
            part = group.parts.get(_comparable(folders[-1 - group.depth]))
            if part is None:
                break
            group = part
        return group.rows if len(group.rows) <= self.MOST else ()


class _Name:
    """A path taken apart. folders: a leading / is one of its own. stem: the file name without an image's extension;
    others, as in `v1.5`, belong to the name. number: the value of a stem of digits, None for others."""

    __slots__ = ('folders', 'base', 'stem', 'number')

    def __init__(self, text):
        parts = _split(text)
        self.base = parts.pop()
        self.folders = parts
        self.stem = os.path.splitext(self.base)[0] if is_image_name(self.base) else self.base
        self.number = _number(self.stem)

    def last_digits(self):
        """The number at the end of a stem that holds no other, as in img00000001; None if there is none."""
        match = None if self.number is not None else re.match(r'[^0-9]+([0-9]{1,18})\Z', self.stem)
        return int(match.group(1)) if match else None


def _split(text):
    """The parts of a path, at least one."""
    text = unicodedata.normalize('NFC', text).replace('\\', '/')
    if '/' not in text:
        return [text]
    parts = [part for part in text.split('/') if part not in ('', '.')]
    return (['/'] if text[0] == '/' else []) + (parts or [''])


def _number(text):
    """Numbers compare as numbers, whatever zeros they start with; None for other texts."""
    return int(text) if _DIGITS.match(text) else None


def _comparable(folder):
    number = _number(folder)
    return folder if number is None else number


def _agreement(row, picture):
    """How well the file name of a row agrees with that of a picture, which have a key in common."""
    if row.base == picture.base:
        return _SAME
    if row.base == picture.stem:
        return _WITHOUT_EXTENSION  # also portrait.jpg for portrait.jpg.png, as the pre-filter calls some crops
    if row.stem == picture.stem:
        return _OTHER_EXTENSION
    return _NUMBER if row.number is not None and row.number == picture.number else _LAST_DIGITS
