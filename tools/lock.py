#!/usr/bin/env python3
"""Write the lock files `requirements/<engine>-py<XY>-<cpu|gpu>.txt` from the short inputs `requirements/*.in`.

    python3 tools/lock.py                         every lock whose Python is on this machine
    python3 tools/lock.py tf2-py313-cpu           one of them

Each lock is resolved by the pip of the Python that it is for, in a scratch environment, so that environment markers,
wheel tags and Requires-Python are the real ones. A GPU lock is its CPU lock with the TensorFlow package exchanged:
everything that is not CUDA stays the same, and results can be compared. A lock lists every package, transitive ones
too; `tools/bootstrap.py` installs it with --no-deps, so nothing is resolved on a user's machine.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import env_search

REQUIREMENTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'requirements')
TARGETS = [f'tf1-py{v}-{kind}' for v in ('36', '37') for kind in ('cpu', 'gpu')] + \
          [f'tf2-py{v}-{kind}' for v in ('310', '311', '312', '313') for kind in ('cpu', 'gpu')]
# pip needs `install --dry-run --report` to resolve without installing; the last pip for Python 3.6 has neither.
PIP_WITH_REPORT = (22, 3)
# tensorflow-cpu has no wheel for 64-bit Arm, where the plain package is the CPU build.
ARM_PINS = {'tensorflow-cpu': ('tensorflow-cpu=={0} ; platform_machine == "x86_64"',
                               'tensorflow=={0} ; platform_machine != "x86_64"')}


def canonical(name):
    """A distribution's normalised name (PEP 503)."""
    return re.sub(r'[-_.]+', '-', name).lower()


def read_lines(name):
    """The lines of an input file without comments and blank ones."""
    with open(os.path.join(REQUIREMENTS, name)) as f:
        return [line.strip() for line in f if line.strip() and not line.startswith('#')]


def run(args, **kwargs):
    """Run a command, its output passed on; raises SystemExit naming the command when it fails."""
    print('  $ ' + ' '.join(os.path.basename(args[0]) if i == 0 else a for i, a in enumerate(args)), flush=True)
    if subprocess.call(args, **kwargs) != 0:
        raise SystemExit(f'error: this command failed: {" ".join(args)}')


def resolve(python, requirement_files, constraints=None):
    """Resolve requirement files for one interpreter → {canonical name: version}."""
    scratch = tempfile.mkdtemp(prefix='lock-')
    try:
        run([python, '-m', 'venv', scratch])
        inside = os.path.join(scratch, 'bin', 'python')
        quiet = [inside, '-m', 'pip', '--disable-pip-version-check', 'install', '-q']
        run(quiet + ['-U', '-r', os.path.join(REQUIREMENTS, 'pip.in')])
        run(quiet + ['setuptools<81', 'wheel'])
        files = [arg for name in requirement_files for arg in ('-r', name)]
        if constraints:
            files += ['-c', constraints]
        pip_version = subprocess.check_output([inside, '-c', 'import pip; print(pip.__version__)']).decode()
        if tuple(int(x) for x in re.findall(r'\d+', pip_version)[:2]) >= PIP_WITH_REPORT:
            report = os.path.join(scratch, 'report.json')
            run(quiet + ['--no-build-isolation', '--dry-run', '--ignore-installed', '--report', report] + files)
            with open(report) as f:
                found = [(item['metadata']['name'], item['metadata']['version']) for item in json.load(f)['install']]
        else:
            run(quiet + ['--no-build-isolation'] + files)
            frozen = subprocess.check_output([inside, '-m', 'pip', 'freeze', '--all']).decode()
            found = [tuple(line.split('==')) for line in frozen.splitlines() if '==' in line]
        return {canonical(name): version for name, version in found}
    finally:
        shutil.rmtree(scratch)


def write_lock(target, pins, options):
    """Write one lock file: pip's options first, then every package with its exact version, sorted by name."""
    lines = [f'# {target}: made by tools/lock.py, complete; install it with --no-deps --no-build-isolation']
    lines += options
    for name, version in sorted(pins.items()):
        lines += [form.format(version) for form in ARM_PINS.get(name, (name + '=={0}',))]
    path = os.path.join(REQUIREMENTS, target + '.txt')
    with open(path + '.new', 'w') as f:
        f.write('\n'.join(lines) + '\n')
    os.rename(path + '.new', path)
    print(f'{target}: {len(pins)} packages')


def lock_cpu(target, engine, python):
    """Resolve base.in with the engine's input, add the packages of nodeps.in, write the CPU lock."""
    pins = resolve(python, [os.path.join(REQUIREMENTS, name) for name in ('pip.in', 'base.in', engine + '.in')])
    for line in read_lines('nodeps.in'):
        name, version = line.split('==')
        pins[canonical(name)] = version
    write_lock(target, pins, [line for line in read_lines(engine + '.in') if line.startswith('--')])


def lock_gpu(target, engine, python):
    """Derive the GPU lock from the CPU lock of the same Python, which must exist."""
    cpu_path = os.path.join(REQUIREMENTS, target.replace('-gpu', '-cpu') + '.txt')
    with open(cpu_path) as f:
        lines = [line.split(' ;')[0].strip() for line in f if not line.startswith('#') and 'machine !=' not in line]
    pins = dict(line.split('==') for line in lines if '==' in line)
    options = [line for line in lines if line.startswith('--')]
    if engine == 'tf1':
        pins['tensorflow-gpu'] = pins.pop('tensorflow')
    else:
        version = pins.pop('tensorflow-cpu')
        with tempfile.TemporaryDirectory() as folder:
            wanted, constraints = os.path.join(folder, 'gpu.in'), os.path.join(folder, 'constraints.txt')
            with open(wanted, 'w') as f:
                f.write(f'--only-binary :all:\ntensorflow[and-cuda]=={version}\n')
            with open(constraints, 'w') as f:
                f.write(''.join(f'{name}=={pins[name]}\n' for name in sorted(pins)))
            pins.update(resolve(python, [wanted], constraints))
    write_lock(target, pins, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('target', nargs='*', help='lock names such as tf2-py313-cpu (default: all)')
    args = parser.parse_args()
    unknown = sorted(set(args.target) - set(TARGETS))
    if unknown:
        parser.error(f'no such lock: {", ".join(unknown)}; there are {", ".join(TARGETS)}')
    for target in args.target or TARGETS:
        engine, version, kind = target.split('-')
        found, tried = env_search.find_python([(int(version[2]), int(version[3:]))])
        if found is None:
            print(f'{target}: skipped, no such Python here ({"; ".join(tried)})')
            continue
        print(f'{target}: with {found.path}', flush=True)
        (lock_cpu if kind == 'cpu' else lock_gpu)(target, engine, found.path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
