"""Why two scores may differ: two records compared field by field."""

import math
from collections import OrderedDict

from metrics.scores import records, standard

# What a difference in a field means. A prefix of the dotted name is enough, or its end after a star; the first counts.
MEANINGS = OrderedDict([
    ('metric', 'different metrics: the values cannot be compared'),
    ('is_standin', 'one score uses stand-in networks: the values cannot be compared'),
    ('*.built_as', 'the weights were put into other layers, see --classifier-blur: the values cannot be compared'),
    ('feature_networks', 'the feature networks differ: the values cannot be compared unless the files hold the same '
                         'weights'),
    ('network_sha256', 'two different generators (or two files) were measured'),
    ('network_file', None),
    ('network', None),
    ('sample_shape', 'the generators make images of different sizes or channels'),
    ('dataset_fingerprint', 'the real images differ in content, order or resolution'),
    ('dataset_images', 'the data sets have different numbers of images'),
    ('labels', 'the generated images have other labels'),
    ('labels_sha256', 'the labels of the generated images were drawn from other data'),
    ('mirror_augment', 'real images were mirrored at random in one case only'),
    ('num_samples', 'different numbers of samples: FID is biased upwards for few samples, other metrics scatter more'),
    ('is_reduced', None),
    ('settings.minibatch_per_gpu', 'chunks of another size draw other random numbers, and stored noise is shared by '
                                   'other groups'),
    ('settings.num_keep', 'another share of the samples was kept as confident'),
    ('settings.epsilon', 'another step along the path'),
    ('settings.reference', 'the reals were the images of a data set, or statistics of such from a file'),
    ('settings.reals', 'the reals were the first of the data set (released code) or drawn at random (the paper)'),
    ('settings.ends', 'steps at the beginning of the path (released code) or at either end (the paper)'),
    ('settings.rejection', 'the extreme percents of the distances were left out (released code) in one case only'),
    ('settings', 'the protocol was set differently'),
    ('seed', 'other random numbers: expect differences of a few standard errors'),
    ('problems', 'problems were met, see the records'),
    ('engine', 'another TensorFlow generation: last digits may differ'),
    ('tensorflow', 'another TensorFlow version: last digits may differ'),
    ('device', 'CPU and GPU round differently: last digits may differ'),
    ('num_gpus', 'the work was split differently: last digits may differ'),
    ('threads', 'other thread counts: last digits may differ'),
    ('sklearn', 'another scikit-learn: planes of linear separability may differ slightly'),
    ('numpy', 'another numpy: last digits may differ'),
    ('scipy', 'another scipy: last digits may differ'),
    ('python', None),
])
IGNORED = ('value', 'values', 'standard_error', 'standard_errors', 'seconds', 'time', 'details', 'notes', 'format',
           'network_taken')


def flatten(value, prefix=''):
    """Yields (dotted name, leaf) of nested dicts."""
    if isinstance(value, dict):
        for key, item in value.items():
            for pair in flatten(item, f'{prefix}{key}.'):
                yield pair
    else:
        yield prefix[:-1], value


def _completed(record):
    """A record with what older ones leave out: labels, which then were zeros, and what the released code does."""
    return dict(record, labels=record.get('labels') or 'zeros', settings=dict(
        standard.options_of(str(record['metric'])), **record.get('settings') or {}))


def differences(a, b):
    """[(field, value in a, value in b, meaning or None), ...] of two records, in the order of their weight."""
    first, second = (OrderedDict((key, value) for key, value in flatten(_completed(record))
                                 if key.split('.')[0] not in IGNORED) for record in (a, b))
    fields = list(first) + [field for field in second if field not in first]
    found = [(field, first.get(field), second.get(field), _meaning(field)) for field in fields
             if first.get(field) != second.get(field)]
    order = list(MEANINGS)

    def rank(item):
        return next((index for index, key in enumerate(order) if _fits(item[0], key)), len(order))
    return sorted(found, key=rank)


def _fits(field, key):
    return field == key or field.startswith(key + '.') or key.startswith('*') and field.endswith(key[1:])


def _meaning(field):
    return next((text for key, text in MEANINGS.items() if _fits(field, key)), None)


def compare(a, b, names=('A', 'B')):
    """Lines that compare two records: values first, then every field that differs."""
    lines = []
    values_a, values_b = records.values_of(a), records.values_of(b)
    for key in list(values_a) + [key for key in values_b if key not in values_a]:
        lines.append(f'{key}: {_number(values_a.get(key))} in {names[0]}, {_number(values_b.get(key))} in {names[1]}'
                     + _difference(a, b, key, values_a.get(key), values_b.get(key)))
    found = differences(a, b)
    if not found:
        lines.append('No field of the two protocols differs: the values should be equal on a CPU.')
        return lines
    lines.append('Fields that differ:')
    for field, first, second, meaning in found:
        lines.append(f'  {field}: {_short(first)} | {_short(second)}' + (f'  -- {meaning}' if meaning else ''))
    return lines


def _difference(a, b, key, first, second):
    if first is None or second is None:
        return ''
    text = f'; difference {second - first:+.4f}'
    if first:
        text += f' ({100 * (second - first) / abs(first):+.2f} %)'
    errors = [_error(record, key) for record in (a, b)]
    if all(error is not None for error in errors) and math.hypot(*errors) > 0:
        text += f', {abs(second - first) / math.hypot(*errors):.1f} standard errors'
    return text


def _error(record, key):
    if 'standard_errors' in record:
        return record['standard_errors'].get(key)
    return record.get('standard_error')


def _number(value):
    return 'absent' if value is None else format(value, '.4f')


def _short(value):
    text = 'absent' if value is None else str(value)
    return text if len(text) <= 60 else text[:28] + '...' + text[-28:]
