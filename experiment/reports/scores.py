"""The scores of a run's networks as records and ticks hold them: which to show, their curves, and the best ones."""

import collections
import contextlib
import glob
import os
import re

from dnnlib.errors import UserError
from metrics import presets
from metrics.scores import records
from training.network_files import best

Score = collections.namedtuple('Score', 'metric network kimg value error record')
"""metric: name of a value, such as fid50k; network: file without its suffix; error: standard error, or None."""


def read_scores(run_dir, stats):
    """[Score] of a run's networks, in order of training: of each metric those of one protocol, which is that of most
    networks, full measurements rather than quick looks. Where a metric has no records, those of the ticks."""
    last = stats[-1]['kimg'] if stats else 0.0
    protocols = {}
    for record in _records(run_dir):
        protocols.setdefault(repr(sorted(best.protocol_of(record).items(), key=str)), []).append(record)
    chosen = {}
    for group in protocols.values():
        metric = group[0]['metric']
        rank = (group[0].get('is_reduced') is not True, len({record.get('network') for record in group}))
        if metric not in chosen or rank > chosen[metric][0]:
            chosen[metric] = rank, group
    found = []
    for _, group in chosen.values():
        for record in group:
            for name, value in records.values_of(record).items():
                error = record.get('standard_errors', {}).get(name) if 'values' in record \
                    else record.get('standard_error')
                found.append(Score(name, record['network'], _kimg_of(record['network'], last), value, error, record))
    known = {score.metric for score in found}
    found += [Score(key[len('Metrics/'):], f"network-snapshot-{int(tick['kimg']):06d}", tick['kimg'], value, None, {})
              for tick in stats for key, value in tick.items()
              if key.startswith('Metrics/') and key[len('Metrics/'):] not in known]
    return sorted((score for score in found if score.kimg is not None and score.value is not None),
                  key=lambda score: (score.metric, score.kimg, not score.network.endswith('-untrained')))


def _records(run_dir):
    folder = glob.escape(run_dir)
    for path in sorted(glob.glob(os.path.join(folder, 'metrics*', '*.json'))
                       + glob.glob(os.path.join(folder, 'metrics*', '*', '*.json'))):
        with contextlib.suppress(UserError):
            record = records.read_record(path)
            if isinstance(record.get('network'), str):
                yield record


def _kimg_of(network, last):
    """How far a network was trained, by its name; None where the name does not say."""
    if network.endswith('-untrained'):
        return 0.0
    match = re.match(r'network-snapshot-(\d{1,12})\Z', network)
    return float(match.group(1)) if match else last if network == 'network-final' else None


def curves_of(scores):
    """{metric: (kimg, values)} of those metrics that are known at two or more places."""
    curves = collections.OrderedDict()
    for score in scores:
        curves.setdefault(score.metric, {})[score.kimg] = score.value
    return collections.OrderedDict((metric, (list(points), list(points.values())))
                                   for metric, points in curves.items() if len(points) > 1)


def best_scores(scores, metrics=()):
    """[(name, best value, kimg)] of each metric's values: the highest where the metric says so, else the lowest.

    `scores`: as of `read_scores`; `metrics`: of the configuration.
    """
    found, highest = {}, _highest_is_best(metrics)
    for score in scores:
        sign = -1 if score.metric.startswith(highest) else 1
        if score.metric not in found or sign * score.value < sign * found[score.metric][0]:
            found[score.metric] = score.value, score.kimg
    return [(name, value, kimg) for name, (value, kimg) in sorted(found.items())]


def _highest_is_best(metrics):
    """Names of the metrics, those of the configuration too, whose values should be high, as a tuple."""
    names = []
    for spec in presets.preset_names() + list(metrics if isinstance(metrics, list) else []):
        try:
            if presets.better(spec) == 'higher':
                names.append(presets.settings_of(spec).get('name') or '')
        except (TypeError, UserError, ValueError):      # a record may name anything
            continue
    return tuple(name for name in names if isinstance(name, str) and name)
