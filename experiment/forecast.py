"""Forecasts what a run will take: memory, disk, and how the cost of a step depends on the resolution.

Known for the networks of this project, whose sizes follow from their keywords; others get no forecast.
"""

import math

from dnnlib.util import EasyDict
from experiment.lecture import sizes as lecture_sizes
from experiment.settings import value_of, with_defaults

STYLE_G, STYLE_D = 'training.networks_stylegan.G_style', 'training.networks_stylegan.D_basic'
PAPER_G, PAPER_D = 'training.networks_progan.G_paper', 'training.networks_progan.D_paper'

# Fitted to the peak resident memory of runs at 32x32 to 128x128 on a CPU. Weights count there many times, since what
# is written to disk passes through copies in main memory.
PROCESS_BYTES = 850e6
CPU_BYTES_PER_PARAM = 55
GPU_BYTES_PER_PARAM = 20    # weights and gradients of G and D, two moments of each, Gs
BYTES_PER_FEATURE = 12
PICTURE_BYTES_PER_PIXEL = 1.5   # of a PNG of generated pictures, three channels
_GRID_PIXELS = {'1080p': 1920 * 1080, '4k': 3840 * 2160}


def is_growing(G, D):
    """Whether both sections name the networks of StyleGAN or Progressive GAN, which can grow."""
    return (G.func_name, D.func_name) in ((STYLE_G, STYLE_D), (PAPER_G, PAPER_D))


def network_sizes(G, D, data):
    """Parameters and feature-map sizes of a pair of networks.

    `G` and `D` are sections of a configuration, `data` an EasyDict with shape [C, H, W] and label_size. Returns
    EasyDict(G_params, D_params: trainable parameters; features: numbers held in both networks' convolution outputs
    for one image, by log2 of the resolution; macs: multiply-accumulates of one pass through both convolution stacks
    for one image, by log2 of the resolution), or None for networks of other families.
    """
    if not is_growing(G, D):
        return lecture_sizes.network_sizes(G, D, data)
    g, d = with_defaults('G', G), with_defaults('D', D)
    channels, labels = data.shape[0], data.label_size
    log2 = int(math.log2(data.shape[1]))
    count_g = _count_style if G.func_name == STYLE_G else _count_paper
    features, macs = {}, {}
    for stage in range(2, log2 + 1):
        pixels = 4 ** stage
        wide_g, wide_d = num_fmaps(g, stage - 1), num_fmaps(d, stage - 1)
        narrow_g, narrow_d = (num_fmaps(g, stage - 2), num_fmaps(d, stage - 2)) if stage > 2 else (wide_g, wide_d)
        features[stage] = pixels * (2 * wide_g + wide_d + narrow_d)
        macs[stage] = 9 * pixels * (narrow_g * wide_g + wide_g * wide_g + wide_d * wide_d + wide_d * narrow_d)
    return EasyDict(G_params=count_g(g, log2, channels, labels), D_params=_count_d(d, log2, channels, labels),
                    features=features, macs=macs)


def num_fmaps(net, stage):
    """Channels of a network at 2^(stage + 1) pixels."""
    return min(int(net.fmap_base / 2 ** (stage * net.fmap_decay)), net.fmap_max)


def _count_style(g, log2, channels, labels):
    def epilogue(fmaps):
        style = (g.dlatent_size + 1) * 2 * fmaps if g.use_styles else 0
        return style + fmaps + (fmaps if g.use_noise else 0)

    total = labels * g.latent_size
    width = g.latent_size * (2 if labels else 1)
    for layer in range(g.mapping_layers):
        out = g.dlatent_size if layer == g.mapping_layers - 1 else g.mapping_fmaps
        total, width = total + (width + 1) * out, out
    first = num_fmaps(g, 1)
    total += 16 * first * (1 if g.const_input_layer else g.dlatent_size) + epilogue(first)
    total += 9 * first * first + epilogue(first) + (first + 1) * channels
    for stage in range(3, log2 + 1):
        below, here = num_fmaps(g, stage - 2), num_fmaps(g, stage - 1)
        total += 9 * here * (below + here) + 2 * epilogue(here) + (here + 1) * channels
    return total


def _count_paper(g, log2, channels, labels):
    first = num_fmaps(g, 1)
    total = ((g.latent_size or num_fmaps(g, 0)) + labels) * first * 16 + first + (9 * first + 1) * first
    total += (first + 1) * channels
    for stage in range(3, log2 + 1):
        below, here = num_fmaps(g, stage - 2), num_fmaps(g, stage - 1)
        total += 9 * here * (below + here) + 2 * here + (here + 1) * channels
    return total


def _count_d(d, log2, channels, labels):
    total = 0
    for stage in range(2, log2 + 1):
        here, below = num_fmaps(d, stage - 1), num_fmaps(d, stage - 2)
        total += (channels + 1) * here
        if stage > 2:
            total += (9 * here + 1) * here + (9 * here + 1) * below
    first, last = num_fmaps(d, 1), num_fmaps(d, 0)
    extra = d.get('mbstd_num_features', 1) if (d.mbstd_group_size or 0) > 1 else 0
    outputs = max(labels, 1) if d.func_name == STYLE_D else 1
    return total + (9 * (first + extra) + 1) * first + (16 * first + 1) * last + (last + 1) * outputs


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
