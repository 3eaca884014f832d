"""Pages are one file each, escape what they are given, and their templates go wherever the program goes."""

import os
import re

import jinja2
import pytest
from conftest import ROOT

from dnnlib import pages
from dnnlib.submission import run_dir

EVIL = '<script>alert("x")</script> & \ud800 \u03c8'
TABLE = dict(title=EVIL, paper=EVIL, about=EVIL, head=['method', EVIL], notes=[EVIL], remarks=[EVIL], protocol=[EVIL],
             rows=[(EVIL, [dict(name=EVIL, value='1.0', marks=[1], others=EVIL), None])])
PICTURE = dict(file='a&"b.png', width=256)
FIGURES = dict(title=EVIL, facts={EVIL: EVIL}, figures=[
    dict(id='a', title=EVIL, caption=EVIL, picture=PICTURE, animation=PICTURE, columns=[(EVIL, 1)], rows=[(EVIL, 2)],
         groups=[(EVIL, 3)])])
SAMPLES = dict(title=EVIL, facts={'psi': 0.7}, pages=['index.html', 'index-2.html'], width=128, is_crisp=True,
               cells=[('a&"b.png', EVIL)])

EXPLORER = dict(token='t', facts=dict(
    network=EVIL, file='a&"b.png', engine=EVIL, device='cpu', resolution=8, layers=0, noise_layers=0, classes=0,
    photos=0, cannot={'class': EVIL, 'psi': EVIL}, directions=[EVIL]))


@pytest.mark.both
@pytest.mark.parametrize('template, values', [('table', TABLE), ('figures', FIGURES), ('samples', SAMPLES),
                                              ('explorer', EXPLORER)])
def test_pages_show_what_they_are_given_as_text(tmp_path, template, values):
    text = open(pages.write(str(tmp_path / 'page.html'), template, **values), encoding='utf-8').read()
    assert 'alert("x")' not in text
    assert '&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; \\ud800 \u03c8' in text
    assert template == 'table' or 'a&amp;&#34;b.png' in text


@pytest.mark.parametrize('template, values', [('table', TABLE), ('figures', FIGURES), ('samples', SAMPLES)])
def test_a_page_brings_its_style_and_script_and_loads_nothing(template, values):
    text = pages.render(template, **values)
    assert 'prefers-color-scheme: dark' in text and 'a.enlarge' in text and "default-src 'none'" in text
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:)?//|@import|url\(|<link', text)


def test_a_value_that_a_template_wants_must_be_given():
    with pytest.raises(jinja2.UndefinedError, match='about'):
        pages.render('table', **{key: value for key, value in TABLE.items() if key != 'about'})


def test_templates_go_into_the_image_and_the_sources_of_a_run():
    wanted = {'dnnlib/pages/' + name for name in os.listdir(pages.FOLDER) if not name.endswith(('.pyc', '__'))}
    assert {'dnnlib/pages/style.css', 'dnnlib/pages/page.js', 'dnnlib/pages/report.html'} <= wanted
    assert wanted <= {relative for _, relative in run_dir.list_source(str(ROOT))}
    left_out = (ROOT / '.dockerignore').read_text(encoding='utf-8').split()
    assert not any(pattern.rstrip('/') in ('dnnlib', '**/*.html', '**/*.css', '**/*.js') for pattern in left_out)
