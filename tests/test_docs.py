"""README.md, CONTRIBUTING.md and docs/: what they name exists — files, commands, options, settings."""

import importlib
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import pytest
from test_command_lines import MODULES, PAGES

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'] + sorted((ROOT / 'docs').glob('*.md'))
OPTION = re.compile(r'(?<![\w-])--[a-z][a-z-]*')
TOOLS = ['tools/bootstrap.py', 'tools/demo.py', 'tools/acceleration_demo.py', 'tools/lock.py',
         'tools/compare_engines.py', 'tools/gpu_check.py', 'tools/gpu_kernels.py', 'benchmarks/run.py',
         'benchmarks/bench_floor.py', 'reproduce']
# Options of programs that are not this project's: docker, apptainer, nvidia-smi, pip, tensorboard.
FOREIGN = {'--rm', '--gpus', '--user', '--target', '--build-arg', '--time', '--nv', '--cleanenv', '--bind', '--userns',
           '--no-deps', '--init', '--logdir', '--require-hashes', '--bind-to', '--kill-on-bad-exit', '--mca',
           '--half', '--plot'}  # the last two: of benchmarks/scaling_forecast.py


@pytest.fixture(scope='module')
def pages():
    """Help by page, such as 'dataset_tool.py verify'."""
    import contextlib
    import io
    found = {}
    for page in PAGES:
        out = io.StringIO()
        words = page.split()
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
            importlib.import_module(MODULES[words[0]]).main(words[1:] + ['--help'])
        found[page] = out.getvalue()
    for tool in TOOLS:
        found[tool] = subprocess.check_output([sys.executable, str(ROOT / tool), '--help'], universal_newlines=True)
    return found


ENTRY = runpy.run_path(str(ROOT / 'reproduce'))['COMMANDS']


def commands(path):
    """[(page, words)] of the lines in a document that call one of this project's commands."""
    found = []
    text = path.read_text(encoding='utf-8').replace('\\\n', ' ')
    for line in text.splitlines():
        line = re.split(' #|`', line.lstrip('`'))[0]
        match = re.match(r'[\s$]*(?:[A-Z_]+=\S+ )*(?:\S*python3? (?:-m )?|\./reproduce )?(\S+)( .*|$)', line)
        if match is None:
            continue
        given = (ENTRY.get(match.group(1), (None,))[0] or []) if './reproduce' in line else [match.group(1)]
        given = [word for word in given if word != '-m']
        if given[:1] == [] or given[0] not in MODULES:
            continue
        words = given[1:] + shlex.split(match.group(2))
        page = given[0]
        if words and f'{page} {words[0]}' in PAGES:
            page = f'{page} {words[0]}'
        script = next((index for index, word in enumerate(words) if word in MODULES), None) \
            if page == 'dnnlib.tflib.launch' else None
        if script is not None:  # whose arguments follow those of the launcher
            found.append((words[script], words[script + 1:]))
            words = words[:script]
        found.append((page, words))
    return found


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_no_option_is_named_that_does_not_exist(path, pages):
    known = set(OPTION.findall(' '.join(pages.values()))) | FOREIGN
    assert set(OPTION.findall(path.read_text(encoding='utf-8'))) - known == set()


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_commands_are_shown_with_their_own_options(path, pages):
    for page, words in commands(path):
        unknown = {word for word in OPTION.findall(' '.join(words))} - set(OPTION.findall(pages[page]))
        assert unknown == set(), (page, words)


@pytest.mark.parametrize('path', [path for path in DOCS if path.name != 'install.md'], ids=lambda path: path.name)
def test_commands_are_started_by_the_entry_script(path):
    """Nothing activates the environment, so that a bare `python` is seldom the right one; install.md tells of both."""
    text = path.read_text(encoding='utf-8')
    names = '|'.join(map(re.escape, MODULES))
    assert re.findall(rf'(?<!shell )(?<![\w.-])python3? (?:-m )?(?:{names})\b', text) == []


def test_commands_are_found_in_the_documents():
    found = [page for path in DOCS for page, _words in commands(path)]
    assert len(found) > 40 and {'train.py', 'generate.py', 'dataset_tool.py prefilter', 'dnnlib.artifacts'} <= {
        page.split(' ')[0] if page.startswith('dnnlib') else page for page in found}


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_training_commands_name_configurations_and_settings_that_exist(path):
    import train
    from experiment.start import Start
    for page, words in commands(path):
        if page != 'train.py' or any('…' in word or '...' in word for word in words):
            continue
        args = train.parse_args(words)
        if args.config is not None and not args.config.isupper() and not args.config.endswith('.yaml'):
            Start(args)


def inline_code(path):
    """What stands in backticks within sentences and tables of a document."""
    text = re.sub(r'^```.*?^```$', '', path.read_text(encoding='utf-8'), flags=re.M | re.S)
    return re.findall(r'`([^`]+)`', text)


# performance.md tells of processes that were measured, install.md of another Python than the environment's.
@pytest.mark.parametrize('path', [path for path in DOCS + [ROOT / 'CHANGELOG.md']
                                  if path.name not in ('performance.md', 'install.md')], ids=lambda path: path.name)
def test_commands_in_sentences_can_be_typed_too(path):
    scripts = '|'.join(re.escape(name) for name in MODULES if name.endswith('.py'))
    shown = [code for code in inline_code(path) if not code.startswith('./reproduce launch')]
    assert [code for code in shown if re.match(rf'({scripts}) \S', code)] == []


def test_the_page_on_the_entry_lists_all_commands():
    text = (ROOT / 'docs' / 'docker.md').read_text(encoding='utf-8')
    paragraph = text.partition('list the commands:')[2].partition('. ')[0]
    assert set(re.findall(r'`([a-z0-9-]+)`', paragraph)) == set(ENTRY)


def test_every_data_set_that_a_page_uses_is_made_on_some_page():
    import train
    from experiment.start import Start
    made, used = set(), {}
    for path in (path for path in DOCS if path.name != 'CONTRIBUTING.md'):     # which has a test of its own
        made.update(re.findall(r"Exporter\('datasets/([\w.-]+)'", path.read_text(encoding='utf-8')))
        for page, words in commands(path):
            if page == 'train.py':
                args = train.parse_args(words)
                if args.config is None or args.config.isupper() or args.config.endswith('.yaml') or args.print_config:
                    continue
                config = Start(args).config
                used.setdefault(config.dataset.get('tfrecord_dir'), (path.name, words))
                continue
            folders = [word[len('datasets/'):] for word in words if word.startswith('datasets/')]
            makes = re.match(r'dataset_tool.py (create_|import|split|merge|encode|prepare|prefilter)', page)
            for number, name in enumerate(folders):
                last = number == len(folders) - 1 and page.endswith('prefilter')
                if makes and (number == 0 or last):
                    made.add(name)
                else:
                    used.setdefault(name, (path.name, words))
    made.add('demo-faces-32')   # by the demo itself
    assert {name: where for name, where in used.items() if name not in made} == {}


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_links_lead_to_files(path):
    for link in re.findall(r'\]\(([^)#]+)', path.read_text(encoding='utf-8')):
        assert '://' in link or (path.parent / link).exists(), link


def test_every_document_is_reached_from_the_readme():
    readme = DOCS[0].read_text(encoding='utf-8')
    assert [path.name for path in DOCS[1:] if f'({path.relative_to(ROOT)})' not in readme] == []


def test_what_may_change_on_resume_is_listed_whole():
    from experiment.run_config import RESUMABLE
    text = (ROOT / 'docs' / 'training.md').read_text(encoding='utf-8')
    assert [name for name in RESUMABLE if name != 'num_gpus' and f'`{name}`' not in text] == []
