# SPDX-License-Identifier: Apache-2.0
"""The administrative socket: who may ask, what it takes, and nightjar status,
clients and reload, which ask it."""
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import tempfile

import pytest

from harness import NIGHTJAR, PATIENCE, wait_until
from raw import DISCONNECT, Raw

pytestmark = pytest.mark.ours
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason='only root can be somebody else')


@pytest.fixture(name='path')
def _path():
    """A path that a socket address has room for."""
    with tempfile.TemporaryDirectory(prefix='nj-admin-', dir='/tmp') as folder:
        os.chmod(folder, 0o777)
        yield os.path.join(folder, 'a.sock')


def start(brokers, path, conf='', **kw):
    return brokers(f'admin_socket {path}\n{conf}', **kw)


class Line:
    """A connection to the socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        self.file = self.sock.makefile('rb')

    def send(self, data):
        self.sock.sendall(data)

    def hear(self):
        line = self.file.readline()
        return json.loads(line) if line else None

    def ask(self, command, **args):
        self.send(json.dumps({'command': command, 'args': args}).encode() + b'\n')
        return self.hear()

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def nightjar(*args, status=0, **kw):
    p = subprocess.run([NIGHTJAR, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       check=False, timeout=PATIENCE, **kw)
    assert p.returncode == status, p.stdout + p.stderr
    return p.stdout if status == 0 else p.stderr


def test_mode_and_end(brokers, path):
    """Its owner's alone, and gone with the broker."""
    b = start(brokers, path)
    st = os.stat(path)
    assert stat.S_ISSOCK(st.st_mode)
    assert stat.S_IMODE(st.st_mode) == 0o600
    b.stop()
    if os.geteuid() != 0:
        assert not os.path.exists(path)


def test_what_is_no_request(brokers, path):
    start(brokers, path)
    with Line(path) as line:
        for bad in (b'', b'x', b'[]', b'{}', b'{"command": 1}', b'{"command": "status", "args": []}',
                    b'{"command": "status", "command": "help"}', b'\xff\xfe', b'{' * 5000,
                    b'{"command": "clients show", "args": {"id": 7}}',
                    b'{"command": "clients show", "args": {"id": "a\\u0000b"}}',
                    b'{"command": "clients show"}',
                    b'{"command": "clients list", "args": {"limit": -1}}',
                    b'{"command": "clients disconnect", "args": {"fingerprint": "zz"}}'):
            line.send(bad + b'\n')
            answer = line.hear()
            assert not answer['ok'] and answer['code'] == 'invalid' and answer['error'], bad
        line.send(b'{"command": "nope"}\n')
        assert line.hear()['code'] == 'not-found'
        assert line.ask('version')['result']['version']


def test_bounds(brokers, path):
    """A request without an end, and more connections than there may be."""
    b = start(brokers, path)
    with Line(path) as line:
        with pytest.raises(OSError):
            for _ in range(40):
                line.send(b'x' * 65536)
            while line.hear():
                pass
            raise ConnectionResetError
    many = [Line(path) for _ in range(16)]
    wait_until(lambda: refused_for(path) == 'busy', 'no more connections')
    for line in many:
        line.close()
    wait_until(lambda: refused_for(path) is None, 'a place is free again')
    assert b.alive()


def refused_for(path):
    with Line(path) as line:
        try:
            answer = line.ask('version')
        except OSError:		# it was refused before it could ask
            return 'busy'
        return answer['code'] if answer and not answer['ok'] else None


@AS_ROOT
@pytest.mark.parametrize('group, may', [('', False), ('admin_socket_group games\n', True)])
def test_who_may(brokers, path, group, may):
    """The kernel is asked who connects, whatever the path's mode is."""
    b = start(brokers, path, f'admin_socket_mode 0666\n{group}')
    out = nightjar('status', '--socket', path, status=0 if may else 1, user='games', group='games',
                   extra_groups=[])
    assert ('clients connected' if may else 'you may not administer') in out
    if not may:
        b.wait_log(r'Administrative socket: user \d+ \(process \d+\) may not use it')


@AS_ROOT
def test_group_owns_the_path(brokers, path):
    start(brokers, path, 'admin_socket_group games\n')
    st = os.stat(path)
    assert stat.S_IMODE(st.st_mode) == 0o660
    assert st.st_gid == 60


@pytest.mark.parametrize('conf, says', [('admin_socket_mode 9', 'admin_socket_mode is not from'),
                                        ('admin_socket_group no-such-group', 'no group')])
def test_bad_configuration(brokers, path, conf, says):
    start(brokers, path, conf + '\n', start=False).refuses(says)


def test_usual_place(brokers, tmp_path):
    """Beside what persists; where that will not do the broker serves without."""
    b = brokers(f'persistence_location {tmp_path}\n')
    b.wait_log(' running')
    with Line(os.path.join(str(tmp_path), 'admin.sock')) as line:
        assert line.ask('version')['ok']
    b = brokers(f'persistence_location {tmp_path}/{"x" * 120}\n')
    b.wait_log(' running')
    b.wait_log('No administrative socket')
    none = brokers(f'persistence_location {tmp_path}\nadmin_socket none\n')
    none.wait_log(' running')
    assert 'dministrative socket' not in none.log()


def test_status(brokers, path):
    b = start(brokers, path)
    with Raw(b.port) as c:
        c.connect('one')
        c.subscribe('a', 'b')
        c.publish_acked('a', b'x', 1, retain=True)
        text = nightjar('status', '-c', b.conf_path)
        assert 'nightjar ' in text and 'clients connected  1\n' in text
        r = json.loads(nightjar('status', '--json', '--socket', path))
        assert (r['process'], r['connected'], r['subscriptions']) == (b.pid, 1, 2)
        assert r['messages_received'] >= 1
        metrics = nightjar('status', '--metrics', '--socket', path)
        assert 'nightjar_clients_connected 1\n' in metrics
        assert re.search(r'^# TYPE nightjar_messages_received_total counter$', metrics, re.M)
        for line in metrics.splitlines():
            assert re.fullmatch(r'# (HELP|TYPE) nightjar_\S+ .+|nightjar_[a-z_]+(\{[a-z="]+\})? \d+', line)
    env = dict(os.environ, NIGHTJAR_ADMIN_SOCKET=path)
    assert 'clients connected' in nightjar('status', env=env)


def test_clients(brokers, path):
    b = start(brokers, path)
    clients = []
    for i in range(20):
        c = Raw(b.port)
        c.connect(f'c{i}', username='even' if i % 2 == 0 else 'odd', clean=i > 1,
                  props={'session_expiry': 60} if i < 2 else None)
        clients.append(c)
    clients[0].subscribe('x/#', '$share/g/y', qos=1)
    r = json.loads(nightjar('clients', 'list', '--json', '--socket', path))
    assert sorted(c['id'] for c in r['clients']) == sorted(f'c{i}' for i in range(20))
    r = json.loads(nightjar('clients', 'list', '--json', '--user', 'odd', '--socket', path))
    assert len(r['clients']) == 10 and all(c['user'] == 'odd' for c in r['clients'])
    r = json.loads(nightjar('clients', 'list', '--json', '--limit', '3', '--socket', path))
    assert len(r['clients']) == 3 and r['more']
    text = nightjar('clients', 'show', 'c0', '--socket', path)
    assert 'x/# (QoS 1)' in text and '$share/g/y' in text
    clients[1].close()
    wait_until(lambda: len(json.loads(nightjar('clients', 'list', '--json', '--online', '--socket',
                                               path))['clients']) == 19, 'one is away')
    assert 'away for' in nightjar('clients', 'list', '--socket', path)
    assert 'there is no client' in nightjar('clients', 'show', 'zz', '--socket', path, status=1)
    for c in clients:
        c.close()


def test_disconnect(brokers, path):
    """MQTT 5 clients are told why; a session stays unless it is to go."""
    b = start(brokers, path)
    with Raw(b.port) as a, Raw(b.port) as other:
        a.connect('a', username='u', clean=False, props={'session_expiry': 60})
        other.connect('b', username='u')
        assert 'Sent away: 1' in nightjar('clients', 'disconnect', 'a', '--socket', path)
        p = a.wait_for(DISCONNECT)
        assert p.code == 0x98
        assert 'away for' in nightjar('clients', 'list', '--socket', path)
        assert 'Sent away: 2' in nightjar('clients', 'disconnect', '--user', 'u', '--forget',
                                          '--socket', path)
        assert other.wait_for(DISCONNECT).code == 0x98
    r = json.loads(nightjar('clients', 'list', '--json', '--socket', path))
    assert r['clients'] == []
    assert 'whom' in nightjar('clients', 'disconnect', '--socket', path, status=1)
    assert re_log(b, "clients disconnect id 'a'")


def re_log(b, text):
    return wait_until(lambda: text in b.log(), text)


def test_disconnect_by_certificate(brokers, path, pki):
    b = start(brokers, path, f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {pki.ca}\n'
                             'require_certificate true\nuse_identity_as_username true\n')
    tls = ssl.create_default_context(cafile=pki.ca)
    tls.load_cert_chain(*pki.client)
    with Raw(b.port, tls=tls) as c:
        c.connect('tls')
        r = json.loads(nightjar('clients', 'show', 'tls', '--json', '--socket', path))
        assert r['tls'].startswith('TLSv1') and r['serial'] and len(r['fingerprint']) == 64
        assert r['user'] and r['subject'] and r['certificate_expires'] > 0
        assert 'Sent away: 0' in nightjar('clients', 'disconnect', '--serial', '00', '--socket', path)
        assert 'Sent away: 0' in nightjar('clients', 'disconnect', '--fingerprint', '00' * 32,
                                          '--socket', path)
        assert 'Sent away: 1' in nightjar('clients', 'disconnect', '--fingerprint',
                                          r['fingerprint'], '--socket', path)
        assert c.wait_for(DISCONNECT).code == 0x98


def test_reload(brokers, path):
    """It is over when the answer is there; a fault is told."""
    b = start(brokers, path)
    assert 'Reloaded.' in nightjar('reload', '--socket', path)
    b.wait_log(r'Reloaded\.')
    with open(b.conf_path, 'a', encoding='utf-8') as f:
        f.write('nonsense 1\n')
    assert "no option 'nonsense'" in nightjar('reload', '--socket', path, status=1)
    assert b.alive()


def test_no_broker(tmp_path):
    assert 'is the broker running' in nightjar('status', '--socket', f'{tmp_path}/none', status=1)
    conf = os.path.join(str(tmp_path), 'c')
    with open(conf, 'w', encoding='utf-8') as f:
        f.write('listener 1883\nallow_anonymous true\n')
    assert "add 'admin_socket PATH'" in nightjar('status', '-c', conf, status=1)


def test_while_clients_come_and_go(brokers, path):
    """Lists are taken, and clients sent away, while others connect."""
    b = start(brokers, path)
    with Line(path) as line:
        for n in range(30):
            with Raw(b.port) as c:
                c.connect(f'x{n}')
                assert line.ask('clients list')['ok']
                assert line.ask('clients disconnect', id=f'x{n}')['result']['disconnected'] == 1
        assert line.ask('status')['ok']
