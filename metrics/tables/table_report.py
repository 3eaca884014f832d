"""Table I as Markdown, CSV, JSON and HTML: reproduced and published values with the protocol of each."""

import csv
import html
import io
import json
import os
from collections import OrderedDict

from dnnlib.util import atomic_write
from metrics.scores import records
from metrics.tables.table1 import ROWS


def make_rows(columns, results):
    """One dict per cell of the table, in the order of its columns and rows.

    Keys: column, title, metric, description, value, standard_error, published, difference_percent, remarks (list),
    protocol (dict or None where nothing was measured).
    """
    cells = []
    for column in columns:
        for key, (title, _, description) in ROWS.items():
            value, record = results.get(column.name, {}).get(key, (None, None))
            published = column.published.get(key)
            difference = None
            if value is not None and published:
                difference = 100.0 * (value - published) / published
            cells.append(OrderedDict(
                column=column.name, title=column.title, key=key, metric=title, description=description, value=value,
                standard_error=_error(record, key), published=published, difference_percent=difference,
                remarks=_remarks(record, value), protocol=_protocol(record)))
    return cells


def _error(record, key):
    if record is None:
        return None
    return record.get('standard_errors', {}).get(key, record.get('standard_error'))


def _remarks(record, value):
    if record is None:
        return ['not measured']
    remarks = []
    if record.get('is_standin'):
        remarks.append('stand-in networks, not comparable with published values')
    if record.get('is_reduced'):
        remarks.append(f"reduced protocol, {record['num_samples']} samples")
    if any(not network.get('verified') for network in record['feature_networks'].values()):
        remarks.append('feature network not verified')
    if value is None:
        remarks.append('failed')
    return remarks + list(record.get('problems', []))


def _protocol(record):
    if record is None:
        return None
    keys = ('network', 'network_sha256', 'dataset_fingerprint', 'dataset_images', 'mirror_augment', 'num_samples',
            'settings', 'seed', 'engine', 'tensorflow', 'device', 'num_gpus', 'seconds', 'time')
    protocol = OrderedDict((key, record.get(key)) for key in keys)
    protocol['feature_networks'] = OrderedDict(
        (name, OrderedDict((key, network.get(key)) for key in ('name', 'file', 'file_sha256', 'verified')))
        for name, network in record['feature_networks'].items())
    return protocol


def write_all(out_dir, cells):
    """Writes `table1.md`, `.csv`, `.json` and `.html`; returns their paths."""
    os.makedirs(out_dir, exist_ok=True)
    texts = {'md': to_markdown(cells), 'csv': to_csv(cells), 'html': to_html(cells),
             'json': json.dumps(records.plain({'format': records.FORMAT, 'cells': cells}), indent=1) + '\n'}
    paths = []
    for suffix, text in texts.items():
        paths.append(os.path.join(out_dir, 'table1.' + suffix))
        with atomic_write(paths[-1], 'w') as file:
            file.write(text)
    return paths


def _cell_texts(cell):
    """(reproduced, published, difference) as texts."""
    value = '-' if cell['value'] is None else f"{cell['value']:.4f}"
    if cell['value'] is not None and cell['standard_error'] is not None:
        value += f" ± {cell['standard_error']:.4f}"
    published = '-' if cell['published'] is None else f"{cell['published']:.4f}"
    difference = '-' if cell['difference_percent'] is None else f"{cell['difference_percent']:+.1f} %"
    return value, published, difference


def _notes(cells):
    """([remark, ...] in order of appearance, dict cell index -> numbers of its remarks)."""
    notes, marks = [], {}
    for index, cell in enumerate(cells):
        for remark in cell['remarks']:
            if remark not in notes:
                notes.append(remark)
            marks.setdefault(index, []).append(notes.index(remark) + 1)
    return notes, marks


def _protocol_lines(cells):
    """One line per measured cell."""
    lines = []
    for cell in cells:
        protocol = cell['protocol']
        if protocol is None:
            continue
        parts = [f"network {protocol['network']} (sha256 {protocol['network_sha256'][:12]})",
                 f"{protocol['num_samples']} samples", f"seed {protocol['seed']}"]
        if protocol['dataset_fingerprint']:
            parts.append(f"data set {protocol['dataset_fingerprint'][:12]}, {protocol['dataset_images']} images, "
                         f"mirrored: {'yes' if protocol['mirror_augment'] else 'no'}")
        networks = protocol['feature_networks']
        names = sorted({network['file'] for network in networks.values()})
        shown = ', '.join(names[:2]) + (f' and {len(names) - 2} more' if len(names) > 2 else '')
        parts.append(f'features {shown}')
        parts.append(f"TensorFlow {protocol['tensorflow']} on {protocol['device']}")
        lines.append(f"{cell['title']}, {cell['metric']}: " + '; '.join(parts))
    return lines


def to_markdown(cells):
    """The table with numbered remarks and the protocol of every value."""
    notes, marks = _notes(cells)
    lines = ['# Table I: quality and disentanglement metrics', '']
    for column in OrderedDict((cell['column'], None) for cell in cells):
        part = [(index, cell) for index, cell in enumerate(cells) if cell['column'] == column]
        lines += [f"## {part[0][1]['title']}", '', '| metric | reproduced | published | difference | remarks |',
                  '| --- | --- | --- | --- | --- |']
        for index, cell in part:
            value, published, difference = _cell_texts(cell)
            lines.append(f"| {cell['metric']} | {value} | {published} | {difference} | "
                         f"{' '.join(f'[{mark}]' for mark in marks.get(index, []))} |")
        lines.append('')
    lines += ['Values are followed by their standard errors of sampling. Lower is better everywhere.', '']
    lines += [f'[{number}] {note}\n' for number, note in enumerate(notes, 1)]
    protocol = _protocol_lines(cells)
    if protocol:
        lines += ['## Protocol', ''] + [f'- {line}' for line in protocol]
    return '\n'.join(lines).rstrip() + '\n'


def to_csv(cells):
    """One line per value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(['column', 'metric', 'value', 'standard_error', 'published', 'difference_percent', 'num_samples',
                     'seed', 'network_sha256', 'dataset_fingerprint', 'remarks'])
    for cell in cells:
        protocol = cell['protocol'] or {}
        writer.writerow([cell['column'], cell['key'], cell['value'], cell['standard_error'], cell['published'],
                         cell['difference_percent'], protocol.get('num_samples'), protocol.get('seed'),
                         protocol.get('network_sha256'), protocol.get('dataset_fingerprint'),
                         '; '.join(cell['remarks'])])
    return buffer.getvalue()


_STYLE = '''body { font: 15px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .3em .9em; border-bottom: 1px solid #ccc }
td.number { text-align: right; font-variant-numeric: tabular-nums } th { text-align: left } .remark { color: #a40000 }
li { font-size: 13px }'''


def to_html(cells):
    """A page that needs no other file."""
    notes, marks = _notes(cells)
    escape = html.escape
    parts = ['<!DOCTYPE html>', '<html lang="en"><head><meta charset="utf-8"><title>Table I</title>',
             f'<style>{_STYLE}</style></head><body>', '<h1>Table I: quality and disentanglement metrics</h1>']
    for column in OrderedDict((cell['column'], None) for cell in cells):
        part = [(index, cell) for index, cell in enumerate(cells) if cell['column'] == column]
        parts += [f"<h2>{escape(part[0][1]['title'])}</h2>", '<table><tr><th>metric</th><th>reproduced</th>'
                  '<th>published</th><th>difference</th><th>remarks</th></tr>']
        for index, cell in part:
            numbers = ''.join(f'<td class="number">{escape(text)}</td>' for text in _cell_texts(cell))
            remarks = ' '.join(f'<a href="#note{mark}">[{mark}]</a>' for mark in marks.get(index, []))
            parts.append(f"<tr><td title=\"{escape(cell['description'])}\">{escape(cell['metric'])}</td>{numbers}"
                         f'<td class="remark">{remarks}</td></tr>')
        parts.append('</table>')
    parts.append('<p>Values are followed by their standard errors of sampling. Lower is better everywhere.</p><ol>')
    parts += [f'<li id="note{number}">{escape(note)}</li>' for number, note in enumerate(notes, 1)]
    parts.append('</ol>')
    protocol = _protocol_lines(cells)
    if protocol:
        parts += ['<h2>Protocol</h2><ul>'] + [f'<li>{escape(line)}</li>' for line in protocol] + ['</ul>']
    return '\n'.join(parts + ['</body></html>']) + '\n'
