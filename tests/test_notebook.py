"""The notebook runs from its first cell to its last, and is stored without what it printed."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT, new_session
from generator_helpers import save_networks

NOTEBOOK = ROOT / 'examples' / 'stylegan.ipynb'


@pytest.fixture
def results(tmp_path):
    """A folder of results that holds the demo's network, or something like it."""
    folder = tmp_path / 'results' / '00000-demo'
    folder.mkdir(parents=True)
    with new_session():
        os.rename(save_networks(tmp_path, resolution=32)['styles'], str(folder / 'network-final.pkl'))
    return dict(os.environ, STYLEGAN_RESULT_DIR=str(tmp_path / 'results'), CUDA_VISIBLE_DEVICES='')


@pytest.mark.both
def test_it_has_ten_cells_without_outputs():
    content = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
    assert len(content['cells']) == 10 and content['nbformat'] == 4
    code = [cell for cell in content['cells'] if cell['cell_type'] == 'code']
    assert all(cell['outputs'] == [] and cell['execution_count'] is None for cell in code)
    assert 'PROJECT = ' in ''.join(code[0]['source'])


def test_its_code_runs_as_a_program(results, tmp_path):
    """Without a notebook's packages: what is displayed is counted."""
    cells = json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']
    source = '\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')
    source = source.replace("PROJECT = '..'", f'PROJECT = {str(ROOT)!r}')
    source = source.replace('from IPython.display import Video, display',
                            'shown, Video = [], lambda *args, **kwargs: args\ndisplay = shown.append')
    source += "\nprint('displayed', len(shown))\n"
    (tmp_path / 'program.py').write_text(source, encoding='utf-8')
    done = subprocess.run([sys.executable, 'program.py'], cwd=str(tmp_path), env=results, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'displayed 6' in done.stdout and '00000-demo' in done.stdout
    assert (tmp_path / 'steered.png').stat().st_size > 100 and (tmp_path / 'loop.mp4').stat().st_size > 1000


def test_a_kernel_runs_it(results, tmp_path, monkeypatch):
    nbclient, nbformat = pytest.importorskip('nbclient'), pytest.importorskip('nbformat')
    pytest.importorskip('ipykernel')
    for name, value in results.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(sys.path))
    content = nbformat.read(str(NOTEBOOK), as_version=4)
    content.cells[1].source = content.cells[1].source.replace("PROJECT = '..'", f'PROJECT = {str(ROOT)!r}')
    content.metadata.kernelspec.name = 'python3'
    nbclient.NotebookClient(content, timeout=300, resources={'metadata': {'path': str(tmp_path)}}).execute()
    kinds = [kind for cell in content.cells[4:] for output in cell.outputs for kind in output.get('data', {})]
    assert kinds.count('image/png') >= 5 and (tmp_path / 'steered.png').exists()
