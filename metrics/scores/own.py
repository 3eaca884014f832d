"""The protocol under which a run measures itself: what its best snapshot is chosen by."""

import os

from data.records.source import holds_mirrored, images_fingerprint
from dnnlib import files
from dnnlib.submission import read_submit_config
from metrics.networks.choice import STANDIN, choose_source
from metrics.presets import settings_of
from metrics.scores import records
from training.network_files import best

_OF_CODES = 'training.networks_accel.G_accel'
SEED = 0    # of metrics in training


def own_protocol(run_dir, metric):
    """What is known of it for the metric of this name: dict with some of `network_files.best.PROTOCOL`.

    Raises UserError if the run's records are damaged.
    """
    own = dict(seed=SEED)
    data = files.read_json(os.path.join(run_dir, 'dataset.json'), absent={})
    own['labels'] = 'data' if data.get('label_size') else 'zeros'
    if 'fingerprint' in data:
        own['dataset_fingerprint'] = data['fingerprint']
    if not os.path.exists(os.path.join(run_dir, 'submit_config.json')):
        return own
    record = read_submit_config(run_dir)
    config = record['config']
    data_args = dict(config.get('dataset') or {}, data_dir=record.get('data_dir'))
    if os.path.isdir(os.path.join(data_args['data_dir'] or '', data_args.get('tfrecord_dir') or '')):
        own['is_standin'] = choose_source('auto', data_args) == STANDIN
    own['mirror_augment'] = bool(config.get('train', {}).get('mirror_augment', False)) or holds_mirrored(data_args)
    G = config.get('G')
    if isinstance(G, dict) and G.get('func_name') == _OF_CODES:     # whose scores compare with the images
        own['dataset_fingerprint'] = images_fingerprint(data_args)
        if own['dataset_fingerprint'] is None:      # they are not here, so that nothing is known of them
            own = {key: value for key, value in own.items() if key not in ('dataset_fingerprint', 'mirror_augment')}
    for spec in config.get('metrics') or []:
        settings = settings_of(spec)
        if settings.get('name') == metric:
            own['settings'] = best.without_unnamed(records.plain({
                key: value for key, value in settings.items() if key not in ('name', 'func_name')}))
    return own
