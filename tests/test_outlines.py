"""Networks from files that get their variables before any graph is built."""

import numpy as np
import pytest

from dnnlib import UserError, tflib
from dnnlib.tflib import network_state, tf
from dnnlib.tflib.engine import seeded_by_name
from dnnlib.tflib.network import Network
from training.layers import outlines

pytestmark = pytest.mark.both

SMALL = dict(num_channels=3, resolution=16, fmap_base=32, fmap_max=8, latent_size=6, dlatent_size=8, mapping_fmaps=7,
             mapping_layers=2)
FUNCTION = 'training.networks_stylegan.G_style'
VARIANTS = [
    {}, dict(label_size=3), dict(structure='fixed'), dict(structure='linear', fmap_decay=0.5), dict(use_styles=False),
    dict(const_input_layer=False, use_noise=False), dict(use_wscale=False, mapping_lrmul=0.1), dict(mapping_layers=0,
                                                                                                    latent_size=8),
    dict(use_pixel_norm=True, use_instance_norm=False, nonlinearity='relu', blur_filter=None, dtype='float16',
         resolution=4, truncation_psi=None)]


def stored(**kwargs):
    """(state of a new generator, what its graph says)."""
    with tf.Graph().as_default(), tflib.create_session().as_default():
        net = Network('G', FUNCTION, **dict(SMALL, **kwargs))
        return _as_dicts(net), facts(net)


def _as_dicts(net):
    state = net.__getstate__()
    return dict(state, components={key: _as_dicts(part) for key, part in state['components'].items()})


def facts(net):
    """Everything about a network's variables and shapes, the operations that make initial values included."""
    def first_values(var):
        prefix = var.op.name + '/Initializer/'
        return [(op.name[len(prefix):], tf.get_static_value(op.outputs[0]) if op.type == 'Const' else op.type)
                for op in tf.get_default_graph().get_operations() if op.name.startswith(prefix)]
    return [str((name, var.name, var.dtype, var.shape.as_list(), var.trainable,
                 first_values(var) if var.shape.ndims else None)) for name, var in net.vars.items()] + [
        net.input_shapes, net.output_shapes, net.output_names, net.num_outputs, list(net.own_vars),
        list(net.trainables)]


def num_ops(kind):
    return sum(op.type == kind for op in tf.get_default_graph().get_operations())


@pytest.mark.parametrize('kwargs', VARIANTS, ids=[' '.join(kwargs) or 'plain' for kwargs in VARIANTS])
def test_outlines_tell_what_graphs_would(fresh_graph, kwargs):
    state, expected = stored(**kwargs)
    net = Network.from_state(state)
    assert num_ops('Conv2D') == num_ops('MatMul') == 0
    assert facts(net) == expected


def test_variables_without_a_graph_lie_where_those_of_a_graph_do(fresh_graph):
    # With first values of the same seeds, and found by those who build on them.
    state, _ = stored(latent_size=200)
    told = []
    for build in (lambda: Network('G', FUNCTION, **dict(SMALL, latent_size=200)), lambda: Network.from_state(state)):
        with tf.Graph().as_default(), tflib.create_session().as_default(), tf.device('/cpu:0'):
            tf.set_random_seed(5)
            net = build()
            told.append([(var.name, var.device, var.initializer.device, var.value().device, var.initial_value.op.type,
                          var.op.type, var in tf.global_variables(), var in tf.trainable_variables())
                         for var in net.vars.values()])
            net.get_output_for(tf.ones([1, 200]), tf.ones([1, 0]), structure='fixed')
            assert len(tf.global_variables()) == len(net.vars)
    assert told[0] == told[1]


def test_first_values_are_drawn_as_a_networks_scope_draws_them(fresh_graph):
    normal, zeros = tf.initializers.random_normal(0, 3.0), tf.initializers.zeros()
    wanted = [outlines.Variable('a', [40, 30], normal, True), outlines.Variable('b', [1001], zeros, False)]
    drawn = []
    for is_told in (False, True):
        with tf.Graph().as_default(), tflib.create_session().as_default():
            tf.set_random_seed(5)
            if is_told:
                made = network_state.make_variables('net', wanted)
            else:
                with tf.variable_scope('net', custom_getter=seeded_by_name):
                    made = [tf.get_variable(var.name, shape=var.shape, initializer=var.initializer,
                                            trainable=var.is_trainable) for var in wanted]
            tflib.run([var.initializer for var in made])
            drawn.append(tflib.get_vars(made))
    assert drawn[0][0].std() > 2.5
    for one, other in zip(*drawn):
        np.testing.assert_array_equal(one, other)


def test_a_network_from_a_file_is_built_once_and_listed_when_asked(fresh_graph, capsys):
    state, _ = stored()
    with tf.Graph().as_default(), tflib.create_session().as_default():
        built = Network('G', FUNCTION, **SMALL)
        tflib.set_vars({built.vars[name]: value for name, value in values(state)})
        layers = [(name, output.name) for name, output, _ in built.list_layers()]
        built.print_layers()
        images = built.run(np.ones([2, 6]), None, randomize_noise=False, structure='fixed')
    table = capsys.readouterr().out
    net = Network.from_state(state)
    assert np.array_equal(net.run(np.ones([2, 6]), None, randomize_noise=False, structure='fixed'), images)
    convolutions = num_ops('Conv2D')
    assert convolutions == 2 + 2 * (4 + 1)     # of one generator alone, four to upscale
    for name in ('G/_Run/concat/concat:0', 'G/_Run/G/images_out:0', 'G/_Run/G/G_synthesis/images_out:0'):
        assert tf.get_default_graph().get_tensor_by_name(name) is not None
    assert [(name, output.name) for name, output, _ in net.list_layers()] == layers
    net.print_layers()
    assert capsys.readouterr().out == table and num_ops('Conv2D') > 2 * convolutions
    got = tflib.run(net.output_templates, dict(zip(net.input_templates, [np.ones([2, 6]), np.zeros([2, 0])])))
    assert got[0].shape == images.shape


def values(state, prefix=''):
    for name, value in state['variables']:
        yield prefix + name, value
    for part in state['components'].values():
        for item in values(part, prefix + part['name'] + '/'):
            yield item


def test_variables_of_a_file_can_be_reset_cloned_and_stored(fresh_graph):
    state, _ = stored()
    net = Network.from_state(dict(state, variables=list(reversed(state['variables']))))
    assert list(net.own_vars) == ['lod', 'dlatent_avg']
    again = {name: value for name, value in values(_as_dicts(net))}
    assert all(np.array_equal(again[name], value) for name, value in values(state)) and len(again) == len(net.vars)
    copy = net.clone('Gs')
    copy.reset_vars()
    before, after = net.get_var('G_synthesis/4x4/Conv/weight'), copy.get_var('G_synthesis/4x4/Conv/weight')
    assert not np.array_equal(before, after) and 0.8 < after.std() < 1.2


@pytest.mark.parametrize('change', [
    dict(structure='recursive'), dict(fmap_max=np.int64(8)), dict(data_format='NCHW'), dict(is_validation=True),
    dict(unheard_of=1)], ids=lambda change: next(iter(change)))
def test_what_is_unusual_is_built_at_once(fresh_graph, change):
    state, _ = stored()
    for part in [state] + list(state['components'].values()) if 'structure' in change else [state]:
        part['static_kwargs'] = dict(part['static_kwargs'], **change)
    Network.from_state(state)
    assert num_ops('MatMul')


@pytest.mark.parametrize('change', [dict(resolution=32), dict(dlatent_size=9), dict(structure='spiral'),
                                    dict(fmap_base=16)], ids=lambda change: next(iter(change)))
def test_keywords_of_the_whole_that_contradict_the_parts_are_refused_at_once(fresh_graph, change):
    state, _ = stored()
    with pytest.raises((ValueError, UserError)):    # of which files make a sentence
        Network.from_state(dict(state, static_kwargs=dict(state['static_kwargs'], **change)))


def test_a_part_that_is_another_network_is_refused_at_once(fresh_graph):
    state, _ = stored()
    swapped = dict(mapping=state['components']['synthesis'], synthesis=state['components']['mapping'])
    with pytest.raises((ValueError, TypeError, UserError)):
        Network.from_state(dict(state, components=swapped))


def test_only_this_projects_own_functions_are_told_beforehand(fresh_graph, monkeypatch):
    def refuse(*args):
        raise AssertionError('asked')
    monkeypatch.setattr(outlines, 'G_style', refuse)
    state, _ = stored()
    with pytest.raises(AssertionError, match='asked'):
        Network.from_state(state)
    source = state['build_module_src'] + "\nOUTLINES = {'G_style': 'training.layers.outlines.G_style'}\n"
    foreign = dict(state, build_module_src=source, build_module='nets_of_mine')
    assert Network.from_state(foreign, trust_stored_code=True).output_shape == [None, 3, 16, 16]
