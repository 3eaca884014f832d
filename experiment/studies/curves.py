"""Scores over the course of training, several runs on one picture (StyleGAN paper, Fig. 7).

A run shows the path lengths of its own space: W where its generator has a mapping network, Z elsewhere. Curves of one
metric are drawn of scores under one protocol, so that they can be compared.
"""

import csv
import io
import json
import math
import os
import re
from collections import OrderedDict, namedtuple

import numpy as np

from dnnlib.command_line import shown
from dnnlib.files import atomic_write, check_writable, make_folders
from dnnlib.submission import read_submit_config
from dnnlib.util import UserError
from experiment import run_config, settings
from experiment.reports import plots
from experiment.reports.pictures import choose
from metrics.jobs import Job
from metrics.presets import preset
from metrics.scores import records, standard, store
from metrics.scores.own import own_protocol
from training.network_files import best, runs
from training.network_files.data import data_of
from training.network_files.locate import locate
from training.state import resume

SNAPSHOT = re.compile(r'network-snapshot-(\d+)$')
PATH_LENGTH = re.compile(r'ppl_([zw])(full|end)$')
COLUMNS = ('run', 'metric', 'space', 'kimg', 'value', 'standard_error', 'num_samples', 'seed', 'is_standin', 'network',
           'network_sha256', 'record')

Point = namedtuple('Point', 'kimg value standard_error record path')
"""kimg: thousands of images that the discriminator has seen; value: number; standard_error: number or None; record: the
score's; path: of its file."""

Curve = namedtuple('Curve', 'run value space points')
"""run: its `Member`; value: name of the value, such as ls_w; space: 'z', 'w' or None; points: [Point] in order."""


class Member:
    """One run of the picture.

    Attributes: dir, name (unlike those of the other runs, see `open_members`), config; space ('w' or 'z': its own);
    full_kimg (thousands of images at which its full resolution is reached, 0 without growing, None where it is not
    known).
    """

    def __init__(self, run):
        self.dir = runs.locate_run_dir(run)
        self.name = os.path.basename(os.path.abspath(self.dir))
        self.config = run_config.outlined(read_submit_config(self.dir)['config'])
        trained = dict(G=settings.trained_part(self.config.G))
        self.space = 'w' if settings.value_of(trained, 'G', 'mapping_layers') else 'z'
        self.full_kimg = self._full_kimg()

    def _full_kimg(self):
        data = resume.read_data_record(self.dir)
        if data is None or len(data['shape']) != 3:
            return None
        resolution = max(data['shape'][1:])
        first, training, transition = (settings.value_of(self.config, 'sched', f'lod_{key}') for key in (
            'initial_resolution', 'training_kimg', 'transition_kimg'))
        return math.log2(resolution / first) * (training + transition)

    def metrics(self, names):
        """Those of the names that this run shows: not the path lengths of the other space."""
        found = [(name, PATH_LENGTH.match(name)) for name in names]
        return [name for name, match in found if match is None or match.group(1) == self.space]

    def snapshots(self):
        """[(kimg, name)] of its snapshots and of those that were measured before they were deleted, in order."""
        names = [os.path.splitext(os.path.basename(path))[0] for path in runs.list_network_pkls(self.dir)]
        folder = os.path.join(self.dir, 'metrics')
        names += os.listdir(folder) if os.path.isdir(folder) else []
        found = {int(match.group(1)): name for name in names for match in [SNAPSHOT.match(name)] if match}
        return sorted(found.items())

    def records(self, metric):
        """[(kimg, path, record)] of a metric's scores on the run's own data and terms, without those that failed."""
        own = own_protocol(self.dir, metric)
        own = {key: own[key] for key in ('dataset_fingerprint', 'mirror_augment', 'labels') if key in own}
        found = []
        for kimg, name in self.snapshots():
            for path, record in store.find(os.path.join(self.dir, 'metrics', name), metric):
                has_value = any(value is not None for value in records.values_of(record).values())
                # What a metric does not depend on is null there.
                if has_value and all(best.protocol_of(record)[key] in (value, None) for key, value in own.items()):
                    found.append((kimg, path, record))
        return found


def open_members(run_names):
    """The runs that are named, each once; those of one name in several folders are called by their folders, too."""
    members = list(OrderedDict((os.path.realpath(member.dir), member) for member in map(Member, run_names)).values())
    names = [member.name for member in members]
    for member in members:
        if names.count(member.name) > 1:
            member.name = shown(os.path.abspath(member.dir))
    return members


# ---- Measuring

def measure(members, metrics, quick=False, most=None, protocol=None, **options):
    """Measures the snapshots' scores that are missing; `most` of each run's, evenly chosen, None: all of them.

    `protocol`: see `metrics.presets.preset`; `options` are those of `metrics.jobs.Job`. Raises UserError for a run
    without snapshots.
    """
    for member in members:
        names = [(kimg, name) for kimg, name in member.snapshots()
                 if os.path.isfile(os.path.join(member.dir, name + '.pkl'))]
        if not names:
            raise UserError(f'{member.dir} holds no network snapshot to measure')
        specs = [preset(name, quick, protocol) for name in member.metrics(metrics)]
        dataset_args, mirror_augment = data_of(member.dir)
        for _, name in choose(names, most) if most else names:
            job = Job(specs, locate(os.path.join(member.dir, name + '.pkl')), os.path.join(member.dir, 'metrics', name),
                      run_dir=member.dir, dataset_args=dataset_args, mirror_augment=mirror_augment, **options)
            job.run(again=False)


# ---- Choosing

def _terms(record):
    """What scores on one picture must have in common, as text; data and mirroring are each run's own."""
    protocol = best.protocol_of(record)
    return json.dumps([protocol[key] for key in ('settings', 'seed', 'is_standin', 'labels', best.FEATURES)],
                      sort_keys=True)


def collect(members, metrics):
    """([Curve], [sentence]): the curves there are, and what is missing or odd. Raises UserError if there is none."""
    curves, remarks = [], []
    for name in metrics:
        found = OrderedDict((member, member.records(name)) for member in members if name in member.metrics(metrics))
        if not found:
            remarks.append(f'no run shows {name}: its path lengths are those of its own space')
        terms = _choose_terms(found)
        for member, scores in found.items():
            chosen = OrderedDict()
            for kimg, path, record in scores:
                if _terms(record) == terms:     # the first is of what the snapshot's file holds now, see metrics.scores
                    chosen.setdefault(kimg, (path, record))
            if not chosen:
                remarks.append(f'{member.name} has no scores of {name}' + (
                    ' under the same settings as the other runs' if scores else '') + '; --measure computes them')
                continue
            curves += _curves(member, chosen)
    if not curves:
        raise UserError('there is no score to draw: ' + '; '.join(remarks))
    return curves, remarks


def _choose_terms(found):
    """The terms that most runs have scores under; of those the full ones, and those with most scores."""
    groups = OrderedDict()
    for member, scores in found.items():
        for _, _, record in scores:
            groups.setdefault(_terms(record), []).append((member, record))
    return max(groups, default=None, key=lambda terms: (
        len({member for member, _ in groups[terms]}), not groups[terms][0][1].get('is_reduced'), len(groups[terms])))


def _curves(member, chosen):
    """A Curve for each value of a metric: most have one, `ls` has one for each space, of which the own one counts."""
    points = OrderedDict()
    for kimg, (path, record) in chosen.items():
        for key, value in records.values_of(record).items():
            if value is not None:
                error = (record.get('standard_errors') or {}).get(key, record.get('standard_error'))
                points.setdefault(key, []).append(Point(kimg, value, error, record, path))
    spaces = {key: (re.search(r'_([zw])(?:full|end)?$', key) or [None, None])[1] for key in points}
    return [Curve(member, key, spaces[key], points[key]) for key in points if spaces[key] in (None, member.space)]


# ---- Writing

def write(curves, out_dir):
    """Writes `curves.png` and `curves.csv` in a folder. Returns their paths."""
    make_folders(out_dir)
    paths = [os.path.join(out_dir, 'curves' + suffix) for suffix in ('.png', '.csv')]
    with atomic_write(paths[0]) as file:
        file.write(draw(curves))
    with atomic_write(paths[1], 'w') as file:
        file.write(to_csv(curves))
    return paths


def to_csv(curves):
    """One line for each point."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(COLUMNS)
    for curve in curves:
        for point in curve.points:
            record = point.record
            writer.writerow([curve.run.name, curve.value, curve.space, point.kimg, point.value, point.standard_error]
                            + [record.get(key) for key in COLUMNS[6:11]] + [os.path.abspath(point.path)])
    return buffer.getvalue()


def _panels(curves):
    """OrderedDict title -> curves: the path lengths share one, and others have one for each value."""
    panels = OrderedDict()
    for curve in curves:
        key = 'perceptual path length' if PATH_LENGTH.match(curve.value) else re.sub(r'_[zw]$', '', curve.value)
        panels.setdefault(key, []).append(curve)
    return panels


def draw(curves):
    """The picture, bytes of a PNG: a panel for each kind of score, a dashed line where full resolution is reached."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    panels = _panels(curves)
    names = list(OrderedDict((curve.run.name, None) for curve in curves))
    last = max(point.kimg for curve in curves for point in curve.points) or 1
    unit, factor = ('millions of', 1000.0) if last >= 2000 else ('thousands of', 1.0)
    with matplotlib.rc_context({'font.size': 10, 'axes.spines.top': False, 'axes.spines.right': False}):
        figure = Figure(figsize=(5.4 * len(panels), 4.2), dpi=150)
        FigureCanvasAgg(figure)
        for number, (title, members) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), number)
            _draw_panel(axes, members, names, factor)
            axes.set_title(title + _protocol_words(members), fontsize=10, loc='left')
            axes.set_xlabel(f'{unit} training images')
            axes.set_xlim(0, last / factor * 1.03)
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format='png', metadata={'Software': None})
    return buffer.getvalue()


def _draw_panel(axes, curves, names, factor):
    for curve in curves:
        color = plots.COLORS[names.index(curve.run.name) % len(plots.COLORS)]
        match = PATH_LENGTH.match(curve.value)
        kind = f', {match.group(2)}, {match.group(1).upper()}' if match else f', {curve.space.upper()}' if curve.space \
            else ''
        x = np.array([point.kimg for point in curve.points]) / factor
        y = np.array([point.value for point in curve.points])
        error = 2 * np.array([point.standard_error or 0.0 for point in curve.points])
        is_end = match is not None and match.group(2) == 'end'
        axes.plot(x, y, color=color, linestyle=':' if is_end else '-', marker='o', markersize=3, linewidth=1.6,
                  label=curve.run.name + kind)
        axes.fill_between(x, y - error, y + error, color=color, alpha=0.15, linewidth=0)
    for kimg in sorted({curve.run.full_kimg for curve in curves} - {None, 0}):
        axes.axvline(kimg / factor, color='#888888', linestyle='--', linewidth=1)
    values = [point.value for curve in curves for point in curve.points]
    if min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale('log')
    else:
        axes.set_ylim(0, max(values) * 1.1 or 1.0)
    axes.grid(True, axis='y', color='#dddddd', linewidth=0.6)
    axes.legend(fontsize=8, frameon=False)


def _protocol_words(curves):
    record = curves[0].points[0].record
    words = ['stand-in networks'] * bool(record.get('is_standin')) \
        + [f"{record.get('num_samples')} samples"] * bool(record.get('is_reduced')) + standard.unusual(record)
    return f" ({', '.join(words)})" if words else ''


def make(run_names, metrics, out_dir, measure_missing=False, prepare=None, **options):
    """Measures what is asked for, writes picture and table, prints what is missing. Returns the `Member`s.

    Args:
        run_names: directories or numbers of runs.
        metrics: names of metrics.
        out_dir: folder of `curves.png` and `curves.csv`.
        measure_missing: whether to measure; prepare: called before that; options: of `measure`.

    Raises UserError.
    """
    metrics = list(OrderedDict.fromkeys(metrics))
    if not metrics:
        raise UserError('--metrics names no metric; give some, such as fid50k,ppl_wend')
    for name in metrics:
        preset(name)
    members = open_members(run_names)
    check_writable(out_dir, 'choose another one with --out')
    if measure_missing:
        if prepare is not None:
            prepare()
        measure(members, metrics, **options)
    curves, remarks = collect(members, metrics)
    for remark in remarks:
        print(f'note: {remark}', flush=True)
    for curve in curves:
        print(f'{curve.run.name}: {curve.value} of {len(curve.points)} snapshots, '
              f'{curve.points[0].value:.4f} to {curve.points[-1].value:.4f}', flush=True)
    paths = write(curves, out_dir)
    print('Written: ' + ', '.join(paths), flush=True)
    return members
