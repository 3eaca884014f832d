"""One network file, two engines: images, scores, gradients, losses of a training step and an update agree."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from golden_networks import deviation

from dnnlib.tflib import ENGINE

OTHER = {'tf1': 'tf2', 'tf2': 'tf1'}[ENGINE]
OTHER_PYTHON = ROOT / f'.venv-{OTHER}' / 'bin' / 'python'

pytestmark = pytest.mark.both


def run_probe(python, *args):
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE='1')
    subprocess.run([str(python), str(ROOT / 'tests' / 'cross_engine_probe.py'), *map(str, args)], check=True, env=env,
                   cwd=str(ROOT), stderr=subprocess.PIPE)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """(this engine's, the other engine's) numbers for one network file that the other engine wrote."""
    if not OTHER_PYTHON.exists():
        pytest.skip(f'the environment of the other engine is not set up (make setup ENGINE={OTHER})')
    folder = tmp_path_factory.mktemp('cross_engine')
    network = folder / 'networks.pkl'
    run_probe(OTHER_PYTHON, network, folder / 'other.npz')
    run_probe(sys.executable, network, folder / 'this.npz')
    return dict(np.load(str(folder / 'this.npz'))), dict(np.load(str(folder / 'other.npz')))


def test_two_engines_ran(results):
    assert sorted(str(result['engine']) for result in results) == ['tf1', 'tf2']


@pytest.mark.parametrize('lod', [0.0, 1.3])
def test_images_scores_and_image_gradients_agree(results, lod):
    for name in ('images', 'scores', 'image_grad'):
        key = f'{name}_lod{lod}'
        assert deviation(results[0][key], results[1][key]) < 1e-4, key


@pytest.mark.parametrize('lod', [0.0, 1.3])
def test_losses_and_gradient_norms_of_a_seeded_step_agree(results, lod):
    for name in ('G_loss', 'D_loss', 'G_grad_norms', 'D_grad_norms'):
        this, other = [result[f'{name}_lod{lod}'] for result in results]
        np.testing.assert_allclose(this, other, rtol=1e-3, atol=1e-6 * np.abs(other).max(), err_msg=name)


def test_update_from_given_gradients_agrees(results):
    assert deviation(results[0]['injected_update'], results[1]['injected_update']) < 1e-3
