"""Networks in files without pickle: `.npz` with a `.json` beside it, and `.safetensors`.

Arrays are stored under '<network>/<local name>', where the network is G, D or Gs, followed by '.<component>' for each
component on the way. Everything else is JSON, with tags where JSON cannot tell two values apart.
"""

import collections
import hashlib
import io
import json
import math
import os
import zipfile

import numpy as np

from dnnlib.errors import FileError, UserError
from dnnlib.files import atomic_write, parse_json, read_bytes, write_json
from dnnlib.tflib.safe_pickle import SNAPSHOT, NetworkState
from dnnlib.util import EasyDict

FORMAT = 'stylegan-networks'
FORMAT_VERSION = 1
_MAX_BYTES = 8 << 30
_MAX_HEADER_BYTES = 64 << 20
_FREELY_UNPACKED = 64 << 20
_MAX_DEPTH = 16


# ---- Values that JSON cannot tell apart

def encode(value):
    """A JSON-able form of plain data from which `decode` makes the same value, types included."""
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
    """The value that `encode` was given. Raises ValueError, TypeError or KeyError for malformed input."""
    if depth > _MAX_DEPTH:
        raise ValueError('values are nested too deeply')
    if isinstance(value, list):
        return [decode(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value)) if len(value) == 1 else ''
    inner = value.get(tag)
    if tag == '__float__':
        return {'inf': math.inf, '-inf': -math.inf, 'nan': math.nan}[inner]
    if tag == '__tuple__':
        return tuple(decode(item, depth + 1) for item in inner)
    if tag in ('__array__', '__scalar__'):
        dtype, shape, data = inner
        array = np.frombuffer(bytes.fromhex(data), _dtype(dtype)).reshape(shape)
        return array if tag == '__array__' else array[()]
    kinds = {'__dict__': dict, '__easydict__': EasyDict, '__ordered__': collections.OrderedDict}
    if tag in kinds:
        return kinds[tag]((decode(key, depth + 1), decode(item, depth + 1)) for key, item in inner)
    return {key: decode(item, depth + 1) for key, item in value.items()}


def _dtype(name):
    dtype = np.dtype(str(name))
    if dtype.kind not in 'buifc':
        raise ValueError(f'{name} is not a type of numbers')
    return dtype


# ---- Networks as a description and arrays

def describe(content):
    """(JSON-able description, OrderedDict of name → array) of what `safe_pickle.read_networks` returns."""
    single = isinstance(content, NetworkState)
    states = [content] if single else list(content)
    names = SNAPSHOT if len(states) == 3 and not single else [f'net{index}' for index in range(len(states))]
    sources, arrays = {}, collections.OrderedDict()
    networks = [_describe(state, name, sources, arrays) for state, name in zip(states, names)]
    description = {'format': FORMAT, 'format_version': FORMAT_VERSION, 'single': single, 'networks': networks,
                   'sources': sources}
    return description, arrays


def _describe(state, path, sources, arrays):
    key = hashlib.sha256(state.build_module_src.encode('utf-8', 'surrogatepass')).hexdigest()
    sources[key] = state.build_module_src
    for name, value in state.variables:
        arrays[f'{path}/{name}'] = value
    return {'path': path, 'name': state.name, 'version': state.version, 'build_func_name': state.build_func_name,
            'build_module_src': key, 'static_kwargs': encode(state.static_kwargs),
            'variables': [name for name, _ in state.variables],
            'components': [[attribute, _describe(component, f'{path}.{attribute}', sources, arrays)]
                           for attribute, component in state.components.items()]}


def restore(description, arrays, file_name):
    """The inverse of `describe`. Raises UserError for a description that is malformed or does not fit the arrays."""
    try:
        if description['format'] != FORMAT or description['format_version'] != FORMAT_VERSION:
            raise UserError(f"{file_name}: written in format {description['format']} "
                            f"{description['format_version']}; expected {FORMAT} {FORMAT_VERSION}")
        states = tuple(_restore(entry, description['sources'], arrays) for entry in description['networks'])
        if description['single']:
            state, = states
            return state
        return states
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as err:
        raise UserError(f'{file_name}: not a description of networks, or not of these arrays '
                        f'({type(err).__name__}: {str(err)[:200]})') from err


def _restore(entry, sources, arrays, depth=0):
    if depth > _MAX_DEPTH:
        raise ValueError('networks are nested too deeply')
    texts = [entry['name'], entry['build_func_name'], sources[entry['build_module_src']]]
    static_kwargs = decode(entry['static_kwargs'])
    if not all(isinstance(text, str) for text in texts) or not isinstance(static_kwargs, dict):
        raise ValueError('names must be text, and arguments a dict')
    return NetworkState(
        version=int(entry['version']), name=texts[0], build_func_name=texts[1], build_module_src=texts[2],
        static_kwargs=static_kwargs,
        components={attribute: _restore(component, sources, arrays, depth + 1)
                    for attribute, component in entry['components']},
        variables=[(name, arrays[f"{entry['path']}/{name}"]) for name in entry['variables']])


# ---- .npz and .json

def _json_path(path):
    return os.path.splitext(path)[0] + '.json'


def write_npz(content, path):
    """Stores networks as `path` (arrays) and the same name with .json (everything else)."""
    description, arrays = describe(content)
    with atomic_write(path) as file:
        np.savez(file, **arrays)
    write_json(_json_path(path), description)


def read_npz(path):
    """What `write_npz` was given, as `safe_pickle.read_networks` returns it. Raises UserError."""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > _MAX_BYTES or size > 32 * os.path.getsize(path) + _FREELY_UNPACKED:
                raise UserError(f'{path}: unpacks to {size} bytes, far more than the networks of a file of its size do')
            for member in members:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError('unknown compression')
                arrays[member.filename[:-len('.npy')]] = _read_npy(archive.read(member))
    except UserError:
        raise
    except OSError as err:
        raise UserError(f'{path}: cannot be read: {err.strerror}') from None
    except Exception as err:  # NumPy parses headers as Python source: damage raises all that a tokenizer can
        raise UserError(f'{path}: not a file of arrays, or damaged ({str(err)[:200]})') from None
    name = _json_path(path)
    try:
        text = read_bytes(name, _MAX_HEADER_BYTES)
    except FileError as err:
        what = 'is missing' if err.reason == 'absent' else f'cannot be used ({err})'
        raise UserError(f'{name}: the description that belongs to {path} {what}; keep the files together') from None
    return restore(_parse(text, name), arrays, name)


def _parse(text, name):
    try:
        description = parse_json(text)
    except (TypeError, ValueError) as err:
        raise UserError(f'{name}: not JSON: {err}') from None
    if not isinstance(description, dict):
        raise UserError(f'{name}: not a description of networks')
    return description


def _read_npy(data):
    """An array from the bytes of an .npy file, whose header is believed only if it fits them exactly."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)) or int.from_bytes(data[8:10], 'little') > 4096:
        raise ValueError('unknown kind of array')
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    body = memoryview(data)[file.tell():]
    _check_size(shape, dtype, len(body))
    return np.frombuffer(body, dtype).reshape(shape, order='F' if fortran else 'C')


def _check_size(shape, dtype, size):
    count = 1
    for length in shape:
        if type(length) is not int or length < 0:
            raise ValueError('impossible shape')
        count *= length
    if _dtype(dtype).itemsize * count != size:
        raise ValueError(f'an array of shape {list(shape)[:8]} does not fit the {size} bytes stored for it')


# ---- .safetensors

_SAFE_TYPES = {'<f8': 'F64', '<f4': 'F32', '<f2': 'F16', '<i8': 'I64', '<i4': 'I32', '<i2': 'I16', '|i1': 'I8',
               '|u1': 'U8', '|b1': 'BOOL', '<u2': 'U16', '<u4': 'U32', '<u8': 'U64'}


def write_safetensors(content, path):
    """Stores networks as one .safetensors file, with everything but the arrays in its metadata."""
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
        with open(path, 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), 'little')
            if size > _MAX_BYTES or length > min(size - 8, _MAX_HEADER_BYTES):
                raise UserError(f'{path}: not a .safetensors file, or cut off')
            header = _parse(file.read(length), path)
            data = file.read()
    except OSError as err:
        raise UserError(f'{path}: cannot be read: {err.strerror}') from None
    types = {code: dtype for dtype, code in _SAFE_TYPES.items()}
    try:
        metadata = header.pop('__metadata__')['networks']
        arrays = {}
        for name, entry in header.items():
            begin, end = entry['data_offsets']
            body = memoryview(data)[begin:end]
            if not 0 <= begin <= end <= len(data):
                raise ValueError('an array lies outside the file')
            dtype = np.dtype(types[entry['dtype']])
            _check_size(entry['shape'], dtype, len(body))
            arrays[name] = np.frombuffer(body, dtype).reshape(entry['shape'])
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise UserError(f'{path}: not written by this project, or damaged ({type(err).__name__}: {err})') from None
    return restore(_parse(metadata, path), arrays, path)
