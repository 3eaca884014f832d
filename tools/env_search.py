"""Find a CPython of a wanted version: on PATH, in pyenv's versions folder, among uv's, or downloaded by uv.

Listing candidates only looks at files; `probe` starts one to see whether it can carry an environment.
"""
import collections
import glob
import json
import os
import re
import subprocess
import sys

Python = collections.namedtuple('Python', 'path version where')   # path: the real file; version: (major, minor)

# A release that still offers CPython 3.7 (3.7.9); later ones dropped it.
UV_PIN = 'uv==0.5.0'
UV_DOWNLOAD_SECONDS = 300
PROBE_SECONDS = 120
PROBE = '''
import json, platform, struct, sys, sysconfig
missing = []
for name in ("venv", "ssl", "zlib", "ctypes", "lzma", "bz2"):
    try:
        __import__(name)
    except Exception:
        missing.append(name)
installers = []
for name in ("ensurepip", "pip"):
    try:
        __import__(name)
        installers.append(name)
    except Exception:
        pass
print(json.dumps({"version": list(sys.version_info[:2]), "full": platform.python_version(),
                  "implementation": platform.python_implementation(), "bits": struct.calcsize("P") * 8,
                  "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
                  "missing": missing, "installers": installers}))
'''


def version_name(version):
    """(3, 7) → '3.7'."""
    return '.'.join(str(part) for part in version)


def managed_python_dirs(environ, own_dir=None):
    """Folders in which uv keeps the interpreters that it downloaded: ours first, then the user's."""
    home = environ.get('HOME', os.path.expanduser('~'))
    data = environ.get('XDG_DATA_HOME') or os.path.join(home, '.local', 'share')
    folders = [own_dir, environ.get('UV_PYTHON_INSTALL_DIR'), os.path.join(data, 'uv', 'python')]
    return [folder for folder in folders if folder]


def candidates(version, environ=None, own_dir=None):
    """Executable files that may be CPython `version`, best place first, without starting any.

    Shims (pyenv's and its relatives' scripts that dispatch by configuration) are passed over: what they would start is
    found in the versions folder itself. Links are resolved, so that an environment found on PATH stands for its base.
    """
    environ = os.environ if environ is None else environ
    name = 'python' + version_name(version)
    places = []
    if sys.version_info[:2] == tuple(version) and environ is os.environ and sys.executable:
        places.append((sys.executable, 'the one running this'))
    for folder in environ.get('PATH', '').split(os.pathsep):
        if folder and os.path.basename(os.path.normpath(folder)) != 'shims':
            places.append((os.path.join(folder, name), 'PATH'))
    pyenv = environ.get('PYENV_ROOT') or os.path.join(environ.get('HOME', os.path.expanduser('~')), '.pyenv')
    pattern = os.path.join(glob.escape(pyenv), 'versions', version_name(version) + '*', 'bin', name)
    places += [(path, 'pyenv') for path in sorted(glob.glob(pattern), key=patch_number, reverse=True)]
    for folder in managed_python_dirs(environ, own_dir):
        pattern = os.path.join(glob.escape(folder), f'cpython-{version_name(version)}*', 'bin', name)
        places += [(path, 'uv') for path in sorted(glob.glob(pattern), key=patch_number, reverse=True)]
    found, seen = [], set()
    for path, where in places:
        real = os.path.realpath(path)
        in_environment = os.path.exists(os.path.join(os.path.dirname(os.path.dirname(real)), 'pyvenv.cfg'))
        if real not in seen and not in_environment and os.path.isfile(real) and os.access(real, os.X_OK):
            seen.add(real)
            found.append(Python(real, tuple(version), where))
    return found


def patch_number(path):
    """Sort key: the first dotted version in a path, as numbers."""
    match = re.search(r'(\d+)\.(\d+)\.(\d+)', path)
    return tuple(int(part) for part in match.groups()) if match else (0, 0, 0)


def probe(python):
    """Start an interpreter → (facts, None), or (None, why it cannot be used)."""
    try:
        done = subprocess.run([python.path, '-I', '-c', PROBE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, universal_newlines=True, timeout=PROBE_SECONDS)
        facts = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return None, f'{python.path} did not answer in {PROBE_SECONDS} s'
    except (OSError, ValueError) as error:
        return None, f'{python.path} does not start as a Python ({error})'
    if tuple(facts['version']) != python.version:
        return None, f'{python.path} is Python {facts["full"]}'
    if facts['implementation'] != 'CPython' or facts['free_threaded'] or facts['bits'] != 64:
        kind = 'free-threaded ' if facts['free_threaded'] else ''
        return None, f'{python.path} is a {facts["bits"]}-bit {kind}{facts["implementation"]}, not the usual CPython'
    if facts['missing']:
        return None, f'{python.path} lacks the standard modules {", ".join(facts["missing"])}'
    if not facts['installers']:
        return None, (f'{python.path} has neither ensurepip nor pip '
                      f'(Debian, Ubuntu: apt-get install python{version_name(python.version)}-venv)')
    return facts, None


def find_python(versions, environ=None, own_dir=None, accept=None):
    """The first usable interpreter → (Python or None, list of what was tried and why not).

    versions: (major, minor) pairs, preferred first. accept(python) may take one without starting it.
    """
    tried, absent = [], []
    for version in versions:
        listed = candidates(version, environ, own_dir)
        if not listed:
            absent.append('python' + version_name(version))
        for python in listed:
            if accept is not None and accept(python):
                return python, tried
            facts, reason = probe(python)
            if facts:
                return python, tried
            tried.append(reason)
    if absent:
        tried.append(f'no {" or ".join(absent)} on PATH, in pyenv\'s versions folder or among uv\'s')
    return None, tried


def uv_install(version, uv, own_dir):
    """Let the program `uv` download CPython `version` into own_dir → None, or a sentence about the failure."""
    environ = dict(os.environ, UV_PYTHON_INSTALL_DIR=own_dir)
    try:
        done = subprocess.run([uv, 'python', 'install', version_name(version)], env=environ, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, universal_newlines=True,
                              timeout=UV_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        return f'uv did not finish downloading CPython {version_name(version)} in {UV_DOWNLOAD_SECONDS} s'
    except OSError as error:
        return f'{uv} does not start ({error})'
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()] or ['no message']
        causes = lines[:1] + lines[-1:] if len(lines) > 1 else lines
        return f'uv could not download CPython {version_name(version)}: {" … ".join(causes)[:400]}'
    return None
