"""The plan of a run: what its configuration will do with its data, what that takes, and what is odd about it.

Dry runs, checks, forecasts, the doctor, the report and the loop's watch all read it from here. Nothing of this is
TensorFlow's.
"""

import os

import numpy as np

from data.records.source import check_mirroring
from dnnlib.command_line import typed
from dnnlib.submission import processes
from dnnlib.util import EasyDict, UserError
from experiment import forecast, phases
from experiment.settings import is_adversarial, value_of, with_defaults
from metrics.networks.files import find_attribute
from training.layers.network_sizes import feature_maps

SMALL_DATA_SET = 10000      # images; below it a discriminator tends to learn the images by heart
_OURS = 'training.networks_'
_FOR_POINTS = 'training.networks_minimal.'
_OF_CODES, _CODE_FUNC = 'training.networks_accel.G_accel', 'training.networks_accel.G_code'
_CODECS = ('training.networks_codec.G_codec', 'training.networks_codec.D_codec')
_CLASSIFIER = 'metrics.classifier_training.train_classifier'
_WITHOUT_LABELS = ('training.networks_accel.', 'training.networks_codec.')


class Plan:
    """What a run will do. Raises UserError for a configuration that does not suit the data.

    Args:
        config: a resolved configuration.
        data: EasyDict as `facts.open_data` returns it.

    Attributes:
        config, data: the arguments.
        phases: see `phases.make_phases`; [] for other loops than ours.
        sizes: see `forecast.network_sizes`; None for networks of unknown families and other loops than ours.
        needs: EasyDict(memory: bytes per device on a GPU, or in all on a CPU; disk: see `forecast.disk_bytes`), or None
            where the sizes are unknown.
    """

    def __init__(self, config, data):
        self.config = config
        self.data = data
        self.phases, self.sizes, self.needs = [], None, None
        if not is_adversarial(config):
            if config.train.func_name == _CLASSIFIER:
                _check_classifier(config, data)
            return
        _check_grid(config, data)
        _check_kind(config, data)
        _check_codes(config, data)
        _check_halvings(config, data)
        self.phases = phases.make_phases(config, data.resolution_log2)
        phases.check_minibatches(config, self.phases)
        self.sizes = forecast.network_sizes(config.G, config.D, data)
        if self.sizes is None:
            return
        _check_networks(self)
        self.needs = EasyDict(
            memory=forecast.memory_bytes(self.sizes, self.phases, config.num_gpus if config.device == 'cpu' else 1,
                                         config.device != 'gpu'),
            disk=forecast.disk_bytes(self.sizes, self.phases, config))

    @property
    def snapshot_ticks(self):
        """Ticks between two network snapshots, 0 for none."""
        return value_of(self.config, 'train', 'network_snapshot_ticks') or 0

    @property
    def total_kimg(self):
        """The run's length."""
        return value_of(self.config, 'train', 'total_kimg')

    @property
    def max_hours(self):
        """Hours of training after which the run ends, or None."""
        return value_of(self.config, 'train', 'max_hours')


def _check_grid(config, data):
    if config.grid.get('layout', 'random') != 'random' and data.label_size == 0:
        raise UserError(f"grid.layout is '{config.grid.layout}', but the run has no labels; set grid.layout=random, or "
                        'dataset.max_label_size=full if the data set has labels')


def _check_kind(config, data):
    """Raises UserError for networks of this project that are made for images where the data are points, or for points
    where they are images."""
    for name in ('G', 'D'):
        function = config[name].func_name
        if not function.startswith(_OURS):
            continue
        if function.startswith(_FOR_POINTS) and len(data.shape) != 1:
            raise UserError(f'{name}.func_name is {function}, which is for points, but the data set has samples of '
                            f'{data.shape}; choose networks for images, such as those of dcgan-64, or a data set made '
                            'by dataset_tool.py create_points')
        if not function.startswith(_FOR_POINTS) and len(data.shape) == 1:
            raise UserError(f'{name}.func_name is {function}, which is for images, but the data set has points of '
                            f'{data.shape[0]} numbers; choose training.networks_minimal.{name}_minimal, or a data set '
                            'of images')
        if function.startswith(_OURS + 'dcgan.') and data.shape[1] < 8:
            raise UserError(f'{name}.func_name is {function}, which is for images of 8x8 or more, but the data set has '
                            f'{data.shape[2]}x{data.shape[1]}')


def _check_codes(config, data):
    """Raises UserError for networks that are made for images where the data are codes of images, the other way round,
    and for labels where the networks take none."""
    function, is_codes = config.G.func_name, data.get('is_codes')
    if function == _OF_CODES and is_codes is False:
        raise UserError(f'G.func_name is {function}, which makes codes, but the data set has samples of {data.shape} '
                        'without a codec; encode them by dataset_tool.py encode, or choose the same networks on '
                        'images, such as those of baseline-256')
    if function != _OF_CODES and function.startswith(_OURS) and is_codes:
        raise UserError(f'G.func_name is {function}, which makes images, but the data set has codes of images, of '
                        f'{data.shape}; choose {_OF_CODES}, as accel-256 and accel-stylegan-256 do, or the data set of '
                        'the images')
    check_mirroring(is_codes, value_of(config, 'train', 'mirror_augment'))
    for section, name in _without_labels(config):
        if data.label_size:
            raise UserError(f'{section} is {name}, which takes no labels, but the run is to use {data.label_size} '
                            'components of them; set dataset.max_label_size=0')


def _without_labels(config):
    """[(section, build function)] of the networks that take no labels."""
    function = config.G.func_name
    names = [('G', config.G.get('code_func', _CODE_FUNC) if function == _OF_CODES else function),
             ('D', config.D.func_name)]
    return [(section, name) for section, name in names if name.startswith(_WITHOUT_LABELS)]


def _check_halvings(config, data):
    """Raises UserError where a codec, or what judges it, halves images more often than their sides can be."""
    for section, function, key in (('G', _CODECS[0], 'downscale'), ('D', _CODECS[1], 'num_scales')):
        if config[section].func_name != function:
            continue
        value = value_of(config, section, key)
        halvings = int(np.log2(value)) if key == 'downscale' else value     # as the networks count them
        if any(side % 2 ** halvings for side in data.shape[1:]):
            raise UserError(f'{section}.{key} is {value}, which means {halvings} halvings, but the images of the data '
                            f'set are {data.shape[2]}x{data.shape[1]}; choose a smaller one, or larger images')


def _check_classifier(config, data):
    """Raises UserError for what the training of a classifier cannot follow, or would pass over."""
    if config.num_gpus != 1:
        raise UserError(f'num_gpus is {config.num_gpus}; a classifier is trained on one device')
    if config.D.get('mbstd_group_size', 0):
        raise UserError(f'D.mbstd_group_size is {config.D.mbstd_group_size}; a classifier judges each image by itself, '
                        'leave it at 0')
    if not data.missing:
        find_attribute(data, config.train.get('attribute'))


def _check_networks(plan):
    """Raises UserError where networks of our families cannot be built for the data."""
    config, data = plan.config, plan.data
    if len(data.shape) == 1:
        return
    if data.shape[1] != data.shape[2] or data.shape[1] != 2 ** data.resolution_log2:
        raise UserError(f'the data set has samples of {data.shape[2]}x{data.shape[1]}; {config.G.func_name} needs '
                        'squares whose side is a power of two')
    if data.shape[1] < 4:
        raise UserError(f'the data set has samples of {data.shape[2]}x{data.shape[1]}; {config.G.func_name} needs 4x4 '
                        'or more')
    if min(p.resolution for p in plan.phases) < 4:
        raise UserError(f'sched.lod_initial_resolution is {config.sched.lod_initial_resolution}; the networks start at '
                        '4 or more')
    net = with_defaults('D', config.D)
    if (net.get('mbstd_group_size') or 0) <= 1:
        return
    fmaps, groups = feature_maps(net.fmap_base, net.fmap_decay, net.fmap_max)(1), net.get('mbstd_num_features', 1)
    if fmaps % groups:
        raise UserError(f'D.mbstd_num_features ({groups}) does not divide the {fmaps} channels at 4x4')


# ---- In words


def describe(plan, machine):
    """The whole plan as lines of text. `machine`: facts.Machine."""
    config, data = plan.config, plan.data
    size = 'x'.join(str(length) for length in reversed(data.shape[1:]))
    what = f'{size}, {data.shape[0]} channel(s)' if size else f'{data.shape[0]} number(s)'
    count = 'an unknown number of' if data.num_images is None else data.num_images
    lines = [f'Data: {count} samples of {what}, '
             + (f'{data.label_size} label components' if data.label_size else 'no labels used')]
    lines.append(f'Device: {_devices(config, machine)}')
    if plan.sizes is not None:
        lines.append(f'Networks: {plan.sizes.G_params} trainable parameters in G, {plan.sizes.D_params} in D')
    if not plan.phases:
        return lines + [f'{config.train.func_name} trains for {plan.total_kimg} kimg']
    lines += phases.describe(plan.phases)
    ticks, seen = sum(p.ticks for p in plan.phases), ''
    if data.num_images is not None:
        seen = f'; every image is seen {_times(plan.phases[-1].end_kimg * 1000 / data.num_images)}'
    lines.append(f'In all {plan.phases[-1].end_kimg:g} kimg, {sum(p.iterations for p in plan.phases)} iterations of '
                 f"{value_of(config, 'train', 'minibatch_repeats')} minibatch(es), about {ticks:.0f} ticks{seen}")
    if plan.max_hours is not None:
        lines.append(f'It ends sooner after {plan.max_hours:g} hours of training')
    if plan.needs is not None:
        where = {'cpu': 'in all on a CPU', 'gpu': 'for each GPU'}.get(config.device, 'for each device')
        disk = plan.needs.disk
        lines.append(f'Memory: about {gigabytes(plan.needs.memory)} {where}')
        lines.append(f'Disk: about {gigabytes(disk.total)} ({gigabytes(disk.snapshot)} a snapshot, '
                     f'{gigabytes(disk.checkpoint)} a checkpoint); {gigabytes(machine.free_disk)} are free')
    return lines


def _devices(config, machine):
    """What a run computes on, in words."""
    count = config.num_gpus
    if config.device == 'cpu' or config.device == 'auto' and not machine.num_gpus:
        why = ', as asked' if config.device == 'cpu' else ', since no GPU is here'
        return f'the CPU{why}' + (f', as {count} virtual devices that share each minibatch' if count > 1 else '')
    return f"{count} GPU{'s' if count > 1 else ''} of the {machine.num_gpus} here"


def in_words(plan, machine):
    """The plan, what is missing, and what is odd, as lines of text."""
    lines = describe(plan, machine) + ([f'missing: {plan.data.missing}'] if plan.data.missing else [])
    return [typed(line) for line in lines + [f'warning: {text}' for text in warnings(plan, machine)]]


def warnings(plan, machine):
    """Sentences on what is allowed but probably not wanted."""
    config, result = plan.config, []
    if config.device != 'cpu':
        result += [f'{text}; if this run gets the same GPU, both will be slow or run out of memory: wait, or hide that '
                   'GPU with CUDA_VISIBLE_DEVICES' for text in machine.company]
        wanted = processes.here(config.num_gpus)
        if wanted > max(machine.num_gpus, 1):
            result.append(f'the run asks for {wanted} GPUs, this machine has {machine.num_gpus}; start it '
                          f'where there are as many, or pass --num-gpus {max(machine.num_gpus, 1)}')
    result += _warnings_of_phases(plan) if plan.phases else []
    result += _warnings_of_needs(plan, machine) if plan.needs else []
    return result + _warnings_of_metrics(plan.data.get('missing_files', ()))


def _warnings_of_phases(plan):
    data, last, result = plan.data, plan.phases[-1], []
    if last.resolution < 1 << data.resolution_log2:
        result.append(f'the run ends at {last.resolution}x{last.resolution}, before it reaches the full resolution; '
                      'raise train.total_kimg or lower sched.lod_training_kimg and lod_transition_kimg')
    elif last.kind == 'fade':
        result.append('the run ends while the full resolution is still fading in; raise train.total_kimg')
    if data.num_images is not None and data.num_images < SMALL_DATA_SET:
        result.append(f'the data set has only {data.num_images} images: below {SMALL_DATA_SET} the discriminator tends '
                      'to learn them by heart, and pictures get worse after a while; add images, '
                      f"{'encode them with --mirror 1' if data.get('is_codes') else 'keep train.mirror_augment on'} "
                      'if left and right do not matter, save snapshots often '
                      '(train.network_snapshot_ticks) and use the best')
    if data.unused_labels and not _without_labels(plan.config):
        result.append(f'the data set has labels ({os.path.basename(data.unused_labels)}) that this run does not use; '
                      'set dataset.max_label_size=full to train on them')
    return result


def _warnings_of_needs(plan, machine):
    result, needs = [], plan.needs
    if machine.free_disk < needs.disk.total:
        result.append(f'the run may grow to {gigabytes(needs.disk.total)}, but only {gigabytes(machine.free_disk)} are '
                      f"free in '{machine.place}'; raise train.network_snapshot_ticks and train.image_snapshot_ticks, "
                      'or delete old snapshots as they come')
    total = machine.total_memory
    if plan.config.device == 'cpu' and total is not None and needs.memory > total:
        result.append(f'the run may need {gigabytes(needs.memory)} of memory, this machine has {gigabytes(total)}; '
                      'lower sched.minibatch_dict or fmap_base')
    return result


def _warnings_of_metrics(missing):
    if not missing:
        return []
    shown = ', '.join(missing[:3]) + (f' and {len(missing) - 3} more' if len(missing) > 3 else '')
    return [f'the metrics at snapshots need {shown}, which will be downloaded at the first of them, or else left out; '
            f"get them now with: ./reproduce artifacts fetch {' '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}, or go without metrics by --set metrics=[]"]


def _times(count):
    """How often, in words: '6 times', '2,080,000 times', to three digits."""
    if not np.isfinite(count):
        return 'for ever'
    return f"{float(f'{count:.3g}'):,.10g} times"


def gigabytes(count):
    """A number of bytes, in words."""
    return f'{count / 1e9:.1f} GB' if count >= 1e8 else f'{count / 1e6:.0f} MB'
