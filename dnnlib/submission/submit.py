"""Starting a function in a run directory of its own."""

import contextlib
import enum
import os
import shutil
import sys
import time
import traceback

import config
from dnnlib import registry
from dnnlib.addresses import without_passwords
from dnnlib.files import atomic_write, copy_files_and_create_dirs, sha256_file
from dnnlib.submission import records, run_dir
from dnnlib.submission.paths import (  # noqa: F401  (part of this module)
    PathType,
    convert_path,
    get_path_from_template,
    get_template_from_path,
    get_user_name,
    set_user_name_override,
)
from dnnlib.submission.run_context import RunContext
from dnnlib.util import EasyDict, Logger, ask_yes_no, call_func_by_name, get_module_from_obj_name
from dnnlib.values.signatures import find_module_file

SOURCE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class SubmitTarget(enum.Enum):
    """Where a function runs. Only this machine is supported."""
    LOCAL = 1


class SubmitConfig(EasyDict):
    """What is known about a run before and while it runs; unknown items may be added freely."""

    def __init__(self, **kwargs):
        super().__init__(
            run_dir_root='results',             # folder of the run directories, may be a template
            run_desc='',                        # description, becomes part of the run directory's name
            run_dir_ignore=[],                  # folders, or patterns of names, that the source snapshot leaves out
            run_dir_extra_files=None,           # further files for it: pairs of a path and that inside the snapshot
            submit_target=SubmitTarget.LOCAL,
            num_gpus=1,
            print_info=False,                   # print this before the run starts
            ask_confirmation=False,             # ask before anything is made
            user_name=None,                     # default: that of this process
            run_id=None, run_name=None, run_dir=None, run_func_name=None, run_func_kwargs=None,  # filled in
            task_name=None, host_name='localhost')
        self.update(kwargs)


def prepare_run_dir(result_dir, desc, record, provenance=None, ignore=(), extra_files=()):
    """Creates a run directory and writes its records and the source snapshot `src/`. Returns its path.

    `record` is a dict for `records.write_submit_config`; `ignore` lists folders, or patterns of names, to leave out of
    the snapshot; `extra_files` are pairs (path, path in the snapshot). If anything fails, nothing is left of the
    directory.
    """
    path = run_dir.create_run_dir(result_dir, desc)
    try:
        name = os.path.basename(path)
        record = dict(run_id=run_dir.run_id_of(name), run_name=name, run_desc=desc, version=config.version,
                      created=time.strftime('%Y-%m-%dT%H:%M:%S%z'),
                      command=[without_passwords(arg) for arg in sys.argv], **record)
        records.write_submit_config(path, record, provenance)
        source = os.path.join(path, 'src')
        run_dir.copy_source(SOURCE_ROOT, source, ignore=[result_dir] + list(ignore))
        copy_files_and_create_dirs([(file, os.path.join(source, relative)) for file, relative in extra_files])
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


def run_wrapper(submit_config):
    """Calls the function that a completed SubmitConfig names, in its run directory, which must exist.

    What is printed goes to `log.txt`, too. `_finished.txt` appears when it returned, unless a RunContext within it
    has to say whether the run came to its end. `dnnlib.submit_config` is this configuration meanwhile.
    """
    library = sys.modules['dnnlib']
    with working_in(submit_config.run_dir):
        if submit_config.print_info:
            print(f'Running {submit_config.run_func_name} in {submit_config.run_dir}')
        library.submit_config = submit_config
        try:
            call_func_by_name(func_name=submit_config.run_func_name, submit_config=submit_config,
                              **submit_config.run_func_kwargs)
        finally:
            library.submit_config = None
        if not os.path.exists(os.path.join(submit_config.run_dir, 'run.txt')):
            with atomic_write(os.path.join(submit_config.run_dir, '_finished.txt'), 'w'):
                pass


def submit_run(submit_config, run_func_name=None, **run_func_kwargs):
    """Calls the function with this name, as `func(submit_config=…, **run_func_kwargs)`, in a new run directory.

    The snapshot `src/` in it holds this project's source, and that of the module if it is one of the caller's own.

    Args:
        submit_config: a SubmitConfig, of which a copy is completed.
        run_func_name: full name of the function; may be given as `func_name`, too.

    Returns the completed copy, whose `run_dir` is the new directory; None if the user did not confirm.
    """
    if run_func_name is None:
        run_func_name = run_func_kwargs.pop('func_name')
    submit_config = SubmitConfig(**submit_config)
    assert submit_config.submit_target == SubmitTarget.LOCAL
    submit_config.update(run_func_name=run_func_name, run_func_kwargs=EasyDict(run_func_kwargs))
    submit_config.user_name = submit_config.user_name or get_user_name()
    own_files = own_source(get_module_from_obj_name(run_func_name)[0])  # before anything is made
    if submit_config.print_info:
        print('Submitting a run:')
        for key, value in submit_config.items():
            print(f'    {key} = {value!r}')
    if submit_config.ask_confirmation and not ask_yes_no('Start this run?'):
        return None

    path = prepare_run_dir(get_path_from_template(submit_config.run_dir_root), submit_config.run_desc,
                           dict(run_func_name=run_func_name, num_gpus=submit_config.num_gpus,
                                user_name=submit_config.user_name, config=records.as_data(run_func_kwargs)),
                           ignore=submit_config.run_dir_ignore,
                           extra_files=own_files + list(submit_config.run_dir_extra_files or []))
    name = os.path.basename(path)
    submit_config.update(run_dir=path, run_name=name, run_id=run_dir.run_id_of(name))
    submit_config.task_name = f'{submit_config.user_name}-{submit_config.run_id:05d}-{submit_config.run_desc}'
    run_wrapper(submit_config)
    return submit_config


def source_hashes():
    """{path: hash} of this project's Python files, and of those of modules that the user allowed."""
    files = run_dir.list_source(SOURCE_ROOT, ignore=[config.data_dir, config.result_dir, config.cache_dir])
    for name in registry.allowed_modules():
        path = find_module_file(name)
        folder, base = os.path.split(path)
        files += [(path, name + '.py')] if base != '__init__.py' else [
            (file, os.path.join(name, relative)) for file, relative in run_dir.list_source(folder)]
    return {relative: sha256_file(path) for path, relative in files if relative.endswith('.py')}


def own_source(module):
    """[(path, path in the snapshot)] of the source that goes with a module outside of this project.

    That is what lies beside it, and the whole of the packages from there that are imported by now.
    """
    root = os.path.dirname(os.path.abspath(module.__file__))
    for _ in range(module.__name__.count('.') + (1 if hasattr(module, '__path__') else 0)):
        root = os.path.dirname(root)
    if (root + os.sep).startswith((SOURCE_ROOT + os.sep, sys.prefix + os.sep)):
        return []
    beside = [name for name in sorted(os.listdir(root)) if os.path.isfile(os.path.join(root, name))]
    packages = {name for name in list(sys.modules) if os.path.isfile(os.path.join(root, name, '__init__.py'))}
    files = [(os.path.join(root, name), name) for name in beside if run_dir.is_source(root, name)]
    for package in sorted(packages):
        files += [(path, os.path.join(package, relative))
                  for path, relative in run_dir.list_source(os.path.join(root, package))]
    return files
