"""Runs both engines on the same networks and faces, and tells how far their numbers are apart.

    python tools/compare_engines.py            print the table
    python tools/compare_engines.py --write    put it into docs/engines.md

Needs both environments (`make setup ENGINE=tf1`, `make setup ENGINE=tf2`); runs on the CPU within two minutes.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections import OrderedDict

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import check_python  # noqa: E402, F401, I001
import numpy as np  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

DOCS = ROOT / 'docs' / 'engines.md'
ENGINES = ('tf1', 'tf2')
BEGIN, END = '<!-- made by tools/compare_engines.py: begin -->', '<!-- end -->'

# (title, names of the arrays, how they are compared, bound)
QUANTITIES = [
    ('images', ('images_lod0.0', 'images_lod1.3'), 'deviation', 1e-4),
    ("D's scores", ('scores_lod0.0', 'scores_lod1.3'), 'deviation', 1e-4),
    ('first-order gradient of the scores by the images', ('image_grad_lod0.0', 'image_grad_lod1.3'), 'deviation', 1e-4),
    ("second-order gradients: norms, by D's weights, of the R1 penalty's",
     ('second_grad_norms_lod0.0', 'second_grad_norms_lod1.3'), 'relative', 1e-3),
    ('losses of G and D in a seeded step', ('G_loss_lod0.0', 'G_loss_lod1.3', 'D_loss_lod0.0', 'D_loss_lod1.3'),
     'relative', 1e-3),
    ("norms of that step's gradients, G", ('G_grad_norms_lod0.0', 'G_grad_norms_lod1.3'), 'relative', 1e-3),
    ("norms of that step's gradients, D, with R1", ('D_grad_norms_lod0.0', 'D_grad_norms_lod1.3'), 'relative', 1e-3),
    ('two updates by Adam from the same injected gradients', ('injected_update',), 'deviation', 1e-3)]
METRIC_BOUND = 1e-3
UNITS = {'deviation': 'of the standard deviation', 'relative': 'relative'}
FLOOR = 1e-6    # What is smaller than this share of an array's largest value counts as rounding of zero.


def environment_python(engine):
    """The Python of an engine's environment in this checkout; None if it is not set up."""
    path = ROOT / f'.venv-{engine}' / 'bin' / 'python'
    return str(path) if path.exists() else None


def run_probe(python, folder, name):
    """Computes networks' numbers and scores with a Python, on the files in a folder. Returns (arrays, records)."""
    done = subprocess.run([python, str(ROOT / 'tests' / 'cross_engine_probe.py'), str(folder), name], cwd=str(ROOT),
                          env=dict(os.environ, PYTHONDONTWRITEBYTECODE='1', CUDA_VISIBLE_DEVICES='-1'),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        raise RuntimeError(f'{python} failed:\n{done.stderr[-3000:]}')
    with np.load(os.path.join(str(folder), name + '.npz')) as archive:
        arrays = dict(archive)
    records = OrderedDict()
    for path in sorted(pathlib.Path(str(folder), name).glob('*.json')):
        records[path.stem] = json.loads(path.read_text(encoding='utf-8'))
    return arrays, records


def difference(how, a, b):
    """Largest difference of two arrays, relative to the deviation of one, or element by element."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if how == 'deviation':
        return float(np.abs(a - b).max() / b.std())
    return float((np.abs(a - b) / np.maximum(np.abs(b), FLOOR * np.abs(b).max())).max())


def compare(this, other):
    """[(quantity, largest difference, unit, bound), ...] of what two calls of `run_probe` returned."""
    rows = [(title, max(difference(how, this[0][name], other[0][name]) for name in names), UNITS[how], bound)
            for title, names, how, bound in QUANTITIES]
    for metric, record in this[1].items():
        values, others = [found.get('values') or {metric: found['value']} for found in (record, other[1][metric])]
        rows += [(f'`{name}`, {record["num_samples"]} samples', difference('relative', value, others[name]),
                  UNITS['relative'], METRIC_BOUND) for name, value in values.items()]
    return rows


def versions(results):
    """'tf1: TensorFlow 1.15.5, numpy …' per engine, from the records of `run_probe`."""
    lines = []
    for _, records in results:
        record = next(iter(records.values()))
        shown = OrderedDict([('TensorFlow', 'tensorflow'), ('Python', 'python'), ('NumPy', 'numpy'),
                             ('SciPy', 'scipy'), ('scikit-learn', 'sklearn')])
        lines.append(f"{record['engine']}: " + ', '.join(f'{title} {record[key]}' for title, key in shown.items()))
    return lines


def to_markdown(rows, lines):
    """The table, with the versions above it."""
    text = ''.join(f'- {line}\n' for line in lines)
    text += '\n| quantity | largest difference | bound |\n| --- | --- | --- |\n'
    for title, found, unit, bound in rows:
        text += f'| {title} | {"none" if found == 0 else format(found, ".1e")} | {bound:.0e} {unit} |\n'
    return text


def main(argv=None):
    """Prints the table, or writes it; the exit status is 1 if anything is out of its bound."""
    parser = Parser(prog='./reproduce compare-engines', description='How far the numbers of both engines are apart.')
    parser.add_argument('--write', action='store_true', help=f'put the table into {DOCS.relative_to(ROOT)}')
    args = parser.parse_args(argv)
    for engine in ENGINES:
        if environment_python(engine) is None:
            parser.error(f'the environment of {engine} is not set up: make setup ENGINE={engine}')
    with tempfile.TemporaryDirectory(prefix='engines-') as folder:
        results = [run_probe(environment_python(engine), folder, engine) for engine in ENGINES]
    rows = compare(*results)
    text = to_markdown(rows, versions(results))
    if args.write:
        before = DOCS.read_text(encoding='utf-8')
        pattern = re.escape(BEGIN) + '.*' + re.escape(END)
        DOCS.write_text(re.sub(pattern, lambda _: f'{BEGIN}\n{text}{END}', before, flags=re.S), encoding='utf-8')
    print(text, end='')
    return 0 if all(found <= bound for _, found, _, bound in rows) else 1


if __name__ == '__main__':
    run_main(main)
