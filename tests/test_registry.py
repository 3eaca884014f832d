"""Names in files: only those that modules of this project declare, and those of modules that the user allowed."""

import json
import sys

import pytest

import config
import run_metrics
import train
from dnnlib import registry, tflib
from dnnlib.tflib import network_state
from dnnlib.util import UserError, get_obj_by_name
from dnnlib.values import signatures, value_types
from experiment import run_config

KINDS = ['train', 'G', 'D', 'network', 'G_loss', 'D_loss', 'dataset', 'metric']
MODULE = '''
print('imported')

def my_loss(G, D, opt, training_set, minibatch_size, strength=2.0):
    pass

def _hidden():
    pass
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's own in the current folder, which nobody has allowed yet."""
    (tmp_path / 'own_module.py').write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(registry, '_allowed', [])
    return 'own_module'


@pytest.mark.both
@pytest.mark.parametrize('kind', KINDS)
def test_declared_names_are_there_and_can_be_called(kind):
    names = registry.declared(kind)
    assert names
    for name, module in names.items():
        assert name.startswith(module + '.')
        assert callable(get_obj_by_name(name))
        assert signatures.read_signature(name) is not None
        registry.check(kind, name, 'here')


def test_every_declaration_is_of_a_known_kind_and_network_names_are_unique():
    for module in config.declaring_modules:
        table = signatures.constant(module, registry.CONSTANT)
        assert table and set(table) <= set(KINDS), module
    names = [name.rpartition('.')[2] for name in registry.declared(*registry.BUILD_FUNCTIONS)]
    assert len(set(names)) == len(names)
    assert set(names) <= set(tflib.registry.known_build_funcs())


@pytest.mark.parametrize('name', tflib.registry.known_build_funcs())
def test_networks_say_of_every_number_and_list_how_large_a_file_may_make_it(name):
    types = tflib.registry.argument_types(name)
    open_ended = [key for key, described in types.items() if described is not None
                  and any(isinstance(kind, value_types.Number) and not kind.is_bounded
                          for kind in described.alternatives)]
    assert types and not open_ended


@pytest.mark.parametrize('name', ['os.system', 'subprocess.call', 'builtins.eval', 'training.loss.tf', '', '.',
                                  'dnnlib.util.run_main', 'x', 5, None, ['a'], 'a' * 500, 'training.loss.G_wgan.x',
                                  'training..loss'])
def test_no_other_name_may_be_given(name):
    for kind in KINDS:
        with pytest.raises(UserError, match='^here: '):
            registry.check(kind, name, 'here')


def test_a_module_of_ones_own_counts_only_where_the_command_line_allows_it(module):
    with pytest.raises(UserError, match='if own_module is a module of your own, allow it by --allow-module own_module'):
        registry.check('G_loss', 'own_module.my_loss', 'here')
    registry.allow_module(module)
    registry.check('G_loss', 'own_module.my_loss', 'here')
    with pytest.raises(UserError, match="the module own_module has no 'my_los'; did you mean 'my_loss'"):
        registry.check('G_loss', 'own_module.my_los', 'here')
    with pytest.raises(UserError, match='not among'):
        registry.check('G_loss', 'own_module_2.my_loss', 'here')
    assert 'my_loss' in tflib.registry.known_build_funcs() and '_hidden' not in tflib.registry.known_build_funcs()
    assert 'own_module' not in sys.modules  # read, not imported


@pytest.mark.parametrize('name,message', [
    ('nowhere', 'no such module'), ('a b', "as for import"), ('../x', 'as for import'),
    ('training.loss', 'no permission'), ('', 'as for import'), ('broken', 'cannot read the module broken')])
def test_modules_that_cannot_be_allowed(module, tmp_path, name, message):
    (tmp_path / 'broken.py').write_text('def')
    with pytest.raises(UserError, match=message):
        registry.allow_module(name)


def test_train_takes_a_loss_of_the_users_own_with_its_settings_at_every_start(module, tmp_path, capsys, monkeypatch):
    options = ['--config', 'demo', '--print-config', '--set', 'G_loss={func_name: own_module.my_loss, strength: 3.0}']
    with pytest.raises(UserError, match='allow it by --allow-module own_module'):
        train.main(options)
    train.main(['--allow-module', module] + options)
    assert 'strength: 3.0' in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'strength'"):
        train.main(['--allow-module', module] + options + ['--set', 'G_loss.strenth=1.0'])

    settings = run_config.load('demo', config.config_dir, ['G_loss.func_name=own_module.my_loss'])[0]
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'submit_config.json').write_text(json.dumps(dict(format=1, provenance={}, config=settings)))
    monkeypatch.setattr(registry, '_allowed', [])  # as in a new process
    with pytest.raises(UserError, match='allow it by --allow-module own_module'):
        train.main(['--resume', 'run', '--print-config'])
    train.main(['--resume', 'run', '--print-config', '--allow-module', module])
    assert module not in sys.modules


def test_a_foreign_run_directory_cannot_name_what_is_called(tmp_path):
    (tmp_path / 'submit_config.json').write_text(json.dumps(dict(
        format=1, config=dict(dataset=dict(class_name='os.mkdir', path=str(tmp_path / 'made'))))))
    (tmp_path / 'network-final.pkl').write_bytes(b'x')
    with pytest.raises(UserError, match="dataset.class_name in the record of .*'os.mkdir' is not among the names"):
        run_metrics.main(['fid50k', '--run', str(tmp_path), '--preset', 'quick', '--device', 'cpu'])
    assert not (tmp_path / 'made').exists()


@pytest.mark.both
def test_a_stored_network_cannot_name_what_its_parts_are_made_by():
    state = dict(build_func_name='G_accel', build_module_src='', static_kwargs={'code_func': 'os.system'})
    with pytest.raises(UserError, match="argument code_func of the stored network 'G_accel': 'os.system' is not among"):
        network_state.stored_build_func(state, trust_stored_code=False)
    state['static_kwargs']['code_func'] = 'training.networks_stylegan.G_style'
    assert network_state.stored_build_func(state, trust_stored_code=False)[0].__name__ == 'G_accel'


@pytest.mark.parametrize('override,message', [
    ('G.code_func=os.system', "'os.system' is not among the names for G"),
    ('G.code_kwargs=5', 'must be a mapping or null'),
    ('G.code_kwargs={structur: fixed}', "did you mean 'structure'"),
    ('G.code_kwargs={5: 1}', 'must have names as keys'),
    ('G.code_kwargs={fmap_base: x}', 'fmap_base: must be a whole number'), ('G.truncation_psi=0.5', None),
    ('G.decoder_kwargs={}', 'is filled in')])
def test_the_keywords_of_a_part_are_checked_by_the_function_that_makes_it(override, message):
    if message is None:
        run_config.load('accel-stylegan-256', config.config_dir, [override])
        return
    with pytest.raises(UserError, match=message):
        run_config.load('accel-stylegan-256', config.config_dir, [override])
