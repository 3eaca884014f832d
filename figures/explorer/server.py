"""Answers the browser: one page, its parts, and pictures. Whoever has not the token of its address gets nothing."""

import functools
import hmac
import io
import os
import shlex

import flask
import numpy as np

import config
from dnnlib import pages
from dnnlib.errors import UserError
from figures import sheet
from figures.explorer import render, state, worker
from figures.latent_files import Latents

LONGEST_QUERY = 4096        # bytes
LARGEST_BODY = 65536
PARTS = {'explorer.js': 'text/javascript', 'explorer.css': 'text/css', 'style.css': 'text/css'}
HEADERS = {'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer',
           'X-Frame-Options': 'DENY',
           'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: "
                                      "data:; connect-src 'self'; base-uri 'none'; form-action 'none'"}


def make_app(renderer, model, token, hosts):
    """The Flask application.

    Args:
        renderer: `figures.explorer.render.Renderer`.
        model: `figures.explorer.worker.Worker`, in whose thread it renders.
        token: text that every request must carry.
        hosts: values of the header `Host` that are ours.
    """
    app = flask.Flask('figures.explorer', static_folder=None)

    @app.before_request
    def admit():
        request = flask.request
        if request.headers.get('Host') not in hosts:
            return _sentence('this page is for this machine only', 403)
        given = request.args.getlist('token')
        if len(given) != 1 or not hmac.compare_digest(given[0].encode('utf-8', 'replace'), token.encode()):
            return _sentence('the token of the address that explore.py printed is missing', 403)
        if len(request.query_string) > LONGEST_QUERY or (request.content_length or 0) > LARGEST_BODY \
                or 'Transfer-Encoding' in request.headers:
            return _sentence('the request is too large', 413)
        if b'\0' in request.query_string or '\ufffd' in ''.join(request.args.values()):
            return _sentence('the request cannot be read', 400)
        if request.method not in ('GET', 'HEAD'):
            return _sentence('only GET is answered', 405)
        return None

    @app.after_request
    def add_headers(response):
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    _add_routes(app, renderer, model, token)
    app.register_error_handler(404, lambda _err: _sentence('there is no such page', 404))
    app.register_error_handler(UserError, lambda err: _sentence(str(err), 400))
    app.register_error_handler(worker.Busy, lambda _err: _sentence('too many requests wait; ask again', 503))
    app.register_error_handler(worker.Stale, lambda _err: _sentence('a newer request took its place', 409))
    return app


def _add_routes(app, renderer, model, token):
    def asked():
        return state.parse([(name, text) for name, text in flask.request.args.items(multi=True) if name != 'token'])

    def do(function, wanted):
        return model.do(functools.partial(function, wanted), wanted.client, urgent=wanted.thumb is None)

    @app.route('/')
    def page():
        return pages.render('explorer', token=token, facts=page_facts(renderer))

    @app.route('/static/<name>')
    def part(name):
        if name not in PARTS:
            flask.abort(404)
        with open(os.path.join(pages.FOLDER, name), 'rb') as file:
            return flask.Response(file.read(), mimetype=PARTS[name])

    @app.route('/image')
    def image():
        wanted = asked()
        # The next picture is made while this one is packed.
        return flask.Response(render.to_png(do(renderer.image, wanted), wanted.thumb), mimetype='image/png')

    @app.route('/latents')
    def latents():
        found, out = latents_of(do(renderer.point, asked()), renderer.facts.sha256), io.BytesIO()
        found.save(out)
        return flask.Response(out.getvalue(), mimetype='application/octet-stream', headers={
            'Content-Disposition': 'attachment; filename="latents.npz"'})

    @app.route('/command')
    def command():
        wanted = asked()
        renderer.check(wanted)
        return flask.Response(command_of(wanted, renderer) + '\n', mimetype='text/plain')


def _sentence(text, status):
    return flask.Response(text + '\n', status, mimetype='text/plain')


def page_facts(renderer):
    """What the page has to know of the network; JSON values."""
    gen, facts, photos = renderer.gen, renderer.facts, renderer.photos
    return dict(network=sheet.without_folders(facts.network), file=facts.file, engine=facts.engine, device=facts.device,
                resolution=gen.resolution, layers=gen.num_layers, noise_layers=len(gen.noise_vars),
                classes=gen.label_size, photos=photos.count if photos else 0, cannot=renderer.cannot(),
                directions=[direction.name for direction in renderer.directions])


def latents_of(point, sha256):
    """`Latents` that make the picture of a point again."""
    noise = point.noise if isinstance(point.noise, list) else None
    seeds = np.array([point.noise_seed], np.int64) if point.noise == 'random' else None
    return Latents(point.w, point.z, noise, seeds, sha256)


def command_of(wanted, renderer):
    """The command that makes the picture of a state again."""
    network = shlex.quote(renderer.facts.network)
    is_plain = not (wanted.near or wanted.to is not None or wanted.mix is not None and wanted.mix_layers
                    or any(wanted.sliders) or wanted.photo is not None or wanted.noise_layers is not None) \
        and (wanted.noise != 'random' or wanted.noise_seed in (None, wanted.seed))
    words = ['stylegan-repro' if config.installed else './reproduce', 'generate', '--network', network]
    words += ['--seeds', str(wanted.seed)] if is_plain else ['--latents', 'latents.npz']
    if is_plain and renderer.gen.is_style_based:
        psi = repr(wanted.psi)
        psi = psi[:-len('.0')] if psi.endswith('.0') else psi
        words += ['--psi', psi] + ([] if psi == '1' else ['--cutoff', str(wanted.cutoff)])    # of which 1 has no use
    label = wanted.label if wanted.label is not None else renderer.facts.get('asked_label')
    if label is not None and (is_plain or not renderer.gen.is_style_based):
        words += ['--class', shlex.quote(label)]
    return ' '.join(words + (['--noise', wanted.noise] if renderer.gen.has_noise else []))
