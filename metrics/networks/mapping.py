"""Fits arrays from a file whose variable names we do not know to the variables of our own network.

Names are tried first. Otherwise arrays and variables of equal shape are paired in the order in which they stand; where
kinds of variables share a shape (biases and batch statistics, say), their names or their values tell them apart.
"""

from collections import OrderedDict

import numpy as np

from dnnlib.util import UserError

# Parts of names that say what a vector is, in files of any origin.
_KIND_HINTS = OrderedDict([
    ('variance', ('moving_variance', 'running_var', 'variance')),
    ('mean', ('moving_mean', 'running_mean', 'mean')),
    ('gamma', ('gamma',)),
    ('beta', ('beta',)),
])


def essential_shape(shape):
    """A shape without dimensions of size 1, except that kernels [kh, kw, in, out] stay as they are."""
    shape = tuple(int(size) for size in shape)
    if len(shape) == 4 and not (shape[0] == shape[1] == 1 and (shape[2] == 1 or shape[3] == 1)):
        return shape
    return tuple(size for size in shape if size != 1)


def describe(arrays):
    """One line per (name, array), for messages."""
    return describe_shapes(OrderedDict((name, np.shape(array)) for name, array in arrays))


def describe_shapes(shapes, limit=400):
    """One line per item of a dict from name to shape, for messages."""
    lines = [f'  {name[:200]}  {list(shape)}' for name, shape in list(shapes.items())[:limit]]
    if len(shapes) > limit:
        lines.append(f'  ... and {len(shapes) - limit} more')
    return '\n'.join(lines)


def map_by_name(found, wanted):
    """Values by wanted name, or None unless every wanted variable is there under its name in its shape.

    Args:
        found: list of (name, array).
        wanted: OrderedDict of name -> shape.
    """
    values = dict(found)
    if all(name in values and tuple(np.shape(values[name])) == tuple(shape) for name, shape in wanted.items()):
        return OrderedDict((name, values[name]) for name in wanted)
    return None


def map_by_shape(found, wanted, kind_of, file_name, classify=None):
    """Values by wanted name, pairing arrays and variables of one shape and kind in order.

    Args:
        found: list of (name, array), in the file's order.
        wanted: OrderedDict of name -> shape, in our order.
        kind_of: function from a wanted name to its kind, a str.
        classify: function (name, array) -> kind of an array in the file, or None where it cannot tell; by default
            the file's names decide.

    Raises:
        UserError: listing what the file holds, where the counts per shape do not agree.
    """
    classify = classify or classify_by_name
    # Scalars (levels of detail, counters) carry no weights.
    found = [(name, array) for name, array in found if np.size(array) > 1]
    groups = OrderedDict()
    for name, array in found:
        groups.setdefault(essential_shape(np.shape(array)), []).append((name, array))
    values, used = {}, 0
    for shape in OrderedDict((essential_shape(shape), None) for shape in wanted.values()):
        names = [name for name, size in wanted.items() if essential_shape(size) == shape]
        arrays = groups.get(shape, [])
        pairs = _pair(names, arrays, kind_of, classify)
        if pairs is None:
            raise UserError(f'{file_name}: the arrays of shape {list(shape)} do not fit this network: it needs '
                            f'{len(names)} ({_summary(names)}), the file has {len(arrays)} ({_summary(arrays)}). The '
                            f'file holds, in order:\n{describe(found)}')
        values.update(pairs)
        used += len(pairs)
    unused = len(found) - used - sum(1 for name, array in found if classify(name, array) == 'gamma')
    if unused > 0:
        raise UserError(f'{file_name}: {unused} arrays of the file have no place in this network. The file holds, in '
                        f'order:\n{describe(found)}')
    return OrderedDict((name, np.asarray(values[name]).reshape(shape)) for name, shape in wanted.items())


def classify_by_name(name, _array):
    """The kind that a name in a file hints at, or None."""
    lower = name.lower()
    for kind, hints in _KIND_HINTS.items():
        if any(hint in lower for hint in hints):
            return kind
    return None


def _pair(names, arrays, kind_of, classify):
    """{wanted name: array} for one shape, or None."""
    by_kind = OrderedDict()
    for name in names:
        by_kind.setdefault(kind_of(name), []).append(name)
    kinds = [classify(name, array) for name, array in arrays]
    if all(kind in by_kind or kind == 'gamma' for kind in kinds):
        pairs = {}
        for kind, wanted in by_kind.items():
            candidates = [array for (_, array), found in zip(arrays, kinds) if found == kind]
            if len(candidates) != len(wanted):
                return None
            pairs.update(zip(wanted, candidates))
        return pairs
    if len(names) == len(arrays):
        return {name: array for name, (_, array) in zip(names, arrays)}
    return None


def _summary(items, limit=4):
    names = [item if isinstance(item, str) else item[0] for item in items]
    return ', '.join(names[:limit]) + (' ...' if len(names) > limit else '') if names else 'none'
