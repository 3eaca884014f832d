"""Fixtures that several test files share."""

import contextlib
import gc
import multiprocessing
import os
import pathlib
import re
import signal
import sys

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN_DIR = ROOT / 'tests' / 'golden'
DEVICE = os.environ.get('STYLEGAN_TEST_DEVICE', 'cpu')  # where networks are tested: cpu or gpu

if DEVICE not in ('cpu', 'gpu'):
    raise pytest.UsageError(f"STYLEGAN_TEST_DEVICE is '{DEVICE}'; cpu or gpu is expected")
if DEVICE == 'gpu':
    # Products of float32 with all their digits; the libraries read this as they are loaded, in processes of tests too.
    os.environ.setdefault('NVIDIA_TF32_OVERRIDE', '0')

# The first session of a process settles the number of threads of all later ones, and on TensorFlow 2 the last bits
# depend on it. So sessions that ask for none have two on every machine, as those have whose bits are compared.
for name in ('TF_NUM_INTRAOP_THREADS', 'TF_NUM_INTEROP_THREADS'):
    os.environ.setdefault(name, '2')

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts background jobs like that, and the processes that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Property-based tests try the same examples every time; `--hypothesis-profile=default` makes them look for new ones.
# How long one takes says nothing: other programs may run beside.
hypothesis.settings.register_profile('repeatable', derandomize=True, deadline=None,
                                     suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile('repeatable')


def pytest_configure(config):
    """Examples do not depend on what other tests have imported, whose source newer versions take numbers from."""
    with contextlib.suppress(ImportError):
        from hypothesis.internal.conjecture import providers
        if not config.getoption('--hypothesis-profile') and hasattr(providers, 'is_local_module_file'):
            providers.is_local_module_file = lambda path: False


def stable_id(value):
    """A test's name for a value: the same in every process, so that several can share the tests among them."""
    return re.sub(r' at 0x[0-9a-f]+', '', repr(value))[:80]


def pytest_make_parametrize_id(config, val, argname):
    """Bytes and long texts are told by their parameter: files made for a test have time stamps in them."""
    return argname if isinstance(val, bytes) or isinstance(val, str) and len(val) > 60 else None


def pytest_collection_finish(session):
    """What has been imported stays: the garbage collector need not go over it again and again."""
    if hasattr(gc, 'freeze'):   # Python 3.7
        gc.collect()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Sessions leave TensorFlow's graph optimizer out, which takes longer than all that tests do with a small graph.

    It runs as for users in tests marked `optimized`, and in processes of their own.
    """
    tfutil = sys.modules.get('dnnlib.tflib.tfutil')
    if tfutil is not None:
        is_left_out = item.get_closest_marker('optimized') is None
        tfutil.SESSION_DEFAULTS['graph_options.rewrite_options.disable_meta_optimizer'] = is_left_out


# Seconds of the files that take longest. They are begun first: else a process works on one of them alone at the end.
LONG = {
    'test_training_loop.py': 69, 'test_networks_stylegan.py': 66, 'test_cross_engine.py': 65, 'test_metrics.py': 60,
    'test_faults.py': 58, 'test_processes.py': 48, 'test_acceleration.py': 34, 'test_original_programs.py': 32,
    'test_metrics_of_families.py': 32, 'test_train_cli.py': 28, 'test_exchange.py': 25, 'test_locating.py': 21,
    'test_tflib.py': 20, 'test_safe_pickle.py': 20, 'test_transfer.py': 17, 'test_run_config.py': 17,
    'test_report.py': 17, 'test_prefilter_run.py': 17, 'test_metrics_cli.py': 16, 'test_explorer.py': 16,
    'test_scores_kept.py': 15, 'test_metric_networks.py': 15, 'test_lecture_runs.py': 15, 'test_projection.py': 14,
    'test_networks_progan.py': 13, 'test_labels.py': 13, 'test_command_lines.py': 13, 'test_odd_places.py': 12,
    'test_network_gradients.py': 12, 'test_figures.py': 12, 'test_network_runs.py': 11, 'test_half_precision.py': 11,
    'test_workers.py': 10, 'test_tables.py': 10, 'test_protocol_options.py': 10, 'test_curves.py': 10}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Processes share the tests file by file, the longest first, then those of most tests."""
    if config.getoption('dist') != 'loadfile':
        return None
    from xdist.scheduler import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _assign_work_unit(self, node):
            name = max(self.workqueue, key=lambda path: (LONG.get(os.path.basename(path), 0),
                                                         len(self.workqueue[path])))
            self.workqueue.move_to_end(name, last=False)
            super()._assign_work_unit(node)

    return LongestFirst(config, log)


@pytest.fixture
def golden_dir():
    """Folder of the reference numbers that the project carries."""
    return GOLDEN_DIR


@pytest.fixture
def reference_dir():
    """Folder of further reference data, named by the environment variable REFERENCE_DIR; skips where it is absent."""
    path = os.environ.get('REFERENCE_DIR')
    if not path or not os.path.isdir(path):
        pytest.skip('REFERENCE_DIR does not name a folder with reference data')
    return pathlib.Path(path).resolve()


def tolerance(cpu, gpu):
    """How far numbers may be off on the device that is tested: a GPU sums in other orders and forms of convolution."""
    return gpu if DEVICE == 'gpu' else cpu


@contextlib.contextmanager
def new_session():
    """A new TensorFlow graph with a default session on the device that is tested, for the length of a `with` block."""
    from dnnlib import tflib
    from dnnlib.tflib import tf
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        if DEVICE == 'gpu':
            tflib.set_deterministic()
        tflib.select_device(DEVICE)
        session = tflib.create_session({'allow_soft_placement': True, 'device_count.CPU': 2,
                                        'gpu_options.allow_growth': True})
        with session.as_default():
            yield session
        session.close()


def _default_sessions():
    """TensorFlow's stack of default sessions: empty where nothing imported it yet."""
    for name in ('stack', 'ops'):  # the first is TensorFlow 2's
        module = sys.modules.get('tensorflow.python.framework.' + name)
        if hasattr(module, '_default_session_stack'):
            return module._default_session_stack.stack
    return []


@contextlib.contextmanager
def _sessions_left_open_are_left():
    """What commands leave open inside this process (see `tflib.init_tf`) is the default session of nobody later.

    A session that is only taken from the stack would be looked for there again when it is garbage.
    """
    before = len(_default_sessions())
    yield
    stack = _default_sessions()
    while len(stack) > before:
        if hasattr(stack[-1], 'default_manager'):
            stack[-1].default_manager.__exit__(None, None, None)
        else:
            stack.pop()


@pytest.fixture(autouse=True, scope='module')
def no_session_left_over_by_fixtures():
    """Sessions that fixtures of a module leave open are the default of no other module."""
    with _sessions_left_open_are_left():
        yield


@pytest.fixture(autouse=True)
def no_session_left_over(no_session_left_over_by_fixtures):
    """Sessions that a test leaves open are the default of no other test."""
    with _sessions_left_open_are_left():
        yield


@pytest.fixture
def fresh_graph():
    """A new graph and session (see `new_session`) for one test."""
    with new_session() as session:
        yield session


@pytest.fixture
def no_downloads(tmp_path, monkeypatch):
    """Released files are looked for in an empty folder, and never fetched."""
    import config
    from dnnlib.artifacts import store
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / 'artifacts'))
    monkeypatch.setattr(config, 'cache_dir', str(tmp_path / 'cache'))


@pytest.fixture
def quick_workers(monkeypatch):
    """The pre-filter's workers are forked from a process that has imported what all need: no half second for each."""
    from data.prefilter import pool
    multiprocessing.get_context('forkserver').set_forkserver_preload(['data.prefilter.worker', 'prefilter_helpers'])
    monkeypatch.setattr(pool, '_START', 'forkserver')


@pytest.fixture(scope='module')
def faces(tmp_path_factory):
    """A small data set of drawn faces, see `metric_helpers.make_faces`."""
    from metric_helpers import make_faces
    return make_faces(tmp_path_factory.mktemp('faces'))


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A small snapshot, see `metric_helpers.make_network`."""
    from metric_helpers import make_network
    return make_network(tmp_path_factory.mktemp('network'))


@pytest.fixture(scope='module')
def little_network(tmp_path_factory):
    """A snapshot of 8x8, which is built in half the time and has no path lengths."""
    from metric_helpers import make_network
    return make_network(tmp_path_factory.mktemp('little'), resolution=8)
