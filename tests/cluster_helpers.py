"""What tests of clusters send to worker processes."""

import os
import signal

from data.converters.create_from_images import FolderLoader


class Square:
    """Squares numbers; ends its process at 3 as long as there is no file with this name."""

    def __init__(self, marker):
        self._marker = marker

    def __call__(self, number):
        if number == 3 and not os.path.exists(self._marker):
            with open(self._marker, 'w'):
                os.kill(os.getpid(), signal.SIGKILL)
        return number * number


class DeadlyLoader(FolderLoader):
    """Ends its process at files that are called deadly.png."""

    def load(self, path):
        if os.path.basename(path) == 'deadly.png':
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(path)


class OnceDeadlyLoader(FolderLoader):
    """Ends its process at files that are called deadly.png, the first time."""

    def load(self, path):
        marker = os.path.join(self.folder, path + '.was-deadly')
        if os.path.basename(path) == 'deadly.png' and not os.path.exists(marker):
            with open(marker, 'w'):
                os.kill(os.getpid(), signal.SIGKILL)
        return super().load(path)


class FullDisk:
    """Finds no room on its disk, unless the process is the one that the marker names."""

    def __init__(self, marker):
        self._marker = marker

    def __call__(self, number):
        try:
            os.close(os.open(self._marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return number
        raise OSError(28, 'No space left on device', 'crops')


def environment_of_worker():
    """Its variables when it was started, before any code of it could change them, and those of now."""
    with open('/proc/self/environ', 'rb') as f:
        at_start = dict(os.fsdecode(entry).split('=', 1) for entry in f.read().split(b'\0') if b'=' in entry)
    return at_start, dict(os.environ)
