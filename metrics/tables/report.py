"""A filled table as Markdown, CSV, JSON and HTML: reproduced and published values with the protocol of each."""

import csv
import io
import json
import os
from collections import OrderedDict

from dnnlib import pages
from dnnlib.files import make_folders, recall_json
from dnnlib.util import UserError, atomic_write
from metrics.scores import records

ABOUT = 'A cell gives the reproduced value ± its standard error of sampling'
PUBLISHED = ', then the published value and the difference in percent'
ARROWS = {'lower': ' ↓', 'higher': ' ↑'}


def write_all(out_dir, table, cells, stem=None):
    """Writes `NAME.md`, `.csv`, `.json` and `.html` (`stem` in place of NAME); returns their paths.

    A table there that holds more (fuller scores, other networks, other columns) stays: the new one gets a number.
    """
    make_folders(out_dir)
    stem = _free_stem(out_dir, stem or table.name, cells)
    texts = OrderedDict([
        ('md', to_markdown(table, cells)), ('csv', to_csv(cells)), ('html', to_html(table, cells)),
        ('json', json.dumps(records.plain({'format': records.FORMAT, 'table': table.name, 'title': table.title,
                                           'paper': table.paper, 'cells': cells}), indent=1) + '\n')])
    paths = []
    for suffix, text in texts.items():
        paths.append(os.path.join(out_dir, f'{stem}.{suffix}'))
        with atomic_write(paths[-1], 'w') as file:
            file.write(text)
    return paths


def _free_stem(out_dir, stem, cells):
    for candidate in [stem] + [f'{stem}-{number}' for number in range(2, 1000)]:
        present = recall_json(os.path.join(out_dir, candidate + '.json')) or {}
        old = present.get('cells')
        if all(_is_made_again(cell, cells) for cell in (old if isinstance(old, list) else [])):
            return candidate
        print(f'{candidate}.md in {out_dir} holds scores that this table does not, and stays', flush=True)
    raise UserError(f'{out_dir} holds a thousand tables; choose another folder with --out')


def _is_made_again(old, cells):
    """Whether a cell of a table, as JSON, has its like among new cells, of the same network and no fewer samples."""
    if not isinstance(old, dict) or old.get('value') is None:
        return True
    place = ('row', 'column', 'value_name')
    new = next((cell for cell in cells if all(cell[key] == old.get(key) for key in place)), None)
    if new is None or new['value'] is None:
        return False
    before, now = old.get('protocol') or {}, new['protocol'] or {}
    return before.get('network_sha256') == now.get('network_sha256') and (
        (before.get('num_samples') or 0) <= (now.get('num_samples') or 0))


def _digits(number):
    """A number with four decimals, or, where these would round it away, with three digits."""
    return f'{number:.3g}' if 0 < abs(number) < 0.01 else f'{number:.4f}'


def cell_texts(cell):
    """(reproduced, published, difference) as texts, '-' for what is unknown."""
    value = '-' if cell['value'] is None else _digits(cell['value'])
    if cell['value'] is not None and cell['standard_error'] is not None:
        value += f" ± {cell['standard_error']:.4f}"
    published = '-' if cell['published'] is None else _digits(cell['published'])
    difference = '-' if cell['difference_percent'] is None else f"{cell['difference_percent']:+.1f} %"
    return value, published, difference


def _notes(cells):
    """([remark, ...] in order of appearance, list of each cell's numbers of remarks)."""
    notes, marks = [], []
    for cell in cells:
        for remark in cell['remarks']:
            if remark not in notes:
                notes.append(remark)
        marks.append(sorted(notes.index(remark) + 1 for remark in cell['remarks']))
    return notes, marks


def _directions(cells):
    """The set of what is better among cells: 'lower', 'higher', None."""
    return {cell['better'] for cell in cells}


def _about(cells):
    """What a cell says and, where all cells agree, which way is better; else arrows at rows and columns say it."""
    found = _directions(cells)
    about = ABOUT + (PUBLISHED if any(cell['published'] is not None for cell in cells) else '') + '.'
    if found == {None}:
        return about
    return f'{about} ' + (f'{found.pop().capitalize()} is better.' if len(found) == 1 else
                          '↓: lower is better; ↑: higher is better.')


def _arrow(cells, line):
    """The arrow of a row or column, where its cells agree and those of the whole table do not."""
    found = _directions(line)
    return ARROWS.get(found.pop(), '') if len(found) == 1 < len(_directions(cells)) else ''


def _grid(table, cells):
    """(titles of the columns that are filled, [(title of a row, [index of its cell or None per column])])."""
    columns = [title for title in table.columns.values() if any(cell['column'] == title for cell in cells)]
    rows = []
    for title in table.rows:
        indices = [next((index for index, cell in enumerate(cells) if (cell['row'], cell['column']) == (title, column)),
                        None) for column in columns]
        found = [cells[index] for index in indices if index is not None]
        if found:
            rows.append((title + _arrow(cells, found), indices))
    return [column + _arrow(cells, [cell for cell in cells if cell['column'] == column]) for column in columns], rows


def _protocol_lines(cells):
    """One line per measured cell."""
    lines = []
    for cell in cells:
        protocol = cell['protocol']
        if protocol is None:
            continue
        where = f"{cell['row']}, {cell['column']}: "
        if 'feature_networks' not in protocol:
            lines.append(where + '; '.join(f'{key} {value}' for key, value in protocol.items()))
            continue
        parts = [f"network {protocol['network']} (sha256 {protocol['network_sha256'][:12]})"]
        if protocol['kimg'] is not None:
            parts.append(f"trained for {protocol['kimg']:g} kimg")
        parts += [f"{protocol['num_samples']} samples", f"seed {protocol['seed']}"]
        if protocol['dataset_fingerprint']:
            parts.append(f"data set {protocol['dataset_fingerprint'][:12]}, {protocol['dataset_images']} images, "
                         f"mirrored: {'yes' if protocol['mirror_augment'] else 'no'}")
        names = sorted({network['file'] for network in protocol['feature_networks'].values()})
        shown = ', '.join(names[:2]) + (f' and {len(names) - 2} more' if len(names) > 2 else '')
        if names:
            parts.append(f'features {shown}')
        parts.append(f"TensorFlow {protocol['tensorflow']} on {protocol['device']}")
        lines.append(where + '; '.join(parts))
    return lines


def to_markdown(table, cells):
    """The table with numbered remarks and the protocol of every value."""
    notes, marks = _notes(cells)
    columns, rows = _grid(table, cells)
    lines = [f'# {table.title}', '', f'{table.paper}.', '',
             '| ' + ' | '.join([table.row_title] + columns) + ' |',
             '| ' + ' | '.join(['---'] * (1 + len(columns))) + ' |']
    for title, indices in rows:
        texts = [_markdown_cell(cells[index], marks[index]) if index is not None else '' for index in indices]
        lines.append('| ' + ' | '.join([title] + texts) + ' |')
    lines += ['', _about(cells), ''] + [f'- {note}' for note in table.notes] + ([''] if table.notes else [])
    lines += [f'[{number}] {note}\n' for number, note in enumerate(notes, 1)]
    protocol = _protocol_lines(cells)
    if protocol:
        lines += ['## Protocol', ''] + [f'- {line}' for line in protocol]
    return '\n'.join(lines).rstrip() + '\n'


def _markdown_cell(cell, marks):
    value, published, difference = cell_texts(cell)
    others = ', '.join(text for text in (published, difference) if text != '-')
    return ' '.join([f'**{value}**' if cell['value'] is not None else value] + ([f'({others})'] if others else [])
                    + [f'[{mark}]' for mark in marks])


def to_csv(cells):
    """One line per value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(['row', 'column', 'network', 'metric', 'space', 'value', 'standard_error', 'published',
                     'difference_percent', 'better', 'num_samples', 'seed', 'network_sha256', 'dataset_fingerprint',
                     'remarks'])
    for cell in cells:
        protocol = cell['protocol'] or {}
        writer.writerow([cell['row'], cell['column'], cell['network'], cell['value_name'], cell['space'], cell['value'],
                         cell['standard_error'], cell['published'], cell['difference_percent'],
                         cell['better'], protocol.get('num_samples'), protocol.get('seed'),
                         protocol.get('network_sha256'), protocol.get('dataset_fingerprint'),
                         '; '.join(cell['remarks'])])
    return buffer.getvalue()


def to_html(table, cells):
    """A page that needs no other file."""
    notes, marks = _notes(cells)
    columns, rows = _grid(table, cells)
    return pages.render(
        'table', title=table.title, paper=table.paper, about=_about(cells), head=[table.row_title] + columns,
        rows=[(title, [None if index is None else _page_cell(cells[index], marks[index]) for index in indices])
              for title, indices in rows],
        notes=table.notes, remarks=notes, protocol=_protocol_lines(cells))


def _page_cell(cell, marks):
    value, published, difference = cell_texts(cell)
    return dict(name=cell['value_name'], value=value, marks=marks,
                others=', '.join(text for text in (published, difference) if text != '-'))
