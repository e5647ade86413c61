# SPDX-License-Identifier: Apache-2.0
"""nightjar up: from nothing to a broker, and the lines it prints."""
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest

import browser
import harness
import pahoc
import programs
from raw import Raw, connect_packet
from wsraw import RawWs, request

pytestmark = pytest.mark.ours
LAST_LINE = 'Ctrl-C ends it.'


class Up:
    """One `nightjar up` in the foreground."""

    def __init__(self, folder, *args, env=None, before=()):
        self.dir = str(folder)
        self.lines = []
        self.begun = time.monotonic()
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            [*before, harness.NIGHTJAR, 'up', '--dir', self.dir, *args], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, **(env or {})})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip('\n'))

    @property
    def text(self):
        return '\n'.join(self.lines)

    def ready(self):
        harness.wait_until(lambda: LAST_LINE in self.lines or self.process.poll() is not None,
                           'nightjar up is ready')
        assert self.process.poll() is None, self.text
        return self

    def ended(self):
        """The exit status of one that ends by itself."""
        status = self.process.wait(harness.PATIENCE)
        self.reader.join()
        return status

    def stop(self, sig=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.ended()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def command(self, start):
        """The printed line that begins so, of those to paste."""
        found = [x.strip() for x in self.lines if x.startswith('    ')]
        found = [x for x in found if re.search(start, x)]
        assert len(found) == 1, self.text
        return found[0]

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def read(self, *parts):
        with open(self.path(*parts), 'rb') as f:
            return f.read()


@pytest.fixture
def up(tmp_path):
    """up(*args) -> a ready Up in one folder; all are ended afterwards."""
    mine = []

    def start(*args, folder=tmp_path / "the broker's folder", wait=True, usual=False, **kw):
        # The port behind a test's own belongs, as often as not, to somebody's connection.
        if '--port' in args and '--wss-port' not in args and not usual:
            args += ('--wss-port', str(harness.free_port()))
        mine.append(Up(folder, *args, **kw))
        return mine[-1].ready() if wait else mine[-1]
    yield start
    for u in mine:
        status = u.stop()
        assert not harness.SANITIZER.search(u.text), u.text
        assert status >= 0, u.text


@pytest.fixture
def port():
    return str(harness.free_port())


def listens(port):
    with contextlib.suppress(OSError):
        socket.create_connection((harness.HOST, int(port)), 1).close()
        return True
    return False


def test_first_start(up, port):
    u = up('--port', port)
    assert re.search(r'self test +a message went through it and back in \d+\.\d+ ms \(TLSv1\.3',
                     u.text), u.text
    assert re.search(rf'listening +port {port} of all addresses.*localhost.*127\.0\.0\.1.*::1',
                     u.text), u.text
    want = subprocess.run(['openssl', 'x509', '-in', u.path('pki', 'ca.crt'), '-noout',
                           '-fingerprint', '-sha256'], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.split('=')[1].strip()
    assert want in u.text
    assert u.dir in u.text
    for folder in ('pki', 'server', 'devices/admin'):
        assert stat.S_IMODE(os.stat(u.path(folder)).st_mode) == 0o700
    for key in ('pki/ca.key', 'server/server.key', 'devices/admin/client.key', 'ca.passphrase'):
        assert stat.S_IMODE(os.stat(u.path(key)).st_mode) == 0o600
    conf = u.read('nightjar.conf').decode()
    for line in (f'listener {port}', 'require_certificate true', 'use_identity_as_username true',
                 'allow_anonymous false'):
        assert f'\n{line}\n' in conf
    status = u.stop()
    assert status == 0, u.text
    assert u.lines[-1] == 'Nightjar has ended.'


@pytest.mark.skipif(os.geteuid() != 0, reason='takes root')
def test_folder_that_only_root_may_enter(up, port, tmp_path):
    """As in root's home: the broker gives up being root, and keeps what it
    acknowledges where it can."""
    closed = tmp_path / 'closed'
    closed.mkdir(mode=0o700)
    u = up('--port', port, folder=str(closed / 'here'))
    conf = u.read('nightjar.conf').decode()
    data = re.search(r'^persistence_location (.*)$', conf, re.M).group(1)
    try:
        assert data == '/var/lib/nightjar/data' + str(closed / 'here').replace('/', '-')
        assert os.path.exists(os.path.join(data, 'nightjar.db'))
    finally:
        u.stop()
        shutil.rmtree(data)
        with contextlib.suppress(OSError):
            os.rmdir('/var/lib/nightjar')


def test_every_address_is_in_the_certificate(up, port):
    u = up('--port', port)
    text = subprocess.run(['openssl', 'x509', '-in', u.path('server', 'server.crt'), '-noout',
                           '-ext', 'subjectAltName'], stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    host = socket.gethostname()
    for name in (host, host.split('.')[0] + '.local', 'localhost'):
        assert f'DNS:{name.lower()}' in text
    out = subprocess.run(['ip', '-o', '-4', 'addr'], stdout=subprocess.PIPE, text=True,
                         check=False).stdout if shutil.which('ip') else ''
    for interface, address in re.findall(r'^\d+: (\S+)\s+inet (\S+)/', out, re.M):
        if not re.match('docker|veth|br-', interface) and not address.startswith('169.254.'):
            assert f'IP Address:{address}' in text


def test_no_certificate_no_entry(up, port):
    u = up('--port', port)
    for extra in ([], ['--cert', u.path('devices/admin/client.crt'),
                       '--key', u.path('devices/admin/client.key')]):
        p = programs.run(['mosquitto_pub', '-h', 'localhost', '-p', port, '-t', 'test/x', '-m', 'x',
                          '--cafile', u.path('pki/ca.crt'), *extra])
        assert (p.returncode == 0) == bool(extra), p.stdout


@pytest.mark.parametrize('start', ['nightjar.? sub ', '^mosquitto_sub ', '^python3 ', '^node '])
def test_lines_work_as_printed(up, port, start):
    if start == '^node ':
        modules = os.path.join(programs.mqttjs_folder(), 'node_modules')
    u = up('--port', port)
    env = dict(os.environ)
    # The interpreter that has Debian's paho, whatever else is on the PATH.
    env['PATH'] = '/usr/bin:' + env['PATH']
    if start == '^node ':
        env['NODE_PATH'] = modules
    sub = u.command(start)
    pub = u.command('nightjar.? pub ')
    # Into a pipe mosquitto_sub would keep its lines to itself.
    prefix = 'stdbuf -oL ' if start == '^mosquitto_sub ' else ''
    with subprocess.Popen(['bash', '-c', 'exec ' + prefix + sub], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env=env) as p:
        got = []
        reader = threading.Thread(target=lambda: got.extend(iter(p.stdout.readline, '')),
                                  daemon=True)
        reader.start()

        def send_until_there():
            sent = programs.run(['bash', '-c', pub], env=env)
            assert sent.returncode == 0, sent.stdout
            time.sleep(0.2)
            return any('test/hello it works' in line for line in got)
        try:
            harness.wait_until(send_until_there, f'{sub}\nprinted {got}')
        finally:
            p.kill()


def test_second_start(up, port):
    first = up('--port', port)
    ca, server = first.read('pki', 'ca.crt'), first.read('server', 'server.crt')
    client = first.read('devices', 'admin', 'client.crt')
    assert first.stop(signal.SIGTERM) == 0
    second = Up(first.dir)
    try:
        harness.wait_until(lambda: listens(port), 'it listens again')
        seconds = time.monotonic() - second.begun
        second.ready()
        assert seconds < 1 or second_is_slow(second), seconds
        assert 'First start' not in second.text and 'Made' not in second.text
        assert second.read('pki', 'ca.crt') == ca
        assert second.read('server', 'server.crt') == server
        assert second.read('devices', 'admin', 'client.crt') == client
    finally:
        assert second.stop() == 0, second.text


def second_is_slow(u):
    """Under a sanitizer nothing is asked of the time."""
    with open(f'/proc/{u.process.pid}/maps', encoding='ascii') as f:
        return re.search(r'lib[at]san', f.read()) is not None


def test_second_beside_the_first(up, port, tmp_path):
    up('--port', port)
    again = up(wait=False)
    assert again.ended() == 1
    assert re.search(rf'process \d+ serves .* on port {port}', again.text), again.text
    assert 'kill' in again.text and '--dir' in again.text
    # In another folder, but on the same port.
    other = up('--port', port, folder=tmp_path / 'other', wait=False)
    assert other.ended() == 1
    assert f'port {port} is taken: ' in other.text and 'process' in other.text, other.text
    assert '--port' in other.text
    assert not os.path.exists(other.path('pki'))


def test_port_of_another_program(up):
    with socket.socket() as s:
        s.bind((harness.HOST, 0))
        s.listen()
        taken = s.getsockname()[1]
        u = up('--port', str(taken), wait=False)
        assert u.ended() == 1
        assert f'port {taken} is taken: ' in u.text and f'process {os.getpid()}' in u.text, u.text


def test_port_is_remembered_and_moved(up, port):
    first = up('--port', port)
    first.stop()
    other = str(harness.free_port())
    moved = up('--port', other)
    assert f'Changed the port from {port} to {other}' in moved.text
    moved.stop()
    assert listens(other) is False
    again = up()
    assert listens(other), again.text


def test_configuration_is_the_persons_own(up, port):
    first = up('--port', port)
    first.stop()
    with open(first.path('nightjar.conf'), 'a', encoding='ascii') as f:
        f.write('# mine\nmax_inflight_messages 5\n')
    conf = first.read('nightjar.conf')
    second = up()
    second.stop()
    assert second.read('nightjar.conf') == conf
    with open(first.path('nightjar.conf'), 'a', encoding='ascii') as f:
        f.write('max_inflight_massages 5\n')
    wrong = up(wait=False)
    assert wrong.ended() != 0
    assert 'max_inflight_messages' in wrong.text


def test_changed_names_renew_the_certificate(up, port):
    first = up('--port', port)
    first.stop()
    ca, server = first.read('pki', 'ca.crt'), first.read('server', 'server.crt')
    with open(first.path('server', 'names'), 'w', encoding='ascii') as f:
        f.write('broker.example.org\n10.99.99.99\n')
    second = up()
    assert "Made the server's certificate anew: the name broker.example.org is new" in second.text
    assert 'self test    a message went' in second.text
    second.stop()
    assert second.read('pki', 'ca.crt') == ca
    assert second.read('server', 'server.crt') != server
    os.remove(first.path('server', 'names'))
    third = up()
    assert "the address 10.99.99.99 is no longer this machine's" in third.text


@pytest.mark.parametrize('gone', [
    'server/server.crt', 'server/server.key', 'devices/admin/client.crt', 'nightjar.conf',
    'pki/ca.crt'])
def test_interrupted_anywhere(up, port, gone):
    """Whatever of the first start is missing is made by the next."""
    first = up('--port', port)
    first.stop()
    if gone == 'pki/ca.crt':
        # As if it had been interrupted before anything was issued.
        shutil.rmtree(first.path('server'))
        shutil.rmtree(first.path('devices'))
        registry = first.read('pki', 'registry').splitlines(keepends=True)
        with open(first.path('pki', 'registry'), 'wb') as f:
            f.writelines(registry[:2])
    os.remove(first.path(gone))
    second = up('--port', port)
    assert 'self test    a message went' in second.text


def test_lost_passphrase(up, port):
    first = up('--port', port)
    first.stop()
    os.rename(first.path('ca.passphrase'), first.path('elsewhere'))
    # Nothing has to be issued, so nothing has to be opened.
    up().stop()
    os.remove(first.path('server', 'server.crt'))
    second = up(wait=False)
    assert second.ended() == 1
    assert '--passphrase-file' in second.text
    up('--passphrase-file', first.path('elsewhere'))


def test_first_client_by_another_name(up, port):
    u = up('--port', port, '--id', 'laptop')
    assert os.path.exists(u.path('devices', 'laptop', 'client.key'))
    assert 'devices/laptop/client.key' in u.text


def test_usual_folder_of_a_user(tmp_path, port):
    if os.geteuid() == 0:
        pytest.skip('root has its own folder; see the installation test')
    env = {**os.environ, 'XDG_DATA_HOME': str(tmp_path)}
    with subprocess.Popen([harness.NIGHTJAR, 'up', '--port', port], env=env,
                          stdout=subprocess.DEVNULL) as p:
        harness.wait_until(lambda: listens(port), 'it listens')
        p.send_signal(signal.SIGINT)
        assert p.wait(harness.PATIENCE) == 0
    assert os.path.exists(tmp_path / 'nightjar' / 'pki' / 'ca.crt')


def test_root_serves_as_nobody(up, port):
    if os.geteuid() != 0:
        pytest.skip('only root has rights to drop')
    u = up('--port', port)
    with open(f'/proc/{u.process.pid}/status', encoding='ascii') as f:
        status = f.read()
    uids = re.search(r'^Uid:\s+(.*)$', status, re.M).group(1).split()
    assert len(set(uids)) == 1 and uids[0] != '0', status
    assert re.search(r'^CapEff:\s+0+$', status, re.M)
    assert re.search(r'^NoNewPrivs:\s+1$', status, re.M)


def test_person_behind_sudo_can_read_the_key(up, port):
    if os.geteuid() != 0:
        pytest.skip('only root can give files away')
    u = up('--port', port, env={'SUDO_UID': '12345', 'SUDO_GID': '12345'})
    st = os.stat(u.path('devices', 'admin', 'client.key'))
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (12345, 12345, 0o600)
    assert os.stat(u.path('server', 'server.key')).st_uid == 0
    u.command('^mosquitto_sub ')  # not '^sudo mosquitto_sub '


def wss_port(u):
    return int(re.search(r'wss://localhost:(\d+)', u.command('^const c = mqtt')).group(1))


def password(u):
    return re.search(r'password: "([A-Za-z0-9]{24})"', u.command('^const c = mqtt')).group(1)


def login(u, port=None, cert=False, **kw):
    """The reason code of a login over wss; origin=None: no page."""
    files = (u.path('devices/admin/client.crt'), u.path('devices/admin/client.key'))
    tls = pahoc.tls_context(u.path('pki/ca.crt'), *files if cert else ())
    text = request(origin=kw.pop('origin', None))
    with RawWs(port or wss_port(u), tls=tls, text=text) as c:
        c.send(connect_packet('page', **kw))
        return c.recv().code


def test_web_page(up, port):
    """The lines for a browser, in one, as they stand."""
    c = browser.Chromium()
    try:
        u = up('--port', port)
        line, trust, pub = (u.command(x) for x in ('^const c = mqtt', 'certutil', 'nightjar.? pub '))
        c.sh(trust)
        c.sh(trust)     # twice does no harm
        with c.open(line) as page:
            def send_until_there():
                sent = programs.run(['bash', '-c', pub])
                assert sent.returncode == 0, sent.stdout
                time.sleep(0.3)
                return not page.told.empty()
            harness.wait_until(send_until_there, 'the page tells', browser.SECONDS)
            assert page.wait('log')[0] == ['log', 'test/hello', 'it works']
    finally:
        c.close()


def test_who_may_by_wss(up, port):
    """A user of the password file or a certificate, but not one that a browser
    would show for whatever page."""
    u = up('--port', port, usual=True)
    assert int(port) < wss_port(u) < int(port) + 20     # the next that is free
    for name in ('passwords', 'browser.password'):
        assert stat.S_IMODE(os.stat(u.path(name)).st_mode) == 0o600
    assert password(u).encode() not in u.read('passwords')
    good = {'username': 'browser', 'password': password(u)}
    page = 'http://localhost:8000'
    assert login(u, **good) == 0
    assert login(u, **good, origin=page) == 0
    assert login(u, **good, origin='null') == 0
    assert login(u, username='browser', password='wrong') != 0
    assert login(u, username='browser') != 0
    assert login(u) != 0
    assert login(u, cert=True) == 0
    assert login(u, cert=True, origin=page) != 0
    assert login(u, cert=True, origin=page, **good) == 0
    # MQTT's own port goes on asking for a certificate
    assert programs.run(['mosquitto_pub', '-h', 'localhost', '-p', port, '-t', 'x', '-m', 'x',
                         '--cafile', u.path('pki/ca.crt'), '-u', 'browser',
                         '-P', password(u)]).returncode != 0


def test_listed_pages(up, port):
    first = up('--port', port)
    first.stop()
    with open(first.path('nightjar.conf'), 'a', encoding='ascii') as f:
        f.write('websockets_origin https://good.example\n')
    u = up()
    good = {'username': 'browser', 'password': password(u)}
    assert login(u, origin='https://good.example', **good) == 0
    assert login(u, cert=True, origin='https://good.example') != 0
    assert login(u, cert=True) == 0
    with pytest.raises(AssertionError, match='403'):
        login(u, origin='https://bad.example', **good)


def test_second_start_tells_the_same(up, port):
    first = up('--port', port)
    users = first.read('passwords')
    first.stop()
    second = up()
    assert [x for x in second.lines if x.startswith('    ')] == \
        [x for x in first.lines if x.startswith('    ')]
    assert second.read('passwords') == users
    second.stop()
    inherited = up(env={'JOURNAL_STREAM': '8:1'})
    assert password(inherited) == password(first)
    inherited.stop()
    journal = 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/$$/fd/1) exec "$@"'
    hidden = up(before=['bash', '-c', journal, 'bash'])
    assert password(first) not in hidden.text
    assert 'password: "PASSWORD"' in hidden.command('^const c = mqtt')


def test_password_is_changed(up, port):
    first = up('--port', port)
    old = password(first)
    first.stop()
    programs.run([harness.NIGHTJAR, 'passwd', '-b', first.path('passwords'), 'alice', 'secret'])
    os.remove(first.path('browser.password'))
    second = up()
    assert password(second) != old
    assert login(second, username='browser', password=password(second)) == 0
    assert login(second, username='browser', password=old) != 0
    assert login(second, username='alice', password='secret') == 0
    second.stop()
    with open(first.path('browser.password'), 'w', encoding='ascii') as f:
        f.write('myOwnChoiceWith24Letters\n')
    third = up()
    assert password(third) == 'myOwnChoiceWith24Letters'
    assert login(third, username='browser', password='myOwnChoiceWith24Letters') == 0


def test_web_pages_on_and_off(up, port):
    none = up('--port', port, '--wss-port', '0')
    assert 'wss' not in none.text and 'websockets' not in none.read('nightjar.conf').decode()
    assert not os.path.exists(none.path('passwords'))
    none.stop()
    with open(none.path('nightjar.conf'), 'a', encoding='ascii') as f:
        f.write('# mine\nmax_inflight_messages 5\n')
    assert 'wss' not in (again := up()).text
    again.stop()
    other, third = str(harness.free_port()), str(harness.free_port())
    on = up('--wss-port', other)
    assert 'Added a listener for web pages' in on.text and wss_port(on) == int(other)
    assert login(on, username='browser', password=password(on)) == 0
    on.stop()
    with open(none.path('nightjar.conf'), 'a', encoding='ascii') as f:
        f.write('max_queued_messages 7\nmax_qos 1\n')
    moved = up('--wss-port', third)
    assert f'Changed the port from {other} to {third}' in moved.text
    assert listens(third) and not listens(other)
    moved.stop()
    off = up('--wss-port', '0')
    assert 'Took the listener for web pages out' in off.text and not listens(third)
    assert 'mqtt.connect("wss' not in off.text
    conf = off.read('nightjar.conf').decode()
    assert f'\n#listener {third}\n' in conf and '\n#max_qos 1\n' in conf
    assert '\nmax_inflight_messages 5\n' in conf and '\nmax_queued_messages 7\n' in conf
    off.stop()
    on = up('--wss-port', other)
    assert login(on, username='browser', password=password(on)) == 0


def test_wss_port_that_is_taken(up, tmp_path):
    """The first start takes the next one; a port that was asked for is refused."""
    with socket.socket() as s:
        def bound():
            port = harness.free_port()
            with contextlib.suppress(OSError):
                s.bind(('', port + 1))
                return str(port)
        port = harness.wait_until(bound, 'two ports side by side')
        s.listen()
        u = up('--port', port, usual=True)
        assert wss_port(u) > int(port) + 1
        u.stop()
        refused = up('--port', port, '--wss-port', str(int(port) + 1), folder=tmp_path / 'other',
                     wait=False)
        assert refused.ended() == 1 and '--wss-port' in refused.text, refused.text
        assert not os.path.exists(refused.path('pki'))
    same = up('--port', port, '--wss-port', port, folder=tmp_path / 'other', wait=False)
    assert same.ended() == 1 and "both MQTT's and WebSocket's" in same.text


def test_passwords_of_the_persons_own(up, port):
    """Where the configuration has a password_file, its users log in."""
    first = up('--port', port, '--wss-port', '0')
    first.stop()
    programs.run([harness.NIGHTJAR, 'passwd', '-b', '-c', first.path('mine'), 'alice', 'secret'])
    with open(first.path('nightjar.conf'), 'a', encoding='ascii') as f:
        f.write(f'password_file {first.path("mine")}\n')
    u = up('--wss-port', str(harness.free_port()))
    assert 'username: "USER", password: "PASSWORD"' in u.command('^const c = mqtt')
    assert login(u, username='alice', password='secret') == 0
    assert not os.path.exists(u.path('passwords'))


def test_words():
    p = programs.run([harness.NIGHTJAR, 'up', '--help'])
    assert p.returncode == 0 and '--port' in p.stdout and '--dir' in p.stdout
    p = programs.run([harness.NIGHTJAR, 'up', '--prot', '1'])
    assert p.returncode == 2 and 'did you mean --port' in p.stdout
    p = programs.run([harness.NIGHTJAR, 'up', '--port', '0'])
    assert p.returncode == 2 and 'from 1 to 65535' in p.stdout


def test_enrolment(up, port, tmp_path):
    """What it prints for tokens works: the port is in the token, and the
    device gets in."""
    first = up('--port', port)
    est = int(re.search(r'enrolment +port (\d+)', first.text).group(1))
    assert f'listener {est}\nprotocol est' in first.read('nightjar.conf').decode()
    token = subprocess.run([harness.NIGHTJAR, 'ca', 'token', 'phone', '-q', '--dir', first.dir],
                           stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    assert f':{est}.' in token
    out = str(tmp_path / 'phone')
    p = subprocess.run([harness.NIGHTJAR, 'enroll', token, '--host', 'localhost', '--out', out],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 0, p.stdout
    ctx = ssl.create_default_context(cafile=os.path.join(out, 'ca.crt'))
    ctx.load_cert_chain(os.path.join(out, 'client.crt'), os.path.join(out, 'client.key'))
    with Raw(int(port), tls=ctx) as c:
        c.connect('phone')
    # the ports beside it say which one it should have been
    def wrong(where, *words):
        text = re.sub(r':\d+\.', f':{where}.', token)
        p = subprocess.run([harness.NIGHTJAR, 'enroll', text, '--host', f'localhost:{where}',
                            '--out', out + '2'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, check=False)
        assert p.returncode == 1 and all(w in p.stdout for w in words), p.stdout
    wrong(port, 'where they get it', "'protocol est'")
    # revoked, it hears so
    subprocess.run([harness.NIGHTJAR, 'ca', 'revoke', 'phone', '--dir', first.dir],
                   stdout=subprocess.PIPE, check=True)
    p = subprocess.run([harness.NIGHTJAR, 'enroll', '--renew', out, '--force'],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 1 and 'was revoked' in p.stdout and 'ca token' in p.stdout, p.stdout
    # who names the folder means the broker that serves it
    p = subprocess.run([harness.NIGHTJAR, 'audit', '--dir', first.dir], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    assert 'no broker could be asked' not in p.stdout and '1883' not in p.stdout, p.stdout
    first.stop()
    none = up('--port', port, '--enroll-port', '0', folder=tmp_path / 'none')
    assert 'enrolment' not in none.text and 'est' not in none.read('nightjar.conf').decode().split()
