"""Tools that know nothing about generative networks: utilities, run directories, and (in `dnnlib.tflib`) TensorFlow.

Importing this package does not import TensorFlow.
"""

from dnnlib import util
from dnnlib.submission import PathType, RunContext, SubmitConfig, SubmitTarget, get_path_from_template, submit_run
from dnnlib.util import EasyDict, UserError

__all__ = ['EasyDict', 'PathType', 'RunContext', 'SubmitConfig', 'SubmitTarget', 'UserError', 'get_path_from_template',
           'submit_config', 'submit_run', 'util']

submit_config = None  # within a function that `submit_run` calls: its SubmitConfig
