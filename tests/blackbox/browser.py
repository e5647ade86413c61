# SPDX-License-Identifier: Apache-2.0
"""A real Chromium without a screen, with a home folder of its own: what it
trusts is in that folder's NSS database, as for a person.  Pages come from a
server of the test on loopback, and tell it what happens in them."""
import contextlib
import http.server
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading

import pytest

import programs
from harness import HOST

# A cold Chromium on a busy machine.
SECONDS = 60
PAGE = '''<!doctype html><meta charset="utf-8"><title>test</title>
<script>
let told = Promise.resolve();   // in this order
const tell = (...words) => {
    told = told.then(() => fetch("/told", {method: "POST", body: JSON.stringify(words)}));
};
window.onerror = (what) => tell("script", String(what));
console.log = (...words) => tell("log", ...words.map(String));
console.error = (...words) => tell("error", ...words.map(String));
</script>
<script src="/mqtt.min.js"></script>
<script>
%s
</script>
'''


def commands():
    """Where Chromium and certutil are; else the test is skipped by name."""
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    if not chromium:
        pytest.skip('Chromium: it is not installed (apt install chromium)')
    if not shutil.which('certutil'):
        pytest.skip('Chromium: there is no certutil (apt install libnss3-tools)')
    return chromium


def mqttjs():
    """MQTT.js as browsers load it."""
    path = os.path.join(programs.mqttjs_folder(), 'node_modules', 'mqtt', 'dist', 'mqtt.min.js')
    if not os.path.exists(path):
        pytest.skip('Chromium: the installed MQTT.js has no dist/mqtt.min.js')
    with open(path, 'rb') as f:
        return f.read()


class Pages:
    """Serves one page and MQTT.js, and gathers what the page tells."""

    def __init__(self):
        script = mqttjs()
        self.body = ''
        self.told = queue.Queue()
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self, kind, body):
                self.send_response(200)
                self.send_header('Content-Type', kind)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):  # pylint: disable=invalid-name
                if self.path == '/mqtt.min.js':
                    self._answer('text/javascript', script)
                else:
                    self._answer('text/html', (PAGE % pages.body).encode())

            def do_POST(self):  # pylint: disable=invalid-name
                words = self.rfile.read(int(self.headers['Content-Length']))
                pages.told.put(json.loads(words))
                self._answer('text/plain', b'')		# what is told next is behind it

            def log_message(self, *_args):  # pylint: disable=arguments-differ
                pass
        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, first):
        """What the page tells, up to a line that begins with `first`."""
        seen = []
        while True:
            try:
                seen.append(self.told.get(timeout=SECONDS))
            except queue.Empty:
                raise AssertionError(f'the page did not tell "{first}" but {seen}') from None
            if seen[-1][0] == first:
                return seen

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Chromium:
    """One home folder; open() shows a page until the block ends."""

    def __init__(self):
        self.program = commands()
        self.pages = Pages()
        self.home = tempfile.mkdtemp(prefix='nightjar-browser-')

    def sh(self, line):
        """A line as a person types it."""
        p = programs.run(['bash', '-c', line], env={**os.environ, 'HOME': self.home})
        assert p.returncode == 0, p.stdout

    def trust(self, ca):
        self.sh('mkdir -p ~/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -A -t C,, '
                f"-n 'the CA' -i '{ca}'")

    @contextlib.contextmanager
    def open(self, script, host='localhost'):
        self.pages.body = script
        argv = [self.program, '--headless=new', '--disable-gpu', '--disable-dev-shm-usage',
                '--no-first-run', '--no-default-browser-check', '--disable-background-networking',
                '--disable-component-update', '--disable-sync', '--disable-extensions',
                '--no-proxy-server', '--password-store=basic', '--no-sandbox',
                f'--user-data-dir={self.home}/profile']
        log_path = os.path.join(self.home, 'log')
        with open(log_path, 'wb') as log, \
                subprocess.Popen([*argv, f'http://{host}:{self.pages.port}/'], stdout=log,
                                 stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                 env={**os.environ, 'HOME': self.home, 'TMPDIR': self.home,
                                      'XDG_CONFIG_HOME': '',
                                      'DBUS_SESSION_BUS_ADDRESS': 'disabled:'}) as p:
            try:
                yield self.pages
            except AssertionError as e:
                with open(log_path, encoding='utf-8', errors='replace') as f:
                    raise AssertionError(f'{e}\n{f.read()[-3000:]}') from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(p.pid, signal.SIGKILL)
                p.wait()

    def close(self):
        self.pages.close()
        shutil.rmtree(self.home, ignore_errors=True)
