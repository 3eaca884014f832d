"""What a training run will do, phase by phase: resolutions, minibatches, rates, iterations.

Pure arithmetic on a resolved configuration and the shape of the data; no TensorFlow is imported.
"""

import math

from dnnlib.util import EasyDict, UserError
from experiment.settings import value_of
from training.schedule import training_schedule


def make_phases(config, resolution_log2):
    """Splits a run into phases of one resolution each, growing in ('fade') or staying ('train').

    Returns a list of EasyDict(kind, resolution, start_kimg, end_kimg, minibatch, minibatch_per_gpu, G_lrate, D_lrate,
    tick_kimg, iterations, ticks). An iteration is what happens between two looks at the schedule:
    `train.minibatch_repeats` times `train.D_repeats` minibatches. Raises UserError.
    """
    sched = config.sched
    total_kimg = value_of(config, 'train', 'total_kimg')
    repeats = value_of(config, 'train', 'minibatch_repeats') * value_of(config, 'train', 'D_repeats')
    def state(kimg):
        return training_schedule(kimg * 1000.0, resolution_log2, config.num_gpus, **sched)

    lod_kimg = [value_of(config, 'sched', f'lod_{part}_kimg') for part in ('training', 'transition')]
    borders = {0.0, float(total_kimg)}
    state(0)  # refuses settings that no run can follow
    if sum(lod_kimg) > 0:
        for phase in range(int(math.ceil(state(0).lod)) + 1):
            borders |= {phase * sum(lod_kimg), phase * sum(lod_kimg) + lod_kimg[0]}
    borders = sorted(border for border in borders if border <= total_kimg)

    phases = []
    nimg = 0
    for start, end in zip(borders, borders[1:]):
        middle = state((start + end) / 2)
        kind = 'fade' if middle.lod % 1 else 'train'
        step = middle.minibatch * repeats
        iterations = max(int(math.ceil((end * 1000 - nimg) / step)), 0)
        nimg += iterations * step
        phase = EasyDict(
            kind=kind, resolution=middle.resolution, start_kimg=start, end_kimg=end, minibatch=middle.minibatch,
            minibatch_per_gpu=middle.minibatch // config.num_gpus, G_lrate=middle.G_lrate, D_lrate=middle.D_lrate,
            tick_kimg=middle.tick_kimg, iterations=iterations, ticks=(end - start) / middle.tick_kimg)
        last = phases[-1] if phases else None
        if last is not None and (last.kind, last.resolution) == (phase.kind, phase.resolution):
            last.update(end_kimg=end, iterations=last.iterations + iterations, ticks=last.ticks + phase.ticks)
        else:
            phases.append(phase)
    return phases


def check_minibatches(config, phases):
    """Raises UserError unless each device's share of each phase's minibatch suits the discriminator's groups."""
    group = value_of(config, 'D', 'mbstd_group_size')
    for phase in phases:
        size = phase.minibatch_per_gpu
        if phase.minibatch % config.num_gpus:
            raise UserError(f'at resolution {phase.resolution} the minibatch of {phase.minibatch} cannot be divided '
                            f'among {config.num_gpus} devices; change sched.minibatch_dict or sched.minibatch_base')
        if group and group > 1 and size % min(group, size):
            raise UserError(f'at resolution {phase.resolution} each device gets {size} images, which is not a multiple '
                            f'of D.mbstd_group_size ({group}); change sched.minibatch_dict, sched.minibatch_base, '
                            'sched.max_minibatch_per_gpu or D.mbstd_group_size')


def describe(phases):
    """The phases as lines of a table."""
    rows = [('resolution', 'what', 'kimg', 'minibatch', 'per device', 'G rate', 'D rate', 'iterations')]
    for p in phases:
        rows.append((f'{p.resolution}x{p.resolution}', {'fade': 'fades in', 'train': 'trains'}[p.kind],
                     f'{p.start_kimg:g} - {p.end_kimg:g}', str(p.minibatch), str(p.minibatch_per_gpu),
                     f'{p.G_lrate:g}', f'{p.D_lrate:g}', str(p.iterations)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  '.join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]
