"""Metrics by name: presets, the base class that runs and records one, and groups of them.

The presets are what configurations, `run_metrics.py` and notebooks name. Their settings are those of the published
numbers; records of metrics with other settings say so.
"""

import contextlib
import os
import sys
import time
from collections import OrderedDict

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.tflib.autosummary import autosummary
from dnnlib.util import EasyDict, UserError, call_func_by_name
from metrics import networks, records
from metrics.arithmetic import standard_error_from_halves
from metrics.context import Context, MetricFailure

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('DummyMetric',)}

_FID = 'metrics.frechet_inception_distance.FID'
_PPL = 'metrics.perceptual_path_length.PPL'

# Names that configurations and --help know. FID, PPL and LS are those of the StyleGAN paper.
fid50k = EasyDict(name='fid50k', func_name=_FID, num_images=50000, minibatch_per_gpu=8)
fid50k_mix2 = EasyDict(name='fid50k_mix2', func_name=_FID, num_images=50000, minibatch_per_gpu=8, num_mixed=2)
fid50k_mix3 = EasyDict(name='fid50k_mix3', func_name=_FID, num_images=50000, minibatch_per_gpu=8, num_mixed=3)
fid50k_mix4 = EasyDict(name='fid50k_mix4', func_name=_FID, num_images=50000, minibatch_per_gpu=8, num_mixed=4)
ppl_zfull = EasyDict(name='ppl_zfull', func_name=_PPL, num_samples=100000, epsilon=1e-4, space='z', sampling='full',
                     minibatch_per_gpu=16)
ppl_wfull = EasyDict(name='ppl_wfull', func_name=_PPL, num_samples=100000, epsilon=1e-4, space='w', sampling='full',
                     minibatch_per_gpu=16)
ppl_zend = EasyDict(name='ppl_zend', func_name=_PPL, num_samples=100000, epsilon=1e-4, space='z', sampling='end',
                    minibatch_per_gpu=16)
ppl_wend = EasyDict(name='ppl_wend', func_name=_PPL, num_samples=100000, epsilon=1e-4, space='w', sampling='end',
                    minibatch_per_gpu=16)
ls = EasyDict(name='ls', func_name='metrics.linear_separability.LS', num_samples=200000, num_keep=100000,
              minibatch_per_gpu=4)
kid50k = EasyDict(name='kid50k', func_name='metrics.kernel_inception_distance.KID', num_images=50000,
                  minibatch_per_gpu=8)
pr50k = EasyDict(name='pr50k', func_name='metrics.precision_recall.PR', num_images=50000, minibatch_per_gpu=8)
nearest = EasyDict(name='nearest', func_name='metrics.nearest_images.NearestImages', num_images=16,
                   minibatch_per_gpu=16)
dummy = EasyDict(name='dummy', func_name='metrics.metric_base.DummyMetric')

# Settings for a first look or a small machine, by the metric's class. Their records say `is_reduced`.
_QUICK = {
    _FID: dict(num_images=5000, minibatch_per_gpu=25),
    _PPL: dict(num_samples=2000, minibatch_per_gpu=20),
    'metrics.linear_separability.LS': dict(num_samples=4000, num_keep=2000, minibatch_per_gpu=40),
    'metrics.kernel_inception_distance.KID': dict(num_images=5000, minibatch_per_gpu=25),
    'metrics.precision_recall.PR': dict(num_images=2000, minibatch_per_gpu=25),
}


def preset_names():
    """Names of all presets, in the order above."""
    return [name for name, value in globals().items() if isinstance(value, EasyDict)]


def preset(name, quick=False, **changes):
    """Keyword arguments of the metric called `name`. Raises UserError for an unknown one."""
    if name not in preset_names():
        raise UserError(f"there is no metric '{name}'; choose among {', '.join(preset_names())}")
    kwargs = EasyDict(globals()[name])
    if quick:
        kwargs.update(_QUICK.get(kwargs.func_name, {}))
    kwargs.update(changes)
    return kwargs


class MetricBase:
    """One metric. A subclass defines `_evaluate(ctx)`, which calls `_report` and returns nothing.

    Args:
        name: the metric's name, as in the presets.
    """

    uses_dataset = False    # Whether reals are compared with.
    uses_networks = ()      # Names of the `FeatureNetworks` methods whose networks it needs.
    suffixes = ('',)        # What is added to the metric's name in the names of its values.

    def __init__(self, name):
        self.name = name
        self._settings = EasyDict()
        self.record = None
        self._clear()

    def _clear(self):
        self._values = OrderedDict()
        self._errors = OrderedDict()
        self._details = OrderedDict()
        self._problems = []
        self._notes = []
        self._networks = OrderedDict()
        self._uses_reals = False
        self._num_samples = None

    # ---- For subclasses

    def _evaluate(self, ctx):
        raise NotImplementedError

    def _report(self, value, suffix='', standard_error=None):
        """Adds a result; its name is the metric's with the suffix."""
        self._values[self.name + suffix] = float(value)
        if standard_error is not None:
            self._errors[self.name + suffix] = float(standard_error)

    def _report_halves(self, value, pairs, suffix=''):
        """Adds a result with its standard error from scores of disjoint halves, [R, 2]."""
        self._report(value, suffix, standard_error_from_halves(pairs))

    def _use(self, ctx, method, *args):
        """A feature network of the context, entered into the record."""
        network = getattr(ctx.features, method)(*args)
        self._networks['-'.join([method] + [str(arg) for arg in args])] = network.record
        return network

    def _use_reals(self, ctx):
        """The data set, entered into the record."""
        self._uses_reals = True
        return ctx.dataset

    # ---- Running

    def run(self, network_pkl, run_dir=None, dataset_args=None, mirror_augment=None, num_gpus=1, tf_config=None,
            log_results=True, **options):
        """Measures the Gs of a network pickle in a graph and session of its own.

        Args:
            network_pkl: path, released file's name, address, or run directory (its newest snapshot).
            run_dir: run that the network comes from: gives the data set and mirroring, gets the results.
            dataset_args: `training.dataset.load_dataset` keywords, instead of the run's.
            mirror_augment: whether reals are mirrored at random; None: as the run did.
            num_gpus, tf_config: devices, and settings of the session.
            log_results: print a line, append it to `metric-<name>.txt` and write the JSON record, where there is a
                folder for it.
            **options: of `open_context`.

        Returns:
            The record (a dict), which is also kept as `self.record`.
        """
        with open_context(network_pkl, run_dir=run_dir, dataset_args=dataset_args, mirror_augment=mirror_augment,
                          num_gpus=num_gpus, tf_config=tf_config, **options) as ctx:
            return self.run_in(ctx, log_results)

    def run_in(self, ctx, log_results=True):
        """Measures within an open context; see `run`."""
        self._clear()
        start = time.time()
        try:
            self._evaluate(ctx)
        except MetricFailure as err:
            for suffix in self.suffixes:
                self._values.setdefault(self.name + suffix, float('nan'))
            self._problems.append(str(err))
        self.record = records.plain(self._make_record(ctx, time.time() - start))
        if log_results:
            self._log(ctx)
        return self.record

    def _make_record(self, ctx, seconds):
        record = OrderedDict(metric=self.name)
        if list(self._values) == [self.name]:
            record['value'] = self._values[self.name]
            record['standard_error'] = self._errors.get(self.name)
        else:
            record['values'] = self._values
            record['standard_errors'] = self._errors
        used = self._networks
        record.update(
            network=ctx.network_name, network_file=os.path.abspath(ctx.network_path),
            network_sha256=ctx.network_sha256,
            dataset_fingerprint=ctx.dataset.fingerprint if self._uses_reals else None,
            dataset_images=ctx.dataset.num_images if self._uses_reals else None,
            mirror_augment=ctx.mirror_augment if self._uses_reals else None,
            feature_networks=used,
            is_standin=any(network['is_standin'] for network in used.values()),
            num_samples=self._num_samples,
            is_reduced=self.is_reduced(),
            settings=self._settings, seed=ctx.seed, problems=self._problems, notes=self._notes)
        record.update(records.environment())
        record.update(num_gpus=ctx.num_gpus, seconds=seconds, time=records.now(), details=self._details,
                      format=records.FORMAT)
        record['threads'] = ctx.threads
        return record

    def is_reduced(self):
        """Whether settings differ from those of the published numbers; None for names that have none."""
        if self.name not in preset_names():
            return None
        standard = preset(self.name)
        counts = {key: value for key, value in standard.items() if key.startswith('num_') or key == 'epsilon'}
        return any(self._settings.get(key, value) != value for key, value in counts.items())

    def _log(self, ctx):
        line = records.text_line(self.record)
        print(line, flush=True)
        if ctx.run_dir is not None and os.path.isdir(ctx.run_dir) and not ctx.is_untrained:
            records.append_line(os.path.join(ctx.run_dir, f'metric-{self.name}.txt'), line)
        if ctx.out_dir is not None:
            records.write_record(os.path.join(ctx.out_dir, self.name + '.json'), self.record)

    def get_result_str(self):
        """The line of the last run."""
        return records.text_line(self.record)

    def update_autosummaries(self):
        """Reports the last values to the event files, as `Metrics/<name>`."""
        for name, value in records.values_of(self.record).items():
            if value is not None:
                autosummary('Metrics/' + name, value)


class DummyMetric(MetricBase):
    """Measures nothing; reports 0."""

    def _evaluate(self, ctx):
        self._report(0.0)


class MetricGroup:
    """Several metrics of the same network, in one session.

    Args:
        metric_kwarg_list: names of presets, or dicts with `func_name` and keywords, which may name a `preset` whose
            settings they change.
    """

    def __init__(self, metric_kwarg_list):
        self.metrics = [make_metric(spec) for spec in metric_kwarg_list]

    def run(self, network_pkl, log_results=True, **kwargs):
        """Measures them all; see `MetricBase.run`. Returns the records. Keeps the best FID's snapshot of a run.

        Raises StopRequested as soon as the option `should_stop` says so; what is measured by then is recorded.
        """
        if not self.metrics:
            return []
        with open_context(network_pkl, **kwargs) as ctx:
            found = []
            for metric in self.metrics:
                found.append(metric.run_in(ctx, log_results))
                if log_results and ctx.run_dir is not None:
                    from metrics import best_snapshot
                    best_snapshot.update(ctx.run_dir, ctx.network_path, found[-1])
            return found

    def get_result_str(self):
        """The lines of the last run, joined."""
        return ' '.join(metric.get_result_str() for metric in self.metrics)

    def update_autosummaries(self):
        """Reports the last values to the event files."""
        for metric in self.metrics:
            metric.update_autosummaries()


def make_metric(spec):
    """A metric from a preset's name or from keyword arguments. Raises UserError."""
    kwargs = preset(spec) if isinstance(spec, str) else EasyDict(spec)
    if 'preset' in kwargs:
        kwargs = preset(kwargs.pop('preset'), **kwargs)
    if 'func_name' not in kwargs:
        raise UserError(f'a metric is given as {dict(kwargs)}; a name of a preset or a func_name is missing')
    try:
        metric = call_func_by_name(**kwargs)
    except (ImportError, TypeError) as err:
        raise UserError(f"the metric {kwargs.get('name', kwargs.func_name)} cannot be made: {err}") from err
    metric._settings = EasyDict((key, value) for key, value in kwargs.items() if key not in ('name', 'func_name'))
    return metric


@contextlib.contextmanager
def open_context(network_pkl, run_dir=None, dataset_args=None, mirror_augment=None, num_gpus=1, tf_config=None,
                 seed=0, features='auto', feature_settings=None, out_dir=None, cache_dir='default',
                 trust_stored_code=False, untrained=False, should_stop=None):
    """Yields a `Context` for one network, in a fresh graph and session.

    Args:
        network_pkl, run_dir, dataset_args, mirror_augment, num_gpus, tf_config: see `MetricBase.run`.
        seed: all random numbers follow from it.
        features: 'released', 'standin', or 'auto': stand-ins for drawn faces, else the released networks.
        feature_settings: see `networks.FeatureNetworks`.
        out_dir: folder of JSON records; default: `metrics/<snapshot>` in the run directory, if there is one.
        cache_dir: folder of statistics of reals; None: not kept.
        trust_stored_code: execute code stored in the pickle where its build function is not ours.
        should_stop: function that is asked between chunks whether to break off with StopRequested; None: never.
        untrained: give the network fresh initial weights, for a baseline; its name gets the suffix `-untrained`.
    """
    from dnnlib.tflib import safe_pickle
    path = locate_network(network_pkl)
    if run_dir is None and os.path.isfile(os.path.join(os.path.dirname(path), 'submit_config.json')) \
            and dataset_args is None:
        dataset_args, mirrored = run_data(os.path.dirname(path))
        mirror_augment = mirrored if mirror_augment is None else mirror_augment
    elif run_dir is not None and dataset_args is None:
        dataset_args, mirrored = run_data(run_dir)
        mirror_augment = mirrored if mirror_augment is None else mirror_augment
    if cache_dir == 'default':
        import config
        cache_dir = config.cache_dir
    if out_dir is None and run_dir is not None:
        out_dir = os.path.join(run_dir, 'metrics', os.path.splitext(os.path.basename(path))[0])
    tf_config = dict({'gpu_options.allow_growth': True, 'allow_soft_placement': True}, **dict(tf_config or {}))
    if tflib.device_kind() == 'cpu':
        tf_config['device_count.CPU'] = max(num_gpus, tf_config.get('device_count.CPU', 1))
    with tf.Graph().as_default():
        tf.set_random_seed(seed & 0x7FFFFFFF)
        with tflib.create_session(tf_config).as_default():
            with tf.device(tflib.device_name(0)):
                loaded = safe_pickle.load_network_pickle(path, trust_stored_code=trust_stored_code, expect='any')
                Gs = loaded[2] if isinstance(loaded, tuple) else loaded
                Gs.input_shapes  # noqa: B018  (builds the network here, on this device)
            ctx = Context(Gs, path, dataset_args, mirror_augment, num_gpus, seed, features, feature_settings,
                          cache_dir, run_dir, out_dir, should_stop)
            if untrained:
                Gs.reset_vars()
                ctx.is_untrained = True
                ctx.network_name += '-untrained'
                ctx.network_sha256 = networks.weights_hash(Gs)
            ctx.threads = [tf_config.get(f'{kind}_op_parallelism_threads', 0) for kind in ('intra', 'inter')]
            try:
                yield ctx
            finally:
                ctx.close()


def locate_network(text):
    """Path of the network that a user names: file, released file's name, address, or run. Raises UserError."""
    from dnnlib import artifacts
    from training import misc
    text = os.fspath(text)
    path = None if os.path.isdir(text) else artifacts.resolve(text)
    return path if path is not None else misc.locate_network_pkl(text)


def run_data(run_dir):
    """(data set arguments, mirror_augment) of a run, from its record; (None, False) where there is none."""
    from dnnlib import registry
    from dnnlib.submission import read_submit_config
    try:
        record = read_submit_config(run_dir)
    except UserError as err:
        print(f'note: {err}', file=sys.stderr)
        return None, False
    run_config = record['config']
    args = {key: value for key, value in run_config.get('dataset', {}).items() if value is not None}
    if 'class_name' in args:
        registry.check('dataset', args['class_name'], f'dataset.class_name in the record of {run_dir}')
    args['data_dir'] = record.get('data_dir')
    return args, bool(run_config.get('train', {}).get('mirror_augment', False))
