import importlib.util
import os

import config
from dnnlib import config_files

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def test_the_list_of_settings_is_current():
    path = os.path.join(ROOT, 'tools', 'make_config_docs.py')
    spec = importlib.util.spec_from_file_location('make_config_docs', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with open(tool.TARGET, encoding='utf-8') as f:
        assert f.read() == tool.make(), 'run python tools/make_config_docs.py'


def test_every_named_configuration_belongs_to_a_group():
    assert [members for group, members in config_files.group_configs(config.config_dir) if not group] == []
