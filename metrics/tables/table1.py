"""Table I of "Re-Training StyleGAN": its columns, what they need, and the job that fills it."""

import os
from collections import OrderedDict

from dnnlib import artifacts
from dnnlib.util import UserError
from metrics.context import locate_network, run_data
from metrics.group import missing_files
from metrics.jobs import Job
from metrics.networks import files
from metrics.networks.choice import choose_source
from metrics.presets import preset
from metrics.scores import records

ROWS = OrderedDict([  # value's name -> (title, metric, description)
    ('fid50k', ('FID50k', 'fid50k', 'Frechet Inception distance, 50,000 images')),
    ('ppl_zfull', ('ppl_zfull', 'ppl_zfull', 'Perceptual path length, full paths in Z')),
    ('ppl_wfull', ('ppl_wfull', 'ppl_wfull', 'Perceptual path length, full paths in W')),
    ('ppl_zend', ('ppl_zend', 'ppl_zend', 'Perceptual path length, path ends in Z')),
    ('ppl_wend', ('ppl_wend', 'ppl_wend', 'Perceptual path length, path ends in W')),
    ('ls_z', ('ls in Z', 'ls', 'Linear separability in Z')),
    ('ls_w', ('ls in W', 'ls', 'Linear separability in W')),
])
METRICS = ('fid50k', 'ppl_zfull', 'ppl_wfull', 'ppl_zend', 'ppl_wend', 'ls')


class Column:
    """One network of the table: its title, network, data set and published values (in the order of ROWS)."""

    def __init__(self, name, title, network, dataset_dir, published=None, mirror_augment=True, run_dir=None,
                 dataset_args=None):
        self.name = name
        self.title = title
        self.network = network
        self.dataset_dir = dataset_dir
        self.published = dict(zip(ROWS, published)) if published else {}
        self.mirror_augment = mirror_augment
        self.run_dir = run_dir
        self.dataset_args = dataset_args


# Mirror augmentation is that of the default configuration, with which all three networks were trained.
COLUMNS = OrderedDict((column.name, column) for column in (
    Column('celeba', 'CelebA 256x256', 'retraining-celeba-256', 'celeba-256',
           (4.7842, 191.9051, 68.6066, 190.5838, 56.4555, 143.2236, 2.5235)),
    Column('casia', 'CASIA-WebFace 256x256', 'retraining-casia-256', 'casia-256',
           (4.5992, 258.4270, 81.7605, 259.5282, 74.2621, 109.7136, 3.1748)),
    Column('ffhq', 'FFHQ 1024x1024', 'ffhq-1024', 'ffhq',
           (4.4159, 664.8854, 233.3059, 666.1057, 197.2266, 165.0106, 3.7447))))


def choose_columns(names, networks_given, datasets_given):
    """The asked columns with the user's networks and data sets put in.

    Args:
        names: list of column names.
        networks_given, datasets_given: dict column -> text; the key None makes a column of its own, `own`, from any
            network.
    """
    unknown = [name for name in list(names) + [key for key in list(networks_given) + list(datasets_given) if key]
               if name not in COLUMNS]
    if unknown:
        raise UserError(f"Table I has no column '{unknown[0]}'; choose among {', '.join(COLUMNS)}")
    if None in networks_given:
        return [own_column(networks_given[None], datasets_given.get(None))]
    if None in datasets_given:
        raise UserError('--dataset needs the column that it is for, such as --dataset celeba=DIR, or --network for a '
                        'network of your own')
    chosen = []
    for name in names:
        column = COLUMNS[name]
        chosen.append(Column(name, column.title, networks_given.get(name, column.network),
                             datasets_given.get(name, column.dataset_dir), list(column.published.values())))
    return chosen


def own_column(network, dataset_dir):
    """A column without published values for any network; a run brings its data set along."""
    path = locate_network(network)
    run_dir = os.path.dirname(os.path.abspath(path))
    args, mirror = None, False
    if os.path.isfile(os.path.join(run_dir, 'submit_config.json')):
        args, mirror = run_data(run_dir)
    title = os.path.basename(run_dir) if args is not None else os.path.splitext(os.path.basename(path))[0]
    return Column('own', title, path, dataset_dir, mirror_augment=mirror,
                  run_dir=run_dir if args is not None else None,
                  dataset_args=args if dataset_dir is None else None)


def find_missing(columns, features, resolve_dataset):
    """[(what, name, what it is for), ...] of everything that is not on this machine.

    Args:
        resolve_dataset: function from a data set's name to its directory; raises UserError where there is none.
    """
    missing = []
    for column in columns:
        if not os.path.isfile(column.network) and not os.path.isdir(column.network) and _absent(column.network):
            missing.append(('network', column.network, column.title))
        name = column.dataset_dir
        if column.dataset_args is not None:
            name = os.path.join(column.dataset_args.get('data_dir') or '', column.dataset_args.get('tfrecord_dir', ''))
            if 'tfrecord_dir' not in column.dataset_args:
                continue  # made on the fly
        try:
            resolve_dataset(name)
        except UserError:
            missing.append(('data set', name or '(none given)', f'FID50k, {column.title}'))
    missing += [('feature network', name, _purpose(name)) for name in missing_files(METRICS, features=features)]
    return missing


def _purpose(name):
    return {files.INCEPTION: f'FID50k; or {files.INCEPTION_FROZEN}', files.PERCEPTUAL: 'ppl'}.get(name, 'ls')


def _absent(name):
    """Whether a released file is not here. A file that is here but damaged raises UserError."""
    return artifacts.lookup(name) is None or artifacts.find(name) is None


def describe_missing(missing):
    """Lines that say what is missing and how to get it."""
    if not missing:
        return ['Everything that the table needs is here.']
    width = max(len(what) for what, _, _ in missing)
    lines = [f'{len(missing)} things that the table needs are missing:']
    lines += [f'  {what:<{width}}  {name}  (for {purpose})' for what, name, purpose in missing]
    lines.append('Networks are downloaded when the table is made, or may be put into '
                 f'{os.path.abspath(artifacts.folder())}; data sets are made with dataset_tool.py and named with '
                 '--dataset COLUMN=DIR.')
    return lines


def fetch_missing(missing):
    """Downloads what can be downloaded; returns [(what, name, reason), ...] of what is still missing.

    Data sets cannot be downloaded. After the first file that cannot be had, the others are not tried: where one
    address fails, all usually do, and each takes its time.
    """
    left = [(what, name, 'make it with dataset_tool.py, or name it with --dataset')
            for what, name, _ in missing if what == 'data set']
    failed = False
    for what, name, _purpose in missing:
        if what == 'data set':
            continue
        if failed:
            left.append((what, name, 'not tried after the failure above'))
            continue
        try:
            artifacts.get(name)
        except UserError as err:
            left.append((what, name, str(err)))
            failed = True
    return left


def run_columns(columns, out_dir, quick, resolve_dataset, features, skip_missing=False, **options):
    """Measures every column and returns OrderedDict column name -> {value name: (value, record)}."""
    results = OrderedDict()
    for column in columns:
        values = OrderedDict()
        results[column.name] = values
        dataset_args = column.dataset_args
        if dataset_args is None:
            try:
                dataset_args = dict(tfrecord_dir=resolve_dataset(column.dataset_dir))
            except UserError:
                if not skip_missing:
                    raise
        try:
            path = locate_network(column.network)
        except UserError:
            if not skip_missing:
                raise
            continue
        specs = [preset(name, quick) for name in METRICS if name != 'fid50k' or dataset_args is not None]
        job = Job(specs, path, os.path.join(out_dir, column.name), dataset_args=dataset_args,
                  mirror_augment=column.mirror_augment, features=features, **options)
        for record in job.run(again=False, tolerant=skip_missing):
            values.update((key, (value, record)) for key, value in records.values_of(record).items())
    return results


def default_features(columns):
    """Stand-ins where all columns are networks of drawn faces, else the released networks."""
    return choose_source('auto', [column.dataset_args or (
        {'tfrecord_dir': column.dataset_dir} if column.dataset_dir else None) for column in columns])
