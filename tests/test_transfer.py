"""Networks of another resolution, label size or number of channels begin a run as far as they fit."""

import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import new_session

import train
from dataset_tool import main as dataset_tool
from dnnlib import tflib
from dnnlib.util import UserError
from experiment import engine_checks
from training import misc
from training.network_files import labels, locate
from training.state import run_state, transfer

SMALL = dict(fmap_base=64, fmap_max=8)
STYLE = dict(SMALL, latent_size=8, dlatent_size=8, mapping_fmaps=8, mapping_layers=2)


def networks(resolution, channels=3, label_size=0, name=''):
    shape = dict(num_channels=channels, resolution=resolution, label_size=label_size)
    G = tflib.Network('G' + name, 'training.networks_stylegan.G_style', **shape, **STYLE)
    D = tflib.Network('D' + name, 'training.networks_stylegan.D_basic', mbstd_group_size=2, **shape, **SMALL)
    return [G, D, G.clone('Gs' + name)]


def store(folder, resolution=8):
    """(path of a snapshot, its G), made in the session that is open."""
    nets = networks(resolution)
    for net in nets:
        rnd = np.random.RandomState(1)
        tflib.set_vars({var: 0.3 * rnd.randn(*var.shape.as_list()) for key, var in net.vars.items()
                        if key.rpartition('/')[2] != 'lod'})
    path = str(folder / 'old.pkl')
    misc.save_pkl(tuple(nets), path)
    return path, nets[0]


@pytest.fixture
def stored(tmp_path):
    """(path of a snapshot of 8x8, its G); a session is open."""
    with new_session():
        yield store(tmp_path)


@pytest.mark.both
def test_a_larger_generator_makes_the_same_pictures_before_its_new_layers_fade_in(stored, capsys):
    path, old = stored
    nets = networks(16, name='_new')
    tflib.init_uninitialized_vars()
    before = nets[0].get_var('G_synthesis/16x16/Conv1/weight')
    transfer.begin_from(nets, path)
    printed = capsys.readouterr().out
    assert 'Initial G_new: ' in printed and 'G_synthesis/ToRGB_lod1 (weight bias)' in printed
    anew = next(line for line in printed.splitlines() if line.startswith('  starts anew: '))
    assert 'G_synthesis/16x16/Conv1 (' in anew and 'ToRGB_lod0 (' in anew and 'noise4' in anew and '8x8' not in anew
    np.testing.assert_array_equal(nets[0].get_var('G_synthesis/16x16/Conv1/weight'), before)
    z = np.random.RandomState(0).randn(2, 8)
    nets[2].set_var('lod', 1.0)
    nets[2].components.synthesis.set_var('lod', 1.0)
    small = old.run(z, None, truncation_psi=1, randomize_noise=False)
    large = nets[2].run(z, None, truncation_psi=1, randomize_noise=False)
    np.testing.assert_allclose(large, small.repeat(2, axis=2).repeat(2, axis=3), atol=1e-5)


def test_smaller_networks_labels_and_channels_say_what_does_not_fit(stored):
    path, _ = stored
    for kwargs, new, left in (
            (dict(resolution=4), (), ('8x8/Conv1/weight', 'ToRGB_lod0 of 8x8/weight')),
            (dict(resolution=8, label_size=3), ('G_mapping/LabelConcat/weight', 'G_mapping/Dense0/weight'),
             ('G_mapping/Dense0/weight',)),
            (dict(resolution=8, channels=1), ('ToRGB_lod0/weight', 'ToRGB_lod0/bias'), ('ToRGB_lod0/weight',))):
        with new_session():
            shapes = run_state.shapes_of(networks(**kwargs))
        parts = transfer.plan(*locate.read_snapshot(path), shapes, kwargs['resolution'])
        for names, found in ((new, parts[0].new), (left, parts[0].left)):
            assert all(any(text.endswith(name) for text in found) for name in names), (names, found)
            assert len(found) <= 30
        assert all('4x4/Const/const' not in part.new for part in parts)
        assert all(list(np.shape(value)) == shapes[part.name][key] for part in parts for key, value in
                   part.values.items())


def test_networks_of_another_kind_are_refused(stored):
    path, _ = stored
    with new_session():
        shapes = {name: {'dense/weight': [3, 3]} for name in ('G', 'D', 'Gs')}
    with pytest.raises(UserError, match='nothing of G in .* fits'):
        transfer.plan(*locate.read_snapshot(path), shapes, 8)


def test_the_command_line_lists_copies_and_trains(tmp_path, capsys):
    with new_session():
        path, _ = store(tmp_path, 4)
    dataset_tool(['create_toyfaces', str(tmp_path / 'data' / 'faces'), '--resolution', '16', '--num', '20'])
    words = ['--config', 'demo', '--init-from', path, '--data-dir', str(tmp_path / 'data'), '--result-dir',
             str(tmp_path / 'results'), '--device', 'cpu']
    for setting in ('dataset.tfrecord_dir=faces', 'dataset.resolution=8', 'metrics=[]', 'train.total_kimg=0.016',
                    'sched.minibatch_dict={}', 'sched.minibatch_base=4', 'grid.size=2x2',
                    'sched.lod_initial_resolution=8', 'D.mbstd_group_size=2',
                    *(f'{net}.{key}={value}' for net in 'GD' for key, value in SMALL.items()),
                    *(f'G.{key}={value}' for key, value in STYLE.items() if key not in SMALL)):
        words += ['--set', setting]
    with pytest.raises(UserError, match='--init-from: .*missing there.*only what fits with --transfer'):
        train.main(words + ['--dry-run'])
    train.main(words + ['--transfer', '--dry-run'])
    printed = capsys.readouterr().out
    assert re.search('starts anew: .*G_synthesis/8x8/Conv1 ', printed) and 'has no place here' not in printed
    assert not os.path.exists(str(tmp_path / 'results'))
    train.main(words + ['--transfer'])
    run_dir = str(tmp_path / 'results' / '00000-demo')
    with open(os.path.join(run_dir, 'log.txt'), encoding='utf-8') as log:
        assert 'Initial Gs: ' in log.read()
    assert os.path.isfile(os.path.join(run_dir, 'network-final.pkl'))


def test_labels_that_mean_something_else_are_told(tmp_path, capsys):
    path = str(tmp_path / 'network-final.pkl')
    labels.LabelDistribution(np.eye(2), [1, 1], ['cat', 'dog']).save(str(tmp_path / labels.FILE))
    for names, words in ((['cat', 'dog'], ''), (None, ''), (['dog', 'cat'], "label 0 as 'cat', here it is 'dog'"),
                         (['cat', 'dog', 'owl'], '2 labels, here are 3')):
        engine_checks._tell_other_labels(path, SimpleNamespace(label_size=2, label_names=names))
        out = capsys.readouterr().out
        assert words in out and bool(out) == bool(words)
    engine_checks._tell_other_labels(path, SimpleNamespace(label_size=0, label_names=['owl']))
    assert capsys.readouterr().out == ''
