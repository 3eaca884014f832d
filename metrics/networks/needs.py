"""Which released files metrics need, and which of them are not on this machine. No TensorFlow is imported."""

from dnnlib import artifacts
from dnnlib.values import signatures
from metrics.networks import files
from metrics.networks.choice import STANDIN, choose_source
from metrics.presets import settings_of


def networks_used(spec):
    """Names of the feature networks of a metric in a configuration, as its class says in `uses_networks`."""
    return signatures.class_constant(settings_of(spec)['func_name'], 'uses_networks') or ()


def needed_files(metric_specs, dataset_args=None, features='auto', own_classifiers=False):
    """What metrics on this data set read: lists of names of released files, of each of which one suffices.

    `own_classifiers`: classifiers of attributes are there already.
    """
    used = {name for spec in metric_specs for name in networks_used(spec)}
    used -= {'classifier'} if own_classifiers else set()
    return [] if choose_source(features, dataset_args) == STANDIN else files.needed_files(used)


def missing_files(metric_specs, dataset_args=None, features='auto', own_classifiers=False):
    """Names of released files that metrics on this data set need and that are not on this machine, each once.

    Raises UserError for a file that is here but damaged.
    """
    return [names[0] for names in needed_files(metric_specs, dataset_args, features, own_classifiers)
            if all(artifacts.find(name) is None for name in names)]
