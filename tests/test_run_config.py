import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import config as folders
from dnnlib import config_files, machine, tflib
from dnnlib.util import EasyDict, UserError
from dnnlib.values import signatures
from experiment import checks, engine_checks, forecast, probe, run_config
from experiment.facts import Machine
from experiment.phases import make_phases
from experiment.plan import Plan, describe, warnings
from experiment.run_config import load
from experiment.settings import LOOP, is_adversarial
from training.schedule import training_schedule

pytestmark = pytest.mark.both

NAMES = [name for name, _ in config_files.list_configs(folders.config_dir)]


def load_named(name, *overrides, **options):
    stored, _ = config_files.load_config(name, folders.config_dir)
    needed = [] if 'tfrecord_dir' in stored.dataset else ['dataset.tfrecord_dir=x']
    return load(name, folders.config_dir, needed + list(overrides), options)[0]


def facts(resolution=32, channels=3, **kwargs):
    values = dict(shape=[channels, resolution, resolution], resolution=resolution, num_images=50000, label_size=0,
                  resolution_log2=resolution.bit_length() - 1, is_image=True, unused_labels=None, missing=None)
    return EasyDict(values, **kwargs)


# ---- Named configurations

@pytest.mark.parametrize('name', NAMES)
def test_named_configurations_are_valid_and_described(name):
    config = load_named(name)
    assert dict(config_files.list_configs(folders.config_dir))[name]
    assert config.sched.get('by_num_gpus') is None
    resolution = config.dataset.get('resolution') or (32 if '32' in name or name == 'demo' else 64)
    if not is_adversarial(config):
        config.train.attribute = 'smiling'
        assert Plan(config, facts(resolution, label_size=1, label_names=['Smiling'])).phases == []
        return
    plan = Plan(config, facts(resolution, **({'shape': [2]} if resolution == 1 else {})))
    assert plan.phases[-1].end_kimg == config.train.total_kimg
    assert plan.phases[-1].resolution == resolution
    assert plan.sizes is not None and plan.needs.memory > 0


@pytest.mark.parametrize('override,problem', [
    ('G.fmap_base=64', 'G: metrics.classifier_training.train_classifier reads nothing of this'),
    ('sched.minibatch_dict.8=4', 'sched: .* would have no effect .given in --set'), ('grid.size=4k', 'grid: '),
    ('D_loss.func_name=training.loss.D_wgan', 'D_loss: '), ('G_opt.beta1=0.5', 'G_opt: '),
    ('metrics=[fid50k]', 'metrics: '), ('train.total_kmg=5', "did you mean 'total_kimg'"),
    ('D.mbstd_group_size=4', 'judges each image by itself'), ('num_gpus=2', 'trained on one device'),
    ('train.attribute=beard', "'beard'; the data set has smiling, wearing-hat"),
    ('train.attribute=null', 'which attribute'), ('dataset.max_label_size=0', 'no labels to learn'),
    ('train.attribute=1', None), ('D_opt.beta1=0.5', None), ('D.fmap_base=64', None), ('train.held_out=0.2', None)])
def test_a_classifier_has_no_settings_without_effect(override, problem):
    def plan():
        config = load('attribute-classifier', folders.config_dir, [
            'dataset.tfrecord_dir=x', 'train.attribute=smiling', override])[0]
        labels = ['Smiling', 'Wearing_Hat'] if config.dataset.max_label_size == 'full' else []
        return Plan(config, facts(label_size=len(labels), label_names=labels))

    if problem is None:
        assert plan().total_kimg == 150
        return
    with pytest.raises(UserError, match=problem):
        plan()


@pytest.mark.parametrize('num_gpus', [1, 2, 4, 8])
def test_schedules_equal_the_published_ones(golden_dir, num_gpus):
    with open(str(golden_dir / 'schedules.json')) as f:
        entry = next(e for e in json.load(f) if e['num_gpus'] == num_gpus and e['resolution_log2'] == 10)
    expected = {k: {int(r): v for r, v in value.items()} if isinstance(value, dict) else value
                for k, value in entry['kwargs'].items()}
    sched = load_named('ffhq-1024', num_gpus=num_gpus).sched
    assert {key: sched[key] for key in expected} == expected
    assert set(sched) - set(expected) == {'lod_training_kimg', 'lod_transition_kimg'}


def test_paper_variants_differ_by_what_the_paper_says():
    f, b = load_named('stylegan-f'), load_named('stylegan-b')
    assert b.G == dict(f.G, style_mixing_prob=0.0, use_noise=False, const_input_layer=False, use_styles=False,
                       use_pixel_norm=True, use_instance_norm=False, mapping_layers=0, truncation_psi=None)
    assert load_named('stylegan-e').G == dict(f.G, style_mixing_prob=0.0)
    a = load_named('stylegan-a', num_gpus=2)
    assert a.G == {'func_name': 'training.networks_progan.G_paper'}
    assert a.D_loss == {'func_name': 'training.loss.D_wgan_gp'}
    assert a.sched.G_lrate_dict == {512: 0.0015, 1024: 0.002}
    assert load_named('celeba-256').num_gpus == load_named('casia-256').num_gpus == 2


def test_checking_needs_no_tensorflow():
    code = ('import sys, config; from experiment import run_config as r; '
            'r.load("demo", config.config_dir); import experiment.start; sys.exit("tensorflow" in sys.modules)')
    assert subprocess.call([sys.executable, '-c', code], cwd=os.path.dirname(folders.config_dir)) == 0


# ---- Refusals

@pytest.mark.parametrize('override,message', [
    ('train.total_kmg=5', r"no setting 'train.total_kmg'; did you mean 'total_kimg'\? \(given in --set\)"),
    ('trian.total_kimg=5', r"no setting 'trian'; did you mean 'train'\?"),
    ('train.resume=true', "'resume' is filled in"),
    ('train.total_kimg=abc', r'total_kimg: must be a number from 0.001 to 1e9, not a text \(abc\)'),
    ('train.total_kimg=0', 'must be from 0.001 to'),
    ('train.total_kimg=.nan', 'must be from 0.001 to'),
    ('train.minibatch_repeats=1.5', 'must be a whole number from 1 to 10000, not a number'),
    ('train.mirror_augment=1', 'must be true or false'),
    ('train.mirror_augment=null', 'must be true or false, not null'),
    ('train=5', 'must be a section of settings, not a whole number'),
    ('G.resolution=64', "'resolution' comes from the data set"),
    ('G.mapping_layer=8', "did you mean 'mapping_layers'"),
    ('G.mapping_layers=-1', 'must be from 0 to'),
    ('G.fmap_max=null', 'must be a whole number from 1 to 65536, not null'),
    ('G.truncation_cutoff=null', None),
    ('G.structure=round', 'must be one of auto, fixed, linear, recursive, null, not round'),
    ('G.fused_scale=1', 'must be one of true, false, auto'),
    ('G.func_name=training.networks_stylegan.G_styl', "has no 'G_styl' for G; did you mean 'G_style'"),
    ('G.func_name=nowhere.G', "'nowhere.G' is not among the names for G .*; if nowhere is a module of your own"),
    ('G.func_name=5', 'must be the name of a function or class, not 5'),
    ('G.func_name=training.networks_stylegan.D_basic', "has no 'D_basic' for G"),
    ('G_loss.func_name=training.networks_stylegan.G_style', "'.*G_style' is not among the names for G_loss"),
    ('D_loss.func_name=training.loss.G_wgan', "the module training.loss has no 'G_wgan' for D_loss"),
    ('dataset.class_name=os.system', "'os.system' is not among the names for dataset"),
    ('train.func_name=os.system', "'os.system' is not among the names for train"),
    ('metrics=[{name: x, func_name: os.system}]', "'os.system' is not among the names for metric"),
    ('metrics=[{name: x, func_name: [os.system]}]', 'must be the name of a function'),
    ('D_loss.func_name=training.loss.D_wgan', None),
    ('D_loss.wgan_lambda=5', r"no setting 'D_loss.wgan_lambda' \(given in --set; known here: func_name, r1_gamma"),
    ('G_opt.beta3=0', "did you mean 'beta2'"),
    ('G_opt.learning_rate=0.1', "'learning_rate' is filled in"),
    ('G_opt.use_loss_scaling=true', None),
    ('sched.minibatch_dict=5', 'must be a table by resolution'),
    ('sched.minibatch_dict={a: 5}', 'must have resolutions as keys'),
    ('sched.minibatch_dict={8: x}', 'must hold whole numbers'),
    ('sched.minibatch_dict.8=0', 'must hold whole numbers from 1 to 1e6, not 0 for 8'),
    ('sched.cur_nimg=1', 'no setting'),
    ('sched.by_num_gpus=5', 'must be a table of settings by number of GPUs'),
    ('sched.by_num_gpus={1: {minibatch_bas: 4}}', "did you mean 'minibatch_base'"),
    ('sched.by_num_gpus={2: {minibatch_base: 4}}', 'settings for 2 GPUs, not for 1'),
    ('dataset.max_label_size=full', None),
    ('dataset.max_label_size=some', 'must be a whole number'),
    ('metrics=fid50k', 'must be a list such as'),
    ('metrics=[fit50k]', "no metric 'fit50k'; did you mean 'fid50k'"),
    ('metrics=[MetricGroup]', "no metric 'MetricGroup'"),
    ('metrics=[fid50k, {name: fid, func_name: metrics.frechet_inception_distance.FID, num_images: 9,'
     'minibatch_per_gpu: 8}]', None),
    ('metrics=[{name: fid, func_name: metrics.frechet_inception_distance.FID, num_images: 9}]',
     'metric.minibatch_per_gpu is missing'),
    ('metrics=[{preset: fid50k, num_images: 0}]', 'metric.num_images: must be from 2'),
    ('metrics=[{preset: fid50k, name: ../x}]', 'metric.name: must be a name'),
    ('metrics=[{preset: [fid50k]}]', 'a preset is given by its name'),
    ('metrics=[{preset: fid50k, minibatch: 8}]', "no setting 'metric.minibatch'; did you mean"),
    ('metrics=[{name: x}]', 'settings with func_name'),
    ('tf_config.rnd.np_random_seed=3', None),
    ('tf_config={gpu_options: {allow_growth: true}}', 'must be a single value'),
    ('num_gpus=0', 'must be from 1 to 1024'),
    ('seed=-1', 'must be from 0 to 2147483647, not -1'),
    ('seed=1.0', 'must be a whole number'),
    ('device=tpu', 'must be one of auto, cpu, gpu, not tpu'),
    ('grid.layout=spiral', 'must be one of random'),
    ('grid.size=8', 'must be 1080p, 4k or a size such as 8x4, not a whole number'),
    ('train.total_kimg=' + '9' * 400, 'line 1: a number of 400 characters is beyond belief'),
    ('sched.minibatch_dict={%d: 1}' % (2 ** 61 - 1), "'2305843009213693951' is no key: a number that is one is"),
    ('train.total_kimg=0x' + 'f' * 5000, 'a number of 5002 characters is beyond belief'),
    ('G.pixelnorm=' + '9' * 90, "no setting 'G.pixelnorm'"),
    ('.'.join(['train'] * 2000) + '=1', '--set train.*: write it as --set section.key=VALUE'),
    ('tf_config.' + '.'.join(['a'] * 2000) + '=1', r'no setting .tf_config.a.a'),
    ('dataset.tfrecord_dir=5', 'must be a text, not a whole number'),
    ('dataset.tfrecord_dir="a\\0"', 'must be a text without NUL'),
    ('dataset.resolution=x', 'must be a whole number from 1 to 1048576 or null, not a text'),
    ('dataset.label_file=[]', 'must be a text or null, not a list'),
    ('train.drange_net=[x, y]', 'must be a list of 2 rising numbers from -1e6 to 1e6, not of a text'),
    ('train.drange_net=[0, 0]', 'each above the one before it'),
    ('train.drange_net=[.nan, 1]', 'each must be from -1e6 to 1e6'),
    ('train.drange_net=[0, 0.5]', None),
    ('G.blur_filter=[x]', 'must be a list of 1 to 64 weights'),
    ('G.blur_filter=[1, -1]', 'whose sum is not 0'),
    ('G.blur_filter=null', None),
    ('G.truncation_psi_val=x', 'must be a number from -100 to 100 or null'),
    ('G_opt.beta1=1', 'must be from 0 to 0.999999'),
    ('D_loss.r1_gamma=-1', 'must be from 0 to 1e6'),
    ('tf_config.a.b=1', r"no setting 'tf_config.a.b' \(given in --set\); it is a path into TensorFlow's ConfigProto"),
    ('tf_config.gpu_options.allow_grow=true', "did you mean 'gpu_options.allow_growth'"),
    ('tf_config.intra_op_parallelism_threads=two', 'must be a whole number'),
    ('tf_config.5=1', "no setting 'tf_config.5'"),
    ('tf_config.env.TF_GPU_THREAD_MODE=gpu_private', None),
    ('tf_config.env.PYTHONPATH=/tmp', "no setting 'tf_config.env.PYTHONPATH'"),
    ('sched.G_lrate_dict={256:0.5}', 'not "256:0.5"; behind the colon goes a space'),
    ('sched.by_num_gpus={2: {minibatch_base: x}}', 'sched.minibatch_base: must be a whole number .* for 2 GPU'),
    ('metrics.0=fid50k', 'must be a list'),
    ('seed.1=5', 'seed: must be a whole number')])
def test_settings_are_checked(override, message):
    if message is None:
        load_named('stylegan-f', override)
        return
    with pytest.raises(UserError, match=message):
        load_named('stylegan-f', override)


def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.yaml').write_text('extends: demo\ntrain:\n  total_kimg: long\n')
    with pytest.raises(UserError, match=r'train.total_kimg: must be a number.*given in mine.yaml:3'):
        load('./mine.yaml', folders.config_dir)
    (tmp_path / 'mine.yaml').write_text('train: {}\n')
    with pytest.raises(UserError, match='G.func_name is missing'):
        load('./mine.yaml', folders.config_dir)
    (tmp_path / 'mine.yaml').write_text('extends: stylegan-f\nmetrics: []\n')
    with pytest.raises(UserError, match='dataset.tfrecord_dir is missing; it names the folder'):
        load('./mine.yaml', folders.config_dir)


@pytest.mark.parametrize('name', ['stylegan-f', 'celeba-256', 'ffhq-1024', 'stylegan-a', 'toyfaces-32', 'demo'])
def test_one_entry_of_a_table_is_set_and_the_others_stay_at_a_start_and_at_a_resume(name):
    plain = load_named(name)
    wanted = {**plain.sched.minibatch_dict, 64: 24}
    set_at_start = load_named(name, 'sched.minibatch_dict.64=24')
    assert set_at_start.sched.minibatch_dict == wanted
    assert dict(set_at_start.sched, minibatch_dict=None) == dict(plain.sched, minibatch_dict=None)
    updates, entries = config_files.parse_overrides(['sched.minibatch_dict.64=24'], run_config.FREE_SECTIONS)
    resumed, origins = run_config.resolve(*config_files.change(plain, {}, updates), entries)
    assert plain.sched.minibatch_dict.get(64) != 24
    assert resumed.sched.minibatch_dict == wanted
    assert origins['sched.minibatch_dict'] == '--set for 64'


@pytest.mark.parametrize('key,value', [('minibatch_dict', 12), ('max_minibatch_per_gpu', 2), ('G_lrate_dict', 0.5),
                                       ('D_lrate_dict', 0.5), ('tick_kimg_dict', 7)])
@pytest.mark.parametrize('name', ['stylegan-f', 'stylegan-a', 'toyfaces-64'])
def test_one_entry_changes_the_schedule_at_its_resolution_only(name, key, value):
    changed, plain = load_named(name, f'sched.{key}.32={value}').sched, load_named(name).sched
    assert changed[key][32] == value
    for resolution in (8, 16, 64, 128, 256, 512, 1024):
        options = dict(lod_initial_resolution=resolution, lod_training_kimg=0, lod_transition_kimg=0)
        a, b = (training_schedule(0, resolution.bit_length() - 1, 1, **dict(sched, **options))
                for sched in (changed, plain))
        assert a == b


def test_entries_of_the_settings_by_number_of_gpus_are_set_before_they_are_chosen():
    config = load_named('stylegan-f', 'sched.by_num_gpus.2.minibatch_dict.64=24',
                        'sched.by_num_gpus.2.minibatch_base=6', num_gpus=2)
    assert config.sched.minibatch_base == 6
    assert config.sched.minibatch_dict == {4: 256, 8: 256, 16: 128, 32: 64, 64: 24, 128: 16, 256: 8}
    assert load_named('stylegan-f', 'sched.by_num_gpus.2.minibatch_base=6').sched.minibatch_base == 4
    config = load_named('stylegan-f', 'sched.by_num_gpus.3={minibatch_base: 9}', num_gpus=3)
    assert config.sched.minibatch_base == 9


def test_a_table_given_as_a_whole_replaces_the_whole_table_everywhere():
    for name in ('stylegan-f', 'toyfaces-32'):
        assert load_named(name, 'sched.minibatch_dict={64: 24}').sched.minibatch_dict == {64: 24}


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(), st.text(max_size=5), st.just({}),
                   st.just([]), st.just({4: 1}), st.just({'a': 1}))
KEYS = st.sampled_from([
    'train', 'train.func_name', 'train.total_kimg', 'train.minibatch_repeats', 'train.drange_net',
    'train.image_snapshot_ticks', 'G', 'G.func_name', 'G.fmap_base', 'G.fmap_max', 'G.fmap_decay', 'G.mapping_layers',
    'G.latent_size', 'G.structure', 'D.mbstd_group_size', 'D.mbstd_num_features', 'G_opt.tf_optimizer',
    'dataset.class_name', 'dataset.resolution', 'sched', 'sched.lod_initial_resolution', 'sched.lod_training_kimg',
    'sched.max_minibatch_per_gpu', 'sched.minibatch_dict', 'sched.by_num_gpus', 'grid.size', 'grid.layout', 'metrics',
    'tf_config', 'num_gpus', 'seed', 'desc'])


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=int(os.environ.get('FUZZ_EXAMPLES', 80)), deadline=None, suppress_health_check=list(HealthCheck))
def test_any_values_are_taken_or_refused(changes):
    try:
        config = load_named('demo', *(f'{k}={config_files.format_value(v)}' for k, v in changes.items()))
        plan = Plan(config, facts())
        describe(plan, Machine('.'))
        warnings(plan, Machine('.'))
    except UserError:
        pass


# ---- Plan

def test_phases_follow_the_schedule():
    config = load_named('celeba-256')
    phases = make_phases(config, 8)
    assert [(p.kind, p.resolution, p.start_kimg, p.end_kimg) for p in phases[:4]] == [
        ('train', 8, 0, 600), ('fade', 16, 600, 1200), ('train', 16, 1200, 1800), ('fade', 32, 1800, 2400)]
    assert [(p.resolution, p.end_kimg, p.minibatch_per_gpu, p.G_lrate) for p in phases[-2:]] == [
        (256, 6000, 4, 0.002), (256, 25000, 4, 0.002)]
    images = sum(p.iterations * p.minibatch * 4 for p in phases)
    assert 25000000 <= images < 25000000 + 8 * 4


def test_a_run_without_growing_is_one_phase():
    config = load_named('demo', 'sched.lod_initial_resolution=32', 'sched.lod_training_kimg=0',
                        'sched.lod_transition_kimg=0', 'train.total_kimg=10')
    phases = make_phases(config, 5)
    assert [(p.kind, p.resolution, p.start_kimg, p.end_kimg) for p in phases] == [('train', 32, 0, 10)]


def test_iterations_equal_those_of_the_loop():
    config = load_named('demo', 'train.total_kimg=3.3', 'sched.lod_training_kimg=0.5', 'sched.lod_transition_kimg=0.7',
                        'train.minibatch_repeats=3')
    nimg, count = 0, 0
    while nimg < 3300:
        nimg += 3 * training_schedule(nimg, 5, 1, **config.sched).minibatch
        count += 1
    assert sum(p.iterations for p in make_phases(config, 5)) == count


def test_minibatches_must_suit_devices_and_groups():
    config = load_named('stylegan-f', 'sched.by_num_gpus=null', 'sched.minibatch_base=6')
    with pytest.raises(UserError, match=r'resolution 8 each device gets 6 images, .* D.mbstd_group_size \(4\)'):
        Plan(config, facts(8))
    config.sched.minibatch_base = 2
    Plan(config, facts(8))  # a group may be as small as the minibatch
    config.num_gpus = 4
    with pytest.raises(UserError, match='minibatch'):
        Plan(config, facts(8))


def test_data_must_suit_networks():
    config = load_named('stylegan-f')
    with pytest.raises(UserError, match='squares whose side is a power of two'):
        Plan(config, facts(32, shape=[3, 24, 32]))
    for name in ('stylegan-f', 'gan2014-digits'):
        with pytest.raises(UserError, match='samples of 2x2; .* needs 4x4 or more'):
            Plan(load_named(name, 'dataset.tfrecord_dir=x'), facts(2, shape=[3, 2, 2]))
    with pytest.raises(UserError, match='no labels'):
        Plan(load_named('stylegan-f', 'grid.layout=row_per_class'), facts())
    with pytest.raises(UserError, match='start at 4'):
        Plan(load_named('stylegan-f', 'sched.lod_initial_resolution=2'), facts())


def test_networks_must_have_channels_at_every_resolution():
    with pytest.raises(UserError, match=r'fmap_base \(8\) .* no channels at 32x32 .*; raise G.fmap_base'):
        Plan(load_named('stylegan-f', 'G.fmap_base=8'), facts(32))
    with pytest.raises(UserError, match=r'D.mbstd_num_features \(3\) does not divide the 512 channels'):
        Plan(load_named('stylegan-f', 'D.mbstd_num_features=3'), facts(32))


# ---- Forecasts

def test_parameter_counts_are_the_published_ones():
    config = load_named('stylegan-f')
    sizes = forecast.network_sizes(config.G, config.D, facts(1024))
    assert (sizes.G_params, sizes.D_params) == (26219627, 23087249)


def trainable_params(func_name, **kwargs):
    import numpy as np

    from dnnlib import tflib
    net = tflib.Network('N', func_name=func_name, **kwargs)
    return sum(int(np.prod(var.shape.as_list())) for var in net.trainables.values())


@pytest.mark.parametrize('name,labels', [('stylegan-f', 0), ('stylegan-f', 3), ('stylegan-d', 0), ('stylegan-b', 0),
                                         ('stylegan-a', 0)])
def test_parameter_counts_equal_the_networks(fresh_graph, name, labels):
    config = load_named(name, 'G.fmap_base=256', 'G.fmap_max=24', 'D.fmap_base=256', 'D.fmap_max=24')
    sizes = forecast.network_sizes(config.G, config.D, facts(16, 1, label_size=labels))
    data = dict(num_channels=1, resolution=16, label_size=labels)
    assert sizes.G_params == trainable_params(**dict(config.G, **data))
    assert sizes.D_params == trainable_params(**dict(config.D, **data))


@pytest.mark.parametrize('name, shape, labels', [
    ('minimal-gan-z32', [2], 0), ('minimal-gan', [2], 3), ('dcgan-64', [3, 64, 64], 0), ('dcgan-64', [1, 8, 8], 2),
    ('gan2014-digits', [1, 8, 8], 2), ('gan2014-digits-conv', [3, 32, 32], 0)])
def test_parameter_counts_of_the_lecture_equal_the_networks(fresh_graph, name, shape, labels):
    more = ['G.ngf=4', 'D.ndf=4'] if name == 'dcgan-64' else []
    config = load_named(name, *more)
    resolution = max(shape[1:] or [1])
    sizes = forecast.network_sizes(config.G, config.D, EasyDict(shape=shape, label_size=labels))
    data = dict(num_channels=shape[0], resolution=resolution, label_size=labels)
    assert sizes.G_params == trainable_params(**dict(config.G, **data))
    assert sizes.D_params == trainable_params(**dict(config.D, **data))
    assert forecast.relative_cost(sizes, resolution) > 0


@pytest.mark.parametrize('name, shape, problem', [
    ('dcgan-64', [2], r'G.func_name is training.networks_dcgan.G_dcgan, which is for images.*points of 2 numbers'),
    ('stylegan-f', [2], 'G_style, which is for images'), ('dcgan-64', [1, 4, 4], '8x8 or more'),
    ('minimal-gan', [3, 64, 64], r'which is for points.*\[3, 64, 64\]'), ('dcgan-64', [3, 32, 64], 'squares')])
def test_images_and_points_must_suit_networks(name, shape, problem):
    with pytest.raises(UserError, match=problem):
        Plan(load_named(name), facts(max(shape[1:] or [1]), shape=shape))


@pytest.mark.parametrize('names, params', [
    (['ffhq-a', 'celebahq-a', 'ffhq-b', 'celebahq-b', 'ffhq-traditional-0'], 23079115),
    (['ffhq-c', 'celebahq-c'], 30400651), (['ffhq-d', 'celebahq-d'], 26214539),
    (['ffhq-e', 'celebahq-e', 'ffhq-f', 'celebahq-f', 'ffhq-style-8'], 26219627),
    (['ffhq-mixing-0', 'ffhq-mixing-50', 'ffhq-mixing-90', 'ffhq-mixing-100'], 26219627),
    (['ffhq-traditional-8'], 25180363), (['ffhq-style-0'], 24118379), (['ffhq-style-1'], 24381035),
    (['ffhq-style-2'], 24643691)])
def test_networks_of_the_paper_have_their_full_size(names, params):
    for name in names:
        config = load_named(name)
        sizes = forecast.network_sizes(config.G, config.D, facts(1024))
        assert (name, sizes.G_params, sizes.D_params) == (name, params, 23087249)


@pytest.mark.slow
def test_every_network_of_the_paper_can_be_built_at_32x32(fresh_graph):
    built = {}
    for name in NAMES:
        if name.startswith(('ffhq', 'celebahq', 'lsun')):
            config = load_named(name, 'G.fmap_base=64', 'G.fmap_max=8', 'D.fmap_base=64', 'D.fmap_max=8')
            for section in (config.G, config.D):
                if section not in built.values():
                    built[f'{name} {section.func_name}'] = section
                    trainable_params(num_channels=3, resolution=32, label_size=0, **section)
    assert len(built) == 14  # G of A to F, two shares of mixing, four depths of mapping; two discriminators


def test_forecasts_grow_with_what_they_depend_on():
    def forecast_of(*overrides):
        config = load_named('stylegan-f', 'device=gpu', *overrides)
        return Plan(config, facts(256)).needs
    base = forecast_of()
    assert 5e9 < base.memory < 9e9
    assert forecast_of('sched.max_minibatch_per_gpu={256: 4, 128: 8, 64: 16, 32: 16}').memory < base.memory
    assert 2.5e8 < base.disk.snapshot < 3.5e8
    assert forecast_of('train.network_snapshot_ticks=1').disk.total > 3 * base.disk.total


def test_warnings_and_refusals_for_the_disk(tmp_path, monkeypatch):
    config = load_named('stylegan-f')
    plan = Plan(config, facts(256))
    monkeypatch.setattr(machine, 'free_disk', lambda folder: 5e9)
    checks.check_disk(plan, Machine(str(tmp_path)))
    assert any('may grow to' in text for text in warnings(plan, Machine(str(tmp_path))))
    monkeypatch.setattr(machine, 'free_disk', lambda folder: 1e9)
    with pytest.raises(UserError, match='has 1.0 GB of free disk space; a run needs'):
        checks.check_disk(plan, Machine(str(tmp_path)))
    assert machine.free_disk(str(tmp_path / 'not' / 'there')) > 0


def test_small_and_labelled_data_get_a_warning(tmp_path):
    config = load_named('demo', 'metrics=[]')
    data = facts(num_images=9999, unused_labels='a/x-rxx.labels')
    texts = warnings(Plan(config, data), Machine(str(tmp_path)))
    assert 'only 9999 images' in texts[0]
    assert 'labels (x-rxx.labels) that this run does not use' in texts[1]
    assert warnings(Plan(config, facts()), Machine(str(tmp_path))) == []


@pytest.mark.parametrize('kimg,message', [(30, 'while the full resolution is still fading in'), (20, 'ends at 16x16')])
def test_a_run_too_short_to_reach_full_resolution_gets_a_warning(tmp_path, kimg, message):
    config = load_named('demo', f'train.total_kimg={kimg}', 'sched.lod_training_kimg=8', 'sched.lod_transition_kimg=8')
    texts = warnings(Plan(config, facts()), Machine(str(tmp_path)))
    assert message in texts[0]


def test_gpus_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(tflib, 'list_gpus', lambda: ['gpu:0'])
    engine_checks.check_devices(load_named('stylegan-f'))
    with pytest.raises(UserError, match='--num-gpus 1'):
        engine_checks.check_devices(load_named('celeba-256'))
    monkeypatch.setattr(tflib, 'list_gpus', lambda: [])
    engine_checks.check_devices(load_named('stylegan-f'))
    engine_checks.check_devices(load_named('celeba-256', device='cpu'))
    for name, device in [('celeba-256', 'auto'), ('stylegan-f', 'gpu')]:
        with pytest.raises(UserError, match='--device cpu'):
            engine_checks.check_devices(load_named(name, device=device))


def test_loop_arguments_fit_the_loop():
    config = load_named('demo')
    kwargs = run_config.loop_arguments(config, '/data')
    signature = signatures.read_signature(LOOP)
    assert set(kwargs) <= set(signature.params)
    assert kwargs.dataset_args.data_dir == '/data'
    required = {k for k, default in signature.params.items() if default is signatures.REQUIRED}
    assert required - set(kwargs) == {'run_dir', 'run_context'}


# ---- Probe

def test_probes_hold_one_resolution_for_a_few_iterations():
    config = load_named('stylegan-f', 'metrics=[]')
    phase = make_phases(config, 8)[-1]
    probed = probe.probe_config(config, phase)
    phases = make_phases(probed, 8)
    assert [(p.resolution, p.minibatch, p.iterations) for p in phases] == [(256, 8, probe.ITERATIONS)]
    assert config.train.total_kimg == 25000


def test_probes_are_interpolated_by_iterations_and_cost(monkeypatch):
    config = load_named('stylegan-f', 'metrics=[]')
    plan = Plan(config, facts(256))

    def seconds(config, data_dir, phase):  # 0.2 s an iteration, and some for each image
        return 200 / phase.minibatch + 1e-9 * forecast.relative_cost(plan.sizes, phase.resolution)
    monkeypatch.setattr(probe, '_probe', seconds)
    result = probe.measure(plan, '/data')
    assert result.measured == [8, 256]
    for phase in plan.phases:
        assert result.per_kimg[phase.resolution] == pytest.approx(seconds(None, None, phase))
    assert result.seconds == pytest.approx(sum(seconds(None, None, p) * (p.end_kimg - p.start_kimg)
                                               for p in plan.phases))
