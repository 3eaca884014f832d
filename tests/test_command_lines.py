"""The help of every command fits a screen, and every example in it can be run."""

import functools
import importlib
import os
import pathlib
import re
import runpy
import shlex

import pytest

from data.commands import EXAMPLES as DATASET_EXAMPLES
from data.records.dataset import SyntheticDataset
from dnnlib.util import EasyDict, UserError
from experiment import doctor, facts
from experiment.studies import unwarping

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = {'train.py': 'train', 'run_metrics.py': 'run_metrics', 'generate.py': 'generate',
           'generate_figures.py': 'generate_figures', 'pretrained_example.py': 'pretrained_example',
           'explore.py': 'explore', 'project.py': 'project',
           'dataset_tool.py': 'data.commands', 'data.cluster': 'data.cluster.__main__',
           'dnnlib.artifacts': 'dnnlib.artifacts.__main__',
           'training.report': 'training.report', 'dnnlib.tflib.convert': 'dnnlib.tflib.convert',
           'dnnlib.tflib.launch': 'dnnlib.tflib.launch', 'dnnlib.tflib.export': 'dnnlib.tflib.export',
           'experiment.studies.paper_demo': 'experiment.studies.paper_demo'}
PAGES = (['train.py', 'train.py doctor', 'train.py attributes', 'run_metrics.py', 'run_metrics.py table',
          'run_metrics.py table1', 'run_metrics.py curves', 'run_metrics.py identity', 'run_metrics.py explain',
          'run_metrics.py stats',
          'generate.py', 'generate_figures.py', 'generate_figures.py lecture', 'generate_figures.py acceleration',
          'generate_figures.py unwarping', 'pretrained_example.py', 'explore.py', 'project.py', 'training.report',
          'dnnlib.tflib.convert', 'dnnlib.tflib.launch', 'dnnlib.tflib.export', 'dnnlib.artifacts',
          'experiment.studies.paper_demo', 'data.cluster', 'data.cluster scheduler', 'data.cluster worker']
         + [f'dnnlib.artifacts {command}' for command in ('list', 'fetch', 'verify', 'add')]
         + ['dataset_tool.py'] + [f'dataset_tool.py {command}' for command in DATASET_EXAMPLES])


def call(words):
    """Runs the command line [script or module, arguments ...] in this process and returns its status."""
    return importlib.import_module(MODULES[words[0]]).main(words[1:])


def help_of(page, capsys):
    with pytest.raises(SystemExit) as caught:
        call(page.split() + ['--help'])
    assert caught.value.code == 0
    return capsys.readouterr().out


def examples(text):
    """The commands below the line `examples:`, as lists of words that begin with the script or module."""
    lines = text.partition('\nexamples:\n')[2].splitlines()
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == './reproduce'
            started = commands()[words[1]][0]
            found.append(started[started[0] == '-m':] + words[2:])
    return found


def commands():
    """What `./reproduce` starts: command → (what the environment's Python is given, what it is for)."""
    space = {'__name__': 'reproduce', '__file__': str(ROOT / 'reproduce')}
    exec(compile((ROOT / 'reproduce').read_text(encoding='utf-8'), 'reproduce', 'exec'), space)
    return space['COMMANDS']


@pytest.mark.parametrize('page', PAGES)
def test_help_fits_a_screen_per_group_and_has_examples(page, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    text = help_of(page, capsys)
    assert max(len(group.splitlines()) for group in text.split('\n\n')) <= 30
    assert max(len(line) for line in text.splitlines()) <= 110
    assert '--version' in text
    names_networks = re.search(r'^ +--(network|codec|before|after|init-from|config) ', text, re.MULTILINE)
    assert not names_networks or '--allow-module' in text     # a network may be of the user's own
    wide = [line for line in text.partition('\nexamples:')[0].splitlines() if len(line) > 80]
    assert wide == []
    found = examples(text)
    assert found
    if ' ' in page:
        assert all(words[:2] == page.split() for words in found)


@pytest.fixture
def bare_machine(tmp_path, monkeypatch):
    """An empty working directory, no data sets, no runs, no released files and no network."""
    import config as folders
    from dnnlib.artifacts import store

    def get(name, *_args, **_kwargs):
        raise UserError(f'{getattr(name, "name", name)} cannot be downloaded here')

    monkeypatch.syspath_prepend(str(ROOT))  # which may be known as the working directory only
    monkeypatch.chdir(tmp_path)
    for name in ('data', 'result', 'cache'):
        monkeypatch.setattr(folders, f'{name}_dir', str(tmp_path / name))
    monkeypatch.setenv('STYLEGAN_ARTIFACTS_DIR', str(tmp_path / 'artifacts'))
    monkeypatch.setattr(store, 'get', get)
    return tmp_path


def outcome(words):
    """'done', or the sentence that says what is missing."""
    try:
        call(words)
    except UserError as err:
        return str(err)
    return 'done'


def names_what_is_missing(sentence):
    return any(words in sentence for words in (
        'does not exist', 'there is no', 'has no file', 'has no folder', 'holds no ', 'No such file',
        'no run directory', 'not a run directory', 'cannot be downloaded', 'packages that are not installed'))


def test_examples_of_the_data_set_tool_run_or_name_what_is_missing(bare_machine, capsys):
    outcomes = {}
    for command, lines in DATASET_EXAMPLES.items():
        for words in examples(help_of(f'dataset_tool.py {command}', capsys)):
            short = ['12' if word == '5000' else word for word in words] + ['--workers=1'] * (command == 'extract')
            outcomes.setdefault(command, []).append(outcome(short))
        assert len(outcomes[command]) == len(lines)
    done = [command for command, results in outcomes.items() if set(results) == {'done'}]
    made = {'create_toyfaces', 'create_points', 'create_digits'} & set(done)
    assert set(done) - made == {'verify', 'info', 'display', 'extract', 'compare'} and len(made) >= 2
    for command, results in outcomes.items():
        assert command in done or all(names_what_is_missing(result) for result in results), results
    assert 'toyfaces-64' in os.listdir('datasets') and pathlib.Path('sheet.png').is_file()


@functools.lru_cache(maxsize=None)
def probed(device, probe=doctor.run_probe):
    """What the doctor's own process finds, which takes seconds each time."""
    return probe(device)


# Processes of their own, which the launcher's examples start, do not see what this one pretends: see test_processes.py.
# Schedulers and workers would wait for ever: see test_cluster_faults.py.
@pytest.mark.parametrize('page', [page for page in PAGES
                                  if not page.startswith(('dataset_tool.py', 'dnnlib.tflib.launch', 'data.cluster'))])
def test_examples_of_other_help_run_or_name_what_is_missing(page, bare_machine, capsys, monkeypatch):
    monkeypatch.setattr(doctor, 'run_probe', probed)
    monkeypatch.setattr(unwarping, 'NUM_POINTS', 200)   # whose contours take most of the time
    for words in examples(help_of(page, capsys)):
        # These would train for minutes.
        result = outcome(words + ['--dry-run'] * ('lecture' in words) + ['--steps=2'] * ('unwarping' in words))
        assert result == 'done' or names_what_is_missing(result), (words, result)


@pytest.mark.parametrize('page', PAGES)
def test_every_command_tells_its_version(page, capsys):
    import config
    with pytest.raises(SystemExit) as caught:
        call(page.split() + ['--version'])
    assert caught.value.code == 0 and capsys.readouterr().out == f'stylegan-repro {config.version}\n'


@pytest.mark.both
@pytest.mark.parametrize('line', [
    'run_metrics.py fid50k --run', 'run_metrics.py fid --images a --reference b --out',
    'run_metrics.py table1 --out', 'train.py --config demo --max-hours',
    'train.py --config demo --dry-run --data-dir', 'train.py doctor --result-dir',
    'generate.py --network x.pkl --outdir', 'dataset_tool.py create_from_images new old --labels',
    'explore.py --network x.pkl --latents'])
def test_an_option_given_as_nothing_is_no_option_left_out(line):
    """A shell's variable without a value, in quotes, must not send results to the default place."""
    with pytest.raises(UserError, match=f"{line.split()[-1]} is '', which says nothing"):
        call(line.split() + [''])


@pytest.mark.both
@pytest.mark.parametrize('line, dest, value', [
    ('generate.py --network x --seeds 1 --psi -1e-3', 'psi', -0.001),
    ('generate.py --network x --seeds 1 --psi -.5', 'psi', -0.5),
    ('generate.py --network x --seeds 1 --labels -1,0', 'labels', '-1,0'),
    ('generate.py --network x --seeds 1 --psi=-2', 'psi', -2.0)])
def test_values_that_begin_with_a_minus_are_no_options(line, dest, value):
    words = line.split()
    assert getattr(importlib.import_module(words[0][:-len('.py')]).parse_args(words[1:]), dest) == value


@pytest.mark.both
@pytest.mark.parametrize('line, message', [
    ('explore.py --network x --port ²', "'²' is not a port from 0 to 65535"),
    ('project.py x.png --network x --steps ²', "'²' is not a number of steps from 1 to 1000000"),
    ('dataset_tool.py prefilter in out --shard ²/3', "'²/3' is not I/N")])
def test_digits_that_are_no_numbers_are_refused_in_words(line, message, capsys):
    with pytest.raises(SystemExit):
        call(line.split())
    assert message in capsys.readouterr().err


@pytest.mark.both
@pytest.mark.parametrize('line, message', [
    ('generate.py --network x --seeds 1 --seconds 8', '--seconds goes with --video'),
    ('generate.py --network x --seeds 1 --fps=25', '--fps goes with --video'),
    ('generate.py --network x --seeds 1 --video truncation --psi 1', '--psi has no meaning with --video truncation'),
    ('generate.py --network x --seeds 1 --video noise --noise stored', '--noise has no meaning with --video noise'),
    ('generate.py --network x --seeds 1 --video noise --space z', '--space says how key frames are joined'),
    ('generate.py --network x --seeds 1 --directions pca:3', '--directions goes with --edit or --edit-table'),
    ('generate.py --network x --seeds 1 --features standin', '--features goes with --edit-table'),
    ('generate.py --network x --seeds 1 --psi 1 --cutoff 8', '--cutoff says how many layers --psi truncates'),
    ('generate_figures.py --network x --figures truncation --psi 0.7', '--psi says how uncurated and interpolation a'),
    ('generate_figures.py --network x --figures uncurated --draws 100', '--draws says how noise-detail'),
    ('generate_figures.py --network x --dataset y', '--dataset says how nearest and dataset are drawn'),
    ('train.py --list-configs --config demo', '--config has no meaning with --list-configs'),
    ('train.py --config demo --print-config --dry-run', '--dry-run and --print-config are two ways'),
    ('train.py doctor --set train.total_kimg=1', '--set goes with --config'),
    ('run_metrics.py table --out x', '--out says how a table is made: name it'),
    ('run_metrics.py table --list-tables --preset full', '--preset says how a table is made'),
    ('run_metrics.py table stylegan-1 --list-tables', "leave it out to make 'stylegan-1'"),
    ('run_metrics.py curves run --seed 0', '--seed goes with --measure'),
    ('run_metrics.py identity --network x --embedding-range=-1,1', '--embedding-range goes with --embedding'),
    ('run_metrics.py fid50k --network x --ppl-ends 0', '--ppl-ends has no effect on fid50k; it is for ppl_zend and pp'),
    ('run_metrics.py ppl_wend --network x --fid-reals order', '--fid-reals has no effect on ppl_wend; it is for fid'),
    ('run_metrics.py fid50k --network x --classifier-blur yes', '--classifier-blur has no effect on fid50k'),
    ('dataset_tool.py create_from_images new old --crop center', '--crop goes with --resize'),
    ('dataset_tool.py create_from_images new old --background white', '--background goes with --convert'),
    ('dataset_tool.py import new old --crop center', '--crop goes with --resize'),
    ('dataset_tool.py prefilter --merge old --margin 50', '--margin has no meaning with --merge'),
    ('dataset_tool.py prepare folder new old --no-prefilter --align ffhq', '--align has no meaning with --no-pre'),
    ('dataset_tool.py prepare folder new old --background white', '--background goes with --no-prefilter'),
    ('dnnlib.artifacts add x --url y --record', '--record goes with --file')])
def test_options_that_would_do_nothing_are_refused_even_with_their_defaults(line, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call(line.split())


def test_what_is_known_of_data_that_are_not_here_has_the_same_names():
    config = EasyDict(dataset=EasyDict(tfrecord_dir='toyfaces-32', resolution=32))
    with SyntheticDataset(resolution=32) as data:
        known = set(facts.describe(data))
    assert known == set(facts.open_data(config, 'nowhere', dry=True, metrics=[]))
    record = dict(shape=[3, 32, 32], dtype='uint8', num_images=5, label_size=0, fingerprint='x')
    assert known <= set(facts.recorded_data(record))


def test_commands_stand_in_texts_as_they_are_typed(monkeypatch):
    import config
    from dnnlib.command_line import _COMMANDS, typed
    for names, command in _COMMANDS.items():
        started = commands()[command][0]
        assert names.replace('python ', '').split() == started
        assert typed(f'make it with {names} X; see /src/train.py') == \
            f'make it with ./reproduce {command} X; see /src/train.py'
    monkeypatch.setattr(config, 'installed', True)
    assert typed('dataset_tool.py info; ./reproduce train') == 'stylegan-repro data info; stylegan-repro train'


def test_the_demos_print_commands_that_a_shell_takes_and_make_the_data_that_others_tell_of(monkeypatch, capsys):
    import subprocess
    started = []
    monkeypatch.setattr(subprocess, 'call', lambda command: started.append(command) or 0)
    demo = runpy.run_path(str(ROOT / 'tools' / 'demo.py'), run_name='demo')
    demo['run_step']('Train', 'train.py', '--config', 'demo', '--set', *demo['QUICK'], '--data-dir', 'my data')
    line = capsys.readouterr().out.splitlines()[-1]
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    for name, data_set in (('demo', 'demo-faces-32'), ('acceleration_demo', 'acceleration-demo-64')):
        made = runpy.run_path(str(ROOT / 'tools' / f'{name}.py'), run_name=name)['NUM_FACES']
        assert facts.making_of(data_set)[0].endswith(f' --num {made}')     # what a dry run tells to make
    assert shlex.split(line) == ['$', './reproduce', 'train'] + started[0][2:]


def test_outputs_go_to_the_configured_result_folder(monkeypatch, tmp_path):
    import config as folders
    import generate
    import generate_figures
    import pretrained_example
    monkeypatch.setattr(folders, 'result_dir', str(tmp_path / 'elsewhere'))
    assert generate.parse_args(['--network', 'x', '--seeds', '1']).outdir == str(tmp_path / 'elsewhere' / 'images')
    assert generate_figures.parse_args(['--network', 'x']).outdir == str(tmp_path / 'elsewhere' / 'figures')
    assert pretrained_example.parse_args([]).out == str(tmp_path / 'elsewhere' / 'example.png')
