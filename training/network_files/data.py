"""The data set that a network was trained on, found by the network's file."""

from data.records.dataset import load_dataset
from dnnlib import registry
from dnnlib.submission import read_submit_config
from dnnlib.util import UserError
from training.network_files import runs


def open_training_data(network_path, folder=None, **kwargs):
    """Opens the data set in `folder`, or else that of the run which a network file lies in, in file order.

    `kwargs` are further arguments of `load_dataset`. Raises UserError if there is none, or it cannot be opened.
    """
    kwargs = dict(dict(shuffle_mb=0, prefetch_mb=0), **kwargs)
    if folder is not None:
        return load_dataset(tfrecord_dir=folder, **kwargs)
    run_dir = runs.run_dir_of(network_path)
    if run_dir is None:
        raise UserError(f'{network_path} does not lie in the directory of a run; name the data set that it was trained '
                        'on with --dataset DIR')
    record = read_submit_config(run_dir)
    args = dict(record['config'].get('dataset') or {}, data_dir=record.get('data_dir'))
    registry.check('dataset', args.get('class_name', 'training.dataset.TFRecordDataset'),
                   f'dataset.class_name in the record of {run_dir}')
    return load_dataset(**dict(args, **kwargs))
