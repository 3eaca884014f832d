"""Locks on open files and folders, which the operating system ends together with the process that holds them."""

import errno

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

HELD, BUSY, UNSUPPORTED = 'held', 'busy', 'unsupported'

_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def try_lock(file, exclusive=True, wait=False):
    """Asks for the lock on a file.

    Args:
        file: an open file or folder, as an object with `fileno()` or a descriptor.
        exclusive: alone, or together with others that do not ask for it alone. A lock that is held already changes
            from one to the other.
        wait: wait while another process has it, instead of returning at once.

    Returns HELD, BUSY where another process has it, or UNSUPPORTED where the system or the file system has no locks, as
    some network file systems: then nobody can be kept out. Raises OSError for a failing disk and the like.
    """
    if fcntl is None:
        return UNSUPPORTED
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError as err:
        if err.errno in _BUSY:
            return BUSY
        if err.errno in _UNSUPPORTED:
            return UNSUPPORTED
        raise
    return HELD
