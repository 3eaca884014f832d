"""`README.md` of a finished run: the model card of the snapshot that it stands for.

Made from what the run directory holds; nothing in it is executed. No path of the machine is told.
"""

import glob
import os
import re

import config as folders
from dnnlib import config_files
from dnnlib.command_line import told
from dnnlib.config_files import format_value
from dnnlib.errors import FileError, UserError
from dnnlib.files import atomic_write, read_bytes, recall_json, sha256_file
from dnnlib.submission import read_environment, read_submit_config
from dnnlib.util import EasyDict, format_digits
from dnnlib.values.schema import check as check_record
from dnnlib.values.schema import problem
from experiment.facts import CODEC, shown_shape
from experiment.settings import is_adversarial
from metrics.scores import records
from training.network_files import best
from training.state import resume

NAME = 'README.md'
RECONSTRUCTION = 'reconstruction'   # record of the errors of a codec
MARK = '<!-- Made by this run for its snapshot, and made anew with its report: changes get lost -->'
UNKNOWN = 'not known here'
NETWORKS = (('generator', 'G'), ('discriminator', 'D'), ("generator's loss", 'G_loss'),
            ("discriminator's loss", 'D_loss'))
RECORD = {      # of submit_config.json: what the card itself needs
    'config': {key + '?': dict for key in ('train', 'dataset') + tuple(key for _, key in NETWORKS)}}
START = {       # of a start in environment.json
    'version?': 'a text, or null', 'python?': 'a text, or null', 'packages?': {'*': 'a text'}, 'command?': ['a text'],
    'git_commit?': 'a text, or null', 'git_changed?': 'true, false, null'}
_MAX_BYTES = 1 << 20
# Absolute paths that lead into a folder; the last part of them is told.
_PATH = re.compile(r'''(?:\bfile:/+|(?<![\w./:~\\-])/)(?:[^\s'"`,;()|]*/)([^\s/'"`,;()|]+)''')


# ---- Writing


def update(run_dir):
    """Writes the card of a finished run; a failure is told but never ends a run."""
    try:
        write_card(run_dir)
    except Exception as err:  # whatever it is, the training is worth more
        print(f'warning: {NAME} could not be written: {type(err).__name__}: {err}', flush=True)


def write_card(run_dir):
    """Writes `run_dir`/README.md. Returns its path; None for an unfinished run, for one that trains no generator, such
    as a classifier's, and where somebody else wrote one.

    Raises UserError if this is not a run directory, or it has no network.
    """
    path = os.path.join(run_dir, NAME)
    if not os.path.isfile(os.path.join(run_dir, '_finished.txt')) or not _is_ours(path):
        return None
    record = read_submit_config(run_dir)
    check_record(record, RECORD, f"the run's record in {run_dir}")
    if not is_adversarial(EasyDict(train=record['config'].get('train', {}))):
        return None
    text = render(gather(run_dir))
    with atomic_write(path, 'w') as f:
        f.write(text)
    return path


def _is_ours(path):
    """Whether a card may be written to the path: nothing is there, or an earlier card."""
    try:
        return read_bytes(path, _MAX_BYTES).startswith(MARK.encode())
    except FileError as err:
        return err.reason == 'absent'


# ---- Reading


def gather(run_dir):
    """What the card tells, as an EasyDict; see `render`. Of other records than the configuration, damage is left out.

    Raises UserError if this is not a run directory, or it has no network.
    """
    record = read_submit_config(run_dir)
    check_record(record, RECORD, f"the run's record in {run_dir}")
    path, taken = best.stands_for(run_dir)
    sha256, scores = scores_of(run_dir, path)
    data = recall_json(os.path.join(run_dir, 'dataset.json'))
    sections = {key: EasyDict(record['config'].get(key, {})) for key in ('train', 'dataset')}
    config = EasyDict(record['config'], **sections)
    return EasyDict(
        name=os.path.basename(os.path.abspath(run_dir)), record=record, config=config,
        is_adversarial=is_adversarial(config),
        is_codec=str(config.get('G', {}).get('func_name', '')) == CODEC,
        reconstruction=_reconstruction(run_dir, sha256),
        networks=[(title, format_value(_pathless(config[key]))) for title, key in NETWORKS if config.get(key)],
        snapshot=os.path.basename(path), taken=taken, sha256=sha256, bytes=os.path.getsize(path),
        data=None if data is None or problem(data, resume.DATA) else data, scores=scores,
        starts=[start for start in read_environment(run_dir) if not problem(start, START)])


def _reconstruction(run_dir, sha256):
    """The mean squared errors of a codec's snapshot, {'mse_128': number, …}; {} where none are recorded of it."""
    record = recall_json(os.path.join(run_dir, 'metrics', RECONSTRUCTION + '.json')) or {}
    if problem(record, records.SHARED) or record.get('network_sha256') != sha256:
        return {}
    return record.get('values', {})


def scores_of(run_dir, network_path):
    """A run's scores of a network file, sorted by metric; one for each protocol.

    Returns the file's SHA-256 and a list of (record, its values {name: number or None}, its settings in words).
    """
    sha256, folder, found = sha256_file(network_path), glob.escape(run_dir), []
    for path in (sorted(glob.glob(os.path.join(folder, 'metrics', '*', '*.json')))
                 + sorted(glob.glob(os.path.join(folder, 'best-*.json')))):
        try:
            record = records.read_record(path)
        except UserError:
            continue
        if record.get('network_sha256') == sha256 and not any(
                best.protocol_of(record) == best.protocol_of(other) for other in found):
            found.append(record)
    return sha256, [(record, records.values_of(record), format_value(_pathless(record.get('settings', {}))))
                    for record in sorted(found, key=lambda record: record['metric'])]


def licence_of(data_set):
    """Terms of a data set's owners, in short, by the name of its folder; None where they are not known."""
    path = os.path.join(folders.config_dir, 'data', 'licences.yaml')
    known = config_files.parse_yaml(read_bytes(path, config_files.MAX_BYTES).decode('utf-8'), path)[0]
    return next((text for name, text in known.items() if data_set == name or data_set.startswith(name + '-')), None)


# ---- The text


def render(run):
    """The card as Markdown. `run` is what `gather` returns."""
    parts = [f'{MARK}\n\n# {_text(run.name)}', _snapshot(run)]
    for title, text in (('Data', _data(run)), ('Configuration', _configuration(run)), ('Scores', _scores(run)),
                        ('How to load', _loading(run)), ('Versions', _versions(run)), ('Licence', _licence(run))):
        parts.append(f'## {title}\n\n{text}')
    return '\n\n'.join(parts) + '\n'


def _snapshot(run):
    return (f'This run stands for `{run.snapshot}`, {_text(run.taken)}.\n\n'
            'The rule is that of the papers: a finished run stands for the snapshot with the lowest score by the first '
            '`fid*` metric of its configuration, among those measured under one protocol; without such scores, for its '
            f'final one.\n\n- SHA-256: `{run.sha256}`\n- size: {run.bytes:,} bytes')


def _name_of_data(run):
    dataset = run.config.dataset
    name = dataset.get('tfrecord_dir') or str(dataset.get('class_name', '')).rpartition('.')[2] or UNKNOWN
    return os.path.basename(os.path.normpath(str(name)))


def _data(run):
    lines = [f'- data set: {_code(_name_of_data(run))}']
    if run.data is None:
        return '\n'.join(lines + [f'- shape, number of samples, fingerprint: {UNKNOWN}'])
    mirrored = 'yes' if run.config.train.get('mirror_augment') else 'no'
    if 'downscale' in run.data:
        _, height, width = shown_shape(run.data)
        lines.append(f"- its samples are codes of images of {width}x{height}, by the codec with the SHA-256 "
                     f"{_code(run.data.get('codec_sha256', UNKNOWN))}")
    return '\n'.join(lines + [
        f"- samples: {run.data['num_images']:,} of shape {_code(run.data['shape'])}",
        f"- label size in the records: {run.data['label_size']}", f'- mirrored at random: {mirrored}',
        f"- fingerprint: {_code(run.data['fingerprint'])}"])


def _configuration(run):
    config, train = run.config, run.config.train
    lines = [('name', config.get('desc', UNKNOWN)), ('length in kimg', train.get('total_kimg', "the loop's default")),
             ('seed', config.get('seed', UNKNOWN)), ('GPUs', config.get('num_gpus', UNKNOWN))]
    lines += [('loop', train.func_name)] if 'func_name' in train else []
    lines += run.networks
    if run.record.get('init_from'):
        lines += [('began from', os.path.basename(run.record['init_from'])),
                  ('its SHA-256', run.record.get('init_from_sha256') or UNKNOWN),
                  ('kimg that it was trained for', run.record.get('resume_kimg') or 0)]
    lines += [('command' if number == 0 else 'later command', _command(start['command']))
              for number, start in enumerate(run.starts) if start.get('command')][:10]
    return '\n'.join(f'- {title}: {_code(value)}' for title, value in lines) + '\n\n`config.yaml` has all settings.'


def _command(arguments):
    return told(os.path.basename(arguments[0]), [_pathless(text) for text in arguments[1:]])


def _scores(run):
    if run.is_codec:
        return _errors(run.reconstruction)
    if not run.scores:
        return (f'None of this snapshot is recorded; this measures it, where RUN is the path of this directory:\n\n'
                f'    ./reproduce metrics fid50k --network RUN/{run.snapshot}')
    lines = ['| metric | value | standard error | samples | seed | data | labels | mirrored | feature networks | '
             'measured on |', '| --- ' * 10 + '|']
    remarks = []
    for record, values, settings in run.scores:
        for name, value in values.items():
            error = record.get('standard_errors', {}).get(name) if 'values' in record else record.get('standard_error')
            cells = [name, 'failed' if value is None else format_digits(value, 6),
                     '' if error is None else format_digits(error, 3)]
            lines.append('| ' + ' | '.join(_text(cell) for cell in cells + _protocol(record)) + ' |')
        remarks.append(f"- {_text(record['metric'])}: settings {_code(settings)}")
        remarks += [f"- {_text(record['metric'])}: problem: {_text(text)}" for text in record.get('problems', [])[:10]]
    if any(_is_standin(record) for record, _, _ in run.scores):
        remarks.append("- Scores with stand-in networks say nothing beside published ones: compare them with each "
                       'other only.')
    return '\n'.join(lines) + '\n\n' + '\n'.join(remarks)


def _errors(values):
    """What a codec is judged by; `values`: see `_reconstruction`."""
    known = [(name.rpartition('_')[2], value) for name, value in values.items() if value is not None]
    if not known:
        return 'No reconstruction error of this snapshot is recorded.'
    return '\n'.join(['Mean squared errors of reconstructions, of pixels from -1 to 1:', ''] + [
        f'- images of {_text(size)}x{_text(size)}: {format_digits(value, 3)}' for size, value in known])


def _is_standin(record):
    return bool(record.get('is_standin')) or any(network['is_standin']
                                                 for network in record.get('feature_networks', {}).values())


def _protocol(record):
    """Texts of the columns from the samples on."""
    networks = [f"{key}: {network.get('name') or network['file']}" + (' (stand-in)' if network['is_standin'] else '')
                for key, network in record.get('feature_networks', {}).items()]
    if not networks:
        networks = ['stand-in'] if _is_standin(record) else ['none']
    samples = UNKNOWN if record.get('num_samples') is None else f"{record['num_samples']:,}"
    mirrored = {True: 'yes', False: 'no', None: UNKNOWN}[record.get('mirror_augment')]
    return [samples + (' (a quick look)' if record.get('is_reduced') else ''), record.get('seed', UNKNOWN),
            (record.get('dataset_fingerprint') or 'none')[:8], record.get('labels') or 'zeros', mirrored,
            ', '.join(networks), f"TensorFlow {record.get('tensorflow') or UNKNOWN}, {record.get('device') or UNKNOWN}"]


def _loading(run):
    text = ''
    if run.is_codec:
        text = ('In the folder of the code, where RUN is the path of this directory:\n\n'
                f'    ./reproduce data encode CODES DATASET --codec RUN/{run.snapshot}\n\n')
    elif run.is_adversarial and run.data is not None and len(run.data['shape']) == 3:
        text = ('In the folder of the code, where RUN is the path of this directory:\n\n'
                f'    ./reproduce generate --network RUN/{run.snapshot} --seeds 0-31\n\n')
    lines = ['import numpy as np', 'from dnnlib import tflib', 'from training import misc', '', 'tflib.init_tf()']
    if run.is_codec:
        lines += [f"F, H, D = misc.load_pkl('RUN/{run.snapshot}')   # encoder, decoder, and what judges them",
                  'images = np.zeros([1] + F.input_shape[1:])   # [N, C, H, W], -1 to 1; any H and W that it can halve',
                  'reconstructions = H.run(F.run(images))']
    elif run.is_adversarial:
        lines += [f"G, D, Gs = misc.load_pkl('RUN/{run.snapshot}')   # Gs, the running mean of G, is the one to use",
                  'latents = np.random.RandomState(0).randn(4, *Gs.input_shape[1:])',
                  'samples = Gs.run(latents, None)   # [N, ...] as the data; images: [N, C, H, W], -1 to 1 if clipped']
    else:
        lines = lines[1:] + [f"networks = misc.load_pkl('RUN/{run.snapshot}')"]
    return text + 'In Python, which executes nothing stored in the file:\n\n```python\n' + '\n'.join(lines) + '\n```'


def _versions(run):
    start = run.starts[-1] if run.starts else {}
    packages = start.get('packages', {})
    tensorflow = next((packages[name] for name in ('tensorflow', 'tensorflow-gpu', 'tensorflow-cpu')
                       if name in packages), None)
    engine = UNKNOWN if tensorflow is None else f"{tensorflow} ({'tf1' if tensorflow.startswith('1.') else 'tf2'})"
    changed = ', with changes' if start.get('git_changed') else ''
    lines = [('this program, in training', start.get('version') or UNKNOWN),
             ('this program, for this card', folders.version),
             ('commit', (start.get('git_commit') or UNKNOWN) + changed),
             ('engine: TensorFlow', engine), ('NumPy', packages.get('numpy', UNKNOWN)),
             ('Python', start.get('python') or UNKNOWN)]
    return '\n'.join(f'- {title}: {_text(value)}' for title, value in lines)


def _licence(run):
    name = _name_of_data(run)
    terms = licence_of(name)
    weights = f"{_text(terms)} (going by the data set's name; its owners' own text counts)" if terms else UNKNOWN
    lines = ['- code: Apache License 2.0, see LICENSE of the program',
             f"- weights: they follow the licence of their data, {_code(name)}: {weights}"]
    if run.record.get('init_from'):
        lines.append(f'- the licence of the network that the run began from holds, too: {UNKNOWN}')
    return '\n'.join(lines)


# ---- Texts of others


def _pathless(value):
    """A value with their last parts in place of the absolute paths among its texts, those after `--name=` too."""
    if isinstance(value, dict):
        return {_pathless(key): _pathless(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pathless(item) for item in value]
    if not isinstance(value, str):
        return value
    before, sign, path = value.rpartition('=')
    if os.path.isabs(path) and not re.search(r'\s', before):    # all of it, blanks included
        return before + sign + os.path.basename(os.path.normpath(path))
    return value


def _clean(value, most):
    """One line of at most `most` visible characters, without absolute paths."""
    text = _PATH.sub(r'\1', str(value)).encode('utf-8', 'replace').decode('utf-8')
    text = ' '.join(''.join(c if c.isprintable() else ' ' for c in text).split())
    return text if len(text) <= most else text[:most - 3] + '...'


def _text(value, most=300):
    """A value as text that Markdown shows as it is, also in a table."""
    return re.sub(r'([\\`*_{}\[\]<>#!|~&$@]|:(?=/)|(?<=www)\.)', r'\\\1', _clean(value, most))


def _code(value, most=1000):
    """A value as a span of code, for use outside of tables."""
    text = _clean(value, most) or '-'
    ticks = '`' * (1 + max([len(run) for run in re.findall('`+', text)], default=0))
    return f'{ticks} {text} {ticks}' if '`' in text else f'{ticks}{text}{ticks}'
