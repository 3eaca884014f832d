"""A sheet of panels with captions below them, titles above the columns and beside the rows; and an animation."""

import os

from PIL import Image, ImageDraw, ImageFont

from dnnlib.files import atomic_path
from figures import composing

PANEL = 288             # pixels
GAP = 14
LINE = 19               # pixels from one line of text to the next
TEXT_SIZE, TITLE_SIZE = 14, 18
ROW_TITLE = 150         # pixels left of the panels
FRAME_MILLISECONDS = 120


def _font(size):
    """The font that matplotlib brings, which is the same everywhere."""
    import matplotlib
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'), size)


def write(picture, position, words):
    """Writes a line of text on a PIL picture; `position` is that of its upper left corner."""
    ImageDraw.Draw(picture).text(position, words, fill='black', font=_font(TEXT_SIZE))


def panel_sheet(panels, column_titles, row_titles):
    """One picture of all panels.

    Args:
        panels: rows of (PIL picture, list of lines of text); None leaves a cell empty.
        column_titles, row_titles: texts.

    Returns a PIL picture.
    """
    num_lines = max(len(lines) for row in panels for cell in row if cell for lines in [cell[1]])
    cell_height = PANEL + num_lines * LINE + GAP
    width = ROW_TITLE + len(column_titles) * (PANEL + GAP)
    top = TITLE_SIZE + 2 * GAP
    sheet = composing.canvas(width, top + len(panels) * cell_height)
    draw, text, title = ImageDraw.Draw(sheet), _font(TEXT_SIZE), _font(TITLE_SIZE)
    for column, words in enumerate(column_titles):
        draw.text((ROW_TITLE + column * (PANEL + GAP), GAP), words, fill='black', font=title)
    for row, (words, cells) in enumerate(zip(row_titles, panels)):
        y = top + row * cell_height
        draw.text((GAP, y), words, fill='black', font=title)
        for column, cell in enumerate(cells):
            if cell is None:
                continue
            x = ROW_TITLE + column * (PANEL + GAP)
            picture, lines = cell
            sheet.paste(picture.resize((PANEL, PANEL), Image.LANCZOS), (x, y))
            draw.rectangle([x, y, x + PANEL - 1, y + PANEL - 1], outline=(190, 190, 190))
            for number, line in enumerate(lines):
                draw.text((x, y + PANEL + 3 + number * LINE), line, fill=(40, 40, 40), font=text)
    return sheet


def save_gif(pictures, captions, path):
    """Stores PIL pictures of one size as an animation, each with a line of text below it. Returns the path."""
    frames = []
    for picture, caption in zip(pictures, captions):
        frame = composing.canvas(picture.width, picture.height + LINE + 6)
        frame.paste(picture, (0, 0))
        write(frame, (6, picture.height + 2), caption)
        frames.append(frame.quantize(128, method=Image.MEDIANCUT if hasattr(Image, 'MEDIANCUT') else 0))
    durations = [FRAME_MILLISECONDS] * (len(frames) - 1) + [2000]  # the last one stays
    with atomic_path(path) as temp:
        frames[0].save(temp, format='GIF', save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return path
