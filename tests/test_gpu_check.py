"""The one go on a GPU host, tried on a CPU: parts with limits of time, figures that are there when time runs out."""

import errno
import json
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest
from conftest import ROOT

from dnnlib.util import UserError

sys.path[:0] = [str(ROOT / 'tools'), str(ROOT / 'benchmarks')]

import gpu_check  # noqa: E402


def test_figures_are_written_and_a_part_out_of_time_is_told(tmp_path, monkeypatch):
    slow = gpu_check.step_part(256, 'fp32', 0.005, {})
    monkeypatch.setattr(gpu_check, 'PARTS', [part for part in gpu_check.PARTS if part.name == 'devices'] + [slow])
    out = tmp_path / 'out'
    assert gpu_check.main(['--out', str(out), '--device', 'cpu', '--small', '--jobs', '2']) == 1
    parts = json.loads((out / 'gpu.json').read_text())
    assert parts['devices']['state'] == 'done' and parts[slow.name]['state'] == 'out of time'
    assert parts[slow.name]['reason'] == 'its limit is 0.1 s'
    figures = {figure['what']: figure['figure'] for figure in parts['devices']['figures']}
    assert figures['GPUs that TensorFlow can use'] >= 0 and figures['TensorFlow']
    page = (out / 'gpu.md').read_text()
    title = page.splitlines()[0]
    assert f'| devices | TensorFlow | {figures["TensorFlow"]} |' in page and f'| {slow.name} | out of time: ' in page
    assert 'small networks' in title and figures['processor'].partition(' of ')[2] in title
    with pytest.raises(UserError, match='holds figures already'):   # and keeps them
        gpu_check.main(['--out', str(out), '--device', 'cpu'])


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


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """A function that replaces the parts by such of names, limits and the source of their program."""
    def replace(source, **limits):
        script = tmp_path / 'tools' / 'gpu_parts.py'
        script.parent.mkdir()
        script.write_text('import json, os, subprocess, sys, time\n'
                          'def say(**values): print("FIGURE " + json.dumps(values), flush=True)\n' + source)
        monkeypatch.setattr(gpu_check, 'ROOT', str(tmp_path))
        monkeypatch.setattr(gpu_check, 'PARTS', [gpu_check.Part(name, limit, [name], {})
                                                 for name, limit in limits.items()])
        return tmp_path / 'out'
    return replace


HANGS = ('say(what="before", figure=1)\n'
         'child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])\n'
         'open({pid!r}, "w").write(str(child.pid))\ntime.sleep(600)\n')


def test_what_a_part_that_hangs_has_started_ends_with_it(tmp_path, scripted):
    pid = tmp_path / 'pid'
    out = scripted(HANGS.format(pid=str(pid)), slow=5, next=5)
    assert gpu_check.main(['--out', str(out), '--only', 'slow,next', '--jobs', '1']) == 1
    parts = json.loads((out / 'gpu.json').read_text())
    assert [part['state'] for part in parts.values()] == ['out of time'] * 2
    assert [part['figures'] for part in parts.values()] == [[dict(what='before', figure=1)]] * 2
    wait_for(lambda: not is_running(int(pid.read_text())))


def test_a_part_that_waits_for_the_card_does_not_use_its_time_up(scripted):
    out = scripted('say(waits=True)\ntime.sleep(4)\nsay(waits=False)\n'
                   'say(what="sum", figure="a|b", unit="s")\n', waits=3)
    assert gpu_check.main(['--out', str(out)]) == 0
    assert '| waits | sum | a/b s |' in (out / 'gpu.md').read_text()


def test_a_part_that_raises_is_told_and_the_others_run(scripted, capsys):
    out = scripted('if sys.argv[1] == "bad":\n    say(what="before", figure=1)\n    sys.exit("it broke")\n'
                   'sys.stdout.buffer.write(bytes([0xff, 10]))\nsay(what="size²", figure=2)\n', bad=30, good=30)
    assert gpu_check.main(['--out', str(out), '--jobs', '1']) == 1
    parts = json.loads((out / 'gpu.json').read_text())
    assert parts['bad']['state'].startswith('FAILED') and parts['bad']['reason'] == 'it broke'
    assert parts['bad']['figures'] and parts['good']['state'] == 'done'
    assert '  good: size²: 2\n' in capsys.readouterr().out     # where the files are lost, it is what there is


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_a_go_that_is_ended_leaves_its_figures_and_nothing_that_runs(tmp_path, number):
    pid, out = tmp_path / 'pid', tmp_path / 'out'
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools' / 'gpu_parts.py').write_text(
        'import json, os, sys, time\nprint("FIGURE " + json.dumps(dict(what="before", figure=1)), flush=True)\n'
        f'open({str(pid) + ".tmp"!r}, "w").write(str(os.getpid()))\nos.rename({str(pid) + ".tmp"!r}, {str(pid)!r})\n'
        'time.sleep(600)\n')
    program = (f'import sys\nsys.path.insert(0, {str(ROOT / "tools")!r})\nimport gpu_check\n'
               f'gpu_check.ROOT = {str(tmp_path)!r}\n'
               'gpu_check.PARTS = [gpu_check.Part(name, 600, [], {}) for name in ("first", "second")]\n'
               f'gpu_check.run_main(lambda: gpu_check.main(["--out", {str(out)!r}, "--jobs", "1"]))\n')
    process = subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: pid.exists() and '| before | 1 |' in (out / 'gpu.md').read_text())
        process.send_signal(number)
        process.wait(timeout=60)
    finally:
        process.kill()
    parts = json.loads((out / 'gpu.json').read_text())
    assert parts['first']['figures'] == [dict(what='before', figure=1)]
    wait_for(lambda: not is_running(int(pid.read_text())))
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert [part['state'] for part in parts.values()] == ['broken off', 'not begun: broken off']


def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path, scripted, monkeypatch):
    out = scripted('say(what="before", figure=1)\ntime.sleep(600)\n', first=600)
    write = gpu_check.write_json

    def write_until_full(path, value):
        if value['first']['figures']:
            raise OSError(errno.ENOSPC, 'No space left on device', path)
        write(path, value)

    monkeypatch.setattr(gpu_check, 'write_json', write_until_full)
    with pytest.raises(OSError, match='No space left'):     # of which run_main makes a sentence
        gpu_check.main(['--out', str(out), '--jobs', '1'])
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='no folder can be made'):
        gpu_check.main(['--out', str(tmp_path / 'file' / 'out')])


def test_how_busy_a_card_is_may_be_unknown(monkeypatch):
    """As of a part of a card; and it is the card of this process that is asked, not the machine's first."""
    asked = []

    def answer(*query, timeout):
        asked.append(query[0])
        return dict(enumerate([[['7 %']], [['[N/A]']], [], [['9 %']]])).get(len(asked) - 1)

    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,1')
    monkeypatch.setattr(gpu_check.machine, 'nvidia_smi', answer)
    monkeypatch.setattr(gpu_check.time, 'sleep', lambda seconds: None)
    sampler = gpu_check.Sampler()
    sampler.run()
    assert [percent for _, percent in sampler.samples] == [7, 9] and set(asked) == {'--id=3'}
    assert sampler.busy(0, 1) is None and sampler.busy(0, time.time() + 1) == 8


@pytest.mark.both
def test_steps_that_are_measured_have_a_seed_for_all_they_draw():
    """Else TensorFlow 2 refuses to build them where everything must be repeatable."""
    import training_steps
    step, close = training_steps.build_step(8, 4, fmap_base=32, fmap_max=8, latent_size=8, dlatent_size=8,
                                            mapping_fmaps=8, mapping_layers=1)
    draws = [op for op in step.graph.get_operations() if op.type.startswith(('Random', 'TruncatedNormal'))]
    close()
    assert draws and all(op.get_attr('seed') for op in draws)


def test_operations_without_a_kernel_and_copies_are_found(monkeypatch):
    """By made-up lists of kernels, since TensorFlow's CPU build has none for GPUs."""
    import gpu_kernels

    from dnnlib.tflib import tf
    lists = {'Relu': [], 'Fill': ['dims'], 'Const': [], 'Identity': []}
    monkeypatch.setattr(gpu_kernels.Kernels, 'of', lambda self, op: types.SimpleNamespace(
        host_memory_arg=lists[op.type]) if op.type in lists else None)
    with tf.Graph().as_default() as graph, tf.device('/gpu:0'):
        images = tf.nn.relu(tf.fill([1, 2, 3, 4], 1.0))
        tf.nn.relu(tf.nn.softplus(images))
        with tf.device('/cpu:0'):
            tf.identity(images)
    number, without, copies = gpu_kernels.examine(graph)
    assert number == len(graph.get_operations()) - 1 and without == {'Softplus of float32': 1}
    assert copies == {'Relu to Softplus, float32, to the host': 1, 'Softplus to Relu, float32, to the GPU': 1,
                      'Relu to Identity, float32, to the host': 1}


def test_kernels_of_a_build_without_gpus_cannot_be_listed():
    import gpu_kernels

    from dnnlib.tflib import tf
    if tf.test.is_built_with_cuda():
        pytest.skip('this build has them')
    with pytest.raises(UserError, match='built without GPUs'):
        gpu_kernels.main([])


def test_a_figure_that_is_no_number_is_told_as_a_text(capsys):
    import gpu_parts
    gpu_parts.tell('deviation', float('nan'))
    gpu_parts.tell('rate', 1234.5678, 'images/s')
    lines = [json.loads(line[len(gpu_check.FIGURE):]) for line in capsys.readouterr().out.splitlines()]
    assert [line['figure'] for line in lines] == ['nan', 1235.0]


@pytest.mark.both
def test_golden_values_that_are_off_fail_their_part(tmp_path, monkeypatch, capsys):
    import gpu_parts
    monkeypatch.setattr(gpu_parts, 'MOST_DEVIATION', 1e-9)
    with pytest.raises(UserError, match='off by .* deviations'):
        gpu_parts.golden(types.SimpleNamespace(device='cpu', out=str(tmp_path)))
    assert capsys.readouterr().out.count('deviations') == 5


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
