"""Names that are no text, places where nothing can be written, files that vanish, file systems that cannot do all."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import PIL.Image
import pytest
from test_train_cli import TINY

from data import commands, ledger
from data.converters import create_from_images
from data.images import BadImage, list_images, open_image
from data.records.dataset import TFRecordDataset
from dnnlib.atomic import NAME_BYTES, atomic_write, temporary_name
from dnnlib.files import NotRegular, make_folder, make_folders, sha256_file, utf8_path, write_json
from dnnlib.util import UserError
from training.state import checkpoint

ROOT = pathlib.Path(__file__).resolve().parent.parent
ODD = os.fsdecode(b'd\xefr \xe2\x82\xac')  # bytes that are no UTF-8, and the euro sign

FAKE_DETECTOR = '''
from data.prefilter.settings import Settings
made = Settings.__init__
names = made.__code__.co_varnames[:made.__code__.co_argcount][-len(made.__defaults__):]
made.__defaults__ = tuple('prefilter_helpers.FakeDetector' if name == 'detector' else value
                          for name, value in zip(names, made.__defaults__))
'''

@pytest.fixture
def tmp_path(tmp_path):
    """Some folders here are deeper than pytest's own clean-up recurses."""
    yield tmp_path
    subprocess.call(['rm', '-rf', str(tmp_path)])


# Runs a script of the project as from a command line, several times in one process since imports take long.
RUNNER = '''
import io, os, sys
sys.path[:0] = [{tests!r}, {root!r}]
{prologue}
import importlib
from dnnlib.util import run_main
for words in {commands!r}:
    words = [os.fsdecode(word) for word in words]
    main = importlib.import_module(words[0]).main
    try:
        run_main(lambda: main(words[1:]))
    except SystemExit as err:
        print('STATUS', err.code)
        sys.stdout.flush()
'''


def run(commands, cwd, prologue='', **environment):
    """Runs commands under a strict locale. Returns (their statuses, stdout, stderr)."""
    code = RUNNER.format(tests=str(ROOT / 'tests'), root=str(ROOT), prologue=prologue,
                         commands=[[os.fsencode(str(word)) for word in words] for words in commands])
    env = dict(os.environ, PYTHONIOENCODING='ascii:strict', LC_ALL='C', **environment)
    env.pop('PYTHONUTF8', None)
    done = subprocess.run([sys.executable, '-c', code], cwd=str(cwd), env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    out, err = done.stdout.decode('ascii'), done.stderr.decode('ascii')
    assert done.returncode == 0 and 'Traceback' not in err, err
    return [line.split()[1] for line in out.splitlines() if line.startswith('STATUS')], out, err


@pytest.fixture
def odd(tmp_path):
    """A folder whose name is no UTF-8, with pictures whose names are none in folders likewise; one is empty."""
    try:
        (tmp_path / ODD).mkdir()
    except OSError:
        pytest.skip('this file system refuses such names')
    for number in range(4):
        folder = tmp_path / ODD / 'in' / os.fsdecode(b'cl\xe4ss%d' % (number % 2))
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.new('RGB', (80, 80), (0, 150, number)).save(str(folder / os.fsdecode(b'\xfcn%d.png' % number)))
    (folder / os.fsdecode(b'b\xe4d.png')).write_bytes(b'')
    return tmp_path / ODD


def test_data_sets_are_made_shown_and_checked_under_a_strict_locale(odd):
    made = odd / os.fsdecode(b's\xe9t')
    statuses, out, err = run([
        ['data.commands', 'create_from_images', made, odd / 'in', '--resize', '16'],
        ['data.commands', 'create_from_images', made, odd / 'in', '--resize', '16', '--skip-bad', '--labels',
         'folders'],
        ['data.commands', 'info', made], ['data.commands', 'info', made, '--json'], ['data.commands', 'verify', made],
        ['data.commands', 'display', made], ['data.commands', 'extract', made, odd / os.fsdecode(b'\xe9x')],
        ['data.commands', 'create_from_images', '--help'],
    ], odd)
    assert statuses == ['2', 'None', 'None', 'None', 'None', 'None', 'None', '0']
    assert 'b\\xe4d.png is empty' in err and '4 images of 16x16 in' in out and 's\\xe9t-sheet.png' in out
    manifest = json.loads((made / 'manifest.json').read_text())
    assert manifest['label_names'] == ['cl\\xe4ss0', 'cl\\xe4ss1']
    assert os.fsencode(manifest['skipped'][0]['file']) == b'cl\xe4ss1/b\xe4d.png'
    with open(str(odd / os.fsdecode(b'\xe9x') / 'labels.csv'), encoding='utf-8') as f:
        assert next(csv.reader(f)) == ['image', 'cl\\xe4ss0', 'cl\\xe4ss1']
    assert (odd / os.fsdecode(b's\xe9t-sheet.png')).exists()


def test_photographs_are_filtered_under_a_strict_locale(odd):
    faces = odd / os.fsdecode(b'f\xe4ces')
    statuses, out, err = run([
        ['data.commands', 'prefilter', odd / 'in', faces, '--size', '32', '--workers', '1'],
        ['data.commands', 'create_from_images', odd / 'set', faces, '--labels', 'folders'],
        ['data.commands', 'prepare', 'folder', odd / 'set2', odd / 'in', '--size', '32', '--workers', '1'],
    ], odd, FAKE_DETECTOR, PYTHONPATH=str(ROOT / 'tests'))
    assert statuses == ['None'] * 3 and 'f\\xe4ces/contact-sheets/kept.jpg' in out, err
    assert sorted(os.fsencode(path.name) for path in faces.rglob('*.png')) == [b'\xfcn%d.png' % i for i in range(4)]
    assert len(TFRecordDataset(str(odd / 'set'))) == len(TFRecordDataset(str(odd / 'set2'))) == 4


def test_pictures_of_a_network_are_drawn_under_a_strict_locale(odd, reference_dir):
    network = odd / os.fsdecode(b'n\xe4t.pkl')
    network.symlink_to(reference_dir / 'golden' / 'stylegan-f-32.pkl')
    out_dir = odd / os.fsdecode(b'\xf6ut')
    statuses, out, _ = run([['generate', '--network', network, '--seeds', '0-1', '--outdir', out_dir]], odd)
    assert statuses == ['None'] and '\\xf6ut' in out
    assert 'n\\xe4t' in (out_dir / 'index.html').read_text(encoding='utf-8')
    record = json.loads((out_dir / 'images.json').read_text(encoding='utf-8'))
    assert any(str(value).endswith(os.fsdecode(b'n\xe4t.pkl')) for value in record.values())


@pytest.mark.both
def test_text_files_take_names_that_are_no_text(tmp_path):
    with atomic_write(str(tmp_path / 'page'), 'w') as f:
        f.write(ODD)
    assert (tmp_path / 'page').read_text(encoding='utf-8') == 'd\\xefr €'
    assert ODD.encode('ascii', NAME_BYTES) == b'd\\xefr \\u20ac'
    write_json(str(tmp_path / 'json'), {'name': ODD}, ensure_ascii=False)
    assert json.loads((tmp_path / 'json').read_text(encoding='utf-8')) == {'name': ODD}
    with pytest.raises(UnicodeDecodeError):
        b'\xff'.decode('utf-8', NAME_BYTES)


def test_runs_are_not_begun_where_tensorflow_cannot_write(odd):
    from dnnlib.submission.run_dir import create_run_dir
    with pytest.raises(UserError, match='is no UTF-8, so TensorFlow cannot write'):
        create_run_dir(str(odd / 'results'), 'x')
    assert not (odd / 'results').exists() and utf8_path('€') == '€'


# ---- Places

@pytest.mark.both
def test_paths_of_thousands_of_parts_are_a_sentence_or_work(tmp_path, monkeypatch):
    with pytest.raises(UserError, match='no folder can be made at .*File name too long'):
        make_folder(str(tmp_path / ('x/' * 3000)))
    monkeypatch.chdir(str(tmp_path))
    deep = 'x/' * 1500 + 'y'
    assert make_folder(deep) == deep and os.path.isdir(deep)
    make_folders(deep)
    (tmp_path / 'file').write_text('')
    (tmp_path / 'link').symlink_to('absent')
    for place in ('file/a', 'link/a', 'link', '/proc/self/a', 'a\0b'):
        with pytest.raises(UserError, match='no folder can be made at'):
            make_folder(place)
    PIL.Image.new('L', (4, 4)).save('x/' * 1500 + 'a.png')
    assert list_images('x')[0] == ['x/' * 1499 + 'a.png']


def test_commands_refuse_places_where_nothing_can_be_written(tmp_path):
    make = ['data.commands', 'create_toyfaces', 'set', '--resolution', '16', '--num', '2', '--workers', '1']
    commands = [make]
    places = 'x/' * 3000 + 'a', '/proc/self/a', '/dev/null/a', 'set/manifest.json/a', 'a' * 300, 'b/' * 1200 + 'c'
    for place in places:
        commands += [['data.commands', 'display', 'set', '--output', place + '.png'],
                     ['data.commands', 'extract', 'set', place + '1'], make[:2] + [place + '2'] + make[3:]]
    statuses, _, err = run(commands, tmp_path)
    assert statuses == ['None'] + ['2'] * 15 + ['None'] * 3 and err.count('error: ') == 15


@pytest.mark.both
def test_temporary_names_are_not_longer_than_names_may_be(tmp_path):
    name = '面' * 83 + '.png'
    assert len(os.fsencode(os.path.basename(temporary_name(name)))) < 200 and temporary_name(name).endswith('面.png')
    with atomic_write(str(tmp_path / name)) as f:
        f.write(b'x')
    assert (tmp_path / name).read_bytes() == b'x'


# ---- Files that are gone, or none

def make_pictures(folder, count=6):
    folder.mkdir()
    for number in range(count):
        PIL.Image.new('L', (8, 8), number).save(str(folder / f'{number}.png'))


def test_links_that_lead_nowhere_cost_nothing_but_themselves(tmp_path):
    make_pictures(tmp_path / 'in')
    (tmp_path / 'in' / 'gone.png').symlink_to('absent.png')
    (tmp_path / 'in' / 'circle.png').symlink_to('circle.png')
    os.mkfifo(str(tmp_path / 'in' / 'pipe.png'))
    command = ['create_from_images', str(tmp_path / 'set'), str(tmp_path / 'in'), '--workers', '1']
    with pytest.raises(UserError, match='3 of 9 pictures .*\n.*circle.png is a link that leads to nothing\n.*gone.png '
                                        'is a link that leads to nothing\n.*pipe.png is not a regular file'):
        commands.main(command)
    commands.main(command + ['--skip-bad'])
    assert len(TFRecordDataset(str(tmp_path / 'set'))) == 6
    skipped = json.loads((tmp_path / 'set' / 'manifest.json').read_text())['skipped']
    assert [entry['file'] for entry in skipped] == ['circle.png', 'gone.png', 'pipe.png']


@pytest.mark.parametrize('when', ['before', 'after'])
def test_pictures_that_vanish_meanwhile_cost_nothing_but_themselves(tmp_path, monkeypatch, when):
    make_pictures(tmp_path / 'in')
    original = create_from_images.write_all

    def write_all(*args, **kwargs):
        if when == 'before':
            (tmp_path / 'in' / '3.png').unlink()
        result = original(*args, **kwargs)
        if when == 'after':
            (tmp_path / 'in' / '3.png').unlink()
        return result

    monkeypatch.setattr(create_from_images, 'write_all', write_all)
    commands.main(['create_from_images', str(tmp_path / 'set'), str(tmp_path / 'in'), '--workers', '1', '--skip-bad'])
    assert len(TFRecordDataset(str(tmp_path / 'set'))) == (5 if when == 'before' else 6)


def test_devices_are_not_waited_for(tmp_path):
    for path in ('/dev/zero', '/dev/tty', str(tmp_path)):
        with pytest.raises(BadImage, match='is not a regular file'):
            open_image(path)
    for option in ('--labels', '--include-list', '--exclude-list'):
        make_pictures(tmp_path / option)
        with pytest.raises(UserError, match='/dev/zero.* it is not a regular file'):
            commands.main(['create_from_images', str(tmp_path / 'set'), str(tmp_path / option), option, '/dev/zero'])


@pytest.mark.both
def test_pipes_where_files_were_are_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(str(tmp_path))
    make_pictures(tmp_path / 'in', 2)
    commands.main(['create_from_images', 'set', 'in'])
    name = next(path for path in (tmp_path / 'set').iterdir() if path.name.endswith('-r03.tfrecords'))
    name.unlink()
    checkpoint_path = tmp_path / 'run' / 'checkpoint-000000000256.ckpt'
    checkpoint_path.parent.mkdir()
    for path in (name, tmp_path / 'photos.zip', tmp_path / 'ledger.csv', checkpoint_path):
        os.mkfifo(str(path))
    for line in ('info set', 'verify set', 'compare set set', 'split out set --shards 2',
                 'prepare folder out photos.zip'):
        with pytest.raises(UserError, match='cannot read .*: it is not a regular file'):
            commands.main(line.split())
    for read in (lambda: list(ledger.read('ledger.csv')), lambda: sha256_file('photos.zip')):
        with pytest.raises(NotRegular):
            read()
    told = []
    assert checkpoint.load_newest(str(checkpoint_path.parent), told.append) is None
    assert 'cannot read checkpoint' in told[0] and 'it is not a regular file' in told[0]


def test_folders_have_the_names_of_their_own_places_whatever_links_there_are(tmp_path):
    make_pictures(tmp_path / 'z', 1)
    (tmp_path / 'a').symlink_to('z')
    (tmp_path / 'z' / 'up').symlink_to('..')
    (tmp_path / 'circle').symlink_to('circle')
    assert list_images(str(tmp_path)) == (['z/0.png'], ['circle'])


# ---- File systems that cannot do all

FSYNC = '''
import errno, fcntl
errors = [errno.EINVAL, errno.ENOTSUP]
def fsync(fd):
    errors.reverse()
    raise OSError(errors[0], 'not here')
def flock(fd, operation):
    raise OSError(errno.ENOLCK, 'no locks available')
os.fsync, fcntl.flock = fsync, flock
'''


def test_commands_work_where_folders_cannot_be_synced_nor_files_locked(tmp_path):
    make_pictures(tmp_path / 'in')
    PIL.Image.new('RGB', (80, 80), (0, 150, 0)).save(str(tmp_path / 'in' / 'face.png'))
    (tmp_path / 'sitecustomize.py').write_text('import os\n' + FSYNC)  # for worker processes
    statuses, _, err = run([
        ['data.commands', 'create_toyfaces', 'toyfaces', '--resolution', '16', '--num', '8', '--workers', '1'],
        ['data.commands', 'verify', 'toyfaces'], ['data.commands', 'extract', 'toyfaces', 'png', '--workers', '1'],
        ['data.commands', 'display', 'toyfaces'],
        ['data.commands', 'create_from_images', 'set', 'png', '--labels', 'png/labels.csv', '--workers', '1'],
        ['data.commands', 'prefilter', 'in', 'faces', '--size', '32', '--workers', '1'],
        ['data.commands', 'prefilter', 'in', 'faces', '--size', '32', '--workers', '1', '--resume'],
        ['data.commands', 'prepare', 'folder', 'made', 'in', '--size', '32', '--workers', '1'],
    ], tmp_path, FSYNC + FAKE_DETECTOR, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT / 'tests')]))
    assert statuses == ['None'] * 8, err
    assert not [name for name in os.listdir(str(tmp_path)) if name.startswith('.tmp-')]


@pytest.mark.slow
def test_training_and_what_follows_work_there_too(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text('import os\n' + FSYNC + """
def refuse(*args, **kwargs):
    raise OSError(errno.EPERM, 'not permitted')
os.link = os.chmod = os.utime = os.posix_fadvise = refuse
""")
    (tmp_path / 'tiny.yaml').write_text(TINY)
    environment = dict(os.environ, PYTHONPATH=str(tmp_path))
    for command in (['train.py', '--config', 'tiny.yaml', '--result-dir', 'results', '--set', 'metrics=[dummy]'],
                    ['train.py', '--resume', 'results/00000-tiny', '--set', 'train.total_kimg=0.3'],
                    ['generate.py', '--network', 'results/00000-tiny', '--seeds', '0-1', '--out', 'out', '--device',
                     'cpu'],
                    ['run_metrics.py', 'dummy', '--run', 'results/00000-tiny', '--all-snapshots', '--device', 'cpu']):
        process = subprocess.run([sys.executable, str(ROOT / command[0])] + command[1:], cwd=str(tmp_path),
                                 env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.returncode == 0, process.stderr.decode()
    assert (tmp_path / 'results' / '00000-tiny' / '_finished.txt').exists()
    assert (tmp_path / 'out' / 'sheet.png').exists()
