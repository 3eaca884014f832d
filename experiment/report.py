"""`report.html` of a run directory: one file that shows how a training run goes, without network or other files.

Made from what the run directory holds; nothing in it is executed. `./reproduce report RUN_DIR` makes it anew.
"""

import base64
import contextlib
import io
import os
import re

import numpy as np
import PIL.Image

from dnnlib import registry
from dnnlib.command_line import Parser
from dnnlib.errors import FileError, UserError
from dnnlib.files import atomic_write, make_folders, open_regular, read_bytes, read_json_lines, recall_json
from dnnlib.submission import read_environment, read_submit_config
from dnnlib.util import EasyDict, run_main
from dnnlib.values import schema
from experiment import facts, forecast, model_card, report_page, report_plots, settings
from experiment.phases import describe
from experiment.plan import Plan
from training.state import resume

MAX_PICTURES = 40           # along the slider; evenly chosen, the first and the last among them
PICTURE_WIDTH = 1280        # pixels
PICTURE_HEIGHT = 720
CACHE = '.report'           # folder in the run directory with the pictures in their reduced form
RECORD = {                  # of submit_config.json: what the page itself needs
    'config': {'num_gpus?': 'a whole number from 1 to 1024', 'dataset?': dict, 'sched?': dict, 'G?': dict, 'D?': dict,
               'train?': {'total_kimg?': 'a number from 0 to 1e12, .inf'}},
    'provenance?': {'*': 'a text'}}
DATA = {key: resume.DATA[key] for key in ('shape', 'num_images', 'label_size')}     # of dataset.json, the same
_KEY = re.compile(r'[\w./-]{1,100}\Z', re.ASCII)     # of a number in stats.jsonl
_LARGEST = 1e30             # what curves can be drawn of
_MAX_PICTURE_BYTES = 16 << 20


def write_report(run_dir):
    """Writes `run_dir`/report.html. Returns its path. Raises UserError if this is not a run directory."""
    path = os.path.join(run_dir, 'report.html')
    page = report_page.render(gather(run_dir))
    with atomic_write(path, 'w') as f:
        f.write(page)
    return path


def gather(run_dir):
    """Collects what the report shows, as an EasyDict; see report_page.render.

    Of records other than that of the configuration, what is damaged is left out.
    """
    record = read_submit_config(run_dir)
    schema.check(record, RECORD, f"the run's record in {run_dir}")
    config = EasyDict({key: EasyDict(value) if isinstance(value, dict) else value
                       for key, value in record['config'].items()})
    stats = read_ticks(run_dir)
    data = _recall(run_dir, 'dataset.json', DATA)
    plan = _plan(config, data)
    phases = plan.phases if plan else []
    kimg = stats[-1]['kimg'] if stats else 0.0
    seconds = seconds_by_resolution(stats)
    cell = data['shape'] if data and len(data['shape']) == 3 else None
    return EasyDict(
        run_dir=run_dir, name=os.path.basename(os.path.abspath(run_dir)), record=record, config=config, data=data,
        provenance=record['provenance'], stats=stats, phases=phases, starts=read_environment(run_dir), kimg=kimg,
        status=_status(run_dir), plan=describe(phases) if phases else [],
        remaining=forecast.remaining_seconds(phases, plan.sizes, kimg, seconds) if stats and phases and plan.sizes
        else None,
        charts=report_plots.charts(stats, phases), snapshots=list_snapshots(run_dir),
        pictures=[(name, reduced_picture(run_dir, file, cell)) for name, file in choose(list_pictures(run_dir))],
        reals=reduced_picture(run_dir, 'reals.png', cell))


def read_ticks(run_dir):
    """The numbers of a run's ticks: the objects of `stats.jsonl` that say how far the run had come; [] without any."""
    lines = read_json_lines(os.path.join(run_dir, 'stats.jsonl'), absent=[])
    ticks = [{key: value for key, value in line.items() if _KEY.match(key) and type(value) in (int, float)
              and abs(value) <= _LARGEST} for line in lines]
    return [tick for tick in ticks if 0 <= tick.get('kimg', -1) <= 1e12]


def _recall(run_dir, name, table):
    """What a record of the run directory holds; None where it is absent or damaged."""
    record = recall_json(os.path.join(run_dir, name))
    return None if record is None or schema.problem(record, table) else record


def _plan(config, data):
    """The run's Plan, None where it is not known, or where settings make no sense."""
    if data is None:
        return None
    config = EasyDict(config)
    for key, setting in settings.top_level().items():
        config.setdefault(key, setting.default)
    try:
        for name in ('train', 'sched', 'G', 'D', 'grid'):
            settings.check_section(name, config.setdefault(name, EasyDict()), {})
        return Plan(config, facts.recorded_data(data))
    except UserError:
        return None


def _status(run_dir):
    """'running', or what the last line of run.txt says: 'finished …', 'stopped …', 'failed …'."""
    try:
        last = read_bytes(os.path.join(run_dir, 'run.txt'), 16 << 20).decode('utf-8', 'replace').split('\n')
        last = [line.strip() for line in last if line.strip()][-1]
    except (FileError, IndexError):
        return 'running'
    return 'running' if last.startswith('started') else last


def seconds_by_resolution(stats):
    """Seconds per kimg at each resolution: the median of the ticks there, which one slow tick does not move."""
    by_resolution = {}
    for tick in stats:
        if tick.get('sec_per_kimg', 0) > 0 and tick.get('resolution', 0) >= 1:
            by_resolution.setdefault(tick['resolution'], []).append(tick['sec_per_kimg'])
    return {resolution: float(np.median(values[1:] or values)) for resolution, values in by_resolution.items()}


def list_pictures(run_dir):
    """[(kimg as text, file name)] of the run's sample pictures, in order."""
    found = [(re.match(r'fakes(\d+)\.png$', name), name) for name in os.listdir(run_dir)]
    numbered = sorted((int(match.group(1)), name) for match, name in found if match)
    return [(str(kimg), name) for kimg, name in numbered]


def list_snapshots(run_dir):
    """[(file name, kimg or None for the final one, bytes)] of the stored networks, in order."""
    result = []
    for name in os.listdir(run_dir):
        match = re.match(r'network-(?:snapshot-(\d+)|final)\.pkl$', name)
        if match:
            kimg = int(match.group(1)) if match.group(1) else None
            with contextlib.suppress(OSError):  # a link that leads nowhere, or one that was pruned meanwhile
                result.append((name, kimg, os.path.getsize(os.path.join(run_dir, name))))
    return sorted(result, key=lambda item: (item[1] is None, item[1] or 0))


def choose(items, most=MAX_PICTURES):
    """At most `most` of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))]


def reduced_picture(run_dir, name, cell_shape=None):
    """A picture of samples as a JPEG data URL: as many whole cells as can be told apart in the page; None if absent.

    `cell_shape`: [C, H, W] of a sample, so that cells are not cut. The reduced form is kept in a folder of the run.
    """
    source = os.path.join(run_dir, name)
    cached = os.path.join(run_dir, CACHE, name[:-len('.png')] + '.jpg')
    if not os.path.isfile(source):
        return None
    if not os.path.isfile(cached) or os.path.getmtime(cached) < os.path.getmtime(source):
        try:
            with open_regular(source) as file, PIL.Image.open(file) as picture:
                reduced = reduce_picture(picture.convert('RGB'), cell_shape)
        except Exception:  # half a file, from a process that was killed, raises all that the library's readers know
            return None
        buffer = io.BytesIO()
        reduced.save(buffer, format='JPEG', quality=82)
        make_folders(os.path.dirname(cached))
        with atomic_write(cached) as f:
            f.write(buffer.getvalue())
    return 'data:image/jpeg;base64,' + base64.b64encode(read_bytes(cached, _MAX_PICTURE_BYTES)).decode('ascii')


def reduce_picture(picture, cell_shape=None):
    """Cuts a grid of samples to its upper left cells and scales it to at most PICTURE_WIDTH x PICTURE_HEIGHT."""
    width, height = picture.size
    if cell_shape is not None and width % cell_shape[2] == 0 and height % cell_shape[1] == 0:
        cell = cell_shape[2]
        shown = 80 if cell <= 64 else 128 if cell <= 256 else 256     # pixels that a sample gets in the page
        columns = min(width // cell, PICTURE_WIDTH // shown)
        rows = min(height // cell_shape[1], max(PICTURE_HEIGHT // shown, 1))
        picture = picture.crop((0, 0, columns * cell, rows * cell_shape[1]))
        width, height = picture.size
        scale = min(shown / cell, PICTURE_WIDTH / width)
    else:
        scale = min(PICTURE_WIDTH / width, PICTURE_HEIGHT / height, 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return picture.resize(size, PIL.Image.BICUBIC if scale > 1 else PIL.Image.LANCZOS)


def main(argv=None):
    """Makes the report of the run directory given on the command line."""
    parser = Parser(
        prog='./reproduce report',
        description='Makes the page report.html in a run directory again, and the model card README.md of a finished '
        'run; a run makes the page itself at every snapshot, and the card at its end.',
        epilog='examples:\n  ./reproduce report results/00003-demo')
    parser.add_argument('run_dir', metavar='RUN_DIR', help='directory of a run, finished or not')
    registry.add_option(parser)
    args = parser.parse_args(argv)
    registry.allow_modules(args)
    print(write_report(args.run_dir))
    card = model_card.write_card(args.run_dir)
    if card is not None:
        print(card)


if __name__ == '__main__':
    run_main(main)
