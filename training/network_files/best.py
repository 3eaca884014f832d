"""The best snapshot of a run: chosen by a score under the run's own protocol, and kept under a name of its own.

`network-best-<metric>.pkl` is the network, `best-<metric>.json` the record of its score. Both follow from the records
in `metrics/<snapshot>/`, so that measuring again mends what is wrong. The rule is that of the papers, which report the
snapshot with the lowest FID.
"""

import glob
import os
import re
import shutil

from dnnlib.files import atomic_path, read_json, recall_json, sha256_file, write_json
from dnnlib.util import UserError
from training.network_files import runs

# Scores are compared only where these fields of their records agree.
PROTOCOL = ('metric', 'settings', 'seed', 'is_standin', 'dataset_fingerprint', 'mirror_augment', 'labels',
            'labels_sha256')
FEATURES = 'feature_weights'    # and the weights of their feature networks
# Settings that older records do not name, and what they were measured with: what the released code does.
UNNAMED = dict(reals='order', ends='start', rejection=True)


def without_unnamed(settings):
    """Settings less those that are what older records, which do not name them, were measured with."""
    return {key: value for key, value in settings.items() if key not in UNNAMED or value != UNNAMED[key]}


def protocol_of(record):
    """What must agree between two records for their scores to be comparable, as a dict.

    Records from before labels were noted were measured with zeros.
    """
    found = {key: record.get(key) for key in PROTOCOL}
    found['labels'] = found['labels'] or 'zeros'
    networks = record.get('feature_networks')
    found[FEATURES] = sorted([str(name), str(network.get('weights_sha256'))] for name, network in networks.items()
                             if isinstance(network, dict)) if isinstance(networks, dict) else []
    if isinstance(found['settings'], dict):
        found['settings'] = without_unnamed(found['settings'])
    return found


def best_files(run_dir, metric):
    """(path of the network, path of the record) under which the best snapshot by a metric is kept."""
    return os.path.join(run_dir, f'network-best-{metric}.pkl'), os.path.join(run_dir, f'best-{metric}.json')


def is_selected_by(metric):
    """Whether snapshots are chosen by the metric of this name: by Frechet distances they are, lower being better."""
    return re.match(r'fid[\w-]{0,60}\Z', metric) is not None


def update(run_dir, record, own):
    """Chooses the best snapshot anew, now that a score has been measured.

    Args:
        run_dir: the run directory.
        record: the record of that score.
        own: dict, what is known of the run's own protocol: the fields of `PROTOCOL` that a record must agree with.

    Returns whether another snapshot, or another score, is the best one now. Records of other protocols, seeds and data
    never touch it.
    """
    metric = record['metric']
    if not is_selected_by(metric):
        return False
    network_path, record_path = best_files(run_dir, metric)
    before = read_best(run_dir, metric)
    candidates = [found for found in _records(run_dir, metric) + [record, before]
                  if found is not None and _is_score(found)
                  and all(protocol_of(found)[key] == value for key, value in own.items())]
    for best in sorted(_of_one_protocol(candidates), key=lambda found: found['value']):
        source = _file_of(run_dir, best, before, network_path)
        if source is not None:
            break
    else:
        return False
    if before is not None and all(best.get(key) == before.get(key) for key in ('network_sha256', 'value')) \
            and os.path.isfile(network_path):
        return False
    if source != network_path:
        _keep(source, network_path)
    write_json(record_path, best)
    print(f"{metric} {best['value']:.4f} is the run's best so far: {best['network']}, kept as "
          f'{os.path.basename(network_path)}', flush=True)
    return True


def _records(run_dir, metric):
    paths = glob.glob(os.path.join(glob.escape(run_dir), 'metrics', '*', f'{glob.escape(metric)}*.json'))
    found = [recall_json(path) for path in sorted(paths)]
    return [record for record in found if record is not None and record.get('metric') == metric]


def _is_score(record):
    texts = [record.get('network'), record.get('network_sha256')]
    return type(record.get('value')) in (int, float) and all(
        isinstance(text, str) and re.match(r'[\w.-]{1,200}\Z', text) for text in texts)


def _of_one_protocol(candidates):
    """The candidates of one protocol: a full one rather than a quick look, then the one of most networks, then the
    one that was used first."""
    groups = []
    for record in sorted(candidates, key=lambda record: str(record.get('time'))):
        group = next((group for group in groups if protocol_of(group[0]) == protocol_of(record)), None)
        if group is None:
            groups.append([record])
        else:
            group.append(record)
    return max(groups, default=[], key=lambda group: (group[0].get('is_reduced') is not True,
                                                      len({record['network_sha256'] for record in group})))


def _file_of(run_dir, record, before, network_path):
    """The file of a record's network, verified; None if it is gone, or another one by now."""
    if before is not None and record['network_sha256'] == before.get('network_sha256') \
            and os.path.isfile(network_path):
        return network_path
    path = os.path.join(run_dir, record['network'] + '.pkl')
    return path if os.path.isfile(path) and sha256_file(path) == record['network_sha256'] else None


def _keep(source, target):
    with atomic_path(target) as temp:
        try:
            os.link(source, temp)  # snapshots are never written to again, so one copy on the disk is enough
        except OSError:
            shutil.copyfile(source, temp)


# ---- Reading

def read_best(run_dir, metric):
    """The record of the best score by a metric; None where there is none, or it is damaged."""
    record = recall_json(best_files(run_dir, metric)[1])
    return record if record is not None and _is_score(record) and record.get('metric') == metric else None


def kept_metrics(run_dir):
    """Names of the metrics by which a best snapshot is kept, sorted."""
    paths = glob.glob(os.path.join(glob.escape(run_dir), 'best-*.json'))
    return sorted(os.path.basename(path)[len('best-'):-len('.json')] for path in paths)


def kept_scores(run_dir):
    """{(metric, snapshot's name, value)} of the best scores as they are kept."""
    found = [read_best(run_dir, metric) for metric in kept_metrics(run_dir)]
    return {(record['metric'], record['network'], record['value']) for record in found if record is not None}


def selecting_metric(run_dir):
    """The first metric of the run's configuration that snapshots are chosen by; None without one.

    Raises UserError if the run's record is damaged.
    """
    config = read_json(os.path.join(run_dir, 'submit_config.json'), "the run's record", absent={}, finite=False,
                       advice=f'say which snapshot you mean, as in {run_dir}:final').get('config')
    metrics = config.get('metrics') if isinstance(config, dict) else None
    for metric in metrics if isinstance(metrics, list) else []:
        name = metric.get('name', metric.get('preset')) if isinstance(metric, dict) else metric
        if isinstance(name, str) and is_selected_by(name):
            return name
    return None


def find_best(run_dir, metric):
    """(path, what was taken in words) of the best snapshot by a metric; None where none is kept.

    The snapshot's own file, where it is still the same; else the copy that is kept.
    """
    record, (kept, _) = read_best(run_dir, metric), best_files(run_dir, metric)
    if record is None or not os.path.isfile(kept):
        return None
    own = os.path.join(run_dir, record['network'] + '.pkl')
    is_same = os.path.isfile(own) and (os.path.samefile(own, kept) or sha256_file(own) == record['network_sha256'])
    return own if is_same else kept, f"its best by {metric}, {record['value']:.4f}"


def find_any_best(run_dir):
    """The best snapshot as `find_best` gives it: by the configuration's metric, else by the first one kept.

    Raises UserError where none is kept.
    """
    for metric in [selecting_metric(run_dir)] + kept_metrics(run_dir):
        found = find_best(run_dir, metric) if metric else None
        if found is not None:
            return found
    raise UserError(f'{run_dir} has no best snapshot, since none was measured; measure them with: run_metrics.py '
                    f'fid50k --run {run_dir} --all-snapshots, or take another, such as {run_dir}:final')


def choose(run_dir, which=None):
    """(path, what was taken in words) of a run's snapshot: 'best', 'final', digits of its kimg; None: `stands_for`.

    Raises UserError if there is none such.
    """
    if which is None:
        return stands_for(run_dir)
    if which == 'best':
        return find_any_best(run_dir)
    if which == 'final':
        path = os.path.join(run_dir, runs.FINAL)
        if not os.path.isfile(path):
            names = ', '.join(os.path.basename(path) for path in runs.snapshots_of(run_dir)[-5:])
            raise UserError(f'{run_dir} is not finished, so it has no final network; among its last are {names}')
        return path, 'its final one'
    if not re.match(r'\d{1,12}$', which):
        raise UserError(f"'{run_dir}:{which}': after the run comes best, final, or a snapshot's number of kimg such as "
                        '000049')
    return runs.find_snapshot(run_dir, which), f'the one at {int(which)} kimg'


def stands_for(run_dir):
    """(path, what was taken in words): the snapshot that a run stands for.

    A finished run stands for its best snapshot by the first `fid*` of its configuration, else for the final one; an
    unfinished one for its best, else its newest. Raises UserError if there is none.
    """
    pkls = runs.snapshots_of(run_dir)
    metric = selecting_metric(run_dir)
    found = find_best(run_dir, metric) if metric else None
    if found is not None:
        return found
    is_final = os.path.basename(pkls[-1]) == runs.FINAL
    return pkls[-1], 'its final one' if is_final else 'its newest one'
