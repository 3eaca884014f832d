"""One page that shows pictures with captions, and the files that it shows."""

import html
import math
import os

from PIL import Image, features

from config import version
from dnnlib.files import atomic_path, atomic_write, write_json
from figures import composing

FRAME_MILLISECONDS = 66
ON_A_SHEET, ON_A_PAGE = 256, 1000  # pictures
_STYLE = '''body { font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
figure { margin: 0 0 3em } img { max-width: 100%; height: auto; display: block }
figcaption { margin-top: .6em; max-width: 45em } table { border-collapse: collapse; margin: 0 0 2em }
td { padding: .1em 1em .1em 0; vertical-align: top } .cells { display: flex; flex-wrap: wrap; gap: 6px }
.cells figure { margin: 0 } .cells figcaption { margin: 0; font-size: 12px; text-align: center }
.labelled { display: grid; grid-template-columns: max-content minmax(0, max-content); justify-content: start;
  font-size: 13px; line-height: 1.2 }
.rows, .columns { display: flex; text-align: center } .rows { flex-direction: column; max-width: 7em }
.rows span { display: flex; align-items: center; justify-content: center; padding-right: .6em }
.columns { grid-column: 2; padding-top: .3em } .rows span, .columns span { flex-basis: 0; min-width: 0 }'''


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


def _table(facts):
    rows = ''.join(f'<tr><td>{html.escape(str(key))}</td><td>{html.escape(str(value))}</td></tr>\n'
                   for key, value in facts.items())
    return f'<table>\n{rows}</table>\n'


def write_page(path, title, facts, body):
    """Stores an HTML page with a title, a table of facts and a body."""
    with atomic_write(path, 'w') as file:
        file.write(f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
                   f'<style>\n{_STYLE}\n</style></head><body>\n<h1>{html.escape(title)}</h1>\n{_table(facts)}{body}'
                   '</body></html>\n')


def _labels(kind, labels):
    spans = ''.join(f'<span style="flex-grow: {share}">{html.escape(text)}</span>' for text, share in labels)
    return f'<div class="{kind}">{spans}</div>\n'


def figure_block(file, title, caption, zoom=1, still=None, columns=(), rows=()):
    """HTML of one captioned figure, shown `zoom` times as large as its file.

    `still` is a further file, which shows an animation's frames side by side; `columns` and `rows` are what is written
    below and left of the picture, as (text, share of its width or height).
    """
    name = html.escape(os.path.basename(file))

    def image(path, alt):
        with Image.open(path) as picture:
            width = picture.size[0] * zoom
        return f'<img src="{html.escape(os.path.basename(path))}" width="{width}" alt="{html.escape(alt)}">'

    more = image(still, '') + '\n' if still else ''
    shown = f'<a href="{name}">{image(file, title)}</a>\n'
    if columns or rows:
        shown = f'<div class="labelled">\n{_labels("rows", rows)}{shown}{_labels("columns", columns)}</div>\n'
    return (f'<figure id="{html.escape(os.path.splitext(name)[0])}">\n<h2>{html.escape(title)}</h2>\n{shown}{more}'
            f'<figcaption>{html.escape(caption)}</figcaption>\n</figure>\n')


def cells_block(files, captions, width):
    """HTML of many small pictures with short captions."""
    cells = ''.join(f'<figure><a href="{html.escape(os.path.basename(file))}"><img loading="lazy" width="{width}" '
                    f'src="{html.escape(os.path.basename(file))}" alt=""></a>'
                    f'<figcaption>{html.escape(caption)}</figcaption></figure>\n'
                    for file, caption in zip(files, captions))
    return f'<div class="cells">\n{cells}</div>\n'


def write_record(path, record):
    """Stores what was drawn as JSON."""
    write_json(path, dict(record, version=version), ensure_ascii=False)


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


def write_cells(folder, title, facts, files, captions, width):
    """Stores pages of at most `ON_A_PAGE` pictures with captions: `index.html`, `index-2.html` and so on, which lead to
    each other. Returns their number."""
    count = max(-(-len(files) // ON_A_PAGE), 1)
    names = [_numbered('index', number, '.html') for number in range(count)]
    links = ' '.join(f'<a href="{name}">{number}</a>' for number, name in enumerate(names, 1))
    for number, name in enumerate(names):
        part = slice(number * ON_A_PAGE, (number + 1) * ON_A_PAGE)
        write_page(os.path.join(folder, name), title if count == 1 else f'{title}, page {number + 1} of {count}', facts,
                   (f'<p>{links}</p>\n' if count > 1 else '') + cells_block(files[part], captions[part], width))
    return count


def _numbered(stem, number, suffix):
    return stem + (f'-{number + 1}' if number else '') + suffix
