"""All metrics on networks of every family: a number, or a null that says why, and never a traceback."""

import numpy as np
import pytest
from metric_helpers import make_faces

from dnnlib import tflib
from dnnlib.tflib import pickle_writer, tf
from metrics import presets
from metrics.context import open_context
from metrics.group import make_metric
from metrics.scores import records

STYLEGAN, PROGAN = 'training.networks_stylegan.G_style', 'training.networks_progan.G_paper'
SMALL = dict(num_channels=3, resolution=16, fmap_base=64, fmap_max=8, latent_size=8)
STYLES = dict(SMALL, func_name=STYLEGAN, dlatent_size=8, mapping_fmaps=8, mapping_layers=2, structure='fixed')
FAMILIES = {
    'stylegan': STYLES,
    'stylegan, conditional': dict(STYLES, label_size=2),
    # Configuration B: w feeds the dense input layer only.
    'traditional': dict(STYLES, use_styles=False, const_input_layer=False, use_noise=False, use_instance_norm=False),
    'grey': dict(STYLES, num_channels=1),
    'progan': dict(SMALL, func_name=PROGAN),
    'progan, conditional': dict(SMALL, func_name=PROGAN, label_size=2),
    'dcgan': dict(num_channels=3, resolution=16, func_name='training.networks_dcgan.G_dcgan', nz=8, ngf=4)}
WITHOUT_STYLES = ('progan', 'dcgan')
COUNTS = dict(num_images=8, num_samples=8, num_keep=4, epsilon=1e-2, num_subsets=2, subset_size=4, num_nearest=2,
              attrib_indices=[0], minibatch_per_gpu=4)
EXPECTED_NULLS = {
    'ppl': 'at least 32 pixels; these are 16x16', 'ls': 'a multiple; these are 16x16',
    'mix-traditional': 'takes no style in its layers', 'mix-plain': 'has no mapping and synthesis networks',
    'fid50k_decoded': 'no decoder of codes', 'w-plain': 'no space W',
    'jsd': 'measures points in the plane', 'mode_coverage': 'measures points in the plane'}


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp('faces'))


def small_metric(name):
    spec = presets.preset(name)
    names = make_metric(spec).settings.keys() | {
        'kid50k': {'num_subsets', 'subset_size'}, 'nearest': {'num_nearest'}, 'ls': {'attrib_indices'}}.get(name, set())
    return make_metric(dict(spec, **{key: value for key, value in COUNTS.items() if key in names}))


def reason_of(family, name):
    """What the null of a metric says; None where a number is expected."""
    kind = family.partition(',')[0]
    if '_mix' in name and (kind == 'traditional' or kind in WITHOUT_STYLES):
        return EXPECTED_NULLS['mix-traditional' if kind == 'traditional' else 'mix-plain']
    if name in ('ppl_wfull', 'ppl_wend') and kind in WITHOUT_STYLES:
        return EXPECTED_NULLS['w-plain']
    return EXPECTED_NULLS.get(name[:3] if name.startswith('ppl') else name)


@pytest.mark.parametrize('family', [
    pytest.param(name, marks=[pytest.mark.slow] * (name == 'progan, conditional')) for name in sorted(FAMILIES)])
def test_every_metric_is_a_number_or_a_null_with_its_reason(tmp_path, faces, family):
    path = str(tmp_path / 'network.pkl')
    with tf.Graph().as_default(), tflib.create_session().as_default():
        tflib.select_device('cpu')
        tf.set_random_seed(1)
        G = tflib.Network('G', **FAMILIES[family])
        pickle_writer.save((G, G, G), path)
    data = dict(tfrecord_dir=faces) if family != 'grey' else dict(
        class_name='training.dataset.SyntheticDataset', num_channels=1, num_images=20)
    session = {'graph_options.rewrite_options.disable_meta_optimizer': True}
    with open_context(path, dataset_args=data, features='standin', cache_dir=None, tf_config=session) as ctx:
        for name in presets.preset_names():
            record = small_metric(name).run_in(ctx, log_results=False, tolerant=True)
            values, reason = list(records.values_of(record).values()), reason_of(family, name)
            if reason is None:
                assert values and all(value is not None and np.isfinite(value) for value in values), (name, record)
            else:
                assert values == [None] * len(values) and reason in record['problems'][0], (name, record['problems'])
