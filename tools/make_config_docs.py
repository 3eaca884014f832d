"""Writes docs/configs.md from the configurations and from the signatures of the functions that receive them.

Run `./reproduce shell python tools/make_config_docs.py` after changing either; a test compares the file with
what this makes.
"""

import os
import sys
from collections import OrderedDict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
from dnnlib import config_files, registry  # noqa: E402
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import atomic_write, run_main  # noqa: E402
from dnnlib.values import signatures  # noqa: E402
from experiment import settings  # noqa: E402

TARGET = os.path.join(ROOT, 'docs', 'configs.md')
CONFIG_DIR = os.path.join(ROOT, 'configs')
ABOUT = {
    'train': 'The training loop.', 'G': 'The generator.', 'D': 'The discriminator.',
    'G_opt': 'The optimizer of G. Learning rates are in `sched`.', 'D_opt': 'The optimizer of D.',
    'G_loss': 'The loss of G.', 'D_loss': 'The loss of D.', 'dataset': 'The training data.',
    'sched': 'What is trained when. Tables are keyed by resolution.',
    'grid': 'The pictures that a run draws of its samples.'}
INTRO = '''# Configurations

<!-- Made by tools/make_config_docs.py; do not edit. -->

`./reproduce train --config NAME` trains from one of the files in `configs/`; `--config ./mine.yaml` from a file of your
own, which usually begins with `extends: stylegan-f` and then says only what is different:

```yaml
# My photographs at 128x128
extends: stylegan-f
dataset: {tfrecord_dir: mine}       # a folder made by dataset_tool.py, inside --data-dir
train: {total_kimg: 5000}
metrics: []
```

- Sections are merged key by key. Lists, and tables keyed by numbers, are replaced as a whole.
- A section whose `func_name` or `class_name` changes starts afresh, since its other keys belonged to another function.
- `--set section.key=VALUE` changes a single setting and wins over files: `--set train.total_kimg=500`,
  `--set metrics=[]`, `--set sched.minibatch_dict.64=16`, `--set D_loss.func_name=training.loss.D_wgan_gp`.
- Values are YAML: `true`, `12`, `1e-8`, `null`, `text`, `[1, 2]`, `{128: 0.0015}`.
- `--set sched.minibatch_dict.64=16` changes one entry of a table and leaves its others as they are, wherever they came
  from: the published defaults, a file, the settings for the number of GPUs, the run that goes on.
- A key that nothing reads, a value of a wrong type or out of its range, and a name of a function that is not one of
  those below are refused before anything starts.
- So is a setting of a section that the function in `train.func_name` does not read: the training of a classifier,
  `attribute-classifier`, has no generator, losses, schedule or metrics, and reads `train`, `D`, `D_opt` and `dataset`.
- `./reproduce train --config NAME --print-config` prints the result, with the file and line that each value comes from.
'''


def _cell(value):
    return config_files.format_value(value).replace('|', '\\|')


def _default(value):
    if value is signatures.REQUIRED:
        return '*required*'
    return '' if value is signatures.COMPUTED else f'`{_cell(value)}`'


def _table(rows):
    head, *body = rows
    lines = ['| ' + ' | '.join(row) + ' |' for row in [head, ['---'] * len(head)] + body]
    return '\n'.join(lines) + '\n'


def _overview():
    parts = []
    for group, members in sorted(config_files.group_configs(CONFIG_DIR)):
        rows = [['name', 'what', 'GPUs', 'kimg', 'losses']]
        for name, description in members:
            config, _ = config_files.load_config(name, CONFIG_DIR)
            losses = ', '.join(f'`{config[key].func_name.rpartition(".")[2]}`' for key in ('G_loss', 'D_loss')
                               if settings.is_adversarial(config))
            rows.append([f'`{name}`', description, str(config.num_gpus), f'{config.train.total_kimg:g}', losses])
        parts += [f'### {group}\n', _table(rows)]
    return '\n'.join(parts)


def _settings(known):
    rows = [['key', 'default', 'allowed', 'meaning']]
    for key, setting in known.items():
        allowed = str(setting.type) if setting.type else ''
        rows.append([f'`{key}`', _default(setting.default), allowed.replace('|', '\\|'),
                     (setting.meaning or '').replace('|', '\\|')])
    return _table(rows) if len(rows) > 1 else 'No settings.\n'


def make():
    """The text of docs/configs.md."""
    beside = OrderedDict([
        ('metrics', settings.Setting([], 'Measured at every network snapshot: names such as fid50k, or settings with '
                                     'func_name and name, or preset. None by default; stylegan-f and what extends '
                                     'it measure fid50k.', None)),
        ('tf_config', settings.Setting({}, 'TensorFlow session: paths into ConfigProto, such as '
                                       '`gpu_options.allow_growth: true`.', None))])
    parts = [INTRO, '## Named configurations\n', _overview(), '## Settings\n',
             'Defaults are those of the functions; `configs/stylegan-f.yaml` sets the published values over them.\n',
             '### Top level\n', _settings(OrderedDict(settings.top_level(), **beside))]
    for name, section in settings.SECTIONS.items():
        parts.append(f'### {name}\n')
        parts.append(ABOUT[name] + '\n')
        for function in registry.declared(name) if section.selector else [None]:
            if function:
                parts.append(f'With `{section.selector}: {function}`:\n')
            known = settings.parameters(name, {section.selector: function} if function else {})
            parts.append(_settings(OrderedDict(item for item in known.items() if item[0] != section.selector)))
    return '\n'.join(parts)


def main():
    """Writes the file."""
    Parser(description=__doc__.split('\n')[0]).parse_args()
    with atomic_write(TARGET, 'w') as f:
        f.write(make())


if __name__ == '__main__':
    run_main(main)
