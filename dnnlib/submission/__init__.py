"""Run directories: made, described, locked and watched. Does not import TensorFlow."""

from dnnlib.submission.records import (
    edited_settings,
    environment_record,
    read_environment,
    read_submit_config,
    write_submit_config,
)
from dnnlib.submission.run_context import RunContext
from dnnlib.submission.run_dir import RunLock, copy_source, create_run_dir
from dnnlib.submission.submit import PathType, SubmitConfig, SubmitTarget, get_path_from_template, submit_run

__all__ = ['PathType', 'RunContext', 'RunLock', 'SubmitConfig', 'SubmitTarget', 'copy_source', 'create_run_dir',
           'edited_settings', 'environment_record', 'get_path_from_template', 'read_environment', 'read_submit_config',
           'submit_run', 'write_submit_config']
