"""Metrics on a tiny generator and drawn faces, with stand-in networks: protocol, records, repeatability, honesty."""

import json
import os
import subprocess
import sys
import types

import foreign_metric
import numpy as np
import pytest
from conftest import ROOT

from data.converters.create_toyfaces import create_toyfaces
from data.records.dataset import load_dataset
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import EasyDict, UserError, call_func_by_name
from metrics import arithmetic, context, features, linear_separability, metric_base
from metrics import perceptual_path_length as path_length
from metrics.context import open_context
from metrics.group import MetricGroup, make_metric
from metrics.presets import preset
from metrics.scores import records
from metrics.scores.result import Result
from training import misc

TINY = dict(num_channels=3, resolution=32, label_size=0, fmap_base=64, fmap_max=8, latent_size=12, dlatent_size=12,
            mapping_fmaps=12, mapping_layers=2, structure='fixed')
# Graphs that run a few times are not worth optimizing.
SESSION = {'graph_options.rewrite_options.disable_meta_optimizer': True}
FAST = dict(fid50k=dict(num_images=96, minibatch_per_gpu=8), ppl_wend=dict(num_samples=24, minibatch_per_gpu=8),
            ppl_zfull=dict(num_samples=24, minibatch_per_gpu=8),
            kid50k=dict(num_images=48, minibatch_per_gpu=8, num_subsets=4, subset_size=20),
            pr50k=dict(num_images=48, minibatch_per_gpu=8), fid50k_mix3=dict(num_images=96, minibatch_per_gpu=8),
            nearest=dict(num_images=4, minibatch_per_gpu=4),
            ls=dict(num_samples=80, num_keep=40, minibatch_per_gpu=8, attrib_indices=[0, 1]))


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    path = str(tmp_path_factory.mktemp('faces') / 'toy')
    create_toyfaces(path, resolution=32, num=100, workers=1)
    return path


def write_network(path, seed=1, change=None, **kwargs):
    """Stores (G, D, Gs) with a random generator whose images vary. `change` may alter the network first."""
    with tf.Graph().as_default(), tflib.create_session().as_default():
        tflib.select_device('cpu')
        tf.set_random_seed(seed)
        G = tflib.Network('G', 'training.networks_stylegan.G_style', **dict(TINY, **kwargs))
        # Noise strengths start at zero; without noise, half of the random numbers would not be tested.
        rng = np.random.RandomState(seed)
        tflib.set_vars({var: rng.rand(*var.shape.as_list()) for name, var in G.vars.items()
                        if name.endswith('Noise/weight')})
        if change is not None:
            change(G)
        misc.save_pkl((G, G.clone('D'), G.clone('Gs')), path)
    return path


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    return write_network(str(tmp_path_factory.mktemp('network') / 'network-snapshot-000007.pkl'))


@pytest.fixture(scope='module')
def little(tmp_path_factory):
    """Like `network` but of 8x8: built in half the time, too small for path lengths and classifiers."""
    return write_network(str(tmp_path_factory.mktemp('little') / 'network-snapshot-000007.pkl'), resolution=8)


def specs(*names):
    return [preset(name, **FAST[name]) for name in names]


def measure(names, network, faces=None, **kwargs):
    """{name: record} of metrics in their fast settings."""
    kwargs = dict(dict(cache_dir=None, tf_config=SESSION), **kwargs)
    args = None if faces is None else dict(tfrecord_dir=faces)
    found = MetricGroup(specs(*names)).run(network, dataset_args=args, features='standin', log_results=False, **kwargs)
    return {record['metric']: record for record in found}


@pytest.fixture(scope='module')
def scores(network, faces, tmp_path_factory):
    out_dir = str(tmp_path_factory.mktemp('out'))
    args = dict(tfrecord_dir=faces)
    MetricGroup(specs(*FAST)).run(network, dataset_args=args, out_dir=out_dir, cache_dir=None, seed=3,
                                 tf_config=SESSION)
    return {name: records.read_record(os.path.join(out_dir, name + '.json')) for name in FAST}


@pytest.mark.both
def test_every_metric_gives_finite_values_with_their_errors_and_whole_protocol(scores, network):
    for name, record in scores.items():
        for value in records.values_of(record).values():
            assert value is not None and np.isfinite(value), name
        for key in ('network', 'network_sha256', 'dataset_fingerprint', 'feature_networks', 'num_samples', 'seed',
                    'engine', 'seconds', 'settings', 'tensorflow', 'device', 'problems'):
            assert key in record, (name, key)
        assert record['network'] == 'network-snapshot-000007' and record['seed'] == 3
        assert record['is_standin'] and record['feature_networks']
        for feature in record['feature_networks'].values():
            assert 'stand-in' in feature['name'] and len(feature['file_sha256']) == 64
    assert scores['fid50k']['is_reduced'] and scores['fid50k']['standard_error'] > 0
    assert len(scores['fid50k']['dataset_fingerprint']) == 64 and scores['ppl_wend']['dataset_fingerprint'] is None
    assert set(scores['ls']['values']) == {'ls_z', 'ls_w'}
    assert set(scores['pr50k']['values']) == {'pr50k_precision', 'pr50k_recall'}
    assert scores['fid50k_mix3']['value'] != scores['fid50k']['value']


def test_scores_repeat_to_the_bit_and_do_not_depend_on_the_number_of_devices(scores, network, faces):
    names = ['fid50k', 'ppl_wend']
    again = measure(names, network, faces, seed=3)
    for name in names:
        assert again[name]['value'] == scores[name]['value'], name
    two = measure(names, network, faces, seed=3, num_gpus=2)
    for name in names:
        assert two[name]['value'] == pytest.approx(scores[name]['value'], rel=1e-5), name
    assert measure(['ppl_wend'], network, seed=4)['ppl_wend']['value'] != scores['ppl_wend']['value']


def test_fid_equals_the_distance_of_features_computed_one_by_one(scores, network, faces):
    with open_context(network, dataset_args=dict(tfrecord_dir=faces), features='standin', cache_dir=None,
                      seed=3, tf_config=SESSION) as ctx:
        net = ctx.features.inception().net
        reals = np.concatenate([ctx.dataset.get_samples_np([i % 100])[0] for i in range(96)])
        real = net.run(reals.astype(np.float32), minibatch_size=5)
        fake = np.concatenate([part for _, part in features.fake_features(ctx, 96, 8)])
    expected = arithmetic.frechet_distance(mu_real=real.mean(0), sigma_real=np.cov(real, rowvar=False),
                                           mu_fake=fake.mean(0), sigma_fake=np.cov(fake, rowvar=False))
    assert scores['fid50k']['value'] == pytest.approx(expected, rel=1e-4)


def test_statistics_of_reals_are_kept_by_content(little, faces, tmp_path, monkeypatch):
    cache, other = str(tmp_path / 'cache'), str(tmp_path / 'other')
    first = measure(['fid50k'], little, faces, cache_dir=cache)['fid50k']
    stored = os.listdir(os.path.join(cache, 'metrics'))
    assert len(stored) == 1

    def never(*_args):
        raise AssertionError('the features of reals were computed again')
    with monkeypatch.context() as patch:
        patch.setattr(features, 'real_features', never)
        assert measure(['fid50k'], little, faces, cache_dir=cache)['fid50k']['value'] == first['value']
        with pytest.raises(AssertionError):
            measure(['fid50k'], little, faces, cache_dir=cache, mirror_augment=True)
    # Another content under the same folder name must not be taken for the same data set.
    create_toyfaces(other, resolution=32, num=100, seed=9, workers=1)
    second = measure(['fid50k'], little, other, cache_dir=cache)['fid50k']
    assert second['value'] != first['value'] and len(os.listdir(os.path.join(cache, 'metrics'))) == 2
    # A damaged file is replaced.
    path = os.path.join(cache, 'metrics', stored[0])
    with open(path, 'r+b') as file:
        file.truncate(1000)
    assert measure(['fid50k'], little, faces, cache_dir=cache)['fid50k']['value'] == first['value']
    assert os.path.getsize(path) > 1000


def test_path_length_does_not_depend_on_a_small_step(network):
    """The distance is quadratic in the step, and both ends of a step see the same noise."""
    values = []
    for epsilon in (1e-3, 3e-3):
        spec = preset('ppl_wend', num_samples=16, minibatch_per_gpu=8, epsilon=epsilon)
        with open_context(network, features='standin', cache_dir=None, tf_config=SESSION) as ctx:
            values.append(make_metric(spec).run_in(ctx, log_results=False)['value'])
    assert values[0] == pytest.approx(values[1], rel=0.2)


def test_path_length_crops_the_face_and_averages_large_images_down(fresh_graph):
    image = np.random.RandomState(0).uniform(-1, 1, [1, 3, 1024, 1024]).astype(np.float32)
    prepared = tflib.run(path_length.prepare_images(tf.constant(image)))
    crop = image[:, :, 384:896, 256:768]
    expected = (crop.reshape(1, 3, 256, 2, 256, 2).mean(axis=(3, 5)) + 1) * 127.5
    np.testing.assert_allclose(prepared, expected, atol=1e-3)
    with pytest.raises(context.MetricFailure, match='at least 32 pixels; these are 16x16'):
        path_length.prepare_images(tf.zeros([1, 3, 16, 16]))


def test_stored_noise_changes_with_every_chunk_and_is_shared_within_one(network):
    with open_context(network, features='standin', cache_dir=None, tf_config=SESSION) as ctx:
        noise = path_length.noise_variables(ctx.Gs)
        assert [var.shape.as_list()[-1] for var in noise] == [4, 4, 8, 8, 16, 16, 32, 32]
        seen = []
        metric = make_metric(preset('ppl_wend', num_samples=8, minibatch_per_gpu=8))
        for seed in (0, 0, 1):
            ctx.seed = seed
            metric.run_in(ctx, log_results=False)
            seen.append(tflib.run(noise[3]))
    assert np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[1], seen[2])
    assert abs(np.mean(seen[0])) < 0.5 and 0.5 < np.std(seen[0]) < 1.5


def test_scores_are_of_images_without_truncation_and_with_the_noise_of_the_protocol(little):
    with open_context(little, features='standin', cache_dir=None, tf_config=SESSION) as ctx:
        shapes = dict(latents=[2, ctx.latent_size], start=[2, ctx.latent_size], end=[2, ctx.latent_size], t=[2, 1, 1])
        holders = dict({name: tf.placeholder(tf.float32, shape) for name, shape in shapes.items()},
                       seed=tf.placeholder(tf.int32, [2]))
        rng = np.random.RandomState(2)
        feed = {holders[name]: rng.rand(*shape) for name, shape in shapes.items()}
        fresh = ctx.build_images(0, holders)
        stored = [make_metric(name)._build_path_images(ctx, 0, holders) for name in ('ppl_zend', 'ppl_wfull')]

        def drawn(seed):
            feed[holders['seed']] = [seed, 0]
            return tflib.run([fresh] + stored, feed)
        first, other = drawn(1), drawn(2)
        assert not np.array_equal(first[0], other[0])
        assert all(np.array_equal(*pair) for pair in zip(first[1:], other[1:]))
        tflib.set_vars({ctx.Gs.find_var('dlatent_avg'): np.full(12, 9.0)})
        assert all(np.array_equal(*pair) for pair in zip(first, drawn(1)))


def test_classified_images_have_fresh_noise(network, monkeypatch):
    with open_context(network, features='standin', cache_dir=None, tf_config=SESSION) as ctx:
        monkeypatch.setattr(ctx, 'latents', lambda chunk, count: np.ones([count, ctx.latent_size], np.float32))
        metric = make_metric(preset('ls', num_samples=8, num_keep=4, minibatch_per_gpu=8))
        logits, dlatents = metric._classify_samples(ctx, [0], True)
    assert np.array_equal(dlatents[0], dlatents[1]) and len(np.unique(logits)) == 8


def test_latents_of_kept_samples_are_those_that_were_classified(network):
    with open_context(network, features='standin', cache_dir=None, tf_config=SESSION) as ctx:
        metric = make_metric(preset('ls', num_samples=20, num_keep=10, minibatch_per_gpu=8))
        drawn = np.concatenate([ctx.latents(chunk, 8) for chunk in range(3)])
        rows = np.array([17, 3, 3, 8, 0])
        np.testing.assert_array_equal(metric._latents(ctx, rows), drawn[rows])


def test_separating_planes_are_found_and_failures_reported():
    samples = np.random.RandomState(0).randn(200, 5)
    targets = (samples[:, 0] > 0).astype(int)
    outputs, problem, _ = linear_separability.fit_svm(samples, targets, seed=0)
    assert problem is None and np.mean(outputs == targets) > 0.98
    outputs, problem, _ = linear_separability.fit_svm(samples, np.ones(200, int), seed=0)
    assert 'one class' in problem
    np.testing.assert_allclose(linear_separability.two_class_probabilities(np.float32([0, 1, -30])),
                               [[0.5, 0.5], [0.880797, 0.119203], [0, 1]], atol=1e-6)


def test_a_plane_that_cannot_be_fitted_is_named_and_the_others_count():
    rng = np.random.RandomState(0)
    samples = rng.randn(60, 3)
    ctx = EasyDict(seed=0, check_stop=lambda: None)
    metric = make_metric(preset('ls', num_samples=60, num_keep=40))
    result, failed = Result(), Result()
    result.details['attributes'] = failed.details['attributes'] = ['tall', 'human']
    noisy = samples[:, 0] + rng.randn(60)
    metric._fit_all(ctx, [('z', samples.__getitem__)], np.stack([noisy, np.full(60, 9.0)], axis=1), result)
    assert len(result.problems) == 1 and "'human' could not be fitted (all kept" in result.problems[0]
    assert result.values['_z'] > 1 and result.details['attributes_failed'] == ['human']
    with pytest.raises(context.MetricFailure, match='no separating plane'):
        metric._fit_all(ctx, [('z', samples.__getitem__)], np.full([60, 2], 9.0), failed)


def test_separability_is_one_bit_less_per_attribute_that_a_plane_tells():
    metric = make_metric(preset('ls', num_samples=400, num_keep=200))
    rng = np.random.RandomState(4)
    latents = rng.randn(400, 3)
    logits = np.stack([latents[:, 0], rng.randn(400)], axis=1)      # one that a plane in Z tells, one that none does
    result = Result()
    result.details['attributes'] = ['told', 'free']
    ctx = types.SimpleNamespace(seed=0, check_stop=lambda: None)
    metric._fit_all(ctx, [('z', lambda rows: latents[rows])], logits, result)
    told, free = result.details['conditional_entropies_bits']['z'].values()
    assert told < 0.1 and 0.9 < free <= 1
    assert result.values['_z'] == pytest.approx(2 ** (told + free))


def test_mixing_gives_every_latent_a_run_of_layers():
    rng = np.random.RandomState(0)
    for _ in range(50):
        owners = features.mixing_owners(rng, 8, 3)
        assert list(np.unique(owners)) == [0, 1, 2] and np.all(np.diff(owners) >= 0)


def test_too_few_reals_are_reported(scores):
    assert not scores['fid50k']['problems']
    # 100 faces suffice for 96 images, but repeating them does not make more.
    assert 'repeated' not in json.dumps(scores['fid50k'])


def test_repeated_reals_and_singular_statistics_are_reported(little, tmp_path):
    path = str(tmp_path / 'few')
    create_toyfaces(path, resolution=32, num=40, workers=1)
    record = measure(['fid50k'], little, path)['fid50k']
    assert any('only 40 images' in text for text in record['problems'])
    assert any('singular' in text for text in record['problems'])
    assert 'problem:' in records.text_line(record)


def test_images_that_are_nan_end_in_a_record_without_a_value(tmp_path, faces):
    def spoil(G):
        shape = G.vars['G_synthesis/ToRGB_lod0/weight'].shape.as_list()
        G.set_var('G_synthesis/ToRGB_lod0/weight', np.full(shape, 3e38))  # finite, as what a file holds must be
    path = write_network(str(tmp_path / 'nan.pkl'), change=spoil)
    found = measure(['ppl_wend', 'ls', 'fid50k', 'fid50k_mix3'], path, faces)
    for name in ('ppl_wend', 'fid50k', 'fid50k_mix3'):
        assert found[name]['value'] is None, name
    assert found['ls']['values'] == {'ls_z': None, 'ls_w': None}
    assert 'NaN' in found['ppl_wend']['problems'][0] and 'ppl_wend nan' in records.text_line(found['ppl_wend'])


def test_unsuitable_data_sets_and_sizes_are_refused(tmp_path, little, faces):
    with pytest.raises(UserError, match='--dataset'):
        measure(['fid50k'], little)
    with pytest.raises(UserError, match='tfrecords'):
        measure(['fid50k'], little, str(tmp_path))
    grey = write_network(str(tmp_path / 'grey.pkl'), num_channels=1, resolution=8)
    with pytest.raises(UserError, match=r'generator makes samples of \[1, 8, 8\]'):
        measure(['fid50k'], grey, faces)
    found = measure(['ppl_wend', 'ls'], little)
    assert found['ppl_wend']['value'] is None and 'at least 32 pixels' in found['ppl_wend']['problems'][0]
    assert 'multiple' in found['ls']['problems'][0]


def test_conditional_generators_whose_data_are_unknown_are_measured_with_zero_labels(tmp_path):
    path = write_network(str(tmp_path / 'cond.pkl'), label_size=3)
    found = measure(['ppl_zfull', 'ls'], path)
    assert found['ppl_zfull']['value'] > 0 and not found['ppl_zfull']['problems']
    assert found['ppl_zfull']['labels'] == 'zeros' and found['ls']['values']['ls_w'] >= 1


def test_traditional_generators_have_no_space_w(tmp_path):
    path = str(tmp_path / 'progan.pkl')
    with tf.Graph().as_default(), tflib.create_session().as_default():
        tflib.select_device('cpu')
        kwargs = dict(num_channels=3, resolution=32, fmap_base=64, fmap_max=8, latent_size=12)
        G = tflib.Network('G', 'training.networks_progan.G_paper', **kwargs)
        misc.save_pkl((G, G.clone('D'), G.clone('Gs')), path)
    found = measure(['ppl_wend', 'ppl_zfull'], path)
    assert 'no space W' in found['ppl_wend']['problems'][0]
    assert found['ppl_zfull']['value'] > 0


def test_line_of_text_has_the_original_form():
    record = dict(metric='fid50k', value=4.41592, network='network-snapshot-025000', seconds=975, problems=[])
    assert records.text_line(record) == 'network-snapshot-025000        time 16m 15s      fid50k 4.4159'
    record['network'] = 'karras2019stylegan-ffhq-1024x1024'
    assert records.text_line(record)[:31] == '...019stylegan-ffhq-1024x1024  '
    record = dict(metric='ls', values=dict(ls_z=165.01, ls_w=3.7447), network='n', seconds=5, problems=[])
    assert records.text_line(record).endswith('ls_z 165.0100   ls_w 3.7447')


def test_metrics_of_a_run_use_its_data_set_and_leave_their_results_in_it(tmp_path, little, faces):
    from dnnlib.submission.records import write_submit_config
    write_submit_config(str(tmp_path), dict(config=dict(
        dataset=dict(class_name='training.dataset.TFRecordDataset', tfrecord_dir=os.path.basename(faces),
                     max_label_size=2), train=dict(mirror_augment=True)), data_dir=os.path.dirname(faces)))
    path = str(tmp_path / 'network-snapshot-000007.pkl')
    os.link(little, path)
    group = MetricGroup(specs('fid50k'))
    group.run(path, run_dir=str(tmp_path), num_gpus=1, tf_config=dict(SESSION, **{'rnd.np_random_seed': 5}),
              cache_dir=None)
    line = (tmp_path / 'metric-fid50k.txt').read_text()
    assert line.startswith('network-snapshot-000007') and group.get_result_str() == line.strip()
    record = json.loads((tmp_path / 'metrics' / 'network-snapshot-000007' / 'fid50k.json').read_text())
    assert record['mirror_augment'] is True and record['is_standin'] is True
    assert (tmp_path / 'network-best-fid50k.pkl').exists()
    with tf.Graph().as_default():   # what other tests gather in the default one stays there
        tflib.autosummary.flush_autosummaries()
        group.update_autosummaries()
        assert tflib.autosummary.flush_autosummaries() == {'Metrics/fid50k': pytest.approx(record['value'])}


def test_a_preset_is_changed_by_settings_and_an_unknown_one_refused():
    with pytest.raises(UserError, match='no metric'):
        preset('fid10k')
    assert make_metric({'preset': 'fid50k', 'name': 'fid5k', 'num_images': 5000}).settings.num_images == 5000


def test_a_preset_that_a_program_changes_is_measured_as_changed_and_called_reduced(little, faces, monkeypatch):
    for key, value in FAST['fid50k'].items():
        monkeypatch.setitem(metric_base.fid50k, key, value)
    assert preset('fid50k').num_images == 96
    for metric in (call_func_by_name(**metric_base.fid50k), MetricGroup(['fid50k']).metrics[0]):
        record = metric.run(little, dataset_args=dict(tfrecord_dir=faces), log_results=False, cache_dir=None,
                            tf_config=SESSION)
        assert record['num_samples'] == 96 and record['is_reduced']
        assert record['settings'] == dict(FAST['fid50k'], reals='order')


def test_presets_are_read_without_tensorflow():
    code = 'import sys; from metrics import presets; assert "tensorflow" not in sys.modules; print(presets.ls)'
    out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    assert b'200000' in out.stdout
    with pytest.raises(UserError, match='cannot be made'):
        make_metric(preset('fid50k', num_pictures=5))


def test_metric_measured_on_its_own_has_the_original_call(little, faces, tmp_path):
    metric = make_metric(preset('fid50k', **FAST['fid50k']))
    record = metric.run(little, run_dir=None, dataset_args=dict(tfrecord_dir=faces), mirror_augment=False, num_gpus=1,
                        tf_config=None, log_results=False, cache_dir=None, seed=3)
    assert record is metric.record and record['value'] > 0


@pytest.mark.both
def test_a_metric_in_the_originals_form_fits_in(network, faces, tmp_path, monkeypatch):
    run_dir = tmp_path / 'run'
    run_dir.mkdir()
    kwargs = dict(func_name='foreign_metric.MeanColour', name='colour', num_images=100, minibatch_per_gpu=8)
    found = []
    monkeypatch.setattr('config.data_dir', os.path.dirname(faces))
    for num_gpus, tfrecord_dir in ((1, faces), (1, os.path.basename(faces)), (2, faces)):
        group = metric_base.MetricGroup([EasyDict(kwargs)])
        group.run(network_pkl=network, run_dir=str(run_dir), dataset_args=EasyDict(tfrecord_dir=tfrecord_dir),
                  mirror_augment=True, num_gpus=num_gpus, tf_config=SESSION, cache_dir=str(tmp_path / 'cache'))
        found.append(group.metrics[0].record)
    assert foreign_metric.MeanColour.computed == 1
    with load_dataset(tfrecord_dir=faces) as data:
        expected = np.mean(data.get_samples_np(np.arange(100))[0])
    for record in found:
        assert list(record['values']) == ['colour_real', 'colour_fake']
        assert record['values']['colour_real'] == pytest.approx(expected)
        assert record['num_samples'] == 100 and record['is_reduced'] is None and record['mirror_augment'] is True
        assert len(record['dataset_fingerprint']) == 64 and record['settings']['num_images'] == 100
    fake = found[0]['values']['colour_fake']
    assert 0 < fake < 255 and found[1]['values']['colour_fake'] == fake
    line = (run_dir / 'metric-colour.txt').read_text().splitlines()[0]
    assert f' colour_real {expected:<10.4f} colour_fake {fake:<12.6f} (seed 0; data ' in line


def test_a_metric_that_reports_nothing_is_a_null_with_its_reason(little):
    silent = type('Silent', (metric_base.MetricBase,), {'_evaluate': lambda self, Gs, num_gpus: None})
    record = silent(name='silent').run(little, log_results=False, features='standin', tf_config=SESSION)
    assert record['value'] is None and record['problems'] == ['the metric reported no value']
