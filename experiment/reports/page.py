"""What the page of a run's report says; its template is `dnnlib/pages/report.html`."""

import os
import shlex
import time

import config as folders
from dnnlib import pages
from dnnlib.command_line import typed
from dnnlib.config_files import format_value
from dnnlib.util import format_digits, format_time
from experiment.facts import shown_shape

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def render(run):
    """The page as text. `run` is what `report.gather` returns."""
    total = run.config.get('train', {}).get('total_kimg') or run.kimg
    status = run.status.split()[0]
    is_classifier = not run.can.draw and str(run.config.get('train', {}).get('func_name', '')).endswith('_classifier')
    kimg = run.classifier['total_kimg'] if run.classifier else run.kimg
    percent = 100.0 if run.can.finished else min(100.0 * kimg / total, 100.0) if total else 0.0
    facts = list(_classifier_facts(run, total) if is_classifier else _facts(run, total, percent))
    metrics = [name for name, _, _ in run.best]
    return pages.render(
        'report', title=f'{run.name}: {status}', name=run.name, status=status,
        subtitle=f'{_data_line(run)}Written {time.strftime("%Y-%m-%d %H:%M")}.'
                 + ('' if run.status == 'running' else f' This run {run.status}.'),
        percent=f'{percent:.1f}', is_known=bool(run.stats) or run.can.finished, facts=facts,
        pictures=[dict(picture, label=f'{label} kimg') for label, picture in run.pictures], reals=run.reals,
        charts=run.charts, is_grown=any(phase.kind == 'fade' for phase in run.phases), metrics=metrics,
        networks=_networks(run, metrics), is_standin=any(score.record.get('is_standin') for score in run.scores),
        stands_for=run.stands_for, beside=run.beside, steps=_steps(run), plan=run.plan,
        settings=[(key, format_value(value), run.provenance.get(key, '')) for key, value in run.settings],
        starts=[('Environment' + (f' of start {number + 1}' if len(run.starts) > 1 else ''),
                 [(key, _shown(value)) for key, value in start.items()]) for number, start in enumerate(run.starts)])


def _data_line(run):
    if not run.data:
        return ''
    shape = run.data['shape']
    what = f'{shape[2]}x{shape[1]}' if len(shape) == 3 else f'{shape[0]} numbers'
    if 'downscale' in run.data:
        _, height, width = shown_shape(run.data)
        what += f', codes of images of {width}x{height}'
    dataset = run.config.get('dataset', {})
    name = dataset.get('tfrecord_dir') or str(dataset.get('class_name', '')).rpartition('.')[2]
    return f"Trained on {run.data['num_images']:,} samples of {what} ({name}). "


def _facts(run, total, percent):
    """Yields (what, value) for the boxes at the top."""
    yield 'progress', f'{_many(run.kimg)} of {_many(total)} kimg'
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
    for key, value, kimg in run.best:
        yield f'best {key}, at {kimg:g} kimg', format_digits(value, 4)


def _many(kimg):
    """Thousands of images, to five digits."""
    return f'{float(format_digits(kimg, 5)):,.10g}'


def _classifier_facts(run, total):
    """The same for a run that trains a classifier, which tells of itself at its end."""
    if run.classifier is None:
        yield 'length', f'{_many(total)} kimg'
        return
    yield 'attribute', run.classifier['attribute']
    yield 'trained for', f"{_many(run.classifier['total_kimg'])} kimg"
    yield 'accuracy on images held out', f"{100 * run.classifier['accuracy']:.1f} %"
    yield 'the commoner class alone', f"{100 * run.classifier['majority']:.1f} %"


def _networks(run, metrics):
    """[{name, address, size, values: texts per metric, is_best}] of the networks that are stored, or were scored."""
    scores = {(score.network, score.metric): score for score in run.scores}
    rows = []
    for name in sorted({score.network for score in run.scores if score.network.endswith('-untrained')}):
        rows.append({'name': 'before training', 'address': None, 'size': '', 'is_best': False,
                     'values': [_score(scores.get((name, metric))) for metric in metrics]})
    for name, _, size in run.snapshots:
        stem = os.path.splitext(name)[0]
        rows.append({'name': name, 'address': name, 'size': f'{size / 1e6:,.1f} MB',
                     'is_best': run.stands_for is not None and run.stands_for[0] == name,
                     'values': [_score(scores.get((stem, metric))) for metric in metrics]})
    if run.classifier:
        name, size = run.classifier['network'], run.classifier['bytes']
        rows.append({'name': name, 'address': None if size is None else name, 'is_best': True, 'values': [],
                     'size': '' if size is None else f'{size / 1e6:,.1f} MB'})
    return rows


def _score(score):
    if score is None:
        return ''
    return format_digits(score.value, 4) + ('' if score.error is None else f' ± {format_digits(score.error, 2)}')


def _steps(run):
    """[(what one may want to do, its command)]; nothing that would be refused."""
    folder = shlex.quote(_place(run.run_dir))
    total = run.config.get('train', {}).get('total_kimg') or run.kimg
    can, steps = run.can, []
    if run.status == 'running' and not can.finished:
        steps.append(('Stop it politely (a file of this name, or Ctrl-C, or SIGTERM):', f'touch {folder}/abort.txt'))
    elif can.resume and not can.finished:
        text = ('Continue this run from its newest checkpoint:' if can.checkpoint
                else 'Begin this run anew, since it has no checkpoint yet:')
        steps.append((text, f'./reproduce train --resume {folder}'))
    elif can.resume and 0 < total < 1e11:
        steps.append(('Make it longer:', f'./reproduce train --resume {folder} --set train.total_kimg={2 * total:g}'))
    which = 'the network that this run stands for' if can.finished else 'its best or newest network'
    if can.draw:
        steps += [(f'Draw pictures with {which}:', f'./reproduce generate --network {folder} --seeds 0-31'),
                  ("Draw the papers' figures with it:", f'./reproduce figures --network {folder}')]
    data_set = (run.config.get('dataset') or {}).get('tfrecord_dir')
    if can.encode and isinstance(data_set, str):
        place = _place(os.path.join(run.record.get('data_dir') or '', data_set))
        steps.append(('Encode images with it, to train on their codes:', './reproduce data encode '
                      f'{shlex.quote(place + "-codes")} {shlex.quote(place)} --codec {folder} --mirror 1'))
    if can.measure:
        files = f" ({', '.join(can.missing)} must be here, or can be downloaded)" if can.missing else ''
        steps.append((f'Measure all its networks{files}:',
                      f'./reproduce metrics {can.metric} --run {folder} --all-snapshots'))
    if can.curves:
        steps.append(('See all curves in TensorBoard:', f'./reproduce shell tensorboard --logdir {folder}'))
    steps.append(('Make this page anew:', f'./reproduce report {folder}'))
    return [(text, typed(command)) for text, command in steps]


def _place(path):
    """A path as commands get it: from the folder of this project where it lies below it."""
    relative = os.path.relpath(path, ROOT)
    return os.path.abspath(path) if relative.startswith('..') or folders.installed else relative


def _shown(value):
    if isinstance(value, dict):
        return ', '.join(f'{key} {item}' for key, item in value.items()) or 'none'
    if isinstance(value, list):
        return ' '.join(str(_shown(item)) for item in value) or 'none'
    return 'unknown' if value is None else value
