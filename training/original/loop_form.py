"""The training loop as programs written for the original call it: with a SubmitConfig in place of a run directory."""

import functools
import os

import config
from dnnlib.submission import RunContext
from training.network_files import runs

NETWORK_AND_SCHEDULE = ('G_args', 'D_args', 'G_opt_args', 'D_opt_args', 'G_loss_args', 'D_loss_args', 'dataset_args',
                        'sched_args')
WITHOUT_MEANING = {
    'buffer_mb': 'files are mapped into memory',
    'num_threads': 'reading ahead takes one thread'}


def takes_submit_config(loop):
    """Decorates the training loop so that it can be called in the original's form, too.

    That form has the keywords `submit_config`, whose `run_dir` and `num_gpus` are used; `resume_run_id`, a run or the
    path or address of a network pickle to take the weights from; `resume_snapshot`, which of a run's snapshots it is,
    by its number of kimg (None: the last); `resume_kimg` and `resume_time`, the images and seconds that these have
    seen; and those keywords of the loop itself that are settings. The seed is `rnd.np_random_seed` of `tf_config`.
    """
    @functools.wraps(loop)
    def with_either_form(*args, submit_config=None, **kwargs):
        if submit_config is None:
            return loop(*args, **kwargs)
        if args:
            raise TypeError('training_loop() in the form with submit_config takes keywords only')
        return _train(loop, submit_config, **kwargs)

    return with_either_form


def _train(loop, submit_config, resume_run_id=None, resume_snapshot=None, tf_config=None, **kwargs):
    kwargs = dict({key: {} for key in NETWORK_AND_SCHEDULE}, **kwargs)
    kwargs['dataset_args'] = dict(dict(data_dir=config.data_dir), **kwargs['dataset_args'])
    for key, why in WITHOUT_MEANING.items():
        if key in kwargs['dataset_args']:
            print(f'dataset_args.{key} has no meaning here: {why}')
    tf_config = dict(tf_config or {})
    if tf_config.get('rnd.np_random_seed') is not None:
        kwargs.setdefault('seed', int(tf_config['rnd.np_random_seed']))
    if resume_run_id is not None:
        kwargs['init_from'] = runs.locate_network_pkl(resume_run_id, resume_snapshot,
                                                      os.path.dirname(submit_config.run_dir))
    with RunContext(submit_config) as context:
        return loop(run_dir=submit_config.run_dir, run_context=context, num_gpus=submit_config.num_gpus,
                    tf_config=tf_config, **kwargs)
