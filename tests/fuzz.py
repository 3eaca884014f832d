"""Feeds readers with damaged files: `make fuzz`, or `python tests/fuzz.py --seconds 60 [NAME ...]`.

A reader may give data or raise a UserError. Everything else counts as a failure: another exception, a process that
ends, more than 4 GB of memory beyond the start, more than 20 seconds. Failing inputs are kept, with what was raised.

To add a reader, write a function that yields good files and one that reads a path, and enter both into `READERS`.
"""

import argparse
import io
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import tarfile
import time
import traceback

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'tests')]

import fuzz_data  # noqa: E402  (found once the path is set)
import fuzz_libraries  # noqa: E402
import fuzz_runs  # noqa: E402

ODD_VALUES = [None, True, -1, 0, 2 ** 70, 10 ** 400, 1e308, float('nan'), float('inf'), '', 'x' * 20000, '\ud800', '\0',
              [], {}, [[[[]]]], {'': {}}, '../x', '1e999', -2 ** 63]
ODD_NUMBERS = [0, 1, 127, 128, 255, 2 ** 15, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 62, 2 ** 63, 2 ** 64 - 1]


# ---- Good files

def networks():
    """What a snapshot of two small networks holds."""
    from dnnlib.tflib.safe_pickle import NetworkState
    inner = NetworkState(3, 'M', dict(a=[1, (2, None)]), {}, 'source', 'G_mapping', [
        ('w', np.ones([2, 3], np.float32))])
    outer = NetworkState(3, 'G', dict(b=1.5, c=np.arange(3)), {'mapping': inner}, 'source', 'G_style', [
        ('lod', np.array(0, np.float32)), ('x/y', np.ones([4], np.float32))])
    return outer, outer, outer


def network_files(suffix):
    """Yields the bytes of good files of networks."""
    import tempfile

    from dnnlib.tflib import convert
    with tempfile.TemporaryDirectory() as folder:
        for content in (networks(), networks()[0]):
            path = os.path.join(folder, 'x' + suffix)
            convert.write(content, path)
            with open(path, 'rb') as file:
                yield file.read()


def pickles():
    """Yields pickles of plain data in every protocol."""
    value = {'a': [np.arange(6.).reshape(2, 3), np.float32(2)], 'b': ({'d'}, b'xy', 'text', 10 ** 20), 'c': {1: None}}
    for protocol in range(5):
        yield pickle.dumps(value, protocol)


def arrays():
    """Yields .npz archives."""
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, a=np.arange(6.).reshape(2, 3), b=np.array('text'), c=np.zeros([0, 3], np.int8))
        yield file.getvalue()


def graphs():
    """Yields frozen graphs, plain and in an archive."""
    from test_feature_files import tensor, with_kernel

    from dnnlib.tflib import tf
    graph = tf.GraphDef.FromString(with_kernel(tensor([3, 3, 3, 5], tensor_content=np.ones(135, 'f4').tobytes())))
    next(node for node in graph.node if node.name == 'b').attr['variance_epsilon'].f = 0.001
    data = graph.SerializeToString()
    yield data
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w:gz') as archive:
        member = tarfile.TarInfo('classify_image_graph_def.pb')
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    yield file.getvalue()


def score_records():
    """Yields the record of a score."""
    from metric_helpers import some_record
    yield json.dumps(some_record()).encode()


def tables():
    """Yields a table of released files."""
    entry = dict(name='a', file='a.pkl', urls=['https://host/a'], size=5, sha256='0' * 64, licence='', purpose='')
    yield json.dumps({'artifacts': [entry, dict(entry, name='b', file='b.pkl', size='unknown')]}).encode()


# ---- Readers

def read_plain_networks(path):
    """The description beside an archive takes the damage, or the archive does, in turn."""
    from dnnlib.tflib import plain_files
    folder = os.path.dirname(path)
    good = os.path.join(folder, 'good.npz')
    if not os.path.exists(good):
        plain_files.write_npz(networks(), good)
    os.replace(path, os.path.join(folder, 'good.json'))
    plain_files.read_npz(good)


def descriptions():
    """Yields the JSON that lies beside an archive of networks."""
    from dnnlib.tflib import plain_files
    yield json.dumps(plain_files.describe(networks())[0]).encode()


def _late(module, name, *args):
    """A reader that is imported when it is first needed."""
    def read(path):
        from dnnlib.util import get_obj_by_name
        return get_obj_by_name(f'{module}.{name}')(path, *args)
    return read


READERS = {     # name -> (good files, reader, suffix of the file's name)
    'networks .pkl': (lambda: network_files('.pkl'), _late('dnnlib.tflib.convert', 'read'), '.pkl'),
    'networks .safetensors': (lambda: network_files('.safetensors'), _late('dnnlib.tflib.convert', 'read'),
                              '.safetensors'),
    'networks .json': (descriptions, read_plain_networks, '.bin'),
    'plain pickles': (pickles, _late('dnnlib.pickle_reader', 'load_arrays'), '.pkl'),
    'networks in data': (lambda: [*network_files('.pkl'), *pickles()],
                         _late('dnnlib.tflib.safe_pickle', 'read_content'), '.pkl'),
    'arrays .npz': (arrays, _late('dnnlib.array_files', 'read_npz', True), '.npz'),
    'downloads': (lambda: [*pickles(), *arrays(), *graphs()], _late('dnnlib.content', 'check', 'download'), '.bin'),
    'frozen graphs': (graphs, _late('metrics.networks.frozen_graph', 'read_weights'), '.pb'),
    'score records': (score_records, _late('metrics.scores.records', 'read_record'), '.json'),
    'released files': (tables, _late('dnnlib.artifacts.table', 'read_table'), '.json'),
    **fuzz_data.READERS, **fuzz_runs.READERS, **fuzz_libraries.READERS}


# ---- Damage

def damaged(rng, samples):
    """A sample with one to eight changes."""
    data = bytearray(rng.choice(samples))
    if data[:1] in b'{[' and rng.random() < 0.7:
        try:
            value = json.loads(bytes(data).decode())
            for _ in range(rng.randint(1, 3)):
                value = _replaced(rng, value)
            return json.dumps(value).encode('utf-8', 'surrogatepass')
        except ValueError:
            pass
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at, kind = rng.randrange(len(data) + 1), rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] = rng.choice([0, 255, data[at] ^ 1 << rng.randrange(8), rng.randrange(256)])
        elif kind == 1:
            data[at:at + rng.choice([1, 2, 4, 8, 100])] = b''
        elif kind == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 4, 16])))
        elif kind == 3:
            size = rng.choice([1, 2, 4, 8])
            data[at:at + size] = (rng.choice(ODD_NUMBERS) % 256 ** size).to_bytes(size, rng.choice(['little', 'big']))
        elif kind == 4:
            data[at:at] = data[at:at + rng.choice([5, 50, 500])] * rng.choice([1, 3, 200])
        elif kind == 5:
            data = data[:at]
        else:
            other = rng.choice(samples)
            start = rng.randrange(len(other) + 1)
            data[at:] = other[start:]
    return bytes(data)


def _replaced(rng, value):
    """A copy of nested JSON values in which one is another."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: item for name, item in value.items() if name != key}
        return dict(value, **{key: _replaced(rng, value[key])})
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return value[:at] + [_replaced(rng, value[at])] + value[at + 1:]
    return rng.choice(ODD_VALUES)


# ---- Running

PATIENCE = 300  # seconds for one file; the slowest reader takes 1 or 2 on an idle machine


def run_one(name, seconds, seed, out, most=None):
    """Tries one reader for so long, or so often at most, in this process.

    Prints a line of JSON: tried, read, refused, failed.
    """
    from dnnlib import machine
    from dnnlib.util import UserError
    files, read, suffix = READERS[name]
    samples, rng = list(files()), random.Random(seed)
    path = os.path.join(out, name.replace(' ', '-') + '-current' + suffix)
    counts = dict(tried=0, read=0, refused=0, failed=0)
    for sample in samples:
        with open(path, 'wb') as file:
            file.write(sample)
        read(path)      # a good file is read; this also imports all that takes memory
    used = machine.peak_memory()
    with open('/proc/self/statm') as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (max(size, used) + (4 << 30), resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _out_of_time)
    end = time.time() + seconds
    while time.time() < end and counts['tried'] != most:
        data = damaged(rng, samples)
        with open(path, 'wb') as file:
            file.write(data)
        counts['tried'] += 1
        signal.alarm(PATIENCE)
        try:
            read(path)
            counts['read'] += 1
        except UserError as err:
            counts['refused' if len(str(err)) > 10 else 'failed'] += 1
        except BaseException:
            counts['failed'] += 1
            kept = os.path.join(out, f"{name.replace(' ', '-')}-{seed}-{counts['tried']}{suffix}")
            with open(kept, 'wb') as file, open(kept + '.txt', 'w', encoding='utf-8', errors='replace') as text:
                file.write(data)
                text.write(traceback.format_exc())
        finally:
            signal.alarm(0)
    if os.path.exists(path):
        os.unlink(path)
    print(json.dumps(counts), flush=True)


def _out_of_time(_signal, _frame):
    raise TimeoutError(f'more than {PATIENCE} seconds')


def main(argv=None):
    """Runs every reader in a process of its own. Status 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='NAME', help=f"default: all of {', '.join(READERS)}")
    parser.add_argument('--seconds', type=float, default=60, metavar='S', help='in all, without imports (default 60)')
    parser.add_argument('--seed', type=int, default=int(time.time()), metavar='N', help='default: the time')
    parser.add_argument('--out', default=os.path.join(ROOT, 'results', 'fuzz'), metavar='DIR',
                        help='where failing inputs are kept (default: results/fuzz)')
    parser.add_argument('--most', type=int, metavar='N', help='try at most so many files for each reader: so a fast '
                        'machine tries no others than a slow one (default: as many as there is time for)')
    parser.add_argument('--here', action='store_true', help='run the one named reader in this process')
    args = parser.parse_args(argv)
    os.makedirs(args.out, exist_ok=True)
    names = args.names or list(READERS)
    if args.here:
        return run_one(names[0], args.seconds, args.seed, args.out, args.most)
    print(f'seed {args.seed}', flush=True)
    failed = False
    for name in names:
        command = [sys.executable, os.path.abspath(__file__), name, '--here', '--seconds',
                   str(args.seconds / len(names)), '--seed', str(args.seed), '--out', args.out]
        command += [] if args.most is None else ['--most', str(args.most)]
        log = os.path.join(args.out, name.replace(' ', '-') + '.log')
        with open(log, 'wb') as stderr:
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT)
        lines = result.stdout.decode().strip().splitlines()
        if result.returncode or not lines:
            failed = True
            print(f'{name:<24} the process ended with status {result.returncode}; see its last input in {args.out} and '
                  f'{log}', flush=True)
            continue
        os.unlink(log)
        counts = json.loads(lines[-1])
        failed |= counts['failed'] > 0
        print(f'{name:<24} ' + '  '.join(f'{key} {value}' for key, value in counts.items()), flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
