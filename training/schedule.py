"""What is trained when: level of detail, minibatch, learning rates and tick length as functions of progress.

Pure arithmetic. Source: "Progressive Growing of GANs", section 2 and appendix A; "A Style-Based Generator
Architecture", section 8.
"""

import math

from dnnlib.util import EasyDict, UserError

DEFAULT_TICK_KIMG = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 30, 1024: 20}


def training_schedule(
    cur_nimg,                           # Real images shown to the discriminator so far.
    training_set,                       # Data set, or log2 of its resolution.
    num_gpus                    = 1,    # Number of towers that share a minibatch.
    lod_initial_resolution      = 4,    # Resolution at which training starts, the data's own: no growing; 1 to 1048576
    lod_training_kimg           = 600,  # Thousands of images shown at a resolution before the next one fades in;
                                        # a number from 0 to 1e9
    lod_transition_kimg         = 600,  # Thousands of images during which a new resolution fades in;
                                        # a number from 0 to 1e9
    minibatch_base              = 16,   # Images per minibatch over all towers; 1 to 1000000
    minibatch_dict              = None,  # Exceptions to it; a table of whole numbers from 1 to 1000000, or null
    max_minibatch_per_gpu       = None,  # Caps per tower; a table of whole numbers from 1 to 1000000, or null
    G_lrate_base                = 0.001,  # Learning rate of the generator; 0 to 10
    G_lrate_dict                = None,  # Exceptions to it; a table of numbers from 0 to 10, or null
    D_lrate_base                = 0.001,  # Learning rate of the discriminator; 0 to 10
    D_lrate_dict                = None,  # Exceptions to it; a table of numbers from 0 to 10, or null
    lrate_rampup_kimg           = 0,    # Thousands of images during which both rates rise linearly from zero;
                                        # a number from 0 to 1e9
    tick_kimg_base              = 160,  # Thousands of images between two reports; a number from 0.0001 to 1e9
    tick_kimg_dict              = DEFAULT_TICK_KIMG,  # Exceptions to it, null: the published table;
                                         # a table of numbers from 0.0001 to 1e9, or null
):
    """The state of the schedule after `cur_nimg` images, as an EasyDict.

    kimg: progress in thousands of images; lod: level of detail, 0 at full resolution, a fraction during a fade;
    resolution: the one being trained, which in a fade is the new one; minibatch: images over all towers;
    G_lrate, D_lrate: learning rates; tick_kimg: length of a tick that starts now.

    Raises UserError for settings that no run can follow.
    """
    resolution_log2 = data_resolution_log2(training_set)
    kimg = cur_nimg / 1000.0
    lod = _level_of_detail(kimg, resolution_log2, lod_initial_resolution, lod_training_kimg, lod_transition_kimg)
    resolution = 2 ** (resolution_log2 - int(math.floor(lod)))

    minibatch = _by_resolution(minibatch_dict, resolution, minibatch_base)
    minibatch -= minibatch % num_gpus
    cap = _by_resolution(max_minibatch_per_gpu, resolution, None)
    if cap is not None:
        minibatch = min(minibatch, cap * num_gpus)
    if minibatch < 1 or minibatch != int(minibatch):
        raise UserError(f'sched gives a minibatch of {minibatch} at resolution {resolution} on {num_gpus} device(s); '
                        'set sched.minibatch_base and sched.minibatch_dict to whole numbers that give every device '
                        'at least one image')

    rampup = min(kimg / lrate_rampup_kimg, 1.0) if lrate_rampup_kimg > 0 else 1.0
    tick_kimg = _by_resolution(DEFAULT_TICK_KIMG if tick_kimg_dict is None else tick_kimg_dict,
                               resolution, tick_kimg_base)
    return EasyDict(
        kimg=kimg, lod=lod, resolution=resolution, minibatch=int(minibatch),
        G_lrate=_by_resolution(G_lrate_dict, resolution, G_lrate_base) * rampup,
        D_lrate=_by_resolution(D_lrate_dict, resolution, D_lrate_base) * rampup,
        tick_kimg=tick_kimg)


def data_resolution_log2(training_set):
    """log2 of a data set's resolution (the longer side of its samples), or the integer itself."""
    return training_set if isinstance(training_set, int) else training_set.resolution_log2


def changes_phase(old_lod, new_lod):
    """True when a resolution starts or finishes fading in between two levels of detail."""
    return math.floor(old_lod) != math.floor(new_lod) or math.ceil(old_lod) != math.ceil(new_lod)


def _level_of_detail(kimg, resolution_log2, initial_resolution, training_kimg, transition_kimg):
    if initial_resolution < 1 or 2 ** int(math.log2(initial_resolution)) != initial_resolution:
        raise UserError(f'sched.lod_initial_resolution is {initial_resolution}; it must be a power of two such as 8')
    if training_kimg < 0 or transition_kimg < 0:
        raise UserError('sched.lod_training_kimg and sched.lod_transition_kimg must not be negative; they are '
                        f'{training_kimg} and {transition_kimg}')
    phase_kimg = training_kimg + transition_kimg
    # Later phases than a data set has levels are all the same, however short they are.
    phase = int(min(kimg / phase_kimg, resolution_log2 + 1)) if phase_kimg > 0 else 0
    lod = resolution_log2 - math.log2(initial_resolution) - phase
    if transition_kimg > 0:
        lod -= max(kimg - phase * phase_kimg - training_kimg, 0.0) / transition_kimg
    return max(lod, 0.0)


def _by_resolution(table, resolution, default):
    """Looks a resolution up in a table whose keys may be integers or, from JSON or a command line, strings."""
    for key, value in (table or {}).items():
        if int(key) == resolution:
            return value
    return default
