"""Lists of images to leave out or to keep, such as the published cleaned list of CelebA."""

import hashlib
import os
import re

from dnnlib.util import UserError


class ImageList:
    """The content of a list file.

    A line names one image: by its number (`202599` or `202599.jpg`, for 202599.jpg and 0202599.png alike), file name
    with or without extension, or relative path. A column before it is the identity, which is compared with the image's
    folder, unless all identities are numbers and the folder is none (CelebA's images lie in one folder). Columns are
    separated by blanks, tabs or commas; lines that start with # and blank lines do not count.

    Raises UserError if the file cannot be read, holds no entry, or has a line of more than two columns.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        try:
            with open(path, 'rb') as f:
                content = f.read()
        except OSError as err:
            raise UserError(f"the list '{path}' cannot be read: {err.strerror}") from None
        self.digest = hashlib.sha256(content).hexdigest()[:12]
        self._images = {}  # image → identities, None for an entry without
        for number, line in enumerate(content.decode('utf-8-sig', 'backslashreplace').splitlines(), 1):
            columns = line.replace(',', ' ').split()
            if not columns or columns[0].startswith('#'):
                continue
            if len(columns) > 2:
                raise UserError(f"'{path}', line {number}: {len(columns)} columns; expected an image, or an identity "
                                'and an image')
            identity = _key(columns[0]) if len(columns) == 2 else None
            stem, extension = os.path.splitext(columns[-1])
            # CelebA's lists say .jpg of images that were also published as .png.
            image = _key(stem) if extension.lower() in ('.jpg', '.png') else None
            self._images.setdefault(image if isinstance(image, int) else _key(columns[-1]), set()).add(identity)
        if not self._images:
            raise UserError(f"the list '{path}' names no image")
        identities = {identity for group in self._images.values() for identity in group}
        self._numbered = all(isinstance(identity, int) for identity in identities - {None})

    def __len__(self):
        return sum(len(group) for group in self._images.values())

    def __contains__(self, path):
        """Whether the list names the image with this relative path."""
        folder, name = os.path.split(path)
        stem = os.path.splitext(name)[0]
        whole = path.replace(os.sep, '/')
        identities = set()
        for key in (_key(stem), name, whole, os.path.splitext(whole)[0]):
            identities |= self._images.get(key, set())
        if not identities or None in identities:
            return bool(identities)
        folder = _key(os.path.basename(folder))
        return folder in identities or (self._numbered and not isinstance(folder, int))


def _key(text):
    """Numbers compare as numbers, whatever zeros they start with."""
    return int(text) if re.match(r'[0-9]{1,18}\Z', text) else text
