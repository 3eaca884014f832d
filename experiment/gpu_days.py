"""A forecast of the days that one V100 would need for a named configuration, scaled from the one duration published."""

import math

import config as folders
from dnnlib.util import EasyDict
from experiment import facts, forecast, phases, run_config, settings

# "approximately one week on an NVIDIA DGX-1 with 8 Tesla V100 GPUs" (StyleGAN paper, section 8).
PUBLISHED, PUBLISHED_DAYS = 'ffhq-1024', 7 * 8.0
DEFAULT_RESOLUTION = 256


def gpu_days(config_name):
    """Days on one V100, or None for networks whose cost is not known. Raises UserError for unknown configurations."""
    cost = _cost(config_name)
    return None if cost is None else PUBLISHED_DAYS * cost / _cost(PUBLISHED)


def _cost(config_name):
    """Cost of a whole training in units that cancel when configurations are compared; None: not known."""
    config, _ = run_config.load(config_name, folders.config_dir)
    if not settings.is_adversarial(config):
        return None
    resolution = config.dataset.get('resolution') or DEFAULT_RESOLUTION
    channels = facts.CODE_CHANNELS if config.G.func_name == 'training.networks_accel.G_accel' else 3
    data = EasyDict(shape=[channels, resolution, resolution], label_size=0)
    sizes = forecast.network_sizes(config.G, config.D, data)
    if sizes is None:
        return None
    parts = phases.make_phases(config, int(math.log2(resolution)))
    return sum((part.end_kimg - part.start_kimg) * forecast.relative_cost(sizes, part.resolution) for part in parts)
