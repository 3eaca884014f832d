"""Metrics under the published name of this module: presets, their base class, and groups of them."""

from metrics.base import DummyMetric, MetricBase  # noqa: F401  (names that programs and configurations use)
from metrics.context import open_context  # noqa: F401
from metrics.group import MetricGroup, make_metric  # noqa: F401
from metrics.presets import (  # noqa: F401
    dummy,
    fid50k,
    fid50k_decoded,
    fid50k_mix2,
    fid50k_mix3,
    fid50k_mix4,
    kid50k,
    ls,
    nearest,
    ppl_wend,
    ppl_wfull,
    ppl_zend,
    ppl_zfull,
    pr50k,
    preset,
    preset_names,
)

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('DummyMetric',)}
