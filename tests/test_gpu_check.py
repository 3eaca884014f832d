"""The one go on a GPU host, tried on a CPU: parts with limits of time, figures that are there when time runs out."""

import json
import pathlib
import sys
import time

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / 'tools'))

import gpu_check  # noqa: E402


def test_figures_are_written_and_a_part_out_of_time_is_told(tmp_path, monkeypatch):
    slow = gpu_check.step_part(256, 'fp32', 0.005, {})
    monkeypatch.setattr(gpu_check, 'PARTS', [part for part in gpu_check.PARTS if part.name == 'devices'] + [slow])
    out = tmp_path / 'out'
    assert gpu_check.main(['--out', str(out), '--device', 'cpu', '--small', '--jobs', '2']) == 1
    parts = json.loads((out / 'gpu.json').read_text())
    assert parts['devices']['state'] == 'done' and parts[slow.name]['state'] == 'out of time'
    figures = {figure['what']: figure['figure'] for figure in parts['devices']['figures']}
    assert figures['GPUs that TensorFlow can use'] >= 0 and figures['TensorFlow']
    page = (out / 'gpu.md').read_text()
    assert f'| devices | TensorFlow | {figures["TensorFlow"]}  |' in page and f'| {slow.name} | out of time |' in page


def test_what_was_not_begun_is_told(tmp_path):
    out = tmp_path / 'out'
    assert gpu_check.main(['--out', str(out), '--seconds', '0', '--only', 'doctor']) == 1
    assert 'not begun' in json.loads((out / 'gpu.json').read_text())['doctor']['state']


def test_without_a_card_one_sentence_says_so_and_nothing_else_is_begun(tmp_path, capsys):
    if gpu_check.machine.nvidia_gpus(['name']):
        pytest.skip('there is a GPU')
    out = tmp_path / 'out'
    assert gpu_check.main(['--out', str(out), '--only', 'devices,golden']) == 1
    parts = json.loads((out / 'gpu.json').read_text())
    assert parts['devices']['reason'].startswith('error:') and 'GPU' in parts['devices']['reason']
    assert 'nothing to measure' in parts['golden']['state'] and parts['devices']['reason'] in capsys.readouterr().err
    assert parts['devices']['reason'] in (out / 'gpu.md').read_text()


def test_what_a_part_that_hangs_has_started_ends_with_it(tmp_path, monkeypatch):
    pid = tmp_path / 'pid'
    script = tmp_path / 'tools' / 'gpu_parts.py'
    script.parent.mkdir()
    script.write_text('import subprocess, sys, time\n'
                      'print(\'FIGURE {"what": "before", "figure": 1}\', flush=True)\n'
                      'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])\n'
                      f'open({str(pid)!r}, "w").write(str(child.pid))\ntime.sleep(600)\n')
    monkeypatch.setattr(gpu_check, 'ROOT', str(tmp_path))
    monkeypatch.setattr(gpu_check, 'PARTS', [gpu_check.Part('slow', 5, [], {}), gpu_check.Part('next', 5, [], {})])
    out = tmp_path / 'out'
    assert gpu_check.main(['--out', str(out), '--only', 'slow,next', '--jobs', '1']) == 1
    parts = json.loads((out / 'gpu.json').read_text())
    assert [part['state'] for part in parts.values()] == ['out of time'] * 2
    assert [part['figures'] for part in parts.values()] == [[dict(what='before', figure=1)]] * 2
    wait_for(lambda: not is_running(int(pid.read_text())))


def is_running(pid):
    """Whether there is a process of that number which has not ended."""
    try:
        return '\nState:\tZ' not in pathlib.Path(f'/proc/{pid}/status').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition):
    """Until it holds, at most half a minute."""
    ends = time.time() + 30
    while not condition() and time.time() < ends:
        time.sleep(0.05)
    assert condition()
