"""Contact sheets: a sample of what was kept and of what was not, the way the paper's figures 1 to 4 show it."""

import heapq
import os
import textwrap
import zlib

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from data import ledger
from data.prefilter.decode import Unusable, decode, read_file
from dnnlib.files import atomic_path, make_folders, parse_json

FOLDER = ledger.SHEETS
NUM_KEPT = 100
NUM_PER_REASON = 30

_TILE, _CAPTION, _COLUMNS, _GAP = 128, 26, 10, 4
_NAME = 21      # letters that fit below a tile
_TOLD_ONLY = {'crashed', 'timeout', 'out_of_memory', 'too_many_pixels', 'failed'}
_MAX_PIXELS = 64 * 1000 * 1000


def draw(ledger_path, folder, out, suffix):
    """Draws the sheets of a ledger.

    Args:
        ledger_path: its path. folder: of the photographs, or None if it is not known. out: of the crops.
        suffix: what follows the sheets' names.

    Returns:
        paths of the sheets, relative to `out`.
    """
    kept, rejected = _samples(ledger_path)
    sheets = []
    for name, rows, open_tile in (('kept', kept, lambda row: _crop_tile(row, out)),
                                  ('rejected', rejected, lambda row: _photo_tile(row, folder))):
        if rows:
            relative = os.path.join(FOLDER, f'{name}{suffix}.jpg')
            make_folders(os.path.join(out, FOLDER))
            with atomic_path(os.path.join(out, relative)) as temp:
                _sheet([(open_tile(row), _caption(row), row.detail) for row in rows]).save(temp, quality=90)
            sheets.append(relative)
    return sheets


def _samples(ledger_path):
    """Rows drawn by a hash of their path: the same at each run, with nothing to do with their order."""
    kept, rejected = [], {}
    for row in ledger.read(ledger_path):
        if row.decision == ledger.KEPT:
            _sample(kept, row, NUM_KEPT)
        else:
            _sample(rejected.setdefault(row.reason, []), row, NUM_PER_REASON)
    by_reason = sorted(rejected.items())
    return _sorted_rows(kept), [row for _, sample in by_reason for row in _sorted_rows(sample)]


def _sample(sample, row, count):
    heapq.heappush(sample, (-zlib.crc32(row.path.encode('utf-8')), row))
    if len(sample) > count:
        heapq.heappop(sample)


def _sorted_rows(sample):
    return sorted(row for _, row in sample)


def _crop_tile(row, out):
    path = ledger.find(out, row.output)
    if path is None:
        return None
    try:
        return PIL.Image.fromarray(decode(read_file(path)[0], _MAX_PIXELS).pixels)
    except (Unusable, MemoryError):
        return None  # changed since it was written: no reason to lose the run's end


def _photo_tile(row, folder):
    """The photograph with its faces framed, or None where it cannot or should not be decoded again."""
    path = None if folder is None or row.reason in _TOLD_ONLY or not row.width else ledger.find(folder, row.path)
    if path is None:
        return None
    try:
        words = row.settings.split()
        photo = decode(read_file(path)[0], _MAX_PIXELS, 'exif=1' in words, 'webp=1' in words)
    except (Unusable, MemoryError):
        return None
    image = PIL.Image.fromarray(photo.pixels)
    canvas = PIL.ImageDraw.Draw(image)
    for box in parse_json(row.boxes or '[]'):
        canvas.rectangle(box, outline=(255, 64, 64), width=max(max(image.size) // 128, 1))
    return image


def _caption(row):
    name = shortened(row.path)
    if row.decision == ledger.REJECTED:
        return [name, row.reason]
    return [name, f'score {float(row.score):.4f}' if row.score else 'by landmarks']


def shortened(path, most=_NAME):
    """A path that fits below a picture: its end, after an ellipsis where something is left out."""
    return path if len(path) <= most else '...' + path[3 - most:]


def _sheet(tiles):
    columns = min(_COLUMNS, len(tiles))
    width, height = _TILE + _GAP, _TILE + _CAPTION + _GAP
    sheet = PIL.Image.new('RGB', (columns * width + _GAP, -(-len(tiles) // columns) * height + _GAP), (255, 255, 255))
    canvas = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.load_default()

    def write(left, top, lines):
        for number, line in enumerate(lines):
            text = line.encode('latin-1', 'replace').decode('latin-1')
            canvas.text((left, top + 12 * number), text, fill=(0, 0, 0), font=font)

    for i, (image, caption, detail) in enumerate(tiles):
        left, top = _GAP + i % columns * width, _GAP + i // columns * height
        canvas.rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=(225, 225, 225))
        if image is not None:
            image.thumbnail((_TILE, _TILE), PIL.Image.LANCZOS)
            sheet.paste(image, (left + (_TILE - image.size[0]) // 2, top + (_TILE - image.size[1]) // 2))
        else:
            write(left + 4, top + 4, textwrap.wrap(detail, 20)[:10])
        write(left + 1, top + _TILE + 1, caption)
    return sheet
