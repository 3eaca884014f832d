"""A headless Chromium for tests of pages, spoken to over a pair of pipes; nothing but the program itself is needed."""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome')
OPTIONS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking',
           '--disable-component-update', '--disable-default-apps', '--disable-extensions', '--no-first-run',
           '--hide-scrollbars', '--remote-debugging-pipe')


def find():
    """The path of Chromium; skips the test where there is none."""
    for name in PROGRAMS:
        path = shutil.which(name)
        if path:
            return path
    return pytest.skip('there is no Chromium here (Debian: apt-get install chromium)')


class Browser:
    """One page in a browser of its own. Use as a context manager.

    Attributes: `problems`, what the page's console and network reported as errors so far.
    """

    def __init__(self, seconds=300):
        program = find()
        self._seconds = seconds
        self._folder = tempfile.mkdtemp()
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The program reads descriptor 3 and writes 4; a shell moves ours there.
        command = [program, *OPTIONS, f'--user-data-dir={self._folder}', 'about:blank']
        self._process = subprocess.Popen(
            ['/bin/bash', '-c', f'exec "$@" 3<&{to_browser} 4>&{from_browser}', 'browser'] + command,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=(to_browser, from_browser), start_new_session=True)
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self._session = b'', 0, None
        self.problems = []
        try:
            target = self._call('Target.createTarget', url='about:blank')['targetId']
            self._session = self._call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
            for domain in ('Page', 'Runtime', 'Log', 'Network'):
                self._call(domain + '.enable')
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def close(self):
        """Ends the browser with all its processes, which would write into its folder for a while."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _message(self, until):
        while b'\0' not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError('the browser does not answer')
            piece = os.read(self._read, 1 << 20)
            if not piece:
                raise RuntimeError('the browser has ended')
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(message.decode())

    def _call(self, method, **params):
        self._number += 1
        request = {'id': self._number, 'method': method, 'params': params}
        if self._session:
            request['sessionId'] = self._session
        data = json.dumps(request).encode() + b'\0'
        while data:
            data = data[os.write(self._write, data):]
        until = time.monotonic() + self._seconds
        while True:
            message = self._message(until)
            if message.get('id') == self._number:
                if 'error' in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message['result']
            self._note(message)

    def _note(self, message):
        params = message.get('params', {})
        if message.get('method') == 'Runtime.exceptionThrown':
            details = params['exceptionDetails']
            self.problems.append(details.get('exception', {}).get('description') or details['text'])
        elif message.get('method') == 'Log.entryAdded' and params['entry']['level'] == 'error':
            self.problems.append(params['entry']['text'] + ' ' + params['entry'].get('url', ''))

    def open(self, url):
        """Goes to an address and waits until the page is loaded."""
        self._call('Page.navigate', url=url)
        self.wait('document.readyState === "complete" && location.href !== "about:blank"')

    def evaluate(self, expression):
        """The JSON value of an expression within the page; promises are waited for."""
        found = self._call('Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in found:
            raise RuntimeError(found['exceptionDetails'].get('exception', {}).get('description', str(found)))
        return found['result'].get('value')

    def wait(self, expression):
        """Waits until an expression is true, and returns its value."""
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            value = self.evaluate(expression)
            if value:
                return value
            time.sleep(0.03)
        raise TimeoutError(f'never true: {expression}')

    def key(self, key, code=0):
        """Presses a key, as a person does."""
        text = {'text': key} if len(key) == 1 else {}
        for kind in ('keyDown', 'keyUp'):
            self._call('Input.dispatchKeyEvent', type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def resize(self, width, height, dark=False):
        """Gives the page a size in pixels, as a phone or a window has it, and a colour scheme."""
        self._call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1,
                   mobile=width < 600)
        self._call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
