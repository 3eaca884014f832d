"""The data set that a network was trained on, found by the network's file or its run."""

import config
from data.records.dataset import in_file_order, load_dataset
from data.records.source import holds_mirrored, image_arguments
from dnnlib import registry
from dnnlib.submission import read_submit_config
from dnnlib.util import UserError
from training.network_files import runs
from training.original import previous_run


def open_training_data(network_path, folder=None, **kwargs):
    """Opens the data set in `folder`, or else that of the run which a network file lies in, in file order.

    Where that has codes of images, these are opened. `kwargs` are further arguments of `load_dataset`. Raises UserError
    if there is none, or it cannot be opened.
    """
    if folder is not None:
        return load_dataset(**dict(in_file_order(image_arguments(dict(tfrecord_dir=folder))), **kwargs))
    run_dir = runs.run_dir_of(network_path)
    if run_dir is None:
        raise UserError(f'{network_path} does not lie in the directory of a run; name the data set that it was trained '
                        'on with --dataset DIR')
    record = read_submit_config(run_dir)
    args = dict(record['config'].get('dataset') or {}, data_dir=record.get('data_dir'))
    registry.check('dataset', args.get('class_name', 'training.dataset.TFRecordDataset'),
                   f'dataset.class_name in the record of {run_dir}')
    return load_dataset(**dict(in_file_order(image_arguments(args)), **kwargs))


def data_of(run_dir, dataset_args=None, mirror_augment=None):
    """(arguments of the data set or None, whether reals are mirrored): as given, else as the run, if any, was trained.

    A data set with the codes of mirrored images, too, is one that mirrors. Raises UserError if the run's record is
    damaged.
    """
    mirrors = mirror_augment
    if run_dir is not None and (dataset_args is None or mirror_augment is None):
        run_args, mirrors = run_data(run_dir)
        dataset_args = run_args if dataset_args is None else dataset_args
    if mirror_augment is None and dataset_args is not None:
        mirrors = mirrors or holds_mirrored(dataset_args)
    return dataset_args, bool(mirrors if mirror_augment is None else mirror_augment)


def run_data(run_dir):
    """(data set arguments, mirror_augment) of a run, from its record; (None, False) where there is none.

    Raises UserError if the record is damaged, since scores would silently be those of another protocol.
    """
    if not previous_run.is_recorded(run_dir):
        return None, False
    try:
        data_dir = previous_run.data_dir_of(run_dir) or config.data_dir
        settings = previous_run.settings_of(run_dir)
    except UserError as err:
        raise UserError(f'{err}; name the data set with --dataset, and say --mirror-augment or --no-mirror-augment as '
                        'the run was trained') from err
    dataset_args = dict(dict(data_dir=data_dir), **settings['dataset'])
    return dataset_args, bool(settings['train'].get('mirror_augment', False)) or holds_mirrored(dataset_args)
