"""Released files by name: where they are published, what they must look like, and where they lie on this machine.

The table is `config.artifact_table`: per file its names, addresses in the order of trying, size and SHA-256 (or
'unknown'), licence and purpose. A file is looked for in the offline folder first, so a machine without network works
with files that were carried there.
"""

from dnnlib.artifacts.store import fetch, find, folder, get, place, resolve
from dnnlib.artifacts.table import Artifact, lookup, read_table

__all__ = ['Artifact', 'fetch', 'find', 'folder', 'get', 'lookup', 'place', 'read_table', 'resolve']
