"""Configuration files: YAML in which a file may extend another, with overrides and the origin of every value.

Only data is read: mappings, lists, strings, numbers, booleans and null, typed by YAML 1.2's rules (`1e-8` is a number,
`on` is a string). Mistakes raise UserError naming file and line.
"""

import copy
import difflib
import math
import os
import re

from dnnlib.util import EasyDict, UserError

MAX_BYTES = 1 << 20
MAX_PARTS = 8       # of a dotted key
SELECTORS = ('func_name', 'class_name')  # another value of these makes a section start afresh, see `merge`


def parse_yaml(text, source):
    """See `dnnlib.values.yaml_values.parse`, which is imported at the first call: help pages read no YAML."""
    from dnnlib.values import yaml_values
    return yaml_values.parse(text, source)


def format_value(value):
    """Writes a value as one line of YAML that `parse_yaml` reads back as the same value."""
    if value is None or isinstance(value, bool):
        return {None: 'null', True: 'true', False: 'false'}[value]
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(float(value))
        return '.nan' if math.isnan(value) else '-.inf' if value < 0 else '.inf'
    if isinstance(value, dict):
        return '{' + ', '.join(f'{format_value(k)}: {format_value(v)}' for k, v in value.items()) + '}'
    if isinstance(value, (list, tuple)):
        return '[' + ', '.join(format_value(v) for v in value) + ']'
    if not isinstance(value, str):
        raise TypeError(f'{type(value).__name__} cannot be written into a configuration')
    if re.match(r'[A-Za-z_][A-Za-z0-9_./-]*$', value) and value.lower() not in ('null', 'true', 'false'):
        return value
    return '"' + ''.join(c if c.isprintable() and c not in '"\\' else _escape(ord(c)) for c in value) + '"'


def _escape(code):
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}' if code < 0x10000 else f'\\U{code:08x}'


def dump_config(config, notes=None):
    """Formats a configuration as YAML, sections as blocks. `notes` (dotted key to text) become comments."""
    notes = notes or {}
    lines = []
    for key, value in config.items():
        if isinstance(value, dict) and value and all(isinstance(k, str) for k in value):
            lines.append((f'{key}:', ''))
            lines += [(f'  {format_value(k)}: {format_value(v)}', notes.get(f'{key}.{k}', ''))
                      for k, v in value.items()]
        else:
            lines.append((f'{format_value(key)}: {format_value(value)}', notes.get(key, '')))
    width = min(max([len(text) for text, note in lines if note], default=0), 60)
    return ''.join((f'{text:<{width}}  # {note}' if note else text) + '\n' for text, note in lines)


def nearest(name, names):
    """A hint such as `; did you mean 'seed'?` for a name that is not among `names`, or an empty string."""
    matches = difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ''


def list_configs(config_dir):
    """Returns [(name, description)] of the configurations in `config_dir`, sorted by name; see `group_configs`."""
    return sorted((name, description) for _, members in group_configs(config_dir) for name, description in members)


def group_configs(config_dir):
    """The configurations in `config_dir` as [(group, [(name, description)])], in order of files.

    A file is one configuration, described by its first comment line, or a family: a mapping `variants` from names to
    configurations, each with a `title`, and what they have in `common`, which goes between what a variant extends and
    its own. The group is a file's `group`, '' where it has none.
    """
    groups = {}
    for file_name in sorted(os.listdir(config_dir)):
        if not file_name.endswith('.yaml'):
            continue
        path = os.path.join(config_dir, file_name)
        with open(path, encoding='utf-8', errors='replace') as f:
            first = f.readline()
        try:
            value, _ = read_file(path)
        except UserError:
            value = {}  # said when it is asked for
        members = [(file_name[:-len('.yaml')], first[1:].strip() if first.startswith('#') else '')]
        if isinstance(value.get('variants'), dict):
            members = [(name, str(variant.get('title', '')) if isinstance(variant, dict) else '')
                       for name, variant in value['variants'].items()]
        groups.setdefault(str(value.get('group', '')), []).extend(members)
    return list(groups.items())


def find_config(name, config_dir, base_dir='.'):
    """(path, variant) of a configuration: a name without `/` and `.yaml` is looked up in `config_dir`.

    That is the file NAME.yaml, or the variant NAME of a family; else `name` is a file's path, relative to `base_dir`,
    or FAMILY.yaml:VARIANT. `variant` is None for a file that is one configuration. Raises UserError.
    """
    if not isinstance(name, str) or not name or '\0' in name:
        raise UserError(f'{format_value(name)} is not the name of a configuration')
    if '/' in name or name.endswith(('.yaml', '.yml')):
        file_name, _, variant = name.partition('.yaml:')
        path = os.path.join(base_dir, file_name + '.yaml' if variant else name)
        path = re.sub(r'(^|/)(\./)+', r'\1', path)     # as people would say it
        if os.path.isfile(path):
            return path, variant or None
        raise UserError(f"there is no configuration file '{path}'")
    path = os.path.join(config_dir, name + '.yaml')
    if os.path.isfile(path):
        return path, None
    for file_name in sorted(os.listdir(config_dir)):
        path = os.path.join(config_dir, file_name)
        if file_name.endswith('.yaml') and _may_hold(path, name) and name in _variants(path):
            return path, name
    names = [known for known, _ in list_configs(config_dir)]
    raise UserError(f"there is no configuration '{name}'{nearest(name, names)} (known: {', '.join(names)}; for a file "
                    'of your own give its path, such as ./mine.yaml)')


def read_file(path):
    """A file of settings as it stands: (mapping, lines of its keys). Raises UserError."""
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise UserError(f'{path} is larger than a mebibyte; that is not a configuration')
        with open(path, 'rb') as f:
            text = f.read().decode('utf-8')
    except OSError as err:
        raise UserError(f'cannot read the configuration {path}: {err.strerror}') from err
    except UnicodeDecodeError as err:
        raise UserError(f'{path} is not a text file in UTF-8 (byte {err.start})') from err
    value, lines = parse_yaml(text, path)
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise UserError(f'{path}: a configuration must be a mapping of sections, not {kind(value)}')
    return value, lines


def _may_hold(path, name):
    """Whether a file has the name in it at all: parsing every file takes much longer."""
    with open(path, 'rb') as f:
        return name.encode('utf-8') in f.read(MAX_BYTES)


def _variants(path):
    variants = read_file(path)[0].get('variants')
    return variants if isinstance(variants, dict) else {}


def _read_config(path, variant):
    """The layers of a file, [(mapping, lines)], less what only describes it: one, or a family's common part and one
    variant's own. Raises UserError."""
    value, lines = read_file(path)
    value.pop('group', None)
    if 'variants' not in value and variant is None:
        return [(value, lines)]
    family, common = value.pop('variants', None), value.pop('common', {})
    if not isinstance(family, dict) or not isinstance(common, dict) or value:
        raise UserError(f'{path}: a family of configurations has a group, a mapping of common sections and a mapping '
                        'of variants, nothing else')
    if variant not in family:
        raise UserError(f"{path}: {'say which variant' if variant is None else f'there is no variant {variant!r}'} "
                        f"(known: {', '.join(str(name) for name in family)}), such as {path}:{next(iter(family), '')}")
    if not isinstance(family[variant], dict):
        raise UserError(f"{path}, line {lines[f'variants.{variant}']}: a variant must be a mapping of sections, not "
                        f'{kind(family[variant])}')
    family[variant].pop('title', None)
    return [(common, _lines_below(lines, 'common.')), (family[variant], _lines_below(lines, f'variants.{variant}.'))]


def _lines_below(lines, prefix):
    return {key[len(prefix):]: line for key, line in lines.items() if key.startswith(prefix)}


def load_chain(name, config_dir):
    """Reads a configuration and what it extends. Returns [(path, mapping, lines)], the most basic one first.

    Raises UserError for missing and unreadable files and for files that extend each other in a circle.
    """
    chain, seen = [], []
    base_dir = '.'
    while name is not None:
        path, variant = find_config(name, config_dir, base_dir)
        path = os.path.relpath(path)
        identity = os.path.realpath(path), variant
        if identity in seen:
            files = ' -> '.join([entry[0] for entry in chain] + [path])
            raise UserError(f'configurations extend each other in a circle: {files}')
        seen.append(identity)
        layers = _read_config(path, variant)
        value, lines = layers[-1]
        name, base_dir = value.pop('extends', None), os.path.dirname(path)
        if name is not None and not isinstance(name, str):
            raise UserError(f'{path}, line {lines["extends"]}: extends must be the name of a configuration or a file')
        chain += [(path, value, lines) for value, lines in reversed(layers)]
    return chain[::-1]


def kind(value):
    """What a value is, in a user's words."""
    if value is None:
        return 'null'
    names = [(bool, 'a truth value'), (int, 'a whole number'), (float, 'a number'), (str, 'a text'),
             (dict, 'a mapping'), (list, 'a list')]
    return next(text for type_, text in names if isinstance(value, type_))


def is_table(value):
    """True for a mapping keyed by numbers, such as minibatch sizes by resolution."""
    return isinstance(value, dict) and any(isinstance(key, int) for key in value)


def merge(base, origins, update, origin_of, prefix=''):
    """Merges the mapping `update` into `base` and notes where each value came from in `origins` (dotted key: text).

    Mappings are merged key by key. Everything else is replaced as a whole: lists, and tables keyed by numbers. Where
    `func_name` or `class_name` changes, the keys beside it, which belong to the other function, are dropped first.
    `origin_of(dotted key)` names the source of an updated value.
    """
    if any(key in update and key in base and update[key] != base[key] for key in SELECTORS):
        base.clear()
        for key in [key for key in origins if key.startswith(prefix)]:
            del origins[key]
    for key, value in update.items():
        dotted = f'{prefix}{key}'
        old = base.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and not is_table(value) and not is_table(old):
            merge(old, origins, value, origin_of, dotted + '.')
            continue
        for stale in [k for k in origins if k == dotted or k.startswith(dotted + '.')]:
            del origins[stale]
        if isinstance(value, dict) and value and not is_table(value):
            base[key] = {}
            merge(base[key], origins, value, origin_of, dotted + '.')
        else:
            base[key] = copy.deepcopy(value)
            origins[dotted] = origin_of(dotted)


def parse_override(text, flat_sections=()):
    """Splits `section.key=VALUE` into ([section, key], value). VALUE is typed by YAML's rules.

    Parts in digits after the first are keys of tables and become numbers. Keys in `flat_sections` contain dots
    themselves: only the first dot separates. Raises UserError.
    """
    key, equals, value_text = text.partition('=')
    parts = key.strip().split('.', 1 if key.strip().partition('.')[0] in flat_sections else -1)
    if not equals or not all(parts) or len(parts) > MAX_PARTS:
        raise UserError(f'--set {text[:60]}: write it as --set section.key=VALUE, for example '
                        '--set train.total_kimg=100')
    if parts[0] == 'extends':
        raise UserError('--set extends=… is not possible; choose the configuration with --config')
    parts[1:] = [int(part) if re.match(r'[0-9]{1,9}\Z', part) else part for part in parts[1:]]
    return parts, parse_yaml(value_text, f'--set {key[:60]}')[0]


def parse_overrides(overrides, flat_sections=()):
    """Overrides of the form `section.key=VALUE` as (updates, entries). Raises UserError.

    `updates` is a mapping to merge into a configuration: joined first, the order of overrides does not matter where a
    func_name is among them. `entries` are those of tables keyed by numbers, [([section, key, number], value)]; they
    belong into the table as it is at last, which what else is set may decide.
    """
    updates, entries = {}, []
    for text in overrides:
        parts, value = parse_override(text, flat_sections)
        if any(isinstance(part, int) for part in parts):
            entries.append((parts, to_easy(value)))
            continue
        for part in reversed(parts):
            value = {part: value}
        merge(updates, {}, value, lambda key: '')
    return updates, entries


def load_config(name, config_dir, updates=None):
    """Loads a configuration with all that it extends and merges `updates` (see `parse_overrides`) into it.

    Returns (config, origins): an EasyDict of EasyDicts, and for each dotted key the file and line, or the override,
    that its value came from. Which keys exist is not checked here. Raises UserError.
    """
    config, origins = {}, {}
    for path, value, lines in load_chain(name, config_dir):
        merge(config, origins, value, lambda key, p=path, n=lines: f'{p}:{n[key]}')
    merge(config, origins, updates or {}, lambda key: '--set')
    return to_easy(config), origins


def change(config, origins, updates):
    """A configuration with `updates` (see `parse_overrides`) merged into it: (config, origins), both new."""
    config, origins = copy.deepcopy(config), dict(origins)
    merge(config, origins, updates, lambda key: '--set')
    return to_easy(config), origins


def to_easy(value):
    """Copies nested dicts into EasyDicts."""
    if isinstance(value, dict):
        return EasyDict({key: to_easy(item) for key, item in value.items()})
    if isinstance(value, list):
        return [to_easy(item) for item in value]
    return value
