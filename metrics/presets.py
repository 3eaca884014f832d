"""Metrics by name: what configurations, `run_metrics.py` and notebooks call for. No TensorFlow is imported.

A preset is a dict of the metric's name, the name of its class, and the class's settings. Whoever changes one
(`fid50k.update(num_images=5000)`) changes what its name calls for in this process; records then say so.
"""

from collections import OrderedDict

from dnnlib.util import EasyDict, UserError
from dnnlib.values import signatures
from metrics.scores import standard

_FID = 'metrics.frechet_inception_distance.FID'
_PPL = 'metrics.perceptual_path_length.PPL'
_LS = 'metrics.linear_separability.LS'
_KID = 'metrics.kernel_inception_distance.KID'
_PR = 'metrics.precision_recall.PR'
_JSD = 'metrics.points.jsd.JSD'

PRESETS = OrderedDict()     # name -> preset; what is entered here is known everywhere

OF_SETS = ('fid', 'kid', 'pr')      # metrics of two sets of images, see metrics.sets

# Settings for a first look or a small machine, by the metric's class. Their records say `is_reduced`.
QUICK = {
    _FID: dict(num_images=5000, minibatch_per_gpu=25),
    'metrics.frechet_inception_distance.DecodedFID': dict(num_images=5000, minibatch_per_gpu=25),
    _PPL: dict(num_samples=2000, minibatch_per_gpu=20),
    _LS: dict(num_samples=4000, num_keep=2000, minibatch_per_gpu=40),
    _KID: dict(num_images=5000, minibatch_per_gpu=25),
    _PR: dict(num_images=2000, minibatch_per_gpu=25),
    _JSD: dict(num_samples=20000, num_steps=1000),
}


def register(name, func_name, **settings):
    """Enters a preset and returns it. `func_name` is the full name of a subclass of `metrics.base.MetricBase`."""
    PRESETS[name] = EasyDict(name=name, func_name=func_name, **settings)
    return PRESETS[name]


def _standard(name, func_name):
    return register(name, func_name, **standard.SETTINGS[name])


fid50k = _standard('fid50k', _FID)
fid50k_mix2 = _standard('fid50k_mix2', _FID)
fid50k_mix3 = _standard('fid50k_mix3', _FID)
fid50k_mix4 = _standard('fid50k_mix4', _FID)
fid50k_decoded = _standard('fid50k_decoded', 'metrics.frechet_inception_distance.DecodedFID')
ppl_zfull = _standard('ppl_zfull', _PPL)
ppl_wfull = _standard('ppl_wfull', _PPL)
ppl_zend = _standard('ppl_zend', _PPL)
ppl_wend = _standard('ppl_wend', _PPL)
ls = _standard('ls', _LS)
kid50k = _standard('kid50k', _KID)
pr50k = _standard('pr50k', _PR)
nearest = _standard('nearest', 'metrics.nearest_images.NearestImages')
jsd = _standard('jsd', _JSD)
mode_coverage = _standard('mode_coverage', 'metrics.points.mode_coverage.ModeCoverage')
dummy = _standard('dummy', 'metrics.base.DummyMetric')


def preset_names():
    """Names of all presets, in the order in which they were entered."""
    return list(PRESETS)


def preset(name, quick=False, options=None, **changes):
    """A copy of the preset called `name`, with changes. Raises UserError for an unknown one.

    `options`: settings in which the papers and the released code part, of which those that it has are taken.
    """
    if name not in PRESETS:
        hint = f'; {name} compares folders and data sets: --images and --reference' if name in OF_SETS else ''
        raise UserError(f"there is no metric '{name}' of a network; choose among {', '.join(PRESETS)}{hint}")
    kwargs = EasyDict(PRESETS[name])
    if quick:
        kwargs.update(QUICK.get(kwargs.func_name, {}))
    kwargs.update((key, value) for key, value in (options or {}).items() if key in standard.options_of(name))
    kwargs.update(changes)
    return kwargs


def chosen(names, quick=False, num_samples=None, options=None):
    """The presets of these names, with `num_samples` in place of their numbers of samples; `options`: see `preset`.

    Raises UserError.
    """
    if num_samples is not None and num_samples < 1:
        raise UserError(f'--num-samples is {num_samples}; at least 1 is expected')
    specs = [preset(name.strip(), quick, options) for name in names]
    for spec in specs if num_samples is not None else []:
        spec.update((key, num_samples) for key in ('num_images', 'num_samples') if key in spec)
        if 'num_keep' in spec:
            spec['num_keep'] = max(num_samples // 2, 1)
    return specs


def of_sets(names):
    """These names of metrics of two sets of images, without spaces. Raises UserError for others."""
    names = [name.strip() for name in names]
    unknown = [name for name in names if name not in OF_SETS]
    if unknown:
        raise UserError(f"there is no metric '{unknown[0]}' of two sets of images; choose among {', '.join(OF_SETS)}")
    return names


def uses_dataset(spec):
    """Whether a metric in a configuration compares with reals of a data set."""
    settings = settings_of(spec)
    return not settings.get('reference') and bool(signatures.class_constant(settings['func_name'], 'uses_dataset'))


def with_reference(specs, path):
    """The presets with a file of statistics in place of reals. Raises UserError where these do not do for a metric."""
    for spec in specs:
        if spec.func_name != _FID:
            raise UserError(f'--reference: statistics do for Frechet distances alone, such as fid50k; {spec.name} '
                            'needs a data set, with --dataset')
        spec.update(reference=path)
    return specs


def better(spec):
    """'lower' or 'higher', whichever the values of a metric in a configuration should be; None where neither is."""
    return signatures.class_constant(settings_of(spec)['func_name'], 'better')


def settings_of(spec):
    """The keyword arguments, `func_name` included, that a metric in a configuration stands for. Raises UserError.

    `spec` is a preset's name, or a dict with `func_name` and keywords, which may name a `preset` that it changes.
    """
    kwargs = preset(spec) if isinstance(spec, str) else EasyDict(spec)
    if 'preset' in kwargs:
        changes = kwargs
        kwargs = preset(changes.pop('preset'))
        kwargs.update(changes)
    if 'func_name' not in kwargs:
        raise UserError(f'a metric is given as {dict(kwargs)}; a name of a preset or a func_name is missing')
    return kwargs
