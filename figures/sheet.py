"""One page that shows pictures with captions, and the files that it shows."""

import math
import os
from collections import OrderedDict

from PIL import Image, features

from config import version
from dnnlib import pages
from dnnlib.errors import UserError
from dnnlib.files import atomic_path, make_writable_folder, write_json
from figures import composing

FRAME_MILLISECONDS = 66
ON_A_SHEET, ON_A_PAGE = 256, 1000  # pictures


def save_picture(picture, path):
    """Stores a PIL picture atomically; the suffix chooses the format. Returns the path."""
    with atomic_path(path) as temp:
        picture.save(temp)
    return path


def save_animation(frames, path_without_suffix):
    """Stores PIL pictures as an animation that browsers play in a loop: WebP, or GIF where WebP is missing.

    Returns the path.
    """
    # Newer versions of the library no longer list this feature, since it is always there.
    is_webp = features.check('webp') and ('webp_anim' not in features.features or features.check('webp_anim'))
    path = path_without_suffix + ('.webp' if is_webp else '.gif')
    options = {'quality': 85, 'method': 4} if is_webp else {'optimize': False}
    with atomic_path(path) as temp:
        frames[0].save(temp, save_all=True, append_images=frames[1:], duration=FRAME_MILLISECONDS, loop=0, **options)
    return path


def shown(path):
    """How a page shows a picture: {file, width in pixels}."""
    with Image.open(path) as picture:
        return dict(file=os.path.basename(path), width=picture.size[0])


def figure_block(file, title, caption, still=None, columns=(), rows=(), groups=()):
    """One captioned figure for `write_figures`.

    `still` is a further file, which shows an animation's frames side by side. `columns` and `rows` are what is written
    below and left of the picture, or of the still one, as (text, share of its width or height), `groups` left of the
    rows.
    """
    return dict(id=os.path.splitext(os.path.basename(file))[0], title=title, caption=caption, rows=rows, groups=groups,
                columns=columns, animation=shown(file) if still else None, picture=shown(still or file))


def told(facts):
    """Facts about a network and its images as people read them; whole paths stay in the records."""
    where = without_folders(facts['network'])
    rows = OrderedDict([('Network', f"{where}, {facts['taken']}" if facts['taken'] != 'as named' else where)])
    if facts['file'] != os.path.basename(where):
        rows['File'] = facts['file']
    rows.update([('SHA-256', facts['sha256']), ('Resolution', '{0} x {0}'.format(facts['resolution']))])
    if 'psi' in facts:
        rows['Truncation'] = 'none' if facts['psi'] == 1 else f"ψ = {facts['psi']:g}" + (
            '' if facts['cutoff'] is None else f", first {facts['cutoff']} layers")
    if 'noise' in facts:
        rows['Noise'] = facts['noise']
    if facts.get('labels'):
        rows['Labels'] = facts['labels']
    rows['Drawn with'] = f"{facts['engine']}, on a {facts['device'].upper()}"
    return rows


def without_folders(name):
    """A file or a run by its last parts where it was given by an absolute path."""
    parts = os.path.normpath(name).split(os.sep)
    return '/'.join(parts[-2:] if os.path.splitext(name)[1] else parts[-1:]) if os.path.isabs(name) else name


def write_figures(path, title, facts, blocks):
    """Stores a page with a title, a table of facts and captioned figures. Returns its path."""
    return pages.write(path, 'figures', title=title, facts=facts, figures=blocks)


def write_record(path, record):
    """Stores what was drawn as JSON."""
    write_json(path, dict(record, version=version), ensure_ascii=False)


def place_for(folder, others, is_named):
    """A folder for what is made now, in no other's place.

    Args:
        folder: that is meant.
        others: function from a folder to whether results of something else lie there, among which these would be lost.
        is_named: whether the user named it. Else a number is put to its name.

    Raises UserError.
    """
    if not others(folder):
        return folder
    if is_named:
        raise UserError(f"'{folder}' holds results of another network, or of other settings or photographs; choose "
                        'another --outdir, or delete it')
    number = 2
    while others(f'{folder}-{number}'):
        number += 1
    return make_writable_folder(f'{folder}-{number}')


class ContactSheets:
    """Small pictures on sheets of at most `ON_A_SHEET`, each of which is written as soon as it is full: `sheet.png`,
    `sheet-2.png` and so on. total: how many pictures there will be. Attribute: `names` of the sheets."""

    def __init__(self, folder, total):
        self._folder, self._total = folder, total
        self._pictures, self._count = [], 0
        self.names = []

    def add(self, picture):
        """Adds the next picture."""
        self._pictures.append(picture)
        self._count += 1
        if len(self._pictures) == ON_A_SHEET or self._count == self._total:
            columns = min(int(math.ceil(math.sqrt(len(self._pictures) * 1.6))), 16)
            rows = [self._pictures[i:i + columns] for i in range(0, len(self._pictures), columns)]
            self.names.append(_numbered('sheet', len(self.names), '.png'))
            save_picture(composing.grid(rows, gap=2), os.path.join(self._folder, self.names[-1]))
            self._pictures = []


def write_cells(folder, title, facts, files, captions, width, is_crisp=False):
    """Stores pages of at most `ON_A_PAGE` pictures with captions: `index.html`, `index-2.html` and so on, which lead to
    each other. Returns their number."""
    count = max(-(-len(files) // ON_A_PAGE), 1)
    names = [_numbered('index', number, '.html') for number in range(count)]
    for number, name in enumerate(names):
        part = slice(number * ON_A_PAGE, (number + 1) * ON_A_PAGE)
        pages.write(os.path.join(folder, name), 'samples', facts=facts, pages=names, width=width, is_crisp=is_crisp,
                    title=title if count == 1 else f'{title}, page {number + 1} of {count}',
                    cells=[(os.path.basename(file), caption) for file, caption in zip(files[part], captions[part])])
    return count


def _numbered(stem, number, suffix):
    return stem + (f'-{number + 1}' if number else '') + suffix
