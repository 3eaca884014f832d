"""This project's version, and its default folders: in the checkout, or where it is called if pip installed it.

Environment variables move the folders.
"""

import os

version = '1.0.0'   # setup.py, `--version`, records and network files take it from here

_ROOT = os.path.dirname(os.path.abspath(__file__))
installed = os.path.isfile(os.path.join(_ROOT, 'installed.json'))   # by setup.py, rather than checked out
_HOME = os.getcwd() if installed else _ROOT

result_dir = os.environ.get('STYLEGAN_RESULT_DIR', os.path.join(_HOME, 'results'))  # run directories
data_dir = os.environ.get('STYLEGAN_DATA_DIR', os.path.join(_HOME, 'datasets'))     # data sets
cache_dir = os.environ.get('STYLEGAN_CACHE_DIR', os.path.join(_HOME, 'cache'))      # downloads
config_dir = os.path.join(_ROOT, 'configs')                                         # named configurations
artifact_table = os.path.join(config_dir, 'artifacts.json')                          # released files
run_dir_ignore = ['results', 'datasets', 'cache']   # names that snapshots of source leave out, for `SubmitConfig`

# The one place that names rooms above: modules that stand higher than their published names.
report_module = 'experiment.reports.report'
export_module = 'figures.exporting'
metric_group = 'metrics.group.MetricGroup'    # measures network snapshots in training

# Modules whose functions and classes a configuration, a run or a network file may name: see dnnlib/registry.py.
declaring_modules = (
    'training.training_loop', 'training.networks_stylegan', 'training.networks_progan',
    'training.networks_dcgan', 'training.networks_minimal', 'training.networks_gan2014', 'training.networks_codec',
    'training.networks_accel',
    'training.loss', 'training.loss_codec',
    'training.dataset', 'metrics.classifier_training', 'metrics.base', 'metrics.metric_base',
    'metrics.frechet_inception_distance', 'metrics.kernel_inception_distance', 'metrics.linear_separability',
    'metrics.nearest_images', 'metrics.perceptual_path_length', 'metrics.precision_recall',
    'metrics.points.jsd', 'metrics.points.mode_coverage')
