"""Whatever small files hold, readers give data or the project's own error, and nothing else.

The readers of records, .npy labels, configurations, pickles and checkpoints have such tests beside their others.
"""

import csv
import io
import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data import ledger, verify
from data.converters.labels import Labels
from data.lists import ImageList
from data.records.dataset import load_dataset
from data.records.tfrecord import Encoder
from dnnlib import files, submission, util
from dnnlib.submission.records import add_environment_record
from dnnlib.tflib import plain_files
from dnnlib.util import UserError
from experiment import doctor
from metrics.scores import records
from metrics.scores.own import own_protocol
from training.network_files import best

fuzz = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
leaves = st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=8)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner,
                                                                                          max_size=4), max_leaves=8)
damage = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6)


def objects(*keys):
    """JSON objects in which these keys have any values."""
    return st.dictionaries(st.sampled_from(keys), values, max_size=4)


def damaged(content, changes):
    """Bytes with some of them changed: pairs of position (modulo the length) and value."""
    content = bytearray(content)
    for position, value in changes:
        content[position % len(content)] = value
    return bytes(content)


def allow_user_errors(function, *args, **kwargs):
    """Calls a reader, exhausting what it yields."""
    try:
        result = function(*args, **kwargs)
        return list(result) if hasattr(result, '__next__') else result
    except UserError as err:
        assert len(str(err)) > 10
        return None


# ---- Labels, lists and ledgers: text

cells = st.text('ab019.-+e_ \t\r\n",;\\\0é', max_size=8) | st.sampled_from(
    ['1.png', '2.jpg', 'class', 'nan', '-inf', '1e999', '9' * 400, '²', 'x/1.png'])


tables = st.tuples(st.lists(st.lists(cells, max_size=4), max_size=5), st.sampled_from([',', ' '])).map(
    lambda both: '\n'.join(both[1].join(row) for row in both[0]).encode())


@fuzz
@given(st.binary(max_size=60) | tables, st.booleans())
def test_any_table_of_labels_is_read_or_refused(tmp_path, content, with_map):
    path = tmp_path / 'labels.csv'
    path.write_bytes(content)
    found = allow_user_errors(Labels, str(path), ['1.png', '2.png'], label_map=str(path) if with_map else None)
    assert found is None or found.values.shape == (2, len(found.names)) and np.isfinite(found.values).all()


@fuzz
@given(st.binary(max_size=80))
def test_any_list_of_images_is_read_or_refused(tmp_path, content):
    (tmp_path / 'list').write_bytes(content)
    found = allow_user_errors(ImageList, str(tmp_path / 'list'))
    assert found is None or allow_user_errors(found.survey, None, ['a/1.jpg', '1.png', 'b 2.png']) is None
    if found is not None:
        found.__contains__('a/1.jpg')   # raises nothing


def as_ledger(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([ledger.COLUMNS] + rows)
    return text.getvalue().encode('utf-8', 'surrogatepass')


ledger_rows = st.tuples(cells, st.sampled_from(['kept', 'rejected', '']), *[cells] * (len(ledger.COLUMNS) - 2))
ledgers = st.lists(ledger_rows, max_size=3).map(as_ledger)


@fuzz
@given(ledgers | st.tuples(ledgers, damage).map(lambda both: damaged(*both)) | st.binary(max_size=60))
def test_any_ledger_is_read_or_refused(tmp_path, content):
    path = tmp_path / 'ledger.csv'
    path.write_bytes(content)
    (tmp_path / 'summary.json').write_text('{}')
    rows = allow_user_errors(ledger.read, str(path)) or []
    assert all(isinstance(row, ledger.Row) for row in rows)
    for row in rows:
        ledger.is_complete(row, str(tmp_path))
    outputs = allow_user_errors(ledger.kept_outputs, str(tmp_path)) or []
    assert not any(name.startswith(('..', '/')) for name in outputs)
    allow_user_errors(ledger.merge, [str(path)], str(tmp_path / 'merged'))


# ---- What lies beside a data set: JSON

@pytest.fixture(scope='module')
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp('set')
    (folder / 'a-r02.tfrecords').write_bytes(Encoder([1, 4, 4]).encode(np.zeros([2, 1, 4, 4], np.uint8)).tobytes())
    np.save(str(folder / 'a.npy'), np.ones([2, 3], np.float32))
    shutil.move(str(folder / 'a.npy'), str(folder / 'a-rxx.labels'))
    return folder


manifests = objects('files', 'label_names', 'dynamic_range', 'is_image', 'arguments', 'skipped', 'fingerprint',
                    'shape', 'num_images', 'command', 'dtype') | st.fixed_dictionaries(
    {'files': st.dictionaries(st.sampled_from(['a-r02.tfrecords', '../x', '', '\0']),
                              objects('size', 'sha256') | values, max_size=2), 'fingerprint': values, 'shape': values})


@fuzz
@example(b'{"files": {"\\u0000": {}}}', 'manifest.json')
@example(b'{"files": {"\\ud800": {}}}', 'manifest.json')
@given(st.binary(max_size=40) | (manifests | values).map(lambda content: json.dumps(content).encode()),
       st.sampled_from(['manifest.json', 'fingerprint.json']))
def test_any_manifest_is_read_or_refused(data_set, capsys, content, name):
    path = data_set / name
    path.write_bytes(content)
    try:
        with_labels = dict(tfrecord_dir=str(data_set), max_label_size='full')
        found = allow_user_errors(load_dataset, **with_labels)
        if found is not None:
            assert isinstance(allow_user_errors(lambda: found.fingerprint), (str, type(None)))
            found.close()
        allow_user_errors(verify.verify, str(data_set))
        allow_user_errors(verify.info, str(data_set))
        config = util.EasyDict(dataset=dict(tfrecord_dir='.'))
        data = util.EasyDict(num_images=2, shape=[1, 4, 4])
        allow_user_errors(doctor.check_data_files, config, str(data_set), data, False)
    finally:
        path.unlink()


# ---- What lies in a run directory: JSON

@fuzz
@given(st.binary(max_size=40) | (values | objects('format', 'config', 'provenance', 'metric', 'value', 'starts', 'nimg')
                                 | st.fixed_dictionaries({'format': st.just(1), 'config': values, 'metric': values,
                                                          'value': values, 'values': values}))
       .map(lambda content: json.dumps(content).encode()))
def test_any_record_of_a_run_is_read_or_refused(tmp_path, capsys, content):
    for name in ('submit_config.json', 'environment.json', 'dataset.json', 'stats.jsonl', 'best-fid50k.json'):
        (tmp_path / name).write_bytes(content)
    allow_user_errors(submission.read_submit_config, str(tmp_path))
    allow_user_errors(files.read_json, str(tmp_path / 'dataset.json'))
    assert all(isinstance(item, dict) for item in files.read_json_lines(str(tmp_path / 'stats.jsonl')))
    record = allow_user_errors(records.read_record, str(tmp_path / 'best-fid50k.json'))
    if record is not None:
        allow_user_errors(records.values_of, record)
    (tmp_path / 'network-final.pkl').write_bytes(b'')
    new = dict(metric='fid50k', value=1.0, network='network-final', network_sha256='x', settings={}, seed=0,
               is_standin=False, dataset_fingerprint='x', mirror_augment=False)
    allow_user_errors(best.update, str(tmp_path), new, {'seed': 0})
    allow_user_errors(best.stands_for, str(tmp_path))
    allow_user_errors(own_protocol, str(tmp_path), 'fid50k')


@pytest.mark.parametrize('content', ['', '[]', '{"starts": 3}', '{"starts": {}}', '{', '{"starts": ["x"]}'])
def test_a_damaged_record_of_the_environment_does_not_keep_a_run_from_going_on(tmp_path, content):
    (tmp_path / 'environment.json').write_text(content)
    add_environment_record(str(tmp_path))
    starts = json.loads((tmp_path / 'environment.json').read_text())['starts']
    assert 'python' in starts[-1]


# ---- Networks without pickle

def make_networks():
    from dnnlib.tflib.safe_pickle import NetworkState
    return NetworkState(version=4, name='G', build_func_name='G_style', build_module_src='', components={},
                        static_kwargs={'a': 1}, variables=[('w', np.ones([2, 3], np.float32)), ('s', np.float32(1))])


@pytest.fixture(scope='module')
def plain_network_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('plain')
    state = make_networks()
    state.variables[1] = ('s', np.ones([], np.float32))
    plain_files.write_npz(state, str(folder / 'a.npz'))
    plain_files.write_safetensors(state, str(folder / 'a.safetensors'))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@fuzz
@given(st.sampled_from(['a.npz', 'a.json', 'a.safetensors']), damage)
def test_any_damaged_network_without_pickle_is_read_or_refused(tmp_path, plain_network_files, name, changes):
    for other, content in plain_network_files.items():
        (tmp_path / other).write_bytes(damaged(content, changes) if other == name else content)
    if name == 'a.safetensors':
        allow_user_errors(plain_files.read_safetensors, str(tmp_path / name))
    else:
        allow_user_errors(plain_files.read_npz, str(tmp_path / 'a.npz'))
