"""Where each network and data set of a table comes from on this machine, and what is missing."""

import os
import re
from collections import OrderedDict

import config as folders
from dnnlib import artifacts, config_files
from dnnlib.command_line import typed
from dnnlib.config_files import nearest
from dnnlib.util import UserError
from metrics.networks import files
from metrics.networks.choice import choose_source
from metrics.networks.needs import missing_files
from metrics.tables.definition import Network, Table, known_sets, making_of
from training.network_files.data import data_of
from training.network_files.locate import Located, is_here, locate

OWN = 'own'     # key of the column and the network of a table of one network


class Source:
    """What fills a table's cells of one network.

    Attributes:
        network: its `definition.Network`.
        text: what names the network here: a file, run, released file's name or address, or a `Located`; None: nothing
            does.
        dataset: its `definition.DataSet`, or None.
        folder: the data set's folder, by path or by its name in the data folder; None: none is named.
        dataset_args: `load_dataset` keywords of the run, where it brings its data along; else None.
        mirror_augment: whether it is trained, and so measured, on mirrored reals.
        run_dir: its run directory, or None.
        shape: [C, H, W] of what the table's network makes, or None where nothing says it; C may be None, too.
    """

    def __init__(self, network, text, dataset, folder, dataset_args=None, mirror_augment=False, run_dir=None,
                 shape=None):
        self.network = network
        self.text = text
        self.dataset = dataset
        self.folder = folder
        self.dataset_args = dataset_args
        self.mirror_augment = mirror_augment
        self.run_dir = run_dir
        self.shape = shape


def choose_sources(table, networks_given=None, datasets_given=None):
    """OrderedDict network's name -> Source, for the networks of a table's cells.

    Args:
        networks_given: dict network's name -> what names the network here, in place of the released one.
        datasets_given: dict data set's or network's name -> folder.

    Raises UserError for names that the table does not have.
    """
    networks_given, datasets_given = dict(networks_given or {}), dict(datasets_given or {})
    _check_names(table, 'network', networks_given, table.networks)
    _check_names(table, 'data set', datasets_given, list(table.datasets) + list(table.networks))
    sources = OrderedDict()
    for network in table.used_networks():
        dataset = table.datasets.get(network.dataset)
        given = datasets_given.get(network.name, datasets_given.get(network.dataset))
        folder = given if given is not None or dataset is None else dataset.folder
        text = networks_given.get(network.name, network.released)
        settings, _ = config_files.load_config(network.config, folders.config_dir)
        mirror_augment, args, run_dir = bool(settings.get('train', {}).get('mirror_augment', False)), None, None
        if network.name in networks_given:
            run_dir, run_args, run_mirrors = _run_of(text, f'--network {network.name}')
            if run_args is not None:
                mirror_augment, args = run_mirrors, run_args if given is None else None
        sources[network.name] = Source(network, text, dataset, folder, args, mirror_augment, run_dir,
                                       _shape_of(settings.get('dataset', {}), dataset))
    return sources


def own_table(table, network, folder):
    """(table, sources) of one network's scores in the rows of a table whose rows hold one kind of value each.

    A run brings its data set along; there are no published values. Raises UserError.
    """
    first = OrderedDict((cell.row, cell) for cell in reversed(table.cells))
    if any((cell.metric, cell.value) != (first[cell.row].metric, first[cell.row].value) for cell in table.cells):
        raise UserError(f'--network {network}: say which network of {table.name} it is, as in NAME={network} '
                        f"(names: {', '.join(table.networks)})")
    run_dir, args, mirrors = _run_of(network, '--network')
    found = locate(network)
    title = os.path.basename(run_dir) if run_dir else found.name
    definition = Network(OWN, None, None, None)
    cells = [cell._replace(column=OWN, network=OWN, published=None, note=None)
             for _, cell in sorted(first.items())]
    own = Table(table.name, table.title, table.paper, table.row_title, [], {}, OrderedDict([(OWN, definition)]),
                OrderedDict([(OWN, title)]), table.rows, cells)
    source = Source(definition, found, None, folder, args if folder is None else None, mirrors, run_dir)
    return own, OrderedDict([(OWN, source)])


def _check_names(table, what, names, known):
    for name in names:
        if name not in known:
            raise UserError(f"{table.name} has no {what} '{name}'{nearest(name, known)}; choose among "
                            f"{', '.join(known)}")


def _shape_of(settings, dataset):
    """[C, H, W] of the images that the section `dataset` of a configuration asks for; None where it does not say.

    A generator of codes makes images, of whose size its data set of codes does not tell.
    """
    if dataset is not None and dataset.command.split()[1:2] == ['encode']:
        return None
    known = known_sets(folders.config_dir).get(settings.get('tfrecord_dir'), {}).get('shape')
    resolution = settings.get('resolution')
    return known or resolution and [None, resolution, resolution]


def _run_of(text, option):
    """(run directory, its data set's arguments, whether it mirrors) of a network given; (None, None, False): none."""
    if '://' in text or artifacts.lookup(text) is not None and not os.path.exists(text):
        return None, None, False
    run_dir = locate(text, option=option).run_dir
    return (run_dir,) + data_of(run_dir)


# ---- What is missing


class Missing:
    """Something that a table needs and that is not on this machine.

    what: 'network', 'data set' or 'feature network'; name; purpose: what needs it; commands: lines that make it, none
    for what can be downloaded.
    """

    def __init__(self, what, name, purpose, commands=()):
        self.what = what
        self.name = name
        self.purpose = purpose
        self.commands = list(commands)

    @property
    def can_be_downloaded(self):
        return not self.commands


def find_missing(table, sources, features, resolve_dataset, own_classifiers=False):
    """List of Missing.

    Args:
        features: 'auto', 'released' or 'standin'.
        resolve_dataset: function from a data set's name to its directory; raises UserError where there is none.
        own_classifiers: whether classifiers of attributes are there already.
    """
    missing = []
    for name, source in sources.items():
        cells = table.cells_of(name)
        purpose = ', '.join(OrderedDict((cell.value, None) for cell in cells))
        if source.text is None:
            missing.append(Missing('network', name, purpose, training_commands(source)))
        elif not isinstance(source.text, Located) and not is_here(source.text):
            missing.append(Missing('network', source.text, f'{name}: {purpose}'))
    missing += _missing_data(table, sources, resolve_dataset)
    metrics = list(OrderedDict((cell.metric, None) for cell in table.cells
                               if cell.metric is not None and cell.network in sources))
    return missing + [Missing('feature network', name, _purpose(name))
                      for name in missing_files(metrics, features=features, own_classifiers=own_classifiers)]


def _missing_data(table, sources, resolve_dataset):
    wanted = OrderedDict()      # name -> (networks, command)
    for name, source in sources.items():
        folder = source.folder
        if source.dataset_args is not None:
            if 'tfrecord_dir' not in source.dataset_args:
                continue  # made on the fly
            folder = os.path.join(source.dataset_args.get('data_dir') or '', source.dataset_args['tfrecord_dir'])
        if any(cell.metric is not None for cell in table.cells_of(name)):
            wanted.setdefault(folder, []).append(source)
    missing = []
    for folder, users in wanted.items():
        try:
            resolve_dataset(folder)
        except UserError:
            dataset = users[0].dataset
            commands = ['dataset_tool.py --help'] if dataset is None else data_commands(dataset.command)
            missing.append(Missing('data set', folder or '(none given)',
                                   'FID, ' + ', '.join(user.network.name for user in users), commands))
    return missing


def training_commands(source):
    """The commands that make a network that nobody released."""
    commands = data_commands(source.dataset.command) if source.dataset is not None else []
    return commands + [f'train.py --config {source.network.config}']


def data_commands(command):
    """The command that makes a data set, after those that make what it reads: of codes, the images and the codec."""
    encoding = re.match(r'dataset_tool\.py encode \S+ (\S+) --codec results/\d+-([\w-]+)/', command)
    if encoding is None:
        return [command]
    images, codec = encoding.groups()
    settings, _ = config_files.load_config(codec, folders.config_dir)
    read = [making_of(os.path.basename(folder), folders.config_dir)[0]
            for folder in (images, settings['dataset']['tfrecord_dir'])]
    return list(OrderedDict.fromkeys([line for line in read if line] + [f'train.py --config {codec}', command]))


def _purpose(name):
    return {files.INCEPTION: f'FID; or {files.INCEPTION_FROZEN}', files.PERCEPTUAL: 'ppl'}.get(name, 'ls')


def describe_missing(missing, gpu_days=None):
    """Lines that say what is missing and how to get it.

    `gpu_days`: function from a configuration's name to a forecast of its training on one V100, in days, or None.
    """
    if not missing:
        return ['Everything that the table needs is here.']
    width = max(len(item.what) for item in missing)
    lines = [f'{len(missing)} things that the table needs are missing:']
    forecasts = {}
    for item in missing:
        lines.append(f'  {item.what:<{width}}  {item.name}  (for {item.purpose})')
        for command in item.commands:
            days = gpu_days(command.split()[-1]) if gpu_days and command.startswith('train.py --config') else None
            if days is not None:
                forecasts[command] = days
            forecast = f'    # forecast: {days:.3g} V100-days' if days is not None else ''
            lines.append(f'  {"":<{width}}      {typed(command)}{forecast}')
    if len(forecasts) > 1:
        lines.append(f'Forecast of these {len(forecasts)} trainings in all: {sum(forecasts.values()):.3g} V100-days')
    lines.append('Released networks are downloaded when the table is made, or may be put into '
                 f'{os.path.abspath(artifacts.folder())}; networks of your own are named with --network NAME=NETWORK, '
                 'data sets with --dataset NAME=DIR.')
    return lines


def fetch_missing(missing):
    """Downloads what can be downloaded; returns [(Missing, reason), ...] of what is still missing.

    After the first file that cannot be had, the others are not tried: where one address fails, all usually do, and
    each takes its time.
    """
    left = [(item, typed('make it: ' + '; '.join(item.commands))) for item in missing if not item.can_be_downloaded]
    failed = False
    for item in missing:
        if not item.can_be_downloaded:
            continue
        if failed:
            left.append((item, 'not tried after the failure above'))
            continue
        try:
            artifacts.get(item.name)
        except UserError as err:
            left.append((item, str(err)))
            failed = True
    return left


def default_features(sources):
    """Stand-ins where all networks are those of drawn faces, else the released networks."""
    return choose_source('auto', [source.dataset_args or ({'tfrecord_dir': source.folder} if source.folder else None)
                                  for source in sources.values()])
