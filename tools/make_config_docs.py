"""Writes docs/configs.md from the configurations and from the signatures of the functions that receive them.

Run `python tools/make_config_docs.py` after changing either; a test compares the file with what this makes.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from dnnlib import config_files, signatures  # noqa: E402
from dnnlib.util import atomic_write  # noqa: E402
from experiment import run_config, setting_values  # noqa: E402

TARGET = os.path.join(ROOT, 'docs', 'configs.md')
CONFIG_DIR = os.path.join(ROOT, 'configs')
FAMILIES = {
    'G': ['training.networks_stylegan.G_style', 'training.networks_progan.G_paper'],
    'D': ['training.networks_stylegan.D_basic', 'training.networks_progan.D_paper'],
    'G_loss': ['training.loss.G_logistic_nonsaturating', 'training.loss.G_logistic_saturating', 'training.loss.G_wgan'],
    'D_loss': ['training.loss.D_logistic_simplegp', 'training.loss.D_logistic', 'training.loss.D_wgan_gp',
               'training.loss.D_wgan', 'training.loss.D_hinge_gp', 'training.loss.D_hinge'],
    'dataset': ['training.dataset.TFRecordDataset', 'training.dataset.SyntheticDataset']}
ABOUT = {
    'train': 'The training loop.', 'G': 'The generator.', 'D': 'The discriminator.',
    'G_opt': 'The optimizer of G. Learning rates are in `sched`.', 'D_opt': 'The optimizer of D.',
    'G_loss': 'The loss of G.', 'D_loss': 'The loss of D.', 'dataset': 'The training data.',
    'sched': 'What is trained when. Tables are keyed by resolution.',
    'grid': 'The pictures that a run draws of its samples.'}
MEANINGS = {  # of settings that neither their function nor another section explains
    'size': 'What a picture shows: 1080p or 4k (as many samples as fit), or columns and rows as in 8x4.',
    'layout': 'Which sample is where: any, or one class per row, per column, or per block of 4x4.',
    'beta1': 'Decay of the running mean of gradients.', 'beta2': 'Decay of the running mean of squared gradients.',
    'epsilon': "Added to Adam's denominator.", 'dtype': 'Type of the activations.',
    'fmap_decay': 'How fast channels grow fewer with the resolution.', 'fmap_max': 'Most channels of any layer.',
    'latent_size': 'Size of z.', 'mapping_layers': 'Number of layers from z to w.',
    'mbstd_num_features': 'Maps that the minibatch standard deviation adds.', 'nonlinearity': 'Activation function.',
    'truncation_cutoff_val': 'The same with is_validation=True.', 'use_noise': 'Noise inputs after each convolution.',
    'use_pixel_norm': 'Normalise each pixel over the channels.',
    'use_instance_norm': 'Normalise each channel over the picture, as styles need.',
    'dataset.dtype': 'Type of the samples.', 'dataset.label_size': 'Number of classes; 0: no labels.',
    'num_channels': 'Channels of a picture.', 'num_images': 'Number of samples.', 'label_dtype': 'Type of the labels.',
    'dynamic_range': 'Lowest and highest value of samples; None: by their type.',
    'shape': 'Shape of a sample, [C, H, W]; None: square pictures.'}
INTRO = '''# Configurations

<!-- Made by tools/make_config_docs.py; do not edit. -->

`train.py --config NAME` trains from one of the files in `configs/`; `--config ./mine.yaml` from a file of your own,
which usually begins with `extends: stylegan-f` and then says only what is different:

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
- A key that nothing reads, and a value of a wrong type, are refused before anything starts.
- `train.py --config NAME --print-config` prints the result, with the file and line that each value comes from.
'''


def _cell(value):
    return config_files.format_value(value).replace('|', '\\|')


def _default(value):
    if value is signatures.REQUIRED:
        return '*required*'
    return '' if value is signatures.COMPUTED else f'`{_cell(value)}`'


def _allowed(key, section):
    if key in setting_values.CHOICES and not (key == 'dtype' and section == 'dataset'):
        return ', '.join(f'`{_cell(v)}`' for v in setting_values.CHOICES[key])
    ranges = {**setting_values.RANGES, **setting_values.TABLE_RANGES}
    return ' to '.join(_number(limit) for limit in ranges[key]) if key in ranges else ''


def _number(value):
    return f'{int(value)}' if isinstance(value, int) and value < 1e8 else f'{value:g}'.replace('e+0', 'e')


def _meanings():
    """Meanings by key, wherever one is told."""
    result = dict(MEANINGS)
    for functions in FAMILIES.values():
        for function in functions:
            signature = signatures.read_signature(function)
            for sig in [signature] + [signatures.read_signature(target) for target in signature.forwards_to]:
                for key, text in sig.comments.items():
                    result.setdefault(key, text)
    return result


def _table(rows):
    head, *body = rows
    lines = ['| ' + ' | '.join(row) + ' |' for row in [head, ['---'] * len(head)] + body]
    return '\n'.join(lines) + '\n'


def _overview():
    rows = [['name', 'what', 'GPUs', 'kimg', 'losses']]
    for name, description in config_files.list_configs(CONFIG_DIR):
        config, _ = config_files.load_config(name, CONFIG_DIR)
        losses = ', '.join(f'`{config[key].func_name.rpartition(".")[2]}`' for key in ('G_loss', 'D_loss'))
        losses = losses if run_config.is_adversarial(config) else ''
        rows.append([f'`{name}`', description, str(config.num_gpus), f'{config.train.total_kimg:g}', losses])
    return _table(rows)


def _settings(section_name, function):
    section = run_config.SECTIONS[section_name]
    values = {section.selector: function} if section.selector and function else {}
    elsewhere = _meanings()
    rows = [['key', 'default', 'meaning', 'allowed']]
    for key, (default, meaning) in run_config.parameters(section_name, section, values).items():
        if key != section.selector:
            meaning = meaning or elsewhere.get(f'{section_name}.{key}') or elsewhere.get(key, '')
            meaning = meaning.replace('|', '\\|')
            rows.append([f'`{key}`', _default(default), meaning, _allowed(key, section_name)])
    return _table(rows) if len(rows) > 1 else 'No settings.\n'


def make():
    """The text of docs/configs.md."""
    parts = [INTRO, '## Named configurations\n', _overview(), '## Settings\n',
             'Defaults are those of the functions; `configs/stylegan-f.yaml` sets the published values over them.\n',
             '### Top level\n',
             _table([['key', 'default', 'meaning', 'allowed']] + [
                 [f'`{key}`', _default(default), meaning, _allowed(key, '')]
                 for key, (default, meaning) in run_config.TOP_LEVEL.items()]
                 + [['`metrics`', '`[]`', 'Measured at every network snapshot: names such as fid50k, or settings with '
                     'func_name and name.', ''],
                    ['`tf_config`', '`{}`', 'TensorFlow session: paths into ConfigProto, such as '
                     '`gpu_options.allow_growth: true`.', '']])]
    for name, section in run_config.SECTIONS.items():
        parts.append(f'### {name}\n')
        parts.append(ABOUT[name] + '\n')
        for function in FAMILIES.get(name, [section.function]):
            if name in FAMILIES:
                parts.append(f'With `{section.selector}: {function}`:\n')
            parts.append(_settings(name, function))
    return '\n'.join(parts)


def main():
    """Writes the file."""
    with atomic_write(TARGET, 'w') as f:
        f.write(make())


if __name__ == '__main__':
    main()
