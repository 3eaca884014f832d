"""The one go on a GPU host, tried on a CPU: parts with limits of time, figures that are there when time runs out."""

import json
import sys

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
