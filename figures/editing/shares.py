"""How often a classifier's answer changes as an edit asks for: table and plot."""

import os

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import atomic_path, atomic_write
from dnnlib.progress import Progress

STRENGTHS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
SAMPLES = 200
CHUNK = 50


def measure(gen, directions, answers, psi=0.7, cutoff=8, layers=None, count=SAMPLES, seed=0, strengths=STRENGTHS):
    """Moves samples along every direction that there is a classifier for.

    Args:
        directions: {name: `Direction`}.
        answers: {name: function of images uint8 [N, H, W, C] that gives logits [N], above 0 for "has it"};
            its `attributes`, if it has them: names of further ones that there are classifiers of.

    Returns {name: {strength: {'has': share that has the attribute, 'changed': share of those whose answer was against
    the strength's sign that it turned, or None where there were none, 'against': their number}}}. Raises UserError
    where no direction has a classifier.
    """
    names = [name for name in directions if name in answers]
    if not names:
        known = getattr(answers, 'attributes', answers)
        raise UserError(f"no direction has a classifier: directions are {', '.join(directions)[:300]}; there are "
                        f"classifiers of {', '.join(known)}")
    w = gen.dlatents(gen.latents(seed, count), gen.labels(seed, count))
    w = w if psi == 1 else gen.truncate(w, psi, cutoff)
    found = {}
    with Progress('edits', len(names) * (len(strengths) + 1) * count) as progress:
        for name in names:
            def has_after(strength, name=name):
                moved = directions[name].move(w, strength, layers)
                logits = [answers[name](gen.synthesize(moved[begin:begin + CHUNK])) for begin in range(0, count, CHUNK)]
                progress.add(count)
                return np.concatenate(logits) > 0
            before = has_after(0.0)
            found[name] = {strength: _shares(before, before if strength == 0 else has_after(strength), strength)
                           for strength in strengths}
    return found


def _shares(before, after, strength):
    against = before if strength < 0 else ~before
    turned = after != before
    count = int(against.sum()) if strength else 0
    return dict(has=float(after.mean()), changed=float(turned[against].mean()) if count else None, against=count)


def store(folder, found, note):
    """Stores `edits.md` and `edits.png`. Returns their paths."""
    strengths = list(next(iter(found.values())))
    lines = [note, '', '| attribute | ' + ' | '.join(f'{strength:+g} σ' for strength in strengths) + ' |',
             '| --- |' + ' ---: |' * len(strengths)]
    for name, row in found.items():
        cells = [f"{100 * cell['has']:.0f} %" + ('' if cell['changed'] is None else
                                                f" ({100 * cell['changed']:.0f} % of {cell['against']})")
                 for cell in row.values()]
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    lines += ['', 'Share of samples that have the attribute, as its classifier says; in brackets the share of those '
              'whose answer was the other one before that changed as asked.', '']
    table, plot = os.path.join(folder, 'edits.md'), os.path.join(folder, 'edits.png')
    with atomic_write(table, 'w') as file:
        file.write('\n'.join(lines))
    _plot(plot, found, strengths)
    return table, plot


def _plot(path, found, strengths):
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, max(4.5, 0.21 * len(found))))
    axes = figure.add_subplot(1, 1, 1)
    last = max(strengths)
    # The names stand in the order of the lines' ends; where colours begin anew, marks and dashes differ.
    for index, name in enumerate(sorted(found, key=lambda name: -found[name][last]['has'])):
        axes.plot(strengths, [100 * cell['has'] for cell in found[name].values()], color=f'C{index % 10}',
                  marker='os^D'[index // 10 % 4], linestyle=('-', '--', ':', '-.')[index // 10 % 4], label=name)
    axes.set_xlabel('strength in standard deviations of w')
    axes.set_ylabel('samples that have the attribute, %')
    axes.set_ylim(-3, 103)
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    figure.tight_layout()
    with atomic_path(path) as temp:
        figure.savefig(temp, dpi=100)
