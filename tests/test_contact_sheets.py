"""Many pictures are shown on sheets and pages of a bounded size."""

import pytest
from PIL import Image

from figures import sheet


@pytest.mark.parametrize('total, sheets, pages', [(1, 1, 1), (7, 1, 1), (8, 1, 1), (9, 2, 1), (25, 4, 3)])
def test_sheets_and_pages_are_of_a_bounded_size(tmp_path, monkeypatch, total, sheets, pages):
    monkeypatch.setattr(sheet, 'ON_A_SHEET', 8)
    monkeypatch.setattr(sheet, 'ON_A_PAGE', 10)
    writer = sheet.ContactSheets(str(tmp_path), total)
    for number in range(total):
        writer.add(Image.new('RGB', (10, 10), (number, 0, 0)))
        assert len(writer._pictures) < 8  # no more are ever kept
    assert writer.names == ['sheet.png'] + [f'sheet-{number}.png' for number in range(2, sheets + 1)]
    for name in writer.names:
        assert max(Image.open(str(tmp_path / name)).size) <= 4 * 12
    last = Image.open(str(tmp_path / writer.names[-1]))
    assert last.getpixel((0, 0)) == ((sheets - 1) * 8, 0, 0)
    files = [f'seed{number:04d}.png' for number in range(total)]
    assert sheet.write_cells(str(tmp_path), 'Images', {'psi': 1}, files, files, 64) == pages
    texts = [(tmp_path / name).read_text() for name in
             ['index.html'] + [f'index-{number}.html' for number in range(2, pages + 1)]]
    assert [text.count('<img') for text in texts] == [min(10, total - 10 * page) for page in range(pages)]
    assert ('href="index-2.html"' in texts[0]) == (pages > 1)
    assert all(sum(f'src="{name}"' in text for text in texts) == 1 for name in files)
