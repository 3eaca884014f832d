"""The schedule against tabulated numbers, and what it refuses."""

import json
import os

import pytest

from data.records.dataset import SyntheticDataset
from dnnlib.util import UserError
from training.schedule import changes_phase, training_schedule

with open(os.path.join(os.path.dirname(__file__), 'golden', 'schedules.json')) as f:
    GOLDEN = json.load(f)


@pytest.mark.parametrize('index', range(len(GOLDEN)))
def test_schedule_equals_the_golden_table(index):
    golden = GOLDEN[index]
    for row in golden['rows']:
        expected = dict(zip(golden['columns'], row))
        sched = training_schedule(expected['kimg'] * 1000, golden['resolution_log2'], golden['num_gpus'],
                                  **golden['kwargs'])
        assert sched == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_integer_and_string_keys_mean_the_same():
    a = training_schedule(0, 5, lod_initial_resolution=32, minibatch_dict={32: 8})
    b = training_schedule(0, 5, lod_initial_resolution=32, minibatch_dict={'32': 8})
    assert a == b and a.minibatch == 8


def test_minibatches_are_shared_evenly_and_capped_per_device():
    kwargs = dict(lod_initial_resolution=32, minibatch_base=30)
    assert [training_schedule(0, 5, count, **kwargs).minibatch for count in (1, 2, 4, 8)] == [30, 30, 28, 24]
    caps = {32: 5, 64: 1}
    capped = [training_schedule(0, 5, count, max_minibatch_per_gpu=caps, **kwargs).minibatch for count in (1, 2, 4, 8)]
    assert capped == [5, 10, 20, 24]


def test_fractional_phases_grow_within_a_few_images():
    kwargs = dict(lod_initial_resolution=8, lod_training_kimg=0.016, lod_transition_kimg=0.032)
    lods = [training_schedule(n, 4, **kwargs).lod for n in (0, 16, 32, 48, 1000)]
    assert lods == pytest.approx([1, 1, 0.5, 0, 0])


@pytest.mark.parametrize('kimg', [1e-320, 1e-9])
def test_phases_of_no_length_are_over_at_once(kimg):
    kwargs = dict(lod_initial_resolution=8, lod_training_kimg=kimg, lod_transition_kimg=kimg)
    assert [training_schedule(n, 6, **kwargs).lod for n in (0, 64, 10 ** 12)] == [3, 0, 0]


def test_data_without_rows_and_columns_never_grows():
    points = SyntheticDataset(shape=[2, 1, 1], dtype='float32')
    assert training_schedule(0, points).lod == 0
    assert training_schedule(0, points).resolution == 1


def test_a_data_set_stands_for_its_resolution():
    codes = SyntheticDataset(shape=[16, 64, 64], dtype='float32')
    assert training_schedule(0, codes) == training_schedule(0, 6)


@pytest.mark.parametrize('old,new,changes', [(-1, 3, True), (3, 3, False), (3, 2.9, True), (2.9, 2.1, False),
                                             (2.1, 2, True), (2.1, 1.9, True)])
def test_phases_change_where_a_fade_starts_or_ends(old, new, changes):
    assert changes_phase(old, new) is changes


@pytest.mark.parametrize('kwargs,word', [
    (dict(minibatch_base=3, num_gpus=4), 'minibatch'), (dict(lod_initial_resolution=12), 'lod_initial_resolution'),
    (dict(lod_initial_resolution=0), 'lod_initial_resolution'), (dict(lod_transition_kimg=-1), 'lod_transition_kimg')])
def test_impossible_settings_are_refused_with_a_sentence(kwargs, word):
    with pytest.raises(UserError, match=word):
        training_schedule(0, 6, **kwargs)
