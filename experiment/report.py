"""`report.html` of a run directory: one file that shows how a training run goes, without network or other files.

Made from what the run directory holds; nothing in it is executed. `./reproduce report RUN_DIR` makes it anew.
"""

import base64
import collections
import contextlib
import glob
import io
import os
import re
import urllib.parse

import numpy as np
import PIL.Image

from dnnlib import registry
from dnnlib.command_line import Parser
from dnnlib.errors import FileError, UserError
from dnnlib.files import atomic_write, make_folders, open_regular, read_bytes, read_json_lines, recall_json
from dnnlib.submission import read_environment, read_submit_config
from dnnlib.submission.records import flatten
from dnnlib.util import EasyDict, run_main
from dnnlib.values import schema
from experiment import facts, forecast, model_card, report_page, report_plots, settings
from experiment.phases import describe
from experiment.plan import Plan
from metrics import presets
from metrics.networks import needs
from metrics.scores import records
from training.network_files import best
from training.state import resume

MAX_PICTURES = 40           # along the slider; evenly chosen, the first and the last among them
PICTURE_WIDTH = 1280        # pixels
PICTURE_HEIGHT = 720
FACE = 128                  # pixels that a small sample gets in the page
CACHE = '.report'           # folder in the run directory with the pictures in their reduced form
Score = collections.namedtuple('Score', 'metric network kimg value error record')
"""metric: name of a value, such as fid50k; network: file without its suffix; error: standard error, or None."""
RECORD = {                  # of submit_config.json: what the page itself needs
    'config': {'num_gpus?': 'a whole number from 1 to 1024', 'dataset?': dict, 'sched?': dict, 'G?': dict, 'D?': dict,
               'train?': {'total_kimg?': 'a number from 0 to 1e12, .inf'}},
    'provenance?': {'*': 'a text'}}
DATA = {key: resume.DATA[key] for key in ('shape', 'num_images', 'label_size')}     # of dataset.json, the same
CLASSIFIER = {'accuracy': 'a number from 0 to 1', 'majority': 'a number from 0 to 1', 'attribute': 'a text',
              'network': 'a text', 'total_kimg': 'a number from 0 to 1e9'}
_KEY = re.compile(r'[\w./-]{1,100}\Z', re.ASCII)     # of a number in stats.jsonl
_LARGEST = 1e30             # what curves can be drawn of
_MAX_PICTURE_BYTES = 16 << 20


def write_report(run_dir):
    """Writes `run_dir`/report.html. Returns its path. Raises UserError if this is not a run directory."""
    path = os.path.join(run_dir, 'report.html')
    run = gather(run_dir)
    page = report_page.render(run)
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
    starts, stats = read_environment(run_dir), read_ticks(run_dir)
    data = _recall(run_dir, 'dataset.json', DATA)
    scores = read_scores(run_dir, stats)
    cell = data['shape'] if data and len(data['shape']) == 3 else None
    zoom = config.grid.get('zoom', 1) if isinstance(config.get('grid'), dict) else 1
    pictures = [(name, reduced_picture(run_dir, file, cell, zoom)) for name, file in choose(list_pictures(run_dir))]
    plan = _plan(config, data)
    phases = plan.phases if plan else []
    kimg = stats[-1]['kimg'] if stats else 0.0
    remaining = None
    if stats and phases and plan.sizes:
        remaining = forecast.remaining_seconds(phases, plan.sizes, kimg, seconds_by_resolution(stats))
    return EasyDict(
        run_dir=run_dir, name=os.path.basename(os.path.abspath(run_dir)), record=record, config=config, data=data,
        provenance=record['provenance'], settings=flatten(config), starts=starts, stats=stats, phases=phases, kimg=kimg,
        scores=scores, best=best_scores(scores, config.get('metrics')), status=_status(run_dir), remaining=remaining,
        plan=describe(phases) if phases else [], charts=report_plots.charts(stats, phases, curves_of(scores)),
        snapshots=list_snapshots(run_dir), stands_for=_stands_for(run_dir),
        pictures=[(name, picture) for name, picture in pictures if picture],
        reals=reduced_picture(run_dir, 'reals.png', cell, zoom), beside=list_beside(run_dir),
        classifier=read_classifier(run_dir), can=_what_can_be_done(run_dir, record, config))


# ---- Scores


def read_scores(run_dir, stats):
    """[Score] of a run's networks, in order of training: of each metric those of one protocol, which is that of most
    networks, full measurements rather than quick looks. Where a metric has no records, those of the ticks."""
    last = stats[-1]['kimg'] if stats else 0.0
    protocols = {}
    for record in _records(run_dir):
        protocols.setdefault(repr(sorted(best.protocol_of(record).items(), key=str)), []).append(record)
    chosen = {}
    for group in protocols.values():
        metric = group[0]['metric']
        rank = (group[0].get('is_reduced') is not True, len({record.get('network') for record in group}))
        if metric not in chosen or rank > chosen[metric][0]:
            chosen[metric] = rank, group
    found = []
    for _, group in chosen.values():
        for record in group:
            for name, value in records.values_of(record).items():
                error = record.get('standard_errors', {}).get(name) if 'values' in record \
                    else record.get('standard_error')
                found.append(Score(name, record['network'], _kimg_of(record['network'], last), value, error, record))
    known = {score.metric for score in found}
    found += [Score(key[len('Metrics/'):], f"network-snapshot-{int(tick['kimg']):06d}", tick['kimg'], value, None, {})
              for tick in stats for key, value in tick.items()
              if key.startswith('Metrics/') and key[len('Metrics/'):] not in known]
    return sorted((score for score in found if score.kimg is not None and score.value is not None),
                  key=lambda score: (score.metric, score.kimg, not score.network.endswith('-untrained')))


def _records(run_dir):
    folder = glob.escape(run_dir)
    for path in sorted(glob.glob(os.path.join(folder, 'metrics*', '*.json'))
                       + glob.glob(os.path.join(folder, 'metrics*', '*', '*.json'))):
        with contextlib.suppress(UserError):
            record = records.read_record(path)
            if isinstance(record.get('network'), str):
                yield record


def _kimg_of(network, last):
    """How far a network was trained, by its name; None where the name does not say."""
    if network.endswith('-untrained'):
        return 0.0
    match = re.match(r'network-snapshot-(\d{1,12})\Z', network)
    return float(match.group(1)) if match else last if network == 'network-final' else None


def curves_of(scores):
    """{metric: (kimg, values)} of those metrics that are known at two or more places."""
    curves = collections.OrderedDict()
    for score in scores:
        curves.setdefault(score.metric, {})[score.kimg] = score.value
    return collections.OrderedDict((metric, (list(points), list(points.values())))
                                   for metric, points in curves.items() if len(points) > 1)


def best_scores(scores, metrics=()):
    """[(name, best value, kimg)] of each metric's values: the highest where the metric says so, else the lowest.

    `scores`: as of `read_scores`; `metrics`: of the configuration.
    """
    found, highest = {}, _highest_is_best(metrics)
    for score in scores:
        sign = -1 if score.metric.startswith(highest) else 1
        if score.metric not in found or sign * score.value < sign * found[score.metric][0]:
            found[score.metric] = score.value, score.kimg
    return [(name, value, kimg) for name, (value, kimg) in sorted(found.items())]


def _highest_is_best(metrics):
    """Names of the metrics, those of the configuration too, whose values should be high, as a tuple."""
    names = []
    for spec in presets.preset_names() + list(metrics if isinstance(metrics, list) else []):
        try:
            if presets.better(spec) == 'higher':
                names.append(presets.settings_of(spec).get('name') or '')
        except (TypeError, UserError, ValueError):      # a record may name anything
            continue
    return tuple(name for name in names if isinstance(name, str) and name)


def _stands_for(run_dir):
    """(file name, why) of the snapshot that the run stands for; None without one."""
    try:
        path, taken = best.stands_for(run_dir)
    except UserError:
        return None
    return os.path.basename(path), taken


def read_classifier(run_dir):
    """What a finished training of a classifier recorded (see metrics.classifier_training), or None; with `bytes`, the
    size of its file, None where that is gone."""
    for path in sorted(glob.glob(os.path.join(glob.escape(run_dir), 'classifier-*.json'))):
        found = recall_json(path)
        if found is not None and not schema.problem(found, CLASSIFIER):
            file = os.path.join(run_dir, os.path.basename(found['network']))
            return dict(found, network=os.path.basename(file), bytes=os.path.getsize(file) if os.path.isfile(file) else
                        None)
    return None


# ---- What the page may offer


def _what_can_be_done(run_dir, record, config):
    """EasyDict of truths: finished, resume, checkpoint, draw, measure, curves; and `metric`, the one to measure, which
    needs the files `missing`."""
    shape = (_recall(run_dir, 'dataset.json', DATA) or {}).get('shape', [])
    finished = os.path.exists(os.path.join(run_dir, '_finished.txt'))
    makes = str(config.get('G', {}).get('func_name', '')).rpartition('.')[2]
    try:
        whole = EasyDict({'train': {}}, **config)
        adversarial = settings.is_adversarial(whole)
        resume_taken = 'run_func_name' not in record and settings.loop_takes(whole, 'resume')
    except (AttributeError, TypeError, UserError):      # a record may name anything
        adversarial = resume_taken = False
    has_networks = bool(list_snapshots(run_dir))
    is_image = len(shape) == 3 and shape[0] in (1, 3)
    metrics = config.get('metrics')
    names = [name for name in map(_name_of, metrics if isinstance(metrics, list) else []) if name]
    metric = next((name for name in names if best.is_selected_by(name)), names[0] if names else
                  'fid50k' if is_image else 'jsd' if shape == [2] else None)
    missing = []
    if metric is not None:
        with contextlib.suppress(UserError, TypeError, ValueError):
            missing = needs.missing_files([metric], dict(config.get('dataset') or {},
                                                         data_dir=record.get('data_dir')))
    return EasyDict(
        finished=finished, resume=resume_taken,
        checkpoint=bool(glob.glob(os.path.join(glob.escape(run_dir), 'checkpoints', '*.ckpt'))),
        draw=adversarial and has_networks and is_image and makes != 'G_codec',
        measure=adversarial and has_networks and metric is not None and makes != 'G_codec', metric=metric,
        missing=missing, curves=bool(glob.glob(os.path.join(glob.escape(run_dir), 'events.out.tfevents*'))))


def _name_of(metric):
    name = metric.get('preset', metric.get('name')) if isinstance(metric, dict) else metric
    return name if isinstance(name, str) and re.match(r'[\w-]{1,60}\Z', name) else None


def list_beside(run_dir):
    """[(what, address relative to the page)] of pages and texts in the run directory."""
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(run_dir), '*', '*.html'))):
        folder, name = os.path.split(os.path.relpath(path, run_dir))
        stem = os.path.splitext(name)[0]
        if folder != 'src' and not re.match(r'index-\d', stem):
            found.append((folder if stem in ('index', folder) else f'{folder}: {stem}', os.path.join(folder, name)))
    found += [(what, name) for what, name in (('model card', 'README.md'), ('configuration', 'config.yaml'),
                                              ('log', 'log.txt')) if os.path.isfile(os.path.join(run_dir, name))]
    return [(what, address(name)) for what, name in found]


def address(name):
    """A file's path as an address within a page."""
    return urllib.parse.quote(os.fsencode(name))


# ---- Reading the run directory


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
    except (AttributeError, TypeError, UserError):      # a record may hold anything for a section
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


def reduced_picture(run_dir, name, cell_shape=None, zoom=1):
    """A picture of samples for the page: EasyDict(url: JPEG as a data URL, width in the page, file); None if absent.

    As many whole cells as can be told apart in the page; those of few pixels are left as they are, for the page to
    enlarge. `cell_shape`: [C, H, W] of a sample, so that cells are not cut; `zoom`: how often the file repeats its
    pixels. The reduced form is kept in a folder of the run.
    """
    source = os.path.join(run_dir, name)
    cached = os.path.join(run_dir, CACHE, f"{name[:-len('.png')]}-{FACE}.jpg")
    if not os.path.isfile(source):
        return None
    if not os.path.isfile(cached) or os.path.getmtime(cached) < os.path.getmtime(source):
        try:
            with open_regular(source) as file, PIL.Image.open(file) as picture:
                reduced = reduce_picture(picture.convert('RGB'), cell_shape, zoom)
        except Exception:  # half a file, from a process that was killed, raises all that the library's readers know
            return None
        buffer = io.BytesIO()
        reduced.save(buffer, format='JPEG', quality=90, subsampling=0)
        make_folders(os.path.dirname(cached))
        with atomic_write(cached) as f:
            f.write(buffer.getvalue())
    content = read_bytes(cached, _MAX_PICTURE_BYTES)
    with PIL.Image.open(io.BytesIO(content)) as picture:
        width = picture.size[0]
    if cell_shape is not None and cell_shape[2] < FACE and width % cell_shape[2] == 0:
        width *= FACE // cell_shape[2]
    url = 'data:image/jpeg;base64,' + base64.b64encode(content).decode('ascii')
    return EasyDict(url=url, width=min(width, PICTURE_WIDTH), file=address(name))


def reduce_picture(picture, cell_shape=None, zoom=1):
    """Cuts a grid of samples to its upper left cells and scales it to at most PICTURE_WIDTH x PICTURE_HEIGHT.

    Samples smaller than FACE keep their own pixels, and the picture is that much smaller.
    """
    width, height = picture.size
    if type(zoom) is int and zoom > 1 and width % zoom == 0 and height % zoom == 0:
        picture = picture.resize((width // zoom, height // zoom), PIL.Image.NEAREST)
        width, height = picture.size
    if cell_shape is not None and width % cell_shape[2] == 0 and height % cell_shape[1] == 0:
        cell = cell_shape[2]
        shown = FACE if cell <= 256 else 256    # pixels that a sample gets in the page
        columns = min(width // cell, PICTURE_WIDTH // shown)
        rows = min(height // cell_shape[1], max(PICTURE_HEIGHT // shown, 1))
        picture = picture.crop((0, 0, columns * cell, rows * cell_shape[1]))
        width, height = picture.size
        scale = min(shown / cell, PICTURE_WIDTH / width, 1.0)
    else:
        scale = min(PICTURE_WIDTH / width, PICTURE_HEIGHT / height, 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return picture if size == picture.size else picture.resize(size, PIL.Image.LANCZOS)


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
