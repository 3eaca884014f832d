"""What the page of a run's report says; its template is `dnnlib/pages/report.html`."""

import os
import time

from dnnlib import pages
from dnnlib.command_line import typed
from dnnlib.config_files import format_value
from dnnlib.submission.records import flatten
from dnnlib.util import format_time
from metrics import presets

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def render(run):
    """The page as text. `run` is what report.gather returns."""
    total = run.config.get('train', {}).get('total_kimg') or run.kimg
    status = run.status.split()[0]
    percent = min(100.0 * run.kimg / total, 100.0) if total else 0.0
    metrics = best_scores(run.stats, run.config.get('metrics') or [])
    return pages.render(
        'report', title=f'{run.name}: {status}', name=run.name, status=status,
        subtitle=f'{_data_line(run)}Written {time.strftime("%Y-%m-%d %H:%M")}.'
                 + ('' if run.status == 'running' else f' This run {run.status}.'),
        percent=f'{percent:.1f}', facts=list(_facts(run, total, percent)),
        pictures=[dict(label=f'{label} kimg', url=url) for label, url in run.pictures if url], reals=run.reals,
        charts=run.charts, metrics=[name for name, _, _ in metrics], networks=_networks(run, metrics),
        steps=_steps(run), plan=run.plan,
        settings=[(key, format_value(value), run.provenance.get(key, '')) for key, value in flatten(run.config)],
        starts=[('Environment' + (f' of start {number + 1}' if len(run.starts) > 1 else ''),
                 [(key, _shown(value)) for key, value in start.items()]) for number, start in enumerate(run.starts)])


def _data_line(run):
    if not run.data:
        return ''
    shape = run.data['shape']
    what = f'{shape[2]}x{shape[1]}' if len(shape) == 3 else f'{shape[0]} numbers'
    dataset = run.config.get('dataset', {})
    name = dataset.get('tfrecord_dir') or str(dataset.get('class_name', '')).rpartition('.')[2]
    return f"Trained on {run.data['num_images']:,} samples of {what} ({name}). "


def _facts(run, total, percent):
    """Yields (what, value) for the boxes at the top."""
    yield 'progress', f'{run.kimg:,.5g} of {total:,.5g} kimg' if run.kimg < 1e5 else f'{run.kimg:,.0f} kimg'
    if run.stats:
        last = run.stats[-1]
        if last.get('resolution', 1) > 1:
            fading = ' (fading in)' if last.get('lod', 0) % 1 else ''
            yield 'resolution now', f"{last['resolution']}x{last['resolution']}{fading}"
        yield 'time so far', format_time(last.get('total_sec', 0))
        if run.remaining and percent < 100:
            yield 'time left, about', format_time(run.remaining)
        yield 'seconds per kimg now', f"{last.get('sec_per_kimg', 0):.3g}"
        if last.get('peak_gpu_mem_gb'):
            yield 'peak GPU memory', f"{last['peak_gpu_mem_gb']:.1f} GB"
    for key, value, kimg in best_scores(run.stats):
        yield f'best {key}, at {kimg:g} kimg', f'{value:.4g}'


def best_scores(stats, metrics=()):
    """[(name, best value, kimg)] of each metric's values: the highest where the metric says so, else the lowest."""
    best = {}
    highest = tuple(presets.settings_of(spec).get('name') or '' for spec in presets.preset_names() + list(metrics)
                    if presets.better(spec) == 'higher')
    for tick in stats:
        for key, value in tick.items():
            if key.startswith('Metrics/') and isinstance(value, (int, float)):
                name = key[len('Metrics/'):]
                sign = -1 if name.startswith(highest) else 1
                if name not in best or sign * value < sign * best[name][0]:
                    best[name] = value, tick['kimg']
    return [(name, value, kimg) for name, (value, kimg) in sorted(best.items())]


def _networks(run, metrics):
    """[{name, size, values: texts per metric, is_best}] of the stored networks."""
    rows = []
    for name, kimg, size in run.snapshots:
        scores = {}
        for tick in run.stats:
            if kimg is not None and int(tick['kimg']) == kimg:
                scores.update(tick)
        values = [scores.get('Metrics/' + metric) for metric, _, _ in metrics]
        is_best = any(value is not None and value == best for value, (_, best, _) in zip(values, metrics))
        rows.append({'name': name, 'size': f'{size / 1e6:,.1f} MB', 'is_best': is_best,
                     'values': ['' if value is None else format(value, '.4g') for value in values]})
    return rows


def _steps(run):
    """[(what one may want to do, its command)]."""
    folder = os.path.relpath(run.run_dir, ROOT)
    folder = os.path.abspath(run.run_dir) if folder.startswith('..') else folder
    network = run.snapshots[-1][0] if run.snapshots else 'network-final.pkl'
    longer = f'{2 * run.config.get("train", {}).get("total_kimg", run.kimg):g}'
    steps = [('Continue this run from its newest checkpoint:', f'./reproduce train --resume {folder}'),
             ('Make it longer:', f'./reproduce train --resume {folder} --set train.total_kimg={longer}'),
             ('Draw pictures with its newest network:',
              f'./reproduce generate --network {folder}/{network} --seeds 0-31'),
             ('Measure all its networks:', f'./reproduce metrics fid50k --run {folder} --all-snapshots'),
             ('See all curves in TensorBoard:', f'./reproduce shell tensorboard --logdir {folder}')]
    if run.status == 'running':
        steps.insert(0, ('Stop it politely (a file of this name, or Ctrl-C, or SIGTERM):',
                         f'touch {folder}/abort.txt'))
    return [(what, typed(command)) for what, command in steps]


def _shown(value):
    if isinstance(value, dict):
        return ', '.join(f'{key} {item}' for key, item in value.items()) or 'none'
    if isinstance(value, list):
        return ' '.join(str(_shown(item)) for item in value) or 'none'
    return 'unknown' if value is None else value
