#!/usr/bin/env python3
"""Set up the Python environment of this checkout, once; after that, recognise it in a moment.

    python3 tools/bootstrap.py                       the engine that suits this machine best
    ENGINE=tf2 python3 tools/bootstrap.py --cpu      a certain one
    python3 tools/bootstrap.py --run train.py ...    set up what is missing, then run a script in it

Needs Python 3.6 or newer, nothing else. `.venv-tf1` or `.venv-tf2` leads to the environment, `.venv` to the one chosen
last. Every package has an exact pin and digests in requirements/<engine>-py<XY>-<cpu|gpu>.txt. Extras stand on top of a
lock, in requirements/<lock>-<extra>.txt; those once asked for are kept until `--extras none`. Which package index is
asked, and how, is decided by pip's own settings.
"""
import argparse
import glob
import json
import os
import shutil
import signal
import sys
import time

import env_build
import env_choice
import env_search

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(ROOT, '.env-cache')
OWN_PYTHONS = os.path.join(CACHE, 'python')
NO_TF1 = os.path.join(CACHE, 'no-tf1.json')


class UsageError(Exception):
    """A mistake in what was asked for."""


def lock_name(engine, version, kind):
    """'tf1', (3, 7), 'cpu' → 'tf1-py37-cpu'."""
    return f'{engine}-py{version[0]}{version[1]}-{kind}'


def locked_versions(engine, kind, requirements=None):
    """The Python versions that have a lock for this engine and kind, preferred first."""
    requirements = requirements or os.path.join(ROOT, 'requirements')
    return [version for version in env_choice.PYTHONS[engine]
            if os.path.exists(os.path.join(requirements, lock_name(engine, version, kind) + '.txt'))]


def known_extras():
    """{name: its first line of comment} of the extras that can be asked for."""
    found = {}
    for path in sorted(glob.glob(os.path.join(ROOT, 'requirements', 'extra-*.in'))):
        with open(path) as f:
            found[os.path.basename(path)[len('extra-'):-len('.in')]] = f.readline().lstrip('# ').strip()
    return found


def parse_extras(text):
    """'cluster,export' → ['cluster', 'export']; 'none' → []; None or '' → None, as before. Raises UsageError."""
    names = [name.strip() for name in (text or '').split(',') if name.strip()]
    if not names or names == ['none']:
        return [] if names else None
    unknown = [name for name in names if name not in known_extras()]
    if unknown:
        raise UsageError(f'EXTRAS={text}: there is no extra {unknown[0]}; there are '
                         f'{", ".join(known_extras())}, and none to go without')
    return names


def remembered_file(lock):
    return os.path.join(CACHE, lock + '.extras')


def extras_for(lock, asked):
    """The extras of an environment, sorted: those it has had, those asked for now ([]: none), `dev` always."""
    names = set(asked or [])
    if asked != []:
        try:
            with open(remembered_file(lock)) as f:
                names.update(f.read().split())
        except OSError:
            pass
    names.add('dev')

    def is_there(name):
        return os.path.exists(env_build.Environment(ROOT, lock, None, [name]).lock_files[1])

    return sorted(name for name in names if name in (asked or []) or is_there(name))


def remember_extras(environment):
    """A later set-up without a word on extras keeps them."""
    path = remembered_file(environment.lock_name)
    names = '\n'.join(extra for extra in environment.extras if extra != 'dev')
    if names:
        with open(path, 'w') as f:
            f.write(names + '\n')
    elif os.path.exists(path):
        os.unlink(path)


def environment_of(engine, kind, python, asked):
    """The Environment for a choice."""
    name = lock_name(engine, python.version, kind)
    return env_build.Environment(ROOT, name, python, extras_for(name, asked))


def parse_version(text, engine):
    """'3.6' → (3, 6), which the engine must support. Raises UsageError."""
    supported = [env_search.version_name(version) for version in env_choice.PYTHONS[engine]]
    if text not in supported:
        raise UsageError(f'--python {text}: {engine} runs on Python {", ".join(supported)}')
    return tuple(int(part) for part in text.split('.'))


def find_or_download(engine, kind, versions, say, download=True, extras=None):
    """An interpreter for one of the versions, from here or downloaded by uv → (Python or None, what was tried)."""
    if not versions:
        return None, [f'requirements/ has no lock for {engine} with {kind} packages']

    def is_built(python):
        return environment_of(engine, kind, python, extras).is_complete()

    def search(among):
        return env_search.find_python(among, own_dir=OWN_PYTHONS, accept=is_built)

    python, tried = search(versions)
    if python or not download:
        return python, tried
    os.makedirs(CACHE, exist_ok=True)
    waiting = 'another set-up is downloading a Python: waiting for it'
    with env_build.exclusive(os.path.join(CACHE, 'uv.lock'), lambda: say(waiting)):
        python, _ = search(versions[:1])
        if python:
            return python, tried
        reason = download_python(versions[0], say)
    if reason:
        return None, tried + [reason]
    python, more = search(versions[:1])
    return python, tried + more


def download_python(version, say):
    """Get CPython by uv: the one on PATH, else a pinned release from the package index → None or why it failed."""
    name = env_search.version_name(version)
    reasons = []
    on_path = shutil.which('uv')
    if on_path:
        say(f'no Python {name} here: asking {on_path} for one')
        reason = env_search.uv_install(version, on_path, OWN_PYTHONS)
        if reason is None:
            return None
        reasons.append(reason)
    folder = os.path.join(CACHE, 'uv')
    uv = os.path.join(folder, 'bin', 'uv')
    say(f'no Python {name} here: asking {env_search.UV_PIN} for one')
    if not os.access(uv, os.X_OK):
        reason = env_build.install_tool(folder, env_search.UV_PIN)
        if reason:
            return '; '.join(reasons + [reason])
    reason = env_search.uv_install(version, uv, OWN_PYTHONS)
    return '; '.join(reasons + [reason]) if reason else None


def earlier_failure():
    """What an earlier search for a Python for tf1 found, or None: the download is tried once, not at every start."""
    try:
        with open(NO_TF1) as f:
            return json.load(f)['reason']
    except (OSError, ValueError, KeyError):
        return None


def remember_failure(reason):
    os.makedirs(CACHE, exist_ok=True)
    with open(NO_TF1, 'w') as f:
        json.dump({'reason': reason, 'time': time.strftime('%Y-%m-%d %H:%M')}, f)


def choose_automatically(wanted_kind, cards, say, download=True, extras=None):
    """The choice where the user named no engine → (engine, kind, Python or None, what was tried, reason)."""
    engine, reason = env_choice.choose_engine(cards, env_choice.tf1_platform())
    if engine == 'tf1':
        kind, kind_reason = env_choice.choose_kind('tf1', wanted_kind, cards)
        failed = earlier_failure()
        python, tried = find_or_download('tf1', kind, locked_versions('tf1', kind), say, download and not failed,
                                         extras)
        if python:
            return 'tf1', kind, python, tried, f'{reason}; {kind_reason}'
        if download and not failed:
            remember_failure('; '.join(tried))
        reason = ('no Python 3.7 or 3.6 for the reference engine could be had here '
                  f'({failed or "; ".join(tried)}; ENGINE=tf1 tries again)')
    kind, kind_reason = env_choice.choose_kind('tf2', wanted_kind, cards)
    python, tried = find_or_download('tf2', kind, locked_versions('tf2', kind), say, download, extras)
    return 'tf2', kind, python, tried, f'{reason}; {kind_reason}'


def choose(args, say):
    """→ (Environment, engine, reason). Raises UsageError, SetupError."""
    extras = parse_extras(args.extras)
    cards = [] if args.kind == 'cpu' else env_choice.find_cards(os.path.join(CACHE, 'cards.json'))
    if args.engine:
        engine = args.engine
        problem = env_choice.tf1_platform() if engine == 'tf1' else None
        if problem:
            raise UsageError(f'ENGINE=tf1 cannot run here: {problem}. Use ENGINE=tf2.')
        kind, reason = env_choice.choose_kind(engine, args.kind, cards)
        versions = [parse_version(args.python, engine)] if args.python else locked_versions(engine, kind)
        python, tried = find_or_download(engine, kind, versions, say, not args.check, extras)
    elif args.python:
        raise UsageError('--python needs an engine: add ENGINE=tf1 or ENGINE=tf2')
    else:
        engine, kind, python, tried, reason = choose_automatically(args.kind, cards, say, not args.check, extras)
    if python is None:
        wanted = args.python or ' or '.join(env_search.version_name(version) for version in env_choice.PYTHONS[engine])
        raise env_build.SetupError(f'no Python {wanted} for {engine} could be had. Tried: {"; ".join(tried)}. '
                                   'Install one (by the distribution, pyenv or uv) or choose the other engine by '
                                   f'ENGINE={"tf2" if engine == "tf1" else "tf1"}.')
    environment = environment_of(engine, kind, python, extras)
    if not os.path.exists(environment.lock_files[0]):
        raise UsageError(f'there is no lock file {environment.lock_files[0]}; `python3 tools/lock.py` makes one')
    for name, path in zip(environment.extras, environment.lock_files[1:]):
        if not os.path.exists(path):
            raise UsageError(f'EXTRAS={args.extras}: the packages of {name} do not exist for {environment.lock_name}')
    return environment, engine, reason


def make_parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--engine', metavar='tf1|tf2', default=os.environ.get('ENGINE') or None,
                        help='default: the variable ENGINE, else the best this machine can have')
    parser.add_argument('--python', metavar='X.Y', help='a certain Python version (default: the newest; 3.7 for tf1)')
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument('--cpu', dest='kind', action='store_const', const='cpu', help='packages without CUDA')
    kinds.add_argument('--gpu', dest='kind', action='store_const', const='gpu', help='packages with CUDA')
    kinds.add_argument('--auto', dest='kind', action='store_const', const='auto', help='by the card found (default)')
    parser.add_argument('--extras', metavar='NAME,...', default=os.environ.get('EXTRAS') or None,
                        help='packages on top, kept by later set-ups until `none` is asked for: '
                        + '; '.join(f'{name}: {text.split(": `")[0]}' for name, text in known_extras().items()
                                    if name != 'dev') + ' (default: the variable EXTRAS)')
    parser.add_argument('--force', action='store_true', help='build again even if complete')
    parser.add_argument('--check', action='store_true', help='build nothing; exit 1 if something would be built')
    parser.add_argument('--quiet', action='store_true', help='say nothing when there is nothing to do')
    parser.add_argument('--run', nargs=argparse.REMAINDER, metavar='...',
                        help='afterwards run the environment\'s Python with these arguments')
    parser.set_defaults(kind='auto')
    return parser


def main(argv=None):
    """Parse, choose, build, link, perhaps run → exit status. Raises UsageError, SetupError."""
    args = make_parser().parse_args(argv)
    say = env_build.print_to_stderr
    if args.engine not in (None, 'tf1', 'tf2'):
        raise UsageError(f'ENGINE={args.engine}: there are tf1 ({env_choice.ENGINE_TEXT["tf1"]}) '
                         f'and tf2 ({env_choice.ENGINE_TEXT["tf2"]})')
    environment, engine, reason = choose(args, say)
    complete = environment.is_complete()
    if args.check:
        say(f'{environment.title} is {"complete" if complete else "not built"}')
        return 0 if complete else 1
    if not (args.quiet and complete):
        chosen = 'as asked' if args.engine else 'chosen'
        say(f'engine {engine} ({env_choice.ENGINE_TEXT[engine]}), {chosen}: {reason}. '
            f'Lock {environment.title}, {environment.python.path}')
    env_build.ensure(environment, say, args.force)
    remember_extras(environment)
    if engine == 'tf1' and os.path.exists(NO_TF1):
        os.unlink(NO_TF1)
    env_build.switch_link(os.path.join(ROOT, '.venv-' + engine), os.path.relpath(environment.folder, ROOT))
    env_build.switch_link(os.path.join(ROOT, '.venv'), '.venv-' + engine)
    if args.run:
        os.execv(environment.executable, [environment.executable] + args.run)
    if not (args.quiet and complete):
        say('ready: .venv/bin/python')
    return 0


def stop(signum, frame):
    """End by way of the `finally` clauses, which stop a running pip."""
    raise KeyboardInterrupt


def run(argv=None):
    """main() with errors as one sentence: exit 2 for a mistake in what was asked, 1 for a step that failed."""
    signal.signal(signal.SIGTERM, stop)
    try:
        return main(argv)
    except UsageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except env_build.SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'error: {error}. Is {ROOT} writable, and is there space?', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nset-up: interrupted; the next start does again what is half done', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(run())
