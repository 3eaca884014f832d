"""Networks in files without pickle: `.npz` with a `.json` beside it, and `.safetensors`.

Arrays are stored under '<network>/<local name>', where the network is G, D or Gs, followed by '.<component>' for each
component on the way. Everything else is JSON, with tags where JSON cannot tell two values apart.
"""

import collections
import hashlib
import json
import math
import os

import numpy as np

from config import version
from dnnlib import array_files
from dnnlib.errors import FileError, UserError
from dnnlib.files import atomic_write, open_regular, parse_json, read_bytes, write_json
from dnnlib.tflib.safe_pickle import OWN_FIELDS, SNAPSHOT, NetworkState, checked_state
from dnnlib.util import EasyDict

FORMAT = 'stylegan-networks'
FORMAT_VERSION = 1
_MAX_HEADER_BYTES = 16 << 20
_MAX_DEPTH = 16


# ---- Values that JSON cannot tell apart

def encode(value):
    """A JSON-able form of plain data from which `decode` makes the same value, types included.

    Raises UserError for anything else.
    """
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {'__float__': repr(value)}
    if isinstance(value, (list, tuple)):
        items = [encode(item) for item in value]
        return items if isinstance(value, list) else {'__tuple__': items}
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        tag = '__array__' if isinstance(value, np.ndarray) else '__scalar__'
        return {tag: [array.dtype.str, list(array.shape), array.tobytes().hex()]}
    if isinstance(value, dict):
        kind = {dict: None, EasyDict: '__easydict__', collections.OrderedDict: '__ordered__'}.get(type(value))
        if kind is None and all(isinstance(key, str) and not key.startswith('__') for key in value):
            return {key: encode(item) for key, item in value.items()}
        return {kind or '__dict__': [[encode(key), encode(item)] for key, item in value.items()]}
    raise UserError(f'a network argument of type {type(value).__name__} has no form without pickle')


def decode(value, depth=0):
    """The value that `encode` was given. Raises ValueError for anything that it does not write."""
    if depth > _MAX_DEPTH:
        raise ValueError('values are nested too deeply')
    if isinstance(value, list):
        return [decode(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value)) if len(value) == 1 else ''
    if tag in _DECODERS:
        return _DECODERS[tag](value[tag], depth)
    return {key: decode(item, depth + 1) for key, item in value.items()}


def _expect(condition, what):
    if not condition:
        raise ValueError(f'{what} is written in an unknown way')


def _decode_float(text, _depth):
    _expect(text in ('inf', '-inf', 'nan'), 'a number')
    return float(text)


def _decode_tuple(items, depth):
    _expect(isinstance(items, list), 'a tuple')
    return tuple(decode(item, depth + 1) for item in items)


def _decode_array(parts, _depth):
    _expect(isinstance(parts, list) and len(parts) == 3 and isinstance(parts[2], str), 'an array')
    dtype, data = array_files.dtype_of(parts[0]), bytes.fromhex(parts[2])
    array_files.check_shape(parts[1], dtype, len(data))
    return np.frombuffer(data, dtype).reshape(parts[1]) if data else np.zeros(parts[1], dtype)


def _decode_mapping(kind):
    def decode_pairs(pairs, depth):
        _expect(isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs), 'a dict')
        decoded = [(decode(key, depth + 1), decode(item, depth + 1)) for key, item in pairs]
        _expect(all(key is None or isinstance(key, (str, int)) for key, _ in decoded), 'the key of a dict')
        result = kind(decoded)
        _expect(len(result) == len(decoded), 'a dict with two equal keys')
        return result
    return decode_pairs


_DECODERS = {
    '__float__': _decode_float, '__tuple__': _decode_tuple, '__array__': _decode_array,
    '__scalar__': lambda parts, depth: _decode_array(parts, depth)[()], '__dict__': _decode_mapping(dict),
    '__easydict__': _decode_mapping(EasyDict), '__ordered__': _decode_mapping(collections.OrderedDict)}


# ---- Networks as a description and arrays

def describe(content):
    """(JSON-able description, OrderedDict of name → array) of what `safe_pickle.read_networks` returns."""
    single = isinstance(content, NetworkState)
    states = [content] if single else list(content)
    names = SNAPSHOT if len(states) == 3 and not single else [f'net{index}' for index in range(len(states))]
    sources, arrays = {}, collections.OrderedDict()
    networks = [_describe(state, name, sources, arrays) for state, name in zip(states, names)]
    description = {'format': FORMAT, 'format_version': FORMAT_VERSION, 'project_version': version, 'single': single,
                   'networks': networks, 'sources': sources}
    return description, arrays


def _describe(state, path, sources, arrays):
    key = hashlib.sha256(state.build_module_src.encode('utf-8', 'surrogatepass')).hexdigest()
    sources[key] = state.build_module_src
    for name, value in state.variables:
        arrays[f'{path}/{name}'] = value
    return {'path': path, 'name': state.name, 'version': state.version, 'build_func_name': state.build_func_name,
            'build_module_src': key, 'static_kwargs': encode(state.static_kwargs),
            'variables': [name for name, _ in state.variables], **{key: getattr(state, key) for key in OWN_FIELDS},
            'components': [[attribute, _describe(component, f'{path}.{attribute}', sources, arrays)]
                           for attribute, component in state.components.items()]}


def restore(description, arrays, file_name):
    """The inverse of `describe`. Raises UserError for a description that is malformed or does not fit the arrays."""
    try:
        found = description.get('format'), description.get('format_version')
        if found != (FORMAT, FORMAT_VERSION):
            raise UserError(f'{file_name}: written in format {str(found[0])[:40]} {str(found[1])[:40]}; expected '
                            f'{FORMAT} {FORMAT_VERSION}')
        entries, sources = description.get('networks'), description.get('sources')
        _expect(isinstance(entries, list) and isinstance(sources, dict) and type(description.get('single')) is bool
                and (len(entries) == 1 if description['single'] else entries), 'the list of networks')
        left, count = dict(arrays), [0]
        states = tuple(checked_state(_restore(entry, sources, left), file_name, count) for entry in entries)
        if left:
            raise ValueError(f'{len(left)} arrays belong to no network, such as {next(iter(left))[:100]!r}')
        return states[0] if description['single'] else states
    except (ValueError, RecursionError) as err:
        reason = str(err)[:200]
        raise UserError(f'{file_name}: not a description of networks, or not of these arrays ({reason})') from err


_ENTRY = {'path': str, 'name': str, 'version': int, 'build_func_name': str, 'build_module_src': str,
          'variables': list, 'components': list}


def _restore(entry, sources, left, depth=0):
    """The published state dict of one network, components as such dicts; takes its arrays out of `left`."""
    _expect(depth <= _MAX_DEPTH and isinstance(entry, dict) and all(type(entry.get(key)) is kind
                                                                    for key, kind in _ENTRY.items()), 'a network')
    source = sources.get(entry['build_module_src'])
    _expect(isinstance(source, str), 'the source of a network')
    variables = []
    for name in entry['variables']:
        key = f"{entry['path']}/{name}" if isinstance(name, str) else None
        if key not in left:
            raise ValueError(f'there is no array {str(key)[:100]!r}, or it is named twice')
        variables.append((name, left.pop(key)))
    pairs = entry['components']
    _expect(all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs)
            and len({pair[0] for pair in pairs}) == len(pairs), 'a component')
    return dict(version=entry['version'], name=entry['name'], build_func_name=entry['build_func_name'],
                build_module_src=source, static_kwargs=decode(entry.get('static_kwargs')), variables=variables,
                **{key: entry.get(key) for key in OWN_FIELDS},
                components={key: _restore(component, sources, left, depth + 1) for key, component in pairs})


# ---- .npz and .json

def description_path(path):
    """The .json file that belongs to an .npz file."""
    return os.path.splitext(path)[0] + '.json'


def write_npz(content, path):
    """Stores networks as `path` (arrays) and the same name with .json (everything else)."""
    description, arrays = describe(content)
    description['arrays_sha256'] = _digest(arrays)
    with atomic_write(path) as file:
        array_files.write_npz(file, **arrays)
    write_json(description_path(path), description)


def _digest(arrays):
    """A hash of names, types, shapes and values. It tells arrays from those of another network of the same shapes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(json.dumps([name, arrays[name].dtype.str, list(arrays[name].shape)]).encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def read_npz(path):
    """What `write_npz` was given, as `safe_pickle.read_networks` returns it.

    Raises UserError, also where the two files are not of the same writing: each is replaced whole, but not both at
    once. Descriptions by earlier versions do not tell.
    """
    arrays = array_files.read_npz(path)
    name = description_path(path)
    try:
        text = read_bytes(name, _MAX_HEADER_BYTES)
    except FileError as err:
        what = 'is missing' if err.reason == 'absent' else f'cannot be used ({err})'
        raise UserError(f'{name}: the description that belongs to {path} {what}; keep the files together') from None
    description = _parse(text, name)
    if 'arrays_sha256' in description and description['arrays_sha256'] != _digest(arrays):
        raise UserError(f'{name}: describes other arrays than those in {path}; they were mixed up, or a program ended '
                        'between writing one and the other: bring the file back that belongs to it, or convert again')
    return restore(description, arrays, name)


def _parse(text, name):
    try:
        description = parse_json(text, unique=True)
    except ValueError as err:
        raise UserError(f'{name}: not JSON, or damaged: {err}') from None
    if not isinstance(description, dict):
        raise UserError(f'{name}: not a description of networks')
    return description


# ---- .safetensors

_SAFE_TYPES = {'<f8': 'F64', '<f4': 'F32', '<f2': 'F16', '<i8': 'I64', '<i4': 'I32', '<i2': 'I16', '|i1': 'I8',
               '|u1': 'U8', '|b1': 'BOOL', '<u2': 'U16', '<u4': 'U32', '<u8': 'U64'}
_SAFE_CODES = {code: dtype for dtype, code in _SAFE_TYPES.items()}


def write_safetensors(content, path):
    """Stores networks as one .safetensors file, with everything but the arrays in its metadata.

    Raises UserError for types that the format does not have.
    """
    description, arrays = describe(content)
    header = collections.OrderedDict({'__metadata__': {'networks': json.dumps(description)}})
    offset = 0
    for name, array in arrays.items():
        if array.dtype.str not in _SAFE_TYPES:
            raise UserError(f"variable '{name}' is of type {array.dtype}, which .safetensors cannot hold; use .npz")
        header[name] = {'dtype': _SAFE_TYPES[array.dtype.str], 'shape': list(array.shape),
                        'data_offsets': [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)  # arrays start at a multiple of 8
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for array in arrays.values():
            file.write(array.tobytes())


def read_safetensors(path):
    """What `write_safetensors` was given, as `safe_pickle.read_networks` returns it. Raises UserError."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), 'little')
            if size > array_files.MAX_BYTES or length > min(size - 8, _MAX_HEADER_BYTES):
                raise UserError(f'{path}: not a .safetensors file, or cut off')
            header = _parse(file.read(length), path)
            data = memoryview(file.read())
    except OSError as err:
        raise UserError(f'{path}: cannot be read: {err.strerror}') from None
    try:
        metadata = header.pop('__metadata__', None)
        _expect(isinstance(metadata, dict) and isinstance(metadata.get('networks'), str), 'the metadata')
        arrays = {name: _safetensors_array(entry, data) for name, entry in header.items()}
        _check_places(header.values(), len(data))
    except ValueError as err:
        raise UserError(f'{path}: not written by this project, or damaged ({err})') from None
    return restore(_parse(metadata['networks'], path), arrays, path)


def _safetensors_array(entry, data):
    _expect(isinstance(entry, dict), 'an array')
    code, shape, place = (entry.get(key) for key in ('dtype', 'shape', 'data_offsets'))
    _expect(code in _SAFE_CODES if isinstance(code, str) else False, 'the type of an array')
    _expect(isinstance(place, list) and len(place) == 2 and all(type(offset) is int for offset in place)
            and 0 <= place[0] <= place[1] <= len(data), 'the place of an array')
    dtype, body = np.dtype(_SAFE_CODES[code]), data[place[0]:place[1]]
    array_files.check_shape(shape, dtype, len(body))
    return np.frombuffer(body, dtype).reshape(shape) if len(body) else np.zeros(shape, dtype)


def _check_places(entries, size):
    """Arrays must fill the file without gaps, and none may share its bytes with another."""
    end = 0
    for begin, next_end in sorted(entry['data_offsets'] for entry in entries):
        _expect(begin == end, 'the order of arrays')
        end = next_end
    _expect(end == size, 'the end of the data')
