"""Landmarks that another detector found: FFHQ's own JSON, or CSV with `path,x1,y1,…` of 5 or 68 points."""

import csv
import hashlib
import io
import os

import numpy as np

from data.prefilter.alignment import points_of
from dnnlib.errors import UserError
from dnnlib.files import parse_json, read_bytes

MAX_BYTES = 1 << 30
_KINDS = (5, 68)


class Landmarks:
    """What a file says about photographs.

    Attribute: digest, the beginning of the SHA-256 of the file, for the ledger.
    """

    def __init__(self, path):
        content = read_bytes(path, MAX_BYTES, what='landmarks')
        self.path = path
        self.digest = hashlib.sha256(content).hexdigest()[:16]
        text = content.decode('utf-8-sig', 'replace')
        entries = _of_json(path, text) if text.lstrip()[:1] in ('{', '[') else _of_csv(path, text)
        if not entries:
            raise UserError(f"{path} holds no landmarks; expected are FFHQ's JSON, or lines path,x1,y1,…")
        self._points = {}
        self._by_name = {}
        for name, landmarks in entries:
            name = name.replace('\\', '/')
            self._points[name] = points_of(landmarks)
            # A name without its folder stands for a photograph if only one has it.
            base = name.rpartition('/')[2]
            self._by_name[base] = None if base in self._by_name else name

    def __len__(self):
        return len(self._points)

    def find(self, path):
        """`alignment.Points` of a photograph, by its path or else by its name alone; None if there are none."""
        path = path.replace(os.sep, '/')
        name = path if path in self._points else self._by_name.get(path.rpartition('/')[2])
        return None if name is None else self._points[name]


def _checked(where, values):
    try:
        landmarks = np.array(values, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        raise UserError(f'{where}: landmarks are not pairs of numbers') from None
    if len(landmarks) not in _KINDS or not np.all(np.isfinite(landmarks)) or np.abs(landmarks).max() >= 1e6:
        raise UserError(f'{where}: {len(landmarks)} points; 5 (eyes, nose, corners of the mouth) or 68 finite ones are '
                        'expected')
    return landmarks


def _of_json(path, text):
    try:
        content = parse_json(text)
    except (ValueError, RecursionError) as err:
        raise UserError(f'{path} is no JSON: {err}') from None
    found = []
    for key, entry in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(entry, dict) and isinstance(entry.get('in_the_wild'), dict):
            entry = entry['in_the_wild']
        if not isinstance(entry, dict) or 'face_landmarks' not in entry:
            raise UserError(f"{path}: entry {str(key)[:40]} has no 'face_landmarks'")
        name = entry.get('file_path', key)
        found.append((str(name), _checked(f'{path}, entry {str(key)[:40]}', entry['face_landmarks'])))
    return found


def _of_csv(path, text):
    found = []
    for number, row in enumerate(csv.reader(io.StringIO(text.replace('\0', ''))), 1):
        if not row or number == 1 and len(row) > 1 and not _is_number(row[1]):
            continue
        found.append((row[0], _checked(f'{path}, line {number}', row[1:])))
    return found


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
