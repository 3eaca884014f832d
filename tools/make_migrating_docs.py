"""Writes the table of docs/migrating.md: the original's public names and what became of each here.

Run `./reproduce shell python tools/make_migrating_docs.py` after changing `NAMES`; a test compares the file with what
this makes, and the names with the code.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import atomic_write, run_main  # noqa: E402

TARGET = os.path.join(ROOT, 'docs', 'migrating.md')
BEGIN, END = '<!-- Made by tools/make_migrating_docs.py -->\n', '<!-- End of the table -->\n'

# Module, names as attributes of it, what is different (nothing: the same).
NAMES = [
    ('dnnlib', 'EasyDict RunContext SubmitTarget PathType submit_run get_path_from_template submit_config', ''),
    ('dnnlib.RunContext', 'should_stop update get_time_since_start get_time_since_last_update '
     'get_last_update_interval close', ''),
    ('dnnlib', 'SubmitConfig', ''),
    ('dnnlib.util', 'Logger format_time ask_yes_no tuple_product get_dtype_and_ctype is_pickleable '
     'get_module_from_obj_name get_obj_from_module get_obj_by_name call_func_by_name get_module_dir_by_obj_name '
     'is_top_level_function get_top_level_function_name list_dir_recursively_with_ignore copy_files_and_create_dirs '
     'is_url', ''),
    ('dnnlib.util', 'open_url', 'raises `UserError` with a sentence; checks what it keeps'),
    ('dnnlib.submission.submit', 'get_template_from_path get_path_from_template convert_path get_user_name '
     'set_user_name_override run_wrapper', ''),
    ('dnnlib.submission.submit', 'submit_run', 'records are JSON and text, no pickle; only source is copied'),
    ('dnnlib.tflib', 'run is_tf_expression shape_to_list flatten log2 exp2 lerp lerp_clip absolute_name_scope '
     'absolute_variable_scope init_tf assert_tf_initialized create_session init_uninitialized_vars set_vars '
     'create_var_with_large_initial_value convert_images_to_uint8 TfExpression TfExpressionEx', ''),
    ('dnnlib.tflib', 'convert_images_from_uint8', 'maps 0…255 onto the range asked for'),
    ('dnnlib.tflib.autosummary', 'autosummary finalize_autosummaries save_summaries', ''),
    ('dnnlib.tflib.network', 'Network', ''),
    ('dnnlib.tflib.network', 'import_handler', 'never makes stored code run that is not trusted'),
    ('dnnlib.tflib.network.Network', 'get_output_for run clone convert copy_vars_from copy_own_vars_from '
     'copy_trainables_from setup_as_moving_average_of find_var get_var set_var get_var_local_name reset_own_vars '
     'reset_vars reset_trainables list_ops list_layers print_layers setup_weight_histograms input_templates '
     'output_templates', ''),
    ('dnnlib.tflib.optimizer', 'Optimizer', 'one count of skipped updates for all devices'),
    ('dnnlib.tflib.optimizer.Optimizer', 'register_gradients apply_updates reset_optimizer_state get_loss_scaling_var '
     'apply_loss_scaling undo_loss_scaling', ''),
    ('training.dataset', 'TFRecordDataset SyntheticDataset load_dataset parse_tfrecord_np parse_tfrecord_tf', ''),
    ('training.dataset.TFRecordDataset', 'configure', 'goes on where it is; the original begins at record 0'),
    ('training.dataset.TFRecordDataset', 'get_minibatch_tf get_minibatch_np get_random_labels_tf '
     'get_random_labels_np close', ''),
    ('training.misc', 'open_file_or_url save_pkl adjust_dynamic_range create_image_grid convert_to_pil_image '
     'save_image save_image_grid list_network_pkls get_id_string_for_network_pkl load_network_pkl apply_mirror_augment '
     'setup_snapshot_image_grid', ''),
    ('training.misc', 'load_pkl', 'executes nothing that a file holds'),
    ('training.misc', 'locate_run_dir locate_network_pkl', 'raise `UserError` instead of IOError'),
    ('training.misc', 'parse_config_for_previous_run load_dataset_for_previous_run', 'read records as data'),
    ('training.training_loop', 'training_loop', 'takes `submit_config`, or a run directory and more settings'),
    ('training.training_loop', 'process_reals training_schedule', ''),
    ('training.loss', 'fp32 G_wgan D_wgan D_wgan_gp D_hinge D_hinge_gp G_logistic_saturating '
     'G_logistic_nonsaturating D_logistic D_logistic_simplegp', ''),
    ('training.networks_stylegan', 'G_style G_mapping G_synthesis D_basic', 'besides, `data_format` and `seed`'),
    ('training.networks_stylegan', 'blur2d conv2d upscale2d_conv2d conv2d_downscale2d instance_norm style_mod '
     'apply_noise', 'takes the layout `fmt`'),
    ('training.networks_stylegan', 'apply_bias pixel_norm', 'besides, the layout `fmt`, by default NCHW'),
    ('training.networks_stylegan', 'dense', 'takes [N, C], see `flatten_chw`'),
    ('training.networks_progan', 'G_paper D_paper', 'besides, `data_format`'),
    ('metrics.metric_base', 'fid50k ppl_zfull ppl_wfull ppl_zend ppl_wend ls dummy', ''),
    ('metrics.metric_base', 'MetricBase MetricGroup DummyMetric', 'record the protocol of every score'),
    ('metrics.metric_base.MetricBase',
     'run get_result_str update_autosummaries _evaluate _report_result _iterate_reals _iterate_fakes '
     '_get_cache_file_for_reals', ''),
    ('metrics.frechet_inception_distance', 'FID', ''),
    ('metrics.perceptual_path_length', 'PPL normalize slerp', ''),
    ('metrics.linear_separability', 'LS prob_normalize mutual_information entropy conditional_entropy', ''),
    ('metrics.linear_separability', 'classifier_urls', 'addresses of the present home of the files'),
    ('config', 'result_dir data_dir cache_dir run_dir_ignore', ''),
]
# What calls take: the function or class, its keywords, what is different.
KEYWORDS = [
    ('dnnlib.SubmitConfig', 'run_dir_root run_desc run_dir_extra_files submit_target num_gpus print_info '
     'ask_confirmation run_id run_name run_dir run_func_name run_func_kwargs user_name task_name host_name', ''),
    ('dnnlib.SubmitConfig', 'run_dir_ignore', 'begins empty: hidden and compiled files are left out anyway'),
    ('training.training_loop.training_loop',
     'submit_config G_args D_args G_opt_args D_opt_args G_loss_args D_loss_args dataset_args sched_args '
     'grid_args metric_arg_list tf_config G_smoothing_kimg D_repeats minibatch_repeats '
     'reset_opt_for_new_lod total_kimg mirror_augment drange_net image_snapshot_ticks network_snapshot_ticks '
     'save_tf_graph save_weight_histograms resume_run_id resume_snapshot resume_kimg resume_time', ''),
]
# What is not there under its name: module, names, what is in its place.
ABSENT = [
    ('dnnlib.submission', '_internal.run', 'runs are on this machine only'),
    ('training.networks_stylegan', 'get_weight upscale2d downscale2d leaky_relu minibatch_stddev_layer',
     'in `training.layers.network_layers`, with the layout `fmt`'),
    ('dataset_tool', 'TFRecordExporter', '`data.converters.exporter.Exporter`, which writes a manifest, too'),
    ('dataset_tool', 'create_mnist create_mnistrgb create_cifar10 create_cifar100 create_svhn create_lsun '
     'create_lsun_wide create_celeba create_from_images create_from_hdf5 display extract compare',
     'a command of this name; the function is in `data`'),
    ('dataset_tool', 'error execute_cmdline', 'a command line that says `error: …` in one line'),
    ('dataset_tool', 'ThreadPool WorkerThread ExceptionInfo', '`data.workers`: processes'),
    ('run_metrics', 'run_pickle run_snapshot run_all_snapshots', 'options of `./reproduce metrics`'),
    ('generate_figures', 'load_Gs', '`training.misc.load_network_pkl`'),
    ('generate_figures', 'draw_uncurated_result_figure draw_style_mixing_figure draw_noise_detail_figure '
     'draw_noise_components_figure draw_truncation_trick_figure', '`figures.drawing`; `./reproduce figures` calls it'),
]


def table():
    """The table as text."""
    lines = ['| name | here |', '| --- | --- |']
    for module, names, difference in NAMES:
        for name in names.split():
            lines.append(f"| `{module}.{name}` | {difference or 'the same'} |")
    lines += [f"| `{owner}({name}=…)` | {difference or 'the same'} |"
              for owner, names, difference in KEYWORDS for name in names.split()]
    lines += [f'| `{module}.{name}` | absent: {why} |' for module, names, why in ABSENT for name in names.split()]
    return '\n'.join(lines) + '\n'


def document():
    """docs/migrating.md with the table brought up to date."""
    with open(TARGET, encoding='utf-8') as file:
        text = file.read()
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    return before + BEGIN + table() + END + after


def main():
    """Writes the file."""
    Parser(description=__doc__.split('\n')[0]).parse_args()
    text = document()
    with atomic_write(TARGET, 'w') as file:
        file.write(text)


if __name__ == '__main__':
    run_main(main)
