"""The words after a parameter's comment: what they allow, and what is said of what they do not."""

import math

import pytest

from dnnlib import registry
from dnnlib.config_files import format_value, parse_yaml
from dnnlib.util import UserError
from dnnlib.values import signatures, value_types
from experiment import session_settings, settings

pytestmark = pytest.mark.both

ALLOWED = [
    ('0 to 1', 0.5, [0, 1, 0.25, 1e-30], [-1e-9, 1.1, math.nan, math.inf, True, None, 'x', [0], {}]),
    ('1 to 8', 4, [1, 8], [0, 9, 1.0, 10 ** 400, True]),
    ('0 to 1, or null', 0.5, [None, 0.5], [2, 'null']),
    ('a number', None, [0, -1e299, 3], [math.inf, 10 ** 301, -10 ** 400, 'x', None]),
    ('a whole number from 1 to 64, or null', None, [None, 1, 64], [0, 65, 2.0, 'x']),
    ('auto, cpu or gpu', 'auto', ['auto', 'cpu', 'gpu'], ['tpu', None, 1]),
    ('true, false or auto', 'auto', [True, False, 'auto'], [1, 0, 'true', None]),
    ('0 to 65536, or full', 0, [0, 65536, 'full'], [-1, 65537, 'some', 1.5, True]),
    ('a text, or null', None, ['x', '', None], [1, 'a\0', '\ud800', 'x' * 10001, []]),
    ('a list of 2 rising numbers from -10 to 10', (-1, 1), [[-1, 1], [0, 0.5], (-10, 10)],
     [[0, 0], [1, -1], [0], [0, 1, 2], ['x', 'y'], [math.nan, 1], [0, 11], [None, 1], [False, True], 5, 'ab', None]),
    ('a list of 1 to 4 weights, or null', None, [[1, 2, 1], [0.5], None], [[], [0, 0], [1, -1], [1] * 5, ['x'], [[1]]]),
    ('a list of 3 whole numbers from 1 to 8', None, [[1, 2, 8]], [[1, 2], [0, 1, 2], [1.0, 2, 3]]),
    ('a list of texts', None, [['a', 'b'], []], [['a', 1], 'a']),
    ('a table of whole numbers from 1 to 8, or null', None, [{4: 1, 1024: 8}, {}, None],
     [{4: 0}, {4: 1.5}, {'a': 1}, {4: 'x'}, {0: 1}, {4: {}}, {True: 1}, [1], 5]),
    ('a name', None, ['fid50k', 'a-b_c.d', '0'], ['', '../x', 'a/b', '.x', 'a b', 5, 'x' * 61]),
    ('1080p, 4k or a size such as 8x4', '1080p', ['1080p', '4k', '8x4', '999x1'], ['8 x 4', '0x4', '1000x1', 'x', 8])]


@pytest.mark.parametrize('words,default,good,bad', ALLOWED, ids=[words for words, *_ in ALLOWED])
def test_words_allow_what_they_say(words, default, good, bad):
    kind = value_types.parse(words, default)
    assert all(kind.problem(value) is None for value in good)
    for value in bad:
        problem = kind.problem(value)
        assert problem and (problem.startswith('must ') or problem.startswith('each must ')) and len(problem) < 300
    assert value_types.parse(str(kind), default).problem(good[0]) is None  # as written in docs/configs.md


@pytest.mark.parametrize('words,default', [
    ('0 to 1', None), ('see there', 1), ('auto', 'auto'), ('0 or 1: off', 4), ('', 1), ('a list of things', None)])
def test_other_words_are_no_description(words, default):
    assert value_types.parse(words, default) is None


@pytest.mark.parametrize('comment,default,meaning,text', [
    ('Rate; 0 to 1', 0.5, 'Rate.', 'a number from 0 to 1'), ('Rate; of change', 0.5, 'Rate; of change', 'a number'),
    ('Old; new; 1 to 4.', 2, 'Old; new.', 'a whole number from 1 to 4'), (None, True, None, 'true or false'),
    (None, [1, 2], None, 'a list of whole numbers'), (None, 'x', None, 'a text')])
def test_a_comment_is_a_meaning_and_a_type(comment, default, meaning, text):
    found, kind = value_types.split_comment(comment, default)
    assert (found, str(kind)) == (meaning, text)
    assert value_types.split_comment('Anything', None) == ('Anything', None)


def known_settings():
    """(dotted key, Setting) of all that a configuration can hold."""
    for key, setting in settings.top_level().items():
        yield key, setting
    for name, section in settings.SECTIONS.items():
        for function in registry.declared(name) if section.selector else [None]:
            known = settings.parameters(name, {section.selector: function} if function else {})
            for key, setting in known.items():
                if key not in (section.selector, 'by_num_gpus'):
                    yield f'{name}.{key} of {function}', setting
    for function in registry.declared('metric'):
        for key, setting in settings.parameters('metric', dict(func_name=function)).items():
            if key != 'func_name':
                yield f'{key} of {function}', setting
    for optimizer in settings.TF_OPTIMIZERS:
        for key, setting in settings.parameters('G_opt', dict(tf_optimizer=optimizer)).items():
            yield f'G_opt.{key} of {optimizer}', setting


def test_every_setting_has_a_meaning_and_a_type_which_its_default_suits_and_numbers_have_a_range():
    for name, setting in known_settings():
        assert setting.meaning, name
        assert setting.type is not None, f'{name}: say after a semicolon what is allowed, see dnnlib/values'
        if setting.default is not signatures.REQUIRED and setting.default is not signatures.COMPUTED:
            assert setting.type.problem(setting.default) is None, name
        for number in setting.type.alternatives:
            if isinstance(number, value_types.Number):
                assert number.is_bounded, f'{name}: give it a range'


def fields(descriptor, prefix=''):
    """(path, type) of the single fields of a protocol buffer's groups."""
    for field in descriptor.fields:
        is_list = field.is_repeated if hasattr(field, 'is_repeated') else field.label == field.LABEL_REPEATED
        if is_list:
            continue
        if field.message_type is not None:
            yield from fields(field.message_type, f'{prefix}{field.name}.')
        else:
            yield prefix + field.name, field.cpp_type


def test_settings_of_the_session_are_those_of_the_engine():
    from dnnlib.tflib import tf
    samples = {'bool': True, 'text': 'x', 'count': 1, 'share': 0.5}
    wanted = {field: samples['bool' if kind == 7 else 'text' if kind == 9 else 'share' if kind in (5, 6) else 'count']
              for field, kind in fields(tf.ConfigProto.DESCRIPTOR)}
    session_settings.check_session(wanted, {})
    for field, value in wanted.items():
        if not field.startswith(session_settings.EXPERIMENTS):
            other = 'x' if value != 'x' else 1
            with pytest.raises(UserError, match='must be'):
                session_settings.check_session({field: other}, {})


def test_numbers_and_defaults_are_written_as_they_are_read():
    for _, setting in known_settings():
        if setting.default not in (signatures.REQUIRED, signatures.COMPUTED):
            assert parse_yaml(format_value(setting.default), 'x')[0] == (
                list(setting.default) if isinstance(setting.default, tuple) else setting.default)
