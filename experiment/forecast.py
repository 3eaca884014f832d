"""Forecasts what a run will take: memory, disk, and how the cost of a step depends on the resolution.

Known for the networks that have a table of their layers (see `training.layers.layer_table`); others get no forecast.
"""

import math

import numpy as np

from data.records.base import resolution_of
from dnnlib.util import EasyDict, UserError
from experiment.settings import trained_part, value_of, with_defaults
from training.layers import layer_table

# Fitted to the peak resident memory of runs at 32x32 to 128x128 on a CPU. Weights count there many times, since what
# is written to disk passes through copies in main memory.
PROCESS_BYTES = 850e6
CPU_BYTES_PER_PARAM = 55
GPU_BYTES_PER_PARAM = 20    # weights and gradients of G and D, two moments of each, Gs
BYTES_PER_FEATURE = 12
PICTURE_BYTES_PER_PIXEL = 1.5   # of a PNG of generated pictures, three channels
_GRID_PIXELS = {'1080p': 1920 * 1080, '4k': 3840 * 2160}


def network_sizes(G, D, data):
    """Parameters and feature-map sizes of a pair of networks.

    `G` and `D` are sections of a configuration, `data` an EasyDict with shape [C, H, W] or [C] and label_size. Returns
    EasyDict(G_params, D_params: trainable parameters; features: numbers held in both networks' convolution outputs
    for one image, by log2 of the resolution; macs: multiply-accumulates of one pass through both convolution stacks
    for one image, by log2 of the resolution), or None for networks of other families. Raises UserError for keywords
    that leave a layer without channels.
    """
    G = trained_part(G)
    if G.func_name not in layer_table.TABLES or D.func_name not in layer_table.TABLES:
        return None
    log2 = int(math.log2(resolution_of(data.shape)))
    layers = {name: _layers(name, section, log2, data) for name, section in (('G', G), ('D', D))}
    both = layers['G'] + layers['D']
    return EasyDict(G_params=layer_table.num_params(layers['G']), D_params=layer_table.num_params(layers['D']),
                    features=layer_table.features_by_res(both), macs=layer_table.operations_by_res(both))


def _layers(name, section, log2, data):
    try:
        return layer_table.TABLES[section.func_name](with_defaults(name, section), log2, data.shape[0],
                                                     data.label_size)
    except ValueError as err:
        raise UserError(f'{name} cannot be built: {err}; raise {name}.fmap_base, or lower {name}.fmap_decay') from None


def memory_bytes(sizes, phases, num_towers, on_cpu):
    """Forecast of the peak memory over all phases, in bytes: of the process on a CPU, or of one GPU.

    `num_towers`: how many devices' shares of a minibatch are in the same memory.
    """
    params = (sizes.G_params + sizes.D_params) * (CPU_BYTES_PER_PARAM if on_cpu else GPU_BYTES_PER_PARAM)
    features = max(p.minibatch_per_gpu * sum(n for stage, n in sizes.features.items() if 2 ** stage <= p.resolution)
                   for p in phases)
    return PROCESS_BYTES + params + BYTES_PER_FEATURE * features * num_towers


def disk_bytes(sizes, phases, config):
    """Forecast of what the run directory grows to: EasyDict(snapshot, checkpoint, picture, total), in bytes."""
    def setting(section, key):
        return value_of(config, section, key)

    weights = 4 * (2 * sizes.G_params + sizes.D_params)
    snapshot = weights
    checkpoint = weights + 8 * (sizes.G_params + sizes.D_params)
    size = config.grid.get('size', '1080p')
    picture = _GRID_PIXELS.get(size, _GRID_PIXELS['1080p']) * PICTURE_BYTES_PER_PIXEL
    ticks = sum(p.ticks for p in phases)
    num_pictures = ticks / setting('train', 'image_snapshot_ticks') if setting('train', 'image_snapshot_ticks') else 0
    every = setting('train', 'network_snapshot_ticks')
    num_snapshots = 3 + (ticks / every if every else 0)
    total = num_snapshots * snapshot + (setting('train', 'checkpoint_keep') + 1) * checkpoint + num_pictures * picture
    return EasyDict(snapshot=snapshot, checkpoint=checkpoint, picture=picture, total=total)


def relative_cost(sizes, resolution):
    """Cost of training on one image at a resolution, in units that cancel when resolutions are compared."""
    return sum(n for stage, n in sizes.macs.items() if 2 ** stage <= resolution)


def remaining_seconds(phases, sizes, kimg, seconds_by_resolution, until=None):
    """Forecast of the seconds of training from `kimg` to `until` (default: the end), without pauses for snapshots.

    `seconds_by_resolution`: measured seconds per kimg, at least at one resolution. Resolutions not yet measured are
    scaled from the nearest measured one by the networks' cost. None without measurements.
    """
    if not seconds_by_resolution:
        return None
    until = phases[-1].end_kimg if until is None else until
    total = 0.0
    for phase in phases:
        length = min(phase.end_kimg, until) - max(phase.start_kimg, kimg)
        if length > 0:
            nearest = min(seconds_by_resolution, key=lambda r, p=phase: abs(math.log2(r) - math.log2(p.resolution)))
            scale = relative_cost(sizes, phase.resolution) / relative_cost(sizes, nearest)
            total += length * seconds_by_resolution[nearest] * scale
    return total


def seconds_per_kimg(phase, ends, seconds, sizes):
    """Seconds per kimg in a phase: a fixed time per iteration plus one proportional to what is computed.

    The two numbers follow from the two phases `ends`, which were measured: `seconds` by resolution. With one of them
    negative, cost alone is scaled. `sizes`: see `network_sizes`.
    """
    if phase.resolution in seconds:
        return seconds[phase.resolution]
    low, high = ends
    cost = [relative_cost(sizes, p.resolution) for p in (low, high, phase)]
    # seconds per kimg = fixed * 1000 / minibatch + slope * cost
    matrix = [[1000.0 / low.minibatch, cost[0]], [1000.0 / high.minibatch, cost[1]]]
    fixed, slope = np.linalg.lstsq(np.array(matrix) / np.array(cost[:2])[:, np.newaxis],
                                   np.array([seconds[low.resolution], seconds[high.resolution]]) / cost[:2],
                                   rcond=None)[0]
    if fixed < 0 or slope < 0:
        return seconds[high.resolution] * cost[2] / cost[1]
    return fixed * 1000.0 / phase.minibatch + slope * cost[2]
