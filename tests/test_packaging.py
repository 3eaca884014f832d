"""What `pip install .` makes, the version that everything carries, and scripts started by a Python without packages."""

import importlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig

import pytest
from conftest import ROOT

import config
from dnnlib.util import UserError

PROGRAMS = sorted(path.relative_to(ROOT).as_posix() for folder in ('', 'tools', 'benchmarks')
                  for path in (ROOT / folder).glob('*.py')
                  if "if __name__ == '__main__':" in path.read_text(encoding='utf-8'))
COMMANDS = runpy.run_path(str(ROOT / 'reproduce'))['COMMANDS']
# Those that make the environment, or look at the source alone.
NEED_NO_PACKAGES = {'tools/bootstrap.py', 'tools/lock.py', 'tools/import_graph.py', 'tools/draw_architecture.py'}


def run(words, **more):
    return subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, **more)


# ---- The version

def test_the_version_stands_in_one_place():
    assert re.match(r'\d+\.\d+\.\d+$', config.version)
    for name in ('setup.py', 'reproduce', 'pyproject.toml', 'dnnlib/__init__.py'):
        assert config.version not in (ROOT / name).read_text(encoding='utf-8')


def test_citation_and_changes_are_those_of_the_version():
    import yaml
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == config.version and citation['cff-version'] == '1.2.0'
    assert {'message', 'title', 'authors', 'license'} <= set(citation)
    versions = re.findall(r'^## (\d\S*)', (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'), re.M)  # but what is next
    assert versions[0] == config.version


@pytest.mark.both
def test_every_script_of_a_command_tells_the_version():
    for name in set(PROGRAMS) - NEED_NO_PACKAGES:
        internal = name == 'benchmarks/bench_floor_worker.py'      # must not import this checkout's own library
        assert internal or 'run_main(main)' in (ROOT / name).read_text(encoding='utf-8'), name
        source = (ROOT / name).read_text(encoding='utf-8')
        assert internal or 'ArgumentParser(' not in source, f'{name}: dnnlib.command_line.Parser knows --version'
    assert run([sys.executable, ROOT / 'tools' / 'demo.py', '--version']).stdout == f'stylegan-repro {config.version}\n'
    assert run([sys.executable, ROOT / 'reproduce', '--version']).stdout == f'stylegan-repro {config.version}\n'


@pytest.mark.parametrize('name', PROGRAMS)
def test_every_script_has_a_help_page_and_does_nothing_else_then(name, monkeypatch, capsys, tmp_path):
    for folder in ('benchmarks', 'tools'):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / name), run_name='__main__')
    out = capsys.readouterr().out
    assert not caught.value.code and out.startswith('usage: ') and os.listdir(str(tmp_path)) == []
    assert name in NEED_NO_PACKAGES or not re.search('(?<!shell )python3? (benchmarks|tools)/', out)


@pytest.mark.parametrize('command', sorted(set(COMMANDS) - {'prefilter', 'help', 'shell', 'test'}))
def test_the_help_of_a_command_names_it_as_it_is_typed(command, monkeypatch, capsys):
    script, *words = COMMANDS[command][0]
    if script == '-m':
        name = words.pop(0)
        file = ROOT / name.replace('.', '/') / '__main__.py'
        main = importlib.import_module(name + '.__main__' if file.is_file() else name).main
    else:
        monkeypatch.syspath_prepend(str(ROOT / 'tools'))
        main = runpy.run_path(str(ROOT / script), run_name='script')['main']
    monkeypatch.setattr(sys, 'argv', [script])
    with pytest.raises(SystemExit):
        main(words + ['--help'])
    assert capsys.readouterr().out.startswith(f'usage: ./reproduce {command} ')


def test_the_benchmark_of_the_pre_filter_asks_for_photographs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    monkeypatch.delenv('REFERENCE_DIR', raising=False)
    bench_prefilter = importlib.import_module('bench_prefilter')
    for folder, words in ((None, 'name a folder of some'), ('missing', "'missing' does not exist")):
        with pytest.raises(UserError, match=words):
            bench_prefilter.rows(folder)


def test_records_carry_the_version_and_the_commit(tmp_path):
    from dnnlib.submission import records
    record = records.environment_record(str(ROOT))
    assert record['version'] == config.version
    commit = run(['git', 'rev-parse', 'HEAD'], cwd=str(ROOT)).stdout.strip() or None
    assert record['git_commit'] == (commit or os.environ.get('STYLEGAN_REVISION'))


def test_an_image_and_a_wheel_know_their_commit_without_git(tmp_path, monkeypatch):
    from dnnlib.submission import records
    monkeypatch.setenv('STYLEGAN_REVISION', 'abc')
    monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
    assert records.revision_of(str(tmp_path)) == ('abc', None)
    (tmp_path / 'installed.json').write_text('{"version": "1.0.0", "revision": "def"}')
    assert records.revision_of(str(tmp_path)) == ('def', None)


# ---- A Python without packages

@pytest.fixture(scope='module')
def bare_python(tmp_path_factory):
    """A Python of this version without any packages."""
    folder = tmp_path_factory.mktemp('bare')
    subprocess.check_call([sys.executable, '-m', 'venv', '--without-pip', str(folder)])
    return folder / 'bin' / 'python'


@pytest.fixture
def bare_checkout(tmp_path):
    """The scripts alone, without the modules that they import."""
    for name in PROGRAMS + ['check_python.py', 'benchmarks/training_steps.py']:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(str(ROOT / name), str(tmp_path / name))
    return tmp_path


@pytest.mark.both
def test_every_script_goes_on_in_the_environment_of_the_checkout(bare_python, bare_checkout):
    (bare_checkout / '.venv' / 'bin').mkdir(parents=True)
    (bare_checkout / '.venv' / 'bin' / 'python').write_text('#!/bin/sh\necho "went on: $*"; exit 7\n')
    (bare_checkout / '.venv' / 'bin' / 'python').chmod(0o755)
    started = [name for name in PROGRAMS if name not in NEED_NO_PACKAGES and name != 'check_python.py']
    assert {'train.py', 'run_metrics.py', 'tools/demo.py', 'benchmarks/run.py'} <= set(started)
    for name in started:
        done = run([bare_python, name, '--help', 'a b'], cwd=str(bare_checkout))
        assert done.returncode == 7, (name, done.stderr)
        assert re.match(rf'went on: (/.*/)?{re.escape(name)} --help a b\n\Z', done.stdout), done.stdout


def test_without_an_environment_one_sentence_says_how_to_make_it(bare_python, bare_checkout):
    done = run([bare_python, 'train.py', '--config', 'demo'], cwd=str(bare_checkout))
    assert done.returncode == 2 and done.stdout == '' and done.stderr.count('\n') == 1
    assert 'no numpy and no tensorflow' in done.stderr and 'make setup' in done.stderr


def test_an_environment_that_lacks_packages_too_is_not_entered_again_and_again(bare_python, bare_checkout):
    (bare_checkout / '.venv' / 'bin').mkdir(parents=True)
    os.symlink(str(bare_python), str(bare_checkout / '.venv' / 'bin' / 'python'))
    done = run([bare_python, 'train.py', '--config', 'demo'], cwd=str(bare_checkout))
    assert done.returncode == 2 and '--force' in done.stderr and done.stderr.count('\n') == 1


def test_importing_a_module_hands_nothing_over(bare_python, bare_checkout):
    done = run([bare_python, '-c', 'import check_python; print("still here")'], cwd=str(bare_checkout))
    assert (done.returncode, done.stdout) == (0, 'still here\n')


# ---- The wheel

def left_by_pip(folder):
    """What a build within a folder leaves there; other tests may work in it meanwhile."""
    kinds = re.compile(r'build|dist$|.*\.(egg|dist)-info|.*\.whl')
    return [name for name in sorted(os.listdir(str(folder))) if kinds.match(name)]


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A new environment in which pip installed this checkout, and which sees the packages of the tests' own."""
    folder = tmp_path_factory.mktemp('installed')
    subprocess.check_call([sys.executable, '-m', 'venv', '--without-pip', str(folder)])
    python = folder / 'bin' / 'python'
    site = next((folder / 'lib').glob('python*/site-packages'))
    (site / 'base.pth').write_text(sysconfig.get_paths()['purelib'] + '\n')
    environ = {key: value for key, value in os.environ.items() if not key.startswith(('PYTHON', 'STYLEGAN_'))}
    before = left_by_pip(ROOT)
    done = run([python, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--no-build-isolation', ROOT],
               env=environ)
    assert done.returncode == 0, done.stderr
    assert left_by_pip(ROOT) == before  # nothing in the checkout

    def command(*words, cwd):
        return run([folder / 'bin' / 'stylegan-repro'] + list(words), cwd=str(cwd), env=environ)
    command.tree, command.python = site / 'stylegan_repro', python
    return command


def files_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


def test_the_wheel_is_one_folder_with_the_tree_of_the_checkout(installed):
    found = files_below(installed.tree)
    for folder in ('configs', 'data', 'dnnlib', 'experiment', 'figures', 'metrics', 'training'):
        assert {f'{folder}/{name}' for name in files_below(ROOT / folder)} <= found, folder
    assert {path.name for path in ROOT.glob('*.py')} - {'setup.py'} <= found
    facts = json.loads((installed.tree / 'installed.json').read_text())
    assert facts['version'] == config.version
    site = [path.name for path in installed.tree.parent.iterdir() if path.name != '__pycache__']
    assert sorted(site) == ['base.pth', 'stylegan_repro', f'stylegan_repro-{config.version}.dist-info']


def test_what_the_wheel_requires_is_what_the_locks_hold(installed):
    text = (installed.tree.parent / f'stylegan_repro-{config.version}.dist-info' / 'METADATA').read_text()
    required = {re.match(r'[\w-]+', line).group().lower() for line in re.findall(r'^Requires-Dist: (.*)', text, re.M)}
    for path in (ROOT / 'requirements').glob('tf?-py*-?pu.txt'):
        assert required <= set(re.findall(r'^([\w-]+)==', path.read_text(), re.M)), path
    assert 'numpy' in required and not [name for name in required if name.startswith('tensorflow')]


@pytest.mark.slow
def test_an_installed_command_works_in_the_folder_where_it_is_called(installed, tmp_path):
    assert installed('--version', cwd=tmp_path).stdout == f'stylegan-repro {config.version}\n'
    listed = installed('help', cwd=tmp_path).stdout
    assert 'usage: stylegan-repro' in listed and 'compare-engines' not in listed
    done = installed('data', 'create_toyfaces', 'datasets/faces', '--resolution', '16', '--num', '20', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    small = ['--config', 'demo', '--device', 'cpu', '--set', 'dataset.tfrecord_dir=faces', '--set', 'metrics=[]',
             '--set', 'G.fmap_max=8', '--set', 'D.fmap_max=8', '--set', 'G.mapping_fmaps=16', '--set',
             'G.latent_size=16', '--set', 'train.total_kimg=0.1', '--set', 'sched.lod_initial_resolution=8']
    done = installed('train', *small, '--dry-run', cwd=tmp_path)
    assert done.returncode == 0 and '20 samples' in done.stdout, done.stdout + done.stderr
    done = installed('train', *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run_dir = next((tmp_path / 'results').iterdir())
    done = installed('generate', '--network', '0', '--seeds', '1', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} - {'cache'} == {'datasets', 'results'}
    assert json.loads((run_dir / 'submit_config.json').read_text())['version'] == config.version

    # The snapshot is the installed folder's own source, whole enough to be run.
    kept = files_below(run_dir / 'src')
    wanted = {name for name in files_below(installed.tree) if not name.endswith(('.npz', '__main__.py'))}
    assert wanted <= kept and not [name for name in kept if name.startswith(('numpy', 'tests'))]
    done = run([installed.python, run_dir / 'src' / 'train.py', '--list-configs'], cwd=str(tmp_path))
    assert done.returncode == 0 and 'demo' in done.stdout, done.stderr


def test_an_installed_command_says_what_needs_a_checkout(installed, tmp_path):
    done = installed('test', cwd=tmp_path)
    assert done.returncode == 2 and 'needs a checkout' in done.stderr and done.stderr.count('\n') == 1
    done = installed('--engine', 'tf2', 'train', cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith('error: --engine tf2')
