"""Shows and stores what a projection found."""

import os

import numpy as np
from PIL import ImageDraw

from dnnlib.files import recall_json
from figures import composing, sheet
from figures.latent_files import Latents

PANEL = 192         # pixels
UNFINISHED = 'unfinished'   # folder of what is not done yet


def key_in(folder):
    """The key (see `optimising.key_of`) of the projection whose result is in a folder, None where there is none."""
    path = os.path.join(folder, 'projected.json')
    return str((recall_json(path) or {}).get('key')) if os.path.lexists(path) else None


class Snapshots:
    """Stores the images of a projection while it goes on. Call it with what `optimising.project` tells."""

    def __init__(self, folder):
        self._folder = os.path.join(folder, 'snapshots')

    def __call__(self, begin, step, images):
        os.makedirs(self._folder, exist_ok=True)
        row = composing.grid([[composing.to_picture(image) for image in images]])
        sheet.save_picture(row, os.path.join(self._folder, f'photo{begin:04d}-step{step:06d}.png'))


def store(folder, found, with_noise, facts):
    """Stores `projected.npz`: w, and noise where it was found. Returns its path."""
    noise = None
    if with_noise:
        noise = [found[f'noise{index}'] for index in range(sum(name.startswith('noise') for name in found))]
    path = os.path.join(folder, 'projected.npz')
    Latents(found['w'], noise=noise, network_sha256=facts.sha256).save(path)
    return path


def show(folder, photographs, found, names, title, rows):
    """Stores pictures, `sheet.png` and `index.html`: photograph, projection, difference, curve of the distance.

    title, rows: of the page, and what its table says.
    """
    panels = []
    for index, (photograph, image) in enumerate(zip(photographs, found['images'])):
        picture = composing.to_picture(image)
        sheet.save_picture(picture, os.path.join(folder, f'projection{index:04d}.png'))
        difference = np.abs(photograph.astype(int) - image).astype(np.uint8)
        shown = [_panel(composing.to_picture(part)) for part in (photograph, image, difference)]
        panels.append(shown + [curve(found['curve'][:, index])])
    path = sheet.save_picture(composing.grid(panels, gap=6), os.path.join(folder, 'sheet.png'))
    first, last = found['curve'][0], found['curve'][-1]
    caption = ('From left to right: photograph, projection, difference, distance by step on a logarithmic scale. '
               + '; '.join(f'{name}: {b:.4g} of {a:.4g} at the mean of w' for name, a, b in zip(names, first, last)))
    block = sheet.figure_block(path, 'Projections', caption, rows=row_labels_of(names))
    sheet.write_figures(os.path.join(folder, 'index.html'), title, rows, [block])


def row_labels_of(names):
    """Names as `figure_block` takes them."""
    return [(os.path.basename(name), 1) for name in names]


def _panel(picture):
    return picture.resize((PANEL, PANEL), 0 if picture.width < PANEL else 1)


def curve(distances):
    """A picture of distances [steps + 1], logarithmic, with its first and last number."""
    picture = composing.canvas(PANEL, PANEL)
    draw = ImageDraw.Draw(picture)
    heights = np.log10(np.maximum(distances, 1e-12))
    low, high = heights.min(), max(heights.max(), heights.min() + 1e-3)
    x = np.linspace(4, PANEL - 5, len(heights))
    y = 24 + (high - heights) / (high - low) * (PANEL - 48)
    draw.rectangle([0, 0, PANEL - 1, PANEL - 1], outline=(190, 190, 190))
    draw.line(list(zip(x.tolist(), y.tolist())), fill=(0, 103, 163), width=2)
    draw.text((6, 6), f'{distances[0]:.3g}', fill=(30, 30, 30))
    draw.text((6, PANEL - 18), f'to {distances[-1]:.3g} in {len(distances) - 1} steps', fill=(30, 30, 30))
    return picture
