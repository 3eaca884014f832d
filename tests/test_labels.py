"""Labels of generated images: drawn as the data have them, or as asked, the same in every command, and recorded."""

import json

import loop_helpers
import numpy as np
import pytest
from conftest import new_session
from metric_helpers import make_faces, make_network

import generate
from data.records.dataset import SyntheticDataset
from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.util import UserError
from figures import arguments
from metrics import arithmetic, linear_separability, metric_base, perceptual_path_length
from metrics.base import DummyMetric
from metrics.context import open_context
from metrics.group import make_metric
from metrics.presets import preset
from metrics.scores import explain, records
from training.network_files import labels
from training.network_files.labels import LabelDistribution

CATS_AND_DOGS = LabelDistribution([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], [70, 20, 10], ['Cat', 'Big Dog', 'Cow'])


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A conditional network without noise, the labels of its data beside it."""
    folder = tmp_path_factory.mktemp('network')
    path = make_network(folder, label_size=3, resolution=8, use_noise=False)
    CATS_AND_DOGS.save(str(folder / labels.FILE))
    return path


@pytest.fixture
def alone(tmp_path):
    """The path of a network file that has nothing beside it; labels are chosen without opening it."""
    return str(tmp_path / 'alone.pkl')


# ---- The labels of a data set

def test_labels_are_drawn_as_often_as_the_data_have_them():
    drawn = CATS_AND_DOGS.draw(20000, np.random.RandomState(0))
    shares = [np.mean(np.all(drawn == row, axis=1)) for row in CATS_AND_DOGS.rows]
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.01)
    np.testing.assert_array_equal(drawn[:50], CATS_AND_DOGS.draw(50, np.random.RandomState(0)))


def test_a_data_set_is_counted_and_kept(tmp_path, monkeypatch):
    with SyntheticDataset(resolution=8, num_images=500, label_size=4) as data:
        found = LabelDistribution.of_dataset(data)
        everything = data.get_labels_np(np.arange(500))
        labels.keep(str(tmp_path), data)
        before = (tmp_path / labels.FILE).read_bytes()
        labels.keep(str(tmp_path), data)
        assert (tmp_path / labels.FILE).read_bytes() == before
        monkeypatch.setattr(labels, '_MAX_VALUES', 8)      # too many different ones: an even share
        share = LabelDistribution.of_dataset(data)
    assert {tuple(row): count for row, count in zip(found.rows, found.counts)} == {
        tuple(row): int(np.sum(np.all(everything == row, axis=1))) for row in np.eye(4)}
    assert labels.distribution_of(str(tmp_path / 'x.pkl')).sha256 == found.sha256
    assert len(share.rows) <= 2 and share.counts.sum() == 2
    with SyntheticDataset(resolution=8, num_images=5) as data:
        labels.keep(str(tmp_path / 'none'), data)       # no labels, no file


@pytest.mark.parametrize('change', [
    lambda path: path.write_bytes(b'PK'), lambda path: path.write_bytes(b''),
    lambda path: np.savez(str(path), rows=np.zeros([2, 3], 'f4')),
    lambda path: np.savez(str(path), rows=np.zeros([2, 3]), counts=np.ones(2, int)),
    lambda path: np.savez(str(path), rows=np.full([2, 3], np.nan, 'f4'), counts=np.ones(2, int)),
    lambda path: np.savez(str(path), rows=np.zeros([2, 3], 'f4'), counts=np.array([1, -1])),
    lambda path: np.savez(str(path), rows=np.zeros([2, 3], 'f4'), counts=np.ones(2, int), names=np.array(['a']))],
    ids=['zip', 'empty', 'counts', 'type', 'nan', 'negative', 'names'])
def test_a_damaged_file_of_labels_is_a_sentence(tmp_path, change):
    change(tmp_path / labels.FILE)
    with pytest.raises(UserError, match=labels.FILE):
        labels.choose(None, 3, str(tmp_path / 'x.pkl'))


# ---- What may be asked for

@pytest.mark.parametrize('asked, text, row', [
    ('1', 'class 1 (Big Dog)', [0, 1, 0]), ('big-dog', 'class 1 (Big Dog)', [0, 1, 0]), (2, 'class 2 (Cow)', [0, 0, 1]),
    ('zeros', 'zeros', [0, 0, 0]), ('0.25, 0.75,-1', '0.25,0.75,-1', [0.25, 0.75, -1])])
def test_labels_are_a_class_a_vector_or_zeros(network, asked, text, row):
    chosen = labels.choose(asked, 3, network)
    assert chosen.text == text and chosen.facts() == dict(labels=text, labels_sha256=None)
    np.testing.assert_array_equal(chosen.draw(4, np.random.RandomState(0)), np.tile(np.float32(row), [4, 1]))


def test_by_default_the_labels_of_the_data_are_taken_where_they_are_known(network, alone, capsys):
    for asked in (None, 'data'):
        chosen = labels.choose(asked, 3, network)
        assert chosen.facts() == dict(labels='data', labels_sha256=CATS_AND_DOGS.sha256)
    assert capsys.readouterr().out == ''
    assert labels.choose(None, 3, alone).text == 'zeros' and 'labels of zeros are taken' in capsys.readouterr().out
    with pytest.raises(UserError, match='--labels is data, but the labels of the data are not known'):
        labels.choose('data', 3, alone)


@pytest.mark.parametrize('asked, size, words', [
    ('5', 3, 'class 5 was asked for, but the network has classes 0 to 2'), ('-1', 3, 'class -1 was asked'),
    ('horse', 3, "no class 'horse'; it has Cat, Big Dog, Cow"), ('1,2', 3, '3 finite numbers are needed, not 2'),
    ('1,nan,2', 3, 'finite'), ('0', 0, 'no classes'), (None, 2, 'components'), ('1e99,0,0', 3, 'finite')])
def test_labels_that_a_network_cannot_take_are_refused(network, asked, size, words):
    with pytest.raises(UserError, match=words):
        labels.choose(asked, size, network)


def test_names_of_classes_that_are_not_known_are_refused(alone):
    with pytest.raises(UserError, match='give its number'):
        labels.choose('cat', 3, alone)


def test_a_number_that_could_mean_two_classes_is_refused(tmp_path):
    path = str(tmp_path / 'x.pkl')
    LabelDistribution(np.eye(4), [1] * 4, ['1', '2', 'cat', 'Cat']).save(str(tmp_path / labels.FILE))
    for asked, number in (('index:1', 1), ('name:1', 0), ('name:2', 1), ('0', 0), ('3', 3), ('cat', 2), ('Cat', 3)):
        assert labels.choose(asked, 4, path).draw(1, None).tolist() == np.eye(4)[[number]].tolist()
        text = labels.choose(asked, 4, path).text
        assert labels.is_as_asked({'labels': text}, asked, path)
        assert not labels.is_as_asked({'labels': f'class {number + 1} (x)'}, asked, path)
    for asked, words in (('1', "is the number of the class '2' and the name of class 0; say index:1 or name:1"),
                         ('CAT', 'several such classes'), ('index:cat', 'no class'), ('name:3', "no class '3'"),
                         ('index:4', 'classes 0 to 3')):
        with pytest.raises(UserError, match=words):
            labels.choose(asked, 4, path)


def test_vectors_are_recorded_to_the_last_digit(alone):
    first, second = (labels.choose(f'0.5,{number}', 2, alone).text for number in ('0.12345678', '0.12345679'))
    assert first == '0.5,0.12345678' and first != second
    assert labels.is_as_asked({'labels': first}, ' 0.50, 0.12345678', alone)
    assert not labels.is_as_asked({'labels': second}, first, alone)
    assert labels.choose('3', 1, alone).text == '3'      # the only component, such as an age, is no class


# ---- Where they go

def test_path_length_and_separability_use_the_labels_of_the_data(tmp_path):
    """The numbers are computed once more, from the labels that were drawn: one for each path, and for each image."""
    CATS_AND_DOGS.save(str(tmp_path / labels.FILE))
    path = make_network(tmp_path, label_size=3, use_noise=False)
    with open_context(path, features='standin', cache_dir=None, seed=3) as ctx:
        ppl = make_metric(preset('ppl_wend', num_samples=4, minibatch_per_gpu=4, epsilon=0.01))
        mapping, synthesis = ctx.parts()
        # So that labels make a difference, whatever the first weights are.
        mapping.set_var('LabelConcat/weight', 5 * mapping.get_var('LabelConcat/weight'))
        value = ppl.run_in(ctx, log_results=False)['value']
        drawn = ctx.labels(0, 4)
        assert len({tuple(row) for row in drawn}) > 1

        def path_length(rows):
            ends = ctx.latents(0, 8).reshape([4, 2, -1])
            start, end = mapping.run(ends[:, 0], rows), mapping.run(ends[:, 1], rows)
            images = synthesis.run(np.concatenate([start, start + (end - start) * 0.01]), randomize_noise=False)
            pairs = perceptual_path_length.prepare_images(tf.constant(images))
            distances = tflib.run(ctx.features.perceptual().on_device(0).get_output_for(pairs[:4], pairs[4:]))
            return arithmetic.path_length_mean(distances.astype(np.float64) / 0.01 ** 2)
        assert value == pytest.approx(path_length(drawn), rel=0.02)
        assert abs(value / path_length(np.zeros([4, 3])) - 1) > 0.05

        ls = make_metric(preset('ls', num_samples=4, num_keep=4, minibatch_per_gpu=4, attrib_indices=[0]))
        logits, dlatents = ls._classify_samples(ctx, [0], True)
        expected = mapping.run(ctx.latents(0, 4), drawn)
        np.testing.assert_allclose(dlatents, expected[:, -1], atol=1e-5)
        classifier = ctx.features.classifier(0).on_device(0)
        images = tf.constant(synthesis.run(expected))
        images = linear_separability.fit_to_classifier(images, classifier.input_shape[-1])
        wanted = tflib.run(classifier.get_output_for(images, *[None] * (classifier.num_inputs - 1)))[:, :1]
        np.testing.assert_allclose(logits, wanted, atol=1e-3, rtol=1e-3)


def test_metrics_make_images_of_the_drawn_labels_and_record_them(network):
    with open_context(network, features='standin', cache_dir=None, seed=3) as ctx:
        found = []
        for _, _, count, (images,) in ctx.run_chunks(
                'test', 20, 8, ctx.placeholders(8), lambda index, holders: [ctx.build_images(index, holders)],
                lambda chunk: ctx.feed_inputs(chunk, 8)):
            found.append(images[:count])
        drawn = np.concatenate([ctx.labels(chunk, 8) for chunk in range(3)])[:20]
        latents = np.concatenate([ctx.latents(chunk, 8) for chunk in range(3)])[:20]
        expected = ctx.Gs.run(latents, drawn, is_validation=True)
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-4)
        assert {tuple(row) for row in drawn} == {tuple(row) for row in CATS_AND_DOGS.rows}
        others = ctx.Gs.run(latents, None, is_validation=True)
        assert np.abs(others - expected).max() > 0.01
    for asked, text in ((None, 'data'), ('zeros', 'zeros'), ('cow', 'class 2 (Cow)')):
        record = metric_base.DummyMetric(name='dummy').run(network, log_results=False, labels=asked)
        assert record['labels'] == text
        assert record['labels_sha256'] == (CATS_AND_DOGS.sha256 if text == 'data' else None)


def test_every_metric_takes_labels(network, tmp_path):
    faces = make_faces(tmp_path)
    fast = dict(fid50k=dict(num_images=16), fid50k_mix2=dict(num_images=16), kid50k=dict(num_images=8),
                pr50k=dict(num_images=8), nearest=dict(num_images=4, num_nearest=2))
    group = metric_base.MetricGroup([metric_base.preset(name, minibatch_per_gpu=4, **kwargs)
                                     for name, kwargs in fast.items()])
    found = group.run(network, dataset_args=dict(tfrecord_dir=faces), features='standin', log_results=False,
                      cache_dir=None, tf_config={'graph_options.rewrite_options.disable_meta_optimizer': True})
    for record in found:
        assert record['labels'] == 'data' and None not in records.values_of(record).values()


def test_explain_counts_labels_and_takes_a_record_without_them_for_zeros():
    old = dict(metric='fid50k', value=1.0)
    assert 'No field' in '\n'.join(explain.compare(old, dict(old, labels='zeros', labels_sha256=None)))
    lines = '\n'.join(explain.compare(old, dict(old, labels='data', labels_sha256='a' * 64)))
    assert 'labels: zeros | data  -- the generated images have other labels' in lines


def test_pictures_have_the_asked_labels_and_say_so(network, tmp_path):
    def draw(folder, *more):
        with new_session():
            generate.main(['--network', network, '--seeds', '0-5', '--psi', '1', '--outdir', str(tmp_path / folder),
                           '--device', 'cpu', *more])
        return json.loads((tmp_path / folder / 'images.json').read_text())
    facts = draw('data')
    assert facts['labels'] == 'data' and facts['labels_sha256'] == CATS_AND_DOGS.sha256
    assert 'data' in (tmp_path / 'data' / 'index.html').read_text()
    assert draw('cow', '--labels', 'cow')['labels'] == draw('two', '--class', '2')['labels'] == 'class 2 (Cow)'
    a, b, c = ((tmp_path / folder / 'seed0000.png').read_bytes() for folder in ('cow', 'two', 'data'))
    assert a == b != c


def test_the_label_of_a_seed_does_not_depend_on_the_others(network):
    with new_session():
        args = arguments.argparse.Namespace(network=network, artifacts_dir=None, trust_stored_code=False, device='cpu',
                                            minibatch=4, labels=None, allow_module=[])
        gen, facts = arguments.open_generator(args)
        arguments.choose_labels(gen, facts, args)
        np.testing.assert_array_equal(gen.labels_of([4, 7])[1], gen.labels_of([7])[0])
        assert len({tuple(row) for row in gen.labels_of(range(30))}) == 3


def test_a_run_keeps_the_labels_of_its_data_and_is_measured_with_them_and_its_mirroring(tmp_path, monkeypatch):
    class Mirroring(DummyMetric):
        def _evaluate(self, ctx):
            mirrors.append(ctx.mirror_augment)
            return super()._evaluate(ctx)

    mirrors, args = [], dict(loop_helpers.FIXED, total_kimg=0.032, mirror_augment=True)
    monkeypatch.setattr(loop_helpers, 'make_metric', Mirroring, raising=False)
    metrics = [dict(name='dummy', func_name='metrics.base.DummyMetric'),
               dict(name='mirroring', func_name='loop_helpers.make_metric')]
    assert loop_helpers.train(tmp_path, metric_arg_list=metrics, **args) == 'finished'
    assert mirrors and all(mirrors)
    with SyntheticDataset(resolution=4, num_images=100, label_size=2, seed=7) as data:
        expected = LabelDistribution.of_dataset(data)
    assert labels.distribution_of(str(tmp_path / 'network-final.pkl')).sha256 == expected.sha256
    record = records.read_record(str(tmp_path / 'metrics' / 'network-snapshot-000000' / 'dummy.json'))
    assert record['labels'] == 'data' and record['labels_sha256'] == expected.sha256
    assert 'labels data' in (tmp_path / 'metric-dummy.txt').read_text()
