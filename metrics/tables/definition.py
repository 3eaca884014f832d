"""A paper's table as data: what stands in each cell, and which network and data set it is measured with.

A table is a file `configs/tables/NAME.yaml`; docs/tables.md describes its form. Nothing but such a file is needed for
another table.
"""

import os
import re
from collections import OrderedDict, namedtuple

from dnnlib import config_files
from dnnlib.config_files import nearest
from dnnlib.files import UserError, read_bytes
from metrics import presets

MAX_BYTES = 1 << 20

Cell = namedtuple('Cell', 'row column network metric value space record published note better')
"""One number. row: number of its row; column: key; network: key; metric: preset to measure, or None; value: name of the
value in the metric's record; space: 'z', 'w' or None; record: kind of record that holds the value where it is no
metric's, or None; published: number or None; note: footnote or None; better:
'lower', 'higher' or None for neither: what the definition says, else what the metric says."""

Network = namedtuple('Network', 'name released config dataset')
"""name: key; released: name of a released file or None; config: configuration that trains it; dataset: key or None."""

DataSet = namedtuple('DataSet', 'name title folder command')
"""name: key; folder: name in the folder of data sets; command: what makes it."""


class Table:
    """A table's definition.

    Attributes:
        name, title, paper, row_title: texts.
        notes: list of footnotes to the whole table.
        datasets, networks: OrderedDict key -> DataSet, Network.
        columns: OrderedDict key -> title.
        rows: list of titles.
        cells: list of Cell, row by row.
    """

    def __init__(self, name, title, paper, row_title, notes, datasets, networks, columns, rows, cells):
        self.name, self.title, self.paper, self.row_title, self.notes = name, title, paper, row_title, notes
        self.datasets, self.networks, self.columns, self.rows, self.cells = datasets, networks, columns, rows, cells

    def used_networks(self):
        """The networks of the cells, in order of appearance."""
        return [self.networks[name] for name in OrderedDict((cell.network, None) for cell in self.cells)]

    def cells_of(self, network_name):
        """The cells that a network fills."""
        return [cell for cell in self.cells if cell.network == network_name]

    def restricted(self, columns):
        """The table with these columns only. Raises UserError for keys that it does not have, and for none."""
        if not columns:
            raise UserError(f"no column of {self.name} is named; choose among {', '.join(self.columns)}")
        for key in columns:
            if key not in self.columns:
                raise UserError(f"{self.name} has no column '{key}'{nearest(key, self.columns)}; choose among "
                                f"{', '.join(self.columns)}")
        return Table(self.name, self.title, self.paper, self.row_title, self.notes, self.datasets, self.networks,
                     OrderedDict((key, self.columns[key]) for key in columns), self.rows,
                     [cell for cell in self.cells if cell.column in columns])


def list_tables(config_dir):
    """[(name, title, paper)] of all tables, sorted by name."""
    folder = os.path.join(config_dir, 'tables')
    names = sorted(name[:-len('.yaml')] for name in os.listdir(folder) if name.endswith('.yaml'))
    tables = [load_table(name, config_dir) for name in names]
    return [(table.name, table.title, table.paper) for table in tables]


def known_sets(config_dir):
    """Data sets that configurations name and no table: dict folder -> dict of `shape` and `command`."""
    path = os.path.join(config_dir, 'data', 'sets.yaml')
    return config_files.parse_yaml(read_bytes(path, MAX_BYTES).decode('utf-8'), path)[0]


def making_of(folder, config_dir):
    """(the command that makes a data set which configurations or tables name, the shape of its samples or None).

    The command is None for a data set that none of them names.
    """
    known = known_sets(config_dir)
    if folder in known:
        return known[folder]['command'], known[folder]['shape']
    for name, _, _ in list_tables(config_dir):
        for data_set in load_table(name, config_dir).datasets.values():
            if data_set.folder == folder:
                return data_set.command, None
    return None, None


def load_table(name, config_dir):
    """The Table called `name`, or in the file of that path. Raises UserError."""
    if name.endswith('.yaml'):
        path, name = name, os.path.basename(name)[:-len('.yaml')]
    else:
        folder = os.path.join(config_dir, 'tables')
        known = sorted(file[:-len('.yaml')] for file in os.listdir(folder) if file.endswith('.yaml'))
        if name not in known:
            raise UserError(f"there is no table '{name}'{nearest(name, known)} (known: {', '.join(known)})")
        path = os.path.join(folder, name + '.yaml')
    try:
        text = read_bytes(path, MAX_BYTES).decode('utf-8')
    except UnicodeDecodeError as err:
        raise UserError(f'{path} is not a text file in UTF-8 (byte {err.start})') from None
    return _Parser(path).table(name, config_files.parse_yaml(text, path)[0])


class _Parser:
    """Checks every part of a definition while it takes it over."""

    def __init__(self, path):
        self.path = path

    def table(self, name, content):
        content = self._mapping(content, 'a table', dict(title=str, paper=str, row_title=str, columns=dict, rows=list,
                                                         networks=dict),
                                dict(notes=list, datasets=dict))
        datasets = OrderedDict((key, self._dataset(key, value)) for key, value in content['datasets'].items()) \
            if content['datasets'] else OrderedDict()
        networks = OrderedDict((key, self._network(key, value, datasets))
                               for key, value in self._by_text(content['networks'], 'networks'))
        columns = OrderedDict(self._by_text(content['columns'], 'columns'))
        for key, title in columns.items():
            if not isinstance(title, (str, int, float)):
                raise UserError(f'{self.path}: the title of column {key} must not be {config_files.kind(title)}')
            columns[key] = str(title)
        rows, cells = [], []
        for index, row in enumerate(content['rows']):
            row = self._mapping(row, f'row {index + 1}', dict(title=str, cells=dict), dict(measure=dict))
            rows.append(row['title'])
            for column, cell in row['cells'].items():
                cells.append(self._cell(index, str(column), dict(row['measure'] or {}, **self._dict(cell)), networks,
                                        columns))
        if not cells:
            raise UserError(f'{self.path}: the table has no cells')
        return Table(name, content['title'], content['paper'], content['row_title'],
                     [str(note) for note in content['notes'] or []], datasets, networks, columns, rows, cells)

    def _by_text(self, values, what):
        """Yields (key as a text, value). Networks' keys become names of folders."""
        seen = set()
        for key, value in values.items():
            key = str(key)
            if not re.match(r'[\w@+-][\w@+. -]{0,99}\Z', key):
                raise UserError(f'{self.path}: {key!r:.60} among the {what} is no name; letters, digits, dots, dashes '
                                'and underscores are expected')
            if key in seen:
                raise UserError(f"{self.path}: '{key}' is given twice among the {what}, as a text and as a number")
            seen.add(key)
            yield key, value

    def _dataset(self, key, value):
        value = self._mapping(value, f'data set {key}', dict(title=str, folder=str, command=str))
        return DataSet(key, **value)

    def _network(self, key, value, datasets):
        value = self._mapping(value, f'network {key}', dict(config=str), dict(released=str, dataset=str))
        if value['dataset'] is not None and value['dataset'] not in datasets:
            raise UserError(f"{self.path}: network {key} names the data set '{value['dataset']}', which the table does "
                            'not have')
        return Network(key, **value)

    def _cell(self, row, column, value, networks, columns):
        where = f'row {row + 1}, column {column}'
        value = self._mapping(value, where, dict(network=str), dict(metric=str, value=str, record=str, note=str,
                                                                    space=str, published=(int, float), better=str))
        if column not in columns:
            raise UserError(f"{self.path}: {where}: the table has no such column (it has {', '.join(columns)})")
        if value['network'] not in networks:
            raise UserError(f"{self.path}: {where}: the table has no network '{value['network']}'"
                            f"{nearest(value['network'], networks)}")
        if (value['metric'] is None) == (value['record'] is None):
            raise UserError(f'{self.path}: {where}: give either metric, or record and value')
        name = value['value'] or value['metric']
        if name is None:
            raise UserError(f'{self.path}: {where}: value is missing, the name of a value in the record')
        if value['metric'] is not None and name != value['metric'] and not name.startswith(value['metric'] + '_'):
            raise UserError(f"{self.path}: {where}: {value['metric']} has no value '{name}'; its values are named as "
                            f"it is, or begin with {value['metric']}_")
        if value['record'] is not None and not re.match(r'[\w-]{1,100}\Z', value['record']):
            raise UserError(f"{self.path}: {where}: record is {value['record']!r:.60}, which is no kind of record")
        if value['published'] is not None and not -1e300 < value['published'] < 1e300:
            raise UserError(f"{self.path}: {where}: published is {value['published']}; a finite number is expected")
        in_name = re.search(r'_([zw])(full|end)?$', name)
        space = value['space'] or (in_name.group(1) if in_name else None)
        if value['better'] not in (None, 'lower', 'higher'):
            raise UserError(f"{self.path}: {where}: better is '{value['better']}'; lower or higher is expected")
        better = value['better'] or (presets.better(value['metric']) if value['metric'] in presets.PRESETS else None)
        return Cell(row, column, value['network'], value['metric'], name, space, value['record'], value['published'],
                    value['note'], better)

    def _dict(self, value):
        if not isinstance(value, dict):
            raise UserError(f'{self.path}: a cell must be a mapping, not {config_files.kind(value)}')
        return value

    def _mapping(self, value, what, required, optional=None):
        """`value` with None for what is absent, checked for its keys and their types."""
        optional = optional or {}
        if not isinstance(value, dict):
            raise UserError(f'{self.path}: {what} must be a mapping, not {config_files.kind(value)}')
        types = dict(required, **optional)
        for key in value:
            if key not in types:
                raise UserError(f"{self.path}: {what} has a key '{key}'{nearest(key, types)} (known: "
                                f"{', '.join(types)})")
        for key, type_ in types.items():
            found = value.get(key)
            if found is None and key in required:
                raise UserError(f'{self.path}: {what} lacks {key}')
            if found is not None and (not isinstance(found, type_) or isinstance(found, bool)):
                raise UserError(f'{self.path}: {key} of {what} must not be {config_files.kind(found)}')
        return OrderedDict((key, value.get(key)) for key in types)
