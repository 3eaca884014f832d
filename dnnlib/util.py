"""Small helpers used everywhere: dictionaries with attributes, by-name lookup, atomic files, logging, downloads."""

import ctypes
import errno
import functools
import importlib
import io
import operator
import os
import pickle
import sys
import types

from dnnlib import command_line

# Part of this module, which is the library's public face.
from dnnlib.addresses import is_url, without_passwords  # noqa: F401
from dnnlib.errors import StopRequested, UserError  # noqa: F401
from dnnlib.files import (  # noqa: F401
    atomic_folder,
    atomic_path,
    atomic_write,
    check_listable,
    copy_files_and_create_dirs,
    list_dir_recursively_with_ignore,
    make_folder,
    sha256_file,
)


class EasyDict(dict):
    """A dict whose items can also be read, set and deleted as attributes: `d.key` is `d['key']`."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None


_IMPOSSIBLE_PLACE = (errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
                     errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.EIO, errno.ESTALE)


def printable(text):
    """`text` with control characters written out, since those of a terminal could hide or forge what is said."""
    return ''.join(c if c.isprintable() or c == '\n' else ascii(c)[1:-1] for c in command_line.visible(text))


def run_main(main):
    """Runs `main()` as a command line and exits the process with its status.

    Any text can be printed. UserError prints `error: SENTENCE` to stderr and exits 2; a full disk, a file without
    permission and a place where no file can be made likewise. Ctrl-C prints one line and exits 130, a reader that went
    away (`| head`) ends the program quietly. Other exceptions are ours: their traceback shows.
    """
    command_line.accept_all_characters()
    try:
        status = main()
        sys.stdout.flush()
    except UserError as err:
        print(f'error: {printable(command_line.typed(without_passwords(str(err))))}', file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # What is still buffered cannot be written: point stdout elsewhere so that the flush at exit stays silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            where = f' while writing {printable(str(err.filename))}' if err.filename else ''
            print(f'error: no space left on the disk{where}; free some space and repeat the command', file=sys.stderr)
        elif err.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and err.filename is not None:
            print(f"error: no access to '{printable(str(err.filename))}': {err.strerror}", file=sys.stderr)
        elif err.errno in _IMPOSSIBLE_PLACE and err.filename is not None:
            place = err.filename2 or err.filename
            print(f"error: '{printable(str(place))}' cannot be used: {err.strerror}", file=sys.stderr)
        else:
            raise
        status = 2
    sys.exit(status)


def open_url(url, cache_dir=None, num_attempts=10, verbose=True, check=None):
    """See `dnnlib.download.open_url`; imported at the first call, since what speaks to servers takes long to import."""
    from dnnlib import download
    return download.open_url(url, cache_dir, num_attempts, verbose, check)


def format_digits(value, digits):
    """A number to so many significant digits, with an exponent only where it needs one: '10710', '4.321', '1.2e-05'."""
    text = f'{value:.{digits}g}'
    return f'{float(text):.0f}' if 'e+' in text and abs(value) < 1e15 else text


def format_time(seconds):
    """Formats a duration in seconds with one to three units: `12s`, `1m 05s`, `2h 00m 07s`, `3d 04h 05m`."""
    s = int(round(seconds))
    if s < 60:
        return f'{s}s'
    if s < 60 * 60:
        return f'{s // 60}m {s % 60:02}s'
    if s < 24 * 60 * 60:
        return f'{s // 3600}h {s // 60 % 60:02}m {s % 60:02}s'
    return f'{s // 86400}d {s // 3600 % 24:02}h {s // 60 % 60:02}m'


def ask_yes_no(question):
    """Asks until the answer is yes or no (or y, t, true, on, 1, n, f, false, off, 0); returns whether it was yes."""
    while True:
        answer = input(f'{question} [y/n] ').strip().lower()
        if answer in ('y', 'yes', 't', 'true', 'on', '1'):
            return True
        if answer in ('n', 'no', 'f', 'false', 'off', '0'):
            return False


def tuple_product(values):
    """The product of the values of a tuple, 1 for an empty one."""
    return functools.reduce(operator.mul, values, 1)


_C_TYPES = {'uint8': ctypes.c_ubyte, 'uint16': ctypes.c_uint16, 'uint32': ctypes.c_uint32, 'uint64': ctypes.c_uint64,
            'int8': ctypes.c_byte, 'int16': ctypes.c_int16, 'int32': ctypes.c_int32, 'int64': ctypes.c_int64,
            'float32': ctypes.c_float, 'float64': ctypes.c_double}


def get_dtype_and_ctype(type_obj):
    """(NumPy's dtype, ctypes' type) of equal size for a type's name, or for a type or dtype that has one.

    Raises RuntimeError for what has no name, KeyError for a type that C lacks.
    """
    import numpy as np
    name = type_obj if isinstance(type_obj, str) else getattr(type_obj, '__name__', getattr(type_obj, 'name', None))
    if name is None:
        raise RuntimeError(f'{type_obj!r} is neither the name of a type nor a type')
    return np.dtype(name), _C_TYPES[name]


def is_pickleable(obj):
    """Whether Python can pickle an object."""
    try:
        pickle.dump(obj, io.BytesIO())
    except Exception:  # whatever its methods raise
        return False
    return True


# ---- Objects by name

_SHORTHANDS = {'np': 'numpy', 'tf': 'tensorflow.compat.v1'}


def get_module_from_obj_name(obj_name):
    """Splits `package.module.Class.attr` into (module, 'Class.attr'), importing the module.

    `np.` and `tf.` stand for NumPy and TensorFlow, of which the latter's 1.x interface is meant.

    Raises ImportError if no prefix of the name is a module or the rest is not found in it. An error raised while
    importing a module that exists is passed on unchanged.
    """
    first, dot, rest = obj_name.partition('.')
    parts = (_SHORTHANDS.get(first, first) + dot + rest).split('.')
    for count in range(len(parts) - 1, 0, -1):
        module_name = '.'.join(parts[:count])
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as err:
            if err.name is None or not (module_name + '.').startswith(err.name + '.'):
                raise  # the module is there, but something that it imports is not
            continue
        local_name = '.'.join(parts[count:])
        try:
            get_obj_from_module(module, local_name)
        except AttributeError:
            raise ImportError(f"module '{module_name}' has no '{local_name}'") from None
        return module, local_name
    raise ImportError(f"no module found for the name '{obj_name}'")


def get_obj_from_module(module, local_name):
    """Follows a dotted name inside a module. Raises AttributeError."""
    obj = module
    for part in local_name.split('.'):
        obj = getattr(obj, part)
    return obj


def get_obj_by_name(name):
    """Returns the object with this fully qualified name, importing its module. Raises ImportError."""
    return get_obj_from_module(*get_module_from_obj_name(name))


def get_module_dir_by_obj_name(obj_name):
    """The folder of the module that holds the object of this name. Raises ImportError."""
    import inspect
    return os.path.dirname(inspect.getfile(get_module_from_obj_name(obj_name)[0]))


def call_func_by_name(*args, func_name=None, **kwargs):
    """Calls the function or class with the fully qualified name `func_name`."""
    assert func_name is not None
    func = get_obj_by_name(func_name)
    assert callable(func), func_name
    return func(*args, **kwargs)


def is_top_level_function(obj):
    """True for a function that its module knows by name, so that other processes and pickles can find it."""
    return isinstance(obj, types.FunctionType) and getattr(sys.modules.get(obj.__module__), obj.__name__, None) is obj


def get_top_level_function_name(obj):
    """The fully qualified name of a top-level function; for one in a script, the script's own module name."""
    assert is_top_level_function(obj), obj
    module = obj.__module__
    if module == '__main__':
        module = os.path.splitext(os.path.basename(sys.modules[module].__file__))[0]
    return module + '.' + obj.__name__


# ---- Logging

class _Tee:
    """Stands in for sys.stdout or sys.stderr and passes what is written to the original stream and to a Logger."""

    def __init__(self, stream, logger):
        self._stream = stream
        self._logger = logger

    def write(self, text):
        self._stream.write(text)
        self._logger.write_to_file(text)
        if self._logger.should_flush:
            self._stream.flush()
        return len(text)

    def flush(self):
        self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


class Logger:
    """Copies everything printed to stdout and stderr into a file as well, until `close()`.

    In the file a line that was redrawn with carriage returns (a progress bar) appears once, in its last form.
    `file_mode` is 'w' to start the file anew or 'a' to continue it; without a file name nothing is copied.
    """

    def __init__(self, file_name=None, file_mode='w', should_flush=True):
        assert file_mode in ('w', 'a')
        self.should_flush = should_flush
        self._file = open(file_name, file_mode, encoding='utf-8', errors='replace') if file_name is not None else None
        self._line = ''
        self._stdout, self._stderr = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = _Tee(sys.stdout, self), _Tee(sys.stderr, self)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.close()

    def write(self, text):
        """Prints text to stdout and the file."""
        sys.stdout.write(text)

    def flush(self):
        """Flushes the file and stdout."""
        if self._file is not None:
            self._file.flush()
        self._stdout.flush()

    def write_to_file(self, text):
        """Writes complete lines of text to the file only; an unfinished line waits for its end."""
        if self._file is None or not text:
            return
        lines = (self._line + (text.decode('utf-8', 'replace') if isinstance(text, bytes) else text)).split('\n')
        self._line = lines.pop()
        for line in lines:
            self._file.write(line.rstrip('\r').rpartition('\r')[2] + '\n')
        if self.should_flush and lines:
            self._file.flush()

    def close(self):
        """Restores stdout and stderr and closes the file. May be called twice."""
        if isinstance(sys.stdout, _Tee) and sys.stdout._logger is self:
            sys.stdout = self._stdout
        if isinstance(sys.stderr, _Tee) and sys.stderr._logger is self:
            sys.stderr = self._stderr
        if self._file is not None:
            if self._line:
                self.write_to_file('\n')
            self._file.close()
            self._file = None
