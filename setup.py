"""`pip install .`: a wheel of one folder `stylegan_repro/` that holds what the commands need, and `stylegan-repro`.

The folder has the tree of this checkout, so that its modules find each other by the names that configurations, runs and
network files store (`training.networks_stylegan` and the like); the command puts it on `sys.path`. TensorFlow is not
among the requirements, since its package has three names and the choice is the user's. Nothing is left behind here.
"""
import atexit
import json
import os
import re
import shutil
import subprocess
import tempfile

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = os.path.dirname(os.path.abspath(__file__))
PACKAGE = 'stylegan_repro'
FOLDERS = ('configs', 'data', 'dnnlib', 'experiment', 'figures', 'metrics', 'training')
TOOLS = ('tools/demo.py', 'tools/acceleration_demo.py')
LEFT_OUT = ('setup.py',)


def read(name):
    with open(os.path.join(ROOT, name), encoding='utf-8') as f:
        return f.read()


def tree():
    """[(path in the checkout, path in the package)], sorted."""
    files = [name for name in os.listdir(ROOT) if name.endswith('.py') and name not in LEFT_OUT]
    for top in FOLDERS:
        for folder, subfolders, names in os.walk(os.path.join(ROOT, top)):
            subfolders[:] = [name for name in subfolders if name != '__pycache__']
            files += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names
                      if not name.startswith('.') and not name.endswith('.pyc')]
    pairs = [(name, name) for name in files + list(TOOLS)]
    return sorted(pairs + [('reproduce', '__main__.py')])


def revision():
    """The commit of this checkout, or None."""
    try:
        done = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              universal_newlines=True)
    except OSError:
        return None
    return done.stdout.strip() or None if os.path.exists(os.path.join(ROOT, '.git')) else None


class BuildTree(build_py):
    """Copies the tree, and says in `installed.json` what it is a copy of."""

    def run(self):
        target = os.path.join(self.build_lib, PACKAGE)
        for source, name in tree():
            self.mkpath(os.path.dirname(os.path.join(target, name)))
            self.copy_file(os.path.join(ROOT, source), os.path.join(target, name))
        with open(os.path.join(target, 'installed.json'), 'w') as f:
            json.dump({'version': VERSION, 'revision': revision()}, f)

    def get_outputs(self, include_bytecode=1):
        return [os.path.join(self.build_lib, PACKAGE, name) for _, name in tree()]

    def get_source_files(self):
        return [source for source, _ in tree()]


def requirements():
    """What base.in and the engines name, without pins of one engine, TensorFlow, and the tools of the set-up."""
    lines = [line.strip() for line in read('requirements/base.in').splitlines()]
    names = [line for line in lines if line and not line.startswith('#')]
    return [name for name in names if not name.startswith(('setuptools', 'wheel', 'python-dateutil'))] + [
        'opencv-python-headless']


VERSION = re.search(r"^version = '([^']+)'", read('config.py'), re.M).group(1)
scratch = tempfile.mkdtemp()
atexit.register(shutil.rmtree, scratch, ignore_errors=True)
setup(name='stylegan-repro', version=VERSION, packages=[PACKAGE], package_dir={PACKAGE: '.'},
      description='A reproducibility kit for StyleGAN: from photographs to networks to the numbers of the papers',
      long_description=read('README.md'), long_description_content_type='text/markdown',
      license='Apache-2.0', license_files=['LICENSE', 'NOTICE'],
      python_requires='>=3.6', install_requires=requirements(),
      entry_points={'console_scripts': [f'stylegan-repro = {PACKAGE}.__main__:main']},
      cmdclass={'build_py': BuildTree}, options={'build': {'build_base': scratch}, 'egg_info': {'egg_base': scratch}})
