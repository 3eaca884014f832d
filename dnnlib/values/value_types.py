"""Which values a setting may have, said in words after the last semicolon of the comment beside its parameter.

    rate = 0.5,         # Share of the old value; 0 to 1, or null.

The words are alternatives, separated by commas and `or`, each one of
    A to B                              numbers in this range, whole ones if the parameter's default is
    a number, a whole number            any finite one; also `a number from A to B`
    a text
    a list of N numbers                 N may be left out or be `1 to 64`; also `whole numbers`, `rising numbers` (each
                                        above the one before), `weights` (numbers whose sum is not 0), `texts`, and
                                        `… from A to B`
    a table of numbers from A to B      a mapping from resolutions to such values; also `a table by resolution of …`
    a size such as 8x4, a name          texts of this form; names fit into those of files
    a function for G                    full names that may be given for this section, see `dnnlib.registry`
    a mapping                           mappings from names, of whatever values
    word                                this very value: null, true, auto, float16
"""

import functools
import math
import re

from dnnlib import registry
from dnnlib.config_files import format_value, kind, parse_yaml

_NUMBER = r'[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?'
_RANGE = rf'(?P<low>{_NUMBER}) to (?P<high>{_NUMBER})'
_RANGED = re.compile(rf'{_RANGE}\Z')
_SINGLE = re.compile(rf'a (?P<what>whole number|number)(?: from {_RANGE})?\Z')
_LIST = re.compile(r'a list of (?:(?P<least>\d+)(?: to (?P<most>\d+))? )?'
                   rf'(?P<what>whole numbers|rising numbers|numbers|weights|texts)(?: from {_RANGE})?\Z')
_TABLE = re.compile(rf'a table (?:by resolution )?of (?P<what>whole numbers|numbers)(?: from {_RANGE})?\Z')
_FORMS = {'a size such as 8x4': r'[1-9]\d{0,2}x[1-9]\d{0,2}\Z',
          'a name': r'[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}\Z'}
_FUNCTION = re.compile(r'a function for (\w+)\Z')
_WORD = re.compile(r'[\w.]+\Z')
_HUGE = 1e300       # what floats can hold with room for arithmetic
_HUGE_WHOLE = 2 ** 63 - 1
MAX_TEXT = 10000    # characters


def shown(value):
    """A value as text for a sentence: at most 60 characters."""
    text = format_value(value)
    return text if len(text) <= 60 else text[:57] + '...'


def _bound(number):
    """A bound as it is written in a comment: 0.5, 1024, 1e9."""
    if number % 1:
        return f'{number!r}'.replace('e-0', 'e-')
    exponent = len(str(int(abs(number)))) - 1
    return f'{number:.0e}'.replace('e+0', 'e').replace('e+', 'e') if exponent >= 6 and number % 10 ** exponent == 0 \
        else str(int(number))


def _is_number(value, whole=False):
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)


class Number:
    """Numbers from `low` to `high`, both included."""

    def __init__(self, whole=False, low=None, high=None):
        self.whole = whole
        self.is_bounded = low is not None
        self.low, self.high = (low, high) if self.is_bounded else \
            (-_HUGE_WHOLE, _HUGE_WHOLE) if whole else (-_HUGE, _HUGE)

    def __str__(self):
        text = 'a whole number' if self.whole else 'a number'
        return f'{text} from {_bound(self.low)} to {_bound(self.high)}' if self.is_bounded else text

    def is_kind(self, value):
        """Whether a value is of this kind at all, though perhaps out of bounds."""
        return _is_number(value, self.whole)

    def problem(self, value):
        """What is wrong with a value of this kind, as the end of a sentence, or None."""
        if self.low <= value <= self.high:  # false for NaN
            return None
        if self.is_bounded:
            return f'must be from {_bound(self.low)} to {_bound(self.high)}, not {shown(value)}'
        return f'must be a number that this program can compute with, not {shown(value)}'


class Text:
    """Texts that can be written into a file and passed to the system."""

    def __str__(self):
        return 'a text'

    def is_kind(self, value):
        return isinstance(value, str)

    def problem(self, value):
        if len(value) > MAX_TEXT:
            return f'must be a text of at most {MAX_TEXT} characters, not of {len(value)}'
        if '\0' in value or any('\ud800' <= c <= '\udfff' for c in value):
            return f'must be a text without NUL and half characters, not {shown(value)}'
        return None


class Form:
    """Texts of a certain form, which `words` call by its name."""

    def __init__(self, words):
        self.words = words

    def __str__(self):
        return self.words

    def is_kind(self, value):
        return isinstance(value, str) and re.match(_FORMS[self.words], value) is not None

    def problem(self, value):
        return None


class Function:
    """Full names of functions that files may give for a section."""

    def __init__(self, section):
        self.section = section

    def __str__(self):
        return f'a function for {self.section}'

    def is_kind(self, value):
        return isinstance(value, str)

    def problem(self, value):
        return registry.refusal(self.section, value)


class Mapping:
    """Mappings from names to whatever values."""

    def __str__(self):
        return 'a mapping'

    def is_kind(self, value):
        return isinstance(value, dict)

    def problem(self, value):
        unfit = next((key for key in value if not isinstance(key, str)), None)
        return None if unfit is None else f'must have names as keys, not {shown(unfit)}'


class Literal:
    """A single value."""

    def __init__(self, value):
        self.value = value

    def __str__(self):
        return format_value(self.value).strip('"')

    def is_kind(self, value):
        return type(value) is type(self.value) and value == self.value

    def problem(self, value):
        return None


class List:
    """Lists of `least` to `most` items. order: 'rising', 'weights' or None."""

    def __init__(self, item, least=0, most=1000, order=None):
        self.item = item
        self.least = least
        self.most = most
        self.order = order

    def __str__(self):
        count = f'{self.least} ' if self.least == self.most else f'{self.least} to {self.most} ' if self.least else ''
        plural = str(self.item)[2:].replace('number', 'numbers').replace('text', 'texts')
        words = {'rising': plural.replace('numbers', 'rising numbers'),
                 'weights': plural.replace('numbers', 'weights')}
        return f'a list of {count}{words.get(self.order, plural)}'

    def is_kind(self, value):
        return isinstance(value, (list, tuple))

    def problem(self, value):
        for item in value:
            if not self.item.is_kind(item):
                return f'must be {self}, not of {kind(item)} ({shown(value)})'
            if self.item.problem(item):
                return f'each {self.item.problem(item)}'
        if not self.least <= len(value) <= self.most:
            return f'must be {self}, not of {len(value)}'
        if self.order == 'rising' and any(a >= b for a, b in zip(value, value[1:])):
            return f'must be {self}, each above the one before it, not {shown(value)}'
        if self.order == 'weights' and abs(math.fsum(value)) < 1e-6:
            return f'must be {self} whose sum is not 0, not {shown(value)}'
        return None


class Table:
    """Mappings from resolutions to numbers."""

    def __init__(self, entry):
        self.entry = entry

    def __str__(self):
        return 'a table by resolution of ' + str(self.entry)[2:].replace('number', 'numbers')

    def is_kind(self, value):
        return isinstance(value, dict)

    def problem(self, value):
        for key, entry in value.items():
            if not _is_number(key, whole=True) or not 1 <= key <= 2 ** 20 or key & (key - 1):
                hint = '; behind the colon goes a space' if re.match(r'\d+:\S', str(key)) else ''
                return f'must have resolutions as keys, which are powers of two, not {shown(key)}{hint}'
            if not self.entry.is_kind(entry) or self.entry.problem(entry):
                return f'must hold {str(self.entry)[2:].replace("number", "numbers")}, not {shown(entry)} for {key}'
        return None


class ValueType:
    """Alternatives, of which a value must suit one."""

    def __init__(self, alternatives):
        self.alternatives = alternatives

    def __str__(self):
        texts = [str(alternative) for alternative in self.alternatives]
        return ', '.join(texts[:-1]) + (' or ' if len(texts) > 1 else '') + texts[-1]

    def problem(self, value):
        """What is wrong with a value, as the end of a sentence ('must be …, not …'); None if nothing is."""
        problems = [alternative.problem(value) for alternative in self.alternatives if alternative.is_kind(value)]
        if None in problems:
            return None
        if problems:
            others = [str(a) for a in self.alternatives if not a.is_kind(value) and str(a) != 'null']
            return problems[0] + (f" ({', '.join(others)} would do, too)" if others else '')
        if all(isinstance(alternative, Literal) for alternative in self.alternatives):
            texts = [str(alternative) for alternative in self.alternatives]
            if set(texts) == {'true', 'false'}:
                return f'must be true or false, not {kind(value)} ({shown(value)})'
            return f"must be one of {', '.join(texts)}, not {shown(value)}"
        return f'must be {self}, not {kind(value)}' + (f' ({shown(value)})' if value is not None else '')

    def tables(self):
        """Whether a mapping from whole numbers is among the alternatives."""
        return any(isinstance(alternative, Table) for alternative in self.alternatives)


def parse(words, default=None):
    """The ValueType that words describe (see above), or None where they are no such description.

    `default`: the parameter's; without a number there, a bare range is no description.
    """
    return _parse(words.strip().rstrip('.'), _is_number(default), _is_number(default, whole=True))


@functools.lru_cache(maxsize=None)
def _parse(words, is_number, is_whole):
    alternatives = [_parse_one(part.strip(), is_number, is_whole) for part in re.split(r',? or |, ', words)]
    if None in alternatives or len(alternatives) == 1 and isinstance(alternatives[0], Literal):
        return None
    return ValueType(alternatives)


def _parse_one(text, is_number, is_whole):
    """One alternative; `is_number`, `is_whole`: whether the parameter's default is a number, a whole one."""
    match = _RANGED.match(text)
    if match:
        return _number(match, is_whole) if is_number else None
    match = _SINGLE.match(text)
    if match:
        return _number(match, match.group('what') == 'whole number')
    if text == 'a text' or text in _FORMS:
        return Text() if text == 'a text' else Form(text)
    if text == 'a mapping':
        return Mapping()
    match = _FUNCTION.match(text)
    if match:
        return Function(match.group(1))
    match = _LIST.match(text)
    if match:
        what = match.group('what')
        item = Text() if what == 'texts' else _number(match, what == 'whole numbers')
        least = int(match.group('least') or 0)
        most = int(match.group('most') or least or 1000)
        return List(item, least, most, what.split()[0] if what in ('rising numbers', 'weights') else None)
    match = _TABLE.match(text)
    if match:
        return Table(_number(match, match.group('what') == 'whole numbers'))
    if _WORD.match(text):
        return Literal(parse_yaml(text, text)[0])
    return None


def _number(match, whole):
    if match.group('low') is None:
        return Number(whole)
    return Number(whole, float(match.group('low')), float(match.group('high')))


def of_default(default):
    """The ValueType of a parameter that is described by its default alone; None where that tells nothing."""
    if isinstance(default, bool):
        return ValueType([Literal(True), Literal(False)])
    if _is_number(default):
        return ValueType([Number(isinstance(default, int))])
    if isinstance(default, str):
        return ValueType([Text()])
    if isinstance(default, (list, tuple)) and default:
        item = Text() if isinstance(default[0], str) else Number(all(_is_number(value, True) for value in default))
        return ValueType([List(item)])
    return None


def split_comment(comment, default=None):
    """(meaning, ValueType or None) of a parameter by its comment and its default."""
    meaning, semicolon, words = (comment or '').rpartition(';')
    described = parse(words, default) if semicolon else None
    if described is None:
        return comment, of_default(default)
    return meaning.strip().rstrip('.') + '.', described
