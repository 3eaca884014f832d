"""Lists of images to leave out or to keep, such as the published cleaned list of CelebA."""

import os
import re

from data.images import is_image_name
from data.matching import Matcher
from data.tables import Table, is_header, join_name
from dnnlib.util import UserError


class ImageList:
    """The content of a list file.

    A line names one image: by its number (`202599` or `202599.jpg`, for 202599.jpg and 0202599.png alike), file name,
    relative or absolute path, with or without extension; see `data.matching`. A column before it is the identity, which
    is compared with the image's folder, unless all identities are numbers and the folder is none (CelebA's images lie
    in one folder). See `data.tables` for the forms of the file; lines that start with # and blank lines do not count.

    `survey` comes before the question whether an image is listed. Attributes: `path`; `sha256` of the file; `digest`,
    the first 12 digits of that. Raises UserError if the file cannot be read, holds no entry, or has a line of more than
    two columns.
    """

    def __init__(self, path):
        table = Table(path, 'list', comments=True)
        self.path, self.sha256, self.digest = table.path, table.sha256, table.sha256[:12]
        self._lines, names, identities = [], [], []  # of each name, of which a line may have two
        for number, cells in table.rows:
            if table.separator == ' ' and len(cells) > 2:
                cells = join_name(cells)
            if len(cells) > 2:
                raise UserError(f"'{path}', line {number}: {len(cells)} columns; expected an image, or an identity "
                                'and an image')
            for name, with_identity in _readings(cells, table.separator):
                self._lines.append(number)
                names.append(name)
                identities.append(with_identity)
        self._header = self._lines[0] if names and any(is_header(cell) for cell in table.rows[0][1]) else None
        if not set(self._lines) - {self._header}:
            raise UserError(f"the list '{path}' names no image")
        self._matcher = Matcher(names, identities)

    def __len__(self):
        return len(set(self._lines))

    def survey(self, folder, paths):
        """Looks at all images that there are: an iterable of paths relative to `folder` (None: from nowhere).

        Raises UserError if a line fits several images equally well.
        """
        self._matcher.survey(folder, paths)
        for row, name in enumerate(self._matcher.names):
            if self._matcher.num_pictures_of(row) > 1:
                raise UserError(
                    f"'{self.path}', line {self._lines[row]}: '{name}' could be any of "
                    f"{self._matcher.num_pictures_of(row)} pictures, for instance '{self._matcher.picture_of(row)}'; "
                    'write as much of the path as tells them apart')

    def __contains__(self, path):
        """Whether the list names the image with this path relative to the folder."""
        return bool(self._matcher.rows_of(path))

    def counts(self):
        """(rows, rows that name an image, images that they name); a header that names none is no row."""
        found = {row: self._matcher.picture_of(row) for row in range(len(self._lines))
                 if self._matcher.picture_of(row) is not None}
        matched = {self._lines[row] for row in found}
        return len(set(self._lines) - ({self._header} - matched)), len(matched), len(set(found.values()))

    def facts(self):
        """What manifests and summaries record."""
        rows, matched, _ = self.counts()
        return {'file': os.path.abspath(self.path), 'sha256': self.sha256, 'rows': rows, 'rows_matched': matched}

    def describe(self, option, unit='pictures'):
        """A sentence about how the list fits the images."""
        rows, matched, images = self.counts()
        return (f"{option} '{self.path}': {matched} of {rows} rows matched {images} of {self._matcher.num_pictures} "
                f'{unit}')


def _readings(cells, separator):
    """What a line may say: [(name, whether the identity stands before it)]."""
    cells = [cell for cell in cells if cell] or ['']
    if len(cells) == 1:
        pair = re.match(r'([^,;]+)[,;]([^,;]+)\Z', cells[0])  # a line of another form than the others
        return [(cells[0], False)] + ([('/'.join(pair.groups()), True)] if pair else []) if cells[0] else []
    if is_image_name(cells[0]) and not is_image_name(cells[1]) and separator != ' ':
        return [(cells[0], False)]  # a remark follows
    return [('/'.join(cells), True), (separator.join(cells), False)]
