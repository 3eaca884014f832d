"""Several metrics of one network with a record each, where what is measured already is not measured again.

TensorFlow is imported with the first job, so that wrong names of networks and data sets are answered at once.
"""

import os

from data.records import dataset
from data.records.source import image_arguments
from dnnlib import artifacts, tflib
from dnnlib.files import results_folder
from dnnlib.util import UserError, sha256_file
from metrics.networks.choice import STANDIN, choose_source
from metrics.scores import records, store
from training.network_files import best, labels


class Job:
    """What to measure on a network.

    Args:
        metric_specs: as for `MetricGroup`.
        network: `training.network_files.locate.Located`.
        out_dir: folder of the records.
        other_dirs: further folders whose records count as done.
        dataset_args, mirror_augment, num_gpus, seed, features, feature_settings, run_dir, tf_config, cache_dir,
            trust_stored_code, labels: as for `context.open_context`, but that nothing is taken from a run (see
            `training.network_files.data.data_of`).
        keep_planes: file for the planes of linear separability, in a folder that is there, or None.

    Attributes:
        has_failed: whether a value of the last `run` is a null.
    """

    def __init__(self, metric_specs, network, out_dir, dataset_args=None, mirror_augment=False, num_gpus=1,
                 seed=0, features='auto', run_dir=None, keep_planes=None, other_dirs=(),
                 **options):
        from metrics.group import make_metric
        self.metrics = [make_metric(spec) for spec in metric_specs]
        if keep_planes is not None:
            fitting = [metric for metric in self.metrics if hasattr(metric, 'keep_planes')]
            if not fitting:
                raise UserError('--keep-planes keeps the planes of linear separability; name the metric ls')
            fitting[0].keep_planes = keep_planes
        self.network = network
        self.out_dir = out_dir
        self.other_dirs = list(other_dirs)
        self.features = features
        self.has_failed = False
        folder = (options.get('feature_settings') or {}).get('classifiers')
        self._classifiers = os.path.abspath(folder) if folder else None
        self._options = dict(options, dataset_args=dataset_args, mirror_augment=mirror_augment, num_gpus=num_gpus,
                             seed=seed, run_dir=run_dir)

    def done(self, metric):
        """(path, record) of a metric's good record of this very protocol; None if there is none."""
        return next(((path, record) for folder in [self.out_dir] + self.other_dirs
                     for path, record in store.find(folder, metric.name) if self._is_as_asked(metric, record)), None)

    def run(self, again=True, tolerant=False):
        """Measures; with `again=False` only what is not done. Returns the records of all metrics.

        With `tolerant=True` a metric whose data or networks are missing is left out, saying so.
        """
        self.features = choose_source(self.features, self._options['dataset_args'])
        found = {} if again else {metric.name: self.done(metric) for metric in self.metrics}
        found = {name: done for name, done in found.items() if done is not None}
        for name, (path, _) in found.items():
            print(f'{name} of {self.network.name} is measured already ({path})', flush=True)
        pending = [metric for metric in self.metrics if metric.name not in found]
        if not pending:
            return [found[metric.name][1] for metric in self.metrics]
        from metrics.context import open_located
        from metrics.group import update_best
        with results_folder(self.out_dir, 'choose another one with --out'), \
                open_located(self.network, self.features, out_dir=self.out_dir, **self._options) as ctx:
            for metric in pending:
                try:
                    found[metric.name] = None, metric.run_in(ctx)
                except UserError as err:
                    if not tolerant:
                        raise
                    print(f'{metric.name} is left out: {err}', flush=True)
                    continue
                update_best(ctx, metric.record)
        measured = [found[metric.name][1] for metric in self.metrics if metric.name in found]
        self.has_failed = any(None in records.values_of(record).values() for record in measured)
        return measured

    def _is_as_asked(self, metric, record):
        if None in records.values_of(record).values():
            return False
        wanted = dict(metric=metric.name, seed=self._options['seed'],
                      network_sha256=self.network.sha256, engine=tflib.ENGINE,
                      tensorflow=tflib.tf.__version__, device=tflib.device_kind(),
                      is_standin=bool(metric.uses_networks) and self.features == STANDIN
                      and not (self._classifiers and metric.uses_networks == ('classifier',)))
        own = {network.get('folder') for network in record['feature_networks'].values()}
        if 'classifier' in metric.uses_networks and own != {self._classifiers}:
            return False
        if getattr(metric, 'reference', None) is not None:
            wanted.update(metric.reference.as_reals())
        elif metric.uses_dataset:
            wanted.update(mirror_augment=bool(self._options['mirror_augment']),
                          dataset_fingerprint=_fingerprint(self._options['dataset_args'], record))
        if best.without_unnamed(records.plain(metric.settings)) != best.without_unnamed(record.get('settings') or {}):
            return False
        return all(record.get(key) == value for key, value in wanted.items()) \
            and all(map(_is_present, record['feature_networks'].values())) \
            and labels.is_as_asked(record, self._options.get('labels'), self.network.path)


def _fingerprint(dataset_args, record):
    """Fingerprint of the data set as the record's network would use it."""
    args = dataset.in_file_order(image_arguments(dataset_args) or {})
    args.pop('max_label_size', None)
    try:
        with dataset.load_dataset(**args) as data:
            found = data.fingerprint
    except (UserError, TypeError):
        return None
    # A lower level of the same set carries its resolution in its fingerprint.
    stored = record.get('dataset_fingerprint') or ''
    return stored if stored.startswith(found) else found


def _is_present(network):
    """Whether the feature network that a record names is the one that would be taken now."""
    if network['is_standin']:
        from metrics.networks import standin
        return all(network.get(key) == value for key, value in standin.hashes().items())
    if network.get('folder'):   # one of the user's own
        path = os.path.join(network['folder'], network['file'])
    else:
        path = artifacts.find(network['file'])
    return bool(path) and os.path.isfile(path) and sha256_file(path) == network['file_sha256']
