"""Where the records of scores lie: one file per metric and protocol in a folder, none in another one's place.

`<metric>.json` holds the fullest score, `<metric>-<hash of the protocol>.json` every other. Of a network file that was
written anew, as snapshots within the same thousand images are, it holds a score of what the file holds now.
"""

import glob
import hashlib
import json
import os

from dnnlib.util import UserError
from metrics.scores import records
from training.network_files.best import protocol_of


def protocol_hash(record):
    """Eight hexadecimal digits that are equal for scores of the same network under the same protocol."""
    facts = [protocol_of(record), record.get('network_sha256')]
    return hashlib.sha256(json.dumps(records.plain(facts), sort_keys=True).encode()).hexdigest()[:8]


def find(folder, metric):
    """[(path, record), ...] of a metric's records in a folder; damaged files are left out."""
    stem = os.path.join(glob.escape(folder), glob.escape(metric))
    found = []
    for path in sorted(glob.glob(stem + '.json')) + sorted(glob.glob(stem + '-' + '[0-9a-f]' * 8 + '.json')):
        try:
            record = records.read_record(path)
        except UserError:
            continue
        if record['metric'] == metric:
            found.append((path, record))
    return found


def put(folder, record):
    """Stores a record and returns its path.

    A record of the same protocol is replaced, unless only the new one failed; no other one ever is. The one with the
    most samples has the plain name, among those of the file's present network.
    """
    metric, name = record['metric'], protocol_hash(record)
    plain = os.path.join(folder, metric + '.json')
    aside = os.path.join(folder, f'{metric}-{name}.json')
    present = dict(find(folder, metric))
    same = next((path for path, other in present.items() if protocol_hash(other) == name), None)
    if same is not None:
        if _has_failed(record) and not _has_failed(present[same]):
            print(f'The record of an earlier measurement under this protocol, which did not fail, stays: {same}',
                  flush=True)
            return same
        path = same
    elif plain in present and (_is_of_replaced_file(present[plain], record) or (
            present[plain].get('num_samples') or 0) < (record.get('num_samples') or 0)):
        os.replace(plain, os.path.join(folder, f'{metric}-{protocol_hash(present[plain])}.json'))
        path = plain
    else:
        path = aside if plain in present else plain
    records.write_record(path, record)
    if path == aside:
        other = 'under another protocol' if present[plain].get('network_sha256') == record.get('network_sha256') else \
            'of another network of this name'
        print(f'{metric} was measured {other} before ({plain}); this record is {path}', flush=True)
    return path


def _is_of_replaced_file(record, newer):
    """Whether the file that a record is of held another network when a newer one was made."""
    return record.get('network_file') == newer.get('network_file') is not None \
        and record.get('network_sha256') != newer.get('network_sha256')


def _has_failed(record):
    return None in records.values_of(record).values()
