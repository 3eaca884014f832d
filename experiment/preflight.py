"""Everything about a run that can be found wrong before it starts, and what it will take."""

import os

from data.records.base import resolution_of
from data.records.dataset import load_dataset
from dnnlib import files, machine, util
from dnnlib.util import EasyDict, UserError
from experiment import device_check, fixed_networks, forecast, plan, run_config, settings

SMALL_DATA_SET = 10000      # images; below it a discriminator tends to learn the images by heart


def open_data(config, data_dir):
    """Opens the data set, which checks its files, and returns what plans depend on.

    EasyDict(shape [C, H, W], resolution_log2, num_images, label_size, is_image, unused_labels: file with labels that
    the run does not use, or None). Raises UserError.
    """
    with load_dataset(data_dir=data_dir, **config.dataset) as data:
        label_file = getattr(data, 'label_file', None)
        return EasyDict(
            shape=list(data.shape), resolution_log2=data.resolution_log2, num_images=data.num_images,
            label_size=data.label_size, is_image=data.is_image,
            unused_labels=label_file if label_file and not data.label_size else None)


def check_plan(config, data):
    """Checks the configuration against the data. Returns (phases, sizes): see plan.py and forecast.py.

    `sizes` is None for networks of unknown families. For other loops than ours both are unknown: ([], None).
    Raises UserError.
    """
    if not run_config.is_adversarial(config):
        return [], None
    if config.grid.get('layout', 'random') != 'random' and data.label_size == 0:
        raise UserError(f"grid.layout is '{config.grid.layout}', but the run has no labels; set grid.layout=random, or "
                        'dataset.max_label_size=full if the data set has labels')
    fixed_networks.check_kind(config, data)
    phases = plan.make_phases(config, data.resolution_log2)
    plan.check_minibatches(config, phases)
    sizes = forecast.network_sizes(config.G, config.D, data)
    if len(data.shape) == 1:
        return phases, sizes
    if sizes is not None and (data.shape[1] != data.shape[2] or data.shape[1] != 2 ** data.resolution_log2):
        raise UserError(f'the data set has samples of {data.shape[2]}x{data.shape[1]}; {config.G.func_name} needs '
                        'squares whose side is a power of two')
    if sizes is not None and min(p.resolution for p in phases) < 4:
        raise UserError(f'sched.lod_initial_resolution is {config.sched.lod_initial_resolution}; the networks start at '
                        '4 or more')
    if forecast.is_growing(config.G, config.D):
        _check_channels(config, data.resolution_log2)
    return phases, sizes


def _check_channels(config, resolution_log2):
    """Raises UserError unless every layer of the networks has channels."""
    for name in ('G', 'D'):
        net = settings.with_defaults(name, config[name])
        if forecast.num_fmaps(net, resolution_log2 - 1) < 1:
            raise UserError(f'{name}.fmap_base ({net.fmap_base}) leaves no channels at {2 ** resolution_log2}x'
                            f'{2 ** resolution_log2}; raise it, or lower {name}.fmap_decay')
    fmaps, groups = forecast.num_fmaps(net, 1), net.get('mbstd_num_features', 1)
    if (net.mbstd_group_size or 0) > 1 and fmaps % groups:
        raise UserError(f'D.mbstd_num_features ({groups}) does not divide the {fmaps} channels at 4x4')


def find_initial_networks(text, data):
    """The path of the snapshot that --init-from names; says which one it is. Imports TensorFlow.

    Raises UserError unless it holds networks (G, D, Gs) made for such data. Whether every variable suits is seen when
    the networks are built.
    """
    from training.network_files import locate
    found = locate.locate(text, option='--init-from').tell()
    states = locate.read(found)
    if not isinstance(states, tuple) or len(states) != 3:
        raise UserError(f'--init-from: {found.path} does not hold the three networks (G, D, Gs) of a snapshot')
    wanted = dict(resolution=resolution_of(data.shape), num_channels=data.shape[0], label_size=data.label_size)
    for key, value in wanted.items():
        stored = states[0].static_kwargs.get(key, value)
        if stored != value:
            raise UserError(f'--init-from: the networks in {found.path} have {key} {stored}, the data set has {value}')
    return found.path


def check_devices(config):
    """Raises UserError unless the devices that the configuration asks for are there. Imports TensorFlow."""
    if config.device == 'cpu':
        return
    found = len(util.get_obj_by_name('dnnlib.tflib.engine.list_gpus')())
    if found < config.num_gpus and (found or config.device == 'gpu' or config.num_gpus > 1):
        choice = f'--num-gpus {found}' if found else '--device cpu'
        raise UserError(f'{config.num_gpus} GPU(s) are asked for, but TensorFlow can use {found}; pass {choice}, or '
                        'check the driver with nvidia-smi')


def needs(config, phases, sizes):
    """Forecasts EasyDict(memory, disk) of a run: memory bytes per device on a GPU, or in all on a CPU; or None."""
    if sizes is None:
        return None
    return EasyDict(
        memory=forecast.memory_bytes(sizes, phases, config.num_gpus if config.device == 'cpu' else 1,
                                     config.device != 'gpu'),
        disk=forecast.disk_bytes(sizes, phases, config, lambda *key: settings.value_of(config, *key)))


def check_result_dir(result_dir):
    """Raises UserError if no run directory could be made there. Nothing is left behind."""
    try:
        files.try_place(result_dir)
    except OSError as err:
        raise UserError(f"cannot create a run directory in '{result_dir}': {err.strerror}; choose a folder that can be "
                        'written with --result-dir') from err


def check_disk(need, result_dir):
    """Raises UserError if the disk cannot even hold the first snapshot and two checkpoints."""
    free = machine.free_disk(result_dir)
    least = need.disk.snapshot + 2 * need.disk.checkpoint + need.disk.picture
    if free < least:
        raise UserError(f"'{result_dir}' has {gigabytes(free)} of free disk space; a run needs {gigabytes(least)} for "
                        f'its first snapshot and checkpoints, and about {gigabytes(need.disk.total)} in all; free some '
                        'space or choose another place with --result-dir')


def warnings(config, data, phases, need, result_dir):
    """Sentences on what is allowed but probably not wanted."""
    result = []
    if config.device != 'cpu':
        result += [f'{text}; if this run gets the same GPU, both will be slow or run out of memory: wait, or hide that '
                   'GPU with CUDA_VISIBLE_DEVICES' for text in device_check.company()]
    if not phases:
        return result
    if phases[-1].resolution < 1 << data.resolution_log2:
        result.append(f'the run ends at {phases[-1].resolution}x{phases[-1].resolution}, before it reaches the full '
                      f"resolution; raise train.total_kimg or lower sched.lod_training_kimg and lod_transition_kimg")
    elif phases[-1].kind == 'fade':
        result.append('the run ends while the full resolution is still fading in; raise train.total_kimg')
    if data.num_images < SMALL_DATA_SET:
        result.append(f'the data set has only {data.num_images} images: below {SMALL_DATA_SET} the discriminator tends '
                      'to learn them by heart, and pictures get worse after a while; add images, keep '
                      'train.mirror_augment on if left and right do not matter, save snapshots often '
                      '(train.network_snapshot_ticks) and use the best')
    if data.unused_labels:
        result.append(f'the data set has labels ({os.path.basename(data.unused_labels)}) that this run does not use; '
                      'set dataset.max_label_size=full to train on them')
    if need is not None:
        free = machine.free_disk(result_dir)
        if free < need.disk.total:
            result.append(f'the run may grow to {gigabytes(need.disk.total)}, but only {gigabytes(free)} are free in '
                          f"'{result_dir}'; raise train.network_snapshot_ticks and train.image_snapshot_ticks, or "
                          'delete old snapshots as they come')
        total = machine.total_memory()
        if config.device == 'cpu' and total is not None and need.memory > total:
            result.append(f'the run may need {gigabytes(need.memory)} of memory, this machine has {gigabytes(total)}; '
                          'lower sched.minibatch_dict or fmap_base')
    return result


def metric_warnings(config, data_dir):
    """Sentences on files that the configured metrics need and that are not on this machine.

    The metrics are looked up by name, which imports TensorFlow. Raises UserError for a file that is here but damaged.
    """
    if not config.get('metrics'):
        return []
    from metrics.group import missing_files
    missing = missing_files(config.metrics, dict(config.dataset, data_dir=data_dir))
    if not missing:
        return []
    shown = ', '.join(missing[:3]) + (f' and {len(missing) - 3} more' if len(missing) > 3 else '')
    return [f'the metrics at snapshots need {shown}, which will be downloaded at the first of them, or else left out; '
            f"get them now with: python -m dnnlib.artifacts fetch {' '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}, or go without metrics by --set metrics=[]"]


def gigabytes(count):
    """A number of bytes, in words."""
    return f'{count / 1e9:.1f} GB' if count >= 1e8 else f'{count / 1e6:.0f} MB'


def report(config, data, phases, sizes, need, result_dir):
    """The whole plan as lines of text."""
    size = 'x'.join(str(length) for length in reversed(data.shape[1:]))
    what = f'{size}, {data.shape[0]} channel(s)' if size else f'{data.shape[0]} number(s)'
    lines = [f'Data: {data.num_images} samples of {what}, '
             + (f'{data.label_size} label components' if data.label_size else 'no labels used')]
    if sizes is not None:
        lines.append(f'Networks: {sizes.G_params} trainable parameters in G, {sizes.D_params} in D')
    if not phases:
        return lines + [f"{config.train.func_name} trains for {settings.value_of(config, 'train', 'total_kimg')} kimg"]
    lines += plan.describe(phases)
    ticks = sum(p.ticks for p in phases)
    lines.append(f'In all {phases[-1].end_kimg:g} kimg, {sum(p.iterations for p in phases)} iterations of '
                 f"{settings.value_of(config, 'train', 'minibatch_repeats')} minibatch(es), about {ticks:.0f} ticks; "
                 f'every image is seen {phases[-1].end_kimg * 1000 / data.num_images:.3g} times')
    if need is not None:
        where = {'cpu': 'in all on a CPU', 'gpu': 'for each GPU'}.get(config.device, 'for each device')
        lines.append(f'Memory: about {gigabytes(need.memory)} {where}')
        lines.append(f'Disk: about {gigabytes(need.disk.total)} ({gigabytes(need.disk.snapshot)} a snapshot, '
                     f'{gigabytes(need.disk.checkpoint)} a checkpoint); {gigabytes(machine.free_disk(result_dir))} are '
                     'free')
    return lines
