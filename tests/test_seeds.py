"""Seeds: every place where one enters refuses what would be taken for another."""

import argparse

import numpy as np
import pytest

import dataset_tool
import run_metrics
from data.converters.create_small import create_mnistrgb
from data.converters.create_toyfaces import create_toyfaces
from data.records.dataset import SyntheticDataset
from dnnlib import UserError
from dnnlib.seeds import LARGEST, check_seed, seed_option, signed32
from figures import arguments, generator
from metrics import classifier_training, context, train_standins
from training import training_loop

WRONG = [2 ** 32, -1, 2 ** 70, -2 ** 40, 1.5, '3', None, True]


@pytest.mark.parametrize('seed', WRONG)
def test_what_is_no_seed_is_refused_wherever_one_enters(tmp_path, seed):
    for enter in (check_seed, lambda seed: context.open_context('x.pkl', seed=seed).__enter__(),
                  lambda seed: create_toyfaces(str(tmp_path / 'set'), seed=seed),
                  lambda seed: create_mnistrgb(str(tmp_path / 'set'), str(tmp_path), random_seed=seed),
                  lambda seed: SyntheticDataset(resolution=4, num_images=2, seed=seed),
                  lambda seed: generator.latents_of(seed, 1, 4),
                  lambda seed: classifier_training.train_classifier(None, str(tmp_path), {}, {}, {}, seed=seed),
                  lambda seed: training_loop.training_loop(None, str(tmp_path), *[{}] * 8, seed=seed)):
        with pytest.raises(UserError, match='must be a whole number from 0 to'):
            enter(seed)


def test_a_runs_seed_has_31_bits(tmp_path):
    with pytest.raises(UserError, match='from 0 to 2147483647'):
        training_loop.training_loop(None, str(tmp_path), *[{}] * 8, seed=2 ** 31)


@pytest.mark.parametrize('text', ['4294967296', '-1', '1.5', 'x', '', '9' * 5000])
def test_command_lines_refuse_such_seeds(capsys, text):
    with pytest.raises(argparse.ArgumentTypeError, match='is not a whole number from 0 to 4294967295'):
        seed_option(text)
    for main, args in [(run_metrics.main, ['dummy', '--network', 'x']), (train_standins.main, ['x']),
                       (dataset_tool.main, ['create_toyfaces', 'x'])]:
        with pytest.raises(SystemExit) as caught:
            main(args + [f'--seed={text}'])
        assert caught.value.code == 2 and 'is not a whole number' in capsys.readouterr().err
    with pytest.raises(UserError):
        arguments.parse_seeds(text)


def test_seeds_at_both_ends_are_no_others():
    assert [check_seed(seed) for seed in (0, LARGEST, np.int64(5))] == [0, LARGEST, 5]
    seeds = [0, 1, 2 ** 31 - 2, 2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, LARGEST]
    for spread in (signed32, context._graph_seed, lambda seed: context.chunk_rng(seed, 0, 0).randn(),
                   lambda seed: generator.latents_of(seed, 1, 1)[0, 0]):
        assert len({spread(seed) for seed in seeds}) == len(seeds)
    assert all(-2 ** 31 <= signed32(seed) < 2 ** 31 for seed in seeds) and signed32(7) == 7


def test_chunks_and_streams_of_metrics_draw_numbers_of_their_own():
    places = [(seed, stream, chunk) for seed in (0, 1) for stream in (context.LATENTS, context.NOISE, context.MIRROR)
              for chunk in (0, 1, 12)]
    for draw in (lambda *place: context.chunk_rng(*place).randn(), lambda *place: tuple(context.chunk_seed(*place))):
        assert len({draw(*place) for place in places}) == len(places)
        assert [draw(*place) for place in places] == [draw(*place) for place in places]
