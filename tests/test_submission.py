import json
import os
import signal
import subprocess
import sys
import types

import pytest

import dnnlib
from dnnlib import submission
from dnnlib.config_files import load_config
from dnnlib.submission import records, run_dir
from dnnlib.util import UserError
from training.original import previous_run

pytestmark = pytest.mark.both


def python(code, *args):
    return subprocess.Popen([sys.executable, '-c', code] + list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            universal_newlines=True)


# ---- Numbering

def test_ids_continue_after_the_highest(tmp_path):
    for name in ['00000-a', '00007-b', '123-no', 'notes', '00003']:
        (tmp_path / name).mkdir()
    assert os.path.basename(submission.create_run_dir(str(tmp_path), 'x')) == '00008-x'
    assert os.path.basename(submission.create_run_dir(str(tmp_path / 'new' / 'deep'), 'x')) == '00000-x'


@pytest.mark.parametrize('desc,name', [
    ('sgan ffhq', '00000-sgan-ffhq'), ('../../etc/passwd', '00000-etc-passwd'), ('', '00000-run'), ('é☃', '00000-run'),
    ('x' * 200, '00000-' + 'x' * 80)])
def test_descriptions_become_safe_names(tmp_path, desc, name):
    assert os.path.basename(submission.create_run_dir(str(tmp_path), desc)) == name


def test_starts_at_once_never_share_a_number(tmp_path):
    code = '''if True:
        import os, sys
        from dnnlib.submission import create_run_dir
        sys.stdin.read()
        print(*[os.path.basename(create_run_dir(sys.argv[1], sys.argv[2])) for _ in range(20)])'''
    processes = [subprocess.Popen([sys.executable, '-c', code, str(tmp_path), desc], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, universal_newlines=True) for desc in ('a', 'b', 'c', 'c')]
    for p in processes:
        p.stdin.close()
    names = [name for p in processes for name in p.stdout.read().split()]
    for p in processes:
        assert p.wait() == 0
        p.stdout.close()
    ids = [run_dir.run_id_of(name) for name in names]
    assert len(set(ids)) == 80
    assert sorted(names) == sorted(os.listdir(str(tmp_path)))


def test_a_claim_left_by_a_crash_only_costs_a_number(tmp_path):
    (tmp_path / '.id-00000').mkdir()
    assert os.path.basename(submission.create_run_dir(str(tmp_path), 'x')) == '00001-x'


def test_result_dir_that_cannot_be_written_is_a_users_mistake(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='--result-dir'):
        submission.create_run_dir(str(tmp_path / 'file' / 'results'), 'x')

    def refuse(path, mode=0o777):
        raise OSError(30, 'Read-only file system')
    monkeypatch.setattr(os, 'mkdir', refuse)
    with pytest.raises(UserError, match='Read-only file system'):
        submission.create_run_dir(str(tmp_path), 'x')


# ---- Lock

def test_a_second_process_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path):
    holder = python('''if True:
        import sys, time
        from dnnlib.submission import RunLock
        lock = RunLock(sys.argv[1])
        print('held', flush=True)
        time.sleep(600)''', str(tmp_path))
    assert holder.stdout.readline() == 'held\n'
    with pytest.raises(UserError, match=rf'process {holder.pid}\) is training in'):
        submission.RunLock(str(tmp_path))
    holder.kill()
    holder.communicate()
    with submission.RunLock(str(tmp_path)):
        with pytest.raises(UserError, match='another process'):
            submission.RunLock(str(tmp_path))
    submission.RunLock(str(tmp_path)).close()


# ---- Source snapshot

def test_source_snapshot_takes_code_and_leaves_the_rest(tmp_path):
    root = tmp_path / 'root'
    for name in ['a.py', 'pkg/b.py', 'configs/c.yaml', 'data/big.py', 'pkg/__pycache__/b.py', '.hidden/h.py', 'x.png',
                 'venv/pyvenv.cfg', 'venv/lib/v.py', 'out/00000-x/submit_config.json', 'out/00000-x/src/a.py',
                 'pkg/table.json', 'pkg/pages/report.html', 'reproduce', 'notes']:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / 'huge.py').write_bytes(b'#' * (run_dir.SOURCE_MAX_BYTES + 1))
    target = root / 'results' / 'src'
    assert submission.copy_source(str(root), str(target), ignore=[str(root / 'data')]) == 6
    found = sorted(str(p.relative_to(target)) for p in target.rglob('*') if p.is_file())
    assert found == ['a.py', 'configs/c.yaml', 'pkg/b.py', 'pkg/pages/report.html', 'pkg/table.json', 'reproduce']
    assert (target / 'pkg' / 'b.py').read_text() == 'pkg/b.py'


# ---- Records

def test_configuration_survives_the_round_trip(tmp_path):
    config = dict(seed=1, G=dnnlib.EasyDict(func_name='m.f', eps=1e-8, none=None), metrics=[],
                  sched=dict(minibatch_dict={4: 128, 1024: 4}), tf_config={'rnd.np_random_seed': 5})
    submission.write_submit_config(str(tmp_path), dict(run_id=3, config=config), {'G.eps': 'from --set'})
    record = submission.read_submit_config(str(tmp_path))
    assert record['config'] == config
    assert record['run_id'] == 3
    assert 'G.eps = 1e-08  # from --set\n' in (tmp_path / 'config.txt').read_text()
    assert 'sched.minibatch_dict = {4: 128, 1024: 4}' in (tmp_path / 'config.txt').read_text()
    assert load_config(str(tmp_path / 'config.yaml'), str(tmp_path))[0] == config


def test_edits_of_the_configuration_that_people_read_are_named(tmp_path):
    config = dict(train=dict(total_kimg=25000, half_life=1e-3, snapshot=None, hours=float('inf')), metrics=['fid50k'],
                  sched={'minibatch_dict': {4: 128}}, desc='a "b": c')
    submission.write_submit_config(str(tmp_path), dict(config=config))
    config = submission.read_submit_config(str(tmp_path))['config']
    path = tmp_path / 'config.yaml'
    assert submission.edited_settings(str(tmp_path), config) == ''
    text = path.read_text()
    path.write_text('# mine\n' + text.replace('25000', '50000').replace('4: 128', '4: 64').replace('[fid50k]', '[]')
                    + 'more: 1\n')
    assert submission.edited_settings(str(tmp_path), config) == (
        'metrics, more, sched.minibatch_dict, train.total_kimg')
    path.write_text('train: [')
    assert 'config.yaml' in submission.edited_settings(str(tmp_path), config)
    path.unlink()
    assert submission.edited_settings(str(tmp_path), config) == ''


@pytest.mark.parametrize('content', [None, b'', b'{"format": 1', b'[]', b'{"format": 99, "config": {}}', b'\xff\xfe',
                                     b'{"format": 1, "config": {"dataset": {"tfrecord_dir": "\\u0000"}}}'])
def test_missing_and_damaged_records_are_users_mistakes(tmp_path, content):
    if content is not None:
        (tmp_path / 'submit_config.json').write_bytes(content)
    with pytest.raises(UserError, match='submit_config.json'):
        submission.read_submit_config(str(tmp_path))


def test_environment_record_names_what_results_depend_on(tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '2')
    records.add_environment_record(str(tmp_path))
    records.add_environment_record(str(tmp_path))
    starts = json.loads((tmp_path / 'environment.json').read_text())['starts']
    assert len(starts) == 2
    assert starts[0]['python'] == '.'.join(map(str, sys.version_info[:3]))
    assert starts[0]['cpu_count'] >= 1
    assert starts[0]['variables']['OMP_NUM_THREADS'] == '2'
    assert {name.lower() for name in starts[0]['packages']} >= {'numpy', 'pytest'}


# ---- RunContext

def test_abort_file_stops_and_is_forgotten_by_the_next_start(tmp_path):
    with dnnlib.RunContext(str(tmp_path)) as context:
        assert not context.should_stop()
        (tmp_path / 'abort.txt').write_text('')
        assert context.should_stop()
        assert context.stop_reason == 'abort.txt'
    assert not (tmp_path / '_finished.txt').exists()
    with dnnlib.RunContext(str(tmp_path)) as context:
        assert not context.should_stop()
    assert (tmp_path / '_finished.txt').exists()
    lines = (tmp_path / 'run.txt').read_text().splitlines()
    assert [line.split()[0] for line in lines] == ['started', 'stopped', 'started', 'finished']


def test_failures_are_recorded(tmp_path):
    with pytest.raises(ValueError):
        with dnnlib.RunContext(dnnlib.SubmitConfig(run_dir=str(tmp_path))):
            raise ValueError('broken')
    assert 'failed with ValueError: broken' in (tmp_path / 'run.txt').read_text()
    assert not (tmp_path / '_finished.txt').exists()


def test_handlers_come_back(tmp_path):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with dnnlib.RunContext(str(tmp_path)):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


LOOP = '''if True:
    import sys, time
    from dnnlib import RunContext
    with RunContext(sys.argv[1]) as context:
        print('running', flush=True)
        while not context.should_stop():
            %s
        print('stopped by', context.stop_reason)
'''


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_the_first_signal_stops_politely(tmp_path, name):
    process = python(LOOP % 'time.sleep(0.01)', str(tmp_path))
    assert process.stdout.readline() == 'running\n'
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert out == f'stopped by {name}\n'
    assert 'once more to exit at once' in err
    assert f'stopped by {name}' in (tmp_path / 'run.txt').read_text()


def test_the_second_signal_ends_even_a_step_that_does_not_return(tmp_path):
    # A long wait in C code keeps Python's own handlers from running, as a long TensorFlow step does.
    blocked = LOOP % "import ctypes; print('in step', flush=True); [ctypes.CDLL(None).pause() for _ in range(99)]"
    process = python(blocked, str(tmp_path))
    assert [process.stdout.readline() for _ in range(2)] == ['running\n', 'in step\n']
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == '\n'
    assert 'stopping after this step' in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert 'exiting at once' in err


def test_the_time_between_updates_is_told(tmp_path, monkeypatch):
    from dnnlib.submission import run_context
    now = [100.0]
    monkeypatch.setattr(run_context.time, 'time', lambda: now[0])
    with dnnlib.RunContext(str(tmp_path), max_epoch=100) as context:
        for kimg in (0, 10):
            context.update(cur_epoch=kimg)
            now[0] += 5
        assert context.get_last_update_interval() == 5
        now[0] += 2
        assert (context.get_time_since_last_update(), context.get_time_since_start()) == (7, 12)


def test_listeners_hear_of_updates(tmp_path):
    heard = []
    with dnnlib.RunContext(str(tmp_path)) as context:
        context.listeners.append(lambda: heard.append(context.cur_epoch))
        context.update(cur_epoch=3)
    assert heard == [3]


# ---- submit_run

def announce(submit_config, text):
    print('said', text)
    if text == 'fail':
        raise RuntimeError('as asked')


def test_submit_run_fills_a_run_directory(tmp_path):
    config = dnnlib.SubmitConfig(run_dir_root=str(tmp_path), run_desc='try it')
    done = dnnlib.submit_run(config, 'test_submission.announce', text='hello')
    assert config.run_dir is None
    assert done.run_name == '00000-try-it'
    path = tmp_path / '00000-try-it'
    assert (path / 'log.txt').read_text() == 'said hello\n'
    assert {'config.txt', 'submit_config.txt', 'environment.json', 'src'} <= set(os.listdir(str(path)))
    assert (path / 'src' / 'dnnlib' / 'util.py').exists()
    assert submission.read_submit_config(str(path))['config'] == {'text': 'hello'}


def test_the_log_keeps_the_traceback_of_a_failure(tmp_path):
    config = dnnlib.SubmitConfig(run_dir_root=str(tmp_path))
    with pytest.raises(RuntimeError):
        dnnlib.submit_run(config, 'test_submission.announce', text='fail')
    assert 'RuntimeError: as asked' in (tmp_path / '00000-run' / 'log.txt').read_text()


WORK = '''
import dnnlib

def run(submit_config, number, function):
    assert dnnlib.submit_config is submit_config and function(number) == 4
    with open(submit_config.run_dir + '/done.txt', 'w') as file:
        file.write(submit_config.task_name)
'''


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A folder with modules of a user's own, which can be imported."""
    folder = tmp_path / 'program'
    for name, text in [('mine/__init__.py', ''), ('mine/work.py', WORK), ('mine/deep/helper.py', ''), ('beside.py', ''),
                       ('other/unused.py', ''), ('weights.bin', '')]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.split('.')[0] == 'mine']:
        del sys.modules[name]


def test_a_function_of_a_users_own_is_run_and_its_source_kept(tmp_path, program, monkeypatch, capsys):
    results = str(tmp_path / '<USERNAME>')
    config = dnnlib.SubmitConfig(run_dir_root=submission.submit.get_template_from_path(results), run_desc='work',
                                 user_name='somebody', print_info=True, ask_confirmation=True)
    config.run_dir_ignore += ['configs']
    config.run_dir_extra_files = [(str(program / 'weights.bin'), 'files/weights.bin')]
    kwargs = dict(func_name='mine.work.run', number=2, function=lambda x: x * 2)
    monkeypatch.setattr('builtins.input', lambda question: 'n')
    assert dnnlib.submit_run(config, **kwargs) is None and os.listdir(str(tmp_path)) == ['program']

    monkeypatch.setattr('builtins.input', lambda question: 'y')
    submission.submit.set_user_name_override('override')
    try:
        done = dnnlib.submit_run(config, **kwargs)
    finally:
        submission.submit.set_user_name_override(None)
    assert done.run_dir == str(tmp_path / 'override' / '00000-work') and 'mine.work.run' in capsys.readouterr().out
    with open(done.run_dir + '/done.txt') as file:
        assert file.read() == done.task_name == 'somebody-00000-work'
    assert os.path.exists(done.run_dir + '/_finished.txt') and dnnlib.submit_config is None
    present = [name for name in ('mine/work.py', 'mine/deep/helper.py', 'beside.py', 'files/weights.bin', 'train.py',
                                 'other', 'weights.bin', 'configs', 'mine/work.pyc')
               if os.path.exists(os.path.join(done.run_dir, 'src', name))]
    assert present == ['mine/work.py', 'mine/deep/helper.py', 'beside.py', 'files/weights.bin', 'train.py']
    assert submission.read_submit_config(done.run_dir)['config']['number'] == 2


def test_paths_are_converted_between_systems():
    submit = submission.submit
    assert submit.convert_path('a\\b/c') == 'a/b/c'
    assert submit.convert_path('a/b/c', submit.PathType.WINDOWS) == 'a\\b\\c'
    assert submit.get_path_from_template('/home/<USERNAME>/x') == f'/home/{submit.get_user_name()}/x'


def test_a_context_writes_the_settings_of_a_module(tmp_path):
    module = types.ModuleType('settings')
    module.dataset = dnnlib.EasyDict(tfrecord_dir='ffhq')
    module.train = dnnlib.EasyDict(mirror_augment=True)
    module.os, module.run = os, announce
    dnnlib.RunContext(dnnlib.SubmitConfig(run_dir=str(tmp_path)), module).close()
    settings = previous_run.settings_of(str(tmp_path))  # as the original does, and its runs are read
    assert settings['dataset'] == module.dataset and settings['train'] == module.train
