"""`./reproduce convert IN OUT`: networks from and to files without pickle, without loss.

The suffixes say what is what: .pkl (the published format), .npz (arrays, with a .json of the same name beside it) and
.safetensors. No graph is built and nothing stored in a file is executed.
"""

import os
import pickle

import numpy as np

from dnnlib.command_line import Parser
from dnnlib.files import sync, temporary_folder
from dnnlib.tflib import pickle_writer, plain_files, safe_pickle
from dnnlib.util import UserError, atomic_write, make_folder, run_main


class _StatePickler(pickle_writer._PortablePickler):
    """Writes NetworkState records as the Network objects that they describe."""

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, safe_pickle.NetworkState):
            return super().save(obj, save_persistent_id)
        from dnnlib.tflib.network import Network
        self.save(Network)
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        state = obj.fields()
        # Scalars are stored as numbers, as a session returns them.
        state['variables'] = [(name, value[()]) for name, value in obj.variables]
        super().save(state)
        self.write(pickle.BUILD)


def write_pickle(content, path):
    """Stores what `safe_pickle.read_networks` returns as a network pickle."""
    with atomic_write(path) as file:
        _StatePickler(file, pickle_writer.PROTOCOL).dump(content)


READERS = {'.pkl': safe_pickle.read_networks, '.npz': plain_files.read_npz,
           '.safetensors': plain_files.read_safetensors}
WRITERS = {'.pkl': write_pickle, '.npz': plain_files.write_npz, '.safetensors': plain_files.write_safetensors}


def _suffix(path):
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in READERS:
        raise UserError(f"{path}: the suffix must be one of {', '.join(sorted(READERS))}")
    return suffix


def read(path):
    """NetworkState records from a file of any of the formats: one, or a tuple. Unknown suffixes mean a pickle."""
    return READERS.get(os.path.splitext(path)[1].lower(), safe_pickle.read_networks)(path)


def write(content, path):
    """Stores NetworkState records in the format that the suffix names."""
    WRITERS[_suffix(path)](content, path)


def load(path, trust_stored_code=False, which=None, expect='snapshot'):
    """Networks from a file of any of the formats; see `safe_pickle.load_network_pickle`."""
    return safe_pickle.build_networks(read(path), path, trust_stored_code, which, expect)


def same(a, b):
    """Whether two results of `read` are equal to the last bit."""
    if isinstance(a, safe_pickle.NetworkState):
        return isinstance(b, safe_pickle.NetworkState) and same(a.fields(), b.fields())
    if isinstance(a, (np.ndarray, np.generic)):
        return isinstance(b, (np.ndarray, np.generic)) and a.dtype == b.dtype and a.shape == b.shape \
            and a.tobytes() == b.tobytes()
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b or a != a and b != b


def _write_checked(content, source, target):
    """Writes `target`, and what lies beside it, once it reads back equal; nothing is left of a file that does not."""
    folder, name = os.path.split(os.path.abspath(target))
    make_folder(folder)
    with temporary_folder(target) as temp:
        written = os.path.join(temp, name)
        try:
            write(content, written)
            found = read(written)
        except UserError as err:
            raise UserError(str(err).replace(temp, folder)) from None
        if not same(found, content):
            raise UserError(f'{target}: what was written reads back differently; keep {source} and report this')
        for part in sorted(os.listdir(temp)):
            os.replace(os.path.join(temp, part), os.path.join(folder, part))
    sync(folder)


def main(argv=None):
    parser = Parser(
        prog='./reproduce convert', description='Networks from and to files without pickle, without loss. The suffixes '
        'say what is what: .pkl (the published format), .npz (arrays, with a .json of the same name beside it) and '
        '.safetensors. Nothing stored in a file is executed.',
        epilog='examples:\n  ./reproduce convert results/00003-demo/network-final.pkl demo.npz')
    parser.add_argument('source', metavar='IN', help='file to read')
    parser.add_argument('target', metavar='OUT', help='file to write')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')
    args = parser.parse_args(argv)
    is_npz = _suffix(args.target) == '.npz'
    for path in [args.target] + [plain_files.description_path(args.target)] * is_npz:
        if os.path.exists(path) and not args.force:
            raise UserError(f'{path}: exists already; give --force to replace it')
    if os.path.isdir(args.source):
        raise UserError(f'{args.source}: a folder; name one of its files, of a run for example network-final.pkl')
    content = read(args.source)
    _write_checked(content, args.source, args.target)
    states = [content] if isinstance(content, safe_pickle.NetworkState) else content
    for state in states:
        count = sum(value.size for inner in state.walk() for _, value in inner.variables)
        print(f'{state.name:<8} {state.build_func_name:<12} {count} numbers')
    print(f'{args.target}: written and read back, equal to the last bit')
    return 0


if __name__ == '__main__':
    run_main(main)
