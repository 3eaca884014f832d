"""What the papers, the slides and the released code say of how networks are made, trained and measured, held against
the named configurations, the defaults of the functions that receive them, and the metrics."""

import inspect

import pytest
from test_run_config import load_named

from dnnlib.util import get_obj_by_name
from figures import layouts
from metrics.group import make_metric

pytestmark = pytest.mark.both

LETTERS = 'abcdef'
LSUN = ['lsun-bedroom', 'lsun-car', 'lsun-cat', 'lsun-church_outdoor', 'lsun-conference_room', 'lsun-horse']
RETRAINED = ['celeba-256', 'casia-256']

RATES = {128: 0.0015, 256: 0.002, 512: 0.003, 1024: 0.003}
LOWER_RATES = {128: 0.0015, 256: 0.002, 512: 0.002, 1024: 0.002}
WGAN_GP = {'G_loss.func_name': 'training.loss.G_wgan', 'D_loss.func_name': 'training.loss.D_wgan_gp'}
R1 = {'G_loss.func_name': 'training.loss.G_logistic_nonsaturating',
      'D_loss': dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10)}


def rates(table):
    return {'sched.G_lrate_dict': table, 'sched.D_lrate_dict': table}


# Names of configurations, and settings that all of them have.
STYLEGAN_SECTION_8 = [
    ([f'{data}-{letter}' for data in ('ffhq', 'celebahq') for letter in LETTERS] + RETRAINED, {
        'train.mirror_augment': True, 'train.G_smoothing_kimg': 10, 'metrics': ['fid50k'], 'G_opt.beta1': 0,
        'G_opt.beta2': 0.99, 'D_opt.beta1': 0, 'D_opt.beta2': 0.99}),
    (['ffhq-a', 'celebahq-a'], dict(rates(RATES), **WGAN_GP, **{
        'train.total_kimg': 12000, 'sched.lod_initial_resolution': 4})),
    ([f'ffhq-{letter}' for letter in LETTERS[1:]] + ['ffhq-1024'] + RETRAINED, dict(rates(RATES), **R1, **{
        'train.total_kimg': 25000, 'sched.lod_initial_resolution': 8})),
    ([f'celebahq-{letter}' for letter in LETTERS[1:]] + ['celebahq-1024'], dict(rates(LOWER_RATES), **WGAN_GP, **{
        'sched.lod_initial_resolution': 8})),
    (['attribute-classifier'], {'train.total_kimg': 150, 'train.minibatch_size': 8, 'D.mbstd_group_size': 0})]

STYLEGAN_TABLES_2_AND_5 = [
    (['ffhq-mixing-0'], {'G.style_mixing_prob': 0}), (['ffhq-mixing-50'], {'G.style_mixing_prob': 0.5}),
    (['ffhq-mixing-100'], {'G.style_mixing_prob': 1}),
    (LSUN, dict(R1, **{'train.mirror_augment': False})),
    (['lsun-bedroom', 'lsun-cat'], {'train.total_kimg': 70000}), (['lsun-car'], {'train.total_kimg': 46000}),
    (['lsun-church_outdoor', 'lsun-conference_room', 'lsun-horse'], {'train.total_kimg': 84000}),
    ([name + '-progan' for name in LSUN], dict(WGAN_GP, **{'train.mirror_augment': True, 'dataset.resolution': 256}))]

RETRAINING_SECTION_3 = [(RETRAINED, {'num_gpus': 2, 'dataset.resolution': 256})]

ACCELERATION_SECTION_3 = [
    (['codec-h2', 'codec-h4', 'codec-h8', 'codec-h16'], {'dataset.resolution': 128}),
    ([f'{kind}-{size}' for kind in ('accel', 'baseline') for size in (256, 512, 1024)], dict(WGAN_GP, **{
        'D_loss.wgan_lambda': 10}))]

LECTURE = [
    (['minimal-gan'], {
        'G.latent_size': 8, 'G.hidden': 100, 'D.hidden': 100, 'sched.minibatch_base': 10, 'sched.G_lrate_base': 0.001,
        'sched.D_lrate_base': 0.001, 'train.step_order': 'alternate',
        'G_loss.func_name': 'training.loss.G_logistic_saturating'}),
    (['minimal-gan-z2'], {'G.latent_size': 2}), (['minimal-gan-z32'], {'G.latent_size': 32}),
    (['dcgan-64', 'dcgan-lsun-bedroom'], {
        'G.nz': 100, 'G.ngf': 64, 'D.ndf': 64, 'sched.minibatch_base': 64, 'sched.G_lrate_base': 0.0002,
        'sched.D_lrate_base': 0.0002, 'G_opt.beta1': 0.5, 'G_opt.beta2': 0.999, 'D_opt.beta1': 0.5,
        'D_opt.beta2': 0.999, 'G_loss.func_name': 'training.loss.G_logistic_nonsaturating'}),
    (['dcgan-lsun-bedroom'], {'train.epoch_pictures': [1, 2, 5, 10, 20]})]


@pytest.mark.parametrize('printed', [
    STYLEGAN_SECTION_8, STYLEGAN_TABLES_2_AND_5, RETRAINING_SECTION_3, ACCELERATION_SECTION_3, LECTURE],
    ids=['stylegan-8', 'stylegan-2-5', 'retraining', 'acceleration', 'lecture'])
def test_named_configurations_say_what_is_printed(printed):
    for names, settings in printed:
        for name in names:
            config = load_named(name)
            for setting, value in settings.items():
                found = config
                for part in setting.split('.'):
                    found = found[part]
                assert (name, setting, found) == (name, setting, value)


NETWORK = dict(fmap_base=8192, fmap_decay=1.0, fmap_max=512, use_wscale=True, dtype='float32')
TABLE = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 30, 1024: 20}
DEFAULTS = {
    'training.networks_stylegan.G_style': dict(
        truncation_psi=0.7, truncation_cutoff=8, truncation_psi_val=None, truncation_cutoff_val=None,
        dlatent_avg_beta=0.995, style_mixing_prob=0.9),
    'training.networks_stylegan.G_mapping': dict(
        latent_size=512, label_size=0, dlatent_size=512, dlatent_broadcast=None, mapping_layers=8, mapping_fmaps=512,
        mapping_lrmul=0.01, mapping_nonlinearity='lrelu', use_wscale=True, normalize_latents=True, dtype='float32'),
    'training.networks_stylegan.G_synthesis': dict(
        NETWORK, dlatent_size=512, num_channels=3, resolution=1024, use_styles=True, const_input_layer=True,
        use_noise=True, randomize_noise=True, nonlinearity='lrelu', use_pixel_norm=False, use_instance_norm=True,
        fused_scale='auto', blur_filter=(1, 2, 1), structure='auto'),
    'training.networks_stylegan.D_basic': dict(
        NETWORK, num_channels=1, resolution=32, label_size=0, nonlinearity='lrelu', mbstd_group_size=4,
        mbstd_num_features=1, fused_scale='auto', blur_filter=(1, 2, 1), structure='auto'),
    'training.networks_progan.G_paper': dict(
        NETWORK, num_channels=1, resolution=32, label_size=0, latent_size=None, normalize_latents=True,
        use_pixelnorm=True, pixelnorm_epsilon=1e-8, use_leakyrelu=True, fused_scale=True),
    'training.networks_progan.D_paper': dict(
        NETWORK, num_channels=1, resolution=32, label_size=0, mbstd_group_size=4, fused_scale=True),
    'training.loss.D_wgan': dict(wgan_epsilon=0.001),
    'training.loss.D_wgan_gp': dict(wgan_lambda=10, wgan_epsilon=0.001, wgan_target=1),
    'training.loss.D_hinge_gp': dict(wgan_lambda=10, wgan_target=1),
    'training.loss.D_logistic_simplegp': dict(r1_gamma=10, r2_gamma=0),
    'training.loss_codec.G_reconstruction': dict(alpha=0.001),      # ours, as docs/acceleration.md says
    'training.schedule.training_schedule': dict(
        lod_initial_resolution=4, lod_training_kimg=600, lod_transition_kimg=600, minibatch_base=16,
        G_lrate_base=0.001, D_lrate_base=0.001, lrate_rampup_kimg=0, tick_kimg_base=160, tick_kimg_dict=TABLE),
    'training.training_loop.training_loop': dict(
        G_smoothing_kimg=10, D_repeats=1, minibatch_repeats=4, reset_opt_for_new_lod=True, total_kimg=15000,
        mirror_augment=False, drange_net=(-1, 1), image_snapshot_ticks=1, network_snapshot_ticks=10),
    'dnnlib.tflib.Optimizer.__init__': dict(
        learning_rate=0.001, use_loss_scaling=False, loss_scaling_init=64, loss_scaling_inc=0.0005,
        loss_scaling_dec=1),
    'metrics.neighbours.precision_recall': dict(k=3)}


@pytest.mark.parametrize('name', sorted(DEFAULTS))
def test_defaults_are_those_of_the_released_code(name):
    found = inspect.signature(inspect.unwrap(get_obj_by_name(name))).parameters
    assert {key: found[key].default for key in DEFAULTS[name]} == DEFAULTS[name]


PATHS = dict(num_samples=100000, epsilon=1e-4, minibatch_per_gpu=16, ends='start', rejection=True)


@pytest.mark.parametrize('name,settings', [
    ('fid50k', dict(num_images=50000, num_mixed=1, minibatch_per_gpu=8, reals='order')),
    ('fid50k_mix2', dict(num_images=50000, num_mixed=2)),
    ('fid50k_mix3', dict(num_images=50000, num_mixed=3)), ('fid50k_mix4', dict(num_images=50000, num_mixed=4)),
    ('ppl_zfull', dict(PATHS, space='z', sampling='full')), ('ppl_wfull', dict(PATHS, space='w', sampling='full')),
    ('ppl_zend', dict(PATHS, space='z', sampling='end')), ('ppl_wend', dict(PATHS, space='w', sampling='end')),
    ('ls', dict(num_samples=200000, num_keep=100000, minibatch_per_gpu=4, attrib_indices=None)),
    ('kid50k', dict(num_images=50000, num_subsets=100, subset_size=1000)), ('pr50k', dict(num_images=50000)),
    # Of points: ours, as docs/metrics.md says.
    ('jsd', dict(num_samples=100000, num_cells=64)),
    ('mode_coverage', dict(num_samples=10000, max_deviations=3, least_share=0.01))])
def test_metrics_have_the_published_numbers(name, settings):
    metric = make_metric(name)
    assert {key: getattr(metric, key) for key in settings} == settings


def test_figures_have_the_released_seeds_and_arrangements():
    assert layouts.MIXING == (
        (639, 701, 687, 615, 2268), (888, 829, 1898, 1733, 1614, 845), ('coarse',) * 3 + ('middle',) * 2 + ('fine',))
    assert (layouts.NOISE_DETAIL_SEEDS, layouts.NOISE_DETAIL_DRAWS) == ((1157, 1012), 100)
    assert [side * 1024 for side in layouts.NOISE_DETAIL_CROP] == [650, 180, 906, 436]
    assert (layouts.NOISE_COMPONENT_SEEDS, layouts.NOISE_COMPONENT_MIRRORED) == ((1967, 1555), (False, True))
    assert (layouts.TRUNCATION_SEEDS, layouts.TRUNCATION_PSIS) == ((91, 388), (1, 0.7, 0.5, 0, -0.5, -1))
    released = {name: (layout.rows, layout.levels, layout.seed)
                for name, layout in layouts.UNCURATED.items() if layout.is_published}
    assert released == {
        'faces-1024': (3, (0, 1, 2, 2, 3, 3), 5), 'bedroom': (5, (0, 0, 1, 1, 2, 2, 2), 0),
        'car': (4, (0, 1, 2, 2, 3, 3), 2), 'cat': (5, (0, 0, 1, 1, 2, 2, 2), 1)}
