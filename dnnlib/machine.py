"""What this machine has: processor cores, memory, free disk space, NVIDIA's GPUs. Does not import TensorFlow."""

import ctypes
import os
import re
import shutil
import subprocess
import sys

PROGRAM = 'nvidia-smi'
_PR_SET_PDEATHSIG = 1    # of Linux's prctl.h
_FOR_PICTURES = (('MALLOC_MMAP_THRESHOLD_', -3, 32 << 20), ('MALLOC_TRIM_THRESHOLD_', -1, 128 << 20),
                 ('MALLOC_ARENA_MAX', -8, 1))  # variable of glibc, parameter of its malloc.h, value


def usable_cores():
    """Number of processor cores that this process may use, at least 1."""
    if hasattr(os, 'sched_getaffinity'):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def processor_name():
    """The processor's name as Linux tells it, or None."""
    return _first_match('/proc/cpuinfo', r'^model name\s*:\s*(.*)')


def total_memory():
    """Bytes of memory in this machine, or None where that cannot be told."""
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    except (ValueError, OSError, AttributeError):
        return None


def available_memory():
    """Bytes of memory that programs could still get without swapping, or None where that cannot be told."""
    kibibytes = _first_match('/proc/meminfo', r'^MemAvailable:\s*(\d+)')
    return int(kibibytes) * 1024 if kibibytes else None


def peak_memory():
    """The most bytes of memory that this process has had resident since its program was started.

    `getrusage` alone would tell a small program that was started by a large one the peak of the large one.
    """
    kibibytes = _first_match('/proc/self/status', r'^VmHWM:\s*(\d+)')
    if kibibytes:
        return int(kibibytes) * 1024
    import resource  # not on Windows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


def _first_match(path, pattern):
    try:
        with open(path, encoding='utf-8', errors='replace') as f:
            match = re.search(pattern, f.read(), re.MULTILINE)
    except OSError:
        return None
    return match.group(1) if match else None


def existing_folder(path):
    """The folder nearest to `path`, or above it, that exists: on its disk whatever is made at `path` will lie."""
    path = os.path.abspath(path)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def free_disk(path):
    """Bytes of free disk space where `path` is or will be made."""
    return shutil.disk_usage(existing_folder(path)).free


def keep_freed_memory(pictures=False):
    """Has this process keep the memory of large blocks for the next ones, instead of giving each back to the system.

    A new page is cleared before it is used: for programs that make tensors of many megabytes over and over, that is a
    seventh of their time. Nothing is changed where the user has set `MALLOC_…` variables, or where the C library is not
    glibc. Returns whether it was done.

    pictures: keep 128 MB at most, and no block of over 32 MB, which suits processes that go through pictures.
    """
    if _is_set_by_user():
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # malloc.h: no blocks of their own (M_MMAP_MAX), nothing given back (M_TRIM_THRESHOLD), one heap (M_ARENA_MAX).
    settings = [setting[1:] for setting in _FOR_PICTURES] if pictures else [(-4, 0), (-1, 2 ** 31 - 1), (-8, 1)]
    return all([mallopt(parameter, value) for parameter, value in settings])


def memory_environment():
    """Variables for processes that are started, which keep freed memory as `keep_freed_memory(pictures=True)` does.

    They reach threads, too, which in a process that runs already may have heaps of their own. {} where the user has set
    such variables.
    """
    return {} if _is_set_by_user() else {name: str(value) for name, _, value in _FOR_PICTURES}


def _is_set_by_user():
    ours = {name: str(value) for name, _, value in _FOR_PICTURES}
    return any(name.startswith('MALLOC_') and ours.get(name) != value for name, value in os.environ.items())


def ends_with_parent(number):
    """For `preexec_fn` of a process: the signal reaches it when what started it ends, even if killed. Linux only."""
    prctl = getattr(ctypes.CDLL(None), 'prctl', None)
    return None if prctl is None else lambda: prctl(_PR_SET_PDEATHSIG, int(number))


# ---- GPUs, as NVIDIA's driver knows them

def nvidia_smi(*query, timeout=30):
    """What the driver's program answers to a query such as '--query-gpu=index,name', as a list of rows of texts.

    None where the program is absent, fails, or takes over `timeout` seconds.
    """
    text = output_of([PROGRAM, *query, '--format=csv,noheader'], timeout=timeout)
    return None if text is None else [[part.strip() for part in line.split(',')] for line in text.splitlines()]


def nvidia_gpus(fields, timeout=30):
    """One dict from field to text for each GPU that the driver knows; [] without one, or where it knows no `fields`."""
    rows = nvidia_smi('--query-gpu=' + ','.join(fields), timeout=timeout) or []
    return [dict(zip(fields, row)) for row in rows]


def visible_gpu(index):
    """What the driver's program calls this process's GPU number `index`: CUDA_VISIBLE_DEVICES may leave out some."""
    names = [name.strip() for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')]
    return names[index] if index < len(names) and names[index] else str(index)


def mebibytes(text):
    """The number in a text such as '1024 MiB', the form of the driver's sizes; 0 for any other."""
    match = re.match(r'(\d{1,12}) MiB\Z', text)
    return int(match.group(1)) if match else 0


def output_of(command, cwd=None, timeout=10, most=10000):
    """The first `most` characters that a command prints, or None if it fails or takes over `timeout` seconds."""
    try:
        result = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=timeout)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.decode('utf-8', 'replace')[:most].strip() if result.returncode == 0 else None
