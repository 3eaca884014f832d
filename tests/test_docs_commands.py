"""Every command that README.md and docs/ show is run: in order, in a fresh folder, small stand-ins for big inputs."""

import gzip
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from prefilter_helpers import DETECTOR, make_tree, save_photo, use_detector
from test_command_lines import call, names_what_is_missing
from test_dataset_converters import dump, encoded, idx, make_lmdb, picture
from test_docs import DOCS, ROOT, commands

from dnnlib.util import UserError

# Documents whose commands need nothing that a stand-in cannot give; others name what is missing.
ALL_DONE = ('datasets.md', 'prefilter.md')
# Those of CONTRIBUTING.md have a test that follows them, and those of explore.md start servers.
ELSEWHERE = ('CONTRIBUTING.md', 'explore.md')
TESTED_ELSEWHERE = ('train.py doctor', 'dnnlib.tflib.launch', 'experiment.studies.paper_demo')
NAMES = {'DATASET_DIR': 'datasets/toyfaces-64', 'DATASET_DIR_A': 'datasets/toyfaces-64', 'OUTPUT_DIR': 'pictures',
         'DATASET_DIR_B': 'datasets/toyfaces-64', 'NAME': 'demo', '5000': '12', '20000': '12'}


def shortened(page, words):
    """A command with small numbers, and without what trains for hours; None for those that have tests of their own."""
    words = [os.path.expanduser(NAMES.get(word, word)) for word in words]
    if page in TESTED_ELSEWHERE or any('[' in word or word == '--align' for word in words):
        return None
    is_looking = words and (words[0].startswith('--list') or '--print-config' in words)
    if words and page == 'train.py' and not is_looking or page.endswith('lecture'):
        return [word for word in words if word != '--probe'] + ['--dry-run']
    if page.endswith('create_mnistrgb'):
        return words + ['--num_images', '20']
    return words


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A fresh folder, in which and in whose HOME lies what the documents convert; no network."""
    import config as folders
    from dnnlib.artifacts import store

    def get(name, *_args, **_kwargs):
        raise UserError(f'{getattr(name, "name", name)} cannot be downloaded here')

    use_detector(monkeypatch, DETECTOR)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(store, 'get', get)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.chdir(tmp_path)
    for name, folder in (('data', 'datasets'), ('result', 'results'), ('cache', 'cache')):
        monkeypatch.setattr(folders, f'{name}_dir', str(tmp_path / folder))
    return tmp_path


def make_photographs(folder):
    """Photographs, labels, archives and class folders under the names that the documents give them."""
    for name in ('photos', 'img_celeba', 'celeba-hq-1024', 'CelebA-HQ-img', 'images1024x1024'):
        for number in range(1, 4):
            size = (80, 100) if name in ('photos', 'img_celeba') else (64, 64)
            save_photo(folder / name / f'{number:06d}.png', seed=number, size=size)
    for name in ('CASIA-WebFace', 'VGGFace2'):
        make_tree(folder / name, 6)
    rows = [f'{number:06d}.jpg 1 -1' for number in range(1, 4)]
    (folder / 'list_attr_celeba.txt').write_text('3\nSmiling Male\n' + '\n'.join(rows) + '\n')
    (folder / 'CelebAMask-HQ-attribute-anno.txt').write_text((folder / 'list_attr_celeba.txt').read_text())
    (folder / 'image_list.txt').write_text('idx orig_idx orig_file\n' + ''.join(
        f'{number} {number - 1} {number:06d}.jpg\n' for number in range(1, 4)))
    for number in range(1, 4):
        path = folder / 'celeba' / 'img_align_celeba_png' / f'{number:06d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(178, 218, number).save(str(path))
    shutil.copy(str(folder / 'list_attr_celeba.txt'), str(folder / 'celeba'))
    with zipfile.ZipFile(str(folder / 'img_align_celeba.zip'), 'w') as archive:
        for number in range(1, 4):
            archive.write(str(folder / 'photos' / f'{number:06d}.png'), f'img_align_celeba/{number:06d}.png')
    subprocess.check_call(['tar', 'czf', 'lfw.tgz', 'VGGFace2'], cwd=str(folder))


def make_arrays(folder):
    """Data sets of other forms under the names that the documents give them."""
    import h5py

    from dnnlib.tflib import tf
    rng = np.random.RandomState(1)
    with h5py.File(str(folder / 'celeba-hq-1024x1024.h5'), 'w') as file:
        file['data32x32'] = rng.randint(256, size=[3, 3, 32, 32]).astype(np.uint8)
    for name in ('bedroom_train_lmdb', 'cat_lmdb', 'car_lmdb'):
        make_lmdb(folder / name, [(f'key{i}'.encode(), encoded(picture(600, 450, i))) for i in range(2)])
    (folder / 'MNIST').mkdir()
    for name, array in (('train-images-idx3', rng.randint(256, size=[9, 28, 28])), ('train-labels-idx1', np.arange(9))):
        (folder / 'MNIST' / f'{name}-ubyte.gz').write_bytes(gzip.compress(idx(array.astype(np.uint8))))
    rows, classes = rng.randint(256, size=[3, 3072]).astype(np.uint8), [1, 2, 3]
    for number in range(1, 6):
        dump(folder / 'cifar-10-batches-py' / f'data_batch_{number}', dict(data=rows, labels=classes))
    dump(folder / 'cifar-10-batches-py' / 'batches.meta', dict(label_names=list('abcdefghij')))
    dump(folder / 'cifar-100-python' / 'train', dict(data=rows, fine_labels=classes))
    for number in range(1, 4):
        dump(folder / 'svhn' / f'train_{number}.pkl', (rows.reshape(3, 3, 32, 32), np.array(classes, np.uint8)))
    with tf.io.TFRecordWriter(str(folder / 'flowers.tfrecords')) as writer:
        for number in range(3):
            stream = io.BytesIO()
            picture(40, 40, number).save(stream, 'PNG')
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[stream.getvalue()]))
            writer.write(tf.train.Example(features=tf.train.Features(feature={'image': feature})).SerializeToString())


@pytest.mark.slow
@pytest.mark.parametrize('path', [path for path in DOCS if path.name not in ELSEWHERE], ids=lambda path: path.name)
def test_the_commands_of_a_page_run_in_order_or_name_what_is_missing(path, sources, capsys):
    """Trainings are planned only; some are run below."""
    if path.name in ALL_DONE + ('lecture.md', 'README.md'):
        make_photographs(sources)
        make_arrays(sources)
    for page, words in commands(path):
        words = shortened(page, words)
        if not words:
            continue
        capsys.readouterr()
        try:
            status = call([page.split()[0]] + words)
        except UserError as err:
            status, printed = 2, str(err)
        except SystemExit:
            if 'arguments are required' not in capsys.readouterr().err:  # else it is named within a sentence
                raise
            continue
        else:
            printed = ''.join(capsys.readouterr())
        is_plan_of_table = page.startswith('run_metrics.py table') and 'missing' in printed
        assert not status or path.name not in ALL_DONE and (names_what_is_missing(printed) or is_plan_of_table), \
            (' '.join(words), status, printed)


# ---- Python in the documents


def python_of(path):
    """The blocks of Python in a document, in their order, as one program."""
    return '\n'.join(re.findall(r'^```python\n(.*?)^```$', path.read_text(encoding='utf-8'), re.M | re.S))


@pytest.mark.parametrize('path', [
    pytest.param(path, id=path.name, marks=[pytest.mark.slow] if path.name == 'metrics.md' else [])
    for path in DOCS if python_of(path) and path.name != 'CONTRIBUTING.md'])
def test_the_python_of_a_page_runs_as_it_stands(path, sources, request, fresh_graph):
    """Beside runs, a network and a data set of the names that it gives."""
    from metrics import presets
    old_run = str(ROOT / 'tests' / 'data' / 'run-of-2b34ccf')
    for name in ('00000-demo', '00012-demo'):
        shutil.copytree(old_run, str(sources / 'results' / name))
    if "'network.pkl'" in python_of(path):
        shutil.copy(str(request.getfixturevalue('little_network')), 'network.pkl')
        shutil.copytree(str(request.getfixturevalue('faces')), str(sources / 'datasets' / 'mine'))
    before = dict(presets.fid50k)
    presets.fid50k.update(num_images=20, minibatch_per_gpu=10)
    space = {}
    try:
        exec(compile(python_of(path), path.name, 'exec'), space)
    finally:
        presets.fid50k.clear()
        presets.fid50k.update(before)
    if 'images' in space:
        assert space['images'].shape == (4, 8, 8, 3) and space['images'].dtype == np.uint8
    if 'record' in space:
        assert space['record']['metric'] == 'fid50k' and space['record']['value'] > 0
    assert {'images', 'record', 'out'} & set(space)


# ---- What a newcomer types, in processes of its own


def lines(text):
    """The commands of a text, as they stand there, without comments."""
    found = re.findall(r'^(?:    )?(\./reproduce .*)$', text, re.M)
    return [shlex.split(line, comments=True)[1:] for line in found]


def run_all(folder, all_words, instead, home):
    """Runs commands in order by the entry script. Returns all that they printed.

    instead: what is put behind commands that begin with certain words, so that they end within seconds.
    """
    environment = dict(
        os.environ, HOME=str(home), STYLEGAN_PYTHON=sys.executable, STYLEGAN_DATA_DIR=str(folder / 'datasets'),
        STYLEGAN_RESULT_DIR=str(folder / 'results'), STYLEGAN_CACHE_DIR=str(folder / 'cache'),
        OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1')
    printed = ''
    for words in all_words:
        words = [word.replace('~', str(home), 1) if word.startswith('~/') else NAMES.get(word, word) for word in words]
        line = ' '.join(words)
        words += ' '.join(more for begin, more in instead.items() if line.startswith(begin)).split()
        process = subprocess.run([sys.executable, str(ROOT / 'reproduce')] + words, cwd=str(folder), env=environment,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        printed += process.stdout
        assert process.returncode == 0, (words, process.stdout[-3000:])
    return printed


@pytest.mark.slow
def test_the_lecture_s_page_trains_measures_and_draws(tmp_path):
    make_lmdb(tmp_path / 'bedroom_train_lmdb', [(f'key{i}'.encode(), encoded(picture(90, 70, i))) for i in range(6)])
    text = (ROOT / 'docs' / 'lecture.md').read_text(encoding='utf-8')
    small = '--set metrics=[] --set G.ngf=4 --set D.ndf=4 --set train.total_kimg=0.128 --set sched.tick_kimg_base=0.064'
    printed = run_all(tmp_path, lines(text), {
        'train --config minimal-gan': '--set train.total_kimg=2 --set sched.tick_kimg_base=1 --set metrics=[]',
        'train --config gan2014': '--set train.total_kimg=2 --set sched.tick_kimg_base=1',
        'train --config dcgan': small, 'lecture': '--distributions ring --sizes 2 --minibatches 200',
        'lecture --distributions': '--dry-run'}, tmp_path)
    assert 'jsd_floor' in printed and 'mode_coverage_modes' in printed and 'left: about' in printed
    assert (tmp_path / 'results' / 'lecture' / 'sheet.png').is_file()
    assert (tmp_path / 'results' / 'nearest' / 'nearest.png').is_file()
    assert len(list((tmp_path / 'results').glob('*/network-final.pkl'))) == 4


@pytest.mark.slow
def test_a_folder_of_odd_photographs_is_trained_on_drawn_and_scored_by_the_words_of_the_readme(tmp_path, reference_dir):
    """Small and grey portraits, scenes with no face or many, and files that are no pictures any more."""
    photographs = tmp_path / 'photos'
    for folder, count in (('photos/portraits-small', 20), ('photos/portraits-grey', 6), ('photos/scenes', 6),
                          ('bad-images', 20)):
        for path in sorted((reference_dir / 'data' / folder).iterdir())[:count]:
            (photographs / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(str(path), str(photographs / folder))
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    section = text.partition('## Train on your own photographs')[2].partition('## ')[0]
    printed = run_all(tmp_path, lines(section), {
        'train --config': '--device cpu --set metrics=[] --set train.total_kimg=0.128 --set sched.tick_kimg_base=0.128 '
                          '--set sched.minibatch_base=8 --set sched.minibatch_dict={} --set G.fmap_base=256 --set '
                          'D.fmap_base=256 --set train.minibatch_repeats=1 --set grid.size=1x1',
        'train --resume': '--set train.total_kimg=0.256', 'metrics fid50k': '--features standin --num-samples 8',
        'metrics fid,kid,pr': '--features standin'}, tmp_path)
    assert len(list((tmp_path / 'results' / 'images').glob('seed*.png'))) == 100
    assert 'fid50k' in printed and 'stand-in' in printed
    assert len(list((tmp_path / 'datasets' / 'faces-256').glob('*.tfrecords'))) == 7
