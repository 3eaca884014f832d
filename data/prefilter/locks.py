"""Keeps two runs from working on the same shard: a lock file that a run's processes share until the last has ended."""

import errno
import os
import time

from dnnlib.util import UserError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


def acquire(path, seconds=20):
    """Takes the lock for a new run, waiting a while for the workers of one that was just killed. Raises UserError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    deadline = time.time() + seconds
    while not _lock(fd, exclusive=True):
        if time.time() > deadline:
            os.close(fd)
            raise UserError(f"another prefilter works on this folder ('{path}' is locked); wait for its end")
        time.sleep(0.1)
    _lock(fd, exclusive=False)  # so that the workers can share it
    return fd


def share(path):
    """Takes part in the lock of the run that started this process."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _lock(fd, exclusive=False)
    return fd


def release(fd):
    os.close(fd)


def _lock(fd, exclusive):
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as err:
        return err.errno in _UNSUPPORTED  # a file system without locks: go on without
    return True
