"""What metrics in the original's form call upon: `_evaluate(self, Gs, num_gpus)` and their helpers."""

import contextlib
import hashlib
import json
import os

import numpy as np

from dnnlib import tflib
from dnnlib.files import make_folders
from dnnlib.util import EasyDict
from metrics.context import LATENTS, chunk_rng
from metrics.scores import records
from metrics.scores.result import VALUE_FORMAT, Result


class OriginalForm:
    """A mixin of `metrics.base.MetricBase`, which sets `name` and, while it measures, `_ctx`."""

    _ctx = None         # The `metrics.context.Context` of the measurement that is under way.
    _results = ()       # What the last run found: EasyDicts of value, suffix and fmt.
    _eval_time = 0      # Seconds that it took.

    @contextlib.contextmanager
    def _measuring_in(self, ctx):
        """Makes the helpers below work. What the metric draws from numpy's global generator follows from the seed."""
        state = np.random.get_state()
        np.random.seed(ctx.seed & 0xFFFFFFFF)
        self._ctx, self._results = ctx, []
        try:
            yield
        finally:
            self._ctx = None
            np.random.set_state(state)

    # What the original's class knows of the measurement that is under way; None at other times.

    @property
    def _network_pkl(self):
        return self._ctx and self._ctx.network.path

    @property
    def _dataset_args(self):
        """Keywords of `load_dataset`, to which `data_dir` may be added. Raises UserError without a data set."""
        return self._ctx and self._ctx.dataset_keywords()

    @property
    def _mirror_augment(self):
        return self._ctx and self._ctx.mirror_augment

    def _reported(self):
        """The Result of what `_report_result` entered."""
        result = Result()
        for found in self._results:
            result.add(found.value, found.suffix, fmt=found.fmt)
        return result

    def _report_result(self, value, suffix='', fmt=VALUE_FORMAT):
        """Enters a value; its name is the metric's with the suffix."""
        self._results += [EasyDict(value=value, suffix=suffix, fmt=fmt)]

    def _get_dataset_obj(self):
        """The data set, at the network's resolution and in file order."""
        return self._ctx.dataset

    def _iterate_reals(self, minibatch_size):
        """Yields minibatches of reals without end, uint8 [N, C, H, W], in data set order, mirrored as in training."""
        chunk = 0
        while True:
            yield self._ctx.reals(chunk, minibatch_size)
            chunk += 1

    def _iterate_fakes(self, Gs, minibatch_size, num_gpus):
        """Yields minibatches of generated images without end, uint8 [N, C, H, W], without truncation."""
        chunk = 0
        while True:
            latents = chunk_rng(self._ctx.seed, LATENTS, chunk).randn(minibatch_size, *Gs.input_shapes[0][1:])
            labels = [self._ctx.labels(chunk, minibatch_size)] * (Gs.num_inputs - 1)
            yield Gs.run(latents, *labels, is_validation=True, num_gpus=num_gpus,
                         assume_frozen=True, output_transform=dict(func=tflib.convert_images_to_uint8))
            chunk += 1

    def _get_cache_file_for_reals(self, extension='pkl', **kwargs):
        """Path of a file for what the metric keeps of the reals; equal paths mean equal reals and keywords."""
        ctx = self._ctx
        key = dict(kwargs, metric=self.name, dataset=ctx.dataset.fingerprint, seed=ctx.seed,
                   mirror_augment=ctx.mirror_augment)
        digest = hashlib.sha256(json.dumps(records.plain(key), sort_keys=True).encode()).hexdigest()
        folder = os.path.join(ctx.cache_dir or ctx.scratch_dir, 'metrics')
        make_folders(folder)
        return os.path.join(folder, f'{self.name}-{digest[:40]}.{extension}')
