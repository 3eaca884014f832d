"""How the command lines look: their help pages, and paths and other texts that they print."""

import argparse
import io
import os
import sys

from dnnlib.atomic import NAME_BYTES


class HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs as argparse does, but keeps a list of examples line by line."""

    def _fill_text(self, text, width, indent):
        if text.startswith('examples:'):
            return ''.join(indent + line for line in text.splitlines(keepends=True))
        return super()._fill_text(text, width, indent)


def shown(path):
    """A path as people want to see it: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return path if relative.startswith('..') else relative


def visible(text):
    """A text that can be written as UTF-8, see `NAME_BYTES`."""
    return text.encode('utf-8', NAME_BYTES).decode('utf-8')


def accept_all_characters():
    """Lets stdout and stderr write any text, whatever the locale: what was done must not fail when it is reported."""
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors=NAME_BYTES)
        elif stream is getattr(sys, f'__{name}__') and isinstance(stream, io.TextIOWrapper):  # Python 3.6
            # Only the process's own: what somebody else put in their place is somebody else's to take apart.
            setattr(sys, name, io.TextIOWrapper(stream.detach(), stream.encoding, NAME_BYTES, None,
                                                stream.line_buffering or name == 'stderr'))
