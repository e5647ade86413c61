# SPDX-License-Identifier: Apache-2.0
"""Unix sockets: whose the path is, what becomes of one left behind, who is on
the other end, and all that goes over any other listener."""
import contextlib
import os
import pwd
import re
import socket
import ssl
import stat
import subprocess
import threading

import pytest

import passwords
import wsraw
from harness import NIGHTJAR, PATIENCE, REFERENCE, answers, wait_until
from raw import CONNACK, Closed, Raw, connect_packet

ours = pytest.mark.ours
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')


class UnixRaw(Raw):
    """A Raw over a Unix socket."""

    def __init__(self, path, tls=None, version=5, timeout=PATIENCE):
        # pylint: disable=super-init-not-called
        self.version, self.timeout = version, timeout
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(str(path))
        self.sock = tls.wrap_socket(sock, server_hostname='localhost') if tls else sock
        self.pending, self.later, self.mid = b'', [], 0


@pytest.fixture
def path(tmp_path):
    tmp_path.chmod(0o777)
    return tmp_path / 'mqtt.sock'


def start(brokers, path, conf='', **kw):
    b = brokers(f'listener 0 {path}\n{conf}', **kw)
    wait_until(lambda: answers(path), 'the socket')
    return b


@pytest.mark.parametrize('version', [3, 4, 5])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_round_trip(brokers, path, topic, version, qos):
    b = start(brokers, path)
    with UnixRaw(path, version=version) as s, Raw(b.port) as p:
        s.connect('local')
        p.connect('afar')
        assert s.subscribe(topic, qos=qos) == [qos]
        p.publish_acked(topic, b'x', qos)
        m = s.message()
        assert (m.payload, m.qos) == (b'x', qos)


@ours
def test_clients(brokers, path, topic):
    """nightjar pub and sub, and mosquitto_pub and mosquitto_sub."""
    start(brokers, path)
    for pub, sub in (([NIGHTJAR, 'pub'], [NIGHTJAR, 'sub']), (['mosquitto_pub'], ['mosquitto_sub'])):
        with subprocess.Popen([*sub, '--unix', str(path), '-t', topic, '-C', '1', '-W', '60'],
                              stdout=subprocess.PIPE) as s:
            end = threading.Event()
            while s.poll() is None and not end.wait(0.2):
                subprocess.run([*pub, '--unix', str(path), '-t', topic, '-m', 'local'], check=True,
                               timeout=PATIENCE)
            assert s.stdout.read() == b'local\n'


@ours
def test_who_is_there(brokers, path):
    b = start(brokers, path)
    with UnixRaw(path) as c:
        c.connect('local')
    b.wait_log(rf'New connection from unix \(process {os.getpid()}, user {os.getuid()}\) on unix '
               + re.escape(str(path)))
    b.wait_log(rf'New client connected from unix \(process {os.getpid()}, user {os.getuid()}\) as local')


@ours
def test_mode(brokers, path):
    start(brokers, path)
    st = os.stat(path)
    assert stat.S_IMODE(st.st_mode) == 0o660
    if os.geteuid() == 0:
        assert st.st_uid != 0 and st.st_gid == pwd.getpwuid(st.st_uid).pw_gid


@ours
@pytest.mark.parametrize('mode', ['0600', '666', '0622'])
def test_another_mode(brokers, path, mode):
    start(brokers, path, f'unix_socket_mode {mode}\n')
    assert stat.S_IMODE(os.stat(path).st_mode) == int(mode, 8)


@ours
@needs_root
@pytest.mark.parametrize('owner,uid,gid', [
    ('daemon', 'daemon', 'daemon'), ('daemon:mail', 'daemon', 'mail'), (':mail', None, 'mail')])
def test_owner(brokers, path, owner, uid, gid):
    import grp
    start(brokers, path, f'unix_socket_owner {owner}\n')
    st = os.stat(path)
    assert st.st_uid == (pwd.getpwnam(uid).pw_uid if uid else os.getuid())
    assert st.st_gid == grp.getgrnam(gid).gr_gid


@ours
@needs_root
def test_others_may_not_connect(brokers, path):
    """The rights of the path are who may come in."""
    start(brokers, path)
    nobody = pwd.getpwnam('daemon').pw_uid

    def knock():
        os.setgroups([])
        os.setgid(nobody)
        os.setuid(nobody)
    text = f'import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})'
    done = subprocess.run(['/usr/bin/python3', '-c', text], preexec_fn=knock, check=False,
                          stderr=subprocess.PIPE, timeout=PATIENCE)
    assert b'PermissionError' in done.stderr


def test_gone_at_the_end(brokers, path):
    b = start(brokers, path)
    b.stop()
    if not REFERENCE:
        assert not path.exists()


@ours
def test_left_behind(brokers, path):
    b = start(brokers, path)
    b.kill()
    assert path.exists()
    start(brokers, path)
    with UnixRaw(path) as c:
        c.connect('again')


@ours
@pytest.mark.parametrize('what', ['broker', 'full', 'file', 'link', 'folder'])
def test_not_taken_over(brokers, path, what):
    """What is served, or is no socket, stays as it is."""
    held = []
    if what == 'broker':
        start(brokers, path)
    elif what == 'full':
        # nobody accepts, and the queue is full
        s = socket.socket(socket.AF_UNIX)
        s.bind(str(path))
        s.listen(0)
        held.append(s)
        for _ in range(4):
            c = socket.socket(socket.AF_UNIX)
            c.setblocking(False)
            c.connect_ex(str(path))
            held.append(c)
    elif what == 'file':
        path.write_text('mine')
    elif what == 'link':
        path.with_name('target').write_text('mine')
        path.symlink_to(path.with_name('target'))
    else:
        path.mkdir()
    brokers(f'listener 0 {path}\n', start=False).refuses('served by another|is no socket')
    assert os.path.lexists(path)
    if what == 'file':
        assert path.read_text() == 'mine'
    for s in held:
        s.close()
    if what == 'broker':
        with UnixRaw(path) as c:
            c.connect('still')


@ours
def test_two_at_once(brokers, path):
    """Of brokers that start at the same time on a path left behind one has
    it, and the others say so."""
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    many = [brokers(f'listener 0 {path}\n', start=False) for _ in range(4)]
    threads = [threading.Thread(target=start_or_not, args=(b,)) for b in many]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_until(lambda: sum(b.alive() for b in many) == 1, 'one is left')
    for b in many:
        if not b.alive():
            b.wait_log('is served by another program')
    with UnixRaw(path) as c:
        c.connect('one')
    for b in many:
        if not b.alive():
            b.process = None


def start_or_not(b):
    with contextlib.suppress(AssertionError):
        b.start()


@ours
def test_the_path_of_another_stays(brokers, path):
    """A broker removes its own path only."""
    b = start(brokers, path)
    path.unlink()
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    b.stop()
    assert path.exists()
    other.close()


@ours
def test_tls(brokers, path, pki):
    b = start(brokers, path, f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {pki.ca}\n'
              'require_certificate true\nuse_identity_as_username true\n')
    ctx = ssl.create_default_context(cafile=pki.ca)
    ctx.load_cert_chain(*pki.client)
    with UnixRaw(path, tls=ctx) as c:
        c.connect('safe')
        c.ping()
    b.wait_log("as safe .*u'alice'")
    with UnixRaw(path) as c:
        c.send(connect_packet('plain'))
        with pytest.raises((Closed, AssertionError)):
            c.expect(CONNACK)


@ours
def test_websocket(brokers, path):
    start(brokers, path, 'protocol websockets\n')
    with UnixRaw(path) as c:
        c.sock = wsraw.WsSocket(c.sock, wsraw.request())
        c.sock.settimeout = lambda t: None
        c.connect('framed')
        c.ping()


@ours
def test_max_connections(brokers, path):
    start(brokers, path, 'max_connections 2\n')
    with contextlib.ExitStack() as stack:
        def comes_in():
            c = stack.enter_context(UnixRaw(path))
            try:
                c.connect(f'c{len(held)}')
            except (Closed, OSError):
                return False
            held.append(c)
            return len(held) == 2
        held = []
        wait_until(comes_in, 'the knock at the start is gone')
        with pytest.raises((Closed, OSError)):
            with UnixRaw(path) as c:
                c.connect('one-more')
        for c in held:
            c.ping()


@ours
def test_guesses(brokers, path, tmp_path):
    """Refused as elsewhere, but not made to wait: behind a proxy on this
    machine all are one user."""
    pw = tmp_path / 'passwords'
    pw.write_text(passwords.sha512('user', 'right'))
    pw.chmod(0o600)
    start(brokers, path, f'password_file {pw}\nfailed_logins_per_minute 2\n'
          'connections_per_second 1\n', anonymous=False)
    for _ in range(20):
        with UnixRaw(path) as c:
            c.send(connect_packet('guess', username='user', password='wrong'))
            assert c.expect(CONNACK).code == 0x87
    with UnixRaw(path) as c:
        c.connect('a', username='user', password='right')


@ours
@pytest.mark.parametrize('conf,why', [
    ('unix_socket_mode 0888', 'unix_socket_mode is not'),
    ('unix_socket_mode rw', 'unix_socket_mode is not'),
    ('unix_socket_mode 01777', 'unix_socket_mode is not'),
    ('unix_socket_owner no-such-user-here', 'no user'),
    ('unix_socket_owner :no-such-group-here', 'no group'),
    ('bind_interface lo', 'bind_interface is about networks'),
    ('socket_domain ipv4', 'socket_domain is about networks'),
])
def test_bad_configuration(brokers, path, conf, why):
    brokers(f'listener 0 {path}\n{conf}\n', start=False).refuses(why)
    assert not path.exists()


@ours
def test_bad_paths(brokers, tmp_path):
    for path, why in ((tmp_path / ('x' * 120), 'longer than 107 bytes'),
                      (tmp_path / 'no' / 'such' / 'folder', 'folder must exist')):
        brokers(f'listener 0 {path}\n', start=False).refuses(why)
