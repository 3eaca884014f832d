"""Plain values of YAML text, and nothing but plain values.

Mappings, lists, strings, numbers, booleans and null, typed by YAML 1.2's rules (`1e-8` is a number, `on` is a string).
"""

import re

import yaml

from dnnlib.errors import UserError

MAX_DIGITS = 100    # of a number; a text of many takes long to convert, and no setting needs more
MAX_KEY = 1 << 31   # of a key that is a number; larger ones could be chosen such that dicts find them slowly
MAX_BRACKETS = 100  # of a text that libyaml reads

_SCALARS = [  # (tag, pattern, possible first characters); the order is that of trial
    ('null', r'~|null|Null|NULL|', ['~', 'n', 'N', '']),
    ('bool', r'true|True|TRUE|false|False|FALSE', list('tTfF')),
    ('int', r'[-+]?[0-9]+|0x[0-9a-fA-F]+|0o[0-7]+', list('-+0123456789')),
    ('float', r'[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)',
     list('-+.0123456789'))]


class _Nodes(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, yaml.composer.Composer,
             yaml.resolver.BaseResolver):
    """Turns text into a tree of nodes. References to other nodes are refused, since they make small files huge."""

    def __init__(self, text):
        yaml.reader.Reader.__init__(self, text)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)
        yaml.composer.Composer.__init__(self)
        yaml.resolver.BaseResolver.__init__(self)

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, 'references (*name) are not supported',
                                              self.peek_event().start_mark)
        return super().compose_node(parent, index)


class _FastNodes(getattr(yaml, 'CBaseLoader', yaml.BaseLoader)):
    """The same by libyaml, 10 times as fast, where PyYAML was built with it; for tame texts, see `_is_tame`."""


for _tag, _pattern, _first in _SCALARS:
    for _class in (_Nodes, _FastNodes):
        _class.add_implicit_resolver('tag:yaml.org,2002:' + _tag, re.compile(rf'(?:{_pattern})$'), _first)


# What the two read differently, or what nests deeply, is left to PyYAML's own reader, which cannot overflow C's stack.
_WILD = re.compile(r'[^\n -~]|[*&!?]|[|>][-+0-9]*#|^(---|\.\.\.)|^[- ]{60}', re.MULTILINE)


def _is_tame(text):
    """Whether both readers read a text alike: plain characters, no references, tags, tabs and the like."""
    return _WILD.search(text) is None and text.count('[') + text.count('{') < MAX_BRACKETS


def _compose(text):
    """A text's tree of nodes, None for an empty one. Raises yaml.YAMLError: always PyYAML's own, with its words."""
    if _is_tame(text):
        try:
            return _FastNodes(text).get_single_node()
        except yaml.YAMLError:
            pass
    return _Nodes(text).get_single_node()


def parse(text, source):
    """Parses YAML text into plain values.

    Returns (value, lines): `lines` maps the dotted key of each mapping item to its line number, from 1.
    `source` names the text in messages. Raises UserError.
    """
    lines = {}
    try:
        node = _compose(text)
        value = None if node is None else _build(node, source, lines, '')
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = f'{source}, line {mark.line + 1}' if mark else source
        raise UserError(f'{where}: this is not valid YAML: {err.problem or err.context}') from err
    except yaml.YAMLError as err:
        raise UserError(f'{source}: this is not valid YAML: {str(err).splitlines()[0]}') from err
    except RecursionError:
        raise UserError(f'{source}: brackets or lists are nested too deeply') from None
    return value, lines


def _build(node, source, lines, prefix):
    def mistake(text):
        return UserError(f'{source}, line {node.start_mark.line + 1}: {text}')

    tag = node.tag.replace('tag:yaml.org,2002:', '')
    if isinstance(node, yaml.SequenceNode) and tag == 'seq':
        return [_build(item, source, {}, '') for item in node.value]
    if isinstance(node, yaml.MappingNode) and tag == 'map':
        result = {}
        for key_node, value_node in node.value:
            key = _build(key_node, source, {}, '')
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise mistake('keys must be names or whole numbers')
            if isinstance(key, int) and abs(key) > MAX_KEY:
                raise mistake(f"'{key}' is no key: a number that is one is at most {MAX_KEY}")
            if key in result:
                node = key_node
                raise mistake(f"'{key}' is given twice")
            lines[f'{prefix}{key}'] = key_node.start_mark.line + 1
            result[key] = _build(value_node, source, lines, f'{prefix}{key}.')
        return result
    if isinstance(node, yaml.ScalarNode):
        try:
            return _scalar(tag, node.value)
        except ValueError:
            raise mistake(f"'{node.value[:40]}' is not a value of the type {tag}") from None
        except UserError as err:
            raise mistake(str(err)) from None
    raise mistake(f"values of the type '{tag}' are not supported")


def _scalar(tag, text):
    """The value of a scalar's text. Raises ValueError if it does not fit its tag or the tag is not one of ours."""
    if tag == 'str':
        return text
    pattern = next((p for t, p, _ in _SCALARS if t == tag), None)
    if len(text) > MAX_DIGITS and tag in ('int', 'float'):
        raise UserError(f'a number of {len(text)} characters is beyond belief')
    if pattern is None or not re.match(rf'(?:{pattern})$', text):
        raise ValueError
    if tag == 'null':
        return None
    if tag == 'bool':
        return text.lower() == 'true'
    if tag == 'int':
        return int(text, {'0x': 16, '0o': 8}.get(text[:2], 10))
    text = text.lower()
    return float(text.replace('.', '') if text.endswith(('inf', 'nan')) else text)
