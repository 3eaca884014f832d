"""Build one environment from its lock files, such that a finished one is recognised by looking at a single file.

Environments lie in `.env-cache/<lock>+<extra>...-<digest>`; the digest covers the text of all its lock files, the
interpreter and the place of the checkout, and `complete.json` is written last. So an interrupted or outdated
environment never looks finished.
"""
import collections
import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

# Raise when environments built by an older version of this file must be built again.
FORMAT = 1
GIB = 1 << 30
NEEDED_BYTES = {'cpu': 3 * GIB, 'gpu': 9 * GIB}
INSTALLERS = ('pip', 'setuptools', 'wheel')
# pip's own settings are the user's, apart from those that would send packages elsewhere than into the environment.
# Without byte code, which the first import writes, every later start of TensorFlow takes three times as long.
MISLEADING_VARIABLES = ('PYTHONPATH', 'PYTHONHOME', '__PYVENV_LAUNCHER__', 'PYTHONDONTWRITEBYTECODE',
                        'PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT', 'PIP_USER', 'PIP_REQUIRE_HASHES')
SMOKE = 'import numpy, scipy, PIL, yaml, h5py, cv2, tensorflow as tf; print("TensorFlow", tf.__version__)'


class SetupError(Exception):
    """A step that failed: what was tried and what to do, in sentences."""


class Environment(collections.namedtuple('Environment', 'root lock_name python extras')):
    """One lock and extras on top of it, for one interpreter.

    root: the checkout; lock_name: e.g. 'tf1-py37-cpu'; python: an env_search.Python; extras: names, sorted, of which
    `dev` is not shown in the environment's name.
    """

    def __new__(cls, root, lock_name, python, extras=()):
        return super().__new__(cls, root, lock_name, python, tuple(extras))

    @property
    def cache(self):
        return os.path.join(self.root, '.env-cache')

    @property
    def title(self):
        """'tf1-py37-cpu', or 'tf1-py37-cpu+cluster'."""
        return '+'.join([self.lock_name] + [extra for extra in self.extras if extra != 'dev'])

    @property
    def lock_files(self):
        """The lock's file, then those of the extras, which CPU and GPU locks share."""
        shared = self.lock_name.replace('-gpu', '-cpu')
        return [os.path.join(self.root, 'requirements', name + '.txt')
                for name in [self.lock_name] + [f'{shared}-{extra}' for extra in self.extras]]

    @property
    def log_file(self):
        return os.path.join(self.cache, self.lock_name + '.log')

    @property
    def folder(self):
        digest = hashlib.sha256()
        for path in self.lock_files:
            with open(path, 'rb') as f:
                digest.update(f.read())
        status = os.stat(self.python.path)
        digest.update(repr((FORMAT, self.python.path, status.st_size, status.st_mtime_ns, self.root)).encode())
        return os.path.join(self.cache, f'{self.title}-{digest.hexdigest()[:10]}')

    @property
    def executable(self):
        return os.path.join(self.folder, 'bin', 'python')

    def is_complete(self):
        """Whether the environment was built to its end and its interpreter is still there."""
        if not all(os.path.exists(path) for path in self.lock_files):
            return False
        folder = self.folder
        return (os.path.exists(os.path.join(folder, 'complete.json'))
                and os.access(os.path.join(folder, 'bin', 'python'), os.X_OK))


def read_pins(path):
    """The `name==version` of a lock file; of two that are for different machines, both."""
    with open(path) as f:
        found = (re.match(r'[\w.-]+==[^\s;]+', line) for line in f)
        return [match.group() for match in found if match]


def requirements_of(path, names):
    """The lines of a lock file that are about the named packages, digests included."""
    lines, wanted = [], False
    with open(path) as f:
        for line in f:
            if not line.startswith(' '):
                wanted = line.split('==')[0] in names
            if wanted:
                lines.append(line)
    return ''.join(lines)


@contextlib.contextmanager
def exclusive(path, waiting):
    """Hold a file lock and give its file; `waiting()` is called before a wait.

    The lock ends with the last process that has the file open, however it ends. Commands started under it inherit the
    file, so that a pip which outlives a killed set-up still keeps the next one waiting.
    """
    with open(path, 'a+') as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            waiting()
            fcntl.flock(f, fcntl.LOCK_EX)
        yield f


def clean_environ():
    """The process environment for pip and the smoke test."""
    environ = {key: value for key, value in os.environ.items() if key not in MISLEADING_VARIABLES}
    return dict(environ, PIP_DISABLE_PIP_VERSION_CHECK='1', PIP_NO_INPUT='1', PYTHONNOUSERSITE='1')


def last_lines(path, count=12):
    """The end of a log, for an error message."""
    with open(path, errors='replace') as f:
        return ''.join('    ' + line for line in f.readlines()[-count:]).rstrip()


def hint(output):
    """What to do about the usual causes of a failed step, by what the command printed."""
    if 'No space left' in output:
        return 'The disk is full: free some space and start again.'
    if 'No matching distribution' in output or 'Could not find a version' in output:
        return ('The package index did not offer a pinned version for this Python. Is it a complete index? '
                'pip\'s own settings (PIP_INDEX_URL, pip.conf) decide which one is asked.')
    if any(sign in output for sign in ('onnection', 'timed out', 'Temporary failure', 'SSLError', 'Retrying')):
        return ('The package index was not reached. Check the network, or point pip to a mirror by its own settings '
                '(PIP_INDEX_URL, PIP_PROXY, PIP_CERT, pip.conf); then start again.')
    return 'Start again when the cause is removed: what is half done is done anew.'


class Builder:
    """Runs the steps of a build, with a log and a progress line. say(text) prints one line for the user."""

    def __init__(self, environment, lock, say):
        self.env = environment
        self.lock = lock
        self.say = say
        self.folder = environment.folder
        self.python = os.path.join(self.folder, 'bin', 'python')

    def build(self):
        """Make the environment anew from the lock. Raises SetupError."""
        free = shutil.disk_usage(self.env.cache).free
        needed = NEEDED_BYTES[self.env.lock_name.rsplit('-', 1)[1]]
        if free < needed:
            raise SetupError(f'{self.env.cache} has {free / GIB:.1f} GiB free, the environment needs up to '
                             f'{needed / GIB:.0f} GiB while it is built. Free some space and start again.')
        with open(self.env.log_file, 'w'):
            pass
        if os.path.exists(self.folder):
            self.say('an earlier set-up was interrupted: starting it anew')
            shutil.rmtree(self.folder)
        started = time.time()
        self.create()
        self.step('installing pip', self.pip() + ['-r', self.installers()])
        # One after another, since each file has options of its own on what may be built from source.
        for path, extra in zip(self.env.lock_files, ('',) + self.env.extras):
            count = len(read_pins(path))
            self.step(f'installing {count} packages' + (f' of {extra}' if extra else ''),
                      self.pip() + ['--no-build-isolation', '--no-compile', '-r', path], count)
        self.step('first import', [self.python, '-c', SMOKE])
        facts = dict(lock=self.env.lock_name, extras=self.env.extras, python=self.env.python.path,
                     seconds=round(time.time() - started, 1))
        temporary = os.path.join(self.folder, 'complete.json.new')
        with open(temporary, 'w') as f:
            json.dump(facts, f)
        os.rename(temporary, os.path.join(self.folder, 'complete.json'))
        self.say(f'built in {facts["seconds"]:.0f} s')

    def create(self):
        """The empty environment; pip from ensurepip or, where a distribution left that out, from the base's pip."""
        base = self.env.python.path
        has_ensurepip = subprocess.call([base, '-I', '-c', 'import ensurepip'], stderr=subprocess.DEVNULL) == 0
        self.step('creating the environment',
                  [base, '-m', 'venv', self.folder] + ([] if has_ensurepip else ['--without-pip']))
        if not has_ensurepip:
            target = glob.glob(os.path.join(self.folder, 'lib', 'python*', 'site-packages'))[0]
            self.step('borrowing pip', [base, '-m', 'pip', 'install', '--require-hashes', '--target', target,
                                        '-r', self.installers()])

    def pip(self):
        return [self.python, '-m', 'pip', 'install', '--no-deps', '--require-hashes', '--progress-bar', 'off']

    def installers(self):
        """A requirements file of pip and its like alone."""
        path = os.path.join(self.env.cache, self.env.lock_name + '.installers')
        with open(path, 'w') as f:
            f.write(requirements_of(self.env.lock_files[0], INSTALLERS))
        return path

    def step(self, title, command, count=0):
        """Run one command, its output to the log, a sign of life now and then. Raises SetupError.

        count: packages that it installs.
        """
        self.say(title + ' …')
        output = []
        with open(self.env.log_file, 'a') as log:
            log.write(f'\n$ {" ".join(command)}\n')
            log.flush()
            process = subprocess.Popen(command, env=clean_environ(), cwd=self.env.root, pass_fds=(self.lock.fileno(),),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       universal_newlines=True, errors='replace')
            spoke, collected = time.time(), 0
            try:
                for line in process.stdout:
                    log.write(line)
                    output.append(line)
                    collected += line.startswith(('Collecting ', 'Requirement already satisfied'))
                    if time.time() - spoke > 10 or (line.startswith('Installing ') and collected == count):
                        spoke = time.time()
                        doing = 'unpacking them' if line.startswith('Installing ') else 'downloading'
                        self.say(f'  {collected} of {count} found, {doing}' if collected and count else '  still at it')
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if code == 0:
            return
        if code == -signal.SIGILL:
            advice = 'TensorFlow\'s packages need a processor with AVX; this one stopped at an unknown instruction.'
        else:
            advice = hint(''.join(output))
        raise SetupError(f'{title} failed (exit {code}) with {self.env.python.path}.\n'
                         f'  command: {" ".join(command)}\n  its last lines (all of them in {self.env.log_file}):\n'
                         f'{last_lines(self.env.log_file)}\n  {advice}')


def install_tool(folder, pin):
    """A scratch environment of the running Python with one pinned package → None, or a sentence about the failure."""
    inside = os.path.join(folder, 'bin', 'python')
    for command in ([sys.executable, '-m', 'venv', '--clear', folder],
                    [inside, '-m', 'pip', 'install', '-q', '--only-binary', ':all:', pin]):
        try:
            done = subprocess.run(command, env=clean_environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, universal_newlines=True)
        except OSError as error:
            return f'{pin} was not installed ({error})'
        if done.returncode != 0:
            lines = [line.strip() for line in done.stdout.splitlines() if 'error' in line.lower()] or ['no message']
            return f'{pin} was not installed ({lines[-1][:200]}). {hint(done.stdout)}'
    return None


def ensure(environment, say, force=False):
    """Build the environment unless it is complete; two at once wait for each other. Raises SetupError."""
    if environment.is_complete() and not force:
        return
    os.makedirs(environment.cache, exist_ok=True)
    lock = os.path.join(environment.cache, environment.lock_name + '.lock')
    waiting = f'another set-up of {environment.lock_name} is running: waiting for it'
    with exclusive(lock, lambda: say(waiting)) as held:
        if environment.is_complete() and not force:
            return
        if force:
            shutil.rmtree(environment.folder, ignore_errors=True)
        Builder(environment, held, say).build()
        remove_outdated(environment, say)


def remove_outdated(environment, say):
    """Delete earlier environments of the same lock, whatever their extras, but none of which a process maps files."""
    pattern = os.path.join(glob.escape(environment.cache), environment.lock_name + '[-+]*' + os.sep)
    for folder in glob.glob(pattern):
        folder = folder.rstrip(os.sep)
        if folder == environment.folder:
            continue
        if in_use(folder):
            say(f'{os.path.basename(folder)} is outdated but in use; it goes with the next set-up')
            continue
        shutil.rmtree(folder, ignore_errors=True)


def in_use(folder):
    """Whether a process of this machine has mapped a library below the folder (as far as we may look)."""
    for path in glob.glob('/proc/[0-9]*/maps'):
        try:
            with open(path, errors='replace') as f:
                if folder + os.sep in f.read():
                    return True
        except OSError:
            continue
    return False


def switch_link(link, target):
    """Point a symbolic link to a target in one step. Raises SetupError where something else has the name."""
    if os.path.islink(link) and os.readlink(link) == target:
        return
    if os.path.lexists(link) and not os.path.islink(link):
        raise SetupError(f'{link} is in the way: it is no link made by this set-up. Move or remove it and start again.')
    temporary = f'{link}.{os.getpid()}.new'
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.replace(temporary, link)


def print_to_stderr(text):
    print('set-up: ' + text, file=sys.stderr, flush=True)
