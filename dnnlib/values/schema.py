"""What the JSON records of a run must hold: one table for each kind, in the words of `dnnlib.values.value_types`.

A table maps keys to what stands there: words ('a whole number from 0 to 1e15'), another table, `[table or words]` for a
list of such, `{'*': words}` for a mapping with any keys, or a type (dict, list, object). A key that ends in `?` may be
absent, one that the table does not have may be there.
"""

from dnnlib.config_files import kind
from dnnlib.errors import FileError
from dnnlib.values import value_types


def problem(value, table, place=''):
    """What is wrong with a value, as a sentence that starts with its place in the record; None if nothing is."""
    if isinstance(table, type):
        return None if isinstance(value, table) else f'{place} is {kind(value)}'
    if isinstance(table, str):
        text = value_types.parse(table).problem(value)
        return f'{place} {text}' if text else None
    wanted = list if isinstance(table, list) else dict
    if not isinstance(value, wanted):
        return f"{place or 'all of it'} must be {'a list' if wanted is list else 'a mapping'}, not {kind(value)}"
    if isinstance(table, list):
        pairs = [(item, table[0], f'{place}[{index}]') for index, item in enumerate(value)]
    elif list(table) == ['*']:
        pairs = [(item, table['*'], _join(place, str(key)[:40])) for key, item in value.items()]
    else:
        missing = [key for key in table if key not in value and not key.endswith('?')]
        if missing:
            return f'{_join(place, missing[0])} is missing'
        pairs = [(value[key], part, _join(place, key)) for key, part in
                 ((key.rstrip('?'), part) for key, part in table.items()) if key in value]
    return next((text for text in (problem(*pair) for pair in pairs) if text), None)


def _join(place, key):
    return f'{place}.{key}' if place else key


def check(value, table, what, advice=''):
    """Raises FileError ('damaged') unless a record suits its table. `what` names it, `advice` says what to do."""
    text = problem(value, table)
    if text:
        raise FileError('damaged', f"{what} is damaged: {text}{advice and '; ' + advice}")
