"""Starts the explorer's page for an opened generator, and ends it."""

import logging
import secrets
import socket
import threading
import time
import webbrowser

from werkzeug import serving

from dnnlib import tflib
from dnnlib.errors import UserError
from figures.explorer import server, state
from figures.explorer.worker import Worker

ADDRESS = '127.0.0.1'
SECONDS_TO_END = 2.0


class _Handler(serving.WSGIRequestHandler):
    timeout = 60            # seconds, of a connection that says nothing
    protocol_version = 'HTTP/1.1'

    def log_request(self, *args):
        """Nothing: addresses carry the token."""


def take_port(port):
    """A listening socket on the port of this machine, 0 for any. Raises UserError."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((ADDRESS, port))
        sock.listen(64)
    except OSError as err:
        sock.close()
        raise UserError(f'--port {port}: the port cannot be taken ({err.strerror}); choose another one, or 0 for any '
                        'that is free') from err
    return sock


def serve(sock, renderer, stop, open_browser):
    """Makes one picture, prints the address, and answers until `stop`, a threading.Event, is set.

    Returns whether the model's thread has ended; if not, it is within a picture that takes long.
    """
    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    began = time.time()
    renderer.image(state.parse([]))     # builds the graph
    print(f'The graph is ready after {time.time() - began:.1f} s ({renderer.facts.engine}, {renderer.facts.device}).')
    model = Worker([tflib.tf.get_default_graph().as_default, tflib.tf.get_default_session().as_default]).start()
    token, port = secrets.token_urlsafe(24), sock.getsockname()[1]
    app = server.make_app(renderer, model, token, {f'{name}:{port}' for name in (ADDRESS, 'localhost')})
    httpd = serving.make_server(ADDRESS, port, app, threaded=True, request_handler=_Handler, fd=sock.fileno())
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, kwargs={'poll_interval': 0.1}, daemon=True).start()
    address = f'http://{ADDRESS}:{port}/?token={token}'
    print(address, flush=True)
    if open_browser:
        webbrowser.open(address)
    while not stop.wait(1):     # a wait without end would keep signals out on some systems
        pass
    httpd.shutdown()
    return model.stop(SECONDS_TO_END)
