"""Which settings of the TensorFlow session a configuration may have: paths into ConfigProto, seeds, some variables.

Those that matter to a single process are known here by name and type, so that a mistyped one is found before anything
starts; those in groups of the engine's own experiments are left to the engine, which knows them when it opens the
session (`dnnlib.tflib.create_session`).
"""

import re

from dnnlib.config_files import kind, nearest
from dnnlib.util import UserError
from dnnlib.values import value_types
from experiment.settings import any_origin, mistake

_FLAG, _COUNT, _TEXT = 'true or false', 'a whole number from -1 to 1e15', 'a text'
_PATHS = {
    '': {
        _FLAG: 'use_per_session_threads allow_soft_placement log_device_placement isolate_session_state '
               'share_cluster_devices_in_session',
        _COUNT: 'intra_op_parallelism_threads inter_op_parallelism_threads placement_period operation_timeout_in_ms'},
    'gpu_options.': {
        _FLAG: 'allow_growth force_gpu_compatible',
        'a number from 0 to 1e6': 'per_process_gpu_memory_fraction',
        _TEXT: 'allocator_type visible_device_list',
        _COUNT: 'deferred_deletion_bytes polling_active_delay_usecs polling_inactive_delay_msecs'},
    'graph_options.': {
        _FLAG: 'enable_recv_scheduling infer_shapes place_pruned_graph enable_bfloat16_sendrecv',
        _COUNT: 'build_cost_model build_cost_model_after timeline_step'},
    'graph_options.optimizer_options.': {
        _FLAG: 'do_common_subexpression_elimination do_constant_folding do_function_inlining cpu_global_jit',
        _COUNT: 'max_folded_constant_in_bytes opt_level global_jit_level'},
    'graph_options.rewrite_options.': {
        _FLAG: 'disable_model_pruning disable_meta_optimizer fail_on_optimizer_errors disable_tfg_optimizer '
               'experimental_disable_compressed_tensor_optimization '
               'experimental_disable_folding_quantization_emulation auto_parallel.enable',
        _COUNT: 'layout_optimizer constant_folding shape_optimization remapping arithmetic_optimization '
                'dependency_optimization loop_optimization function_optimization debug_stripper '
                'scoped_allocator_optimization pin_to_host_optimization implementation_selector auto_mixed_precision '
                'meta_optimizer_iterations min_graph_nodes memory_optimization meta_optimizer_timeout_ms '
                'cpu_layout_conversion common_subgraph_elimination auto_mixed_precision_mkl '
                'auto_mixed_precision_onednn_bfloat16 auto_mixed_precision_cpu use_plugin_optimizers '
                'experimental_conditional_code_motion auto_parallel.num_replicas '
                'inter_optimizer_verifier_config.structure_verifier '
                'post_optimization_verifier_config.structure_verifier '
                'inter_optimizer_verifier_config.verification_timeout_in_ms '
                'post_optimization_verifier_config.verification_timeout_in_ms',
        _TEXT: 'memory_optimizer_target_node_name_scope'}}
PATHS = {prefix + name: words for prefix, group in _PATHS.items() for words, names in group.items()
         for name in names.split()}
OTHERS = {'rnd.np_random_seed': 'a whole number from 0 to 4294967295, or null',
          'rnd.tf_random_seed': 'a whole number from 0 to 4294967295, auto or null'}
EXPERIMENTS = ('experimental.', 'gpu_options.experimental.', 'pluggable_device_options.', 'rpc_options.')
# What a foreign configuration must not be able to set, such as PYTHONPATH, runs other programs' code.
VARIABLES = re.compile(r'env\.(TF_|XLA_|CUDA_|NVIDIA_|NCCL_|OMP_|MKL_|KMP_|OPENBLAS_)[A-Z0-9_]{1,100}\Z')


def check_session(values, origins):
    """Raises UserError unless each of the settings exists and has a value of its type."""
    for key, value in values.items():
        dotted = f'tf_config.{str(key)[:100]}'
        if isinstance(value, (dict, list)):
            raise mistake(origins, dotted, f'must be a single value, not {kind(value)}; write the path into '
                          'ConfigProto with dots, such as gpu_options.allow_growth: true')
        words = _words(str(key))
        if words is None:
            known = list(PATHS) + list(OTHERS)
            raise UserError(f"there is no setting '{dotted}'{nearest(str(key)[:100], known)} (given in "
                            f"{any_origin(origins, f'tf_config.{key}')}); it is a path into TensorFlow's ConfigProto, "
                            'such as gpu_options.allow_growth, or a variable of TensorFlow and its libraries, such as '
                            'env.TF_GPU_THREAD_MODE')
        problem = value_types.parse(words).problem(value) if words else None
        if problem:
            raise mistake(origins, dotted, problem)


def _words(key):
    """The type of a session's setting in words, '' for one that only the engine knows, or None if there is none."""
    if key.startswith('device_count.') and key.count('.') == 1 and key[len('device_count.'):] in ('CPU', 'GPU'):
        return 'a whole number from 0 to 1024'
    if VARIABLES.match(key):
        return 'a text, a number, true or false'
    if key.startswith(EXPERIMENTS) and len(key) < 200:
        return ''
    return PATHS.get(key) or OTHERS.get(key)
