"""Measures what a table needs and puts each number into its cell."""

import os
import re
from collections import OrderedDict

from data.records.source import holds_mirrored
from dnnlib.command_line import typed
from dnnlib.files import read_json, recall_json
from dnnlib.util import UserError
from dnnlib.values import schema
from metrics.jobs import Job
from metrics.presets import preset
from metrics.scores import records, standard
from metrics.tables.epochs import read_epoch
from metrics.tables.sources import training_commands
from training.network_files.locate import locate
from training.state.resume import newest_snapshot


def key_of(cell):
    """What a cell's value is found by: records of several kinds may have values of one name."""
    return cell.metric or cell.record, cell.value


def fill(table, sources, out_dir, quick, resolve_dataset, features, skip_missing=False, protocol=None, **options):
    """Measures every network and returns OrderedDict network's name -> {`key_of` a cell: (value, record)}.

    What is measured already under the same protocol is not measured again. With `skip_missing`, what is missing or
    damaged is left out: the record of its values, which are None, has the reason. `protocol`: see
    `metrics.presets.preset`; `options` are those of `jobs.Job`.
    """
    results = OrderedDict()
    for name, source in sources.items():
        results[name] = values = OrderedDict()
        try:
            specs = OrderedDict((cell.metric, preset(cell.metric, quick, protocol)) for cell in table.cells_of(name)
                                if cell.metric is not None)
            values.update(_measure(table, name, source, os.path.join(out_dir, name), specs, resolve_dataset, features,
                                   skip_missing, options))
        except UserError as err:
            if not skip_missing:
                raise
            if source.text is not None:  # else the list of what is missing has said it
                reason = typed(str(err))
                print(f'warning: {name} is left out: {reason}', flush=True)
                for cell in table.cells_of(name):
                    values.setdefault(key_of(cell), (None, {'problems': [reason]}))
    return results


def _measure(table, name, source, out_dir, specs, resolve_dataset, features, skip_missing, options):
    if source.text is None:
        raise UserError(f'{table.name} needs the network {name}: ' + '; '.join(training_commands(source)))
    cells = table.cells_of(name)
    values = OrderedDict(_from_records(cells, source))
    if not specs:
        return values
    dataset_args = source.dataset_args
    if dataset_args is None:
        try:
            dataset_args = dict(tfrecord_dir=resolve_dataset(source.folder))
        except UserError:
            if not skip_missing:
                raise
            specs = OrderedDict((key, spec) for key, spec in specs.items() if not key.startswith('fid'))
    found = locate(source.text).tell()
    in_run = [os.path.join(source.run_dir, 'metrics', found.name)] if source.run_dir is not None else []
    mirrors = source.mirror_augment or holds_mirrored(dataset_args or {})
    job = Job(list(specs.values()), found, out_dir, other_dirs=in_run, dataset_args=dataset_args,
              mirror_augment=mirrors, features=features, labels='zeros', **options)
    measured = job.run(again=False, tolerant=skip_missing)
    if measured and _misfit(measured[0], source):
        print(f'warning: {name}: {_misfit(measured[0], source)}', flush=True)
    for record in measured:
        record = dict(record, kimg=_kimg(found.path, source.run_dir))
        values.update(((record['metric'], key), (value, record)) for key, value in records.values_of(record).items())
    return values


def _kimg(path, run_dir):
    """Thousands of images that a run's snapshot was trained for, or None where its name does not tell."""
    name = os.path.basename(path)
    number = re.match(r'network-snapshot-(\d+)', name)
    if number:
        return int(number.group(1))
    if run_dir is None or name != 'network-final.pkl':
        return None
    newest = newest_snapshot(run_dir)   # where it ended for its hours, its length is not what it was trained for
    return newest[1] if newest else None


def _from_records(cells, source):
    """Values that are no network metric, from records `metrics/KIND.json` in the network's run directory.

    Such a record is an object with `kind`, `values` (name to number) and whatever it was measured with.
    """
    for kind in OrderedDict((cell.record, None) for cell in cells if cell.record is not None):
        if source.run_dir is None:
            continue
        path = os.path.join(source.run_dir, 'metrics', kind + '.json')
        record = read_json(path, absent=None)
        if record is not None:
            schema.check(record, records.SHARED, path)
        if record is None and kind == 'epoch':
            record = read_epoch(source.run_dir)
        values = record.get('values') if record is not None and record.get('kind') == kind else None
        for cell in cells:
            if cell.record == kind and isinstance(values, dict) and type(values.get(cell.value)) in (int, float):
                yield key_of(cell), (float(values[cell.value]), record)


def make_cells(table, sources, results):
    """One dict per cell of the table, row by row.

    Keys: row, column (titles), network, metric, value_name, space, published, better, value, standard_error,
    difference_percent (all None where unknown), remarks (list of texts), protocol (dict, None where nothing was
    measured).
    """
    cells = []
    for cell in table.cells:
        if cell.network not in sources:
            continue
        value, record = results.get(cell.network, {}).get(key_of(cell), (None, None))
        difference = None
        if value is not None and cell.published:
            difference = 100.0 * (value - cell.published) / cell.published
        cells.append(OrderedDict(
            row=table.rows[cell.row], column=table.columns[cell.column], network=cell.network,
            metric=cell.metric or cell.record, value_name=cell.value, space=cell.space, published=cell.published,
            better=cell.better, value=value, standard_error=_error(record, cell.value), difference_percent=difference,
            remarks=([cell.note] if cell.note else []) + _remarks(cell, sources[cell.network], record, value),
            protocol=_protocol(record, sources[cell.network])))
    return cells


def _error(record, key):
    if record is None:
        return None
    return (record.get('standard_errors') or {}).get(key, record.get('standard_error'))


def _remarks(cell, source, record, value):
    if record is None:
        if source.text is None:
            return [typed(f'{cell.network} is not available: ' + '; '.join(training_commands(source)))]
        return [f'not measured: {_unrecorded(cell, source)}' if cell.record is not None else 'not measured']
    remarks = []
    if record.get('is_standin'):
        remarks.append('stand-in networks, not comparable with published values')
    if record.get('is_reduced'):
        remarks.append(f"reduced protocol, {record.get('num_samples')} samples")
    remarks += [f'not as the released code: {text}' for text in standard.unusual(record)]
    if _misfit(record, source):
        remarks.append(_misfit(record, source))
    if any(not network.get('verified') for network in record.get('feature_networks', {}).values()):
        remarks.append('feature network not verified')
    if value is None:
        remarks.append('failed')
    return remarks + list(record.get('problems', []))


# What writes the records that are no network metric.
_WRITERS = {'reconstruction': 'the run of a codec writes it, for the resolutions that its data have',
            'epoch': 'it is extrapolated from the ticks of a run'}


def _unrecorded(cell, source):
    """Why a cell of a run's own record is empty."""
    if source.run_dir is None:
        what = f'{getattr(source.text, "path", source.text)} belongs to no run'
    else:
        record = recall_json(os.path.join(source.run_dir, 'metrics', cell.record + '.json')) or {}
        values = record.get('values')
        what = f'{os.path.basename(os.path.abspath(source.run_dir))} has ' + (
            f"{', '.join(values)} alone in metrics/{cell.record}.json" if isinstance(values, dict) and values
            else f'no metrics/{cell.record}.json')
    writer = _WRITERS.get(cell.record)
    return what + (f'; {writer}' if writer else '')


def _misfit(record, source):
    """A sentence where a network does not make images of the size and channels of those that its cells are of."""
    made, wanted = record.get('sample_shape'), source.shape
    if not made or not wanted or made == [made[0] if wanted[0] is None else wanted[0]] + wanted[1:]:
        return None
    return f'made by a network of {_size(made)}, where the table has {_size(wanted)}: not the same task'


def _size(shape):
    """'64x64, 3 channels' of [3, 64, 64], '64x64' where the channels are None."""
    channels = [] if shape[0] is None else [f"{shape[0]} channel{'' if shape[0] == 1 else 's'}"]
    return ', '.join((['x'.join(map(str, reversed(shape[1:])))] if shape[1:] else []) + channels)


def _protocol(record, source):
    if record is None or list(record) == ['problems']:
        return None
    if 'feature_networks' not in record:
        return OrderedDict((key, value) for key, value in record.items() if key != 'values')
    keys = ('network', 'network_sha256', 'sample_shape', 'kimg', 'dataset_fingerprint', 'dataset_images',
            'mirror_augment', 'num_samples', 'settings', 'seed', 'engine', 'tensorflow', 'device', 'num_gpus',
            'seconds', 'time')
    protocol = OrderedDict((key, record.get(key)) for key in keys)
    protocol['configuration'] = source.network.config
    protocol['feature_networks'] = OrderedDict(
        (name, OrderedDict((key, network.get(key)) for key in ('name', 'file', 'file_sha256', 'verified')))
        for name, network in record['feature_networks'].items())
    return protocol
