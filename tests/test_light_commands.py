"""Commands that only tell something load neither TensorFlow nor matplotlib: help, lists and wrong arguments come at
once."""

import json
import subprocess
import sys

import pytest
from conftest import ROOT

# Modules only ever come to a process, so that one process tries many commands: what is absent at its end was absent
# after each of them.
TRY = '''
import contextlib, io, json, runpy, sys
sys.path.insert(0, sys.argv[1])
results = []
for expected, script, *argv in json.loads(sys.argv[2]):
    sys.argv = [script] + argv
    run = runpy.run_path if script.endswith('.py') else runpy.run_module
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            run(script, run_name='__main__')
            status = 0
        except SystemExit as end:
            status = end.code or 0
    heavy = [name for name in ('tensorflow', 'matplotlib', 'scipy', 'sklearn', 'cv2') if name in sys.modules]
    if status != expected or heavy:
        results.append([script, argv, status, heavy, said.getvalue()[-300:]])
print(json.dumps(results))
'''


@pytest.mark.both
@pytest.mark.parametrize('commands', [
    [(0, 'train.py', '--help'), (0, 'train.py', '--list-configs'), (2, 'train.py'), (0, 'train.py', 'doctor', '--help'),
     (0, 'train.py', 'attributes', '--help'), (0, 'experiment.studies.paper_demo', '--help'),
     (2, 'train.py', '--config', 'unknown'), (2, 'train.py', '--config', 'demo', '--set', 'train.total_kimg=x'),
     (0, 'train.py', '--config', 'demo', '--print-config'), (0, 'training.report', '--help'),
     (2, 'training.report', 'missing'), (2, 'train.py', '--resume', '99999'),
     (2, 'train.py', 'doctor', '--config', 'unknown')],
    [(0, 'dataset_tool.py', '--help'), (0, 'dataset_tool.py', 'prefilter', '--help'), (2, 'dataset_tool.py', 'unknown'),
     (2, 'dataset_tool.py', 'info', 'missing'), (2, 'dataset_tool.py', 'create_from_images', 'new', 'missing'),
     (0, 'dnnlib.artifacts', '--help'), (0, 'dnnlib.artifacts', 'list'),
     (0, 'generate_figures.py', 'lecture', '--help'), (0, 'generate_figures.py', 'unwarping', '--help'),
     (0, 'generate_figures.py', 'acceleration', '--help'), (2, 'generate_figures.py', 'acceleration'),
     (2, 'generate_figures.py', 'acceleration', '--after', 'missing')],
    [(2, 'generate.py', '--network', 'x', '--seeds', 'a'), (0, 'generate_figures.py', '--help'),
     (2, 'generate_figures.py', '--network', 'x', '--figures', 'unknown'),
     (0, 'pretrained_example.py', '--help'), (2, 'pretrained_example.py', '--psi', 'x'),
     (0, 'dnnlib.tflib.convert', '--help'), (2, 'dnnlib.tflib.convert', 'a.pkl', 'a.txt'),
     (2, 'dnnlib.tflib.export', 'missing', 'new'), (2, 'generate.py', '--network', 'missing', '--seeds', '1'),
     (2, 'generate_figures.py', '--network', 'missing'), (2, 'pretrained_example.py', '--network', 'missing')],
    [(0, 'run_metrics.py', '--help'), (0, 'run_metrics.py', 'table', '--help'),
     (0, 'run_metrics.py', 'curves', '--help'), (0, 'run_metrics.py', 'identity', '--help'), (2, 'run_metrics.py'),
     (0, 'run_metrics.py', 'table', '--list-tables'), (2, 'run_metrics.py', 'table', 'unknown'),
     (2, 'run_metrics.py', 'unknown', '--network', 'x'),
     (2, 'run_metrics.py', 'fid50k', '--network', 'x', '--num-gpus', '0'),
     (2, 'run_metrics.py', 'fid50k', '--network', 'missing'), (2, 'run_metrics.py', 'fid50k', '--run', 'missing'),
     (2, 'run_metrics.py', 'fid50k', '--run', 'missing', '--all-snapshots'), (2, 'run_metrics.py', 'curves', 'missing'),
     (2, 'run_metrics.py', 'identity', '--network', 'missing'), (2, 'run_metrics.py', 'explain', 'a', 'b'),
     (2, 'run_metrics.py', 'table', 'stylegan-4', '--network', 'unknown=x'),
     (2, 'run_metrics.py', 'stats', '--reference', 'missing', '--out', 'new.npz'),
     (2, 'run_metrics.py', 'fid', '--images', 'missing', '--reference', 'missing'),
     (2, 'run_metrics.py', 'unknown', '--images', 'missing', '--reference', 'missing')],
    [(0, 'explore.py', '--help'), (2, 'explore.py'), (2, 'explore.py', '--network', 'x', '--latents', 'missing.npz'),
     (2, 'explore.py', '--network', 'missing'), (2, 'project.py', sys.executable, '--network', 'missing'),
     (0, 'project.py', '--help'), (2, 'project.py', 'missing.png', '--network', 'x'), (0, 'generate.py', '--help'),
     (2, 'generate.py', '--network', 'x'), (2, 'generate.py', '--network', 'x', '--seeds', '1', '--edit', 'a=1')],
], ids=['train', 'data', 'generate', 'metrics', 'generators'])
def test_what_only_tells_something_loads_nothing_heavy(commands, tmp_path):
    commands = [(status, str(ROOT / script) if script.endswith('.py') else script, *argv)
                for status, script, *argv in commands]
    result = subprocess.run([sys.executable, '-c', TRY, str(ROOT), json.dumps(commands)], cwd=str(tmp_path),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert json.loads(result.stdout or 'null') == [], result.stderr
