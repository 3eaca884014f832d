"""Curves of a training run, as SVG pictures."""

import base64
import io
from collections import OrderedDict

MAX_POINTS = 600    # per curve; more cannot be seen and make the report heavy
COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9']     # told apart by colour-blind readers too

# (title, unit, {series name: keys in stats.jsonl, the first present one counts}, style)
CHARTS = [
    ('Discriminator scores', 'logit', OrderedDict([('reals', ['Loss/scores/real']), ('fakes', ['Loss/scores/fake']),
                                                   ('mixed', ['Loss/scores/mixed'])]), ''),
    ('Losses', 'loss', OrderedDict([('G', ['TrainG/loss']), ('D', ['TrainD/loss'])]), ''),
    ('Gradient penalty', 'penalty', OrderedDict([('R1', ['Loss/r1_penalty']), ('R2', ['Loss/r2_penalty']),
                                                 ('epsilon', ['Loss/epsilon_penalty'])]), 'log'),
    ('Gradient norm at mixed images', 'norm', OrderedDict([('norm', ['Loss/mixed_norms'])]), ''),
    ('Level of detail', 'lod (0: full resolution)', OrderedDict([('lod', ['lod'])]), 'zero'),
    ('Minibatch', 'images', OrderedDict([('minibatch', ['minibatch'])]), 'steps'),
    ('Learning rate', 'rate', OrderedDict([('G', ['G_lrate']), ('D', ['D_lrate'])]), 'steps'),
    ('Speed', 'seconds per kimg', OrderedDict([('training', ['sec_per_kimg'])]), 'log'),
    ('Time spent outside training', 'seconds per tick', OrderedDict([('maintenance', ['maintenance_sec'])]), 'zero'),
    ('Peak GPU memory', 'GB', OrderedDict([('GPU 0', ['peak_gpu_mem_gb'])]), 'nonzero'),
    ('Peak memory of the process', 'GB', OrderedDict([('process', ['peak_process_mem_gb'])]), 'zero'),
    ('Updates skipped for NaN or Inf', 'updates', OrderedDict([('skipped', ['skipped_updates'])]), 'nonzero'),
    ('Loss scaling', 'log2', OrderedDict([('G', ['TrainG/loss_scaling_log2']),
                                          ('D', ['TrainD/loss_scaling_log2'])]), '')]


def series(stats, keys):
    """(kimg, values) of the first of `keys` that ticks have, thinned to at most MAX_POINTS."""
    for key in keys:
        points = [(tick['kimg'], tick[key]) for tick in stats if isinstance(tick.get(key), (int, float))]
        if points:
            step = -(-len(points) // MAX_POINTS)
            kept = points[::step] + ([points[-1]] if (len(points) - 1) % step else [])
            return [x for x, _ in kept], [y for _, y in kept]
    return [], []


def charts(stats, phases, scores=None):
    """Draws what the ticks in `stats` hold. Returns [(title, data URL of an SVG)], metrics first.

    `stats`: dicts as in stats.jsonl. `phases`: from phases.make_phases, drawn as shades and resolutions behind curves.
    `scores`: {metric: (kimg, values)}. What has a single point is no curve, and left out.
    """
    result = [(metric, _draw(metric, '', [('score', xy)], 'marks', phases)) for metric, xy in (scores or {}).items()]
    for title, unit, curves, style in CHARTS:
        found = [(name, series(stats, keys)) for name, keys in curves.items()]
        found = [(name, xy) for name, xy in found if len(xy[0]) > 1]
        if not found or (style == 'nonzero' and not any(any(ys) for _, (_, ys) in found)):
            continue
        result.append((title, _draw(title, unit, found, style, phases)))
    return result


def _draw(title, unit, curves, style, phases):
    # Imported here, since the report's help and its readers of ticks need none of it.
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter
    with matplotlib.rc_context({'font.size': 10, 'font.family': 'sans-serif', 'svg.fonttype': 'path',
                                'svg.hashsalt': title, 'axes.spines.top': False, 'axes.spines.right': False}):
        figure = Figure(figsize=(5.2, 3.0))
        FigureCanvasSVG(figure)
        axes = figure.add_axes([0.16, 0.16, 0.81, 0.66])
        end = max(xs[-1] for _, (xs, _) in curves) or 1.0
        for color, (name, (xs, ys)) in zip(COLORS, curves):
            axes.plot(xs, ys, color=color, linewidth=1.6, label=name, markersize=4,
                      drawstyle='steps-post' if style == 'steps' else None,
                      marker='o' if style == 'marks' or len(xs) < 3 else None)
        values = [y for _, (_, ys) in curves for y in ys]
        if style in ('log', 'marks') and min(values) > 0 and max(values) > 3 * min(values):
            axes.set_yscale('log')
            for axis_part in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                axis_part(FuncFormatter(_log_label))
        elif style in ('log', 'steps', 'nonzero', 'zero') and min(values) >= 0:
            axes.set_ylim(0, max(values) * 1.08 or 1.0)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f'{value:g}'))
        axes.set_xlim(0, end * 1.02)
        _shade(axes, phases, 0, end * 1.02)
        axes.set_xlabel('kimg')
        axes.set_ylabel(unit)
        axes.grid(True, axis='y', color='#dddddd', linewidth=0.6)
        axes.set_axisbelow(True)
        axes.ticklabel_format(axis='x', style='plain', useOffset=False)
        figure.text(0.16, 0.92, title, fontweight='bold', fontsize=11)
        if len(curves) > 1:
            # Narrow, so that three names stand beside the longest title.
            axes.legend(loc='lower right', bbox_to_anchor=(1.0, 1.11), ncol=3, frameon=False, borderaxespad=0,
                        handlelength=1.2, columnspacing=1.2, handletextpad=0.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format='svg', metadata={'Date': None}, transparent=True)
    return 'data:image/svg+xml;base64,' + base64.b64encode(buffer.getvalue()).decode('ascii')


def _log_label(value, _position):
    """Labels 1, 2 and 5 of each decade."""
    digit = f'{value:e}'[0]
    return f'{value:g}' if digit in '125' else ''


def _shade(axes, phases, start, end):
    """Shades the fades and names the resolutions above the axes, where there is room for the name."""
    for phase in phases:
        low, high = max(phase.start_kimg, start), min(phase.end_kimg, end)
        if low >= high:
            continue
        if phase.kind == 'fade':
            axes.axvspan(low, high, color='#f0f0f0', zorder=0, linewidth=0)
        elif high - low > (end - start) * 0.06:
            axes.text((low + high) / 2, 1.01, f'{phase.resolution}²', transform=axes.get_xaxis_transform(),
                      ha='center', va='bottom', fontsize=9, color='#5d6873')
