"""What a process does with memory that it has freed, and how its peak is told."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from dnnlib import machine

KEEPS = '''
import ctypes
from dnnlib import machine

def resident():
    with open('/proc/self/statm') as f:
        return int(f.read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
print(machine.keep_freed_memory())
before = resident()
block = libc.malloc(64 << 20)
ctypes.memset(block, 1, 64 << 20)
libc.free(block)
print(resident() - before > 60 << 20)
'''


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='the C library of Linux')
@pytest.mark.parametrize('variables, expected', [({}, 'True'), ({'MALLOC_ARENA_MAX': '2'}, 'False')])
def test_freed_memory_is_kept_unless_the_user_says_otherwise(variables, expected):
    environment = {name: value for name, value in os.environ.items() if not name.startswith('MALLOC_')}
    said = subprocess.check_output([sys.executable, '-c', KEEPS], cwd=str(ROOT), env=dict(environment, **variables))
    assert said.decode().split() == [expected] * 2


def test_a_peak_of_memory_is_that_of_the_process_itself_and_not_of_the_one_that_started_it():
    large = np.ones(400 << 20, np.uint8)
    small = subprocess.run([sys.executable, '-c', 'from dnnlib.machine import peak_memory; print(peak_memory())'],
                           stdout=subprocess.PIPE, check=True, cwd=str(ROOT))
    assert int(small.stdout) < 200 << 20 < large.nbytes <= machine.peak_memory()
