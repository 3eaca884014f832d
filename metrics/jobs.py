"""Several metrics of one network with a record each, where what is measured already is not measured again."""

import os

from data.records import dataset
from data.records.source import image_arguments
from dnnlib import artifacts, tflib
from dnnlib.util import UserError, sha256_file
from metrics.context import open_context
from metrics.group import make_metric, update_best
from metrics.networks import standin
from metrics.networks.choice import STANDIN, choose_source
from metrics.scores import records
from training.network_files.locate import locate


class Job:
    """What to measure on a network.

    Args:
        metric_specs: as for `MetricGroup`.
        network: the network, as `training.network_files.locate.locate` takes it.
        out_dir: folder of the records.
        dataset_args, mirror_augment, num_gpus, seed, features, feature_settings, run_dir, tf_config, cache_dir,
            trust_stored_code: as for `open_context`.
    """

    def __init__(self, metric_specs, network, out_dir, dataset_args=None, mirror_augment=False, num_gpus=1,
                 seed=0, features='auto', run_dir=None, **options):
        self.metrics = [make_metric(spec) for spec in metric_specs]
        self.network = locate(network)
        self.out_dir = out_dir
        self.features = choose_source(features, dataset_args)
        self._options = dict(options, dataset_args=dataset_args, mirror_augment=mirror_augment, num_gpus=num_gpus,
                             seed=seed, features=self.features, run_dir=run_dir)

    def record_path(self, metric):
        """Where a metric's record goes."""
        return os.path.join(self.out_dir, metric.name + '.json')

    def pending(self):
        """The metrics that have no good record of this very protocol yet."""
        return [metric for metric in self.metrics if not self._is_done(metric)]

    def run(self, again=True, tolerant=False):
        """Measures; with `again=False` only what is pending. Returns the records of all metrics.

        With `tolerant=True` a metric whose data or networks are missing is left out, saying so.
        """
        pending, left_out = (self.metrics if again else self.pending()), []
        for metric in self.metrics:
            if metric not in pending:
                print(f'{metric.name} of {self.network.name} is measured already '
                      f'({self.record_path(metric)})', flush=True)
        if pending:
            with open_context(self.network, out_dir=self.out_dir, **self._options) as ctx:
                for metric in pending:
                    try:
                        record = metric.run_in(ctx)
                    except UserError as err:
                        if not tolerant:
                            raise
                        print(f'{metric.name} is left out: {err}', flush=True)
                        left_out.append(metric)
                        continue
                    update_best(ctx, record)
        return [records.read_record(self.record_path(metric)) for metric in self.metrics if metric not in left_out]

    def _is_done(self, metric):
        try:
            record = records.read_record(self.record_path(metric))
        except UserError:
            return False
        if None in records.values_of(record).values():
            return False
        wanted = dict(metric=metric.name, settings=records.plain(metric.settings), seed=self._options['seed'],
                      network_sha256=sha256_file(self.network.path), engine=tflib.ENGINE,
                      tensorflow=tflib.tf.__version__, device=tflib.device_kind(),
                      is_standin=bool(metric.uses_networks) and self.features == STANDIN)
        if metric.uses_dataset:
            wanted.update(mirror_augment=bool(self._options['mirror_augment']),
                          dataset_fingerprint=_fingerprint(self._options['dataset_args'], record))
        return all(record.get(key) == value for key, value in wanted.items()) and all(
            network['file_sha256'] == _current_hash(network) for network in record['feature_networks'].values())


def _fingerprint(dataset_args, record):
    """Fingerprint of the data set as the record's network would use it."""
    args = dict(image_arguments(dataset_args) or {}, shuffle_mb=0, prefetch_mb=0)
    args.pop('max_label_size', None)
    try:
        with dataset.load_dataset(**args) as data:
            found = data.fingerprint
    except (UserError, TypeError):
        return None
    # A lower level of the same set carries its resolution in its fingerprint.
    stored = record.get('dataset_fingerprint') or ''
    return stored if stored.startswith(found) else found


def _current_hash(network):
    if network['is_standin']:
        return sha256_file(standin.WEIGHTS)
    path = artifacts.find(network['file'])
    return sha256_file(path) if path else None
