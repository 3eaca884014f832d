"""Default folders, relative to the checkout; environment variables move them."""

import os

_ROOT = os.path.dirname(os.path.abspath(__file__))

result_dir = os.environ.get('STYLEGAN_RESULT_DIR', os.path.join(_ROOT, 'results'))  # run directories
data_dir = os.environ.get('STYLEGAN_DATA_DIR', os.path.join(_ROOT, 'datasets'))     # data sets
cache_dir = os.environ.get('STYLEGAN_CACHE_DIR', os.path.join(_ROOT, 'cache'))      # downloads
config_dir = os.path.join(_ROOT, 'configs')                                         # named configurations

# The one place that names rooms above: modules that stand higher than their published names.
report_module = 'experiment.report'
