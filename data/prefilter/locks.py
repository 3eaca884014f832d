"""Keeps two runs from working on the same shard: a lock file that a run's processes share until the last has ended."""

import os
import time

from dnnlib.errors import UserError
from dnnlib.locks import BUSY, try_lock


def acquire(path, seconds=20):
    """Takes the lock for a new run, waiting a while for the workers of one that was just killed. Raises UserError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    deadline = time.time() + seconds
    while try_lock(fd) == BUSY:  # a file system without locks: go on without
        if time.time() > deadline:
            os.close(fd)
            raise UserError(f"another prefilter works on this folder ('{path}' is locked); wait for its end")
        time.sleep(0.1)
    try_lock(fd, exclusive=False)  # so that the workers can share it
    return fd


def share(path):
    """Takes part in the lock of the run that started this process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try_lock(fd, exclusive=False)
    return fd


def release(fd):
    os.close(fd)
