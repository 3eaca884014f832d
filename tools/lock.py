#!/usr/bin/env python3
"""Resolve requirements/*.in into one lock file per engine, Python and kind (CPU or GPU), and one per extra on top.

    python3 tools/lock.py                         all locks; needs Python 3.11 or newer
    python3 tools/lock.py tf2-py313-cpu           one of them, with its extras
    python3 tools/lock.py --upgrade               newest versions in place of those locked now

uv resolves for each Python, whether it is on this machine or not. A GPU lock is its CPU lock with the TensorFlow
package exchanged: everything that is not CUDA stays the same, and results can be compared. A lock lists every package,
transitive ones too, with the digests of its files for every platform that the lock serves; `tools/bootstrap.py`
installs it with --no-deps, so nothing is resolved on a user's machine, and with --require-hashes, so nothing else is
installed.

An extra (requirements/extra-NAME.in) is resolved around the versions of the CPU lock and of the extras before it, so
that all fit together; its file lists what it adds, and serves the GPU lock too. A Python for which it names nothing
gets no file.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

import env_build

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REQUIREMENTS = os.path.join(ROOT, 'requirements')
# The oldest patch release that must run, where it is not .0: pyparsing wants 3.6.8; 3.7.9 is what uv once offered.
OLDEST_PATCH = {'36': '3.6.8', '37': '3.7.9'}
TARGETS = [f'tf1-py{v}-{kind}' for v in ('36', '37') for kind in ('cpu', 'gpu')] + \
          [f'tf2-py{v}-{kind}' for v in ('310', '311', '312', '313') for kind in ('cpu', 'gpu')]
# What NVIDIA's image of TensorFlow 1.15 lacks; its input and its lock lie in docker/.
NGC = 'ngc-py38'
# tensorflow-cpu has no wheel for 64-bit Arm, where the plain package is the CPU build.
ARM_PINS = {'tensorflow-cpu': ('tensorflow-cpu=={0} ; platform_machine == "x86_64"',
                               'tensorflow=={0} ; platform_machine != "x86_64"')}
# One that writes pylock.toml, which names each file that a platform can use, with its digest.
UV_PIN = 'uv==0.13.9'
LINUX = ['x86_64-manylinux_2_40', 'aarch64-manylinux_2_40']
PLATFORMS = {'tf1-cpu': LINUX[:1], 'tf1-gpu': LINUX[:1], 'tf2-cpu': LINUX + ['aarch64-apple-darwin'], 'tf2-gpu': LINUX,
             NGC: LINUX[:1]}


def canonical(name):
    """A distribution's normalised name (PEP 503)."""
    return re.sub(r'[-_.]+', '-', name).lower()


def read_lines(path):
    """The lines of an input file without comments and blank ones."""
    with open(path) as f:
        return [line.strip() for line in f if line.strip() and not line.startswith('#')]


def read_options(path):
    """The options for pip in an input file."""
    return [line for line in read_lines(path) if line.startswith('--')]


def input_file(name):
    return os.path.join(REQUIREMENTS, name + '.in')


def lock_file(target):
    return os.path.join(ROOT, 'docker' if target == NGC else 'requirements', target + '.txt')


def read_pins(path):
    """{name: version} of a lock file, {} where there is none."""
    return dict(pin.split('==') for pin in env_build.read_pins(path)) if os.path.exists(path) else {}


def extras():
    """Names of the extras, sorted."""
    return sorted(os.path.basename(path)[len('extra-'):-len('.in')] for path in glob.glob(input_file('extra-*')))


def requirement_lines(pins):
    """{name: version} → the lines of a requirements file, sorted by name."""
    return [form.format(version) for name, version in sorted(pins.items())
            for form in ARM_PINS.get(name, (name + '=={0}',))]


class Resolver:
    """uv in a scratch folder, for one Python version."""

    def __init__(self, uv, folder, number):
        self.command = [uv, 'pip', 'compile', '--quiet', '--no-header', '--no-annotate', '--python-version',
                        OLDEST_PATCH.get(number, f'{number[0]}.{number[1:]}')]
        self.folder = folder

    def write(self, name, lines):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as f:
            f.write('\n'.join(lines) + '\n')
        return path

    def run(self, *arguments):
        """Raises SystemExit, after what uv itself says, when it fails."""
        # The newest macOS of which wheels are taken: digests of files for older ones are among them.
        environ = dict(os.environ, MACOSX_DEPLOYMENT_TARGET='15.0')
        if subprocess.call(self.command + list(arguments), env=environ) != 0:
            raise SystemExit(f'error: uv failed with {" ".join(arguments)}')

    def resolve(self, files, constraints, kept=None):
        """Requirement files → {name: version} with all that they need.

        constraints: {name: version} that must hold where a package is needed. kept: a lock whose versions are taken
        where they fit (None: the newest are).
        """
        answer = os.path.join(self.folder, 'resolved.txt')
        if kept and os.path.exists(kept):
            shutil.copyfile(kept, answer)
        else:
            self.write('resolved.txt', [])
        self.run('--python-platform', LINUX[0], '-o', answer, '-c',
                 self.write('constraints.txt', requirement_lines(constraints)), *files)
        return {canonical(name): version for name, version in read_pins(answer).items()}

    def digests(self, pins, platforms, from_source):
        """→ {name: sorted sha256 digests} of the wheels for the platforms, or of the source of the packages named.

        Raises SystemExit where a package has no such file.
        """
        import tomllib
        wanted = self.write('wanted.in', requirement_lines(pins))
        answer = os.path.join(self.folder, 'pylock.toml')
        found = {}
        for platform in platforms:
            self.run('--no-deps', '--format', 'pylock.toml', '--python-platform', platform, '-o', answer, wanted)
            with open(answer, 'rb') as f:
                packages = tomllib.load(f)['packages']
            for package in packages:
                name = canonical(package['name'])
                files = [package['sdist']] if name in from_source else package.get('wheels', [])
                found.setdefault(name, set()).update(item['hashes']['sha256'] for item in files)
        missing = sorted(name for name, digests in found.items() if not digests)
        if missing:
            raise SystemExit(f'error: there is no wheel of {", ".join(missing)}')
        return {name: sorted(digests) for name, digests in found.items()}


def write_lock(target, what, options, pins, digests):
    """Write one lock file: pip's options first, then every package with its version and its files' digests."""
    lines = [f'# {what}: made by tools/lock.py; install it with --no-deps --no-build-isolation --require-hashes']
    lines += options
    for requirement in requirement_lines(pins):
        lines.append(requirement + ''.join(f' \\\n    --hash=sha256:{digest}'
                                           for digest in digests[requirement.split('==')[0]]))
    path = lock_file(target)
    with open(path + '.new', 'w') as f:
        f.write('\n'.join(lines) + '\n')
    os.rename(path + '.new', path)
    print(f'{os.path.relpath(path, ROOT)}: {len(pins)} packages', flush=True)


def without_dependencies():
    """{name: version} of nodeps.in."""
    return dict(line.split('==') for line in read_lines(input_file('nodeps')))


def resolve_cpu(resolver, target, engine, upgrade):
    """→ (pins of the lock, {extra: pins that it adds})."""
    def kept(name):
        return None if upgrade else lock_file(name)

    pins = resolver.resolve([input_file(name) for name in ('pip', 'base', engine)], {}, kept(target))
    pins.update(without_dependencies())
    known, added = dict(pins), {}
    for extra in extras():
        needed = resolver.resolve([input_file('extra-' + extra)], known, kept(f'{target}-{extra}'))
        added[extra] = {name: version for name, version in needed.items() if name not in pins}
        known.update(added[extra])
    return pins, added


def resolve_gpu(resolver, target, engine, upgrade):
    """The same from the CPU lock of the same Python, which must exist; extras are there already."""
    pins = read_pins(lock_file(target.replace('-gpu', '-cpu')))
    if engine == 'tf1':
        pins['tensorflow-gpu'] = pins.pop('tensorflow')
        return pins, {}
    version = pins.pop('tensorflow-cpu')
    pins.pop('tensorflow')  # the other half of its pin, for Arm
    wanted = resolver.write('gpu.in', ['--only-binary :all:', f'tensorflow[and-cuda]=={version}'])
    pins.update(resolver.resolve([wanted], pins, None if upgrade else lock_file(target)))
    return pins, {}


def lock(uv, folder, target, upgrade):
    """Resolve one lock and its extras, write their files."""
    engine, number, kind = target.split('-')
    resolver = Resolver(uv, folder, number[2:])
    pins, added = (resolve_cpu if kind == 'cpu' else resolve_gpu)(resolver, target, engine, upgrade)
    options = {name: read_options(input_file(name)) for name in [engine] + ['extra-' + extra for extra in added]}
    from_source = [line.split()[1] for lines in options.values() for line in lines if line.startswith('--no-binary')]
    everything = dict(pins)
    for more in added.values():
        everything.update(more)
    digests = resolver.digests(everything, PLATFORMS[f'{engine}-{kind}'], from_source)
    write_lock(target, f'{target}, complete', options[engine], pins, digests)
    for extra, more in added.items():
        name = f'{target}-{extra}'
        if more:
            write_lock(name, f'{target}, what {extra} adds to it', options['extra-' + extra], more, digests)
        elif os.path.exists(lock_file(name)):
            os.unlink(lock_file(name))


def lock_ngc(uv, folder, upgrade):
    """Resolve docker/ngc.in; numpy, which it names since the rest depends on it, is the image's own and left out."""
    resolver = Resolver(uv, folder, NGC[-2:])
    source = os.path.join(ROOT, 'docker', 'ngc.in')
    pins = resolver.resolve([source], {}, None if upgrade else lock_file(NGC))
    pins.update(without_dependencies())
    del pins['numpy']
    write_lock(NGC, "What NVIDIA's image of TensorFlow 1.15 on Python 3.8 lacks", read_options(source), pins,
               resolver.digests(pins, PLATFORMS[NGC], []))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('target', nargs='*', help=f'lock names such as tf2-py313-cpu, or {NGC} (default: all)')
    parser.add_argument('--upgrade', action='store_true', help='newest versions in place of those locked now')
    args = parser.parse_args()
    unknown = sorted(set(args.target) - set(TARGETS + [NGC]))
    if unknown:
        parser.error(f'no such lock: {", ".join(unknown)}; there are {", ".join(TARGETS + [NGC])}')
    if sys.version_info < (3, 11):
        parser.error(f'needs Python 3.11 or newer, which reads TOML; this is {sys.version.split()[0]}')
    with tempfile.TemporaryDirectory() as folder:
        reason = env_build.install_tool(os.path.join(folder, 'uv'), UV_PIN)
        if reason:
            raise SystemExit(f'error: {reason}')
        uv = os.path.join(folder, 'uv', 'bin', 'uv')
        for target in args.target or TARGETS + [NGC]:
            if target == NGC:
                lock_ngc(uv, folder, args.upgrade)
            else:
                lock(uv, folder, target, args.upgrade)
    return 0


if __name__ == '__main__':
    sys.exit(main())
