import math
import os
import subprocess
import sys

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import config as folders
from dnnlib import config_files
from dnnlib.util import UserError
from dnnlib.values import signatures, yaml_values
from experiment import run_config


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A function that writes files given as name=text and loads the configuration `a` with overrides."""
    monkeypatch.chdir(tmp_path)

    def load(*overrides, **files):
        for name, text in files.items():
            (tmp_path / f'{name}.yaml').write_text(text)
        updates, entries = config_files.parse_overrides(overrides, flat_sections=('tf_config',))
        config, origins = config_files.load_config('a', str(tmp_path), updates)
        run_config.set_entries(config, origins, entries)
        return config, origins
    return load


# ---- Values

def _tree(node):
    """What `yaml_values` looks at of a tree of nodes; of nulls it never tells the line."""
    value = node and node.value
    if isinstance(value, list):
        value = [[_tree(part) for part in item] if isinstance(item, tuple) else _tree(item) for item in value]
    return node and (node.id, node.tag, value, node.tag.endswith('null') or node.start_mark.line)


@pytest.fixture
def same_in_both():
    """A function that compares what both readers of YAML make of a text; False where libyaml shall not read it."""
    def compare(text):
        if not yaml_values._is_tame(text):
            return False
        try:
            found = _tree(yaml_values._FastNodes(text).get_single_node())
        except yaml.YAMLError:
            return True         # whose sentence is PyYAML's
        assert found == _tree(yaml_values._Nodes(text).get_single_node())
        return True
    return compare


def test_libyaml_reads_our_configurations_as_pyyaml_does(same_in_both):
    paths = [os.path.join(place, name) for place, _, names in os.walk(folders.config_dir) for name in names
             if name.endswith('.yaml')]
    assert len(paths) > 40
    for path in paths:
        with open(path) as f:
            assert same_in_both(f.read()), path


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from([
    'a', '1', 'b: ', 'a:', '- ', '\n', '\n  ', '\n    ', '[', ']', '{', '}', ', ', '# c', '"', "'", '|', '>-\n', '-',
    '---\n', '...\n', '~', 'null', '\\', '\r\n', '%', '`', '<<: ', '?', '!', '&x ', '*x', '\t']),
    max_size=16).map(''.join))
def test_libyaml_reads_nothing_that_pyyaml_reads_otherwise(same_in_both, text):
    same_in_both(text)



@pytest.mark.parametrize('text,value', [
    ('1', 1), ('-12', -12), ('0x1f', 31), ('0o17', 15), ('010', 10), ('1.5', 1.5), ('1e-8', 1e-8), ('.5', .5),
    ('-.inf', -math.inf), ('true', True), ('False', False), ('null', None), ('~', None), ('', None), ('on', 'on'),
    ('no', 'no'), ('12:30', '12:30'), ('2020-01-01', '2020-01-01'), ('1_000', '1_000'), ('"1"', '1'),
    ('[]', []), ('[1, a]', [1, 'a']), ('{4: 128, 8: 64}', {4: 128, 8: 64}), ('func.name', 'func.name')])
def test_values_are_typed_by_yaml_1_2(text, value):
    parsed, _ = config_files.parse_yaml(text, 'x')
    assert parsed == value
    assert type(parsed) is type(value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
    | st.text(st.characters(blacklist_categories=('Cs',)), max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(blacklist_categories=('Cs',)), max_size=8)
                      | st.integers(-yaml_values.MAX_KEY, yaml_values.MAX_KEY), inner, max_size=4), max_leaves=15)


@given(PLAIN)
@settings(max_examples=60, deadline=None)
def test_written_values_are_read_back(value):
    assert config_files.parse_yaml(config_files.format_value(value), 'x')[0] == value
    assert config_files.parse_yaml(config_files.dump_config({'a': value, 'b': {'c': value}}, {'a': 'note'}),
                                   'x')[0] == {'a': value, 'b': {'c': value}}


@given(st.text(max_size=60) | st.text('{}[]:,-!&*#|>%@`"\' \n\tabc01.', max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_or_refused(text):
    try:
        config_files.parse_yaml(text, 'x')
    except UserError as err:
        assert str(err).startswith('x')


@given(st.binary(max_size=80))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_file_is_read_or_refused(tmp_path, data):
    (tmp_path / 'a.yaml').write_bytes(data)
    try:
        config_files.load_config('a', str(tmp_path))
    except UserError:
        pass


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_override_is_read_or_refused(tmp_path, text):
    (tmp_path / 'a.yaml').write_text('train: {total_kimg: 5}\n')
    try:
        updates, entries = config_files.parse_overrides([text, 'train.' + text])
        run_config.set_entries(*config_files.load_config('a', str(tmp_path), updates), entries)
    except UserError:
        pass


@pytest.mark.parametrize('text,message', [
    ('a: 1\nb: [1', r'a.yaml, line 2: this is not valid YAML'),
    ('a: 1\n  b: 2', r'a.yaml, line 2: '),
    ('\ta: 1', r'a.yaml, line 1: '),
    ('a: 1\nb: 2\na: 3', r"a.yaml, line 3: 'a' is given twice"),
    ('a: !!python/object/apply:os.system [ls]', r"line 1: values of the type '.*' are not supported"),
    ('a: !!timestamp 2020-01-01', 'not a value of the type timestamp'),
    ('a: !!binary aGk=', 'not a value of the type binary'),
    ('a: &x [1]\nb: *x', r'line 2: .*references'),
    ('1.5: a', 'keys must be names or whole numbers'),
    ('[1]: a', 'keys must be|not valid YAML'),
    ('- a', r'a.yaml: a configuration must be a mapping of sections, not a list'),
    ('word', 'must be a mapping of sections, not a text'),
    ('a: 1\n---\nb: 2', 'line 2: .*not valid YAML'),
    ('[' * 5000, 'nested too deeply|not valid YAML'),
    ('extends: [a]', 'a.yaml, line 1: extends must be'),
    ('a: \x01', 'not valid YAML'),
])
def test_mistakes_in_a_file_are_named_with_their_line(folder, text, message):
    with pytest.raises(UserError, match=message):
        folder(a=text)


def test_files_that_are_no_text_or_too_large_are_refused(folder, tmp_path):
    (tmp_path / 'a.yaml').write_bytes(b'a: \xff')
    with pytest.raises(UserError, match='not a text file in UTF-8'):
        folder()
    (tmp_path / 'a.yaml').write_bytes(b'#' * (config_files.MAX_BYTES + 1))
    with pytest.raises(UserError, match='larger than'):
        folder()


# ---- Extending

def test_sections_merge_and_tables_are_replaced(folder):
    config, origins = folder(
        base='train: {x: 1, y: 2}\nsched:\n  d: {4: 1, 8: 2}\n  e: {4: 1}\nlist: [1, 2]\n',
        a='extends: base\ntrain: {y: 3}\nsched:\n  d: {16: 3}\n  e: {}\nlist: [5]\n')
    assert config == {'train': {'x': 1, 'y': 3}, 'sched': {'d': {16: 3}, 'e': {}}, 'list': [5]}
    assert origins == {'train.x': 'base.yaml:1', 'train.y': 'a.yaml:2', 'sched.d': 'a.yaml:4', 'sched.e': 'a.yaml:5',
                       'list': 'a.yaml:6'}


def test_another_function_starts_its_section_afresh(folder):
    config, origins = folder('D_loss.wgan_lambda=5', 'D_loss.func_name=other',
                             base='D_loss: {func_name: f, r1_gamma: 10}\nG: {func_name: g, k: 1}\n',
                             a='extends: base\nG: {func_name: g, m: 2}')
    assert config.D_loss == {'func_name': 'other', 'wgan_lambda': 5}
    assert config.G == {'func_name': 'g', 'k': 1, 'm': 2}
    assert origins['D_loss.wgan_lambda'] == '--set'
    assert 'D_loss.r1_gamma' not in origins


def test_extends_follows_paths_and_names(folder, tmp_path):
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'deep' / 'mine.yaml').write_text('extends: ./next.yaml\nv: 1\n')
    (tmp_path / 'deep' / 'next.yaml').write_text('extends: base\nw: 1\n')
    assert folder(base='u: 1', a='extends: deep/mine.yaml')[0] == {'u': 1, 'w': 1, 'v': 1}


FAMILY = '''# What they share
group: Papers
common: {train: {x: 1, y: 1}, d: {func_name: f, k: 1}}
variants:
  one: {title: "The first", extends: base}
  two:
    title: The second
    extends: one
    train: {y: 2}
'''


def test_a_family_holds_several_configurations(folder, tmp_path):
    config, origins = folder(base='train: {y: 0, z: 0}\nd: {func_name: g, j: 1}', family=FAMILY, a='extends: two')
    assert config == {'train': {'x': 1, 'y': 2, 'z': 0}, 'd': {'func_name': 'f', 'k': 1}}
    assert origins['train.y'] == 'family.yaml:9' and origins['train.x'] == 'family.yaml:3'
    assert config_files.group_configs(str(tmp_path)) == [
        ('', [('a', ''), ('base', '')]), ('Papers', [('one', 'The first'), ('two', 'The second')])]
    assert folder(family=FAMILY, base='', a='extends: ./family.yaml:two')[0].train == {'x': 1, 'y': 2}


@pytest.mark.parametrize('a, family, message', [
    ('extends: family', FAMILY, r'family.yaml: say which variant \(known: one, two\), such as \S*family.yaml:one'),
    ('extends: ./family.yaml:three', FAMILY, "there is no variant 'three'"),
    ('extends: x', 'variants: {x: {extends: x}}', 'in a circle'),
    ('extends: x', 'variants: {x: 5}', 'line 1: a variant must be a mapping'),
    ('extends: x', 'variants: {x: {}}\ntrain: {}', 'nothing else'),
    ('extends: x', 'variants: {x: {}}\ncommon: 5', 'nothing else'),
    ('extends: ./family.yaml', 'variants: 5', 'nothing else'),
    ('extends: ./family.yaml', 'variants: {}', 'say which variant'),
])
def test_mistakes_in_a_family_are_named(folder, a, family, message):
    with pytest.raises(UserError, match=message):
        folder(a=a, family=family, base='')


def test_circles_and_missing_files_are_refused(folder):
    with pytest.raises(UserError, match=r'in a circle: a.yaml -> a.yaml'):
        folder(a='extends: a')
    with pytest.raises(UserError, match=r'in a circle: a.yaml -> b.yaml -> a.yaml'):
        folder(a='extends: b', b='extends: ./a.yaml')
    with pytest.raises(UserError, match=r"no configuration 'bb'; did you mean 'b'\? \(known: a, b"):
        folder(a='extends: bb')
    with pytest.raises(UserError, match='no configuration file .*missing.yaml'):
        folder(a='extends: ./missing.yaml')
    with pytest.raises(UserError, match='name of a configuration'):
        folder(a='extends: ""')


# ---- Overrides

def test_overrides_are_typed_and_win(folder):
    config, origins = folder('train.total_kimg=2', 'metrics=[]', 'train.mirror=true', 'G_opt.epsilon=1e-8', 'desc=x y',
                             'tf_config.rnd.np_random_seed=5', 'sched.d={8: 32}', 'train.text="3"',
                             a='train: {total_kimg: 100, x: 1}\nmetrics: [fid50k]\nsched: {d: {4: 1}}\n')
    assert config == {'train': {'total_kimg': 2, 'x': 1, 'mirror': True, 'text': '3'}, 'metrics': [],
                      'sched': {'d': {8: 32}}, 'G_opt': {'epsilon': 1e-8}, 'desc': 'x y',
                      'tf_config': {'rnd.np_random_seed': 5}}
    assert origins['train.total_kimg'] == '--set'
    assert origins['train.x'] == 'a.yaml:1'


def test_one_entry_of_a_table_can_be_set(folder):
    config, _ = folder('sched.d.8=32', 'sched.d.16=64', 'sched.e.4=1', a='sched: {d: {4: 1, 8: 2}}')
    assert config.sched == {'d': {4: 1, 8: 32, 16: 64}, 'e': {4: 1}}


@pytest.mark.parametrize('override', [
    '', 'x', '=5', 'train.=5', '.x=5', 'train..x=5', 'extends=b', 'x=[1', 'x={a: 1, a: 2}'])
def test_overrides_that_make_no_sense_are_refused(folder, override):
    with pytest.raises(UserError, match='--set'):
        folder(override, a='train: {x: 1}')


def test_configs_are_listed_with_their_first_line(folder, tmp_path):
    folder(a='# First thing\nx: 1', b='y: 1')
    assert config_files.list_configs(str(tmp_path)) == [('a', 'First thing'), ('b', '')]


# ---- Signatures

@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / 'sig_package').mkdir()
    (tmp_path / 'sig_package' / '__init__.py').write_text(
        'raise RuntimeError("imported")\nfrom sig_package.inner import build as public\n')
    (tmp_path / 'sig_package' / 'inner.py').write_text('''raise RuntimeError('imported')
PRESET = 5

def build(
        latents_in,         # Input.
        size=4,             # Size, in pixels.
        rate=1 + x,
        *, mode=None,
        **kwargs):
    make('a', func_name=part, **kwargs)
    make('b', func_name='sig_package.inner.other', **kwargs)
    make('c', func_name=unrelated)

def part(depth=3, **_kwargs): pass

class Base:
    def __init__(self, a, b=2): pass

class Derived(Base):
    """Does things.

    Args:
        a, b: sizes in
            pixels.
        c: nothing
    """
''')
    monkeypatch.syspath_prepend(str(tmp_path))
    return 'sig_package'


def test_signatures_are_read_without_importing(module):
    s = signatures.read_signature(module + '.public')
    assert dict(s.params) == {'latents_in': signatures.REQUIRED, 'size': 4, 'rate': signatures.COMPUTED, 'mode': None}
    assert s.takes_any
    assert s.forwards_to == ['sig_package.inner.part', 'sig_package.inner.other']
    assert s.comments == {'latents_in': 'Input.', 'size': 'Size, in pixels.'}
    assert dict(signatures.read_signature(module + '.inner.Derived').params) == {'a': signatures.REQUIRED, 'b': 2}
    assert signatures.read_signature(module + '.inner.Derived').comments == {'a': 'Sizes in pixels.',
                                                                             'b': 'Sizes in pixels.'}
    assert signatures.top_level_names(module + '.inner') == ['PRESET', 'build', 'part', 'Base', 'Derived']


@pytest.mark.parametrize('name', [
    'sig_package.inner.nothing', 'sig_package.nowhere.x', 'nowhere', '', '..', 'os', 'a..b'])
def test_unknown_names_have_no_signature(module, name):
    assert signatures.read_signature(name) is None


def test_reading_signatures_needs_no_tensorflow():
    code = ('import sys; from dnnlib.values.signatures import read_signature; '
            's = read_signature("dnnlib.tflib.optimizer.Optimizer"); '
            'assert "use_loss_scaling" in s.params; sys.exit("tensorflow" in sys.modules)')
    root = os.path.dirname(os.path.dirname(os.path.abspath(config_files.__file__)))
    assert subprocess.call([sys.executable, '-c', code], cwd=root) == 0
