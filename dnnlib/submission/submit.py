"""Starting a function in a run directory of its own."""

import contextlib
import enum
import os
import shutil
import sys
import time
import traceback

from dnnlib.submission import records, run_dir
from dnnlib.submission.run_context import RunContext
from dnnlib.util import EasyDict, Logger, call_func_by_name

SOURCE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class SubmitTarget(enum.Enum):
    """Where a function runs. Only this machine is supported."""
    LOCAL = 1


class PathType(enum.Enum):
    """How paths are written. Accepted for compatibility: paths are always those of this machine."""
    WINDOWS = 1
    LINUX = 2
    AUTO = 3


class SubmitConfig(EasyDict):
    """What is known about a run before and while it runs; unknown items may be added freely."""

    def __init__(self, **kwargs):
        super().__init__(
            run_dir_root='results',             # folder of the run directories
            run_desc='',                        # description, becomes part of the run directory's name
            run_dir_ignore=[],                  # folders that the source snapshot leaves out
            submit_target=SubmitTarget.LOCAL,
            num_gpus=1,
            print_info=False,
            run_id=None, run_name=None, run_dir=None, run_func_name=None, run_func_kwargs=None)  # filled in
        self.update(kwargs)


def prepare_run_dir(result_dir, desc, record, provenance=None, ignore=()):
    """Creates a run directory and writes its records and the source snapshot `src/`. Returns its path.

    `record` is a dict for `records.write_submit_config`; `ignore` lists folders not to look for source in. If anything
    fails, nothing is left of the directory.
    """
    path = run_dir.create_run_dir(result_dir, desc)
    try:
        name = os.path.basename(path)
        record = dict(run_id=run_dir.run_id_of(name), run_name=name, run_desc=desc,
                      created=time.strftime('%Y-%m-%dT%H:%M:%S%z'), command=list(sys.argv), **record)
        records.write_submit_config(path, record, provenance)
        run_dir.copy_source(SOURCE_ROOT, os.path.join(path, 'src'), ignore=[result_dir] + list(ignore))
    except BaseException as err:
        shutil.rmtree(path, ignore_errors=True)  # on a full disk, say: half a run directory is of no use
        if isinstance(err, OSError):  # copying names the source, which is not what went wrong
            raise OSError(err.errno, err.strerror, path) from err
        raise
    return path


@contextlib.contextmanager
def working_in(path):
    """Holds the run directory for this process, appends what is printed to `log.txt`, records the environment.

    The log also gets the traceback of an exception that ends the work. UserError if another process holds it.
    """
    with run_dir.RunLock(path), Logger(os.path.join(path, 'log.txt'), file_mode='a') as logger:
        records.add_environment_record(path, root=SOURCE_ROOT)
        try:
            yield
        except BaseException:
            logger.write_to_file(traceback.format_exc())
            raise


def run_in_dir(path, func, max_epoch=None):
    """Calls `func(run_context)` with all of `working_in` around it and returns its result."""
    with working_in(path), RunContext(path, max_epoch=max_epoch) as context:
        return func(context)


def submit_run(submit_config, run_func_name, **run_func_kwargs):
    """Calls the function with this name, as `func(submit_config=…, **run_func_kwargs)`, in a new run directory.

    Returns the completed copy of `submit_config`, whose `run_dir` is the new directory.
    """
    submit_config = SubmitConfig(**submit_config)
    assert submit_config.submit_target == SubmitTarget.LOCAL
    submit_config.update(run_func_name=run_func_name, run_func_kwargs=EasyDict(run_func_kwargs))
    path = prepare_run_dir(submit_config.run_dir_root, submit_config.run_desc,
                           dict(run_func_name=run_func_name, num_gpus=submit_config.num_gpus, config=run_func_kwargs),
                           ignore=submit_config.run_dir_ignore)
    name = os.path.basename(path)
    submit_config.update(run_dir=path, run_name=name, run_id=run_dir.run_id_of(name))
    if submit_config.print_info:
        print(f'Running {run_func_name} in {path}')
    with working_in(path):
        call_func_by_name(func_name=run_func_name, submit_config=submit_config, **run_func_kwargs)
    return submit_config
