"""How the help pages of the command lines look."""

import argparse
import os


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
