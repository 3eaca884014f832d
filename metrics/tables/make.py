"""Making a table from beginning to end: sources, downloads, scores, files."""

import os

import config as folders
from dnnlib.files import check_writable
from dnnlib.util import UserError
from metrics.networks.choice import STANDIN
from metrics.tables import definition, filling, report, sources


class Order:
    """What is asked for.

    name: the table's; columns: keys of its columns, None for all; networks, datasets: dicts from name (None for a
    network of one's own, in a table of one column) to what is named; out_dir: None for the default; stem: name of the
    files written, None for the table's.
    """

    def __init__(self, name, columns=None, networks=None, datasets=None, out_dir=None, stem=None):
        self.name = name
        self.columns = columns
        self.networks = dict(networks or {})
        self.datasets = dict(datasets or {})
        self.out_dir = out_dir
        self.stem = stem


def make_table(order, resolve_dataset, features='auto', quick=False, dry_run=False, skip_missing=False, gpu_days=None,
               prepare=None, **options):
    """Prints what is missing, measures, writes the files and prints the table.

    Args:
        order: the `Order`.
        resolve_dataset: function from a data set's name to its directory; raises UserError where there is none.
        features: 'auto', 'released' or 'standin'.
        quick: far fewer samples, for a first look.
        dry_run: only say what is missing.
        skip_missing: leave out what is missing.
        gpu_days: see `sources.describe_missing`.
        prepare: called before anything is measured, such as to select devices.
        **options: of `jobs.Job`.

    Returns the exit status: 0; 1 if a cell stayed empty; for a dry run 2 if anything is missing. Raises UserError.
    """
    table = definition.load_table(order.name, folders.config_dir)
    if order.columns is not None:
        table = table.restricted(order.columns)
    if None in order.networks:
        table, chosen = sources.own_table(table, order.networks[None], order.datasets.get(None))
    elif None in order.datasets:
        raise UserError(f'--dataset needs the name that it is for, such as --dataset {next(iter(table.datasets))}=DIR, '
                        'or --network for a network of your own')
    else:
        chosen = sources.choose_sources(table, order.networks, order.datasets)
    if features == 'auto':
        features = sources.default_features(chosen)
    missing = sources.find_missing(table, chosen, features, resolve_dataset,
                                   own_classifiers='classifiers' in (options.get('feature_settings') or {}))
    print('\n'.join(sources.describe_missing(missing, gpu_days)), flush=True)
    if features == STANDIN:
        print('Stand-in feature networks are used: the values are not comparable with published ones.', flush=True)
    if dry_run:
        return 2 if missing else 0
    run_dir = next(iter(chosen.values())).run_dir if None in order.networks else None
    out_dir = order.out_dir or os.path.join(run_dir or folders.result_dir, order.stem or table.name)
    check_writable(out_dir, 'choose another one with --out')
    _get(missing, skip_missing)
    if prepare is not None:
        prepare()
    results = filling.fill(table, chosen, out_dir, quick, resolve_dataset, features, skip_missing=skip_missing,
                           **options)
    cells = filling.make_cells(table, chosen, results)
    paths = report.write_all(out_dir, table, cells, order.stem)
    print('\n' + report.to_markdown(table, cells).split('## Protocol')[0].rstrip())
    print('\nWritten: ' + ', '.join(paths), flush=True)
    return 1 if any(cell['value'] is None for cell in cells) else 0


def _get(missing, skip_missing):
    """Downloads what can be. Raises UserError for what is still missing, unless that is to be left out."""
    if not missing:
        return
    # No download is worth its time if the table cannot be made anyway.
    hopeless = [item for item in missing if not item.can_be_downloaded]
    left = sources.fetch_missing(missing if skip_missing or not hopeless else hopeless)
    if left and not skip_missing:
        raise UserError('the table cannot be made yet (--skip-missing leaves out what needs these):\n'
                        + '\n'.join(f'{item.what} {item.name}: {reason}' for item, reason in left))
