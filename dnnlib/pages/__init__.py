"""The pages that people look at: templates, one style and one script for all of them, and what fills them in.

A page is one file: the style, the script and, where it asks for that, its pictures are inside, and it may load nothing
from elsewhere. Templates escape whatever they are given; `raw` HTML comes from templates alone.
"""

import os

from dnnlib.command_line import visible
from dnnlib.files import atomic_write

FOLDER = os.path.dirname(os.path.abspath(__file__))
_environment = None


def render(template, **values):
    """The page that a template (`NAME.html` in this folder) makes of values, as text."""
    return _templates().get_template(template + '.html').render(values)


def write(path, template, **values):
    """Stores a page atomically. Returns its path."""
    page = render(template, **values)
    with atomic_write(path, 'w') as file:
        file.write(page)
    return path


def _templates():
    global _environment
    if _environment is None:
        import jinja2  # here, since commands that end with a sentence make no page
        _environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER, encoding='utf-8'), autoescape=True, undefined=jinja2.StrictUndefined,
            finalize=_writable, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
        _environment.globals.update(style=_text_of('style.css'), script=_text_of('page.js'))
    return _environment


def _text_of(name):
    with open(os.path.join(FOLDER, name), encoding='utf-8') as file:
        return file.read()


def _writable(value):
    """Folders and records of others may hold half characters, which no file can."""
    return visible(value) if type(value) is str else value
