"""The set-up of environments: which interpreter, which lock, when it is done, what it says when it cannot go on."""
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'tools'))

import bootstrap  # noqa: E402
import env_build  # noqa: E402
import env_choice  # noqa: E402
import env_search  # noqa: E402

HERE = '%d.%d' % sys.version_info[:2]
FACTS = {'version': [3, 7], 'full': '3.7.9', 'implementation': 'CPython', 'bits': 64, 'free_threaded': False,
         'missing': [], 'installers': ['ensurepip']}
LOCKS = [bootstrap.lock_name(engine, version, kind) for engine in ('tf1', 'tf2')
         for version in env_choice.PYTHONS[engine] for kind in ('cpu', 'gpu')]
CPU_LOCKS = [name for name in LOCKS if name.endswith('cpu')]
EXTRAS = ['cluster', 'dev', 'export', 'notebook']


def script(path, text):
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\n' + text + '\n')
    path.chmod(0o755)
    return str(path)


def interpreter(path, **facts):
    """A stand-in for an interpreter that answers the probe with the given facts."""
    return script(path, "echo '%s'" % json.dumps(dict(FACTS, **facts)))


def read_lock(name):
    """→ ({name: version}, pip's options, {name: digests}) of a lock file."""
    pins, options, digests = {}, [], {}
    with open(os.path.join(ROOT, 'requirements', name + '.txt')) as f:
        lines = f.read().replace('\\\n', '').splitlines()
    for line in lines:
        match = re.match(r'([a-z0-9-]+)==([0-9a-z.]+)( ; [^-]*)?((?: +--hash=sha256:[0-9a-f]{64})+)$', line)
        if match:
            pins[match.group(1)] = match.group(2)
            digests[match.group(1)] = match.group(4).split()
        elif not line.startswith('#'):
            assert line.startswith('--'), f'{name}: {line}'
            options.append(line)
    return pins, options, digests


# --- the search for an interpreter

def test_search_takes_path_first_then_the_newest_of_pyenv_then_uv(tmp_path):
    on_path = interpreter(tmp_path / 'bin' / 'python3.7')
    older = interpreter(tmp_path / 'pyenv' / 'versions' / '3.7.9' / 'bin' / 'python3.7')
    newer = interpreter(tmp_path / 'pyenv' / 'versions' / '3.7.16' / 'bin' / 'python3.7')
    uv = interpreter(tmp_path / 'home/.local/share/uv/python/cpython-3.7.9-linux/bin/python3.7')
    interpreter(tmp_path / 'pyenv' / 'versions' / '3.8.1' / 'bin' / 'python3.8')
    environ = {'PATH': str(tmp_path / 'bin'), 'PYENV_ROOT': str(tmp_path / 'pyenv'), 'HOME': str(tmp_path / 'home')}
    found = env_search.candidates((3, 7), environ)
    assert [python.path for python in found] == [on_path, newer, older, uv]
    assert [python.where for python in found] == ['PATH', 'pyenv', 'pyenv', 'uv']


def test_search_passes_over_shims_and_environments(tmp_path):
    interpreter(tmp_path / 'shims' / 'python3.7')
    interpreter(tmp_path / 'env' / 'bin' / 'python3.7')
    (tmp_path / 'env' / 'pyvenv.cfg').write_text('')
    base = interpreter(tmp_path / 'base' / 'bin' / 'python3.7')
    (tmp_path / 'linked' / 'bin').mkdir(parents=True)
    (tmp_path / 'linked' / 'pyvenv.cfg').write_text('')
    os.symlink(base, str(tmp_path / 'linked' / 'bin' / 'python3.7'))
    folders = [tmp_path / 'shims', tmp_path / 'env' / 'bin', tmp_path / 'linked' / 'bin']
    environ = {'PATH': os.pathsep.join(map(str, folders)), 'HOME': str(tmp_path)}
    assert [python.path for python in env_search.candidates((3, 7), environ)] == [base]


@pytest.mark.parametrize('facts, words', [
    (dict(version=[3, 8], full='3.8.2'), 'is Python 3.8.2'),
    (dict(missing=['ssl', 'bz2']), 'lacks the standard modules ssl, bz2'),
    (dict(installers=[]), 'apt-get install python3.7-venv'),
    (dict(implementation='PyPy'), 'PyPy'),
    (dict(bits=32), '32-bit'),
    (dict(free_threaded=True), 'free-threaded'),
])
def test_probe_says_why_an_interpreter_is_not_used(tmp_path, facts, words):
    path = interpreter(tmp_path / 'python3.7', **facts)
    found, reason = env_search.probe(env_search.Python(path, (3, 7), 'PATH'))
    assert found is None and path in reason and words in reason


def test_probe_survives_a_program_that_is_no_python(tmp_path):
    path = script(tmp_path / 'python3.7', 'echo hello; exit 3')
    found, reason = env_search.probe(env_search.Python(path, (3, 7), 'PATH'))
    assert found is None and 'does not start as a Python' in reason


def test_probe_accepts_the_python_that_runs_the_tests():
    for python in env_search.candidates(sys.version_info[:2]):
        if python.where == 'the one running this':
            assert env_search.probe(python)[1] is None


def test_find_falls_back_and_tells_what_it_tried(tmp_path):
    broken = interpreter(tmp_path / 'a' / 'python3.7', missing=['ssl'])
    good = interpreter(tmp_path / 'b' / 'python3.6', version=[3, 6], full='3.6.15')
    environ = {'PATH': '%s:%s' % (tmp_path / 'a', tmp_path / 'b'), 'HOME': str(tmp_path)}
    python, tried = env_search.find_python([(3, 7), (3, 6)], environ)
    assert python.path == good and python.version == (3, 6)
    assert len(tried) == 1 and broken in tried[0]
    python, tried = env_search.find_python([(3, 5)], environ)
    assert python is None and 'no python3.5 on PATH' in tried[0]


def test_find_takes_a_finished_environment_without_starting_its_interpreter(tmp_path):
    path = script(tmp_path / 'python3.7', 'touch %s/started' % tmp_path)
    environ = {'PATH': str(tmp_path), 'HOME': str(tmp_path)}
    python, _ = env_search.find_python([(3, 7)], environ, accept=lambda python: True)
    assert python.path == path and not (tmp_path / 'started').exists()


# --- uv as the last resort

@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A checkout root of its own, no interpreters but those put on PATH, no network for pip."""
    monkeypatch.setattr(bootstrap, 'ROOT', str(tmp_path))
    monkeypatch.setattr(bootstrap, 'CACHE', str(tmp_path / '.env-cache'))
    monkeypatch.setattr(bootstrap, 'OWN_PYTHONS', str(tmp_path / '.env-cache' / 'python'))
    monkeypatch.setattr(bootstrap, 'NO_TF1', str(tmp_path / '.env-cache' / 'no-tf1.json'))
    for name, value in (('HOME', tmp_path), ('PYENV_ROOT', tmp_path / 'none'), ('PATH', tmp_path / 'bin'),
                        ('XDG_DATA_HOME', tmp_path / 'none'), ('PIP_NO_INDEX', '1')):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv('PIP_FIND_LINKS', raising=False)
    monkeypatch.delenv('UV_PYTHON_INSTALL_DIR', raising=False)
    monkeypatch.setattr(env_search.sys, 'executable', '')
    return tmp_path


@pytest.fixture
def said():
    return []


def test_a_python_is_downloaded_by_the_uv_on_path(own_cache, said):
    text = 'd=$UV_PYTHON_INSTALL_DIR/cpython-3.7.9-linux/bin; /bin/mkdir -p $d; /bin/cp %s $d/python3.7' % \
        interpreter(own_cache / 'answers')
    script(own_cache / 'bin' / 'uv', text)
    python, _ = bootstrap.find_or_download('tf1', 'cpu', [(3, 7), (3, 6)], said.append)
    assert python.where == 'uv' and python.path.startswith(bootstrap.OWN_PYTHONS)
    assert any('asking' in line for line in said)


def test_without_a_download_the_choice_is_tf2_and_says_why_and_does_not_ask_again(own_cache, said, monkeypatch):
    asked = []
    monkeypatch.setattr(bootstrap, 'download_python', lambda version, say: asked.append(version) or 'uv had none')
    monkeypatch.setattr(env_choice, 'tf1_platform', lambda: None)
    newest = interpreter(own_cache / 'bin' / 'python3.12', version=[3, 12], full='3.12.1')
    shutil.copytree(os.path.join(ROOT, 'requirements'), str(own_cache / 'requirements'))
    for _ in range(2):
        engine, kind, python, _, reason = bootstrap.choose_automatically('auto', [], said.append)
        assert (engine, kind, python.path) == ('tf2', 'cpu', newest)
        assert 'uv had none' in reason and 'ENGINE=tf1 tries again' in reason
    assert asked == [(3, 7)]


def test_uv_that_fails_is_quoted(own_cache):
    uv = script(own_cache / 'uv', 'echo "error: no download for 3.7"; exit 2')
    assert 'error: no download for 3.7' in env_search.uv_install((3, 7), uv, str(own_cache / 'python'))


# --- the choice of engine and lock

OLD = env_choice.Card('Tesla V100', 7.0, 525)
NEW = env_choice.Card('A100', 8.0, 550)


@pytest.mark.parametrize('cards, problem, cuda10, engine', [
    ([], None, False, 'tf1'),
    ([], 'no Python 3.7', False, 'tf2'),
    ([NEW], None, True, 'tf2'),
    ([OLD], None, True, 'tf1'),
    ([OLD], None, False, 'tf2'),
    ([env_choice.Card('K80', 3.7, 470)], None, False, 'tf1'),
])
def test_the_reference_engine_is_chosen_unless_only_the_other_can_use_the_card(cards, problem, cuda10, engine):
    chosen, reason = env_choice.choose_engine(cards, problem, lambda library: cuda10)
    assert chosen == engine and reason


@pytest.mark.parametrize('engine, cards, cuda10, kind, words', [
    ('tf1', [], True, 'cpu', 'no NVIDIA card'),
    ('tf1', [NEW], True, 'cpu', 'newer than the CUDA 10.0'),
    ('tf1', [OLD], False, 'cpu', 'libcudart.so.10.0'),
    ('tf1', [OLD], True, 'gpu', 'V100'),
    ('tf2', [NEW], False, 'gpu', 'A100'),
    ('tf2', [NEW._replace(driver=470)], False, 'cpu', 'older than 525'),
])
def test_the_lock_follows_the_card_and_says_so(engine, cards, cuda10, kind, words):
    assert env_choice.choose_kind(engine, 'auto', cards, lambda library: cuda10)[0] == kind
    assert words in env_choice.choose_kind(engine, 'auto', cards, lambda library: cuda10)[1]
    assert env_choice.choose_kind(engine, 'cpu', cards)[0] == 'cpu'


def test_cards_are_read_from_nvidia_smi_once(tmp_path, monkeypatch):
    script(tmp_path / 'bin' / 'nvidia-smi', 'echo asked >> %s/log; echo "A100, 8.0, 550.54"' % tmp_path)
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    for _ in range(2):
        assert env_choice.find_cards(str(tmp_path / 'cache' / 'cards.json')) == [env_choice.Card('A100', 8.0, 550)]
    assert (tmp_path / 'log').read_text() == 'asked\n'
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '-1')
    assert env_choice.find_cards(None) == []
    assert env_choice.parse_cards('Old, [N/A], 390.1\nnonsense\n') == [env_choice.Card('Old', None, 390)]


def test_the_reference_engine_is_for_linux_on_x86_only():
    assert env_choice.tf1_platform('linux', 'x86_64') is None
    assert 'aarch64' in env_choice.tf1_platform('linux', 'aarch64')


def test_locked_versions_are_those_with_a_file(tmp_path):
    (tmp_path / 'tf2-py311-cpu.txt').write_text('')
    assert bootstrap.locked_versions('tf2', 'cpu', str(tmp_path)) == [(3, 11)]
    assert bootstrap.locked_versions('tf1', 'cpu') == [(3, 7), (3, 6)]


# --- the lock files

@pytest.mark.parametrize('name', LOCKS)
def test_a_lock_is_exact_and_keeps_the_known_limits(name):
    pins, options, digests = read_lock(name)
    engine, _, kind = name.split('-')
    number = {key: tuple(int(x) for x in re.findall(r'\d+', value)) for key, value in pins.items()}
    for package in ('numpy', 'pillow', 'scipy', 'requests', 'mtcnn', 'opencv-python-headless', 'pyyaml', 'tqdm', 'lmdb',
                    'matplotlib', 'scikit-learn', 'h5py', 'flask', 'imageio-ffmpeg', 'pip', 'setuptools', 'wheel'):
        assert package in pins, package
    assert pins['mtcnn'] == '0.1.1' and number['setuptools'] < (81,)
    if engine == 'tf1':
        assert pins['tensorflow' if kind == 'cpu' else 'tensorflow-gpu'] == '1.15.5'
        assert number['protobuf'] < (3, 21) and number['numpy'] < (1, 19)
        assert options == ['--only-binary :all:', '--no-binary gast', '--no-binary termcolor']
    else:
        assert number['tensorflow'] >= (2, 15) and options == ['--only-binary :all:']
        assert any(package.startswith('nvidia-cudnn') for package in pins) == (kind == 'gpu')
        assert len(digests['numpy']) > 1  # x86-64 and 64-bit Arm


@pytest.mark.parametrize('name', [name for name in LOCKS if name.endswith('gpu')])
def test_a_gpu_lock_differs_from_the_cpu_lock_in_nothing_but_tensorflow_and_cuda(name):
    gpu, cpu = read_lock(name)[0], read_lock(name.replace('gpu', 'cpu'))[0]
    changed = {key for key in set(gpu) | set(cpu) if gpu.get(key) != cpu.get(key)}
    assert all(key.startswith(('tensorflow', 'nvidia-')) for key in changed)


@pytest.mark.parametrize('name', CPU_LOCKS)
def test_extras_add_to_their_lock_and_fit_together(name):
    known = read_lock(name)[0]
    for extra in EXTRAS:
        pins = read_lock(f'{name}-{extra}')[0]
        assert not set(pins) & set(read_lock(name)[0])
        assert all(known.setdefault(key, version) == version for key, version in pins.items())
    for package in ('pytest', 'pytest-xdist', 'hypothesis', 'distributed', 'fsspec', 's3fs', 'pyarrow', 'moto',
                    'tf2onnx', 'onnxruntime', 'nbclient', 'ipykernel'):
        assert package in known, package


def test_what_only_tests_need_is_not_among_what_runs_need():
    for name in LOCKS:
        assert not set(read_lock(name)[0]) & {'pytest', 'pytest-xdist', 'execnet', 'hypothesis', 'ruff'}


def test_every_extra_has_an_input_and_no_lock_file_is_left_over():
    assert sorted(bootstrap.known_extras()) == EXTRAS
    files = {name[:-len('.txt')] for name in os.listdir(os.path.join(ROOT, 'requirements')) if name.endswith('.txt')}
    assert files == set(LOCKS) | {f'{name}-{extra}' for name in CPU_LOCKS for extra in EXTRAS}


def test_one_linter_version_everywhere():
    assert len({read_lock(f'{name}-dev')[0].get('ruff') for name in CPU_LOCKS} - {None}) == 1


# --- recognising, building, repairing

@pytest.fixture
def environment(tmp_path):
    """An environment of a small checkout, not built."""
    (tmp_path / 'requirements').mkdir()
    (tmp_path / 'requirements' / 'tf1-py37-cpu.txt').write_text(
        '# lock\npip==1 \\\n    --hash=sha256:12\nsix==1.0 \\\n    --hash=sha256:34 \\\n    --hash=sha256:56\n')
    for extra in ('cluster', 'export'):
        (tmp_path / 'requirements' / f'tf1-py37-cpu-{extra}.txt').write_text(f'{extra}-library==1.0\n')
    (tmp_path / '.env-cache').mkdir()
    path = interpreter(tmp_path / 'base' / 'python3.7')
    return env_build.Environment(str(tmp_path), 'tf1-py37-cpu', env_search.Python(path, (3, 7), 'PATH'))


def finish(environment, text='exit 0'):
    """What a build leaves behind, as far as recognition goes."""
    folder = environment.folder
    os.makedirs(os.path.join(folder, 'bin'), exist_ok=True)
    with open(environment.executable, 'w') as f:
        f.write('#!/bin/sh\n' + text + '\n')
    os.chmod(environment.executable, 0o755)
    with open(os.path.join(folder, 'complete.json'), 'w') as f:
        f.write('{}')


def test_an_environment_counts_as_built_until_lock_interpreter_or_place_change(environment, tmp_path):
    assert not environment.is_complete()
    finish(environment)
    assert environment.is_complete()
    lock = tmp_path / 'requirements' / 'tf1-py37-cpu.txt'
    text = lock.read_text()
    lock.write_text(text + 'idna==1.0\n')
    assert not environment.is_complete()
    lock.write_text(text)
    assert environment.is_complete()
    interpreter(tmp_path / 'base' / 'python3.7', full='3.7.10, another build')
    assert not environment.is_complete()


def test_an_interrupted_build_is_not_taken_for_a_finished_one(environment):
    finish(environment)
    os.unlink(os.path.join(environment.folder, 'complete.json'))
    assert not environment.is_complete()


def test_two_set_ups_at_once_build_one_environment(environment, said, monkeypatch):
    built = []

    class SlowBuilder:
        def __init__(self, env, lock, say):
            self.env = env

        def build(self):
            built.append(self.env.folder)
            end = time.time() + 300
            while not any('another set-up' in line for line in said) and time.time() < end:
                time.sleep(0.01)
            finish(self.env)

    monkeypatch.setattr(env_build, 'Builder', SlowBuilder)
    threads = [threading.Thread(target=env_build.ensure, args=(environment, said.append)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert any('another set-up' in line for line in said)


def test_the_lock_outlives_a_killed_set_up_while_its_command_runs(tmp_path):
    code = ('import sys, subprocess; sys.path.insert(0, sys.argv[1]); import env_build\n'
            'with env_build.exclusive(sys.argv[2], print) as held:\n'
            '    child = subprocess.Popen(["sleep", "600"], pass_fds=(held.fileno(),))\n'
            '    print(child.pid, flush=True)\n'
            '    child.wait()\n')
    path = str(tmp_path / 'lock')
    process = subprocess.Popen([sys.executable, '-c', code, os.path.join(ROOT, 'tools'), path], stdout=subprocess.PIPE)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    waited = []

    def end_the_command():
        waited.append(True)
        os.kill(child, 9)

    with env_build.exclusive(path, end_the_command):
        assert waited == [True]
    process.stdout.close()


def test_an_extra_makes_another_environment_of_the_same_lock(environment):
    larger = environment._replace(extras=('cluster', 'export'))
    assert os.path.basename(larger.folder).startswith('tf1-py37-cpu+cluster+export-')
    assert [env_build.read_pins(path) for path in larger.lock_files] == [
        ['pip==1', 'six==1.0'], ['cluster-library==1.0'], ['export-library==1.0']]
    finish(environment)
    assert environment.is_complete() and not larger.is_complete()
    gpu = larger._replace(lock_name='tf1-py37-gpu')
    assert gpu.lock_files[1:] == larger.lock_files[1:]
    assert not environment._replace(extras=('nope',)).is_complete()


def test_packages_are_installed_with_their_digests_and_nothing_else(environment, said, monkeypatch):
    steps = []
    monkeypatch.setattr(env_build.Builder, 'step', lambda self, title, command, count=0: steps.append(command))
    os.makedirs(environment.folder)
    with open(os.path.join(environment.cache, 'lock'), 'w') as held:
        builder = env_build.Builder(environment._replace(extras=('export',)), held, said.append)
        monkeypatch.setattr(builder, 'create', lambda: os.makedirs(builder.folder))
        builder.build()
    installs = [command for command in steps if 'install' in command]
    assert len(installs) == 3 and all('--require-hashes' in command and '--no-deps' in command for command in installs)
    with open(installs[0][-1]) as f:
        assert f.read() == 'pip==1 \\\n    --hash=sha256:12\n'
    assert [os.path.basename(command[-1]) for command in installs[1:]] == [
        'tf1-py37-cpu.txt', 'tf1-py37-cpu-export.txt']


def test_outdated_environments_go_unless_they_are_in_use(environment, said, monkeypatch):
    finish(environment)
    folders = [os.path.join(environment.cache, name)
               for name in ('tf1-py37-cpu-old', 'tf1-py37-cpu+cluster-used', 'tf2-other', 'tf1-py37-cpu+export-old')]
    for folder in folders:
        os.makedirs(folder)
    monkeypatch.setattr(env_build, 'in_use', lambda folder: folder.endswith('used'))
    env_build.remove_outdated(environment, said.append)
    assert [os.path.exists(folder) for folder in folders] == [False, True, True, False]
    assert environment.is_complete() and 'in use' in said[0]


def test_a_mapped_library_marks_a_folder_as_in_use():
    mapped = next(line.split()[-1] for line in open('/proc/self/maps') if '.so' in line and '/' in line)
    assert env_build.in_use(os.path.dirname(mapped))
    assert not env_build.in_use('/nowhere/at/all')


@pytest.mark.parametrize('output, words', [
    ('OSError: [Errno 28] No space left on device', 'disk is full'),
    ('ERROR: No matching distribution found for six==9', 'did not offer a pinned version'),
    ('WARNING: Retrying after connection broken', 'package index was not reached'),
    ('anything', 'Start again'),
])
def test_a_failed_step_names_the_command_its_output_and_what_to_do(environment, said, output, words):
    with open(os.path.join(environment.cache, 'lock'), 'w') as held:
        builder = env_build.Builder(environment, held, said.append)
        with pytest.raises(env_build.SetupError) as caught:
            builder.step('installing', ['sh', '-c', 'echo "%s"; exit 4' % output])
    message = str(caught.value)
    assert 'installing failed (exit 4)' in message and 'command: sh -c' in message
    assert output in message and environment.log_file in message and words in message


def test_too_little_space_is_said_before_anything_is_done(environment, said, monkeypatch):
    monkeypatch.setitem(env_build.NEEDED_BYTES, 'cpu', 1 << 60)
    with open(os.path.join(environment.cache, 'lock'), 'w') as held, pytest.raises(env_build.SetupError) as caught:
        env_build.Builder(environment, held, said.append).build()
    assert 'GiB free' in str(caught.value) and not os.path.exists(environment.folder)


def test_pip_keeps_the_users_settings_but_not_another_destination(monkeypatch):
    for name in ('PIP_INDEX_URL', 'PIP_TARGET', 'PYTHONPATH'):
        monkeypatch.setenv(name, 'x')
    environ = env_build.clean_environ()
    assert environ['PIP_INDEX_URL'] == 'x' and 'PIP_TARGET' not in environ and 'PYTHONPATH' not in environ


def test_the_link_is_switched_and_nothing_else_is_overwritten(tmp_path):
    link = str(tmp_path / '.venv')
    for target in ('.venv-tf1', '.venv-tf2', '.venv-tf2'):
        env_build.switch_link(link, target)
        assert os.readlink(link) == target
    assert os.listdir(str(tmp_path)) == ['.venv']
    (tmp_path / 'own').mkdir()
    with pytest.raises(env_build.SetupError):
        env_build.switch_link(str(tmp_path / 'own'), '.venv-tf1')


# --- the command

@pytest.fixture
def checkout(tmp_path):
    """A copy of the set-up with one finished environment, its Python a script, for the Python that runs the tests."""
    for name in ('tools', 'requirements'):
        shutil.copytree(os.path.join(ROOT, name), str(tmp_path / 'repo' / name))
    engine = 'tf1' if sys.version_info < (3, 8) else 'tf2'
    python = next(p for p in env_search.candidates(sys.version_info[:2]) if p.where == 'the one running this')
    name = bootstrap.lock_name(engine, sys.version_info[:2], 'cpu')
    environment = env_build.Environment(str(tmp_path / 'repo'), name, python, ['dev'])
    finish(environment, 'echo "ran $*"; exit 5')
    finish(environment._replace(extras=('cluster', 'dev')), 'echo "with cluster"')
    without = ('ENGINE', 'EXTRAS', 'UV_PYTHON_INSTALL_DIR')
    environ = {key: value for key, value in os.environ.items() if key not in without}
    environ.update(HOME=str(tmp_path), PYENV_ROOT=str(tmp_path), XDG_DATA_HOME=str(tmp_path), PIP_NO_INDEX='1',
                   PATH=str(tmp_path / 'bin'))     # no interpreters of this machine's, nor a uv
    environ.pop('PIP_FIND_LINKS', None)

    def command(*args, **more):
        return subprocess.run([python.path, str(tmp_path / 'repo' / 'tools' / 'bootstrap.py')] + list(args),
                              env=dict(environ, **more), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True)
    command.engine, command.root, command.name = engine, tmp_path / 'repo', name
    return command


START_NOTHING = '''import subprocess
def refuse(self, command, *args, **kwargs):
    raise SystemExit(f'{command} was started')
subprocess.Popen.__init__ = refuse
'''


def test_a_finished_environment_is_recognised_without_starting_any_program_and_linked(checkout, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(START_NOTHING)
    done = checkout('--engine', checkout.engine, '--cpu', '--python', HERE, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert checkout.name in done.stderr and 'ready' in done.stderr
    assert os.readlink(str(checkout.root / '.venv')) == '.venv-' + checkout.engine
    assert (checkout.root / '.venv' / 'bin' / 'python').exists()


def test_run_hands_on_arguments_output_and_exit_status(checkout):
    done = checkout('--cpu', '--python', HERE, '--quiet', '--run', 'train.py', '--config', 'x', ENGINE=checkout.engine)
    assert (done.returncode, done.stdout, done.stderr) == (5, 'ran train.py --config x\n', '')


def test_extras_stay_through_later_set_ups_until_none_is_asked_for(checkout):
    def linked(*args, **more):
        done = checkout('--engine', checkout.engine, '--cpu', '--python', HERE, *args, **more)
        assert done.returncode == 0, done.stderr
        return os.path.basename(os.path.realpath(str(checkout.root / '.venv')))

    before = sorted(os.listdir(str(checkout.root / '.env-cache')))
    assert linked().startswith(checkout.name + '-')
    assert linked(EXTRAS='cluster').startswith(checkout.name + '+cluster-')
    assert linked().startswith(checkout.name + '+cluster-')
    assert linked('--extras', 'none').startswith(checkout.name + '-')
    assert linked().startswith(checkout.name + '-')
    assert sorted(os.listdir(str(checkout.root / '.env-cache'))) == before  # nothing was built, and nothing removed


def test_check_builds_nothing(checkout):
    other = checkout('--check', '--engine', checkout.engine, '--gpu', '--python', HERE)
    assert other.returncode == 1 and 'not built' in other.stderr
    assert checkout('--check', '--engine', checkout.engine, '--cpu', '--python', HERE).returncode == 0
    assert not (checkout.root / '.venv').exists()


@pytest.mark.parametrize('args, engine, words', [
    ([], 'tf3', 'ENGINE=tf3: there are tf1'),
    (['--extras', 'clutser', '--python', '3.13'], 'tf2', 'there is no extra clutser; there are cluster'),
    (['--python', '3.9'], 'tf2', 'tf2 runs on Python 3.13'),
    (['--python', '3.7'], '', '--python needs an engine'),
])
def test_a_mistake_is_one_sentence_and_exit_2(checkout, args, engine, words):
    done = checkout(*args, ENGINE=engine)
    assert done.returncode == 2 and done.stderr.startswith('error: ') and words in done.stderr
    assert 'Traceback' not in done.stderr


def test_without_any_python_it_says_all_that_was_tried(checkout):
    version = '3.7' if checkout.engine == 'tf2' else '3.10'
    other = 'tf1' if checkout.engine == 'tf2' else 'tf2'
    done = checkout('--cpu', '--python', version, ENGINE=other)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    for words in ('no Python %s for %s could be had' % (version, other), 'no python%s on PATH' % version,
                  'uv==0.5.0 was not installed', 'ENGINE=' + checkout.engine):
        assert words in done.stderr


def test_help_names_the_variable_and_the_options(checkout):
    done = checkout('--help')
    assert done.returncode == 0
    for words in ('ENGINE', 'EXTRAS', '--cpu', '--gpu', '--python', '--run', '--force', '--check'):
        assert words in done.stdout


@pytest.mark.slow
def test_a_killed_set_up_is_repaired_by_the_next_start(checkout):
    """Builds a real environment: kills the set-up while packages arrive, starts again, imports TensorFlow."""
    shutil.rmtree(str(checkout.root / '.env-cache'))
    command = [sys.executable, str(checkout.root / 'tools' / 'bootstrap.py'), '--engine', checkout.engine, '--cpu',
               '--python', HERE]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, universal_newlines=True)
    for line in process.stderr:
        if 'found, ' in line:
            process.kill()
    process.wait()
    process.stderr.close()
    assert not (checkout.root / '.venv').exists()
    done = subprocess.run(command + ['--run', '-c', 'import tensorflow; print(tensorflow.__version__)'],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 0, done.stderr
    assert 'interrupted' in done.stderr
    assert done.stdout.strip() == {'tf1': '1.15.5'}.get(checkout.engine, read_lock(checkout.name)[0]['tensorflow'])
