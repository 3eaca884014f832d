"""Disks too small for what is asked: one sentence, status 2, and nothing half-written, on a real small file system."""

import pathlib
import resource
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from conftest import new_session
from generator_helpers import save_networks
from test_train_cli import TINY

ROOT = pathlib.Path(__file__).resolve().parent.parent
MOUNT = 'mount -t tmpfs -o size="$1" tmpfs "$2" || exit 99'
# Within a namespace of its own the mount ends with the program, so what is left on it must be listed before.
IN_NAMESPACE = MOUNT + '; disk="$2"; shift 2; "$@" > /dev/null; status=$?; find "$disk" -mindepth 1; exit $status'


class SmallDisk:
    """A folder that holds so many bytes: a small file system where one can be mounted, else a limit for each file."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.wrapper = None
        for wrapper in (['unshare', '--user', '--map-root-user', '--mount'], ['unshare', '--mount']):
            probe = wrapper + ['sh', '-c', MOUNT, 'sh', '64k', str(folder)]
            try:
                if subprocess.call(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
                    self.wrapper = wrapper
                    break
            except OSError:
                pass  # no such program

    def run(self, size, *command):
        """Runs Python with this disk. Returns (status, stderr, paths on the disk afterwards)."""
        command = [sys.executable] + [str(part) for part in command]
        if self.wrapper is None:
            process = subprocess.Popen(
                command, cwd=str(ROOT), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size // 4, size // 4)))
            _, err = process.communicate(timeout=300)
            return process.returncode, err, [str(path) for path in self.folder.rglob('*')]
        wrapped = self.wrapper + ['sh', '-c', IN_NAMESPACE, 'sh', str(size), str(self.folder)] + command
        process = subprocess.Popen(wrapped, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   universal_newlines=True)
        out, err = process.communicate(timeout=300)
        return process.returncode, err, out.split()


@pytest.fixture
def disk(tmp_path):
    return SmallDisk(tmp_path / 'disk')


def unforeseen(check, main, *args):
    """Arguments of Python that run a command without its check of free space, as when others fill the disk."""
    module, function = check.rsplit('.', 1)
    return ['-c', f'import {module}\n{module}.{function} = lambda *args: None\nimport {main.rsplit(".", 1)[0]}\n'
            f'from dnnlib.util import run_main\nrun_main(lambda: {main}({[str(arg) for arg in args]!r}))']


def assert_refused(outcome, *words, nothing_but=()):
    status, err, left = outcome
    assert status == 2, err
    lines = err.strip().splitlines()
    assert lines[-1].startswith('error: ') and 'Traceback' not in err
    assert all(word in lines[-1] for word in words), err
    assert left == list(nothing_but)


@pytest.fixture
def pictures(tmp_path):
    """A folder with 40 pictures, whose TFRecords take 680 kB."""
    (tmp_path / 'pictures').mkdir()
    for index in range(40):
        pixels = np.random.RandomState(index).randint(256, size=[64, 64, 3]).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(str(tmp_path / 'pictures' / f'{index}.png'))
    return tmp_path / 'pictures'


def test_a_data_set_that_does_not_fit_is_refused_before_it_is_begun(disk, pictures):
    if disk.wrapper is None:
        pytest.skip('needs a small file system, which only unshare and mount can make')
    assert_refused(disk.run(200000, 'dataset_tool.py', 'create_from_images', disk.folder / 'set', pictures),
                   'has only', 'free some space')


@pytest.mark.parametrize('workers', [1, 2])
def test_a_disk_that_fills_up_leaves_nothing_of_a_data_set(disk, pictures, workers):
    args = unforeseen('data.converters.exporter.check_free_space', 'data.commands.main', 'create_from_images',
                      disk.folder / 'set', pictures, '--workers', workers)
    assert_refused(disk.run(200000, *args), 'no space left on the disk', str(disk.folder / 'set'))


def test_a_run_that_does_not_fit_is_refused_before_its_directory_appears(disk, tmp_path):
    if disk.wrapper is None:
        pytest.skip('needs a small file system, which only unshare and mount can make')
    (tmp_path / 'tiny.yaml').write_text(TINY)
    assert_refused(disk.run(200000, 'train.py', '--config', tmp_path / 'tiny.yaml', '--result-dir',
                            disk.folder / 'results'), 'of free disk space; a run needs', '--result-dir')


def test_a_disk_that_fills_up_at_the_start_leaves_nothing_of_a_run(disk, tmp_path):
    (tmp_path / 'tiny.yaml').write_text(TINY)
    args = unforeseen('experiment.checks.check_disk', 'train.main', '--config', tmp_path / 'tiny.yaml',
                      '--result-dir', disk.folder / 'results')
    assert_refused(disk.run(400000 if disk.wrapper else 40000, *args), 'no space left on the disk', 'results',
                   nothing_but=[str(disk.folder / 'results')])


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    with new_session():
        return save_networks(tmp_path_factory.mktemp('networks'))


@pytest.mark.parametrize('size, script, out', [
    (40000, 'dnnlib.tflib.convert', 'out.npz'), (40000, 'dnnlib.tflib.convert', 'out.safetensors'),
    (40000, 'figures.exporting', 'saved'), (20000, 'generate', 'videos')])
def test_networks_and_videos_that_do_not_fit_leave_nothing(disk, networks, size, script, out):
    where = disk.folder / out
    video = ['--network', networks['plain'], '--seeds', '1,2', '--video', 'interpolation', '--outdir', where]
    args = video + ['--seconds', '20'] if script == 'generate' else [networks['plain'], where]
    code = f'import {script} as script\nfrom dnnlib.util import run_main\n' \
           f'run_main(lambda: script.main({[str(arg) for arg in args]!r}))'
    if disk.wrapper is None and script != 'dnnlib.tflib.convert':
        pytest.skip('no small file system can be mounted here, and other programs write these files')
    assert_refused(disk.run(size, '-c', code), 'no space left on the disk')


def test_features_that_do_not_fit_into_the_temporary_folder_are_a_sentence_and_no_sigbus(disk):
    def keep(rows):
        return disk.run(200000, '-c', f'import tempfile\ntempfile.tempdir = {str(disk.folder)!r}\n'
                        'from dnnlib.array_files import temporary_array\nfrom dnnlib.util import run_main\n'
                        f'run_main(lambda: temporary_array([{rows}, 1000], "float32", "features").fill(1))')

    assert keep(10) == (0, '', [])
    assert_refused(keep(200), '1 MB of features cannot be kept in', str(disk.folder), 'TMPDIR')
