"""Where the papers and the released code part: each choice changes the score, is recorded, and is explained."""

import contextlib
import types

import numpy as np
import pytest
from metric_helpers import make_faces, make_network, some_record

import run_metrics
from metrics.context import Context
from metrics.jobs import Job
from metrics.perceptual_path_length import PPL
from metrics.presets import preset
from metrics.scores import explain, records, standard, store
from training.network_files import best
from training.network_files.locate import locate

pytestmark = pytest.mark.usefixtures('no_downloads')


@pytest.fixture(scope='module')
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp('options')
    (folder / 'little').mkdir()     # for what is no path length
    return folder, make_faces(folder), make_network(folder), make_network(folder / 'little', resolution=8)


def measure(material, name, *words):
    folder, faces, *networks = material
    network = networks[name == 'fid50k']
    out = folder / '-'.join(['out', *words]).replace('--', '')
    assert run_metrics.main([name, '--network', network, '--dataset', faces, '--num-samples', '40', '--features',
                             'standin', '--out', str(out), '--device', 'cpu', *words]) == 0
    return records.read_record(str(out / f'{name}.json')), out


def test_reals_are_the_first_ones_or_drawn_with_the_seed(material, capsys):
    usual, out = measure(material, 'fid50k')
    drawn, _ = measure(material, 'fid50k', '--fid-reals', 'random')
    assert usual['settings']['reals'] == 'order' and drawn['settings']['reals'] == 'random'
    assert drawn['value'] != usual['value']
    assert 'reals random' in capsys.readouterr().out
    lines = '\n'.join(explain.compare(usual, drawn))
    assert 'settings.reals: order | random  -- the reals were the first of the data set' in lines
    # A record that does not name the choice was measured as the released code does, and is not measured again.
    old = dict(usual, settings={key: value for key, value in usual['settings'].items() if key != 'reals'})
    assert best.protocol_of(old) == best.protocol_of(usual) != best.protocol_of(drawn)
    assert store.protocol_hash(old) == store.protocol_hash(usual)
    assert 'settings' not in '\n'.join(explain.compare(old, usual))
    records.write_record(str(out / 'fid50k.json'), old)
    for reals, is_done in (('order', True), ('random', False)):
        spec = preset('fid50k', options={'reals': reals}, num_images=40)
        job = Job([spec], locate(material[3]), str(out), features='standin',
                  dataset_args=dict(tfrecord_dir=material[1]), feature_settings={'classifier_blur': True})
        assert (job.done(job.metrics[0]) is not None) == is_done


def test_each_seed_draws_an_order_of_its_own_in_which_every_real_comes_once(material):
    generator = types.SimpleNamespace(input_shapes=[[None, 4]], num_inputs=1, output_shape=[None, 3, 32, 32])
    located = types.SimpleNamespace(name='made up', path='', sha256='')
    orders = []
    for seed in (0, 0, 1):
        data = dict(tfrecord_dir=material[1])
        with contextlib.closing(Context(generator, located, 'standin', data, seed=seed)) as ctx:
            drawn, first = ([image.tobytes() for part in (0, 1) for image in ctx.reals(part, 40, at_random=at_random)]
                            for at_random in (True, False))
        orders.append(drawn)
    assert orders[0] == orders[1] != orders[2] and first not in orders
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(first)


def test_reals_are_mirrored_at_random_where_training_mirrored_them(material):
    generator = types.SimpleNamespace(input_shapes=[[None, 4]], num_inputs=1, output_shape=[None, 3, 32, 32])
    located = types.SimpleNamespace(name='made up', path='', sha256='')
    found = []
    for mirror in (False, True, True):
        with contextlib.closing(Context(generator, located, 'standin', dict(tfrecord_dir=material[1]),
                                        mirror_augment=mirror)) as ctx:
            found.append(ctx.reals(0, 80))
    plain, mirrored, again = found
    is_flipped = (mirrored == plain[..., ::-1]).all(axis=(1, 2, 3))
    assert 25 < is_flipped.sum() < 55 and np.array_equal(mirrored[~is_flipped], plain[~is_flipped])
    assert np.array_equal(mirrored, again)


def test_path_lengths_keep_the_extremes_and_take_both_ends_where_that_is_asked_for(material):
    usual, _ = measure(material, 'ppl_wend')
    asked, _ = measure(material, 'ppl_wend', '--ppl-rejection', 'no', '--ppl-ends', '01')
    distances = np.append(np.ones(300), 1e6)
    for rejection, value in ((True, 1.0), (False, np.mean(distances))):
        metric = PPL(**dict(asked['settings'], name='ppl', rejection=rejection))
        assert metric._score(distances, 0).values[''] == pytest.approx(value)
    assert usual['settings']['ends'] == 'start' and usual['settings']['rejection'] is True
    assert sorted(standard.unusual(asked)) == ['ends both', 'rejection no']
    assert asked['value'] == asked['details']['mean_without_rejection']
    assert usual['details']['mean_without_rejection'] != asked['value']     # which is of either end of the paths
    lines = '\n'.join(explain.compare(usual, asked))
    assert 'settings.ends: start | both  -- steps at the beginning' in lines
    assert 'settings.rejection: True | False' in lines


@pytest.mark.both
def test_steps_begin_at_either_end_or_at_the_first_only():
    def places(sampling, **settings):
        metric = PPL(name='ppl', num_samples=64, epsilon=1e-4, space='w', sampling=sampling, minibatch_per_gpu=64,
                     **settings)
        return metric._places(np.random.RandomState(0))
    assert set(places('end', ends='both').ravel()) == {0.0, 1.0}
    assert set(places('end').ravel()) == {0.0}
    assert len(set(places('full', ends='both').ravel())) == 64


def test_classifiers_with_and_without_blur_are_told_apart():
    with_blur, without = (some_record(metric='ls', feature_networks={'classifier-0': dict(
        name='classifier of male', built_as=f'D_basic {word} blur (setting classifier_blur)')})
        for word in ('with', 'without'))
    line, = [line for line in explain.compare(with_blur, without) if 'built_as' in line]
    assert 'feature_networks.classifier-0.built_as' in line and 'see --classifier-blur' in line


def test_tables_take_the_released_codes_choices_unless_told_otherwise():
    assert preset('fid50k')['reals'] == 'order' and preset('ppl_zend')['ends'] == 'start'
    changed = dict(reals='random', ends='both', rejection=False)
    assert preset('fid50k', options=changed)['reals'] == 'random' and 'ends' not in preset('fid50k', options=changed)
    assert preset('ppl_zend', options=changed)['rejection'] is False
    assert 'reals' not in preset('kid50k', options=changed)
    assert standard.unusual(some_record()) == []
