"""What every metric is: a class that measures one network and returns what it found, and the record that is kept of it.

Two forms fit in. Ours defines `_evaluate(self, ctx)` and returns a `Result`. The original's defines
`_evaluate(self, Gs, num_gpus)`, calls `_report_result` for each value and returns nothing.
"""

import inspect
import numbers
import os
import re
import time
import traceback
from collections import OrderedDict

from dnnlib.tflib.autosummary import autosummary
from dnnlib.util import EasyDict, StopRequested, UserError
from metrics.context import MetricFailure, open_context
from metrics.original_form import OriginalForm
from metrics.scores import records, standard, store
from metrics.scores.result import VALUE_FORMAT, Result

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('DummyMetric',)}

_MOST = 10 ** 9     # Of anything that settings count.


class MetricBase(OriginalForm):
    """One metric.

    Args:
        name: the metric's name, as in the presets; a name

    Attributes:
        settings: the arguments that it was made with, less its name, by name.
        record: that of the last run.
    """

    uses_dataset = False    # Whether reals are compared with.
    uses_networks = ()      # Names of the `FeatureNetworks` methods whose networks it needs.
    suffixes = ('',)        # What is added to the metric's name in the names of its values.
    better = None           # 'lower' or 'higher', where that holds for all its values.

    def __new__(cls, *args, **kwargs):
        metric = super().__new__(cls)
        names = list(inspect.signature(cls.__init__).parameters)[1:]
        metric.settings = EasyDict(zip(names, args), **kwargs)
        metric.settings.pop('name', None)
        return metric

    def __init__(self, name):
        if not isinstance(name, str) or not re.match(r'[A-Za-z0-9][\w.-]{0,99}\Z', name):
            raise UserError(f'a metric is called {name!r:.60}; letters, digits, dots, dashes and underscores are '
                            'expected, since files are named after it')
        self.name = name
        self.record = None

    def _check_numbers(self, least, **settings):
        """Raises UserError unless the settings are whole numbers of at least `least`, which something can have."""
        for key, value in settings.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
                raise UserError(f'{self.name}: {key} is {value!r:.60}; a whole number of at least {least} is expected')
            if value > _MOST:
                raise UserError(f'{self.name}: {key} is more than {_MOST}; nothing can be so large')

    def _check_share(self, least, most, **settings):
        """Raises UserError unless the settings are numbers, with or without a fraction, from `least` to `most`."""
        for key, value in settings.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not least <= value <= most:
                raise UserError(f'{self.name}: {key} is {value!r:.60}; a number from {least:g} to {most:g} is expected')

    def _evaluate(self, ctx):
        """Measures within a `metrics.context.Context` and returns a `Result`. Raises MetricFailure."""
        raise NotImplementedError

    # ---- Running

    def run(self, network_pkl, run_dir=None, dataset_args=None, mirror_augment=None, num_gpus=1, tf_config=None,
            log_results=True, **options):
        """Measures the Gs of a network pickle in a graph and session of its own.

        Args:
            network_pkl: whatever `training.network_files.locate.locate` finds: a path, a run, a released file's name.
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

    def run_in(self, ctx, log_results=True, tolerant=False):
        """Measures within an open context; see `run`. With `tolerant`, whatever fails is a null with its reason.

        Raises UserError for an image metric of something else.
        """
        ctx.begin_metric()
        start = time.time()
        with self._measuring_in(ctx):
            try:
                if self.uses_networks and not ctx.makes_images:
                    raise UserError(f'{self.name} measures images, but the generator makes samples of '
                                    f'{ctx.output_shape}; for points there are jsd and mode_coverage')
                result = self._call_evaluate(ctx) or self._reported()
                if not result.values:
                    raise MetricFailure('the metric reported no value')
            except MetricFailure as err:
                result = self._failed(str(err))
            except StopRequested:
                raise
            except Exception as err:
                if not tolerant:
                    raise
                result = self._failed(_reason(err))
        self._eval_time = time.time() - start
        self._results = [EasyDict(value=value, suffix=suffix, fmt=result.formats[suffix])
                         for suffix, value in result.values.items()]
        self.record = records.plain(self._make_record(ctx, result, self._eval_time))
        if log_results:
            self._log(ctx)
        return self.record

    def fail_in(self, ctx, err):
        """Records a null because of an error that came before anything was measured; `ctx`: a `context.Unopened`."""
        self.record = records.plain(self._make_record(ctx, self._failed(_reason(err)), 0.0))
        self._log(ctx)
        return self.record

    def _call_evaluate(self, ctx):
        is_original = len(inspect.signature(self._evaluate).parameters) > 1
        return self._evaluate(ctx.Gs, ctx.num_gpus) if is_original else self._evaluate(ctx)

    def _failed(self, reason):
        result = Result()
        result.problems.append(reason)
        for suffix in self.suffixes:
            result.add(float('nan'), suffix)
        return result

    def _make_record(self, ctx, result, seconds):
        record = OrderedDict(metric=self.name)
        if list(result.values) == ['']:
            record.update(value=result.values[''], standard_error=result.standard_errors[''])
        else:
            record.update(values=self._named(result.values), standard_errors=self._named(result.standard_errors))
        formats = {suffix: fmt for suffix, fmt in result.formats.items() if fmt != VALUE_FORMAT}
        if formats:
            record['formats'] = self._named(formats)
        num_samples = result.num_samples
        if num_samples is None:
            num_samples = getattr(self, 'num_images', getattr(self, 'num_samples', None))
        record.update(ctx.facts())
        record.update(
            num_samples=num_samples, is_reduced=standard.is_reduced(self.name, self.settings), settings=self.settings,
            seed=ctx.seed, problems=result.problems, notes=result.notes)
        record.update(records.environment())
        record.update(num_gpus=ctx.num_gpus, seconds=seconds, time=records.now(), details=result.details,
                      format=records.FORMAT)
        record['threads'] = ctx.threads
        return record

    def _named(self, by_suffix):
        return OrderedDict((self.name + suffix, value) for suffix, value in by_suffix.items())

    def _log(self, ctx):
        """Prints the line and stores record and line. The record comes first: nothing after it costs the score."""
        line = records.text_line(self.record)
        print(line, flush=True)
        if ctx.out_dir is not None:
            store.put(ctx.out_dir, self.record)
        if ctx.run_dir is not None and os.path.isdir(ctx.run_dir) and not ctx.is_untrained:
            path = os.path.join(ctx.run_dir, f'metric-{self.name}.txt')
            try:
                records.append_line(path, line)
            except OSError as err:
                print(f'warning: the line could not be added to {path}: {err.strerror}', flush=True)

    def get_result_str(self):
        """The line of the last run."""
        return records.text_line(self.record)

    def update_autosummaries(self):
        """Reports the last values to the event files, as `Metrics/<name>`."""
        for name, value in records.values_of(self.record).items():
            if value is not None:
                autosummary('Metrics/' + name, value)


def _reason(err):
    """Why a metric failed, in a line; the traceback of what is no user's mistake is printed."""
    reason = (str(err).splitlines() or [''])[0]
    if isinstance(err, UserError):
        return reason
    traceback.print_exception(type(err), err, err.__traceback__)
    return f'{type(err).__name__}: {reason}'


class DummyMetric(MetricBase):
    """Measures nothing; reports 0."""

    def _evaluate(self, ctx):
        result = Result()
        result.add(0.0)
        return result
