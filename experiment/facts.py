"""What plans and checks depend on: facts about the data set and about this machine, each found out once."""

import os

import config as folders
from data.records.base import resolution_of
from data.records.codec import check_codec_file
from data.records.dataset import load_training_set, named_resolutions
from data.records.manifest import has_manifest, read_manifest
from data.records.source import folder_of, image_arguments
from dnnlib import artifacts, machine
from dnnlib.files import try_place
from dnnlib.submission import read_submit_config
from dnnlib.util import EasyDict, UserError
from experiment import device_check
from metrics.networks import needs
from metrics.networks.choice import STANDIN
from metrics.tables import definition
from training.network_files import runs
from training.state import resume

LSUN_CLASSES = ('bedroom', 'car', 'cat', 'church_outdoor', 'conference_room', 'horse')    # of the papers

CODE_CHANNELS = 16  # of the paper's codecs and, by default, of ours
CODEC = 'training.networks_codec.G_codec'

# ---- Data


def open_data(config, data_dir, dry=False, run_dir=None, metrics=()):
    """Opens the data set, which checks its files, and returns what plans depend on.

    EasyDict(shape [C, H, W] or [C], resolution, resolution_log2, num_images, label_size, label_names: list or None,
    is_image, is_codes: whether the samples are codes of images, None where that is not known; codec: see
    `Dataset.codec`, unused_labels: file with labels that the run does not use, or None; missing: None). With `dry`, a
    data set that is not there yet is described by the configuration as far as it goes: num_images is None then, and
    `missing` says what is missing and what makes it; `missing_files`: names of the files that
    `metrics` on such data need and that are not here; `restored`: the checkpoint from which the run in `run_dir` goes
    on, see `resume.read_run`, or None. Raises UserError.
    """
    folder = config.dataset.get('tfrecord_dir')
    path = None if folder is None else os.path.join(data_dir, folder)
    if path is not None and not os.path.lexists(path):
        missing = f"the data set '{path}' does not exist; make it with {making_of(folder)[0]}; or mend " \
                  'dataset.tfrecord_dir and --data-dir'
        if not dry:
            raise UserError(missing)
        return EasyDict(_assumed_data(config, data_dir, missing, metrics), restored=_read_run(run_dir, config))
    missing_files = needs.missing_files(metrics, dict(config.dataset, data_dir=data_dir))
    with load_training_set(config.seed, data_dir=data_dir, **config.dataset) as data:
        if data.codec is not None:
            check_codec_file(data.codec)
        return EasyDict(describe(data), missing_files=missing_files, restored=_read_run(run_dir, config, data))


def describe(data):
    """What plans depend on of an open data set: the facts of `open_data`, where no metric and no run is looked at."""
    label_file = getattr(data, 'label_file', None)
    return EasyDict(
        shape=list(data.shape), resolution=data.resolution, resolution_log2=data.resolution_log2,
        num_images=data.num_images, label_size=data.label_size, label_names=data.label_names, is_image=data.is_image,
        is_codes=data.codec is not None, codec=data.codec, missing=None, missing_files=[], restored=None,
        unused_labels=label_file if label_file and not data.label_size else None)


def _read_run(run_dir, config, data=None):
    return None if run_dir is None else resume.read_run(run_dir, config.seed, data)


def settle_size(config, origins, data_dir):
    """Lets a codec, which takes images of any size, train at the data's own, where these are smaller than it asks for.

    Changes dataset.resolution and sched.lod_initial_resolution in place, with their origins, unless --set chose them.
    """
    folder, asked = config.dataset.get('tfrecord_dir'), config.dataset.get('resolution')
    keys = ('dataset.resolution', 'sched.lod_initial_resolution')
    if config.G.get('func_name') != CODEC or None in (folder, asked) or '--set' in [origins.get(key) for key in keys]:
        return
    path = os.path.join(data_dir, folder)
    found = named_resolutions(os.listdir(path)) if os.path.isdir(path) else ()
    if found and 4 <= max(found) < asked:
        print(f"'{path}' holds images of {max(found)}x{max(found)}: the codec is trained at this size, not at "
              f'{asked}x{asked}', flush=True)
        config.dataset.resolution = config.sched.lod_initial_resolution = max(found)
        origins.update((key, "the data's own size") for key in keys)


def _assumed_data(config, data_dir, missing, metrics):
    """What `open_data` tells of a data set that is not there."""
    (command, shape), resolution = making_of(config.dataset.tfrecord_dir), config.dataset.get('resolution')
    is_codes = command.startswith('dataset_tool.py encode ')
    if shape is None and resolution is None:
        raise UserError(f'{missing}; a plan without it needs dataset.resolution')
    if shape is None or resolution not in (None, resolution_of(shape)):
        shape = [CODE_CHANNELS if is_codes else 3, resolution, resolution]
    labels = config.dataset.get('max_label_size', 0)
    if labels == 'full':
        missing += '; the plan takes it for unlabelled, since only the data tell how many labels there are'
        labels = 0
    resolution = resolution_of(shape)
    return EasyDict(
        shape=list(shape), resolution=resolution, resolution_log2=(resolution - 1).bit_length(), num_images=None,
        label_size=labels, label_names=None, is_image=len(shape) == 3 and not is_codes, is_codes=is_codes or None,
        codec=None, missing=missing, unused_labels=None, missing_files=needs.missing_files(
            metrics, dict(config.dataset, data_dir=data_dir),
            STANDIN if _is_drawn(config.dataset.tfrecord_dir) else 'auto'))


def recorded_data(record):
    """What `open_data` tells, from the `dataset.json` of a run (see `training.state.resume.DATA`)."""
    resolution = resolution_of(record['shape'])
    return EasyDict(record, resolution=resolution, resolution_log2=(resolution - 1).bit_length(), missing=None,
                    is_image=len(record['shape']) == 3, is_codes='downscale' in record or None, codec=None,
                    unused_labels=None, label_names=None, missing_files=[], restored=None)


def shown_shape(record):
    """[C, H, W] of the pictures that a run on the data of `dataset.json` draws, whose C says nothing where these are
    codes of images; None where the samples are no arrays of pixels, or `record` is None."""
    if record is None or len(record['shape']) != 3:
        return None
    return record['shape'][:1] + [side * record.get('downscale', 1) for side in record['shape'][1:]]


def making_of(folder):
    """(the command that makes a data set which configurations name, the shape of its samples or None)."""
    command, shape = definition.making_of(folder, folders.config_dir)
    return command or f'dataset_tool.py, such as dataset_tool.py create_from_images datasets/{folder} PICTURES', shape


def _is_drawn(folder):
    """Whether a data set that configurations name will be made of drawn faces, or of codes of such."""
    words = making_of(folder)[0].split()
    return words[1] == 'create_toyfaces' or words[1] == 'encode' and _is_drawn(os.path.basename(words[3]))


def trained_on(network_path):
    """(LSUN's class, share of the height that its pictures fill) of the data that a network was trained on.

    (None, 1) for other data. A run's data set says itself what it was made from, one of codes the images that these
    were made of; where it is not here, its folder does, if it is that of a paper's table. A released network is known
    by its file.
    """
    run_dir = runs.run_dir_of(network_path)
    if run_dir is None:
        return _class_of_released(os.path.basename(network_path))
    record = read_submit_config(run_dir)
    folder = (record['config'].get('dataset') or {}).get('tfrecord_dir')
    if not isinstance(folder, str):
        return None, 1
    path = os.path.join(record.get('data_dir') or folders.data_dir, folder)
    try:
        path = folder_of(image_arguments(dict(tfrecord_dir=path)))      # of codes, what they were made of
    except UserError:       # these are not here
        return _class_of_folder(os.path.basename(str(read_manifest(path)['source']['name'])))
    if has_manifest(path):
        made = read_manifest(path)
        return _class_of_command([made.get('command')], made.get('arguments', {}))
    return _class_of_folder(os.path.basename(path))


def _class_of_folder(name):
    """What `trained_on` tells, from the name of a folder that a paper's table has."""
    command = definition.making_of(name, folders.config_dir)[0] or ''
    words = command.split()
    return _class_of_folder(os.path.basename(words[3])) if words[1:2] == ['encode'] else _class_of_words(command)


def _class_of_released(file):
    released = artifacts.lookup(file)
    for name, _, _ in definition.list_tables(folders.config_dir) if released is not None else ():
        table = definition.load_table(name, folders.config_dir)
        for network in table.networks.values():
            if network.released == released.name and network.dataset is not None:
                return _class_of_words(table.datasets[network.dataset].command)
    return None, 1


def _class_of_words(command):
    """What `trained_on` tells, from a command such as `dataset_tool.py create_lsun_wide DIR car_lmdb --width 512 …`."""
    words = command.split()
    options = dict(zip(words, words[1:]))
    numbers = {key: int(options['--' + key]) for key in ('width', 'height') if '--' + key in options}
    return _class_of_command(words[1:2], dict(numbers, lmdb_dir=words[3] if len(words) > 3 else ''))


def _class_of_command(command, arguments):
    if command not in (['create_lsun'], ['create_lsun_wide']):
        return None, 1
    database = os.path.basename(str(arguments.get('lmdb_dir')))
    name = next((name for name in LSUN_CLASSES if database.startswith(name + '_')), None)
    width, height = arguments.get('width'), arguments.get('height')
    return name, height / width if type(width) is type(height) is int and width > 0 else 1


# ---- This machine


def _once(read):
    """A property that is found out at its first use, and once."""
    def get(self):
        if read.__name__ not in self._found:
            self._found[read.__name__] = read(self)
        return self._found[read.__name__]
    return property(get, doc=read.__doc__)


class Machine:
    """What this machine has, where results are or will be written at `place`."""

    def __init__(self, place):
        self.place = place
        self._found = {}

    @_once
    def gpus(self):
        """Dicts of the GPUs that NVIDIA's driver knows; see `device_check.nvidia_gpus`."""
        return device_check.nvidia_gpus()

    @_once
    def company(self):
        """Sentences on what else computes on these GPUs now."""
        return device_check.company(self.gpus)

    @_once
    def num_gpus(self):
        """How many GPUs there are for this program, as far as can be told without TensorFlow."""
        return device_check.num_visible(self.gpus)

    @_once
    def total_memory(self):
        """Bytes of memory, None where that cannot be told."""
        return machine.total_memory()

    @_once
    def available_memory(self):
        """Bytes of memory that programs could still get, None where that cannot be told."""
        return machine.available_memory()

    @_once
    def place_problem(self):
        """Why no folder could be made at the place, which need not exist, in words; None if one could."""
        try:
            try_place(self.place)
        except OSError as err:
            return err.strerror
        return None

    @_once
    def free_disk(self):
        """Bytes that are free at the place."""
        return machine.free_disk(self.place)
