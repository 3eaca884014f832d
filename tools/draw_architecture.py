"""Draws docs/images/architecture.svg: the rooms of this project, what each is for, and which ones it imports.

Run `python3 tools/draw_architecture.py` after adding a room or a folder, or an arrow between two rooms; a test compares
the picture with what this makes. Everything in it is read from the source: sentences are the first ones of the
packages' docstrings, arrows are imports (see `import_graph`). Needs no packages.
"""

import argparse
import ast
import html
import os
import textwrap

import import_graph

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(ROOT, 'docs', 'images', 'architecture.svg')
# From top to bottom; rooms of one row know nothing of each other.
ROWS = (('scripts',), ('experiment',), ('metrics', 'figures'), ('training',), ('data',), ('dnnlib',), ('config',))
WIDTH, MARGIN, GAP, LANE = 800, 20, 34, 22
LINE, PADDING = 18, 12
COLOURS = {'scripts': '#5b6b7b', 'experiment': '#8c5a9e', 'metrics': '#b0533c', 'figures': '#b07a1e',
           'training': '#2f7d5b', 'data': '#2b6cb0', 'dnnlib': '#4a5568', 'config': '#718096'}
SCRIPTS = 'Parse a command line, call, print.'
STYLE = '''.room { fill: #fff; stroke-width: 2 } .name { font: bold 16px sans-serif }
text { font: 13px sans-serif; fill: #222 } .folder { font: 12px monospace; fill: #444 }
.arrow { fill: none; stroke-width: 2 } .paper { fill: #fbfbf9 }'''


def first_sentence(path):
    """The first sentence of a module's docstring, in one line."""
    with open(path, encoding='utf-8') as f:
        text = ast.get_docstring(ast.parse(f.read()), clean=True) or ''
    text = ' '.join(text.split('\n\n')[0].replace('`', '').split())
    return text.split('. ')[0].rstrip('.') + '.'


def contents(graph, room):
    """(sentence about a room, its parts in a line)."""
    if room == 'scripts':
        names = [name for name in graph.files if import_graph.room_of(name) == 'scripts'
                 and name not in ('setup', 'check_python')]
        return SCRIPTS, ' '.join(f'{name}.py' for name in sorted(names))
    if room == 'config':
        return first_sentence(graph.files['config']), ''
    folders = sorted({name.split('.')[1] for name, path in graph.files.items() if name.startswith(room + '.')
                      and os.path.basename(os.path.dirname(path)) == name.split('.')[1]})
    return first_sentence(graph.files[room]), ' '.join(f'{name}/' for name in folders)


def arrows_between_rooms(graph):
    """{(room, room it imports)}; `config` may name rooms above in texts and imports none."""
    pairs = {(import_graph.room_of(arrow.source), import_graph.room_of(arrow.target)) for arrow in graph.arrows
             if arrow.source != 'config'}
    return {(source, target) for source, target in pairs if source != target}


class Box:
    """A room on the picture, its text broken into lines."""

    def __init__(self, room, x, y, width, content):
        self.room, self.x, self.y, self.width = room, x, y, width
        sentence, parts = content
        characters = int((width - 2 * PADDING) / 6.9)
        self.lines = textwrap.wrap(sentence, characters)
        self.parts = textwrap.wrap(parts, int((width - 2 * PADDING) / 7.4), break_on_hyphens=False)
        self.height = 2 * PADDING + LINE * (1 + len(self.lines) + len(self.parts)) - 4

    def draw(self):
        x, y = self.x + PADDING, self.y + PADDING + 13
        yield (f'<rect class="room" x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6" '
               f'stroke="{COLOURS[self.room]}"/>')
        title = self.room + {'scripts': '', 'config': '.py'}.get(self.room, '/')
        yield f'<text class="name" x="{x}" y="{y}" style="fill: {COLOURS[self.room]}">{title}</text>'
        for number, line in enumerate(self.lines, 1):
            yield f'<text x="{x}" y="{y + LINE * number}">{html.escape(line)}</text>'
        for number, line in enumerate(self.parts, len(self.lines) + 1):
            yield f'<text class="folder" x="{x}" y="{y + LINE * number}">{html.escape(line)}</text>'


def place(graph):
    """{room: Box}, one row below the other, and the height of the picture."""
    boxes, y = {}, MARGIN
    for row in ROWS:
        width = (WIDTH - GAP * (len(row) - 1)) // len(row)
        row_boxes = [Box(room, MARGIN + i * (width + GAP), y, width, contents(graph, room))
                     for i, room in enumerate(row)]
        height = max(box.height for box in row_boxes)
        for box in row_boxes:
            box.height = height
            boxes[box.room] = box
        y += height + GAP
    return boxes, y - GAP + MARGIN


def draw_arrows(boxes, pairs):
    """Straight ones between neighbouring rows; for the others a lane per target, beside the rooms, which all share."""
    rows = {room: number for number, row in enumerate(ROWS) for room in row}
    far = [room for row in ROWS for room in row if any(target == room and rows[source] + 1 < rows[room]
                                                       for source, target in pairs)]
    lanes = {room: MARGIN + WIDTH + LANE * (len(far) - number) for number, room in enumerate(far)}
    for source, target in sorted(pairs, key=lambda pair: (rows[pair[1]], rows[pair[0]], pair)):
        top, bottom, colour = boxes[source], boxes[target], COLOURS[target]
        mark = f'stroke="{colour}" marker-end="url(#{target})"'
        if rows[source] + 1 == rows[target]:
            narrow = top if top.width < bottom.width else bottom
            x = narrow.x + narrow.width // 2
            yield f'<path class="arrow" d="M{x} {top.y + top.height} V{bottom.y - 8}" {mark}/>'
            continue
        lane = lanes[target]
        # Siblings on the left leave below themselves; all others to the right.
        order = far.index(target)
        if top.x + top.width < MARGIN + WIDTH - 1:
            x = top.x + top.width - 30 - 12 * order
            start = f'M{x} {top.y + top.height} v{6 + 4 * order} H{lane}'
        else:
            start = f'M{top.x + top.width} {top.y + 16 + 9 * order} H{lane}'
        if bottom.x + bottom.width < MARGIN + WIDTH - 1:  # from above, so as not to cross its sibling
            end = f'V{bottom.y - GAP // 2} H{bottom.x + bottom.width - 30} V{bottom.y - 8}'
        else:
            end = f'V{bottom.y + bottom.height // 2} H{bottom.x + bottom.width + 8}'
        yield f'<path class="arrow" d="{start} {end}" {mark}/>'


def make(graph):
    """The text of the picture of an `import_graph.Graph`."""
    boxes, height = place(graph)
    pairs = arrows_between_rooms(graph)
    width = WIDTH + 2 * MARGIN + LANE * 6
    heads = ''.join(f'<marker id="{room}" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="4.5" markerHeight="4.5" '
                    f'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>'
                    for room, colour in COLOURS.items())
    body = list(draw_arrows(boxes, pairs)) + [line for box in boxes.values() for line in box.draw()]
    return '\n'.join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        '<!-- Made by tools/draw_architecture.py from the imports; do not edit. -->',
        f'<style>{STYLE}</style>', f'<defs>{heads}</defs>',
        f'<rect class="paper" width="{width}" height="{height}"/>', *body, '</svg>\n'])


def main():
    """Writes the picture."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with open(TARGET + '.new', 'w', encoding='utf-8') as f:
        f.write(make(import_graph.Graph(ROOT)))
    os.replace(TARGET + '.new', TARGET)


if __name__ == '__main__':
    main()
