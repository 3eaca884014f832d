"""The HTML of a run's report. Everything is inside the page: pictures, curves, style and the slider's few lines."""

import html
import json
import os
import string
import time

from dnnlib.config_files import format_value
from dnnlib.submission.records import flatten
from dnnlib.util import format_time

PYTHON = '.venv/bin/python'
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The policy forbids the page to load anything, so that it cannot depend on a network by mistake.
PAGE = string.Template('''<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { --ink: #1c2127; --soft: #5d6873; --line: #dfe3e7; --paper: #ffffff; --back: #f4f5f7; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 20px; }
h1 { font-size: 26px; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 32px 0 10px; }
.sub { color: var(--soft); margin: 2px 0 14px; }
.status { display: inline-block; padding: 2px 10px; border-radius: 12px; font-size: 14px; color: #fff;
          background: var(--accent); vertical-align: 4px; margin-left: 8px; }
.status.finished { background: #00805f; }
.status.failed { background: #b3261e; }
.status.stopped { background: #8a6100; }
.bar { height: 8px; background: var(--line); border-radius: 4px; overflow: hidden; }
.bar div { height: 100%; background: var(--accent); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin-top: 14px; }
.fact, figure, .panel { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
.fact { padding: 10px 14px; }
.fact b { display: block; font-size: 19px; }
.fact span { color: var(--soft); font-size: 14px; }
figure { margin: 0; padding: 12px; }
figure img { display: block; width: 100%; height: auto; }
#samples img { max-width: ${width}px; margin: 0 auto; }
#samples .frame { overflow-x: auto; }
.slider { display: flex; flex-wrap: wrap; align-items: center; gap: 12px; margin-top: 10px; }
.slider input { flex: 1 1 200px; min-width: 0; accent-color: var(--accent); height: 32px; }
.slider output { flex: 0 0 120px; font-variant-numeric: tabular-nums; }
.slider button { font: inherit; padding: 4px 14px; border: 1px solid var(--line); border-radius: 6px;
                 background: var(--back); cursor: pointer; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); gap: 12px; }
.panel { padding: 4px 14px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.best td { font-weight: 600; }
details td:last-child { white-space: normal; overflow-wrap: anywhere; }
pre { margin: 8px 0; font: 14px/1.5 ui-monospace, monospace; overflow-x: auto; }
details { margin-top: 10px; } summary { cursor: pointer; padding: 8px 0; font-weight: 600; }
p { margin: 8px 0; }
@media (max-width: 600px) { main { padding: 12px; } h1 { font-size: 21px; } .fact b { font-size: 17px; }
  .facts { grid-template-columns: 1fr 1fr; } figure { padding: 8px; }
  #samples img { width: 760px; max-width: none; } }
</style>
</head>
<body>
<main>
<h1>$name<span class="status $status_class">$status_class</span></h1>
<p class="sub">$subtitle</p>
<div class="bar" role="progressbar" aria-valuenow="$percent" aria-valuemin="0" aria-valuemax="100"><div
  style="width: $percent%"></div></div>
<div class="facts">$facts</div>
$samples
$curves
$snapshots
<h2>How to go on</h2>
<div class="panel">$howto</div>
<h2>How it was made</h2>
<div class="panel">
$details
</div>
</main>
$script
</body>
</html>
''')

SAMPLES = string.Template('''<h2>Samples</h2>
<figure id="samples">
<div class="frame"><img id="picture" src="$last" alt="Samples of the generator"></div>
<div class="slider">
<input id="time" type="range" min="0" max="$highest" value="$highest" aria-label="Progress of the run">
<output id="label" for="time">$label kimg</output>
$button
</div>
</figure>
''')

SCRIPT = string.Template('''<script>
(function () {
  var pictures = $pictures, labels = $labels, reals = $reals;
  var picture = document.getElementById('picture'), time = document.getElementById('time');
  var label = document.getElementById('label'), button = document.getElementById('reals');
  function show() {
    picture.src = pictures[time.value];
    label.textContent = labels[time.value] + ' kimg';
    if (button) button.setAttribute('aria-pressed', 'false');
  }
  time.addEventListener('input', show);
  if (button) button.addEventListener('click', function () {
    if (button.getAttribute('aria-pressed') === 'true') return show();
    picture.src = reals;
    label.textContent = 'training data';
    button.setAttribute('aria-pressed', 'true');
  });
})();
</script>''')


def render(run):
    """The page as text. `run` is what report.gather returns."""
    total = run.config.get('train', {}).get('total_kimg') or run.kimg
    status = run.status.split()[0]
    percent = min(100.0 * run.kimg / total, 100.0) if total else 0.0
    pictures = [(label, url) for label, url in run.pictures if url]
    return PAGE.substitute(
        title=_text(f'{run.name}: {status}'), name=_text(run.name), status_class=_text(status),
        subtitle=_text(f'{_data_line(run)}Written {time.strftime("%Y-%m-%d %H:%M")}.'
                       + ('' if run.status == 'running' else f' This run {run.status}.')),
        percent=f'{percent:.1f}', facts=''.join(_fact(*fact) for fact in _facts(run, total, percent)), width=1280,
        samples=_samples(pictures, run.reals), curves=_curves(run.charts), snapshots=_snapshots(run),
        howto=_howto(run), details=_details(run), script=_script(pictures, run.reals))


def _text(value):
    # Folders and records of others may hold half characters, which no file can.
    return html.escape(str(value).encode('utf-8', 'replace').decode('utf-8'))


def _data_line(run):
    if not run.data:
        return ''
    shape = run.data['shape']
    what = f'{shape[2]}x{shape[1]}' if len(shape) == 3 else f'{shape[0]} numbers'
    dataset = run.config.get('dataset', {})
    name = dataset.get('tfrecord_dir') or str(dataset.get('class_name', '')).rpartition('.')[2]
    return f"Trained on {run.data['num_images']:,} samples of {what} ({name}). "


def _fact(what, value):
    return f'<div class="fact"><span>{_text(what)}</span><b>{_text(value)}</b></div>'


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


def best_scores(stats):
    """[(name, best value, kimg)] of each metric: the highest precision and recall, the lowest of everything else."""
    best = {}
    for tick in stats:
        for key, value in tick.items():
            if key.startswith('Metrics/') and isinstance(value, (int, float)):
                name = key[len('Metrics/'):]
                sign = -1 if name.endswith(('precision', 'recall')) else 1
                if name not in best or sign * value < sign * best[name][0]:
                    best[name] = value, tick['kimg']
    return [(name, value, kimg) for name, (value, kimg) in sorted(best.items())]


def _samples(pictures, reals):
    if not pictures:
        return ''
    button = '<button id="reals" type="button" aria-pressed="false">training data</button>' if reals else ''
    return SAMPLES.substitute(last=pictures[-1][1], highest=len(pictures) - 1, label=_text(pictures[-1][0]),
                              button=button)


def _script(pictures, reals):
    if not pictures:
        return ''
    return SCRIPT.substitute(pictures=json.dumps([url for _, url in pictures]),
                             labels=json.dumps([label for label, _ in pictures]), reals=json.dumps(reals))


def _curves(charts):
    if not charts:
        return ''
    figures = ''.join(f'<figure><img src="{url}" alt="{_text(title)} over kimg"></figure>' for title, url in charts)
    return f'<h2>Curves</h2>\n<p class="sub">Grey: a resolution fades in.</p>\n<div class="curves">{figures}</div>'


def _snapshots(run):
    if not run.snapshots:
        return ''
    metrics = [(name, value) for name, value, _ in best_scores(run.stats)]
    rows = []
    for name, kimg, size in run.snapshots:
        scores = {}
        for tick in run.stats:
            if kimg is not None and int(tick['kimg']) == kimg:
                scores.update(tick)
        values = [scores.get('Metrics/' + metric) for metric, _ in metrics]
        is_best = any(value is not None and value == best for value, (_, best) in zip(values, metrics))
        cells = ''.join(f'<td class="number">{"" if value is None else format(value, ".4g")}</td>' for value in values)
        rows.append(f'<tr{" class=best" if is_best else ""}><td>{_text(name)}</td>'
                    f'<td class="number">{size / 1e6:,.1f} MB</td>{cells}</tr>')
    head = ''.join(f'<th class="number">{_text(metric)}</th>' for metric, _ in metrics)
    return ('<h2>Networks</h2>\n<div class="panel"><table><thead><tr><th>file (G, D and Gs)</th>'
            f'<th class="number">size</th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>')


def _howto(run):
    folder = os.path.relpath(run.run_dir, ROOT)
    folder = os.path.abspath(run.run_dir) if folder.startswith('..') else folder
    network = run.snapshots[-1][0] if run.snapshots else 'network-final.pkl'
    longer = f'{2 * run.config.get("train", {}).get("total_kimg", run.kimg):g}'
    steps = [('Continue this run from its newest checkpoint:', f'{PYTHON} train.py --resume {folder}'),
             ('Make it longer:', f'{PYTHON} train.py --resume {folder} --set train.total_kimg={longer}'),
             ('Draw pictures with its newest network:',
              f'{PYTHON} generate.py --network {folder}/{network} --seeds 0-31'),
             ('Measure all its networks:', f'{PYTHON} run_metrics.py fid50k --run {folder} --all-snapshots'),
             ('See all curves in TensorBoard:', f'.venv/bin/tensorboard --logdir {folder}')]
    if run.status == 'running':
        steps.insert(0, ('Stop it politely (a file of this name, or Ctrl-C, or SIGTERM):',
                         f'touch {folder}/abort.txt'))
    return ''.join(f'<p>{_text(text)}</p><pre>{_text(command)}</pre>' for text, command in steps)


def _details(run):
    parts = []
    if run.plan:
        parts.append(('Plan', '<pre>' + _text('\n'.join(run.plan)) + '</pre>'))
    rows = ''.join(f'<tr><td>{_text(key)}</td><td>{_text(format_value(value))}</td>'
                   f'<td>{_text(run.provenance.get(key, ""))}</td></tr>' for key, value in flatten(run.config))
    parts.append(('Configuration', '<table><thead><tr><th>setting</th><th>value</th><th>from</th></tr></thead>'
                  f'<tbody>{rows}</tbody></table>'))
    for number, start in enumerate(run.starts):
        title = 'Environment' + (f' of start {number + 1}' if len(run.starts) > 1 else '')
        rows = ''.join(f'<tr><td>{_text(key)}</td><td>{_text(_shown(value))}</td></tr>' for key, value in start.items())
        parts.append((title, f'<table><tbody>{rows}</tbody></table>'))
    return ''.join(f'<details><summary>{_text(title)}</summary>{body}</details>' for title, body in parts)


def _shown(value):
    if isinstance(value, dict):
        return ', '.join(f'{key} {item}' for key, item in value.items()) or 'none'
    if isinstance(value, list):
        return ' '.join(_shown(item) for item in value) or 'none'
    return 'unknown' if value is None else value
