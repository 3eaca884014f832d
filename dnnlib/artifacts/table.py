"""Reading and writing the table of released files."""

import collections
import hashlib
import re

import config
from dnnlib.addresses import is_url
from dnnlib.errors import UserError
from dnnlib.files import read_json, write_json
from dnnlib.values import schema

TABLE = config.artifact_table
UNKNOWN = 'unknown'


class Artifact:
    """One released file.

    name: short name; file: file name; urls: addresses in the order of trying; size: bytes or None; sha256: 64
    hexadecimal digits or None; licence, purpose, note: text.
    """

    def __init__(self, name, file, urls, size=UNKNOWN, sha256=UNKNOWN, licence='not stated', purpose='', note=''):
        self.name = _checked(name, r'[a-z0-9][a-z0-9._-]{0,99}', 'a short name')
        self.file = _checked(file, r'[A-Za-z0-9][A-Za-z0-9._-]{0,149}', 'a file name')
        self.urls = _checked_urls(urls, name)
        self.size = None if size == UNKNOWN else _positive(size, name)
        self.sha256 = None if sha256 == UNKNOWN else _checked(sha256, r'[0-9a-f]{64}', 'a SHA-256')
        self.licence, self.purpose, self.note = (_checked(text, r'[^\0\ud800-\udfff]{0,2000}', 'a text')
                                                 for text in (licence, purpose, note))

    def to_json(self):
        """The table's entry."""
        entry = collections.OrderedDict(self.__dict__)
        entry['size'] = UNKNOWN if self.size is None else self.size
        entry['sha256'] = UNKNOWN if self.sha256 is None else self.sha256
        if not self.note:
            del entry['note']
        return entry

    def cached_names(self):
        """File names under which the file may lie: its own, and those that the original's downloads have."""
        return [self.file] + [f'{hashlib.md5(url.encode()).hexdigest()}_{self.file}' for url in self.urls]


def _checked(text, pattern, what):
    if not isinstance(text, str) or not re.match(pattern + r'\Z', text):
        raise UserError(f'table of released files: {text!r:.100} is not {what}')
    return text


def _checked_urls(urls, name):
    if not isinstance(urls, list) or len(urls) > 100:
        raise UserError(f"artifact '{name}': its addresses are not a list of them")
    for url in urls:
        if not is_url(url) or len(url) > 2000:
            raise UserError(f"artifact '{name}': '{str(url)[:100]}' is not an http or https address")
    return list(urls)


def _positive(size, name):
    if type(size) is not int or not 0 < size < 1 << 50:
        raise UserError(f"artifact '{name}': the size {size!r:.40} is not a number of bytes")
    return size


def read_table(path=TABLE):
    """OrderedDict of name → Artifact. Raises UserError for a malformed table."""
    content = read_json(path, what='the table of released files')
    schema.check(content, {'artifacts': [dict]}, path)
    try:
        artifacts = [Artifact(**entry) for entry in content['artifacts']]
    except TypeError as err:  # an entry with another key, or without one
        raise UserError(f'{path}: not a table of released files ({err})') from err
    table = collections.OrderedDict((artifact.name, artifact) for artifact in artifacts)
    if len(table) != len(artifacts) or len({artifact.file for artifact in artifacts}) != len(artifacts):
        raise UserError(f'{path}: two entries have the same name or file name')
    return table


def write_table(table, path=TABLE):
    """Stores an OrderedDict of name → Artifact atomically."""
    write_json(path, {'artifacts': [artifact.to_json() for artifact in table.values()]})


def lookup(name, table=None):
    """The Artifact of a short name or a file name; None if the table has none."""
    table = read_table() if table is None else table
    if name in table:
        return table[name]
    return next((artifact for artifact in table.values() if name == artifact.file), None)
