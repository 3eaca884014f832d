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
TOO_LARGE = (413, 414, 431)      # of the body, of the address, of a header


class _Handler(serving.WSGIRequestHandler):
    timeout = 60            # seconds, of a connection that says nothing
    protocol_version = 'HTTP/1.1'

    def log(self, *args):
        """Writes nothing: addresses carry the token."""

    def send_error(self, code, message=None, explain=None):
        """What no application gets to see, such as an address or a header without end, is answered by a sentence."""
        if code in TOO_LARGE:
            code, message = 413, 'the request is too large'
        body = f"{message or 'the request cannot be read'}\n".encode('utf-8', 'replace')
        self.close_connection = True
        self.send_response(code)
        self.send_header('Content-Type', 'text/plain; charset=utf-8')
        self.send_header('X-Content-Type-Options', 'nosniff')
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Connection', 'close')
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)


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


def open_page(sock, renderer):
    """Answers requests at a listening socket, in threads of their own; the model runs in one more.

    Returns the page's address, and a function that ends it all, but for a picture that takes long.
    """
    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    model = Worker([tflib.tf.get_default_graph().as_default, tflib.tf.get_default_session().as_default]).start()
    token, port = secrets.token_urlsafe(24), sock.getsockname()[1]
    app = server.make_app(renderer, model, token, {f'{name}:{port}' for name in (ADDRESS, 'localhost')})
    httpd = serving.make_server(ADDRESS, port, app, threaded=True, request_handler=_Handler, fd=sock.fileno())
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, kwargs={'poll_interval': 0.1}, daemon=True).start()

    def end():
        httpd.shutdown()
        model.stop(SECONDS_TO_END)

    return f'http://{ADDRESS}:{port}/?token={token}', end


def serve(sock, renderer, stop, open_browser):
    """Makes one picture, prints the address, and answers until `stop`, a threading.Event, is set."""
    began = time.time()
    renderer.image(state.parse([]))     # builds the graph
    print(f'The graph is ready after {time.time() - began:.1f} s ({renderer.facts.engine}, {renderer.facts.device}).')
    address, end = open_page(sock, renderer)
    print(address, flush=True)
    if open_browser:
        webbrowser.open(address)
    while not stop.wait(1):     # a wait without end would keep signals out on some systems
        pass
    end()
