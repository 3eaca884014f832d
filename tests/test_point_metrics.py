"""jsd and mode_coverage on generators whose points are known, and what they and the metrics of images refuse."""

import os
import shutil

import numpy as np
import pytest
from conftest import new_session

from data import points
from data.commands import main
from dnnlib import submission, tflib
from dnnlib.util import EasyDict, UserError
from metrics.group import MetricGroup, make_metric
from metrics.points.divergence import jsd, with_rest
from training import misc

G_MINIMAL = 'training.networks_minimal.G_minimal'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with data sets, and networks that make a single point: in a mode, or outside of the box."""
    path = tmp_path_factory.mktemp('points')
    main(['create_points', str(path / 'gaussians-8'), '--distribution', 'gaussians-8', '--num', '4000'])
    main(['create_points', str(path / 'spiral'), '--distribution', 'spiral', '--num', '4000'])
    with new_session():
        G = tflib.Network('G', G_MINIMAL, latent_size=2, hidden=1)
        tflib.set_vars({G.find_var(name): value for name, value in {
            'Dense0/weight': [[0.0], [0.0]], 'Dense0/bias': [0.0], 'Dense1/weight': [[0.0, 0.0]],
            'Dense1/bias': [2.0, 0.0]}.items()})
        misc.save_pkl(G, str(path / 'one-mode.pkl'))
        G.set_var('Dense1/bias', [9.0, 0.0])
        misc.save_pkl(G, str(path / 'outside.pkl'))
        image = tflib.Network('G', 'training.networks_progan.G_paper', num_channels=3, resolution=8, fmap_base=16)
        misc.save_pkl(image, str(path / 'image.pkl'))
    return path


def measure(folder, name, network, data='gaussians-8', **changes):
    metric = make_metric(dict(preset=name, **changes))
    return metric.run(str(folder / network), dataset_args=dict(tfrecord_dir=str(folder / data)), log_results=False)


QUICK = dict(num_samples=2000, num_steps=60)


@pytest.mark.both
def test_a_generator_of_one_point_has_one_mode_and_a_known_divergence(folder):
    record = measure(folder, 'mode_coverage', 'one-mode.pkl')
    assert record['values'] == {'mode_coverage_modes': 1, 'mode_coverage_near': 1}
    assert record['details']['num_modes'] == 8 and record['details']['shares'] == [1] + [0] * 7
    assert record['is_reduced'] is False and record['dataset_images'] == 4000

    record = measure(folder, 'jsd', 'one-mode.pkl', **QUICK)
    masses = with_rest(points.get('gaussians-8').cell_masses(64))
    hit = np.zeros(64 * 64 + 1)
    hit[int((2 + 3) / 6 * 64) * 64 + 32] = 1
    assert record['values']['jsd'] == pytest.approx(jsd(masses, hit), abs=1e-9)
    assert 0 < record['values']['jsd_floor'] < 0.15 < record['values']['jsd_D'] < np.log(2)
    assert record['notes'] == ['against the density'] and record['is_reduced'] is True
    again = measure(folder, 'jsd', 'one-mode.pkl', **QUICK)
    assert again['values'] == record['values']


def test_points_outside_of_the_box_are_as_far_as_can_be(folder):
    record = measure(folder, 'jsd', 'outside.pkl', 'spiral', **QUICK)
    assert record['values']['jsd'] == pytest.approx(np.log(2))
    assert record['notes'] == ['against a histogram of reals']
    assert record['values']['jsd_D'] > 0.5
    assert record['problems'] == ['the discriminator of jsd_D was still getting better when its training ended']
    assert measure(folder, 'mode_coverage', 'outside.pkl')['values']['mode_coverage_near'] == 0
    short = measure(folder, 'jsd', 'outside.pkl', 'spiral', num_samples=3000, num_steps=60)
    assert 'only 4000 points, of which 6000 were wanted' in short['problems'][0]


def test_networks_that_were_trained_in_another_range_are_measured_in_the_data_s(folder, tmp_path):
    os.link(str(folder / 'one-mode.pkl'), str(tmp_path / 'network-final.pkl'))
    config = dict(train=dict(drange_net=[-3 / 4, 3 / 4]), dataset=dict(tfrecord_dir='gaussians-8'))
    submission.write_submit_config(str(tmp_path), dict(config=EasyDict(config), data_dir=str(folder)), {})
    metric = make_metric('mode_coverage')
    # x of 2 means 8 there, far from every mode
    assert metric.run(str(tmp_path / 'network-final.pkl'), log_results=False)['values']['mode_coverage_near'] == 0


def test_metrics_refuse_what_they_are_not_made_for(folder, tmp_path):
    with pytest.raises(UserError, match=r'jsd measures points.*samples of \[3, 8, 8\].*such as fid50k'):
        measure(folder, 'jsd', 'image.pkl')
    for name in ('fid50k', 'ppl_zfull', 'nearest'):
        with pytest.raises(UserError, match=rf'{name} measures images.*samples of \[2\]'):
            measure(folder, name, 'one-mode.pkl')
    main(['create_toyfaces', str(tmp_path / 'faces'), '--resolution', '16', '--num', '4', '--workers', '1'])
    with pytest.raises(UserError, match=r'makes samples of \[2\] but the data set holds \[3, 16, 16\]'):
        make_metric('mode_coverage').run(str(folder / 'one-mode.pkl'), log_results=False, dataset_args=dict(
            tfrecord_dir=str(tmp_path / 'faces'), resolution=None))


def test_modes_of_unknown_data_are_not_guessed(folder, tmp_path):
    shutil.copytree(str(folder / 'spiral'), str(tmp_path / 'spiral'))
    (tmp_path / 'spiral' / 'manifest.json').unlink()
    record = measure(tmp_path, 'mode_coverage', folder / 'one-mode.pkl', 'spiral')
    assert record['values']['mode_coverage_modes'] is None and 'not known' in record['problems'][0]
    group = MetricGroup(['mode_coverage'])
    assert group.metrics[0].settings == dict(num_samples=10000)
