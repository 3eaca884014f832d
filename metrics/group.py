"""Metrics made from their presets, several of the same network in one session."""

import contextlib

from dnnlib.command_line import typed
from dnnlib.util import StopRequested, UserError, call_func_by_name
from metrics.context import Unopened, open_context
from metrics.presets import settings_of
from metrics.scores.own import own_protocol
from metrics.share import Alone, OthersFailed, Share
from training.network_files import best


class MetricGroup:
    """Several metrics of the same network, in one session.

    Args:
        metric_kwarg_list: names of presets, or dicts; see `metrics.presets.settings_of`.
    """

    def __init__(self, metric_kwarg_list):
        self.metrics = [make_metric(spec) for spec in metric_kwarg_list]

    def run(self, network_pkl, log_results=True, tolerant=False, is_shared=False, **kwargs):
        """Measures them all; see `MetricBase.run`. Returns the records. Keeps the best FID's snapshot of a run.

        With `is_shared`, the processes of a training do it together: all call this.

        With `tolerant`, a metric that fails is a null with its reason, and the others are measured all the same; a
        network or labels that cannot be opened make nulls of them all.

        Raises StopRequested as soon as the option `should_stop` says so; what is measured by then is recorded.
        """
        if not self.metrics:
            return []
        with contextlib.ExitStack() as stack:
            share = stack.enter_context(contextlib.closing(Share())) if is_shared else Alone()
            try:
                ctx = self._open_together(share, stack, network_pkl, kwargs)
            except StopRequested:
                share.finish(stops=True)
            except Exception as err:
                if not tolerant:
                    raise
                if not log_results:
                    return []
                facts = {key: kwargs[key] for key in ('run_dir', 'out_dir', 'seed', 'num_gpus') if key in kwargs}
                return [metric.fail_in(Unopened(network_pkl, **facts), err) for metric in self.metrics]
            found = []
            for metric in self.metrics:
                try:
                    found.append(metric.run_in(ctx, log_results, tolerant))
                except StopRequested:
                    ctx.share.finish(stops=True)
                ctx.share.finish()
                if log_results:
                    update_best(ctx, found[-1])
            return found

    @staticmethod
    def _open_together(share, stack, network_pkl, kwargs):
        """The context, which knows the share in it. Where another process cannot open it, this one measures alone or,
        if it is not the first, not at all: OthersFailed."""
        ctx = failure = None
        try:
            share.count(False)  # the first has stored the network
            ctx = stack.enter_context(open_context(network_pkl, **kwargs))
        except StopRequested:
            raise
        except Exception as err:
            failure = err
        is_whole = share.count(failure is None) == share.size
        if failure is not None:
            raise failure
        if is_whole:
            ctx.share = share
        elif share.number > 0:
            raise OthersFailed('another process of the training cannot open the network')
        return ctx

    def get_result_str(self):
        """The lines of the last run, joined."""
        return ' '.join(metric.get_result_str() for metric in self.metrics)

    def update_autosummaries(self):
        """Reports the last values to the event files."""
        for metric in self.metrics:
            metric.update_autosummaries()


def update_best(ctx, record):
    """Chooses the best snapshot of the context's run anew. What keeps it from being kept is told, and ends nothing."""
    if ctx.run_dir is None or ctx.is_untrained:
        return
    try:
        own = own_protocol(ctx.run_dir, record['metric'])
        best.update(ctx.run_dir, record, own)
    except (OSError, UserError) as err:
        print(typed(f'warning: the best snapshot of {ctx.run_dir} was not chosen anew: {err}'), flush=True)


def make_metric(spec):
    """A metric from a preset's name or from keyword arguments. Raises UserError."""
    kwargs = settings_of(spec)
    try:
        return call_func_by_name(**kwargs)
    except UserError:
        raise
    except Exception as err:  # a class of somebody else's may raise anything
        raise UserError(f"the metric {kwargs.get('name', kwargs.func_name)} cannot be made: {err}") from err
