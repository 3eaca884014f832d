"""CONTRIBUTING.md: its recipes, followed to the letter in a folder beside the checkout."""

import ast
import importlib
import json
import os
import pathlib
import re
import runpy
import shlex
import sys

import numpy as np
import pytest
from conftest import new_session
from test_loss import ConstantGenerator

import config
from data import commands
from data.records.dataset import TFRecordDataset
from dnnlib import registry, tflib
from dnnlib.tflib import tf
from dnnlib.values import signatures, value_types
from metrics import presets
from training import misc

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEXT = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
RECIPES = re.findall(r'^## Add an? (\w+)\n(.*?)(?=^## |\Z)', TEXT, re.M | re.S)
BLOCK = re.compile(r'([^\n]*)\n\n```(\w*)\n(.*?)```', re.S)
ENTRY = runpy.run_path(str(ROOT / 'reproduce'))['COMMANDS']
PACKAGES = ('training', 'metrics', 'data.converters')   # those that recipes add modules to


class Workshop:
    """A folder in which recipes are followed, in the order of the document."""

    def __init__(self, folder, patch):
        self.folder = folder
        self._patch = patch
        self._todo = list(RECIPES)
        for name in PACKAGES:
            package = importlib.import_module(name)
            patch.setattr(package, '__path__', list(package.__path__) + [str(folder.joinpath(*name.split('.')))])
        elsewhere = signatures.find_module_file
        for known in ('_sources', '_modules', '_constants'):
            patch.setattr(signatures, known, dict(getattr(signatures, known)))
        patch.setattr(signatures, 'find_module_file', lambda name: self._source(name) or elsewhere(name))

    def _source(self, name):
        path = self.folder.joinpath(*name.split('.')).with_suffix('.py')
        return str(path) if path.is_file() else None

    def follow(self, wanted):
        """Follows what is not yet followed, up to the recipe of this name."""
        while wanted in [name for name, _ in self._todo]:
            for sentence, language, code in BLOCK.findall(self._todo.pop(0)[1]):
                if language:
                    self._write(sentence, code)
                else:
                    for line in code.splitlines():
                        self._run(line)

    def _write(self, sentence, code):
        new = re.match(r'A new file `([^`]+)`', sentence)
        if new:
            path = self.folder / new.group(1)
            assert not (ROOT / new.group(1)).exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding='utf-8')
            importlib.invalidate_caches()
            return
        place = re.match(r'In `([^`]+)`, (?:an (item|entry) of `(\w+)`|below its siblings):', sentence)
        path, kind, name = place.groups()
        module = importlib.import_module(path[:-len('.py')].replace('/', '.'))
        if kind == 'item':
            old = getattr(module, name)
            self._patch.setattr(module, name, old + type(old)([ast.literal_eval(code)]))
        elif kind == 'entry':
            self._patch.setattr(module, name, dict(getattr(module, name), **ast.literal_eval('{' + code + '}')))
        else:
            self._patch.setattr(module, 'PRESETS', module.PRESETS.copy())
            self._patch.setattr(module, code.split(' ', 1)[0], None, raising=False)
            exec(compile(code, path, 'exec'), vars(module))

    @staticmethod
    def _run(line):
        entry, command, *words = shlex.split(line)
        assert entry == './reproduce'
        script, *before = ENTRY[command][0]
        program = commands if script == 'dataset_tool.py' else importlib.import_module(script[:-len('.py')])
        assert not program.main(before + words), line


@pytest.fixture(scope='module')
def workshop(tmp_path_factory):
    folder = tmp_path_factory.mktemp('contributing')
    patch = pytest.MonkeyPatch()
    modules = set(sys.modules)
    patch.setattr(sys, 'path', [str(ROOT)] + sys.path)     # which may name the current folder only
    patch.chdir(folder)
    for name in ('result_dir', 'data_dir', 'cache_dir'):
        patch.setattr(config, name, str(folder / {'result_dir': 'results', 'data_dir': 'datasets'}.get(name, 'cache')))
    yield Workshop(folder, patch)
    patch.undo()
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], '__file__', '')).startswith(str(folder)):
            del sys.modules[name]


def test_there_is_a_recipe_for_everything_that_is_added_often():
    assert [name for name, _ in RECIPES] == ['converter', 'network', 'loss', 'configuration', 'metric', 'table']


def test_the_converters_data_set_is_read(workshop):
    workshop.follow('converter')
    data = TFRecordDataset(str(workshop.folder / 'datasets' / 'stripes-8'))
    assert data.shape == [1, 8, 8] and data.num_images == 200
    images, _ = data.get_samples_np(np.arange(200))
    assert images.min() < 40 and images.max() > 215
    data.close()


def test_the_networks_are_known_limited_and_come_back_from_a_file(workshop):
    workshop.follow('network')
    path = str(workshop.folder / 'network.pkl')
    latents = np.random.RandomState(0).randn(3, 16)
    with new_session():
        networks = [tflib.Network(name[0], f'training.networks_pixels.{name}', resolution=4)
                    for name in ('G_pixels', 'D_pixels')]
        images = networks[0].run(latents, None)
        scores = networks[1].run(images, None)
        misc.save_pkl((networks[0], networks[1], networks[0].clone('Gs')), path)
    with new_session():
        G, D, _Gs = misc.load_pkl(path)
        np.testing.assert_array_equal(G.run(latents, None), images)
        np.testing.assert_array_equal(D.run(images, None), scores)
    source = tflib.registry.module_source(importlib.import_module('training.networks_pixels'))
    assert 'def dense(' in source and 'from training' not in source
    assert images.shape == (3, 1, 4, 4) and scores.shape == (3, 1) and np.ptp(scores) > 0
    for name in ('G_pixels', 'D_pixels'):
        for key, described in tflib.registry.argument_types(name).items():
            kinds = described.alternatives if described is not None else ()
            assert all(kind.is_bounded for kind in kinds if isinstance(kind, value_types.Number)), key


def test_the_losses_are_the_papers(workshop):
    workshop.follow('loss')
    from training import loss_squares

    class MeanDiscriminator:
        def get_output_for(self, images, labels, is_training):
            return tf.reduce_mean(images, axis=[1, 2, 3])[:, tf.newaxis]

    class Unlabelled:
        def get_random_labels_tf(self, count):
            return tf.zeros([count, 0])

    with new_session():
        given = (ConstantGenerator(np.full([3, 1, 4, 4], 0.25)), MeanDiscriminator(), None, Unlabelled(), 3)
        reals = tf.constant(np.full([3, 1, 4, 4], 0.5), tf.float32)
        found = tflib.run([loss_squares.G_squares(*given), loss_squares.G_squares(*given, target=2.0),
                           loss_squares.D_squares(*given, reals, tf.zeros([3, 0]))])
    for values, expected in zip(found, [0.75 ** 2, 1.75 ** 2, 0.5 ** 2 + 0.25 ** 2]):
        np.testing.assert_allclose(values, np.full([3, 1], expected), rtol=1e-6)


def test_the_configuration_trains(workshop):
    workshop.follow('configuration')
    run = workshop.folder / 'results' / '00000-pixels'
    settings = json.loads((run / 'submit_config.json').read_text())['config']
    assert settings['G']['func_name'] == 'training.networks_pixels.G_pixels'
    assert settings['D_loss']['func_name'] == 'training.loss_squares.D_squares'
    with new_session():
        G, _, Gs = misc.load_pkl(str(run / 'network-final.pkl'))
        assert G.output_shape == [None, 1, 8, 8] and Gs.static_kwargs['hidden'] == 32


def test_the_metric_measures_the_run_and_is_known_to_configurations(workshop):
    workshop.follow('metric')
    paths = list((workshop.folder / 'results' / '00000-pixels' / 'metrics').glob('*/contrast.json'))
    record = json.loads(paths[0].read_text())
    details = record['details']
    assert record['num_samples'] == 1000 and record['problems'] == []
    assert 0.4 < details['reals'] < 0.7 and record['value'] == pytest.approx(details['fakes'] - details['reals'])
    assert presets.settings_of('contrast')['func_name'] == 'metrics.contrast.Contrast'
    registry.check('metric', 'metrics.contrast.Contrast', 'here')


def test_the_table_shows_the_score(workshop):
    workshop.follow('table')
    found = [os.path.join(folder, name) for folder, _, names in os.walk(str(workshop.folder / 'results'))
             for name in names if name == 'pixels.md']
    assert len(found) == 1
    text = pathlib.Path(found[0]).read_text()
    paths = workshop.folder.glob('results/00000-pixels/metrics/*/contrast.json')
    value = json.loads(next(paths).read_text())['value']
    assert '# Table 1: contrast of stripes' in text and f'| dense | **{value:.4f}** (0.0000) |' in text
    assert 'features' not in text   # it needs none
