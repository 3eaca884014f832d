"""Progress of long work in a log."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.converters.exporter import format_bytes
from data.records.dataset import TFRecordDataset
from data.records.tfrecord import Encoder
from dnnlib import progress
from dnnlib.progress import Progress
from dnnlib.util import UserError


def test_a_log_gets_plain_lines_with_rate_and_time_left(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(progress.time, 'time', lambda: clock[0])
    stream = io.StringIO()
    with Progress('making', 1000, stream=stream) as shown:
        for _ in range(10):
            clock[0] += 10
            shown.add(50)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and all(line.startswith('making: ') for line in lines)
    assert lines[0] == 'making: 200 of 1000 images (20 %), 5.0 per second, 2m 40s left'
    assert '500 of 1000 images (50 %)' in lines[-1]


def test_quick_work_prints_nothing_into_a_log():
    stream = io.StringIO()
    with Progress('making', 3, stream=stream) as shown:
        shown.add(3)
    assert stream.getvalue() == ''


def test_sizes_are_written_for_people():
    assert [format_bytes(size) for size in (512, 3400, 12 * 10 ** 9, 2620 * 10 ** 9)] == [
        '512 B', '3.4 kB', '12.0 GB', '2.6 TB']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('set')
    (path / 'a-r02.tfrecords').write_bytes(Encoder([1, 4, 4]).encode(np.zeros([2, 1, 4, 4], np.uint8)).tobytes())
    np.save(str(path / 'sound.npy'), np.zeros([2, 3], np.float32))
    return path


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=8), st.integers(0, 200))
def test_nothing_but_user_errors_comes_from_mangled_label_files(folder, changes, cut):
    content = bytearray((folder / 'sound.npy').read_bytes())
    for position, value in changes:
        content[position] = value
    (folder / 'a-rxx.labels').write_bytes(bytes(content[:len(content) - cut]))
    try:
        TFRecordDataset(str(folder), max_label_size='full').close()
    except UserError:
        pass
