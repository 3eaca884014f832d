"""What the papers and the slides print of how networks are trained, held against the named configurations."""

import pytest
from test_run_config import load_named

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
