"""Imported by every script before anything else of this project: a Python without the packages hands over.

`python3 train.py ...` by a system's Python goes on as `.venv/bin/python train.py ...`; where there is no environment
yet, one sentence tells how to make it. Importing a module of this project hands nothing over. Needs Python 3.6, nothing
else.
"""

import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
NEEDED = ('numpy', 'tensorflow')
MARK = 'STYLEGAN_HANDED_OVER'   # set for the Python that takes over, which must not look for yet another one


def advice(script, missing):
    """What to do about a Python that lacks packages, as a sentence."""
    lacks = f'{sys.executable} has no {" and no ".join(missing)}'
    if os.path.isfile(os.path.join(ROOT, 'installed.json')):
        return f'{lacks}: install it there, or start the command by a Python that has it'
    if os.environ.get(MARK):
        return f'{lacks}, so the environment is not whole: make it anew with `make setup SETUP_ARGS=--force`'
    return (f'{lacks}, and there is no environment in {ROOT} yet: make it once with `make setup`; then this Python '
            f'will do, too ({os.path.basename(script)} is handed over)')


def check():
    """Returns where the packages are there; becomes the environment's Python, or exits with a sentence, elsewhere.

    That is for programs only: nothing happens where the file that was started is none of this project.
    """
    script = getattr(sys.modules.get('__main__'), '__file__', None)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing or script is None or not os.path.abspath(script).startswith(ROOT + os.sep):
        return
    python = os.path.join(ROOT, '.venv', 'bin', 'python')
    if os.access(python, os.X_OK) and not os.environ.get(MARK):
        sys.stdout.flush()
        os.execve(python, [python, script] + sys.argv[1:], dict(os.environ, **{MARK: '1'}))
    print('error: ' + advice(script, missing), file=sys.stderr)
    sys.exit(2)


check()
