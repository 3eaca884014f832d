"""What a process does with memory that it has freed."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

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
