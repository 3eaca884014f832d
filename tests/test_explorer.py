"""The explorer's page: what it asks for is what generate.py draws, nobody else gets anything, every control works."""

import io
import os
import shlex
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from urllib.parse import quote

import numpy as np
import pytest
from browser import Browser
from conftest import ROOT, new_session
from generator_helpers import STYLEGAN, TINY, open_once, save_networks
from PIL import Image

import explore
import generate
from dnnlib import UserError, tflib
from dnnlib.util import EasyDict
from figures.explorer import opening, render, server, state, worker
from figures.generator import Generator
from figures.latent_files import Latents

pytestmark = pytest.mark.optimized  # as the page's process: equal bits are compared


@pytest.fixture(scope='module')
def networks(tmp_path_factory):
    """Paths of a network with styles and classes, and of one without either."""
    with new_session():
        return save_networks(tmp_path_factory.mktemp('networks'), label_size=3)


class Running:
    """explore.py in a process of its own."""

    def __init__(self, *arguments):
        environment = dict(os.environ, CUDA_VISIBLE_DEVICES='', PYTHONUNBUFFERED='')
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / 'explore.py'), '--port', '0', '--no-browser', *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, env=environment)
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith('http://'):
                break
        else:
            raise AssertionError(''.join(lines) + self.process.stderr.read())
        self.address = lines[-1].strip()
        self.base, _, self.token = self.address.partition('/?token=')

    def get(self, path, token=None, **more):
        """(status, body) of a request."""
        separator = '&' if '?' in path else '?'
        token = self.token if token is None else token
        path += f'{separator}token={quote(token)}' if token else ''
        request = urllib.request.Request(self.base + path, **more)
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as err:
            return err.code, err.read()

    def image(self, query):
        status, body = self.get('/image?' + query)
        assert status == 200, body
        return np.array(Image.open(io.BytesIO(body)))

    def end(self, number):
        """Sends a signal; returns the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=300)
        self.process.stdout.close()
        self.process.stderr.close()
        return status


@pytest.fixture(scope='module')
def running(networks):
    page = Running('--network', networks['styles'], '--class', 'zeros')
    yield page
    if page.process.poll() is None:
        page.end(signal.SIGKILL)


@pytest.fixture(scope='module')
def opened():
    """Generators that command lines have opened, by path."""
    with new_session():
        yield {}


@pytest.fixture
def opened_once(opened, monkeypatch):
    """generate.py opens a network only the first time."""
    open_once(opened, monkeypatch)


def generated(network, folder, *more):
    """The pictures that generate.py writes, by name."""
    generate.main(['--network', network, '--outdir', str(folder), '--class', 'zeros', *more])
    return {name: np.array(Image.open(str(folder / name))) for name in os.listdir(str(folder))
            if name.startswith(('seed', 'latents'))}


# ---- What a request means

@pytest.mark.both
def test_requests_are_read_and_held_to_their_ranges():
    wanted = state.parse([('seed', '5'), ('near', '1,2'), ('mix_layers', '0-2,5'), ('sliders', '-1.5,0,2')])
    assert (wanted.seed, wanted.near, wanted.mix_layers, wanted.sliders) == (5, (1, 2), (0, 1, 2, 5), (-1.5, 0, 2))
    assert state.parse([]) == state.parse([('psi', '0.7'), ('cutoff', '8'), ('noise', 'stored')])
    assert state.parse([('noise_layers', '')]).noise_layers == () and state.parse([]).noise_layers is None


@pytest.mark.both
@pytest.mark.parametrize('name, text', [
    ('seed', '-1'), ('seed', '4294967296'), ('seed', '1.5'), ('seed', '١'), ('psi', 'nan'), ('psi', '1e9'), ('psi', ''),
    ('noise', 'loud'), ('mix_layers', '3-1'), ('mix_layers', '0-100'), ('sliders', '1,2,3,4,5'), ('sliders', '1,inf'),
    ('near', ','), ('t', '1.1'), ('thumb', '4'), ('client', 'a b'), ('class', 'x' * 300), ('path', '/etc/passwd')])
def test_requests_that_mean_nothing_are_refused(name, text):
    with pytest.raises(UserError, match=name):
        state.parse([(name, text)])
    with pytest.raises(UserError, match='twice'):
        state.parse([('seed', '1'), ('seed', '1')])


# ---- The model's thread

@pytest.mark.both
def test_the_thread_answers_in_order_and_hands_errors_back():
    model = worker.Worker().start()
    assert [model.do(lambda i=i: i * i) for i in range(3)] == [0, 1, 4]
    with pytest.raises(ZeroDivisionError):
        model.do(lambda: 1 // 0)
    assert model.do(threading.current_thread) is not threading.current_thread()
    assert model.stop(300)
    with pytest.raises(worker.Busy):
        model.do(lambda: 1)


@pytest.mark.both
def test_stale_requests_are_dropped_and_the_queue_has_a_limit():
    model = worker.Worker(most_waiting=2).start()
    began, gate, results = threading.Event(), threading.Event(), {}

    def hold():
        began.set()
        gate.wait()

    def ask(name, *args):
        try:
            results[name] = model.do(lambda: name, *args)
        except (worker.Stale, worker.Busy) as err:
            results[name] = type(err)

    threads = [threading.Thread(target=model.do, args=(hold,))]
    threads[0].start()
    began.wait()
    for number, args in enumerate([('old', 'a'), ('new', 'a'), ('other', 'b', False), ('too many', 'c')]):
        threads.append(threading.Thread(target=ask, args=args))
        threads[-1].start()
        while len(results) < (0, 1, 1, 2)[number] or sum(map(len, model._waiting.values())) < (1, 1, 2, 2)[number]:
            pass
    gate.set()
    for thread in threads:
        thread.join()
    assert results == {'old': worker.Stale, 'new': 'new', 'other': 'other', 'too many': worker.Busy}
    model.stop(300)


# ---- Pictures

def test_pictures_are_those_of_generate(running, networks, tmp_path, opened_once):
    stored = generated(networks['styles'], tmp_path / 'a', '--seeds', '5')
    np.testing.assert_array_equal(running.image('seed=5&psi=0.7&cutoff=8&noise=stored'), stored['seed0005.png'])
    for noise in ('random', 'none'):
        wanted = generated(networks['styles'], tmp_path / noise, '--seeds', '6', '--psi', '-0.5', '--cutoff', '2',
                           '--noise', noise)
        np.testing.assert_array_equal(running.image(f'seed=6&psi=-0.5&cutoff=2&noise={noise}'), wanted['seed0006.png'])


QUERIES = [
    'seed=3&mix=4&mix_layers=0-2&psi=0.9', 'seed=3&near=4,1&sliders=2,0,-1', 'seed=3&to=8&t=0.3&noise=random',
    'seed=3&psi=0.1234567891', 'seed=3&psi=-1e-7', 'seed=3&noise_layers=0,5', 'seed=3&noise=random&noise_seed=77',
    'seed=3&class=2&noise=none']


@pytest.mark.parametrize('query', QUERIES)
def test_latents_and_the_command_make_the_same_picture_again(running, networks, tmp_path, query, monkeypatch,
                                                             opened_once):
    _, command = running.get('/command?' + query)
    _, latents = running.get('/latents?' + query)
    (tmp_path / 'latents.npz').write_bytes(latents)
    monkeypatch.chdir(str(tmp_path))
    words = command.decode().split()
    assert words[:4] == ['./reproduce', 'generate', '--network', networks['styles']]
    generate.main(words[2:] + ['--outdir', 'again'])
    again, = [name for name in os.listdir('again') if name.startswith(('seed', 'latents'))]
    np.testing.assert_array_equal(np.array(Image.open(os.path.join('again', again))), running.image(query))


# ---- Who gets something

def test_without_the_token_or_for_another_host_nothing_is_given(running):
    for path in ('/', '/image?seed=1', '/latents', '/command', '/static/explorer.js', '/nothing'):
        for token in ('', 'wrong', running.token + 'x'):
            assert running.get(path, token=token)[0] == 403
    assert running.get('/', headers={'Host': 'example.com'})[0] == 403
    assert running.get('/', headers={'Host': running.base[len('http://'):].replace('127.0.0.1', 'localhost')})[0] == 200


@pytest.mark.parametrize('path, status', [
    ('/image?seed=x', 400), ('/image?seed=1&seed=2', 400), ('/image?psi=nan', 400), ('/image?what=1', 400),
    ('/image?mix=1&mix_layers=7', 400), ('/image?class=9', 400), ('/image?seed=%00', 400), ('/image?seed=%ff', 400),
    ('/image?photo=0', 400), ('/image?noise_layers=0-50', 400), ('/image?seed=' + '1' * 5000, 413),
    ('/image?client=' + 'a' * 100000, 413),
    ('/static/..%2fserver.py', 404), ('/static/explorer.html', 404), ('/other', 404)])
def test_bad_requests_get_a_sentence(running, path, status):
    """Commands and latents of what has no picture are none either."""
    for place in ('/image', '/command', '/latents') if path.startswith('/image') else ('',):
        found, body = running.get(path.replace('/image', place, 1) if place else path)
        assert found == status and body.strip() and b'Traceback' not in body


def test_large_bodies_and_other_methods_are_refused(running):
    assert running.get('/image', data=b'x' * 200000)[0] == 413
    assert running.get('/image', headers={'X': 'x' * 100000}) == (413, b'the request is too large\n')
    assert running.get('/image', data=b'x')[0] == 405
    assert running.get('/image', method='OPTIONS')[0] == 405
    assert running.image('seed=1').shape == (16, 16, 3)     # and it goes on


# ---- The page

SET = '''(function (id, value, event) { var e = document.getElementById(id); e.focus(); e.value = value;
e.dispatchEvent(new Event(event, {bubbles: true})); })'''
# A control, what is done to it, and whether it must change the picture.
STEPS = [(f'{SET}("seed", "5", "input")', 'seed=5'), ('document.getElementById("seed-next").click()', 'seed=6'),
         ('document.getElementById("seed-prev").click()', 'seed=5'),
         (f'{SET}("psi", "1.2", "input")', 'psi=1.2'), (f'{SET}("cutoff", "2", "input")', 'cutoff=2'),
         (f'{SET}("class", "2", "change")', 'class=2'),
         (f'{SET}("slider-0", "2", "input")', 'sliders=2'), (f'{SET}("slider-1", "-2", "input")', 'sliders=2%2C-2'),
         (f'{SET}("slider-2", "3", "input")', '-2%2C3'), (f'{SET}("slider-3", "-3", "input")', '3%2C-3'),
         (f'{SET}("mix", "9", "input")', 'mix=9'), (f'{SET}("mix-from", "1", "input")', 'mix_layers=1-3'),
         (f'{SET}("mix-to", "5", "input")', 'mix_layers=1-5'),
         ('document.getElementById("noise-layer-4").click()', 'noise_layers=0%2C1%2C2%2C3%2C5'),
         (f'{SET}("noise", "none", "change")', 'noise=none'), (f'{SET}("noise", "random", "change")', 'noise=random'),
         ('document.getElementById("noise-again").click()', 'noise_seed='),
         (f'{SET}("to", "11", "input"); {SET}("t", "0.5", "input")', 't=0.5'),
         ('document.getElementById("seed-random").click()', '!seed=5&')]
PIXELS = '''(function () { var i = document.getElementById("image"), c = document.createElement("canvas");
c.width = i.naturalWidth; c.height = i.naturalHeight; var x = c.getContext("2d"); x.drawImage(i, 0, 0);
return Array.from(x.getImageData(0, 0, c.width, c.height).data); })()'''


def pixels(browser, query):
    """The picture on the page and its query, once that has these words, or, after a '!', has them not."""
    sign = '<' if query.startswith('!') else '>='
    browser.wait(f'(document.getElementById("image").dataset.query || "").indexOf({query.lstrip("!")!r}) {sign} 0')
    values = browser.evaluate(PIXELS)
    return np.array(values, np.uint8).reshape(16, 16, 4)[..., :3], browser.evaluate(
        'document.getElementById("image").dataset.query')


@pytest.fixture(scope='module')
def browser():
    with Browser() as found:
        yield found


def test_every_control_changes_the_picture(running, browser):
    browser.resize(1280, 900)
    browser.open(running.address)
    before, _ = pixels(browser, 'seed=0')
    for action, words in STEPS:
        browser.evaluate(action)
        now, query = pixels(browser, words)
        assert (now != before).any(), action
        np.testing.assert_array_equal(now, running.image(query), action)
        before = now
    assert browser.problems == []


def test_history_neighbours_path_and_command(running, browser):
    browser.open(running.address)
    first, _ = pixels(browser, 'seed=0')
    browser.evaluate(f'{SET}("seed", "5", "input")')
    second, _ = pixels(browser, 'seed=5')
    browser.evaluate('document.getElementById("undo").click()')
    np.testing.assert_array_equal(pixels(browser, 'seed=0')[0], first)
    browser.evaluate('document.getElementById("redo").click()')
    np.testing.assert_array_equal(pixels(browser, 'seed=5')[0], second)
    browser.wait('document.querySelectorAll("#history canvas").length == 1')
    browser.evaluate('document.getElementById("seed-next").click(); document.getElementById("seed-next").click()')
    browser.evaluate('document.getElementById("undo").click()')     # however quickly they followed each other
    np.testing.assert_array_equal(pixels(browser, 'seed=6')[0], running.image('seed=6'))
    browser.evaluate(f'{SET}("seed", "-7", "input"); document.getElementById("to").focus()')
    assert browser.evaluate('document.getElementById("seed").value') == '6'
    browser.evaluate('document.getElementById("undo").click()')
    pixels(browser, 'seed=5')
    browser.evaluate('document.getElementById("neighbours").click()')
    browser.wait('document.querySelectorAll("#grid img").length == 8')
    browser.evaluate('document.getElementById("neighbour-3").click()')
    assert (pixels(browser, 'near=3')[0] != second).any()
    browser.evaluate('document.getElementById("step-back").click()')
    browser.wait('document.getElementById("image").dataset.query.indexOf("near") < 0')
    browser.evaluate(f'{SET}("to", "9", "input"); document.getElementById("play").click()')
    browser.evaluate('window.seen = {}')
    browser.wait('(function () { window.seen[document.getElementById("image").dataset.query.split("&t=")[1]] = true; '
                 'return Object.keys(window.seen).length >= 4; })()')
    browser.evaluate('document.getElementById("play").click()')
    browser.evaluate('document.getElementById("show-command").click()')
    assert './reproduce generate' in browser.wait('document.getElementById("command").textContent')
    link = browser.evaluate('document.getElementById("download-latents").href')
    assert '/latents?token=' in link and 'to=9' in link


def test_keys_steer_the_page(running, browser):
    browser.open(running.address)
    pixels(browser, 'seed=0')
    browser.evaluate('document.getElementById("image").focus()')
    browser.key('ArrowRight', 39)
    pixels(browser, 'seed=1')
    browser.key('ArrowRight', 39)
    pixels(browser, 'seed=2')
    browser.key('u', 85)
    browser.wait('document.getElementById("seed").value < 2')
    order = browser.evaluate('Array.from(document.querySelectorAll("input, select, button, a")).every('
                             'function (e) { return e.tabIndex >= 0; })')
    assert order


@pytest.mark.parametrize('width', [390, 1280])
@pytest.mark.parametrize('dark', [False, True])
def test_the_page_fits_its_width(running, browser, width, dark):
    browser.resize(width, 844 if width == 390 else 900, dark)
    browser.open(running.address)
    pixels(browser, 'seed=0')
    assert browser.evaluate('document.documentElement.scrollWidth') <= width
    outside = browser.evaluate('''Array.from(document.querySelectorAll("input, button, select, .button")).filter(
        function (e) { var r = e.getBoundingClientRect(); return r.width && (r.left < 0 || r.right > innerWidth) &&
        !e.closest("#history"); }).map(function (e) { return e.id; })''')
    assert outside == []
    back = browser.evaluate('getComputedStyle(document.body).backgroundColor')
    assert (sum(map(int, back[4:-1].split(','))) < 200) == dark


# ---- The end, and other networks

@pytest.mark.both
def test_networks_without_styles_say_so_and_end_on_a_signal(networks):
    page = Running('--network', networks['plain'])
    assert (page.image('seed=1') != page.image('seed=1&to=2&t=1')).any()
    np.testing.assert_array_equal(page.image('seed=2'), page.image('seed=1&to=2&t=1'))
    for query in ('mix=1&mix_layers=0', 'class=1', 'noise_layers=0', 'sliders=1'):
        status, body = page.get('/image?' + query)
        assert status == 400 and b'network has no' in body or b'there are 0' in body
    assert b'no styles per layer' in page.get('/')[1]
    assert page.get('/command?seed=3')[1].decode().split()[-2:] == ['--seeds', '3']
    assert page.end(signal.SIGINT) == 0


def test_sigterm_ends_it_well(running):
    assert running.end(signal.SIGTERM) == 0


def test_a_taken_port_and_missing_latents_are_said(running_port, capsys):
    from figures.explorer import serving
    with pytest.raises(UserError, match='--port'):
        serving.take_port(running_port)
    with pytest.raises(UserError, match='there is no file'):
        explore.parse_args(['--network', 'x', '--latents', '/nowhere.npz'])
    with pytest.raises(SystemExit):
        explore.parse_args(['--network', 'x', '--port', '70000'])
    assert 'port' in capsys.readouterr().err


@pytest.fixture
def running_port():
    from figures.explorer import serving
    sock = serving.take_port(0)
    yield sock.getsockname()[1]
    sock.close()


def test_commands_quote_what_a_shell_would_take_apart():
    renderer = EasyDict(gen=EasyDict(is_style_based=True, has_noise=True), facts=EasyDict(network="a b'c.pkl"))
    words = shlex.split(server.command_of(state.parse([('seed', '1')]), renderer))
    assert words[:6] == ['./reproduce', 'generate', '--network', "a b'c.pkl", '--seeds', '1']


def test_latents_that_were_given_have_neighbours_too():
    with new_session():
        gen = Generator(tflib.Network('Gs', STYLEGAN, **TINY), progress=False)
        photos = Latents(gen.dlatents(gen.latents(9)))
        renderer = render.Renderer(gen, EasyDict(network='a', sha256=None), photos=photos)
        found = [renderer.point(state.parse([('photo', '0'), ('near', near)])).w
                 for near in ('', '1', '2', '1,2')]
        assert len({w.tobytes() for w in found}) == 4
        np.testing.assert_array_equal(found[0], photos.w)


def test_sliders_move_along_directions_that_are_named(networks, tmp_path):
    np.save(str(tmp_path / 'mine.npy'), np.eye(8)[:6])
    with new_session():
        args = explore.parse_args(['--network', networks['styles'], '--class', 'zeros', '--directions',
                                   str(tmp_path / 'mine.npy'), '--sliders', 'mine-5,mine-2'])
        renderer = opening.open_renderer(args)
        assert server.page_facts(renderer)['directions'] == ['mine-5', 'mine-2']
        moved = renderer.point(state.parse([('sliders', '0,2')])).w - renderer.point(state.parse([])).w
        np.testing.assert_allclose(moved[0], np.tile(2 * renderer.directions[1].deviation * np.eye(8)[1], [6, 1]),
                                   atol=1e-4)
        args.sliders = 'nothing'
        with pytest.raises(UserError, match='mine-1, mine-2'):
            opening.open_renderer(args)
