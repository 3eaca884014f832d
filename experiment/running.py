"""From a checked start to a run: its directory, the loop called in it, and what is told of it at its end."""

import contextlib
import errno
import os
import shutil

import config as folders
from dnnlib.command_line import shown, typed
from dnnlib.submission import write_submit_config
from dnnlib.submission.run_context import FollowerContext
from dnnlib.submission.submit import prepare_run_dir, run_in_dir
from dnnlib.util import UserError, call_func_by_name, sha256_file
from experiment import plan, run_config, settings, watch
from training.state import resume


def lead(start):
    """Trains in the run's directory, which a new run gets now; writes and prints what is to be known of it.

    `start`: a checked Start. Raises UserError.
    """
    arguments, words = _loop_arguments(start), plan.in_words(start.plan, start.machine)
    run_dir = start.run_dir or make_run_dir(start)     # from here on something is written

    def train(context):
        print('\n'.join([f'Run directory: {run_dir}'] + words), flush=True)
        if start.record is not None and start.config != start.record['config']:
            write_submit_config(run_dir, dict(start.record, config=start.config), start.origins)
        beside = watch.Watch(run_dir, start.plan)
        context.listeners.append(beside)
        context.closers.append(beside.close)
        return call_func_by_name(run_dir=run_dir, run_context=context, **arguments)
    try:
        outcome = run_in_dir(run_dir, train, max_epoch=start.plan.total_kimg)
    except (UserError, OSError) as err:
        is_full = isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT)
        has_begun = start.run_dir is not None or resume.has_trained(run_dir)
        if not has_begun and (is_full or isinstance(err, UserError)):
            shutil.rmtree(run_dir, ignore_errors=True)  # as where a check refuses: nothing of what never began
        if not is_full:
            raise
        go_on = f'go on with ./reproduce train --resume {shown(run_dir)}'
        raise UserError(f'no space left on the disk of {run_dir}; ' + (
            f'its last good checkpoint is intact: free some space and {go_on}' if has_begun
            else 'free some space and start again')) from err
    if outcome == 'stopped':
        print(typed(f'To go on: ./reproduce train --resume {shown(run_dir)}'))
    print(f'Training {outcome}; everything is in {run_dir}', flush=True)


def follow(start):
    """Trains in step with the first process, which checks, writes and prints for all."""
    with open(os.devnull, 'w') as nowhere, contextlib.redirect_stdout(nowhere), FollowerContext() as context:
        start.check()
        start.check_with_engine()
        call_func_by_name(run_dir=start.run_dir or '', run_context=context, **_loop_arguments(start))


def make_run_dir(start):
    """Makes the directory of a new run, with its records, and returns its path. Raises UserError."""
    record = dict(config=start.config, data_dir=start.data_dir)
    if start.init_from is not None:
        record.update(init_from=os.path.abspath(start.init_from), init_from_sha256=sha256_file(start.init_from),
                      resume_kimg=start.resume_kimg, transfer=start.transfer)
    return prepare_run_dir(start.place, start.config.desc, record, start.origins,
                           ignore=[start.data_dir, folders.cache_dir])


def _loop_arguments(start):
    """What the loop is called with besides its directory and context: `func_name`, and what it takes."""
    arguments = run_config.loop_arguments(start.config, start.data_dir)
    beginning = dict(resume=start.run_dir is not None, init_from=start.init_from, resume_kimg=start.resume_kimg,
                     transfer=start.transfer)
    arguments.update((key, value) for key, value in beginning.items() if settings.loop_takes(start.config, key))
    return dict(arguments, func_name=start.config.train.get('func_name', settings.LOOP))
