import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import config as folders
import train
from data.commands import main as dataset_tool
from dnnlib import config_files, submission
from dnnlib.tflib import convert
from dnnlib.util import UserError
from experiment.facts import making_of
from experiment.start import Start

ROOT = os.path.dirname(os.path.abspath(train.__file__))
TINY = '''# A run of seconds
extends: demo
desc: tiny
device: cpu
train: {total_kimg: 0.192, minibatch_repeats: 2, checkpoint_kimg: 0.032, G_smoothing_kimg: 0.1}
G: {fmap_base: 64, fmap_max: 8, latent_size: 8, dlatent_size: 8, mapping_fmaps: 8, mapping_layers: 2}
D: {fmap_base: 64, fmap_max: 8}
dataset: {class_name: training.dataset.SyntheticDataset, resolution: 8, num_images: 100}
sched:
  lod_initial_resolution: 4
  lod_training_kimg: 0.048
  lod_transition_kimg: 0.08
  minibatch_base: 8
  minibatch_dict: {8: 4}
  tick_kimg_base: 0.064
  tick_kimg_dict: {}
grid: {size: 4x2}
metrics: []
tf_config: {graph_options.rewrite_options.disable_meta_optimizer: true}  # starts twice as fast
'''

# Builds faster: a single resolution, no conditionals.
FIXED = ['--set', 'sched.lod_initial_resolution=8', '--set', 'G.structure=fixed', '--set', 'D.structure=fixed']


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / 'tiny.yaml').write_text(TINY)
    return str(tmp_path / 'tiny.yaml')


def start(*args):
    return subprocess.Popen([sys.executable, os.path.join(ROOT, 'train.py')] + list(args), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True)


def run(*args):
    process = start(*args)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


# ---- Looking only

def test_configs_are_listed(capsys):
    train.main(['--list-configs'])
    out = capsys.readouterr().out
    lines = out.splitlines()
    group = lines.index('Re-Training StyleGAN, Table I')
    assert any(line.startswith('  celeba-256 ') for line in lines[group:lines.index('', group)])


def test_the_printed_config_tells_origins_and_is_a_config_itself(capsys, tiny, tmp_path):
    train.main(['--config', tiny, '--set', 'G.fmap_max=16', '--seed', '5', '--print-config'])
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines() if 'fmap_max: 16' in line] == [['fmap_max:', '16', '#', '--set']]
    assert '# --seed' in out
    assert 'tiny.yaml:5' in out
    assert 'stylegan-f.yaml:' in out
    (tmp_path / 'copy.yaml').write_text(out)
    train.main(['--config', str(tmp_path / 'copy.yaml'), '--print-config'])
    strip = lambda text: [line.split('#')[0].strip() for line in text.splitlines()]  # noqa: E731
    assert strip(capsys.readouterr().out) == strip(out)


def test_a_configuration_that_names_no_data_is_printed_but_not_planned(capsys):
    train.main(['--config', 'stylegan-f', '--print-config'])
    printed = capsys.readouterr().out
    assert 'lod_initial_resolution: 8 ' in printed and 'tfrecord_dir' not in printed
    for words in (['--dry-run'], ['--print-config', '--set', 'dataset.tfrecord_dirs=a']):
        with pytest.raises(UserError, match='tfrecord_dir'):
            train.main(['--config', 'stylegan-f'] + words)


def test_dry_run_prints_the_plan_and_makes_nothing(capsys, tiny, tmp_path):
    train.main(['--config', tiny, '--dry-run', '--result-dir', str(tmp_path / 'results')])
    out = capsys.readouterr().out
    assert 'Data: 100 samples of 8x8' in out
    assert [line.split()[:2] for line in out.splitlines() if 'trains' in line or 'fades' in line] == [
        ['4x4', 'trains'], ['8x8', 'fades'], ['8x8', 'trains']]
    assert 'Memory: about' in out
    assert 'Disk: about' in out
    assert 'warning: the data set has only 100 images' in out
    assert not (tmp_path / 'results').exists()


@pytest.mark.parametrize('name,words', [
    ('celeba-256', ['256x256, 3 channel(s)', '256x256    trains', 'the run asks for 2 GPUs, this machine has 0',
                    "missing: the data set '/nowhere/celeba-256' does not exist; make it with ./reproduce data prepare "
                    'celeba']),
    ('toyfaces-32', ['32x32, 3 channel(s)', './reproduce data create_toyfaces datasets/toyfaces-32 --resolution 32']),
    ('minimal-gan', ['samples of 2 number(s)', './reproduce data create_points datasets/gaussians-8'])])
def test_a_named_configuration_is_planned_without_its_data(capsys, monkeypatch, tmp_path, name, words):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    assert train.main(['--config', name, '--dry-run', '--data-dir', '/nowhere', '--result-dir', str(tmp_path)]) is None
    out = capsys.readouterr().out
    assert all(word in out for word in words)
    with pytest.raises(UserError, match='does not exist; make it with dataset_tool.py'):
        train.main(['--config', name, '--data-dir', '/nowhere', '--result-dir', str(tmp_path)])
    assert os.listdir(str(tmp_path)) == []


def test_every_named_configuration_names_data_whose_making_is_known():
    for name, _ in config_files.list_configs(folders.config_dir):
        folder = config_files.load_config(name, folders.config_dir)[0].dataset.get('tfrecord_dir')
        if folder is not None:
            command, _ = making_of(folder)
            assert command.startswith('dataset_tool.py ') and f'datasets/{folder}' in command
            assert 'PICTURES' not in command


def test_looking_only_imports_no_tensorflow():
    code = """
import sys
import train
for args in (['--list-configs'], ['--config', 'demo', '--print-config'], ['--config', 'celeba-256', '--dry-run']):
    train.main(args)
try:
    train.main(['--help'])
except SystemExit:
    pass
sys.exit('tensorflow' in sys.modules)
"""
    assert subprocess.call([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.DEVNULL) == 0


def test_missing_feature_networks_are_told_before_the_run(capsys, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv('STYLEGAN_ARTIFACTS_DIR', str(tmp_path))
    monkeypatch.setattr(train.folders, 'cache_dir', str(tmp_path))
    options = ['--config', tiny, '--dry-run', '--result-dir', str(tmp_path / 'results'), '--set']
    train.main(options + ['metrics=[fid50k, ppl_wend]'])
    warning = [line for line in capsys.readouterr().out.splitlines() if 'metrics at snapshots' in line]
    assert len(warning) == 1 and 'fetch inception_v3_features.pkl vgg16_zhang_perceptual.pkl, or' in warning[0]
    # Drawn faces are measured with the stand-ins, also where they are still to be drawn, or encoded.
    for name in ('demo', 'acceleration-demo-codes'):
        train.main(['--config', name, '--dry-run', '--data-dir', '/nowhere', '--result-dir', str(tmp_path / 'results')])
        out = capsys.readouterr().out
        assert 'missing: the data set' in out and 'metrics at snapshots' not in out
    train.main(options + ['metrics=[]'])
    assert 'metrics at snapshots' not in capsys.readouterr().out


def test_a_probe_measures_the_speed_and_leaves_nothing(capsys, tiny, tmp_path):
    train.main(['--config', tiny, '--dry-run', '--probe', '--result-dir', str(tmp_path / 'results'), *FIXED])
    out = capsys.readouterr().out
    assert re.search(r'^Speed at 8x8: [\d.]+ seconds per kimg \(measured\)$', out, re.M)
    assert re.search(r'^Duration: about \d+s, without snapshots and metrics$', out, re.M)
    assert not (tmp_path / 'results').exists()


def test_labels_that_are_not_used_or_not_there_are_said(capsys, tiny, tmp_path):
    faces = str(tmp_path / 'data' / 'faces')
    dataset_tool(['create_toyfaces', faces, '--resolution', '16', '--num', '20', '--workers', '1'])
    data = ['--config', tiny, '--dry-run', '--data-dir', str(tmp_path / 'data'), '--set',
            'dataset.class_name=training.dataset.TFRecordDataset', '--set', 'dataset.tfrecord_dir=faces']
    train.main(data)
    assert 'warning: the data set has labels (faces-rxx.labels) that this run does not use' in capsys.readouterr().out
    train.main(data + ['--set', 'dataset.max_label_size=full'])
    assert 'labels' not in ''.join(line for line in capsys.readouterr().out.splitlines() if 'warning' in line)
    os.unlink(os.path.join(faces, 'faces-rxx.labels'))
    os.unlink(os.path.join(faces, 'manifest.json'))
    with pytest.raises(UserError, match='has no .*labels file'):
        train.main(data + ['--set', 'dataset.max_label_size=full'])


def test_examples_of_the_help_are_valid(capsys, monkeypatch):
    lines = [line.split()[2:] for line in train.EXAMPLES.splitlines() if line.startswith('  ./reproduce train -')]
    assert len(lines) >= 5
    for line in lines:
        args = train.parse_args(line)
        if args.config:
            Start(args)


def test_help_fits_a_screen_per_group(capsys):
    with pytest.raises(SystemExit):
        train.parse_args(['--help'])
    groups = capsys.readouterr().out.split('\n\n')
    assert max(len(group.splitlines()) for group in groups) <= 25


# ---- Refusals

@pytest.mark.parametrize('args,message', [
    ([], 'say what to train with --config'),
    (['--config', 'demo', '--resume', 'x'], '--config cannot be changed with --resume'),
    (['--resume', 'x', '--seed', '2'], '--seed cannot be changed'),
    (['--config', 'demo', '--device', 'tpu'], 'invalid choice'),
    (['--config', 'demo', '--seed', 'x'], 'invalid int'),
    (['--resume', 'x', '--resume-kimg', '5'], '--resume-kimg cannot be changed with --resume'),
    (['--config', 'demo', 'extra'], 'unrecognized arguments')])
def test_options_that_make_no_sense_are_refused(capsys, args, message):
    with pytest.raises(SystemExit) as exit_info:
        train.main(args)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('args,message', [
    (['--config', 'demoo'], "no configuration 'demoo'; did you mean 'demo'"),
    (['--config', 'demo', '--probe'], '--probe goes with --dry-run'),
    (['--config', 'demo', '--transfer'], '--transfer goes with --init-from'),
    (['--list-configs', '--seed', '1000'], '--seed has no meaning with --list-configs'),
    (['--config', 'demo', '--print-config', '--dry-run'], 'two ways to only look'),
    (['--config', './missing.yaml'], "no configuration file 'missing.yaml'"),
    (['--config', '././a/./missing.yaml'], "no configuration file 'a/missing.yaml'"),
    (['--config', 'demo', '--set', 'train.total_kmg=1'], "did you mean 'total_kimg'"),
    (['--config', 'demo', '--set', 'x'], '--set x: write it as'),
    (['--config', 'demo', '--set', 'metrics=[fid50k, {preset: fid50k, num_images: 9}]'], "are called 'fid50k'"),
    (['--config', 'demo', '--set', 'sched.minibatch_dict.12=4'], 'powers of two, not 12'),
    (['--config', 'demo', '--max-hours', 'long'], r'train.max_hours: must be .*given in --max-hours'),
    (['--config', 'demo', '--num-gpus', '0'], r'num_gpus: must be from 1 .*given in --num-gpus'),
    (['--config', 'demo', '--data-dir', '/nowhere'], "/nowhere"),
    (['--config', 'TINY', '--init-from', '/nowhere/x.pkl'], "no file '/nowhere/x.pkl'"),
    (['--config', 'TINY', '--init-from', 'TINY'], 'not a network pickle'),
    (['--config', 'TINY', '--set', 'sched.minibatch_base=6'], 'not a multiple of D.mbstd_group_size'),
    (['--config', 'TINY', '--result-dir', 'TINY/results'], "cannot create a run directory in '.*': Not a directory"),
    (['--config', 'TINY', '--result-dir', 'TINY/results', '--dry-run'], "cannot create a run directory in '.*': Not a"),
    (['--config', 'TINY', '--result-dir', '/proc/results', '--dry-run'], 'cannot create a run directory in'),
    (['--config', 'TINY', '--device', 'gpu', '--dry-run'], r'1 GPU\(s\) are asked for, but this machine has 0'),
    (['--config', 'TINY', '--resume-kimg', '5'], '--resume-kimg says how many images .* give both'),
    (['--config', 'TINY', '--init-from', 'TINY', '--resume-kimg', '5'], 'less than train.total_kimg'),
    (['--config', 'attribute-classifier', '--set', 'dataset.class_name=training.dataset.SyntheticDataset',
      '--init-from', 'TINY'], '--init-from: .*train_classifier trains in one go'),
    (['--resume', '/nowhere'], 'not a run directory'),
    (['--resume', 'nowhere'], "no run directory 'nowhere' in"),
    (['--resume', 'TINY'], "is a file, not the directory of a run; start a new run from it with --init-from")])
def test_mistakes_are_named_before_a_run_directory_appears(tiny, tmp_path, monkeypatch, args, message):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    args = [arg.replace('TINY', tiny) for arg in args]
    if '--result-dir' not in args and '--resume' not in args:
        args += ['--result-dir', str(tmp_path / 'results')]
    with pytest.raises(UserError, match=message):
        train.main(args)
    assert not (tmp_path / 'results').exists()


def test_a_mistake_exits_with_2_and_one_sentence():
    code, out, err = run('--config', 'demo', '--set', 'train.total_kimg=long')
    assert (code, out) == (2, '')
    assert err == 'error: train.total_kimg: must be a number from 0.001 to 1e9, not a text (long) (given in --set)\n'


# ---- A whole run

def test_a_run_is_guarded_stopped_resumed_and_not_repeated(tiny, tmp_path, capsys):
    results = str(tmp_path / 'results')
    process = start('--config', tiny, '--result-dir', results, '--set', 'train.total_kimg=1000', *FIXED)
    run_dir = os.path.join(results, '00000-tiny')
    log = os.path.join(run_dir, 'log.txt')
    end = time.time() + 600
    while not (os.path.exists(log) and 'tick 1 ' in open(log).read()):
        assert process.poll() is None, process.stderr.read()
        assert time.time() < end
        time.sleep(0.2)

    with pytest.raises(UserError, match=rf'another process \(process {process.pid}\) is training'):
        train.main(['--resume', run_dir])

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0
    assert 'SIGINT: stopping after this step' in err
    assert out.splitlines()[-2].startswith('To go on: ./reproduce train --resume')
    assert out.splitlines()[-1].endswith(run_dir)
    assert not os.path.exists(os.path.join(run_dir, '_finished.txt'))
    with pytest.raises(UserError, match='cannot be changed with --resume'):
        train.main(['--resume', run_dir, '--set', 'G.fmap_max=4'])

    length = float(submission.read_submit_config(run_dir)['config']['train']['total_kimg'])
    assert length == 1000
    shown = os.path.join(run_dir, 'config.yaml')
    with open(shown) as f:
        text = f.read()
    with open(shown, 'w') as f:
        f.write(text.replace('total_kimg: 1000', 'total_kimg: 5'))
    code, out, err = run('--resume', run_dir, '--set', 'train.total_kimg=0.2')
    assert code == 0, err
    assert f'{shown} is no longer what this run was begun with (train.total_kimg), which has no effect' in out
    assert 'Going on from' in out
    assert out.splitlines()[-1] == f'Training finished; everything is in {run_dir}'
    assert submission.read_submit_config(run_dir)['config']['train']['total_kimg'] == 0.2
    assert {'config.txt', 'config.yaml', 'environment.json', 'log.txt', 'reals.png', 'run.txt', 'src', '_finished.txt',
            'stats.jsonl', 'submit_config.json', 'network-final.pkl', 'report.html',
            'README.md'} <= set(os.listdir(run_dir))

    train.main(['--resume', run_dir])  # returns at once
    train.main(['--resume', '0', '--result-dir', results, '--set', 'train.total_kimg=0.1'])  # shorter than it is
    assert_refusals_change_nothing(run_dir)
    # Another run may start from it, and from its networks in any format.
    copy = str(tmp_path / 'copy.safetensors')
    convert.main([os.path.join(run_dir, 'network-final.pkl'), copy])
    for text, taken in ((run_dir, 'takes its final one: network-final.pkl'), (copy, '')):
        capsys.readouterr()
        train.main(['--config', tiny, '--init-from', text, '--dry-run', '--result-dir', results, *FIXED])
        out, err = capsys.readouterr()
        assert taken in out and 'error' not in err
    with pytest.raises(UserError, match=r'--init-from: G in .* does not fit .*of another shape'):
        train.main(['--config', tiny, '--init-from', run_dir, '--set', 'G.fmap_max=4', '--result-dir', results, *FIXED])
    assert os.listdir(results) == ['00000-tiny']


def assert_refusals_change_nothing(run_dir):
    """Resumes that are refused, for whatever reason, leave every file of the run as it was."""
    longer = ['--resume', run_dir, '--set', 'train.total_kimg=0.3']
    config = os.path.join(run_dir, 'submit_config.json')
    data = os.path.join(run_dir, 'dataset.json')
    for path, change, message in (
            (None, longer + ['--set', 'sched.minibatch_dict={8: 6}'], 'not a multiple of D.mbstd_group_size'),
            (config, ('"seed": 1000', '"seed": 1001'), 'was written with the seed 1000, this run has 1001'),
            (config, ('"fmap_max": 8', '"fmap_max": 4'), 'does not fit the networks of this configuration'),
            (data, ('"num_images": 100', '"num_images": 101'), 'is not the one that .* was begun on'),
            (data, ('"num_images": 100', '"num_images": "x"'), 'num_images must be a whole number'),
            (os.path.join(run_dir, 'checkpoints'), None, 'has trained, but its checkpoints'),
            (os.path.join(run_dir, 'stats.jsonl'), os.mkdir, 'stats.jsonl is no regular file'),
            (os.path.join(run_dir, 'log.txt'), os.mkfifo, 'log.txt is no regular file')):
        args = change if path is None else longer
        if change is None or callable(change):
            os.rename(path, path + '-away')
            if change is not None:
                change(path)
        elif path is not None:
            original = open(path).read()
            with open(path, 'w') as f:
                f.write(original.replace(*change))
            assert open(path).read() != original
        before = files_of(run_dir)
        with pytest.raises(UserError, match=message):
            train.main(args)
        assert files_of(run_dir) == before
        if change is None or callable(change):
            if change is not None:
                (os.rmdir if os.path.isdir(path) else os.unlink)(path)
            os.rename(path + '-away', path)
        elif path is not None:
            with open(path, 'w') as f:
                f.write(original)


def files_of(folder):
    return {path: path.read_bytes() for path in pathlib.Path(folder).rglob('*') if path.is_file()}
